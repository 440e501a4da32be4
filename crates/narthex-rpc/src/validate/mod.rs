//! The rules of the table (`buf.validate`), applied to wire bytes, so that both transports are judged by the same code. Semantics,
//! rule ids and texts are those of protovalidate; every broken rule is reported.

mod cel;
mod scalar;
mod text;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use narthex_api::contract::{Cardinality, Cel, Field, Kind, Message, Method, Rule, WellKnown};
use narthex_core::Violation;
use regex::Regex;

use crate::malformed::escaped;
use crate::wire::{self, MAX_DEPTH, Occurrences, Raw, Slot};

/// Violations that are reported; a request with more is not worth the memory.
const MAX_VIOLATIONS: usize = 1_000;

/// A rule of the table that has no implementation, or a pattern that does not compile: the start is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRule(pub String);

impl std::fmt::Display for UnknownRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownRule {}

/// The rules of all requests, ready to run.
pub struct Validator {
    patterns: HashMap<&'static str, Regex>,
    /// Addresses of the messages that have a rule somewhere below them; the others are passed over.
    ruled: HashSet<usize>,
}

fn address(message: &'static Message) -> usize {
    std::ptr::from_ref(message).addr()
}

impl Validator {
    /// Compiles the rules of every request in the table.
    pub fn new(methods: &'static [Method]) -> Result<Self, UnknownRule> {
        let mut messages = Vec::new();
        let mut known = HashSet::new();
        for method in methods {
            reach(method.input, &mut known, &mut messages);
        }
        let mut validator = Self { patterns: HashMap::new(), ruled: HashSet::new() };
        for message in &messages {
            // The JSON reader keeps what it has seen of a message in 64 bits, and knows no `Any`.
            if message.fields.len() > 64 || message.oneofs.len() > 64 || message.well_known == Some(WellKnown::Any) {
                return Err(UnknownRule(format!("{}: a message of this form is not supported", message.name)));
            }
            for rule in message.rules {
                if cel::of_message(rule.expression).is_none() {
                    return Err(UnknownRule(format!("{}: {}", message.name, rule.expression)));
                }
            }
            for field in message.fields {
                validator
                    .compile(field.rules, field.kind)
                    .map_err(|problem| UnknownRule(format!("{}.{}: {problem}", message.name, field.name)))?;
            }
        }
        // A message is ruled if it has a rule or holds a ruled one; messages may hold themselves, so repeat until nothing changes.
        loop {
            let before = validator.ruled.len();
            for message in &messages {
                let own = !message.rules.is_empty()
                    || message.oneofs.iter().any(|oneof| oneof.required)
                    || message.fields.iter().any(|field| !field.rules.is_empty());
                let inner = || {
                    message.fields.iter().any(
                        |field| matches!(field.kind, Kind::Message(inner) if validator.ruled.contains(&address(inner))),
                    )
                };
                if own || inner() {
                    validator.ruled.insert(address(message));
                }
            }
            if validator.ruled.len() == before {
                return Ok(validator);
            }
        }
    }

    fn compile(&mut self, rules: &'static [Rule], kind: Kind) -> Result<(), String> {
        for rule in rules {
            match rule {
                Rule::Pattern(pattern) => {
                    let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
                    self.patterns.insert(pattern, regex);
                }
                Rule::Cel(rule) => {
                    let known = match kind {
                        Kind::String => cel::of_string(rule.expression).is_some(),
                        Kind::Message(message) if message.well_known.is_none() => {
                            cel::of_message(rule.expression).is_some()
                        }
                        _ => false,
                    };
                    if !known {
                        return Err(rule.expression.to_owned());
                    }
                }
                Rule::Items(inner) => self.compile(inner, kind)?,
                Rule::Keys(inner) | Rule::Values(inner) => {
                    let Kind::Message(entry) = kind else { return Err("not a map".to_owned()) };
                    let index = usize::from(matches!(rule, Rule::Values(_)));
                    self.compile(inner, entry.fields[index].kind)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every broken rule of a message that has passed [`wire::check`] or comes from [`crate::json::decode`].
    pub fn check(&self, message: &'static Message, bytes: &[u8]) -> Vec<Violation> {
        let mut run = Run { validator: self, violations: Vec::new() };
        run.message(message, bytes, &[], None, &mut Vec::new(), MAX_DEPTH);
        run.violations
    }
}

fn reach(message: &'static Message, known: &mut HashSet<usize>, messages: &mut Vec<&'static Message>) {
    if known.insert(address(message)) {
        messages.push(message);
        for field in message.fields {
            if let Kind::Message(inner) = field.kind {
                reach(inner, known, messages);
            }
        }
    }
}

/// Where a value stands; a list on the stack, spelled out only for a violation.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Field(&'static str),
    Index(usize),
    Key(Kind, Raw<'p>),
}

impl Path<'_> {
    fn spell(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.spell(out);
        }
        match self.step {
            Step::Field(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(index) => {
                out.extend(["[", &index.to_string(), "]"]);
            }
            Step::Key(Kind::String, key) => {
                out.extend(["[\"", &escaped(key.text()), "\"]"]);
            }
            Step::Key(kind, key) => {
                out.extend(["[", &key.integer(kind).to_string(), "]"]);
            }
        }
    }
}

struct Run<'v> {
    validator: &'v Validator,
    violations: Vec<Violation>,
}

impl Run<'_> {
    fn report(&mut self, path: Option<&Path<'_>>, constraint: impl Into<String>, description: impl Into<String>) {
        if self.violations.len() == MAX_VIOLATIONS {
            return;
        }
        let mut field = String::new();
        if let Some(path) = path {
            path.spell(&mut field);
        }
        self.violations.push(Violation::new(field, constraint, description));
    }

    /// A broken CEL rule. One without an id is known by its expression, as protovalidate has it.
    fn report_cel(&mut self, path: Option<&Path<'_>>, rule: &Cel) {
        let id = if rule.id.is_empty() { rule.expression } else { rule.id };
        if rule.message.is_empty() {
            self.report(path, id, format!("\"{}\" returned false", rule.expression));
        } else {
            self.report(path, id, rule.message);
        }
    }

    /// A message with its own rules and the CEL rules of the field that holds it.
    fn message<'a>(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        field_rules: &'static [Rule],
        path: Option<&Path<'_>>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) {
        let by_field = field_rules.iter().any(|rule| matches!(rule, Rule::Cel(_)));
        if !by_field && !self.validator.ruled.contains(&address(message)) {
            return;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return self.report(path, "format", "nested too deeply");
        };
        let base = slots.len();
        if let Err(problem) = wire::scan(message, bytes, slots) {
            slots.truncate(base);
            return self.report(path, "format", problem.problem());
        }
        let cels = field_rules.iter().filter_map(|rule| if let Rule::Cel(rule) = rule { Some(rule) } else { None });
        for rule in message.rules.iter().chain(cels) {
            let view = cel::View { message, slots: &slots[base..] };
            // An expression that is not known was refused at the start.
            if cel::of_message(rule.expression).is_some_and(|holds| !holds(&view)) {
                self.report_cel(path, rule);
            }
        }
        for (index, oneof) in message.oneofs.iter().enumerate() {
            let member_set =
                |(field, slot): (&Field, &Slot<'_>)| field.oneof.map(usize::from) == Some(index) && slot.count > 0;
            if oneof.required && !message.fields.iter().zip(&slots[base..]).any(member_set) {
                let path = Path { parent: path, step: Step::Field(oneof.name) };
                self.report(Some(&path), "required", "exactly one field is required in oneof");
            }
        }
        for (index, field) in message.fields.iter().enumerate() {
            if field.rules.is_empty() && !matches!(field.kind, Kind::Message(_)) {
                continue;
            }
            let slot = slots[base + index];
            let path = Path { parent: path, step: Step::Field(field.name) };
            self.field(field, bytes, &slot, &path, slots, depth);
        }
        slots.truncate(base);
    }

    fn field<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        slot: &Slot<'a>,
        path: &Path<'_>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) {
        let set = match field.cardinality {
            Cardinality::Explicit | Cardinality::Map => slot.count > 0,
            Cardinality::Implicit => slot.count > 0 && !slot.raw.is_zero(),
            Cardinality::Repeated => {
                slot.count > 0 && (wire::wire_type(field.kind) == 2 || !is_empty_list(field, bytes, slot))
            }
        };
        let has = |wanted: fn(&Rule) -> bool| field.rules.iter().any(wanted);
        if !set && has(|rule| matches!(rule, Rule::Required)) {
            return self.report(Some(path), "required", "value is required");
        }
        if !set && (field.cardinality == Cardinality::Explicit || has(|rule| matches!(rule, Rule::IgnoreIfZero))) {
            return;
        }
        match field.cardinality {
            Cardinality::Repeated => self.list(field, bytes, slot, path, slots, depth),
            Cardinality::Map => self.map(field, bytes, slot, path, slots, depth),
            Cardinality::Explicit | Cardinality::Implicit => match field.kind {
                Kind::Message(_) if slot.count > 1 => {
                    let merged = wire::merged(bytes, field, slot);
                    self.value(field.rules, field.kind, Raw::Bytes(&merged), path, &mut Vec::new(), depth);
                }
                kind => {
                    let zero = slot.count == 0 || slot.raw.is_zero();
                    if zero && has(|rule| matches!(rule, Rule::IgnoreIfZero)) {
                        return;
                    }
                    let raw = if slot.count > 0 { slot.raw } else { wire::zero(kind) };
                    self.value(field.rules, kind, raw, path, slots, depth);
                }
            },
        }
    }

    fn list<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        slot: &Slot<'a>,
        path: &Path<'_>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) {
        let items = field.rules.iter().find_map(|rule| if let Rule::Items(rules) = rule { Some(*rules) } else { None });
        let unique = field.rules.iter().any(|rule| matches!(rule, Rule::Unique));
        let mut seen = HashSet::new();
        let mut count = 0usize;
        let mut repeated = false;
        let Ok(()) = wire::elements(bytes, field, slot, |raw| {
            if unique && !repeated {
                repeated = !seen.insert(match raw {
                    Raw::Bytes(bytes) => Cow::Borrowed(bytes),
                    raw => Cow::Owned(raw.integer(field.kind).to_le_bytes().to_vec()),
                });
            }
            let path = Path { parent: Some(path), step: Step::Index(count) };
            self.value(items.unwrap_or(&[]), field.kind, raw, &path, slots, depth);
            count += 1;
            Ok::<(), std::convert::Infallible>(())
        });
        if repeated {
            self.report(Some(path), "repeated.unique", "repeated value must contain unique items");
        }
        for rule in field.rules {
            match rule {
                Rule::MinItems(least) if (count as u64) < *least => {
                    self.report(
                        Some(path),
                        "repeated.min_items",
                        format!("value must contain at least {least} item(s)"),
                    );
                }
                Rule::MaxItems(most) if count as u64 > *most => {
                    self.report(
                        Some(path),
                        "repeated.max_items",
                        format!("value must contain no more than {most} item(s)"),
                    );
                }
                _ => {}
            }
        }
    }

    fn map<'a>(
        &mut self,
        field: &'static Field,
        bytes: &'a [u8],
        slot: &Slot<'a>,
        path: &Path<'_>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) {
        let Kind::Message(entry) = field.kind else { return };
        let (key_kind, value_field) = (entry.fields[0].kind, &entry.fields[1]);
        let (mut key_rules, mut value_rules): (&'static [Rule], &'static [Rule]) = (&[], &[]);
        for rule in field.rules {
            match rule {
                Rule::Keys(rules) => key_rules = rules,
                Rule::Values(rules) => value_rules = rules,
                _ => {}
            }
        }
        let mut keys = HashSet::new();
        let base = slots.len();
        for raw in Occurrences::new(bytes, field, slot) {
            if wire::scan(entry, raw.bytes(), slots).is_err() {
                slots.truncate(base);
                self.report(Some(path), "format", "a damaged map entry");
                continue;
            }
            let (key, value) = (slots[base], slots[base + 1]);
            slots.truncate(base);
            let key = if key.count > 0 { key.raw } else { wire::zero(key_kind) };
            let path = Path { parent: Some(path), step: Step::Key(key_kind, key) };
            self.value(key_rules, key_kind, key, &path, slots, depth);
            if matches!(value_field.kind, Kind::Message(_)) && value.count > 1 {
                let merged = wire::merged(raw.bytes(), value_field, &value);
                self.value(value_rules, value_field.kind, Raw::Bytes(&merged), &path, &mut Vec::new(), depth);
            } else {
                let value = if value.count > 0 { value.raw } else { wire::zero(value_field.kind) };
                self.value(value_rules, value_field.kind, value, &path, slots, depth);
            }
            keys.insert(match key {
                Raw::Bytes(bytes) => Cow::Borrowed(bytes),
                key => Cow::Owned(key.integer(key_kind).to_le_bytes().to_vec()),
            });
        }
        for rule in field.rules {
            match rule {
                Rule::MinPairs(least) if (keys.len() as u64) < *least => {
                    self.report(Some(path), "map.min_pairs", format!("map must be at least {least} entries"));
                }
                Rule::MaxPairs(most) if keys.len() as u64 > *most => {
                    self.report(Some(path), "map.max_pairs", format!("map must be at most {most} entries"));
                }
                _ => {}
            }
        }
    }

    /// One value: the rules of its type, and those inside it.
    fn value<'a>(
        &mut self,
        rules: &'static [Rule],
        kind: Kind,
        raw: Raw<'a>,
        path: &Path<'_>,
        slots: &mut Vec<Slot<'a>>,
        depth: u32,
    ) {
        match kind {
            Kind::Message(message) => match message.well_known {
                None => self.message(message, raw.bytes(), rules, Some(path), slots, depth),
                Some(WellKnown::Duration) => self.duration(rules, raw.bytes(), path),
                Some(WellKnown::Wrapper) if !rules.is_empty() => {
                    let base = slots.len();
                    let scanned = wire::scan(message, raw.bytes(), slots);
                    let inner = message.fields[0].kind;
                    let raw = slots.get(base).filter(|slot| scanned.is_ok() && slot.count > 0).map(|slot| slot.raw);
                    slots.truncate(base);
                    self.value(rules, inner, raw.unwrap_or(wire::zero(inner)), path, slots, depth);
                }
                Some(_) => {}
            },
            Kind::String | Kind::Bytes => self.text(rules, kind, raw, path),
            Kind::Double | Kind::Float | Kind::Bool => {}
            _ => self.number(rules, kind, raw.integer(kind), path),
        }
    }
}

/// Whether a packed list that occurs holds no element.
fn is_empty_list(field: &Field, bytes: &[u8], slot: &Slot<'_>) -> bool {
    wire::elements(bytes, field, slot, |_| Err(())).is_ok()
}
