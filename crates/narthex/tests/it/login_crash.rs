//! `kill -9` while people sign in: no session that was acknowledged is lost, and no code can be used twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use narthex_db::Engine;
use narthex_db::testing::TestDb;
use serde_json::Value;

use crate::browser::Page;
use crate::programs::{Dev, Site};
use crate::visitor::{Visitor, exchange, refresh};

const PEOPLE: usize = 6;
const ROUNDS: u64 = 3;

/// What one login has come to.
#[derive(Default)]
struct Login {
    /// The browser's cookie of the session, once the server has sent it.
    session: Option<String>,
    code: Option<String>,
    /// Whether the code was sent to the token endpoint.
    sent: bool,
    /// The refresh token, once the server has sent it.
    refresh: Option<String>,
}

/// Signs up as `email` by the code in the mail, and exchanges the code if `goes_on`.
async fn sign_up(
    site: &Site,
    client: (&str, &str),
    email: &str,
    goes_on: bool,
    login: &mut Login,
) -> Result<(), String> {
    let mut browser = Visitor::new(site);
    let page = browser.authorize(client.0, &[]).await?;
    let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await?;
    let mail = site.send(Request::get(format!("{}/dev/mail?to={email}", site.base)), "").await?.json();
    let otp = mail[0]["otp"].as_str().unwrap_or_else(|| panic!("no mail to {email}")).to_owned();
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &otp)]).await?;
    login.session = browser.jar.get("__Host-narthex_session").cloned();
    login.code = Some(page.code());
    if !goes_on {
        return Ok(());
    }
    login.sent = true;
    let reply = exchange(site, client, login.code.as_deref().expect("a code")).await?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    login.refresh = reply.json()["refresh_token"].as_str().map(str::to_owned);
    Ok(())
}

/// One person after another until the server is gone. Of every other login the code stays unspent.
async fn sign_in(
    site: Site,
    client: (String, String),
    names: (u64, usize),
    acknowledged: Arc<AtomicUsize>,
) -> Vec<Login> {
    let mut all = Vec::new();
    loop {
        let mut login = Login::default();
        let email = format!("p{}-{}-{}@example.org", names.0, names.1, all.len());
        let outcome = sign_up(&site, (&client.0, &client.1), &email, all.len() % 2 == 0, &mut login).await;
        if login.session.is_some() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        all.push(login);
        if outcome.is_err() {
            return all;
        }
    }
}

async fn silent(site: &Site, client_id: &str, session: &str) -> Page {
    let mut browser = Visitor::new(site);
    browser.jar.insert("__Host-narthex_session".to_owned(), session.to_owned());
    browser.authorize(client_id, &[("prompt", "none")]).await.expect("an answer")
}

async fn check(site: &Site, client: (&str, &str), login: &Login) {
    // No acknowledged session is lost.
    if let Some(session) = &login.session {
        assert!(silent(site, client.0, session).await.callback().contains_key("code"), "a session is lost");
    }
    // A refresh token that the application has works.
    let mut token = None;
    if let Some(known) = &login.refresh {
        let reply = refresh(site, client, known).await.expect("an answer");
        assert_eq!(reply.status, 200, "a refresh token is lost: {}", reply.text());
        token = reply.json()["refresh_token"].as_str().map(str::to_owned);
    }
    let Some(code) = &login.code else { return };
    let first = exchange(site, client, code).await.expect("an answer");
    match (login.sent, login.refresh.is_some()) {
        (false, _) => assert_eq!(first.status, 200, "a code is lost: {}", first.text()),
        // Nobody knows whether the exchange was written before the server died.
        (true, false) => assert!(matches!(first.status.as_u16(), 200 | 400), "{}", first.text()),
        (true, true) => assert_eq!(first.status, 400, "a code was used twice: {}", first.text()),
    }
    let second = exchange(site, client, code).await.expect("an answer");
    assert_eq!((second.status.as_u16(), &second.json()["error"]), (400, &Value::from("invalid_grant")));
    // Used again, it has ended what the first use had brought.
    let issued = first.status == 200;
    let brought = if issued { first.json()["refresh_token"].as_str().map(str::to_owned) } else { token };
    if let Some(token) = brought {
        assert_eq!(refresh(site, client, &token).await.expect("an answer").status, 400, "RFC 6749 §4.1.2");
    }
}

async fn crash(engine: Engine) {
    if engine == Engine::Postgres && narthex_db::testing::postgres_url().is_none() {
        return;
    }
    let database = match engine {
        Engine::Postgres => Some(TestDb::new(engine, &[]).await.expect("a PostgreSQL database")),
        Engine::Sqlite => None,
    };
    let url = database.as_ref().map(|database| database.options().url.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let mut logins = Vec::new();
    for round in 0..ROUNDS {
        let mut dev = Dev::start(folder.path(), url.as_deref(), "info").await;
        let client = (dev.variable("SCALEKIT_CLIENT_ID"), dev.variable("SCALEKIT_CLIENT_SECRET"));
        let count = Arc::new(AtomicUsize::new(0));
        let people: Vec<_> = (0..PEOPLE)
            .map(|person| tokio::spawn(sign_in(dev.site.clone(), client.clone(), (round, person), count.clone())))
            .collect();
        let started = Instant::now();
        while count.load(Ordering::Relaxed) < PEOPLE {
            assert!(started.elapsed() < Duration::from_mins(1), "nobody signs in: {}", dev.program.text());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        // Each time at another moment of it.
        tokio::time::sleep(Duration::from_millis(round * 53)).await;
        dev.program.kill().await;
        for person in people {
            logins.extend(person.await.expect("every answer is a success"));
        }
    }
    let mut dev = Dev::start(folder.path(), url.as_deref(), "info").await;
    let client = (dev.variable("SCALEKIT_CLIENT_ID"), dev.variable("SCALEKIT_CLIENT_SECRET"));
    let client = (&*client.0, &*client.1);
    let of = |what: fn(&Login) -> bool| logins.iter().filter(|login| what(login)).count();
    assert!(of(|login| login.session.is_some()) >= PEOPLE * 3, "too few logins to say anything");
    assert!(of(|login| login.refresh.is_some()) > 0, "no exchange was acknowledged");
    for login in &logins {
        check(&dev.site, client, login).await;
    }
    dev.program.terminate().await;
    let log = dev.program.text();
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_05_oauth_08_ses_01_a_killed_server_loses_no_session_and_takes_no_code_twice_sqlite() {
    crash(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_05_oauth_08_ses_01_a_killed_server_loses_no_session_and_takes_no_code_twice_postgres() {
    crash(Engine::Postgres).await;
}
