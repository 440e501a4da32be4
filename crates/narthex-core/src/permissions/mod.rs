//! Permissions: what an application's roles allow. They belong to an environment; twelve come with it and stay.

mod change;
mod list;
mod session;
mod store;

use serde_json::{Value, json};

pub use change::{create, delete, recount, update};
pub use list::{Filter, LIST, list};
pub use session::session_keys;
pub(crate) use store::find;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, PermissionId};

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Id.
    pub id: PermissionId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Name, unique in the environment; never changes.
    pub name: String,
    /// Description; may be empty.
    pub description: String,
    /// Whether the environment came with it: then it can be neither changed nor deleted.
    pub is_built_in: bool,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A permission of the environment.
pub async fn get(core: &Core, environment: EnvId, name: &str) -> Result<Permission> {
    store::find(&mut *core.db.reader().await?, environment, name).await?.ok_or_else(not_found)
}

/// The answer to a name that is no permission of the environment.
pub fn not_found() -> Error {
    Error::not_found(PermissionId::NOUN)
}

/// `data` of a permission's events (events reference §4).
fn data(permission: &Permission) -> Value {
    json!({
        "description": permission.description,
        "id": permission.id.to_string(),
        "name": permission.name,
    })
}
