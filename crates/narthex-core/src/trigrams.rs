//! What an index of trigrams is asked for a substring: only for the rarest of its trigrams (docs/decisions/0032).

use narthex_db::{Tx, p};

use crate::error::Result;

/// Trigrams that the index is asked for at once. A phrase of more is slower than reading the rows that five of them have in common: the
/// index steps through the rows of each trigram, and some are in nearly every row.
const ASKED: usize = 5;
/// Trigrams of a query whose frequency is looked at.
const LOOKED_AT: usize = 32;
/// The hit whose place tells how frequent a trigram is.
const PLACE: i64 = 64;
/// Letters from one trigram to another of which the second still tells something: `hof` and `off` are in the same rows.
const APART: usize = 2;
/// How much more frequent than the rarest a trigram may be, and still be asked for because it stands apart from the others.
const FREQUENT: i64 = 8;

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
    let sql = format!("SELECT rowid FROM {index} ORDER BY rowid LIMIT 1");
    let first: i64 = tx.opt(&sql, &p![]).await?.map_or(0, |(id,)| id);
    // Rows are in the order of their ids: of a rare trigram the 64th one comes late, or never.
    let sql = format!("SELECT rowid FROM {index} WHERE text MATCH $1 ORDER BY rowid LIMIT 1 OFFSET $2");
    let step = trigrams.len().div_ceil(LOOKED_AT);
    let mut found = Vec::with_capacity(LOOKED_AT);
    for (position, trigram) in trigrams.into_iter().step_by(step) {
        let expression = phrase(&trigram);
        let place: Option<(i64,)> = tx.opt(&sql, &p![&expression, PLACE]).await?;
        found.push(Trigram {
            expression,
            position,
            distance: place.map_or(i64::MAX, |(id,)| id.saturating_sub(first)),
        });
    }
    let asked: Vec<String> = chosen(found).into_iter().map(|trigram| trigram.expression).collect();
    Ok(Question { expression: asked.join(" AND "), is_exact: false })
}

/// A trigram of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trigram {
    expression: String,
    /// Where it stands in the query, in characters.
    position: usize,
    /// From the first row of the index to the 64th with this trigram: the rarer, the longer.
    distance: i64,
}

/// The trigrams that leave the fewest rows to look at: the rarest that stand apart from each other, then the rarest of the rest.
fn chosen(mut trigrams: Vec<Trigram>) -> Vec<Trigram> {
    trigrams.sort_by_key(|trigram| std::cmp::Reverse(trigram.distance));
    let least = trigrams.first().map_or(0, |rarest| rarest.distance / FREQUENT);
    let mut asked: Vec<Trigram> = Vec::with_capacity(ASKED);
    let mut rest = Vec::new();
    for trigram in trigrams {
        let stands_apart = asked.iter().all(|other| other.position.abs_diff(trigram.position) >= APART);
        let is_asked = stands_apart && trigram.distance >= least && asked.len() < ASKED;
        (if is_asked { &mut asked } else { &mut rest }).push(trigram);
    }
    let missing = ASKED.saturating_sub(asked.len());
    asked.extend(rest.into_iter().take(missing));
    asked
}

/// The trigrams of a text and where each stands first, as FTS5's tokenizer makes them.
fn distinct(text: &str) -> Vec<(usize, String)> {
    let characters: Vec<char> = text.chars().collect();
    let mut trigrams: Vec<(usize, String)> = Vec::new();
    for (position, window) in characters.windows(3).enumerate() {
        let trigram: String = window.iter().collect();
        if trigrams.iter().all(|(_, other)| *other != trigram) {
            trigrams.push((position, trigram));
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
    use super::{ASKED, Trigram, chosen, distinct};

    #[test]
    fn trigrams_are_of_characters_and_come_once() {
        let of = |text| {
            distinct(text).into_iter().map(|(position, trigram)| format!("{position} {trigram}")).collect::<Vec<_>>()
        };
        assert_eq!(of("äöüß"), ["0 äöü", "1 öüß"]);
        assert_eq!(of("aaaaab"), ["0 aaa", "3 aab"]);
        assert!(of("ab").is_empty());
    }

    fn asked(distances: &[(usize, i64)]) -> Vec<usize> {
        let trigram = |&(position, distance): &(usize, i64)| Trigram { expression: String::new(), position, distance };
        chosen(distances.iter().map(trigram).collect()).into_iter().map(|trigram| trigram.position).collect()
    }

    #[test]
    fn the_rarest_that_stand_apart_are_asked_for_and_then_the_rest() {
        // Five letters of one rare word say what two of them say: the word before it tells more.
        assert_eq!(asked(&[(0, 300), (1, 310), (4, 900), (5, 1000), (6, 950), (7, 940), (8, 930)]), [5, 7, 1, 6, 8]);
        // A frequent trigram costs more than it tells, and is asked for only where nothing else is left.
        assert_eq!(asked(&[(0, 10), (2, 20), (5, 1000), (6, 900), (7, 800), (8, 700), (9, 130)]), [5, 7, 9, 6, 8]);
        assert_eq!(asked(&[(0, i64::MAX), (9, 5)]), [0, 9]);
        assert_eq!(asked(&[(0, 7); 9]).len(), ASKED);
    }
}
