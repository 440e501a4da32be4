//! `idempotency-key`: a create that is sent again creates nothing again.

use std::time::Duration;

use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::EnvId;
use narthex_core::organizations::{self, NewOrganization, Organization};
use narthex_core::schema::Schema;
use narthex_core::{Caller, Error, jobs};

use crate::fixture::{Fixture, assert_invalid};

fn client(id: &str) -> Actor {
    Actor::from(&Caller::Client { environment: EnvId(1), client_id: id.into() })
}

async fn create(f: &Fixture, environment: EnvId, by: &Actor, key: &str, name: &str) -> Result<Organization, Error> {
    let new = NewOrganization { external_id: Some(name.to_lowercase()), ..NewOrganization::named(name) };
    let key = IdempotencyKey::new(environment, by, key, &["CreateOrganization", &new.fingerprint()])?;
    organizations::create(&f.core, environment, by, new, Some(key)).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn the_same_key_and_request_answer_with_the_same_organization(db: TestDb) {
        let f = Fixture::on(db).await;
        let by = client("skc_1");
        let first = create(&f, f.env(), &by, "key-1", "Acme").await.unwrap();
        let again = create(&f, f.env(), &by, "key-1", "Acme").await.unwrap();
        assert_eq!(first, again);
        assert_eq!(f.event_types().await, ["organization.created"]);
        assert_invalid(create(&f, f.env(), &by, "key-1", "Another").await, "idempotency-key");
        assert_eq!(f.number("SELECT COUNT(*) FROM organizations").await, 1);
    }

    async fn a_key_is_good_for_its_caller_and_environment_only_and_for_a_day(db: TestDb) {
        let f = Fixture::on(db).await;
        let by = client("skc_1");
        let first = create(&f, f.env(), &by, "key-1", "Acme").await.unwrap();
        let elsewhere = create(&f, EnvId(77), &by, "key-1", "Acme").await.unwrap();
        assert_ne!(first.id, elsewhere.id);
        let other = create(&f, f.env(), &client("skc_2"), "key-1", "Other").await.unwrap();
        assert_ne!(first.id, other.id);
        f.core.clock.advance(Duration::from_secs(86_401));
        // Forgotten, swept or not: the request is carried out, and meets its own external id.
        assert_invalid(create(&f, f.env(), &by, "key-1", "Acme").await, "external_id");
        let new = create(&f, f.env(), &by, "key-1", "Later").await.unwrap();
        assert_ne!(new.id, first.id);
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM idempotency_keys").await, 1, "the expired ones are swept");
    }

    async fn twins_sent_at_once_create_one(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (core, environment) = (f.core.clone(), f.env());
            tasks.spawn(async move {
                let by = client("skc_1");
                let new = NewOrganization::named("Acme");
                let key = IdempotencyKey::new(environment, &by, "key-1", &[&new.fingerprint()]).unwrap();
                organizations::create(&core, environment, &by, new, Some(key)).await.unwrap().id
            });
        }
        let ids: std::collections::HashSet<_> = tasks.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM organizations").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 1);
    }

    async fn a_refused_create_does_not_use_its_key_up(db: TestDb) {
        let f = Fixture::on(db).await;
        let by = client("skc_1");
        let taken = create(&f, f.env(), &by, "key-1", "Acme").await.unwrap();
        assert_invalid(create(&f, f.env(), &by, "key-2", "ACME").await, "external_id");
        organizations::delete(&f.core, f.env(), &by, organizations::Identity::Id(taken.id)).await.unwrap();
        create(&f, f.env(), &by, "key-2", "ACME").await.unwrap();
    }
}

#[test]
fn keys_are_short_printable_texts() {
    let by = client("skc_1");
    let key = |name: &str| IdempotencyKey::new(EnvId(1), &by, name, &[]);
    assert!(key("0f8fad5b-d9cb-469f-a165-70867728950e").is_ok() && key(&"x".repeat(255)).is_ok());
    for bad in ["", "a\0b", "a\nb", "ä", &"x".repeat(256)] {
        assert_invalid(key(bad), "idempotency-key");
    }
}
