//! Stopping under load: no request that reached the server fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use narthex::Exit;
use narthex::listen::drain::Phase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connection, Harness, Protocol};

/// What a client saw.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    closed: AtomicUsize,
}

/// Requests one after the other on kept connections, new ones when the server closes them, until nothing accepts any more.
async fn client(
    base: String,
    ca: std::path::PathBuf,
    protocol: Protocol,
    token: String,
    seen: Arc<Seen>,
    stopped: Arc<AtomicBool>,
) {
    'connections: loop {
        let Ok(mut connection) = Connection::open(&base, protocol, Some(&ca)).await else {
            assert!(stopped.load(Ordering::SeqCst), "a connection is refused before the stop");
            return;
        };
        loop {
            let ready = match &mut connection {
                Connection::H1(sender) => sender.ready().await,
                Connection::H2(sender) => sender.ready().await,
            };
            if ready.is_err() {
                // Closed while idle: no request was on it.
                seen.closed.fetch_add(1, Ordering::SeqCst);
                continue 'connections;
            }
            let request = Request::get(format!("{base}/api/v1/organizations"))
                .header("authorization", format!("Bearer {token}"))
                .body(Bytes::new())
                .unwrap();
            match connection.send(request).await {
                Ok(reply) => {
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    seen.answered.fetch_add(1, Ordering::SeqCst);
                    if reply.header("connection") == Some("close") {
                        assert!(stopped.load(Ordering::SeqCst));
                        continue 'connections;
                    }
                }
                // HTTP/2 says which requests were never seen; those may be sent again elsewhere.
                Err(error) if protocol == Protocol::H2 && stopped.load(Ordering::SeqCst) && is_unseen(&error) => {
                    continue 'connections;
                }
                Err(error) => panic!("{protocol:?}: a request failed: {error:?}"),
            }
        }
    }
}

/// The request never left the client, or GOAWAY named it as not processed.
fn is_unseen(error: &hyper::Error) -> bool {
    error.is_canceled() || format!("{error:?}").contains("GoAway(b\"\", NO_ERROR")
}

async fn stop_under_load(protocol: Protocol) {
    let mut harness = Harness::start().await;
    let token = harness.client_token().await;
    let (base, ca) = (harness.running().dev_url.clone(), harness.ca().unwrap());
    let (seen, stopped) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(client(base.clone(), ca.clone(), protocol, token.clone(), seen.clone(), stopped.clone())))
        .collect();
    while seen.answered.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stopped.store(true, Ordering::SeqCst);
    let before = seen.answered.load(Ordering::SeqCst);
    assert_eq!(harness.take_running().shutdown().await, Exit::Ok);
    for client in clients {
        client.await.expect("a client whose every request was answered");
    }
    assert!(seen.answered.load(Ordering::SeqCst) >= before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_09_no_request_fails_while_stopping_http1() {
    stop_under_load(Protocol::H1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_09_no_request_fails_while_stopping_http2() {
    stop_under_load(Protocol::H2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_09_a_request_whose_body_is_still_coming_is_answered() {
    let mut harness = Harness::start().await;
    let address = harness.running().http_url.replace("http://localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = "POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 21\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"grant_type=").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopping = tokio::spawn(harness.take_running().shutdown());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(TcpStream::connect(&address).await.is_err(), "nothing new is accepted");
    stream.write_all(b"password!!").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request"), "{answer}");
    assert!(
        answer.contains("unsupported_grant_type") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert_eq!(stopping.await.unwrap(), Exit::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_09_while_draining_everything_works_and_says_goodbye() {
    let harness = Harness::start().await;
    harness.running().state.drain.advance(Phase::Draining);
    assert_eq!(harness.get("/readyz").await.status, 503);
    let reply = harness.get("/keys").await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("close")));
}

/// The program itself: SIGTERM under load, exit code 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_09_sigterm_ends_the_program_with_code_0() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("narthex");
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args([
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--prd-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
            "--dir",
        ])
        .arg(&dir)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut block = String::new();
    let mut out = program.stdout.take().unwrap();
    let mut buffer = [0; 4096];
    while !block.contains("operator token") {
        let read = out.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the program ended: {block}");
        block.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let url = block.lines().find_map(|line| line.trim().strip_prefix("DEV environment")).unwrap().trim().to_owned();
    let mut connection = Connection::open(&url, Protocol::H1, Some(&dir.join("ca.pem"))).await.unwrap();
    let request = || Request::get(format!("{url}/keys")).body(Bytes::new()).unwrap();
    assert_eq!(connection.send(request()).await.unwrap().status, 200);

    let id = program.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = tokio::time::timeout(Duration::from_secs(20), program.wait()).await.expect("it stops").unwrap();
    assert_eq!(status.code(), Some(0));
}
