//! The server under measurement: `narthex dev` on SQLite, reached over its plain port.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::Result;
use crate::load::{Protocol, call, grpc_request, http1_request};
use crate::program::{Program, pinned};

/// A running server.
pub struct Narthex {
    /// Its process.
    pub program: Program,
    /// `localhost:PORT` of the plain listener.
    pub authority: String,
    /// From the start of the process to the first good answer of `/readyz`.
    pub ready_after: Duration,
    client_id: String,
    client_secret: String,
}

/// Where a server is started and from which file.
#[derive(Clone)]
pub struct Installation {
    /// The executable.
    pub binary: PathBuf,
    /// The core that servers run on.
    pub core: usize,
    /// Data folder.
    pub dir: PathBuf,
}

impl Installation {
    /// The SQLite database in the data folder.
    pub fn database(&self) -> PathBuf {
        self.dir.join("narthex.db")
    }

    /// Starts the server.
    pub async fn start(&self) -> Result<Narthex> {
        self.start_under(pinned(self.core, &self.binary)).await
    }

    /// Starts the server and has the kernel write down its syncs to `trace` (through strace, which runs beside it and sees no
    /// other system call).
    pub async fn start_traced(&self, trace: &Path) -> Result<Narthex> {
        let mut command = pinned(self.core, "strace");
        command
            .args(["--daemonize", "--follow-forks", "--seccomp-bpf", "--quiet=all", "--trace=fsync,fdatasync", "-o"])
            .arg(trace)
            .arg(&self.binary);
        self.start_under(command).await
    }

    async fn start_under(&self, mut command: Command) -> Result<Narthex> {
        let [tls, prd, plain] = [free_port()?, free_port()?, free_port()?];
        command.arg("dev").arg("--dir").arg(&self.dir);
        for (option, port) in [("--listen", tls), ("--prd-listen", prd), ("--http-listen", plain)] {
            command.args([option, &format!("127.0.0.1:{port}")]);
        }
        std::fs::create_dir_all(&self.dir)?;
        let log = self.dir.with_extension("log");
        let started = Instant::now();
        let program = Program::start(&mut command, &log)?;
        let authority = format!("localhost:{plain}");
        let ready = || http1_request(Method::GET, &authority, "/readyz", None).body(Full::default());
        while let Err(error) = call(&authority, Protocol::Http1, ready()?).await {
            if started.elapsed() > Duration::from_mins(1) {
                return Err(format!("not ready: {error}; log: {}", std::fs::read_to_string(&log)?).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ready_after = started.elapsed();
        let environment = self.environment()?;
        let variable = |name| environment.get(name).cloned().ok_or(format!("no {name} in dev.env"));
        Ok(Narthex {
            program,
            authority,
            ready_after,
            client_id: variable("SCALEKIT_CLIENT_ID")?,
            client_secret: variable("SCALEKIT_CLIENT_SECRET")?,
        })
    }

    fn environment(&self) -> Result<HashMap<String, String>> {
        let lines = std::fs::read_to_string(self.dir.join("dev.env"))?;
        let lines = lines.lines().filter_map(|line| line.split_once('='));
        Ok(lines.map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect())
    }
}

/// A port that nothing listens on; another program could take it before the server does, which then says so.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The token request of a client that authenticates by `client_secret_post`.
pub fn token_request(authority: &str, path: &str, client_id: &str, secret: &str) -> Result<Request<Full<Bytes>>> {
    let form = format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
    Ok(http1_request(Method::POST, authority, path, None)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(form.into()))?)
}

impl Narthex {
    /// A request for a token with the credentials of the development environment.
    pub fn token_request(&self) -> Result<Request<Full<Bytes>>> {
        token_request(&self.authority, "/oauth/token", &self.client_id, &self.client_secret)
    }

    /// Id and secret of the environment's API client.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.client_id, &self.client_secret)
    }

    /// The `Authorization` of the environment's API client.
    pub async fn bearer(&self) -> Result<String> {
        let (_, body) = call(&self.authority, Protocol::Http1, self.token_request()?).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        Ok(format!("Bearer {}", answer["access_token"].as_str().ok_or("no access_token")?))
    }

    /// Creates an organization and returns its id.
    pub async fn create_organization(&self, bearer: &str, external_id: &str) -> Result<String> {
        self.text(create_request(&self.authority, bearer, external_id)?, "/organization/id").await
    }

    /// Creates a user who is a member of an organization, and returns the user's id.
    pub async fn create_user(&self, bearer: &str, organization: &str, external_id: &str) -> Result<String> {
        self.text(create_user_request(&self.authority, bearer, organization, external_id)?, "/user/id").await
    }

    /// Creates an API token of an organization, or of a member of it, and returns the token.
    pub async fn create_api_token(&self, bearer: &str, organization: &str, user: Option<&str>) -> Result<String> {
        let token = serde_json::json!({
            "organization_id": organization,
            "user_id": user.unwrap_or_default(),
            "custom_claims": {"tier": "gold"},
            "description": "nightly build",
        });
        self.text(post(&self.authority, bearer, "/api/v1/tokens", &token)?, "/token").await
    }

    /// A text of the answer to a request.
    async fn text(&self, request: Request<Full<Bytes>>, pointer: &str) -> Result<String> {
        let (_, body) = call(&self.authority, Protocol::Http1, request).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        Ok(answer.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("no {pointer}"))?.to_owned())
    }
}

/// CreateOrganization over REST.
pub fn create_request(authority: &str, bearer: &str, external_id: &str) -> Result<Request<Full<Bytes>>> {
    let organization = serde_json::json!({
        "display_name": "Example Manufacturing and Trading Company",
        "external_id": external_id,
        "metadata": {"plan": "enterprise", "region": "eu-central"},
    });
    post(authority, bearer, "/api/v1/organizations", &organization)
}

/// CreateUserAndMembership over REST, as a member at once.
pub fn create_user_request(
    authority: &str,
    bearer: &str,
    organization: &str,
    external_id: &str,
) -> Result<Request<Full<Bytes>>> {
    let user = serde_json::json!({
        "email": format!("{external_id}@example.com"),
        "external_id": external_id,
        "metadata": {"department": "sales"},
        "user_profile": {"given_name": "Ann", "family_name": "Example"},
    });
    let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email=false");
    post(authority, bearer, &path, &user)
}

/// ValidateToken over REST.
pub fn validate_request(authority: &str, bearer: &str, token: &str) -> Result<Request<Full<Bytes>>> {
    post(authority, bearer, "/api/v1/tokens:validate", &serde_json::json!({ "token": token }))
}

fn post(authority: &str, bearer: &str, path: &str, body: &Value) -> Result<Request<Full<Bytes>>> {
    Ok(http1_request(Method::POST, authority, path, Some(bearer))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body.to_string().into()))?)
}

/// GetOrganization over REST.
pub fn get_request(authority: &str, bearer: &str, id: &str) -> Result<Request<Full<Bytes>>> {
    Ok(http1_request(Method::GET, authority, &format!("/api/v1/organizations/{id}"), Some(bearer))
        .body(Full::default())?)
}

/// GetOrganization over gRPC: `GetOrganizationRequest { id = 1 }`, written by hand, which saves the generated crate.
pub fn get_rpc(authority: &str, bearer: &str, id: &str) -> Result<Request<Full<Bytes>>> {
    let mut message = vec![1 << 3 | 2, u8::try_from(id.len())?];
    message.extend(id.bytes());
    grpc_request(authority, "/scalekit.v1.organizations.OrganizationService/GetOrganization", bearer, &message)
}
