//! Codes that come back. Each is good once; wrong ones are counted, whatever becomes of the request.

use std::sync::Arc;

use aws_lc_rs::hmac;
use narthex_db::Tx;

use super::store::{self, Stored};
use super::{Registration, code, enabled_already, keys, not_found};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, TotpRegistrationId, UserId};
use crate::organizations::share;
use crate::seal::Secret;
use crate::users::{self, Identity};

/// Wrong codes that are let through within the window.
const FAILURES: usize = 5;
/// The window, in microseconds.
const WINDOW: i64 = 10 * 60 * 1_000_000;
/// Backup codes of a registration.
const BACKUP_CODES: usize = 10;
/// Length of a backup code: 50 bits.
const BACKUP_LENGTH: usize = 10;

/// Whose code it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The registration of a user.
    User(UserId),
    /// A registration.
    Registration(TotpRegistrationId),
}

impl Target {
    async fn load(self, tx: &mut Tx, environment: EnvId) -> Result<Stored> {
        let found = match self {
            Self::Registration(id) => store::load(tx, environment, id).await?,
            Self::User(user) => {
                let found = store::of_user(tx, environment, user).await?;
                if found.is_none() {
                    users::load(tx, environment, &Identity::Id(user)).await?.ok_or_else(users::not_found)?;
                }
                found
            }
        };
        found.ok_or_else(not_found)
    }
}

/// What a right code is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Enable,
    Verify,
    Disable,
}

/// Enables a registration by its first code. The backup codes are known only now; the answer is the only time that they are shown.
pub async fn enable(
    core: &Core,
    environment: EnvId,
    id: TotpRegistrationId,
    given: &str,
) -> Result<(Registration, Vec<Secret<String>>)> {
    let codes: Vec<Secret<String>> = (0..BACKUP_CODES).map(|_| new_backup_code(core)).collect();
    let checked = check(core, environment, Target::Registration(id), given, Purpose::Enable, &codes).await?;
    match checked {
        Some(registration) => Ok((registration, codes)),
        None => Err(wrong()),
    }
}

/// Whether a code is one of the app's or one of the backup codes. A registration that is not enabled has no good codes: NOT_FOUND.
pub async fn verify(core: &Core, environment: EnvId, target: Target, given: &str) -> Result<bool> {
    Ok(check(core, environment, target, given, Purpose::Verify, &[]).await?.is_some())
}

/// Removes a registration by a last code.
pub async fn disable(core: &Core, environment: EnvId, id: TotpRegistrationId, given: &str) -> Result<()> {
    let checked = check(core, environment, Target::Registration(id), given, Purpose::Disable, &[]).await?;
    checked.map(|_| ()).ok_or_else(wrong)
}

enum Outcome {
    Right(Registration),
    /// Counted.
    Wrong,
    /// Not even looked at; seconds to wait.
    Locked(u32),
}

/// Takes a code. None for a wrong one, which is counted; RESOURCE_EXHAUSTED after too many of them.
async fn check(
    core: &Core,
    environment: EnvId,
    target: Target,
    given: &str,
    purpose: Purpose,
    new_codes: &[Secret<String>],
) -> Result<Option<Registration>> {
    let given = spelt(given);
    let found = target.load(&mut *core.db.reader().await?, environment).await?;
    let keys = keys(core, environment, found.id, &found.secret).await?;
    let backup = hmac::Key::new(hmac::HMAC_SHA256, keys.backup());
    let hash = |code: &str| -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&backup, code.as_bytes()).as_ref());
        hash
    };
    // The app's clock is the real one, wherever ours has been moved to.
    let steps = code::matching(keys.secret(), &given, core.clock.real_now());
    let backup_code = (given.len() == BACKUP_LENGTH).then(|| hash(&given));
    let new_codes: Arc<[[u8; 32]]> = new_codes.iter().map(|code| hash(code.expose())).collect();
    let (id, now) = (found.id, core.clock.now());
    let outcome = core
        .db
        .write_for(share(environment), async move |tx| {
            // By the id whose keys were opened: the user may have another registration by now.
            let found =
                store::load(tx, environment, id).await?.filter(|found| !found.is_over(now)).ok_or_else(not_found)?;
            match (purpose, found.enabled_at) {
                (Purpose::Enable, Some(_)) => return Err(enabled_already()),
                (Purpose::Verify, None) => return Err(not_found()),
                _ => {}
            }
            let mut failures: Vec<i64> = found.failures.iter().copied().filter(|at| now.0 - at < WINDOW).collect();
            if failures.len() >= FAILURES {
                let wait = (failures[0] + WINDOW - now.0).div_euclid(1_000_000) + 1;
                return Ok(Outcome::Locked(u32::try_from(wait).unwrap_or(1)));
            }
            let is_right = match steps.iter().find(|step| **step > found.last_step) {
                Some(step) => {
                    store::take_step(tx, id, *step).await?;
                    true
                }
                None => match &backup_code {
                    Some(hash) => store::take_backup_code(tx, id, hash).await?,
                    None => false,
                },
            };
            if !is_right {
                failures.push(now.0);
                store::set_failures(tx, id, &failures).await?;
                return Ok(Outcome::Wrong);
            }
            finish(tx, found.registration, purpose, &new_codes, now).await.map(Outcome::Right)
        })
        .await?;
    match outcome {
        Outcome::Right(registration) => Ok(Some(registration)),
        Outcome::Wrong => Ok(None),
        Outcome::Locked(seconds) => Err(Error::rate_limited(seconds)),
    }
}

async fn finish(
    tx: &mut Tx,
    registration: Registration,
    purpose: Purpose,
    new_codes: &[[u8; 32]],
    now: Timestamp,
) -> Result<Registration> {
    match purpose {
        Purpose::Verify => Ok(registration),
        Purpose::Enable => {
            store::enable(tx, registration.id, new_codes, now).await?;
            Ok(Registration { enabled_at: Some(now), updated_at: now, ..registration })
        }
        Purpose::Disable => {
            store::delete(tx, registration.id).await?;
            Ok(registration)
        }
    }
}

/// As people copy a code: without the spaces and dashes between its groups, in small letters.
fn spelt(given: &str) -> String {
    given.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).take(64).collect()
}

/// Letters and digits that nobody takes for another.
fn new_backup_code(core: &Core) -> Secret<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let random = core.random.bytes::<BACKUP_LENGTH>();
    Secret::new(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

fn wrong() -> Error {
    Error::invalid("code", "totp.code", "is wrong, was used before, or is too old")
}
