//! The table of grants.

use std::time::Duration;

use narthex_db::{Tx, p};

use super::Authorization;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, GrantId};

/// How long a code is good (oauth-oidc reference §6.3).
const CODE_LIFETIME: Duration = Duration::from_mins(10);

/// Writes a grant that has nothing but its code.
pub(super) async fn insert(
    tx: &mut Tx,
    environment: EnvId,
    authorization: &Authorization,
    id: GrantId,
    code_hash: &[u8; 32],
    now: Timestamp,
) -> Result<()> {
    let end = now.plus(CODE_LIFETIME);
    tx.execute(
        "INSERT INTO grants (id, environment_id, client_id, session_id, authorized, code_hash, code_expires_at, denied, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $7)",
        &p![
            id,
            environment,
            &authorization.client_id,
            authorization.subject.session(),
            serde_json::to_string(authorization).map_err(Error::internal)?,
            code_hash,
            end,
            now
        ],
    )
    .await?;
    Ok(())
}
