//! What the log says, and what it never says. The program itself is run, since its log is part of it.

use std::time::Duration;

use http::Request;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::harness::{Connection, Protocol, encode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "one log of many requests")]
async fn ops_12_err_05_each_request_has_a_line_with_its_id_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("narthex");
    let log_path = folder.path().join("log");
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
        .env("NARTHEX_LOG__LEVEL", "trace")
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(&log_path).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = program.stdout.take().unwrap();
    let mut block = String::new();
    let mut buffer = [0; 4096];
    while !block.contains("operator token") {
        let read = out.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the program ended: {block}");
        block.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let variables = std::fs::read_to_string(dir.join("dev.env")).unwrap();
    let value =
        |key: &str| variables.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap().to_owned();
    let (url, id, secret) = (value("NARTHEX_DEV_URL"), value("SCALEKIT_CLIENT_ID"), value("SCALEKIT_CLIENT_SECRET"));
    let mut connection = Connection::open(&url, Protocol::H2, Some(&dir.join("ca.pem"))).await.unwrap();
    let mut send = async |request: http::request::Builder, body: String| {
        connection.send(request.body(body.into()).unwrap()).await.unwrap()
    };

    let form =
        |secret: &str| encode(&[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", secret)]);
    let token_request =
        || Request::post(format!("{url}/oauth/token")).header("content-type", "application/x-www-form-urlencoded");
    let reply = send(token_request().header("x-request-id", "my-own-id_1"), form(&secret)).await;
    assert_eq!(reply.header("x-request-id"), Some("my-own-id_1"));
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    send(token_request(), form("guessed-secret-8f2b")).await;
    let bearer = format!("Bearer {token}");
    let create = Request::post(format!("{url}/api/v1/organizations")).header("authorization", &bearer);
    let made = send(create, json!({"display_name": "Log Me Not"}).to_string()).await;
    let organization = made.json()["organization"]["id"].as_str().unwrap().to_owned();
    let get = Request::get(format!("{url}/api/v1/organizations/{organization}?search=query-secret-71c"))
        .header("authorization", &bearer);
    let generated = send(get, String::new()).await.header("x-request-id").unwrap().to_owned();
    send(
        Request::get(format!("{url}/api/v1/organizations")).header("authorization", "Bearer stolen-token-55aa"),
        String::new(),
    )
    .await;
    send(Request::get(format!("{url}/path-secret-90d?x=1")), String::new()).await;
    let unknown = Request::post(format!("{url}/no.such.Service/Method")).header("content-type", "application/grpc");
    send(unknown, String::new()).await;
    let refused = Request::get(format!("{url}/keys")).header("x-request-id", "bad id\u{7f}");
    assert!(refused.body(()).is_err(), "control characters cannot even be sent");

    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &program.id().unwrap().to_string()])
            .status()
            .unwrap()
            .success()
    );
    drop(connection);
    let status = tokio::time::timeout(Duration::from_secs(20), program.wait()).await.expect("it stops").unwrap();
    assert_eq!(status.code(), Some(0));
    let log = std::fs::read_to_string(&log_path).unwrap();
    let line = |id: &str| {
        log.lines().find(|line| line.contains(&format!("request_id=\"{id}\""))).unwrap_or_else(|| panic!("{id}\n{log}"))
    };
    let token_line = line("my-own-id_1");
    assert!(token_line.contains("route=\"/oauth/token\"") && token_line.contains("status=200"), "{token_line}");
    let get_line = line(&generated);
    assert!(
        get_line.contains("route=\"/api/v1/organizations/{id}\"") && get_line.contains("caller=\"client\""),
        "{get_line}"
    );
    assert!(!log.contains(" ERROR "), "no stranger can make a failure of what is only refused:\n{log}");
    let master = std::fs::read_to_string(dir.join("master.key")).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for kept in [
        secret.as_str(),
        "guessed-secret-8f2b",
        token.as_str(),
        signature,
        "stolen-token-55aa",
        "query-secret-71c",
        "path-secret-90d",
        &organization,
        "Log Me Not",
        master.trim(),
        &value("NARTHEX_PRD_CLIENT_SECRET"),
    ] {
        assert!(!log.contains(kept) && !block.contains(kept), "{kept} is in the log");
    }
}
