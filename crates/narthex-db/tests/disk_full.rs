//! A disk that refuses in the middle of a commit: SQLite only, in a child process whose files may not grow beyond a limit
//! that the test lowers and lifts (`prlimit`; the write then fails with EFBIG as it would with ENOSPC).
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::process::Command;

use narthex_db::testing::TestDb;
use narthex_db::{Db, DbError, Engine, Migration, p};

const CHILD: &str = "NARTHEX_DISK_FULL_CHILD";

const MIGRATIONS: &[Migration<'_>] = &[Migration {
    id: 1,
    name: "things",
    sqlite: "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, b BLOB) STRICT;",
    postgres: "",
}];

#[test]
fn a_commit_that_the_disk_refuses_is_unavailable_and_it_heals() {
    // The signal that a write beyond the limit sends must be ignored, and a process inherits what is ignored.
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact disk_full_process --ignored --nocapture"])
        .arg(program)
        .env(CHILD, "1")
        .status()
        .expect("sh");
    assert!(status.success(), "{status}");
}

fn limit_file_size(limit: &str) {
    let this = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &this, &format!("--fsize={limit}:unlimited")]).status();
    assert!(status.expect("prlimit (util-linux)").success());
}

async fn put(db: &Db, id: String, bytes: usize) -> Result<u64, DbError> {
    db.write(async move |tx| {
        tx.execute("INSERT INTO things (id, b) VALUES ($1, $2)", &p![&id, vec![1_u8; bytes]]).await
    })
    .await
}

async fn has(db: &Db, id: &str) -> bool {
    let mut reader = db.reader().await.expect("reads go on");
    reader.opt::<(i64,)>("SELECT 1 FROM things WHERE id = $1", &p![id]).await.expect("reads go on").is_some()
}

/// Not a test of its own: the child process of the test above.
#[test]
#[ignore = "started by the other test"]
fn disk_full_process() {
    #[expect(clippy::disallowed_methods, reason = "a child process gets its task by a variable")]
    if std::env::var(CHILD).is_err() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(disk_full());
}

async fn disk_full() {
    let mut db = TestDb::new(Engine::Sqlite, MIGRATIONS).await.expect("a database");
    let mut stored = Vec::new();
    for round in 0..3 {
        put(&db, format!("before{round}"), 50_000).await.expect("a write");
        let log = db.folder().expect("a folder").join("test.db-wal");
        let size = std::fs::metadata(log).expect("the log").len();
        // Room for a few more pages, then none: some commits pass, one fails half-way, the rest at their first page.
        limit_file_size(&(size + 60_000).to_string());
        let tasks: Vec<_> = (0..64)
            .map(|i| {
                let (db, id) = (db.db(), format!("w{round}-{i}"));
                tokio::spawn(async move { (put(&db, id.clone(), 3_000).await, id) })
            })
            .collect();
        let mut refused = Vec::new();
        for task in tasks {
            match task.await.expect("no panic") {
                (Ok(_), id) => stored.push(id),
                (Err(DbError::Unavailable(_)), id) => refused.push(id),
                (Err(error), id) => panic!("{id}: {error:?}"),
            }
        }
        let large = put(&db, format!("large{round}"), 500_000).await;
        assert!(matches!(large, Err(DbError::Unavailable(_))), "{large:?}");
        refused.push(format!("large{round}"));
        assert!(refused.len() > 10, "{} refused", refused.len());
        // Not even the probe's one page finds room.
        limit_file_size("1000");
        let health = db.health().await;
        assert!(health.read.is_none() && health.write.is_some(), "{health:?}");
        for id in &refused {
            assert!(!has(&db, id).await, "{id} was refused and is there");
        }
        limit_file_size("unlimited");
        assert!(db.health().await.is_well());
        put(&db, format!("after{round}"), 50_000).await.expect("it heals by itself");
        stored.extend([format!("before{round}"), format!("after{round}")]);
        if round == 1 {
            // What a crash or a restart finds must be the same.
            db.reopen().await.expect("open again");
        }
        for id in &refused {
            assert!(!has(&db, id).await, "{id} was refused and came back");
        }
    }
    for id in &stored {
        assert!(has(&db, id).await, "{id} was acknowledged and is gone");
    }
}
