//! WorkspaceService: the workspace of whoever calls.

use std::sync::Arc;

use narthex_api::rpc::workspace_service as rpc;
use narthex_api::scalekit::v1::commons::RegionCode;
use narthex_api::scalekit::v1::workspaces as wire;
use narthex_core::ids::WorkspaceId;
use narthex_core::workspaces::{self, Workspace};
use narthex_core::{Caller, Core, Result, environments};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{time, with};
use super::structs;

/// Builds the RPCs about a workspace itself.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::GET_WORKSPACE, with(core, get))
        .add(rpc::GET_CURRENT_WORKSPACE, with(core, current))
        .add(rpc::UPDATE_WORKSPACE, with(core, update))
        .add(rpc::UPDATE_CURRENT_WORKSPACE, with(core, update_current))
        .add(rpc::UPDATE_WORKSPACE_CONTEXT, with(core, update_context));
}

/// The workspace of an operator; that of their environment for everybody else.
fn own(context: &Context) -> WorkspaceId {
    match &context.caller {
        Caller::Member { workspace, .. } => *workspace,
        _ => context.environment.workspace_id,
    }
}

/// The same by its id. Any other is not found.
fn named(context: &Context, id: &str) -> Result<WorkspaceId> {
    WorkspaceId::parse(id).filter(|id| *id == own(context)).ok_or_else(workspaces::not_found)
}

async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetWorkspaceRequest,
) -> Result<wire::GetWorkspaceResponse> {
    answer(&core, named(&context, &request.id)?).await
}

async fn current(
    core: Arc<Core>,
    context: Context,
    _: wire::GetCurrentWorkspaceRequest,
) -> Result<wire::GetWorkspaceResponse> {
    answer(&core, own(&context)).await
}

async fn answer(core: &Core, id: WorkspaceId) -> Result<wire::GetWorkspaceResponse> {
    let workspace = workspaces::get(core, id).await?;
    Ok(wire::GetWorkspaceResponse {
        workspace: Some(message(core, workspace).await?),
        context: Some(structs::from_json(workspaces::context(core, id).await?)),
    })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateWorkspaceRequest,
) -> Result<wire::UpdateWorkspaceResponse> {
    renamed(&core, named(&context, &request.id)?, request.workspace).await
}

async fn update_current(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateCurrentWorkspaceRequest,
) -> Result<wire::UpdateWorkspaceResponse> {
    renamed(&core, own(&context), request.workspace).await
}

async fn renamed(
    core: &Core,
    id: WorkspaceId,
    given: Option<wire::UpdateWorkspace>,
) -> Result<wire::UpdateWorkspaceResponse> {
    let name = given.unwrap_or_default().display_name;
    let workspace = workspaces::rename(core, id, &name).await?;
    Ok(wire::UpdateWorkspaceResponse { workspace: Some(message(core, workspace).await?) })
}

async fn update_context(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateWorkspaceContextRequest,
) -> Result<wire::UpdateWorkspaceContextResponse> {
    let more = structs::to_json("context", request.context.unwrap_or_default())?;
    let all = workspaces::add_to_context(&core, own(&context), more).await?;
    Ok(wire::UpdateWorkspaceContextResponse { context: Some(structs::from_json(all)) })
}

async fn message(core: &Core, workspace: Workspace) -> Result<wire::Workspace> {
    let system = environments::system(core).await?;
    Ok(wire::Workspace {
        id: workspace.id.to_string(),
        create_time: Some(time(workspace.created_at)),
        update_time: Some(time(workspace.updated_at)),
        display_name: workspace.display_name,
        region_code: RegionCode::Us.into(),
        auth_domain: system.map(|system| system.domain.clone()).unwrap_or_default(),
        deployment: "prod".to_owned(),
        workspace_type: wire::WorkspaceType::Normal.into(),
        ..Default::default()
    })
}
