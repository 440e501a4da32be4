//! AuthService: a login as a page of the same origin reads it and leads it on, and everybody else who would like to.

use http::Request;
use narthex_core::connections::{Delivery, PasswordlessChange};
use narthex_core::{branding, users};
use narthex_db::Engine;
use serde_json::{Value, json};

use crate::browser::{Browser, CODE, allow, configure};
use crate::harness::{Harness, Protocol, Reply};
use crate::roles::Client;

const ANN: &str = "ann+sktest@example.com";
const BEA: &str = "bea+sktest@example.net";
const STATE: &str = "/api/v1/auth/state";
const DISCOVERY: &str = "/api/v1/auth:discovery";
const VERIFY: &str = "/api/v1/auth/passwordless:verify";
const RESEND: &str = "/api/v1/auth/passwordless:resend";
const ORGANIZATIONS: &str = "/api/v1/auth:organizations";
const SIGNUP: &str = "/api/v1/auth:signup";
const LOGOUT: &str = "/api/v1/auth/logout";
const CUSTOMIZATIONS: &str = "/api/v1/auth:customizations";
const FEATURES: &str = "/api/v1/auth:features";

/// Every RPC of the login with a request that is good.
fn of_a_login() -> [(&'static str, &'static str, Option<Value>); 7] {
    [
        ("GET", STATE, None),
        ("POST", DISCOVERY, Some(json!({ "email": ANN, "intent": "sign_in" }))),
        ("POST", VERIFY, Some(json!({ "code_challenge": CODE }))),
        ("POST", RESEND, Some(json!({}))),
        ("GET", ORGANIZATIONS, None),
        ("POST", SIGNUP, Some(json!({ "organization_name": "Own" }))),
        ("POST", LOGOUT, None),
    ]
}

async fn start(engine: Engine) -> Option<Client> {
    let harness = Harness::start_on(engine).await?;
    allow(&harness, &[ANN, BEA]).await;
    let token = harness.client_token().await;
    Some(Client { harness, token })
}

/// Asks at `base` with these cookies and headers.
async fn ask(
    harness: &Harness,
    base: &str,
    (verb, path, json): (&str, &str, Option<&Value>),
    cookies: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder().method(verb).uri(format!("{base}{path}"));
    if !cookies.is_empty() {
        request = request.header("cookie", cookies);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if json.is_some() {
        request = request.header("content-type", "application/json");
    }
    harness.send(base, Protocol::H1, request, json.map(ToString::to_string).unwrap_or_default()).await
}

fn cookies(browser: &Browser<'_>) -> String {
    browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// Asks as a page of the login's own origin.
async fn page(browser: &Browser<'_>, verb: &str, path: &str, json: Option<Value>) -> Reply {
    let base = browser.harness.running().http_url.clone();
    let origin = [("origin", base.as_str())];
    ask(browser.harness, &base, (verb, path, json.as_ref()), &cookies(browser), &origin).await
}

async fn ok(browser: &Browser<'_>, verb: &str, path: &str, json: Option<Value>) -> Value {
    let reply = page(browser, verb, path, json).await;
    assert_eq!(reply.status, 200, "{verb} {path}: {}", reply.text());
    reply.json()
}

async fn refused(browser: &Browser<'_>, status: u16, verb: &str, path: &str, json: Option<Value>) -> String {
    let reply = page(browser, verb, path, json).await;
    assert_eq!(reply.status, status, "{verb} {path}: {}", reply.text());
    reply.text()
}

async fn state(browser: &Browser<'_>) -> String {
    ok(browser, "GET", STATE, None).await["auth_state"].as_str().expect("a state").to_owned()
}

/// A browser whose login waits for the code.
async fn waiting<'a>(client: &'a Client, email: &str) -> Browser<'a> {
    let mut browser = Browser::new(&client.harness);
    browser.authorize(&[]).await;
    ok(&browser, "POST", DISCOVERY, Some(json!({ "email": email, "intent": "sign_in" }))).await;
    browser
}

async fn led_on(engine: Engine) {
    let Some(client) = start(engine).await else { return };
    let acme = client.organization("Acme").await;
    let path = format!("/api/v1/organizations/{acme}/users?send_invitation_email=false");
    client.ok(201, "POST", &path, Some(json!({ "email": ANN }))).await;
    let mut browser = Browser::new(&client.harness);
    browser.authorize(&[]).await;
    assert_eq!(state(&browser).await, "AUTHENTICATION_IN_PROGRESS");

    // What comes later cannot be had earlier.
    let text = refused(&browser, 400, "GET", ORGANIZATIONS, None).await;
    assert!(text.contains("nobody has signed in"), "{text}");
    for (path, body) in [(VERIFY, json!({ "code_challenge": CODE })), (RESEND, json!({}))] {
        let text = refused(&browser, 400, "POST", path, Some(body)).await;
        assert!(text.contains("does not stand where"), "{path}: {text}");
    }
    refused(&browser, 409, "POST", SIGNUP, Some(json!({ "organization_name": "Own" }))).await;
    assert_eq!(state(&browser).await, "AUTHENTICATION_IN_PROGRESS");

    for bad in [json!({ "email": "nobody" }), json!({ "email": "a" }), json!({}), json!({ "email": ANN, "intent": 9 })]
    {
        refused(&browser, 400, "POST", DISCOVERY, Some(bad)).await;
    }
    let found =
        ok(&browser, "POST", DISCOVERY, Some(json!({ "email": "Ann+SKtest@Example.com", "intent": "sign_in" }))).await;
    assert_eq!(found["auth_method"]["connection_type"], "PASSWORDLESS", "{found}");
    assert_eq!(found["auth_method"]["code_challenge_length"], 6);
    let now = ok(&browser, "GET", STATE, None).await;
    assert_eq!((&now["auth_state"], &now["login_hint"]), (&json!("OTP_VERIFICATION_PENDING"), &json!(ANN)));

    let text = refused(&browser, 400, "POST", VERIFY, Some(json!({ "code_challenge": "000000" }))).await;
    assert!(text.contains("otp_req.code_challenge") && text.contains("is not the code"), "{text}");
    refused(&browser, 400, "POST", VERIFY, Some(json!({ "code_challenge": "1234" }))).await;
    ok(&browser, "POST", RESEND, Some(json!({}))).await;
    assert_eq!(state(&browser).await, "OTP_VERIFICATION_PENDING");
    ok(&browser, "POST", VERIFY, Some(json!({ "code_challenge": CODE }))).await;
    let text = refused(&browser, 400, "POST", VERIFY, Some(json!({ "code_challenge": CODE }))).await;
    assert!(text.contains("does not stand where"), "a code is good once: {text}");

    let now = ok(&browser, "GET", STATE, None).await;
    assert_eq!((&now["auth_state"], &now["user"]["email"]), (&json!("ORGANIZATION_SWITCHER_SIGNUP"), &json!(ANN)));
    let list = ok(&browser, "GET", ORGANIZATIONS, None).await;
    assert_eq!(list["user"]["email"], ANN);
    assert_eq!(list["intent"], "sign_in");
    let found: Vec<_> =
        list["organizations"].as_array().unwrap().iter().map(|it| (&it["id"], &it["membership_status"])).collect();
    assert_eq!(found, [(&json!(acme), &json!("ACTIVE"))]);

    // Where people belong to one organization, who is in one makes no second.
    let (core, environment) = (client.harness.core(), client.harness.env_id());
    let mut settings = users::user_management(core, environment).await.unwrap();
    settings.allow_multiple_memberships = false;
    users::set_user_management(core, environment, settings).await.unwrap();
    assert_eq!(state(&browser).await, "ORGANIZATION_SWITCHER");
    let text = refused(&browser, 400, "POST", SIGNUP, Some(json!({ "organization_name": "Second" }))).await;
    assert!(text.contains("no organization can be made"), "{text}");

    ok(&browser, "POST", LOGOUT, None).await;
    refused(&browser, 404, "GET", STATE, None).await;
    refused(&browser, 404, "POST", LOGOUT, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_leads_its_login_on_sqlite() {
    led_on(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_leads_its_login_on_postgres() {
    led_on(Engine::Postgres).await;
}

async fn founded(engine: Engine) {
    let Some(client) = start(engine).await else { return };
    let browser = waiting(&client, BEA).await;
    ok(&browser, "POST", VERIFY, Some(json!({ "code_challenge": CODE }))).await;
    assert_eq!(state(&browser).await, "ORGANIZATION_SIGNUP");
    let long = "x".repeat(201);
    for name in [long.as_str(), "a\nb"] {
        refused(&browser, 400, "POST", SIGNUP, Some(json!({ "organization_name": name }))).await;
    }
    let made = json!({ "organization_name": "Bea & Co", "first_name": "Bea", "last_name": "Bird" });
    let made = ok(&browser, "POST", SIGNUP, Some(made)).await;
    assert_eq!(made["organization_name"], "Bea & Co");
    let list = ok(&browser, "GET", ORGANIZATIONS, None).await;
    assert_eq!(list["organizations"][0]["id"], made["organization_id"], "{list}");
    assert_eq!((&list["user"]["first_name"], &list["user"]["last_name"]), (&json!("Bea"), &json!("Bird")));
    let id = made["organization_id"].as_str().unwrap();
    let kept = client.ok(200, "GET", &format!("/api/v1/organizations/{id}/users"), None).await;
    assert_eq!(kept["users"][0]["email"], BEA);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_signs_an_organization_up_on_sqlite() {
    founded(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_signs_an_organization_up_on_postgres() {
    founded(Engine::Postgres).await;
}

async fn strangers(engine: Engine) {
    let Some(client) = start(engine).await else { return };
    let harness = &client.harness;
    let (base, elsewhere) = (harness.running().http_url.clone(), harness.running().prd_url.clone());
    let browser = waiting(&client, ANN).await;
    let own = cookies(&browser);
    let other = {
        let mut other = Browser::new(harness);
        other.authorize(&[]).await;
        cookies(&other)
    };
    // The name of this login with the secret of another one, or with none that anybody has.
    let secret = |text: &str| {
        text.split(';')
            .find_map(|pair| pair.trim().strip_prefix("__Host-narthex_req_"))
            .unwrap()
            .split_once('=')
            .unwrap()
            .1
            .to_owned()
    };
    let name = own.split('=').next().unwrap().to_owned();
    let (swapped, invented) = (format!("{name}={}", secret(&other)), format!("{name}=x"));
    for (verb, path, body) in of_a_login() {
        let what = (verb, path, body.as_ref());
        for (why, at, cookies, headers) in [
            ("no login", &base, "", &[("origin", base.as_str())][..]),
            ("the secret of another login", &base, &*swapped, &[("origin", &*base)]),
            ("an invented secret", &base, &*invented, &[("origin", &*base)]),
            ("a page of another origin", &base, &*own, &[("origin", "https://evil.example")]),
            ("a sandboxed page", &base, &*own, &[("origin", "null")]),
            ("a page of another site", &base, &*own, &[("sec-fetch-site", "cross-site"), ("origin", &*base)]),
            ("a page of a sibling domain", &base, &*own, &[("sec-fetch-site", "same-site"), ("origin", &*base)]),
            ("another environment", &elsewhere, &*own, &[("origin", &*elsewhere)]),
        ] {
            let reply = ask(harness, at, what, cookies, headers).await;
            assert_eq!(reply.status, 404, "{why}: {verb} {path}: {}", reply.text());
            assert!(!reply.text().contains(ANN), "{why}: {}", reply.text());
            assert!(reply.headers.get("set-cookie").is_none(), "{why}");
        }
        if verb == "POST" {
            let reply = ask(harness, &base, what, &own, &[]).await;
            assert_eq!(reply.status, 404, "what changes something says where it comes from: {path}: {}", reply.text());
        }
        assert_eq!(state(&browser).await, "OTP_VERIFICATION_PENDING", "{verb} {path} changed it");
    }
    ok(&browser, "POST", VERIFY, Some(json!({ "code_challenge": CODE }))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_leads_a_login_on_sqlite() {
    strangers(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_leads_a_login_on_postgres() {
    strangers(Engine::Postgres).await;
}

async fn looks(engine: Engine) {
    let Some(client) = start(engine).await else { return };
    let harness = &client.harness;
    let acme = client.organization("Acme").await;
    let base = harness.running().http_url.clone();
    let mut browser = Browser::new(harness);
    // Without a login: what the environment looks like, and to anybody.
    let plain = ok(&browser, "GET", CUSTOMIZATIONS, None).await;
    assert!(plain.get("organization_customizations").is_none(), "{plain}");
    assert_eq!(plain["settings"]["custom_branding"], json!(false), "{plain}");
    let features = ok(&browser, "GET", FEATURES, None).await["features"].clone();
    assert_eq!(features, json!({ "full_stack_auth": true, "organization_signup": true, "bot_detection": false }));

    browser.authorize(&[("organization_id", &acme)]).await;
    let own = ok(&browser, "GET", CUSTOMIZATIONS, None).await;
    assert!(own.get("organization_customizations").is_none(), "organizations show nothing of theirs by default: {own}");
    let serde_json::Value::Object(shown) = json!({ "organization_logo_branding": true }) else { unreachable!() };
    branding::update(harness.core(), harness.env_id(), shown).await.unwrap();
    let own = ok(&browser, "GET", CUSTOMIZATIONS, None).await;
    assert_eq!(own["organization_customizations"]["display_name"], "Acme", "{own}");
    // The login's organization is not for other sites to see.
    let foreign =
        ask(harness, &base, ("GET", CUSTOMIZATIONS, None), &cookies(&browser), &[("origin", "https://evil.example")])
            .await;
    assert_eq!(foreign.status, 200, "{}", foreign.text());
    assert!(!foreign.text().contains("Acme"), "{}", foreign.text());
    let elsewhere = harness.running().prd_url.clone();
    let other =
        ask(harness, &elsewhere, ("GET", CUSTOMIZATIONS, None), &cookies(&browser), &[("origin", &elsewhere)]).await;
    assert!(other.status == 200 && !other.text().contains("Acme"), "{}", other.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_of_a_login_is_its_organizations_on_sqlite() {
    looks(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_of_a_login_is_its_organizations_on_postgres() {
    looks(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_beside_the_code_and_a_locked_login_show_in_its_state() {
    let client = start(Engine::Sqlite).await.expect("SQLite");
    for (delivery, expected) in [
        (Delivery::Link, "MAGIC_LINK_SENT"),
        (Delivery::LinkOtp, "LINK_SENT_OTP_VERIFICATION_PENDING"),
        (Delivery::Otp, "OTP_VERIFICATION_PENDING"),
    ] {
        configure(&client.harness, PasswordlessChange { delivery: Some(delivery), ..PasswordlessChange::default() })
            .await;
        let browser = waiting(&client, &format!("{expected}@example.com")).await;
        assert_eq!(state(&browser).await, expected);
    }
    let browser = waiting(&client, ANN).await;
    for _ in 0..5 {
        refused(&browser, 400, "POST", VERIFY, Some(json!({ "code_challenge": "000000" }))).await;
    }
    let text = refused(&browser, 429, "POST", VERIFY, Some(json!({ "code_challenge": CODE }))).await;
    assert!(text.contains("too many wrong codes"), "{text}");
    assert_eq!(state(&browser).await, "AUTHENTICATION_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn pwl_08_err_10_a_mail_too_many_is_refused_with_the_time_to_wait() {
    let client = start(Engine::Sqlite).await.expect("SQLite");
    let wait = |reply: &Reply| {
        assert_eq!(reply.status, 429, "{}", reply.text());
        reply.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok())
    };
    let mut browser = waiting(&client, "often@example.com").await;
    ok(&browser, "POST", RESEND, Some(json!({}))).await;
    let reply = page(&browser, "POST", RESEND, Some(json!({}))).await;
    assert!(wait(&reply).is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", reply.headers);
    let request = json!({ "email": "often@example.com", "intent": "sign_in" });
    let reply = page(&browser, "POST", DISCOVERY, Some(request)).await;
    assert!(wait(&reply).is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", reply.headers);
    // The pages say the same to a browser.
    let page = browser.authorize(&[]).await;
    let form = page.at.replace("/a/auth/signup", "/a/auth/login");
    let (csrf, origin) = (page.csrf(), client.harness.running().http_url.clone());
    let fields = [("csrf", csrf.as_str()), ("email", "often@example.com")];
    let reply = browser.send("POST", &form, Some(&fields), Some(&origin)).await;
    assert!(reply.text().contains("Too many attempts"), "{}", reply.text());
    assert!(wait(&reply).is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", reply.headers);
    // An application that shows its own pages.
    let ask = json!({ "email": "often@example.com" });
    let reply = client.harness.rest("POST", "/api/v1/passwordless/email/send", Some(&client.token), Some(&ask)).await;
    assert!(wait(&reply).is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", reply.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn eml_02_the_use_cases_of_mails_are_told_to_anybody_with_their_variables_and_stock_templates() {
    let harness = Harness::start().await;
    let reply = harness.get("/api/v1/email/templates/usecases").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let all = body["use_cases"].as_array().expect("use cases");
    let shown: Vec<&str> =
        all.iter().filter(|it| it["display"] == true).map(|it| it["use_case"].as_str().unwrap()).collect();
    for name in [
        "USER_LOGIN_LINK",
        "USER_LOGIN_LINK_OTP",
        "USER_LOGIN_OTP",
        "USER_SIGNUP_LINK",
        "USER_SIGNUP_LINK_OTP",
        "USER_SIGNUP_OTP",
        "USER_INVITE",
    ] {
        assert!(shown.contains(&name), "{name}: {shown:?}");
        let it = all.iter().find(|it| it["use_case"] == name).unwrap();
        assert!(!it["title"].as_str().unwrap().is_empty() && !it["description"].as_str().unwrap().is_empty(), "{it}");
        let variables = it["placeholders"].as_array().expect("placeholders");
        let has = |wanted: &str| variables.iter().any(|known| known["name"] == wanted);
        assert!(has("app_name"), "{name}");
        assert_eq!(has("otp"), name.ends_with("OTP"), "{name}");
        assert_eq!(has("link"), !name.ends_with("_OTP") || name.ends_with("LINK_OTP"), "{name}");
        for known in variables {
            for key in ["name", "title", "description", "category"] {
                assert!(known[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {known}");
            }
        }
        let stock = &it["default_template"];
        for key in ["subject", "html_content", "plain_content"] {
            assert!(stock[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {key}");
        }
    }
    assert_eq!(shown.len(), 7, "{shown:?}");
    let one = harness.get("/api/v1/email/templates/placeholders?use_case=USER_LOGIN_OTP").await;
    assert_eq!(one.status, 401, "the rest of the service is not for anybody: {}", one.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn pwl_11_more_than_thirty_variables_and_names_and_values_of_a_bad_size_are_refused() {
    let client = start(Engine::Sqlite).await.expect("SQLite");
    let send = async |email: &str, variables: Vec<(String, String)>| {
        let variables: serde_json::Map<String, Value> =
            variables.into_iter().map(|(name, value)| (name, json!(value))).collect();
        let body = json!({ "email": email, "template_variables": variables });
        client.send("POST", "/api/v1/passwordless/email/send", Some(body)).await
    };
    let many = |count: usize| (0..count).map(|n| (format!("v{n:02}"), "x".to_owned())).collect::<Vec<_>>();
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (email, good) in [
        ("one@example.com", many(30)),
        ("two@example.com", one("ab", "")),
        ("three@example.com", one(&"n".repeat(25), &"x".repeat(256))),
        ("four@example.com", one("name", &"\u{e9}".repeat(256))),
    ] {
        let reply = send(email, good).await;
        assert_eq!(reply.status, 200, "{email}: {}", reply.text());
    }
    for (why, bad) in [
        ("31 variables", many(31)),
        ("a name of one letter", one("a", "x")),
        ("a name of none", one("", "x")),
        ("a name of 26 letters", one(&"n".repeat(26), "x")),
        ("a value of 257 letters", one("name", &"x".repeat(257))),
    ] {
        let reply = send("five@example.com", bad).await;
        assert_eq!(reply.status, 400, "{why}: {}", reply.text());
        assert!(reply.text().contains("template_variables"), "{why}: {}", reply.text());
    }
    assert_eq!(crate::browser::mails(&client.harness, "five@example.com").await, 0);
}
