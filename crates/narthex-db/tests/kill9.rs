//! kill -9 loses no acknowledged write. A child process writes at 64 at once and prints each id only after its write was
//! acknowledged; it, or the PostgreSQL server under it, is killed at a random moment; then every printed id must be there,
//! and no closure may be there by half.
#![allow(missing_docs)]

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use narthex_db::testing::{POSTGRES_URL, TestDb, postgres_url};
use narthex_db::{Db, DbError, DbOptions, Engine, Migration, p};

const URL: &str = "NARTHEX_KILL9_URL";
const ROUNDS: u32 = 5;
const WRITERS: usize = 64;

const MIGRATIONS: &[Migration<'_>] = &[same(
    "CREATE TABLE organizations (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE events (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL);",
)];

const fn same(sql: &str) -> Migration<'_> {
    Migration { id: 1, name: "organizations", sqlite: sql, postgres: sql }
}

fn random(below: u64) -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish() % below
}

/// Not a test of its own: the child process of the tests below.
#[test]
#[ignore = "started by the other tests"]
fn writer_process() {
    #[expect(clippy::disallowed_methods, reason = "a child process gets its task by a variable")]
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let db = Db::open(&DbOptions::new(url)).await.expect("a database");
        for _ in 0..WRITERS {
            tokio::spawn(write_for_ever(db.clone()));
        }
        // Normally killed long before; should the parent die, this ends by itself.
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
}

async fn write_for_ever(db: Db) {
    loop {
        let id = format!("{:016x}", random(u64::MAX));
        let key = id.clone();
        let written = db
            .write(async move |tx| {
                tx.execute("INSERT INTO organizations (id, body) VALUES ($1, $2)", &p![&key, "x".repeat(300)]).await?;
                tx.execute("INSERT INTO events (id, body) VALUES ($1, $2)", &p![&key, "y".repeat(400)]).await
            })
            .await;
        match written {
            // One write call per line: a line that is cut off by the kill has no line feed and does not count.
            Ok(_) => std::io::stdout().write_all(format!("ack {id}\n").as_bytes()).expect("the parent reads"),
            // A server that is killed under us: what is not acknowledged is not claimed.
            Err(DbError::Unavailable(_) | DbError::UnknownOutcome(_)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

struct Writer {
    child: Child,
    acknowledged: Receiver<String>,
}

impl Writer {
    fn start(url: &str) -> Writer {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "writer_process", "--ignored", "--nocapture", "--test-threads=1"])
            .env(URL, url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let (send, acknowledged) = channel();
        std::thread::spawn(move || {
            let mut lines = lines;
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(1..)) {
                if let Some(id) = line.strip_suffix('\n').and_then(|line| line.split("ack ").nth(1))
                    && send.send(id.to_owned()).is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        Writer { child, acknowledged }
    }

    /// Waits until the child is at work.
    fn first(&self) -> String {
        self.acknowledged.recv_timeout(Duration::from_secs(30)).expect("the child writes")
    }

    /// Kills the child, and returns all that it has acknowledged, up to the last byte it got out.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("an end");
        self.acknowledged.iter().collect()
    }
}

impl Drop for Writer {
    /// When the test fails before its kill.
    fn drop(&mut self) {
        if let (Err(error), _) | (_, Err(error)) = (self.child.kill(), self.child.wait().map(drop)) {
            eprintln!("the child process: {error}");
        }
    }
}

async fn assert_all_there(db: &Db, acknowledged: &HashSet<String>) {
    let started = Instant::now();
    let (organizations, events) = loop {
        let read = db.read(async |tx| {
            let organizations = tx.all::<(String,)>("SELECT id FROM organizations", &[]).await?;
            let events = tx.all::<(String,)>("SELECT id FROM events", &[]).await?;
            Ok::<_, DbError>((organizations, events))
        });
        match read.await {
            // A server that was killed replays its log first, and says so.
            Err(error) if error.is_unavailable() && started.elapsed() < Duration::from_mins(1) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            read => break read.expect("a read"),
        }
    };
    let organizations: HashSet<String> = organizations.into_iter().map(|(id,)| id).collect();
    let events: HashSet<String> = events.into_iter().map(|(id,)| id).collect();
    let lost: Vec<_> = acknowledged.difference(&organizations).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acknowledged.len());
    assert_eq!(organizations, events, "a closure was stored by half");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_loses_no_acknowledged_write_when_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("killed.db");
    let options = DbOptions::new(format!("sqlite:{}", path.display()));
    let db = Db::open(&options).await.expect("a database");
    db.migrate(MIGRATIONS).await.expect("migrations");
    db.close().await;
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let writer = Writer::start(&options.url);
        acknowledged.insert(writer.first());
        std::thread::sleep(Duration::from_millis(random(400)));
        acknowledged.extend(writer.kill());
        // The kernel gave the lock up with the process; the log is replayed now.
        let db = Db::open(&options).await.expect("the database opens again");
        assert_all_there(&db, &acknowledged).await;
        db.close().await;
        let conn = rusqlite::Connection::open(&path).expect("the file");
        let verdict: String = conn.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("a verdict");
        assert_eq!(verdict, "ok", "round {round}");
    }
    assert!(acknowledged.len() > 200, "only {} writes", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_loses_no_acknowledged_write_when_the_program_is_killed() {
    if postgres_url().is_none() {
        eprintln!("PostgreSQL was not run: {POSTGRES_URL} is not set");
        return;
    }
    let db = TestDb::new(Engine::Postgres, MIGRATIONS).await.expect("a database");
    let mut acknowledged = HashSet::new();
    for _ in 0..ROUNDS {
        let writer = Writer::start(&db.options().url);
        acknowledged.insert(writer.first());
        std::thread::sleep(Duration::from_millis(random(400)));
        acknowledged.extend(writer.kill());
        assert_all_there(&db, &acknowledged).await;
    }
    assert!(acknowledged.len() > 200, "only {} writes", acknowledged.len());
}

/// The program lives through it: it reports, waits, and goes on with the server that is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_loses_no_acknowledged_write_when_the_server_is_killed() {
    if postgres_url().is_none() {
        eprintln!("PostgreSQL was not run: {POSTGRES_URL} is not set");
        return;
    }
    let server = Server::start();
    let db = Db::open(&DbOptions::new(&server.url)).await.expect("a database");
    db.migrate(MIGRATIONS).await.expect("migrations");
    let mut acknowledged = HashSet::new();
    let writer = Writer::start(&server.url);
    for _ in 0..3 {
        acknowledged.insert(writer.first());
        std::thread::sleep(Duration::from_millis(100 + random(400)));
        server.kill();
        let before: HashSet<String> = writer.acknowledged.try_iter().collect();
        acknowledged.extend(before);
        server.start_again();
        // Acknowledged since then: the same program has found the server again.
        acknowledged.insert(writer.first());
        assert_all_there(&db, &acknowledged).await;
    }
    acknowledged.extend(writer.kill());
    assert_all_there(&db, &acknowledged).await;
    assert!(acknowledged.len() > 100, "only {} writes", acknowledged.len());
}

/// A durable server of this test's own.
struct Server {
    folder: tempfile::TempDir,
    url: String,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres.sh");

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        // The server runs as another user, who must get in.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let mut server = Server { folder, url: String::new() };
        server.url = server.run(&["start"], &["--durable"]).expect("a server");
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("pg")
    }

    fn run(&self, action: &[&str], more: &[&str]) -> Result<String, String> {
        let output = Command::new(SCRIPT).args(action).arg(self.data()).args(more).output().expect("bash");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn kill(&self) {
        let pid = std::fs::read_to_string(self.data().join("pid")).expect("a process id");
        let status = Command::new("kill").args(["-9", pid.trim()]).status().expect("kill");
        assert!(status.success());
        let process = PathBuf::from("/proc").join(pid.trim());
        while process.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn start_again(&self) {
        let port = self.url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()).expect("a port");
        // The orphaned sessions notice within moments that their postmaster is gone; until then it refuses to start.
        for _ in 0..40 {
            if self.run(&["start"], &["--durable", "--port", port]).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        panic!("{:?}", self.run(&["start"], &["--durable", "--port", port]));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["stop"], &[]) {
            eprintln!("the server was left behind: {error}");
        }
    }
}
