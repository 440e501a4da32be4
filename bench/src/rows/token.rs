//! Tokens by client_credentials, RS256.

use std::sync::Arc;

use crate::load::{Load, Protocol, call};
use crate::measure::{Side, alternate, median_cpu, median_rate};
use crate::narthex::{Narthex, token_request};
use crate::program::{Program, pinned, sibling};
use crate::report::Row;
use crate::{Bench, Result};

fn load(authority: &str, path: &'static str, client: (&str, &str)) -> Load {
    let (owned, client) = (authority.to_owned(), (client.0.to_owned(), client.1.to_owned()));
    Load {
        authority: authority.to_owned(),
        protocol: Protocol::Http1,
        connections: 16,
        streams: 1,
        follow: None,
        request: Arc::new(move |_| token_request(&owned, path, &client.0, &client.1).expect("a valid request")),
    }
}

fn ours(server: &Narthex) -> Load {
    load(&server.authority, "/oauth/token", server.credentials())
}

/// CPU per token against one raw signature and a bare POST.
pub async fn cpu(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("token").start().await?;
    let (_, body) = call(&server.authority, Protocol::Http1, server.token_request()?).await?;
    let file = bench.folder.path().join("token.json");
    std::fs::write(&file, &body)?;
    let mut command = pinned(bench.server_core, sibling("floor-token")?);
    let (floor, address) = Program::start_floor(command.arg("--body").arg(file))?;

    let (load, floor_load) = (ours(&server), load(&address, "/", server.credentials()));
    let (ours, floor) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&floor, &floor_load)).await?;
    let (ours, floor) = (median_cpu(&ours), median_cpu(&floor));
    Ok(vec![Row {
        figure: "client_credentials token, RS256: CPU per token",
        narthex: format!("{ours:.1} µs"),
        floor: format!("{floor:.1} µs"),
        ratio: format!("{:.2} ×", ours / floor),
        target: "≤ 1.10 ×",
        met: ours <= floor * 1.10,
    }])
}

/// Tokens per second against oidc-provider, each on one core.
pub async fn rate(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("tokens").start().await?;
    let mut command = pinned(bench.server_core, "node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/oidc-provider/server.mjs")).env("NODE_ENV", "production");
    let (peer, address) = Program::start_floor(&mut command)?;

    let (load, peer_load) = (ours(&server), load(&address, "/token", ("bench", "bench-secret")));
    let (ours, peer) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&peer, &peer_load)).await?;
    let (ours, peer) = (median_rate(&ours), median_rate(&peer));
    Ok(vec![Row {
        figure: "the same on one core: tokens per second",
        narthex: format!("{ours:.0}/s"),
        floor: format!("{peer:.0}/s"),
        ratio: format!("{:.2} ×", ours / peer),
        target: "≥ 1.5 ×",
        met: ours >= peer * 1.5,
    }])
}
