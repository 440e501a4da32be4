//! Migrations: embedded, forward only, each recorded with the SHA-256 of its text.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

use crate::{DbError, Engine};

/// One step of the schema. Ids rise in the order of application; a landed migration is never edited.
#[derive(Clone, Copy, Debug)]
pub struct Migration<'a> {
    /// Position in the history, from 1.
    pub id: u32,
    /// The noun it is about, for people.
    pub name: &'a str,
    /// The statements for SQLite.
    pub sqlite: &'a str,
    /// The statements for PostgreSQL.
    pub postgres: &'a str,
}

/// Where one migration stands in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// [`Migration::id`].
    pub id: u32,
    /// [`Migration::name`], as known to this program, else as recorded in the database.
    pub name: String,
    /// Recorded as applied.
    pub applied: bool,
    /// None where program and database agree, or the migration is merely pending; else what is wrong.
    pub problem: Option<String>,
}

/// A copy that can be handed to another thread.
pub(crate) struct Owned(Vec<(u32, String, String, String)>);

impl Owned {
    pub(crate) fn new(migrations: &[Migration<'_>]) -> Owned {
        let copy = |m: &Migration<'_>| (m.id, m.name.to_owned(), m.sqlite.to_owned(), m.postgres.to_owned());
        Owned(migrations.iter().map(copy).collect())
    }

    pub(crate) fn list(&self) -> Vec<Migration<'_>> {
        self.0.iter().map(|(id, name, sqlite, postgres)| Migration { id: *id, name, sqlite, postgres }).collect()
    }
}

/// What the database has recorded: id to name and checksum.
pub(crate) type Applied = BTreeMap<u32, (String, String)>;

pub(crate) const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
     (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";
pub(crate) const SELECT_APPLIED: &str = "SELECT id, name, checksum FROM schema_migrations WHERE id > 0 ORDER BY id";
pub(crate) const INSERT_APPLIED: &str = "INSERT INTO schema_migrations (id, name, checksum) VALUES ($1, $2, $3)";

impl Migration<'_> {
    pub(crate) fn text(&self, engine: Engine) -> &str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }

    /// SHA-256 of the engine's text, in hex.
    pub(crate) fn checksum(&self, engine: Engine) -> String {
        use std::fmt::Write;
        let sum = digest::digest(&digest::SHA256, self.text(engine).as_bytes());
        sum.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Compares the program's list with the database's record.
pub(crate) fn status(migrations: &[Migration<'_>], applied: &Applied, engine: Engine) -> Vec<MigrationStatus> {
    let newest = migrations.iter().map(|migration| migration.id).max().unwrap_or(0);
    let last_applied = applied.keys().next_back().copied().unwrap_or(0);
    let mut all: BTreeMap<u32, MigrationStatus> = BTreeMap::new();
    for (&id, (name, _)) in applied {
        let problem = if id > newest {
            "applied by a newer version of the program"
        } else {
            "applied, but unknown to this version of the program"
        };
        all.insert(id, MigrationStatus { id, name: name.clone(), applied: true, problem: Some(problem.into()) });
    }
    for migration in migrations {
        let problem = match applied.get(&migration.id) {
            Some((_, checksum)) if *checksum != migration.checksum(engine) => {
                Some("its text has changed since it was applied".into())
            }
            None if migration.id < last_applied => Some(format!("not applied, although {last_applied} is")),
            _ => None,
        };
        let name = migration.name.to_owned();
        let applied = applied.contains_key(&migration.id);
        all.insert(migration.id, MigrationStatus { id: migration.id, name, applied, problem });
    }
    all.into_values().collect()
}

/// The first migration that is to be applied, or None when all are; an error when list and record do not fit together.
pub(crate) fn next<'m, 'a>(
    migrations: &'m [Migration<'a>],
    applied: &Applied,
    engine: Engine,
) -> Result<Option<&'m Migration<'a>>, DbError> {
    for pair in migrations.windows(2) {
        if pair[0].id >= pair[1].id {
            return Err(DbError::Schema(format!("migration {} is listed after {}", pair[1].id, pair[0].id)));
        }
    }
    if migrations.first().is_some_and(|first| first.id == 0) {
        return Err(DbError::Schema("migration ids count from 1".into()));
    }
    for state in status(migrations, applied, engine) {
        if let Some(problem) = state.problem {
            return Err(DbError::Schema(format!("migration {} {}: {problem}", state.id, state.name)));
        }
    }
    Ok(migrations.iter().find(|migration| !applied.contains_key(&migration.id)))
}
