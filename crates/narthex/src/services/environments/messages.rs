//! Environments and their settings on the wire.

use narthex_api::scalekit::v1::commons::{EnvironmentType, RegionCode};
use narthex_api::scalekit::v1::environments as wire;
use narthex_core::environments::{
    Environment, EnvironmentKind, SessionSettings, SessionSettingsPatch, Span, SpanPatch, Switch, TimeUnit,
};
use narthex_core::users::{UserManagement, UserManagementPatch};
use narthex_core::{Error, Result};

use super::super::organizations::time;

/// What the portal offers: all of it, to everybody (control plane reference §4.5).
pub(super) const PORTAL_SETTINGS: wire::PortalSettings = wire::PortalSettings {
    custom_branding: true,
    new_self_serve_sso_scim: true,
    enable_conn_delete: true,
    mcp_consent_screen_v2: true,
};

/// The same for pages that nobody has signed in to.
pub(super) const PUBLIC_FLAGS: [&str; 4] =
    ["custom_branding", "new_self_serve_sso_scim", "enable_conn_delete", "mcp_consent_screen_v2"];

pub(super) fn environment(environment: &Environment) -> wire::Environment {
    wire::Environment {
        id: environment.id.to_string(),
        create_time: Some(time(environment.created_at)),
        update_time: Some(time(environment.updated_at)),
        display_name: environment.display_name.clone(),
        domain: environment.domain.clone(),
        region_code: RegionCode::Us.into(),
        r#type: match environment.kind {
            EnvironmentKind::Prd => EnvironmentType::Prd,
            EnvironmentKind::Dev => EnvironmentType::Dev,
        }
        .into(),
        custom_domain: environment.custom_domain.clone(),
        custom_domain_status: environment.custom_domain_status as i32,
    }
}

/// Each value in the unit that it was given in.
pub(super) fn session_settings(settings: &SessionSettings) -> wire::SessionSettings {
    let value = |span: Span| Some(i32::try_from(span.in_unit()).unwrap_or(i32::MAX));
    wire::SessionSettings {
        access_token_expiry: value(settings.access_token_expiry),
        client_access_token_expiry: value(settings.client_access_token_expiry),
        absolute_session_timeout: value(settings.absolute_timeout),
        session_management_enabled: Some(settings.management_enabled),
        idle_session_timeout: value(settings.idle_timeout),
        idle_session_enabled: Some(settings.idle_enabled),
        cookie_persistence_type: settings.cookie_persistence,
        cookie_same_site_setting: settings.cookie_same_site,
        cookie_custom_domain: settings.cookie_custom_domain.clone(),
        access_token_expiry_unit: settings.access_token_expiry.unit as i32,
        absolute_session_timeout_unit: settings.absolute_timeout.unit as i32,
        idle_session_timeout_unit: settings.idle_timeout.unit as i32,
    }
}

pub(super) fn session_patch(given: wire::SessionSettings) -> Result<SessionSettingsPatch> {
    let span = |field: &str, value: Option<i32>, unit: i32| {
        let known = TimeUnit::from_number(unit).ok_or_else(|| {
            let field = format!("session_settings.{field}_unit");
            Error::invalid(field, "enum.defined_only", "must be MINUTES, HOURS or DAYS")
        })?;
        Ok::<_, Error>(SpanPatch { value, unit: (unit != 0).then_some(known) })
    };
    Ok(SessionSettingsPatch {
        access_token_expiry: span("access_token_expiry", given.access_token_expiry, given.access_token_expiry_unit)?,
        client_access_token_expiry: given.client_access_token_expiry,
        absolute_timeout: span(
            "absolute_session_timeout",
            given.absolute_session_timeout,
            given.absolute_session_timeout_unit,
        )?,
        idle_enabled: given.idle_session_enabled,
        idle_timeout: span("idle_session_timeout", given.idle_session_timeout, given.idle_session_timeout_unit)?,
        management_enabled: given.session_management_enabled,
        cookie_persistence: Some(given.cookie_persistence_type),
        cookie_same_site: Some(given.cookie_same_site_setting),
        cookie_custom_domain: given.cookie_custom_domain,
    })
}

pub(super) fn user_management(settings: &UserManagement) -> wire::UserManagement {
    let relationship = if settings.single_organization {
        wire::OrgUserRelationshipType::SingleOrganization
    } else {
        wire::OrgUserRelationshipType::MultipleOrganizations
    };
    wire::UserManagement {
        allow_duplicate_user_identities: Some(settings.allow_duplicate_user_identities),
        allow_multiple_memberships: Some(settings.allow_multiple_memberships),
        allow_organization_signup: Some(settings.allow_organization_signup),
        org_user_relationship: relationship.into(),
        enable_max_users_limit: Some(settings.enable_max_users_limit),
        max_users_limit: settings.max_users_limit,
        invitation_expiry: Some(u32::try_from(settings.invitation_expiry_minutes).unwrap_or(u32::MAX)),
        block_disposable_email_domains: Some(settings.block_disposable_email_domains),
        block_public_email_domains: Some(settings.block_public_email_domains),
        sync_user_profile_on_signin: Some(settings.sync_user_profile_on_signin),
        enable_bot_detection: Some(settings.enable_bot_detection),
        enable_fail_open: Some(settings.enable_fail_open),
    }
}

pub(super) fn user_patch(given: wire::UserManagement) -> UserManagementPatch {
    UserManagementPatch {
        allow_duplicate_user_identities: given.allow_duplicate_user_identities,
        allow_multiple_memberships: given.allow_multiple_memberships,
        allow_organization_signup: given.allow_organization_signup,
        single_organization: match wire::OrgUserRelationshipType::try_from(given.org_user_relationship) {
            Ok(wire::OrgUserRelationshipType::SingleOrganization) => Some(true),
            Ok(wire::OrgUserRelationshipType::MultipleOrganizations) => Some(false),
            Ok(wire::OrgUserRelationshipType::Unspecified) | Err(_) => None,
        },
        enable_max_users_limit: given.enable_max_users_limit,
        max_users_limit: given.max_users_limit,
        invitation_expiry_minutes: given.invitation_expiry.map(i64::from),
        block_disposable_email_domains: given.block_disposable_email_domains,
        block_public_email_domains: given.block_public_email_domains,
        sync_user_profile_on_signin: given.sync_user_profile_on_signin,
        enable_bot_detection: given.enable_bot_detection,
        enable_fail_open: given.enable_fail_open,
    }
}

pub(super) fn features(environment: &Environment) -> wire::GetFeaturesResponse {
    let feature = |switch: Switch| wire::EnvironmentFeature {
        name: switch.name().to_owned(),
        enabled: switch.is_on(environment),
    };
    wire::GetFeaturesResponse { features: Switch::ALL.into_iter().map(feature).collect() }
}
