//! Who holds a role: the roles of a membership, and what they amount to. Everything here runs inside the transaction of the change
//! of the membership that it is part of.

use std::collections::HashSet;

use narthex_db::{Tx, p};

use super::store::{self, Default};
use super::{Role, Scope, chain};
use crate::error::{Error, Result, Violation};
use crate::ids::{EnvId, OrganizationId, RoleId, UserId};
use crate::permissions::Permission;

/// How a request names a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By its name, in the scope at hand.
    Name(String),
    /// By its id.
    Id(RoleId),
}

/// The roles that a request names for a membership of this organization: the organization's own ones, else those of the environment.
/// Each is returned once, in the order of the request. Any that is unknown is INVALID_ARGUMENT naming `field[i].name`.
pub async fn resolve(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    references: &[Reference],
    field: &str,
) -> Result<Vec<Role>> {
    let scope = Scope::Organization(organization);
    let (mut roles, mut unknown): (Vec<Role>, Vec<Violation>) = (Vec::new(), Vec::new());
    for (i, reference) in references.iter().enumerate() {
        let found = match reference {
            Reference::Name(name) => store::visible(tx, environment, scope, name).await?,
            Reference::Id(id) => store::visible_by_id(tx, environment, scope, *id).await?,
        };
        match found {
            Some(role) if roles.iter().any(|known| known.id == role.id) => {}
            Some(role) => roles.push(role),
            None => unknown.push(Violation::new(format!("{field}[{i}].name"), "role.exists", "role not found")),
        }
    }
    if unknown.is_empty() { Ok(roles) } else { Err(Error::violations(unknown)) }
}

/// The role of a new member for whom none is named: the organization's default, else the environment's. None where the environment
/// has none.
pub async fn default_member(tx: &mut Tx, environment: EnvId, organization: OrganizationId) -> Result<Option<Role>> {
    if let Some(id) = store::organization_default(tx, environment, organization).await? {
        let role = store::visible_by_id(tx, environment, Scope::Organization(organization), id).await?;
        if role.is_some() {
            return Ok(role);
        }
    }
    store::environment_default(tx, environment, Default::Member).await
}

/// The role of who signs an organization up. None where the environment has none.
pub async fn default_creator(tx: &mut Tx, environment: EnvId) -> Result<Option<Role>> {
    store::environment_default(tx, environment, Default::Creator).await
}

/// The roles that a user holds in an organization, oldest role first, without their bases.
pub async fn of_membership(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Vec<Role>> {
    // `+`, here and below: SQLite's planner would read the index of roles through for the whole environment, since it covers the query.
    let ids: Vec<(RoleId,)> = tx
        .all(
            "SELECT role_id FROM membership_roles WHERE +environment_id = $1 AND organization_id = $2 AND user_id = $3 \
             ORDER BY role_id",
            &p![environment, organization, user],
        )
        .await?;
    let mut roles = Vec::with_capacity(ids.len());
    for (id,) in ids {
        roles.extend(store::visible_by_id(tx, environment, Scope::Organization(organization), id).await?);
    }
    Ok(roles)
}

/// The roles and then the roles that they extend, each once.
pub async fn with_bases(tx: &mut Tx, environment: EnvId, roles: Vec<Role>) -> Result<Vec<Role>> {
    let mut seen: HashSet<RoleId> = roles.iter().map(|role| role.id).collect();
    let mut all = roles;
    for direct in 0..all.len() {
        let scope = all[direct].scope;
        for link in chain::links(tx, environment, all[direct].id).await?.into_iter().skip(1) {
            if seen.insert(link.id) {
                all.extend(store::visible_by_id(tx, environment, scope, link.id).await?);
            }
        }
    }
    Ok(all)
}

/// What the roles together allow, their bases included, each permission once, by name.
pub async fn effective_permissions(tx: &mut Tx, environment: EnvId, roles: &[RoleId]) -> Result<Vec<Permission>> {
    let mut permissions = Vec::new();
    for role in roles {
        permissions.extend(chain::effective(tx, environment, *role).await?.into_iter().map(|held| held.permission));
    }
    permissions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    permissions.dedup_by(|a, b| a.id == b.id);
    Ok(permissions)
}

/// Gives roles to a user in an organization, besides those held already; whether anything changed.
pub async fn assign(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
    roles: &[RoleId],
) -> Result<bool> {
    let mut changed = 0;
    for role in roles {
        changed += tx
            .execute(
                "INSERT INTO membership_roles (environment_id, organization_id, user_id, role_id) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (organization_id, user_id, role_id) DO NOTHING",
                &p![environment, organization, user, role],
            )
            .await?;
    }
    Ok(changed > 0)
}

/// Takes one role from a user in an organization; whether it was held.
pub async fn unassign(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
    role: RoleId,
) -> Result<bool> {
    let sql = "DELETE FROM membership_roles WHERE environment_id = $1 AND organization_id = $2 AND user_id = $3 AND role_id = $4";
    Ok(tx.execute(sql, &p![environment, organization, user, role]).await? > 0)
}

/// Takes all roles from a user in an organization; how many were held.
pub async fn unassign_all(tx: &mut Tx, environment: EnvId, organization: OrganizationId, user: UserId) -> Result<u64> {
    let sql = "DELETE FROM membership_roles WHERE +environment_id = $1 AND organization_id = $2 AND user_id = $3";
    Ok(tx.execute(sql, &p![environment, organization, user]).await?)
}

/// Gives a user exactly these roles in an organization; whether anything changed.
pub async fn replace(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
    roles: &[RoleId],
) -> Result<bool> {
    let mut changed = assign(tx, environment, organization, user, roles).await?;
    for held in of_membership(tx, environment, organization, user).await? {
        if !roles.contains(&held.id) {
            changed |= unassign(tx, environment, organization, user, held.id).await?;
        }
    }
    Ok(changed)
}

/// A role that can be held in an organization.
pub(crate) async fn by_id(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    id: RoleId,
) -> Result<Option<Role>> {
    store::visible_by_id(tx, environment, Scope::Organization(organization), id).await
}
