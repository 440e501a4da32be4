//! Seats: how many members an organization may have (orgs-users-rbac reference §2.6).

use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::organizations::Organization;
use crate::users::UserManagement;

/// Refuses one member more than the organization's number allows, or the environment's where it has none. Counted in the transaction
/// that adds: under SERIALIZABLE of two that would take the last seat one is made again, and finds it taken.
pub(crate) async fn take(
    tx: &mut Tx,
    organization: &Organization,
    settings: &UserManagement,
    now: Timestamp,
) -> Result<()> {
    let seats = match organization.max_allowed_users {
        Some(0) => return Ok(()),
        Some(seats) => seats,
        None => match settings.seats() {
            Some(seats) => seats,
            None => return Ok(()),
        },
    };
    // Members and open invitations count; those who were put aside, and invitations that ran out, do not. No more rows are read than
    // there are seats.
    let (taken,): (i64,) = tx
        .one(
            "SELECT COUNT(*) FROM (SELECT 1 FROM memberships WHERE organization_id = $1 \
             AND (state = 1 OR state = 3 AND expires_at > $2) LIMIT $3) s",
            &p![organization.id, now.0, i64::from(seats)],
        )
        .await?;
    if taken < i64::from(seats) {
        return Ok(());
    }
    Err(Error::new(Kind::FailedPrecondition, format!("the organization has reached its limit of {seats} users")))
}
