//! A pipeline with a gate that knows its callers by the name of their token.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use narthex_api::contract::Method;
use narthex_core::environments::{AuthenticationMode, CustomDomainStatus, EnvironmentKind};
use narthex_core::ids::{ConnectedAccountId, EnvId, MemberId, OrganizationId, SessionId, UserId, WorkspaceId};
use narthex_core::{Caller, Error, Kind, Random, Timestamp};
use narthex_rpc::error::Status;
use narthex_rpc::{
    Connection, Credentials, Environment, Gate, Limits, Outcome, Pipeline, RateLimitInfo, RpcBody, Rpcs, Transport,
};

/// Tokens that the gate knows, one per kind of caller.
pub const TOKENS: [&str; 7] = ["client", "organization-client", "user", "session", "portal", "member", "account"];

pub fn environment(id: i64, domain: &str) -> Arc<Environment> {
    Arc::new(Environment {
        id: EnvId(id),
        workspace_id: WorkspaceId(1),
        kind: EnvironmentKind::Dev,
        is_system: false,
        display_name: "Test".to_owned(),
        domain: domain.to_owned(),
        origin: format!("https://{domain}"),
        custom_domain: None,
        custom_domain_status: CustomDomainStatus::Unspecified,
        authentication_mode: AuthenticationMode::FullStack,
        session: narthex_core::environments::SessionSettings::default(),
        features: BTreeMap::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    })
}

/// The product's own environment, of another workspace than the operators'.
fn product() -> Arc<Environment> {
    let ours = Environment::clone(&environment(9, "product.test"));
    Arc::new(Environment { is_system: true, workspace_id: WorkspaceId(99), ..ours })
}

/// A caller of the kind that a token is named after; it holds the permissions after a `+`.
pub fn caller(token: &str) -> Option<Caller> {
    let (name, held) = token.split_once('+').unwrap_or((token, ""));
    let permissions: Vec<String> = held.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
    let (environment, session) = (EnvId(1), SessionId(3));
    Some(match name {
        "client" => Caller::Client { environment, client_id: "skc_1".to_owned() },
        "organization-client" => Caller::OrganizationClient {
            environment,
            organization: OrganizationId(2),
            client_id: "m2morg_1".to_owned(),
        },
        "user" => Caller::User { environment, user: UserId(4), organization: None, session, permissions },
        "session" => Caller::Session { environment, user: UserId(4), organization: None, session, permissions },
        "portal" => Caller::Portal { environment, organization: OrganizationId(2), session, features: vec![] },
        "member" => Caller::Member { workspace: WorkspaceId(1), member: MemberId(5), permissions },
        "account" => Caller::ConnectedAccount { environment, connected_account: ConnectedAccountId(6), session },
        _ => return None,
    })
}

/// What the gate was told of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub route: &'static str,
    pub method: Option<usize>,
    pub transport: Transport,
    pub kind: Option<Kind>,
    pub code: &'static str,
    pub status: u16,
    pub caller: &'static str,
    pub request_id: String,
    pub environment: Option<EnvId>,
    pub api_version: Option<u32>,
    pub cause: Option<String>,
}

#[derive(Default)]
pub struct TestGate {
    pub seen: Mutex<Vec<Seen>>,
    /// Requests that are admitted before the limit strikes; 0 is no limit.
    pub limit: AtomicU32,
    pub admitted: AtomicU32,
}

impl Gate for TestGate {
    async fn environment(&self, host: &str, _: &Connection) -> Result<Arc<Environment>, Error> {
        match host {
            "env.test" | "env.test:8443" => Ok(environment(1, "env.test")),
            "other.test" => Ok(environment(2, "other.test")),
            "product.test" => Ok(product()),
            _ => Err(Error::not_found("environment")),
        }
    }

    async fn authenticate(
        &self,
        environment: &Arc<Environment>,
        credentials: Credentials<'_>,
        env_domain: Option<&str>,
        _: IpAddr,
        _: &mut RateLimitInfo,
    ) -> Result<(Caller, Arc<Environment>), Error> {
        let bearers = credentials.bearers;
        if bearers.is_empty() {
            return Err(Error::unauthenticated("Token empty"));
        }
        let caller =
            bearers.iter().find_map(|token| caller(token)).ok_or_else(|| Error::unauthenticated("invalid token"))?;
        // A caller of another environment is unknown here.
        let own = matches!(caller, Caller::Member { .. }) || environment.id == EnvId(1) || environment.is_system;
        if !own {
            return Err(Error::unauthenticated("invalid token"));
        }
        let chosen = match env_domain {
            Some("other.test") if matches!(caller, Caller::Member { .. }) => self::environment(2, "other.test"),
            _ => Arc::clone(environment),
        };
        Ok((caller, chosen))
    }

    fn admit(
        &self,
        _: &'static Method,
        _: &Arc<Environment>,
        caller: Option<&Caller>,
        _: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> Result<(), Error> {
        assert!(caller.is_none());
        let admitted = self.admitted.fetch_add(1, Ordering::Relaxed) + 1;
        let limit = self.limit.load(Ordering::Relaxed);
        *rate = RateLimitInfo { limit, remaining: limit.saturating_sub(admitted), reset_seconds: 60 };
        if limit > 0 && admitted > limit { Err(Error::rate_limited(7)) } else { Ok(()) }
    }

    fn observe(&self, outcome: &Outcome<'_>) {
        self.seen.lock().unwrap().push(Seen {
            route: outcome.route,
            method: outcome.method.map(|method| method.index),
            transport: outcome.transport,
            kind: outcome.kind,
            code: outcome.code,
            status: outcome.status,
            caller: outcome.caller,
            request_id: outcome.request_id.to_owned(),
            environment: outcome.environment,
            api_version: outcome.api_version,
            cause: outcome.error.and_then(Error::cause).map(ToString::to_string),
        });
    }
}

/// A pipeline and what its gate saw.
pub struct World {
    pub gate: Arc<TestGate>,
    pub pipeline: Arc<Pipeline<Arc<TestGate>>>,
}

pub fn connection() -> Connection {
    Connection { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: true, listener: "test".into() }
}

impl World {
    pub fn new(rpcs: Rpcs) -> Self {
        Self::with(rpcs, Limits::default())
    }

    pub fn with(rpcs: Rpcs, limits: Limits) -> Self {
        let gate = Arc::new(TestGate::default());
        let pipeline = Pipeline::new(Arc::clone(&gate), rpcs, limits, Random::seeded(1)).expect("the table is sound");
        Self { gate, pipeline: Arc::new(pipeline) }
    }

    /// Sends a request; `None` if its path is no RPC route.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        match self.pipeline.handle(request, &connection()).await {
            Ok(response) => Some(Answer::of(response).await),
            Err(_) => None,
        }
    }

    pub async fn rest(&self, token: Option<&str>, verb: &str, target: &str, body: impl Into<Bytes>) -> Answer {
        let request = rest(token, verb, target).body(Full::new(body.into())).unwrap();
        self.send(request).await.unwrap_or_else(|| panic!("{verb} {target} is no route"))
    }

    pub async fn grpc(&self, token: Option<&str>, path: &str, message: &[u8]) -> Answer {
        self.send(grpc(token, path).body(Full::new(frame(message))).unwrap()).await.expect("gRPC is always answered")
    }

    /// The one request since the last call.
    pub fn seen(&self) -> Seen {
        let mut seen = self.gate.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "each request is observed once: {seen:?}");
        seen.remove(0)
    }
}

pub fn rest(token: Option<&str>, verb: &str, target: &str) -> http::request::Builder {
    let mut builder = Request::builder()
        .method(verb)
        .uri(target)
        .header("host", "env.test")
        .header("content-type", "application/json");
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder
}

pub fn grpc(token: Option<&str>, path: &str) -> http::request::Builder {
    let mut builder = Request::builder()
        .version(Version::HTTP_2)
        .method("POST")
        .uri(format!("https://env.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder
}

pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// A response, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body: Bytes,
}

impl Answer {
    pub async fn of(response: Response<RpcBody>) -> Self {
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned();
        Self { status: parts.status.as_u16(), headers: parts.headers, trailers, body: collected.to_bytes() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// gRPC status, wherever it stands.
    pub fn grpc_status(&self) -> i32 {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        trailers["grpc-status"].to_str().unwrap().parse().unwrap()
    }

    /// The message of a gRPC success.
    pub fn grpc_message(&self) -> Bytes {
        assert_eq!((self.status, self.grpc_status()), (200, 0), "{self:?}");
        let (prefix, message) = self.body.split_at(5);
        assert_eq!(prefix[0], 0);
        assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
        self.body.slice(5..)
    }

    /// The details of a gRPC error, after checking what every SDK relies on: HTTP 200, the same code and message in headers and
    /// status, ErrorInfo first.
    pub fn grpc_error(&self) -> (Status, narthex_api::scalekit::v1::errdetails::ErrorInfo) {
        assert_eq!(self.status, 200);
        assert!(self.body.is_empty() && self.trailers.is_none(), "errors are trailers-only");
        let details = self.header("grpc-status-details-bin").expect("details");
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
        let status: Status = prost::Message::decode(&details[..]).unwrap();
        assert_eq!(status.code, self.grpc_status());
        let message = percent_encoding::percent_decode_str(self.header("grpc-message").unwrap()).decode_utf8().unwrap();
        assert_eq!(status.message, message);
        assert_eq!(status.details[0].type_url, "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo");
        let info: narthex_api::scalekit::v1::errdetails::ErrorInfo =
            prost::Message::decode(&status.details[0].value[..]).unwrap();
        assert!(!info.error_code.is_empty());
        (status, info)
    }
}
