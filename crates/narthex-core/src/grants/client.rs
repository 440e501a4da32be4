//! How a client proves itself where people's tokens are dealt with (RFC 6749 §2.3; oauth-oidc reference §5).

use std::net::IpAddr;
use std::sync::Arc;

use crate::clients::{self, Client, ClientKind, ClientOrigin};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{Environment, EnvironmentKind};
use crate::ids::ResourceId;
use crate::seal::Secret;
use crate::tokens::{OAuthCode, TokenError};

/// What a client shows of itself.
pub struct Presented {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`; None if absent or empty.
    pub secret: Option<Secret<String>>,
    /// Where the request came from, for clients that are bound to addresses; None only where there is no network in between.
    pub address: Option<IpAddr>,
    /// The resource whose own endpoint was asked.
    pub resource: Option<ResourceId>,
}

/// A client that has proven itself, or that need not.
pub(super) struct Proven {
    pub(super) client: Arc<Client>,
    /// Whether it has nothing but its id to show: then PKCE must tell it from others (RFC 9700 §2.1.1).
    pub(super) public: bool,
}

/// The client, by its secret or as one that has none.
pub(super) async fn authenticate(
    core: &Core,
    environment: &Environment,
    presented: &Presented,
) -> Result<Proven, TokenError> {
    if presented.client_id.is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "client_id is missing"));
    }
    let failed = || TokenError::new(OAuthCode::InvalidClient, "client authentication failed");
    let proven = if let Some(secret) = &presented.secret {
        let found = clients::authenticate(core, environment.id, &presented.client_id, secret.expose()).await?;
        Proven { client: found.ok_or_else(failed)?, public: false }
    } else {
        let found = clients::get(core, environment.id, &presented.client_id).await?;
        let found = found.filter(|client| client.enabled && may_be_public(client, environment, core.clock.now()));
        Proven { client: found.ok_or_else(failed)?, public: true }
    };
    let client = &proven.client;
    // A resource's own endpoint knows the clients of that resource alone.
    if presented.resource.is_some() && presented.resource != client.resource {
        return Err(failed());
    }
    clients::admit(client, presented.address)?;
    Ok(proven)
}

/// Whether a client may go without a secret.
fn may_be_public(client: &Client, environment: &Environment, now: Timestamp) -> bool {
    let has_secret = client.has_secret(now);
    match client.kind {
        ClientKind::Spa | ClientKind::Native => true,
        ClientKind::WebApp => !has_secret,
        // A tool that tries logins out knows the default client's id only (control plane reference 20.9).
        ClientKind::Env => environment.kind == EnvironmentKind::Dev,
        ClientKind::Resource => !has_secret && client.origin != ClientOrigin::Administrator,
        ClientKind::Organization => false,
    }
}

/// Refuses a grant that a client was not given.
pub(super) fn check_grant(client: &Client, grant: &'static str) -> Result<(), TokenError> {
    if client.grant_types.iter().any(|given| given == grant) {
        Ok(())
    } else {
        let text = format!("{grant} is not among the grant types of this client");
        Err(TokenError::new(OAuthCode::UnauthorizedClient, text))
    }
}

pub(super) fn invalid_grant(text: &'static str) -> TokenError {
    TokenError::new(OAuthCode::InvalidGrant, text)
}
