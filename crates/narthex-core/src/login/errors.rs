//! What went wrong in a login before the application was known: kept for a day, so that a page that shows it can be opened again.

use std::time::Duration;

use narthex_db::p;

use super::Failure;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{AuthErrorId, EnvId};

const KEPT: Duration = Duration::from_hours(24);

/// A kept error. Holds nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// Id.
    pub id: AuthErrorId,
    /// `error`.
    pub code: String,
    /// `error_description`.
    pub description: String,
}

/// Keeps what a [`Failure::Page`] says.
pub async fn keep_error(core: &Core, environment: EnvId, failure: &Failure) -> Result<AuthError> {
    let Failure::Page { code, description } = failure else {
        return Err(Error::internal("a failure that the application is told of"));
    };
    let error = AuthError {
        id: AuthErrorId::new(&core.ids),
        code: code.clone().into_owned(),
        description: description.clone().into_owned(),
    };
    let (row, now) = (error.clone(), core.clock.now());
    core.db
        .write_for(crate::organizations::share(environment), async move |tx| {
            tx.execute(
                "INSERT INTO auth_errors (id, environment_id, error, description, created_at, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
                &p![row.id, environment, &row.code, &row.description, now, now.plus(KEPT)],
            )
            .await?;
            Ok::<_, Error>(())
        })
        .await?;
    Ok(error)
}

/// A kept error of the environment. NOT_FOUND for another's.
pub async fn kept_error(core: &Core, environment: EnvId, id: AuthErrorId) -> Result<AuthError> {
    let sql = "SELECT error, description FROM auth_errors WHERE id = $1 AND environment_id = $2 AND expires_at > $3";
    let now = core.clock.now();
    let found: Option<(String, String)> = core.db.reader().await?.opt(sql, &p![id, environment, now]).await?;
    let (error, description) = found.ok_or_else(|| Error::not_found(AuthErrorId::NOUN))?;
    Ok(AuthError { id, code: error, description })
}
