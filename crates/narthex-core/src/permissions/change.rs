//! Everything that changes a permission: the row, the total, the event and its jobs in one transaction.

use std::sync::Arc;

use narthex_db::{DbError, Tx, p};

use super::{Permission, data, not_found, store};
use crate::core::Core;
use crate::counters;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor, EventKind, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, EventId, PermissionId};
use crate::organizations::share;
use crate::roles;

/// Name of the total, which counts what did not come with the environment.
pub(super) const NOUN: &str = "permissions";

/// What the names of permissions that come with an environment begin with; no other may.
const BUILT_IN: &str = "sk_";

/// Roles that one transaction takes a permission from.
const CHUNK: i64 = 500;
/// Runs that may meet a role which is just getting the permission.
const TRIES: u32 = 8;

/// Creates a permission. A taken name is INVALID_ARGUMENT; the unique index decides, not a look before.
pub async fn create(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    name: String,
    description: String,
    key: Option<IdempotencyKey>,
) -> Result<Permission> {
    if name.starts_with(BUILT_IN) {
        let text = format!("names that begin with {BUILT_IN} are reserved");
        return Err(Error::invalid("permission.name", "permission.name.reserved", text));
    }
    let now = core.clock.now();
    let permission = Permission {
        id: PermissionId::new(&core.ids),
        environment,
        name,
        description,
        is_built_in: false,
        created_at: now,
        updated_at: now,
    };
    let event = event(EventId::new(&core.ids), &permission, events::PERMISSION_CREATED, by);
    let creation = Arc::new((permission, event, key));
    idempotency::past_twins(creation.2.as_ref(), || {
        let (id, creation) = (creation.0.id, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| {
                let sql = "SELECT id FROM permissions WHERE id = $1";
                Ok(tx.opt::<(i64,)>(sql, &p![id]).await?.is_some())
            },
            async move |tx| {
                let (permission, event, key) = &*creation;
                if let Some(key) = key
                    && let Some(earlier) = idempotency::find(tx, key, now).await?
                {
                    return store::by_id(tx, environment, PermissionId(earlier)).await?.ok_or_else(not_found);
                }
                store::insert(tx, permission).await?;
                counters::add(tx, environment, NOUN, event.id.0, 1).await?;
                events::append(tx, event.clone()).await?;
                if let Some(key) = key {
                    idempotency::remember(tx, key, permission.id.0, now).await?;
                }
                Ok::<_, Error>(permission.clone())
            },
        )
    })
    .await
    .map_err(|error| match error.database() {
        Some(cause) if cause.is_unique_on("permissions.name") => Error::duplicate("name"),
        _ => error,
    })
}

/// Changes the description, the only part that changes. The same one again writes nothing and is no event.
pub async fn update(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    name: String,
    description: String,
) -> Result<Permission> {
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    core.db
        .write_for(share(environment), async move |tx| {
            let mut permission = changeable(tx, environment, &name).await?;
            if permission.description == description {
                return Ok(permission);
            }
            permission.description.clone_from(&description);
            permission.updated_at = now.max(permission.updated_at);
            store::update(tx, &permission).await?;
            events::append(tx, event(event_id, &permission, events::PERMISSION_UPDATED, &by)).await?;
            Ok(permission)
        })
        .await
}

/// Deletes a permission and takes it from every role that has it.
pub async fn delete(core: &Core, environment: EnvId, by: &Actor, name: String) -> Result<()> {
    let event_id = EventId::new(&core.ids);
    let mut tries = 0;
    loop {
        let (now, by, name) = (core.clock.now(), by.clone(), name.clone());
        let run = core
            .db
            .write_for(share(environment), async move |tx| {
                let mut permission = changeable(tx, environment, &name).await?;
                let bump = roles::bump(tx).await?;
                if store::detach(tx, permission.id, CHUNK).await? == CHUNK.unsigned_abs() {
                    return Ok((false, bump));
                }
                store::delete(tx, &permission).await?;
                permission.updated_at = now;
                counters::add(tx, environment, NOUN, event_id.0, -1).await?;
                events::append(tx, event(event_id, &permission, events::PERMISSION_DELETED, &by)).await?;
                Ok::<_, Error>((true, bump))
            })
            .await;
        match run {
            Ok((is_done, bump)) => {
                core.caches.apply(bump);
                if is_done {
                    return Ok(());
                }
            }
            // A role that got it at this moment committed first: PostgreSQL refuses the reference rather than the snapshot.
            Err(error) if tries < TRIES && error.database().is_some_and(DbError::is_foreign_key) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Counts the permissions of an environment and corrects the kept total: the difference, 0 where they agreed. `id` is a fresh number.
pub async fn recount(tx: &mut Tx, environment: EnvId, id: i64) -> Result<i64> {
    let counted = store::count(tx, environment, false).await?;
    counters::correct(tx, environment, NOUN, counted, id).await
}

async fn changeable(tx: &mut Tx, environment: EnvId, name: &str) -> Result<Permission> {
    let permission = store::find(tx, environment, name).await?.ok_or_else(not_found)?;
    if permission.is_built_in {
        return Err(Error::new(Kind::FailedPrecondition, "built-in permissions cannot be changed or deleted"));
    }
    Ok(permission)
}

fn event(id: EventId, permission: &Permission, kind: EventKind, by: &Actor) -> NewEvent {
    NewEvent {
        id,
        environment: permission.environment,
        organization: None,
        kind,
        occurred_at: permission.updated_at,
        actor: by.clone(),
        data: data(permission),
    }
}
