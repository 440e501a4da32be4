//! Clients of a resource: made by an administrator, or registered by themselves (RFC 7591; mcp-auth reference §4).

use narthex_db::{Tx, p};

use super::store;
use crate::cache;
use crate::clients::machines::{Settings, change, insert, purge};
use crate::clients::store::{self as rows, ClientRow};
use crate::clients::validation::Checks;
use crate::clients::{
    Client, ClientKind, ClientOrigin, Created, NewClient, NewSecret, Presentation, insert_secret, not_found, redirects,
};
use crate::clock::Timestamp;
use crate::consents::{self, Consent};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::events::Actor;
use crate::idempotency::IdempotencyKey;
use crate::ids::{EnvId, ResourceId};
use crate::organizations::share;

/// Clients that a list shows; the contract has no pages for it.
const SHOWN: i64 = 1_000;
/// Clients that register themselves with one resource: nobody may fill the database.
const MOST_REGISTERED: i64 = 20_000;
/// Clients that one transaction sweeps.
const CHUNK: i64 = 100;

/// The clients of a resource.
pub struct Clients {
    /// The newest 1,000, newest first.
    pub clients: Vec<Client>,
    /// How many registered themselves.
    pub registered: u64,
    /// How many an administrator made.
    pub made: u64,
}

/// Grants by what a client can do: without a place to send users to it acts for itself.
fn grants(client: &mut Client) {
    let grants: &[&str] = if client.post_login_uris.is_empty() {
        &["client_credentials"]
    } else {
        &["authorization_code", "refresh_token"]
    };
    client.grant_types = grants.iter().map(|&grant| grant.to_owned()).collect();
}

/// Makes a client of a resource, with its first secret.
pub async fn create(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    resource: ResourceId,
    settings: Settings,
    key: Option<IdempotencyKey>,
) -> Result<Created> {
    let now = core.clock.now();
    let mut client =
        NewClient::new(ClientKind::Resource, "").build(&core.ids, environment.id, environment.kind, now)?;
    client.resource = Some(resource);
    // The resource's own lifetime counts until the client has one (mcp-auth reference §1.1).
    client.access_token_expiry = None;
    client.enforce_pkce = true;
    settings.apply(&mut client)?;
    if settings.expiry == Some(0) {
        client.access_token_expiry = None;
    }
    grants(&mut client);
    insert(core, environment, by, client, key, async move |tx: &mut Tx, environment: EnvId| {
        store::load(tx, environment, resource).await.map(|_| ())
    })
    .await
}

/// A client of a resource as the database has it now, and the newest consents to it. Another resource's is NOT_FOUND.
pub async fn get(
    core: &Core,
    environment: EnvId,
    resource: ResourceId,
    client_id: &str,
) -> Result<(Client, Vec<Consent>)> {
    let client_id = client_id.to_owned();
    core.db
        .read(async move |tx| {
            let client = rows::load(tx, &client_id).await?;
            let client = client.filter(|client| is_of(client, environment, resource)).ok_or_else(not_found)?;
            let consents = consents::of_client(tx, &client.client_id).await?;
            Ok((client, consents))
        })
        .await
}

fn is_of(client: &Client, environment: EnvId, resource: ResourceId) -> bool {
    client.environment == environment && client.resource == Some(resource)
}

/// Clients of a resource, newest first.
pub async fn list(core: &Core, environment: EnvId, resource: ResourceId) -> Result<Clients> {
    core.db
        .read(async move |tx| {
            store::load(tx, environment, resource).await?;
            let columns = rows::COLUMNS;
            let sql = format!("SELECT {columns} FROM clients WHERE resource_id = $1 ORDER BY key_id DESC LIMIT $2");
            let found: Vec<ClientRow> = tx.all(&sql, &p![resource, SHOWN]).await?;
            let clients = rows::with_secrets(tx, found).await?;
            let sql = "SELECT COUNT(*) FROM clients WHERE resource_id = $1 AND origin = $2";
            let mut count = [0_u64; 2];
            for (slot, origin) in count.iter_mut().zip([ClientOrigin::Registered, ClientOrigin::Administrator]) {
                let (number,): (i64,) = tx.one(sql, &p![resource, origin as i32]).await?;
                *slot = u64::try_from(number).unwrap_or(0);
            }
            Ok(Clients { clients, registered: count[0], made: count[1] })
        })
        .await
}

/// Changes what is given.
pub async fn update(
    core: &Core,
    environment: EnvId,
    resource: ResourceId,
    client_id: &str,
    settings: Settings,
) -> Result<Client> {
    change(core, environment, client_id, move |client| {
        if client.resource != Some(resource) {
            return Err(not_found());
        }
        settings.apply(client)?;
        if settings.expiry == Some(0) {
            client.access_token_expiry = None;
        }
        if client.origin == ClientOrigin::Administrator {
            grants(client);
        }
        Ok(())
    })
    .await
}

/// Deletes a client of a resource, and the consents to it.
pub async fn delete(core: &Core, environment: EnvId, resource: ResourceId, client_id: &str) -> Result<()> {
    let client_id = client_id.to_owned();
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let client = rows::load(tx, &client_id).await?;
            if !client.is_some_and(|client| is_of(&client, environment, resource)) {
                return Err(not_found());
            }
            rows::delete(tx, environment, &client_id).await?;
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// What a client says when it registers itself.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Its name, at most 128 characters.
    pub name: String,
    /// Text for people, at most 512 characters.
    pub description: String,
    /// Where it receives codes; at least one.
    pub redirect_uris: Vec<String>,
    /// Scopes, separated by spaces; empty asks for all of the resource.
    pub scope: String,
    /// Its pages.
    pub presentation: Presentation,
    /// Whether it gets a secret, because it can keep one.
    pub is_confidential: bool,
}

/// Registers a client with a resource. Open to anyone: a resource that does not exist and one that takes no registrations
/// get the same answer, PERMISSION_DENIED, so that ids cannot be walked.
pub async fn register(
    core: &Core,
    environment: &Environment,
    resource: Option<ResourceId>,
    registration: Registration,
) -> Result<Created> {
    let refused = || Error::new(Kind::PermissionDenied, "client registration is not available here");
    let resource = resource.ok_or_else(refused)?;
    check(&registration)?;
    let now = core.clock.now();
    let mut client = NewClient::new(ClientKind::Resource, registration.name.clone()).build(
        &core.ids,
        environment.id,
        environment.kind,
        now,
    )?;
    client.resource = Some(resource);
    client.origin = ClientOrigin::Registered;
    client.enforce_pkce = true;
    client.access_token_expiry = None;
    client.description = registration.description;
    client.post_login_uris = registration.redirect_uris;
    client.presentation = registration.presentation;
    grants(&mut client);
    let asked: Vec<String> =
        registration.scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    let secret = registration
        .is_confidential
        .then(|| NewSecret::generate(&core.ids, &core.random, environment.kind, "registration", now));
    let (id, probe, record) = (environment.id, client.client_id.clone(), secret.as_ref().map(|new| new.record.clone()));
    let client = core
        .db
        .write_checked(
            share(id),
            async move |tx| rows::exists(tx, &probe).await,
            async move |tx| {
                let resource = match store::load(tx, id, resource).await {
                    Ok(resource) if !resource.registration_disabled => resource,
                    Err(error) if error.kind() != Kind::NotFound => return Err(error),
                    _ => return Err(refused()),
                };
                let sql = "SELECT COUNT(*) FROM clients WHERE resource_id = $1 AND origin = 1";
                let (registered,): (i64,) = tx.one(sql, &p![resource.id]).await?;
                if registered >= MOST_REGISTERED {
                    return Err(Error::rate_limited(3_600));
                }
                let mut client = client.clone();
                // What the resource does not have is dropped without a word: clients ask for everything they have heard of.
                client.scopes =
                    resource.scopes.iter().filter(|scope| asked.is_empty() || asked.contains(scope)).cloned().collect();
                rows::insert(tx, &client).await?;
                if let Some(record) = &record {
                    insert_secret(tx, &client, record).await?;
                    client.secrets.push(record.clone());
                }
                Ok::<_, Error>(client)
            },
        )
        .await?;
    Ok(Created { client, secret: secret.map(|new| new.plain) })
}

fn check(registration: &Registration) -> Result<()> {
    let mut checks = Checks::default();
    if registration.name.chars().count() > 128 {
        checks.add("client.client_name", "string.max_len", "must have at most 128 characters");
    }
    checks.description("client.description", &registration.description);
    if registration.redirect_uris.is_empty() {
        checks.add("client.redirect_uris", "repeated.min_items", "must have at least one item");
    }
    checks.resource_uris("client.redirect_uris", &registration.redirect_uris);
    if registration.scope.len() > 4_096 {
        checks.add("client.scope", "string.max_len", "must have at most 4096 characters");
    }
    let Presentation { client_uri, logo_uri, tos_uri, policy_uri } = &registration.presentation;
    let pages = [("client_uri", client_uri), ("logo_uri", logo_uri), ("tos_uri", tos_uri), ("policy_uri", policy_uri)];
    for (field, uri) in pages {
        // They become links on the consent page: no scheme but the web's.
        if !uri.is_empty() && (!uri.starts_with("https://") || redirects::check_of_resource(uri).is_err()) {
            checks.add(format!("client.{field}"), "uri", "must be an https URL of at most 2048 characters");
        }
    }
    checks.done()
}

/// A registered client that nobody has consented to within 30 days (mcp-auth reference §4.1), if there is one at the time `$1`.
pub(crate) const UNUSED_SINCE: &str = "SELECT 1 FROM clients WHERE origin = 1 \
     AND created_at < $1 - 2592000000000 \
     AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client_id = clients.client_id) LIMIT 1";

/// Removes registered clients that nobody has consented to within 30 days; how many. One transaction's worth.
pub(crate) async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<usize> {
    let sql = "SELECT client_id, environment_id FROM clients WHERE origin = 1 AND created_at < $1 - 2592000000000 \
               AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client_id = clients.client_id) \
               ORDER BY created_at LIMIT $2";
    let unused = tx.all(sql, &p![now, CHUNK]).await?;
    let (gone, _) = purge(tx, unused).await?;
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}
