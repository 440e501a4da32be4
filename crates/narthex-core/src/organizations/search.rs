//! The text that a search looks in, and the index over it.

use narthex_db::{Engine, Tx, p};
use unicode_normalization::UnicodeNormalization;

use super::Organization;
use crate::error::Result;
use crate::ids::OrganizationId;

/// Organizations that one transaction indexes. Every other write waits for it.
const CHUNK: i64 = 100;

/// One spelling for what people take for equal: composed, without case, control characters as spaces. Going through upper case folds
/// `ß` with `ss` and both small sigmas, as Unicode's full case folding does.
pub(crate) fn normalise(text: &str) -> String {
    text.nfc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Name, id and external id, each on a line of its own: no query holds a line break, so none matches across two of them.
pub(super) fn text(organization: &Organization) -> String {
    let external_id = organization.external_id.as_deref().map(normalise).unwrap_or_default();
    format!("{}\n{}\n{external_id}", normalise(&organization.display_name), organization.id)
}

/// Notes that what the index says about an organization is out of date.
pub(super) async fn mark(tx: &mut Tx, organization: OrganizationId) -> Result<()> {
    match tx.engine() {
        Engine::Sqlite => {
            tx.execute(
                "INSERT INTO organization_search_pending (organization_id) VALUES ($1) ON CONFLICT DO NOTHING",
                &p![organization],
            )
            .await?;
        }
        // A GIN index is part of the table's own row changes.
        Engine::Postgres => {}
    }
    Ok(())
}

/// Brings the index up to date with up to 100 organizations; how many.
pub(crate) async fn index_pending(tx: &mut Tx) -> Result<usize> {
    if tx.engine() == Engine::Postgres {
        return Ok(0);
    }
    let pending: Vec<(i64, Option<String>)> = tx
        .all(
            "SELECT p.organization_id, o.search_text FROM organization_search_pending p \
             LEFT JOIN organizations o ON o.id = p.organization_id ORDER BY p.organization_id LIMIT $1",
            &p![CHUNK],
        )
        .await?;
    let Some((last, _)) = pending.last() else { return Ok(0) };
    for (id, text) in &pending {
        tx.execute("DELETE FROM organization_search WHERE rowid = $1", &p![id]).await?;
        if let Some(text) = text {
            tx.execute("INSERT INTO organization_search (rowid, text) VALUES ($1, $2)", &p![id, text]).await?;
        }
    }
    tx.execute("DELETE FROM organization_search_pending WHERE organization_id <= $1", &p![last]).await?;
    Ok(pending.len())
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn org_11_search_ignores_case_and_composition() {
        assert_eq!(normalise("ACME Straße"), normalise("acme STRASSE"));
        assert_eq!(normalise("Cafe\u{301}"), normalise("CAFÉ"));
        assert_eq!(normalise("ΣΊΣΥΦΟΣ"), normalise("σίσυφος"));
        assert_eq!(normalise("a\nb\tc"), "a b c");
    }
}
