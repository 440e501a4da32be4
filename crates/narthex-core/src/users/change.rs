//! Changes of a user. There is no event for them (orgs-users-rbac reference §3.4): applications that must know read the user.

use super::search::text;
use super::{Identity, UserPatch, View, not_found, search, store, validation, view};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::memberships;
use crate::organizations::share;

/// Changes what the patch names. A taken external id is INVALID_ARGUMENT.
pub async fn update(core: &Core, environment: EnvId, identity: Identity, patch: UserPatch) -> Result<View> {
    validation::patch(&patch)?;
    let now = core.clock.now();
    let (view, bumps) = core
        .db
        .write_for(share(environment), async move |tx| {
            let before = store::load(tx, environment, &identity).await?.ok_or_else(not_found)?;
            let mut after = before.clone();
            patch.external_id.clone().apply(&mut after.external_id);
            if let Some(metadata) = &patch.metadata {
                after.metadata.clone_from(metadata);
            }
            patch.profile.apply(&mut after.profile);
            let mut bumps = Vec::new();
            if after != before {
                after.updated_at = now.max(before.updated_at);
                store::update(tx, &after, &text(&after)).await?;
                if text(&after) != text(&before) {
                    search::mark(tx, after.id).await?;
                    // The memberships in memory name the external id.
                    bumps = memberships::bump(tx, [after.id]).await?;
                }
            }
            Ok::<_, Error>((view(tx, after, now).await?, bumps))
        })
        .await
        .map_err(duplicate)?;
    core.caches.apply_all(bumps);
    Ok(view)
}

/// Names the field of a violated unique index.
pub(crate) fn duplicate(error: Error) -> Error {
    match error.database() {
        Some(cause) if cause.is_unique_on("users.external_id") => Error::duplicate("external_id"),
        Some(cause) if cause.is_unique_on("users.email_key") => Error::duplicate("email"),
        Some(cause) if cause.is_unique_on("memberships.user_id") => Error::duplicate("membership"),
        _ => error,
    }
}
