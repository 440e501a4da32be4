//! The language of mail templates: a subset of Jet's (login-methods reference §12.4), read into a tree and rendered from it.
//!
//! Text between the actions never meets a second parser, values are texts that are escaped where they are printed, and there is nothing
//! to reach from a template: no files, no methods, no other template. Work and output have a limit.

mod lex;
mod parse;
mod render;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use render::{RenderError, escape};

/// What a part of a mail is, which says how values are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Values are printed as they are.
    Text,
    /// `&`, `<`, `>` and quotes of values are escaped.
    Html,
}

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<parse::Node>,
    variables: BTreeSet<String>,
    required: BTreeSet<String>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, for its author.
    pub problem: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        parse::parse(source)
    }

    /// Every variable that it names.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Those that it relies on: not those that it only asks about with `isset`.
    pub fn required(&self) -> &BTreeSet<String> {
        &self.required
    }

    /// Prints it. A variable that is not there is empty, and false in a condition.
    pub fn render(&self, variables: &BTreeMap<String, String>, format: Format) -> Result<String, RenderError> {
        render::render(&self.nodes, variables, format)
    }
}
