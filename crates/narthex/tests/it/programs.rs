//! The program itself, run as its users run it: for what only a process can show, such as its death.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use http::Request;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::harness::encode;
use crate::http::{Connection, Protocol, Reply};

const PROGRAM: &str = env!("CARGO_BIN_EXE_narthex");

/// A running process of the program. It dies with the test.
pub struct Program {
    child: Child,
    /// What it has written to standard error.
    pub log: PathBuf,
}

impl Program {
    fn spawn(arguments: &[String], log: PathBuf, level: &str) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .env("NARTHEX_LOG__LEVEL", level)
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        Self { child, log }
    }

    /// What it writes to standard output, up to the line with this text.
    pub async fn printed(&mut self, text: &str) -> String {
        let out = self.child.stdout.as_mut().expect("standard output");
        let (mut block, mut buffer) = (String::new(), [0; 4096]);
        while !block.split(text).nth(1).is_some_and(|rest| rest.contains('\n')) {
            let read = tokio::time::timeout(Duration::from_mins(1), out.read(&mut buffer)).await.expect("in time");
            let read = read.expect("its output");
            assert!(read > 0, "the program ended: {block}");
            block.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        block
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process is killed");
    }

    /// SIGTERM, and the end.
    pub async fn terminate(&mut self) {
        let id = self.child.id().expect("a running process").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.expect("kill").success());
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .expect("it stops")
            .expect("a status");
        assert_eq!(status.code(), Some(0), "{}", self.text());
    }

    /// The log so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log")).into_owned()
    }
}

/// Runs a command of the program to its end.
pub async fn command(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env_clear().output().await.expect("the program runs")
}

/// Runs a command that must succeed, and reads its JSON.
pub async fn json(arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let output = command(&arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// An environment at an address, under the Host that it has.
#[derive(Debug, Clone)]
pub struct Site {
    pub base: String,
    pub host: String,
}

impl Site {
    pub async fn send(&self, request: http::request::Builder, body: impl Into<bytes::Bytes>) -> Result<Reply, String> {
        let mut connection = Connection::open(&self.base, Protocol::H1, None).await?;
        let request = request.header("host", &self.host).body(body.into()).expect("a request");
        connection.send(request).await.map_err(|error| error.to_string())
    }

    pub async fn rest(&self, verb: &str, path: &str, token: &str, json: Option<&Value>) -> Result<Reply, String> {
        let request = Request::builder()
            .method(verb)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        self.send(request, json.map(ToString::to_string).unwrap_or_default()).await
    }

    /// The token endpoint's answer.
    pub async fn ask_token(&self, client_id: &str, secret: &str) -> Result<Reply, String> {
        let form = [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret)];
        let request = Request::post(format!("{}/oauth/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request, encode(&form)).await
    }

    pub async fn token(&self, client_id: &str, secret: &str) -> String {
        let reply = self.ask_token(client_id, secret).await.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().expect("a token").to_owned()
    }
}

/// `narthex dev` in a folder, on SQLite or on a PostgreSQL database.
pub struct Dev {
    pub program: Program,
    pub dir: PathBuf,
    /// The DEV environment, in plain.
    pub site: Site,
    database_url: Option<String>,
}

impl Dev {
    pub async fn start(folder: &Path, database_url: Option<&str>, level: &str) -> Self {
        let dir = folder.join("narthex");
        let mut arguments: Vec<String> =
            ["dev", "--listen", "127.0.0.1:0", "--prd-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--dir"]
                .map(str::to_owned)
                .to_vec();
        arguments.push(dir.display().to_string());
        if let Some(url) = database_url {
            arguments.extend(["--database-url".to_owned(), url.to_owned()]);
        }
        let mut program = Program::spawn(&arguments, folder.join("log"), level);
        let mut out = program.child.stdout.take().expect("standard output");
        let (mut block, mut buffer) = (String::new(), [0; 4096]);
        while !block.contains("operator token") {
            let read =
                tokio::time::timeout(Duration::from_mins(1), out.read(&mut buffer)).await.expect("it starts in time");
            let read = read.expect("its output");
            assert!(read > 0, "the program ended: {block}{}", program.text());
            block.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let mut dev = Self {
            program,
            dir,
            site: Site { base: String::new(), host: String::new() },
            database_url: database_url.map(str::to_owned),
        };
        dev.site.base = dev.variable("NARTHEX_HTTP_URL");
        dev.site.host = dev.site.base.trim_start_matches("http://").to_owned();
        dev
    }

    /// A line of `dev.env`.
    pub fn variable(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.dir.join("dev.env")).expect("dev.env");
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {key}")).to_owned()
    }

    /// A token of the DEV environment's client.
    pub async fn token(&self) -> String {
        self.site.token(&self.variable("SCALEKIT_CLIENT_ID"), &self.variable("SCALEKIT_CLIENT_SECRET")).await
    }

    /// `narthex …` on this folder, whatever its outcome.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let dir = self.dir.display().to_string();
        let mut arguments: Vec<&str> = arguments.iter().copied().chain(["--dir", &dir]).collect();
        if let Some(url) = &self.database_url {
            arguments.extend(["--database-url", url]);
        }
        command(&arguments).await
    }

    /// `narthex … --json`, which must succeed.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.command(&arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// `narthex serve` behind a proxy that ends TLS, on a PostgreSQL database that others may share.
pub struct Node {
    pub program: Program,
    /// The seeded DEV environment.
    pub site: Site,
    flags: Vec<String>,
}

impl Node {
    /// `name` is the node's folder; `master_key` is another node's, for a database that has one already.
    pub async fn start(folder: &Path, name: &str, database_url: &str, master_key: Option<&Path>, level: &str) -> Self {
        let data = folder.join(name);
        std::fs::create_dir_all(&data).expect("a folder");
        if let Some(key) = master_key {
            std::fs::copy(key, data.join("master.key")).expect("the master key");
        }
        // A port that is free now; the program cannot tell which one it took.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let flags: Vec<String> = [
            ("server.data_dir", data.display().to_string()),
            ("server.http_listen", format!("127.0.0.1:{port}")),
            ("server.admin_listen", "127.0.0.1:0".to_owned()),
            ("server.drain_delay", "0s".to_owned()),
            ("server.base_domain", "auth.example".to_owned()),
            ("tls.mode", "external".to_owned()),
            // Every visitor of a test has one address.
            ("limits.public_per_ip_per_minute", "0".to_owned()),
            ("database.url", database_url.to_owned()),
        ]
        .into_iter()
        .flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")])
        .collect();
        let arguments: Vec<String> = ["serve".to_owned()].into_iter().chain(flags.iter().cloned()).collect();
        let mut program = Program::spawn(&arguments, folder.join(format!("{name}.log")), level);
        let site = Site { base: format!("http://127.0.0.1:{port}"), host: "dev.auth.example".to_owned() };
        for _ in 0..600 {
            if let Ok(reply) = site.send(Request::get(format!("{}/keys", site.base)), "").await {
                assert_eq!(reply.status, 200, "{}", reply.text());
                return Self { program, site, flags };
            }
            assert!(program.child.try_wait().expect("a status").is_none(), "the program ended: {}", program.text());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the program did not start: {}", program.text());
    }

    /// The folder's master key.
    pub fn master_key(folder: &Path, name: &str) -> PathBuf {
        folder.join(name).join("master.key")
    }

    /// `narthex … --json` through this node's socket.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(self.flags.iter().map(String::as_str)).collect();
        json(&arguments).await
    }

    /// The findings of `narthex doctor`, which also looks at what stands outside of the server and may not like it.
    pub async fn doctor(&self) -> Value {
        let arguments: Vec<&str> =
            ["doctor", "--json"].into_iter().chain(self.flags.iter().map(String::as_str)).collect();
        let output = command(&arguments).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}
