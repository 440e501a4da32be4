//! Clients: applications, API credentials, machine credentials of organizations and of resources.

mod allowlist;
pub mod applications;
pub mod machines;
mod origins;
pub mod redirects;
mod secrets;
pub(crate) mod store;
pub(crate) mod validation;

use std::sync::Arc;

pub(crate) use allowlist::admit;
pub use allowlist::{Cidr, Family, IpAllowlist, check_address, family_of};
pub(crate) use origins::Origins;
pub use origins::is_allowed_origin;
pub(crate) use secrets::insert as insert_secret;
pub use secrets::{
    LastUsed, NewSecret, SecretStatus, StoredSecret, add_secret, authenticate, delete_secret, flush_last_used,
    set_secret_status,
};
pub(crate) use store::insert;

use narthex_db::{Tx, p};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::EnvironmentKind;
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, Ids, KeyId, OrganizationId, ResourceId};

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// API credentials and default application of an environment.
    Env = 1,
    /// Web application with a backend.
    WebApp = 2,
    /// Single-page application: public.
    Spa = 3,
    /// Native application: public.
    Native = 4,
    /// Machine credentials of one organization.
    Organization = 5,
    /// Client of one resource (MCP server).
    Resource = 6,
}

impl ClientKind {
    fn from_number(number: i32) -> Option<Self> {
        [Self::Env, Self::WebApp, Self::Spa, Self::Native, Self::Organization, Self::Resource]
            .into_iter()
            .find(|&kind| kind as i32 == number)
    }

    /// The prefix of its ids (oauth-oidc reference §10).
    pub const fn prefix(self, environment: EnvironmentKind) -> &'static str {
        match (self, environment) {
            (Self::Env, EnvironmentKind::Dev) => "skc_",
            (Self::Env, EnvironmentKind::Prd) => "prd_skc_",
            (Self::WebApp, _) => "webc_",
            (Self::Spa, _) => "spac_",
            (Self::Native, _) => "ntvc_",
            (Self::Organization, _) => "m2morg_",
            (Self::Resource, _) => "m2m_",
        }
    }

    /// How many secrets may be active at once (oauth-oidc reference OP-15).
    pub const fn secret_limit(self) -> usize {
        match self {
            Self::Env | Self::WebApp => 2,
            Self::Spa | Self::Native => 0,
            Self::Organization | Self::Resource => 5,
        }
    }

    /// Applications sign users in; organization and resource clients only represent themselves.
    pub const fn is_application(self) -> bool {
        !matches!(self, Self::Organization | Self::Resource)
    }

    /// The name on the wire (`Client.client_type`); None for kinds that are no applications.
    pub const fn wire_name(self) -> Option<&'static str> {
        match self {
            Self::Env => Some("ENV"),
            Self::WebApp => Some("WEB_APP"),
            Self::Spa => Some("SPA"),
            Self::Native => Some("NTV"),
            Self::Organization | Self::Resource => None,
        }
    }

    /// Public clients have no secret, always prove themselves by PKCE, and never reach the management API.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Spa | Self::Native)
    }

    /// The grants that a client of this kind can be given (oauth-oidc reference §14.1).
    pub const fn grants(self) -> &'static [&'static str] {
        match self {
            Self::Env | Self::WebApp | Self::Resource => &["authorization_code", "refresh_token", "client_credentials"],
            Self::Spa | Self::Native => &["authorization_code", "refresh_token"],
            Self::Organization => &["client_credentials"],
        }
    }
}

/// A key and value that is added to the client's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomClaim {
    /// 1 to 128 characters.
    pub key: String,
    /// Any text.
    pub value: String,
}

/// How a client came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientOrigin {
    /// An administrator made it.
    Administrator = 0,
    /// It registered itself (RFC 7591).
    Registered = 1,
    /// It is described by a document at its `client_id`.
    MetadataDocument = 2,
}

/// What a client that registered itself says of itself: unverified, shown as such.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presentation {
    /// Home page.
    pub client_uri: String,
    /// Logo.
    pub logo_uri: String,
    /// Terms of service.
    pub tos_uri: String,
    /// Privacy policy.
    pub policy_uri: String,
}

/// A client with its secrets' records.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools)] // independent switches of the contract
pub struct Client {
    /// OAuth `client_id`.
    pub client_id: String,
    /// Record id (`Client.keyId` on the wire).
    pub key_id: KeyId,
    /// Environment.
    pub environment: EnvId,
    /// Organization, for organization clients.
    pub organization: Option<OrganizationId>,
    /// Resource, for resource clients.
    pub resource: Option<ResourceId>,
    /// Kind.
    pub kind: ClientKind,
    /// The environment's default application, which cannot be deleted.
    pub is_default: bool,
    /// Name for people.
    pub name: String,
    /// Text for people.
    pub description: String,
    /// A disabled client gets no tokens, and those it has are refused.
    pub enabled: bool,
    /// A web application that may not use the management API.
    pub disallow_api_access: bool,
    /// Whether the code flow needs PKCE.
    pub enforce_pkce: bool,
    /// Lifetime of its access tokens in seconds; None takes the environment's.
    pub access_token_expiry: Option<u32>,
    /// Grants it may use.
    pub grant_types: Vec<String>,
    /// Registered scopes.
    pub scopes: Vec<String>,
    /// `aud` of its own tokens.
    pub audience: Vec<String>,
    /// Claims added to its own tokens.
    pub custom_claims: Vec<CustomClaim>,
    /// Allowed callbacks.
    pub post_login_uris: Vec<String>,
    /// Allowed targets after logout.
    pub post_logout_redirect_uris: Vec<String>,
    /// Back-channel logout endpoints.
    pub back_channel_logout_uris: Vec<String>,
    /// Where a login may be started, or empty.
    pub initiate_login_uri: String,
    /// Where its credentials may be used from; None is anywhere.
    pub ip_allowlist: Option<IpAllowlist>,
    /// How it came to be.
    pub origin: ClientOrigin,
    /// The document that describes it, or empty.
    pub metadata_uri: String,
    /// What it says of itself.
    pub presentation: Presentation,
    /// Tokens issued before this are refused; real time.
    pub tokens_valid_after: Timestamp,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Secrets, oldest first, active or not.
    pub secrets: Vec<StoredSecret>,
}

impl Client {
    /// Whether it takes responsibility for a token that was issued at this second, real time.
    pub(crate) fn honours(&self, issued_at: i64) -> bool {
        issued_at.saturating_mul(1_000_000) >= self.tokens_valid_after.0
    }

    /// How tokens and other servers name it: by the URL of the document that describes it, where there is one.
    pub fn oauth_id(&self) -> &str {
        if self.origin == ClientOrigin::MetadataDocument { &self.metadata_uri } else { &self.client_id }
    }

    /// Whether it may call the management API with its own credentials (control plane reference §2.2).
    pub fn may_use_api(&self) -> bool {
        match self.kind {
            ClientKind::Env => true,
            ClientKind::WebApp => !self.disallow_api_access,
            _ => false,
        }
    }
}

/// A client to be made.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// OAuth `client_id`; None makes one. Supplied ones keep the prefix of the kind (OPS-05).
    pub client_id: Option<String>,
    /// Kind.
    pub kind: ClientKind,
    /// Whether it is the environment's default application.
    pub is_default: bool,
    /// Organization, for organization clients.
    pub organization: Option<OrganizationId>,
    /// Name for people.
    pub name: String,
    /// Allowed callbacks.
    pub post_login_uris: Vec<String>,
    /// Where a logout may lead.
    pub post_logout_redirect_uris: Vec<String>,
    /// Registered scopes.
    pub scopes: Vec<String>,
    /// `aud` of its own tokens.
    pub audience: Vec<String>,
    /// Claims added to its own tokens.
    pub custom_claims: Vec<CustomClaim>,
    /// Lifetime of its access tokens in seconds; None takes the default of the kind.
    pub access_token_expiry: Option<u32>,
}

impl NewClient {
    /// A client of `kind` with nothing but a name.
    pub fn new(kind: ClientKind, name: impl Into<String>) -> Self {
        Self {
            client_id: None,
            kind,
            is_default: false,
            organization: None,
            name: name.into(),
            post_login_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            scopes: Vec::new(),
            audience: Vec::new(),
            custom_claims: Vec::new(),
            access_token_expiry: None,
        }
    }

    /// The row.
    pub(crate) fn build(
        self,
        ids: &Ids,
        environment: EnvId,
        environment_kind: EnvironmentKind,
        now: Timestamp,
    ) -> Result<Client> {
        let prefix = self.kind.prefix(environment_kind);
        let client_id = match self.client_id {
            None => format!("{prefix}{}", ids.next()),
            Some(given) => check_client_id(given, prefix)?,
        };
        Ok(Client {
            client_id,
            key_id: KeyId::new(ids),
            environment,
            organization: self.organization,
            resource: None,
            kind: self.kind,
            is_default: self.is_default,
            name: self.name,
            description: String::new(),
            enabled: true,
            disallow_api_access: false,
            enforce_pkce: matches!(self.kind, ClientKind::Spa | ClientKind::Native),
            access_token_expiry: self.access_token_expiry.or(match self.kind {
                ClientKind::Organization | ClientKind::Resource => Some(3_600),
                _ => None,
            }),
            grant_types: self.kind.grants().iter().map(|&grant| grant.to_owned()).collect(),
            scopes: self.scopes,
            audience: self.audience,
            custom_claims: self.custom_claims,
            post_login_uris: self.post_login_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            back_channel_logout_uris: Vec::new(),
            initiate_login_uri: String::new(),
            ip_allowlist: None,
            origin: ClientOrigin::Administrator,
            metadata_uri: String::new(),
            presentation: Presentation::default(),
            tokens_valid_after: Timestamp(0),
            created_at: now,
            updated_at: now,
            secrets: Vec::new(),
        })
    }
}

/// A supplied id has the prefix of its kind, since code tells kinds apart by it, and the length that the contract allows.
fn check_client_id(given: String, prefix: &str) -> Result<String> {
    let rest = given.strip_prefix(prefix).unwrap_or_default();
    if !rest.is_empty() && given.len() <= 32 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(given)
    } else {
        let text =
            format!("must begin with {prefix}, have at most 32 characters, and go on with letters, digits and _");
        Err(Error::invalid("client_id", "client_id", text))
    }
}

/// A client of an environment by its OAuth id.
pub async fn get(core: &Core, environment: EnvId, client_id: &str) -> Result<Option<Arc<Client>>> {
    let key = client_id.to_owned();
    let load = async { store::load(&mut *core.db.reader().await?, &key).await };
    let client = core.caches.clients.get(&key, load).await?;
    // Ids are unique over all environments; an id of another one is nobody here.
    Ok(client.filter(|client| client.environment == environment))
}

/// The environment's own application, which is there from the start.
pub async fn default_application(core: &Core, environment: EnvId) -> Result<Option<Arc<Client>>> {
    let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND is_default = 1";
    let found: Option<(String,)> = core.db.reader().await?.opt(sql, &p![environment]).await?;
    match found {
        Some((client_id,)) => get(core, environment, &client_id).await,
        None => Ok(None),
    }
}

/// A client as the database has it now, with the last uses of its secrets, which the cache may not have.
pub async fn read(core: &Core, environment: EnvId, client_id: &str) -> Result<Client> {
    let found = store::load(&mut *core.db.reader().await?, client_id).await?;
    found.filter(|client| client.environment == environment).ok_or_else(not_found)
}

/// A client that was just made, and its first secret, where it has one: the only time that the secret can be read. A request that is
/// sent again with its `idempotency-key` finds the client without it.
pub struct Created {
    /// The client.
    pub client: Client,
    /// Its secret.
    pub secret: Option<crate::seal::Secret<String>>,
}

/// Makes a client. INVALID_ARGUMENT if a supplied id is taken.
pub async fn create(core: &Core, environment: EnvId, kind: EnvironmentKind, new: NewClient) -> Result<Client> {
    let client = new.build(&core.ids, environment, kind, core.clock.now())?;
    let row = client.clone();
    core.db.write(async move |tx| store::insert(tx, &row).await).await?;
    Ok(client)
}

/// Enables or disables a client. Disabling ends its tokens at once, and they stay ended when it is enabled again.
pub async fn set_enabled(core: &Core, environment: EnvId, client_id: &str, enabled: bool) -> Result<()> {
    let valid_after = if enabled { None } else { Some(core.clock.real_now()) };
    change(core, environment, client_id, Change::Enabled(enabled, valid_after)).await
}

/// Ends every token that the client has; new ones can be had at once.
pub async fn end_tokens(core: &Core, environment: EnvId, client_id: &str) -> Result<()> {
    change(core, environment, client_id, Change::TokensValidAfter(core.clock.real_now())).await
}

/// Lets a web application use the management API, or not. Tokens it already has are refused from then on.
pub async fn set_api_access(core: &Core, environment: EnvId, client_id: &str, allowed: bool) -> Result<()> {
    change(core, environment, client_id, Change::ApiAccess(allowed)).await
}

#[derive(Clone, Copy)]
enum Change {
    Enabled(bool, Option<Timestamp>),
    TokensValidAfter(Timestamp),
    ApiAccess(bool),
}

async fn change(core: &Core, environment: EnvId, client_id: &str, change: Change) -> Result<()> {
    let (client_id, now) = (client_id.to_owned(), core.clock.now());
    let bump = core
        .db
        .write(async move |tx| {
            let sql = "SELECT enabled, disallow_api_access, tokens_valid_after FROM clients \
                       WHERE environment_id = $1 AND client_id = $2";
            let row: Option<(bool, bool, Timestamp)> = tx.opt(sql, &p![environment, &client_id]).await?;
            let (mut enabled, mut disallow, mut valid_after) = row.ok_or_else(not_found)?;
            match change {
                Change::Enabled(to, at) => (enabled, valid_after) = (to, at.unwrap_or(valid_after)),
                Change::TokensValidAfter(at) => valid_after = at,
                Change::ApiAccess(allowed) => disallow = !allowed,
            }
            let sql = "UPDATE clients SET enabled = $1, disallow_api_access = $2, tokens_valid_after = $3, updated_at = $4 \
                       WHERE client_id = $5";
            tx.execute(sql, &p![enabled, disallow, valid_after, now, &client_id]).await?;
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Disables all clients of an organization, however many, within the transaction that deletes it. Nothing, if it has none. Apply the
/// bump after the commit: their tokens are refused from then on.
pub(crate) async fn disable_of_organization(
    tx: &mut Tx,
    organization: OrganizationId,
    valid_after: Timestamp,
    now: Timestamp,
) -> Result<Option<Bump>> {
    let sql = "UPDATE clients SET enabled = 0, tokens_valid_after = $2, updated_at = $3 WHERE organization_id = $1";
    if tx.execute(sql, &p![organization, valid_after, now]).await? == 0 {
        return Ok(None);
    }
    cache::bump(tx, cache::CLIENTS).await.map(Some).map_err(Error::from)
}

/// Removes up to 50 of the clients of a deleted organization with their secrets; how many, and the bump to apply after the commit.
pub(crate) async fn purge_of_organization(tx: &mut Tx, organization: OrganizationId) -> Result<(u64, Option<Bump>)> {
    let sql = "SELECT client_id, environment_id FROM clients WHERE organization_id = $1 ORDER BY key_id LIMIT $2";
    let clients = machines::tx_rows(tx, sql, organization.0).await?;
    machines::purge(tx, clients).await
}

/// The answer to an id that is no client of the environment.
pub fn not_found() -> Error {
    Error::new(Kind::NotFound, "client not found")
}
