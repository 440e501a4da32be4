//! The RPCs that are built: one module per service of the contract, each a thin mapping between messages and the core.

pub mod organizations;
pub mod roles;
mod structs;
pub mod user_attributes;

use std::sync::Arc;

use narthex_core::Core;
use narthex_rpc::Rpcs;

/// Registers every built RPC.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    organizations::register(rpcs, core);
    roles::register(rpcs, core);
    user_attributes::register(rpcs, core);
}
