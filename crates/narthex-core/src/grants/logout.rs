//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0; oauth-oidc reference §9.1): the session ends, and the browser goes where
//! the application has said beforehand.

use std::sync::Arc;

use narthex_db::p;

use crate::clients::redirects::{AnyPort, is_registered};
use crate::clients::{self, Client, ClientKind};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::events::Actor;
use crate::ids::EnvId;
use crate::login::placeholder;
use crate::organizations;
use crate::sessions::{self, Session};
use crate::{tokens, uri};

/// What a browser brings to the logout endpoint.
#[derive(Default)]
pub struct Logout {
    /// The live session of its cookie.
    pub session: Option<Arc<Session>>,
    /// `id_token_hint`; one that is none is as good as no hint.
    pub id_token_hint: Option<String>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `post_logout_redirect_uri`.
    pub redirect_uri: Option<String>,
    /// `state`.
    pub state: Option<String>,
}

/// Where a logout ends.
#[derive(Debug, PartialEq, Eq)]
pub enum LoggedOut {
    /// At the application.
    At(String),
    /// At a page of ours; where the application begins a login, if it says so.
    Here(Option<String>),
    /// The session is over, but the browser may not go on.
    Astray(&'static str, &'static str),
}

/// Ends the session of the browser, whatever else is wrong with the request: who wants to leave is not kept.
pub async fn log_out(core: &Core, environment: &Arc<Environment>, request: Logout) -> Result<LoggedOut> {
    let hint = match &request.id_token_hint {
        Some(token) => tokens::id_token_hint(core, environment, token).await?,
        None => None,
    };
    // Before the session ends: it says which organization fills the placeholders of an address.
    let (client, answer) = match named_client(core, environment.id, &request, hint.as_ref()).await? {
        Some(client) => {
            let is_asked = request.session.is_some() || hint.is_some();
            let answer = target(core, environment, &client, &request, is_asked).await?;
            (Some(client), answer)
        }
        None => (None, LoggedOut::Astray("invalid_client", "unable to retrieve client by id")),
    };
    if let Some(session) = &request.session {
        let by = session.user.map_or(Actor::SYSTEM, Actor::user);
        sessions::log_out(core, environment.id, &by, session.id).await?;
    }
    tracing::debug!(client = client.map(|client| client.client_id.clone()), "logged out");
    Ok(answer)
}

/// The application that the request is of: as the hint says, as it says itself, or the default one. None if there is none, or two.
async fn named_client(
    core: &Core,
    environment: EnvId,
    request: &Logout,
    hint: Option<&tokens::IdTokenHint>,
) -> Result<Option<Arc<Client>>> {
    let hinted = hint.map(|hint| hint.azp.as_str());
    let named = match (hinted, request.client_id.as_deref()) {
        (Some(hinted), Some(named)) if hinted != named => return Ok(None),
        (Some(client_id), _) | (None, Some(client_id)) => client_id.to_owned(),
        (None, None) => {
            let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND is_default = 1";
            match core.db.reader().await?.opt::<(String,)>(sql, &p![environment]).await? {
                Some((client_id,)) => client_id,
                None => return Ok(None),
            }
        }
    };
    Ok(clients::get(core, environment, &named).await?.filter(|client| client.enabled))
}

async fn target(
    core: &Core,
    environment: &Environment,
    client: &Client,
    request: &Logout,
    is_asked: bool,
) -> Result<LoggedOut> {
    let here = || {
        LoggedOut::Here(Some(client.initiate_login_uri.clone()).filter(|uri| !uri.is_empty() && !uri.contains("{{")))
    };
    let Some(uri) = request.redirect_uri.as_deref().filter(|_| is_asked) else { return Ok(here()) };
    let organization = match request.session.as_ref().and_then(|session| session.organization) {
        Some(id) => {
            let mut reader = core.db.reader().await?;
            organizations::load(&mut reader, environment.id, &organizations::Identity::Id(id)).await?
        }
        None => None,
    };
    let value_of = |name: &str| organization.as_ref().and_then(|organization| placeholder(organization, name));
    let any_port = if client.kind == ClientKind::Native { AnyPort::LoopbackAddresses } else { AnyPort::Never };
    if !is_registered(&client.post_logout_redirect_uris, uri, any_port, &value_of) {
        return Ok(LoggedOut::Astray("invalid_redirect_uri", "the post_logout_redirect_uri is not registered"));
    }
    Ok(LoggedOut::At(match &request.state {
        Some(state) => {
            let mut location = format!("{uri}{}state=", if uri.contains('?') { '&' } else { '?' });
            location.push_str(&uri::encode(state));
            location
        }
        None => uri.to_owned(),
    }))
}
