//! Two transactions at once, each step placed by the test. PostgreSQL only: SQLite runs one after the other.

use std::time::Duration;

use narthex_core::organizations::{self, Identity, NewOrganization, Organization, OrganizationPatch, Patch};
use narthex_core::schema::Schema;
use narthex_core::{Error, Kind};
use narthex_db::Engine;
use narthex_db::testing::{POSTGRES_URL, TestDb, postgres_url};
use tokio::task::JoinHandle;

use crate::fixture::{Fixture, assert_invalid, assert_not_found};

/// The fixture, or None where no PostgreSQL server is named.
pub async fn postgres() -> Option<Fixture> {
    if postgres_url().is_none() {
        eprintln!("PostgreSQL was not run: {POSTGRES_URL} is not set");
        return None;
    }
    let db = TestDb::new(Engine::Postgres, &Schema::new().migrations()).await.expect("a PostgreSQL database");
    Some(Fixture::on(db).await)
}

/// A transaction that stays open until the test ends it.
pub struct Rival {
    client: tokio_postgres::Client,
}

impl Rival {
    pub async fn begin(f: &Fixture, sql: &str) -> Self {
        let (client, driver) = tokio_postgres::connect(f.url(), tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(driver);
        client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await.expect("begun");
        client.batch_execute(sql).await.expect("a statement");
        Self { client }
    }

    /// One that has inserted an organization with this value in `column`.
    async fn inserting(f: &Fixture, column: &str, value: &str) -> Self {
        let sql = format!(
            "INSERT INTO organizations (id, environment_id, display_name, region, {column}, metadata, features, features_set, \
             search_text, created_at, updated_at) VALUES ({}, {}, 'Rival', 'US', '{value}', '{{}}', 0, 0, 'rival', 0, 0)",
            f.core.ids.next(),
            f.env().0
        );
        Self::begin(f, &sql).await
    }

    pub async fn end(self, how: &str) {
        self.client.batch_execute(how).await.expect("ended");
    }

    /// Tries to commit what cannot be; the SQLSTATE that it fails with.
    pub async fn fails(self) -> String {
        let error = self.client.batch_execute("COMMIT").await.expect_err("refused");
        error.code().expect("an answer of the server").code().to_owned()
    }
}

/// Runs an operation until it waits for the rival.
pub async fn until_it_waits<T>(f: &Fixture, operation: JoinHandle<Result<T, Error>>) -> JoinHandle<Result<T, Error>> {
    let (client, driver) = tokio_postgres::connect(f.url(), tokio_postgres::NoTls).await.expect("a connection");
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

fn create(f: &Fixture, new: NewOrganization) -> JoinHandle<Result<Organization, Error>> {
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    tokio::spawn(async move { organizations::create(&core, environment, &by, new, None).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_04_org_08_whoever_commits_first_has_the_external_id_or_slug() {
    let Some(f) = postgres().await else { return };
    for column in ["external_id", "slug"] {
        let wanting = |value: &str| {
            let mut new = NewOrganization::named("Acme");
            let field = if column == "slug" { &mut new.slug } else { &mut new.external_id };
            *field = Some(value.to_owned());
            new
        };
        let rival = Rival::inserting(&f, column, "first").await;
        let blocked = until_it_waits(&f, create(&f, wanting("first"))).await;
        rival.end("COMMIT").await;
        assert_invalid(blocked.await.unwrap(), column);

        let rival = Rival::inserting(&f, column, "second").await;
        let blocked = until_it_waits(&f, create(&f, wanting("second"))).await;
        rival.end("ROLLBACK").await;
        blocked.await.unwrap().expect("the rival gave it up");

        // The same for a change.
        let changed = f.organization("Changed").await;
        let patch = match column {
            "slug" => OrganizationPatch { slug: Patch::Set("third".into()), ..OrganizationPatch::default() },
            _ => OrganizationPatch { external_id: Patch::Set("third".into()), ..OrganizationPatch::default() },
        };
        let rival = Rival::inserting(&f, column, "third").await;
        let (core, environment, by, id) = (f.core.clone(), f.env(), f.by.clone(), changed.id);
        let update =
            tokio::spawn(async move { organizations::update(&core, environment, &by, Identity::Id(id), patch).await });
        let blocked = until_it_waits(&f, update).await;
        rival.end("COMMIT").await;
        assert_invalid(blocked.await.unwrap(), column);
        assert_eq!(organizations::get(&f.core, f.env(), &Identity::Id(changed.id)).await.unwrap(), changed);
    }
    let created = f.event_types().await.iter().filter(|kind| *kind == "organization.created").count();
    assert_eq!(created, 4, "the two refused creates left no event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_07_a_change_based_on_what_another_has_changed_meanwhile_is_made_again() {
    let Some(f) = postgres().await else { return };
    let made = f.organization("Acme").await;
    let rival = Rival::begin(&f, &format!("UPDATE organizations SET slug = 'kept' WHERE id = {}", made.id.0)).await;
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    let patch = OrganizationPatch { display_name: Some("Acme Inc".into()), ..OrganizationPatch::default() };
    let update =
        tokio::spawn(async move { organizations::update(&core, environment, &by, Identity::Id(made.id), patch).await });
    let blocked = until_it_waits(&f, update).await;
    rival.end("COMMIT").await;
    let changed = blocked.await.unwrap().expect("run again");
    assert_eq!((changed.display_name.as_str(), changed.slug.as_deref()), ("Acme Inc", Some("kept")), "no lost update");
    let types = f.event_types().await;
    assert_eq!(types, ["organization.created", "organization.updated"], "run twice, written once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn org_07_a_change_of_what_another_deletes_meanwhile_finds_nothing() {
    let Some(f) = postgres().await else { return };
    let made = f.organization("Acme").await;
    let rival = Rival::begin(&f, &format!("DELETE FROM organizations WHERE id = {}", made.id.0)).await;
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    let patch = OrganizationPatch { display_name: Some("Acme Inc".into()), ..OrganizationPatch::default() };
    let update =
        tokio::spawn(async move { organizations::update(&core, environment, &by, Identity::Id(made.id), patch).await });
    let blocked = until_it_waits(&f, update).await;
    rival.end("COMMIT").await;
    assert_not_found(blocked.await.unwrap());
    assert_eq!(f.event_types().await, ["organization.created"]);
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_17_of_many_deletions_at_once_one_succeeds(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            tasks.spawn(async move { organizations::delete(&core, environment, &by, Identity::Id(made.id)).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.kind() == Kind::NotFound));
        assert_eq!(f.event_types().await, ["organization.created", "organization.deleted"]);
    }
}
