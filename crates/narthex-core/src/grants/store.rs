//! The table of grants.

use std::time::Duration;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::Authorization;
use super::token::NewRefresh;
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, GrantId};

/// How long a code is good (oauth-oidc reference §6.3).
const CODE_LIFETIME: Duration = Duration::from_mins(10);

/// Writes a grant that has nothing but its code.
pub(super) async fn insert(
    tx: &mut Tx,
    environment: EnvId,
    authorization: &Authorization,
    id: GrantId,
    code_hash: &[u8; 32],
    now: Timestamp,
) -> Result<()> {
    let end = now.plus(CODE_LIFETIME);
    tx.execute(
        "INSERT INTO grants (id, environment_id, client_id, session_id, authorized, code_hash, code_expires_at, denied, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $7)",
        &p![
            id,
            environment,
            &authorization.client_id,
            authorization.subject.session(),
            serde_json::to_string(authorization).map_err(Error::internal)?,
            code_hash,
            end,
            now
        ],
    )
    .await?;
    Ok(())
}

const COLUMNS: &str = "id, client_id, authorized, code_expires_at, attempt, denied, current_hash, previous_hash, salt, \
     rotated_at, refresh_expires_at, revoked_at, created_at, expires_at";

/// A grant as its row says.
pub(super) struct Grant {
    pub(super) id: GrantId,
    pub(super) client_id: String,
    pub(super) authorization: Authorization,
    pub(super) code_expires_at: Timestamp,
    /// The request that has spent the code.
    pub(super) attempt: Option<i64>,
    /// Whether it got nothing for it.
    pub(super) denied: bool,
    pub(super) current_hash: Option<Vec<u8>>,
    pub(super) previous_hash: Option<Vec<u8>>,
    pub(super) salt: Option<Vec<u8>>,
    pub(super) rotated_at: Option<Timestamp>,
    pub(super) refresh_expires_at: Option<Timestamp>,
    pub(super) revoked_at: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl FromRow for Grant {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            client_id: row.get(1)?,
            authorization: serde_json::from_str(row.cell(2)?.text()?)
                .map_err(|error| DbError::Data(format!("grants.authorized: {error}")))?,
            code_expires_at: row.get(3)?,
            attempt: row.get(4)?,
            denied: row.get(5)?,
            current_hash: row.get(6)?,
            previous_hash: row.get(7)?,
            salt: row.get(8)?,
            rotated_at: row.get(9)?,
            refresh_expires_at: row.get(10)?,
            revoked_at: row.get(11)?,
            created_at: row.get(12)?,
            expires_at: row.get(13)?,
        })
    }
}

/// The grant of a code, in its environment.
pub(super) async fn by_code(tx: &mut Tx, environment: EnvId, hash: &[u8; 32]) -> Result<Option<Grant>> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE code_hash = $1 AND environment_id = $2");
    Ok(tx.opt(&sql, &p![hash, environment]).await?)
}

/// The grant of a family of refresh tokens, in its environment.
pub(super) async fn by_family(tx: &mut Tx, environment: EnvId, hash: &[u8; 32]) -> Result<Option<Grant>> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE family_hash = $1 AND environment_id = $2");
    Ok(tx.opt(&sql, &p![hash, environment]).await?)
}

/// A grant by its id.
pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: GrantId) -> Result<Option<Grant>> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE id = $1 AND environment_id = $2");
    Ok(tx.opt(&sql, &p![id, environment]).await?)
}

/// What becomes of a grant when its code is spent.
pub(super) struct Spent<'a> {
    pub(super) attempt: i64,
    pub(super) refresh: Option<(&'a NewRefresh, Timestamp)>,
    pub(super) expires_at: Timestamp,
}

/// Spends the code. False where it was spent or revoked before.
pub(super) async fn spend(tx: &mut Tx, id: GrantId, spent: &Spent<'_>) -> Result<bool> {
    let refresh = spent.refresh;
    let rows = tx
        .execute(
            "UPDATE grants SET attempt = $2, family_hash = $3, current_hash = $4, refresh_expires_at = $5, expires_at = $6 \
             WHERE id = $1 AND attempt IS NULL AND revoked_at IS NULL",
            &p![
                id,
                spent.attempt,
                refresh.map(|(token, _)| token.family_hash().to_vec()),
                refresh.map(|(token, _)| token.hash().to_vec()),
                refresh.map(|(_, end)| end),
                spent.expires_at
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Spends the code for nothing.
pub(super) async fn deny(tx: &mut Tx, id: GrantId, attempt: i64) -> Result<()> {
    tx.execute("UPDATE grants SET attempt = $2, denied = 1 WHERE id = $1", &p![id, attempt]).await?;
    Ok(())
}

/// Ends a grant with all that came of it. Apply the bump after the commit.
pub(super) async fn revoke(tx: &mut Tx, id: GrantId, now: Timestamp) -> Result<Bump> {
    tx.execute("UPDATE grants SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", &p![id, now]).await?;
    cache::bump(tx, &cache::grant_scope(id)).await.map_err(Error::from)
}

/// Puts the next refresh token in the place of the present one.
pub(super) async fn rotate(
    tx: &mut Tx,
    grant: &Grant,
    next: &[u8; 32],
    salt: &[u8],
    refresh_expires_at: Timestamp,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "UPDATE grants SET previous_hash = current_hash, current_hash = $2, salt = $3, rotated_at = $4, refresh_expires_at = $5, \
         expires_at = $6 WHERE id = $1",
        &p![grant.id, next, salt, now, refresh_expires_at, expires_at],
    )
    .await?;
    Ok(())
}
