//! `POST /oauth/token` (RFC 6749 §3.2; oauth-oidc reference §5 and §6).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use narthex_core::environments::Environment;
use narthex_core::grants::{self, CodeExchange, Refresh};
use narthex_core::ids::ResourceId;
use narthex_core::seal::Secret;
use narthex_core::tokens::{self, ClientCredentials, IssuedToken, TokenError};
use serde::Serialize;

use super::client_auth::{self, Presented};
use super::cors::Readers;
use super::error::OAuthError;
use super::form::Form;
use super::no_store;
use crate::gate::State;
use crate::limits::{self, Exceeded, Scope};
use crate::reply::{self, Body};

/// A form of this endpoint is a few hundred bytes; assertions of later grants stay below this.
const BODY_LIMIT: usize = 64 * 1024;

/// Answers a token request. Never in the management API's envelope.
pub async fn serve(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    // Programs name no origin, and need no answer about it.
    if !request.headers().contains_key(header::ORIGIN) {
        return answer(state, environment, request, client_address, None).await;
    }
    let readers = Readers::of(&state.core, environment, request.headers()).await;
    if request.method() == Method::OPTIONS {
        return readers.preflight("POST");
    }
    readers.admit(answer(state, environment, request, client_address, None).await)
}

/// The same at a resource's own endpoint, where browsers of MCP clients come from anywhere (mcp-auth reference §11).
pub async fn serve_resource(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return Readers::Anyone.preflight("POST");
    }
    let path = request.uri().path().trim_start_matches('/');
    let id = path.split('/').filter(|segment| !segment.is_empty()).nth(1).and_then(ResourceId::parse);
    let response = match id {
        Some(id) => answer(state, environment, request, client_address, Some(id)).await,
        None => OAuthError::new(StatusCode::NOT_FOUND, "invalid_request", "there is no such resource").response(),
    };
    Readers::Anyone.admit(response)
}

async fn answer(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
    resource: Option<ResourceId>,
) -> Response<Body> {
    match exchange(state, environment, request, client_address, resource).await {
        Ok(token) => {
            state.metrics.token(true);
            success(&token)
        }
        Err(error) => {
            state.metrics.token(false);
            error.response()
        }
    }
}

/// The form of a request that only programs send, and its headers.
pub(super) async fn form_of(
    state: &State,
    environment: &Environment,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Result<(HeaderMap, Form), OAuthError> {
    if request.method() != Method::POST {
        let text = "this endpoint takes POST";
        return Err(OAuthError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", text));
    }
    let address = (environment.id, limits::address_key(client_address));
    state.limiter.admit(Scope::TokenPerIp, address).map_err(|exceeded| limited(state, Scope::TokenPerIp, &exceeded))?;
    if !is_form(request.headers()) {
        return Err(OAuthError::invalid_request("the content type must be application/x-www-form-urlencoded"));
    }
    let (head, body) = request.into_parts();
    Ok((head.headers, read(body).await?))
}

async fn exchange(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
    resource: Option<ResourceId>,
) -> Result<IssuedToken, OAuthError> {
    let (headers, form) = form_of(state, environment, request, client_address).await?;
    let grant_type = form.get("grant_type").ok_or_else(|| OAuthError::invalid_request("grant_type is missing"))?;
    let grant = match grant_type {
        "client_credentials" => Grant::ClientCredentials,
        "authorization_code" => Grant::Code,
        "refresh_token" => Grant::RefreshToken,
        _ => {
            return Err(OAuthError::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "this grant type is not supported",
            ));
        }
    };
    let client = client_auth::present(&headers, &form)?;
    let basic = client.basic;
    // Asked before, counted after: a stranger who knows a client's id, which is public, cannot use up its allowance.
    let bucket = (environment.id, client.client_id.clone());
    let check = state.limiter.check(Scope::TokenPerClient, &bucket);
    check.map_err(|exceeded| limited(state, Scope::TokenPerClient, &exceeded))?;
    let issued = issue(state, environment, grant, client, &form, client_address, resource)
        .await
        .map_err(|error| refused(&error, basic))?;
    // This token is made; if the bucket is empty now, the next one has to wait.
    state.limiter.admit(Scope::TokenPerClient, &bucket).ok();
    Ok(issued)
}

/// The grants that this endpoint takes.
enum Grant {
    ClientCredentials,
    Code,
    RefreshToken,
}

async fn issue(
    state: &State,
    environment: &Arc<Environment>,
    grant: Grant,
    client: Presented,
    form: &Form,
    client_address: IpAddr,
    at: Option<ResourceId>,
) -> Result<IssuedToken, TokenError> {
    let text = |name| form.get(name).map(str::to_owned);
    let secret = |name| Secret::new(form.get(name).unwrap_or_default().to_owned());
    let Presented { client_id, secret: client_secret, .. } = client;
    let client_secret = client_secret.map(Secret::new);
    let core = &state.core;
    let client =
        |client_id, secret| grants::Presented { client_id, secret, address: Some(client_address), resource: at };
    match grant {
        Grant::ClientCredentials => {
            let credentials = ClientCredentials {
                client_id,
                secret: client_secret,
                scope: text("scope"),
                audience: text("audience"),
                resource: text("resource"),
                address: Some(client_address),
                at,
            };
            tokens::issue_client_credentials(core, environment, credentials).await
        }
        // Boxed: these futures are large, and the one above is asked for far more often.
        Grant::Code => {
            let exchange = CodeExchange {
                client: client(client_id, client_secret),
                code: secret("code"),
                redirect_uri: form.get("redirect_uri").unwrap_or_default().to_owned(),
                code_verifier: form.get("code_verifier").map(|verifier| Secret::new(verifier.to_owned())),
                resource: text("resource"),
            };
            Box::pin(grants::exchange(core, environment, exchange)).await
        }
        Grant::RefreshToken => {
            let refresh = Refresh {
                client: client(client_id, client_secret),
                token: secret("refresh_token"),
                scope: text("scope"),
                resource: text("resource"),
            };
            Box::pin(grants::refresh(core, environment, refresh)).await
        }
    }
}

/// The core's refusal as this endpoint shows it. Causes go to the log only.
pub(super) fn refused(error: &TokenError, basic: bool) -> OAuthError {
    if let Some(cause) = &error.cause {
        tracing::error!(?cause, "a token request failed");
    }
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    OAuthError {
        challenge: basic && status == StatusCode::UNAUTHORIZED,
        ..OAuthError::new(status, error.code.as_str(), error.description.clone())
    }
}

fn limited(state: &State, scope: Scope, exceeded: &Exceeded) -> OAuthError {
    state.metrics.rate_limited(scope);
    OAuthError::exceeded(exceeded)
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

pub(super) async fn read(body: Incoming) -> Result<Form, OAuthError> {
    let too_large =
        |_| OAuthError::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large or broke off");
    let bytes = Limited::new(body, BODY_LIMIT).collect().await.map_err(too_large)?.to_bytes();
    Form::parse(&bytes).map_err(OAuthError::invalid_request)
}

fn success(token: &IssuedToken) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        access_token: &'a str,
        token_type: &'static str,
        expires_in: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        id_token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<&'a str>,
        scope: &'a str,
    }
    let shape = Shape {
        access_token: &token.access_token,
        token_type: "Bearer",
        expires_in: token.expires_in,
        id_token: token.id_token.as_deref(),
        refresh_token: token.refresh_token.as_deref(),
        scope: &token.scope,
    };
    let mut response = reply::json(StatusCode::OK, Bytes::from(serde_json::to_vec(&shape).unwrap_or_default()));
    no_store(response.headers_mut());
    response
}
