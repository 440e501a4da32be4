//! Tokens: getting one with a client's credentials, and being somebody with it.

use std::time::Duration;

use narthex_core::clients::{self, ClientKind, CustomClaim, NewClient, SecretStatus};
use narthex_core::ids::OrganizationId;
use narthex_core::schema::Schema;
use narthex_core::seal::Secret;
use narthex_core::testing::TestCore;
use narthex_core::tokens::{self, ClientCredentials, OAuthCode};
use narthex_core::{Caller, Kind};

use crate::node::{api_token, assert_denied, caller, claims, credentials, issue, node, segment};

/// A client of a kind with one secret, in the DEV environment.
async fn client(node: &TestCore, new: NewClient) -> (String, String) {
    let client = clients::create(node, node.dev.id, node.dev.kind, new).await.expect("a client");
    let secret =
        clients::add_secret(node, node.dev.id, node.dev.kind, &client.client_id, "test").await.expect("a secret");
    (client.client_id, secret.plain.expose().clone())
}

/// The OAuth error that a request is refused with.
async fn refusal(node: &TestCore, request: ClientCredentials) -> OAuthCode {
    issue(node, &node.dev, request).await.map(|token| token.scope).expect_err("refused").code
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oauth_01_an_api_client_gets_a_token_for_a_day_and_is_a_caller_with_it(db: TestDb) {
        let node = node(db).await;
        let request = credentials(&node.dev_client.client_id, node.dev_client.secret.expose());
        let issued = issue(&node, &node.dev, request).await.expect("a token");
        assert!((86_399..=86_400).contains(&issued.expires_in), "{}", issued.expires_in);
        assert_eq!(issued.scope, "openid");
        let (caller, environment) =
            tokens::authenticate(&node, &node.dev, &[&issued.access_token], None).await.expect("a caller");
        assert_eq!(caller, Caller::Client { environment: node.dev.id, client_id: node.dev_client.client_id.clone() });
        assert_eq!(environment.id, node.dev.id);
    }

    async fn oauth_01_claims_have_the_types_that_every_sdk_insists_on(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let header = segment(&token, 0);
        assert_eq!(header["alg"], "RS256");
        assert_eq!(header["typ"], "JWT");
        assert!(header["kid"].as_str().unwrap().starts_with("snk_"));
        let claims = claims(&token);
        let client = &node.dev_client.client_id;
        assert_eq!(claims["iss"], "https://dev.test");
        assert_eq!((&claims["sub"], &claims["client_id"]), (&client.as_str().into(), &client.as_str().into()));
        assert_eq!(claims["aud"], serde_json::json!([client]), "an array, or Go cannot read it");
        assert_eq!((&claims["scope"], &claims["scopes"]), (&"openid".into(), &serde_json::json!(["openid"])));
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(claims["nbf"].as_i64(), Some(issued));
        assert_eq!(expires - issued, 86_400);
        assert!(issued <= node.clock.real_now().seconds(), "Python refuses tokens from the future");
        assert!(claims["jti"].as_str().unwrap().starts_with("tkn_"));
        assert!(claims.as_object().unwrap().values().all(|value| !value.is_null()), "absent claims are left out");
        assert_eq!(claims.get("oid"), None);
    }

    async fn oauth_01_times_in_tokens_are_real_whatever_the_movable_clock_says(db: TestDb) {
        let node = node(db).await;
        node.clock.advance(Duration::from_hours(24 * 400));
        let token = api_token(&node).await;
        let behind = node.clock.real_now().seconds() - claims(&token)["iat"].as_i64().unwrap();
        assert!((0..5).contains(&behind), "{behind}");
        assert!(caller(&node, &node.dev, &token).await.is_ok());
    }

    async fn oauth_02_whoever_does_not_know_the_secret_is_an_invalid_client(db: TestDb) {
        let node = node(db).await;
        let (id, secret) = (node.dev_client.client_id.clone(), node.dev_client.secret.expose().clone());
        let mut longer = secret.clone();
        longer.push('x');
        let cases = [
            (id.as_str(), "wrong"),
            (id.as_str(), ""),
            (id.as_str(), &secret[..secret.len() - 1]),
            (id.as_str(), longer.as_str()),
            (id.as_str(), node.prd_client.secret.expose().as_str()),
            ("skc_1", secret.as_str()),
            // A client of another environment is nobody here.
            (node.prd_client.client_id.as_str(), node.prd_client.secret.expose().as_str()),
        ];
        for (id, secret) in cases {
            assert_eq!(refusal(&node, credentials(id, secret)).await, OAuthCode::InvalidClient, "{id}");
        }
        let nothing = ClientCredentials { secret: None, ..credentials(&id, "") };
        assert_eq!(refusal(&node, nothing).await, OAuthCode::InvalidClient);
        assert_eq!(refusal(&node, credentials("", &secret)).await, OAuthCode::InvalidRequest);
        assert_eq!((OAuthCode::InvalidClient.status(), OAuthCode::InvalidClient.as_str()), (401, "invalid_client"));
    }

    async fn oauth_02_a_secret_counts_only_while_it_is_active_and_its_client_enabled(db: TestDb) {
        let node = node(db).await;
        let (id, secret) = client(&node, NewClient::new(ClientKind::WebApp, "App")).await;
        let record = clients::get(&node, node.dev.id, &id).await.unwrap().unwrap().secrets[0].id;
        assert!(issue(&node, &node.dev, credentials(&id, &secret)).await.is_ok());

        clients::set_secret_status(&node, node.dev.id, &id, record, SecretStatus::Inactive).await.unwrap();
        assert_eq!(refusal(&node, credentials(&id, &secret)).await, OAuthCode::InvalidClient, "inactive");
        clients::set_secret_status(&node, node.dev.id, &id, record, SecretStatus::Active).await.unwrap();
        assert!(issue(&node, &node.dev, credentials(&id, &secret)).await.is_ok());

        clients::set_enabled(&node, node.dev.id, &id, false).await.unwrap();
        assert_eq!(refusal(&node, credentials(&id, &secret)).await, OAuthCode::InvalidClient, "disabled");
        clients::set_enabled(&node, node.dev.id, &id, true).await.unwrap();
        let token = issue(&node, &node.dev, credentials(&id, &secret)).await.expect("enabled again").access_token;
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "even within the second in which the old ones were ended");

        let in_an_hour = node.clock.now().plus(Duration::from_hours(1)).0;
        node.db
            .write(async move |tx| {
                tx.execute("UPDATE client_secrets SET expires_at = $1 WHERE id = $2", &narthex_db::p![in_an_hour, record]).await?;
                narthex_core::cache::bump(tx, narthex_core::cache::CLIENTS).await
            })
            .await
            .map(|bump| node.caches.apply(bump))
            .unwrap();
        assert!(issue(&node, &node.dev, credentials(&id, &secret)).await.is_ok());
        node.clock.advance(Duration::from_hours(1));
        assert_eq!(refusal(&node, credentials(&id, &secret)).await, OAuthCode::InvalidClient, "expired");

        clients::delete_secret(&node, node.dev.id, &id, record).await.unwrap();
        assert_eq!(refusal(&node, credentials(&id, &secret)).await, OAuthCode::InvalidClient, "deleted");
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "tokens got with it live until they expire");
    }

    async fn oauth_10_a_client_gets_only_the_grants_of_its_kind(db: TestDb) {
        let node = node(db).await;
        for kind in [ClientKind::Spa, ClientKind::Native] {
            let public = clients::create(&node, node.dev.id, node.dev.kind, NewClient::new(kind, "Public")).await.unwrap();
            assert_eq!(refusal(&node, credentials(&public.client_id, "")).await, OAuthCode::UnauthorizedClient);
            let error = clients::add_secret(&node, node.dev.id, node.dev.kind, &public.client_id, "test").await.err();
            assert_eq!(error.map(|error| error.kind()), Some(Kind::FailedPrecondition), "public clients have no secrets");
        }
        let (id, secret) = client(&node, NewClient::new(ClientKind::Resource, "Without a resource")).await;
        assert_eq!(refusal(&node, credentials(&id, &secret)).await, OAuthCode::UnauthorizedClient);
        assert_eq!(OAuthCode::UnauthorizedClient.status(), 400);
    }

    async fn ctl_13_a_web_app_without_api_access_gets_no_token_and_loses_the_one_it_has(db: TestDb) {
        let node = node(db).await;
        let (id, secret) = client(&node, NewClient::new(ClientKind::WebApp, "App")).await;
        let token = issue(&node, &node.dev, credentials(&id, &secret)).await.unwrap().access_token;
        assert!(matches!(caller(&node, &node.dev, &token).await, Ok(Caller::Client { .. })));
        clients::set_api_access(&node, node.dev.id, &id, false).await.unwrap();
        let error = issue(&node, &node.dev, credentials(&id, &secret)).await.map(|_| ()).expect_err("refused");
        assert_eq!(error.code, OAuthCode::UnauthorizedClient);
        assert!(error.description.contains("unauthorized"), "Go's test looks for the word");
        let error = caller(&node, &node.dev, &token).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Unauthenticated);
        clients::set_api_access(&node, node.dev.id, &id, true).await.unwrap();
        assert!(caller(&node, &node.dev, &token).await.is_ok());
    }

    async fn mgmt_04_api_credentials_for_another_api_are_no_bearer_of_this_one(db: TestDb) {
        let node = node(db).await;
        let new = NewClient { audience: vec!["api.example".into()], ..NewClient::new(ClientKind::Env, "Backend") };
        let (id, secret) = client(&node, new).await;
        let ask = async |audience: Option<&str>, resource: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let request = ClientCredentials { audience: text(audience), resource: text(resource), ..credentials(&id, &secret) };
            issue(&node, &node.dev, request).await.unwrap().access_token
        };
        for (token, audience) in [
            (ask(Some("api.example"), None).await, vec!["api.example"]),
            (ask(None, Some("api.example")).await, vec!["api.example"]),
            (ask(Some("api.example"), Some(&id)).await, vec!["api.example", &id]),
        ] {
            assert_eq!(claims(&token)["aud"], serde_json::json!(audience));
            assert_denied(&caller(&node, &node.dev, &token).await, "for another API");
        }
        for token in [ask(None, None).await, ask(Some(&id), None).await] {
            assert_eq!(claims(&token)["aud"], serde_json::json!([id]));
            assert!(matches!(caller(&node, &node.dev, &token).await, Ok(Caller::Client { .. })), "what every SDK asks for");
        }
    }

    async fn organization_clients_get_their_own_claims_and_scopes(db: TestDb) {
        let node = node(db).await;
        let organization = OrganizationId::new(&node.ids);
        let new = NewClient {
            organization: Some(organization),
            scopes: vec!["write".into(), "read".into()],
            audience: vec!["deployment-api.acmecorp.com".into()],
            custom_claims: vec![CustomClaim { key: "environment".into(), value: "production_us".into() }],
            ..NewClient::new(ClientKind::Organization, "CI")
        };
        let (id, secret) = client(&node, new).await;
        assert!(id.starts_with("m2morg_"));
        let asked = |scope: &str| ClientCredentials { scope: Some(scope.to_owned()), ..credentials(&id, &secret) };

        let issued = issue(&node, &node.dev, asked("write read")).await.unwrap();
        assert_eq!(issued.scope, "write read");
        let all = claims(&issued.access_token);
        assert_eq!(all["scopes"], serde_json::json!(["write", "read"]));
        assert_eq!(all["scope"], "write read");
        assert_eq!(all["oid"], organization.to_string());
        assert_eq!(all["aud"], serde_json::json!(["deployment-api.acmecorp.com"]));
        assert_eq!(all["custom_claims"], serde_json::json!({"environment": "production_us"}));
        assert_eq!(all["exp"].as_i64().unwrap() - all["iat"].as_i64().unwrap(), 3_600);

        assert_eq!(issue(&node, &node.dev, asked("")).await.unwrap().scope, "write read", "none asked for: all registered");
        assert_eq!(issue(&node, &node.dev, asked("read admin")).await.unwrap().scope, "read");
        assert_eq!(issue(&node, &node.dev, asked("openid profile")).await.unwrap().scope, "");
        assert_eq!(refusal(&node, asked("admin")).await, OAuthCode::InvalidScope);
        let elsewhere = ClientCredentials { resource: Some("https://other.example".into()), ..asked("read") };
        assert_eq!(refusal(&node, elsewhere).await, OAuthCode::InvalidTarget);

        // Good for the customer's API; the management API knows who it is and has no kind for it.
        let known = caller(&node, &node.dev, &issued.access_token).await.unwrap();
        assert_eq!(
            known,
            Caller::OrganizationClient { environment: node.dev.id, organization, client_id: id.clone() }
        );
        assert_eq!(known.kind(), 0);
    }

    async fn an_m2m_token_writes_nothing(db: TestDb) {
        let node = node(db).await;
        narthex_core::testing::hang(&node);
        let secret = Secret::new(node.dev_client.secret.expose().clone());
        api_token(&node).await;
        let commits = || narthex_db::Metrics::get(&node.db.metrics().commits);
        let before = commits();
        for _ in 0..20 {
            let token = api_token(&node).await;
            caller(&node, &node.dev, &token).await.unwrap();
        }
        assert_eq!(commits(), before);
        let used = |client: std::sync::Arc<clients::Client>| client.secrets[0].last_used_at;
        let client = async || clients::get(&node, node.dev.id, &node.dev_client.client_id).await.unwrap().unwrap();
        assert_eq!(used(client().await), None);
        clients::flush_last_used(&node).await.unwrap();
        let (stored,): (Option<i64>,) = node
            .db
            .read(async |tx| tx.one("SELECT MAX(last_used_at) FROM client_secrets", &[]).await)
            .await
            .map_err(|error: narthex_db::DbError| error)
            .unwrap();
        assert!(stored.is_some_and(|at| node.clock.now().0 - at < 60_000_000), "{stored:?}");
        assert_eq!(secret.expose().len(), "test_".len() + 48);
    }

    async fn last_uses_that_cannot_be_written_wait(db: TestDb) {
        let node = node(db).await;
        api_token(&node).await;
        node.db.clone().close().await;
        assert!(clients::flush_last_used(&node).await.is_err());
        assert!(clients::flush_last_used(&node).await.is_err(), "there is still something to write");
    }
}
