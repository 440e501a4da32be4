//! An organization's own look of the hosted pages, in place of the environment's (orgs-users-rbac reference §2.8).

use narthex_db::{Tx, p};
use serde_json::{Map, Value};

use super::change::{data, share};
use super::{Identity, not_found, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId};
use crate::{branding as look, json};

/// Where the look comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Branding {
    /// From the environment.
    Environment {
        /// When it was last set so; `None` if it never was otherwise.
        updated_at: Option<Timestamp>,
    },
    /// From the organization: free-form settings, unknown keys included.
    Custom {
        /// The settings.
        settings: Map<String, Value>,
        /// When they were last set.
        updated_at: Timestamp,
    },
}

/// The branding of an organization.
pub async fn branding(core: &Core, environment: EnvId, id: OrganizationId) -> Result<Branding> {
    core.db
        .read(async move |tx| {
            store::load(tx, environment, &Identity::Id(id)).await?.ok_or_else(not_found)?;
            load(tx, id).await
        })
        .await
}

/// Sets it: `None` inherits the environment's and drops the settings.
pub async fn update_branding(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    id: OrganizationId,
    settings: Option<Map<String, Value>>,
) -> Result<Branding> {
    let settings = settings.map(look::cleaned);
    let text = match &settings {
        Some(settings) => Some(json::bounded("customization_settings", settings)?),
        None => None,
    };
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    core.db
        .write_for(share(environment), async move |tx| {
            let organization = store::load(tx, environment, &Identity::Id(id)).await?.ok_or_else(not_found)?;
            let stored: Option<(Option<String>,)> =
                tx.opt("SELECT settings FROM organization_branding WHERE organization_id = $1", &p![id]).await?;
            let unchanged = match &stored {
                None => text.is_none(),
                Some((stored,)) => *stored == text,
            };
            if !unchanged {
                tx.execute(
                    "INSERT INTO organization_branding (organization_id, environment_id, settings, updated_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (organization_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at",
                    &p![id, environment, &text, now.0],
                )
                .await?;
                let event = NewEvent {
                    id: event_id,
                    environment,
                    organization: Some(id),
                    kind: events::ORGANIZATION_UPDATED,
                    occurred_at: now,
                    actor: by.clone(),
                    data: data(&organization, None),
                };
                events::append(tx, event).await?;
            }
            load(tx, id).await
        })
        .await
}

async fn load(tx: &mut Tx, id: OrganizationId) -> Result<Branding> {
    let stored: Option<(Option<String>, i64)> =
        tx.opt("SELECT settings, updated_at FROM organization_branding WHERE organization_id = $1", &p![id]).await?;
    Ok(match stored {
        None => Branding::Environment { updated_at: None },
        Some((None, updated_at)) => Branding::Environment { updated_at: Some(Timestamp(updated_at)) },
        Some((Some(text), updated_at)) => Branding::Custom {
            settings: serde_json::from_str(&text).map_err(Error::internal)?,
            updated_at: Timestamp(updated_at),
        },
    })
}

/// The organization's own settings, if it has any.
pub(crate) async fn own(tx: &mut Tx, id: OrganizationId) -> Result<Option<Map<String, Value>>> {
    Ok(match load(tx, id).await? {
        Branding::Environment { .. } => None,
        Branding::Custom { settings, .. } => Some(settings),
    })
}
