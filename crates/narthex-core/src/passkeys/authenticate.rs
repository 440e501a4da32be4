//! How a passkey is used. Who asks for a challenge is told the same whatever address they name; what is proven is a token that the login
//! takes once.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::{Tx, p};
use serde_json::{Value, json};

use super::challenge::{self, Purpose};
use super::webauthn::{self, Asserted, ClientData, Flags, PublicKey};
use super::{Passkey, base64url, flawed, refused, settings, stale, store, user_handle};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::{CredentialId, EnvId, UserId};
use crate::organizations::share;
use crate::seal::{Secret, sha256};
use crate::users::{self, Identity};

/// How long the login may take to pick up what was proven.
const PROOF: Duration = Duration::from_mins(2);
/// Characters of a token: about 256 bits.
const LENGTH: usize = 43;

/// What a browser needs to ask an authenticator.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// Names the challenge.
    pub session_id: String,
    /// Options for `navigator.credentials.get`, in WebAuthn's JSON form.
    pub options: Value,
}

/// What a browser brings back.
#[derive(Debug, Clone, Default)]
pub struct Assertion {
    /// The one of [`Begun`].
    pub session_id: String,
    /// The authenticator's id of the passkey.
    pub credential_id: Vec<u8>,
    /// `type`.
    pub kind: String,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data_json: Vec<u8>,
    /// `signature`.
    pub signature: Vec<u8>,
    /// `userHandle`.
    pub user_handle: Vec<u8>,
}

/// What a passkey has proven.
pub struct Proven {
    /// Who was there.
    pub user: UserId,
    /// The passkey.
    pub passkey: CredentialId,
    /// For [`redeem`].
    pub session_token: Secret<String>,
}

/// A new challenge. With an address, only its owner's passkey will do. The answer is the same for every address, known or not: which
/// passkeys somebody has is nobody's business, and as all of them are discoverable, no list of them is needed.
pub async fn begin_authentication(core: &Core, environment: &Environment, email: Option<&str>) -> Result<Begun> {
    let settings = settings::enabled(core, environment).await?;
    let email_key = email.map(users::key_of);
    let challenge =
        challenge::make(core, environment.id, Purpose::Authentication, &settings, email_key.as_deref()).await?;
    Ok(Begun {
        session_id: session_id(&sha256(&challenge)),
        options: json!({
            "challenge": base64url(&challenge),
            "timeout": u64::try_from(settings.login.as_millis()).unwrap_or(u64::MAX),
            "rpId": settings.rp_ids.first(),
            "allowCredentials": [],
            "userVerification": settings.user_verification,
        }),
    })
}

fn session_id(challenge: &[u8; 32]) -> String {
    base64url(challenge)
}

/// Checks what an authenticator has made of a challenge. A refusal that only the database can tell is written down there.
pub async fn finish_authentication(core: &Core, environment: &Environment, given: Assertion) -> Result<Proven> {
    let settings = settings::enabled(core, environment).await?;
    if !matches!(given.kind.as_str(), "" | "public-key") {
        return Err(Error::invalid("type", "string.in", "must be public-key"));
    }
    let client = ClientData::read(&given.client_data_json).map_err(|flaw| flawed(flaw, "response."))?;
    let purpose = Purpose::Authentication;
    let challenge = challenge::read(core, environment.id, purpose, client.challenge.clone()).await?;
    if session_id(&challenge.hash) != given.session_id {
        return Err(stale());
    }
    let party = settings.party();
    client.check(purpose.ceremony(), &party).map_err(|flaw| flawed(flaw, "response."))?;
    let found = store::find(&mut *core.db.reader().await?, environment.id, &given.credential_id).await?;
    let passkey = found.ok_or_else(unknown)?;
    if given.user_handle != user_handle(passkey.user).as_bytes() {
        return Err(refused());
    }
    let key = PublicKey::read(&passkey.public_key)
        .map_err(|flaw| Error::internal(format!("{}: {}", passkey.id, flaw.reason)))?;
    let assertion = webauthn::Assertion {
        authenticator_data: &given.authenticator_data,
        client_data_json: &given.client_data_json,
        signature: &given.signature,
    };
    let asserted = webauthn::assert(&assertion, &key, &passkey.rp_id, &party, challenge.must_verify_user)
        .map_err(|flaw| flawed(flaw, "response."))?;

    let token = Secret::new(core.random.base62(LENGTH) + mark(asserted.flags.user_verified));
    let proof = Proof { hash: sha256(token.expose().as_bytes()), passkey: passkey.id, user: passkey.user };
    let (id, now, challenge) = (environment.id, core.clock.now(), Arc::new(challenge));
    let outcome = core
        .db
        .write_for(share(id), async move |tx| {
            if !challenge::answer(tx, &challenge).await? {
                return Ok(Outcome::Stale);
            }
            // As it is now: it may be gone, and another login may have counted further.
            let Some(passkey) = store::load(tx, id, proof.passkey).await? else { return Ok(Outcome::Refused) };
            let Some(user) = users::load(tx, id, &Identity::Id(passkey.user)).await? else {
                return Ok(Outcome::Refused);
            };
            if challenge.email_key.as_ref().is_some_and(|key| *key != users::key_of(&user.email)) {
                return Ok(Outcome::Refused);
            }
            if asserted.flags.backup_eligible != passkey.flags.backup_eligible {
                return Ok(Outcome::Refused);
            }
            if counts_backwards(passkey.counter, asserted.counter) {
                let sql = "UPDATE passkeys SET refusals = refusals + 1, refused_at = $2 WHERE id = $1";
                tx.execute(sql, &p![passkey.id, now]).await?;
                return Ok(Outcome::CountedBackwards { stored: passkey.counter });
            }
            used(tx, &passkey, asserted, now).await?;
            proof.insert(tx, id, now).await?;
            Ok::<_, Error>(Outcome::Proven)
        })
        .await?;
    match outcome {
        Outcome::Proven => Ok(Proven { user: proof.user, passkey: proof.passkey, session_token: token }),
        Outcome::Stale => Err(stale()),
        Outcome::Refused => Err(refused()),
        Outcome::CountedBackwards { stored } => {
            tracing::warn!(
                environment = %id,
                passkey = %proof.passkey,
                stored,
                presented = asserted.counter,
                "a passkey's counter went backwards: its authenticator may have been copied"
            );
            Err(refused())
        }
    }
}

enum Outcome {
    Proven,
    Stale,
    Refused,
    CountedBackwards { stored: u32 },
}

/// Authenticators that keep copies of their passkeys do not count: they say 0.
const fn counts_backwards(stored: u32, presented: u32) -> bool {
    stored != 0 && presented != 0 && presented <= stored
}

async fn used(tx: &mut Tx, passkey: &Passkey, asserted: Asserted, now: Timestamp) -> Result<()> {
    let flags = Flags {
        backed_up: asserted.flags.backed_up,
        user_verified: passkey.flags.user_verified || asserted.flags.user_verified,
        ..passkey.flags
    };
    // A login that another one overtook must not turn the counter back.
    let counter = passkey.counter.max(asserted.counter);
    let sql = "UPDATE passkeys SET counter = $2, flags = $3, last_used_at = $4 WHERE id = $1";
    tx.execute(sql, &p![passkey.id, counter, flags.bits(), now]).await?;
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Proof {
    hash: [u8; 32],
    passkey: CredentialId,
    user: UserId,
}

impl Proof {
    async fn insert(self, tx: &mut Tx, environment: EnvId, now: Timestamp) -> Result<()> {
        tx.execute(
            "INSERT INTO passkey_proofs (hash, environment_id, passkey_id, user_id, expires_at) VALUES ($1, $2, $3, $4, $5)",
            &p![self.hash, environment, self.passkey, self.user, now.plus(PROOF)],
        )
        .await?;
        Ok(())
    }
}

/// Takes what a passkey has proven: whom it belongs to. Within the transaction of the login that it belongs to, once. None if the token is
/// unknown, was taken before or is too old.
pub async fn redeem(tx: &mut Tx, environment: EnvId, session_token: &str, now: Timestamp) -> Result<Option<Redeemed>> {
    let hash = sha256(session_token.as_bytes());
    let sql = "DELETE FROM passkey_proofs WHERE hash = $1 AND environment_id = $2 RETURNING user_id, expires_at";
    let taken: Option<(UserId, Timestamp)> = tx.opt(sql, &p![hash, environment]).await?;
    let user_verified = session_token.ends_with(mark(true));
    Ok(taken.filter(|(_, expires_at)| now < *expires_at).map(|(user, _)| Redeemed { user, user_verified }))
}

/// What a token that [`finish_authentication`] gave stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeemed {
    /// Who was there.
    pub user: UserId,
    /// Whether the authenticator has made sure of that, by a finger, a face or a PIN (WebAuthn §6.1, UV).
    pub user_verified: bool,
}

/// Ends a token: the row is found by the hash of all of it, so nobody can give a token the other end.
const fn mark(user_verified: bool) -> &'static str {
    if user_verified { ".uv" } else { ".up" }
}

/// No passkey of the environment's: the page may tell the authenticator so (WebAuthn §5.1.10).
fn unknown() -> Error {
    Error::new(Kind::InvalidArgument, "this passkey is not known here").with_code("PASSKEY_UNKNOWN")
}
