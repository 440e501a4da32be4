//! Test users of the environment.

use std::sync::Arc;

use narthex_api::rpc::environment_service as rpc;
use narthex_api::scalekit::v1::environments as wire;
use narthex_core::environments::test_users::{self, TestUsers, TestUsersChange};
use narthex_core::{Caller, Core, Error, Result};
use narthex_rpc::{Context, Rpcs};

use super::super::organizations::with;
use super::target;

pub(super) fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::GET_ENVIRONMENT_TEST_USER, with(core, get))
        .add(rpc::UPDATE_ENVIRONMENT_TEST_USER, with(core, update));
}

async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEnvironmentTestUserRequest,
) -> Result<wire::GetEnvironmentTestUserResponse> {
    // Whoever is signed in would learn how to sign in as somebody else.
    if !matches!(context.caller, Caller::Client { .. } | Caller::Member { .. }) {
        return Err(Error::permission_denied(&["environment_settings:read"]));
    }
    let required = rpc::GET_ENVIRONMENT_TEST_USER.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?;
    let found = test_users::get(&core, environment.id).await?;
    Ok(wire::GetEnvironmentTestUserResponse { test_user: Some(message(TestUsers::clone(&found))) })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateEnvironmentTestUserRequest,
) -> Result<wire::UpdateEnvironmentTestUserResponse> {
    let required = rpc::UPDATE_ENVIRONMENT_TEST_USER.method.auth.permissions;
    let environment = target(&core, &context, &request.id, required).await?.id;
    let given = request.test_user.unwrap_or_default();
    let change = TestUsersChange {
        enabled: given.enabled,
        code: given.static_confirmation_code,
        // The wire cannot tell an empty list from an absent one.
        emails: Some(given.emails).filter(|emails| !emails.is_empty()),
    };
    let changed = test_users::update(&core, environment, change).await?;
    Ok(wire::UpdateEnvironmentTestUserResponse {
        environment_id: environment.to_string(),
        test_user: Some(message(changed)),
    })
}

fn message(users: TestUsers) -> wire::TestUser {
    wire::TestUser { enabled: Some(users.enabled), static_confirmation_code: Some(users.code), emails: users.emails }
}
