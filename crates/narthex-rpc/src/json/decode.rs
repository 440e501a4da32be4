//! JSON to wire bytes.

use std::collections::HashSet;

use narthex_api::contract::{Cardinality, Field, Kind, Message, WellKnown};

use super::lexer::Lexer;
use super::{scalar, time};
use crate::malformed::{Malformed, Result};
use crate::wire::{self, Allowance, MAX_DEPTH, put_delimited, put_key};

/// The wire bytes of the message that this JSON text stands for. Both spellings of field names are known, unknown members are ignored,
/// an unknown enum name is not.
pub fn decode(message: &'static Message, json: &[u8]) -> Result<Vec<u8>> {
    let mut decoder = Decoder { lexer: Lexer::new(json)?, allowance: Allowance::new() };
    let mut out = Vec::with_capacity(json.len());
    decoder.message(message, &mut out, MAX_DEPTH)?;
    decoder.lexer.end()?;
    Ok(out)
}

/// Appends one field, key included, whose value is this JSON text: the request body of a binding with `body: "field"`.
pub(crate) fn decode_field(field: &'static Field, json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut decoder = Decoder { lexer: Lexer::new(json)?, allowance: Allowance::new() };
    decoder.field(field, out, MAX_DEPTH).map_err(|problem| problem.within(field.name))?;
    decoder.lexer.end()
}

/// The paths of the fields that stand in this JSON text, in proto names, down to the leaves: the update mask of a PATCH that has none
/// (as grpc-gateway derives it). A member that is `null` or an empty object is a leaf.
pub fn field_paths(message: &'static Message, json: &[u8]) -> Result<Vec<String>> {
    let mut decoder = Decoder { lexer: Lexer::new(json)?, allowance: Allowance::new() };
    let mut paths = Vec::new();
    if !decoder.lexer.null()? {
        decoder.paths(message, "", &mut paths, MAX_DEPTH)?;
    }
    decoder.lexer.end()?;
    Ok(paths)
}

struct Decoder<'a> {
    lexer: Lexer<'a>,
    allowance: Allowance,
}

/// One level down, if there is one.
fn deeper(depth: u32) -> Result<u32> {
    depth.checked_sub(1).ok_or_else(|| Malformed::new("nested too deeply"))
}

fn is_value(kind: Kind) -> bool {
    matches!(kind, Kind::Message(message) if message.well_known == Some(WellKnown::Value))
}

impl Decoder<'_> {
    fn message(&mut self, message: &'static Message, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        match message.well_known {
            None => self.object(message, out, depth),
            Some(WellKnown::Timestamp) => {
                let (seconds, nanos) = time::parse_timestamp(&self.lexer.string()?)?;
                put_seconds(seconds, nanos, out);
                Ok(())
            }
            Some(WellKnown::Duration) => {
                let (seconds, nanos) = time::parse_duration(&self.lexer.string()?)?;
                put_seconds(seconds, nanos, out);
                Ok(())
            }
            Some(WellKnown::FieldMask) => put_mask(&self.lexer.string()?, out),
            Some(WellKnown::Struct) => self.structure(out, depth),
            Some(WellKnown::Value) => self.value(out, depth),
            Some(WellKnown::ListValue) => self.list_value(out, depth),
            Some(WellKnown::Wrapper) => self.singular(&message.fields[0], out, depth),
            Some(WellKnown::Any) => Err(Malformed::new("google.protobuf.Any is not part of the contract")),
        }
    }

    fn object(&mut self, message: &'static Message, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if !self.lexer.accept(b'{')? {
            return Err(Malformed::new("must be a JSON object"));
        }
        let (mut seen, mut oneofs) = (0u64, 0u64);
        let mut first = true;
        while let Some(key) = self.lexer.key(&mut first)? {
            let named = message.fields.iter().position(|field| field.name == key || field.json_name == key);
            let Some(index) = named else {
                self.lexer.skip()?;
                continue;
            };
            let field = &message.fields[index];
            if seen & 1 << index != 0 {
                return Err(Malformed::new("is given twice").within(field.name));
            }
            seen |= 1 << index;
            let set = self.field(field, out, depth).map_err(|problem| problem.within(field.name))?;
            if let (true, Some(oneof)) = (set, field.oneof) {
                if oneofs & 1 << oneof != 0 {
                    let name = message.oneofs[usize::from(oneof)].name;
                    return Err(Malformed::new(format!("only one of {name} may be given")).within(field.name));
                }
                oneofs |= 1 << oneof;
            }
        }
        Ok(())
    }

    /// A field with its key; whether it was set.
    fn field(&mut self, field: &'static Field, out: &mut Vec<u8>, depth: u32) -> Result<bool> {
        if self.lexer.peek()? == b'n' && !(field.cardinality == Cardinality::Explicit && is_value(field.kind)) {
            self.lexer.null()?;
            return Ok(false);
        }
        match field.cardinality {
            Cardinality::Implicit | Cardinality::Explicit => self.singular(field, out, depth)?,
            Cardinality::Repeated => self.list(field, out, depth)?,
            Cardinality::Map => self.map(field, out, depth)?,
        }
        Ok(true)
    }

    fn singular(&mut self, field: &'static Field, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        let start = out.len();
        put_key(out, field.number, wire::wire_type(field.kind));
        let zero = self.element(field.kind, out, depth)?;
        if zero && field.cardinality == Cardinality::Implicit {
            out.truncate(start);
        }
        Ok(())
    }

    /// One value without its key; whether it is zero.
    fn element(&mut self, kind: Kind, out: &mut Vec<u8>, depth: u32) -> Result<scalar::IsZero> {
        match kind {
            Kind::Message(message) => {
                let depth = deeper(depth)?;
                self.allowance.take()?;
                put_delimited(out, |out| self.message(message, out, depth))?;
                Ok(false)
            }
            Kind::String => scalar::put_string(&self.lexer.string()?, out),
            Kind::Bytes => scalar::put_text(kind, &self.lexer.string()?, out),
            Kind::Bool => Ok(scalar::put_bool(self.lexer.boolean()?, out)),
            Kind::Enum(_) => match self.lexer.peek()? {
                b'"' => scalar::put_enum_name(kind, &self.lexer.string()?, out),
                b'-' | b'0'..=b'9' => scalar::put_number(kind, self.lexer.number()?, out),
                _ => Err(Malformed::new("must be the name of a value")),
            },
            Kind::Double | Kind::Float => {
                let value = match self.lexer.peek()? {
                    b'"' => scalar::float(&self.lexer.string()?)?,
                    b'-' | b'0'..=b'9' => scalar::float(self.lexer.number()?)?,
                    _ => return Err(Malformed::new("must be a number")),
                };
                scalar::put_float(kind, value, out)
            }
            _ => match self.lexer.peek()? {
                b'"' => scalar::put_number(kind, &self.lexer.string()?, out),
                b'-' | b'0'..=b'9' => scalar::put_number(kind, self.lexer.number()?, out),
                _ => Err(Malformed::new("must be a number")),
            },
        }
    }

    fn list(&mut self, field: &'static Field, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if !self.lexer.accept(b'[')? {
            return Err(Malformed::new("must be a JSON array"));
        }
        let wire_type = wire::wire_type(field.kind);
        if wire_type == 2 {
            return self.elements(
                field.kind,
                |decoder, out| {
                    put_key(out, field.number, 2);
                    decoder.element(field.kind, out, depth).map(drop)
                },
                out,
            );
        }
        let start = out.len();
        put_key(out, field.number, 2);
        let content = out.len() + 1;
        put_delimited(out, |out| {
            self.elements(field.kind, |decoder, out| decoder.element(field.kind, out, depth).map(drop), out)
        })?;
        if out.len() == content {
            out.truncate(start);
        }
        Ok(())
    }

    fn elements(
        &mut self,
        kind: Kind,
        mut each: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut first = true;
        let mut index = 0;
        while self.lexer.element(&mut first)? {
            if self.lexer.peek()? == b'n' && !is_value(kind) {
                return Err(Malformed::new("must not be null").at(index));
            }
            each(self, out).map_err(|problem| problem.at(index))?;
            index += 1;
        }
        Ok(())
    }

    fn map(&mut self, field: &'static Field, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if !self.lexer.accept(b'{')? {
            return Err(Malformed::new("must be a JSON object"));
        }
        let Kind::Message(entry) = field.kind else { return Err(Malformed::new("must be a JSON object")) };
        let (key_field, value_field) = (&entry.fields[0], &entry.fields[1]);
        let depth = deeper(depth)?;
        let mut keys = HashSet::new();
        let mut first = true;
        while let Some(key) = self.lexer.key(&mut first)? {
            self.allowance.take()?;
            put_key(out, field.number, 2);
            put_delimited(out, |out| {
                put_key(out, key_field.number, wire::wire_type(key_field.kind));
                scalar::put_text(key_field.kind, &key, out)?;
                if self.lexer.peek()? == b'n' && !is_value(value_field.kind) {
                    return Err(Malformed::new("must not be null"));
                }
                put_key(out, value_field.number, wire::wire_type(value_field.kind));
                self.element(value_field.kind, out, depth).map(drop)
            })
            .map_err(|problem| problem.under(&key))?;
            if keys.contains(&key) {
                return Err(Malformed::new("is given twice").under(&key));
            }
            keys.insert(key);
        }
        Ok(())
    }

    /// `google.protobuf.Struct`: a map from names to values in field 1.
    fn structure(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if !self.lexer.accept(b'{')? {
            return Err(Malformed::new("must be a JSON object"));
        }
        let entry_depth = deeper(depth)?;
        let value_depth = deeper(entry_depth)?;
        let mut keys = HashSet::new();
        let mut first = true;
        while let Some(key) = self.lexer.key(&mut first)? {
            // The entry, and the value in it.
            self.allowance.take()?;
            self.allowance.take()?;
            put_key(out, 1, 2);
            put_delimited(out, |out| {
                put_key(out, 1, 2);
                scalar::put_string(&key, out)?;
                put_key(out, 2, 2);
                put_delimited(out, |out| self.value(out, value_depth))
            })
            .map_err(|problem| problem.under(&key))?;
            if keys.contains(&key) {
                return Err(Malformed::new("is given twice").under(&key));
            }
            keys.insert(key);
        }
        Ok(())
    }

    /// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        match self.lexer.peek()? {
            b'n' => {
                self.lexer.null()?;
                out.extend_from_slice(&[1 << 3, 0]);
            }
            b'"' => {
                put_key(out, 3, 2);
                scalar::put_string(&self.lexer.string()?, out)?;
            }
            b't' | b'f' => {
                put_key(out, 4, 0);
                scalar::put_bool(self.lexer.boolean()?, out);
            }
            b'{' => {
                let depth = deeper(depth)?;
                self.allowance.take()?;
                put_key(out, 5, 2);
                put_delimited(out, |out| self.structure(out, depth))?;
            }
            b'[' => {
                let depth = deeper(depth)?;
                self.allowance.take()?;
                put_key(out, 6, 2);
                put_delimited(out, |out| self.list_value(out, depth))?;
            }
            _ => {
                let number = scalar::float(self.lexer.number()?)?;
                put_key(out, 2, 1);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        Ok(())
    }

    /// `google.protobuf.ListValue`: values in field 1.
    fn list_value(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if !self.lexer.accept(b'[')? {
            return Err(Malformed::new("must be a JSON array"));
        }
        let depth = deeper(depth)?;
        let mut first = true;
        let mut index = 0;
        while self.lexer.element(&mut first)? {
            self.allowance.take()?;
            put_key(out, 1, 2);
            put_delimited(out, |out| self.value(out, depth)).map_err(|problem| problem.at(index))?;
            index += 1;
        }
        Ok(())
    }

    fn paths(&mut self, message: &'static Message, prefix: &str, paths: &mut Vec<String>, depth: u32) -> Result<()> {
        self.lexer.expect(b'{')?;
        let mut first = true;
        while let Some(key) = self.lexer.key(&mut first)? {
            let Some(field) = message.field_named(&key) else {
                self.lexer.skip()?;
                continue;
            };
            let path = if prefix.is_empty() { field.name.to_owned() } else { format!("{prefix}.{}", field.name) };
            match field.kind {
                Kind::Message(inner)
                    if field.cardinality == Cardinality::Explicit
                        && inner.well_known.is_none()
                        && self.lexer.peek()? == b'{' =>
                {
                    let before = paths.len();
                    self.paths(inner, &path, paths, deeper(depth)?)?;
                    if paths.len() == before {
                        paths.push(path);
                    }
                }
                _ => {
                    self.lexer.skip()?;
                    paths.push(path);
                }
            }
        }
        Ok(())
    }
}

/// The content of a Timestamp or Duration.
fn put_seconds(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        if value != 0 {
            put_key(out, number, 0);
            #[allow(clippy::cast_sign_loss)] // negative numbers are ten-byte varints
            wire::put_varint(out, value as u64);
        }
    }
}

/// The content of a FieldMask: comma-separated paths, in either spelling.
pub(super) fn put_mask(text: &str, out: &mut Vec<u8>) -> Result<()> {
    for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
        let mut snake = String::with_capacity(path.len() + 4);
        for character in path.chars() {
            if character.is_ascii_uppercase() {
                snake.push('_');
                snake.push(character.to_ascii_lowercase());
            } else if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
                snake.push(character);
            } else {
                return Err(Malformed::new("must be field paths, separated by commas"));
            }
        }
        put_key(out, 1, 2);
        scalar::put_string(&snake, out)?;
    }
    Ok(())
}

/// Appends one field, key included, whose value is this text: a query parameter or a path variable. With `always` even a zero that
/// the field could leave out is written, so that it beats an earlier occurrence.
pub(crate) fn put_text_field(field: &'static Field, text: &str, always: bool, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    put_key(out, field.number, wire::wire_type(field.kind));
    let zero = match field.kind {
        Kind::Message(message) => {
            put_delimited(out, |out| match message.well_known {
                Some(WellKnown::Timestamp) => {
                    let (seconds, nanos) = time::parse_timestamp(text)?;
                    put_seconds(seconds, nanos, out);
                    Ok(())
                }
                Some(WellKnown::Duration) => {
                    let (seconds, nanos) = time::parse_duration(text)?;
                    put_seconds(seconds, nanos, out);
                    Ok(())
                }
                Some(WellKnown::FieldMask) => put_mask(text, out),
                Some(WellKnown::Wrapper) => put_text_field(&message.fields[0], text, false, out),
                _ => Err(Malformed::new("cannot be given outside the body")),
            })?;
            false
        }
        Kind::Enum(_) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            scalar::put_number(field.kind, text, out)?
        }
        // Programs that build queries print booleans in their own language's way (`True`, `1`).
        Kind::Bool => match text {
            "1" | "True" | "TRUE" => scalar::put_bool(true, out),
            "0" | "False" | "FALSE" => scalar::put_bool(false, out),
            text => scalar::put_text(Kind::Bool, text, out)?,
        },
        kind => scalar::put_text(kind, text, out)?,
    };
    if zero && !always && field.cardinality == Cardinality::Implicit {
        out.truncate(start);
    }
    Ok(())
}
