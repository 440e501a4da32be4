//! `id_token_hint` of an authorization request (OpenID Connect Core §3.1.2.1): who may sign in, told by an ID token of earlier.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_core::testing::sign_raw;
use narthex_db::Engine;
use serde_json::{Value, json};

use crate::browser::{Browser, CODE, allow, exchange, parameters};
use crate::harness::Harness;
use crate::roles::Client;
use crate::signed_in::{REDIRECT, SignedIn};
use crate::specifications::{Told, assert_told, both_ways, left_behind, request};

const ANN: &str = "ann+sktest@example.com";
const BEA: &str = "bea+sktest@example.net";
const SESSION: &str = "__Host-narthex_session";

fn part(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The claims with another value of one, or without it.
fn with(claims: &Value, name: &str, value: Value) -> String {
    let mut claims = claims.clone();
    let members = claims.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims.to_string()
}

#[allow(clippy::too_many_lines)] // a table
async fn hostile(engine: Engine) {
    let Some(login) = SignedIn::on(engine).await else { return };
    let (core, env, prd) = (login.core().clone(), login.harness.env_id(), login.harness.prd_id());
    let tokens = login.tokens("openid email offline_access").await;
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    let (good, access, refresh) = (text("id_token"), text("access_token"), text("refresh_token"));
    let (header, said) = (part(&good, 0), claims(&good));
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    let headed = |header: Value| format!("{}.{payload}.{signature}", encoded(&header));
    let raw = async |payload: String| sign_raw(&core, env, None, &payload).await.unwrap();
    let other = SignedIn::on(Engine::Sqlite).await.expect("SQLite");
    let elsewhere = other.tokens("openid").await["id_token"].as_str().unwrap().to_owned();
    let kid = header["kid"].clone();
    let rows: Vec<(&str, String)> = vec![
        ("rfc7519_7_2_no_token", "x".into()),
        ("rfc7519_7_2_two_parts", signed.to_owned()),
        ("rfc7519_7_2_four_parts", format!("{good}.x")),
        ("rfc7519_7_2_empty_parts", "..".into()),
        ("rfc7515_2_base64_with_padding", format!("{good}=")),
        ("rfc7519_6_unsecured", format!("{}.{payload}.", encoded(&json!({"alg": "none", "typ": "JWT"})))),
        ("rfc7519_6_unsecured_under_our_header", format!("{signed}.")),
        ("rfc8725_2_1_weak_signature", headed(json!({"alg": "HS256", "kid": kid, "typ": "JWT"}))),
        ("rfc8725_3_1_another_algorithm", headed(json!({"alg": "PS256", "kid": kid, "typ": "JWT"}))),
        (
            "rfc7515_4_1_2_a_key_from_elsewhere",
            headed(json!({"alg": "RS256", "kid": kid, "jku": "https://evil.example"})),
        ),
        ("rfc7515_4_1_4_an_unknown_key", headed(json!({"alg": "RS256", "kid": "snk_1", "typ": "JWT"}))),
        (
            "oidc_core_3_1_3_7_6_a_signature_of_something_else",
            format!("{}.{}.{signature}", encoded(&header), encoded(&json!({"sub": "usr_1"}))),
        ),
        ("oidc_core_3_1_3_7_2_another_issuer", raw(with(&said, "iss", json!("https://evil.example"))).await),
        ("oidc_core_3_1_3_7_2_no_issuer", raw(with(&said, "iss", Value::Null)).await),
        ("oidc_core_3_1_3_7_2_another_environment", sign_raw(&core, prd, None, &said.to_string()).await.unwrap()),
        ("oidc_core_3_1_3_7_2_another_installation", elsewhere),
        ("oidc_core_2_no_subject", raw(with(&said, "sub", Value::Null)).await),
        ("oidc_core_2_a_subject_that_is_no_text", raw(with(&said, "sub", json!(["usr_1"]))).await),
        ("oidc_core_2_no_authorized_party", raw(with(&said, "azp", Value::Null)).await),
        ("rfc8725_3_11_an_access_token", access),
        ("rfc8725_3_11_a_logout_token", raw(with(&said, "at_hash", Value::Null)).await),
        ("rfc7519_4_a_claim_twice", raw(said.to_string().replacen('{', "{\"sub\":\"usr_1\",", 1)).await),
        ("rfc6749_1_5_a_refresh_token", refresh),
        ("rfc7519_7_2_no_object", raw("[]".into()).await),
        ("oidc_core_3_1_2_1_without_end", raw(with(&said, "name", json!("x".repeat(6_200)))).await),
    ];
    let before = left_behind(&login).await;
    for (section, hint) in &rows {
        let query = request(&login.app.0, &[("id_token_hint", hint)]);
        for reply in both_ways(&login, &query).await {
            assert_told(&reply, &Told::Application("invalid_request"), section);
        }
    }
    let twice = request(&login.app.0, &[("id_token_hint", &good), ("id_token_hint", &good)]);
    // An address that is not the application's is told of nothing, whatever the hint.
    let astray = request(&login.app.0, &[("id_token_hint", "x"), ("redirect_uri", "https://evil.example/")]);
    for (section, query, told) in [
        ("rfc6749_3_1_repeated_parameter_id_token_hint", twice, Told::Application("invalid_request")),
        ("rfc6749_4_1_2_1_a_bad_address_is_worse", astray, Told::Page("invalid_redirect_uri")),
    ] {
        for reply in both_ways(&login, &query).await {
            assert_told(&reply, &told, section);
        }
    }
    assert_eq!(left_behind(&login).await, before, "no login, no code, no session came of any of it");

    // What is a hint: the token of any application of the environment, long after it has expired; an empty one is none.
    for (section, hint) in [
        ("oidc_core_3_1_2_1_a_hint", good.clone()),
        ("oidc_core_3_1_2_1_expired", raw(with(&said, "exp", json!(1_000))).await),
        ("oidc_core_3_1_2_1_of_another_application", raw(with(&said, "azp", json!("webc_1"))).await),
        ("oidc_core_5_3_2_without_an_address", raw(with(&said, "email", Value::Null)).await),
        ("rfc6749_3_1_empty", String::new()),
    ] {
        for more in [&[][..], &[("prompt", "none")], &[("max_age", "600")]] {
            let changes = [&[("id_token_hint", hint.as_str())], more].concat();
            for reply in both_ways(&login, &request(&login.app.0, &changes)).await {
                let location = reply.header("location").unwrap_or_default();
                assert!(location.starts_with(&format!("{REDIRECT}?code=")), "{section} {more:?}: {location}");
            }
        }
    }
    // Somebody else's: never silently, and whether that user is known makes no difference.
    for sub in ["usr_1", "", "conn_77;ann@example.com"] {
        let hint = raw(with(&said, "sub", json!(sub))).await;
        let none = request(&login.app.0, &[("id_token_hint", &hint), ("prompt", "none")]);
        for reply in both_ways(&login, &none).await {
            assert_told(&reply, &Told::Application("login_required"), "oidc_core_3_1_2_1_somebody_else");
        }
        for reply in both_ways(&login, &request(&login.app.0, &[("id_token_hint", &hint)])).await {
            let location = reply.header("location").unwrap_or_default();
            assert!(location.starts_with("/a/auth/login?req=req_"), "{sub}: {location}");
        }
    }
}

/// What the interactive half of a row ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Code,
    Error(&'static str),
}

/// The case; who has a session, what the request says more, who then signs in, what comes of it.
type Row<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)], &'a str, End);

async fn token_of(client: &Client, email: &str) -> String {
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(email, &[]).await;
    exchange(&client.harness, &page.code()).await.json()["id_token"].as_str().expect("an ID token").to_owned()
}

async fn start(engine: Engine) -> Option<Client> {
    let harness = Harness::start_on(engine).await?;
    allow(&harness, &[ANN, BEA, "new+sktest@example.org"]).await;
    let token = harness.client_token().await;
    Some(Client { harness, token })
}

async fn interactive(engine: Engine) {
    let Some(client) = start(engine).await else { return };
    let acme = client.organization("Acme").await;
    for email in [ANN, BEA] {
        let path = format!("/api/v1/organizations/{acme}/users?send_invitation_email=false");
        client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    }
    let hint = token_of(&client, ANN).await;
    let ann = claims(&hint)["sub"].clone();
    let users = client.ok(200, "GET", "/api/v1/users", None).await["total_size"].clone();
    let rows: [Row<'_>; 7] = [
        ("the hinted user signs in", None, &[], ANN, End::Code),
        ("somebody else has the session, the hinted user signs in", Some(BEA), &[], ANN, End::Code),
        ("somebody else has the session and signs in again", Some(BEA), &[], BEA, End::Error("login_required")),
        (
            "the hinted user has the session, somebody else signs in",
            Some(ANN),
            &[("prompt", "login")],
            BEA,
            End::Error("login_required"),
        ),
        ("the hinted user proves it again", Some(ANN), &[("max_age", "0"), ("prompt", "login")], ANN, End::Code),
        (
            "somebody new signs up",
            None,
            &[("prompt", "create")],
            "new+sktest@example.org",
            End::Error("login_required"),
        ),
        ("the organization is named", None, &[("organization_id", &acme)], BEA, End::Error("login_required")),
    ];
    for (row, before, more, email, end) in rows {
        let mut browser = Browser::new(&client.harness);
        if let Some(before) = before {
            assert!(browser.sign_in(before, &[]).await.callback().contains_key("code"), "{row}");
        }
        let kept = browser.jar.get(SESSION).cloned();
        let asked = [&[("id_token_hint", hint.as_str())], more].concat();
        let page = browser.authorize(&asked).await;
        assert!(
            page.left_to.is_none() && page.html.contains(&format!("value=\"{ANN}\"")),
            "{row}: the address is there: {}",
            page.html
        );
        let form = if page.at.starts_with("/a/auth/signup") { "/a/auth/signup" } else { "/a/auth/login" };
        let page = browser.submit(&page, form, &[("email", email)]).await;
        let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
        match end {
            End::Code => {
                let id = exchange(&client.harness, &page.code()).await.json()["id_token"].as_str().unwrap().to_owned();
                assert_eq!(claims(&id)["sub"], ann, "{row}");
            }
            End::Error(error) => {
                let said = page.callback();
                assert_eq!((said.get("error").map(String::as_str), said.get("code")), (Some(error), None), "{row}");
                assert_eq!(browser.jar.get(SESSION).cloned(), kept, "{row}: the browser's session is what it was");
                assert!(
                    !said["error_description"].contains(ANN) && !said["error_description"].contains(email),
                    "{row}"
                );
                let again = browser.get(&page.at).await;
                assert!(again.left_to.is_none() && !again.html.contains("name=\"code\""), "{row}: the login is over");
            }
        }
    }
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], users, "nobody was made");
    // `login_hint` is what the application wants to show; who may sign in stays what it is.
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[("id_token_hint", &hint), ("login_hint", BEA)]).await;
    assert!(page.html.contains(&format!("value=\"{BEA}\"")), "{}", page.html);
    let page = browser.sign_in(BEA, &[("id_token_hint", &hint), ("login_hint", BEA)]).await;
    assert_eq!(page.error(), "login_required");
    let url = page.left_to.expect("the callback");
    assert_eq!(parameters(url.split_once('?').unwrap().1)["state"], "s-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_01_authz_11_mgmt_02_hostile_id_token_hints_section_by_section_on_sqlite() {
    hostile(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_01_authz_11_mgmt_02_hostile_id_token_hints_section_by_section_on_postgres() {
    hostile(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_08_authz_10_oidc_core_3_1_2_1_only_the_user_of_the_hint_signs_in_on_sqlite() {
    interactive(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_08_authz_10_oidc_core_3_1_2_1_only_the_user_of_the_hint_signs_in_on_postgres() {
    interactive(Engine::Postgres).await;
}
