//! `/oidc/logout` (OpenID Connect RP-Initiated Logout 1.0; oauth-oidc reference §9.1).

use http::{HeaderValue, Method, Response, StatusCode, header};
use narthex_core::grants::{self, LoggedOut, Logout};
use narthex_core::{Result, uri};

use super::cookies;
use super::visit::Visit;
use super::{look, redirect};
use crate::pages::{Failure, Page as _, SignedOut};
use crate::reply::{self, Body};

const PATH: &str = "/oidc/logout";
/// The parameters that count.
const PARAMETERS: [&str; 4] = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];

/// Ends the session of the browser.
pub async fn serve(visit: &Visit) -> Result<Response<Body>> {
    if visit.method == Method::POST {
        // A browser keeps the session's cookie from the form of another site, and shows it to the address that the form leads on to.
        return Ok(redirect(&format!("{PATH}{}", query_of(visit))));
    }
    // A picture or a script of another site must not end a session, whatever the cookie's settings let through.
    if !visit.is_navigation {
        return Ok(reply::plain_error(
            StatusCode::BAD_REQUEST,
            3,
            "INVALID_ARGUMENT",
            "open this address in a browser",
        ));
    }
    let text = |name| visit.query(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let session = visit.session().await?;
    let request = Logout {
        session,
        id_token_hint: text("id_token_hint"),
        client_id: text("client_id"),
        redirect_uri: text("post_logout_redirect_uri"),
        state: text("state"),
    };
    let look = look(&visit.state, &visit.environment, None).await?;
    let frame = visit.frame(&look, None, "", None);
    let mut response = match grants::log_out(&visit.state.core, &visit.environment, request).await? {
        LoggedOut::At(location) => {
            let mut response = redirect(&location);
            *response.status_mut() = StatusCode::FOUND;
            response
        }
        LoggedOut::Here(sign_in) => SignedOut { frame, sign_in: sign_in.as_deref() }.render(),
        LoggedOut::Astray(code, description) => Failure {
            frame,
            status: StatusCode::BAD_REQUEST,
            title: None,
            description,
            code: Some(code),
            id: None,
            restart: None,
        }
        .render(),
    };
    cookies::clear_session(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The form's parameters as a query.
fn query_of(visit: &Visit) -> String {
    let mut query = String::new();
    for name in PARAMETERS {
        let value = match visit.field(name) {
            "" => visit.query(name).unwrap_or_default(),
            value => value,
        };
        if !value.is_empty() {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            query.push_str(&uri::encode(value));
        }
    }
    query
}
