//! Signing keys: the JWKS, rotation, withdrawal.

use std::time::Duration;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::keys::{self, KeyState};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Kind, cache};
use narthex_db::{DbError, Engine, p};
use serde_json::Value;

use crate::node::{
    api_token, assert_refused_within_a_second, assert_unauthenticated, caller, credentials, issue, node, segment,
};

async fn jwks(node: &TestCore) -> Vec<Value> {
    let text = keys::jwks(node, node.dev.id).await.unwrap();
    let document: Value = serde_json::from_str(&text).expect("JSON");
    document["keys"].as_array().expect("keys").clone()
}

async fn states(node: &TestCore) -> Vec<KeyState> {
    keys::list(node, node.dev.id).await.unwrap().iter().map(|key| key.state).collect()
}

fn kid(token: &str) -> String {
    segment(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// Lets the last token of every retired key have expired.
async fn outlive(node: &TestCore) {
    let bump = node
        .db
        .write(async |tx| {
            tx.execute("UPDATE signing_keys SET remove_at = 1 WHERE state = 3", &[]).await?;
            cache::bump(tx, cache::SIGNING_KEYS).await
        })
        .await
        .map_err(|error: DbError| error)
        .unwrap();
    node.caches.apply(bump);
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn disc_02_the_jwks_verifies_our_tokens_and_has_what_sdks_select_by(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let keys = jwks(&node).await;
        assert_eq!(keys.len(), 1);
        let key = &keys[0];
        assert_eq!((&key["kty"], &key["use"], &key["alg"]), (&"RSA".into(), &"sig".into(), &"RS256".into()));
        assert_eq!(key["kid"], kid(&token));
        assert!(kid(&token).starts_with("snk_"));
        let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        assert_eq!((number("n").len(), key["e"].as_str()), (256, Some("AQAB")));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        PublicKeyComponents { n: number("n"), e: number("e") }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
            .expect("the published key verifies the token");
        assert!(key.get("d").is_none());
    }

    async fn ctl_45_disc_03_rotation_publishes_first_signs_later_and_keeps_old_tokens_valid(db: TestDb) {
        let node = node(db).await;
        let old = api_token(&node).await;
        keys::rotate(&node, node.dev.id, keys::OVERLAP).await.unwrap();
        assert_eq!(states(&node).await, [KeyState::Current, KeyState::Next]);
        assert_eq!(jwks(&node).await.len(), 2, "published long before it signs");
        assert_eq!(kid(&api_token(&node).await), kid(&old), "still the old one signs");
        let error = keys::rotate(&node, node.dev.id, keys::OVERLAP).await.expect_err("one at a time");
        assert_eq!(error.kind(), Kind::FailedPrecondition);

        node.clock.advance(Duration::from_hours(7 * 24) - Duration::from_mins(1));
        assert_eq!(keys::tick(&node).await.unwrap(), 0, "not yet");
        node.clock.advance(Duration::from_mins(1));
        assert_eq!(keys::tick(&node).await.unwrap(), 1);
        assert_eq!(states(&node).await, [KeyState::Retired, KeyState::Current]);
        let new = api_token(&node).await;
        assert_ne!(kid(&new), kid(&old));
        assert_eq!(jwks(&node).await.len(), 2, "the retired key stays published");
        for token in [&old, &new] {
            assert!(caller(&node, &node.dev, token).await.is_ok());
        }
        // However far the clock is moved: tokens live by the real one.
        node.clock.advance(Duration::from_hours(24 * 365));
        assert_eq!(keys::tick(&node).await.unwrap(), 0);
        assert!(caller(&node, &node.dev, &old).await.is_ok());

        outlive(&node).await;
        assert_eq!(keys::tick(&node).await.unwrap(), 1);
        assert_eq!(states(&node).await, [KeyState::Removed, KeyState::Current]);
        assert_eq!(jwks(&node).await.len(), 1);
        assert_unauthenticated(&caller(&node, &node.dev, &old).await, "the key is gone");
        assert!(caller(&node, &node.dev, &new).await.is_ok());
        assert_eq!(keys::tick(&node).await.unwrap(), 0, "nothing is due any more");
    }

    async fn disc_03_the_overlap_is_the_operators_choice(db: TestDb) {
        let node = node(db).await;
        keys::rotate(&node, node.dev.id, Duration::from_hours(1)).await.unwrap();
        node.clock.advance(Duration::from_hours(1));
        assert_eq!(keys::tick(&node).await.unwrap(), 1);
        // Without overlap it happens at once, and a waiting key is taken.
        let before = kid(&api_token(&node).await);
        let waiting = keys::rotate(&node, node.dev.id, keys::OVERLAP).await.unwrap();
        assert_eq!(keys::rotate(&node, node.dev.id, Duration::ZERO).await.unwrap(), waiting);
        assert_eq!(kid(&api_token(&node).await), waiting.to_string());
        let fresh = keys::rotate(&node, node.dev.id, Duration::ZERO).await.unwrap();
        assert_eq!(kid(&api_token(&node).await), fresh.to_string());
        assert_ne!(fresh.to_string(), before);
        assert_eq!(states(&node).await, [KeyState::Retired, KeyState::Retired, KeyState::Retired, KeyState::Current]);
    }

    async fn disc_03_a_retired_key_stays_until_the_longest_token_it_signed_has_expired(db: TestDb) {
        let node = node(db).await;
        let forty_days = 40 * 86_400;
        let new = NewClient { access_token_expiry: Some(forty_days), ..NewClient::new(ClientKind::WebApp, "App") };
        let app = clients::create(&node, node.dev.id, node.dev.kind, new).await.unwrap();
        let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &app.client_id, "test").await.unwrap();
        let issued = issue(&node, &node.dev, credentials(&app.client_id, secret.plain.expose())).await.unwrap();
        keys::rotate(&node, node.dev.id, Duration::ZERO).await.unwrap();
        let expires = node.clock.real_now().0 + i64::from(forty_days) * 1_000_000;
        let retired = &keys::list(&node, node.dev.id).await.unwrap()[0];
        assert_eq!(retired.state, KeyState::Retired);
        assert!(retired.remove_at.unwrap().0 >= expires, "{:?}", retired.remove_at);
        assert!(caller(&node, &node.dev, &issued.access_token).await.is_ok());
    }

    async fn ctl_45_a_withdrawn_key_is_refused_at_once_and_another_signs(db: TestDb) {
        let node = node(db).await;
        let old = api_token(&node).await;
        assert!(caller(&node, &node.dev, &old).await.is_ok(), "and now it is cached");
        let current = keys::list(&node, node.dev.id).await.unwrap()[0].id;
        let error = keys::withdraw(&node, node.prd.id, current).await.expect_err("not PRD's");
        assert_eq!(error.kind(), Kind::NotFound);
        keys::withdraw(&node, node.dev.id, current).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &old).await, "withdrawn");
        let new = api_token(&node).await;
        assert!(caller(&node, &node.dev, &new).await.is_ok(), "an SDK that authenticates again goes on");
        assert_eq!(jwks(&node).await.iter().map(|key| key["kid"].clone()).collect::<Vec<_>>(), [Value::from(kid(&new))]);
        let all = keys::list(&node, node.dev.id).await.unwrap();
        assert!(all[0].withdrawn && all[0].state == KeyState::Removed && !all[1].withdrawn);

        // A key that waits takes its place, without another being made.
        let next = keys::rotate(&node, node.dev.id, keys::OVERLAP).await.unwrap();
        keys::withdraw(&node, node.dev.id, all[1].id).await.unwrap();
        assert_eq!(kid(&api_token(&node).await), next.to_string());
        assert_eq!(states(&node).await, [KeyState::Removed, KeyState::Removed, KeyState::Current]);
    }

    async fn a_key_that_signs_no_more_has_no_private_half(db: TestDb) {
        let node = node(db).await;
        keys::rotate(&node, node.dev.id, Duration::ZERO).await.unwrap();
        let dev = node.dev.id;
        let left: Vec<(i32, bool)> = node.db
            .read(async move |tx| tx.all("SELECT state, CASE WHEN private_key IS NULL THEN 0 ELSE 1 END FROM signing_keys WHERE environment_id = $1 ORDER BY id", &p![dev]).await)
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        assert_eq!(left, [(3, false), (2, true)]);
    }

    async fn two_nodes_rotate_once(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        keys::rotate(&node, node.dev.id, Duration::from_hours(1)).await.unwrap();
        node.clock.advance(Duration::from_hours(1));
        other.clock.advance(Duration::from_hours(1));
        let (here, there) = tokio::join!(keys::tick(&node), keys::tick(&other));
        assert_eq!(here.unwrap() + there.unwrap(), 1);
        assert_eq!(states(&node).await, [KeyState::Retired, KeyState::Current]);
        // A token of the new key is believed by the node that has not polled yet.
        keys::rotate(&other, node.dev.id, Duration::ZERO).await.unwrap();
        let request = credentials(&node.dev_client.client_id, node.dev_client.secret.expose());
        let token = issue(&other, &node.dev, request).await.unwrap().access_token;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(caller(&node, &node.dev, &token).await.is_ok());
        // And a withdrawal is noticed within a second.
        let current = keys::list(&node, node.dev.id).await.unwrap().pop().unwrap().id;
        keys::withdraw(&other, node.dev.id, current).await.unwrap();
        assert_refused_within_a_second(&node, &node.dev, &token, "withdrawn on the other node").await;
    }
}
