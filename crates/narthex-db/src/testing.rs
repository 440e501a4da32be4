//! Test support: a database of its own for each test, on either engine.

use std::ops::Deref;

use tempfile::TempDir;

use crate::{Db, DbError, DbOptions, Engine, Migration};

/// The variable that names a running PostgreSQL server by a superuser's URL; see `tests/postgres.sh`.
pub const POSTGRES_URL: &str = "NARTHEX_TEST_POSTGRES_URL";

/// A migrated, empty database that goes away with this value. Derefs to [`Db`].
pub struct TestDb {
    db: Db,
    options: DbOptions,
    place: Place,
}

enum Place {
    Sqlite(TempDir),
}

impl TestDb {
    /// A database on `engine` with `migrations` applied.
    pub async fn new(engine: Engine, migrations: &[Migration<'_>]) -> Result<TestDb, DbError> {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().map_err(|error| DbError::Unavailable(error.to_string()))?;
                let options = DbOptions::new(format!("sqlite:{}", folder.path().join("test.db").display()));
                let db = Db::open(&options).await?;
                db.migrate(migrations).await?;
                Ok(TestDb { db, options, place: Place::Sqlite(folder) })
            }
            Engine::Postgres => Err(DbError::Unavailable("not built yet".into())),
        }
    }

    /// A handle to keep, for example in an application under test.
    pub fn db(&self) -> Db {
        self.db.clone()
    }

    /// The options that the handle was opened with.
    pub fn options(&self) -> &DbOptions {
        &self.options
    }

    /// The folder of a SQLite database.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.place {
            Place::Sqlite(folder) => Some(folder.path()),
        }
    }
}

impl Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}
