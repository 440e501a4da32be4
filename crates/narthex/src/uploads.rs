//! `/uploads/…`: files of the hosted pages. An operator's program sends one with PUT to an address made for it; any page may fetch it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use narthex_core::assets::{self, LARGEST};
use narthex_core::environments::Environment;
use narthex_core::ids::AssetId;
use narthex_core::seal::Secret;
use narthex_core::{Core, Error, Kind};

use crate::reply::{self, Body};

/// Where the paths begin.
pub const PREFIX: &str = "/uploads/";

/// The address that a file is sent to.
pub fn upload_url(environment: &Environment, secret: &Secret<String>) -> String {
    format!("{}{PREFIX}{}", environment.origin, secret.expose())
}

/// The address that it is fetched from.
pub fn fetch_url(environment: &Environment, id: AssetId, extension: &str) -> String {
    format!("{}{PREFIX}{id}.{extension}", environment.origin)
}

/// Answers a path below [`PREFIX`].
pub async fn serve(core: &Core, environment: &Arc<Environment>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let Some(name) = path.strip_prefix(PREFIX) else { return reply::not_found() };
    match *request.method() {
        Method::GET | Method::HEAD => fetch(core, environment, name).await,
        Method::PUT => send(core, environment, name, request).await,
        _ => reply::method_not_allowed("GET, HEAD, PUT"),
    }
}

async fn fetch(core: &Core, environment: &Environment, name: &str) -> Response<Body> {
    let id = name.split_once('.').and_then(|(id, _)| AssetId::parse(id));
    let Some(id) = id else { return reply::not_found() };
    let file = match assets::file(core, environment.id, id).await {
        Ok(Some(file)) => file,
        Ok(None) => return reply::not_found(),
        Err(error) => return failed(&error),
    };
    let mut response = reply::text(file.format.media_type(), file.content);
    let headers = response.headers_mut();
    // What an id stands for never changes. A font is fetched with CORS, by pages of a custom domain too.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // Opened as a page of its own, it can do nothing.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    response
}

async fn send(core: &Core, environment: &Environment, secret: &str, request: Request<Incoming>) -> Response<Body> {
    let Ok(body) = Limited::new(request.into_body(), LARGEST).collect().await else {
        let text = format!("a file has at most {LARGEST} bytes");
        return reply::plain_error(StatusCode::PAYLOAD_TOO_LARGE, 3, "INVALID_ARGUMENT", &text);
    };
    match assets::upload(core, environment.id, secret, Bytes::into(body.to_bytes())).await {
        Ok(()) => reply::json(StatusCode::OK, "{}"),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Response<Body> {
    match error.kind() {
        Kind::NotFound => reply::not_found(),
        Kind::InvalidArgument => reply::plain_error(StatusCode::BAD_REQUEST, 3, "INVALID_ARGUMENT", error.message()),
        _ => {
            tracing::error!(?error, "an upload failed");
            reply::plain_error(StatusCode::SERVICE_UNAVAILABLE, 14, "UNAVAILABLE", "temporarily unavailable, retry")
        }
    }
}
