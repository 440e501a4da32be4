//! Connections and test users of the environment as clients reach them.

use std::time::Duration;

use narthex_api::scalekit::v1::connections as wire;
use narthex_core::environments;
use narthex_core::ids::UserId;
use narthex_core::sessions::NewSession;
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Minted, Protocol};
use crate::roles::Client;

const CONNECTIONS: &str = "/api/v1/connections";
const SERVICE: &str = "/scalekit.v1.connections.ConnectionService";

async fn all(client: &Client) -> Vec<Value> {
    client.ok(200, "GET", "/api/v1/connections?include=all", None).await["connections"].as_array().unwrap().clone()
}

async fn id_of(client: &Client, kind: &str) -> String {
    let all = all(client).await;
    let found = all.iter().find(|connection| connection["type"] == kind).expect("a connection of the type");
    found["id"].as_str().unwrap().to_owned()
}

fn new(kind: &str) -> Value {
    json!({ "type": kind, "provider": "SCALEKIT", "provider_key": "SCALEKIT", "key_id": "WEBAUTHN" })
}

fn patch(config: &Value) -> Value {
    json!({ "provider": "SCALEKIT", "provider_key": "SCALEKIT", "type": "PASSWORDLESS", "passwordless_config": config })
}

fn passkeys(config: &Value) -> Value {
    json!({ "provider_key": "SCALEKIT", "key_id": "WEBAUTHN", "type": "WEBAUTHN", "webauthn_config": config })
}

fn field(error: &Value) -> &Value {
    &error["details"][0]["validation_error_info"]["field_violations"][0]["field"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cfg_02_cfg_03_settings_round_trip_and_the_switch_switches() {
    let client = Client::start().await;
    let id = id_of(&client, "PASSWORDLESS").await;
    let one = format!("{CONNECTIONS}/{id}");
    let found = client.ok(200, "GET", &one, None).await["connection"].clone();
    for (name, value) in [
        ("provider", json!("SCALEKIT")),
        ("provider_key", json!("SCALEKIT")),
        ("type", json!("PASSWORDLESS")),
        ("status", json!("COMPLETED")),
        ("enabled", json!(true)),
    ] {
        assert_eq!(found[name], value, "{found}");
    }
    assert!(found.get("organization_id").is_none(), "{found}");
    let first = json!({
        "type": "OTP", "frequency": 1, "validity": 300, "enforce_same_browser_origin": false, "code_challenge_length": 6,
        "code_challenge_type": "NUMERIC", "regenerate_passwordless_credentials_on_resend": false,
    });
    assert_eq!(found["passwordless_config"], first);
    let other = json!({
        "type": "LINK_OTP", "frequency": 3, "validity": 600, "enforce_same_browser_origin": true, "code_challenge_length": 5,
        "code_challenge_type": "ALPHANUMERIC", "regenerate_passwordless_credentials_on_resend": true,
    });
    let changed = client.ok(200, "PATCH", &one, Some(patch(&other))).await["connection"].clone();
    assert_eq!(changed["passwordless_config"], other);
    assert_eq!(client.ok(200, "GET", &one, None).await["connection"], changed);
    let changed = client.ok(200, "PATCH", &one, Some(patch(&json!({ "validity": 120 })))).await["connection"].clone();
    let mut expected = other;
    expected["validity"] = json!(120);
    assert_eq!(changed["passwordless_config"], expected, "what is not sent stays");
    for bad in [json!({ "validity": 30 }), json!({ "code_challenge_length": 8 }), json!({ "validity": 0 })] {
        client.refused(400, "PATCH", &one, Some(patch(&bad))).await;
    }

    for (verb, on) in [("disable", false), ("disable", false), ("enable", true), ("enable", true)] {
        let answer = client.ok(200, "PATCH", &format!("{one}:{verb}"), None).await;
        assert_eq!(answer, json!({ "enabled": on }));
        assert_eq!(client.ok(200, "GET", &one, None).await["connection"]["enabled"], on);
        let shown = client.ok(200, "GET", CONNECTIONS, None).await["connections"].as_array().unwrap().len();
        assert_eq!(shown, usize::from(on), "a list shows what is enabled unless it is asked for all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cfg_01_passwordless_and_passkeys_are_made_once_and_nothing_else_is() {
    let client = Client::start().await;
    for kind in ["PASSWORDLESS", "WEBAUTHN"] {
        let error = client.refused(400, "POST", CONNECTIONS, Some(new(kind))).await;
        assert_eq!(error["message"], "duplicate key not allowed: type already exists");
        let id = id_of(&client, kind).await;
        assert_eq!(client.ok(200, "DELETE", &format!("{CONNECTIONS}/{id}"), None).await, json!({}));
        client.refused(404, "GET", &format!("{CONNECTIONS}/{id}"), None).await;
        client.refused(404, "DELETE", &format!("{CONNECTIONS}/{id}"), None).await;
        client.refused(404, "PATCH", &format!("{CONNECTIONS}/{id}:enable"), None).await;
        let made = client.ok(201, "POST", CONNECTIONS, Some(new(kind))).await["connection"].clone();
        assert_eq!((&made["enabled"], &made["type"]), (&json!(false), &json!(kind)), "{made}");
        assert_ne!(made["id"], json!(id));
    }
    for kind in ["PASSWORD", "INVALID", "OIDC", "SAML"] {
        let error = client.refused(400, "POST", CONNECTIONS, Some(new(kind))).await;
        assert_eq!(field(&error), "connection.type", "{kind}");
    }
    for kind in ["OAUTH", "API_KEY"] {
        let error = client.refused(501, "POST", CONNECTIONS, Some(new(kind))).await;
        assert!(error["message"].as_str().unwrap().ends_with("not built yet"), "{error}");
    }
    for bad in [
        json!({ "type": "PASSWORDLESS" }),
        json!({ "type": "PASSWORDLESS", "provider": "SCALEKIT" }),
        json!({ "type": "PASSWORDLESS", "provider": "OKTA", "provider_key": "SCALEKIT" }),
        json!({ "type": "WEBAUTHN", "provider_key": "SCALEKIT", "key_id": "PASSKEY" }),
        json!({ "type": 77, "provider_key": "SCALEKIT" }),
    ] {
        client.refused(400, "POST", CONNECTIONS, Some(bad)).await;
    }
    for id in ["conn_1", "org_1", "nonsense"] {
        client.refused(404, "GET", &format!("{CONNECTIONS}/{id}"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cfg_04_the_numbers_of_a_connection_are_its_own_on_the_binary_wire() {
    let client = Client::start().await;
    let id = id_of(&client, "PASSWORDLESS").await;
    let change = |number: i32| {
        wire::UpdateEnvironmentConnectionRequest {
            connection_id: id.clone(),
            connection: Some(wire::UpdateConnection {
                provider_key: "SCALEKIT".into(),
                settings: Some(wire::update_connection::Settings::PasswordlessConfig(wire::PasswordLessConfig {
                    r#type: number,
                    ..wire::PasswordLessConfig::default()
                })),
                ..wire::UpdateConnection::default()
            }),
        }
        .encode_to_vec()
    };
    for (number, name) in [(1, "LINK"), (2, "OTP"), (3, "LINK_OTP"), (0, "LINK_OTP")] {
        let path = format!("{SERVICE}/UpdateEnvironmentConnection");
        let reply = client.harness.grpc(&path, Some(&client.token), &change(number)).await;
        assert_eq!(reply.status, 0, "{}", reply.text);
        let connection = wire::UpdateConnectionResponse::decode(reply.message).unwrap().connection.unwrap();
        let Some(wire::connection::Settings::PasswordlessConfig(config)) = connection.settings else {
            panic!("settings")
        };
        assert_eq!(config.r#type, if number == 0 { 3 } else { number });
        let shown = client.ok(200, "GET", &format!("{CONNECTIONS}/{id}"), None).await;
        assert_eq!(shown["connection"]["passwordless_config"]["type"], name);
    }
    let refused =
        client.harness.grpc(&format!("{SERVICE}/UpdateEnvironmentConnection"), Some(&client.token), &change(4)).await;
    assert_eq!(refused.status, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wan_05_limits_of_passkey_settings_are_enforced() {
    let client = Client::start().await;
    let id = id_of(&client, "WEBAUTHN").await;
    let one = format!("{CONNECTIONS}/{id}");
    let found = client.ok(200, "GET", &one, None).await["connection"].clone();
    assert_eq!((&found["key_id"], &found["enabled"]), (&json!("WEBAUTHN"), &json!(false)));
    let config = found["webauthn_config"].clone();
    assert_eq!(config["rp"]["ids"], json!(["localhost"]));
    assert_eq!(config["timeout"]["login"], "300s");
    assert_eq!(config["show_passkey_button"], true);
    let written = client.ok(200, "PATCH", &one, Some(passkeys(&config))).await["connection"].clone();
    assert_eq!(written["webauthn_config"], config, "what was read can be written");

    let eleven: Vec<String> = (0..11).map(|i| format!("h{i}.acme.test")).collect();
    let origins: Vec<String> = eleven.iter().map(|host| format!("https://{host}")).collect();
    let ids: Vec<String> = (0..51).map(|i| format!("id-{i}")).collect();
    for bad in [
        json!({ "rp": { "ids": [], "origins": ["https://acme.test"] } }),
        json!({ "rp": { "ids": ["acme.test"], "origins": [] } }),
        json!({ "rp": { "ids": eleven, "origins": ["https://acme.test"] } }),
        json!({ "rp": { "ids": ["acme.test"], "origins": origins } }),
        json!({ "rp": { "ids": ["https://acme.test"], "origins": ["https://acme.test"] } }),
        json!({ "rp": { "ids": ["acme.test"], "origins": ["http://acme.test"] } }),
        json!({ "attestation": { "conveyance_preference": "enterprise" } }),
        json!({ "attestation": { "enterprise_approved_ids": ids } }),
        json!({ "authenticators": { "desired_authenticator_status": ["NOT_A_STATUS"] } }),
        json!({ "authenticators": { "undesired_authenticator_status": vec!["REVOKED"; 11] } }),
        json!({ "authenticator_selection": { "user_verification": "always" } }),
        json!({ "authenticator_selection": { "authenticator_attachment": "usb" } }),
        json!({ "timeout": { "registration": "119s" } }),
        json!({ "timeout": { "registration_uvd": "1801s" } }),
        json!({ "timeout": { "login": "0s" } }),
        json!({ "timeout": { "login_uvd": "119.999s" } }),
    ] {
        client.refused(400, "PATCH", &one, Some(passkeys(&bad))).await;
        assert_eq!(client.ok(200, "GET", &one, None).await["connection"], written);
    }
    let full = json!({
        "rp": { "ids": ["acme.test", "auth.acme.test"], "origins": ["https://acme.test", "https://auth.acme.test:8443"] },
        "attestation": { "conveyance_preference": "direct", "enterprise_approved_ids": ["one"] },
        "authenticators": {
            "validate_entry": true, "validate_entry_permit_zero_aaguid": false, "validate_anchors": true, "validate_status": true,
            "validate_attestation_type": false, "desired_authenticator_status": ["FIDO_CERTIFIED"],
            "undesired_authenticator_status": ["REVOKED"],
        },
        "authenticator_selection": { "user_verification": "required", "authenticator_attachment": "platform" },
        "timeout": { "registration": "120s", "registration_uvd": "1800s", "login": "150.500s", "login_uvd": "600s" },
        "enable_auto_registration": true, "show_passkey_button": false, "enable_conditional_login": true,
    });
    let written = client.ok(200, "PATCH", &one, Some(passkeys(&full))).await;
    assert_eq!(written["connection"]["webauthn_config"], full);
    let some = json!({ "timeout": { "login": "200s" }, "show_passkey_button": true });
    let written = client.ok(200, "PATCH", &one, Some(passkeys(&some))).await["connection"]["webauthn_config"].clone();
    assert_eq!((&written["timeout"]["login"], &written["timeout"]["registration"]), (&json!("200s"), &json!("120s")));
    assert_eq!((&written["rp"], &written["show_passkey_button"]), (&full["rp"], &json!(true)));
    assert_eq!(written["enable_auto_registration"], false, "switches have no other way to be switched off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cfg_01_connections_of_the_environment_are_nobody_elses() {
    let client = Client::start().await;
    let id = id_of(&client, "PASSWORDLESS").await;
    let acme = client.organization("Acme").await;
    let other = client.organization("Other").await;
    let none = json!({ "connections": [] });
    assert_eq!(client.ok(200, "GET", &format!("{CONNECTIONS}?include=all&organization_id={acme}"), None).await, none);
    assert_eq!(client.ok(200, "GET", &format!("{CONNECTIONS}?include=all&domain=acme.test"), None).await, none);
    client.refused(404, "GET", &format!("{CONNECTIONS}?organization_id=org_1"), None).await;
    client.refused(400, "GET", &format!("{CONNECTIONS}?domain={}", "x".repeat(33)), None).await;

    // An administrator of an organization sees nothing beyond it.
    for token in [client.portal(&acme, &["sso"]).await, client.session(&acme, &["sk_org_sso_read"]).await] {
        let get = async |path: String| client.harness.rest("GET", &path, Some(&token), None).await;
        assert_eq!(get(format!("{CONNECTIONS}?include=all")).await.json(), none);
        assert_eq!(get(format!("{CONNECTIONS}?include=all&organization_id={acme}")).await.json(), none);
        assert_eq!(get(format!("{CONNECTIONS}?organization_id={other}")).await.status, 404);
        assert_eq!(get(format!("{CONNECTIONS}/{id}")).await.status, 403);
    }
    let environment = client.harness.env_id();
    let (account, _) = client.harness.mint(Minted::ConnectedAccount, environment).await;
    assert_eq!(client.harness.rest("GET", &format!("{CONNECTIONS}/{id}"), Some(&account), None).await.status, 404);

    // Nor does the client of another environment.
    let prd = client.harness.running().prd_url.clone();
    let (token, _) = client.harness.mint(Minted::Client, client.harness.prd_id()).await;
    let get = async |path: String| client.harness.rest_at(&prd, Protocol::H1, "GET", &path, Some(&token), None).await;
    assert_eq!(get(format!("{CONNECTIONS}/{id}")).await.status, 404);
    let theirs = get(format!("{CONNECTIONS}?include=all")).await.json();
    assert_eq!(theirs["connections"].as_array().unwrap().len(), 2);
    assert!(theirs["connections"].as_array().unwrap().iter().all(|connection| connection["id"] != json!(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tst_01_ctl_31_test_users_over_rest() {
    let client = Client::start().await;
    let environment = client.harness.env_id();
    let path = format!("/api/v1/environments/{environment}/settings/test-user");
    let first = json!({ "test_user": { "enabled": false, "static_confirmation_code": "424242", "emails": [] } });
    assert_eq!(client.ok(200, "GET", &path, None).await, first);
    let change =
        json!({ "test_user": { "enabled": true, "emails": ["John+SkTest@acme.test", "john+sktest@ACME.test"] } });
    let kept = json!({ "enabled": true, "static_confirmation_code": "424242", "emails": ["john+sktest@acme.test"] });
    let answer = client.ok(200, "PATCH", &path, Some(change)).await;
    assert_eq!(answer, json!({ "environment_id": environment.to_string(), "test_user": kept }));
    assert_eq!(client.ok(200, "GET", &path, None).await["test_user"], kept);
    let change = json!({ "test_user": { "static_confirmation_code": "135790" } });
    let answer = client.ok(200, "PATCH", &path, Some(change)).await;
    assert_eq!(answer["test_user"]["emails"], kept["emails"], "what is not sent stays");
    let bad = json!({ "test_user": { "static_confirmation_code": "424242", "emails": ["a+sktest@acme.test", "a@acme.test"] } });
    let error = client.refused(400, "PATCH", &path, Some(bad)).await;
    assert_eq!(field(&error), "test_user.emails[1]");
    assert!(error["message"].as_str().unwrap().contains("a@acme.test"), "{error}");
    assert_eq!(client.ok(200, "GET", &path, None).await["test_user"], answer["test_user"]);
    client.refused(400, "PATCH", &path, Some(json!({}))).await;

    let prd = client.harness.prd_id();
    client.refused(404, "GET", &format!("/api/v1/environments/{prd}/settings/test-user"), None).await;
    assert!(environments::by_id(client.harness.core(), prd).await.unwrap().is_some());
    // Whoever is signed in must not learn the code of others.
    let session = client.open(NewSession::browser(UserId(1), None, Duration::from_hours(1))).await;
    let reply = client.harness.rest("GET", &path, Some(&session), None).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(!reply.text().contains("135790"));
}
