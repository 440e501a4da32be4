//! The pages of a login that is under way: `/a/auth/…?req=…`.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use narthex_core::environments::AuthenticationMode;
use narthex_core::ids::{AuthErrorId, AuthRequestId, OrganizationId};
use narthex_core::login::{self, AuthRequest, Intent, NewOrganization, Outcome, Problem, Stage, Step};
use narthex_core::{Error, Kind, Result, clients};

use super::authorize::refuse;
use super::pages::{self as draw, Shown};
use super::visit::{Csrf, Visit};
use super::{cookies, look, redirect};
use crate::pages::{self, Captcha, Page as _};
use crate::reply::{self, Body};

/// A browser that shows the page of a login so soon after its beginning, and has no cookie of it, keeps none.
const BOUNCE: Duration = Duration::from_secs(10);

/// The page where a login stands.
pub fn page_of(login: &AuthRequest, stage: Stage) -> String {
    let name = match (stage, login.intent) {
        (Stage::Identify, Intent::SignUp) => "signup",
        (Stage::Identify, Intent::SignIn) => "login",
        (Stage::Verify, _) => "verify",
        (Stage::SecondFactor, _) => "totp",
        (Stage::Choose, _) => "organizations",
        (Stage::Offer, _) => "passkey",
        (Stage::Consent | Stage::Finished, _) => "consent",
    };
    address(name, login.id)
}

/// The address of a page of a login.
pub fn address(name: &str, id: AuthRequestId) -> String {
    format!("/a/auth/{name}?req={id}")
}

/// Answers `/a/…`.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    let Some(page) = visit.path.strip_prefix("/a/auth/") else { return Ok(reply::not_found()) };
    if let Some(id) = page.strip_prefix("error/") {
        return error_page(visit, id).await;
    }
    if !matches!(
        page,
        "login"
            | "signup"
            | "verify"
            | "resend"
            | "poll"
            | "passkey-login"
            | "totp"
            | "recovery"
            | "organizations"
            | "join"
            | "logout"
            | "organization"
            | "passkey"
            | "consent"
            | "switch"
    ) {
        return Ok(reply::not_found());
    }
    let Some((login, csrf)) = visit.login().await? else {
        return if page == "poll" { Ok(waiting(false)) } else { astray(visit).await };
    };
    if visit.method == Method::POST {
        if !visit.is_genuine(&csrf) {
            return foreign_form(visit).await;
        }
        return take(visit, page, login, &csrf).await;
    }
    match page {
        "poll" => Ok(waiting(login.stage == Stage::Verify)),
        // An address that is being proven can be given up for another one, a way to sign in for signing up.
        "login" | "signup" if login.stage <= Stage::Verify => {
            draw::identify(visit, &login, &csrf, intent_of(page), "", None).await
        }
        "recovery" if login.stage == Stage::SecondFactor => draw::totp(visit, &login, &csrf, true, None).await,
        "organization" if login.stage == Stage::Choose => draw::create(visit, &login, &csrf, "", None).await,
        _ if page_of(&login, login.stage) == address(page, login.id) => {
            draw::stage(visit, &login, &csrf, Shown::new()).await
        }
        _ => Ok(redirect(&page_of(&login, login.stage))),
    }
}

/// A form of a login.
async fn take(visit: &Visit, page: &str, login: AuthRequest, csrf: &Csrf) -> Result<Response<Body>> {
    let (core, environment) = (&visit.state.core, &visit.environment);
    if matches!(page, "login" | "signup" | "verify" | "resend") {
        let token = core.captcha.widget().map(|widget| visit.field(Captcha(widget).field())).unwrap_or_default();
        let address = visit.visitor.device.ip.parse().ok();
        if let Some(problem) = login::check_captcha(core, environment, &login, token, address).await? {
            return again(visit, page, &login, csrf, problem).await;
        }
    }
    let current = visit.session_id().await?;
    let outcome = match page {
        "login" | "signup" => {
            let intent = intent_of(page);
            let email = visit.field("email");
            let outcome = login::submit_email(core, environment, &login, email, intent).await?;
            if let Step::Problem(problem) = outcome.step {
                return draw::identify(visit, &login, csrf, intent, email, Some(problem)).await;
            }
            outcome
        }
        "verify" => login::submit_code(core, environment, &login, visit.field("code"), &visit.visitor, current).await?,
        "resend" => {
            let outcome = login::resend(core, environment, &login).await?;
            let shown = match outcome.step {
                Step::Problem(problem) => Shown { problem: Some(problem), ..Shown::new() },
                _ => Shown { sent_again: true, ..Shown::new() },
            };
            return draw::stage(visit, &login, csrf, shown).await;
        }
        "passkey-login" => {
            let token = visit.field("session_token");
            let outcome = login::submit_passkey(core, environment, &login, token, &visit.visitor, current).await?;
            if let Step::Problem(problem) = outcome.step {
                return draw::identify(visit, &login, csrf, Intent::SignIn, "", Some(problem)).await;
            }
            outcome
        }
        "totp" | "recovery" => {
            let code = visit.field("code");
            let outcome = login::submit_totp(core, environment, &login, code, &visit.visitor, current).await?;
            if let Step::Problem(problem @ (Problem::WrongCode | Problem::TotpLocked)) = outcome.step {
                return draw::totp(visit, &login, csrf, page == "recovery", Some(problem)).await;
            }
            outcome
        }
        "organizations" | "join" => match OrganizationId::parse(visit.field("organization")) {
            Some(id) => login::choose(core, environment, &login, id, &visit.visitor, current).await?,
            None => return draw::stage(visit, &login, csrf, Shown::problem(Problem::BadChoice)).await,
        },
        "organization" => {
            let name = visit.field("organization_name");
            let new = NewOrganization { name: name.to_owned(), ..NewOrganization::default() };
            let outcome = login::create_organization(core, environment, &login, new, &visit.visitor, current).await?;
            if let Step::Problem(problem @ (Problem::BadName | Problem::BadChoice)) = outcome.step {
                return draw::create(visit, &login, csrf, name, Some(problem)).await;
            }
            outcome
        }
        "passkey" => login::resume(core, environment, &login, &visit.visitor).await?,
        "consent" if visit.field("decision") == "allow" => {
            login::grant_consent(core, environment, &login, &visit.fields("scope"), &visit.visitor).await?
        }
        "consent" => login::deny(core, environment, &login).await?,
        "logout" | "switch" => return leave(visit, &login).await,
        _ => return Ok(redirect(&page_of(&login, login.stage))),
    };
    answer(visit, &login, csrf, outcome).await
}

/// What the page at this address is for.
fn intent_of(page: &str) -> Intent {
    if page == "signup" { Intent::SignUp } else { Intent::SignIn }
}

/// The form once more, with a fresh captcha in it.
async fn again(
    visit: &Visit,
    page: &str,
    login: &AuthRequest,
    csrf: &Csrf,
    problem: Problem,
) -> Result<Response<Body>> {
    let mut response = if matches!(page, "login" | "signup") {
        draw::identify(visit, login, csrf, intent_of(page), visit.field("email"), Some(problem)).await?
    } else {
        draw::stage(visit, login, csrf, Shown::problem(problem)).await?
    };
    if problem == Problem::CaptchaUnavailable {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// What a step has led to.
pub async fn answer(visit: &Visit, login: &AuthRequest, csrf: &Csrf, outcome: Outcome) -> Result<Response<Body>> {
    let Outcome { step, cookie, .. } = outcome;
    let mut response = match step {
        Step::Page(stage) => redirect(&page_of(login, stage)),
        Step::Done(done) => {
            let mut response = redirect(&done.location);
            cookies::clear_login(response.headers_mut(), login.id);
            if let Some(method) = draw::method_of(login) {
                cookies::set_last_method(response.headers_mut(), method);
            }
            response
        }
        Step::Failed(failure) => {
            let mut response = refuse(visit, &failure).await?;
            cookies::clear_login(response.headers_mut(), login.id);
            response
        }
        // Another tab was faster: wherever the login stands now is the page to show.
        Step::Problem(Problem::Gone) => match visit.login().await? {
            Some((now, _)) => redirect(&page_of(&now, now.stage)),
            None => astray(visit).await?,
        },
        Step::Problem(problem) => draw::stage(visit, login, csrf, Shown::problem(problem)).await?,
    };
    if let Some(cookie) = cookie {
        let (settings, now) = (&visit.environment.session, visit.state.core.clock.now());
        cookies::set_session(response.headers_mut(), settings, &cookie, now);
    }
    Ok(response)
}

/// Logs out, and begins again where the application begins.
async fn leave(visit: &Visit, login: &AuthRequest) -> Result<Response<Body>> {
    login::leave(&visit.state.core, &visit.environment, login).await?;
    let look = look(&visit.state, &visit.environment, None).await?;
    let restart = restart_of(visit, Some(&login.authorize.client_id)).await?;
    let frame = visit.frame(&look, login.authorize.ui_locales.as_deref(), "", None);
    let mut response = match &restart {
        Some(restart) => redirect(restart),
        None => pages::SignedOut { frame, sign_in: None }.render(),
    };
    cookies::clear_login(response.headers_mut(), login.id);
    cookies::clear_session(response.headers_mut());
    Ok(response)
}

/// A page of a login that is over, unknown, or another browser's (login-methods reference §2.4): to where the application begins one.
pub async fn astray(visit: &Visit) -> Result<Response<Body>> {
    let id = visit.query("req").and_then(AuthRequestId::parse);
    let known = match id {
        Some(id) => login::begun_by(&visit.state.core, visit.environment.id, id).await?,
        None => None,
    };
    let look = look(&visit.state, &visit.environment, None).await?;
    let frame = visit.frame(&look, None, "", None);
    if let (Some(id), Some(known)) = (id, &known)
        && !known.has_moved
        && visit.cookies.login(id).is_none()
        && visit.state.core.clock.now() < known.at.plus(BOUNCE)
    {
        return Ok(pages::EnableCookies { frame, retry: None }.render());
    }
    // A page that waited for a link learns that another one has it.
    if known.is_some() && visit.path.ends_with("/verify") {
        return Ok(pages::ContinuedElsewhere { frame }.render());
    }
    let client = known.as_ref().map(|known| known.client_id.as_str());
    match restart_of(visit, client).await? {
        Some(uri) => Ok(redirect(&uri)),
        None => Ok(pages::Failure {
            frame,
            status: StatusCode::BAD_REQUEST,
            title: None,
            description: draw::OVER,
            code: None,
            id: None,
            restart: None,
        }
        .render()),
    }
}

/// Where an application begins a login: its own URL, else that of the environment's default application.
pub async fn restart_of(visit: &Visit, client_id: Option<&str>) -> Result<Option<String>> {
    let (core, environment) = (&visit.state.core, visit.environment.id);
    let own = match client_id {
        Some(client_id) => clients::get(core, environment, client_id).await?,
        None => None,
    };
    let usable = |uri: &str| !uri.is_empty() && !uri.contains("{{");
    if let Some(client) = own.filter(|client| usable(&client.initiate_login_uri)) {
        return Ok(Some(client.initiate_login_uri.clone()));
    }
    let default = clients::default_application(core, environment).await?;
    Ok(default.map(|client| client.initiate_login_uri.clone()).filter(|uri| usable(uri)))
}

/// A form that another site has sent, or that is not of this login.
pub async fn foreign_form(visit: &Visit) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, None).await?;
    let frame = visit.frame(&look, None, "", None);
    Ok(pages::Failure {
        frame,
        status: StatusCode::FORBIDDEN,
        title: None,
        description: draw::FOREIGN_FORM,
        code: None,
        id: None,
        restart: None,
    }
    .render())
}

/// A kept error.
async fn error_page(visit: &Visit, id: &str) -> Result<Response<Body>> {
    let found = match AuthErrorId::parse(id) {
        Some(id) => login::kept_error(&visit.state.core, visit.environment.id, id).await,
        None => Err(Error::not_found("error")),
    };
    let error = match found {
        Ok(error) => error,
        Err(error) if error.kind() == Kind::NotFound => return Ok(reply::not_found()),
        Err(error) => return Err(error),
    };
    let look = look(&visit.state, &visit.environment, None).await?;
    let frame = visit.frame(&look, None, "", None);
    Ok(pages::Failure {
        frame,
        status: StatusCode::BAD_REQUEST,
        title: None,
        description: &error.description,
        code: Some(&error.code),
        id: Some(&error.id.to_string()),
        restart: None,
    }
    .render())
}

fn waiting(waiting: bool) -> Response<Body> {
    reply::value(StatusCode::OK, &serde_json::json!({ "waiting": waiting }))
}

/// Whether an environment has users who sign up.
pub fn has_users(visit: &Visit) -> bool {
    visit.environment.authentication_mode == AuthenticationMode::FullStack
}
