//! Telling applications that a session has ended (OpenID Connect Back-Channel Logout 1.0; oauth-oidc reference §9.2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use narthex_db::{Tx, p};
use serde_json::{Value, json};

use super::details::{Details, load};
use crate::clients::{self, ClientKind};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{self, EnvironmentKind};
use crate::error::{Error, Result};
use crate::ids::{EnvId, SessionId};
use crate::jobs::{self, Job, NewJob};
use crate::organizations::share;
use crate::outbound::Request;
use crate::tokens;

/// Finds out who has to be told of the end of a session.
pub const ENDED: jobs::Kind = jobs::Kind {
    name: "session.ended",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(1),
    retry: jobs::DATABASE_RETRIES,
};

/// Tells one endpoint of one application.
pub const NOTIFY: jobs::Kind = jobs::Kind {
    name: "logout.notify",
    queue: jobs::Queue::Work,
    lease: Duration::from_secs(30),
    retry: &[
        Duration::from_secs(5),
        Duration::from_mins(1),
        Duration::from_mins(5),
        Duration::from_mins(30),
        Duration::from_hours(2),
    ],
};

/// Writes the job [`ENDED`] for a session that has just ended, if anybody in the environment wants to be told.
pub(super) async fn order(tx: &mut Tx, environment: EnvId, session: &Details, now: Timestamp) -> Result<()> {
    if session.clients.is_empty() {
        return Ok(());
    }
    let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND kind IN (1, 2) AND back_channel_logout_uris <> '[]' LIMIT 1";
    if tx.opt::<(String,)>(sql, &p![environment]).await?.is_none() {
        return Ok(());
    }
    // A session ends once, so its number is the job's.
    let payload = json!({});
    jobs::enqueue(tx, &NewJob { id: session.id.0, kind: &ENDED, environment, payload, run_at: now }, now).await
}

/// The job [`ENDED`]: one job for each endpoint of each application that was entered with the session, so that one that does not
/// answer holds up no other.
pub async fn ended(core: Arc<Core>, job: Job) -> Result<()> {
    let (environment, id) = (job.environment, SessionId(job.id));
    let now = core.clock.now();
    let session = load(&mut *core.db.reader().await?, environment, id).await?;
    let Some(session) = session.map(|session| session.at(now)) else { return Ok(()) };
    let entered: BTreeSet<String> = session.clients.into_iter().map(|client| client.client_id).collect();
    let mut notices = Vec::new();
    for client_id in entered {
        let Some(client) = clients::get(&core, environment, &client_id).await? else { continue };
        if matches!(client.kind, ClientKind::Env | ClientKind::WebApp) {
            for uri in &client.back_channel_logout_uris {
                let payload = json!({ "session": id.to_string(), "client": client.client_id, "uri": uri });
                notices.push(NewJob { id: core.ids.next(), kind: &NOTIFY, environment, payload, run_at: now });
            }
        }
    }
    if notices.is_empty() {
        return Ok(());
    }
    core.db
        .write_for(share(environment), async move |tx| {
            for notice in &notices {
                jobs::enqueue(tx, notice, now).await?;
            }
            Ok(())
        })
        .await
}

/// The job [`NOTIFY`]. Any 2xx is an answer; anything else is tried again.
pub async fn notify(core: Arc<Core>, job: Job) -> Result<()> {
    let text = |name: &str| job.payload.get(name).and_then(Value::as_str).unwrap_or_default();
    let session = SessionId::parse(text("session")).ok_or_else(|| Error::internal("a notice of no session"))?;
    let session = load(&mut *core.db.reader().await?, job.environment, session).await?;
    let client = clients::get(&core, job.environment, text("client")).await?;
    let environment = environments::by_id(&core, job.environment).await?;
    let (Some(session), Some(client), Some(environment)) = (session, client, environment) else { return Ok(()) };
    let uri = text("uri").to_owned();
    // An endpoint that was taken away meanwhile is told nothing.
    if !client.enabled || !client.back_channel_logout_uris.contains(&uri) {
        return Ok(());
    }
    let token = tokens::sign_logout(&core, &environment, client.oauth_id(), session.user, session.id).await?;
    let request = Request {
        for_development: environment.kind == EnvironmentKind::Dev,
        ..Request::form(uri, format!("logout_token={token}"))
    };
    match core.outbound.send(request).await {
        Ok(answer) if answer.is_success() => Ok(()),
        Ok(answer) => Err(Error::unavailable(format!("the application has answered with status {}", answer.status))),
        Err(error) => Err(Error::unavailable(error.to_string())),
    }
}
