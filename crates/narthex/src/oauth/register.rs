//! `POST /api/v1/resources/{resource}/clients:register`: dynamic client registration (RFC 7591; mcp-auth reference §4.1).
//!
//! gRPC calls the RPC of the same name. Over HTTP the libraries that register clients read RFC 7591's own forms, of an answer and of a
//! refusal, so this path is not served as JSON of the contract; the answer has the contract's fields as well.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use narthex_core::clients::{Client, Created, Presentation};
use narthex_core::environments::Environment;
use narthex_core::ids::ResourceId;
use narthex_core::resources::clients::{self, Registration};
use narthex_core::{Error, Kind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::OAuthError;
use super::no_store;
use crate::gate::State;
use crate::limits::{self, Scope};
use crate::reply::{self, Body};

/// The metadata of a client is a few hundred bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The resource that a path registers clients with, as it is written there. `None` for any other path.
pub fn resource(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/api/v1/resources/")?.strip_suffix("/clients:register")?;
    (!id.contains('/')).then_some(id)
}

/// What a client says of itself. What is not here is not used, and must not be refused (RFC 7591 §2).
#[derive(Debug, Deserialize)]
struct Metadata {
    client_name: Option<String>,
    description: Option<String>,
    redirect_uris: Option<Vec<String>>,
    scope: Option<String>,
    client_uri: Option<String>,
    logo_uri: Option<String>,
    tos_uri: Option<String>,
    policy_uri: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

/// Answers a registration. Never in the management API's envelope.
pub async fn serve(
    state: &State,
    environment: &Arc<Environment>,
    resource: Option<ResourceId>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    match register(state, environment, resource, request, client_address).await {
        Ok(answer) => {
            let mut response = reply::value(StatusCode::CREATED, &answer);
            no_store(response.headers_mut());
            response
        }
        Err(error) => error.response(),
    }
}

async fn register(
    state: &State,
    environment: &Arc<Environment>,
    resource: Option<ResourceId>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Result<Value, OAuthError> {
    if request.method() != Method::POST {
        let text = "the registration endpoint takes POST";
        return Err(OAuthError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", text));
    }
    // What the RPC counts against.
    let address = (environment.id, limits::address_key(client_address));
    state.limiter.admit(Scope::PublicPerIp, address).map_err(|exceeded| {
        state.metrics.rate_limited(Scope::PublicPerIp);
        OAuthError::exceeded(&exceeded)
    })?;
    state.core.ids.check().map_err(|error| refused(&error))?;
    let metadata = read(request).await?;
    let method = metadata.token_endpoint_auth_method.unwrap_or_default();
    let is_confidential = match &*method {
        // RFC 7591 would take an absent one for a secret; most clients of MCP servers cannot keep any, and say nothing.
        "" | "none" => false,
        "client_secret_basic" | "client_secret_post" => true,
        _ => {
            let text = "token_endpoint_auth_method must be none, client_secret_basic or client_secret_post";
            return Err(OAuthError::new(StatusCode::BAD_REQUEST, "invalid_client_metadata", text));
        }
    };
    let registration = Registration {
        name: metadata.client_name.unwrap_or_default(),
        description: metadata.description.unwrap_or_default(),
        redirect_uris: metadata.redirect_uris.unwrap_or_default(),
        scope: metadata.scope.unwrap_or_default(),
        presentation: Presentation {
            client_uri: metadata.client_uri.unwrap_or_default(),
            logo_uri: metadata.logo_uri.unwrap_or_default(),
            tos_uri: metadata.tos_uri.unwrap_or_default(),
            policy_uri: metadata.policy_uri.unwrap_or_default(),
        },
        is_confidential,
    };
    let made = clients::register(&state.core, environment, resource, registration).await;
    let Created { client, secret } = made.map_err(|error| refused(&error))?;
    let method = if is_confidential { &*method } else { "none" };
    let secret = secret.map(|secret| secret.expose().clone());
    Ok(answer(&client, secret.as_deref(), method))
}

async fn read(request: Request<Incoming>) -> Result<Metadata, OAuthError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if essence.is_some_and(|essence| essence != "application/json") {
        return Err(OAuthError::invalid_request("the content type must be application/json"));
    }
    let too_large =
        |_| OAuthError::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large or broke off");
    let bytes: Bytes = Limited::new(request.into_body(), BODY_LIMIT).collect().await.map_err(too_large)?.to_bytes();
    let invalid = |text: String| OAuthError::new(StatusCode::BAD_REQUEST, "invalid_client_metadata", text);
    // The position alone: what stands there may be anything.
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|error| {
        invalid(format!("the body is no client metadata: line {}, column {}", error.line(), error.column()))
    })?;
    let texts = [
        &metadata.client_name,
        &metadata.description,
        &metadata.scope,
        &metadata.client_uri,
        &metadata.logo_uri,
        &metadata.tos_uri,
        &metadata.policy_uri,
    ];
    let uris = metadata.redirect_uris.iter().flatten();
    if texts.into_iter().flatten().chain(uris).any(|text| text.contains('\0')) {
        return Err(invalid("U+0000 is not allowed".to_owned()));
    }
    Ok(metadata)
}

/// What was registered: RFC 7591 §3.2.1 and the contract's `RegisterClientResponse` together. Empty texts are left out: a client that
/// sees an empty secret would authenticate with it.
fn answer(client: &Client, secret: Option<&str>, method: &str) -> Value {
    let scope = client.scopes.join(" ");
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        let is_empty = value.as_str().is_some_and(str::is_empty);
        if !is_empty && !value.is_null() {
            all.insert(name.to_owned(), value);
        }
    };
    put("client_id", json!(client.client_id));
    put("client_id_issued_at", json!(client.created_at.seconds()));
    put("client_secret", json!(secret));
    put("client_secret_expires_at", json!(0));
    put("client_name", json!(client.name));
    put("redirect_uris", json!(client.post_login_uris));
    put("grant_types", json!(client.grant_types));
    put("response_types", json!(["code"]));
    put("token_endpoint_auth_method", json!(method));
    put("scope", json!(scope));
    put("client_uri", json!(client.presentation.client_uri));
    put("logo_uri", json!(client.presentation.logo_uri));
    put("tos_uri", json!(client.presentation.tos_uri));
    put("policy_uri", json!(client.presentation.policy_uri));
    put("name", json!(client.name));
    put("description", json!(client.description));
    put("create_time", json!(client.created_at.rfc3339()));
    put("update_time", json!(client.updated_at.rfc3339()));
    put("scopes", json!(client.scopes));
    put("audience", json!(client.audience));
    put("resource_id", json!(client.resource.map(|id| id.to_string())));
    Value::Object(all)
}

/// The core's refusal in the words of RFC 7591 §3.2.2. Causes go to the log only.
fn refused(error: &Error) -> OAuthError {
    let violations = error.field_violations();
    match error.kind() {
        Kind::InvalidArgument => {
            // The contract has the metadata in a field of its own.
            let name = |field: &str| field.strip_prefix("client.").unwrap_or(field).to_owned();
            let texts: Vec<String> =
                violations.iter().map(|broken| format!("{}: {}", name(&broken.field), broken.description)).collect();
            let is_redirect = !violations.is_empty()
                && violations.iter().all(|broken| name(&broken.field).starts_with("redirect_uris"));
            let code = if is_redirect { "invalid_redirect_uri" } else { "invalid_client_metadata" };
            let text = if texts.is_empty() { error.message().to_owned() } else { texts.join("; ") };
            OAuthError::new(StatusCode::BAD_REQUEST, code, text)
        }
        Kind::PermissionDenied => OAuthError::new(StatusCode::FORBIDDEN, "access_denied", error.message()),
        Kind::ResourceExhausted => OAuthError::rate_limited(error.retry_after_seconds().unwrap_or(60)),
        Kind::Unavailable => OAuthError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "temporarily unavailable, retry",
        ),
        _ => {
            tracing::error!(?error, "a client could not be registered");
            OAuthError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal error")
        }
    }
}
