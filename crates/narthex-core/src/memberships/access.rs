//! What somebody may do in an organization at this moment, from memory: asked at every call of a user.

use std::sync::Arc;

use narthex_db::{Tx, p};

use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId, RoleId, UserId};
use crate::{organizations, roles};

/// An active membership, as it is kept in memory.
#[derive(Debug)]
pub(crate) struct Held {
    environment: EnvId,
    /// Since when.
    pub(crate) created_at: Timestamp,
    /// The user's address.
    pub(crate) email: String,
    /// The application's own id of the user.
    pub(crate) external_id: Option<String>,
    /// Roles held directly, oldest role first.
    pub(crate) roles: Vec<RoleId>,
}

/// What an active member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Names of the roles held directly, oldest role first.
    pub roles: Vec<String>,
    /// Names of what they allow, bases included, each once, in order.
    pub permissions: Vec<String>,
}

/// What a user has in an organization. None for whoever is no active member there: put aside, only invited, of another environment,
/// or of an organization that is gone. A change is seen at once where it is made and within a second on other nodes.
pub async fn access(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Option<Access>> {
    let Some(held) = held(core, environment, organization, user).await? else { return Ok(None) };
    let mut access = Access::default();
    for role in &held.roles {
        if let Some(allowed) = roles::allowed(core, environment, organization, *role).await? {
            access.roles.push(allowed.role.clone());
            access.permissions.extend_from_slice(&allowed.permissions);
        }
    }
    access.permissions.sort_unstable();
    access.permissions.dedup();
    Ok(Some(access))
}

/// The membership of whoever is an active member, from memory; None for anybody else.
pub(crate) async fn held(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Option<Arc<Held>>> {
    if !organizations::exists(core, environment, organization).await? {
        return Ok(None);
    }
    let load = load(core, environment, organization, user);
    let held = core.caches.memberships.get(&(organization, user), load).await?;
    Ok(held.filter(|held| held.environment == environment))
}

/// Voids what is in memory of the memberships of some users, within the transaction that changes their roles or their external id, or
/// ends an active one. Apply the bumps after the commit.
pub(crate) async fn bump(tx: &mut Tx, users: impl IntoIterator<Item = UserId>) -> Result<Vec<Bump>> {
    let scopes = users.into_iter().map(cache::membership_scope).collect();
    cache::bump_all(tx, scopes).await.map_err(Error::from)
}

async fn load(core: &Core, environment: EnvId, organization: OrganizationId, user: UserId) -> Result<Option<Held>> {
    // An invitation becomes a membership without a word to the caches: what is not active is not remembered.
    let sql = "SELECT m.created_at, u.email, u.external_id, r.role_id FROM memberships m JOIN users u ON u.id = m.user_id \
               LEFT JOIN membership_roles r \
               ON r.organization_id = m.organization_id AND r.user_id = m.user_id \
               WHERE m.organization_id = $1 AND m.user_id = $2 AND m.environment_id = $3 AND m.state = 1 ORDER BY r.role_id";
    let rows: Vec<(Timestamp, String, Option<String>, Option<RoleId>)> =
        core.db.reader().await?.all(sql, &p![organization, user, environment]).await?;
    let roles = rows.iter().filter_map(|(.., role)| *role).collect();
    let Some((created_at, email, external_id, _)) = rows.into_iter().next() else { return Ok(None) };
    Ok(Some(Held { environment, created_at, email, external_id, roles }))
}
