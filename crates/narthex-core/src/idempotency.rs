//! `idempotency-key` on creates: a request that is sent again, because its answer was lost, creates nothing a second time.
//!
//! The key is written in the transaction of the create, so either both stand or neither.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use narthex_db::{DbError, Tx, p};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::ids::EnvId;

/// How long a key is remembered.
const LIFETIME: Duration = Duration::from_hours(24);
/// Characters of a key.
const LONGEST: usize = 255;

/// A caller's key for one request.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    environment: EnvId,
    caller: String,
    name: String,
    digest: Vec<u8>,
}

impl IdempotencyKey {
    /// The key `name` that `caller` sent with `request`: the RPC's name and a rendering of the request that is equal exactly for
    /// equal requests.
    pub fn new(environment: EnvId, caller: &Actor, name: &str, request: &[&str]) -> Result<Self> {
        if name.is_empty() || name.chars().count() > LONGEST || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        {
            return Err(Error::invalid(
                "idempotency-key",
                "idempotency_key.format",
                format!("must be 1 to {LONGEST} printable ASCII characters"),
            ));
        }
        let mut bytes = Vec::new();
        for part in request {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let digest = digest(&SHA256, &bytes).as_ref().to_vec();
        Ok(Self { environment, caller: caller.as_str().to_owned(), name: name.to_owned(), digest })
    }
}

/// The number of the resource that an earlier request with this key has created. A key that was sent with a different request is
/// refused.
pub async fn find(tx: &mut Tx, key: &IdempotencyKey, now: Timestamp) -> Result<Option<i64>> {
    let found: Option<(Vec<u8>, i64, i64)> = tx
        .opt(
            "SELECT digest, resource_id, expires_at FROM idempotency_keys WHERE environment_id = $1 AND caller = $2 AND name = $3",
            &p![key.environment, &key.caller, &key.name],
        )
        .await?;
    match found {
        Some((digest, resource, expires_at)) if expires_at > now.0 => {
            if digest == key.digest {
                return Ok(Some(resource));
            }
            Err(Error::invalid("idempotency-key", "idempotency_key.reused", "was used with a different request"))
        }
        _ => Ok(None),
    }
}

/// Remembers what the request created.
pub async fn remember(tx: &mut Tx, key: &IdempotencyKey, resource: i64, now: Timestamp) -> Result<()> {
    // A key past its time may not have been swept yet.
    tx.execute(
        "DELETE FROM idempotency_keys WHERE environment_id = $1 AND caller = $2 AND name = $3 AND expires_at <= $4",
        &p![key.environment, &key.caller, &key.name, now.0],
    )
    .await?;
    tx.execute(
        "INSERT INTO idempotency_keys (environment_id, caller, name, digest, resource_id, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &p![key.environment, &key.caller, &key.name, &key.digest, resource, now.plus(LIFETIME).0],
    )
    .await?;
    Ok(())
}

/// Runs a create, and again while it meets what a twin with the same key has written a moment ago: its key, or a value that only one may
/// have. The twin has committed by then, so the next run finds the key.
pub(crate) async fn past_twins<T, F>(key: Option<&IdempotencyKey>, mut create: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut twins = 0;
    loop {
        match create().await {
            Err(error) if key.is_some() && twins < 3 && error.database().is_some_and(DbError::is_unique) => twins += 1,
            other => return other,
        }
    }
}
