//! The token endpoint, the key set and discovery, as clients of every kind use them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_db::Engine;
use serde_json::Value;

use crate::harness::{Harness, Protocol, Reply, encode};

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    let escape =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", escape(id), escape(secret))))
}

/// OAuth shape, never the management envelope, never cached (OAUTH-14).
fn assert_refused(reply: &Reply, status: u16, error: &str, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    let body = reply.json();
    assert_eq!(body["error"], error, "{what}");
    assert!(body["error_description"].is_string(), "{what}");
    assert_eq!(body.as_object().unwrap().len(), 2, "{what}: {body}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(reply.header("pragma"), Some("no-cache"), "{what}");
}

async fn client_credentials(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    let reply = harness.token_request(&[], &form).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["scope"], "openid");
    let lifetime = body["expires_in"].as_i64().expect("an integer: Go decodes into int");
    assert!((86_399..=86_400).contains(&lifetime));
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["iss"], harness.running().dev_url);
    assert_eq!(claims["sub"], dev.client_id);
    assert!(claims["aud"].is_array() && claims["exp"].is_i64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_01_client_credentials_in_the_body_sqlite() {
    client_credentials(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_01_client_credentials_in_the_body_postgres() {
    client_credentials(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_02_basic_is_accepted_and_a_wrong_secret_is_invalid_client() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let grant = [("grant_type", "client_credentials")];
    let reply = harness.token_request(&[("authorization", &basic(&dev.client_id, &dev.secret))], &grant).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let reply = harness.token_request(&[("authorization", &basic(&dev.client_id, "wrong"))], &grant).await;
    assert_refused(&reply, 401, "invalid_client", "wrong secret by Basic");
    assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"narthex\""));
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", "wrong")];
    let reply = harness.token_request(&[], &form).await;
    assert_refused(&reply, 401, "invalid_client", "wrong secret in the body");
    assert_eq!(reply.header("www-authenticate"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_03_token_and_keys_ignore_bearer_headers() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    for bearer in ["Bearer expired.or.bogus", "Bearer", "bearer x y z"] {
        assert_eq!(harness.token_request(&[("authorization", bearer)], &form).await.status, 200, "{bearer}");
        let base = harness.running().http_url.clone();
        let request = Request::get(format!("{base}/keys")).header("authorization", bearer);
        assert_eq!(harness.send(&base, Protocol::H1, request, "").await.status, 200, "{bearer}");
    }
}

/// What is wrong, headers, form; status and error.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], u16, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines)] // a table
async fn oauth_10_oauth_14_every_refusal_has_the_oauth_shape() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let (id, secret) = (&*dev.client_id, &*dev.secret);
    let header = basic(id, secret);
    let spa = clients::create(
        harness.core(),
        harness.env_id(),
        narthex_core::environments::EnvironmentKind::Dev,
        NewClient::new(ClientKind::Spa, "spa"),
    )
    .await
    .unwrap();
    let table: &[Case<'_>] = &[
        ("no grant type", &[], &[("client_id", id), ("client_secret", secret)], 400, "invalid_request"),
        (
            "unknown grant",
            &[],
            &[("grant_type", "password"), ("client_id", id), ("client_secret", secret)],
            400,
            "unsupported_grant_type",
        ),
        (
            "code grant without a client",
            &[],
            &[("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", "https://a.example/")],
            401,
            "invalid_client",
        ),
        (
            "unknown code",
            &[],
            &[
                ("grant_type", "authorization_code"),
                ("code", "x"),
                ("redirect_uri", "https://a.example/"),
                ("client_id", id),
                ("client_secret", secret),
            ],
            400,
            "invalid_grant",
        ),
        (
            "code grant without a code",
            &[],
            &[
                ("grant_type", "authorization_code"),
                ("redirect_uri", "https://a.example/"),
                ("client_id", id),
                ("client_secret", secret),
            ],
            400,
            "invalid_request",
        ),
        (
            "code grant without a redirect_uri",
            &[],
            &[("grant_type", "authorization_code"), ("code", "x"), ("client_id", id), ("client_secret", secret)],
            400,
            "invalid_request",
        ),
        (
            "unknown refresh token",
            &[],
            &[("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", id), ("client_secret", secret)],
            400,
            "invalid_grant",
        ),
        (
            "no refresh token",
            &[],
            &[("grant_type", "refresh_token"), ("client_id", id), ("client_secret", secret)],
            400,
            "invalid_request",
        ),
        (
            "unknown client",
            &[],
            &[("grant_type", "client_credentials"), ("client_id", "skc_1"), ("client_secret", secret)],
            401,
            "invalid_client",
        ),
        ("no client", &[], &[("grant_type", "client_credentials")], 401, "invalid_client"),
        ("no secret", &[], &[("grant_type", "client_credentials"), ("client_id", id)], 401, "invalid_client"),
        (
            "empty secret",
            &[],
            &[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", "")],
            401,
            "invalid_client",
        ),
        (
            "public client",
            &[],
            &[("grant_type", "client_credentials"), ("client_id", &spa.client_id)],
            400,
            "unauthorized_client",
        ),
        (
            "twice grant_type",
            &[],
            &[
                ("grant_type", "client_credentials"),
                ("grant_type", "client_credentials"),
                ("client_id", id),
                ("client_secret", secret),
            ],
            400,
            "invalid_request",
        ),
        (
            "twice client_id",
            &[],
            &[
                ("grant_type", "client_credentials"),
                ("client_id", id),
                ("client_id", "skc_1"),
                ("client_secret", secret),
            ],
            400,
            "invalid_request",
        ),
        (
            "two methods",
            &[("authorization", &header)],
            &[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)],
            400,
            "invalid_request",
        ),
        (
            "other client than Basic's",
            &[("authorization", &header)],
            &[("grant_type", "client_credentials"), ("client_id", "skc_1")],
            400,
            "invalid_request",
        ),
        (
            "U+0000",
            &[],
            &[("grant_type", "client_credentials"), ("client_id", "skc_\0"), ("client_secret", secret)],
            400,
            "invalid_request",
        ),
        (
            "unregistered scope",
            &[],
            &[
                ("grant_type", "client_credentials"),
                ("client_id", id),
                ("client_secret", secret),
                ("scope", "deploy:all"),
            ],
            400,
            "invalid_scope",
        ),
    ];
    for (what, headers, form, status, error) in table {
        assert_refused(&harness.token_request(headers, form).await, *status, error, what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_14_other_bodies_and_methods_are_refused_in_the_oauth_shape() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let (id, secret) = (&*dev.client_id, &*dev.secret);

    let base = harness.running().http_url.clone();
    let form = encode(&[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)]);
    for content_type in ["application/json", "text/plain", "multipart/form-data"] {
        let request = Request::post(format!("{base}/oauth/token")).header("content-type", content_type);
        assert_refused(
            &harness.send(&base, Protocol::H1, request, form.clone()).await,
            400,
            "invalid_request",
            content_type,
        );
    }
    let request = Request::post(format!("{base}/oauth/token"));
    assert_refused(
        &harness.send(&base, Protocol::H1, request, form.clone()).await,
        400,
        "invalid_request",
        "no content type",
    );
    let request = Request::post(format!("{base}/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(
        harness.send(&base, Protocol::H1, request, form.clone()).await.status,
        200,
        "parameters of the type do not matter"
    );
    let request = Request::get(format!("{base}/oauth/token?{form}"));
    assert_refused(&harness.send(&base, Protocol::H1, request, "").await, 405, "invalid_request", "GET");
    let request =
        Request::post(format!("{base}/oauth/token")).header("content-type", "application/x-www-form-urlencoded");
    assert_refused(
        &harness.send(&base, Protocol::H1, request, "x=".repeat(50_000)).await,
        413,
        "invalid_request",
        "large body",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_client_gets_no_token_and_loses_those_it_has() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let token = harness.client_token().await;
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.status, 200);
    clients::set_enabled(harness.core(), harness.env_id(), &dev.client_id, false).await.unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    assert_refused(&harness.token_request(&[], &form).await, 401, "invalid_client", "disabled");
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubled_slashes_reach_the_same_endpoints() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    assert_eq!(harness.get("//keys").await.json(), harness.get("/keys").await.json());
    let base = harness.running().dev_url.clone();
    let form =
        encode(&[("grant_type", "client_credentials"), ("client_id", &dev.client_id), ("client_secret", &dev.secret)]);
    for protocol in [Protocol::H1, Protocol::H2] {
        let request =
            Request::post(format!("{base}//oauth/token")).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(harness.send(&base, protocol, request, form.clone()).await.status, 200, "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disc_01_both_documents_have_the_listed_members() {
    let harness = Harness::start().await;
    let document = harness.get("/.well-known/openid-configuration").await;
    assert_eq!(document.header("access-control-allow-origin"), Some("*"));
    assert_eq!(document.header("access-control-allow-credentials"), None);
    let body = document.json();
    assert_eq!(body, harness.get("/.well-known/oauth-authorization-server").await.json());
    let origin = &harness.running().dev_url;
    assert_eq!(body["issuer"], *origin);
    for (member, path) in [
        ("authorization_endpoint", "/oauth/authorize"),
        ("token_endpoint", "/oauth/token"),
        ("userinfo_endpoint", "/userinfo"),
        ("revocation_endpoint", "/revoke"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("end_session_endpoint", "/oidc/logout"),
        ("jwks_uri", "/keys"),
    ] {
        assert_eq!(body[member], format!("{origin}{path}"));
    }
    for (member, value) in [
        ("response_types_supported", serde_json::json!(["code"])),
        ("response_modes_supported", serde_json::json!(["query"])),
        ("grant_types_supported", serde_json::json!(["authorization_code", "client_credentials", "refresh_token"])),
        ("subject_types_supported", serde_json::json!(["public"])),
        ("id_token_signing_alg_values_supported", serde_json::json!(["RS256"])),
        ("scopes_supported", serde_json::json!(["openid", "profile", "email", "offline_access"])),
        (
            "token_endpoint_auth_methods_supported",
            serde_json::json!(["client_secret_basic", "client_secret_post", "none"]),
        ),
        ("code_challenge_methods_supported", serde_json::json!(["S256"])),
        ("prompt_values_supported", serde_json::json!(["none", "login", "create", "select_account", "consent"])),
        ("backchannel_logout_supported", Value::Bool(true)),
        ("backchannel_logout_session_supported", Value::Bool(true)),
    ] {
        assert_eq!(body[member], value, "{member}");
    }
    assert!(body["claims_supported"].as_array().unwrap().iter().any(|claim| claim == "email"));
    assert!(body.get("registration_endpoint").is_none(), "registration is per resource");
    // Whatever Host is used to ask, the document names the registered origin.
    let base = harness.running().http_url.clone();
    let request = Request::get(format!("{base}/.well-known/openid-configuration")).header("host", "127.0.0.1:1");
    assert_eq!(harness.send(&base, Protocol::H1, request, "").await.json()["issuer"], *origin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disc_02_keys_are_rs256_with_kid_use_and_alg_and_open_to_any_origin() {
    let harness = Harness::start().await;
    let reply = harness.get("/keys").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=300"));
    let body = reply.json();
    let keys = body["keys"].as_array().unwrap();
    assert!(!keys.is_empty(), "Go's SDK takes an empty set for an error");
    for key in keys {
        assert_eq!(
            (&key["kty"], &key["use"], &key["alg"], &key["e"]),
            (&"RSA".into(), &"sig".into(), &"RS256".into(), &"AQAB".into())
        );
        let kid = key["kid"].as_str().unwrap().strip_prefix("snk_").unwrap();
        assert!(kid.len() >= 15 && kid.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap().len(), 256);
        assert_eq!(key.as_object().unwrap().len(), 6, "no private member");
    }
    assert_eq!(harness.get("/.well-known/jwks.json").await.json(), body);

    let base = harness.running().http_url.clone();
    let preflight = harness
        .send(&base, Protocol::H1, Request::options(format!("{base}/keys")).header("origin", "https://app.example"), "")
        .await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (204, Some("*")));
    let head = harness.send(&base, Protocol::H1, Request::head(format!("{base}/keys")), "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let post = harness.send(&base, Protocol::H1, Request::post(format!("{base}/keys")), "").await;
    assert_eq!((post.status.as_u16(), post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_are_json_404() {
    let harness = Harness::start().await;
    for path in ["/", "/nowhere", "/oauth", "/oauth/token/", "/.well-known/other", "/api/v2/organizations"] {
        let reply = harness.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, Some("application/json")), "{path}");
        assert_eq!(reply.json()["code"], 5, "{path}");
    }
}
