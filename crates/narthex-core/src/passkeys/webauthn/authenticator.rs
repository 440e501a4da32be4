//! What an authenticator says of itself (§6.1).

use super::cbor::Item;
use super::key::PublicKey;
use super::{Flaw, LONGEST, LONGEST_ID, Part};

const HASH: usize = 32;
/// Hash of the RP id, flags, counter.
const HEAD: usize = HASH + 1 + 4;
const AAGUID: usize = 16;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

/// What an authenticator has seen, and whether it keeps copies of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // the bits of WebAuthn
pub struct Flags {
    /// Somebody touched it.
    pub user_present: bool,
    /// It knows who that was.
    pub user_verified: bool,
    /// The credential may be copied to other devices.
    pub backup_eligible: bool,
    /// It has been.
    pub backed_up: bool,
}

impl Flags {
    /// As the byte of the authenticator data has them.
    pub fn from_bits(bits: u8) -> Self {
        Self {
            user_present: bits & USER_PRESENT != 0,
            user_verified: bits & USER_VERIFIED != 0,
            backup_eligible: bits & BACKUP_ELIGIBLE != 0,
            backed_up: bits & BACKED_UP != 0,
        }
    }

    /// The same byte, without the bits that say how the data goes on.
    pub fn bits(self) -> u8 {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        bit(self.user_present, USER_PRESENT)
            | bit(self.user_verified, USER_VERIFIED)
            | bit(self.backup_eligible, BACKUP_ELIGIBLE)
            | bit(self.backed_up, BACKED_UP)
    }
}

/// The authenticator data.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: [u8; HASH],
    pub(super) flags: Flags,
    pub(super) counter: u32,
    /// The credential that was made.
    pub(super) credential: Option<NewCredential<'a>>,
}

/// A credential that was made.
#[derive(Debug)]
pub(super) struct NewCredential<'a> {
    pub(super) aaguid: [u8; AAGUID],
    pub(super) id: &'a [u8],
    /// The key as COSE has it.
    pub(super) cose_key: &'a [u8],
    pub(super) key: PublicKey,
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        const MALFORMED: Flaw = Part::AuthenticatorData.flaw("is no authenticator data");
        if bytes.len() > LONGEST {
            return Err(MALFORMED);
        }
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(MALFORMED)?;
        let (hash, state) = head.split_at(HASH);
        let bits = state[0];
        let credential = if bits & ATTESTED == 0 {
            None
        } else {
            let (aaguid, after) = rest.split_first_chunk::<AAGUID>().ok_or(MALFORMED)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or(MALFORMED)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > LONGEST_ID {
                return Err(MALFORMED);
            }
            let (id, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
            let (cose, length) = Item::first(after).map_err(|_| MALFORMED)?;
            let key = PublicKey::of_cose(&cose)?;
            let (cose_key, after) = after.split_at(length);
            rest = after;
            Some(NewCredential { aaguid: *aaguid, id, cose_key, key })
        };
        if bits & EXTENDED != 0 {
            let (extensions, length) = Item::first(rest).map_err(|_| MALFORMED)?;
            if !matches!(extensions, Item::Map(_)) {
                return Err(MALFORMED);
            }
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        Ok(Self {
            rp_id_hash: hash.try_into().map_err(|_| MALFORMED)?,
            flags: Flags::from_bits(bits),
            counter: u32::from_be_bytes([state[1], state[2], state[3], state[4]]),
            credential,
        })
    }

    pub(super) fn check_flags(&self, must_verify_user: bool) -> Result<(), Flaw> {
        if !self.flags.user_present {
            return Err(Part::AuthenticatorData.flaw("says that nobody was there"));
        }
        if must_verify_user && !self.flags.user_verified {
            return Err(Part::AuthenticatorData.flaw("says that the user was not verified"));
        }
        if self.flags.backed_up && !self.flags.backup_eligible {
            return Err(Part::AuthenticatorData.flaw("says that what cannot be copied has been"));
        }
        Ok(())
    }
}
