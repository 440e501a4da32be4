//! From tokens to a tree.

use std::collections::BTreeSet;

use super::lex::{Action, Piece, Token, pieces};
use super::{SyntaxError, Template};

/// Blocks, or parts of an expression, within each other.
const DEPTH: usize = 32;
/// Operators and calls of one action: each makes its tree one level deeper.
const OPERATIONS: usize = 100;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Expression),
    If { branches: Vec<(Expression, Vec<Node>)>, otherwise: Vec<Node> },
    Range { index: Option<String>, item: Option<String>, over: Expression, body: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Text(String),
    Number(i64),
    Bool(bool),
    Nil,
    Variable(String),
    /// `.`: the value of the loop's turn.
    Current,
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// Condition, then, else.
    Choice(Box<(Expression, Expression, Expression)>),
    Call(Function, Vec<Expression>),
    /// `_` among the arguments of a call that is piped into; never in a finished tree.
    Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Lower,
    Upper,
    TrimSpace,
    HasPrefix,
    HasSuffix,
    Repeat,
    Replace,
    Split,
    Len,
    IsSet,
    Ints,
    List,
    Url,
}

/// Name, function, fewest and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 14] = [
    ("array", Function::List, 0, usize::MAX),
    ("hasPrefix", Function::HasPrefix, 2, 2),
    ("hasSuffix", Function::HasSuffix, 2, 2),
    ("ints", Function::Ints, 2, 2),
    ("isset", Function::IsSet, 1, usize::MAX),
    ("len", Function::Len, 1, 1),
    ("lower", Function::Lower, 1, 1),
    ("repeat", Function::Repeat, 2, 2),
    ("replace", Function::Replace, 3, 4),
    ("slice", Function::List, 0, usize::MAX),
    ("split", Function::Split, 2, 2),
    ("trimSpace", Function::TrimSpace, 1, 1),
    ("upper", Function::Upper, 1, 1),
    ("url", Function::Url, 1, 1),
];

/// Operators from the weakest to the strongest.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::NotEqual)],
    &[("<", Operator::Less), ("<=", Operator::LessOrEqual), (">", Operator::Greater), (">=", Operator::GreaterOrEqual)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

/// Statements that Jet has and mails have not: they reach for other templates.
const ABSENT_STATEMENTS: [&str; 8] = ["block", "catch", "extends", "import", "include", "return", "try", "yield"];
/// Functions that Jet has and mails have not: they print unescaped, or reach for other templates.
const ABSENT_FUNCTIONS: [&str; 11] =
    ["dump", "exec", "html", "includeIfExists", "json", "map", "raw", "safeHtml", "safeJs", "unsafe", "writeJson"];
const KEYWORDS: [&str; 4] = ["if", "else", "range", "end"];

pub(super) fn parse(source: &str) -> Result<Template, SyntaxError> {
    let mut parser = Parser {
        pieces: pieces(source)?.into_iter(),
        names: Names { bound: Vec::new(), ranges: 0, variables: BTreeSet::new(), required: BTreeSet::new() },
        depth: 0,
    };
    let (nodes, end) = parser.block()?;
    if let Some(end) = end {
        return Err(SyntaxError {
            line: end.line,
            problem: "there is nothing open that this could belong to".to_owned(),
        });
    }
    Ok(Template { nodes, variables: parser.names.variables, required: parser.names.required })
}

/// What names mean where the parser is.
struct Names {
    /// Names that loops have given.
    bound: Vec<String>,
    /// Loops around whose value is `.`.
    ranges: usize,
    variables: BTreeSet<String>,
    required: BTreeSet<String>,
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    names: Names,
    depth: usize,
}

impl Parser {
    /// Reads up to the end of the template or to an `else` or `end`, which is returned.
    fn block(&mut self) -> Result<(Vec<Node>, Option<Action>), SyntaxError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            match action.tokens.first() {
                Some(Token::Name(name)) if name == "else" || name == "end" => return Ok((nodes, Some(action))),
                Some(Token::Name(name)) if name == "if" => nodes.push(self.condition(action)?),
                Some(Token::Name(name)) if name == "range" => nodes.push(self.range(&action)?),
                _ => {
                    let mut tokens = Tokens::new(&action, &mut self.names);
                    let value = tokens.pipeline()?;
                    tokens.end()?;
                    nodes.push(Node::Print(value));
                }
            }
        }
        Ok((nodes, None))
    }

    fn condition(&mut self, action: Action) -> Result<Node, SyntaxError> {
        let opened = action.line;
        self.deeper(opened)?;
        let mut branches = Vec::new();
        let mut head = Some((action, 1));
        loop {
            let condition = match head.take() {
                Some((action, skipped)) => {
                    let mut tokens = Tokens::new(&action, &mut self.names);
                    tokens.at = skipped;
                    let condition = tokens.pipeline()?;
                    tokens.end()?;
                    Some(condition)
                }
                None => None,
            };
            let (body, next) = self.block()?;
            let next = next.ok_or_else(|| unclosed("if", opened))?;
            let Some(condition) = condition else {
                is_end(&next)?;
                self.depth -= 1;
                return Ok(Node::If { branches, otherwise: body });
            };
            branches.push((condition, body));
            match next.tokens.as_slice() {
                [Token::Name(name)] if name == "end" => {
                    self.depth -= 1;
                    return Ok(Node::If { branches, otherwise: Vec::new() });
                }
                [Token::Name(name)] if name == "else" => {}
                [Token::Name(name), Token::Name(second), ..] if name == "else" && second == "if" => {
                    head = Some((next, 2));
                }
                _ => return Err(misplaced(&next)),
            }
        }
    }

    fn range(&mut self, action: &Action) -> Result<Node, SyntaxError> {
        let opened = action.line;
        self.deeper(opened)?;
        let (first, second, skipped) = match action.tokens.get(1..).unwrap_or_default() {
            [Token::Name(index), Token::Symbol(","), Token::Name(item), Token::Symbol(":="), ..] => {
                (Some(index.clone()), Some(item.clone()), 5)
            }
            [Token::Name(index), Token::Symbol(":="), ..] => (Some(index.clone()), None, 3),
            _ => (None, None, 1),
        };
        for name in [&first, &second].into_iter().flatten() {
            check_name(name, opened)?;
        }
        let mut tokens = Tokens::new(action, &mut self.names);
        tokens.at = skipped;
        let over = tokens.pipeline()?;
        tokens.end()?;
        let outer = (self.names.bound.len(), self.names.ranges);
        self.names.bound.extend([&first, &second].into_iter().flatten().cloned());
        if second.is_none() {
            self.names.ranges += 1;
        }
        let (body, next) = self.block()?;
        self.names.bound.truncate(outer.0);
        self.names.ranges = outer.1;
        let next = next.ok_or_else(|| unclosed("range", opened))?;
        let mut otherwise = Vec::new();
        if matches!(next.tokens.as_slice(), [Token::Name(name)] if name == "else") {
            let (body, end) = self.block()?;
            is_end(&end.ok_or_else(|| unclosed("range", opened))?)?;
            otherwise = body;
        } else {
            is_end(&next)?;
        }
        self.depth -= 1;
        Ok(Node::Range { index: first, item: second, over, body, otherwise })
    }

    fn deeper(&mut self, line: usize) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(SyntaxError { line, problem: format!("more than {DEPTH} blocks stand within each other") });
        }
        Ok(())
    }
}

fn is_end(action: &Action) -> Result<(), SyntaxError> {
    match action.tokens.as_slice() {
        [Token::Name(name)] if name == "end" => Ok(()),
        _ => Err(misplaced(action)),
    }
}

fn misplaced(action: &Action) -> SyntaxError {
    SyntaxError { line: action.line, problem: "`{{ end }}` or `{{ else }}` is expected here".to_owned() }
}

fn unclosed(what: &str, line: usize) -> SyntaxError {
    SyntaxError { line, problem: format!("`{{{{ {what} }}}}` has no `{{{{ end }}}}`") }
}

/// A name that a template may give.
fn check_name(name: &str, line: usize) -> Result<(), SyntaxError> {
    let taken = KEYWORDS.contains(&name)
        || ABSENT_STATEMENTS.contains(&name)
        || ["true", "false", "nil", "_"].contains(&name)
        || FUNCTIONS.iter().any(|(function, ..)| *function == name);
    if taken {
        Err(SyntaxError { line, problem: format!("`{name}` cannot be the name of a variable") })
    } else {
        Ok(())
    }
}

/// The tokens of one action.
struct Tokens<'a> {
    action: &'a Action,
    names: &'a mut Names,
    at: usize,
    depth: usize,
    operations: usize,
    /// Whether variables are only asked about.
    asks: bool,
}

impl<'a> Tokens<'a> {
    fn new(action: &'a Action, names: &'a mut Names) -> Self {
        Self { action, names, at: 0, depth: 0, operations: 0, asks: false }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.action.tokens.get(self.at)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), SyntaxError> {
        if self.take(symbol) { Ok(()) } else { Err(self.error(format!("`{symbol}` is expected{}", self.found()))) }
    }

    fn end(&self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(Token::Symbol(":=")) => Err(self.error("variables cannot be set in mail templates")),
            Some(_) => Err(self.error(format!("`}}}}` is expected{}", self.found()))),
        }
    }

    fn found(&self) -> String {
        match self.peek() {
            None => " before `}}`".to_owned(),
            Some(Token::Name(name)) => format!(" before `{name}`"),
            Some(Token::Text(text)) => format!(" before \"{text:.40}\""),
            Some(Token::Number(number)) => format!(" before `{number}`"),
            Some(Token::Symbol(symbol)) => format!(" before `{symbol}`"),
        }
    }

    fn error(&self, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.action.line, problem: problem.into() }
    }

    fn operation(&mut self) -> Result<(), SyntaxError> {
        self.operations += 1;
        if self.operations > OPERATIONS {
            return Err(self.error(format!("more than {OPERATIONS} operations stand in one action")));
        }
        Ok(())
    }

    /// An expression, and the functions that it is piped into.
    fn pipeline(&mut self) -> Result<Expression, SyntaxError> {
        let mut value = match (self.peek(), self.action.tokens.get(self.at + 1)) {
            (Some(Token::Name(name)), Some(Token::Symbol(":"))) => {
                self.at += 2;
                self.prefixed(name, None)?
            }
            _ => self.expression()?,
        };
        while self.take("|") {
            let Some(Token::Name(name)) = self.peek() else {
                return Err(self.error(format!("the name of a function is expected{}", self.found())));
            };
            self.at += 1;
            value = if self.take(":") {
                self.prefixed(name, Some(value))?
            } else if self.take("(") {
                let arguments = self.arguments(name)?;
                self.call(name, arguments, Some(value))?
            } else {
                self.call(name, Vec::new(), Some(value))?
            };
        }
        Ok(value)
    }

    /// `name: a, b`, whose arguments end with the command.
    fn prefixed(&mut self, name: &str, piped: Option<Expression>) -> Result<Expression, SyntaxError> {
        let asks = std::mem::replace(&mut self.asks, name == "isset");
        let mut arguments = vec![self.argument()?];
        while self.take(",") {
            arguments.push(self.argument()?);
        }
        self.asks = asks;
        self.call(name, arguments, piped)
    }

    fn arguments(&mut self, name: &str) -> Result<Vec<Expression>, SyntaxError> {
        let asks = std::mem::replace(&mut self.asks, name == "isset");
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.argument()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        self.asks = asks;
        Ok(arguments)
    }

    /// A value, or the place of the one that is piped.
    fn argument(&mut self) -> Result<Expression, SyntaxError> {
        if matches!(self.peek(), Some(Token::Name(name)) if name == "_") {
            self.at += 1;
            return Ok(Expression::Slot);
        }
        self.expression()
    }

    fn call(
        &mut self,
        name: &str,
        mut arguments: Vec<Expression>,
        piped: Option<Expression>,
    ) -> Result<Expression, SyntaxError> {
        self.operation()?;
        let Some((_, function, fewest, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(self.unknown(name));
        };
        let slots = arguments.iter().filter(|argument| matches!(argument, Expression::Slot)).count();
        match piped {
            Some(piped) if slots == 0 => arguments.insert(0, piped),
            Some(piped) if slots == 1 => {
                let slot = arguments.iter_mut().find(|argument| matches!(argument, Expression::Slot));
                if let Some(slot) = slot {
                    *slot = piped;
                }
            }
            None if slots == 0 => {}
            _ => return Err(self.error("`_` stands once for the value that is piped, and nowhere else")),
        }
        if !(*fewest..=*most).contains(&arguments.len()) {
            return Err(self.error(format!("`{name}` is given {} values", arguments.len())));
        }
        Ok(Expression::Call(*function, arguments))
    }

    fn unknown(&self, name: &str) -> SyntaxError {
        if ABSENT_FUNCTIONS.contains(&name) || ABSENT_STATEMENTS.contains(&name) {
            return self.error(format!("`{name}` is not available in mail templates"));
        }
        let known: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        self.error(format!("there is no function `{name}`; there are {}", known.join(", ")))
    }

    fn expression(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error(format!("more than {DEPTH} parts of an expression stand within each other")));
        }
        let condition = self.binary(0)?;
        let value = if self.take("?") {
            self.operation()?;
            let then = self.expression()?;
            self.expect(":")?;
            Expression::Choice(Box::new((condition, then, self.expression()?)))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(value)
    }

    fn binary(&mut self, level: usize) -> Result<Expression, SyntaxError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.take(symbol)) {
            self.operation()?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, SyntaxError> {
        let mut signs = Vec::new();
        loop {
            if self.take("!") {
                signs.push('!');
            } else if self.take("-") {
                signs.push('-');
            } else {
                break;
            }
            self.operation()?;
        }
        let value = self.primary()?;
        Ok(signs.into_iter().rev().fold(value, |value, sign| match sign {
            '!' => Expression::Not(Box::new(value)),
            _ => Expression::Negative(Box::new(value)),
        }))
    }

    fn primary(&mut self) -> Result<Expression, SyntaxError> {
        if self.take("(") {
            let value = self.expression()?;
            self.expect(")")?;
            return Ok(value);
        }
        let Some(token) = self.peek() else { return Err(self.error("a value is expected before `}}`")) };
        let value = match token {
            Token::Text(text) => Expression::Text(text.clone()),
            Token::Number(number) => Expression::Number(*number),
            Token::Symbol(".") if self.names.ranges > 0 => Expression::Current,
            Token::Symbol(".") => return Err(self.error("`.` has a value within `range` only; variables have no dot")),
            Token::Symbol(_) => return Err(self.error(format!("a value is expected{}", self.found()))),
            Token::Name(name) => {
                self.at += 1;
                return self.named(name);
            }
        };
        self.at += 1;
        if matches!(value, Expression::Current) && matches!(self.peek(), Some(Token::Name(_))) {
            return Err(self.error("values have no fields"));
        }
        Ok(value)
    }

    fn named(&mut self, name: &str) -> Result<Expression, SyntaxError> {
        match name {
            "true" => return Ok(Expression::Bool(true)),
            "false" => return Ok(Expression::Bool(false)),
            "nil" => return Ok(Expression::Nil),
            "_" => return Err(self.error("`_` stands among the values of a function only")),
            _ => {}
        }
        if self.take("(") {
            let arguments = self.arguments(name)?;
            return self.call(name, arguments, None);
        }
        if matches!(self.peek(), Some(Token::Symbol("."))) {
            return Err(self.error(format!("`{name}` has no fields")));
        }
        if matches!(self.peek(), Some(Token::Symbol(":="))) {
            return Err(self.error("variables cannot be set in mail templates"));
        }
        if KEYWORDS.contains(&name) {
            return Err(self.error(format!("`{name}` is not expected here")));
        }
        if ABSENT_STATEMENTS.contains(&name) {
            return Err(self.error(format!("`{name}` is not available in mail templates")));
        }
        if FUNCTIONS.iter().any(|(function, ..)| *function == name) {
            return Err(self.error(format!("`{name}` is a function: `value | {name}` or `{name}(value)`")));
        }
        if !self.names.bound.iter().any(|bound| bound == name) {
            self.names.variables.insert(name.to_owned());
            if !self.asks {
                self.names.required.insert(name.to_owned());
            }
        }
        Ok(Expression::Variable(name.to_owned()))
    }
}
