//! Proof of a domain by a TXT record: looked for when somebody asks, and by itself until a window closes.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::Tx;
use serde_json::Value;

use super::change::{event, is_name_taken, look};
use super::{Domain, Status, not_found, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::dns::{Dns, DnsError};
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor};
use crate::ids::{DomainId, EnvId, EventId, OrganizationId};
use crate::jobs::{self, Job};
use crate::organizations::share;

/// How long a record is looked for. Records take up to 48 hours to be seen everywhere.
pub const WINDOW: Duration = Duration::from_hours(72);
/// When the first look is, and the wait that doubles after each.
const FIRST: Duration = Duration::from_mins(1);
/// The longest wait between two looks.
const LONGEST: Duration = Duration::from_hours(1);

/// Looks for the record of a pending domain, and sees to the next look.
pub const POLL: jobs::Kind = jobs::Kind {
    name: "domain.verify",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(1),
    retry: jobs::DATABASE_RETRIES,
};

/// When the look after those that have been is due: later each time, the last one when the window closes.
pub(super) fn next_look(domain: &Domain, now: Timestamp) -> Timestamp {
    let wait = FIRST.saturating_mul(1 << domain.checks.clamp(0, 16)).min(LONGEST);
    let next = now.plus(wait);
    domain.window_ends_at.map_or(next, |end| next.min(end.max(now)))
}

/// Whether the domain is verified, after a look at its records if it waits for one. A missing record is no error; name servers that
/// do not answer are UNAVAILABLE. What has failed stays so: the only way on is to add the domain again.
pub async fn verify(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    id: DomainId,
) -> Result<bool> {
    let domain = store::load(&mut *core.db.reader().await?, environment, organization, id).await?;
    let domain = domain.ok_or_else(not_found)?;
    if domain.status != Status::Pending {
        return Ok(matches!(domain.status, Status::Verified | Status::AutoVerified));
    }
    let seen = has_record(core.dns.as_ref(), &domain).await.map_err(|error| {
        Error::new(Kind::Unavailable, "the name servers of the domain could not be asked, try again").because(error)
    })?;
    settle(core, &domain, seen, by, None).await
}

/// The job [`POLL`].
pub async fn poll(core: Arc<Core>, job: Job) -> Result<()> {
    let text = job.payload.get("domain").and_then(Value::as_str).unwrap_or_default();
    let id = DomainId::parse(text).ok_or_else(|| Error::internal("a look for the record of no domain"))?;
    let check = job.payload.get("check").and_then(Value::as_i64).unwrap_or_default();
    let domain = store::load_any(&mut *core.db.reader().await?, job.environment, id).await?;
    // Gone, settled, or looked at by an earlier run of this job.
    let Some(domain) = domain.filter(|domain| domain.status == Status::Pending && domain.checks == check) else {
        return Ok(());
    };
    let seen = match has_record(core.dns.as_ref(), &domain).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::info!(domain = %id, %error, "no answer about a domain's record; looked for again later");
            false
        }
    };
    settle(&core, &domain, seen, &Actor::SYSTEM, Some(check)).await?;
    Ok(())
}

/// Whether the proof is there: `key=secret` at the domain itself, or `secret` at a name of its own (sso reference OP-15). Compared
/// exactly; other records do not matter.
async fn has_record(dns: &dyn Dns, domain: &Domain) -> Result<bool, DnsError> {
    let at_domain = format!("{}={}", domain.txt_key, domain.txt_secret);
    let answer = dns.txt(&domain.name).await;
    if answer.as_ref().is_ok_and(|records| records.contains(&at_domain)) {
        return Ok(true);
    }
    let below = dns.txt(&format!("{}.{}", domain.txt_key, domain.name)).await;
    if below.as_ref().is_ok_and(|records| records.contains(&domain.txt_secret)) {
        return Ok(true);
    }
    answer.and(below).map(|_| false)
}

/// Writes what a look has shown. Two that prove a name at once: the index lets one of them commit, and the other finds it when it is run
/// again.
async fn settle(core: &Core, looked_at: &Domain, seen: bool, by: &Actor, check: Option<i64>) -> Result<bool> {
    loop {
        match try_settle(core, looked_at, seen, by, check).await {
            Err(error) if is_name_taken(&error) => {}
            settled => return settled,
        }
    }
}

/// Writes what a look has shown; whether the domain is verified. With `check` it is a look of the job, which counts and plans the
/// next one.
async fn try_settle(core: &Core, looked_at: &Domain, seen: bool, by: &Actor, check: Option<i64>) -> Result<bool> {
    let (environment, organization, id) = (looked_at.environment, looked_at.organization, looked_at.id);
    let (now, by) = (core.clock.now(), by.clone());
    let (event_id, job_id) = (EventId::new(&core.ids), core.ids.next());
    core.db
        .write_for(share(environment), async move |tx| {
            let Some(mut domain) = store::load(tx, environment, organization, id).await? else {
                return if check.is_some() { Ok(false) } else { Err(not_found()) };
            };
            if domain.status != Status::Pending || check.is_some_and(|check| domain.checks != check) {
                return Ok(domain.status == Status::Verified);
            }
            domain.updated_at = now.max(domain.updated_at);
            if seen && is_free(tx, environment, &domain).await? {
                domain.status = Status::Verified;
                store::update(tx, &domain).await?;
                let kind = events::ORGANIZATION_DOMAIN_DNS_VERIFICATION_SUCCESS;
                events::append(tx, event(event_id, &domain, kind, &by, now)).await?;
                return Ok(true);
            }
            if domain.window_ends_at.is_some_and(|end| end <= now) {
                domain.status = Status::Failed;
                store::update(tx, &domain).await?;
                let kind = events::ORGANIZATION_DOMAIN_DNS_VERIFICATION_FAILED;
                events::append(tx, event(event_id, &domain, kind, &by, now)).await?;
            } else if check.is_some() {
                domain.checks += 1;
                store::update(tx, &domain).await?;
                jobs::enqueue(tx, &look(&domain, job_id, now), now).await?;
            }
            Ok::<_, Error>(false)
        })
        .await
}

/// Whether no other organization has proven the name.
async fn is_free(tx: &mut Tx, environment: EnvId, domain: &Domain) -> Result<bool> {
    Ok(store::holder(tx, environment, &domain.name).await?.is_none_or(|holder| holder == domain.id))
}
