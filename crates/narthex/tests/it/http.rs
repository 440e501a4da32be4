//! A real HTTP client: TCP, TLS with the server's CA, HTTP/1.1 or HTTP/2, one request per connection unless a [`Connection`] is kept.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    H1,
    H2,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("an ASCII header"))
    }
}

/// A kept connection.
pub enum Connection {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Connects to a base URL; `https` trusts the CA in this file only.
    pub async fn open(base: &str, protocol: Protocol, ca: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = base.parse().expect("a base URL");
        let port = uri.port_u16().expect("a port");
        let stream =
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).expect("nodelay");
        if uri.scheme_str() == Some("https") {
            let alpn: &[u8] = if protocol == Protocol::H2 { b"h2" } else { b"http/1.1" };
            let name = ServerName::try_from(uri.host().expect("a host").to_owned()).expect("a server name");
            let connector = connector(ca.expect("a CA for https"), &[alpn]);
            let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn), "the server agrees to the protocol");
            return Self::over(stream, protocol).await;
        }
        Self::over(stream, protocol).await
    }

    /// Speaks HTTP over any stream.
    pub async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        stream: S,
        protocol: Protocol,
    ) -> Result<Self, String> {
        let text = |error: hyper::Error| error.to_string();
        Ok(match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
                tokio::spawn(connection);
                Self::H1(sender)
            }
            Protocol::H2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
                tokio::spawn(connection);
                Self::H2(sender)
            }
        })
    }

    /// Sends a request, whose URI is absolute, and reads the answer. `Err` is a request that failed on the wire.
    pub async fn send(&mut self, mut request: Request<Bytes>) -> Result<Reply, hyper::Error> {
        let response = match self {
            Self::H1(sender) => {
                let authority = request.uri().authority().expect("an absolute URI").to_string();
                if !request.headers().contains_key("host") {
                    request.headers_mut().insert("host", authority.parse().expect("a host"));
                }
                let path = request.uri().path_and_query().expect("a path").clone();
                *request.uri_mut() = Uri::from(path);
                sender.ready().await?;
                sender.send_request(request.map(Full::new)).await?
            }
            Self::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request.map(Full::new)).await?
            }
        };
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Reply { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
    }
}

/// A TLS client that trusts one CA.
pub fn connector(ca: &Path, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a PEM file") {
        roots.add(certificate.expect("a certificate")).expect("a CA certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}
