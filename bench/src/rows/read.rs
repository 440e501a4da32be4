//! Authenticated reads: GET organization over REST and over gRPC, and the validation of API tokens.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;

use crate::load::{Load, Protocol, call};
use crate::measure::{Side, alternate, median_cpu};
use crate::narthex::{Narthex, get_request, get_rpc, validate_request};
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
    let request = |authority: &str| get(authority, &bearer, &id);
    Ok(vec![against_bare_hyper(bench, &server, figure, protocol, (5.0, "≤ 5 ×"), request).await?])
}

/// An API token of an organization, and one of a user, which counts only with a membership.
pub async fn api_token(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("api-token").start().await?;
    let bearer = server.bearer().await?;
    let organization = server.create_organization(&bearer, "tokens").await?;
    let user = server.create_user(&bearer, &organization, "holder").await?;
    let mut rows = Vec::new();
    for (figure, user) in [
        ("API token validate over REST (HTTP/1.1), CPU", None),
        ("the same for a token of a user, CPU", Some(user.as_str())),
    ] {
        let token = server.create_api_token(&bearer, &organization, user).await?;
        let request = |authority: &str| validate_request(authority, &bearer, &token);
        rows.push(against_bare_hyper(bench, &server, figure, Protocol::Http1, (6.0, "≤ 6 ×"), request).await?);
    }
    Ok(rows)
}

/// One request again and again, against bare hyper that returns the same bytes; `limit` is the target as number and text.
pub(super) async fn against_bare_hyper(
    bench: &Bench,
    server: &Narthex,
    figure: &'static str,
    protocol: Protocol,
    limit: (f64, &'static str),
    request: impl Fn(&str) -> Result<Request<Full<Bytes>>>,
) -> Result<Row> {
    let (head, body) = call(&server.authority, protocol, request(&server.authority)?).await?;
    let file = bench.folder.path().join("answer.body");
    std::fs::write(&file, &body)?;
    let content_type = head.headers.get(CONTENT_TYPE).ok_or("no content-type")?.to_str()?;
    let (name, connections, streams) = match protocol {
        Protocol::Http1 => ("http1", 16, 1),
        Protocol::Grpc => ("http2", 4, 4),
    };
    let mut command = pinned(bench.server_core, sibling("floor-http")?);
    command.args(["--protocol", name, "--content-type", content_type, "--body"]).arg(file);
    let (floor, address) = Program::start_floor(&mut command)?;

    let load = |authority: &str| -> Result<Load> {
        let request = request(authority)?;
        let request = Arc::new(move |_| request.clone());
        Ok(Load { authority: authority.to_owned(), protocol, connections, streams, request, follow: None })
    };
    let (load, floor_load) = (load(&server.authority)?, load(&address)?);
    let (ours, floor) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&floor, &floor_load)).await?;
    let (ours, floor) = (median_cpu(&ours), median_cpu(&floor));
    Ok(Row {
        figure,
        narthex: format!("{ours:.1} µs"),
        floor: format!("{floor:.1} µs"),
        ratio: format!("{:.2} ×", ours / floor),
        target: limit.1,
        met: ours <= floor * limit.0,
    })
}
