//! RPCs of scopes.

use std::sync::Arc;

use narthex_api::scalekit::v1::clients as wire;
use narthex_core::ids::ScopeId;
use narthex_core::scopes::{self, Scope, same_environment};
use narthex_core::{Core, Result};
use narthex_rpc::Context;

pub(super) async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateScopeRequest,
) -> Result<wire::CreateScopeResponse> {
    same_environment(&context.environment, &request.env_id)?;
    let given = request.scope.unwrap_or_default();
    let scope = scopes::create(&core, context.environment.id, given.name, given.description).await?;
    Ok(wire::CreateScopeResponse { scope: Some(message(scope)) })
}

pub(super) async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListScopesRequest,
) -> Result<wire::ListScopesResponse> {
    same_environment(&context.environment, &request.env_id)?;
    let scopes = scopes::list(&core, context.environment.id).await?;
    Ok(wire::ListScopesResponse { scopes: scopes.into_iter().map(message).collect() })
}

pub(super) async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateScopeRequest,
) -> Result<wire::UpdateScopeResponse> {
    let id = ScopeId::parse(&request.id).ok_or_else(scopes::not_found)?;
    let given = request.scope.unwrap_or_default();
    // The message has no mask: an empty description says nothing.
    let description = (!given.description.is_empty()).then_some(given.description);
    let scope = scopes::update(&core, context.environment.id, id, description, given.enabled).await?;
    Ok(wire::UpdateScopeResponse { scope: Some(message(scope)) })
}

pub(super) async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteScopeRequest) -> Result<()> {
    let id = ScopeId::parse(&request.id).ok_or_else(scopes::not_found)?;
    scopes::delete(&core, context.environment.id, id).await
}

/// A scope on the wire.
pub(super) fn message(scope: Scope) -> wire::Scope {
    wire::Scope { id: scope.id.to_string(), name: scope.name, description: scope.description, enabled: scope.enabled }
}
