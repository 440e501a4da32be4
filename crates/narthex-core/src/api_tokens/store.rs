//! The table of API tokens.

use std::time::Duration;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{ApiToken, Reference};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;

/// How long a token that has ended can still be told from one that never was.
pub(super) const REMEMBERED: Duration = Duration::from_hours(90 * 24);

/// Columns of an [`ApiToken`] in the order in which it is read; the table is `t`.
pub(super) const COLUMNS: &str = "t.id, t.environment_id, t.organization_id, t.user_id, t.suffix, t.description, t.custom_claims, \
     t.expires_at, t.created_at";

impl FromRow for ApiToken {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let custom_claims = serde_json::from_str(row.cell(6)?.text()?)
            .map_err(|error| DbError::Data(format!("api_tokens.custom_claims: {error}")))?;
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            organization: row.get(2)?,
            user: row.get(3)?,
            suffix: row.get(4)?,
            description: row.get(5)?,
            custom_claims,
            expires_at: row.get(7)?,
            created_at: row.get(8)?,
        })
    }
}

/// A row with what is not shown of it.
pub(super) struct Stored {
    pub(super) token: ApiToken,
    pub(super) hash: [u8; 32],
    pub(super) revoked_at: Option<Timestamp>,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { token: ApiToken::from_row(row)?, hash: row.get(9)?, revoked_at: row.get(10)? })
    }
}

pub(super) async fn insert(tx: &mut Tx, token: &ApiToken, hash: &[u8; 32], created_by: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO api_tokens (id, environment_id, organization_id, user_id, hash, suffix, description, custom_claims, created_by, \
         created_at, updated_at, expires_at, sweep_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)",
        &p![
            token.id,
            token.environment,
            token.organization,
            token.user,
            hash.as_slice(),
            &token.suffix,
            &token.description,
            claims(token)?,
            created_by,
            token.created_at,
            token.expires_at,
            token.expires_at.map(|end| end.plus(REMEMBERED))
        ],
    )
    .await?;
    Ok(())
}

fn claims(token: &ApiToken) -> Result<String> {
    serde_json::to_string(&token.custom_claims).map_err(Error::internal)
}

/// Any token of the environment, whether or not it still counts.
pub(super) async fn load(tx: &mut Tx, environment: EnvId, reference: Reference) -> Result<Option<Stored>> {
    let select = |column: &str| {
        format!(
            "SELECT {COLUMNS}, t.hash, t.revoked_at FROM api_tokens t WHERE t.environment_id = $1 AND {column} = $2"
        )
    };
    let found = match reference {
        Reference::Value(hash) => tx.opt(&select("t.hash"), &p![environment, hash.as_slice()]).await?,
        Reference::Id(id) => tx.opt(&select("t.id"), &p![environment, id]).await?,
    };
    Ok(found)
}

pub(super) async fn update(tx: &mut Tx, token: &ApiToken, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE api_tokens SET description = $3, custom_claims = $4, updated_at = $5 WHERE id = $1 AND environment_id = $2",
        &p![token.id, token.environment, &token.description, claims(token)?, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn revoke(tx: &mut Tx, token: &ApiToken, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE api_tokens SET revoked_at = $3, sweep_at = $4 WHERE id = $1 AND environment_id = $2 AND revoked_at IS NULL",
        &p![token.id, token.environment, now, now.plus(REMEMBERED)],
    )
    .await?;
    Ok(())
}

/// Forgets tokens that ended long ago, 500 in a transaction and 10,000 at most; returns how many.
pub async fn sweep(core: &Core) -> Result<u64> {
    let now = core.clock.now();
    let sql = "SELECT id FROM api_tokens WHERE sweep_at < $1 LIMIT 1";
    if core.db.reader().await?.opt::<(i64,)>(sql, &p![now]).await?.is_none() {
        return Ok(0);
    }
    let mut deleted = 0;
    for _ in 0..20 {
        let chunk: Result<u64> = core
            .db
            .write(async move |tx| {
                let sql = "DELETE FROM api_tokens WHERE id IN \
                           (SELECT id FROM api_tokens WHERE sweep_at < $1 ORDER BY sweep_at LIMIT 500)";
                Ok(tx.execute(sql, &p![now]).await?)
            })
            .await;
        let chunk = chunk?;
        deleted += chunk;
        if chunk < 500 {
            break;
        }
    }
    Ok(deleted)
}
