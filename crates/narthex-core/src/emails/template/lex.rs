//! From text to tokens.

use super::SyntaxError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text to be copied.
    Text(String),
    /// What stands between `{{` and `}}`.
    Action(Action),
}

/// The tokens of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    /// Where it begins.
    pub line: usize,
    pub tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(i64),
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", ":=", "!", "<", ">", "+", "-", "*", "/", "%", "?", ":", ",", "|", "(", ")", ".",
];

struct Source<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Source<'a> {
    /// Takes so many bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        let spaces = self.rest.len() - self.rest.trim_start_matches(is_space).len();
        self.take(spaces);
    }

    fn error(&self, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, problem: problem.into() }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Splits a template into texts and actions. Comments are gone, and spaces that `{{-` and `-}}` eat.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, SyntaxError> {
    let mut source = Source { rest: source, line: 1 };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut eats_spaces = false;
    while !source.rest.is_empty() {
        // One search for both, which ends at the first: two would read to the end again and again.
        let rest = source.rest;
        let opens = |at: &usize| rest[at + 1..].starts_with(['{', '*']);
        let next = rest.match_indices('{').map(|(at, _)| at).find(opens);
        let mut text = source.take(next.unwrap_or(source.rest.len()));
        if eats_spaces {
            text = text.trim_start_matches(is_space);
        }
        eats_spaces = false;
        if source.rest.starts_with("{{-") && source.rest[3..].starts_with(is_space) {
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        if source.rest.starts_with("{*") {
            let end = source.rest.find("*}").ok_or_else(|| source.error("a comment `{*` has no end `*}`"))?;
            source.take(end + 2);
        } else if source.rest.starts_with("{{") {
            let (action, eats) = action(&mut source)?;
            eats_spaces = eats;
            pieces.push(Piece::Action(action));
        }
    }
    Ok(pieces)
}

/// Reads an action to its end; whether it eats the spaces after it.
fn action(source: &mut Source<'_>) -> Result<(Action, bool), SyntaxError> {
    let line = source.line;
    source.take(2);
    if source.rest.starts_with('-') && source.rest[1..].starts_with(is_space) {
        source.take(1);
    }
    let mut tokens = Vec::new();
    loop {
        let before = source.rest.len();
        source.skip_spaces();
        if source.rest.starts_with("}}") {
            source.take(2);
            return Ok((Action { line, tokens }, false));
        }
        if source.rest.starts_with("-}}") && source.rest.len() < before {
            source.take(3);
            return Ok((Action { line, tokens }, true));
        }
        if source.rest.is_empty() {
            return Err(SyntaxError { line, problem: "`{{` has no end `}}`".to_owned() });
        }
        tokens.push(token(source)?);
    }
}

fn token(source: &mut Source<'_>) -> Result<Token, SyntaxError> {
    let rest = source.rest;
    let first = rest.chars().next().unwrap_or_default();
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok(Token::Name(source.take(length).to_owned()));
    }
    if first.is_ascii_digit() {
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..length].parse().map_err(|_| source.error("a number is too large"))?;
        source.take(length);
        return Ok(Token::Number(number));
    }
    if first == '"' {
        return text(source);
    }
    if first == '`' {
        let length = rest[1..].find('`').ok_or_else(|| source.error("a text has no end ```"))?;
        return Ok(Token::Text(source.take(length + 2)[1..=length].to_owned()));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => {
            source.take(symbol.len());
            Ok(Token::Symbol(symbol))
        }
        None => Err(source.error(format!("`{first}` has no meaning between `{{{{` and `}}}}`"))),
    }
}

/// Reads a text in double quotes.
fn text(source: &mut Source<'_>) -> Result<Token, SyntaxError> {
    let mut text = String::new();
    let mut chars = source.rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                source.take(at + 1);
                return Ok(Token::Text(text));
            }
            '\n' => break,
            '\\' => text.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, c @ ('"' | '\\' | '\''))) => c,
                _ => return Err(source.error("a text has `\\` before something other than `n`, `t`, `\"` or `\\`")),
            }),
            c => text.push(c),
        }
    }
    Err(source.error("a text has no end `\"`"))
}
