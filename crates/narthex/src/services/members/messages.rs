//! Members, roles and permissions of the dashboard on the wire.

use narthex_api::scalekit::v1::commons;
use narthex_api::scalekit::v1::members as wire;
use narthex_core::Timestamp;
use narthex_core::ids::WorkspaceId;
use narthex_core::members::{self, FixedRole, Member, MemberPatch, Tier};

use super::super::organizations::time;

/// A change of what a member is called: present texts count, and an empty map says nothing.
pub(super) fn patch(given: wire::UpdateMember) -> MemberPatch {
    let profile = given.user_profile.unwrap_or_default();
    MemberPatch {
        given_name: given.first_name.or(profile.given_name),
        family_name: given.last_name.or(profile.family_name),
        metadata: if given.metadata.is_empty() { None } else { Some(given.metadata.into_iter().collect()) },
    }
}

#[allow(deprecated)]
pub(super) fn member(
    member: &Member,
    workspace_name: &str,
    workspaces: &[WorkspaceId],
    now: Timestamp,
) -> wire::Member {
    let role = role(&member.role);
    let is_admin = [FixedRole::Owner, FixedRole::Admin].iter().any(|role| role.name() == member.role);
    let membership = commons::OrganizationMembership {
        organization_id: member.workspace.to_string(),
        join_time: member.joined_at.map(time),
        membership_status: member.status(now) as i32,
        roles: vec![commons::Role {
            id: role.id.clone(),
            name: role.name.clone(),
            display_name: role.display_name.clone(),
        }],
        name: Some(workspace_name.to_owned()),
        display_name: Some(workspace_name.to_owned()),
        inviter_email: member.inviter_email.clone(),
        created_at: member.invited_at.map(time),
        accepted_at: member.invited_at.and(member.joined_at).map(time),
        expires_at: member.expires_at.map(time),
        ..Default::default()
    };
    wire::Member {
        id: member.id.to_string(),
        create_time: Some(time(member.created_at)),
        update_time: Some(time(member.updated_at)),
        workspace_id: member.workspace.to_string(),
        role: if is_admin { wire::MemberRole::Admin } else { wire::MemberRole::User }.into(),
        first_name: Some(member.given_name.clone()),
        last_name: Some(member.family_name.clone()),
        email: member.email.clone(),
        metadata: member.metadata.clone().into_iter().collect(),
        organizations: vec![membership],
        user_profile: Some(commons::UserProfile {
            given_name: member.given_name.clone(),
            family_name: member.family_name.clone(),
            first_name: member.given_name.clone(),
            last_name: member.family_name.clone(),
            name: format!("{} {}", member.given_name, member.family_name).trim().to_owned(),
            email_verified: member.user.is_some(),
            ..Default::default()
        }),
        external_id: String::new(),
        workspace_ids: workspaces.iter().map(ToString::to_string).collect(),
        active_workspace_external_id: None,
        dashboard_role: Some(role),
        dashboard_role_name: String::new(),
    }
}

/// A role by its name, which is its id as well: fixed roles are the same in every workspace.
pub(super) fn role(name: &str) -> wire::DashboardRole {
    let fixed = FixedRole::from_name(name);
    let (display_name, description) = match fixed {
        Some(FixedRole::Owner) => ("Owner", "Everything, billing and the team included"),
        Some(FixedRole::Admin) => ("Admin", "Everything but paying, renaming the workspace and destroying keys"),
        Some(FixedRole::Developer) => ("Developer", "Reads everything and builds in environments; deletes nothing"),
        Some(FixedRole::Member) => ("Member", "Manages how people sign in"),
        Some(FixedRole::Viewer) => ("Viewer", "Looks"),
        None => ("", ""),
    };
    wire::DashboardRole {
        id: name.to_owned(),
        name: name.to_owned(),
        display_name: display_name.to_owned(),
        permissions: fixed.map(FixedRole::permissions).unwrap_or_default(),
        is_fixed: fixed.is_some(),
        description: description.to_owned(),
    }
}

pub(super) fn permission(key: &str) -> wire::DashboardPermission {
    let (group, action) = key.split_once(':').unwrap_or((key, ""));
    let verb = match action {
        "read" => "View",
        "write" => "Change",
        "create" => "Create",
        "delete" => "Delete",
        "rotate" => "Rotate or delete",
        "destroy" => "Destroy",
        "revoke" => "Revoke",
        "execute" => "Run",
        "access" => "Use",
        _ => "Manage",
    };
    wire::DashboardPermission {
        key: key.to_owned(),
        group: group.to_owned(),
        tier: match members::tier(key) {
            Tier::Workspace => "workspace",
            Tier::Environment => "environment",
        }
        .to_owned(),
        description: format!("{verb} {}", group_name(group)),
        sensitive: members::is_sensitive(key),
    }
}

/// What a group of permissions is about, for people.
fn group_name(group: &str) -> String {
    match group {
        "api_credentials" => "applications and API credentials".to_owned(),
        "app_authorization" => "roles and permissions".to_owned(),
        "sso" => "single sign-on connections".to_owned(),
        "scim" => "directories".to_owned(),
        "mcp_servers" => "MCP servers".to_owned(),
        "virtual_mcp_servers" => "virtual MCP servers".to_owned(),
        "custom_domain" => "the custom domain".to_owned(),
        "environment_access" => "the roles of members in single environments".to_owned(),
        "email" => "e-mail servers and templates".to_owned(),
        "billing" => "billing".to_owned(),
        "branding" => "branding".to_owned(),
        "workspace" => "the workspace".to_owned(),
        "gateway" => "the gateway".to_owned(),
        "gateway_policy" => "the policies of the gateway".to_owned(),
        other => other.replace('_', " "),
    }
}
