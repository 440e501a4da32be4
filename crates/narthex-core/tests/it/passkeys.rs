//! Passkeys: made, used, named, removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use narthex_core::connections::{
    self, Attachment, AttestationChange, AuthenticatorsChange, Change, Conveyance, RelyingParty, TimeoutsChange,
    UserVerification, WebauthnChange,
};
use narthex_core::ids::{CredentialId, EnvId, SessionId, UserId};
use narthex_core::passkeys::{self, Assertion, Begun, NewPasskey, Passkey, Proven};
use narthex_core::schema::Schema;
use narthex_core::sessions::Device;
use narthex_core::testing::authenticator::Authenticator;
use narthex_core::users::Identity;
use narthex_core::{Core, Error, Kind};
use narthex_db::p;
use passkey::authenticator::{UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use passkey::types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use serde_json::{Value, json};
use url::Url;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, Rival, postgres_database, until_it_waits};

const ORIGIN: &str = "https://dev.test";
const SESSION: SessionId = SessionId(1);

/// An environment with passkeys switched on.
async fn people(db: narthex_db::testing::TestDb) -> People {
    let f = People::on(db).await;
    for environment in [f.env(), f.node.prd.id] {
        switch(&f, environment, true).await;
    }
    f
}

async fn switch(f: &People, environment: EnvId, enabled: bool) {
    let known = connections::webauthn(f.core(), environment).await.unwrap().expect("a connection");
    connections::set_enabled(f.core(), environment, known.id, enabled).await.expect("switched");
}

/// Changes the settings of passkeys.
async fn configure(f: &People, change: WebauthnChange) {
    let known = connections::webauthn(f.core(), f.env()).await.unwrap().expect("a connection");
    let change = Change { webauthn: Some(change), ..Change::default() };
    connections::update(f.core(), f.env(), known.id, None, change).await.expect("changed");
}

async fn options(f: &People, user: UserId) -> Value {
    passkeys::begin_registration(f.core(), f.environment(), user, SESSION).await.expect("options")
}

async fn register(f: &People, user: UserId, new: NewPasskey) -> Result<Passkey, Error> {
    passkeys::finish_registration(f.core(), f.environment(), user, SESSION, new).await
}

/// A user with a passkey.
async fn ann(f: &People) -> (UserId, Authenticator, Passkey) {
    let acme = f.organization("Acme").await;
    let ann = f.member(acme, "Ann@example.com").await.user.id;
    let mut authenticator = Authenticator::new(&f.core().random);
    let new = authenticator.create(&options(f, ann).await, ORIGIN);
    let passkey = register(f, ann, new).await.expect("a passkey");
    (ann, authenticator, passkey)
}

async fn begin(f: &People) -> Begun {
    passkeys::begin_authentication(f.core(), f.environment(), None).await.expect("a challenge")
}

async fn finish(f: &People, given: Assertion) -> Result<Proven, Error> {
    passkeys::finish_authentication(f.core(), f.environment(), given).await
}

async fn log_in(f: &People, authenticator: &Authenticator) -> Result<Proven, Error> {
    let begun = begin(f).await;
    finish(f, authenticator.get(&begun, ORIGIN)).await
}

async fn redeem(core: &Arc<Core>, f: &People, token: &str) -> Option<UserId> {
    let (environment, now, token) = (f.env(), core.clock.now(), token.to_owned());
    let redeemed: Result<_, Error> =
        core.db.write(async move |tx| passkeys::redeem(tx, environment, &token, now).await).await;
    redeemed.expect("no failure").map(|redeemed: passkeys::Redeemed| redeemed.user)
}

#[track_caller]
fn assert_code<T>(result: Result<T, Error>, code: &str) {
    let error = result.err().expect("refused");
    assert_eq!((error.kind(), error.code()), (Kind::InvalidArgument, code), "{error:?}");
}

const STALE: &str = "PASSKEY_CHALLENGE_STALE";
const REFUSED: &str = "PASSKEY_REFUSED";
const UNKNOWN: &str = "PASSKEY_UNKNOWN";

/// Somebody who is there and proves it.
struct Person;

#[async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = passkey::types::Passkey;

    async fn check_user<'a>(
        &self,
        _hint: UiHint<'a, Self::PasskeyItem>,
        _presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn wan_02_somebody_else_s_client_makes_a_passkey_and_signs_in_without_an_address(db: TestDb) {
        let f = people(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let store: Option<passkey::types::Passkey> = None;
        let authenticator =
            passkey::authenticator::Authenticator::new(Aaguid::new_empty(), store, Person, RustCryptoBackend);
        let mut client = Client::new(authenticator);
        let origin = Url::parse(ORIGIN).unwrap();

        let given: CredentialCreationOptions =
            serde_json::from_value(json!({"publicKey": options(&f, ann).await})).expect("options in the standard form");
        let made = client.register(&origin, given, DefaultClientData).await.expect("a credential");
        let new = NewPasskey {
            credential_id: made.raw_id.to_vec(),
            attestation_object: made.response.attestation_object.to_vec(),
            client_data_json: made.response.client_data_json.to_vec(),
            ..NewPasskey::default()
        };
        let passkey = register(&f, ann, new).await.expect("a passkey");
        assert_eq!((passkey.user, passkey.rp_id.as_str(), passkey.flags.user_verified), (ann, "dev.test", true));

        let begun = begin(&f).await;
        let given: CredentialRequestOptions =
            serde_json::from_value(json!({"publicKey": begun.options})).expect("options in the standard form");
        let found = client.authenticate(&origin, given, DefaultClientData).await.expect("an assertion");
        let assertion = Assertion {
            session_id: begun.session_id,
            credential_id: found.raw_id.to_vec(),
            kind: String::new(),
            authenticator_data: found.response.authenticator_data.to_vec(),
            client_data_json: found.response.client_data_json.to_vec(),
            signature: found.response.signature.to_vec(),
            user_handle: found.response.user_handle.expect("a discoverable credential").to_vec(),
        };
        let proven = finish(&f, assertion).await.expect("signed in");
        assert_eq!((proven.user, proven.passkey), (ann, passkey.id));
        assert_eq!(redeem(f.core(), &f, proven.session_token.expose()).await, Some(ann));
    }

    async fn wan_10_a_passkey_says_where_and_by_what_it_was_made(db: TestDb) {
        let f = people(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let asked = options(&f, ann).await;
        assert_eq!(asked["rp"], json!({"id": "dev.test", "name": f.environment().display_name}));
        assert_eq!((&asked["user"]["name"], &asked["user"]["displayName"]), (&json!("ann@example.com"), &json!("ann@example.com")));
        assert_eq!(asked["authenticatorSelection"]["residentKey"], "required");
        assert_eq!((&asked["attestation"], &asked["timeout"], &asked["excludeCredentials"]), (&json!("none"), &json!(300_000), &json!([])));
        assert_eq!(asked["pubKeyCredParams"].as_array().unwrap().len(), 3);

        let mut authenticator = Authenticator::new(&f.core().random);
        let device = Device { browser: "Firefox".into(), os: "Linux".into(), ip: "192.0.2.1".into(), ..Device::default() };
        let mut new = NewPasskey { device: device.clone(), ..authenticator.create(&asked, ORIGIN) };
        new.transports.extend(["internal".into(), "telepathy".into()]);
        let made = register(&f, ann, new).await.unwrap();
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap(), std::slice::from_ref(&made), "as it is stored");
        assert_eq!((made.authenticator(), made.aaguid_text().as_str()), ("Google Password Manager", "ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4"));
        assert_eq!((made.transports.as_slice(), made.attachment.as_str()), (&["hybrid".to_owned(), "internal".into()][..], "platform"));
        assert_eq!((made.device, made.display_name, made.last_used_at), (device, None, None));
        assert!(made.flags.user_present && made.flags.user_verified && made.flags.backup_eligible && made.flags.backed_up);

        // The next authenticator learns that this one has a passkey already.
        let known = &options(&f, ann).await["excludeCredentials"][0];
        assert_eq!((&known["id"], &known["transports"]), (&json!(passkeys::base64url(&made.credential_id)), &json!(["hybrid", "internal"])));

        f.core().clock.advance(Duration::from_hours(1));
        authenticator.flags &= !0x10;
        log_in(&f, &authenticator).await.unwrap();
        let used = passkeys::list(f.core(), f.env(), ann).await.unwrap().remove(0);
        assert!(used.last_used_at.is_some_and(|at| at > used.created_at) && !used.flags.backed_up, "{used:?}");
    }

    async fn wan_07_a_challenge_to_make_a_passkey_is_good_once_in_its_session_and_for_its_time(db: TestDb) {
        let f = people(db).await;
        let (ann, _, _) = ann(&f).await;
        let asked = options(&f, ann).await;
        let random = &f.core().random;
        let another = passkeys::finish_registration(
            f.core(), f.environment(), ann, SessionId(2), Authenticator::new(random).create(&asked, ORIGIN));
        assert_code(another.await, STALE);
        register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await.unwrap();
        assert_code(register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await, STALE);
        let asked = options(&f, ann).await;
        f.core().clock.advance(Duration::from_mins(5));
        assert_code(register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await, STALE);
        // One for a login makes no passkey, nor does one that nobody made.
        let begun = begin(&f).await;
        let mut asked = options(&f, ann).await;
        asked["challenge"] = begun.options["challenge"].clone();
        assert_code(register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await, STALE);
        for forged in ["", "AAAA", &"A".repeat(200)] {
            asked["challenge"] = forged.into();
            assert_code(register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await, STALE);
        }
        let elsewhere = passkeys::begin_registration(f.core(), &f.node.prd, UserId(1), SESSION).await;
        assert_not_found(elsewhere);
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap().len(), 2);
    }

    async fn wan_07_a_passkey_made_at_another_origin_or_for_another_party_is_refused(db: TestDb) {
        let f = people(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let random = &f.core().random;
        for origin in ["https://evil.test", "https://prd.test", "http://dev.test", "https://dev.test:8443"] {
            let asked = options(&f, ann).await;
            assert_invalid(register(&f, ann, Authenticator::new(random).create(&asked, origin)).await, "client_data_json");
        }
        let mut asked = options(&f, ann).await;
        let mut framed = Authenticator::new(random);
        framed.cross_origin = true;
        assert_invalid(register(&f, ann, framed.create(&asked, ORIGIN)).await, "client_data_json");
        asked["rp"]["id"] = "prd.test".into();
        assert_invalid(register(&f, ann, Authenticator::new(random).create(&asked, ORIGIN)).await, "attestation_object");
        let asked = options(&f, ann).await;
        let mut other_id = Authenticator::new(random).create(&asked, ORIGIN);
        other_id.credential_id[0] ^= 1;
        assert_invalid(register(&f, ann, other_id).await, "attestation_object");
        let typed = NewPasskey { kind: "password".into(), ..Authenticator::new(random).create(&asked, ORIGIN) };
        assert_invalid(register(&f, ann, typed).await, "type");
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap(), []);
    }

    async fn wan_07_nobody_takes_a_passkey_over_by_registering_its_id(db: TestDb) {
        let f = people(db).await;
        let (_, ann, _) = ann(&f).await;
        let other = f.organization("Other").await;
        let bob = f.member(other, "bob@example.com").await.user.id;
        let mut stranger = Authenticator::new(&f.core().random);
        stranger.id.clone_from(&ann.id);
        let new = stranger.create(&options(&f, bob).await, ORIGIN);
        assert_invalid(register(&f, bob, new).await, "credential_id");
        assert!(log_in(&f, &ann).await.is_ok());
        assert_code(log_in(&f, &stranger).await, REFUSED);
    }

    async fn wan_07_a_challenge_to_sign_in_is_good_once_and_for_its_time(db: TestDb) {
        let f = people(db).await;
        let (_, authenticator, _) = ann(&f).await;
        let begun = begin(&f).await;
        let assertion = authenticator.get(&begun, ORIGIN);
        finish(&f, assertion.clone()).await.unwrap();
        assert_code(finish(&f, assertion).await, STALE);
        assert_code(finish(&f, authenticator.get(&begun, ORIGIN)).await, STALE);

        let (one, other) = (begin(&f).await, begin(&f).await);
        let crossed = Begun { session_id: one.session_id.clone(), options: other.options };
        assert_code(finish(&f, authenticator.get(&crossed, ORIGIN)).await, STALE);
        f.core().clock.advance(Duration::from_mins(5));
        assert_code(finish(&f, authenticator.get(&one, ORIGIN)).await, STALE);
        let foreign = passkeys::begin_authentication(f.core(), &f.node.prd, None).await.unwrap();
        assert_code(finish(&f, authenticator.get(&foreign, ORIGIN)).await, STALE);
        // What is written down of answers goes when their challenges are long over.
        assert_eq!(f.number("SELECT COUNT(*) FROM passkey_answers").await, 2);
        f.core().clock.advance(Duration::from_mins(15));
        narthex_core::jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM passkey_answers").await, 0);
        assert_eq!(f.number("SELECT COUNT(*) FROM passkey_proofs").await, 0);
    }

    async fn wan_07_an_assertion_of_another_page_person_or_party_proves_nothing(db: TestDb) {
        let f = people(db).await;
        let (ann, mut authenticator, passkey) = ann(&f).await;
        let begun = begin(&f).await;
        for origin in ["https://evil.test", "https://prd.test", "http://dev.test"] {
            assert_invalid(finish(&f, authenticator.get(&begun, origin)).await.map(|_| ()), "response.client_data_json");
        }
        authenticator.cross_origin = true;
        assert_invalid(finish(&f, authenticator.get(&begun, ORIGIN)).await.map(|_| ()), "response.client_data_json");
        authenticator.cross_origin = false;
        authenticator.rp_id = "prd.test".into();
        assert_invalid(finish(&f, authenticator.get(&begun, ORIGIN)).await.map(|_| ()), "response.authenticator_data");
        authenticator.rp_id = "dev.test".into();
        authenticator.flags = 0x04;
        assert_invalid(finish(&f, authenticator.get(&begun, ORIGIN)).await.map(|_| ()), "response.authenticator_data");
        // Whether it can be copied never changes for one passkey.
        authenticator.flags = 0x05;
        assert_code(log_in(&f, &authenticator).await, REFUSED);
        authenticator.flags = 0x1d;

        let mut given = authenticator.get(&begun, ORIGIN);
        given.user_handle = passkeys::user_handle(UserId(ann.0 + 1)).into_bytes();
        assert_code(finish(&f, given).await, REFUSED);
        let mut given = authenticator.get(&begun, ORIGIN);
        given.user_handle.clear();
        assert_code(finish(&f, given).await, REFUSED);
        let mut given = authenticator.get(&begun, ORIGIN);
        given.signature[9] ^= 1;
        assert_code(finish(&f, given).await, REFUSED);
        let mut given = authenticator.get(&begun, ORIGIN);
        given.credential_id[0] ^= 1;
        assert_code(finish(&f, given).await, UNKNOWN);
        // None of these has used the challenge up, nor been taken for a use.
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap(), [passkey]);
        assert!(finish(&f, authenticator.get(&begun, ORIGIN)).await.is_ok());
    }

    async fn wan_07_with_an_address_only_its_owner_s_passkey_will_do_and_no_answer_tells_whether_there_is_one(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, _) = ann(&f).await;
        let named = async |email: &'static str| {
            passkeys::begin_authentication(f.core(), f.environment(), Some(email)).await.unwrap()
        };
        let (known, unknown) = (named("ann@EXAMPLE.com").await, named("bob@example.com").await);
        let shape = |begun: &Begun| {
            let mut options = begun.options.clone();
            let challenge = options["challenge"].take();
            (options, challenge.as_str().unwrap().len(), begun.session_id.len())
        };
        assert_eq!(shape(&known), shape(&unknown));
        assert_eq!(known.options["allowCredentials"], json!([]));
        assert_code(finish(&f, authenticator.get(&unknown, ORIGIN)).await, REFUSED);
        assert_eq!(finish(&f, authenticator.get(&known, ORIGIN)).await.unwrap().user, ann);
    }

    async fn wan_07_a_counter_that_goes_backwards_is_refused_and_the_refusal_is_kept(db: TestDb) {
        let f = people(db).await;
        let (_, mut authenticator, _) = ann(&f).await;
        for counter in [5, 6, 0, 9] {
            authenticator.counter = counter;
            assert!(log_in(&f, &authenticator).await.is_ok(), "{counter}");
        }
        for (at, counter) in [(1, 9), (2, 8), (3, 1)] {
            authenticator.counter = counter;
            let begun = begin(&f).await;
            let assertion = authenticator.get(&begun, ORIGIN);
            assert_code(finish(&f, assertion.clone()).await, REFUSED);
            assert_eq!(f.number("SELECT refusals FROM passkeys WHERE refused_at IS NOT NULL").await, at);
            assert_code(finish(&f, assertion).await, STALE);
        }
        assert_eq!(f.number("SELECT counter FROM passkeys").await, 9);
        authenticator.counter = 10;
        assert!(log_in(&f, &authenticator).await.is_ok());
    }

    async fn wan_07_what_a_passkey_proves_is_taken_once_and_soon(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, _) = ann(&f).await;
        let token = log_in(&f, &authenticator).await.unwrap().session_token.expose().clone();
        let (prd, now, given) = (f.node.prd.id, f.core().clock.now(), token.clone());
        let elsewhere: Result<_, Error> =
            f.core().db.write(async move |tx| passkeys::redeem(tx, prd, &given, now).await).await;
        assert_eq!(elsewhere.unwrap(), None);
        for bad in ["", "x", &token[1..], &token.to_lowercase()] {
            assert_eq!(redeem(f.core(), &f, bad).await, None);
        }
        assert_eq!(redeem(f.core(), &f, &token).await, Some(ann));
        assert_eq!(redeem(f.core(), &f, &token).await, None);
        let token = log_in(&f, &authenticator).await.unwrap().session_token;
        f.core().clock.advance(Duration::from_mins(2));
        assert_eq!(redeem(f.core(), &f, token.expose()).await, None);
    }

    async fn wan_07_of_many_answers_to_one_challenge_one_counts(db: TestDb) {
        let f = Arc::new(people(db).await);
        let (_, authenticator, _) = ann(&f).await;
        let begun = begin(&f).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (f, assertion) = (f.clone(), authenticator.get(&begun, ORIGIN));
            tasks.spawn(async move { finish(&f, assertion).await });
        }
        let mut proven = Vec::new();
        for result in tasks.join_all().await {
            match result {
                Ok(one) => proven.push(one),
                Err(error) => assert_eq!(error.code(), STALE, "{error:?}"),
            }
        }
        assert_eq!(proven.len(), 1);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (f, token) = (f.clone(), proven[0].session_token.expose().clone());
            tasks.spawn(async move { redeem(&f.core().clone(), &f, &token).await });
        }
        assert_eq!(tasks.join_all().await.iter().flatten().count(), 1);
    }

    async fn wan_04_a_deleted_passkey_is_refused_at_once(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, passkey) = ann(&f).await;
        let under_way = begin(&f).await;
        let proven = log_in(&f, &authenticator).await.unwrap();
        assert_not_found(passkeys::delete(f.core(), f.env(), Some(UserId(1)), passkey.id).await);
        assert_not_found(passkeys::delete(f.core(), f.node.prd.id, None, passkey.id).await);
        let gone = passkeys::delete(f.core(), f.env(), Some(ann), passkey.id).await.unwrap();
        assert_eq!(gone.id, passkey.id);
        assert_code(finish(&f, authenticator.get(&under_way, ORIGIN)).await, UNKNOWN);
        assert_eq!(redeem(f.core(), &f, proven.session_token.expose()).await, None, "not even what it had proven");
        assert_not_found(passkeys::delete(f.core(), f.env(), Some(ann), passkey.id).await);
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap(), []);
    }

    async fn wan_04_with_a_user_go_the_passkeys(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, _) = ann(&f).await;
        for _ in 0..3 {
            let new = Authenticator::new(&f.core().random).create(&options(&f, ann).await, ORIGIN);
            register(&f, ann, new).await.unwrap();
        }
        let (under_way, asked) = (begin(&f).await, options(&f, ann).await);
        let proven = log_in(&f, &authenticator).await.unwrap();
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM passkeys").await, 0);
        assert_code(finish(&f, authenticator.get(&under_way, ORIGIN)).await, UNKNOWN);
        assert_eq!(redeem(f.core(), &f, proven.session_token.expose()).await, None);
        let late = Authenticator::new(&f.core().random).create(&asked, ORIGIN);
        assert_not_found(register(&f, ann, late).await);
        assert_not_found(passkeys::list(f.core(), f.env(), ann).await);
    }

    async fn wan_03_passkeys_are_listed_newest_first_and_named(db: TestDb) {
        let f = people(db).await;
        let (ann, _, first) = ann(&f).await;
        let new = Authenticator::new(&f.core().random).create(&options(&f, ann).await, ORIGIN);
        let second = register(&f, ann, new).await.unwrap();
        let listed = passkeys::list(f.core(), f.env(), ann).await.unwrap();
        assert_eq!(listed.iter().map(|passkey| passkey.id).collect::<Vec<_>>(), [second.id, first.id]);
        let rename = async |environment, owner, id| {
            passkeys::rename(f.core(), environment, owner, id, "The blue one".into()).await
        };
        assert_not_found(rename(f.env(), Some(UserId(1)), first.id).await);
        assert_not_found(rename(f.node.prd.id, None, first.id).await);
        assert_not_found(rename(f.env(), None, CredentialId(1)).await);
        f.core().clock.advance(Duration::from_secs(1));
        let named = rename(f.env(), Some(ann), first.id).await.unwrap();
        assert_eq!(named.display_name.as_deref(), Some("The blue one"));
        assert!(named.updated_at > first.updated_at);
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap(), [second, named]);
        assert_not_found(passkeys::list(f.core(), f.node.prd.id, ann).await);
    }

    async fn wan_05_passkeys_that_are_switched_off_are_neither_made_nor_used(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, _) = ann(&f).await;
        let (under_way, asked) = (begin(&f).await, options(&f, ann).await);
        switch(&f, f.env(), false).await;
        let off = |error: Error| assert_eq!((error.kind(), error.code()), (Kind::FailedPrecondition, "PASSKEYS_OFF"));
        off(passkeys::begin_registration(f.core(), f.environment(), ann, SESSION).await.unwrap_err());
        off(register(&f, ann, Authenticator::new(&f.core().random).create(&asked, ORIGIN)).await.unwrap_err());
        off(passkeys::begin_authentication(f.core(), f.environment(), None).await.unwrap_err());
        off(finish(&f, authenticator.get(&under_way, ORIGIN)).await.err().unwrap());
        assert_eq!(passkeys::list(f.core(), f.env(), ann).await.unwrap().len(), 1, "seen and removed all the same");
        assert_eq!(passkeys::related_origins(f.core(), f.environment()).await.unwrap(), [ORIGIN]);
        switch(&f, f.env(), true).await;
        assert!(log_in(&f, &authenticator).await.is_ok());
    }

    async fn wan_05_settings_are_what_browsers_are_asked_and_answers_are_held_against(db: TestDb) {
        let f = people(db).await;
        let (ann, mut authenticator, _) = ann(&f).await;
        let text = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
        let strict = WebauthnChange {
            rp: Some(RelyingParty { ids: text(&["auth.test", "dev.test"]), origins: text(&["https://login.auth.test", ORIGIN]) }),
            attestation: Some(AttestationChange { conveyance_preference: Some(Conveyance::Direct), ..AttestationChange::default() }),
            user_verification: Some(UserVerification::Required),
            authenticator_attachment: Some(Attachment::CrossPlatform),
            timeout: TimeoutsChange { registration: Some(120_000), login: Some(180_000), ..TimeoutsChange::default() },
            ..WebauthnChange::default()
        };
        configure(&f, strict).await;
        let asked = options(&f, ann).await;
        let selection = &asked["authenticatorSelection"];
        assert_eq!((&asked["rp"]["id"], &asked["attestation"], &asked["timeout"]), (&json!("auth.test"), &json!("direct"), &json!(120_000)));
        assert_eq!((&selection["userVerification"], &selection["authenticatorAttachment"]), (&json!("required"), &json!("cross-platform")));
        let begun = begin(&f).await;
        assert_eq!((&begun.options["rpId"], &begun.options["timeout"]), (&json!("auth.test"), &json!(180_000)));
        assert_eq!(begun.options["userVerification"], "required");

        let mut unsure = Authenticator::new(&f.core().random);
        unsure.flags &= !0x04;
        assert_invalid(register(&f, ann, unsure.create(&asked, ORIGIN)).await, "attestation_object");
        let mut sure = Authenticator::new(&f.core().random);
        let made = register(&f, ann, sure.create(&asked, "https://login.auth.test")).await.unwrap();
        assert_eq!((made.rp_id.as_str(), made.conveyance.as_str()), ("auth.test", "direct"));
        let late = options(&f, ann).await;
        f.core().clock.advance(Duration::from_mins(2));
        assert_code(register(&f, ann, Authenticator::new(&f.core().random).create(&late, ORIGIN)).await, STALE);

        // Passkeys of the old host go on working, from the new origin too.
        let begun = begin(&f).await;
        assert!(finish(&f, authenticator.get(&begun, "https://login.auth.test")).await.is_ok());
        assert!(log_in(&f, &sure).await.is_ok());
        // But none of one host is good for the other.
        sure.rp_id = "dev.test".into();
        assert_invalid(log_in(&f, &sure).await.map(|_| ()), "response.authenticator_data");
        authenticator.flags &= !0x04;
        assert_invalid(log_in(&f, &authenticator).await.map(|_| ()), "response.authenticator_data");
        let begun = begin(&f).await;
        f.core().clock.advance(Duration::from_mins(3));
        assert_code(finish(&f, authenticator.get(&begun, ORIGIN)).await, STALE);
        assert_eq!(passkeys::related_origins(f.core(), f.environment()).await.unwrap(), ["https://login.auth.test", ORIGIN]);
        assert_eq!(passkeys::rp_id(f.core(), f.environment()).await.unwrap(), "auth.test");

        // A host that is given up takes its passkeys along.
        let only = RelyingParty { ids: text(&["auth.test"]), origins: text(&["https://login.auth.test"]) };
        configure(&f, WebauthnChange { rp: Some(only), ..WebauthnChange::default() }).await;
        authenticator.flags |= 0x04;
        let begun = begin(&f).await;
        let given_up = finish(&f, authenticator.get(&begun, "https://login.auth.test")).await;
        assert_invalid(given_up.map(|_| ()), "response.authenticator_data");

        let lax = TimeoutsChange { registration_uvd: Some(600_000), login_uvd: Some(900_000), ..TimeoutsChange::default() };
        configure(&f, WebauthnChange { user_verification: Some(UserVerification::Discouraged), timeout: lax, ..WebauthnChange::default() }).await;
        assert_eq!((&options(&f, ann).await["timeout"], &begin(&f).await.options["timeout"]), (&json!(600_000), &json!(900_000)));
    }

    async fn wan_05_checks_that_nobody_can_make_let_no_passkey_in(db: TestDb) {
        let f = people(db).await;
        let (ann, authenticator, _) = ann(&f).await;
        let asked = options(&f, ann).await;
        let checks = AuthenticatorsChange { validate_entry: Some(true), ..AuthenticatorsChange::default() };
        configure(&f, WebauthnChange { authenticators: Some(checks), ..WebauthnChange::default() }).await;
        let kind = |error: Error| assert_eq!(error.kind(), Kind::FailedPrecondition);
        kind(passkeys::begin_registration(f.core(), f.environment(), ann, SESSION).await.unwrap_err());
        kind(register(&f, ann, Authenticator::new(&f.core().random).create(&asked, ORIGIN)).await.unwrap_err());
        assert!(log_in(&f, &authenticator).await.is_ok());
    }

    async fn wan_03_a_user_has_a_bounded_number_of_passkeys(db: TestDb) {
        let f = people(db).await;
        let (ann, _, first) = ann(&f).await;
        let asked = options(&f, ann).await;
        let row = first.id.0;
        for i in 1..i64::try_from(passkeys::MOST).unwrap() {
            let copied = async move |tx: &mut narthex_db::Tx| {
                let sql = "INSERT INTO passkeys (id, environment_id, user_id, credential_id, rp_id, public_key, counter, flags, aaguid, \
                           conveyance, transports, attachment, device, created_at, updated_at) \
                           SELECT id + $1, environment_id, user_id, $2, rp_id, public_key, counter, flags, aaguid, conveyance, transports, \
                           attachment, device, created_at, updated_at FROM passkeys WHERE id = $3";
                tx.execute(sql, &p![i, i.to_be_bytes(), row]).await
            };
            f.core().db.write(copied).await.unwrap();
        }
        let full = |error: Error| assert_eq!(error.kind(), Kind::FailedPrecondition);
        full(passkeys::begin_registration(f.core(), f.environment(), ann, SESSION).await.unwrap_err());
        full(register(&f, ann, Authenticator::new(&f.core().random).create(&asked, ORIGIN)).await.unwrap_err());
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM passkeys").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wan_04_a_login_that_meets_the_deletion_of_its_passkey_is_refused() {
    let Some(db) = postgres_database().await else { return };
    let f = Arc::new(people(db).await);
    let (_, authenticator, passkey) = ann(&f).await;
    let url = f.node.database.options().url.clone();
    let rival = Rival::begin(&url, &format!("DELETE FROM passkeys WHERE id = {}", passkey.id.0)).await;
    let begun = begin(&f).await;
    let (owned, assertion) = (f.clone(), authenticator.get(&begun, ORIGIN));
    let login = tokio::spawn(async move { finish(&owned, assertion).await });
    let blocked = until_it_waits(&url, login).await;
    rival.end("COMMIT").await;
    assert_code(blocked.await.unwrap(), REFUSED);
    assert_eq!(f.number("SELECT COUNT(*) FROM passkey_proofs").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wan_07_a_counter_that_another_login_has_moved_meanwhile_is_looked_at_again() {
    let Some(db) = postgres_database().await else { return };
    let f = Arc::new(people(db).await);
    let (_, mut authenticator, passkey) = ann(&f).await;
    authenticator.counter = 5;
    let url = f.node.database.options().url.clone();
    let rival = Rival::begin(&url, &format!("UPDATE passkeys SET counter = 7 WHERE id = {}", passkey.id.0)).await;
    let begun = begin(&f).await;
    let (owned, assertion) = (f.clone(), authenticator.get(&begun, ORIGIN));
    let login = tokio::spawn(async move { finish(&owned, assertion).await });
    let blocked = until_it_waits(&url, login).await;
    rival.end("COMMIT").await;
    assert_code(blocked.await.unwrap(), REFUSED);
    assert_eq!(f.number("SELECT refusals FROM passkeys").await, 1);
    assert_eq!(f.number("SELECT counter FROM passkeys").await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_10_a_passkey_that_one_node_deletes_is_refused_by_the_other() {
    let Some(db) = postgres_database().await else { return };
    let f = people(db).await;
    let other = f.node.second_node().await.expect("a second node");
    let (ann, authenticator, passkey) = ann(&f).await;
    let begin = async || passkeys::begin_authentication(&other, f.environment(), None).await.expect("a challenge");
    let (first, under_way) = (begin().await, begin().await);
    let given = authenticator.get(&first, ORIGIN);
    let proven = passkeys::finish_authentication(&other, f.environment(), given).await.expect("a login there");
    passkeys::delete(f.core(), f.env(), Some(ann), passkey.id).await.expect("deleted here");
    let given = authenticator.get(&under_way, ORIGIN);
    assert_code(passkeys::finish_authentication(&other, f.environment(), given).await, UNKNOWN);
    assert_eq!(redeem(&other, &f, proven.session_token.expose()).await, None, "not even what it had proven");
    other.close().await;
}
