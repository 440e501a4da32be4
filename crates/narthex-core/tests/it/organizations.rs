//! Organizations: made, found, changed, deleted.

use std::collections::BTreeMap;

use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::events::Actor;
use narthex_core::ids::{EnvId, OrganizationId};
use narthex_core::organizations::{
    self, Branding, Feature, Identity, NewOrganization, OrganizationPatch, Patch, SessionPolicy, SessionPolicyChange,
};
use narthex_core::pages::PageRequest;
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, NewSession};
use narthex_core::{Kind, jobs};
use serde_json::json;

use crate::fixture::{Fixture, assert_invalid, assert_not_found};

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn with_external_id(name: &str, external_id: &str) -> NewOrganization {
    NewOrganization { external_id: Some(external_id.into()), ..NewOrganization::named(name) }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_01_a_name_is_enough(db: TestDb) {
        let f = Fixture::on(db).await;
        let before = f.core.clock.now();
        let made = f.organization("Acme").await;
        assert!(made.id.to_string().starts_with("org_"));
        assert!(made.created_at >= before && made.created_at == made.updated_at);
        assert_eq!((made.external_id.as_ref(), made.slug.as_ref(), made.logo_url.as_ref()), (None, None, None));
        assert_eq!(organizations::get(&f.core, f.env(), &Identity::Id(made.id)).await.unwrap(), made);
        assert_not_found(organizations::get(&f.core, EnvId(f.env().0 + 1), &Identity::Id(made.id)).await);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_02_names_may_be_any_text_but_nul(db: TestDb) {
        let f = Fixture::on(db).await;
        for name in ["Ünïcödé GmbH & Co. 😀", "مؤسسة", "'; DROP TABLE organizations; --", "\u{202e}evil", &"x".repeat(200)] {
            assert_eq!(f.organization(name).await.display_name, name);
        }
        let error = assert_invalid(f.create(NewOrganization::named("a\0b")).await, "organization.display_name");
        assert_eq!(error.code(), "INVALID_ARGUMENT");
        let mut new = NewOrganization::named("x");
        new.metadata = map([("key", "a\0b")]);
        assert_invalid(f.create(new).await, "organization.metadata");
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 5, "a refused create leaves no event");
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_03_an_external_id_finds_its_organization(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.create(with_external_id("Acme", "customer/1 ä")).await.unwrap();
        let found = organizations::get(&f.core, f.env(), &Identity::ExternalId("customer/1 ä".into())).await.unwrap();
        assert_eq!(found, made);
        for other in ["customer/1", "CUSTOMER/1 Ä", "", "a\0b"] {
            assert_not_found(organizations::get(&f.core, f.env(), &Identity::ExternalId(other.into())).await);
        }
        assert_not_found(organizations::get(&f.core, EnvId(1), &Identity::ExternalId("customer/1 ä".into())).await);
        f.create(with_external_id("Long", &"ß".repeat(255))).await.unwrap();
        assert_invalid(f.create(with_external_id("Too long", &"ß".repeat(256))).await, "organization.external_id");
        // An empty one is none, so two of them do not collide.
        for _ in 0..2 {
            assert_eq!(f.create(with_external_id("None", "")).await.unwrap().external_id, None);
        }
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_04_a_taken_external_id_is_refused_by_name(db: TestDb) {
        let f = Fixture::on(db).await;
        f.create(with_external_id("Acme", "acme")).await.unwrap();
        let error = assert_invalid(f.create(with_external_id("Twin", "acme")).await, "external_id");
        assert_eq!(error.message(), "duplicate key not allowed: external_id already exists");
        let other = f.organization("Other").await;
        let patch = OrganizationPatch { external_id: Patch::Set("acme".into()), ..OrganizationPatch::default() };
        let refused = organizations::update(&f.core, f.env(), &f.by, Identity::Id(other.id), patch).await;
        assert_invalid(refused, "external_id");
        // Another environment has its own.
        let elsewhere = with_external_id("Acme", "acme");
        organizations::create(&f.core, EnvId(5), &f.by, elsewhere, None).await.unwrap();
        assert_eq!(f.event_types().await, ["organization.created"; 3]);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_04_org_08_of_many_at_once_exactly_one_gets_the_external_id_and_the_slug(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..16 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            tasks.spawn(async move {
                let mut new = NewOrganization::named(format!("Racer {i}"));
                if i % 2 == 0 { new.external_id = Some("prize".into()) } else { new.slug = Some("prize".into()) }
                organizations::create(&core, environment, &by, new, None).await
            });
        }
        let mut won = 0;
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => won += 1,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}");
                    assert!(error.message().starts_with("duplicate key not allowed: "), "{error:?}");
                }
            }
        }
        assert_eq!(won, 2);
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 2);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_05_a_deleted_organization_frees_its_external_id_and_slug_at_once(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut new = with_external_id("Acme", "acme");
        new.slug = Some("acme".into());
        let first = f.create(new.clone()).await.unwrap();
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(first.id)).await.unwrap();
        let second = f.create(new).await.unwrap();
        assert_ne!(first.id, second.id);
        assert_not_found(organizations::get(&f.core, f.env(), &Identity::Id(first.id)).await);
        let found = organizations::get(&f.core, f.env(), &Identity::ExternalId("acme".into())).await.unwrap();
        assert_eq!(found.id, second.id);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_06_metadata_is_kept_as_given(db: TestDb) {
        let f = Fixture::on(db).await;
        let metadata = map([("plan", "großer Tarif"), ("10", "x"), ("2", "y"), ("quote", "\"\\\n")]);
        let made = f.create(NewOrganization { metadata: metadata.clone(), ..NewOrganization::named("Acme") }).await.unwrap();
        let read = organizations::get(&f.core, f.env(), &Identity::Id(made.id)).await.unwrap();
        assert_eq!(read.metadata, metadata);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_07_only_what_is_named_changes(db: TestDb) {
        let f = Fixture::on(db).await;
        let metadata = map([("plan", "free"), ("seats", "5")]);
        let new = NewOrganization { metadata: metadata.clone(), slug: Some("acme".into()), ..with_external_id("Acme", "acme") };
        let made = f.create(new).await.unwrap();
        let update = async |patch| organizations::update(&f.core, f.env(), &f.by, Identity::Id(made.id), patch).await.unwrap();

        let renamed = update(OrganizationPatch { display_name: Some("Acme Inc".into()), ..OrganizationPatch::default() }).await;
        assert_eq!(renamed.display_name, "Acme Inc");
        assert_eq!((&renamed.metadata, &renamed.slug, &renamed.external_id), (&metadata, &made.slug, &made.external_id));
        assert!(renamed.updated_at > made.updated_at && renamed.created_at == made.created_at);

        let replaced = update(OrganizationPatch { metadata: Some(map([("plan", "pro")])), ..OrganizationPatch::default() }).await;
        assert_eq!(replaced.metadata, map([("plan", "pro")]), "metadata is replaced as a whole");
        let cleared = update(OrganizationPatch { metadata: Some(BTreeMap::new()), ..OrganizationPatch::default() }).await;
        assert!(cleared.metadata.is_empty());

        let refused = OrganizationPatch { display_name: Some(String::new()), ..OrganizationPatch::default() };
        let refused = organizations::update(&f.core, f.env(), &f.by, Identity::Id(made.id), refused).await;
        assert_invalid(refused, "organization.display_name");
        assert_not_found(organizations::update(&f.core, f.env(), &f.by, Identity::Id(OrganizationId(1)), OrganizationPatch::default()).await);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_08_slug_and_logo_are_set_and_cleared(db: TestDb) {
        let f = Fixture::on(db).await;
        let new = NewOrganization { logo_url: Some("http://acme.example/logo.png".into()), ..NewOrganization::named("Acme") };
        assert_invalid(f.create(new).await, "organization.logo_url");
        let made = f.organization("Acme").await;
        let other = f.organization("Other").await;
        let update = async |id, slug: Patch<String>, logo_url: Patch<String>| {
            let patch = OrganizationPatch { slug, logo_url, ..OrganizationPatch::default() };
            organizations::update(&f.core, f.env(), &f.by, Identity::Id(id), patch).await
        };
        let set = update(made.id, Patch::Set("auth.acme.example".into()), Patch::Set("https://acme.example/logo".into())).await.unwrap();
        assert_eq!(set.slug.as_deref(), Some("auth.acme.example"));
        assert_eq!(set.logo_url.as_deref(), Some("https://acme.example/logo"));
        assert_invalid(update(other.id, Patch::Set("auth.acme.example".into()), Patch::Keep).await, "slug");
        let cleared = update(made.id, Patch::Clear, Patch::Clear).await.unwrap();
        assert_eq!((cleared.slug, cleared.logo_url), (None, None));
        update(other.id, Patch::Set("auth.acme.example".into()), Patch::Keep).await.unwrap();
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_09_update_and_delete_by_external_id(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.create(with_external_id("Acme", "acme")).await.unwrap();
        let by_external_id = || Identity::ExternalId("acme".into());
        let patch = OrganizationPatch { display_name: Some("Acme Inc".into()), ..OrganizationPatch::default() };
        let renamed = organizations::update(&f.core, f.env(), &f.by, by_external_id(), patch).await.unwrap();
        assert_eq!((renamed.id, renamed.display_name.as_str()), (made.id, "Acme Inc"));
        organizations::delete(&f.core, f.env(), &f.by, by_external_id()).await.unwrap();
        assert_not_found(organizations::delete(&f.core, f.env(), &f.by, by_external_id()).await);
        assert_not_found(organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made.id)).await);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_12_features_persist_and_sso_and_dir_sync_come_first(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let shown = |organization: &organizations::Organization| -> Vec<(&str, bool)> {
            organization.features.shown().map(|(feature, on)| (feature.name(), on)).collect()
        };
        assert_eq!(shown(&made), [("sso", false), ("dir_sync", false)]);
        let set = async |switches| organizations::set_features(&f.core, f.env(), &f.by, made.id, switches).await.unwrap();
        set(vec![(Feature::SessionPolicy, true)]).await;
        set(vec![(Feature::DirSync, true)]).await;
        let read = organizations::get(&f.core, f.env(), &Identity::Id(made.id)).await.unwrap();
        assert_eq!(shown(&read), [("sso", false), ("dir_sync", true), ("session_policy", true)]);
        let off = set(vec![(Feature::SessionPolicy, false), (Feature::Sso, true)]).await;
        assert_eq!(shown(&off), [("sso", true), ("dir_sync", true), ("session_policy", false)]);

        for alias in ["dir_sync", "directory_sync", "scim"] {
            assert_eq!(Feature::named(alias, "name").unwrap(), Feature::DirSync);
        }
        for unknown in ["", "SSO", "users"] {
            assert_invalid(Feature::named(unknown, "settings.features[0].name"), "settings.features[0].name");
        }
        assert_not_found(organizations::set_features(&f.core, EnvId(1), &f.by, made.id, vec![(Feature::Sso, true)]).await);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_13_seats_absent_zero_and_positive_are_three_things(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        assert_eq!(made.max_allowed_users, None);
        for seats in [Some(0), Some(25), None] {
            let set = organizations::set_max_allowed_users(&f.core, f.env(), &f.by, made.id, seats).await.unwrap();
            assert_eq!(set.max_allowed_users, seats);
            let read = organizations::get(&f.core, f.env(), &Identity::Id(made.id)).await.unwrap();
            assert_eq!(read.max_allowed_users, seats);
        }
        let refused = organizations::set_max_allowed_users(&f.core, f.env(), &f.by, made.id, Some(-1)).await;
        assert_invalid(refused, "settings.max_allowed_users");
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_14_the_session_policy_is_the_applications_until_it_is_custom_and_again_after(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        assert_eq!(made.session_policy, SessionPolicy::Application);
        let set = async |change| organizations::set_session_policy(&f.core, &f.environment, &f.by, made.id, change).await;
        let custom = SessionPolicyChange::Custom { absolute: Some(1_440), idle_enabled: Some(true), idle: Some(60) };
        let expected = SessionPolicy::Custom { absolute_minutes: 1_440, idle_minutes: Some(60) };
        assert_eq!(set(custom).await.unwrap().session_policy, expected);
        let too_short = SessionPolicyChange::Custom { absolute: Some(50), idle_enabled: None, idle: None };
        assert_invalid(set(too_short).await, "absolute_session_timeout");
        let read = organizations::get(&f.core, f.env(), &Identity::Id(made.id)).await.unwrap();
        assert_eq!(read.session_policy, expected, "a refused change changes nothing");
        assert_eq!(set(SessionPolicyChange::Application).await.unwrap().session_policy, SessionPolicy::Application);
        let nothing_known = SessionPolicyChange::Custom { absolute: None, idle_enabled: None, idle: None };
        assert_invalid(set(nothing_known).await, "absolute_session_timeout");
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_19_branding_is_inherited_until_it_is_custom(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let read = async || organizations::branding(&f.core, f.env(), made.id).await.unwrap();
        assert_eq!(read().await, Branding::Environment { updated_at: None });
        let settings = json!({
            "logo_url": "https://acme.example/l.png",
            "somebody's key": {"deep": [1, null, true, "x"]},
            "background_style": "red; } body { display: none",
        });
        let settings = settings.as_object().cloned();
        let set = async |settings| organizations::update_branding(&f.core, f.env(), &f.by, made.id, settings).await;
        let custom = set(settings).await.unwrap();
        let Branding::Custom { settings, .. } = &custom else { panic!("{custom:?}") };
        assert_eq!(settings["background_style"], "red");
        assert_eq!(settings["somebody's key"]["deep"][3], "x", "unknown keys are kept");
        assert_eq!(read().await, custom);
        let huge = json!({"logo_url": "x".repeat(70_000)}).as_object().cloned();
        assert_invalid(set(huge).await, "customization_settings");
        let nul = json!({"logo_url": "a\0b"}).as_object().cloned();
        assert_invalid(set(nul).await, "customization_settings");
        assert!(matches!(set(None).await.unwrap(), Branding::Environment { updated_at: Some(_) }));
        assert!(matches!(set(Some(serde_json::Map::new())).await.unwrap(), Branding::Custom { settings, .. } if settings.is_empty()));
        assert_not_found(organizations::branding(&f.core, EnvId(1), made.id).await);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_23_each_change_is_an_event_in_its_own_transaction(db: TestDb) {
        let f = Fixture::on(db).await;
        let by = Actor::from(&narthex_core::Caller::Client { environment: f.env(), client_id: "skc_1".into() });
        let made = organizations::create(&f.core, f.env(), &by, with_external_id("Acme", "acme"), None).await.unwrap();
        let rename = |name: &str| OrganizationPatch { display_name: Some(name.into()), ..OrganizationPatch::default() };
        let id = || Identity::Id(made.id);
        organizations::update(&f.core, f.env(), &by, id(), rename("Acme Inc")).await.unwrap();
        organizations::update(&f.core, f.env(), &by, id(), rename("Acme Inc")).await.unwrap();
        organizations::set_features(&f.core, f.env(), &by, made.id, vec![(Feature::Sso, true)]).await.unwrap();
        f.create(with_external_id("Twin", "acme")).await.unwrap_err();
        organizations::delete(&f.core, f.env(), &by, id()).await.unwrap();
        assert_eq!(
            f.event_types().await,
            ["organization.created", "organization.updated", "organization.updated", "organization.deleted"],
            "a change that changes nothing and a refused one are no events"
        );
        let events = f.events().await;
        assert!(events.iter().all(|event| event.actor == "client:skc_1"));
        let bodies: Vec<serde_json::Value> = events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
        assert_eq!(bodies[1]["data"]["display_name"], "Acme Inc");
        assert_eq!(bodies[2]["data"]["settings"]["features"][0], json!({"name": "sso", "enabled": true}));
        assert!(bodies[2]["data"].get("deleted_at").is_none());
        assert_eq!(bodies[3]["data"]["deleted_at"], bodies[3]["occurred_at"]);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs WHERE kind = 'audit'").await, 4);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_17_deletion_ends_the_organizations_own_clients_at_once(db: TestDb) {
        let node = crate::node::node(db).await;
        let by = Actor::SYSTEM;
        let mut ids = Vec::new();
        for name in ["Acme", "Other"] {
            let made = organizations::create(&node, node.dev.id, &by, NewOrganization::named(name), None).await.unwrap();
            let new = NewClient { organization: Some(made.id), ..NewClient::new(ClientKind::Organization, "M2M") };
            let client = clients::create(&node, node.dev.id, node.dev.kind, new).await.unwrap();
            clients::add_secret(&node, node.dev.id, node.dev.kind, &client.client_id, "test").await.unwrap();
            ids.push((made.id, client.client_id));
        }
        let enabled = async |id: &str| clients::get(&node, node.dev.id, id).await.unwrap().map(|client| client.enabled);
        assert_eq!((enabled(&ids[0].1).await, enabled(&ids[1].1).await), (Some(true), Some(true)));
        organizations::delete(&node, node.dev.id, &by, Identity::Id(ids[0].0)).await.unwrap();
        assert_eq!((enabled(&ids[0].1).await, enabled(&ids[1].1).await), (Some(false), Some(true)));
        jobs::drain(&node.core).await.unwrap();
        assert_eq!((enabled(&ids[0].1).await, enabled(&ids[1].1).await), (None, Some(true)));
        let count = "SELECT COUNT(*) FROM client_secrets WHERE client_id NOT IN (SELECT client_id FROM clients)";
        let left = node.db.read(async move |tx| tx.one::<(i64,)>(count, &[]).await).await.unwrap();
        assert_eq!(left, (0,));
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_17_deletion_ends_the_organizations_sessions_at_once(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let other = f.organization("Other").await;
        let day = std::time::Duration::from_hours(24);
        let mut opened = Vec::new();
        for organization in [made.id, made.id, other.id] {
            let portal = NewSession::portal(organization, None, vec!["sso".into()], day);
            opened.push(sessions::open(&f.core, f.env(), portal).await.unwrap().id);
        }
        let live = async |session| sessions::get(&f.core, f.env(), session).await.unwrap().unwrap().is_live(f.core.clock.now());
        assert!(live(opened[0]).await);
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made.id)).await.unwrap();
        assert_eq!([live(opened[0]).await, live(opened[1]).await, live(opened[2]).await], [false, false, true]);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn totals_follow_every_change_and_can_be_recounted(db: TestDb) {
        let f = Fixture::on(db).await;
        let total = async || {
            let page = organizations::list(&f.core, f.env(), &PageRequest::default(), None).await.unwrap();
            page.total
        };
        let mut made = Vec::new();
        for i in 0..5 {
            made.push(f.organization(&format!("Acme {i}")).await.id);
        }
        organizations::create(&f.core, EnvId(9), &f.by, NewOrganization::named("Elsewhere"), None).await.unwrap();
        assert_eq!(total().await, 5);
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made[2])).await.unwrap();
        assert_eq!(total().await, 4);
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM counter_changes").await, 0, "folded");
        assert_eq!(total().await, 4);
        f.create(with_external_id("Acme", "x")).await.unwrap();
        f.create(with_external_id("Acme", "x")).await.unwrap_err();
        assert_eq!(total().await, 5);

        f.tamper("UPDATE counters SET value = value + 100").await;
        assert_eq!(total().await, 105);
        let (environment, id) = (f.env(), f.core.ids.next());
        let difference = f.core.db.write(async move |tx| organizations::recount(tx, environment, id).await).await.unwrap();
        assert_eq!(difference, -100);
        assert_eq!(total().await, 5);
    }
}
