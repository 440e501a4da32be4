//! Who is let in, over real sockets: every kind of caller, several tokens at once, other environments.

use bytes::Bytes;
use http::Request;
use narthex_core::tokens;

use crate::harness::{Connection, Harness, Minted, Protocol};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_03_every_kind_of_caller_is_known_for_what_it_is() {
    let harness = Harness::start().await;
    let environment = harness.environment(harness.env_id()).await;
    for kind in Minted::ALL {
        let (token, expected) = harness.mint(kind, environment.id).await;
        let (caller, acted_in) = tokens::authenticate(harness.core(), &environment, &[&token], None).await.unwrap();
        assert_eq!(caller, expected, "{kind:?}");
        assert_eq!(acted_in.id, environment.id);
        // ListOrganization is for API clients, operators and sessions with the right.
        let status = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.status.as_u16();
        let listed = match kind {
            Minted::Client | Minted::Member => 200,
            Minted::Session => status,
            _ => 403,
        };
        assert_eq!(status, listed, "{kind:?}");
        assert_ne!(status, 401, "{kind:?}: the credential is good, so a new one would not help");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mgmt_01_mgmt_02_a_missing_or_bad_token_is_401_and_16_and_nothing_else_is() {
    const LIST: &str = "/scalekit.v1.organizations.OrganizationService/ListOrganization";
    let harness = Harness::start().await;
    let none = harness.rest("GET", "/api/v1/organizations", None, None).await;
    assert_eq!(
        (none.status.as_u16(), &none.json()["code"], &none.json()["message"]),
        (401, &16.into(), &"Token empty".into())
    );
    for bad in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let rest = harness.rest("GET", "/api/v1/organizations", Some(bad), None).await;
        let grpc = harness.grpc(LIST, Some(bad), &[]).await;
        assert_eq!(
            (rest.status.as_u16(), grpc.status, grpc.error_code().as_str()),
            (401, 16, "UNAUTHENTICATED"),
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mgmt_03_any_of_several_tokens_may_be_the_good_one() {
    let harness = Harness::start().await;
    let good = format!("Bearer {}", harness.client_token().await);
    let base = harness.running().dev_url.clone();
    for (order, status) in
        [([&*good, "Bearer stale"], 200), (["Bearer stale", &*good], 200), (["Bearer stale", "Bearer x"], 401)]
    {
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut request = Request::get(format!("{base}/api/v1/organizations"));
            for value in order {
                request = request.header("authorization", value);
            }
            assert_eq!(harness.send(&base, protocol, request, "").await.status, status, "{order:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_09_credentials_of_another_environment_are_nobodys() {
    let harness = Harness::start().await;
    let prd = harness.running().prd_url.clone();
    for kind in Minted::ALL.into_iter().filter(|kind| *kind != Minted::Member) {
        let (token, _) = harness.mint(kind, harness.prd_id()).await;
        let own = harness.rest_at(&prd, Protocol::H2, "GET", "/api/v1/organizations", Some(&token), None).await;
        assert_ne!(own.status, 401, "{kind:?} at home");
        let foreign = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
        assert_eq!(foreign.status, 401, "{kind:?} abroad");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_10_operators_choose_the_environment_and_nobody_else_does() {
    let harness = Harness::start().await;
    let base = harness.running().http_url.clone();
    let prd_domain = harness.environment(harness.prd_id()).await.domain.clone();
    let body = Bytes::from_static(br#"{"display_name": "In production"}"#);
    let create = async |token: &str| {
        let request = Request::post(format!("{base}/api/v1/organizations"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("x-env-domain", &prd_domain)
            .body(body.clone())
            .unwrap();
        let mut connection = Connection::open(&base, Protocol::H1, None).await.unwrap();
        connection.send(request).await.unwrap().json()["organization"]["id"].as_str().unwrap().to_owned()
    };
    let (operator, _) = harness.mint(Minted::Member, harness.env_id()).await;
    let (client_dev, _) = harness.mint(Minted::Client, harness.env_id()).await;
    let (client_prd, _) = harness.mint(Minted::Client, harness.prd_id()).await;
    let prd = harness.running().prd_url.clone();
    let status = async |id: &str| {
        let path = format!("/api/v1/organizations/{id}");
        let dev = harness.rest("GET", &path, Some(&client_dev), None).await.status.as_u16();
        let prd = harness.rest_at(&prd, Protocol::H1, "GET", &path, Some(&client_prd), None).await.status.as_u16();
        (dev, prd)
    };
    assert_eq!(status(&create(&operator).await).await, (404, 200), "the operator's call acted in PRD");
    assert_eq!(status(&create(&client_dev).await).await, (200, 404), "the client's header was ignored");
}
