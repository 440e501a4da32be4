//! Logins by code with a live session, and refreshes: two signatures each, an access token and an ID token.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::browser::SignedIn;
use crate::load::{Follow, Load, MakeRequest, Protocol, call};
use crate::measure::{Side, alternate, median_cpu};
use crate::narthex::Narthex;
use crate::program::{Program, pinned, sibling};
use crate::report::Row;
use crate::{Bench, Result};

const CONNECTIONS: usize = 16;

/// A user who has signed in.
async fn signed_in(server: &Narthex) -> Result<SignedIn> {
    let bearer = server.bearer().await?;
    let organization = server.create_organization(&bearer, "logins").await?;
    server.create_user(&bearer, &organization, "visitor").await?;
    SignedIn::new(server, "visitor@example.com").await
}

/// From the authorization request to the tokens, without a page in between.
pub async fn code(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("login").start().await?;
    let browser = signed_in(&server).await?;
    let answer = call(&server.authority, Protocol::Http1, browser.authorize()?).await?;
    let redirect = answer.0.headers.get(http::header::LOCATION).ok_or("no redirect")?.to_str()?.to_owned();
    let tokens = call(&server.authority, Protocol::Http1, browser.exchange(&answer)?).await?.1;
    let (floor, address) = floor(bench, &tokens, Some(&redirect))?;

    let load = |authority: &str| {
        let browser = browser.at(authority);
        let first = browser.clone();
        let request: Arc<MakeRequest> = Arc::new(move |_| first.authorize().expect("a valid request"));
        let follow: Arc<Follow> = Arc::new(move |answer| browser.exchange(answer).map(Some));
        load(authority, request, follow)
    };
    let (load, floor_load) = (load(&server.authority), load(&address));
    let (ours, floor) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&floor, &floor_load)).await?;
    Ok(vec![row("code login with a live session (two signatures), CPU", median_cpu(&ours), median_cpu(&floor))])
}

/// A refresh token after the other.
pub async fn refresh(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("refresh").start().await?;
    let browser = signed_in(&server).await?;
    let mut tokens = Vec::new();
    let mut sample = bytes::Bytes::new();
    for _ in 0..CONNECTIONS {
        let answer = call(&server.authority, Protocol::Http1, browser.authorize()?).await?;
        sample = call(&server.authority, Protocol::Http1, browser.exchange(&answer)?).await?.1;
        tokens.push(refresh_token(&sample)?);
    }
    let (floor, address) = floor(bench, &sample, None)?;

    // A token is used once: each answer brings the one for a later request.
    let load = |authority: &str, tokens: Vec<String>| {
        let browser = browser.at(authority);
        let pool = Arc::new(Mutex::new(tokens));
        let next = pool.clone();
        let request: Arc<MakeRequest> = Arc::new(move |_| {
            let token = pool.lock().expect("no lane panicked").pop().expect("as many tokens as lanes");
            browser.refresh(&token).expect("a valid request")
        });
        let follow: Arc<Follow> = Arc::new(move |(_, body)| {
            next.lock().map_err(|_| "a lane panicked")?.push(refresh_token(body)?);
            Ok(None)
        });
        load(authority, request, follow)
    };
    let (load, floor_load) = (load(&server.authority, tokens.clone()), load(&address, tokens));
    let (ours, floor) =
        alternate(&bench.method, Side::new(&server.program, &load), Side::new(&floor, &floor_load)).await?;
    Ok(vec![row("refresh of an access and an ID token (two signatures), CPU", median_cpu(&ours), median_cpu(&floor))])
}

/// A server that makes two signatures for each token request.
fn floor(bench: &Bench, tokens: &[u8], redirect: Option<&str>) -> Result<(Program, String)> {
    let file = bench.folder.path().join("tokens.json");
    std::fs::write(&file, tokens)?;
    let mut command = pinned(bench.server_core, sibling("floor-token")?);
    command.args(["--signatures", "2", "--body"]).arg(file);
    if let Some(redirect) = redirect {
        command.args(["--redirect", redirect]);
    }
    Program::start_floor(&mut command)
}

fn load(authority: &str, request: Arc<MakeRequest>, follow: Arc<Follow>) -> Load {
    Load {
        authority: authority.to_owned(),
        protocol: Protocol::Http1,
        connections: CONNECTIONS,
        streams: 1,
        request,
        follow: Some(follow),
    }
}

fn refresh_token(body: &[u8]) -> Result<String> {
    let answer: Value = serde_json::from_slice(body)?;
    let both = answer["access_token"].is_string() && answer["id_token"].is_string();
    let token = answer["refresh_token"].as_str().filter(|_| both).ok_or("not all of the tokens")?;
    Ok(token.to_owned())
}

fn row(figure: &'static str, ours: f64, floor: f64) -> Row {
    Row {
        figure,
        narthex: format!("{ours:.1} µs"),
        floor: format!("{floor:.1} µs"),
        ratio: format!("{:.2} ×", ours / floor),
        target: "≤ 1.3 ×",
        met: ours <= floor * 1.3,
    }
}
