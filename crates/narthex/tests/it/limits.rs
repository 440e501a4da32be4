//! Rate limits as clients see them.

use narthex::config::LimitsConfig;

use crate::harness::Harness;

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
    assert!(refused.header("retry-after").is_some());

    let per_address = LimitsConfig { token_per_ip: 12, ..LimitsConfig::default() };
    let harness = Harness::start_with(|dev| dev.limits = per_address).await;
    for expected in [401, 401, 429] {
        assert_eq!(harness.token_request(&[], &wrong).await.status, expected);
    }
}
