//! What the built RPCs do with requests that no SDK would send, generated from the table where it can be: the same refusal on both
//! transports, in the form that callers can read, and nothing written.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use narthex_api::METHODS;
use narthex_api::contract::{Body, Cardinality, Field, Http, Kind, Message, Method, WellKnown};
use narthex_core::caller::kind;
use narthex_core::{Core, environments, jobs};
use narthex_db::Engine;
use narthex_rpc::Rpcs;

use crate::answers::{self, Decision};
use crate::harness::{Connection, Harness, Minted, Protocol, frame};

/// An API client, an operator where clients are not let in, or a user's session where operators are not either, with a kept connection
/// per protocol.
struct Caller {
    base: String,
    client: String,
    operator: String,
    session: String,
    h1: Connection,
    h2: Connection,
}

impl Caller {
    async fn new(harness: &Harness) -> Self {
        let (client, _) = harness.mint(Minted::Client, harness.env_id()).await;
        let (operator, _) = harness.mint(Minted::Member, harness.env_id()).await;
        let (session, _) = harness.mint(Minted::Session, harness.env_id()).await;
        let base = harness.running().http_url.clone();
        let open = async |protocol| Connection::open(&base, protocol, None).await.expect("a connection");
        Self { h1: open(Protocol::H1).await, h2: open(Protocol::H2).await, base, client, operator, session }
    }

    fn bearer(&self, method: &Method) -> String {
        let token = match method.auth.kinds {
            kinds if kinds & kind::CLIENT != 0 => &self.client,
            kinds if kinds & kind::WORKSPACE != 0 => &self.operator,
            _ => &self.session,
        };
        format!("Bearer {token}")
    }

    async fn grpc(&mut self, method: &Method, message: &[u8], place: &str) -> Decision {
        let request = Request::post(format!("{}{}", self.base, method.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", self.bearer(method))
            .body(frame(message).into())
            .expect("a request");
        answers::grpc(self.h2.send(request).await.unwrap_or_else(|error| panic!("{place}: {error}")), place)
    }

    async fn rest(
        &mut self,
        (method, http): (&Method, &Http),
        path: &str,
        body: impl Into<Bytes>,
        place: &str,
    ) -> Decision {
        let request = Request::builder()
            .method(http.verb)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("authorization", self.bearer(method))
            .body(body.into())
            .expect("a request");
        let reply = self.h1.send(request).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        let decision = answers::rest(&reply, place);
        if decision.code != 0 {
            assert_eq!(reply.status.as_u16(), answers::http_status(decision.code), "{place}");
        }
        decision
    }
}

/// The RPCs that are built.
fn built(harness: &Harness) -> Vec<&'static Method> {
    let mut rpcs = Rpcs::new();
    narthex::services::register(&mut rpcs, harness.core());
    METHODS.iter().filter(|method| rpcs.is_built(method.index)).collect()
}

/// How many rows each table has that requests can write to, once no job is left to do.
async fn rows(core: &Arc<Core>) -> Vec<(&'static str, i64)> {
    let now = core.clock.now();
    let due = async move |tx: &mut narthex_db::Tx| {
        tx.one::<(i64,)>("SELECT count(*) FROM jobs WHERE state < 2 AND run_at <= $1", &narthex_db::p![now]).await
    };
    // The server's own workers may be at some of them.
    while core.db.read(due).await.expect("a count").0 > 0 {
        jobs::drain(core).await.expect("jobs end");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut counts = Vec::new();
    for (table, sql) in [
        ("organizations", "SELECT count(*) FROM organizations"),
        ("events", "SELECT count(*) FROM events"),
        ("jobs", "SELECT count(*) FROM jobs"),
        ("portal_links", "SELECT count(*) FROM portal_links"),
        ("roles", "SELECT count(*) FROM roles"),
        ("permissions", "SELECT count(*) FROM permissions"),
        ("role_permissions", "SELECT count(*) FROM role_permissions"),
        ("user_attributes", "SELECT count(*) FROM user_attributes"),
        ("organization_branding", "SELECT count(*) FROM organization_branding"),
        ("idempotency_keys", "SELECT count(*) FROM idempotency_keys"),
        ("deleted_organizations", "SELECT count(*) FROM deleted_organizations"),
        ("sessions", "SELECT count(*) FROM sessions"),
        ("clients", "SELECT count(*) FROM clients"),
    ] {
        let (count,): (i64,) = core
            .db
            .read(async move |tx| tx.one(sql, &[]).await)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error:?}"));
        counts.push((table, count));
    }
    counts
}

/// A field somewhere in a request: the numbers and names on the way, and itself.
struct Place {
    way: Vec<&'static Field>,
    field: &'static Field,
}

impl Place {
    fn all(message: &'static Message) -> Vec<Self> {
        fn below(message: &'static Message, way: &[&'static Field], out: &mut Vec<Place>) {
            for field in message.fields {
                out.push(Place { way: way.to_vec(), field });
                let deeper = match field.kind {
                    Kind::Message(inner) if inner.well_known.is_none() && way.len() < 3 => Some(inner),
                    _ => None,
                };
                if let Some(inner) = deeper {
                    let mut way = way.to_vec();
                    way.push(field);
                    below(inner, &way, out);
                }
            }
        }
        let mut out = Vec::new();
        below(message, &[], &mut out);
        out
    }

    fn top(&self) -> &'static Field {
        self.way.first().copied().unwrap_or(self.field)
    }

    fn name(&self) -> String {
        self.way.iter().chain([&self.field]).map(|field| field.name).collect::<Vec<_>>().join(".")
    }

    /// The message around these bytes of the field, which begin with their key.
    fn wire(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.way.iter().rev().fold(bytes, |inner, field| delimited(field.number, &inner))
    }

    /// The JSON object around this value, from the part of the way that the body holds; `None` if the body does not hold it.
    fn json(&self, value: &str, body: Body) -> Option<String> {
        let all: Vec<&Field> = self.way.iter().copied().chain([self.field]).collect();
        let inside = match body {
            Body::Whole => &all[..],
            Body::Field(name)
                if all[0].name == name && all.len() > 1 && all[0].cardinality != Cardinality::Repeated =>
            {
                &all[1..]
            }
            Body::None | Body::Field(_) => return None,
        };
        // A map's entry is no message in JSON: its key stands where a name would.
        let mut text = value.to_owned();
        let mut index = inside.len();
        while index > 0 {
            index -= 1;
            let field = inside[index];
            let own = index + 1 == inside.len();
            if index > 0 && inside[index - 1].cardinality == Cardinality::Map {
                if field.name == "key" {
                    return None;
                }
                text = format!("{{\"k\":{text}}}");
                continue;
            }
            if field.cardinality == Cardinality::Repeated && !own {
                text = format!("[{text}]");
            }
            text = format!("{{\"{}\":{text}}}", field.name);
        }
        Some(text)
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn key(number: u32, wire_type: u64) -> Vec<u8> {
    varint(u64::from(number) << 3 | wire_type)
}

fn delimited(number: u32, bytes: &[u8]) -> Vec<u8> {
    [key(number, 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Bytes that are no such field.
fn bad_wire(field: &Field) -> Vec<(&'static str, Vec<u8>)> {
    let number = field.number;
    let mut bad = vec![
        ("a group", [key(number, 3), key(number, 4)].concat()),
        ("the end of a group", key(number, 4)),
        ("wire type 6", [key(number, 6), vec![0; 8]].concat()),
        ("wire type 7", [key(number, 7), vec![0; 8]].concat()),
        ("a key and nothing more", key(number, 0)),
    ];
    match field.kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => {
            bad.push(("a number in place of a text", [key(number, 0), vec![1]].concat()));
            bad.push(("a length beyond the end", [key(number, 2), vec![200, 1, 7]].concat()));
            bad.push(("an endless length", [key(number, 2), varint(u64::MAX)].concat()));
        }
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 | Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
            bad.push(("a varint in place of a fixed number", [key(number, 0), vec![1]].concat()));
        }
        _ => {
            bad.push(("a fixed number in place of a varint", [key(number, 1), vec![1; 8]].concat()));
            bad.push(("an eleven byte varint", [key(number, 0), vec![0x80; 10], vec![1]].concat()));
            bad.push(("more than 64 bits", [key(number, 0), vec![0xff; 9], vec![0x7f]].concat()));
        }
    }
    if matches!(field.kind, Kind::String) {
        bad.push(("no UTF-8", delimited(number, &[b'a', 0xc3, 0x28])));
        bad.push(("a surrogate in UTF-8", delimited(number, &[0xed, 0xa0, 0x80])));
        bad.push(("overlong UTF-8", delimited(number, &[0xc0, 0xaf])));
        bad.push(("U+0000", delimited(number, b"a\0b")));
    }
    bad
}

/// JSON values that are no such field.
fn bad_json(field: &Field) -> &'static [&'static str] {
    match (field.cardinality, field.kind) {
        (Cardinality::Repeated, _) => &["{}", "\"x\"", "7", "[[]]", "[null]", "[1,]"],
        (Cardinality::Map, _) => {
            &["[]", "\"x\"", "7", "{\"a\":null}", "{a:1}", "{\"\\u0000\":\"x\"}", "{\"k\":\"x\",\"k\":\"y\"}"]
        }
        (_, Kind::String) => &[
            "5",
            "true",
            "{}",
            "[\"a\"]",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"a\\u0000b\"",
            "\"\\x41\"",
            "\"\n\"",
            "\"open",
        ],
        (_, Kind::Bytes) => &["5", "\"!!!\"", "{}", "[]"],
        (_, Kind::Bool) => &["\"yes\"", "1", "{}", "[]", "TRUE"],
        (_, Kind::Double | Kind::Float) => &["\"x\"", "{}", "[]", "true", "NaN", "1e"],
        (_, Kind::Enum(_)) => &["\"NO_SUCH_VALUE\"", "1.5", "{}", "[]", "99999999999", "true"],
        (_, Kind::Message(message)) => match message.well_known {
            None => &["5", "\"x\"", "[]", "true"],
            Some(WellKnown::Struct) => {
                &["5", "\"x\"", "[]", "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}", "{\"a\":1e999}", "{\"a\":1,\"a\":2}"]
            }
            Some(WellKnown::Timestamp | WellKnown::Duration) => &["5", "\"yesterday\"", "{}", "[]", "\"\""],
            Some(WellKnown::FieldMask) => &["5", "{}", "[]", "\"a..b\"", "\"\\u0000\""],
            Some(WellKnown::Wrapper) => &["{}", "[]"],
            Some(_) => &[],
        },
        _ => {
            &["\"abc\"", "1.5", "1e400", "99999999999999999999999", "{}", "true", "\"1 \"", "01", "\"0x10\"", "-", "+1"]
        }
    }
}

/// A path of a binding in which every variable has this value.
fn path(http: &Http, value: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, suffix)) => format!("{value}{suffix}"),
        None => segment.to_owned(),
    };
    http.template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn is_path_variable(http: &Http, field: &Field) -> bool {
    http.template.contains(&format!("{{{}}}", field.name))
}

/// Refused for what it says, and told where.
fn assert_malformed(decision: &Decision, top: Option<&Field>, place: &str) {
    assert_eq!((decision.code, &*decision.error_code), (3, "INVALID_ARGUMENT"), "{place}: {decision:?}");
    if let Some(top) = top {
        assert!(
            decision.fields.iter().any(|path| path.starts_with(top.name)),
            "{place}: no violation names {}: {decision:?}",
            top.name
        );
    }
}

async fn malformed_messages(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let mut caller = Caller::new(&harness).await;
    let before = rows(harness.core()).await;
    let mut sent = 0;
    for method in built(&harness) {
        let nowhere: [&[u8]; 6] =
            [&[0x80], &[0x00, 0x00], &[0x0b], &[0x0c], &[0xff; 11], &[0xfa, 0x3e, 0xff, 0xff, 0xff, 0xff, 0x0f]];
        for bytes in nowhere {
            let place = format!("{} {bytes:x?}", method.name);
            assert_malformed(&caller.grpc(method, bytes, &place).await, None, &place);
            sent += 1;
        }
        for place in Place::all(method.input) {
            for (what, bytes) in bad_wire(place.field) {
                let name = format!("{} {} with {what}", method.name, place.name());
                let decision = caller.grpc(method, &place.wire(bytes), &name).await;
                assert_malformed(&decision, None, &name);
                if what == "U+0000" || what == "no UTF-8" {
                    assert_malformed(&decision, Some(place.top()), &name);
                }
                sent += 1;
            }
        }
    }
    assert!(sent > 1_000, "{sent}");
    assert_eq!(rows(harness.core()).await, before);
}

/// Path variables and queries that are no such fields; how many were sent.
async fn malformed_queries(caller: &mut Caller, method: &'static Method) -> usize {
    let mut sent = 0;
    for http in answers::bindings(method).filter(|http| http.body == Body::None) {
        for field in method.input.fields.iter().filter(|field| !is_path_variable(http, field)) {
            let bad: &[&str] = match field.kind {
                Kind::String => &["a%00b", "%ff", "%ed%a0%80"],
                Kind::Bool => &["yes", "2"],
                Kind::Enum(_) => &["NO_SUCH_VALUE", "1.5"],
                Kind::Int32 | Kind::Uint32 | Kind::Int64 | Kind::Uint64 => {
                    &["abc", "1.5", "99999999999999999999", "0x10"]
                }
                _ => continue,
            };
            for value in bad {
                let target = format!("{}?{}={value}", path(http, "org_85734290159350400"), field.name);
                let place = format!("{} {target}", http.verb);
                assert_malformed(&caller.rest((method, http), &target, "", &place).await, Some(field), &place);
                sent += 1;
            }
        }
        if http.template.contains('{') {
            for value in ["a%00b", "%ff", "%c0%af"] {
                let place = format!("{} {} {value}", http.verb, http.template);
                let code = caller.rest((method, http), &path(http, value), "", &place).await.code;
                assert!(matches!(code, 3 | 5), "{place}: {code}");
                sent += 1;
            }
        }
    }
    sent
}

async fn malformed_json(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let mut caller = Caller::new(&harness).await;
    let before = rows(harness.core()).await;
    let bomb = format!("{{\"x\":{}", "[".repeat(100_000));
    let objects = format!("{}1{}", "{\"x\":".repeat(50_000), "}".repeat(50_000));
    let garbage: Vec<&[u8]> = vec![
        b"{",
        b"{}x",
        b"{}{}",
        b"[]",
        b"\"x\"",
        b"7",
        b"{\"x\":1,}",
        b"{'x':1}",
        b"{\"x\":01}",
        b"{\"x\":NaN}",
        b"{\"x\":\"\\ud800\"}",
        b"{\"x\":\"\xff\xfe\"}",
        b"{\"\xc0\xaf\":1}",
        b"\xef\xbb\xbf{}x",
        b"\xff\xfe{\0}\0",
        b"{\"x\":1 /* */}",
        b"{\"x\":tru}",
        b"{\"x\":\"",
        b"{\"x\"}",
        b"{,}",
        b"\0",
        bomb.as_bytes(),
        objects.as_bytes(),
    ];
    let mut sent = 0;
    for method in built(&harness) {
        for http in answers::bindings(method).filter(|http| http.body != Body::None) {
            let path = path(http, "org_85734290159350400");
            for text in &garbage {
                let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
                let place = format!("{} {} {shown}", http.verb, http.template);
                assert_malformed(&caller.rest((method, http), &path, text.to_vec(), &place).await, None, &place);
                sent += 1;
            }
            for place in Place::all(method.input) {
                if is_path_variable(http, place.top()) {
                    continue;
                }
                for value in bad_json(place.field) {
                    let Some(text) = place.json(value, http.body) else { continue };
                    let name = format!("{} {} {text}", http.verb, http.template);
                    assert_malformed(&caller.rest((method, http), &path, text, &name).await, None, &name);
                    sent += 1;
                }
                // Twice, in both spellings.
                let value = if place.field.cardinality == Cardinality::Repeated { "[]" } else { "{}" };
                let ok = match place.field.kind {
                    _ if matches!(place.field.cardinality, Cardinality::Repeated | Cardinality::Map) => value,
                    Kind::String => "\"x\"",
                    Kind::Bool => "true",
                    Kind::Message(message) if message.well_known.is_none() => "{}",
                    _ => continue,
                };
                let Some(once) = place.json(ok, http.body) else { continue };
                let (alone, twin) = (
                    format!("\"{}\":{ok}", place.field.name),
                    format!("\"{}\":{ok},\"{}\":{ok}", place.field.name, place.field.json_name),
                );
                let name = format!("{} {} twice {}", http.verb, http.template, place.name());
                let text = once.replace(&alone, &twin);
                if text != once {
                    assert_malformed(&caller.rest((method, http), &path, text, &name).await, None, &name);
                    sent += 1;
                }
            }
        }
        sent += malformed_queries(&mut caller, method).await;
    }
    assert!(sent > 1_500, "{sent}");
    assert_eq!(rows(harness.core()).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_03_malformed_messages_are_refused_and_change_nothing_sqlite() {
    malformed_messages(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_03_malformed_messages_are_refused_and_change_nothing_postgres() {
    malformed_messages(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_03_malformed_json_is_refused_and_changes_nothing_sqlite() {
    malformed_json(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_03_malformed_json_is_refused_and_changes_nothing_postgres() {
    malformed_json(Engine::Postgres).await;
}

/// A message in which every field has a value that looks right, but for one place that has these bytes.
fn plausible(
    message: &'static Message,
    organization: &str,
    odd: Option<(&Place, &[u8])>,
    way: &mut Vec<u32>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in message.fields {
        if let Some((place, value)) = odd
            && std::ptr::eq(place.field, field)
            && place.way.iter().map(|field| field.number).eq(way.iter().copied())
        {
            bytes.extend_from_slice(value);
            continue;
        }
        // Of a oneof's members the first, unless another one is the odd place.
        let sibling =
            |other: &&Field| other.oneof.is_some() && other.oneof == field.oneof && other.number != field.number;
        let odd_here = |field: &Field| {
            odd.is_some_and(|(place, _)| {
                let numbers: Vec<u32> = place.way.iter().chain([&place.field]).map(|field| field.number).collect();
                numbers.len() > way.len() && numbers[..way.len()] == way[..] && numbers[way.len()] == field.number
            })
        };
        let mut siblings = message.fields.iter().filter(sibling);
        if siblings.clone().any(odd_here) || !odd_here(field) && siblings.any(|other| other.number < field.number) {
            continue;
        }
        let (number, kind) = (field.number, field.kind);
        bytes.extend(match kind {
            Kind::String if field.name == "id" || field.name.ends_with("organization_id") || field.name == "org_id" => {
                delimited(number, organization.as_bytes())
            }
            Kind::String | Kind::Bytes => delimited(number, b"plausible_1"),
            Kind::Message(inner) if inner.well_known.is_none() && way.len() < 4 => {
                way.push(number);
                let inner = plausible(inner, organization, odd, way);
                way.pop();
                delimited(number, &inner)
            }
            Kind::Message(_) => Vec::new(),
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => [key(number, 1), vec![1, 0, 0, 0, 0, 0, 0, 0]].concat(),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => [key(number, 5), vec![1, 0, 0, 0]].concat(),
            _ => [key(number, 0), vec![1]].concat(),
        });
    }
    bytes
}

/// Well-formed values at the edges of what a field can hold.
fn odd_values(field: &Field) -> Vec<Vec<u8>> {
    let number = field.number;
    match field.kind {
        Kind::String => {
            ["", " ", "\u{202e}\u{200b}", "%_'\"\\;--", "\u{10ffff}", "a/../b", "{{7*7}}", "<script>", "org_1"]
                .into_iter()
                .map(|text| delimited(number, text.as_bytes()))
                .chain([
                    delimited(number, "\u{1f4a9}".repeat(5_000).as_bytes()),
                    delimited(number, "i\u{307}".repeat(100).as_bytes()),
                ])
                .collect()
        }
        Kind::Bytes => vec![delimited(number, &[0xff; 64])],
        // Absent, empty, and twice (which merges).
        Kind::Message(_) => {
            vec![Vec::new(), delimited(number, &[]), [delimited(number, &[]), delimited(number, &[])].concat()]
        }
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
            vec![[key(number, 1), f64::NAN.to_le_bytes().to_vec()].concat(), [key(number, 1), vec![0xff; 8]].concat()]
        }
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => vec![[key(number, 5), vec![0xff; 4]].concat()],
        _ => [
            0,
            2,
            9_999,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            u64::MAX,
            i64::MAX.cast_unsigned(),
            i64::MIN.cast_unsigned(),
        ]
        .into_iter()
        .map(|value| [key(number, 0), varint(value)].concat())
        .collect(),
    }
}

async fn odd_requests(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let mut caller = Caller::new(&harness).await;
    let token = harness.client_token().await;
    let made = harness
        .rest("POST", "/api/v1/organizations", Some(&token), Some(&serde_json::json!({"display_name": "Odd"})))
        .await;
    let organization = made.json()["organization"]["id"].as_str().expect("an id").to_owned();
    let mut codes = std::collections::BTreeMap::<i32, usize>::new();
    for method in built(&harness) {
        // Nobody deletes what the others need.
        let id = if method.name.starts_with("Delete") { "org_85734290159350400" } else { &organization };
        let mut odd: Vec<(String, Vec<u8>)> =
            vec![("nothing odd".to_owned(), plausible(method.input, id, None, &mut Vec::new()))];
        for place in Place::all(method.input) {
            for value in odd_values(place.field) {
                odd.push((place.name(), plausible(method.input, id, Some((&place, &value)), &mut Vec::new())));
            }
        }
        for (what, message) in odd {
            let place = format!("{} with an odd {what}: {message:x?}", method.name);
            let decision = caller.grpc(method, &message, &place).await;
            assert!(matches!(decision.code, 0 | 3 | 5 | 6 | 7 | 9 | 10), "{place}: {decision:?}");
            *codes.entry(decision.code).or_default() += 1;
        }
        // What ends every session is undone, or nobody would get any further.
        if method.name == "DisableFSAFeature" {
            let on = vec![(environments::Switch::FullStack, true)];
            environments::set_switches(harness.core(), harness.env_id(), on).await.expect("switched on again");
        }
    }
    // Many of them are let through by the rules of the table, so that the handlers have to cope.
    assert!(codes[&0] > 100 && codes[&5] > 100 && codes[&3] > 100, "{codes:?}");
    let still = harness.rest("GET", &format!("/api/v1/organizations/{organization}"), Some(&token), None).await;
    assert_eq!(still.status, 200, "and what they have written can be read: {}", still.text());
    let list = harness.rest("GET", "/api/v1/organizations?page_size=100", Some(&token), None).await;
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(harness.rest("GET", "/api/v1/roles", Some(&token), None).await.status, 200);
    jobs::drain(harness.core()).await.expect("jobs end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_well_formed_request_is_an_internal_error_sqlite() {
    odd_requests(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_well_formed_request_is_an_internal_error_postgres() {
    odd_requests(Engine::Postgres).await;
}
