//! Proof that an address is somebody's: a code, a link or both go to it by mail, and come back once.
//!
//! Codes and links are kept nowhere. Both follow from a random seed in the request's row under the environment's sealed key, so that the
//! same ones can be sent again; a link is found by its SHA-256.

mod code;
mod mail;
mod send;
mod sends;
mod store;
mod verify;

use std::collections::BTreeMap;

pub use send::{begin, resend};
pub(crate) use verify::Attempt;
pub use verify::{describe, peek_link, verify_code, verify_link};

pub use crate::connections::{CodeType, Delivery};

use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::ids::AuthRequestId;

/// Why somebody wants to prove an address, which decides what the mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    /// To sign in.
    SignIn = 1,
    /// To sign up.
    SignUp = 2,
}

impl Intent {
    fn from_number(number: i32) -> Option<Self> {
        [Self::SignIn, Self::SignUp].into_iter().find(|&intent| intent as i32 == number)
    }
}

/// Whom a proof is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// An application that shows its own pages.
    Headless(Headless),
    /// A login on the hosted pages.
    Hosted {
        /// The login.
        auth_request: AuthRequestId,
        /// What stands before the token in a link, e.g. `https://auth.acme.com/magicLink/`.
        link_base: String,
    },
}

/// What an application says of its request.
#[derive(Debug, Clone, Default)]
pub struct Headless {
    /// The application's page that a link leads to.
    pub magiclink_auth_uri: Option<String>,
    /// Comes back with the proof, unchanged.
    pub state: Option<String>,
    /// Comes back with the proof, as the wire's number.
    pub template: Option<i32>,
    /// Seconds that code and link are good for; the environment says if this does not, or says 0.
    pub expires_in: Option<u32>,
    /// Variables of the mail's template.
    pub variables: BTreeMap<String, String>,
}

/// A request for a proof.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The address.
    pub email: String,
    /// Why.
    pub intent: Intent,
    /// For whom.
    pub purpose: Purpose,
}

/// A mail that was sent, and what is asked for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the proof is given with. Opaque, and no secret by itself.
    pub id: String,
    /// What the mail carries.
    pub kind: Delivery,
    /// Characters of the code.
    pub code_length: u32,
    /// What the code is made of.
    pub code_type: CodeType,
    /// Until when code and link are good.
    pub expires_at: Timestamp,
    /// Seconds from the mail until then.
    pub expires_in: u32,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The address is proven. It happens once per request.
    Verified(Verified),
    /// It is not. What counts against the request has been counted.
    Refused(Refusal),
}

/// A proven address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The address, as it was given.
    pub email: String,
    /// Why it was proven.
    pub intent: Intent,
    /// What the mail carried.
    pub kind: Delivery,
    /// The login that it was for; None for an application's own.
    pub auth_request: Option<AuthRequestId>,
    /// What the application gave along.
    pub state: Option<String>,
    /// Likewise, as the wire's number.
    pub template: Option<i32>,
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no such request.
    Unknown,
    /// There is no such link.
    UnknownLink,
    /// The mail had no code.
    NoCode,
    /// The code is another one.
    WrongCode,
    /// Too late.
    Expired,
    /// Code or link have served already.
    Used,
    /// Too many wrong codes: this request is over, whatever comes.
    Locked,
    /// The link is not that of the request it was given with.
    OtherRequest,
    /// The link must be opened where it was asked for, so that its request must be named.
    OtherBrowser,
}

impl From<Refusal> for Error {
    /// As an application is told (login methods reference §6.3).
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::not_found(AuthRequestId::NOUN),
            Refusal::UnknownLink => {
                Self::invalid("link_token", "passwordless.unknown", "is not a link that can be used")
            }
            Refusal::NoCode => Self::invalid("code", "passwordless.type", "no code was sent, but a link"),
            Refusal::WrongCode => Self::invalid("code", "passwordless.code", "is not the code that was sent"),
            Refusal::Expired => {
                Self::invalid("", "passwordless.expired", "the code or link has expired: send it again")
            }
            Refusal::Used => Self::invalid("", "passwordless.used", "the code or link has been used already"),
            Refusal::Locked => {
                Self::new(Kind::ResourceExhausted, "too many wrong codes: this request is closed, start a new one")
            }
            Refusal::OtherRequest => Self::invalid(
                "auth_request_id",
                "passwordless.request",
                "is not the request that the link was sent for",
            ),
            Refusal::OtherBrowser => Self::invalid(
                "auth_request_id",
                "required",
                "is required: a link must be opened in the browser that asked for it",
            ),
        }
    }
}
