//! Workspaces: who owns environments, and whom operators work for.

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::WorkspaceId;
use crate::json;

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Id.
    pub id: WorkspaceId,
    /// Name for people.
    pub display_name: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, display_name, created_at, updated_at";

impl FromRow for Workspace {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.get(0)?, display_name: row.get(1)?, created_at: row.get(2)?, updated_at: row.get(3)? })
    }
}

/// A workspace by its id.
pub async fn get(core: &Core, id: WorkspaceId) -> Result<Workspace> {
    load(&mut *core.db.reader().await?, id).await
}

async fn load(tx: &mut Tx, id: WorkspaceId) -> Result<Workspace> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE id = $1");
    tx.opt(&sql, &p![id]).await?.ok_or_else(not_found)
}

/// Renames a workspace.
pub async fn rename(core: &Core, id: WorkspaceId, name: &str) -> Result<Workspace> {
    if name.contains('\0') {
        return Err(Error::invalid("workspace.display_name", "string.nul", "must not contain U+0000"));
    }
    let (name, now) = (name.to_owned(), core.clock.now());
    core.db
        .write(async move |tx| {
            let sql = "UPDATE workspaces SET display_name = $2, updated_at = $3 WHERE id = $1 AND display_name <> $2";
            tx.execute(sql, &p![id, &name, now]).await?;
            load(tx, id).await
        })
        .await
}

/// What the dashboard notes down of a workspace; empty before the first note.
pub async fn context(core: &Core, id: WorkspaceId) -> Result<Map<String, Value>> {
    notes(&mut *core.db.reader().await?, id).await
}

async fn notes(tx: &mut Tx, id: WorkspaceId) -> Result<Map<String, Value>> {
    let sql = "SELECT dashboard_context FROM workspaces WHERE id = $1";
    let (text,): (String,) = tx.opt(sql, &p![id]).await?.ok_or_else(not_found)?;
    serde_json::from_str(&text).map_err(Error::internal)
}

/// Adds to the notes: keys that are there already get their new value, others stay (control plane reference §3). All of them then.
pub async fn add_to_context(core: &Core, id: WorkspaceId, more: Map<String, Value>) -> Result<Map<String, Value>> {
    if more.keys().any(String::is_empty) {
        return Err(Error::invalid("context", "struct.key", "keys must not be empty"));
    }
    core.db
        .write(async move |tx| {
            let mut all = notes(tx, id).await?;
            all.extend(more.clone());
            let text = json::bounded("context", &all)?;
            tx.execute("UPDATE workspaces SET dashboard_context = $2 WHERE id = $1", &p![id, &text]).await?;
            Ok(all)
        })
        .await
}

/// The answer to an id that is not a workspace of the caller.
pub fn not_found() -> Error {
    Error::not_found(WorkspaceId::NOUN)
}
