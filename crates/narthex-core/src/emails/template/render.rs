//! From a tree to text, within limits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::Format;
use super::parse::{Expression, Function, Node, Operator};

/// Steps of one rendering; long texts take more.
const STEPS: usize = 100_000;
/// Bytes of a text that is one step.
const BYTES_PER_STEP: usize = 256;
/// Bytes of what one rendering prints.
const PRINTED: usize = 2 * 1024 * 1024;
/// Bytes of a text that an expression makes.
const LONGEST: usize = 64 * 1024;

/// Why a template could not be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderError {
    /// Its loops do not come to an end in time.
    Work,
    /// It prints, or makes a text, of more bytes than a mail may have.
    Length,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Work => "the template takes too much work",
            Self::Length => "the template prints too much",
        })
    }
}

impl std::error::Error for RenderError {}

#[derive(Debug, Clone)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Bool(bool),
    List(Vec<Value<'a>>),
    Nil,
}

impl<'a> Value<'a> {
    fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::List(items) => !items.is_empty(),
            Self::Nil => false,
        }
    }

    /// As it is printed.
    fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string().into(),
            Self::Bool(value) => if value { "true" } else { "false" }.into(),
            Self::List(items) => items.into_iter().map(Self::text).collect::<Vec<_>>().join(", ").into(),
            Self::Nil => "".into(),
        }
    }

    /// A number, or a text that is one.
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Bool(_) | Self::List(_) | Self::Nil => None,
        }
    }
}

pub(super) fn render(
    nodes: &[Node],
    variables: &BTreeMap<String, String>,
    format: Format,
) -> Result<String, RenderError> {
    let mut rendering =
        Rendering { variables, format, bound: Vec::new(), current: Vec::new(), printed: String::new(), steps: STEPS };
    rendering.nodes(nodes)?;
    Ok(rendering.printed)
}

struct Rendering<'a> {
    variables: &'a BTreeMap<String, String>,
    format: Format,
    bound: Vec<(&'a str, Value<'a>)>,
    current: Vec<Value<'a>>,
    printed: String,
    steps: usize,
}

impl<'a> Rendering<'a> {
    fn nodes(&mut self, nodes: &'a [Node]) -> Result<(), RenderError> {
        for node in nodes {
            self.step(0)?;
            match node {
                Node::Text(text) => self.print(text)?,
                Node::Print(value) => {
                    let text = self.value(value)?.text();
                    match self.format {
                        Format::Text => self.print(&text)?,
                        Format::Html => self.print(&escape(&text))?,
                    }
                }
                Node::If { branches, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, body) in branches {
                        if self.value(condition)?.is_true() {
                            chosen = body;
                            break;
                        }
                    }
                    self.nodes(chosen)?;
                }
                Node::Range { index, item, over, body, otherwise } => {
                    self.range(index.as_deref(), item.as_deref(), over, body, otherwise)?;
                }
            }
        }
        Ok(())
    }

    fn range(
        &mut self,
        index: Option<&'a str>,
        item: Option<&'a str>,
        over: &'a Expression,
        body: &'a [Node],
        otherwise: &'a [Node],
    ) -> Result<(), RenderError> {
        let items = match self.value(over)? {
            Value::List(items) => items,
            Value::Nil => Vec::new(),
            Value::Text(text) if text.is_empty() => Vec::new(),
            // One value is a list of one, since variables are texts.
            value => vec![value],
        };
        if items.is_empty() {
            return self.nodes(otherwise);
        }
        let outer = (self.bound.len(), self.current.len());
        for (at, value) in items.into_iter().enumerate() {
            self.step(0)?;
            if let Some(index) = index {
                self.bound.push((index, Value::Number(i64::try_from(at).unwrap_or(i64::MAX))));
            }
            match item {
                Some(item) => self.bound.push((item, value)),
                None => self.current.push(value),
            }
            self.nodes(body)?;
            self.bound.truncate(outer.0);
            self.current.truncate(outer.1);
        }
        Ok(())
    }

    fn value(&mut self, expression: &'a Expression) -> Result<Value<'a>, RenderError> {
        self.step(0)?;
        Ok(match expression {
            Expression::Text(text) => Value::Text(Cow::Borrowed(text)),
            Expression::Number(number) => Value::Number(*number),
            Expression::Bool(value) => Value::Bool(*value),
            Expression::Nil | Expression::Slot => Value::Nil,
            Expression::Variable(name) => self.variable(name)?,
            Expression::Current => {
                let value = self.current.last().cloned().unwrap_or(Value::Nil);
                self.copied(value)?
            }
            Expression::Not(value) => Value::Bool(!self.value(value)?.is_true()),
            Expression::Negative(value) => {
                self.value(value)?.number().and_then(i64::checked_neg).map_or(Value::Nil, Value::Number)
            }
            Expression::Choice(parts) => {
                let (condition, then, otherwise) = parts.as_ref();
                let chosen = if self.value(condition)?.is_true() { then } else { otherwise };
                self.value(chosen)?
            }
            Expression::Binary(Operator::And, left, right) => {
                Value::Bool(self.value(left)?.is_true() && self.value(right)?.is_true())
            }
            Expression::Binary(Operator::Or, left, right) => {
                Value::Bool(self.value(left)?.is_true() || self.value(right)?.is_true())
            }
            Expression::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, left, right)?
            }
            Expression::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.value(argument)?);
                }
                self.call(*function, values)?
            }
        })
    }

    fn variable(&mut self, name: &str) -> Result<Value<'a>, RenderError> {
        if let Some((_, value)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            let value = value.clone();
            return self.copied(value);
        }
        Ok(self.variables.get(name).map_or(Value::Nil, |text| Value::Text(Cow::Borrowed(text))))
    }

    /// Counts the work of a copy.
    fn copied(&mut self, value: Value<'a>) -> Result<Value<'a>, RenderError> {
        match &value {
            Value::Text(text) => self.step(text.len())?,
            Value::List(items) => self.step(items.len() * BYTES_PER_STEP)?,
            Value::Number(_) | Value::Bool(_) | Value::Nil => {}
        }
        Ok(value)
    }

    fn binary(&mut self, operator: Operator, left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, RenderError> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let ordering = match (&left, &right) {
            (Value::Bool(left), right) => left.cmp(&right.is_true()),
            (left, Value::Bool(right)) => left.is_true().cmp(right),
            (Value::Number(_), _) | (_, Value::Number(_)) if left.number().is_some() && right.number().is_some() => {
                left.number().cmp(&right.number())
            }
            _ => {
                let (left, right) = (left.clone().text(), right.clone().text());
                self.step(left.len().min(right.len()))?;
                left.cmp(&right)
            }
        };
        let number = |calculate: fn(i64, i64) -> Option<i64>| {
            let result = left.number().zip(right.number()).and_then(|(left, right)| calculate(left, right));
            result.map_or(Value::Nil, Value::Number)
        };
        Ok(match operator {
            Operator::Equal => Value::Bool(ordering == Equal),
            Operator::NotEqual => Value::Bool(ordering != Equal),
            Operator::Less => Value::Bool(ordering == Less),
            Operator::LessOrEqual => Value::Bool(ordering != Greater),
            Operator::Greater => Value::Bool(ordering == Greater),
            Operator::GreaterOrEqual => Value::Bool(ordering != Less),
            Operator::Add if matches!((&left, &right), (Value::Number(_), Value::Number(_))) => {
                number(i64::checked_add)
            }
            Operator::Add => {
                let (left, right) = (left.text(), right.text());
                self.made(left.len() + right.len())?;
                Value::Text(format!("{left}{right}").into())
            }
            Operator::Subtract => number(i64::checked_sub),
            Operator::Multiply => number(i64::checked_mul),
            Operator::Divide => number(i64::checked_div),
            Operator::Remainder => number(i64::checked_rem),
            Operator::And | Operator::Or => Value::Nil,
        })
    }

    fn call(&mut self, function: Function, arguments: Vec<Value<'a>>) -> Result<Value<'a>, RenderError> {
        match function {
            Function::List => {
                self.step(arguments.len() * BYTES_PER_STEP)?;
                return Ok(Value::List(arguments));
            }
            Function::IsSet => {
                return Ok(Value::Bool(arguments.iter().all(|value| !matches!(value, Value::Nil))));
            }
            _ => {}
        }
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or(Value::Nil);
        let first = next();
        Ok(match function {
            Function::Len => {
                let length = if let Value::List(items) = &first {
                    items.len()
                } else {
                    let text = first.text();
                    self.step(text.len())?;
                    text.chars().count()
                };
                Value::Number(i64::try_from(length).unwrap_or(i64::MAX))
            }
            Function::Lower => self.changed(&first.text(), str::to_lowercase)?,
            Function::Upper => self.changed(&first.text(), str::to_uppercase)?,
            Function::TrimSpace => self.changed(&first.text(), |text| text.trim().to_owned())?,
            Function::Url => self.changed(&first.text(), crate::uri::encode)?,
            Function::HasPrefix => Value::Bool(first.text().starts_with(next().text().as_ref())),
            Function::HasSuffix => Value::Bool(first.text().ends_with(next().text().as_ref())),
            Function::Repeat => {
                let (text, times) = (first.text(), next().number().unwrap_or(0).max(0));
                let times = usize::try_from(times).unwrap_or(usize::MAX);
                self.made(text.len().saturating_mul(times))?;
                Value::Text(text.repeat(times).into())
            }
            Function::Replace => {
                let (text, from, to) = (first.text(), next().text(), next().text());
                let most = arguments.next().and_then(|most| most.number()).and_then(|most| usize::try_from(most).ok());
                self.step(text.len())?;
                let found = text.matches(from.as_ref()).take(most.unwrap_or(usize::MAX)).count();
                self.made(text.len().saturating_add(found.saturating_mul(to.len())))?;
                Value::Text(text.replacen(from.as_ref(), &to, found).into())
            }
            Function::Split => {
                let (text, separator) = (first.text(), next().text());
                // Each part is a value of its own.
                let parts = text.matches(separator.as_ref()).count() + 1;
                self.made(text.len())?;
                self.step(parts.saturating_mul(BYTES_PER_STEP))?;
                let part = |part: &str| Value::Text(part.to_owned().into());
                match separator.as_ref() {
                    "" => Value::List(text.chars().map(|c| part(c.encode_utf8(&mut [0; 4]))).collect()),
                    separator => Value::List(text.split(separator).map(part).collect()),
                }
            }
            Function::Ints => {
                let (from, to) = (first.number().unwrap_or(0), next().number().unwrap_or(0));
                let count = usize::try_from(to.saturating_sub(from).max(0)).unwrap_or(usize::MAX);
                self.step(count.saturating_mul(BYTES_PER_STEP))?;
                Value::List((from..to).map(Value::Number).collect())
            }
            Function::List | Function::IsSet => Value::Nil,
        })
    }

    /// A text that is about as long as the one it is made from.
    fn changed(&mut self, text: &str, change: impl Fn(&str) -> String) -> Result<Value<'a>, RenderError> {
        // Three bytes for one is the most that changing case or escaping makes of it.
        self.made(text.len().saturating_mul(3))?;
        Ok(Value::Text(change(text).into()))
    }

    /// A text of up to `length` bytes is about to be made.
    fn made(&mut self, length: usize) -> Result<(), RenderError> {
        if length > LONGEST {
            return Err(RenderError::Length);
        }
        self.step(length)
    }

    fn print(&mut self, text: &str) -> Result<(), RenderError> {
        if self.printed.len() + text.len() > PRINTED {
            return Err(RenderError::Length);
        }
        self.printed.push_str(text);
        Ok(())
    }

    fn step(&mut self, bytes: usize) -> Result<(), RenderError> {
        self.steps = self.steps.checked_sub(1 + bytes / BYTES_PER_STEP).ok_or(RenderError::Work)?;
        Ok(())
    }
}

/// Escapes a text for HTML, between tags and within a quoted attribute.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '`']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '`' => escaped.push_str("&#96;"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}
