//! Roles: names for sets of permissions, held by users in an organization. A role belongs to an environment or to one organization
//! of it, and may extend another, whose permissions it then has as well.

mod allowed;
mod assignment;
mod chain;
mod change;
mod defaults;
mod delete;
mod holders;
mod read;
mod store;

use serde_json::{Value, json};

pub(crate) use allowed::{Allowed, allowed, bump};
pub(crate) use assignment::by_id;
pub use assignment::{
    Reference, assign, default_creator, default_member, effective_permissions, of_membership, replace, resolve,
    unassign, unassign_all, with_bases,
};
pub use chain::Held;
pub use change::{add_permissions, create, remove_base, remove_permission, update};
pub use defaults::{Defaults, set_defaults, set_organization_default};
pub use delete::delete;
pub(crate) use delete::purge;
pub use read::{Include, View, dependents, get, list, permissions, permissions_with_inherited, users_count};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{EnvId, OrganizationId, RoleId};

/// Most permissions that a role has of its own (orgs-users-rbac reference §7.1).
pub const PERMISSIONS: usize = 100;

/// Where a role is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In every organization of the environment.
    Environment,
    /// In one organization.
    Organization(OrganizationId),
}

impl Scope {
    /// The one organization, if it is one.
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Environment => None,
            Self::Organization(organization) => Some(organization),
        }
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Id.
    pub id: RoleId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Where it is known.
    pub scope: Scope,
    /// Name, unique in the environment or in the organization; never changes.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// Description; may be empty.
    pub description: String,
    /// Whether who signs an organization up gets it.
    pub default_creator: bool,
    /// Whether a new member gets it where no role is named.
    pub default_member: bool,
    /// The role whose permissions it has as well.
    pub base: Option<Base>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// The role that another one extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Id.
    pub id: RoleId,
    /// Name.
    pub name: String,
}

/// A role to be made.
#[derive(Debug, Clone, Default)]
pub struct NewRole {
    /// Name.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// Description; may be empty.
    pub description: String,
    /// Name of the role to extend.
    pub base: Option<String>,
    /// Names of its own permissions.
    pub permissions: Vec<String>,
}

impl NewRole {
    /// A text that is equal exactly for equal requests.
    pub fn fingerprint(&self) -> String {
        json!([self.name, self.display_name, self.description, self.base, self.permissions]).to_string()
    }
}

/// A change of a role. What is absent stays; a base goes by [`remove_base`] alone.
#[derive(Debug, Clone, Default)]
pub struct RolePatch {
    /// Name for people.
    pub display_name: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Name of the role to extend.
    pub base: Option<String>,
    /// Names of its own permissions, in place of those it has; none leaves them.
    pub permissions: Vec<String>,
}

/// The answer to a name that is no role there.
pub fn not_found() -> Error {
    Error::not_found(RoleId::NOUN)
}

/// `data` of a role's events (events reference §4).
fn data(role: &Role) -> Value {
    json!({
        "description": role.description,
        "display_name": role.display_name,
        "extends": role.base.as_ref().map_or("", |base| base.name.as_str()),
        "id": role.id.to_string(),
        "name": role.name,
    })
}
