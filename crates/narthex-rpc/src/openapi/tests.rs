use std::collections::HashSet;

use narthex_api::METHODS;
use serde_json::Value;

use super::{document, is_public};

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => found.push(target),
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.split_once('}') {
        Some((_, suffix)) => format!("{{}}{suffix}"),
        None if segment == "**" => "{}".to_owned(),
        None => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// (verb, path without names of variables) of every operation.
fn operations(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            assert!(VERBS.contains(&verb.as_str()), "{verb} {path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let named: Vec<_> =
                in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
            assert_eq!(named.len(), path.matches('{').count(), "{verb} {path}");
            assert!(named.iter().all(|name| path.contains(name)), "{verb} {path}: {named:?}");
            found.push((verb.to_ascii_uppercase(), shape(path)));
        }
    }
    found.sort();
    found
}

fn bindings(is_built: impl Fn(usize) -> bool, preview: bool) -> Vec<(String, String)> {
    let methods = METHODS.iter().filter(|method| is_built(method.index) && is_public(method, preview));
    let mut all: Vec<_> =
        methods.flat_map(|method| method.http).map(|http| (http.verb.to_owned(), shape(http.template))).collect();
    all.sort();
    all
}

#[test]
fn every_binding_of_a_built_public_rpc_is_there_and_no_other() {
    let some = |index: usize| index.is_multiple_of(3);
    for preview in [false, true] {
        let all = document(|_| true, preview, "1");
        assert_eq!(operations(&all), bindings(|_| true, preview));
        assert_eq!(operations(&document(some, preview, "1")), bindings(some, preview));
    }
    assert!(bindings(|_| true, true).len() > bindings(|_| true, false).len());
    assert!(operations(&document(|_| false, true, "1")).is_empty());
}

#[test]
fn every_reference_resolves_and_every_schema_is_used() {
    let document = document(|_| true, true, "1");
    let mut found = Vec::new();
    references(&document, &mut found);
    let targets: HashSet<&str> = found.into_iter().collect();
    for target in &targets {
        let schema = document.pointer(target.strip_prefix('#').unwrap());
        assert!(schema.is_some_and(Value::is_object), "{target}");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
            assert!(targets.contains(format!("#/components/{kind}/{name}").as_str()), "{name} is not used");
        }
    }
}

#[test]
fn ids_of_operations_are_unique() {
    let document = document(|_| true, true, "1");
    let mut ids = HashSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id}");
        }
    }
}

#[test]
fn rules_types_and_statuses_are_told() {
    let document = document(|_| true, false, "1.2.3");
    assert_eq!(document["info"]["version"], "1.2.3");
    let schemas = &document["components"]["schemas"];

    let create = &document["paths"]["/api/v1/organizations"]["post"];
    assert_eq!(create["operationId"], "OrganizationService_CreateOrganization");
    assert!(create["responses"]["201"].is_object() && create["responses"]["200"].is_null());
    for status in ["400", "401", "415"] {
        assert_eq!(create["responses"][status]["$ref"], format!("#/components/responses/E{status}"));
    }
    let body = &create["requestBody"];
    assert_eq!(
        body["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/organizations.CreateOrganization.request"
    );
    let organization = &schemas["organizations.CreateOrganization.request"];
    assert_eq!(organization["properties"]["metadata"]["additionalProperties"]["type"], "string");
    assert!(organization["required"].as_array().unwrap().contains(&"display_name".into()));
    assert!(organization["properties"]["display_name"]["minLength"].as_u64() >= Some(1));

    let answer = &schemas["organizations.Organization"];
    assert_eq!(answer["properties"]["create_time"]["format"], "date-time");
    assert!(answer["required"].as_array().unwrap().contains(&"id".into()));
    assert_eq!(schemas["Error"]["properties"]["details"]["items"]["properties"]["error_code"]["type"], "string");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");

    // What the path says is no part of the body.
    let update = &document["paths"]["/api/v1/organizations/{id}"]["patch"];
    assert!(update["requestBody"]["content"]["application/json"]["schema"]["properties"]["id"].is_null());
}
