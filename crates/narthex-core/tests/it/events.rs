//! Events and the audit chain over them.

use std::time::Duration;

use narthex_core::events::audit::{self, Finding};
use narthex_core::events::{self, Actor, NewEvent};
use narthex_core::ids::{EnvId, EventId, OrganizationId};
use narthex_core::organizations::{self, Identity, NewOrganization};
use narthex_core::schema::Schema;
use narthex_core::{Error, Kind, Timestamp, jobs};
use serde_json::json;

use crate::fixture::Fixture;

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn evt_01_evt_03_the_envelope_is_exact_to_the_byte(db: TestDb) {
        let f = Fixture::on(db).await;
        let event = NewEvent {
            id: EventId(123_456_789_012_345_678),
            environment: EnvId(88_640_229_614_813_449),
            organization: Some(OrganizationId(88_640_229_614_813_450)),
            kind: events::ORGANIZATION_CREATED,
            occurred_at: Timestamp(1_704_888_000_025_330),
            actor: Actor::SYSTEM,
            data: json!({
                "metadata": {"plan": "großer \"Tarif\" </script>", "10": "b", "9": "a"},
                "external_id": null,
                "big": 9_007_199_254_740_993_i64,
                "half": 0.5,
                "one": 1.0,
            }),
        };
        let unscoped = NewEvent {
            id: EventId(123_456_789_012_345_679),
            organization: None,
            kind: events::CONNECTED_ACCOUNT_CREATED,
            occurred_at: Timestamp(1_704_888_000_000_000),
            data: json!({}),
            ..event.clone()
        };
        f.core
            .db
            .write(async move |tx| {
                events::append(tx, event.clone()).await?;
                events::append(tx, unscoped.clone()).await
            })
            .await
            .unwrap();
        let stored = f.events().await;
        assert_eq!(
            stored[0].body,
            "{\"spec_version\":\"1\",\"id\":\"evt_123456789012345678\",\"type\":\"organization.created\",\"object\":\"Organization\",\
             \"occurred_at\":\"2024-01-10T12:00:00.02533Z\",\"environment_id\":\"env_88640229614813449\",\
             \"organization_id\":\"org_88640229614813450\",\"display_name\":\"Organization Created\",\
             \"data\":{\"big\":\"9007199254740993\",\"external_id\":null,\"half\":0.5,\
             \"metadata\":{\"9\":\"a\",\"10\":\"b\",\"plan\":\"großer \\\"Tarif\\\" </script>\"},\"one\":1}}"
        );
        assert_eq!(
            stored[1].body,
            "{\"spec_version\":\"1\",\"id\":\"evt_123456789012345679\",\"type\":\"connected_account.created\",\
             \"object\":\"ConnectedAccount\",\"occurred_at\":\"2024-01-10T12:00:00Z\",\"environment_id\":\"env_88640229614813449\",\
             \"data\":{}}",
            "no organization and no label: no key"
        );
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn evt_04_an_organizations_event_tells_all_about_it(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut new = NewOrganization::named("Acme");
        new.external_id = Some("acme".into());
        new.metadata = [("plan".to_owned(), "pro".to_owned())].into();
        let made = f.create(new).await.unwrap();
        let bare = f.organization("Bare").await;
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made.id)).await.unwrap();
        let bodies: Vec<serde_json::Value> =
            f.events().await.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
        let expected = json!({
            "id": made.id.to_string(),
            "display_name": "Acme",
            "external_id": "acme",
            "region_code": "US",
            "create_time": made.created_at.rfc3339(),
            "update_time": made.updated_at.rfc3339(),
            "metadata": {"plan": "pro"},
            "settings": {"features": [{"name": "sso", "enabled": false}, {"name": "dir_sync", "enabled": false}]},
        });
        assert_eq!(bodies[0]["data"], expected);
        assert_eq!(bodies[0]["organization_id"], made.id.to_string());
        assert_eq!(bodies[0]["occurred_at"], made.created_at.rfc3339());
        assert_eq!(bodies[1]["data"]["metadata"], json!(null));
        assert_eq!(bodies[1]["data"]["external_id"], json!(null));
        assert_eq!(bodies[1]["data"]["id"], bare.id.to_string());
        assert!(bodies[0]["data"].get("deleted_at").is_none() && bodies[2]["data"].get("deleted_at").is_some());
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn evt_20_a_rolled_back_change_has_no_event_and_no_job(db: TestDb) {
        let f = Fixture::on(db).await;
        let environment = f.env();
        let id = EventId::new(&f.core.ids);
        let refused: Result<(), Error> = f
            .core
            .db
            .write(async move |tx| {
                let event = NewEvent {
                    id,
                    environment,
                    organization: None,
                    kind: events::ROLE_CREATED,
                    occurred_at: Timestamp(0),
                    actor: Actor::SYSTEM,
                    data: json!({}),
                };
                events::append(tx, event).await?;
                Err(Error::new(Kind::FailedPrecondition, "changed my mind"))
            })
            .await;
        assert_eq!(refused.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(f.number("SELECT (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM jobs)").await, 0);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn the_audit_chain_shows_every_kind_of_tampering(db: TestDb) {
        let f = Fixture::on(db).await;
        let verify = async || audit::verify(&f.core.db, f.env()).await.unwrap();
        assert_eq!(verify().await, [], "an empty chain is whole");
        for i in 0..5 {
            f.organization(&format!("Acme {i}")).await;
        }
        assert_eq!(verify().await, [], "events that wait for the sealer are no fault");
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
        assert_eq!(f.number("SELECT COUNT(*) FROM audit_chain").await, 5);
        assert_eq!(verify().await, []);
        // A second batch goes on where the first ended.
        for i in 5..8 {
            f.organization(&format!("Acme {i}")).await;
        }
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(verify().await, []);
        let ids: Vec<EventId> = f.events().await.iter().map(|event| event.id).collect();

        f.tamper("UPDATE events SET actor = 'member:usr_1' WHERE id = (SELECT event_id FROM audit_chain WHERE seq = 3)").await;
        assert_eq!(verify().await, [Finding::Changed(ids[2])]);
        f.tamper("UPDATE events SET actor = 'system'").await;
        assert_eq!(verify().await, []);

        f.tamper("UPDATE audit_chain SET digest = hash WHERE seq = 4").await;
        assert_eq!(verify().await, [Finding::Broken(4)]);
        f.tamper("DELETE FROM audit_chain WHERE seq = 4").await;
        assert_eq!(verify().await, [Finding::Broken(5)]);
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn the_audit_chain_shows_what_was_removed(db: TestDb) {
        let f = Fixture::on(db).await;
        for i in 0..4 {
            f.organization(&format!("Acme {i}")).await;
        }
        jobs::drain(&f.core).await.unwrap();
        let ids: Vec<EventId> = f.events().await.iter().map(|event| event.id).collect();
        let verify = async || audit::verify(&f.core.db, f.env()).await.unwrap();
        f.tamper("DELETE FROM audit_chain WHERE seq = 4").await;
        assert_eq!(verify().await, [Finding::Truncated { found: 3, expected: 4 }, Finding::Unsealed(ids[3])]);
        f.tamper("DELETE FROM events WHERE id = (SELECT event_id FROM audit_chain WHERE seq = 1)").await;
        assert_eq!(verify().await[0], Finding::Missing(ids[0]));
        // An event that disappears before it is sealed stays visible as a dead job.
        let last = f.organization("Acme 5").await;
        f.tamper("DELETE FROM events WHERE id = (SELECT MAX(id) FROM events)").await;
        jobs::drain(&f.core).await.unwrap();
        let environment = last.environment;
        let dead = f.core.db.read(async move |tx| jobs::dead(tx, environment).await).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].kind.as_str(), dead[0].last_error.as_str()), ("audit", "its event is missing"));
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn events_past_their_retention_go_and_the_rest_of_the_chain_holds(db: TestDb) {
        let f = Fixture::on(db).await;
        for i in 0..3 {
            f.organization(&format!("Old {i}")).await;
        }
        f.core.clock.advance(Duration::from_hours(60 * 24));
        for i in 0..2 {
            f.organization(&format!("New {i}")).await;
        }
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 5);
        f.core.clock.advance(Duration::from_hours(31 * 24));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 2);
        assert_eq!(f.number("SELECT COUNT(*) FROM audit_chain").await, 2);
        assert_eq!(audit::verify(&f.core.db, f.env()).await.unwrap(), []);
        f.organization("Newest").await;
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(audit::verify(&f.core.db, f.env()).await.unwrap(), []);
        f.core.clock.advance(Duration::from_hours(91 * 24));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 0);
        assert_eq!(audit::verify(&f.core.db, f.env()).await.unwrap(), []);
    }
}
