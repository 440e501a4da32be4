//! From a session of the product's own environment to an operator.
//!
//! The login there proves an address, and lets in whoever some workspace expects under it. Which workspace they work in is chosen
//! afterwards, and choosing one takes up its invitation: whoever is invited by strangers is not drawn into anything by signing in to their
//! own workspace.

use std::sync::Arc;

use narthex_db::Tx;

use super::{Member, get, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::{UserId, WorkspaceId};
use crate::memberships::{State, Status};
use crate::users::{self, Identity};

/// Whether some workspace expects somebody with this address: as a member, or as one that it has invited and that may still come. For
/// the login, which lets nobody else in.
pub async fn expected(tx: &mut Tx, email: &str, now: Timestamp) -> Result<bool> {
    let members = store::of_address(tx, &users::key_of(email)).await?;
    Ok(members.iter().any(|member| may_come(member, now)))
}

fn may_come(member: &Member, now: Timestamp) -> bool {
    matches!(member.status(now), Status::Active | Status::PendingInvite)
}

/// The members that a user of the product's own environment is: those who may act, and those who are invited, oldest first. The user
/// has a session, so they have proven their address.
pub async fn of_user(core: &Core, system: &Environment, user: UserId) -> Result<Vec<Member>> {
    let (system, now) = (system.id, core.clock.now());
    core.db
        .read(async move |tx| {
            let Some(user) = users::load(tx, system, &Identity::Id(user)).await? else { return Ok(Vec::new()) };
            let members = store::of_address(tx, &users::key_of(&user.email)).await?;
            Ok(members.into_iter().filter(|member| may_come(member, now)).collect())
        })
        .await
}

/// The member that a user with a session is in a workspace, tied to that user from now on; an invitation is taken up by it.
/// PERMISSION_DENIED for a workspace that does not know them.
pub async fn enter(core: &Core, system: &Environment, user: UserId, workspace: WorkspaceId) -> Result<Arc<Member>> {
    let (system, now) = (system.id, core.clock.now());
    let foreign = || Error::new(Kind::PermissionDenied, "you are not a member of this workspace");
    let (id, bump) = core
        .db
        .write(async move |tx| {
            let found = users::load(tx, system, &Identity::Id(user)).await?.ok_or_else(foreign)?;
            let member = store::by_email(tx, workspace, &users::key_of(&found.email)).await?;
            let member = member.filter(|member| may_come(member, now)).ok_or_else(foreign)?;
            if member.is_active() && member.user == Some(user) {
                return Ok((member.id, None));
            }
            let joined = Member {
                state: State::Active,
                user: Some(user),
                joined_at: member.joined_at.or(Some(now)),
                expires_at: None,
                updated_at: now.max(member.updated_at),
                ..member
            };
            Ok::<_, Error>((joined.id, Some(store::update(tx, &joined).await?)))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    get(core, id).await?.ok_or_else(foreign)
}
