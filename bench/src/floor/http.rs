//! Floor of the reads: a bare hyper server that answers every request with the same bytes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the address goes to the program that started this one")]

mod serve;

use std::path::PathBuf;

use bytes::Bytes;
use clap::Parser;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use serve::{Protocol, serve};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    protocol: Protocol,
    /// File with the body of the answer; for gRPC the framed message.
    #[arg(long)]
    body: PathBuf,
    #[arg(long)]
    content_type: HeaderValue,
}

fn main() -> std::io::Result<()> {
    let Arguments { protocol, body, content_type } = Arguments::parse();
    let body = Bytes::from(std::fs::read(body)?);
    // A gRPC answer ends with its status in the trailers.
    let trailers = (protocol == Protocol::Http2)
        .then(|| HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]));
    serve(protocol, move |request| {
        let (body, content_type, trailers) = (body.clone(), content_type.clone(), trailers.clone());
        async move {
            request.into_body().collect().await?;
            let body = Full::new(body).with_trailers(std::future::ready(trailers.map(Ok)));
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            Ok(response)
        }
    })
}
