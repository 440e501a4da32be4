//! The rules of fields in the words of JSON Schema. What it has no word for stands in the description.

use narthex_api::contract::{Cardinality, Cel, Field, Kind, Rule};
use serde_json::{Value, json};

/// Whether a request that says nothing of the field breaks a rule: it is required in so many words, or its zero value is not allowed.
pub(super) fn needs_value(field: &Field) -> bool {
    if field.rules.iter().any(|rule| matches!(rule, Rule::Required)) {
        return true;
    }
    if field.cardinality == Cardinality::Explicit || field.rules.iter().any(|rule| matches!(rule, Rule::IgnoreIfZero)) {
        return false;
    }
    field.rules.iter().any(|rule| match rule {
        Rule::MinLen(least)
        | Rule::Len(least)
        | Rule::MinBytes(least)
        | Rule::MinItems(least)
        | Rule::MinPairs(least) => *least > 0,
        Rule::Prefix(prefix) => !prefix.is_empty(),
        // A pattern that does not compile refuses the start.
        Rule::Pattern(pattern) => regex::Regex::new(pattern).is_ok_and(|regex| !regex.is_match("")),
        Rule::StringIn(allowed) => !allowed.contains(&""),
        Rule::StringNotIn(refused) => refused.contains(&""),
        Rule::Email | Rule::Uuid | Rule::Hostname => true,
        Rule::NumberIn(allowed) => !allowed.contains(&0),
        Rule::NumberNotIn(refused) => refused.contains(&0),
        Rule::Gt(bound) => *bound >= 0,
        Rule::Gte(bound) => *bound > 0,
        Rule::Lt(bound) => *bound <= 0,
        Rule::Lte(bound) => *bound < 0,
        Rule::Cel(_) => matches!(field.kind, Kind::String),
        _ => false,
    })
}

/// Whether the rules let this number through.
pub(super) fn allows_number(rules: &[Rule], number: i64) -> bool {
    rules.iter().all(|rule| match rule {
        Rule::NumberIn(allowed) => allowed.contains(&number),
        Rule::NumberNotIn(refused) => !refused.contains(&number),
        Rule::Gt(bound) => number > *bound,
        Rule::Gte(bound) => number >= *bound,
        Rule::Lt(bound) => number < *bound,
        Rule::Lte(bound) => number <= *bound,
        Rule::Required => number != 0,
        _ => true,
    })
}

/// CEL rules in words.
pub(super) fn notes<'c>(rules: impl Iterator<Item = &'c Cel>) -> String {
    let note = |rule: &'c Cel| if rule.message.is_empty() { rule.expression } else { rule.message };
    rules.map(note).collect::<Vec<_>>().join("; ")
}

/// A second value of the same word stands beside the first.
fn put(schema: &mut Value, word: &str, value: Value) {
    match schema.get(word) {
        None => schema[word] = value,
        Some(there) if *there == value => {}
        Some(_) => match &mut schema["allOf"] {
            Value::Array(all) => all.push(json!({word: value})),
            none => *none = json!([{word: value}]),
        },
    }
}

/// The rules of one value.
pub(super) fn apply(schema: &mut Value, rules: &'static [Rule]) {
    let integer = schema["type"] == "integer";
    let text = schema["type"] == "string" && schema.get("format").is_none();
    let mut spoken = Vec::new();
    for rule in rules {
        match rule {
            Rule::Required if text && schema.get("minLength").is_none() => put(schema, "minLength", json!(1)),
            Rule::MinLen(least) => schema["minLength"] = json!(least),
            Rule::MaxLen(most) => put(schema, "maxLength", json!(most)),
            Rule::Len(length) => {
                schema["minLength"] = json!(length);
                put(schema, "maxLength", json!(length));
            }
            Rule::MinBytes(least) => spoken.push(format!("at least {least} bytes")),
            Rule::MaxBytes(most) => {
                // No text has more code points than bytes.
                if text {
                    put(schema, "maxLength", json!(most));
                }
                spoken.push(format!("at most {most} bytes"));
            }
            Rule::Prefix(prefix) => put(schema, "pattern", json!(format!("^{}", regex::escape(prefix)))),
            Rule::Pattern(pattern) => put(schema, "pattern", json!(pattern)),
            Rule::StringIn(allowed) => put(schema, "enum", json!(allowed)),
            Rule::StringNotIn(refused) => put(schema, "not", json!({"enum": refused})),
            Rule::Email => put(schema, "format", json!("email")),
            Rule::Uri => put(schema, "format", json!("uri")),
            Rule::Uuid => put(schema, "format", json!("uuid")),
            Rule::Hostname => put(schema, "format", json!("hostname")),
            Rule::NumberIn(allowed) if integer => put(schema, "enum", json!(allowed)),
            Rule::NumberNotIn(refused) if integer => put(schema, "not", json!({"enum": refused})),
            Rule::Gt(bound) if integer => schema["minimum"] = json!(bound.saturating_add(1)),
            Rule::Gte(bound) if integer => schema["minimum"] = json!(bound),
            Rule::Lt(bound) if integer => schema["maximum"] = json!(bound.saturating_sub(1)),
            Rule::Lte(bound) if integer => schema["maximum"] = json!(bound),
            Rule::Gt(bound) => spoken.push(format!("greater than {bound}")),
            Rule::Gte(bound) => spoken.push(format!("at least {bound}")),
            Rule::Lt(bound) => spoken.push(format!("less than {bound}")),
            Rule::Lte(bound) => spoken.push(format!("at most {bound}")),
            Rule::DurationGt(seconds, _) => spoken.push(format!("longer than {seconds} s")),
            Rule::DurationGte(seconds, _) => spoken.push(format!("at least {seconds} s")),
            Rule::DurationLt(seconds, _) => spoken.push(format!("shorter than {seconds} s")),
            Rule::DurationLte(seconds, _) => spoken.push(format!("at most {seconds} s")),
            Rule::Cel(cel) if cel.expression == "this.isEmail()" => put(schema, "format", json!("email")),
            Rule::Cel(cel) => spoken.push(notes(std::iter::once(cel))),
            _ => {}
        }
    }
    if !spoken.is_empty() {
        schema["description"] = json!(spoken.join("; "));
    }
}

/// The rules of a list itself.
pub(super) fn apply_to_list(schema: &mut Value, rules: &[Rule]) {
    for rule in rules {
        match rule {
            Rule::MinItems(least) => schema["minItems"] = json!(least),
            Rule::MaxItems(most) => schema["maxItems"] = json!(most),
            Rule::Unique => schema["uniqueItems"] = json!(true),
            Rule::Required if schema.get("minItems").is_none() => schema["minItems"] = json!(1),
            _ => {}
        }
    }
}

/// The rules of a map itself.
pub(super) fn apply_to_map(schema: &mut Value, rules: &[Rule]) {
    for rule in rules {
        match rule {
            Rule::MinPairs(least) => schema["minProperties"] = json!(least),
            Rule::MaxPairs(most) => schema["maxProperties"] = json!(most),
            Rule::Required if schema.get("minProperties").is_none() => schema["minProperties"] = json!(1),
            _ => {}
        }
    }
}
