//! Invitations: the way into a membership that waits for its user.
//!
//! The secret of a link is kept as its SHA-256 only, so a reminder cannot repeat one: it gets a secret of its own beside those sent
//! before, with the same end. The secret goes into the mail outbox, sealed, in the transaction that issues it, and is known to nobody
//! else.

use std::collections::BTreeMap;
use std::time::Duration;

use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::emails::{self, Mail, Payload, Prepared, UseCase, Variables};
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId, UserId};
use crate::memberships::{self, Membership, State, Status};
use crate::organizations::{self, share};
use crate::seal::sha256;
use crate::users::{self, Identity, UserManagement};

/// Characters of a secret: about 256 bits.
const LENGTH: usize = 43;
/// Secrets of one invitation that are good at once; the oldest goes.
const TOKENS: i64 = 5;
/// How often one invitation can be sent again: each is a mail to somebody who has not asked for it.
const RESENDS: i32 = 50;

/// The secret of a link and the mail that carries it, made outside of the transaction.
pub(crate) struct NewToken {
    hash: [u8; 32],
    mail: Prepared,
}

impl NewToken {
    /// A random one.
    pub(crate) async fn new(core: &Core, environment: EnvId) -> Result<Self> {
        let secret = core.random.base62(LENGTH);
        let hash = sha256(secret.as_bytes());
        Ok(Self { hash, mail: emails::seal_payload(core, environment, &Payload::Invitation(secret)).await? })
    }

    /// Makes the secret good for a membership until `expires_at`, and mails it.
    pub(crate) async fn issue(
        &self,
        tx: &mut Tx,
        membership: &Membership,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        tx.execute(
            "INSERT INTO invitation_tokens (token_hash, environment_id, organization_id, user_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &p![
                self.hash.to_vec(),
                membership.environment,
                membership.organization,
                membership.user,
                now.0,
                expires_at.0
            ],
        )
        .await?;
        emails::enqueue(tx, &self.mail, now).await
    }
}

/// The mail that an invitation's secret belongs in; none if the invitation has been accepted, has run out or was taken back.
pub(crate) async fn mail(core: &Core, environment: &Environment, secret: &str) -> Result<Option<Mail>> {
    let hash = sha256(secret.as_bytes()).to_vec();
    let mut reader = core.db.reader().await?;
    let sql = "SELECT organization_id, user_id, expires_at FROM invitation_tokens WHERE token_hash = $1 AND environment_id = $2";
    let token: Option<(OrganizationId, UserId, Timestamp)> = reader.opt(sql, &p![hash, environment.id]).await?;
    let Some((organization, user, expires_at)) = token else { return Ok(None) };
    let Some(user) = users::load(&mut reader, environment.id, &Identity::Id(user)).await? else { return Ok(None) };
    Ok(Some(Mail {
        use_case: UseCase::UserInvite,
        organization: Some(organization),
        to: user.email,
        variables: Variables {
            link: Some(format!("{}/invite/{secret}", environment.origin)),
            otp: None,
            expires_at: Some(expires_at),
        },
        custom: BTreeMap::new(),
    }))
}

/// An invitation, as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where to.
    pub organization: OrganizationId,
    /// Who.
    pub user: UserId,
    /// Who invites.
    pub inviter_email: Option<String>,
    /// State.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it runs out.
    pub expires_at: Timestamp,
    /// When it was last sent again.
    pub resent_at: Option<Timestamp>,
    /// How often it was.
    pub resent_count: i32,
}

/// When an invitation made now runs out.
pub(crate) fn end(settings: &UserManagement, now: Timestamp) -> Timestamp {
    let minutes = u64::try_from(settings.invitation_expiry_minutes).unwrap_or(0);
    now.plus(Duration::from_mins(minutes))
}

/// Makes every secret of an invitation worthless.
pub(crate) async fn revoke(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<()> {
    let sql = "DELETE FROM invitation_tokens WHERE organization_id = $1 AND user_id = $2";
    tx.execute(sql, &p![organization, user]).await?;
    Ok(())
}

/// Sends an invitation again. One that still runs keeps its end and the links sent before; one that has run out gets a new end, needs a
/// seat again, and its old links stay worthless.
///
/// NOT_FOUND for an unknown organization, user or membership. FAILED_PRECONDITION for whoever is a member already or was put aside,
/// without full-stack authentication, and after the fiftieth time.
pub async fn resend(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    organization: OrganizationId,
    user: UserId,
) -> Result<Invitation> {
    if environment.authentication_mode == AuthenticationMode::Modular {
        return Err(Error::new(Kind::FailedPrecondition, "invitations need full-stack authentication"));
    }
    let (environment, now, by) = (environment.id, core.clock.now(), by.clone());
    let (event, token) = (EventId::new(&core.ids), NewToken::new(core, environment).await?);
    core.db
        .write_for(share(environment), async move |tx| {
            let id = organizations::Identity::Id(organization);
            let organization = organizations::load(tx, environment, &id).await?.ok_or_else(organizations::not_found)?;
            let user = users::load(tx, environment, &Identity::Id(user)).await?.ok_or_else(users::not_found)?;
            let found = memberships::load(tx, environment, organization.id, user.id).await?;
            let mut membership = found.ok_or_else(memberships::not_found)?;
            if membership.state != State::Invited {
                return Err(Error::new(Kind::FailedPrecondition, "the invitation has been accepted already"));
            }
            if membership.resent_count >= RESENDS {
                let text = format!("the invitation has been sent again {RESENDS} times");
                return Err(Error::new(Kind::FailedPrecondition, text));
            }
            let renewed = membership.status(now) == Status::InviteExpired;
            let expires_at = match membership.expires_at {
                Some(end) if !renewed => end,
                _ => {
                    // Made anew, it is an invitation like any other.
                    let settings = users::load_user_management(tx, environment).await?;
                    settings.check_invited("id", &user.email)?;
                    memberships::take_seat(tx, &organization, &settings, now).await?;
                    revoke(tx, organization.id, user.id).await?;
                    end(&settings, now)
                }
            };
            membership.expires_at = Some(expires_at);
            membership.resent_at = Some(now);
            membership.resent_count += 1;
            membership.updated_at = now.max(membership.updated_at);
            memberships::store_update(tx, &membership).await?;
            token.issue(tx, &membership, expires_at, now).await?;
            let sql = "DELETE FROM invitation_tokens WHERE organization_id = $1 AND user_id = $2 AND token_hash NOT IN \
                       (SELECT token_hash FROM invitation_tokens WHERE organization_id = $1 AND user_id = $2 \
                       ORDER BY created_at DESC, token_hash LIMIT $3)";
            tx.execute(sql, &p![organization.id, user.id, TOKENS]).await?;
            if renewed {
                let view = users::view(tx, user.clone(), now).await?;
                let event = NewEvent {
                    id: event,
                    environment,
                    organization: Some(organization.id),
                    kind: events::USER_ORGANIZATION_INVITATION,
                    occurred_at: now,
                    actor: by.clone(),
                    data: users::member_data(&organization, &view.user, &view.identities),
                };
                users::append(tx, event, user.id).await?;
            }
            Ok(Invitation {
                organization: organization.id,
                user: user.id,
                inviter_email: membership.inviter_email.clone(),
                status: membership.status(now),
                created_at: membership.invited_at.unwrap_or(membership.created_at),
                expires_at,
                resent_at: membership.resent_at,
                resent_count: membership.resent_count,
            })
        })
        .await
}
