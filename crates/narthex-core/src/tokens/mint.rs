//! Tokens for sessions: what the hosted pages, the portal and operators call the API with. `narthex admin token` and tests use them too.

use std::sync::Arc;
use std::time::Duration;

use super::{AccessClaims, DASHBOARD_AUDIENCE, UI_AUDIENCE, sign_access};
use crate::core::Core;
use crate::environments::{self, Environment};
use crate::error::{Error, Result};
use crate::members::Member;
use crate::sessions::{self, NewSession, Session, SessionKind};

/// A token and when it ends.
#[derive(Debug)]
pub struct MintedToken {
    /// The JWT.
    pub access_token: String,
    /// Seconds until it expires.
    pub expires_in: i64,
}

/// Opens an operator's session for `lifetime` and signs a token for it, issued by the product's own environment.
pub async fn mint_member(core: &Core, member: &Member, lifetime: Duration) -> Result<MintedToken> {
    let system = environments::system(core).await?.ok_or_else(|| Error::internal("no environment is seeded yet"))?;
    let session = sessions::open(core, system.id, NewSession::operator(member.id, lifetime)).await?;
    mint(core, &system, lifetime, of_member(member, &session)).await
}

/// Signs a token for an operator who is signed in to the product's own environment: it is good as long as that session is, and lives no
/// longer than `lifetime`.
pub async fn mint_operator(
    core: &Core,
    system: &Arc<Environment>,
    session: &Session,
    member: &Member,
    lifetime: Duration,
) -> Result<MintedToken> {
    let is_theirs = session.kind == SessionKind::Browser && session.user.is_some() && session.user == member.user;
    if !system.is_system || session.environment != system.id || !is_theirs {
        return Err(Error::internal("not a session of this operator"));
    }
    mint(core, system, lifetime, of_member(member, session)).await
}

fn of_member(member: &Member, session: &Session) -> AccessClaims {
    AccessClaims {
        sub: member.id.to_string(),
        aud: vec![DASHBOARD_AUDIENCE.to_owned()],
        sid: Some(session.id.to_string()),
        workspace_id: Some(member.workspace.to_string()),
        ..AccessClaims::default()
    }
}

/// Signs a token for the pages of a browser, portal or connected-account session; it lives no longer than `lifetime`.
pub async fn mint_session(
    core: &Core,
    environment: &Arc<Environment>,
    session: &Session,
    lifetime: Duration,
) -> Result<MintedToken> {
    let mut claims = AccessClaims {
        sub: session.id.to_string(),
        aud: vec![UI_AUDIENCE.to_owned()],
        sid: Some(session.id.to_string()),
        organization_id: session.organization.map(|organization| organization.to_string()),
        connected_account_id: session.connected_account.map(|account| account.to_string()),
        ..AccessClaims::default()
    };
    if let Some(user) = session.user {
        claims.sub = user.to_string();
        claims.user_id = Some(user.to_string());
    }
    if session.environment != environment.id || session.kind == SessionKind::Operator {
        return Err(Error::internal("session of another environment or of an operator"));
    }
    mint(core, environment, lifetime, claims).await
}

/// Signs a user's access token as an application gets it (oauth-oidc reference §11.3), without roles and custom claims.
pub async fn mint_user(
    core: &Core,
    environment: &Arc<Environment>,
    session: &Session,
    client_id: &str,
    lifetime: Duration,
) -> Result<MintedToken> {
    let user = session.user.filter(|_| session.environment == environment.id);
    let user = user.ok_or_else(|| Error::internal("not a user's session of this environment"))?;
    let claims = AccessClaims {
        sub: user.to_string(),
        aud: vec![client_id.to_owned()],
        client_id: Some(client_id.to_owned()),
        sid: Some(session.id.to_string()),
        oid: session.organization.map(|organization| organization.to_string()),
        ..AccessClaims::default()
    };
    mint(core, environment, lifetime, claims).await
}

async fn mint(
    core: &Core,
    environment: &Arc<Environment>,
    lifetime: Duration,
    claims: AccessClaims,
) -> Result<MintedToken> {
    let expires_in = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2_000_000);
    let (access_token, _) = sign_access(core, environment, expires_in, claims).await?;
    Ok(MintedToken { access_token, expires_in })
}
