//! The rules of single values: strings, numbers, durations.

use narthex_api::contract::{Kind, Rule};

use super::{Path, Run, cel, text};
use crate::json::seconds;
use crate::wire::Raw;

impl Run<'_> {
    pub(super) fn text(&mut self, rules: &'static [Rule], kind: Kind, raw: Raw<'_>, path: &Path<'_>) {
        let bytes = raw.bytes();
        let text = if matches!(kind, Kind::String) { raw.text() } else { "" };
        let name = kind_name(kind);
        let length = || text.chars().count() as u64;
        let path = Some(path);
        for rule in rules {
            match rule {
                Rule::MinLen(least) if length() < *least => {
                    self.report(path, "string.min_len", format!("value length must be at least {least} characters"));
                }
                // A text of no more bytes than that has no more characters either.
                Rule::MaxLen(most) if bytes.len() as u64 > *most && length() > *most => {
                    self.report(path, "string.max_len", format!("value length must be at most {most} characters"));
                }
                Rule::Len(exact) if length() != *exact => {
                    self.report(path, "string.len", format!("value length must be {exact} characters"));
                }
                Rule::MinBytes(least) if (bytes.len() as u64) < *least => {
                    let id = if name == "string" { "string.min_bytes" } else { "bytes.min_len" };
                    self.report(path, id, format!("value length must be at least {least} bytes"));
                }
                Rule::MaxBytes(most) if bytes.len() as u64 > *most => {
                    let id = if name == "string" { "string.max_bytes" } else { "bytes.max_len" };
                    self.report(path, id, format!("value must be at most {most} bytes"));
                }
                Rule::Prefix(prefix) if !text.starts_with(prefix) => {
                    self.report(path, "string.prefix", format!("value does not have prefix `{prefix}`"));
                }
                Rule::Pattern(pattern)
                    if !self.validator.patterns.get(pattern).is_some_and(|regex| regex.is_match(text)) =>
                {
                    self.report(path, "string.pattern", format!("value does not match regex pattern `{pattern}`"));
                }
                Rule::StringIn(list) if !list.contains(&text) => {
                    self.report(path, "string.in", format!("value must be in list [{}]", list.join(", ")));
                }
                Rule::StringNotIn(list) if list.contains(&text) => {
                    self.report(path, "string.not_in", format!("value must not be in list [{}]", list.join(", ")));
                }
                Rule::Email if !text::is_email(text) => self.report_form(path, "email", "email address", text),
                Rule::Uri if !text::is_uri(text) => self.report_form(path, "uri", "URI", text),
                Rule::Uuid if !text::is_uuid(text) => self.report_form(path, "uuid", "UUID", text),
                Rule::Hostname if !text::is_hostname(text) => self.report_form(path, "hostname", "hostname", text),
                Rule::Cel(rule) if cel::of_string(rule.expression).is_some_and(|holds| !holds(text)) => {
                    self.report_cel(path, rule);
                }
                _ => {}
            }
        }
    }

    fn report_form(&mut self, path: Option<&Path<'_>>, id: &str, noun: &str, text: &str) {
        if text.is_empty() {
            self.report(path, format!("string.{id}_empty"), format!("value is empty, which is not a valid {noun}"));
        } else {
            self.report(path, format!("string.{id}"), format!("value must be a valid {noun}"));
        }
    }

    pub(super) fn number(&mut self, rules: &'static [Rule], kind: Kind, value: i128, path: &Path<'_>) {
        let (mut lower, mut upper) = (None, None);
        for rule in rules {
            match rule {
                Rule::DefinedOnly => {
                    let defined = |values: &narthex_api::contract::Enum| {
                        i32::try_from(value).is_ok_and(|n| values.name_of(n).is_some())
                    };
                    if !matches!(kind, Kind::Enum(values) if defined(values)) {
                        self.report(Some(path), "enum.defined_only", "value must be one of the defined enum values");
                    }
                }
                Rule::NumberIn(list) if !list.iter().any(|listed| i128::from(*listed) == value) => {
                    self.report(
                        Some(path),
                        format!("{}.in", kind_name(kind)),
                        format!("value must be in list {list:?}"),
                    );
                }
                Rule::NumberNotIn(list) if list.iter().any(|listed| i128::from(*listed) == value) => {
                    self.report(
                        Some(path),
                        format!("{}.not_in", kind_name(kind)),
                        format!("value must not be in list {list:?}"),
                    );
                }
                Rule::Gt(bound) => lower = Some(Bound::new("gt", value > (*bound).into(), *bound)),
                Rule::Gte(bound) => lower = Some(Bound::new("gte", value >= (*bound).into(), *bound)),
                Rule::Lt(bound) => upper = Some(Bound::new("lt", value < (*bound).into(), *bound)),
                Rule::Lte(bound) => upper = Some(Bound::new("lte", value <= (*bound).into(), *bound)),
                _ => {}
            }
        }
        self.bounds(kind_name(kind), lower, upper, path);
    }

    pub(super) fn duration(&mut self, rules: &'static [Rule], bytes: &[u8], path: &Path<'_>) {
        if rules.is_empty() {
            return;
        }
        let Ok(value) = seconds(bytes) else {
            return self.report(Some(path), "format", "a damaged duration");
        };
        let (mut lower, mut upper) = (None, None);
        for rule in rules {
            match rule {
                Rule::DurationGt(s, n) => lower = Some(Bound::new("gt", value > (*s, *n), *s)),
                Rule::DurationGte(s, n) => lower = Some(Bound::new("gte", value >= (*s, *n), *s)),
                Rule::DurationLt(s, n) => upper = Some(Bound::new("lt", value < (*s, *n), *s)),
                Rule::DurationLte(s, n) => upper = Some(Bound::new("lte", value <= (*s, *n), *s)),
                _ => {}
            }
        }
        self.bounds("duration", lower, upper, path);
    }

    /// A lower and an upper bound are one rule to protovalidate: `int32.gte_lte`.
    fn bounds(&mut self, kind: &str, lower: Option<Bound>, upper: Option<Bound>, path: &Path<'_>) {
        let unit = if kind == "duration" { "s" } else { "" };
        match (lower, upper) {
            (Some(lower), Some(upper)) if !lower.holds || !upper.holds => self.report(
                Some(path),
                format!("{kind}.{}_{}", lower.id, upper.id),
                format!("value must be {}{unit} and {}{unit}", lower.text(), upper.text()),
            ),
            (Some(bound), None) | (None, Some(bound)) if !bound.holds => {
                self.report(
                    Some(path),
                    format!("{kind}.{}", bound.id),
                    format!("value must be {}{unit}", bound.text()),
                );
            }
            _ => {}
        }
    }
}

/// One side of a range; spelled out only if it is broken.
struct Bound {
    id: &'static str,
    holds: bool,
    limit: i64,
}

impl Bound {
    fn new(id: &'static str, holds: bool, limit: i64) -> Self {
        Self { id, holds, limit }
    }

    fn text(&self) -> String {
        let words = match self.id {
            "gt" => "greater than",
            "gte" => "greater than or equal to",
            "lt" => "less than",
            _ => "less than or equal to",
        };
        format!("{words} {}", self.limit)
    }
}

/// The name of a kind in rule ids.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Message(_) => "message",
        Kind::Enum(_) => "enum",
    }
}
