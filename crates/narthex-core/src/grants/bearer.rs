//! What a user's access token is worth where it is shown to this server itself: at the UserInfo endpoint (OpenID Connect Core §5.3;
//! oauth-oidc reference §8).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::person::{self, Person};
use super::store::{self, Grant};
use super::{Subject, is_live};
use crate::clients;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Kind, Result};
use crate::ids::GrantId;
use crate::sessions;
use crate::tokens::{self, AccessClaims};

/// Why a bearer learns nothing (RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerRefusal {
    /// No token that counts.
    InvalidToken,
    /// One that is not for this.
    InsufficientScope,
}

/// A user's token that counts now.
pub(super) struct Known {
    pub(super) grant: Grant,
    pub(super) person: Person,
}

impl Known {
    /// Address of the person.
    pub(super) fn email(&self) -> &str {
        match (&self.person, &self.grant.authorization.subject) {
            (Person::User { user, .. }, _) => &user.email,
            (Person::Guest, Subject::Connection { email, .. }) => email,
            (Person::Guest, Subject::User { .. }) => "",
        }
    }
}

/// The grant and the person behind a token's claims, if client, session, grant and membership still stand.
pub(super) async fn known(core: &Core, environment: &Environment, claims: &AccessClaims) -> Result<Option<Known>> {
    let Some(id) = claims.grant_id.as_deref().and_then(GrantId::parse) else { return Ok(None) };
    if !is_live(core, environment.id, id).await? {
        return Ok(None);
    }
    let grant = store::load(&mut *core.db.reader().await?, environment.id, id).await?;
    // What a token says of its user and session is what its grant says, or it is none of ours.
    let agrees = |grant: &Grant| match &grant.authorization.subject {
        Subject::User { user, session, .. } => {
            claims.sub == user.to_string() && claims.sid.as_ref().is_none_or(|sid| *sid == session.to_string())
        }
        Subject::Connection { sub, .. } => claims.sub == *sub,
    };
    let Some(grant) = grant.filter(|grant| grant.revoked_at.is_none() && agrees(grant)) else { return Ok(None) };
    let client = clients::get(core, environment.id, &grant.client_id).await?;
    if !client.is_some_and(|client| client.enabled && client.created_at <= grant.created_at) {
        return Ok(None);
    }
    if let Subject::User { user, session, .. } = &grant.authorization.subject {
        let session = sessions::get(core, environment.id, *session).await?;
        let now = core.clock.now();
        if !session.is_some_and(|session| session.user == Some(*user) && session.is_live(now)) {
            return Ok(None);
        }
    }
    let person = person::load(core, environment.id, &grant.authorization.subject).await?;
    Ok(person.map(|person| Known { grant, person }))
}

/// What the first valid one of these tokens lets its bearer know of the user.
pub async fn user_info(
    core: &Core,
    environment: &Arc<Environment>,
    bearers: &[&str],
) -> Result<Result<Map<String, Value>, BearerRefusal>> {
    let mut refusal = BearerRefusal::InvalidToken;
    for bearer in bearers.iter().map(|bearer| bearer.trim()).filter(|bearer| !bearer.is_empty()) {
        let verified = match tokens::verify(core, environment, bearer).await {
            Ok(verified) => verified,
            Err(error) if error.kind() == Kind::Unauthenticated => continue,
            Err(error) => return Err(error),
        };
        let claims = verified.claims();
        let scopes = claims.scopes.clone().unwrap_or_default();
        // A machine's token, a page's, or one without `openid`: good, but for something else.
        if claims.grant_id.is_none() || !scopes.iter().any(|scope| scope == "openid") {
            refusal = BearerRefusal::InsufficientScope;
            continue;
        }
        let Some(known) = known(core, environment, claims).await? else { continue };
        let mut said = person::claims(&known.person, &known.grant.authorization.subject, &scopes, false);
        said.insert("sub".to_owned(), claims.sub.clone().into());
        // A number here, as the specification has it; the text in ID tokens is for the types of SDKs.
        if let (Person::User { user, .. }, Some(updated_at)) = (&known.person, said.get_mut("updated_at")) {
            *updated_at = user.updated_at.seconds().into();
        }
        return Ok(Ok(said));
    }
    Ok(Err(refusal))
}
