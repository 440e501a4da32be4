//! The second factor of a login: a code of the user's authenticator app after the code or link of a mail.

use std::time::Duration;

use narthex_core::connections::{self, Delivery, PasswordlessChange};
use narthex_core::environments;
use narthex_core::environments::test_users::{self, TestUsersChange};
use narthex_core::ids::{SessionId, UserId};
use narthex_core::jobs;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::passkeys;
use narthex_core::testing::authenticator::Authenticator;
use narthex_core::totp::{self, Subject};
use narthex_core::users::{self, Identity};
use narthex_db::Engine;
use serde_json::{Value, json};

use crate::browser::{Browser, CODE, Page, allow, configure, exchange, link, mail, parameters};
use crate::harness::Harness;
use crate::roles::Client;
use crate::totp::{code, register};

const ANN: &str = "ann+sktest@example.com";
const CARL: &str = "carl@example.org";
const SESSION: &str = "__Host-narthex_session";

/// A server that asks authenticator apps.
struct Asking {
    client: Client,
    acme: String,
}

/// Somebody with an authenticator app, whose code of the next step is not used yet.
struct Person {
    id: String,
    registration: String,
    uri: String,
    backup: Vec<String>,
}

impl Asking {
    async fn start(engine: Engine) -> Option<Self> {
        Self::start_as(engine, true).await
    }

    async fn start_as(engine: Engine, totp_at_login: bool) -> Option<Self> {
        let harness = Harness::start_on_with(engine, |dev| dev.totp_at_login = totp_at_login).await?;
        allow(&harness, &[ANN]).await;
        let token = harness.client_token().await;
        let client = Client { harness, token };
        let acme = client.organization("Acme").await;
        Some(Self { client, acme })
    }

    async fn person(&self, email: &str) -> Person {
        let path = format!("/api/v1/organizations/{}/users?send_invitation_email=false", self.acme);
        let made = self.client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
        self.with_app(made["user"]["id"].as_str().expect("an id")).await
    }

    async fn with_app(&self, user: &str) -> Person {
        let (registration, uri) = register(&self.client, json!({ "user_id": user })).await;
        let path = format!("/api/v1/totp/{registration}/enable");
        let enabled = self.client.ok(200, "POST", &path, Some(json!({ "code": code(&self.client, &uri, 0) }))).await;
        let backup = enabled["backup_codes"].as_array().expect("codes").iter();
        let backup = backup.map(|code| code.as_str().expect("a code").to_owned()).collect();
        Person { id: user.to_owned(), registration, uri, backup }
    }

    fn browser(&self) -> Browser<'_> {
        Browser::new(&self.client.harness)
    }

    /// Live sessions of browsers and codes that applications were sent.
    async fn made(&self) -> (i64, i64) {
        let count = async |sql: &'static str| {
            self.client
                .harness
                .core()
                .db
                .read(async move |tx| tx.one::<(i64,)>(sql, &[]).await)
                .await
                .expect("a count")
                .0
        };
        (
            count("SELECT COUNT(*) FROM sessions WHERE kind = 1 AND revoked_at IS NULL").await,
            count("SELECT COUNT(*) FROM grants").await,
        )
    }

    /// The browser is asked for the second factor and has nothing else yet.
    async fn assert_asked(&self, browser: &Browser<'_>, page: &Page, way: &str) {
        assert!(
            page.left_to.is_none() && page.at.starts_with("/a/auth/totp?req=req_"),
            "{way}: {} {:?}",
            page.at,
            page.left_to
        );
        assert!(page.html.contains("authenticator app"), "{way}: {}", page.html);
        assert_eq!(browser.jar.get(SESSION), None, "{way}");
        assert_eq!(self.made().await, (0, 0), "{way}: neither a session nor a code");
    }

    async fn claims(&self, page: &Page) -> Value {
        let tokens = exchange(&self.client.harness, &page.code()).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        crate::totp_login::claims(tokens.json()["id_token"].as_str().expect("an ID token"))
    }
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("a payload");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

impl Person {
    /// Of the step that is good and not used yet.
    fn next(&self, asking: &Asking) -> String {
        code(&asking.client, &self.uri, 1)
    }

    /// Of no step near now.
    fn wrong(&self, asking: &Asking) -> String {
        let near: Vec<String> = (-3..=3).map(|later| code(&asking.client, &self.uri, later)).collect();
        (0..1_000_000).map(|i| format!("{i:06}")).find(|code| !near.contains(code)).expect("a code")
    }
}

async fn recover(browser: &mut Browser<'_>, page: &Page, code: &str) -> Page {
    let page = browser.get(&page.at.replace("/totp", "/recovery")).await;
    assert!(page.html.contains("recovery code") && page.html.contains("/a/auth/totp?req="), "{}", page.html);
    browser.submit(&page, "/a/auth/recovery", &[("code", code)]).await
}

async fn asked(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let ann = f.person(ANN).await;
    let mut browser = f.browser();
    let page = browser.sign_in(ANN, &[]).await;
    f.assert_asked(&browser, &page, "after the code of the mail").await;
    for part in
        ["autocomplete=\"one-time-code\"", "inputmode=\"numeric\"", "data-scope=\"pin-input\"", "Use a recovery code"]
    {
        assert!(page.html.contains(part), "{part}: {}", page.html);
    }
    let verify = page.at.replace("/totp", "/verify");
    let again = browser.post(&verify, &[("csrf", &page.csrf()), ("code", CODE)]).await;
    f.assert_asked(&browser, &again, "the code of the mail once more").await;
    let wrong = browser.submit(&page, "/a/auth/totp", &[("code", &ann.wrong(&f))]).await;
    assert!(wrong.status == 200 && wrong.html.contains("not right"), "{}", wrong.html);
    f.assert_asked(&browser, &wrong, "after a wrong code").await;
    let right = ann.next(&f);
    let spaced = format!(" {} {}", &right[..3], &right[3..]);
    let page = browser.submit(&wrong, "/a/auth/totp", &[("code", &spaced)]).await;
    assert_eq!(page.callback()["state"], "s-1");
    let first = f.claims(&page).await;
    assert_eq!(first["sub"], json!(ann.id));
    assert!(browser.jar.contains_key(SESSION));

    // The session has been through it: every application of the environment gets in by it.
    for more in [&[][..], &[("prompt", "none")], &[("organization_id", f.acme.as_str())]] {
        assert!(browser.authorize(more).await.callback().contains_key("code"), "{more:?}");
    }
    // Whoever has to prove it again proves both, and no code counts twice.
    f.client.harness.clock.advance(Duration::from_secs(2));
    for (at, more) in [("prompt", "login"), ("max_age", "1")].into_iter().enumerate() {
        let cookie = browser.jar[SESSION].clone();
        let page = browser.sign_in(ANN, &[more]).await;
        assert!(page.at.starts_with("/a/auth/totp"), "{more:?}: {}", page.at);
        assert_eq!(browser.jar[SESSION], cookie, "{more:?}: the session is as it was");
        let replayed = browser.submit(&page, "/a/auth/totp", &[("code", &right)]).await;
        assert!(replayed.html.contains("not right"), "{more:?}: {}", replayed.html);
        let page = recover(&mut browser, &page, &ann.backup[at].to_uppercase()).await;
        assert_eq!(f.claims(&page).await["sid"], first["sid"], "{more:?}");
        assert_ne!(browser.jar[SESSION], cookie, "{more:?}: with a new secret");
        f.client.harness.clock.advance(Duration::from_secs(2));
    }
    let mut other = f.browser();
    let page = other.sign_in(ANN, &[]).await;
    let used = recover(&mut other, &page, &ann.backup[0]).await;
    assert!(used.html.contains("not right") && used.html.contains("Use your authenticator app"), "{}", used.html);
    assert_eq!(other.jar.get(SESSION), None, "a recovery code is good once");
}

#[allow(clippy::too_many_lines)] // one way after the other
async fn no_way_round(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let (client, core) = (&f.client, f.client.harness.core());
    let ann = f.person(ANN).await;
    let beta = client.organization("Beta").await;
    let path = format!("/api/v1/memberships/organizations/{beta}/users/{}?send_invitation_email=false", ann.id);
    client.ok(201, "POST", &path, Some(json!({}))).await;

    // What a request says makes no difference, and the page that follows the first factor does not tell where Ann belongs.
    for more in [
        &[][..],
        &[("prompt", "create")],
        &[("prompt", "select_account")],
        &[("prompt", "login")],
        &[("organization_id", beta.as_str())],
        &[("login_hint", ANN)],
        &[("max_age", "0")],
    ] {
        let mut browser = f.browser();
        let page = browser.sign_in(ANN, more).await;
        f.assert_asked(&browser, &page, &format!("{more:?}")).await;
        assert!(!page.html.contains("Beta"), "{}", page.html);
    }
    // The forms of the pages that come later, or before.
    let mut browser = f.browser();
    let page = browser.sign_in(ANN, &[]).await;
    let csrf = page.csrf();
    for (name, field) in [
        ("organizations", ("organization", beta.as_str())),
        ("join", ("organization", &beta)),
        ("organization", ("organization_name", "Own")),
        ("passkey", ("x", "")),
        ("consent", ("decision", "allow")),
        ("verify", ("code", CODE)),
        ("login", ("email", ANN)),
        ("signup", ("email", ANN)),
        ("passkey-login", ("session_token", "x")),
        ("totp", ("code", "")),
        ("recovery", ("code", " - ")),
    ] {
        let at = page.at.replace("/totp", &format!("/{name}"));
        let there = browser.post(&at, &[("csrf", &csrf), field]).await;
        assert!(there.left_to.is_none() && !there.html.contains("Beta"), "{name}: {:?} {}", there.left_to, there.html);
        let there = browser.get(&at).await;
        assert!(
            there.html.contains("enter the code") || there.html.contains("recovery codes"),
            "{name}: {}",
            there.html
        );
        assert_eq!((browser.jar.get(SESSION), f.made().await), (None, (0, 0)), "{name}");
    }
    let forged = browser.post(&page.at, &[("csrf", "x"), ("code", &ann.backup[9])]).await;
    assert_eq!(forged.status, 403, "a form of another site spends no code");
    let stranger = f.browser().get(&page.at).await;
    assert!(!stranger.html.contains("enter the code"), "the page is its browser's alone: {}", stranger.html);

    // A page of the application's own, through AuthService.
    let mut browser = f.browser();
    let login = browser.authorize(&[]).await;
    let origin = client.harness.running().http_url.clone();
    for (path, body, status) in [
        ("/api/v1/auth:discovery", json!({ "email": ANN, "intent": "sign_in" }), 200),
        ("/api/v1/auth/passwordless:verify", json!({ "code_challenge": CODE }), 200),
        ("/api/v1/auth/passwordless:verify", json!({ "code_challenge": CODE }), 400),
        ("/api/v1/auth:signup", json!({ "organization_name": "Own" }), 409),
        ("/api/v1/auth:organizations", Value::Null, 400),
        ("/api/v1/auth/state", Value::Null, 200),
    ] {
        let reply = api(&browser, &origin, path, &body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        if path.ends_with("/state") {
            assert_eq!(reply.json()["auth_state"], "OTP_VERIFIED");
        }
    }
    let page = browser.get(&login.at.replace("/login", "/organizations")).await;
    f.assert_asked(&browser, &page, "AuthService").await;

    // A link, in the browser that asked for it and in another one.
    let carl = f.person(CARL).await;
    configure(&client.harness, PasswordlessChange { delivery: Some(Delivery::Link), ..PasswordlessChange::default() })
        .await;
    for foreign in [false, true] {
        let (mut first, mut second) = (f.browser(), f.browser());
        let page = first.authorize(&[]).await;
        first.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
        let path = link(&client.harness, CARL).await;
        let browser = if foreign { &mut second } else { &mut first };
        let mut page = browser.get(&path).await;
        if foreign {
            page = browser.submit(&page, &path, &[]).await;
        }
        f.assert_asked(browser, &page, "a link").await;
        client.harness.clock.advance(Duration::from_mins(1));
    }
    configure(&client.harness, PasswordlessChange { delivery: Some(Delivery::Otp), ..PasswordlessChange::default() })
        .await;

    // An invitation makes a member; it signs nobody in who has more to prove.
    let gamma = client.organization("Gamma").await;
    client.ok(201, "POST", &format!("/api/v1/organizations/{gamma}/users"), Some(json!({ "email": CARL }))).await;
    jobs::drain(core).await.unwrap();
    let path = link(&client.harness, CARL).await;
    assert!(path.starts_with("/invite/"), "{path}");
    let mut browser = f.browser();
    let page = browser.get(&path).await;
    browser.submit(&page, &path, &[]).await;
    let member = client.ok(200, "GET", &format!("/api/v1/users/{}", carl.id), None).await;
    let joined =
        member["user"]["memberships"].as_array().unwrap().iter().find(|m| m["organization_id"] == json!(gamma));
    assert_eq!(joined.unwrap()["membership_status"], "ACTIVE");
    assert_eq!((browser.jar.get(SESSION), f.made().await), (None, (0, 0)));
    assert_eq!(browser.authorize(&[("prompt", "none")]).await.error(), "login_required");
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let otp = mail(&client.harness, CARL).await["otp"].as_str().unwrap().to_owned();
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &otp)]).await;
    f.assert_asked(&browser, &page, "after an invitation").await;
    // Then the chooser, and at last a session.
    let page = recover(&mut browser, &page, &carl.backup[0]).await;
    assert!(page.at.starts_with("/a/auth/organizations") && page.html.contains("Gamma"), "{}: {}", page.at, page.html);
    assert_eq!((browser.jar.get(SESSION), f.made().await), (None, (0, 0)));
    let page = browser.submit(&page, "/a/auth/organizations", &[("organization", &gamma)]).await;
    assert_eq!(f.claims(&page).await["oid"], json!(gamma));
}

async fn api(browser: &Browser<'_>, origin: &str, path: &str, body: &Value) -> crate::harness::Reply {
    let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = http::Request::builder()
        .method(if body.is_null() { "GET" } else { "POST" })
        .uri(format!("{origin}{path}"))
        .header("content-type", "application/json")
        .header("origin", origin)
        .header("cookie", cookies.join("; "));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    browser.harness.send(origin, crate::harness::Protocol::H1, request, body).await
}

async fn passkeys_of_two_kinds(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let (core, env) = (f.client.harness.core(), f.client.harness.environment(f.client.harness.env_id()).await);
    let known = connections::webauthn(core, env.id).await.unwrap().expect("a connection");
    connections::set_enabled(core, env.id, known.id, true).await.expect("switched on");
    let ann = f.person(ANN).await;
    let (user, origin) = (UserId::parse(&ann.id).unwrap(), f.client.harness.running().dev_url.clone());
    let mut authenticator = Authenticator::new(&core.random);
    let options = passkeys::begin_registration(core, &env, user, SessionId(1)).await.unwrap();
    let made = authenticator.create(&options, &origin);
    passkeys::finish_registration(core, &env, user, SessionId(1), made).await.expect("a passkey");
    let verified = authenticator.flags;
    assert_eq!(verified & 0x04, 0x04, "it verifies its user");
    for (flags, asked) in [(verified & !0x04, true), (verified, false)] {
        authenticator.flags = flags;
        authenticator.counter += 1;
        let begun = passkeys::begin_authentication(core, &env, None).await.unwrap();
        let proven = passkeys::finish_authentication(core, &env, authenticator.get(&begun, &origin)).await.unwrap();
        let token = proven.session_token.expose();
        // What says whether the user was verified is part of what is checked.
        let swapped = if asked { token.replace(".up", ".uv") } else { token.replace(".uv", ".up") };
        assert_ne!(*token, swapped);
        let mut browser = f.browser();
        let page = browser.authorize(&[]).await;
        let refused = browser.submit(&page, "/a/auth/passkey-login", &[("session_token", &swapped)]).await;
        assert!(refused.html.contains("was not accepted"), "{}", refused.html);
        let page = browser.submit(&page, "/a/auth/passkey-login", &[("session_token", token)]).await;
        if asked {
            f.assert_asked(&browser, &page, "a passkey that was only touched").await;
        } else {
            assert!(page.callback().contains_key("code"), "{}", page.at);
        }
    }
}

async fn locked(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let ann = f.person(ANN).await;
    let mut browser = f.browser();
    let mut page = browser.sign_in(ANN, &[]).await;
    let wrong = ann.wrong(&f);
    for _ in 0..5 {
        page = browser.submit(&page, "/a/auth/totp", &[("code", &wrong)]).await;
        assert!(page.status == 200 && page.html.contains("not right"), "{}", page.html);
    }
    // From now on not even the right ones are looked at, in no browser and by no page.
    let mut other = f.browser();
    let second = other.sign_in(ANN, &[]).await;
    for (browser, page) in [(&mut browser, &page), (&mut other, &second)] {
        let shown = browser.submit(page, "/a/auth/totp", &[("code", &ann.next(&f))]).await;
        assert!(shown.status == 429 && shown.html.contains("Too many wrong codes"), "{}: {}", shown.status, shown.html);
        let shown = recover(browser, &shown, &ann.backup[0]).await;
        assert!(shown.status == 429 && shown.html.contains("Too many wrong codes"), "{}: {}", shown.status, shown.html);
        f.assert_asked(browser, &Page { at: page.at.clone(), html: page.html.clone(), ..shown }, "locked").await;
    }
    f.client.harness.clock.advance(Duration::from_mins(10));
    let page = browser.submit(&page, "/a/auth/totp", &[("code", &ann.next(&f))]).await;
    assert!(page.callback().contains_key("code"), "{}", page.at);
}

async fn at_once(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let ann = f.person(ANN).await;
    // One code, in several browsers; then one login that two right codes finish.
    let right = ann.next(&f);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut browser = f.browser();
        let page = browser.sign_in(ANN, &[]).await;
        waiting.push((browser, page));
    }
    let twin = {
        let (browser, page) = &waiting[0];
        let mut twin = f.browser();
        twin.jar.clone_from(&browser.jar);
        (twin, Page { at: page.at.clone(), html: page.html.clone(), left_to: None, ..*page })
    };
    waiting.push(twin);
    let [(b0, p0), (b1, p1), (b2, p2), (b3, p3), (b4, p4)] = waiting.as_mut_slice() else { panic!("five") };
    let field = [("code", right.as_str())];
    let ends: [Page; 5] = tokio::join!(
        Box::pin(b0.submit(p0, "/a/auth/totp", &field)),
        Box::pin(b1.submit(p1, "/a/auth/totp", &field)),
        Box::pin(b2.submit(p2, "/a/auth/totp", &field)),
        Box::pin(b3.submit(p3, "/a/auth/totp", &field)),
        Box::pin(b4.submit(p4, "/a/auth/totp", &field)),
    )
    .into();
    let good = ends.iter().filter(|page| page.left_to.as_deref().is_some_and(|url| url.contains("code="))).count();
    assert_eq!((good, f.made().await), (1, (1, 1)), "{ends:?}");

    let mut one = f.browser();
    let page = one.sign_in(ANN, &[]).await;
    let mut two = f.browser();
    two.jar.clone_from(&one.jar);
    let path = page.at.clone();
    let csrf = page.csrf();
    let (first, second) =
        ([("csrf", &*csrf), ("code", &*ann.backup[0])], [("csrf", &*csrf), ("code", &*ann.backup[1])]);
    let (a, b) = tokio::join!(Box::pin(one.post(&path, &first)), Box::pin(two.post(&path, &second)));
    let good = [&a, &b].iter().filter(|page| page.left_to.as_deref().is_some_and(|url| url.contains("code="))).count();
    assert_eq!((good, f.made().await.1), (1, 2), "{a:?} {b:?}");
}

async fn meanwhile(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let ann = f.person(ANN).await;
    let beta = f.client.organization("Beta").await;
    let path = format!("/api/v1/memberships/organizations/{beta}/users/{}?send_invitation_email=false", ann.id);
    f.client.ok(201, "POST", &path, Some(json!({}))).await;
    // The app is given up while the page waits for its code: there is nothing left to ask for.
    let mut browser = f.browser();
    let page = browser.sign_in(ANN, &[]).await;
    f.assert_asked(&browser, &page, "before").await;
    let disable = format!("/api/v1/totp/{}/disable", ann.registration);
    f.client.ok(200, "POST", &disable, Some(json!({ "code": ann.backup[0] }))).await;
    let chooser = browser.submit(&page, "/a/auth/totp", &[("code", "123456")]).await;
    assert!(chooser.at.starts_with("/a/auth/organizations"), "{}", chooser.at);
    // And an app that is set up while the page waits for an organization is asked after all.
    let again = f.with_app(&ann.id).await;
    let page = browser.submit(&chooser, "/a/auth/organizations", &[("organization", &beta)]).await;
    f.assert_asked(&browser, &page, "set up meanwhile").await;
    let chooser = browser.submit(&page, "/a/auth/totp", &[("code", &again.next(&f))]).await;
    let page = browser.submit(&chooser, "/a/auth/organizations", &[("organization", &beta)]).await;
    assert_eq!(f.claims(&page).await["oid"], json!(beta));
    // Nobody can be asked who is not there any more.
    let mut late = f.browser();
    let page = late.sign_in(ANN, &[]).await;
    let (core, env) = (f.client.harness.core(), f.client.harness.environment(f.client.harness.env_id()).await);
    users::delete(core, env.id, &narthex_core::events::Actor::SYSTEM, Identity::Id(UserId::parse(&ann.id).unwrap()))
        .await
        .unwrap();
    let gone = late.submit(&page, "/a/auth/totp", &[("code", &again.backup[0])]).await;
    assert!(gone.left_to.as_deref().is_none_or(|url| !parameters(url).contains_key("code")), "{gone:?}");
    assert_eq!(late.jar.get(SESSION), None);
}

async fn off(engine: Engine) {
    let Some(f) = Asking::start_as(engine, false).await else { return };
    let ann = f.person(ANN).await;
    let mut browser = f.browser();
    let page = browser.sign_in(ANN, &[]).await;
    assert!(page.callback().contains_key("code"), "the application asks itself, if anybody: {}", page.at);
    let verify = format!("/api/v1/user/{}/totp:verify", ann.id);
    let answer = f.client.ok(200, "POST", &verify, Some(json!({ "code": ann.next(&f) }))).await;
    assert_eq!(answer["valid"], json!(true));
}

/// Operators are users of the product's own environment, and pass the same way.
async fn operators(engine: Engine) {
    let Some(f) = Asking::start(engine).await else { return };
    let (harness, core) = (&f.client.harness, f.client.harness.core());
    let system = environments::system(core).await.unwrap().unwrap();
    let emails = Some(vec![ANN.to_owned()]);
    test_users::update(core, system.id, TestUsersChange { enabled: Some(true), code: None, emails }).await.unwrap();
    let new =
        NewMember { email: ANN.into(), given_name: "Ann".into(), family_name: "Lee".into(), role: FixedRole::Owner };
    members::create(core, system.workspace_id, new).await.expect("a member");
    let sign_in = async |browser: &mut Browser<'_>| {
        let page = browser.get("/operator").await;
        let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await;
        browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await
    };
    let page = sign_in(&mut Browser::at(harness, &system.origin)).await;
    assert_eq!(page.at, "/operator", "nothing to ask: {}", page.html);
    let sql = "SELECT id FROM users WHERE email = 'ann+sktest@example.com'";
    let (user,): (UserId,) = core.db.read(async move |tx| tx.one(sql, &[]).await).await.expect("a user");
    let (registration, uri) = totp::register(core, &system, Subject::User(user)).await.unwrap();
    let (_, backup) = totp::enable(core, system.id, registration.id, &code(&f.client, uri.expose(), 0)).await.unwrap();
    let mut browser = Browser::at(harness, &system.origin);
    let page = sign_in(&mut browser).await;
    assert!(page.at.starts_with("/a/auth/totp") && !browser.jar.contains_key(SESSION), "{}", page.at);
    let token = browser.send("POST", "/operator/token", Some(&[]), Some(&system.origin)).await;
    assert_eq!(token.status, 401, "no token before the second factor");
    let page = browser.submit(&page, "/a/auth/totp", &[("code", backup[0].expose())]).await;
    assert_eq!(page.at, "/operator", "{}", page.html);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_lgn_03_ses_01_a_login_asks_the_authenticator_app_before_it_opens_a_session_on_sqlite() {
    asked(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_lgn_03_ses_01_a_login_asks_the_authenticator_app_before_it_opens_a_session_on_postgres() {
    asked(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_mistake_8_nothing_leads_round_the_second_factor_on_sqlite() {
    no_way_round(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_mistake_8_nothing_leads_round_the_second_factor_on_postgres() {
    no_way_round(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_wan_02_a_passkey_that_has_verified_its_user_is_two_factors_on_sqlite() {
    passkeys_of_two_kinds(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_wan_02_a_passkey_that_has_verified_its_user_is_two_factors_on_postgres() {
    passkeys_of_two_kinds(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_five_wrong_codes_close_the_second_factor_for_ten_minutes_on_sqlite() {
    locked(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_five_wrong_codes_close_the_second_factor_for_ten_minutes_on_postgres() {
    locked(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_mistake_5_one_code_signs_in_once_however_often_it_comes_at_once_on_sqlite() {
    at_once(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_mistake_5_one_code_signs_in_once_however_often_it_comes_at_once_on_postgres() {
    at_once(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_01_totp_03_an_app_that_comes_or_goes_meanwhile_is_asked_or_not_on_sqlite() {
    meanwhile(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_01_totp_03_an_app_that_comes_or_goes_meanwhile_is_asked_or_not_on_postgres() {
    meanwhile(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_without_the_key_an_application_asks_for_itself_on_sqlite() {
    off(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_without_the_key_an_application_asks_for_itself_on_postgres() {
    off(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_an_operator_passes_the_second_factor_too_on_sqlite() {
    operators(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_an_operator_passes_the_second_factor_too_on_postgres() {
    operators(Engine::Postgres).await;
}
