//! How somebody becomes a member: created with the membership, or found; at once, or by an invitation.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::{DbError, Tx, p};
use serde_json::json;

use super::{Membership, Provisioning, State, Status, seats, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::counters;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Kind, Result, Violation};
use crate::events::{self, Actor, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, EventId, OrganizationId, UserId, UserProfileId};
use crate::invitations::{self, NewToken};
use crate::organizations::{self, Organization, share};
use crate::roles::{self, Reference};
use crate::users::{self, Identity, NewUser, Profile, User, UserManagement};

/// Who becomes a member.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one per request, and most are new users
pub enum Subject {
    /// A user of the environment.
    Existing(Identity),
    /// Somebody with this address: a user who has it already, and stays as they are, or a new one.
    New(NewUser),
}

/// A membership to be made.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Where.
    pub organization: OrganizationId,
    /// Who.
    pub subject: Subject,
    /// Roles; the default one where none is named.
    pub roles: Vec<Reference>,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
    /// Who invites; an empty one is none.
    pub inviter_email: Option<String>,
    /// Whether the user must accept an invitation first, or is a member at once.
    pub invite: bool,
    /// How the membership comes to be, if not by an invitation.
    pub provisioning: Provisioning,
}

impl Addition {
    /// A text that is equal exactly for equal requests.
    pub fn fingerprint(&self) -> String {
        let subject = match &self.subject {
            Subject::Existing(Identity::Id(id)) => json!(["id", id.0]),
            Subject::Existing(Identity::ExternalId(id)) => json!(["external_id", id]),
            Subject::New(new) => json!(["new", new.email, new.external_id, new.metadata, new.profile]),
        };
        let roles: Vec<_> = self
            .roles
            .iter()
            .map(|role| match role {
                Reference::Name(name) => json!(["name", name]),
                Reference::Id(id) => json!(["id", id.0]),
            })
            .collect();
        json!([
            self.organization.0,
            subject,
            roles,
            self.metadata,
            self.inviter_email,
            self.invite,
            self.provisioning.name()
        ])
        .to_string()
    }
}

/// Adds a member and answers with the user.
///
/// NOT_FOUND for an unknown organization or user. INVALID_ARGUMENT where the user is a member or invited already, and for roles that do
/// not exist. FAILED_PRECONDITION when no seat is left, or when users belong to one organization only. Somebody whose invitation has
/// run out is invited anew, and who was put aside by a directory is a member again.
pub async fn add(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    addition: Addition,
    key: Option<IdempotencyKey>,
) -> Result<users::View> {
    validate(&addition)?;
    if addition.invite && environment.authentication_mode == AuthenticationMode::Modular {
        return Err(Error::new(Kind::FailedPrecondition, "invitations need full-stack authentication"));
    }
    let token = if addition.invite { Some(NewToken::new(core, environment.id).await?) } else { None };
    let attempt = Arc::new(Attempt {
        environment: environment.id,
        addition,
        by: by.clone(),
        now: core.clock.now(),
        user: UserId::new(&core.ids),
        profile: UserProfileId::new(&core.ids),
        event: EventId::new(&core.ids),
        token,
        key,
    });
    let mut races = 0;
    loop {
        let added = idempotency::past_twins(attempt.key.as_ref(), || {
            let (event, attempt) = (attempt.event, Arc::clone(&attempt));
            core.db.write_checked(
                share(environment.id),
                async move |tx| is_written(tx, event).await,
                async move |tx| attempt.write(tx).await,
            )
        })
        .await;
        match added {
            // Somebody has just made this user, or this membership: the next run finds what they have made.
            Err(error) if races < 3 && is_race(&error) => races += 1,
            added => return added.map_err(users::duplicate),
        }
    }
}

fn is_race(error: &Error) -> bool {
    error
        .database()
        .is_some_and(|cause| cause.is_unique_on("users.email_key") || cause.is_unique_on("memberships.user_id"))
}

fn validate(addition: &Addition) -> Result<()> {
    let mut broken: Vec<Violation> = Vec::new();
    if let Subject::New(new) = &addition.subject {
        users::validate_new(new)?;
    }
    if let Some(email) = addition.inviter_email.as_deref().filter(|email| !email.is_empty()) {
        broken.extend(users::validate_email("membership.inviter_email", email));
    }
    broken.extend(nul("membership.metadata", &addition.metadata));
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

/// U+0000 cannot be stored by PostgreSQL.
pub(super) fn nul(field: &str, map: &BTreeMap<String, String>) -> Option<Violation> {
    let holds = map.iter().any(|(key, value)| key.contains('\0') || value.contains('\0'));
    holds.then(|| Violation::new(field, "string.nul", "must not contain U+0000"))
}

async fn is_written(tx: &mut Tx, event: EventId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM events WHERE id = $1", &p![event]).await?.is_some())
}

/// All that a run of the transaction needs.
struct Attempt {
    environment: EnvId,
    addition: Addition,
    by: Actor,
    now: Timestamp,
    user: UserId,
    profile: UserProfileId,
    event: EventId,
    /// What an invitation is accepted with.
    token: Option<NewToken>,
    key: Option<IdempotencyKey>,
}

impl Attempt {
    async fn write(&self, tx: &mut Tx) -> Result<users::View> {
        let Self { environment, addition, now, .. } = self;
        let id = organizations::Identity::Id(addition.organization);
        let organization = organizations::load(tx, *environment, &id).await?.ok_or_else(organizations::not_found)?;
        if let Some(key) = &self.key
            && let Some(earlier) = idempotency::find(tx, key, *now).await?
        {
            let earlier = Identity::Id(UserId(earlier));
            let user = users::load(tx, *environment, &earlier).await?.ok_or_else(users::not_found)?;
            return users::view(tx, user, *now).await;
        }
        let settings = users::load_user_management(tx, *environment).await?;
        let mut user = self.user(tx, &settings).await?;
        self.member(tx, &organization, &settings, &user).await?;
        if !addition.invite {
            users::set_email_verified(tx, &mut user, *now).await?;
        }
        let view = users::view(tx, user, *now).await?;
        let kind =
            if view.memberships.iter().any(|member| {
                member.membership.organization == organization.id && member.membership.state == State::Active
            }) {
                events::USER_ORGANIZATION_MEMBERSHIP_CREATED
            } else {
                events::USER_ORGANIZATION_INVITATION
            };
        let event = NewEvent {
            id: self.event,
            environment: *environment,
            organization: Some(organization.id),
            kind,
            occurred_at: *now,
            actor: self.by.clone(),
            data: users::member_data(&organization, &view.user, &view.identities),
        };
        users::append(tx, event, view.user.id).await?;
        if let Some(key) = &self.key {
            idempotency::remember(tx, key, view.user.id.0, *now).await?;
        }
        Ok(view)
    }

    /// The user: found, or made. Nobody is invited at an address that could not sign up.
    async fn user(&self, tx: &mut Tx, settings: &UserManagement) -> Result<User> {
        let user = self.found_or_made(tx).await?;
        if self.addition.invite {
            let field = if matches!(self.addition.subject, Subject::New(_)) { "user.email" } else { "membership" };
            settings.check_invited(field, &user.email)?;
        }
        Ok(user)
    }

    async fn found_or_made(&self, tx: &mut Tx) -> Result<User> {
        let new = match &self.addition.subject {
            Subject::Existing(identity) => {
                return users::load(tx, self.environment, identity).await?.ok_or_else(users::not_found);
            }
            Subject::New(new) => new,
        };
        if let Some(user) = users::load_by_email(tx, self.environment, &new.email).await? {
            return Ok(user);
        }
        let mut profile = Profile::empty(self.profile);
        new.profile.apply(&mut profile);
        let user = User {
            id: self.user,
            environment: self.environment,
            email: new.email.trim().to_owned(),
            external_id: new.external_id.clone().filter(|id| !id.is_empty()),
            metadata: new.metadata.clone(),
            profile,
            last_login_at: None,
            created_at: self.now,
            updated_at: self.now,
        };
        users::insert(tx, &user, &users::search_text(&user)).await?;
        users::mark(tx, user.id).await?;
        counters::add(tx, self.environment, users::NOUN, user.id.0, 1).await?;
        Ok(user)
    }

    /// The membership: made, or made good again.
    async fn member(
        &self,
        tx: &mut Tx,
        organization: &Organization,
        settings: &UserManagement,
        user: &User,
    ) -> Result<()> {
        let Self { environment, addition, now, .. } = self;
        let earlier = store::load(tx, *environment, organization.id, user.id).await?;
        let status = earlier.as_ref().map(|membership| membership.status(*now));
        if matches!(status, Some(Status::Active | Status::PendingInvite)) {
            let field = if matches!(addition.subject, Subject::New(_)) { "email" } else { "membership" };
            return Err(Error::duplicate(field));
        }
        if earlier.is_none() && !settings.allows_second_organization() {
            let sql = "SELECT organization_id FROM memberships WHERE user_id = $1 AND environment_id = $2 LIMIT 1";
            if tx.opt::<(i64,)>(sql, &p![user.id, environment]).await?.is_some() {
                let text = "the user is a member of another organization, and may be of one only";
                return Err(Error::new(Kind::FailedPrecondition, text));
            }
        }
        seats::take(tx, organization, settings, *now).await?;
        let references = &addition.roles;
        let mut roles = roles::resolve(tx, *environment, organization.id, references, "membership.roles").await?;
        if roles.is_empty() && status != Some(Status::Inactive) {
            roles.extend(roles::default_member(tx, *environment, organization.id).await?);
        }
        let roles: Vec<_> = roles.into_iter().map(|role| role.id).collect();
        // Who was put aside by a directory comes back without an invitation.
        let invite = addition.invite && status != Some(Status::Inactive);
        let expires_at = invite.then(|| invitations::end(settings, *now));
        let membership = Membership {
            organization: organization.id,
            user: user.id,
            environment: *environment,
            state: if invite { State::Invited } else { State::Active },
            metadata: match &earlier {
                Some(earlier) if addition.metadata.is_empty() => earlier.metadata.clone(),
                _ => addition.metadata.clone(),
            },
            inviter_email: addition.inviter_email.clone().filter(|email| !email.is_empty()),
            provisioning: match &earlier {
                Some(earlier) if status == Some(Status::Inactive) => earlier.provisioning,
                _ if invite => Provisioning::Invitation,
                _ => addition.provisioning,
            },
            invited_at: invite.then_some(*now),
            expires_at,
            accepted_at: None,
            joined_at: (!invite).then_some(*now),
            resent_at: None,
            resent_count: 0,
            created_at: earlier.as_ref().map_or(*now, |earlier| earlier.created_at),
            updated_at: *now,
        };
        if earlier.is_some() {
            store::update(tx, &membership).await?;
            if !roles.is_empty() {
                roles::replace(tx, *environment, organization.id, user.id, &roles).await?;
            }
        } else {
            store::insert(tx, &membership, self.event.0).await?;
            roles::assign(tx, *environment, organization.id, user.id, &roles).await?;
        }
        invitations::revoke(tx, organization.id, user.id).await?;
        if let (Some(token), Some(expires_at)) = (&self.token, expires_at) {
            token.issue(tx, &membership, expires_at, *now).await?;
        }
        Ok(())
    }
}
