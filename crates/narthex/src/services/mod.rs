//! The RPCs that are built: one module per service of the contract, each a thin mapping between messages and the core.

pub mod organizations;
mod structs;

use std::sync::Arc;

use narthex_core::Core;
use narthex_rpc::Rpcs;

/// Registers every built RPC.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    organizations::register(rpcs, core);
}
