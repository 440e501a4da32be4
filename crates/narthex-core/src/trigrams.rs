//! What an index of trigrams is asked for a substring: only for the rarest of its trigrams (docs/decisions/0032).

use narthex_db::{Tx, p};

use crate::error::Result;

/// Trigrams that the index is asked for at once. A phrase of more is slower than reading the rows that four of them have in common: the
/// index steps through the rows of each trigram, and some are in nearly every row.
const ASKED: usize = 4;
/// Trigrams of a query whose frequency is looked at.
const LOOKED_AT: usize = 32;
/// The hit whose place tells how frequent a trigram is.
const PLACE: i64 = 64;

/// A question to an FTS5 index of trigrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// For MATCH.
    pub(crate) expression: String,
    /// Whether every hit holds the query. If not, the rows have to be looked at as well.
    pub(crate) is_exact: bool,
}

/// What to ask `index`, an FTS5 table, for rows that hold `query`, of three characters at least.
pub(crate) async fn question(tx: &mut Tx, index: &str, query: &str) -> Result<Question> {
    let trigrams = distinct(query);
    if trigrams.len() <= ASKED {
        return Ok(Question { expression: phrase(query), is_exact: true });
    }
    // Rows are in the order of their ids: of a rare trigram the 64th one comes late, or never.
    let sql = format!("SELECT rowid FROM {index} WHERE text MATCH $1 ORDER BY rowid LIMIT 1 OFFSET $2");
    let step = trigrams.len().div_ceil(LOOKED_AT);
    let mut places = Vec::with_capacity(LOOKED_AT);
    for trigram in trigrams.into_iter().step_by(step) {
        let expression = phrase(&trigram);
        let place: Option<(i64,)> = tx.opt(&sql, &p![&expression, PLACE]).await?;
        places.push((place.map_or(i64::MAX, |(id,)| id), expression));
    }
    places.sort_unstable_by(|a, b| b.cmp(a));
    let rarest: Vec<String> = places.into_iter().take(ASKED).map(|(_, expression)| expression).collect();
    Ok(Question { expression: rarest.join(" AND "), is_exact: false })
}

/// The trigrams of a text, each once, as FTS5's tokenizer makes them.
fn distinct(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut trigrams: Vec<String> = Vec::new();
    for window in characters.windows(3) {
        let trigram = window.iter().collect();
        if !trigrams.contains(&trigram) {
            trigrams.push(trigram);
        }
    }
    trigrams
}

/// A text as one phrase of FTS5.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn trigrams_are_of_characters_and_come_once() {
        assert_eq!(distinct("äöüß"), ["äöü", "öüß"]);
        assert_eq!(distinct("aaaaab"), ["aaa", "aab"]);
        assert!(distinct("ab").is_empty());
    }
}
