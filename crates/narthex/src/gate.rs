//! What the RPC pipeline asks of this server, and the state that every request shares.

use std::net::IpAddr;
use std::sync::Arc;

use narthex_api::contract::Method;
use narthex_core::caller::kind;
use narthex_core::environments::{self, Environment};
use narthex_core::ids::EnvId;
use narthex_core::{Caller, Core, Error, Kind, clients, sessions, tokens};
use narthex_rpc::{Connection, Credentials, Outcome, RateLimitInfo};

use crate::dev::Helpers;
use crate::limits::{self, Bucket, Exceeded, Limiter, Scope};
use crate::listen::Door;
use crate::listen::drain::Drain;
use crate::metrics::{Metrics, Row};
use crate::pages::Assets;

/// Shared by all requests.
pub struct State {
    /// The product.
    pub core: Arc<Core>,
    /// Counters.
    pub metrics: Metrics,
    /// Rate limits.
    pub limiter: Limiter,
    /// The stop.
    pub drain: Drain,
    /// Stylesheet, script and icon of the hosted pages.
    pub assets: Assets,
    /// What only `narthex dev` has.
    pub dev: Option<Helpers>,
}

impl State {
    /// The environment that a request's Host names. In `narthex dev` each door has its environment, and any loopback name opens it;
    /// every other Host is a page in somebody's browser that was pointed at this address (DNS rebinding).
    pub async fn environment(&self, host: &str, door: Door) -> Result<Arc<Environment>, Error> {
        let found = match self.dev.as_ref().filter(|_| door.is_dev()) {
            Some(dev) if is_loopback_name(host) => environments::by_id(&self.core, dev.environment(door)).await?,
            // `auth.localhost` is a loopback name as well, which no page can point elsewhere (RFC 6761 §6.3).
            Some(_) => {
                environments::system(&self.core).await?.filter(|system| host.eq_ignore_ascii_case(&system.domain))
            }
            None => environments::by_host(&self.core, host).await?,
        };
        found.ok_or_else(|| Error::new(Kind::NotFound, "no environment at this host"))
    }

    fn count(
        &self,
        scope: Scope,
        outcome: Result<Option<Bucket>, Exceeded>,
        rate: &mut RateLimitInfo,
    ) -> Result<(), Error> {
        *rate = match &outcome {
            Ok(None) => RateLimitInfo::UNLIMITED,
            Ok(Some(bucket)) => bucket.info(),
            Err(exceeded) => exceeded.bucket.info(),
        };
        outcome.map(drop).map_err(|exceeded| {
            self.metrics.rate_limited(scope);
            Error::rate_limited(exceeded.retry_after_seconds)
        })
    }
}

/// The one cookie of a name. Of several, which a sibling domain may have set, none counts.
pub fn cookie<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    let mut values = cookies.split(';').filter_map(|pair| {
        let (given, value) = pair.trim().split_once('=')?;
        (given == name).then_some(value)
    });
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// `localhost`, `127.0.0.1` or `[::1]`, with any port.
pub fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// The pipeline's view of the server.
#[derive(Clone)]
pub struct Gate(pub Arc<State>);

impl narthex_rpc::Gate for Gate {
    async fn environment(&self, host: &str, connection: &Connection) -> Result<Arc<Environment>, Error> {
        let door = Door::named(&connection.listener).ok_or_else(|| Error::internal("a connection through no door"))?;
        self.0.environment(host, door).await
    }

    async fn authenticate(
        &self,
        host_environment: &Arc<Environment>,
        credentials: Credentials<'_>,
        env_domain: Option<&str>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> Result<(Caller, Arc<Environment>), Error> {
        let Credentials { bearers, cookies } = credentials;
        let session = match cookies.and_then(|cookies| cookie(cookies, sessions::COOKIE)).filter(|_| bearers.is_empty())
        {
            Some(value) => sessions::by_cookie(&self.0.core, host_environment.id, value).await?,
            None => None,
        };
        let found = match session {
            Some(session) => {
                (tokens::session_holder(&self.0.core, host_environment, &session).await?, Arc::clone(host_environment))
            }
            None => tokens::authenticate(&self.0.core, host_environment, bearers, env_domain).await?,
        };
        if let Caller::Client { environment, client_id } = &found.0 {
            clients::check_address(&self.0.core, *environment, client_id, peer).await?;
        }
        // Counted here and not in `admit`, which is asked before anybody is known: else a stranger could use up the allowance of an
        // environment with tokens that nobody issued.
        let State { limiter, .. } = &*self.0;
        let (caller, environment) = &found;
        let outcome = match caller {
            // At the product's own host all workspaces meet: each has an allowance of its own there.
            Caller::Member { workspace, .. } if environment.is_system => {
                limiter.admit(Scope::Api, (environment.id, workspace))
            }
            _ => limiter.admit(Scope::Api, environment.id),
        };
        self.0.count(Scope::Api, outcome, rate)?;
        Ok(found)
    }

    fn admit(
        &self,
        method: &'static Method,
        environment: &Arc<Environment>,
        _caller: Option<&Caller>,
        peer: IpAddr,
        rate: &mut RateLimitInfo,
    ) -> Result<(), Error> {
        let State { core, limiter, .. } = &*self.0;
        // A node without a lease on its number cannot make ids: what may write is refused cleanly, reads go on.
        if method.http.first().is_some_and(|binding| binding.verb != "GET") {
            core.ids.check()?;
        }
        if method.auth.kinds & kind::NONE != 0 {
            let key = (environment.id, limits::address_key(peer));
            return self.0.count(Scope::PublicPerIp, limiter.admit(Scope::PublicPerIp, key), rate);
        }
        // Whose allowance counts at the product's own host is known when the caller is.
        if environment.is_system {
            return Ok(());
        }
        self.0.count(Scope::Api, limiter.check(Scope::Api, environment.id), rate)
    }

    fn observe(&self, outcome: &Outcome<'_>) {
        let row = outcome.method.map_or(Row::Route(crate::metrics::Route::Unmatched), |method| Row::Rpc(method.index));
        // A gRPC answer is always 200; its class is what it would have been over REST.
        let status = outcome.kind.map_or(outcome.status, http_status);
        self.0.metrics.request(row, status, outcome.caller, outcome.duration);
        access(&Access {
            transport: match outcome.transport {
                narthex_rpc::Transport::Grpc => "grpc",
                narthex_rpc::Transport::Rest => "rest",
            },
            verb: outcome.verb,
            route: outcome.route,
            status,
            code: outcome.code,
            caller: outcome.caller,
            environment: outcome.environment,
            request_id: outcome.request_id,
            micros: u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX),
        });
        // 501 is an answer, not a failure: any stranger can ask for an RPC that does not exist.
        if let Some(error) = outcome.error.filter(|_| status >= 500 && status != 501) {
            // The one place where the private cause of a failed call is written.
            tracing::error!(request_id = outcome.request_id, route = outcome.route, ?error, "request failed");
        }
    }
}

/// One line of the access log. Route templates, never URLs: identifiers and codes in them would end up in every log archive.
pub struct Access<'a> {
    /// `grpc`, `rest` or `http`.
    pub transport: &'static str,
    /// HTTP method.
    pub verb: &'a str,
    /// Template.
    pub route: &'static str,
    /// HTTP status, or what it would be.
    pub status: u16,
    /// `error_code`, or `OK`.
    pub code: &'a str,
    /// Kind of caller.
    pub caller: &'static str,
    /// Environment, if one was found.
    pub environment: Option<EnvId>,
    /// Id of the request.
    pub request_id: &'a str,
    /// Microseconds.
    pub micros: u64,
}

/// Writes the line.
pub fn access(line: &Access<'_>) {
    tracing::info!(
        target: "access",
        transport = line.transport,
        verb = line.verb,
        route = line.route,
        status = line.status,
        code = line.code,
        caller = line.caller,
        environment = line.environment.map(tracing::field::display),
        request_id = line.request_id,
        micros = line.micros,
        "request"
    );
}

/// Control plane reference §15.2.
fn http_status(kind: Kind) -> u16 {
    match kind {
        Kind::InvalidArgument | Kind::FailedPrecondition | Kind::OutOfRange => 400,
        Kind::Unauthenticated => 401,
        Kind::PermissionDenied => 403,
        Kind::NotFound => 404,
        Kind::AlreadyExists | Kind::Aborted => 409,
        Kind::ResourceExhausted => 429,
        Kind::Cancelled => 499,
        Kind::Internal => 500,
        Kind::Unimplemented => 501,
        Kind::Unavailable => 503,
        Kind::DeadlineExceeded => 504,
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback_name;

    #[test]
    fn only_loopback_names_open_a_dev_door() {
        for good in ["localhost", "LOCALHOST:8443", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8443"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "127.0.0.2",
            "::1",
            "localhost:x",
            "[::2]:1",
            "localhost:1:2",
            "user@localhost",
        ] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }
}
