//! RPCs of the clients of resources.

use std::sync::Arc;

use narthex_api::rpc::client_service as rpc;
use narthex_api::scalekit::v1::clients as wire;
use narthex_core::clients::machines::Settings;
use narthex_core::clients::{Created, Presentation};
use narthex_core::consents::Consent;
use narthex_core::events::Actor;
use narthex_core::ids::ResourceId;
use narthex_core::resources::clients::{self, Registration};
use narthex_core::{Core, Result};
use narthex_rpc::Context;

use super::super::organizations::time;
use super::resources::id;
use super::{Present, claims, machine, masked, once, wire_claims};

pub(super) async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateResourceClientRequest,
) -> Result<wire::CreateResourceClientResponse> {
    let resource = id(&request.resource_id)?;
    let settings = settings(request.client.unwrap_or_default(), &Present { mask: None });
    let fingerprint = format!("{resource} {}", settings.fingerprint());
    let key = once(&context, rpc::CREATE_RESOURCE_CLIENT.method.path, &fingerprint)?;
    let by = Actor::from(&context.caller);
    let made = clients::create(&core, &context.environment, &by, resource, settings, key).await?;
    let Created { client, secret } = made;
    Ok(wire::CreateResourceClientResponse {
        client: Some(machine(client)),
        plain_secret: secret.map(|secret| secret.expose().clone()).unwrap_or_default(),
    })
}

fn settings(given: wire::ResourceClient, present: &Present) -> Settings {
    Settings {
        name: present.text("name", given.name),
        description: present.text("description", given.description),
        scopes: present.list("scopes", given.scopes),
        audience: present.list("audience", given.audience),
        custom_claims: present.list("custom_claims", claims(given.custom_claims)),
        expiry: present.number("expiry", given.expiry),
        redirect_uris: present.list("redirect_uris", given.redirect_uris),
    }
}

pub(super) async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetResourceClientRequest,
) -> Result<wire::GetResourceClientResponse> {
    let resource = id(&request.resource_id)?;
    let (client, consents) = clients::get(&core, context.environment.id, resource, &request.client_id).await?;
    let consented = |consent: Consent| wire::ConsentedUser {
        consent_id: consent.id.to_string(),
        external_user_id: consent.subject,
        scopes: consent.scopes,
    };
    Ok(wire::GetResourceClientResponse {
        client: Some(machine(client)),
        consented_users: consents.into_iter().map(consented).collect(),
    })
}

pub(super) async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListResourceClientsRequest,
) -> Result<wire::ListResourceClientsResponse> {
    let found = clients::list(&core, context.environment.id, id(&request.resource_id)?).await?;
    let count = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    Ok(wire::ListResourceClientsResponse {
        total_dcr_clients: count(found.registered),
        total_static_clients: count(found.made),
        clients: found.clients.into_iter().map(machine).collect(),
    })
}

/// What can be changed of a client of a resource.
const FIELDS: [&str; 7] = ["name", "description", "scopes", "audience", "custom_claims", "expiry", "redirect_uris"];

pub(super) async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateResourceClientRequest,
) -> Result<wire::UpdateResourceClientResponse> {
    let resource = id(&request.resource_id)?;
    let present = Present { mask: masked("update_mask", request.update_mask, "client", &FIELDS)? };
    let settings = settings(request.client.unwrap_or_default(), &present);
    let client = clients::update(&core, context.environment.id, resource, &request.client_id, settings).await?;
    Ok(wire::UpdateResourceClientResponse { client: Some(machine(client)) })
}

pub(super) async fn delete(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteResourceClientRequest,
) -> Result<wire::DeleteResourceClientResponse> {
    let resource = id(&request.resource_id)?;
    clients::delete(&core, context.environment.id, resource, &request.client_id).await?;
    Ok(wire::DeleteResourceClientResponse {})
}

/// Open to anyone, over gRPC (the REST path has RFC 7591's own forms: `oauth/register.rs`): what is answered is what the client itself has said, and its id.
pub(super) async fn register(
    core: Arc<Core>,
    context: Context,
    request: wire::RegisterClientRequest,
) -> Result<wire::RegisterClientResponse> {
    let given = request.client.unwrap_or_default();
    let registration = Registration {
        name: given.client_name,
        description: given.description,
        redirect_uris: given.redirect_uris,
        scope: given.scope,
        presentation: Presentation {
            client_uri: given.client_uri,
            logo_uri: given.logo_uri,
            tos_uri: given.tos_uri,
            policy_uri: given.policy_uri,
        },
        // The message cannot ask for a secret.
        is_confidential: false,
    };
    let resource = ResourceId::parse(&request.res_id);
    let made = clients::register(&core, &context.environment, resource, registration).await?;
    let client = made.client;
    Ok(wire::RegisterClientResponse {
        client_id: client.client_id,
        secrets: Vec::new(),
        name: client.name,
        description: client.description,
        create_time: Some(time(client.created_at)),
        update_time: Some(time(client.updated_at)),
        scopes: client.scopes,
        audience: client.audience,
        custom_claims: wire_claims(client.custom_claims),
        expiry: client.access_token_expiry.map(i64::from).unwrap_or_default(),
        resource_id: client.resource.map(|id| id.to_string()).unwrap_or_default(),
        redirect_uris: client.post_login_uris,
        client_secret: String::new(),
        client_secret_expires_at: 0,
    })
}
