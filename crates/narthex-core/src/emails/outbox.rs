//! Mails that follow a transaction: written sealed in it, delivered after it, and tried again while they are worth it.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::{Tx, p};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Mail, compose, failed};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{self, Environment};
use crate::error::{Error, Kind, Result};
use crate::ids::EnvId;
use crate::invitations;
use crate::jobs::{self, Job, NewJob};
use crate::mailer::Failure;
use crate::organizations::share;
use crate::seal::{self, Place, Sealed};

/// Delivers a mail. What fails for about two days, or is refused for good, is a dead letter; whoever revives it within a week has it
/// sent.
pub const DELIVER: jobs::Kind = jobs::Kind {
    name: "mail.deliver",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(1),
    retry: &[
        Duration::from_secs(10),
        Duration::from_mins(1),
        Duration::from_mins(5),
        Duration::from_mins(15),
        Duration::from_hours(1),
        Duration::from_hours(3),
        Duration::from_hours(6),
        Duration::from_hours(12),
        Duration::from_hours(24),
    ],
};

/// How long an undelivered mail is kept.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// What waits.
#[derive(Serialize, Deserialize)]
pub(crate) enum Payload {
    /// A mail as it was ordered. Names and templates are looked up when it is written.
    Mail(Mail),
    /// The secret of an invitation: where it goes and whether it still stands is known when it is sent.
    Invitation(String),
}

/// A mail, sealed for the row that it will have.
#[derive(Clone)]
pub struct Prepared {
    id: i64,
    environment: EnvId,
    payload: Sealed,
}

/// Seals a mail outside of the transaction that [`enqueue`] writes it in.
pub async fn prepare(core: &Core, environment: &Environment, mail: Mail) -> Result<Prepared> {
    seal_payload(core, environment.id, &Payload::Mail(mail)).await
}

pub(crate) async fn seal_payload(core: &Core, environment: EnvId, payload: &Payload) -> Result<Prepared> {
    let id = core.ids.next();
    let text = zeroize::Zeroizing::new(serde_json::to_vec(payload).map_err(Error::internal)?);
    Ok(Prepared { id, environment, payload: seal::seal(core, place(environment, id), &text).await? })
}

const fn place(environment: EnvId, row: i64) -> Place<'static> {
    Place { environment, table: "mail_outbox", column: "payload", row }
}

/// Writes a mail and its delivery, in the transaction that it follows.
pub async fn enqueue(tx: &mut Tx, prepared: &Prepared, now: Timestamp) -> Result<()> {
    let Prepared { id, environment, payload } = prepared;
    tx.execute(
        "INSERT INTO mail_outbox (id, environment_id, payload, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &p![id, environment, payload, now, now.plus(KEPT)],
    )
    .await?;
    let payload = json!({ "mail": id });
    let job = NewJob { id: *id, kind: &DELIVER, environment: *environment, payload, run_at: now };
    jobs::enqueue(tx, &job, now).await
}

/// The job [`DELIVER`]. A mail is sent once, unless its worker dies right after: then again, under the same `Message-ID`.
pub async fn deliver(core: Arc<Core>, job: Job) -> Result<()> {
    let id = job.payload.get("mail").and_then(Value::as_i64).ok_or_else(|| Error::internal("a delivery of no mail"))?;
    let sql = "SELECT payload FROM mail_outbox WHERE id = $1 AND environment_id = $2";
    let row: Option<(Sealed,)> = core.db.reader().await?.opt(sql, &p![id, job.environment]).await?;
    let Some((sealed,)) = row else { return Ok(()) };
    let opened = seal::open(&core, place(job.environment, id), &sealed).await?;
    let payload: Payload =
        serde_json::from_slice(opened.expose()).map_err(|_| Error::internal("a mail that is none"))?;
    let environment = environments::by_id(&core, job.environment).await?.ok_or_else(environments::not_found)?;
    let mail = match payload {
        Payload::Mail(mail) => Some(mail),
        Payload::Invitation(secret) => invitations::mail(&core, &environment, &secret).await?,
    };
    let now = core.clock.now();
    if let Some(mail) = mail.filter(|mail| mail.variables.expires_at.is_none_or(|end| end > now)) {
        let composed = compose::compose(&core, &environment, mail, Some(format!("narthex-{id}"))).await?;
        let sent = core.mailer.send(&composed.message, composed.via.as_ref()).await;
        sent.map_err(|error| match error.failure {
            Failure::Refused => {
                Error::new(Kind::InvalidArgument, error.failure.text()).with_code("MAIL_REFUSED").because(error)
            }
            _ => failed(&environment, composed.message.use_case, error),
        })?;
    } else {
        tracing::info!(mail = id, environment = %environment.id, "a mail is not sent: what it says has ended");
    }
    core.db
        .write_for(share(environment.id), async move |tx| {
            tx.execute("DELETE FROM mail_outbox WHERE id = $1", &p![id]).await?;
            Ok(())
        })
        .await
}
