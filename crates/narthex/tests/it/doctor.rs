//! `narthex doctor` from outside: what a client would run into.

use std::path::Path;

use narthex::admin::doctor::{Finding, Level, outside};
use narthex::config::{Config, Settings, Sources};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::certificates::Files;
use crate::harness::Harness;

fn config(flags: &[(&str, &str)]) -> Config {
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::from_settings(&Settings::load(&Sources { flags, ..Sources::default() }).unwrap()).unwrap()
}

fn level(findings: &[Finding], check: &str) -> (Level, String) {
    let finding =
        findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("{check}: {findings:?}"));
    (finding.level, finding.text.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_19_grpc_over_tls_is_tried_as_an_sdk_would() {
    let harness = Harness::serve(&[]).await.unwrap();
    let port = harness.running().dev_url.rsplit(':').next().unwrap().to_owned();
    let config = config(&[("server.listen", &format!("127.0.0.1:{port}"))]);
    let findings = outside(&config, harness.ca().as_deref()).await;
    assert_eq!(level(&findings, "grpc").0, Level::Ok, "{findings:?}");
    let (found, text) = level(&findings, "port 443");
    assert!(found == Level::Warning && text.contains("Java"), "{text}");
    let (found, text) = level(&findings, "smtp");
    assert!(found == Level::Warning && text.contains("mail.host"), "{text}");

    assert_eq!(harness.stop().await, narthex::Exit::Ok);
    let findings = outside(&config, Some(Path::new("/nonexistent/ca.pem"))).await;
    assert_eq!(level(&findings, "tls").0, Level::Problem);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_19_names_without_an_address_and_ports_without_a_server_are_problems() {
    let plain = config(&[
        ("tls.mode", "external"),
        ("server.http_listen", "127.0.0.1:1"),
        ("server.base_domain", "narthex.invalid"),
    ]);
    let findings = outside(&plain, None).await;
    let (found, text) = level(&findings, "dns");
    assert!(found == Level::Problem && text.contains("*.narthex.invalid"), "{text}");
    assert_eq!(level(&findings, "grpc").0, Level::Problem);
    assert_eq!(level(&findings, "tls").0, Level::Skipped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_19_an_expired_or_foreign_certificate_is_a_problem() {
    for (name, last_year, expected) in
        [("dev.auth.example", 2020, "xpired"), ("other.example", 4000, "not valid for name")]
    {
        let folder = tempfile::tempdir().unwrap();
        let written = Files::write(folder.path(), name, last_year);
        let keys = written.keys();
        let mut files: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
        files.push(("server.base_domain", "auth.example"));
        let harness = Harness::serve(&files).await.unwrap();
        let port = harness.running().dev_url.rsplit(':').next().unwrap();
        let listen = format!("127.0.0.1:{port}");
        let flags: Vec<(&str, &str)> = files.into_iter().chain([("server.listen", &*listen)]).collect();
        let findings = outside(&config(&flags), None).await;
        let (found, text) = level(&findings, "grpc");
        assert!(found == Level::Problem && text.contains(expected), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_19_a_mail_server_that_does_not_answer_or_has_no_tls_is_a_problem() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let keys = |port: &'static str, tls: &'static str| {
        [("mail.host", "127.0.0.1"), ("mail.port", port), ("mail.tls", tls), ("mail.from_email", "hi@auth.example")]
    };
    let port: &'static str = port.leak();
    // A server that knows no STARTTLS, three times over.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 mail.example\r\n").await.ok();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = if line.starts_with("EHLO") { b"250 mail.example\r\n" } else { b"221 bye\r\n" };
                    write.write_all(answer).await.ok();
                }
            });
        }
    });
    let find = async |keys: [(&str, &str); 4]| {
        let flags: Vec<(&str, &str)> =
            keys.into_iter().chain([("tls.mode", "external"), ("server.http_listen", "127.0.0.1:1")]).collect();
        level(&outside(&config(&flags), None).await, "smtp")
    };
    let (found, text) = find(keys(port, "none")).await;
    assert_eq!(found, Level::Ok, "{text}");
    let (found, text) = find(keys(port, "starttls")).await;
    assert!(found == Level::Problem && text.contains("no TLS"), "{text}");
    let (found, text) = find(keys("1", "none")).await;
    assert!(found == Level::Problem && text.contains("does not answer"), "{text}");
}
