//! The first step: a live session answers at once, or a page has to be shown.

use std::sync::Arc;

use narthex_db::Tx;

use super::complete::{self, Made, Outcome, settled, with_session};
use super::organizations::{Target, target};
use super::store::{self, BrowserSecret, LIFETIME};
use super::{AuthRequest, Failure, Intent, Method, Proof, Request, Stage, Step, Visitor, gone, identify};
use crate::core::Core;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Result};
use crate::ids::AuthRequestId;
use crate::organizations::share;
use crate::sessions::{self, Entry, Lifetimes, Session, SessionKind};
use crate::users::{self, Identity};
use crate::{captcha, memberships};

/// What an authorization request leads to.
pub enum Begun {
    /// Back to the application; the session has answered.
    Done(complete::Done),
    /// A page, in the login that has begun; the secret belongs into the browser's cookie.
    Page(Box<AuthRequest>, BrowserSecret),
    /// No login.
    Failed(Failure),
}

/// Begins a login. `session` is the live one of the browser.
pub async fn begin(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: Request,
    session: Option<Arc<Session>>,
    visitor: &Visitor,
) -> Result<Begun> {
    let Request { authorize, .. } = request;
    let made = Arc::new(Made::new(core, environment, visitor, None).await?);
    let mut login = AuthRequest {
        id: AuthRequestId::new(&core.ids),
        environment: environment.id,
        intent: if authorize.prompt.create { Intent::SignUp } else { Intent::SignIn },
        stage: Stage::Identify,
        email: None,
        challenge: None,
        proof: None,
        user: None,
        organization: None,
        session: None,
        created_at: made.now,
        expires_at: made.now.plus(LIFETIME),
        authorize,
    };
    if environment.authentication_mode == AuthenticationMode::Modular {
        return begin_modular(core, environment, login).await;
    }
    let prompt = login.authorize.prompt;
    let usable = session.filter(|session| {
        let age = (made.now.0 - session.authenticated_at.0) / 1_000_000;
        session.kind == SessionKind::Browser
            && !prompt.login
            && !prompt.create
            && login.authorize.admits_user(session.user)
            && login.authorize.max_age.is_none_or(|most| age <= most)
    });
    if let Some(session) = usable {
        let (env, attempt, work) = (Arc::clone(environment), login.clone(), Arc::clone(&made));
        let seen = Arc::clone(&session);
        let outcome = core
            .db
            .write_for(share(environment.id), async move |tx| {
                answer_with_session(tx, &env, &work, &attempt, &seen).await
            })
            .await;
        let outcome = settled(core, outcome)?;
        match outcome.step {
            Step::Done(done) => return Ok(Begun::Done(done)),
            Step::Failed(failure) => return Ok(Begun::Failed(failure)),
            Step::Page(stage) => {
                if prompt.none {
                    let (error, text) = match stage {
                        Stage::Consent => ("consent_required", "the user has to consent"),
                        _ => ("account_selection_required", "the user has to choose an organization"),
                    };
                    return Ok(Begun::Failed(login.authorize.failure(error, text)));
                }
                login.stage = stage;
                login.user = session.user;
                login.session = Some(session.id);
                login.organization = if stage == Stage::Consent { session.organization } else { None };
                let user = session.user.ok_or_else(|| Error::internal("a browser session without a user"))?;
                let email = users::get(core, environment.id, Identity::Id(user)).await?.user.email;
                login.proof = Some(Proof {
                    method: Method::Session,
                    connection: session.connection,
                    email,
                    at: session.authenticated_at,
                    // Whatever it was opened with has been enough: it is not asked for again while the session lives.
                    two_factors: None,
                });
                return open(core, login).await;
            }
            // The session ended meanwhile.
            Step::Problem(_) => {}
        }
    }
    if prompt.none {
        return Ok(Begun::Failed(login.authorize.failure("login_required", "the user has to sign in")));
    }
    open(core, login).await
}

/// Keeps a login whose page is shown now.
async fn open(core: &Core, login: AuthRequest) -> Result<Begun> {
    let secret = BrowserSecret::new(core);
    let (row, hash) = (login.clone(), secret.hash());
    core.db.write_for(share(login.environment), async move |tx| store::insert(tx, &row, hash).await).await?;
    Ok(Begun::Page(Box::new(login), secret))
}

/// What a live session says to a request: a code, a page, or a refusal.
async fn answer_with_session(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    login: &AuthRequest,
    session: &Session,
) -> Result<Outcome> {
    let Some(id) = session.user else { return Ok(Outcome::of(gone())) };
    let Some(user) = users::load(tx, environment.id, &Identity::Id(id)).await? else { return Ok(Outcome::of(gone())) };
    let memberships = memberships::of_user(tx, &user).await?;
    let authorize = &login.authorize;
    let found = target(tx, environment, authorize, &user.email, &memberships, session.organization, made.now).await?;
    let organization = match found {
        Target::Enter(organization) => Some(organization),
        Target::Operator => None,
        Target::Choose | Target::SignUp => return Ok(Outcome::of(Step::Page(Stage::Choose))),
        Target::NotMember => {
            let failure = authorize.failure("access_denied", "the user is not a member of this organization");
            return Ok(Outcome::of(Step::Failed(failure)));
        }
        Target::Closed => {
            return Ok(Outcome::of(Step::Failed(authorize.failure("access_denied", "sign up is not allowed"))));
        }
    };
    if complete::needs_consent(tx, environment, authorize, user.id).await? {
        return Ok(Outcome::of(Step::Page(Stage::Consent)));
    }
    let entry = Entry {
        environment: environment.id,
        user: user.id,
        organization: organization.as_ref().map(|organization| organization.id),
        current: Some(session.id),
        proof: None,
        is_proven: false,
        lifetimes: Lifetimes::of(
            &environment.session,
            organization.map_or_else(Default::default, |organization| organization.session_policy),
        ),
    };
    let Some(entered) = sessions::enter(tx, &made.entry, entry).await? else { return Ok(Outcome::of(gone())) };
    let done =
        complete::code_for_user(tx, environment, made, authorize, login.id, user.id, entry.organization, &entered)
            .await?;
    Ok(Outcome { step: Step::Done(done), ..with_session(&made.entry, entered) })
}

/// Without users and sessions the request itself has to say how to sign in (oauth-oidc reference §3.2).
async fn begin_modular(core: &Arc<Core>, environment: &Arc<Environment>, login: AuthRequest) -> Result<Begun> {
    let authorize = &login.authorize;
    let failed = |code: &str, text: &str| Ok(Begun::Failed(authorize.failure(code, text)));
    let passwordless = crate::connections::passwordless(core, environment.id).await?;
    let enabled = passwordless.is_some_and(|connection| connection.enabled);
    if authorize.connection.is_none() {
        if authorize.organization.is_some() {
            return failed("no_configured_connections", "the organization has no connection");
        }
        if authorize.domain.is_some() {
            return failed("domain_not_found", "no connection signs this domain in");
        }
        match &authorize.login_hint {
            None => {
                let text = "name a connection, an organization, a domain or an address to sign in with";
                return failed("invalid_connection_selector", text);
            }
            Some(_) if !enabled => return failed("domain_not_found", "no connection signs this address in"),
            Some(_) => {}
        }
    }
    if authorize.prompt.none {
        return failed("login_required", "the user has to sign in");
    }
    let hint = authorize.login_hint.clone();
    let asks_for_captcha = captcha::is_on(core, environment.id).await?;
    let begun = open(core, login).await?;
    // A link with an address in it must not send mails for a program: the page asks for the captcha, with the address filled in.
    let Some(hint) = hint.filter(|_| !asks_for_captcha) else { return Ok(begun) };
    let Begun::Page(request, secret) = begun else { return Ok(begun) };
    let outcome = identify::submit_email(core, environment, &request, &hint, request.intent).await?;
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let request = match outcome.step {
        Step::Page(_) => store::find(&mut reader, environment.id, request.id, now).await?.unwrap_or(*request),
        // The page says what is wrong with the address.
        _ => *request,
    };
    Ok(Begun::Page(Box::new(request), secret))
}
