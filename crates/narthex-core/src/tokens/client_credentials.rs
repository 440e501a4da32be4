//! `grant_type=client_credentials` (RFC 6749 §4.4; oauth-oidc reference §6.2).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use narthex_db::DbError;

use super::{AccessClaims, sign_access};
use crate::clients::{self, Client, ClientKind};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Error;
use crate::ids::ResourceId;
use crate::resources::{self, Resource};
use crate::seal::Secret;

/// Scopes of OpenID Connect: tolerated here, without effect.
const OIDC_SCOPES: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];
/// What API credentials are told that they were granted.
const API_SCOPE: &str = "openid";
/// Organization clients' tokens live at least this long, in seconds.
const SHORTEST: u32 = 300;

/// A token request.
pub struct ClientCredentials {
    /// `client_id`, empty if absent.
    pub client_id: String,
    /// `client_secret`; None if absent or empty.
    pub secret: Option<Secret<String>>,
    /// `scope`, space separated.
    pub scope: Option<String>,
    /// `audience`.
    pub audience: Option<String>,
    /// `resource` (RFC 8707).
    pub resource: Option<String>,
    /// Where the request came from, for clients that are bound to addresses; None only where there is no network in between.
    pub address: Option<IpAddr>,
    /// The resource whose own endpoint was asked.
    pub at: Option<ResourceId>,
}

/// A token answer.
pub struct IssuedToken {
    /// The JWT.
    pub access_token: String,
    /// Whole seconds until it expires.
    pub expires_in: i64,
    /// Granted scopes, space separated.
    pub scope: String,
    /// Who has signed in, where somebody has.
    pub id_token: Option<String>,
    /// What gets the next tokens, where that was granted.
    pub refresh_token: Option<String>,
}

/// Tokens are shown to whoever asked for them, and to no log.
impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// `error` values of RFC 6749 §5.2 and RFC 8707.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the codes under their own names
pub enum OAuthCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    UnsupportedTokenType,
    AccessDenied,
    AddressNotAllowed,
    ServerError,
    TemporarilyUnavailable,
}

impl OAuthCode {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::AccessDenied | Self::AddressNotAllowed => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status that goes with it (oauth-oidc reference §6.6).
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::AddressNotAllowed => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// A refusal of the token endpoint. Render `code` and `description`; log `cause`.
#[derive(Debug)]
pub struct TokenError {
    /// `error`.
    pub code: OAuthCode,
    /// `error_description`.
    pub description: Cow<'static, str>,
    /// What really happened, for the log, where it was not the request's fault.
    pub cause: Option<Error>,
}

impl TokenError {
    /// A refusal that is the request's fault.
    pub fn new(code: OAuthCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into(), cause: None }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        let (code, description) = if error.kind() == crate::Kind::Unavailable {
            (OAuthCode::TemporarilyUnavailable, "temporarily unavailable, retry")
        } else {
            (OAuthCode::ServerError, "internal error")
        };
        Self { code, description: description.into(), cause: Some(error) }
    }
}

impl From<DbError> for TokenError {
    fn from(error: DbError) -> Self {
        Error::from(error).into()
    }
}

/// Issues an access token for a client's own credentials.
pub async fn issue_client_credentials(
    core: &Core,
    environment: &Arc<Environment>,
    request: ClientCredentials,
) -> Result<IssuedToken, TokenError> {
    if request.client_id.is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "client_id is missing"));
    }
    let secret = request.secret.as_ref().map_or("", |secret| secret.expose().as_str());
    let client = clients::authenticate(core, environment.id, &request.client_id, secret).await?;
    let Some(client) = client else {
        // A public client has no secret to fail with: tell it what is really wrong.
        return Err(refuse(clients::get(core, environment.id, &request.client_id).await?.as_deref()));
    };
    let client = client.as_ref();
    // A resource's own endpoint knows the clients of that resource alone.
    if request.at.is_some() && request.at != client.resource {
        return Err(refuse(None));
    }
    clients::admit(client, request.address)?;
    check_grant(client)?;
    let resource = match client.resource {
        Some(resource) => Some(resources::get(core, environment.id, resource).await?),
        None => None,
    };
    let aud = match &resource {
        Some(resource) => targets_of_resource(resource, &request)?,
        None => targets(client, &request)?,
    };
    let (granted, scope) = grant_scopes(client, request.scope.as_deref())?;
    wait_until_valid(core, client).await;
    let claims = AccessClaims {
        sub: client.client_id.clone(),
        client_id: Some(client.client_id.clone()),
        oid: client.organization.map(|organization| organization.to_string()),
        aud,
        scope: (!granted.is_empty()).then(|| granted.join(" ")),
        scopes: (!granted.is_empty()).then_some(granted),
        custom_claims: client.custom_claims.iter().map(|claim| (claim.key.clone(), claim.value.clone())).collect(),
        ..AccessClaims::default()
    };
    let (access_token, claims) =
        sign_access(core, environment, lifetime(client, resource.as_ref(), environment), claims).await?;
    let left = claims.exp.saturating_mul(1_000_000) - core.clock.real_now().0;
    Ok(IssuedToken { access_token, expires_in: left.div_euclid(1_000_000), scope, id_token: None, refresh_token: None })
}

fn refuse(known: Option<&Client>) -> TokenError {
    match known {
        Some(client) if matches!(client.kind, ClientKind::Spa | ClientKind::Native) => {
            TokenError::new(OAuthCode::UnauthorizedClient, "public clients have no credentials of their own")
        }
        _ => TokenError::new(OAuthCode::InvalidClient, "client authentication failed"),
    }
}

fn check_grant(client: &Client) -> Result<(), TokenError> {
    let refused = |text: &'static str| Err(TokenError::new(OAuthCode::UnauthorizedClient, text));
    match client.kind {
        ClientKind::Spa | ClientKind::Native => refused("public clients have no credentials of their own"),
        // Refused here for good, so that no SDK re-authenticates in a loop (control plane reference 20.3).
        ClientKind::WebApp if client.disallow_api_access => {
            refused("unauthorized: API access is switched off for this client")
        }
        // Its tokens are for its resource and for nothing else: without one there is nothing to issue.
        ClientKind::Resource if client.resource.is_none() => refused("this client belongs to no resource"),
        _ if client.grant_types.iter().any(|grant| grant == "client_credentials") => Ok(()),
        _ => refused("client_credentials is not among the grant types of this client"),
    }
}

/// `aud` of the token: what the request names, each a registered audience of the client, so that no other API takes a token that was
/// asked for one (RFC 8707 §2.2). Where it names none, API credentials get a token for the management API, which goes by the client
/// itself (oauth-oidc reference OP-2), and others one for all that is registered.
fn targets(client: &Client, request: &ClientCredentials) -> Result<Vec<String>, TokenError> {
    let is_application = client.kind.is_application();
    let is_known = |target: &String| client.audience.contains(target) || is_application && *target == client.client_id;
    let mut named: Vec<String> = Vec::new();
    for target in [&request.audience, &request.resource].into_iter().flatten() {
        if !is_known(target) {
            return Err(TokenError::new(OAuthCode::InvalidTarget, "not an audience of this client"));
        }
        if !named.contains(target) {
            named.push(target.clone());
        }
    }
    if named.is_empty() {
        return Ok(if is_application { vec![client.client_id.clone()] } else { client.audience.clone() });
    }
    Ok(named)
}

/// `aud` of a token for a resource: both of its names (mcp-auth reference §3.1). What the request names must be one of them.
fn targets_of_resource(resource: &Resource, request: &ClientCredentials) -> Result<Vec<String>, TokenError> {
    for target in [&request.audience, &request.resource].into_iter().flatten() {
        if !resource.is_named(target) {
            return Err(TokenError::new(OAuthCode::InvalidTarget, "not the resource of this client"));
        }
    }
    Ok(resource.audience())
}

/// The scopes in the token, and `scope` of the answer: all registered ones, or those of them that were asked for.
fn grant_scopes(client: &Client, requested: Option<&str>) -> Result<(Vec<String>, String), TokenError> {
    let requested: Vec<&str> = requested.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()).collect();
    let custom: Vec<&str> = requested.iter().copied().filter(|scope| !OIDC_SCOPES.contains(scope)).collect();
    let mut granted: Vec<String> = if requested.is_empty() {
        client.scopes.clone()
    } else {
        client.scopes.iter().filter(|scope| custom.contains(&scope.as_str())).cloned().collect()
    };
    if !custom.is_empty() && granted.is_empty() {
        return Err(TokenError::new(
            OAuthCode::InvalidScope,
            "none of the requested scopes is registered for this client",
        ));
    }
    if client.kind.is_application() {
        granted.insert(0, API_SCOPE.to_owned());
    }
    let scope = granted.join(" ");
    Ok((granted, scope))
}

/// Lifetime in seconds.
fn lifetime(client: &Client, resource: Option<&Resource>, environment: &Environment) -> i64 {
    let own = client.access_token_expiry;
    if let Some(resource) = resource {
        return i64::from(own.unwrap_or(resource.access_token_expiry));
    }
    if client.kind.is_application() {
        own.map_or(environment.session.client_access_token_expiry.minutes * 60, i64::from)
    } else {
        i64::from(own.unwrap_or(3_600).max(SHORTEST))
    }
}

/// `iat` has whole seconds, so a token issued in the very second in which the older ones were ended would look like one of them: wait
/// for the next.
async fn wait_until_valid(core: &Core, client: &Client) {
    let next_second = (client.tokens_valid_after.0 + 999_999).div_euclid(1_000_000) * 1_000_000;
    let wait = next_second - core.clock.real_now().0;
    if (1..=1_000_000).contains(&wait) {
        tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
    }
}
