//! What both servers and templates are: several, of which one is switched on.

use narthex_db::Tx;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::organizations::share;

/// Tries to switch on one of several while others do the same.
const TRIES: usize = 5;

/// What is on now, and what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switched<Id> {
    /// What is on.
    pub active: Id,
    /// What was on until now, if that was another.
    pub previous: Option<Id>,
}

/// Runs a transaction that switches one on and the others off. The unique index lets one of two commit that do so at once; the other is
/// run again and finds what the first has done.
pub(super) async fn switch<T: Send + 'static>(
    core: &Core,
    environment: EnvId,
    run: impl AsyncFn(&mut Tx) -> Result<T> + Clone + Send + 'static,
) -> Result<T> {
    let mut tries = 0;
    loop {
        match core.db.write_for(share(environment), run.clone()).await {
            Err(error) if tries < TRIES && is_race(&error) => tries += 1,
            switched => return switched,
        }
    }
}

fn is_race(error: &Error) -> bool {
    error.database().is_some_and(|cause| {
        cause.is_unique_on("email_servers.environment_id") || cause.is_unique_on("email_templates.environment_id")
    })
}
