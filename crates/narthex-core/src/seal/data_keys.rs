//! One active data key per environment; older ones only open.

use std::sync::Arc;

use narthex_db::{Tx, p};

use super::master::{MasterKey, check_value};
use super::{Cipher, Place, Sealed, Secret};
use crate::cache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{DataKeyId, EnvId};
use crate::random::Random;

const ACTIVE: i64 = 2;

/// An opened data key.
pub struct DataKey {
    id: DataKeyId,
    environment: EnvId,
    cipher: Cipher,
}

impl DataKey {
    /// Seals for a place in the key's own environment.
    pub fn seal(&self, random: &Random, place: Place<'_>, plaintext: &[u8]) -> Result<Sealed> {
        self.check(place)?;
        self.cipher.seal(random, self.id.0, &place.associated_data(), plaintext).map(Sealed)
    }

    /// Opens what was sealed for exactly this place.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret<Vec<u8>>> {
        self.check(place)?;
        self.cipher.open(&place.associated_data(), &sealed.0)
    }

    fn check(&self, place: Place<'_>) -> Result<()> {
        if place.environment == self.environment {
            Ok(())
        } else {
            Err(Error::internal("data key of another environment"))
        }
    }
}

/// A data key made for an environment that may not exist yet: opened, and as the row will hold it.
pub struct NewDataKey {
    /// For sealing the environment's first secrets.
    pub key: DataKey,
    wrapped: Vec<u8>,
    master_key_id: String,
}

impl NewDataKey {
    /// Makes a key and seals it by the master key.
    pub fn generate(core: &Core, environment: EnvId) -> Result<Self> {
        let id = DataKeyId::new(&core.ids);
        let bytes = Secret::new(core.random.bytes::<32>());
        let master = core.keyring.master();
        let wrapped = master.seal(&core.random, &wrapping(environment, id), bytes.expose())?;
        let key = DataKey { id, environment, cipher: Cipher::new(bytes.expose())? };
        Ok(Self { key, wrapped, master_key_id: master.id().to_owned() })
    }

    /// The row, as version 1 of its environment and active.
    pub(crate) fn row(&self) -> DataKeyRow {
        DataKeyRow {
            id: self.key.id,
            environment: self.key.environment,
            wrapped: self.wrapped.clone(),
            master_key_id: self.master_key_id.clone(),
        }
    }
}

/// What the transaction that creates an environment inserts.
#[derive(Clone)]
pub(crate) struct DataKeyRow {
    id: DataKeyId,
    environment: EnvId,
    wrapped: Vec<u8>,
    master_key_id: String,
}

impl DataKeyRow {
    /// Inserts the key. Refused if the master key that sealed it is no longer this database's: nothing could open it later.
    pub(crate) async fn insert(&self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        let sql = "SELECT id FROM master_keys WHERE id = $1 AND active = 1";
        if tx.opt::<(String,)>(sql, &p![&self.master_key_id]).await?.is_none() {
            return Err(Error::unavailable("the master key of this node is no longer active"));
        }
        tx.execute(
            "INSERT INTO data_keys (id, environment_id, version, status, wrapped, master_key_id, created_at) \
             VALUES ($1, $2, 1, $3, $4, $5, $6)",
            &p![self.id, self.environment, ACTIVE, &self.wrapped, &self.master_key_id, now],
        )
        .await?;
        Ok(())
    }
}

/// A wrapped key opens as the key of its own row only.
fn wrapping(environment: EnvId, id: DataKeyId) -> Vec<u8> {
    Place { environment, table: "data_keys", column: "wrapped", row: id.0 }.associated_data()
}

/// The key that the environment's new secrets are sealed by.
pub async fn active_data_key(core: &Core, environment: EnvId) -> Result<Arc<DataKey>> {
    let load = async {
        let sql = "SELECT id FROM data_keys WHERE environment_id = $1 AND status = $2";
        let row: Option<(DataKeyId,)> = core.db.reader().await?.opt(sql, &p![environment, ACTIVE]).await?;
        Ok(row.map(|(id,)| id))
    };
    let id = core.caches.active_data_keys.get(&environment, load).await?;
    let id = id.ok_or_else(|| Error::internal(format!("{environment} has no active data key")))?;
    data_key(core, *id).await
}

/// A data key by its id.
pub(super) async fn data_key(core: &Core, id: DataKeyId) -> Result<Arc<DataKey>> {
    if let Some(key) = core.caches.data_keys.get(&id) {
        return Ok(key);
    }
    let sql = "SELECT environment_id, wrapped FROM data_keys WHERE id = $1";
    let row: Option<(EnvId, Vec<u8>)> = core.db.reader().await?.opt(sql, &p![id]).await?;
    let (environment, wrapped) = row.ok_or_else(|| Error::internal(format!("data key {} is gone", id.0)))?;
    let bytes = core.keyring.master().open(&wrapping(environment, id), &wrapped)?;
    let bytes: &[u8; 32] =
        bytes.expose().as_slice().try_into().map_err(|_| Error::internal("data key of a wrong length"))?;
    let key = Arc::new(DataKey { id, environment, cipher: Cipher::new(bytes)? });
    core.caches.data_keys.put(id, Arc::clone(&key));
    Ok(key)
}

/// Seals every data key anew by `new_master`, which becomes the one master key of this database; returns how many. All or nothing,
/// since a database half under either key could be opened with neither. Nodes started with the old key keep the data keys they have
/// opened; restart them with the new one.
pub async fn rewrap(core: &Core, new_master: &MasterKey) -> Result<u64> {
    let check = check_value(new_master, &core.random)?;
    let sql = "SELECT id, environment_id, wrapped FROM data_keys ORDER BY id";
    let keys: Vec<(DataKeyId, EnvId, Vec<u8>)> = core.db.reader().await?.all(sql, &[]).await?;
    let mut rewrapped = Vec::with_capacity(keys.len());
    for (id, environment, old) in keys {
        let place = wrapping(environment, id);
        let bytes = core.keyring.master().open(&place, &old)?;
        rewrapped.push((id, old, new_master.seal(&core.random, &place, bytes.expose())?));
    }
    let (new_id, old_id) = (new_master.id().to_owned(), core.keyring.master().id().to_owned());
    let now = core.clock.now();
    let (count, bump) = core
        .db
        .write(async move |tx| {
            tx.execute(
                "INSERT INTO master_keys (id, check_value, active, created_at) VALUES ($1, $2, 1, $3) \
                 ON CONFLICT (id) DO UPDATE SET active = 1",
                &p![&new_id, &check, now],
            )
            .await?;
            if new_id != old_id {
                tx.execute("UPDATE master_keys SET active = 0 WHERE id = $1", &p![&old_id]).await?;
            }
            for (id, old, new) in &rewrapped {
                let sql = "UPDATE data_keys SET wrapped = $1, master_key_id = $2 WHERE id = $3 AND wrapped = $4";
                if tx.execute(sql, &p![new, &new_id, id, old]).await? != 1 {
                    return Err(Error::unavailable("data keys changed meanwhile"));
                }
            }
            let (left,): (i64,) =
                tx.one("SELECT COUNT(*) FROM data_keys WHERE master_key_id <> $1", &p![&new_id]).await?;
            if left != 0 {
                return Err(Error::unavailable("data keys were added meanwhile"));
            }
            Ok((rewrapped.len() as u64, cache::bump(tx, cache::DATA_KEYS).await?))
        })
        .await?;
    core.caches.apply(bump);
    Ok(count)
}
