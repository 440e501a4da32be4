//! The OAuth and OpenID Connect endpoints.

mod client_auth;
mod cors;
mod discovery;
mod error;
pub mod form;
mod introspection;
mod register;
mod token;
mod userinfo;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use narthex_core::environments::Environment;
use narthex_core::{Core, keys, scopes};

pub use discovery::document as discovery_document;
pub use error::OAuthError;
pub use introspection::{introspect, revoke};
pub use register::{resource as registration_resource, serve as register};
pub use token::{serve as token, serve_resource as resource_token};
pub use userinfo::serve as userinfo;

use crate::reply::{self, Body};

/// `GET /keys`: the environment's public signing keys. Any `Authorization` header is ignored: SDKs send one that may have expired.
pub async fn keys(core: &Core, environment: &Environment, method: &Method) -> Response<Body> {
    open_document(method, async {
        // Boxed: what it takes to read keys from the database is large, and rarely needed.
        match Box::pin(keys::jwks(core, environment.id)).await {
            Ok(text) => {
                let text: Arc<str> = text;
                reply::json(StatusCode::OK, text.as_bytes().to_vec())
            }
            Err(error) => {
                tracing::error!(environment = %environment.id, ?error, "the key set cannot be read");
                OAuthError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "temporarily_unavailable",
                    "the keys cannot be read now",
                )
                .response()
            }
        }
    })
    .await
}

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
pub async fn discovery(core: &Core, environment: &Environment, method: &Method) -> Response<Body> {
    open_document(method, async {
        match scopes::list(core, environment.id).await {
            Ok(own) => reply::value(StatusCode::OK, &discovery::document(environment, &own)),
            Err(error) => OAuthError::failed(&error).response(),
        }
    })
    .await
}

/// A document that any origin may read and any cache may keep for minutes, not days (oauth-oidc reference §1).
async fn open_document(method: &Method, document: impl Future<Output = Response<Body>>) -> Response<Body> {
    let mut response = match *method {
        Method::GET | Method::HEAD => document.await,
        Method::OPTIONS => {
            let mut response = reply::empty(StatusCode::NO_CONTENT);
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
            response
        }
        _ => return reply::method_not_allowed("GET, HEAD, OPTIONS"),
    };
    if response.status().is_success() {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if *method != Method::OPTIONS {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        }
    }
    response
}

/// Keeps tokens and secrets out of every cache (RFC 6749 §5.1).
fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}
