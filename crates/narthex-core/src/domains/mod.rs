//! Domains of organizations: what says whose an e-mail address is. An organization domain routes sign-ins and is trusted, so it is
//! proven or vouched for; an allowed e-mail domain only suggests the organization to whoever has an address there.

mod authorized;
mod change;
mod lists;
mod name;
mod read;
mod store;
mod verify;

pub use authorized::authorized;
pub(crate) use change::purge;
pub use change::{NewDomain, create, delete};
pub use lists::{is_disposable, is_public};
pub use name::DomainName;
pub(crate) use name::is_registrable;
pub use read::{LIST, Listed, get, list};
pub use verify::{POLL, WINDOW, poll, verify};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{DomainId, EnvId, OrganizationId};

/// What a domain is for (`scalekit.v1.domains.DomainType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainType {
    /// Suggests the organization at sign-in and sign-up.
    AllowedEmail = 1,
    /// Routes sign-ins to the organization's connection.
    Organization = 2,
}

impl DomainType {
    /// The type of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::AllowedEmail, Self::Organization].into_iter().find(|&kind| kind as i32 == number)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AllowedEmail => "ALLOWED_EMAIL_DOMAIN",
            Self::Organization => "ORGANIZATION_DOMAIN",
        }
    }
}

/// Whether a domain counts (`scalekit.v1.domains.VerificationStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not proven yet.
    Pending = 1,
    /// Proven or vouched for.
    Verified = 2,
    /// Not proven in time.
    Failed = 3,
    /// Needs no proof.
    AutoVerified = 4,
}

impl Status {
    fn from_number(number: i32) -> Option<Self> {
        [Self::Pending, Self::Verified, Self::Failed, Self::AutoVerified]
            .into_iter()
            .find(|&status| status as i32 == number)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Verified => "VERIFIED",
            Self::Failed => "FAILED",
            Self::AutoVerified => "AUTO_VERIFIED",
        }
    }
}

/// How a domain is proven (`scalekit.v1.domains.VerificationMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The application vouches for it.
    Admin = 1,
    /// By a TXT record.
    Dns = 2,
    /// Not at all.
    NotApplicable = 3,
}

impl Method {
    fn from_number(number: i32) -> Option<Self> {
        [Self::Admin, Self::Dns, Self::NotApplicable].into_iter().find(|&method| method as i32 == number)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Dns => "DNS",
            Self::NotApplicable => "NOT_APPLICABLE",
        }
    }
}

/// A domain of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Id.
    pub id: DomainId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Organization that it belongs to.
    pub organization: OrganizationId,
    /// The name, in lower case and ASCII.
    pub name: String,
    /// What it is for.
    pub kind: DomainType,
    /// Whether it counts.
    pub status: Status,
    /// How it is proven.
    pub method: Method,
    /// First half of the proof; empty without one. A TXT record `key=secret` at the domain, or `secret` at `key.domain`.
    pub txt_key: String,
    /// Second half of the proof.
    pub txt_secret: String,
    /// Until when a proof is looked for.
    pub window_ends_at: Option<Timestamp>,
    /// Looks so far.
    checks: i64,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Who adds a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The application or an operator, who vouch for it.
    Application,
    /// An administrator of the organization, who has to prove it.
    Organization,
}

/// The answer to what is no domain of the organization.
pub fn not_found() -> Error {
    Error::not_found(DomainId::NOUN)
}
