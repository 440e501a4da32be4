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

/// Bytes of the settings as JSON.
const LARGEST: usize = 64 * 1024;

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
    let settings = settings.map(|mut settings| {
        if let Some(Value::String(style)) = settings.get_mut("background_style") {
            *style = one_declaration(style);
        }
        settings
    });
    let text = settings.as_ref().map(|settings| Value::Object(settings.clone()).to_string());
    if text.as_ref().is_some_and(|text| text.len() > LARGEST) {
        let description = format!("must be at most {LARGEST} bytes as JSON");
        return Err(Error::invalid("customization_settings", "branding.size", description));
    }
    // The database layer refuses U+0000, which JSON text escapes: refuse it here, where it can be named.
    if text.as_ref().is_some_and(|text| text.contains("\\u0000")) {
        return Err(Error::invalid("customization_settings", "string.nul", "must not contain U+0000"));
    }
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

/// A CSS `background` value that stays one declaration's value wherever it is put: everything from the first character that could end
/// it is cut off, and a value that could run code or import is dropped.
fn one_declaration(style: &str) -> String {
    let ends = |c: char| matches!(c, ';' | '{' | '}' | '<' | '>' | '\\') || c.is_control();
    let value = style.split(ends).next().unwrap_or_default().trim();
    let compact: String = value.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    // A comment can hide any of the words; none belongs in a background.
    let dangerous =
        ["javascript:", "vbscript:", "expression(", "data:text", "@import", "behavior:", "-moz-binding", "/*", "*/"];
    if dangerous.iter().any(|word| compact.contains(word)) { String::new() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::one_declaration;

    #[test]
    fn org_19_a_background_style_cannot_leave_its_declaration() {
        for (given, kept) in [
            ("linear-gradient(90deg, #fff, #000)", "linear-gradient(90deg, #fff, #000)"),
            (
                "url(https://cdn.example.com/a.png) no-repeat center / cover",
                "url(https://cdn.example.com/a.png) no-repeat center / cover",
            ),
            ("red; position: fixed", "red"),
            ("red} body { display: none", "red"),
            ("red</style><script>alert(1)</script>", "red"),
            ("url(javascript:alert(1))", ""),
            ("url( JaVa\tScript:alert(1))", "url( JaVa"),
            ("url(java/**/script:alert(1))", ""),
            ("\\75rl(evil)", ""),
        ] {
            assert_eq!(one_declaration(given), kept, "{given}");
        }
    }
}
