//! Rows of signing keys.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{KeyState, SigningKeyInfo};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, SigningKeyId};
use crate::seal::Sealed;

/// A key pair that has no row yet.
#[derive(Clone)]
pub(crate) struct NewSigningKey {
    pub(super) id: SigningKeyId,
    pub(super) environment: EnvId,
    pub(super) public: Vec<u8>,
    pub(super) private: Sealed,
}

pub(super) const INFO: &str = "id, state, created_at, activate_at, activated_at, retired_at, remove_at, withdrawn";

impl FromRow for SigningKeyInfo {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            state: state(row.get(1)?)?,
            created_at: row.get(2)?,
            activate_at: row.get(3)?,
            activated_at: row.get(4)?,
            retired_at: row.get(5)?,
            remove_at: row.get(6)?,
            withdrawn: row.get(7)?,
        })
    }
}

pub(super) fn state(number: i32) -> Result<KeyState, DbError> {
    match number {
        1 => Ok(KeyState::Next),
        2 => Ok(KeyState::Current),
        3 => Ok(KeyState::Retired),
        4 => Ok(KeyState::Removed),
        _ => Err(DbError::Data("signing_keys.state has an unknown value".into())),
    }
}

/// Inserts the first key of an environment, or the one that takes the place of a withdrawn one.
pub(crate) async fn insert_current(tx: &mut Tx, key: &NewSigningKey, now: Timestamp) -> Result<()> {
    insert(tx, key, KeyState::Current, now, now).await
}

pub(super) async fn insert_next(
    tx: &mut Tx,
    key: &NewSigningKey,
    now: Timestamp,
    activate_at: Timestamp,
) -> Result<()> {
    insert(tx, key, KeyState::Next, now, activate_at).await
}

async fn insert(
    tx: &mut Tx,
    key: &NewSigningKey,
    state: KeyState,
    now: Timestamp,
    signs_from: Timestamp,
) -> Result<()> {
    let activated = (state == KeyState::Current).then_some(signs_from);
    tx.execute(
        "INSERT INTO signing_keys (id, environment_id, state, public_key, private_key, longest_lifetime, created_at, activate_at, \
         activated_at, withdrawn) VALUES ($1, $2, $3, $4, $5, 86400, $6, $7, $8, 0)",
        &p![key.id, key.environment, state as i32, &key.public, &key.private, now, signs_from, activated],
    )
    .await?;
    Ok(())
}

/// The id of the environment's key in `state`, of which there is at most one for NEXT and CURRENT.
pub(super) async fn id_in_state(tx: &mut Tx, environment: EnvId, state: KeyState) -> Result<Option<SigningKeyId>> {
    let sql = "SELECT id FROM signing_keys WHERE environment_id = $1 AND state = $2";
    Ok(tx.opt::<(SigningKeyId,)>(sql, &p![environment, state as i32]).await?.map(|(id,)| id))
}

/// Retires the CURRENT key. It has no further use for its private half.
pub(super) async fn retire_current(
    tx: &mut Tx,
    environment: EnvId,
    now: Timestamp,
    remove_at_least: Timestamp,
) -> Result<()> {
    let sql = "UPDATE signing_keys SET state = 3, private_key = NULL, retired_at = $1, \
               remove_at = $2 + longest_lifetime * 1000000 WHERE environment_id = $3 AND state = 2";
    tx.execute(sql, &p![now, remove_at_least, environment]).await?;
    Ok(())
}

/// Lets the NEXT key sign.
pub(super) async fn activate_next(tx: &mut Tx, environment: EnvId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE signing_keys SET state = 2, activated_at = $1 WHERE environment_id = $2 AND state = 1";
    Ok(tx.execute(sql, &p![now, environment]).await? == 1)
}

/// Takes a key out of the JWKS.
pub(super) async fn remove(tx: &mut Tx, id: SigningKeyId, now: Timestamp, withdrawn: bool) -> Result<()> {
    let sql = "UPDATE signing_keys SET state = 4, private_key = NULL, removed_at = $1, withdrawn = $2 WHERE id = $3";
    tx.execute(sql, &p![now, withdrawn, id]).await?;
    Ok(())
}
