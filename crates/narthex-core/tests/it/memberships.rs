//! Memberships: made, changed, ended; seats; and what an organization takes with it.

use std::time::Duration;

use narthex_core::ids::OrganizationId;
use narthex_core::memberships::{self, Addition, Provisioning, Status};
use narthex_core::organizations::{self, Identity as Organization};
use narthex_core::pages::PageRequest;
use narthex_core::roles::{self, NewRole, Reference, Scope};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, NewSession};
use narthex_core::users::{self, Identity, UserManagement};
use narthex_core::{Error, Kind, jobs};
use serde_json::{Value, json};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{
    People, Rival, direct, existing, invited, map, named, postgres_database, roles_of, until_it_waits,
};

const DAY: Duration = Duration::from_hours(24);

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, part: &str) {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error:?}");
    assert!(error.message().contains(part), "{error:?}");
}

async fn set_seats(f: &People, organization: OrganizationId, seats: Option<i32>) {
    organizations::set_max_allowed_users(f.core(), f.env(), &f.by, organization, seats).await.unwrap();
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn mem_01_mem_02_a_user_joins_a_second_organization_once(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt, carl) = (f.organization("Acme").await, f.organization("Bolt").await, f.organization("Carl").await);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let set = users::UserPatch { external_id: organizations::Patch::Set("ann-1".into()), ..users::UserPatch::default() };
        users::update(f.core(), f.env(), Identity::Id(ann), set).await.unwrap();
        assert_eq!(f.add(existing(bolt, Identity::Id(ann))).await.unwrap().memberships.len(), 2);
        assert_eq!(f.add(existing(carl, Identity::ExternalId("ann-1".into()))).await.unwrap().memberships.len(), 3);
        let error = assert_invalid(f.add(existing(bolt, Identity::Id(ann))).await, "membership");
        assert_eq!(error.message(), "duplicate key not allowed: membership already exists");
        assert_not_found(f.add(existing(bolt, Identity::ExternalId("ann-2".into()))).await);
        assert_not_found(f.add(existing(OrganizationId(1), Identity::Id(ann))).await);
        f.add(invited(acme, "bob@example.com")).await.unwrap();
        assert_invalid(f.add(invited(acme, "bob@example.com")).await, "email");
        assert_eq!(f.event_types().await.len(), 4, "refusals leave no event");
    }

    async fn mem_03_an_update_replaces_what_is_not_empty(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        f.role("viewer").await;
        let ann = Identity::Id(f.member(acme, "ann@example.com").await.user.id);
        let update = async |roles: &[&str], metadata| {
            memberships::update(f.core(), f.env(), &f.by, acme, ann.clone(), named(roles), metadata).await
        };
        let changed = update(&["admin", "viewer", "admin"], map([])).await.unwrap();
        assert_eq!(roles_of(&changed), ["admin", "viewer"]);
        let changed = update(&[], map([("seat", "3")])).await.unwrap();
        assert_eq!((roles_of(&changed).len(), &changed.memberships[0].membership.metadata), (2, &map([("seat", "3")])));
        let changed = update(&["viewer"], map([])).await.unwrap();
        assert_eq!((roles_of(&changed), &changed.memberships[0].membership.metadata), (vec!["viewer"], &map([("seat", "3")])));
        update(&["viewer"], map([("seat", "3")])).await.unwrap();
        let error = update(&["viewer", "nobody"], map([("seat", "4")])).await.unwrap_err();
        assert_eq!(error.field_violations()[0].field, "membership.roles[1].name");
        assert_eq!(f.get(changed.user.id).await.unwrap().memberships[0].membership.metadata, map([("seat", "3")]));
        let updated = "organization_membership_updated";
        assert_eq!(f.event_types().await, ["organization_membership_created", updated, updated, updated], "no event where nothing changed");
    }

    async fn mem_04_roles_are_added_and_taken_down_to_none(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let viewer = f.role("viewer").await;
        let own = NewRole { name: "own".into(), display_name: "Own".into(), base: Some("admin".into()), ..NewRole::default() };
        roles::create(f.core(), f.env(), Scope::Organization(acme), &f.by, own, None).await.unwrap();
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let assign = async |references| {
            let roles = memberships::assign_roles(f.core(), f.env(), &f.by, acme, ann, references).await?;
            Ok::<_, Error>(roles.into_iter().map(|role| role.name).collect::<Vec<_>>())
        };
        let remove = async |name: &str| memberships::remove_role(f.core(), f.env(), &f.by, acme, ann, name.into()).await;
        assert_eq!(assign(vec![Reference::Id(viewer.id)]).await.unwrap(), ["member", "viewer"]);
        assert_eq!(assign(named(&["viewer", "own"])).await.unwrap(), ["member", "viewer", "own"]);
        assert_invalid(assign(named(&["nobody"])).await, "roles[0].name");
        let all = memberships::roles_of(f.core(), f.env(), acme, ann).await.unwrap();
        assert_eq!(all.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["member", "viewer", "own", "admin"]);
        assert_eq!(memberships::permissions_of(f.core(), f.env(), acme, ann).await.unwrap().len(), 12);
        assert_not_found(remove("admin").await);
        for name in ["member", "viewer", "own"] {
            remove(name).await.unwrap();
        }
        assert_not_found(remove("own").await);
        assert!(roles_of(&f.get(ann).await.unwrap()).is_empty(), "the default does not come back");
        assert!(memberships::permissions_of(f.core(), f.env(), acme, ann).await.unwrap().is_empty());
        let bolt = f.organization("Bolt").await;
        assert_not_found(memberships::roles_of(f.core(), f.env(), bolt, ann).await);
        assert_not_found(memberships::permissions_of(f.core(), f.env(), bolt, ann).await);
    }

    async fn mem_05_the_end_of_a_membership_ends_access_and_the_last_one_the_user(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        f.add(existing(bolt, Identity::Id(ann))).await.unwrap();
        let open = async |organization| {
            let new = NewSession::browser(ann, Some(organization), DAY);
            sessions::open(f.core(), f.env(), new).await.unwrap().id
        };
        let (here, there) = (open(acme).await, open(bolt).await);
        let ended = async |session| sessions::get(f.core(), f.env(), session).await.unwrap().unwrap().revoked_at.is_some();
        let told = async || {
            let events = f.events().await.into_iter().filter(|event| event.kind == "user.logout");
            let told = events.map(|event| serde_json::from_str::<Value>(&event.body).unwrap()["data"]["user_session"].clone());
            told.map(|told| (told["session_id"].as_str().unwrap().to_owned(), told["status"].clone())).collect::<Vec<_>>()
        };
        let remove = async |organization, cascade| {
            memberships::remove(f.core(), f.env(), &f.by, organization, Identity::Id(ann), cascade).await
        };
        remove(acme, true).await.unwrap();
        assert!(ended(here).await && !ended(there).await);
        assert_eq!(told().await, [(here.to_string(), json!("REVOKED"))], "and the one that goes on is not told of");
        assert_eq!(f.get(ann).await.unwrap().memberships.len(), 1);
        assert_not_found(remove(acme, true).await);
        remove(bolt, false).await.unwrap();
        assert!(ended(there).await);
        assert_eq!(told().await.len(), 2);
        assert!(f.get(ann).await.unwrap().memberships.is_empty(), "kept");
        f.add(existing(acme, Identity::Id(ann))).await.unwrap();
        let nowhere = sessions::open(f.core(), f.env(), NewSession::browser(ann, None, DAY)).await.unwrap().id;
        remove(acme, true).await.unwrap();
        assert_not_found(f.get(ann).await);
        assert_eq!(told().await[2..], [(nowhere.to_string(), json!("REVOKED"))], "with the user everything goes");
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_not_found(remove(acme, true).await);
        assert_eq!(f.number("SELECT COUNT(*) FROM membership_roles").await, 0);
        let deleted = f.event_types().await.into_iter().filter(|kind| kind == "organization_membership_deleted").count();
        assert_eq!(deleted, 3);
    }

    async fn mem_06_who_gets_no_role_gets_the_default_one(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        f.role("viewer").await;
        roles::set_organization_default(f.core(), f.env(), &f.by, bolt, Reference::Name("viewer".into())).await.unwrap();
        assert_eq!(roles_of(&f.member(acme, "ann@example.com").await), ["member"]);
        assert_eq!(roles_of(&f.member(bolt, "bob@example.com").await), ["viewer"]);
        let given = Addition { roles: named(&["admin"]), ..direct(bolt, "carl@example.com") };
        assert_eq!(roles_of(&f.add(given).await.unwrap()), ["admin"]);
        let unknown = Addition { roles: named(&["nobody"]), ..direct(bolt, "dora@example.com") };
        assert_invalid(f.add(unknown).await, "membership.roles[0].name");
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 3, "nothing is half written");
    }

    async fn mem_07_events_tell_of_organization_and_user(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await;
        memberships::update(f.core(), f.env(), &f.by, acme, Identity::Id(ann.user.id), named(&["admin"]), map([])).await.unwrap();
        memberships::remove(f.core(), f.env(), &f.by, acme, Identity::Id(ann.user.id), false).await.unwrap();
        let events = f.events().await;
        assert_eq!(events.len(), 3);
        for event in events {
            let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
            assert_eq!((&body["object"], &body["organization_id"]), (&"OrgMembership".into(), &acme.to_string().into()));
            let data = &body["data"];
            assert_eq!((&data["organization"]["id"], &data["organization"]["display_name"]), (&acme.to_string().into(), &"Acme".into()));
            let user = &data["user"];
            assert_eq!((&user["id"], &user["email"], &user["external_id"]), (&ann.user.id.to_string().into(), &"ann@example.com".into(), &"".into()));
            assert_eq!((&user["metadata"], &user["user_profile"]["groups"]), (&serde_json::json!({}), &serde_json::Value::Null));
            assert_eq!(user["user_profile"]["id"], ann.user.profile.id.to_string());
            assert!(user.get("memberships").is_none() && user.get("last_login_time").is_none());
        }
    }

    async fn mem_08_a_membership_says_how_it_came_to_be(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        for (way, expected) in [
            (Provisioning::Direct, "direct_provision"),
            (Provisioning::Jit, "jit_using_sso"),
            (Provisioning::AllowedDomain, "allowed_email_domain"),
            (Provisioning::Creator, "org_creator"),
        ] {
            let made = f.add(Addition { provisioning: way, ..direct(acme, &format!("{expected}@example.com")) }).await.unwrap();
            let read = f.get(made.user.id).await.unwrap();
            assert_eq!(read.memberships[0].membership.provisioning.name(), expected);
        }
        let invited = f.add(invited(acme, "invited@example.com")).await.unwrap();
        assert_eq!(invited.memberships[0].membership.provisioning.name(), "invitation");
    }

    async fn org_13_a_full_organization_takes_nobody_in_by_any_way(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        f.add(invited(acme, "bob@example.com")).await.unwrap();
        let guest = f.member(bolt, "guest@example.com").await.user.id;
        set_seats(&f, acme, Some(2)).await;
        for way in [Provisioning::Direct, Provisioning::Jit, Provisioning::AllowedDomain, Provisioning::Creator] {
            assert_refused(f.add(Addition { provisioning: way, ..direct(acme, "carl@example.com") }).await, "limit of 2 users");
        }
        assert_refused(f.add(invited(acme, "carl@example.com")).await, "limit of 2 users");
        assert_refused(f.add(existing(acme, Identity::Id(guest))).await, "limit of 2 users");
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 3, "a refusal leaves no user");
        // Lowering it evicts nobody; 0 is no limit; no value falls back to the environment's.
        set_seats(&f, acme, Some(1)).await;
        assert!(f.get(ann).await.is_ok());
        set_seats(&f, acme, Some(0)).await;
        f.member(acme, "carl@example.com").await;
        let settings = UserManagement { enable_max_users_limit: true, max_users_limit: Some(3), ..UserManagement::default() };
        users::set_user_management(f.core(), f.env(), settings).await.unwrap();
        f.member(acme, "dora@example.com").await;
        set_seats(&f, acme, None).await;
        assert_refused(f.add(direct(acme, "emil@example.com")).await, "limit of 3 users");
        set_seats(&f, acme, Some(5)).await;
        f.member(acme, "emil@example.com").await;
        assert_refused(f.add(direct(acme, "fred@example.com")).await, "limit of 5 users");
        f.delete(Identity::Id(ann)).await.unwrap();
        f.member(acme, "fred@example.com").await;
    }

    async fn org_13_of_many_at_once_no_more_come_in_than_there_are_seats(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        set_seats(&f, acme, Some(3)).await;
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..10 {
            let (core, environment, by) = (f.core().clone(), f.environment().clone(), f.by.clone());
            let addition = direct(acme, &format!("user{i}@example.com"));
            tasks.spawn(async move { memberships::add(&core, &environment, &by, addition, None).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.kind() == Kind::FailedPrecondition));
        assert_eq!(f.number("SELECT COUNT(*) FROM memberships").await, 3);
    }

    async fn a_user_of_one_organization_only_joins_no_second(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let settings = UserManagement { single_organization: true, ..UserManagement::default() };
        users::set_user_management(f.core(), f.env(), settings.clone()).await.unwrap();
        assert_eq!(users::user_management(f.core(), f.env()).await.unwrap(), settings);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        assert_refused(f.add(existing(bolt, Identity::Id(ann))).await, "another organization");
        assert_refused(f.add(direct(bolt, "ann@example.com")).await, "another organization");
        for bad in [0, 43_201] {
            let settings = UserManagement { invitation_expiry_minutes: bad, ..UserManagement::default() };
            assert_invalid(users::set_user_management(f.core(), f.env(), settings).await, "user_management.invitation_expiry");
        }
    }

    async fn who_was_put_aside_by_a_directory_is_a_member_again_without_an_invitation(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.add(Addition { roles: named(&["admin"]), ..direct(acme, "ann@example.com") }).await.unwrap().user.id;
        f.node.db.write(async |tx| tx.execute("UPDATE memberships SET state = 2", &[]).await).await.unwrap();
        assert_eq!(f.get(ann).await.unwrap().memberships[0].status, Status::Inactive);
        let back = f.add(invited(acme, "ann@example.com")).await.unwrap();
        assert_eq!((back.memberships[0].status, roles_of(&back)), (Status::Active, vec!["admin"]));
    }

    async fn org_17_an_organization_takes_its_memberships_and_the_users_it_alone_had(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let own = NewRole { name: "own".into(), display_name: "Own".into(), ..NewRole::default() };
        roles::create(f.core(), f.env(), Scope::Organization(acme), &f.by, own, None).await.unwrap();
        let both = f.add(Addition { roles: named(&["own"]), ..direct(acme, "both@example.com") }).await.unwrap().user.id;
        f.add(existing(bolt, Identity::Id(both))).await.unwrap();
        let mut only = Vec::new();
        for i in 0..45 {
            only.push(f.member(acme, &format!("user{i}@example.com")).await.user.id);
        }
        f.add(invited(acme, "waiting@example.com")).await.unwrap();
        let session = sessions::open(f.core(), f.env(), NewSession::browser(only[0], None, DAY)).await.unwrap().id;
        let of_both = sessions::open(f.core(), f.env(), NewSession::browser(both, Some(acme), DAY)).await.unwrap().id;
        let portal = sessions::open(f.core(), f.env(), NewSession::portal(acme, None, vec![], DAY)).await.unwrap().id;
        let before = f.event_types().await.len();
        organizations::delete(f.core(), f.env(), &f.by, Organization::Id(acme)).await.unwrap();
        assert_eq!(f.get(both).await.unwrap().memberships.len(), 1, "from this moment on");
        for ended in [of_both, portal] {
            assert!(sessions::get(f.core(), f.env(), ended).await.unwrap().unwrap().revoked_at.is_some());
        }
        let events = f.events().await;
        assert_eq!(events[before..].iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["user.logout"]);
        assert!(events[before].body.contains(&of_both.to_string()));
        jobs::drain(f.core()).await.unwrap();
        for id in &only {
            assert_not_found(f.get(*id).await);
        }
        assert!(sessions::get(f.core(), f.env(), session).await.unwrap().unwrap().revoked_at.is_some());
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM memberships").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM membership_roles").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 0);
        assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE organization_id IS NOT NULL").await, 0);
        let logouts = vec!["logout"; 2];
        assert_eq!(f.event_types().await[before..], logouts, "one per session, none per member");
        let page = users::list(f.core(), f.env(), &PageRequest::default()).await.unwrap();
        assert_eq!((page.total, page.items[0].user.id), (1, both));
        f.node.clock.advance(DAY);
        jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM erasures").await, 0);
        assert_eq!(f.number("SELECT COUNT(*) FROM events WHERE body LIKE '%user7@example.com%'").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_13_the_last_seat_goes_to_whoever_commits_first() {
    let Some(db) = postgres_database().await else { return };
    let f = People::on(db).await;
    let acme = f.organization("Acme").await;
    f.member(acme, "ann@example.com").await;
    let bob = f.add(direct(f.organization("Bolt").await, "bob@example.com")).await.unwrap().user.id;
    set_seats(&f, acme, Some(2)).await;
    // The rival has looked, found a free seat, and taken it. It also holds the row that the other will wait for: the same user.
    let sql = format!(
        "SELECT COUNT(*) FROM memberships WHERE organization_id = {0} AND state = 1; \
         INSERT INTO memberships (organization_id, user_id, environment_id, state, metadata, provisioning, resent_count, created_at, updated_at) \
         VALUES ({0}, {1}, {2}, 1, '{{}}', 'direct_provision', 0, 0, 0)",
        acme.0,
        bob.0,
        f.env().0
    );
    let url = f.node.database.options().url.clone();
    for (end, expected) in [("ROLLBACK", true), ("COMMIT", false)] {
        let rival = Rival::begin(&url, &sql).await;
        let (core, environment, by) = (f.core().clone(), f.environment().clone(), f.by.clone());
        let addition = existing(acme, Identity::Id(bob));
        let adding = tokio::spawn(async move { memberships::add(&core, &environment, &by, addition, None).await });
        let adding = until_it_waits(&url, adding).await;
        rival.end(end).await;
        let result = adding.await.unwrap();
        assert_eq!(result.is_ok(), expected, "{result:?}");
        if expected {
            memberships::remove(f.core(), f.env(), &f.by, acme, Identity::Id(bob), false).await.unwrap();
        }
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM memberships WHERE organization_id IN (SELECT id FROM organizations WHERE display_name = 'Acme')").await, 2);
    // And with two different people there is no row to wait for: the count alone decides.
    set_seats(&f, acme, Some(3)).await;
    let carl = f.organization("Carl").await;
    let carla = f.member(carl, "carla@example.com").await.user.id;
    let sql = sql.replace(&bob.0.to_string(), &carla.0.to_string());
    let rival = Rival::begin(&url, &sql).await;
    f.member(acme, "dora@example.com").await;
    let lost = rival.try_end("COMMIT").await;
    assert!(lost.is_err(), "both saw one free seat; the database lets one of them have it");
    assert_refused(f.add(existing(acme, Identity::Id(carla))).await, "limit of 3 users");
}
