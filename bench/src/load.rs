//! A closed loop of HTTP requests: every lane sends its next request when its last was answered in full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{Failure, Result};

/// What a request rides on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, any status but 2xx and 303 is a failure.
    Http1,
    /// gRPC over HTTP/2 with prior knowledge, any `grpc-status` but 0 is a failure.
    Grpc,
}

/// Builds the n-th request of a load; n never repeats within a run of the program.
pub type MakeRequest = dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync;

/// Head and body of an answer.
pub type Answer = (response::Parts, Bytes);

/// Looks at the answer to a request and makes the request that completes the operation, if it has a second one.
pub type Follow = dyn Fn(&Answer) -> Result<Option<Request<Full<Bytes>>>> + Send + Sync;

/// A load: where to, over how many lanes, and what.
pub struct Load {
    /// `host:port` on the loopback interface; also the authority that the requests name.
    pub authority: String,
    /// What the requests ride on.
    pub protocol: Protocol,
    /// TCP connections.
    pub connections: usize,
    /// Lanes on each connection; 1 for HTTP/1.1.
    pub streams: usize,
    /// The requests.
    pub request: Arc<MakeRequest>,
    /// What becomes of their answers; none where nothing hangs on them.
    pub follow: Option<Arc<Follow>>,
}

/// When a run ends: at whichever comes first.
#[derive(Clone, Copy)]
pub struct Limit {
    /// Time after which no lane sends a further request.
    pub time: Duration,
    /// Requests in all.
    pub requests: u64,
}

impl Limit {
    /// Bounded by time; the count is only the safety net.
    pub fn time(time: Duration) -> Self {
        Self { time, requests: 10_000_000 }
    }
}

/// What a run did.
pub struct Outcome {
    /// Operations that came to their end.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Time to answer of each request, ascending.
    pub latencies: Vec<Duration>,
}

/// Numbers the requests of the whole program.
#[derive(Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// How many requests were sent so far.
    pub fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Run {
    sequence: Arc<Sequence>,
    end: Instant,
    left: AtomicU64,
}

impl Run {
    /// The number of the next request, if there is to be one.
    fn next(&self) -> Option<u64> {
        let left = |left: u64| left.checked_sub(1);
        (Instant::now() < self.end && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok())
            .then(|| self.sequence.0.fetch_add(1, Ordering::Relaxed))
    }
}

impl Load {
    /// Connects, runs and disconnects. The first failed request ends the run with its error: a rate of errors is no result.
    pub async fn run(&self, sequence: &Arc<Sequence>, limit: Limit) -> Result<Outcome> {
        let mut senders = Vec::new();
        for _ in 0..self.connections {
            let sender = Sender::connect(&self.authority, self.protocol).await?;
            senders.extend(sender.lanes(self.streams));
        }
        let start = Instant::now();
        let run =
            Arc::new(Run { sequence: sequence.clone(), end: start + limit.time, left: AtomicU64::new(limit.requests) });
        let lanes: Vec<_> = senders
            .into_iter()
            .map(|mut sender| {
                let (run, request, follow) = (run.clone(), self.request.clone(), self.follow.clone());
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while let Some(number) = run.next() {
                        let sent = Instant::now();
                        let answer = sender.call(request(number)).await?;
                        let next = match &follow {
                            Some(follow) => follow(&answer)?,
                            None if answer.0.status.is_success() => None,
                            None => return Err(format!("answered {:?}", answer.0).into()),
                        };
                        if let Some(next) = next {
                            sender.call(next).await?;
                        }
                        latencies.push(sent.elapsed());
                    }
                    Ok::<_, Failure>(latencies)
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for lane in lanes {
            latencies.extend(lane.await??);
        }
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        Ok(Outcome { requests: latencies.len() as u64, elapsed, latencies })
    }
}

/// One connection, or a handle on one that can carry several requests at once.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(authority: &str, protocol: Protocol) -> Result<Self> {
        let stream = TcpStream::connect(loopback(authority)?).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                // Its errors reach the sender, too.
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Grpc => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Self::Grpc(sender)
            }
        })
    }

    fn lanes(self, streams: usize) -> Vec<Self> {
        match self {
            Self::Http1(sender) => vec![Self::Http1(sender)],
            Self::Grpc(sender) => (0..streams).map(|_| Self::Grpc(sender.clone())).collect(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Grpc(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        let failed = match self {
            Self::Http1(_) => !head.status.is_success() && head.status != StatusCode::SEE_OTHER,
            Self::Grpc(_) => head.status != StatusCode::OK || grpc_status(&head, trailers.as_ref()) != Some("0"),
        };
        if failed {
            return Err(format!("answered {head:?} {trailers:?} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok((head, body))
    }
}

fn grpc_status<'a>(head: &'a response::Parts, trailers: Option<&'a HeaderMap>) -> Option<&'a str> {
    let status = trailers.and_then(|trailers| trailers.get("grpc-status")).or_else(|| head.headers.get("grpc-status"));
    status?.to_str().ok()
}

/// The loopback address behind an authority; a name other than localhost is refused, since no load may leave this machine.
fn loopback(authority: &str) -> Result<std::net::SocketAddr> {
    let address: std::net::SocketAddr = authority.replace("localhost", "127.0.0.1").parse()?;
    if address.ip().is_loopback() { Ok(address) } else { Err(format!("{authority} is not on the loopback").into()) }
}

/// One request on a connection of its own.
pub async fn call(authority: &str, protocol: Protocol, request: Request<Full<Bytes>>) -> Result<Answer> {
    Sender::connect(authority, protocol).await?.call(request).await
}

/// One request after another on one connection of HTTP/1.1, and how long each waited for the head of its answer. An answer that
/// leads elsewhere is as good as any; the last one is handed out.
pub async fn first_bytes(
    authority: &str,
    count: usize,
    request: impl Fn() -> Result<Request<Full<Bytes>>>,
) -> Result<(Vec<Duration>, response::Parts)> {
    let mut sender = Sender::connect(authority, Protocol::Http1).await?;
    let mut waits = Vec::with_capacity(count);
    loop {
        let request = request()?;
        let sent = Instant::now();
        let (head, body) = sender.send(request).await?.into_parts();
        waits.push(sent.elapsed());
        body.collect().await?;
        if !head.status.is_success() && !head.status.is_redirection() {
            return Err(format!("answered {head:?}").into());
        }
        if waits.len() >= count {
            waits.sort_unstable();
            return Ok((waits, head));
        }
    }
}

/// A request over HTTP/1.1.
pub fn http1_request(method: Method, authority: &str, path: &str, bearer: Option<&str>) -> request::Builder {
    let request = Request::builder().method(method).uri(path).header(HOST, authority);
    match bearer {
        Some(bearer) => request.header(AUTHORIZATION, bearer),
        None => request,
    }
}

/// A unary gRPC call; `message` is the encoded message without its frame.
pub fn grpc_request(authority: &str, path: &str, bearer: &str, message: &[u8]) -> Result<Request<Full<Bytes>>> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build()?;
    Ok(Request::post(uri)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(AUTHORIZATION, bearer)
        .body(Full::new(Bytes::from(frame)))?)
}
