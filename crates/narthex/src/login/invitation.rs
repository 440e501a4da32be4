//! `/invite/{secret}`: the link of an invitation's mail. Opening it changes nothing; the button does.

use http::{Method, Response};
use narthex_core::Result;
use narthex_core::login;

use super::steps::restart_of;
use super::visit::{Csrf, Visit};
use super::{cookies, look, redirect};
use crate::pages::{self, InvitationEnding, Page as _};
use crate::reply::Body;

/// Shows an invitation, and takes it up.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    let core = &visit.state.core;
    let secret = visit.path.strip_prefix("/invite/").unwrap_or_default();
    let csrf = Csrf::of(secret);
    let Some(invite) = login::peek_invitation(core, visit.environment.id, secret).await? else {
        return ended(visit).await;
    };
    if visit.method != Method::POST || !visit.is_genuine(&csrf) {
        let look = look(&visit.state, &visit.environment, Some(invite.organization.id)).await?;
        let page = pages::AcceptInvitation {
            frame: visit.frame(&look, None, csrf.text(), None),
            action: &visit.path,
            organization: &invite.organization.display_name,
            inviter: invite.inviter_email.as_deref(),
            email: &invite.user.email,
        };
        return Ok(page.render());
    }
    let current = visit.session_id().await?;
    let accepted = login::accept_invitation(core, &visit.environment, secret, &visit.visitor, current).await?;
    let Some(accepted) = accepted else { return ended(visit).await };
    let mut response = if let Some(uri) = &accepted.continue_at {
        redirect(uri)
    } else {
        let look = look(&visit.state, &visit.environment, Some(accepted.organization.id)).await?;
        let frame = visit.frame(&look, None, "", None);
        pages::InvitationAccepted { frame, organization: &accepted.organization.display_name, sign_in: None }.render()
    };
    if let Some(cookie) = &accepted.cookie {
        cookies::set_session(response.headers_mut(), &visit.environment.session, cookie, core.clock.now());
    }
    Ok(response)
}

async fn ended(visit: &Visit) -> Result<Response<Body>> {
    let look = look(&visit.state, &visit.environment, None).await?;
    let sign_in = restart_of(visit, None).await?;
    let frame = visit.frame(&look, None, "", None);
    Ok(pages::InvitationEnded { frame, ending: InvitationEnding::Used, sign_in: sign_in.as_deref() }.render())
}
