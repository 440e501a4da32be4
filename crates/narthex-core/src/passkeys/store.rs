//! The table of passkeys.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::Passkey;
use super::webauthn::Flags;
use crate::error::{Error, Result};
use crate::ids::{CredentialId, EnvId, UserId};

/// Passkeys that one transaction removes.
const CHUNK: i64 = 100;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, environment_id, user_id, credential_id, rp_id, public_key, counter, flags, aaguid, conveyance, transports, \
             attachment, display_name, device, created_at, updated_at, last_used_at FROM passkeys ",
            $rest
        )
    };
}

impl FromRow for Passkey {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, DbError> {
            serde_json::from_str(row.cell(column)?.text()?)
                .map_err(|error| DbError::Data(format!("passkeys, column {column}: {error}")))
        }
        let flags: u32 = row.get(7)?;
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            user: row.get(2)?,
            credential_id: row.get(3)?,
            rp_id: row.get(4)?,
            public_key: row.get(5)?,
            counter: row.get(6)?,
            flags: Flags::from_bits(
                u8::try_from(flags).map_err(|_| DbError::Data("passkeys.flags is no byte".into()))?,
            ),
            aaguid: row.get(8)?,
            conveyance: row.get(9)?,
            transports: json(row, 10)?,
            attachment: row.get(11)?,
            display_name: row.get(12)?,
            device: json(row, 13)?,
            created_at: row.get(14)?,
            updated_at: row.get(15)?,
            last_used_at: row.get(16)?,
        })
    }
}

pub(super) async fn insert(tx: &mut Tx, passkey: &Passkey) -> Result<()> {
    fn json<T: serde::Serialize>(value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(Error::internal)
    }
    tx.execute(
        "INSERT INTO passkeys (id, environment_id, user_id, credential_id, rp_id, public_key, counter, flags, aaguid, conveyance, \
         transports, attachment, display_name, device, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &p![
            passkey.id,
            passkey.environment,
            passkey.user,
            &passkey.credential_id,
            &passkey.rp_id,
            &passkey.public_key,
            passkey.counter,
            passkey.flags.bits(),
            passkey.aaguid,
            &passkey.conveyance,
            json(&passkey.transports)?,
            &passkey.attachment,
            &passkey.display_name,
            json(&passkey.device)?,
            passkey.created_at,
            passkey.updated_at,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: CredentialId) -> Result<Option<Passkey>> {
    let sql = select!("WHERE id = $1 AND environment_id = $2");
    Ok(tx.opt(sql, &p![id, environment]).await?)
}

/// The passkey that an authenticator knows by this id.
pub(super) async fn find(tx: &mut Tx, environment: EnvId, credential_id: &[u8]) -> Result<Option<Passkey>> {
    let sql = select!("WHERE environment_id = $1 AND credential_id = $2");
    Ok(tx.opt(sql, &p![environment, credential_id]).await?)
}

/// A user's passkeys, newest first. There are at most [`super::MOST`].
pub(super) async fn of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<Vec<Passkey>> {
    let sql = select!("WHERE user_id = $1 AND environment_id = $2 ORDER BY id DESC");
    Ok(tx.all(sql, &p![user, environment]).await?)
}

/// Whether a user has a passkey.
pub(crate) async fn has_any(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<bool> {
    let sql = "SELECT id FROM passkeys WHERE user_id = $1 AND environment_id = $2 LIMIT 1";
    Ok(tx.opt::<(i64,)>(sql, &p![user, environment]).await?.is_some())
}

/// Removes a passkey, and what it has proven to a login that is still under way.
pub(super) async fn delete(tx: &mut Tx, passkey: &Passkey) -> Result<()> {
    tx.execute("DELETE FROM passkeys WHERE id = $1", &p![passkey.id]).await?;
    tx.execute("DELETE FROM passkey_proofs WHERE user_id = $1 AND passkey_id = $2", &p![passkey.user, passkey.id])
        .await?;
    Ok(())
}

/// Removes up to 100 passkeys of a user, within the transaction that deletes the user; how many.
pub(crate) async fn purge_of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<u64> {
    let sql = "DELETE FROM passkeys WHERE id IN \
               (SELECT id FROM passkeys WHERE user_id = $1 AND environment_id = $2 ORDER BY id LIMIT $3)";
    let gone = tx.execute(sql, &p![user, environment, CHUNK]).await?;
    tx.execute("DELETE FROM passkey_proofs WHERE user_id = $1", &p![user]).await?;
    Ok(gone)
}
