//! The table of connections.

use std::collections::BTreeMap;

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Config, Connection, ConnectionType};
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EnvId};

const SELECT: &str = "SELECT id, environment_id, type, enabled, debug_enabled, ui_button_title, configuration_type, attribute_mapping, \
     config, created_at, updated_at FROM connections";

impl FromRow for Connection {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let kind = ConnectionType::from_number(row.get(2)?)
            .ok_or_else(|| DbError::Data("connections.type has an unknown value".into()))?;
        let config: String = row.get(8)?;
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            enabled: row.get(3)?,
            debug_enabled: row.get(4)?,
            ui_button_title: row.get(5)?,
            configuration_type: row.get(6)?,
            attribute_mapping: read::<BTreeMap<String, String>>("attribute_mapping", &row.get::<String>(7)?)?,
            config: match kind {
                ConnectionType::Passwordless => Config::Passwordless(read("config", &config)?),
                ConnectionType::Webauthn => Config::Webauthn(read("config", &config)?),
            },
            created_at: row.get(9)?,
            updated_at: row.get(10)?,
        })
    }
}

fn read<T: DeserializeOwned>(column: &str, json: &str) -> Result<T, DbError> {
    serde_json::from_str(json).map_err(|error| DbError::Data(format!("connections.{column}: {error}")))
}

fn write<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

fn config(config: &Config) -> Result<String> {
    match config {
        Config::Passwordless(config) => write(config),
        Config::Webauthn(config) => write(config),
    }
}

pub(super) async fn insert(tx: &mut Tx, connection: &Connection) -> Result<()> {
    tx.execute(
        "INSERT INTO connections (id, environment_id, type, enabled, debug_enabled, ui_button_title, configuration_type, \
         attribute_mapping, config, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &p![
            connection.id,
            connection.environment,
            connection.config.kind() as i32,
            connection.enabled,
            connection.debug_enabled,
            &connection.ui_button_title,
            connection.configuration_type,
            write(&connection.attribute_mapping)?,
            config(&connection.config)?,
            connection.created_at,
            connection.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Writes everything that may change.
pub(super) async fn update(tx: &mut Tx, connection: &Connection) -> Result<()> {
    tx.execute(
        "UPDATE connections SET enabled = $2, debug_enabled = $3, ui_button_title = $4, configuration_type = $5, \
         attribute_mapping = $6, config = $7, updated_at = $8 WHERE id = $1",
        &p![
            connection.id,
            connection.enabled,
            connection.debug_enabled,
            &connection.ui_button_title,
            connection.configuration_type,
            write(&connection.attribute_mapping)?,
            config(&connection.config)?,
            connection.updated_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: ConnectionId) -> Result<Option<Connection>> {
    Ok(tx.opt(&format!("{SELECT} WHERE id = $1 AND environment_id = $2"), &p![id, environment]).await?)
}

/// All of an environment, oldest first. There are two at most.
pub(super) async fn list(tx: &mut Tx, environment: EnvId) -> Result<Vec<Connection>> {
    Ok(tx.all(&format!("{SELECT} WHERE environment_id = $1 ORDER BY id"), &p![environment]).await?)
}

pub(super) async fn delete(tx: &mut Tx, environment: EnvId, id: ConnectionId) -> Result<bool> {
    let sql = "DELETE FROM connections WHERE id = $1 AND environment_id = $2";
    Ok(tx.execute(sql, &p![id, environment]).await? != 0)
}
