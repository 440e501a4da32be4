//! Rate limits as clients see them.

use std::time::Duration;

use narthex::config::LimitsConfig;
use narthex_core::ids::WorkspaceId;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::{environments, seed, tokens};

use crate::harness::{Harness, Protocol};

const LIST: &str = "/scalekit.v1.organizations.OrganizationService/ListOrganization";

/// 12 a minute: a burst of two.
async fn limited() -> Harness {
    Harness::start_with(|dev| dev.limits = LimitsConfig { api: 12, ..LimitsConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_10_evt_69_rest_answers_429_with_rate_limited_and_retry_after() {
    let harness = limited().await;
    let token = harness.client_token().await;
    let first = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(first.status, 200);
    assert_eq!((first.header("ratelimit-limit"), first.header("ratelimit-remaining")), (Some("12"), Some("1")));
    assert!(first.header("ratelimit-reset").is_some());
    harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
    let refused = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(refused.status, 429);
    let retry: u32 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=5).contains(&retry));
    let reset: u32 = refused.header("ratelimit-reset").expect("RateLimit-Reset").parse().expect("seconds");
    assert!((retry..=10).contains(&reset), "{reset}");
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), (Some("12"), Some("0")));
    let body = refused.json();
    assert_eq!(body["code"], 8);
    assert_eq!(body["details"][0]["@type"], "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo");
    assert_eq!(body["details"][0]["error_code"], "RATE_LIMITED");
    assert_eq!(harness.get("/keys").await.status, 200, "keys, discovery and health are exempt");
    assert_eq!(harness.get("/healthz").await.status, 200);
    harness.client_token().await;
    let metrics = harness.get("/metrics").await.text();
    assert!(metrics.contains("narthex_rate_limited_total{scope=\"api\"} 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_10_evt_70_grpc_answers_resource_exhausted_in_trailers_never_http_429() {
    let harness = limited().await;
    let token = harness.client_token().await;
    for _ in 0..2 {
        assert_eq!(harness.grpc(LIST, Some(&token), &[]).await.status, 0);
    }
    let refused = harness.grpc(LIST, Some(&token), &[]).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (8, "RATE_LIMITED"));
    let details = refused.details.as_ref().unwrap();
    assert_eq!((details.code, &details.message), (8, &refused.text));
    assert!(refused.http.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_use_up_an_environments_allowance() {
    let harness = limited().await;
    let token = harness.client_token().await;
    for _ in 0..20 {
        assert_eq!(harness.rest("GET", "/api/v1/organizations", Some("bogus"), None).await.status, 401);
        assert_eq!(harness.grpc(LIST, None, &[]).await.status, 16);
    }
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_requests_are_limited_by_client_and_by_address_in_the_oauth_shape() {
    let per_client = LimitsConfig { token_per_client: 12, ..LimitsConfig::default() };
    let harness = Harness::start_with(|dev| dev.limits = per_client).await;
    let dev = harness.running().dev.as_ref().unwrap().dev.clone();
    let wrong = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", "wrong")];
    for _ in 0..20 {
        assert_eq!(
            harness.token_request(&[], &wrong).await.status,
            401,
            "guesses do not use up the client's allowance"
        );
    }
    for _ in 0..2 {
        harness.client_token().await;
    }
    let form = [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
    let refused = harness.token_request(&[], &form).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some() && refused.header("ratelimit-reset").is_some());
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), (Some("12"), Some("0")));

    let per_address = LimitsConfig { token_per_ip: 12, ..LimitsConfig::default() };
    let harness = Harness::start_with(|dev| dev.limits = per_address).await;
    for expected in [401, 401, 429] {
        assert_eq!(harness.token_request(&[], &wrong).await.status, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_of_one_workspace_use_up_nobody_elses_allowance() {
    let harness = limited().await;
    let core = harness.core();
    let system = environments::system(core).await.unwrap().unwrap();
    seed::apply(core, "[[workspaces]]\nid = \"wks_8573429015935999\"\nname = \"Other\"\n").await.unwrap();
    let token = async |workspace: WorkspaceId| {
        let new = NewMember {
            email: "owner@example.com".into(),
            given_name: String::new(),
            family_name: String::new(),
            role: FixedRole::Owner,
        };
        let member = members::create(core, workspace, new).await.unwrap();
        tokens::mint_member(core, &member, Duration::from_hours(1)).await.unwrap().access_token
    };
    let busy = token(system.workspace_id).await;
    let quiet = token(WorkspaceId::parse("wks_8573429015935999").unwrap()).await;
    let ask = async |token: &str| {
        harness.rest_at(&system.origin, Protocol::H1, "GET", "/api/v1/workspaces:this", Some(token), None).await
    };
    for _ in 0..2 {
        assert_eq!(ask(&busy).await.status, 200);
    }
    let refused = ask(&busy).await;
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit-remaining")), (429, Some("0")));
    let other = ask(&quiet).await;
    assert_eq!((other.status.as_u16(), other.header("ratelimit-remaining")), (200, Some("1")), "{}", other.text());
    let client = harness.client_token().await;
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&client), None).await.status, 200);
}
