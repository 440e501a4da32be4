//! From verb and path to a row of the table. A path is normalised once, here: doubled slashes collapse, and each segment is
//! percent-decoded by itself, so that `%2F` stays inside its segment and no later step sees another spelling.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use narthex_api::contract::{Cardinality, Field, Http, Kind, Method};

/// Segments of the longest path that can match.
const MAX_SEGMENTS: usize = 64;

/// All routes: gRPC paths and REST bindings.
pub struct Routes {
    grpc: HashMap<&'static str, &'static Method>,
    /// Per verb, so that a literal of one verb does not hide a variable of another.
    rest: BTreeMap<&'static str, Node>,
}

/// A REST binding with its path variables resolved to fields.
#[derive(Debug)]
pub struct Binding {
    /// The RPC.
    pub method: &'static Method,
    /// The binding.
    pub http: &'static Http,
    /// Fields of the request that the path variables fill, in path order.
    pub variables: Vec<&'static Field>,
}

#[derive(Default)]
struct Node {
    literals: HashMap<&'static str, Node>,
    /// `{var}:suffix`, by suffix with its colon.
    suffixed: Vec<(&'static str, Node)>,
    variable: Option<Box<Node>>,
    binding: Option<Binding>,
    /// `**`: the rest of the path, possibly empty.
    rest: Option<Binding>,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Matched<'r, 'p> {
    /// A gRPC path; whether this is a gRPC request is not decided yet.
    Grpc(&'static Method),
    /// A REST binding with the values of its variables.
    Rest(&'r Binding, Vec<Cow<'p, str>>),
    /// The path exists, with these verbs only.
    OtherVerbs(Vec<&'static str>),
}

/// Why the table cannot be served: the start is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConflict(pub String);

impl std::fmt::Display for RouteConflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RouteConflict {}

impl Routes {
    /// Builds the table of routes. A template that could not be told from another, or that names no field, is an error.
    pub fn new(methods: &'static [Method]) -> Result<Self, RouteConflict> {
        let mut routes = Self { grpc: HashMap::with_capacity(methods.len()), rest: BTreeMap::new() };
        for method in methods {
            if routes.grpc.insert(method.path, method).is_some() {
                return Err(RouteConflict(format!("{}: the path occurs twice", method.path)));
            }
            for http in method.http {
                routes.rest.entry(http.verb).or_default().insert(method, http)?;
            }
        }
        Ok(routes)
    }

    /// The route of a path, if it has one.
    pub fn find<'p>(&self, verb: &str, path: &'p str) -> Option<Matched<'_, 'p>> {
        if let Some(method) = self.grpc.get(path) {
            return Some(Matched::Grpc(method));
        }
        let segments = segments(path)?;
        let segments = segments.as_slice();
        if let [service, method] = segments
            && service.contains('.')
            && let Some(method) = self.grpc.get(format!("/{service}/{method}").as_str())
        {
            return Some(Matched::Grpc(method));
        }
        let mut values = Vec::new();
        if let Some(binding) = self.rest.get(verb).and_then(|root| root.find(segments, &mut values)) {
            return Some(Matched::Rest(binding, values));
        }
        let others: Vec<_> = self
            .rest
            .iter()
            .filter(|(_, root)| root.find(segments, &mut Vec::new()).is_some())
            .map(|(verb, _)| *verb)
            .collect();
        (!others.is_empty()).then_some(Matched::OtherVerbs(others))
    }
}

/// The decoded segments of a path; `None` if it is no path that a route could match.
fn segments(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut segments = Vec::with_capacity(8);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if segments.len() == MAX_SEGMENTS {
            return None;
        }
        segments.push(decode(segment)?);
    }
    Some(segments)
}

/// Percent-decodes a segment; `None` for a broken escape or bytes that are not UTF-8.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut escapes = segment.split('%').skip(1);
    if !escapes.all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)) {
        return None;
    }
    percent_encoding::percent_decode_str(segment).decode_utf8().ok()
}

impl Node {
    fn insert(&mut self, method: &'static Method, http: &'static Http) -> Result<(), RouteConflict> {
        let conflict =
            |problem: &str| RouteConflict(format!("{} {} ({}): {problem}", http.verb, http.template, method.path));
        let mut node = self;
        let mut variables = Vec::new();
        let mut segments =
            http.template.strip_prefix('/').ok_or_else(|| conflict("no leading slash"))?.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment == "**" {
                if segments.peek().is_some() || node.rest.is_some() {
                    return Err(conflict("`**` must be last, and once"));
                }
                node.rest = Some(Binding { method, http, variables });
                return Ok(());
            }
            node = if let Some(variable) = segment.strip_prefix('{') {
                let (name, suffix) = variable.split_once('}').ok_or_else(|| conflict("a `{` without a `}`"))?;
                let field = method.input.fields.iter().find(|field| field.name == name);
                let field = field.ok_or_else(|| conflict("a variable that is no field of the request"))?;
                let singular = matches!(field.cardinality, Cardinality::Implicit | Cardinality::Explicit);
                if !singular || matches!(field.kind, Kind::Message(_)) {
                    return Err(conflict("a variable must be a scalar"));
                }
                variables.push(field);
                if suffix.is_empty() {
                    node.variable.get_or_insert_default()
                } else if !suffix.starts_with(':') {
                    return Err(conflict("only `:verb` may follow a variable"));
                } else if let Some(at) = node.suffixed.iter().position(|(known, _)| *known == suffix) {
                    &mut node.suffixed[at].1
                } else {
                    node.suffixed.push((suffix, Node::default()));
                    &mut node.suffixed.last_mut().expect("just pushed").1
                }
            } else if segment.contains(['{', '}', '*']) || segment.is_empty() {
                return Err(conflict("a segment of unknown form"));
            } else {
                node.literals.entry(segment).or_default()
            };
        }
        if let Some(other) = &node.binding {
            return Err(conflict(&format!("the same as {} of {}", other.http.template, other.method.path)));
        }
        node.binding = Some(Binding { method, http, variables });
        Ok(())
    }

    /// Literal before `{var}:verb` before `{var}` before `**`, with backtracking.
    fn find<'p>(&self, segments: &[Cow<'p, str>], values: &mut Vec<Cow<'p, str>>) -> Option<&Binding> {
        let Some((segment, following)) = segments.split_first() else {
            return self.binding.as_ref().or(self.rest.as_ref());
        };
        if let Some(found) = self.literals.get(segment.as_ref()).and_then(|node| node.find(following, values)) {
            return Some(found);
        }
        for (suffix, node) in &self.suffixed {
            if let Some(value) = segment.strip_suffix(suffix)
                && !value.is_empty()
            {
                let length = value.len();
                values.push(match segment {
                    Cow::Borrowed(segment) => Cow::Borrowed(&segment[..length]),
                    Cow::Owned(_) => Cow::Owned(value.to_owned()),
                });
                if let Some(found) = node.find(following, values) {
                    return Some(found);
                }
                values.pop();
            }
        }
        if let Some(node) = &self.variable {
            values.push(segment.clone());
            if let Some(found) = node.find(following, values) {
                return Some(found);
            }
            values.pop();
        }
        self.rest.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(verb: &str, path: &str) -> (String, Vec<String>) {
        let routes = Routes::new(narthex_api::METHODS).unwrap();
        match routes.find(verb, path) {
            Some(Matched::Rest(binding, values)) => {
                (binding.http.template.to_owned(), values.into_iter().map(Cow::into_owned).collect())
            }
            other => (format!("{other:?}"), Vec::new()),
        }
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_literal_beats_a_suffix_beats_a_variable() {
        assert_eq!(rest("GET", "/api/v1/connections/app"), ("/api/v1/connections/app".into(), vec![]));
        assert_eq!(
            rest("GET", "/api/v1/connections/conn_1"),
            ("/api/v1/connections/{connection_id}".into(), strings(&["conn_1"]))
        );
        assert_eq!(
            rest("PATCH", "/api/v1/connections/conn_1:enable"),
            ("/api/v1/connections/{connection_id}:enable".into(), strings(&["conn_1"]))
        );
        // DELETE has no literal `app`: the variable takes it.
        assert_eq!(rest("DELETE", "/api/v1/connections/app").1, strings(&["app"]));
    }

    #[test]
    fn a_path_is_normalised_once() {
        let template = "/api/v1/organizations/{id}".to_owned();
        for path in [
            "//api///v1/organizations/org_1",
            "/api/v1/organizations/org_1/",
            "/api/v1/organizations/org%5F1",
            "/%61pi/v1/organizations/org_1",
        ] {
            assert_eq!(rest("GET", path), (template.clone(), strings(&["org_1"])), "{path}");
        }
        // An escaped slash stays inside its segment, and an escape is decoded once.
        assert_eq!(rest("GET", "/api/v1/organizations/a%2Fdomains"), (template.clone(), strings(&["a/domains"])));
        assert_eq!(rest("GET", "/api/v1/organizations/a%252Fb"), (template, strings(&["a%2Fb"])));
        for path in [
            "/api/v1/organizations/%",
            "/api/v1/organizations/%f",
            "/api/v1/organizations/%zz",
            "/api/v1/organizations/%ff",
        ] {
            assert_eq!(rest("GET", path).0, "None", "{path}");
        }
    }

    #[test]
    fn a_wrong_verb_names_the_right_ones() {
        let routes = Routes::new(narthex_api::METHODS).unwrap();
        let Some(Matched::OtherVerbs(verbs)) = routes.find("PUT", "/api/v1/organizations/org_1") else { panic!() };
        assert_eq!(verbs, ["DELETE", "GET", "PATCH"]);
        assert!(routes.find("GET", "/api/v1/nothing").is_none());
        assert!(routes.find("GET", &"/a".repeat(1_000)).is_none());
    }

    #[test]
    fn the_rest_of_a_path_may_be_anything() {
        for path in ["/api/v1/webhooks/wb", "/api/v1/webhooks/wb/", "/api/v1/webhooks/wb/a/b%2Fc"] {
            assert_eq!(rest("GET", path).0, "/api/v1/webhooks/wb/**", "{path}");
        }
    }

    #[test]
    fn every_binding_of_the_table_finds_itself() {
        let routes = Routes::new(narthex_api::METHODS).unwrap();
        for method in narthex_api::METHODS {
            assert!(
                matches!(routes.find("POST", method.path), Some(Matched::Grpc(found)) if found.index == method.index)
            );
            for http in method.http {
                let template = http.template.replace("**", "x");
                let path = template.split('/').map(|segment| match segment.split_once('}') {
                    Some((_, suffix)) => format!("val1{suffix}"),
                    None => segment.to_owned(),
                });
                let path = path.collect::<Vec<_>>().join("/");
                let Some(Matched::Rest(binding, values)) = routes.find(http.verb, &path) else { panic!("{path}") };
                assert_eq!((binding.http.template, binding.method.index), (http.template, method.index), "{path}");
                assert!(values.iter().all(|value| value == "val1"));
                assert_eq!(values.len(), binding.variables.len());
            }
        }
    }

    #[test]
    fn the_same_template_twice_is_refused() {
        static EMPTY: narthex_api::contract::Message =
            narthex_api::contract::Message { name: "E", fields: &[], oneofs: &[], rules: &[], well_known: None };
        const fn method(index: usize, path: &'static str, http: &'static [Http]) -> Method {
            Method {
                index,
                path,
                service: "S",
                name: "M",
                input: &EMPTY,
                output: &EMPTY,
                auth: narthex_api::contract::Auth {
                    kinds: 0,
                    permissions: &[],
                    end_users: narthex_api::contract::EndUsers::Permitted(&[]),
                    workspace_wide: false,
                },
                http,
                preview: false,
                created: false,
                organization_client: false,
                agent_tool: None,
            }
        }
        use narthex_api::contract::Body;
        static TWICE: &[Method] = &[
            method(0, "/S/A", &[Http { verb: "GET", template: "/a/b:c", body: Body::None }]),
            method(1, "/S/B", &[Http { verb: "GET", template: "/a/b:c", body: Body::None }]),
        ];
        static UNKNOWN: &[Method] = &[method(0, "/S/A", &[Http { verb: "GET", template: "/a/{b}", body: Body::None }])];
        assert!(Routes::new(TWICE).is_err_and(|conflict| conflict.0.contains("the same as")));
        assert!(Routes::new(UNKNOWN).is_err_and(|conflict| conflict.0.contains("no field")));
    }
}
