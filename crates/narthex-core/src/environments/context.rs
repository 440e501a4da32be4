//! What the dashboard notes down of an environment: how far somebody got in setting it up.

use narthex_db::p;
use serde_json::{Map, Value};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::json;

/// The notes; empty before the first.
pub async fn context(core: &Core, environment: EnvId) -> Result<Map<String, Value>> {
    let sql = "SELECT content FROM environment_contexts WHERE environment_id = $1";
    let found: Option<(String,)> = core.db.reader().await?.opt(sql, &p![environment]).await?;
    found.map_or_else(|| Ok(Map::new()), |(text,)| serde_json::from_str(&text).map_err(Error::internal))
}

/// Replaces the notes as a whole (control plane reference §3).
pub async fn set_context(core: &Core, environment: EnvId, content: &Map<String, Value>) -> Result<()> {
    let (text, now) = (json::bounded("context", content)?, core.clock.now());
    core.db
        .write(async move |tx| {
            let sql = "INSERT INTO environment_contexts (environment_id, content, updated_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (environment_id) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at";
            tx.execute(sql, &p![environment, &text, now]).await?;
            Ok(())
        })
        .await
}
