//! Passkeys as browsers, users and applications reach them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use narthex_core::connections::{self, WebauthnChange};
use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::passkeys::{Assertion, Begun, NewPasskey};
use narthex_core::sessions::{self, NewCookie, NewSession};
use narthex_core::testing::authenticator::Authenticator;
use serde_json::{Value, json};

use crate::browser::{Browser as Site, Page, allow, exchange};
use crate::harness::Protocol;
use crate::http::Reply;
use crate::roles::Client;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Somebody's browser, signed in or not.
struct Browser<'a> {
    client: &'a Client,
    cookie: String,
    origin: String,
}

impl<'a> Browser<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, cookie: String::new(), origin: client.harness.running().dev_url.clone() }
    }

    async fn of(client: &'a Client, user: &str, organization: &str) -> Self {
        let core = client.harness.core();
        let cookie = NewCookie::new(core);
        let (user, organization) = (UserId::parse(user).unwrap(), OrganizationId::parse(organization));
        let new = NewSession::browser(user, organization, Duration::from_hours(1));
        let mut session = new.build(core, client.harness.env_id());
        session.cookie_hash = Some(cookie.hash());
        let (row, id) = (session.clone(), session.id);
        core.db.write(async move |tx| sessions::insert(tx, &row).await).await.expect("a session");
        Self { cookie: format!("{}={}", sessions::COOKIE, cookie.value(id).expose()), ..Self::new(client) }
    }

    async fn send(&self, verb: &str, path: &str, body: &Value) -> Reply {
        let request = http::Request::builder()
            .method(verb)
            .uri(format!("{}{path}", self.origin))
            .header("cookie", &self.cookie)
            .header("content-type", "application/json")
            .header("user-agent", FIREFOX)
            .header("sec-fetch-site", "same-origin");
        let body = if verb == "GET" { String::new() } else { body.to_string() };
        self.client.harness.send(&self.origin, Protocol::H1, request, body).await
    }

    #[track_caller]
    fn answer(reply: &Reply) -> Value {
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    async fn add(&self) -> (Authenticator, Value) {
        let options = Self::answer(&self.send("POST", "/api/v1/webauthn/registration:begin", &json!({})).await);
        let mut authenticator = Authenticator::new(&self.client.harness.core().random);
        let made = registration(&authenticator.create(&options["options"], &self.origin));
        let finished = self.send("POST", "/api/v1/webauthn/registration:finish", &made).await;
        assert_eq!(Self::answer(&finished), json!({"success": true}));
        let listed = Self::answer(&self.send("GET", "/api/v1/webauthn/credentials", &json!({})).await);
        (authenticator, listed["credentials"][0].clone())
    }

    async fn begin(&self, body: Value) -> Begun {
        let begun = Self::answer(&self.send("POST", "/api/v1/webauthn/authentication:begin", &body).await);
        Begun { session_id: begun["session_id"].as_str().unwrap().into(), options: begun["options"].clone() }
    }

    async fn log_in(&self, authenticator: &Authenticator) -> Reply {
        let begun = self.begin(json!({})).await;
        let assertion = assertion(&authenticator.get(&begun, &self.origin));
        self.send("POST", "/api/v1/webauthn/authentication:finish", &assertion).await
    }
}

fn registration(made: &NewPasskey) -> Value {
    json!({
        "credential_id": STANDARD.encode(&made.credential_id),
        "attestation_object": STANDARD.encode(&made.attestation_object),
        "client_data_json": STANDARD.encode(&made.client_data_json),
        "type": made.kind,
        "transports": made.transports,
        "authenticator_attachment": made.attachment,
        "client_extension_results": {"credProps": {"rk": true}},
    })
}

fn assertion(given: &Assertion) -> Value {
    json!({
        "session_id": given.session_id,
        "credential_id": STANDARD.encode(&given.credential_id),
        "type": given.kind,
        "response": {
            "authenticator_data": STANDARD.encode(&given.authenticator_data),
            "client_data_json": STANDARD.encode(&given.client_data_json),
            "signature": STANDARD.encode(&given.signature),
            "user_handle": STANDARD.encode(&given.user_handle),
        },
    })
}

/// A server with passkeys switched on.
async fn start() -> Client {
    let client = Client::start().await;
    let (core, environment) = (client.harness.core(), client.harness.env_id());
    let known = connections::webauthn(core, environment).await.unwrap().expect("a connection");
    connections::set_enabled(core, environment, known.id, true).await.expect("switched on");
    client
}

async fn user(client: &Client, organization: &str, email: &str) -> String {
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    made["user"]["id"].as_str().expect("an id").to_owned()
}

fn code(reply: &Reply) -> String {
    reply.json()["details"][0]["error_code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_02_wan_10_a_passkey_is_made_and_used_by_a_browser() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let browser = Browser::of(&client, &ann, &acme).await;
    let begun = Browser::answer(&browser.send("POST", "/api/v1/webauthn/registration:begin", &json!({})).await);
    let options = &begun["options"];
    assert_eq!((&options["rp"]["id"], &options["user"]["name"]), (&json!("localhost"), &json!("ann@example.com")));
    // The numbers are such as a browser takes: it refuses -7.5 and the like, and a script compares with `===`.
    assert_eq!(
        (options["timeout"].as_u64(), options["pubKeyCredParams"][0]["alg"].as_i64()),
        (Some(300_000), Some(-7))
    );

    let (authenticator, row) = browser.add().await;
    assert_eq!(row["credential_id"], STANDARD.encode(&authenticator.id));
    assert_eq!((&row["user_id"], &row["attestation_type"]), (&json!(ann), &json!("none")));
    let model = &row["authenticator"];
    assert_eq!((&model["name"], &model["attachment"]), (&json!("Google Password Manager"), &json!("platform")));
    assert_eq!(model["aaguid"], "ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4");
    let all = json!({"user_present": true, "user_verified": true, "backup_eligible": true, "backup_state": true});
    assert_eq!(row["authenticator_flags"], all);
    let agent = &row["user_agent"];
    assert_eq!((&agent["browser"], &agent["os"], &agent["raw"]), (&json!("Firefox"), &json!("Linux"), &json!(FIREFOX)));
    assert_eq!((&row["client_info"]["ip"], &row["client_info"]["city"]), (&json!("127.0.0.1"), &json!("")));
    assert!(row["id"].as_str().unwrap().starts_with("cred_") && row["created_at"].is_string(), "{row}");
    assert_eq!(row.get("display_name"), None);

    // Nobody is known yet to the browser that signs in.
    let stranger = Browser::new(&client);
    let proven = Browser::answer(&stranger.log_in(&authenticator).await);
    assert_eq!((&proven["success"], &proven["user_id"]), (&json!(true), &json!(ann)));
    assert!(proven["session_token"].as_str().is_some_and(|token| token.len() >= 43), "{proven}");
    let listed = Browser::answer(&browser.send("GET", "/api/v1/webauthn/credentials", &json!({})).await);
    assert_eq!(listed["credentials"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_07_a_login_that_proves_nothing_is_a_bad_request_and_tells_of_no_account() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let (authenticator, _) = Browser::of(&client, &ann, &acme).await.add().await;
    let browser = Browser::new(&client);
    let finish = async |given: &Assertion| {
        browser.send("POST", "/api/v1/webauthn/authentication:finish", &assertion(given)).await
    };
    let begun = browser.begin(json!({"email": "bob@example.com"})).await;
    let refused = finish(&authenticator.get(&begun, &browser.origin)).await;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (400, "PASSKEY_REFUSED"));
    let begun = browser.begin(json!({"email": "ann@example.com"})).await;
    let elsewhere = finish(&authenticator.get(&begun, "https://localhost:1")).await;
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.text());
    assert!(elsewhere.text().contains("response.client_data_json"), "{}", elsewhere.text());
    let mut given = authenticator.get(&begun, &browser.origin);
    given.credential_id = vec![1];
    let unknown = finish(&given).await;
    assert_eq!((unknown.status.as_u16(), code(&unknown).as_str()), (400, "PASSKEY_UNKNOWN"));
    let good = authenticator.get(&begun, &browser.origin);
    assert_eq!(finish(&good).await.status, 200);
    let again = finish(&good).await;
    assert_eq!((again.status.as_u16(), code(&again).as_str()), (400, "PASSKEY_CHALLENGE_STALE"));
    let bare = browser.send("POST", "/api/v1/webauthn/authentication:finish", &json!({"session_id": "x"})).await;
    assert_eq!(bare.status, 400);
    let no_address = browser.send("POST", "/api/v1/webauthn/authentication:begin", &json!({"email": "ann"})).await;
    assert_eq!(no_address.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_03_wan_09_passkeys_are_listed_named_and_deleted_with_a_client_token() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let browser = Browser::of(&client, &ann, &acme).await;
    let list = format!("/api/v1/webauthn/credentials?user_id={ann}");
    let handle = URL_SAFE_NO_PAD.encode(&ann);
    let none = client.ok(200, "GET", &list, None).await;
    let accepted = json!({"rp_id": "localhost", "user_id": handle, "all_accepted_credential_ids": []});
    assert_eq!(none, json!({"credentials": [], "all_accepted_credentials_options": accepted}));

    let (first, _) = browser.add().await;
    let (second, row) = browser.add().await;
    let both = client.ok(200, "GET", &list, None).await;
    assert_eq!((&both["credentials"][0], both["credentials"].as_array().unwrap().len()), (&row, 2));
    let ids = [&second, &first].map(|authenticator| URL_SAFE_NO_PAD.encode(&authenticator.id));
    assert_eq!(both["all_accepted_credentials_options"]["all_accepted_credential_ids"], json!(ids));

    let id = row["id"].as_str().unwrap();
    let path = format!("/api/v1/webauthn/credentials/{id}");
    let named = client.ok(200, "PATCH", &path, Some(json!({"display_name": "Blue key"}))).await;
    assert_eq!((&named["credential"]["display_name"], &named["credential"]["id"]), (&json!("Blue key"), &json!(id)));
    for bad in [json!({}), json!({"display_name": ""}), json!({"display_name": "x".repeat(121)})] {
        client.refused(400, "PATCH", &path, Some(bad)).await;
    }
    client.ok(200, "PATCH", &path, Some(json!({"display_name": "x".repeat(120)}))).await;
    let gone = client.ok(200, "DELETE", &path, None).await;
    let unknown = json!({"rp_id": "localhost", "credential_id": URL_SAFE_NO_PAD.encode(&second.id)});
    assert_eq!(gone, json!({"success": true, "unknown_credential_options": unknown}));
    client.refused(404, "DELETE", &path, None).await;
    client.refused(404, "PATCH", &path, Some(json!({"display_name": "x"}))).await;
    assert_eq!(code(&Browser::new(&client).log_in(&second).await), "PASSKEY_UNKNOWN", "wan_04: at once");
    assert_eq!(Browser::new(&client).log_in(&first).await.status, 200);

    client.refused(400, "GET", "/api/v1/webauthn/credentials", None).await;
    for id in ["usr_1", "ann"] {
        client.refused(404, "GET", &format!("/api/v1/webauthn/credentials?user_id={id}"), None).await;
    }
    for id in ["cred_1", "cred_01", "x"] {
        client.refused(404, "DELETE", &format!("/api/v1/webauthn/credentials/{id}"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctl_06_users_reach_their_own_passkeys_only_and_nobody_makes_one_for_another() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let (ann, bob) = (user(&client, &acme, "ann@example.com").await, user(&client, &acme, "bob@example.com").await);
    let (ann_s, bob_s) = (Browser::of(&client, &ann, &acme).await, Browser::of(&client, &bob, &acme).await);
    let (_, mine) = ann_s.add().await;
    let (bobs, foreign) = bob_s.add().await;
    let status =
        async |verb: &str, path: String| ann_s.send(verb, &path, &json!({"display_name": "Mine"})).await.status;
    let of = |row: &Value| format!("/api/v1/webauthn/credentials/{}", row["id"].as_str().unwrap());
    assert_eq!(status("GET", format!("/api/v1/webauthn/credentials?user_id={ann}")).await, 200);
    assert_eq!(status("GET", format!("/api/v1/webauthn/credentials?user_id={bob}")).await, 403);
    assert_eq!(status("GET", "/api/v1/webauthn/credentials?user_id=usr_1".into()).await, 403);
    for verb in ["PATCH", "DELETE"] {
        assert_eq!(status(verb, of(&foreign)).await, 404);
        assert_eq!(status(verb, of(&mine)).await, 200);
    }
    assert_eq!(Browser::new(&client).log_in(&bobs).await.status, 200);

    // A client token stands for nobody in particular.
    client.refused(403, "POST", "/api/v1/webauthn/registration:begin", Some(json!({}))).await;
    let made = Authenticator::new(&client.harness.core().random)
        .create(&json!({"rp": {"id": "localhost"}, "user": {"id": "AA"}, "challenge": "AA"}), &ann_s.origin);
    client.refused(403, "POST", "/api/v1/webauthn/registration:finish", Some(registration(&made))).await;
    let path = "/scalekit.v1.auth.webauthn.WebAuthnService/BeginRegistration";
    let twin = client.harness.grpc(path, Some(&client.token), &[]).await;
    assert_eq!(twin.error_code(), "PERMISSION_DENIED");
    let anonymous = Browser::new(&client).send("POST", "/api/v1/webauthn/registration:begin", &json!({})).await;
    assert_eq!(anonymous.status, 401);
}

const ANN: &str = "ann+sktest@example.com";
const BEA: &str = "bea+sktest@example.net";

/// A browser's session as its cookie has it.
fn session_of<'a>(client: &'a Client, site: &Site<'_>) -> Browser<'a> {
    let value = site.jar.get(sessions::COOKIE).expect("a session");
    Browser { cookie: format!("{}={value}", sessions::COOKIE), ..Browser::new(client) }
}

/// Goes on with a login by what a passkey proves.
async fn with_passkey(site: &mut Site<'_>, page: &Page, authenticator: &Authenticator, client: &Client) -> Page {
    let proven = Browser::answer(&Browser::new(client).log_in(authenticator).await);
    let token = proven["session_token"].as_str().expect("a token").to_owned();
    site.submit(page, "/a/auth/passkey-login", &[("session_token", &token)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_02_wan_04_a_passkey_signs_in_to_an_application_and_once_only() {
    let client = start().await;
    allow(&client.harness, &[ANN]).await;
    let (acme, beta) = (client.organization("Acme").await, client.organization("Beta").await);
    let ann = user(&client, &acme, ANN).await;
    let (authenticator, row) = Browser::of(&client, &ann, &acme).await.add().await;

    let mut site = Site::new(&client.harness);
    let page = site.authorize(&[]).await;
    assert!(page.html.contains("Continue with Passkey") && page.html.contains("data-conditional"), "{}", page.html);
    assert!(page.html.contains("autocomplete=\"username webauthn\""), "{}", page.html);
    let proven = Browser::answer(&Browser::new(&client).log_in(&authenticator).await);
    let token = proven["session_token"].as_str().unwrap();
    let done = site.submit(&page, "/a/auth/passkey-login", &[("session_token", token)]).await;
    let tokens = exchange(&client.harness, &done.code()).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let payload = tokens.json()["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["oid"], &claims["email"]), (&json!(ann), &json!(acme), &json!(ANN)));
    let known = connections::webauthn(client.harness.core(), client.harness.env_id()).await.unwrap().unwrap();
    assert_eq!(claims["amr"], json!([known.id.to_string()]));

    // What was taken is gone, what nobody was given is nothing, and the login goes on.
    let mut other = Site::new(&client.harness);
    let page = other.authorize(&[]).await;
    for bad in [token, "", "x"] {
        let refused = other.submit(&page, "/a/auth/passkey-login", &[("session_token", bad)]).await;
        assert!(refused.html.contains("The passkey was not accepted"), "{}", refused.html);
        assert_eq!(other.jar.get(sessions::COOKIE), None);
    }
    assert!(with_passkey(&mut other, &page, &authenticator, &client).await.callback().contains_key("code"));
    let again = other.authorize(&[("prompt", "login")]).await;
    assert!(again.html.contains("Last used"), "{}", again.html);

    // Where there is a choice, it is asked for.
    let path = format!("/api/v1/memberships/organizations/{beta}/users/{ann}?send_invitation_email=false");
    client.ok(201, "POST", &path, Some(json!({}))).await;
    let mut third = Site::new(&client.harness);
    let page = third.authorize(&[]).await;
    let page = with_passkey(&mut third, &page, &authenticator, &client).await;
    assert!(page.at.starts_with("/a/auth/organizations"), "{}", page.at);
    let done = third.submit(&page, "/a/auth/organizations", &[("organization", &beta)]).await;
    assert!(done.callback().contains_key("code"));

    // Proven, then deleted: nothing.
    let mut late = Site::new(&client.harness);
    let page = late.authorize(&[]).await;
    let proven = Browser::answer(&Browser::new(&client).log_in(&authenticator).await);
    client.ok(200, "DELETE", &format!("/api/v1/webauthn/credentials/{}", row["id"].as_str().unwrap()), None).await;
    let token = proven["session_token"].as_str().unwrap();
    let refused = late.submit(&page, "/a/auth/passkey-login", &[("session_token", token)]).await;
    assert!(refused.html.contains("The passkey was not accepted"), "{}", refused.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn mrg_01_usr_14_a_mail_and_a_passkey_are_two_identities_of_one_user() {
    let client = start().await;
    allow(&client.harness, &[ANN]).await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, ANN).await;
    let (authenticator, _) = Browser::of(&client, &ann, &acme).await.add().await;
    let of_ann = format!("/api/v1/users/{ann}");
    let before = client.ok(200, "GET", &of_ann, None).await["user"].clone();
    assert!(before.get("last_login_time").is_none(), "{before}");
    assert!(before["user_profile"]["external_identities"].as_array().is_none_or(Vec::is_empty), "{before}");

    Site::new(&client.harness).sign_in(ANN, &[]).await.code();
    for turn in 1..=2 {
        client.harness.clock.advance(std::time::Duration::from_mins(1));
        let mut site = Site::new(&client.harness);
        let page = site.authorize(&[]).await;
        with_passkey(&mut site, &page, &authenticator, &client).await.code();
        let now = client.ok(200, "GET", &of_ann, None).await["user"].clone();
        let identities = now["user_profile"]["external_identities"].as_array().expect("identities").clone();
        assert_eq!(identities.len(), 2, "turn {turn}: {identities:?}");
        let [mail, passkey] = &identities[..] else { panic!("two") };
        assert_eq!((&mail["connection_type"], &mail["connection_user_id"]), (&json!("PASSWORDLESS"), &json!(ANN)));
        assert_eq!((&passkey["connection_type"], &passkey["connection_user_id"]), (&json!("WEBAUTHN"), &json!(ann)));
        assert_eq!(passkey["last_login_time"], now["last_login_time"], "turn {turn}");
        assert_ne!(mail["last_login_time"], now["last_login_time"], "turn {turn}");
        assert!(!mail["is_social"].as_bool().unwrap_or_default());
    }
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], json!(1));
    // A passkey that is new, of a user who has signed in by mail, makes nobody new either.
    let again = Site::new(&client.harness).sign_in(ANN, &[("prompt", "create")]).await;
    assert!(again.callback().contains_key("code"), "a sign-up by an address that is known is a login");
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_02_whoever_belongs_nowhere_gets_in_by_no_passkey() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let (authenticator, _) = Browser::of(&client, &ann, &acme).await.add().await;
    let path = format!("/api/v1/memberships/organizations/{acme}/users/{ann}?cascade=false");
    client.ok(200, "DELETE", &path, None).await;
    let mut site = Site::new(&client.harness);
    let page = site.authorize(&[]).await;
    let refused = with_passkey(&mut site, &page, &authenticator, &client).await;
    assert!(refused.html.contains("The passkey was not accepted"), "{}", refused.html);
    assert_eq!(site.jar.get(sessions::COOKIE), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_02_wan_02_the_button_and_autofill_are_there_where_they_are_switched_on() {
    let client = start().await;
    let (core, environment) = (client.harness.core(), client.harness.env_id());
    let shown = async || Site::new(&client.harness).authorize(&[]).await.html;
    let configure = async |button, conditional| {
        let change = WebauthnChange {
            show_passkey_button: button,
            enable_conditional_login: conditional,
            ..WebauthnChange::default()
        };
        configure(&client, change).await;
    };
    configure(true, false).await;
    assert!(shown().await.contains("Continue with Passkey") && !shown().await.contains("data-conditional"));
    configure(false, true).await;
    assert!(!shown().await.contains("Continue with Passkey") && shown().await.contains("data-conditional"));
    let known = connections::webauthn(core, environment).await.unwrap().unwrap();
    connections::set_enabled(core, environment, known.id, false).await.unwrap();
    assert!(!shown().await.contains("asskey") && !shown().await.contains("webauthn"), "{}", shown().await);
}

/// Changes the settings of passkeys.
async fn configure(client: &Client, change: WebauthnChange) {
    let (core, environment) = (client.harness.core(), client.harness.env_id());
    let known = connections::webauthn(core, environment).await.unwrap().expect("a connection");
    let change = connections::Change { webauthn: Some(change), ..connections::Change::default() };
    connections::update(core, environment, known.id, None, change).await.expect("changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_08_a_passkey_is_offered_after_a_login_by_mail_and_can_be_skipped() {
    let client = start().await;
    allow(&client.harness, &[ANN, BEA]).await;
    let acme = client.organization("Acme").await;
    user(&client, &acme, ANN).await;
    let mut site = Site::new(&client.harness);
    assert!(site.sign_in(ANN, &[]).await.callback().contains_key("code"), "off unless it is switched on");
    let on = WebauthnChange { enable_auto_registration: true, ..WebauthnChange::default() };
    configure(&client, on).await;

    let mut site = Site::new(&client.harness);
    let page = site.sign_in(ANN, &[]).await;
    assert!(page.at.starts_with("/a/auth/passkey?req="), "{}", page.at);
    assert!(page.html.contains("/api/v1/webauthn/registration:begin"), "{}", page.html);
    let skipped = site.submit(&page, "/a/auth/passkey", &[]).await;
    assert_eq!(exchange(&client.harness, &skipped.code()).await.status, 200);
    let again = site.post(&page.at, &[]).await;
    assert!(again.left_to.is_none_or(|url| !url.contains("code=")), "once");

    // The session is there already, so the passkey can be made; then the login goes on, and asks no more.
    let mut site = Site::new(&client.harness);
    let page = site.sign_in(ANN, &[]).await;
    assert!(page.at.starts_with("/a/auth/passkey?req="), "who has skipped it is asked again");
    session_of(&client, &site).add().await;
    let done = site.submit(&page, "/a/auth/passkey", &[]).await;
    assert_eq!(exchange(&client.harness, &done.code()).await.status, 200);
    assert!(Site::new(&client.harness).sign_in(ANN, &[]).await.callback().contains_key("code"));
    // A sign-up ends at the callback.
    let signed_up = Site::new(&client.harness).sign_in(BEA, &[("prompt", "create")]).await;
    assert!(signed_up.callback().contains_key("code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_01_a_signed_in_user_sees_makes_names_and_deletes_passkeys_on_the_profile_page() {
    let client = start().await;
    allow(&client.harness, &[ANN, BEA]).await;
    let acme = client.organization("Acme").await;
    user(&client, &acme, ANN).await;
    let bea = user(&client, &acme, BEA).await;
    let (_, foreign) = Browser::of(&client, &bea, &acme).await.add().await;
    let mut site = Site::new(&client.harness);
    let out = site.get("/ui/profile/passkeys").await;
    assert!(out.html.contains("You are not logged in") && !out.html.contains("new-passkey"), "{}", out.html);
    site.sign_in(ANN, &[]).await.code();
    let empty = site.get("/ui/profile/passkeys").await;
    assert!(empty.html.contains("You have no passkeys yet") && empty.html.contains(ANN), "{}", empty.html);
    assert!(empty.html.contains("data-begin=\"/api/v1/webauthn/registration:begin\""), "{}", empty.html);

    let (authenticator, row) = session_of(&client, &site).add().await;
    let id = row["id"].as_str().unwrap();
    let page = site.get("/ui/profile/passkeys").await;
    for part in ["<bdi>Google Password Manager</bdi>", "Firefox, Linux", "Never used", id] {
        assert!(page.html.contains(part), "{part}: {}", page.html);
    }
    assert_eq!(Browser::new(&client).log_in(&authenticator).await.status, 200);
    let page = site.get("/ui/profile/passkeys").await;
    assert!(!page.html.contains("Never used"), "{}", page.html);

    let rename = "/ui/profile/passkeys/rename";
    let named = site.submit(&page, rename, &[("credential", id), ("display_name", " <b>Blue & key</b> ")]).await;
    assert_eq!(named.at, "/ui/profile/passkeys");
    assert!(named.html.contains("&#60;b&#62;Blue &#38; key&#60;/b&#62;"), "{}", named.html);
    for bad in ["", "   ", &"x".repeat(121)] {
        let refused = site.submit(&page, rename, &[("credential", id), ("display_name", bad)]).await;
        assert!(refused.html.contains("at most 120 characters"), "{}", refused.html);
    }
    let delete = "/ui/profile/passkeys/delete";
    let theirs = foreign["id"].as_str().unwrap();
    for (form, not_mine) in [(rename, theirs), (delete, theirs), (delete, "cred_1"), (delete, "x")] {
        let refused = site.submit(&page, form, &[("credential", not_mine), ("display_name", "Mine")]).await;
        assert!(refused.html.contains("not there any more"), "{}", refused.html);
    }
    // No other site does any of this.
    let stolen = [("credential", id)];
    assert_eq!(site.post(delete, &stolen).await.status, 403, "no token");
    let csrf = page.html.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let genuine = [("csrf", csrf.as_str()), ("credential", id)];
    assert_eq!(site.post_from("https://evil.example", delete, &genuine).await.status, 403);
    assert_eq!(
        Site::new(&client.harness).post(delete, &genuine).await.status,
        200,
        "and says that nobody is logged in"
    );
    assert!(site.get("/ui/profile/passkeys").await.html.contains(id));

    let gone = site.submit(&page, delete, &[("credential", id)]).await;
    assert!(gone.html.contains("You have no passkeys yet"), "{}", gone.html);
    assert_eq!(code(&Browser::new(&client).log_in(&authenticator).await), "PASSKEY_UNKNOWN");
    let out = site.submit(&page, "/ui/profile/logout", &[]).await;
    assert_eq!((out.status, site.jar.get(sessions::COOKIE)), (200, None));
    assert_eq!(site.get("/ui/profile/other").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn wan_06_related_origins_are_told_to_anybody() {
    let client = start().await;
    let origin = client.harness.running().dev_url.clone();
    let request = http::Request::get(format!("{origin}/.well-known/webauthn"));
    let reply = client.harness.send(&origin, Protocol::H1, request, "").await;
    assert_eq!((reply.status.as_u16(), reply.json()), (200, json!({"origins": [origin]})));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}
