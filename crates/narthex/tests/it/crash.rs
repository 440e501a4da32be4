//! `kill -9` under load: what was acknowledged is there, whole, and nothing is there by half.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use narthex_db::testing::TestDb;
use narthex_db::{Db, DbOptions, Engine};
use serde_json::{Value, json};

use crate::http::{Connection, Protocol};
use crate::programs::Dev;

const CLIENTS: usize = 32;
const ROUNDS: u32 = 3;

/// Creates one organization after the other until the server is gone. Ids of the acknowledged ones.
async fn create(base: String, token: String, acknowledged: Arc<AtomicUsize>) -> Vec<String> {
    let mut made = Vec::new();
    let Ok(mut connection) = Connection::open(&base, Protocol::H1, None).await else { return made };
    loop {
        let request = Request::post(format!("{base}/api/v1/organizations"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(
                json!({"display_name": "Survivor", "metadata": {"number": format!("{:05}", made.len())}})
                    .to_string()
                    .into(),
            )
            .expect("a request");
        match connection.send(request).await {
            Ok(reply) => {
                assert_eq!(reply.status, 201, "{}", reply.text());
                made.push(reply.json()["organization"]["id"].as_str().expect("an id").to_owned());
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => return made,
        }
    }
}

async fn crash(engine: Engine) {
    if engine == Engine::Postgres && narthex_db::testing::postgres_url().is_none() {
        return;
    }
    let database = match engine {
        Engine::Postgres => Some(TestDb::new(engine, &[]).await.expect("a PostgreSQL database")),
        Engine::Sqlite => None,
    };
    let url = database.as_ref().map(|database| database.options().url.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut dev = Dev::start(folder.path(), url.as_deref(), "info").await;
        let token = dev.token().await;
        let count = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(create(dev.site.base.clone(), token.clone(), count.clone()))).collect();
        // The load is running when the process dies, each time at another moment of it.
        let started = Instant::now();
        while count.load(Ordering::Relaxed) < CLIENTS * 2 {
            assert!(started.elapsed() < Duration::from_mins(1), "the load does not come up: {}", dev.program.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 37)).await;
        dev.program.kill().await;
        let before = acknowledged.len();
        for client in clients {
            acknowledged.extend(client.await.expect("every answer is a success"));
        }
        assert!(acknowledged.len() >= before + CLIENTS * 2);
    }

    let mut dev = Dev::start(folder.path(), url.as_deref(), "info").await;
    let token = dev.token().await;
    for id in acknowledged.iter().step_by(7) {
        let reply =
            dev.site.rest("GET", &format!("/api/v1/organizations/{id}"), &token, None).await.expect("an answer");
        assert_eq!(reply.status, 200, "{id}: {}", reply.text());
    }
    let total = dev.site.rest("GET", "/api/v1/organizations?page_size=1", &token, None).await.expect("an answer");
    let total = total.json()["total_size"].as_i64().expect("a number");
    let findings = dev.json(&["doctor"]).await;
    for check in ["database", "migrations", "master key", "counters", "audit chain"] {
        let found: Vec<&Value> =
            findings.as_array().expect("a list").iter().filter(|row| row["check"] == check).collect();
        assert!(!found.is_empty() && found.iter().all(|row| row["level"] == "ok"), "{check}: {findings:#}");
    }
    dev.program.terminate().await;
    let log = dev.program.text();
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");

    let options = match &database {
        Some(database) => database.options().clone(),
        None => DbOptions::new(format!("sqlite:{}", dev.dir.join("narthex.db").display())),
    };
    let db = Db::open(&options).await.expect("the database");
    let read = async |sql: &'static str| -> Vec<(i64,)> {
        db.read(async move |tx| tx.all(sql, &[]).await).await.expect("rows")
    };
    let stored: BTreeSet<String> = read("SELECT id FROM organizations WHERE display_name = 'Survivor'")
        .await
        .into_iter()
        .map(|(id,)| format!("org_{id}"))
        .collect();
    let lost: Vec<&String> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} acknowledged organizations are lost: {lost:?}", lost.len());
    assert_eq!(
        read(
            "SELECT o.id FROM organizations o WHERE (SELECT count(*) FROM events e \
             WHERE e.organization_id = o.id AND e.type = 'organization.created') <> 1"
        )
        .await,
        [],
        "an organization without its event, or with two"
    );
    assert_eq!(
        read(
            "SELECT e.id FROM events e WHERE e.organization_id IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM organizations o WHERE o.id = e.organization_id)"
        )
        .await,
        [],
        "an event without its organization"
    );
    assert_eq!(
        read(
            "SELECT e.id FROM events e WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = e.id AND j.kind = 'audit') \
             AND NOT EXISTS (SELECT 1 FROM audit_chain c WHERE c.event_id = e.id)"
        )
        .await,
        [],
        "an event that nobody will seal"
    );
    assert_eq!(
        read("SELECT count(*) FROM organizations o WHERE o.environment_id = (SELECT environment_id FROM organizations WHERE display_name = 'Survivor' ORDER BY id LIMIT 1)").await,
        [(total,)],
        "the counter agrees with the rows"
    );
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_acknowledged_organization_sqlite() {
    crash(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_acknowledged_organization_postgres() {
    crash(Engine::Postgres).await;
}
