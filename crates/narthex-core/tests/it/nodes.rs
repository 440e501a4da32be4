//! Node numbers and the ids that carry them.

use std::collections::HashSet;

use narthex_core::nodes::Lease;
use narthex_core::schema::Schema;
use narthex_core::testing::{self, MASTER_KEY, TestCore};
use narthex_core::{Core, Kind};
use narthex_db::{DbError, Engine, p};

use crate::node::node;

/// Another process on the same database handle.
async fn start(node: &TestCore) -> std::sync::Arc<Core> {
    Core::start(node.database.db(), testing::options(&node.database, MASTER_KEY)).await.expect("a second process")
}

async fn tamper(node: &TestCore, sql: &'static str) {
    node.db.write(async move |tx| tx.execute(sql, &[]).await).await.map_err(|error: DbError| error).unwrap();
}

fn draw(core: &Core, count: usize) -> Vec<i64> {
    (0..count).map(|_| core.ids.next()).collect()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn two_processes_never_issue_the_same_id(db: TestDb) {
        let node = node(db).await;
        let other = start(&node).await;
        assert_ne!(node.node.number(), other.node.number());
        let ids: HashSet<i64> = draw(&node, 20_000).into_iter().chain(draw(&other, 20_000)).collect();
        assert_eq!(ids.len(), 40_000);
    }

    async fn after_a_crash_ids_go_on_above_all_that_were_issued(db: TestDb) {
        let node = node(db).await;
        // A burst runs ahead of the clock, then the process dies without a word.
        let last = draw(&node, 200_000).pop().unwrap();
        testing::hang(&node);
        tamper(&node, "UPDATE nodes SET lease_until = 1").await;
        let restarted = start(&node).await;
        assert_eq!(restarted.node.number(), node.node.number(), "the number is free again");
        let next = restarted.ids.next();
        assert!(next > last, "{next} after {last}");
        assert!(restarted.ids.check().is_ok());
    }

    async fn a_clean_stop_gives_the_number_back(db: TestDb) {
        let node = node(db).await;
        let other = start(&node).await;
        let (number, last) = (other.node.number(), other.ids.next());
        testing::hang(&other);
        other.node.release(&other.db).await.unwrap();
        assert_eq!(other.ids.check().map_err(|error| error.kind()), Err(Kind::Unavailable));
        let again = start(&node).await;
        assert_eq!(again.node.number(), number);
        assert!(again.ids.next() > last);
    }

    async fn a_lost_lease_stops_ids_until_another_number_is_leased(db: TestDb) {
        let node = node(db).await;
        let before = node.ids.next();
        // Somebody else has the number by now.
        tamper(&node, "UPDATE nodes SET holder = 'somebody else', lease_until = 9000000000000000").await;
        let number = node.node.number();
        assert_eq!(node.node.renew(&node.db).await.unwrap(), Lease::Replaced);
        assert_ne!(node.node.number(), number);
        assert!(node.ids.next() > before);
        assert!(node.ids.check().is_ok());
        assert_eq!(node.node.renew(&node.db).await.unwrap(), Lease::Renewed);

        // And if there is none left, no id and no token.
        node.db
            .write(async |tx| {
                tx.execute("DELETE FROM nodes", &[]).await?;
                for number in 0..1_024_i64 {
                    tx.execute("INSERT INTO nodes (number, holder, lease_until, high_water_millis) VALUES ($1, 'x', 9000000000000000, 0)", &p![number]).await?;
                }
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
        let error = node.node.renew(&node.db).await.expect_err("all taken");
        assert_eq!(error.code(), "NO_NODE_NUMBER");
        assert_eq!(node.ids.check().map_err(|error| error.kind()), Err(Kind::Unavailable));
        let request = crate::node::credentials(&node.dev_client.client_id, node.dev_client.secret.expose());
        let error = crate::node::issue(&node, &node.dev, request).await.map(|_| ()).expect_err("no jti");
        assert_eq!(error.code.status(), 503);

        // It heals by itself.
        tamper(&node, "UPDATE nodes SET lease_until = 1 WHERE number = 77").await;
        assert_eq!(node.node.renew(&node.db).await.unwrap(), Lease::Replaced);
        assert_eq!(node.node.number(), 77);
        crate::node::api_token(&node).await;
    }

    async fn many_processes_that_start_at_once_get_a_number_each(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let starts = (0..6).map(|_| start(&node));
        let all = futures(starts).await;
        let numbers: HashSet<i64> = all.iter().map(|core| core.node.number()).collect();
        assert_eq!(numbers.len(), 6);
        assert!(!numbers.contains(&node.node.number()));
    }
}

/// Runs them side by side on this task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
