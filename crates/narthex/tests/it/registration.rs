//! Clients that register themselves, as libraries that follow RFC 7591 see it.

use std::collections::BTreeSet;

use narthex::config::LimitsConfig;
use narthex_core::clients;
use narthex_core::ids::ResourceId;
use narthex_core::resources::{self, NewResource, ResourceKind, ResourcePatch};
use serde_json::{Value, json};

use crate::harness::{Harness, Protocol, Reply};

async fn resource(harness: &Harness, patch: ResourcePatch) -> ResourceId {
    let environment = harness.environment(harness.env_id()).await;
    let settings = ResourcePatch { name: Some("Todo".into()), ..patch };
    let new = NewResource { kind: ResourceKind::McpServer, settings };
    resources::create(harness.core(), environment.id, environment.kind, new, None).await.expect("a resource").id
}

fn path(resource: impl std::fmt::Display) -> String {
    format!("/api/v1/resources/{resource}/clients:register")
}

async fn send(harness: &Harness, path: &str, body: &Value) -> Reply {
    harness.rest("POST", path, None, Some(body)).await
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The refusal must be RFC 7591's: a code, a text and nothing else.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str, part: &str) {
    let body = reply.json();
    assert_eq!((reply.status.as_u16(), &body["error"]), (status, &json!(code)), "{body}");
    assert!(body["error_description"].as_str().is_some_and(|text| text.contains(part)), "{part} in {body}");
    assert_eq!(names(&body), BTreeSet::from(["error", "error_description"]));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_10_mcp_60_the_answer_is_that_of_rfc_7591_and_of_the_contract_at_once() {
    let harness = Harness::start().await;
    let id = resource(&harness, ResourcePatch::default()).await;
    let minimal = json!({ "redirect_uris": ["http://127.0.0.1:33418/"] });
    let reply = send(&harness, &path(id), &minimal).await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (201, Some("no-store")));
    let body = reply.json();
    assert_eq!(
        names(&body),
        BTreeSet::from([
            "audience",
            "client_id",
            "client_id_issued_at",
            "client_secret_expires_at",
            "create_time",
            "grant_types",
            "redirect_uris",
            "resource_id",
            "response_types",
            "scopes",
            "token_endpoint_auth_method",
            "update_time"
        ]),
        "no empty text, which a client might take for a secret"
    );
    assert!(body["client_id"].as_str().is_some_and(|id| id.starts_with("m2m_")));
    let now = harness.core().clock.now().seconds();
    assert!(body["client_id_issued_at"].as_i64().is_some_and(|at| (now - 60..=now).contains(&at)));
    assert_eq!((&body["token_endpoint_auth_method"], &body["resource_id"]), (&json!("none"), &json!(id.to_string())));
    assert_eq!(body["grant_types"], json!(["authorization_code", "refresh_token"]));

    let full = json!({
        "client_name": "Cursor", "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/cb"],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "token_endpoint_auth_method": "none",
        "scope": "unknown", "contacts": ["a@b.test"], "client_uri": "https://cursor.com", "logo_uri": null, "jwks": {"keys": []},
        "tos_uri": "", "software_id": "x", "software_version": 1, "application_type": "native", "unheard_of": [{ "a": 1 }]
    });
    for path in [path(id), path(id).replace('/', "//")] {
        let body = send(&harness, &path, &full).await.json();
        assert_eq!((&body["client_name"], &body["name"]), (&json!("Cursor"), &json!("Cursor")), "{body}");
        assert_eq!((&body["redirect_uris"], &body["client_uri"]), (&full["redirect_uris"], &full["client_uri"]));
        assert_eq!((&body["scopes"], body.get("scope"), body.get("tos_uri")), (&json!([]), None, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_11_a_client_that_can_keep_a_secret_gets_one_that_works_and_sees_it_once() {
    let harness = Harness::start().await;
    let id = resource(&harness, ResourcePatch::default()).await;
    for method in ["client_secret_basic", "client_secret_post"] {
        let asked = json!({ "redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": method });
        let body = send(&harness, &path(id), &asked).await.json();
        assert_eq!(
            (&body["token_endpoint_auth_method"], &body["client_secret_expires_at"]),
            (&json!(method), &json!(0))
        );
        let (client, secret) = (body["client_id"].as_str().unwrap(), body["client_secret"].as_str().unwrap());
        let (core, environment) = (harness.core(), harness.env_id());
        assert!(clients::authenticate(core, environment, client, secret).await.unwrap().is_some());
        assert!(clients::authenticate(core, environment, client, "test_other").await.unwrap().is_none());
        assert!(clients::authenticate(core, environment, client, "").await.unwrap().is_none());
    }
    let public = send(&harness, &path(id), &json!({ "redirect_uris": ["https://a.example/cb"] })).await.json();
    assert_eq!(public.get("client_secret"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_60_refusals_are_those_of_rfc_7591() {
    let harness = Harness::start().await;
    let id = resource(&harness, ResourcePatch::default()).await;
    let good = json!({ "redirect_uris": ["https://a.example/cb"] });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let (redirect, metadata) = ("invalid_redirect_uri", "invalid_client_metadata");
    for (body, code, part) in [
        (json!({}), redirect, "redirect_uris: must have at least one item"),
        (with("redirect_uris", json!([])), redirect, "redirect_uris"),
        (with("redirect_uris", json!(["https://a.example/cb", "http://a.example/cb"])), redirect, "redirect_uris[1]: "),
        (with("redirect_uris", json!(["https://a.example/#f"])), redirect, "redirect_uris[0]: "),
        (with("redirect_uris", json!("https://a.example/cb")), metadata, "line 1"),
        (with("redirect_uris", json!([1])), metadata, "line 1"),
        (with("client_name", json!("n".repeat(129))), metadata, "client_name: must have at most 128"),
        (with("client_name", json!(7)), metadata, "line 1"),
        (with("client_name", json!("a\u{0}b")), metadata, "U+0000"),
        (with("tos_uri", json!("javascript:alert(1)")), metadata, "tos_uri: "),
        (with("token_endpoint_auth_method", json!("private_key_jwt")), metadata, "token_endpoint_auth_method"),
        (json!([]), metadata, "no client metadata"),
        (json!("x"), metadata, "no client metadata"),
    ] {
        assert_refused(&send(&harness, &path(id), &body).await, 400, code, part);
    }
    let closed = ResourcePatch { registration_disabled: Some(true), ..ResourcePatch::default() };
    let closed = resource(&harness, closed).await;
    for id in [closed.to_string(), "res_1".to_owned(), "res_x".to_owned(), "%6e".to_owned()] {
        assert_refused(&send(&harness, &path(id), &good).await, 403, "access_denied", "not available here");
    }
    let get = harness.rest("GET", &path(id), None, None).await;
    assert_refused(&get, 405, "invalid_request", "POST");
    assert_eq!(get.header("allow"), Some("POST"));
    let base = harness.running().dev_url.clone();
    let raw = async |content_type: &str, body: &'static str| {
        let request = http::Request::post(format!("{base}{}", path(id))).header("content-type", content_type);
        harness.send(&base, Protocol::H1, request, body).await
    };
    assert_refused(&raw("application/json", "{\"redirect_uris\": ").await, 400, metadata, "line 1");
    assert_refused(&raw("application/json", "").await, 400, metadata, "line 1");
    let deep: &'static str = Box::leak(format!("{{\"a\": {}", "[".repeat(50_000)).into_boxed_str());
    assert_refused(&raw("application/json", deep).await, 400, metadata, "line 1");
    assert_refused(&raw("text/plain", "{}").await, 400, "invalid_request", "content type");
    let large = with("client_uri", json!(format!("https://a.example/{}", "x".repeat(100_000))));
    assert_refused(&send(&harness, &path(id), &large).await, 413, "invalid_request", "too large");
    assert_eq!(harness.rest("POST", "/api/v1/resources/a/b/clients:register", None, Some(&good)).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_61_registrations_are_limited_per_address() {
    let limits = LimitsConfig { public_per_ip: 6, ..LimitsConfig::default() };
    let harness = Harness::start_with(|dev| dev.limits = limits).await;
    let id = resource(&harness, ResourcePatch::default()).await;
    let body = json!({ "redirect_uris": ["https://a.example/cb"] });
    assert_eq!(send(&harness, &path(id), &body).await.status, 201);
    let refused = send(&harness, &path(id), &body).await;
    assert_refused(&refused, 429, "temporarily_unavailable", "rate limit");
    assert!(refused.header("retry-after").is_some());
}
