//! Roles as they are shown: with how many roles extend them, and what they grant.

use std::collections::HashMap;

use narthex_db::{Tx, p};

use super::chain::{self, Granted, Held};
use super::change::organization_of;
use super::store::{self, select};
use super::{Role, Scope, holders, not_found};
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, RoleId};
use crate::permissions::Permission;

/// Which permissions are shown with a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// None.
    #[default]
    Nothing,
    /// Its own.
    Own,
    /// Those of its bases as well.
    Inherited,
}

/// A role as it is shown in a scope. In an organization that has a default of its own, `role.default_member` marks that one, and
/// roles of other organizations are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The role.
    pub role: Role,
    /// Roles that extend it directly.
    pub dependents: u32,
    /// Its permissions, as far as they were asked for.
    pub permissions: Vec<Held>,
}

/// The role that a name means: in an organization its own one, else the environment's.
pub async fn get(core: &Core, environment: EnvId, scope: Scope, name: String, include: Include) -> Result<View> {
    core.db
        .read(async move |tx| {
            organization_of(tx, environment, scope).await?;
            let role = store::visible(tx, environment, scope, &name).await?.ok_or_else(not_found)?;
            view(tx, environment, scope, role, include).await
        })
        .await
}

/// A role as it is shown in a scope.
pub(super) async fn view(
    tx: &mut Tx,
    environment: EnvId,
    scope: Scope,
    mut role: Role,
    include: Include,
) -> Result<View> {
    mark_default(tx, environment, scope, std::slice::from_mut(&mut role)).await?;
    let permissions = match include {
        Include::Nothing => Vec::new(),
        Include::Own => {
            let own = store::permissions(tx, role.id).await?;
            own.into_iter().map(|permission| Held { permission, role: role.name.clone() }).collect()
        }
        Include::Inherited => chain::effective(tx, environment, role.id).await?,
    };
    let dependents = match scope {
        Scope::Environment => count(tx, "SELECT COUNT(*) FROM roles WHERE extends_role_id = $1", &p![role.id]).await?,
        Scope::Organization(organization) => {
            count(
                tx,
                "SELECT COUNT(*) FROM roles WHERE extends_role_id = $1 AND (organization_id IS NULL OR organization_id = $2)",
                &p![role.id, organization],
            )
            .await?
        }
    };
    Ok(View { role, dependents, permissions })
}

/// The roles of an environment, or those that can be used in an organization: first the environment's, each oldest first.
pub async fn list(core: &Core, environment: EnvId, scope: Scope, include: Include) -> Result<Vec<View>> {
    core.db
        .read(async move |tx| {
            organization_of(tx, environment, scope).await?;
            let mut roles: Vec<Role> = tx
                .all(
                    select!("WHERE r.environment_id = $1 AND r.organization_id IS NULL ORDER BY r.id"),
                    &p![environment],
                )
                .await?;
            if let Scope::Organization(organization) = scope {
                let sql = select!("WHERE r.environment_id = $1 AND r.organization_id = $2 ORDER BY r.id");
                roles.extend(tx.all::<Role>(sql, &p![environment, organization]).await?);
            }
            mark_default(tx, environment, scope, &mut roles).await?;
            let dependents = counts(tx, environment, scope).await?;
            let granted =
                if include == Include::Nothing { Vec::new() } else { granted(tx, environment, scope).await? };
            Ok(views(roles, &dependents, &granted, include))
        })
        .await
}

/// The roles with what they grant. All their bases are among them, so chains are walked in memory.
fn views(roles: Vec<Role>, dependents: &HashMap<RoleId, u32>, granted: &[Granted], include: Include) -> Vec<View> {
    let by_role = chain::by_role(granted);
    let by_id: HashMap<RoleId, &Role> = roles.iter().map(|role| (role.id, role)).collect();
    let base = |role: &&Role| by_id.get(&role.base.as_ref()?.id).copied();
    let length = match include {
        Include::Nothing => 0,
        Include::Own => 1,
        // No chain is longer than there are roles: even a closed one, which nothing writes, would end.
        Include::Inherited => roles.len(),
    };
    let permissions: Vec<Vec<Held>> = roles
        .iter()
        .map(|role| {
            let links = std::iter::successors(Some(role), base).take(length);
            chain::held(links.map(|link| (link.id, link.name.as_str())), &by_role)
        })
        .collect();
    let view = |(role, permissions): (Role, Vec<Held>)| View {
        dependents: dependents.get(&role.id).copied().unwrap_or(0),
        role,
        permissions,
    };
    roles.into_iter().zip(permissions).map(view).collect()
}

/// The roles that extend an environment's role directly, those of organizations among them.
pub async fn dependents(core: &Core, environment: EnvId, name: String) -> Result<Vec<View>> {
    core.db
        .read(async move |tx| {
            let role = store::find(tx, environment, Scope::Environment, &name).await?.ok_or_else(not_found)?;
            let sql = select!("WHERE r.environment_id = $1 AND r.extends_role_id = $2 ORDER BY r.id");
            let roles: Vec<Role> = tx.all(sql, &p![environment, role.id]).await?;
            let counts: Vec<(RoleId, u32)> = tx
                .all(
                    "SELECT r.id, (SELECT COUNT(*) FROM roles c WHERE c.extends_role_id = r.id) FROM roles r \
                     WHERE r.environment_id = $1 AND r.extends_role_id = $2",
                    &p![environment, role.id],
                )
                .await?;
            Ok(views(roles, &counts.into_iter().collect(), &[], Include::Nothing))
        })
        .await
}

/// How many users hold a role directly: in the environment, or in one organization.
pub async fn users_count(core: &Core, environment: EnvId, scope: Scope, name: String) -> Result<u32> {
    let now = core.clock.now();
    core.db
        .read(async move |tx| {
            organization_of(tx, environment, scope).await?;
            let role = store::visible(tx, environment, scope, &name).await?.ok_or_else(not_found)?;
            holders::count(tx, &role, scope, now).await
        })
        .await
}

/// The own permissions of an environment's role, oldest first.
pub async fn permissions(core: &Core, environment: EnvId, name: String) -> Result<Vec<Permission>> {
    core.db
        .read(async move |tx| {
            let role = store::find(tx, environment, Scope::Environment, &name).await?.ok_or_else(not_found)?;
            store::permissions(tx, role.id).await
        })
        .await
}

/// All permissions of an environment's role: its own, and then those of its bases.
pub async fn permissions_with_inherited(core: &Core, environment: EnvId, name: String) -> Result<Vec<Permission>> {
    core.db
        .read(async move |tx| {
            let role = store::find(tx, environment, Scope::Environment, &name).await?.ok_or_else(not_found)?;
            let held = chain::effective(tx, environment, role.id).await?;
            Ok(held.into_iter().map(|held| held.permission).collect())
        })
        .await
}

/// In an organization with a default of its own that one carries the mark.
async fn mark_default(tx: &mut Tx, environment: EnvId, scope: Scope, roles: &mut [Role]) -> Result<()> {
    if let Scope::Organization(organization) = scope
        && let Some(default) = store::organization_default(tx, environment, organization).await?
    {
        for role in roles {
            role.default_member = role.id == default;
        }
    }
    Ok(())
}

/// How many roles extend each role that is seen in a scope.
async fn counts(tx: &mut Tx, environment: EnvId, scope: Scope) -> Result<HashMap<RoleId, u32>> {
    let Scope::Organization(organization) = scope else {
        let counts: Vec<(RoleId, u32)> = tx
            .all(
                "SELECT r.id, (SELECT COUNT(*) FROM roles c WHERE c.extends_role_id = r.id) FROM roles r \
                 WHERE r.environment_id = $1 AND r.organization_id IS NULL",
                &p![environment],
            )
            .await?;
        return Ok(counts.into_iter().collect());
    };
    let mut counts: Vec<(RoleId, u32)> = tx
        .all(
            "SELECT extends_role_id, COUNT(*) FROM roles WHERE environment_id = $1 AND organization_id IS NULL \
             AND extends_role_id IS NOT NULL GROUP BY extends_role_id",
            &p![environment],
        )
        .await?;
    let sql = "SELECT extends_role_id, COUNT(*) FROM roles WHERE environment_id = $1 AND organization_id = $2 \
               AND extends_role_id IS NOT NULL GROUP BY extends_role_id";
    counts.extend(tx.all::<(RoleId, u32)>(sql, &p![environment, organization]).await?);
    let mut sums = HashMap::new();
    for (role, count) in counts {
        *sums.entry(role).or_insert(0) += count;
    }
    Ok(sums)
}

/// What the roles that are seen in a scope grant of their own, oldest permission first.
async fn granted(tx: &mut Tx, environment: EnvId, scope: Scope) -> Result<Vec<Granted>> {
    let mut granted: Vec<Granted> = tx
        .all(
            "SELECT p.id, p.environment_id, p.name, p.description, p.built_in, p.created_at, p.updated_at, r.id FROM roles r \
             JOIN role_permissions g ON g.role_id = r.id JOIN permissions p ON p.id = g.permission_id \
             WHERE r.environment_id = $1 AND r.organization_id IS NULL ORDER BY p.id",
            &p![environment],
        )
        .await?;
    if let Scope::Organization(organization) = scope {
        let sql = "SELECT p.id, p.environment_id, p.name, p.description, p.built_in, p.created_at, p.updated_at, r.id FROM roles r \
                   JOIN role_permissions g ON g.role_id = r.id JOIN permissions p ON p.id = g.permission_id \
                   WHERE r.environment_id = $1 AND r.organization_id = $2 ORDER BY p.id";
        granted.extend(tx.all::<Granted>(sql, &p![environment, organization]).await?);
    }
    Ok(granted)
}

async fn count(tx: &mut Tx, sql: &str, params: &[narthex_db::Value]) -> Result<u32> {
    let (count,): (i64,) = tx.one(sql, params).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
