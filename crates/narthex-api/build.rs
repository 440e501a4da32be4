//! Generates from `proto/`: the prost messages, and the static table (`contract.rs` gives its shape). A rule or option that this
//! file does not know fails the build: silently dropping one would drop a check.

// A build script: cargo speaks through the environment, and writing to a String cannot fail.
#![allow(clippy::disallowed_methods, clippy::let_underscore_must_use, clippy::format_collect, clippy::cast_sign_loss)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use heck::{ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    Value,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    collect(&root.join("scalekit"), &root, &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).open_files(&files)?;
    let pool = compiler.descriptor_pool();
    // Encoded by the compiler: a set of prost's types has lost every option that is an extension.
    fs::write(out.join("descriptor_set.binpb"), compiler.encode_file_descriptor_set())?;

    // prost: the contract's own packages and the standard types they use; the others hold options, which the table carries instead.
    let mut own = compiler.file_descriptor_set();
    own.file.retain(|file| {
        let package = file.package();
        package == "google.protobuf" && !file.name().ends_with("descriptor.proto")
            || package.starts_with("scalekit.v1") && package != "scalekit.v1.options"
    });
    for file in &mut own.file {
        file.service.clear();
    }
    prost_build::Config::new().include_file("messages.rs").skip_protoc_run().compile_fds(own)?;

    fs::write(out.join("table.rs"), Table::new(&pool).generate())?;
    Ok(())
}

fn collect(dir: &Path, root: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, root, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(root).expect("under root").to_owned());
        }
    }
    Ok(())
}

struct Table<'a> {
    pool: &'a DescriptorPool,
    field_rules: ExtensionDescriptor,
    message_rules: ExtensionDescriptor,
    oneof_rules: ExtensionDescriptor,
    http: ExtensionDescriptor,
    visibility: ExtensionDescriptor,
    auth: ExtensionDescriptor,
    agent_tool: ExtensionDescriptor,
    created: ExtensionDescriptor,
    organization_client: ExtensionDescriptor,
    end_users: ExtensionDescriptor,
    session_permissions: ExtensionDescriptor,
    workspace_wide: ExtensionDescriptor,
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl<'a> Table<'a> {
    fn new(pool: &'a DescriptorPool) -> Self {
        let extension = |name: &str| pool.get_extension_by_name(name).unwrap_or_else(|| panic!("extension {name}"));
        Self {
            pool,
            field_rules: extension("buf.validate.field"),
            message_rules: extension("buf.validate.message"),
            oneof_rules: extension("buf.validate.oneof"),
            http: extension("google.api.http"),
            visibility: extension("google.api.method_visibility"),
            auth: extension("scalekit.v1.options.auth_option"),
            agent_tool: extension("scalekit.v1.options.agent_tool"),
            created: extension("narthex.options.created"),
            organization_client: extension("narthex.options.organization_client"),
            end_users: extension("narthex.options.end_users"),
            session_permissions: extension("narthex.options.session_permissions"),
            workspace_wide: extension("narthex.options.workspace_wide"),
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        }
    }

    /// What lets an end user call a method.
    fn end_users(&self, options: &DynamicMessage, published: &[String]) -> String {
        let extension = options.get_extension(&self.session_permissions);
        let own = extension.as_list().unwrap().iter().map(|p| p.as_str().unwrap().to_owned());
        // The spelling of operators has a colon.
        let keys: Vec<String> = published.iter().filter(|key| !key.contains(':')).cloned().chain(own).collect();
        match options.get_extension(&self.end_users).as_enum_number() {
            Some(1) => "Themselves".to_owned(),
            Some(2) => "Everybody".to_owned(),
            Some(3) => "Operators".to_owned(),
            _ => format!("Permitted(&{keys:?})"),
        }
    }

    fn generate(mut self) -> String {
        let mut methods = String::new();
        let mut constants = String::new();
        let mut index = 0;
        let services: Vec<_> = self.pool.services().collect();
        for service in services {
            let _ = writeln!(constants, "pub mod {} {{\n    use super::super::*;", service.name().to_snake_case());
            for method in service.methods() {
                self.reach(&method.input());
                self.reach(&method.output());
                let options = method.options();
                let auth = match options.get_extension(&self.auth).as_message() {
                    Some(auth) => {
                        let kinds = number(auth, "authentication_type");
                        let permissions: Vec<_> =
                            list(auth, "permissions").iter().map(|p| p.as_str().unwrap().to_owned()).collect();
                        let end_users = self.end_users(&options, &permissions);
                        let workspace_wide = options.get_extension(&self.workspace_wide).as_bool() == Some(true);
                        format!(
                            "Auth {{ kinds: {kinds}, permissions: &{permissions:?}, end_users: EndUsers::{end_users}, \
                             workspace_wide: {workspace_wide} }}"
                        )
                    }
                    None => unreachable!("an unset message extension reads as its default"),
                };
                let preview = options
                    .get_extension(&self.visibility)
                    .as_message()
                    .is_some_and(|rule| text(rule, "restriction") == "PREVIEW");
                let created = options.get_extension(&self.created).as_bool() == Some(true);
                let organization_client = options.get_extension(&self.organization_client).as_bool() == Some(true);
                let agent_tool = if options.has_extension(&self.agent_tool) {
                    let tool = options.get_extension(&self.agent_tool);
                    let tool = tool.as_message().unwrap();
                    format!(
                        "Some(AgentTool {{ name: {:?}, writes: {} }})",
                        text(tool, "name"),
                        number(tool, "mutation") == 2
                    )
                } else {
                    "None".to_owned()
                };
                let mut http = String::new();
                if options.has_extension(&self.http) {
                    bindings(options.get_extension(&self.http).as_message().unwrap(), &mut http);
                }
                let path = format!("/{}/{}", service.full_name(), method.name());
                let _ = writeln!(
                    methods,
                    "    Method {{ index: {index}, path: {path:?}, service: {:?}, name: {:?}, input: &{}, output: &{}, auth: {auth}, \
                     http: &[{http}], preview: {preview}, created: {created}, organization_client: {organization_client}, agent_tool: {agent_tool} }},",
                    service.full_name(),
                    method.name(),
                    symbol("M", method.input().full_name()),
                    symbol("M", method.output().full_name()),
                );
                let _ = writeln!(
                    constants,
                    "    pub const {}: Rpc<{}, {}> = Rpc::new(&METHODS[{index}]);",
                    method.name().to_shouty_snake_case(),
                    rust_type(&method.input()),
                    rust_type(&method.output()),
                );
                index += 1;
            }
            constants.push_str("}\n");
        }
        // Error details are not the payload of an RPC of ours, but are rendered through the same table.
        let details = self.pool.get_message_by_name("scalekit.v1.errdetails.ErrorInfo").expect("ErrorInfo");
        self.reach(&details);

        let mut out = format!("pub static METHODS: &[Method] = &[\n{methods}];\n\npub mod rpc {{\n{constants}}}\n\n");
        let messages: Vec<_> = self.messages.values().cloned().collect();
        out.push_str("pub fn descriptor(name: &str) -> Option<&'static Message> {\n    Some(match name {\n");
        for message in &messages {
            if !message.is_map_entry() {
                let _ = writeln!(out, "        {:?} => &{},", message.full_name(), symbol("M", message.full_name()));
            }
        }
        out.push_str("        _ => return None,\n    })\n}\n\n");
        for message in &messages {
            self.message(message, &mut out);
        }
        for descriptor in self.enums.values() {
            // `values()` is ordered by number; among aliases the first of the file is the name that is printed.
            let values: Vec<_> = descriptor
                .enum_descriptor_proto()
                .value
                .iter()
                .map(|value| (value.name().to_owned(), value.number()))
                .collect();
            let _ = writeln!(
                out,
                "static {}: Enum = Enum {{ name: {:?}, values: &{values:?} }};",
                symbol("E", descriptor.full_name()),
                descriptor.full_name()
            );
        }
        out
    }

    fn reach(&mut self, message: &MessageDescriptor) {
        if self.messages.insert(message.full_name().to_owned(), message.clone()).is_some() {
            return;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) => self.reach(&inner),
                Kind::Enum(inner) => {
                    self.enums.insert(inner.full_name().to_owned(), inner);
                }
                _ => {}
            }
        }
    }

    fn message(&self, message: &MessageDescriptor, out: &mut String) {
        let oneofs: Vec<_> = message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let mut fields: Vec<_> = message.fields().collect();
        // `fields()` is ordered by number; the descriptor keeps the order of the file, which is the order of the JSON.
        let order: Vec<_> = message.descriptor_proto().field.iter().map(|field| field.number() as u32).collect();
        fields.sort_by_key(|field| order.iter().position(|number| *number == field.number()));
        let _ = writeln!(
            out,
            "static {}: Message = Message {{\n    name: {:?},",
            symbol("M", message.full_name()),
            message.full_name()
        );
        out.push_str("    fields: &[\n");
        for field in &fields {
            let kind = match field.kind() {
                Kind::Message(inner) => format!("Message(&{})", symbol("M", inner.full_name())),
                Kind::Enum(inner) => format!("Enum(&{})", symbol("E", inner.full_name())),
                other => format!("{other:?}").to_upper_camel_case(),
            };
            let cardinality = if field.is_map() {
                "Map"
            } else if field.is_list() {
                "Repeated"
            } else if field.supports_presence() {
                "Explicit"
            } else {
                "Implicit"
            };
            let oneof =
                field.containing_oneof().and_then(|oneof| oneofs.iter().position(|candidate| *candidate == oneof));
            let _ = writeln!(
                out,
                "        Field {{ name: {:?}, json_name: {:?}, number: {}, kind: Kind::{kind}, cardinality: Cardinality::{cardinality}, oneof: {oneof:?}, rules: &[{}] }},",
                field.name(),
                field.json_name(),
                field.number(),
                self.rules_of(field),
            );
        }
        out.push_str("    ],\n    oneofs: &[");
        for oneof in &oneofs {
            let options = oneof.options();
            let rules = options.get_extension(&self.oneof_rules);
            let required = rules.as_message().is_some_and(|rules| flag(rules, "required"));
            let _ = write!(out, "Oneof {{ name: {:?}, required: {required} }}, ", oneof.name());
        }
        out.push_str("],\n    rules: &[");
        let options = message.options();
        if options.has_extension(&self.message_rules) {
            let rules = options.get_extension(&self.message_rules);
            for (field, value) in rules.as_message().unwrap().fields() {
                match field.name() {
                    "cel" => {
                        for rule in value.as_list().unwrap() {
                            let _ = write!(out, "{}, ", cel(rule.as_message().unwrap()));
                        }
                    }
                    other => panic!("{}: unknown message rule {other}", message.full_name()),
                }
            }
        }
        let well_known = match message.full_name() {
            "google.protobuf.Timestamp" => "Some(WellKnown::Timestamp)",
            "google.protobuf.Duration" => "Some(WellKnown::Duration)",
            "google.protobuf.FieldMask" => "Some(WellKnown::FieldMask)",
            "google.protobuf.Struct" => "Some(WellKnown::Struct)",
            "google.protobuf.Value" => "Some(WellKnown::Value)",
            "google.protobuf.ListValue" => "Some(WellKnown::ListValue)",
            "google.protobuf.Any" => "Some(WellKnown::Any)",
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") => "Some(WellKnown::Wrapper)",
            _ => "None",
        };
        let _ = writeln!(out, "],\n    well_known: {well_known},\n}};");
    }

    fn rules_of(&self, field: &FieldDescriptor) -> String {
        let options = field.options();
        if !options.has_extension(&self.field_rules) {
            return String::new();
        }
        let mut out = String::new();
        field_rules(options.get_extension(&self.field_rules).as_message().unwrap(), field.full_name(), &mut out);
        out
    }
}

fn field_rules(rules: &DynamicMessage, place: &str, out: &mut String) {
    for (field, value) in rules.fields() {
        match (field.name(), value) {
            ("required", Value::Bool(true)) => out.push_str("Rule::Required, "),
            ("required", Value::Bool(false)) => {}
            ("ignore", Value::EnumNumber(number)) => match number {
                0 => {}
                1 => out.push_str("Rule::IgnoreIfZero, "),
                other => panic!("{place}: unknown ignore {other}"),
            },
            ("cel", Value::List(list)) => {
                for rule in list {
                    let _ = write!(out, "Rule::Cel({}), ", cel(rule.as_message().unwrap()));
                }
            }
            (kind, Value::Message(typed)) => typed_rules(kind, typed, place, out),
            (other, _) => panic!("{place}: unknown rule {other}"),
        }
    }
}

fn typed_rules(kind: &str, rules: &DynamicMessage, place: &str, out: &mut String) {
    for (field, value) in rules.fields() {
        let name = field.name();
        let rule = match (kind, name) {
            ("string", "min_len") => format!("MinLen({})", integer(value)),
            ("string", "max_len") => format!("MaxLen({})", integer(value)),
            ("string", "len") => format!("Len({})", integer(value)),
            ("string", "min_bytes") | ("bytes", "min_len") => format!("MinBytes({})", integer(value)),
            ("string", "max_bytes") | ("bytes", "max_len") => format!("MaxBytes({})", integer(value)),
            ("string", "prefix") => format!("Prefix({:?})", value.as_str().unwrap()),
            ("string", "pattern") => format!("Pattern({:?})", value.as_str().unwrap()),
            ("string", "in") => format!("StringIn(&{:?})", strings(value)),
            ("string", "not_in") => format!("StringNotIn(&{:?})", strings(value)),
            ("string", "email") => "Email".to_owned(),
            ("string", "uri") => "Uri".to_owned(),
            ("string", "uuid") => "Uuid".to_owned(),
            ("string", "hostname") => "Hostname".to_owned(),
            ("enum", "defined_only") => "DefinedOnly".to_owned(),
            ("enum" | "int32" | "int64" | "uint32" | "uint64", "in") => format!("NumberIn(&{:?})", integers(value)),
            ("enum" | "int32" | "int64" | "uint32" | "uint64", "not_in") => {
                format!("NumberNotIn(&{:?})", integers(value))
            }
            ("int32" | "int64" | "uint32" | "uint64", "gt") => format!("Gt({})", integer(value)),
            ("int32" | "int64" | "uint32" | "uint64", "gte") => format!("Gte({})", integer(value)),
            ("int32" | "int64" | "uint32" | "uint64", "lt") => format!("Lt({})", integer(value)),
            ("int32" | "int64" | "uint32" | "uint64", "lte") => format!("Lte({})", integer(value)),
            ("repeated", "min_items") => format!("MinItems({})", integer(value)),
            ("repeated", "max_items") => format!("MaxItems({})", integer(value)),
            ("repeated", "unique") => "Unique".to_owned(),
            ("map", "min_pairs") => format!("MinPairs({})", integer(value)),
            ("map", "max_pairs") => format!("MaxPairs({})", integer(value)),
            ("repeated", "items") | ("map", "keys" | "values") => {
                let mut inner = String::new();
                field_rules(value.as_message().unwrap(), place, &mut inner);
                format!("{}(&[{inner}])", name.to_upper_camel_case())
            }
            ("duration", "gt" | "gte" | "lt" | "lte") => {
                let duration = value.as_message().unwrap();
                format!(
                    "Duration{}({}, {})",
                    name.to_upper_camel_case(),
                    number(duration, "seconds"),
                    number(duration, "nanos")
                )
            }
            _ => panic!("{place}: unknown rule {kind}.{name}"),
        };
        let _ = write!(out, "Rule::{rule}, ");
    }
}

fn cel(rule: &DynamicMessage) -> String {
    let (id, expression, message) = (text(rule, "id"), text(rule, "expression"), text(rule, "message"));
    format!("Cel {{ id: {id:?}, expression: {expression:?}, message: {message:?} }}")
}

fn bindings(rule: &DynamicMessage, out: &mut String) {
    let (verb, template) = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| rule.has_field_by_name(verb).then(|| (verb.to_uppercase(), text(rule, verb))))
        .expect("a binding without a pattern");
    assert!(text(rule, "response_body").is_empty(), "response_body is not supported");
    let body = match text(rule, "body").as_str() {
        "" => "Body::None".to_owned(),
        "*" => "Body::Whole".to_owned(),
        field => format!("Body::Field({field:?})"),
    };
    let _ = write!(out, "Http {{ verb: {verb:?}, template: {template:?}, body: {body} }}, ");
    for more in list(rule, "additional_bindings") {
        bindings(more.as_message().unwrap(), out);
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn flag(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> i64 {
    integer(&message.get_field_by_name(field).unwrap_or_else(|| panic!("field {field}")))
}

fn list(message: &DynamicMessage, field: &str) -> Vec<Value> {
    message.get_field_by_name(field).and_then(|value| value.as_list().map(<[Value]>::to_vec)).unwrap_or_default()
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::I32(number) | Value::EnumNumber(number) => (*number).into(),
        Value::I64(number) => *number,
        Value::U32(number) => (*number).into(),
        Value::U64(number) => i64::try_from(*number).expect("fits"),
        other => panic!("not an integer: {other:?}"),
    }
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_list().unwrap().iter().map(integer).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_list().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// A static's name from a full protobuf name.
fn symbol(prefix: &str, full_name: &str) -> String {
    format!("{prefix}_{}", full_name.replace('.', "__").to_uppercase())
}

/// The Rust path of a message, as prost names it.
fn rust_type(message: &MessageDescriptor) -> String {
    match message.full_name() {
        "google.protobuf.Empty" => "()".to_owned(),
        "google.protobuf.BoolValue" => "bool".to_owned(),
        name if name.starts_with("google.protobuf.") => format!("prost_types::{}", message.name()),
        _ => {
            let package = message.package_name().replace('.', "::");
            let nested = message.full_name()[message.package_name().len() + 1..].split('.').collect::<Vec<_>>();
            let (name, parents) = nested.split_last().unwrap();
            let parents: String = parents.iter().map(|parent| format!("{}::", parent.to_snake_case())).collect();
            format!("crate::generated::{package}::{parents}{}", name.to_upper_camel_case())
        }
    }
}
