//! What a relying party checks of an authenticator's answer (WebAuthn Level 3 §7). Bytes in, decisions out: no I/O, no clock, no state.

mod attestation;
mod authenticator;
mod cbor;
mod client;
mod key;

pub use attestation::{Registered, register};
pub use authenticator::Flags;
pub use client::{Ceremony, ClientData};
pub use key::{ALGORITHMS, PublicKey};

use crate::seal::sha256;
use authenticator::AuthenticatorData;

/// Longest id of a credential (§5.1.3).
pub const LONGEST_ID: usize = 1_023;
/// Longest part of an answer. Statements with chains of certificates have some thousand bytes.
const LONGEST: usize = 65_536;

/// What is wrong with an answer: a part of it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// The part.
    pub part: Part,
    /// Why, for the developer of the page.
    pub reason: &'static str,
}

/// A part of an authenticator's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the browser says of the page.
    ClientData,
    /// What the authenticator says of a new credential.
    Attestation,
    /// What the authenticator says of itself.
    AuthenticatorData,
    /// The proof.
    Signature,
}

impl Part {
    const fn flaw(self, reason: &'static str) -> Flaw {
        Flaw { part: self, reason }
    }
}

/// Whom credentials are for, and where they may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// RP ids.
    pub ids: &'a [String],
    /// Origins of pages.
    pub origins: &'a [String],
}

impl Party<'_> {
    /// The RP id that has this hash.
    fn id_of(&self, hash: &[u8; 32]) -> Option<&str> {
        self.ids.iter().map(String::as_str).find(|id| sha256(id.as_bytes()) == *hash)
    }
}

/// What an authenticator answers to a login.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `clientDataJSON`.
    pub client_data_json: &'a [u8],
    /// `signature`.
    pub signature: &'a [u8],
}

/// What a good assertion says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// What the authenticator has seen.
    pub flags: Flags,
    /// How often it says that the credential was used.
    pub counter: u32,
}

/// Checks an assertion of the credential with this key, made for `rp_id`. The caller has checked the client data, and later compares the
/// counter.
pub fn assert(
    assertion: &Assertion<'_>,
    key: &PublicKey,
    rp_id: &str,
    party: &Party<'_>,
    must_verify_user: bool,
) -> Result<Asserted, Flaw> {
    let data = AuthenticatorData::read(assertion.authenticator_data)?;
    let is_own = party.ids.iter().any(|id| id == rp_id) && data.rp_id_hash == sha256(rp_id.as_bytes());
    if !is_own {
        return Err(Part::AuthenticatorData.flaw("is for another relying party"));
    }
    data.check_flags(must_verify_user)?;
    let signed = [assertion.authenticator_data, &sha256(assertion.client_data_json)].concat();
    if !key.verifies(&signed, assertion.signature) {
        return Err(Part::Signature.flaw("is not of this credential"));
    }
    Ok(Asserted { flags: data.flags, counter: data.counter })
}

#[cfg(test)]
mod tests;
