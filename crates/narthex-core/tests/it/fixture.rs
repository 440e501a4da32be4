//! A core on an empty database, with an environment to work in.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_core::dns::{Dns, NoDns};
use narthex_core::environments::{
    AuthenticationMode, CustomDomainStatus, Environment, EnvironmentKind, SessionSettings,
};
use narthex_core::events::{Actor, StoredEvent};
use narthex_core::ids::{EnvId, WorkspaceId};
use narthex_core::organizations::{self, NewOrganization, Organization};
use narthex_core::{Core, CoreOptions, Error, Kind, Timestamp, testing};
use narthex_db::testing::TestDb;
use narthex_db::{Db, Engine};

/// One node over a database of its own. Nothing is seeded.
pub struct Fixture {
    pub core: Arc<Core>,
    pub environment: Arc<Environment>,
    pub by: Actor,
    database: TestDb,
}

impl Fixture {
    pub async fn on(database: TestDb) -> Self {
        Self::asking(database, Arc::new(NoDns)).await
    }

    /// One that asks `dns` for records.
    pub async fn asking(database: TestDb, dns: Arc<dyn Dns>) -> Self {
        let core = start(&database, database.db(), dns).await;
        let environment = environment(EnvId::new(&core.ids));
        Self { core, environment, by: Actor::SYSTEM, database }
    }

    /// Another node over the same database; None on SQLite, whose file has one owner.
    pub async fn second_node(&self) -> Option<Arc<Core>> {
        if self.core.db.engine() == Engine::Sqlite {
            return None;
        }
        let db = Db::open(self.database.options()).await.expect("a second handle");
        Some(start(&self.database, db, Arc::clone(&self.core.dns)).await)
    }

    /// The database, for a connection of the test's own.
    pub fn url(&self) -> &str {
        &self.database.options().url
    }

    pub fn env(&self) -> EnvId {
        self.environment.id
    }

    /// Creates an organization with a name.
    pub async fn organization(&self, name: &str) -> Organization {
        self.create(NewOrganization::named(name)).await.expect("an organization")
    }

    pub async fn create(&self, new: NewOrganization) -> Result<Organization, Error> {
        organizations::create(&self.core, self.env(), &self.by, new, None).await
    }

    /// All events, oldest first.
    pub async fn events(&self) -> Vec<StoredEvent> {
        let mut events =
            self.core.db.read(async |tx| narthex_core::events::newest(tx, 10_000).await).await.expect("events");
        events.reverse();
        events
    }

    /// The types of all events, oldest first.
    pub async fn event_types(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.kind).collect()
    }

    /// Runs a statement behind the product's back.
    pub async fn tamper(&self, sql: &'static str) -> u64 {
        self.core.db.write(async move |tx| tx.execute(sql, &[]).await).await.expect("a statement")
    }

    /// The first column of the first row.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let (number,) = self.core.db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.expect("a number");
        number
    }
}

async fn start(database: &TestDb, db: Db, dns: Arc<dyn Dns>) -> Arc<Core> {
    Core::start(db, CoreOptions { dns, ..testing::options(database, testing::MASTER_KEY) }).await.expect("a core")
}

/// An environment that no row stands for: nothing here depends on one.
pub fn environment(id: EnvId) -> Arc<Environment> {
    Arc::new(Environment {
        id,
        workspace_id: WorkspaceId(1),
        kind: EnvironmentKind::Dev,
        is_system: false,
        display_name: "Test".into(),
        domain: "acme.test".into(),
        origin: "https://acme.test".into(),
        custom_domain: None,
        custom_domain_status: CustomDomainStatus::Unspecified,
        authentication_mode: AuthenticationMode::FullStack,
        session: SessionSettings::default(),
        features: BTreeMap::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    })
}

/// The error must be INVALID_ARGUMENT about exactly this field.
#[track_caller]
pub fn assert_invalid<T: std::fmt::Debug>(result: Result<T, Error>, field: &str) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}");
    let fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, [field], "{error:?}");
    error
}

#[track_caller]
pub fn assert_not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert_eq!(result.expect_err("not found").kind(), Kind::NotFound);
}
