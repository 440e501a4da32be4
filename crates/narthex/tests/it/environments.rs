//! Settings of environments as clients, operators, sessions and portals reach them.

use bytes::Bytes;
use http::Request;
use narthex_api::scalekit::v1::environments as wire;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::tokens;
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Harness, Minted, Protocol, Reply};
use crate::roles::Client;

const SERVICE: &str = "/scalekit.v1.environments.EnvironmentService";

/// One byte more than a file may have.
static LARGE: [u8; 2 * 1024 * 1024 + 1] = [0; 2 * 1024 * 1024 + 1];

impl Client {
    fn id(&self) -> String {
        self.harness.env_id().to_string()
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/environments/{}/{rest}", self.id())
    }

    async fn as_(&self, token: &str, verb: &str, path: &str, json: Option<Value>) -> Reply {
        self.harness.rest(verb, path, Some(token), json.as_ref()).await
    }
}

async fn operator(harness: &Harness, role: FixedRole) -> String {
    let workspace = harness.environment(harness.env_id()).await.workspace_id;
    let email = format!("{}-{}@example.test", role.name(), harness.core().random.base62(6));
    let new = NewMember { email, given_name: String::new(), family_name: String::new(), role };
    let member = members::create(harness.core(), workspace, new).await.expect("a member");
    let hour = std::time::Duration::from_hours(1);
    tokens::mint_member(harness.core(), &member, hour).await.expect("a token").access_token
}

fn names_on(features: &Value) -> Vec<&str> {
    let features = features["features"].as_array().expect("features").iter();
    features.filter(|feature| feature["enabled"] == true).map(|feature| feature["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ses_03_ctl_29_session_settings_over_rest_and_grpc() {
    let client = Client::start().await;
    let path = client.path("session-settings");
    let seeded = client.ok(200, "GET", &path, None).await["session_settings"].clone();
    for (key, value) in [
        ("access_token_expiry", json!(5)),
        ("client_access_token_expiry", json!(1_440)),
        ("absolute_session_timeout", json!(43_200)),
        ("session_management_enabled", json!(true)),
        ("idle_session_timeout", json!(10_080)),
        ("idle_session_enabled", json!(false)),
        ("cookie_persistence_type", json!("PERSISTENT")),
        ("cookie_same_site_setting", json!("LAX_MODE")),
        ("access_token_expiry_unit", json!("MINUTES")),
    ] {
        assert_eq!(seeded[key], value, "{key}");
    }
    assert!(seeded.get("cookie_custom_domain").is_none(), "{seeded}");
    let change =
        json!({"absolute_session_timeout": 2, "absolute_session_timeout_unit": "DAYS", "idle_session_enabled": true});
    let refused = client.refused(400, "PATCH", &path, Some(change)).await;
    let violation = &refused["details"][0]["validation_error_info"]["field_violations"][0];
    assert_eq!(violation["field"], "session_settings.absolute_session_timeout", "its preset of idleness is a week");
    let change =
        json!({"absolute_session_timeout": 30, "absolute_session_timeout_unit": "DAYS", "idle_session_enabled": true});
    let changed = client.ok(200, "PATCH", &path, Some(change)).await;
    assert_eq!(changed["environment_id"], json!(client.id()));
    let changed = &changed["session_settings"];
    assert_eq!(
        (&changed["absolute_session_timeout"], &changed["absolute_session_timeout_unit"]),
        (&json!(30), &json!("DAYS"))
    );
    assert_eq!((&changed["idle_session_enabled"], &changed["access_token_expiry"]), (&json!(true), &json!(5)));
    client.refused(400, "PATCH", &path, Some(json!({"access_token_expiry": 43_201}))).await;
    client.refused(400, "PATCH", &path, Some(json!({"access_token_expiry": 0}))).await;
    let error = client.refused(400, "POST", &path, Some(json!({"access_token_expiry": 5}))).await;
    assert_eq!(error["message"], "duplicate key not allowed: session_settings already exists");

    let request = wire::GetEnvironmentSessionSettingsRequest { id: client.id() };
    let method = format!("{SERVICE}/GetEnvironmentSessionSettings");
    let reply = client.harness.grpc(&method, Some(&client.token), &request.encode_to_vec()).await;
    let answer = wire::GetEnvironmentSessionSettingsResponse::decode(reply.message).unwrap().session_settings.unwrap();
    assert_eq!((answer.absolute_session_timeout, answer.absolute_session_timeout_unit), (Some(30), 3));
    let session_settings = Some(wire::SessionSettings { idle_session_timeout: Some(5), ..Default::default() });
    let request = wire::UpdateEnvironmentSessionSettingsRequest { id: client.id(), session_settings };
    let method = format!("{SERVICE}/UpdateEnvironmentSessionSettings");
    let reply = client.harness.grpc(&method, Some(&client.token), &request.encode_to_vec()).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (3, "INVALID_ARGUMENT"), "as short as an access token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ses_03_new_tokens_live_as_long_as_the_settings_say() {
    let client = Client::start().await;
    client.ok(200, "PATCH", &client.path("session-settings"), Some(json!({"client_access_token_expiry": 10}))).await;
    let dev = client.harness.running().dev.as_ref().unwrap().dev.clone();
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    let reply = client.harness.token_request(&[], &form).await.json();
    assert_eq!(reply["expires_in"].as_i64().map(|seconds| (590..=600).contains(&seconds)), Some(true), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_30_dom_03_user_management_over_rest_holds_for_the_next_invitation() {
    let client = Client::start().await;
    let path = client.path("settings/user-management");
    let seeded = client.ok(200, "GET", &path, None).await["user_management"].clone();
    assert_eq!((&seeded["allow_organization_signup"], &seeded["invitation_expiry"]), (&json!(true), &json!(21_600)));
    assert_eq!(seeded["org_user_relationship"], "MULTIPLE_ORGANIZATIONS");
    assert!(seeded.get("max_users_limit").is_none() && seeded["enable_max_users_limit"] == false, "{seeded}");
    let error = client.refused(400, "POST", &path, Some(json!({}))).await;
    assert_eq!(error["message"], "duplicate key not allowed: user_management already exists");

    let acme = client.organization("Acme").await;
    let invite = format!("/api/v1/organizations/{acme}/users");
    let change =
        json!({"block_public_email_domains": true, "block_disposable_email_domains": true, "invitation_expiry": 60});
    let changed = client.ok(200, "PATCH", &path, Some(change)).await;
    assert_eq!(changed["user_management"]["invitation_expiry"], 60);
    assert_eq!(changed["user_management"]["allow_organization_signup"], true, "what is absent stays");
    for address in ["ann@gmail.com", "ann@mailinator.com"] {
        client.refused(400, "POST", &invite, Some(json!({"email": address}))).await;
    }
    let made = client.ok(201, "POST", &invite, Some(json!({"email": "ann@acme.example"}))).await;
    let member = &made["user"]["memberships"][0];
    let at = |key: &str| {
        time::OffsetDateTime::parse(member[key].as_str().unwrap(), &time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    assert_eq!((at("expires_at") - at("created_at")).whole_minutes(), 60);

    let error = client.refused(400, "PATCH", &path, Some(json!({"enable_max_users_limit": true}))).await;
    assert!(error["message"].as_str().unwrap().contains("user_management.max_users_limit"), "{error}");
    client.ok(200, "PATCH", &path, Some(json!({"enable_max_users_limit": true, "max_users_limit": 1}))).await;
    let error = client.refused(400, "POST", &invite, Some(json!({"email": "bob@acme.example"}))).await;
    assert!(error["message"].as_str().unwrap().contains("limit of 1 users"), "{error}");
    client
        .ok(
            200,
            "PATCH",
            &path,
            Some(json!({"enable_max_users_limit": false, "org_user_relationship": "SINGLE_ORGANIZATION"})),
        )
        .await;
    let bolt = client.organization("Bolt").await;
    let elsewhere = format!("/api/v1/organizations/{bolt}/users");
    let error = client.refused(400, "POST", &elsewhere, Some(json!({"email": "ann@acme.example"}))).await;
    assert!(error["message"].as_str().unwrap().contains("another organization"), "{error}");
    client.refused(400, "PATCH", &path, Some(json!({"org_user_relationship": 7}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_32_the_full_stack_switch_and_what_it_takes_away() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let users = format!("/api/v1/organizations/{acme}/users");
    let add = async |email: &str, direct: bool| {
        let path = format!("{users}?send_invitation_email={}", !direct);
        client.send("POST", &path, Some(json!({"email": email}))).await
    };
    let ann = add("ann@example.com", true).await.json()["user"]["id"].as_str().unwrap().to_owned();
    let invited = add("eve@example.com", false).await.json()["user"]["id"].as_str().unwrap().to_owned();
    let session = client.session(&acme, &["sk_org_settings_read"]).await;
    let organization = format!("/api/v1/organizations/{acme}");
    assert_eq!(client.as_(&session, "GET", &organization, None).await.status, 200);
    let all = ["fsa", "sso", "dir_sync", "domain_verification", "session_policy"];
    assert_eq!(names_on(&client.ok(200, "GET", "/api/v1/features", None).await), all);

    assert_eq!(client.ok(200, "POST", "/api/v1/features/fsa/disable", Some(json!({}))).await, json!({}));
    assert_eq!(names_on(&client.ok(200, "GET", "/api/v1/features", None).await), all[1..]);
    for direct in [true, false] {
        let reply = add("bob@example.com", direct).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["code"]), (400, &json!(9)), "{}", reply.text());
    }
    let membership = format!("/api/v1/memberships/organizations/{acme}/users/{ann}");
    assert_eq!(client.refused(400, "POST", &membership, Some(json!({}))).await["code"], 9);
    let resend = format!("/api/v1/invites/organizations/{acme}/users/{invited}/resend");
    assert_eq!(client.refused(400, "PATCH", &resend, Some(json!({}))).await["code"], 9);
    assert_eq!(client.as_(&session, "GET", &organization, None).await.status, 401, "sessions do not count");
    client.refused(403, "GET", &format!("{organization}/application-session-policy"), None).await;
    client.ok(200, "GET", &format!("/api/v1/users/{ann}"), None).await;
    client.ok(200, "GET", &format!("/api/v1/users/{ann}/sessions"), None).await;

    let enable = client.path("features/fsa/enable");
    client.ok(200, "POST", &enable, Some(json!({}))).await;
    assert_eq!(client.as_(&session, "GET", &organization, None).await.status, 200, "and count again");
    assert_eq!(add("bob@example.com", true).await.status, 201);
    client.ok(200, "POST", "/api/v1/features/fsa/enable", Some(json!({}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_switched_by_operators_one_by_one_and_together() {
    let client = Client::start().await;
    let admin = operator(&client.harness, FixedRole::Admin).await;
    let acme = client.organization("Acme").await;
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        let reply = client.as_(token, verb, path, json).await;
        (reply.status.as_u16(), reply.json())
    };
    assert_eq!(send(&admin, "POST", &client.path("features/sso:disable"), None).await, (200, json!({})));
    assert_eq!(send(&admin, "POST", &client.path("features/scim:disable"), None).await.0, 200, "by another name");
    assert_eq!(send(&admin, "POST", &client.path("features/teleport:enable"), None).await.0, 400);
    assert_eq!(send(&admin, "POST", "/api/v1/environments/env_1/features/sso:enable", None).await.0, 404);
    let (_, features) = send(&admin, "GET", "/api/v1/features", None).await;
    assert_eq!(names_on(&features), ["fsa", "domain_verification", "session_policy"]);
    let (status, _) =
        send(&admin, "GET", &format!("/api/v1/organizations/{acme}/application-session-policy"), None).await;
    assert_eq!(status, 200);
    let change = json!([{"name": "sso", "enabled": true}, {"name": "session_policy", "enabled": false}]);
    let (status, features) = send(&admin, "PUT", &client.path("features"), Some(change)).await;
    assert_eq!((status, names_on(&features)), (200, vec!["fsa", "sso", "domain_verification"]));
    let policy = format!("/api/v1/organizations/{acme}/application-session-policy");
    assert_eq!(send(&admin, "GET", &policy, None).await.0, 403, "the environment lacks the feature");
    let bad = json!([{"name": "sso", "enabled": false}, {"name": "teleport", "enabled": true}]);
    let (status, error) = send(&admin, "PUT", &client.path("features"), Some(bad)).await;
    assert_eq!((status, error["message"].as_str().unwrap().contains("features[1].name")), (400, true), "{error}");
    assert!(names_on(&send(&admin, "GET", "/api/v1/features", None).await.1).contains(&"sso"), "all or nothing");

    let viewer = operator(&client.harness, FixedRole::Viewer).await;
    assert_eq!(send(&viewer, "POST", &client.path("features/sso:disable"), None).await.0, 403);
    let portal = client.portal(&acme, &["sso", "dir_sync"]).await;
    assert_eq!(
        send(&portal, "POST", &client.path("features/sso:disable"), None).await.0,
        403,
        "one organization's link"
    );
    let session = client.session(&acme, &[]).await;
    assert_eq!(send(&session, "GET", "/api/v1/features", None).await.0, 200);
    assert_eq!(client.send("PUT", &client.path("features"), Some(json!([]))).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_35_branding_is_saved_and_what_no_page_would_show_is_refused_by_name() {
    let client = Client::start().await;
    let path = client.path("portal_customizations");
    let settings = json!({
        "app_name": "Rocket", "primary_button_color": "#112233", "border_radius": "large", "organization_meta_name": "Workspace",
        "logo_url": "https://cdn.example/logo.png", "organization_logo_branding": true, "portal": {"accent_color": "#fff"}, "theirs": [1.5, null],
    });
    let saved = client.ok(200, "PUT", &path, Some(settings.clone())).await;
    assert_eq!((&saved["environmentId"], &saved["customization_settings"]), (&json!(client.id()), &settings));
    assert_eq!(
        client.ok(200, "PUT", &client.path("customizations"), Some(settings.clone())).await,
        saved,
        "another path to it"
    );

    let admin = operator(&client.harness, FixedRole::Admin).await;
    for path in ["/api/v1/portal_customizations", "/api/v1/environments/-/portal_customizations"] {
        let shown = client.as_(&admin, "GET", path, None).await.json();
        assert_eq!(shown["customization_settings"], settings);
        assert_eq!(shown["settings"]["mcp_consent_screen_v2"], true);
        assert!(shown.get("organization_customizations").is_none());
    }
    let made = json!({"display_name": "Acme", "logo_url": "https://cdn.example/acme.png"});
    let acme = client.ok(201, "POST", "/api/v1/organizations", Some(made)).await["organization"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let portal = client.portal(&acme, &["sso"]).await;
    let shown = client.as_(&portal, "GET", "/api/v1/portal_customizations", None).await.json();
    let expected =
        json!({"organization_logo_branding": true, "display_name": "Acme", "logo_url": "https://cdn.example/acme.png"});
    assert_eq!((&shown["organization_customizations"], &shown["customization_settings"]), (&expected, &settings));
    assert_eq!(client.as_(&portal, "PUT", &path, Some(json!({}))).await.status, 403);

    let bad = json!({"primary_button_color": "red; x", "logo_url": "javascript:alert(1)", "background_style": "red} body {", "app_name": "Fine"});
    let error = client.refused(400, "PUT", &path, Some(bad.clone())).await;
    let violations = error["details"][0]["validation_error_info"]["field_violations"].as_array().unwrap();
    let mut fields: Vec<&str> = violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["background_style", "logo_url", "primary_button_color"].map(|key| format!("customization_settings.{key}"))
    );
    let own = json!({"source": "BRANDING_SOURCE_CUSTOM", "customization_settings": bad});
    client.refused(400, "PUT", &format!("/api/v1/organizations/{acme}/portal_customizations"), Some(own)).await;
    let kept = client.as_(&admin, "GET", "/api/v1/portal_customizations", None).await.json();
    assert_eq!(kept["customization_settings"], settings, "nothing of the refused change stays");
    client.ok(200, "PUT", &path, Some(json!({}))).await;
    let kept = client.as_(&admin, "GET", "/api/v1/portal_customizations", None).await.json();
    assert_eq!(kept["customization_settings"], json!({}), "replaced as a whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_21_ctl_35_a_logo_is_sent_to_its_address_and_fetched_from_another() {
    let client = Client::start().await;
    let admin = operator(&client.harness, FixedRole::Admin).await;
    let make = async |category: &str, extension: &str| {
        let body = json!({"category": category, "extension": extension});
        client.as_(&admin, "POST", &client.path("asset"), Some(body)).await
    };
    let urls = make("PORTAL_CUSTOMIZATION_IMAGE", "png").await;
    assert_eq!(urls.status, 200, "{}", urls.text());
    let (origin, base) = (client.harness.running().dev_url.clone(), client.harness.running().http_url.clone());
    // The origin's own listener speaks TLS; the plain one serves the same environment.
    let path = |key: &str| urls.json()[key].as_str().unwrap().strip_prefix(&origin).expect("of this origin").to_owned();
    let (upload, fetch) = (path("upload_url"), path("fetch_url"));
    assert!(
        fetch.starts_with("/uploads/ast_") && std::path::Path::new(&fetch).extension().is_some_and(|it| it == "png")
    );
    let send = async |verb: &str, path: &str, body: &'static [u8]| {
        let request = Request::builder().method(verb).uri(format!("{base}{path}"));
        client.harness.send(&base, Protocol::H1, request, Bytes::from_static(body)).await
    };
    assert_eq!(send("GET", &fetch, b"").await.status, 404, "not before it has come");
    assert_eq!(send("PUT", &upload, b"<svg onload=alert(1)>").await.status, 400);
    assert_eq!(send("POST", &upload, b"\x89PNG\r\n\x1a\nx").await.status, 405);
    assert_eq!(send("PUT", &upload, b"\x89PNG\r\n\x1a\nx").await.status, 200);
    assert_eq!(send("PUT", &upload, b"\x89PNG\r\n\x1a\ny").await.status, 404, "once");
    let file = send("GET", &fetch, b"").await;
    assert_eq!(
        (file.status.as_u16(), file.header("content-type"), &file.body[..]),
        (200, Some("image/png"), &b"\x89PNG\r\n\x1a\nx"[..])
    );
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    assert!(file.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    for path in ["/uploads/", "/uploads/ast_1.png", "/uploads/x", &upload] {
        assert_eq!(send("GET", path, b"").await.status, 404, "{path}");
    }
    assert_eq!(send("PUT", &upload, &LARGE).await.status, 413);
    for (category, extension) in [
        ("PORTAL_CUSTOMIZATION_IMAGE", "woff"),
        ("PORTAL_CUSTOMIZATION_FONT", "png"),
        ("PORTAL_CUSTOMIZATION_IMAGE", "svg"),
        ("PORTAL_CUSTOMIZATION_IMAGE", ""),
        ("ASSET_CATEGORY_UNSPECIFIED", "png"),
    ] {
        assert_eq!(make(category, extension).await.status, 400, "{category} {extension}");
    }
    assert_eq!(make("PORTAL_CUSTOMIZATION_FONT", "woff2").await.status, 200);
    let viewer = operator(&client.harness, FixedRole::Viewer).await;
    assert_eq!(client.as_(&viewer, "POST", &client.path("asset"), Some(json!({}))).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_10_operators_reach_every_environment_of_their_workspace_by_its_id_and_no_other() {
    let client = Client::start().await;
    let harness = &client.harness;
    let prd = harness.prd_id();
    let owner = operator(harness, FixedRole::Owner).await;
    let get = async |token: &str, id: &str| client.as_(token, "GET", &format!("/api/v1/environments/{id}"), None).await;
    let shown = get(&owner, &prd.to_string()).await.json()["environment"].clone();
    let environment = harness.environment(prd).await;
    assert_eq!(
        (&shown["id"], &shown["domain"], &shown["type"]),
        (&json!(prd.to_string()), &json!(environment.domain), &json!("PRD"))
    );
    let listed = client.as_(&owner, "GET", "/api/v1/environments", None).await.json();
    let names: Vec<&str> =
        listed["environments"].as_array().unwrap().iter().map(|it| it["display_name"].as_str().unwrap()).collect();
    assert_eq!(
        (names, &listed["total_size"]),
        (vec!["Production", "Development"], &json!(2)),
        "without the product's own"
    );
    let second = client.as_(&owner, "GET", "/api/v1/environments?page_size=1&page_token=2", None).await.json();
    assert_eq!(second["environments"][0]["display_name"], "Development");

    // A role for one environment counts for that one, whatever host the request goes to.
    let viewer = operator(harness, FixedRole::Viewer).await;
    let (caller, _) = tokens::authenticate(harness.core(), &environment, &[&viewer], None).await.unwrap();
    let narthex_core::Caller::Member { member, workspace, .. } = caller else { panic!("{caller:?}") };
    members::set_environment_role(
        harness.core(),
        workspace,
        &members::Granter::system(),
        member,
        prd,
        FixedRole::Owner,
    )
    .await
    .unwrap();
    let flow = async |id: &str| {
        let path = format!("/api/v1/environments/{id}/contexts");
        client.as_(&viewer, "PUT", &path, Some(json!({"step": 1}))).await.status.as_u16()
    };
    assert_eq!(flow(&prd.to_string()).await, 403, "the host's environment is asked first");
    members::set_environment_role(
        harness.core(),
        workspace,
        &members::Granter::system(),
        member,
        harness.env_id(),
        FixedRole::Admin,
    )
    .await
    .unwrap();
    members::set_environment_role(
        harness.core(),
        workspace,
        &members::Granter::system(),
        member,
        prd,
        FixedRole::Viewer,
    )
    .await
    .unwrap();
    assert_eq!((flow(&client.id()).await, flow(&prd.to_string()).await), (200, 403));
    let notes = client.as_(&owner, "GET", &client.path("contexts"), None).await.json();
    assert_eq!(notes, json!({"context": {"step": 1}}));

    let seed = "[[workspaces]]\nid = \"wks_8573429015935999\"\nname = \"Other\"\n[[workspaces.environments]]\n\
                id = \"env_8573429015935998\"\nkind = \"dev\"\norigin = \"https://other.test\"\n";
    narthex_core::seed::apply(harness.core(), seed).await.expect("a second workspace");
    for foreign in ["env_8573429015935998", "env_1", "env_x"] {
        assert_eq!(get(&owner, foreign).await.status, 404, "{foreign}");
    }
    // Everybody else has the environment of the host, by its own id alone.
    client.ok(200, "GET", &client.path("session-settings"), None).await;
    client.refused(404, "GET", &format!("/api/v1/environments/{prd}/session-settings"), None).await;
    client.refused(404, "PATCH", &format!("/api/v1/environments/{prd}/session-settings"), Some(json!({}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ses_09_everybody_learns_who_they_are() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let me = async |token: &str| {
        let short = client.as_(token, "GET", "/api/v1/sessions:me", None).await;
        for path in ["/api/v1/environments/-/sessions:me".to_owned(), client.path("sessions:me")] {
            let reply = client.as_(token, "GET", &path, None).await;
            assert_eq!(reply.status, short.status, "{path}");
        }
        assert_eq!(short.status, 200, "{}", short.text());
        short.json()
    };
    let session = me(&client.session(&acme, &[]).await).await;
    assert_eq!(session["organization_id"], json!(acme));
    assert!(
        session["subject"].as_str().unwrap().starts_with("usr_") && session["email"].as_str().unwrap().contains('@')
    );
    assert!(session["session_expiry"].as_str() > session["access_token_expiry"].as_str(), "{session}");
    let portal = me(&client.portal(&acme, &["sso"]).await).await;
    assert_eq!((&portal["organization_id"], portal.get("email")), (&json!(acme), None));
    let (account, caller) = client.harness.mint(Minted::ConnectedAccount, client.harness.env_id()).await;
    let narthex_core::Caller::ConnectedAccount { connected_account, .. } = caller else { panic!("{caller:?}") };
    assert_eq!(me(&account).await["connected_account_id"], json!(connected_account.to_string()));
    let owner = me(&operator(&client.harness, FixedRole::Owner).await).await;
    assert!(owner["email"].as_str().unwrap().starts_with("owner-") && owner.get("session_expiry").is_none());
    client.refused(403, "GET", "/api/v1/sessions:me", None).await;
    let session = client.session(&acme, &[]).await;
    assert_eq!(client.as_(&session, "GET", "/api/v1/environments/env_1/sessions:me", None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_12_public_flags_are_told_to_anybody_at_a_known_host() {
    let client = Client::start().await;
    let flags = client.harness.get("/api/v1/environments:publicFeatureFlags").await;
    assert_eq!(flags.status, 200);
    let first = &flags.json()["flags"][0];
    assert_eq!(
        (&first["key"], &first["value"], &first["reason"]),
        (&json!("custom_branding"), &json!(true), &json!("STATIC"))
    );
    let base = client.harness.running().http_url.clone();
    let request = Request::get(format!("{base}/api/v1/environments:publicFeatureFlags")).header("host", "evil.example");
    assert_eq!(client.harness.send(&base, Protocol::H1, request, "").await.status, 404);
}
