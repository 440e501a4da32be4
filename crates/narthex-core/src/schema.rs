//! The schema: one text per migration, written for SQLite, and the few words that PostgreSQL spells otherwise.

use std::borrow::Cow;

use narthex_db::Migration;

/// How a migration is written.
enum Text {
    /// For SQLite; PostgreSQL's text follows from it by [`postgres`].
    Both(&'static str),
    /// Where the engines really differ.
    Each { sqlite: &'static str, postgres: &'static str },
}

/// A landed migration is never edited: the database keeps its checksum.
const MIGRATIONS: &[(u32, &str, Text)] = &[
    (1, "foundation", Text::Both(include_str!("../migrations/0001_foundation.sql"))),
    (2, "events", Text::Both(include_str!("../migrations/0002_events.sql"))),
    (3, "organizations", Text::Both(include_str!("../migrations/0003_organizations.sql"))),
    (
        4,
        "organization_search",
        Text::Each {
            sqlite: include_str!("../migrations/0004_organization_search.sqlite.sql"),
            postgres: include_str!("../migrations/0004_organization_search.postgres.sql"),
        },
    ),
    (10, "roles", Text::Both(include_str!("../migrations/0010_roles.sql"))),
    (20, "users", Text::Both(include_str!("../migrations/0020_users.sql"))),
    (
        21,
        "user_search",
        Text::Each {
            sqlite: include_str!("../migrations/0021_user_search.sqlite.sql"),
            postgres: include_str!("../migrations/0021_user_search.postgres.sql"),
        },
    ),
    (30, "clients", Text::Both(include_str!("../migrations/0030_clients.sql"))),
    (40, "api_tokens", Text::Both(include_str!("../migrations/0040_api_tokens.sql"))),
    (41, "session_details", Text::Both(include_str!("../migrations/0041_session_details.sql"))),
    (42, "domains", Text::Both(include_str!("../migrations/0042_domains.sql"))),
    (50, "sign_in", Text::Both(include_str!("../migrations/0050_sign_in.sql"))),
    (51, "emails", Text::Both(include_str!("../migrations/0051_emails.sql"))),
    (52, "passwordless", Text::Both(include_str!("../migrations/0052_passwordless.sql"))),
    (53, "passkeys", Text::Both(include_str!("../migrations/0053_passkeys.sql"))),
    (54, "grants", Text::Both(include_str!("../migrations/0054_grants.sql"))),
    (55, "settings", Text::Both(include_str!("../migrations/0055_settings.sql"))),
    (56, "operators", Text::Both(include_str!("../migrations/0056_operators.sql"))),
];

/// The texts of all migrations for both engines.
pub struct Schema(Vec<(u32, &'static str, &'static str, Cow<'static, str>)>);

impl Schema {
    /// Builds the PostgreSQL texts.
    pub fn new() -> Self {
        let texts = |&(id, name, ref text): &(u32, &'static str, Text)| match *text {
            Text::Both(sqlite) => (id, name, sqlite, Cow::Owned(postgres(sqlite))),
            Text::Each { sqlite, postgres } => (id, name, sqlite, Cow::Borrowed(postgres)),
        };
        Self(MIGRATIONS.iter().map(texts).collect())
    }

    /// The list that `narthex_db::Db::migrate` takes.
    pub fn migrations(&self) -> Vec<Migration<'_>> {
        self.0.iter().map(|(id, name, sqlite, postgres)| Migration { id: *id, name, sqlite, postgres }).collect()
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

/// Rewrites a SQLite text: `INTEGER` is 64 bits wide there, so `BIGINT`; `BLOB` is `BYTEA`; texts compare by bytes on both engines,
/// so `COLLATE "C"`, whatever locale the cluster was made with; `STRICT` and `WITHOUT ROWID` have no counterpart.
fn postgres(sqlite: &str) -> String {
    let mut text = String::with_capacity(sqlite.len() + 1_024);
    for line in sqlite.lines() {
        if !line.trim_start().starts_with("--") {
            let line = line.replace(") STRICT, WITHOUT ROWID;", ");").replace(") WITHOUT ROWID;", ");");
            let line = line.replace(") STRICT;", ");");
            for (at, word) in line.split(' ').enumerate() {
                if at > 0 {
                    text.push(' ');
                }
                let bare = word.trim_end_matches([',', ')', ';']);
                let spelt = match bare {
                    "INTEGER" => "BIGINT",
                    "BLOB" => "BYTEA",
                    "TEXT" => "TEXT COLLATE \"C\"",
                    other => other,
                };
                text.push_str(spelt);
                text.push_str(&word[bare.len()..]);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_gets_its_own_words_for_types_and_nothing_else_changes() {
        let sqlite = "-- TEXT stays\nCREATE TABLE t (\n  id INTEGER NOT NULL PRIMARY KEY,\n  \"context\" TEXT,\n  raw BLOB NOT NULL,\n  \
                      small TEXT\n) STRICT, WITHOUT ROWID;\nCREATE INDEX i ON t (id) WHERE small IS NULL;\n";
        assert_eq!(
            postgres(sqlite),
            "\nCREATE TABLE t (\n  id BIGINT NOT NULL PRIMARY KEY,\n  \"context\" TEXT COLLATE \"C\",\n  raw BYTEA NOT NULL,\n  \
             small TEXT COLLATE \"C\"\n);\nCREATE INDEX i ON t (id) WHERE small IS NULL;\n"
        );
    }
}
