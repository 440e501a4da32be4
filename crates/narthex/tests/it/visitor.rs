//! A browser at a program that runs apart, where [`crate::browser::Browser`] is one at an app in process. Every step may fail: the
//! program may be killed under it.

use std::collections::BTreeMap;

use http::Request;

use crate::browser::{CALLBACK, CHALLENGE, Page, VERIFIER};
use crate::harness::{Reply, encode};
use crate::programs::Site;

pub struct Visitor {
    pub site: Site,
    pub jar: BTreeMap<String, String>,
}

impl Visitor {
    pub fn new(site: &Site) -> Self {
        Self { site: site.clone(), jar: BTreeMap::new() }
    }

    async fn send(&mut self, verb: &str, path: &str, form: Option<&[(&str, &str)]>) -> Result<Reply, String> {
        let mut request = Request::builder().method(verb).uri(format!("{}{path}", self.site.base));
        if !self.jar.is_empty() {
            let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        if form.is_some() {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", format!("https://{}", self.site.host));
        }
        let reply = self.site.send(request, form.map(encode).unwrap_or_default()).await?;
        for cookie in reply.headers.get_all("set-cookie") {
            let text = cookie.to_str().expect("an ASCII cookie");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(reply)
    }

    async fn settle(&mut self, mut at: String, mut reply: Reply) -> Result<Page, String> {
        for _ in 0..5 {
            let (status, location) = (reply.status.as_u16(), reply.header("location").map(str::to_owned));
            match location {
                Some(location) if location.starts_with('/') => {
                    reply = self.send("GET", &location, None).await?;
                    at = location;
                }
                left_to => return Ok(Page { status, at, html: reply.text(), left_to }),
            }
        }
        panic!("redirected without end at {at}");
    }

    pub async fn get(&mut self, path: &str) -> Result<Page, String> {
        let reply = self.send("GET", path, None).await?;
        self.settle(path.to_owned(), reply).await
    }

    /// Sends a form of the page that is shown.
    pub async fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Result<Page, String> {
        let csrf = page.csrf();
        let (_, rest) = page.html.split_once(&format!("action=\"{action}")).expect("the form");
        let path = format!("{action}{}", rest.split('"').next().expect("a quote")).replace("&amp;", "&");
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        let reply = self.send("POST", &path, Some(&all)).await?;
        self.settle(path, reply).await
    }

    /// An authorization request of an application, with PKCE and more parameters.
    pub async fn authorize(&mut self, client_id: &str, more: &[(&str, &str)]) -> Result<Page, String> {
        let mut all = vec![
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email offline_access"),
            ("state", "s-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        all.extend_from_slice(more);
        self.get(&format!("/oauth/authorize?{}", encode(&all))).await
    }
}

/// The token endpoint's answer to a code.
pub async fn exchange(site: &Site, client: (&str, &str), code: &str) -> Result<Reply, String> {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client.0),
        ("client_secret", client.1),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    token(site, &form).await
}

/// The token endpoint's answer to a refresh token.
pub async fn refresh(site: &Site, client: (&str, &str), refresh_token: &str) -> Result<Reply, String> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client.0),
        ("client_secret", client.1),
        ("refresh_token", refresh_token),
    ];
    token(site, &form).await
}

async fn token(site: &Site, form: &[(&str, &str)]) -> Result<Reply, String> {
    let request =
        Request::post(format!("{}/oauth/token", site.base)).header("content-type", "application/x-www-form-urlencoded");
    site.send(request, encode(form)).await
}
