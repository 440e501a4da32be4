//! Messages and fields as JSON schemas.

use std::collections::BTreeMap;

use narthex_api::contract::{Cardinality, Field, Kind, Message, Rule, WellKnown};
use serde_json::{Map, Value, json};

use super::rules;

/// Which of the JSON forms of a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What is taken: with the rules, and only what is needed required.
    Request,
    /// What is answered: without rules, scalars without presence, lists and maps always there.
    Response,
    /// Details of errors: nothing that is empty.
    Detail,
}

/// The schemas that have been asked for by reference.
#[derive(Default)]
pub(super) struct Schemas {
    components: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) fn into_components(self) -> Map<String, Value> {
        self.components.into_iter().collect()
    }

    /// The error shape of REST (control plane reference §15.1).
    pub(super) fn error(&mut self) -> Value {
        let info = narthex_api::descriptor("scalekit.v1.errdetails.ErrorInfo");
        let mut details = info.map_or_else(|| json!({"type": "object"}), |info| self.object(info, Form::Detail, &[]));
        details["properties"]["@type"] = json!({"type": "string"});
        details["required"] = json!(["@type", "error_code"]);
        json!({
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "integer", "format": "int32", "description": "gRPC code", "minimum": 1, "maximum": 16},
                "message": {"type": "string"},
                "details": {"type": "array", "items": details},
            },
        })
    }

    /// A reference to a message, or its own schema if its JSON form is a special one.
    pub(super) fn reference(&mut self, message: &'static Message, form: Form) -> Value {
        if let Some(well_known) = message.well_known {
            return self.well_known(message, well_known, form);
        }
        let name = message.name.strip_prefix("scalekit.v1.").unwrap_or(message.name);
        // Requests differ in rules and in what is required; the suffix stands always, so that a name never changes its meaning.
        let name = if form == Form::Request { format!("{name}.request") } else { name.to_owned() };
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        if !self.components.contains_key(&name) {
            // A message may hold itself: the name is taken before its fields are looked at.
            self.components.insert(name.clone(), Value::Null);
            let schema = self.object(message, form, &[]);
            self.components.insert(name, schema);
        }
        reference
    }

    /// A message as an object, without the fields that come from elsewhere.
    pub(super) fn object(&mut self, message: &'static Message, form: Form, without: &[&'static Field]) -> Value {
        let bound = |field: &Field| without.iter().any(|other| other.number == field.number);
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields.iter().filter(|field| !bound(field)) {
            properties.insert(field.name.to_owned(), self.field(field, form));
            let always = match form {
                Form::Request => rules::needs_value(field),
                Form::Response => field.cardinality != Cardinality::Explicit,
                Form::Detail => false,
            };
            if always {
                required.push(field.name);
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        let choices = choices(message, form, &bound);
        if !choices.is_empty() {
            schema["allOf"] = choices.into();
        }
        let notes = rules::notes(message.rules.iter());
        if form == Form::Request && !notes.is_empty() {
            schema["description"] = json!(notes);
        }
        schema
    }

    /// A field with its cardinality.
    pub(super) fn field(&mut self, field: &'static Field, form: Form) -> Value {
        let kept = if form == Form::Request { field.rules } else { &[] };
        match field.cardinality {
            Cardinality::Implicit | Cardinality::Explicit => self.element(field.kind, kept, form),
            Cardinality::Repeated => {
                let items =
                    kept.iter().find_map(|rule| if let Rule::Items(inner) = rule { Some(*inner) } else { None });
                let mut schema =
                    json!({"type": "array", "items": self.element(field.kind, items.unwrap_or(&[]), form)});
                rules::apply_to_list(&mut schema, kept);
                schema
            }
            Cardinality::Map => {
                let Kind::Message(entry) = field.kind else { return json!({"type": "object"}) };
                let inner = |keys: bool| {
                    let found = kept.iter().find_map(|rule| match rule {
                        Rule::Keys(inner) if keys => Some(*inner),
                        Rule::Values(inner) if !keys => Some(*inner),
                        _ => None,
                    });
                    found.unwrap_or(&[])
                };
                let values = self.element(entry.fields[1].kind, inner(false), form);
                let mut schema = json!({"type": "object", "additionalProperties": values});
                match entry.fields[0].kind {
                    Kind::String if !inner(true).is_empty() => {
                        schema["propertyNames"] = self.element(Kind::String, inner(true), form);
                    }
                    Kind::String => {}
                    Kind::Bool => schema["propertyNames"] = json!({"enum": ["true", "false"]}),
                    _ => schema["propertyNames"] = json!({"pattern": "^-?[0-9]+$"}),
                }
                rules::apply_to_map(&mut schema, kept);
                schema
            }
        }
    }

    /// One value.
    pub(super) fn element(&mut self, kind: Kind, kept: &'static [Rule], form: Form) -> Value {
        let mut schema = match kind {
            Kind::Message(message) => self.reference(message, form),
            Kind::Enum(values) => {
                let allowed = |number| rules::allows_number(kept, number);
                let mut names: Vec<&str> = Vec::new();
                for (name, number) in values.values.iter().filter(|(_, number)| allowed(i64::from(*number))) {
                    // Answers use the first name of a number alone.
                    if form == Form::Request || values.name_of(*number) == Some(name) {
                        names.push(name);
                    }
                }
                return json!({"type": "string", "enum": names});
            }
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Double | Kind::Float => {
                let format = if matches!(kind, Kind::Double) { "double" } else { "float" };
                // JSON has no numbers for these three.
                json!({"anyOf": [{"type": "number", "format": format}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
            }
            // A JavaScript number would round them.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^(0|-?[1-9][0-9]{0,18})$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "uint64", "pattern": "^(0|[1-9][0-9]{0,19})$"})
            }
        };
        rules::apply(&mut schema, kept);
        schema
    }

    fn well_known(&mut self, message: &'static Message, well_known: WellKnown, form: Form) -> Value {
        match well_known {
            WellKnown::Timestamp => json!({"type": "string", "format": "date-time"}),
            WellKnown::Duration => json!({"type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$"}),
            WellKnown::FieldMask => {
                json!({"type": "string", "description": "Paths of fields, separated by commas.", "examples": ["displayName,externalId"]})
            }
            WellKnown::Struct => json!({"type": "object", "additionalProperties": true}),
            WellKnown::Value => json!({}),
            WellKnown::ListValue => json!({"type": "array"}),
            WellKnown::Any => json!({"type": "object"}),
            WellKnown::Wrapper => self.element(message.fields[0].kind, &[], form),
        }
    }
}

/// Whether a request without a body breaks a rule of the message.
pub(super) fn is_needed(message: &'static Message, without: &[&'static Field]) -> bool {
    let bound = |field: &Field| without.iter().any(|other| other.number == field.number);
    message.fields.iter().any(|field| !bound(field) && rules::needs_value(field))
        || message.oneofs.iter().enumerate().any(|(index, oneof)| oneof.required && !fixed(message, index, &bound))
}

/// Whether the member of a oneof comes from elsewhere.
fn fixed(message: &Message, index: usize, bound: &dyn Fn(&Field) -> bool) -> bool {
    message.fields.iter().any(|field| field.oneof.map(usize::from) == Some(index) && bound(field))
}

/// The oneofs of a message: at most one member, or exactly one.
fn choices(message: &'static Message, form: Form, bound: &dyn Fn(&Field) -> bool) -> Vec<Value> {
    let mut all = Vec::new();
    for (index, oneof) in message.oneofs.iter().enumerate() {
        let members = message.fields.iter().filter(|field| field.oneof.map(usize::from) == Some(index));
        let members: Vec<Value> =
            members.filter(|field| !bound(field)).map(|field| json!({"required": [field.name]})).collect();
        if fixed(message, index, bound) {
            if !members.is_empty() {
                all.push(json!({"not": {"anyOf": members}}));
            }
        } else if form == Form::Request && oneof.required {
            all.push(json!({"oneOf": members}));
        } else if members.len() > 1 {
            let mut members = members;
            members.push(json!({"not": {"anyOf": members.clone()}}));
            all.push(json!({"oneOf": members}));
        }
    }
    all
}
