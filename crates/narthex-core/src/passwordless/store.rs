//! The table of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::code::Seed;
use super::{Challenge, CodeType, Delivery, Intent, Verified};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{AuthRequestId, EnvId};

/// How long a request outlives its code: as long as somebody may ask for another one.
const KEPT: Duration = Duration::from_hours(1);

/// A request, as its row holds it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) environment: EnvId,
    /// The login that it is for; none for an application's own.
    pub(super) login: Option<AuthRequestId>,
    pub(super) email: String,
    pub(super) kind: Delivery,
    pub(super) intent: Intent,
    pub(super) template: Option<i32>,
    pub(super) state: Option<String>,
    pub(super) link_base: Option<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) lifetime: u32,
    pub(super) code_length: u32,
    pub(super) code_type: CodeType,
    /// Whether a link needs the request's id beside it.
    pub(super) same_browser: bool,
    /// No mail was sent: the address is a test user's.
    pub(super) suppressed: bool,
    pub(super) seed: Seed,
    pub(super) link_hash: Option<[u8; 32]>,
    pub(super) wrong_codes: Vec<i64>,
    pub(super) locked: bool,
    pub(super) used_at: Option<Timestamp>,
    pub(super) valid_until: Timestamp,
    pub(super) created_at: Timestamp,
}

impl Request {
    /// What the log names it by.
    pub(super) fn subject(&self) -> String {
        self.login.map_or_else(|| self.id.clone(), |id| id.to_string())
    }

    pub(super) fn challenge(&self) -> Challenge {
        Challenge {
            id: self.id.clone(),
            kind: self.kind,
            code_length: self.code_length,
            code_type: self.code_type,
            expires_at: self.valid_until,
            expires_in: self.lifetime,
        }
    }

    pub(super) fn verified(self) -> Verified {
        let Self { email, intent, kind, login, state, template, .. } = self;
        Verified { email, intent, kind, auth_request: login, state, template }
    }
}

const COLUMNS: &str = "id, environment_id, auth_request_id, email, type, intent, template, state, link_base, variables, lifetime, \
     code_length, code_type, same_browser, suppressed, seed, link_hash, wrong_codes, locked, used_at, valid_until, created_at";

impl FromRow for Request {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let unknown = |column: &str| DbError::Data(format!("passwordless_requests.{column} has an unknown value"));
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            login: row.get(2)?,
            email: row.get(3)?,
            kind: match row.get::<i32>(4)? {
                1 => Delivery::Otp,
                2 => Delivery::Link,
                3 => Delivery::LinkOtp,
                _ => return Err(unknown("type")),
            },
            intent: Intent::from_number(row.get(5)?).ok_or_else(|| unknown("intent"))?,
            template: row.get(6)?,
            state: row.get(7)?,
            link_base: row.get(8)?,
            variables: serde_json::from_str(&row.get::<String>(9)?).map_err(|_| unknown("variables"))?,
            lifetime: row.get(10)?,
            code_length: row.get(11)?,
            code_type: CodeType::from_number(row.get(12)?).ok_or_else(|| unknown("code_type"))?,
            same_browser: row.get(13)?,
            suppressed: row.get(14)?,
            seed: row.get(15)?,
            link_hash: row.get(16)?,
            wrong_codes: serde_json::from_str(&row.get::<String>(17)?).map_err(|_| unknown("wrong_codes"))?,
            locked: row.get(18)?,
            used_at: row.get(19)?,
            valid_until: row.get(20)?,
            created_at: row.get(21)?,
        })
    }
}

const fn number(kind: Delivery) -> i32 {
    match kind {
        Delivery::Otp => 1,
        Delivery::Link => 2,
        Delivery::LinkOtp => 3,
    }
}

pub(super) async fn insert(tx: &mut Tx, request: &Request) -> Result<()> {
    tx.execute(
        &format!(
            "INSERT INTO passwordless_requests ({COLUMNS}, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
             $13, $14, $15, $16, $17, '[]', 0, NULL, $18, $19, $20)"
        ),
        &p![
            &request.id,
            request.environment,
            request.login,
            &request.email,
            number(request.kind),
            request.intent as i32,
            request.template,
            &request.state,
            &request.link_base,
            serde_json::to_string(&request.variables).map_err(Error::internal)?,
            request.lifetime,
            request.code_length,
            request.code_type as i32,
            request.same_browser,
            request.suppressed,
            request.seed,
            request.link_hash,
            request.valid_until,
            request.created_at,
            request.valid_until.plus(KEPT)
        ],
    )
    .await?;
    Ok(())
}

/// Writes what another mail changes.
pub(super) async fn sent_again(tx: &mut Tx, request: &Request) -> Result<()> {
    tx.execute(
        "UPDATE passwordless_requests SET seed = $2, link_hash = $3, suppressed = $4, valid_until = $5, expires_at = $6 WHERE id = $1",
        &p![
            &request.id,
            request.seed,
            request.link_hash,
            request.suppressed,
            request.valid_until,
            request.valid_until.plus(KEPT)
        ],
    )
    .await?;
    Ok(())
}

/// Writes what an attempt changes.
pub(super) async fn tried(tx: &mut Tx, request: &Request) -> Result<()> {
    tx.execute(
        "UPDATE passwordless_requests SET wrong_codes = $2, locked = $3, used_at = $4 WHERE id = $1",
        &p![
            &request.id,
            serde_json::to_string(&request.wrong_codes).map_err(Error::internal)?,
            request.locked,
            request.used_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: &str) -> Result<Option<Request>> {
    let sql = format!("SELECT {COLUMNS} FROM passwordless_requests WHERE id = $1 AND environment_id = $2");
    Ok(tx.opt(&sql, &p![id, environment]).await?)
}

pub(super) async fn by_link(tx: &mut Tx, environment: EnvId, hash: &[u8; 32]) -> Result<Option<Request>> {
    let sql = format!("SELECT {COLUMNS} FROM passwordless_requests WHERE link_hash = $1 AND environment_id = $2");
    Ok(tx.opt(&sql, &p![hash, environment]).await?)
}

pub(super) async fn delete(tx: &mut Tx, id: &str) -> Result<()> {
    tx.execute("DELETE FROM passwordless_requests WHERE id = $1", &p![id]).await?;
    Ok(())
}
