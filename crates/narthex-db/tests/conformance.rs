//! What both engines promise alike. Every test runs on both: `name::sqlite` and `name::postgres`.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use narthex_db::{Db, DbError, Engine, Metrics, Migration, Value, on_each_engine, p};

const SQLITE: &str = "
    CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, n BIGINT, b BLOB);
    CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL);
    CREATE TABLE emails (env BIGINT NOT NULL, email TEXT NOT NULL, UNIQUE (env, email));
    CREATE TABLE late_children (id BIGINT NOT NULL PRIMARY KEY,
        parent BIGINT NOT NULL REFERENCES counters (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE children (id BIGINT NOT NULL PRIMARY KEY, parent BIGINT NOT NULL REFERENCES counters (id));
    INSERT INTO counters (id, n) VALUES (1, 0), (2, 0);
";

fn postgres() -> String {
    SQLITE.replace("BLOB", "BYTEA")
}

/// Leaked once per test process: the macro wants a `'static` list and the PostgreSQL text is derived.
fn migrations() -> &'static [Migration<'static>] {
    let postgres: &'static str = postgres().leak();
    vec![Migration { id: 1, name: "conformance", sqlite: SQLITE, postgres }].leak()
}

async fn value(db: &Db, id: &str) -> Option<Option<i64>> {
    let mut reader = db.reader().await.expect("a reader");
    let row: Option<(Option<i64>,)> = reader.opt("SELECT n FROM things WHERE id = $1", &p![id]).await.expect("a read");
    row.map(|(n,)| n)
}

async fn put(db: &Db, id: impl Into<String>) -> Result<u64, DbError> {
    let id = id.into();
    db.write(async move |tx| tx.execute("INSERT INTO things (id, n) VALUES ($1, 1)", &p![&id]).await).await
}

/// An application's own error, as the closures of the product have one.
#[derive(Debug)]
enum App {
    Refused(&'static str),
    Db(DbError),
}

impl From<DbError> for App {
    fn from(error: DbError) -> App {
        App::Db(error)
    }
}

on_each_engine! { migrations();

async fn every_type_comes_back(db: TestDb) {
    let blob: Vec<u8> = (0..=255).collect();
    let texts = ["", "plain", "ÄÖ ß 日本語 🦀 \u{202e}", "it's \"quoted\" $1 ? %", "\u{feff}"];
    let written = blob.clone();
    db.write(async move |tx| {
        for (text, n) in texts.iter().zip([0_i64, i64::MIN, i64::MAX, -1, 1]) {
            tx.execute("INSERT INTO things (b, id, n) VALUES ($3, $1, $2)", &p![text, n, &written]).await?;
        }
        tx.execute("INSERT INTO things (id, n, b) VALUES ('null', $1, $2)", &p![None::<i64>, None::<Vec<u8>>]).await?;
        Ok::<_, DbError>(())
    })
    .await
    .expect("a write");
    let rows = db
        .read(async |tx| {
            tx.all::<(String, Option<i64>, Option<Vec<u8>>)>("SELECT id, n, b FROM things ORDER BY n, id", &[]).await
        })
        .await
        .expect("a read");
    assert_eq!(rows.len(), 6);
    for (text, n) in texts.iter().zip([0_i64, i64::MIN, i64::MAX, -1, 1]) {
        assert!(rows.contains(&((*text).to_owned(), Some(n), Some(blob.clone()))), "{text} is missing");
    }
    assert!(rows.contains(&("null".to_owned(), None, None)));
    let mut reader = db.reader().await.expect("a reader");
    // The number in the name counts, not the order of appearance; a parameter may stand twice.
    let (n,): (i64,) = reader.one("SELECT CAST($2 AS BIGINT) - CAST($1 AS BIGINT) + CAST($2 AS BIGINT)", &p![1, 10]).await.expect("a row");
    assert_eq!(n, 19);
    let (yes,): (bool,) = reader.one("SELECT CAST(1 AS BIGINT)", &[]).await.expect("a row");
    assert!(yes);
    let (big,): (Vec<u8>,) = reader
        .one("SELECT CAST($1 AS BYTEA)".replace("BYTEA", if db.engine() == Engine::Sqlite { "BLOB" } else { "BYTEA" }).as_str(), &p![vec![7_u8; 300_000]])
        .await
        .expect("a row");
    assert_eq!(big, vec![7_u8; 300_000]);
}

async fn wrong_types_are_refused(db: TestDb) {
    put(&db, "a").await.expect("a write");
    let mut reader = db.reader().await.expect("a reader");
    let sql = "SELECT id, n, b FROM things";
    assert!(matches!(reader.one::<(i64,)>(sql, &[]).await, Err(DbError::Data(_))));
    assert!(matches!(reader.one::<(String, String)>(sql, &[]).await, Err(DbError::Data(_))));
    assert!(matches!(reader.one::<(String, i64, Vec<u8>)>(sql, &[]).await, Err(DbError::Data(_))), "NULL is no value");
    assert!(matches!(reader.one::<(String, i64, Option<Vec<u8>>, i64)>(sql, &[]).await, Err(DbError::Data(_))));
    assert!(matches!(reader.one::<(u32,)>("SELECT CAST(-1 AS BIGINT)", &[]).await, Err(DbError::Data(_))));
    assert!(matches!(reader.one::<(bool,)>("SELECT CAST(2 AS BIGINT)", &[]).await, Err(DbError::Data(_))));
    assert!(matches!(reader.one::<(i64,)>("SELECT n FROM things WHERE id = 'none'", &[]).await, Err(DbError::NoRow)));
    assert!(reader.one::<(i64,)>("SELECT n FROM things WHERE id = $1", &[]).await.is_err(), "a value is missing");
    assert!(reader.one::<(i64,)>("SELECT n FROM things WHERE id = $1", &p!["a", "b"]).await.is_err(), "a value too many");
    assert!(matches!(reader.one::<(i64,)>("SELECT nonsense", &[]).await, Err(DbError::Sql(_))));
    // A reader's statements stand for themselves: none of this has spoiled it.
    assert_eq!(reader.one::<(String, i64)>(sql, &[]).await.expect("a row"), ("a".to_owned(), 1));
}

async fn a_nul_character_is_refused(db: TestDb) {
    let refused = put(&db, "a\0b").await;
    assert!(matches!(refused, Err(DbError::Data(_))), "{refused:?}");
    let bytes = db
        .write(async |tx| tx.execute("INSERT INTO things (id, b) VALUES ('bytes', $1)", &p![&b"a\0b"[..]]).await)
        .await;
    assert_eq!(bytes.expect("bytes may hold it"), 1);
}

async fn a_reader_cannot_write(db: TestDb) {
    let mut reader = db.reader().await.expect("a reader");
    let refused = reader.execute("INSERT INTO things (id) VALUES ('a')", &[]).await;
    assert!(matches!(refused, Err(DbError::Sql(_))), "{refused:?}");
    drop(reader);
    let refused = db.read(async |tx| tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await).await;
    assert!(matches!(refused, Err(DbError::Sql(_))), "{refused:?}");
    assert_eq!(value(&db, "a").await, None);
    assert!(db.health().await.is_well());
}

async fn changed_rows_are_counted_and_returned(db: TestDb) {
    let (changed, returned) = db
        .write(async |tx| {
            for id in ["a", "b", "c"] {
                tx.execute("INSERT INTO things (id, n) VALUES ($1, 1)", &p![id]).await?;
            }
            let changed = tx.execute("UPDATE things SET n = n + 1 WHERE id <> 'a'", &[]).await?;
            let none = tx.execute("INSERT INTO things (id) VALUES ('a') ON CONFLICT DO NOTHING", &[]).await?;
            assert_eq!(none, 0);
            let returned: Option<(i64,)> =
                tx.opt("UPDATE things SET n = n + 10 WHERE id = $1 RETURNING n", &p!["b"]).await?;
            Ok::<_, DbError>((changed, returned))
        })
        .await
        .expect("a write");
    assert_eq!((changed, returned), (2, Some((12,))));
    assert_eq!(value(&db, "b").await, Some(Some(12)));
}

async fn a_unique_violation_costs_the_culprit_alone(db: TestDb) {
    put(&db, "taken").await.expect("a write");
    let tasks: Vec<_> = (0..40)
        .map(|i| {
            let db = db.db();
            tokio::spawn(async move { put(&db, if i % 4 == 0 { "taken".to_owned() } else { format!("free{i}") }).await })
        })
        .collect();
    for (i, task) in tasks.into_iter().enumerate() {
        let result = task.await.expect("no panic");
        if i % 4 == 0 {
            assert!(result.as_ref().is_err_and(|error| error.is_unique_on("things.id")), "{i}: {result:?}");
        } else {
            assert_eq!(result.expect("an innocent write"), 1, "{i}");
            assert!(value(&db, &format!("free{i}")).await.is_some(), "{i}");
        }
    }
}

async fn constraints_have_one_name_on_both_engines(db: TestDb) {
    let twice = db
        .write(async |tx| {
            tx.execute("INSERT INTO emails (env, email) VALUES (1, 'someone@secret.test')", &[]).await?;
            tx.execute("INSERT INTO emails (env, email) VALUES (1, 'someone@secret.test')", &[]).await
        })
        .await
        .expect_err("a violation");
    assert!(matches!(&twice, DbError::Unique { constraint } if constraint == "emails.env, emails.email"), "{twice:?}");
    assert!(!twice.to_string().contains("secret"), "errors carry no stored values");
    let orphan = db.write(async |tx| tx.execute("INSERT INTO children (id, parent) VALUES (1, 99)", &[]).await).await;
    assert!(orphan.as_ref().is_err_and(DbError::is_foreign_key), "{orphan:?}");
    let empty = db.write(async |tx| tx.execute("INSERT INTO counters (id) VALUES (7)", &[]).await).await;
    assert!(matches!(&empty, Err(DbError::Check { rule }) if rule == "counters.n"), "{empty:?}");
}

async fn an_application_error_rolls_back(db: TestDb) {
    let refused = db
        .write(async |tx| {
            tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await?;
            Err::<(), App>(App::Refused("seat cap"))
        })
        .await;
    assert!(matches!(refused, Err(App::Refused("seat cap"))));
    assert_eq!(value(&db, "a").await, None);
    let failed = db.write(async |tx| Ok::<_, App>(tx.execute("INSERT INTO nowhere (id) VALUES ('a')", &[]).await?)).await;
    assert!(matches!(&failed, Err(App::Db(DbError::Sql(text))) if text.contains("nowhere")), "{failed:?}");
}

async fn a_panic_costs_the_culprit_alone(db: TestDb) {
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let db = db.db();
            tokio::spawn(async move {
                db.write(async move |tx| {
                    tx.execute("INSERT INTO things (id) VALUES ($1)", &p![format!("p{i}")]).await?;
                    assert!(i % 5 != 0, "a defect in the closure");
                    Ok::<_, DbError>(())
                })
                .await
            })
        })
        .collect();
    for (i, task) in tasks.into_iter().enumerate() {
        let result = task.await.expect("the caller does not panic");
        if i % 5 == 0 {
            assert!(matches!(&result, Err(DbError::Panicked(text)) if text.contains("a defect")), "{result:?}");
            assert_eq!(value(&db, &format!("p{i}")).await, None);
        } else {
            result.expect("an innocent write");
            assert!(value(&db, &format!("p{i}")).await.is_some(), "{i}");
        }
    }
}

async fn a_foreign_await_is_refused(db: TestDb) {
    for write in [true, false] {
        let closure = async |tx: &mut narthex_db::Tx| {
            tx.one::<(i64,)>("SELECT n FROM counters WHERE id = 1", &[]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, DbError>(())
        };
        let refused = if write { db.write(closure).await } else { db.read(closure).await };
        assert!(matches!(refused, Err(DbError::ForeignAwait)), "{refused:?}");
    }
    put(&db, "after").await.expect("the lane goes on");
}

async fn a_swallowed_error_poisons(db: TestDb) {
    put(&db, "a").await.expect("a write");
    let late = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&late);
    let swallowed = db
        .write(async move |tx| {
            tx.execute("INSERT INTO things (id) VALUES ('b')", &[]).await?;
            let violation = tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await;
            assert!(violation.is_err_and(|error| error.is_unique()));
            if let Err(DbError::Poisoned(_)) = tx.execute("INSERT INTO things (id) VALUES ('c')", &[]).await {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, DbError>(())
        })
        .await;
    assert!(matches!(swallowed, Err(DbError::Poisoned(_))), "{swallowed:?}");
    assert_eq!(late.load(Ordering::Relaxed), 1, "statements after the error are refused");
    assert_eq!((value(&db, "b").await, value(&db, "c").await), (None, None));
}

async fn a_closure_cannot_end_its_transaction(db: TestDb) {
    for sql in ["COMMIT", " rollback", "BEGIN", "savepoint x", "PRAGMA synchronous = OFF", "SET statement_timeout = 0", "/* x */ -- y\n COMMIT"] {
        let refused = db
            .write(async move |tx| {
                tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await?;
                tx.execute(sql, &[]).await
            })
            .await;
        assert!(matches!(refused, Err(DbError::Sql(_))), "{sql}: {refused:?}");
        assert_eq!(value(&db, "a").await, None, "{sql}");
    }
}

async fn contended_increments_all_arrive(db: TestDb) {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let db = db.db();
            tokio::spawn(async move {
                for _ in 0..20 {
                    db.write(async |tx| {
                        // Read, then write what was read: an anomaly of weaker isolation would lose some.
                        let (n,): (i64,) = tx.one("SELECT n FROM counters WHERE id = 1", &[]).await?;
                        tx.execute("UPDATE counters SET n = $1 WHERE id = 1", &p![n + 1]).await
                    })
                    .await
                    .expect("an increment");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let mut reader = db.reader().await.expect("a reader");
    assert_eq!(reader.one::<(i64,)>("SELECT n FROM counters WHERE id = 1", &[]).await.expect("a row"), (320,));
}

async fn write_skew_does_not_happen(db: TestDb) {
    // Two last owners, each leaves if the other stays: serializability keeps one.
    let start = Arc::new(tokio::sync::Barrier::new(2));
    let tasks: Vec<_> = [1_i64, 2]
        .into_iter()
        .map(|me| {
            let (db, start) = (db.db(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                db.write(async move |tx| {
                    let (gone,): (i64,) = tx.one("SELECT CAST(SUM(n) AS BIGINT) FROM counters", &[]).await?;
                    if gone > 0 {
                        return Ok::<_, DbError>(false);
                    }
                    tx.execute("UPDATE counters SET n = 1 WHERE id = $1", &p![me]).await?;
                    Ok(true)
                })
                .await
                .expect("an answer")
            })
        })
        .collect();
    let mut left = 0;
    for task in tasks {
        left += u32::from(task.await.expect("no panic"));
    }
    assert_eq!(left, 1);
}

async fn a_read_sees_one_snapshot(db: TestDb) {
    let writer = {
        let db = db.db();
        tokio::spawn(async move {
            for _ in 0..200 {
                db.write(async |tx| {
                    tx.execute("UPDATE counters SET n = n + 1 WHERE id = 1", &[]).await?;
                    tx.execute("UPDATE counters SET n = n + 1 WHERE id = 2", &[]).await
                })
                .await
                .expect("a write");
            }
        })
    };
    for _ in 0..100 {
        let (first, second) = db
            .read(async |tx| {
                let (first,): (i64,) = tx.one("SELECT n FROM counters WHERE id = 1", &[]).await?;
                // Long enough for the writer to commit in between.
                let _slow: (i64,) = tx
                    .one("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT CAST(max(x) AS BIGINT) FROM c", &[])
                    .await?;
                let (second,): (i64,) = tx.one("SELECT n FROM counters WHERE id = 2", &[]).await?;
                Ok::<_, DbError>((first, second))
            })
            .await
            .expect("a read");
        assert_eq!(first, second);
    }
    writer.await.expect("no panic");
}

async fn a_mixed_batch_keeps_exactly_the_successes(db: TestDb) {
    let tasks: Vec<_> = (0..120_u32)
        .map(|i| {
            let db = db.db();
            tokio::spawn(async move {
                db.write_for(u64::from(i % 7), async move |tx| {
                    tx.execute("INSERT INTO things (id, n) VALUES ($1, $2)", &p![format!("m{i}"), i]).await?;
                    match i % 6 {
                        1 => Err(App::Refused("by the application")),
                        2 => panic!("a defect"),
                        3 => Ok(tx.execute("INSERT INTO things (id) VALUES ($1)", &p![format!("m{i}")]).await?),
                        4 => {
                            tokio::task::yield_now().await;
                            Ok(1)
                        }
                        _ => Ok(1),
                    }
                })
                .await
                .is_ok()
            })
        })
        .collect();
    let mut kept = Vec::new();
    for (i, task) in tasks.into_iter().enumerate() {
        let ok = task.await.expect("no panic");
        assert_eq!(ok, matches!(i % 6, 0 | 5), "{i}");
        if ok {
            kept.push(i64::try_from(i).expect("small"));
        }
    }
    let stored = db
        .read(async |tx| tx.all::<(i64,)>("SELECT n FROM things ORDER BY n", &[]).await)
        .await
        .expect("a read");
    assert_eq!(stored.into_iter().map(|(n,)| n).collect::<Vec<_>>(), kept);
}

async fn a_dropped_caller_does_not_stop_a_started_write(db: TestDb) {
    let started = Arc::new(tokio::sync::Notify::new());
    let signal = Arc::clone(&started);
    let handle = db.db();
    let call = tokio::spawn(async move {
        handle
            .write(async move |tx| {
                signal.notify_one();
                tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await?;
                let _slow: (i64,) = tx
                    .one("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 300000) SELECT CAST(max(x) AS BIGINT) FROM c", &[])
                    .await?;
                tx.execute("UPDATE things SET n = 1 WHERE id = 'a'", &[]).await
            })
            .await
    });
    started.notified().await;
    call.abort();
    let deadline = Instant::now() + Duration::from_secs(10);
    while value(&db, "a").await != Some(Some(1)) {
        assert!(Instant::now() < deadline, "the write was lost with its caller");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_dropped_reader_leaves_no_answer_behind(db: TestDb) {
    for _ in 0..20 {
        let handle = db.db();
        let call = tokio::spawn(async move {
            let mut reader = handle.reader().await?;
            reader.one::<(i64,)>("SELECT n FROM counters WHERE id = 1", &[]).await
        });
        tokio::time::sleep(Duration::from_micros(300)).await;
        call.abort();
        let mut reader = db.reader().await.expect("a reader");
        assert_eq!(reader.one::<(i64,)>("SELECT CAST(42 AS BIGINT)", &[]).await.expect("a row"), (42,));
    }
}

async fn metrics_tell_what_happened(db: TestDb) {
    put(&db, "a").await.expect("a write");
    assert!(put(&db, "a").await.is_err());
    let metrics = db.metrics();
    assert_eq!(Metrics::get(&metrics.commits), 1);
    assert_eq!(Metrics::get(&metrics.rollbacks), 1);
    assert!(Metrics::get(&metrics.batches) >= 1);
    assert_eq!(Metrics::get(&metrics.queue_depth), 0);
    assert!(db.health().await.is_well());
}

async fn a_closed_database_answers_unavailable(db: TestDb) {
    let handle = db.db();
    put(&handle, "a").await.expect("a write");
    db.db().close().await;
    let refused = put(&handle, "b").await;
    assert!(refused.as_ref().is_err_and(DbError::is_unavailable), "{refused:?}");
    assert!(handle.reader().await.is_err_and(|error| error.is_unavailable()));
}

async fn a_probe_is_not_asked_when_the_outcome_is_known(db: TestDb) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    db.write_checked(
        7,
        async move |_tx| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        },
        async |tx| tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await,
    )
    .await
    .expect("a write");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(value(&db, "a").await, Some(None));
}

async fn a_deferred_constraint_costs_the_culprit_alone(db: TestDb) {
    let tasks: Vec<_> = (0..40_i64)
        .map(|i| {
            let db = db.db();
            tokio::spawn(async move {
                db.write(async move |tx| {
                    let parent = if i % 8 == 0 { 99 } else { 1 };
                    tx.execute("INSERT INTO late_children (id, parent) VALUES ($1, $2)", &p![i, parent]).await
                })
                .await
            })
        })
        .collect();
    let mut kept = Vec::new();
    for (i, task) in (0..).zip(tasks) {
        let result = task.await.expect("no panic");
        if i % 8 == 0 {
            assert!(result.as_ref().is_err_and(DbError::is_foreign_key), "{i}: {result:?}");
        } else {
            result.expect("an innocent write");
            kept.push((i,));
        }
    }
    let mut reader = db.reader().await.expect("a reader");
    let stored = reader.all::<(i64,)>("SELECT id FROM late_children ORDER BY id", &[]).await.expect("rows");
    assert_eq!(stored, kept);
}

async fn a_deadline_ends_what_runs_too_long(db: TestDb) {
    const ENDLESS: &str =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT CAST(max(x) AS BIGINT) FROM c";
    let limit = Duration::from_millis(200);
    let options = narthex_db::DbOptions { write_deadline: limit, read_deadline: limit, ..db.options().clone() };
    let mut db = db;
    db.reopen_with(options).await.expect("open again");
    let bystander = {
        let db = db.db();
        tokio::spawn(async move {
            for i in 0..50 {
                put(&db, format!("by{i}")).await.expect("a bystander is not stopped");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let started = Instant::now();
    let ended = db
        .write(async |tx| {
            tx.execute("INSERT INTO things (id) VALUES ('a')", &[]).await?;
            tx.one::<(i64,)>(ENDLESS, &[]).await
        })
        .await;
    assert!(matches!(ended, Err(DbError::Deadline(_))), "{ended:?}");
    let ended = db.read(async |tx| tx.one::<(i64,)>(ENDLESS, &[]).await).await;
    assert!(matches!(ended, Err(DbError::Deadline(_))), "{ended:?}");
    // Many short statements add up too.
    let ended = db
        .write(async |tx| {
            tx.execute("UPDATE counters SET n = n + 1 WHERE id = 2", &[]).await?;
            loop {
                tx.one::<(i64,)>("SELECT n FROM counters WHERE id = 2", &[]).await?;
                std::thread::sleep(Duration::from_millis(5));
            }
            #[allow(unreachable_code)]
            Ok::<(), DbError>(())
        })
        .await;
    assert!(matches!(ended, Err(DbError::Deadline(_))), "{ended:?}");
    let mut reader = db.reader().await.expect("a reader");
    let ended = reader.one::<(i64,)>(ENDLESS, &[]).await;
    assert!(matches!(ended, Err(DbError::Deadline(_))), "{ended:?}");
    drop(reader);
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
    assert_eq!(value(&db, "a").await, None);
    bystander.await.expect("no panic");
    let mut reader = db.reader().await.expect("a reader");
    let (count,): (i64,) = reader.one("SELECT count(*) FROM things", &[]).await.expect("a row");
    let (n,): (i64,) = reader.one("SELECT n FROM counters WHERE id = 2", &[]).await.expect("a row");
    assert_eq!((count, n), (50, 0));
}

async fn shares_take_turns(db: TestDb) {
    let options = narthex_db::DbOptions { write_lanes: 1, ..db.options().clone() };
    let mut db = db;
    db.reopen_with(options).await.expect("open again");
    let hold = Hold::start(&db.db()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mark = |share: u64| {
        let (db, order) = (db.db(), Arc::clone(&order));
        tokio::spawn(async move {
            db.write_for(share, async move |_| {
                order.lock().expect("unpoisoned").push(share);
                Ok::<_, DbError>(())
            })
            .await
        })
    };
    let mut tasks: Vec<_> = (0..50).map(|_| mark(1)).collect();
    until(|| Metrics::get(&db.db().metrics().queue_depth) >= 50).await;
    tasks.extend([mark(2), mark(3)]);
    until(|| Metrics::get(&db.db().metrics().queue_depth) >= 52).await;
    hold.release().await;
    for task in tasks {
        task.await.expect("no panic").expect("a write");
    }
    let order = order.lock().expect("unpoisoned").clone();
    let place = |share| order.iter().position(|s| *s == share).expect("ran");
    assert!(place(2) <= 4 && place(3) <= 4, "an import of fifty writes came first: {order:?}");
}

async fn a_full_queue_refuses_the_flood_and_not_its_victims(db: TestDb) {
    let options = narthex_db::DbOptions { queue_limit: 20, write_lanes: 1, ..db.options().clone() };
    let mut db = db;
    db.reopen_with(options).await.expect("open again");
    let hold = Hold::start(&db.db()).await;
    let insert = |share: u64, id: String| {
        let db = db.db();
        tokio::spawn(async move {
            db.write_for(share, async move |tx| tx.execute("INSERT INTO things (id) VALUES ($1)", &p![&id]).await).await
        })
    };
    let flood: Vec<_> = (0..60).map(|i| insert(1, format!("f{i}"))).collect();
    until(|| Metrics::get(&db.db().metrics().queue_depth) >= 20).await;
    let victim = insert(2, "victim".to_owned());
    for _ in 0..100 {
        tokio::task::yield_now().await; // it stands in the queue before the flood is let on
    }
    hold.release().await;
    assert_eq!(victim.await.expect("no panic").expect("the victim is served"), 1);
    let mut refused = 0;
    for (i, task) in flood.into_iter().enumerate() {
        match task.await.expect("no panic") {
            Ok(_) => assert!(value(&db, &format!("f{i}")).await.is_some()),
            Err(error) => {
                assert!(error.is_unavailable(), "{error:?}");
                assert_eq!(value(&db, &format!("f{i}")).await, None);
                refused += 1;
            }
        }
    }
    assert!((30..=45).contains(&refused), "{refused} refused");
}

}

/// A write that keeps the only lane until it is let go, so that what queues up behind it is known and not a matter of timing.
struct Hold {
    open: Arc<AtomicBool>,
    write: tokio::task::JoinHandle<Result<(), DbError>>,
}

impl Hold {
    async fn start(db: &Db) -> Self {
        let (started, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (db, signal, gate) = (db.clone(), Arc::clone(&started), Arc::clone(&open));
        let write = tokio::spawn(async move {
            db.write(async move |_| {
                signal.store(true, Ordering::SeqCst);
                while !gate.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            })
            .await
        });
        until(|| started.load(Ordering::SeqCst)).await;
        Self { open, write }
    }

    async fn release(self) {
        self.open.store(true, Ordering::SeqCst);
        self.write.await.expect("no panic").expect("the first write");
    }
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come about");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn parameters_do_not_show_in_debug_output() {
    let shown = format!("{:?}", p!["secret", 12_345, b"bytes", None::<i64>]);
    assert_eq!(shown, "[Text[6], Int, Blob[5], Null]");
    assert_eq!(p![&Some("a".to_owned()), true, &1_u32], [Value::Text("a".into()), Value::Int(1), Value::Int(1)]);
}
