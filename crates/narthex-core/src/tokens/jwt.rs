//! The compact serialisation: signing and strict verification.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::AccessClaims;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::ids::{EnvId, SigningKeyId};
use crate::keys::{self, Signer};
use crate::seal::sha256;

/// Longer ones are refused unread.
pub const MAX_TOKEN_BYTES: usize = 8_192;

/// Clocks of the nodes differ a little; a token that another one issued is not from the future because of it.
const SKEW_SECONDS: i64 = 5;

/// An access token whose signature was right, and what it says. What it says is checked against the rows at each use.
pub struct Verified {
    pub(super) environment: EnvId,
    pub(super) key: SigningKeyId,
    pub(super) claims: AccessClaims,
    /// Has a claim that only other kinds of token have.
    pub(super) foreign: bool,
}

impl Verified {
    /// What it says.
    pub(crate) fn claims(&self) -> &AccessClaims {
        &self.claims
    }
}

/// An access token of one environment, checked as [`verify`] does.
pub(crate) async fn verify_own(core: &Core, environment: &Arc<Environment>, token: &str) -> Result<Arc<Verified>> {
    let verified = verify(core, &[environment], token).await?;
    if verified.environment == environment.id { Ok(verified) } else { Err(invalid()) }
}

/// Signs `claims` in one buffer.
pub(super) fn sign<C: Serialize>(signer: &Signer, claims: &C) -> Result<String> {
    let payload = serde_json::to_vec(claims).map_err(Error::internal)?;
    let mut signature = vec![0; signer.pair.public_modulus_len()];
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4;
    let mut token = String::with_capacity(signer.header.len() + 2 + encoded(payload.len()) + encoded(signature.len()));
    token.push_str(&signer.header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
    signer
        .pair
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
        .map_err(|_| Error::internal("RSA signing failed"))?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Ok(token)
}

/// Claims as they are read, with the marks of tokens that are no access tokens. A member given twice is an error.
#[derive(Deserialize)]
struct Marks {
    #[serde(default)]
    at_hash: Option<IgnoredAny>,
    #[serde(default)]
    c_hash: Option<IgnoredAny>,
    #[serde(default)]
    nonce: Option<IgnoredAny>,
    #[serde(default)]
    azp: Option<IgnoredAny>,
    #[serde(default)]
    events: Option<IgnoredAny>,
    #[serde(default)]
    login_hint: Option<IgnoredAny>,
}

/// Checks a token's signature, issuer and times for one of `environments`. UNAUTHENTICATED otherwise, and that message is all that a
/// caller learns.
pub(super) async fn verify(core: &Core, environments: &[&Arc<Environment>], token: &str) -> Result<Arc<Verified>> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid());
    }
    let digest = sha256(token.as_bytes());
    let verified = if let Some(verified) = core.caches.tokens.get(&digest) {
        verified
    } else {
        let verified = Arc::new(verify_signature(core, environments, token).await?);
        core.caches.tokens.put(digest, Arc::clone(&verified));
        verified
    };
    let environment = environments.iter().find(|environment| environment.id == verified.environment);
    let environment = environment.ok_or_else(invalid)?;
    // All of it on every use: the cache holds claims, never decisions.
    if !keys::key_set(core, environment.id).await?.publishes(verified.key)
        || !environment.is_issuer(&verified.claims.iss)
        || verified.foreign
    {
        return Err(invalid());
    }
    let now = core.clock.real_now().seconds();
    if now >= verified.claims.exp {
        return Err(Error::unauthenticated("Token expired"));
    }
    if verified.claims.nbf > now + SKEW_SECONDS {
        return Err(invalid());
    }
    Ok(verified)
}

async fn verify_signature(core: &Core, environments: &[&Arc<Environment>], token: &str) -> Result<Verified> {
    let (environment, key, payload) = signed_payload(core, environments, token).await?;
    let claims: AccessClaims = serde_json::from_slice(&payload).map_err(|_| invalid())?;
    let marks: Marks = serde_json::from_slice(&payload).map_err(|_| invalid())?;
    let foreign = marks.at_hash.is_some()
        || marks.c_hash.is_some()
        || marks.nonce.is_some()
        || marks.azp.is_some()
        || marks.events.is_some()
        || marks.login_hint.is_some()
        || !claims.jti.starts_with("tkn_");
    Ok(Verified { environment, key, claims, foreign })
}

/// The parts of a token (RFC 7515 §7.1), decoded but for the header, which is compared as it stands.
struct Compact<'a> {
    signed: &'a str,
    header: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    fn read(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        Some(Self { signed, header, payload, signature })
    }
}

/// What one of the environments has signed.
async fn signed_payload(
    core: &Core,
    environments: &[&Arc<Environment>],
    token: &str,
) -> Result<(EnvId, SigningKeyId, Vec<u8>)> {
    let Compact { signed, header, payload, signature } = Compact::read(token).ok_or_else(invalid)?;
    for environment in environments {
        let mut set = keys::key_set(core, environment.id).await?;
        if set.by_header(header).is_none() {
            match keys::newer_key_set(core, environment.id, &set).await? {
                Some(newer) => set = newer,
                None => continue,
            }
        }
        let Some(key) = set.by_header(header) else { continue };
        key.verifier.verify_sig(signed.as_bytes(), &signature).map_err(|_| invalid())?;
        return Ok((environment.id, key.id, payload));
    }
    Err(invalid())
}

/// What an ID token says of where it came from and of whom, whenever that was: a user signs out, or is expected back, long after it has
/// expired.
#[derive(Debug, Deserialize)]
pub struct IdTokenHint {
    iss: String,
    /// The client that got it.
    pub azp: String,
    /// Whom it is of.
    pub sub: String,
    /// Their address, where the token had it.
    #[serde(default)]
    pub email: Option<String>,
    /// Only ID tokens have one.
    #[serde(rename = "at_hash")]
    _at_hash: String,
}

impl IdTokenHint {
    /// What a token says, whoever has signed it: nothing may be decided by that. [`id_token_hint`] is what does.
    pub fn unverified(token: &str) -> Option<Self> {
        Self::of(&Compact::read(token)?.payload)
    }

    fn of(payload: &[u8]) -> Option<Self> {
        // A reader of bytes passes over what it has no use for, be it text or not (RFC 7519 §7.2: UTF-8).
        serde_json::from_str(std::str::from_utf8(payload).ok()?).ok()
    }
}

/// An ID token of the environment, expired or not (OpenID Connect Core §3.1.2.1, RP-Initiated Logout 1.0 §2). None for anything else.
pub(crate) async fn id_token_hint(
    core: &Core,
    environment: &Arc<Environment>,
    token: &str,
) -> Result<Option<IdTokenHint>> {
    let payload = match signed_payload(core, &[environment], token).await {
        Ok((_, _, payload)) => payload,
        Err(error) if error.kind() == crate::Kind::Unauthenticated => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(IdTokenHint::of(&payload).filter(|hint| environment.is_issuer(&hint.iss)))
}

pub(super) fn invalid() -> Error {
    Error::unauthenticated("Invalid token")
}
