//! Machine clients of organizations (oauth-oidc reference §15.1): credentials with which a customer's programs call the application.

use std::sync::Arc;

use narthex_db::{Tx, p};

use super::applications::{earlier, remember, with_secrets};
use super::store::{self, ClientRow};
use super::validation::{Checks, seconds};
use super::{Client, ClientKind, Created, CustomClaim, NewClient, NewSecret, insert_secret, not_found};
use crate::cache::{self, Bump};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, OrganizationId};
use crate::listing::Rows;
use crate::organizations::{self, share};
use crate::pages::{Limits, Page, PageRequest, Scope};

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 10, max: 100 };
/// Clients that one transaction removes.
const CHUNK: i64 = 50;

/// The settings of a machine client. What is `None` keeps its value or, on a new client, has its default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name for people, at most 128 characters.
    pub name: Option<String>,
    /// Text for people, at most 512 characters.
    pub description: Option<String>,
    /// Scopes of its tokens: free texts of the customer's API.
    pub scopes: Option<Vec<String>>,
    /// `aud` of its tokens.
    pub audience: Option<Vec<String>>,
    /// `custom_claims` of its tokens.
    pub custom_claims: Option<Vec<CustomClaim>>,
    /// Lifetime of its tokens in seconds, 300 at least; 0 is 3,600.
    pub expiry: Option<i64>,
    /// Redirect URIs; for clients of resources only.
    pub redirect_uris: Option<Vec<String>>,
}

impl Settings {
    /// A rendering that is equal for equal settings.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    /// Sets what is given, and says what is wrong with it.
    pub(crate) fn apply(&self, client: &mut Client) -> Result<()> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            if name.chars().count() > 128 {
                checks.add("client.name", "string.max_len", "must have at most 128 characters");
            }
            client.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            checks.description("client.description", description);
            client.description.clone_from(description);
        }
        if let Some(scopes) = &self.scopes {
            checks.scopes("client.scopes", scopes);
            client.scopes.clone_from(scopes);
        }
        if let Some(audience) = &self.audience {
            checks.audience("client.audience", audience);
            client.audience.clone_from(audience);
        }
        if let Some(claims) = &self.custom_claims {
            checks.claims("client.custom_claims", claims);
            client.custom_claims.clone_from(claims);
        }
        if let Some(expiry) = self.expiry {
            if expiry != 0 {
                checks.expiry("client.expiry", expiry);
            }
            client.access_token_expiry = Some(seconds(expiry).unwrap_or(3_600));
        }
        if let Some(uris) = &self.redirect_uris {
            checks.resource_uris("client.redirect_uris", uris);
            client.post_login_uris.clone_from(uris);
        }
        checks.done()
    }
}

/// Makes a client of an organization, with its first secret.
pub async fn create(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    organization: OrganizationId,
    settings: Settings,
    key: Option<IdempotencyKey>,
) -> Result<Created> {
    let now = core.clock.now();
    let mut client = NewClient { organization: Some(organization), ..NewClient::new(ClientKind::Organization, "") }
        .build(&core.ids, environment.id, environment.kind, now)?;
    settings.apply(&mut client)?;
    insert(core, environment, by, client, key, async move |tx: &mut Tx, environment: EnvId| {
        known(tx, environment, organization).await
    })
    .await
}

/// Inserts a client with its first secret, if `owner` says that what it belongs to is there.
pub(crate) async fn insert<F>(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    client: Client,
    key: Option<IdempotencyKey>,
    owner: F,
) -> Result<Created>
where
    F: AsyncFn(&mut Tx, EnvId) -> Result<()> + Send + Sync + Clone + 'static,
{
    let now = core.clock.now();
    let secret = NewSecret::generate(&core.ids, &core.random, environment.kind, by.as_str(), now);
    let environment = environment.id;
    let creation = Arc::new((client, secret.record.clone(), key));
    let client = idempotency::past_twins(creation.2.as_ref(), || {
        let (probe, attempt, owner) = (creation.0.client_id.clone(), Arc::clone(&creation), owner.clone());
        core.db.write_checked(
            share(environment),
            async move |tx| store::exists(tx, &probe).await,
            async move |tx| {
                let (client, secret, key) = &*attempt;
                if let Some(earlier) = earlier(tx, key.as_ref(), client, now).await? {
                    return Ok(earlier);
                }
                owner(tx, environment).await?;
                store::insert(tx, client).await?;
                insert_secret(tx, client, secret).await?;
                remember(tx, key.as_ref(), client, now).await?;
                Ok::<_, Error>(Client { secrets: vec![secret.clone()], ..client.clone() })
            },
        )
    })
    .await?;
    // An earlier request's secret was shown to whoever waited for it then.
    let is_new = client.client_id == creation.0.client_id;
    Ok(Created { client, secret: is_new.then_some(secret.plain) })
}

async fn known(tx: &mut Tx, environment: EnvId, organization: OrganizationId) -> Result<()> {
    let sql = "SELECT id FROM organizations WHERE environment_id = $1 AND id = $2";
    match tx.opt::<(i64,)>(sql, &p![environment, organization]).await? {
        Some(_) => Ok(()),
        None => Err(organizations::not_found()),
    }
}

/// A client of an organization, as the database has it now. Another organization's is NOT_FOUND.
pub async fn get(core: &Core, environment: EnvId, organization: OrganizationId, client_id: &str) -> Result<Client> {
    let client = super::read(core, environment, client_id).await?;
    if client.organization == Some(organization) { Ok(client) } else { Err(not_found()) }
}

/// Clients of an organization, newest first.
pub async fn list(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    request: &PageRequest,
) -> Result<Page<Client>> {
    let scope = Scope::new(environment, "organization_clients", &organization.to_string());
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            known(tx, environment, organization).await?;
            let rows = Rows {
                columns: store::COLUMNS,
                from: "clients WHERE organization_id = $1",
                key: "key_id",
                values: p![organization].to_vec(),
            };
            let page = rows.page(tx, &scope, position, size, |row: &ClientRow| row.0.key_id.0).await?;
            with_secrets(tx, page).await
        })
        .await
}

/// Changes what is given.
pub async fn update(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    client_id: &str,
    settings: Settings,
) -> Result<Client> {
    change(core, environment, client_id, move |client| {
        if client.organization == Some(organization) { settings.apply(client) } else { Err(not_found()) }
    })
    .await
}

/// Reads, changes and writes a client.
pub(crate) async fn change<F>(core: &Core, environment: EnvId, client_id: &str, edit: F) -> Result<Client>
where
    F: Fn(&mut Client) -> Result<()> + Send + 'static,
{
    let (client_id, now) = (client_id.to_owned(), core.clock.now());
    let (client, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let client = store::load(tx, &client_id).await?.filter(|client| client.environment == environment);
            let mut client = client.ok_or_else(not_found)?;
            edit(&mut client)?;
            client.updated_at = now.max(client.updated_at);
            store::update(tx, &client).await?;
            let bump = cache::bump(tx, cache::CLIENTS).await?;
            Ok::<_, Error>((client, bump))
        })
        .await?;
    core.caches.apply(bump);
    Ok(client)
}

/// Deletes a client of an organization. Tokens that it has are refused by the management API at once; elsewhere they live until
/// they expire.
pub async fn delete(core: &Core, environment: EnvId, organization: OrganizationId, client_id: &str) -> Result<()> {
    let client_id = client_id.to_owned();
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let client = store::load(tx, &client_id).await?.filter(|client| client.environment == environment);
            if client.and_then(|client| client.organization) != Some(organization) {
                return Err(not_found());
            }
            store::delete(tx, environment, &client_id).await?;
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Up to 50 clients that `sql` finds by their owner.
pub(crate) async fn tx_rows(tx: &mut Tx, sql: &str, owner: i64) -> Result<Vec<(String, EnvId)>> {
    Ok(tx.all(sql, &p![owner, CHUNK]).await?)
}

/// Removes clients whose owner is gone; how many, and the version to apply after the commit.
pub(crate) async fn purge(tx: &mut Tx, clients: Vec<(String, EnvId)>) -> Result<(u64, Option<Bump>)> {
    if clients.is_empty() {
        return Ok((0, None));
    }
    for (client_id, environment) in &clients {
        store::delete(tx, *environment, client_id).await?;
    }
    let bump = cache::bump(tx, cache::CLIENTS).await?;
    Ok((clients.len() as u64, Some(bump)))
}
