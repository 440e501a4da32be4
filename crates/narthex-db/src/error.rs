//! What can go wrong in the database, in terms that do not depend on the engine.

/// An error of the database layer. Texts are for logs: they name tables, columns and causes, never stored values.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// A UNIQUE or PRIMARY KEY constraint refused the row. `constraint` is `table.column[, table.column…]` on both
    /// engines, or the index name where the index is over an expression.
    #[error("unique constraint violated: {constraint}")]
    Unique {
        /// What was violated.
        constraint: String,
    },
    /// A foreign key refused the row or the deletion. SQLite does not tell which one: the text is then empty.
    #[error("foreign key violated: {constraint}")]
    ForeignKey {
        /// The constraint's name on PostgreSQL, empty on SQLite.
        constraint: String,
    },
    /// A NOT NULL, CHECK or STRICT-type rule of the schema refused the row.
    #[error("schema rule violated: {rule}")]
    Check {
        /// The column or the constraint.
        rule: String,
    },
    /// `one` found no row.
    #[error("no row")]
    NoRow,
    /// Nothing was written, and trying again later may work: queue full, disk full, read-only, no connection.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost, or the disk refused, while a COMMIT was under way: the transaction may stand or not.
    #[error("outcome of the commit unknown: {0}")]
    UnknownOutcome(String),
    /// Still in conflict with other transactions after the last try. Nothing was written.
    #[error("conflict with concurrent transactions after {tries} tries")]
    Contention {
        /// How often the closure was run.
        tries: u32,
    },
    /// The closure or statement ran longer than its deadline. Nothing was written.
    #[error("deadline exceeded: {0}")]
    Deadline(String),
    /// The closure awaited something other than its transaction. Nothing was written.
    #[error("a transaction closure awaited something other than its transaction")]
    ForeignAwait,
    /// The closure panicked. Nothing was written.
    #[error("a transaction closure panicked: {0}")]
    Panicked(String),
    /// A statement failed earlier in this transaction; nothing after it can run or be committed. Returned to later
    /// statements, and to a caller whose closure answered `Ok` in spite of the failed statement.
    #[error("an earlier statement of the transaction failed: {0}")]
    Poisoned(String),
    /// A value does not fit: U+0000 in a text, wrong column type, NULL where none is expected, integer out of range.
    #[error("data: {0}")]
    Data(String),
    /// The statement itself is wrong, or the engine answered something unforeseen: a defect of the program.
    #[error("sql: {0}")]
    Sql(String),
    /// The schema of the database and the migrations of this program do not fit together.
    #[error("schema: {0}")]
    Schema(String),
    /// Another process owns the data folder.
    #[error("{path} is in use by another process{owner}")]
    Owned {
        /// The lock file.
        path: String,
        /// " (pid N)" where known, else empty.
        owner: String,
    },
    /// The options make no sense, for example a URL of an unknown scheme.
    #[error("options: {0}")]
    Options(String),
}

impl DbError {
    /// True for a violated UNIQUE or PRIMARY KEY constraint.
    pub fn is_unique(&self) -> bool {
        matches!(self, DbError::Unique { .. })
    }

    /// True if the violated unique constraint contains `column`, given as `table.column`.
    pub fn is_unique_on(&self, column: &str) -> bool {
        matches!(self, DbError::Unique { constraint } if constraint.split(", ").any(|part| part == column))
    }

    /// True for a violated foreign key.
    pub fn is_foreign_key(&self) -> bool {
        matches!(self, DbError::ForeignKey { .. })
    }

    /// True if nothing was written and the same call may succeed later without a change.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, DbError::Unavailable(_) | DbError::Contention { .. } | DbError::Deadline(_))
    }

    /// True if the transaction may stand or not.
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(self, DbError::UnknownOutcome(_))
    }
}
