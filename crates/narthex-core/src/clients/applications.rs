//! Applications: clients that sign users in (oauth-oidc reference §14). Each environment has a default one, which is also its API
//! credentials.

use std::sync::Arc;

use narthex_db::{Tx, p};

use super::redirects::UriList;
use super::store::{self, ClientRow};
use super::validation::{self, Checks, seconds};
use super::{Client, ClientKind, CustomClaim, IpAllowlist, NewClient, not_found};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{Environment, EnvironmentKind};
use crate::error::{Error, Kind, Result};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, KeyId};
use crate::listing::Rows;
use crate::organizations::share;
use crate::pages::{Limits, Page, PageRequest, Scope};
use crate::{cache, scopes};

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 10, max: 30 };

/// The settings of an application.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name for people, at most 128 characters.
    pub name: Option<String>,
    /// Allowed callbacks.
    pub post_login_uris: Option<Vec<String>>,
    /// Allowed targets after logout.
    pub post_logout_redirect_uris: Option<Vec<String>>,
    /// Endpoints that are told of logouts.
    pub back_channel_logout_uris: Option<Vec<String>>,
    /// Where a login may be started; empty for nowhere.
    pub initiate_login_uri: Option<String>,
    /// Lifetime of access tokens in seconds; 0 takes the environment's.
    pub access_token_expiry: Option<i64>,
    /// Scopes, each known in the environment.
    pub scopes: Option<Vec<String>>,
    /// Claims added to tokens.
    pub custom_claims: Option<Vec<CustomClaim>>,
    /// Whether a web application may not use the management API.
    pub disallow_api_access: Option<bool>,
    /// Grants; none means all of the kind.
    pub grant_types: Option<Vec<String>>,
    /// Whether the code flow needs PKCE.
    pub enforce_pkce: Option<bool>,
    /// Whether addresses outside of `cidrs` are refused.
    pub ip_allowlist_opted_in: Option<bool>,
    /// Networks that the credentials may be used from.
    pub ip_allowlist_cidrs: Option<Vec<super::Cidr>>,
}

impl Settings {
    /// A rendering that is equal for equal settings.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    /// Sets what is given, and says what is wrong with it.
    fn apply(&self, client: &mut Client, environment: EnvironmentKind) -> Result<()> {
        let mut checks = Checks::default();
        let kind = client.kind;
        if let Some(name) = &self.name {
            checks.name("client.name", name);
            client.name.clone_from(name);
        }
        let uris = |checks: &mut Checks, field: &str, list, new: &Option<Vec<String>>, now: &mut Vec<String>| {
            if let Some(new) = new {
                checks.uris(field, environment, list, new, now);
                now.clone_from(new);
            }
        };
        uris(
            &mut checks,
            "client.post_login_uris",
            UriList::Callback,
            &self.post_login_uris,
            &mut client.post_login_uris,
        );
        uris(
            &mut checks,
            "client.post_logout_redirect_uris",
            UriList::PostLogout,
            &self.post_logout_redirect_uris,
            &mut client.post_logout_redirect_uris,
        );
        if kind.is_public() && self.back_channel_logout_uris.as_ref().is_some_and(|uris| !uris.is_empty()) {
            let text = "public clients have no back-channel logout";
            checks.add("client.back_channel_logout_uris", "client_type", text);
        } else {
            uris(
                &mut checks,
                "client.back_channel_logout_uris",
                UriList::BackChannel,
                &self.back_channel_logout_uris,
                &mut client.back_channel_logout_uris,
            );
        }
        if let Some(uri) = &self.initiate_login_uri {
            if !uri.is_empty()
                && *uri != client.initiate_login_uri
                && let Err(broken) = super::redirects::check(environment, UriList::InitiateLogin, uri)
            {
                checks.add("client.initiate_login_uri", "redirect_uri", broken);
            }
            client.initiate_login_uri.clone_from(uri);
        }
        if let Some(expiry) = self.access_token_expiry {
            if expiry != 0 {
                checks.expiry("client.access_token_expiry", expiry);
            }
            client.access_token_expiry = seconds(expiry);
        }
        if let Some(scopes) = &self.scopes {
            checks.scopes("client.scopes", scopes);
            client.scopes.clone_from(scopes);
        }
        if let Some(claims) = &self.custom_claims {
            checks.claims("client.custom_claims", claims);
            client.custom_claims.clone_from(claims);
        }
        if let Some(disallowed) = self.disallow_api_access {
            if kind == ClientKind::Env && disallowed {
                let text = "the default client is the environment's API credentials";
                checks.add("client.disallow_scalekit_api_access", "client_type", text);
            }
            // Public clients have no credentials that could reach the API.
            client.disallow_api_access = kind.is_public() || disallowed;
        }
        if let Some(grants) = &self.grant_types {
            checks.grants("client.grant_types", kind, grants);
            client.grant_types = if grants.is_empty() {
                kind.grants().iter().map(|&grant| grant.to_owned()).collect()
            } else {
                grants.clone()
            };
        }
        if let Some(enforce) = self.enforce_pkce {
            // For public clients it stays on, whatever is asked (oauth-oidc reference §14.1).
            client.enforce_pkce = kind.is_public() || enforce;
        }
        self.apply_allowlist(&mut checks, client);
        checks.done()
    }

    fn apply_allowlist(&self, checks: &mut Checks, client: &mut Client) {
        if self.ip_allowlist_opted_in.is_none() && self.ip_allowlist_cidrs.is_none() {
            return;
        }
        let mut list = client.ip_allowlist.clone().unwrap_or_default();
        list.opted_in = self.ip_allowlist_opted_in.unwrap_or(list.opted_in);
        if let Some(cidrs) = &self.ip_allowlist_cidrs {
            list.cidrs.clone_from(cidrs);
        }
        if client.kind.is_public() && list != IpAllowlist::default() {
            checks.add("client.ip_allowlist", "client_type", "public clients have no credentials to restrict");
            return;
        }
        checks.extend(list.violations("client.ip_allowlist"));
        client.ip_allowlist = Some(list);
    }
}

/// Makes an application. `kind` is one that an environment can have several of.
pub async fn create(
    core: &Core,
    environment: &Environment,
    kind: ClientKind,
    settings: Settings,
    key: Option<IdempotencyKey>,
) -> Result<Client> {
    if !matches!(kind, ClientKind::WebApp | ClientKind::Spa | ClientKind::Native) {
        let text = "must be WEB_APP, SPA or NTV: an environment has one default client, which came with it";
        return Err(Error::invalid("client.client_type", "client_type", text));
    }
    let now = core.clock.now();
    let name = settings.name.clone().unwrap_or_default();
    let mut client = NewClient::new(kind, name.clone()).build(&core.ids, environment.id, environment.kind, now)?;
    client.disallow_api_access = kind.is_public();
    Settings { name: Some(name), ..settings }.apply(&mut client, environment.kind)?;
    let environment = environment.id;
    let creation = Arc::new((client, key, now));
    idempotency::past_twins(creation.1.as_ref(), || {
        let (probe, attempt) = (creation.0.client_id.clone(), Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| store::exists(tx, &probe).await,
            async move |tx| {
                let (client, key, now) = &*attempt;
                if let Some(earlier) = earlier(tx, key.as_ref(), client, *now).await? {
                    return Ok(earlier);
                }
                scopes::check_known(tx, environment, "client.scopes", &client.scopes, &[]).await?;
                store::insert(tx, client).await?;
                remember(tx, key.as_ref(), client, *now).await?;
                Ok(client.clone())
            },
        )
    })
    .await
}

/// What an earlier request with the same key has made.
pub(crate) async fn earlier(
    tx: &mut Tx,
    key: Option<&IdempotencyKey>,
    client: &Client,
    now: Timestamp,
) -> Result<Option<Client>> {
    let Some(key) = key else { return Ok(None) };
    match idempotency::find(tx, key, now).await? {
        Some(id) => {
            let found = store::by_key(tx, client.environment, client.kind, KeyId(id)).await?;
            found.map(Some).ok_or_else(not_found)
        }
        None => Ok(None),
    }
}

/// Remembers what was made.
pub(crate) async fn remember(tx: &mut Tx, key: Option<&IdempotencyKey>, client: &Client, now: Timestamp) -> Result<()> {
    match key {
        Some(key) => idempotency::remember(tx, key, client.key_id.0, now).await,
        None => Ok(()),
    }
}

/// An application as the database has it now. Clients of organizations and resources are NOT_FOUND.
pub async fn get(core: &Core, environment: EnvId, client_id: &str) -> Result<Client> {
    let client = super::read(core, environment, client_id).await?;
    if client.kind.is_application() { Ok(client) } else { Err(not_found()) }
}

/// Applications of these kinds, newest first.
pub async fn list(
    core: &Core,
    environment: EnvId,
    kinds: Vec<ClientKind>,
    request: &PageRequest,
) -> Result<Page<Client>> {
    let mut numbers: Vec<String> =
        kinds.iter().filter(|kind| kind.is_application()).map(|&kind| (kind as i32).to_string()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let numbers = numbers.join(", ");
    let scope = Scope::new(environment, "clients", &numbers);
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            let rows = Rows {
                columns: store::COLUMNS,
                from: &format!("clients WHERE environment_id = $1 AND kind IN ({numbers})"),
                key: "key_id",
                values: p![environment].to_vec(),
            };
            let page = rows.page(tx, &scope, position, size, |row: &ClientRow| row.0.key_id.0).await?;
            with_secrets(tx, page).await
        })
        .await
}

/// A page of clients with their secrets.
pub(crate) async fn with_secrets(tx: &mut Tx, page: Page<ClientRow>) -> Result<Page<Client>> {
    let Page { items, next, prev, total } = page;
    Ok(Page { items: store::with_secrets(tx, items).await?, next, prev, total })
}

/// Changes what is given.
pub async fn update(core: &Core, environment: &Environment, client_id: &str, settings: Settings) -> Result<Client> {
    let kind = environment.kind;
    change(core, environment.id, Which::Id(client_id.to_owned()), move |client| settings.apply(client, kind)).await
}

/// Which application is changed.
enum Which {
    Id(String),
    Default,
}

async fn change<F>(core: &Core, environment: EnvId, which: Which, edit: F) -> Result<Client>
where
    F: Fn(&mut Client) -> Result<()> + Send + 'static,
{
    let now = core.clock.now();
    let (client, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let client_id = match &which {
                Which::Id(client_id) => client_id.clone(),
                Which::Default => {
                    let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND is_default = 1";
                    tx.opt::<(String,)>(sql, &p![environment]).await?.ok_or_else(not_found)?.0
                }
            };
            let client = store::load(tx, &client_id).await?;
            let client = client.filter(|client| client.environment == environment && client.kind.is_application());
            let mut client = client.ok_or_else(not_found)?;
            let before = client.scopes.clone();
            edit(&mut client)?;
            scopes::check_known(tx, environment, "client.scopes", &client.scopes, &before).await?;
            client.updated_at = now.max(client.updated_at);
            store::update(tx, &client).await?;
            let bump = cache::bump(tx, cache::CLIENTS).await?;
            Ok::<_, Error>((client, bump))
        })
        .await?;
    core.caches.apply(bump);
    Ok(client)
}

/// Deletes an application: its tokens and refresh tokens end. The default one stays: FAILED_PRECONDITION.
pub async fn delete(core: &Core, environment: EnvId, client_id: &str) -> Result<()> {
    let client_id = client_id.to_owned();
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let client = store::load(tx, &client_id).await?;
            let client = client.filter(|client| client.environment == environment && client.kind.is_application());
            let client = client.ok_or_else(not_found)?;
            if client.is_default || client.kind == ClientKind::Env {
                return Err(Error::new(Kind::FailedPrecondition, "the default client cannot be deleted"));
            }
            store::delete(tx, environment, &client_id).await?;
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Adds a callback to the default application. ALREADY_EXISTS if it is there.
pub async fn add_redirect_uri(core: &Core, environment: &Environment, uri: String) -> Result<Client> {
    let kind = environment.kind;
    change(core, environment.id, Which::Default, move |client| {
        if client.post_login_uris.contains(&uri) {
            return Err(Error::new(Kind::AlreadyExists, "redirect uri already exists"));
        }
        if let Err(broken) = super::redirects::check(kind, UriList::Callback, &uri) {
            return Err(Error::invalid("redirect_uri", "redirect_uri", broken));
        }
        if client.post_login_uris.len() >= validation::URIS {
            let text = format!("the default client has {} redirect URIs already", client.post_login_uris.len());
            return Err(Error::invalid("redirect_uri", "repeated.max_items", text));
        }
        client.post_login_uris.push(uri.clone());
        Ok(())
    })
    .await
}

/// Takes a callback from the default application. NOT_FOUND if it is not there; the last one stays: INVALID_ARGUMENT.
pub async fn remove_redirect_uri(core: &Core, environment: EnvId, uri: String) -> Result<Client> {
    change(core, environment, Which::Default, move |client| {
        if !client.post_login_uris.contains(&uri) {
            return Err(Error::not_found("redirect uri"));
        }
        if client.post_login_uris.len() == 1 {
            return Err(Error::invalid(
                "redirect_uri",
                "repeated.min_items",
                "the last redirect URI cannot be removed",
            ));
        }
        client.post_login_uris.retain(|other| *other != uri);
        Ok(())
    })
    .await
}

/// Sets where a login at the default application is started.
pub async fn set_initiate_login_uri(core: &Core, environment: &Environment, uri: String) -> Result<Client> {
    let kind = environment.kind;
    change(core, environment.id, Which::Default, move |client| {
        if let Err(broken) = super::redirects::check(kind, UriList::InitiateLogin, &uri) {
            return Err(Error::invalid("initiate_login_uri", "redirect_uri", broken));
        }
        client.initiate_login_uri.clone_from(&uri);
        Ok(())
    })
    .await
}
