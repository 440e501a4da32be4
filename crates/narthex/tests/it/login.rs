//! Logins from the authorization request to the application's callback, as a browser without scripts goes through them.

use std::time::Duration;

use base64::Engine as _;
use narthex_core::connections::{Delivery, PasswordlessChange};
use narthex_core::users::{self, UserManagement};
use narthex_db::Engine;
use serde_json::{Value, json};

use crate::browser::{Browser, CALLBACK, CHALLENGE, CODE, allow, configure, exchange, link, mail, mails};
use crate::harness::Harness;
use crate::roles::Client;

const ANN: &str = "ann+sktest@example.com";
const BEA: &str = "bea+sktest@example.net";

async fn start() -> Client {
    let client = Client::start().await;
    allow(&client.harness, &[ANN, BEA]).await;
    client
}

async fn member(client: &Client, organization: &str, email: &str) -> String {
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    made["user"]["id"].as_str().expect("an id").to_owned()
}

async fn settings(harness: &Harness, adjust: impl FnOnce(&mut UserManagement)) {
    let mut settings = users::user_management(harness.core(), harness.env_id()).await.unwrap();
    adjust(&mut settings);
    users::set_user_management(harness.core(), harness.env_id(), settings).await.unwrap();
}

/// Types of the newest events, oldest first.
async fn events(client: &Client, count: usize) -> Vec<String> {
    let reply = client.harness.get("/dev/events").await.json();
    let mut types: Vec<String> =
        reply.as_array().unwrap().iter().take(count).map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    types.reverse();
    types
}

fn claims(token: &Value) -> Value {
    let text = token.as_str().expect("a token");
    let payload = text.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sgn_01_lgn_02_tst_03_a_sign_up_makes_an_organization_and_ends_at_the_callback() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[("prompt", "create")]).await;
    assert!(page.at.starts_with("/a/auth/signup?req=req_"), "{}", page.at);
    assert!(page.html.contains("Create your") && !page.html.contains("Passkey"), "{}", page.html);
    let page = browser.submit(&page, "/a/auth/signup", &[("email", "Ann+SKtest@Example.com")]).await;
    assert!(page.html.contains("Check your") && page.html.contains(ANN), "{}", page.html);
    let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
    let callback = page.callback();
    assert_eq!(callback["state"], "s-1");
    assert_eq!(
        events(&client, 4).await,
        ["organization.created", "user.signup", "user.organization_membership_created", "user.login"]
    );
    let tokens = exchange(&client.harness, &callback["code"]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let (id, access) = (claims(&tokens["id_token"]), claims(&tokens["access_token"]));
    assert_eq!((&id["email"], &id["email_verified"], &id["nonce"]), (&json!(ANN), &json!(true), &json!("n-1")));
    assert_eq!(access["roles"], json!(["admin"]), "who signs an organization up is its administrator");
    let user = client.ok(200, "GET", &format!("/api/v1/users/{}", id["sub"].as_str().unwrap()), None).await;
    let user = &user["user"];
    assert_eq!(user["memberships"][0]["organization_id"], id["oid"]);
    assert_eq!(user["memberships"][0]["provisioning_method"], "org_creator");
    assert_eq!(user["user_profile"]["external_identities"][0]["connection_type"], "PASSWORDLESS");
    assert!(user["last_login_time"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn pwo_02_authz_10_ses_01_a_member_signs_in_and_the_session_answers_from_then_on() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let ann = member(&client, &acme, ANN).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    let first = exchange(&client.harness, &page.code()).await.json();
    let id = claims(&first["id_token"]);
    assert_eq!((&id["sub"], &id["oid"]), (&json!(ann), &json!(acme)));
    let session = client.ok(200, "GET", &format!("/api/v1/sessions/{}", id["sid"].as_str().unwrap()), None).await;
    assert_eq!((&session["status"], &session["organization_id"]), (&json!("active"), &json!(acme)));
    assert_eq!((&session["device"]["browser"], &session["device"]["os"]), (&json!("Firefox"), &json!("Linux")));
    assert_eq!(session["authenticated_organizations"], json!([acme]));
    assert!(session.get("idle_expires_at").is_none() && session["absolute_expires_at"].is_string());

    let again = browser.authorize(&[("state", "s-2")]).await;
    assert_eq!(again.callback()["state"], "s-2", "no page in between");
    let second = claims(&exchange(&client.harness, &again.code()).await.json()["id_token"]);
    assert_eq!(second["sid"], id["sid"]);
    let silent = browser.authorize(&[("prompt", "none")]).await;
    assert!(silent.callback().contains_key("code"));

    let mut stranger = Browser::new(&client.harness);
    assert_eq!(stranger.authorize(&[("prompt", "none")]).await.error(), "login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn lgn_03_authz_08_prompt_login_and_max_age_ask_again_and_keep_the_session() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, ANN).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    let first = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    let cookie = browser.jar.get("__Host-narthex_session").cloned().expect("a session");
    let page = browser.authorize(&[("prompt", "login")]).await;
    assert!(page.at.starts_with("/a/auth/login"), "{}", page.at);
    client.harness.clock.advance(Duration::from_secs(100));
    assert!(browser.authorize(&[("max_age", "200")]).await.callback().contains_key("code"));
    let page = browser.authorize(&[("max_age", "50")]).await;
    assert!(page.at.starts_with("/a/auth/login"), "{}", page.at);
    assert_eq!(browser.authorize(&[("max_age", "50"), ("prompt", "none")]).await.error(), "login_required");
    let page = browser.sign_in(ANN, &[("max_age", "0")]).await;
    let second = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!(second["sid"], first["sid"], "the same session, proven again");
    assert_ne!(browser.jar["__Host-narthex_session"], cookie, "with another secret");
    browser.jar.insert("__Host-narthex_session".into(), cookie);
    assert_eq!(browser.authorize(&[("prompt", "none")]).await.error(), "login_required", "the old one is worthless");
}

#[tokio::test(flavor = "multi_thread")]
async fn swi_01_swi_02_ses_07_organizations_are_chosen_and_switched_in_one_session() {
    let client = start().await;
    let (acme, beta) = (client.organization("Acme").await, client.organization("Beta").await);
    let ann = member(&client, &acme, ANN).await;
    client
        .ok(
            201,
            "POST",
            &format!("/api/v1/memberships/organizations/{beta}/users/{ann}?send_invitation_email=false"),
            Some(json!({})),
        )
        .await;
    let other = client.organization("Other").await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    assert!(page.at.starts_with("/a/auth/organizations"), "{}", page.at);
    assert!(page.html.contains("Acme") && page.html.contains("Beta") && !page.html.contains("Other"), "{}", page.html);
    let bad = browser.submit(&page, "/a/auth/organizations", &[("organization", &other)]).await;
    assert!(bad.left_to.is_none() && bad.html.contains("not available"), "{}", bad.html);
    let page = browser.submit(&page, "/a/auth/organizations", &[("organization", &beta)]).await;
    let first = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!(first["oid"], json!(beta));

    // With the session: the current organization, without a page.
    let page = browser.authorize(&[]).await;
    assert_eq!(claims(&exchange(&client.harness, &page.code()).await.json()["id_token"])["oid"], json!(beta));
    // Directly into another one.
    let page = browser.authorize(&[("prompt", "select_account"), ("organization_id", &acme)]).await;
    let second = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!((&second["oid"], &second["sid"]), (&json!(acme), &first["sid"]));
    let session = client.ok(200, "GET", &format!("/api/v1/sessions/{}", first["sid"].as_str().unwrap()), None).await;
    assert_eq!(session["authenticated_organizations"], json!([beta, acme]));
    // By the chooser.
    let page = browser.authorize(&[("prompt", "select_account")]).await;
    assert!(page.at.starts_with("/a/auth/organizations"), "{}", page.at);
    let page = browser.submit(&page, "/a/auth/organizations", &[("organization", &beta)]).await;
    let third = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!((&third["oid"], &third["sid"]), (&json!(beta), &first["sid"]));
    assert_eq!(browser.authorize(&[("organization_id", &other)]).await.error(), "access_denied");
    assert_eq!(events(&client, 1).await, ["user.login"], "a switch is no login");
}

#[tokio::test(flavor = "multi_thread")]
async fn dom_01_sso_55_swi_03_an_allowed_domain_suggests_and_a_click_joins() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let domain = json!({ "domain": "example.com", "domain_type": "ALLOWED_EMAIL_DOMAIN" });
    client.ok(200, "POST", &format!("/api/v1/organizations/{acme}/domains"), Some(domain)).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    assert!(page.at.starts_with("/a/auth/organizations") && page.html.contains("Acme"), "{}: {}", page.at, page.html);
    let page = browser.submit(&page, "/a/auth/join", &[("organization", &acme)]).await;
    let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!(id["oid"], json!(acme));
    let user = client.ok(200, "GET", &format!("/api/v1/users/{}", id["sub"].as_str().unwrap()), None).await;
    assert_eq!(user["user"]["memberships"][0]["provisioning_method"], "allowed_email_domain");
    // Who has nothing to do with the domain is not told of it, and may make an organization instead.
    let mut other = Browser::new(&client.harness);
    let page = other.sign_in(BEA, &[]).await;
    assert!(page.callback().contains_key("code"));
    // One's own new organization from the chooser.
    let page = browser.authorize(&[("prompt", "login")]).await;
    assert!(page.at.starts_with("/a/auth/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sgn_03_lgn_12_ctl_30_without_sign_up_nobody_new_comes_in_and_the_link_is_gone() {
    let client = start().await;
    settings(&client.harness, |settings| settings.allow_organization_signup = false).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    assert!(!page.html.contains("/a/auth/signup"), "{}", page.html);
    let page = browser.authorize(&[("prompt", "create")]).await;
    assert!(page.at.starts_with("/a/auth/login"), "{}", page.at);
    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "whether somebody is known shows only to who reads the mail");
    let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
    assert_eq!(page.error(), "access_denied");
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dom_03_sso_56_ctl_30_blocked_domains_do_not_sign_up() {
    let client = Client::start().await;
    let (public, disposable) = ("ann+sktest@gmail.com", "ann+sktest@mailinator.com");
    allow(&client.harness, &[public, disposable]).await;
    settings(&client.harness, |settings| {
        settings.block_public_email_domains = true;
        settings.block_disposable_email_domains = true;
    })
    .await;
    for email in [public, disposable] {
        let mut browser = Browser::new(&client.harness);
        let page = browser.authorize(&[("prompt", "create")]).await;
        let page = browser.submit(&page, "/a/auth/signup", &[("email", email)]).await;
        assert!(page.html.contains("work email"), "{}", page.html);
        let page = browser.sign_in(email, &[]).await;
        assert_eq!(page.error(), "access_denied");
    }
    settings(&client.harness, |settings| settings.block_public_email_domains = false).await;
    let mut browser = Browser::new(&client.harness);
    assert!(browser.sign_in(public, &[]).await.callback().contains_key("code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_71_wrong_codes_close_the_login_and_say_so() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let mut page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    for attempt in 1..=5 {
        page = browser.submit(&page, "/a/auth/verify", &[("code", "000000")]).await;
        assert!(
            page.left_to.is_none() && page.html.contains("wrong") || page.html.contains("not right"),
            "{attempt}: {}",
            page.html
        );
    }
    let verify = page.at.clone();
    let page = browser.get(&verify).await;
    assert!(page.html.contains("tart again") && !page.html.contains("name=\"code\""), "{}", page.html);
    // A right code is too late.
    let login = verify.replace("verify", "login");
    let fresh = browser.get(&login).await;
    let csrf = fresh.html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let late = browser.post(&verify, &[("csrf", &csrf), ("code", CODE)]).await;
    assert!(late.left_to.is_none(), "{:?}", late.left_to);
}

#[tokio::test(flavor = "multi_thread")]
async fn lgn_13_two_logins_side_by_side_both_come_to_an_end() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, ANN).await;
    let mut browser = Browser::new(&client.harness);
    let one = browser.authorize(&[("state", "one")]).await;
    let two = browser.authorize(&[("state", "two")]).await;
    let one = browser.submit(&one, "/a/auth/login", &[("email", ANN)]).await;
    let two = browser.submit(&two, "/a/auth/login", &[("email", ANN)]).await;
    let two = browser.submit(&two, "/a/auth/verify", &[("code", CODE)]).await;
    let one = browser.submit(&one, "/a/auth/verify", &[("code", CODE)]).await;
    assert_eq!((one.callback()["state"].as_str(), two.callback()["state"].as_str()), ("one", "two"));
    let sids: Vec<Value> = [
        claims(&exchange(&client.harness, &one.code()).await.json()["id_token"])["sid"].clone(),
        claims(&exchange(&client.harness, &two.code()).await.json()["id_token"])["sid"].clone(),
    ]
    .into();
    assert_eq!(sids[0], sids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lgn_10_a_page_of_no_login_leads_to_where_the_application_begins() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let at = page.at.clone();
    // No cookie right after the beginning: it was not kept.
    let kept = std::mem::take(&mut browser.jar);
    let page = browser.get(&at).await;
    assert!(page.html.to_lowercase().contains("cookies"), "{}", page.html);
    client.harness.clock.advance(Duration::from_secs(11));
    let page = browser.get(&at).await;
    assert!(page.left_to.is_none() && page.status == 400, "no place to go to: {}", page.html);
    let client_id = crate::browser::default_client(&client.harness).await;
    let uri = json!({ "initiate_login_uri": "https://app.acme.example/login" });
    client.ok(200, "PATCH", &format!("/api/v1/clients/{client_id}"), Some(uri)).await;
    for path in [at.as_str(), "/a/auth/login", "/a/auth/verify?req=req_1", "/a/auth/consent?req=nonsense"] {
        assert_eq!(browser.get(path).await.left_to.as_deref(), Some("https://app.acme.example/login"), "{path}");
    }
    browser.jar = kept;
    assert!(browser.get(&at).await.html.contains("name=\"email\""), "its own browser may go on");
    client.harness.clock.advance(Duration::from_hours(1));
    assert_eq!(browser.get(&at).await.left_to.as_deref(), Some("https://app.acme.example/login"), "an hour later");
}

#[tokio::test(flavor = "multi_thread")]
async fn lgn_14_mistake_11_forms_of_other_sites_and_other_logins_do_nothing() {
    let client = start().await;
    let mut victim = Browser::new(&client.harness);
    let page = victim.authorize(&[]).await;
    let own = victim.harness.running().http_url.clone();
    let csrf = page.html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let path = page.at.clone();
    for (origin, token) in [("https://evil.example", csrf.as_str()), ("null", &csrf), (&own, ""), (&own, "guess")] {
        let answer = victim.post_from(origin, &path, &[("csrf", token), ("email", ANN)]).await;
        assert_eq!(answer.status, 403, "{origin} {token}");
    }
    // The token of an attacker's own login.
    let mut attacker = Browser::new(&client.harness);
    let other = attacker.authorize(&[]).await;
    let foreign = other.html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(victim.post(&path, &[("csrf", &foreign), ("email", ANN)]).await.status, 403);
    // The attacker's login in the victim's browser: its cookie is not there.
    let page = victim.post(&other.at, &[("csrf", &foreign), ("email", ANN)]).await;
    assert!(page.left_to.is_none() && !page.at.starts_with("/a/auth/verify"), "{}", page.at);
    assert_eq!(victim.post(&path, &[("csrf", &csrf), ("email", ANN)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistake_11_a_login_of_somebody_else_ends_the_session_that_was_there() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let (ann, _) = (member(&client, &acme, ANN).await, member(&client, &acme, BEA).await);
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    let first = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    let page = browser.sign_in(BEA, &[("prompt", "login")]).await;
    let second = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_ne!(first["sid"], second["sid"]);
    let ended = client.ok(200, "GET", &format!("/api/v1/sessions/{}", first["sid"].as_str().unwrap()), None).await;
    assert_eq!((&ended["status"], &ended["user_id"]), (&json!("logout"), &json!(ann)));
    assert_eq!(events(&client, 2).await, ["user.logout", "user.login"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_05_a_step_taken_twice_counts_once() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, ANN).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    let mut copy = Browser::new(&client.harness);
    copy.jar.clone_from(&browser.jar);
    let (one, two) = tokio::join!(
        browser.submit(&page, "/a/auth/verify", &[("code", CODE)]),
        copy.submit(&page, "/a/auth/verify", &[("code", CODE)])
    );
    let arrived = [&one, &two].iter().filter(|page| page.left_to.is_some()).count();
    assert_eq!(arrived, 1, "{one:?}\n{two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lgn_16_err_08_lgn_17_errors_go_to_the_page_or_to_the_application() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    for (change, code) in [
        (("client_id", "skc_1"), "invalid_client"),
        (("client_id", ""), "invalid_request"),
        (("redirect_uri", "https://evil.example/cb"), "invalid_redirect_uri"),
        (("redirect_uri", ""), "invalid_redirect_uri"),
        (("redirect_uri", "http://localhost:3999@evil.example/callback"), "invalid_redirect_uri"),
    ] {
        let page = browser.authorize(&[change]).await;
        assert_eq!((page.status, page.left_to.as_deref()), (400, None), "{change:?}");
        assert!(page.html.contains(code), "{change:?}: {}", page.html);
        let id = page
            .html
            .split("err_")
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let id = format!("err_{}", id.expect("an id"));
        for path in [format!("/api/v1/errors/{id}"), format!("/api/v1/auth/error/{id}")] {
            let kept = client.harness.get(&path).await;
            assert_eq!((kept.status.as_u16(), &kept.json()["error"]), (200, &json!(code)), "{path}");
        }
        let shown = browser.get(&format!("/a/auth/error/{id}")).await;
        assert!(shown.status == 400 && shown.html.contains(code));
        let foreign = client.harness.running().prd_url.clone();
        let other = client
            .harness
            .rest_at(&foreign, crate::harness::Protocol::H1, "GET", &format!("/api/v1/errors/{id}"), None, None)
            .await;
        assert_eq!(other.status, 404, "another environment's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authz_11_what_a_request_names_must_be_there() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    for (change, code) in [
        (("organization_id", "org_1"), "invalid_organization_id"),
        (("organization_id", "acme"), "invalid_organization_id"),
        (("connection_id", "conn_1"), "invalid_connection_id"),
        (("connection_id", "acme"), "invalid_connection_id"),
        (("provider", "google"), "connection_not_active"),
        (("provider", "acme"), "invalid_request"),
    ] {
        let callback = browser.authorize(&[change]).await.callback();
        assert_eq!(callback.get("error").map(String::as_str), Some(code), "{change:?}: {callback:?}");
        assert!(callback.contains_key("error_description") && !callback.contains_key("code"), "{change:?}");
        assert_eq!(callback.get("state").map(String::as_str), Some("s-1"), "{change:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authz_07_pwo_01_an_environment_without_users_passes_the_address_on() {
    let client = start().await;
    client
        .harness
        .core()
        .db
        .write(async |tx| tx.execute("UPDATE environments SET authentication_mode = 1", &[]).await.map(|_| ()))
        .await
        .unwrap();
    client.harness.core().caches.epochs();
    let harness = client.harness.restart(|_| {}).await.expect("again");
    let mut browser = Browser::new(&harness);
    assert_eq!(browser.authorize(&[]).await.error(), "invalid_connection_selector");
    assert_eq!(browser.authorize(&[("domain", "acme.com")]).await.error(), "domain_not_found");
    let page = browser.authorize(&[("login_hint", ANN)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "the mail has gone out: {} {}", page.at, page.html);
    let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
    let tokens = exchange(&harness, &page.code()).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let id = claims(&tokens.json()["id_token"]);
    let connection = narthex_core::connections::passwordless(harness.core(), harness.env_id())
        .await
        .unwrap()
        .unwrap()
        .id
        .to_string();
    assert_eq!((&id["sub"], &id["amr"]), (&json!(format!("{connection};{ANN}")), &json!([connection])));
    assert!(id.get("sid").is_none() && id.get("oid").is_none());
    assert!(!browser.jar.contains_key("__Host-narthex_session"));
    // Nothing is remembered: the next request asks again.
    let page = browser.authorize(&[("connection_id", &connection)]).await;
    assert!(page.at.starts_with("/a/auth/login"), "{}", page.at);
    // OpenID Connect Core §3.1.2.1: the address that the application expects, or none.
    let hint = tokens.json()["id_token"].as_str().unwrap().to_owned();
    for (email, expected) in [(ANN, "code"), (BEA, "error")] {
        let page = browser.authorize(&[("connection_id", &connection), ("id_token_hint", &hint)]).await;
        assert!(page.html.contains(ANN), "{}", page.html);
        let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
        let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
        assert!(page.callback().contains_key(expected), "{email}: {:?}", page.left_to);
    }
}

const CARL: &str = "carl@example.org";

fn delivery(delivery: Delivery) -> PasswordlessChange {
    PasswordlessChange { delivery: Some(delivery), ..PasswordlessChange::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwo_02_sec_01_a_code_from_the_mail_signs_in_known_and_unknown_alike() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let mut shown = Vec::new();
    for email in [CARL, "nobody@example.org"] {
        let mut browser = Browser::new(&client.harness);
        let page = browser.authorize(&[]).await;
        let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
        let request = page.at.split("req=").nth(1).unwrap().to_owned();
        let csrf = page.html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        shown.push(page.html.replace(email, "").replace(&request, "").replace(&csrf, ""));
        assert_eq!(mails(&client.harness, email).await, 1);
        let code = mail(&client.harness, email).await["otp"].as_str().expect("a code").to_owned();
        let page = browser.submit(&page, "/a/auth/verify", &[("code", &format!(" {code} "))]).await;
        assert!(page.callback().contains_key("code"));
    }
    assert_eq!(shown[0], shown[1], "the page tells nothing of who is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn pwo_02_pwo_04_a_link_signs_in_and_opening_it_elsewhere_takes_a_button() {
    let client = start().await;
    configure(&client.harness, delivery(Delivery::Link)).await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    assert!(!page.html.contains("name=\"code\""), "{}", page.html);
    let waiting = page.at.clone();
    let poll = waiting.replace("verify", "poll");
    assert!(browser.get(&poll).await.html.contains("true"));
    let path = link(&client.harness, CARL).await;
    // A program that scans the mail.
    let mut scanner = Browser::new(&client.harness);
    assert_eq!(scanner.head(&path).await.status, 200);
    let page = scanner.get(&path).await;
    assert!(page.left_to.is_none() && page.html.contains(CARL), "{}", page.html);
    assert_eq!(scanner.head(&path).await.status, 200);
    // The browser in which it began.
    let page = browser.get(&path).await;
    assert_eq!(page.callback()["state"], "s-1");
    let again = browser.get(&path).await;
    assert!(again.status == 400 && again.html.contains("expired"), "{}", again.html);
    assert!(browser.get(&poll).await.html.contains("false"));
    let told = browser.get(&waiting).await;
    assert!(told.html.contains("another window"), "the page that waits is told so, and of no cookies: {}", told.html);

    // Another browser, on purpose: it signs in there, and the first one is told so.
    let page = browser.authorize(&[("prompt", "login"), ("state", "s-9")]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let waiting = page.at.clone();
    let path = link(&client.harness, CARL).await;
    let mut phone = Browser::new(&client.harness);
    let page = phone.get(&path).await;
    let page = phone.submit(&page, &path, &[]).await;
    assert_eq!(page.callback()["state"], "s-9");
    assert!(phone.jar.contains_key("__Host-narthex_session"));
    let page = browser.get(&waiting).await;
    assert!(page.left_to.is_none() && page.html.contains("another"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistake_11_what_a_mailbox_proves_goes_to_the_browser_that_opened_its_link() {
    let client = start().await;
    configure(&client.harness, delivery(Delivery::Link)).await;
    let (acme, beta) = (client.organization("Acme").await, client.organization("Beta").await);
    let carl = member(&client, &acme, CARL).await;
    client
        .ok(
            201,
            "POST",
            &format!("/api/v1/memberships/organizations/{beta}/users/{carl}?send_invitation_email=false"),
            Some(json!({})),
        )
        .await;
    // Somebody asks for a link to an address that is not theirs, and waits.
    let mut attacker = Browser::new(&client.harness);
    let page = attacker.authorize(&[]).await;
    let page = attacker.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let waiting = page.at.clone();
    let path = link(&client.harness, CARL).await;
    let mut carl = Browser::new(&client.harness);
    let page = carl.get(&path).await;
    let page = carl.submit(&page, &path, &[]).await;
    assert!(page.at.starts_with("/a/auth/organizations"), "{}: {}", page.at, page.html);
    // The login has moved: the attacker has none of it, at any of its pages.
    for path in [waiting.as_str(), &page.at, &waiting.replace("verify", "organizations")] {
        let shown = attacker.get(path).await;
        assert!(shown.left_to.is_none() && !shown.html.contains("Acme"), "{path}: {}", shown.html);
    }
    assert!(!attacker.jar.contains_key("__Host-narthex_session"));
    let page = carl.submit(&page, "/a/auth/organizations", &[("organization", &beta)]).await;
    assert!(page.callback().contains_key("code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pwo_03_where_it_is_enforced_a_link_works_in_its_own_browser_only() {
    let client = start().await;
    let change = PasswordlessChange { enforce_same_browser_origin: Some(true), ..delivery(Delivery::LinkOtp) };
    configure(&client.harness, change).await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    assert!(page.html.contains("name=\"code\""), "a code as well: {}", page.html);
    let path = link(&client.harness, CARL).await;
    let mut other = Browser::new(&client.harness);
    let page = other.get(&path).await;
    let page = other.submit(&page, &path, &[]).await;
    assert!(page.status == 400 && page.html.contains("browser where you started"), "{}", page.html);
    assert!(browser.get(&path).await.callback().contains_key("code"), "it has not been used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn pwo_05_a_mail_is_sent_again_within_limits() {
    let client = start().await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let first = mail(&client.harness, CARL).await["otp"].clone();
    let page = browser.submit(&page, "/a/auth/resend", &[]).await;
    assert_eq!((page.status, mails(&client.harness, CARL).await), (200, 2));
    assert_eq!(mail(&client.harness, CARL).await["otp"], first, "the same code");
    let page = browser.get(&page.at.replace("resend", "verify")).await;
    let page = browser.submit(&page, "/a/auth/resend", &[]).await;
    assert!(page.html.contains("Too many attempts"), "{}", page.html);
    assert_eq!(mails(&client.harness, CARL).await, 2);
    client.harness.clock.advance(Duration::from_secs(61));
    configure(
        &client.harness,
        PasswordlessChange { regenerate_on_resend: Some(true), ..PasswordlessChange::default() },
    )
    .await;
    let page = browser.get(&page.at.replace("resend", "verify")).await;
    let page = browser.submit(&page, "/a/auth/resend", &[]).await;
    let fresh = mail(&client.harness, CARL).await["otp"].clone();
    assert_ne!(fresh, first);
    let page = browser.get(&page.at.replace("resend", "verify")).await;
    let wrong = browser.submit(&page, "/a/auth/verify", &[("code", first.as_str().unwrap())]).await;
    assert!(wrong.left_to.is_none());
    let page = browser.submit(&wrong, "/a/auth/verify", &[("code", fresh.as_str().unwrap())]).await;
    assert!(page.callback().contains_key("code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_01_inv_02_an_invitation_is_taken_up_by_a_button_and_no_login_page_follows() {
    let client = start().await;
    let acme = client.organization("Acme").await;
    let client_id = crate::browser::default_client(&client.harness).await;
    let uri = json!({ "initiate_login_uri": "https://app.acme.example/login" });
    client.ok(200, "PATCH", &format!("/api/v1/clients/{client_id}"), Some(uri)).await;
    let path = format!("/api/v1/organizations/{acme}/users");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": CARL }))).await;
    let user = made["user"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["user"]["memberships"][0]["membership_status"], "PENDING_INVITE");
    narthex_core::jobs::drain(client.harness.core()).await.unwrap();
    let path = link(&client.harness, CARL).await;
    assert!(path.starts_with("/invite/"), "{path}");
    let mut browser = Browser::new(&client.harness);
    assert_eq!(browser.head(&path).await.status, 200);
    let page = browser.get(&path).await;
    assert!(page.html.contains("Acme") && page.html.contains(CARL), "{}", page.html);
    let forged = browser.post_from("https://evil.example", &path, &[("csrf", "x")]).await;
    assert!(forged.left_to.is_none());
    let page = browser.submit(&page, &path, &[]).await;
    assert_eq!(page.left_to.as_deref(), Some("https://app.acme.example/login"));
    let page = browser.authorize(&[]).await;
    let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!((&id["sub"], &id["oid"], &id["email_verified"]), (&json!(user), &json!(acme), &json!(true)));
    let shown = client.ok(200, "GET", &format!("/api/v1/users/{user}"), None).await;
    let membership = &shown["user"]["memberships"][0];
    assert_eq!(
        (&membership["membership_status"], &membership["provisioning_method"]),
        (&json!("ACTIVE"), &json!("invitation"))
    );
    assert!(membership["accepted_at"].is_string());
    let again = browser.get(&path).await;
    assert_eq!(again.status, 410, "{}", again.html);
    assert_eq!(Browser::new(&client.harness).get("/invite/guess").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_09_mistake_8_an_invitation_waits_in_the_chooser_of_its_own_address_only() {
    let client = start().await;
    let (acme, beta) = (client.organization("Acme").await, client.organization("Beta").await);
    member(&client, &acme, CARL).await;
    member(&client, &acme, BEA).await;
    client.ok(201, "POST", &format!("/api/v1/organizations/{beta}/users"), Some(json!({ "email": CARL }))).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[("prompt", "select_account")]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let code = mail(&client.harness, CARL).await["otp"].as_str().unwrap().to_owned();
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &code)]).await;
    assert!(page.at.starts_with("/a/auth/organizations"), "{}: {}", page.at, page.html);
    let page = browser.submit(&page, "/a/auth/join", &[("organization", &beta)]).await;
    let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
    assert_eq!(id["oid"], json!(beta));
    // Somebody else cannot take it up.
    client.ok(201, "POST", &format!("/api/v1/organizations/{beta}/users"), Some(json!({ "email": ANN }))).await;
    let mut other = Browser::new(&client.harness);
    assert!(other.sign_in(BEA, &[]).await.callback().contains_key("code"));
    assert_eq!(other.authorize(&[("organization_id", &beta)]).await.error(), "access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_20_mcp_24_mcp_31_mcp_32_mcp_33_a_client_of_a_resource_needs_consent_and_gets_what_was_agreed_to() {
    let client = start().await;
    let core = client.harness.core();
    for (name, text) in [("todo:read", "Read your list"), ("todo:write", "Change your list")] {
        narthex_core::scopes::create(core, client.harness.env_id(), name.into(), text.into()).await.unwrap();
    }
    let acme = client.organization("Acme").await;
    member(&client, &acme, ANN).await;
    let new = json!({
        "name": "Todo", "resource_type": "MCP_SERVER", "scopes": ["todo:read", "todo:write"], "resource_scope_selection_allowed": true
    });
    let made = client.ok(201, "POST", "/api/v1/resources", Some(new)).await;
    let resource = made["resource"]["id"].as_str().unwrap().to_owned();
    let body = json!({ "client_name": "Cursor", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" });
    let registered = client
        .harness
        .rest("POST", &format!("/api/v1/resources/{resource}/clients:register"), None, Some(&body))
        .await
        .json();
    let agent = registered["client_id"].as_str().unwrap().to_owned();
    let path = |more: &str| {
        format!(
            "/resources/{resource}/oauth/authorize?response_type=code&client_id={agent}&redirect_uri={CALLBACK}&state=m-1\
             &code_challenge={CHALLENGE}&code_challenge_method=S256{more}"
        )
    };
    let mut browser = Browser::new(&client.harness);
    let missing = browser.get(&path("").replace("&code_challenge_method=S256", "").replace(CHALLENGE, "")).await;
    assert_eq!(missing.error(), "invalid_request", "PKCE is for every client of a resource");
    let foreign = browser.get(&path("&resource=https://other.example")).await;
    assert_eq!(foreign.error(), "invalid_target");
    let page = browser.get(&path("&scope=openid+email+todo:read+todo:write+unknown")).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await;
    assert!(page.at.starts_with("/a/auth/consent"), "{}: {}", page.at, page.html);
    assert!(page.html.contains("Cursor") && page.html.contains("Read your list"), "{}", page.html);

    // The same over the RPC, for the browser of this login alone.
    let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let base = client.harness.running().http_url.clone();
    let request = |cookies: &str| {
        http::Request::get(format!("{base}/api/v1/oauth/consent/details")).header("cookie", cookies.to_owned())
    };
    let details = client.harness.send(&base, crate::harness::Protocol::H1, request(&cookies.join("; ")), "").await;
    assert_eq!(details.status, 200, "{}", details.text());
    let details = details.json();
    assert_eq!(details["client"]["client_id"], json!(agent));
    assert_eq!(details["user"]["email"], json!(ANN));
    assert_eq!(details["resource"]["id"], json!(resource));
    assert_eq!(details["scopes"][2], json!({ "name": "todo:read", "description": "Read your list" }));
    let nobody = client.harness.send(&base, crate::harness::Protocol::H1, request("a=b"), "").await;
    assert_eq!(nobody.status, 404);

    let page = browser.submit(&page, "/a/auth/consent", &[("decision", "allow"), ("scope", "todo:read")]).await;
    let callback = page.callback();
    assert_eq!(callback["state"], "m-1");
    assert!(callback["iss"].ends_with(&format!("/resources/{resource}")), "RFC 9207: {callback:?}");
    let consents = client.ok(200, "GET", &format!("/api/v1/user_consents?resource_id={resource}"), None).await;
    assert_eq!(consents["consents"][0]["scopes"], json!(["openid", "email", "todo:read"]));

    // What was agreed to is not asked again; what was not, is.
    let page = browser.get(&path("&scope=openid+todo:read")).await;
    assert!(page.callback().contains_key("code"));
    let page = browser.get(&path("&scope=todo:write&prompt=none")).await;
    assert_eq!(page.error(), "consent_required");
    let page = browser.get(&path("&scope=todo:write")).await;
    assert!(page.at.starts_with("/a/auth/consent"), "{}", page.at);
    let page = browser.submit(&page, "/a/auth/consent", &[("decision", "deny")]).await;
    assert_eq!(page.error(), "access_denied");
    let page = browser.get(&path("&scope=todo:read&prompt=consent")).await;
    assert!(page.at.starts_with("/a/auth/consent"), "{}", page.at);
}

/// Two people whose domain may join, and one seat.
async fn the_last_seat(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let token = harness.client_token().await;
    let client = Client { harness, token };
    let people = ["one+sktest@example.com", "two+sktest@example.com", "three+sktest@example.com"];
    allow(&client.harness, &people).await;
    let acme = client.organization("Acme").await;
    let domain = json!({ "domain": "example.com", "domain_type": "ALLOWED_EMAIL_DOMAIN" });
    client.ok(200, "POST", &format!("/api/v1/organizations/{acme}/domains"), Some(domain)).await;
    let seats = json!({ "settings": { "max_allowed_users": 1 } });
    client.ok(200, "PATCH", &format!("/api/v1/organizations/{acme}/settings/usermanagement"), Some(seats)).await;
    let mut browsers: Vec<_> = people.iter().map(|_| Browser::new(&client.harness)).collect();
    let mut pages = Vec::new();
    for (browser, email) in browsers.iter_mut().zip(people) {
        let page = browser.sign_in(email, &[]).await;
        assert!(page.at.starts_with("/a/auth/organizations") && page.html.contains("Acme"), "{}", page.at);
        pages.push(page);
    }
    let fields = [("organization", acme.as_str())];
    let [one, two, three] = &mut browsers[..] else { panic!("three browsers") };
    let answers = tokio::join!(
        one.submit(&pages[0], "/a/auth/join", &fields),
        two.submit(&pages[1], "/a/auth/join", &fields),
        three.submit(&pages[2], "/a/auth/join", &fields),
    );
    let answers = [answers.0, answers.1, answers.2];
    let (full, joined): (Vec<_>, Vec<_>) = answers.iter().partition(|page| page.left_to.is_none());
    assert!(joined.len() == 1 && joined[0].callback().contains_key("code"), "{answers:?}");
    assert!(full.iter().all(|page| page.html.contains("no room for another member")), "{}", full[0].html);
    let users = client.ok(200, "GET", "/api/v1/users", None).await;
    assert_eq!(users["total_size"], json!(1), "who was refused is nobody yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn org_13_of_three_who_join_by_their_domain_at_once_one_takes_the_last_seat_sqlite() {
    Box::pin(the_last_seat(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn org_13_of_three_who_join_by_their_domain_at_once_one_takes_the_last_seat_postgres() {
    Box::pin(the_last_seat(Engine::Postgres)).await;
}
