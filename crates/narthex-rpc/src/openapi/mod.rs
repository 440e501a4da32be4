//! The REST side of the contract as an `OpenAPI` 3.1 document, written from the static table: what a generator of clients, a gateway
//! or a tester needs, and never more than what is built.

mod rules;
mod schema;

use std::collections::HashMap;

use narthex_api::METHODS;
use narthex_api::contract::{Body, Cardinality, Field, Http, Kind, Message, Method, WellKnown};
use narthex_core::caller::kind;
use serde_json::{Map, Value, json};

use schema::{Form, Schemas};

/// Deepest `a.b.c` that is listed as a query parameter; the server takes deeper ones.
const MAX_QUERY_DEPTH: usize = 3;

/// Statuses of the error shape (control plane reference §15.2) that any RPC may answer, beside those that depend on the RPC.
const ERRORS: &[(&str, &str)] = &[
    ("400", "The request breaks a rule of the contract, or the state does not allow it."),
    ("403", "The caller may not do this."),
    ("404", "Absent, or not the caller's."),
    ("409", "It exists already, or somebody else was faster."),
    ("413", "The request is too large."),
    ("429", "Too many requests; `retry-after` says when to come back."),
    ("499", "The caller is gone."),
    ("500", "A defect of the server."),
    ("503", "Not at the moment; try again."),
    ("504", "It took longer than the caller waits."),
];

/// Whether the RPC stands in the document, if it is built: it has a REST binding, somebody may call it, and it is no preview.
pub fn is_public(method: &Method, preview: bool) -> bool {
    method.auth.kinds != kind::BLOCKED && !method.http.is_empty() && (preview || !method.preview)
}

/// The document of the RPCs that are built and public; with `preview`, of those in preview as well.
pub fn document(is_built: impl Fn(usize) -> bool, preview: bool, version: &str) -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Paths::default();
    let mut tags = Vec::new();
    for method in METHODS.iter().filter(|method| is_built(method.index) && is_public(method, preview)) {
        let tag = short(method.service);
        if !tags.iter().any(|known: &Value| known["name"] == tag) {
            tags.push(json!({"name": tag}));
        }
        for (index, http) in method.http.iter().enumerate() {
            let variables = paths.path(http.template);
            let operation = operation(method, http, index, &variables.names, &mut schemas);
            let item = paths.items.entry(variables.path).or_insert_with(|| json!({}));
            item[http.verb.to_ascii_lowercase()] = operation;
        }
    }
    let error = schemas.error();
    let mut components = schemas.into_components();
    components.insert("Error".to_owned(), error);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Narthex",
            "summary": "Authentication for business software: organizations, their people, and every way they sign in.",
            "version": version,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The domain of an environment"}],
        "security": [{"bearer": []}],
        "tags": tags,
        "paths": paths.items,
        "components": {
            "schemas": components,
            "responses": error_responses(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token of `POST /oauth/token` (client credentials), or of a signed-in person.",
                },
            },
        },
    })
}

fn error_responses() -> Map<String, Value> {
    let others = [("401", "There is no valid token."), ("415", "The content type must be `application/json`.")];
    let all = ERRORS.iter().chain(&others);
    all.map(|(status, description)| {
        let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        (format!("E{status}"), json!({"description": description, "content": content}))
    })
    .collect()
}

/// The last part of a dotted name.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Path items. Templates that differ in the names of their variables alone are one path to `OpenAPI`: the first name is kept.
#[derive(Default)]
struct Paths {
    items: Map<String, Value>,
    known: HashMap<String, Path>,
}

#[derive(Clone)]
struct Path {
    path: String,
    /// Names of its variables, in path order.
    names: Vec<String>,
}

impl Paths {
    fn path(&mut self, template: &str) -> Path {
        let mut shape = String::new();
        let mut path = Path { path: String::new(), names: Vec::new() };
        for segment in template.split('/').skip(1) {
            // `**` is the rest of the path, for which OpenAPI has no word but a variable.
            let segment = if segment == "**" { "{rest}" } else { segment };
            path.path.extend(["/", segment]);
            match segment.strip_prefix('{').and_then(|variable| variable.split_once('}')) {
                Some((name, suffix)) => {
                    shape.extend(["/{}", suffix]);
                    path.names.push(name.to_owned());
                }
                None => shape.extend(["/", segment]),
            }
        }
        self.known.entry(shape).or_insert(path).clone()
    }
}

/// Fields that the path of a binding fills, in path order.
fn variables(method: &Method, http: &Http) -> Vec<&'static Field> {
    let names = http.template.split('{').skip(1).filter_map(|part| part.split_once('}'));
    names.filter_map(|(name, _)| method.input.fields.iter().find(|field| field.name == name)).collect()
}

fn operation(method: &Method, http: &Http, index: usize, names: &[String], schemas: &mut Schemas) -> Value {
    let bound = variables(method, http);
    let mut parameters = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let mut schema = match bound.get(at) {
            Some(field) => schemas.element(field.kind, field.rules, Form::Request),
            None => json!({"type": "string"}),
        };
        // An empty segment is no segment.
        if schema["type"] == "string" && schema.get("enum").is_none() && schema["minLength"].as_u64().unwrap_or(0) == 0
        {
            schema["minLength"] = json!(1);
        }
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
    }
    let taken = |field: &Field| {
        bound.iter().any(|variable| {
            variable.number == field.number || variable.oneof.is_some() && variable.oneof == field.oneof
        })
    };
    match http.body {
        Body::None => query_parameters(method.input, &taken, "", 1, schemas, &mut parameters),
        Body::Field(name) => {
            let taken = |field: &Field| taken(field) || field.name == name;
            query_parameters(method.input, &taken, "", 1, schemas, &mut parameters);
        }
        Body::Whole => {}
    }
    let mut responses = Map::new();
    let output = schemas.reference(method.output, Form::Response);
    let content = json!({"application/json": {"schema": output}});
    let status = if method.created { "201" } else { "200" };
    responses.insert(status.to_owned(), json!({"description": "Done.", "content": content}));
    let public = method.auth.kinds & kind::NONE != 0;
    let body = body(method, http, &bound, schemas);
    let statuses = ERRORS.iter().map(|(status, _)| *status);
    for status in statuses.chain((!public).then_some("401")).chain(body.is_some().then_some("415")) {
        responses.insert(status.to_owned(), json!({"$ref": format!("#/components/responses/E{status}")}));
    }
    let id = format!("{}_{}", short(method.service), method.name);
    let mut operation = json!({
        "operationId": if index == 0 { id } else { format!("{id}_{}", index + 1) },
        "summary": words(method.name),
        "tags": [short(method.service)],
        "responses": responses,
    });
    if !method.auth.permissions.is_empty() {
        let any = method.auth.permissions.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        operation["description"] = json!(format!("A person needs any one of these permissions: {any}."));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    if public {
        operation["security"] = json!([]);
    }
    if method.preview {
        operation["x-preview"] = json!(true);
    }
    operation
}

/// `ListUsers` as `List users`.
fn words(name: &str) -> String {
    let mut out = String::new();
    let mut previous_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && previous_lower {
            out.push(' ');
            out.push(character.to_ascii_lowercase());
        } else {
            out.push(character);
        }
        previous_lower = !character.is_ascii_uppercase();
    }
    out
}

fn body(method: &Method, http: &Http, bound: &[&'static Field], schemas: &mut Schemas) -> Option<Value> {
    let (schema, required) = match http.body {
        Body::None => return None,
        Body::Whole if bound.is_empty() => {
            let message = method.input;
            (schemas.reference(message, Form::Request), schema::is_needed(message, &[]))
        }
        // The path has the last word on its fields: they are no part of the body.
        Body::Whole => (schemas.object(method.input, Form::Request, bound), schema::is_needed(method.input, bound)),
        Body::Field(name) => {
            let field = method.input.fields.iter().find(|field| field.name == name)?;
            (schemas.field(field, Form::Request), rules::needs_value(field))
        }
    };
    Some(json!({"required": required, "content": {"application/json": {"schema": schema}}}))
}

/// Fields as query parameters, those of inner messages as `outer.inner`.
fn query_parameters(
    message: &'static Message,
    taken: &dyn Fn(&Field) -> bool,
    prefix: &str,
    depth: usize,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    for field in message.fields.iter().filter(|field| !taken(field)) {
        let name = format!("{prefix}{}", field.name);
        match (field.kind, field.cardinality) {
            (_, Cardinality::Map) => continue,
            (Kind::Message(inner), cardinality) => match inner.well_known {
                Some(WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask | WellKnown::Wrapper) => {}
                None if cardinality == Cardinality::Explicit && depth < MAX_QUERY_DEPTH => {
                    query_parameters(inner, &|_| false, &format!("{name}."), depth + 1, schemas, parameters);
                    continue;
                }
                _ => continue,
            },
            _ => {}
        }
        // A field of an inner message is needed only where that message stands.
        let required = depth == 1 && rules::needs_value(field);
        let schema = schemas.field(field, Form::Request);
        parameters.push(json!({"name": name, "in": "query", "required": required, "schema": schema}));
    }
}

#[cfg(test)]
mod tests;
