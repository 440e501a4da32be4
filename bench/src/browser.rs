//! A login through the hosted pages, as a browser without scripts does it: the way to a live session.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::Result;
use crate::load::{Answer, Protocol, call, http1_request};
use crate::narthex::Narthex;

/// The application's callback; nothing listens there.
const CALLBACK: &str = "http://localhost:3999/callback";
/// Verifier and challenge of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// What the requests of a signed-in browser and of its application are made of.
#[derive(Clone)]
pub struct SignedIn {
    authority: String,
    client: (String, String),
    cookie: String,
}

impl SignedIn {
    /// Signs in with the code that a mail brings.
    pub async fn new(server: &Narthex, email: &str) -> Result<Self> {
        let (id, secret) = server.credentials();
        let client = (id.to_owned(), secret.to_owned());
        let authority = server.authority.clone();
        let mut signed_in = Self { authority, client, cookie: String::new() };
        let mut jar = BTreeMap::new();
        let page = signed_in.page(&mut jar, signed_in.authorize()?).await?;
        let page = signed_in.submit(&mut jar, &page, "/a/auth/login", ("email", email)).await?;
        let path = format!("/dev/mail?to={}", email.replace('@', "%40"));
        let mails = http1_request(Method::GET, &signed_in.authority, &path, None).body(Full::default())?;
        let mails: Value = serde_json::from_slice(&call(&signed_in.authority, Protocol::Http1, mails).await?.1)?;
        let code = mails.pointer("/0/otp").and_then(Value::as_str).ok_or("no mail with a code")?;
        let callback = signed_in.submit(&mut jar, &page, "/a/auth/verify", ("code", code)).await?;
        signed_in.exchange(&callback)?;
        signed_in.cookie = cookies(&jar);
        Ok(signed_in)
    }

    /// The same requests to another server.
    pub fn at(&self, authority: &str) -> Self {
        Self { authority: authority.to_owned(), ..self.clone() }
    }

    /// An authorization request of the application, with the session's cookie.
    pub fn authorize(&self) -> Result<Request<Full<Bytes>>> {
        let query = format!(
            "response_type=code&client_id={}&redirect_uri=http%3A%2F%2Flocalhost%3A3999%2Fcallback\
             &scope=openid%20profile%20email%20offline_access&state=af0ifjsldkj&nonce=n-0S6_WzA2Mj\
             &code_challenge={CHALLENGE}&code_challenge_method=S256",
            self.client.0
        );
        let request = http1_request(Method::GET, &self.authority, &format!("/oauth/authorize?{query}"), None);
        let request = if self.cookie.is_empty() { request } else { request.header(COOKIE, &self.cookie) };
        Ok(request.body(Full::default())?)
    }

    /// The token request for the code that the answer to an authorization request brings.
    pub fn exchange(&self, answer: &Answer) -> Result<Request<Full<Bytes>>> {
        let location = answer.0.headers.get(LOCATION).ok_or("no redirect: the session is not live")?.to_str()?;
        let query = location.strip_prefix(CALLBACK).and_then(|rest| rest.strip_prefix('?'));
        let code = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("code=")));
        let code = code.ok_or_else(|| format!("no code: {location}"))?;
        self.token_request(&format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2Flocalhost%3A3999%2Fcallback\
             &code_verifier={VERIFIER}"
        ))
    }

    /// The token request with a refresh token.
    pub fn refresh(&self, token: &str) -> Result<Request<Full<Bytes>>> {
        self.token_request(&format!("grant_type=refresh_token&refresh_token={token}"))
    }

    fn token_request(&self, grant: &str) -> Result<Request<Full<Bytes>>> {
        let form = format!("{grant}&client_id={}&client_secret={}", self.client.0, self.client.1);
        Ok(http1_request(Method::POST, &self.authority, "/oauth/token", None)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(form.into()))?)
    }

    /// Sends the one field of a page's form.
    async fn submit(
        &self,
        jar: &mut BTreeMap<String, String>,
        page: &Answer,
        action: &str,
        (field, value): (&str, &str),
    ) -> Result<Answer> {
        let html = std::str::from_utf8(&page.1)?;
        let after = |text: &str| {
            let (_, rest) = html.split_once(text)?;
            Some(rest.split('"').next()?.replace("&amp;", "&"))
        };
        let csrf = after("name=\"csrf\" value=\"").ok_or("no form")?;
        let path = after(&format!("action=\"{action}")).ok_or_else(|| format!("no form for {action}"))?;
        let form = format!("csrf={csrf}&{field}={}", value.replace('@', "%40"));
        let request = http1_request(Method::POST, &self.authority, &format!("{action}{path}"), None)
            .header(ORIGIN, format!("http://{}", self.authority))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(COOKIE, cookies(jar))
            .body(Full::new(form.into()))?;
        self.page(jar, request).await
    }

    /// Keeps cookies, and follows redirects that stay at the server.
    async fn page(&self, jar: &mut BTreeMap<String, String>, request: Request<Full<Bytes>>) -> Result<Answer> {
        let mut answer = call(&self.authority, Protocol::Http1, request).await?;
        loop {
            for cookie in answer.0.headers.get_all(SET_COOKIE) {
                let pair = cookie.to_str()?.split(';').next().and_then(|pair| pair.split_once('='));
                let (name, value) = pair.ok_or("a cookie without a value")?;
                jar.insert(name.to_owned(), value.to_owned());
            }
            jar.retain(|_, value| !value.is_empty());
            let location = answer.0.headers.get(LOCATION).map(|location| location.to_str()).transpose()?;
            let Some(path) = location.filter(|location| location.starts_with('/')) else { return Ok(answer) };
            let request = http1_request(Method::GET, &self.authority, path, None)
                .header(COOKIE, cookies(jar))
                .body(Full::default())?;
            answer = call(&self.authority, Protocol::Http1, request).await?;
        }
    }
}

fn cookies(jar: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}
