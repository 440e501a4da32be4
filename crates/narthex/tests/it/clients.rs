//! ClientService as clients reach it.

use std::time::Duration;

use narthex_api::scalekit::v1::clients as wire;
use narthex_core::clients::machines;
use narthex_core::consents::{self, Grant};
use narthex_core::events::Actor;
use narthex_core::ids::{OrganizationId, ResourceId};
use narthex_core::sessions::NewSession;
use narthex_core::{resources, testing};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Harness, Minted};
use crate::roles::Client;

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {value}"))
}

async fn token(harness: &Harness, client_id: &str, secret: &str) -> (u16, Value) {
    let form = [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret)];
    let reply = harness.token_request(&[], &form).await;
    (reply.status.as_u16(), reply.json())
}

/// The id of the environment's default client.
fn default_client(client: &Client) -> String {
    client.harness.running().dev.as_ref().expect("narthex dev").dev.client_id.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn app_02_ctl_38_an_application_over_rest_is_made_patched_and_deleted() {
    let client = Client::start().await;
    let new = json!({
        "name": "Web", "client_type": "WEB_APP", "post_login_uris": ["https://app.example.com/cb"],
        "initiateLoginUri": "https://app.example.com/login", "access_token_expiry": "900"
    });
    let made = client.ok(200, "POST", "/api/v1/clients", Some(new)).await;
    let id = text(&made, "/client/id").to_owned();
    assert!(id.starts_with("webc_") && text(&made, "/client/keyId").starts_with("key_"), "{made}");
    assert_eq!(made["client"]["client_type"], "WEB_APP");
    assert_eq!(made["client"]["access_token_expiry"], "900");
    assert_eq!((&made["client"]["enforce_pkce"], &made["client"]["secrets"]), (&json!(false), &json!([])));

    let path = format!("/api/v1/clients/{id}");
    // Without a mask a PATCH touches what its body names: what is named and empty is cleared, what is not named stays.
    let body = json!({ "initiate_login_uri": "", "name": "New" });
    let patched = client.ok(200, "PATCH", &path, Some(body)).await;
    assert_eq!((&patched["client"]["initiate_login_uri"], &patched["client"]["name"]), (&json!(""), &json!("New")));
    assert_eq!(patched["client"]["post_login_uris"], json!(["https://app.example.com/cb"]));
    let masked = format!("{path}?mask=name");
    let patched = client.ok(200, "PATCH", &masked, Some(json!({ "name": "Only", "enforce_pkce": true }))).await;
    assert_eq!((&patched["client"]["name"], &patched["client"]["enforce_pkce"]), (&json!("Only"), &json!(false)));
    let refused = client.refused(400, "PATCH", &format!("{path}?mask=client_type"), Some(json!({ "name": "x" }))).await;
    assert_eq!(text(&refused, "/details/0/validation_error_info/field_violations/0/field"), "mask");
    let refused = client.refused(400, "PATCH", &path, Some(json!({ "post_login_uris": ["data:x"] }))).await;
    let field = text(&refused, "/details/0/validation_error_info/field_violations/0/field");
    assert_eq!(field, "client.post_login_uris[0]");
    assert_eq!(client.ok(200, "GET", &path, None).await["client"]["name"], "Only");
    assert_eq!(client.ok(200, "DELETE", &path, None).await, json!({}));
    assert!(text(&client.refused(404, "GET", &path, None).await, "/message").contains("not found"));

    let bad = json!({ "name": "x", "client_type": "ENV" });
    client.refused(400, "POST", "/api/v1/clients", Some(bad)).await;
    let default = format!("/api/v1/clients/{}", default_client(&client));
    client.refused(400, "DELETE", &default, None).await;
    let theirs = client.harness.running().dev.as_ref().unwrap().prd.client_id.clone();
    client.refused(404, "GET", &format!("/api/v1/clients/{theirs}"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_38_lists_over_rest_filter_by_type() {
    let client = Client::start().await;
    for kind in ["WEB_APP", "SPA", "NTV"] {
        client.ok(200, "POST", "/api/v1/clients", Some(json!({ "name": "x", "client_type": kind }))).await;
    }
    let types = async |query: &str| -> Vec<String> {
        let list = client.ok(200, "GET", &format!("/api/v1/clients{query}"), None).await;
        assert_eq!(list["total_size"], json!(list["clients"].as_array().unwrap().len()));
        list["clients"].as_array().unwrap().iter().map(|c| text(c, "/client_type").to_owned()).collect()
    };
    assert_eq!(types("").await, ["ENV"]);
    assert_eq!(types("?filter.client_type=SPA&filter.client_type=NTV").await, ["NTV", "SPA"]);
    assert_eq!(types("?filter.client_type=ALL").await.len(), 4);
    let secretive = client.ok(200, "GET", "/api/v1/clients?include_plain_secret=true", None).await;
    assert!(!secretive.to_string().contains("plain_secret"), "{secretive}");
    client.refused(400, "GET", "/api/v1/clients?filter.client_type=WEB", None).await;
    client.refused(400, "GET", "/api/v1/clients?page_size=31", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn app_03_ctl_40_ctl_41_a_secret_is_shown_once_and_switched_off_over_rest() {
    let client = Client::start().await;
    let id = default_client(&client);
    let secrets = format!("/api/v1/clients/{id}/secrets");
    let made = client.ok(201, "POST", &secrets, None).await;
    let (plain, secret) = (text(&made, "/plain_secret").to_owned(), text(&made, "/secret/id").to_owned());
    assert!(plain.starts_with("test_") && secret.starts_with("sks_"));
    assert_eq!(made["secret"]["status"], "ACTIVE", "the zero of its enumeration is written");
    assert!(plain.ends_with(text(&made, "/secret/secret_suffix")));
    assert_eq!(client.refused(400, "POST", &secrets, None).await["code"], 9, "two are active");
    assert_eq!(token(&client.harness, &id, &plain).await.0, 200);
    let one = format!("{secrets}/{secret}");
    for (verb, status) in [("PUT", "INACTIVE"), ("PATCH", "ACTIVE"), ("PATCH", "INACTIVE")] {
        let changed = client.ok(200, verb, &one, Some(json!({ "status": status }))).await;
        assert_eq!((text(&changed, "/secret/status"), text(&changed, "/secret/id")), (status, &*secret));
    }
    let (status, error) = token(&client.harness, &id, &plain).await;
    assert_eq!((status, text(&error, "/error")), (401, "invalid_client"));
    assert!(!client.ok(200, "GET", &format!("/api/v1/clients/{id}"), None).await.to_string().contains(&plain));
    assert_eq!(client.ok(200, "DELETE", &one, None).await, json!({}));
    client.refused(404, "DELETE", &one, None).await;
    client.refused(404, "DELETE", &format!("{secrets}/sec_1"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn app_09_ctl_43_the_environments_redirect_uris_answer_as_published() {
    let client = Client::start().await;
    let path = "/api/v1/environment/redirect-uris";
    let add = async |status, uri: &str| {
        let reply = client.send("POST", path, Some(json!({ "redirect_uri": uri }))).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        reply.json()
    };
    let added = add(200, "https://app.example.com/cb").await;
    assert_eq!(text(&added, "/client_id"), default_client(&client));
    assert!(added["redirect_uris"].as_array().unwrap().contains(&json!("https://app.example.com/cb")));
    add(409, "https://app.example.com/cb").await;
    add(400, "https://app.example.com/cb?x=1").await;
    let remove = async |status, uri: &str| {
        let reply = client.send("DELETE", &format!("{path}?redirect_uri={uri}"), None).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    };
    remove(404, "https%3A%2F%2Fapp.example.com%2Fother").await;
    remove(200, "https%3A%2F%2Fapp.example.com%2Fcb").await;
    let set = json!({ "initiate_login_uri": "https://app.example.com/login" });
    let set = client.ok(200, "PUT", "/api/v1/environment/initiate-login-uri", Some(set)).await;
    assert_eq!(text(&set, "/initiate_login_uri"), "https://app.example.com/login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_13_a_web_application_without_api_access_is_refused_in_words_that_the_go_sdk_looks_for() {
    let client = Client::start().await;
    let new = json!({ "name": "Web", "client_type": "WEB_APP" });
    let made = client.ok(200, "POST", "/api/v1/clients", Some(new)).await;
    let id = text(&made, "/client/id").to_owned();
    let made = client.ok(201, "POST", &format!("/api/v1/clients/{id}/secrets"), None).await;
    let plain = text(&made, "/plain_secret").to_owned();
    let (status, issued) = token(&client.harness, &id, &plain).await;
    assert_eq!(status, 200);
    let bearer = text(&issued, "/access_token");
    assert_eq!(client.harness.rest("GET", "/api/v1/clients", Some(bearer), None).await.status, 200);
    let off = json!({ "disallow_scalekit_api_access": true });
    client.ok(200, "PATCH", &format!("/api/v1/clients/{id}"), Some(off)).await;
    assert_eq!(client.harness.rest("GET", "/api/v1/clients", Some(bearer), None).await.status, 401);
    let (status, error) = token(&client.harness, &id, &plain).await;
    assert_eq!((status, text(&error, "/error")), (400, "unauthorized_client"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_14_an_address_outside_of_the_list_is_refused_by_both_endpoints_and_both_transports() {
    let client = Client::start().await;
    let dev = client.harness.running().dev.as_ref().unwrap().dev.clone();
    let path = format!("/api/v1/clients/{}", dev.client_id);
    let here = json!({ "ip_allowlist": { "opted_in": true, "cidrs": [{ "value": "127.0.0.0/8", "type": "IPV4" }] } });
    let set = client.ok(200, "PATCH", &path, Some(here)).await;
    assert_eq!(set["client"]["ip_allowlist"]["cidrs"][0], json!({ "value": "127.0.0.0/8", "type": "IPV4" }));
    client.ok(200, "GET", &path, None).await;
    let elsewhere = json!({ "ip_allowlist": { "cidrs": [{ "value": "203.0.113.0/24", "type": "IPV4" }] } });
    client.ok(200, "PATCH", &path, Some(elsewhere)).await;
    let denied = client.refused(403, "GET", &path, None).await;
    assert_eq!(denied["code"], 7);
    let request = wire::GetClientRequest { client_id: dev.client_id.clone() }.encode_to_vec();
    let rpc = "/scalekit.v1.clients.ClientService/GetClient";
    assert_eq!(client.harness.grpc(rpc, Some(&client.token), &request).await.status, 7);
    let (status, error) = token(&client.harness, &dev.client_id, &dev.secret).await;
    assert_eq!((status, text(&error, "/error")), (403, "access_denied"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m2m_01_m2m_02_m2m_03_an_organizations_client_over_rest_and_grpc() {
    let client = Client::start().await;
    let organization = client.organization("Acme").await;
    let path = format!("/api/v1/organizations/{organization}/clients");
    let new = json!({
        "name": "Deploy", "scopes": ["read", "write"], "audience": ["api.acme.example"],
        "custom_claims": [{ "key": "wksp_id", "value": "7" }], "expiry": "600"
    });
    let made = client.ok(201, "POST", &path, Some(new)).await;
    let (id, plain) = (text(&made, "/client/client_id").to_owned(), text(&made, "/plain_secret").to_owned());
    assert_eq!((text(&made, "/client/organization_id"), &made["client"]["expiry"]), (&*organization, &json!("600")));
    assert_eq!(made["client"]["secrets"][0]["status"], "ACTIVE");
    assert!(made["client"]["secrets"][0].get("plain_secret").is_none());
    let (status, issued) = token(&client.harness, &id, &plain).await;
    assert_eq!((status, &issued["scope"]), (200, &json!("read write")));
    // What is left of the 600 seconds, in whole ones.
    assert!(issued["expires_in"].as_i64().is_some_and(|left| (598..=600).contains(&left)), "{issued}");
    // The token is for the customer's own API.
    let bearer = text(&issued, "/access_token");
    assert_eq!(client.harness.rest("GET", &path, Some(bearer), None).await.status, 403);

    let one = format!("{path}/{id}");
    let patched = client.ok(200, "PATCH", &one, Some(json!({ "name": "New" }))).await;
    assert_eq!((text(&patched, "/client/name"), &patched["client"]["scopes"]), ("New", &json!(["read", "write"])));
    let secret = text(&made, "/client/secrets/0/id").to_owned();
    let last = client.refused(400, "DELETE", &format!("{one}/secrets/{secret}"), None).await;
    assert_eq!(text(&last, "/message"), "last client cannot be deleted");
    let added = client.ok(201, "POST", &format!("{one}/secrets"), None).await;
    assert_eq!(token(&client.harness, &id, text(&added, "/plain_secret")).await.0, 200);
    client.ok(200, "DELETE", &format!("{one}/secrets/{secret}"), None).await;
    assert_eq!(token(&client.harness, &id, &plain).await.0, 401);
    client.refused(404, "DELETE", &format!("{one}/secrets/{secret}"), None).await;
    // The RPCs of applications do not know it.
    client.refused(404, "GET", &format!("/api/v1/clients/{id}"), None).await;
    client.refused(404, "POST", &format!("/api/v1/clients/{id}/secrets"), None).await;

    let request = wire::ListOrganizationClientsRequest { organization_id: organization.clone(), ..Default::default() };
    let rpc = "/scalekit.v1.clients.ClientService/ListOrganizationClients";
    let reply = client.harness.grpc(rpc, Some(&client.token), &request.encode_to_vec()).await;
    let answer = wire::ListOrganizationClientsResponse::decode(&*reply.message).unwrap();
    assert_eq!((answer.total_size, answer.clients[0].client_id.as_str()), (1, &*id));
    let other = client.organization("Globex").await;
    client.refused(404, "GET", &format!("/api/v1/organizations/{other}/clients/{id}"), None).await;
    client.ok(200, "DELETE", &one, None).await;
    client.refused(404, "DELETE", &one, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_01_mcp_40_a_resource_over_rest_has_the_published_shape() {
    let client = Client::start().await;
    let core = client.harness.core();
    narthex_core::scopes::create(core, client.harness.env_id(), "todo:read".into(), "Read".into()).await.unwrap();
    let new = json!({
        "name": "Todo", "resource_type": "MCP_SERVER", "resource_id": "http://localhost:3002/", "scopes": ["todo:read"],
        "cimd_client_allowlist": [{ "type": "PREDEFINED", "value": "claude" }]
    });
    let made = client.ok(201, "POST", "/api/v1/resources", Some(new)).await;
    let resource = &made["resource"];
    let id = text(resource, "/id").to_owned();
    assert!(id.starts_with("res_"));
    assert_eq!(
        (text(resource, "/resource_id"), text(resource, "/resource_uri")),
        ("http://localhost:3002/", "http://localhost:3002/")
    );
    assert_eq!(
        (&resource["access_token_expiry"], &resource["refresh_token_expiry"]),
        (&json!("3600"), &json!("2592000"))
    );
    assert_eq!((text(resource, "/scopes/0/name"), &resource["scopes"][0]["enabled"]), ("todo:read", &json!(true)));
    assert_eq!(text(resource, "/protected_metadata/resource"), "http://localhost:3002/");
    let issuer = format!("/resources/{id}");
    assert!(text(resource, "/protected_metadata/authorization_servers/0").ends_with(&issuer));
    assert!(resource.get("connection_details").is_none());

    let path = format!("/api/v1/resources/{id}");
    let connection = client.ok(200, "POST", &format!("{path}/connections"), Some(json!({}))).await;
    assert_eq!(text(&connection, "/connection/status"), "DRAFT");
    let page = json!({ "custom_connection_settings": { "authorize_uri": "https://app.example/login" } });
    let patched = client.ok(200, "PATCH", &path, Some(page)).await;
    let details = &patched["resource"]["connection_details"];
    assert_eq!((text(details, "/id"), text(details, "/type")), (text(&connection, "/connection/id"), "CUSTOM"));
    assert_eq!(text(details, "/settings/authorize_uri"), "https://app.example/login");
    assert_eq!(patched["resource"]["name"], "Todo", "what is not named stays");
    let removed = client.ok(200, "PUT", &format!("{path}/provider:delete"), None).await;
    assert!(removed["resource"].get("connection_details").is_none());
    let cleared = client.ok(200, "PATCH", &path, Some(json!({ "resource_uri": "" }))).await;
    assert_eq!(text(&cleared, "/resource/resource_id"), id);
    let list = client.ok(200, "GET", "/api/v1/resources?resource_type=MCP_SERVER", None).await;
    assert_eq!((&list["total_size"], text(&list, "/resources/0/id")), (&json!(1), &*id));
    client.refused(400, "GET", "/api/v1/resources", None).await;
    let twins = json!({ "name": "x", "resource_type": "MCP_SERVER", "resource_id": "https://a.example", "resource_uri": "https://b.example" });
    client.refused(400, "POST", "/api/v1/resources", Some(twins)).await;
    client.ok(200, "DELETE", &path, None).await;
    client.refused(404, "GET", &path, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_10_mcp_19_clients_of_a_resource_over_rest_and_registration_without_a_caller() {
    let client = Client::start().await;
    let new = json!({ "name": "Todo", "resource_type": "MCP_SERVER" });
    let made = client.ok(201, "POST", "/api/v1/resources", Some(new)).await;
    let resource = text(&made, "/resource/id").to_owned();
    let path = format!("/api/v1/resources/{resource}/clients");
    let made = client.ok(201, "POST", &path, Some(json!({ "name": "Agent", "expiry": 900 }))).await;
    let id = text(&made, "/client/client_id").to_owned();
    assert!(text(&made, "/plain_secret").starts_with("test_"));
    let patched =
        client.ok(200, "PATCH", &format!("{path}/{id}?update_mask=name,expiry"), Some(json!({ "name": "New" }))).await;
    assert_eq!((text(&patched, "/client/name"), &patched["client"]["expiry"]), ("New", &json!("0")));
    // The SDKs manage its secrets as those of an application, after they have looked whose client it is.
    let added = client.ok(201, "POST", &format!("/api/v1/clients/{id}/secrets"), None).await;
    let shown = client.ok(200, "GET", &format!("{path}/{id}"), None).await;
    assert_eq!(
        (text(&shown, "/client/resource_id"), shown["client"]["secrets"].as_array().unwrap().len()),
        (&*resource, 2)
    );
    client.ok(200, "DELETE", &format!("/api/v1/clients/{id}/secrets/{}", text(&added, "/secret/id")), None).await;

    let register = format!("{path}:register");
    let body = json!({
        "client_name": "Cursor", "redirect_uris": ["cursor://cb"], "grant_types": ["authorization_code"], "software_id": "x",
        "token_endpoint_auth_method": "none"
    });
    let reply = client.harness.rest("POST", &register, None, Some(&body)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let registered = reply.json();
    assert!(text(&registered, "/client_id").starts_with("m2m_"));
    assert_eq!(
        (text(&registered, "/resource_id"), &registered["redirect_uris"]),
        (&*resource, &json!(["cursor://cb"]))
    );
    let guessed = client.harness.rest("POST", "/api/v1/resources/res_1/clients:register", None, Some(&body)).await;
    client
        .ok(
            200,
            "PATCH",
            &format!("/api/v1/resources/{resource}"),
            Some(json!({ "disable_dynamic_client_registration": true })),
        )
        .await;
    let closed = client.harness.rest("POST", &register, None, Some(&body)).await;
    assert_eq!((guessed.status.as_u16(), closed.status.as_u16()), (403, 403));
    assert_eq!(guessed.json(), closed.json());

    let list = client.ok(200, "GET", &path, None).await;
    assert_eq!((&list["total_dcr_clients"], &list["total_static_clients"]), (&json!(1), &json!(1)));
    assert_eq!((&list["clients"][0]["is_dcr"], &list["clients"][1]["is_dcr"]), (&json!(true), &json!(false)));
    client.ok(200, "DELETE", &format!("{path}/{id}"), None).await;
    client.refused(404, "GET", &format!("{path}/{id}"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mcp_34_consents_are_revoked_by_administrators_and_by_the_user_alone() {
    let client = Client::start().await;
    let core = client.harness.core();
    let new = json!({ "name": "Todo", "resource_type": "MCP_SERVER" });
    let made = client.ok(201, "POST", "/api/v1/resources", Some(new)).await;
    let resource = text(&made, "/resource/id").to_owned();
    let environment = client.harness.environment(client.harness.env_id()).await;
    let settings = machines::Settings { name: Some("Agent".into()), ..machines::Settings::default() };
    let id = ResourceId::parse(&resource).unwrap();
    let agent = resources::clients::create(core, &environment, &Actor::SYSTEM, id, settings, None).await.unwrap();
    let agent = agent.client.client_id;
    let mut consents = Vec::new();
    let organization = OrganizationId::parse(&client.organization("Acme").await).unwrap();
    let user = testing::member(core, &environment, organization, &[]).await.unwrap();
    for (subject, user) in [("usr_1", Some(user)), ("external", None)] {
        let grant = Grant { client_id: agent.clone(), subject: subject.into(), user, scopes: vec!["a".into()] };
        consents.push(consents::grant(core, environment.id, grant).await.unwrap().id.to_string());
    }
    let list = client.ok(200, "GET", &format!("/api/v1/user_consents?resource_id={resource}"), None).await;
    assert_eq!((&list["total_size"], text(&list, "/consents/0/external_user_id")), (&json!(2), "external"));
    assert_eq!(text(&list, "/consents/0/client_name"), "Agent");
    let filter = format!("/api/v1/user_consents?resource_id={resource}&filter.external_user_id=usr_1");
    assert_eq!(client.ok(200, "GET", &filter, None).await["total_size"], 1);

    let session = client.open(NewSession::browser(user, Some(organization), Duration::from_hours(1))).await;
    let mine = "/api/v1/agent-consents:this";
    let list = client.harness.rest("GET", mine, Some(&session), None).await.json();
    assert_eq!((&list["total_size"], text(&list, "/consents/0/id")), (&json!(1), &*consents[0]));
    let revoke =
        async |id: &str| client.harness.rest("DELETE", &format!("{mine}/{id}"), Some(&session), None).await.status;
    assert_eq!(revoke(&consents[1]).await, 404, "somebody else's");
    assert_eq!(revoke(&consents[0]).await, 200);
    assert_eq!(revoke(&consents[0]).await, 404);
    assert_eq!(client.send("GET", mine, None).await.status, 403, "a client has no consents");
    let path = format!("/api/v1/clients/{agent}/consents/{}", consents[1]);
    client.ok(200, "DELETE", &path, None).await;
    client.refused(404, "DELETE", &path, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_44_operators_manage_scopes_and_clients_do_not() {
    let client = Client::start().await;
    let (operator, _) = client.harness.mint(Minted::Member, client.harness.env_id()).await;
    let send = async |verb: &str, path: &str, json: Option<Value>| {
        client.harness.rest(verb, path, Some(&operator), json.as_ref()).await
    };
    let env = client.harness.env_id();
    let new = json!({ "name": "todo:read", "description": "Read" });
    let made = send("POST", &format!("/api/v1/environments/{env}/scopes"), Some(new.clone())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = text(&made.json(), "/scope/id").to_owned();
    let again = send("POST", "/api/v1/scopes", Some(new.clone())).await;
    assert_eq!(
        (again.status.as_u16(), text(&again.json(), "/message")),
        (400, "duplicate key not allowed: name already exists")
    );
    let elsewhere = send("GET", &format!("/api/v1/environments/{}/scopes", client.harness.prd_id()), None).await;
    assert_eq!(elsewhere.status, 404);
    let changed = send("PATCH", &format!("/api/v1/scopes/{id}"), Some(json!({ "enabled": false }))).await.json();
    assert_eq!((&changed["scope"]["enabled"], text(&changed, "/scope/description")), (&json!(false), "Read"));
    assert_eq!(send("GET", "/api/v1/scopes", None).await.json()["scopes"].as_array().unwrap().len(), 1);
    assert_eq!(client.send("POST", "/api/v1/scopes", Some(new)).await.status, 403);
    assert_eq!(send("POST", "/api/v1/scopes", Some(json!({ "name": "email" }))).await.status, 400);
    assert_eq!(send("DELETE", &format!("/api/v1/scopes/{id}"), None).await.status, 200);
    assert_eq!(send("DELETE", &format!("/api/v1/scopes/{id}"), None).await.status, 404);
}
