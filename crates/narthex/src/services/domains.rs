//! DomainService: domains of organizations, their proof, and which pages may embed a portal.

use std::sync::Arc;

use narthex_api::rpc::domain_service as rpc;
use narthex_api::scalekit::v1::domains as wire;
use narthex_core::domains::{self, Domain, DomainName, DomainType, Listed, NewDomain, Source};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{ConnectionId, DomainId, OrganizationId};
use narthex_core::organizations::{self, Feature, Identity};
use narthex_core::{Caller, Core, Error, Kind, Result};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{may_reach, reachable_id, time, with};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_DOMAIN, with(core, create))
        .add(rpc::UPDATE_DOMAIN, with(core, update))
        .add(rpc::VERIFY_DOMAIN, with(core, verify))
        .add(rpc::GET_DOMAIN, with(core, get))
        .add(rpc::DELETE_DOMAIN, with(core, delete))
        .add(rpc::LIST_DOMAINS, with(core, list))
        .add(rpc::LIST_AUTHORIZED_DOMAINS, with(core, authorized));
}

/// The organization that one of the `identities` oneofs names.
macro_rules! organization {
    ($module:ident, $core:expr, $context:expr, $identities:expr) => {
        match $identities {
            Some(wire::$module::Identities::OrganizationId(id)) => reachable_id($context, &id),
            Some(wire::$module::Identities::ExternalId(id)) => by_external_id($core, $context, id).await,
            None => Err(Error::invalid("organization_id", "required", "organization_id or external_id is required")),
        }
    };
}

async fn by_external_id(core: &Core, context: &Context, id: String) -> Result<OrganizationId> {
    let organization = organizations::get(core, context.environment.id, &Identity::ExternalId(id)).await?;
    if may_reach(&context.caller, organization.id) { Ok(organization.id) } else { Err(organizations::not_found()) }
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateDomainRequest,
) -> Result<wire::CreateDomainResponse> {
    let organization = organization!(create_domain_request, &core, &context, request.identities)?;
    no_connection(request.connection_id.as_deref())?;
    let source = gate(&core, &context, organization).await?;
    let given = request.domain.unwrap_or_default();
    let kind = match given.domain_type {
        0 => DomainType::Organization,
        number => DomainType::from_number(number)
            .ok_or_else(|| Error::invalid("domain.domain_type", "enum.defined_only", "is not a type of domain"))?,
    };
    let name = DomainName::parse(&given.domain)?;
    let by = Actor::from(&context.caller);
    let environment = context.environment.id;
    let key = match &context.idempotency_key {
        Some(key) => {
            let said = format!("{organization} {} {}", name.as_str(), kind as i32);
            Some(IdempotencyKey::new(environment, &by, key, &[rpc::CREATE_DOMAIN.method.path, &said])?)
        }
        None => None,
    };
    let domain = domains::create(&core, environment, &by, NewDomain { organization, name, kind, source }, key).await?;
    Ok(wire::CreateDomainResponse { domain: Some(message(domain)) })
}

/// Nothing of a domain can be changed: its name is what it is.
async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateDomainRequest,
) -> Result<wire::UpdateDomainResponse> {
    let organization = organization!(update_domain_request, &core, &context, request.identities)?;
    no_connection(request.connection_id.as_deref())?;
    gate(&core, &context, organization).await?;
    let domain = domains::get(&core, context.environment.id, organization, domain_id(&request.id)?).await?;
    Ok(wire::UpdateDomainResponse { domain: Some(message(domain)) })
}

async fn verify(
    core: Arc<Core>,
    context: Context,
    request: wire::VerifyDomainRequest,
) -> Result<wire::VerifyDomainResponse> {
    let organization = organization!(verify_domain_request, &core, &context, request.identities)?;
    gate(&core, &context, organization).await?;
    let by = Actor::from(&context.caller);
    let id = domain_id(&request.id)?;
    let verified = domains::verify(&core, context.environment.id, &by, organization, id).await?;
    Ok(wire::VerifyDomainResponse { verified })
}

async fn get(core: Arc<Core>, context: Context, request: wire::GetDomainRequest) -> Result<wire::GetDomainResponse> {
    let organization = organization!(get_domain_request, &core, &context, request.identities)?;
    let domain = domains::get(&core, context.environment.id, organization, domain_id(&request.id)?).await?;
    Ok(wire::GetDomainResponse { domain: Some(message(domain)) })
}

async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteDomainRequest) -> Result<()> {
    let organization = organization!(delete_domain_request, &core, &context, request.identities)?;
    no_connection(request.connection_id.as_deref())?;
    gate(&core, &context, organization).await?;
    let by = Actor::from(&context.caller);
    domains::delete(&core, context.environment.id, &by, organization, domain_id(&request.id)?).await
}

async fn list(core: Arc<Core>, context: Context, request: wire::ListDomainRequest) -> Result<wire::ListDomainResponse> {
    let organization = organization!(list_domain_request, &core, &context, request.identities)?;
    no_connection(request.connection_id.as_deref())?;
    let number = |field: &'static str, value: Option<i32>| {
        u32::try_from(value.unwrap_or(0)).map_err(|_| Error::invalid(field, "int32.gte", "must not be negative"))
    };
    let page = number("page_number", request.page_number)?;
    let kind = match request.domain_type {
        0 => None,
        number => Some(
            DomainType::from_number(number)
                .ok_or_else(|| Error::invalid("domain_type", "enum.defined_only", "is not a type of domain"))?,
        ),
    };
    let asked = Listed { size: number("page_size", request.page_size)?, page, kind };
    let found = domains::list(&core, context.environment.id, organization, asked).await?;
    Ok(wire::ListDomainResponse {
        page_size: i32::try_from(found.len()).unwrap_or(i32::MAX),
        page_number: i32::try_from(page).unwrap_or(i32::MAX),
        domains: found.into_iter().map(message).collect(),
    })
}

async fn authorized(
    core: Arc<Core>,
    context: Context,
    request: wire::ListAuthorizedDomainRequest,
) -> Result<wire::ListAuthorizedDomainResponse> {
    // An origin is one segment of the path, so that some send the host alone.
    let origin = if request.origin.contains("://") { request.origin } else { format!("https://{}", request.origin) };
    let domains = domains::authorized(&core, &context.environment, &origin, &request.link_id).await?;
    Ok(wire::ListAuthorizedDomainResponse { domains })
}

/// What a caller's domains need to count. Administrators of the organization manage domains only where the feature is on, and prove
/// them (sso reference §11.2).
async fn gate(core: &Core, context: &Context, organization: OrganizationId) -> Result<Source> {
    if !matches!(context.caller, Caller::Portal { .. } | Caller::Session { .. } | Caller::User { .. }) {
        return Ok(Source::Application);
    }
    let organization = organizations::get(core, context.environment.id, &Identity::Id(organization)).await?;
    if organization.features.is_enabled(Feature::DomainVerification) {
        return Ok(Source::Organization);
    }
    Err(Error::new(Kind::PermissionDenied, "domain_verification is not enabled for the organization"))
}

/// A connection that a request goes through. There is none yet that could be named.
fn no_connection(id: Option<&str>) -> Result<()> {
    if id.is_none_or(str::is_empty) { Ok(()) } else { Err(Error::not_found(ConnectionId::NOUN)) }
}

fn domain_id(text: &str) -> Result<DomainId> {
    DomainId::parse(text).ok_or_else(domains::not_found)
}

/// A domain on the wire.
fn message(domain: Domain) -> wire::Domain {
    wire::Domain {
        id: domain.id.to_string(),
        domain: domain.name,
        environment_id: domain.environment.to_string(),
        organization_id: domain.organization.to_string(),
        txt_record_key: domain.txt_key,
        txt_record_secret: domain.txt_secret,
        verification_status: domain.status as i32,
        create_time: Some(time(domain.created_at)),
        update_time: Some(time(domain.updated_at)),
        domain_type: domain.kind as i32,
        verification_method: domain.method as i32,
    }
}
