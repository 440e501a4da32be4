//! Authenticated reads: GET organization over REST and over gRPC.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;

use crate::load::{Load, Protocol, call};
use crate::measure::{Side, alternate, median_cpu};
use crate::narthex::{get_request, get_rpc};
use crate::program::{Program, pinned, sibling};
use crate::report::Row;
use crate::{Bench, Result};

/// `(authority, bearer, organization id)` to a request.
type Get = fn(&str, &str, &str) -> Result<Request<Full<Bytes>>>;

/// Over REST, HTTP/1.1.
pub async fn rest(bench: &Bench) -> Result<Vec<Row>> {
    read(bench, "GET organization over REST (HTTP/1.1), CPU", Protocol::Http1, get_request).await
}

/// Over gRPC, HTTP/2 without TLS.
pub async fn grpc(bench: &Bench) -> Result<Vec<Row>> {
    read(bench, "GET organization over gRPC (h2c), CPU", Protocol::Grpc, get_rpc).await
}

async fn read(bench: &Bench, figure: &'static str, protocol: Protocol, get: Get) -> Result<Vec<Row>> {
    let name = match protocol {
        Protocol::Http1 => "http1",
        Protocol::Grpc => "http2",
    };
    let server = bench.installation(name).start().await?;
    let bearer = server.bearer().await?;
    let id = server.create_organization(&bearer, "read").await?;
    let (head, body) = call(&server.authority, protocol, get(&server.authority, &bearer, &id)?).await?;
    let file = bench.folder.path().join(name).with_extension("body");
    std::fs::write(&file, &body)?;
    let content_type = head.headers.get(CONTENT_TYPE).ok_or("no content-type")?.to_str()?;
    let mut command = pinned(bench.server_core, sibling("floor-http")?);
    command.args(["--protocol", name, "--content-type", content_type, "--body"]).arg(file);
    let (floor, address) = Program::start_floor(&mut command)?;

    let (connections, streams) = match protocol {
        Protocol::Http1 => (16, 1),
        Protocol::Grpc => (4, 4),
    };
    let load = |authority: &str| -> Result<Load> {
        let request = get(authority, &bearer, &id)?;
        let request = Arc::new(move |_| request.clone());
        Ok(Load { authority: authority.to_owned(), protocol, connections, streams, request })
    };
    let (load, floor_load) = (load(&server.authority)?, load(&address)?);
    let (ours, floor) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&floor, &floor_load)).await?;
    let (ours, floor) = (median_cpu(&ours), median_cpu(&floor));
    Ok(vec![Row {
        figure,
        narthex: format!("{ours:.1} µs"),
        floor: format!("{floor:.1} µs"),
        ratio: format!("{:.2} ×", ours / floor),
        target: "≤ 5 ×",
        met: ours <= floor * 5.0,
    }])
}
