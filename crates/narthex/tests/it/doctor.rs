//! `narthex doctor` from outside: what a client would run into.

use std::path::Path;

use narthex::admin::doctor::{Finding, Level, outside};
use narthex::config::{Config, Settings, Sources};

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
    assert_eq!(level(&findings, "smtp").0, Level::Skipped);

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
