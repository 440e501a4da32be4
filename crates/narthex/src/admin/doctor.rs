//! `narthex doctor`: what tends to be wrong with an installation, looked at from inside (the data) and from outside (DNS, TLS, gRPC).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use narthex_core::captcha::Unverified;
use narthex_core::ids::EnvId;
use narthex_core::{Core, Error, captcha, events, keys, organizations, permissions, users};
use prost::Message;
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Answer, all_environments};
use crate::config::{Config, TlsMode};
use crate::health::{HealthCheckRequest, HealthCheckResponse};
use crate::outbound;
use crate::smtp::SmtpMailer;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not for everybody, or not for long.
    Warning,
    /// Does not work.
    Problem,
    /// Was not looked at, and why.
    Skipped,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// In words, with what to do.
    pub text: String,
}

impl Finding {
    fn new(check: &str, level: Level, text: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level, text: text.into() }
    }
}

/// The report for people.
pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok  ",
            Level::Warning => "warn",
            Level::Problem => "FAIL",
            Level::Skipped => "skip",
        };
        // Writing to a String cannot fail.
        writeln!(text, "{mark}  {:<14} {}", finding.check, finding.text).ok();
    }
    text
}

/// What the owner of the data sees: database, schema, clock, keys, counters, audit chain.
pub(super) async fn inside(core: &Arc<Core>) -> Result<Answer, Error> {
    let mut findings = vec![database(core).await, migrations(core).await, clock(core)];
    // The core is open, so the master key has already unsealed the check value.
    findings.push(Finding::new("master key", Level::Ok, format!("{} opens this database", core.keyring.master().id())));
    for environment in all_environments(core).await? {
        findings.extend(environment_checks(core, &environment).await?);
    }
    let data = serde_json::to_value(&findings).map_err(Error::internal)?;
    Ok(Answer::new(report(&findings), data))
}

async fn database(core: &Core) -> Finding {
    let health = core.db.health().await;
    let engine = format!("{:?}", core.db.engine());
    match health.read.or(health.write) {
        None => Finding::new("database", Level::Ok, format!("{engine} reads and writes")),
        Some(problem) => Finding::new("database", Level::Problem, problem),
    }
}

async fn migrations(core: &Core) -> Finding {
    let schema = narthex_core::schema::Schema::new();
    match core.db.migration_status(&schema.migrations()).await {
        Ok(status) => match status.iter().find(|migration| !migration.applied || migration.problem.is_some()) {
            None => Finding::new("migrations", Level::Ok, format!("{} applied", status.len())),
            Some(migration) => {
                let problem = migration.problem.as_deref().unwrap_or("pending; run `narthex migrate up`");
                Finding::new("migrations", Level::Problem, format!("{:04} {}: {problem}", migration.id, migration.name))
            }
        },
        Err(error) => Finding::new("migrations", Level::Problem, error.to_string()),
    }
}

/// Whether ids run ahead of this machine's clock: then it was set back, or another node's clock is wrong.
fn clock(core: &Core) -> Finding {
    let ahead = core.ids.high_water_millis() - core.clock.real_now().0 / 1_000;
    if ahead > 60_000 {
        let text = format!("ids are {} s ahead of this machine's clock: check its time", ahead / 1_000);
        return Finding::new("clock", Level::Problem, text);
    }
    let moved = core.clock.offset();
    if moved > Duration::ZERO {
        return Finding::new(
            "clock",
            Level::Warning,
            format!("moved {} s ahead of real time (narthex dev)", moved.as_secs()),
        );
    }
    Finding::new("clock", Level::Ok, "ids and clock agree")
}

async fn environment_checks(
    core: &Core,
    environment: &narthex_core::environments::Environment,
) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let name = &environment.domain;
    let current =
        keys::list(core, environment.id).await?.into_iter().filter(|key| key.state == keys::KeyState::Current).count();
    if current != 1 {
        findings.push(Finding::new(
            "signing key",
            Level::Problem,
            format!("{name}: {current} keys sign, there must be one"),
        ));
    }
    if core.captcha.widget().is_none() && captcha::is_on(core, environment.id).await? {
        let text = format!("{name} has bot detection on, and captcha.provider is not set: see enable_fail_open");
        findings.push(Finding::new("captcha", Level::Problem, text));
    }
    findings.push(counters(core, name, environment.id).await?);
    let broken = events::audit::verify(&core.db, environment.id).await?;
    findings.push(match broken.first() {
        None => Finding::new("audit chain", Level::Ok, format!("{name}: unbroken")),
        Some(first) => Finding::new(
            "audit chain",
            Level::Problem,
            format!("{name}: {} findings, the first: {first:?}", broken.len()),
        ),
    });
    Ok(findings)
}

/// Counts the rows behind each kept total of an environment, and corrects those that are off.
async fn counters(core: &Core, name: &str, environment: EnvId) -> Result<Finding, Error> {
    let ids = [core.ids.next(), core.ids.next(), core.ids.next()];
    let totals = core.db.write(async move |tx| {
        Ok::<_, Error>([
            ("organizations", organizations::recount(tx, environment, ids[0]).await?),
            ("permissions", permissions::recount(tx, environment, ids[1]).await?),
            ("users", users::recount(tx, environment, ids[2]).await?),
        ])
    });
    let off: Vec<String> = totals
        .await?
        .into_iter()
        .filter(|(_, by)| *by != 0)
        .map(|(noun, by)| format!("the total of {noun} was off by {by}; corrected"))
        .collect();
    if off.is_empty() {
        return Ok(Finding::new("counters", Level::Ok, format!("{name}: totals agree with the rows")));
    }
    Ok(Finding::new("counters", Level::Warning, format!("{name}: {}", off.join(", "))))
}

/// What a client sees: DNS, the port, certificate and gRPC.
pub async fn outside(config: &Config, ca: Option<&std::path::Path>) -> Vec<Finding> {
    let mut findings = vec![dns(&config.base_domain).await];
    findings.push(port(config));
    match (&config.tls, config.listen) {
        (TlsMode::External, _) | (_, None) => {
            findings.push(Finding::new(
                "tls",
                Level::Skipped,
                "TLS ends at a proxy: check its ALPN offers h2 and http/1.1",
            ));
            if let Some(address) = config.http_listen {
                findings.push(grpc(address, None).await);
            }
        }
        (mode, Some(address)) => {
            let roots = match mode {
                TlsMode::Files { cert, .. } => Some(cert.as_path()),
                _ => ca,
            };
            match trust(roots) {
                Ok(tls) => findings.push(grpc(address, Some((tls, format!("dev.{}", config.base_domain)))).await),
                Err(problem) => findings.push(Finding::new("tls", Level::Problem, problem)),
            }
        }
    }
    findings.push(smtp(config).await);
    findings.push(captcha(config).await);
    findings
}

async fn dns(domain: &str) -> Finding {
    let host = format!("dev.{domain}");
    match tokio::net::lookup_host((host.as_str(), 443)).await {
        Ok(addresses) => {
            let found: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            Finding::new("dns", Level::Ok, format!("{host} is {}", found.join(", ")))
        }
        Err(error) => {
            let text = format!("{host} has no address ({error}): point *.{domain} here");
            Finding::new("dns", Level::Problem, text)
        }
    }
}

async fn smtp(config: &Config) -> Finding {
    let Some(mail) = &config.mail else {
        let text =
            "mail.host is not set: nobody signs in by mail but where an environment has a mail server of its own";
        return Finding::new("smtp", Level::Warning, text);
    };
    match SmtpMailer::new(config).check().await {
        Ok(()) => Finding::new("smtp", Level::Ok, format!("{} port {} takes mails", mail.host, mail.port)),
        // To the operator, what the server has said is the answer to why.
        Err(error) => Finding::new("smtp", Level::Problem, format!("{} ({})", error.failure.text(), error.detail)),
    }
}

/// Asks the verifier about a token that nobody was given: it answers that, or what is wrong with the secret.
async fn captcha(config: &Config) -> Finding {
    let Some(captcha) = &config.captcha else {
        return Finding::new(
            "captcha",
            Level::Skipped,
            "captcha.provider is not set: no environment has bot detection",
        );
    };
    let name = captcha.provider.name();
    match outbound::captcha(Some(captcha)).verify("narthex-doctor", None).await {
        Ok(_) => Finding::new("captcha", Level::Ok, format!("{name} verifies tokens")),
        Err(Unverified(problem)) => Finding::new("captcha", Level::Problem, format!("{name}: {problem}")),
    }
}

/// The Java SDK cannot use any other port (sdk-clients reference §3.2).
fn port(config: &Config) -> Finding {
    match (&config.tls, config.listen) {
        (TlsMode::External, _) => Finding::new("port 443", Level::Skipped, "the proxy in front decides"),
        (_, Some(address)) if address.port() == 443 => Finding::new("port 443", Level::Ok, "in use"),
        (_, other) => {
            let port = other.map_or(0, |address| address.port());
            let text = format!("clients reach port {port}: the Java SDK can only use 443");
            Finding::new("port 443", Level::Warning, text)
        }
    }
}

/// A client that trusts the certificates in this file, except the leaf itself.
fn trust(roots: Option<&std::path::Path>) -> Result<TlsConnector, String> {
    let path = roots.ok_or("no certificate file to check against")?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut store = RootCertStore::empty();
    for certificate in if chain.len() > 1 { &chain[1..] } else { &chain[..] } {
        store.add(certificate.clone()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks the gRPC health service over the public listener, as an SDK would reach it.
async fn grpc(address: SocketAddr, tls: Option<(TlsConnector, String)>) -> Finding {
    let local =
        if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
    let asked = async {
        let stream = TcpStream::connect(local).await.map_err(|error| format!("nothing answers at {local}: {error}"))?;
        match tls {
            None => check(stream, "localhost").await,
            Some((connector, host)) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
                let stream =
                    connector.connect(name, stream).await.map_err(|error| format!("TLS for {host}: {error}"))?;
                check(stream, &host).await
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(())) => Finding::new("grpc", Level::Ok, format!("{local} serves gRPC over HTTP/2")),
        Ok(Err(problem)) => Finding::new("grpc", Level::Problem, problem),
        Err(_) => Finding::new("grpc", Level::Problem, format!("{local} does not answer within 10 s")),
    }
}

async fn check<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, host: &str) -> Result<(), String> {
    let text = |error: hyper::Error| format!("HTTP/2: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    let message = HealthCheckRequest::default().encode_to_vec();
    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(0)];
    frame.extend_from_slice(&message);
    let request = Request::post(format!("https://{host}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(frame)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let body = response.into_body().collect().await.map_err(text)?;
    let status = body.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    let bytes = body.to_bytes();
    let answer = bytes.get(5..).and_then(|message| HealthCheckResponse::decode(message).ok());
    match (status, answer) {
        (Some(status), Some(answer)) if status == "0" && answer.status == 1 => Ok(()),
        (Some(status), Some(_)) if status == "0" => Err("the server is not ready".to_owned()),
        _ => Err("the health service does not answer as gRPC".to_owned()),
    }
}
