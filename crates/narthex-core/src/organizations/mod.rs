//! Organizations: the tenants of an environment.

mod branding;
mod change;
mod feature;
mod list;
mod search;
mod session_policy;
mod store;
mod validation;

use std::collections::BTreeMap;

pub(crate) use branding::own as own_branding;
pub use branding::{Branding, branding, update_branding};
pub use change::{
    CASCADE, cascade, create, delete, recount, set_features, set_max_allowed_users, set_session_policy, update,
};
pub(crate) use change::{Creation, data, prepare, share};
pub use feature::{Feature, Features};
pub use list::{LIST, SEARCH, list, search};
pub(crate) use search::{index_pending, normalise};
pub use session_policy::{SessionPolicy, SessionPolicyChange};
pub(crate) use store::load;

use narthex_db::p;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId};

/// Where the data of an organization is kept; never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the wire's names
pub enum Region {
    Us,
    Eu,
}

impl Region {
    /// The wire's name, which is also the stored one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Us => "US",
            Self::Eu => "EU",
        }
    }
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Id.
    pub id: OrganizationId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Name for people; empty only where hosted sign-up made the organization.
    pub display_name: String,
    /// Region.
    pub region: Region,
    /// The application's own id for it, unique in the environment.
    pub external_id: Option<String>,
    /// DNS label or host name, unique in the environment.
    pub slug: Option<String>,
    /// Logo, an https URL.
    pub logo_url: Option<String>,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
    /// What its administrators may set up themselves.
    pub features: Features,
    /// Seats: `None` is no setting, `Some(0)` no limit.
    pub max_allowed_users: Option<i32>,
    /// Lifetimes of its members' sessions.
    pub session_policy: SessionPolicy,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// An organization to be made.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// A fixed id, for seeds; else the next one.
    pub id: Option<OrganizationId>,
    /// Name; empty is for hosted sign-up, the API's contract refuses it.
    pub display_name: String,
    /// Region.
    pub region: Region,
    /// The application's own id; an empty one is none.
    pub external_id: Option<String>,
    /// DNS label or host name; an empty one is none.
    pub slug: Option<String>,
    /// https URL; an empty one is none.
    pub logo_url: Option<String>,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
}

impl NewOrganization {
    /// One with a name only.
    pub fn named(display_name: impl Into<String>) -> Self {
        Self {
            id: None,
            display_name: display_name.into(),
            region: Region::Us,
            external_id: None,
            slug: None,
            logo_url: None,
            metadata: BTreeMap::new(),
        }
    }

    /// A text that is equal exactly for equal requests.
    pub fn fingerprint(&self) -> String {
        let fields = (&self.external_id, &self.slug, &self.logo_url, &self.metadata);
        serde_json::json!([self.id.map(|id| id.0), self.display_name, self.region.name(), fields]).to_string()
    }
}

/// What happens to a field that can be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is removed.
    Clear,
    /// It gets this value.
    Set(T),
}

impl<T> Patch<T> {
    pub(crate) fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }
}

/// A change of an organization.
#[derive(Debug, Clone, Default)]
pub struct OrganizationPatch {
    /// New name; it cannot be cleared.
    pub display_name: Option<String>,
    /// The application's own id.
    pub external_id: Patch<String>,
    /// All metadata, in place of the old; an empty map clears it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// DNS label or host name.
    pub slug: Patch<String>,
    /// https URL.
    pub logo_url: Patch<String>,
}

/// How a caller names an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By its id.
    Id(OrganizationId),
    /// By the application's own id.
    ExternalId(String),
}

/// The answer to an identity that is no organization of the environment.
pub fn not_found() -> Error {
    Error::not_found("organization")
}

/// An organization of the environment.
pub async fn get(core: &Core, environment: EnvId, identity: &Identity) -> Result<Organization> {
    store::load(&mut *core.db.reader().await?, environment, identity).await?.ok_or_else(not_found)
}

/// Whether an environment has an organization, from memory. One that is deleted is gone at once on the node that deletes it and within a
/// second on others.
pub(crate) async fn exists(core: &Core, environment: EnvId, id: OrganizationId) -> Result<bool> {
    let load = async {
        let sql = "SELECT environment_id FROM organizations WHERE id = $1";
        let found: Option<(EnvId,)> = core.db.reader().await?.opt(sql, &p![id]).await?;
        Ok(found.map(|(environment,)| environment))
    };
    Ok(core.caches.organizations.get(&id, load).await?.is_some_and(|found| *found == environment))
}
