//! The table of roles.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Base, Role, Scope};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, OrganizationId, RoleId};

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
    let role: Option<Role> = tx.opt(select!("WHERE r.environment_id = $1 AND r.id = $2"), &p![environment, id]).await?;
    Ok(role.filter(|role| role.scope == Scope::Environment || role.scope == scope))
}

/// The role of an environment that its creators or members get.
pub(super) async fn environment_default(tx: &mut Tx, environment: EnvId, of: Default) -> Result<Option<Role>> {
    // Organization roles never carry these marks.
    let sql = match of {
        Default::Creator => {
            select!("WHERE r.environment_id = $1 AND r.organization_id IS NULL AND r.default_creator = 1 ORDER BY r.id LIMIT 1")
        }
        Default::Member => {
            select!("WHERE r.environment_id = $1 AND r.organization_id IS NULL AND r.default_member = 1 ORDER BY r.id LIMIT 1")
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
