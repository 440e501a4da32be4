//! Token introspection (RFC 7662) and revocation (RFC 7009); oauth-oidc reference §8.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bearer;
use super::client::{self, Presented, Proven, invalid_grant};
use super::person;
use super::refresh::{Place, counts, place};
use super::store::{self, Grant};
use super::token::Shown;
use super::{Authorization, Subject};
use crate::clients::{self, Client, ClientKind};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::GrantId;
use crate::organizations::share;
use crate::seal::Secret;
use crate::sessions;
use crate::tokens::{self, AccessClaims, OAuthCode, TokenError};

/// A question about a token, or the wish that it be worth nothing.
pub struct TokenRequest {
    /// Who asks.
    pub client: Presented,
    /// `token`.
    pub token: Secret<String>,
}

/// A client with a secret; a public one proves nothing by its id.
async fn confidential(
    core: &Core,
    environment: &Environment,
    request: &TokenRequest,
) -> Result<Arc<Client>, TokenError> {
    let Proven { client, public } = client::authenticate(core, environment, &request.client).await?;
    if public {
        return Err(TokenError::new(OAuthCode::InvalidClient, "public clients may not do this"));
    }
    if request.token.expose().is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "token is missing"));
    }
    Ok(client)
}

/// What a token is worth at this moment: its claims with `active`, or that alone, which says nothing about why.
pub async fn introspect(
    core: &Core,
    environment: &Arc<Environment>,
    request: TokenRequest,
) -> Result<Map<String, Value>, TokenError> {
    let client = confidential(core, environment, &request).await?;
    let token = request.token.expose();
    let found = match Shown::parse(token) {
        Some(shown) => of_refresh_token(core, environment, &client, &shown).await?,
        None => of_access_token(core, environment, &client, token).await?,
    };
    let mut answer = found.unwrap_or_default();
    let is_active = !answer.is_empty();
    answer.insert("active".to_owned(), is_active.into());
    Ok(answer)
}

async fn of_access_token(
    core: &Core,
    environment: &Arc<Environment>,
    client: &Client,
    token: &str,
) -> Result<Option<Map<String, Value>>> {
    let verified = match tokens::verify(core, environment, token).await {
        Ok(verified) => verified,
        Err(error) if error.kind() == Kind::Unauthenticated => return Ok(None),
        Err(error) => return Err(error),
    };
    let claims = verified.claims();
    if !may_see(client, claims.client_id.as_deref(), &claims.aud) {
        return Ok(None);
    }
    let mut answer = Map::new();
    if claims.grant_id.is_some() {
        let Some(known) = bearer::known(core, environment, claims).await? else { return Ok(None) };
        if !known.email().is_empty() {
            answer.insert("username".to_owned(), known.email().into());
        }
    } else if !is_machine(core, environment, claims).await? {
        return Ok(None);
    }
    for (name, value) in [
        ("scope", claims.scope.clone().map(Value::from)),
        ("client_id", claims.client_id.clone().map(Value::from)),
        ("sub", Some(claims.sub.clone().into())),
        ("aud", Some(claims.aud.clone().into())),
        ("iss", Some(claims.iss.clone().into())),
        ("jti", Some(claims.jti.clone().into())),
        ("exp", Some(claims.exp.into())),
        ("iat", Some(claims.iat.into())),
        ("nbf", Some(claims.nbf.into())),
        ("token_type", Some("Bearer".into())),
    ] {
        if let Some(value) = value {
            answer.insert(name.to_owned(), value);
        }
    }
    Ok(Some(answer))
}

/// Whether the token is a machine's whose client still honours it.
async fn is_machine(core: &Core, environment: &Environment, claims: &AccessClaims) -> Result<bool> {
    if claims.sid.is_some() || claims.client_id.as_deref() != Some(claims.sub.as_str()) {
        return Ok(false);
    }
    let client = clients::get(core, environment.id, &claims.sub).await?;
    Ok(client.is_some_and(|client| client.enabled && client.honours(claims.iat)))
}

/// Whether a client may learn about a token: one that it got, or that it is shown as whoever the token is for. An environment's API
/// credentials may read all there is anyway.
fn may_see(client: &Client, issued_to: Option<&str>, audience: &[String]) -> bool {
    let is_own = issued_to == Some(client.oauth_id());
    let is_shown = match client.kind {
        ClientKind::Env | ClientKind::WebApp => client.may_use_api() || audience.contains(&client.client_id),
        ClientKind::Resource => client.resource.is_some_and(|resource| audience.contains(&resource.to_string())),
        ClientKind::Organization => client.audience.iter().any(|own| audience.contains(own)),
        ClientKind::Spa | ClientKind::Native => false,
    };
    is_own || is_shown
}

/// A refresh token is nobody's business but its client's. To ask about one is no use of it.
async fn of_refresh_token(
    core: &Core,
    environment: &Arc<Environment>,
    client: &Client,
    shown: &Shown,
) -> Result<Option<Map<String, Value>>> {
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let grant = store::by_family(&mut reader, environment.id, &shown.family_hash()).await?;
    let stands = |grant: &Grant| {
        grant.client_id == client.client_id
            && counts(grant, client, now)
            && place(grant, shown.hash(), now) == Place::Current
    };
    let Some(grant) = grant.filter(stands) else { return Ok(None) };
    let Authorization { subject, scopes, .. } = &grant.authorization;
    if let Some(session) = subject.session()
        && sessions::live(&mut reader, environment.id, session, now).await?.is_none()
    {
        return Ok(None);
    }
    if !person::stands(&mut reader, environment.id, subject).await? {
        return Ok(None);
    }
    let sub = match subject {
        Subject::User { user, .. } => user.to_string(),
        Subject::Connection { sub, .. } => sub.clone(),
    };
    // Stored times follow the movable clock, and answers the real one.
    let ahead = i64::try_from(core.clock.offset().as_micros()).unwrap_or(0);
    let real = |time: crate::Timestamp| crate::Timestamp(time.0 - ahead).seconds();
    let answer = json!({
        "scope": scopes.join(" "),
        "client_id": client.oauth_id(),
        "sub": sub,
        "iss": environment.origin,
        "iat": real(grant.rotated_at.unwrap_or(grant.created_at)),
        "exp": grant.refresh_expires_at.map(real),
    });
    let Value::Object(answer) = answer else { return Err(Error::internal("no object")) };
    Ok(Some(answer))
}

/// Makes a token worth nothing, with all that came of the same login of its client. One that is unknown, or worth nothing already, is
/// no error.
pub async fn revoke(core: &Core, environment: &Arc<Environment>, request: TokenRequest) -> Result<(), TokenError> {
    let client = confidential(core, environment, &request).await?;
    let token = request.token.expose();
    if let Some(shown) = Shown::parse(token) {
        let grant = store::by_family(&mut *core.db.reader().await?, environment.id, &shown.family_hash()).await?;
        return match grant {
            Some(grant) => end(core, environment, &client, grant.id, &grant.client_id).await,
            None => Ok(()),
        };
    }
    let verified = match tokens::verify(core, environment, token).await {
        Ok(verified) => verified,
        Err(error) if error.kind() == Kind::Unauthenticated => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(grant) = verified.claims().grant_id.as_deref().and_then(GrantId::parse) else {
        let text = "tokens of machines and pages are not revoked one by one";
        return Err(TokenError::new(OAuthCode::UnsupportedTokenType, text));
    };
    let grant = store::load(&mut *core.db.reader().await?, environment.id, grant).await?;
    match grant {
        Some(grant) => end(core, environment, &client, grant.id, &grant.client_id).await,
        None => Ok(()),
    }
}

/// Ends a grant of the client's. Another client's stays: whoever has stolen a token must not sign its owner out (RFC 7009 §2.1).
async fn end(
    core: &Core,
    environment: &Environment,
    client: &Client,
    grant: GrantId,
    owner: &str,
) -> Result<(), TokenError> {
    if client.client_id != owner {
        return Err(invalid_grant("the token was issued to another client"));
    }
    let now = core.clock.now();
    let bump = core.db.write_for(share(environment.id), async move |tx| store::revoke(tx, grant, now).await).await?;
    core.caches.apply(bump);
    Ok(())
}
