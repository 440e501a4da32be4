//! ApiTokenService. `FetchToken` has no option that lets anybody call it, and the text of a token is never kept.

use std::sync::Arc;

use narthex_api::rpc::api_token_service as rpc;
use narthex_api::scalekit::v1::tokens as wire;
use narthex_core::api_tokens::{self, NewApiToken, View};
use narthex_core::events::Actor;
use narthex_core::ids::UserId;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Core, Error, Result};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{reachable_id, time, with};
use super::sessions::moment;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_TOKEN, with(core, create))
        .add(rpc::VALIDATE_TOKEN, with(core, validate))
        .add(rpc::INVALIDATE_TOKEN, with(core, invalidate))
        .add(rpc::LIST_TOKENS, with(core, list))
        .add(rpc::UPDATE_TOKEN, with(core, update));
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateTokenRequest,
) -> Result<wire::CreateTokenResponse> {
    let given = request.token.unwrap_or_default();
    let user = match given.user_id.as_str() {
        "" => None,
        id => Some(
            UserId::parse(id)
                .ok_or_else(|| Error::invalid("token.user_id", "user.member", "is no member of the organization"))?,
        ),
    };
    let new = NewApiToken {
        organization: reachable_id(&context, &given.organization_id)?,
        user,
        custom_claims: given.custom_claims.into_iter().collect(),
        expires_at: given.expiry.as_ref().map(moment),
        description: given.description,
    };
    let by = Actor::from(&context.caller);
    let (plain, view) = api_tokens::create(&core, context.environment.id, &by, new).await?;
    Ok(wire::CreateTokenResponse {
        token: plain.expose().clone(),
        token_id: view.token.id.to_string(),
        token_info: Some(message(view)),
    })
}

async fn validate(
    core: Arc<Core>,
    context: Context,
    request: wire::ValidateTokenRequest,
) -> Result<wire::ValidateTokenResponse> {
    let view = api_tokens::validate(&core, context.environment.id, &request.token).await?;
    Ok(wire::ValidateTokenResponse { token_info: Some(message(view)) })
}

async fn invalidate(core: Arc<Core>, context: Context, request: wire::InvalidateTokenRequest) -> Result<()> {
    api_tokens::invalidate(&core, context.environment.id, &request.token).await
}

async fn list(core: Arc<Core>, context: Context, request: wire::ListTokensRequest) -> Result<wire::ListTokensResponse> {
    let organization = reachable_id(&context, &request.organization_id)?;
    let user = match request.user_id.as_deref() {
        None | Some("") => None,
        // What is no id is nobody's.
        Some(id) => Some(UserId::parse(id).unwrap_or(UserId(0))),
    };
    let asked = PageRequest { size: u32::try_from(request.page_size).unwrap_or(0), token: request.page_token };
    let page = api_tokens::list(&core, context.environment.id, organization, user, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::ListTokensResponse {
        tokens: items.into_iter().map(message).collect(),
        total_count: i32::try_from(total).unwrap_or(i32::MAX),
        next_page_token: next,
        prev_page_token: prev,
    })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateTokenRequest,
) -> Result<wire::UpdateTokenResponse> {
    let claims = request.custom_claims.into_iter().collect();
    let view = api_tokens::update(&core, context.environment.id, &request.token, request.description, claims).await?;
    Ok(wire::UpdateTokenResponse { token_info: Some(message(view)) })
}

/// A token on the wire.
fn message(view: View) -> wire::Token {
    let View { token, organization_external_id, holder } = view;
    let (user_external_id, email, roles) = match holder {
        None => (None, None, Vec::new()),
        Some(holder) => (holder.external_id, Some(holder.email), holder.roles),
    };
    wire::Token {
        token_id: token.id.to_string(),
        organization_id: token.organization.to_string(),
        organization_external_id: organization_external_id.unwrap_or_default(),
        user_id: token.user.map(|user| user.to_string()),
        user_external_id,
        custom_claims: token.custom_claims.into_iter().collect(),
        expiry: token.expires_at.map(time),
        created_at: Some(time(token.created_at)),
        description: token.description,
        token_suffix: token.suffix,
        email,
        roles,
    }
}
