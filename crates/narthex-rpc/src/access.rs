//! Whether a caller may call an RPC, as far as the table decides it: the kind of caller, then permissions (control plane reference
//! §2.3). What the table does not allow is refused.

use narthex_api::contract::{EndUsers, Method};
use narthex_core::environments::Environment;
use narthex_core::{Caller, Error};

/// The permissions that a refusal names: those of the contract, unless they say nothing to this caller.
pub(crate) fn required(method: &Method, caller: &Caller) -> &'static [&'static str] {
    match method.auth.end_users {
        EndUsers::Permitted(any_of)
            if matches!(caller, Caller::User { .. } | Caller::Session { .. })
                && !any_of.iter().any(|key| method.auth.permissions.contains(key))
                && !any_of.is_empty() =>
        {
            any_of
        }
        _ => method.auth.permissions,
    }
}

/// PERMISSION_DENIED, naming the permissions of which any one would do, unless the caller may call `method` in `environment`.
pub(crate) fn check(method: &Method, caller: &Caller, environment: &Environment) -> Result<(), Error> {
    let auth = &method.auth;
    let organization_client = matches!(caller, Caller::OrganizationClient { .. }) && method.organization_client;
    if caller.kind() & auth.kinds == 0 && !organization_client {
        return Err(Error::permission_denied(auth.permissions));
    }
    let permitted = match caller {
        Caller::User { .. } | Caller::Session { .. } => match auth.end_users {
            EndUsers::Permitted(any_of) => caller.holds_any(any_of),
            EndUsers::Themselves | EndUsers::Everybody => true,
            EndUsers::Operators => environment.is_system,
        },
        Caller::Member { workspace, .. } => {
            let open = !auth.permissions.iter().any(|key| key.contains(':'));
            // In the product's own environment, whoever is not of its workspace sees to the own workspace only.
            let at_home = *workspace == environment.workspace_id;
            if open { at_home || auth.workspace_wide } else { caller.holds_any(auth.permissions) }
        }
        _ => caller.holds_any(auth.permissions),
    };
    if permitted { Ok(()) } else { Err(Error::permission_denied(required(method, caller))) }
}
