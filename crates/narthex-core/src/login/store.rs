//! The table of logins that are under way.

use std::time::Duration;

use aws_lc_rs::constant_time;
use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{AuthRequest, Intent, Stage, broken};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{AuthRequestId, EnvId};
use crate::seal::{Secret, sha256};
use crate::users::{User, key_of};

/// How long a login may take (login-methods reference §2.4).
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
/// Characters of a browser's secret: about 256 bits.
const LENGTH: usize = 43;

const COLUMNS: &str = "id, environment_id, request, intent, stage, email, challenge_id, proof, user_id, organization_id, session_id, \
     created_at, expires_at";

/// The secret that ties a login to the browser that began it.
pub struct BrowserSecret {
    secret: Secret<String>,
    hash: [u8; 32],
}

impl BrowserSecret {
    /// A random one.
    pub fn new(core: &Core) -> Self {
        let secret = core.random.base62(LENGTH);
        Self { hash: sha256(secret.as_bytes()), secret: Secret::new(secret) }
    }

    /// For the cookie.
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }
}

impl FromRow for AuthRequest {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let unreadable = |column: &str| DbError::Data(format!("auth_requests.{column} cannot be read"));
        let proof: Option<String> = row.get(7)?;
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            authorize: serde_json::from_str(row.cell(2)?.text()?).map_err(|_| unreadable("request"))?,
            intent: match row.get::<i32>(3)? {
                1 => Intent::SignIn,
                2 => Intent::SignUp,
                _ => return Err(unreadable("intent")),
            },
            stage: stage(row.get(4)?).ok_or_else(|| unreadable("stage"))?,
            email: row.get(5)?,
            challenge: row.get(6)?,
            proof: proof.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| unreadable("proof"))?,
            user: row.get(8)?,
            organization: row.get(9)?,
            session: row.get(10)?,
            created_at: row.get(11)?,
            expires_at: row.get(12)?,
        })
    }
}

/// What the rows call the stages. The numbers stay what they are, whatever comes in between.
const STAGES: [(Stage, i32); 7] = [
    (Stage::Identify, 1),
    (Stage::Verify, 2),
    (Stage::SecondFactor, 7),
    (Stage::Choose, 3),
    (Stage::Offer, 4),
    (Stage::Consent, 5),
    (Stage::Finished, 6),
];

fn stage(number: i32) -> Option<Stage> {
    STAGES.into_iter().find(|&(_, known)| known == number).map(|(stage, _)| stage)
}

impl Stage {
    fn number(self) -> i32 {
        STAGES[self as usize].1
    }
}

/// A login that is still under way, if `secret` is that of its browser.
pub async fn load(core: &Core, environment: EnvId, id: AuthRequestId, secret: &str) -> Result<Option<AuthRequest>> {
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let sql = "SELECT browser_hash FROM auth_requests WHERE id = $1 AND environment_id = $2 AND expires_at > $3 AND stage <> 6";
    let found: Option<(Vec<u8>,)> = reader.opt(sql, &p![id, environment, now]).await?;
    let Some((hash,)) = found else { return Ok(None) };
    if constant_time::verify_slices_are_equal(&hash, &sha256(secret.as_bytes())).is_err() {
        return Ok(None);
    }
    find(&mut reader, environment, id, now).await
}

/// A login of the environment that is still under way, whosever browser it is in.
pub(super) async fn find(
    tx: &mut Tx,
    environment: EnvId,
    id: AuthRequestId,
    now: Timestamp,
) -> Result<Option<AuthRequest>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM auth_requests WHERE id = $1 AND environment_id = $2 AND expires_at > $3 AND stage <> 6"
    );
    Ok(tx.opt(&sql, &p![id, environment, now]).await?)
}

pub(super) async fn insert(tx: &mut Tx, request: &AuthRequest, browser_hash: [u8; 32]) -> Result<()> {
    tx.execute(
        "INSERT INTO auth_requests (id, environment_id, browser_hash, client_id, request, intent, stage, email, challenge_id, proof, \
         user_id, organization_id, session_id, created_at, updated_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15)",
        &p![
            request.id,
            request.environment,
            browser_hash.to_vec(),
            &request.authorize.client_id,
            serde_json::to_string(&request.authorize).map_err(Error::internal)?,
            request.intent as i32,
            request.stage.number(),
            &request.email,
            &request.challenge,
            proof(request)?,
            request.user,
            request.organization,
            request.session,
            request.created_at,
            request.expires_at
        ],
    )
    .await?;
    Ok(())
}

impl BrowserSecret {
    /// What the row keeps.
    pub(super) const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// Ties a login to another browser.
pub(super) async fn rebind(tx: &mut Tx, request: &AuthRequest, browser_hash: [u8; 32]) -> Result<()> {
    let sql = "UPDATE auth_requests SET browser_hash = $3 WHERE id = $1 AND environment_id = $2";
    tx.execute(sql, &p![request.id, request.environment, browser_hash.to_vec()]).await?;
    Ok(())
}

/// Writes where a login stands now, if it still stands at `from`; whether it did.
pub(super) async fn advance(tx: &mut Tx, request: &AuthRequest, from: Stage, now: Timestamp) -> Result<bool> {
    if request.stage < from {
        // Back to the start is a way back, and to a second factor that was set up meanwhile.
        if !matches!(request.stage, Stage::Identify | Stage::SecondFactor) {
            return Err(broken("a stage that lies behind"));
        }
    }
    let changed = tx
        .execute(
            "UPDATE auth_requests SET intent = $4, stage = $5, email = $6, challenge_id = $7, proof = $8, user_id = $9, \
             organization_id = $10, session_id = $11, updated_at = $12 \
             WHERE id = $1 AND environment_id = $2 AND stage = $3 AND expires_at > $12",
            &p![
                request.id,
                request.environment,
                from.number(),
                request.intent as i32,
                request.stage.number(),
                &request.email,
                &request.challenge,
                proof(request)?,
                request.user,
                request.organization,
                request.session,
                now
            ],
        )
        .await?;
    Ok(changed == 1)
}

fn proof(request: &AuthRequest) -> Result<Option<String>> {
    request.proof.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)
}

/// Forgets the logins of a user who is deleted: they name the address.
pub(crate) async fn purge_of_user(tx: &mut Tx, user: &User) -> Result<()> {
    let sql = "DELETE FROM auth_requests WHERE environment_id = $1 AND (user_id = $2 OR email = $3)";
    tx.execute(sql, &p![user.environment, user.id, key_of(&user.email)]).await?;
    Ok(())
}

/// What a browser that has lost its way may learn of a login, even if that is over.
pub struct Trace {
    /// Who asked for it.
    pub client_id: String,
    /// When.
    pub at: Timestamp,
    /// Whether a browser has got anywhere with it, and so has kept its cookie.
    pub has_moved: bool,
}

/// Who asked for a login, and what became of it.
pub async fn begun_by(core: &Core, environment: EnvId, id: AuthRequestId) -> Result<Option<Trace>> {
    let sql = "SELECT client_id, created_at, stage FROM auth_requests WHERE id = $1 AND environment_id = $2";
    let found: Option<(String, Timestamp, i32)> = core.db.reader().await?.opt(sql, &p![id, environment]).await?;
    Ok(found.map(|(client_id, at, stage)| Trace { client_id, at, has_moved: stage != Stage::Identify.number() }))
}
