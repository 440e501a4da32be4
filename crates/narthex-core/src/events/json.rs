//! JSON that survives a JavaScript `JSON.stringify(JSON.parse(body))` byte for byte: receivers verify signatures over that
//! (events reference §2, byte-exact body rule).

use serde_json::{Map, Number, Value};

/// 2^53: above it a JavaScript number is no longer exact.
const EXACT: u64 = 1 << 53;

/// Appends `value` in that form: compact, numbers as JavaScript prints them, integers beyond 2^53 as strings, keys that look like
/// array indexes first and ascending, since JavaScript orders the members of an object so.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out),
    }
}

fn write_object(members: &Map<String, Value>, out: &mut String) {
    let mut indexed: Vec<(u32, &str, &Value)> = Vec::new();
    let mut named: Vec<(&str, &Value)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        match array_index(key) {
            Some(index) => indexed.push((index, key, value)),
            None => named.push((key, value)),
        }
    }
    indexed.sort_unstable_by_key(|(index, ..)| *index);
    // A map keeps its own order or that of insertion, as the program happens to be built: the bytes must not depend on it.
    named.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    let all = indexed.into_iter().map(|(_, key, value)| (key, value)).chain(named);
    for (i, (key, value)) in all.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// The number of a key that JavaScript treats as an array index: canonical decimal below 2^32 - 1 (ECMA-262 §6.1.7).
fn array_index(key: &str) -> Option<u32> {
    let canonical = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    key.parse().ok().filter(|&index| canonical && index != u32::MAX)
}

/// Appends a JSON string: `JSON.stringify` escapes the quote, the backslash and control characters, and nothing else.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                out.push_str("\\u00");
                let code = control as u32;
                out.extend([char::from_digit(code >> 4, 16), char::from_digit(code & 15, 16)].into_iter().flatten());
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn write_number(number: &Number, out: &mut String) {
    let (magnitude, text) = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => (integer.unsigned_abs(), integer.to_string()),
        (None, Some(integer), _) => (integer, integer.to_string()),
        (None, None, float) => return write_float(float.unwrap_or_default(), out),
    };
    if magnitude > EXACT {
        write_string(&text, out);
    } else {
        out.push_str(&text);
    }
}

/// ECMA-262 §6.1.6.1.20, Number::toString with radix 10. The digits are the shortest that read back as the same number, which is
/// what Rust prints too.
fn write_float(float: f64, out: &mut String) {
    if float == 0.0 {
        out.push('0'); // -0 too
        return;
    }
    if float < 0.0 {
        out.push('-');
    }
    let scientific = format!("{:e}", float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let k = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The number is 0.digits × 10^n.
    let n = exponent.parse::<i32>().unwrap_or(0) + 1;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    if k <= n && n <= 21 {
        out.push_str(&digits);
        out.push_str(&zeros(n - k));
    } else if 0 < n && n <= 21 {
        let (whole, fraction) = split(n);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else if -6 < n && n <= 0 {
        out.push_str("0.");
        out.push_str(&zeros(-n));
        out.push_str(&digits);
    } else {
        let (first, rest) = split(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        out.push_str(if n > 0 { "e+" } else { "e-" });
        out.push_str(&(n - 1).abs().to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        let mut out = String::new();
        write(value, &mut out);
        out
    }

    #[test]
    fn keys_that_look_like_array_indexes_come_first_and_ascending() {
        let value = json!({"b": 1, "10": 2, "9": 3, "01": 4, "-1": 5, "4294967294": 6, "4294967295": 7, "0": 8});
        assert_eq!(text(&value), r#"{"0":8,"9":3,"10":2,"4294967294":6,"-1":5,"01":4,"4294967295":7,"b":1}"#);
    }

    #[test]
    fn numbers_are_as_javascript_prints_them() {
        for (number, expected) in [
            (json!(1.0), "1"),
            (json!(-0.0), "0"),
            (json!(0.1), "0.1"),
            (json!(123.456), "123.456"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(1.5e300), "1.5e+300"),
            (json!(0.000_001), "0.000001"),
            (json!(0.000_000_1), "1e-7"),
            (json!(-1.25e-9), "-1.25e-9"),
            (json!(9_007_199_254_740_992_i64), "9007199254740992"),
            (json!(9_007_199_254_740_993_i64), "\"9007199254740993\""),
            (json!(-9_007_199_254_740_993_i64), "\"-9007199254740993\""),
            (json!(u64::MAX), "\"18446744073709551615\""),
        ] {
            assert_eq!(text(&number), expected);
        }
    }

    #[test]
    fn strings_escape_what_stringify_escapes_and_nothing_else() {
        let value = json!("a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}<>&é\u{2028}😀");
        assert_eq!(text(&value), "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}<>&é\u{2028}😀\"");
    }
}
