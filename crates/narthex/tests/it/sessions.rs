//! Users' sessions as clients, and the users themselves, reach them.

use std::time::Duration;

use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::sessions::{self, NewCookie, NewSession};
use serde_json::{Value, json};

use crate::harness::Protocol;
use crate::roles::Client;

const HOUR: Duration = Duration::from_hours(1);

/// Somebody with an address in an organization.
async fn user(client: &Client, organization: &str, email: &str) -> String {
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    made["user"]["id"].as_str().expect("an id").to_owned()
}

async fn open(client: &Client, user: &str, organization: &str) -> String {
    let user = UserId::parse(user).expect("a user's id");
    let new = NewSession::browser(user, OrganizationId::parse(organization), HOUR);
    sessions::open(client.harness.core(), client.harness.env_id(), new).await.expect("a session").id.to_string()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["sessions"].as_array().unwrap().iter().map(|session| session["session_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_ses_06_sessions_are_seen_and_ended() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let (first, second) = (open(&client, &ann, &acme).await, open(&client, &ann, &acme).await);
    let shown = client.ok(200, "GET", &format!("/api/v1/sessions/{first}"), None).await;
    assert_eq!(
        (&shown["session_id"], &shown["user_id"], &shown["status"]),
        (&json!(first), &json!(ann), &json!("active"))
    );
    assert_eq!((&shown["organization_id"], &shown["authenticated_organizations"]), (&json!(acme), &json!([acme])));
    assert_eq!((&shown["device"]["location"]["city"], shown.get("expired_at")), (&json!(""), None));
    let of_ann = format!("/api/v1/users/{ann}/sessions");
    let all = client.ok(200, "GET", &of_ann, None).await;
    assert_eq!((ids(&all), &all["total_size"]), (vec![second.as_str(), first.as_str()], &json!(2)));
    let revoked =
        client.ok(200, "POST", &format!("/api/v1/sessions/{first}/revoke"), None).await["revoked_session"].clone();
    assert_eq!((&revoked["session_id"], &revoked["status"]), (&json!(first), &json!("revoked")));
    assert!(revoked["expired_at"].is_string() && revoked.get("logout_at").is_none());
    let again = client.ok(200, "POST", &format!("/api/v1/sessions/{first}/revoke"), None).await;
    assert_eq!(again["revoked_session"], revoked);
    let active = client.ok(200, "GET", &format!("{of_ann}?filter.status=ACTIVE&filter.status=logout"), None).await;
    assert_eq!(ids(&active), [second.as_str()]);
    let page = client.ok(200, "GET", &format!("{of_ann}?page_size=1"), None).await;
    assert!(page["next_page_token"].as_str().is_some_and(|token| !token.is_empty()) && page["prev_page_token"] == "");
    let ended = client.ok(200, "POST", &format!("{of_ann}/revoke"), None).await;
    assert_eq!((&ended["total_revoked"], &ended["revoked_sessions"][0]["session_id"]), (&json!(1), &json!(second)));
    let none = client.ok(200, "POST", &format!("{of_ann}/revoke"), None).await;
    assert_eq!((&none["total_revoked"], &none["revoked_sessions"]), (&json!(0), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_ids_of_another_form_are_invalid_and_unknown_ones_are_not_found() {
    let client = Client::start().await;
    for (verb, path) in [("GET", "/api/v1/sessions/ID"), ("POST", "/api/v1/sessions/ID/revoke")] {
        client.refused(400, verb, &path.replace("ID", "ses_x"), None).await;
        client.refused(400, verb, &path.replace("ID", "usr_1"), None).await;
        client.refused(404, verb, &path.replace("ID", "ses_1"), None).await;
        client.refused(404, verb, &path.replace("ID", "ses_01"), None).await;
    }
    for (verb, path) in [("GET", "/api/v1/users/ID/sessions"), ("POST", "/api/v1/users/ID/sessions/revoke")] {
        client.refused(400, verb, &path.replace("ID", "ann"), None).await;
        client.refused(404, verb, &path.replace("ID", "usr_1"), None).await;
    }
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    client.refused(400, "GET", &format!("/api/v1/users/{ann}/sessions?filter.status=on"), None).await;
    client.refused(400, "GET", &format!("/api/v1/users/{ann}/sessions?page_token=x"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_ses_06_users_reach_their_own_sessions_only() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let (ann, bob) = (user(&client, &acme, "ann@example.com").await, user(&client, &acme, "bob@example.com").await);
    let (mine, foreign) = (open(&client, &ann, &acme).await, open(&client, &bob, &acme).await);
    let new = NewSession::browser(UserId::parse(&ann).unwrap(), OrganizationId::parse(&acme), HOUR);
    let token = client.open(new).await;
    let send = async |verb: &str, path: String| client.harness.rest(verb, &path, Some(&token), None).await.status;
    assert_eq!(send("GET", format!("/api/v1/users/{ann}/sessions")).await, 200);
    assert_eq!(send("GET", format!("/api/v1/users/{bob}/sessions")).await, 403);
    assert_eq!(send("POST", format!("/api/v1/sessions/{foreign}/revoke")).await, 404);
    assert_eq!(send("POST", format!("/api/v1/sessions/{mine}/revoke")).await, 200);
    assert_eq!(send("GET", format!("/api/v1/sessions/{mine}")).await, 403, "not open to users");
    assert_eq!(send("POST", format!("/api/v1/users/{ann}/sessions/revoke")).await, 403, "not open to users");
    let bobs = client.ok(200, "GET", &format!("/api/v1/sessions/{foreign}"), None).await;
    assert_eq!(bobs["status"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_09_a_cookie_acts_for_pages_of_its_own_origin_only() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let ann = user(&client, &acme, "ann@example.com").await;
    let core = client.harness.core();
    let cookie = NewCookie::new(core);
    let new = NewSession::browser(UserId::parse(&ann).unwrap(), OrganizationId::parse(&acme), HOUR);
    let mut session = new.build(core, client.harness.env_id());
    session.cookie_hash = Some(cookie.hash());
    let (row, id) = (session.clone(), session.id);
    core.db.write(async move |tx| sessions::insert(tx, &row).await).await.unwrap();
    let cookie = format!("theme=dark; {}={}", sessions::COOKIE, cookie.value(id).expose());
    let base = client.harness.running().http_url.clone();
    let own = base.as_str();
    let list = format!("{base}/api/v1/users/{ann}/sessions");
    let revoke = format!("{base}/api/v1/sessions/{id}/revoke");
    let send = async |verb: &str, url: &str, headers: &[(&str, &str)]| {
        let mut request = http::Request::builder().method(verb).uri(url).header("cookie", &cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client.harness.send(&base, Protocol::H1, request, "").await.status
    };
    for headers in [&[][..], &[("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")], &[("origin", own)]] {
        assert_eq!(send("GET", &list, headers).await, 200, "{headers:?}");
    }
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "same-site"), ("origin", own)],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        assert_eq!(send("GET", &list, headers).await, 401, "{headers:?}");
        assert_eq!(send("POST", &revoke, headers).await, 401, "{headers:?}");
    }
    // What changes something must say where it comes from.
    assert_eq!(send("POST", &revoke, &[]).await, 401);
    assert_eq!(send("POST", &revoke, &[("sec-fetch-site", "none")]).await, 401);
    // A token that does not count is not made good by a cookie.
    let bad = [("sec-fetch-site", "same-origin"), ("authorization", "Bearer bad")];
    assert_eq!(send("POST", &revoke, &bad).await, 401);
    let twice = format!("{cookie}; {cookie}");
    let request = http::Request::get(&list).header("cookie", twice);
    assert_eq!(client.harness.send(&base, Protocol::H1, request, "").await.status, 401);
    assert_eq!(send("POST", &revoke, &[("sec-fetch-site", "same-origin")]).await, 200);
    assert_eq!(send("GET", &list, &[]).await, 401);
}
