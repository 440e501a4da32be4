//! Secrets that must be read again are sealed: AES-256-GCM under a key of their environment, bound to the very row they are in. The
//! environments' keys are sealed by a master key that lives outside the database.

mod data_keys;
mod mac_keys;
mod master;
mod secret;

pub(crate) use data_keys::DataKeyRow;
pub use data_keys::{DataKey, NewDataKey, active_data_key, rewrap};
pub(crate) use mac_keys::{MacKey, mac_key};
pub use master::{Keyring, MASTER_KEY_UNREADABLE, MASTER_KEY_WRONG, MasterKey, MasterKeySource};
pub use secret::Secret;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use narthex_db::{Cell, DbError, FromValue, Value};
use zeroize::Zeroizing;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{DataKeyId, EnvId};
use crate::random::Random;

/// Layout version of [`Sealed`].
const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
const HEAD: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Where a sealed value stands. It opens nowhere else: whoever can write the database cannot move one row's secret to another.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Environment of the row.
    pub environment: EnvId,
    /// Table.
    pub table: &'a str,
    /// Column.
    pub column: &'a str,
    /// Primary key of the row.
    pub row: i64,
}

impl Place<'_> {
    /// Associated data: every part has a fixed length or its length in front, so that no two places spell the same.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(64);
        data.extend_from_slice(b"narthex sealed 1");
        data.extend_from_slice(&self.environment.0.to_be_bytes());
        for part in [self.table, self.column] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data.extend_from_slice(&self.row.to_be_bytes());
        data
    }
}

/// A sealed value as a column holds it: layout version (1 byte), data key id (8), nonce (12), ciphertext with tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The data key that opens it.
    pub fn key_id(&self) -> Option<DataKeyId> {
        let id = self.0.get(1..=KEY_ID_LEN)?;
        (self.0[0] == VERSION).then(|| DataKeyId(i64::from_be_bytes(id.try_into().unwrap_or_default())))
    }

    /// The bytes, for a value that leaves the database.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes that came back; whether they are any good shows when they are opened.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Sealed> for Value {
    fn from(sealed: Sealed) -> Self {
        Value::Blob(sealed.0)
    }
}

impl From<&Sealed> for Value {
    fn from(sealed: &Sealed) -> Self {
        Value::Blob(sealed.0.clone())
    }
}

impl FromValue for Sealed {
    fn from_cell(cell: Cell<'_>) -> Result<Self, DbError> {
        cell.blob().map(|bytes| Self(bytes.to_vec()))
    }
}

/// Seals `plaintext` for `place` under the environment's active data key. Call it outside of transactions.
pub async fn seal(core: &Core, place: Place<'_>, plaintext: &[u8]) -> Result<Sealed> {
    active_data_key(core, place.environment).await?.seal(&core.random, place, plaintext)
}

/// Opens what [`seal`] made for the same place.
pub async fn open(core: &Core, place: Place<'_>, sealed: &Sealed) -> Result<Secret<Vec<u8>>> {
    let key_id = sealed.key_id().ok_or_else(|| Error::internal("sealed value of an unknown layout"))?;
    data_keys::data_key(core, key_id).await?.open(place, sealed)
}

/// One AES-256-GCM key. Nonces are random: at 2^32 messages per key a repetition is still as unlikely as 2^-32.
struct Cipher(LessSafeKey);

impl Cipher {
    fn new(key: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::internal("AES-256-GCM key refused"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Version, `key_id`, nonce and ciphertext.
    fn seal(&self, random: &Random, key_id: i64, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let nonce = random.bytes::<NONCE_LEN>();
        let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        body.extend_from_slice(plaintext);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut *body)
            .map_err(|_| Error::internal("sealing failed"))?;
        let mut sealed = Vec::with_capacity(HEAD + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key_id.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>> {
        let failed = || Error::internal("a sealed value does not open: wrong key, wrong place, or altered");
        if sealed.len() < HEAD || sealed[0] != VERSION {
            return Err(failed());
        }
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + KEY_ID_LEN..HEAD]).map_err(|_| failed())?;
        let mut body = Zeroizing::new(sealed[HEAD..].to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(associated), &mut body).map_err(|_| failed())?.len();
        Ok(Secret::new(body[..length].to_vec()))
    }
}

/// SHA-256, for secrets of high entropy.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
