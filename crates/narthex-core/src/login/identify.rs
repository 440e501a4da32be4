//! Who somebody is: an address, and the proof that it is theirs; or a passkey.

use std::sync::Arc;

use narthex_db::Tx;

use super::complete::{self, Made, Outcome, after_offer, late, pass_on, settled};
use super::organizations::after_proof;
use super::store::{self, BrowserSecret, advance};
use super::{AuthRequest, Intent, Method, Problem, Proof, Stage, Step, Visitor, broken};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Kind, Result};
use crate::ids::{ConnectionId, SessionId};
use crate::organizations::share;
use crate::passwordless::{self, Attempt, Begin, Purpose, Refusal};
use crate::seal::Secret;
use crate::users::{self, Identity};
use crate::{memberships, passkeys, totp};

/// Longest address that the page takes (`DiscoveryRequest.email`).
const LONGEST: usize = 100;

/// Sends a code or link to an address, whether somebody has it or not.
pub async fn submit_email(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    email: &str,
    intent: Intent,
) -> Result<Outcome> {
    let problem = |problem: Problem| Ok(Outcome::of(Step::Problem(problem)));
    let email = users::key_of(email);
    if email.chars().count() > LONGEST || users::validate_email("email", &email).is_some() {
        return problem(Problem::BadAddress);
    }
    let connection = crate::connections::passwordless(core, environment.id).await?;
    if !connection.is_some_and(|connection| connection.enabled) {
        return problem(Problem::NoMethod);
    }
    let is_full = environment.authentication_mode == AuthenticationMode::FullStack;
    if is_full && intent == Intent::SignUp {
        // Asked of the domain alone, so it tells nothing about accounts.
        let settings = users::user_management(core, environment.id).await?;
        if settings.refusal_of(&email).is_some() {
            return problem(Problem::BlockedDomain);
        }
    }
    let begin = Begin {
        email: email.clone(),
        intent,
        purpose: Purpose::Hosted { auth_request: request.id, link_base: format!("{}/magicLink/", environment.origin) },
    };
    let challenge = match passwordless::begin(core, environment, begin).await {
        Ok(challenge) => challenge,
        Err(error) => return refused(error),
    };
    let (seen, now) = (request.clone(), core.clock.now());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let mut request = complete::current(tx, &seen, now).await?;
            let from = request.stage;
            if from > Stage::Verify {
                return Err(late());
            }
            request.stage = Stage::Verify;
            request.intent = intent;
            request.email = Some(email.clone());
            request.challenge = Some(challenge.id.clone());
            if !advance(tx, &request, from, now).await? {
                return Err(late());
            }
            Ok(Outcome::of(Step::Page(Stage::Verify)))
        })
        .await;
    settled(core, outcome)
}

/// What the page says when no mail goes out.
fn refused(error: Error) -> Result<Outcome> {
    let problem = match error.kind() {
        // What no wait helps is a request that wrong codes have closed.
        Kind::ResourceExhausted => error.retry_after_seconds().map_or(Problem::Locked, Problem::TooMany),
        Kind::InvalidArgument => Problem::BadAddress,
        Kind::FailedPrecondition => Problem::NoMethod,
        Kind::Unavailable | Kind::Internal => {
            tracing::error!(?error, "a mail with a code cannot be sent");
            Problem::MailFailed
        }
        _ => return Err(error),
    };
    Ok(Outcome::of(Step::Problem(problem)))
}

/// Sends it again.
pub async fn resend(core: &Arc<Core>, environment: &Arc<Environment>, request: &AuthRequest) -> Result<Outcome> {
    let Some(challenge) = request.challenge.as_deref().filter(|_| request.stage == Stage::Verify) else {
        return Ok(Outcome::of(Step::Problem(Problem::Gone)));
    };
    match passwordless::resend(core, environment, challenge).await {
        Ok(_) => Ok(Outcome::of(Step::Page(Stage::Verify))),
        Err(error) => refused(error),
    }
}

/// Proves the address by the code that was sent to it.
pub async fn submit_code(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    typed: &str,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let Some(challenge) = request.challenge.as_deref().filter(|_| request.stage == Stage::Verify) else {
        return Ok(Outcome::of(Step::Problem(Problem::Gone)));
    };
    let attempt = Attempt::by_code(core, environment, challenge, typed).await?;
    prove(core, environment, request, attempt, None, visitor, current).await
}

/// [`submit_code`] for a page that cannot take a cookie: the login stops where the second factor is asked for,
/// or the organization is chosen.
pub async fn submit_code_and_hold(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    typed: &str,
) -> Result<Outcome> {
    let Some(challenge) = request.challenge.as_deref().filter(|_| request.stage == Stage::Verify) else {
        return Ok(Outcome::of(Step::Problem(Problem::Gone)));
    };
    let attempt = Arc::new(Attempt::by_code(core, environment, challenge, typed).await?);
    let connection = crate::connections::passwordless(core, environment.id).await?.map(|connection| connection.id);
    let (seen, now, asks_totp) = (request.clone(), core.clock.now(), core.totp_at_login);
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let proof = match proof_of(tx, &seen, &attempt, connection, now).await? {
                Ok(proof) => proof,
                Err(problem) => return Ok(Outcome::of(Step::Problem(problem))),
            };
            let mut request = complete::current(tx, &seen, now).await?;
            let from = request.stage;
            request.stage = Stage::Choose;
            if let Some(user) = users::load_by_email(tx, request.environment, &proof.email).await?
                && complete::lacks_second_factor(tx, asks_totp, &proof, &user).await?
            {
                request.stage = Stage::SecondFactor;
                request.user = Some(user.id);
            }
            request.proof = Some(proof);
            if !advance(tx, &request, from, now).await? {
                return Err(late());
            }
            Ok(Outcome::of(Step::Page(request.stage)))
        })
        .await;
    settled(core, outcome)
}

/// Proves the address by the link that was sent to it. `secret` is what the browser holds for this login.
///
/// A browser without the right one takes the login over: from then on it is tied to `new`. Whoever asked for the link with somebody
/// else's address must not get what the owner of the mailbox proves.
pub async fn follow_link(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    token: &str,
    secret: Option<&str>,
    new: &BrowserSecret,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let Some(link) = peek_link(core, environment, token).await? else {
        return Ok(Outcome::of(Step::Problem(Problem::ExpiredCode)));
    };
    let own = match secret {
        Some(secret) => store::load(core, environment.id, link.id, secret).await?.is_some(),
        None => false,
    };
    let connection = crate::connections::passwordless(core, environment.id).await?;
    let enforced = connection.is_some_and(|connection| connection.config.enforce_same_browser_origin);
    if enforced && !own {
        return Ok(Outcome::of(Step::Problem(Problem::OtherBrowser)));
    }
    let attempt = Attempt::by_link(core, environment, token, link.challenge.as_deref());
    let taken_over = (!own).then(|| new.hash());
    prove(core, environment, &link, attempt, taken_over, visitor, current).await
}

/// The login that a link belongs to, if it is still under way. Nothing is consumed.
pub async fn peek_link(core: &Arc<Core>, environment: &Environment, token: &str) -> Result<Option<AuthRequest>> {
    let Some(id) = passwordless::peek_link(core, environment, token).await? else { return Ok(None) };
    let now = core.clock.now();
    let found = store::find(&mut *core.db.reader().await?, environment.id, id, now).await?;
    Ok(found.filter(|request| request.stage == Stage::Verify))
}

/// What an attempt proves for this login: codes and links belong to the one that they were sent for. It is a part of the step that it
/// lets happen, so that a step that fails has used nothing up; a refusal is to be committed, since it counts.
async fn proof_of(
    tx: &mut Tx,
    request: &AuthRequest,
    attempt: &Attempt,
    connection: Option<ConnectionId>,
    now: Timestamp,
) -> Result<std::result::Result<Proof, Problem>> {
    Ok(match attempt.take(tx).await? {
        passwordless::Outcome::Verified(proven) if proven.auth_request == Some(request.id) => {
            let email = users::key_of(&proven.email);
            Ok(Proof { method: Method::Passwordless, connection, email, at: now, two_factors: None })
        }
        passwordless::Outcome::Verified(_) => Err(Problem::ExpiredCode),
        passwordless::Outcome::Refused(refusal) => Err(match refusal {
            Refusal::WrongCode => Problem::WrongCode,
            Refusal::Locked => Problem::Locked,
            Refusal::OtherBrowser => Problem::OtherBrowser,
            _ => Problem::ExpiredCode,
        }),
    })
}

/// Proves the user by a passkey: `token` is what finishing its ceremony gave. Whatever is wrong, the page says the same.
pub async fn submit_passkey(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    token: &str,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let connection = crate::connections::webauthn(core, environment.id).await?.filter(|connection| connection.enabled);
    let Some(connection) = connection.filter(|_| environment.authentication_mode == AuthenticationMode::FullStack)
    else {
        return Ok(Outcome::of(Step::Problem(Problem::PasskeyRefused)));
    };
    let made = Arc::new(Made::new(core, environment, visitor, Some("")).await?);
    let (env, seen, token) = (Arc::clone(environment), request.clone(), Secret::new(token.to_owned()));
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let mut request = complete::current(tx, &seen, made.now).await?;
            let from = request.stage;
            if from > Stage::Verify {
                return Err(late());
            }
            let redeemed = passkeys::redeem(tx, env.id, token.expose(), made.now).await?;
            let user = match &redeemed {
                Some(redeemed) => users::load(tx, env.id, &Identity::Id(redeemed.user)).await?,
                None => None,
            };
            // A passkey lets nobody in who belongs nowhere; a mail may still make them an organization of their own.
            let user = match user {
                Some(user) if !memberships::of_user(tx, &user).await?.is_empty() => user,
                _ => return Ok(Outcome::of(Step::Problem(Problem::PasskeyRefused))),
            };
            request.intent = Intent::SignIn;
            request.proof = Some(Proof {
                method: Method::Passkey,
                connection: Some(connection.id),
                email: users::key_of(&user.email),
                at: made.now,
                two_factors: redeemed.filter(|redeemed| redeemed.user_verified).map(|redeemed| redeemed.user),
            });
            after_proof(tx, &env, &made, request, from, current).await
        })
        .await;
    settled(core, outcome)
}

/// Proves the second factor by a code of the user's authenticator app, or by one of their backup codes.
pub async fn submit_totp(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    typed: &str,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let problem = |problem: Problem| Ok(Outcome::of(Step::Problem(problem)));
    let Some(user) = request.user.filter(|_| request.stage == Stage::SecondFactor) else {
        return problem(Problem::Gone);
    };
    // Taking the code is a transaction of its own: whatever becomes of the login, no other one gets in by it.
    let is_right = match totp::verify(core, environment.id, totp::Target::User(user), typed).await {
        Ok(is_right) => is_right,
        Err(error) if error.kind() == Kind::ResourceExhausted => return problem(Problem::TotpLocked),
        // The app was given up meanwhile. What there is to ask for then, the login looks at itself.
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => return Err(error),
    };
    let made = Arc::new(Made::new(core, environment, visitor, Some("")).await?);
    let (env, seen) = (Arc::clone(environment), request.clone());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let mut request = complete::current(tx, &seen, made.now).await?;
            let from = request.stage;
            let proof = request.proof.as_mut().ok_or_else(|| broken("nothing is proven"))?;
            proof.two_factors = is_right.then_some(user);
            if !is_right && totp::is_enabled(tx, env.id, user).await? {
                return Ok(Outcome::of(Step::Problem(Problem::WrongCode)));
            }
            after_proof(tx, &env, &made, request, from, current).await
        })
        .await;
    settled(core, outcome)
}

async fn prove(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    attempt: Attempt,
    taken_over: Option<[u8; 32]>,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Outcome> {
    let made = Arc::new(Made::new(core, environment, visitor, Some("")).await?);
    let connection = crate::connections::passwordless(core, environment.id).await?.map(|connection| connection.id);
    let (env, seen, attempt) = (Arc::clone(environment), request.clone(), Arc::new(attempt));
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let proof = match proof_of(tx, &seen, &attempt, connection, made.now).await? {
                Ok(proof) => proof,
                Err(problem) => return Ok(Outcome::of(Step::Problem(problem))),
            };
            let mut request = complete::current(tx, &seen, made.now).await?;
            let from = request.stage;
            request.proof = Some(proof);
            if let Some(hash) = taken_over {
                store::rebind(tx, &request, hash).await?;
            }
            if env.authentication_mode == AuthenticationMode::Modular {
                return pass_on(tx, &env, &made, request, from).await;
            }
            after_proof(tx, &env, &made, request, from, current).await
        })
        .await;
    settled(core, outcome)
}

/// Goes on after the offer of a passkey, taken or not.
pub async fn resume(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    visitor: &Visitor,
) -> Result<Outcome> {
    let made = Arc::new(Made::new(core, environment, visitor, None).await?);
    let (env, seen) = (Arc::clone(environment), request.clone());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let request = complete::current(tx, &seen, made.now).await?;
            if request.stage != Stage::Offer {
                return Err(late());
            }
            after_offer(tx, &env, &made, request).await
        })
        .await;
    settled(core, outcome)
}
