//! What happened within a login, in words for the people who look into one.

use std::time::Duration;

use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Result;
use crate::ids::EnvId;

/// How long a line is kept.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// Lines of one login that are shown.
const SHOWN: i64 = 500;

/// A mail with a code was not sent, since a test user asked for it. The text is what test suites look for.
pub const MAIL_SUPPRESSED: &str = "Verification email suppressed (test user)";
/// A test user has entered the code. The text is what test suites look for.
pub const TEST_USER_VERIFIED: &str = "OTP verification successful (test user)";

/// An operator has come by a one-time link.
pub const OPERATOR_LINK_USED: &str = "Signed in by a one-time operator link";
/// A one-time link was opened once more, or too late.
pub const OPERATOR_LINK_REFUSED: &str = "Operator link refused: used before, replaced or expired";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What happened.
    pub event: String,
    /// When.
    pub occurred_at: Timestamp,
}

/// Writes a line, in the transaction of what it is about. `subject` is the id of the login (`req_…`), of an application's own request
/// for a code, or of the operator who uses a link; `line` a number made outside.
pub async fn append(
    tx: &mut Tx,
    environment: EnvId,
    subject: &str,
    line: i64,
    event: &'static str,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO auth_log (id, environment_id, subject, event, occurred_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, &p![line, environment, subject, event, now, now.plus(KEPT)]).await?;
    Ok(())
}

/// The lines about a subject, oldest first.
pub async fn of(core: &Core, environment: EnvId, subject: &str) -> Result<Vec<Line>> {
    let sql = "SELECT event, occurred_at FROM auth_log WHERE environment_id = $1 AND subject = $2 ORDER BY id LIMIT $3";
    let lines: Vec<(String, Timestamp)> = core.db.reader().await?.all(sql, &p![environment, subject, SHOWN]).await?;
    Ok(lines.into_iter().map(|(event, occurred_at)| Line { event, occurred_at }).collect())
}
