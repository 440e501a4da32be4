//! What a role allows, from memory.

use std::sync::Arc;

use super::{Scope, chain, store};
use crate::cache::{self, Bump};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId, RoleId};
use narthex_db::Tx;

/// A role with its bases, as it is kept in memory.
#[derive(Debug)]
pub(crate) struct Allowed {
    environment: EnvId,
    scope: Scope,
    /// Name of the role.
    pub(crate) role: String,
    /// Names of its permissions and those of its bases.
    pub(crate) permissions: Vec<String>,
}

/// What a role allows in an organization. None if it cannot be held there.
pub(crate) async fn allowed(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    id: RoleId,
) -> Result<Option<Arc<Allowed>>> {
    let found = core.caches.roles.get(&id, load(core, environment, id)).await?;
    Ok(found.filter(|role| {
        role.environment == environment
            && (role.scope == Scope::Environment || role.scope == Scope::Organization(organization))
    }))
}

async fn load(core: &Core, environment: EnvId, id: RoleId) -> Result<Option<Allowed>> {
    core.db
        .read(async move |tx| {
            let Some(role) = store::by_id(tx, environment, id).await? else { return Ok(None) };
            let held = chain::effective(tx, environment, id).await?;
            let permissions = held.into_iter().map(|held| held.permission.name).collect();
            Ok(Some(Allowed { environment, scope: role.scope, role: role.name, permissions }))
        })
        .await
}

/// Voids what is in memory of roles, within the transaction that changes what one allows, or removes it. A new role was in nobody's
/// memory. Apply the bump after the commit.
pub(crate) async fn bump(tx: &mut Tx) -> Result<Bump> {
    cache::bump(tx, cache::ROLES).await.map_err(Error::from)
}
