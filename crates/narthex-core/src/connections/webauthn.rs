//! Settings of passkeys (login methods reference §8.2).

use serde::{Deserialize, Serialize};

use crate::environments::{CustomDomainStatus, Environment};
use crate::error::Violation;

/// Longest entry of a list.
const ENTRY: usize = 255;

/// Whether authenticators are asked who made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // WebAuthn's names
pub enum Conveyance {
    None,
    Indirect,
    Direct,
}

impl Conveyance {
    /// Its name in WebAuthn.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Indirect => "indirect",
            Self::Direct => "direct",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Indirect, Self::Direct].into_iter().find(|value| value.name() == name)
    }
}

/// Whether an authenticator must see that it is its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // WebAuthn's names
pub enum UserVerification {
    Required,
    Preferred,
    Discouraged,
}

impl UserVerification {
    /// Its name in WebAuthn.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Discouraged => "discouraged",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Required, Self::Preferred, Self::Discouraged].into_iter().find(|value| value.name() == name)
    }
}

/// Where authenticators may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// In the device itself.
    Platform,
    /// Plugged in or near by.
    CrossPlatform,
}

impl Attachment {
    /// Its name in WebAuthn.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::CrossPlatform => "cross-platform",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Platform, Self::CrossPlatform].into_iter().find(|value| value.name() == name)
    }
}

/// Whom passkeys are for. Empty lists stand for the environment's own hosts, wherever it moves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelyingParty {
    /// Host names; the first one is that of new passkeys.
    pub ids: Vec<String>,
    /// Origins of the pages that may ask for one.
    pub origins: Vec<String>,
}

/// What is asked about the makers of authenticators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attestation {
    /// Whether they are asked.
    pub conveyance_preference: Conveyance,
    /// Those that an enterprise has approved.
    pub enterprise_approved_ids: Vec<String>,
}

impl Default for Attestation {
    fn default() -> Self {
        Self { conveyance_preference: Conveyance::None, enterprise_approved_ids: Vec::new() }
    }
}

/// What the metadata of authenticators must say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, clippy::struct_excessive_bools)] // the contract's names; each is a switch of its own
pub struct Authenticators {
    pub validate_entry: bool,
    pub validate_entry_permit_zero_aaguid: bool,
    pub validate_anchors: bool,
    pub validate_status: bool,
    pub validate_attestation_type: bool,
    pub desired_authenticator_status: Vec<String>,
    pub undesired_authenticator_status: Vec<String>,
}

/// How long a ceremony may take, in milliseconds; `uvd` where the authenticator need not see its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the contract's names
pub struct Timeouts {
    pub registration: u32,
    pub registration_uvd: u32,
    pub login: u32,
    pub login_uvd: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { registration: 300_000, registration_uvd: 300_000, login: 300_000, login_uvd: 300_000 }
    }
}

/// How passkeys are made and used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub struct WebauthnConfig {
    /// Whom they are for; [`WebauthnConfig::relying_party`] has the lists as they count.
    pub rp: RelyingParty,
    /// What is asked about their makers.
    pub attestation: Attestation,
    /// What their metadata must say.
    pub authenticators: Authenticators,
    /// Whether the authenticator must see that it is its owner.
    pub user_verification: UserVerification,
    /// Where authenticators may be; None for anywhere.
    pub authenticator_attachment: Option<Attachment>,
    /// How long a ceremony may take.
    pub timeout: Timeouts,
    /// Whether a passkey is offered after a sign-in by mail.
    pub enable_auto_registration: bool,
    /// Whether the sign-in page has a button.
    pub show_passkey_button: bool,
    /// Whether the address field fills itself in.
    pub enable_conditional_login: bool,
}

impl Default for WebauthnConfig {
    fn default() -> Self {
        Self {
            rp: RelyingParty::default(),
            attestation: Attestation::default(),
            authenticators: Authenticators::default(),
            user_verification: UserVerification::Preferred,
            authenticator_attachment: None,
            timeout: Timeouts::default(),
            enable_auto_registration: false,
            show_passkey_button: true,
            enable_conditional_login: true,
        }
    }
}

impl WebauthnConfig {
    /// Whom passkeys of the environment are for. Unless something else is configured: its custom domain once that is active, so that new
    /// passkeys are made for it, and its own host, so that older ones go on working.
    pub fn relying_party(&self, environment: &Environment) -> RelyingParty {
        let mut own = RelyingParty::default();
        if environment.custom_domain_status == CustomDomainStatus::Active
            && let Some(domain) = &environment.custom_domain
        {
            own.ids.push(domain.clone());
            own.origins.push(format!("https://{domain}"));
        }
        let host = environment.domain.rsplit_once(':').map_or(environment.domain.as_str(), |(host, _)| host);
        own.ids.push(host.to_owned());
        own.origins.push(environment.origin.clone());
        RelyingParty {
            ids: if self.rp.ids.is_empty() { own.ids } else { self.rp.ids.clone() },
            origins: if self.rp.origins.is_empty() { own.origins } else { self.rp.origins.clone() },
        }
    }
}

/// A change of [`WebauthnConfig`]: what is None stays. The three switches have no "unset" on the wire and are always given.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct WebauthnChange {
    pub rp: Option<RelyingParty>,
    pub attestation: Option<AttestationChange>,
    pub authenticators: Option<AuthenticatorsChange>,
    pub user_verification: Option<UserVerification>,
    pub authenticator_attachment: Option<Attachment>,
    pub timeout: TimeoutsChange,
    pub enable_auto_registration: bool,
    pub show_passkey_button: bool,
    pub enable_conditional_login: bool,
}

/// A change of [`Attestation`]; the list is replaced.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct AttestationChange {
    pub conveyance_preference: Option<Conveyance>,
    pub enterprise_approved_ids: Vec<String>,
}

/// A change of [`Authenticators`]; the lists are replaced.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct AuthenticatorsChange {
    pub validate_entry: Option<bool>,
    pub validate_entry_permit_zero_aaguid: Option<bool>,
    pub validate_anchors: Option<bool>,
    pub validate_status: Option<bool>,
    pub validate_attestation_type: Option<bool>,
    pub desired_authenticator_status: Vec<String>,
    pub undesired_authenticator_status: Vec<String>,
}

/// A change of [`Timeouts`].
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct TimeoutsChange {
    pub registration: Option<u32>,
    pub registration_uvd: Option<u32>,
    pub login: Option<u32>,
    pub login_uvd: Option<u32>,
}

impl WebauthnChange {
    /// Broken rules, by field. The contract has bounded numbers and lists already.
    pub(super) fn violations(&self) -> Vec<Violation> {
        const CONFIG: &str = "connection.webauthn_config";
        let mut broken = Vec::new();
        if let Some(rp) = &self.rp {
            for (i, id) in rp.ids.iter().enumerate().filter(|(_, id)| !is_host(id)) {
                let text = format!("{id:?} is no host name: expected one in lower case, without scheme and port");
                broken.push(Violation::new(format!("{CONFIG}.rp.ids[{i}]"), "string.hostname", text));
            }
            for (i, origin) in rp.origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
                let text = format!(
                    "{origin:?} is no origin: expected https://host[:port], or http://localhost[:port] in development"
                );
                broken.push(Violation::new(format!("{CONFIG}.rp.origins[{i}]"), "string.origin", text));
            }
        }
        for (i, id) in self.attestation.iter().flat_map(|change| change.enterprise_approved_ids.iter().enumerate()) {
            if id.is_empty() || id.chars().count() > ENTRY {
                let field = format!("{CONFIG}.attestation.enterprise_approved_ids[{i}]");
                broken.push(Violation::new(field, "string.len", format!("must be 1 to {ENTRY} characters")));
            }
        }
        broken
    }

    pub(super) fn apply(self, config: &mut WebauthnConfig) {
        fn set<T>(value: Option<T>, field: &mut T) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(self.rp, &mut config.rp);
        if let Some(change) = self.attestation {
            set(change.conveyance_preference, &mut config.attestation.conveyance_preference);
            config.attestation.enterprise_approved_ids = change.enterprise_approved_ids;
        }
        if let Some(change) = self.authenticators {
            let to = &mut config.authenticators;
            set(change.validate_entry, &mut to.validate_entry);
            set(change.validate_entry_permit_zero_aaguid, &mut to.validate_entry_permit_zero_aaguid);
            set(change.validate_anchors, &mut to.validate_anchors);
            set(change.validate_status, &mut to.validate_status);
            set(change.validate_attestation_type, &mut to.validate_attestation_type);
            to.desired_authenticator_status = change.desired_authenticator_status;
            to.undesired_authenticator_status = change.undesired_authenticator_status;
        }
        set(self.user_verification, &mut config.user_verification);
        if self.authenticator_attachment.is_some() {
            config.authenticator_attachment = self.authenticator_attachment;
        }
        set(self.timeout.registration, &mut config.timeout.registration);
        set(self.timeout.registration_uvd, &mut config.timeout.registration_uvd);
        set(self.timeout.login, &mut config.timeout.login);
        set(self.timeout.login_uvd, &mut config.timeout.login_uvd);
        config.enable_auto_registration = self.enable_auto_registration;
        config.show_passkey_button = self.show_passkey_button;
        config.enable_conditional_login = self.enable_conditional_login;
    }
}

/// A host name as browsers spell one.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// An origin as browsers spell one. Passkeys need a secure page, and the only one without TLS is localhost.
fn is_origin(text: &str) -> bool {
    let (secure, authority) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(authority), _) => (true, authority),
        (_, Some(authority)) => (false, authority),
        _ => return false,
    };
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let port_is_good =
        port.is_none_or(|port| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port != 0));
    port_is_good && is_host(host) && (secure || host == "localhost" || host.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wan_05_hosts_and_origins_are_those_that_browsers_know() {
        for good in ["acme.com", "localhost", "auth.acme.com", "xn--bcher-kva.example", "a-1.b"] {
            assert!(is_host(good), "{good}");
        }
        for bad in
            ["", "Acme.com", "acme.com:443", "https://acme.com", "acme..com", "-a.com", "a-.com", "a_b.com", "a.com."]
        {
            assert!(!is_host(bad), "{bad}");
        }
        for good in [
            "https://acme.com",
            "https://acme.com:8443",
            "http://localhost",
            "http://localhost:8080",
            "http://a.localhost:1",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "acme.com",
            "http://acme.com",
            "https://acme.com/",
            "https://acme.com/x",
            "https://acme.com?x",
            "https://u@acme.com",
            "https://acme.com:",
            "https://acme.com:0",
            "https://acme.com:070",
            "https://acme.com:70000",
            "https://acme.com:+1",
            "https://*.acme.com",
            "android:apk-key-hash:x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
