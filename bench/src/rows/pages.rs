//! The login page: how much crosses the wire, how long it takes to begin, and what it costs.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, Request};
use http_body_util::Full;

use super::read::against_bare_hyper;
use crate::load::{Protocol, call, first_bytes, http1_request};
use crate::narthex::Narthex;
use crate::report::Row;
use crate::{Bench, Result};

/// Requests of one connection whose wait for the first byte is measured.
const WAITS: usize = 500;
/// What a browser that comes for the first time may fetch: it fits in the ten segments that a server sends unasked (RFC 6928).
const LARGEST_VISIT: usize = 14_600;
/// What a browser takes.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// A login that a browser has begun: its page, and the cookie that ties it to the browser.
struct Begun {
    path: String,
    cookie: String,
}

/// The page, with all that it needs.
pub async fn login(bench: &Bench) -> Result<Vec<Row>> {
    let server = bench.installation("pages").start().await?;
    let authority = server.authority.as_str();
    let begin = || authorize(&server);
    // Before anything is measured, one visit in full, as a browser makes it.
    let begun = begun(&server).await?;
    let page = |encodings: Option<&str>| get(authority, &begun.path, Some(&begun.cookie), encodings);
    let (_, html) = call(authority, Protocol::Http1, page(None)?).await?;
    let html = String::from_utf8(html.to_vec())?;
    if !html.contains("name=\"email\"") {
        return Err(format!("no login page: {html}").into());
    }
    let (mut plain, mut served) = (0, 0);
    let mut parts = vec![begun.path.clone()];
    parts.extend(links(&html));
    for path in &parts {
        plain += call(authority, Protocol::Http1, get(authority, path, Some(&begun.cookie), None)?).await?.1.len();
        let request = get(authority, path, Some(&begun.cookie), Some(ENCODINGS))?;
        let (head, body) = call(authority, Protocol::Http1, request).await?;
        if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "gzip") {
            return Err(format!("{path}: {head:?}").into());
        }
        served += body.len();
    }
    let style = stylesheet(&html).ok_or("no stylesheet")?;
    let (_, css) = call(authority, Protocol::Http1, get(authority, style, None, None)?).await?;
    let size = Row {
        figure: "login page, first visit (HTML, CSS, script, icon): bytes as served",
        narthex: format!("{served} (HTML {}, CSS {}, all {plain} uncompressed)", html.len(), css.len()),
        floor: String::new(),
        ratio: String::new(),
        target: "≤ 14,600",
        met: served <= LARGEST_VISIT,
    };

    let (waits, _) = first_bytes(authority, WAITS, || page(None)).await?;
    let wait = waits[waits.len() / 2].as_secs_f64() * 1e3;
    let (entries, _) = first_bytes(authority, WAITS, begin).await?;
    let entry = entries[entries.len() / 2].as_secs_f64() * 1e3;
    let first_byte = Row {
        figure: "login page: time to first byte (median, one connection)",
        narthex: format!("{wait:.2} ms ({entry:.2} ms for the authorization request before it)"),
        floor: String::new(),
        ratio: String::new(),
        target: "≤ 5 ms",
        met: wait <= 5.0,
    };

    let figure = "login page over HTTP/1.1, CPU";
    let request = |authority: &str| get(authority, &begun.path, Some(&begun.cookie), None);
    let cpu = against_bare_hyper(bench, &server, figure, Protocol::Http1, (5.0, "≤ 5 ×"), request).await?;
    Ok(vec![size, first_byte, cpu])
}

/// An application's authorization request, as a browser sends it.
fn authorize(server: &Narthex) -> Result<Request<Full<Bytes>>> {
    let (client, _) = server.credentials();
    let path = format!(
        "/oauth/authorize?response_type=code&client_id={client}&redirect_uri=http%3A%2F%2Flocalhost%3A3999%2Fcallback&scope=openid\
         %20email&state=bench"
    );
    get(&server.authority, &path, None, None)
}

async fn begun(server: &Narthex) -> Result<Begun> {
    let (_, head) = first_bytes(&server.authority, 1, || authorize(server)).await?;
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (location, cookie) = (text(LOCATION).ok_or("no location")?, text(SET_COOKIE).ok_or("no cookie")?);
    let cookie = cookie.split(';').next().unwrap_or_default();
    Ok(Begun { path: location.to_owned(), cookie: cookie.to_owned() })
}

fn get(authority: &str, path: &str, cookie: Option<&str>, encodings: Option<&str>) -> Result<Request<Full<Bytes>>> {
    let mut request = http1_request(Method::GET, authority, path, None);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    if let Some(encodings) = encodings {
        request = request.header(ACCEPT_ENCODING, encodings);
    }
    Ok(request.body(Full::default())?)
}

/// What the page fetches: stylesheet, script and icon.
fn links(html: &str) -> impl Iterator<Item = String> {
    let marks = html.match_indices("/a/assets/").map(|(at, _)| at);
    marks.filter_map(|at| html[at..].split('"').next()).map(str::to_owned)
}

fn stylesheet(html: &str) -> Option<&str> {
    html.match_indices("/a/assets/")
        .filter_map(|(at, _)| html[at..].split('"').next())
        .find(|path| path.rsplit('.').next() == Some("css"))
}
