//! `/operator…`, at the origin of the product's own environment alone: where operators come from their login, get a token to work with,
//! and open the one-time link that a start or the command line has printed (docs/decisions/0071).

use http::{Method, Response, StatusCode, header};
use narthex_core::ids::WorkspaceId;
use narthex_core::login::{self, OPERATOR_PAGE};
use narthex_core::members::{self, Member};
use narthex_core::memberships::Status;
use narthex_core::sessions::Session;
use narthex_core::{Kind, Result, clients, tokens, uri, users, workspaces};
use serde_json::{Value, json};

use super::visit::{Csrf, Visit};
use super::{cookies, look, redirect};
use crate::pages::{self, Page as _};
use crate::reply::{self, Body};

/// Where the one-time links begin.
const LINK: &str = "/operator/link/";

/// Answers.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    if !visit.environment.is_system {
        return Ok(reply::not_found());
    }
    match visit.path.as_str() {
        OPERATOR_PAGE => page(visit).await,
        "/operator/token" if visit.method == Method::POST => token(visit).await,
        "/operator/token" => Ok(reply::method_not_allowed("POST")),
        path if path.starts_with(LINK) => link(visit).await,
        _ => Ok(reply::not_found()),
    }
}

/// Who is signed in, and for which workspaces; whoever is not is sent to the login, and comes back here.
async fn page(visit: &Visit) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let Some(session) = visit.session().await? else {
        return sign_in(visit).await;
    };
    // The login ends here with a code that nobody needs: its session is what counts. The address bar keeps neither.
    if !visit.query.is_empty() && visit.query("error").is_none() {
        return Ok(redirect(OPERATOR_PAGE));
    }
    let (email, members) = known(visit, &session).await?;
    let mut lines = Vec::with_capacity(members.len());
    for member in &members {
        let workspace = workspaces::get(core, member.workspace).await?;
        let state = if member.is_active() { member.role.as_str() } else { "invited" };
        lines.push(format!("{} ({state})", workspace.display_name));
    }
    let text = match lines.as_slice() {
        [] => format!("{email} is no operator of any workspace."),
        lines => format!("You are signed in as {email}. Your workspaces: {}.", lines.join(", ")),
    };
    let look = look(&visit.state, &visit.environment, None).await?;
    let frame = visit.frame(&look, None, "", None);
    Ok(pages::Notice { frame, title: "Operator", text: &text, link: None }.render())
}

async fn sign_in(visit: &Visit) -> Result<Response<Body>> {
    if let Some(error) = visit.query("error") {
        // Asking again would lead here again. The page has no word of the address in it: anybody can write an address.
        let (code, description) = match error {
            "access_denied" => (Some("access_denied"), "No workspace expects this address."),
            _ => (None, "You could not be signed in."),
        };
        let look = look(&visit.state, &visit.environment, None).await?;
        let frame = visit.frame(&look, None, "", None);
        let page = pages::Failure {
            frame,
            status: StatusCode::FORBIDDEN,
            title: None,
            description,
            code,
            id: None,
            restart: Some(OPERATOR_PAGE),
        };
        return Ok(page.render());
    }
    let core = &visit.state.core;
    let Some(client) = clients::default_application(core, visit.environment.id).await? else {
        return Ok(reply::not_found());
    };
    let back = format!("{}{OPERATOR_PAGE}", visit.environment.origin);
    Ok(redirect(&format!(
        "/oauth/authorize?response_type=code&scope=openid&client_id={}&redirect_uri={}&state={}",
        uri::encode(&client.client_id),
        uri::encode(&back),
        core.random.base62(22),
    )))
}

/// The address of the browser's user, and the members that they are.
async fn known(visit: &Visit, session: &Session) -> Result<(String, Vec<Member>)> {
    let core = &visit.state.core;
    let Some(user) = session.user else { return Ok((String::new(), Vec::new())) };
    let view = users::get(core, visit.environment.id, users::Identity::Id(user)).await?;
    Ok((view.user.email, members::of_user(core, &visit.environment, user).await?))
}

/// A token of the management API for the operator whose browser asks, in the workspace of the field `workspace_id`; it may be left out
/// where there is only one to choose. An invitation is taken up by naming its workspace.
async fn token(visit: &Visit) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let session = match visit.session().await? {
        Some(session) if visit.is_own => session,
        _ => return Ok(refused(StatusCode::UNAUTHORIZED, 16, "UNAUTHENTICATED", "sign in first", &[])),
    };
    let (_, members) = known(visit, &session).await?;
    let mut listed = Vec::with_capacity(members.len());
    for member in &members {
        let workspace = workspaces::get(core, member.workspace).await?;
        listed.push(json!({
            "workspace_id": workspace.id.to_string(),
            "display_name": workspace.display_name,
            "member_id": member.id.to_string(),
            "role": member.role,
            "status": if member.is_active() { "ACTIVE" } else { "PENDING_INVITE" },
        }));
    }
    let active: Vec<&Member> =
        members.iter().filter(|member| member.status(core.clock.now()) == Status::Active).collect();
    let asked = visit.field("workspace_id");
    let workspace = match (asked, active.as_slice()) {
        ("", [one]) => one.workspace,
        ("", _) => {
            let text = "name a workspace_id";
            return Ok(refused(StatusCode::BAD_REQUEST, 3, "INVALID_ARGUMENT", text, &listed));
        }
        (asked, _) => match WorkspaceId::parse(asked) {
            Some(workspace) => workspace,
            None => return Ok(foreign(&listed)),
        },
    };
    let (Some(user), now) = (session.user, core.clock.now()) else { return Ok(foreign(&listed)) };
    let member = match members::enter(core, &visit.environment, user, workspace).await {
        Ok(member) => member,
        Err(error) if error.kind() == Kind::PermissionDenied => return Ok(foreign(&listed)),
        Err(error) => return Err(error),
    };
    let end = session.idle_expires_at.map_or(session.expires_at, |idle| idle.min(session.expires_at));
    let left = std::time::Duration::from_micros(u64::try_from(end.0 - now.0).unwrap_or(0));
    let lifetime = visit.environment.session.access_token_expiry.duration().min(left);
    let minted = tokens::mint_operator(core, &visit.environment, &session, &member, lifetime).await?;
    let mut response = reply::value(
        StatusCode::OK,
        &json!({
            "access_token": minted.access_token,
            "token_type": "Bearer",
            "expires_in": minted.expires_in,
            "workspace_id": workspace.to_string(),
            "member_id": member.id.to_string(),
            "workspaces": listed,
        }),
    );
    no_store(&mut response);
    Ok(response)
}

fn foreign(workspaces: &[Value]) -> Response<Body> {
    let text = "you are not a member of this workspace";
    refused(StatusCode::FORBIDDEN, 7, "PERMISSION_DENIED", text, workspaces)
}

fn refused(status: StatusCode, code: u32, error_code: &str, message: &str, workspaces: &[Value]) -> Response<Body> {
    let body = json!({"code": code, "message": message, "error_code": error_code, "workspaces": workspaces});
    let mut response = reply::value(status, &body);
    no_store(&mut response);
    response
}

fn no_store(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
}

/// Opening a one-time link changes nothing; the button does.
async fn link(visit: &Visit) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let secret = visit.path.strip_prefix(LINK).unwrap_or_default();
    let csrf = Csrf::of(secret);
    let look = look(&visit.state, &visit.environment, None).await?;
    let Some(member) = members::link_target(core, secret).await? else { return Ok(ended(visit, &look)) };
    if visit.method != Method::POST || !visit.is_genuine(&csrf) {
        let frame = visit.frame(&look, None, csrf.text(), None);
        return Ok(pages::ConfirmLink { frame, action: &visit.path, email: &member.email }.render());
    }
    let current = visit.session_id().await?;
    let entered = login::enter_by_operator_link(core, &visit.environment, secret, &visit.visitor, current).await?;
    let Some(entered) = entered else { return Ok(ended(visit, &look)) };
    let mut response = redirect(OPERATOR_PAGE);
    if let Some(cookie) = &entered.cookie {
        cookies::set_session(response.headers_mut(), &visit.environment.session, cookie, core.clock.now());
    }
    Ok(response)
}

fn ended(visit: &Visit, look: &pages::Look) -> Response<Body> {
    let frame = visit.frame(look, None, "", None);
    let page = pages::Failure {
        frame,
        status: StatusCode::GONE,
        title: None,
        description: "This link has been used, or its time is over. `narthex admin operator-link` makes another.",
        code: None,
        id: None,
        restart: Some(OPERATOR_PAGE),
    };
    page.render()
}
