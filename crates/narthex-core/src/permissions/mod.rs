//! Permissions: what an application's roles allow. They belong to an environment; twelve come with it and stay.

use narthex_db::{DbError, FromRow, Row};

use crate::clock::Timestamp;
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

impl FromRow for Permission {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            name: row.get(2)?,
            description: row.get(3)?,
            is_built_in: row.get(4)?,
            created_at: Timestamp(row.get(5)?),
            updated_at: Timestamp(row.get(6)?),
        })
    }
}

/// The answer to a name that is no permission of the environment.
pub fn not_found() -> Error {
    Error::not_found(PermissionId::NOUN)
}
