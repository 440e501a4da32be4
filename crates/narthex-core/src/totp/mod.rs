//! Authenticator apps as a second factor: registered, enabled by a first code, verified, disabled by an application. Hosted sign-in asks
//! them too where the operator says so (docs/decisions/0074).

mod code;
mod store;
mod uri;
mod verify;

pub(crate) use store::{is_enabled, purge_of_user};
pub use verify::{Target, disable, enable, verify};

use std::sync::Arc;
use std::time::Duration;

use narthex_db::{DbError, p};

use crate::branding;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, TotpRegistrationId, UserId};
use crate::organizations::share;
use crate::seal::{self, Place, Sealed, Secret};
use crate::users::{self, Identity};

/// Bytes of the secret that the app shares with us (RFC 4226 §4: 160 bits).
const SECRET: usize = 20;
/// Bytes of the key that backup codes are kept under.
const BACKUP_KEY: usize = 32;
/// How long a registration may wait to be enabled.
const PENDING: Duration = Duration::from_hours(24);

/// Whose authenticator app it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user's.
    User(UserId),
    /// Somebody's whom only the application knows.
    Account(String),
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Id.
    pub id: TotpRegistrationId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Whose it is.
    pub subject: Subject,
    /// When a first code enabled it.
    pub enabled_at: Option<Timestamp>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Begins a registration, in place of one that was begun before and never enabled. The URI is for the app (as a QR code) and is told only
/// here. FAILED_PRECONDITION while the user has one that is enabled: whoever wants another proves that they have the first, and disables it.
pub async fn register(
    core: &Core,
    environment: &Environment,
    subject: Subject,
) -> Result<(Registration, Secret<String>)> {
    let now = core.clock.now();
    let id = TotpRegistrationId::new(&core.ids);
    let keys = Secret::new(core.random.bytes::<{ SECRET + BACKUP_KEY }>());
    let sealed = seal::seal(core, place(environment.id, id), keys.expose()).await?;
    let registration =
        Registration { id, environment: environment.id, subject, enabled_at: None, created_at: now, updated_at: now };
    let (env, row) = (environment.id, Arc::new((registration.clone(), sealed)));
    let account = core
        .db
        .write_checked(
            share(env),
            async move |tx| {
                Ok(tx.opt::<(i64,)>("SELECT id FROM totp_registrations WHERE id = $1", &p![id]).await?.is_some())
            },
            async move |tx| {
                let (registration, sealed) = &*row;
                let account = match &registration.subject {
                    Subject::User(user) => {
                        let user = users::load(tx, env, &Identity::Id(*user)).await?.ok_or_else(users::not_found)?;
                        if let Some(known) = store::of_user(tx, env, user.id).await? {
                            if known.enabled_at.is_some() {
                                return Err(enabled_already());
                            }
                            store::delete(tx, known.id).await?;
                        }
                        user.email
                    }
                    Subject::Account(name) => name.clone(),
                };
                store::insert(tx, registration, sealed, now.plus(PENDING)).await?;
                Ok(account)
            },
        )
        .await;
    let account = match account {
        Ok(account) => account,
        // Somebody else began one at the same moment.
        Err(error) if error.database().is_some_and(DbError::is_unique) => {
            return Err(Error::new(Kind::Aborted, "another registration of this user was begun meanwhile"));
        }
        Err(error) => return Err(error),
    };
    let look = branding::look(core, environment, None).await?;
    let issuer = look.app_name().unwrap_or(&environment.display_name);
    let uri = uri::of(issuer, &account, &keys.expose()[..SECRET]);
    Ok((registration, Secret::new(uri)))
}

/// Opens the two keys of a registration.
async fn keys(core: &Core, environment: EnvId, id: TotpRegistrationId, sealed: &Sealed) -> Result<Keys> {
    let opened = seal::open(core, place(environment, id), sealed).await?;
    if opened.expose().len() == SECRET + BACKUP_KEY {
        Ok(Keys(opened))
    } else {
        Err(Error::internal(format!("{id} has keys of another length")))
    }
}

struct Keys(Secret<Vec<u8>>);

impl Keys {
    fn secret(&self) -> &[u8] {
        &self.0.expose()[..SECRET]
    }

    fn backup(&self) -> &[u8] {
        &self.0.expose()[SECRET..]
    }
}

fn place(environment: EnvId, id: TotpRegistrationId) -> Place<'static> {
    Place { environment, table: "totp_registrations", column: "secret", row: id.0 }
}

/// The answer to what is no registration there.
pub fn not_found() -> Error {
    Error::not_found(TotpRegistrationId::NOUN)
}

fn enabled_already() -> Error {
    Error::new(Kind::FailedPrecondition, "an authenticator app is enabled already: disable it first")
}
