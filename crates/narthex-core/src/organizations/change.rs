//! Everything that changes an organization: the row, the total, the event and its jobs in one transaction.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::{DbError, Tx, p};
use serde_json::{Value, json};

use super::{
    Feature, Identity, NewOrganization, Organization, OrganizationPatch, SessionPolicyChange, not_found, search, store,
    validation,
};
use crate::cache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, EventId, OrganizationId};
use crate::jobs::{self, Job, NewJob};
use crate::{api_tokens, clients, counters, domains, emails, memberships, portal_links, roles, sessions};

/// Name of the total.
pub(super) const NOUN: &str = "organizations";

/// Removes what a deleted organization leaves behind, a few hundred rows at a time.
pub const CASCADE: jobs::Kind = jobs::Kind {
    name: "organization.cascade",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(2),
    retry: jobs::DATABASE_RETRIES,
};

/// Creates an organization. A taken external id or slug is INVALID_ARGUMENT; the unique index decides, not a look before.
///
/// With a key, a request that was already carried out answers with the organization that it created then.
pub async fn create(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    new: NewOrganization,
    key: Option<IdempotencyKey>,
) -> Result<Organization> {
    let creation = Arc::new(prepare(core, environment, by, new, key)?);
    idempotency::past_twins(creation.key.as_ref(), || {
        let (id, attempt) = (creation.organization.id, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| exists(tx, id).await,
            async move |tx| attempt.write(tx).await,
        )
    })
    .await
    .map_err(duplicate)
}

/// What a transaction needs to create an organization, made outside of it.
pub(crate) fn prepare(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    new: NewOrganization,
    key: Option<IdempotencyKey>,
) -> Result<Creation> {
    validation::new(&new)?;
    let now = core.clock.now();
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let organization = Organization {
        id: new.id.unwrap_or_else(|| OrganizationId::new(&core.ids)),
        environment,
        display_name: new.display_name,
        region: new.region,
        external_id: present(new.external_id),
        slug: present(new.slug),
        logo_url: present(new.logo_url),
        metadata: new.metadata,
        features: super::Features::default(),
        max_allowed_users: None,
        session_policy: super::SessionPolicy::default(),
        created_at: now,
        updated_at: now,
    };
    Ok(Creation {
        event: event(core, &organization, events::ORGANIZATION_CREATED, by, None),
        search_text: search::text(&organization),
        organization,
        key,
        now,
    })
}

/// All that a run of the creating transaction needs.
pub(crate) struct Creation {
    organization: Organization,
    search_text: String,
    event: NewEvent,
    key: Option<IdempotencyKey>,
    now: Timestamp,
}

impl Creation {
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<Organization> {
        let organization = &self.organization;
        if let Some(key) = &self.key
            && let Some(earlier) = idempotency::find(tx, key, self.now).await?
        {
            let earlier = Identity::Id(OrganizationId(earlier));
            return store::load(tx, organization.environment, &earlier).await?.ok_or_else(not_found);
        }
        store::insert(tx, organization, &self.search_text).await?;
        search::mark(tx, organization.id).await?;
        counters::add(tx, organization.environment, NOUN, self.event.id.0, 1).await?;
        events::append(tx, self.event.clone()).await?;
        if let Some(key) = &self.key {
            idempotency::remember(tx, key, organization.id.0, self.now).await?;
        }
        Ok(organization.clone())
    }
}

async fn exists(tx: &mut Tx, id: OrganizationId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM organizations WHERE id = $1", &p![id]).await?.is_some())
}

/// Changes name, external id, metadata, slug or logo.
pub async fn update(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    identity: Identity,
    patch: OrganizationPatch,
) -> Result<Organization> {
    validation::patch(&patch)?;
    change(core, environment, by, identity, move |organization| {
        let patch = patch.clone();
        if let Some(display_name) = patch.display_name {
            organization.display_name = display_name;
        }
        if let Some(metadata) = patch.metadata {
            organization.metadata = metadata;
        }
        patch.external_id.apply(&mut organization.external_id);
        patch.slug.apply(&mut organization.slug);
        patch.logo_url.apply(&mut organization.logo_url);
        Ok(())
    })
    .await
}

/// Switches features; those that are not named stay as they are.
pub async fn set_features(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    id: OrganizationId,
    switches: Vec<(Feature, bool)>,
) -> Result<Organization> {
    change(core, environment, by, Identity::Id(id), move |organization| {
        for (feature, on) in &switches {
            organization.features.switch(*feature, *on);
        }
        Ok(())
    })
    .await
}

/// Sets the number of seats: `None` removes the setting, 0 means no limit. Nobody loses a seat.
pub async fn set_max_allowed_users(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    id: OrganizationId,
    seats: Option<i32>,
) -> Result<Organization> {
    if seats.is_some_and(|seats| seats < 0) {
        return Err(Error::invalid("settings.max_allowed_users", "int32.gte", "must not be negative"));
    }
    change(core, environment, by, Identity::Id(id), move |organization| {
        organization.max_allowed_users = seats;
        Ok(())
    })
    .await
}

/// Changes the lifetimes of sessions that will be created.
pub async fn set_session_policy(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    id: OrganizationId,
    policy: SessionPolicyChange,
) -> Result<Organization> {
    let settings = environment.session.clone();
    change(core, environment.id, by, Identity::Id(id), move |organization| {
        organization.session_policy = policy.apply(organization.session_policy, &settings)?;
        Ok(())
    })
    .await
}

/// Reads, changes and writes an organization. A change that changes nothing writes nothing and is no event.
async fn change<F>(core: &Core, environment: EnvId, by: &Actor, identity: Identity, edit: F) -> Result<Organization>
where
    F: Fn(&mut Organization) -> Result<()> + Send + 'static,
{
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    let (organization, bumps) = core
        .db
        .write_for(share(environment), async move |tx| {
            let before = store::load(tx, environment, &identity).await?.ok_or_else(not_found)?;
            let mut after = before.clone();
            edit(&mut after)?;
            if after == before {
                return Ok((after, Vec::new()));
            }
            after.updated_at = now.max(before.updated_at);
            let search_text = search::text(&after);
            store::update(tx, &after, &search_text).await?;
            if search_text != search::text(&before) {
                search::mark(tx, after.id).await?;
            }
            let updated = new_event(event_id, &after, events::ORGANIZATION_UPDATED, &by, None, after.updated_at);
            events::append(tx, updated).await?;
            // Validating an API token answers with the external id, from memory.
            let bumps = if after.external_id == before.external_id {
                Vec::new()
            } else {
                api_tokens::void_of_organization(tx, after.id).await?
            };
            Ok((after, bumps))
        })
        .await
        .map_err(duplicate)?;
    for bump in bumps {
        core.caches.apply(bump);
    }
    Ok(organization)
}

/// Deletes an organization: from this moment it is not found, its external id and slug are free, and its sessions end. What else
/// hangs on it, in any number, goes in jobs.
pub async fn delete(core: &Core, environment: EnvId, by: &Actor, identity: Identity) -> Result<()> {
    let (now, by, valid_after) = (core.clock.now(), by.clone(), core.clock.real_now());
    let (event_id, job_id, farewells) = (EventId::new(&core.ids), core.ids.next(), sessions::farewells(core));
    let bumps = core
        .db
        .write_for(share(environment), async move |tx| {
            let organization = store::load(tx, environment, &identity).await?.ok_or_else(not_found)?;
            if !store::delete(tx, &organization, now, now.plus(events::RETENTION)).await? {
                return Err(not_found());
            }
            search::mark(tx, organization.id).await?;
            counters::add(tx, environment, NOUN, event_id.0, -1).await?;
            let deleted = new_event(event_id, &organization, events::ORGANIZATION_DELETED, &by, Some(now), now);
            events::append(tx, deleted).await?;
            let payload = json!({ "organization": organization.id.to_string(), "actor": by.as_str() });
            let job = NewJob { id: job_id, kind: &CASCADE, environment, payload, run_at: now };
            jobs::enqueue(tx, &job, now).await?;
            // At once, however many there are; the rows of API tokens go in jobs. The names of domains are free again likewise.
            let mut bumps = api_tokens::void_of_organization(tx, organization.id).await?;
            bumps.push(cache::bump(tx, &cache::organization_scope(organization.id)).await?);
            domains::purge(tx, organization.id).await?;
            bumps.extend(clients::disable_of_organization(tx, organization.id, valid_after, now).await?);
            let all = sessions::Whose::Organization(organization.id);
            bumps.extend(sessions::end_some(tx, environment, &by, all, &mut farewells.iter(), now).await?.bumps);
            Ok(bumps)
        })
        .await?;
    for bump in bumps {
        core.caches.apply(bump);
    }
    Ok(())
}

/// The job [`CASCADE`].
pub async fn cascade(core: Arc<Core>, job: Job) -> Result<()> {
    let text = job.payload.get("organization").and_then(Value::as_str).unwrap_or_default();
    let organization =
        OrganizationId::parse(text).ok_or_else(|| Error::internal("a cascade without an organization"))?;
    let environment = job.environment;
    let by = job.payload.get("actor").and_then(Value::as_str).map_or(Actor::SYSTEM, Actor::written);
    loop {
        let (now, by, farewells) = (core.clock.now(), by.clone(), sessions::farewells(&core));
        let (rows, bumps) = core
            .db
            .write_for(share(environment), async move |tx| {
                let farewells = &mut farewells.iter();
                let all = sessions::Whose::Organization(organization);
                let ended = sessions::end_some(tx, environment, &by, all, farewells, now).await?;
                let mut bumps = ended.bumps;
                if !ended.is_whole {
                    return Ok((1, bumps));
                }
                let (mut rows, bump) = clients::purge_of_organization(tx, organization).await?;
                bumps.extend(bump);
                // Members first: roles that somebody holds cannot go.
                let (members, ended) = memberships::purge(tx, environment, organization, &by, farewells, now).await?;
                rows += members;
                bumps.extend(ended);
                bumps.extend(api_tokens::purge_of_organization(tx, organization).await?);
                rows += portal_links::purge(tx, organization).await? + domains::purge(tx, organization).await?;
                rows += emails::purge_of_organization(tx, organization).await?;
                if rows == 0 {
                    rows += roles::purge(tx, organization).await?;
                }
                Ok::<_, Error>((rows, bumps))
            })
            .await?;
        if rows == 0 && bumps.is_empty() {
            return Ok(());
        }
        core.caches.apply_all(bumps);
    }
}

/// Counts the organizations of an environment and corrects the kept total: the difference, 0 where they agreed. `id` is a fresh
/// number.
pub async fn recount(tx: &mut Tx, environment: EnvId, id: i64) -> Result<i64> {
    let counted = store::count(tx, environment).await?;
    counters::correct(tx, environment, NOUN, counted, id).await
}

/// The share of the write queue that an environment uses.
pub(crate) fn share(environment: EnvId) -> u64 {
    environment.0.unsigned_abs()
}

fn event(
    core: &Core,
    organization: &Organization,
    kind: events::EventKind,
    by: &Actor,
    deleted_at: Option<Timestamp>,
) -> NewEvent {
    new_event(EventId::new(&core.ids), organization, kind, by, deleted_at, organization.updated_at)
}

fn new_event(
    id: EventId,
    organization: &Organization,
    kind: events::EventKind,
    by: &Actor,
    deleted_at: Option<Timestamp>,
    occurred_at: Timestamp,
) -> NewEvent {
    NewEvent {
        id,
        environment: organization.environment,
        organization: Some(organization.id),
        kind,
        occurred_at,
        actor: by.clone(),
        data: data(organization, deleted_at),
    }
}

/// `data` of an organization's events (events reference §4).
pub(crate) fn data(organization: &Organization, deleted_at: Option<Timestamp>) -> Value {
    let features: Vec<Value> = organization
        .features
        .shown()
        .map(|(feature, enabled)| json!({ "enabled": enabled, "name": feature.name() }))
        .collect();
    let metadata = if organization.metadata.is_empty() { Value::Null } else { json!(organization.metadata) };
    let mut data = json!({
        "create_time": organization.created_at.rfc3339(),
        "display_name": organization.display_name,
        "external_id": organization.external_id,
        "id": organization.id.to_string(),
        "metadata": metadata,
        "region_code": organization.region.name(),
        "settings": { "features": features },
        "update_time": organization.updated_at.rfc3339(),
    });
    if let (Some(deleted_at), Some(members)) = (deleted_at, data.as_object_mut()) {
        members.insert("deleted_at".to_owned(), Value::String(deleted_at.rfc3339()));
    }
    data
}

/// Names the field of a violated unique index.
fn duplicate(error: Error) -> Error {
    match error.database() {
        Some(cause) if cause.is_unique_on("organizations.external_id") => Error::duplicate("external_id"),
        Some(cause) if cause.is_unique_on("organizations.slug") => Error::duplicate("slug"),
        Some(cause) if cause.is_unique_on("organizations.id") => Error::duplicate("id"),
        _ => error,
    }
}
