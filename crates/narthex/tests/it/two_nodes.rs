//! Two processes of `narthex serve` on one PostgreSQL database: what one does counts on the other, and one's death is not the other's.

use std::path::Path;
use std::time::{Duration, Instant};

use narthex_db::testing::TestDb;
use narthex_db::{Db, Engine, FromRow};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::{Node, Site};

/// What is taken away on one node is refused on the other within this time (DESIGN §6, mistake 10).
pub const AT_MOST: Duration = Duration::from_secs(1);

pub struct Pair {
    pub a: Node,
    pub b: Node,
    database: TestDb,
    folder: TempDir,
}

impl Pair {
    /// `None` without a PostgreSQL to run on.
    pub async fn start() -> Option<Self> {
        narthex_db::testing::postgres_url()?;
        let database = TestDb::new(Engine::Postgres, &[]).await.expect("a PostgreSQL database");
        let folder = tempfile::tempdir().expect("a folder");
        let url = database.options().url.clone();
        let a = Node::start(folder.path(), "a", &url, None, "info").await;
        let key = Node::master_key(folder.path(), "a");
        let b = Node::start(folder.path(), "b", &url, Some(&key), "info").await;
        Some(Self { a, b, database, folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn url(&self) -> String {
        self.database.options().url.clone()
    }

    pub async fn rows<T: FromRow + Send + 'static>(&self, sql: &'static str) -> Vec<T> {
        self.db().read(async move |tx| tx.all(sql, &[]).await).await.expect("rows")
    }

    fn db(&self) -> Db {
        self.database.db()
    }

    /// A new client of the DEV environment, made on A.
    async fn client(&self) -> (String, String) {
        let made = self.a.json(&["admin", "client", "create", "--environment", "dev", "two nodes"]).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        (text("client_id"), text("client_secret"))
    }
}

async fn status(site: &Site, token: &str) -> u16 {
    site.rest("GET", "/api/v1/organizations?page_size=1", token, None).await.expect("an answer").status.as_u16()
}

/// Waits until `ask` answers `wanted`, which must not take longer than [`AT_MOST`], and must stay so.
pub async fn within_a_second(what: &str, wanted: u16, ask: impl AsyncFn() -> u16) {
    let started = Instant::now();
    loop {
        let got = ask().await;
        if got == wanted {
            break;
        }
        assert!(started.elapsed() < AT_MOST, "{what}: still {got} after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..5 {
        assert_eq!(ask().await, wanted, "{what}: it stays so");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_41_what_one_node_takes_away_the_other_refuses_within_a_second() {
    let Some(pair) = Pair::start().await else { return };
    let (a, b) = (&pair.a, &pair.b.site);

    // A secret.
    let (id, secret) = pair.client().await;
    assert_eq!(b.ask_token(&id, &secret).await.unwrap().status, 200, "B knows it, and has it cached");
    let second = a.json(&["admin", "client", "rotate-secret", "--environment", "dev", &id]).await;
    let second = second["client_secret"].as_str().unwrap().to_owned();
    let (first_id,): (i64,) = {
        let client = id.clone();
        let sql = "SELECT id FROM client_secrets WHERE client_id = $1 ORDER BY id LIMIT 1";
        pair.db().read(async move |tx| tx.one(sql, &narthex_db::p![&client]).await).await.unwrap()
    };
    let token = b.token(&id, &second).await;
    let first_id = format!("sks_{first_id}");
    a.json(&["admin", "client", "revoke-secret", "--environment", "dev", "--secret", &first_id, &id]).await;
    within_a_second("a revoked secret", 401, async || b.ask_token(&id, &secret).await.unwrap().status.as_u16()).await;
    assert_eq!(b.ask_token(&id, &second).await.unwrap().status, 200, "the other secret is as good as before");

    // A client, with a token that B has just accepted.
    for _ in 0..3 {
        assert_eq!(status(b, &token).await, 200);
    }
    a.json(&["admin", "client", "disable", "--environment", "dev", &id]).await;
    within_a_second("a token of a disabled client", 401, async || status(b, &token).await).await;
    assert_eq!(b.ask_token(&id, &second).await.unwrap().status, 401);
    a.json(&["admin", "client", "enable", "--environment", "dev", &id]).await;
    within_a_second("an enabled client", 200, async || b.ask_token(&id, &second).await.unwrap().status.as_u16()).await;

    // A signing key.
    let (id, secret) = pair.client().await;
    let token = b.token(&id, &secret).await;
    assert_eq!(status(b, &token).await, 200);
    let keys = a.json(&["keys", "list", "--environment", "dev"]).await;
    let current = keys.as_array().unwrap().iter().find(|key| key["state"] == "current").unwrap()["key"].clone();
    a.json(&["keys", "withdraw", "--environment", "dev", current.as_str().unwrap()]).await;
    within_a_second("a token under a withdrawn key", 401, async || status(b, &token).await).await;
    let published = b.send(http::Request::get(format!("{}/keys", b.base)), "").await.unwrap().text();
    assert!(!published.contains(current.as_str().unwrap()), "{published}");
    let fresh = b.token(&id, &secret).await;
    assert_eq!((status(b, &fresh).await, status(&a.site, &fresh).await), (200, 200), "B signs with the new key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_40_ctl_45_what_one_node_issues_the_other_accepts_at_once() {
    let Some(pair) = Pair::start().await else { return };
    let (a, b) = (&pair.a, &pair.b.site);
    let (id, secret) = pair.client().await;
    let mut known = secret;
    for round in 0..4 {
        assert_eq!(b.ask_token(&id, &known).await.unwrap().status, 200, "B has the client in memory");
        let made = a.json(&["admin", "client", "rotate-secret", "--environment", "dev", &id]).await;
        known = made["client_secret"].as_str().unwrap().to_owned();
        assert_eq!(b.ask_token(&id, &known).await.unwrap().status, 200, "round {round}: a secret made on A");
    }
    let (id, secret) = pair.client().await;
    assert_eq!(status(b, &b.token(&id, &secret).await).await, 200, "B has the keys in memory");
    a.json(&["keys", "rotate", "--environment", "dev", "--now"]).await;
    let token = a.site.token(&id, &secret).await;
    // B looks again for a key it does not know, but not more often than its poll does: forged key ids would cost a query each.
    within_a_second("a token under a key that B has not seen yet", 200, async || status(b, &token).await).await;
    assert_eq!(b.ask_token(&id, "wrong").await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_16_what_one_node_writes_the_other_reads_at_once() {
    let Some(pair) = Pair::start().await else { return };
    let (a, b) = (&pair.a.site, &pair.b.site);
    let (id, secret) = pair.client().await;
    let token = a.token(&id, &secret).await;
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (a, b) } else { (b, a) };
        let body = json!({"display_name": format!("Number {n}"), "external_id": format!("number-{n}")});
        let made = writer.rest("POST", "/api/v1/organizations", &token, Some(&body)).await.unwrap();
        assert_eq!(made.status, 201, "{}", made.text());
        let id = made.json()["organization"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/organizations/{id}");
        let read = reader.rest("GET", &path, &token, None).await.unwrap();
        assert_eq!(
            (read.status.as_u16(), read.json()["organization"].clone()),
            (200, made.json()["organization"].clone())
        );
        // A change and a deletion too.
        let change = json!({"display_name": "Changed"});
        assert_eq!(writer.rest("PATCH", &path, &token, Some(&change)).await.unwrap().status, 200);
        let read = reader.rest("GET", &path, &token, None).await.unwrap().json();
        assert_eq!(read["organization"]["display_name"], "Changed");
        if n % 3 == 0 {
            writer.rest("DELETE", &path, &token, None).await.unwrap();
            assert_eq!(reader.rest("GET", &path, &token, None).await.unwrap().status, 404);
        }
    }

    // An environment that B has just been asked for in vain.
    let late = Site { base: b.base.clone(), host: "late.auth.example".to_owned() };
    let keys = async || late.send(http::Request::get(format!("{}/keys", late.base)), "").await.unwrap().status.as_u16();
    assert_eq!(keys().await, 404);
    let seed = pair.path().join("late.toml");
    std::fs::write(
        &seed,
        "[[workspaces]]\n[[workspaces.environments]]\nid = \"env_8573429015935041\"\nkind = \"dev\"\n\
         origin = \"https://late.auth.example\"\n",
    )
    .unwrap();
    pair.a.json(&["seed", "apply", &seed.display().to_string()]).await;
    within_a_second("an environment made on the other node", 200, keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_04_an_external_id_claimed_on_both_nodes_at_once_has_one_owner() {
    let Some(pair) = Pair::start().await else { return };
    let (id, secret) = pair.client().await;
    let token = pair.a.site.token(&id, &secret).await;
    for round in 0..12 {
        let body = json!({"display_name": "Raced", "external_id": format!("raced-{round}")});
        let claims = (0..6).map(|n| {
            let site = if n % 2 == 0 { pair.a.site.clone() } else { pair.b.site.clone() };
            let (token, body) = (token.clone(), body.clone());
            tokio::spawn(async move { site.rest("POST", "/api/v1/organizations", &token, Some(&body)).await.unwrap() })
        });
        let mut won = 0;
        for claim in claims.collect::<Vec<_>>() {
            let reply = claim.await.unwrap();
            if reply.status == 201 {
                won += 1;
            } else {
                let text = reply.text();
                assert_eq!(reply.status, 400, "{text}");
                assert!(text.contains("external"), "{text}");
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
    let rows: Vec<(i64, i64)> =
        pair.rows("SELECT count(*), count(DISTINCT external_id) FROM organizations WHERE display_name = 'Raced'").await;
    assert_eq!(rows, [(12, 12)]);
    let events: Vec<(i64,)> =
        pair.rows("SELECT count(*) FROM events WHERE type = 'organization.created' AND body LIKE '%raced-%'").await;
    assert_eq!(events, [(12,)], "those that lost left no event");
}

/// The node number inside an id: 10 bits above the 12 of the sequence.
fn node_of(id: i64) -> i64 {
    id >> 12 & 0x3ff
}

fn number(reply: &Value) -> i64 {
    reply["organization"]["id"].as_str().unwrap().trim_start_matches("org_").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_16_a_killed_node_leaves_no_trace_but_its_work_which_others_finish() {
    let Some(mut pair) = Pair::start().await else { return };
    let (id, secret) = pair.client().await;
    let (a, b) = (pair.a.site.clone(), pair.b.site.clone());
    let token = b.token(&id, &secret).await;
    let create = async |site: &Site, name: &str| {
        let reply = site.rest("POST", "/api/v1/organizations", &token, Some(&json!({"display_name": name}))).await?;
        assert_eq!(reply.status, 201, "{}", reply.text());
        Ok::<_, String>(number(&reply.json()))
    };
    let numbers = (node_of(create(&a, "On A").await.unwrap()), node_of(create(&b, "On B").await.unwrap()));
    assert_ne!(numbers.0, numbers.1, "each node has a number of its own");
    let held: Vec<(i64, i64)> =
        pair.rows("SELECT count(*), count(DISTINCT holder) FROM nodes WHERE lease_until > 0").await;
    assert_eq!(held, [(2, 2)]);

    // Both under load while A dies: B must not notice.
    let load = |site: Site| {
        let token = token.clone();
        tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0..400 {
                let body = json!({"display_name": format!("Load {n}")});
                match site.rest("POST", "/api/v1/organizations", &token, Some(&body)).await {
                    Ok(reply) => {
                        assert_eq!(reply.status, 201, "{}", reply.text());
                        made.push(number(&reply.json()));
                    }
                    Err(error) => return (made, Some(error)),
                }
            }
            (made, None)
        })
    };
    let (on_a, on_b) = (load(a.clone()), load(b.clone()));
    tokio::time::sleep(Duration::from_millis(400)).await;
    pair.a.program.kill().await;
    let (made_a, error) = on_a.await.unwrap();
    assert!(error.is_some(), "A died too late to be missed");
    let (made_b, error) = on_b.await.unwrap();
    assert_eq!((made_b.len(), error), (400, None), "no request to B failed");
    assert!(!made_a.is_empty());
    let last = *made_a.last().unwrap();
    for id in [made_a[0], last] {
        assert_eq!(b.rest("GET", &format!("/api/v1/organizations/org_{id}"), &token, None).await.unwrap().status, 200);
    }

    // B seals what A has left, leased jobs included: a lease is 30 seconds long.
    let started = Instant::now();
    loop {
        let open: Vec<(i64,)> = pair
            .rows(
                "SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT 1 FROM audit_chain c WHERE c.event_id = e.id)",
            )
            .await;
        if open == [(0,)] {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{open:?} events are not sealed");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let unsealed: Vec<(i64,)> = pair.rows("SELECT count(*) FROM jobs WHERE kind = 'audit'").await;
    assert_eq!(unsealed, [(0,)]);
    let findings = pair.b.doctor().await;
    for check in ["counters", "audit chain", "migrations", "database"] {
        let found: Vec<&Value> = findings.as_array().unwrap().iter().filter(|row| row["check"] == check).collect();
        assert!(!found.is_empty() && found.iter().all(|row| row["level"] == "ok"), "{check}: {findings:#}");
    }

    // Once A's lease is over, its number is another's, whose ids begin above A's.
    let gone = numbers.0;
    pair.db()
        .write(async move |tx| {
            let sql = "UPDATE nodes SET lease_until = lease_until - 120000000 WHERE number = $1";
            tx.execute(sql, &narthex_db::p![gone]).await
        })
        .await
        .unwrap();
    let key = Node::master_key(pair.path(), "a");
    let c = Node::start(pair.path(), "c", &pair.url(), Some(&key), "info").await;
    let id = create(&c.site, "On C").await.unwrap();
    assert_eq!(node_of(id), gone);
    assert!(id > last);
    assert!(!pair.b.program.text().contains("panicked"));
}
