//! Pages that only say something.

use http::StatusCode;

use super::{Frame, Page};

/// After a logout that leads nowhere else.
#[derive(Debug, askama::Template)]
#[template(path = "signed_out.html")]
pub struct SignedOut<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Where to log in again.
    pub sign_in: Option<&'a str>,
}

/// Asked before a logout that no application vouches for. Posts nothing but `csrf` to `action`.
#[derive(Debug, askama::Template)]
#[template(path = "confirm_sign_out.html")]
pub struct ConfirmSignOut<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Where to go instead.
    pub cancel: Option<&'a str>,
    /// Who is logged in.
    pub email: &'a str,
}

/// Something went wrong that the application cannot be told.
#[derive(Debug, askama::Template)]
#[template(path = "failure.html")]
pub struct Failure<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Status of the answer.
    pub status: StatusCode,
    /// Says more than the usual heading, if it is set.
    pub title: Option<&'a str>,
    /// What happened, for people.
    pub description: &'a str,
    /// The error's code, e.g. `invalid_redirect_uri`.
    pub code: Option<&'a str>,
    /// Id of its record (`err_…`).
    pub id: Option<&'a str>,
    /// Where to start again.
    pub restart: Option<&'a str>,
}

/// The browser keeps no cookies.
#[derive(Debug, askama::Template)]
#[template(path = "enable_cookies.html")]
pub struct EnableCookies<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Where to try again.
    pub retry: Option<&'a str>,
}

/// Any other word to a person.
#[derive(Debug, askama::Template)]
#[template(path = "notice.html")]
pub struct Notice<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Heading.
    pub title: &'a str,
    /// Text.
    pub text: &'a str,
    /// Where to go on: URL and what the link says.
    pub link: Option<(&'a str, &'a str)>,
}

macro_rules! pages {
    ($($page:ident)*) => {$(
        impl Page for $page<'_> {
            fn frame(&self) -> &Frame<'_> {
                &self.frame
            }
        }
    )*};
}
pages!(SignedOut ConfirmSignOut EnableCookies Notice);

impl Page for Failure<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    fn status(&self) -> StatusCode {
        self.status
    }
}
