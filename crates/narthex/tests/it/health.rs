//! Health, version and metrics.

use http::Request;
use narthex::health::{HealthCheckRequest, HealthCheckResponse};
use prost::Message;
use serde_json::json;

use crate::harness::{Harness, Protocol};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_08_health_readiness_startup_and_version() {
    let harness = Harness::serve(&[]).await.unwrap();
    let admin = harness.running().admin_url.clone();
    let get = |path: &'static str| harness.send(&admin, Protocol::H1, Request::get(format!("{admin}{path}")), "");
    assert_eq!(get("/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(get("/startupz").await.status, 200);
    assert_eq!(get("/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
    let ready = get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["checks"]["database_writes"]), (200, &json!("ok")));
    assert_eq!(get("/keys").await.status, 404, "the admin listener serves no environment");

    // Public listener: any Host, one word.
    let public = harness.running().dev_url.clone();
    for host in ["10.0.0.7", "dev.localhost"] {
        let request = Request::get(format!("{public}/readyz")).header("host", host);
        let reply = harness.send(&public, Protocol::H1, request, "").await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, json!({"status": "ready"})));
    }
    for path in ["/version", "/metrics", "/startupz", "/dev", "/dev/clock", "/dev/events"] {
        let request = Request::get(format!("{public}{path}"));
        assert_eq!(harness.send(&public, Protocol::H1, request, "").await.status, 404, "{path} is not public");
    }

    harness.running().state.drain.advance(narthex::listen::drain::Phase::Draining);
    let ready = get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["checks"]["running"]), (503, &json!("draining")));
    assert_eq!(get("/healthz").await.status, 200, "draining is not dying");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_08_grpc_health_service_on_every_transport() {
    let harness = Harness::start().await;
    let known = HealthCheckRequest { service: "scalekit.v1.organizations.OrganizationService".to_owned() };
    let (tls, plain) = (harness.running().dev_url.clone(), harness.running().http_url.clone());
    for (base, protocol) in [(&tls, Protocol::H2), (&tls, Protocol::H1), (&plain, Protocol::H2), (&plain, Protocol::H1)]
    {
        for request in [&HealthCheckRequest::default(), &known] {
            let reply =
                harness.grpc_at(base, protocol, "/grpc.health.v1.Health/Check", None, &request.encode_to_vec()).await;
            assert_eq!(reply.status, 0, "{base} {protocol:?}");
            assert_eq!(HealthCheckResponse::decode(reply.message).unwrap().status, 1);
        }
    }
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_eq!(harness.grpc("/grpc.health.v1.Health/Check", None, &unknown.encode_to_vec()).await.status, 5);
    assert_eq!(harness.grpc("/grpc.health.v1.Health/Watch", None, &[]).await.status, 12);
    assert_eq!(harness.grpc("/grpc.health.v1.Health/Check", None, &[0xff]).await.status, 3);

    harness.running().state.drain.advance(narthex::listen::drain::Phase::Draining);
    let reply = harness.grpc("/grpc.health.v1.Health/Check", None, &[]).await;
    assert_eq!(HealthCheckResponse::decode(reply.message).unwrap().status, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_10_metrics_count_everything_and_name_nobody() {
    let harness = Harness::start().await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let token = harness.client_token().await;
    let made = harness
        .rest("POST", "/api/v1/organizations", Some(&token), Some(&json!({"display_name": "Personal Name"})))
        .await
        .json();
    let id = made["organization"]["id"].as_str().unwrap().to_owned();
    harness.rest("GET", &format!("/api/v1/organizations/{id}"), Some(&token), None).await;
    harness.grpc("/scalekit.v1.organizations.OrganizationService/ListOrganization", None, &[]).await;
    harness.get("/somebody@example.com").await;
    let wrong = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", "wrong")];
    harness.token_request(&[], &wrong).await;

    let page = harness.get("/metrics").await;
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = page.text();
    let service = "/scalekit.v1.organizations.OrganizationService";
    for line in [
        format!("narthex_requests_total{{route=\"{service}/CreateOrganization\",status=\"201\",caller=\"client\"}} 1"),
        format!("narthex_requests_total{{route=\"{service}/GetOrganization\",status=\"200\",caller=\"client\"}} 1"),
        format!("narthex_requests_total{{route=\"{service}/ListOrganization\",status=\"401\",caller=\"anonymous\"}} 1"),
        format!("narthex_request_duration_seconds_count{{route=\"{service}/GetOrganization\"}} 1"),
        "narthex_requests_total{route=\"/oauth/token\",status=\"401\",caller=\"anonymous\"} 1".to_owned(),
        "narthex_token_requests_total{outcome=\"issued\"} 1".to_owned(),
        "narthex_token_requests_total{outcome=\"refused\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for family in [
        "narthex_db_batches_total",
        "narthex_db_queue_depth",
        "narthex_jobs_oldest_due_seconds",
        "narthex_cache_hits_total",
        "narthex_cache_misses_total",
        "narthex_signing_key_age_seconds",
        "narthex_rate_limited_total",
        "narthex_open_connections",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(text.contains(&format!("# TYPE {family} ")), "{family}");
    }
    for personal in
        [&*id, &*dev.client_id, "Personal", "somebody", "example.com", &harness.env_id().to_string(), "localhost"]
    {
        assert!(!text.contains(personal), "{personal} is in the metrics");
    }
}
