//! Client secrets: shown once, stored as SHA-256 (they have 285 bits of entropy, so nothing slower buys anything), compared in
//! constant time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time;
use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Client, ClientKind, get, not_found, store};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::EnvironmentKind;
use crate::error::{Error, Kind, Result};
use crate::ids::{ClientSecretId, EnvId, Ids};
use crate::random::Random;
use crate::seal::{Secret, sha256};

/// Characters of a secret after its prefix.
const LENGTH: usize = 48;

pub(super) const COLUMNS: &str =
    "id, hash, suffix, status, created_at, updated_at, last_used_at, expires_at, created_by";

/// Whether a secret counts (`scalekit.v1.clients.ClientSecretStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the wire's names
pub enum SecretStatus {
    Active = 0,
    Inactive = 1,
}

/// The record of a secret.
#[derive(Clone)]
pub struct StoredSecret {
    /// Id.
    pub id: ClientSecretId,
    pub(crate) hash: [u8; 32],
    /// Its last four characters.
    pub suffix: String,
    /// Whether it counts.
    pub status: SecretStatus,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Last use, at most a minute behind.
    pub last_used_at: Option<Timestamp>,
    /// When it stops to count by itself.
    pub expires_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: String,
}

impl StoredSecret {
    /// Whether it would be accepted now.
    fn counts(&self, now: Timestamp) -> bool {
        self.status == SecretStatus::Active && self.expires_at.is_none_or(|at| now < at)
    }
}

impl FromRow for StoredSecret {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            hash: row.get(1)?,
            suffix: row.get(2)?,
            status: match row.get::<i32>(3)? {
                0 => SecretStatus::Active,
                1 => SecretStatus::Inactive,
                _ => return Err(DbError::Data("client_secrets.status has an unknown value".into())),
            },
            created_at: row.get(4)?,
            updated_at: row.get(5)?,
            last_used_at: row.get(6)?,
            expires_at: row.get(7)?,
            created_by: row.get(8)?,
        })
    }
}

/// A secret that was just made: the only time that its text exists outside of the client.
pub struct NewSecret {
    /// Its record.
    pub record: StoredSecret,
    /// The secret.
    pub plain: Secret<String>,
}

impl NewSecret {
    /// A random secret: `test_` or `prod_` and 48 characters.
    pub(crate) fn generate(
        ids: &Ids,
        random: &Random,
        kind: EnvironmentKind,
        created_by: &str,
        now: Timestamp,
    ) -> Self {
        let prefix = match kind {
            EnvironmentKind::Dev => "test_",
            EnvironmentKind::Prd => "prod_",
        };
        Self::given(ids, Secret::new(format!("{prefix}{}", random.base62(LENGTH))), created_by, now)
    }

    /// A secret that a seed file supplies.
    pub(crate) fn given(ids: &Ids, plain: Secret<String>, created_by: &str, now: Timestamp) -> Self {
        let text = plain.expose();
        let suffix = text.char_indices().rev().nth(3).map_or(text.as_str(), |(at, _)| &text[at..]).to_owned();
        let record = StoredSecret {
            id: ClientSecretId::new(ids),
            hash: sha256(text.as_bytes()),
            suffix,
            status: SecretStatus::Active,
            created_at: now,
            updated_at: now,
            last_used_at: None,
            expires_at: None,
            created_by: created_by.to_owned(),
        };
        Self { record, plain }
    }
}

/// Inserts a secret unless that would make too many active ones.
pub(crate) async fn insert(tx: &mut Tx, client: &Client, secret: &StoredSecret) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM client_secrets WHERE client_id = $1 AND status = 0";
    let (active,): (i64,) = tx.one(sql, &p![&client.client_id]).await?;
    check_limit(client, usize::try_from(active).unwrap_or(usize::MAX))?;
    tx.execute(
        &format!(
            "INSERT INTO client_secrets (environment_id, client_id, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        ),
        &p![
            client.environment,
            &client.client_id,
            secret.id,
            &secret.hash,
            &secret.suffix,
            secret.status as i32,
            secret.created_at,
            secret.updated_at,
            secret.last_used_at,
            secret.expires_at,
            &secret.created_by,
        ],
    )
    .await?;
    Ok(())
}

fn check_limit(client: &Client, active: usize) -> Result<()> {
    let limit = client.kind.secret_limit();
    if active < limit {
        return Ok(());
    }
    let text = if limit == 0 {
        "clients of this type have no secrets".to_owned()
    } else {
        format!("a client of this type has at most {limit} active secrets")
    };
    Err(Error::new(Kind::FailedPrecondition, text))
}

/// Gives a client one more secret. FAILED_PRECONDITION when it has two active ones already (five for organization and resource
/// clients).
pub async fn add_secret(
    core: &Core,
    environment: EnvId,
    kind: EnvironmentKind,
    client_id: &str,
    created_by: &str,
) -> Result<NewSecret> {
    let client_id = client_id.to_owned();
    let secret = NewSecret::generate(&core.ids, &core.random, kind, created_by, core.clock.now());
    let record = secret.record.clone();
    let bump = core
        .db
        .write(async move |tx| {
            let client = of_environment(tx, environment, &client_id).await?;
            insert(tx, &client, &record).await?;
            raise(tx).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(secret)
}

/// Switches a secret on or off; off counts at once. FAILED_PRECONDITION if switching on makes too many.
pub async fn set_secret_status(
    core: &Core,
    environment: EnvId,
    client_id: &str,
    secret: ClientSecretId,
    status: SecretStatus,
) -> Result<()> {
    let (client_id, now) = (client_id.to_owned(), core.clock.now());
    let bump = core
        .db
        .write(async move |tx| {
            let client = of_environment(tx, environment, &client_id).await?;
            if status == SecretStatus::Active {
                let sql = "SELECT COUNT(*) FROM client_secrets WHERE client_id = $1 AND status = 0 AND id <> $2";
                let (others,): (i64,) = tx.one(sql, &p![&client.client_id, secret]).await?;
                check_limit(&client, usize::try_from(others).unwrap_or(usize::MAX))?;
            }
            let sql = "UPDATE client_secrets SET status = $1, updated_at = $2 WHERE id = $3 AND client_id = $4";
            let changed = tx.execute(sql, &p![status as i32, now, secret, &client.client_id]).await?;
            found(changed)?;
            raise(tx).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Deletes a secret, which counts at once. Tokens got with it live until they expire. The last secret of an organization or resource
/// client stays: INVALID_ARGUMENT, with the text that an SDK's test compares (oauth-oidc reference §15.1).
pub async fn delete_secret(core: &Core, environment: EnvId, client_id: &str, secret: ClientSecretId) -> Result<()> {
    let client_id = client_id.to_owned();
    let bump = core
        .db
        .write(async move |tx| {
            let client = of_environment(tx, environment, &client_id).await?;
            let is_last = client.secrets.len() == 1 && client.secrets[0].id == secret;
            if is_last && matches!(client.kind, ClientKind::Organization | ClientKind::Resource) {
                return Err(Error::new(Kind::InvalidArgument, "last client cannot be deleted"));
            }
            let sql = "DELETE FROM client_secrets WHERE id = $1 AND client_id = $2";
            let deleted = tx.execute(sql, &p![secret, &client.client_id]).await?;
            found(deleted)?;
            raise(tx).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// The client, read in the transaction that changes its secrets.
async fn of_environment(tx: &mut Tx, environment: EnvId, client_id: &str) -> Result<Client> {
    let client = store::load(tx, client_id).await?;
    client.filter(|client| client.environment == environment).ok_or_else(not_found)
}

fn found(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::not_found("secret")) } else { Ok(()) }
}

async fn raise(tx: &mut Tx) -> Result<Bump> {
    cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
}

/// The client, if it is enabled and `secret` is one of its secrets that count. None says nothing about which of them failed.
pub async fn authenticate(
    core: &Core,
    environment: EnvId,
    client_id: &str,
    secret: &str,
) -> Result<Option<Arc<Client>>> {
    let (hash, now) = (sha256(secret.as_bytes()), core.clock.now());
    let mut client = get(core, environment, client_id).await?;
    let mut matched = client.as_ref().and_then(|client| counting(client, &hash, now));
    if client.is_some() && matched.is_none() {
        // Another node may have made this secret since the client was read here: whoever is shown a secret can use it at once,
        // whichever node is asked.
        let key = client_id.to_owned();
        let load = async { super::store::load(&mut *core.db.reader().await?, &key).await };
        client = core.caches.clients.reload(&key, load).await?.filter(|client| client.environment == environment);
        matched = client.as_ref().and_then(|client| counting(client, &hash, now));
    }
    let Some(secret) = matched else { return Ok(None) };
    core.last_used.note(secret, now);
    Ok(client)
}

impl Client {
    /// Whether a secret would be accepted now.
    pub(crate) fn has_secret(&self, now: Timestamp) -> bool {
        self.secrets.iter().any(|secret| secret.counts(now))
    }
}

/// The secret with this hash, if it and its client count now.
fn counting(client: &Client, hash: &[u8], now: Timestamp) -> Option<ClientSecretId> {
    let mut matched = None;
    for candidate in &client.secrets {
        if constant_time::verify_slices_are_equal(&candidate.hash, hash).is_ok() && candidate.counts(now) {
            matched = Some(candidate.id);
        }
    }
    matched.filter(|_| client.enabled)
}

/// Last uses that are not written yet: a token costs no write.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<ClientSecretId, Timestamp>>);

impl LastUsed {
    fn note(&self, secret: ClientSecretId, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret, at);
    }

    /// Takes uses back that could not be written, for the next time.
    fn keep(&self, unwritten: &[(ClientSecretId, Timestamp)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in unwritten {
            let latest = noted.entry(*id).or_insert(*at);
            *latest = (*latest).max(*at);
        }
    }
}

/// Writes the last uses noted since the last time, some hundred rows per transaction. They do not void cached clients: nothing is
/// decided by them.
pub async fn flush_last_used(core: &Core) -> Result<()> {
    let noted = std::mem::take(&mut *core.last_used.0.lock().unwrap_or_else(PoisonError::into_inner));
    let noted: Vec<(ClientSecretId, Timestamp)> = noted.into_iter().collect();
    let mut written = 0;
    while written < noted.len() {
        let chunk = noted[written..noted.len().min(written + 200)].to_vec();
        let rows = chunk.len();
        let outcome = core
            .db
            .write(async move |tx| {
                for (secret, at) in &chunk {
                    let sql = "UPDATE client_secrets SET last_used_at = $1 \
                               WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)";
                    tx.execute(sql, &p![at, secret]).await?;
                }
                Ok::<_, Error>(())
            })
            .await;
        if let Err(error) = outcome {
            core.last_used.keep(&noted[written..]);
            return Err(error);
        }
        written += rows;
    }
    Ok(())
}
