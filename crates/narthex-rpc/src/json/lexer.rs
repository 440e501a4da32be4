//! The tokens of RFC 8259, read in place.

use std::borrow::Cow;

use crate::malformed::{Malformed, Result};

/// Nesting below which values of unknown members are skipped.
const MAX_SKIPPED_DEPTH: u32 = 100;

/// A position in a JSON text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("the JSON is not valid UTF-8"))?;
        Ok(Self { text, position: 0 })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Result<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.position += 1;
        }
        Err(Malformed::new("the JSON ends too early"))
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(_) => Err(self.unexpected()),
            Err(_) => Ok(()),
        }
    }

    fn unexpected(&self) -> Malformed {
        Malformed::new(format!("not valid JSON at byte {}", self.position))
    }

    /// Takes this byte if it comes next.
    pub fn accept(&mut self, wanted: u8) -> Result<bool> {
        let found = self.peek()? == wanted;
        self.position += usize::from(found);
        Ok(found)
    }

    /// Takes this byte, which must come next.
    pub fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.accept(wanted)? { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes `null` if it comes next.
    pub fn null(&mut self) -> Result<bool> {
        if self.peek()? == b'n' {
            self.word("null")?;
            return Ok(true);
        }
        Ok(false)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool> {
        match self.peek()? {
            b't' => self.word("true").map(|()| true),
            b'f' => self.word("false").map(|()| false),
            _ => Err(Malformed::new("must be true or false")),
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if self.text.as_bytes()[self.position..].starts_with(word.as_bytes()) {
            self.position += word.len();
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// A number, as it is spelled.
    pub fn number(&mut self) -> Result<&'a str> {
        self.peek()?;
        let length = number_length(&self.text.as_bytes()[self.position..]).ok_or_else(|| self.unexpected())?;
        let number = &self.text[self.position..self.position + length];
        self.position += length;
        Ok(number)
    }

    /// A string.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        if self.peek()? != b'"' {
            return Err(Malformed::new("must be a string"));
        }
        self.position += 1;
        let start = self.position;
        loop {
            match self.byte() {
                Some(b'"') => {
                    let text = &self.text[start..self.position];
                    self.position += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => break,
                Some(0..=0x1f) => return Err(self.unexpected()),
                Some(_) => self.position += 1,
                None => return Err(Malformed::new("the JSON ends inside a string")),
            }
        }
        let mut text = self.text[start..self.position].to_owned();
        let mut plain = self.position;
        loop {
            match self.byte() {
                Some(b'"') => {
                    text.push_str(&self.text[plain..self.position]);
                    self.position += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    text.push_str(&self.text[plain..self.position]);
                    self.position += 1;
                    text.push(self.escape()?);
                    plain = self.position;
                }
                Some(0..=0x1f) => return Err(self.unexpected()),
                Some(_) => self.position += 1,
                None => return Err(Malformed::new("the JSON ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let byte = self.byte().ok_or_else(|| self.unexpected())?;
        self.position += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        self.word("\\u")?;
                        let second = self.hex()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(Malformed::new("a lone surrogate in a string"));
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(|| Malformed::new("a lone surrogate in a string"))?
            }
            _ => return Err(self.unexpected()),
        })
    }

    fn hex(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.position..self.position + 4).ok_or_else(|| self.unexpected())?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16).ok_or_else(|| self.unexpected())?;
        }
        self.position += 4;
        Ok(value)
    }

    /// The next key of an object whose `{` has been taken, with its colon; `None` at the `}`. `first` is true before the first.
    pub fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>> {
        if self.accept(b'}')? {
            return Ok(None);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        if self.peek()? != b'"' {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Whether an array whose `[` has been taken has another element.
    pub fn element(&mut self, first: &mut bool) -> Result<bool> {
        if self.accept(b']')? {
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Passes over any value.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_within(MAX_SKIPPED_DEPTH)
    }

    fn skip_within(&mut self, depth: u32) -> Result<()> {
        let deeper = || depth.checked_sub(1).ok_or_else(|| Malformed::new("nested too deeply"));
        match self.peek()? {
            b'"' => self.string().map(drop),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.word("null"),
            b'{' => {
                let depth = deeper()?;
                self.position += 1;
                let mut first = true;
                while self.key(&mut first)?.is_some() {
                    self.skip_within(depth)?;
                }
                Ok(())
            }
            b'[' => {
                let depth = deeper()?;
                self.position += 1;
                let mut first = true;
                while self.element(&mut first)? {
                    self.skip_within(depth)?;
                }
                Ok(())
            }
            _ => self.number().map(drop),
        }
    }
}

/// Length of the JSON number at the start of the text; `None` if there is none.
pub(crate) fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || whole > 1 && text[at] == b'0' {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}
