//! Which organization a login enters (orgs-users-rbac reference §6).

use std::sync::Arc;

use narthex_db::{Tx, p};

use super::complete::{
    self, Made, Outcome, ask_second_factor, enter, lacks_second_factor, late, refuse_somebody_else, settled,
};
use super::store::advance;
use super::{AuthRequest, Authorize, Problem, Proof, Stage, Step, Visitor, broken};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::domains::DomainType;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, OrganizationId, SessionId};
use crate::members;
use crate::memberships::{self, Membership, Provisioning, Status};
use crate::organizations::{self, Organization, share};
use crate::users::{self, User, UserManagement};

/// Suggested organizations that are shown.
const SUGGESTED: i64 = 20;
/// Longest name of an organization, in characters.
const NAME: usize = 200;

/// An organization that a login can enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Id.
    pub id: OrganizationId,
    /// Name; may be empty.
    pub name: String,
    /// Logo, if it has one.
    pub logo_url: Option<String>,
    /// Who has invited.
    pub inviter_email: Option<String>,
    /// When.
    pub invited_at: Option<Timestamp>,
    /// Until when the invitation runs.
    pub expires_at: Option<Timestamp>,
}

/// What somebody can choose from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choices {
    /// Where they are members.
    pub member: Vec<Choice>,
    /// Where they are invited.
    pub invited: Vec<Choice>,
    /// Where their address lets them join.
    pub suggested: Vec<Choice>,
    /// Whether they may make an organization.
    pub may_create: bool,
    /// Who they are.
    pub email: String,
    /// Given and family name, where known.
    pub names: (String, String),
}

/// An organization that somebody signs up, and what they say of themselves. Empty texts say nothing.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // what the names say
pub struct NewOrganization {
    pub name: String,
    pub given_name: String,
    pub family_name: String,
    pub full_name: String,
    pub phone_number: String,
}

/// Where a login goes by itself.
pub(super) enum Target {
    /// Into this organization.
    Enter(Organization),
    /// In, as somebody whom a workspace expects.
    Operator,
    /// The user has to choose.
    Choose,
    /// To a new organization.
    SignUp,
    /// Nowhere: the organization asked for is not theirs.
    NotMember,
    /// Nowhere: they belong to no organization, and may not make one.
    Closed,
}

/// Decides. `session` is the organization that the browser's session is in.
pub(super) async fn target(
    tx: &mut Tx,
    environment: &Environment,
    authorize: &Authorize,
    email: &str,
    memberships: &[(Membership, String)],
    session: Option<OrganizationId>,
    now: Timestamp,
) -> Result<Target> {
    if environment.is_system {
        // Operators are members of workspaces, and choose theirs afterwards.
        let known = members::expected(tx, email, now).await?;
        return Ok(if known { Target::Operator } else { Target::Closed });
    }
    let with = |status: Status| memberships.iter().filter(move |(membership, _)| membership.status(now) == status);
    let is_member = |id: OrganizationId| with(Status::Active).any(|(membership, _)| membership.organization == id);
    if let Some(asked) = authorize.organization {
        if is_member(asked) {
            return load(tx, environment.id, asked).await;
        }
        let invited = with(Status::PendingInvite).any(|(membership, _)| membership.organization == asked);
        let suggested = suggested(tx, environment.id, email, memberships).await?;
        let joinable = invited || suggested.iter().any(|choice| choice.id == asked);
        return Ok(if joinable { Target::Choose } else { Target::NotMember });
    }
    let members = with(Status::Active).count();
    if authorize.prompt.select_account {
        let suggested = suggested(tx, environment.id, email, memberships).await?;
        if members + with(Status::PendingInvite).count() + suggested.len() > 1 {
            return Ok(Target::Choose);
        }
    }
    if let Some(current) = session.filter(|&current| is_member(current)) {
        return load(tx, environment.id, current).await;
    }
    match members {
        1 => {
            let only = with(Status::Active).map(|(membership, _)| membership.organization).next();
            load(tx, environment.id, only.ok_or_else(|| broken("a membership is gone"))?).await
        }
        0 => {
            let suggested = suggested(tx, environment.id, email, memberships).await?;
            if with(Status::PendingInvite).next().is_some() || !suggested.is_empty() {
                return Ok(Target::Choose);
            }
            let settings = users::load_user_management(tx, environment.id).await?;
            Ok(if is_open(environment, &settings) { Target::SignUp } else { Target::Closed })
        }
        _ => Ok(Target::Choose),
    }
}

async fn load(tx: &mut Tx, environment: EnvId, id: OrganizationId) -> Result<Target> {
    let found = organizations::load(tx, environment, &organizations::Identity::Id(id)).await?;
    Ok(found.map_or(Target::NotMember, Target::Enter))
}

/// Organizations that an address of this domain may join, except those that its user has anything to do with already.
async fn suggested(
    tx: &mut Tx,
    environment: EnvId,
    email: &str,
    memberships: &[(Membership, String)],
) -> Result<Vec<Choice>> {
    let Some((_, domain)) = email.rsplit_once('@') else { return Ok(Vec::new()) };
    let sql = "SELECT DISTINCT o.id, o.display_name, o.logo_url FROM domains d JOIN organizations o ON o.id = d.organization_id \
               WHERE d.environment_id = $1 AND d.name = $2 AND d.type = $3 ORDER BY o.id LIMIT $4";
    let rows: Vec<(OrganizationId, String, Option<String>)> =
        tx.all(sql, &p![environment, domain.to_ascii_lowercase(), DomainType::AllowedEmail as i32, SUGGESTED]).await?;
    let known = |id: OrganizationId| memberships.iter().any(|(membership, _)| membership.organization == id);
    Ok(rows
        .into_iter()
        .filter(|(id, ..)| !known(*id))
        .map(|(id, name, logo_url)| Choice {
            id,
            name,
            logo_url,
            inviter_email: None,
            invited_at: None,
            expires_at: None,
        })
        .collect())
}

/// What the user of a login can choose from.
pub async fn choices(core: &Core, env: &Arc<Environment>, request: &AuthRequest) -> Result<Choices> {
    let env = Arc::clone(env);
    let (environment, now) = (request.environment, core.clock.now());
    let email = proven(request)?.email.clone();
    core.db
        .read(async move |tx| {
            let user = users::load_by_email(tx, environment, &email).await?;
            let memberships = match &user {
                Some(user) => memberships::of_user(tx, user).await?,
                None => Vec::new(),
            };
            let mut choices = Choices { email: email.clone(), ..Choices::default() };
            if let Some(user) = &user {
                choices.names = (user.profile.given_name.clone(), user.profile.family_name.clone());
            }
            for (membership, name) in &memberships {
                let status = membership.status(now);
                let identity = organizations::Identity::Id(membership.organization);
                let organization = organizations::load(tx, environment, &identity).await?;
                let choice = Choice {
                    id: membership.organization,
                    name: name.clone(),
                    logo_url: organization.and_then(|organization| organization.logo_url),
                    inviter_email: membership.inviter_email.clone(),
                    invited_at: membership.invited_at,
                    expires_at: membership.expires_at,
                };
                match status {
                    Status::Active => choices.member.push(choice),
                    Status::PendingInvite => choices.invited.push(choice),
                    Status::Inactive | Status::InviteExpired => {}
                }
            }
            choices.suggested = suggested(tx, environment, &email, &memberships).await?;
            let settings = users::load_user_management(tx, environment).await?;
            choices.may_create =
                may_create(&env, &settings, user.as_ref(), &memberships) && settings.refusal_of(&email).is_none();
            Ok::<_, crate::Error>(choices)
        })
        .await
}

/// Operators are made by their workspaces.
fn is_open(environment: &Environment, settings: &UserManagement) -> bool {
    !environment.is_system && settings.allow_organization_signup
}

fn may_create(
    environment: &Environment,
    settings: &UserManagement,
    user: Option<&User>,
    memberships: &[(Membership, String)],
) -> bool {
    is_open(environment, settings)
        && (user.is_none() || memberships.is_empty() || settings.allows_second_organization())
}

/// Enters an organization that is one of the [`choices`]: as a member, by taking an invitation up, or by joining.
pub async fn choose(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    organization: OrganizationId,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let made = Arc::new(Made::new(core, environment, visitor, None).await?);
    let (env, seen) = (Arc::clone(environment), request.clone());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let request = complete::current(tx, &seen, made.now).await?;
            if request.stage != Stage::Choose {
                return Err(late());
            }
            let email = proven(&request)?.email.clone();
            let user = find_or_make(tx, &env, &made, &email).await?;
            let identity = organizations::Identity::Id(organization);
            let found = organizations::load(tx, env.id, &identity).await?;
            let Some(found) = found else { return Ok(Outcome::of(Step::Problem(Problem::BadChoice))) };
            let membership = memberships::load(tx, env.id, found.id, user.id).await?;
            let status = membership.as_ref().map(|membership| membership.status(made.now));
            match (membership, status) {
                (Some(_), Some(Status::Active)) => {}
                (Some(membership), Some(Status::PendingInvite)) => {
                    memberships::accept(tx, &found, &user, membership, made.joined, made.now).await?;
                }
                (None, _) => {
                    let suggested = suggested(tx, env.id, &email, &[]).await?;
                    if suggested.iter().all(|choice| choice.id != found.id) {
                        return Ok(Outcome::of(Step::Problem(Problem::BadChoice)));
                    }
                    let by = Provisioning::AllowedDomain;
                    memberships::join(tx, &found, &user, by, made.joined, made.now).await?;
                }
                _ => return Ok(Outcome::of(Step::Problem(Problem::BadChoice))),
            }
            enter(tx, &env, &made, request, Stage::Choose, user, Some(&found), current).await
        })
        .await;
    match settled(core, outcome) {
        // Nothing was written: the seat was taken between the page and the click.
        Err(error) if error.kind() == Kind::FailedPrecondition => Ok(Outcome::of(Step::Problem(Problem::NoSeat))),
        outcome => outcome,
    }
}

/// Makes an organization with the user as its creator, and enters it.
pub async fn create_organization(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    new: NewOrganization,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let Some(name) = new.name() else { return Ok(Outcome::of(Step::Problem(Problem::BadName))) };
    let made = Arc::new(Made::new(core, environment, visitor, Some(name)).await?);
    let (env, seen) = (Arc::clone(environment), request.clone());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let request = complete::current(tx, &seen, made.now).await?;
            if !permits_creation(tx, &env, &request).await? {
                return Ok(Outcome::of(Step::Problem(Problem::BadChoice)));
            }
            sign_up(tx, &env, &made, request, Stage::Choose, &new, current).await
        })
        .await;
    settled(core, outcome)
}

/// Makes an organization with the user as its creator; it is then one of the [`choices`]. FAILED_PRECONDITION where that is not allowed,
/// and for a login that does not stand there.
pub async fn found_organization(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    new: NewOrganization,
    visitor: &Visitor,
) -> Result<Organization> {
    let Some(name) = new.name() else {
        return Err(Error::invalid("organization_name", "string.max_len", "must have at most 200 characters"));
    };
    let made = Arc::new(Made::new(core, environment, visitor, Some(name)).await?);
    let (env, seen) = (Arc::clone(environment), request.clone());
    core.db
        .write_for(share(environment.id), async move |tx| {
            let request = complete::current(tx, &seen, made.now).await?;
            if !permits_creation(tx, &env, &request).await? {
                return Err(Error::new(Kind::FailedPrecondition, "no organization can be made here"));
            }
            let email = proven(&request)?.email.clone();
            Ok(found(tx, &env, &made, &email, &new).await?.0)
        })
        .await
}

async fn permits_creation(tx: &mut Tx, environment: &Environment, request: &AuthRequest) -> Result<bool> {
    if request.stage != Stage::Choose {
        return Err(late());
    }
    let email = &proven(request)?.email;
    let settings = users::load_user_management(tx, environment.id).await?;
    let known = users::load_by_email(tx, environment.id, email).await?;
    let memberships = match &known {
        Some(user) => memberships::of_user(tx, user).await?,
        None => Vec::new(),
    };
    Ok(may_create(environment, &settings, known.as_ref(), &memberships) && settings.refusal_of(email).is_none())
}

impl NewOrganization {
    /// The name, trimmed, if it can be one.
    fn name(&self) -> Option<&str> {
        let name = self.name.trim();
        (name.chars().count() <= NAME && !name.chars().any(char::is_control)).then_some(name)
    }
}

/// Makes the organization, and the user if there is none yet, and enters it (orgs-users-rbac reference §6.2; order of the events:
/// events reference §3).
#[allow(clippy::too_many_arguments)] // the parts of one transaction
pub(super) async fn sign_up(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    request: AuthRequest,
    from: Stage,
    new: &NewOrganization,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let email = proven(&request)?.email.clone();
    let (organization, user) = found(tx, environment, made, &email, new).await?;
    enter(tx, environment, made, request, from, user, Some(&organization), current).await
}

/// An organization and its creator.
async fn found(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    email: &str,
    new: &NewOrganization,
) -> Result<(Organization, User)> {
    let creation = made.creation.as_ref().ok_or_else(|| broken("no organization was prepared"))?;
    let organization = creation.write(tx).await?;
    let mut user = find_or_make(tx, environment, made, email).await?;
    users::introduce(tx, &mut user, &new.given_name, &new.family_name, &new.full_name, &new.phone_number, made.now)
        .await?;
    let view = users::view(tx, user.clone(), made.now).await?;
    let event = NewEvent {
        id: made.signed_up,
        environment: environment.id,
        organization: Some(organization.id),
        kind: events::USER_SIGNUP,
        occurred_at: made.now,
        actor: Actor::user(user.id),
        data: users::member_data(&organization, &view.user, &view.identities),
    };
    users::append(tx, event, user.id).await?;
    memberships::join(tx, &organization, &user, Provisioning::Creator, made.joined, made.now).await?;
    Ok((organization, user))
}

pub(super) async fn find_or_make(tx: &mut Tx, environment: &Environment, made: &Made, email: &str) -> Result<User> {
    if let Some(user) = users::load_by_email(tx, environment.id, email).await? {
        return Ok(user);
    }
    let user = users::proven(made.user, made.profile, environment.id, email, made.now);
    users::store_new(tx, &user).await?;
    Ok(user)
}

/// Ends a login and the session that it goes on with: "log out" on the page where the organization is chosen.
pub async fn leave(core: &Arc<Core>, environment: &Environment, request: &AuthRequest) -> Result<()> {
    if let (Some(session), Some(user)) = (request.session, request.user) {
        crate::sessions::log_out(core, environment.id, &Actor::user(user), session).await?;
    }
    let (seen, now) = (request.clone(), core.clock.now());
    core.db
        .write_for(share(environment.id), async move |tx| {
            let finished = AuthRequest { stage: Stage::Finished, ..seen.clone() };
            advance(tx, &finished, seen.stage, now).await
        })
        .await
        .map(|_| ())
}

pub(super) fn proven(request: &AuthRequest) -> Result<&Proof> {
    request.proof.as_ref().ok_or_else(|| broken("nothing is proven"))
}

/// What follows when an address has just been proven.
pub(super) async fn after_proof(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let email = proven(&request)?.email.clone();
    let user = users::load_by_email(tx, environment.id, &email).await?;
    if !request.authorize.admits_user(user.as_ref().map(|user| user.id)) {
        return refuse_somebody_else(tx, made, request, from).await;
    }
    if let Some(user) = &user
        && lacks_second_factor(tx, made.asks_totp, proven(&request)?, user).await?
    {
        return ask_second_factor(tx, made, request, from, user).await;
    }
    let memberships = match &user {
        Some(user) => memberships::of_user(tx, user).await?,
        None => Vec::new(),
    };
    let found = target(tx, environment, &request.authorize, &email, &memberships, None, made.now).await?;
    let refuse = |mut request: AuthRequest, text: &'static str| {
        request.stage = Stage::Finished;
        (request.authorize.failure("access_denied", text), request)
    };
    let (failure, request) = match found {
        Target::Enter(organization) => {
            let user = user.ok_or_else(|| broken("a member who is no user"))?;
            return enter(tx, environment, made, request, from, user, Some(&organization), current).await;
        }
        Target::Operator => {
            let user = find_or_make(tx, environment, made, &email).await?;
            return enter(tx, environment, made, request, from, user, None, current).await;
        }
        Target::Choose => {
            request.stage = Stage::Choose;
            request.user = user.map(|user| user.id);
            if !advance(tx, &request, from, made.now).await? {
                return Err(late());
            }
            return Ok(Outcome::of(Step::Page(Stage::Choose)));
        }
        Target::SignUp => {
            let settings = users::load_user_management(tx, environment.id).await?;
            if settings.refusal_of(&email).is_some() {
                refuse(request, "addresses of this domain may not sign up")
            } else {
                let nothing = NewOrganization::default();
                return sign_up(tx, environment, made, request, from, &nothing, current).await;
            }
        }
        Target::NotMember => refuse(request, "the user is not a member of this organization"),
        Target::Closed => refuse(request, "sign up is not allowed"),
    };
    if !advance(tx, &request, from, made.now).await? {
        return Err(late());
    }
    Ok(Outcome::of(Step::Failed(failure)))
}
