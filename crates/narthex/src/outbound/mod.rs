//! The one way in which this server calls addresses over HTTP, most of which a customer has named (DESIGN §6, mistake 12). It resolves names itself and
//! connects to the very address that it has looked at, so that no second answer of a name server counts; it follows no redirects; and
//! neither time nor size is the other side's to choose.

mod address;
mod captcha;
mod roots;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use narthex_core::outbound::{Answer, Answering, Outbound, OutboundError, Request};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) use self::address::{is_public, names_this_machine};
pub use self::captcha::captcha;
pub(crate) use self::roots::{Roots, authorities};

const USER_AGENT: &str = concat!("Narthex/", env!("CARGO_PKG_VERSION"));
/// Bytes of the head of an answer.
const HEAD_LIMIT: usize = 64 * 1024;

/// The guarded client.
pub struct GuardedClient {
    roots: Roots,
    /// Whether this is a developer's own machine: requests of DEV environments may then go to it.
    is_local: bool,
    /// Whether the operator has named every address that is called: theirs may be anywhere, as their mail server may.
    is_of_operator: bool,
}

impl GuardedClient {
    /// A client. `is_local` is for `narthex dev` alone: elsewhere this machine's loopback is somebody else's business.
    pub fn new(is_local: bool) -> Self {
        Self { roots: Roots::default(), is_local, is_of_operator: false }
    }

    /// A client for URLs of the configuration, which has seen to it that what needs TLS has it.
    pub fn of_operator() -> Self {
        Self { roots: Roots::default(), is_local: false, is_of_operator: true }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, OutboundError> {
        let target = Target::of(&request.url)?;
        let local = self.is_local && request.for_development;
        if !target.tls && !local && !self.is_of_operator {
            return Err(OutboundError::Refused("the URL must use https"));
        }
        let mut failure = OutboundError::Refused("the host's address is not a public one");
        for address in self.resolve(&target, local).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.over(stream, target, request).await,
                Err(error) => failure = OutboundError::Failed(format!("no connection: {}", error.kind())),
            }
        }
        Err(failure)
    }

    /// The addresses of the host that may be called.
    async fn resolve(&self, target: &Target, local: bool) -> Result<Vec<SocketAddr>, OutboundError> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let found = found.map_err(|_| OutboundError::Failed("the host name cannot be resolved".to_owned()))?;
        let is_allowed = |address: &SocketAddr| {
            self.is_of_operator
                || is_public(address.ip())
                || local && (address.ip().is_loopback() && target.names_this_machine())
        };
        Ok(found.filter(is_allowed).collect())
    }

    async fn over(&self, stream: TcpStream, target: Target, request: Request) -> Result<Answer, OutboundError> {
        if !target.tls {
            return send(stream, &target, request).await;
        }
        let config = self.roots.config().map_err(OutboundError::Failed)?;
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| OutboundError::Refused("the URL's host is malformed"))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        send(stream.map_err(|error| OutboundError::Failed(format!("no TLS connection: {error}")))?, &target, request)
            .await
    }
}

impl fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClient").field("is_local", &self.is_local).finish_non_exhaustive()
    }
}

impl Outbound for GuardedClient {
    fn send(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            match tokio::time::timeout(request.timeout, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(OutboundError::Failed("the answer took too long".to_owned())),
            }
        })
    }
}

/// `narthex dev` calls its own machine for DEV environments; `narthex serve` never does.
pub fn client(is_local: bool) -> Arc<dyn Outbound> {
    Arc::new(GuardedClient::new(is_local))
}

/// A URL, taken apart.
struct Target {
    tls: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As the `Host` header has it.
    authority: String,
    /// Path and query.
    path: String,
}

impl Target {
    fn of(url: &str) -> Result<Self, OutboundError> {
        let malformed = || OutboundError::Refused("the URL is malformed");
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(OutboundError::Refused("the URL must use https")),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        // A user name before the host is there to be read as the host.
        if authority.as_str().contains('@') {
            return Err(OutboundError::Refused("the URL must not have a user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            tls,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            host,
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        })
    }

    /// Whether the URL says that it means this machine. A name of the open network that resolves to it does not.
    fn names_this_machine(&self) -> bool {
        names_this_machine(&self.host)
    }
}

async fn send<S>(stream: S, target: &Target, request: Request) -> Result<Answer, OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| OutboundError::Failed(format!("no answer: {error}"));
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| OutboundError::Refused("the method is malformed"))?;
    let mut message = http::Request::builder()
        .method(method)
        .uri(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
        .header(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &request.headers {
        message = message.header(*name, value);
    }
    let message = message
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|_| OutboundError::Refused("the request is malformed"))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_LIMIT);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Ends with the connection, and the connection with the sender.
    let driver = tokio::spawn(connection);
    let outcome = async {
        let response = sender.send_request(message).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, request.most).collect().await;
        let body = body.map_err(|_| OutboundError::Failed("the answer is too large or broke off".to_owned()))?;
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = head.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
        Ok(Answer { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
    }
    .await;
    driver.abort();
    outcome
}

#[cfg(test)]
mod tests;
