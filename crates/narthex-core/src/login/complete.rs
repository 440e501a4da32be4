//! The end of a login: the session, then what still has to be asked, then the code.

use narthex_db::Tx;

use super::store::{advance, find};
use super::{AuthRequest, Authorize, Intent, Method, Proof, Stage, Step, Visitor, broken, gone};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::consents;
use crate::core::Core;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::Result;
use crate::events::Actor;
use crate::grants::{self, Authorization, NewCode, Subject};
use crate::ids::{AuthRequestId, EventId, SessionId, UserId, UserProfileId};
use crate::organizations::{self, Creation, Organization};
use crate::passkeys;
use crate::resources;
use crate::roles;
use crate::seal::Secret;
use crate::sessions::{self, Entered, Entry, Lifetimes, NewEntry};
use crate::totp;
use crate::users::{self, ProvenBy, User};

/// Back to the application, with a code.
#[derive(Debug)]
pub struct Done {
    /// Where the browser goes.
    pub location: String,
}

/// The cookie that binds a browser to the session it has just got.
pub struct SessionCookie {
    /// Its value.
    pub value: Secret<String>,
    /// How long the session lives at most.
    pub expires_at: Timestamp,
}

/// What a step did.
pub struct Outcome {
    /// Where it leads.
    pub step: Step,
    /// For the browser.
    pub cookie: Option<SessionCookie>,
    /// The organization that was entered, if one was.
    pub(super) bumps: Vec<Bump>,
}

impl Outcome {
    /// A step that changes nothing in the browser.
    pub(super) const fn of(step: Step) -> Self {
        Self { step, cookie: None, bumps: Vec::new() }
    }

    /// Makes what was committed visible on this node.
    pub(super) fn applied(mut self, core: &Core) -> Self {
        for bump in self.bumps.drain(..) {
            core.caches.apply(bump);
        }
        self
    }
}

/// What a step may need that is made outside of its transaction.
pub(super) struct Made {
    pub(super) entry: NewEntry,
    pub(super) code: NewCode,
    pub(super) now: Timestamp,
    pub(super) user: UserId,
    pub(super) profile: UserProfileId,
    pub(super) identity: i64,
    /// The organization of whoever signs up, where a step may lead there.
    pub(super) creation: Option<Creation>,
    pub(super) signed_up: EventId,
    pub(super) joined: EventId,
    /// Whether new passkeys are offered after a login by mail.
    pub(super) offers_passkey: bool,
    /// Whether authenticator apps are asked.
    pub(super) asks_totp: bool,
}

impl Made {
    /// `sign_up` is the name of the organization that the step may make; an empty one is none yet.
    pub(super) async fn new(
        core: &Core,
        environment: &Environment,
        visitor: &Visitor,
        sign_up: Option<&str>,
    ) -> Result<Self> {
        let webauthn = crate::connections::webauthn(core, environment.id).await?;
        let user = UserId::new(&core.ids);
        // Events are told in the order of their numbers: an organization, who made it, who belongs to it, who signed in.
        let creation = match sign_up {
            None => None,
            Some(name) => {
                let new = organizations::NewOrganization::named(name);
                Some(organizations::prepare(core, environment.id, &Actor::user(user), new, None)?)
            }
        };
        let (signed_up, joined) = (EventId::new(&core.ids), EventId::new(&core.ids));
        let entry = NewEntry::new(core, visitor.device.clone());
        Ok(Self {
            now: entry.now(),
            entry,
            code: NewCode::new(core),
            user,
            profile: UserProfileId::new(&core.ids),
            identity: core.ids.next(),
            creation,
            signed_up,
            joined,
            asks_totp: core.totp_at_login,
            offers_passkey: webauthn
                .is_some_and(|connection| connection.enabled && connection.config.enable_auto_registration),
        })
    }
}

/// Opens the session of a user in an organization, or goes on with the one of the browser, and takes the login as far as it goes
/// without asking. `from` is the stage that the row stands at.
#[allow(clippy::too_many_arguments)] // the parts of one transaction
pub(super) async fn enter(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
    mut user: User,
    organization: Option<&Organization>,
    current: Option<SessionId>,
) -> Result<Outcome> {
    if !request.authorize.admits_user(Some(user.id)) {
        return refuse_somebody_else(tx, made, request, from).await;
    }
    let proof = request.proof.clone().ok_or_else(|| broken("nothing is proven"))?;
    // Every way into a session passes here. Most have been asked right after the first factor, before they learn anything.
    if lacks_second_factor(tx, made.asks_totp, &proof, &user).await? {
        return ask_second_factor(tx, made, request, from, &user).await;
    }
    let fresh = proof.method != Method::Session;
    if fresh {
        let by = proof.connection.and_then(|connection| match proof.method {
            Method::Passwordless => Some(ProvenBy::Mail(connection)),
            Method::Passkey => Some(ProvenBy::Passkey(connection)),
            Method::Session => None,
        });
        users::record_login(tx, &mut user, by.map(|by| (by, made.identity)), made.now).await?;
    }
    let policy = organization.map_or_else(Default::default, |organization| organization.session_policy);
    let entry = Entry {
        environment: environment.id,
        user: user.id,
        organization: organization.map(|organization| organization.id),
        current: if fresh { current } else { request.session },
        proof: proof.connection,
        is_proven: fresh,
        lifetimes: Lifetimes::of(&environment.session, policy),
    };
    let Some(entered) = sessions::enter(tx, &made.entry, entry).await? else { return Ok(Outcome::of(gone())) };
    request.user = Some(user.id);
    request.organization = entry.organization;
    request.session = Some(entered.session);
    // Whoever signs up or lets a program in has asked for no more pages, and whoever has a passkey somewhere knows what it is.
    let offers = made.offers_passkey
        && proof.method == Method::Passwordless
        && request.intent == Intent::SignIn
        && request.authorize.resource.is_none();
    let step = if offers && !passkeys::has_any(tx, environment.id, user.id).await? {
        request.stage = Stage::Offer;
        if !advance(tx, &request, from, made.now).await? {
            return Err(late());
        }
        Step::Page(Stage::Offer)
    } else {
        ask_or_finish(tx, environment, made, request, from, &entered).await?
    };
    Ok(Outcome { step, ..with_session(&made.entry, entered) })
}

/// Whether the user has an authenticator app that this login has not asked. A live session has been through that once.
pub(super) async fn lacks_second_factor(tx: &mut Tx, is_asked: bool, proof: &Proof, user: &User) -> Result<bool> {
    if !is_asked || proof.two_factors == Some(user.id) || proof.method == Method::Session {
        return Ok(false);
    }
    totp::is_enabled(tx, user.environment, user.id).await
}

/// Stops at the second factor.
pub(super) async fn ask_second_factor(
    tx: &mut Tx,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
    user: &User,
) -> Result<Outcome> {
    request.stage = Stage::SecondFactor;
    request.user = Some(user.id);
    if !advance(tx, &request, from, made.now).await? {
        return Err(late());
    }
    Ok(Outcome::of(Step::Page(Stage::SecondFactor)))
}

/// Ends a login in which somebody else has signed in than the application expects. No session comes of it, and the one of the browser stays.
pub(super) async fn refuse_somebody_else(
    tx: &mut Tx,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
) -> Result<Outcome> {
    request.stage = Stage::Finished;
    if !advance(tx, &request, from, made.now).await? {
        return Err(late());
    }
    Ok(Outcome::of(Step::Failed(request.authorize.somebody_else())))
}

/// After the offer of a passkey: on with the session that is open.
pub(super) async fn after_offer(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    request: AuthRequest,
) -> Result<Outcome> {
    let session = request.session.ok_or_else(|| broken("no session"))?;
    let entered = going_on(tx, environment, made, session).await?;
    let Some(entered) = entered else { return Ok(Outcome::of(gone())) };
    let from = request.stage;
    Ok(Outcome::of(ask_or_finish(tx, environment, made, request, from, &entered).await?))
}

async fn going_on(tx: &mut Tx, environment: &Environment, made: &Made, session: SessionId) -> Result<Option<Entered>> {
    Ok(sessions::live_in(tx, environment.id, session, made.now).await?.map(|session| Entered {
        session: session.id,
        authenticated_at: session.authenticated_at,
        connection: session.connection,
        new_cookie: None,
        bumps: Vec::new(),
    }))
}

/// Asks for consent where it is needed; else issues the code.
async fn ask_or_finish(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
    entered: &Entered,
) -> Result<Step> {
    let user = request.user.ok_or_else(|| broken("no user"))?;
    if needs_consent(tx, environment, &request.authorize, user).await? {
        request.stage = Stage::Consent;
        if !advance(tx, &request, from, made.now).await? {
            return Err(late());
        }
        return Ok(Step::Page(Stage::Consent));
    }
    finish(tx, environment, made, request, from, entered).await
}

/// Issues the code after a consent.
pub(super) async fn after_consent(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    request: AuthRequest,
) -> Result<Outcome> {
    let session = request.session.ok_or_else(|| broken("no session"))?;
    let Some(entered) = going_on(tx, environment, made, session).await? else { return Ok(Outcome::of(gone())) };
    let from = request.stage;
    Ok(Outcome::of(finish(tx, environment, made, request, from, &entered).await?))
}

async fn finish(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
    entered: &Entered,
) -> Result<Step> {
    let user = request.user.ok_or_else(|| broken("no user"))?;
    let done =
        code_for_user(tx, environment, made, &request.authorize, request.id, user, request.organization, entered)
            .await?;
    request.stage = Stage::Finished;
    if !advance(tx, &request, from, made.now).await? {
        return Err(late());
    }
    Ok(Step::Done(done))
}

/// A code for a user with a session.
#[allow(clippy::too_many_arguments)] // what a code binds together
pub(super) async fn code_for_user(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    authorize: &Authorize,
    id: AuthRequestId,
    user: UserId,
    organization: Option<crate::ids::OrganizationId>,
    entered: &Entered,
) -> Result<Done> {
    let subject = Subject::User { user, organization, session: entered.session };
    let scopes = permitted(tx, environment, authorize, user, organization).await?;
    let authorization = Authorization {
        client_id: authorize.client_id.clone(),
        redirect_uri: authorize.redirect_uri.clone(),
        scopes,
        nonce: authorize.nonce.clone(),
        code_challenge: authorize.code_challenge.clone(),
        subject,
        connection: entered.connection,
        auth_time: entered.authenticated_at,
        auth_request: id,
        resource: authorize.resource,
    };
    grants::issue_code(tx, environment.id, &authorization, &made.code, made.now).await?;
    Ok(Done { location: authorize.answer(made.code.code()) })
}

/// The scopes of a request that the user may give: for a resource that asks for it, only those that are permissions of theirs.
async fn permitted(
    tx: &mut Tx,
    environment: &Environment,
    authorize: &Authorize,
    user: UserId,
    organization: Option<crate::ids::OrganizationId>,
) -> Result<Vec<String>> {
    let Some(resource) = authorize.resource else { return Ok(authorize.scopes.clone()) };
    let resource = resources::load(tx, environment.id, resource).await?;
    if !resource.intersect_scopes {
        return Ok(authorize.scopes.clone());
    }
    let held: Vec<String> = match organization {
        None => Vec::new(),
        Some(organization) => {
            let held = roles::of_membership(tx, environment.id, organization, user).await?;
            let ids: Vec<_> = held.iter().map(|role| role.id).collect();
            let permissions = roles::effective_permissions(tx, environment.id, &ids).await?;
            permissions.into_iter().map(|permission| permission.name).collect()
        }
    };
    let of_resource = |scope: &String| resource.scopes.contains(scope);
    Ok(authorize.scopes.iter().filter(|scope| !of_resource(scope) || held.contains(scope)).cloned().collect())
}

/// Whether the user has not agreed yet to what a client of a resource asks for.
pub(super) async fn needs_consent(
    tx: &mut Tx,
    environment: &Environment,
    authorize: &Authorize,
    user: UserId,
) -> Result<bool> {
    if authorize.resource.is_none() {
        return Ok(false);
    }
    if authorize.prompt.consent {
        return Ok(true);
    }
    let given = consents::find_in(tx, environment.id, &authorize.client_id, &user.to_string()).await?;
    Ok(given.is_none_or(|given| authorize.scopes.iter().any(|scope| !given.scopes.contains(scope))))
}

/// The login of an environment without users: the address goes to the application as it was proven.
pub(super) async fn pass_on(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    mut request: AuthRequest,
    from: Stage,
) -> Result<Outcome> {
    debug_assert_eq!(environment.authentication_mode, AuthenticationMode::Modular);
    let Proof { connection, email, at, .. } = request.proof.clone().ok_or_else(|| broken("nothing is proven"))?;
    let connection = connection.ok_or_else(|| broken("no connection"))?;
    let authorize = &request.authorize;
    let sub = format!("{connection};{email}");
    if !authorize.admits(&sub) {
        return refuse_somebody_else(tx, made, request, from).await;
    }
    let authorization = Authorization {
        client_id: authorize.client_id.clone(),
        redirect_uri: authorize.redirect_uri.clone(),
        scopes: authorize.scopes.clone(),
        nonce: authorize.nonce.clone(),
        code_challenge: authorize.code_challenge.clone(),
        subject: Subject::Connection { sub, email, email_verified: true, connection, organization: None },
        connection: Some(connection),
        auth_time: at,
        auth_request: request.id,
        resource: authorize.resource,
    };
    grants::issue_code(tx, environment.id, &authorization, &made.code, made.now).await?;
    let location = authorize.answer(made.code.code());
    request.stage = Stage::Finished;
    if !advance(tx, &request, from, made.now).await? {
        return Err(late());
    }
    Ok(Outcome::of(Step::Done(Done { location })))
}

/// The cookie and the bumps of a session that was entered.
pub(super) fn with_session(new: &NewEntry, entered: Entered) -> Outcome {
    let cookie =
        entered.new_cookie.map(|expires_at| SessionCookie { value: new.cookie_value(entered.session), expires_at });
    Outcome { step: gone(), cookie, bumps: entered.bumps }
}

/// Rolls back what a step has written that another one has overtaken.
pub(super) fn late() -> crate::Error {
    crate::Error::new(crate::Kind::Aborted, "another step has moved the login on").with_code(LATE)
}

const LATE: &str = "LOGIN_MOVED_ON";

/// A step that was overtaken is no failure: the page says so.
pub(super) fn settled(core: &Core, outcome: Result<Outcome>) -> Result<Outcome> {
    match outcome {
        Ok(outcome) => Ok(outcome.applied(core)),
        Err(error) if error.code() == LATE => Ok(Outcome::of(gone())),
        Err(error) => Err(error),
    }
}

/// The login as the transaction finds it, if it still stands where the caller saw it.
pub(super) async fn current(tx: &mut Tx, seen: &AuthRequest, now: Timestamp) -> Result<AuthRequest> {
    let found = find(tx, seen.environment, seen.id, now).await?;
    found.filter(|found| found.stage == seen.stage).ok_or_else(late)
}
