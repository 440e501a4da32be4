//! A request that cannot be read: where, and what is wrong. The path is put together while the error travels outwards, so that reading
//! a good request costs nothing for it.

use std::borrow::Cow;

use narthex_core::{Error, Kind};

use crate::json::put_escaped;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Path segments, innermost first.
    path: Vec<Segment>,
    /// What is wrong, for people; names no content of the request.
    problem: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(Cow<'static, str>),
    Index(usize),
    Key(String),
}

/// Result of reading bytes from outside.
pub type Result<T> = std::result::Result<T, Malformed>;

impl Malformed {
    /// A problem at the place being read.
    pub(crate) fn new(problem: impl Into<Cow<'static, str>>) -> Self {
        Self { path: Vec::new(), problem: problem.into() }
    }

    /// The problem stands in this field.
    #[must_use]
    pub(crate) fn within(mut self, field: &'static str) -> Self {
        self.path.push(Segment::Field(Cow::Borrowed(field)));
        self
    }

    /// The problem stands in this element of a list.
    #[must_use]
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.path.push(Segment::Index(index));
        self
    }

    /// The problem stands under this key of a map.
    #[must_use]
    pub(crate) fn under(mut self, key: &str) -> Self {
        self.path.push(Segment::Key(shortened(key).to_owned()));
        self
    }

    /// Path in proto names, e.g. `organization.metadata["plan"]`; empty for the request as a whole.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Field(name) if path.is_empty() => path.push_str(name),
                Segment::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Segment::Index(index) => {
                    path.extend(["[", &index.to_string(), "]"]);
                }
                Segment::Key(key) => {
                    path.extend(["[\"", &escaped(key), "\"]"]);
                }
            }
        }
        path
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// The start of a key, as much as a path shows of it.
fn shortened(key: &str) -> &str {
    key.char_indices().nth(256).map_or(key, |(end, _)| &key[..end])
}

/// A key of a map as a path shows it: in the escapes of JSON.
pub(crate) fn escaped(key: &str) -> String {
    let mut out = Vec::with_capacity(key.len());
    put_escaped(shortened(key), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path();
        if path.is_empty() { f.write_str(&self.problem) } else { write!(f, "{path}: {}", self.problem) }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let path = malformed.path();
        if path.is_empty() {
            Self::new(Kind::InvalidArgument, malformed.problem)
        } else {
            Self::invalid(path, "format", malformed.problem)
        }
    }
}
