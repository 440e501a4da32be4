use std::net::{IpAddr, Ipv4Addr};

use narthex_core::environments::Environment;
use narthex_core::ids::SessionId;
use narthex_core::organizations::{self, NewOrganization};
use narthex_core::testing::TestCore;
use narthex_db::Engine;

use super::*;

const ADMIN: &[&str] = &[
    "organizations_users_read",
    "organizations_users_invite",
    "organizations_users_remove",
    "organizations_users_role_update",
];

/// The service on an empty database.
struct Service {
    node: TestCore,
}

impl Service {
    async fn new() -> Self {
        Self { node: TestCore::new(Engine::Sqlite).await.expect("a node") }
    }

    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.node.core)
    }

    fn context(environment: &Arc<Environment>, caller: Caller) -> Context {
        Context {
            caller,
            environment: Arc::clone(environment),
            request_id: "req".into(),
            idempotency_key: None,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            deadline: None,
            browser: narthex_rpc::Browser::default(),
        }
    }

    fn client(&self) -> Context {
        let caller = Caller::Client { environment: self.node.dev.id, client_id: "skc_1".into() };
        Self::context(&self.node.dev, caller)
    }

    fn session(&self, user: &wire::User, organization: &str, permissions: &[&str]) -> Context {
        let caller = Caller::Session {
            environment: self.node.dev.id,
            user: UserId::parse(&user.id).expect("a user"),
            organization: OrganizationId::parse(organization),
            session: SessionId(7),
            permissions: permissions.iter().map(|&key| key.to_owned()).collect(),
        };
        Self::context(&self.node.dev, caller)
    }

    async fn organization(&self, name: &str) -> String {
        let new = NewOrganization::named(name);
        let made = organizations::create(&self.node, self.node.dev.id, &Actor::SYSTEM, new, None).await;
        made.expect("an organization").id.to_string()
    }

    async fn create(
        &self,
        context: Context,
        organization: &str,
        user: wire::CreateUser,
        invite: Option<bool>,
    ) -> Result<wire::User> {
        let request = wire::CreateUserAndMembershipRequest {
            organization_id: organization.to_owned(),
            user: Some(user),
            send_invitation_email: invite,
        };
        Ok(create(self.core(), context, request).await?.user.expect("a user"))
    }

    async fn member(&self, organization: &str, email: &str) -> wire::User {
        self.create(self.client(), organization, named(email), Some(false)).await.expect("a member")
    }

    async fn join(&self, user: &wire::User, organization: &str) -> wire::User {
        let request = wire::CreateMembershipRequest {
            organization_id: organization.to_owned(),
            membership: Some(wire::CreateMembership::default()),
            send_invitation_email: Some(false),
            identities: Some(wire::create_membership_request::Identities::Id(user.id.clone())),
        };
        create_membership(self.core(), self.client(), request).await.expect("joined").user.expect("a user")
    }

    async fn get(&self, context: Context, user: &wire::User) -> Result<wire::User> {
        let identities = Some(wire::get_user_request::Identities::Id(user.id.clone()));
        Ok(get(self.core(), context, wire::GetUserRequest { identities }).await?.user.expect("a user"))
    }
}

fn named(email: &str) -> wire::CreateUser {
    wire::CreateUser { email: email.to_owned(), ..Default::default() }
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: Kind) {
    assert_eq!(result.expect_err("refused").kind(), kind);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(deprecated)]
async fn usr_03_usr_04_an_invitation_is_the_default_and_both_pairs_of_names_are_one() {
    let s = Service::new().await;
    let acme = s.organization("Acme").await;
    let profile = wire::CreateUserProfile {
        first_name: "Ann".into(),
        family_name: "Lee".into(),
        last_name: "Older".into(),
        ..Default::default()
    };
    let new = wire::CreateUser { user_profile: Some(profile), ..named("ann@example.com") };
    let ann = s.create(s.client(), &acme, new, None).await.unwrap();
    let member = &ann.memberships[0];
    assert_eq!(member.membership_status, commons::MembershipStatus::PendingInvite as i32);
    assert_eq!(member.provisioning_method.as_deref(), Some("invitation"));
    assert!(member.expires_at.is_some() && member.created_at.is_some() && member.join_time.is_none());
    assert_eq!((member.name.as_deref(), member.display_name.as_deref()), (Some("Acme"), Some("Acme")));
    let profile = ann.user_profile.clone().unwrap();
    assert_eq!((profile.first_name.as_str(), profile.given_name.as_str()), ("Ann", "Ann"));
    assert_eq!((profile.last_name.as_str(), profile.family_name.as_str()), ("Lee", "Lee"), "the newer name wins");
    assert!(!profile.email_verified && !ann.environment_id.is_empty());

    let change = |profile| wire::UpdateUserRequest {
        identities: Some(wire::update_user_request::Identities::Id(ann.id.clone())),
        user: Some(wire::UpdateUser { user_profile: Some(profile), ..Default::default() }),
    };
    let older = wire::UpdateUserProfile { last_name: Some("Ray".into()), ..Default::default() };
    let changed = update(s.core(), s.client(), change(older)).await.unwrap().user.unwrap().user_profile.unwrap();
    assert_eq!((changed.given_name.as_str(), changed.family_name.as_str()), ("Ann", "Ray"));
    let cleared = wire::UpdateUserProfile { given_name: Some(String::new()), ..Default::default() };
    let changed = update(s.core(), s.client(), change(cleared)).await.unwrap().user.unwrap().user_profile.unwrap();
    assert_eq!((changed.first_name.as_str(), changed.last_name.as_str()), ("", "Ray"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usr_13_users_see_and_change_themselves_and_nobody_else() {
    let s = Service::new().await;
    let acme = s.organization("Acme").await;
    let (ann, bob) = (s.member(&acme, "ann@example.com").await, s.member(&acme, "bob@example.com").await);
    let as_ann = || s.session(&ann, &acme, &[]);
    assert_eq!(s.get(as_ann(), &ann).await.unwrap().id, ann.id);
    assert_kind(s.get(as_ann(), &bob).await, Kind::PermissionDenied);
    let nobody = wire::User { id: "usr_123456789012345".into(), ..Default::default() };
    assert_kind(s.get(as_ann(), &nobody).await, Kind::PermissionDenied);
    let me = current(s.core(), as_ann(), wire::GetCurrentUserRequest {}).await.unwrap();
    assert_eq!((me.user.unwrap().id, me.current_session_id.as_str()), (ann.id.clone(), "ses_7"));
    assert_kind(current(s.core(), s.client(), wire::GetCurrentUserRequest {}).await, Kind::PermissionDenied);
    let change = |who: &wire::User, user| wire::UpdateUserRequest {
        identities: Some(wire::update_user_request::Identities::Id(who.id.clone())),
        user: Some(user),
    };
    let name = wire::UpdateUser {
        user_profile: Some(wire::UpdateUserProfile { name: Some("Ann".into()), ..Default::default() }),
        ..Default::default()
    };
    update(s.core(), as_ann(), change(&ann, name.clone())).await.unwrap();
    assert_kind(update(s.core(), as_ann(), change(&bob, name)).await, Kind::PermissionDenied);
    let own_id = wire::UpdateUser { external_id: Some("root".into()), ..Default::default() };
    assert_kind(update(s.core(), as_ann(), change(&ann, own_id)).await, Kind::PermissionDenied);
    let map = || [("role".to_owned(), "root".to_owned())].into();
    for asserted in [
        wire::UpdateUserProfile { groups: vec!["admins".into()], ..Default::default() },
        wire::UpdateUserProfile { metadata: map(), ..Default::default() },
        wire::UpdateUserProfile { custom_attributes: map(), ..Default::default() },
    ] {
        let given = wire::UpdateUser { user_profile: Some(asserted), ..Default::default() };
        assert_kind(update(s.core(), as_ann(), change(&ann, given)).await, Kind::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organizations_administrator_reaches_nobody_of_another_organization() {
    let s = Service::new().await;
    let (acme, bolt) = (s.organization("Acme").await, s.organization("Bolt").await);
    let boss = s.member(&acme, "boss@example.com").await;
    let both = wire::CreateUser {
        external_id: Some("crm-1".into()),
        metadata: [("note".to_owned(), "secret".to_owned())].into(),
        user_profile: Some(wire::CreateUserProfile { given_name: "Ann".into(), ..Default::default() }),
        ..named("ann@example.com")
    };
    let ann = s.create(s.client(), &bolt, both, Some(false)).await.unwrap();
    let as_boss = || s.session(&boss, &acme, ADMIN);

    // Nothing of the other organization can be named.
    assert_kind(s.create(as_boss(), &bolt, named("x@example.com"), None).await, Kind::NotFound);
    let request = |organization: &str, user: &wire::User| wire::CreateMembershipRequest {
        organization_id: organization.to_owned(),
        membership: Some(wire::CreateMembership::default()),
        send_invitation_email: None,
        identities: Some(wire::create_membership_request::Identities::Id(user.id.clone())),
    };
    assert_kind(create_membership(s.core(), as_boss(), request(&bolt, &ann)).await, Kind::NotFound);
    assert_kind(create_membership(s.core(), as_boss(), request(&acme, &ann)).await, Kind::NotFound);
    let remove = |organization: &str, user: &wire::User| wire::DeleteMembershipRequest {
        organization_id: organization.to_owned(),
        cascade: None,
        identities: Some(wire::delete_membership_request::Identities::Id(user.id.clone())),
    };
    assert_kind(delete_membership(s.core(), as_boss(), remove(&bolt, &ann)).await, Kind::NotFound);
    assert_kind(delete_membership(s.core(), as_boss(), remove(&acme, &ann)).await, Kind::NotFound);
    let by_external_id = wire::DeleteMembershipRequest {
        identities: Some(wire::delete_membership_request::Identities::ExternalId("crm-1".into())),
        ..remove(&acme, &ann)
    };
    assert_kind(delete_membership(s.core(), as_boss(), by_external_id).await, Kind::NotFound);
    let resend = wire::ResendInviteRequest { organization_id: acme.clone(), id: ann.id.clone() };
    assert_kind(resend_invite(s.core(), as_boss(), resend).await, Kind::NotFound);

    // Nor is it told whether there is such a user at all.
    let nobody = wire::User { id: "usr_123456789012345".into(), ..Default::default() };
    let mut told = Vec::new();
    for user in [&ann, &nobody] {
        let resend = wire::ResendInviteRequest { organization_id: acme.clone(), id: user.id.clone() };
        told.push(resend_invite(s.core(), as_boss(), resend).await.unwrap_err());
        let (organization_id, user_id) = (acme.clone(), user.id.clone());
        let assign = wire::AssignUserRolesRequest { organization_id, user_id, roles: Vec::new() };
        told.push(assign_roles(s.core(), as_boss(), assign).await.unwrap_err());
        let (organization_id, user_id) = (acme.clone(), user.id.clone());
        let take = wire::RemoveUserRoleRequest { organization_id, user_id, role_name: "member".into() };
        told.push(remove_role(s.core(), as_boss(), take).await.unwrap_err());
    }
    for error in &told {
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, told[0].message()));
    }

    // Inviting an address tells nothing of whose it is.
    let invited = s.create(as_boss(), &acme, named("ann@example.com"), None).await.unwrap();
    assert_eq!((invited.memberships.len(), invited.external_id.as_deref(), invited.metadata.len()), (1, None, 0));
    assert_eq!(invited.memberships[0].organization_id, acme);
    assert_eq!(invited.memberships[0].inviter_email.as_deref(), Some("boss@example.com"));
    assert_eq!(invited.user_profile.unwrap().given_name, "");
    let list = wire::ListOrganizationUsersRequest { organization_id: acme.clone(), ..Default::default() };
    let listed = list_of_organization(s.core(), as_boss(), list).await.unwrap();
    let seen = listed.users.iter().find(|user| user.id == ann.id).unwrap();
    assert_eq!((seen.memberships.len(), seen.user_profile.as_ref().unwrap().given_name.as_str()), (1, ""));
    let list = wire::ListOrganizationUsersRequest { organization_id: bolt.clone(), ..Default::default() };
    assert_kind(list_of_organization(s.core(), as_boss(), list).await, Kind::NotFound);
    assert_eq!(s.get(s.client(), &ann).await.unwrap().memberships.len(), 2, "the application sees all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organizations_administrator_vouches_for_no_address_and_gives_no_more_than_they_may() {
    let s = Service::new().await;
    let acme = s.organization("Acme").await;
    let boss = s.member(&acme, "boss@example.com").await;
    let as_boss = |permissions| s.session(&boss, &acme, permissions);
    assert_kind(s.create(as_boss(ADMIN), &acme, named("x@example.com"), Some(false)).await, Kind::PermissionDenied);
    let given = |email: &str| wire::CreateUser {
        membership: Some(wire::CreateMembership {
            roles: vec![commons::Role { name: "admin".into(), ..Default::default() }],
            inviter_email: Some("ceo@example.com".into()),
            ..Default::default()
        }),
        ..named(email)
    };
    let noted = wire::CreateUser {
        membership: Some(wire::CreateMembership {
            metadata: [("plan".to_owned(), "enterprise".to_owned())].into(),
            ..Default::default()
        }),
        ..named("x@example.com")
    };
    assert_kind(s.create(as_boss(ADMIN), &acme, noted, None).await, Kind::PermissionDenied);
    let noted = wire::UpdateMembershipRequest {
        organization_id: acme.clone(),
        membership: Some(wire::UpdateMembership {
            metadata: [("plan".to_owned(), "enterprise".to_owned())].into(),
            ..Default::default()
        }),
        identities: Some(wire::update_membership_request::Identities::Id(boss.id.clone())),
    };
    assert_kind(update_membership(s.core(), as_boss(ADMIN), noted).await, Kind::PermissionDenied);
    let inviting = &["organizations_users_invite"][..];
    assert_kind(s.create(as_boss(inviting), &acme, given("x@example.com"), None).await, Kind::PermissionDenied);
    let made = s.create(as_boss(ADMIN), &acme, given("x@example.com"), None).await.unwrap();
    assert_eq!(made.memberships[0].inviter_email.as_deref(), Some("boss@example.com"), "in their own name");
    let oneself = wire::DeleteMembershipRequest {
        organization_id: acme.clone(),
        cascade: None,
        identities: Some(wire::delete_membership_request::Identities::Id(boss.id.clone())),
    };
    assert_kind(delete_membership(s.core(), as_boss(ADMIN), oneself).await, Kind::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_environments_ids_are_not_found() {
    let s = Service::new().await;
    let acme = s.organization("Acme").await;
    let ann = s.member(&acme, "ann@example.com").await;
    let prd =
        || Service::context(&s.node.prd, Caller::Client { environment: s.node.prd.id, client_id: "prd_skc_1".into() });
    assert_kind(s.get(prd(), &ann).await, Kind::NotFound);
    assert_kind(s.create(prd(), &acme, named("x@example.com"), None).await, Kind::NotFound);
    let roles = wire::ListUserRolesRequest { organization_id: acme.clone(), user_id: ann.id.clone() };
    assert_kind(roles_of(s.core(), prd(), roles).await, Kind::NotFound);
    let permissions = wire::ListUserPermissionsRequest { organization_id: acme.clone(), user_id: ann.id.clone() };
    assert_kind(permissions_of(s.core(), prd(), permissions).await, Kind::NotFound);
    let assign = wire::AssignUserRolesRequest { organization_id: acme.clone(), user_id: ann.id.clone(), roles: vec![] };
    assert_kind(assign_roles(s.core(), prd(), assign).await, Kind::NotFound);
    // Deleting what is not there is no error, and deletes nothing elsewhere.
    let gone = wire::DeleteUserRequest { identities: Some(wire::delete_user_request::Identities::Id(ann.id.clone())) };
    delete(s.core(), prd(), gone).await.unwrap();
    assert_eq!(s.get(s.client(), &ann).await.unwrap().id, ann.id);
    let found = search(
        s.core(),
        prd(),
        wire::SearchUsersRequest { query: "ann".into(), page_size: 0, page_token: String::new() },
    );
    assert_eq!(found.await.unwrap().total_size, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_is_sent_again_with_its_key_creates_nothing_a_second_time() {
    let s = Service::new().await;
    let (acme, bolt) = (s.organization("Acme").await, s.organization("Bolt").await);
    let keyed = || Context { idempotency_key: Some("once".into()), ..s.client() };
    let first = s.create(keyed(), &acme, named("ann@example.com"), Some(false)).await.unwrap();
    let again = s.create(keyed(), &acme, named("ann@example.com"), Some(false)).await.unwrap();
    assert_eq!((again.id.as_str(), again.memberships.len()), (first.id.as_str(), 1));
    assert_kind(s.create(keyed(), &acme, named("bob@example.com"), Some(false)).await, Kind::InvalidArgument);
    assert_kind(s.create(s.client(), &acme, named("ann@example.com"), Some(false)).await, Kind::InvalidArgument);
    assert_eq!(s.join(&first, &bolt).await.memberships.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mem_03_mem_04_roles_are_named_by_name_or_by_id() {
    let s = Service::new().await;
    let acme = s.organization("Acme").await;
    let ann = s.member(&acme, "ann@example.com").await;
    let member = ann.memberships[0].roles[0].clone();
    assert_eq!((member.name.as_str(), member.display_name.as_str()), ("member", "Member"));
    let change = |roles| wire::UpdateMembershipRequest {
        organization_id: acme.clone(),
        membership: Some(wire::UpdateMembership { roles, ..Default::default() }),
        identities: Some(wire::update_membership_request::Identities::Id(ann.id.clone())),
    };
    let role = |name: &str, id: &str| commons::Role { name: name.into(), id: id.into(), ..Default::default() };
    let names = |user: Option<wire::User>| -> Vec<String> {
        user.unwrap().memberships[0].roles.iter().map(|role| role.name.clone()).collect()
    };
    let changed = update_membership(s.core(), s.client(), change(vec![role("admin", &member.id)])).await.unwrap();
    assert_eq!(names(changed.user), ["admin"], "the name wins");
    let changed = update_membership(s.core(), s.client(), change(vec![role("", &member.id)])).await.unwrap();
    assert_eq!(names(changed.user), ["member"]);
    for bad in [role("", ""), role("", "role_1"), role("nobody", ""), role("", "x")] {
        let result = update_membership(s.core(), s.client(), change(vec![bad])).await;
        let error = result.unwrap_err();
        assert_eq!(error.field_violations()[0].field, "membership.roles[0].name");
    }
    let permissions = wire::ListUserPermissionsRequest { organization_id: acme.clone(), user_id: ann.id.clone() };
    let permissions = permissions_of(s.core(), s.client(), permissions).await.unwrap().permissions;
    let permissions: Vec<_> = permissions.iter().map(|permission| permission.name.as_str()).collect();
    assert_eq!(permissions, ["sk_org_settings_read", "sk_org_users_read"]);
    assert_eq!(s.get(s.client(), &ann).await.unwrap().memberships[0].permissions, permissions);
}
