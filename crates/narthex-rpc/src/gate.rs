//! What the pipeline asks of the server around it, and what it tells.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use narthex_api::contract::Method;
use narthex_core::ids::EnvId;
use narthex_core::{Caller, Error, Kind};

use crate::Environment;

/// Where a request came in. Built per request: the peer is already resolved through the trusted proxies.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Address of the client.
    pub peer: IpAddr,
    /// Whether the client speaks TLS (to us or to a trusted proxy).
    pub tls: bool,
    /// Name of the listener, e.g. `dev`.
    pub listener: Arc<str>,
}

/// State of a rate limit after a request was admitted or refused, for the `ratelimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimitInfo {
    /// Requests per window; 0 if nothing limits.
    pub limit: u32,
    /// Requests left in it.
    pub remaining: u32,
    /// Seconds until it is full again.
    pub reset_seconds: u32,
}

impl RateLimitInfo {
    /// Nothing limits.
    pub const UNLIMITED: Self = Self { limit: 0, remaining: 0, reset_seconds: 0 };

    /// Writes the `ratelimit-*` headers, of an answer and of a refusal alike.
    pub fn write(self, headers: &mut HeaderMap) {
        if self.limit > 0 {
            headers.insert(RATELIMIT_LIMIT, self.limit.into());
            headers.insert(RATELIMIT_REMAINING, self.remaining.into());
            headers.insert(RATELIMIT_RESET, self.reset_seconds.into());
        }
    }
}

const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// What a request shows of its caller.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// Bearer tokens, in order.
    pub bearers: &'a [&'a str],
    /// Cookies, if no other site can have made the browser send them (see [`crate::Browser::cookies`]).
    pub cookies: Option<&'a str>,
}

/// The decisions that need state.
pub trait Gate: Send + Sync + 'static {
    /// The environment that a Host names; NOT_FOUND for a host that is not registered (DNS rebinding).
    fn environment(
        &self,
        host: &str,
        connection: &Connection,
    ) -> impl Future<Output = Result<Arc<Environment>, Error>> + Send;

    /// Who holds the first valid one of the bearer tokens, or else the session of the cookies, and the environment they act in. UNAUTHENTICATED if none is valid,
    /// with the message `Token empty` if there is none. `env_domain` is the header `x-env-domain`, which chooses the environment
    /// of an operator. PERMISSION_DENIED if the caller may not call from `peer`. `rate` becomes the state of the limit that the caller is
    /// counted against.
    fn authenticate(
        &self,
        host_environment: &Arc<Environment>,
        credentials: Credentials<'_>,
        env_domain: Option<&str>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> impl Future<Output = Result<(Caller, Arc<Environment>), Error>> + Send;

    /// Counts the request against the rate limits, once, before its caller is known (`caller` is `None`). `rate` becomes the state of that
    /// limit, in a refusal too.
    fn admit(
        &self,
        method: &'static Method,
        environment: &Arc<Environment>,
        caller: Option<&Caller>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> Result<(), Error>;

    /// Told once per request, at the end: metrics and access log.
    fn observe(&self, outcome: &Outcome<'_>);
}

impl<G: Gate> Gate for Arc<G> {
    fn environment(
        &self,
        host: &str,
        connection: &Connection,
    ) -> impl Future<Output = Result<Arc<Environment>, Error>> + Send {
        G::environment(self, host, connection)
    }

    fn authenticate(
        &self,
        host_environment: &Arc<Environment>,
        credentials: Credentials<'_>,
        env_domain: Option<&str>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> impl Future<Output = Result<(Caller, Arc<Environment>), Error>> + Send {
        G::authenticate(self, host_environment, credentials, env_domain, peer, rate)
    }

    fn admit(
        &self,
        method: &'static Method,
        environment: &Arc<Environment>,
        caller: Option<&Caller>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> Result<(), Error> {
        G::admit(self, method, environment, caller, peer, rate)
    }

    fn observe(&self, outcome: &Outcome<'_>) {
        G::observe(self, outcome);
    }
}

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// gRPC over HTTP/2 or inside HTTP/1.1.
    Grpc,
    /// JSON.
    Rest,
}

/// What became of a request. Holds nothing that a caller could fill with secrets: no URL, header or body.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The path template or gRPC path; `(unrouted)` for a gRPC path that the table does not know.
    pub route: &'static str,
    /// Verb of the binding; `POST` for gRPC.
    pub verb: &'static str,
    /// The RPC, if one was found.
    pub method: Option<&'static Method>,
    /// Transport.
    pub transport: Transport,
    /// Class of the failure; `None` on success.
    pub kind: Option<Kind>,
    /// `error_code`; `OK` on success.
    pub code: &'static str,
    /// HTTP status; always 200 for gRPC, and 499 if the client went away before there was an answer.
    pub status: u16,
    /// From routing to the last byte handed to the connection.
    pub duration: Duration,
    /// [`Caller::kind_name`]; `anonymous` if the request got no further.
    pub caller: &'static str,
    /// Id of the request.
    pub request_id: &'a str,
    /// The environment acted in, if one was found.
    pub environment: Option<EnvId>,
    /// `x-api-version` as a number, e.g. 20260716.
    pub api_version: Option<u32>,
    /// The error with its private cause.
    pub error: Option<&'a Error>,
}
