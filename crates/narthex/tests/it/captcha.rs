//! Bot detection: logins that ask for a captcha, on the hosted pages and in AuthService. The verifier is a stand-in on this machine: it
//! speaks `siteverify` as the providers document it, but none of them has been asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use narthex::Exit;
use narthex::admin::doctor::{Level, outside};
use narthex::config::{CaptchaConfig, Config, Settings, Sources};
use narthex_core::captcha::Provider;
use narthex_core::connections::{Delivery, PasswordlessChange};
use narthex_core::environments::{self, Switch};
use narthex_core::seal::Secret;
use narthex_core::users;
use narthex_db::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::browser::{Browser, Page, configure, mail, mails, parameters};
use crate::harness::{Harness, Protocol};
use crate::roles::Client;

const ANN: &str = "ann@example.com";
const SECRET: &str = "captcha-secret-5d1e";
const SITE_KEY: &str = "site-key-77";
const FIELD: &str = "cf-turnstile-response";
const SETTINGS: &str = "/settings/user-management";
const DISCOVERY: &str = "/api/v1/auth:discovery";
const VERIFY: &str = "/api/v1/auth/passwordless:verify";
const RESEND: &str = "/api/v1/auth/passwordless:resend";

/// How the stand-in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Tokens that begin with `good` are good, once.
    Well,
    /// As a gateway whose server is down.
    Down,
    /// Not at all.
    Silent,
    /// At great length.
    Long,
    /// As if the secret were another one's.
    WrongSecret,
}

/// The stand-in.
#[derive(Clone)]
struct Verifier {
    url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    hostname: &'static str,
    /// The forms that it got.
    asked: Vec<BTreeMap<String, String>>,
}

impl Verifier {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/siteverify", listener.local_addr().unwrap());
        let state = State { mood: Mood::Well, hostname: "localhost", asked: Vec::new() };
        let verifier = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = verifier.clone();
        tokio::spawn(async move {
            let used = Arc::new(Mutex::new(BTreeSet::new()));
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().answer(stream, Arc::clone(&used)));
            }
        });
        verifier
    }

    async fn answer(self, mut stream: TcpStream, used: Arc<Mutex<BTreeSet<String>>>) {
        let mut asked = Vec::new();
        let body = loop {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            asked.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&asked).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                assert!(head.starts_with("POST /siteverify "), "{head}");
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
                if body.len() >= length.parse().unwrap() {
                    break body.to_owned();
                }
            }
            assert!(read > 0, "half a request");
        };
        let form = parameters(&body);
        let (mood, hostname) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked.push(form.clone());
            (state.mood, state.hostname)
        };
        let refuse = |code: &str| json!({ "success": false, "error-codes": [code] }).to_string();
        let token = form.get("response").cloned().unwrap_or_default();
        let (status, said) = match mood {
            Mood::Down => ("502 Bad Gateway", "<html>".to_owned()),
            Mood::Silent => return tokio::time::sleep(Duration::from_mins(1)).await,
            Mood::Long => ("200 OK", format!("{{\"success\":true,\"x\":\"{}\"}}", "x".repeat(20_000))),
            Mood::WrongSecret => ("200 OK", refuse("invalid-input-secret")),
            Mood::Well if form.get("secret").is_none_or(|given| given != SECRET) => {
                ("200 OK", refuse("invalid-input-secret"))
            }
            Mood::Well if token.is_empty() => ("200 OK", refuse("missing-input-response")),
            Mood::Well if !token.starts_with("good") => ("200 OK", refuse("invalid-input-response")),
            Mood::Well if !used.lock().unwrap().insert(token) => ("200 OK", refuse("timeout-or-duplicate")),
            Mood::Well => ("200 OK", json!({ "success": true, "hostname": hostname }).to_string()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", said.len());
        stream.write_all(format!("{head}{said}").as_bytes()).await.ok();
    }

    fn feel(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    fn say_host(&self, hostname: &'static str) {
        self.state.lock().unwrap().hostname = hostname;
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
}

fn config(verify_url: &str) -> CaptchaConfig {
    CaptchaConfig {
        provider: Provider::Turnstile,
        site_key: SITE_KEY.to_owned(),
        secret: Secret::new(SECRET.to_owned()),
        verify_url: Some(verify_url.to_owned()),
        script_url: None,
    }
}

/// A server with the stand-in behind it, and bot detection on.
async fn start(engine: Engine, fail_open: bool) -> Option<(Client, Verifier)> {
    let verifier = Verifier::start().await;
    let url = verifier.url.clone();
    let harness = Harness::start_on(engine).await?;
    let harness = harness
        .restart(move |options| {
            if let narthex::Mode::Dev(dev) = &mut options.mode {
                dev.captcha = Some(Box::new(config(&url)));
            }
        })
        .await
        .unwrap();
    let token = harness.client_token().await;
    let client = Client { harness, token };
    let on = json!({ "enable_bot_detection": true, "enable_fail_open": fail_open });
    client.ok(200, "PATCH", &settings_path(&client), Some(on)).await;
    Some((client, verifier))
}

fn settings_path(client: &Client) -> String {
    format!("/api/v1/environments/{}{SETTINGS}", client.harness.env_id())
}

/// Asks as a page of the login's own origin.
async fn call(browser: &Browser<'_>, path: &str, body: Value) -> (u16, String) {
    let base = browser.harness.running().http_url.clone();
    let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = http::Request::post(format!("{base}{path}"))
        .header("origin", &base)
        .header("cookie", cookies.join("; "))
        .header("content-type", "application/json");
    let reply = browser.harness.send(&base, Protocol::H1, request, body.to_string()).await;
    (reply.status.as_u16(), reply.text())
}

async fn stage(browser: &mut Browser<'_>) -> String {
    let reply = browser.send("GET", "/api/v1/auth/state", None, None).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["auth_state"].as_str().unwrap().to_owned()
}

async fn in_rpcs(engine: Engine) {
    let Some((client, verifier)) = start(engine, false).await else { return };
    let harness = &client.harness;
    let mut browser = Browser::new(harness);
    browser.authorize(&[]).await;
    let features = browser.send("GET", "/api/v1/auth:features", None, None).await.json()["features"].clone();
    assert_eq!(
        (&features["bot_detection"], &features["captcha_provider"], &features["captcha_site_key"]),
        (&json!(true), &json!("turnstile"), &json!(SITE_KEY))
    );
    let discover = |token: &str| json!({ "email": ANN, "intent": "sign_in", "g_recaptcha_response": token });
    for (token, why) in [("", "missing"), ("bad", "bad"), ("<script>", "no token at all")] {
        let (status, text) = call(&browser, DISCOVERY, discover(token)).await;
        assert_eq!(status, 400, "{why}: {text}");
        assert!(text.contains("discovery_request.g_recaptcha_response"), "{why}: {text}");
        assert_eq!(mails(harness, ANN).await, 0, "{why}");
        assert_eq!(stage(&mut browser).await, "AUTHENTICATION_IN_PROGRESS", "{why}");
    }
    assert_eq!(verifier.asked(), 1, "only about what may be a token");
    let (status, text) = call(&browser, DISCOVERY, discover("good-1")).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(mails(harness, ANN).await, 1);
    let asked = verifier.state.lock().unwrap().asked.last().cloned().unwrap();
    assert_eq!((&*asked["secret"], &*asked["response"], &*asked["remoteip"]), (SECRET, "good-1", "127.0.0.1"));

    let (status, text) = call(&browser, RESEND, json!({})).await;
    assert!(status == 400 && text.contains("\"g_recaptcha_response"), "{status} {text}");
    let (status, text) = call(&browser, RESEND, json!({ "g_recaptcha_response": "good-1" })).await;
    assert!(status == 400 && text.contains("g_recaptcha_response"), "a token is good once: {status} {text}");
    assert_eq!(mails(harness, ANN).await, 1, "nothing was sent");
    let (status, text) = call(&browser, RESEND, json!({ "g_recaptcha_response": "good-2" })).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(mails(harness, ANN).await, 2);

    let otp = mail(harness, ANN).await["otp"].as_str().unwrap().to_owned();
    // Five wrong codes end a login. None of these is tried, so none counts.
    let code = |code: &str, token: &str| json!({ "code_challenge": code, "g_recaptcha_response": token });
    for token in ["", "bad", "good-2", "", "bad", "bad"] {
        let (status, text) = call(&browser, VERIFY, code("000000", token)).await;
        assert!(status == 400 && text.contains("otp_req.g_recaptcha_response"), "{token}: {status} {text}");
    }
    let (status, text) = call(&browser, VERIFY, code(&otp, "")).await;
    assert!(status == 400 && text.contains("g_recaptcha_response"), "the right code alone: {status} {text}");
    let (_, text) = call(&browser, VERIFY, code("000000", "good-3")).await;
    assert!(text.contains("is not the code"), "{text}");
    verifier.say_host("evil.example");
    let (status, text) = call(&browser, VERIFY, code(&otp, "good-4")).await;
    assert!(status == 400 && text.contains("g_recaptcha_response"), "a token of another site: {status} {text}");
    verifier.say_host("LOCALHOST");
    let (status, text) = call(&browser, VERIFY, code(&otp, "good-5")).await;
    assert_eq!(status, 200, "{text}");
    let (_, text) = call(&browser, VERIFY, code(&otp, "good-5")).await;
    assert!(text.contains("does not stand where"), "what comes too late hears that, not of its token: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_each_step_of_a_login_takes_one_good_token_and_refuses_every_other_on_sqlite() {
    in_rpcs(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_each_step_of_a_login_takes_one_good_token_and_refuses_every_other_on_postgres() {
    in_rpcs(Engine::Postgres).await;
}

fn shows_widget(page: &Page, forms: usize) {
    let html = &page.html;
    assert_eq!(html.matches(&format!("data-sitekey=\"{SITE_KEY}\"")).count(), forms, "{html}");
    assert_eq!(html.matches("https://challenges.cloudflare.com/turnstile/v0/api.js").count(), forms, "{html}");
    assert!(html.contains("<noscript><p class=\"say warn\">This page has to check"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_the_hosted_forms_come_again_with_a_fresh_widget_until_a_good_token_comes() {
    let (client, verifier) = start(Engine::Sqlite, false).await.unwrap();
    let harness = &client.harness;
    let mut browser = Browser::new(harness);
    let page = browser.authorize(&[]).await;
    shows_widget(&page, 1);
    for fields in [
        &[("email", ANN)][..],
        &[("email", ANN), (FIELD, "bad")],
        &[("email", ANN), ("g-recaptcha-response", "good-x")],
    ] {
        let page = browser.submit(&page, "/a/auth/login", fields).await;
        assert_eq!((page.status, page.at.starts_with("/a/auth/login")), (200, true));
        assert!(page.html.contains("Complete the check that you are not a robot") && page.html.contains(ANN));
        shows_widget(&page, 1);
    }
    assert_eq!(mails(harness, ANN).await, 0);
    let signup = browser.get(&page.at.replace("/login", "/signup")).await;
    shows_widget(&signup, 1);
    let again = browser.submit(&signup, "/a/auth/signup", &[("email", ANN)]).await;
    assert!(again.html.contains("Complete the check") && again.html.contains("Create your"), "{}", again.html);

    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN), (FIELD, "good-1")]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.at);
    shows_widget(&page, 1);
    assert_eq!(mails(harness, ANN).await, 1);
    // One widget serves both buttons.
    assert!(page.html.contains("form=\"code-form\" formaction=\"/a/auth/resend?"), "{}", page.html);
    for token in ["", "bad", "good-1"] {
        let again = browser.submit(&page, "/a/auth/resend", &[(FIELD, token)]).await;
        assert!(again.html.contains("Complete the check") && !again.html.contains("sent it again"), "{}", again.html);
        for _ in 0..2 {
            let again = browser.submit(&page, "/a/auth/verify", &[("code", "000000"), (FIELD, token)]).await;
            assert!(again.html.contains("Complete the check"), "{}", again.html);
            shows_widget(&again, 1);
        }
    }
    assert_eq!(mails(harness, ANN).await, 1);
    let again = browser.submit(&page, "/a/auth/resend", &[(FIELD, "good-2")]).await;
    assert!(again.html.contains("sent it again"), "{}", again.html);
    let otp = mail(harness, ANN).await["otp"].as_str().unwrap().to_owned();
    let wrong = browser.submit(&page, "/a/auth/verify", &[("code", "000000"), (FIELD, "good-3")]).await;
    assert!(wrong.html.contains("The code is not right"), "not locked: nothing before was tried: {}", wrong.html);
    verifier.say_host("evil.example");
    let foreign = browser.submit(&page, "/a/auth/verify", &[("code", &otp), (FIELD, "good-4")]).await;
    assert!(foreign.html.contains("Complete the check"), "{}", foreign.html);
    verifier.say_host("localhost");
    let done = browser.submit(&page, "/a/auth/verify", &[("code", &otp), (FIELD, "good-5")]).await;
    assert!(!done.code().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_only_pages_with_the_widget_let_its_provider_in_and_keep_the_rest_shut() {
    let (client, _) = start(Engine::Sqlite, false).await.unwrap();
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let policy = |reply: &crate::harness::Reply| reply.header("content-security-policy").unwrap().to_owned();
    let with = policy(&browser.send("GET", &page.at, None, None).await);
    for part in [
        "default-src 'none';",
        "base-uri 'none';",
        "frame-ancestors 'none';",
        "form-action 'self' https: http:;",
        "script-src 'self' https://challenges.cloudflare.com;",
        "frame-src https://challenges.cloudflare.com;",
        "connect-src 'self' ;",
    ] {
        assert!(with.contains(part), "{part} in {with}");
    }
    assert!(!with.contains("unsafe") && !with.contains("data:"), "{with}");
    // Pages of the same environment that have none, and the same page once nobody asks for one.
    let error = policy(&browser.send("GET", "/oauth/authorize?client_id=x", None, None).await);
    let off = json!({ "enable_bot_detection": false });
    client.ok(200, "PATCH", &settings_path(&client), Some(off)).await;
    let reply = browser.send("GET", &page.at, None, None).await;
    assert!(!reply.text().contains("captcha"), "{}", reply.text());
    for without in [error, policy(&reply)] {
        assert!(without.contains("script-src 'self';") && without.contains("require-trusted-types-for"), "{without}");
        assert!(!without.contains("cloudflare") && !without.contains("frame-src"), "{without}");
    }
    // And no token is looked at.
    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.at);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_without_a_code_to_enter_the_form_for_another_mail_has_the_widget() {
    let (client, _) = start(Engine::Sqlite, false).await.unwrap();
    let harness = &client.harness;
    configure(harness, PasswordlessChange { delivery: Some(Delivery::Link), ..PasswordlessChange::default() }).await;
    let email = "link@example.net";
    let mut browser = Browser::new(harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", email), (FIELD, "good-1")]).await;
    shows_widget(&page, 1);
    browser.submit(&page, "/a/auth/resend", &[]).await;
    assert_eq!(mails(harness, email).await, 1);
    browser.submit(&page, "/a/auth/resend", &[(FIELD, "good-2")]).await;
    assert_eq!(mails(harness, email).await, 2);
    // The link itself is proof enough.
    let link = crate::browser::link(harness, email).await;
    let page = browser.get(&link).await;
    assert!(!page.html.contains("data-captcha"), "{}", page.html);
}

/// What becomes of a login while the verifier is out.
async fn outages(fail_open: bool, moods: &[Mood]) {
    let (client, verifier) = start(Engine::Sqlite, fail_open).await.unwrap();
    let harness = &client.harness;
    for (at, mood) in moods.iter().enumerate() {
        verifier.feel(*mood);
        // A browser that gets no widget from a provider that is down brings no token.
        for (token, name) in [("good-out", "with"), ("", "without")] {
            let email = format!("{name}-{at}@example.net");
            let mut browser = Browser::new(harness);
            let page = browser.authorize(&[]).await;
            let shown = browser.submit(&page, "/a/auth/login", &[("email", &email), (FIELD, token)]).await;
            let body = json!({ "email": email, "intent": "sign_in", "g_recaptcha_response": token });
            let sent = mails(harness, &email).await;
            match (fail_open, token) {
                (true, _) => {
                    assert!(shown.at.starts_with("/a/auth/verify"), "{mood:?} {name}: {}", shown.html);
                    assert_eq!(sent, 1, "{mood:?} {name}");
                }
                (false, "") => {
                    assert!(shown.html.contains("Complete the check"), "{mood:?} {name}: {}", shown.html);
                    assert_eq!((sent, call(&browser, DISCOVERY, body).await.0), (0, 400), "{mood:?} {name}");
                }
                (false, _) => {
                    assert_eq!(shown.status, 503, "{mood:?}: {}", shown.html);
                    assert!(shown.html.contains("Please try again in a few minutes") && shown.html.contains(&email));
                    shows_widget(&shown, 1);
                    let (status, text) = call(&browser, DISCOVERY, body).await;
                    assert!(status == 503 && text.contains("captcha cannot be verified"), "{mood:?}: {status} {text}");
                    assert_eq!(stage(&mut browser).await, "AUTHENTICATION_IN_PROGRESS");
                    assert_eq!(mails(harness, &email).await, 0, "{mood:?}");
                }
            }
        }
    }
    // It has come back, and is asked again.
    verifier.feel(Mood::Well);
    for (token, goes_on) in [("", false), ("bad", false), ("good-back", true)] {
        let mut browser = Browser::new(harness);
        let page = browser.authorize(&[]).await;
        let shown = browser.submit(&page, "/a/auth/login", &[("email", "back@example.net"), (FIELD, token)]).await;
        assert_eq!(shown.at.starts_with("/a/auth/verify"), goes_on, "{token}: {}", shown.html);
    }
}

const OUTAGES: [Mood; 3] = [Mood::Down, Mood::Long, Mood::WrongSecret];

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_an_outage_holds_logins_up_unless_fail_open_is_on() {
    outages(false, &OUTAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_fail_open_lets_logins_through_an_outage_and_nothing_else() {
    outages(true, &OUTAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_a_verifier_that_does_not_answer_is_waited_for_five_seconds() {
    let began = std::time::Instant::now();
    outages(false, &[Mood::Silent]).await;
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_bot_detection_needs_a_provider_and_holds_logins_up_when_it_is_taken_away() {
    let client = Client::start().await;
    let on = json!({ "enable_bot_detection": true });
    let refusal = client.refused(400, "PATCH", &settings_path(&client), Some(on.clone())).await;
    assert_eq!(refusal["details"][0]["error_code"], "FAILED_PRECONDITION", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("enable_bot_detection"), "{refusal}");
    client.ok(200, "PATCH", &settings_path(&client), Some(json!({ "enable_fail_open": false }))).await;

    let (client, _) = start(Engine::Sqlite, false).await.unwrap();
    let harness = client
        .harness
        .restart(|options| {
            if let narthex::Mode::Dev(dev) = &mut options.mode {
                dev.captcha = None;
            }
        })
        .await
        .unwrap();
    let client = Client { token: harness.client_token().await, harness };
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    assert!(!page.html.contains("data-captcha"), "nobody is there to draw one: {}", page.html);
    let body = json!({ "email": ANN, "intent": "sign_in", "g_recaptcha_response": "good-1" });
    assert_eq!(call(&browser, DISCOVERY, body).await.0, 503);
    // Settings that are sent back as they are change nothing, and it can be switched off.
    client.ok(200, "PATCH", &settings_path(&client), Some(on)).await;
    client.ok(200, "PATCH", &settings_path(&client), Some(json!({ "enable_fail_open": true }))).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_a_link_with_an_address_in_it_sends_no_mail_before_the_captcha() {
    let (client, _) = start(Engine::Sqlite, false).await.unwrap();
    let harness = &client.harness;
    environments::set_switches(harness.core(), harness.env_id(), vec![(Switch::FullStack, false)]).await.unwrap();
    let email = "hint@example.net";
    let mut browser = Browser::new(harness);
    let page = browser.authorize(&[("login_hint", email)]).await;
    assert!(page.at.starts_with("/a/auth/login") && page.html.contains(email), "{}: {}", page.at, page.html);
    assert_eq!(mails(harness, email).await, 0);
    let page = browser.submit(&page, "/a/auth/login", &[("email", email), (FIELD, "good-1")]).await;
    assert!(page.at.starts_with("/a/auth/verify"), "{}", page.html);
    assert_eq!(mails(harness, email).await, 1);
}

/// What is written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// On one thread, so that the server's log is the test's.
#[tokio::test]
async fn sec_02_the_log_tells_of_an_outage_and_has_neither_token_nor_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let logged = tracing::subscriber::set_default(subscriber.finish());
    for fail_open in [true, false] {
        let (client, verifier) = start(Engine::Sqlite, fail_open).await.unwrap();
        for mood in [Mood::Well, Mood::Down, Mood::WrongSecret] {
            verifier.feel(mood);
            let mut browser = Browser::new(&client.harness);
            browser.authorize(&[]).await;
            let body =
                json!({ "email": "log@example.net", "intent": "sign_in", "g_recaptcha_response": "goodtoken-9c31" });
            call(&browser, DISCOVERY, body).await;
        }
        assert_eq!(client.harness.stop().await, Exit::Ok);
    }
    drop(logged);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let of = |what: &str| text.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    assert_eq!(of("a login goes on without").len(), 2, "{text}");
    assert_eq!(of("a login is held up").len(), 2, "{text}");
    assert_eq!(of("the verifier answers with status 502").len(), 2);
    assert_eq!(of("the verifier says invalid-input-secret").len(), 2);
    assert!(!text.contains("goodtoken-9c31") && !text.contains(SECRET));
}

fn settings(keys: &[(&str, &str)]) -> Settings {
    let flags = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::load(&Sources { flags, ..Sources::default() }).unwrap()
}

const KEYS: [(&str, &str); 3] =
    [("captcha.provider", "hcaptcha"), ("captcha.site_key", SITE_KEY), ("captcha.secret", SECRET)];

#[test]
fn sec_02_ops_04_the_section_is_checked_and_its_secret_shown_to_nobody() {
    let read = |keys: &[(&str, &str)]| Config::from_settings(&settings(keys));
    assert!(read(&[]).unwrap().captcha.is_none(), "off by default");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let reference = format!("file:{}", path.display());
    let by_reference = settings(&[KEYS[0], KEYS[1], ("captcha.secret", &reference)]);
    let captcha = Config::from_settings(&by_reference).unwrap().captcha.unwrap();
    assert_eq!((captcha.provider, captcha.secret.expose().as_str()), (Provider::Hcaptcha, SECRET));
    assert!(!format!("{captcha:?}").contains(SECRET) && !by_reference.redacted().contains(SECRET));

    let with = |more: &[(&'static str, &'static str)]| [&KEYS[..], more].concat();
    for good in ["https://verify.example/siteverify", "http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost/x"]
    {
        assert!(read(&with(&[("captcha.verify_url", good)])).is_ok(), "{good}");
    }
    for bad in ["http://verify.example/", "ftp://localhost/", "https://a@verify.example/", "verify.example", "https://"]
    {
        for key in ["captcha.verify_url", "captcha.script_url"] {
            let failure = read(&with(&[(key, bad)])).unwrap_err();
            assert!(failure.to_string().contains(key), "{failure}");
        }
    }
    for (missing, keys) in [
        ("captcha.site_key", [KEYS[0], KEYS[2]]),
        ("captcha.secret", [KEYS[0], KEYS[1]]),
        ("captcha.provider", [KEYS[1], KEYS[2]]),
    ] {
        let failure = read(&keys).unwrap_err();
        assert!(failure.exit == Exit::Config && failure.to_string().contains(missing), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_ops_19_doctor_asks_the_verifier_whether_it_takes_the_secret() {
    let verifier = Verifier::start().await;
    let find = async |keys: &[(&str, &str)]| {
        let plain = [("tls.mode", "external"), ("server.http_listen", "127.0.0.1:1")];
        let config = Config::from_settings(&settings(&[&plain[..], keys].concat())).unwrap();
        let findings = outside(&config, None).await;
        let found = findings.into_iter().find(|finding| finding.check == "captcha").unwrap();
        (found.level, found.text)
    };
    assert_eq!(find(&[]).await.0, Level::Skipped);
    let keys = [KEYS[0], KEYS[1], KEYS[2], ("captcha.verify_url", verifier.url.as_str())];
    assert_eq!(find(&keys).await, (Level::Ok, "hcaptcha verifies tokens".to_owned()));
    let other = [KEYS[0], KEYS[1], ("captcha.secret", "another"), ("captcha.verify_url", verifier.url.as_str())];
    let (level, text) = find(&other).await;
    assert!(level == Level::Problem && text.contains("invalid-input-secret") && !text.contains("another"), "{text}");
    let nobody = [KEYS[0], KEYS[1], KEYS[2], ("captcha.verify_url", "http://127.0.0.1:1/siteverify")];
    let (level, text) = find(&nobody).await;
    assert!(level == Level::Problem && text.contains("no connection"), "{text}");

    // An environment that is left behind by its provider is a problem, too.
    let client = Client::start().await;
    let (core, environment) = (client.harness.core(), client.harness.env_id());
    let mut settings = users::user_management(core, environment).await.unwrap();
    settings.enable_bot_detection = true;
    users::set_user_management(core, environment, settings).await.unwrap();
    let report = crate::admin::narthex(client.harness.folder.path(), &["doctor"]).await;
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("FAIL  captcha") && report.contains("has bot detection on"), "{report}");
}
