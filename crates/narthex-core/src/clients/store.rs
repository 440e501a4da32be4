//! Rows of clients.

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientKind, ClientOrigin, StoredSecret, secrets};
use crate::error::{Error, Result};
use crate::ids::{EnvId, KeyId};

pub(crate) const COLUMNS: &str = "client_id, key_id, environment_id, organization_id, resource_id, kind, is_default, name, description, enabled, \
     disallow_api_access, enforce_pkce, access_token_expiry, grant_types, scopes, audience, custom_claims, post_login_uris, \
     post_logout_redirect_uris, back_channel_logout_uris, initiate_login_uri, tokens_valid_after, created_at, updated_at, \
     ip_allowlist, origin, metadata_uri, presentation";

/// The row without its secrets.
pub(crate) struct ClientRow(pub(crate) Client);

impl FromRow for ClientRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self(Client {
            client_id: row.get(0)?,
            key_id: row.get(1)?,
            environment: row.get(2)?,
            organization: row.get(3)?,
            resource: row.get(4)?,
            kind: ClientKind::from_number(row.get(5)?)
                .ok_or_else(|| DbError::Data("clients.kind has an unknown value".into()))?,
            is_default: row.get(6)?,
            name: row.get(7)?,
            description: row.get(8)?,
            enabled: row.get(9)?,
            disallow_api_access: row.get(10)?,
            enforce_pkce: row.get(11)?,
            access_token_expiry: row.get(12)?,
            grant_types: json(row, 13)?,
            scopes: json(row, 14)?,
            audience: json(row, 15)?,
            custom_claims: json(row, 16)?,
            post_login_uris: json(row, 17)?,
            post_logout_redirect_uris: json(row, 18)?,
            back_channel_logout_uris: json(row, 19)?,
            initiate_login_uri: row.get(20)?,
            tokens_valid_after: row.get(21)?,
            created_at: row.get(22)?,
            updated_at: row.get(23)?,
            ip_allowlist: match row.get::<Option<String>>(24)? {
                Some(_) => Some(json(row, 24)?),
                None => None,
            },
            origin: match row.get::<i32>(25)? {
                0 => ClientOrigin::Administrator,
                1 => ClientOrigin::Registered,
                2 => ClientOrigin::MetadataDocument,
                _ => return Err(DbError::Data("clients.origin has an unknown value".into())),
            },
            metadata_uri: row.get(26)?,
            presentation: json(row, 27)?,
            secrets: Vec::new(),
        }))
    }
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, DbError> {
    serde_json::from_str(&row.get::<String>(column)?)
        .map_err(|error| DbError::Data(format!("clients, column {column}: {error}")))
}

fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

/// One client with its secrets.
pub(crate) async fn load(tx: &mut Tx, client_id: &str) -> Result<Option<Client>> {
    let sql = format!("SELECT {COLUMNS} FROM clients WHERE client_id = $1");
    let Some(ClientRow(mut client)) = tx.opt(&sql, &p![client_id]).await? else { return Ok(None) };
    let sql = format!("SELECT {} FROM client_secrets WHERE client_id = $1 ORDER BY id", secrets::COLUMNS);
    client.secrets = tx.all::<StoredSecret>(&sql, &p![client_id]).await?;
    Ok(Some(client))
}

/// Inserts a client; its secrets are rows of their own.
pub(crate) async fn insert(tx: &mut Tx, client: &Client) -> Result<()> {
    let sql = "SELECT client_id FROM clients WHERE client_id = $1";
    if tx.opt::<(String,)>(sql, &p![&client.client_id]).await?.is_some() {
        return Err(Error::duplicate("client_id"));
    }
    tx.execute(
        &format!(
            "INSERT INTO clients ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)"
        ),
        &p![
            &client.client_id,
            client.key_id,
            client.environment,
            client.organization,
            client.resource,
            client.kind as i32,
            client.is_default,
            &client.name,
            &client.description,
            client.enabled,
            client.disallow_api_access,
            client.enforce_pkce,
            client.access_token_expiry,
            text(&client.grant_types)?,
            text(&client.scopes)?,
            text(&client.audience)?,
            text(&client.custom_claims)?,
            text(&client.post_login_uris)?,
            text(&client.post_logout_redirect_uris)?,
            text(&client.back_channel_logout_uris)?,
            &client.initiate_login_uri,
            client.tokens_valid_after,
            client.created_at,
            client.updated_at,
            client.ip_allowlist.as_ref().map(text).transpose()?,
            client.origin as i32,
            &client.metadata_uri,
            text(&client.presentation)?,
        ],
    )
    .await?;
    Ok(())
}

/// Writes what can change of a client.
pub(crate) async fn update(tx: &mut Tx, client: &Client) -> Result<()> {
    tx.execute(
        "UPDATE clients SET name = $2, description = $3, disallow_api_access = $4, enforce_pkce = $5, access_token_expiry = $6, \
         grant_types = $7, scopes = $8, audience = $9, custom_claims = $10, post_login_uris = $11, post_logout_redirect_uris = $12, \
         back_channel_logout_uris = $13, initiate_login_uri = $14, ip_allowlist = $15, updated_at = $16 WHERE client_id = $1",
        &p![
            &client.client_id,
            &client.name,
            &client.description,
            client.disallow_api_access,
            client.enforce_pkce,
            client.access_token_expiry,
            text(&client.grant_types)?,
            text(&client.scopes)?,
            text(&client.audience)?,
            text(&client.custom_claims)?,
            text(&client.post_login_uris)?,
            text(&client.post_logout_redirect_uris)?,
            text(&client.back_channel_logout_uris)?,
            &client.initiate_login_uri,
            client.ip_allowlist.as_ref().map(text).transpose()?,
            client.updated_at,
        ],
    )
    .await?;
    Ok(())
}

/// Removes a client and all that hangs on it; false if there is none.
pub(crate) async fn delete(tx: &mut Tx, environment: EnvId, client_id: &str) -> Result<bool> {
    tx.execute("DELETE FROM consents WHERE client_id = $1 AND environment_id = $2", &p![client_id, environment])
        .await?;
    tx.execute("DELETE FROM client_secrets WHERE client_id = $1 AND environment_id = $2", &p![client_id, environment])
        .await?;
    let sql = "DELETE FROM clients WHERE client_id = $1 AND environment_id = $2";
    Ok(tx.execute(sql, &p![client_id, environment]).await? > 0)
}

/// The client with this record id.
pub(crate) async fn by_key(tx: &mut Tx, environment: EnvId, kind: ClientKind, key: KeyId) -> Result<Option<Client>> {
    let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND kind = $2 AND key_id = $3";
    match tx.opt::<(String,)>(sql, &p![environment, kind as i32, key]).await? {
        Some((client_id,)) => load(tx, &client_id).await,
        None => Ok(None),
    }
}

/// Whether the client is there, for a COMMIT of unknown outcome.
pub(crate) async fn exists(tx: &mut Tx, client_id: &str) -> Result<bool, DbError> {
    Ok(tx.opt::<(String,)>("SELECT client_id FROM clients WHERE client_id = $1", &p![client_id]).await?.is_some())
}

/// Fills in the secrets of some clients.
pub(crate) async fn with_secrets(tx: &mut Tx, rows: Vec<ClientRow>) -> Result<Vec<Client>> {
    let sql = format!("SELECT {} FROM client_secrets WHERE client_id = $1 ORDER BY id", secrets::COLUMNS);
    let mut clients = Vec::with_capacity(rows.len());
    for ClientRow(mut client) in rows {
        client.secrets = tx.all::<StoredSecret>(&sql, &p![&client.client_id]).await?;
        clients.push(client);
    }
    Ok(clients)
}
