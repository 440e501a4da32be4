//! EnvironmentService: settings, branding, switches and notes of an environment, and who somebody is there.

mod messages;
mod test_users;

use std::sync::Arc;

use narthex_api::rpc::environment_service as rpc;
use narthex_api::scalekit::v1::{commons, environments as wire};
use narthex_core::assets::{self, Format};
use narthex_core::branding;
use narthex_core::environments::{self, Environment, Switch};
use narthex_core::ids::EnvId;
use narthex_core::organizations::{self, Identity};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Caller, Core, Error, Kind, Result, Violation, members, sessions, users};
use narthex_rpc::{Context, Rpcs};
use prost_types::value::Kind as Json;

use super::organizations::{time, with};
use super::structs;
use crate::pages::Look;
use crate::uploads;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    test_users::register(rpcs, core);
    rpcs.add(rpc::GET_ENVIRONMENT, with(core, get))
        .add(rpc::LIST_ENVIRONMENT, with(core, list))
        .add(rpc::CREATE_ENVIRONMENT_SESSION_SETTINGS, with(core, create_session_settings))
        .add(rpc::GET_ENVIRONMENT_SESSION_SETTINGS, with(core, session_settings))
        .add(rpc::UPDATE_ENVIRONMENT_SESSION_SETTINGS, with(core, update_session_settings))
        .add(rpc::CREATE_ENVIRONMENT_USER_MANAGEMENT, with(core, create_user_management))
        .add(rpc::GET_ENVIRONMENT_USER_MANAGEMENT, with(core, user_management))
        .add(rpc::UPDATE_ENVIRONMENT_USER_MANAGEMENT, with(core, update_user_management))
        .add(rpc::GET_PORTAL_CUSTOMIZATION, with(core, customization))
        .add(rpc::UPDATE_PORTAL_CUSTOMIZATION, with(core, update_customization))
        .add(rpc::CREATE_ASSET_UPLOAD_URL, with(core, create_asset))
        .add(rpc::GET_FEATURES, with(core, features))
        .add(rpc::UPDATE_FEATURES, with(core, update_features))
        .add(rpc::ENABLE_FEATURE, with(core, enable_feature))
        .add(rpc::DISABLE_FEATURE, with(core, disable_feature))
        .add(rpc::ENABLE_FSA_FEATURE, with(core, enable_full_stack))
        .add(rpc::DISABLE_FSA_FEATURE, with(core, disable_full_stack))
        .add(rpc::GET_HOST_SCOPED_PUBLIC_FEATURE_FLAGS, with(core, public_flags))
        .add(rpc::GET_CONTEXT, with(core, context_of))
        .add(rpc::UPDATE_CONTEXT, with(core, update_context))
        .add(rpc::GET_CURRENT_SESSION, with(core, current_session));
}

/// The environment that the id of a request names: the one that the request acts in, by its id, `-` or nothing; for an operator any one
/// of their workspace, with what they may do there. Any other is not found.
async fn target(core: &Core, context: &Context, id: &str, required: &[&str]) -> Result<Arc<Environment>> {
    if id.is_empty() || id == "-" {
        return Ok(Arc::clone(&context.environment));
    }
    let id = EnvId::parse(id).ok_or_else(environments::not_found)?;
    if id == context.environment.id {
        return Ok(Arc::clone(&context.environment));
    }
    let Caller::Member { workspace, member, .. } = &context.caller else { return Err(environments::not_found()) };
    let found = environments::by_id(core, id).await?.filter(|found| found.workspace_id == *workspace);
    let environment = found.ok_or_else(environments::not_found)?;
    let member = members::get(core, *member).await?.ok_or_else(|| Error::not_found("member"))?;
    let held = member.permissions_in(environment.id);
    if required.is_empty() || held.iter().any(|held| required.contains(&held.as_str())) {
        return Ok(environment);
    }
    Err(Error::permission_denied(required))
}

async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEnvironmentRequest,
) -> Result<wire::GetEnvironmentResponse> {
    let environment = target(&core, &context, &request.id, rpc::GET_ENVIRONMENT.method.auth.permissions).await?;
    Ok(wire::GetEnvironmentResponse { environment: Some(messages::environment(&environment)) })
}

async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListEnvironmentsRequest,
) -> Result<wire::ListEnvironmentsResponse> {
    let Caller::Member { workspace, .. } = &context.caller else { return Err(Error::permission_denied(&[])) };
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let Page { items, next, total, .. } = environments::page(&core, *workspace, &asked).await?;
    Ok(wire::ListEnvironmentsResponse {
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        environments: items.iter().map(messages::environment).collect(),
    })
}

/// Every environment has settings from the start, so there is nothing to make (control plane reference §4.3).
async fn create_session_settings(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateEnvironmentSessionSettingsRequest,
) -> Result<wire::CreateEnvironmentSessionSettingsResponse> {
    let required = rpc::CREATE_ENVIRONMENT_SESSION_SETTINGS.method.auth.permissions;
    target(&core, &context, &request.id, required).await?;
    Err(Error::duplicate("session_settings"))
}

async fn session_settings(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEnvironmentSessionSettingsRequest,
) -> Result<wire::GetEnvironmentSessionSettingsResponse> {
    let required = rpc::GET_ENVIRONMENT_SESSION_SETTINGS.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let session_settings = Some(messages::session_settings(&environment.session));
    Ok(wire::GetEnvironmentSessionSettingsResponse { session_settings })
}

async fn update_session_settings(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateEnvironmentSessionSettingsRequest,
) -> Result<wire::UpdateEnvironmentSessionSettingsResponse> {
    let required = rpc::UPDATE_ENVIRONMENT_SESSION_SETTINGS.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let patch = messages::session_patch(request.session_settings.unwrap_or_default())?;
    let environment = environments::update_session_settings(&core, environment.id, patch).await?;
    Ok(wire::UpdateEnvironmentSessionSettingsResponse {
        environment_id: environment.id.to_string(),
        session_settings: Some(messages::session_settings(&environment.session)),
    })
}

async fn create_user_management(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateEnvironmentUserManagementRequest,
) -> Result<wire::CreateEnvironmentUserManagementResponse> {
    let required = rpc::CREATE_ENVIRONMENT_USER_MANAGEMENT.method.auth.permissions;
    target(&core, &context, &request.id, required).await?;
    Err(Error::duplicate("user_management"))
}

async fn user_management(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEnvironmentUserManagementRequest,
) -> Result<wire::GetEnvironmentUserManagementResponse> {
    let required = rpc::GET_ENVIRONMENT_USER_MANAGEMENT.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let settings = users::user_management(&core, environment.id).await?;
    Ok(wire::GetEnvironmentUserManagementResponse { user_management: Some(messages::user_management(&settings)) })
}

async fn update_user_management(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateEnvironmentUserManagementRequest,
) -> Result<wire::UpdateEnvironmentUserManagementResponse> {
    let required = rpc::UPDATE_ENVIRONMENT_USER_MANAGEMENT.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let patch = messages::user_patch(request.user_management.unwrap_or_default());
    let settings = users::update_user_management(&core, environment.id, patch).await?;
    Ok(wire::UpdateEnvironmentUserManagementResponse {
        environment_id: environment.id.to_string(),
        user_management: Some(messages::user_management(&settings)),
    })
}

async fn customization(
    core: Arc<Core>,
    context: Context,
    request: wire::GetPortalCustomizationRequest,
) -> Result<wire::GetPortalCustomizationResponse> {
    let required = rpc::GET_PORTAL_CUSTOMIZATION.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let settings = branding::settings(&core, environment.id).await?;
    let organization_customizations = match &context.caller {
        Caller::Portal { organization, .. } => {
            let organization = organizations::get(&core, environment.id, &Identity::Id(*organization)).await?;
            Some(commons::OrganizationCustomizations {
                organization_logo_branding: branding::is_on(&settings.values),
                display_name: organization.display_name,
                logo_url: organization.logo_url,
            })
        }
        _ => None,
    };
    Ok(wire::GetPortalCustomizationResponse {
        environment_id: environment.id.to_string(),
        customization_settings: Some(structs::from_json(settings.values.clone())),
        settings: Some(messages::PORTAL_SETTINGS),
        organization_customizations,
    })
}

async fn update_customization(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdatePortalCustomizationRequest,
) -> Result<wire::UpdatePortalCustomizationResponse> {
    let required = rpc::UPDATE_PORTAL_CUSTOMIZATION.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let settings = structs::to_json("customization_settings", request.customization_settings.unwrap_or_default())?;
    check_branding(&settings)?;
    let saved = branding::update(&core, environment.id, settings).await?;
    Ok(wire::UpdatePortalCustomizationResponse {
        environment_id: environment.id.to_string(),
        customization_settings: Some(structs::from_json(saved.values.clone())),
    })
}

/// INVALID_ARGUMENT that names every setting that no page would show. Keys that no page knows are the application's own.
pub(super) fn check_branding(settings: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
    let broken: Vec<Violation> = Look::unusable(settings)
        .into_iter()
        .map(|unusable| {
            let field = format!("customization_settings.{}", unusable.key);
            Violation::new(field, "branding.value", format!("must be {}", unusable.must_be))
        })
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

async fn create_asset(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateAssetUploadUrlRequest,
) -> Result<wire::CreateAssetUploadUrlResponse> {
    let required = rpc::CREATE_ASSET_UPLOAD_URL.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let given = request
        .asset_settings
        .ok_or_else(|| Error::invalid("asset_settings", "required", "category and extension are required"))?;
    let is_image = match wire::AssetCategory::try_from(given.category) {
        Ok(wire::AssetCategory::PortalCustomizationImage) => true,
        Ok(wire::AssetCategory::PortalCustomizationFont) => false,
        Ok(wire::AssetCategory::Unspecified) | Err(_) => {
            return Err(Error::invalid(
                "asset_settings.category",
                "enum.defined_only",
                "must be PORTAL_CUSTOMIZATION_IMAGE or PORTAL_CUSTOMIZATION_FONT",
            ));
        }
    };
    let fits = Format::of_extension(&given.extension).is_some_and(|format| format.is_image() == is_image);
    if !fits {
        let extensions = if is_image { "jpg, jpeg or png" } else { "woff, woff2 or ttf" };
        let text = format!("must be {extensions} in this category");
        return Err(Error::invalid("asset_settings.extension", "asset.extension", text));
    }
    let asset = assets::create(&core, environment.id, &given.extension).await?;
    Ok(wire::CreateAssetUploadUrlResponse {
        upload_url: uploads::upload_url(&environment, &asset.upload),
        fetch_url: uploads::fetch_url(&environment, asset.id, &given.extension),
    })
}

async fn features(
    core: Arc<Core>,
    context: Context,
    request: wire::GetFeaturesRequest,
) -> Result<wire::GetFeaturesResponse> {
    let environment = target(&core, &context, &request.id, rpc::GET_FEATURES.method.auth.permissions).await?;
    Ok(messages::features(&environment))
}

async fn update_features(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateFeaturesRequest,
) -> Result<wire::GetFeaturesResponse> {
    let environment = target(&core, &context, &request.id, rpc::UPDATE_FEATURES.method.auth.permissions).await?;
    let mut switches = Vec::with_capacity(request.features.len());
    for (i, feature) in request.features.iter().enumerate() {
        switches.push((Switch::named(&feature.name, &format!("features[{i}].name"))?, feature.enabled));
    }
    Ok(messages::features(&*environments::set_switches(&core, environment.id, switches).await?))
}

async fn enable_feature(core: Arc<Core>, context: Context, request: wire::EnableFeatureRequest) -> Result<()> {
    let required = rpc::ENABLE_FEATURE.method.auth.permissions;
    set_feature(&core, &context, &request.id, &request.feature_id, true, required).await
}

async fn disable_feature(core: Arc<Core>, context: Context, request: wire::DisableFeatureRequest) -> Result<()> {
    let required = rpc::DISABLE_FEATURE.method.auth.permissions;
    set_feature(&core, &context, &request.id, &request.feature_id, false, required).await
}

async fn set_feature(
    core: &Core,
    context: &Context,
    id: &str,
    feature: &str,
    on: bool,
    required: &[&str],
) -> Result<()> {
    // What holds for every organization of the environment is not for the administrators of one to switch.
    if matches!(context.caller, Caller::Portal { .. }) {
        return Err(Error::permission_denied(required));
    }
    let environment = target(core, context, id, required).await?;
    let switch = Switch::named(feature, "feature_id")?;
    environments::set_switches(core, environment.id, vec![(switch, on)]).await.map(drop)
}

async fn enable_full_stack(core: Arc<Core>, context: Context, request: wire::EnableFsaFeatureRequest) -> Result<()> {
    let environment = target(&core, &context, &request.id, rpc::ENABLE_FSA_FEATURE.method.auth.permissions).await?;
    environments::set_switches(&core, environment.id, vec![(Switch::FullStack, true)]).await.map(drop)
}

async fn disable_full_stack(core: Arc<Core>, context: Context, (): ()) -> Result<()> {
    environments::set_switches(&core, context.environment.id, vec![(Switch::FullStack, false)]).await.map(drop)
}

/// What a page may know before anybody has signed in: the same everywhere, and nothing of the environment.
async fn public_flags(_: Arc<Core>, _: Context, (): ()) -> Result<wire::GetHostScopedPublicFeatureFlagsResponse> {
    let flag = |key: &str| wire::PublicHostFeatureFlag {
        key: key.to_owned(),
        value: Some(prost_types::Value { kind: Some(Json::BoolValue(true)) }),
        variant: "on".to_owned(),
        reason: "STATIC".to_owned(),
        error: String::new(),
    };
    Ok(wire::GetHostScopedPublicFeatureFlagsResponse { flags: messages::PUBLIC_FLAGS.into_iter().map(flag).collect() })
}

async fn context_of(
    core: Arc<Core>,
    context: Context,
    request: wire::GetContextRequest,
) -> Result<wire::GetContextResponse> {
    let required = rpc::GET_CONTEXT.method.auth.permissions;
    let environment = target(&core, &context, &request.environment_id, required).await?;
    let content = environments::context(&core, environment.id).await?;
    Ok(wire::GetContextResponse { context: Some(structs::from_json(content)) })
}

async fn update_context(core: Arc<Core>, context: Context, request: wire::UpdateContextRequest) -> Result<()> {
    let required = rpc::UPDATE_CONTEXT.method.auth.permissions;
    let environment = target(&core, &context, &request.environment_id, required).await?;
    let content = structs::to_json("context", request.context.unwrap_or_default())?;
    environments::set_context(&core, environment.id, &content).await
}

async fn current_session(
    core: Arc<Core>,
    context: Context,
    request: wire::GetCurrentSessionRequest,
) -> Result<wire::GetCurrentSessionResponse> {
    let required = rpc::GET_CURRENT_SESSION.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let session = match &context.caller {
        Caller::Session { session, .. } | Caller::Portal { session, .. } | Caller::ConnectedAccount { session, .. } => {
            *session
        }
        Caller::Member { member, .. } => {
            let found = members::get(&core, *member).await?.ok_or_else(|| Error::not_found("member"))?;
            return Ok(wire::GetCurrentSessionResponse {
                subject: member.to_string(),
                email: Some(found.email.clone()),
                ..Default::default()
            });
        }
        _ => return Err(Error::permission_denied(required)),
    };
    let session = sessions::get(&core, environment.id, session).await?;
    let session = session.ok_or_else(|| Error::new(Kind::NotFound, "session not found"))?;
    let end = session.idle_expires_at.map_or(session.expires_at, |idle| idle.min(session.expires_at));
    // Pages act by their cookie or ask for a token anew: this is how long one made now would live.
    let token = core.clock.now().plus(environment.session.access_token_expiry.duration());
    let mut answer = wire::GetCurrentSessionResponse {
        session_expiry: Some(time(end)),
        access_token_expiry: Some(time(token.min(end))),
        organization_id: session.organization.map(|organization| organization.to_string()),
        subject: session.id.to_string(),
        email: None,
        connected_account_id: session.connected_account.map(|account| account.to_string()),
    };
    if let Some(account) = session.connected_account {
        answer.subject = account.to_string();
    }
    if let Some(user) = session.user {
        let view = users::get(&core, environment.id, users::Identity::Id(user)).await?;
        (answer.subject, answer.email) = (user.to_string(), Some(view.user.email));
    }
    Ok(answer)
}
