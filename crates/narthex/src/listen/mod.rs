//! Listeners: sockets, TLS, HTTP/1.1 and HTTP/2 on one port, limits per connection, and the drain.

mod connection;
pub mod drain;
pub mod proxies;
pub mod tls;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use connection::Timeouts;
use drain::{Drain, Phase};
use tls::Certificates;

use crate::exit::{Exit, Failure};

/// Which door a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `narthex dev`: the DEV environment over TLS.
    DevTls,
    /// `narthex dev`: the DEV environment in plain.
    DevPlain,
    /// `narthex dev`: the PRD environment over TLS.
    PrdTls,
    /// `narthex serve`: TLS.
    Public,
    /// `narthex serve`: plain, behind a proxy that ends TLS.
    Plain,
    /// `narthex serve`: plain, only to send browsers to https.
    Redirect,
    /// Health and metrics.
    Admin,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 7] =
        [Self::DevTls, Self::DevPlain, Self::PrdTls, Self::Public, Self::Plain, Self::Redirect, Self::Admin];

    /// The door of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|door| door.name() == name)
    }

    /// A name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::DevTls => "dev",
            Self::DevPlain => "dev-http",
            Self::PrdTls => "prd",
            Self::Public => "public",
            Self::Plain => "plain",
            Self::Redirect => "redirect",
            Self::Admin => "admin",
        }
    }

    /// Whether this is one of `narthex dev`.
    pub fn is_dev(self) -> bool {
        matches!(self, Self::DevTls | Self::DevPlain | Self::PrdTls)
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Address of the socket, IPv4-mapped addresses as IPv4; not yet what a proxy says.
    pub address: IpAddr,
    /// Whether this process ended TLS.
    pub tls: bool,
    /// The door.
    pub door: Door,
}

/// What answers requests. It never fails: whatever goes wrong is an answer.
pub trait Service: Send + Sync + 'static {
    /// Body of answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static;

    /// Answers one request.
    fn serve(&self, request: Request<Incoming>, peer: Arc<Peer>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// A bound socket that is not served yet, so that its port is known before anything is built with it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    door: Door,
    certificates: Option<Arc<Certificates>>,
}

impl Listener {
    /// Binds. Port 0 takes a free one.
    pub fn bind(address: SocketAddr, door: Door) -> Result<Self, Failure> {
        let socket = listening_socket(address).map_err(|error| {
            let (exit, hint) = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    (Exit::AddressInUse, ": another program listens there; choose another address")
                }
                io::ErrorKind::PermissionDenied => {
                    (Exit::Failure, ": ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)")
                }
                _ => (Exit::Failure, ""),
            };
            Failure::new(exit, format!("cannot listen on {address} ({}): {error}{hint}", door.name()))
        })?;
        let address = socket.local_addr().map_err(crate::exit::io_failure(address))?;
        Ok(Self { socket, address, door, certificates: None })
    }

    /// Speaks TLS with these certificates.
    #[must_use]
    pub fn with_tls(mut self, certificates: Arc<Certificates>) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// The address with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves until the drain stops it. Connections run on as tasks of their own.
    pub async fn serve<S: Service>(self, service: Arc<S>, drain: Drain, max_connections: usize, timeouts: Timeouts) {
        let slots = Arc::new(Semaphore::new(max_connections));
        let acceptor =
            Acceptor { service, drain: drain.clone(), door: self.door, certificates: self.certificates, timeouts };
        let mut stop = std::pin::pin!(drain.reached(Phase::Stopping));
        loop {
            // Without a free slot nothing is accepted: clients wait in the kernel's queue instead of in this process's memory.
            let slot = tokio::select! {
                biased;
                () = stop.as_mut() => break,
                slot = slots.clone().acquire_owned() => slot,
            };
            let accepted = tokio::select! {
                biased;
                () = stop.as_mut() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => acceptor.start(stream, address, slot.ok()),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: accepting at once would only spin.
                    tracing::warn!(door = self.door.name(), %error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // What the kernel has already accepted for us would be reset by closing the socket.
        if let Ok(socket) = self.socket.into_std() {
            while let Ok((stream, address)) = socket.accept() {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    acceptor.start(stream, address, None);
                }
            }
        }
    }
}

struct Acceptor<S> {
    service: Arc<S>,
    drain: Drain,
    door: Door,
    certificates: Option<Arc<Certificates>>,
    timeouts: Timeouts,
}

impl<S: Service> Acceptor<S> {
    fn start(&self, stream: TcpStream, address: SocketAddr, slot: Option<tokio::sync::OwnedSemaphorePermit>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let guard = self.drain.connection();
        let (service, drain, timeouts) = (self.service.clone(), self.drain.clone(), self.timeouts);
        let peer =
            Arc::new(Peer { address: address.ip().to_canonical(), tls: self.certificates.is_some(), door: self.door });
        let tls = self.certificates.as_ref().map(|certificates| certificates.acceptor());
        tokio::spawn(async move {
            match tls {
                None => connection::drive(stream, service, peer, false, drain, timeouts).await,
                Some(tls) => match tokio::time::timeout(timeouts.handshake, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        connection::drive(stream, service, peer, http2, drain, timeouts).await;
                    }
                    Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(peer = %peer.address, "TLS handshake timed out"),
                },
            }
            drop((guard, slot));
        });
    }
}

fn listening_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `:443` means all addresses, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// The client went away between the handshake and the accept.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
