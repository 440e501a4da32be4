//! The pages of somebody who is logged in: `/ui/profile/…`.

use std::sync::Arc;

use http::{Method, Response};
use narthex_core::events::Actor;
use narthex_core::ids::{CredentialId, UserId};
use narthex_core::passkeys::{self, Passkey};
use narthex_core::sessions::{self, Session};
use narthex_core::users::{self, Identity};
use narthex_core::{Kind, Result, Timestamp};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::pages::{BEGIN_REGISTRATION, FINISH_REGISTRATION};
use super::steps::{foreign_form, restart_of};
use super::visit::{Csrf, Visit};
use super::{cookies, look, redirect};
use crate::pages::{self, Page as _, PasskeyRow};
use crate::reply::{self, Body};

/// The page of the user's passkeys.
const PASSKEYS: &str = "/ui/profile/passkeys";
const RENAME: &str = "/ui/profile/passkeys/rename";
const DELETE: &str = "/ui/profile/passkeys/delete";
const LOGOUT: &str = "/ui/profile/logout";
/// ListCredentials, as the pages' script calls it.
const LIST: &str = "/api/v1/webauthn/credentials";

/// Longest name of a passkey (`UpdateCredentialRequest.display_name`).
const LONGEST_NAME: usize = 120;

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[day padding:none] [month repr:long] [year]");

/// Answers `/ui/profile/…`.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    if !matches!(visit.path.as_str(), PASSKEYS | RENAME | DELETE | LOGOUT) {
        return Ok(reply::not_found());
    }
    let (Some(session), Some(cookie)) = (visit.session().await?, visit.cookies.session()) else {
        return logged_out(visit).await;
    };
    let Some(user) = session.user else { return logged_out(visit).await };
    let csrf = Csrf::of(cookie);
    if visit.method != Method::POST {
        return if visit.path == PASSKEYS { show(visit, user, &csrf, None).await } else { Ok(redirect(PASSKEYS)) };
    }
    if !visit.is_genuine(&csrf) {
        return foreign_form(visit).await;
    }
    match visit.path.as_str() {
        RENAME => rename(visit, user, &csrf).await,
        DELETE => delete(visit, user, &csrf).await,
        LOGOUT => log_out(visit, &session, user).await,
        _ => Ok(reply::method_not_allowed("GET, HEAD")),
    }
}

async fn show(visit: &Visit, user: UserId, csrf: &Csrf, problem: Option<&str>) -> Result<Response<Body>> {
    let (core, environment) = (&visit.state.core, &visit.environment);
    let user = users::get(core, environment.id, Identity::Id(user)).await?.user;
    let found = passkeys::list(core, environment.id, user.id).await?;
    let rows: Vec<Shown> = found.iter().map(Shown::of).collect();
    let look = look(&visit.state, environment, None).await?;
    let frame = visit.frame(&look, None, csrf.text(), None);
    let is_on = passkeys::settings(core, environment).await?.is_some();
    let page = pages::Passkeys {
        frame,
        begin: BEGIN_REGISTRATION,
        finish: FINISH_REGISTRATION,
        list: LIST,
        rename: RENAME,
        delete: DELETE,
        logout: LOGOUT,
        email: &user.email,
        passkeys: rows.iter().zip(&found).map(|(row, passkey)| row.row(passkey)).collect(),
        may_add: is_on,
        problem,
    };
    Ok(page.render())
}

/// The texts of a row.
struct Shown {
    id: String,
    details: Vec<String>,
    created: String,
    used: Option<String>,
}

impl Shown {
    fn of(passkey: &Passkey) -> Self {
        let device = &passkey.device;
        let browser = [device.browser.as_str(), device.os.as_str()];
        let browser: Vec<&str> = browser.into_iter().filter(|text| !text.is_empty()).collect();
        let mut details = vec![passkey.authenticator().to_owned(), browser.join(", "), device.location.city.clone()];
        // The name says so already.
        details.retain(|detail| !detail.is_empty() && *detail != name(passkey));
        Self {
            id: passkey.id.to_string(),
            details,
            created: date(passkey.created_at),
            used: passkey.last_used_at.map(date),
        }
    }

    fn row<'a>(&'a self, passkey: &'a Passkey) -> PasskeyRow<'a> {
        PasskeyRow {
            id: &self.id,
            name: name(passkey),
            details: self.details.iter().map(String::as_str).collect(),
            created: &self.created,
            used: self.used.as_deref(),
            synced: passkey.flags.backed_up,
        }
    }
}

/// What the user calls a passkey, else what its maker does.
fn name(passkey: &Passkey) -> &str {
    match (passkey.display_name.as_deref(), passkey.authenticator()) {
        (Some(name), _) => name,
        (None, "") => "Passkey",
        (None, model) => model,
    }
}

fn date(at: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp(at.seconds()).ok();
    date.and_then(|date| date.format(DATE).ok()).unwrap_or_default()
}

async fn rename(visit: &Visit, user: UserId, csrf: &Csrf) -> Result<Response<Body>> {
    let name = visit.field("display_name").trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return show(visit, user, csrf, Some("Enter a name of at most 120 characters.")).await;
    }
    let done = match CredentialId::parse(visit.field("credential")) {
        Some(id) => {
            let (core, environment) = (&visit.state.core, visit.environment.id);
            passkeys::rename(core, environment, Some(user), id, name.to_owned()).await.map(|_| ())
        }
        None => Err(passkeys::not_found()),
    };
    settled(visit, user, csrf, done).await
}

async fn delete(visit: &Visit, user: UserId, csrf: &Csrf) -> Result<Response<Body>> {
    let done = match CredentialId::parse(visit.field("credential")) {
        Some(id) => passkeys::delete(&visit.state.core, visit.environment.id, Some(user), id).await.map(|_| ()),
        None => Err(passkeys::not_found()),
    };
    settled(visit, user, csrf, done).await
}

/// Back to the list, where a passkey that is gone says enough.
async fn settled(visit: &Visit, user: UserId, csrf: &Csrf, done: Result<()>) -> Result<Response<Body>> {
    match done {
        Ok(()) => Ok(redirect(PASSKEYS)),
        Err(error) if error.kind() == Kind::NotFound => {
            show(visit, user, csrf, Some("This passkey is not there any more.")).await
        }
        Err(error) => Err(error),
    }
}

async fn log_out(visit: &Visit, session: &Arc<Session>, user: UserId) -> Result<Response<Body>> {
    sessions::log_out(&visit.state.core, visit.environment.id, &Actor::user(user), session.id).await?;
    let look = look(&visit.state, &visit.environment, None).await?;
    let sign_in = restart_of(visit, None).await?;
    let page = pages::SignedOut { frame: visit.frame(&look, None, "", None), sign_in: sign_in.as_deref() };
    let mut response = page.render();
    cookies::clear_session(response.headers_mut());
    Ok(response)
}

/// There is nothing to see without a session. The application is where one begins.
async fn logged_out(visit: &Visit) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, None).await?;
    let restart = restart_of(visit, None).await?;
    let frame = visit.frame(&look, None, "", None);
    let page = pages::Notice {
        frame,
        title: "You are not logged in",
        text: "Log in to your application, then come back to this page.",
        link: restart.as_deref().map(|url| (url, "Log in")),
    };
    Ok(page.render())
}
