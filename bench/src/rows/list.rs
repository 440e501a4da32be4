//! A page of 100 organizations at 1,000,000 rows, `total_size` included, against the same at 1,000.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::Full;
use serde_json::Value;

use super::seed::{copy_organization, seed};
use crate::load::{Load, Protocol, call, http1_request};
use crate::measure::{Side, alternate, median_cpu};
use crate::narthex::Narthex;
use crate::report::Row;
use crate::{Bench, Result};

const SMALL: u32 = 1_000;
const LARGE: u32 = 1_000_000;
const PAGE: u32 = 100;

/// The first page, and the page in the middle.
pub async fn pages(bench: &Bench) -> Result<Vec<Row>> {
    let (small, large) = (seeded(bench, SMALL).await?, seeded(bench, LARGE).await?);
    let small_load = load(&small, small.bearer().await?, "");
    let bearer = large.bearer().await?;
    let middle = page_token(&large, &bearer, LARGE / PAGE / 2).await?;
    let mut rows = Vec::new();
    for (figure, token) in [
        ("list page of 100 at 1,000,000 organizations with total_size, CPU", ""),
        ("the same page in the middle of the list, CPU", &middle),
    ] {
        let large_load = load(&large, bearer.clone(), token);
        let (ours, floor) =
            alternate(&bench.method, Side::new(&large.program, &large_load), Side::new(&small.program, &small_load))
                .await?;
        let (ours, floor) = (median_cpu(&ours), median_cpu(&floor));
        rows.push(Row {
            figure,
            narthex: format!("{ours:.0} µs"),
            floor: format!("{floor:.0} µs (first page at 1,000)"),
            ratio: format!("{:.2} ×", ours / floor),
            target: "≤ 1.3 ×",
            met: ours <= floor * 1.3,
        });
    }
    Ok(rows)
}

fn path(token: &str) -> String {
    match token {
        "" => format!("/api/v1/organizations?page_size={PAGE}"),
        token => format!("/api/v1/organizations?page_size={PAGE}&page_token={token}"),
    }
}

fn load(server: &Narthex, bearer: String, token: &str) -> Load {
    let (authority, path) = (server.authority.clone(), path(token));
    Load {
        authority: authority.clone(),
        protocol: Protocol::Http1,
        connections: 16,
        streams: 1,
        follow: None,
        request: Arc::new(move |_| {
            http1_request(Method::GET, &authority, &path, Some(&bearer)).body(Full::default()).expect("a valid request")
        }),
    }
}

/// Walks `pages` pages, checking each, and returns the token of the next.
async fn page_token(server: &Narthex, bearer: &str, pages: u32) -> Result<String> {
    let mut token = String::new();
    for page in 0..pages {
        let request =
            http1_request(Method::GET, &server.authority, &path(&token), Some(bearer)).body(Full::default())?;
        let (_, body) = call(&server.authority, Protocol::Http1, request).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        let length = answer["organizations"].as_array().map_or(0, Vec::len);
        // The seeded ones, and at least the one they were copied from.
        let total = answer["total_size"].as_u64().unwrap_or(0);
        if length != PAGE as usize || total <= u64::from(LARGE) {
            return Err(format!("page {page} has {length} organizations and a total of {total}").into());
        }
        answer["next_page_token"].as_str().ok_or("no next_page_token")?.clone_into(&mut token);
    }
    Ok(token)
}

/// A server over a folder with so many organizations.
async fn seeded(bench: &Bench, organizations: u32) -> Result<Narthex> {
    let installation = bench.installation(&format!("list-{organizations}"));
    let server = installation.start().await?;
    let bearer = server.bearer().await?;
    let template = server.create_organization(&bearer, "template").await?;
    server.program.settle(Duration::from_secs(6)).await?;
    server.program.stop()?;
    let template = template.trim_start_matches("org_").parse()?;
    seed(&installation, |transaction| copy_organization(transaction, template, organizations))?;
    installation.start().await
}
