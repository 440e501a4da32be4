//! Roles and permissions as clients reach them.

use std::time::Duration;

use http::Request;
use narthex_api::scalekit::v1::roles as wire;
use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::sessions::{self, NewSession};
use narthex_core::{testing, tokens};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Harness, Protocol, Reply};

const HOUR: Duration = Duration::from_hours(1);

/// A server and a token of its environment's client.
pub struct Client {
    pub harness: Harness,
    pub token: String,
}

impl Client {
    pub async fn start() -> Self {
        let harness = Harness::start().await;
        let token = harness.client_token().await;
        Self { harness, token }
    }

    pub async fn send(&self, verb: &str, path: &str, json: Option<Value>) -> Reply {
        self.harness.rest(verb, path, Some(&self.token), json.as_ref()).await
    }

    /// The answer to what must succeed with this status.
    pub async fn ok(&self, status: u16, verb: &str, path: &str, json: Option<Value>) -> Value {
        let reply = self.send(verb, path, json).await;
        assert_eq!(reply.status, status, "{verb} {path}: {}", reply.text());
        reply.json()
    }

    /// The answer to what must be refused so, with its message.
    pub async fn refused(&self, status: u16, verb: &str, path: &str, json: Option<Value>) -> Value {
        let reply = self.send(verb, path, json).await;
        assert_eq!(reply.status, status, "{verb} {path}: {}", reply.text());
        let body = reply.json();
        assert_eq!(body["details"][0]["@type"], "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo", "{body}");
        body
    }

    pub async fn organization(&self, name: &str) -> String {
        let made = self.ok(201, "POST", "/api/v1/organizations", Some(json!({ "display_name": name }))).await;
        made["organization"]["id"].as_str().expect("an id").to_owned()
    }

    /// The token of a new member of one organization, whose role allows this.
    pub async fn session(&self, organization: &str, permissions: &[&str]) -> String {
        let organization = OrganizationId::parse(organization).expect("an id");
        let environment = self.harness.environment(self.harness.env_id()).await;
        let user =
            testing::member(self.harness.core(), &environment, organization, permissions).await.expect("a member");
        self.open(NewSession::browser(user, Some(organization), HOUR)).await
    }

    /// The token of an organization's portal.
    pub async fn portal(&self, organization: &str, features: &[&str]) -> String {
        let organization = OrganizationId::parse(organization).expect("an id");
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        self.open(NewSession::portal(organization, None, features, HOUR)).await
    }

    /// The token of a session.
    pub async fn open(&self, new: NewSession) -> String {
        let environment = self.harness.environment(self.harness.env_id()).await;
        let session = sessions::open(self.harness.core(), environment.id, new).await.expect("a session");
        tokens::mint_session(self.harness.core(), &environment, &session, HOUR).await.expect("a token").access_token
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_02_rbac_05_roles_over_rest_have_the_published_shape() {
    let client = Client::start().await;
    for name in ["docs:read", "docs:write"] {
        client.ok(201, "POST", "/api/v1/permissions", Some(json!({ "name": name, "description": "Docs" }))).await;
    }
    let viewer = json!({ "name": "viewer", "display_name": "Viewer", "permissions": ["docs:read"] });
    let made = &client.ok(201, "POST", "/api/v1/roles", Some(viewer)).await["role"];
    assert!(made["id"].as_str().is_some_and(|id| id.starts_with("role_")));
    assert_eq!(made["description"], "");
    for (field, value) in [
        ("default_creator", json!(false)),
        ("default_member", json!(false)),
        ("is_org_role", json!(false)),
        ("dependent_roles_count", json!(0)),
    ] {
        assert_eq!(made[field], value, "{made}");
    }
    assert!(made.get("extends").is_none(), "absent where there is none: {made}");
    let editor =
        json!({ "name": "editor", "displayName": "Editor", "extends": "viewer", "permissions": ["docs:write"] });
    let made = client.ok(201, "POST", "/api/v1/roles", Some(editor)).await;
    assert_eq!(made["role"]["extends"], "viewer");

    let get =
        async |query: &str| client.ok(200, "GET", &format!("/api/v1/roles/editor{query}"), None).await["role"].clone();
    assert_eq!(get("").await["permissions"], json!([]));
    assert_eq!(names(&get("?include=permissions").await["permissions"]), ["docs:write"]);
    let all = get("?include=permissions:all").await;
    let sources: Vec<_> =
        all["permissions"].as_array().unwrap().iter().map(|p| (&p["name"], &p["role_name"])).collect();
    assert_eq!(sources, [(&json!("docs:write"), &json!("editor")), (&json!("docs:read"), &json!("viewer"))]);
    assert_eq!(all["permissions"][0]["description"], "Docs");
    client.refused(400, "GET", "/api/v1/roles/editor?include=everything", None).await;
    let listed = client.ok(200, "GET", "/api/v1/roles", None).await;
    assert_eq!(names(&listed["roles"]), ["admin", "member", "viewer", "editor"]);
    assert_eq!(listed["roles"][2]["dependent_roles_count"], 1);
    let direct = client.ok(200, "GET", "/api/v1/roles/editor/permissions", None).await;
    assert_eq!(names(&direct["permissions"]), ["docs:write"]);
    let effective = client.ok(200, "GET", "/api/v1/roles/editor/permissions:all", None).await;
    assert_eq!(names(&effective["permissions"]), ["docs:write", "docs:read"]);
    let dependents = client.ok(200, "GET", "/api/v1/roles/viewer/dependents", None).await;
    assert_eq!(names(&dependents["roles"]), ["editor"]);

    let changed = client.ok(200, "PUT", "/api/v1/roles/editor", Some(json!({ "description": "Writes" }))).await;
    assert_eq!(
        (&changed["role"]["description"], &changed["role"]["display_name"]),
        (&json!("Writes"), &json!("Editor"))
    );
    let error = client.refused(400, "PUT", "/api/v1/roles/viewer", Some(json!({ "extends": "editor" }))).await;
    assert_eq!(error["details"][0]["validation_error_info"]["field_violations"][0]["field"], "role.extends");
    assert_eq!(client.ok(200, "DELETE", "/api/v1/roles/editor/base", None).await, json!({}));
    assert!(get("").await.get("extends").is_none());
    client.ok(200, "DELETE", "/api/v1/roles/viewer", None).await;
    let error = client.refused(404, "GET", "/api/v1/roles/viewer", None).await;
    assert_eq!((&error["code"], &error["details"][0]["error_code"]), (&json!(5), &json!("NOT_FOUND")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_02_rbac_04_rbac_13_bad_names_and_twins_are_400() {
    let client = Client::start().await;
    let role = |name: &str| Some(json!({ "name": name, "display_name": "X" }));
    client.ok(201, "POST", "/api/v1/roles", role("fine_1")).await;
    for bad in ["", "with-hyphen", "with space", "dot.ted", "ünï", &"x".repeat(65)] {
        let error = client.refused(400, "POST", "/api/v1/roles", role(bad)).await;
        assert_eq!(error["details"][0]["error_code"], "INVALID_ARGUMENT", "{bad}");
    }
    let error = client.refused(400, "POST", "/api/v1/roles", role("fine_1")).await;
    assert_eq!(error["message"], "duplicate key not allowed: name already exists");
    client.refused(400, "POST", "/api/v1/roles", Some(json!({ "name": "x", "display_name": "" }))).await;

    let permission = |name: &str| Some(json!({ "name": name, "description": "" }));
    client.ok(201, "POST", "/api/v1/permissions", permission("docs:read")).await;
    for bad in ["", "docs-read", "docs.read", "docs read", "sk_org_new", &"x".repeat(65)] {
        client.refused(400, "POST", "/api/v1/permissions", permission(bad)).await;
    }
    let error = client.refused(400, "POST", "/api/v1/permissions", permission("docs:read")).await;
    assert_eq!(error["message"], "duplicate key not allowed: name already exists");
    let put = json!({ "name": "other", "description": "Reads" });
    let changed = client.ok(200, "PUT", "/api/v1/permissions/docs:read", Some(put)).await;
    assert_eq!(
        (&changed["permission"]["name"], &changed["permission"]["description"]),
        (&json!("docs:read"), &json!("Reads"))
    );
    assert_eq!(client.ok(200, "DELETE", "/api/v1/permissions/docs:read", None).await, json!({}));
    client.refused(404, "DELETE", "/api/v1/permissions/docs:read", None).await;
    client.refused(400, "DELETE", "/api/v1/permissions/sk_org_sso_read", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_13_permissions_over_rest_are_paged_and_filtered() {
    let client = Client::start().await;
    for i in 0..3 {
        client
            .ok(201, "POST", "/api/v1/permissions", Some(json!({ "name": format!("p{i}"), "description": "" })))
            .await;
    }
    let list = async |query: &str| client.ok(200, "GET", &format!("/api/v1/permissions{query}"), None).await;
    let all = list("").await;
    assert_eq!(
        (&all["total_size"], &all["next_page_token"], &all["prev_page_token"]),
        (&json!(15), &json!(""), &json!(""))
    );
    assert_eq!(&names(&all["permissions"])[..3], ["p2", "p1", "p0"]);
    assert!(all["permissions"][0]["create_time"].as_str().is_some_and(|time| time.ends_with('Z')));
    let first = list("?type=ENVIRONMENT&page_size=2").await;
    assert_eq!((names(&first["permissions"]), &first["total_size"]), (vec!["p2", "p1"], &json!(3)));
    let token = first["next_page_token"].as_str().unwrap();
    let second = list(&format!("?type=ENVIRONMENT&page_size=2&page_token={token}")).await;
    assert_eq!((names(&second["permissions"]), &second["next_page_token"]), (vec!["p0"], &json!("")));
    let built_in = list("?type=SCALEKIT").await;
    assert_eq!(built_in["total_size"], 12);
    assert!(built_in["permissions"].as_array().unwrap().iter().all(|p| p["is_scalekit_permission"] == true));
    for bad in ["?page_size=0", "?page_size=101", "?page_token=x", "?type=NONE"] {
        client.refused(400, "GET", &format!("/api/v1/permissions{bad}"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_14_permissions_of_a_role_over_rest() {
    let client = Client::start().await;
    client.ok(201, "POST", "/api/v1/permissions", Some(json!({ "name": "docs:read", "description": "" }))).await;
    client.ok(201, "POST", "/api/v1/roles", Some(json!({ "name": "viewer", "display_name": "Viewer" }))).await;
    let path = "/api/v1/roles/viewer/permissions";
    let none = client.ok(200, "POST", path, Some(json!({ "permission_names": ["no:such"] }))).await;
    assert_eq!(none["permissions"], json!([]));
    let one = client.ok(200, "POST", path, Some(json!({ "permission_names": ["docs:read", "no:such"] }))).await;
    assert_eq!(names(&one["permissions"]), ["docs:read"]);
    client.refused(400, "POST", path, Some(json!({ "permission_names": ["mal-formed"] }))).await;
    client.refused(400, "POST", path, Some(json!({ "permission_names": [] }))).await;
    client.ok(200, "DELETE", &format!("{path}/docs:read"), None).await;
    client.refused(404, "DELETE", &format!("{path}/docs:read"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_08_to_rbac_12_defaults_counts_and_deletion_over_rest() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    for name in ["owner", "guest"] {
        client.ok(201, "POST", "/api/v1/roles", Some(json!({ "name": name, "display_name": name }))).await;
    }
    let local = json!({ "name": "local", "display_name": "Local", "extends": "guest" });
    let made = client.ok(201, "POST", &format!("/api/v1/organizations/{acme}/roles"), Some(local)).await;
    assert_eq!(made["role"]["is_org_role"], true);

    // Both names of the call, by name and in the older form by id.
    let set = json!({ "default_creator_role": "owner", "default_member_role": "guest" });
    let defaults = client.ok(200, "PATCH", "/api/v1/roles:set_defaults", Some(set)).await;
    assert_eq!(
        (&defaults["default_creator"]["name"], &defaults["default_member"]["name"]),
        (&json!("owner"), &json!("guest"))
    );
    let admin = client.ok(200, "GET", "/api/v1/roles/admin", None).await["role"]["id"].clone();
    let set = json!({ "default_creator": { "id": admin } });
    let defaults = client.ok(200, "PATCH", "/api/v1/roles/default", Some(set)).await;
    assert_eq!(
        (&defaults["default_creator"]["name"], &defaults["default_member"]["name"]),
        (&json!("admin"), &json!("guest"))
    );
    let unknown = json!({ "default_creator_role": "owner", "default_member_role": "nobody" });
    client.refused(400, "PATCH", "/api/v1/roles:set_defaults", Some(unknown)).await;
    client.refused(400, "PATCH", "/api/v1/roles:set_defaults", Some(json!({}))).await;
    let error = client.refused(400, "DELETE", "/api/v1/roles/guest?reassign_role_name=owner", None).await;
    assert_eq!(error["code"], 9);

    let roles = format!("/api/v1/organizations/{acme}/roles");
    let set = Some(json!({ "default_member_role": "local" }));
    let default = client.ok(200, "PATCH", &format!("{roles}:set_defaults"), set).await;
    assert_eq!(
        (&default["default_member"]["name"], &default["default_member"]["default_member"]),
        (&json!("local"), &json!(true))
    );
    let listed = client.ok(200, "GET", &roles, None).await;
    assert_eq!(names(&listed["roles"]), ["admin", "member", "owner", "guest", "local"]);

    let count = async |path: &str| client.ok(200, "GET", path, None).await["count"].clone();
    assert_eq!(count("/api/v1/roles/guest/users:count").await, "0", "an int64 is a string, and may be 0");
    assert_eq!(count(&format!("{roles}/local/users:count")).await, "0");
    assert_eq!(client.ok(200, "DELETE", &format!("{roles}/local/base"), None).await, json!({}));
    let patch = Some(json!({ "display_name": "Here" }));
    assert_eq!(client.ok(200, "PUT", &format!("{roles}/local"), patch.clone()).await["role"]["display_name"], "Here");
    client.refused(404, "PUT", &format!("{roles}/guest"), patch.clone()).await;
    client.ok(200, "DELETE", &format!("{roles}/local"), None).await;
    client.refused(404, "GET", &format!("{roles}/local"), None).await;
    client.refused(404, "PUT", "/api/v1/organizations/org_123456789012345/roles/local", patch).await;
    client.ok(200, "DELETE", "/api/v1/roles/owner?reassign_role_id=member", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_03_sessions_and_portals_see_the_roles_of_their_own_organization() {
    let client = Client::start().await;
    let (acme, other) = (client.organization("Acme").await, client.organization("Other").await);
    for organization in [&acme, &other] {
        let local = json!({ "name": "local", "display_name": "Local", "extends": "member" });
        client.ok(201, "POST", &format!("/api/v1/organizations/{organization}/roles"), Some(local)).await;
    }
    let get = async |token: &str, path: String| client.harness.rest("GET", &path, Some(token), None).await;
    // Whoever has the default role may look.
    let path = format!("/api/v1/organizations/{acme}/users?send_invitation_email=false");
    let ann = client.ok(201, "POST", &path, Some(json!({ "email": "ann@example.com" }))).await;
    let ann = UserId::parse(ann["user"]["id"].as_str().unwrap()).unwrap();
    let reader = client.open(NewSession::browser(ann, OrganizationId::parse(&acme), HOUR)).await;
    let stranger = client.session(&other, &["sk_org_sso_read"]).await;
    let portal = client.portal(&acme, &["sso"]).await;
    for token in [&reader, &portal] {
        let listed = get(token, format!("/api/v1/organizations/{acme}/roles?include=permissions:all")).await;
        assert_eq!(listed.status, 200, "{}", listed.text());
        let listed = listed.json();
        assert_eq!(names(&listed["roles"]), ["admin", "member", "local"]);
        assert_eq!(listed["roles"][1]["dependent_roles_count"], 1, "others' roles are not counted");
        assert_eq!(get(token, format!("/api/v1/organizations/{acme}/roles/local")).await.status, 200);
        for path in ["roles", "roles/local", "roles/member"] {
            assert_eq!(get(token, format!("/api/v1/organizations/{other}/{path}")).await.status, 404);
        }
        let path = format!("/api/v1/organizations/{acme}/roles/local");
        assert_eq!(client.harness.rest("DELETE", &path, Some(token), None).await.status, 403);
    }
    assert_eq!(get(&stranger, format!("/api/v1/organizations/{acme}/roles")).await.status, 403);
    let listed = get(&portal, "/api/v1/roles".to_owned()).await.json();
    assert_eq!(names(&listed["roles"]), ["admin", "member"]);
    assert_eq!(listed["roles"][1]["dependent_roles_count"], 1);
    assert_eq!(get(&reader, "/api/v1/roles".to_owned()).await.status, 403);
    assert_eq!(get(&portal, format!("/api/v1/organizations/{acme}/roles/member/users:count")).await.status, 200);
    assert_eq!(get(&portal, format!("/api/v1/organizations/{other}/roles/member/users:count")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_02_roles_over_grpc_are_the_same() {
    let client = Client::start().await;
    let role = wire::CreateRole { name: "viewer".into(), display_name: "Viewer".into(), ..Default::default() };
    let request = wire::CreateRoleRequest { role: Some(role) }.encode_to_vec();
    let path = "/scalekit.v1.roles.RolesService/CreateRole";
    let reply = client.harness.grpc(path, Some(&client.token), &request).await;
    assert_eq!(reply.status, 0, "{}", reply.text);
    let made = wire::CreateRoleResponse::decode(&*reply.message).unwrap().role.unwrap();
    assert_eq!((made.name.as_str(), made.extends), ("viewer", None));
    let again = client.harness.grpc(path, Some(&client.token), &request).await;
    assert_eq!((again.status, again.text.as_str()), (3, "duplicate key not allowed: name already exists"));
    assert_eq!(again.error_code(), "INVALID_ARGUMENT");
    let request = wire::DeleteRoleRequest { role_name: "admin".into(), ..Default::default() }.encode_to_vec();
    let refused =
        client.harness.grpc("/scalekit.v1.roles.RolesService/DeleteRole", Some(&client.token), &request).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (9, "FAILED_PRECONDITION"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_04_with_an_idempotency_key_a_repeated_create_answers_the_same() {
    let client = Client::start().await;
    let base = client.harness.running().http_url.clone();
    let send = async |path: &str, key: &str, body: &Value| {
        let request = Request::post(format!("{base}{path}"))
            .header("authorization", format!("Bearer {}", client.token))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        client.harness.send(&base, Protocol::H1, request, body.to_string()).await
    };
    let acme = client.organization("Acme").await;
    for (path, name, noun) in [
        ("/api/v1/roles".to_owned(), "viewer", "role"),
        (format!("/api/v1/organizations/{acme}/roles"), "local", "role"),
        ("/api/v1/permissions".to_owned(), "docs_read", "permission"),
    ] {
        let body = json!({ "name": name, "display_name": "X", "description": "" });
        let first = send(&path, &format!("k-{name}"), &body).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let again = send(&path, &format!("k-{name}"), &body).await;
        assert_eq!((again.status, again.json()[noun]["id"].clone()), (first.status, first.json()[noun]["id"].clone()));
        assert_eq!(send(&path, &format!("k2-{name}"), &body).await.status, 400, "another request is a twin");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_08_rbac_12_a_role_with_members_is_counted_kept_and_replaced() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    for name in ["viewer", "editor"] {
        client.ok(201, "POST", "/api/v1/roles", Some(json!({ "name": name, "display_name": name }))).await;
    }
    let users = format!("/api/v1/organizations/{acme}/users");
    let user = json!({ "email": "ann@example.com", "membership": { "roles": [{ "name": "viewer" }] } });
    client.ok(201, "POST", &format!("{users}?send_invitation_email=false"), Some(user)).await;
    let count = async |name: &str| client.ok(200, "GET", &format!("/api/v1/roles/{name}/users:count"), None).await;
    assert_eq!(count("viewer").await["count"], "1");
    let here = client.ok(200, "GET", &format!("/api/v1/organizations/{acme}/roles/viewer/users:count"), None).await;
    assert_eq!(here["count"], "1");
    let error = client.refused(400, "DELETE", "/api/v1/roles/viewer", None).await;
    assert_eq!(error["message"], "role cannot be deleted as it is assigned to users");
    client.refused(400, "DELETE", "/api/v1/roles/viewer?reassign_role_name=nobody", None).await;
    assert_eq!(count("viewer").await["count"], "1");
    client.ok(200, "DELETE", "/api/v1/roles/viewer?reassign_role_name=editor", None).await;
    assert_eq!(count("editor").await["count"], "1");
    client.refused(404, "GET", "/api/v1/roles/viewer", None).await;
}
