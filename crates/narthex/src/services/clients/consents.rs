//! RPCs of consents: an administrator's and a user's own.

use std::sync::Arc;

use narthex_api::scalekit::v1::clients as wire;
use narthex_core::consents::{self, Consent};
use narthex_core::ids::{ConsentId, UserId};
use narthex_core::login::{self, ConsentView};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Caller, Core, Error, Result, branding};
use narthex_rpc::Context;

use super::super::auth;
use super::super::organizations::time;
use super::resources::{self, id};
use super::total;

pub(super) async fn of_resource(
    core: Arc<Core>,
    context: Context,
    request: wire::ListResourceUserConsentsRequest,
) -> Result<wire::ListResourceUserConsentsResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let subjects = request.filter.unwrap_or_default().external_user_id;
    let environment = context.environment.id;
    let resource = id(&request.resource_id)?;
    let page = consents::of_resource(&core, environment, resource, &request.search, subjects, &asked).await?;
    let Page { items, next, prev, total: count } = page;
    Ok(wire::ListResourceUserConsentsResponse {
        total_size: total(count),
        next_page_token: next,
        consents: items.into_iter().map(message).collect(),
        prev_page_token: prev,
    })
}

pub(super) async fn revoke(
    core: Arc<Core>,
    context: Context,
    request: wire::RevokeUserConsentRequest,
) -> Result<wire::RevokeUserConsentResponse> {
    let consent = consent(&request.consent_id)?;
    consents::revoke(&core, context.environment.id, &request.client_id, consent).await?;
    Ok(wire::RevokeUserConsentResponse {})
}

pub(super) async fn own(
    core: Arc<Core>,
    context: Context,
    request: wire::ListCurrentAgentConsentsRequest,
) -> Result<wire::ListCurrentAgentConsentsResponse> {
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = consents::of_user(&core, context.environment.id, user(&context)?, &asked).await?;
    let Page { items, next, prev, total: count } = page;
    Ok(wire::ListCurrentAgentConsentsResponse {
        total_size: total(count),
        next_page_token: next,
        prev_page_token: prev,
        consents: items.into_iter().map(message).collect(),
    })
}

pub(super) async fn revoke_own(
    core: Arc<Core>,
    context: Context,
    request: wire::RevokeCurrentAgentConsentRequest,
) -> Result<wire::RevokeCurrentAgentConsentResponse> {
    let consent = consent(&request.consent_id)?;
    consents::revoke_own(&core, context.environment.id, user(&context)?, consent).await?;
    Ok(wire::RevokeCurrentAgentConsentResponse {})
}

/// What the browser's newest login asks its user to consent to (mcp-auth reference §5.1). NOT_FOUND if it asks for nothing.
pub(super) async fn details(core: Arc<Core>, context: Context, (): ()) -> Result<wire::GetConsentDetailsResponse> {
    let login = auth::current(&core, &context).await?;
    let ConsentView { resource, client, user, organization, scopes } = login::consent_view(&core, &login).await?;
    let look = branding::look(&core, &context.environment, login.organization).await?;
    let application = wire::Application {
        id: resource.id.to_string(),
        name: resource.name.clone(),
        resource_id: resource.identifier(),
        description: resource.description.clone(),
        ..wire::Application::default()
    };
    Ok(wire::GetConsentDetailsResponse {
        resource: Some(resources::message(&context.environment, resource)),
        user: Some(wire::User { email: user.email }),
        client: Some(wire::ConsentClient {
            name: client.name.clone(),
            privacy_uri: client.presentation.policy_uri.clone(),
            tos_uri: client.presentation.tos_uri.clone(),
            client_id: client.client_id.clone(),
            metadata_uri: client.metadata_uri.clone(),
            logo_uri: client.presentation.logo_uri.clone(),
        }),
        scopes: scopes.into_iter().map(|(name, description)| wire::ConsentScope { name, description }).collect(),
        application: Some(application),
        organization: organization.map(|organization| wire::ConsentOrganization {
            organization_name: Some(organization.display_name).filter(|name| !name.is_empty()),
            organization_meta_name: look.organization_meta_name().to_owned(),
        }),
    })
}

/// The user behind the call; the contract lets nobody else here.
fn user(context: &Context) -> Result<UserId> {
    match &context.caller {
        Caller::User { user, .. } | Caller::Session { user, .. } => Ok(*user),
        _ => Err(Error::permission_denied(&[])),
    }
}

fn consent(text: &str) -> Result<ConsentId> {
    ConsentId::parse(text).ok_or_else(consents::not_found)
}

fn message(consent: Consent) -> wire::ResourceUserConsent {
    wire::ResourceUserConsent {
        id: consent.id.to_string(),
        external_user_id: consent.subject,
        client_id: consent.client_id,
        client_name: consent.client_name,
        scopes: consent.scopes,
        granted_at: Some(time(consent.granted_at)),
    }
}
