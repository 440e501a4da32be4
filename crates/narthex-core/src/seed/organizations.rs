//! Organizations that exist from the start.

use super::file::WantedOrganization;
use crate::core::Core;
use crate::error::Result;
use crate::events::Actor;
use crate::ids::EnvId;
use crate::organizations::{self, Identity, NewOrganization};

/// Makes an organization unless it exists; what it made, for people.
pub(super) async fn apply(core: &Core, environment: EnvId, wanted: WantedOrganization) -> Result<Option<String>> {
    let identity = match (&wanted.id, &wanted.external_id) {
        (Some(id), _) => Some(Identity::Id(*id)),
        (None, Some(external)) => Some(Identity::ExternalId(external.clone())),
        (None, None) => None,
    };
    if let Some(identity) = identity {
        match organizations::get(core, environment, &identity).await {
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == crate::Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let new = NewOrganization { id: wanted.id, external_id: wanted.external_id, ..NewOrganization::named(wanted.name) };
    let made = organizations::create(core, environment, &Actor::SYSTEM, new, None).await?;
    Ok(Some(format!("organization {} {}", made.id, made.display_name)))
}
