//! Listeners: protocols, certificates, and clients that misbehave.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Request;
use narthex::config::{Config, Settings, Sources};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certificates::Files;
use crate::harness::{Connection, Harness, Protocol};
use crate::http::connector;

const LIST: &str = "/scalekit.v1.organizations.OrganizationService/ListOrganization";

fn port(base: &str) -> u16 {
    base.rsplit(':').next().unwrap().parse().unwrap()
}

async fn tls_without_alpn(base: &str, ca: &Path) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port(base))).await.unwrap();
    let stream = connector(ca, &[]).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_07_grpc_and_rest_share_a_tls_listener_over_h2_and_http1_with_and_without_alpn() {
    let harness = Harness::start().await;
    let token = harness.client_token().await;
    let base = harness.running().dev_url.clone();
    for protocol in [Protocol::H2, Protocol::H1] {
        let rest = harness.rest_at(&base, protocol, "GET", "/api/v1/organizations", Some(&token), None).await;
        assert_eq!(rest.status, 200, "{protocol:?}");
        let grpc = harness.grpc_at(&base, protocol, LIST, Some(&token), &[]).await;
        assert_eq!(grpc.status, 0, "{protocol:?}");
        assert!(!grpc.message.is_empty());

        let stream = tls_without_alpn(&base, &harness.ca().unwrap()).await;
        let mut connection = Connection::over(stream, protocol).await.unwrap();
        let request = Request::get(format!("{base}/keys")).body("".into()).unwrap();
        assert_eq!(connection.send(request).await.unwrap().status, 200, "{protocol:?} without ALPN");
    }
    let plain = harness.running().http_url.clone();
    for protocol in [Protocol::H2, Protocol::H1] {
        let grpc = harness.grpc_at(&plain, protocol, LIST, Some(&token), &[]).await;
        assert_eq!(grpc.status, 0, "{protocol:?} in plain");
        assert_eq!(harness.grpc_at(&plain, protocol, LIST, None, &[]).await.status, 16);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_and_a_silent_connection_are_cut_and_others_are_served_meanwhile() {
    let harness = Harness::start().await;
    let harness = harness.restart(|options| options.timeouts.head = Duration::from_secs(1)).await.unwrap();
    let address = ("127.0.0.1", port(&harness.running().http_url));
    let began = Instant::now();
    let slow = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /keys HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
        // One header at a time, so that no single read is late.
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(began.elapsed() < Duration::from_secs(20), "it was never cut");
        }
    });
    let silent = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte)).await.expect("it is cut");
        assert!(matches!(read, Ok(0) | Err(_)));
    });
    assert_eq!(harness.get("/keys").await.status, 200);
    slow.await.unwrap();
    silent.await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_listener_harms_nobody_else() {
    let harness = Harness::start().await;
    for base in [harness.running().dev_url.clone(), harness.running().http_url.clone()] {
        for garbage in [
            &b"\x16\x03\x01\xff\xff\x01"[..],
            b"\0\0\0\0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxx",
            b"GET / HTTP/9.9\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(("127.0.0.1", port(&base))).await.unwrap();
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.ok();
            let mut answer = Vec::new();
            tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer))
                .await
                .expect("it is closed")
                .ok();
        }
    }
    assert_eq!(harness.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_connection_limit_clients_wait_and_are_served_when_others_leave() {
    let keys = [("tls.mode", "external"), ("server.http_listen", "127.0.0.1:0"), ("server.max_connections", "1")];
    let harness = Harness::serve(&keys).await.unwrap();
    let base = harness.running().http_url.clone();
    let request = || Request::get(format!("{base}/healthz")).body("".into()).unwrap();
    let mut first = Connection::open(&base, Protocol::H1, None).await.unwrap();
    assert_eq!(first.send(request()).await.unwrap().status, 200);
    let second = tokio::spawn({
        let (base, request) = (base.clone(), request());
        async move { Connection::open(&base, Protocol::H1, None).await.unwrap().send(request).await.unwrap().status }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "there is no slot for it");
    drop(first);
    assert_eq!(second.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_running_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::write(folder.path(), "localhost", 4000);
    let keys = files.keys();
    let keys: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let harness = Harness::serve(&keys).await.unwrap();
    let base = harness.running().dev_url.clone();
    let leaf = async || {
        let stream = tls_without_alpn(&base, &files.ca).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = leaf().await;
    let flags = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let config = Config::from_settings(&Settings::load(&Sources { flags, ..Sources::default() }).unwrap()).unwrap();

    std::fs::write(&files.key, "not a key").unwrap();
    assert!(harness.running().reload(&config).is_err());
    assert_eq!(leaf().await, first, "the old one stays in use");

    Files::write(folder.path(), "localhost", 4000);
    harness.running().reload(&config).unwrap();
    assert_ne!(leaf().await, first);
}
