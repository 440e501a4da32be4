//! A software authenticator: one ES256 passkey, made and used as an honest browser would, and knobs for what is not honest.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::passkeys::{Assertion, Begun, NewPasskey};
use crate::random::Random;
use crate::seal::sha256;

/// User present and verified, backup eligible and backed up.
const SYNCED: u8 = 0x1d;
/// A credential follows.
const ATTESTED: u8 = 0x40;

/// An authenticator with one passkey.
pub struct Authenticator {
    key: EcdsaKeyPair,
    /// Id of the passkey.
    pub id: Vec<u8>,
    /// Whose it is.
    pub user_handle: Vec<u8>,
    /// Whom it was made for.
    pub rp_id: String,
    /// Flags of its answers.
    pub flags: u8,
    /// Counter of its answers; stays unless a test moves it.
    pub counter: u32,
    /// Model.
    pub aaguid: [u8; 16],
    /// What the browser says of the page's frame.
    pub cross_origin: bool,
}

impl Authenticator {
    /// One without a passkey.
    ///
    /// # Panics
    /// If the library cannot make a key.
    pub fn new(random: &Random) -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key"),
            id: random.bytes::<32>().to_vec(),
            user_handle: Vec::new(),
            rp_id: String::new(),
            flags: SYNCED,
            counter: 0,
            aaguid: 0xea9b_8d66_4d01_1d21_3ce4_b6b4_8cb5_75d4_u128.to_be_bytes(),
            cross_origin: false,
        }
    }

    /// Makes the passkey for these options, asked for by a page of `origin`.
    ///
    /// # Panics
    /// If the options are none.
    pub fn create(&mut self, options: &Value, origin: &str) -> NewPasskey {
        options["rp"]["id"].as_str().expect("an RP id").clone_into(&mut self.rp_id);
        self.user_handle = decode(&options["user"]["id"]);
        let data = self.data(ATTESTED, &credential(&self.aaguid, &self.id, &self.cose_key()));
        NewPasskey {
            credential_id: self.id.clone(),
            attestation_object: object("none", &[0xa0], &data),
            client_data_json: self.client_data("webauthn.create", options, origin),
            kind: "public-key".into(),
            transports: vec!["internal".into(), "hybrid".into()],
            attachment: "platform".into(),
            ..NewPasskey::default()
        }
    }

    /// Uses the passkey for these options, asked for by a page of `origin`.
    ///
    /// # Panics
    /// If the options are none.
    pub fn get(&self, begun: &Begun, origin: &str) -> Assertion {
        let (data, client) = (self.data(0, &[]), self.client_data("webauthn.get", &begun.options, origin));
        let signed = [&data[..], &sha256(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("a signature").as_ref().to_vec();
        Assertion {
            session_id: begun.session_id.clone(),
            credential_id: self.id.clone(),
            kind: "public-key".into(),
            authenticator_data: data,
            client_data_json: client,
            signature,
            user_handle: self.user_handle.clone(),
        }
    }

    fn data(&self, bits: u8, rest: &[u8]) -> Vec<u8> {
        authenticator_data(&self.rp_id, self.flags | bits, self.counter, rest)
    }

    fn client_data(&self, kind: &str, options: &Value, origin: &str) -> Vec<u8> {
        let text = json!({
            "type": kind,
            "challenge": options["challenge"],
            "origin": origin,
            "crossOrigin": self.cross_origin,
        });
        text.to_string().into_bytes()
    }

    fn cose_key(&self) -> Vec<u8> {
        es256(self.key.public_key().as_ref())
    }
}

fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("a text")).expect("base64url")
}

fn head(major: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("a short item");
    match u8::try_from(length) {
        Ok(length @ 0..=23) => vec![(major << 5) | length],
        Ok(length) => vec![(major << 5) | 0x18, length],
        Err(_) => [&[(major << 5) | 0x19][..], &length.to_be_bytes()].concat(),
    }
}

/// A CBOR text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

/// CBOR bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

/// A COSE key of an uncompressed point.
pub(crate) fn es256(point: &[u8]) -> Vec<u8> {
    let (x, y) = point[1..].split_at(32);
    [&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21][..], &bytes(x), &[0x22], &bytes(y)].concat()
}

/// Authenticator data.
pub(crate) fn authenticator_data(rp_id: &str, bits: u8, counter: u32, rest: &[u8]) -> Vec<u8> {
    [&sha256(rp_id.as_bytes())[..], &[bits], &counter.to_be_bytes(), rest].concat()
}

/// Attested credential data.
pub(crate) fn credential(aaguid: &[u8; 16], id: &[u8], cose_key: &[u8]) -> Vec<u8> {
    let length = u16::try_from(id.len()).expect("a short id").to_be_bytes();
    [&aaguid[..], &length, id, cose_key].concat()
}

/// An attestation object.
pub(crate) fn object(format: &str, statement: &[u8], data: &[u8]) -> Vec<u8> {
    [&[0xa3][..], &text("fmt"), &text(format), &text("attStmt"), statement, &text("authData"), &bytes(data)].concat()
}
