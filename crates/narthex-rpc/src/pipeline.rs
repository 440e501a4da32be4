//! The one pipeline: route → environment → rate limit → authenticate → kinds and permissions → built? → decode → validate → call →
//! encode. Both transports take the same steps on the same bytes; they differ in how a message is framed and an error is shown.

use std::any::Any;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderName, ORIGIN,
    USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode};
use http_body::Body;
use narthex_api::METHODS;
use narthex_api::contract::{Body as BodyRule, Method};
use narthex_core::caller::kind;
use narthex_core::{Caller, Error, Kind, Random};

use crate::access;
use crate::body::{self, Coding, RpcBody};
use crate::error::{Refusal, Scene, grpc_error, rest_refusal};
use crate::gate::{Connection, Credentials, Gate, RateLimitInfo, Transport};
use crate::grpc::{self, PREFIX};
use crate::json::{self, Emit};
use crate::registry::{Browser, Context, Rpcs};
use crate::rest;
use crate::route::{Binding, Matched, RouteConflict, Routes};
use crate::validate::{UnknownRule, Validator};
use crate::watch::{Progress, Watch};
use crate::wire;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_ENV_DOMAIN: HeaderName = HeaderName::from_static("x-env-domain");
const X_API_VERSION: HeaderName = HeaderName::from_static("x-api-version");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Route of a gRPC path that the table does not know, in logs and metrics.
const UNROUTED: &str = "(unrouted)";

/// Bearer tokens that are looked at: an unknown one costs a signature check, and no client sends more than two.
const MAX_BEARERS: usize = 4;

/// Largest unread body of a refused request that is still read, so that a client on HTTP/1.1 keeps its connection and sees the answer.
const MAX_DRAINED: u64 = 64 * 1024;

/// Bounds of one request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a message, compressed and decompressed.
    pub max_message: usize,
    /// Time for a request that sets no shorter one, body included.
    pub timeout: Duration,
    /// Whether errors carry their private cause in `debug_info`.
    pub debug_errors: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 4 * 1024 * 1024, timeout: Duration::from_mins(1), debug_errors: false }
    }
}

/// Why a pipeline cannot start: the table holds something that the runtime does not know.
#[derive(Debug)]
pub enum StartError {
    /// Two routes that cannot be told apart.
    Route(RouteConflict),
    /// A rule without an implementation.
    Rule(UnknownRule),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Route(conflict) => write!(f, "route conflict: {conflict}"),
            Self::Rule(rule) => write!(f, "validation rule: {rule}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Serves the RPCs of the table.
pub struct Pipeline<G> {
    gate: G,
    rpcs: Rpcs,
    routes: Routes,
    validator: Validator,
    limits: Limits,
    random: Random,
}

/// Where a request leads.
enum Target<'r, 'p> {
    Grpc(&'static Method),
    Rest(&'r Binding, Vec<Cow<'p, str>>),
    Refused(Refusal),
}

impl<G: Gate> Pipeline<G> {
    /// Builds routes and validators. `random` makes request ids.
    pub fn new(gate: G, rpcs: Rpcs, limits: Limits, random: Random) -> Result<Self, StartError> {
        let routes = Routes::new(METHODS).map_err(StartError::Route)?;
        let validator = Validator::new(METHODS).map_err(StartError::Rule)?;
        Ok(Self { gate, rpcs, routes, validator, limits, random })
    }

    /// The gate, for the rest of the server.
    pub fn gate(&self) -> &G {
        &self.gate
    }

    /// Serves a request. `Err` gives it back: its path is no RPC route, and others may take it.
    pub async fn handle<B>(&self, request: Request<B>, connection: &Connection) -> Result<Response<RpcBody>, Request<B>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let transport = if grpc::is_grpc(&parts.headers) { Transport::Grpc } else { Transport::Rest };
        let Some(target) = self.target(&parts, transport) else { return Err(Request::from_parts(parts, body)) };
        let (route, verb, method) = match &target {
            Target::Grpc(method) => (method.path, "POST", Some(*method)),
            Target::Rest(binding, _) => (binding.http.template, binding.http.verb, Some(binding.method)),
            Target::Refused(_) => (UNROUTED, "", None),
        };
        let request_id = self.request_id(&parts.headers);
        let mut watch = Watch {
            gate: &self.gate,
            started,
            route,
            verb,
            method,
            transport,
            request_id: Arc::clone(&request_id),
            api_version: api_version(&parts.headers),
            progress: Progress::default(),
            reported: false,
        };
        let answer = {
            let mut body = Some(body);
            let serving = AssertUnwindSafe(async {
                let answer = self.serve(target, &parts, &mut body, connection, &request_id, &mut watch.progress).await;
                if let (Err(_), Some(body)) = (&answer, body.take()) {
                    drain(body).await;
                }
                answer
            });
            serving.catch_unwind().await.unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic)).into()))
        };
        let (mut response, error) = match answer {
            Ok(output) => {
                let response = match transport {
                    Transport::Grpc => grpc::success(output, parts.version),
                    Transport::Rest => json_response(output, method.is_some_and(|method| method.created)),
                };
                (response, None)
            }
            Err(refusal) => {
                let scene = Scene {
                    request_id: &request_id,
                    caller: watch.progress.caller.as_ref(),
                    accept_language: parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()),
                    debug: self.limits.debug_errors,
                };
                let response = match transport {
                    Transport::Grpc => grpc_error(&refusal.error, &scene),
                    Transport::Rest => rest_refusal(&refusal, &scene),
                };
                (response, Some(refusal.error))
            }
        };
        finish_headers(response.headers_mut(), &request_id, watch.progress.rate);
        watch.report(response.status().as_u16(), error.as_ref());
        Ok(response)
    }

    fn target<'p>(&self, parts: &'p Parts, transport: Transport) -> Option<Target<'_, 'p>> {
        let matched = self.routes.find(parts.method.as_str(), parts.uri.path());
        let blocked = |method: &Method| method.auth.kinds == kind::BLOCKED;
        Some(match (matched, transport) {
            (Some(Matched::Grpc(method)), Transport::Grpc) if parts.method == Verb::POST && !blocked(method) => {
                Target::Grpc(method)
            }
            // A gRPC client must never see an HTTP error: it would take it for a broken network and resend.
            (_, Transport::Grpc) => {
                Target::Refused(Error::new(Kind::Unimplemented, "unknown service or method").into())
            }
            (Some(Matched::Grpc(_)), Transport::Rest) if parts.method == Verb::POST => {
                Target::Refused(rest::unsupported_media_type("the content type must be application/grpc"))
            }
            (Some(Matched::Grpc(_)), Transport::Rest) => Target::Refused(wrong_verb(&["POST"])),
            (Some(Matched::Rest(binding, _)), Transport::Rest) if blocked(binding.method) => {
                Target::Refused(Error::new(Kind::NotFound, "not found").into())
            }
            (Some(Matched::Rest(binding, values)), Transport::Rest) => Target::Rest(binding, values),
            (Some(Matched::OtherVerbs(verbs)), Transport::Rest) => Target::Refused(wrong_verb(&verbs)),
            (None, Transport::Rest) => return None,
        })
    }

    /// All steps after routing. The answer is JSON, or a gRPC message with room for its prefix.
    async fn serve<B>(
        &self,
        target: Target<'_, '_>,
        parts: &Parts,
        body: &mut Option<B>,
        connection: &Connection,
        request_id: &Arc<str>,
        progress: &mut Progress,
    ) -> Result<Vec<u8>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let method = match &target {
            Target::Grpc(method) => method,
            Target::Rest(binding, _) => binding.method,
            Target::Refused(_) => {
                let Target::Refused(refusal) = target else { return Err(Error::internal("no target").into()) };
                return Err(refusal);
            }
        };
        let headers = &parts.headers;
        let asked = if matches!(target, Target::Grpc(_)) { grpc::timeout(headers) } else { Ok(None) };
        let longest = self.limits.timeout;
        let deadline = Instant::now() + asked.as_ref().ok().copied().flatten().unwrap_or(longest).min(longest);
        let steps = async {
            self.authorize(method, parts, &target, connection, progress).await?;
            let Progress { caller: Some(caller), environment: Some(environment), .. } = &*progress else {
                return Err(Error::internal("authorized without a caller").into());
            };
            if !self.rpcs.is_built(method.index) {
                return Err(Error::new(Kind::Unimplemented, "not implemented yet").into());
            }
            asked?;
            let context = Context {
                caller: caller.clone(),
                environment: Arc::clone(environment),
                request_id: Arc::clone(request_id),
                idempotency_key: idempotency_key(headers)?,
                peer: connection.peer,
                deadline: Some(deadline),
                browser: Browser {
                    cookies: own_cookies(parts, &target),
                    user_agent: headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned),
                },
            };
            let message = match body.take() {
                Some(body) => self.decode(&target, parts, body).await?,
                None => Bytes::new(),
            };
            let violations = self.validator.check(method.input, &message);
            if !violations.is_empty() {
                return Err(Error::violations(violations).into());
            }
            let answer = self.rpcs.call(method.index, context, message);
            let framed = answer.ok_or_else(|| Error::new(Kind::Unimplemented, "not implemented yet"))?.await?;
            if matches!(target, Target::Grpc(_)) {
                return Ok(framed);
            }
            Ok(json::encode(method.output, &framed[PREFIX..], Emit::Defaults).map_err(Error::internal)?)
        };
        match tokio::time::timeout_at(deadline.into(), steps).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(Kind::DeadlineExceeded, "the deadline has passed").into()),
        }
    }

    /// Environment, rate limit, caller, kind and permissions: everything that headers and the table decide.
    async fn authorize(
        &self,
        method: &'static Method,
        parts: &Parts,
        target: &Target<'_, '_>,
        connection: &Connection,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let host = host(parts).ok_or_else(|| Error::not_found("environment"))?;
        let environment = self.gate.environment(host, connection).await?;
        progress.environment = Some(Arc::clone(&environment));
        self.gate.admit(method, &environment, None, connection.peer, &mut progress.rate)?;
        if method.auth.kinds & kind::NONE != 0 {
            progress.caller = Some(Caller::Anonymous);
            return Ok(());
        }
        let bearers: Vec<&str> = bearers(&parts.headers).take(MAX_BEARERS).collect();
        let env_domain = parts.headers.get(X_ENV_DOMAIN).and_then(|value| value.to_str().ok());
        let cookies = own_cookies(parts, target);
        let credentials = Credentials { bearers: &bearers, cookies: cookies.as_deref() };
        let rate = &mut progress.rate;
        let (caller, environment) =
            self.gate.authenticate(&environment, credentials, env_domain, connection.peer, rate).await?;
        let environment = progress.environment.insert(environment);
        access::check(method, progress.caller.insert(caller), environment)
    }

    /// The request's message as wire bytes that every later step can rely on.
    async fn decode<B>(&self, target: &Target<'_, '_>, parts: &Parts, body: B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = self.limits.max_message;
        match target {
            Target::Grpc(method) => {
                let framed = body::read(body, limit + PREFIX).await?;
                let message = grpc::unframe(&framed, &parts.headers, limit)?;
                wire::check(method.input, &message).map_err(Error::from)?;
                Ok(message)
            }
            Target::Rest(binding, values) => {
                let body = body::read(body, limit).await?;
                let body = if body.is_empty() || binding.http.body == BodyRule::None {
                    Bytes::new()
                } else {
                    rest::check_content_type(&parts.headers)?;
                    let mut encodings = parts.headers.get_all(CONTENT_ENCODING).iter();
                    let coding = match (encodings.next(), encodings.next()) {
                        (None, _) => Some(Coding::Identity),
                        (Some(name), None) => name.to_str().ok().and_then(Coding::named),
                        (Some(_), Some(_)) => None,
                    };
                    let unknown =
                        || rest::unsupported_media_type("the content encoding must be gzip, deflate or identity");
                    coding.ok_or_else(unknown)?.decompress(body, limit)?
                };
                let message = rest::assemble(binding, values, parts.uri.query(), &body).map_err(Error::from)?;
                Ok(message.into())
            }
            Target::Refused(_) => Err(Error::internal("decoding a refused request").into()),
        }
    }

    /// The caller's `x-request-id`, if it is harmless in logs, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> Arc<str> {
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        let harmless = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        match given.filter(harmless) {
            Some(id) => id.into(),
            None => self.random.base62(22).into(),
        }
    }
}

fn finish_headers(headers: &mut HeaderMap, request_id: &str, rate: RateLimitInfo) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    rate.write(headers);
}

fn json_response(json: Vec<u8>, created: bool) -> Response<RpcBody> {
    let mut response = Response::new(RpcBody::full(json));
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Replies carry secrets and personal data: no cache on the way may keep them, no browser guess a type.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 405 with the verbs that the path has.
fn wrong_verb(verbs: &[&str]) -> Refusal {
    Refusal {
        error: Error::new(Kind::Unimplemented, "the path does not have this method"),
        status: Some(StatusCode::METHOD_NOT_ALLOWED),
        allow: Some(verbs.join(", ")),
    }
}

/// The one host that the client addressed. Two of them are none: a proxy in front may have gone by the other (RFC 9112 §3.2).
fn host(parts: &Parts) -> Option<&str> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Every bearer token of every `authorization` header, in order: Python sends two, of which the first is the fresh one.
fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    })
}

/// The cookies of a REST request that a page of this origin makes, or the user by typing an address. A browser sends them along for
/// pages of other sites and of sibling domains as well, who must not act as its user; what changes something therefore has to prove
/// where it comes from.
fn own_cookies(parts: &Parts, target: &Target<'_, '_>) -> Option<String> {
    if !matches!(target, Target::Rest(..)) || !parts.headers.contains_key(COOKIE) {
        return None;
    }
    let text = |name: &HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let is_safe = matches!(parts.method, Verb::GET | Verb::HEAD);
    let own = match (text(&SEC_FETCH_SITE), text(&ORIGIN)) {
        (Some("same-origin"), _) => true,
        (Some("none"), _) | (None, None) => is_safe,
        (Some(_), _) => false,
        (None, Some(origin)) => {
            origin.split_once("://").is_some_and(|(_, named)| host(parts).is_some_and(|host| named == host))
        }
    };
    let cookies: Vec<&str> =
        parts.headers.get_all(COOKIE).iter().filter(|_| own).filter_map(|value| value.to_str().ok()).collect();
    (!cookies.is_empty()).then(|| cookies.join("; "))
}

/// `idempotency-key`: 1 to 255 printable ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Error::new(Kind::InvalidArgument, "idempotency-key must be 1 to 255 printable ASCII characters")),
    }
}

/// `x-api-version`, only as the number it should be; anything else is accepted and not kept.
fn api_version(headers: &HeaderMap) -> Option<u32> {
    headers.get(X_API_VERSION)?.to_str().ok().filter(|text| text.len() == 8)?.parse().ok()
}

/// Reads what is left of a small body.
async fn drain<B>(body: B)
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().upper().is_some_and(|upper| upper <= MAX_DRAINED) {
        // A client that stops sending gets its answer all the same.
        drop(tokio::time::timeout(Duration::from_secs(1), body::read(body, 64 * 1024)).await);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("of unknown kind"))
}
