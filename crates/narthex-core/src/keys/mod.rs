//! Signing keys: RSA-2048, one CURRENT per environment. SDKs fetch the JWKS once per process, so a key is published as NEXT long before
//! it signs, and stays published as RETIRED until the last token it signed has expired.

mod rotation;
mod set;
mod store;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use zeroize::Zeroizing;

pub use rotation::{OVERLAP, list, rotate, tick, withdraw};
pub use set::{KeySet, PublishedKey, Signer, jwks, signer};
pub(crate) use set::{key_set, newer_key_set};
pub(crate) use store::{NewSigningKey, insert_current};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, SigningKeyId};
use crate::seal::{DataKey, Place};

/// Life of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Published, does not sign yet.
    Next = 1,
    /// Signs.
    Current = 2,
    /// Published, signs no more.
    Retired = 3,
    /// Not published; its tokens are refused.
    Removed = 4,
}

/// What is known about a signing key, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyInfo {
    /// Id and `kid`.
    pub id: SigningKeyId,
    /// State.
    pub state: KeyState,
    /// Creation.
    pub created_at: Timestamp,
    /// When it was to begin to sign.
    pub activate_at: Option<Timestamp>,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// When it stopped to sign.
    pub retired_at: Option<Timestamp>,
    /// When a RETIRED key leaves the JWKS; real time.
    pub remove_at: Option<Timestamp>,
    /// Whether it was removed before its time.
    pub withdrawn: bool,
}

/// Where RSA key pairs come from.
#[derive(Debug, Clone)]
pub enum KeyPairs {
    /// Each is made when it is needed, from the operating system's randomness.
    Generated,
    /// A few are made once per process and used in turn: for tests, which need many and keep no secrets.
    #[cfg(feature = "testing")]
    Reused(std::sync::Arc<std::sync::atomic::AtomicUsize>),
}

impl KeyPairs {
    fn next(&self) -> Result<KeyPair> {
        match self {
            Self::Generated => {
                KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::internal("RSA key generation failed"))
            }
            #[cfg(feature = "testing")]
            Self::Reused(used) => {
                let turn = used.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                KeyPair::from_pkcs8(crate::testing::rsa_key(turn)).map_err(Error::internal)
            }
        }
    }
}

/// Where the private half of a key is sealed for.
fn place(environment: EnvId, id: SigningKeyId) -> Place<'static> {
    Place { environment, table: "signing_keys", column: "private_key", row: id.0 }
}

/// Makes a key pair and seals it. Takes a large part of a second of CPU, so it runs off the async threads; never call it within a
/// transaction.
pub(crate) async fn generate(core: &Core, environment: EnvId, data_key: &DataKey) -> Result<NewSigningKey> {
    let source = core.key_pairs.clone();
    let (public, private) = tokio::task::spawn_blocking(move || -> Result<_> {
        let pair = source.next()?;
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| Error::internal("RSA key does not serialise"))?;
        Ok((pair.public_key().as_ref().to_vec(), Zeroizing::new(pkcs8.as_ref().to_vec())))
    })
    .await
    .map_err(Error::internal)??;
    let id = SigningKeyId::new(&core.ids);
    let sealed = data_key.seal(&core.random, place(environment, id), &private)?;
    Ok(NewSigningKey { id, environment, public, private: sealed })
}
