//! RPCs of consents: an administrator's and a user's own.

use std::sync::Arc;

use narthex_api::scalekit::v1::clients as wire;
use narthex_core::consents::{self, Consent};
use narthex_core::ids::{ConsentId, UserId};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Caller, Core, Error, Result};
use narthex_rpc::Context;

use super::super::organizations::time;
use super::resources::id;
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
