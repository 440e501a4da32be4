//! Changes of an environment's settings, and what its switches are called.

use std::sync::Arc;

use narthex_db::Tx;

use super::{AuthenticationMode, Environment, SessionSettings, SessionSettingsPatch, by_id, not_found, store};
use crate::cache;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::EnvId;
use crate::organizations::Feature;
use crate::{domains, organizations};

/// What can be switched on and off in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Users, sessions and hosted pages, beyond single sign-on as a building block.
    FullStack,
    /// What the administrators of its organizations may set up.
    Feature(Feature),
}

impl Switch {
    /// All of them, in the order of answers.
    pub const ALL: [Self; 5] = [
        Self::FullStack,
        Self::Feature(Feature::Sso),
        Self::Feature(Feature::DirSync),
        Self::Feature(Feature::DomainVerification),
        Self::Feature(Feature::SessionPolicy),
    ];

    /// The wire's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullStack => "fsa",
            Self::Feature(feature) => feature.name(),
        }
    }

    /// The switch of a name; features go by their other names as well. `field` is named where there is none.
    pub fn named(name: &str, field: &str) -> Result<Self> {
        if name == Self::FullStack.name() {
            return Ok(Self::FullStack);
        }
        Feature::named(name, field).map(Self::Feature).map_err(|_| {
            let text = "is not a feature: fsa, sso, dir_sync, domain_verification, session_policy";
            Error::invalid(field, "feature.known", text)
        })
    }

    /// Whether it is on.
    pub fn is_on(self, environment: &Environment) -> bool {
        match self {
            Self::FullStack => environment.authentication_mode == AuthenticationMode::FullStack,
            Self::Feature(feature) => environment.has_feature(feature.name()),
        }
    }
}

/// Switches these; the others stay.
///
/// Without full-stack authentication nobody is made a user or invited, and browser sessions do not count; users and sessions that
/// exist stay as they are until it is switched on again (control plane reference §4.3). FAILED_PRECONDITION for the product's own
/// environment, whose operators could not sign in any more.
pub async fn set_switches(core: &Core, id: EnvId, switches: Vec<(Switch, bool)>) -> Result<Arc<Environment>> {
    change(core, id, async move |_, environment| {
        for (switch, on) in &switches {
            match switch {
                Switch::FullStack if !on && environment.is_system => {
                    return Err(Error::new(
                        Kind::FailedPrecondition,
                        "operators sign in to this environment: its full-stack authentication cannot be switched off",
                    ));
                }
                Switch::FullStack => {
                    environment.authentication_mode =
                        if *on { AuthenticationMode::FullStack } else { AuthenticationMode::Modular };
                }
                Switch::Feature(feature) => {
                    environment.features.insert(feature.name().to_owned(), *on);
                }
            }
        }
        Ok(())
    })
    .await
}

/// Changes session and token lifetimes. Sessions and tokens that exist keep theirs.
///
/// INVALID_ARGUMENT for values out of range or order, and for a cookie domain that is not the customer's own: the session cookie of one
/// environment must not reach another.
pub async fn update_session_settings(core: &Core, id: EnvId, patch: SessionSettingsPatch) -> Result<Arc<Environment>> {
    change(core, id, async move |tx, environment| {
        let settings = patch.apply(&environment.session)?;
        if settings.cookie_custom_domain != environment.session.cookie_custom_domain
            && let Some(domain) = &settings.cookie_custom_domain
        {
            check_cookie_domain(tx, environment, domain).await?;
        }
        environment.session = settings;
        Ok(())
    })
    .await
}

async fn check_cookie_domain(tx: &mut Tx, environment: &Environment, domain: &str) -> Result<()> {
    let refused = |rule: &str, text: &str| {
        Err(Error::invalid("session_settings.cookie_custom_domain", format!("cookie_domain.{rule}"), text.to_owned()))
    };
    if !domains::is_registrable(domain) {
        return refused("format", "must be a domain that somebody can own, such as acme.com");
    }
    // A browser drops a cookie for a domain that the host is not in, so the login would not last.
    let own = [Some(environment.domain.as_str()), environment.custom_domain.as_deref()];
    if !own.into_iter().flatten().any(|host| covers(domain, host)) {
        return refused("host", "must be the environment's own host or a domain above it");
    }
    if store::foreign_hosts(tx, environment.id).await?.iter().any(|host| covers(domain, host)) {
        return refused("shared", "other environments have hosts in this domain, and would get the cookie");
    }
    Ok(())
}

/// Whether a cookie for `domain` is sent to `host`.
fn covers(domain: &str, host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Runs `edit` on the row; without a difference nothing is written.
async fn change<F>(core: &Core, id: EnvId, edit: F) -> Result<Arc<Environment>>
where
    F: AsyncFn(&mut Tx, &mut Environment) -> Result<()> + Send + 'static,
{
    let now = core.clock.now();
    let bump = core
        .db
        .write_for(organizations::share(id), async move |tx| {
            let before = store::load(tx, id).await?.ok_or_else(not_found)?;
            let mut after = before.clone();
            edit(tx, &mut after).await?;
            if after == before {
                return Ok(None);
            }
            after.updated_at = now.max(before.updated_at);
            store::update(tx, &after).await?;
            Ok::<_, Error>(Some(cache::bump(tx, cache::ENVIRONMENTS).await?))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    by_id(core, id).await?.ok_or_else(not_found)
}

impl Environment {
    /// The domain that the session cookie is set for; `None` for the host alone.
    pub fn cookie_domain(&self) -> Option<&str> {
        let SessionSettings { cookie_custom_domain, .. } = &self.session;
        cookie_custom_domain.as_deref()
    }
}
