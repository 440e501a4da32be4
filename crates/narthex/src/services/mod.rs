//! The RPCs that are built: one module per service of the contract, each a thin mapping between messages and the core.

pub mod api_tokens;
pub mod auth;
pub mod clients;
pub mod connections;
pub mod domains;
pub mod emails;
pub mod environments;
pub mod members;
pub mod organizations;
pub mod passwordless;
pub mod roles;
pub mod sessions;
mod structs;
pub mod totp;
pub mod user_attributes;
pub mod users;
pub mod webauthn;
pub mod workspaces;

use std::sync::Arc;

use narthex_core::Core;
use narthex_rpc::Rpcs;

/// Registers every built RPC.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    auth::register(rpcs, core);
    clients::register(rpcs, core);
    api_tokens::register(rpcs, core);
    connections::register(rpcs, core);
    domains::register(rpcs, core);
    environments::register(rpcs, core);
    emails::register(rpcs, core);
    members::register(rpcs, core);
    organizations::register(rpcs, core);
    passwordless::register(rpcs, core);
    sessions::register(rpcs, core);
    roles::register(rpcs, core);
    user_attributes::register(rpcs, core);
    totp::register(rpcs, core);
    users::register(rpcs, core);
    webauthn::register(rpcs, core);
    workspaces::register(rpcs, core);
}
