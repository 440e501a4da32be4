//! The text that a search looks in, and the index over it. Names are not searched (orgs-users-rbac reference §3.3).

use narthex_db::{Engine, Tx, p};

use super::User;
use crate::error::Result;
use crate::ids::UserId;
use crate::organizations::normalise;

/// Users that one transaction indexes. Every other write waits for it.
const CHUNK: i64 = 100;

/// Address, id and external id, each on a line of its own: no query holds a line break, so none matches across two of them.
pub(crate) fn text(user: &User) -> String {
    let external_id = user.external_id.as_deref().map(normalise).unwrap_or_default();
    format!("{}\n{}\n{external_id}", normalise(&user.email), user.id)
}

/// Notes that what the index says about a user is out of date.
pub(crate) async fn mark(tx: &mut Tx, user: UserId) -> Result<()> {
    match tx.engine() {
        Engine::Sqlite => {
            let sql = "INSERT INTO user_search_pending (user_id) VALUES ($1) ON CONFLICT DO NOTHING";
            tx.execute(sql, &p![user]).await?;
        }
        // A GIN index is part of the table's own row changes.
        Engine::Postgres => {}
    }
    Ok(())
}

/// Brings the index up to date with up to 100 users; how many.
pub(crate) async fn index_pending(tx: &mut Tx) -> Result<usize> {
    if tx.engine() == Engine::Postgres {
        return Ok(0);
    }
    let pending: Vec<(i64, Option<String>)> = tx
        .all(
            "SELECT p.user_id, u.search_text FROM user_search_pending p LEFT JOIN users u ON u.id = p.user_id \
             ORDER BY p.user_id LIMIT $1",
            &p![CHUNK],
        )
        .await?;
    let Some((last, _)) = pending.last() else { return Ok(0) };
    for (id, text) in &pending {
        tx.execute("DELETE FROM user_search WHERE rowid = $1", &p![id]).await?;
        if let Some(text) = text {
            tx.execute("INSERT INTO user_search (rowid, text) VALUES ($1, $2)", &p![id, text]).await?;
        }
    }
    tx.execute("DELETE FROM user_search_pending WHERE user_id <= $1", &p![last]).await?;
    Ok(pending.len())
}
