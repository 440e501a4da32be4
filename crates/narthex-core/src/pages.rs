//! Pages of a list, by position rather than by number: a row committed before the first page and not deleted appears exactly once,
//! whatever is inserted or deleted meanwhile. Rows are ordered by id, newest first.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::EnvId;

/// Highest offset that a numeric page may start at: the database reads and drops that many rows.
const MAX_OFFSET: u64 = 10_000;
/// Version of the token format.
const VERSION: u8 = 1;

/// What a caller asked for.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Rows; 0 means the list's default.
    pub size: u32,
    /// Token of an earlier answer, a page number counted from 1, or empty for the first page.
    pub token: String,
}

/// Sizes of a list's pages. A larger size than `max` is clamped.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Where the caller names none.
    pub default: u32,
    /// At most.
    pub max: u32,
}

impl Limits {
    /// The rows of a page.
    pub fn size(self, asked: u32) -> usize {
        let size = if asked == 0 { self.default } else { asked.min(self.max) };
        size as usize
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Rows, newest first.
    pub items: Vec<T>,
    /// Token of the following page; empty on the last.
    pub next: String,
    /// Token of the preceding page; empty on the first.
    pub prev: String,
    /// Rows of all pages together; a search stops counting at 10,000.
    pub total: u64,
}

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The newest rows.
    Start,
    /// Rows with ids below this one.
    After(i64),
    /// Rows with ids above this one, nearest first.
    Before(i64),
    /// Rows from this offset on.
    Offset(i64),
}

impl Position {
    /// Whether the rows are read upwards, oldest first.
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Before(_))
    }

    /// The bound on ids that goes with the direction, and the offset.
    pub fn bound(self) -> (i64, i64) {
        match self {
            Self::Start => (i64::MAX, 0),
            Self::After(id) | Self::Before(id) => (id, 0),
            Self::Offset(offset) => (i64::MAX, offset),
        }
    }
}

/// One list of one environment with one filter: the only place where its tokens are good.
#[derive(Debug, Clone)]
pub struct Scope {
    seal: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    /// Version.
    v: u8,
    /// Scope.
    s: String,
    /// `n`ext or `p`revious.
    d: String,
    /// Id of the row at the edge, as text since JavaScript would round it.
    k: String,
}

impl Scope {
    /// The list `name` of an environment, with what it is filtered by.
    ///
    /// The seal is a plain hash: a token holds no secret and opens nothing, since every query names its environment. It keeps a
    /// caller from taking a token of one list for a position in another.
    pub fn new(environment: EnvId, name: &str, filter: &str) -> Self {
        let text = format!("{VERSION}\0{}\0{name}\0{filter}", environment.0);
        let hash = digest(&SHA256, text.as_bytes());
        Self { seal: BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..9]) }
    }

    /// Reads a caller's token. Foreign, malformed and too far ones are INVALID_ARGUMENT naming `page_token`.
    pub fn position(&self, token: &str, size: usize) -> Result<Position> {
        if token.is_empty() {
            return Ok(Position::Start);
        }
        if token.bytes().all(|b| b.is_ascii_digit()) {
            return numeric(token, size);
        }
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
        let token: Token =
            decoded.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(|| refused("is malformed"))?;
        if token.v != VERSION || token.s != self.seal {
            return Err(refused("belongs to another list"));
        }
        let id = token.k.parse().map_err(|_| refused("is malformed"))?;
        match token.d.as_str() {
            "n" => Ok(Position::After(id)),
            "p" => Ok(Position::Before(id)),
            _ => Err(refused("is malformed")),
        }
    }

    fn token(&self, direction: &str, id: i64) -> String {
        let token = Token { v: VERSION, s: self.seal.clone(), d: direction.to_owned(), k: id.to_string() };
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Makes a page of what the query for `position` found: up to `size + 1` rows in the direction read. `beyond` tells whether rows
    /// lie on the side that the page was reached from: newer ones than its first row, or with [`Position::Before`] older ones than
    /// its last.
    pub fn page<T>(
        &self,
        position: Position,
        size: usize,
        mut rows: Vec<T>,
        id: impl Fn(&T) -> i64,
        beyond: bool,
        total: u64,
    ) -> Page<T> {
        let more = rows.len() > size;
        rows.truncate(size);
        let backward = position.is_backward();
        if backward {
            rows.reverse();
        }
        let (newer, older) = if backward { (more, beyond) } else { (beyond, more) };
        let (first, last) = edges(position, rows.first().map(&id), rows.last().map(&id));
        Page {
            items: rows,
            next: if older { self.token("n", last) } else { String::new() },
            prev: if newer { self.token("p", first) } else { String::new() },
            total,
        }
    }
}

/// Ids at the two edges of a page. An empty page lies at the bound it was asked for, whose own row belongs to the other side.
pub fn edges(position: Position, first: Option<i64>, last: Option<i64>) -> (i64, i64) {
    let (bound, _) = position.bound();
    (first.unwrap_or(bound.saturating_sub(1)), last.unwrap_or(bound.saturating_add(1)))
}

fn numeric(token: &str, size: usize) -> Result<Position> {
    let page: u64 = token.parse().map_err(|_| refused("is out of range"))?;
    let offset = page.saturating_sub(1).saturating_mul(size as u64);
    if offset > MAX_OFFSET {
        return Err(refused("is too far for a page number: follow next_page_token"));
    }
    Ok(if offset == 0 { Position::Start } else { Position::Offset(i64::try_from(offset).unwrap_or(0)) })
}

fn refused(what: &str) -> Error {
    Error::invalid("page_token", "page_token", what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn api_05_tokens_are_good_in_their_own_list_only() {
        let scope = Scope::new(EnvId(1), "organizations", "");
        let page = scope.page(Position::Start, 1, vec![9_i64, 8], |id| *id, false, 2);
        assert_eq!(page.prev, "");
        assert_eq!(scope.position(&page.next, 1).ok(), Some(Position::After(9)));
        for other in [
            Scope::new(EnvId(2), "organizations", ""),
            Scope::new(EnvId(1), "users", ""),
            Scope::new(EnvId(1), "organizations", "acme"),
        ] {
            let refused = other.position(&page.next, 1).unwrap_err();
            assert_eq!(refused.kind(), Kind::InvalidArgument);
            assert_eq!(refused.field_violations()[0].field, "page_token");
        }
        for bad in ["x", "!", "e30", "1.5", "-1", &page.next[1..], "eyJ2IjoxfQ"] {
            assert!(scope.position(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn api_05_page_numbers_count_from_one_up_to_the_ten_thousandth_row() {
        let scope = Scope::new(EnvId(1), "organizations", "");
        assert_eq!(scope.position("1", 10).ok(), Some(Position::Start));
        assert_eq!(scope.position("2", 10).ok(), Some(Position::Offset(10)));
        assert_eq!(scope.position("1001", 10).ok(), Some(Position::Offset(10_000)));
        assert!(scope.position("1002", 10).is_err());
        assert!(scope.position("99999999999999999999", 10).is_err());
    }

    #[test]
    fn sizes_are_clamped_and_zero_is_the_default() {
        let limits = Limits { default: 10, max: 100 };
        assert_eq!([0, 1, 100, 101, u32::MAX].map(|asked| limits.size(asked)), [10, 1, 100, 100, 100]);
    }
}
