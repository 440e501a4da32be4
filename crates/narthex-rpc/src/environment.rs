//! The environment type, until the core has its own.

use narthex_core::ids::EnvId;

/// An environment.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Id.
    pub id: EnvId,
}
