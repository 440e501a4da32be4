//! OrganizationService: messages in, the core's functions, messages out.

use std::future::Future;
use std::sync::Arc;

use narthex_api::rpc::organization_service as rpc;
use narthex_api::scalekit::v1::commons::{RegionCode, TimeUnit as WireUnit};
use narthex_api::scalekit::v1::organizations as wire;
use narthex_core::environments::{AuthenticationMode, Span, TimeUnit};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{OrganizationId, PortalLinkId};
use narthex_core::organizations::{
    self, Branding, Feature, Identity, NewOrganization, Organization, OrganizationPatch, Patch, Region, SessionPolicy,
    SessionPolicyChange,
};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::portal_links::{self, Life};
use narthex_core::{Caller, Core, Error, Kind, Result, Timestamp};
use narthex_rpc::{Context, Rpcs};

use super::environments::check_branding;
use super::structs;

#[cfg(test)]
mod tests;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_ORGANIZATION, with(core, create))
        .add(rpc::UPDATE_ORGANIZATION, with(core, update))
        .add(rpc::GET_ORGANIZATION, with(core, get))
        .add(rpc::GET_ORGANIZATION_BY_EXTERNAL_ID, with(core, get_by_external_id))
        .add(rpc::LIST_ORGANIZATION, with(core, list))
        .add(rpc::SEARCH_ORGANIZATION, with(core, search))
        .add(rpc::DELETE_ORGANIZATION, with(core, delete))
        .add(rpc::GENERATE_PORTAL_LINK, with(core, generate_portal_link))
        .add(rpc::DELETE_PORTAL_LINK, with(core, delete_portal_links))
        .add(rpc::DELETE_PORTAL_LINK_BY_ID, with(core, delete_portal_link))
        .add(rpc::GET_PORTAL_LINKS, with(core, portal_links_of))
        .add(rpc::UPDATE_ORGANIZATION_SETTINGS, with(core, update_settings))
        .add(rpc::UPDATE_ORGANIZATION_SESSION_POLICY, with(core, update_session_policy))
        .add(rpc::GET_ORGANIZATION_SESSION_POLICY, with(core, session_policy))
        .add(rpc::GET_ORGANIZATION_BRANDING, with(core, branding))
        .add(rpc::UPDATE_ORGANIZATION_BRANDING, with(core, update_branding))
        .add(rpc::UPSERT_USER_MANAGEMENT_SETTINGS, with(core, upsert_user_management))
        .add(rpc::GET_ORGANIZATION_USER_MANAGEMENT_SETTING, with(core, user_management))
        .add(rpc::GET_APPLICATION_SESSION_POLICY, with(core, application_session_policy));
}

pub(super) fn with<I, F, Fut>(core: &Arc<Core>, handler: F) -> impl Fn(Context, I) -> Fut + Send + Sync + 'static
where
    F: Fn(Arc<Core>, Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future,
{
    let core = Arc::clone(core);
    move |context, request| handler(Arc::clone(&core), context, request)
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateOrganizationRequest,
) -> Result<wire::CreateOrganizationResponse> {
    let given = request.organization.unwrap_or_default();
    let new = NewOrganization {
        id: None,
        display_name: given.display_name,
        region: match RegionCode::try_from(given.region_code) {
            Ok(RegionCode::Unspecified | RegionCode::Us) => Region::Us,
            Ok(RegionCode::Eu) => Region::Eu,
            Err(_) => return Err(Error::invalid("organization.region_code", "enum.defined_only", "is not a region")),
        },
        external_id: given.external_id,
        slug: given.slug,
        logo_url: given.logo_url,
        metadata: given.metadata.into_iter().collect(),
    };
    let by = Actor::from(&context.caller);
    let key = match &context.idempotency_key {
        Some(name) => {
            let request = [rpc::CREATE_ORGANIZATION.method.path, &new.fingerprint()];
            Some(IdempotencyKey::new(context.environment.id, &by, name, &request)?)
        }
        None => None,
    };
    let organization = organizations::create(&core, context.environment.id, &by, new, key).await?;
    Ok(wire::CreateOrganizationResponse { organization: Some(message(organization)) })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationRequest,
) -> Result<wire::UpdateOrganizationResponse> {
    use wire::update_organization_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let given = request.organization.unwrap_or_default();
    let patch = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() => masked(&given, &mask.paths)?,
        _ => unmasked(given),
    };
    let identity = reachable(&core, &context, identity).await?;
    // What the application knows an organization by is not its administrators' to change: whoever could would become another of the
    // application's tenants, and could ask which names are taken.
    let is_tenant_data =
        !matches!(patch.external_id, Patch::Keep) || !matches!(patch.slug, Patch::Keep) || patch.metadata.is_some();
    if is_tenant_data && matches!(context.caller, Caller::User { .. } | Caller::Session { .. }) {
        return Err(Error::permission_denied(&["organizations:write"]));
    }
    let by = Actor::from(&context.caller);
    let organization = organizations::update(&core, context.environment.id, &by, identity, patch).await?;
    Ok(wire::UpdateOrganizationResponse { organization: Some(message(organization)) })
}

/// Without a mask only fields that are present change. A present empty text clears; an empty map says nothing, since the wire cannot
/// tell it from an absent one.
fn unmasked(given: wire::UpdateOrganization) -> OrganizationPatch {
    let patch = |field: Option<String>| field.map_or(Patch::Keep, set_or_clear);
    OrganizationPatch {
        display_name: given.display_name,
        external_id: patch(given.external_id),
        metadata: if given.metadata.is_empty() { None } else { Some(given.metadata.into_iter().collect()) },
        slug: patch(given.slug),
        logo_url: patch(given.logo_url),
    }
}

/// With a mask exactly the named fields change, and those that are absent are cleared.
fn masked(given: &wire::UpdateOrganization, paths: &[String]) -> Result<OrganizationPatch> {
    let patch = |field: &Option<String>| field.clone().map_or(Patch::Clear, set_or_clear);
    let mut change = OrganizationPatch::default();
    for path in paths {
        match path.strip_prefix("organization.").unwrap_or(path) {
            "display_name" => {
                let name = given.display_name.clone().unwrap_or_default();
                if name.is_empty() {
                    return Err(Error::invalid("organization.display_name", "required", "cannot be cleared"));
                }
                change.display_name = Some(name);
            }
            "external_id" => change.external_id = patch(&given.external_id),
            "metadata" => change.metadata = Some(given.metadata.clone().into_iter().collect()),
            "slug" => change.slug = patch(&given.slug),
            "logo_url" => change.logo_url = patch(&given.logo_url),
            "id" | "create_time" | "update_time" | "region_code" | "settings" => {
                return Err(Error::invalid(
                    "update_mask",
                    "field_mask.read_only",
                    format!("{path} cannot be changed here"),
                ));
            }
            _ => {
                return Err(Error::invalid(
                    "update_mask",
                    "field_mask.unknown",
                    format!("{path} is not a field of an organization"),
                ));
            }
        }
    }
    Ok(change)
}

fn set_or_clear(text: String) -> Patch<String> {
    if text.is_empty() { Patch::Clear } else { Patch::Set(text) }
}

async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationRequest,
) -> Result<wire::GetOrganizationResponse> {
    use wire::get_organization_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let organization = organizations::get(&core, context.environment.id, &identity).await?;
    if !may_reach(&context.caller, organization.id) {
        return Err(organizations::not_found());
    }
    Ok(answer(organization))
}

async fn get_by_external_id(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationRequest,
) -> Result<wire::GetOrganizationResponse> {
    use wire::get_organization_request::Identities;
    let Some(Identities::ExternalId(external_id)) = request.identities else {
        return Err(Error::invalid("external_id", "required", "external id is required"));
    };
    let environment = context.environment.id;
    if let Caller::OrganizationClient { organization, .. } = &context.caller {
        // Its own organization and no other: whether another one has this external id must not be told (control plane
        // reference §20.4).
        let own = organizations::get(&core, environment, &Identity::Id(*organization)).await?;
        if own.external_id.as_deref() != Some(&external_id) {
            return Err(Error::invalid(
                "external_id",
                "caller.organization",
                "is not the external id of the caller's organization",
            ));
        }
        return Ok(answer(own));
    }
    Ok(answer(organizations::get(&core, environment, &Identity::ExternalId(external_id)).await?))
}

async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListOrganizationsRequest,
) -> Result<wire::ListOrganizationsResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = organizations::list(&core, context.environment.id, &asked, request.external_id.as_deref()).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::ListOrganizationsResponse {
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        organizations: items.into_iter().map(message).collect(),
        prev_page_token: prev,
    })
}

async fn search(
    core: Arc<Core>,
    context: Context,
    request: wire::SearchOrganizationsRequest,
) -> Result<wire::SearchOrganizationsResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = organizations::search(&core, context.environment.id, &request.query, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::SearchOrganizationsResponse {
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        organizations: items.into_iter().map(message).collect(),
        prev_page_token: prev,
    })
}

async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteOrganizationRequest) -> Result<()> {
    use wire::delete_organization_request::Identities;
    let identity = match request.identities {
        Some(Identities::Id(id)) => by_id(&id)?,
        Some(Identities::ExternalId(external_id)) => Identity::ExternalId(external_id),
        None => return Err(no_identity()),
    };
    let identity = reachable(&core, &context, identity).await?;
    organizations::delete(&core, context.environment.id, &Actor::from(&context.caller), identity).await
}

async fn generate_portal_link(
    core: Arc<Core>,
    context: Context,
    request: wire::GeneratePortalLinkRequest,
) -> Result<wire::GeneratePortalLinkResponse> {
    let organization = reachable_id(&context, &request.id)?;
    let features = requested_features(&request)?;
    let life = match context.caller {
        Caller::Member { .. } => Life::Reusable,
        _ => Life::SingleUse,
    };
    let by = Actor::from(&context.caller);
    let link = portal_links::generate(&core, &context.environment, &by, organization, features, life).await?;
    let link =
        wire::Link { id: link.id.to_string(), location: link.location, expire_time: Some(time(link.expires_at)) };
    Ok(wire::GeneratePortalLinkResponse { link: Some(link) })
}

/// The features of a link, by the list or by the two older switches beside it.
#[allow(deprecated)]
fn requested_features(request: &wire::GeneratePortalLinkRequest) -> Result<Vec<Feature>> {
    let mut features = Vec::new();
    for (i, number) in request.features.iter().enumerate() {
        match wire::Feature::try_from(*number) {
            Ok(wire::Feature::Unspecified) => {}
            Ok(wire::Feature::Sso) => features.push(Feature::Sso),
            Ok(wire::Feature::DirSync) => features.push(Feature::DirSync),
            Err(_) => return Err(Error::invalid(format!("features[{i}]"), "enum.defined_only", "is not a feature")),
        }
    }
    if request.sso == Some(true) {
        features.push(Feature::Sso);
    }
    if request.directory_sync == Some(true) {
        features.push(Feature::DirSync);
    }
    Ok(features)
}

async fn delete_portal_links(core: Arc<Core>, context: Context, request: wire::DeletePortalLinkRequest) -> Result<()> {
    let organization = reachable_id(&context, &request.id)?;
    portal_links::delete_all(&core, context.environment.id, organization).await
}

async fn delete_portal_link(
    core: Arc<Core>,
    context: Context,
    request: wire::DeletePortalLinkByIdRequest,
) -> Result<()> {
    let organization = reachable_id(&context, &request.id)?;
    let link = PortalLinkId::parse(&request.link_id).ok_or_else(|| Error::not_found(PortalLinkId::NOUN))?;
    portal_links::delete(&core, context.environment.id, organization, link).await
}

async fn portal_links_of(
    core: Arc<Core>,
    context: Context,
    request: wire::GetPortalLinkRequest,
) -> Result<wire::GetPortalLinksResponse> {
    let organization = reachable_id(&context, &request.id)?;
    let links = portal_links::list(&core, context.environment.id, organization).await?;
    // Only the hash of a link's secret is kept, so a location can be shown once, to whoever made the link.
    let link = |link: portal_links::PortalLink| wire::Link {
        id: link.id.to_string(),
        location: String::new(),
        expire_time: Some(time(link.expires_at)),
    };
    Ok(wire::GetPortalLinksResponse { links: links.into_iter().map(link).collect() })
}

async fn update_settings(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationSettingsRequest,
) -> Result<wire::GetOrganizationResponse> {
    let organization = reachable_id(&context, &request.id)?;
    let mut switches = Vec::new();
    for (i, feature) in request.settings.unwrap_or_default().features.iter().enumerate() {
        switches.push((Feature::named(&feature.name, &format!("settings.features[{i}].name"))?, feature.enabled));
    }
    let by = Actor::from(&context.caller);
    let organization = organizations::set_features(&core, context.environment.id, &by, organization, switches).await?;
    Ok(answer(organization))
}

async fn update_session_policy(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationSessionPolicyRequest,
) -> Result<wire::UpdateOrganizationSessionPolicyResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let change = match wire::SessionPolicyType::try_from(request.policy_source) {
        Ok(wire::SessionPolicyType::Application) => SessionPolicyChange::Application,
        Ok(wire::SessionPolicyType::Custom) => SessionPolicyChange::Custom {
            absolute: minutes(
                "absolute_session_timeout",
                request.absolute_session_timeout,
                request.absolute_session_timeout_unit,
            )?,
            idle_enabled: request.idle_session_timeout_enabled,
            idle: minutes("idle_session_timeout", request.idle_session_timeout, request.idle_session_timeout_unit)?,
        },
        Ok(wire::SessionPolicyType::Unspecified) | Err(_) => {
            return Err(Error::invalid("policy_source", "enum.defined_only", "must be APPLICATION or CUSTOM"));
        }
    };
    gate_session_policy(&core, &context, organization).await?;
    let by = Actor::from(&context.caller);
    let organization =
        organizations::set_session_policy(&core, &context.environment, &by, organization, change).await?;
    Ok(wire::UpdateOrganizationSessionPolicyResponse { policy: Some(policy(organization.session_policy)) })
}

/// A timeout in minutes, given in its unit.
fn minutes(field: &str, value: Option<i32>, unit: Option<i32>) -> Result<Option<i64>> {
    let unit = TimeUnit::from_number(unit.unwrap_or_default()).ok_or_else(|| {
        Error::invalid(format!("{field}_unit"), "enum.defined_only", "must be MINUTES, HOURS or DAYS")
    })?;
    Ok(value.map(|value| i64::from(value) * unit.minutes()))
}

async fn session_policy(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationSessionPolicyRequest,
) -> Result<wire::GetOrganizationSessionPolicyResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    gate_session_policy(&core, &context, organization).await?;
    let organization = organizations::get(&core, context.environment.id, &Identity::Id(organization)).await?;
    Ok(wire::GetOrganizationSessionPolicyResponse { policy: Some(policy(organization.session_policy)) })
}

/// Users reach the policy of their organization only where its `session_policy` page is switched on; the API always does
/// (orgs-users-rbac reference §2.7).
async fn gate_session_policy(core: &Core, context: &Context, organization: OrganizationId) -> Result<()> {
    if !matches!(context.caller, Caller::Session { .. } | Caller::User { .. }) {
        return Ok(());
    }
    let organization = organizations::get(core, context.environment.id, &Identity::Id(organization)).await?;
    if organization.features.is_enabled(Feature::SessionPolicy) {
        return Ok(());
    }
    Err(Error::new(Kind::PermissionDenied, "session_policy is not enabled for the organization"))
}

fn policy(policy: SessionPolicy) -> wire::OrganizationSessionPolicySettings {
    match policy {
        SessionPolicy::Application => wire::OrganizationSessionPolicySettings {
            policy_source: wire::SessionPolicyType::Application.into(),
            ..Default::default()
        },
        SessionPolicy::Custom { absolute_minutes, idle_minutes } => wire::OrganizationSessionPolicySettings {
            policy_source: wire::SessionPolicyType::Custom.into(),
            absolute_session_timeout: Some(absolute_minutes),
            absolute_session_timeout_unit: Some(WireUnit::Minutes.into()),
            idle_session_timeout_enabled: Some(idle_minutes.is_some()),
            idle_session_timeout: idle_minutes,
            idle_session_timeout_unit: idle_minutes.map(|_| WireUnit::Minutes.into()),
        },
    }
}

async fn branding(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationBrandingRequest,
) -> Result<wire::GetOrganizationBrandingResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let branding = organizations::branding(&core, context.environment.id, organization).await?;
    Ok(wire::GetOrganizationBrandingResponse { branding: Some(branding_message(branding)) })
}

async fn update_branding(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationBrandingRequest,
) -> Result<wire::UpdateOrganizationBrandingResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let settings = match wire::BrandingSource::try_from(request.source) {
        Ok(wire::BrandingSource::Environment) => None,
        Ok(wire::BrandingSource::Custom) => {
            let given = request.customization_settings.unwrap_or_default();
            let settings = structs::to_json("customization_settings", given)?;
            check_branding(&settings)?;
            Some(settings)
        }
        Ok(wire::BrandingSource::Unspecified) | Err(_) => {
            return Err(Error::invalid(
                "source",
                "enum.defined_only",
                "must be BRANDING_SOURCE_ENVIRONMENT or BRANDING_SOURCE_CUSTOM",
            ));
        }
    };
    let by = Actor::from(&context.caller);
    let branding = organizations::update_branding(&core, context.environment.id, &by, organization, settings).await?;
    Ok(wire::UpdateOrganizationBrandingResponse { branding: Some(branding_message(branding)) })
}

fn branding_message(branding: Branding) -> wire::OrganizationBranding {
    match branding {
        Branding::Environment { updated_at } => wire::OrganizationBranding {
            source: wire::BrandingSource::Environment.into(),
            customization_settings: None,
            update_time: updated_at.map(time),
        },
        Branding::Custom { settings, updated_at } => wire::OrganizationBranding {
            source: wire::BrandingSource::Custom.into(),
            customization_settings: Some(structs::from_json(settings)),
            update_time: Some(time(updated_at)),
        },
    }
}

async fn upsert_user_management(
    core: Arc<Core>,
    context: Context,
    request: wire::UpsertUserManagementSettingsRequest,
) -> Result<wire::UpsertUserManagementSettingsResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    // Seats are what the application sells. No link carries them as a feature (control plane reference §2.3), so that whom a link lets
    // in to set up sign-on cannot lift the cap.
    if matches!(context.caller, Caller::Portal { .. }) {
        return Err(Error::permission_denied(&["organizations:write"]));
    }
    let seats = request.settings.unwrap_or_default().max_allowed_users;
    let by = Actor::from(&context.caller);
    let organization =
        organizations::set_max_allowed_users(&core, context.environment.id, &by, organization, seats).await?;
    let settings = wire::OrganizationUserManagementSettings { max_allowed_users: organization.max_allowed_users };
    Ok(wire::UpsertUserManagementSettingsResponse { settings: Some(settings) })
}

async fn user_management(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationUserManagementSettingsRequest,
) -> Result<wire::GetOrganizationUserManagementSettingsResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let organization = organizations::get(&core, context.environment.id, &Identity::Id(organization)).await?;
    let settings = wire::OrganizationUserManagementSettings { max_allowed_users: organization.max_allowed_users };
    Ok(wire::GetOrganizationUserManagementSettingsResponse { settings: Some(settings) })
}

async fn application_session_policy(
    core: Arc<Core>,
    context: Context,
    request: wire::GetApplicationSessionPolicyRequest,
) -> Result<wire::GetApplicationSessionPolicyResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let environment = &context.environment;
    organizations::get(&core, environment.id, &Identity::Id(organization)).await?;
    let session = &environment.session;
    // Sessions are part of full-stack authentication; as building blocks alone there are none to have a policy.
    let is_modular = environment.authentication_mode == AuthenticationMode::Modular;
    if !session.management_enabled || is_modular || !environment.has_feature(Feature::SessionPolicy.name()) {
        return Err(Error::new(Kind::PermissionDenied, "the environment does not manage sessions"));
    }
    let in_unit = |span: Span| i32::try_from(span.in_unit()).unwrap_or(i32::MAX);
    let idle = session.idle_enabled.then_some(session.idle_timeout);
    let policy = wire::ApplicationSessionPolicySettings {
        absolute_session_timeout: in_unit(session.absolute_timeout),
        idle_session_timeout_enabled: session.idle_enabled,
        idle_session_timeout: idle.map_or(0, in_unit),
        access_token_expiry: i32::try_from(session.access_token_expiry.minutes).unwrap_or(i32::MAX),
        absolute_session_timeout_unit: Some(session.absolute_timeout.unit as i32),
        idle_session_timeout_unit: idle.map(|span| span.unit as i32),
    };
    Ok(wire::GetApplicationSessionPolicyResponse { application_policy: Some(policy) })
}

/// Whether a caller may touch an organization of its environment: API clients and operators any, all others their own.
pub(super) fn may_reach(caller: &Caller, organization: OrganizationId) -> bool {
    match caller {
        Caller::Client { .. } | Caller::Member { .. } => true,
        Caller::User { organization: own, .. } | Caller::Session { organization: own, .. } => {
            *own == Some(organization)
        }
        Caller::Portal { organization: own, .. } | Caller::OrganizationClient { organization: own, .. } => {
            *own == organization
        }
        Caller::Anonymous | Caller::ConnectedAccount { .. } => false,
    }
}

/// An organization id that the caller may use. What is none of its organizations, or no id at all, is not found.
pub(super) fn reachable_id(context: &Context, id: &str) -> Result<OrganizationId> {
    OrganizationId::parse(id).filter(|id| may_reach(&context.caller, *id)).ok_or_else(organizations::not_found)
}

/// An identity that the caller may use. External ids are resolved first where a caller has one organization only.
async fn reachable(core: &Core, context: &Context, identity: Identity) -> Result<Identity> {
    let id = match &identity {
        _ if matches!(context.caller, Caller::Client { .. } | Caller::Member { .. }) => return Ok(identity),
        Identity::Id(id) => *id,
        Identity::ExternalId(_) => organizations::get(core, context.environment.id, &identity).await?.id,
    };
    if may_reach(&context.caller, id) { Ok(Identity::Id(id)) } else { Err(organizations::not_found()) }
}

fn by_id(text: &str) -> Result<Identity> {
    OrganizationId::parse(text).map(Identity::Id).ok_or_else(organizations::not_found)
}

fn no_identity() -> Error {
    Error::invalid("id", "required", "id or external_id is required")
}

fn answer(organization: Organization) -> wire::GetOrganizationResponse {
    wire::GetOrganizationResponse { organization: Some(message(organization)) }
}

/// An organization on the wire.
pub(super) fn message(organization: Organization) -> wire::Organization {
    let feature = |(feature, enabled): (Feature, bool)| wire::OrganizationSettingsFeature {
        name: feature.name().to_owned(),
        enabled,
    };
    wire::Organization {
        id: organization.id.to_string(),
        create_time: Some(time(organization.created_at)),
        update_time: Some(time(organization.updated_at)),
        display_name: organization.display_name,
        region_code: match organization.region {
            Region::Us => RegionCode::Us.into(),
            Region::Eu => RegionCode::Eu.into(),
        },
        external_id: organization.external_id,
        metadata: organization.metadata.into_iter().collect(),
        settings: Some(wire::OrganizationSettings { features: organization.features.shown().map(feature).collect() }),
        slug: organization.slug,
        logo_url: organization.logo_url,
    }
}

pub(super) fn time(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    prost_types::Timestamp { seconds: time.seconds(), nanos }
}
