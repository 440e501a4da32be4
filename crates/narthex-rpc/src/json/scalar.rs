//! Scalars between their text (JSON, query, path) and the wire.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use narthex_api::contract::Kind;

use super::lexer::number_length;
use crate::malformed::{Malformed, Result};
use crate::wire::{no_nul, put_varint};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Whether a scalar that was written is the zero value, which a field without presence leaves out.
pub(crate) type IsZero = bool;

/// Writes the value that this text stands for: a query parameter, a path variable, a map key, or the content of a JSON string.
pub(crate) fn put_text(kind: Kind, text: &str, out: &mut Vec<u8>) -> Result<IsZero> {
    match kind {
        Kind::String => put_string(text, out),
        Kind::Bytes => {
            let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
            let bytes = engine.decode(text).map_err(|_| Malformed::new("must be base64"))?;
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
            Ok(bytes.is_empty())
        }
        Kind::Bool => match text {
            "true" => Ok(put_bool(true, out)),
            "false" => Ok(put_bool(false, out)),
            _ => Err(Malformed::new("must be true or false")),
        },
        Kind::Double | Kind::Float => put_float(kind, float(text)?, out),
        Kind::Enum(_) => put_enum_name(kind, text, out),
        Kind::Message(_) => Err(Malformed::new("must be a JSON object")),
        _ => put_number(kind, text, out),
    }
}

pub(crate) fn put_string(text: &str, out: &mut Vec<u8>) -> Result<IsZero> {
    no_nul(text)?;
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
    Ok(text.is_empty())
}

pub(crate) fn put_bool(value: bool, out: &mut Vec<u8>) -> IsZero {
    out.push(u8::from(value));
    !value
}

/// The number of an enum value's name. An unknown name is refused: passing over it would silently mean "unspecified".
pub(crate) fn put_enum_name(kind: Kind, name: &str, out: &mut Vec<u8>) -> Result<IsZero> {
    let Kind::Enum(values) = kind else { return Err(Malformed::new("must be a name")) };
    let number = values.number(name).ok_or_else(|| Malformed::new("is not a known value"))?;
    put_signed(number.into(), out);
    Ok(number == 0)
}

/// Writes an integer from its spelling. `10.0` and `1e2` are integers (ProtoJSON), `1.5` is not.
pub(crate) fn put_number(kind: Kind, text: &str, out: &mut Vec<u8>) -> Result<IsZero> {
    let value = integer(text)?;
    let (lowest, highest) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Kind::Uint32 | Kind::Fixed32 => (0, i128::from(u32::MAX)),
        Kind::Uint64 | Kind::Fixed64 => (0, i128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    if value < lowest || value > highest {
        return Err(Malformed::new("the number is out of range"));
    }
    put_integer(kind, value, out);
    Ok(value == 0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, as checked above
fn put_integer(kind: Kind, value: i128, out: &mut Vec<u8>) {
    match kind {
        Kind::Fixed64 | Kind::Sfixed64 => out.extend_from_slice(&(value as u64).to_le_bytes()),
        Kind::Fixed32 | Kind::Sfixed32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
        Kind::Sint32 => {
            let value = value as i32;
            put_varint(out, u64::from((value << 1 ^ value >> 31) as u32));
        }
        Kind::Sint64 => {
            let value = value as i64;
            put_varint(out, (value << 1 ^ value >> 63) as u64);
        }
        Kind::Uint32 | Kind::Uint64 => put_varint(out, value as u64),
        _ => put_signed(value as i64, out),
    }
}

#[allow(clippy::cast_sign_loss)] // negative int32, int64 and enums are ten-byte varints
fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_varint(out, value as u64);
}

/// A number's exact value, if it is an integer.
fn integer(text: &str) -> Result<i128> {
    let not_integer = || Malformed::new("must be an integer");
    if let Ok(value) = text.parse::<i64>()
        && !text.starts_with('+')
        && (value == 0 && text.len() == 1 || !text.trim_start_matches('-').starts_with('0'))
    {
        return Ok(value.into());
    }
    if number_length(text.as_bytes()) != Some(text.len()) {
        return Err(not_integer());
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().map_err(|_| not_integer())?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    // value = significant × 10^scale
    #[allow(clippy::cast_possible_wrap)] // lengths of a text in memory
    let scale = i64::from(exponent) - fraction.len() as i64 + dropped as i64;
    let scale = u32::try_from(scale).map_err(|_| not_integer())?;
    let out_of_range = || Malformed::new("the number is out of range");
    if significant.len() > 20 || scale > 20 {
        return Err(out_of_range());
    }
    let value = significant.parse::<i128>().map_err(|_| not_integer())?;
    let value = value.checked_mul(10i128.pow(scale)).ok_or_else(out_of_range)?;
    Ok(if negative { -value } else { value })
}

/// A float's text: a JSON number, or one of the three names that JSON has no numbers for.
pub(crate) fn float(text: &str) -> Result<f64> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    if number_length(text.as_bytes()) != Some(text.len()) {
        return Err(Malformed::new("must be a number"));
    }
    let value: f64 = text.parse().map_err(|_| Malformed::new("must be a number"))?;
    if value.is_finite() { Ok(value) } else { Err(Malformed::new("the number is out of range")) }
}

#[allow(clippy::cast_possible_truncation)] // to the nearest float, after the range check
pub(crate) fn put_float(kind: Kind, value: f64, out: &mut Vec<u8>) -> Result<IsZero> {
    if matches!(kind, Kind::Float) {
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() {
            return Err(Malformed::new("the number is out of range"));
        }
        out.extend_from_slice(&narrow.to_le_bytes());
        return Ok(narrow.to_bits() == 0);
    }
    out.extend_from_slice(&value.to_le_bytes());
    Ok(value.to_bits() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_in_every_spelling() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("7", 7),
            ("10.0", 10),
            ("1e2", 100),
            ("1.5E1", 15),
            ("1200e-2", 12),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("9007199254740993", 9_007_199_254_740_993),
            ("0.000e999", 0),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in
            ["", "-", "+1", "01", "1.5", "1e-1", "1e400000000000", "1 ", " 1", "0x1", "NaN", "1e99", "--1", "1."]
        {
            assert!(integer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn base64_comes_in_four_spellings() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            let mut out = Vec::new();
            put_text(Kind::Bytes, text, &mut out).unwrap();
            assert_eq!(out, [2, 0xfb, 0xff], "{text}");
        }
        assert!(put_text(Kind::Bytes, "+_8=", &mut Vec::new()).is_err());
        assert!(put_text(Kind::Bytes, "a b", &mut Vec::new()).is_err());
    }
}
