//! Environments: the tenants of the product's users. Nothing below one is shared with another.

mod change;
mod context;
mod settings;
mod store;
pub mod test_users;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{Switch, set_switches, update_session_settings};
pub use context::{context, set_context};
pub use settings::{SessionSettings, SessionSettingsPatch, Span, SpanPatch, TimeUnit};
pub(crate) use store::insert;

use narthex_db::p;

use crate::cache;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, WorkspaceId};
use crate::pages::{Limits, Page, PageRequest, Scope};
use crate::{Timestamp, Violation};

/// What an environment is for (`scalekit.v1.commons.EnvironmentType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnvironmentKind {
    /// Production.
    Prd = 1,
    /// Development: plain HTTP, localhost and wildcards in redirect URIs, test data.
    Dev = 2,
}

/// State of a custom domain (`scalekit.v1.environments.CustomDomainStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the wire's names
pub enum CustomDomainStatus {
    Unspecified = 0,
    Pending = 1,
    Active = 2,
    Failed = 3,
    Initial = 4,
}

/// How end users are authenticated (`scalekit.v1.commons.AuthenticationMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationMode {
    /// Single sign-on and passwordless as building blocks; no users, no sessions.
    Modular = 1,
    /// Users, organizations, sessions and hosted login.
    FullStack = 2,
}

/// An environment with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Id.
    pub id: EnvId,
    /// Owner.
    pub workspace_id: WorkspaceId,
    /// Production or development.
    pub kind: EnvironmentKind,
    /// The product's own environment, which authenticates operators.
    pub is_system: bool,
    /// Name for people.
    pub display_name: String,
    /// `host[:port]` of `origin`.
    pub domain: String,
    /// Canonical base URL without a trailing slash, e.g. `https://localhost:8443`; `iss` of its tokens.
    pub origin: String,
    /// Customer's own domain, a bare host name.
    pub custom_domain: Option<String>,
    /// State of that domain.
    pub custom_domain_status: CustomDomainStatus,
    /// How end users are authenticated.
    pub authentication_mode: AuthenticationMode,
    /// Sessions and token lifetimes.
    pub session: SessionSettings,
    /// Features by name; see [`Environment::has_feature`].
    pub features: BTreeMap<String, bool>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Environment {
    /// Whether a feature (`sso`, `dir_sync`, `domain_verification`, `session_policy`, …) is switched on for the environment.
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.get(name).copied().unwrap_or(false)
    }

    /// Whether `issuer` is one of the origins of this environment's tokens.
    pub fn is_issuer(&self, issuer: &str) -> bool {
        issuer == self.origin
            || self.custom_domain_status == CustomDomainStatus::Active
                && self.custom_domain.as_deref().is_some_and(|domain| issuer.strip_prefix("https://") == Some(domain))
    }
}

/// An environment to be made. Ids come from outside so that a seed file can fix them.
#[derive(Debug, Clone)]
pub struct NewEnvironment {
    /// Id.
    pub id: EnvId,
    /// Owner.
    pub workspace_id: WorkspaceId,
    /// Production or development.
    pub kind: EnvironmentKind,
    /// Whether this is the product's own.
    pub is_system: bool,
    /// Name for people.
    pub display_name: String,
    /// Canonical base URL without a trailing slash.
    pub origin: String,
}

/// Characters of a Host at most: a name of RFC 1035 §2.3.4 and a port.
const LONGEST_HOST: usize = 260;

/// The environment that a request's Host (or `:authority`) names; None for an unregistered host, which must be answered with 404
/// (DNS rebinding). Letter case and the scheme's own port do not matter.
pub async fn by_host(core: &Core, host: &str) -> Result<Option<Arc<Environment>>> {
    let host = normalise_host(host);
    if host.len() > LONGEST_HOST {
        return Ok(None);
    }
    let load = async {
        let mut found = None;
        // A Host is the first thing that a stranger says, before any limit: the same wrong one is looked for once.
        let look = async {
            let sql = "SELECT environment_id FROM environment_hosts WHERE host = $1 AND active = 1";
            found = core.db.reader().await?.opt::<(EnvId,)>(sql, &p![&host]).await?.map(|(id,)| id);
            Ok(found.is_none().then_some(()))
        };
        core.caches.unknown_hosts.get(&host, look).await?;
        Ok(found)
    };
    match core.caches.hosts.get(&host, load).await? {
        Some(id) => by_id(core, *id).await,
        None => Ok(None),
    }
}

/// An environment by its id.
pub async fn by_id(core: &Core, id: EnvId) -> Result<Option<Arc<Environment>>> {
    core.caches.environments.get(&id, async { store::load(&mut *core.db.reader().await?, id).await }).await
}

/// The product's own environment, which signs operators' tokens. None before the first start has seeded it.
pub async fn system(core: &Core) -> Result<Option<Arc<Environment>>> {
    let load = async {
        let sql = "SELECT id FROM environments WHERE is_system = 1";
        Ok(core.db.reader().await?.opt::<(EnvId,)>(sql, &[]).await?.map(|(id,)| id))
    };
    match core.caches.system_environment.get(&(), load).await? {
        Some(id) => by_id(core, *id).await,
        None => Ok(None),
    }
}

/// Every environment of a workspace, oldest first.
pub async fn list(core: &Core, workspace: WorkspaceId) -> Result<Vec<Environment>> {
    core.db.read(async move |tx| store::list(tx, workspace).await).await
}

/// Page sizes of a workspace's environments.
pub const LIST: Limits = Limits { default: 30, max: 100 };

/// The environments of a workspace for its operators, newest first, without the product's own.
pub async fn page(core: &Core, workspace: WorkspaceId, asked: &PageRequest) -> Result<Page<Environment>> {
    let scope = Scope::new(EnvId(0), "environments", &workspace.to_string());
    let size = LIST.size(asked.size);
    let position = scope.position(&asked.token, size)?;
    core.db.read(async move |tx| store::page(tx, workspace, &scope, position, size).await).await
}

/// Moves an environment to `origin`, reached under `hosts` as well (all `host[:port]`). `narthex dev` does so at each start, when its
/// ports are known. INVALID_ARGUMENT if another environment has one of the hosts.
pub async fn bind(core: &Core, id: EnvId, origin: &str, hosts: &[String]) -> Result<()> {
    let domain = domain_of(origin)?;
    let (origin, now) = (origin.to_owned(), core.clock.now());
    let mut all: Vec<String> = std::iter::once(&domain).chain(hosts).map(|host| normalise_host(host)).collect();
    all.sort_unstable();
    all.dedup();
    let bump = core
        .db
        .write(async move |tx| {
            let sql = "SELECT host FROM environment_hosts WHERE environment_id = $1 AND is_custom = 0 ORDER BY host";
            let bound: Vec<(String,)> = tx.all(sql, &p![id]).await?;
            let sql = "UPDATE environments SET origin = $1, domain = $2, updated_at = $3 \
                       WHERE id = $4 AND (origin <> $1 OR domain <> $2)";
            let moved = tx.execute(sql, &p![&origin, &domain, now, id]).await?;
            if moved == 0 && bound.iter().map(|(host,)| host).eq(&all) {
                return Ok(None);
            }
            tx.execute("DELETE FROM environment_hosts WHERE environment_id = $1 AND is_custom = 0", &p![id]).await?;
            for host in &all {
                store::insert_host(tx, host, id, false).await?;
            }
            cache::bump(tx, cache::ENVIRONMENTS).await.map(Some).map_err(Error::from)
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(())
}

/// `host[:port]` of a base URL.
pub(crate) fn domain_of(origin: &str) -> Result<String> {
    let domain = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    if domain.is_empty() || !domain.bytes().all(plain) {
        return Err(Error::violations(vec![Violation::new(
            "origin",
            "origin",
            format!("{origin:?} is not a base URL: expected https://host[:port] without a path"),
        )]));
    }
    Ok(domain.to_ascii_lowercase())
}

/// One spelling per host: lower case, without the port that its scheme has anyway.
fn normalise_host(host: &str) -> String {
    let host = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host);
    host.to_ascii_lowercase()
}

/// The answer to an id that is not an environment of the caller.
pub fn not_found() -> Error {
    Error::new(Kind::NotFound, "environment not found")
}
