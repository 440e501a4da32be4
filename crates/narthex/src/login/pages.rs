//! What the pages of a login show.

use http::{HeaderValue, Response, StatusCode, header};
use narthex_core::login::{self, AuthRequest, Choice, Intent, Method, Problem, Stage};
use narthex_core::passwordless::{self, Refusal};
use narthex_core::{Result, captcha as captchas, connections, users};

use super::steps::{address, has_users, page_of};
use super::visit::{Csrf, Visit};
use super::{look, redirect};
use crate::pages::{self, Answer, Captcha, Frame, Methods, Page as _};
use crate::reply::Body;

/// BeginAuthentication, as the pages' script calls it.
const BEGIN_LOGIN: &str = "/api/v1/webauthn/authentication:begin";
/// FinishAuthentication.
const FINISH_LOGIN: &str = "/api/v1/webauthn/authentication:finish";
/// BeginRegistration.
pub const BEGIN_REGISTRATION: &str = "/api/v1/webauthn/registration:begin";
/// FinishRegistration.
pub const FINISH_REGISTRATION: &str = "/api/v1/webauthn/registration:finish";

/// A login that is over.
pub const OVER: &str = "This login is no longer valid. Please go back to the application and start again.";
/// A form that is none of ours.
pub const FOREIGN_FORM: &str = "This form did not come from our page. Please go back and try again.";

/// Seconds until a mail can be asked for again.
const RESEND_AFTER: u32 = 30;

/// What a page says beside its content.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// What was wrong.
    pub problem: Option<Problem>,
    /// The mail has been sent once more.
    pub sent_again: bool,
}

impl Shown {
    /// Nothing.
    pub const fn new() -> Self {
        Self { problem: None, sent_again: false }
    }

    /// A problem.
    pub const fn problem(problem: Problem) -> Self {
        Self { problem: Some(problem), sent_again: false }
    }
}

/// What a problem is called.
pub const fn say(problem: Problem) -> &'static str {
    match problem {
        Problem::BadAddress => "Enter a valid email address.",
        Problem::NoMethod => "You cannot log in with this email address here.",
        Problem::BlockedDomain => "Sign up with your work email address.",
        Problem::TooMany(_) => "Too many attempts, try again in a minute.",
        Problem::MailFailed => "The email could not be sent. Please try again.",
        Problem::CaptchaRefused => "Complete the check that you are not a robot, and try again.",
        Problem::CaptchaUnavailable => {
            "We cannot check at the moment that you are not a robot. Please try again in a few minutes."
        }
        Problem::WrongCode => "The code is not right. Check it and try again.",
        Problem::ExpiredCode => "The code has expired. Ask for a new one.",
        Problem::Locked => "Too many wrong codes. Start again.",
        Problem::TotpLocked => "Too many wrong codes. Wait ten minutes, then try again.",
        Problem::OtherBrowser => "Open the link in the browser where you started.",
        Problem::PasskeyRefused => "The passkey was not accepted. Try again or use your email address.",
        Problem::NoSeat => "The organization has no room for another member. Ask its administrator.",
        Problem::BadChoice => "This choice is not available.",
        Problem::BadName => "Enter a shorter name.",
        Problem::Gone => OVER,
    }
}

/// How a login was proven, for the badge of the next one.
pub fn method_of(login: &AuthRequest) -> Option<&'static str> {
    match (login.stage, login.proof.as_ref().map(|proof| proof.method)) {
        (Stage::Verify, _) | (_, Some(Method::Passwordless)) => Some("email"),
        (Stage::Identify, _) | (_, Some(Method::Passkey)) => Some("passkey"),
        _ => None,
    }
}

/// The captcha of a form that leads to a mail or tries a code, where the environment asks for one.
async fn captcha(visit: &Visit) -> Result<Option<Captcha<'_>>> {
    Ok(captchas::widget(&visit.state.core, visit.environment.id).await?.map(Captcha))
}

/// The page on which somebody says who they are.
pub async fn identify(
    visit: &Visit,
    login: &AuthRequest,
    csrf: &Csrf,
    intent: Intent,
    email: &str,
    problem: Option<Problem>,
) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let environment = visit.environment.id;
    let look = look(&visit.state, &visit.environment, login.authorize.organization).await?;
    let frame =
        visit.frame(&look, login.authorize.ui_locales.as_deref(), csrf.text(), Some(&login.authorize.redirect_uri));
    let by_mail = connections::passwordless(core, environment).await?.is_some_and(|connection| connection.enabled);
    let frame = Frame { captcha: if by_mail { captcha(visit).await? } else { None }, ..frame };
    let by_passkey = connections::webauthn(core, environment).await?.filter(|connection| connection.enabled);
    let (sign_in, sign_up) = (address("login", login.id), address("signup", login.id));
    let passkey_action = address("passkey-login", login.id);
    let hint = login.authorize.address().unwrap_or_default();
    let email = if email.is_empty() { login.email.as_deref().unwrap_or(hint) } else { email };
    let last_used = match visit.cookies.last_method() {
        Some("email") => Some(pages::Method::Email),
        Some("passkey") => Some(pages::Method::Passkey),
        _ => None,
    };
    let text = problem.map(say);
    let mut methods = Methods { email: by_mail, social: Vec::new(), passkey: None, last_used };
    let may_sign_up = users::is_signup_open(core, &visit.environment).await?;
    if intent == Intent::SignUp {
        if !may_sign_up {
            return Ok(redirect(&sign_in));
        }
        let page = pages::SignUp { frame, action: &sign_up, email, problem: text, methods, sign_in: &sign_in };
        return Ok(held_back(page.render(), problem));
    }
    if has_users(visit) {
        methods.passkey = by_passkey.map(|connection| pages::Passkey {
            begin: BEGIN_LOGIN,
            finish: FINISH_LOGIN,
            action: &passkey_action,
            button: connection.config.show_passkey_button,
            conditional: connection.config.enable_conditional_login,
        });
    }
    let sign_up = may_sign_up.then_some(sign_up.as_str());
    let page = pages::SignIn { frame, action: &sign_in, email, problem: text, methods, sign_up };
    Ok(held_back(page.render(), problem))
}

/// The page of the stage that a login stands at.
pub async fn stage(visit: &Visit, login: &AuthRequest, csrf: &Csrf, shown: Shown) -> Result<Response<Body>> {
    match login.stage {
        Stage::Identify => identify(visit, login, csrf, login.intent, "", shown.problem).await,
        Stage::Verify => verify(visit, login, csrf, shown).await,
        Stage::SecondFactor => totp(visit, login, csrf, false, shown.problem).await,
        Stage::Choose => choose(visit, login, csrf, shown.problem).await,
        Stage::Offer => offer(visit, login, csrf).await,
        Stage::Consent => consent(visit, login, csrf).await,
        Stage::Finished => Ok(redirect(&page_of(login, Stage::Identify))),
    }
}

async fn verify(visit: &Visit, login: &AuthRequest, csrf: &Csrf, shown: Shown) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, login.authorize.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let challenge = login.challenge.as_deref().unwrap_or_default();
    let Some((sent, over)) = passwordless::describe(&visit.state.core, visit.environment.id, challenge).await? else {
        return identify(visit, login, csrf, login.intent, "", Some(Problem::ExpiredCode)).await;
    };
    let (action, resend) = (address("verify", login.id), address("resend", login.id));
    let (restart, poll) =
        (address(if login.intent == Intent::SignUp { "signup" } else { "login" }, login.id), address("poll", login.id));
    let email = login.email.as_deref().unwrap_or_default();
    let locked = over == Some(Refusal::Locked);
    // The last wrong code is no longer one to check and try again.
    let problem = if locked { Some(Problem::Locked) } else { shown.problem };
    let answer = match (problem, shown.sent_again) {
        (Some(problem), _) => Answer::Problem(say(problem)),
        (None, true) => Answer::SentAgain,
        (None, false) => Answer::None,
    };
    let frame = Frame { captcha: if locked { None } else { captcha(visit).await? }, ..frame };
    let resend_after = match shown.problem {
        Some(Problem::TooMany(seconds)) => seconds,
        _ => RESEND_AFTER,
    };
    let response = match sent.kind {
        passwordless::Delivery::Link if !locked => {
            pages::LinkSent { frame, resend: &resend, restart: &restart, email, poll: &poll, answer, resend_after }
                .render()
        }
        kind => pages::EnterCode {
            frame,
            action: &action,
            resend: &resend,
            restart: &restart,
            email,
            length: sent.code_length,
            alphanumeric: sent.code_type == passwordless::CodeType::Alphanumeric,
            answer,
            locked,
            resend_after,
            poll: (kind == passwordless::Delivery::LinkOtp).then_some(poll.as_str()),
        }
        .render(),
    };
    Ok(held_back(response, shown.problem))
}

/// A page that asks for patience says for how long, as every refusal of that kind does.
fn held_back(mut response: Response<Body>, problem: Option<Problem>) -> Response<Body> {
    if let Some(Problem::TooMany(seconds)) = problem {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The page for a code of the authenticator app, or for a recovery code.
pub async fn totp(
    visit: &Visit,
    login: &AuthRequest,
    csrf: &Csrf,
    recovery: bool,
    problem: Option<Problem>,
) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, login.authorize.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let (app, backup) = (address("totp", login.id), address("recovery", login.id));
    let (action, other) = if recovery { (&backup, &app) } else { (&app, &backup) };
    let locked = problem == Some(Problem::TotpLocked);
    Ok(pages::EnterTotp { frame, action, other, recovery, problem: problem.map(say), locked }.render())
}

async fn choose(visit: &Visit, login: &AuthRequest, csrf: &Csrf, problem: Option<Problem>) -> Result<Response<Body>> {
    let choices = login::choices(&visit.state.core, &visit.environment, login).await?;
    if choices.member.is_empty() && choices.invited.is_empty() && choices.suggested.is_empty() && choices.may_create {
        return create(visit, login, csrf, "", problem).await;
    }
    let look = look(&visit.state, &visit.environment, login.authorize.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let ids = |list: &[Choice]| -> Vec<String> { list.iter().map(|choice| choice.id.to_string()).collect() };
    let (member, invited, suggested) = (ids(&choices.member), ids(&choices.invited), ids(&choices.suggested));
    let (action, join) = (address("organizations", login.id), address("join", login.id));
    let (logout, create) = (address("logout", login.id), address("organization", login.id));
    let page = pages::ChooseOrganization {
        frame,
        action: &action,
        join: &join,
        logout: &logout,
        create: choices.may_create.then_some(create.as_str()),
        email: &choices.email,
        yours: rows(&choices.member, &member),
        invited: rows(&choices.invited, &invited),
        suggested: rows(&choices.suggested, &suggested),
        problem: problem.map(say),
    };
    Ok(page.render())
}

fn rows<'a>(choices: &'a [Choice], ids: &'a [String]) -> Vec<pages::Choice<'a>> {
    choices
        .iter()
        .zip(ids)
        .map(|(choice, id)| pages::Choice {
            id,
            name: &choice.name,
            logo_url: choice.logo_url.as_deref(),
            inviter: choice.inviter_email.as_deref(),
        })
        .collect()
}

/// The page on which an organization is made.
pub async fn create(
    visit: &Visit,
    login: &AuthRequest,
    csrf: &Csrf,
    name: &str,
    problem: Option<Problem>,
) -> Result<Response<Body>> {
    let choices = login::choices(&visit.state.core, &visit.environment, login).await?;
    let back = address("organizations", login.id);
    if !choices.may_create {
        return Ok(redirect(&back));
    }
    let look = look(&visit.state, &visit.environment, None).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let (action, logout) = (address("organization", login.id), address("logout", login.id));
    let is_only = choices.member.is_empty() && choices.invited.is_empty() && choices.suggested.is_empty();
    let page = pages::CreateOrganization {
        frame,
        action: &action,
        logout: &logout,
        back: (!is_only).then_some(back.as_str()),
        email: &choices.email,
        name,
        problem: problem.map(say),
    };
    Ok(page.render())
}

async fn offer(visit: &Visit, login: &AuthRequest, csrf: &Csrf) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, login.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let next = address("passkey", login.id);
    Ok(pages::OfferPasskey { frame, begin: BEGIN_REGISTRATION, finish: FINISH_REGISTRATION, next: &next }.render())
}

async fn consent(visit: &Visit, login: &AuthRequest, csrf: &Csrf) -> Result<Response<Body>> {
    let view = login::consent_view(&visit.state.core, login).await?;
    let look = look(&visit.state, &visit.environment, login.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let (action, switch) = (address("consent", login.id), address("switch", login.id));
    let of_resource = |name: &str| view.resource.scopes.iter().any(|scope| scope == name);
    let scopes = view.scopes.iter().filter(|(name, _)| of_resource(name)).map(|(name, description)| pages::Scope {
        name,
        description,
        optional: view.resource.scope_selection,
    });
    let identity = view.scopes.iter().filter_map(|(name, _)| match name.as_str() {
        "profile" => Some("your name"),
        "email" => Some("your email address"),
        _ => None,
    });
    let presentation = &view.client.presentation;
    let verified = view.client.origin == narthex_core::clients::ClientOrigin::Administrator;
    let host = host_of(&view.client.metadata_uri);
    let redirect_host = host_of(&login.authorize.redirect_uri)
        .unwrap_or_else(|| login.authorize.redirect_uri.split(':').next().unwrap_or_default().to_owned());
    let page = pages::Consent {
        frame,
        action: &action,
        switch_account: Some(&switch),
        resource: &view.resource.name,
        resource_logo_url: Some(view.resource.logo_uri.as_str()).filter(|uri| !uri.is_empty()),
        client: pages::Client {
            name: &view.client.name,
            verified,
            logo_url: Some(presentation.logo_uri.as_str()).filter(|uri| !uri.is_empty()),
            host: host.as_deref(),
            privacy_url: Some(presentation.policy_uri.as_str()).filter(|uri| !uri.is_empty()),
            terms_url: Some(presentation.tos_uri.as_str()).filter(|uri| !uri.is_empty()),
        },
        scopes: scopes.collect(),
        identity: identity.collect(),
        email: &view.user.email,
        organization: view.organization.as_ref().map(|organization| organization.display_name.as_str()),
        host: &visit.environment.domain,
        redirect_host: &redirect_host,
    };
    Ok(page.render())
}

/// The host of a URI that has one.
fn host_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}
