//! UserService: users, their memberships, invitations.

mod messages;

use std::sync::Arc;

use narthex_api::rpc::user_service as rpc;
use narthex_api::scalekit::v1::commons;
use narthex_api::scalekit::v1::users as wire;
use narthex_core::environments::AuthenticationMode;
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{OrganizationId, RoleId, UserId};
use narthex_core::memberships::{self, Addition, Provisioning, Subject};
use narthex_core::organizations::Patch;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::roles::Reference;
use narthex_core::users::{self, Identity, NewUser, ProfilePatch, UserPatch, View};
use narthex_core::{Caller, Core, Error, Kind, Result, invitations};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{reachable_id, with};

#[cfg(test)]
mod tests;

/// What an end user needs to give roles to others.
const ROLE_UPDATE: &str = "organizations_users_role_update";

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::GET_USER, with(core, get))
        .add(rpc::GET_CURRENT_USER, with(core, current))
        .add(rpc::GET_SUPPORT_HASH, with(core, support_hash))
        .add(rpc::LIST_USERS, with(core, list))
        .add(rpc::SEARCH_USERS, with(core, search))
        .add(rpc::SEARCH_ORGANIZATION_USERS, with(core, search_of_organization))
        .add(rpc::UPDATE_USER, with(core, update))
        .add(rpc::DELETE_USER, with(core, delete))
        .add(rpc::CREATE_MEMBERSHIP, with(core, create_membership))
        .add(rpc::DELETE_MEMBERSHIP, with(core, delete_membership))
        .add(rpc::UPDATE_MEMBERSHIP, with(core, update_membership))
        .add(rpc::CREATE_USER_AND_MEMBERSHIP, with(core, create))
        .add(rpc::LIST_ORGANIZATION_USERS, with(core, list_of_organization))
        .add(rpc::RESEND_INVITE, with(core, resend_invite))
        .add(rpc::LIST_USER_ROLES, with(core, roles_of))
        .add(rpc::ASSIGN_USER_ROLES, with(core, assign_roles))
        .add(rpc::REMOVE_USER_ROLE, with(core, remove_role))
        .add(rpc::LIST_USER_PERMISSIONS, with(core, permissions_of));
}

async fn get(core: Arc<Core>, context: Context, request: wire::GetUserRequest) -> Result<wire::GetUserResponse> {
    use wire::get_user_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let identity = own(&core, &context, identity).await?;
    let view = users::get(&core, context.environment.id, identity).await?;
    Ok(wire::GetUserResponse { user: Some(shown(&context, view)) })
}

async fn current(
    core: Arc<Core>,
    context: Context,
    _: wire::GetCurrentUserRequest,
) -> Result<wire::GetCurrentUserResponse> {
    let (Caller::User { user, session, .. } | Caller::Session { user, session, .. }) = &context.caller else {
        return Err(Error::permission_denied(&["users:read"]));
    };
    let view = users::get(&core, context.environment.id, Identity::Id(*user)).await?;
    Ok(wire::GetCurrentUserResponse {
        current_session_id: session.to_string(),
        user: Some(messages::user(view)),
        gateway_enabled: false,
    })
}

/// Lets a support widget know that the dashboard vouches for the address of an operator.
async fn support_hash(core: Arc<Core>, context: Context, (): ()) -> Result<wire::GetSupportHashResponse> {
    let email = match &context.caller {
        Caller::Member { member, .. } => {
            let member = narthex_core::members::get(&core, *member).await?;
            member.ok_or_else(|| Error::not_found("member"))?.email.clone()
        }
        // Of the product's own environment: the table lets no others in.
        Caller::Session { user, .. } => {
            users::get(&core, context.environment.id, Identity::Id(*user)).await?.user.email
        }
        _ => return Err(Error::permission_denied(&[])),
    };
    Ok(wire::GetSupportHashResponse { support_hash: users::support_hash(&core, &email).await? })
}

async fn list(core: Arc<Core>, context: Context, request: wire::ListUsersRequest) -> Result<wire::ListUsersResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let Page { items, next, prev, total } = users::list(&core, context.environment.id, &asked).await?;
    Ok(wire::ListUsersResponse {
        users: items.into_iter().map(messages::user).collect(),
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        prev_page_token: prev,
    })
}

async fn search(
    core: Arc<Core>,
    context: Context,
    request: wire::SearchUsersRequest,
) -> Result<wire::SearchUsersResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = users::search(&core, context.environment.id, None, &request.query, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::SearchUsersResponse {
        users: items.into_iter().map(messages::user).collect(),
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        prev_page_token: prev,
    })
}

async fn search_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::SearchOrganizationUsersRequest,
) -> Result<wire::SearchOrganizationUsersResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = users::search(&core, context.environment.id, Some(organization), &request.query, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::SearchOrganizationUsersResponse {
        users: items.into_iter().map(|view| shown(&context, view)).collect(),
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        prev_page_token: prev,
    })
}

async fn list_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::ListOrganizationUsersRequest,
) -> Result<wire::ListOrganizationUsersResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = users::list_of_organization(&core, context.environment.id, organization, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::ListOrganizationUsersResponse {
        users: items.into_iter().map(|view| shown(&context, view)).collect(),
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        prev_page_token: prev,
    })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateUserRequest,
) -> Result<wire::UpdateUserResponse> {
    use wire::update_user_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let given = request.user.unwrap_or_default();
    let identity = own(&core, &context, identity).await?;
    // What the application knows a user by is not the user's to change.
    if is_end_user(&context.caller) && (given.external_id.is_some() || !given.metadata.is_empty()) {
        return Err(Error::permission_denied(&["users:write"]));
    }
    let profile = messages::changed_profile(given.user_profile.unwrap_or_default());
    asserted_by(&context.caller, &profile)?;
    let patch = UserPatch {
        external_id: match given.external_id {
            None => Patch::Keep,
            Some(id) if id.is_empty() => Patch::Clear,
            Some(id) => Patch::Set(id),
        },
        metadata: messages::unless_empty(given.metadata),
        profile,
    };
    let view = users::update(&core, context.environment.id, identity, patch).await?;
    Ok(wire::UpdateUserResponse { user: Some(shown(&context, view)) })
}

async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteUserRequest) -> Result<()> {
    use wire::delete_user_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => match UserId::parse(&id) {
            Some(id) => Identity::Id(id),
            // No user has ever had it, so it is gone as asked.
            None => return Ok(()),
        },
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    users::delete(&core, context.environment.id, &Actor::from(&context.caller), identity).await
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateUserAndMembershipRequest,
) -> Result<wire::CreateUserAndMembershipResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let given = request.user.unwrap_or_default();
    let profile = messages::new_profile(given.user_profile.unwrap_or_default());
    asserted_by(&context.caller, &profile)?;
    let subject = Subject::New(NewUser {
        email: given.email,
        external_id: given.external_id,
        metadata: given.metadata.into_iter().collect(),
        profile,
    });
    if is_end_user(&context.caller)
        && let Subject::New(new) = &subject
        && (new.external_id.is_some() || !new.metadata.is_empty())
    {
        return Err(Error::permission_denied(&["users:write"]));
    }
    let membership = given.membership.unwrap_or_default();
    let invite = request.send_invitation_email;
    let path = rpc::CREATE_USER_AND_MEMBERSHIP.method.path;
    let view = add(&core, &context, path, organization, subject, membership, invite, "user.membership").await?;
    Ok(wire::CreateUserAndMembershipResponse { user: Some(shown(&context, view)) })
}

async fn create_membership(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateMembershipRequest,
) -> Result<wire::CreateMembershipResponse> {
    use wire::create_membership_request::Identities;
    let organization = reachable_id(&context, &request.organization_id)?;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let identity = colleague(&core, &context, organization, identity).await?;
    let membership = request.membership.unwrap_or_default();
    let invite = request.send_invitation_email;
    let path = rpc::CREATE_MEMBERSHIP.method.path;
    let subject = Subject::Existing(identity);
    let view = add(&core, &context, path, organization, subject, membership, invite, "membership").await?;
    Ok(wire::CreateMembershipResponse { user: Some(shown(&context, view)) })
}

#[allow(clippy::too_many_arguments)] // two RPCs, one path
async fn add(
    core: &Core,
    context: &Context,
    path: &str,
    organization: OrganizationId,
    subject: Subject,
    given: wire::CreateMembership,
    invite: Option<bool>,
    field: &str,
) -> Result<View> {
    let invite = invite.unwrap_or(true);
    if context.environment.authentication_mode == AuthenticationMode::Modular {
        return Err(Error::new(Kind::FailedPrecondition, "users are managed with full-stack authentication only"));
    }
    let mut inviter_email = given.inviter_email;
    if let Caller::User { user, permissions, .. } | Caller::Session { user, permissions, .. } = &context.caller {
        // A customer's administrator may ask somebody in, not vouch for their address, nor write the application's notes.
        if !invite || !given.metadata.is_empty() {
            return Err(Error::permission_denied(&["users:write"]));
        }
        if !given.roles.is_empty() && !permissions.iter().any(|held| held == ROLE_UPDATE) {
            return Err(Error::permission_denied(&[ROLE_UPDATE]));
        }
        // And in their own name only.
        let inviter = users::get(core, context.environment.id, Identity::Id(*user)).await?;
        inviter_email = Some(inviter.user.email);
    }
    let addition = Addition {
        organization,
        subject,
        roles: references(&given.roles, &format!("{field}.roles"))?,
        metadata: given.metadata.into_iter().collect(),
        inviter_email,
        invite,
        provisioning: Provisioning::Direct,
    };
    let by = Actor::from(&context.caller);
    let key = match &context.idempotency_key {
        Some(name) => Some(IdempotencyKey::new(context.environment.id, &by, name, &[path, &addition.fingerprint()])?),
        None => None,
    };
    memberships::add(core, &context.environment, &by, addition, key).await
}

async fn delete_membership(core: Arc<Core>, context: Context, request: wire::DeleteMembershipRequest) -> Result<()> {
    use wire::delete_membership_request::Identities;
    let organization = reachable_id(&context, &request.organization_id)?;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let identity = colleague(&core, &context, organization, identity).await?;
    if let Caller::User { user, .. } | Caller::Session { user, .. } = &context.caller
        && identity == Identity::Id(*user)
    {
        return Err(Error::new(Kind::FailedPrecondition, "nobody can remove themselves from an organization"));
    }
    let by = Actor::from(&context.caller);
    let cascade = request.cascade.unwrap_or(true);
    memberships::remove(&core, context.environment.id, &by, organization, identity, cascade).await
}

async fn update_membership(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateMembershipRequest,
) -> Result<wire::UpdateMembershipResponse> {
    use wire::update_membership_request::Identities;
    let organization = reachable_id(&context, &request.organization_id)?;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let identity = colleague(&core, &context, organization, identity).await?;
    let given = request.membership.unwrap_or_default();
    if is_end_user(&context.caller) && !given.metadata.is_empty() {
        return Err(Error::permission_denied(&["users:write"]));
    }
    let roles = references(&given.roles, "membership.roles")?;
    let metadata = given.metadata.into_iter().collect();
    let (environment, by) = (context.environment.id, Actor::from(&context.caller));
    let view = memberships::update(&core, environment, &by, organization, identity, roles, metadata).await?;
    Ok(wire::UpdateMembershipResponse { user: Some(shown(&context, view)) })
}

async fn resend_invite(
    core: Arc<Core>,
    context: Context,
    request: wire::ResendInviteRequest,
) -> Result<wire::ResendInviteResponse> {
    let (organization, user) = member(&core, &context, &request.organization_id, &request.id).await?;
    let by = Actor::from(&context.caller);
    let invitation = invitations::resend(&core, &context.environment, &by, organization, user).await?;
    Ok(wire::ResendInviteResponse { invite: Some(messages::invite(invitation)) })
}

async fn roles_of(
    core: Arc<Core>,
    context: Context,
    request: wire::ListUserRolesRequest,
) -> Result<wire::ListUserRolesResponse> {
    let (organization, user) = member(&core, &context, &request.organization_id, &request.user_id).await?;
    let roles = memberships::roles_of(&core, context.environment.id, organization, user).await?;
    Ok(wire::ListUserRolesResponse { roles: roles.into_iter().map(messages::role).collect() })
}

async fn assign_roles(
    core: Arc<Core>,
    context: Context,
    request: wire::AssignUserRolesRequest,
) -> Result<wire::AssignUserRolesResponse> {
    let (organization, user) = member(&core, &context, &request.organization_id, &request.user_id).await?;
    let mut references = Vec::with_capacity(request.roles.len());
    for (i, role) in request.roles.iter().enumerate() {
        #[allow(deprecated)]
        references.push(reference(&role.role_name, &role.id, &format!("roles[{i}].role_name"))?);
    }
    let (environment, by) = (context.environment.id, Actor::from(&context.caller));
    let roles = memberships::assign_roles(&core, environment, &by, organization, user, references).await?;
    Ok(wire::AssignUserRolesResponse { roles: roles.into_iter().map(messages::role).collect() })
}

async fn remove_role(core: Arc<Core>, context: Context, request: wire::RemoveUserRoleRequest) -> Result<()> {
    let (organization, user) = member(&core, &context, &request.organization_id, &request.user_id).await?;
    let (environment, by) = (context.environment.id, Actor::from(&context.caller));
    memberships::remove_role(&core, environment, &by, organization, user, request.role_name).await
}

async fn permissions_of(
    core: Arc<Core>,
    context: Context,
    request: wire::ListUserPermissionsRequest,
) -> Result<wire::ListUserPermissionsResponse> {
    let (organization, user) = member(&core, &context, &request.organization_id, &request.user_id).await?;
    let permissions = memberships::permissions_of(&core, context.environment.id, organization, user).await?;
    Ok(wire::ListUserPermissionsResponse { permissions: permissions.into_iter().map(messages::permission).collect() })
}

/// Roles as a membership names them: by name, which wins, or by id alone.
fn references(roles: &[commons::Role], field: &str) -> Result<Vec<Reference>> {
    let named = roles.iter().enumerate();
    named.map(|(i, role)| reference(&role.name, &role.id, &format!("{field}[{i}].name"))).collect()
}

fn reference(name: &str, id: &str, field: &str) -> Result<Reference> {
    if !name.is_empty() {
        return Ok(Reference::Name(name.to_owned()));
    }
    if id.is_empty() {
        return Err(Error::invalid(field, "required", "is required"));
    }
    RoleId::parse(id).map(Reference::Id).ok_or_else(|| Error::invalid(field, "role.exists", "role not found"))
}

fn is_end_user(caller: &Caller) -> bool {
    matches!(caller, Caller::User { .. } | Caller::Session { .. })
}

/// The identity, if the caller is no end user or names themselves. Whether anybody else has an id is not told.
async fn own(core: &Core, context: &Context, identity: Identity) -> Result<Identity> {
    let (Caller::User { user, .. } | Caller::Session { user, .. }) = &context.caller else { return Ok(identity) };
    let is_own = match &identity {
        Identity::Id(id) => id == user,
        Identity::ExternalId(external_id) => {
            let own = users::get(core, context.environment.id, Identity::Id(*user)).await?;
            own.user.external_id.as_ref() == Some(external_id)
        }
    };
    if is_own { Ok(Identity::Id(*user)) } else { Err(Error::permission_denied(&["users:read"])) }
}

/// The identity, if the caller is no end user, or names somebody of their organization. All others are not found: an environment's
/// users are not to be walked by one of its customers.
async fn colleague(
    core: &Core,
    context: &Context,
    organization: OrganizationId,
    identity: Identity,
) -> Result<Identity> {
    if !is_end_user(&context.caller) {
        return Ok(identity);
    }
    let environment = context.environment.id;
    let id = match identity {
        Identity::Id(id) => id,
        Identity::ExternalId(_) => users::get(core, environment, identity).await?.user.id,
    };
    if users::of_organization(core, environment, organization, id).await? {
        Ok(Identity::Id(id))
    } else {
        Err(users::not_found())
    }
}

/// A user in an organization that the caller may use; see [`colleague`].
async fn member(core: &Core, context: &Context, organization: &str, user: &str) -> Result<(OrganizationId, UserId)> {
    let organization = reachable_id(context, organization)?;
    let user = UserId::parse(user).ok_or_else(users::not_found)?;
    colleague(core, context, organization, Identity::Id(user)).await?;
    Ok((organization, user))
}

/// Groups and attributes are what a directory, an identity provider or the application says of somebody, and what tokens may carry: end
/// users say them of nobody, themselves least of all.
fn asserted_by(caller: &Caller, profile: &ProfilePatch) -> Result<()> {
    let asserts = profile.groups.is_some() || profile.metadata.is_some() || profile.custom_attributes.is_some();
    if asserts && is_end_user(caller) { Err(Error::permission_denied(&["users:write"])) } else { Ok(()) }
}

/// What the caller may see of a user: end users see no membership elsewhere, and of somebody who has not joined yet the address alone.
fn shown(context: &Context, mut view: View) -> wire::User {
    if let Caller::User { user, organization, .. } | Caller::Session { user, organization, .. } = &context.caller
        && *user != view.user.id
    {
        view.memberships.retain(|member| Some(member.membership.organization) == *organization);
        if view.memberships.iter().all(|member| member.membership.joined_at.is_none()) {
            view.user.profile = users::Profile::empty(view.user.profile.id);
            view.user.external_id = None;
            view.user.last_login_at = None;
        }
        // They may come through connections of other organizations.
        view.identities.clear();
        // The application's own notes are not its customers'.
        view.user.metadata.clear();
    }
    messages::user(view)
}

fn by_id(text: &str) -> Result<Identity> {
    UserId::parse(text).map(Identity::Id).ok_or_else(users::not_found)
}

fn no_identity() -> Error {
    Error::invalid("id", "required", "id or external_id is required")
}
