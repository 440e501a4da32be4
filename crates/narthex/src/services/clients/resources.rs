//! RPCs of resources (MCP servers).

use std::sync::Arc;

use narthex_api::rpc::client_service as rpc;
use narthex_api::scalekit::v1::clients as wire;
use narthex_core::environments::Environment;
use narthex_core::ids::ResourceId;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::resources::{self, AllowedClient, Connection, NewResource, Resource, ResourceKind, ResourcePatch};
use narthex_core::scopes::Meaning;
use narthex_core::{Core, Error, Result};
use narthex_rpc::Context;

use super::super::organizations::time;
use super::super::structs;
use super::{Present, masked, once, scopes, total};

pub(super) fn id(text: &str) -> Result<ResourceId> {
    ResourceId::parse(text).ok_or_else(resources::not_found)
}

fn kind(number: i32) -> Result<ResourceKind> {
    let text = "must be WEB, MOBILE, DESKTOP, SERVER or MCP_SERVER";
    ResourceKind::from_number(number).ok_or_else(|| Error::invalid("resource_type", "enum.defined_only", text))
}

pub(super) async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateResourceRequest,
) -> Result<wire::CreateResourceResponse> {
    let given = request.resource.unwrap_or_default();
    let new = NewResource {
        kind: kind(given.resource_type)?,
        settings: ResourcePatch {
            name: Some(given.name),
            description: Some(given.description),
            uri: identifier(given.resource_uri, given.resource_id)?,
            logo_uri: Some(given.logo_uri),
            provider: Some(given.provider),
            access_token_expiry: Some(given.access_token_expiry),
            refresh_token_expiry: Some(given.refresh_token_expiry),
            registration_disabled: Some(given.disable_dynamic_client_registration),
            scopes: Some(given.scopes),
            intersect_scopes: Some(given.intersect_scopes_user_permission),
            scope_selection: Some(given.resource_scope_selection_allowed),
            cimd_enabled: Some(given.enable_cimd),
            cimd_allowlist: Some(allowlist(given.cimd_client_allowlist)?),
            cimd_allowlist_enabled: Some(given.cimd_client_allowlist_enabled),
            xaa_enabled: Some(given.xaa_enabled),
            authorize_uri: None,
        },
    };
    let key = once(&context, rpc::CREATE_RESOURCE.method.path, &new.fingerprint())?;
    let environment = &context.environment;
    let resource = resources::create(&core, environment.id, environment.kind, new, key).await?;
    Ok(wire::CreateResourceResponse { resource: Some(message(environment, resource)) })
}

/// `resource_uri` and `resource_id` are twins: either one is the server's URL (mcp-auth reference §1.1).
fn identifier(uri: String, id: String) -> Result<Option<String>> {
    match (uri.is_empty(), id.is_empty()) {
        (true, true) => Ok(None),
        (false, false) if uri != id => Err(Error::invalid(
            "resource.resource_id",
            "resource_uri.twin",
            "must be equal to resource_uri where both are given",
        )),
        (true, false) => Ok(Some(id)),
        (false, _) => Ok(Some(uri)),
    }
}

fn allowlist(from: Vec<wire::CimdAllowlistEntry>) -> Result<Vec<AllowedClient>> {
    let entry = |(i, entry): (usize, wire::CimdAllowlistEntry)| match entry.r#type.as_str() {
        "PREDEFINED" => Ok(AllowedClient::Predefined(entry.value)),
        "URL" => Ok(AllowedClient::Url(entry.value)),
        _ => {
            let field = format!("resource.cimd_client_allowlist[{i}].type");
            Err(Error::invalid(field, "string.in", "must be PREDEFINED or URL"))
        }
    };
    from.into_iter().enumerate().map(entry).collect()
}

pub(super) async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetResourceRequest,
) -> Result<wire::GetResourceResponse> {
    let resource = resources::get(&core, context.environment.id, id(&request.resource_id)?).await?;
    Ok(answer(&context, resource))
}

pub(super) async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListResourcesRequest,
) -> Result<wire::ListResourcesResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = resources::list(&core, context.environment.id, kind(request.resource_type)?, &asked).await?;
    let Page { items, next, prev, total: count } = page;
    Ok(wire::ListResourcesResponse {
        total_size: total(count),
        next_page_token: next,
        resources: items.into_iter().map(|resource| message(&context.environment, resource)).collect(),
        prev_page_token: prev,
    })
}

/// What can be changed of a resource.
const FIELDS: [&str; 17] = [
    "name",
    "description",
    "resource_uri",
    "resource_id",
    "access_token_expiry",
    "refresh_token_expiry",
    "disable_dynamic_client_registration",
    "logo_uri",
    "provider",
    "scopes",
    "custom_connection_settings",
    "intersect_scopes_user_permission",
    "enable_cimd",
    "xaa_enabled",
    "cimd_client_allowlist",
    "cimd_client_allowlist_enabled",
    "resource_scope_selection_allowed",
];

pub(super) async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateResourceRequest,
) -> Result<wire::UpdateResourceResponse> {
    use wire::update_resource::Settings::CustomConnectionSettings;
    let resource = id(&request.resource_id)?;
    let given = request.resource.unwrap_or_default();
    let present = Present { mask: masked("update_mask", request.update_mask, "resource", &FIELDS)? };
    let named = present.named("resource_uri") || present.named("resource_id");
    let uri = match identifier(given.resource_uri, given.resource_id)? {
        None if named => Some(String::new()),
        uri if named || present.mask.is_none() => uri,
        _ => None,
    };
    let authorize_uri = given.settings.map(|CustomConnectionSettings(settings)| settings.authorize_uri);
    let patch = ResourcePatch {
        name: present.text("name", given.name),
        description: present.text("description", given.description),
        uri,
        logo_uri: present.text("logo_uri", given.logo_uri),
        provider: present.text("provider", given.provider),
        access_token_expiry: present.number("access_token_expiry", given.access_token_expiry),
        refresh_token_expiry: present.number("refresh_token_expiry", given.refresh_token_expiry),
        registration_disabled: present
            .optional("disable_dynamic_client_registration", given.disable_dynamic_client_registration),
        scopes: present.list("scopes", given.scopes),
        intersect_scopes: present.optional("intersect_scopes_user_permission", given.intersect_scopes_user_permission),
        scope_selection: present.optional("resource_scope_selection_allowed", given.resource_scope_selection_allowed),
        cimd_enabled: present.optional("enable_cimd", given.enable_cimd),
        cimd_allowlist: present.list("cimd_client_allowlist", allowlist(given.cimd_client_allowlist)?),
        cimd_allowlist_enabled: present.optional("cimd_client_allowlist_enabled", given.cimd_client_allowlist_enabled),
        xaa_enabled: present.optional("xaa_enabled", given.xaa_enabled),
        authorize_uri: present.optional("custom_connection_settings", authorize_uri),
    };
    let environment = &context.environment;
    let resource = resources::update(&core, environment.id, environment.kind, resource, patch).await?;
    Ok(wire::UpdateResourceResponse { resource: Some(message(environment, resource)) })
}

pub(super) async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteResourceRequest) -> Result<()> {
    resources::delete(&core, context.environment.id, id(&request.resource_id)?).await
}

pub(super) async fn remove_provider(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteResourceProviderRequest,
) -> Result<wire::GetResourceResponse> {
    let resource = resources::remove_provider(&core, context.environment.id, id(&request.resource_id)?).await?;
    Ok(answer(&context, resource))
}

pub(super) async fn ensure_connection(
    core: Arc<Core>,
    context: Context,
    request: wire::EnsureResourceConnectionRequest,
) -> Result<wire::EnsureResourceConnectionResponse> {
    let resource = resources::ensure_connection(&core, context.environment.id, id(&request.resource_id)?).await?;
    let provider = resource.provider;
    Ok(wire::EnsureResourceConnectionResponse {
        connection: resource.connection.map(|connection| connection_message(connection, provider)),
    })
}

fn answer(context: &Context, resource: Resource) -> wire::GetResourceResponse {
    wire::GetResourceResponse { resource: Some(message(&context.environment, resource)) }
}

fn connection_message(connection: Connection, provider: String) -> wire::ResourceConnection {
    let is_enabled = connection.is_enabled();
    let mut settings = serde_json::Map::new();
    settings.insert("authorize_uri".into(), connection.authorize_uri.into());
    wire::ResourceConnection {
        id: connection.id.to_string(),
        r#type: wire::ResourceConnectionType::Custom.into(),
        status: if is_enabled { "COMPLETED" } else { "DRAFT" }.to_owned(),
        enabled: is_enabled,
        settings: Some(structs::from_json(settings)),
        provider,
    }
}

/// A resource on the wire.
pub(super) fn message(environment: &Environment, resource: Resource) -> wire::Resource {
    let entry = |allowed: AllowedClient| match allowed {
        AllowedClient::Predefined(value) => wire::CimdAllowlistEntry { r#type: "PREDEFINED".to_owned(), value },
        AllowedClient::Url(value) => wire::CimdAllowlistEntry { r#type: "URL".to_owned(), value },
    };
    let scope = |(name, meaning): (String, Meaning)| match meaning {
        Meaning::Scope(scope) => scopes::message(scope),
        Meaning::Permission(id, description) => wire::Scope { id: id.to_string(), name, description, enabled: true },
    };
    wire::Resource {
        id: resource.id.to_string(),
        resource_id: resource.identifier(),
        protected_metadata: Some(structs::from_json(resource.protected_metadata(environment))),
        protected_metadata_uri: resource.protected_metadata_uri(environment),
        name: resource.name,
        resource_uri: resource.uri,
        description: resource.description,
        resource_type: resource.kind as i32,
        disable_dynamic_client_registration: resource.registration_disabled,
        logo_uri: resource.logo_uri,
        access_token_expiry: resource.access_token_expiry.into(),
        refresh_token_expiry: resource.refresh_token_expiry.into(),
        create_time: Some(time(resource.created_at)),
        update_time: Some(time(resource.updated_at)),
        scopes: resource.meanings.into_iter().map(scope).collect(),
        connection_details: resource
            .connection
            .map(|connection| connection_message(connection, resource.provider.clone())),
        provider: resource.provider,
        disallow_connection_update: false,
        intersect_scopes_user_permission: resource.intersect_scopes,
        enable_cimd: resource.cimd_enabled,
        xaa_enabled: resource.xaa_enabled,
        cimd_client_allowlist: resource.cimd_allowlist.into_iter().map(entry).collect(),
        cimd_client_allowlist_enabled: resource.cimd_allowlist_enabled,
        resource_scope_selection_allowed: resource.scope_selection,
    }
}
