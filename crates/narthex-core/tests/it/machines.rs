//! Machine clients of organizations.

use narthex_core::clients::machines::{self, Settings};
use narthex_core::clients::{self, Client, Created, CustomClaim};
use narthex_core::environments::Environment;
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::OrganizationId;
use narthex_core::organizations::{self, Identity, NewOrganization};
use narthex_core::pages::PageRequest;
use narthex_core::testing::TestCore;
use narthex_core::tokens::{ClientCredentials, OAuthCode};
use narthex_core::{Error, Kind, jobs};
use narthex_db::{Engine, p};
use serde_json::json;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::{assert_unauthenticated, caller, claims, credentials, issue, node};

async fn organization(node: &TestCore, environment: &Environment) -> OrganizationId {
    let new = NewOrganization::named("Acme");
    organizations::create(node, environment.id, &Actor::SYSTEM, new, None).await.unwrap().id
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn full() -> Settings {
    Settings {
        name: Some("Deploy".into()),
        description: Some("CI".into()),
        scopes: Some(texts(&["deploy:applications", "read:deployments", "write"])),
        audience: Some(texts(&["deployment-api.acmecorp.com"])),
        custom_claims: Some(vec![CustomClaim { key: "environment".into(), value: "production_us".into() }]),
        expiry: Some(600),
        redirect_uris: None,
    }
}

async fn create(node: &TestCore, organization: OrganizationId, settings: Settings) -> Result<Created, Error> {
    machines::create(node, &node.dev, &Actor::SYSTEM, organization, settings, None).await
}

fn secret(made: &Created) -> String {
    made.secret.as_ref().expect("shown once").expose().clone()
}

async fn get(node: &TestCore, organization: OrganizationId, client_id: &str) -> Result<Client, Error> {
    machines::get(node, node.dev.id, organization, client_id).await
}

narthex_db::on_each_engine! { &narthex_core::schema::Schema::new().migrations();
    async fn m2m_01_a_client_is_made_with_one_secret_changed_and_deleted(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let made = create(&node, acme, full()).await.unwrap();
        let id = made.client.client_id.clone();
        assert!(id.starts_with("m2morg_") && id["m2morg_".len()..].bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(made.client.secrets.len(), 1);
        assert!(secret(&made).ends_with(&made.client.secrets[0].suffix));
        let read = get(&node, acme, &id).await.unwrap();
        assert_eq!((read.name.as_str(), read.description.as_str(), read.access_token_expiry), ("Deploy", "CI", Some(600)));
        assert_eq!((read.organization, read.scopes.len(), read.secrets.len()), (Some(acme), 3, 1));

        let changed = Settings { name: Some("New".into()), scopes: Some(texts(&["write"])), ..Settings::default() };
        let changed = machines::update(&node, node.dev.id, acme, &id, changed).await.unwrap();
        assert_eq!((changed.name.as_str(), changed.description.as_str()), ("New", "CI"), "what is not given stays");
        assert_eq!((changed.scopes, changed.audience.len(), changed.custom_claims.len()), (vec!["write".to_owned()], 1, 1));
        let defaults = create(&node, acme, Settings::default()).await.unwrap().client;
        assert_eq!((defaults.access_token_expiry, defaults.name.as_str()), (Some(3_600), ""));

        let token = issue(&node, &node.dev, credentials(&id, &secret(&made))).await.unwrap().access_token;
        machines::delete(&node, node.dev.id, acme, &id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "deleted");
        assert_eq!(issue(&node, &node.dev, credentials(&id, &secret(&made))).await.unwrap_err().code, OAuthCode::InvalidClient);
        assert_not_found(get(&node, acme, &id).await.map(|_| ()));
        assert_not_found(machines::delete(&node, node.dev.id, acme, &id).await);
    }

    async fn m2m_01_another_organization_or_environment_does_not_find_it(db: TestDb) {
        let node = node(db).await;
        let (acme, globex) = (organization(&node, &node.dev).await, organization(&node, &node.dev).await);
        let foreign = organization(&node, &node.prd).await;
        let id = create(&node, acme, full()).await.unwrap().client.client_id;
        assert_not_found(get(&node, globex, &id).await.map(|_| ()));
        assert_not_found(machines::get(&node, node.prd.id, acme, &id).await.map(|_| ()));
        assert_not_found(machines::update(&node, node.dev.id, globex, &id, full()).await.map(|_| ()));
        assert_not_found(machines::delete(&node, node.dev.id, globex, &id).await);
        assert_not_found(create(&node, foreign, full()).await.map(|_| ()));
        assert_not_found(create(&node, OrganizationId(1), full()).await.map(|_| ()));
        let list = machines::list(&node, node.dev.id, foreign, &PageRequest::default()).await;
        assert_not_found(list.map(|_| ()));
        assert_eq!(get(&node, acme, &id).await.unwrap().name, "Deploy");
    }

    async fn m2m_01_bad_settings_are_named_and_nothing_is_written(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let claim = |key: &str, value: &str| CustomClaim { key: key.into(), value: value.into() };
        let cases = [
            (Settings { name: Some("n".repeat(129)), ..full() }, "client.name"),
            (Settings { description: Some("n".repeat(513)), ..full() }, "client.description"),
            (Settings { scopes: Some(texts(&["a b"])), ..full() }, "client.scopes[0]"),
            (Settings { scopes: Some(texts(&["a", "a"])), ..full() }, "client.scopes"),
            (Settings { audience: Some(texts(&[""])), ..full() }, "client.audience[0]"),
            (Settings { custom_claims: Some(vec![claim("a", "1"), claim("a", "2")]), ..full() }, "client.custom_claims[1].key"),
            (Settings { custom_claims: Some(vec![claim("a", &"x".repeat(5_000))]), ..full() }, "client.custom_claims"),
            (Settings { expiry: Some(299), ..full() }, "client.expiry"),
            (Settings { expiry: Some(-1), ..full() }, "client.expiry"),
            (Settings { expiry: Some(i64::MAX), ..full() }, "client.expiry"),
        ];
        for (settings, field) in cases {
            assert_invalid(create(&node, acme, settings).await.map(|_| ()), field);
        }
        let page = machines::list(&node, node.dev.id, acme, &PageRequest::default()).await.unwrap();
        assert_eq!((page.items.len(), page.total), (0, 0));
    }

    async fn m2m_02_five_secrets_at_most_and_the_last_one_stays(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let made = create(&node, acme, full()).await.unwrap();
        let id = made.client.client_id.clone();
        for _ in 1..5 {
            clients::add_secret(&node, node.dev.id, node.dev.kind, &id, "test").await.unwrap();
        }
        let sixth = clients::add_secret(&node, node.dev.id, node.dev.kind, &id, "test").await.map(|_| ()).unwrap_err();
        assert_eq!(sixth.kind(), Kind::FailedPrecondition);
        let secrets = get(&node, acme, &id).await.unwrap().secrets;
        assert_eq!(secrets[0].id, made.client.secrets[0].id, "new ones stand behind");
        for gone in &secrets[..4] {
            clients::delete_secret(&node, node.dev.id, &id, gone.id).await.unwrap();
        }
        let last = clients::delete_secret(&node, node.dev.id, &id, secrets[4].id).await.unwrap_err();
        assert_eq!((last.kind(), last.message()), (Kind::InvalidArgument, "last client cannot be deleted"));
        assert_not_found(clients::delete_secret(&node, node.dev.id, &id, secrets[0].id).await);
        assert_eq!(get(&node, acme, &id).await.unwrap().secrets.len(), 1);
    }

    async fn m2m_02_two_requests_that_delete_the_last_two_secrets_leave_one(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let id = create(&node, acme, full()).await.unwrap().client.client_id;
        for _ in 0..5 {
            clients::add_secret(&node, node.dev.id, node.dev.kind, &id, "test").await.unwrap();
            let secrets = get(&node, acme, &id).await.unwrap().secrets;
            let delete = |at: usize| clients::delete_secret(&node, node.dev.id, &id, secrets[at].id);
            let (one, two) = tokio::join!(delete(0), delete(1));
            let failed: Vec<String> = [one, two].into_iter().filter_map(Result::err).map(|e| e.message().to_owned()).collect();
            assert_eq!(failed, ["last client cannot be deleted"]);
            assert_eq!(get(&node, acme, &id).await.unwrap().secrets.len(), 1);
        }
    }

    async fn m2m_02_a_deletion_that_has_seen_two_secrets_cannot_commit_when_one_is_gone(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let acme = organization(&node, &node.dev).await;
        let id = create(&node, acme, full()).await.unwrap().client.client_id;
        clients::add_secret(&node, node.dev.id, node.dev.kind, &id, "test").await.unwrap();
        let secrets = get(&node, acme, &id).await.unwrap().secrets;
        // Another writer has seen both and deletes one, but has not committed yet.
        let (rival, connection) = tokio_postgres::connect(&node.database.options().url, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        rival.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
        let seen = rival.query("SELECT id FROM client_secrets WHERE client_id = $1 ORDER BY id", &[&id]).await.unwrap();
        assert_eq!(seen.len(), 2);
        clients::delete_secret(&node, node.dev.id, &id, secrets[0].id).await.expect("committed first");
        let outcome = match rival.execute("DELETE FROM client_secrets WHERE id = $1", &[&secrets[1].id.0]).await {
            Ok(_) => rival.batch_execute("COMMIT").await.err(),
            Err(error) => Some(error),
        };
        let code = outcome.as_ref().and_then(tokio_postgres::Error::code).map(tokio_postgres::error::SqlState::code);
        assert_eq!(code, Some("40001"), "serialization failure, not {outcome:?}");
        assert_eq!(get(&node, acme, &id).await.unwrap().secrets.len(), 1);
        drop(rival);
        connection.await.unwrap().unwrap();
    }

    async fn m2m_03_tok_03_a_token_has_scopes_audience_claims_and_lifetime_of_its_client(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let made = create(&node, acme, full()).await.unwrap();
        let id = made.client.client_id.clone();
        let request = |scope: Option<&str>, audience: Option<&str>| ClientCredentials {
            scope: scope.map(str::to_owned),
            audience: audience.map(str::to_owned),
            ..credentials(&id, &secret(&made))
        };
        let issued = issue(&node, &node.dev, request(None, None)).await.unwrap();
        assert_eq!(issued.scope, "deploy:applications read:deployments write");
        let token = claims(&issued.access_token);
        assert_eq!(token["iss"], "https://dev.test");
        assert_eq!((&token["sub"], &token["client_id"]), (&json!(id), &json!(id)));
        assert_eq!(token["oid"], acme.to_string());
        assert_eq!(token["aud"], json!(["deployment-api.acmecorp.com"]));
        assert_eq!(token["scope"], "deploy:applications read:deployments write");
        assert_eq!(token["scopes"], json!(["deploy:applications", "read:deployments", "write"]));
        assert_eq!(token["custom_claims"], json!({ "environment": "production_us" }));
        assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 600);
        assert!(token["jti"].as_str().unwrap().starts_with("tkn_"));

        let narrowed = issue(&node, &node.dev, request(Some("openid write unknown"), None)).await.unwrap();
        assert_eq!(narrowed.scope, "write");
        assert_eq!(claims(&narrowed.access_token)["scopes"], json!(["write"]));
        let none = issue(&node, &node.dev, request(Some("unknown"), None)).await.unwrap_err();
        assert_eq!(none.code, OAuthCode::InvalidScope);
        assert!(issue(&node, &node.dev, request(None, Some("deployment-api.acmecorp.com"))).await.is_ok());
        let elsewhere = issue(&node, &node.dev, request(None, Some("https://other.example"))).await.unwrap_err();
        assert_eq!(elsewhere.code, OAuthCode::InvalidTarget);

        // What is changed counts for the next token.
        let changed = Settings { expiry: Some(300), audience: Some(texts(&["a", "b"])), ..Settings::default() };
        machines::update(&node, node.dev.id, acme, &id, changed).await.unwrap();
        let token = claims(&issue(&node, &node.dev, request(None, None)).await.unwrap().access_token);
        assert_eq!((token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), &token["aud"]), (300, &json!(["a", "b"])));
        let for_one = issue(&node, &node.dev, request(None, Some("b"))).await.unwrap();
        assert_eq!(claims(&for_one.access_token)["aud"], json!(["b"]), "no other API takes a token that was asked for one");
        let bare = create(&node, acme, Settings::default()).await.unwrap();
        let bare = issue(&node, &node.dev, credentials(&bare.client.client_id, &secret(&bare))).await.unwrap();
        let bare = claims(&bare.access_token);
        for absent in ["aud", "scope", "scopes", "custom_claims"] {
            assert!(bare.get(absent).is_none(), "{absent} is left out when empty: {bare}");
        }
    }

    async fn m2m_03_ended_tokens_stay_ended_and_new_ones_can_be_had(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let made = create(&node, acme, full()).await.unwrap();
        let id = &made.client.client_id;
        let old = issue(&node, &node.dev, credentials(id, &secret(&made))).await.unwrap().access_token;
        clients::end_tokens(&node, node.dev.id, id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &old).await, "from before tokens_valid_after");
        let new = issue(&node, &node.dev, credentials(id, &secret(&made))).await.unwrap().access_token;
        assert!(caller(&node, &node.dev, &new).await.is_ok());
    }

    async fn m2m_04_lists_need_no_page_size_and_lose_nobody(db: TestDb) {
        let node = node(db).await;
        let (acme, globex) = (organization(&node, &node.dev).await, organization(&node, &node.dev).await);
        let mut made = Vec::new();
        for _ in 0..12 {
            made.push(create(&node, acme, full()).await.unwrap().client.client_id);
        }
        create(&node, globex, full()).await.unwrap();
        made.reverse();
        let first = machines::list(&node, node.dev.id, acme, &PageRequest::default()).await.unwrap();
        assert_eq!((first.items.len(), first.total, first.prev.as_str()), (10, 12, ""));
        assert_eq!(first.items[0].secrets.len(), 1);
        machines::delete(&node, node.dev.id, acme, &made[3]).await.unwrap();
        create(&node, acme, full()).await.unwrap();
        let second = machines::list(&node, node.dev.id, acme, &PageRequest { size: 0, token: first.next }).await.unwrap();
        let ids: Vec<&str> = second.items.iter().map(|client| client.client_id.as_str()).collect();
        assert_eq!((ids, second.next.as_str()), (made[10..].iter().map(String::as_str).collect(), ""));
        let back = machines::list(&node, node.dev.id, acme, &PageRequest { size: 100, token: second.prev.clone() }).await.unwrap();
        assert_eq!(back.items.len(), 10, "nine of the first page and the new one");
        let theirs = machines::list(&node, node.dev.id, globex, &PageRequest { size: 0, token: second.prev }).await;
        assert_invalid(theirs.map(|_| ()), "page_token");
    }

    async fn m2m_01_a_request_that_is_sent_again_with_its_key_makes_no_second_client(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let key = || Some(IdempotencyKey::new(node.dev.id, &Actor::SYSTEM, "once", &["create"]).unwrap());
        let send = || machines::create(&node, &node.dev, &Actor::SYSTEM, acme, full(), key());
        let (one, two) = tokio::join!(send(), send());
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.client.client_id, two.client.client_id);
        let shown = [&one, &two].into_iter().filter(|made| made.secret.is_some()).count();
        assert_eq!(shown, 1, "the secret is shown to the request that made it");
        assert_eq!(machines::list(&node, node.dev.id, acme, &PageRequest::default()).await.unwrap().total, 1);
    }

    async fn m2m_01_the_clients_of_a_deleted_organization_are_refused_at_once(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        // More than one transaction removes; the newest would be the last to go.
        let mut made = Vec::new();
        for _ in 0..60 {
            made.push(create(&node, acme, full()).await.unwrap());
        }
        let mut tokens = Vec::new();
        for made in [&made[0], &made[59]] {
            let credentials = credentials(&made.client.client_id, &secret(made));
            tokens.push(issue(&node, &node.dev, credentials).await.unwrap().access_token);
        }
        organizations::delete(&node, node.dev.id, &Actor::SYSTEM, Identity::Id(acme)).await.unwrap();
        for (made, token) in [(&made[0], &tokens[0]), (&made[59], &tokens[1])] {
            assert_unauthenticated(&caller(&node, &node.dev, token).await, "its organization is gone");
            let refused = issue(&node, &node.dev, credentials(&made.client.client_id, &secret(made))).await.unwrap_err();
            assert_eq!(refused.code, OAuthCode::InvalidClient);
        }
        jobs::drain(&node.core).await.unwrap();
        assert!(clients::get(&node, node.dev.id, &made[59].client.client_id).await.unwrap().is_none());
    }

    async fn m2m_01_no_secret_stands_in_the_database_in_plain(db: TestDb) {
        let node = node(db).await;
        let acme = organization(&node, &node.dev).await;
        let made = create(&node, acme, full()).await.unwrap();
        let (id, plain) = (made.client.client_id.clone(), secret(&made));
        let row: (String, Vec<u8>) = node
            .db
            .read(async move |tx| {
                let sql = "SELECT suffix || created_by, hash FROM client_secrets WHERE client_id = $1";
                tx.one(sql, &p![&id]).await
            })
            .await
            .map_err(|error: narthex_db::DbError| error)
            .unwrap();
        assert!(!row.0.contains(&plain[..20]) && !String::from_utf8_lossy(&row.1).contains(&plain[..20]));
    }
}
