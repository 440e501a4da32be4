//! Rows of clients.

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientKind, StoredSecret, secrets};
use crate::error::{Error, Result};

const COLUMNS: &str = "client_id, key_id, environment_id, organization_id, resource_id, kind, is_default, name, description, enabled, \
     disallow_api_access, enforce_pkce, access_token_expiry, grant_types, scopes, audience, custom_claims, post_login_uris, \
     post_logout_redirect_uris, back_channel_logout_uris, initiate_login_uri, tokens_valid_after, created_at, updated_at";

/// The row without its secrets.
struct ClientRow(Client);

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
pub(super) async fn load(tx: &mut Tx, client_id: &str) -> Result<Option<Client>> {
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
             $18, $19, $20, $21, $22, $23, $24)"
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
        ],
    )
    .await?;
    Ok(())
}
