//! `/magicLink/{token}`: the link of a login's mail. Programs that scan mail open links, so only a browser that is in the login already
//! goes on at once; any other has to press a button (login-methods reference §5.2).

use http::{Method, Response, StatusCode};
use narthex_core::Result;
use narthex_core::login::{self, AuthRequest, BrowserSecret, Problem, Step};

use super::pages::say;
use super::steps::{answer, restart_of};
use super::visit::{Csrf, Visit};
use super::{cookies, look};
use crate::pages::{self, Page as _};
use crate::reply::Body;

/// Follows a link.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let token = visit.path.strip_prefix("/magicLink/").unwrap_or_default();
    let Some(login) = login::peek_link(core, &visit.environment, token).await? else {
        return refuse(visit, None, Problem::ExpiredCode).await;
    };
    let secret = visit.cookies.login(login.id);
    // A foreign browser's form is tied to the link itself: whoever has the link may follow it.
    let csrf = Csrf::of(secret.unwrap_or(token));
    let is_own = secret.is_some();
    let follows = match visit.method {
        Method::POST => visit.is_genuine(&csrf),
        Method::GET => is_own,
        _ => false,
    };
    if !follows {
        return confirm(visit, &login, &csrf).await;
    }
    let current = visit.session_id().await?;
    let new = BrowserSecret::new(core);
    let outcome = login::follow_link(core, &visit.environment, token, secret, &new, &visit.visitor, current).await?;
    let goes_on = matches!(outcome.step, Step::Page(_));
    if let Step::Problem(problem) = outcome.step {
        return refuse(visit, Some(&login), problem).await;
    }
    let mut response = answer(visit, &login, &csrf, outcome).await?;
    if goes_on && !is_own {
        cookies::set_login(response.headers_mut(), &visit.cookies, login.id, new.expose());
    }
    Ok(response)
}

async fn confirm(visit: &Visit, login: &AuthRequest, csrf: &Csrf) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, login.authorize.organization).await?;
    let locales = login.authorize.ui_locales.as_deref();
    let frame = visit.frame(&look, locales, csrf.text(), Some(&login.authorize.redirect_uri));
    let email = login.email.as_deref().unwrap_or_default();
    Ok(pages::ConfirmLink { frame, action: &visit.path, email }.render())
}

async fn refuse(visit: &Visit, login: Option<&AuthRequest>, problem: Problem) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, None).await?;
    let locales = login.and_then(|login| login.authorize.ui_locales.as_deref());
    let client = login.map(|login| login.authorize.client_id.as_str());
    let restart = restart_of(visit, client).await?;
    let description = match problem {
        Problem::ExpiredCode => "This link has expired or was used already.",
        problem => say(problem),
    };
    Ok(pages::Failure {
        frame: visit.frame(&look, locales, "", None),
        status: StatusCode::BAD_REQUEST,
        title: None,
        description,
        code: None,
        id: None,
        restart: restart.as_deref(),
    }
    .render())
}
