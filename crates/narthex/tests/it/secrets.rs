//! Mistake 15 of DESIGN §6: every secret that a run makes, looked for in everything that the run leaves behind or shows.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::Request;
use narthex_db::testing::TestDb;
use narthex_db::{Db, Engine};
use serde_json::{Value, json};

use crate::programs::{Dev, Node, Site};

/// Secrets by name, in the spelling that people see.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 16, "{name} is too short to be looked for: {value}");
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// A JWT is also known by its signature.
    fn add_token(&mut self, name: &str, token: &str) {
        self.add(name, token);
        self.add(&format!("signature of {name}"), token.rsplit('.').next().expect("a JWT"));
    }

    /// Fails if a secret stands in `text`, as it is or in a usual encoding.
    fn assert_absent(&self, place: &str, text: &[u8]) {
        for (name, value) in &self.0 {
            let raw = value.as_bytes();
            let mut spellings = vec![
                value.clone(),
                hex(raw).to_uppercase(),
                hex(raw),
                STANDARD_NO_PAD.encode(raw),
                URL_SAFE_NO_PAD.encode(raw),
                value.chars().rev().collect(),
            ];
            // The bytes behind a base64 text.
            let decoded = [STANDARD_NO_PAD.decode(value.trim_end_matches('=')), URL_SAFE_NO_PAD.decode(value)];
            let decoded: Vec<Vec<u8>> = decoded.into_iter().flatten().filter(|bytes| bytes.len() >= 16).collect();
            for bytes in &decoded {
                spellings.push(hex(bytes));
            }
            for spelling in &spellings {
                assert!(!contains(text, spelling.as_bytes()), "{name} stands in {place} as {spelling}");
            }
            for bytes in &decoded {
                assert!(!contains(text, bytes), "the bytes of {name} stand in {place}");
            }
        }
        // PKCS #8 of an RSA key: the algorithm, and what follows it only in a private one.
        let private_key = [
            0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
            0x04,
        ];
        assert!(!contains(text, &private_key), "a private key stands in {place}");
        assert!(!contains(text, hex(&private_key).as_bytes()), "a private key stands in {place} as hex");
        assert!(!contains(text, b"PRIVATE KEY"), "a private key stands in {place}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    // The first byte is looked for by itself: `windows` compares far too often for files of some megabytes.
    let Some((&first, rest)) = part.split_first() else { return false };
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == first) {
        from += found + 1;
        if text[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// Every value of every table.
async fn dump(db: &Db) -> Vec<u8> {
    let tables: Vec<(String,)> = db
        .read(async move |tx| {
            tx.all("SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()", &[])
                .await
        })
        .await
        .expect("tables");
    assert!(tables.len() > 20);
    let mut text = Vec::new();
    for (table,) in tables {
        let sql = format!("SELECT t::text FROM \"{table}\" t");
        let rows: Vec<(String,)> = db.read(async move |tx| tx.all(&sql, &[]).await).await.expect("rows");
        for (row,) in rows {
            text.extend_from_slice(row.as_bytes());
            text.push(b'\n');
        }
    }
    text
}

/// Puts each secret everywhere in a request where it does not belong, and looks at the answer.
async fn errors(site: &Site, token: &str, secrets: &Secrets) {
    let mut answers = 0;
    for (name, secret) in &secrets.0 {
        let escaped = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        let get = |path: String| {
            Request::get(format!("{}{path}", site.base)).header("authorization", format!("Bearer {token}"))
        };
        let post = |path: &str| {
            Request::post(format!("{}{path}", site.base))
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
        };
        let long = secret.repeat(300 / secret.len() + 1);
        let mut requests = vec![
            (get(format!("/api/v1/organizations/{escaped}")), String::new()),
            (get(format!("/api/v1/organizations?page_size={escaped}")), String::new()),
            (get(format!("/api/v1/organizations?page_token={escaped}")), String::new()),
            (get(format!("/api/v1/roles/{escaped}")), String::new()),
            (get(format!("/{escaped}")), String::new()),
            (post(&format!("/{escaped}")), String::new()),
            (post("/api/v1/organizations"), json!({"display_name": "x", "region_code": secret}).to_string()),
            (post("/api/v1/organizations"), json!({"display_name": [secret]}).to_string()),
            (
                post("/api/v1/organizations"),
                json!({"display_name": "", "slug": secret, "external_id": long}).to_string(),
            ),
            (post("/api/v1/organizations"), format!("{{\"{secret}\":{secret}}}")),
            (
                post("/api/v1/organizations").header("idempotency-key", &long),
                json!({"display_name": "Named"}).to_string(),
            ),
            (
                Request::get(format!("{}/api/v1/organizations", site.base))
                    .header("authorization", format!("Bearer x{secret}")),
                String::new(),
            ),
            (
                Request::get(format!("{}/api/v1/organizations", site.base))
                    .header("authorization", format!("Basic {escaped}")),
                String::new(),
            ),
            (get("/api/v1/organizations".to_owned()).header("x-env-domain", &escaped), String::new()),
        ];
        for (field, value) in
            [("client_id", secret), ("client_secret", secret), ("grant_type", secret), ("scope", secret)]
        {
            let form =
                crate::harness::encode(&[("grant_type", "client_credentials"), ("client_id", "skc_1"), (field, value)]);
            let request = Request::post(format!("{}/oauth/token", site.base))
                .header("content-type", "application/x-www-form-urlencoded");
            requests.push((request, form));
        }
        for (request, body) in requests {
            let reply = site.send(request, body.clone()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let status = reply.status.as_u16();
            assert!(status < 500 || status == 501, "{name}: {status} {}", reply.text());
            if status >= 400 {
                secrets.assert_absent(&format!("the answer to {name} in {body:.60}"), reply.text().as_bytes());
                let headers = format!("{:?}", reply.headers);
                secrets
                    .assert_absent(&format!("the headers of the answer to {name} in {body:.60}"), headers.as_bytes());
                answers += 1;
            }
        }
    }
    assert!(answers > secrets.0.len() * 10, "{answers}");
}

/// Looks at a one-time link of an operator's as a browser does, with its secret in the address.
async fn open_link(site: &Site, secrets: &mut Secrets, link: &str) {
    let (origin, path) = link.split_once("/operator/").expect("an operator's link");
    let host = origin.trim_start_matches("https://").to_owned();
    let at = Site { base: site.base.clone(), host };
    let page = at.send(Request::get(format!("{}/operator/{path}", at.base)), "").await.expect("a page");
    assert_eq!(page.status, 200, "{}", page.text());
    secrets.add("the secret of an operator's link", path.rsplit('/').next().expect("a secret"));
}

/// Makes every kind of secret that the API and the command line can make; `json` runs a command.
async fn make(site: &Site, secrets: &mut Secrets, json: impl AsyncFn(Vec<String>) -> Value, folder: &Path) -> String {
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key}: {value}")).to_owned();
    let made = json(words("admin client create --environment dev grep")).await;
    let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    secrets.add("a client's secret", &secret);
    let second = json(words(&format!("admin client rotate-secret --environment dev {id}"))).await;
    secrets.add("a second secret", &text(&second, "client_secret"));
    let token = site.token(&id, &secret).await;
    secrets.add_token("a client's token", &token);
    let operator = json(words("admin token")).await;
    secrets.add_token("an operator's token", &text(&operator, "access_token"));

    let link = text(&json(words("admin operator-link")).await, "url");
    open_link(site, secrets, &link).await;

    let create = |name: &str| json!({"display_name": name, "external_id": name});
    let reply = site.rest("POST", "/api/v1/organizations", &token, Some(&create("acme"))).await.expect("an answer");
    let organization = text(&reply.json()["organization"], "id");
    let features = json!({"features": [{"name": "sso", "enabled": true}]});
    let path = format!("/api/v1/organizations/{organization}");
    let settings = site.rest("PATCH", &format!("{path}/settings"), &token, Some(&features)).await.expect("an answer");
    assert_eq!(settings.status, 200, "{}", settings.text());
    let link = site.rest("PUT", &format!("{path}/portal_links?features=sso"), &token, None).await.expect("an answer");
    assert_eq!(link.status, 200, "{}", link.text());
    let link = link.json()["link"].clone();
    let location = text(&link, "location");
    let secret = location.rsplit('/').next().expect("a path").to_owned();
    secrets.add("a portal link", &location);
    secrets.add("a portal link's secret", &secret);

    let made = json(vec![
        "admin".into(),
        "client".into(),
        "create".into(),
        "--environment".into(),
        "dev".into(),
        "--kind".into(),
        "organization".into(),
        "--organization".into(),
        organization,
        "Machine".into(),
    ])
    .await;
    let (machine, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    secrets.add("an organization client's secret", &secret);
    secrets.add_token("an organization client's token", &site.token(&machine, &secret).await);

    let seeded = "test_zyxwvutsrqponmlkjihgfedcba9876543210zyxwvutsrqpon";
    let file = folder.join("secret-seed.toml");
    std::fs::write(
        &file,
        format!(
            "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\n\
             id = \"skc_8573429015935040\"\nsecrets = [\"{seeded}\"]\n"
        ),
    )
    .expect("a seed file");
    json(words(&format!("seed apply {}", file.display()))).await;
    secrets.add("a seeded secret", seeded);
    secrets.add_token("a seeded client's token", &site.token("skc_8573429015935040", seeded).await);
    json(words("keys rotate --environment dev --now")).await;
    site.token(&machine, &secret).await;
    token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_stands_in_database_log_metrics_or_errors_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dev = Dev::start(folder.path(), None, "debug").await;
    let mut secrets = Secrets::default();
    for key in ["SCALEKIT_CLIENT_SECRET", "NARTHEX_PRD_CLIENT_SECRET"] {
        secrets.add(key, &dev.variable(key));
    }
    let master = std::fs::read_to_string(dev.dir.join("master.key")).expect("the master key");
    secrets.add("the master key", master.trim());
    let site = dev.site.clone();
    let token = make(
        &site,
        &mut secrets,
        async |arguments| dev.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await,
        folder.path(),
    )
    .await;
    errors(&site, &token, &secrets).await;
    let metrics = site.send(Request::get(format!("{}/metrics", site.base)), "").await.expect("metrics");
    assert_eq!(metrics.status, 200);
    secrets.assert_absent("/metrics", metrics.text().as_bytes());
    let events = site.send(Request::get(format!("{}/dev/events", site.base)), "").await.expect("events").text();
    assert!(events.contains("organization.created"));
    secrets.assert_absent("/dev/events", events.as_bytes());

    // With its log of pending writes, as a thief would copy it, and once it is closed.
    let files = || {
        let mut bytes = Vec::new();
        for name in ["narthex.db", "narthex.db-wal"] {
            bytes.extend(std::fs::read(dev.dir.join(name)).unwrap_or_default());
        }
        bytes
    };
    let bytes = files();
    assert!(contains(&bytes, b"acme") && contains(&bytes, b"skc_8573429015935040"), "what is looked for is found");
    secrets.assert_absent("the database's files", &bytes);
    dev.program.terminate().await;
    let bytes = std::fs::read(dev.dir.join("narthex.db")).expect("the database");
    assert!(contains(&bytes, b"acme"));
    secrets.assert_absent("the closed database", &bytes);
    let log = dev.program.text();
    assert!(log.contains("/api/v1/organizations") && log.contains("/oauth/token"), "{log}");
    secrets.assert_absent("the log", log.as_bytes());
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_stands_in_database_log_or_errors_postgres() {
    if narthex_db::testing::postgres_url().is_none() {
        return;
    }
    let database = TestDb::new(Engine::Postgres, &[]).await.expect("a PostgreSQL database");
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), "a", &database.options().url, None, "debug").await;
    let mut secrets = Secrets::default();
    let master = std::fs::read_to_string(Node::master_key(folder.path(), "a")).expect("the master key");
    secrets.add("the master key", master.trim());
    let site = node.site.clone();
    // The link of the first start: for the terminal, and for nothing that is kept.
    let printed = node.program.printed("/operator/link/").await;
    let link = printed.split_whitespace().find(|word| word.contains("/operator/link/")).expect("a link");
    open_link(&site, &mut secrets, link).await;
    let token = make(
        &site,
        &mut secrets,
        async |arguments| node.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await,
        folder.path(),
    )
    .await;
    errors(&site, &token, &secrets).await;
    let rows = dump(&database.db()).await;
    assert!(contains(&rows, b"acme") && contains(&rows, b"skc_8573429015935040"), "what is looked for is found");
    secrets.assert_absent("the database", &rows);
    node.program.terminate().await;
    let log = node.program.text();
    let lines = log.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert!(lines > 50 && log.contains("/oauth/token"), "{log}");
    secrets.assert_absent("the log", log.as_bytes());
    assert!(!log.contains("panicked"), "{log}");
}
