//! Migrations on both engines: forward only, recorded with their checksum, safe when nodes start together.
#![allow(missing_docs)]

use narthex_db::{Db, DbError, Engine, Migration, MigrationStatus, on_each_engine, p};

const FIRST: Migration<'_> = same(1, "organizations", "CREATE TABLE orgs (id BIGINT NOT NULL PRIMARY KEY, name TEXT);");
const SECOND: Migration<'_> = same(
    2,
    "users",
    "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, org BIGINT NOT NULL REFERENCES orgs (id));
     CREATE INDEX users_org ON users (org);
     INSERT INTO orgs (id, name) VALUES (1, 'first');",
);
const THIRD: Migration<'_> = same(3, "sessions", "CREATE TABLE sessions (id BIGINT NOT NULL PRIMARY KEY);");

const fn same<'a>(id: u32, name: &'a str, sql: &'a str) -> Migration<'a> {
    Migration { id, name, sqlite: sql, postgres: sql }
}

fn schema_error(result: Result<Vec<u32>, DbError>) -> String {
    match result {
        Err(DbError::Schema(text)) => text,
        other => panic!("{other:?}"),
    }
}

async fn tables(db: &Db) -> Vec<String> {
    let sql = match db.engine() {
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
        Engine::Postgres => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        }
    };
    let mut reader = db.reader().await.expect("a reader");
    reader.all::<(String,)>(sql, &[]).await.expect("tables").into_iter().map(|(name,)| name).collect()
}

on_each_engine! { &[];

async fn a_fresh_database_gets_them_all_and_a_second_start_none(db: TestDb) {
    assert!(tables(&db).await.is_empty());
    assert!(db.migration_status(&[FIRST]).await.expect("a status").iter().all(|state| !state.applied));
    assert_eq!(db.migrate(&[FIRST, SECOND]).await.expect("migrations"), [1, 2]);
    assert_eq!(tables(&db).await, ["orgs", "schema_migrations", "users"]);
    assert_eq!(db.migrate(&[FIRST, SECOND]).await.expect("migrations"), [0_u32; 0]);
    assert_eq!(db.migrate(&[FIRST, SECOND, THIRD]).await.expect("migrations"), [3]);
    let mut reader = db.reader().await.expect("a reader");
    let recorded: Vec<(u32, String, String)> = reader
        .all("SELECT id, name, checksum FROM schema_migrations WHERE id > 0 ORDER BY id", &[])
        .await
        .expect("the record");
    assert_eq!(recorded.len(), 3);
    assert_eq!((recorded[0].0, recorded[0].1.as_str()), (1, "organizations"));
    // printf '%s' 'CREATE TABLE sessions (id BIGINT NOT NULL PRIMARY KEY);' | sha256sum
    assert_eq!(recorded[2].2, "3ccf5b394e38133d0bc676e0ccfce64febaec9ab140787542851802607847c8d");
}

async fn a_database_of_a_newer_program_is_refused(db: TestDb) {
    db.migrate(&[FIRST, SECOND, THIRD]).await.expect("migrations");
    let text = schema_error(db.migrate(&[FIRST, SECOND]).await);
    assert!(text.contains("migration 3 sessions") && text.contains("newer"), "{text}");
    let status = db.migration_status(&[FIRST, SECOND]).await.expect("a status");
    assert!(matches!(&status[2], MigrationStatus { id: 3, applied: true, problem: Some(_), .. }), "{status:?}");
}

async fn a_changed_migration_is_refused(db: TestDb) {
    db.migrate(&[FIRST]).await.expect("migrations");
    let edited = same(1, "organizations", "CREATE TABLE orgs (id BIGINT NOT NULL PRIMARY KEY);");
    let text = schema_error(db.migrate(&[edited, SECOND]).await);
    assert!(text.contains("changed"), "{text}");
    assert_eq!(tables(&db).await, ["orgs", "schema_migrations"], "nothing else was applied");
}

async fn a_gap_and_a_disorder_are_refused(db: TestDb) {
    let text = schema_error(db.migrate(&[SECOND, FIRST]).await);
    assert!(text.contains("listed after"), "{text}");
    db.migrate(&[FIRST, THIRD]).await.expect("migrations");
    let text = schema_error(db.migrate(&[FIRST, SECOND, THIRD]).await);
    assert!(text.contains("migration 2 users: not applied"), "{text}");
}

async fn a_failing_migration_leaves_nothing_behind(db: TestDb) {
    let broken = same(2, "broken", "CREATE TABLE half (id BIGINT); INSERT INTO orgs (id) VALUES (5); SELECT nonsense;");
    let text = schema_error(db.migrate(&[FIRST, broken]).await);
    assert!(text.contains("migration 2 broken failed"), "{text}");
    assert_eq!(tables(&db).await, ["orgs", "schema_migrations"]);
    let mut reader = db.reader().await.expect("a reader");
    assert_eq!(reader.one::<(i64,)>("SELECT count(*) FROM orgs", &[]).await.expect("a row"), (0,));
    assert_eq!(db.migrate(&[FIRST, SECOND]).await.expect("a mended list"), [2]);
}

async fn two_nodes_may_start_at_once(db: TestDb) {
    let many: Vec<String> = (1..=20).map(|i| format!("CREATE TABLE t{i} (id BIGINT NOT NULL PRIMARY KEY);")).collect();
    let list: Vec<Migration<'_>> = (1..).zip(&many).map(|(id, sql)| same(id, "table", sql)).collect();
    // On PostgreSQL three nodes of their own, on SQLite (one owner) three callers of one.
    let mut nodes = vec![db.db()];
    for _ in 0..2 {
        nodes.push(match db.engine() {
            Engine::Sqlite => db.db(),
            Engine::Postgres => Db::open(db.options()).await.expect("another node"),
        });
    }
    let (first, second, third) = tokio::join!(nodes[0].migrate(&list), nodes[1].migrate(&list), nodes[2].migrate(&list));
    let mut applied: Vec<u32> = [first, second, third].into_iter().flat_map(|done| done.expect("migrations")).collect();
    applied.sort_unstable();
    assert_eq!(applied, (1..=20).collect::<Vec<_>>(), "each once, by one of them");
    assert_eq!(tables(&db).await.len(), 21);
}

async fn statements_prepared_before_a_migration_work_after_it(db: TestDb) {
    db.migrate(&[FIRST, SECOND]).await.expect("migrations");
    let read = async || {
        let mut reader = db.reader().await.expect("a reader");
        reader.all::<(i64, Option<String>)>("SELECT * FROM orgs ORDER BY id", &[]).await.expect("rows")
    };
    let write = async |id: i64| {
        db.write(async move |tx| tx.opt::<(i64,)>("INSERT INTO orgs (id) VALUES ($1) RETURNING *", &p![id]).await).await
    };
    assert_eq!(read().await, [(1, Some("first".to_owned()))]);
    assert_eq!(write(2).await.expect("a write"), Some((2,)));
    let wider = same(3, "wider", "ALTER TABLE orgs ADD COLUMN extra BIGINT;");
    // Another node migrates; this one is not told.
    match db.engine() {
        Engine::Sqlite => db.migrate(&[FIRST, SECOND, wider]).await.expect("migrations"),
        Engine::Postgres => {
            let other = Db::open(db.options()).await.expect("another node");
            other.migrate(&[FIRST, SECOND, wider]).await.expect("migrations")
        }
    };
    for id in 3..12 {
        assert_eq!(write(id).await.expect("a write"), Some((id,)));
    }
    let mut reader = db.reader().await.expect("a reader");
    let sql = "SELECT id, extra FROM orgs WHERE id = 1";
    assert_eq!(reader.one::<(i64, Option<i64>)>(sql, &[]).await.expect("a row"), (1, None));
}

}

/// SQLite cannot alter most of a table, so migrations rebuild it: that must not cascade into the tables that refer to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_rebuilds_a_table_without_losing_what_refers_to_it() {
    use narthex_db::testing::TestDb;
    let db = TestDb::new(Engine::Sqlite, &[]).await.expect("a database");
    let base = same(
        1,
        "base",
        "CREATE TABLE orgs (id BIGINT NOT NULL PRIMARY KEY);
         CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, org BIGINT REFERENCES orgs (id) ON DELETE CASCADE);
         INSERT INTO orgs VALUES (1); INSERT INTO users VALUES (1, 1);",
    );
    let rebuild = same(
        2,
        "rebuild",
        "CREATE TABLE orgs_new (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL DEFAULT '');
         INSERT INTO orgs_new (id) SELECT id FROM orgs; DROP TABLE orgs; ALTER TABLE orgs_new RENAME TO orgs;",
    );
    let orphans = same(3, "orphans", "INSERT INTO users VALUES (2, 99);");
    db.migrate(&[base, rebuild]).await.expect("migrations");
    let users = async || {
        let mut reader = db.reader().await.expect("a reader");
        reader.one::<(i64,)>("SELECT count(*) FROM users", &[]).await.expect("a row").0
    };
    assert_eq!(users().await, 1);
    let text = schema_error(db.migrate(&[base, rebuild, orphans]).await);
    assert!(text.contains("users"), "{text}");
    assert_eq!(users().await, 1);
    let orphan = db.write(async |tx| tx.execute("INSERT INTO users VALUES (3, 99)", &[]).await).await;
    assert!(orphan.is_err_and(|error| error.is_foreign_key()), "foreign keys are on again");
}
