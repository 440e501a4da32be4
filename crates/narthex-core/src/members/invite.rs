//! Invitations of operators: an address, a role, and a mail that says where to sign in. The mail carries no secret: signing in proves
//! the address, and that is what the invitation is for.

use std::sync::Arc;
use std::time::Duration;

use super::{Granter, Member, NewMember, draft, get, not_found, store};
use crate::core::Core;
use crate::emails::{self, Mail, UseCase, Variables};
use crate::environments;
use crate::error::{Error, Kind, Result};
use crate::ids::WorkspaceId;
use crate::login;
use crate::memberships::{State, Status};

/// Life of an invitation.
pub const INVITATION: Duration = Duration::from_hours(15 * 24);
/// How often one member can be invited: each is a mail to somebody who has not asked for it.
const INVITATIONS: i32 = 50;

/// Invites somebody, or sends an invitation again that has not been taken up; then it has its role and a new end.
///
/// INVALID_ARGUMENT for who is a member already. PERMISSION_DENIED for a role that allows what the granter may not do.
/// FAILED_PRECONDITION after the fiftieth time.
pub async fn invite(core: &Core, workspace: WorkspaceId, by: &Granter, new: NewMember) -> Result<Arc<Member>> {
    by.check(new.role.name())?;
    let now = core.clock.now();
    let expires_at = now.plus(INVITATION);
    let member = Member {
        inviter_email: by.email.clone(),
        invited_at: Some(now),
        invited_count: 1,
        expires_at: Some(expires_at),
        ..draft(core, workspace, new, State::Invited, now)?
    };
    let system = environments::system(core).await?.ok_or_else(|| Error::internal("no environment is seeded yet"))?;
    let mail = Mail {
        use_case: UseCase::MemberInvite,
        organization: None,
        to: member.email.clone(),
        variables: Variables {
            link: Some(format!("{}{}", system.origin, login::OPERATOR_PAGE)),
            otp: None,
            expires_at: Some(expires_at),
        },
        custom: std::collections::BTreeMap::new(),
    };
    let mail = emails::prepare(core, &system, mail).await?;
    let by = by.clone();
    let (id, bump) = core
        .db
        .write(async move |tx| {
            let (id, bump) = match store::by_email(tx, workspace, &member.email).await? {
                None => {
                    store::insert(tx, &member).await?;
                    (member.id, None)
                }
                Some(known) if matches!(known.status(now), Status::PendingInvite | Status::InviteExpired) => {
                    // Whoever may not give the role that is waiting may not change it either.
                    by.check(&known.role)?;
                    if known.invited_count >= INVITATIONS {
                        let text = format!("the invitation has been sent {INVITATIONS} times");
                        return Err(Error::new(Kind::FailedPrecondition, text));
                    }
                    let named = |new: &String, old: &String| if new.is_empty() { old.clone() } else { new.clone() };
                    let again = Member {
                        given_name: named(&member.given_name, &known.given_name),
                        family_name: named(&member.family_name, &known.family_name),
                        role: member.role.clone(),
                        inviter_email: member.inviter_email.clone(),
                        invited_at: Some(now),
                        invited_count: known.invited_count + 1,
                        expires_at: Some(expires_at),
                        updated_at: now.max(known.updated_at),
                        ..known
                    };
                    (again.id, Some(store::update(tx, &again).await?))
                }
                Some(_) => return Err(Error::duplicate("email")),
            };
            emails::enqueue(tx, &mail, now).await?;
            Ok::<_, Error>((id, bump))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    get(core, id).await?.ok_or_else(not_found)
}
