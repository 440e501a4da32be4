//! One decision, whatever the transport: the whole table through REST (every binding, `//`, `%2F`), gRPC on HTTP/2 and inside HTTP/1.1.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use crate::support::{Choices, delimited, make, pool, reflect};
use crate::validation::{probes, with};
use crate::world::{Answer, TOKENS, World, caller, frame, grpc, rest};
use bytes::Bytes;
use http::Version;
use http_body_util::Full;
use narthex_api::METHODS;
use narthex_api::contract::{Body, Cardinality, EndUsers, Field, Http, Kind, Message, Method, WellKnown};
use narthex_core::Caller;
use narthex_core::caller::kind;
use narthex_rpc::Rpcs;
use narthex_rpc::json::{self, Emit};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

/// A path of a binding with made-up values.
fn path_of(http: &Http, value: impl Fn(&str) -> String) -> String {
    let segments =
        http.template.split('/').map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, suffix)) => format!("{}{suffix}", value(name)),
            None => segment.replace("**", "a/b"),
        });
    segments.collect::<Vec<_>>().join("/")
}

/// Percent-encodes every byte, so that nothing of the value is left to be taken for structure.
fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

/// Code of a decision, the same on both transports.
fn code(answer: &Answer) -> i32 {
    if answer.headers.contains_key("grpc-status") || answer.trailers.is_some() {
        answer.grpc_status()
    } else if answer.status < 300 {
        0
    } else {
        answer.json()["code"].as_i64().unwrap() as i32
    }
}

/// The same call by every way in.
async fn every_way(world: &World, token: Option<&str>, method: &'static Method) -> Vec<(String, i32)> {
    let mut codes = Vec::new();
    let way = |answer: Answer, way: String| (way, code(&answer));
    codes.push(way(world.grpc(token, method.path, &[]).await, "gRPC".into()));
    codes.push(way(world.grpc(token, &format!("/{}", method.path), &[]).await, "gRPC //".into()));
    let plain = grpc(token, method.path).version(Version::HTTP_11).body(Full::new(frame(&[]))).unwrap();
    codes.push(way(world.send(plain).await.unwrap(), "gRPC in HTTP/1.1".into()));
    for http in method.http {
        let path = path_of(http, |_| "1".to_owned());
        codes.push(way(world.rest(token, http.verb, &path, "").await, format!("{} {path}", http.verb)));
        let doubled = path.replace('/', "//");
        codes.push(way(world.rest(token, http.verb, &doubled, "").await, format!("{} {doubled}", http.verb)));
        let encoded = path_of(http, |_| "%31".to_owned()).replacen("/a", "/%61", 1);
        codes.push(way(world.rest(token, http.verb, &encoded, "").await, format!("{} {encoded}", http.verb)));
    }
    world.gate.seen.lock().unwrap().clear();
    codes
}

#[tokio::test]
async fn ctl_01_every_rpc_refuses_an_anonymous_caller_unless_it_is_open() {
    let world = World::new(Rpcs::new());
    for method in METHODS {
        for (way, code) in every_way(&world, None, method).await {
            let expected = match method.auth.kinds {
                // Not there at all: NOT_FOUND on REST, UNIMPLEMENTED on gRPC.
                0 => {
                    if way.starts_with("gRPC") {
                        12
                    } else {
                        5
                    }
                }
                kinds if kinds & kind::NONE != 0 => 12,
                _ => 16,
            };
            assert_eq!(code, expected, "{} by {way}", method.path);
        }
    }
}

#[tokio::test]
async fn mgmt_02_a_bad_token_is_16_on_every_rpc_that_needs_one() {
    let world = World::new(Rpcs::new());
    for method in METHODS.iter().filter(|method| method.auth.kinds & !kind::NONE != 0) {
        for (way, code) in every_way(&world, Some("nobody"), method).await {
            assert_eq!(code, 16, "{} by {way}", method.path);
        }
    }
}

#[tokio::test]
async fn ctl_03_mgmt_04_every_rpc_refuses_the_kinds_that_its_bits_lack() {
    let world = World::new(Rpcs::new());
    let mut refused = 0;
    for method in METHODS {
        for token in TOKENS {
            // All permissions, so that only the kind decides.
            let token = with_all_permissions(token, method);
            let caller = caller(&token).unwrap();
            let marked = method.organization_client && caller.kind_name() == "organization_client";
            for (way, code) in every_way(&world, Some(&token), method).await {
                let expected = match method.auth.kinds {
                    0 => {
                        if way.starts_with("gRPC") {
                            12
                        } else {
                            5
                        }
                    }
                    kinds if kinds & kind::NONE != 0 => 12,
                    _ if is_end_user(&caller) && method.auth.end_users == EndUsers::Operators => 7,
                    kinds if kinds & caller.kind() != 0 || marked => 12,
                    _ => 7,
                };
                refused += usize::from(expected == 7);
                assert_eq!(code, expected, "{} as {token} by {way}", method.path);
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

/// The token with every permission that lets anybody call.
fn with_all_permissions(token: &str, method: &Method) -> String {
    let mut all = method.auth.permissions.to_vec();
    if let EndUsers::Permitted(any_of) = method.auth.end_users {
        all.extend(any_of);
    }
    format!("{token}+{}", all.join(","))
}

fn is_end_user(caller: &Caller) -> bool {
    matches!(caller, Caller::User { .. } | Caller::Session { .. })
}

#[tokio::test]
async fn ctl_05_an_end_user_without_permissions_reaches_what_is_open_to_end_users_and_nothing_else() {
    let world = World::new(Rpcs::new());
    let mut open = Vec::new();
    for method in METHODS {
        for (token, kind) in [("user", kind::USER), ("session", kind::SESSION)] {
            if method.auth.kinds & kind == 0 {
                continue;
            }
            let answers = every_way(&world, Some(token), method).await;
            match answers[0].1 {
                12 if open.last() != Some(&method.path) => open.push(method.path),
                12 => {}
                code => assert_eq!(code, 7, "{}", method.path),
            }
            assert!(answers.iter().all(|(_, code)| *code == answers[0].1), "{answers:?}");
            // Each of these lets somebody in: a key that opens nothing would be a mistake in the table.
            let EndUsers::Permitted(any_of) = method.auth.end_users else { continue };
            assert!(!any_of.is_empty(), "{} lets no end user in, though their kind may call", method.path);
            for key in any_of {
                let answer = world.grpc(Some(&format!("{token}+x,{key}")), method.path, &[]).await;
                assert_eq!(code(&answer), 12, "{} with {key}", method.path);
            }
            let (_, info) = world.grpc(Some(token), method.path, &[]).await.grpc_error();
            let named = info.resource_info.unwrap().required_permissions;
            assert!(any_of.iter().any(|key| named.iter().any(|named| named == key)), "{}: {named:?}", method.path);
            // What an operator would need opens nothing.
            let operators = method.auth.permissions.iter().filter(|key| key.contains(':')).copied();
            let token = format!("{token}+{}", operators.collect::<Vec<_>>().join(","));
            assert_eq!(code(&world.grpc(Some(&token), method.path, &[]).await), 7, "{}", method.path);
        }
    }
    let open: Vec<&str> = open.iter().map(|path| path.trim_start_matches("/scalekit.v1.")).collect();
    assert_eq!(open, OPEN_TO_END_USERS);
}

/// Every RPC that end users call without a permission. A name that is new here is a decision: its service must see to it that they
/// reach their own alone, or there is nothing in it that is anybody's.
const OPEN_TO_END_USERS: [&str; 28] = [
    "agentkit_logs.AgentkitAnalyticsService/GetOverviewStats",
    "agentkit_logs.AgentkitAnalyticsService/GetCurrentOverviewStats",
    "agentkit_logs.AgentkitLogsService/ListToolCallLogs",
    "agentkit_logs.AgentkitLogsService/GetToolCallLog",
    "agentkit_logs.AgentkitLogsService/ListCurrentToolCallLogs",
    "auth.webauthn.WebAuthnService/BeginRegistration",
    "auth.webauthn.WebAuthnService/FinishRegistration",
    "auth.webauthn.WebAuthnService/ListCredentials",
    "auth.webauthn.WebAuthnService/DeleteCredential",
    "auth.webauthn.WebAuthnService/UpdateCredential",
    "clients.ClientService/ListCurrentAgentConsents",
    "clients.ClientService/RevokeCurrentAgentConsent",
    "connected_accounts.ConnectedAccountService/ListMyAppConnections",
    "connected_accounts.ConnectedAccountService/DisconnectMyConnectedAccount",
    "connected_accounts.ConnectedAccountService/GetMyConnectionMagicLink",
    "environments.EnvironmentService/GetFeatures",
    "environments.EnvironmentService/GetEnvironmentSessionSettings",
    "environments.EnvironmentService/GetEnvironmentUserManagement",
    "environments.EnvironmentService/GetEnvironmentTestUser",
    "environments.EnvironmentService/GetCurrentSession",
    "users.UserService/GetUser",
    "users.UserService/GetCurrentUser",
    "users.UserService/UpdateUser",
    "providers.ProviderService/ListMyProviders",
    "sessions.SessionService/RevokeSession",
    "sessions.SessionService/GetUserSessions",
    "user_attributes.UserAttributeService/ListSsoUserAttributes",
    "user_attributes.UserAttributeService/ListDirectoryUserAttributes",
];

/// The decision about a call to the product's own host.
async fn at_product(world: &World, token: &str, method: &Method) -> i32 {
    let request = grpc(Some(token), method.path).uri(format!("https://product.test{}", method.path));
    code(&world.send(request.body(Full::new(frame(&[]))).unwrap()).await.unwrap())
}

#[tokio::test]
async fn ctl_05_what_only_operators_sessions_may_needs_the_products_own_environment() {
    let world = World::new(Rpcs::new());
    let mut checked = 0;
    for method in METHODS.iter().filter(|method| method.auth.end_users == EndUsers::Operators) {
        assert_eq!(code(&world.grpc(Some("session"), method.path, &[]).await), 7, "{}", method.path);
        assert_eq!(at_product(&world, "session", method).await, 12, "{}", method.path);
        checked += 1;
    }
    assert_eq!(checked, 11);
}

#[tokio::test]
async fn ctl_10_an_operator_of_another_workspace_reaches_on_the_products_host_only_what_is_about_the_workspace() {
    let world = World::new(Rpcs::new());
    let mut open = Vec::new();
    for method in METHODS.iter().filter(|method| method.auth.kinds & kind::WORKSPACE != 0) {
        let own = method.auth.permissions.iter().any(|key| key.contains(':'));
        let at_home = code(&world.grpc(Some("member"), method.path, &[]).await);
        assert_eq!(at_home, if own { 7 } else { 12 }, "{}", method.path);
        match at_product(&world, "member", method).await {
            12 => open.push(method.path.trim_start_matches("/scalekit.v1.")),
            code => assert_eq!(code, 7, "{}", method.path),
        }
    }
    let about_the_workspace = [
        "billing.BillingService/GetBillingConfig",
        "environments.EnvironmentService/ListEnvironment",
        "users.UserService/GetSupportHash",
        "members.MembersService/UpdateCurrentMember",
        "members.MembersService/GetCurrentMember",
        "workspaces.WorkspaceService/GetCurrentWorkspace",
        "workspaces.WorkspaceService/OnboardWorkspace",
    ];
    assert_eq!(open, about_the_workspace);
}

#[tokio::test]
async fn ctl_04_permissions_are_any_of_and_named_in_the_refusal() {
    let world = World::new(Rpcs::new());
    let mut checked = 0;
    for method in METHODS.iter().filter(|method| method.auth.kinds & kind::WORKSPACE != 0) {
        let own: Vec<_> = method.auth.permissions.iter().filter(|key| key.contains(':')).collect();
        if own.is_empty() {
            continue;
        }
        checked += 1;
        let answer = world.grpc(Some("member+other:read"), method.path, &[]).await;
        let (status, info) = answer.grpc_error();
        assert_eq!(status.code, 7, "{}", method.path);
        let resource = info.resource_info.unwrap();
        assert_eq!(resource.required_permissions, method.auth.permissions);
        assert_eq!(resource.user, "usr_5");
        for key in own {
            assert_eq!(
                code(&world.grpc(Some(&format!("member+x,{key}")), method.path, &[]).await),
                12,
                "{} {key}",
                method.path
            );
        }
    }
    assert!(checked > 200, "{checked}");
}

#[tokio::test]
async fn ctl_09_another_environments_credentials_are_refused_on_every_rpc() {
    let world = World::new(Rpcs::new());
    for method in METHODS.iter().filter(|method| method.auth.kinds & kind::CLIENT != 0) {
        let request = grpc(Some("client"), method.path).uri(format!("https://other.test{}", method.path));
        let answer = world.send(request.body(Full::new(frame(&[]))).unwrap()).await.unwrap();
        assert_eq!(code(&answer), 16, "{}", method.path);
        let http = &method.http[0];
        let mut request =
            rest(Some("client"), http.verb, &path_of(http, |_| "1".into())).body(Full::default()).unwrap();
        request.headers_mut().insert("host", "other.test".parse().unwrap());
        assert_eq!(code(&world.send(request).await.unwrap()), 16, "{}", method.path);
    }
}

/// Every RPC built: it keeps what it got and answers with made-up bytes.
fn echo(got: &Arc<Mutex<Option<Bytes>>>) -> Rpcs {
    let mut rpcs = Rpcs::new();
    for method in METHODS {
        let got = Arc::clone(got);
        rpcs.add_bytes(method, move |_, wire| {
            *got.lock().unwrap() = Some(wire);
            let answer = make(method.output, &mut Choices::new(method.index as u64), 3);
            async move { Ok(answer) }
        });
    }
    rpcs
}

/// Whether a field can be given in a query.
fn fits_query(field: &narthex_api::contract::Field) -> bool {
    let kind = match field.kind {
        Kind::Message(message) => matches!(
            message.well_known,
            Some(WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask | WellKnown::Wrapper)
        ),
        Kind::Double | Kind::Float => false,
        _ => true,
    };
    kind && field.cardinality != Cardinality::Map
}

/// A request that the binding can carry, and how it is spelled on REST: path, query and body.
fn request(method: &'static Method, http: &Http, seed: u64) -> (DynamicMessage, String, String) {
    let mut choices = Choices::new(seed);
    let descriptor = reflect(pool(), method.input);
    let made = make(method.input, &mut choices, 4);
    let mut message = DynamicMessage::decode(descriptor, &made[..]).unwrap();
    for name in variables(http) {
        message.clear_field_by_name(name);
    }
    spelled(method, http, message, seed)
}

/// The fields of a request that stand in the path.
fn variables(http: &Http) -> Vec<&'static str> {
    http.template.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

/// A message as far as the binding can carry it, with something in each field of the path, and its query and body.
fn spelled(
    method: &'static Method,
    http: &Http,
    mut message: DynamicMessage,
    seed: u64,
) -> (DynamicMessage, String, String) {
    let variables = variables(http);
    for (index, name) in variables.iter().enumerate() {
        if message.has_field_by_name(name) {
            continue;
        }
        let field = method.input.field_named(name).unwrap();
        let value = match field.kind {
            Kind::Int32 => Value::I32(index as i32),
            _ => Value::String(format!("a/b:c%2F {index}ä")),
        };
        message.set_field_by_name(name, value);
    }
    let mut query = Vec::new();
    for field in method.input.fields {
        let by_body = match http.body {
            Body::None => false,
            Body::Whole => field.name != "update_mask" && field.name != "mask",
            Body::Field(name) => name == field.name,
        };
        if by_body || variables.contains(&field.name) {
            continue;
        }
        if !message.has_field_by_name(field.name) || !fits_query(field) {
            message.clear_field_by_name(field.name);
            continue;
        }
        // The spelling of the one field in JSON, as text.
        let alone = alone(&message, field.name);
        let text = json::encode(method.input, &alone, Emit::Set).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let values = match parsed.get(field.name) {
            Some(serde_json::Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
            None => vec![],
        };
        for value in &values {
            let value = match value {
                serde_json::Value::String(text) => escaped(text),
                other => other.to_string(),
            };
            // An empty value of a type that has no empty spelling cannot be given: leave the field out.
            let name = if seed.is_multiple_of(2) { field.name } else { field.json_name };
            query.push(format!("{name}={value}"));
        }
        if values.is_empty()
            || query.last().is_some_and(|last| last.ends_with('=')) && !matches!(field.kind, Kind::String | Kind::Bytes)
        {
            query.retain(|pair| {
                !pair.starts_with(&format!("{}=", field.name)) && !pair.starts_with(&format!("{}=", field.json_name))
            });
            message.clear_field_by_name(field.name);
        }
    }
    let mut body = String::new();
    match http.body {
        Body::None => {}
        Body::Whole => {
            let mut rest = message.clone();
            for name in &variables {
                rest.clear_field_by_name(name);
            }
            ["update_mask", "mask"]
                .iter()
                .filter(|name| method.input.field_named(name).is_some())
                .for_each(|name| rest.clear_field_by_name(name));
            body = String::from_utf8(json::encode(method.input, &rest.encode_to_vec(), Emit::Set).unwrap()).unwrap();
        }
        Body::Field(name) if !message.has_field_by_name(name) => {}
        Body::Field(name) => {
            let text = json::encode(method.input, &alone(&message, name), Emit::Set).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
            body = parsed.get(name).map(ToString::to_string).unwrap_or_default();
        }
    }
    // A mask that is not given would be derived on REST alone.
    let mask = method.input.fields.iter().find(|field| field.name == "update_mask" || field.name == "mask");
    if let (Some(mask), "PATCH") = (mask, http.verb)
        && !query.iter().any(|pair| pair.starts_with(mask.name) || pair.starts_with(mask.json_name))
    {
        query.push(format!("{}=a_b", mask.name));
        let mut inner = DynamicMessage::new(pool().get_message_by_name("google.protobuf.FieldMask").unwrap());
        inner.set_field_by_name("paths", Value::List(vec![Value::String("a_b".into())]));
        message.set_field_by_name(mask.name, Value::Message(inner));
    }
    (message, query.join("&"), body)
}

/// A field of the path, spelled.
fn in_path(message: &DynamicMessage, name: &str) -> String {
    match message.get_field_by_name(name).unwrap().into_owned() {
        Value::String(text) => escaped(&text),
        Value::I32(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What validation has found, as path, rule and text; nothing where it has let the request pass. (Maps have no order, so neither have the
/// violations in them: they are sorted.)
fn violations(answer: &Answer) -> Vec<String> {
    let text = |field: &str, constraint: &str, description: &str| format!("{field} {constraint} {description}");
    let mut found: Vec<_> = match (code(answer), answer.headers.contains_key("grpc-status")) {
        (0, _) => Vec::new(),
        (_, true) => {
            let found = answer.grpc_error().1.validation_error_info.unwrap().field_violations;
            found.iter().map(|it| text(&it.field, &it.constraint, &it.description)).collect()
        }
        (_, false) => {
            let answer = answer.json();
            let found = answer["details"][0]["validation_error_info"]["field_violations"].as_array();
            let found = found.unwrap_or_else(|| panic!("{answer}"));
            let member = |it: &serde_json::Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
            found
                .iter()
                .map(|it| text(&member(it, "field"), &member(it, "constraint"), &member(it, "description")))
                .collect()
        }
    };
    found.sort_unstable();
    found
}

/// A token of somebody who may call an RPC; None where it takes none.
fn token_for(method: &'static Method) -> Option<String> {
    let fits = |caller: &Caller| {
        let let_in = !is_end_user(caller) || method.auth.end_users != EndUsers::Operators;
        caller.kind() & method.auth.kinds != 0 && let_in
    };
    let token = TOKENS.iter().find(|token| caller(token).is_some_and(|caller| fits(&caller)));
    token.map(|token| with_all_permissions(token, method))
}

/// The wire bytes of one field of a message.
fn alone(message: &DynamicMessage, name: &str) -> Vec<u8> {
    let mut alone = DynamicMessage::new(message.descriptor());
    alone.set_field_by_name(name, message.get_field_by_name(name).unwrap().into_owned());
    alone.encode_to_vec()
}

fn canonical(message: &'static Message, wire: &[u8]) -> DynamicMessage {
    let read = DynamicMessage::decode(reflect(pool(), message), wire).unwrap();
    DynamicMessage::decode(reflect(pool(), message), &read.encode_to_vec()[..]).unwrap()
}

#[tokio::test]
async fn transports_hand_the_same_message_to_the_same_handler() {
    let got = Arc::new(Mutex::new(None));
    let world = World::new(echo(&got));
    let (mut equal, mut refused) = (0, 0);
    for method in METHODS.iter().filter(|method| method.auth.kinds != 0) {
        let token = token_for(method);
        for http in method.http {
            for seed in 0..6 {
                let (message, query, body) = request(method, http, seed << 32 | method.index as u64);
                let wire = message.encode_to_vec();
                let by_grpc = world.grpc(token.as_deref(), method.path, &wire).await;
                let grpc_got = got.lock().unwrap().take();
                let path = path_of(http, |name| in_path(&message, name));
                for path in [path.clone(), path.replace('/', "//")] {
                    let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
                    let by_rest = world.rest(token.as_deref(), http.verb, &target, body.clone()).await;
                    let rest_got = got.lock().unwrap().take();
                    let place = format!("{} {} {target} {body}", method.path, http.verb);
                    assert_eq!(
                        code(&by_grpc),
                        code(&by_rest),
                        "{place}: {} {:?}",
                        by_rest.text(),
                        by_grpc.header("grpc-message")
                    );
                    match (&grpc_got, &rest_got) {
                        (Some(by_grpc), Some(by_rest)) => {
                            assert!(canonical(method.input, by_grpc) == canonical(method.input, by_rest), "{place}");
                            equal += 1;
                        }
                        (None, None) => {
                            // Refused by validation: with the same words.
                            let (status, info) = by_grpc.grpc_error();
                            let (rest, grpc) = (violations(&by_rest), violations(&by_grpc));
                            let by_rest = by_rest.json();
                            // A header holds only so many.
                            assert!(
                                rest == grpc || status.encode_to_vec().len() > 1_500 && grpc.len() < rest.len(),
                                "{place}\n{rest:#?}\n{grpc:#?}"
                            );
                            assert_eq!(by_rest["details"][0]["error_code"], info.error_code);
                            refused += 1;
                        }
                        other => panic!("{place}: only one was called: {other:?}"),
                    }
                    if grpc_got.is_some() {
                        let printed = json::encode(method.output, &by_grpc.grpc_message(), Emit::Defaults).unwrap();
                        assert_eq!(by_rest.body, printed, "{place}");
                        assert_eq!(by_rest.status, if method.created { 201 } else { 200 }, "{place}");
                    }
                }
            }
        }
        world.gate.seen.lock().unwrap().clear();
    }
    assert!(equal > 1_000 && refused > 1_000, "{equal} {refused}");
}

/// A place in a request where a message stands: the fields that lead there.
type Way = Vec<&'static Field>;

/// Every message of a request once, but those in maps, with a way to it.
fn places(message: &'static Message, way: &Way, known: &mut Vec<&'static str>, all: &mut Vec<(Way, &'static Message)>) {
    if known.contains(&message.name) {
        return;
    }
    known.push(message.name);
    all.push((way.clone(), message));
    for field in message.fields.iter().filter(|field| field.cardinality != Cardinality::Map) {
        if let Kind::Message(inner) = field.kind {
            places(inner, &[way.as_slice(), &[field]].concat(), known, all);
        }
    }
}

/// Every rule that a request can meet, inside and outside of its boundary, through the whole pipeline: refused on gRPC and on REST, under
/// the rule's name and at the field's path, or by neither.
#[tokio::test]
async fn err_03_every_rule_holds_at_its_boundary_on_both_transports() {
    let world = World::new(echo(&Arc::default()));
    let (mut by_grpc, mut by_rest, mut beyond_rest) = ([0, 0], [0, 0], 0);
    for method in METHODS.iter().filter(|method| method.auth.kinds != 0) {
        let token = token_for(method);
        let mut all = Vec::new();
        places(method.input, &Way::new(), &mut Vec::new(), &mut all);
        for (way, message) in all {
            let prefix = way.iter().fold(String::new(), |mut prefix, field| {
                let index = if field.cardinality == Cardinality::Repeated { "[0]" } else { "" };
                write!(prefix, "{}{index}.", field.name).unwrap();
                prefix
            });
            for (field, probe) in
                message.fields.iter().flat_map(|field| probes(field).into_iter().map(move |it| (field, it)))
            {
                let wire = way.iter().rev().fold(with(field, &probe.elements), |inner, outer| {
                    let mut value = Vec::new();
                    delimited(&mut value, &inner);
                    with(outer, &[value])
                });
                let expected = format!("{prefix}{} {} ", probe.path, probe.id);
                let place = format!("{} {expected}{wire:?}", method.path);
                let reports = |answer: &Answer| violations(answer).iter().any(|found| found.starts_with(&expected));
                let answer = world.grpc(token.as_deref(), method.path, &wire).await;
                // A header holds only so many.
                let is_cut = answer.headers.contains_key("grpc-status") && violations(&answer).len() > 5;
                assert!(reports(&answer) == probe.broken || is_cut, "{place}: {:?}", violations(&answer));
                by_grpc[usize::from(probe.broken)] += 1;
                let asked = DynamicMessage::decode(reflect(pool(), method.input), &wire[..]).unwrap();
                for http in method.http {
                    // Some values have no spelling on REST: an empty field of a path, a duration that is too long for JSON.
                    if json::encode(method.input, &wire, Emit::Set).is_err() {
                        beyond_rest += 1;
                        continue;
                    }
                    let (message, query, body) = spelled(method, http, asked.clone(), 0);
                    let top = way.first().map_or(field.name, |outer| outer.name);
                    let given = |of: &DynamicMessage| {
                        (of.has_field_by_name(top), of.get_field_by_name(top).unwrap().into_owned())
                    };
                    let is_carried = given(&message) == given(&asked);
                    if !is_carried || variables(http).into_iter().any(|name| in_path(&message, name).is_empty()) {
                        beyond_rest += 1;
                        continue;
                    }
                    let path = path_of(http, |name| in_path(&message, name));
                    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
                    let answer = world.rest(token.as_deref(), http.verb, &target, body.clone()).await;
                    assert!(
                        matches!(code(&answer), 0 | 3),
                        "{place}: {} {target} {body}: {}",
                        http.verb,
                        answer.text()
                    );
                    let found = violations(&answer);
                    assert_eq!(reports(&answer), probe.broken, "{place}: {} {target} {body}: {found:?}", http.verb);
                    by_rest[usize::from(probe.broken)] += 1;
                }
            }
        }
        world.gate.seen.lock().unwrap().clear();
    }
    assert!(by_grpc[0] > 2_000 && by_grpc[1] > 2_000 && by_rest[0] > 2_000 && by_rest[1] > 2_000);
    assert!(beyond_rest * 8 < by_rest[0] + by_rest[1], "{beyond_rest}");
}
