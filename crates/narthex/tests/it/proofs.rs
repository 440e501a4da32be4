//! Codes, links, invitations and passkeys that prove nothing: run out, used, changed, or somebody else's. The page says so, nobody is
//! signed in, and no answer tells who has an account.

use std::time::Duration;

use narthex::config::LimitsConfig;
use narthex_core::connections::{Delivery, PasswordlessChange};
use serde_json::json;

use crate::browser::{Browser, Page, allow, configure, link, mail, mails};
use crate::harness::{Harness, Protocol};
use crate::roles::Client;

const CARL: &str = "carl@example.org";
const DORA: &str = "dora@example.org";
const COOKIE: &str = "__Host-narthex_session";

async fn member(client: &Client, organization: &str, email: &str) -> String {
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    made["user"]["id"].as_str().expect("an id").to_owned()
}

async fn sessions(client: &Client) -> i64 {
    let sql = "SELECT COUNT(*) FROM sessions WHERE kind = 1";
    client.harness.core().db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.expect("a number").0
}

async fn codes(client: &Client) -> i64 {
    let sql = "SELECT COUNT(*) FROM grants";
    client.harness.core().db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.expect("a number").0
}

/// The browser stays with us, without a session, and sees nothing of an organization.
#[track_caller]
fn assert_nothing(browser: &Browser<'_>, page: &Page, says: &str, what: &str) {
    assert_eq!(page.left_to, None, "{what}");
    assert!(!browser.jar.contains_key(COOKIE), "{what}: signed in");
    assert!(page.html.contains(says), "{what}: {}", page.html);
    assert!(!page.html.contains("Acme"), "{what}: {}", page.html);
}

/// A login whose mail is on its way.
async fn waiting(browser: &mut Browser<'_>, email: &str) -> Page {
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.at);
    page
}

async fn otp(client: &Client, email: &str) -> String {
    mail(&client.harness, email).await["otp"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pwo_02_pwl_06_codes_of_others_and_codes_that_are_over_sign_nobody_in() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    member(&client, &acme, DORA).await;
    // The code of another login, of the same person and of somebody else.
    let (mut one, mut two, mut other) =
        (Browser::new(&client.harness), Browser::new(&client.harness), Browser::new(&client.harness));
    let first = waiting(&mut one, CARL).await;
    let first_code = otp(&client, CARL).await;
    let second = waiting(&mut two, CARL).await;
    let second_code = otp(&client, CARL).await;
    let third = waiting(&mut other, DORA).await;
    let third_code = otp(&client, DORA).await;
    for (code, what) in [(&second_code, "of another login"), (&third_code, "of another address")] {
        if *code != first_code {
            let page = one.submit(&first, "/a/auth/verify", &[("code", code)]).await;
            assert_nothing(&one, &page, "name=\"code\"", what);
        }
    }
    for (code, what) in [
        ("", "none"),
        ("12345", "too short"),
        ("1234567", "too long"),
        ("abcdef", "letters"),
        ("１２３４５６", "other digits"),
    ] {
        let page = other.submit(&third, "/a/auth/verify", &[("code", code)]).await;
        assert_nothing(&other, &page, "", what);
    }
    // Used: its login is over, and a copy of the browser gets nothing for it either.
    let mut copy = Browser::new(&client.harness);
    copy.jar.clone_from(&two.jar);
    assert!(two.submit(&second, "/a/auth/verify", &[("code", &second_code)]).await.callback().contains_key("code"));
    let (made, issued) = (sessions(&client).await, codes(&client).await);
    let page = copy.submit(&second, "/a/auth/verify", &[("code", &second_code)]).await;
    assert_nothing(&copy, &page, "", "used");
    // Run out.
    client.harness.clock.advance(Duration::from_mins(30));
    let page = one.submit(&first, "/a/auth/verify", &[("code", &first_code)]).await;
    assert_nothing(&one, &page, "expired", "run out");
    // The login itself runs out after an hour.
    client.harness.clock.advance(Duration::from_mins(31));
    let page = one.submit(&first, "/a/auth/verify", &[("code", &first_code)]).await;
    assert_nothing(&one, &page, "", "an hour old");
    assert_eq!((sessions(&client).await, codes(&client).await), (made, issued), "nothing came of any of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pwo_02_pwl_06_links_that_are_over_changed_or_elsewhere_sign_nobody_in() {
    let client = Client::start().await;
    configure(&client.harness, PasswordlessChange { delivery: Some(Delivery::Link), ..PasswordlessChange::default() })
        .await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let mut browser = Browser::new(&client.harness);
    waiting(&mut browser, CARL).await;
    let path = link(&client.harness, CARL).await;
    let last = if path.contains('0') { path.replacen('0', "1", 1) } else { path.replacen('1', "2", 1) };
    let upper = path.to_ascii_uppercase().replace("/MAGICLINK/", "/magicLink/");
    for (what, changed) in [
        ("changed", last),
        ("cut", path[..path.len() - 3].to_owned()),
        ("longer", format!("{path}x")),
        ("in capitals", upper),
        ("none", "/magicLink/".to_owned()),
        ("without end", format!("/magicLink/{}", "x".repeat(3_000))),
    ] {
        let page = browser.get(&changed).await;
        assert_nothing(&browser, &page, "", what);
        let page = browser.post(&changed, &[("csrf", "x")]).await;
        assert_nothing(&browser, &page, "", what);
    }
    // In another environment.
    let prd = client.harness.running().prd_url.clone();
    let elsewhere = client.harness.rest_at(&prd, Protocol::H1, "GET", &path, None, None).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("set-cookie")), (400, None));
    assert_eq!(sessions(&client).await, 0);
    // None of it has used the link up; following it has.
    let mut copy = Browser::new(&client.harness);
    copy.jar.clone_from(&browser.jar);
    assert!(browser.get(&path).await.callback().contains_key("code"));
    let page = copy.get(&path).await;
    assert_nothing(&copy, &page, "expired", "used");
    let mut phone = Browser::new(&client.harness);
    for page in [phone.get(&path).await, phone.post(&path, &[("csrf", "x")]).await] {
        assert_nothing(&phone, &page, "expired", "used, in another browser");
    }
    // Run out.
    let mut late = Browser::new(&client.harness);
    waiting(&mut late, CARL).await;
    let path = link(&client.harness, CARL).await;
    client.harness.clock.advance(Duration::from_mins(30));
    let page = late.get(&path).await;
    assert_nothing(&late, &page, "expired", "run out");
    assert_eq!((sessions(&client).await, codes(&client).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv_01_an_invitation_that_is_over_or_taken_back_signs_nobody_in() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let path = format!("/api/v1/organizations/{acme}/users");
    let mut links = Vec::new();
    for email in [CARL, DORA] {
        let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
        narthex_core::jobs::drain(client.harness.core()).await.unwrap();
        links.push((made["user"]["id"].as_str().expect("an id").to_owned(), link(&client.harness, email).await));
    }
    let mut browser = Browser::new(&client.harness);
    // In another environment, and changed.
    let prd = client.harness.running().prd_url.clone();
    let elsewhere = client.harness.rest_at(&prd, Protocol::H1, "GET", &links[0].1, None, None).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("set-cookie")), (410, None));
    let changed = format!("{}x", links[0].1);
    assert_eq!(browser.get(&changed).await.status, 410);
    // The membership is taken back between the page and the button.
    let page = browser.get(&links[0].1).await;
    client.ok(200, "DELETE", &format!("/api/v1/memberships/organizations/{acme}/users/{}", links[0].0), None).await;
    let page = browser.submit(&page, &links[0].1, &[]).await;
    assert_nothing(&browser, &page, "", "taken back");
    assert_eq!(page.status, 410);
    // Two weeks later.
    let page = browser.get(&links[1].1).await;
    assert_eq!(page.status, 200);
    client.harness.clock.advance(Duration::from_hours(15 * 24));
    let page = browser.submit(&page, &links[1].1, &[]).await;
    assert_nothing(&browser, &page, "", "run out");
    assert_eq!((page.status, sessions(&client).await), (410, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wan_07_what_no_passkey_has_proven_signs_nobody_in() {
    let client = Client::start().await;
    let core = client.harness.core();
    let known = narthex_core::connections::webauthn(core, client.harness.env_id()).await.unwrap().unwrap().id;
    narthex_core::connections::set_enabled(core, client.harness.env_id(), known, true).await.unwrap();
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let path = page.at.replace("/login", "/passkey-login");
    let csrf = page.csrf();
    let long = "x".repeat(5_000);
    for token in ["", "guess", "A".repeat(43).as_str(), &long, "ses_1", "\u{0}"] {
        let answer = browser.post(&path, &[("csrf", &csrf), ("session_token", token)]).await;
        assert_nothing(&browser, &answer, "", token);
    }
    assert_eq!((sessions(&client).await, codes(&client).await), (0, 0));
}

/// What tells two answers apart: status, page and the names of the cookies, without what is each login's own.
async fn steps(client: &Client, email: &str) -> Vec<(u16, String, Vec<String>)> {
    let mut browser = Browser::new(&client.harness);
    let mut seen = Vec::new();
    let page = browser.authorize(&[]).await;
    let csrf = page.csrf();
    let login = page.at.split("req=").nth(1).expect("a login").to_owned();
    let mut note = |browser: &Browser<'_>, page: &Page| {
        let mut names: Vec<String> =
            browser.jar.keys().map(|name| name.replace(login.trim_start_matches("req_"), "")).collect();
        names.sort_unstable();
        let html = page.html.replace(email, "").replace(&login, "").replace(&csrf, "");
        seen.push((page.status, html, names));
    };
    let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
    note(&browser, &page);
    let page = browser.get(&page.at).await;
    note(&browser, &page);
    let wrong = browser.submit(&page, "/a/auth/verify", &[("code", "000000")]).await;
    note(&browser, &wrong);
    let again = browser.submit(&page, "/a/auth/resend", &[]).await;
    note(&browser, &again);
    let third = browser.submit(&page, "/a/auth/resend", &[]).await;
    note(&browser, &third);
    for _ in 0..4 {
        let wrong = browser.submit(&page, "/a/auth/verify", &[("code", "000000")]).await;
        note(&browser, &wrong);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_01_every_answer_before_the_proof_is_the_same_for_known_and_unknown_addresses() {
    let client = Client::start().await;
    let (acme, beta) = (client.organization("Acme").await, client.organization("Beta").await);
    let carl = member(&client, &acme, CARL).await;
    let path = format!("/api/v1/memberships/organizations/{beta}/users/{carl}?send_invitation_email=false");
    client.ok(201, "POST", &path, Some(json!({}))).await;
    client.ok(201, "POST", &format!("/api/v1/organizations/{acme}/users"), Some(json!({ "email": DORA }))).await;
    narthex_core::jobs::drain(client.harness.core()).await.unwrap();
    let known = steps(&client, CARL).await;
    assert_eq!(known.len(), 9);
    for (who, email) in [("invited", DORA), ("unknown", "nobody@example.org"), ("of another domain", "x@y.example")] {
        for (at, (mine, theirs)) in known.iter().zip(&steps(&client, email).await).enumerate() {
            assert_eq!(mine, theirs, "{who}, step {at}");
        }
        assert!(mails(&client.harness, email).await >= 2, "{who}: a mail goes out all the same");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosted_pages_are_limited_by_the_visitors_address() {
    let limits = LimitsConfig { public_per_ip: 60, ..LimitsConfig::default() };
    let harness = Harness::start_with(|dev| dev.limits = limits).await;
    allow(&harness, &["ann+sktest@example.com"]).await;
    let mut browser = Browser::new(&harness);
    let (mut good, mut refused) = (0, None);
    for _ in 0..40 {
        let page = browser.get("/oauth/authorize?client_id=x").await;
        if page.status == 429 {
            refused = Some(page);
            break;
        }
        assert_eq!(page.status, 400);
        good += 1;
    }
    let refused = refused.expect("there is a limit");
    assert!((10..=14).contains(&good), "a burst of ten seconds' worth: {good}");
    assert!(refused.html.contains("try again later"), "{}", refused.html);
    let page = browser.post("/a/auth/login?req=req_1", &[("email", "ann+sktest@example.com")]).await;
    assert_eq!(page.status, 429, "forms as well, before anything is looked at");
}
