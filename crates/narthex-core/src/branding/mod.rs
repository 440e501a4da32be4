//! How the hosted pages of an environment look, and what an organization's members see of it: free-form settings under the keys of
//! orgs-users-rbac reference §2.8. Unknown keys are kept; whoever draws a page reads those it knows and checks their values, since an
//! organization's administrators may have written them.

mod css;

use std::sync::Arc;

use narthex_db::p;
use serde_json::{Map, Value};

pub(crate) use css::one_declaration;

use crate::cache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId};
use crate::json;
use crate::organizations::{self, Identity};

/// Key of the switch that shows an organization's own logo and name to its members.
pub const ORGANIZATION_BRANDING: &str = "organization_logo_branding";

/// The settings of an environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// By key.
    pub values: Map<String, Value>,
    /// Last change; `None` before the first.
    pub updated_at: Option<Timestamp>,
}

/// What a page is drawn from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Look {
    /// The environment's settings, with those of the organization in their place where it has its own.
    pub settings: Map<String, Value>,
    /// The organization, where the environment lets organizations be seen.
    pub organization: Option<OrganizationLook>,
}

/// What members of an organization see of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationLook {
    /// Its name; empty where hosted sign-up made it without one.
    pub display_name: String,
    /// Its logo. Without one the application's stands.
    pub logo_url: Option<String>,
}

impl Look {
    /// A text among the settings; `None` for none and for an empty one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.settings.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The application's name, as it introduces itself.
    pub fn app_name(&self) -> Option<&str> {
        self.text("app_name")
    }

    /// What the application calls an organization.
    pub fn organization_meta_name(&self) -> &str {
        self.text("organization_meta_name").unwrap_or("Organization")
    }

    /// The logo to show: the organization's where it has one that may be seen, else the application's.
    pub fn logo_url(&self) -> Option<&str> {
        let own = self.organization.as_ref().and_then(|organization| organization.logo_url.as_deref());
        own.or_else(|| self.text("logo_url"))
    }
}

/// The settings of an environment, from memory where they are.
pub async fn settings(core: &Core, environment: EnvId) -> Result<Arc<Settings>> {
    let load = async {
        let sql = "SELECT settings, updated_at FROM environment_branding WHERE environment_id = $1";
        let found: Option<(String, Timestamp)> = core.db.reader().await?.opt(sql, &p![environment]).await?;
        // An environment without a row is remembered too.
        Ok(Some(match found {
            None => Settings::default(),
            Some((text, updated_at)) => {
                Settings { values: serde_json::from_str(&text).map_err(Error::internal)?, updated_at: Some(updated_at) }
            }
        }))
    };
    Ok(core.caches.branding.get(&environment, load).await?.unwrap_or_default())
}

/// What a page looks like to somebody who signs in, to this organization where it is known. An organization of another environment, or
/// one that is gone, changes nothing.
pub async fn look(core: &Core, environment: &Environment, organization: Option<OrganizationId>) -> Result<Look> {
    let settings = settings(core, environment.id).await?;
    let mut look = Look { settings: settings.values.clone(), organization: None };
    let Some(id) = organization else { return Ok(look) };
    let environment = environment.id;
    let found = core
        .db
        .read(async move |tx| {
            let Some(organization) = organizations::load(tx, environment, &Identity::Id(id)).await? else {
                return Ok(None);
            };
            Ok::<_, Error>(Some((organization, organizations::own_branding(tx, id).await?)))
        })
        .await?;
    let Some((organization, own)) = found else { return Ok(look) };
    if is_on(&look.settings) {
        look.organization =
            Some(OrganizationLook { display_name: organization.display_name, logo_url: organization.logo_url });
    }
    for (key, value) in own.unwrap_or_default() {
        // Whether organizations are seen is for the application to say.
        if key != ORGANIZATION_BRANDING {
            look.settings.insert(key, value);
        }
    }
    Ok(look)
}

/// Whether organizations show their own logo and name.
pub fn is_on(settings: &Map<String, Value>) -> bool {
    settings.get(ORGANIZATION_BRANDING).and_then(Value::as_bool).unwrap_or(false)
}

/// Replaces the settings of an environment as a whole, and answers with them.
pub async fn update(core: &Core, environment: EnvId, settings: Map<String, Value>) -> Result<Arc<Settings>> {
    let settings = cleaned(settings);
    let text = json::bounded("customization_settings", &settings)?;
    let now = core.clock.now();
    let bump = core
        .db
        .write_for(organizations::share(environment), async move |tx| {
            let sql = "SELECT settings FROM environment_branding WHERE environment_id = $1";
            let stored: Option<(String,)> = tx.opt(sql, &p![environment]).await?;
            if stored.is_some_and(|(stored,)| stored == text) {
                return Ok(None);
            }
            let sql = "INSERT INTO environment_branding (environment_id, settings, updated_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (environment_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at";
            tx.execute(sql, &p![environment, &text, now]).await?;
            cache::bump(tx, cache::ENVIRONMENTS).await.map(Some).map_err(Error::from)
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    self::settings(core, environment).await
}

/// Settings as they are kept: the background style cannot leave its declaration, wherever it is put.
pub(crate) fn cleaned(mut settings: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::String(style)) = settings.get_mut("background_style") {
        *style = one_declaration(style);
    }
    settings
}
