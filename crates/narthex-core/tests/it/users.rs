//! Users: made, found, changed, deleted, forgotten.

use std::collections::HashSet;
use std::time::Duration;

use narthex_core::events::audit;
use narthex_core::ids::{EnvId, OrganizationId, SessionId, UserId};
use narthex_core::memberships::{self, Addition, State, Status, Subject};
use narthex_core::organizations::Patch;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::passkeys::{self, NewPasskey};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, Device, NewSession};
use narthex_core::testing::authenticator::Authenticator;
use narthex_core::users::{self, Identity, NewUser, ProfilePatch, UserPatch, View};
use narthex_core::{Kind, connections, jobs, testing, totp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, direct, existing, invited, map, named};

const DAY: Duration = Duration::from_hours(24);

fn with(organization: OrganizationId, new: NewUser) -> Addition {
    Addition { subject: Subject::New(new), ..direct(organization, "") }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn usr_01_without_an_invitation_a_user_is_a_verified_member_at_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let made = f.member(acme, "ann@example.com").await;
        assert!(made.user.id.to_string().starts_with("usr_") && made.user.profile.id.to_string().starts_with("usp_"));
        assert!(made.user.profile.email_verified);
        let [member] = &made.memberships[..] else { panic!("{made:?}") };
        assert_eq!((member.status, member.membership.provisioning.name()), (Status::Active, "direct_provision"));
        assert_eq!((member.membership.organization, member.organization_name.as_str()), (acme, "Acme"));
        assert!(member.membership.joined_at.is_some() && member.membership.expires_at.is_none());
        assert_eq!(f.get(made.user.id).await.unwrap(), made);
        assert_not_found(users::get(f.core(), EnvId(1), Identity::Id(made.user.id)).await);
        assert_not_found(f.add(direct(OrganizationId(1), "bob@example.com")).await);
        assert_eq!(f.event_types().await, ["organization_membership_created"]);
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 1, "a refused create leaves no user");
    }

    async fn usr_01_the_answer_to_a_create_is_what_is_read_later(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        for role in ["buyer", "seller"] {
            f.role(role).await;
        }
        // The first one reads what the roles allow from the database, the second from memory.
        for email in ["ann@example.com", "bob@example.com"] {
            for (prefix, make) in [("", direct as fn(_, &str) -> Addition), ("invited-", invited)] {
                let mut addition = make(acme, &format!("{prefix}{email}"));
                addition.roles = named(&["seller", "buyer", "admin"]);
                let made = f.add(addition).await.unwrap();
                assert!(!made.memberships[0].permissions.is_empty(), "those of admin");
                assert_eq!(f.get(made.user.id).await.unwrap(), made);
            }
        }
    }

    async fn usr_02_usr_03_an_invited_user_waits_until_the_invitation_ends(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let addition = Addition { inviter_email: Some("Boss@Example.com".into()), ..invited(acme, "ann@example.com") };
        let made = f.add(addition).await.unwrap();
        assert!(!made.user.profile.email_verified);
        let member = &made.memberships[0];
        assert_eq!((member.status, member.membership.provisioning.name()), (Status::PendingInvite, "invitation"));
        assert_eq!(member.membership.inviter_email.as_deref(), Some("Boss@Example.com"));
        let lifetime = member.membership.expires_at.unwrap().0 - member.membership.invited_at.unwrap().0;
        assert_eq!(lifetime, 15 * 24 * 3_600 * 1_000_000, "inv_07: fifteen days unless told otherwise");
        assert_eq!((member.membership.joined_at, member.membership.accepted_at), (None, None));
        assert_eq!(f.event_types().await, ["organization_invitation"]);
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 1);
        let refused = Addition { inviter_email: Some("nobody".into()), ..invited(acme, "bob@example.com") };
        assert_invalid(f.add(refused).await, "membership.inviter_email");
    }

    async fn usr_05_an_external_id_is_unique_and_finds_its_user(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let new = |email: &str, id: &str| NewUser { email: email.into(), external_id: Some(id.into()), ..NewUser::default() };
        let ann = f.add(with(acme, new("ann@example.com", "crm/1 ä"))).await.unwrap();
        let by = |id: &str| Identity::ExternalId(id.into());
        assert_eq!(users::get(f.core(), f.env(), by("crm/1 ä")).await.unwrap(), ann);
        for other in ["crm/1", "", "a\0b"] {
            assert_not_found(users::get(f.core(), f.env(), by(other)).await);
        }
        assert_not_found(users::get(f.core(), EnvId(1), by("crm/1 ä")).await);
        let error = assert_invalid(f.add(with(acme, new("bob@example.com", "crm/1 ä"))).await, "external_id");
        assert_eq!(error.message(), "duplicate key not allowed: external_id already exists");
        let bob = f.member(acme, "bob@example.com").await;
        let set = |id: &str| UserPatch { external_id: Patch::Set(id.into()), ..UserPatch::default() };
        let update = async |who, patch| users::update(f.core(), f.env(), who, patch).await;
        assert_invalid(update(Identity::Id(bob.user.id), set("crm/1 ä")).await, "external_id");
        assert_invalid(update(Identity::Id(bob.user.id), set(&"x".repeat(511))).await, "user.external_id");
        update(by("crm/1 ä"), set("crm/2")).await.unwrap();
        update(Identity::Id(bob.user.id), set("crm/1 ä")).await.unwrap();
        let clear = UserPatch { external_id: Patch::Clear, ..UserPatch::default() };
        assert_eq!(update(by("crm/2"), clear).await.unwrap().user.external_id, None);
        f.delete(by("crm/1 ä")).await.unwrap();
        assert_not_found(f.delete(by("crm/1 ä")).await);
    }

    async fn usr_06_an_address_belongs_to_one_user_in_any_letter_case(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.add(with(acme, NewUser {
            email: "Ann@Example.com".into(),
            profile: ProfilePatch { given_name: Some("Ann".into()), ..ProfilePatch::default() },
            ..NewUser::default()
        })).await.unwrap();
        assert_eq!(ann.user.email, "Ann@Example.com", "kept as it was given");
        assert_invalid(f.add(direct(acme, "aNN@example.COM")).await, "email");
        // In another organization it is the same person, who stays as they are.
        let again = f.add(with(bolt, NewUser {
            email: "ann@example.com".into(),
            profile: ProfilePatch { given_name: Some("Mallory".into()), ..ProfilePatch::default() },
            ..NewUser::default()
        })).await.unwrap();
        assert_eq!((again.user.id, again.user.profile.given_name.as_str()), (ann.user.id, "Ann"));
        assert_eq!(again.memberships.len(), 2);
        for bad in ["ann", "ａnn@example.com", "ann@exämple.com", "ann@example.com\0", ""] {
            assert_invalid(f.add(direct(bolt, bad)).await, "user.email");
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 1);
    }

    async fn usr_04_usr_07_usr_08_a_profile_changes_field_by_field_and_maps_as_a_whole(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let text = |text: &str| Some(text.to_owned());
        let profile = ProfilePatch {
            given_name: text("Ann"), family_name: text("Lee"), name: text("Dr. Ann Lee"), locale: text("de-CH"),
            phone_number: text("(555) 1"), preferred_username: text("ann"), picture: text("https://x.example/a.png"),
            gender: text("f"), groups: Some(vec!["b".into(), "a".into()]), metadata: Some(map([("raw", "1")])),
            custom_attributes: Some(map([("floor", "3"), ("team", "blue")])),
        };
        let new = NewUser { email: "ann@example.com".into(), metadata: map([("plan", "pro")]), profile, external_id: None };
        let made = f.add(with(acme, new)).await.unwrap();
        assert_eq!(made.user.profile.groups, ["b", "a"]);
        let update = async |patch| users::update(f.core(), f.env(), Identity::Id(made.user.id), patch).await;
        let changed = update(UserPatch {
            profile: ProfilePatch {
                family_name: text("Ray"), gender: text(""), custom_attributes: Some(map([("floor", "4")])), ..ProfilePatch::default()
            },
            ..UserPatch::default()
        }).await.unwrap().user;
        assert_eq!(changed.profile.custom_attributes, map([("floor", "4")]), "replaced");
        assert_eq!((changed.profile.given_name.as_str(), changed.profile.family_name.as_str()), ("Ann", "Ray"));
        assert_eq!((changed.profile.gender.as_str(), changed.profile.name.as_str()), ("", "Dr. Ann Lee"));
        assert_eq!((&changed.metadata, changed.profile.groups.len()), (&map([("plan", "pro")]), 2));
        assert!(changed.updated_at > made.user.updated_at);
        assert_eq!(f.get(made.user.id).await.unwrap().user, changed);
        let nul = UserPatch { metadata: Some(map([("key", "a\0b")])), ..UserPatch::default() };
        assert_invalid(update(nul).await, "user.metadata");
        assert_not_found(users::update(f.core(), f.env(), Identity::Id(UserId(1)), UserPatch::default()).await);
    }

    async fn usr_09_a_user_is_shown_with_all_memberships_roles_and_permissions(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.add(Addition { roles: named(&["admin"]), metadata: map([("seat", "1")]), ..direct(acme, "ann@example.com") }).await.unwrap();
        let both = f.add(existing(bolt, Identity::Id(ann.user.id))).await.unwrap();
        assert_eq!(both.user.environment, f.env());
        let shown: Vec<_> = both.memberships.iter().map(|member| {
            (member.organization_name.as_str(), member.roles[0].name.as_str(), member.permissions.len())
        }).collect();
        assert_eq!(shown, [("Acme", "admin", 12), ("Bolt", "member", 2)]);
        assert_eq!(both.memberships[0].membership.metadata, map([("seat", "1")]));
        assert!(both.memberships[0].permissions.contains(&"sk_org_users_invite".to_owned()));
    }

    async fn usr_11_any_part_of_address_id_or_external_id_in_any_case(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let new = NewUser { email: "Ann.Lee@Example.com".into(), external_id: Some("CRM-0815_%".into()), ..NewUser::default() };
        let ann = f.add(with(acme, new)).await.unwrap().user.id;
        let bob = f.member(bolt, "bob@example.com").await.user.id;
        let hits = async |organization, query: &str| -> Vec<UserId> {
            let page = users::search(f.core(), f.env(), organization, query, &PageRequest::default()).await.unwrap();
            assert_eq!(page.total, page.items.len() as u64);
            page.items.into_iter().map(|view| view.user.id).collect()
        };
        // Before and after the rows are indexed: the same answers.
        for _ in 0..2 {
            assert_eq!(hits(None, "ann.l").await, [ann]);
            assert_eq!(hits(None, "EXAMPLE").await, [bob, ann]);
            assert_eq!(hits(None, &ann.to_string()[8..]).await, [ann]);
            for part in ["crm-08", "15_%"] {
                assert_eq!(hits(None, part).await, [ann], "{part}");
            }
            for nothing in ["carl", "a%n", "ann*", "\"ann", "ann OR bob"] {
                assert_eq!(hits(None, nothing).await, [], "{nothing}");
            }
            assert_eq!(hits(Some(acme), "example").await, [ann]);
            assert_eq!(hits(Some(bolt), "ann").await, []);
            jobs::drain(f.core()).await.unwrap();
        }
        assert_not_found(users::search(f.core(), f.env(), Some(OrganizationId(1)), "ann", &PageRequest::default()).await);
        assert_eq!(users::search(f.core(), EnvId(1), None, "ann", &PageRequest::default()).await.unwrap().total, 0);
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_eq!(hits(None, "example").await, [bob]);
    }

    async fn usr_11_a_row_with_all_trigrams_of_a_query_but_not_the_query_is_no_hit(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        f.member(acme, "xabcdefgx.yefghijky@example.com").await;
        let ann = f.member(acme, "abcdefghijk@example.com").await.user.id;
        let hits = async |query: &str| -> Vec<UserId> {
            let page = users::search(f.core(), f.env(), None, query, &PageRequest::default()).await.unwrap();
            assert_eq!(page.total, page.items.len() as u64);
            page.items.into_iter().map(|view| view.user.id).collect()
        };
        for _ in 0..2 {
            assert_eq!(hits("abcdefghijk").await, [ann]);
            assert_eq!(hits("bcdefg").await.len(), 2);
            assert_eq!(hits("abcdefghijk@example.com").await, [ann]);
            jobs::drain(f.core()).await.unwrap();
        }
    }

    async fn usr_12_a_deleted_user_is_gone_everywhere_and_deleting_again_is_no_error(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        f.add(existing(bolt, Identity::Id(ann))).await.unwrap();
        let mut open = Vec::new();
        for organization in [Some(acme), Some(bolt), None] {
            let new = NewSession::browser(ann, organization, DAY);
            open.push(sessions::open(f.core(), f.env(), new).await.unwrap().id);
        }
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_not_found(f.get(ann).await);
        for session in open {
            assert!(sessions::get(f.core(), f.env(), session).await.unwrap().unwrap().revoked_at.is_some());
        }
        f.delete(Identity::Id(ann)).await.unwrap();
        f.delete(Identity::Id(UserId(12_345))).await.unwrap();
        let (logout, deleted) = ("logout", "organization_membership_deleted");
        let types = f.event_types().await;
        assert_eq!(types[2..], [logout, logout, logout, deleted, deleted]);
        for left in ["SELECT COUNT(*) FROM memberships", "SELECT COUNT(*) FROM membership_roles", "SELECT COUNT(*) FROM users"] {
            assert_eq!(f.number(left).await, 0, "{left}");
        }
        // The address is free: whoever has it next is somebody else.
        assert_ne!(f.member(acme, "ann@example.com").await.user.id, ann);
    }

    async fn usr_12_more_memberships_and_sessions_than_one_transaction_takes_go_all_the_same(db: TestDb) {
        let f = People::on(db).await;
        let first = f.organization("First").await;
        let ann = f.member(first, "ann@example.com").await.user.id;
        for i in 0..45 {
            let organization = f.organization(&format!("Acme {i}")).await;
            f.add(existing(organization, Identity::Id(ann))).await.unwrap();
        }
        let (environment, mut rows) = (f.env(), Vec::new());
        for _ in 0..230 {
            rows.push(NewSession::browser(ann, Some(first), DAY).build(f.core(), environment));
        }
        f.node.db.write(async move |tx| {
            for row in &rows { sessions::insert(tx, row).await?; }
            Ok::<_, narthex_core::Error>(())
        }).await.unwrap();
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM sessions WHERE user_id IS NOT NULL AND revoked_at IS NULL").await, 0);
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "logout").count(), 230);
        assert_eq!(f.number("SELECT COUNT(*) FROM memberships").await, 0);
        assert_eq!(f.event_types().await.iter().filter(|kind| kind.ends_with("deleted")).count(), 46);
    }

    async fn a_deleted_user_leaves_no_personal_data_and_an_intact_audit_chain(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let text = |text: &str| Some(text.to_owned());
        let profile = ProfilePatch {
            given_name: text("Griselda"), family_name: text("Featherstone"), phone_number: text("+41791234567"),
            groups: Some(vec!["whistleblowers".into()]), custom_attributes: Some(map([("badge", "QX77")])),
            picture: text("https://faces.example/griselda.png"), ..ProfilePatch::default()
        };
        let new = NewUser {
            email: "Griselda@Featherstone.example".into(), external_id: text("emp-griselda"), metadata: map([("note", "griseldanote")]), profile,
        };
        let ann = f.add(with(acme, new)).await.unwrap().user.id;
        memberships::update(f.core(), f.env(), &f.by, acme, Identity::Id(ann), named(&["admin"]), map([("seat", "griseldaseat")])).await.unwrap();
        f.add(existing(bolt, Identity::Id(ann))).await.unwrap();
        let inviting = Addition { inviter_email: text("griselda@featherstone.example"), ..invited(acme, "bob@example.com") };
        let bob = f.add(inviting).await.unwrap().user.id;
        let webauthn = connections::webauthn(f.core(), f.env()).await.unwrap().unwrap().id;
        connections::set_enabled(f.core(), f.env(), webauthn, true).await.unwrap();
        let asked = passkeys::begin_registration(f.core(), f.environment(), ann, SessionId(1)).await.unwrap();
        let device = Device { user_agent: "griselda's browser".into(), ip: "198.51.100.77".into(), ..Device::default() };
        let new = NewPasskey { device, ..Authenticator::new(&f.core().random).create(&asked, "https://dev.test") };
        let passkey = passkeys::finish_registration(f.core(), f.environment(), ann, SessionId(1), new).await.unwrap().id;
        passkeys::rename(f.core(), f.env(), Some(ann), passkey, "griseldakey".into()).await.unwrap();
        totp::register(f.core(), f.environment(), totp::Subject::User(ann)).await.unwrap();
        let sealed = jobs::drain(f.core()).await.unwrap();
        assert!(sealed > 0);
        let before = testing::dump(&f.node.db).await.unwrap();
        for trace in ["griselda", "198.51.100.77", "griseldakey", "griselda's browser"] {
            assert!(before.contains(trace), "the search finds what is there: {trace}");
        }

        f.delete(Identity::Id(ann)).await.unwrap();
        jobs::drain(f.core()).await.unwrap();
        assert!(testing::dump(&f.node.db).await.unwrap().contains("griselda"), "deliveries of the last events still have their day");
        f.node.clock.advance(DAY);
        jobs::drain(f.core()).await.unwrap();
        let dump = testing::dump(&f.node.db).await.unwrap();
        for trace in ["griselda", "featherstone", "+4179", "whistleblowers", "qx77", "198.51.100"] {
            let at = dump.find(trace).map(|at| &dump[at.saturating_sub(300)..(at + 100).min(dump.len())]);
            assert_eq!(at, None, "{trace}");
        }
        // What happened, and to which number, is still told; others are whole.
        let events = f.events().await;
        assert_eq!(events.iter().filter(|event| event.body.contains(&ann.to_string())).count(), 5);
        assert!(events.iter().any(|event| event.body.contains("bob@example.com")));
        assert!(events[0].body.starts_with("{\"spec_version\":\"1\",\"id\":\"evt_"));
        assert_eq!(f.get(bob).await.unwrap().memberships[0].membership.inviter_email, None);
        assert_eq!(audit::verify(&f.node.db, f.env()).await.unwrap(), []);
        // A redaction excuses itself, not what is changed afterwards.
        f.node.db.write(async |tx| tx.execute("UPDATE events SET body = '{}' WHERE type = 'user.organization_membership_updated'", &[]).await).await.unwrap();
        assert_eq!(audit::verify(&f.node.db, f.env()).await.unwrap().len(), 1);
        // Nor does SQLite's file keep what no row holds any more. Closing it takes all over from the log.
        if let Some(file) = f.node.database.folder().map(|folder| folder.join("test.db")) {
            f.node.database.db().close().await;
            let raw = String::from_utf8_lossy(&std::fs::read(file).unwrap()).to_lowercase();
            assert!(raw.contains("bob@example.com"), "the search finds what is there");
            for trace in ["griselda", "featherstone", "+4179", "whistleblowers", "qx77", "198.51.100"] {
                assert!(!raw.contains(trace), "{trace}");
            }
        }
    }

    async fn usr_10_lists_are_newest_first_and_totals_follow_every_change(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let mut made = Vec::new();
        for i in 0..13 {
            made.insert(0, f.member(acme, &format!("user{i}@example.com")).await.user.id);
        }
        f.add(existing(bolt, Identity::Id(made[4]))).await.unwrap();
        f.add(invited(bolt, "late@example.com")).await.unwrap();
        let all = async |size, token: &str| users::list(f.core(), f.env(), &PageRequest { size, token: token.into() }).await.unwrap();
        let whole = all(100, "").await;
        assert_eq!((whole.total, whole.items.len(), whole.items[1].user.id), (14, 14, made[0]));
        assert_eq!(all(0, "").await.items.len(), 10, "the default");
        assert_eq!(all(1, "").await.items.len(), 1);
        let second = all(5, &all(5, "").await.next).await;
        assert_eq!(ids(&second), made[4..9]);
        assert_eq!(ids(&all(5, &second.prev).await), ids(&whole)[..5]);
        let of = async |organization| users::list_of_organization(f.core(), f.env(), organization, &PageRequest::default()).await;
        let bolts = of(bolt).await.unwrap();
        assert_eq!((bolts.total, bolts.items.len(), bolts.items[1].user.id), (2, 2, made[4]));
        assert!(bolts.items.iter().all(|view| view.memberships.len() == 1 && view.memberships[0].membership.organization == bolt));
        assert_eq!(bolts.items[0].memberships[0].membership.state, State::Invited);
        assert_not_found(of(OrganizationId(1)).await);
        assert_not_found(users::list_of_organization(f.core(), EnvId(1), acme, &PageRequest::default()).await);
        memberships::remove(f.core(), f.env(), &f.by, bolt, Identity::Id(made[4]), true).await.unwrap();
        f.delete(Identity::Id(made[0])).await.unwrap();
        assert_eq!((all(1, "").await.total, of(bolt).await.unwrap().total, of(acme).await.unwrap().total), (13, 1, 12));
        let (environment, id) = (f.env(), f.node.ids.next());
        let difference = f.node.db.write(async move |tx| users::recount(tx, environment, id).await).await.unwrap();
        assert_eq!(difference, 0);
        let token = all(1, "").await.next;
        let request = PageRequest { size: 1, token };
        assert_invalid(users::search(f.core(), f.env(), None, "example", &request).await, "page_token");
        assert_invalid(users::list_of_organization(f.core(), f.env(), acme, &request).await, "page_token");
    }

    async fn usr_10_api_05_law_a_user_committed_before_page_one_and_not_deleted_appears_exactly_once(db: TestDb) {
        let f = People::on(db).await;
        let mut runner = TestRunner::deterministic();
        // Users before, page size, and what happens between two pages: inserts, and deletes of the n-th oldest.
        let plan = (0_usize..14, 1_u32..6, prop::collection::vec((0_usize..3, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..8));
        for round in 0..6 {
            let (before, size, between) = plan.new_tree(&mut runner).unwrap().current();
            let organization = f.organization(&format!("Round {round}")).await;
            let mut serial = 0;
            let mut alive = Vec::new();
            for _ in 0..before {
                serial += 1;
                alive.push(f.member(organization, &format!("u{round}-{serial}@example.com")).await.user.id);
            }
            let committed: HashSet<_> = alive.iter().copied().collect();
            let (mut deleted, mut seen, mut token) = (HashSet::new(), Vec::new(), String::new());
            let mut steps = between.into_iter();
            loop {
                let request = PageRequest { size, token };
                // By turns the list and the search of an organization: the law is the same.
                let page = if round % 2 == 0 {
                    users::list_of_organization(f.core(), f.env(), organization, &request).await.unwrap()
                } else {
                    users::search(f.core(), f.env(), Some(organization), "example", &request).await.unwrap()
                };
                seen.extend(ids(&page));
                if page.next.is_empty() {
                    break;
                }
                token = page.next;
                let Some((inserts, deletes)) = steps.next() else { continue };
                for _ in 0..inserts {
                    serial += 1;
                    alive.push(f.member(organization, &format!("u{round}-{serial}@example.com")).await.user.id);
                }
                for index in deletes {
                    if !alive.is_empty() {
                        let id = alive.remove(index.index(alive.len()));
                        f.delete(Identity::Id(id)).await.unwrap();
                        deleted.insert(id);
                    }
                }
            }
            let once: HashSet<_> = seen.iter().copied().collect();
            assert_eq!(once.len(), seen.len(), "no user twice");
            assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
            assert!(committed.difference(&deleted).all(|id| once.contains(id)));
        }
    }

    async fn usr_06_of_many_creates_of_one_address_at_once_one_makes_the_user(db: TestDb) {
        let f = People::on(db).await;
        let mut organizations = Vec::new();
        for i in 0..4 {
            organizations.push(f.organization(&format!("Acme {i}")).await);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..8 {
            let (core, environment, by) = (f.core().clone(), f.environment().clone(), f.by.clone());
            let addition = direct(organizations[i % 4], "ann@example.com");
            tasks.spawn(async move { memberships::add(&core, &environment, &by, addition, None).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.kind() == Kind::InvalidArgument));
        assert_eq!(f.number("SELECT COUNT(*) FROM users").await, 1);
        assert_eq!(f.event_types().await.len(), 4);
    }

    async fn an_operators_address_has_one_support_hash(db: TestDb) {
        let f = People::on(db).await;
        let first = users::support_hash(f.core(), "Ann@example.com").await.unwrap();
        assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(users::support_hash(f.core(), "ann@example.com").await.unwrap(), first);
        assert_ne!(users::support_hash(f.core(), "bob@example.com").await.unwrap(), first);
    }
}

fn ids(page: &Page<View>) -> Vec<UserId> {
    page.items.iter().map(|view| view.user.id).collect()
}
