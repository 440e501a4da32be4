//! Challenges. What one was made for is sealed in itself, so that asking for one writes nothing; that it was answered is written down.

use std::time::Duration;

use narthex_db::{Tx, p};

use super::webauthn::Ceremony;
use super::{settings::Settings, stale};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Kind, Result};
use crate::ids::{EnvId, SessionId};
use crate::seal::{self, Place, Sealed, sha256};

/// Random bytes beside those of the seal (WebAuthn §13.4.3 asks for 16).
const RANDOM: usize = 16;
/// How much longer an answer is remembered than its challenge counts: clocks of nodes differ.
const REMEMBERED: Duration = Duration::from_mins(10);

/// A challenge of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Its SHA-256.
    pub(super) hash: [u8; 32],
    pub(super) expires_at: Timestamp,
    pub(super) must_verify_user: bool,
    /// Key of the address that the login was begun for.
    pub(super) email_key: Option<String>,
}

/// What a challenge is for. One for a session is worth nothing to another, nor the other way round.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// A new passkey of the user of this session.
    Registration(SessionId),
    /// A login.
    Authentication,
}

impl Purpose {
    pub(super) fn ceremony(self) -> Ceremony {
        match self {
            Self::Registration(_) => Ceremony::Registration,
            Self::Authentication => Ceremony::Authentication,
        }
    }

    fn place(self, environment: EnvId) -> Place<'static> {
        let (column, row) = match self {
            Self::Registration(session) => ("registration", session.0),
            Self::Authentication => ("authentication", 0),
        };
        Place { environment, table: "passkeys", column, row }
    }
}

/// A new challenge.
pub(super) async fn make(
    core: &Core,
    environment: EnvId,
    purpose: Purpose,
    settings: &Settings,
    email_key: Option<&str>,
) -> Result<Vec<u8>> {
    let lifetime = match purpose {
        Purpose::Registration(_) => settings.registration,
        Purpose::Authentication => settings.login,
    };
    let expires_at = core.clock.now().plus(lifetime);
    let mut plain = core.random.bytes::<RANDOM>().to_vec();
    plain.extend_from_slice(&expires_at.0.to_be_bytes());
    plain.push(u8::from(settings.must_verify_user()) | u8::from(email_key.is_some()) << 1);
    plain.extend_from_slice(email_key.unwrap_or_default().as_bytes());
    Ok(seal::seal(core, purpose.place(environment), &plain).await?.into_bytes())
}

/// Reads a challenge that came back: INVALID_ARGUMENT unless it was made for this very purpose and has time left.
pub(super) async fn read(core: &Core, environment: EnvId, purpose: Purpose, challenge: Vec<u8>) -> Result<Challenge> {
    let hash = sha256(&challenge);
    let opened = seal::open(core, purpose.place(environment), &Sealed::from_bytes(challenge)).await;
    let plain = opened.map_err(|error| if error.kind() == Kind::Internal { stale() } else { error })?;
    let (_, rest) = plain.expose().split_at_checked(RANDOM).ok_or_else(stale)?;
    let (expires_at, rest) = rest.split_first_chunk::<8>().ok_or_else(stale)?;
    let (bits, email_key) = rest.split_first().ok_or_else(stale)?;
    let email_key = std::str::from_utf8(email_key).map_err(|_| stale())?;
    let expires_at = Timestamp(i64::from_be_bytes(*expires_at));
    if expires_at <= core.clock.now() {
        return Err(stale());
    }
    Ok(Challenge {
        hash,
        expires_at,
        must_verify_user: bits & 1 != 0,
        email_key: (bits & 2 != 0).then(|| email_key.to_owned()),
    })
}

/// Writes down that a challenge is answered; whether it was not before.
pub(super) async fn answer(tx: &mut Tx, challenge: &Challenge) -> Result<bool> {
    let sql = "INSERT INTO passkey_answers (challenge, expires_at) VALUES ($1, $2) ON CONFLICT (challenge) DO NOTHING";
    Ok(tx.execute(sql, &p![challenge.hash, challenge.expires_at.plus(REMEMBERED)]).await? == 1)
}
