//! Making, changing, switching and removing connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::{DbError, Tx, p};

use super::{Config, Connection, ConnectionType, PasswordlessChange, WebauthnChange, not_found, store};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::test_users;
use crate::error::{Error, Kind, Result};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{ConnectionId, EnvId};
use crate::organizations::share;

/// A connection with nothing set, switched off.
pub(super) fn new(id: ConnectionId, environment: EnvId, kind: ConnectionType, now: Timestamp) -> Connection {
    Connection {
        id,
        environment,
        enabled: false,
        debug_enabled: false,
        ui_button_title: String::new(),
        configuration_type: 0,
        attribute_mapping: BTreeMap::new(),
        config: Config::of(kind),
        created_at: now,
        updated_at: now,
    }
}

/// Makes a connection, switched off. A second one of a type is INVALID_ARGUMENT, duplicate.
pub async fn create(
    core: &Core,
    environment: EnvId,
    kind: ConnectionType,
    key: Option<IdempotencyKey>,
) -> Result<Connection> {
    let (id, now) = (ConnectionId::new(&core.ids), core.clock.now());
    let key = key.map(Arc::new);
    let made = idempotency::past_twins(key.as_deref(), || {
        let key = key.clone();
        core.db.write_checked(
            share(environment),
            async move |tx| {
                let row: Option<(i64,)> = tx.opt("SELECT id FROM connections WHERE id = $1", &p![id]).await?;
                Ok(row.is_some())
            },
            async move |tx| {
                if let Some(key) = &key
                    && let Some(earlier) = idempotency::find(tx, key, now).await?
                {
                    let earlier = store::load(tx, environment, ConnectionId(earlier)).await?;
                    return Ok((earlier.ok_or_else(not_found)?, None));
                }
                let connection = new(id, environment, kind, now);
                store::insert(tx, &connection).await?;
                if let Some(key) = &key {
                    idempotency::remember(tx, key, id.0, now).await?;
                }
                Ok::<_, Error>((connection, Some(bump(tx).await?)))
            },
        )
    })
    .await;
    match made {
        Ok((connection, bump)) => Ok(applied(core, connection, bump)),
        Err(error) if error.database().is_some_and(DbError::is_unique) => Err(Error::duplicate("type")),
        Err(error) => Err(error),
    }
}

/// A change of a connection: what is None stays.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct Change {
    pub debug_enabled: Option<bool>,
    pub ui_button_title: Option<String>,
    pub configuration_type: Option<i32>,
    /// Replaces the map.
    pub attribute_mapping: Option<BTreeMap<String, String>>,
    /// Counts if it is of the connection's type.
    pub passwordless: Option<PasswordlessChange>,
    /// Counts if it is of the connection's type.
    pub webauthn: Option<WebauthnChange>,
}

/// Changes a connection.
pub async fn update(
    core: &Core,
    environment: EnvId,
    id: ConnectionId,
    kind: Option<ConnectionType>,
    change: Change,
) -> Result<Connection> {
    let (now, change) = (core.clock.now(), Arc::new(change));
    let (connection, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let mut connection = store::load(tx, environment, id).await?.ok_or_else(not_found)?;
            let own = connection.config.kind();
            if kind.is_some_and(|kind| kind != own) {
                return Err(Error::invalid("connection.type", "immutable", "cannot be changed"));
            }
            let before = connection.clone();
            apply(tx, &mut connection, Change::clone(&change)).await?;
            if connection == before {
                return Ok((connection, None));
            }
            connection.updated_at = now;
            store::update(tx, &connection).await?;
            Ok((connection, Some(bump(tx).await?)))
        })
        .await?;
    Ok(applied(core, connection, bump))
}

async fn apply(tx: &mut Tx, connection: &mut Connection, change: Change) -> Result<()> {
    let broken = match &connection.config {
        Config::Passwordless(_) => change.passwordless.as_ref().map(PasswordlessChange::violations),
        Config::Webauthn(_) => change.webauthn.as_ref().map(WebauthnChange::violations),
    };
    if let Some(broken) = broken.filter(|broken| !broken.is_empty()) {
        return Err(Error::violations(broken));
    }
    if let Some(debug_enabled) = change.debug_enabled {
        connection.debug_enabled = debug_enabled;
    }
    if let Some(title) = change.ui_button_title {
        connection.ui_button_title = title;
    }
    if let Some(configuration_type) = change.configuration_type {
        connection.configuration_type = configuration_type;
    }
    if let Some(mapping) = change.attribute_mapping {
        connection.attribute_mapping = mapping;
    }
    match &mut connection.config {
        Config::Passwordless(config) => {
            let Some(change) = change.passwordless else { return Ok(()) };
            change.apply(config);
            if config.code_challenge_length != test_users::CODE_LENGTH
                && test_users::are_enabled(tx, connection.environment).await?
            {
                return Err(Error::new(
                    Kind::FailedPrecondition,
                    "test users have a code of 6 digits: disable them before codes get another length",
                ));
            }
        }
        Config::Webauthn(config) => {
            if let Some(change) = change.webauthn {
                change.apply(config);
            }
        }
    }
    Ok(())
}

/// Switches a connection on or off; a switch that stands so already is left alone.
pub async fn set_enabled(core: &Core, environment: EnvId, id: ConnectionId, enabled: bool) -> Result<Connection> {
    let now = core.clock.now();
    let (connection, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let mut connection = store::load(tx, environment, id).await?.ok_or_else(not_found)?;
            if connection.enabled == enabled {
                return Ok((connection, None));
            }
            (connection.enabled, connection.updated_at) = (enabled, now);
            store::update(tx, &connection).await?;
            Ok::<_, Error>((connection, Some(bump(tx).await?)))
        })
        .await?;
    Ok(applied(core, connection, bump))
}

/// Removes a connection. What is under way by it may still finish.
pub async fn delete(core: &Core, environment: EnvId, id: ConnectionId) -> Result<()> {
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            if !store::delete(tx, environment, id).await? {
                return Err(not_found());
            }
            bump(tx).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

async fn bump(tx: &mut Tx) -> Result<Bump> {
    Ok(cache::bump(tx, cache::CONNECTIONS).await?)
}

fn applied(core: &Core, connection: Connection, bump: Option<Bump>) -> Connection {
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    connection
}
