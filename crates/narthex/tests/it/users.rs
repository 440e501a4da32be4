//! Users, memberships and invitations as clients reach them.

use serde_json::{Value, json};

use crate::roles::Client;

async fn organization(client: &Client, name: &str) -> String {
    let made = client.ok(201, "POST", "/api/v1/organizations", Some(json!({ "display_name": name }))).await;
    made["organization"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usr_02_usr_05_inv_03_mem_05_a_users_life_over_rest() {
    let client = Client::start().await;
    let (acme, bolt) = (organization(&client, "Acme").await, organization(&client, "Bolt").await);
    let new = json!({
        "email": "Ann@Example.com", "external_id": "crm/1", "metadata": { "plan": "pro" },
        "membership": { "roles": [{ "name": "admin" }], "metadata": { "seat": "a-1" } },
        "user_profile": { "first_name": "Ann", "custom_attributes": { "floor": "3" } },
    });
    let path = format!("/api/v1/organizations/{acme}/users");
    let ann = client.ok(201, "POST", &path, Some(new.clone())).await["user"].clone();
    let id = ann["id"].as_str().expect("an id");
    let member = &ann["memberships"][0];
    assert_eq!((&member["membership_status"], &member["name"]), (&json!("PENDING_INVITE"), &json!("Acme")));
    assert_eq!(
        (&member["roles"][0]["name"], member["permissions"].as_array().map(Vec::len)),
        (&json!("admin"), Some(12))
    );
    assert_eq!(
        (&ann["user_profile"]["given_name"], &ann["user_profile"]["first_name"]),
        (&json!("Ann"), &json!("Ann"))
    );
    let error = client.refused(400, "POST", &path, Some(new)).await;
    assert_eq!(error["message"], "duplicate key not allowed: email already exists");

    let resend = format!("/api/v1/invites/organizations/{acme}/users/{id}/resend");
    let invite = client.ok(200, "PATCH", &resend, Some(json!({}))).await["invite"].clone();
    assert_eq!((&invite["status"], &invite["resent_count"]), (&json!("PENDING_INVITE"), &json!(1)));
    assert_eq!(invite["expires_at"], member["expires_at"]);

    let joined = format!("/api/v1/memberships/organizations/{bolt}/users:external/crm%2F1?send_invitation_email=false");
    let both = client.ok(201, "POST", &joined, Some(json!({}))).await["user"].clone();
    assert_eq!(both["memberships"][1]["membership_status"], "ACTIVE");
    let resend = format!("/api/v1/invites/organizations/{bolt}/users/{id}/resend");
    client.refused(400, "PATCH", &resend, Some(json!({}))).await;

    let roles = format!("/api/v1/organizations/{bolt}/users/{id}/roles");
    let names = |answer: &Value| -> Vec<String> {
        let roles = answer["roles"].as_array().expect("roles").iter();
        roles.map(|role| role["name"].as_str().expect("a name").to_owned()).collect()
    };
    let held = client.ok(200, "POST", &roles, Some(json!([{ "role_name": "admin" }]))).await;
    assert_eq!(names(&held), ["admin", "member"]);
    client.ok(200, "DELETE", &format!("{roles}/admin"), None).await;
    client.refused(404, "DELETE", &format!("{roles}/admin"), None).await;
    assert_eq!(names(&client.ok(200, "GET", &roles, None).await), ["member"]);
    let permissions =
        client.ok(200, "GET", &format!("/api/v1/organizations/{bolt}/users/{id}/permissions"), None).await;
    assert_eq!(permissions["permissions"].as_array().map(Vec::len), Some(2));

    let found = client.ok(200, "GET", "/api/v1/users:search?query=ann%40ex", None).await;
    assert_eq!((&found["total_size"], &found["users"][0]["id"]), (&json!(1), &ann["id"]));
    client.refused(400, "GET", "/api/v1/users:search?query=an", None).await;
    client.refused(404, "GET", "/api/v1/organizations/org_123456789012345/users:search?query=ann", None).await;
    let listed = client.ok(200, "GET", &format!("/api/v1/organizations/{bolt}/users?page_size=1"), None).await;
    assert_eq!(
        (&listed["total_size"], listed["users"][0]["memberships"].as_array().map(Vec::len)),
        (&json!(1), Some(1))
    );

    let change = json!({ "user_profile": { "last_name": "Lee" } });
    let changed = client.ok(200, "PATCH", "/api/v1/users:external/crm%2F1", Some(change)).await["user"].clone();
    assert_eq!(
        (&changed["user_profile"]["family_name"], &changed["metadata"]),
        (&json!("Lee"), &json!({ "plan": "pro" }))
    );

    let member = format!("/api/v1/memberships/organizations/{bolt}/users/{id}");
    client.ok(200, "DELETE", &format!("{member}?cascade=false"), None).await;
    client.refused(404, "DELETE", &member, None).await;
    client.ok(200, "DELETE", &format!("/api/v1/memberships/organizations/{acme}/users/{id}"), None).await;
    client.refused(404, "GET", &format!("/api/v1/users/{id}"), None).await;
    client.ok(200, "DELETE", &format!("/api/v1/users/{id}"), None).await;
    client.refused(404, "DELETE", "/api/v1/users:external/crm%2F1", None).await;
}
