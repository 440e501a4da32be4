//! Logins in bulk, and what is left of them: real ones, by the code in the mail, each exchanged for tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::load::{Protocol, call, http1_request};
use crate::narthex::{Narthex, create_user_request};
use crate::report::Row;
use crate::{Bench, Failure, Result};

/// Who signs in, over and over. Two mails a minute go to an address, so that the clock moves on after each turn of all.
const PEOPLE: u64 = 2_000;
/// Browsers at once.
const LANES: u64 = 16;
const CALLBACK: &str = "http%3A%2F%2Flocalhost%3A3999%2Fcallback";
/// Of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Tables of which nothing may be left when all has run out.
const TABLES: [&str; 8] = [
    "auth_requests",
    "grants",
    "passwordless_requests",
    "passwordless_sends",
    "auth_log",
    "sessions",
    "events",
    "audit_chain",
];

/// A browser with a connection of its own.
struct Browser {
    authority: String,
    sender: http1::SendRequest<Full<Bytes>>,
    jar: HashMap<String, String>,
}

/// What came back: where to, and what is shown.
struct Answer {
    location: String,
    body: Bytes,
}

impl Browser {
    async fn open(authority: &str) -> Result<Self> {
        let stream = TcpStream::connect(authority.replace("localhost", "127.0.0.1")).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { authority: authority.to_owned(), sender, jar: HashMap::new() })
    }

    async fn send(&mut self, method: Method, path: &str, form: Option<String>) -> Result<Answer> {
        let mut request: http::request::Builder = http1_request(method, &self.authority, path, None);
        if !self.jar.is_empty() {
            let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        if form.is_some() {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header("origin", format!("http://{}", self.authority));
        }
        self.sender.ready().await?;
        let request: Request<Full<Bytes>> = request.body(Full::new(form.unwrap_or_default().into()))?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        if head.status.is_client_error() || head.status.is_server_error() {
            return Err(format!("{path}: {} {}", head.status, String::from_utf8_lossy(&body)).into());
        }
        for cookie in head.headers.get_all(SET_COOKIE) {
            let (name, value) =
                cookie.to_str()?.split(';').next().and_then(|pair| pair.split_once('=')).ok_or("no cookie")?;
            self.jar.insert(name.to_owned(), value.to_owned());
        }
        let location =
            head.headers.get(LOCATION).map(|value| value.to_str()).transpose()?.unwrap_or_default().to_owned();
        Ok(Answer { location, body })
    }

    /// A login from the authorization request to the tokens, in a browser that knows nothing.
    async fn sign_in(&mut self, person: u64, client: (&str, &str), challenge: &str) -> Result<()> {
        self.jar.clear();
        let (id, secret) = client;
        let path = format!(
            "/oauth/authorize?response_type=code&client_id={id}&redirect_uri={CALLBACK}&scope=openid%20offline_access&state=s\
             &code_challenge={challenge}&code_challenge_method=S256"
        );
        let page = self.send(Method::GET, &path, None).await?.location;
        let html = self.send(Method::GET, &page, None).await?.body;
        let html = String::from_utf8_lossy(&html).into_owned();
        let csrf =
            html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).ok_or("no form")?;
        let email = format!("{}%40example.com", name(person));
        self.send(Method::POST, &page, Some(format!("csrf={csrf}&email={email}"))).await?;
        let mail = self.send(Method::GET, &format!("/dev/mail?to={email}"), None).await?.body;
        let mail: Value = serde_json::from_slice(&mail)?;
        let otp = mail.pointer("/0/otp").and_then(Value::as_str).ok_or("no mail")?;
        let verify = page.replace("/login", "/verify");
        let done = self.send(Method::POST, &verify, Some(format!("csrf={csrf}&code={otp}"))).await?.location;
        let code = done.split("code=").nth(1).and_then(|rest| rest.split('&').next()).ok_or("no code")?.to_owned();
        let form = format!(
            "grant_type=authorization_code&client_id={id}&client_secret={secret}&code={code}&redirect_uri={CALLBACK}\
             &code_verifier={VERIFIER}"
        );
        self.send(Method::POST, "/oauth/token", Some(form)).await?;
        Ok(())
    }
}

fn name(person: u64) -> String {
    format!("person-{person:06}")
}

async fn advance(server: &Narthex, seconds: u64) -> Result<()> {
    let body = serde_json::json!({ "advance_seconds": seconds }).to_string();
    let request = http1_request(Method::POST, &server.authority, "/dev/clock", None)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))?;
    call(&server.authority, Protocol::Http1, request).await?;
    Ok(())
}

/// Everybody signs in, again and again, until there were so many logins.
async fn many(server: &Narthex, logins: u64, challenge: &str) -> Result<()> {
    let mut left = logins;
    while left > 0 {
        let turn = left.min(PEOPLE);
        let next = Arc::new(AtomicU64::new(0));
        let lanes: Vec<_> = (0..LANES)
            .map(|_| {
                let (next, authority, challenge) = (Arc::clone(&next), server.authority.clone(), challenge.to_owned());
                let (id, secret) = server.credentials();
                let client = (id.to_owned(), secret.to_owned());
                tokio::spawn(async move {
                    let mut browser = Browser::open(&authority).await?;
                    loop {
                        let person = next.fetch_add(1, Ordering::Relaxed);
                        if person >= turn {
                            return Ok::<_, Failure>(());
                        }
                        browser.sign_in(person, (&client.0, &client.1), &challenge).await?;
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await??;
        }
        left -= turn;
        advance(server, 61).await?;
    }
    Ok(())
}

/// Pages that hold something, and rows of [`TABLES`].
fn state(database: &Connection) -> Result<(i64, i64)> {
    let pages = database.query_row(
        "SELECT p.page_count - f.freelist_count FROM pragma_page_count p, pragma_freelist_count f",
        [],
        |row| row.get(0),
    )?;
    let mut rows = 0;
    for table in TABLES {
        rows += database.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?;
    }
    Ok((pages, rows))
}

/// Lets everything run out, and waits for the sweeps. That a session has ended is told of, and what was told runs out in its turn.
async fn sweep(server: &Narthex, database: &Connection) -> Result<i64> {
    let started = Instant::now();
    for _ in 0..4 {
        advance(server, 100 * 86_400).await?;
        let mut last = i64::MAX;
        let mut quiet = 0;
        while quiet < 8 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            // A sweep that has taken its share waits for the next hour.
            advance(server, 3_600).await?;
            let (_, rows) = state(database)?;
            quiet = if rows == last { quiet + 1 } else { 0 };
            last = rows;
            if started.elapsed() > Duration::from_mins(30) {
                return Err(format!("{rows} rows are left after half an hour").into());
            }
        }
    }
    Ok(state(database)?.0)
}

/// Live pages after so many logins and the sweep, against those before; and after as many again.
pub async fn storage(bench: &Bench) -> Result<Vec<Row>> {
    let installation = bench.installation("logins");
    let server = installation.start().await?;
    let bearer = server.bearer().await?;
    let organization = server.create_organization(&bearer, "logins").await?;
    for person in 0..PEOPLE {
        let request = create_user_request(&server.authority, &bearer, &organization, &name(person))?;
        call(&server.authority, Protocol::Http1, request).await?;
    }
    let challenge = challenge();
    let database = Connection::open_with_flags(installation.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // The first login of each leaves what is meant to stay: that the address was proven, and by what.
    many(&server, PEOPLE, &challenge).await?;
    let before = sweep(&server, &database).await?;
    let started = Instant::now();
    many(&server, bench.logins, &challenge).await?;
    let rate = f64::from(u32::try_from(bench.logins)?) / started.elapsed().as_secs_f64();
    let (full, _) = state(&database)?;
    let first = sweep(&server, &database).await?;
    let file = std::fs::metadata(installation.database())?.len();
    many(&server, bench.logins, &challenge).await?;
    let (again, _) = state(&database)?;
    let second = sweep(&server, &database).await?;
    let (_, left) = state(&database)?;
    let grown = std::fs::metadata(installation.database())?.len();
    let of = |pages: i64| -> Result<f64> { Ok(f64::from(i32::try_from(pages)?) / f64::from(i32::try_from(before)?)) };
    let kibibytes = |file: u64| u32::try_from(file / 1_024).map(f64::from);
    let (file, grown) = (kibibytes(file)?, kibibytes(grown)?);
    Ok(vec![
        Row {
            figure: "live pages after 100,000 logins and the sweep",
            narthex: format!("{first} ({full} before the sweep; {} logins, {rate:.0}/s)", bench.logins),
            floor: format!("{before} before"),
            ratio: format!("{:.2} ×", of(first)?),
            target: "≤ 1.10 ×",
            met: of(first)? <= 1.1,
        },
        Row {
            figure: "the file after a second 100,000",
            narthex: format!(
                "{:.1} MiB ({again} live pages before the sweep, {second} after it, {left} rows of logins)",
                grown / 1_024.0
            ),
            floor: format!("{:.1} MiB", file / 1_024.0),
            ratio: format!("{:.2} ×", grown / file),
            target: "≤ 1.01 ×",
            met: grown <= file * 1.01 && of(second)? <= 1.1,
        },
    ])
}

/// S256 of [`VERIFIER`].
fn challenge() -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}
