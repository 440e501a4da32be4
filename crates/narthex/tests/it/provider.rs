//! The endpoints behind a login, as applications and their pages use them: token, UserInfo, introspection, revocation, logout.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use narthex_core::clients::ClientKind;
use narthex_core::clients::applications::Settings;
use narthex_core::grants::{Authorization, Subject};
use narthex_core::ids::{ConnectionId, SessionId};
use narthex_core::sessions::{self, Status};
use narthex_core::{events, scopes};
use narthex_db::Engine;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::Reply;
use crate::signed_in::{CHALLENGE, REDIRECT, SignedIn, VERIFIER};

fn claims(token: &Value) -> Value {
    let token = token.as_str().expect("a token");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, error: &str, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    let body = reply.json();
    assert_eq!((&body["error"], members(&body)), (&json!(error), vec!["error", "error_description"]), "{what}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
}

async fn status(login: &SignedIn, id: SessionId) -> Status {
    sessions::of_browser(login.core(), login.harness.env_id(), id, None).await.expect("the session").status
}

async fn code_and_refresh(engine: Engine) {
    let Some(login) = SignedIn::on(engine).await else { return };
    let code = login.code_for("openid offline_access").await;
    let reply = login.exchange(&code).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("cache-control"), reply.header("pragma")),
        (200, Some("no-store"), Some("no-cache"))
    );
    let body = reply.json();
    assert_eq!(members(&body), ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("openid offline_access")));
    assert!(body["expires_in"].is_i64(), "Go decodes into int");
    assert_eq!(claims(&body["id_token"])["iss"], login.harness.running().dev_url);
    let me = login.harness.rest("GET", "/api/v1/organizations", body["access_token"].as_str(), None).await;
    assert_ne!(me.status, 401, "{}", me.text());

    let refreshed = login.refresh(body["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(members(&refreshed), ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
    assert_ne!(refreshed["refresh_token"], body["refresh_token"]);
    assert_refused(&login.exchange(&code).await, 400, "invalid_grant", "oauth_05: used before");
    assert_refused(
        &login.refresh(refreshed["refresh_token"].as_str().unwrap()).await,
        400,
        "invalid_grant",
        "ended by that",
    );
    let me = login.harness.rest("GET", "/api/v1/organizations", refreshed["access_token"].as_str(), None).await;
    assert_eq!(me.status, 401, "and so are access tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_04_oauth_05_oauth_08_code_and_refresh_over_http_sqlite() {
    code_and_refresh(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_04_oauth_05_oauth_08_code_and_refresh_over_http_postgres() {
    code_and_refresh(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_08_codes_and_refresh_tokens_survive_a_restart() {
    let mut login = SignedIn::start().await;
    let code = login.code_for("openid offline_access").await;
    let token = login.tokens("openid offline_access").await["refresh_token"].as_str().unwrap().to_owned();
    login.harness = login.harness.restart(|_| {}).await.expect("a restart");
    assert_eq!(login.exchange(&code).await.status, 200);
    assert_eq!(login.refresh(&token).await.status, 200);
}

/// What must be refused is in `specifications.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_02_oauth_11_oidc_01_what_the_specifications_allow_works() {
    let login = SignedIn::start().await;
    let (id, secret) = login.app.clone();
    let (spa, _) = SignedIn::client(&login.harness, ClientKind::Spa).await;
    let plain = || login.code_for("openid offline_access");
    let spa_code = || {
        let authorization =
            Authorization { code_challenge: Some(CHALLENGE.into()), ..login.authorization(&spa, "openid") };
        login.code(authorization)
    };
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let code = plain().await;
    let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", REDIRECT)];
    assert_eq!(
        login.harness.token_request(&[("authorization", &basic)], &form).await.status,
        200,
        "RFC 6749 §2.3.1 Basic"
    );
    let code = spa_code().await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", REDIRECT),
        ("client_id", &*spa),
        ("client_secret", ""),
        ("code_verifier", VERIFIER),
    ];
    let reply = login.harness.token_request(&[("authorization", "Bearer stale")], &form).await;
    assert_eq!(reply.status, 200, "oauth_11: an empty secret is none, a bearer says nothing: {}", reply.text());
    let id_token = claims(&reply.json()["id_token"]);
    assert_eq!(id_token["aud"], json!([spa]), "OpenID Connect Core §3.1.3.7 aud");
    assert_eq!(id_token["azp"], json!(spa), "OpenID Connect Core §2 azp");
    assert!(
        id_token["at_hash"].is_string() && id_token["c_hash"].is_string(),
        "OpenID Connect Core §3.1.3.6, §3.3.2.11"
    );
    let without = login.tokens("profile").await;
    assert_eq!(without.get("id_token"), None, "OpenID Connect Core §3.1.2.1: without openid it is no OpenID request");
    let nonce =
        Authorization { nonce: Some("n-1".into()), ..login.authorization(&login.app.0, "openid offline_access") };
    let code = login.code(nonce).await;
    let first = login.exchange(&code).await.json();
    assert_eq!(claims(&first["id_token"])["nonce"], "n-1", "OpenID Connect Core §3.1.2.1 nonce");
    let second = login.refresh(first["refresh_token"].as_str().unwrap()).await.json();
    let (before, after) = (claims(&first["id_token"]), claims(&second["id_token"]));
    for same in ["iss", "sub", "aud", "auth_time", "azp"] {
        assert_eq!(before[same], after[same], "OpenID Connect Core §12.2 {same}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tok_02_mistake_02_tokens_without_a_session_open_nothing_in_the_management_api() {
    let login = SignedIn::start().await;
    let subject = Subject::Connection {
        sub: "conn_77;00u1".into(),
        email: "eve@example.com".into(),
        email_verified: true,
        connection: ConnectionId(77),
        organization: Some(login.organization),
    };
    let code = login.code(Authorization { subject, ..login.authorization(&login.app.0, "openid email") }).await;
    let body = login.exchange(&code).await.json();
    let api = login.harness.rest("GET", "/api/v1/organizations", body["access_token"].as_str(), None).await;
    assert_eq!(api.status, 403, "{}", api.text());
    let id = login.harness.rest("GET", "/api/v1/organizations", body["id_token"].as_str(), None).await;
    assert_eq!(id.status, 401, "{}", id.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oidc_03_userinfo_takes_the_token_in_a_header_or_a_form_and_challenges_otherwise() {
    let login = SignedIn::start().await;
    let token = login.tokens("openid email").await["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    for reply in [
        login.request("GET", "/userinfo", &[("authorization", &bearer)]).await,
        login.request("GET", "/userinfo", &[("authorization", "Bearer stale"), ("authorization", &bearer)]).await,
        login.request("POST", "/userinfo", &[("authorization", &bearer)]).await,
        login.post("/userinfo", &[], &[("access_token", &token)]).await,
    ] {
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("no-store")), "{}", reply.text());
        assert_eq!(
            (&reply.json()["sub"], members(&reply.json())),
            (&json!(login.user.to_string()), vec!["email", "email_verified", "sub"])
        );
    }
    let machine = format!("Bearer {}", login.harness.client_token().await);
    for (headers, status, error) in [
        (vec![], 401, "invalid_token"),
        (vec![("authorization", "Bearer x.y.z")], 401, "invalid_token"),
        (vec![("authorization", "Basic eDp5")], 401, "invalid_token"),
        (vec![("authorization", machine.as_str())], 403, "insufficient_scope"),
    ] {
        let reply = login.request("GET", "/userinfo", &headers).await;
        assert_refused(&reply, status, error, error);
        let challenge = reply.header("www-authenticate").expect("RFC 6750 §3");
        assert!(challenge.starts_with("Bearer ") && challenge.contains(&format!("error=\"{error}\"")), "{challenge}");
    }
    let in_url = login.request("GET", &format!("/userinfo?access_token={token}"), &[]).await;
    assert_eq!(in_url.status, 401, "RFC 9700 §4.3.2: never in a URL");
    let two = login.post("/userinfo", &[("authorization", &bearer)], &[("access_token", &token)]).await;
    assert_eq!(two.status, 400, "RFC 6750 §2: one way");
    assert_eq!(login.request("PUT", "/userinfo", &[]).await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oidc_04_oidc_05_introspection_and_revocation_over_http() {
    let login = SignedIn::start().await;
    let (id, secret) = login.app.clone();
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let body = login.tokens("openid offline_access").await;
    let (access, refresh) = (body["access_token"].as_str().unwrap(), body["refresh_token"].as_str().unwrap());
    let ask = async |token: &str| {
        login
            .post(
                "/oauth/introspect",
                &[("authorization", &basic)],
                &[("token", token), ("token_type_hint", "whatever")],
            )
            .await
    };
    let reply = ask(access).await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("no-store")));
    assert_eq!((&reply.json()["active"], &reply.json()["client_id"]), (&json!(true), &json!(id)));
    assert_eq!(ask(refresh).await.json()["active"], true);
    assert_eq!(ask("nonsense").await.json(), json!({ "active": false }));

    let revoked =
        login.post("/revoke", &[], &[("token", refresh), ("client_id", &id), ("client_secret", &secret)]).await;
    assert_eq!((revoked.status.as_u16(), revoked.body.len()), (200, 0), "RFC 7009 §2.2");
    assert_eq!(ask(access).await.json(), json!({ "active": false }));
    assert_refused(&login.refresh(refresh).await, 400, "invalid_grant", "revoked");
    assert_eq!(login.post("/revoke", &[("authorization", &basic)], &[("token", "unknown")]).await.status, 200);

    let (spa, _) = SignedIn::client(&login.harness, ClientKind::Spa).await;
    for path in ["/oauth/introspect", "/revoke"] {
        assert_refused(
            &login.post(path, &[], &[("token", access), ("client_id", &spa)]).await,
            401,
            "invalid_client",
            "public",
        );
        assert_refused(&login.post(path, &[], &[("token", access)]).await, 401, "invalid_client", "nobody");
        assert_refused(&login.post(path, &[("authorization", &basic)], &[]).await, 400, "invalid_request", "no token");
        let wrong = format!("Basic {}", STANDARD.encode(format!("{id}:wrong")));
        let reply = login.post(path, &[("authorization", &wrong)], &[("token", access)]).await;
        assert_refused(&reply, 401, "invalid_client", "wrong secret");
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"narthex\""));
        assert_refused(&login.request("GET", path, &[]).await, 405, "invalid_request", "GET");
        assert_refused(
            &login.request("POST", path, &[("content-type", "application/json")]).await,
            400,
            "invalid_request",
            "JSON",
        );
    }
    let machine = login.harness.client_token().await;
    let dev = login.harness.running().dev.as_ref().unwrap().dev.clone();
    let form = [("token", &*machine), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    assert_refused(&login.post("/revoke", &[], &form).await, 400, "unsupported_token_type", "a machine's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_13_pages_of_registered_callbacks_may_read_tokens_and_no_others() {
    let login = SignedIn::start().await;
    let mine = ("origin", "https://app.example");
    let local = ("origin", "http://localhost:6274");
    for path in ["/oauth/token", "/userinfo", "/revoke"] {
        for origin in [mine, local] {
            let reply = login.request("OPTIONS", path, &[origin, ("access-control-request-method", "POST")]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("access-control-allow-origin")),
                (204, Some(origin.1)),
                "{path}"
            );
            assert!(reply.header("access-control-allow-methods").unwrap().contains("POST"));
            assert!(reply.header("access-control-allow-headers").unwrap().contains("Authorization"));
            assert_eq!(
                (reply.header("access-control-allow-credentials"), reply.header("vary")),
                (None, Some("Origin")),
                "{path}"
            );
            // Errors too: a page must be able to tell why.
            let refused = login.post(path, &[origin], &[]).await;
            assert!(refused.status.is_client_error());
            assert_eq!(refused.header("access-control-allow-origin"), Some(origin.1), "{path}");
        }
        for origin in ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example"] {
            let reply =
                login.request("OPTIONS", path, &[("origin", origin), ("access-control-request-method", "POST")]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("access-control-allow-origin")),
                (204, None),
                "{path} {origin}"
            );
            assert_eq!(login.post(path, &[("origin", origin)], &[]).await.header("access-control-allow-origin"), None);
        }
    }
    // A callback that is taken away takes its origin along.
    login.set(Settings { post_login_uris: Some(vec!["https://new.example/cb".into()]), ..Settings::default() }).await;
    let reply = login.post("/oauth/token", &[("origin", "https://app.example")], &[]).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let reply = login.post("/oauth/token", &[("origin", "https://new.example")], &[]).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://new.example"));
    let introspection = login.post("/oauth/introspect", &[("origin", "https://new.example")], &[]).await;
    assert_eq!(introspection.header("access-control-allow-origin"), None, "no page has a secret to ask with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_51_mcp_60_a_resources_own_token_endpoint_is_open_to_pages_of_anywhere() {
    let login = SignedIn::start().await;
    let anywhere = ("origin", "https://inspector.example");
    let path = "/resources/res_123456789012345678/oauth/token";
    let preflight = login.request("OPTIONS", path, &[anywhere]).await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (204, Some("*")));
    let form = [("grant_type", "client_credentials"), ("client_id", &*login.app.0), ("client_secret", &*login.app.1)];
    let reply = login.post(path, &[anywhere], &form).await;
    assert_refused(&reply, 401, "invalid_client", "an application at a resource's endpoint");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_refused(&login.post("/resources/x/oauth/token", &[], &form).await, 404, "invalid_request", "no resource");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disc_01_the_documents_name_the_scopes_of_the_environment_and_every_endpoint_answers() {
    let login = SignedIn::start().await;
    scopes::create(login.core(), login.harness.env_id(), "todo:read".into(), "Read".into()).await.unwrap();
    let off = scopes::create(login.core(), login.harness.env_id(), "todo:off".into(), "Off".into()).await.unwrap();
    scopes::update(login.core(), login.harness.env_id(), off.id, None, Some(false)).await.unwrap();
    let body = login.harness.get("/.well-known/openid-configuration").await.json();
    assert_eq!(body["scopes_supported"], json!(["openid", "profile", "email", "offline_access", "todo:read"]));
    assert_eq!(body, login.harness.get("/.well-known/oauth-authorization-server").await.json());
    let origin = login.harness.running().dev_url.clone();
    for (member, method, status) in [
        ("authorization_endpoint", "GET", 400),
        ("token_endpoint", "POST", 400),
        ("userinfo_endpoint", "GET", 401),
        ("revocation_endpoint", "POST", 400),
        ("introspection_endpoint", "POST", 400),
        ("end_session_endpoint", "GET", 200),
        ("jwks_uri", "GET", 200),
    ] {
        let url = body[member].as_str().unwrap_or_else(|| panic!("{member} is missing"));
        let path = url.strip_prefix(&origin).expect("of the registered origin");
        assert_eq!(login.request(method, path, &[]).await.status, status, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oidc_06_a_browser_logs_out_and_goes_where_the_application_has_said() {
    let mut login = SignedIn::start().await;
    let bye = "https://app.example/bye";
    login.set(Settings { post_logout_redirect_uris: Some(vec![bye.into()]), ..Settings::default() }).await;
    let body = login.tokens("openid offline_access").await;
    let hint = body["id_token"].as_str().unwrap();
    let path = format!(
        "/oidc/logout?id_token_hint={hint}&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye&state=x%20y"
    );
    let picture = login.request("GET", &path, &[("cookie", &login.cookie), ("sec-fetch-dest", "image")]).await;
    assert_eq!(picture.status, 400, "mistake 11: no picture of another site ends a session");
    assert_eq!(status(&login, login.session).await, Status::Active);

    let reply = login.request("GET", &path, &[("cookie", &login.cookie), ("sec-fetch-dest", "document")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some("https://app.example/bye?state=x%20y")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let cookie = reply.header("set-cookie").expect("the cookie goes");
    assert!(cookie.starts_with("__Host-narthex_session=; Max-Age=0;") && cookie.contains("HttpOnly"), "{cookie}");
    assert_eq!(status(&login, login.session).await, Status::LoggedOut);
    assert_refused(&login.refresh(body["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant", "logged out");
    let told = login.core().db.read(async |tx| events::newest(tx, 1).await).await.unwrap();
    assert_eq!(told[0].kind, "user.logout");

    let posted = login.post("/oidc/logout", &[], &[("post_logout_redirect_uri", bye), ("id_token_hint", hint)]).await;
    let location = posted.header("location").expect("on to the same with GET").to_owned();
    assert_eq!(posted.status, 303);
    let reply = login.request("GET", &location, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some(bye)), "an ended session is ended");

    (login.session, login.cookie) = SignedIn::session(&login.harness, login.user, login.organization).await;
    let evil = format!("/oidc/logout?id_token_hint={hint}&post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F");
    let reply = login.request("GET", &evil, &[("cookie", &login.cookie)]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None));
    assert!(
        reply.text().contains("invalid_redirect_uri") && reply.header("content-type").unwrap().starts_with("text/html")
    );
    assert_eq!(status(&login, login.session).await, Status::LoggedOut, "who wants to leave is not kept");

    (login.session, login.cookie) = SignedIn::session(&login.harness, login.user, login.organization).await;
    let reply = login.request("GET", "/oidc/logout?", &[("cookie", &login.cookie)]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (200, None));
    assert_eq!(status(&login, login.session).await, Status::LoggedOut, "§9.1.6: without a hint too");
    assert_eq!(login.request("GET", "/oidc/logout", &[]).await.status, 200, "nobody is signed in");
}

/// An application's server on loopback: what it is sent.
async fn application() -> (u16, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let path = request.uri().to_string();
                    let body = request.into_body().collect().await.expect("a body").to_bytes();
                    sender.send((path, String::from_utf8_lossy(&body).into_owned())).ok();
                    Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oidc_07_an_application_on_the_developers_machine_is_told_of_a_logout() {
    let login = SignedIn::start().await;
    let (port, mut received) = application().await;
    let uri = format!("http://127.0.0.1:{port}/backchannel?tenant=1");
    login.set(Settings { back_channel_logout_uris: Some(vec![uri]), ..Settings::default() }).await;
    login.tokens("openid").await;
    login.request("GET", "/oidc/logout", &[("cookie", &login.cookie)]).await;
    let (path, body) = tokio::time::timeout(std::time::Duration::from_secs(20), received.recv())
        .await
        .expect("in time")
        .expect("a call");
    assert_eq!(path, "/backchannel?tenant=1");
    let token = body.strip_prefix("logout_token=").expect("one field");
    let said = claims(&json!(token));
    assert_eq!(
        (&said["aud"], &said["sid"], &said["sub"]),
        (&json!([login.app.0]), &json!(login.session.to_string()), &json!(login.user.to_string()))
    );
    let api = login.harness.rest("GET", "/api/v1/organizations", Some(token), None).await;
    assert_eq!(api.status, 401, "mistake 2: a logout token is no bearer");
}
