//! The bare hyper server that every HTTP floor stands on: one protocol, no routing, no middleware.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// What the server speaks; one protocol per process, so that nothing has to be detected.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC without TLS uses it
    Http2,
}

/// Serves on a free loopback port for ever, after printing `listening on ADDRESS`.
pub fn serve<H, F, B>(protocol: Protocol, handler: H) -> std::io::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, hyper::Error>> + Send + 'static,
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    // The runtime that Narthex runs on, so that the difference is the work and not the scheduler.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let handler = handler.clone();
            tokio::spawn(async move {
                let (io, service) = (TokioIo::new(stream), service_fn(handler));
                let served = match protocol {
                    Protocol::Http1 => http1::Builder::new().serve_connection(io, service).await,
                    Protocol::Http2 => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
                };
                if let Err(error) = served {
                    eprintln!("connection: {error}");
                }
            });
        }
    })
}
