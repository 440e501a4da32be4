//! Taking an invitation up by its link (orgs-users-rbac reference §4.6): it proves the address it was sent to, as a magic link does.

use std::sync::Arc;

use narthex_db::{Tx, p};

use super::Visitor;
use super::complete::{SessionCookie, with_session};
use crate::clients;
use crate::clients::redirects::fill;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::ids::{EnvId, EventId, OrganizationId, SessionId, UserId};
use crate::memberships::{self, Membership, Status};
use crate::organizations::{self, Organization, share};
use crate::seal::sha256;
use crate::sessions::{self, Entry, Lifetimes, NewEntry};
use crate::totp;
use crate::users::{self, Identity, User};

/// Longest secret of a link that is looked at.
const LONGEST: usize = 128;

/// An invitation as its link shows it.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Where to.
    pub organization: Organization,
    /// Who.
    pub user: User,
    /// Who invites.
    pub inviter_email: Option<String>,
}

/// An invitation that was taken up.
pub struct Accepted {
    /// Where to.
    pub organization: Organization,
    /// Where the application begins a login, if it says so.
    pub continue_at: Option<String>,
    /// For the browser: the next login needs no page. None where the invited user has an authenticator app that must be asked first.
    pub cookie: Option<SessionCookie>,
}

/// The invitation of a link that is still good. Nothing is consumed: programs that scan mail open links.
pub async fn peek_invitation(core: &Core, environment: EnvId, secret: &str) -> Result<Option<Invite>> {
    let Some(hash) = hash(secret) else { return Ok(None) };
    let now = core.clock.now();
    core.db
        .read(async move |tx| {
            let found = find(tx, environment, hash, now).await?;
            Ok(found.map(|(organization, user, membership)| Invite {
                organization,
                user,
                inviter_email: membership.inviter_email,
            }))
        })
        .await
}

/// Makes the invited user a member and signs them in, as far as a proven mailbox is enough for that. `None` for a link that is not good, or no longer.
pub async fn accept_invitation(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    secret: &str,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Option<Accepted>> {
    let Some(hash) = hash(secret) else { return Ok(None) };
    let entry = Arc::new(NewEntry::new(core, visitor.device.clone()));
    let (joined, env, new) = (EventId::new(&core.ids), Arc::clone(environment), Arc::clone(&entry));
    let asks_totp = core.totp_at_login;
    let accepted = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let now = new.now();
            let Some((organization, mut user, membership)) = find(tx, env.id, hash, now).await? else {
                return Ok(None);
            };
            users::set_email_verified(tx, &mut user, now).await?;
            memberships::accept(tx, &organization, &user, membership, joined, now).await?;
            // A mailbox is one factor: whoever has set up a second is a member now, and signs in by both.
            if asks_totp && totp::is_enabled(tx, env.id, user.id).await? {
                return Ok(Some((organization, None)));
            }
            users::record_login(tx, &mut user, None, now).await?;
            let entered = sessions::enter(
                tx,
                &new,
                Entry {
                    environment: env.id,
                    user: user.id,
                    organization: Some(organization.id),
                    current,
                    proof: None,
                    is_proven: true,
                    lifetimes: Lifetimes::of(&env.session, organization.session_policy),
                },
            )
            .await?
            .ok_or_else(|| Error::internal("a proven user has entered no session"))?;
            Ok::<_, Error>(Some((organization, Some(entered))))
        })
        .await?;
    let Some((organization, entered)) = accepted else { return Ok(None) };
    let cookie = entered.and_then(|entered| with_session(&entry, entered).applied(core).cookie);
    let default = clients::default_application(core, environment.id).await?;
    let value_of = |name: &str| super::placeholder(&organization, name);
    let continue_at = default
        .map(|client| client.initiate_login_uri.clone())
        .filter(|uri| !uri.is_empty())
        .and_then(|uri| fill(&uri, &value_of));
    Ok(Some(Accepted { organization, continue_at, cookie }))
}

fn hash(secret: &str) -> Option<[u8; 32]> {
    (!secret.is_empty() && secret.len() <= LONGEST).then(|| sha256(secret.as_bytes()))
}

async fn find(
    tx: &mut Tx,
    environment: EnvId,
    hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<(Organization, User, Membership)>> {
    let sql = "SELECT organization_id, user_id FROM invitation_tokens \
               WHERE token_hash = $1 AND environment_id = $2 AND expires_at > $3";
    let found: Option<(OrganizationId, UserId)> = tx.opt(sql, &p![hash.to_vec(), environment, now]).await?;
    let Some((organization, user)) = found else { return Ok(None) };
    let membership = memberships::load(tx, environment, organization, user).await?;
    let Some(membership) = membership.filter(|membership| membership.status(now) == Status::PendingInvite) else {
        return Ok(None);
    };
    let organization = organizations::load(tx, environment, &organizations::Identity::Id(organization)).await?;
    let user = users::load(tx, environment, &Identity::Id(user)).await?;
    Ok(organization.zip(user).map(|(organization, user)| (organization, user, membership)))
}
