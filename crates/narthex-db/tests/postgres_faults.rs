//! PostgreSQL that goes away: connections cut around COMMIT, sessions ended, the server stopped and started.
//! These run when the variable of `narthex_db::testing` is set, as all PostgreSQL tests do.
#![allow(missing_docs)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use narthex_db::testing::{POSTGRES_URL, TestDb, postgres_url};
use narthex_db::{Db, DbError, DbOptions, Engine, Metrics, Migration, p};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MIGRATIONS: &[Migration<'_>] = &[Migration {
    id: 1,
    name: "things",
    sqlite: "",
    postgres: "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, run BIGINT NOT NULL);",
}];

fn configured() -> bool {
    if postgres_url().is_none() {
        eprintln!("PostgreSQL was not run: {POSTGRES_URL} is not set");
    }
    postgres_url().is_some()
}

/// What the proxy does with the first COMMIT it sees.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The server gets it, the client never hears.
    After,
    /// The server never gets it.
    Before,
    /// The client's connection is cut at once, the server gets the COMMIT some time later.
    Late,
}

/// A TCP proxy that cuts one connection in the moment of its COMMIT and passes everything else on.
async fn proxy(url: &str, cut: Cut) -> String {
    let (before, after) = url.split_once('@').expect("a user in the URL");
    let (server, database) = after.split_once('/').expect("a database in the URL");
    let server = server.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let armed = Arc::new(AtomicU32::new(1));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let upstream = TcpStream::connect(&server).await.expect("the server");
            tokio::spawn(pass(client, upstream, cut, Arc::clone(&armed)));
        }
    });
    format!("{before}@{address}/{database}")
}

async fn pass(client: TcpStream, server: TcpStream, cut: Cut, armed: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 65536];
    while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
        let commits = buffer[..n].windows(7).any(|window| window == b"COMMIT\0");
        if commits && armed.swap(0, Ordering::Relaxed) == 1 {
            // The answer must not get through.
            back.abort();
            drop(back.await);
            match cut {
                Cut::Before => {}
                Cut::After => {
                    to_server.write_all(&buffer[..n]).await.expect("the server takes it");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Cut::Late => {
                    drop(from_client);
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    to_server.write_all(&buffer[..n]).await.expect("the server takes it");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            return;
        }
        if to_server.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
}

async fn through_proxy(db: &TestDb, cut: Cut) -> Db {
    let options = DbOptions { url: proxy(&db.options().url, cut).await, ..db.options().clone() };
    Db::open(&options).await.expect("a database behind the proxy")
}

async fn runs(db: &Db) -> Vec<(i64,)> {
    let mut reader = db.reader().await.expect("a reader");
    reader.all("SELECT run FROM things ORDER BY run", &[]).await.expect("rows")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_unknown_outcome_is_never_repeated_blindly() {
    if !configured() {
        return;
    }
    for (cut, stored) in [(Cut::After, 1), (Cut::Before, 0)] {
        let db = TestDb::new(Engine::Postgres, MIGRATIONS).await.expect("a database");
        let cutting = through_proxy(&db, cut).await;
        let attempts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&attempts);
        let answer = cutting
            .write(async move |tx| {
                let run = count.fetch_add(1, Ordering::Relaxed) + 1;
                tx.execute("INSERT INTO things (id, run) VALUES ('a', $1)", &p![run]).await
            })
            .await;
        assert!(answer.as_ref().is_err_and(DbError::is_unknown_outcome), "{cut:?}: {answer:?}");
        assert_eq!(attempts.load(Ordering::Relaxed), 1, "{cut:?}");
        // The client hears of the cut before the server has done what it was sent.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(runs(&db).await.len(), stored, "{cut:?}");
        assert_eq!(Metrics::get(&cutting.metrics().unknown_outcomes), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_settles_an_unknown_outcome() {
    if !configured() {
        return;
    }
    for cut in [Cut::After, Cut::Before, Cut::Late] {
        let db = TestDb::new(Engine::Postgres, MIGRATIONS).await.expect("a database");
        let cutting = through_proxy(&db, cut).await;
        let attempts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&attempts);
        let run = cutting
            .write_checked(
                1,
                async |tx| Ok(tx.opt::<(i64,)>("SELECT run FROM things WHERE id = 'a'", &[]).await?.is_some()),
                async move |tx| {
                    let run = i64::from(count.fetch_add(1, Ordering::Relaxed) + 1);
                    tx.execute("INSERT INTO things (id, run) VALUES ('a', $1)", &p![run]).await?;
                    Ok::<_, DbError>(run)
                },
            )
            .await
            .unwrap_or_else(|error| panic!("{cut:?}: {error:?}"));
        assert_eq!(runs(&db).await, [(run,)], "{cut:?}: the answer is that of the run that is stored");
        let expected = match cut {
            Cut::After => 1..=1,
            Cut::Before => 2..=2,
            // The repeated run waits for the row of the first, and fails or gives way to it.
            Cut::Late => 1..=8,
        };
        assert!(expected.contains(&attempts.load(Ordering::Relaxed)), "{cut:?}: {attempts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_a_repeated_run_holds_only_if_nothing_was_stored() {
    if !configured() {
        return;
    }
    let db = TestDb::new(Engine::Postgres, MIGRATIONS).await.expect("a database");
    let cutting = through_proxy(&db, Cut::Before).await;
    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    // Not stored, and the second run is refused by the application: that refusal is the answer.
    let answer = cutting
        .write_checked(
            1,
            async |tx| Ok(tx.opt::<(i64,)>("SELECT run FROM things WHERE id = 'a'", &[]).await?.is_some()),
            async move |tx| {
                if count.fetch_add(1, Ordering::Relaxed) > 0 {
                    return Err(DbError::Data("no seat left".into()));
                }
                tx.execute("INSERT INTO things (id, run) VALUES ('a', 1)", &[]).await
            },
        )
        .await;
    assert!(matches!(&answer, Err(DbError::Data(text)) if text == "no seat left"), "{answer:?}");
    assert!(runs(&db).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_ended_by_the_administrator_lose_no_acknowledged_write() {
    if !configured() {
        return;
    }
    let db = TestDb::new(Engine::Postgres, MIGRATIONS).await.expect("a database");
    let stop = Arc::new(AtomicU32::new(0));
    let writers: Vec<_> = (0..8)
        .map(|task| {
            let (db, stop) = (db.db(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut stored, mut refused, mut unsure) = (Vec::new(), Vec::new(), 0);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) == 1 {
                        break;
                    }
                    let id = format!("{task}-{n}");
                    let key = id.clone();
                    match db
                        .write(async move |tx| tx.execute("INSERT INTO things VALUES ($1, 1)", &p![&key]).await)
                        .await
                    {
                        Ok(_) => stored.push(id),
                        Err(DbError::UnknownOutcome(_)) => unsure += 1,
                        // The new connection was ended as well, before it was of any use.
                        Err(DbError::Unavailable(_)) => refused.push(id),
                        Err(error) => panic!("{error:?}"),
                    }
                }
                (stored, refused, unsure)
            })
        })
        .collect();
    let axe = Db::open(db.options()).await.expect("another node");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut reader = axe.reader().await.expect("a reader");
        reader
            .one::<(i64,)>(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
                &[],
            )
            .await
            .expect("an axe");
    }
    stop.store(1, Ordering::Relaxed);
    let (mut stored, mut unsure) = (0, 0);
    for writer in writers {
        let (ids, refused, lost) = writer.await.expect("no panic");
        let mut reader = axe.reader().await.expect("a reader");
        for (id, expected) in ids.iter().map(|id| (id, true)).chain(refused.iter().map(|id| (id, false))) {
            let row: Option<(i64,)> =
                reader.opt("SELECT run FROM things WHERE id = $1", &p![id]).await.expect("a read");
            assert_eq!(row.is_some(), expected, "{id}");
        }
        stored += ids.len();
        unsure += lost;
    }
    assert!(stored > 20, "{stored} stored, {unsure} of unknown outcome");
}

/// A server of this test's own.
struct Server {
    folder: tempfile::TempDir,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres.sh");

impl Server {
    fn start() -> (Server, String) {
        let folder = tempfile::tempdir().expect("a folder");
        // The server runs as another user, who must get in.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let server = Server { folder };
        let url = server.run("start", &[]);
        (server, url)
    }

    fn run(&self, action: &str, more: &[&str]) -> String {
        let output = Command::new(SCRIPT).arg(action).arg(self.folder.path().join("pg")).args(more).output();
        let output = output.expect("bash");
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a URL").trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

async fn put(db: &Db, id: &'static str) -> Result<u64, DbError> {
    db.write(async move |tx| tx.execute("INSERT INTO things VALUES ($1, 1)", &p![id]).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_found_again() {
    if !configured() {
        return;
    }
    let (server, url) = Server::start();
    let db = Db::open(&DbOptions::new(&url)).await.expect("a database");
    db.migrate(MIGRATIONS).await.expect("migrations");
    put(&db, "before").await.expect("a write");
    assert!(db.health().await.is_well());
    server.run("stop", &[]);
    let started = Instant::now();
    let refused = put(&db, "during").await;
    assert!(matches!(refused, Err(DbError::Unavailable(_))), "{refused:?}");
    assert!(db.reader().await.is_err_and(|error| error.is_unavailable()));
    let scan = db.read(async |tx| tx.all::<(String,)>("SELECT id FROM things", &[]).await).await;
    assert!(matches!(scan, Err(DbError::Unavailable(_))), "{scan:?}");
    let health = db.health().await;
    assert!(health.read.is_some() && health.write.is_some(), "{health:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "answers come at once: {:?}", started.elapsed());
    assert!(matches!(Db::open(&DbOptions::new(&url)).await.map(drop), Err(DbError::Unavailable(_))));
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()).expect("a port");
    assert_eq!(server.run("start", &["--port", port]), url);
    put(&db, "after").await.expect("it heals by itself");
    assert!(db.health().await.is_well());
    let mut reader = db.reader().await.expect("a reader");
    let ids: Vec<(String,)> = reader.all("SELECT id FROM things ORDER BY id", &[]).await.expect("rows");
    assert_eq!(ids, [("after".to_owned(),), ("before".to_owned(),)]);
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_told_at_start() {
    let open = async |url: &str| Db::open(&DbOptions::new(url)).await.map(drop);
    // Port 9 of loopback: discard, which nothing serves.
    assert!(matches!(open("postgres://nobody@127.0.0.1:9/none").await, Err(DbError::Unavailable(_))));
    let tls = open("postgres://nobody@127.0.0.1:9/none?sslmode=require").await;
    assert!(matches!(&tls, Err(DbError::Options(text)) if text.contains("TLS")), "{tls:?}");
    assert!(matches!(open("mysql://127.0.0.1/none").await, Err(DbError::Options(_))));
    assert!(matches!(open("sqlite::memory:").await, Err(DbError::Options(_))));
    let wrong = open("postgres://user:secret@127.0.0.1:notaport/none").await;
    assert!(matches!(&wrong, Err(DbError::Options(text)) if !text.contains("secret")), "{wrong:?}");
}
