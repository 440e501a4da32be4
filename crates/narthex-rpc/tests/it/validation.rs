//! Every rule of the table at its boundary: the inside passes, the outside is reported under the rule's id.

use std::collections::BTreeMap;

use crate::support::{delimited, key, messages, validator, wire_type};
use narthex_api::METHODS;
use narthex_api::contract::{Cardinality, Field, Kind, Message, Rule, WellKnown};
use narthex_rpc::json;

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// The value of one element, without its key.
fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    delimited(&mut out, value.as_bytes());
    out
}

fn number(kind: Kind, value: i64) -> Vec<u8> {
    match kind {
        Kind::Message(wrapper) if wrapper.well_known == Some(WellKnown::Wrapper) => {
            let mut inner = vec![8];
            inner.extend(varint(value as u64));
            let mut out = Vec::new();
            delimited(&mut out, &inner);
            out
        }
        _ => varint(value as u64),
    }
}

fn string(kind: Kind, value: &str) -> Vec<u8> {
    match kind {
        Kind::Message(wrapper) if wrapper.well_known == Some(WellKnown::Wrapper) => {
            let mut inner = vec![10];
            inner.extend(text(value));
            let mut out = Vec::new();
            delimited(&mut out, &inner);
            out
        }
        _ => text(value),
    }
}

fn duration(seconds: i64) -> Vec<u8> {
    let mut inner = vec![8];
    inner.extend(varint(seconds as u64));
    let mut out = Vec::new();
    delimited(&mut out, &inner);
    out
}

/// A message that holds one field with the given elements.
pub fn with(field: &Field, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for element in elements {
        key(&mut out, field.number, wire_type(field.kind));
        out.extend_from_slice(element);
    }
    out
}

/// One probe of a rule: the field's elements, and whether the rule (by id) must be reported.
pub struct Probe {
    pub elements: Vec<Vec<u8>>,
    pub id: String,
    /// What is reported stands at this path.
    pub path: String,
    pub broken: bool,
}

fn kind_of(kind: Kind) -> Kind {
    match kind {
        Kind::Message(wrapper) if wrapper.well_known == Some(WellKnown::Wrapper) => wrapper.fields[0].kind,
        kind => kind,
    }
}

fn id_prefix(kind: Kind) -> &'static str {
    match kind_of(kind) {
        Kind::Int32 => "int32",
        Kind::Uint32 => "uint32",
        Kind::Int64 => "int64",
        Kind::Uint64 => "uint64",
        Kind::Enum(_) => "enum",
        Kind::Message(_) => "duration",
        Kind::Bytes => "bytes",
        _ => "string",
    }
}

/// The id under which bounds are reported: a lower and an upper one count as one rule.
fn bounds_id(kind: Kind, rules: &[Rule]) -> String {
    let names: Vec<_> = [
        rules.iter().find_map(|rule| match rule {
            Rule::Gt(_) | Rule::DurationGt(..) => Some("gt"),
            Rule::Gte(_) | Rule::DurationGte(..) => Some("gte"),
            _ => None,
        }),
        rules.iter().find_map(|rule| match rule {
            Rule::Lt(_) | Rule::DurationLt(..) => Some("lt"),
            Rule::Lte(_) | Rule::DurationLte(..) => Some("lte"),
            _ => None,
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{}.{}", id_prefix(kind), names.join("_"))
}

/// Values of the element type that keep and break one rule. `wrap` places an element into the field.
fn probe_value(kind: Kind, rules: &'static [Rule], rule: &'static Rule, add: &mut dyn FnMut(Vec<u8>, &str, bool)) {
    let bounds = bounds_id(kind, rules);
    match rule {
        Rule::MinLen(least) => {
            let least = *least as usize;
            add(string(kind, &"ä".repeat(least)), "string.min_len", false);
            if least > 0 {
                add(string(kind, &"ä".repeat(least - 1)), "string.min_len", true);
            }
        }
        Rule::MaxLen(most) => {
            let most = *most as usize;
            add(string(kind, &"ä".repeat(most)), "string.max_len", false);
            add(string(kind, &"a".repeat(most + 1)), "string.max_len", true);
            add(string(kind, &"ä".repeat(most + 1)), "string.max_len", true);
        }
        Rule::MaxBytes(most) => {
            add(string(kind, &"a".repeat(*most as usize)), "string.max_bytes", false);
            add(string(kind, &format!("{}ä", "a".repeat(*most as usize - 1))), "string.max_bytes", true);
        }
        Rule::Prefix(prefix) => {
            add(string(kind, &format!("{prefix}x")), "string.prefix", false);
            add(string(kind, &prefix[..prefix.len() - 1]), "string.prefix", true);
            add(string(kind, &format!("x{prefix}")), "string.prefix", true);
        }
        Rule::Pattern(pattern) => {
            let (good, bad) = pattern_samples(pattern);
            add(string(kind, good), "string.pattern", false);
            add(string(kind, bad), "string.pattern", true);
        }
        Rule::StringIn(list) => {
            for value in *list {
                add(string(kind, value), "string.in", false);
            }
            add(string(kind, "no such value"), "string.in", true);
        }
        Rule::Email => {
            add(string(kind, "a@example.com"), "string.email", false);
            add(string(kind, "a@example..com"), "string.email", true);
            add(string(kind, ""), "string.email_empty", true);
        }
        Rule::Uri => {
            add(string(kind, "https://example.com/a?b#c"), "string.uri", false);
            add(string(kind, "example.com"), "string.uri", true);
        }
        Rule::DefinedOnly => {
            let Kind::Enum(values) = kind_of(kind) else { panic!("defined_only on no enum") };
            for (_, value) in values.values {
                add(number(kind, i64::from(*value)), "enum.defined_only", false);
            }
            add(number(kind, 12_345), "enum.defined_only", true);
            add(number(kind, -1), "enum.defined_only", true);
        }
        Rule::NumberIn(list) => {
            add(number(kind, list[0]), &format!("{}.in", id_prefix(kind)), false);
            add(number(kind, 54_321), &format!("{}.in", id_prefix(kind)), true);
        }
        Rule::NumberNotIn(list) => {
            for value in *list {
                add(number(kind, *value), &format!("{}.not_in", id_prefix(kind)), true);
            }
            add(number(kind, 54_321), &format!("{}.not_in", id_prefix(kind)), false);
        }
        Rule::Gt(bound) => {
            add(number(kind, bound + 1), &bounds, false);
            add(number(kind, *bound), &bounds, true);
        }
        Rule::Gte(bound) => {
            add(number(kind, *bound), &bounds, false);
            if *bound > 0 || matches!(kind_of(kind), Kind::Int32 | Kind::Int64) {
                add(number(kind, bound - 1), &bounds, true);
            }
        }
        Rule::Lt(bound) => {
            add(number(kind, bound - 1), &bounds, false);
            add(number(kind, *bound), &bounds, true);
        }
        Rule::Lte(bound) => {
            add(number(kind, *bound), &bounds, false);
            add(number(kind, bound + 1), &bounds, true);
        }
        Rule::DurationGte(seconds, _) => {
            add(duration(*seconds), &bounds, false);
            add(duration(seconds - 1), &bounds, true);
        }
        Rule::DurationLte(seconds, _) => {
            add(duration(*seconds), &bounds, false);
            add(duration(seconds + 1), &bounds, true);
        }
        // Handled by their field, or below.
        Rule::Required
        | Rule::IgnoreIfZero
        | Rule::MinItems(_)
        | Rule::MaxItems(_)
        | Rule::Unique
        | Rule::Items(_)
        | Rule::MinPairs(_)
        | Rule::MaxPairs(_)
        | Rule::Keys(_)
        | Rule::Values(_)
        | Rule::Cel(_) => {}
        other => panic!("no boundary for {other:?}: add it here"),
    }
}

/// A text that matches a pattern of the table, and one that does not.
fn pattern_samples(pattern: &str) -> (&'static str, &'static str) {
    match pattern {
        r"^$|^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$" => {
            ("a-1.example.com", "a-.com")
        }
        r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$" => ("a-1.example.com", ""),
        "^$|^https?://" => ("http://a", "ftp://a"),
        "^(https://.*)?$" => ("", "http://a"),
        "^https://" => ("https://a", " https://a"),
        "^[a-z0-9_-]+$" => ("a-b_1", "A"),
        "^[a-z0-9_].*$" => ("a B", "-a"),
        "^[a-zA-Z0-9 ]*[a-zA-Z0-9][a-zA-Z0-9 ]*$" => (" a ", "   "),
        "^[a-zA-Z0-9:]{1,64}$" => ("a:B", "a_b"),
        "^[a-zA-Z0-9_-]*$" => ("", "a:b"),
        "^[a-zA-Z0-9_-]+$" => ("a-b", ""),
        "^[a-zA-Z0-9_: -]*$" => ("a: b-_", "a/b"),
        "^[a-zA-Z0-9_:-]*$" => ("a:b-_", "a b"),
        "^[a-zA-Z0-9_:]+$" => ("a:b", "a-b\n"),
        "^[a-zA-Z0-9_]+$" => ("a_1", "a_1\n"),
        "^[a-zA-Z0-9_]{1,64}$" => ("a_1", "a-1"),
        r"^[a-zA-Z][a-zA-Z0-9\-_]+$" => ("a-1", "1a"),
        "^ses_[0-9]+$" => ("ses_1", "ses_a"),
        "^usr_[0-9]+$" => ("usr_1", "xusr_1"),
        other => panic!("no sample for the pattern {other}: add it here"),
    }
}

pub fn probes(field: &'static Field) -> Vec<Probe> {
    let mut probes = Vec::new();
    let has = |wanted: fn(&Rule) -> bool| field.rules.iter().any(wanted);
    let required = has(|rule| matches!(rule, Rule::Required));
    let ignore_zero = has(|rule| matches!(rule, Rule::IgnoreIfZero));
    let name = field.name.to_owned();
    let mut push = |elements: Vec<Vec<u8>>, id: &str, path: &str, broken: bool| {
        probes.push(Probe { elements, id: id.to_owned(), path: path.to_owned(), broken });
    };
    for rule in field.rules {
        match rule {
            Rule::Required => {
                push(vec![], "required", &name, true);
                if field.cardinality == Cardinality::Implicit && matches!(field.kind, Kind::String) {
                    push(vec![text("")], "required", &name, true);
                    push(vec![text("x")], "required", &name, false);
                }
                if matches!(field.kind, Kind::Message(_)) && field.cardinality != Cardinality::Map {
                    // Present though empty.
                    push(vec![text("")], "required", &name, false);
                }
            }
            Rule::Items(inner) => {
                for rule in *inner {
                    probe_value(field.kind, inner, rule, &mut |value, id, broken| {
                        push(vec![value], id, &format!("{name}[0]"), broken);
                    });
                }
            }
            Rule::Keys(inner) | Rule::Values(inner) => {
                let Kind::Message(entry) = field.kind else { panic!("not a map") };
                let at_key = matches!(rule, Rule::Keys(_));
                let kind = entry.fields[usize::from(!at_key)].kind;
                for rule in *inner {
                    probe_value(kind, inner, rule, &mut |value, id, broken| {
                        let mut bytes = Vec::new();
                        let key_text = if at_key {
                            key(&mut bytes, 1, 2);
                            bytes.extend_from_slice(&value);
                            if matches!(entry.fields[1].kind, Kind::String) {
                                // A value that no rule of values minds.
                                key(&mut bytes, 2, 2);
                                delimited(&mut bytes, b"value");
                            }
                            String::from_utf8(value[varint_length(&value)..].to_vec()).unwrap()
                        } else {
                            key(&mut bytes, 1, 2);
                            delimited(&mut bytes, b"some_key");
                            key(&mut bytes, 2, wire_type(kind));
                            bytes.extend_from_slice(&value);
                            "some_key".to_owned()
                        };
                        let mut element = Vec::new();
                        delimited(&mut element, &bytes);
                        push(vec![element], id, &format!("{name}[\"{key_text}\"]"), broken);
                    });
                }
            }
            Rule::MinItems(least) => {
                push(list(field, *least), "repeated.min_items", &name, false);
                if *least > 0 {
                    push(list(field, least - 1), "repeated.min_items", &name, !(required && *least == 1));
                }
            }
            Rule::MaxItems(most) => {
                push(list(field, *most), "repeated.max_items", &name, false);
                push(list(field, most + 1), "repeated.max_items", &name, true);
            }
            Rule::Unique => {
                push(list(field, 3), "repeated.unique", &name, false);
                let one = list(field, 1).remove(0);
                push(vec![one.clone(), one], "repeated.unique", &name, true);
            }
            Rule::MaxPairs(most) => {
                push(pairs(field, *most), "map.max_pairs", &name, false);
                push(pairs(field, most + 1), "map.max_pairs", &name, true);
                // The same key again is no new pair.
                let mut again = pairs(field, *most);
                again.extend(pairs(field, 1));
                push(again, "map.max_pairs", &name, false);
            }
            rule => probe_value(field.kind, field.rules, rule, &mut |value, id, broken| {
                let zero = value == text("") || value == [0];
                let implicit_zero = zero && field.cardinality == Cardinality::Implicit;
                // A zero that `required` or `ignore` speaks for is not judged by the other rules.
                let broken = broken && !(zero && ignore_zero) && !(implicit_zero && required);
                push(vec![value], id, &name, broken);
            }),
        }
    }
    probes
}

fn varint_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1
}

fn list(field: &Field, count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| match field.kind {
            Kind::String => text(&format!("element_{index}")),
            Kind::Message(_) => text(""),
            _ => varint(index),
        })
        .collect()
}

fn pairs(field: &Field, count: u64) -> Vec<Vec<u8>> {
    let Kind::Message(_) = field.kind else { panic!("not a map") };
    (0..count)
        .map(|index| {
            let mut bytes = vec![10];
            bytes.extend(text(&format!("key_{index}")));
            let mut out = Vec::new();
            delimited(&mut out, &bytes);
            out
        })
        .collect()
}

#[test]
fn err_03_every_rule_of_the_table_holds_at_its_boundary() {
    let validator = validator();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    // Only what requests reach is validated.
    let mut reached = Vec::new();
    for method in METHODS {
        reach(method.input, &mut reached);
    }
    for message in reached {
        for field in message.fields {
            for probe in probes(field) {
                let bytes = with(field, &probe.elements);
                let violations = validator.check(message, &bytes);
                let reported = violations.iter().any(|violation| {
                    violation.constraint == probe.id
                        && violation.field == probe.path
                        && !violation.description.is_empty()
                });
                assert_eq!(
                    reported,
                    probe.broken,
                    "{}.{} {} {:?}: {violations:?}",
                    message.name,
                    field.name,
                    probe.id,
                    String::from_utf8_lossy(&bytes)
                );
                *counted.entry(probe.id).or_default() += 1;
            }
        }
    }
    assert!(counted["string.max_len"] > 1_000 && counted["required"] > 150, "{counted:?}");
    assert!(counted.len() >= 18, "{counted:?}");
}

fn reach(message: &'static Message, all: &mut Vec<&'static Message>) {
    if !all.iter().any(|known| known.name == message.name) {
        all.push(message);
        for field in message.fields {
            if let Kind::Message(inner) = field.kind {
                reach(inner, all);
            }
        }
    }
}

/// The violations of a JSON request, as `field constraint`.
fn check(name: &str, text: &str) -> Vec<String> {
    let message = narthex_api::descriptor(&format!("scalekit.v1.{name}")).unwrap();
    let wire = json::decode(message, text.as_bytes()).unwrap();
    validator()
        .check(message, &wire)
        .into_iter()
        .map(|violation| format!("{} {}", violation.field, violation.constraint))
        .collect()
}

#[test]
fn err_03_mgmt_05_every_broken_rule_is_reported_with_its_path() {
    let text = format!(
        "{{\"organization\":{{\"display_name\":\"\",\"metadata\":{{\"ab\":\"\",\"good_key\":\"{}\"}}}}}}",
        "x".repeat(257)
    );
    let violations = check("organizations.CreateOrganizationRequest", &text);
    for expected in
        ["organization.metadata[\"ab\"] string.min_len", "organization.metadata[\"good_key\"] string.max_len"]
    {
        assert!(violations.iter().any(|violation| violation == expected), "{expected}: {violations:?}");
    }
    assert!(violations.iter().any(|violation| violation.starts_with("organization.display_name ")), "{violations:?}");
    assert_eq!(check("organizations.CreateOrganizationRequest", "{}"), ["organization required"]);
}

/// A singular message given twice is merged by every protobuf reader; a check that saw only the last occurrence could be passed by
/// sending a harmless one behind the other.
#[test]
fn a_message_sent_twice_is_judged_as_it_will_be_read() {
    let message = narthex_api::descriptor("scalekit.v1.organizations.CreateOrganizationRequest").unwrap();
    let mut wire =
        json::decode(message, format!("{{\"organization\":{{\"display_name\":\"{}\"}}}}", "x".repeat(500)).as_bytes())
            .unwrap();
    wire.extend(json::decode(message, br#"{"organization":{}}"#).unwrap());
    let violations = validator().check(message, &wire);
    assert!(violations.iter().any(|violation| violation.constraint == "string.max_len"), "{violations:?}");
    // And of a scalar the last one counts.
    let inner = narthex_api::descriptor("scalekit.v1.organizations.CreateOrganization").unwrap();
    let mut wire = json::decode(inner, br#"{"display_name":"fine"}"#).unwrap();
    wire.extend(json::decode(inner, format!("{{\"display_name\":\"{}\"}}", "x".repeat(500)).as_bytes()).unwrap());
    assert_eq!(validator().check(inner, &wire).len(), 1);
    let mut wire = json::decode(inner, format!("{{\"display_name\":\"{}\"}}", "x".repeat(500)).as_bytes()).unwrap();
    wire.extend(json::decode(inner, br#"{"display_name":"fine"}"#).unwrap());
    assert!(validator().check(inner, &wire).is_empty());
}

#[test]
fn err_03_cel_rules_hold() {
    let cases = [
        ("emails.EmailTemplateContent", "{}", false),
        ("mcp.CreateMcpSessionTokenRequest", r#"{"identifier":"a"}"#, false),
        ("mcp.CreateMcpSessionTokenRequest", r#"{"identifier":"a","key_id":"k"}"#, true),
        ("mcp.CreateMcpSessionTokenRequest", r#"{"identifier":"a","key_id":"k","mcp_config_id":"c"}"#, false),
        ("workspaces.AddSubscriptionRequest", "{}", false),
        ("workspaces.AddSubscriptionRequest", r#"{"product_id":"p"}"#, true),
        ("connections.CreateConnection", "{}", false),
        ("connections.CreateConnection", r#"{"provider_key":"X"}"#, true),
        ("connections.CreateConnection", r#"{"provider":15,"provider_key":"X"}"#, false),
        ("connections.CreateConnection", r#"{"provider":15,"provider_key":"SCALEKIT"}"#, true),
        ("connections.CreateConnection", r#"{"provider_key":"X","type":9}"#, false),
        ("connections.CreateConnection", r#"{"provider_key":"X","type":9,"key_id":"WEBAUTHN"}"#, true),
        ("connections.CreateConnectionRequest", r#"{"connection":{"provider_key":"X","type":4}}"#, false),
        ("connections.CreateConnectionRequest", r#"{"connection":{"provider_key":"X","type":1}}"#, true),
        ("roles.CreatePermission", r#"{"name":"a:b"}"#, true),
        ("roles.CreatePermission", r#"{"name":"a-b"}"#, false),
    ];
    let mut checked = 0;
    for (name, text, good) in cases {
        let Some(message) = narthex_api::descriptor(&format!("scalekit.v1.{name}")) else { continue };
        checked += 1;
        let wire = json::decode(message, text.as_bytes()).unwrap();
        let expressions: Vec<_> = cels(message).collect();
        assert!(!expressions.is_empty(), "{name}");
        let violations = validator().check(message, &wire);
        let cel = violations.iter().filter(|violation| expressions.contains(&violation.constraint.as_str())).count();
        assert_eq!(cel == 0, good, "{name} {text}: {violations:?}");
    }
    assert!(checked >= 14, "{checked}");
}

/// Ids of the CEL rules of a message and its fields.
fn cels(message: &'static Message) -> impl Iterator<Item = &'static str> {
    let of_fields = message.fields.iter().flat_map(|field| field.rules).filter_map(|rule| match rule {
        Rule::Cel(cel) => Some(cel),
        _ => None,
    });
    message.rules.iter().chain(of_fields).map(|cel| if cel.id.is_empty() { cel.expression } else { cel.id })
}

#[test]
fn a_flood_of_violations_is_cut() {
    let message = narthex_api::descriptor("scalekit.v1.organizations.CreateOrganization").unwrap();
    let entries: Vec<_> = (0..50_000).map(|index| format!("\"{index}\":\"\"")).collect();
    let wire = json::decode(message, format!("{{\"metadata\":{{{}}}}}", entries.join(",")).as_bytes()).unwrap();
    assert_eq!(validator().check(message, &wire).len(), 1_000);
}

#[test]
fn every_message_is_judged_without_panic() {
    let validator = validator();
    for message in messages() {
        drop(validator.check(message, &[]));
    }
}
