//! Last uses of API tokens: validating one writes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use narthex_db::p;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::ApiTokenId;

/// Uses that are not written yet: one per token, however often it was used.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<ApiTokenId, Timestamp>>);

impl LastUsed {
    pub(super) fn note(&self, token: ApiTokenId, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, at);
    }
}

/// Writes the uses noted since the last time, some hundred rows per transaction. They do not void cached tokens: nothing is decided
/// by them.
pub async fn flush_last_used(core: &Core) -> Result<()> {
    let noted = std::mem::take(&mut *core.api_tokens_used.0.lock().unwrap_or_else(PoisonError::into_inner));
    let noted: Vec<(ApiTokenId, Timestamp)> = noted.into_iter().collect();
    for chunk in noted.chunks(200) {
        let chunk = chunk.to_vec();
        core.db
            .write(async move |tx| {
                for (token, at) in &chunk {
                    let sql = "UPDATE api_tokens SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)";
                    tx.execute(sql, &p![at, token]).await?;
                }
                Ok::<_, Error>(())
            })
            .await?;
    }
    Ok(())
}
