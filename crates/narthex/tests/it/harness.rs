//! The one way to have a server in a test: a whole app in process, on free ports, with a folder, a clock and (where wanted) a PostgreSQL
//! database of its own, and a real HTTP client in front of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use narthex::config::{Config, Settings, Sources};
use narthex::{App, AppOptions, DevOptions, Exit, Failure, Mode, Running};
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::environments::{self, Environment};
use narthex_core::ids::{ConnectedAccountId, EnvId};
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::seal::Secret;
use narthex_core::sessions::{self, NewSession};
use narthex_core::tokens::{self, ClientCredentials};
use narthex_core::{Caller, Clock, Core, testing};
use narthex_db::Engine;
use narthex_db::testing::TestDb;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

pub use crate::http::{Connection, Protocol, Reply};

const HOUR: Duration = Duration::from_hours(1);

/// Every kind of caller that can hold a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Minted {
    Client,
    OrganizationClient,
    User,
    Session,
    Portal,
    Member,
    ConnectedAccount,
}

impl Minted {
    pub const ALL: [Self; 7] = [
        Self::Client,
        Self::OrganizationClient,
        Self::User,
        Self::Session,
        Self::Portal,
        Self::Member,
        Self::ConnectedAccount,
    ];
}

/// A running server of a test's own.
pub struct Harness {
    running: Option<Running>,
    pub clock: Clock,
    pub folder: Arc<TempDir>,
    options: AppOptions,
    /// Kept so that the database lives as long as the server.
    database: Option<Arc<TestDb>>,
}

impl Harness {
    /// `narthex dev` on SQLite.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// `narthex dev` on this engine; `None` if there is no PostgreSQL to run on.
    pub async fn start_on(engine: Engine) -> Option<Self> {
        Self::start_on_with(engine, |_| {}).await
    }

    /// The same with other options.
    pub async fn start_on_with(engine: Engine, adjust: impl FnOnce(&mut DevOptions)) -> Option<Self> {
        if engine == Engine::Sqlite {
            return Some(Self::start_with(adjust).await);
        }
        narthex_db::testing::postgres_url()?;
        let database = Arc::new(TestDb::new(engine, &[]).await.expect("a PostgreSQL database"));
        let url = database.options().url.clone();
        let set = move |dev: &mut DevOptions| {
            dev.database_url = Some(url);
            adjust(dev);
        };
        let mut harness = Self::start_with(set).await;
        harness.database = Some(database);
        Some(harness)
    }

    /// `narthex dev` with other options.
    pub async fn start_with(adjust: impl FnOnce(&mut DevOptions)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut dev = dev_options(&folder);
        adjust(&mut dev);
        Self::run(folder, app_options(Mode::Dev(dev))).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// `narthex serve` with these keys on top of a minimum that runs in a test.
    pub async fn serve(keys: &[(&str, &str)]) -> Result<Self, Failure> {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut flags = vec![
            ("server.data_dir".to_owned(), folder.path().join("data").display().to_string()),
            ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("server.admin_listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("server.drain_delay".to_owned(), "0s".to_owned()),
        ];
        flags.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let config = Config::from_settings(&Settings::load(&Sources { flags, ..Sources::default() })?)?;
        Self::run(folder, app_options(Mode::Serve(Box::new(config)))).await
    }

    async fn run(folder: Arc<TempDir>, options: AppOptions) -> Result<Self, Failure> {
        let running = App::start(options.clone()).await?;
        Ok(Self { running: Some(running), clock: options.clock.clone(), folder, options, database: None })
    }

    /// Stops, and starts again on the same folder; `adjust` changes the options in between.
    pub async fn restart(self, adjust: impl FnOnce(&mut AppOptions)) -> Result<Self, Failure> {
        let (folder, mut options, database) = (self.folder.clone(), self.options.clone(), self.database.clone());
        assert_eq!(self.stop().await, Exit::Ok);
        adjust(&mut options);
        let mut harness = Self::run(folder, options).await?;
        harness.database = database;
        Ok(harness)
    }

    /// Stops as SIGTERM does.
    pub async fn stop(mut self) -> Exit {
        self.running.take().expect("running").shutdown().await
    }

    pub fn take_running(&mut self) -> Running {
        self.running.take().expect("running")
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("running")
    }

    pub fn core(&self) -> &Arc<Core> {
        self.running().core()
    }

    pub fn ca(&self) -> Option<PathBuf> {
        self.running().ca.clone()
    }

    pub fn env_id(&self) -> EnvId {
        self.running().state.dev.as_ref().expect("narthex dev").dev
    }

    pub fn prd_id(&self) -> EnvId {
        self.running().state.dev.as_ref().expect("narthex dev").prd
    }

    pub async fn environment(&self, id: EnvId) -> Arc<Environment> {
        environments::by_id(self.core(), id).await.expect("a database").expect("the environment")
    }

    /// Sends any request to any base URL over a fresh connection.
    pub async fn send(
        &self,
        base: &str,
        protocol: Protocol,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut connection = Connection::open(base, protocol, self.ca().as_deref()).await.expect("a connection");
        let request = request.body(body.into()).expect("a request");
        connection.send(request).await.expect("an answer")
    }

    /// A GET of the plain listener.
    pub async fn get(&self, path: &str) -> Reply {
        let base = self.running().http_url.clone();
        self.send(&base, Protocol::H1, Request::get(format!("{base}{path}")), "").await
    }

    /// A form for the token endpoint of the DEV environment.
    pub async fn token_request(&self, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Reply {
        let base = self.running().http_url.clone();
        let mut request =
            Request::post(format!("{base}/oauth/token")).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(&base, Protocol::H1, request, encode(form)).await
    }

    /// A token of the DEV environment's API client, from the token endpoint.
    pub async fn client_token(&self) -> String {
        let dev = self.running().dev.as_ref().expect("narthex dev").dev.clone();
        let form =
            [("grant_type", "client_credentials"), ("client_id", &*dev.client_id), ("client_secret", &*dev.secret)];
        let reply = self.token_request(&[], &form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// A REST call of the DEV environment, over HTTP/1.1 in plain.
    pub async fn rest(&self, verb: &str, path: &str, token: Option<&str>, json: Option<&Value>) -> Reply {
        let base = self.running().http_url.clone();
        self.rest_at(&base, Protocol::H1, verb, path, token, json).await
    }

    /// A REST call at any base URL.
    pub async fn rest_at(
        &self,
        base: &str,
        protocol: Protocol,
        verb: &str,
        path: &str,
        token: Option<&str>,
        json: Option<&Value>,
    ) -> Reply {
        let mut request = Request::builder().method(verb).uri(format!("{base}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if json.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = json.map(ToString::to_string).unwrap_or_default();
        self.send(base, protocol, request, body).await
    }

    /// A gRPC call of the DEV environment, over HTTP/2 with TLS.
    pub async fn grpc(&self, path: &str, token: Option<&str>, message: &[u8]) -> GrpcReply {
        let base = self.running().dev_url.clone();
        self.grpc_at(&base, Protocol::H2, path, token, message).await
    }

    /// A gRPC call at any base URL.
    pub async fn grpc_at(
        &self,
        base: &str,
        protocol: Protocol,
        path: &str,
        token: Option<&str>,
        message: &[u8],
    ) -> GrpcReply {
        let mut request =
            Request::post(format!("{base}{path}")).header("content-type", "application/grpc").header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        GrpcReply::read(self.send(base, protocol, request, frame(message)).await)
    }

    /// A token of this kind of caller in an environment, made in process; the caller that it is; an organization it is for.
    pub async fn mint(&self, kind: Minted, environment: EnvId) -> (String, Caller) {
        let core = self.core();
        let environment = self.environment(environment).await;
        let id = environment.id;
        let organization = testing::organization(core, id).await.expect("an organization");
        match kind {
            Minted::Client => {
                let (client_id, token) = self.mint_client(&environment, NewClient::new(ClientKind::Env, "test")).await;
                (token, Caller::Client { environment: id, client_id })
            }
            Minted::OrganizationClient => {
                let new =
                    NewClient { organization: Some(organization), ..NewClient::new(ClientKind::Organization, "test") };
                let (client_id, token) = self.mint_client(&environment, new).await;
                (token, Caller::OrganizationClient { environment: id, organization, client_id })
            }
            Minted::User | Minted::Session => {
                let user = testing::member(core, &environment, organization, &["sk_org_settings_read"]).await;
                let user = user.expect("a member");
                let permissions = vec!["organizations_read".to_owned()];
                let new = NewSession::browser(user, Some(organization), HOUR);
                let session = sessions::open(core, id, new).await.expect("a session");
                let organization = Some(organization);
                if kind == Minted::Session {
                    let token = tokens::mint_session(core, &environment, &session, HOUR).await.expect("a token");
                    return (
                        token.access_token,
                        Caller::Session { environment: id, user, organization, session: session.id, permissions },
                    );
                }
                let client = clients::create(core, id, environment.kind, NewClient::new(ClientKind::WebApp, "test"))
                    .await
                    .expect("a client");
                let token =
                    tokens::mint_user(core, &environment, &session, &client.client_id, HOUR).await.expect("a token");
                (
                    token.access_token,
                    Caller::User { environment: id, user, organization, session: session.id, permissions },
                )
            }
            Minted::Portal => {
                let features = vec!["sso".to_owned()];
                let new = NewSession::portal(organization, None, features.clone(), HOUR);
                let session = sessions::open(core, id, new).await.expect("a session");
                let token = tokens::mint_session(core, &environment, &session, HOUR).await.expect("a token");
                (token.access_token, Caller::Portal { environment: id, organization, session: session.id, features })
            }
            Minted::Member => {
                let email = format!("operator-{}@example.test", core.random.base62(8));
                let new =
                    NewMember { email, given_name: String::new(), family_name: String::new(), role: FixedRole::Owner };
                let member = members::create(core, environment.workspace_id, new).await.expect("a member");
                let token = tokens::mint_member(core, &member, HOUR).await.expect("a token");
                let permissions = member.permissions_in(id);
                (
                    token.access_token,
                    Caller::Member { workspace: environment.workspace_id, member: member.id, permissions },
                )
            }
            Minted::ConnectedAccount => {
                let account = ConnectedAccountId::new(&core.ids);
                let session =
                    sessions::open(core, id, NewSession::connected_account(account, HOUR)).await.expect("a session");
                let token = tokens::mint_session(core, &environment, &session, HOUR).await.expect("a token");
                (
                    token.access_token,
                    Caller::ConnectedAccount { environment: id, connected_account: account, session: session.id },
                )
            }
        }
    }

    async fn mint_client(&self, environment: &Arc<Environment>, new: NewClient) -> (String, String) {
        let core = self.core();
        let client = clients::create(core, environment.id, environment.kind, new).await.expect("a client");
        let secret = clients::add_secret(core, environment.id, environment.kind, &client.client_id, "test")
            .await
            .expect("a secret");
        let credentials = ClientCredentials {
            client_id: client.client_id.clone(),
            secret: Some(Secret::new(secret.plain.expose().clone())),
            scope: None,
            audience: None,
            resource: None,
            address: None,
            at: None,
        };
        let issued = tokens::issue_client_credentials(core, environment, credentials).await.expect("a token");
        (client.client_id, issued.access_token)
    }
}

/// Free ports and a folder of the test's own.
pub fn dev_options(folder: &TempDir) -> DevOptions {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    DevOptions { listen: free, prd_listen: free, http_listen: free, ..DevOptions::new(folder.path().join("narthex")) }
}

/// Key pairs that are reused within the process.
pub fn app_options(mode: Mode) -> AppOptions {
    AppOptions { key_pairs: testing::reused_key_pairs(), ..AppOptions::new(mode) }
}

/// `application/x-www-form-urlencoded`.
pub fn encode(form: &[(&str, &str)]) -> String {
    let escape =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join("&")
}

/// A gRPC message with its prefix.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).expect("a small message").to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// What a gRPC client sees.
#[derive(Debug)]
pub struct GrpcReply {
    /// `grpc-status`.
    pub status: i32,
    /// `grpc-message`, decoded.
    pub text: String,
    /// The message, without its prefix.
    pub message: Bytes,
    /// `grpc-status-details-bin`, decoded.
    pub details: Option<Status>,
    pub http: Reply,
}

impl GrpcReply {
    pub fn read(http: Reply) -> Self {
        assert_eq!(http.status, 200, "a gRPC path never answers with an HTTP error");
        let field = |name: &str| {
            let value = http.trailers.get(name).or_else(|| http.headers.get(name))?;
            Some(value.to_str().expect("an ASCII header").to_owned())
        };
        let status = field("grpc-status").expect("a grpc-status").parse().expect("a number");
        let text = field("grpc-message").unwrap_or_default();
        let text = percent_encoding::percent_decode_str(&text).decode_utf8().expect("UTF-8").into_owned();
        let details = field("grpc-status-details-bin").map(|text| {
            use base64::Engine as _;
            let engine = base64::engine::GeneralPurpose::new(
                &base64::alphabet::STANDARD,
                base64::engine::GeneralPurposeConfig::new()
                    .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
            );
            Status::decode(&*engine.decode(text).expect("base64")).expect("a google.rpc.Status")
        });
        let message = if http.body.len() >= 5 { http.body.slice(5..) } else { Bytes::new() };
        Self { status, text, message, details, http }
    }

    /// `error_code` of the first detail.
    pub fn error_code(&self) -> String {
        use narthex_api::scalekit::v1::errdetails::ErrorInfo;
        let detail = self.details.as_ref().and_then(|status| status.details.first()).expect("a detail");
        assert_eq!(detail.type_url, "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo");
        ErrorInfo::decode(&*detail.value).expect("an ErrorInfo").error_code
    }
}
