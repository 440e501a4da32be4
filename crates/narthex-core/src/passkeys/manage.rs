//! Users' passkeys: seen, named, removed.

use super::{Passkey, not_found, store};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{CredentialId, EnvId, UserId};
use crate::organizations::share;
use crate::users::{self, Identity};

/// A user's passkeys, newest first. NOT_FOUND for a user who is none.
pub async fn list(core: &Core, environment: EnvId, user: UserId) -> Result<Vec<Passkey>> {
    core.db
        .read(async move |tx| {
            users::load(tx, environment, &Identity::Id(user)).await?.ok_or_else(users::not_found)?;
            store::of_user(tx, environment, user).await
        })
        .await
}

/// Names a passkey. With an owner, it must be theirs.
pub async fn rename(
    core: &Core,
    environment: EnvId,
    owner: Option<UserId>,
    id: CredentialId,
    display_name: String,
) -> Result<Passkey> {
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            let mut passkey = owned(store::load(tx, environment, id).await?, owner)?;
            let sql = "UPDATE passkeys SET display_name = $2, updated_at = $3 WHERE id = $1";
            tx.execute(sql, &narthex_db::p![id, &display_name, now]).await?;
            passkey.display_name = Some(display_name.clone());
            passkey.updated_at = now;
            Ok(passkey)
        })
        .await
}

/// Removes a passkey: nobody signs in with it from now on. With an owner, it must be theirs.
pub async fn delete(core: &Core, environment: EnvId, owner: Option<UserId>, id: CredentialId) -> Result<Passkey> {
    core.db
        .write_for(share(environment), async move |tx| {
            let passkey = owned(store::load(tx, environment, id).await?, owner)?;
            store::delete(tx, &passkey).await?;
            Ok(passkey)
        })
        .await
}

/// Whether somebody else has the passkey is not told.
fn owned(found: Option<Passkey>, owner: Option<UserId>) -> Result<Passkey, Error> {
    found.filter(|passkey| owner.is_none_or(|owner| owner == passkey.user)).ok_or_else(not_found)
}
