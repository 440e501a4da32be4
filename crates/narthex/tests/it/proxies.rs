//! `narthex serve` behind a proxy: whose word counts.

use http::Request;

use crate::harness::{Harness, Protocol};

async fn issuer(harness: &Harness, headers: &[(&str, &str)]) -> Option<String> {
    let base = harness.running().http_url.clone();
    let mut request = Request::get(format!("{base}/.well-known/openid-configuration"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = harness.send(&base, Protocol::H1, request, "").await;
    (reply.status == 200).then(|| reply.json()["issuer"].as_str().unwrap().to_owned())
}

const BEHIND_PROXY: [(&str, &str); 3] =
    [("tls.mode", "external"), ("server.http_listen", "127.0.0.1:0"), ("server.base_domain", "auth.example")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_are_found_by_host_and_an_unknown_host_is_404() {
    let harness = Harness::serve(&BEHIND_PROXY).await.unwrap();
    assert_eq!(issuer(&harness, &[("host", "dev.auth.example")]).await.as_deref(), Some("https://dev.auth.example"));
    assert_eq!(
        issuer(&harness, &[("host", "PRD.auth.example:443")]).await.as_deref(),
        Some("https://prd.auth.example")
    );
    for host in ["localhost", "127.0.0.1", "auth.example", "other.auth.example", "dev.auth.example.evil"] {
        assert_eq!(issuer(&harness, &[("host", host)]).await, None, "{host}");
    }
    assert_eq!(
        issuer(&harness, &[("host", "dev.auth.example"), ("host", "prd.auth.example")]).await,
        None,
        "two hosts are none"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_hosts_count_only_from_trusted_proxies() {
    let untrusting = Harness::serve(&BEHIND_PROXY).await.unwrap();
    let forged: &[(&str, &str)] = &[
        ("host", "dev.auth.example"),
        ("x-forwarded-host", "prd.auth.example"),
        ("forwarded", "for=1.1.1.1;host=prd.auth.example"),
    ];
    assert_eq!(issuer(&untrusting, forged).await.as_deref(), Some("https://dev.auth.example"));

    let keys: Vec<(&str, &str)> = BEHIND_PROXY.into_iter().chain([("server.trusted_proxies", "127.0.0.0/8")]).collect();
    let trusting = Harness::serve(&keys).await.unwrap();
    assert_eq!(
        issuer(&trusting, &[("host", "internal"), ("x-forwarded-host", "prd.auth.example")]).await.as_deref(),
        Some("https://prd.auth.example")
    );
    assert_eq!(issuer(&trusting, &[("host", "dev.auth.example"), ("x-forwarded-host", "evil.example")]).await, None);
    // The proxy writes the other family, so this one is what the client has sent.
    let own = ("forwarded", "for=1.1.1.1;host=prd.auth.example");
    assert_eq!(
        issuer(&trusting, &[("host", "dev.auth.example"), own]).await.as_deref(),
        Some("https://dev.auth.example")
    );

    let keys: Vec<(&str, &str)> = keys.into_iter().chain([("server.forwarded_headers", "forwarded")]).collect();
    let by_rfc = Harness::serve(&keys).await.unwrap();
    assert_eq!(issuer(&by_rfc, &[("host", "internal"), own]).await.as_deref(), Some("https://prd.auth.example"));
    assert_eq!(issuer(&by_rfc, &[("host", "internal"), ("x-forwarded-host", "prd.auth.example")]).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_per_address_see_the_client_behind_the_proxy() {
    let keys: Vec<(&str, &str)> = BEHIND_PROXY
        .into_iter()
        .chain([("server.trusted_proxies", "127.0.0.1"), ("limits.token_per_ip_per_minute", "12")])
        .collect();
    let harness = Harness::serve(&keys).await.unwrap();
    let base = harness.running().http_url.clone();
    let ask = async |client: &str| {
        let request = Request::post(format!("{base}/oauth/token"))
            .header("host", "dev.auth.example")
            .header("content-type", "application/x-www-form-urlencoded")
            // What stands left of the last entry is the client's own claim: another one each time must not help.
            .header("x-forwarded-for", format!("{}, {client}", harness.core().random.base62(4)))
            .header("forwarded", format!("for=198.51.100.{}", harness.core().random.base62(2).as_bytes()[0]));
        harness.send(&base, Protocol::H1, request, "grant_type=client_credentials").await.status.as_u16()
    };
    assert_eq!([ask("203.0.113.7").await, ask("203.0.113.7").await, ask("203.0.113.7").await], [401, 401, 429]);
    assert_eq!(ask("203.0.113.8").await, 401, "another client behind the same proxy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_listener_beside_tls_only_sends_browsers_to_registered_origins() {
    let keys = [("server.http_listen", "127.0.0.1:0"), ("server.base_domain", "localhost")];
    let harness = Harness::serve(&keys).await.unwrap();
    let base = harness.running().http_url.clone();
    let port = harness.running().dev_url.rsplit(':').next().unwrap();
    let visit = async |host: &str| {
        let request = Request::get(format!("{base}/a?b=c")).header("host", host);
        let reply = harness.send(&base, Protocol::H1, request, "").await;
        (reply.status.as_u16(), reply.header("location").map(str::to_owned))
    };
    for host in ["dev.localhost", "DEV.localhost:80", "dev.localhost:8080"] {
        assert_eq!(visit(host).await, (308, Some(format!("https://dev.localhost:{port}/a?b=c"))), "{host}");
    }
    for host in ["evil.example", "dev.localhost.evil.example", "localhost", ""] {
        assert_eq!(visit(host).await, (404, None), "{host}");
    }
    let request = Request::post(format!("{base}/oauth/token")).header("host", "dev.localhost");
    let refused = harness.send(&base, Protocol::H1, request, "client_secret=x").await;
    assert_eq!(refused.status, 403);
    assert!(refused.header("x-request-id").is_some_and(|id| refused.text().contains(id)), "as every other answer");
    let request = Request::get(format!("{}/metrics", harness.running().admin_url));
    let metrics = harness.send(&harness.running().admin_url.clone(), Protocol::H1, request, "").await.text();
    assert!(metrics.contains("route=\"(redirect)\",status=\"308\",caller=\"anonymous\"} 3"), "{metrics}");
}
