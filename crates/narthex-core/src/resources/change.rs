//! Everything that changes a resource.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::{DbError, Tx, p};
use serde_json::{Value, json};

use super::{AllowedClient, Connection, PREDEFINED_CLIENTS, Resource, ResourceKind, not_found, store};
use crate::cache::Bump;
use crate::clients::machines::{purge, tx_rows};
use crate::clients::redirects::check_of_resource;
use crate::clients::validation::Checks;
use crate::core::Core;
use crate::environments::EnvironmentKind;
use crate::error::{Error, Kind, Result};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{ConnectionId, EnvId, ResourceId};
use crate::jobs::{self, Job, NewJob};
use crate::organizations::share;
use crate::scopes;

/// Lifetimes where none is given, in seconds (mcp-auth reference §1.1).
const ACCESS_EXPIRY: u32 = 3_600;
const REFRESH_EXPIRY: u32 = 30 * 86_400;
/// Entries of an allow-list.
const ALLOWED: usize = 20;
/// Characters of URIs and of the provider.
const TEXT: usize = 512;

/// Removes the clients of a deleted resource, some at a time.
pub const CASCADE: jobs::Kind = jobs::Kind {
    name: "resource.cascade",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(2),
    retry: jobs::DATABASE_RETRIES,
};

/// A change; `None` keeps.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the fields of `Resource`
pub struct ResourcePatch {
    pub name: Option<String>,
    pub description: Option<String>,
    /// The server's URL; empty removes it.
    pub uri: Option<String>,
    pub logo_uri: Option<String>,
    pub provider: Option<String>,
    /// Seconds; 0 is the default.
    pub access_token_expiry: Option<i64>,
    /// Seconds; 0 is the default.
    pub refresh_token_expiry: Option<i64>,
    pub registration_disabled: Option<bool>,
    pub scopes: Option<Vec<String>>,
    pub intersect_scopes: Option<bool>,
    pub scope_selection: Option<bool>,
    pub cimd_enabled: Option<bool>,
    pub cimd_allowlist: Option<Vec<AllowedClient>>,
    pub cimd_allowlist_enabled: Option<bool>,
    pub xaa_enabled: Option<bool>,
    /// The customer's login page; there must be a connection.
    pub authorize_uri: Option<String>,
}

/// A resource to be made.
#[derive(Debug, Clone)]
pub struct NewResource {
    /// Kind.
    pub kind: ResourceKind,
    /// Its settings; the name is required.
    pub settings: ResourcePatch,
}

impl NewResource {
    /// A rendering that is equal for equal resources.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

impl ResourcePatch {
    fn apply(&self, resource: &mut Resource, environment: EnvironmentKind) -> Result<()> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            checks.name("resource.name", name);
            resource.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            checks.description("resource.description", description);
            resource.description.clone_from(description);
        }
        let texts = [
            ("resource.resource_uri", &self.uri, &mut resource.uri),
            ("resource.logo_uri", &self.logo_uri, &mut resource.logo_uri),
            ("resource.provider", &self.provider, &mut resource.provider),
        ];
        for (field, new, now) in texts {
            if let Some(new) = new {
                if new.chars().count() > TEXT {
                    checks.add(field, "string.max_len", format!("must have at most {TEXT} characters"));
                } else if field != "resource.provider" && !new.is_empty() && !is_web(new) {
                    // Both are put into pages and metadata: no other scheme may get there.
                    checks.add(field, "uri", "must be an http or https URL without user name and fragment");
                }
                now.clone_from(new);
            }
        }
        let lifetimes = [
            (
                "resource.access_token_expiry",
                self.access_token_expiry,
                ACCESS_EXPIRY,
                &mut resource.access_token_expiry,
            ),
            (
                "resource.refresh_token_expiry",
                self.refresh_token_expiry,
                REFRESH_EXPIRY,
                &mut resource.refresh_token_expiry,
            ),
        ];
        for (field, new, default, now) in lifetimes {
            match new {
                None => {}
                Some(0) => *now = default,
                Some(seconds) => {
                    checks.expiry(field, seconds);
                    *now = u32::try_from(seconds).unwrap_or(default);
                }
            }
        }
        if let Some(scopes) = &self.scopes {
            checks.scopes("resource.scopes", scopes);
            resource.scopes.clone_from(scopes);
        }
        if let Some(list) = &self.cimd_allowlist {
            allowlist(&mut checks, list);
            resource.cimd_allowlist.clone_from(list);
        }
        if let Some(uri) = &self.authorize_uri {
            match &mut resource.connection {
                None => checks.add(
                    "resource.custom_connection_settings",
                    "connection.required",
                    "the resource has no connection yet",
                ),
                Some(connection) => {
                    if !is_web(uri) || uri.starts_with("http:") && environment == EnvironmentKind::Prd {
                        let text = "must be an https URL (http in development) without user name and fragment";
                        checks.add("resource.custom_connection_settings.authorize_uri", "uri", text);
                    }
                    connection.authorize_uri.clone_from(uri);
                }
            }
        }
        let switches = [
            (self.registration_disabled, &mut resource.registration_disabled),
            (self.intersect_scopes, &mut resource.intersect_scopes),
            (self.scope_selection, &mut resource.scope_selection),
            (self.cimd_enabled, &mut resource.cimd_enabled),
            (self.cimd_allowlist_enabled, &mut resource.cimd_allowlist_enabled),
            (self.xaa_enabled, &mut resource.xaa_enabled),
        ];
        for (new, now) in switches {
            *now = new.unwrap_or(*now);
        }
        checks.done()
    }
}

fn allowlist(checks: &mut Checks, list: &[AllowedClient]) {
    if list.len() > ALLOWED {
        checks.add(
            "resource.cimd_client_allowlist",
            "repeated.max_items",
            format!("must have at most {ALLOWED} items"),
        );
    }
    for (i, entry) in list.iter().enumerate().take(ALLOWED) {
        let broken = match entry {
            AllowedClient::Predefined(name) => (!PREDEFINED_CLIENTS.contains(&name.as_str()))
                .then(|| format!("must be one of {}", PREDEFINED_CLIENTS.join(", "))),
            AllowedClient::Url(url) => {
                let good = url.len() <= TEXT && url.starts_with("https://") && check_of_resource(url).is_ok();
                (!good).then(|| "must be the https URL of a metadata document".to_owned())
            }
        };
        if let Some(broken) = broken {
            checks.add(format!("resource.cimd_client_allowlist[{i}].value"), "cimd_allowlist", broken);
        }
    }
}

/// A web URL that can be shown and followed. Hosts of any kind, since a developer's server is often on this machine.
fn is_web(uri: &str) -> bool {
    match uri.strip_prefix("http://") {
        Some(rest) => check_of_resource(&format!("https://{rest}")).is_ok(),
        None => uri.starts_with("https://") && check_of_resource(uri).is_ok(),
    }
}

/// Makes a resource.
pub async fn create(
    core: &Core,
    environment: EnvId,
    kind: EnvironmentKind,
    new: NewResource,
    key: Option<IdempotencyKey>,
) -> Result<Resource> {
    let now = core.clock.now();
    let mut resource = Resource {
        id: ResourceId::new(&core.ids),
        environment,
        kind: new.kind,
        name: String::new(),
        description: String::new(),
        uri: String::new(),
        logo_uri: String::new(),
        provider: String::new(),
        access_token_expiry: ACCESS_EXPIRY,
        refresh_token_expiry: REFRESH_EXPIRY,
        registration_disabled: false,
        scopes: Vec::new(),
        intersect_scopes: false,
        scope_selection: false,
        cimd_enabled: false,
        cimd_allowlist: Vec::new(),
        cimd_allowlist_enabled: false,
        xaa_enabled: false,
        connection: None,
        created_at: now,
        updated_at: now,
        meanings: Vec::new(),
    };
    let name = new.settings.name.clone().unwrap_or_default();
    ResourcePatch { name: Some(name), ..new.settings }.apply(&mut resource, kind)?;
    let creation = Arc::new((resource, key));
    idempotency::past_twins(creation.1.as_ref(), || {
        let (id, attempt) = (creation.0.id, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| exists(tx, id).await,
            async move |tx| {
                let (resource, key) = &*attempt;
                if let Some(key) = key
                    && let Some(earlier) = idempotency::find(tx, key, now).await?
                {
                    return store::load(tx, environment, ResourceId(earlier)).await;
                }
                scopes::check_known(tx, environment, "resource.scopes", &resource.scopes, &[]).await?;
                store::insert(tx, resource).await?;
                if let Some(key) = key {
                    idempotency::remember(tx, key, resource.id.0, now).await?;
                }
                let mut made = resource.clone();
                store::explain(tx, &mut made).await?;
                Ok(made)
            },
        )
    })
    .await
}

async fn exists(tx: &mut Tx, id: ResourceId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM resources WHERE id = $1", &p![id]).await?.is_some())
}

/// Changes what is given.
pub async fn update(
    core: &Core,
    environment: EnvId,
    kind: EnvironmentKind,
    id: ResourceId,
    patch: ResourcePatch,
) -> Result<Resource> {
    change(core, environment, id, move |resource| patch.apply(resource, kind)).await
}

/// Gives a resource its connection, the customer's own login page, unless it has one.
pub async fn ensure_connection(core: &Core, environment: EnvId, id: ResourceId) -> Result<Resource> {
    let connection = ConnectionId::new(&core.ids);
    change(core, environment, id, move |resource| {
        if resource.connection.is_none() {
            resource.connection = Some(Connection { id: connection, authorize_uri: String::new() });
            if resource.provider.is_empty() {
                "CUSTOM".clone_into(&mut resource.provider);
            }
        }
        Ok(())
    })
    .await
}

/// Removes a resource's connection: the environment signs people in again.
pub async fn remove_provider(core: &Core, environment: EnvId, id: ResourceId) -> Result<Resource> {
    change(core, environment, id, |resource| {
        resource.connection = None;
        resource.provider.clear();
        Ok(())
    })
    .await
}

async fn change<F>(core: &Core, environment: EnvId, id: ResourceId, edit: F) -> Result<Resource>
where
    F: Fn(&mut Resource) -> Result<()> + Send + 'static,
{
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            let before = store::load(tx, environment, id).await?;
            let mut after = before.clone();
            edit(&mut after)?;
            if after == before {
                return Ok(after);
            }
            scopes::check_known(tx, environment, "resource.scopes", &after.scopes, &before.scopes).await?;
            after.updated_at = now.max(before.updated_at);
            store::update(tx, &after).await?;
            store::explain(tx, &mut after).await?;
            Ok::<_, Error>(after)
        })
        .await
}

/// Deletes a resource with its clients and their consents: the first clients at once, the rest in a job.
pub async fn delete(core: &Core, environment: EnvId, id: ResourceId) -> Result<()> {
    let (now, job_id) = (core.clock.now(), core.ids.next());
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            if !store::delete(tx, environment, id).await? {
                return Err(not_found());
            }
            let (_, bump) = purge_clients(tx, id).await?;
            let payload = json!({ "resource": id.to_string() });
            jobs::enqueue(tx, &NewJob { id: job_id, kind: &CASCADE, environment, payload, run_at: now }, now).await?;
            Ok::<_, Error>(bump)
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(())
}

/// The job [`CASCADE`].
pub async fn cascade(core: Arc<Core>, job: Job) -> Result<()> {
    let text = job.payload.get("resource").and_then(Value::as_str).unwrap_or_default();
    let resource = ResourceId::parse(text)
        .ok_or_else(|| Error::new(Kind::Internal, "internal error").because("a cascade without a resource"))?;
    loop {
        let (gone, bump) =
            core.db.write_for(share(job.environment), async move |tx| purge_clients(tx, resource).await).await?;
        if let Some(bump) = bump {
            core.caches.apply(bump);
        }
        if gone == 0 {
            return Ok(());
        }
    }
}

async fn purge_clients(tx: &mut Tx, resource: ResourceId) -> Result<(u64, Option<Bump>)> {
    let sql = "SELECT client_id, environment_id FROM clients WHERE resource_id = $1 ORDER BY key_id LIMIT $2";
    let clients = tx_rows(tx, sql, resource.0).await?;
    purge(tx, clients).await
}
