//! The table of permissions.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::Permission;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, PermissionId};

/// A SELECT of the columns of a [`Permission`], in the order in which it is read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.environment_id, p.name, p.description, p.built_in, p.created_at, p.updated_at FROM permissions p ",
            $rest
        )
    };
}
pub(super) use select;

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

/// The permission with this name.
pub(crate) async fn find(tx: &mut Tx, environment: EnvId, name: &str) -> Result<Option<Permission>> {
    Ok(tx.opt(select!("WHERE p.environment_id = $1 AND p.name = $2"), &p![environment, name]).await?)
}

/// The permission with this id.
pub(super) async fn by_id(tx: &mut Tx, environment: EnvId, id: PermissionId) -> Result<Option<Permission>> {
    Ok(tx.opt(select!("WHERE p.environment_id = $1 AND p.id = $2"), &p![environment, id]).await?)
}

pub(super) async fn insert(tx: &mut Tx, permission: &Permission) -> Result<()> {
    tx.execute(
        "INSERT INTO permissions (id, environment_id, name, description, built_in, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &p![
            permission.id,
            permission.environment,
            &permission.name,
            &permission.description,
            permission.is_built_in,
            permission.created_at.0,
            permission.updated_at.0
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, permission: &Permission) -> Result<()> {
    tx.execute(
        "UPDATE permissions SET description = $3, updated_at = $4 WHERE environment_id = $1 AND id = $2",
        &p![permission.environment, permission.id, &permission.description, permission.updated_at.0],
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, permission: &Permission) -> Result<()> {
    tx.execute(
        "DELETE FROM permissions WHERE environment_id = $1 AND id = $2",
        &p![permission.environment, permission.id],
    )
    .await?;
    Ok(())
}

/// Takes the permission from up to `limit` roles; how many.
pub(super) async fn detach(tx: &mut Tx, permission: PermissionId, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM role_permissions WHERE permission_id = $1 AND role_id IN \
               (SELECT role_id FROM role_permissions WHERE permission_id = $1 ORDER BY role_id LIMIT $2)";
    Ok(tx.execute(sql, &p![permission, limit]).await?)
}

/// Counts the permissions that did not come with the environment, or those that did.
pub(super) async fn count(tx: &mut Tx, environment: EnvId, built_in: bool) -> Result<u64> {
    let (count,): (i64,) = tx
        .one("SELECT COUNT(*) FROM permissions WHERE environment_id = $1 AND built_in = $2", &p![environment, built_in])
        .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
