//! A browser without scripts: keeps cookies, reads forms, follows redirects within the environment.

use std::collections::BTreeMap;

use http::Request;
use narthex_core::clients;
use narthex_core::connections::{self, PasswordlessChange};
use narthex_core::environments::test_users::{self, TestUsersChange};

use crate::harness::{Harness, Protocol, Reply, encode};

/// The application's callback.
pub const CALLBACK: &str = "http://localhost:3999/callback";
/// Verifier and challenge of RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Code of test users.
pub const CODE: &str = "424242";

pub struct Browser<'a> {
    pub harness: &'a Harness,
    base: String,
    pub jar: BTreeMap<String, String>,
    pub user_agent: String,
    /// Headers that somebody between the browser and the server adds.
    pub added: Vec<(&'static str, &'static str)>,
}

/// What a browser shows.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// Path and query of the page.
    pub at: String,
    pub html: String,
    /// Where the server sent the browser to, if away from the environment.
    pub left_to: Option<String>,
}

impl Page {
    /// The parameters of the application's callback.
    pub fn callback(&self) -> BTreeMap<String, String> {
        let url = self.left_to.as_deref().unwrap_or_else(|| panic!("still at {}: {}", self.at, self.html));
        let query = url.strip_prefix(CALLBACK).and_then(|rest| rest.strip_prefix('?'));
        parameters(query.unwrap_or_else(|| panic!("not the callback: {url}")))
    }

    /// The code that the application gets.
    pub fn code(&self) -> String {
        let callback = self.callback();
        callback.get("code").cloned().unwrap_or_else(|| panic!("no code: {callback:?}"))
    }

    /// `error` that the application gets.
    pub fn error(&self) -> String {
        self.callback().remove("error").expect("an error")
    }

    /// Value of the hidden field.
    pub fn csrf(&self) -> String {
        let (_, rest) =
            self.html.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form: {}", self.html));
        rest.split('"').next().unwrap().to_owned()
    }
}

pub fn parameters(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), narthex::oauth::form::decode(value).expect("a form")))
        .collect()
}

impl<'a> Browser<'a> {
    pub fn new(harness: &'a Harness) -> Self {
        Self {
            harness,
            base: harness.running().http_url.clone(),
            jar: BTreeMap::new(),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0".to_owned(),
            added: Vec::new(),
        }
    }

    /// One at another origin of the same server.
    pub fn at(harness: &'a Harness, origin: &str) -> Self {
        Self { base: origin.to_owned(), ..Self::new(harness) }
    }

    pub async fn send(&mut self, verb: &str, path: &str, form: Option<&[(&str, &str)]>, origin: Option<&str>) -> Reply {
        let mut request = Request::builder().method(verb).uri(format!("{}{path}", self.base));
        request = request.header("user-agent", &self.user_agent);
        for (name, value) in &self.added {
            request = request.header(*name, *value);
        }
        if !self.jar.is_empty() {
            let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if form.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let body = form.map(encode).unwrap_or_default();
        let reply = self.harness.send(&self.base, Protocol::H1, request, body).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let text = cookie.to_str().expect("an ASCII cookie");
            assert!(text.contains("; Path=/; Secure; HttpOnly; SameSite=") && !text.contains("Domain"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').expect("a cookie");
            if text.contains("Max-Age=0") || value.is_empty() {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// Follows redirects until something is shown or the environment is left.
    async fn settle(&mut self, mut at: String, mut reply: Reply) -> Page {
        for _ in 0..5 {
            let Some(location) = reply.header("location").map(str::to_owned) else {
                return Page { status: reply.status.as_u16(), at, html: reply.text(), left_to: None };
            };
            let location = location.strip_prefix(&self.base).map_or(location.clone(), str::to_owned);
            if !location.starts_with('/') {
                return Page { status: reply.status.as_u16(), at, html: reply.text(), left_to: Some(location) };
            }
            reply = self.send("GET", &location, None, None).await;
            at = location;
        }
        panic!("redirected without end at {at}");
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let reply = self.send("GET", path, None, None).await;
        self.settle(path.to_owned(), reply).await
    }

    pub async fn head(&mut self, path: &str) -> Reply {
        self.send("HEAD", path, None, None).await
    }

    /// Sends a form of the page that is shown.
    pub async fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = page.csrf();
        let target = format!("action=\"{action}");
        let (_, rest) = page.html.split_once(&target).unwrap_or_else(|| panic!("no form for {action}: {}", page.html));
        let path = format!("{action}{}", rest.split('"').next().unwrap()).replace("&amp;", "&");
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.post(&path, &all).await
    }

    /// Sends any form from the environment's own origin.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = self.base.clone();
        self.post_from(&origin, path, fields).await
    }

    pub async fn post_from(&mut self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let reply = self.send("POST", path, Some(fields), Some(origin)).await;
        self.settle(path.to_owned(), reply).await
    }

    /// An authorization request of the default application, with more parameters.
    pub async fn authorize(&mut self, more: &[(&str, &str)]) -> Page {
        let client_id = self.harness.running().dev.as_ref().expect("narthex dev").dev.client_id.clone();
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &client_id),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email offline_access"),
            ("state", "s-1"),
            ("nonce", "n-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        parameters.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        parameters.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.get(&format!("/oauth/authorize?{}", encode(&parameters))).await
    }

    /// Signs a test user in as far as the mail's code leads.
    pub async fn sign_in(&mut self, email: &str, more: &[(&str, &str)]) -> Page {
        let page = self.authorize(more).await;
        let form = if page.at.starts_with("/a/auth/signup") { "/a/auth/signup" } else { "/a/auth/login" };
        let page = self.submit(&page, form, &[("email", email)]).await;
        assert!(page.at.starts_with("/a/auth/verify"), "{}: {}", page.at, page.html);
        self.submit(&page, "/a/auth/verify", &[("code", CODE)]).await
    }
}

/// Makes test users of these addresses.
pub async fn allow(harness: &Harness, emails: &[&str]) {
    let change = TestUsersChange {
        enabled: Some(true),
        code: None,
        emails: Some(emails.iter().map(|&email| email.to_owned()).collect()),
    };
    test_users::update(harness.core(), harness.env_id(), change).await.expect("test users");
}

/// The tokens of a code.
pub async fn exchange(harness: &Harness, code: &str) -> Reply {
    let dev = harness.running().dev.as_ref().expect("narthex dev").dev.clone();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &*dev.client_id),
        ("client_secret", &*dev.secret),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    harness.token_request(&[], &form).await
}

/// The newest mail to an address.
pub async fn mail(harness: &Harness, to: &str) -> serde_json::Value {
    let found = harness.get(&format!("/dev/mail?to={}", encode(&[("x", to)]).trim_start_matches("x="))).await.json();
    found.get(0).cloned().unwrap_or_else(|| panic!("no mail to {to}"))
}

/// How many mails went to an address.
pub async fn mails(harness: &Harness, to: &str) -> usize {
    let found = harness.get(&format!("/dev/mail?to={}", encode(&[("x", to)]).trim_start_matches("x="))).await.json();
    found.as_array().map_or(0, Vec::len)
}

/// Path and query of the link in the newest mail to an address.
pub async fn link(harness: &Harness, to: &str) -> String {
    let mail = mail(harness, to).await;
    let link = mail["links"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    let link = link.clone().find(|link| link.contains("/magicLink/") || link.contains("/invite/"));
    let link = link.unwrap_or_else(|| panic!("no link: {mail}"));
    let (_, rest) = link.split_once("://").expect("a URL");
    rest[rest.find('/').expect("a path")..].to_owned()
}

/// Changes how the environment sends codes and links.
pub async fn configure(harness: &Harness, change: PasswordlessChange) {
    let (core, environment) = (harness.core(), harness.env_id());
    let connection = connections::passwordless(core, environment).await.expect("a database").expect("a connection");
    let change = connections::Change { passwordless: Some(change), ..connections::Change::default() };
    connections::update(core, environment, connection.id, None, change).await.expect("changed");
}

/// The default application's id.
pub async fn default_client(harness: &Harness) -> String {
    let found = clients::default_application(harness.core(), harness.env_id()).await.expect("a database");
    found.expect("the default application").client_id.clone()
}
