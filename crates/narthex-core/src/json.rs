//! Free-form settings: JSON objects that the product keeps for others.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Bytes of one as text.
const LARGEST: usize = 64 * 1024;

/// The text of an object. INVALID_ARGUMENT that names `field` for a large one, and for U+0000, which the database cannot keep.
pub(crate) fn bounded(field: &str, object: &Map<String, Value>) -> Result<String> {
    let text = serde_json::to_string(object).map_err(Error::internal)?;
    if text.len() > LARGEST {
        return Err(Error::invalid(field, "struct.size", format!("must be at most {LARGEST} bytes as JSON")));
    }
    if object.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)) {
        return Err(Error::invalid(field, "string.nul", "must not contain U+0000"));
    }
    Ok(text)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused_and_what_only_looks_so_is_not() {
        let check = |value: Value| bounded("context", value.as_object().expect("an object")).is_ok();
        assert!(check(json!({"a": ["\\u0000", {"b": "\\"}]})), "a backslash is no U+0000");
        for bad in [json!({"a\0": 1}), json!({"a": "\0"}), json!({"a": [{"b": "x\0"}]}), json!({"a": {"\0": null}})] {
            assert!(!check(bad));
        }
        assert!(check(json!({"a": "x".repeat(LARGEST - 8)})) && !check(json!({"a": "x".repeat(LARGEST - 7)})));
    }
}
