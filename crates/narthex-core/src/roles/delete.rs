//! Roles deleted, and what hung on them.

use std::collections::HashSet;

use narthex_db::{DbError, Tx, p};

use super::change::{event, organization_of};
use super::defaults;
use super::{Base, Reference, Role, Scope, allowed, chain, holders, not_found, store};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor};
use crate::ids::{EnvId, EventId, OrganizationId, RoleId};
use crate::organizations::share;

/// Rows that one transaction removes.
const CHUNK: i64 = 500;
/// Memberships that get another role, and roles that get another base, in one transaction: each is an event.
const TOLD: i64 = 100;
/// Runs that may meet somebody who is just getting the role.
const TRIES: u32 = 8;

/// Deletes a role. With a replacement its holders get that role instead and the roles that extend it extend that one; without, a role
/// that is held or extended stays, FAILED_PRECONDITION. So does a default of the environment; organizations whose default it is fall
/// back to the environment's.
///
/// More than a few hundred holders are moved some at a time, so that no transaction grows with them; the role goes with the last.
pub async fn delete(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    by: &Actor,
    name: String,
    replacement: Option<Reference>,
) -> Result<()> {
    let deleted = EventId::new(&core.ids);
    let mut tries = 0;
    loop {
        let (holders, extending) =
            if replacement.is_none() { (0, 0) } else { told(core, environment, scope, &name).await? };
        let removal = Removal {
            environment,
            scope,
            name: name.clone(),
            replacement: replacement.clone(),
            by: by.clone(),
            now: core.clock.now(),
            deleted,
            shifted: (0..=holders).map(|_| EventId::new(&core.ids)).collect(),
            rebased: (0..=extending).map(|_| EventId::new(&core.ids)).collect(),
        };
        let run = core.db.write_for(share(environment), async move |tx| removal.run(tx).await).await;
        match run {
            Ok((progress, bumps)) => {
                core.caches.apply_all(bumps);
                if progress == Progress::Done {
                    return Ok(());
                }
            }
            // Somebody who got the role at this moment committed first: PostgreSQL refuses the reference rather than the snapshot.
            Err(error) if tries < TRIES && error.database().is_some_and(DbError::is_foreign_key) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// How many memberships hold a role and how many roles extend it, as far as one transaction is concerned: so many events it needs ids
/// for, and one more to tell that none is left.
async fn told(core: &Core, environment: EnvId, scope: Scope, name: &str) -> Result<(usize, usize)> {
    let tx = &mut *core.db.reader().await?;
    // Whether there is such a role is for the transaction to say.
    let Some(role) = store::find(tx, environment, scope, name).await? else { return Ok((0, 0)) };
    let holders = holders::some(tx, environment, role.id, TOLD).await?.len();
    Ok((holders, store::extending(tx, environment, role.id, TOLD).await?.len()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    More,
}

/// One run of the deletion.
struct Removal {
    environment: EnvId,
    scope: Scope,
    name: String,
    replacement: Option<Reference>,
    by: Actor,
    now: Timestamp,
    deleted: EventId,
    /// Ids for the events of memberships that get another role.
    shifted: Vec<EventId>,
    /// Ids for the events of roles that get another base.
    rebased: Vec<EventId>,
}

impl Removal {
    async fn run(&self, tx: &mut Tx) -> Result<(Progress, Vec<Bump>)> {
        let mut bumps = vec![allowed::bump(tx).await?];
        organization_of(tx, self.environment, self.scope).await?;
        let role = store::find(tx, self.environment, self.scope, &self.name).await?.ok_or_else(not_found)?;
        if role.default_creator || role.default_member {
            return Err(refused("role cannot be deleted as it is a default role of the environment"));
        }
        let is_free = match &self.replacement {
            None => {
                if holders::any(tx, &role, self.now).await? {
                    // SDK tests compare this text (control plane reference §15.2).
                    return Err(refused("role cannot be deleted as it is assigned to users"));
                }
                if !store::extending(tx, self.environment, role.id, 1).await?.is_empty() {
                    return Err(refused("role cannot be deleted as other roles extend it"));
                }
                holders::forget(tx, &role, CHUNK).await?
            }
            Some(replacement) => {
                let target =
                    defaults::find(tx, self.environment, self.scope, replacement, "reassign_role_name").await?;
                if target.id == role.id {
                    let text = "must be another role";
                    return Err(Error::invalid("reassign_role_name", "role.other", text));
                }
                let moved = holders::shift(tx, &role, target.id, &self.by, &self.shifted, self.now).await?;
                bumps.extend(moved.bumps);
                self.rebase(tx, &role, &target).await? && moved.is_last
            }
        };
        if !store::forget_default(tx, role.id, CHUNK).await? || !is_free {
            return Ok((Progress::More, bumps));
        }
        store::delete(tx, &role).await?;
        let gone = Role { updated_at: self.now.max(role.updated_at), ..role };
        events::append(tx, event(self.deleted, &gone, events::ROLE_DELETED, &self.by)).await?;
        Ok((Progress::Done, bumps))
    }

    /// Gives the roles that extend `role` the base `target`; true when none is left. Where the target itself extends `role`, the roles
    /// between the two get the base of `role`: anything else would close a circle.
    async fn rebase(&self, tx: &mut Tx, role: &Role, target: &Role) -> Result<bool> {
        let limit = i64::try_from(self.rebased.len()).unwrap_or(0);
        let extending = store::extending(tx, self.environment, role.id, limit).await?;
        if extending.is_empty() {
            return Ok(true);
        }
        let above: HashSet<RoleId> =
            chain::links(tx, self.environment, target.id).await?.into_iter().map(|link| link.id).collect();
        let is_last = extending.len() < self.rebased.len();
        for (child, event_id) in extending.into_iter().zip(&self.rebased) {
            let base = if above.contains(&child.id) {
                role.base.clone()
            } else {
                Some(Base { id: target.id, name: target.name.clone() })
            };
            let child = Role { base, updated_at: self.now.max(child.updated_at), ..child };
            store::update(tx, &child).await?;
            events::append(tx, event(*event_id, &child, events::ROLE_UPDATED, &self.by)).await?;
        }
        Ok(is_last)
    }
}

fn refused(text: &'static str) -> Error {
    Error::new(Kind::FailedPrecondition, text)
}

/// Removes some of what a deleted organization leaves here: who holds roles in it, its default, its own roles. 0 when nothing is left.
pub(crate) async fn purge(tx: &mut Tx, organization: OrganizationId) -> Result<u64> {
    const STEPS: [&str; 5] = [
        "DELETE FROM membership_roles WHERE organization_id = $1 AND (user_id, role_id) IN \
         (SELECT user_id, role_id FROM membership_roles WHERE organization_id = $1 ORDER BY user_id, role_id LIMIT $2)",
        "DELETE FROM organization_default_roles WHERE organization_id IN \
         (SELECT organization_id FROM organization_default_roles WHERE organization_id = $1 LIMIT $2)",
        "UPDATE roles SET extends_role_id = NULL WHERE id IN \
         (SELECT id FROM roles WHERE organization_id = $1 AND extends_role_id IS NOT NULL ORDER BY id LIMIT $2)",
        "DELETE FROM role_permissions WHERE (role_id, permission_id) IN \
         (SELECT g.role_id, g.permission_id FROM role_permissions g JOIN roles r ON r.id = g.role_id \
          WHERE r.organization_id = $1 ORDER BY g.role_id, g.permission_id LIMIT $2)",
        "DELETE FROM roles WHERE id IN (SELECT id FROM roles WHERE organization_id = $1 ORDER BY id LIMIT $2)",
    ];
    // One kind of row at a time: what refers goes before what is referred to.
    for sql in STEPS {
        let gone = tx.execute(sql, &p![organization, CHUNK]).await?;
        if gone > 0 {
            return Ok(gone);
        }
    }
    Ok(0)
}
