//! Logins: from an authorization request to a code. What a browser shows in between is decided here and drawn elsewhere.
//!
//! A login is a row of `auth_requests` that moves through [`Stage`]s; each step is one transaction that checks the stage it leaves, so
//! that a step taken twice counts once. The browser that began it holds a secret, whose hash is in the row. A request that a live
//! session answers at once leaves no row at all.

mod authorize;
mod begin;
mod captcha;
mod complete;
mod consent;
mod errors;
mod identify;
mod invitation;
mod operator;
mod organizations;
mod store;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use authorize::{Authorize, Expected, Params, Prompt, Request, placeholder, read};
pub use begin::{Begun, begin};
pub use captcha::check_captcha;
pub use complete::{Done, Outcome, SessionCookie};
pub use consent::{ConsentView, Consented, consent_view, deny, grant_consent};
pub use errors::{AuthError, keep_error, kept_error};
pub use identify::{
    follow_link, peek_link, resend, resume, submit_code, submit_code_and_hold, submit_email, submit_passkey,
    submit_totp,
};
pub use invitation::{Accepted, Invite, accept_invitation, peek_invitation};
pub use operator::{OPERATOR_PAGE, OperatorEntered, enter_by_operator_link, prepare_operators};
pub use organizations::{
    Choice, Choices, NewOrganization, choices, choose, create_organization, found_organization, leave,
};
pub(crate) use store::purge_of_user;
pub use store::{BrowserSecret, Trace, begun_by, load};

pub use crate::passwordless::Intent;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AuthRequestId, ConnectionId, EnvId, OrganizationId, SessionId, UserId};
use crate::sessions::Device;
use crate::uri;

/// Where a login stands, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nobody has said who they are.
    Identify,
    /// An address waits to be proven.
    Verify,
    /// The user is known, and has an authenticator app that has not been asked.
    SecondFactor,
    /// The user is known; the organization is not.
    Choose,
    /// User and organization are known and a session is open; the user is offered a passkey.
    Offer,
    /// User and organization are known; the user has to consent.
    Consent,
    /// There is a code, or a refusal.
    Finished,
}

/// What has been proven, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// By what means.
    pub method: Method,
    /// The connection behind it; none for a session or an invitation.
    pub connection: Option<ConnectionId>,
    /// The address that was proven.
    pub email: String,
    /// When.
    pub at: Timestamp,
    /// Who has proven two factors: by a code of their authenticator app as well, or by a passkey that has verified its user, which is two by
    /// itself.
    #[serde(default)]
    pub two_factors: Option<UserId>,
}

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By a code or link in a mail.
    Passwordless,
    /// By a passkey.
    Passkey,
    /// By the session that the browser has.
    Session,
}

/// A login that is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthRequest {
    /// Id.
    pub id: AuthRequestId,
    /// Environment.
    pub environment: EnvId,
    /// What the application asks for.
    pub authorize: Authorize,
    /// What the user came for.
    pub intent: Intent,
    /// Where it stands.
    pub stage: Stage,
    /// The address that is being proven, or was.
    pub email: Option<String>,
    /// The passwordless challenge that was sent.
    pub challenge: Option<String>,
    /// What has been proven.
    pub proof: Option<Proof>,
    /// Who it is.
    pub user: Option<UserId>,
    /// Where they go.
    pub organization: Option<OrganizationId>,
    /// The session that it goes on with.
    pub session: Option<SessionId>,
    /// Creation.
    pub created_at: Timestamp,
    /// End.
    pub expires_at: Timestamp,
}

/// The browser of a request.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// What it says of itself.
    pub device: Device,
}

/// What a step of a login leads to.
#[derive(Debug)]
pub enum Step {
    /// The page of this stage.
    Page(Stage),
    /// Back to the application.
    Done(Done),
    /// The same page, with what is wrong.
    Problem(Problem),
    /// The login is over.
    Failed(Failure),
}

/// What is wrong with an input. The login goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not an e-mail address.
    BadAddress,
    /// No way to sign in with this address.
    NoMethod,
    /// Addresses of this domain may not sign up.
    BlockedDomain,
    /// Too many mails or tries; wait so many seconds.
    TooMany(u32),
    /// The mail could not be sent.
    MailFailed,
    /// There is no captcha's token, or none that is good.
    CaptchaRefused,
    /// Nobody can tell whether it is good.
    CaptchaUnavailable,
    /// The code is wrong.
    WrongCode,
    /// The code has run out, or was used.
    ExpiredCode,
    /// Too many wrong codes: start again.
    Locked,
    /// Too many wrong codes of the authenticator app: wait.
    TotpLocked,
    /// The link must be opened in the browser that asked for it.
    OtherBrowser,
    /// The passkey was not accepted.
    PasskeyRefused,
    /// No seat is left in the organization.
    NoSeat,
    /// The choice is not one of those offered.
    BadChoice,
    /// The name cannot be an organization's.
    BadName,
    /// The step was taken already, perhaps in another tab.
    Gone,
}

/// The end of a login without a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// For the error page: nobody is known to tell.
    Page {
        /// `error`.
        code: Cow<'static, str>,
        /// `error_description`.
        description: Cow<'static, str>,
    },
    /// For the application, at this URL.
    Application {
        /// `redirect_uri` with `error`, `error_description` and `state`.
        location: String,
    },
}

impl Failure {
    /// For the error page.
    pub fn page(code: &'static str, description: &'static str) -> Self {
        Self::Page { code: code.into(), description: description.into() }
    }

    /// For the application (RFC 6749 §4.1.2.1, RFC 9207).
    fn to_application(
        redirect_uri: &str,
        state: Option<&str>,
        issuer: Option<&str>,
        code: &str,
        description: &str,
    ) -> Self {
        let pairs =
            [("error", Some(code)), ("error_description", Some(description)), ("state", state), ("iss", issuer)];
        Self::Application { location: with_query(redirect_uri, &pairs) }
    }
}

impl Authorize {
    /// The application is told that the login failed.
    pub fn failure(&self, code: &str, description: &str) -> Failure {
        Failure::to_application(&self.redirect_uri, self.state.as_deref(), self.issuer.as_deref(), code, description)
    }

    /// Where the browser takes a code.
    fn answer(&self, code: &str) -> String {
        let pairs = [("code", Some(code)), ("state", self.state.as_deref()), ("iss", self.issuer.as_deref())];
        with_query(&self.redirect_uri, &pairs)
    }
}

/// A URI with parameters added to its query; those without a value are left out.
fn with_query(uri: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = uri.to_owned();
    let mut separator = if uri.contains('?') { '&' } else { '?' };
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push(separator);
            text.push_str(name);
            text.push('=');
            text.push_str(&uri::encode(value));
            separator = '&';
        }
    }
    text
}

/// A step that came too late: another one has moved the login on.
fn gone() -> Step {
    Step::Problem(Problem::Gone)
}

/// The row is not what the code wrote.
fn broken(what: &str) -> Error {
    Error::internal(format!("auth request: {what}"))
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn authz_11_answers_keep_a_query_and_encode_what_they_add() {
        let pairs = [("code", Some("a b&c=d")), ("none", None), ("state", Some("ü/?"))];
        assert_eq!(with_query("https://a.b/cb", &pairs), "https://a.b/cb?code=a%20b%26c%3Dd&state=%C3%BC%2F%3F");
        assert_eq!(with_query("cursor://x/cb?u=1", &pairs[..1]), "cursor://x/cb?u=1&code=a%20b%26c%3Dd");
    }
}
