//! Events: immutable records written in the same transaction as the change that they tell of, and consumed through jobs.

pub mod audit;
mod catalogue;
mod envelope;
pub mod json;
mod redaction;

use std::borrow::Cow;
use std::time::Duration;

use narthex_db::{Tx, p};

pub use catalogue::*;
pub(crate) use redaction::redact;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, EventId, OrganizationId};
use crate::jobs;

/// How long an event is kept (events reference §8: default 90 days).
pub const RETENTION: Duration = Duration::from_hours(90 * 24);

/// The job kinds that consume every event. One row each is inserted with the event; nobody reads the table of events by cursor,
/// because ids exist before their commit and a cursor would lose the late ones.
const CONSUMERS: &[jobs::Kind] = &[audit::SEAL];

/// An event about to be written.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Made outside the transaction.
    pub id: EventId,
    /// Environment it belongs to.
    pub environment: EnvId,
    /// Organization it belongs to, if any; equal to the one in `data`.
    pub organization: Option<OrganizationId>,
    /// Type.
    pub kind: EventKind,
    /// When the change happened, on the clock of stored times.
    pub occurred_at: Timestamp,
    /// Who caused it; for the audit log, never on the wire of webhooks.
    pub actor: Actor,
    /// `data` of the envelope (events reference §4).
    pub data: serde_json::Value,
}

/// Who caused an event: kind and id, e.g. `client:skc_1234`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Cow<'static, str>);

impl Actor {
    /// The program itself: sweeps, seeds, expiry.
    pub const SYSTEM: Self = Self(Cow::Borrowed("system"));

    /// One that was written down.
    pub(crate) fn written(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }

    /// A user, by what they do on the pages.
    pub fn user(user: crate::ids::UserId) -> Self {
        Self(Cow::Owned(format!("user:{user}")))
    }

    /// Kind and id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        let text = match caller {
            Caller::Anonymous => return Self(Cow::Borrowed("anonymous")),
            Caller::Client { client_id, .. } | Caller::OrganizationClient { client_id, .. } => {
                format!("client:{client_id}")
            }
            Caller::User { user, .. } | Caller::Session { user, .. } => format!("user:{user}"),
            Caller::Portal { session, .. } => format!("portal:{session}"),
            Caller::Member { member, .. } => format!("member:{member}"),
            Caller::ConnectedAccount { connected_account, .. } => format!("connected_account:{connected_account}"),
        };
        Self(Cow::Owned(text))
    }
}

/// Writes the event and one job row for each consumer, in the transaction of the change itself.
pub async fn append(tx: &mut Tx, event: NewEvent) -> Result<()> {
    let body = envelope::write(&event);
    tx.execute(
        "INSERT INTO events (id, environment_id, organization_id, type, actor, occurred_at, expires_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &p![
            event.id,
            event.environment,
            event.organization,
            event.kind.name,
            event.actor.as_str(),
            event.occurred_at.0,
            event.occurred_at.plus(RETENTION).0,
            body
        ],
    )
    .await?;
    for kind in CONSUMERS {
        jobs::enqueue_for_event(tx, kind, event.environment, event.id, event.occurred_at).await?;
    }
    Ok(())
}

/// An event as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Id.
    pub id: EventId,
    /// Environment.
    pub environment: EnvId,
    /// Type.
    pub kind: String,
    /// Who caused it.
    pub actor: String,
    /// The envelope, exactly the bytes that a webhook sends.
    pub body: String,
}

impl narthex_db::FromRow for StoredEvent {
    fn from_row(row: &narthex_db::Row<'_>) -> Result<Self, narthex_db::DbError> {
        Ok(Self { id: row.get(0)?, environment: row.get(1)?, kind: row.get(2)?, actor: row.get(3)?, body: row.get(4)? })
    }
}

/// The newest events of all environments, newest first, at most `limit`: for `narthex dev` and for tests.
pub async fn newest(tx: &mut Tx, limit: u32) -> Result<Vec<StoredEvent>> {
    let rows = tx
        .all("SELECT id, environment_id, type, actor, body FROM events ORDER BY id DESC LIMIT $1", &p![limit])
        .await?;
    Ok(rows)
}
