//! One suite for both engines.
#![allow(missing_docs)]

use narthex_db::testing::TestDb;
use narthex_db::{DbError, Engine, Migration, p};

const M: &[Migration<'_>] = &[Migration {
    id: 1,
    name: "things",
    sqlite: "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, n BIGINT, b BLOB);",
    postgres: "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, n BIGINT, b BYTEA);",
}];

#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let db = TestDb::new(Engine::Sqlite, M).await.unwrap();
    let id = "a".to_owned();
    let opt: Option<String> = None;
    let handle = db.db();
    let n = tokio::spawn(async move {
        let db = handle;
        let key: &'static str = "k";
        let out = db
            .write(async move |tx| {
                tx.execute("INSERT INTO things (n, id) VALUES ($2, $1)", &p![&id, 7]).await?;
                tx.execute("INSERT INTO things (id, b) VALUES ($1, $2)", &p![key, &opt]).await?;
                Ok::<_, DbError>(())
            })
            .await;
        out.unwrap();
        let mut reader = db.reader().await.unwrap();
        tokio::task::yield_now().await;
        let (n,): (i64,) = reader.one("SELECT n FROM things WHERE id = $1", &p!["a"]).await.unwrap();
        tokio::task::yield_now().await;
        let all = db
            .read(async move |tx| tx.all::<(String, Option<i64>)>("SELECT id, n FROM things ORDER BY id", &[]).await)
            .await
            .unwrap();
        assert_eq!(all, [("a".into(), Some(7)), ("k".into(), None)]);
        n
    })
    .await
    .unwrap();
    assert_eq!(n, 7);
    let again = db.write(async |tx| tx.execute("INSERT INTO things (id) VALUES ($1)", &p!["a"]).await).await.unwrap_err();
    assert!(again.is_unique_on("things.id"), "{again:?}");
}
