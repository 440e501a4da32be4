//! Clients and their secrets.

use narthex_core::clients::{self, ClientKind, NewClient, SecretStatus};
use narthex_core::ids::OrganizationId;
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind};
use narthex_db::{DbError, Engine, p};

use crate::node::node;

async fn add(node: &TestCore, client_id: &str) -> Result<clients::NewSecret, Error> {
    clients::add_secret(node, node.dev.id, node.dev.kind, client_id, "test").await
}

async fn active(node: &TestCore, client_id: &str) -> i64 {
    let client_id = client_id.to_owned();
    let sql = "SELECT COUNT(*) FROM client_secrets WHERE client_id = $1 AND status = 0";
    node.db
        .read(async move |tx| tx.one::<(i64,)>(sql, &p![&client_id]).await)
        .await
        .map(|(count,)| count)
        .map_err(|error: DbError| error)
        .unwrap()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_40_at_most_two_secrets_are_active(db: TestDb) {
        let node = node(db).await;
        let id = node.dev_client.client_id.clone();
        let second = add(&node, &id).await.expect("a second secret");
        let third = add(&node, &id).await.map(|_| ()).expect_err("a third");
        assert_eq!(third.kind(), Kind::FailedPrecondition);
        clients::set_secret_status(&node, node.dev.id, &id, second.record.id, SecretStatus::Inactive).await.unwrap();
        add(&node, &id).await.expect("in the place of the inactive one");
        let error = clients::set_secret_status(&node, node.dev.id, &id, second.record.id, SecretStatus::Active).await;
        assert_eq!(error.map_err(|error| error.kind()), Err(Kind::FailedPrecondition), "switched on again");
        assert_eq!(active(&node, &id).await, 2);
        let client = clients::get(&node, node.dev.id, &id).await.unwrap().unwrap();
        assert_eq!(client.secrets.len(), 3);
        assert!(second.plain.expose().ends_with(&client.secrets[1].suffix) && client.secrets[1].suffix.len() == 4);

        let new = NewClient { organization: Some(OrganizationId::new(&node.ids)), ..NewClient::new(ClientKind::Organization, "M2M") };
        let machine = clients::create(&node, node.dev.id, node.dev.kind, new).await.unwrap();
        for _ in 0..5 {
            add(&node, &machine.client_id).await.expect("organization clients have five");
        }
        assert!(add(&node, &machine.client_id).await.is_err());
    }

    async fn ctl_40_two_requests_for_the_second_secret_get_one(db: TestDb) {
        let node = node(db).await;
        let id = node.dev_client.client_id.clone();
        for _ in 0..10 {
            let (one, two) = tokio::join!(add(&node, &id), add(&node, &id));
            let made: Vec<_> = [one, two].into_iter().flatten().collect();
            assert_eq!((made.len(), active(&node, &id).await), (1, 2));
            clients::delete_secret(&node, node.dev.id, &id, made[0].record.id).await.unwrap();
        }
    }

    async fn ctl_40_a_transaction_that_has_counted_already_cannot_commit_a_third(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let id = node.dev_client.client_id.clone();
        // Another writer has counted one active secret and inserts a second, but has not committed yet.
        let (rival, connection) = tokio_postgres::connect(&node.database.options().url, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        rival.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
        let count = "SELECT COUNT(*) FROM client_secrets WHERE client_id = $1 AND status = 0";
        let counted: i64 = rival.query_one(count, &[&id]).await.unwrap().get(0);
        assert_eq!(counted, 1);
        add(&node, &id).await.expect("the second secret, committed first");
        let insert = "INSERT INTO client_secrets (environment_id, client_id, id, hash, suffix, status, created_at, updated_at, \
                      created_by) SELECT environment_id, client_id, 1, hash, suffix, 0, 0, 0, '' FROM client_secrets \
                      WHERE client_id = $1 LIMIT 1";
        let outcome = match rival.execute(insert, &[&id]).await {
            Ok(_) => rival.batch_execute("COMMIT").await.err(),
            Err(error) => Some(error),
        };
        let code = outcome.as_ref().and_then(tokio_postgres::Error::code).map(tokio_postgres::error::SqlState::code);
        assert_eq!(code, Some("40001"), "serialization failure, not {outcome:?}");
        assert_eq!(active(&node, &id).await, 2);
        drop(rival);
        connection.await.unwrap().unwrap();
    }

    async fn client_ids_and_secrets_show_their_environment(db: TestDb) {
        let node = node(db).await;
        assert!(node.dev_client.client_id.starts_with("skc_"));
        assert!(node.prd_client.client_id.starts_with("prd_skc_"));
        assert!(node.dev_client.secret.expose().starts_with("test_"));
        assert!(node.prd_client.secret.expose().starts_with("prod_"));
        assert!(node.prd_client.client_id.len() <= 32);
    }

    async fn ops_05_a_supplied_client_id_keeps_the_form_of_its_kind(db: TestDb) {
        let node = node(db).await;
        let supplied = |id: &str| NewClient { client_id: Some(id.to_owned()), ..NewClient::new(ClientKind::Env, "Fixed") };
        clients::create(&node, node.dev.id, node.dev.kind, supplied("skc_8573429015935040")).await.unwrap();
        let again = clients::create(&node, node.prd.id, node.dev.kind, supplied("skc_8573429015935040")).await;
        assert_eq!(again.map(|_| ()).map_err(|error| error.kind()), Err(Kind::InvalidArgument), "taken, if elsewhere");
        for bad in ["", "skc_", "prd_skc_1", "webc_1", "skc_1 2", "skc_\u{e9}", "skc_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ui", "dashboard"] {
            let refused = clients::create(&node, node.dev.id, node.dev.kind, supplied(bad)).await;
            assert_eq!(refused.map(|_| ()).map_err(|error| error.kind()), Err(Kind::InvalidArgument), "{bad}");
        }
    }

    async fn clients_and_secrets_of_another_environment_are_not_found(db: TestDb) {
        let node = node(db).await;
        let (ours, theirs) = (node.dev_client.client_id.clone(), node.prd_client.client_id.clone());
        let dev = node.dev.id;
        let their_secret = clients::get(&node, node.prd.id, &theirs).await.unwrap().unwrap().secrets[0].id;
        assert!(clients::get(&node, dev, &theirs).await.unwrap().is_none());
        let kinds = [
            clients::set_enabled(&node, dev, &theirs, false).await,
            clients::end_tokens(&node, dev, &theirs).await,
            add(&node, &theirs).await.map(|_| ()),
            clients::delete_secret(&node, dev, &theirs, their_secret).await,
            clients::delete_secret(&node, dev, &ours, their_secret).await,
            clients::set_secret_status(&node, dev, &ours, their_secret, SecretStatus::Inactive).await,
        ];
        for kind in kinds {
            assert_eq!(kind.map_err(|error| error.kind()), Err(Kind::NotFound));
        }
        assert_eq!(clients::get(&node, node.prd.id, &theirs).await.unwrap().unwrap().secrets.len(), 1);
    }
}
