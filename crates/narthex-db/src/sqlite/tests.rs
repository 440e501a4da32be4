//! Faults that only the writer's own connection can bring about.

use std::sync::mpsc;
use std::time::Duration;

use crate::testing::TestDb;
use crate::{Db, DbError, Engine, Metrics, Migration, Store, p};

const MIGRATIONS: &[Migration<'_>] = &[Migration {
    id: 1,
    name: "things",
    sqlite: "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, b BLOB) STRICT;",
    postgres: "",
}];

async fn database() -> TestDb {
    TestDb::new(Engine::Sqlite, MIGRATIONS).await.expect("a database")
}

/// Runs `pragma` on the writer's connection.
async fn pragma(db: &Db, pragma: &'static str) {
    let Store::Sqlite(sqlite) = &db.inner.store else { panic!("not SQLite") };
    let run = move |conn: &mut rusqlite::Connection| {
        conn.query_row(pragma, (), |_| Ok(())).or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(super::map(&other).error),
        })
    };
    sqlite.alone(run).await.expect("a pragma");
}

/// Holds the writer until the returned sender is used, so that what is queued meanwhile becomes one batch.
async fn hold(db: &Db) -> mpsc::Sender<()> {
    let (open, gate) = mpsc::channel::<()>();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let Store::Sqlite(sqlite) = &db.inner.store else { panic!("not SQLite") };
    let task = Box::new(move |_: &mut rusqlite::Connection| {
        entered.send(()).expect("the test waits");
        gate.recv().expect("the test opens the gate");
    });
    sqlite.writes.push(super::OWN_SHARE, crate::queue::Work::Alone(task));
    inside.await.expect("the writer is held");
    open
}

async fn queued(db: &Db, count: u64) {
    while Metrics::get(&db.metrics().queue_depth) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn has(db: &Db, id: &str) -> bool {
    let mut reader = db.reader().await.expect("reads go on");
    reader.opt::<(i64,)>("SELECT 1 FROM things WHERE id = $1", &p![id]).await.expect("reads go on").is_some()
}

fn put(db: &Db, id: String, bytes: usize) -> tokio::task::JoinHandle<Result<u64, DbError>> {
    let db = db.clone();
    tokio::spawn(async move {
        let blob = vec![0_u8; bytes];
        db.write(async move |tx| tx.execute("INSERT INTO things (id, b) VALUES ($1, $2)", &p![&id, &blob]).await).await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_waiting_writes_share_one_commit() {
    let db = database().await;
    let before = Metrics::get(&db.metrics().batches);
    let gate = hold(&db).await;
    let tasks: Vec<_> = (0..64).map(|i| put(&db, format!("w{i}"), 10)).collect();
    queued(&db, 64).await;
    gate.send(()).expect("the writer waits");
    for task in tasks {
        task.await.expect("no panic").expect("a write");
    }
    assert_eq!(Metrics::get(&db.metrics().batches) - before, 1);
    assert_eq!(Metrics::get(&db.metrics().commits), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_answers_unavailable_keeps_nothing_and_heals() {
    let db = database().await;
    put(&db, "before".into(), 10).await.expect("no panic").expect("a write");
    pragma(&db, "PRAGMA max_page_count = 100").await;
    let tasks: Vec<_> = (0..60).map(|i| put(&db, format!("w{i}"), 20_000)).collect();
    let mut refused = 0;
    for (i, task) in tasks.into_iter().enumerate() {
        match task.await.expect("no panic") {
            Ok(_) => assert!(has(&db, &format!("w{i}")).await, "{i}"),
            Err(error) => {
                assert!(matches!(error, DbError::Unavailable(_)), "{error:?}");
                assert!(!has(&db, &format!("w{i}")).await, "{i}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 30, "{refused}");
    // Many pages at once: a small write may still find room.
    let large = put(&db, "large".into(), 1_000_000).await.expect("no panic");
    assert!(matches!(large, Err(DbError::Unavailable(_))), "{large:?}");
    assert!(has(&db, "before").await);
    pragma(&db, "PRAGMA max_page_count = 1000000").await;
    put(&db, "after".into(), 20_000).await.expect("no panic").expect("it heals by itself");
    assert!(db.health().await.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_answers_unavailable_turns_red_and_heals() {
    let db = database().await;
    put(&db, "before".into(), 10).await.expect("no panic").expect("a write");
    pragma(&db, "PRAGMA query_only = 1").await;
    let refused = put(&db, "during".into(), 10).await.expect("no panic");
    assert!(matches!(refused, Err(DbError::Unavailable(_))), "{refused:?}");
    assert!(has(&db, "before").await);
    let health = db.health().await;
    assert!(health.read.is_none() && health.write.is_some(), "{health:?}");
    pragma(&db, "PRAGMA query_only = 0").await;
    assert!(db.health().await.is_well(), "health tries a write of its own, so it turns green without traffic");
    put(&db, "after".into(), 10).await.expect("no panic").expect("a write");
    assert!(!has(&db, "during").await);
}

/// `INSERT OR ROLLBACK` and an interrupted statement take the whole outer transaction with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closure_that_ends_the_outer_transaction_costs_itself_alone() {
    let mut db = database().await;
    let options = crate::DbOptions { write_deadline: Duration::from_millis(150), ..db.options().clone() };
    db.reopen_with(options).await.expect("open again");
    put(&db, "taken".into(), 10).await.expect("no panic").expect("a write");
    let gate = hold(&db).await;
    let mut innocent = Vec::new();
    let mut culprits = Vec::new();
    for i in 0..10 {
        innocent.push((i, put(&db, format!("w{i}"), 10)));
        queued(&db, 2 * i + 1).await;
        let handle = db.db();
        culprits.push(tokio::spawn(async move {
            handle
                .write(async move |tx| {
                    tx.execute("INSERT INTO things (id) VALUES ($1)", &p![format!("c{i}")]).await?;
                    let first = if i == 5 {
                        // An interrupted INSERT: the deadline strikes in the middle of it.
                        tx.execute(
                            "INSERT INTO things (id) WITH RECURSIVE c(x) AS \
                             (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT 'x' || max(x) FROM c",
                            &[],
                        )
                        .await
                    } else {
                        tx.execute("INSERT OR ROLLBACK INTO things (id) VALUES ('taken')", &[]).await
                    };
                    // Without the poison this would be a transaction of its own.
                    let stray = tx.execute("INSERT INTO things (id) VALUES ($1)", &p![format!("stray{i}")]).await;
                    assert!(matches!(stray, Err(DbError::Poisoned(_))));
                    first
                })
                .await
        }));
        queued(&db, 2 * i + 2).await;
    }
    gate.send(()).expect("the writer waits");
    for (i, task) in culprits.into_iter().enumerate() {
        let error = task.await.expect("no panic").expect_err("a culprit");
        assert!(if i == 5 { matches!(error, DbError::Deadline(_)) } else { error.is_unique() }, "{i}: {error:?}");
        assert!(!has(&db, &format!("c{i}")).await && !has(&db, &format!("stray{i}")).await, "{i}");
    }
    for (i, task) in innocent {
        task.await.expect("no panic").expect("an innocent write");
        assert!(has(&db, &format!("w{i}")).await, "{i}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_under_load_and_a_scan_delays_nobody() {
    let mut db = database().await;
    let options = crate::DbOptions { wal_limit: 8 << 20, ..db.options().clone() };
    db.reopen_with(options).await.expect("open again");
    let mut highest = 0;
    for round in 0..60 {
        let tasks: Vec<_> = (0..16).map(|i| put(&db, format!("w{round}-{i}"), 40_000)).collect();
        for task in tasks {
            task.await.expect("no panic").expect("a write");
        }
        highest = highest.max(Metrics::get(&db.metrics().wal_bytes));
    }
    // Twice the limit where the disk is slow, and the batch that went beyond.
    assert!(highest < 20 << 20, "the log grew to {highest} bytes");
    assert!(Metrics::get(&db.metrics().checkpoints) > 0);
    // A scan holds its snapshot, so the log cannot begin anew; writes go on regardless.
    let (open, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let handle = db.db();
    let scan = tokio::spawn(async move {
        handle
            .read(async move |tx| {
                let (count,): (i64,) = tx.one("SELECT count(*) FROM things", &[]).await?;
                entered.send(()).expect("the test waits");
                gate.lock().expect("unpoisoned").recv().expect("the test opens the gate");
                let (again,): (i64,) = tx.one("SELECT count(*) FROM things", &[]).await?;
                assert_eq!(count, again);
                Ok::<_, DbError>(count)
            })
            .await
    });
    tokio::task::spawn_blocking(move || inside.recv()).await.expect("no panic").expect("the scan has begun");
    for round in 0..40 {
        let tasks: Vec<_> = (0..16).map(|i| put(&db, format!("s{round}-{i}"), 40_000)).collect();
        for task in tasks {
            task.await.expect("no panic").expect("a write beside a scan");
        }
    }
    open.send(()).expect("the scan waits");
    assert_eq!(scan.await.expect("no panic").expect("a scan"), 960);
}

#[tokio::test]
async fn a_second_owner_is_refused() {
    let mut db = database().await;
    let second = Db::open(db.options()).await.map(drop);
    let Err(DbError::Owned { path, owner }) = &second else { panic!("{second:?}") };
    assert!(path.ends_with("test.db.lock") && owner.contains(&std::process::id().to_string()), "{second:?}");
    db.reopen().await.expect("the folder is free once its owner has closed it");
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new.db");
    let db = Db::open(&crate::DbOptions::new(format!("sqlite:{}", path.display()))).await.expect("a database");
    db.migrate(MIGRATIONS).await.expect("migrations");
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        let others = entry.metadata().expect("metadata").permissions().mode() & 0o077;
        let is_lock = entry.file_name().to_string_lossy().ends_with(".lock");
        assert!(is_lock || others == 0, "{entry:?} {others:o}");
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_compiled_once_whatever_values_it_gets() {
    let db = database().await;
    let Store::Sqlite(sqlite) = &db.inner.store else { panic!("not SQLite") };
    let compiled_again = sqlite
        .alone(|conn| {
            // The limit is what SQLite would look at.
            let run = |conn: &rusqlite::Connection| {
                let mut compiled_again = 0;
                for limit in [1, 20, 300] {
                    let mut statement =
                        conn.prepare_cached("SELECT b FROM things WHERE id > $1 AND length(b) = $2 LIMIT $3")?;
                    assert!(!statement.exists(("a", limit, limit))?);
                    compiled_again += statement.get_status(rusqlite::StatementStatus::RePrepare);
                }
                Ok(compiled_again)
            };
            run(conn).map_err(|error| super::map(&error).error)
        })
        .await
        .expect("a pragma");
    assert_eq!(compiled_again, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_leaves_nothing_behind() {
    let db = database().await;
    let Store::Sqlite(sqlite) = &db.inner.store else { panic!("not SQLite") };
    // After a migration, which sorts new indexes in files.
    let pragmas = sqlite
        .alone(|conn| {
            let value = |pragma| conn.query_row(pragma, (), |row| row.get::<_, i64>(0));
            let both = value("PRAGMA temp_store").and_then(|temp| Ok((temp, value("PRAGMA secure_delete")?)));
            both.map_err(|error| super::map(&error).error)
        })
        .await
        .expect("pragmas");
    assert_eq!(pragmas, (2, 1), "in memory, and overwritten");
}
