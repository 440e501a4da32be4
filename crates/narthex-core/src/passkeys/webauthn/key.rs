//! Public keys of credentials, as COSE has them (RFC 9052 §7, RFC 9053, RFC 8230).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};

use super::cbor::Item;
use super::{Flaw, Part};

/// Algorithms that new credentials may have, the preferred one first: ES256, RS256, EdDSA.
pub const ALGORITHMS: [i64; 3] = [-7, -257, -8];

const KTY: i64 = 1;
const ALG: i64 = 3;
/// Curve of a point, modulus of RSA.
const FIRST: i64 = -1;
/// x of a point, exponent of RSA.
const SECOND: i64 = -2;
/// y of a point.
const THIRD: i64 = -3;

/// A key that a signature can be checked with.
#[derive(Debug)]
pub struct PublicKey(Kind);

#[derive(Debug)]
enum Kind {
    Es256(ParsedPublicKey),
    EdDsa(ParsedPublicKey),
    Rs256(RsaPublicKeyComponents<Vec<u8>>),
}

impl PublicKey {
    /// The key of a stored credential.
    pub fn read(cose: &[u8]) -> Result<Self, Flaw> {
        Item::whole(cose).map_err(|_| UNUSABLE).and_then(|item| Self::of_cose(&item))
    }

    pub(super) fn of_cose(item: &Item<'_>) -> Result<Self, Flaw> {
        let number = |label| item.at_int(label).and_then(Item::int);
        let bytes = |label| item.at_int(label).and_then(Item::bytes);
        let point = |label| bytes(label).filter(|coordinate| coordinate.len() == 32);
        let kind = match (number(KTY), number(ALG)) {
            (Some(2), Some(-7)) if number(FIRST) == Some(1) => {
                let (x, y) = point(SECOND).zip(point(THIRD)).ok_or(UNUSABLE)?;
                let uncompressed = [&[4], x, y].concat();
                // A point that is not on the curve is refused here.
                Kind::Es256(ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, uncompressed).map_err(|_| UNUSABLE)?)
            }
            (Some(1), Some(-8)) if number(FIRST) == Some(6) => {
                let x = point(SECOND).ok_or(UNUSABLE)?;
                Kind::EdDsa(ParsedPublicKey::new(&ED25519, x).map_err(|_| UNUSABLE)?)
            }
            (Some(3), Some(-257)) => {
                let (n, e) = bytes(FIRST).zip(bytes(SECOND)).ok_or(UNUSABLE)?;
                let bits = n.len() * 8;
                if !(2_048..=8_192).contains(&bits) || n[0] == 0 || e.is_empty() || e[0] == 0 || e.len() > 5 {
                    return Err(UNUSABLE);
                }
                Kind::Rs256(RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() })
            }
            _ => return Err(UNUSABLE),
        };
        Ok(Self(kind))
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> i64 {
        match self.0 {
            Kind::Es256(_) => -7,
            Kind::EdDsa(_) => -8,
            Kind::Rs256(_) => -257,
        }
    }

    /// Whether the signature of the message is by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Es256(key) | Kind::EdDsa(key) => key.verify_sig(message, signature).is_ok(),
            Kind::Rs256(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
        }
    }
}

const UNUSABLE: Flaw = Part::Attestation.flaw("holds no key of an algorithm that was offered");
