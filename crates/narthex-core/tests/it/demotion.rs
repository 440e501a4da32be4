//! Who loses a role, a permission, a membership or an organization loses what it allowed with the next call, on every node, though
//! session and token are the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::memberships::{self, Access};
use narthex_core::organizations;
use narthex_core::roles::{self, NewRole, RolePatch, Scope};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, NewSession};
use narthex_core::users::{self, Identity};
use narthex_core::{Core, tokens};

use crate::node::caller;
use crate::people::{People, existing, invited, named};

const HOUR: Duration = Duration::from_hours(1);
const MANAGE: &str = "sk_org_sso_manage";

/// Somebody with a role that extends another one, which allows to manage single sign-on, and two tokens: the pages' and an
/// application's.
struct Manager {
    user: UserId,
    organization: OrganizationId,
    /// Of a session whose current organization is another one, so that nothing ends it.
    token: String,
}

async fn manager(f: &People) -> Manager {
    let base = NewRole { permissions: vec![MANAGE.into()], ..role("base") };
    roles::create(f.core(), f.env(), Scope::Environment, &f.by, base, None).await.unwrap();
    let manager = NewRole { base: Some("base".into()), ..role("manager") };
    roles::create(f.core(), f.env(), Scope::Environment, &f.by, manager, None).await.unwrap();
    f.role("plain").await;
    let (organization, other) = (f.organization("Acme").await, f.organization("Other").await);
    let user = f.member(organization, "ann@example.com").await.user.id;
    f.add(existing(other, Identity::Id(user))).await.unwrap();
    assign(f, organization, user, "manager").await;
    let new = NewSession::browser(user, Some(other), HOUR);
    let mut session = sessions::open(f.core(), f.env(), new).await.unwrap();
    session.organization = Some(organization);
    let client = &f.node.dev_client.client_id;
    let token = tokens::mint_user(f.core(), f.environment(), &session, client, HOUR).await.unwrap().access_token;
    Manager { user, organization, token }
}

fn role(name: &str) -> NewRole {
    NewRole { name: name.into(), display_name: name.into(), ..NewRole::default() }
}

async fn assign(f: &People, organization: OrganizationId, user: UserId, role: &str) {
    memberships::assign_roles(f.core(), f.env(), &f.by, organization, user, named(&[role])).await.unwrap();
}

async fn manages(f: &People, core: &Core, who: &Manager) -> bool {
    // A session that has ended as well is more than a demotion.
    caller(core, f.environment(), &who.token).await.is_ok_and(|caller| caller.holds_any(&["connections_write"]))
}

/// Each way down, by its name.
const WAYS: [&str; 9] = [
    "the role is taken",
    "the roles are replaced",
    "the role's base is taken",
    "the base loses the permission",
    "the base has other permissions",
    "the role is deleted for another",
    "the membership ends",
    "the user is deleted",
    "the organization is deleted",
];

async fn demote(f: &People, who: &Manager, way: &str) {
    let (core, env, by) = (f.core(), f.env(), &f.by);
    let name = |name: &str| name.to_owned();
    match way {
        "the role is taken" => {
            memberships::remove_role(core, env, by, who.organization, who.user, name("manager")).await.unwrap();
        }
        "the roles are replaced" => {
            let (to, id) = (named(&["plain"]), Identity::Id(who.user));
            memberships::update(core, env, by, who.organization, id, to, [].into()).await.unwrap();
        }
        "the role's base is taken" => {
            roles::remove_base(core, env, Scope::Environment, by, name("manager")).await.unwrap();
        }
        "the base loses the permission" => {
            roles::remove_permission(core, env, by, name("base"), name(MANAGE)).await.unwrap();
        }
        "the base has other permissions" => {
            let patch = RolePatch { permissions: vec![name("sk_org_users_read")], ..RolePatch::default() };
            roles::update(core, env, Scope::Environment, by, name("base"), patch).await.unwrap();
        }
        "the role is deleted for another" => {
            let to = named(&["plain"]).pop();
            roles::delete(core, env, Scope::Environment, by, name("manager"), to).await.unwrap();
        }
        "the membership ends" => {
            let id = Identity::Id(who.user);
            memberships::remove(core, env, by, who.organization, id, true).await.unwrap();
        }
        "the user is deleted" => users::delete(core, env, by, Identity::Id(who.user)).await.unwrap(),
        "the organization is deleted" => {
            let id = organizations::Identity::Id(who.organization);
            organizations::delete(core, env, by, id).await.unwrap();
        }
        _ => unreachable!("{way}"),
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_05_whoever_is_demoted_may_no_more_at_once_and_within_a_second_on_another_node(db: TestDb) {
        let mut f = People::on(db).await;
        for way in WAYS {
            let other: Option<Arc<Core>> = match f.node.db.engine() {
                narthex_db::Engine::Sqlite => None,
                narthex_db::Engine::Postgres => Some(f.node.second_node().await.unwrap()),
            };
            let who = manager(&f).await;
            assert!(manages(&f, f.core(), &who).await, "not yet: {way}");
            if let Some(other) = &other {
                assert!(manages(&f, other, &who).await, "not yet: {way}");
            }
            demote(&f, &who, way).await;
            assert!(!manages(&f, f.core(), &who).await, "{way}");
            if let Some(other) = other {
                let began = Instant::now();
                while manages(&f, &other, &who).await {
                    assert!(began.elapsed() < Duration::from_secs(1), "{way}: unknown to the other node after a second");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other.close().await;
            }
            f = People::on(narthex_db::testing::TestDb::new(f.node.db.engine(), &Schema::new().migrations()).await.unwrap()).await;
        }
    }

    async fn ctl_05_a_new_role_or_membership_counts_at_once(db: TestDb) {
        let f = People::on(db).await;
        let who = manager(&f).await;
        demote(&f, &who, "the role is taken").await;
        assert!(!manages(&f, f.core(), &who).await);
        assign(&f, who.organization, who.user, "manager").await;
        assert!(manages(&f, f.core(), &who).await);
        memberships::remove(f.core(), f.env(), &f.by, who.organization, Identity::Id(who.user), false).await.unwrap();
        assert!(!manages(&f, f.core(), &who).await);
        f.add(existing(who.organization, Identity::Id(who.user))).await.unwrap();
        assign(&f, who.organization, who.user, "manager").await;
        assert!(manages(&f, f.core(), &who).await);
    }

    async fn ctl_05_only_an_active_member_of_that_very_place_has_anything(db: TestDb) {
        let f = People::on(db).await;
        let who = manager(&f).await;
        let access = async |environment, organization, user| {
            memberships::access(f.core(), environment, organization, user).await.unwrap()
        };
        let full = access(f.env(), who.organization, who.user).await.unwrap();
        assert_eq!(full.roles, ["member", "manager"]);
        assert_eq!(full.permissions, ["sk_org_settings_read", MANAGE, "sk_org_users_read"]);
        assert_eq!(access(f.node.prd.id, who.organization, who.user).await, None, "asked of another environment");
        assert_eq!(access(f.env(), OrganizationId(1), who.user).await, None);
        assert_eq!(access(f.env(), who.organization, UserId(1)).await, None);
        memberships::remove_role(f.core(), f.env(), &f.by, who.organization, who.user, "manager".into()).await.unwrap();
        memberships::remove_role(f.core(), f.env(), &f.by, who.organization, who.user, "member".into()).await.unwrap();
        assert_eq!(access(f.env(), who.organization, who.user).await, Some(Access::default()), "a member without roles");
        assign(&f, who.organization, who.user, "manager").await;
        let invited = f.add(invited(who.organization, "bob@example.com")).await.unwrap().user.id;
        assert_eq!(access(f.env(), who.organization, invited).await, None, "only invited");
        let aside = f.member(who.organization, "eve@example.com").await.user.id;
        let sql = "UPDATE memberships SET state = 2 WHERE user_id = $1";
        f.node.db.write(async move |tx| tx.execute(sql, &narthex_db::p![aside]).await).await.unwrap();
        assert_eq!(access(f.env(), who.organization, aside).await, None, "put aside by a directory");
    }
}
