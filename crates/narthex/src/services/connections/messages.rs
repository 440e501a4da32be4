//! Connections between the wire and the core. `PasswordlessType` exists twice on the wire, with other numbers in PasswordlessService: both
//! are mapped by name.

use narthex_api::scalekit::v1::connections as wire;
use narthex_core::connections::{
    self, Attachment, AttestationChange, AuthenticatorsChange, CodeType, Config, Connection, ConnectionType,
    Conveyance, Delivery, PasswordlessChange, PasswordlessConfig, RelyingParty, TimeoutsChange, UserVerification,
    WebauthnChange, WebauthnConfig,
};
use narthex_core::environments::Environment;
use narthex_core::{Core, Error, Result};
use wire::web_auth_configuration as parts;

use super::super::organizations::time;

/// Provider key of the product's own connections.
pub(super) const SCALEKIT: &str = "SCALEKIT";
/// Key id of the connection for passkeys.
pub(super) const WEBAUTHN: &str = "WEBAUTHN";

/// A connection on the wire.
pub(super) fn message(connection: Connection, environment: &Environment) -> wire::Connection {
    let kind = connection.config.kind();
    wire::Connection {
        id: connection.id.to_string(),
        provider: wire::ConnectionProvider::Scalekit as i32,
        r#type: kind as i32,
        status: wire::ConnectionStatus::Completed as i32,
        enabled: connection.enabled,
        debug_enabled: connection.debug_enabled,
        ui_button_title: connection.ui_button_title,
        configuration_type: connection.configuration_type,
        attribute_mapping: connection.attribute_mapping.into_iter().collect(),
        create_time: Some(time(connection.created_at)),
        update_time: Some(time(connection.updated_at)),
        key_id: key_id(kind).map(str::to_owned),
        provider_key: SCALEKIT.to_owned(),
        settings: Some(match connection.config {
            Config::Passwordless(config) => wire::connection::Settings::PasswordlessConfig(passwordless(&config)),
            Config::Webauthn(config) => wire::connection::Settings::WebauthnConfig(webauthn(config, environment)),
        }),
        ..wire::Connection::default()
    }
}

/// A connection in a list.
pub(super) fn listed(connection: Connection) -> wire::ListConnection {
    let kind = connection.config.kind();
    wire::ListConnection {
        id: connection.id.to_string(),
        provider: wire::ConnectionProvider::Scalekit as i32,
        r#type: kind as i32,
        status: wire::ConnectionStatus::Completed as i32,
        enabled: connection.enabled,
        ui_button_title: connection.ui_button_title,
        provider_key: SCALEKIT.to_owned(),
        key_id: key_id(kind).unwrap_or_default().to_owned(),
        created_at: Some(time(connection.created_at)),
        ..wire::ListConnection::default()
    }
}

const fn key_id(kind: ConnectionType) -> Option<&'static str> {
    match kind {
        ConnectionType::Passwordless => None,
        ConnectionType::Webauthn => Some(WEBAUTHN),
    }
}

fn passwordless(config: &PasswordlessConfig) -> wire::PasswordLessConfig {
    let delivery = match config.delivery {
        Delivery::Otp => wire::PasswordlessType::Otp,
        Delivery::Link => wire::PasswordlessType::Link,
        Delivery::LinkOtp => wire::PasswordlessType::LinkOtp,
    };
    wire::PasswordLessConfig {
        r#type: delivery as i32,
        frequency: Some(config.frequency),
        validity: Some(config.validity),
        enforce_same_browser_origin: Some(config.enforce_same_browser_origin),
        code_challenge_length: Some(config.code_challenge_length),
        code_challenge_type: Some(config.code_challenge_type as i32),
        regenerate_passwordless_credentials_on_resend: Some(config.regenerate_on_resend),
    }
}

/// What an update says of codes and links. Unspecified is unchanged.
pub(super) fn passwordless_change(config: &wire::PasswordLessConfig) -> Result<PasswordlessChange> {
    let undefined = |field: &str| {
        let field = format!("connection.passwordless_config.{field}");
        Error::invalid(field, "enum.defined_only", "is not a value of the enumeration")
    };
    Ok(PasswordlessChange {
        delivery: match wire::PasswordlessType::try_from(config.r#type) {
            Ok(wire::PasswordlessType::Unspecified) => None,
            Ok(wire::PasswordlessType::Otp) => Some(Delivery::Otp),
            Ok(wire::PasswordlessType::Link) => Some(Delivery::Link),
            Ok(wire::PasswordlessType::LinkOtp) => Some(Delivery::LinkOtp),
            Err(_) => return Err(undefined("type")),
        },
        frequency: config.frequency,
        validity: config.validity,
        enforce_same_browser_origin: config.enforce_same_browser_origin,
        code_challenge_length: config.code_challenge_length,
        code_challenge_type: match config.code_challenge_type {
            None | Some(0) => None,
            Some(number) => Some(CodeType::from_number(number).ok_or_else(|| undefined("code_challenge_type"))?),
        },
        regenerate_on_resend: config.regenerate_passwordless_credentials_on_resend,
    })
}

fn webauthn(config: WebauthnConfig, environment: &Environment) -> wire::WebAuthConfiguration {
    let RelyingParty { ids, origins } = config.relying_party(environment);
    let timeout = |millis: u32| {
        let nanos = i32::try_from(millis % 1_000).unwrap_or_default() * 1_000_000;
        Some(prost_types::Duration { seconds: i64::from(millis / 1_000), nanos })
    };
    wire::WebAuthConfiguration {
        rp: Some(parts::Rp { ids, origins }),
        attestation: Some(parts::Attestation {
            conveyance_preference: Some(config.attestation.conveyance_preference.name().to_owned()),
            enterprise_approved_ids: config.attestation.enterprise_approved_ids,
        }),
        authenticators: Some(parts::Authenticators {
            validate_entry: Some(config.authenticators.validate_entry),
            validate_entry_permit_zero_aaguid: Some(config.authenticators.validate_entry_permit_zero_aaguid),
            validate_anchors: Some(config.authenticators.validate_anchors),
            validate_status: Some(config.authenticators.validate_status),
            validate_attestation_type: Some(config.authenticators.validate_attestation_type),
            desired_authenticator_status: config.authenticators.desired_authenticator_status,
            undesired_authenticator_status: config.authenticators.undesired_authenticator_status,
        }),
        authenticator_selection: Some(parts::AuthenticatorSelection {
            user_verification: Some(config.user_verification.name().to_owned()),
            authenticator_attachment: config.authenticator_attachment.map(|value| value.name().to_owned()),
        }),
        timeout: Some(parts::Timeout {
            registration: timeout(config.timeout.registration),
            registration_uvd: timeout(config.timeout.registration_uvd),
            login: timeout(config.timeout.login),
            login_uvd: timeout(config.timeout.login_uvd),
        }),
        enable_auto_registration: config.enable_auto_registration,
        show_passkey_button: config.show_passkey_button,
        enable_conditional_login: config.enable_conditional_login,
    }
}

/// What an update says of passkeys. The contract has bounded lists, names and times.
pub(super) async fn webauthn_change(
    config: wire::WebAuthConfiguration,
    core: &Core,
    environment: &Environment,
) -> Result<WebauthnChange> {
    // Whoever writes back what was read must not pin the environment to the hosts that it has today.
    let current = connections::webauthn(core, environment.id).await?;
    let current = current.map(|connection| connection.config.relying_party(environment));
    let rp =
        config.rp.map(|rp| RelyingParty { ids: rp.ids, origins: rp.origins }).filter(|rp| Some(rp) != current.as_ref());
    let millis = |duration: Option<prost_types::Duration>| {
        duration.map(|duration| {
            let millis = duration.seconds.saturating_mul(1_000) + i64::from(duration.nanos / 1_000_000);
            u32::try_from(millis).unwrap_or(u32::MAX)
        })
    };
    let selection = config.authenticator_selection.unwrap_or_default();
    let timeout = config.timeout.unwrap_or_default();
    Ok(WebauthnChange {
        rp,
        attestation: match config.attestation {
            Some(given) => Some(AttestationChange {
                conveyance_preference: named(
                    given.conveyance_preference,
                    "attestation.conveyance_preference",
                    Conveyance::named,
                )?,
                enterprise_approved_ids: given.enterprise_approved_ids,
            }),
            None => None,
        },
        authenticators: config.authenticators.map(|given| AuthenticatorsChange {
            validate_entry: given.validate_entry,
            validate_entry_permit_zero_aaguid: given.validate_entry_permit_zero_aaguid,
            validate_anchors: given.validate_anchors,
            validate_status: given.validate_status,
            validate_attestation_type: given.validate_attestation_type,
            desired_authenticator_status: given.desired_authenticator_status,
            undesired_authenticator_status: given.undesired_authenticator_status,
        }),
        user_verification: named(
            selection.user_verification,
            "authenticator_selection.user_verification",
            UserVerification::named,
        )?,
        authenticator_attachment: named(
            selection.authenticator_attachment,
            "authenticator_selection.authenticator_attachment",
            Attachment::named,
        )?,
        timeout: TimeoutsChange {
            registration: millis(timeout.registration),
            registration_uvd: millis(timeout.registration_uvd),
            login: millis(timeout.login),
            login_uvd: millis(timeout.login_uvd),
        },
        enable_auto_registration: config.enable_auto_registration,
        show_passkey_button: config.show_passkey_button,
        enable_conditional_login: config.enable_conditional_login,
    })
}

fn named<T>(given: Option<String>, field: &str, read: fn(&str) -> Option<T>) -> Result<Option<T>> {
    let Some(name) = given else { return Ok(None) };
    read(&name).map(Some).ok_or_else(|| {
        Error::invalid(format!("connection.webauthn_config.{field}"), "string.in", "is not one of its values")
    })
}
