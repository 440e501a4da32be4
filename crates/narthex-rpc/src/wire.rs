//! Protobuf wire bytes against the table: reading, writing, and the check that bytes from outside must pass before anything else looks
//! at them.

use std::io::Write as _;

use narthex_api::contract::{Cardinality, Field, Kind, Message, WellKnown};

use crate::json::{check_duration, check_timestamp, seconds};
use crate::malformed::{Malformed, Result};

/// Nesting of messages below the request (map entries count), the limit that prost itself has. A JSON level of a `Struct` costs three.
pub const MAX_DEPTH: u32 = 100;

/// Nested messages in one request, map entries and JSON values included. An empty one takes two bytes on the wire but hundreds in
/// memory: without a bound, 4 MiB would become a gigabyte.
pub const MAX_MESSAGES: u32 = 250_000;

/// The value of one field occurrence, as the wire type frames it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Raw<'a> {
    /// The bytes of a length-delimited value; empty for any other, which [`check`] has excluded.
    pub fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    /// The text of a string field. Not UTF-8 only if [`check`] was left out.
    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The number in an integer, enum or bool field of this kind.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // protobuf: int32 and enum keep the low 32 bits of the varint
    pub fn integer(self, kind: Kind) -> i128 {
        let bits = match self {
            Self::Varint(bits) | Self::Fixed64(bits) => bits,
            Self::Fixed32(bits) => u64::from(bits),
            Self::Bytes(_) => 0,
        };
        match kind {
            Kind::Int32 | Kind::Enum(_) | Kind::Sfixed32 => i128::from(bits as i32),
            Kind::Uint32 | Kind::Fixed32 => i128::from(bits as u32),
            Kind::Sint32 => {
                let bits = bits as u32;
                i128::from((bits >> 1) as i32 ^ -((bits & 1) as i32))
            }
            Kind::Sint64 => i128::from((bits >> 1) as i64 ^ -((bits & 1) as i64)),
            Kind::Int64 | Kind::Sfixed64 => i128::from(bits as i64),
            Kind::Bool => i128::from(bits != 0),
            _ => i128::from(bits),
        }
    }

    /// The number in a float or double field.
    pub fn float(self) -> f64 {
        match self {
            Self::Fixed64(bits) => f64::from_bits(bits),
            Self::Fixed32(bits) => f64::from(f32::from_bits(bits)),
            Self::Varint(_) | Self::Bytes(_) => 0.0,
        }
    }

    /// Whether this is the zero value of its type.
    pub fn is_zero(self) -> bool {
        match self {
            Self::Varint(bits) | Self::Fixed64(bits) => bits == 0,
            Self::Fixed32(bits) => bits == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// Reads fields one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A reader that starts at a position that another one stood at.
    pub fn from(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// A varint of at most ten bytes.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.position) else {
                return Err(Malformed::new("the message ends inside a number"));
            };
            self.position += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::new("a number has more than 64 bits"))
    }

    /// The next field: its number and value.
    pub fn field(&mut self) -> Result<(u32, Raw<'a>)> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or_else(|| Malformed::new("a field number is out of range"))?;
        Ok((number, self.value(key & 7)?))
    }

    /// A value of the given wire type.
    pub fn value(&mut self, wire_type: u64) -> Result<Raw<'a>> {
        Ok(match wire_type {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Raw::Bytes(self.take(length)?)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.array()?)),
            3 | 4 => return Err(Malformed::new("groups are not supported")),
            _ => return Err(Malformed::new("an unknown wire type")),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Malformed::new("the message ends inside a field"))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

/// Index of the field with this number.
pub(crate) fn position(message: &Message, number: u32) -> Option<usize> {
    // Nearly every message numbers its fields 1, 2, 3, …: the direct hit makes this independent of the width of a message.
    let direct = (number as usize).wrapping_sub(1);
    match message.fields.get(direct) {
        Some(field) if field.number == number => Some(direct),
        _ => message.fields.iter().position(|field| field.number == number),
    }
}

/// The wire type of one element of this kind.
pub(crate) fn wire_type(kind: Kind) -> u8 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    }
}

/// The zero value of a kind, as an absent field has it.
pub(crate) fn zero(kind: Kind) -> Raw<'static> {
    match wire_type(kind) {
        0 => Raw::Varint(0),
        1 => Raw::Fixed64(0),
        5 => Raw::Fixed32(0),
        _ => Raw::Bytes(&[]),
    }
}

/// Checks that the bytes are a message of this type as far as every later step relies on it: framing, wire types, UTF-8, no U+0000 in
/// any string (PostgreSQL cannot store it), times, durations and JSON numbers that JSON can spell, nesting of at most [`MAX_DEPTH`], at most [`MAX_MESSAGES`].
pub fn check(message: &Message, bytes: &[u8]) -> Result<()> {
    check_at(message, bytes, MAX_DEPTH, &mut Allowance::new())
}

/// How many more nested messages a request may have.
pub(crate) struct Allowance(u32);

impl Allowance {
    pub fn new() -> Self {
        Self(MAX_MESSAGES)
    }

    /// Takes one.
    pub fn take(&mut self) -> Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| Malformed::new("has too many elements"))?;
        Ok(())
    }
}

fn check_at(message: &Message, bytes: &[u8], depth: u32, allowance: &mut Allowance) -> Result<()> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let (number, raw) = reader.field()?;
        if let Some(index) = position(message, number) {
            let field = &message.fields[index];
            check_value(field, raw, depth, allowance).map_err(|problem| problem.within(field.name))?;
            if message.well_known == Some(WellKnown::Value) && wire_type(field.kind) == 1 && !raw.float().is_finite() {
                return Err(Malformed::new("must be a finite number").within(field.name));
            }
        }
    }
    // What REST cannot spell, gRPC may not send: it would be stored, and break the answers that show it.
    match message.well_known {
        Some(WellKnown::Timestamp) => seconds(bytes).and_then(|(seconds, nanos)| check_timestamp(seconds, nanos)),
        Some(WellKnown::Duration) => seconds(bytes).and_then(|(seconds, nanos)| check_duration(seconds, nanos)),
        _ => Ok(()),
    }
}

fn check_value(field: &Field, raw: Raw<'_>, depth: u32, allowance: &mut Allowance) -> Result<()> {
    match (wire_type(field.kind), raw) {
        (0, Raw::Varint(_)) | (1, Raw::Fixed64(_)) | (5, Raw::Fixed32(_)) => Ok(()),
        (2, Raw::Bytes(bytes)) => match field.kind {
            Kind::String => {
                let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("not valid UTF-8"))?;
                no_nul(text)
            }
            Kind::Message(inner) => {
                let depth = depth.checked_sub(1).ok_or_else(|| Malformed::new("nested too deeply"))?;
                allowance.take()?;
                check_at(inner, bytes, depth, allowance)
            }
            _ => Ok(()),
        },
        (wire_type, Raw::Bytes(packed)) if field.cardinality == Cardinality::Repeated => {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                reader.value(wire_type.into())?;
            }
            Ok(())
        }
        _ => Err(Malformed::new("the wire type does not fit the field")),
    }
}

/// U+0000 is refused everywhere: PostgreSQL text cannot hold it, and C libraries end there.
pub(crate) fn no_nul(text: &str) -> Result<()> {
    if text.as_bytes().contains(&0) { Err(Malformed::new("must not contain U+0000")) } else { Ok(()) }
}

/// What a scan saw of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    /// Occurrences on the wire; a packed list is one.
    pub count: u32,
    /// Where the first of them starts (its key).
    pub start: usize,
    /// The last one.
    pub raw: Raw<'a>,
}

/// Scans the fields of a message once and pushes a slot per field of the table, in its order. A oneof keeps the member set last.
pub(crate) fn scan<'a>(message: &Message, bytes: &'a [u8], slots: &mut Vec<Slot<'a>>) -> Result<()> {
    let base = slots.len();
    slots.resize(base + message.fields.len(), Slot { count: 0, start: 0, raw: Raw::Varint(0) });
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let start = reader.position();
        let (number, raw) = reader.field()?;
        let Some(index) = position(message, number) else { continue };
        if let Some(oneof) = message.fields[index].oneof {
            for (other, field) in message.fields.iter().enumerate() {
                if field.oneof == Some(oneof) && other != index {
                    slots[base + other].count = 0;
                }
            }
        }
        let slot = &mut slots[base + index];
        if slot.count == 0 {
            slot.start = start;
        }
        slot.count += 1;
        slot.raw = raw;
    }
    Ok(())
}

/// The occurrences of one field, from its first on.
pub(crate) struct Occurrences<'a> {
    reader: Reader<'a>,
    number: u32,
    left: u32,
}

impl<'a> Occurrences<'a> {
    pub fn new(bytes: &'a [u8], field: &Field, slot: &Slot<'a>) -> Self {
        Self { reader: Reader::from(bytes, slot.start), number: field.number, left: slot.count }
    }
}

impl<'a> Iterator for Occurrences<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        while self.left > 0 {
            // The scan that made the slot has read these bytes before.
            let (number, raw) = self.reader.field().ok()?;
            if number == self.number {
                self.left -= 1;
                return Some(raw);
            }
        }
        None
    }
}

/// Calls `each` for every element of a repeated field, packed or not.
pub(crate) fn elements<'a, E>(
    bytes: &'a [u8],
    field: &Field,
    slot: &Slot<'a>,
    mut each: impl FnMut(Raw<'a>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let wire_type = wire_type(field.kind);
    for raw in Occurrences::new(bytes, field, slot) {
        match raw {
            Raw::Bytes(packed) if wire_type != 2 => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    let Ok(element) = reader.value(wire_type.into()) else { break };
                    each(element)?;
                }
            }
            raw => each(raw)?,
        }
    }
    Ok(())
}

/// The bytes of a singular message field. Several occurrences are merged, as prost will merge them: protobuf defines that as parsing
/// their concatenation. A reader that looked at the last one alone would let a rule be passed by sending the field twice.
pub(crate) fn merged<'a>(bytes: &'a [u8], field: &Field, slot: &Slot<'a>) -> std::borrow::Cow<'a, [u8]> {
    if slot.count == 1 {
        return slot.raw.bytes().into();
    }
    let mut all = Vec::new();
    for raw in Occurrences::new(bytes, field, slot) {
        all.extend_from_slice(raw.bytes());
    }
    all.into()
}

/// Writes formatted text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

/// Writes a varint.
#[allow(clippy::cast_possible_truncation)] // seven bits at a time
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes the key of a field.
pub(crate) fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Writes a length-delimited value whose length is known only afterwards.
pub(crate) fn put_delimited(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    // One byte is enough for most; a longer length moves the content, at most once per level of nesting.
    out.push(0);
    let start = out.len();
    content(out)?;
    let mut length = (out.len() - start) as u64;
    if length < 0x80 {
        #[allow(clippy::cast_possible_truncation)]
        {
            out[start - 1] = length as u8;
        }
        return Ok(());
    }
    let mut prefix = [0u8; 10];
    let mut used = 0;
    loop {
        #[allow(clippy::cast_possible_truncation)]
        {
            prefix[used] = length as u8 & 0x7f;
        }
        length >>= 7;
        if length == 0 {
            break;
        }
        prefix[used] |= 0x80;
        used += 1;
    }
    out.splice(start - 1..start, prefix[..=used].iter().copied());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width_are_written() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let mut out = vec![7];
            put_delimited(&mut out, |out| {
                out.resize(out.len() + length, 9);
                Ok(())
            })
            .unwrap();
            let mut reader = Reader::from(&out, 1);
            let Raw::Bytes(bytes) = reader.value(2).unwrap() else { panic!() };
            assert_eq!(bytes.len(), length);
            assert!(bytes.iter().all(|byte| *byte == 9) && reader.is_empty());
        }
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).varint(), Ok(u64::MAX));
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
        assert!(Reader::new(&[0x80; 11]).varint().is_err());
        assert!(Reader::new(&[0x80]).varint().is_err());
    }
}
