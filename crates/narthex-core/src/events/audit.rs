//! The audit chain: each event's digest is hashed together with the hash before it, so that a row changed or removed later breaks
//! every link after it. Sealed after commit by one node at a time, in the order in which it finds the events; `verify` reads it back.
//!
//! What it does not show: whoever can write to the database can also compute a whole new chain. Someone who must be told from that
//! keeps a copy of the newest hash elsewhere.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use narthex_db::{Db, DbError, FromRow, Row, Tx, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, EventId};
use crate::jobs::{self, leases};

/// The job that stands for an event until it is sealed.
pub(crate) const SEAL: jobs::Kind =
    jobs::Kind { name: "audit", queue: jobs::Queue::Audit, lease: Duration::from_secs(30), retry: &[] };

/// Events sealed by one transaction: each touches two rows.
const BATCH: i64 = 200;
/// Events that one statement of it seals: PostgreSQL's time is mostly the way there and back.
const GROUP: usize = 25;
/// Events that verification reads at once.
const WINDOW: i64 = 500;
/// What the first hash of a chain is computed from.
const GENESIS: [u8; 32] = [0; 32];

type Hash = [u8; 32];

/// An event with everything that the chain vouches for.
struct Sealable {
    id: i64,
    digest: Hash,
    expires_at: i64,
}

/// The columns that the digest covers, in its order, after those of the table that vouches for the event.
macro_rules! with_event {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            ", e.environment_id, e.organization_id, e.type, e.actor, e.occurred_at, e.expires_at, e.body ",
            $rest
        )
    };
}

type Covered = (i64, Option<i64>, String, String, i64, i64, String);

/// The covered columns from `first` on; None if the join found no event.
fn covered(row: &Row<'_>, first: usize) -> Result<Option<Covered>, DbError> {
    let Some(environment) = row.get(first)? else { return Ok(None) };
    Ok(Some((
        environment,
        row.get(first + 1)?,
        row.get(first + 2)?,
        row.get(first + 3)?,
        row.get(first + 4)?,
        row.get(first + 5)?,
        row.get(first + 6)?,
    )))
}

/// A job of the chain with its event.
struct Waiting {
    id: i64,
    event: Option<Covered>,
}

impl FromRow for Waiting {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.get(0)?, event: covered(row, 1)? })
    }
}

/// A link of the chain with its event as it is now.
struct Link {
    seq: i64,
    event: i64,
    digest: Hash,
    hash: Hash,
    row: Option<Covered>,
}

impl FromRow for Link {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let (seq, event, digest, hash) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Self { seq, event, digest, hash, row: covered(row, 4)? })
    }
}

fn digest(id: i64, (environment, organization, kind, actor, occurred_at, expires_at, body): &Covered) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"narthex event 1");
    for number in [id, *environment, organization.unwrap_or(0), *occurred_at, *expires_at] {
        context.update(&number.to_be_bytes());
    }
    for text in [kind, actor, body] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    finish(context)
}

/// The digest of an event as it is now.
pub(super) async fn digest_of(tx: &mut Tx, event: EventId) -> Result<Option<[u8; 32]>> {
    let found: Option<Waiting> = tx.opt(with_event!("e.id", "FROM events e WHERE e.id = $1"), &p![event]).await?;
    Ok(found.and_then(|found| Some(digest(found.id, &found.event?))))
}

/// Whether an event differs from what was sealed because personal data was taken out of it, and in no other way since.
async fn is_redaction(tx: &mut Tx, event: EventId, now: &Hash) -> Result<bool> {
    let sql = "SELECT digest FROM event_redactions WHERE event_id = $1";
    Ok(tx.opt::<(Hash,)>(sql, &p![event]).await?.is_some_and(|(digest,)| digest == *now))
}

fn link(previous: &Hash, seq: i64, event: i64, digest: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"narthex audit 1");
    context.update(previous);
    context.update(&seq.to_be_bytes());
    context.update(&event.to_be_bytes());
    context.update(digest);
    finish(context)
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Seals up to 200 events of the next environment that has any, if no other node is at it. How many.
pub(crate) async fn seal_due(core: &Core, holder: i64, cursor: &mut EnvId) -> Result<usize> {
    let now = core.clock.now();
    let after = *cursor;
    let mut reader = core.db.reader().await?;
    let waiting = "SELECT environment_id FROM jobs WHERE queue = $1 AND state = 0 AND environment_id > $2 \
                   ORDER BY environment_id LIMIT 1";
    let mut next: Option<(EnvId,)> = reader.opt(waiting, &p![jobs::Queue::Audit as i64, after]).await?;
    if next.is_none() && after.0 != i64::MIN {
        next = reader.opt(waiting, &p![jobs::Queue::Audit as i64, i64::MIN]).await?;
    }
    drop(reader);
    let Some((environment,)) = next else { return Ok(0) };
    *cursor = environment;
    // Hashing happens between a read and a write, not inside the transaction; the write goes through only if the chain still ends
    // where the read saw it end.
    let (head, events, missing) = core.db.read(async move |tx| waiting_events(tx, environment).await).await?;
    let (mut seq, mut hash) = head.unwrap_or((0, GENESIS));
    let links: Vec<(i64, Sealable, Hash)> = events
        .into_iter()
        .map(|event| {
            seq += 1;
            hash = link(&hash, seq, event.id, &event.digest);
            (seq, event, hash)
        })
        .collect();
    core.db
        .write(async move |tx| {
            if !leases::hold(tx, SEAL.name, holder, now, SEAL.lease).await? {
                return Ok(0);
            }
            append(tx, environment, head, &links, &missing).await
        })
        .await
}

/// The end of the chain, the events that wait for it, and those whose row is gone.
async fn waiting_events(tx: &mut Tx, environment: EnvId) -> Result<(Option<(i64, Hash)>, Vec<Sealable>, Vec<i64>)> {
    let head = tx.opt("SELECT seq, hash FROM audit_heads WHERE environment_id = $1", &p![environment]).await?;
    let waiting: Vec<Waiting> = tx
        .all(
            with_event!(
                "j.id",
                "FROM jobs j LEFT JOIN events e ON e.id = j.id \
                 WHERE j.queue = $1 AND j.state = 0 AND j.environment_id = $2 ORDER BY j.run_at LIMIT $3"
            ),
            &p![jobs::Queue::Audit as i64, environment, BATCH],
        )
        .await?;
    let (mut events, mut missing) = (Vec::with_capacity(waiting.len()), Vec::new());
    for Waiting { id, event } in waiting {
        match event {
            Some(row) => events.push(Sealable { id, digest: digest(id, &row), expires_at: row.5 }),
            None => missing.push(id),
        }
    }
    Ok((head, events, missing))
}

async fn append(
    tx: &mut Tx,
    environment: EnvId,
    head: Option<(i64, Hash)>,
    links: &[(i64, Sealable, Hash)],
    missing: &[i64],
) -> Result<usize> {
    for id in missing {
        // An event that vanished before it was sealed stays visible as a dead job.
        tx.execute(
            "UPDATE jobs SET state = 2, last_error = 'its event is missing' WHERE id = $1 AND kind = $2 AND state = 0",
            &p![id, SEAL.name],
        )
        .await?;
    }
    let Some((seq, _, hash)) = links.last() else { return Ok(missing.len()) };
    let moved = match head {
        Some((from, _)) => {
            tx.execute(
                "UPDATE audit_heads SET seq = $3, hash = $4 WHERE environment_id = $1 AND seq = $2",
                &p![environment, from, seq, hash],
            )
            .await?
        }
        None => {
            tx.execute(
                "INSERT INTO audit_heads (environment_id, seq, hash, base_seq, base_hash) VALUES ($1, $2, $3, 0, $4) \
                 ON CONFLICT (environment_id) DO NOTHING",
                &p![environment, seq, hash, GENESIS],
            )
            .await?
        }
    };
    if moved == 0 {
        return Ok(0); // another node sealed in between
    }
    for group in links.chunks(GROUP) {
        let (mut rows, mut sealed) = (Vec::with_capacity(group.len() * 6), p![SEAL.name].to_vec());
        for (seq, event, hash) in group {
            rows.extend(p![environment, seq, event.id, event.digest, hash, event.expires_at]);
            sealed.extend(p![event.id]);
        }
        let sql = format!(
            "INSERT INTO audit_chain (environment_id, seq, event_id, digest, hash, expires_at) VALUES {}",
            (0..group.len()).map(|row| placeholders(row * 6, 6)).collect::<Vec<_>>().join(", ")
        );
        tx.execute(&sql, &rows).await?;
        let sql = format!("DELETE FROM jobs WHERE kind = $1 AND id IN {}", placeholders(1, group.len()));
        tx.execute(&sql, &sealed).await?;
    }
    Ok(links.len() + missing.len())
}

/// `($from+1, $from+2, …)`
fn placeholders(from: usize, count: usize) -> String {
    let list: Vec<String> = (from + 1..=from + count).map(|number| format!("${number}")).collect();
    format!("({})", list.join(", "))
}

/// A chain whose oldest link has expired at `$1`.
pub(crate) const OLDEST_EXPIRED: &str = "SELECT h.environment_id, h.base_seq FROM audit_heads h JOIN audit_chain c \
     ON c.environment_id = h.environment_id AND c.seq = h.base_seq + 1 WHERE c.expires_at <= $1 LIMIT 1";

/// Removes the oldest links of one chain together with their events, as far as these are past their retention; at most 250, each two
/// rows. Links go only from the front, so that what remains can still be verified, from the base that is written down.
pub(crate) async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<usize> {
    let chain: Option<(i64, i64)> = tx.opt(OLDEST_EXPIRED, &p![now.0]).await?;
    let Some((environment, base)) = chain else { return Ok(0) };
    let oldest: Vec<(i64, i64, Hash, i64)> = tx
        .all(
            "SELECT seq, event_id, hash, expires_at FROM audit_chain WHERE environment_id = $1 AND seq > $2 ORDER BY seq LIMIT 250",
            &p![environment, base],
        )
        .await?;
    let expired: Vec<_> = oldest.into_iter().take_while(|(.., expires_at)| *expires_at <= now.0).collect();
    let Some((last, _, hash, _)) = expired.last() else { return Ok(0) };
    tx.execute(
        "UPDATE audit_heads SET base_seq = $2, base_hash = $3 WHERE environment_id = $1",
        &p![environment, last, hash],
    )
    .await?;
    tx.execute("DELETE FROM audit_chain WHERE environment_id = $1 AND seq <= $2", &p![environment, last]).await?;
    for (_, event, ..) in &expired {
        tx.execute("DELETE FROM events WHERE id = $1", &p![event]).await?;
    }
    Ok(expired.len())
}

/// What is wrong with the chain of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The event's row no longer has the content that was sealed.
    Changed(EventId),
    /// The event's row is gone before its time.
    Missing(EventId),
    /// The event is neither in the chain nor waiting for it.
    Unsealed(EventId),
    /// The link with this number does not follow from the one before it: it, or one before it, was changed or removed.
    Broken(i64),
    /// The chain does not end where its head says.
    Truncated {
        /// Number of the last link found.
        found: i64,
        /// Number of the last link written.
        expected: i64,
    },
}

/// Checks the chain of an environment and the events that it vouches for, in small reads: empty if all is well. Stops after the first
/// broken link, since none after it can hold.
pub async fn verify(db: &Db, environment: EnvId) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut position: Option<(i64, Hash)> = None;
    loop {
        let from = position;
        let window = db.read(async move |tx| read_window(tx, environment, from).await).await?;
        let Some(window) = window else { break };
        let (mut seq, mut hash) = window.start;
        for found in &window.links {
            let event = EventId(found.event);
            if found.seq != seq + 1 || found.hash != link(&hash, found.seq, found.event, &found.digest) {
                findings.push(Finding::Broken(found.seq));
                return Ok(findings);
            }
            match &found.row {
                Some(row) => {
                    let now = digest(found.event, row);
                    if now != found.digest && !db.read(async move |tx| is_redaction(tx, event, &now).await).await? {
                        findings.push(Finding::Changed(event));
                    }
                }
                None => findings.push(Finding::Missing(event)),
            }
            (seq, hash) = (found.seq, found.hash);
        }
        position = Some((seq, hash));
        if window.links.is_empty() {
            if (seq, hash) != window.head {
                findings.push(Finding::Truncated { found: seq, expected: window.head.0 });
            }
            break;
        }
    }
    let mut after = 0;
    loop {
        let ids: Vec<(i64,)> = db
            .read(async move |tx| {
                tx.all(
                    "SELECT e.id FROM events e WHERE e.id > $2 AND e.environment_id = $1 \
                     AND NOT EXISTS (SELECT 1 FROM audit_chain c WHERE c.event_id = e.id) \
                     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = e.id AND j.kind = $3) ORDER BY e.id LIMIT $4",
                    &p![environment, after, SEAL.name, WINDOW],
                )
                .await
                .map_err(Error::from)
            })
            .await?;
        let Some((last,)) = ids.last() else { return Ok(findings) };
        after = *last;
        findings.extend(ids.iter().map(|(id,)| Finding::Unsealed(EventId(*id))));
    }
}

struct Window {
    /// Number and hash of the link before the first one of the window.
    start: (i64, Hash),
    /// Where the chain ends by its own account.
    head: (i64, Hash),
    links: Vec<Link>,
}

async fn read_window(tx: &mut Tx, environment: EnvId, from: Option<(i64, Hash)>) -> Result<Option<Window>> {
    let head: Option<(i64, Hash, i64, Hash)> = tx
        .opt("SELECT seq, hash, base_seq, base_hash FROM audit_heads WHERE environment_id = $1", &p![environment])
        .await?;
    let Some((seq, hash, base_seq, base_hash)) = head else { return Ok(None) };
    // A sweep may have overtaken the check.
    let start = from.filter(|(at, _)| *at >= base_seq).unwrap_or((base_seq, base_hash));
    let links = tx
        .all(
            with_event!(
                "c.seq, c.event_id, c.digest, c.hash",
                "FROM audit_chain c LEFT JOIN events e ON e.id = c.event_id \
                 WHERE c.environment_id = $1 AND c.seq > $2 ORDER BY c.seq LIMIT $3"
            ),
            &p![environment, start.0, WINDOW],
        )
        .await?;
    Ok(Some(Window { start, head: (seq, hash), links }))
}
