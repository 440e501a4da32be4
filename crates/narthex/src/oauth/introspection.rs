//! `POST /oauth/introspect` (RFC 7662) and `POST /revoke` (RFC 7009); oauth-oidc reference §8.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use narthex_core::environments::Environment;
use narthex_core::grants::{self, Presented, TokenRequest};
use narthex_core::seal::Secret;
use serde_json::Value;

use super::client_auth;
use super::cors::Readers;
use super::error::OAuthError;
use super::no_store;
use super::token::{form_of, refused};
use crate::gate::State;
use crate::reply::{self, Body};

/// Says what a token is worth.
pub async fn introspect(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    let asked = async {
        let (request, basic) = read(state, environment, request, client_address).await?;
        grants::introspect(&state.core, environment, request).await.map_err(|error| refused(&error, basic))
    };
    match asked.await {
        Ok(answer) => {
            let mut response = reply::value(StatusCode::OK, &Value::Object(answer));
            no_store(response.headers_mut());
            response
        }
        Err(error) => error.response(),
    }
}

/// Makes a token worth nothing.
pub async fn revoke(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Response<Body> {
    let readers = Readers::of(&state.core, environment, request.headers()).await;
    if request.method() == Method::OPTIONS {
        return readers.preflight("POST");
    }
    let asked = async {
        let (request, basic) = read(state, environment, request, client_address).await?;
        grants::revoke(&state.core, environment, request).await.map_err(|error| refused(&error, basic))
    };
    readers.admit(match asked.await {
        Ok(()) => {
            let mut response = reply::empty(StatusCode::OK);
            no_store(response.headers_mut());
            response
        }
        Err(error) => error.response(),
    })
}

/// The token, whoever asks about it, and whether they used Basic.
async fn read(
    state: &State,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
    client_address: IpAddr,
) -> Result<(TokenRequest, bool), OAuthError> {
    let (headers, form) = form_of(state, environment, request, client_address).await?;
    let client = client_auth::present(&headers, &form)?;
    let basic = client.basic;
    // `token_type_hint` is one: which kind a token is, it shows itself.
    let request = TokenRequest {
        client: Presented {
            client_id: client.client_id,
            secret: client.secret.map(Secret::new),
            address: Some(client_address),
            resource: None,
        },
        token: Secret::new(form.get("token").unwrap_or_default().to_owned()),
    };
    Ok((request, basic))
}
