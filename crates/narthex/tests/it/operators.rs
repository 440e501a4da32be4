//! Operators: from a login or a one-time link at the product's own environment to the management API, and the members of a workspace as
//! they reach each other.

use std::time::Duration;

use http::Request;
use narthex_api::scalekit::v1::members as wire;
use narthex_core::environments;
use narthex_core::environments::test_users::{self, TestUsersChange};
use narthex_core::login;
use narthex_core::members::{self, FixedRole, Member, NewMember};
use narthex_core::tokens;
use prost::Message;
use serde_json::{Value, json};

use crate::browser::{Browser, CODE};
use crate::harness::{Harness, Protocol, Reply};

const ANN: &str = "ann+sktest@example.com";
const EVE: &str = "eve+sktest@example.com";

/// The origin of the product's own environment.
async fn origin(harness: &Harness) -> String {
    environments::system(harness.core()).await.unwrap().unwrap().origin.clone()
}

async fn member(harness: &Harness, email: &str, role: FixedRole) -> Member {
    let workspace = environments::system(harness.core()).await.unwrap().unwrap().workspace_id;
    let new = NewMember { email: email.to_owned(), given_name: "Ann".into(), family_name: "Lee".into(), role };
    members::create(harness.core(), workspace, new).await.expect("a member")
}

async fn token_of(harness: &Harness, member: &Member) -> String {
    tokens::mint_member(harness.core(), member, Duration::from_hours(1)).await.expect("a token").access_token
}

/// Lets these addresses sign in with the code of test users.
async fn allow(harness: &Harness) {
    let system = environments::system(harness.core()).await.unwrap().unwrap().id;
    let emails = Some(vec![ANN.to_owned(), EVE.to_owned()]);
    test_users::update(harness.core(), system, TestUsersChange { enabled: Some(true), code: None, emails })
        .await
        .unwrap();
}

/// Asks for a token as the dashboard does.
async fn ask(browser: &mut Browser<'_>, origin: &str, form: &[(&str, &str)]) -> Reply {
    browser.send("POST", "/operator/token", Some(form), Some(origin)).await
}

async fn sign_in(browser: &mut Browser<'_>, email: &str) -> crate::browser::Page {
    let page = browser.get("/operator").await;
    assert!(page.at.starts_with("/a/auth/login"), "{}: {}", page.at, page.html);
    let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
    browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_01_the_first_start_prints_a_link_that_signs_the_first_operator_in_once() {
    let harness = Harness::serve(&[]).await.unwrap();
    let link = harness.running().operator_link.clone().expect("a link");
    let origin = origin(&harness).await;
    let path = link.strip_prefix(&origin).expect("at the product's own environment").to_owned();
    let mut browser = Browser::at(&harness, &origin);
    assert_eq!(browser.head(&path).await.status, 200);
    for _ in 0..2 {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && page.html.contains("operator@localhost"), "{}", page.html);
    }
    let forged = browser.send("POST", &path, Some(&[("csrf", "x")]), Some(&origin)).await;
    assert!(forged.status == 200 && browser.jar.is_empty(), "a form of somebody else's signs nobody in");
    let page = browser.get(&path).await;
    let page = browser.submit(&page, &path, &[]).await;
    assert_eq!(page.at, "/operator");
    assert!(page.html.contains("operator@localhost") && page.html.contains("Default (owner)"), "{}", page.html);

    let token = ask(&mut browser, &origin, &[]).await;
    assert_eq!((token.status.as_u16(), token.header("cache-control")), (200, Some("no-store")), "{}", token.text());
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    let dev = origin.replacen("auth.", "dev.", 1);
    let listed = harness.rest_at(&dev, Protocol::H1, "GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(listed.status, 200, "{}", listed.text());

    let mut second = Browser::at(&harness, &origin);
    let page = second.get(&path).await;
    assert!(page.status == 410 && page.html.contains("operator-link"), "{}: {}", page.status, page.html);
    assert!(second.jar.is_empty());
    let dev_host = Request::get(format!("{dev}{path}"));
    assert_eq!(harness.send(&dev, Protocol::H1, dev_host, "").await.status, 404, "at no other environment");
    let harness = harness.restart(|_| {}).await.unwrap();
    assert_eq!(harness.running().operator_link, None, "somebody has signed in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_01_a_link_that_nobody_saw_is_made_good_by_a_later_start_until_somebody_has_signed_in() {
    let harness = Harness::serve(&[]).await.unwrap();
    let lost = harness.running().operator_link.clone().expect("a link");
    let harness = harness.restart(|_| {}).await.unwrap();
    assert_eq!(harness.running().operator_link, None, "the one before may still be used");
    let over = async |harness: &Harness| {
        let sql = "UPDATE operator_links SET expires_at = 1";
        harness.core().db.write(async move |tx| tx.execute(sql, &[]).await).await.expect("its time is over");
    };
    over(&harness).await;
    let harness = harness.restart(|_| {}).await.unwrap();
    let link = harness.running().operator_link.clone().expect("another link");
    assert_ne!(link, lost);
    let system = environments::system(harness.core()).await.unwrap().expect("the product's own environment");
    let secret = link.rsplit('/').next().unwrap();
    let entered =
        login::enter_by_operator_link(harness.core(), &system, secret, &login::Visitor::default(), None).await;
    assert_eq!(entered.unwrap().expect("signed in").member.email, "operator@localhost");
    over(&harness).await;
    let harness = harness.restart(|_| {}).await.unwrap();
    assert_eq!(harness.running().operator_link, None, "somebody has signed in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signs_in_as_everybody_does_and_works_until_the_session_ends() {
    let harness = Harness::start().await;
    allow(&harness).await;
    let origin = origin(&harness).await;
    assert!(origin.starts_with("https://auth.localhost:"), "{origin}");
    let ann = member(&harness, ANN, FixedRole::Admin).await;
    member(&harness, "owner@example.com", FixedRole::Owner).await;
    let mut browser = Browser::at(&harness, &origin);
    let page = sign_in(&mut browser, ANN).await;
    assert_eq!((page.status, page.at.as_str()), (200, "/operator"), "{}", page.html);
    assert!(page.html.contains(ANN) && page.html.contains("Development (admin)"), "{}", page.html);
    assert_eq!(browser.get("/operator").await.at, "/operator", "no login while the session lives");

    for (from, status) in [("https://evil.example", 401), ("null", 401), (origin.as_str(), 200)] {
        let reply = browser.send("POST", "/operator/token", Some(&[]), Some(from)).await;
        assert_eq!(reply.status.as_u16(), status, "{from}");
    }
    assert_eq!(browser.get("/operator/token").await.status, 405);
    let answer = ask(&mut browser, &origin, &[]).await.json();
    assert_eq!((&answer["member_id"], &answer["expires_in"]), (&json!(ann.id.to_string()), &json!(300)));
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let status = async |path: &str| harness.rest("GET", path, Some(&token), None).await.status.as_u16();
    assert_eq!((status("/api/v1/organizations").await, status("/api/v1/members:this").await), (200, 200));
    assert_eq!(
        harness
            .rest("PATCH", "/api/v1/workspaces:this", Some(&token), Some(&json!({"display_name": "X"})))
            .await
            .status,
        403
    );

    // What ends the session ends its tokens.
    let sessions: Vec<(narthex_core::ids::SessionId,)> =
        harness.core().db.read(async |tx| tx.all("SELECT id FROM sessions WHERE kind = 1", &[]).await).await.unwrap();
    let system = environments::system(harness.core()).await.unwrap().unwrap().id;
    narthex_core::sessions::revoke(harness.core(), system, sessions[0].0).await.unwrap();
    assert_eq!(status("/api/v1/organizations").await, 401);
    assert_eq!(ask(&mut browser, &origin, &[]).await.status, 401);

    // Who belongs to no workspace proves an address in vain, and makes nothing.
    let mut stranger = Browser::at(&harness, &origin);
    let page = sign_in(&mut stranger, EVE).await;
    assert!(page.at.starts_with("/operator?") && page.status == 403, "{} {}", page.status, page.at);
    assert!(page.html.contains("access_denied"), "{}", page.html);
    for error in ["Call+555-0100", "access_denied"] {
        let planted = format!("/operator?error={error}&error_description=Call+555-0100+now");
        let page = stranger.get(&planted).await;
        assert!(page.status == 403 && !page.html.contains("555"), "{}", page.html);
    }
    assert_eq!(ask(&mut stranger, &origin, &[]).await.status, 401);
    let users = harness.core().db.read(async move |tx| {
        tx.one::<(i64,)>("SELECT COUNT(*) FROM users WHERE environment_id = $1", &narthex_db::p![system]).await
    });
    assert_eq!(users.await.unwrap().0, 1, "the operator alone");
    // The pages and the token are the product's own environment's.
    for (verb, path) in [("GET", "/operator"), ("POST", "/operator/token"), ("GET", "/operator/link/x")] {
        assert_eq!(harness.rest(verb, path, None, None).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_in_several_workspaces_names_the_one_to_work_in() {
    let harness = Harness::start().await;
    allow(&harness).await;
    let origin = origin(&harness).await;
    let seed = "[[workspaces]]\nid = \"wks_8573429015935999\"\nname = \"Other\"\n[[workspaces]]\nid = \"wks_8573429015935997\"\nname = \"Third\"\n\
                [[workspaces.environments]]\nid = \"env_8573429015935998\"\nkind = \"dev\"\norigin = \"https://third.test\"\n";
    narthex_core::seed::apply(harness.core(), seed).await.unwrap();
    let own = member(&harness, ANN, FixedRole::Owner).await.workspace.to_string();
    let third = narthex_core::ids::WorkspaceId::parse("wks_8573429015935997").unwrap();
    let new =
        NewMember { email: ANN.into(), given_name: String::new(), family_name: String::new(), role: FixedRole::Viewer };
    members::invite(harness.core(), third, &members::Granter::system(), new).await.unwrap();

    let mut browser = Browser::at(&harness, &origin);
    let page = sign_in(&mut browser, ANN).await;
    assert!(page.html.contains("Third (invited)"), "{}", page.html);
    let only = ask(&mut browser, &origin, &[]).await.json();
    assert_eq!(only["workspace_id"], json!(own), "an invitation is no choice to make");
    assert_eq!(only["workspaces"][1]["status"], "PENDING_INVITE");
    let joined = ask(&mut browser, &origin, &[("workspace_id", "wks_8573429015935997")]).await;
    assert_eq!(joined.status, 200, "{}", joined.text());
    let open = ask(&mut browser, &origin, &[]).await;
    assert_eq!(
        (open.status.as_u16(), open.json()["workspaces"].as_array().map(Vec::len)),
        (400, Some(2)),
        "{}",
        open.text()
    );
    for foreign in ["wks_8573429015935999", "wks_1", "x"] {
        assert_eq!(ask(&mut browser, &origin, &[("workspace_id", foreign)]).await.status, 403, "{foreign}");
    }
    let here =
        ask(&mut browser, &origin, &[("workspace_id", &own)]).await.json()["access_token"].as_str().unwrap().to_owned();
    let me = harness.rest("GET", "/api/v1/members:this", Some(&here), None).await.json();
    assert_eq!(me["member"]["workspace_ids"], json!([own, "wks_8573429015935997"]), "all of one's own");
    let there = joined.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        harness.rest("GET", "/api/v1/organizations", Some(&there), None).await.status,
        403,
        "not in the first one's environments"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_20_ctl_21_ctl_25_members_over_rest_and_grpc() {
    let harness = Harness::start().await;
    let owner = member(&harness, "owner@example.com", FixedRole::Owner).await;
    let token = token_of(&harness, &owner).await;
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        let reply = harness.rest(verb, path, Some(token), json.as_ref()).await;
        (reply.status.as_u16(), reply.json())
    };
    let (status, me) = send(&token, "GET", "/api/v1/members:this", None).await;
    assert_eq!((status, me["dashboard_permissions"].as_array().map(Vec::len)), (200, Some(64)), "{me}");
    let me = &me["member"];
    assert_eq!(
        (&me["email"], &me["role"], &me["first_name"]),
        (&json!("owner@example.com"), &json!("ADMIN"), &json!("Ann"))
    );
    assert_eq!(
        (&me["dashboard_role"]["name"], &me["organizations"][0]["membership_status"]),
        (&json!("owner"), &json!("ACTIVE"))
    );

    // As the MCP server sends it, and as the dashboard does.
    let (status, made) =
        send(&token, "POST", "/api/v1/members", Some(json!({"email": "Bob@Example.com", "role": "ADMIN"}))).await;
    assert_eq!(status, 200, "{made}");
    let bob = made["member"].clone();
    assert_eq!((&bob["email"], &bob["dashboard_role"]["name"]), (&json!("bob@example.com"), &json!("admin")));
    let invitation = &bob["organizations"][0];
    assert_eq!(
        (&invitation["membership_status"], &invitation["inviter_email"]),
        (&json!("PENDING_INVITE"), &json!("owner@example.com"))
    );
    let (status, invited) =
        send(&token, "POST", "/api/v1/members/invites", Some(json!({"email": "carl@example.com"}))).await;
    assert_eq!(
        (status, &invited["member"]["dashboard_role"]["name"], &invited["member"]["role"]),
        (200, &json!("member"), &json!("USER"))
    );
    narthex_core::jobs::drain(harness.core()).await.unwrap();
    let mail = harness.get("/dev/mail?to=carl@example.com").await.json();
    let origin = origin(&harness).await;
    assert!(
        mail[0]["links"].as_array().unwrap().iter().any(|link| link == &json!(format!("{origin}/operator"))),
        "{mail:#}"
    );
    assert_eq!(
        send(&token, "POST", "/api/v1/members/invites", Some(json!({"email": "owner@example.com"}))).await.0,
        400
    );
    assert_eq!(send(&token, "POST", "/api/v1/members/invites", Some(json!({"email": "nobody"}))).await.0, 400);
    let (status, error) = send(
        &token,
        "POST",
        "/api/v1/members",
        Some(json!({"email": "d@example.com", "dashboard_role_name": "emperor"})),
    )
    .await;
    assert_eq!(
        (status, error["message"].as_str().unwrap().contains("owner, admin, developer")),
        (400, true),
        "{error}"
    );

    let (_, listed) = send(&token, "GET", "/api/v1/members?page_size=500&page_token=1", None).await;
    let emails: Vec<&str> =
        listed["members"].as_array().unwrap().iter().map(|member| member["email"].as_str().unwrap()).collect();
    assert_eq!(
        (emails, &listed["total_size"]),
        (vec!["carl@example.com", "bob@example.com", "owner@example.com"], &json!(3))
    );
    let path = format!("/api/v1/members/{}", bob["id"].as_str().unwrap());
    let change = json!({"first_name": "Bob", "user_profile": {"family_name": "Ross"}, "metadata": {"team": "paint"}});
    let (_, changed) = send(&token, "PATCH", &path, Some(change)).await;
    assert_eq!(
        (&changed["member"]["user_profile"]["name"], &changed["member"]["metadata"]),
        (&json!("Bob Ross"), &json!({"team": "paint"}))
    );
    let (_, read) = send(&token, "GET", &path, None).await;
    assert_eq!(
        (&read["member"], read["dashboard_permissions"].as_array().map(Vec::len)),
        (&changed["member"], Some(61))
    );
    let (_, mine) = send(&token, "PATCH", "/api/v1/members:this", Some(json!({"first_name": "Anna"}))).await;
    assert_eq!((&mine["member"]["first_name"], &mine["member"]["last_name"]), (&json!("Anna"), &json!("Lee")));

    let own = format!("/api/v1/members/{}", owner.id);
    let (status, error) = send(&token, "DELETE", &own, None).await;
    assert_eq!((status, &error["code"]), (400, &json!(9)), "{error}");
    assert_eq!(send(&token, "DELETE", &path, None).await, (200, json!({})));
    assert_eq!(send(&token, "DELETE", &path, None).await.0, 404);
    assert_eq!(send(&token, "GET", "/api/v1/members/usr_85734290159359991", None).await.0, 404);

    let request = wire::GetMemberRequest { id: owner.id.to_string() };
    let reply =
        harness.grpc("/scalekit.v1.members.MembersService/GetMember", Some(&token), &request.encode_to_vec()).await;
    let answer = wire::GetMemberResponse::decode(reply.message).unwrap();
    assert_eq!((answer.member.unwrap().first_name.as_deref(), answer.dashboard_permissions.len()), (Some("Anna"), 64));
    let request = wire::DeleteMemberRequest { id: owner.id.to_string() };
    let reply =
        harness.grpc("/scalekit.v1.members.MembersService/DeleteMember", Some(&token), &request.encode_to_vec()).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (9, "FAILED_PRECONDITION"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_cannot_rise_and_an_api_client_changes_no_members() {
    let harness = Harness::start().await;
    let owner = member(&harness, "owner@example.com", FixedRole::Owner).await;
    let own = format!("/api/v1/members/{}", owner.id);
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        let reply = harness.rest(verb, path, Some(token), json.as_ref()).await;
        (reply.status.as_u16(), reply.json())
    };
    let admin = token_of(&harness, &member(&harness, "admin@example.com", FixedRole::Admin).await).await;
    let rise = json!({"email": "e@example.com", "dashboard_role_name": "owner"});
    assert_eq!(send(&admin, "POST", "/api/v1/members", Some(rise.clone())).await.0, 403);
    assert_eq!(send(&admin, "DELETE", &own, None).await.0, 403);
    let viewer = token_of(&harness, &member(&harness, "viewer@example.com", FixedRole::Viewer).await).await;
    assert_eq!(send(&viewer, "POST", "/api/v1/members/invites", Some(json!({"email": "f@example.com"}))).await.0, 403);
    assert_eq!(send(&viewer, "GET", "/api/v1/members", None).await.0, 200);
    let client = harness.client_token().await;
    for (verb, path, body) in [
        ("POST", "/api/v1/members/invites", Some(json!({"email": "f@example.com"}))),
        ("POST", "/api/v1/members", Some(rise)),
        ("PATCH", own.as_str(), Some(json!({"first_name": "X"}))),
        ("DELETE", own.as_str(), None),
    ] {
        assert_eq!(send(&client, verb, path, body).await.0, 403, "{verb} {path}");
    }
    assert_eq!(send(&client, "GET", "/api/v1/members", None).await.0, 200);
    assert_eq!(send(&client, "GET", "/api/v1/members:this", None).await.0, 404, "a client is no member");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_23_ctl_24_roles_of_the_dashboard_are_listed_given_and_overridden() {
    let harness = Harness::start().await;
    let owner = token_of(&harness, &member(&harness, "owner@example.com", FixedRole::Owner).await).await;
    let ann = member(&harness, "ann@example.com", FixedRole::Viewer).await;
    let anns = token_of(&harness, &ann).await;
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        let reply = harness.rest(verb, path, Some(token), json.as_ref()).await;
        (reply.status.as_u16(), reply.json())
    };
    let (_, roles) = send(&anns, "GET", "/api/v1/dashboard/roles", None).await;
    let names: Vec<&str> =
        roles["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["owner", "admin", "developer", "member", "viewer"]);
    assert_eq!(
        (&roles["roles"][0]["is_fixed"], roles["roles"][0]["permissions"].as_array().map(Vec::len)),
        (&json!(true), Some(64))
    );
    let (_, catalogue) = send(&anns, "GET", "/api/v1/dashboard/permissions", None).await;
    let catalogue = catalogue["permissions"].as_array().unwrap();
    assert_eq!(catalogue.len(), 64);
    let find = |key: &str| catalogue.iter().find(|permission| permission["key"] == key).unwrap();
    assert_eq!(
        find("members:write"),
        &json!({"key": "members:write", "group": "members", "tier": "workspace", "description": "Change members", "sensitive": true})
    );
    assert_eq!((&find("sso:read")["tier"], &find("sso:read")["sensitive"]), (&json!("environment"), &json!(false)));

    let of_ann = format!("/api/v1/dashboard/members/{}", ann.id);
    let (dev, prd) = (harness.env_id(), harness.prd_id());
    let change = async |token: &str, environment: &str, role: Option<&str>| {
        let path = format!("{of_ann}/environments/{environment}/role");
        match role {
            Some(role) => send(token, "POST", &path, Some(json!({"role": role}))).await.0,
            None => send(token, "DELETE", &path, None).await.0,
        }
    };
    assert_eq!(change(&owner, &dev.to_string(), Some("developer")).await, 200);
    let (_, listed) = send(&owner, "GET", &format!("{of_ann}/environments/roles"), None).await;
    let mut shown: Vec<(String, Value, Value)> = listed["environments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["environment_id"].as_str().unwrap().to_owned(),
                it["effective_role"]["name"].clone(),
                it["is_override"].clone(),
            )
        })
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected =
        vec![(dev.to_string(), json!("developer"), json!(true)), (prd.to_string(), json!("viewer"), json!(false))];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(shown, expected, "without the product's own environment");
    let body = json!({"display_name": "Made by a developer"});
    assert_eq!(send(&anns, "POST", "/api/v1/organizations", Some(body.clone())).await.0, 201);
    let abroad = harness
        .rest_at(
            &harness.running().prd_url.clone(),
            Protocol::H1,
            "POST",
            "/api/v1/organizations",
            Some(&anns),
            Some(&body),
        )
        .await;
    assert_eq!(abroad.status, 403, "a viewer in the other environment");
    assert_eq!(change(&owner, &dev.to_string(), None).await, 200);
    assert_eq!(send(&anns, "POST", "/api/v1/organizations", Some(body)).await.0, 403, "and here again");

    assert_eq!(change(&owner, &dev.to_string(), Some("emperor")).await, 400);
    assert_eq!(change(&owner, "env_85734290159359991", Some("viewer")).await, 403, "an environment of nobody's");
    assert_eq!(change(&anns, &dev.to_string(), Some("owner")).await, 403);
    let stranger = "/api/v1/dashboard/members/usr_85734290159359991/role";
    assert_eq!(send(&owner, "POST", stranger, Some(json!({"role": "viewer"}))).await.0, 403);
    assert_eq!(send(&owner, "POST", &format!("{of_ann}/role"), Some(json!({"role": "emperor"}))).await.0, 400);
    assert_eq!(send(&owner, "POST", &format!("{of_ann}/role"), Some(json!({"role": "admin"}))).await, (200, json!({})));
    let (_, me) = send(&anns, "GET", "/api/v1/members:this", None).await;
    assert_eq!(me["member"]["dashboard_role"]["name"], "admin");
    assert_eq!(
        send(&anns, "POST", &format!("{of_ann}/role"), Some(json!({"role": "owner"}))).await.0,
        403,
        "nobody raises themselves"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_18_the_workspace_is_shown_renamed_and_its_notes_merge() {
    let harness = Harness::start().await;
    let owner = member(&harness, "owner@example.com", FixedRole::Owner).await;
    let token = token_of(&harness, &owner).await;
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        let reply = harness.rest(verb, path, Some(token), json.as_ref()).await;
        (reply.status.as_u16(), reply.json())
    };
    let (_, shown) = send(&token, "GET", "/api/v1/workspaces:this", None).await;
    let id = owner.workspace.to_string();
    assert_eq!(
        (&shown["workspace"]["id"], &shown["workspace"]["display_name"], &shown["context"]),
        (&json!(id), &json!("Development"), &json!({}))
    );
    assert!(shown["workspace"]["auth_domain"].as_str().unwrap().starts_with("auth.localhost"));
    let by_id = format!("/api/v1/workspaces/{id}");
    assert_eq!(send(&token, "GET", &by_id, None).await.1, shown);
    assert_eq!(send(&token, "GET", "/api/v1/workspaces/wks_1", None).await.0, 404);
    let (_, renamed) = send(&token, "PATCH", &by_id, Some(json!({"display_name": "Acme"}))).await;
    assert_eq!(renamed["workspace"]["display_name"], "Acme");
    assert_eq!(send(&token, "PATCH", "/api/v1/workspaces/wks_1", Some(json!({"display_name": "Acme"}))).await.0, 404);
    let notes = async |json: Value| send(&token, "POST", "/api/v1/workspaces:this/contexts", Some(json)).await;
    notes(json!({"step": 1, "kept": true})).await;
    let (status, merged) = notes(json!({"step": 2, "new": null})).await;
    assert_eq!((status, &merged["context"]), (200, &json!({"step": 2, "kept": true, "new": null})));
    assert_eq!(notes(json!({"": 1})).await.0, 400);
    let client = harness.client_token().await;
    let (_, of_client) = send(&client, "GET", "/api/v1/workspaces:this", None).await;
    assert_eq!((&of_client["workspace"]["display_name"], &of_client["context"]), (&json!("Acme"), &merged["context"]));
    let viewer = token_of(&harness, &member(&harness, "viewer@example.com", FixedRole::Viewer).await).await;
    assert_eq!(send(&viewer, "PATCH", "/api/v1/workspaces:this", Some(json!({"display_name": "X"}))).await.0, 403);
}
