//! A seeded environment with people in it: what the tests of users, memberships and invitations share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use narthex_core::environments::Environment;
use narthex_core::events::{Actor, StoredEvent};
use narthex_core::ids::{EnvId, OrganizationId, UserId};
use narthex_core::memberships::{self, Addition, Provisioning, Subject};
use narthex_core::organizations::{self, NewOrganization};
use narthex_core::roles::{self, NewRole, Reference, Role, Scope};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::users::{self, Identity, NewUser, View};
use narthex_core::{Core, Error};
use narthex_db::Engine;
use narthex_db::testing::{POSTGRES_URL, TestDb, postgres_url};
use tokio::task::JoinHandle;

/// A node whose DEV environment is worked in.
pub struct People {
    pub node: TestCore,
    pub by: Actor,
}

impl People {
    pub async fn on(db: TestDb) -> Self {
        Self { node: TestCore::on(db).await.expect("a node"), by: Actor::SYSTEM }
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.node.core
    }

    pub fn environment(&self) -> &Arc<Environment> {
        &self.node.dev
    }

    pub fn env(&self) -> EnvId {
        self.node.dev.id
    }

    pub async fn organization(&self, name: &str) -> OrganizationId {
        let new = NewOrganization::named(name);
        organizations::create(self.core(), self.env(), &self.by, new, None).await.expect("an organization").id
    }

    pub async fn role(&self, name: &str) -> Role {
        let new = NewRole { name: name.into(), display_name: name.to_uppercase(), ..NewRole::default() };
        roles::create(self.core(), self.env(), Scope::Environment, &self.by, new, None).await.expect("a role")
    }

    pub async fn add(&self, addition: Addition) -> Result<View, Error> {
        memberships::add(self.core(), self.environment(), &self.by, addition, None).await
    }

    /// A member at once.
    pub async fn member(&self, organization: OrganizationId, email: &str) -> View {
        self.add(direct(organization, email)).await.expect("a member")
    }

    pub async fn get(&self, user: UserId) -> Result<View, Error> {
        users::get(self.core(), self.env(), Identity::Id(user)).await
    }

    pub async fn delete(&self, identity: Identity) -> Result<(), Error> {
        users::delete(self.core(), self.env(), &self.by, identity).await
    }

    /// Events about people, oldest first.
    pub async fn events(&self) -> Vec<StoredEvent> {
        let newest = async |tx: &mut narthex_db::Tx| narthex_core::events::newest(tx, 10_000).await;
        let mut events = self.node.db.read(newest).await.expect("events");
        events.reverse();
        events.retain(|event| event.kind.starts_with("user."));
        events
    }

    pub async fn event_types(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.kind.trim_start_matches("user.").to_owned()).collect()
    }

    /// The first column of the first row.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let row = self.node.db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await;
        row.expect("a number").0
    }
}

/// A new user who is a member at once.
pub fn direct(organization: OrganizationId, email: &str) -> Addition {
    Addition { invite: false, ..invited(organization, email) }
}

/// A new user who is invited.
pub fn invited(organization: OrganizationId, email: &str) -> Addition {
    Addition {
        organization,
        subject: Subject::New(NewUser { email: email.into(), ..NewUser::default() }),
        roles: Vec::new(),
        metadata: BTreeMap::new(),
        inviter_email: None,
        invite: true,
        provisioning: Provisioning::Direct,
    }
}

/// A user of the environment who is a member at once.
pub fn existing(organization: OrganizationId, identity: Identity) -> Addition {
    Addition { subject: Subject::Existing(identity), ..direct(organization, "") }
}

pub fn named(names: &[&str]) -> Vec<Reference> {
    names.iter().map(|&name| Reference::Name(name.into())).collect()
}

pub fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Names of the roles in the only membership.
pub fn roles_of(view: &View) -> Vec<&str> {
    let [membership] = &view.memberships[..] else { panic!("{:?}", view.memberships) };
    membership.roles.iter().map(|role| role.name.as_str()).collect()
}

/// A PostgreSQL database, or None where no server is named.
pub async fn postgres_database() -> Option<TestDb> {
    if postgres_url().is_none() {
        eprintln!("PostgreSQL was not run: {POSTGRES_URL} is not set");
        return None;
    }
    Some(TestDb::new(Engine::Postgres, &Schema::new().migrations()).await.expect("a PostgreSQL database"))
}

/// A transaction that stays open until the test ends it.
pub struct Rival {
    client: tokio_postgres::Client,
}

impl Rival {
    pub async fn begin(url: &str, sql: &str) -> Self {
        let (client, driver) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(driver);
        client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await.expect("begun");
        client.batch_execute(sql).await.expect("a statement");
        Self { client }
    }

    pub async fn end(self, how: &str) {
        self.try_end(how).await.expect("ended");
    }

    pub async fn try_end(self, how: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(how).await
    }
}

/// Runs an operation until it waits for the rival.
pub async fn until_it_waits<T>(url: &str, operation: JoinHandle<T>) -> JoinHandle<T> {
    let (client, driver) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(driver);
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..200 {
        let row = client.query_one(waiting, &[]).await.expect("activity");
        if row.get::<_, i64>(0) > 0 {
            assert!(!operation.is_finished());
            return operation;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the operation never waited for the rival");
}
