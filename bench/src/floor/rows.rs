//! The rows of the durable creates, in the tables of Narthex itself, indexes included.

use rusqlite::{Connection, params};

const SCHEMA: [&str; 7] = [
    include_str!("../../../crates/narthex-core/migrations/0001_foundation.sql"),
    include_str!("../../../crates/narthex-core/migrations/0002_events.sql"),
    include_str!("../../../crates/narthex-core/migrations/0003_organizations.sql"),
    include_str!("../../../crates/narthex-core/migrations/0004_organization_search.sqlite.sql"),
    include_str!("../../../crates/narthex-core/migrations/0010_roles.sql"),
    include_str!("../../../crates/narthex-core/migrations/0020_users.sql"),
    include_str!("../../../crates/narthex-core/migrations/0021_user_search.sqlite.sql"),
];

const ENVIRONMENT: i64 = 88_000_000_000_000_001;
const ROLE: i64 = 88_000_000_000_000_002;
/// Organizations that users are created in; the load of the other side has as many.
const ORGANIZATIONS: i64 = 64;

/// What is created.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Noun {
    /// An organization.
    Organization,
    /// A user with a membership.
    User,
}

impl Noun {
    /// An id above all that are there.
    pub fn next_id(self, connection: &Connection) -> rusqlite::Result<i64> {
        let sql = match self {
            Self::Organization => "SELECT COALESCE(MAX(id), 0) + 1 FROM organizations",
            Self::User => "SELECT COALESCE(MAX(id), 0) + 1 FROM users",
        };
        connection.query_row(sql, [], |row| row.get(0))
    }

    /// The rows of one create, of the widths that a create over the API leaves.
    pub fn insert(self, connection: &Connection, id: i64) -> rusqlite::Result<()> {
        match self {
            Self::Organization => organization(connection, id),
            Self::User => user(connection, id),
        }
    }
}

/// The tables, and the role that members get.
pub fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    for migration in SCHEMA {
        connection.execute_batch(migration)?;
    }
    // Its environment is missing here; what a member's role refers to is the role.
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    connection.execute(
        "INSERT INTO roles (id, environment_id, organization_id, name, display_name, description, default_creator, default_member,
            created_at, updated_at) VALUES (?1, ?2, NULL, 'member', 'Member', '', 0, 1, 1, 1)",
        params![ROLE, ENVIRONMENT],
    )?;
    connection.execute_batch("PRAGMA foreign_keys = ON")
}

fn organization(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    const NAME: &str = "Example Manufacturing and Trading Company";
    const METADATA: &str = r#"{"plan":"enterprise","region":"eu-central"}"#;
    let external_id = format!("customer-{id:09}");
    let search_text = format!("{NAME}\norg_{id}\n{external_id}");
    connection
        .prepare_cached(
            "INSERT INTO organizations (id, environment_id, display_name, region, external_id, metadata, features, features_set,
                search_text, created_at, updated_at) VALUES (?1, ?2, ?3, 'US', ?4, ?5, 0, 0, ?6, ?1, ?1)",
        )?
        .execute(params![id, ENVIRONMENT, NAME, external_id, METADATA, search_text])?;
    event(connection, id, id, "organization.created", 480)?;
    count(connection, ENVIRONMENT, "organizations", id)?;
    connection
        .prepare_cached("INSERT INTO organization_search_pending (organization_id) VALUES (?1)")?
        .execute(params![id])?;
    Ok(())
}

fn user(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    const METADATA: &str = r#"{"department":"sales"}"#;
    let organization = 1 + id % ORGANIZATIONS;
    let external_id = format!("customer-{id:09}");
    let email = format!("{external_id}@example.com");
    let search_text = format!("{email}\nusr_{id}\n{external_id}");
    connection
        .prepare_cached(
            "INSERT INTO users (id, environment_id, email, email_key, external_id, metadata, profile_id, given_name, family_name,
                name, locale, email_verified, phone_number, phone_number_verified, preferred_username, picture, gender, user_groups,
                profile_metadata, custom_attributes, search_text, created_at, updated_at)
                VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?1, 'Ann', 'Example', '', '', 1, '', 0, '', '', '', '[]', '{}', '{}', ?6, ?1, ?1)",
        )?
        .execute(params![id, ENVIRONMENT, email, external_id, METADATA, search_text])?;
    connection.prepare_cached("INSERT INTO user_search_pending (user_id) VALUES (?1)")?.execute(params![id])?;
    count(connection, ENVIRONMENT, "users", id)?;
    connection
        .prepare_cached(
            "INSERT INTO memberships (organization_id, user_id, environment_id, state, metadata, provisioning, joined_at,
                resent_count, created_at, updated_at) VALUES (?1, ?2, ?3, 1, '{}', 'direct_provision', ?2, 0, ?2, ?2)",
        )?
        .execute(params![organization, id, ENVIRONMENT])?;
    count(connection, organization, "organization_users", id)?;
    connection
        .prepare_cached(
            "INSERT INTO membership_roles (environment_id, organization_id, user_id, role_id) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![ENVIRONMENT, organization, id, ROLE])?;
    event(connection, id, organization, "user.organization_membership_created", 1_250)?;
    connection
        .prepare_cached("INSERT INTO event_subjects (user_id, event_id, expires_at) VALUES (?1, ?1, ?1)")?
        .execute(params![id])?;
    Ok(())
}

/// An event with a body of so many bytes, and its job.
fn event(connection: &Connection, id: i64, organization: i64, kind: &str, bytes: usize) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (id, environment_id, organization_id, type, actor, occurred_at, expires_at, body)
                VALUES (?1, ?2, ?3, ?4, 'client:skc_88000000000000001', ?1, ?1, ?5)",
        )?
        .execute(params![id, ENVIRONMENT, organization, kind, "e".repeat(bytes)])?;
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, kind, queue, environment_id, payload, state, run_at, attempts, created_at)
                VALUES (?1, 'audit', 1, ?2, 'null', 0, ?1, 0, ?1)",
        )?
        .execute(params![id, ENVIRONMENT])?;
    Ok(())
}

fn count(connection: &Connection, scope: i64, noun: &str, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO counter_changes (environment_id, noun, id, change) VALUES (?1, ?2, ?3, 1)")?
        .execute(params![scope, noun, id])?;
    Ok(())
}
