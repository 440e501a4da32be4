//! Adding and removing domains.

use std::sync::Arc;

use narthex_db::{DbError, Tx, p};
use serde_json::{Value, json};

use super::verify::{WINDOW, next_look};
use super::{Domain, DomainName, DomainType, Method, Source, Status, not_found, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{DomainId, EnvId, EventId, OrganizationId};
use crate::jobs::{self, NewJob};
use crate::organizations::{self, Identity, share};
use crate::portal_links;

/// Domains that one transaction removes.
const CHUNK: i64 = 250;
/// Characters of an organization's slug that fit into a label before the rest of the key.
const SLUG: usize = 24;

/// A domain to be added.
#[derive(Debug, Clone)]
pub struct NewDomain {
    /// Organization that gets it.
    pub organization: OrganizationId,
    /// Its name.
    pub name: DomainName,
    /// What it is for.
    pub kind: DomainType,
    /// Who adds it.
    pub source: Source,
}

/// Adds a domain. What an application adds is verified at once; what an administrator of the organization adds waits for a TXT record,
/// looked for until [`WINDOW`] has passed. A name that another organization has proven waits for a record in any case. A domain that the
/// organization has already is INVALID_ARGUMENT.
///
/// With a key, a request that was already carried out answers with the domain that it added then.
pub async fn create(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    new: NewDomain,
    key: Option<IdempotencyKey>,
) -> Result<Domain> {
    let addition = Arc::new(Addition {
        id: DomainId::new(&core.ids),
        environment,
        secret: portal_links::uuid(core.random.bytes()),
        event: EventId::new(&core.ids),
        by: by.clone(),
        now: core.clock.now(),
        new,
        key,
    });
    loop {
        let added = idempotency::past_twins(addition.key.as_ref(), || {
            let (id, attempt) = (addition.id, Arc::clone(&addition));
            core.db.write_checked(
                share(environment),
                async move |tx| exists(tx, id).await,
                async move |tx| attempt.write(tx).await,
            )
        })
        .await;
        match added {
            // Another organization has got the name in this very moment: with that known, the claim is a pending one.
            Err(error) if is_name_taken(&error) => {}
            Err(error) if is_unique_on(&error, "domains.organization_id") => return Err(Error::duplicate("domain")),
            added => return added,
        }
    }
}

/// Whether the index of proven names refused a write.
pub(super) fn is_name_taken(error: &Error) -> bool {
    is_unique_on(error, "domains.environment_id")
}

fn is_unique_on(error: &Error, column: &str) -> bool {
    error.database().is_some_and(|cause| cause.is_unique_on(column))
}

async fn exists(tx: &mut Tx, id: DomainId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM domains WHERE id = $1", &p![id]).await?.is_some())
}

/// What a run of the adding transaction needs.
struct Addition {
    id: DomainId,
    environment: EnvId,
    secret: String,
    event: EventId,
    by: Actor,
    now: Timestamp,
    new: NewDomain,
    key: Option<IdempotencyKey>,
}

impl Addition {
    async fn write(&self, tx: &mut Tx) -> Result<Domain> {
        if let Some(key) = &self.key
            && let Some(earlier) = idempotency::find(tx, key, self.now).await?
        {
            let earlier = store::load(tx, self.environment, self.new.organization, DomainId(earlier)).await?;
            return earlier.ok_or_else(not_found);
        }
        let organization = organizations::load(tx, self.environment, &Identity::Id(self.new.organization)).await?;
        let organization = organization.ok_or_else(organizations::not_found)?;
        let domain = self.domain(tx, organization.slug.as_deref()).await?;
        store::insert(tx, &domain).await?;
        events::append(tx, event(self.event, &domain, events::ORGANIZATION_DOMAIN_CREATED, &self.by, self.now)).await?;
        if domain.status == Status::Pending {
            jobs::enqueue(tx, &look(&domain, domain.id.0, self.now), self.now).await?;
        }
        if let Some(key) = &self.key {
            idempotency::remember(tx, key, domain.id.0, self.now).await?;
        }
        Ok(domain)
    }

    async fn domain(&self, tx: &mut Tx, slug: Option<&str>) -> Result<Domain> {
        let name = self.new.name.as_str();
        let (status, method) = match (self.new.kind, self.new.source) {
            (DomainType::AllowedEmail, _) => (Status::AutoVerified, Method::NotApplicable),
            (DomainType::Organization, Source::Application)
                if store::holder(tx, self.environment, name).await?.is_none() =>
            {
                (Status::Verified, Method::Admin)
            }
            (DomainType::Organization, _) => (Status::Pending, Method::Dns),
        };
        let proof = method == Method::Dns;
        Ok(Domain {
            id: self.id,
            environment: self.environment,
            organization: self.new.organization,
            name: name.to_owned(),
            kind: self.new.kind,
            status,
            method,
            txt_key: if proof { txt_key(slug, self.id) } else { String::new() },
            // Of this organization and this claim alone: seen at a domain it proves nothing for another (sso reference P06).
            txt_secret: if proof { self.secret.clone() } else { String::new() },
            window_ends_at: proof.then(|| self.now.plus(WINDOW)),
            checks: 0,
            created_at: self.now,
            updated_at: self.now,
        })
    }
}

/// The name of the record, one label: the organization's slug where it is one, so that whoever finds it knows whose it is.
fn txt_key(slug: Option<&str>, id: DomainId) -> String {
    let slug = slug.filter(|slug| slug.len() <= SLUG && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    format!("{}-verify-{id}", slug.unwrap_or("narthex"))
}

/// The next look at a domain's records.
pub(super) fn look(domain: &Domain, job: i64, now: Timestamp) -> NewJob {
    NewJob {
        id: job,
        kind: &super::POLL,
        environment: domain.environment,
        payload: json!({ "domain": domain.id.to_string(), "check": domain.checks }),
        run_at: next_look(domain, now),
    }
}

/// Removes a domain. What rests on it ends with it.
pub async fn delete(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    id: DomainId,
) -> Result<()> {
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    core.db
        .write_for(share(environment), async move |tx| {
            let domain = store::load(tx, environment, organization, id).await?.ok_or_else(not_found)?;
            store::delete(tx, id).await?;
            events::append(tx, event(event_id, &domain, events::ORGANIZATION_DOMAIN_DELETED, &by, now)).await
        })
        .await
}

/// Removes up to 250 domains of a deleted organization; how many.
pub(crate) async fn purge(tx: &mut Tx, organization: OrganizationId) -> Result<u64> {
    let sql =
        "DELETE FROM domains WHERE id IN (SELECT id FROM domains WHERE organization_id = $1 ORDER BY id LIMIT $2)";
    Ok(tx.execute(sql, &p![organization, CHUNK]).await?)
}

pub(super) fn event(id: EventId, domain: &Domain, kind: events::EventKind, by: &Actor, now: Timestamp) -> NewEvent {
    NewEvent {
        id,
        environment: domain.environment,
        organization: Some(domain.organization),
        kind,
        occurred_at: now,
        actor: by.clone(),
        data: data(domain),
    }
}

/// `data` of a domain's events (events reference §4).
fn data(domain: &Domain) -> Value {
    json!({
        "domain": domain.name,
        "domain_type": domain.kind.name(),
        "environment_id": domain.environment.to_string(),
        "id": domain.id.to_string(),
        "organization_id": domain.organization.to_string(),
        "txt_record_key": domain.txt_key,
        "txt_record_secret": domain.txt_secret,
        "updated_at": domain.updated_at.rfc3339(),
        "verification_method": domain.method.name(),
        "verification_status": domain.status.name(),
    })
}
