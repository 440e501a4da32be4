//! A new credential (§7.1). Nothing is decided by who made the authenticator, so of statements only those that the credential's own key
//! has signed are checked; the others are not relied upon.

use super::authenticator::{AuthenticatorData, Flags};
use super::cbor::Item;
use super::{Flaw, LONGEST, Part, Party};
use crate::seal::sha256;

/// A credential that has been made for the relying party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub credential_id: Vec<u8>,
    /// The RP id that it is for.
    pub rp_id: String,
    /// Its key as COSE has it.
    pub public_key: Vec<u8>,
    /// How often the authenticator says that it was used.
    pub counter: u32,
    /// What the authenticator has seen.
    pub flags: Flags,
    /// Model of the authenticator, as it says itself.
    pub aaguid: [u8; 16],
}

/// Checks what an authenticator says of a new credential. The caller has checked the client data.
pub fn register(
    credential_id: &[u8],
    attestation_object: &[u8],
    client_data_json: &[u8],
    party: &Party<'_>,
    must_verify_user: bool,
) -> Result<Registered, Flaw> {
    const MALFORMED: Flaw = Part::Attestation.flaw("is no attestation object");
    if attestation_object.len() > LONGEST {
        return Err(MALFORMED);
    }
    let object = Item::whole(attestation_object).map_err(|_| MALFORMED)?;
    let bytes = object.at("authData").and_then(Item::bytes).ok_or(MALFORMED)?;
    let format = object.at("fmt").and_then(Item::text).ok_or(MALFORMED)?;
    let statement = object.at("attStmt").filter(|item| matches!(item, Item::Map(_))).ok_or(MALFORMED)?;

    let data = AuthenticatorData::read(bytes).map_err(|flaw| Part::Attestation.flaw(flaw.reason))?;
    let rp_id = party.id_of(&data.rp_id_hash).ok_or(Part::Attestation.flaw("is for another relying party"))?;
    data.check_flags(must_verify_user).map_err(|flaw| Part::Attestation.flaw(flaw.reason))?;
    let made = data.credential.ok_or(Part::Attestation.flaw("holds no credential"))?;
    if made.id != credential_id {
        return Err(Part::Attestation.flaw("is of another credential"));
    }
    match format {
        "none" if !statement.is_empty_map() => return Err(Part::Attestation.flaw("has a statement of no format")),
        // §8.2, self attestation.
        "packed" if statement.at("x5c").is_none() => {
            let signature = statement.at("sig").and_then(Item::bytes).unwrap_or_default();
            let signed = [bytes, &sha256(client_data_json)].concat();
            let is_own = statement.at("alg").and_then(Item::int) == Some(made.key.algorithm());
            if !is_own || !made.key.verifies(&signed, signature) {
                return Err(Part::Attestation.flaw("has a statement that the credential's key has not signed"));
            }
        }
        _ => {}
    }
    Ok(Registered {
        credential_id: made.id.to_vec(),
        rp_id: rp_id.to_owned(),
        public_key: made.cose_key.to_vec(),
        counter: data.counter,
        flags: data.flags,
        aaguid: made.aaguid,
    })
}
