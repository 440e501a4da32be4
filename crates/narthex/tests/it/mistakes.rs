//! The mistakes that teams make with sign-in, each tried on the whole server by its number in the design.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use narthex_api::METHODS;
use narthex_api::contract::{Kind, Method};
use narthex_core::caller::kind;
use narthex_core::clients::applications::{self, Settings};
use narthex_core::connections::{Delivery, PasswordlessChange};
use serde_json::{Value, json};

use crate::answers;
use crate::browser::{Browser, CALLBACK, CHALLENGE, allow, configure, exchange, link, mail, mails, parameters};
use crate::harness::{Protocol, Reply, encode};
use crate::roles::Client;
use crate::signed_in::REDIRECT;

const ANN: &str = "ann+sktest@example.com";
const BEA: &str = "bea+sktest@example.net";
const CARL: &str = "carl@example.org";
const COOKIE: &str = "__Host-narthex_session";

async fn member(client: &Client, organization: &str, email: &str) -> String {
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    let made = client.ok(201, "POST", &path, Some(json!({ "email": email }))).await;
    made["user"]["id"].as_str().expect("an id").to_owned()
}

fn claims(token: &Value) -> Value {
    let payload = token.as_str().expect("a token").split('.').nth(1).expect("a payload").to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

async fn raw(client: &Client, base: &str, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request = Request::builder().method(verb).uri(format!("{base}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.harness.send(base, Protocol::H1, request, body.to_owned()).await
}

/// The RPCs that anybody may call.
fn open_rpcs() -> impl Iterator<Item = &'static Method> {
    METHODS.iter().filter(|method| method.auth.kinds != kind::BLOCKED && method.auth.kinds & kind::NONE != 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_6_open_rpcs_say_nothing_for_an_id_alone() {
    let client = Client::start().await;
    allow(&client.harness, &[ANN]).await;
    let acme = client.organization("Acme Secret Works").await;
    let carl = member(&client, &acme, CARL).await;
    client.ok(201, "POST", &format!("/api/v1/organizations/{acme}/users"), Some(json!({ "email": BEA }))).await;
    member(&client, &acme, ANN).await;
    let mut browser = Browser::new(&client.harness);
    let page = browser.sign_in(ANN, &[]).await;
    let tokens = exchange(&client.harness, &page.code()).await.json();
    let session = claims(&tokens["id_token"])["sid"].as_str().expect("a session").to_owned();
    let waiting = browser.authorize(&[("prompt", "login")]).await;
    let waiting = browser.submit(&waiting, "/a/auth/login", &[("email", CARL)]).await;
    let login = waiting.at.split("req=").nth(1).expect("a login").to_owned();
    let new = json!({ "name": "Todo", "resource_type": "MCP_SERVER" });
    let resource = client.ok(201, "POST", "/api/v1/resources", Some(new)).await;
    let resource = resource["resource"]["id"].as_str().expect("a resource").to_owned();
    let core = client.harness.core();
    let connection = narthex_core::connections::passwordless(core, client.harness.env_id()).await.unwrap().unwrap().id;
    let client_id = crate::browser::default_client(&client.harness).await;
    let environment = client.harness.env_id().to_string();
    let ids = [&acme, &carl, &session, &login, &resource, &connection.to_string(), &client_id, &environment];
    let base = client.harness.running().http_url.clone();
    let mut asked = 0;
    for method in open_rpcs() {
        for http in answers::bindings(method) {
            for id in ids {
                let fill = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                    Some((_, suffix)) => format!("{id}{suffix}"),
                    None => segment.to_owned(),
                };
                let path = http.template.split('/').map(fill).collect::<Vec<_>>().join("/");
                // The id wherever the message takes a text.
                let texts = method.input.fields.iter().filter(|field| matches!(field.kind, Kind::String));
                let texts: Vec<(&str, &str)> = texts.map(|field| (field.name, id.as_str())).collect();
                let body: Value = texts.iter().map(|(name, id)| ((*name).to_owned(), json!(id))).collect();
                let query = if http.verb == "GET" { format!("?{}", encode(&texts)) } else { String::new() };
                let body = if http.verb == "GET" { String::new() } else { body.to_string() };
                let headers = [("content-type", "application/json")];
                let reply = raw(&client, &base, http.verb, &format!("{path}{query}"), &headers, &body).await;
                let text = reply.text();
                for secret in ["Acme Secret", CARL, ANN, BEA, "Todo", "email\":\"c", "Firefox"] {
                    assert!(!text.contains(secret), "{} with {id} says {secret}: {text}", method.path);
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked} questions were asked");
    // Nor did any of it take anything away.
    assert!(browser.authorize(&[("prompt", "none")]).await.callback().contains_key("code"));
    let otp = mail(&client.harness, CARL).await["otp"].as_str().expect("a code").to_owned();
    let page = browser.submit(&waiting, "/a/auth/verify", &[("code", &otp)]).await;
    assert!(page.callback().contains_key("code"));
}

/// What a request may say of the host that it was meant for.
const POISON: [(&str, &str); 7] = [
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "80"),
    ("x-forwarded-server", "evil.example"),
    ("x-original-host", "evil.example"),
    ("x-host", "evil.example"),
    ("forwarded", "for=192.0.2.1;host=evil.example;proto=http"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_7_no_link_and_no_issuer_is_made_of_what_a_request_says_of_its_host() {
    let client = Client::start().await;
    let delivery = PasswordlessChange { delivery: Some(Delivery::LinkOtp), ..PasswordlessChange::default() };
    configure(&client.harness, delivery).await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let (origin, base) = (client.harness.running().dev_url.clone(), client.harness.running().http_url.clone());
    let mut browser = Browser::new(&client.harness);
    browser.added = POISON.to_vec();
    // A login and its mail.
    let page = browser.authorize(&[]).await;
    assert!(!page.html.contains("evil.example"), "{}", page.html);
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let sent = mail(&client.harness, CARL).await;
    let links: Vec<&str> = sent["links"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(links.iter().any(|link| link.starts_with(&format!("{origin}/magicLink/"))), "{links:?}");
    assert!(!sent.to_string().contains("evil.example"), "{sent}");
    let code = sent["otp"].as_str().expect("a code").to_owned();
    let page = browser.submit(&page, "/a/auth/verify", &[("code", &code)]).await;
    // Its tokens.
    let dev = client.harness.running().dev.as_ref().unwrap().dev.clone();
    let code = page.code();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &*dev.client_id),
        ("client_secret", &*dev.secret),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", crate::browser::VERIFIER),
    ];
    let tokens = client.harness.token_request(&POISON, &form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    for token in ["id_token", "access_token"] {
        assert_eq!(claims(&tokens[token])["iss"], json!(origin), "{token}");
    }
    // An invitation, asked for through the API.
    let mut headers = POISON.to_vec();
    let bearer = format!("Bearer {}", client.token);
    headers.extend([("authorization", bearer.as_str()), ("content-type", "application/json")]);
    let body = json!({ "email": "dora@example.org" }).to_string();
    let path = format!("/api/v1/organizations/{acme}/users");
    assert_eq!(raw(&client, &base, "POST", &path, &headers, &body).await.status, 201);
    narthex_core::jobs::drain(client.harness.core()).await.unwrap();
    let sent = mail(&client.harness, "dora@example.org").await;
    assert!(sent.to_string().contains(&format!("{origin}/invite/")), "{sent}");
    assert!(!sent.to_string().contains("evil.example"), "{sent}");
    // The documents.
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let document = raw(&client, &base, "GET", path, &POISON, "").await;
        assert_eq!(document.json()["issuer"], json!(origin), "{path}");
        assert!(!document.text().contains("evil.example"), "{path}: {}", document.text());
    }
    // A logout and a page for errors.
    for path in ["/oidc/logout", "/oauth/authorize?client_id=x", "/a/auth/login", "/magicLink/x_l", "/invite/x"] {
        let reply = raw(&client, &base, "GET", path, &POISON, "").await;
        assert!(!reply.text().contains("evil.example"), "{path}: {}", reply.text());
        assert!(reply.header("location").is_none_or(|at| !at.contains("evil.example")), "{path}");
    }
    // A Host that nobody has registered has no pages at all (DNS rebinding).
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "169.254.169.254"] {
        for (verb, path) in [
            ("GET", "/oauth/authorize?client_id=x"),
            ("GET", "/a/auth/login?req=req_1"),
            ("POST", "/oauth/token"),
            ("GET", "/userinfo"),
            ("GET", "/oidc/logout"),
            ("GET", "/.well-known/openid-configuration"),
            ("GET", "/keys"),
            ("GET", "/dev/mail"),
        ] {
            let reply = raw(&client, &base, verb, path, &[("host", host)], "").await;
            assert_eq!(reply.status, 404, "{host} {path}: {}", reply.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_8_addresses_that_look_or_fold_alike_are_no_second_way_into_an_account() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let carl = member(&client, &acme, CARL).await;
    let mut browser = Browser::new(&client.harness);
    for (page, form) in [("", "/a/auth/login"), ("create", "/a/auth/signup")] {
        let shown = browser.authorize(&[("prompt", page)]).await;
        for (what, email) in [
            ("a Cyrillic letter", "c\u{430}rl@example.org"),
            ("a Kelvin sign, which folds to k", "mar\u{212a}@example.org"),
            ("a dotless i", "car\u{131}@example.org"),
            ("a long s", "carl@example\u{17f}.org"),
            ("a combining accent", "ca\u{301}rl@example.org"),
            ("a full-width at sign", "carl\u{ff20}example.org"),
            ("an ideographic full stop", "carl@example\u{3002}org"),
            ("an international domain", "carl@ex\u{e4}mple.org"),
            ("a zero-width space", "carl@exam\u{200b}ple.org"),
            ("a right-to-left mark", "carl\u{202e}@example.org"),
            ("two addresses", "carl@example.org,eve@evil.example"),
            ("a second line", "carl@example.org\r\nBcc: eve@evil.example"),
            ("a name and an address", "Carl <carl@example.org>"),
            ("quotes", "\"carl\"@example.org"),
            ("a comment", "carl(x)@example.org"),
            ("two at signs", "carl@example.org@evil.example"),
            ("an address literal", "carl@[192.0.2.1]"),
            ("no domain", "carl"),
            ("a dot at the end", "carl@example.org."),
        ] {
            let answer = browser.submit(&shown, form, &[("email", email)]).await;
            assert!(answer.at.starts_with(form) && answer.html.contains("name=\"email\""), "{what}: {}", answer.at);
        }
    }
    assert_eq!((mails(&client.harness, CARL).await, mails(&client.harness, "eve@evil.example").await), (0, 0));
    // Letters of another case and spaces around it are the same address, and the same user.
    for email in ["CARL@EXAMPLE.ORG", "  Carl@Example.Org "] {
        let mut browser = Browser::new(&client.harness);
        let page = browser.authorize(&[]).await;
        let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
        let code = mail(&client.harness, CARL).await["otp"].as_str().expect("a code").to_owned();
        let page = browser.submit(&page, "/a/auth/verify", &[("code", &code)]).await;
        let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
        assert_eq!((&id["sub"], &id["oid"]), (&json!(carl), &json!(acme)), "{email}");
    }
    // Neither is a neighbour's address, nor what some mail services take for the same mailbox.
    for email in ["carl@xn--exmple-cua.org", "car.l@example.org", "carl+x@example.org", "carl@mail.example.org"] {
        let mut browser = Browser::new(&client.harness);
        let page = browser.authorize(&[]).await;
        let page = browser.submit(&page, "/a/auth/login", &[("email", email)]).await;
        let code = mail(&client.harness, email).await["otp"].as_str().expect("a code").to_owned();
        let page = browser.submit(&page, "/a/auth/verify", &[("code", &code)]).await;
        let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
        assert!(id["sub"] != json!(carl) && id["oid"] != json!(acme), "{email}: {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_8_an_account_cannot_be_made_ready_for_somebody_elses_address() {
    let client = Client::start().await;
    let mut attacker = Browser::new(&client.harness);
    let page = attacker.authorize(&[("prompt", "create")]).await;
    let waiting = attacker.submit(&page, "/a/auth/signup", &[("email", CARL)]).await;
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], json!(0), "nobody is made yet");
    // Every page behind the proof, and every form that leads there.
    for page in ["organizations", "organization", "passkey", "consent", "join"] {
        let path = waiting.at.replace("verify", page);
        let shown = attacker.get(&path).await;
        assert!(shown.at.starts_with("/a/auth/verify"), "{page}: {}", shown.at);
        let csrf = waiting.csrf();
        let fields =
            [("csrf", csrf.as_str()), ("organization_name", "Evil"), ("decision", "allow"), ("organization", "org_1")];
        let answer = attacker.post(&path, &fields).await;
        assert!(answer.left_to.is_none(), "{page}: {:?}", answer.left_to);
    }
    assert!(!attacker.jar.contains_key(COOKIE));
    // The owner signs up in their own browser.
    let mut carl = Browser::new(&client.harness);
    let page = carl.authorize(&[("prompt", "create")]).await;
    let page = carl.submit(&page, "/a/auth/signup", &[("email", CARL)]).await;
    let code = mail(&client.harness, CARL).await["otp"].as_str().expect("a code").to_owned();
    let page = carl.submit(&page, "/a/auth/verify", &[("code", &code)]).await;
    assert!(page.callback().contains_key("code"));
    // That has opened nothing for the attacker, and what the owner's mail said is nothing in their login.
    let shown = attacker.get(&waiting.at).await;
    assert!(shown.left_to.is_none() && shown.html.contains("name=\"code\""), "{}", shown.html);
    let answer = attacker.submit(&waiting, "/a/auth/verify", &[("code", &code)]).await;
    assert!(answer.left_to.is_none() && !attacker.jar.contains_key(COOKIE), "{:?}", answer.left_to);
    assert_eq!(attacker.authorize(&[("prompt", "none")]).await.error(), "login_required");
    assert_eq!(client.ok(200, "GET", "/api/v1/users", None).await["total_size"], json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_8_only_the_very_domain_lets_somebody_join() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let domain = json!({ "domain": "example.com", "domain_type": "ALLOWED_EMAIL_DOMAIN" });
    client.ok(200, "POST", &format!("/api/v1/organizations/{acme}/domains"), Some(domain)).await;
    let strangers = [
        "eve+sktest@sub.example.com",
        "eve+sktest@notexample.com",
        "eve+sktest@example.com.evil.example",
        "eve+sktest@example.co",
        "example.com+sktest@evil.example",
    ];
    allow(&client.harness, &strangers).await;
    for email in strangers {
        let mut browser = Browser::new(&client.harness);
        let page = browser.sign_in(email, &[]).await;
        let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
        assert_ne!(id["oid"], json!(acme), "{email}");
        assert_eq!(browser.authorize(&[("organization_id", &acme)]).await.error(), "access_denied", "{email}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_11_a_session_that_was_planted_is_not_the_one_that_a_login_ends_in() {
    let client = Client::start().await;
    allow(&client.harness, &[ANN, BEA]).await;
    let acme = client.organization("Acme").await;
    let (_, bea) = (member(&client, &acme, ANN).await, member(&client, &acme, BEA).await);
    let mut attacker = Browser::new(&client.harness);
    attacker.sign_in(ANN, &[]).await;
    let planted = attacker.jar[COOKIE].clone();
    for planted in [planted.as_str(), "ses_1.AAAA", "x", ""] {
        let mut victim = Browser::new(&client.harness);
        victim.jar.insert(COOKIE.to_owned(), planted.to_owned());
        let page = victim.sign_in(BEA, &[("prompt", "login")]).await;
        let id = claims(&exchange(&client.harness, &page.code()).await.json()["id_token"]);
        assert_eq!(id["sub"], json!(bea), "{planted}");
        assert_ne!(victim.jar[COOKIE], planted, "a login has a secret of its own");
        let mut thief = Browser::new(&client.harness);
        thief.jar.insert(COOKIE.to_owned(), planted.to_owned());
        assert_eq!(thief.authorize(&[("prompt", "none")]).await.error(), "login_required", "{planted}");
    }
    // A login that was begun by the attacker does not go on in the victim's browser, whatever it is shown.
    let begun = attacker.authorize(&[("prompt", "login")]).await;
    let mut victim = Browser::new(&client.harness);
    victim.sign_in(BEA, &[]).await;
    let page = victim.get(&begun.at).await;
    assert!(!page.html.contains("name=\"email\""), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_11_sibling_environments_are_strangers_though_browsers_call_them_the_same_site() {
    let client = Client::start().await;
    let delivery = PasswordlessChange { delivery: Some(Delivery::LinkOtp), ..PasswordlessChange::default() };
    configure(&client.harness, delivery).await;
    let acme = client.organization("Acme").await;
    member(&client, &acme, CARL).await;
    let core = client.harness.core();
    let prd = client.harness.environment(client.harness.prd_id()).await;
    let other = client.harness.running().dev.as_ref().unwrap().prd.clone();
    let settings = Settings { post_login_uris: Some(vec![REDIRECT.into()]), ..Settings::default() };
    applications::update(core, &prd, &other.client_id, settings).await.unwrap();
    let prd_url = client.harness.running().prd_url.clone();

    // Somebody who is on the way into DEV, and is in it as well. Cookies know no ports: PRD is sent all of them.
    let mut browser = Browser::new(&client.harness);
    let page = browser.authorize(&[]).await;
    let page = browser.submit(&page, "/a/auth/login", &[("email", CARL)]).await;
    let path = link(&client.harness, CARL).await;
    let cookies = |browser: &Browser<'_>| {
        let pairs: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    };
    let jar = cookies(&browser);
    for path in [page.at.as_str(), &page.at.replace("verify", "organizations")] {
        let reply = raw(&client, &prd_url, "GET", path, &[("cookie", &jar)], "").await;
        assert!(!reply.text().contains(CARL) && !reply.text().contains("name=\"code\""), "{path}: {}", reply.text());
    }
    for verb in ["GET", "POST"] {
        let reply = raw(&client, &prd_url, verb, &path, &[("cookie", &jar)], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("set-cookie")), (400, None), "{verb}: {}", reply.text());
    }
    let otp = mail(&client.harness, CARL).await["otp"].as_str().expect("a code").to_owned();
    let code = browser.submit(&page, "/a/auth/verify", &[("code", &otp)]).await.code();

    // The session, in a browser and for the API.
    let jar = cookies(&browser);
    assert!(jar.contains(COOKIE));
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", &*other.client_id),
        ("redirect_uri", REDIRECT),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("prompt", "none"),
    ]);
    let reply = raw(&client, &prd_url, "GET", &format!("/oauth/authorize?{query}"), &[("cookie", &jar)], "").await;
    let location = reply.header("location").expect("an answer").to_owned();
    let said = parameters(location.split_once('?').expect("a query").1);
    assert_eq!(said.get("error").map(String::as_str), Some("login_required"), "{location}");
    let own = [("cookie", jar.as_str()), ("sec-fetch-site", "same-origin")];
    for path in ["/api/v1/sessions:me", "/api/v1/webauthn/credentials", "/api/v1/user"] {
        let reply = raw(&client, &prd_url, "GET", path, &own, "").await;
        assert!(matches!(reply.status.as_u16(), 401 | 404), "{path}: {} {}", reply.status, reply.text());
    }
    // A page of the sibling sends forms and requests here, with the cookies.
    let dev_url = client.harness.running().http_url.clone();
    let again = browser.authorize(&[("prompt", "login")]).await;
    let csrf = again.csrf();
    let jar = cookies(&browser);
    let form = encode(&[("csrf", &csrf), ("email", CARL)]);
    for headers in [
        &[("origin", prd_url.as_str())][..],
        &[("sec-fetch-site", "same-site"), ("origin", dev_url.as_str())],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        let mut all = vec![("cookie", jar.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        let reply = raw(&client, &dev_url, "POST", &again.at, &all, &form).await;
        assert_eq!(reply.status, 403, "{headers:?}: {}", reply.text());
        if headers.len() == 1 && headers[0].0 == "sec-fetch-site" {
            let reply = raw(&client, &dev_url, "GET", "/api/v1/sessions:me", &all, "").await;
            assert_eq!(reply.status, 401, "{headers:?}: {}", reply.text());
        }
    }
    assert_eq!(mails(&client.harness, CARL).await, 1, "none of it has sent a mail");

    // A code of DEV at PRD is nobody's, and is not spent by that.
    let form = encode(&[
        ("grant_type", "authorization_code"),
        ("client_id", &*other.client_id),
        ("client_secret", &*other.secret),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", crate::browser::VERIFIER),
    ]);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply = raw(&client, &prd_url, "POST", "/oauth/token", &headers, &form).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_grant")));
    assert_eq!(exchange(&client.harness, &code).await.status, 200);
}
