//! Operators: invited, given roles, removed; the last owner; and how a login becomes one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_core::environments::{self, Environment};
use narthex_core::ids::{MemberId, UserId, WorkspaceId};
use narthex_core::login::{self, Visitor};
use narthex_core::members::{self, FixedRole, Granter, INVITATION, LINK, Member, MemberPatch, NewLink, NewMember};
use narthex_core::memberships::Status;
use narthex_core::pages::PageRequest;
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, Device};
use narthex_core::testing::TestCore;
use narthex_core::{Caller, Core, Error, Kind, auth_log, jobs, tokens, users};
use narthex_db::Engine;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::{assert_refused_within_a_second, assert_unauthenticated, caller, node};
use crate::people::{Rival, postgres_database, until_it_waits};

const HOUR: Duration = Duration::from_hours(1);

fn new(email: &str, role: FixedRole) -> NewMember {
    NewMember { email: email.to_owned(), given_name: String::new(), family_name: String::new(), role }
}

async fn member(node: &TestCore, email: &str, role: FixedRole) -> Member {
    members::create(node, node.dev.workspace_id, new(email, role)).await.expect("a member")
}

async fn again(node: &Core, id: MemberId) -> Arc<Member> {
    members::get(node, id).await.unwrap().expect("the member")
}

fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// Signs a member in by a link, as `narthex admin operator-link` would.
async fn sign_in(node: &TestCore, member: &Member) -> (UserId, Arc<sessions::Session>) {
    let link = NewLink::make(node, member.id).await.expect("a link");
    let visitor = Visitor { device: Device::default() };
    let entered = login::enter_by_operator_link(&node.core, &node.system, link.secret.expose(), &visitor, None).await;
    let cookie = entered.unwrap().expect("a good link").cookie.expect("a cookie").value;
    let session = sessions::by_cookie(node, node.system.id, cookie.expose()).await.unwrap().expect("a session");
    (session.user.expect("a user"), session)
}

async fn token(node: &TestCore, session: &sessions::Session, workspace: WorkspaceId) -> Result<String, Error> {
    let member = members::enter(node, &node.system, session.user.unwrap(), workspace).await?;
    Ok(tokens::mint_operator(node, &node.system, session, &member, HOUR).await?.access_token)
}

async fn second_workspace(node: &TestCore) -> (WorkspaceId, Arc<Environment>) {
    let toml = "[[workspaces]]\nid = \"wks_8573429015935999\"\nname = \"Other\"\n[[workspaces.environments]]\n\
                id = \"env_8573429015935998\"\nkind = \"dev\"\norigin = \"https://other.test\"\n";
    narthex_core::seed::apply(node, toml).await.expect("a second workspace");
    let id = narthex_core::ids::EnvId::parse("env_8573429015935998").unwrap();
    (WorkspaceId(8_573_429_015_935_999), environments::by_id(node, id).await.unwrap().unwrap())
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_20_a_member_is_invited_reminded_called_back_and_comes(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        let owner = Granter::member(&member(&node, "owner@acme.test", FixedRole::Owner).await);
        let invite = async |email: &str, role| members::invite(&node, workspace, &owner, new(email, role)).await;
        let ann = invite("Ann@Acme.test", FixedRole::Member).await.unwrap();
        assert_eq!((ann.email.as_str(), ann.status(node.clock.now())), ("ann@acme.test", Status::PendingInvite));
        assert_eq!(ann.inviter_email.as_deref(), Some("owner@acme.test"));
        assert!(!ann.is_active() && tokens::mint_member(&node, &ann, HOUR).await.is_ok());
        let pending = tokens::mint_member(&node, &ann, HOUR).await.unwrap().access_token;
        assert_unauthenticated(&caller(&node, &node.dev, &pending).await, "who is only invited may do nothing");

        // A reminder has a new end, and the role that it names.
        node.clock.advance(Duration::from_hours(24));
        let reminded = invite("ann@acme.test", FixedRole::Viewer).await.unwrap();
        assert_eq!((reminded.id, reminded.role.as_str()), (ann.id, "viewer"));
        assert!(reminded.expires_at.unwrap() >= ann.expires_at.unwrap().plus(Duration::from_hours(24)));
        node.clock.advance(INVITATION);
        assert_eq!(again(&node, ann.id).await.status(node.clock.now()), Status::InviteExpired);
        assert!(!node.db.read(async |tx| members::expected(tx, "ann@acme.test", narthex_core::Timestamp(i64::MAX)).await).await.unwrap());
        invite("ann@acme.test", FixedRole::Member).await.unwrap();
        assert_eq!(again(&node, ann.id).await.status(node.clock.now()), Status::PendingInvite);

        let bob = invite("bob@acme.test", FixedRole::Member).await.unwrap();
        members::remove(&node, workspace, &owner, bob.id).await.unwrap();
        assert!(members::get(&node, bob.id).await.unwrap().is_none(), "called back");
        assert_invalid(invite("owner@acme.test", FixedRole::Member).await, "email");
        assert_invalid(invite("nobody", FixedRole::Member).await, "email");
        jobs::drain(&node.core).await.unwrap();
    }

    async fn ctl_20_nobody_is_mailed_more_than_fifty_times(db: TestDb) {
        let node = node(db).await;
        let by = Granter::system();
        for _ in 0..50 {
            members::invite(&node, node.dev.workspace_id, &by, new("ann@acme.test", FixedRole::Member)).await.unwrap();
        }
        let more = members::invite(&node, node.dev.workspace_id, &by, new("ann@acme.test", FixedRole::Member)).await;
        assert_kind(more, Kind::FailedPrecondition);
    }

    async fn ctl_21_the_last_owner_stays(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        let (ann, bob) = (member(&node, "ann@acme.test", FixedRole::Owner).await, member(&node, "bob@acme.test", FixedRole::Owner).await);
        let by = Granter::member(&ann);
        members::invite(&node, workspace, &by, new("eve@acme.test", FixedRole::Owner)).await.unwrap();
        members::set_active(&node, bob.id, false).await.unwrap();
        let refused = [
            members::remove(&node, workspace, &by, ann.id).await.err(),
            members::assign_role(&node, workspace, &by, ann.id, FixedRole::Admin).await.err(),
            members::set_role(&node, ann.id, FixedRole::Member).await.err(),
            members::set_active(&node, ann.id, false).await.err(),
        ];
        for error in refused {
            let error = error.expect("neither one put aside nor one invited is an owner who could act");
            assert_eq!(error.kind(), Kind::FailedPrecondition, "{error:?}");
            assert!(error.message().contains("at least one owner"), "{error:?}");
        }
        assert!(again(&node, ann.id).await.is_active());
        members::assign_role(&node, workspace, &by, ann.id, FixedRole::Owner).await.unwrap();
        members::set_active(&node, bob.id, true).await.unwrap();
        members::remove(&node, workspace, &by, ann.id).await.expect("now there is another");
        assert_kind(members::remove(&node, workspace, &Granter::system(), bob.id).await, Kind::FailedPrecondition);
    }

    async fn ctl_24_nobody_gives_or_takes_what_they_lack(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        let owner = member(&node, "owner@acme.test", FixedRole::Owner).await;
        let admin = member(&node, "admin@acme.test", FixedRole::Admin).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Viewer).await;
        let by = Granter::member(&admin);
        let error = assert_kind(members::invite(&node, workspace, &by, new("eve@acme.test", FixedRole::Owner)).await, Kind::PermissionDenied);
        assert!(error.required_permissions().contains(&"workspace:write".to_owned()), "{error:?}");
        assert_kind(members::assign_role(&node, workspace, &by, ann.id, FixedRole::Owner).await, Kind::PermissionDenied);
        assert_kind(members::assign_role(&node, workspace, &by, owner.id, FixedRole::Viewer).await, Kind::PermissionDenied);
        assert_kind(members::remove(&node, workspace, &by, owner.id).await, Kind::PermissionDenied);
        assert_kind(members::set_environment_role(&node, node.dev.workspace_id, &by, ann.id, node.dev.id, FixedRole::Owner).await, Kind::PermissionDenied);
        members::assign_role(&node, workspace, &by, ann.id, FixedRole::Developer).await.unwrap();
        assert_eq!(again(&node, ann.id).await.role, "developer");
        let waiting = members::invite(&node, workspace, &Granter::member(&owner), new("eve@acme.test", FixedRole::Owner)).await.unwrap();
        let lower = members::invite(&node, workspace, &by, new("eve@acme.test", FixedRole::Viewer)).await;
        assert_kind(lower, Kind::PermissionDenied);
        assert_eq!(again(&node, waiting.id).await.role, "owner");
    }

    async fn ctl_24_a_role_in_one_environment_counts_there_and_for_nothing_of_the_workspace(db: TestDb) {
        let node = node(db).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Viewer).await;
        let by = Granter::system();
        members::set_environment_role(&node, node.dev.workspace_id, &by, ann.id, node.dev.id, FixedRole::Owner).await.unwrap();
        let token = tokens::mint_member(&node, &ann, HOUR).await.unwrap().access_token;
        let held = async |environment: &Arc<Environment>| {
            let Caller::Member { permissions, .. } = caller(&node, environment, &token).await.unwrap() else { unreachable!() };
            permissions
        };
        let dev = held(&node.dev).await;
        for (permission, wanted) in [
            ("sso:write", true),
            ("users:delete", true),
            ("members:read", true),
            ("members:write", false),
            ("environment_access:write", false),
            ("workspace:write", false),
            ("billing:read", false),
        ] {
            assert_eq!(dev.iter().any(|held| held == permission), wanted, "{permission}");
        }
        assert!(!held(&node.prd).await.contains(&"sso:write".to_owned()));
        assert_eq!(again(&node, ann.id).await.role_in(node.dev.id), ("owner", true));
        members::clear_environment_role(&node, node.dev.workspace_id, &by, ann.id, node.dev.id).await.unwrap();
        assert_eq!(again(&node, ann.id).await.role_in(node.dev.id), ("viewer", false));
        assert!(!held(&node.dev).await.contains(&"sso:write".to_owned()));

        let (other, environment) = second_workspace(&node).await;
        let stranger = members::create(&node, other, new("eve@other.test", FixedRole::Owner)).await.unwrap();
        assert_not_found(members::set_environment_role(&node, node.dev.workspace_id, &by, ann.id, environment.id, FixedRole::Owner).await);
        assert_not_found(members::set_environment_role(&node, node.dev.workspace_id, &by, stranger.id, node.dev.id, FixedRole::Owner).await);
        // All of it another workspace's, as somebody would name it who is none of its members.
        let here = node.dev.workspace_id;
        assert_not_found(members::set_environment_role(&node, here, &by, stranger.id, environment.id, FixedRole::Viewer).await);
        members::set_environment_role(&node, other, &by, stranger.id, environment.id, FixedRole::Viewer).await.unwrap();
        assert_not_found(members::clear_environment_role(&node, here, &by, stranger.id, environment.id).await);
        assert_eq!(again(&node, stranger.id).await.role_in(environment.id), ("viewer", true));
        assert_not_found(members::remove(&node, node.dev.workspace_id, &by, stranger.id).await);
        assert_not_found(members::update(&node, node.dev.workspace_id, stranger.id, MemberPatch::default()).await);
        assert_not_found(members::assign_role(&node, node.dev.workspace_id, &by, stranger.id, FixedRole::Viewer).await.map(drop));
    }

    async fn ctl_22_members_are_listed_newest_first_with_their_roles(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(member(&node, &format!("m{n}@acme.test"), FixedRole::Member).await.id);
        }
        members::set_environment_role(&node, node.dev.workspace_id, &Granter::system(), ids[3], node.dev.id, FixedRole::Viewer).await.unwrap();
        let list = async |size, token: &str| {
            members::list(&node, workspace, &PageRequest { size, token: token.to_owned() }).await.unwrap()
        };
        let all = list(500, "1").await;
        let mut newest = ids.clone();
        newest.reverse();
        assert_eq!((all.items.iter().map(|member| member.id).collect::<Vec<_>>(), all.total), (newest, 5));
        assert_eq!(all.items[1].role_in(node.dev.id), ("viewer", true));
        let second = list(2, "2").await;
        assert_eq!(second.items.iter().map(|member| member.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
        assert_eq!(list(2, &second.next).await.items[0].id, ids[0]);
        let (other, _) = second_workspace(&node).await;
        assert_eq!(members::list(&node, other, &PageRequest::default()).await.unwrap().total, 0);
    }

    async fn ops_01_a_link_signs_its_member_in_once_and_for_a_quarter_of_an_hour(db: TestDb) {
        let node = node(db).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Owner).await;
        let visitor = Visitor { device: Device::default() };
        let follow = async |secret: &str| login::enter_by_operator_link(&node.core, &node.system, secret, &visitor, None).await.unwrap();
        let first = NewLink::make(&node, ann.id).await.unwrap();
        assert_eq!(members::link_target(&node, first.secret.expose()).await.unwrap().map(|member| member.id), Some(ann.id));
        let link = NewLink::make(&node, ann.id).await.unwrap();
        assert!(follow(first.secret.expose()).await.is_none(), "another was made meanwhile");
        for bad in ["", "x", &"x".repeat(43), &link.secret.expose()[1..]] {
            assert!(follow(bad).await.is_none(), "{bad}");
        }
        assert_eq!(members::link_target(&node, link.secret.expose()).await.unwrap().map(|member| member.id), Some(ann.id));
        let entered = follow(link.secret.expose()).await.expect("signed in");
        assert_eq!(entered.member.id, ann.id);
        assert!(follow(link.secret.expose()).await.is_none(), "once");
        assert!(members::link_target(&node, link.secret.expose()).await.unwrap().is_none());
        let traces = async || {
            let log = auth_log::of(&node, node.system.id, &ann.id.to_string()).await.unwrap();
            log.into_iter().map(|line| line.event).collect::<Vec<_>>()
        };
        let (used, refused) = (auth_log::OPERATOR_LINK_USED, auth_log::OPERATOR_LINK_REFUSED);
        assert_eq!(traces().await, [refused, used, refused, refused], "the replaced link, the sign-in, and each way of using it again");
        for _ in 0..20 {
            assert!(follow(link.secret.expose()).await.is_none());
        }
        assert_eq!(traces().await.len(), 2 + 10, "and no more than ten of one link");

        let cookie = entered.cookie.expect("a cookie").value;
        let session = sessions::by_cookie(&node, node.system.id, cookie.expose()).await.unwrap().expect("a session");
        let user = users::get(&node, node.system.id, users::Identity::Id(session.user.unwrap())).await.unwrap().user;
        assert_eq!((user.email.as_str(), user.profile.email_verified), ("ann@acme.test", true));

        let late = NewLink::make(&node, ann.id).await.unwrap();
        node.clock.advance(LINK);
        assert!(follow(late.secret.expose()).await.is_none(), "its time is over");
        assert_eq!(traces().await.len(), 2 + 10 + 1);
        let bob = member(&node, "bob@acme.test", FixedRole::Member).await;
        let link = NewLink::make(&node, bob.id).await.unwrap();
        members::set_active(&node, bob.id, false).await.unwrap();
        assert!(follow(link.secret.expose()).await.is_none(), "not for who was put aside meanwhile");
        assert_kind(NewLink::make(&node, bob.id).await.map(|link| link.expires_at), Kind::FailedPrecondition);
        let elsewhere = NewLink::make(&node, ann.id).await.unwrap();
        let wrong = login::enter_by_operator_link(&node.core, &node.dev, elsewhere.secret.expose(), &visitor, None).await;
        assert_kind(wrong.map(|_| ()), Kind::NotFound);
        jobs::drain(&node.core).await.unwrap();
    }

    async fn an_operators_token_is_good_as_long_as_session_member_and_user_are(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        member(&node, "owner@acme.test", FixedRole::Owner).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Admin).await;
        let (user, session) = sign_in(&node, &ann).await;
        let good = token(&node, &session, workspace).await.unwrap();
        let known = caller(&node, &node.dev, &good).await.unwrap();
        assert!(matches!(&known, Caller::Member { member, workspace: of, .. } if *member == ann.id && *of == workspace), "{known:?}");
        assert!(known.holds_any(&["sso:write"]) && !known.holds_any(&["workspace:write"]));

        members::set_role(&node, ann.id, FixedRole::Viewer).await.unwrap();
        assert!(!caller(&node, &node.dev, &good).await.unwrap().holds_any(&["sso:write"]), "demoted");
        members::set_active(&node, ann.id, false).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &good).await, "put aside");
        assert_kind(token(&node, &session, workspace).await, Kind::PermissionDenied);
        members::set_active(&node, ann.id, true).await.unwrap();
        caller(&node, &node.dev, &good).await.expect("back again");
        sessions::revoke(&node, node.system.id, session.id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &good).await, "signed out");

        let (_, session) = sign_in(&node, &*again(&node, ann.id).await).await;
        let good = token(&node, &session, workspace).await.unwrap();
        members::remove(&node, workspace, &Granter::system(), ann.id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &good).await, "removed");
        assert_kind(token(&node, &session, workspace).await, Kind::PermissionDenied);
        assert!(members::of_user(&node, &node.system, user).await.unwrap().is_empty());

        // A session of somebody else with the member's id in its token is nobody's.
        let bob = member(&node, "bob@acme.test", FixedRole::Owner).await;
        let carl = member(&node, "carl@acme.test", FixedRole::Viewer).await;
        let (_, carls) = sign_in(&node, &carl).await;
        let (_, bobs) = sign_in(&node, &bob).await;
        token(&node, &bobs, workspace).await.unwrap();
        assert!(tokens::mint_operator(&node, &node.system, &carls, &*again(&node, bob.id).await, HOUR).await.is_err());
        let forged = serde_json::json!({
            "iss": node.system.origin, "sub": bob.id.to_string(), "aud": ["dashboard"], "sid": carls.id.to_string(),
            "workspace_id": workspace.to_string(), "jti": "tkn_1", "iat": node.clock.real_now().seconds(),
            "nbf": node.clock.real_now().seconds(), "exp": node.clock.real_now().seconds() + 60,
        });
        let forged = narthex_core::testing::sign_raw(&node, node.system.id, None, &forged.to_string()).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &forged).await, "another's session");
    }

    async fn one_person_works_in_several_workspaces_and_joins_one_by_naming_it(db: TestDb) {
        let node = node(db).await;
        let workspace = node.dev.workspace_id;
        let (other, environment) = second_workspace(&node).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Owner).await;
        let invited = members::invite(&node, other, &Granter::system(), new("ANN@acme.test", FixedRole::Viewer)).await.unwrap();
        let (user, session) = sign_in(&node, &ann).await;
        let known = members::of_user(&node, &node.system, user).await.unwrap();
        assert_eq!(known.iter().map(|member| (member.workspace, member.is_active())).collect::<Vec<_>>(), [(workspace, true), (other, false)]);
        let here = token(&node, &session, workspace).await.unwrap();
        assert!(!again(&node, invited.id).await.is_active(), "signing in joins nothing");
        let there = token(&node, &session, other).await.unwrap();
        let joined = again(&node, invited.id).await;
        assert!(joined.is_active() && joined.joined_at.is_some() && joined.user == Some(user));
        assert!(caller(&node, &node.dev, &here).await.is_ok() && caller(&node, &environment, &there).await.is_ok());
        let foreign = [caller(&node, &environment, &here).await, caller(&node, &node.dev, &there).await];
        for refused in foreign {
            assert_kind(refused, Kind::PermissionDenied);
        }
    }

    async fn ctl_20_whom_no_workspace_expects_is_not_let_in(db: TestDb) {
        let node = node(db).await;
        let now = node.clock.now();
        let expected = async |email: &'static str| {
            node.db.read(async move |tx| members::expected(tx, email, now).await).await.unwrap()
        };
        let ann = member(&node, "ann@acme.test", FixedRole::Owner).await;
        member(&node, "bob@acme.test", FixedRole::Owner).await;
        members::invite(&node, node.dev.workspace_id, &Granter::system(), new("eve@acme.test", FixedRole::Member)).await.unwrap();
        assert!(expected("Ann@ACME.test").await && expected(" eve@acme.test ").await);
        assert!(!expected("mallory@acme.test").await && !expected("").await);
        members::set_active(&node, ann.id, false).await.unwrap();
        assert!(!expected("ann@acme.test").await);
    }

    async fn another_node_refuses_a_removed_operator_within_a_second(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        member(&node, "owner@acme.test", FixedRole::Owner).await;
        let ann = member(&node, "ann@acme.test", FixedRole::Admin).await;
        let (_, session) = sign_in(&node, &ann).await;
        let good = token(&node, &session, node.dev.workspace_id).await.unwrap();
        let began = Instant::now();
        while caller(&other, &node.dev, &good).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(1), "the other node learns of the sign-in");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        members::remove(&node, node.dev.workspace_id, &Granter::system(), ann.id).await.unwrap();
        assert_refused_within_a_second(&other, &node.dev, &good, "removed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_21_of_two_owners_who_remove_each_other_at_once_one_stays() {
    let Some(db) = postgres_database().await else { return };
    let node = node(db).await;
    let workspace = node.dev.workspace_id;
    let (ann, bob) = (
        member(&node, "ann@acme.test", FixedRole::Owner).await,
        member(&node, "bob@acme.test", FixedRole::Owner).await,
    );
    // Ann's removal of Bob has looked for another owner, found herself, and not committed yet.
    let look = format!(
        "SELECT id FROM members WHERE workspace_id = {} AND role = 'owner' AND status = 1 AND id <> {}",
        workspace.0, bob.id.0
    );
    let rival =
        Rival::begin(&node.database.options().url, &format!("{look}; DELETE FROM members WHERE id = {}", bob.id.0))
            .await;
    let (core, by, id) = (node.core.clone(), Granter::member(&bob), ann.id);
    let removal = tokio::spawn(async move { members::remove(&core, workspace, &by, id).await });
    // The other one deletes another row, so nothing makes it wait: the database has to see the cycle when both commit.
    let removed = removal.await.unwrap();
    let committed = rival.try_end("COMMIT").await;
    assert!(removed.is_err() || committed.is_err(), "{removed:?} {committed:?}: nobody is left");
    let owners = node.db.read(async move |tx| {
        tx.one::<(i64,)>("SELECT COUNT(*) FROM members WHERE role = 'owner' AND status = 1", &[]).await
    });
    assert_eq!(owners.await.unwrap().0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_01_of_two_who_open_one_link_at_once_one_is_signed_in() {
    let Some(db) = postgres_database().await else { return };
    let node = node(db).await;
    let ann = member(&node, "ann@acme.test", FixedRole::Owner).await;
    let link = NewLink::make(&node, ann.id).await.unwrap();
    let url = node.database.options().url.clone();
    let rival = Rival::begin(&url, "UPDATE operator_links SET used_at = 1").await;
    let (core, system, secret) = (node.core.clone(), node.system.clone(), link.secret.expose().clone());
    let follow = tokio::spawn(async move {
        let visitor = Visitor { device: Device::default() };
        login::enter_by_operator_link(&core, &system, &secret, &visitor, None).await.map(|entered| entered.is_some())
    });
    let follow = until_it_waits(&url, follow).await;
    rival.end("COMMIT").await;
    assert!(!follow.await.unwrap().unwrap(), "the rival has used it up");
}
