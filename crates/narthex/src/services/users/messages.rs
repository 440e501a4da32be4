//! Users, memberships and invitations on the wire.

use std::collections::{BTreeMap, HashMap};

use narthex_api::scalekit::v1::commons;
use narthex_api::scalekit::v1::users as wire;
use narthex_core::invitations::Invitation;
use narthex_core::memberships;
use narthex_core::permissions::Permission;
use narthex_core::roles::Role;
use narthex_core::users::{ExternalIdentity, Profile, ProfilePatch, View};

use super::super::organizations::time;

/// A map that was sent. An empty one says nothing, since the wire cannot tell it from an absent one.
pub(super) fn unless_empty(map: HashMap<String, String>) -> Option<BTreeMap<String, String>> {
    if map.is_empty() { None } else { Some(map.into_iter().collect()) }
}

/// The profile of a new user. The older names of the two names count where the newer ones are not given.
#[allow(deprecated)]
pub(super) fn new_profile(given: wire::CreateUserProfile) -> ProfilePatch {
    let text = |text: String| if text.is_empty() { None } else { Some(text) };
    ProfilePatch {
        given_name: text(given.given_name).or_else(|| text(given.first_name)),
        family_name: text(given.family_name).or_else(|| text(given.last_name)),
        name: text(given.name),
        locale: text(given.locale),
        phone_number: text(given.phone_number),
        preferred_username: text(given.preferred_username),
        picture: given.picture,
        gender: given.gender,
        groups: if given.groups.is_empty() { None } else { Some(given.groups) },
        metadata: unless_empty(given.metadata),
        custom_attributes: unless_empty(given.custom_attributes),
    }
}

/// A change of a profile: a present empty text clears, an empty list or map says nothing.
#[allow(deprecated)]
pub(super) fn changed_profile(given: wire::UpdateUserProfile) -> ProfilePatch {
    ProfilePatch {
        given_name: given.given_name.or(given.first_name),
        family_name: given.family_name.or(given.last_name),
        name: given.name,
        locale: given.locale,
        phone_number: given.phone_number,
        preferred_username: given.preferred_username,
        picture: given.picture,
        gender: given.gender,
        groups: if given.groups.is_empty() { None } else { Some(given.groups) },
        metadata: unless_empty(given.metadata),
        custom_attributes: unless_empty(given.custom_attributes),
    }
}

/// A user.
pub(super) fn user(view: View) -> wire::User {
    let View { user, memberships, identities } = view;
    wire::User {
        id: user.id.to_string(),
        environment_id: user.environment.to_string(),
        create_time: Some(time(user.created_at)),
        update_time: Some(time(user.updated_at)),
        email: user.email,
        external_id: user.external_id,
        memberships: memberships.into_iter().map(membership).collect(),
        user_profile: Some(profile(user.profile, identities)),
        metadata: user.metadata.into_iter().collect(),
        last_login_time: user.last_login_at.map(time),
    }
}

/// Both pairs of names are always filled: SDKs read one or the other.
#[allow(deprecated)]
fn profile(profile: Profile, identities: Vec<ExternalIdentity>) -> commons::UserProfile {
    commons::UserProfile {
        id: profile.id.to_string(),
        first_name: profile.given_name.clone(),
        last_name: profile.family_name.clone(),
        given_name: profile.given_name,
        family_name: profile.family_name,
        name: profile.name,
        locale: profile.locale,
        email_verified: profile.email_verified,
        phone_number: profile.phone_number,
        metadata: profile.metadata.into_iter().collect(),
        custom_attributes: profile.custom_attributes.into_iter().collect(),
        preferred_username: profile.preferred_username,
        phone_number_verified: profile.phone_number_verified,
        picture: profile.picture,
        groups: profile.groups,
        gender: profile.gender,
        external_identities: identities.into_iter().map(identity).collect(),
    }
}

fn identity(identity: ExternalIdentity) -> commons::ExternalIdentity {
    commons::ExternalIdentity {
        connection_id: format!("conn_{}", identity.connection),
        connection_type: identity.connection_type,
        connection_provider: identity.provider,
        connection_user_id: identity.subject,
        is_social: identity.is_social,
        last_login_time: identity.last_login_at.map(time),
        created_time: Some(time(identity.created_at)),
        last_synced_time: identity.last_synced_at.map(time),
    }
}

fn membership(view: memberships::View) -> commons::OrganizationMembership {
    let memberships::View { membership, status, organization_name, roles, permissions } = view;
    commons::OrganizationMembership {
        organization_id: membership.organization.to_string(),
        join_time: membership.joined_at.map(time),
        membership_status: status as i32,
        roles: roles.into_iter().map(role).collect(),
        name: Some(organization_name.clone()),
        metadata: membership.metadata.into_iter().collect(),
        display_name: Some(organization_name),
        inviter_email: membership.inviter_email,
        created_at: membership.invited_at.map(time),
        accepted_at: membership.accepted_at.map(time),
        expires_at: membership.expires_at.map(time),
        provisioning_method: Some(membership.provisioning.name().to_owned()),
        permissions,
    }
}

/// A role as users hold it.
pub(super) fn role(role: Role) -> commons::Role {
    commons::Role { id: role.id.to_string(), name: role.name, display_name: role.display_name }
}

/// A permission as users have it.
pub(super) fn permission(permission: Permission) -> wire::Permission {
    wire::Permission {
        id: permission.id.to_string(),
        name: permission.name,
        description: permission.description,
        tags: Vec::new(),
    }
}

/// An invitation.
pub(super) fn invite(invitation: Invitation) -> wire::Invite {
    wire::Invite {
        organization_id: invitation.organization.to_string(),
        user_id: invitation.user.to_string(),
        inviter_email: invitation.inviter_email,
        status: invitation.status.name().to_owned(),
        created_at: Some(time(invitation.created_at)),
        expires_at: Some(time(invitation.expires_at)),
        resent_at: invitation.resent_at.map(time),
        resent_count: invitation.resent_count,
    }
}
