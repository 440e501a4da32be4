//! Shared by the tests of this crate: every message of the table, and wire bytes made up for any of them.

use std::collections::HashSet;
use std::sync::LazyLock;

use narthex_api::METHODS;
use narthex_api::contract::{Cardinality, Field, Kind, Message, WellKnown};
use narthex_rpc::validate::Validator;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

/// Every message that requests and responses reach, map entries left out.
pub fn messages() -> &'static [&'static Message] {
    static MESSAGES: LazyLock<Vec<&'static Message>> = LazyLock::new(|| {
        let mut known = HashSet::new();
        let mut all = Vec::new();
        for method in METHODS {
            collect(method.input, false, &mut known, &mut all);
            collect(method.output, false, &mut known, &mut all);
        }
        all
    });
    &MESSAGES
}

/// The validators of the table.
pub fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> =
        LazyLock::new(|| Validator::new(METHODS).expect("every rule of the table is known"));
    &VALIDATOR
}

fn collect(message: &'static Message, entry: bool, known: &mut HashSet<&'static str>, all: &mut Vec<&'static Message>) {
    if known.insert(message.name) {
        if !entry {
            all.push(message);
        }
        for field in message.fields {
            if let Kind::Message(inner) = field.kind {
                collect(inner, field.cardinality == Cardinality::Map, known, all);
            }
        }
    }
}

pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(narthex_api::DESCRIPTOR_SET).expect("the contract's own descriptors"));
    &POOL
}

pub fn reflect(pool: &DescriptorPool, message: &Message) -> MessageDescriptor {
    pool.get_message_by_name(message.name).expect(message.name)
}

/// The JSON of prost-reflect, with the options that agree with ours.
pub fn reflected_json(message: &DynamicMessage) -> serde_json::Value {
    let options =
        SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false).stringify_64_bit_integers(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("prost-reflect prints it")
}

/// A stream of choices; the same seed makes the same message.
pub struct Choices(u64);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn text(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "a",
            "Z",
            "0",
            " ",
            "\"",
            "\\",
            "/",
            "\n",
            "\u{1}",
            "\u{7f}",
            "ä",
            "€",
            "\u{1f600}",
            "\u{2028}",
            "<script>",
            "_:-.@",
        ];
        (0..self.below(6)).map(|_| PIECES[self.below(16) as usize]).collect()
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

pub fn delimited(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn wire_type(kind: Kind) -> u8 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    }
}

/// Valid wire bytes of a message with made-up values.
pub fn make(message: &'static Message, choices: &mut Choices, depth: u32) -> Vec<u8> {
    let mut out = Vec::new();
    match message.well_known {
        Some(WellKnown::Timestamp) => {
            let seconds = choices.below(253_402_300_799 + 62_135_596_800) as i64 - 62_135_596_800;
            key(&mut out, 1, 0);
            varint(&mut out, seconds as u64);
            put_nanos(&mut out, choices, false);
            return out;
        }
        Some(WellKnown::Duration) => {
            let negative = choices.below(2) == 0;
            let seconds = choices.below(315_576_000_000) as i64 + 1;
            key(&mut out, 1, 0);
            varint(&mut out, if negative { -seconds } else { seconds } as u64);
            put_nanos(&mut out, choices, negative);
            return out;
        }
        Some(WellKnown::FieldMask) => {
            for _ in 0..choices.below(3) {
                key(&mut out, 1, 2);
                let paths: [&[u8]; 3] = [b"display_name", b"a.b_c", b"x"];
                delimited(&mut out, paths[choices.below(3) as usize]);
            }
            return out;
        }
        Some(WellKnown::Value) => {
            // Exactly one kind of value; containers only while there is room.
            let field = &message.fields[choices.below(if depth == 0 { 4 } else { 6 }) as usize];
            key(&mut out, field.number, wire_type(field.kind));
            match field.kind {
                Kind::Enum(_) => out.push(0),
                kind => put(&mut out, kind, choices, depth),
            }
            return out;
        }
        _ => {}
    }
    let mut oneofs = HashSet::new();
    for field in message.fields {
        if choices.below(4) == 0 {
            continue;
        }
        if let Some(oneof) = field.oneof
            && !oneofs.insert(oneof)
        {
            continue;
        }
        if depth == 0 && matches!(field.kind, Kind::Message(_)) {
            continue;
        }
        put_field(&mut out, field, choices, depth);
    }
    out
}

fn put_nanos(out: &mut Vec<u8>, choices: &mut Choices, negative: bool) {
    let nanos = [0, 5_000_000, 7_000, 123_456_789][choices.below(4) as usize];
    if nanos != 0 {
        key(out, 2, 0);
        varint(out, if negative { -nanos } else { nanos } as i64 as u64);
    }
}

fn put_field(out: &mut Vec<u8>, field: &'static Field, choices: &mut Choices, depth: u32) {
    match field.cardinality {
        Cardinality::Implicit | Cardinality::Explicit => {
            key(out, field.number, wire_type(field.kind));
            put(out, field.kind, choices, depth);
        }
        Cardinality::Repeated if wire_type(field.kind) != 2 => {
            let mut packed = Vec::new();
            for _ in 0..choices.below(3) {
                put(&mut packed, field.kind, choices, depth);
            }
            if !packed.is_empty() {
                key(out, field.number, 2);
                delimited(out, &packed);
            }
        }
        Cardinality::Repeated => {
            for _ in 0..choices.below(3) {
                key(out, field.number, 2);
                put(out, field.kind, choices, depth);
            }
        }
        Cardinality::Map => {
            let Kind::Message(entry) = field.kind else { unreachable!() };
            for index in 0..choices.below(3) {
                let mut bytes = Vec::new();
                key(&mut bytes, 1, wire_type(entry.fields[0].kind));
                match entry.fields[0].kind {
                    Kind::String => delimited(&mut bytes, format!("{index}{}", choices.text()).as_bytes()),
                    _ => varint(&mut bytes, index),
                }
                key(&mut bytes, 2, wire_type(entry.fields[1].kind));
                put(&mut bytes, entry.fields[1].kind, choices, depth);
                key(out, field.number, 2);
                delimited(out, &bytes);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, kind: Kind, choices: &mut Choices, depth: u32) {
    match kind {
        Kind::Message(inner) => {
            let bytes = make(inner, choices, depth.saturating_sub(1));
            delimited(out, &bytes);
        }
        Kind::String => delimited(out, choices.text().as_bytes()),
        Kind::Bytes => {
            let bytes = choices.next().to_le_bytes();
            delimited(out, &bytes[..choices.below(9) as usize]);
        }
        Kind::Bool => out.push(choices.below(2) as u8),
        Kind::Enum(values) => {
            let (_, number) = values.values[choices.below(values.values.len() as u64) as usize];
            varint(out, i64::from(number) as u64);
        }
        Kind::Double => {
            let value = [0.5, -1.0, 3.0, 1e300, 1e-7, 123_456_789.25][choices.below(6) as usize];
            out.extend_from_slice(&f64::to_le_bytes(value));
        }
        Kind::Float => out.extend_from_slice(&f32::to_le_bytes([0.5, -1.0, 3e10][choices.below(3) as usize])),
        Kind::Int32 => varint(out, i64::from(choices.next() as i32) as u64),
        Kind::Uint32 => varint(out, u64::from(choices.next() as u32)),
        Kind::Fixed32 | Kind::Sfixed32 => out.extend_from_slice(&(choices.next() as u32).to_le_bytes()),
        Kind::Fixed64 | Kind::Sfixed64 => out.extend_from_slice(&choices.next().to_le_bytes()),
        Kind::Sint32 => varint(out, u64::from(choices.next() as u32)),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 => varint(out, choices.next()),
    }
}
