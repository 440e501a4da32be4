//! The process: start, memory, size.

use std::sync::Arc;
use std::time::Duration;

use crate::load::{Limit, Load, Protocol};
use crate::measure::median;
use crate::narthex::{create_request, get_request, get_rpc};
use crate::report::Row;
use crate::{Bench, Result};

const MIB: f64 = 1024.0 * 1024.0;

/// From the start of the process to ready, on a folder that exists.
pub async fn start(bench: &Bench) -> Result<Vec<Row>> {
    let installation = bench.installation("start");
    installation.start().await?.program.stop()?;
    let mut millis = Vec::new();
    for _ in 0..bench.method.rounds.max(11) {
        let server = installation.start().await?;
        millis.push(server.ready_after.as_secs_f64() * 1e3);
        server.program.stop()?;
    }
    let median = median(&millis, |millis| *millis);
    Ok(vec![Row {
        figure: "cold start on an existing database to ready",
        narthex: format!("{median:.0} ms"),
        floor: String::new(),
        ratio: String::new(),
        target: "≤ 100 ms",
        met: median <= 100.0,
    }])
}

/// Resident memory when idle and after 100,000 requests of four kinds.
pub async fn memory(bench: &Bench) -> Result<Vec<Row>> {
    let installation = bench.installation("memory");
    // Idle is measured on a folder that exists, as a server finds it on every start but its first.
    installation.start().await?.program.stop()?;
    let server = installation.start().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = bytes(server.program.resident()?);

    let bearer = server.bearer().await?;
    let id = server.create_organization(&bearer, "memory").await?;
    let authority = server.authority.clone();
    let (rest, rpc, token) =
        (get_request(&authority, &bearer, &id)?, get_rpc(&authority, &bearer, &id)?, server.token_request()?);
    let load = |protocol, connections, streams, request| Load {
        authority: authority.clone(),
        protocol,
        connections,
        streams,
        request,
        follow: None,
    };
    let create = {
        let (authority, bearer) = (authority.clone(), bearer.clone());
        move |number| create_request(&authority, &bearer, &format!("customer-{number:09}")).expect("a valid request")
    };
    for (load, requests) in [
        (load(Protocol::Http1, 16, 1, Arc::new(move |_| rest.clone())), 80_000),
        (load(Protocol::Grpc, 4, 4, Arc::new(move |_| rpc.clone())), 10_000),
        (load(Protocol::Http1, 16, 1, Arc::new(move |_| token.clone())), 5_000),
        (load(Protocol::Http1, 64, 1, Arc::new(create)), 5_000),
    ] {
        let limit = Limit { time: Duration::from_mins(2), requests };
        let outcome = load.run(&bench.method.sequence, limit).await?;
        if outcome.requests < requests {
            return Err(format!("{} of {requests} requests in {:?}", outcome.requests, limit.time).into());
        }
    }
    server.program.settle(Duration::from_secs(6)).await?;
    let after = bytes(server.program.resident()?);
    Ok(vec![
        Row {
            figure: "resident memory, idle",
            narthex: format!("{idle:.1} MiB"),
            floor: String::new(),
            ratio: String::new(),
            target: "≤ 25 MiB",
            met: idle <= 25.0,
        },
        Row {
            figure: "resident memory after 100,000 requests",
            narthex: format!("{after:.1} MiB"),
            floor: String::new(),
            ratio: String::new(),
            target: "≤ 80 MiB",
            met: after <= 80.0,
        },
    ])
}

/// Size of the executable as the release profile leaves it (stripped).
pub fn size(bench: &Bench) -> Result<Vec<Row>> {
    let size = bytes(std::fs::metadata(&bench.binary)?.len());
    Ok(vec![Row {
        figure: "binary, stripped (no web assets yet)",
        narthex: format!("{size:.1} MiB"),
        floor: String::new(),
        ratio: String::new(),
        target: "≤ 40 MiB",
        met: size <= 40.0,
    }])
}

/// Bytes in MiB.
fn bytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    let bytes = bytes as f64;
    bytes / MIB
}
