//! API tokens: opaque keys for the customers of an application, always validated online. They have 285 bits of entropy, so that their
//! SHA-256 is all that is kept.

mod change;
mod last_used;
mod list;
mod store;
mod validate;

use std::collections::BTreeMap;

pub use change::{NewApiToken, create, invalidate, update};
pub(crate) use change::{purge_of_organization, purge_of_user, void_of_organization};
pub use last_used::{LastUsed, flush_last_used};
pub use list::{LIST, list};
pub use store::sweep;
pub(crate) use validate::Known;
pub use validate::validate;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{ApiTokenId, EnvId, OrganizationId, UserId};
use crate::seal::sha256;

/// The record of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Id.
    pub id: ApiTokenId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Organization that it acts for.
    pub organization: OrganizationId,
    /// The member that it acts for, if it is not the organization's as a whole.
    pub user: Option<UserId>,
    /// Its last four characters.
    pub suffix: String,
    /// What its maker says of it.
    pub description: Option<String>,
    /// The application's own data.
    pub custom_claims: BTreeMap<String, String>,
    /// When it stops to count; never, if there is none.
    pub expires_at: Option<Timestamp>,
    /// Creation.
    pub created_at: Timestamp,
}

impl ApiToken {
    fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A token with what is known of whom it acts for, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The token.
    pub token: ApiToken,
    /// The application's own id of the organization.
    pub organization_external_id: Option<String>,
    /// The member that it acts for.
    pub holder: Option<Holder>,
}

/// Whom a token of a user acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The application's own id of the user.
    pub external_id: Option<String>,
    /// Address.
    pub email: String,
    /// Names of the user's roles in the organization.
    pub roles: Vec<String>,
}

/// How a caller names a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reference {
    Value([u8; 32]),
    Id(ApiTokenId),
}

impl Reference {
    /// Reads a token or the id of one. Tokens are letters and digits only, so that neither is ever taken for the other.
    fn parse(text: &str) -> Result<Self, Error> {
        if text.starts_with(ApiTokenId::PREFIX) {
            return ApiTokenId::parse(text).map(Self::Id).ok_or_else(not_found);
        }
        Ok(Self::Value(sha256(text.as_bytes())))
    }
}

/// The answer to what is no token of the environment, or no longer. Never UNAUTHENTICATED: every SDK would fetch a new access token
/// and ask again (sdk-clients reference §5.3).
pub fn not_found() -> Error {
    Error::not_found(ApiTokenId::NOUN)
}
