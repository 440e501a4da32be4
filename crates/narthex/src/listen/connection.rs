//! One connection from accept to close: who may keep it open, and for how long. hyper's own header timeout also runs while a
//! keep-alive connection is idle, which would cut the SDKs' pools after 30 s, so the clocks are kept here.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::drain::{Drain, Phase};
use super::{Peer, Service};

/// How long a connection may do what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request (or from accept) to the end of its head: a slow-loris client gets no more.
    pub head: Duration,
    /// Without a request. SDK pools keep connections for up to 4 minutes (sdk-clients reference §3.3).
    pub idle: Duration,
    /// A request whose connection moves no byte in either direction; also a client that was told that its connection ends, has no
    /// request left, and does not let it end (over HTTP/2 it has to answer a ping first).
    pub stalled: Duration,
    /// While stopping: a connection that was quiet this long has no request on the way.
    pub quiet: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            stalled: Duration::from_mins(2),
            quiet: Duration::from_millis(250),
        }
    }
}

/// What a connection is doing, written by its I/O and its requests, read by its clock. Times are milliseconds since `opened`.
struct Activity {
    opened: Instant,
    in_flight: AtomicU32,
    /// When the head being read began, plus one; zero between requests.
    head_since: AtomicU64,
    last_request_ended: AtomicU64,
    last_byte: AtomicU64,
    http2: AtomicBool,
}

/// What the clock decides.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// End it as soon as what runs is done. Nothing runs.
    Close,
    /// End it now.
    Cut,
}

impl Activity {
    fn new(http2: bool) -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicU32::new(0),
            // A connection that never says anything is a head that never ends.
            head_since: AtomicU64::new(1),
            last_request_ended: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            http2: AtomicBool::new(http2),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&self, bytes: &[u8]) {
        let now = self.now();
        self.last_byte.store(now, Ordering::Relaxed);
        if bytes.starts_with(b"PRI * HTTP/2") {
            self.http2.store(true, Ordering::Relaxed);
        }
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            // Fails when a head is already being read: its clock goes on.
            self.head_since.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
    }

    fn verdict(&self, timeouts: &Timeouts, stopping: bool) -> Verdict {
        let now = self.now();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return if over(self.last_byte.load(Ordering::Relaxed), timeouts.stalled) {
                Verdict::Cut
            } else {
                Verdict::Keep
            };
        }
        let last = self.last_byte.load(Ordering::Relaxed).max(self.last_request_ended.load(Ordering::Relaxed));
        let http2 = self.http2.load(Ordering::Relaxed);
        // HTTP/2 tells its client which streams were seen (GOAWAY), so it need not wait for silence.
        if stopping && (http2 || over(last, timeouts.quiet)) {
            return Verdict::Close;
        }
        let head_since = self.head_since.load(Ordering::Relaxed);
        if !http2 && head_since > 0 && over(head_since - 1, timeouts.head) {
            return Verdict::Cut;
        }
        // Pings keep an HTTP/2 connection from looking dead, but only requests keep it open.
        let idle_since = if http2 { self.last_request_ended.load(Ordering::Relaxed) } else { last };
        if over(idle_since, timeouts.idle) { Verdict::Close } else { Verdict::Keep }
    }

    /// Whether a connection that has been closing since then, without a request, has had its time: whoever never answers the ping of
    /// a graceful end, or never begins with HTTP/2 at all, would keep it for ever.
    fn overstays(&self, closing_since: u64, timeouts: &Timeouts) -> bool {
        let since = closing_since.max(self.last_request_ended.load(Ordering::Relaxed));
        u128::from(self.now().saturating_sub(since)) >= timeouts.stalled.as_millis()
    }
}

/// A request in flight; ends when its answer has been handed to the connection, or when either side gave up.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            activity.http2.store(true, Ordering::Relaxed);
        }
        Self(activity.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.last_request_ended.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until it ends or is ended.
pub(super) async fn drive<I, S>(io: I, service: Arc<S>, peer: Arc<Peer>, http2: bool, drain: Drain, timeouts: Timeouts)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service,
{
    let activity = Arc::new(Activity::new(http2));
    let answer = service_fn(|request: Request<Incoming>| {
        let in_flight = InFlight::begin(&activity, request.version());
        let (service, peer, drain) = (service.clone(), peer.clone(), drain.clone());
        async move {
            let http1 = request.version() < Version::HTTP_2;
            let mut response = service.serve(request, peer).await;
            if http1 && drain.is_draining() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| Tracked { body, _in_flight: in_flight }))
        }
    });
    let builder = protocol();
    let builder = if http2 { builder.http2_only() } else { builder };
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(Watched { io, activity: activity.clone() }), answer));
    let mut stop = pin!(drain.reached(Phase::Stopping));
    let mut stopping = false;
    let mut closing_since = None;
    loop {
        let pause = if stopping { Duration::from_millis(25) } else { Duration::from_secs(5) };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "connection ended");
                }
                return;
            }
            () = stop.as_mut(), if !stopping => stopping = true,
            () = tokio::time::sleep(pause) => {}
        }
        match activity.verdict(&timeouts, stopping) {
            Verdict::Keep => {}
            Verdict::Close => match closing_since {
                None => {
                    closing_since = Some(activity.now());
                    connection.as_mut().graceful_shutdown();
                }
                Some(since) if activity.overstays(since, &timeouts) => return,
                Some(_) => {}
            },
            Verdict::Cut => return,
        }
    }
}

/// Protocol settings. HTTP/2 limits: enough for a busy client on one connection, small enough that memory per connection is bounded.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None).max_buf_size(64 * 1024);
    builder
        .http2()
        .max_concurrent_streams(256)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024);
    builder
}

/// A response body that keeps its request counted until it is gone.
struct Tracked<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection's bytes, watched.
struct Watched<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Some(read) = buffer.filled().get(before..).filter(|read| !read.is_empty()) {
            self.activity.read(read);
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(context, bytes);
        if result.is_ready() {
            self.activity.last_byte.store(self.activity.now(), Ordering::Relaxed);
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        if result.is_ready() {
            self.activity.last_byte.store(self.activity.now(), Ordering::Relaxed);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(activity: &mut Activity, time: Duration) {
        activity.opened -= time;
    }

    #[test]
    fn a_slow_head_is_cut_an_idle_pool_connection_is_kept_over_four_minutes() {
        let timeouts = Timeouts::default();
        let mut activity = Activity::new(false);
        activity.opened -= Duration::from_secs(29);
        assert_eq!(activity.verdict(&timeouts, false), Verdict::Keep);
        activity.read(b"GET / HT");
        after(&mut activity, Duration::from_secs(1));
        assert_eq!(activity.verdict(&timeouts, false), Verdict::Cut, "trickling bytes does not restart the clock");

        let mut activity = Arc::new(Activity::new(false));
        drop(InFlight::begin(&activity, Version::HTTP_11));
        after(Arc::get_mut(&mut activity).unwrap(), Duration::from_secs(250));
        assert_eq!(activity.verdict(&timeouts, false), Verdict::Keep);
        after(Arc::get_mut(&mut activity).unwrap(), Duration::from_mins(1));
        assert_eq!(activity.verdict(&timeouts, false), Verdict::Close);
    }

    #[test]
    fn pings_neither_count_as_a_head_nor_keep_an_idle_http2_connection_for_ever() {
        let timeouts = Timeouts::default();
        let mut activity = Activity::new(true);
        for _ in 0..4 {
            after(&mut activity, Duration::from_mins(1));
            activity.read(&[0, 0, 8, 6, 0]);
            assert_eq!(activity.verdict(&timeouts, false), Verdict::Keep);
        }
        after(&mut activity, Duration::from_secs(61));
        assert_eq!(activity.verdict(&timeouts, false), Verdict::Close);
    }

    #[test]
    fn stopping_waits_for_running_requests_and_for_silence() {
        let timeouts = Timeouts::default();
        let mut activity = Arc::new(Activity::new(false));
        let running = InFlight::begin(&activity, Version::HTTP_11);
        assert_eq!(activity.verdict(&timeouts, true), Verdict::Keep);
        drop(running);
        assert_eq!(activity.verdict(&timeouts, true), Verdict::Keep, "the next request may be on the wire");
        after(Arc::get_mut(&mut activity).unwrap(), timeouts.quiet);
        assert_eq!(activity.verdict(&timeouts, true), Verdict::Close);
    }

    struct Never;

    impl Service for Never {
        type Body = http_body_util::Empty<Bytes>;

        async fn serve(&self, _: Request<Incoming>, _: Arc<Peer>) -> http::Response<Self::Body> {
            http::Response::default()
        }
    }

    #[tokio::test]
    async fn an_http2_client_that_ignores_the_end_of_its_connection_is_cut() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        for said in [Vec::new(), [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()] {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            let peer = Arc::new(Peer {
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                tls: true,
                door: crate::listen::Door::Public,
            });
            let drain = Drain::default();
            drain.advance(Phase::Stopping);
            let timeouts = Timeouts { stalled: Duration::from_millis(300), ..Timeouts::default() };
            let driven = tokio::spawn(drive(server, Arc::new(Never), peer, true, drain, timeouts));
            client.write_all(&said).await.unwrap();
            // It reads everything, the GOAWAY and the ping too, and answers nothing.
            let mut heard = Vec::new();
            let reading = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut heard));
            reading.await.expect("it is cut").unwrap();
            driven.await.unwrap();
        }
    }
}
