//! A software authenticator of a few lines, so that every part of an answer can be wrong by itself.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::testing::authenticator::{authenticator_data, bytes, credential, es256, object, text};

const ORIGIN: &str = "https://acme.test";
const RP_ID: &str = "acme.test";

fn party() -> (Vec<String>, Vec<String>) {
    (vec!["auth.other.test".into(), RP_ID.into()], vec!["https://auth.other.test".into(), ORIGIN.into()])
}

fn client_data(kind: &str, origin: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(b"a challenge");
    json!({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false, "new": 1})
        .to_string()
        .into_bytes()
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    fn es256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::Es256(key)
    }

    fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    fn rs256() -> Self {
        Self::Rs256(Box::new(RsaKeyPair::from_pkcs8(crate::testing::rsa_key(0)).unwrap()))
    }

    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(key) => es256(key.public_key().as_ref()),
            Self::EdDsa(key) => {
                [&[0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21][..], &bytes(key.public_key().as_ref())].concat()
            }
            Self::Rs256(key) => {
                // SEQUENCE { INTEGER of 257 bytes, the first one 0; INTEGER of 3 bytes }
                let der = key.public_key().as_ref();
                let (n, e) = (&der[9..265], &der[267..]);
                [&[0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20][..], &bytes(n), &[0x21], &bytes(e)].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }
}

const CREATE: &str = "webauthn.create";
const GET: &str = "webauthn.get";

fn made(object: &[u8], must_verify_user: bool) -> Result<Registered, Flaw> {
    let (ids, origins) = party();
    let party = Party { ids: &ids, origins: &origins };
    register(b"an id", object, &client_data(CREATE, ORIGIN), &party, must_verify_user)
}

#[track_caller]
fn assert_flaw<T: std::fmt::Debug>(result: Result<T, Flaw>, part: Part, word: &str) {
    let flaw = result.expect_err("refused");
    assert!(flaw.part == part && flaw.reason.contains(word), "{flaw:?}");
}

#[test]
fn wan_07_a_credential_of_each_algorithm_is_made_and_used() {
    let (ids, origins) = party();
    let party = Party { ids: &ids, origins: &origins };
    for key in [Key::es256(), Key::eddsa(), Key::rs256()] {
        let data = authenticator_data(RP_ID, 0x5d, 9, &credential(&[7; 16], b"an id", &key.cose()));
        let registered = made(&object("none", &[0xa0], &data), true).unwrap();
        let all = Flags { user_present: true, user_verified: true, backup_eligible: true, backed_up: true };
        assert_eq!((registered.flags, registered.counter, registered.aaguid), (all, 9, [7; 16]));
        assert_eq!((registered.rp_id.as_str(), registered.public_key.as_slice()), (RP_ID, key.cose().as_slice()));

        let stored = PublicKey::read(&registered.public_key).unwrap();
        assert!(ALGORITHMS.contains(&stored.algorithm()));
        let (data, client) = (authenticator_data(RP_ID, 0x05, 10, &[]), client_data(GET, ORIGIN));
        let signature = key.sign(&[&data[..], &sha256(&client)].concat());
        let assertion = Assertion { authenticator_data: &data, client_data_json: &client, signature: &signature };
        let asserted = assert(&assertion, &stored, RP_ID, &party, true).unwrap();
        assert_eq!((asserted.counter, asserted.flags.user_verified, asserted.flags.backup_eligible), (10, true, false));

        // Nothing of what was signed can change.
        let other = client_data(GET, "https://auth.other.test");
        let changed = Assertion { client_data_json: &other, ..assertion };
        assert_flaw(assert(&changed, &stored, RP_ID, &party, true), Part::Signature, "not of this");
        let mut further = data.clone();
        further[36] += 1;
        let changed = Assertion { authenticator_data: &further, ..assertion };
        assert_flaw(assert(&changed, &stored, RP_ID, &party, true), Part::Signature, "not of this");
        let changed = Assertion { signature: &[], ..assertion };
        assert_flaw(assert(&changed, &stored, RP_ID, &party, true), Part::Signature, "not of this");
        let stranger = PublicKey::read(&Key::es256().cose()).unwrap();
        assert_flaw(assert(&assertion, &stranger, RP_ID, &party, true), Part::Signature, "not of this");
        // One relying party of an environment is not another.
        assert_flaw(
            assert(&assertion, &stored, "auth.other.test", &party, true),
            Part::AuthenticatorData,
            "relying party",
        );
        let only_other = Party { ids: &ids[..1], origins: &origins };
        assert_flaw(assert(&assertion, &stored, RP_ID, &only_other, true), Part::AuthenticatorData, "relying party");
    }
}

#[test]
fn wan_07_an_assertion_needs_somebody_and_who_it_was_where_that_is_required() {
    let (ids, origins) = party();
    let party = Party { ids: &ids, origins: &origins };
    let key = Key::es256();
    let stored = PublicKey::read(&key.cose()).unwrap();
    let asserted = |bits: u8, rest: &[u8], must: bool| {
        let (data, client) = (authenticator_data(RP_ID, bits, 0, rest), client_data(GET, ORIGIN));
        let signature = key.sign(&[&data[..], &sha256(&client)].concat());
        let assertion = Assertion { authenticator_data: &data, client_data_json: &client, signature: &signature };
        assert(&assertion, &stored, RP_ID, &party, must)
    };
    assert!(asserted(0x01, &[], false).is_ok());
    assert!(asserted(0x81, &[0xa1, 0x61, b'x', 0xf5], false).is_ok(), "extensions");
    assert_flaw(asserted(0x01, &[], true), Part::AuthenticatorData, "not verified");
    assert_flaw(asserted(0x04, &[], false), Part::AuthenticatorData, "nobody");
    assert_flaw(asserted(0x11, &[], false), Part::AuthenticatorData, "copied");
    for (bits, rest) in [(0x01, &[0][..]), (0x81, &[]), (0x81, &[0x01]), (0x81, &[0xa0, 0x00]), (0x41, &[0; 17])] {
        assert_flaw(asserted(bits, rest, false), Part::AuthenticatorData, "no authenticator data");
    }
}

#[test]
fn wan_07_a_new_credential_is_refused_for_each_thing_that_is_wrong_with_it() {
    let key = Key::es256();
    let good = |bits| authenticator_data(RP_ID, bits, 0, &credential(&[7; 16], b"an id", &key.cose()));
    let none = |data: &[u8]| object("none", &[0xa0], data);
    assert!(made(&none(&good(0x41)), false).is_ok());
    assert_flaw(made(&none(&good(0x41)), true), Part::Attestation, "not verified");
    assert_flaw(made(&none(&good(0x40)), false), Part::Attestation, "nobody");
    assert_flaw(made(&none(&good(0x51)), false), Part::Attestation, "copied");
    let foreign = authenticator_data("evil.test", 0x41, 0, &credential(&[7; 16], b"an id", &key.cose()));
    assert_flaw(made(&none(&foreign), false), Part::Attestation, "relying party");
    assert_flaw(made(&none(&authenticator_data(RP_ID, 0x01, 0, &[])), false), Part::Attestation, "no credential");
    let another = authenticator_data(RP_ID, 0x41, 0, &credential(&[7; 16], b"another", &key.cose()));
    assert_flaw(made(&none(&another), false), Part::Attestation, "another credential");
    for id in [&b""[..], &[0; LONGEST_ID + 1]] {
        let data = authenticator_data(RP_ID, 0x41, 0, &credential(&[7; 16], id, &key.cose()));
        assert_flaw(made(&none(&data), false), Part::Attestation, "no authenticator data");
    }
    let trailing = [good(0x41), vec![0]].concat();
    assert_flaw(made(&none(&trailing), false), Part::Attestation, "no authenticator data");
    assert_flaw(made(&object("none", &[0xa1, 0x61, b'x', 0x01], &good(0x41)), false), Part::Attestation, "no format");
    for bad in [
        vec![],
        vec![0xa0],
        [none(&good(0x41)), vec![0]].concat(),
        vec![0x40; LONGEST + 1],
        object("none", &[0x01], &good(0x41)),
    ] {
        assert_flaw(made(&bad, false), Part::Attestation, "no attestation object");
    }
}

#[test]
fn wan_07_keys_of_other_algorithms_and_off_their_curve_are_refused() {
    let Key::Es256(pair) = Key::es256() else { unreachable!() };
    let point = pair.public_key().as_ref().to_vec();
    let point_key = |kty: u8, alg: u8, curve: u8, x: &[u8], y: &[u8]| {
        [&[0xa5, 0x01, kty, 0x03, alg, 0x20, curve, 0x21][..], &bytes(x), &[0x22], &bytes(y)].concat()
    };
    let (x, y) = (&point[1..33], &point[33..]);
    assert!(PublicKey::read(&point_key(2, 0x26, 1, x, y)).is_ok());
    let modulus = |length: usize, first: u8| {
        let n = [&[first][..], &vec![0xff; length - 1]].concat();
        [&[0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20][..], &bytes(&n), &[0x21], &bytes(&[1, 0, 1])].concat()
    };
    assert!(PublicKey::read(&modulus(256, 0x80)).is_ok());
    for bad in [
        point_key(2, 0x26, 1, x, x),
        point_key(2, 0x26, 1, &x[1..], y),
        point_key(2, 0x26, 2, x, y),
        point_key(1, 0x26, 1, x, y),
        point_key(2, 0x27, 1, x, y),
        modulus(128, 0x80),
        modulus(256, 0),
        modulus(1_025, 0x80),
        vec![0xa0],
        vec![],
    ] {
        assert!(PublicKey::read(&bad).is_err(), "{bad:02x?}");
    }
}

#[test]
fn wan_07_self_attestation_is_signed_by_the_credential_and_other_statements_are_not_relied_upon() {
    let (key, stranger) = (Key::es256(), Key::es256());
    let data = authenticator_data(RP_ID, 0x41, 0, &credential(&[7; 16], b"an id", &key.cose()));
    let signed = [&data[..], &sha256(&client_data(CREATE, ORIGIN))].concat();
    let packed =
        |alg: u8, signature: &[u8]| [&[0xa2][..], &text("alg"), &[alg], &text("sig"), &bytes(signature)].concat();
    assert!(made(&object("packed", &packed(0x26, &key.sign(&signed)), &data), false).is_ok());
    for statement in
        [packed(0x26, &stranger.sign(&signed)), packed(0x27, &key.sign(&signed)), packed(0x26, &[]), vec![0xa0]]
    {
        assert_flaw(made(&object("packed", &statement, &data), false), Part::Attestation, "has not signed");
    }
    for format in ["tpm", "apple", "unknown"] {
        assert!(made(&object(format, &[0xa1, 0x61, b'x', 0x01], &data), false).is_ok(), "{format}");
    }
}

#[test]
fn wan_07_client_data_names_ceremony_and_origin_and_no_frame() {
    let (ids, origins) = party();
    let party = Party { ids: &ids, origins: &origins };
    let read =
        |json: &str| ClientData::read(json.as_bytes()).and_then(|data| data.check(Ceremony::Authentication, &party));
    let data = ClientData::read(&client_data(GET, ORIGIN)).unwrap();
    assert_eq!(data.challenge, b"a challenge");
    assert_eq!(data.check(Ceremony::Authentication, &party), Ok(()));
    assert_flaw(data.check(Ceremony::Registration, &party), Part::ClientData, "ceremony");
    for origin in [
        "https://evil.test",
        "https://acme.test.evil.test",
        "https://acme.test:8443",
        "http://acme.test",
        "https://acme.test/",
        "HTTPS://acme.test",
        "",
    ] {
        let json = json!({"type": GET, "challenge": "AA", "origin": origin}).to_string();
        assert_flaw(read(&json), Part::ClientData, "origin");
    }
    for framed in [json!({"crossOrigin": true}), json!({"topOrigin": "https://evil.test"})] {
        let mut json = json!({"type": GET, "challenge": "AA", "origin": ORIGIN});
        json.as_object_mut().unwrap().extend(framed.as_object().unwrap().clone());
        assert_flaw(read(&json.to_string()), Part::ClientData, "frame");
    }
    for bad in [
        String::new(),
        "{}".into(),
        "[]".into(),
        format!(r#"{{"type":"{GET}","challenge":"A+==","origin":"{ORIGIN}"}}"#),
        format!(r#"{{"type":"{GET}","challenge":"AA","origin":"https://evil.test","origin":"{ORIGIN}"}}"#),
        format!(r#"{{"type":"{GET}","challenge":"AA","origin":"{ORIGIN}"}} "x""#),
        format!(r#"{{"type":"{GET}","challenge":"AA","origin":"{ORIGIN}","pad":"{}"}}"#, "x".repeat(8_192)),
    ] {
        assert_flaw(read(&bad), Part::ClientData, "no client data");
    }
}
