//! Attacks on the whole server: identities that are somebody else's, requests that are too much, and messages that two readers would
//! take for two different things.

use bytes::Bytes;
use http::Request;
use narthex_core::ids::EnvId;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::{clients, tokens};
use narthex_db::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use narthex_api::scalekit::v1::organizations::{
    self as wire, delete_organization_request as delete, get_organization_request as get,
    update_organization_request as update,
};

use crate::answers::{self, Decision};
use crate::harness::{Connection, Harness, Minted, Protocol, Reply, frame};

const SERVICE: &str = "/scalekit.v1.organizations.OrganizationService";
const LIST: &str = "/scalekit.v1.organizations.OrganizationService/ListOrganization";

/// One caller of one environment.
struct Client<'a> {
    harness: &'a Harness,
    base: String,
    token: String,
}

impl<'a> Client<'a> {
    async fn of(harness: &'a Harness, environment: EnvId) -> Self {
        let (token, _) = harness.mint(Minted::Client, environment).await;
        let running = harness.running();
        let base = if environment == harness.prd_id() { running.prd_url.clone() } else { running.dev_url.clone() };
        Self { harness, base, token }
    }

    async fn raw(&self, verb: &str, path: &str, json: Option<&Value>) -> Reply {
        self.harness.rest_at(&self.base, Protocol::H1, verb, path, Some(&self.token), json).await
    }

    async fn rest(&self, verb: &str, path: &str, json: Option<&Value>) -> Decision {
        let reply = self.raw(verb, path, json).await;
        let decision = answers::rest(&reply, &format!("{verb} {path} {json:?}"));
        if decision.code != 0 {
            assert_eq!(reply.status.as_u16(), answers::http_status(decision.code), "{verb} {path}");
        }
        decision
    }

    async fn grpc(&self, rpc: &str, message: &impl prost::Message) -> Decision {
        let request = Request::post(format!("{}{SERVICE}/{rpc}", self.base))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", self.token));
        answers::grpc(self.harness.send(&self.base, Protocol::H2, request, frame(&message.encode_to_vec())).await, rpc)
    }

    async fn create(&self, name: &str, external_id: &str) -> String {
        let body = json!({"display_name": name, "external_id": external_id});
        let reply = self.raw("POST", "/api/v1/organizations", Some(&body)).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["organization"]["id"].as_str().expect("an id").to_owned()
    }

    async fn organization(&self, id: &str) -> Value {
        self.raw("GET", &format!("/api/v1/organizations/{id}"), None).await.json()["organization"].clone()
    }
}

/// Both transports refused with the same words and this code.
fn assert_twins(rest: &Decision, grpc: &Decision, code: i32, place: &str) {
    assert_eq!(rest.alike(), grpc.alike(), "{place}");
    assert_eq!(rest.code, code, "{place}: {rest:?}");
}

/// Ids that are no id of an organization of the caller's environment.
fn bad_ids(foreign: &str, own: &str) -> Vec<String> {
    let digits = own.trim_start_matches("org_");
    let mut ids: Vec<String> =
        ["usr_", "env_", "ORG_", "org-", "orgs_"].iter().map(|prefix| format!("{prefix}{digits}")).collect();
    ids.extend([
        foreign.to_owned(),
        format!("org_0{digits}"),
        format!("org_+{digits}"),
        format!("org_-{digits}"),
        format!("org_{digits} "),
        format!("org_{digits}.0"),
        format!("org_{digits}_p"),
        format!("org_{:x}", digits.parse::<i64>().expect("a number")),
        "org_9223372036854775807".to_owned(),
        "org_9223372036854775808".to_owned(),
        "org_000000000000000000".to_owned(),
        // Digits of other scripts.
        format!("org_{}", digits.replace('3', "\u{663}").replace('8', "\u{ff18}")),
    ]);
    ids.retain(|id| id != own);
    ids
}

async fn foreign_ids(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let dev = Client::of(&harness, harness.env_id()).await;
    let prd = Client::of(&harness, harness.prd_id()).await;
    let own = dev.create("Own", "own").await;
    let foreign = prd.create("Foreign", "foreign").await;
    let before = prd.organization(&foreign).await;
    for id in bad_ids(&foreign, &own) {
        let path = percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC).to_string();
        let base = format!("/api/v1/organizations/{path}");
        let change = json!({"display_name": "Mine now"});
        // (What else the contract asks of an id may be found first: then it is 3, on both.)
        let twins = [
            (
                dev.rest("GET", &base, None).await,
                dev.grpc(
                    "GetOrganization",
                    &wire::GetOrganizationRequest { identities: Some(get::Identities::Id(id.clone())) },
                )
                .await,
            ),
            (
                dev.rest("PATCH", &base, Some(&change)).await,
                dev.grpc(
                    "UpdateOrganization",
                    &wire::UpdateOrganizationRequest {
                        identities: Some(update::Identities::Id(id.clone())),
                        organization: Some(wire::UpdateOrganization {
                            display_name: Some("Mine now".into()),
                            ..Default::default()
                        }),
                        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into()] }),
                    },
                )
                .await,
            ),
            (
                dev.rest("DELETE", &base, None).await,
                dev.grpc(
                    "DeleteOrganization",
                    &wire::DeleteOrganizationRequest { identities: Some(delete::Identities::Id(id.clone())) },
                )
                .await,
            ),
        ];
        for (rest, grpc) in &twins {
            let code = if matches!(rest.code, 3 | 5) { rest.code } else { 5 };
            assert_twins(rest, grpc, code, &id);
        }
        if id == foreign {
            assert!(twins.iter().all(|(rest, _)| rest.code == 5), "another environment's organization is not there");
        }
        for (verb, path, body) in [
            ("PUT", "/portal_links?features=sso", None),
            ("GET", "/portal_links", None),
            ("PATCH", "/settings", Some(json!({"features": [{"name": "sso", "enabled": true}]}))),
            ("GET", "/session-policy", None),
            ("GET", "/branding", None),
            ("GET", "/roles", None),
            ("POST", "/roles", Some(json!({"name": "thief", "display_name": "Thief"}))),
        ] {
            let code = dev.rest(verb, &format!("{base}{path}"), body.as_ref()).await.code;
            // A path that the table does not have is 5 as well.
            assert!(matches!(code, 3 | 5 | 7 | 12), "{verb} {base}{path}: {code}");
        }
    }
    // By external id.
    let rest = dev.rest("GET", "/api/v1/organizations:external/foreign", None).await;
    assert_ne!(rest.code, 0, "{rest:?}");
    let message = wire::GetOrganizationRequest { identities: Some(get::Identities::ExternalId("foreign".into())) };
    assert_eq!(dev.grpc("GetOrganization", &message).await.code, 5);
    assert_eq!(dev.grpc("GetOrganizationByExternalId", &message).await.code, 5);
    assert_eq!(prd.organization(&foreign).await, before, "nothing of it has changed");
    assert_eq!(
        dev.create("Same external id", "foreign").await.get(..4),
        Some("org_"),
        "external ids are each environment's own"
    );
}

async fn what_may_be_changed(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let dev = Client::of(&harness, harness.env_id()).await;
    let (first, second) = (dev.create("First", "first").await, dev.create("Second", "second").await);
    let untouched = dev.organization(&second).await;

    // The path names the organization, whatever the body says.
    let path = format!("/api/v1/organizations/{first}");
    for body in [
        json!({"id": second, "display_name": "By path 1"}),
        json!({"organization": {"id": second}, "id": second, "display_name": "By path 2"}),
        json!({"external_id": "second-2", "display_name": "By path 3"}),
    ] {
        let decision = dev.rest("PATCH", &path, Some(&body)).await;
        assert_eq!(decision.code, 0, "{body}: {decision:?}");
        assert_eq!(dev.organization(&first).await["display_name"], body["display_name"]);
        assert_eq!(dev.organization(&second).await, untouched, "{body}");
    }
    let decision = dev.rest("PATCH", &format!("{path}?id={second}"), Some(&json!({"display_name": "By path 4"}))).await;
    assert!(matches!(decision.code, 0 | 3), "{decision:?}");
    assert_eq!(dev.organization(&second).await, untouched);

    // Masks.
    let before = dev.organization(&first).await;
    for mask in [
        "id",
        "create_time",
        "update_time",
        "region_code",
        "settings",
        "environment_id",
        "workspace_id",
        "organization.environment_id",
        "organization.id",
        "nonsense",
        "*",
        "display_name.x",
        "metadata.plan",
        "",
    ] {
        let message = wire::UpdateOrganizationRequest {
            identities: Some(update::Identities::Id(first.clone())),
            organization: Some(wire::UpdateOrganization { display_name: Some("By mask".into()), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into(), mask.into()] }),
        };
        let grpc = dev.grpc("UpdateOrganization", &message).await;
        assert_eq!(grpc.code, 3, "{mask}: {grpc:?}");
        let escaped = percent_encoding::utf8_percent_encode(mask, percent_encoding::NON_ALPHANUMERIC);
        let target = format!("{path}?update_mask=display_name,{escaped}");
        let rest = dev.rest("PATCH", &target, Some(&json!({"display_name": "By mask"}))).await;
        // On REST an empty path, as in `a,`, may be no path.
        if !mask.is_empty() {
            assert_eq!(rest.code, 3, "{mask}: {rest:?}");
            assert!(rest.fields.iter().any(|field| field.contains("update_mask")), "{mask}: {rest:?}");
            assert_eq!(dev.organization(&first).await, before, "{mask}");
        }
    }
}

async fn page_tokens(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let dev = Client::of(&harness, harness.env_id()).await;
    let prd = Client::of(&harness, harness.prd_id()).await;
    for n in 0..3 {
        dev.create(&format!("Paged {n}"), &format!("paged-{n}")).await;
        prd.create(&format!("Elsewhere {n}"), &format!("elsewhere-{n}")).await;
    }
    let token = |reply: Reply| reply.json()["next_page_token"].as_str().expect("a token").to_owned();
    let own = token(dev.raw("GET", "/api/v1/organizations?page_size=1", None).await);
    let foreign = token(prd.raw("GET", "/api/v1/organizations?page_size=1", None).await);
    let searched = token(dev.raw("GET", "/api/v1/organizations:search?query=paged&page_size=1", None).await);
    assert!(!own.is_empty() && !foreign.is_empty() && !searched.is_empty());
    let mut altered = own.clone().into_bytes();
    altered.reverse();
    let altered = String::from_utf8(altered).expect("ASCII");
    let mut tokens: Vec<String> = [
        "-1",
        "0x10",
        "1e9",
        "99999999999999999999999999",
        "10002",
        "\u{663}",
        "eyJwYWdlIjoyfQ==",
        "e30",
        "AAAA",
        "%",
        "' OR 1=1 --",
        "null",
        "\u{1f4a9}",
    ]
    .map(str::to_owned)
    .to_vec();
    tokens.extend([foreign, searched, altered, format!("{own}A"), own[..own.len() - 1].to_owned(), "A".repeat(5_000)]);
    for token in tokens {
        let escaped = percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        let rest = dev.rest("GET", &format!("/api/v1/organizations?page_size=1&page_token={escaped}"), None).await;
        let grpc = dev
            .grpc(
                "ListOrganization",
                &wire::ListOrganizationsRequest { page_size: 1, page_token: token.clone(), ..Default::default() },
            )
            .await;
        assert_twins(&rest, &grpc, 3, &format!("page token {token:.60}"));
        assert!(rest.fields.is_empty() || rest.fields.iter().any(|field| field == "page_token"), "{rest:?}");
    }
    let escaped = percent_encoding::utf8_percent_encode(&own, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert_eq!(dev.rest("GET", &format!("/api/v1/organizations?page_size=1&page_token={escaped}"), None).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_not_the_environments_find_nothing_sqlite() {
    foreign_ids(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_not_the_environments_find_nothing_postgres() {
    foreign_ids(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_and_the_mask_say_what_changes_sqlite() {
    what_may_be_changed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_and_the_mask_say_what_changes_postgres() {
    what_may_be_changed(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_05_page_tokens_of_others_are_refused_sqlite() {
    page_tokens(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_05_page_tokens_of_others_are_refused_postgres() {
    page_tokens(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mgmt_03_two_callers_on_one_request_are_never_one_caller() {
    let harness = Harness::start().await;
    let environment = harness.environment(harness.env_id()).await;
    let (client, _) = harness.mint(Minted::Client, environment.id).await;
    let new = NewMember {
        email: "viewer@example.test".to_owned(),
        given_name: String::new(),
        family_name: String::new(),
        role: FixedRole::Viewer,
    };
    let viewer = members::create(harness.core(), environment.workspace_id, new).await.expect("a member");
    let viewer =
        tokens::mint_member(harness.core(), &viewer, std::time::Duration::from_mins(10)).await.expect("a token");
    let viewer = viewer.access_token;
    let base = harness.running().dev_url.clone();
    let body = json!({"display_name": "Whose?"}).to_string();
    let create = async |values: &[&str], protocol| {
        let mut request =
            Request::post(format!("{base}/api/v1/organizations")).header("content-type", "application/json");
        for value in values {
            request = request.header("authorization", *value);
        }
        harness.send(&base, protocol, request, body.clone()).await.status.as_u16()
    };
    let (client_first, viewer_first) = (format!("Bearer {client}"), format!("Bearer {viewer}"));
    for protocol in [Protocol::H1, Protocol::H2] {
        assert_eq!(create(&[&viewer_first], protocol).await, 403);
        assert_eq!(create(&[&client_first, &viewer_first], protocol).await, 201, "the first valid one");
        assert_eq!(create(&[&viewer_first, &client_first], protocol).await, 403, "a valid caller is not passed over");
        assert_eq!(create(&["Bearer stale", &viewer_first, &client_first], protocol).await, 403);
        for merged in [
            format!("Bearer {viewer}, Bearer {client}"),
            format!("Bearer {viewer},{client}"),
            format!("Bearer {viewer} {client}"),
            format!("Basic {client}"),
            format!("Bearer{client}"),
            format!("Bearer {}", client.replace('.', "%2e")),
            format!("Bearer {}.", &client),
            client.clone(),
        ] {
            assert_eq!(create(&[&merged], protocol).await, 401, "{merged:.40}");
        }
        // Nowhere else does a token count.
        let elsewhere = Request::get(format!("{base}/api/v1/organizations?access_token={client}"))
            .header("x-authorization", &client_first)
            .header("proxy-authorization", &client_first)
            .header("cookie", format!("access_token={client}; authorization={client}"));
        assert_eq!(harness.send(&base, protocol, elsewhere, "").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mgmt_02_forged_tokens_are_nobodys_on_both_transports() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let harness = Harness::start().await;
    let good = harness.client_token().await;
    let parts: Vec<&str> = good.split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |value: &Value, changes: Value| {
        let mut value = value.clone();
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        encode(&value)
    };
    let forged = [
        ("none", format!("{}.{}.", with(&header, json!({"alg": "none"})), parts[1])),
        ("None", format!("{}.{}.{}", with(&header, json!({"alg": "None"})), parts[1], parts[2])),
        ("HS256", format!("{}.{}.{}", with(&header, json!({"alg": "HS256"})), parts[1], parts[2])),
        (
            "another kid",
            format!("{}.{}.{}", with(&header, json!({"kid": "snk_383489675105669120"})), parts[1], parts[2]),
        ),
        (
            "a kid with a path",
            format!("{}.{}.{}", with(&header, json!({"kid": "../../etc/passwd"})), parts[1], parts[2]),
        ),
        ("jku", format!("{}.{}.{}", with(&header, json!({"jku": "http://127.0.0.1:1/keys"})), parts[1], parts[2])),
        ("crit", format!("{}.{}.{}", with(&header, json!({"crit": ["exp"]})), parts[1], parts[2])),
        ("later exp", format!("{}.{}.{}", parts[0], with(&claims, json!({"exp": 4_000_000_000_i64})), parts[2])),
        ("other subject", format!("{}.{}.{}", parts[0], with(&claims, json!({"sub": "skc_1"})), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("padding", format!("{good}==")),
        ("an oversized token", format!("{good}{}", "A".repeat(20_000))),
    ];
    for (what, token) in forged {
        let rest = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
        let grpc = harness.grpc(LIST, Some(&token), &[]).await;
        assert_eq!(
            (rest.status.as_u16(), grpc.status, grpc.error_code().as_str()),
            (401, 16, "UNAUTHENTICATED"),
            "{what}"
        );
    }
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&good), None).await.status, 200);
    // And one that was good until now.
    let id = harness.running().dev.as_ref().unwrap().dev.client_id.clone();
    clients::set_enabled(harness.core(), harness.env_id(), &id, false).await.unwrap();
    let rest = harness.rest("GET", "/api/v1/organizations", Some(&good), None).await;
    let grpc = harness.grpc(LIST, Some(&good), &[]).await;
    assert_eq!((rest.status.as_u16(), grpc.status), (401, 16), "a disabled client's token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_refused_and_harms_nobody_else() {
    let harness = Harness::start().await;
    let dev = Client::of(&harness, harness.env_id()).await;
    let base = harness.running().http_url.clone();
    let count = async || dev.raw("GET", "/api/v1/organizations?page_size=1", None).await.json()["total_size"].clone();
    let before = count().await;
    let post = |path: &str| {
        Request::post(format!("{base}{path}"))
            .header("authorization", format!("Bearer {}", dev.token))
            .header("content-type", "application/json")
    };
    // A megabyte in one value, keys without end, and a body over the limit.
    let large = json!({"display_name": "Large", "metadata": {"plan": "x".repeat(1 << 20)}}).to_string();
    let many = json!({"display_name": "Many", "metadata": (0..5_000).map(|n| (format!("key-{n}"), "value")).collect::<std::collections::BTreeMap<_, _>>()});
    for body in [large, many.to_string()] {
        let reply = harness.send(&base, Protocol::H1, post("/api/v1/organizations"), body).await;
        assert_eq!(reply.status, 400, "{}", &reply.text()[..reply.text().len().min(300)]);
        assert!(reply.body.len() < 64 * 1024, "the answer is no echo of the attack: {}", reply.body.len());
    }
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut connection = Connection::open(&base, protocol, None).await.expect("a connection");
        let body = Bytes::from(vec![b' '; 6 << 20]);
        // The server may answer before it has read it all, and close; what it must not do is to take it.
        if let Ok(reply) = connection.send(post("/api/v1/organizations").body(body).unwrap()).await {
            assert!(matches!(reply.status.as_u16(), 400 | 413 | 429), "{}", reply.status);
        }
    }
    let frame_too_large = [&[0u8][..], &u32::MAX.to_be_bytes()[..], &[1, 2, 3][..]].concat();
    let grpc = |body: Vec<u8>| {
        let request = Request::post(format!("{base}{SERVICE}/CreateOrganization"))
            .header("authorization", format!("Bearer {}", dev.token))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        harness.send(&base, Protocol::H2, request, body)
    };
    for (what, body) in [
        ("a frame of four gigabytes", frame_too_large),
        ("half a prefix", vec![0, 0]),
        ("two messages", [frame(&[]), frame(&[])].concat()),
        ("a compressed message without its encoding", [&[1u8][..], &frame(&[])[1..]].concat()),
        ("an unknown flag", [&[7u8][..], &frame(&[])[1..]].concat()),
    ] {
        let decision = answers::grpc(grpc(body).await, what);
        assert!(matches!(decision.code, 3 | 8 | 12), "{what}: {decision:?}");
    }
    // Types that are not JSON.
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "*/*"]
    {
        let request = Request::post(format!("{base}/api/v1/organizations"))
            .header("authorization", format!("Bearer {}", dev.token))
            .header("content-type", content_type);
        let reply = harness.send(&base, Protocol::H1, request, json!({"display_name": "Typed"}).to_string()).await;
        assert_eq!(reply.status, 415, "{content_type}");
    }
    // Headers without end.
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut connection = Connection::open(&base, protocol, None).await.expect("a connection");
        let mut request = Request::get(format!("{base}/api/v1/organizations"))
            .header("authorization", format!("Bearer {}", dev.token));
        for n in 0..2_000 {
            request = request.header(format!("x-flood-{n}"), "y".repeat(200));
        }
        if let Ok(reply) = connection.send(request.body(Bytes::new()).unwrap()).await {
            assert!(matches!(reply.status.as_u16(), 400 | 413 | 431), "{protocol:?}: {}", reply.status);
        }
    }
    assert_eq!(count().await, before, "nothing was made, and others are served");
}

/// Sends bytes as they are, and reads what comes until the server closes or has said nothing for a while.
async fn wire(base: &str, bytes: &[u8]) -> String {
    let port = base.rsplit(':').next().expect("a port");
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("a connection");
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(Ok(read)) = tokio::time::timeout(std::time::Duration::from_millis(700), stream.read(&mut buffer)).await
    {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_two_readers_would_divide_differently_are_refused() {
    let harness = Harness::start().await;
    let token = harness.client_token().await;
    let base = harness.running().http_url.clone();
    let before = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.json()["total_size"].clone();
    let smuggled = format!(
        "POST /api/v1/organizations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 28\r\n\r\n{{\"display_name\":\"Smuggled\"}} "
    );
    let head = format!(
        "POST /api/v1/organizations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    );
    let hidden = smuggled.len();
    for (what, request) in [
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: {hidden}\r\n\r\n{{}}{smuggled}")),
        ("a list of lengths", format!("{head}Content-Length: 2, {hidden}\r\n\r\n{{}}{smuggled}")),
        ("a signed length", format!("{head}Content-Length: +2\r\n\r\n{{}}{smuggled}")),
        ("a negative length", format!("{head}Content-Length: -2\r\n\r\n{smuggled}")),
        ("chunked is not last", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}")),
        ("a chunk of nonsense", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n{smuggled}")),
        ("a chunk too large", format!("{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}")),
        ("a space before the colon", format!("{head}Content-Length : 0\r\n\r\n{smuggled}")),
        ("a folded header", format!("{head}X-Folded: a\r\n Content-Length: 0\r\n\r\n{smuggled}")),
        ("a NUL in a header", format!("{head}X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n{smuggled}")),
        ("a bare CR in a header", format!("{head}X-Cr: a\rContent-Length: 0\r\nContent-Length: 0\r\n\r\n{smuggled}")),
        (
            "no Host",
            format!(
                "POST /api/v1/organizations HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{{\"display_name\":\"Smuggled\"}} "
            ),
        ),
        ("two Hosts", smuggled.replace("Host: localhost\r\n", "Host: localhost\r\nHost: evil.example\r\n")),
        (
            "two Hosts, the good one last",
            smuggled.replace("Host: localhost\r\n", "Host: evil.example\r\nHost: localhost\r\n"),
        ),
        ("a foreign authority", smuggled.replace("POST /api", "POST http://evil.example/api")),
        ("a foreign Host", smuggled.replace("Host: localhost", "Host: evil.example")),
        ("a Host with a user", smuggled.replace("Host: localhost", "Host: localhost@evil.example")),
        ("a Host with a path", smuggled.replace("Host: localhost", "Host: localhost/evil")),
        ("an empty Host", smuggled.replace("Host: localhost", "Host:")),
        ("CONNECT", smuggled.replacen("POST /api/v1/organizations", "CONNECT localhost:80", 1)),
        ("HTTP/0.9", "GET /api/v1/organizations\r\n\r\n".to_owned()),
    ] {
        let answer = wire(&base, request.as_bytes()).await;
        assert!(!answer.contains("201 Created") && !answer.contains(" 200 "), "{what}: {answer}");
        assert!(!answer.contains(" 50") || answer.contains(" 501 ") || answer.contains(" 505 "), "{what}: {answer}");
    }
    // Both framings on one message: the chunks count (RFC 9112 §6.3) and nothing after them is a request of its own.
    let both = format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}");
    let answer = wire(&base, both.as_bytes()).await;
    assert!(!answer.contains("201 Created"), "both framings: {answer}");
    let after = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.json()["total_size"].clone();
    assert_eq!(after, before, "nothing was smuggled in");
    // The same bytes by themselves are a good request.
    assert!(wire(&base, smuggled.as_bytes()).await.contains("201 Created"));
}
