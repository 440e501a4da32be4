//! The tables of registrations and their backup codes.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Registration, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, TotpRegistrationId, UserId};
use crate::seal::Sealed;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, environment_id, user_id, account_name, enabled_at, created_at, updated_at, secret, last_step, failures, expires_at \
             FROM totp_registrations ",
            $rest
        )
    };
}

/// A row.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) registration: Registration,
    pub(super) secret: Sealed,
    /// Newest step whose code was taken.
    pub(super) last_step: i64,
    /// When wrong codes came that still count, oldest first.
    pub(super) failures: Vec<i64>,
    expires_at: Option<Timestamp>,
}

impl Stored {
    /// Whether it waited too long to be enabled.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl std::ops::Deref for Stored {
    type Target = Registration;

    fn deref(&self) -> &Registration {
        &self.registration
    }
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let subject = match (row.get(2)?, row.get(3)?) {
            (Some(user), None) => Subject::User(user),
            (None, Some(name)) => Subject::Account(name),
            _ => return Err(DbError::Data("totp_registrations has a row of two or of nobody".into())),
        };
        Ok(Self {
            registration: Registration {
                id: row.get(0)?,
                environment: row.get(1)?,
                subject,
                enabled_at: row.get(4)?,
                created_at: row.get(5)?,
                updated_at: row.get(6)?,
            },
            secret: row.get(7)?,
            last_step: row.get(8)?,
            failures: serde_json::from_str(row.cell(9)?.text()?)
                .map_err(|error| DbError::Data(format!("totp_registrations.failures: {error}")))?,
            expires_at: row.get(10)?,
        })
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    registration: &Registration,
    secret: &Sealed,
    expires_at: Timestamp,
) -> Result<()> {
    let (user, account) = match &registration.subject {
        Subject::User(user) => (Some(*user), None),
        Subject::Account(name) => (None, Some(name.as_str())),
    };
    tx.execute(
        "INSERT INTO totp_registrations (id, environment_id, user_id, account_name, secret, last_step, failures, created_at, updated_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, 0, '[]', $6, $7, $8)",
        &p![
            registration.id,
            registration.environment,
            user,
            account,
            secret,
            registration.created_at,
            registration.updated_at,
            expires_at,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: TotpRegistrationId) -> Result<Option<Stored>> {
    let sql = select!("WHERE id = $1 AND environment_id = $2");
    Ok(tx.opt(sql, &p![id, environment]).await?)
}

pub(super) async fn of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<Option<Stored>> {
    let sql = select!("WHERE user_id = $1 AND environment_id = $2");
    Ok(tx.opt(sql, &p![user, environment]).await?)
}

/// Whether a user has an app that codes are taken from.
pub(crate) async fn is_enabled(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<bool> {
    Ok(of_user(tx, environment, user).await?.is_some_and(|found| found.enabled_at.is_some()))
}

/// A code of this step was taken: it and those before count no more.
pub(super) async fn take_step(tx: &mut Tx, id: TotpRegistrationId, step: i64) -> Result<()> {
    tx.execute("UPDATE totp_registrations SET last_step = $2 WHERE id = $1", &p![id, step]).await?;
    Ok(())
}

/// Takes a backup code; whether it was there.
pub(super) async fn take_backup_code(tx: &mut Tx, id: TotpRegistrationId, hash: &[u8; 32]) -> Result<bool> {
    let sql = "DELETE FROM totp_backup_codes WHERE registration_id = $1 AND hash = $2";
    Ok(tx.execute(sql, &p![id, hash]).await? == 1)
}

pub(super) async fn set_failures(tx: &mut Tx, id: TotpRegistrationId, failures: &[i64]) -> Result<()> {
    let failures = serde_json::to_string(failures).map_err(Error::internal)?;
    tx.execute("UPDATE totp_registrations SET failures = $2 WHERE id = $1", &p![id, failures]).await?;
    Ok(())
}

/// Enables a registration, with these backup codes.
pub(super) async fn enable(tx: &mut Tx, id: TotpRegistrationId, codes: &[[u8; 32]], now: Timestamp) -> Result<()> {
    let sql = "UPDATE totp_registrations SET enabled_at = $2, updated_at = $2, expires_at = NULL WHERE id = $1";
    tx.execute(sql, &p![id, now]).await?;
    for hash in codes {
        tx.execute("INSERT INTO totp_backup_codes (registration_id, hash) VALUES ($1, $2)", &p![id, hash]).await?;
    }
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, id: TotpRegistrationId) -> Result<()> {
    tx.execute("DELETE FROM totp_backup_codes WHERE registration_id = $1", &p![id]).await?;
    tx.execute("DELETE FROM totp_registrations WHERE id = $1", &p![id]).await?;
    Ok(())
}

/// Removes the registration of a user, within the transaction that deletes the user.
pub(crate) async fn purge_of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<()> {
    match of_user(tx, environment, user).await? {
        Some(known) => delete(tx, known.id).await,
        None => Ok(()),
    }
}
