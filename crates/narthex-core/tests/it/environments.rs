//! Environments and the hosts that reach them.

use std::time::{Duration, Instant};

use narthex_core::schema::Schema;
use narthex_core::{Kind, environments};
use narthex_db::Engine;

use crate::node::{api_token, assert_unauthenticated, caller, claims, node};

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn a_host_reaches_its_environment_in_any_spelling_and_no_other_does(db: TestDb) {
        let node = node(db).await;
        let at = async |host: &str| environments::by_host(&node, host).await.unwrap().map(|environment| environment.id);
        for host in ["dev.test", "DEV.test", "dev.test:443", "dev.test:80"] {
            assert_eq!(at(host).await, Some(node.dev.id), "{host}");
        }
        for host in ["", "dev.test:8443", "dev.test.", "xdev.test", "evil.example", "(system)", "127.0.0.1", "dev.test:443:443"] {
            assert_eq!(at(host).await, None, "{host}");
        }
        assert_eq!(environments::system(&node).await.unwrap().unwrap().id, node.system.id);
        assert_eq!(at("(system)").await, None, "even after it was asked for by that name inside");
    }

    async fn an_unknown_host_is_looked_for_once_and_found_within_a_second_of_its_coming(db: TestDb) {
        let node = node(db).await;
        let other = node.second_node().await.ok().filter(|_| node.db.engine() == Engine::Postgres);
        let at = async |core: &narthex_core::Core| {
            environments::by_host(core, "new.test").await.unwrap().map(|environment| environment.id)
        };
        let hits = || node.caches.lookups().iter().find(|(name, _)| *name == "unknown_hosts").map(|(_, lookups)| lookups.hits);
        for again in 0..10 {
            assert_eq!((at(&node).await, hits()), (None, Some(again)));
        }
        let too_long = "x".repeat(10_000);
        assert_eq!(environments::by_host(&node, &too_long).await.unwrap().map(|environment| environment.id), None);
        if let Some(other) = &other {
            assert_eq!(at(other).await, None);
        }
        let hosts = ["new.test".to_owned()];
        environments::bind(&node, node.dev.id, "https://dev.test", &hosts).await.unwrap();
        let began = Instant::now();
        assert_eq!(at(&node).await, Some(node.dev.id), "at once where it was made");
        while let Some(other) = &other
            && at(other).await.is_none()
        {
            assert!(began.elapsed() < Duration::from_secs(1), "within a second elsewhere");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn an_environment_moves_with_its_ports_and_its_tokens_with_it(db: TestDb) {
        let node = node(db).await;
        let old = api_token(&node).await;
        let hosts = ["127.0.0.1:8443".to_owned(), "[::1]:8443".to_owned(), "localhost:8080".to_owned()];
        environments::bind(&node, node.dev.id, "https://localhost:8443", &hosts).await.unwrap();
        let at = async |host: &str| environments::by_host(&node, host).await.unwrap().map(|environment| environment.id);
        for host in ["localhost:8443", "127.0.0.1:8443", "[::1]:8443", "LOCALHOST:8080"] {
            assert_eq!(at(host).await, Some(node.dev.id), "{host}");
        }
        assert_eq!(at("dev.test").await, None, "the old host is gone");
        let dev = environments::by_id(&node, node.dev.id).await.unwrap().unwrap();
        assert_eq!((dev.origin.as_str(), dev.domain.as_str()), ("https://localhost:8443", "localhost:8443"));
        assert_unauthenticated(&caller(&node, &dev, &old).await, "issued by another origin");
        let request = crate::node::credentials(&node.dev_client.client_id, node.dev_client.secret.expose());
        let new = crate::node::issue(&node, &dev, request).await.unwrap().access_token;
        assert_eq!(claims(&new)["iss"], "https://localhost:8443");
        assert!(caller(&node, &dev, &new).await.is_ok());

        let error = environments::bind(&node, node.prd.id, "https://localhost:8444", &hosts).await.expect_err("taken");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(at("prd.test").await, Some(node.prd.id), "nothing of the refused change stays");
        for bad in ["localhost:8443", "https://", "https://a.test/path", "https://a.test?x", "https://u@a.test", "ftp://a.test"] {
            let error = environments::bind(&node, node.prd.id, bad, &[]).await.expect_err(bad);
            assert_eq!(error.kind(), Kind::InvalidArgument, "{bad}");
        }
    }

    async fn the_same_ports_again_cost_no_write(db: TestDb) {
        let node = node(db).await;
        narthex_core::testing::hang(&node);
        let hosts = ["127.0.0.1:8443".to_owned()];
        environments::bind(&node, node.dev.id, "https://localhost:8443", &hosts).await.unwrap();
        let updated = async || environments::by_id(&node, node.dev.id).await.unwrap().unwrap().updated_at;
        let before = updated().await;
        environments::bind(&node, node.dev.id, "https://localhost:8443", &hosts).await.unwrap();
        assert_eq!(updated().await, before);
    }

    async fn another_node_follows_a_move_within_a_second(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        assert!(environments::by_host(&other, "dev.test").await.unwrap().is_some());
        environments::bind(&node, node.dev.id, "https://moved.test", &[]).await.unwrap();
        let began = Instant::now();
        while environments::by_host(&other, "dev.test").await.unwrap().is_some() {
            assert!(began.elapsed() < Duration::from_secs(1), "still reached under the old host");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(environments::by_host(&other, "moved.test").await.unwrap().is_some());
    }
}
