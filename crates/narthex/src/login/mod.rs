//! The hosted pages at work: what a browser asks for on the way from an authorization request to the application's callback. The steps
//! themselves are decided in `narthex_core::login`; here are paths, forms, cookies and what is shown.

mod authorize;
pub mod cookies;
mod invitation;
mod link;
mod logout;
mod look;
mod operator;
mod pages;
mod profile;
mod steps;
mod visit;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use narthex_core::environments::Environment;
use narthex_core::{Error, Kind};

pub use look::look;

use self::visit::Visit;
use crate::gate::State;
use crate::limits::{self, Scope};
use crate::metrics::Route;
use crate::reply::{self, Body};

/// Answers a path of the hosted pages.
pub async fn serve(
    state: &Arc<State>,
    environment: &Arc<Environment>,
    route: Route,
    request: Request<Incoming>,
    client: IpAddr,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        return reply::method_not_allowed("GET, HEAD, POST");
    }
    // One visitor's pages are a handful; who asks for more than any person would has to wait.
    let key = (environment.id, limits::address_key(client));
    if let Err(exceeded) = state.limiter.admit(Scope::PublicPerIp, key) {
        state.metrics.rate_limited(Scope::PublicPerIp);
        return too_many(&exceeded);
    }
    let visit = match Visit::read(state, environment, request, client).await {
        Ok(visit) => visit,
        Err(response) => return response,
    };
    let answer = match route {
        Route::Authorize => authorize::serve(&visit, None).await,
        Route::ResourceAuthorize => authorize::of_resource(&visit).await,
        Route::Logout => logout::serve(&visit).await,
        Route::MagicLink => link::serve(&visit).await,
        Route::Invitation => invitation::serve(&visit).await,
        Route::Profile => profile::serve(&visit).await,
        Route::Operator => operator::serve(&visit).await,
        _ => steps::serve(&visit).await,
    };
    answer.unwrap_or_else(|error| visit.failed(&error))
}

/// Sends a browser on.
fn redirect(location: &str) -> Response<Body> {
    // A redirect from a form must become a GET (RFC 9700 §4.12); for a GET the two are the same.
    let mut response = reply::empty(StatusCode::SEE_OTHER);
    match HeaderValue::from_str(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            // The page that led here may have a code or a state in its address.
            response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "a location is no header value");
            reply::plain_error(StatusCode::INTERNAL_SERVER_ERROR, 13, "INTERNAL", "internal error")
        }
    }
}

fn too_many(exceeded: &limits::Exceeded) -> Response<Body> {
    let mut response =
        reply::plain_error(StatusCode::TOO_MANY_REQUESTS, 8, "RATE_LIMITED", "too many requests, try again later");
    exceeded.write(response.headers_mut());
    response
}

/// What a visitor is told of an error that is not theirs.
fn is_temporary(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded | Kind::Aborted)
}
