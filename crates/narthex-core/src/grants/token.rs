//! Refresh tokens: `rt_`, 22 characters that all tokens of a grant share, 43 that each has for itself.
//!
//! The shared part finds the grant, so that a token that was used long ago is still known for one, without a row for each. A token's
//! successor follows from it and a salt in the row: requests that were sent twice get the same one. The database alone, without the
//! token before, leads to no token.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::core::Core;
use crate::seal::{Secret, sha256};

const PREFIX: &str = "rt_";
/// Characters of the shared part: about 131 bits.
const FAMILY: usize = 22;
/// Characters of the other: 256 bits in base64url.
const OWN: usize = 43;
/// Bytes of a salt.
const SALT: usize = 16;

/// The first refresh token of a grant.
pub(super) struct NewRefresh {
    family_hash: [u8; 32],
    hash: [u8; 32],
    text: Secret<String>,
}

impl NewRefresh {
    pub(super) fn new(core: &Core) -> Self {
        let family = core.random.base62(FAMILY);
        let own = URL_SAFE_NO_PAD.encode(core.random.bytes::<32>());
        let text = format!("{PREFIX}{family}{own}");
        Self { family_hash: sha256(family.as_bytes()), hash: sha256(text.as_bytes()), text: Secret::new(text) }
    }

    pub(super) const fn family_hash(&self) -> &[u8; 32] {
        &self.family_hash
    }

    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// A refresh token that a client has shown.
pub(super) struct Shown {
    text: Secret<String>,
    hash: [u8; 32],
}

impl Shown {
    /// One that could be a refresh token.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let plain = rest.len() == FAMILY + OWN
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        plain.then(|| Self { hash: sha256(text.as_bytes()), text: Secret::new(text.to_owned()) })
    }

    /// SHA-256 of the part that all tokens of the grant share.
    pub(super) fn family_hash(&self) -> [u8; 32] {
        sha256(&self.text.expose().as_bytes()[PREFIX.len()..PREFIX.len() + FAMILY])
    }

    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The token that takes its place.
    pub(super) fn successor(&self, salt: &[u8]) -> Self {
        let (shared, own) = self.text.expose().split_at(PREFIX.len() + FAMILY);
        let key = hmac::Key::new(hmac::HMAC_SHA256, own.as_bytes());
        let own = URL_SAFE_NO_PAD.encode(hmac::sign(&key, salt).as_ref());
        let text = format!("{shared}{own}");
        Self { hash: sha256(text.as_bytes()), text: Secret::new(text) }
    }

    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// A fresh salt.
pub(super) fn salt(core: &Core) -> [u8; SALT] {
    core.random.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauth_08_a_successor_follows_from_token_and_salt_alone() {
        let first = Shown::parse(&format!("rt_{}{}", "f".repeat(FAMILY), "o".repeat(OWN))).unwrap();
        let (one, same, other) = (first.successor(b"a"), first.successor(b"a"), first.successor(b"b"));
        assert_eq!(one.text(), same.text());
        assert_ne!(one.text(), other.text());
        assert_eq!(one.family_hash(), first.family_hash());
        assert_eq!(Shown::parse(one.text()).unwrap().hash(), one.hash());
    }

    #[test]
    fn oauth_08_what_is_no_refresh_token_is_not_looked_for() {
        for bad in
            ["", "rt_", "rt_x", &"x".repeat(68), &format!("rt_{}", "é".repeat(32)), &format!("rt_{}", "x".repeat(66))]
        {
            assert!(Shown::parse(bad).is_none(), "{bad}");
        }
    }
}
