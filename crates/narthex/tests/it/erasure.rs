//! What is left of a person who has signed in and is deleted.

use std::time::Duration;

use narthex_core::{jobs, testing};
use narthex_db::Engine;
use serde_json::json;

use crate::browser::{Browser, exchange, mail};
use crate::harness::Harness;
use crate::roles::Client;

const EMAIL: &str = "griselda@featherstone.example";

/// Lines of the database in which something of hers stands.
async fn traces(client: &Client) -> Vec<String> {
    let dump = testing::dump(&client.harness.core().db).await.expect("a dump");
    let is_hers = |line: &&str| ["griselda", "featherstone"].iter().any(|trace| line.contains(trace));
    dump.lines().filter(is_hers).map(str::to_owned).collect()
}

/// Tables in which they stand, each once.
fn tables(traces: &[String]) -> Vec<&str> {
    let mut tables: Vec<_> = traces.iter().filter_map(|line| line.split(':').next()).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

async fn nothing_is_left(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let token = harness.client_token().await;
    let client = Client { harness, token };
    let organization = client.organization("Acme").await;
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": EMAIL }))).await;
    let user = made["user"]["id"].as_str().unwrap().to_owned();

    // A login with a wrong code in it, its tokens, and a login that she leaves where it stands.
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", EMAIL)]).await;
    let otp = mail(&client.harness, EMAIL).await["otp"].as_str().unwrap().to_owned();
    let wrong = if otp.starts_with('1') { otp.replacen('1', "2", 1) } else { format!("1{}", &otp[1..]) };
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &wrong)]).await;
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &otp)]).await;
    assert_eq!(exchange(&client.harness, &page.code()).await.status, 200);
    client.harness.clock.advance(Duration::from_secs(61));
    let mut other = Browser::new(&client.harness);
    let page = other.authorize(&[("login_hint", EMAIL)]).await;
    let page = other.submit(&page, "/a/auth/login", &[("email", EMAIL)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.at);
    // A code that the application asked for on pages of its own.
    client.harness.clock.advance(Duration::from_secs(61));
    client.ok(200, "POST", "/api/v1/passwordless/email/send", Some(json!({ "email": EMAIL, "expires_in": 300 }))).await;
    let before = traces(&client).await;
    for table in
        ["users", "external_identities", "auth_requests", "passwordless_requests", "passwordless_sends", "events"]
    {
        assert!(tables(&before).contains(&table), "{table} is searched: {:?}", tables(&before));
    }

    client.ok(200, "DELETE", &format!("/api/v1/users/{user}"), None).await;
    jobs::drain(client.harness.core()).await.expect("jobs");
    let after = traces(&client).await;
    for table in ["users", "external_identities", "auth_requests"] {
        assert!(!tables(&after).contains(&table), "{table}: {after:?}");
    }
    // Deliveries have their day, and what proves nothing any more its hour.
    client.harness.clock.advance(Duration::from_hours(25));
    jobs::drain(client.harness.core()).await.expect("jobs");
    assert_eq!(traces(&client).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_has_signed_in_and_is_deleted_leaves_nothing_sqlite() {
    Box::pin(nothing_is_left(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_has_signed_in_and_is_deleted_leaves_nothing_postgres() {
    Box::pin(nothing_is_left(Engine::Postgres)).await;
}
