//! The published keys of an environment as requests need them: parsed once, with their JWKS and their token headers ready.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_db::p;

use super::{KeyState, place, store};
use crate::cache;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, SigningKeyId};
use crate::seal::{self, Sealed};

/// Tokens with an unknown header make a node look for newer keys at most this often, so that garbage costs no read each.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A key in the JWKS.
pub struct PublishedKey {
    /// Id and `kid`.
    pub id: SigningKeyId,
    /// State; never REMOVED here.
    pub state: KeyState,
    /// Longest lifetime of a token it signed, in seconds.
    pub longest_lifetime: i64,
    pub(crate) verifier: ParsedPublicKey,
    header: Arc<str>,
}

/// The published keys of an environment.
pub struct KeySet {
    keys: HashMap<Arc<str>, PublishedKey>,
    jwks: Arc<str>,
    loaded: Instant,
}

impl KeySet {
    /// The key whose tokens begin with exactly this header segment. Every token of a key has the same one, so nothing in a stranger's
    /// header (`alg`, `kid`, `jku`, `jwk`, `crit`, doubled members) is ever interpreted.
    pub(crate) fn by_header(&self, segment: &str) -> Option<&PublishedKey> {
        self.keys.get(segment)
    }

    /// Whether a key is still published.
    pub(crate) fn publishes(&self, id: SigningKeyId) -> bool {
        self.keys.values().any(|key| key.id == id)
    }

    fn current(&self) -> Option<&PublishedKey> {
        self.keys.values().find(|key| key.state == KeyState::Current)
    }
}

/// What signs the tokens of an environment.
pub struct Signer {
    /// Id and `kid`.
    pub id: SigningKeyId,
    pub(crate) header: Arc<str>,
    pub(crate) pair: Arc<rsa::KeyPair>,
}

/// The JWKS document of an environment (oauth-oidc reference §2.1).
pub async fn jwks(core: &Core, environment: EnvId) -> Result<Arc<str>> {
    Ok(Arc::clone(&key_set(core, environment).await?.jwks))
}

/// The published keys.
pub(crate) async fn key_set(core: &Core, environment: EnvId) -> Result<Arc<KeySet>> {
    let set = core.caches.key_sets.get(&environment, async { load(core, environment).await.map(Some) }).await?;
    set.ok_or_else(|| Error::internal("no key set"))
}

/// The published keys, read again unless `known` is recent: another node may have rotated a moment ago.
pub(crate) async fn newer_key_set(core: &Core, environment: EnvId, known: &KeySet) -> Result<Option<Arc<KeySet>>> {
    if known.loaded.elapsed() < LOOK_AGAIN_AFTER {
        return Ok(None);
    }
    core.caches.key_sets.reload(&environment, async { load(core, environment).await.map(Some) }).await
}

type KeyRow = (SigningKeyId, i32, Vec<u8>, i64);

async fn load(core: &Core, environment: EnvId) -> Result<KeySet> {
    let sql = "SELECT id, state, public_key, longest_lifetime FROM signing_keys \
               WHERE environment_id = $1 AND state < 4 ORDER BY state, id";
    let rows: Vec<KeyRow> = core.db.reader().await?.all(sql, &p![environment]).await?;
    let mut jwks = String::from("{\"keys\":[");
    let mut keys = HashMap::with_capacity(rows.len());
    for (id, state, public, longest_lifetime) in rows {
        let (n, e) = rsa_numbers(&public).ok_or_else(|| Error::internal(format!("{id} is no RSA public key")))?;
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let comma = if keys.is_empty() { "" } else { "," };
        write!(
            jwks,
            "{comma}{{\"use\":\"sig\",\"kty\":\"RSA\",\"kid\":\"{id}\",\"alg\":\"RS256\",\"n\":\"{n}\",\"e\":\"{e}\"}}"
        )
        .map_err(Error::internal)?;
        let verifier = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public).map_err(Error::internal)?;
        let header: Arc<str> = header(id).into();
        let key =
            PublishedKey { id, state: store::state(state)?, longest_lifetime, verifier, header: Arc::clone(&header) };
        keys.insert(header, key);
    }
    jwks.push_str("]}");
    Ok(KeySet { keys, jwks: jwks.into(), loaded: Instant::now() })
}

/// The first segment of every token that the key signs.
pub(crate) fn header(id: SigningKeyId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"RS256\",\"kid\":\"{id}\",\"typ\":\"JWT\"}}"))
}

/// The environment's signing key, parsed, for a token that lives `lifetime` seconds.
pub async fn signer(core: &Core, environment: EnvId, lifetime: i64) -> Result<Signer> {
    // A rotation on this node or another may retire the key at any point: then the next look sees its successor.
    for _ in 0..4 {
        let set = key_set(core, environment).await?;
        let current = set.current().ok_or_else(|| Error::internal(format!("{environment} has no signing key")))?;
        let pair = match core.caches.private_keys.get(&current.id) {
            Some(pair) => Some(pair),
            None => load_private(core, environment, current.id).await?,
        };
        if let Some(pair) = pair
            && (lifetime <= current.longest_lifetime || reserve_lifetime(core, current.id, lifetime).await?)
        {
            return Ok(Signer { id: current.id, header: Arc::clone(&current.header), pair });
        }
        core.caches.key_sets.reload(&environment, async { load(core, environment).await.map(Some) }).await?;
    }
    Err(Error::unavailable("signing keys are being rotated faster than they can be read"))
}

/// The private half; None if the key signs no more.
async fn load_private(core: &Core, environment: EnvId, id: SigningKeyId) -> Result<Option<Arc<rsa::KeyPair>>> {
    let sql = "SELECT private_key FROM signing_keys WHERE id = $1";
    let row: Option<(Option<Sealed>,)> = core.db.reader().await?.opt(sql, &p![id]).await?;
    let Some(sealed) = row.and_then(|(sealed,)| sealed) else { return Ok(None) };
    let pkcs8 = seal::open(core, place(environment, id), &sealed).await?;
    let pair = Arc::new(rsa::KeyPair::from_pkcs8(pkcs8.expose()).map_err(Error::internal)?);
    core.caches.private_keys.put(id, Arc::clone(&pair));
    Ok(Some(pair))
}

/// Before a key signs a token that lives longer than any before, the database learns of it: a retired key must stay published until
/// its last token has expired. False if the key signs no more.
async fn reserve_lifetime(core: &Core, id: SigningKeyId, seconds: i64) -> Result<bool> {
    let bump = core
        .db
        .write(async move |tx| {
            let sql = "SELECT longest_lifetime FROM signing_keys WHERE id = $1 AND state = 2";
            let Some((known,)) = tx.opt::<(i64,)>(sql, &p![id]).await? else { return Ok(None) };
            if known < seconds {
                let sql = "UPDATE signing_keys SET longest_lifetime = $1 WHERE id = $2";
                tx.execute(sql, &p![seconds, id]).await?;
            }
            cache::bump(tx, cache::SIGNING_KEYS).await.map(Some).map_err(Error::from)
        })
        .await?;
    Ok(bump.map(|bump| core.caches.apply(bump)).is_some())
}

/// Modulus and exponent, without leading zeros, of an `RSAPublicKey` in DER (RFC 8017 A.1.1).
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = element(der, 0x30)?;
    let (modulus, after) = element(sequence, 0x02)?;
    let (exponent, end) = element(after, 0x02)?;
    (rest.is_empty() && end.is_empty()).then_some((unsigned(modulus), unsigned(exponent)))
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// The content of the first DER element, which must have `tag`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = match first {
        0..=0x7f => (usize::from(first), der),
        0x81 => (usize::from(*der.first()?), &der[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*der.first()?, *der.get(1)?])), &der[2..]),
        _ => return None,
    };
    (found == tag && der.len() >= length).then(|| der.split_at(length))
}
