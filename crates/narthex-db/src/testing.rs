//! Test support: a database of its own for each test, on either engine.
//!
//! Both engines copy a template that is migrated once per set of migrations, so a test pays for a copy and not for the
//! history of the schema. PostgreSQL tests run when [`POSTGRES_URL`] names a server (`tests/postgres.sh` starts one);
//! set but wrong, they fail.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Deref;
use std::path::Path;

use tempfile::TempDir;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::{Db, DbError, DbOptions, Engine, Migration};

/// The variable that names a running PostgreSQL server by a superuser's URL.
pub const POSTGRES_URL: &str = "NARTHEX_TEST_POSTGRES_URL";

/// The server that PostgreSQL tests use, if there is one.
#[expect(clippy::disallowed_methods, reason = "test support has no configuration of its own")]
pub fn postgres_url() -> Option<String> {
    std::env::var(POSTGRES_URL).ok().filter(|url| !url.is_empty())
}

/// Defines each test once and runs it on both engines, as `name::sqlite` and `name::postgres`:
///
/// ```text
/// narthex_db::on_each_engine! { MIGRATIONS;
///     async fn a_row_comes_back(db: TestDb) { … }
/// }
/// ```
#[macro_export]
macro_rules! on_each_engine {
    ($migrations:expr; $($(#[$doc:meta])* async fn $name:ident($db:ident: TestDb) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($db: $crate::testing::TestDb) $body

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let db = $crate::testing::TestDb::new($crate::Engine::Sqlite, $migrations).await;
                body(db.expect("a SQLite database")).await;
            }

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if $crate::testing::postgres_url().is_none() {
                    eprintln!("PostgreSQL was not run: {} is not set", $crate::testing::POSTGRES_URL);
                    return;
                }
                let db = $crate::testing::TestDb::new($crate::Engine::Postgres, $migrations).await;
                body(db.expect("a PostgreSQL database")).await;
            }
        }
    )*};
}

/// A migrated, empty database that goes away with this value. Derefs to [`Db`]; a second node, or the same database
/// after a restart, is `Db::open(test_db.options())`.
pub struct TestDb {
    db: Option<Db>,
    options: DbOptions,
    place: Place,
}

enum Place {
    Sqlite(TempDir),
    Postgres { admin: String, name: String },
}

impl TestDb {
    /// A database on `engine` with `migrations` applied.
    pub async fn new(engine: Engine, migrations: &[Migration<'_>]) -> Result<TestDb, DbError> {
        TestDb::with(engine, migrations, |_| {}).await
    }

    /// The same with other options.
    pub async fn with(
        engine: Engine,
        migrations: &[Migration<'_>],
        adjust: impl FnOnce(&mut DbOptions),
    ) -> Result<TestDb, DbError> {
        let (place, url) = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().map_err(|error| trouble(&error))?;
                let path = folder.path().join("test.db");
                sqlite_copy(&path, migrations).await?;
                let url = format!("sqlite:{}", path.display());
                (Place::Sqlite(folder), url)
            }
            Engine::Postgres => {
                let admin = postgres_url().ok_or_else(|| DbError::Options(format!("{POSTGRES_URL} is not set")))?;
                let name = format!("narthex_test_{:016x}", random());
                postgres_copy(&admin, &name, migrations).await?;
                let url = database_url(&admin, &name);
                (Place::Postgres { admin, name }, url)
            }
        };
        let mut options = DbOptions::new(url);
        // Hundreds of tests share one server's connections.
        options.write_lanes = 4;
        options.readers = 4;
        adjust(&mut options);
        // Built first, so that a failed open still removes the database.
        let mut test = TestDb { db: None, options, place };
        test.db = Some(Db::open(&test.options).await?);
        Ok(test)
    }

    /// A handle to keep, for example in an application under test.
    pub fn db(&self) -> Db {
        self.deref().clone()
    }

    /// The options that the handle was opened with.
    pub fn options(&self) -> &DbOptions {
        &self.options
    }

    /// The folder of a SQLite database.
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Sqlite(folder) => Some(folder.path()),
            Place::Postgres { .. } => None,
        }
    }

    /// Closes the handle and opens the same database again, as a restart of the program would.
    pub async fn reopen(&mut self) -> Result<(), DbError> {
        if let Some(db) = self.db.take() {
            db.close().await;
        }
        self.db = Some(Db::open(&self.options).await?);
        Ok(())
    }

    /// The same with other options; the URL stays.
    pub async fn reopen_with(&mut self, options: DbOptions) -> Result<(), DbError> {
        self.options = DbOptions { url: self.options.url.clone(), ..options };
        self.reopen().await
    }
}

impl Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db.as_ref().expect("open since it was made; a failed `reopen` ends the test")
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        drop(self.db.take());
        let Place::Postgres { admin, name } = &self.place else { return };
        let (admin, sql) = (admin.clone(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        // On a thread of its own, since a test's runtime cannot be blocked on from within; waited for, since the test
        // process may end right after.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| trouble(&error))?;
            runtime.block_on(async { administer(&admin, &sql).await.map_err(|error| trouble(&error)) })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("the test database {name} was left behind: {error}");
        }
    }
}

fn trouble(error: &dyn std::fmt::Display) -> DbError {
    DbError::Unavailable(format!("test database: {error}"))
}

/// Names need to be unique among test processes, nothing more.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Names the template of a set of migrations.
fn fingerprint(engine: Engine, migrations: &[Migration<'_>]) -> String {
    let lines: Vec<_> = migrations.iter().map(|m| format!("{} {} {}", m.id, m.name, m.checksum(engine))).collect();
    let all = lines.join("\n");
    let set = Migration { id: 0, name: "", sqlite: &all, postgres: &all };
    set.checksum(engine)[..16].to_owned()
}

/// Puts a migrated database at `path`.
async fn sqlite_copy(path: &Path, migrations: &[Migration<'_>]) -> Result<(), DbError> {
    let name = format!("narthex-template-{}.db", fingerprint(Engine::Sqlite, migrations));
    let template = std::env::temp_dir().join(name);
    if !template.exists() {
        let folder = tempfile::tempdir().map_err(|error| trouble(&error))?;
        let building = folder.path().join("template.db");
        let db = Db::open(&DbOptions::new(format!("sqlite:{}", building.display()))).await?;
        db.migrate(migrations).await?;
        db.close().await;
        // Copied beside the goal and renamed, so that no other process ever sees half a template.
        let staged = template.with_extension(format!("{:016x}", random()));
        std::fs::copy(&building, &staged).map_err(|error| trouble(&error))?;
        std::fs::rename(&staged, &template).map_err(|error| trouble(&error))?;
    }
    std::fs::copy(&template, path).map(drop).map_err(|error| trouble(&error))
}

/// Runs one statement on the server's own database.
async fn administer(admin: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, driver) = tokio_postgres::connect(admin, NoTls).await?;
    let driver = tokio::spawn(driver);
    let result = client.batch_execute(sql).await;
    drop(client);
    // The statement's own error says more than the driver's.
    drop(driver.await);
    result
}

async fn postgres_copy(admin: &str, name: &str, migrations: &[Migration<'_>]) -> Result<(), DbError> {
    let template = format!("narthex_template_{}", fingerprint(Engine::Postgres, migrations));
    let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
    match administer(admin, &copy).await {
        Ok(()) => return Ok(()),
        Err(error) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {}
        Err(error) => return Err(trouble(&crate::postgres::chain(&error))),
    }
    // No template yet. Built under another name and renamed when done: whoever is second drops his.
    let building = format!("narthex_building_{:016x}", random());
    let run = async |sql: &str| administer(admin, sql).await.map_err(|error| trouble(&crate::postgres::chain(&error)));
    run(&format!("CREATE DATABASE {building} TEMPLATE template0 ENCODING 'UTF8'")).await?;
    let db = Db::open(&DbOptions::new(database_url(admin, &building))).await?;
    let migrated = db.migrate(migrations).await;
    db.close().await;
    let renamed = administer(admin, &format!("ALTER DATABASE {building} RENAME TO {template}")).await;
    if migrated.is_err() || renamed.is_err() {
        run(&format!("DROP DATABASE IF EXISTS {building} WITH (FORCE)")).await?;
    }
    migrated?;
    run(&copy).await
}

/// The URL of another database on the same server.
fn database_url(admin: &str, name: &str) -> String {
    let (base, query) =
        admin.split_once('?').map_or((admin, String::new()), |(base, query)| (base, format!("?{query}")));
    let server = base.find("://").map_or(0, |at| at + 3);
    let end = base[server..].find('/').map_or(base.len(), |at| server + at);
    format!("{}/{name}{query}", &base[..end])
}
