//! What callers get from the pipeline, case by case.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::world::{World, frame, grpc, rest};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::Request;
use http_body_util::Full;
use narthex_api::rpc::organization_service::{
    CREATE_ORGANIZATION, DELETE_ORGANIZATION, GET_ORGANIZATION, LIST_ORGANIZATION, UPDATE_ORGANIZATION,
};
use narthex_api::rpc::{client_service, webhook_service};
use narthex_api::scalekit::v1::organizations::{
    CreateOrganizationResponse, GetOrganizationResponse, ListOrganizationsResponse, Organization,
    UpdateOrganizationResponse,
};
use narthex_core::{Error, Kind};
use narthex_rpc::{Context, Limits, Rpcs, Transport};
use prost::Message as _;
use serde_json::json;

const ORGANIZATIONS: &str = "/api/v1/organizations";
const GET: &str = "/scalekit.v1.organizations.OrganizationService/GetOrganization";

/// Requests as handlers saw them, for looking into.
#[derive(Default)]
struct Got {
    context: Option<Context>,
    text: String,
}

/// A few RPCs that tell what they got.
fn rpcs(got: &Arc<Mutex<Got>>) -> Rpcs {
    let mut rpcs = Rpcs::new();
    macro_rules! built {
        ($rpc:expr, $answer:expr) => {{
            let got = Arc::clone(got);
            rpcs.add($rpc, move |context, request| {
                let text = format!("{request:?}");
                *got.lock().unwrap() = Got { context: Some(context), text };
                let answer = $answer;
                async move { answer(request).await }
            });
        }};
    }
    built!(
        CREATE_ORGANIZATION,
        |request: narthex_api::scalekit::v1::organizations::CreateOrganizationRequest| async move {
            let organization = request.organization.unwrap_or_default();
            match organization.display_name.as_str() {
                "panic" => panic!("the handler broke: secret detail"),
                "slow" => tokio::time::sleep(Duration::from_secs(30)).await,
                "internal" => return Err(Error::internal("the database said no")),
                "duplicate" => return Err(Error::duplicate("external_id")),
                name if name.starts_with("kind ") => {
                    let number: i32 = name[5..].parse().unwrap();
                    let kind = Kind::ALL.into_iter().find(|kind| *kind as i32 == number).unwrap();
                    return Err(Error::new(kind, format!("{} 100 % schön\n", kind.code())));
                }
                _ => {}
            }
            let organization = Organization {
                id: "org_1".into(),
                display_name: organization.display_name,
                create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
                ..Organization::default()
            };
            Ok(CreateOrganizationResponse { organization: Some(organization) })
        }
    );
    built!(GET_ORGANIZATION, |_| async { Ok(GetOrganizationResponse::default()) });
    built!(UPDATE_ORGANIZATION, |_| async { Ok(UpdateOrganizationResponse::default()) });
    built!(DELETE_ORGANIZATION, |_| async { Ok(()) });
    built!(LIST_ORGANIZATION, |_| async { Ok(ListOrganizationsResponse::default()) });
    built!(client_service::UPDATE_CLIENT, |_| async {
        Ok(narthex_api::scalekit::v1::clients::UpdateClientResponse::default())
    });
    built!(narthex_api::rpc::gateway_service::UPDATE_MANUAL_GATEWAY_GROUP, |_| async {
        Ok(narthex_api::scalekit::v1::gateway::UpdateManualGatewayGroupResponse::default())
    });
    built!(webhook_service::WEBHOOK_WRAPPER, |_| async {
        let kind = Some(prost_types::value::Kind::NumberValue(3.0));
        let fields = [("n".to_owned(), prost_types::Value { kind })];
        Ok(prost_types::Struct { fields: fields.into_iter().collect() })
    });
    rpcs
}

fn world() -> (World, Arc<Mutex<Got>>) {
    let got = Arc::new(Mutex::new(Got::default()));
    (World::new(rpcs(&got)), got)
}

fn text(got: &Arc<Mutex<Got>>) -> String {
    std::mem::take(&mut got.lock().unwrap().text)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn api_03_a_create_answers_201_and_the_resource() {
    let (world, _) = world();
    let answer = world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"displayName":"A","unknown":1}"#).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let organization = &answer.json()["organization"];
    assert_eq!(organization["display_name"], "A");
    assert_eq!(organization["create_time"], "2023-11-14T22:13:20Z");
    assert_eq!(organization["metadata"], json!({}));
    assert_eq!(organization.get("external_id"), None);
    let seen = world.seen();
    assert_eq!((seen.route, seen.status, seen.kind, seen.code), ("/api/v1/organizations", 201, None, "OK"));
    assert_eq!((seen.caller, seen.transport), ("client", Transport::Rest));
}

#[tokio::test]
async fn api_03_an_empty_answer_is_an_empty_object() {
    let (world, got) = world();
    // A body that a DELETE has no use for is tolerated, whatever it is.
    for body in ["", "{}", "not json"] {
        let answer = world.rest(Some("client"), "DELETE", "/api/v1/organizations/org_1", body).await;
        assert_eq!((answer.status, answer.text()), (200, "{}"));
        assert!(text(&got).contains("Id(\"org_1\")"));
    }
    let answer = world.rest(Some("member+webhooks:read"), "GET", "/api/v1/webhooks/wb/app/1", "").await;
    assert_eq!(answer.text(), r#"{"n":3}"#, "a Struct is plain JSON");
}

#[tokio::test]
async fn ctl_01_mgmt_01_no_bearer_is_token_empty() {
    let (world, _) = world();
    let answer = world.rest(None, "GET", "/api/v1/organizations/org_1", "").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let request_id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(
        answer.json(),
        json!({"code": 16, "message": "Token empty", "details": [{
            "@type": "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo",
            "error_code": "UNAUTHENTICATED",
            "request_info": {"request_id": request_id},
        }]})
    );
    let (status, info) = world.grpc(None, GET, &[]).await.grpc_error();
    assert_eq!(
        (status.code, status.message.as_str(), info.error_code.as_str()),
        (16, "Token empty", "UNAUTHENTICATED")
    );
}

/// The bearer is judged before the request is looked at, so that an SDK without a token never sees another error (sdk-clients rule 7).
#[tokio::test]
async fn ctl_01_the_bearer_comes_before_the_body() {
    let (world, _) = world();
    assert_eq!(world.rest(None, "POST", ORGANIZATIONS, "not json").await.status, 401);
    assert_eq!(world.grpc(None, CREATE_ORGANIZATION.method.path, &[0xff]).await.grpc_status(), 16);
    let huge = vec![b' '; 5 * 1024 * 1024];
    assert_eq!(world.rest(None, "POST", ORGANIZATIONS, huge).await.status, 401);
}

#[tokio::test]
async fn mgmt_03_any_of_several_bearers_will_do_and_the_first_valid_one_counts() {
    let (world, _) = world();
    let send = |values: &'static [&'static str]| {
        let mut request = grpc(None, GET).body(Full::new(frame(&[10, 1, b'o']))).unwrap();
        for value in values {
            request.headers_mut().append("authorization", value.parse().unwrap());
        }
        let world = &world;
        async move {
            let answer = world.send(request).await.unwrap();
            (answer.grpc_status(), world.seen().caller)
        }
    };
    assert_eq!(send(&["Bearer client", "Bearer stale"]).await.1, "client");
    assert_eq!(send(&["Bearer stale", "bearer client"]).await.1, "client");
    assert_eq!(send(&["Basic x", "BEARER  client "]).await.1, "client");
    assert_eq!(send(&["Bearer member+organizations:read", "Bearer client"]).await.1, "member");
    assert_eq!(send(&["Bearer", "Bearer ", "client"]).await, (16, "anonymous"));
}

#[tokio::test]
async fn ctl_10_x_env_domain_reaches_the_gate_and_its_environment_the_handler() {
    let (world, got) = world();
    let request = rest(Some("member+organizations:read"), "GET", "/api/v1/organizations/org_1")
        .header("x-env-domain", "other.test");
    assert_eq!(world.send(request.body(Full::default()).unwrap()).await.unwrap().status, 200);
    let environment = got.lock().unwrap().context.take().unwrap().environment.id;
    assert_eq!(environment.0, 2);
    assert_eq!(world.seen().environment, Some(environment));
}

#[tokio::test]
async fn an_unknown_host_is_404() {
    let (world, _) = world();
    for host in ["evil.test", "env.test.evil.test", ""] {
        let mut request = rest(Some("client"), "GET", "/api/v1/organizations/org_1").body(Full::default()).unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(world.send(request).await.unwrap().status, 404, "{host}");
    }
    let mut request = rest(Some("client"), "GET", "/api/v1/organizations/org_1").body(Full::default()).unwrap();
    request.headers_mut().remove("host");
    assert_eq!(world.send(request).await.unwrap().status, 404);
    let request = grpc(Some("client"), GET).uri(format!("https://evil.test{GET}"));
    assert_eq!(world.send(request.body(Full::new(frame(&[]))).unwrap()).await.unwrap().grpc_error().0.code, 5);
}

#[tokio::test]
async fn err_01_err_02_err_04_mgmt_05_every_kind_is_the_same_on_both_transports() {
    let (world, _) = world();
    let expected = [
        (1, 499),
        (3, 400),
        (4, 504),
        (5, 404),
        (6, 409),
        (7, 403),
        (8, 429),
        (9, 400),
        (10, 409),
        (11, 400),
        (12, 501),
        (13, 500),
        (14, 503),
        (16, 401),
    ];
    assert_eq!(expected.len(), Kind::ALL.len());
    for (kind, status) in expected {
        let body = format!("{{\"display_name\":\"kind {kind}\"}}");
        let by_rest = world.rest(Some("client"), "POST", ORGANIZATIONS, body.clone()).await;
        let descriptor = CREATE_ORGANIZATION.method.input;
        let wire = narthex_rpc::json::decode(descriptor, format!("{{\"organization\":{body}}}").as_bytes()).unwrap();
        let (grpc_status, info) = world.grpc(Some("client"), CREATE_ORGANIZATION.method.path, &wire).await.grpc_error();
        assert_eq!((by_rest.status, grpc_status.code), (status, kind));
        let json = by_rest.json();
        assert_eq!(json["code"], kind);
        assert_eq!(json["message"], grpc_status.message);
        assert!(grpc_status.message.ends_with("100 % schön\n"));
        assert_eq!(json["details"][0]["error_code"], info.error_code);
        assert_eq!(json["details"].as_array().unwrap().len(), 1);
        assert_eq!(grpc_status.details.len(), 1);
    }
}

#[tokio::test]
async fn err_05_the_request_id_is_in_header_error_and_log() {
    let (world, _) = world();
    let send = |id: &str| {
        let request = rest(None, "GET", "/api/v1/organizations/org_1").header("x-request-id", id.to_owned());
        let world = &world;
        async move {
            let answer = world.send(request.body(Full::default()).unwrap()).await.unwrap();
            let header = answer.header("x-request-id").unwrap().to_owned();
            assert_eq!(answer.json()["details"][0]["request_info"]["request_id"], header);
            assert_eq!(world.seen().request_id, header);
            header
        }
    };
    assert_eq!(send("abc_DEF-123").await, "abc_DEF-123");
    for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
        let made = send(bad).await;
        assert!(made != bad && made.len() == 22, "{made}");
    }
    let answer = world.grpc(None, GET, &[]).await;
    assert_eq!(answer.header("x-request-id").unwrap(), answer.grpc_error().1.request_info.unwrap().request_id);
}

#[tokio::test]
async fn err_06_people_are_told_in_their_language() {
    let (world, _) = world();
    let request = rest(None, "GET", "/api/v1/organizations/org_1").header("accept-language", "de-AT,de;q=0.9,en;q=0.5");
    let answer = world.send(request.body(Full::default()).unwrap()).await.unwrap().json();
    assert_eq!(answer["message"], "Token empty");
    assert_eq!(answer["details"][0]["localized_message_info"], json!({"locale": "de", "message": "Bitte anmelden."}));
    let request = grpc(None, GET).header("accept-language", "fr").body(Full::new(frame(&[]))).unwrap();
    let (_, info) = world.send(request).await.unwrap().grpc_error();
    assert_eq!(info.localized_message_info.unwrap().locale, "fr");
    let request = rest(None, "GET", "/api/v1/organizations/org_1").header("accept-language", "en-GB");
    let answer = world.send(request.body(Full::default()).unwrap()).await.unwrap().json();
    assert_eq!(answer["details"][0].get("localized_message_info"), None);
}

#[tokio::test]
async fn err_10_evt_69_evt_70_a_rate_limit_is_429_and_8() {
    let (world, _) = world();
    world.gate.limit.store(1, Ordering::Relaxed);
    let answer = world.rest(Some("client"), "GET", "/api/v1/organizations/org_1", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("ratelimit-limit"), Some("1"));
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    assert_eq!(answer.header("ratelimit-reset"), Some("60"));
    // Before authentication: guessing tokens is limited too.
    let answer = world.rest(None, "GET", "/api/v1/organizations/org_1", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    let shown = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| answer.header(name));
    assert_eq!(shown, [Some("1"), Some("0"), Some("60")], "a refusal says most of all what the limit is");
    assert_eq!(answer.json()["details"][0]["error_code"], "RATE_LIMITED");
    let answer = world.grpc(Some("client"), GET, &[]).await;
    let (status, info) = answer.grpc_error();
    assert_eq!((status.code, info.error_code.as_str(), answer.header("retry-after")), (8, "RATE_LIMITED", Some("7")));
    assert_eq!(world.gate.admitted.load(Ordering::Relaxed), 3, "each request counts once");
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_tells_nothing() {
    let (world, _) = world();
    let answer = world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"panic"}"#).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("secret") && !answer.text().contains("broke"));
    let seen = world.seen();
    assert_eq!(seen.cause.as_deref(), Some("panic: the handler broke: secret detail"));
    assert_eq!(answer.header("x-request-id"), Some(seen.request_id.as_str()));
    // Causes stay inside as well.
    let answer = world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"internal"}"#).await;
    assert_eq!(answer.json()["message"], "internal error");
    assert!(!answer.text().contains("database"));
    assert_eq!(world.seen().cause.as_deref(), Some("the database said no"));
}

#[tokio::test]
async fn debug_errors_show_the_cause_when_switched_on() {
    let got = Arc::new(Mutex::new(Got::default()));
    let world = World::with(rpcs(&got), Limits { debug_errors: true, ..Limits::default() });
    let answer = world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"internal"}"#).await;
    assert_eq!(answer.json()["details"][0]["debug_info"]["detail"], "the database said no");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept() {
    let (world, got) = world();
    let wire =
        narthex_rpc::json::decode(CREATE_ORGANIZATION.method.input, br#"{"organization":{"display_name":"slow"}}"#)
            .unwrap();
    let request = grpc(Some("client"), CREATE_ORGANIZATION.method.path).header("grpc-timeout", "50m");
    let (status, info) = world.send(request.body(Full::new(frame(&wire))).unwrap()).await.unwrap().grpc_error();
    assert_eq!((status.code, info.error_code.as_str()), (4, "DEADLINE_EXCEEDED"));
    assert!(got.lock().unwrap().context.as_ref().unwrap().deadline.is_some());
    // Who calls is asked before what they ask for is looked at.
    for (token, status) in [(Some("client"), 3), (None, 16)] {
        let request = grpc(token, CREATE_ORGANIZATION.method.path).header("grpc-timeout", "nonsense");
        assert_eq!(world.send(request.body(Full::new(frame(&wire))).unwrap()).await.unwrap().grpc_status(), status);
    }
    // Without one the server's own limit holds, on REST too; 30 s are within it.
    assert_eq!(world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"slow"}"#).await.status, 201);
    let strict = World::with(rpcs(&got), Limits { timeout: Duration::from_secs(1), ..Limits::default() });
    assert_eq!(strict.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"slow"}"#).await.status, 504);
}

#[tokio::test]
async fn a_path_variable_beats_body_and_query() {
    let (world, got) = world();
    // The same identity in the query.
    let target = "/api/v1/organizations/org_1?id=org_2";
    assert_eq!(world.rest(Some("client"), "GET", target, "").await.status, 200);
    let request = text(&got);
    assert!(request.contains("org_1") && !request.contains("org_2"), "{request}");
    // The other one of the oneof names something else: no order decides which of the two is meant.
    for (target, field) in [
        ("/api/v1/organizations/org_1?external_id=ext", "external_id"),
        ("/api/v1/organizations/org_1?externalId=ext", "external_id"),
    ] {
        let answer = world.rest(Some("client"), "GET", target, "").await;
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text().contains(&format!("\"field\":\"{field}\"")), "{}", answer.text());
    }
    // A body that is one field of the message knows nothing of its id.
    let body = r#"{"id":"org_2","external_id":"ext","display_name":"x"}"#;
    assert_eq!(world.rest(Some("client"), "PATCH", "/api/v1/organizations/org_1", body).await.status, 200);
    let request = text(&got);
    assert!(request.contains("identities: Some(Id(\"org_1\"))"), "{request}");
    // A body that is the whole message has an id of its own.
    let (target, body) = ("/api/v1/gateway/groups/grp_1?group_id=grp_2", r#"{"groupId":"grp_3","display_name":"n"}"#);
    let answer = world.rest(Some("member+gateway_policy:write"), "PATCH", target, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = text(&got);
    assert!(request.contains("grp_1") && !request.contains("grp_2") && !request.contains("grp_3"), "{request}");
    assert!(request.contains(r#"paths: ["display_name"]"#), "{request}");
}

#[tokio::test]
async fn a_patch_touches_what_it_names() {
    let (world, got) = world();
    let send = |target: &'static str, body: &'static str| {
        let (world, got) = (&world, &got);
        async move {
            let answer = world.rest(Some("client"), "PATCH", target, body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            text(got)
        }
    };
    let request = send("/api/v1/organizations/org_1", r#"{"displayName":"x","metadata":{}}"#).await;
    assert!(request.contains(r#"update_mask: Some(FieldMask { paths: ["display_name", "metadata"] })"#), "{request}");
    let request =
        send("/api/v1/organizations/org_1?updateMask=display_name", r#"{"display_name":"x","metadata":{}}"#).await;
    assert!(request.contains(r#"update_mask: Some(FieldMask { paths: ["display_name"] })"#), "{request}");
    let request = send("/api/v1/clients/skc_1", r#"{"initiate_login_uri":""}"#).await;
    assert!(request.contains(r#"mask: Some(FieldMask { paths: ["initiate_login_uri"] })"#), "{request}");
}

#[tokio::test]
async fn api_01_queries_come_in_either_spelling() {
    let (world, got) = world();
    for query in [
        "page_size=30&page_token=",
        "pageSize=30&pageToken",
        "page_size=30&unknown=1&a.b=2&%ff=x",
        "page%5Fsize=%33%30&&",
    ] {
        let answer = world.rest(Some("client"), "GET", &format!("{ORGANIZATIONS}?{query}"), "").await;
        assert_eq!(answer.status, 200, "{query} {}", answer.text());
        let request = text(&got);
        assert!(request.contains("page_size: 30") && request.contains("page_token: \"\""), "{query} {request}");
    }
    for (query, field) in [
        ("page_size=abc", "page_size"),
        ("page_size=1&pageSize=2", "page_size"),
        ("page_token=%00", "page_token"),
        ("page_token=%ff", "page_token"),
    ] {
        let answer = world.rest(Some("client"), "GET", &format!("{ORGANIZATIONS}?{query}"), "").await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(
            answer.json()["details"][0]["validation_error_info"]["field_violations"][0]["field"],
            field,
            "{query}"
        );
    }
    // The MCP server's habit.
    let answer = world.rest(Some("client"), "GET", "/api/v1/organizations?page_size=30&page_token=", "{}").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn bodies_are_json_or_refused() {
    let (world, _) = world();
    let send = |content_type: Option<&'static str>, body: &'static [u8]| {
        let mut request =
            rest(Some("client"), "POST", ORGANIZATIONS).body(Full::new(Bytes::from_static(body))).unwrap();
        request.headers_mut().remove("content-type");
        if let Some(content_type) = content_type {
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        let world = &world;
        async move { world.send(request).await.unwrap() }
    };
    let good = br#"{"display_name":"A"}"#;
    for content_type in
        [None, Some("application/json"), Some("Application/JSON; charset=utf-8"), Some("application/merge-patch+json")]
    {
        assert_eq!(send(content_type, good).await.status, 201, "{content_type:?}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\u{e4}"]
    {
        assert_eq!(send(Some(content_type), good).await.status, 415, "{content_type:?}");
    }
    for body in [&b"{"[..], b"[]", b"\xff", b"{\"display_name\":1}", b"{\"display_name\":\"a\\u0000\"}"] {
        let answer = send(None, body).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(3)), "{body:?}");
    }
    // No body is no message, which the rules then judge.
    let answer = send(None, b"").await;
    assert_eq!(answer.json()["details"][0]["validation_error_info"]["field_violations"][0]["constraint"], "required");
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bombs_are_not() {
    let (world, _) = world();
    let body = br#"{"display_name":"A"}"#;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(body).unwrap();
    let zlib = zlib.finish().unwrap();
    let send = |encoding: &'static str, body: Vec<u8>| {
        let request = rest(Some("client"), "POST", ORGANIZATIONS).header("content-encoding", encoding);
        let world = &world;
        async move { world.send(request.body(Full::new(body.into())).unwrap()).await.unwrap() }
    };
    assert_eq!(send("gzip", gzip(body)).await.status, 201);
    assert_eq!(send("deflate", zlib).await.status, 201);
    assert_eq!(send("identity", body.to_vec()).await.status, 201);
    assert_eq!(send("gzip", body.to_vec()).await.status, 400);
    assert_eq!(send("br", body.to_vec()).await.status, 415);
    assert_eq!(send("gzip, gzip", gzip(&gzip(body))).await.status, 415);
    // 64 MiB of spaces in 64 KiB.
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 100_000);
    let answer = send("gzip", bomb.clone()).await;
    assert_eq!((answer.status, answer.json()["details"][0]["error_code"].as_str()), (413, Some("REQUEST_TOO_LARGE")));

    let wire = narthex_rpc::json::decode(CREATE_ORGANIZATION.method.input, br#"{"organization":{"display_name":"A"}}"#)
        .unwrap();
    let send = |encoding: Option<&'static str>, flag: u8, message: Vec<u8>| {
        let mut framed = frame(&message).to_vec();
        framed[0] = flag;
        let mut request = grpc(Some("client"), CREATE_ORGANIZATION.method.path);
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let world = &world;
        async move { world.send(request.body(Full::new(framed.into())).unwrap()).await.unwrap().grpc_status() }
    };
    assert_eq!(send(Some("gzip"), 1, gzip(&wire)).await, 0);
    assert_eq!(send(Some("gzip"), 0, wire.clone()).await, 0);
    assert_eq!(send(Some("identity"), 0, wire.clone()).await, 0);
    assert_eq!(send(Some("snappy"), 1, wire.clone()).await, 12);
    assert_eq!(send(Some("gzip"), 1, wire.clone()).await, 3);
    assert_eq!(send(Some("gzip"), 1, bomb).await, 8);
}

#[tokio::test]
async fn the_size_of_a_message_is_bounded() {
    let got = Arc::new(Mutex::new(Got::default()));
    let world = World::with(rpcs(&got), Limits { max_message: 1_000, ..Limits::default() });
    let body = |length: usize| format!("{{\"display_name\":\"A\"{}}}", " ".repeat(length - 20));
    assert_eq!(world.rest(Some("client"), "POST", ORGANIZATIONS, body(1_000)).await.status, 201);
    assert_eq!(world.rest(Some("client"), "POST", ORGANIZATIONS, body(1_001)).await.status, 413);
    let wire = vec![0x7a; 1_001];
    let (status, info) = world.grpc(Some("client"), CREATE_ORGANIZATION.method.path, &wire).await.grpc_error();
    assert_eq!((status.code, info.error_code.as_str()), (8, "REQUEST_TOO_LARGE"));
}

#[tokio::test]
async fn a_wrong_verb_is_405_with_the_right_ones() {
    let (world, _) = world();
    let answer = world.rest(Some("client"), "PUT", "/api/v1/organizations/org_1", "{}").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("DELETE, GET, PATCH")));
    assert_eq!(answer.json()["code"], 12);
    let answer = world.rest(Some("client"), "GET", GET, "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(world.rest(Some("client"), "POST", GET, "{}").await.status, 415);
}

#[tokio::test]
async fn other_paths_are_left_to_others_and_an_unknown_rpc_is_12() {
    let (world, _) = world();
    for target in ["/", "/oauth/token", "/api/v1/nothing", "/healthz", "/api/v1/organizations/%zz"] {
        assert!(world.send(rest(None, "GET", target).body(Full::default()).unwrap()).await.is_none(), "{target}");
    }
    assert!(world.gate.seen.lock().unwrap().is_empty(), "what is not ours is not logged here");
    for path in ["/scalekit.v1.x.Y/Z", "/", "/grpc.health.v1.Health/Check", ORGANIZATIONS] {
        let (status, info) = world.grpc(Some("client"), path, &[]).await.grpc_error();
        assert_eq!((status.code, info.error_code.as_str()), (12, "UNIMPLEMENTED"), "{path}");
        assert_eq!(world.seen().route, "(unrouted)", "the log never has a raw path");
    }
    // A gRPC path by GET is answered in gRPC all the same.
    let request = grpc(Some("client"), GET).method("GET").body(Full::default()).unwrap();
    assert_eq!(world.send(request).await.unwrap().grpc_status(), 12);
}

#[tokio::test]
async fn ctl_02_an_rpc_without_an_option_is_not_there() {
    let (world, _) = world();
    for token in [None, Some("client"), Some("member")] {
        let answer = world.rest(token, "DELETE", "/api/v1/environments/env_1", "").await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (404, Some(5)));
        let path = "/scalekit.v1.environments.EnvironmentService/DeleteEnvironment";
        assert_eq!(world.grpc(token, path, &[]).await.grpc_status(), 12);
    }
}

#[tokio::test]
async fn api_04_any_api_version_will_do() {
    let (world, _) = world();
    for (version, kept) in [
        ("20260716", Some(20_260_716)),
        ("20261012", Some(20_261_012)),
        ("latest", None),
        ("", None),
        ("99999999", Some(99_999_999)),
    ] {
        let request = grpc(Some("client"), GET)
            .header("x-api-version", version)
            .header("x-sdk-version", "Scalekit-Node/2.11 \u{e4}")
            .header("user-agent", "Scalekit-Python/2.21 Python/3.12 (Linux; ('64bit', 'ELF')")
            .header("grpc-accept-encoding", "gzip,br");
        let answer =
            world.send(request.body(Full::new(frame(&[10, 5, b'o', b'r', b'g', b'_', b'1']))).unwrap()).await.unwrap();
        assert_eq!(answer.grpc_status(), 0);
        assert_eq!(world.seen().api_version, kept);
    }
}

#[tokio::test]
async fn an_empty_grpc_message_is_a_message() {
    let (world, got) = world();
    let answer = world.grpc(Some("client"), LIST_ORGANIZATION.method.path, &[]).await;
    assert!(answer.grpc_message().is_empty());
    assert!(text(&got).contains("page_size: 0"));
    let bare = grpc(Some("client"), LIST_ORGANIZATION.method.path).body(Full::default()).unwrap();
    assert_eq!(world.send(bare).await.unwrap().grpc_status(), 3);
}

#[tokio::test]
async fn an_idempotency_key_reaches_the_handler() {
    let (world, got) = world();
    let send = |key: String| {
        let request = rest(Some("client"), "POST", ORGANIZATIONS).header("idempotency-key", key);
        let world = &world;
        async move { world.send(request.body(Full::new(r#"{"display_name":"A"}"#.into())).unwrap()).await.unwrap().status }
    };
    assert_eq!(send("key 1".into()).await, 201);
    assert_eq!(got.lock().unwrap().context.take().unwrap().idempotency_key.as_deref(), Some("key 1"));
    assert_eq!(send(String::new()).await, 400);
    assert_eq!(send("x".repeat(256)).await, 400);
}

/// grpc-java and grpc-core drop a response whose headers exceed 8 KiB, and with it the error.
#[tokio::test]
async fn a_long_error_still_fits_into_headers() {
    let (world, _) = world();
    let metadata: Vec<_> = (0..200).map(|index| format!("\"k{index:01000}\":\"\"")).collect();
    let body = format!("{{\"display_name\":\"\",\"metadata\":{{{}}}}}", metadata.join(","));
    let by_rest = world.rest(Some("client"), "POST", ORGANIZATIONS, body.clone()).await;
    assert!(by_rest.json()["details"][0]["validation_error_info"]["field_violations"].as_array().unwrap().len() > 400);
    let wire =
        narthex_rpc::json::decode(CREATE_ORGANIZATION.method.input, format!("{{\"organization\":{body}}}").as_bytes())
            .unwrap();
    let answer = world.grpc(Some("client"), CREATE_ORGANIZATION.method.path, &wire).await;
    let (status, info) = answer.grpc_error();
    assert_eq!((status.code, info.error_code.as_str()), (3, "INVALID_ARGUMENT"));
    let size: usize = answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(size < 8 * 1024, "{size}");
    assert!(status.encoded_len() > 100);
}

/// A client that goes away ends the request, and the log still has its line.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_is_reported_as_cancelled() {
    let (world, _) = world();
    let request = world.rest(Some("client"), "POST", ORGANIZATIONS, r#"{"display_name":"slow"}"#);
    assert!(tokio::time::timeout(Duration::from_secs(1), request).await.is_err());
    let seen = world.seen();
    assert_eq!((seen.kind, seen.status, seen.caller), (Some(Kind::Cancelled), 499, "client"));
}

#[tokio::test]
async fn the_future_of_a_request_can_be_spawned() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let (world, _) = world();
    let pipeline = Arc::clone(&world.pipeline);
    let answer = tokio::spawn(assert_send(async move {
        let request =
            Request::builder().uri(ORGANIZATIONS).header("host", "env.test").body(Full::<Bytes>::default()).unwrap();
        pipeline.handle(request, &crate::world::connection()).await.map(|response| response.status().as_u16()).ok()
    }));
    assert_eq!(answer.await.unwrap(), Some(401));
}
