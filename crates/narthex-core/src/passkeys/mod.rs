//! Passkeys: credentials of WebAuthn that a user's devices keep, and that sign them in.

mod aaguids;
mod authenticate;
mod challenge;
mod manage;
mod register;
mod settings;
mod store;
pub mod webauthn;

pub use authenticate::{Assertion, Begun, Proven, Redeemed, begin_authentication, finish_authentication, redeem};
pub use manage::{delete, list, rename};
pub use register::{MOST, NewPasskey, begin_registration, finish_registration};
pub use settings::{Settings, related_origins, rp_id, settings};
pub(crate) use store::{has_any, purge_of_user};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::ids::{CredentialId, EnvId, UserId};
use crate::sessions::Device;
use webauthn::{Flags, Flaw, Part};

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Id of the record.
    pub id: CredentialId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Whose it is.
    pub user: UserId,
    /// The authenticator's own id of it.
    pub credential_id: Vec<u8>,
    /// The RP id that it was made for.
    pub rp_id: String,
    /// Its key, as COSE has it.
    pub public_key: Vec<u8>,
    /// How often the authenticator says that it was used; always 0 for many.
    pub counter: u32,
    /// What the authenticator saw when it was made, and whether there are copies now.
    pub flags: Flags,
    /// Model of the authenticator, as it says itself.
    pub aaguid: [u8; 16],
    /// Whether the authenticator was asked who made it: `none`, `indirect`, `direct`.
    pub conveyance: String,
    /// How the authenticator can be reached (`internal`, `usb`, …).
    pub transports: Vec<String>,
    /// `platform`, `cross-platform`, or empty if the browser did not say.
    pub attachment: String,
    /// The user's own name for it.
    pub display_name: Option<String>,
    /// The browser in which it was made.
    pub device: Device,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change of the name.
    pub updated_at: Timestamp,
    /// Last login with it.
    pub last_used_at: Option<Timestamp>,
}

impl Passkey {
    /// Name of the authenticator's model, empty if it is not known.
    pub fn authenticator(&self) -> &'static str {
        aaguids::name(&self.aaguid)
    }

    /// The id of the model as it is usually written; empty if the authenticator does not tell.
    pub fn aaguid_text(&self) -> String {
        if self.aaguid == [0; 16] { String::new() } else { aaguids::text(&self.aaguid) }
    }
}

/// What authenticators know a user by: the bytes of the id, which says nothing about the person.
pub fn user_handle(user: UserId) -> String {
    user.to_string()
}

/// base64url, as WebAuthn's JSON has bytes.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The answer to an id that is no passkey there.
pub fn not_found() -> Error {
    Error::not_found(CredentialId::NOUN)
}

/// A challenge that is none of ours, too old, or answered already.
fn stale() -> Error {
    Error::new(Kind::InvalidArgument, "the challenge has expired or was answered before: begin again")
        .with_code("PASSKEY_CHALLENGE_STALE")
}

/// The answer to a use that proves nothing, whatever the reason, so that nothing is learnt of anybody's account.
fn refused() -> Error {
    Error::new(Kind::InvalidArgument, "this passkey cannot be used to sign in").with_code("PASSKEY_REFUSED")
}

/// The part of a request that is flawed; `prefix` leads to it.
fn flawed(flaw: Flaw, prefix: &str) -> Error {
    let field = match flaw.part {
        Part::ClientData => "client_data_json",
        Part::Attestation => "attestation_object",
        Part::AuthenticatorData => "authenticator_data",
        Part::Signature => return refused(),
    };
    Error::invalid(format!("{prefix}{field}"), "webauthn", flaw.reason)
}
