//! From bearer tokens to a [`Caller`].

use std::sync::Arc;

use super::jwt::{self, Verified, invalid};
use super::{AccessClaims, DASHBOARD_AUDIENCE, UI_AUDIENCE};
use crate::caller::Caller;
use crate::clients::{self, ClientKind};
use crate::core::Core;
use crate::environments::{self, AuthenticationMode, Environment};
use crate::error::{Error, Kind, Result};
use crate::ids::{ConnectedAccountId, GrantId, MemberId, OrganizationId, SessionId, UserId, WorkspaceId};
use crate::sessions::{self, Session, SessionKind};
use crate::{grants, members, memberships, permissions};

/// Who sends these bearer tokens to `host_environment`, and the environment the call is for.
///
/// Python's SDK sends two tokens of which one may be stale: the first valid one counts, and callers are never merged. Only operators
/// may name another environment with `env_domain` (`x-env-domain`). Without any token: UNAUTHENTICATED "Token empty".
pub async fn authenticate(
    core: &Core,
    host_environment: &Arc<Environment>,
    bearers: &[&str],
    env_domain: Option<&str>,
) -> Result<(Caller, Arc<Environment>)> {
    let mut refusal: Option<Error> = None;
    for bearer in bearers.iter().map(|bearer| bearer.trim()).filter(|bearer| !bearer.is_empty()) {
        match authenticate_one(core, host_environment, bearer, env_domain).await {
            Ok(found) => return Ok(found),
            // A token that is valid but may not do this says more than one that is not valid; so does a database that is down.
            Err(error) if refusal.as_ref().is_none_or(|earlier| earlier.kind() == Kind::Unauthenticated) => {
                if refusal.is_none() || error.kind() != Kind::Unauthenticated {
                    refusal = Some(error);
                }
            }
            Err(_) => {}
        }
    }
    Err(refusal.unwrap_or_else(|| Error::unauthenticated("Token empty")))
}

async fn authenticate_one(
    core: &Core,
    host: &Arc<Environment>,
    token: &str,
    env_domain: Option<&str>,
) -> Result<(Caller, Arc<Environment>)> {
    let system = environments::system(core).await?;
    let environments: Vec<&Arc<Environment>> =
        std::iter::once(host).chain(system.as_ref().filter(|system| system.id != host.id)).collect();
    let verified = jwt::verify(core, &environments, token).await?;
    let claims = &verified.claims;
    if system.as_ref().is_some_and(|system| system.id == verified.environment) && claims.workspace_id.is_some() {
        return operator(core, host, &verified, env_domain).await;
    }
    // Anyone but an operator is at home in the issuing environment alone (control plane reference §1).
    if verified.environment != host.id {
        return Err(invalid());
    }
    let caller = if claims.sid.is_some() {
        session_caller(core, host, claims).await?
    } else if claims.grant_id.is_some() {
        // Of an environment without sessions, or for a resource: good for the customer's API, whatever its `sub` says.
        return Err(wrong_kind());
    } else if claims.client_id.as_deref() == Some(claims.sub.as_str()) {
        client_caller(core, host, claims).await?
    } else {
        return Err(wrong_kind());
    };
    Ok((caller, Arc::clone(host)))
}

/// A valid token that the management API has no use for. PERMISSION_DENIED, because a new token would not help.
fn wrong_kind() -> Error {
    Error::new(Kind::PermissionDenied, "this kind of token is not valid for the management API")
}

async fn client_caller(core: &Core, host: &Environment, claims: &AccessClaims) -> Result<Caller> {
    let client = clients::get(core, host.id, &claims.sub).await?.ok_or_else(invalid)?;
    if !client.enabled || !client.honours(claims.iat) {
        return Err(Error::unauthenticated("Token revoked"));
    }
    match client.kind {
        // A token that its client has asked for another API may lie with that API, which must not come here with it.
        ClientKind::Env | ClientKind::WebApp if claims.aud != [client.client_id.as_str()] => Err(wrong_kind()),
        ClientKind::Env | ClientKind::WebApp if client.may_use_api() => {
            Ok(Caller::Client { environment: host.id, client_id: client.client_id.clone() })
        }
        // From before API access was switched off: a new token will be refused at the token endpoint, so no SDK loops.
        ClientKind::WebApp => Err(Error::unauthenticated("unauthorized: API access is switched off for this client")),
        ClientKind::Organization => {
            let organization = client.organization.ok_or_else(invalid)?;
            if parse(claims.oid.as_deref(), OrganizationId::parse) != Some(organization) {
                return Err(invalid());
            }
            Ok(Caller::OrganizationClient { environment: host.id, organization, client_id: client.client_id.clone() })
        }
        ClientKind::Resource => Err(wrong_kind()),
        _ => Err(invalid()),
    }
}

/// The live session that the token names.
async fn live_session(core: &Core, environment: &Environment, claims: &AccessClaims) -> Result<Arc<Session>> {
    let id = parse(claims.sid.as_deref(), SessionId::parse).ok_or_else(invalid)?;
    let session = sessions::get(core, environment.id, id).await?.ok_or_else(invalid)?;
    if session.is_live(core.clock.now()) { Ok(session) } else { Err(Error::unauthenticated("Session ended")) }
}

async fn session_caller(core: &Core, host: &Environment, claims: &AccessClaims) -> Result<Caller> {
    let session = live_session(core, host, claims).await?;
    // What an application or a resource got is not for the pages, whatever a resource calls itself.
    let for_pages = claims.grant_id.is_none() && claims.aud == [UI_AUDIENCE];
    match session.kind {
        SessionKind::Browser => {
            check_mode(host)?;
            let user = session.user.ok_or_else(invalid)?;
            if parse(Some(&claims.sub), UserId::parse) != Some(user) {
                return Err(invalid());
            }
            if for_pages {
                return session_holder(core, host, &session).await;
            }
            application(core, host, claims).await?;
            // A user's token stays with the organization it was issued for, whatever the session has switched to.
            let organization = match &claims.oid {
                Some(oid) => Some(OrganizationId::parse(oid).ok_or_else(invalid)?),
                None => None,
            };
            let permissions = held(core, host, organization, user).await?;
            Ok(Caller::User { environment: host.id, user, organization, session: session.id, permissions })
        }
        SessionKind::Portal if for_pages => {
            let organization = session.organization.ok_or_else(invalid)?;
            if parse(claims.organization_id.as_deref(), OrganizationId::parse) != Some(organization) {
                return Err(invalid());
            }
            Ok(Caller::Portal {
                environment: host.id,
                organization,
                session: session.id,
                features: session.features.clone(),
            })
        }
        SessionKind::ConnectedAccount if for_pages => {
            let connected_account = session.connected_account.ok_or_else(invalid)?;
            if parse(claims.connected_account_id.as_deref(), ConnectedAccountId::parse) != Some(connected_account) {
                return Err(invalid());
            }
            Ok(Caller::ConnectedAccount { environment: host.id, connected_account, session: session.id })
        }
        _ => Err(invalid()),
    }
}

/// Without full-stack authentication the product manages no sessions: those from before count again when it is back.
fn check_mode(host: &Environment) -> Result<()> {
    match host.authentication_mode {
        AuthenticationMode::FullStack => Ok(()),
        AuthenticationMode::Modular => Err(Error::unauthenticated("Session ended")),
    }
}

/// Whom a session stands for that its browser's cookie names. UNAUTHENTICATED for one that no browser acts with.
pub async fn session_holder(core: &Core, host: &Environment, session: &Session) -> Result<Caller> {
    check_mode(host)?;
    match (session.kind, session.user) {
        (SessionKind::Browser, Some(user)) if session.environment == host.id => Ok(Caller::Session {
            environment: host.id,
            user,
            organization: session.organization,
            session: session.id,
            permissions: held(core, host, session.organization, user).await?,
        }),
        _ => Err(invalid()),
    }
}

/// What a user may do in an organization at this moment, in the session spelling; nothing where they are no active member.
async fn held(
    core: &Core,
    host: &Environment,
    organization: Option<OrganizationId>,
    user: UserId,
) -> Result<Vec<String>> {
    let Some(organization) = organization else { return Ok(Vec::new()) };
    let access = memberships::access(core, host.id, organization, user).await?.unwrap_or_default();
    Ok(permissions::session_keys(&access.permissions))
}

/// A user's access token counts here only if one of the environment's own applications got it, for itself: tokens for MCP servers and
/// other resources are issued to third parties.
async fn application(core: &Core, host: &Environment, claims: &AccessClaims) -> Result<()> {
    let client_id = claims.client_id.as_deref().ok_or_else(invalid)?;
    let client = clients::get(core, host.id, client_id).await?.ok_or_else(invalid)?;
    if !client.enabled {
        return Err(Error::unauthenticated("Token revoked"));
    }
    if !client.kind.is_application() || claims.aud != [client_id] {
        return Err(wrong_kind());
    }
    match parse(claims.grant_id.as_deref(), GrantId::parse) {
        Some(grant) if !grants::is_live(core, host.id, grant).await? => Err(Error::unauthenticated("Token revoked")),
        _ => Ok(()),
    }
}

async fn operator(
    core: &Core,
    host: &Arc<Environment>,
    verified: &Verified,
    env_domain: Option<&str>,
) -> Result<(Caller, Arc<Environment>)> {
    let claims = &verified.claims;
    let system = environments::by_id(core, verified.environment).await?.ok_or_else(invalid)?;
    let session = live_session(core, &system, claims).await?;
    let workspace = parse(claims.workspace_id.as_deref(), WorkspaceId::parse).ok_or_else(invalid)?;
    let id = parse(Some(&claims.sub), MemberId::parse).ok_or_else(invalid)?;
    let member = members::get(core, id).await?;
    let member = member.filter(|member| member.is_active() && member.workspace == workspace).ok_or_else(invalid)?;
    let is_theirs = match session.kind {
        SessionKind::Operator => session.member == Some(id),
        // A login at the product's own environment: its user may be a member of several workspaces.
        SessionKind::Browser => session.user.is_some() && session.user == member.user,
        SessionKind::Portal | SessionKind::ConnectedAccount => false,
    };
    if !is_theirs || claims.aud != [DASHBOARD_AUDIENCE] {
        return Err(invalid());
    }
    // An unknown domain and another workspace's look the same.
    let foreign = || Error::new(Kind::PermissionDenied, "the environment does not belong to your workspace");
    let environment = match env_domain.map(str::trim).filter(|domain| !domain.is_empty()) {
        Some(domain) => environments::by_host(core, domain).await?.ok_or_else(foreign)?,
        None => Arc::clone(host),
    };
    // Requests about the workspace itself may go to the product's own host.
    if environment.workspace_id != workspace && !environment.is_system {
        return Err(foreign());
    }
    let mut permissions = member.permissions_in(environment.id);
    if environment.workspace_id != workspace {
        // There they may see to their workspace, not into the product's own organizations and users.
        permissions.retain(|permission| members::tier(permission) == members::Tier::Workspace);
    }
    Ok((Caller::Member { workspace, member: member.id, permissions }, environment))
}

fn parse<T>(text: Option<&str>, read: fn(&str) -> Option<T>) -> Option<T> {
    text.and_then(read)
}
