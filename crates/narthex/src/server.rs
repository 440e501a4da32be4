//! From a request to what answers it: RPCs go through the pipeline of `narthex-rpc`, everything else is a short list of paths.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use narthex_core::environments::{self, Environment};
use narthex_core::ids::ResourceId;
use narthex_core::{Error, Kind};
use narthex_rpc::{Connection, Limits, Pipeline, Rpcs, StartError};

use crate::gate::{self, Access, Gate, State};
use crate::listen::proxies::Proxies;
use crate::listen::{Door, Peer, Service};
use crate::metrics::{Route, Row};
use crate::reply::{self, Body};
use crate::{dev, health, login, metrics_page, oauth, pages, uploads};

/// Answers every request of every listener.
pub struct Server {
    state: Arc<State>,
    pipeline: Pipeline<Gate>,
    proxies: Proxies,
    /// `Connection::listener` per door, made once.
    doors: Vec<(Door, Arc<str>)>,
}

impl Server {
    /// A server for these RPCs.
    pub fn new(state: Arc<State>, rpcs: Rpcs, proxies: Proxies) -> Result<Self, StartError> {
        let random = state.core.random.clone();
        let pipeline = Pipeline::new(Gate(state.clone()), rpcs, Limits::default(), random)?;
        let doors = Door::ALL.into_iter().map(|door| (door, Arc::from(door.name()))).collect();
        Ok(Self { state, pipeline, proxies, doors })
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let started = Instant::now();
        if let Some(route) = match peer.door {
            Door::Admin => Some(Route::Admin),
            Door::Redirect => Some(Route::Redirect),
            _ => None,
        } {
            let response =
                if route == Route::Admin { self.admin(&request).await } else { self.redirect(&request).await };
            let request_id = self.request_id(request.headers());
            return self.observe(route, request.method(), None, started, response, &request_id);
        }
        let (client, tls) = self.see_through_proxies(&mut request, peer);
        let route = route(request.uri().path(), peer.door);
        let Some(route) = route else {
            let connection = Connection { peer: client, tls, listener: self.door(peer.door) };
            return match self.pipeline.handle(request, &connection).await {
                Ok(response) => response.map(Body::Rpc),
                Err(request) => {
                    let request_id = self.request_id(request.headers());
                    let response = match self.environment(&request, peer.door).await {
                        Ok(_) => reply::not_found(),
                        Err(error) => refused(&error),
                    };
                    self.observe(Route::Unmatched, request.method(), None, started, response, &request_id)
                }
            };
        };
        let request_id = self.request_id(request.headers());
        let method = request.method().clone();
        // A body that trickles in must not hold a connection's slot for ever; RPCs have a deadline of their own.
        let answered = tokio::time::timeout(PATIENCE, Box::pin(self.fixed(route, request, peer, client))).await;
        let (environment, response) = answered.unwrap_or_else(|_| {
            (None, reply::plain_error(StatusCode::REQUEST_TIMEOUT, 4, "DEADLINE_EXCEEDED", "the request took too long"))
        });
        self.observe(route, &method, environment.as_deref(), started, response, &request_id)
    }

    /// Answers a path that is no RPC.
    async fn fixed(
        &self,
        route: Route,
        request: Request<Incoming>,
        peer: &Peer,
        client: IpAddr,
    ) -> (Option<Arc<Environment>>, Response<Body>) {
        // Probes of a load balancer carry the node's address as Host, and learn nothing but one word.
        let open_to_any_host =
            matches!(route, Route::Healthz | Route::Readyz | Route::GrpcHealth) && !peer.door.is_dev();
        let environment = if open_to_any_host {
            None
        } else {
            match self.environment(&request, peer.door).await {
                Ok(environment) => Some(environment),
                Err(error) => return (None, refused(&error)),
            }
        };
        let response = match (route, &environment) {
            (Route::Token, Some(environment)) => oauth::token(&self.state, environment, request, client).await,
            (Route::Register, Some(environment)) => {
                let path = single_slashes(request.uri().path());
                let resource = oauth::registration_resource(&path).and_then(ResourceId::parse);
                oauth::register(&self.state, environment, resource, request, client).await
            }
            // Boxed: asked for less often than the one above, and larger.
            (Route::ResourceToken, Some(environment)) => {
                Box::pin(oauth::resource_token(&self.state, environment, request, client)).await
            }
            (Route::UserInfo, Some(environment)) => {
                Box::pin(oauth::userinfo(&self.state, environment, request, client)).await
            }
            (Route::Introspect, Some(environment)) => {
                Box::pin(oauth::introspect(&self.state, environment, request, client)).await
            }
            (Route::Revoke, Some(environment)) => {
                Box::pin(oauth::revoke(&self.state, environment, request, client)).await
            }
            (Route::Keys, Some(environment)) => oauth::keys(&self.state.core, environment, request.method()).await,
            (Route::OpenIdConfiguration | Route::OAuthMetadata, Some(environment)) => {
                oauth::discovery(&self.state.core, environment, request.method()).await
            }
            (Route::Healthz, _) => get_only(&request).unwrap_or_else(health::healthz),
            (Route::Readyz, _) => match get_only(&request) {
                Some(refusal) => refusal,
                None => health::readyz(&self.state, false).await,
            },
            (Route::GrpcHealth, _) => health::grpc(&self.state, request).await,
            (Route::Assets, Some(_)) => {
                self.state.assets.serve(request.method(), request.uri().path(), request.headers())
            }
            (Route::Uploads, Some(environment)) => uploads::serve(&self.state.core, environment, request).await,
            (Route::Dev, Some(_)) => dev::serve(&self.state, request, peer).await,
            (
                Route::Logout
                | Route::Authorize
                | Route::ResourceAuthorize
                | Route::LoginPages
                | Route::MagicLink
                | Route::Invitation
                | Route::Profile
                | Route::Operator,
                Some(environment),
            ) => login::serve(&self.state, environment, route, request, client).await,
            _ => reply::not_found(),
        };
        (environment, response)
    }

    /// The admin listener: details for operators, metrics.
    async fn admin(&self, request: &Request<Incoming>) -> Response<Body> {
        if let Some(refusal) = get_only(request) {
            return refusal;
        }
        match request.uri().path() {
            // Once it listens, it has started.
            "/healthz" | "/startupz" => health::healthz(),
            "/readyz" => health::readyz(&self.state, true).await,
            "/version" => health::version(),
            "/metrics" => metrics_page::serve(&self.state).await,
            _ => reply::not_found(),
        }
    }

    /// Sends browsers from http to the origin of the environment that they named; to no Host that is not registered. Anything but a
    /// plain visit is refused: it has put its credentials on the wire in clear already.
    async fn redirect(&self, request: &Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return reply::plain_error(StatusCode::FORBIDDEN, 7, "PERMISSION_DENIED", "https is required");
        }
        let environment = match self.environment_in_plain(request).await {
            Ok(environment) => environment,
            Err(error) => return refused(&error),
        };
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let Ok(location) = HeaderValue::from_str(&format!("{}{path}", environment.origin)) else {
            return reply::not_found();
        };
        let mut response = reply::empty(StatusCode::PERMANENT_REDIRECT);
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    /// The environment of a Host whose port is the plain listener's.
    async fn environment_in_plain(&self, request: &Request<Incoming>) -> Result<Arc<Environment>, Error> {
        let unknown = || Error::new(Kind::NotFound, "no environment at this host");
        let host = host(request).ok_or_else(unknown)?;
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
        let core = &self.state.core;
        if let Some(environment) = environments::by_host(core, name).await? {
            return Ok(environment);
        }
        // Origins with a port of their own all have that of the product's own environment.
        let system = environments::system(core).await?.ok_or_else(unknown)?;
        let (_, port) = system.domain.rsplit_once(':').ok_or_else(unknown)?;
        environments::by_host(core, &format!("{name}:{port}")).await?.ok_or_else(unknown)
    }

    /// Who the client is and whether it uses TLS, as far as trusted proxies say; the Host that they forward replaces theirs.
    fn see_through_proxies(&self, request: &mut Request<Incoming>, peer: &Peer) -> (IpAddr, bool) {
        if self.proxies.trusted.is_empty() {
            return (peer.address, peer.tls);
        }
        let seen = self.proxies.resolve(peer.address, request.headers());
        if let Some(host) = seen.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
            if let Some(path) = request.uri().path_and_query().cloned()
                && let Ok(uri) = Uri::builder().path_and_query(path).build()
            {
                *request.uri_mut() = uri;
            }
            request.headers_mut().insert(header::HOST, host);
        }
        (seen.client, seen.https.unwrap_or(peer.tls))
    }

    async fn environment(&self, request: &Request<Incoming>, door: Door) -> Result<Arc<Environment>, Error> {
        let host = host(request).ok_or_else(|| Error::new(Kind::NotFound, "no environment at this host"))?;
        self.state.environment(host, door).await
    }

    fn door(&self, door: Door) -> Arc<str> {
        self.doors
            .iter()
            .find(|(known, _)| *known == door)
            .map_or_else(|| Arc::from(door.name()), |(_, name)| name.clone())
    }

    /// The caller's own id for the request if it has a safe form, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(reply::REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        given.map_or_else(|| self.state.core.random.base62(22), str::to_owned)
    }

    /// Metrics, access line and request id of an answer that is no RPC.
    fn observe(
        &self,
        route: Route,
        method: &Method,
        environment: Option<&Environment>,
        started: Instant,
        response: Response<Body>,
        request_id: &str,
    ) -> Response<Body> {
        let took = started.elapsed();
        self.state.metrics.request(Row::Route(route), response.status().as_u16(), "anonymous", took);
        gate::access(&Access {
            transport: "http",
            verb: method.as_str(),
            route: route.template(),
            status: response.status().as_u16(),
            code: "",
            caller: "anonymous",
            environment: environment.map(|environment| environment.id),
            request_id,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
        reply::with_request_id(response, request_id)
    }
}

impl Service for Server {
    type Body = Body;

    async fn serve(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<Body> {
        self.answer(request, &peer).await
    }
}

/// For a request that is no RPC, body included.
const PATIENCE: Duration = Duration::from_mins(1);

/// The fixed paths. SDKs double the leading slash when their base URL ends in one.
fn route(path: &str, door: Door) -> Option<Route> {
    let path = if path.contains("//") { Cow::Owned(single_slashes(path)) } else { Cow::Borrowed(path) };
    match &*path {
        "/oauth/token" => Some(Route::Token),
        "/userinfo" => Some(Route::UserInfo),
        "/oauth/introspect" => Some(Route::Introspect),
        "/revoke" => Some(Route::Revoke),
        "/oidc/logout" => Some(Route::Logout),
        "/keys" | "/.well-known/jwks.json" => Some(Route::Keys),
        "/.well-known/openid-configuration" => Some(Route::OpenIdConfiguration),
        "/.well-known/oauth-authorization-server" => Some(Route::OAuthMetadata),
        "/healthz" => Some(Route::Healthz),
        "/readyz" => Some(Route::Readyz),
        "/metrics" if door == Door::DevPlain => Some(Route::Dev),
        "/oauth/authorize" => Some(Route::Authorize),
        path if oauth::registration_resource(path).is_some() => Some(Route::Register),
        path if path.starts_with(pages::ASSETS) => Some(Route::Assets),
        path if path.starts_with(uploads::PREFIX) => Some(Route::Uploads),
        path if path.starts_with("/a/") => Some(Route::LoginPages),
        path if path == "/operator" || path.starts_with("/operator/") => Some(Route::Operator),
        path if path.starts_with("/magicLink/") => Some(Route::MagicLink),
        path if path.starts_with("/invite/") => Some(Route::Invitation),
        path if path.starts_with("/ui/profile/") => Some(Route::Profile),
        path if path.starts_with("/resources/") && path.ends_with("/oauth/token") => Some(Route::ResourceToken),
        path if path.starts_with("/resources/") && path.ends_with("/oauth/authorize") => Some(Route::ResourceAuthorize),
        path if path.starts_with(health::GRPC_PREFIX) => Some(Route::GrpcHealth),
        path if door.is_dev() && (path == "/dev" || path.starts_with("/dev/")) => Some(Route::Dev),
        _ => None,
    }
}

fn single_slashes(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !text.ends_with('/') {
            text.push(c);
        }
    }
    text
}

/// The one Host of a request: the authority of its target, else its Host header. Two of them are none.
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    host_in(request.uri(), request.headers())
}

/// [`host`] of a request that has been taken apart.
pub fn host_of(parts: &http::request::Parts) -> Option<&str> {
    host_in(&parts.uri, &parts.headers)
}

fn host_in<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() { None } else { Some(host) }
}

fn get_only(request: &Request<Incoming>) -> Option<Response<Body>> {
    let allowed = matches!(*request.method(), Method::GET | Method::HEAD);
    (!allowed).then(|| reply::method_not_allowed("GET, HEAD"))
}

fn refused(error: &Error) -> Response<Body> {
    if error.kind() == Kind::NotFound {
        return reply::not_found();
    }
    tracing::error!(?error, "the environment of a request cannot be read");
    reply::plain_error(StatusCode::SERVICE_UNAVAILABLE, 14, "UNAVAILABLE", "temporarily unavailable, retry")
}
