//! The versions behind the row caches.

use narthex_core::cache::{self, Epochs};
use narthex_core::schema::Schema;
use narthex_core::{Core, testing};
use narthex_db::DbError;

use crate::node::node;

async fn bump(core: &Core, scope: &'static str) -> cache::Bump {
    core.db.write(async move |tx| cache::bump(tx, scope).await).await.map_err(|error: DbError| error).unwrap()
}

async fn version(core: &Core, scope: &'static str) -> i64 {
    core.db
        .read(async move |tx| {
            tx.opt::<(i64,)>("SELECT version FROM cache_epoch WHERE scope = $1", &narthex_db::p![scope]).await
        })
        .await
        .map_err(|error: DbError| error)
        .unwrap()
        .map_or(0, |(version,)| version)
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn a_version_rises_by_one_with_each_change_and_never_with_a_refused_one(db: TestDb) {
        let node = node(db).await;
        assert_eq!(version(&node, "a scope").await, 0);
        for wanted in 1..=3 {
            node.caches.apply(bump(&node, "a scope").await);
            assert_eq!(version(&node, "a scope").await, wanted);
        }
        let refused = node.db
            .write(async |tx| {
                cache::bump(tx, "a scope").await.map(drop)?;
                Err::<(), _>(DbError::Data("refused".into()))
            })
            .await;
        assert!(refused.is_err());
        assert_eq!(version(&node, "a scope").await, 3);
    }

    async fn changes_of_one_scope_from_many_tasks_all_count(db: TestDb) {
        let node = std::sync::Arc::new(node(db).await);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let node = std::sync::Arc::clone(&node);
                tokio::spawn(async move {
                    for _ in 0..5 {
                        // What a caller does with UNAVAILABLE: try again.
                        while node.db.write(async |tx| cache::bump(tx, "busy").await).await.map(|bump| node.caches.apply(bump)).is_err() {}
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(version(&node, "busy").await, 40);
    }

    async fn a_node_is_fresh_only_while_it_polls(db: TestDb) {
        let node = node(db).await;
        let epochs: &std::sync::Arc<Epochs> = node.caches.epochs();
        assert!(epochs.fresh());
        testing::hang(&node);
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        assert!(!epochs.fresh());
        epochs.poll(&node.db).await.unwrap();
        assert!(epochs.fresh());
    }
}
