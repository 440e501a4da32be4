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

    /// Takes uses back that could not be written, for the next time.
    fn keep(&self, unwritten: &[(ApiTokenId, Timestamp)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in unwritten {
            let latest = noted.entry(*id).or_insert(*at);
            *latest = (*latest).max(*at);
        }
    }
}

/// Writes the uses noted since the last time, some hundred rows per transaction. They do not void cached tokens: nothing is decided
/// by them.
pub async fn flush_last_used(core: &Core) -> Result<()> {
    let noted = std::mem::take(&mut *core.api_tokens_used.0.lock().unwrap_or_else(PoisonError::into_inner));
    let noted: Vec<(ApiTokenId, Timestamp)> = noted.into_iter().collect();
    let mut written = 0;
    while written < noted.len() {
        let chunk = noted[written..noted.len().min(written + 200)].to_vec();
        let rows = chunk.len();
        let outcome = core
            .db
            .write(async move |tx| {
                for (token, at) in &chunk {
                    let sql = "UPDATE api_tokens SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)";
                    tx.execute(sql, &p![at, token]).await?;
                }
                Ok::<_, Error>(())
            })
            .await;
        if let Err(error) = outcome {
            core.api_tokens_used.keep(&noted[written..]);
            return Err(error);
        }
        written += rows;
    }
    Ok(())
}
