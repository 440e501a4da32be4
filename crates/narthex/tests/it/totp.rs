//! Authenticator apps as an application reaches them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::roles::Client;

/// The code that an app shows `later` steps from now.
pub fn code(client: &Client, uri: &str, later: i64) -> String {
    let (_, rest) = uri.split_once("?secret=").expect("a secret");
    let (secret, _) = rest.split_once("&issuer=").expect("an issuer");
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in secret.bytes() {
        let value = if letter.is_ascii_uppercase() { letter - b'A' } else { letter - b'2' + 26 };
        (bits, count) = (bits << 5 | u32::from(value), count + 5);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("a byte"));
        }
    }
    let step = client.harness.core().clock.real_now().seconds() / 30 + later;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes), &step.to_be_bytes());
    let at = usize::from(mac.as_ref()[19] & 15);
    let part: [u8; 4] = mac.as_ref()[at..at + 4].try_into().expect("four bytes");
    format!("{:06}", (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000)
}

pub async fn register(client: &Client, body: Value) -> (String, String) {
    let made = client.ok(200, "POST", "/api/v1/totp/registration", Some(body)).await["totp_registration"].clone();
    let text = |key: &str| made[key].as_str().unwrap_or_else(|| panic!("{key} in {made}")).to_owned();
    assert!(made["create_time"].is_string() && made["update_time"].is_string(), "{made}");
    (text("id"), text("qr_code_uri"))
}

#[tokio::test(flavor = "multi_thread")]
async fn totp_01_totp_02_totp_03_an_app_is_registered_enabled_verified_and_disabled() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let path = format!("/api/v1/organizations/{acme}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({"email": "ann@example.com"}))).await;
    let ann = made["user"]["id"].as_str().unwrap().to_owned();
    let of_ann = format!("/api/v1/user/{ann}/totp:verify");

    client.refused(404, "POST", &of_ann, Some(json!({"code": "123456"}))).await;
    let (id, uri) = register(&client, json!({"user_id": ann})).await;
    assert!(uri.starts_with("otpauth://totp/") && uri.contains(":ann@example.com?secret="), "{uri}");
    client.refused(404, "POST", &of_ann, Some(json!({"code": code(&client, &uri, 0)}))).await;
    let (enable, verify) = (format!("/api/v1/totp/{id}/enable"), format!("/api/v1/totp/{id}/verify"));
    let wrong = client.refused(400, "POST", &enable, Some(json!({"code": "12345"}))).await;
    assert!(wrong.to_string().contains("\"code\""), "{wrong}");
    client.refused(400, "POST", &enable, Some(json!({}))).await;
    let first = code(&client, &uri, 0);
    let enabled = client.ok(200, "POST", &enable, Some(json!({"code": first}))).await;
    assert_eq!((&enabled["id"], enabled["backup_codes"].as_array().unwrap().len()), (&json!(id), 10));
    client.refused(400, "POST", &enable, Some(json!({"code": code(&client, &uri, 1)}))).await;

    let valid = async |path: &str, code: &str| {
        client.ok(200, "POST", path, Some(json!({ "code": code }))).await["valid"].clone()
    };
    assert_eq!(valid(&of_ann, &first).await, json!(false), "used");
    assert_eq!(valid(&verify, enabled["backup_codes"][0].as_str().unwrap()).await, json!(true));
    assert_eq!(valid(&of_ann, enabled["backup_codes"][0].as_str().unwrap()).await, json!(false));
    client.refused(400, "POST", "/api/v1/totp/registration", Some(json!({"user_id": ann}))).await;
    assert_eq!(valid(&of_ann, "wrong").await, json!(false));
    assert_eq!(valid(&of_ann, "wrong").await, json!(false));
    // "12345" above was the first of five.
    let locked = client.refused(429, "POST", &of_ann, Some(json!({"code": code(&client, &uri, 1)}))).await;
    assert_eq!(locked["details"][0]["error_code"], "RATE_LIMITED");
    client.refused(429, "POST", &format!("/api/v1/totp/{id}/disable"), Some(json!({"code": "x"}))).await;
    client.harness.core().clock.advance(std::time::Duration::from_mins(10));
    client.refused(400, "POST", &format!("/api/v1/totp/{id}/disable"), Some(json!({"code": "x"}))).await;
    let last = json!({"code": enabled["backup_codes"][1]});
    let gone = client.ok(200, "POST", &format!("/api/v1/totp/{id}/disable"), Some(last)).await;
    assert_eq!(gone, json!({}));
    client.refused(404, "POST", &of_ann, Some(json!({"code": code(&client, &uri, 1)}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totp_01_whose_app_it_is_must_be_said_and_be_known() {
    let client = Client::start().await;
    let path = "/api/v1/totp/registration";
    client.refused(400, "POST", path, Some(json!({}))).await;
    client.refused(400, "POST", path, Some(json!({"user_id": "ann"}))).await;
    client.refused(400, "POST", path, Some(json!({"account_name": "x".repeat(356)}))).await;
    client.refused(404, "POST", path, Some(json!({"user_id": "usr_1"}))).await;
    for id in ["totp_1", "x"] {
        client.refused(404, "POST", &format!("/api/v1/totp/{id}/enable"), Some(json!({"code": "1"}))).await;
        client.refused(404, "POST", &format!("/api/v1/totp/{id}/verify"), Some(json!({"code": "1"}))).await;
        client.refused(404, "POST", &format!("/api/v1/totp/{id}/disable"), Some(json!({"code": "1"}))).await;
    }
    client.refused(404, "POST", "/api/v1/user/usr_1/totp:verify", Some(json!({"code": "1"}))).await;
    let (id, uri) = register(&client, json!({"account_name": "the door"})).await;
    assert!(uri.contains(":the%20door?secret="), "{uri}");
    client.ok(200, "POST", &format!("/api/v1/totp/{id}/enable"), Some(json!({"code": code(&client, &uri, 0)}))).await;
    let session = client.session(&client.organization("Acme").await, &[]).await;
    let reply = client.harness.rest("POST", path, Some(&session), Some(&json!({"account_name": "x"}))).await;
    assert_eq!(reply.status, 403, "apps are registered by the application");
}
