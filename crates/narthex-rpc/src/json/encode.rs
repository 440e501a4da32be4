//! Wire bytes to JSON: proto names, in the order of the contract.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use narthex_api::contract::{Cardinality, Field, Kind, Message, WellKnown};

use super::time;
use crate::malformed::{Malformed, Result};
use crate::wire::{self, MAX_DEPTH, Occurrences, Raw, Reader, Slot};

/// Which empty values are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Scalars without presence, lists and maps always (control plane reference §16): the form of responses.
    Defaults,
    /// Nothing that is empty: the form of error details.
    Set,
}

/// The JSON text of a message. An `Err` means that the bytes are no such message or hold a value that has no JSON form (a time outside
/// the years 1 to 9999).
pub fn encode(message: &'static Message, bytes: &[u8], emit: Emit) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + bytes.len() * 2);
    encode_into(message, bytes, emit, &mut out)?;
    Ok(out)
}

/// The same, appended to a buffer.
pub fn encode_into(message: &'static Message, bytes: &[u8], emit: Emit, out: &mut Vec<u8>) -> Result<()> {
    Encoder { out, emit }.message(message, bytes, &mut Vec::new(), MAX_DEPTH)
}

struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    emit: Emit,
}

impl Encoder<'_> {
    /// `slots` is a stack shared by all levels, so that nested messages allocate nothing.
    fn message<'a>(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        match message.well_known {
            None => self.object(message, bytes, slots, depth),
            Some(WellKnown::Timestamp) => {
                let (seconds, nanos) = seconds(bytes)?;
                self.quoted(|out| time::format_timestamp(seconds, nanos, out))
            }
            Some(WellKnown::Duration) => {
                let (seconds, nanos) = seconds(bytes)?;
                self.quoted(|out| time::format_duration(seconds, nanos, out))
            }
            Some(WellKnown::FieldMask) => self.quoted(|out| put_mask(bytes, out)),
            Some(WellKnown::Struct) => self.map(&message.fields[0], bytes, Reader::new(bytes), u32::MAX, slots, depth),
            Some(WellKnown::Value) => self.value(message, bytes, slots, depth),
            Some(WellKnown::ListValue) => {
                let base = slots.len();
                wire::scan(message, bytes, slots)?;
                let slot = slots[base];
                let written = self.list(&message.fields[0], bytes, &slot, slots, depth);
                slots.truncate(base);
                written
            }
            Some(WellKnown::Wrapper) => {
                let field = &message.fields[0];
                let base = slots.len();
                wire::scan(message, bytes, slots)?;
                let raw = if slots[base].count > 0 { slots[base].raw } else { wire::zero(field.kind) };
                slots.truncate(base);
                self.element(field.kind, raw, slots, depth)
            }
            Some(WellKnown::Any) => Err(Malformed::new("google.protobuf.Any is not part of the contract")),
        }
    }

    fn object<'a>(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        let base = slots.len();
        wire::scan(message, bytes, slots)?;
        self.out.push(b'{');
        let mut first = true;
        for (index, field) in message.fields.iter().enumerate() {
            let slot = slots[base + index];
            let present = match field.cardinality {
                Cardinality::Explicit => slot.count > 0,
                Cardinality::Implicit => self.emit == Emit::Defaults || slot.count > 0 && !slot.raw.is_zero(),
                Cardinality::Repeated | Cardinality::Map => self.emit == Emit::Defaults || slot.count > 0,
            };
            if !present {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            // Names in the contract are identifiers: nothing to escape.
            self.out.push(b'"');
            self.out.extend_from_slice(field.name.as_bytes());
            self.out.extend_from_slice(b"\":");
            self.field(field, bytes, &slot, slots, depth).map_err(|problem| problem.within(field.name))?;
        }
        self.out.push(b'}');
        slots.truncate(base);
        Ok(())
    }

    fn field<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        slot: &Slot<'a>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        match field.cardinality {
            Cardinality::Repeated => self.list(field, bytes, slot, slots, depth),
            Cardinality::Map => self.map(field, bytes, Reader::from(bytes, slot.start), slot.count, slots, depth),
            Cardinality::Implicit | Cardinality::Explicit => match field.kind {
                Kind::Message(inner) if slot.count > 1 => {
                    let merged = wire::merged(bytes, field, slot);
                    self.message(inner, &merged, &mut Vec::new(), deeper(depth)?)
                }
                kind => {
                    let raw = if slot.count > 0 { slot.raw } else { wire::zero(kind) };
                    self.element(kind, raw, slots, depth)
                }
            },
        }
    }

    fn list<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        slot: &Slot<'a>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        self.out.push(b'[');
        let mut index = 0;
        wire::elements(bytes, field, slot, |raw| {
            if index > 0 {
                self.out.push(b',');
            }
            self.element(field.kind, raw, slots, depth).map_err(|problem| problem.at(index))?;
            index += 1;
            Ok(())
        })?;
        self.out.push(b']');
        Ok(())
    }

    /// Entries by key, so that the same map always prints the same; of two with the same key the last counts.
    fn map<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        reader: Reader<'a>,
        count: u32,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        let Kind::Message(entry) = field.kind else { return Err(Malformed::new("not a map")) };
        let depth = deeper(depth)?;
        let (key_field, value_field) = (&entry.fields[0], &entry.fields[1]);
        let slot = Slot { count, start: reader.position(), raw: Raw::Bytes(&[]) };
        let mut entries = Vec::new();
        let base = slots.len();
        for raw in Occurrences::new(bytes, field, &slot) {
            let Raw::Bytes(entry_bytes) = raw else {
                return Err(Malformed::new("the wire type does not fit the field"));
            };
            wire::scan(entry, entry_bytes, slots)?;
            let key = if slots[base].count > 0 { slots[base].raw } else { wire::zero(key_field.kind) };
            entries.push((key, entry_bytes, slots[base + 1]));
            slots.truncate(base);
        }
        match key_field.kind {
            Kind::String => entries.sort_by_key(|(key, ..)| key.bytes()),
            kind => entries.sort_by_key(|(key, ..)| key.integer(kind)),
        }
        self.out.push(b'{');
        let mut first = true;
        for (index, (key, entry_bytes, value)) in entries.iter().enumerate() {
            if entries.get(index + 1).is_some_and(|(next, ..)| next == key) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            if matches!(key_field.kind, Kind::String) {
                self.string(key.bytes())?;
            } else if matches!(key_field.kind, Kind::Bool) {
                self.out.extend_from_slice(if key.is_zero() { b"\"false\"" } else { b"\"true\"" });
            } else {
                wire::put_text(self.out, format_args!("\"{}\"", key.integer(key_field.kind)));
            }
            self.out.push(b':');
            if let (Kind::Message(_), true) = (value_field.kind, value.count > 1) {
                let merged = wire::merged(entry_bytes, value_field, value);
                self.element(value_field.kind, Raw::Bytes(&merged), &mut Vec::new(), depth)?;
            } else {
                let raw = if value.count > 0 { value.raw } else { wire::zero(value_field.kind) };
                self.element(value_field.kind, raw, slots, depth)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn element<'a>(&mut self, kind: Kind, raw: Raw<'a>, slots: &mut Vec<Slot<'a>>, depth: u32) -> Result<()> {
        match kind {
            Kind::Message(inner) => return self.message(inner, raw.bytes(), slots, deeper(depth)?),
            Kind::String => return self.string(raw.bytes()),
            Kind::Bytes => {
                return self.quoted(|out| {
                    out.extend_from_slice(STANDARD.encode(raw.bytes()).as_bytes());
                    Ok(())
                });
            }
            Kind::Bool => self.out.extend_from_slice(if raw.is_zero() { b"false" } else { b"true" }),
            Kind::Enum(values) => {
                let number = raw.integer(kind);
                match i32::try_from(number).ok().and_then(|number| values.name_of(number)) {
                    Some(name) => {
                        self.out.push(b'"');
                        self.out.extend_from_slice(name.as_bytes());
                        self.out.push(b'"');
                    }
                    // Open enums: a number that this version has no name for.
                    None => {
                        wire::put_text(self.out, format_args!("{number}"));
                    }
                }
            }
            Kind::Double | Kind::Float => self.float(kind, raw),
            // 64-bit integers are strings: a JavaScript number would round them.
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                wire::put_text(self.out, format_args!("\"{}\"", raw.integer(kind)));
            }
            _ => {
                wire::put_text(self.out, format_args!("{}", raw.integer(kind)));
            }
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, clippy::float_cmp)] // whole numbers below 2^53 are exact either way
    fn float(&mut self, kind: Kind, raw: Raw<'_>) {
        let value = raw.float();
        if value.is_nan() {
            self.out.extend_from_slice(b"\"NaN\"");
        } else if value.is_infinite() {
            self.out.extend_from_slice(if value < 0.0 { b"\"-Infinity\"" } else { b"\"Infinity\"" });
        } else if value == value.trunc() && value.abs() < 9e15 && !(value == 0.0 && value.is_sign_negative()) {
            wire::put_text(self.out, format_args!("{}", value as i64));
        } else if matches!(kind, Kind::Float) {
            wire::put_text(self.out, format_args!("{:?}", value as f32));
        } else {
            wire::put_text(self.out, format_args!("{value:?}"));
        }
    }

    fn value<'a>(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) -> Result<()> {
        let base = slots.len();
        wire::scan(message, bytes, slots)?;
        let set = message.fields.iter().zip(base..).find(|(_, index)| slots[*index].count > 0);
        let Some((field, index)) = set else {
            slots.truncate(base);
            self.out.extend_from_slice(b"null");
            return Ok(());
        };
        let slot = slots[index];
        slots.truncate(base);
        match field.number {
            1 => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            2 if !slot.raw.float().is_finite() => Err(Malformed::new("a JSON number must be finite")),
            _ => self.field(field, bytes, &slot, slots, depth),
        }
    }

    fn quoted(&mut self, content: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.out.push(b'"');
        content(self.out)?;
        self.out.push(b'"');
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("not valid UTF-8"))?;
        self.out.push(b'"');
        put_escaped(text, self.out);
        self.out.push(b'"');
        Ok(())
    }
}

/// Writes the content of a JSON string.
pub(crate) fn put_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..index]);
        plain = index + 1;
        if escape.is_empty() {
            wire::put_text(out, format_args!("\\u{byte:04x}"));
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

fn deeper(depth: u32) -> Result<u32> {
    depth.checked_sub(1).ok_or_else(|| Malformed::new("nested too deeply"))
}

/// The content of a Timestamp or Duration.
pub(crate) fn seconds(bytes: &[u8]) -> Result<(i64, i32)> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // protobuf: int32 keeps the low 32 bits
        match reader.field()? {
            (1, Raw::Varint(value)) => seconds = value as i64,
            (2, Raw::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// The paths of a FieldMask in lowerCamelCase, separated by commas.
fn put_mask(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut reader = Reader::new(bytes);
    let mut first = true;
    while !reader.is_empty() {
        let (1, Raw::Bytes(path)) = reader.field()? else { continue };
        let path = std::str::from_utf8(path).map_err(|_| Malformed::new("not valid UTF-8"))?;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        let mut camel = String::with_capacity(path.len());
        let mut upper = false;
        for character in path.chars() {
            if character == '_' {
                upper = true;
            } else {
                camel.push(if std::mem::take(&mut upper) { character.to_ascii_uppercase() } else { character });
            }
        }
        put_escaped(&camel, out);
    }
    Ok(())
}
