//! Which pages may read the answers of the token, UserInfo and revocation endpoints: those of the origins that logins return to
//! (oauth-oidc reference §1).

use std::collections::BTreeSet;

use narthex_db::p;

use super::redirects;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;

/// The callbacks of an environment's applications, each once.
pub(crate) struct Origins(Vec<String>);

/// Whether a page of this origin may read answers in the environment.
pub async fn is_allowed_origin(core: &Core, environment: EnvId, origin: &str) -> Result<bool> {
    let load = async {
        let sql = "SELECT post_login_uris FROM clients WHERE environment_id = $1 AND kind IN (1, 2, 3, 4)";
        let rows: Vec<(String,)> = core.db.reader().await?.all(sql, &p![environment]).await?;
        let mut uris = BTreeSet::new();
        for (text,) in rows {
            uris.extend(serde_json::from_str::<Vec<String>>(&text).map_err(Error::internal)?);
        }
        Ok(Some(Origins(uris.into_iter().collect())))
    };
    let origins = core.caches.origins.get(&environment, load).await?;
    Ok(origins.is_some_and(|origins| origins.0.iter().any(|uri| redirects::is_of_origin(uri, origin))))
}
