//! How passkeys are made and used in an environment.

use std::time::Duration;

use crate::connections::{self, Attachment, RelyingParty, UserVerification, WebauthnConfig};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::passkeys::webauthn::Party;

/// Settings of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// RP ids; the first is that of new passkeys.
    pub rp_ids: Vec<String>,
    /// Origins of the pages that may ask for passkeys.
    pub origins: Vec<String>,
    /// Whether authenticators are asked who made them: `none`, `indirect`, `direct`.
    pub conveyance: &'static str,
    /// Whether an authenticator must see that it is its owner: `required`, `preferred`, `discouraged`.
    pub user_verification: &'static str,
    /// Where authenticators may be: `platform`, `cross-platform`, or anywhere.
    pub attachment: Option<&'static str>,
    /// How long making one may take.
    pub registration: Duration,
    /// How long a login may take.
    pub login: Duration,
    /// Whether only authenticators are good of whom the FIDO Alliance's metadata say certain things. Nobody here has read those, so
    /// that none is.
    pub needs_metadata: bool,
}

impl Settings {
    pub(super) fn party(&self) -> Party<'_> {
        Party { ids: &self.rp_ids, origins: &self.origins }
    }

    pub(super) fn must_verify_user(&self) -> bool {
        self.user_verification == "required"
    }
}

/// The settings, if passkeys are switched on.
pub async fn settings(core: &Core, environment: &Environment) -> Result<Option<Settings>> {
    let connection = connections::webauthn(core, environment.id).await?;
    let Some(connection) = connection.filter(|connection| connection.enabled) else { return Ok(None) };
    let config = &connection.config;
    let RelyingParty { ids, origins } = config.relying_party(environment);
    let millis = |value: u32| Duration::from_millis(u64::from(value));
    let (registration, login) = match config.user_verification {
        UserVerification::Discouraged => (config.timeout.registration_uvd, config.timeout.login_uvd),
        _ => (config.timeout.registration, config.timeout.login),
    };
    let asked = &config.authenticators;
    Ok(Some(Settings {
        rp_ids: ids,
        origins,
        conveyance: config.attestation.conveyance_preference.name(),
        user_verification: config.user_verification.name(),
        attachment: config.authenticator_attachment.map(Attachment::name),
        registration: millis(registration),
        login: millis(login),
        needs_metadata: asked.validate_entry
            || asked.validate_anchors
            || asked.validate_status
            || asked.validate_attestation_type,
    }))
}

/// Whom the environment's passkeys are for, switched on or not.
async fn relying_party(core: &Core, environment: &Environment) -> Result<RelyingParty> {
    let connection = connections::webauthn(core, environment.id).await?;
    Ok(connection
        .map_or_else(WebauthnConfig::default, |connection| connection.config.clone())
        .relying_party(environment))
}

/// Origins whose pages may use the environment's passkeys, for browsers that ask (WebAuthn §5.11).
pub async fn related_origins(core: &Core, environment: &Environment) -> Result<Vec<String>> {
    Ok(relying_party(core, environment).await?.origins)
}

/// The RP id that new passkeys are for.
pub async fn rp_id(core: &Core, environment: &Environment) -> Result<String> {
    Ok(relying_party(core, environment).await?.ids.into_iter().next().unwrap_or_default())
}

/// The settings; FAILED_PRECONDITION unless passkeys are switched on.
pub(super) async fn enabled(core: &Core, environment: &Environment) -> Result<Settings> {
    settings(core, environment).await?.ok_or_else(|| {
        Error::new(Kind::FailedPrecondition, "passkeys are not switched on in this environment")
            .with_code("PASSKEYS_OFF")
    })
}
