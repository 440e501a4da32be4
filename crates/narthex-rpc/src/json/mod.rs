//! JSON ↔ protobuf wire bytes by the table, with the exact rules of ProtoJSON: no generated code per message, and no value tree between.

mod decode;
mod encode;
mod lexer;
mod scalar;
mod time;

pub use decode::{decode, field_paths};
pub use encode::{Emit, encode, encode_into};

pub(crate) use decode::{decode_field, put_text_field};
pub(crate) use encode::{put_escaped, seconds};
pub(crate) use time::{check_duration, check_timestamp};
