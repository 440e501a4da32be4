//! API tokens as clients reach them.

use narthex_api::scalekit::v1::tokens as wire;
use prost::Message;
use serde_json::{Value, json};

use crate::roles::Client;

const TOKENS: &str = "/api/v1/tokens";

async fn make(client: &Client, organization: &str) -> Value {
    let token = json!({ "organization_id": organization, "custom_claims": { "tier": "gold" }, "description": "CI" });
    client.ok(201, "POST", TOKENS, Some(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn apit_01_apit_02_apit_03_a_token_lives_from_its_making_to_its_end() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let made = make(&client, &acme).await;
    let (plain, id) = (made["token"].as_str().unwrap(), made["token_id"].as_str().unwrap());
    let info = &made["token_info"];
    assert_eq!((&info["token_id"], &info["organization_id"]), (&json!(id), &json!(acme)));
    assert_eq!((&info["token_suffix"], &info["description"]), (&json!(plain[44..]), &json!("CI")));
    assert!(info.get("expiry").is_none() && info.get("user_id").is_none());
    for text in [plain, id] {
        let valid = client.ok(200, "POST", "/api/v1/tokens:validate", Some(json!({ "token": text }))).await;
        assert_eq!(&valid["token_info"], info);
        let message = wire::ValidateTokenRequest { token: text.to_owned() }.encode_to_vec();
        let path = "/scalekit.v1.tokens.ApiTokenService/ValidateToken";
        let reply = client.harness.grpc(path, Some(&client.token), &message).await;
        assert_eq!(reply.status, 0);
    }
    let listed = client.ok(200, "GET", &format!("{TOKENS}?organization_id={acme}"), None).await;
    assert_eq!((&listed["tokens"][0], &listed["total_count"]), (info, &json!(1)));
    assert!(!listed.to_string().contains(plain), "a token is shown once");
    let ended = client.ok(200, "POST", "/api/v1/tokens:invalidate", Some(json!({ "token": plain }))).await;
    assert_eq!(ended, json!({}));
    client.ok(200, "POST", "/api/v1/tokens:invalidate", Some(json!({ "token": id }))).await;
    // Never 401 or code 16: every SDK would fetch an access token and ask again.
    let body = client.refused(404, "POST", "/api/v1/tokens:validate", Some(json!({ "token": plain }))).await;
    assert_eq!((&body["code"], &body["message"]), (&json!(5), &json!("token not found")));
    client.refused(404, "POST", "/api/v1/tokens:invalidate", Some(json!({ "token": "never" }))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apit_05_a_token_is_changed_and_never_fetched() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let made = make(&client, &acme).await;
    let id = made["token_id"].as_str().unwrap();
    let update = async |change: Value| {
        let mut body = json!({ "token": id });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        client.ok(200, "POST", "/api/v1/tokens:update", Some(body)).await["token_info"].clone()
    };
    let same = update(json!({ "custom_claims": {} })).await;
    assert_eq!((&same["custom_claims"], &same["description"]), (&json!({ "tier": "gold" }), &json!("CI")));
    let changed = update(json!({ "custom_claims": { "seats": "3" }, "description": "" })).await;
    assert_eq!((&changed["custom_claims"], changed.get("description")), (&json!({ "seats": "3" }), None));
    let empty = json!({ "token": id, "custom_claims": { "seats": "" } });
    client.refused(400, "POST", "/api/v1/tokens:update", Some(empty)).await;
    let fetch = client.send("POST", "/api/v1/tokens:fetch", Some(json!({ "token_id": id }))).await;
    assert_eq!(fetch.status, 404, "{}", fetch.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn apit_01_apit_04_bad_input_is_refused_with_its_field() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    for (status, token) in [
        (404, json!({ "organization_id": "org_1" })),
        (404, json!({ "organization_id": "acme" })),
        (400, json!({ "organization_id": acme, "expiry": "2020-01-01T00:00:00Z" })),
        (400, json!({ "organization_id": acme, "user_id": "usr_1" })),
        (400, json!({ "organization_id": acme, "user_id": "ann" })),
        (400, json!({ "organization_id": acme, "custom_claims": { "": "x" } })),
        (400, json!({ "organization_id": acme, "description": "x".repeat(256) })),
    ] {
        client.refused(status, "POST", TOKENS, Some(token)).await;
    }
    client.refused(400, "GET", &format!("{TOKENS}?organization_id={acme}&page_size=31"), None).await;
    client.refused(404, "GET", &format!("{TOKENS}?organization_id=org_1"), None).await;
    let listed = client.ok(200, "GET", &format!("{TOKENS}?organization_id={acme}&user_id=nobody"), None).await;
    assert_eq!((&listed["tokens"], &listed["total_count"]), (&json!([]), &json!(0)));
}
