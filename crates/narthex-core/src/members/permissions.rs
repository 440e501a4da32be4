//! The dashboard's permissions and fixed roles, as data (control plane reference §2.5 and §2.7).

/// Every permission of an operator, `resource:action`, in order of their names.
pub const PERMISSIONS: [&str; 64] = [
    "agent_connectors:execute",
    "agent_connectors:read",
    "agent_connectors:write",
    "agent_logs:read",
    "api_credentials:read",
    "api_credentials:rotate",
    "api_credentials:write",
    "app_authorization:read",
    "app_authorization:write",
    "auth_logs:read",
    "billing:read",
    "billing:write",
    "branding:read",
    "branding:write",
    "connected_accounts:access",
    "connected_accounts:read",
    "connected_accounts:revoke",
    "connected_accounts:write",
    "custom_domain:read",
    "custom_domain:write",
    "dashboard_roles:read",
    "dashboard_roles:write",
    "email:read",
    "email:write",
    "encryption_keys:destroy",
    "encryption_keys:read",
    "encryption_keys:write",
    "environment_access:read",
    "environment_access:write",
    "environment_settings:read",
    "environment_settings:write",
    "environments:create",
    "environments:write",
    "events:read",
    "gateway:read",
    "gateway:write",
    "gateway_policy:read",
    "gateway_policy:write",
    "interceptors:read",
    "interceptors:write",
    "master_keys:read",
    "mcp_servers:read",
    "mcp_servers:write",
    "members:read",
    "members:write",
    "organizations:delete",
    "organizations:read",
    "organizations:write",
    "portal_links:manage",
    "scim:read",
    "scim:write",
    "sessions:read",
    "sessions:revoke",
    "sso:read",
    "sso:write",
    "users:delete",
    "users:read",
    "users:write",
    "virtual_mcp_servers:read",
    "virtual_mcp_servers:write",
    "webhooks:read",
    "webhooks:write",
    "workspace:read",
    "workspace:write",
];

/// What a permission is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The workspace: its people, bills and environments.
    Workspace,
    /// One environment.
    Environment,
}

/// The tier of a permission.
pub fn tier(permission: &str) -> Tier {
    const WORKSPACE: [&str; 6] =
        ["workspace", "members", "billing", "dashboard_roles", "environment_access", "master_keys"];
    let (resource, _) = permission.split_once(':').unwrap_or((permission, ""));
    if WORKSPACE.contains(&resource) || permission == "environments:create" {
        Tier::Workspace
    } else {
        Tier::Environment
    }
}

/// Whether holding a permission is dangerous enough to say so.
pub fn is_sensitive(permission: &str) -> bool {
    const NAMED: [&str; 4] =
        ["connected_accounts:access", "api_credentials:write", "portal_links:manage", "members:write"];
    let (resource, action) = permission.split_once(':').unwrap_or((permission, ""));
    matches!(action, "rotate" | "destroy" | "delete" | "revoke")
        || resource == "encryption_keys"
        || NAMED.contains(&permission)
}

/// A role that every workspace has and nobody can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FixedRole {
    /// Everything.
    Owner,
    /// Everything but paying, renaming the workspace and destroying keys.
    Admin,
    /// Builds: reads everything, writes in environments, but neither rotates, destroys nor deletes.
    Developer,
    /// Manages the authentication configuration.
    Member,
    /// Looks.
    Viewer,
}

impl FixedRole {
    /// All of them, most powerful first.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Developer, Self::Member, Self::Viewer];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it has a permission.
    pub fn grants(self, permission: &str) -> bool {
        let (resource, action) = permission.split_once(':').unwrap_or((permission, ""));
        let in_environment = tier(permission) == Tier::Environment;
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(permission, "billing:write" | "workspace:write" | "encryption_keys:destroy"),
            Self::Developer => {
                action == "read"
                    || in_environment
                        && resource != "encryption_keys"
                        && !matches!(action, "rotate" | "destroy" | "delete")
            }
            Self::Member => permission == "members:read" || in_environment && matches!(action, "read" | "write"),
            Self::Viewer => action == "read" && permission != "billing:read",
        }
    }

    /// What it has.
    pub fn permissions(self) -> Vec<String> {
        PERMISSIONS
            .iter()
            .filter(|&&permission| self.grants(permission))
            .map(|&permission| permission.to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_has_no_doubles() {
        assert!(PERMISSIONS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn fixed_roles_hold_what_the_reference_says() {
        let holds = |role: FixedRole, permission: &str| role.permissions().iter().any(|held| held == permission);
        assert_eq!(FixedRole::Owner.permissions().len(), 64);
        assert_eq!(FixedRole::Admin.permissions().len(), 61);
        assert!(holds(FixedRole::Developer, "sso:write") && holds(FixedRole::Developer, "billing:read"));
        for refused in [
            "api_credentials:rotate",
            "organizations:delete",
            "members:write",
            "encryption_keys:write",
            "dashboard_roles:write",
            "environments:create",
            "environment_access:write",
        ] {
            assert!(!holds(FixedRole::Developer, refused), "{refused}");
        }
        assert!(holds(FixedRole::Member, "organizations:write") && holds(FixedRole::Member, "members:read"));
        for refused in ["billing:read", "members:write", "organizations:delete", "workspace:write", "sessions:revoke"] {
            assert!(!holds(FixedRole::Member, refused), "{refused}");
        }
        assert!(holds(FixedRole::Viewer, "members:read") && !holds(FixedRole::Viewer, "billing:read"));
        assert!(FixedRole::Viewer.permissions().iter().all(|held| held.ends_with(":read")));
    }

    #[test]
    fn the_role_of_an_unknown_name_is_none() {
        assert_eq!(FixedRole::from_name("root"), None);
        assert_eq!(FixedRole::from_name("owner"), Some(FixedRole::Owner));
    }
}
