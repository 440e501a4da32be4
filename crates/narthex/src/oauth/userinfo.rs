//! `GET` and `POST /userinfo` (OpenID Connect Core §5.3; oauth-oidc reference §8).

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use narthex_core::environments::Environment;
use narthex_core::grants::{self, BearerRefusal};
use serde_json::Value;

use super::cors::Readers;
use super::error::OAuthError;
use super::no_store;
use super::token::{is_form, read};
use crate::gate::State;
use crate::limits::{self, Scope};
use crate::reply::{self, Body};

/// Tokens that one request may show; SDKs show two.
const MOST_BEARERS: usize = 4;

/// Answers a request for what a token lets its bearer know of the user.
pub async fn serve(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    let readers = Readers::of(&state.core, environment, request.headers()).await;
    if request.method() == Method::OPTIONS {
        return readers.preflight("GET, POST");
    }
    readers.admit(answer(state, environment, request, client_address).await)
}

async fn answer(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        return reply::method_not_allowed("GET, HEAD, POST, OPTIONS");
    }
    let key = (environment.id, limits::address_key(client_address));
    if let Err(exceeded) = state.limiter.admit(Scope::PublicPerIp, key) {
        state.metrics.rate_limited(Scope::PublicPerIp);
        return OAuthError::exceeded(&exceeded).response();
    }
    let (head, body) = request.into_parts();
    let mut tokens: Vec<String> = head
        .headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(|value| value.to_str().ok()?.trim().split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .collect();
    // RFC 6750 §2.2: in the body of a form, but never in the URL, which ends up in logs.
    if head.method == Method::POST && is_form(&head.headers) {
        match read(body).await {
            Ok(form) => match (form.get("access_token"), tokens.is_empty()) {
                (Some(token), true) => tokens.push(token.to_owned()),
                (Some(_), false) => {
                    return refused(StatusCode::BAD_REQUEST, "invalid_request", "the token is sent in two ways");
                }
                (None, _) => {}
            },
            Err(error) => return error.response(),
        }
    }
    let bearers: Vec<&str> = tokens.iter().map(String::as_str).take(MOST_BEARERS).collect();
    match grants::user_info(&state.core, environment, &bearers).await {
        Ok(Ok(claims)) => {
            let mut response = reply::value(StatusCode::OK, &Value::Object(claims));
            no_store(response.headers_mut());
            response
        }
        Ok(Err(BearerRefusal::InvalidToken)) => refused(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "the access token is missing, malformed, expired or revoked",
        ),
        Ok(Err(BearerRefusal::InsufficientScope)) => {
            refused(StatusCode::FORBIDDEN, "insufficient_scope", "a user's token with the scope openid is needed")
        }
        Err(error) => OAuthError::failed(&error).response(),
    }
}

/// A refusal with its challenge (RFC 6750 §3).
fn refused(status: StatusCode, code: &'static str, description: &'static str) -> Response<Body> {
    let mut response = OAuthError::new(status, code, description).response();
    let scope = if code == "insufficient_scope" { ", scope=\"openid\"" } else { "" };
    let challenge = format!("Bearer realm=\"narthex\", error=\"{code}\", error_description=\"{description}\"{scope}");
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
