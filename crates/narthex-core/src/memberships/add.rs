//! How somebody becomes a member: created with the membership, or found; at once, or by an invitation.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::{DbError, Tx, p};
use serde_json::json;

use super::{Membership, Provisioning, State, Status, View, seats, store};
use crate::cache::RowCache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::counters;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Kind, Result, Violation};
use crate::events::{self, Actor, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, EventId, OrganizationId, RoleId, UserId, UserProfileId};
use crate::invitations::{self, NewToken};
use crate::organizations::{self, Organization, share};
use crate::roles::{self, Allowed, Reference, Role};
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
        allowed: Arc::clone(&core.caches.roles),
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
            Err(error) => return Err(users::duplicate(error)),
            Ok(view) => {
                for role in view.memberships.iter().flat_map(|member| &member.roles) {
                    // For the next one. It is written whether this can be read or not.
                    roles::allowed(core, environment.id, attempt.addition.organization, role.id).await.ok();
                }
                return Ok(view);
            }
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
    /// What roles allow, as far as it is in memory.
    allowed: Arc<RowCache<RoleId, Allowed>>,
}

/// The user of a new membership.
struct Member {
    user: User,
    /// Whether this transaction has made the user: then nothing else hangs on them yet.
    is_new: bool,
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
        let mut member = self.user(tx, &settings).await?;
        let (membership, roles) = self.member(tx, &organization, &settings, &member).await?;
        if !addition.invite {
            users::set_email_verified(tx, &mut member.user, *now).await?;
        }
        let view = if member.is_new {
            self.view(tx, member.user, membership, &organization, roles).await?
        } else {
            users::view(tx, member.user, *now).await?
        };
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
    async fn user(&self, tx: &mut Tx, settings: &UserManagement) -> Result<Member> {
        let member = self.found_or_made(tx).await?;
        if self.addition.invite {
            let field = if matches!(self.addition.subject, Subject::New(_)) { "user.email" } else { "membership" };
            settings.check_invited(field, &member.user.email)?;
        }
        Ok(member)
    }

    async fn found_or_made(&self, tx: &mut Tx) -> Result<Member> {
        let found = |user| Ok(Member { user, is_new: false });
        let new = match &self.addition.subject {
            Subject::Existing(identity) => {
                return found(users::load(tx, self.environment, identity).await?.ok_or_else(users::not_found)?);
            }
            Subject::New(new) => new,
        };
        if let Some(user) = users::load_by_email(tx, self.environment, &new.email).await? {
            return found(user);
        }
        let mut profile = Profile::empty(self.profile);
        new.profile.apply(&mut profile);
        // Whoever makes a member at once vouches for the address.
        profile.email_verified |= !self.addition.invite;
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
        Ok(Member { user, is_new: true })
    }

    /// A user whom this transaction has made, as they are shown: read back, it would be four queries for what is at hand.
    async fn view(
        &self,
        tx: &mut Tx,
        user: User,
        membership: Membership,
        organization: &Organization,
        mut roles: Vec<Role>,
    ) -> Result<users::View> {
        roles.sort_unstable_by_key(|role| role.id.0);
        let mut permissions = Vec::new();
        for role in &roles {
            if let Some(known) = self.allowed.known(&role.id) {
                permissions.extend_from_slice(&known.permissions);
            } else {
                let effective = roles::effective_permissions(tx, self.environment, &[role.id]).await?;
                permissions.extend(effective.into_iter().map(|permission| permission.name));
            }
        }
        permissions.sort_unstable();
        permissions.dedup();
        let status = membership.status(self.now);
        let organization_name = organization.display_name.clone();
        let memberships = vec![View { membership, status, organization_name, roles, permissions }];
        Ok(users::View { user, memberships, identities: Vec::new() })
    }

    /// The membership, made or made good again, and the roles that were given with it.
    async fn member(
        &self,
        tx: &mut Tx,
        organization: &Organization,
        settings: &UserManagement,
        Member { user, is_new }: &Member,
    ) -> Result<(Membership, Vec<Role>)> {
        let Self { environment, addition, now, .. } = self;
        let earlier = if *is_new { None } else { store::load(tx, *environment, organization.id, user.id).await? };
        let status = earlier.as_ref().map(|membership| membership.status(*now));
        if matches!(status, Some(Status::Active | Status::PendingInvite)) {
            let field = if matches!(addition.subject, Subject::New(_)) { "email" } else { "membership" };
            return Err(Error::duplicate(field));
        }
        if earlier.is_none() && !is_new && !settings.allows_second_organization() {
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
        let ids: Vec<_> = roles.iter().map(|role| role.id).collect();
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
            if !ids.is_empty() {
                roles::replace(tx, *environment, organization.id, user.id, &ids).await?;
            }
        } else {
            store::insert(tx, &membership, self.event.0).await?;
            roles::assign(tx, *environment, organization.id, user.id, &ids).await?;
        }
        if !is_new {
            invitations::revoke(tx, organization.id, user.id).await?;
        }
        if let (Some(token), Some(expires_at)) = (&self.token, expires_at) {
            token.issue(tx, &membership, expires_at, *now).await?;
        }
        Ok((membership, roles))
    }
}
