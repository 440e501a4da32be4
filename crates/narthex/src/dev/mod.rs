//! What only `narthex dev` has: a CA, a file of variables for SDK programs, and helpers under `/dev` that need no credential. The helpers
//! answer loopback peers under loopback names only, and no page of another origin.

pub mod ca;
mod clock;
pub mod env_file;
pub mod mailbox;
pub mod pkcs12;

use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use narthex_core::ids::EnvId;
use narthex_core::{Error, events};
use serde_json::Value;

pub use clock::MovedClock;
pub use mailbox::{DevMailer, Mailbox};

use crate::gate::State;
use crate::listen::{Door, Peer};
use crate::metrics_page;
use crate::pages::gallery;
use crate::reply::{self, Body};

/// Most events that one `GET /dev/events` shows.
const EVENTS: u32 = 100;

const PAGES: &str = "/dev/pages";
const PAGES_BELOW: &str = "/dev/pages/";

/// State of the helpers.
pub struct Helpers {
    /// The DEV environment.
    pub dev: EnvId,
    /// The PRD environment.
    pub prd: EnvId,
    /// The clock's offset, kept in the data folder.
    pub clock: MovedClock,
    /// Where every mail goes.
    pub mailbox: Arc<Mailbox>,
}

impl Helpers {
    /// The environment behind a door.
    pub fn environment(&self, door: Door) -> EnvId {
        if door == Door::PrdTls { self.prd } else { self.dev }
    }
}

/// Answers `/dev…` and, on the plain port, `/metrics`. The Host has been checked.
pub async fn serve(state: &State, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
    // `--listen 0.0.0.0:8443` opens the API to the network, not these. Nor may a page that a developer has open use them.
    let Some(helpers) = &state.dev else { return reply::not_found() };
    if !peer.address.is_loopback() || peer.door == Door::PrdTls || is_foreign_page(&request) {
        return reply::not_found();
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/dev") => index(),
        (&Method::GET, "/dev/mail") => mailbox::list(&helpers.mailbox, request.uri().query()),
        (&Method::DELETE, "/dev/mail") => mailbox::clear(&helpers.mailbox),
        (&Method::GET, "/dev/mailbox") => mailbox::page(&helpers.mailbox, request.uri().query()),
        (&Method::GET, "/dev/events") => events(state).await.unwrap_or_else(|error| failed(&error)),
        (&Method::GET, "/dev/clock") => clock::show(state),
        (&Method::POST, "/dev/clock") => clock::advance(state, request.into_body()).await,
        (&Method::GET, "/metrics") => metrics_page::serve(state).await,
        (&Method::GET, path) if path == PAGES || path.starts_with(PAGES_BELOW) => {
            let name = path.strip_prefix(PAGES_BELOW).unwrap_or_default();
            gallery::serve(name, request.uri().query()).unwrap_or_else(reply::not_found)
        }
        (_, "/dev/clock") => reply::method_not_allowed("GET, POST"),
        (_, "/dev/mail") => reply::method_not_allowed("GET, DELETE"),
        (_, "/dev" | PAGES | "/dev/mailbox" | "/dev/events" | "/metrics") => reply::method_not_allowed("GET"),
        _ => reply::not_found(),
    }
}

/// Browsers mark what a page of another site sends: even without reading the answer, moving the clock would be an effect.
fn is_foreign_page(request: &Request<Incoming>) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let fetched_elsewhere = text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let foreign_origin = text(header::ORIGIN.as_str()).is_some_and(|origin| {
        let named = origin.split_once("://").map(|(_, host)| host);
        named.is_none() || named != crate::server::host(request)
    });
    fetched_elsewhere || foreign_origin
}

async fn events(state: &State) -> Result<Response<Body>, Error> {
    let events = state.core.db.read(async move |tx| events::newest(tx, EVENTS).await).await?;
    let list: Vec<Value> = events
        .into_iter()
        .map(|event| serde_json::from_str(&event.body).map_err(Error::internal))
        .collect::<Result<_, _>>()?;
    Ok(reply::value(StatusCode::OK, &Value::Array(list)))
}

fn failed(error: &Error) -> Response<Body> {
    tracing::error!(?error, "a development helper failed");
    reply::plain_error(StatusCode::INTERNAL_SERVER_ERROR, 13, "INTERNAL", "internal error")
}

fn index() -> Response<Body> {
    const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>narthex dev</title>\
        <h1>narthex dev</h1><ul>\
        <li><a href=\"/dev/events\">/dev/events</a>: newest events of both environments\
        <li><a href=\"/dev/clock\">/dev/clock</a>: POST {\"advance_seconds\": N} moves stored deadlines\
        <li><a href=\"/dev/mailbox\">/dev/mailbox</a>: every mail that was sent\
        <li><a href=\"/dev/mail\">/dev/mail</a>: the same as JSON; ?to=ADDRESS, and DELETE to clear\
        <li><a href=\"/dev/pages\">/dev/pages</a>: every hosted page with made-up contents\
        <li><a href=\"/.well-known/openid-configuration\">/.well-known/openid-configuration</a>\
        <li><a href=\"/keys\">/keys</a>\
        </ul></html>";
    reply::text("text/html; charset=utf-8", PAGE)
}

/// Files of a development data folder.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.0.join("narthex.db")
    }

    /// The master key.
    pub fn master_key(&self) -> PathBuf {
        self.0.join("master.key")
    }

    /// Variables for SDK programs.
    pub fn env_file(&self) -> PathBuf {
        self.0.join("dev.env")
    }

    /// The clock's offset.
    pub fn clock(&self) -> PathBuf {
        self.0.join("clock.json")
    }
}
