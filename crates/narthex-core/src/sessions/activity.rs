//! What happens to a user's session while it lives: applications are entered with it, and its idle time begins anew.

use narthex_db::{DbError, Tx, p};

use super::AuthenticatedClient;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId, SessionId, UserId};

/// A session that counts, as its row says within a transaction.
pub(crate) struct Live {
    id: SessionId,
    /// Whose it is.
    pub(crate) user: UserId,
    /// Its end in any case.
    pub(crate) expires_at: Timestamp,
    clients: Vec<AuthenticatedClient>,
}

type Columns = (UserId, Timestamp, Option<String>);

/// A user's session of the environment, if it counts now.
pub(crate) async fn live(tx: &mut Tx, environment: EnvId, id: SessionId, now: Timestamp) -> Result<Option<Live>> {
    let sql = "SELECT user_id, expires_at, clients FROM sessions WHERE id = $1 AND environment_id = $2 AND kind = 1 \
               AND user_id IS NOT NULL AND revoked_at IS NULL AND expires_at > $3 \
               AND (idle_expires_at IS NULL OR idle_expires_at > $3)";
    let Some((user, expires_at, clients)) = tx.opt::<Columns>(sql, &p![id, environment, now]).await? else {
        return Ok(None);
    };
    let clients = match clients {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Error::from(DbError::Data(format!("sessions.clients of {id}: {error}"))))?,
        None => Vec::new(),
    };
    Ok(Some(Live { id, user, expires_at, clients }))
}

/// Notes that an application was entered with the session.
pub(crate) async fn enter_client(
    tx: &mut Tx,
    session: &Live,
    client_id: &str,
    organization: Option<OrganizationId>,
    now: Timestamp,
) -> Result<()> {
    let organization_id = organization.map(|id| id.to_string()).unwrap_or_default();
    let entered = AuthenticatedClient { client_id: client_id.to_owned(), organization_id };
    if session.clients.contains(&entered) {
        return Ok(());
    }
    let mut clients = session.clients.clone();
    clients.push(entered);
    let text = serde_json::to_string(&clients).map_err(Error::internal)?;
    tx.execute("UPDATE sessions SET clients = $2, updated_at = $3 WHERE id = $1", &p![session.id, text, now]).await?;
    Ok(())
}

/// Begins the idle time of a session anew (oauth-oidc reference OP-9). How long it is, the two times themselves say: they were set
/// together. Nobody is told: a cached session that looks idle is read again before that counts.
pub async fn extend(tx: &mut Tx, session: SessionId, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE sessions SET idle_expires_at = idle_expires_at + ($2 - COALESCE(last_active_at, created_at)), last_active_at = $2, \
         updated_at = $2 WHERE id = $1 AND COALESCE(last_active_at, created_at) < $2",
        &p![session, now],
    )
    .await?;
    Ok(())
}
