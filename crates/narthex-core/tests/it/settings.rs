//! Settings of an environment: lifetimes, users, switches, branding, notes, and what follows from them.

use std::time::{Duration, Instant};

use narthex_core::assets::{self, LARGEST};
use narthex_core::branding::{self, Look};
use narthex_core::environments::{self, AuthenticationMode, SessionSettingsPatch, SpanPatch, Switch, TimeUnit};
use narthex_core::ids::OrganizationId;
use narthex_core::organizations::{self, Feature, Identity, NewOrganization, SessionPolicyChange};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, Lifetimes, NewSession};
use narthex_core::users::{self, SignUpRefusal, UserManagement, UserManagementPatch};
use narthex_core::{Kind, invitations, jobs, tokens};
use narthex_db::Engine;
use serde_json::{Map, Value, json};

use crate::fixture::assert_invalid;
use crate::node::{assert_unauthenticated, caller};
use crate::people::{People, direct, existing, invited};

const HOUR: Duration = Duration::from_hours(1);

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value}") };
    object
}

fn minutes(value: i32) -> SpanPatch {
    SpanPatch { value: Some(value), unit: None }
}

/// The lifetimes of a session that is opened now.
async fn lifetimes(f: &People, organization: Option<OrganizationId>) -> Lifetimes {
    let environment = environments::by_id(f.core(), f.env()).await.unwrap().unwrap();
    f.node.db.read(async move |tx| sessions::policy_for(tx, &environment, organization).await).await.unwrap()
}

async fn look(f: &People, organization: Option<OrganizationId>) -> Look {
    branding::look(f.core(), f.environment(), organization).await.unwrap()
}

async fn switch(f: &People, switch: Switch, on: bool) {
    environments::set_switches(f.core(), f.env(), vec![(switch, on)]).await.unwrap();
}

/// Waits until another node sees a change; the design allows a second.
async fn within_a_second(what: &str, seen: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !seen().await {
        assert!(began.elapsed() < Duration::from_secs(1), "{what} is not seen on the other node");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ses_03_session_settings_change_as_far_as_they_are_given(db: TestDb) {
        let f = People::on(db).await;
        let patch = SessionSettingsPatch {
            absolute_timeout: SpanPatch { value: Some(2), unit: Some(TimeUnit::Days) },
            idle_enabled: Some(true),
            idle_timeout: SpanPatch { value: Some(3), unit: Some(TimeUnit::Hours) },
            client_access_token_expiry: Some(60),
            cookie_persistence: Some(2),
            cookie_same_site: Some(2),
            ..SessionSettingsPatch::default()
        };
        let changed = environments::update_session_settings(f.core(), f.env(), patch).await.unwrap();
        let session = &changed.session;
        assert_eq!((session.absolute_timeout.minutes, session.absolute_timeout.in_unit()), (2_880, 2));
        assert_eq!((session.idle_enabled, session.idle_timeout.minutes, session.idle_timeout.in_unit()), (true, 180, 3));
        assert_eq!((session.access_token_expiry.minutes, session.client_access_token_expiry.minutes), (5, 60));
        assert_eq!((session.cookie_persistence, session.cookie_same_site), (2, 2));
        let read = environments::by_id(f.core(), f.env()).await.unwrap().unwrap();
        assert_eq!(read, changed);

        let broken = SessionSettingsPatch { access_token_expiry: minutes(180), ..SessionSettingsPatch::default() };
        let refused = environments::update_session_settings(f.core(), f.env(), broken).await;
        assert_invalid(refused, "session_settings.idle_session_timeout");
        let same = environments::update_session_settings(f.core(), f.env(), SessionSettingsPatch::default()).await.unwrap();
        assert_eq!(same, changed, "nothing of the refused change stays, and no change is none");
    }

    async fn org_15_ses_04_a_new_session_gets_the_stricter_of_both(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let custom = SessionPolicyChange::Custom { absolute: Some(600), idle_enabled: Some(true), idle: Some(60) };
        organizations::set_session_policy(f.core(), f.environment(), &f.by, acme, custom).await.unwrap();
        let hours = |hours: u64| Duration::from_hours(hours);
        assert_eq!(lifetimes(&f, Some(acme)).await, Lifetimes { absolute: hours(10), idle: Some(hours(1)) });
        assert_eq!(lifetimes(&f, Some(bolt)).await, Lifetimes { absolute: hours(720), idle: None });
        assert_eq!(lifetimes(&f, None).await, lifetimes(&f, Some(bolt)).await);
        let patch = SessionSettingsPatch {
            absolute_timeout: minutes(300),
            idle_enabled: Some(true),
            idle_timeout: minutes(120),
            ..SessionSettingsPatch::default()
        };
        environments::update_session_settings(f.core(), f.env(), patch).await.unwrap();
        assert_eq!(lifetimes(&f, Some(acme)).await, Lifetimes { absolute: hours(5), idle: Some(hours(1)) });
        assert_eq!(lifetimes(&f, Some(bolt)).await, Lifetimes { absolute: hours(5), idle: Some(hours(2)) });
        organizations::delete(f.core(), f.env(), &f.by, Identity::Id(acme)).await.unwrap();
        assert_eq!(lifetimes(&f, Some(acme)).await, lifetimes(&f, None).await, "who is gone has no say");
    }

    async fn a_cookie_for_a_domain_reaches_no_other_environment(db: TestDb) {
        let f = People::on(db).await;
        let (id, prd) = (f.env(), f.node.prd.id);
        environments::bind(f.core(), id, "https://dev.acme.example:8443", &[]).await.unwrap();
        environments::bind(f.core(), prd, "https://prd.other.example", &[]).await.unwrap();
        let set = async |domain: &str| {
            let patch = SessionSettingsPatch { cookie_custom_domain: Some(domain.into()), ..SessionSettingsPatch::default() };
            environments::update_session_settings(f.core(), id, patch).await
        };
        for good in ["dev.acme.example", "Acme.Example", "acme.example."] {
            let changed = set(good).await.unwrap();
            assert_eq!(changed.cookie_domain(), Some(good.trim_end_matches('.').to_lowercase().as_str()));
        }
        for bad in ["example", "co.uk", "other.example", "cme.example", "x.dev.acme.example", "10.0.0.1", "https://acme.example", "*.acme.example"] {
            assert_invalid(set(bad).await, "session_settings.cookie_custom_domain");
        }
        environments::bind(f.core(), prd, "https://prd.acme.example", &[]).await.unwrap();
        assert_eq!(set("").await.unwrap().cookie_domain(), None);
        assert_invalid(set("acme.example").await, "session_settings.cookie_custom_domain");
        assert!(set("dev.acme.example").await.is_ok());
    }

    async fn ctl_30_settings_of_users_change_as_far_as_they_are_given(db: TestDb) {
        let f = People::on(db).await;
        let set = async |patch| users::update_user_management(f.core(), f.env(), patch).await;
        assert_eq!(users::user_management(f.core(), f.env()).await.unwrap(), UserManagement::default());
        let changed = set(UserManagementPatch { block_public_email_domains: Some(true), ..UserManagementPatch::default() }).await.unwrap();
        assert_eq!(changed, UserManagement { block_public_email_domains: true, ..UserManagement::default() });
        let limit = UserManagementPatch { enable_max_users_limit: Some(true), ..UserManagementPatch::default() };
        assert_invalid(set(limit.clone()).await, "user_management.max_users_limit");
        let changed = set(UserManagementPatch { max_users_limit: Some(1), ..limit.clone() }).await.unwrap();
        assert_eq!((changed.seats(), changed.block_public_email_domains), (Some(1), true));
        let acme = f.organization("Acme").await;
        f.member(acme, "ann@acme.example").await;
        let refused = f.add(direct(acme, "bob@acme.example")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::FailedPrecondition);
        let off = set(UserManagementPatch { enable_max_users_limit: Some(false), ..UserManagementPatch::default() }).await.unwrap();
        assert_eq!((off.seats(), off.max_users_limit), (None, Some(1)), "the number is kept");
        f.member(acme, "bob@acme.example").await;
        assert_eq!(set(limit).await.unwrap().seats(), Some(1));
        assert_eq!(users::user_management(f.core(), f.env()).await.unwrap().seats(), Some(1));
        assert_eq!(users::user_management(f.core(), f.node.prd.id).await.unwrap(), UserManagement::default(), "of one environment");
    }

    async fn dom_03_ctl_30_blocked_addresses_are_not_invited_and_those_who_are_in_stay(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.member(acme, "ann@gmail.com").await.user.id;
        let waiting = f.add(invited(acme, "eve@mailinator.com")).await.unwrap().user.id;
        let patch = UserManagementPatch {
            block_public_email_domains: Some(true),
            block_disposable_email_domains: Some(true),
            ..UserManagementPatch::default()
        };
        users::update_user_management(f.core(), f.env(), patch).await.unwrap();
        let error = assert_invalid(f.add(invited(acme, "bob@GMail.com")).await, "user.email");
        assert!(error.message().contains("public e-mail providers"), "{error:?}");
        assert_invalid(f.add(invited(acme, "bob@x.mailinator.com")).await, "user.email");
        let again = narthex_core::memberships::Addition { invite: true, ..existing(bolt, users::Identity::Id(ann)) };
        assert_invalid(f.add(again).await, "membership");
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 2, "a refusal leaves no user");
        // What the application does in its own name, and what was there before, is not asked.
        f.member(bolt, "carl@gmail.com").await;
        assert!(f.get(ann).await.is_ok());
        let resend = async || invitations::resend(f.core(), f.environment(), &f.by, acme, waiting).await;
        resend().await.expect("an invitation from before");
        f.node.clock.advance(Duration::from_hours(16 * 24));
        assert_invalid(resend().await, "id");
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "organization_invitation").count(), 1);
    }

    async fn sign_up_is_open_as_far_as_the_settings_say(db: TestDb) {
        let f = People::on(db).await;
        let ask = async |email: &str| {
            let environment = environments::by_id(f.core(), f.env()).await.unwrap().unwrap();
            users::check_signup(f.core(), &environment, email).await.unwrap()
        };
        assert_eq!(ask("ann@gmail.com").await, None);
        let set = async |patch| users::update_user_management(f.core(), f.env(), patch).await.unwrap();
        set(UserManagementPatch { block_public_email_domains: Some(true), ..UserManagementPatch::default() }).await;
        assert_eq!(ask("ann@gmail.com").await, Some(SignUpRefusal::PublicDomain));
        assert_eq!((ask("ann@mailinator.com").await, ask("ann@acme.example").await), (None, None));
        set(UserManagementPatch { block_disposable_email_domains: Some(true), ..UserManagementPatch::default() }).await;
        assert_eq!(ask("ann@mailinator.com").await, Some(SignUpRefusal::DisposableDomain));
        switch(&f, Switch::FullStack, false).await;
        assert_eq!(ask("ann@acme.example").await, Some(SignUpRefusal::Closed));
        switch(&f, Switch::FullStack, true).await;
        set(UserManagementPatch { allow_organization_signup: Some(false), ..UserManagementPatch::default() }).await;
        assert_eq!(ask("ann@acme.example").await, Some(SignUpRefusal::Closed));
        let system = users::check_signup(f.core(), &f.node.system, "ann@acme.example").await.unwrap();
        assert_eq!(system, Some(SignUpRefusal::Closed), "operators are made by their workspace");
    }

    async fn ctl_32_without_full_stack_authentication_sessions_do_not_count_until_it_is_back(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let session = NewSession::browser(ann, Some(acme), HOUR);
        let session = sessions::open(f.core(), f.env(), session).await.unwrap();
        let page = tokens::mint_session(f.core(), f.environment(), &session, HOUR).await.unwrap().access_token;
        let client = &f.node.dev_client.client_id;
        let user = tokens::mint_user(f.core(), f.environment(), &session, client, HOUR).await.unwrap().access_token;
        let environment = async || environments::by_id(f.core(), f.env()).await.unwrap().unwrap();
        let all = [&page, &user];
        for token in all {
            caller(f.core(), &environment().await, token).await.expect("a session");
        }
        switch(&f, Switch::FullStack, false).await;
        assert_eq!(environment().await.authentication_mode, AuthenticationMode::Modular);
        for token in all {
            assert_unauthenticated(&caller(f.core(), &environment().await, token).await, "switched off");
        }
        assert!(tokens::session_holder(f.core(), &*environment().await, &session).await.is_err(), "nor by its cookie");
        assert!(f.get(ann).await.is_ok(), "users stay");
        switch(&f, Switch::FullStack, true).await;
        for token in all {
            caller(f.core(), &environment().await, token).await.expect("a session again");
        }
        let own = environments::set_switches(f.core(), f.node.system.id, vec![(Switch::FullStack, false)]).await;
        assert_eq!(own.unwrap_err().kind(), Kind::FailedPrecondition, "operators sign in there");
    }

    async fn ctl_32_switches_go_by_their_names(db: TestDb) {
        let f = People::on(db).await;
        let scim = Switch::named("scim", "feature_id").unwrap();
        assert_eq!(scim, Switch::Feature(Feature::DirSync));
        assert_invalid(Switch::named("teleport", "feature_id").map(Switch::name), "feature_id");
        let switches = vec![(scim, false), (Switch::named("fsa", "feature_id").unwrap(), false)];
        let changed = environments::set_switches(f.core(), f.env(), switches).await.unwrap();
        let on: Vec<&str> = Switch::ALL.into_iter().filter(|switch| switch.is_on(&changed)).map(Switch::name).collect();
        assert_eq!(on, ["sso", "domain_verification", "session_policy"]);
    }

    async fn a_page_shows_the_environment_and_the_organization_in_it(db: TestDb) {
        let f = People::on(db).await;
        assert_eq!(look(&f, None).await, Look::default());
        let settings = json!({
            "app_name": "Rocket", "logo_url": "https://cdn.example/rocket.png", "primary_button_color": "#112233",
            "organization_meta_name": "Workspace", "background_style": "red; position: fixed", "their_own": {"kept": [1.5, null]},
        });
        let saved = branding::update(f.core(), f.env(), object(settings.clone())).await.unwrap();
        assert_eq!(saved.values["background_style"], "red");
        assert_eq!(saved.values["their_own"], settings["their_own"]);
        let logo = "https://cdn.example/acme.png";
        let acme = f.node.core.clone();
        let new = NewOrganization { logo_url: Some(logo.into()), ..NewOrganization::named("Acme") };
        let acme = organizations::create(&acme, f.env(), &f.by, new, None).await.unwrap().id;
        let bolt = f.organization("Bolt").await;

        let shown = look(&f, Some(acme)).await;
        assert_eq!((&shown.settings, &shown.organization), (&saved.values, &None), "the switch is off");
        assert_eq!((shown.app_name(), shown.organization_meta_name()), (Some("Rocket"), "Workspace"));
        assert_eq!(shown.logo_url(), Some("https://cdn.example/rocket.png"));

        let mut on = saved.values.clone();
        on.insert("organization_logo_branding".into(), json!(true));
        branding::update(f.core(), f.env(), on).await.unwrap();
        let shown = look(&f, Some(acme)).await;
        assert_eq!((shown.organization.as_ref().unwrap().display_name.as_str(), shown.logo_url()), ("Acme", Some(logo)));
        let shown = look(&f, Some(bolt)).await;
        assert_eq!(shown.organization.as_ref().unwrap().display_name, "Bolt");
        assert_eq!(shown.logo_url(), Some("https://cdn.example/rocket.png"), "without one the application's stands");
        assert_eq!(look(&f, None).await.organization, None);

        // An organization's own settings stand in place of the environment's, key by key.
        let own = json!({"primary_button_color": "#445566", "organization_logo_branding": false});
        organizations::update_branding(f.core(), f.env(), &f.by, acme, Some(object(own))).await.unwrap();
        let shown = look(&f, Some(acme)).await;
        assert_eq!((&shown.settings["primary_button_color"], shown.app_name()), (&json!("#445566"), Some("Rocket")));
        assert!(shown.organization.is_some(), "the switch is the application's");
        assert_eq!(look(&f, Some(bolt)).await.settings["primary_button_color"], "#112233");
        organizations::update_branding(f.core(), f.env(), &f.by, acme, None).await.unwrap();
        assert_eq!(look(&f, Some(acme)).await.settings["primary_button_color"], "#112233");

        let elsewhere = branding::look(f.core(), &f.node.prd, Some(acme)).await.unwrap();
        assert_eq!(elsewhere, Look::default(), "an organization of another environment is nobody");
        assert_invalid(branding::update(f.core(), f.env(), object(json!({"a": "\0"}))).await, "customization_settings");
        assert_invalid(branding::update(f.core(), f.env(), object(json!({"a": "x".repeat(65_536)}))).await, "customization_settings");
    }

    async fn org_21_ctl_35_an_asset_is_what_its_bytes_say_and_is_sent_once(db: TestDb) {
        let f = People::on(db).await;
        let png = b"\x89PNG\r\n\x1a\nrest".to_vec();
        let asset = assets::create(f.core(), f.env(), "png").await.unwrap();
        let send = async |environment, secret: &str, content: &[u8]| {
            assets::upload(f.core(), environment, secret, content.to_vec()).await
        };
        let secret = asset.upload.expose().clone();
        assert!(assets::file(f.core(), f.env(), asset.id).await.unwrap().is_none());
        for content in [&b"<svg onload=alert(1)>"[..], b"", b"\xff\xd8\xff", b"PNG"] {
            assert_invalid(send(f.env(), &secret, content).await, "content");
        }
        let large = [png.clone(), vec![0; LARGEST]].concat();
        assert_invalid(send(f.env(), &secret, &large).await, "content");
        assert_eq!(send(f.node.prd.id, &secret, &png).await.unwrap_err().kind(), Kind::NotFound);
        send(f.env(), &secret, &png).await.unwrap();
        assert_eq!(send(f.env(), &secret, &png).await.unwrap_err().kind(), Kind::NotFound, "once");
        let file = assets::file(f.core(), f.env(), asset.id).await.unwrap().unwrap();
        assert_eq!((file.format.media_type(), &file.content), ("image/png", &png));
        assert!(assets::file(f.core(), f.node.prd.id, asset.id).await.unwrap().is_none(), "of one environment");
        assert_invalid(assets::create(f.core(), f.env(), "svg").await.map(|asset| asset.id), "asset_settings.extension");

        let late = assets::create(f.core(), f.env(), "woff2").await.unwrap();
        f.node.clock.advance(Duration::from_mins(15));
        assert_eq!(send(f.env(), late.upload.expose(), b"wOF2").await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(f.number("SELECT COUNT(*) FROM assets").await, 2);
        jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM assets").await, 1, "the file that came is kept");
        assert_eq!(f.number("SELECT COUNT(*) FROM assets WHERE upload_hash IS NOT NULL").await, 0);
    }

    async fn ctl_18_an_environments_notes_are_replaced_as_a_whole(db: TestDb) {
        let f = People::on(db).await;
        let read = async |environment| environments::context(f.core(), environment).await.unwrap();
        assert_eq!(read(f.env()).await, Map::new());
        environments::set_context(f.core(), f.env(), &object(json!({"step": 1, "done": ["a"]}))).await.unwrap();
        environments::set_context(f.core(), f.env(), &object(json!({"step": 2}))).await.unwrap();
        assert_eq!(read(f.env()).await, object(json!({"step": 2})));
        assert_eq!(read(f.node.prd.id).await, Map::new());
    }

    async fn ops_16_another_node_follows_every_setting_within_a_second(db: TestDb) {
        let f = People::on(db).await;
        if f.node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = f.node.second_node().await.unwrap();
        let id = f.env();
        let there = async || environments::by_id(&other, id).await.unwrap().unwrap();
        let users_there = async || users::user_management(&other, id).await.unwrap();
        let look_there = async || branding::look(&other, f.environment(), None).await.unwrap();
        // All of it is in the other node's memory before it changes.
        assert!(there().await.has_feature("sso") && users_there().await.allow_organization_signup);
        assert_eq!(look_there().await, Look::default());
        let patch = SessionSettingsPatch { absolute_timeout: minutes(60), ..SessionSettingsPatch::default() };
        environments::update_session_settings(f.core(), id, patch).await.unwrap();
        within_a_second("a lifetime", async || there().await.session.absolute_timeout.minutes == 60).await;
        switch(&f, Switch::FullStack, false).await;
        within_a_second("the mode", async || there().await.authentication_mode == AuthenticationMode::Modular).await;
        let patch = UserManagementPatch { allow_organization_signup: Some(false), ..UserManagementPatch::default() };
        users::update_user_management(f.core(), id, patch).await.unwrap();
        within_a_second("sign-up", async || !users_there().await.allow_organization_signup).await;
        branding::update(f.core(), id, object(json!({"app_name": "Rocket"}))).await.unwrap();
        within_a_second("the look", async || look_there().await.app_name() == Some("Rocket")).await;
    }
}
