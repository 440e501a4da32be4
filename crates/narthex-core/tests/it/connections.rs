//! Connections of environments.

use std::time::{Duration, Instant};

use narthex_core::connections::{
    self, Change, Config, ConnectionType, Delivery, PasswordlessChange, RelyingParty, WebauthnChange, WebauthnConfig,
};
use narthex_core::environments::{self, CustomDomainStatus, Environment};
use narthex_core::ids::ConnectionId;
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind};
use narthex_db::{DbError, Engine, Tx, p};
use tokio::task::JoinSet;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::node;

fn passwordless(change: PasswordlessChange) -> Change {
    Change { passwordless: Some(change), ..Change::default() }
}

async fn update(node: &TestCore, change: Change) -> Result<connections::Connection, Error> {
    let id = connections::passwordless(node, node.dev.id).await.unwrap().unwrap().id;
    connections::update(node, node.dev.id, id, None, change).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_26_a_new_environment_has_codes_by_mail_and_passkeys_that_wait(db: TestDb) {
        let node = node(db).await;
        for environment in [&node.dev, &node.prd, &node.system] {
            let found = connections::passwordless(&node, environment.id).await.unwrap().unwrap();
            assert!(found.enabled);
            let config = &found.config;
            assert_eq!((config.delivery, config.validity, config.code_challenge_length), (Delivery::Otp, 300, 6));
            assert!(!config.enforce_same_browser_origin && !config.regenerate_on_resend);
            let passkeys = connections::webauthn(&node, environment.id).await.unwrap().unwrap();
            assert!(!passkeys.enabled);
            assert_eq!(passkeys.config, WebauthnConfig::default());
            let listed = connections::list(&node, environment.id).await.unwrap();
            assert_eq!(listed.iter().map(|found| found.id).collect::<Vec<_>>(), [found.id, passkeys.id]);
            assert!(found.id.to_string().len() >= "conn_".len() + 15);
        }
    }

    async fn cfg_03_settings_are_kept_and_what_is_not_given_stays(db: TestDb) {
        let node = node(db).await;
        let before = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap();
        let change = PasswordlessChange { delivery: Some(Delivery::LinkOtp), validity: Some(600), ..PasswordlessChange::default() };
        let title = Change { ui_button_title: Some("By mail".into()), ..passwordless(change) };
        let changed = update(&node, title).await.unwrap();
        assert_eq!(changed.ui_button_title, "By mail");
        let change = PasswordlessChange { enforce_same_browser_origin: Some(true), regenerate_on_resend: Some(true), ..PasswordlessChange::default() };
        update(&node, passwordless(change)).await.unwrap();
        let after = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap();
        assert_eq!((after.config.delivery, after.config.validity, after.id), (Delivery::LinkOtp, 600, before.id));
        assert!(after.config.enforce_same_browser_origin && after.config.regenerate_on_resend && after.enabled);
        assert_eq!(after.ui_button_title, "By mail");
        let other = connections::passwordless(&node, node.prd.id).await.unwrap().unwrap();
        assert_eq!(other.config.delivery, Delivery::Otp, "the other environment's stand as they stood");

        for (bad, field) in [
            (PasswordlessChange { validity: Some(59), ..PasswordlessChange::default() }, "validity"),
            (PasswordlessChange { validity: Some(3_601), ..PasswordlessChange::default() }, "validity"),
            (PasswordlessChange { code_challenge_length: Some(4), ..PasswordlessChange::default() }, "code_challenge_length"),
            (PasswordlessChange { code_challenge_length: Some(7), ..PasswordlessChange::default() }, "code_challenge_length"),
        ] {
            assert_invalid(update(&node, passwordless(bad)).await, &format!("connection.passwordless_config.{field}"));
        }
        let again = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap();
        assert_eq!(*again, *after, "a refused change changes nothing");
        let unlike = connections::update(&node, node.dev.id, after.id, Some(ConnectionType::Webauthn), Change::default()).await;
        assert_invalid(unlike, "connection.type");
    }

    async fn cfg_02_a_switch_counts_at_once_and_twice_is_once(db: TestDb) {
        let node = node(db).await;
        let id = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap().id;
        let is_enabled = async || connections::passwordless(&node, node.dev.id).await.unwrap().unwrap().enabled;
        for on in [false, false, true, true] {
            let changed = connections::set_enabled(&node, node.dev.id, id, on).await.unwrap();
            assert_eq!((changed.enabled, is_enabled().await), (on, on));
        }
        assert_not_found(connections::set_enabled(&node, node.prd.id, id, false).await);
        assert!(is_enabled().await);
    }

    async fn cfg_01_one_of_each_type_and_none_of_another_environment(db: TestDb) {
        let node = node(db).await;
        for kind in [ConnectionType::Passwordless, ConnectionType::Webauthn] {
            let error = assert_invalid(connections::create(&node, node.dev.id, kind, None).await, "type");
            assert_eq!(error.message(), "duplicate key not allowed: type already exists");
        }
        let id = connections::webauthn(&node, node.dev.id).await.unwrap().unwrap().id;
        assert_not_found(connections::get(&node, node.prd.id, id).await);
        assert_not_found(connections::update(&node, node.prd.id, id, None, Change::default()).await);
        assert_not_found(connections::delete(&node, node.prd.id, id).await);
        assert_not_found(connections::get(&node, node.dev.id, ConnectionId(1)).await);
        connections::delete(&node, node.dev.id, id).await.unwrap();
        assert_not_found(connections::delete(&node, node.dev.id, id).await);
        assert!(connections::webauthn(&node, node.dev.id).await.unwrap().is_none());
        let made = connections::create(&node, node.dev.id, ConnectionType::Webauthn, None).await.unwrap();
        assert!(!made.enabled && made.id != id);
        assert_eq!(connections::webauthn(&node, node.dev.id).await.unwrap().unwrap().id, made.id);
    }

    async fn cfg_01_of_many_creates_at_once_one_wins(db: TestDb) {
        let node = node(db).await;
        let id = connections::webauthn(&node, node.dev.id).await.unwrap().unwrap().id;
        connections::delete(&node, node.dev.id, id).await.unwrap();
        let mut creates = JoinSet::new();
        for _ in 0..8 {
            let (core, environment) = (node.core.clone(), node.dev.id);
            creates.spawn(async move { connections::create(&core, environment, ConnectionType::Webauthn, None).await });
        }
        let results = creates.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for refused in results.into_iter().filter_map(Result::err) {
            assert_eq!(refused.kind(), Kind::InvalidArgument, "{refused:?}");
        }
    }

    async fn wan_05_passkeys_are_for_the_environments_own_hosts_unless_others_are_named(db: TestDb) {
        let node = node(db).await;
        let id = connections::webauthn(&node, node.dev.id).await.unwrap().unwrap().id;
        let of = async |environment: &Environment| {
            connections::webauthn(&node, environment.id).await.unwrap().unwrap().config.relying_party(environment)
        };
        let own = |ids: &[&str], origins: &[&str]| RelyingParty {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        };
        assert_eq!(of(&node.dev).await, own(&["dev.test"], &["https://dev.test"]));
        environments::bind(&node, node.dev.id, "https://localhost:8443", &[]).await.unwrap();
        let moved = environments::by_id(&node, node.dev.id).await.unwrap().unwrap();
        assert_eq!(of(&moved).await, own(&["localhost"], &["https://localhost:8443"]));
        let custom = Environment { custom_domain: Some("auth.acme.test".into()), custom_domain_status: CustomDomainStatus::Pending, ..(*moved).clone() };
        assert_eq!(of(&custom).await, own(&["localhost"], &["https://localhost:8443"]));
        let custom = Environment { custom_domain_status: CustomDomainStatus::Active, ..custom };
        assert_eq!(of(&custom).await, own(&["auth.acme.test", "localhost"], &["https://auth.acme.test", "https://localhost:8443"]));

        let named = own(&["acme.test"], &["https://app.acme.test"]);
        let change = |rp| Change { webauthn: Some(WebauthnChange { rp: Some(rp), ..WebauthnChange::default() }), ..Change::default() };
        let changed = connections::update(&node, node.dev.id, id, None, change(named.clone())).await.unwrap();
        let Config::Webauthn(config) = changed.config else { panic!("another type") };
        assert!(!config.show_passkey_button, "switches are always given");
        assert_eq!(of(&custom).await, named);
        let bad = change(own(&["Acme.test"], &["https://app.acme.test"]));
        assert_invalid(connections::update(&node, node.dev.id, id, None, bad).await, "connection.webauthn_config.rp.ids[0]");
        let bad = change(own(&["acme.test"], &["https://app.acme.test", "http://app.acme.test"]));
        assert_invalid(connections::update(&node, node.dev.id, id, None, bad).await, "connection.webauthn_config.rp.origins[1]");
    }

    async fn cfg_02_another_node_follows_a_switch_within_a_second(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        let found = connections::passwordless(&other, node.dev.id).await.unwrap().unwrap();
        assert!(found.enabled);
        connections::set_enabled(&node, node.dev.id, found.id, false).await.unwrap();
        let began = Instant::now();
        while connections::passwordless(&other, node.dev.id).await.unwrap().unwrap().enabled {
            assert!(began.elapsed() < Duration::from_secs(1), "still on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

narthex_db::on_each_engine! { &[];
    async fn ctl_26_an_environment_that_is_there_already_gets_what_a_new_one_has(db: TestDb) {
        let schema = Schema::new();
        let earlier: Vec<_> = schema.migrations().into_iter().filter(|migration| migration.id < 52).collect();
        db.migrate(&earlier).await.unwrap();
        let rows = async move |tx: &mut Tx| {
            for sql in [
                "INSERT INTO workspaces (id, display_name, created_at, updated_at) VALUES (1, 'W', 5, 5)",
                "INSERT INTO master_keys (id, check_value, active, created_at) VALUES ('k', $1, 1, 5)",
            ] {
                let params = if sql.contains("$1") { p![&b"x"[..]].to_vec() } else { Vec::new() };
                tx.execute(sql, &params).await?;
            }
            for environment in [2_i64, 3] {
                tx.execute(
                    "INSERT INTO environments (id, workspace_id, kind, is_system, display_name, domain, origin, custom_domain_status, \
                     authentication_mode, access_token_expiry, access_token_expiry_unit, client_access_token_expiry, \
                     absolute_session_timeout, absolute_session_timeout_unit, idle_session_enabled, idle_session_timeout, \
                     idle_session_timeout_unit, session_management_enabled, cookie_persistence, cookie_same_site, features, created_at, \
                     updated_at) VALUES ($1, 1, 1, 0, 'E', 'e.test', 'https://e.test', 0, 2, 5, 1, 5, 5, 1, 0, 5, 1, 1, 1, 1, '{}', 5, 5)",
                    &p![environment],
                )
                .await?;
                for (version, status) in [(1, 1), (2, 2)] {
                    tx.execute(
                        "INSERT INTO data_keys (id, environment_id, version, status, wrapped, master_key_id, created_at) \
                         VALUES ($1, $2, $3, $4, $5, 'k', 5)",
                        &p![environment * 100 + version, environment, version, status, &b"x"[..]],
                    )
                    .await?;
                }
                for (number, state) in [(10, 3), (11, 2)] {
                    tx.execute(
                        "INSERT INTO signing_keys (id, environment_id, state, public_key, longest_lifetime, created_at, withdrawn) \
                         VALUES ($1, $2, $3, $4, 5, 5, 0)",
                        &p![environment * 100 + number, environment, state, &b"x"[..]],
                    )
                    .await?;
                }
            }
            Ok::<_, DbError>(())
        };
        db.write(rows).await.unwrap();
        db.migrate(&schema.migrations()).await.unwrap();
        let sql = "SELECT environment_id, type, enabled, id FROM connections ORDER BY environment_id, type";
        let found: Vec<(i64, i64, bool, i64)> = db.read(async move |tx| tx.all(sql, &[]).await).await.map_err(|error: DbError| error).unwrap();
        assert_eq!(found, [(2, 5, true, 201), (2, 9, false, 210), (3, 5, true, 301), (3, 9, false, 310)]);
    }
}
