//! RPCs of the machine clients of organizations.

use std::sync::Arc;

use narthex_api::rpc::client_service as rpc;
use narthex_api::scalekit::v1::clients as wire;
use narthex_core::clients::machines::{self, Settings};
use narthex_core::clients::{self, Created};
use narthex_core::events::Actor;
use narthex_core::ids::OrganizationId;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Core, Result};
use narthex_rpc::Context;

use super::super::organizations::reachable_id;
use super::{Present, claims, machine, once, secret, secret_id, total};

pub(super) async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateOrganizationClientRequest,
) -> Result<wire::CreateOrganizationClientResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let settings = settings(request.client.unwrap_or_default());
    let fingerprint = format!("{organization} {}", settings.fingerprint());
    let key = once(&context, rpc::CREATE_ORGANIZATION_CLIENT.method.path, &fingerprint)?;
    let by = Actor::from(&context.caller);
    let made = machines::create(&core, &context.environment, &by, organization, settings, key).await?;
    let Created { client, secret } = made;
    Ok(wire::CreateOrganizationClientResponse {
        client: Some(machine(client)),
        plain_secret: secret.map(|secret| secret.expose().clone()).unwrap_or_default(),
    })
}

/// The message has no mask and no presence: what is empty keeps its value (SDK reference §9).
fn settings(given: wire::OrganizationClient) -> Settings {
    let present = Present { mask: None };
    Settings {
        name: present.text("name", given.name),
        description: present.text("description", given.description),
        scopes: present.list("scopes", given.scopes),
        audience: present.list("audience", given.audience),
        custom_claims: present.list("custom_claims", claims(given.custom_claims)),
        expiry: present.number("expiry", given.expiry),
        redirect_uris: None,
    }
}

pub(super) async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationClientRequest,
) -> Result<wire::GetOrganizationClientResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let client = machines::get(&core, context.environment.id, organization, &request.client_id).await?;
    Ok(wire::GetOrganizationClientResponse { client: Some(machine(client)) })
}

pub(super) async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationClientRequest,
) -> Result<wire::UpdateOrganizationClientResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let settings = settings(request.client.unwrap_or_default());
    let environment = context.environment.id;
    let client = machines::update(&core, environment, organization, &request.client_id, settings).await?;
    Ok(wire::UpdateOrganizationClientResponse { client: Some(machine(client)) })
}

pub(super) async fn delete(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteOrganizationClientRequest,
) -> Result<()> {
    let organization = reachable_id(&context, &request.organization_id)?;
    machines::delete(&core, context.environment.id, organization, &request.client_id).await
}

pub(super) async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListOrganizationClientsRequest,
) -> Result<wire::ListOrganizationClientsResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = machines::list(&core, context.environment.id, organization, &asked).await?;
    let Page { items, next, prev, total: count } = page;
    Ok(wire::ListOrganizationClientsResponse {
        next_page_token: next,
        total_size: total(count),
        clients: items.into_iter().map(machine).collect(),
        prev_page_token: prev,
    })
}

pub(super) async fn create_secret(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateOrganizationClientSecretRequest,
) -> Result<wire::CreateOrganizationClientSecretResponse> {
    let client_id = own(&core, &context, &request.organization_id, &request.client_id).await?;
    let by = Actor::from(&context.caller);
    let environment = &context.environment;
    let new = clients::add_secret(&core, environment.id, environment.kind, &client_id, by.as_str()).await?;
    Ok(wire::CreateOrganizationClientSecretResponse {
        plain_secret: new.plain.expose().clone(),
        secret: Some(secret(new.record)),
    })
}

pub(super) async fn delete_secret(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteOrganizationClientSecretRequest,
) -> Result<()> {
    let client_id = own(&core, &context, &request.organization_id, &request.client_id).await?;
    clients::delete_secret(&core, context.environment.id, &client_id, secret_id(&request.secret_id)?).await
}

/// The id of a client of this organization; which one it belongs to never changes.
async fn own(core: &Core, context: &Context, organization: &str, client_id: &str) -> Result<String> {
    let organization: OrganizationId = reachable_id(context, organization)?;
    machines::get(core, context.environment.id, organization, client_id).await.map(|client| client.client_id)
}
