//! Domains as clients, administrators of organizations and strangers reach them.

use std::time::Duration;

use narthex_core::ids::OrganizationId;
use narthex_core::sessions::NewSession;
use serde_json::{Value, json};

use crate::roles::Client;

fn of(organization: &str) -> String {
    format!("/api/v1/organizations/{organization}/domains")
}

async fn as_portal(client: &Client, organization: &str) -> String {
    let organization = OrganizationId::parse(organization).expect("an id");
    client.open(NewSession::portal(organization, None, vec!["sso".into()], Duration::from_hours(1))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sso_50_sso_52_an_application_adds_finds_and_removes_domains() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let made = client.ok(200, "POST", &of(&acme), Some(json!({ "domain": "Acme.test" }))).await["domain"].clone();
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["domain"], &made["organization_id"]), (&json!("acme.test"), &json!(acme)));
    assert_eq!(
        (&made["domain_type"], &made["verification_status"], &made["verification_method"]),
        (&json!("ORGANIZATION_DOMAIN"), &json!("VERIFIED"), &json!("ADMIN"))
    );
    let allowed = json!({ "domain": "mail.acme.test", "domain_type": "ALLOWED_EMAIL_DOMAIN" });
    let allowed = client.ok(200, "POST", &of(&acme), Some(allowed)).await["domain"].clone();
    assert_eq!(
        (&allowed["verification_status"], &allowed["verification_method"]),
        (&json!("AUTO_VERIFIED"), &json!("NOT_APPLICABLE"))
    );
    let one = format!("{}/{id}", of(&acme));
    assert_eq!(client.ok(200, "GET", &one, None).await["domain"], made);
    assert_eq!(client.ok(200, "PATCH", &one, Some(json!({}))).await["domain"], made, "nothing of it can be changed");
    assert_eq!(client.ok(200, "PATCH", &format!("{one}:verify"), None).await, json!({ "verified": true }));
    let all = client.ok(200, "GET", &of(&acme), None).await;
    assert_eq!(
        (&all["page_size"], &all["page_number"], &all["domains"]),
        (&json!(2), &json!(0), &json!([made, allowed]))
    );
    let some =
        client.ok(200, "GET", &format!("{}?domain_type=ALLOWED_EMAIL_DOMAIN&page_size=100", of(&acme)), None).await;
    assert_eq!(some["domains"], json!([allowed]));
    assert_eq!(client.ok(200, "DELETE", &one, None).await, json!({}));
    let gone = client.refused(404, "GET", &one, None).await;
    assert_eq!(gone["message"], "domain not found");
    client.refused(404, "DELETE", &one, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sso_51_bad_input_is_refused_with_its_field() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let field = |body: &Value| body["details"][0]["validation_error_info"]["field_violations"][0]["field"].clone();
    for domain in [
        "gmail.com",
        "mailinator.com",
        "co.uk",
        "https://acme.test",
        "a@acme.test",
        "acme",
        "*.acme.test",
        "10.0.0.1",
        "a.b",
    ] {
        let body = client.refused(400, "POST", &of(&acme), Some(json!({ "domain": domain }))).await;
        assert_eq!(field(&body), json!("domain.domain"), "{body}");
    }
    client.ok(200, "POST", &of(&acme), Some(json!({ "domain": "acme.test" }))).await;
    let body = client.refused(400, "POST", &of(&acme), Some(json!({ "domain": "ACME.test" }))).await;
    assert_eq!(body["message"], "duplicate key not allowed: domain already exists");
    for query in ["page_size=-1", "page_number=-1", "page_number=1000000"] {
        client.refused(400, "GET", &format!("{}?{query}", of(&acme)), None).await;
    }
    for (verb, path) in [
        ("GET", "/dom_1"),
        ("DELETE", "/dom_1"),
        ("PATCH", "/dom_1:verify"),
        ("GET", "/x"),
        ("DELETE", "?connection_id=conn_1"),
    ] {
        let path = if let Some(query) = path.strip_prefix('?') { format!("/dom_1?{query}") } else { path.to_owned() };
        client.refused(404, verb, &format!("{}{path}", of(&acme)), None).await;
    }
    client.refused(404, "GET", &of("org_1"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sso_53_p02_an_administrator_proves_domains_of_the_own_organization() {
    let client = Client::start().await;
    let (acme, other) = (client.organization("Acme").await, client.organization("Other").await);
    let foreign =
        client.ok(200, "POST", &of(&other), Some(json!({ "domain": "other.test" }))).await["domain"]["id"].clone();
    let portal = as_portal(&client, &acme).await;
    let session = client.session(&acme, &["sk_org_settings_manage"]).await;
    let reader = client.session(&acme, &["sk_org_settings_read"]).await;
    let send = async |token: &str, verb: &str, path: String, body: Option<Value>| {
        client.harness.rest(verb, &path, Some(token), body.as_ref()).await
    };
    for token in [&portal, &session] {
        let body = Some(json!({ "domain": "acme.test" }));
        assert_eq!(send(token, "POST", of(&acme), body).await.status, 403, "the feature is off");
        assert_eq!(send(token, "GET", of(&acme), None).await.status, 200);
    }
    let on = json!({ "features": [{ "name": "domain_verification", "enabled": true }] });
    client.ok(200, "PATCH", &format!("/api/v1/organizations/{acme}/settings"), Some(on)).await;
    for (i, token) in [&portal, &session].into_iter().enumerate() {
        let body = Some(json!({ "domain": format!("acme-{i}.test") }));
        let reply = send(token, "POST", of(&acme), body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let made = reply.json()["domain"].clone();
        assert_eq!((&made["verification_status"], &made["verification_method"]), (&json!("PENDING"), &json!("DNS")));
        let id = made["id"].as_str().unwrap();
        assert_eq!(made["txt_record_key"], json!(format!("narthex-verify-{id}")));
        assert_eq!(made["txt_record_secret"].as_str().map(str::len), Some(36));
        for (verb, path) in [
            ("GET", of(&other)),
            ("POST", of(&other)),
            ("GET", format!("{}/{}", of(&other), foreign.as_str().unwrap())),
            ("DELETE", format!("{}/{}", of(&other), foreign.as_str().unwrap())),
            ("DELETE", format!("{}/{}", of(&acme), foreign.as_str().unwrap())),
            ("PATCH", format!("{}/{}:verify", of(&acme), foreign.as_str().unwrap())),
        ] {
            let body = (verb == "POST").then(|| json!({ "domain": "more.test" }));
            assert_eq!(send(token, verb, path.clone(), body).await.status, 404, "{verb} {path}");
        }
        assert_eq!(send(token, "DELETE", format!("{}/{id}", of(&acme)), None).await.status, 200);
    }
    assert_eq!(send(&reader, "POST", of(&acme), Some(json!({ "domain": "more.test" }))).await.status, 403);
    assert_eq!(send(&reader, "GET", of(&acme), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sso_57_strangers_may_ask_and_learn_nothing_by_an_id() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    client.ok(200, "POST", &of(&acme), Some(json!({ "domain": "acme.test" }))).await;
    let on = json!({ "features": [{ "name": "sso", "enabled": true }] });
    client.ok(200, "PATCH", &format!("/api/v1/organizations/{acme}/settings"), Some(on)).await;
    let link = client.ok(200, "PUT", &format!("/api/v1/organizations/{acme}/portal_links"), None).await["link"].clone();
    let secret = link["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let ask = async |link: &str| {
        let path = format!("/api/v1/domains/http%3A%2F%2Flocalhost%3A3000?link_id={link}");
        let reply = client.harness.rest("GET", &path, None, None).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    for nothing in ["", &acme, link["id"].as_str().unwrap(), "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(ask(nothing).await, json!({ "domains": [] }), "{nothing}");
    }
    assert_eq!(ask(&secret).await, json!({ "domains": ["localhost"] }));
    let stranger = client.harness.rest("GET", &of(&acme), None, None).await;
    assert_eq!(stranger.status, 401);
}
