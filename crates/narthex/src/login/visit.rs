//! One request of a browser, read: its parameters, its cookies, who sends it.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use narthex_core::environments::Environment;
use narthex_core::ids::{AuthRequestId, SessionId};
use narthex_core::login::{self, AuthRequest, Visitor};
use narthex_core::sessions::{self, Device, Session};
use narthex_core::{Error, Result};

use super::cookies::Cookies;
use super::is_temporary;
use crate::gate::State;
use crate::oauth::form;
use crate::pages::{Failure, Frame, Look, Page as _, Texts};
use crate::reply::{self, Body};

/// Bytes of a form.
const BODY_LIMIT: usize = 64 * 1024;

/// A request of a browser.
pub struct Visit {
    /// The server.
    pub state: Arc<State>,
    /// The environment of its Host.
    pub environment: Arc<Environment>,
    /// GET, HEAD or POST.
    pub method: Method,
    /// Path, with single slashes.
    pub path: String,
    /// Decoded parameters of the query, in order.
    pub query: Vec<(String, String)>,
    /// Decoded fields of the form, in order.
    pub form: Vec<(String, String)>,
    /// Cookies.
    pub cookies: Cookies,
    /// The browser.
    pub visitor: Visitor,
    /// Whether a POST comes from a page of this very origin.
    pub is_own: bool,
    /// Whether the browser shows the answer as a page, as far as it says.
    pub is_navigation: bool,
    languages: String,
}

impl Visit {
    /// Reads it; the answer where it cannot be read.
    pub async fn read(
        state: &Arc<State>,
        environment: &Arc<Environment>,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> std::result::Result<Self, Response<Body>> {
        let bad = || reply::plain_error(StatusCode::BAD_REQUEST, 3, "INVALID_ARGUMENT", "malformed request");
        let (parts, body) = request.into_parts();
        let host = crate::server::host_of(&parts).unwrap_or_default().to_owned();
        let query = form::pairs(parts.uri.query().unwrap_or_default().as_bytes()).map_err(|_| bad())?;
        let form = if parts.method == Method::POST {
            let bytes = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| bad())?.to_bytes();
            form::pairs(&bytes).map_err(|_| bad())?
        } else {
            Vec::new()
        };
        let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let device = Device::of(text(header::USER_AGENT), client);
        Ok(Self {
            state: Arc::clone(state),
            environment: Arc::clone(environment),
            path: parts.uri.path().to_owned(),
            query,
            form,
            cookies: Cookies::of(&parts.headers),
            visitor: Visitor { device },
            is_own: is_own(&parts.headers, &host),
            is_navigation: parts.headers.get("sec-fetch-dest").is_none_or(|dest| dest == "document"),
            languages: text(header::ACCEPT_LANGUAGE).unwrap_or_default().to_owned(),
            method: parts.method,
        })
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// A field of the form.
    pub fn field(&self, name: &str) -> &str {
        first(&self.form, name).unwrap_or_default()
    }

    /// Every value of a field.
    pub fn fields(&self, name: &str) -> Vec<String> {
        self.form.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone()).collect()
    }

    /// The live session of the browser.
    pub async fn session(&self) -> Result<Option<Arc<Session>>> {
        match self.cookies.session() {
            Some(value) => sessions::by_cookie(&self.state.core, self.environment.id, value).await,
            None => Ok(None),
        }
    }

    /// Its id.
    pub async fn session_id(&self) -> Result<Option<SessionId>> {
        Ok(self.session().await?.map(|session| session.id))
    }

    /// The login that the address names, if it is this browser's.
    pub async fn login(&self) -> Result<Option<(AuthRequest, Csrf)>> {
        let Some(id) = self.query("req").and_then(AuthRequestId::parse) else { return Ok(None) };
        let Some(secret) = self.cookies.login(id) else { return Ok(None) };
        let found = login::load(&self.state.core, self.environment.id, id, secret).await?;
        Ok(found.map(|request| (request, Csrf::of(secret))))
    }

    /// Whether a form comes from a page of this browser's login.
    pub fn is_genuine(&self, csrf: &Csrf) -> bool {
        self.is_own && csrf.matches(self.field("csrf"))
    }

    /// The frame of a page: `locales` is what the application says of the user's languages.
    pub fn frame<'a>(
        &self,
        look: &'a Look,
        locales: Option<&str>,
        csrf: &'a str,
        destination: Option<&'a str>,
    ) -> Frame<'a> {
        let spoken = locales.map_or_else(|| accepted(&self.languages), str::to_owned);
        Frame { texts: Texts::of(&spoken), csrf, destination, ..Frame::new(look) }
    }

    /// The page for an error of the server.
    pub fn failed(&self, error: &Error) -> Response<Body> {
        let (status, description) = if is_temporary(error) {
            (StatusCode::SERVICE_UNAVAILABLE, "The service is busy. Please try again in a moment.")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side.")
        };
        tracing::error!(?error, path = self.template(), "a hosted page failed");
        let look = Look::default();
        let frame = self.frame(&look, None, "", None);
        Failure { frame, status, title: None, description, code: None, id: None, restart: None }.render()
    }

    /// The path without what is secret in it.
    fn template(&self) -> &str {
        if self.path.starts_with("/a/") { &self.path } else { "(link)" }
    }
}

/// The token that the forms of a login carry: made of the secret that only its browser has.
pub struct Csrf(String);

impl Csrf {
    /// Of a secret.
    pub fn of(secret: &str) -> Self {
        let text = format!("narthex csrf 1:{secret}");
        Self(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
    }

    /// For the hidden field.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn matches(&self, given: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

/// Whether the browser says that a page of this origin sends the form. One that says nothing at all is none of today's browsers, and
/// the token of the form decides alone.
fn is_own(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) if site != "same-origin" => false,
        (_, Some(origin)) => origin.split_once("://").is_some_and(|(_, named)| named == host),
        (_, None) => true,
    }
}

/// The tags of `Accept-Language`, without their weights: browsers send them in order.
fn accepted(languages: &str) -> String {
    let tags: Vec<&str> = languages
        .split(',')
        .filter_map(|tag| tag.split(';').next())
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .collect();
    tags.join(" ")
}
