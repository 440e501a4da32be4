//! Roles deleted: what keeps them, who takes their place, what goes with them.

use narthex_core::events::Actor;
use narthex_core::ids::{RoleId, UserId};
use narthex_core::memberships::Addition;
use narthex_core::organizations::{self, Identity};
use narthex_core::roles::{self, Defaults, Include, NewRole, Reference, Role, Scope};
use narthex_core::schema::Schema;
use narthex_core::{Kind, jobs};
use narthex_db::p;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, direct};
use crate::roles::{assert_refused, extending, fixture, granting, named, new};

const ENVIRONMENT: Scope = Scope::Environment;

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn rbac_08_a_role_that_is_held_stays_without_a_replacement(db: TestDb) {
        let f = fixture(db).await;
        let (acme, other) = (f.organization("Acme").await.id, f.organization("Other").await.id);
        let (old, new_one) = (f.role(new("old")).await, f.role(new("new")).await);
        for (organization, user) in [(acme, 1), (acme, 2), (other, 1), (other, 3)] {
            f.hold(organization, user, old.id).await;
        }
        f.hold(acme, 2, new_one.id).await;
        assert_refused(f.delete_role(ENVIRONMENT, "old", None).await, "role cannot be deleted as it is assigned to users");
        assert_invalid(f.delete_role(ENVIRONMENT, "old", Some("nobody")).await, "reassign_role_name");
        assert_invalid(f.delete_role(ENVIRONMENT, "old", Some("old")).await, "reassign_role_name");
        assert_eq!((f.holders(ENVIRONMENT, "old").await, f.holders(ENVIRONMENT, "new").await), (3, 1), "nothing has moved");

        f.delete_role(ENVIRONMENT, "old", Some("new")).await.unwrap();
        assert_not_found(f.get_role(ENVIRONMENT, "old", Include::Nothing).await);
        assert_eq!(f.holders(ENVIRONMENT, "new").await, 3);
        assert_eq!(f.number("SELECT COUNT(*) FROM membership_roles").await, 4, "who held both holds one");
        f.role(new("old")).await;
        f.delete_role(ENVIRONMENT, "old", Some("new")).await.expect("with no holders too");
        f.delete_role(ENVIRONMENT, "new", None).await.unwrap_err();
        assert_not_found(f.delete_role(ENVIRONMENT, "old", None).await);
        // By id, as the older parameter may carry it.
        f.role(new("next")).await;
        let next = f.get_role(ENVIRONMENT, "next", Include::Nothing).await.unwrap().role.id;
        f.delete_role(ENVIRONMENT, "new", Some(&next.to_string())).await.unwrap();
        assert_eq!(f.holders(ENVIRONMENT, "next").await, 3);
        let deleted = f.bodies("role.deleted").await;
        assert_eq!(deleted.iter().map(|body| body["data"]["name"].as_str().unwrap()).collect::<Vec<_>>(), ["old", "old", "new"]);
    }

    async fn rbac_08_a_role_of_an_organization_is_replaced_inside_it(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        let acme = Scope::Organization(organization);
        let other = Scope::Organization(f.organization("Other").await.id);
        let local = f.make_role(acme, new("local")).await.unwrap();
        f.make_role(other, new("foreign")).await.unwrap();
        f.role(new("everywhere")).await;
        f.hold(organization, 1, local.id).await;
        assert_refused(f.delete_role(acme, "local", None).await, "role cannot be deleted as it is assigned to users");
        assert_invalid(f.delete_role(acme, "local", Some("foreign")).await, "reassign_role_name");
        assert_not_found(f.delete_role(other, "local", Some("foreign")).await);
        f.delete_role(acme, "local", Some("everywhere")).await.unwrap();
        assert_eq!(f.holders(acme, "everywhere").await, 1);
        // A role of the environment is never replaced by one of a single organization.
        f.make_role(acme, new("local")).await.unwrap();
        assert_invalid(f.delete_role(ENVIRONMENT, "everywhere", Some("local")).await, "reassign_role_name");
    }

    async fn rbac_08_roles_that_extend_a_deleted_one_extend_its_replacement(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        f.role(new("root")).await;
        f.role(extending("old", "root")).await;
        f.role(extending("child", "old")).await;
        f.make_role(acme, extending("local", "old")).await.unwrap();
        f.role(new("new")).await;
        assert_refused(f.delete_role(ENVIRONMENT, "old", None).await, "role cannot be deleted as other roles extend it");
        f.delete_role(ENVIRONMENT, "old", Some("new")).await.unwrap();
        let base = async |scope, name| f.get_role(scope, name, Include::Nothing).await.unwrap().role.base.map(|base| base.name);
        assert_eq!(base(ENVIRONMENT, "child").await.as_deref(), Some("new"));
        assert_eq!(base(acme, "local").await.as_deref(), Some("new"));
        let rebased: Vec<_> = f.bodies("role.updated").await;
        assert_eq!(rebased.len(), 2);
        assert!(rebased.iter().all(|body| body["data"]["extends"] == "new"));

        // A replacement that extends the role, directly or not, does not close a circle.
        f.role(extending("top", "root")).await;
        f.role(extending("middle", "top")).await;
        f.role(extending("bottom", "middle")).await;
        f.role(extending("side", "top")).await;
        f.delete_role(ENVIRONMENT, "top", Some("bottom")).await.unwrap();
        assert_eq!(base(ENVIRONMENT, "middle").await.as_deref(), Some("root"));
        assert_eq!(base(ENVIRONMENT, "bottom").await.as_deref(), Some("middle"));
        assert_eq!(base(ENVIRONMENT, "side").await.as_deref(), Some("bottom"));
    }

    async fn rbac_08_any_number_of_holders_and_dependents_moves(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        let (old, new_one) = (f.role(new("old")).await, f.role(new("new")).await);
        let environment = f.env();
        f.in_tx(async move |tx| {
            for user in 1..=1_203_i64 {
                let row = p![environment, organization, user, if user % 10 == 0 { new_one.id } else { old.id }];
                let sql = "INSERT INTO membership_roles (environment_id, organization_id, user_id, role_id) VALUES ($1, $2, $3, $4)";
                tx.execute(sql, &row).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        for i in 0..105 {
            f.role(extending(&format!("child{i}"), "old")).await;
        }
        f.delete_role(ENVIRONMENT, "old", Some("new")).await.unwrap();
        assert_eq!(f.holders(ENVIRONMENT, "new").await, 1_203);
        assert_eq!(f.get_role(ENVIRONMENT, "new", Include::Nothing).await.unwrap().dependents, 105);
        assert_eq!(f.bodies("role.updated").await.len(), 105);
        assert_eq!(f.bodies("role.deleted").await.len(), 1);
    }

    async fn rbac_08_a_role_that_somebody_is_getting_does_not_go(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        f.role(new("spare")).await;
        for round in 0..12_i64 {
            let role = f.role(new("contended")).await;
            let (environment, core) = (f.env(), f.core.clone());
            let assigned = tokio::spawn(async move {
                core.db
                    .write(async move |tx| {
                        let wanted = [Reference::Name("contended".into())];
                        let found = roles::resolve(tx, environment, organization, &wanted, "roles").await?;
                        let ids: Vec<RoleId> = found.iter().map(|role| role.id).collect();
                        roles::assign(tx, environment, organization, UserId(round + 1), &ids).await
                    })
                    .await
            });
            let deleted = f.delete_role(ENVIRONMENT, "contended", None).await;
            match (assigned.await.unwrap(), deleted) {
                (Ok(_), Err(error)) => {
                    assert_eq!(error.message(), "role cannot be deleted as it is assigned to users", "{error:?}");
                    f.delete_role(ENVIRONMENT, "contended", Some("spare")).await.unwrap();
                }
                (Err(error), Ok(())) => assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}"),
                (assigned, deleted) => panic!("round {round}: {assigned:?} {deleted:?}"),
            }
            assert_not_found(f.get_role(ENVIRONMENT, "contended", Include::Nothing).await);
            assert_ne!(role.id.0, 0);
        }
    }

    async fn rbac_09_a_deleted_default_of_an_organization_falls_back_to_the_environments(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        let acme = Scope::Organization(organization);
        f.role(new("member")).await;
        let defaults = Defaults { creator: None, member: Some(named("member")) };
        roles::set_defaults(&f.core, f.env(), &f.by, defaults).await.unwrap();
        f.make_role(acme, new("local")).await.unwrap();
        let set = async |name| roles::set_organization_default(&f.core, f.env(), &f.by, organization, named(name)).await;
        set("local").await.unwrap();
        let environment = f.env();
        let default = async || {
            f.in_tx(async move |tx| roles::default_member(tx, environment, organization).await).await.unwrap().unwrap().name
        };
        assert_eq!(default().await, "local");
        f.delete_role(acme, "local", None).await.expect("the default of an organization may go");
        assert_eq!(default().await, "member");
        assert!(f.get_role(acme, "member", Include::Nothing).await.unwrap().role.default_member);
        // The same where it is a role of the environment.
        f.role(new("guest")).await;
        set("guest").await.unwrap();
        assert_eq!(default().await, "guest");
        f.delete_role(ENVIRONMENT, "guest", None).await.unwrap();
        assert_eq!(default().await, "member");
    }

    async fn org_17_roles_go_with_their_organization(db: TestDb) {
        let f = fixture(db).await;
        let (acme, other) = (f.organization("Acme").await.id, f.organization("Other").await.id);
        f.permission("a").await;
        let everywhere = f.role(granting("everywhere", &["a"])).await;
        let scope = Scope::Organization(acme);
        let mut base = "everywhere".to_owned();
        for i in 0..4 {
            let name = format!("local{i}");
            let made = f.make_role(scope, NewRole { permissions: vec!["a".into()], ..extending(&name, &base) }).await.unwrap();
            f.hold(acme, i + 1, made.id).await;
            base = name;
        }
        f.hold(acme, 1, everywhere.id).await;
        f.hold(other, 1, everywhere.id).await;
        f.make_role(Scope::Organization(other), extending("local", "everywhere")).await.unwrap();
        roles::set_organization_default(&f.core, f.env(), &f.by, acme, named("local0")).await.unwrap();
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(acme)).await.unwrap();
        assert_not_found(f.get_role(scope, "local0", Include::Nothing).await);
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM roles").await, 2);
        assert_eq!(f.number("SELECT COUNT(*) FROM role_permissions").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM membership_roles").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM organization_default_roles").await, 0);
        f.delete_role(ENVIRONMENT, "everywhere", None).await.unwrap_err();
    }

    async fn rbac_08_members_whose_role_is_replaced_are_told_of(db: TestDb) {
        let p = People::on(db).await;
        let (acme, other) = (p.organization("Acme").await, p.organization("Other").await);
        let (old, next) = (p.role("old").await, p.role("next").await);
        let with = |organization, email: &str, roles: &[&Role]| Addition {
            roles: roles.iter().map(|role| Reference::Id(role.id)).collect(),
            ..direct(organization, email)
        };
        let one = p.add(with(acme, "one@example.com", &[&old])).await.unwrap().user.id;
        let two = p.add(with(other, "two@example.com", &[&old, &next])).await.unwrap().user.id;
        p.add(with(acme, "three@example.com", &[&next])).await.unwrap();
        let before = p.event_types().await.len();
        let by = Actor::from(&narthex_core::Caller::Client { environment: p.env(), client_id: "skc_1".into() });
        roles::delete(p.core(), p.env(), ENVIRONMENT, &by, "old".into(), Some(named("next"))).await.unwrap();
        let told: Vec<_> = p.events().await.split_off(before);
        assert!(told.iter().all(|event| event.kind == "user.organization_membership_updated" && event.actor == "client:skc_1"));
        let bodies: Vec<serde_json::Value> = told.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
        let whom: Vec<_> = bodies.iter().map(|body| (&body["organization_id"], &body["data"]["user"]["id"])).collect();
        let expected = [(acme.to_string(), one.to_string()), (other.to_string(), two.to_string())].map(|(o, u)| (o.into(), u.into()));
        assert_eq!(whom, expected.iter().map(|(o, u)| (o, u)).collect::<Vec<_>>());
        for user in [one, two] {
            let held = &p.get(user).await.unwrap().memberships[0].roles;
            assert_eq!(held.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["next"]);
        }
    }

    async fn rbac_08_rbac_12_an_invitation_that_ran_out_holds_nothing(db: TestDb) {
        let p = People::on(db).await;
        let acme = p.organization("Acme").await;
        let role = p.role("guest").await;
        let invited = Addition { invite: true, roles: vec![Reference::Id(role.id)], ..direct(acme, "guest@example.com") };
        p.add(invited).await.unwrap();
        let count = async |scope| roles::users_count(p.core(), p.env(), scope, "guest".into()).await.unwrap();
        let delete = async || roles::delete(p.core(), p.env(), ENVIRONMENT, &p.by, "guest".into(), None).await;
        assert_eq!((count(ENVIRONMENT).await, count(Scope::Organization(acme)).await), (1, 1), "who is invited holds it");
        assert_refused(delete().await, "role cannot be deleted as it is assigned to users");
        p.core().clock.advance(std::time::Duration::from_hours(16 * 24));
        assert_eq!((count(ENVIRONMENT).await, count(Scope::Organization(acme)).await), (0, 0));
        delete().await.unwrap();
    }
}
