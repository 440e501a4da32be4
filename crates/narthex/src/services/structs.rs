//! `google.protobuf.Struct` and JSON objects.

use narthex_core::{Error, Result};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Wire};
use serde_json::{Map, Number, Value};

/// The object of a Struct. A number that JSON has no form for (NaN, infinity: possible over gRPC alone) is INVALID_ARGUMENT naming
/// `field`.
pub fn to_json(field: &str, from: Struct) -> Result<Map<String, Value>> {
    from.fields.into_iter().map(|(key, value)| Ok((key, value_to_json(field, value)?))).collect()
}

fn value_to_json(field: &str, from: Wire) -> Result<Value> {
    Ok(match from.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => Value::Number(
            Number::from_f64(value)
                .ok_or_else(|| Error::invalid(field, "struct.number", "holds a number that is not finite"))?,
        ),
        Some(Kind::StructValue(value)) => Value::Object(to_json(field, value)?),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|value| value_to_json(field, value)).collect::<Result<_>>()?)
        }
    })
}

/// The Struct of an object.
pub fn from_json(from: Map<String, Value>) -> Struct {
    Struct { fields: from.into_iter().map(|(key, value)| (key, value_from_json(value))).collect() }
}

fn value_from_json(from: Value) -> Wire {
    let kind = match from {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::String(value) => Kind::StringValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::Object(members) => Kind::StructValue(from_json(members)),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(value_from_json).collect() })
        }
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_survives_the_round_trip() {
        let Value::Object(object) = json!({"a": 1.5, "b": [null, true, "x", {"c": {}}], "d": ""}) else {
            unreachable!()
        };
        assert_eq!(to_json("settings", from_json(object.clone())).unwrap(), object);
    }

    #[test]
    fn numbers_without_a_json_form_are_refused() {
        let nan = Struct { fields: [("a".to_owned(), Wire { kind: Some(Kind::NumberValue(f64::NAN)) })].into() };
        assert_eq!(to_json("settings", nan).unwrap_err().field_violations()[0].field, "settings");
    }
}
