//! The table of roles.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Base, Role, Scope};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, OrganizationId, PermissionId, RoleId};
use crate::permissions::Permission;

/// A SELECT of the columns of a [`Role`], in the order in which it is read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.environment_id, r.organization_id, r.name, r.display_name, r.description, r.default_creator, \
             r.default_member, r.extends_role_id, b.name, r.created_at, r.updated_at \
             FROM roles r LEFT JOIN roles b ON b.id = r.extends_role_id ",
            $rest
        )
    };
}
pub(super) use select;

impl FromRow for Role {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let base = match (row.get::<Option<RoleId>>(8)?, row.get::<Option<String>>(9)?) {
            (Some(id), Some(name)) => Some(Base { id, name }),
            _ => None,
        };
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            scope: row.get::<Option<OrganizationId>>(2)?.map_or(Scope::Environment, Scope::Organization),
            name: row.get(3)?,
            display_name: row.get(4)?,
            description: row.get(5)?,
            default_creator: row.get(6)?,
            default_member: row.get(7)?,
            base,
            created_at: Timestamp(row.get(10)?),
            updated_at: Timestamp(row.get(11)?),
        })
    }
}

/// The role with this name in exactly this scope.
pub(super) async fn find(tx: &mut Tx, environment: EnvId, scope: Scope, name: &str) -> Result<Option<Role>> {
    let role = match scope {
        Scope::Environment => {
            let sql = select!("WHERE r.environment_id = $1 AND r.name = $2 AND r.organization_id IS NULL");
            tx.opt(sql, &p![environment, name]).await?
        }
        Scope::Organization(organization) => {
            let sql = select!("WHERE r.environment_id = $1 AND r.name = $2 AND r.organization_id = $3");
            tx.opt(sql, &p![environment, name, organization]).await?
        }
    };
    Ok(role)
}

/// The role that a name means inside a scope: in an organization its own one, else the environment's.
pub(super) async fn visible(tx: &mut Tx, environment: EnvId, scope: Scope, name: &str) -> Result<Option<Role>> {
    match find(tx, environment, scope, name).await? {
        None if scope != Scope::Environment => find(tx, environment, Scope::Environment, name).await,
        found => Ok(found),
    }
}

/// The role with this id, if it can be used inside the scope.
pub(super) async fn visible_by_id(tx: &mut Tx, environment: EnvId, scope: Scope, id: RoleId) -> Result<Option<Role>> {
    let role = by_id(tx, environment, id).await?;
    Ok(role.filter(|role| role.scope == Scope::Environment || role.scope == scope))
}

/// The role of an environment with this id, whatever its scope.
pub(super) async fn by_id(tx: &mut Tx, environment: EnvId, id: RoleId) -> Result<Option<Role>> {
    Ok(tx.opt(select!("WHERE r.environment_id = $1 AND r.id = $2"), &p![environment, id]).await?)
}

/// The role of an environment that its creators or members get.
pub(super) async fn environment_default(tx: &mut Tx, environment: EnvId, of: Default) -> Result<Option<Role>> {
    // Organization roles never carry these marks.
    let sql = match of {
        Default::Creator => {
            select!(
                "WHERE r.environment_id = $1 AND r.organization_id IS NULL AND r.default_creator = 1 ORDER BY r.id LIMIT 1"
            )
        }
        Default::Member => {
            select!(
                "WHERE r.environment_id = $1 AND r.organization_id IS NULL AND r.default_member = 1 ORDER BY r.id LIMIT 1"
            )
        }
    };
    Ok(tx.opt(sql, &p![environment]).await?)
}

/// Which default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// Of those who sign an organization up.
    Creator,
    /// Of new members.
    Member,
}

/// The default member role that an organization has of its own.
pub(super) async fn organization_default(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
) -> Result<Option<RoleId>> {
    let found: Option<(RoleId,)> = tx
        .opt(
            "SELECT member_role_id FROM organization_default_roles WHERE organization_id = $1 AND environment_id = $2",
            &p![organization, environment],
        )
        .await?;
    Ok(found.map(|(role,)| role))
}

pub(super) async fn exists(tx: &mut Tx, id: RoleId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM roles WHERE id = $1", &p![id]).await?.is_some())
}

/// Whether a new role of this scope would share its name with one that is seen together with it.
pub(super) async fn is_name_taken(tx: &mut Tx, environment: EnvId, scope: Scope, name: &str) -> Result<bool> {
    let found: Option<(i64,)> = match scope {
        Scope::Environment => {
            let sql = "SELECT id FROM roles WHERE environment_id = $1 AND name = $2 LIMIT 1";
            tx.opt(sql, &p![environment, name]).await?
        }
        Scope::Organization(organization) => {
            let sql = "SELECT id FROM roles WHERE environment_id = $1 AND name = $2 \
                       AND (organization_id IS NULL OR organization_id = $3) LIMIT 1";
            tx.opt(sql, &p![environment, name, organization]).await?
        }
    };
    Ok(found.is_some())
}

pub(super) async fn insert(tx: &mut Tx, role: &Role) -> Result<()> {
    tx.execute(
        "INSERT INTO roles (id, environment_id, organization_id, name, display_name, description, default_creator, \
         default_member, extends_role_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &p![
            role.id,
            role.environment,
            role.scope.organization(),
            &role.name,
            &role.display_name,
            &role.description,
            role.default_creator,
            role.default_member,
            role.base.as_ref().map(|base| base.id),
            role.created_at.0,
            role.updated_at.0
        ],
    )
    .await?;
    Ok(())
}

/// Writes what can change of a role.
pub(super) async fn update(tx: &mut Tx, role: &Role) -> Result<()> {
    tx.execute(
        "UPDATE roles SET display_name = $3, description = $4, default_creator = $5, default_member = $6, \
         extends_role_id = $7, updated_at = $8 WHERE environment_id = $1 AND id = $2",
        &p![
            role.environment,
            role.id,
            &role.display_name,
            &role.description,
            role.default_creator,
            role.default_member,
            role.base.as_ref().map(|base| base.id),
            role.updated_at.0
        ],
    )
    .await?;
    Ok(())
}

/// The ids of a role's own permissions.
pub(super) async fn granted(tx: &mut Tx, role: RoleId) -> Result<Vec<PermissionId>> {
    let sql = "SELECT permission_id FROM role_permissions WHERE role_id = $1 ORDER BY permission_id";
    let ids: Vec<(PermissionId,)> = tx.all(sql, &p![role]).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// A role's own permissions, oldest first.
pub(super) async fn permissions(tx: &mut Tx, role: RoleId) -> Result<Vec<Permission>> {
    let sql = "SELECT p.id, p.environment_id, p.name, p.description, p.built_in, p.created_at, p.updated_at \
               FROM role_permissions g JOIN permissions p ON p.id = g.permission_id WHERE g.role_id = $1 ORDER BY p.id";
    Ok(tx.all(sql, &p![role]).await?)
}

pub(super) async fn grant(tx: &mut Tx, role: RoleId, permission: PermissionId) -> Result<()> {
    let sql = "INSERT INTO role_permissions (role_id, permission_id) VALUES ($1, $2)";
    tx.execute(sql, &p![role, permission]).await?;
    Ok(())
}

/// Takes a permission from a role; whether it had it.
pub(super) async fn withdraw(tx: &mut Tx, role: RoleId, permission: PermissionId) -> Result<bool> {
    let sql = "DELETE FROM role_permissions WHERE role_id = $1 AND permission_id = $2";
    Ok(tx.execute(sql, &p![role, permission]).await? > 0)
}

/// Up to `limit` roles that extend a role directly, oldest first.
pub(super) async fn extending(tx: &mut Tx, environment: EnvId, role: RoleId, limit: i64) -> Result<Vec<Role>> {
    let sql = select!("WHERE r.environment_id = $1 AND r.extends_role_id = $2 ORDER BY r.id LIMIT $3");
    Ok(tx.all(sql, &p![environment, role, limit]).await?)
}

/// Takes a role away as the default of up to `limit` organizations; true when none is left.
pub(super) async fn forget_default(tx: &mut Tx, role: RoleId, limit: i64) -> Result<bool> {
    let sql = "DELETE FROM organization_default_roles WHERE organization_id IN \
               (SELECT organization_id FROM organization_default_roles WHERE member_role_id = $1 ORDER BY organization_id LIMIT $2)";
    Ok(tx.execute(sql, &p![role, limit]).await? < limit.unsigned_abs())
}

/// Deletes a role that nobody holds and none extends, with its permissions.
pub(super) async fn delete(tx: &mut Tx, role: &Role) -> Result<()> {
    tx.execute("DELETE FROM role_permissions WHERE role_id = $1", &p![role.id]).await?;
    tx.execute("DELETE FROM roles WHERE environment_id = $1 AND id = $2", &p![role.environment, role.id]).await?;
    Ok(())
}
