//! What has been taken away is refused: at once where it was taken, within a second on every other node, cached token or not.

use std::sync::Arc;
use std::time::Duration;

use narthex_core::environments::Environment;
use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, NewSession};
use narthex_core::testing::{self, TestCore};
use narthex_core::{Core, Error, clients, keys, tokens};
use narthex_db::Engine;

use crate::node::{api_token, assert_refused_within_a_second, assert_unauthenticated, caller, node};

const HOUR: Duration = Duration::from_hours(1);

/// A token, and the name of what will end it.
struct Ended {
    what: &'static str,
    token: String,
    host: Arc<Environment>,
}

/// One token of each sort that can be ended, and the ending of it on `by`.
async fn endings(node: &TestCore) -> Vec<Ended> {
    let dev = &node.dev;
    let browser = NewSession::browser(UserId::new(&node.ids), None, HOUR);
    let session = sessions::open(node, dev.id, browser).await.unwrap();
    let portal = NewSession::portal(OrganizationId::new(&node.ids), None, vec![], HOUR);
    let portal = sessions::open(node, dev.id, portal).await.unwrap();
    let new = NewMember {
        email: "o@acme.test".into(),
        given_name: String::new(),
        family_name: String::new(),
        role: FixedRole::Admin,
    };
    let member = members::create(node, dev.workspace_id, new).await.unwrap();
    let tokens = [
        ("client disabled", api_token(node).await),
        ("browser session revoked", tokens::mint_session(node, dev, &session, HOUR).await.unwrap().access_token),
        (
            "user's session revoked",
            tokens::mint_user(node, dev, &session, &node.dev_client.client_id, HOUR).await.unwrap().access_token,
        ),
        ("portal session revoked", tokens::mint_session(node, dev, &portal, HOUR).await.unwrap().access_token),
        ("member switched off", tokens::mint_member(node, &member, HOUR).await.unwrap().access_token),
    ];
    tokens.into_iter().map(|(what, token)| Ended { what, token, host: Arc::clone(dev) }).collect()
}

/// Ends everything that [`endings`] made.
async fn end(core: &Core, node: &TestCore) -> Result<(), Error> {
    clients::set_enabled(core, node.dev.id, &node.dev_client.client_id, false).await?;
    let open: Vec<(narthex_core::ids::SessionId,)> =
        core.db.read(async |tx| Ok::<_, Error>(tx.all("SELECT id FROM sessions WHERE kind < 4", &[]).await?)).await?;
    for (session,) in open {
        sessions::revoke(core, node.dev.id, session).await?;
    }
    let member = members::by_email(core, node.dev.workspace_id, "O@acme.test").await?.expect("the member");
    members::set_active(core, member.id, false).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn mgmt_02_what_is_taken_away_is_refused_at_once_on_the_same_node(db: TestDb) {
        let node = node(db).await;
        let all = endings(&node).await;
        for ended in &all {
            assert!(caller(&node, &ended.host, &ended.token).await.is_ok(), "{} not yet", ended.what);
        }
        end(&node, &node).await.unwrap();
        for ended in &all {
            assert_unauthenticated(&caller(&node, &ended.host, &ended.token).await, ended.what);
        }
    }

    async fn mgmt_02_and_within_a_second_on_another_node(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        let all = endings(&node).await;
        for ended in &all {
            assert!(caller(&other, &ended.host, &ended.token).await.is_ok(), "{} not yet", ended.what);
        }
        end(&node, &node).await.unwrap();
        for ended in &all {
            assert_refused_within_a_second(&other, &ended.host, &ended.token, ended.what).await;
        }
    }

    async fn a_node_that_cannot_poll_reads_through_after_a_second(db: TestDb) {
        let node = node(db).await;
        if node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = node.second_node().await.unwrap();
        let token = api_token(&node).await;
        assert!(caller(&other, &node.dev, &token).await.is_ok());
        testing::hang(&other);
        clients::set_enabled(&node, node.dev.id, &node.dev_client.client_id, false).await.unwrap();
        assert_refused_within_a_second(&other, &node.dev, &token, "client disabled").await;
        clients::set_enabled(&node, node.dev.id, &node.dev_client.client_id, true).await.unwrap();
        let token = api_token(&node).await;
        assert!(caller(&other, &node.dev, &token).await.is_ok(), "what it has not polled it reads");
    }

    async fn ending_tokens_leaves_the_client_alone(db: TestDb) {
        let node = node(db).await;
        let old = api_token(&node).await;
        assert!(caller(&node, &node.dev, &old).await.is_ok());
        clients::end_tokens(&node, node.dev.id, &node.dev_client.client_id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &old).await, "ended");
        let new = api_token(&node).await;
        assert!(caller(&node, &node.dev, &new).await.is_ok(), "the next one counts, even in the same second");
        assert_unauthenticated(&caller(&node, &node.dev, &old).await, "still ended");
    }

    async fn a_session_ends_by_the_movable_clock(db: TestDb) {
        let node = node(db).await;
        let session = NewSession::portal(OrganizationId::new(&node.ids), None, vec![], Duration::from_hours(6));
        let session = sessions::open(&node, node.dev.id, session).await.unwrap();
        let token = tokens::mint_session(&node, &node.dev, &session, Duration::from_hours(12)).await.unwrap().access_token;
        node.clock.advance(Duration::from_hours(5));
        assert!(caller(&node, &node.dev, &token).await.is_ok());
        node.clock.advance(HOUR);
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "after six hours");
        assert_eq!(sessions::sweep(&node).await.unwrap(), 0, "an ended session is kept for a while");
        node.clock.advance(Duration::from_hours(31 * 24));
        assert_eq!(sessions::sweep(&node).await.unwrap(), 1);
        assert!(sessions::get(&node, node.dev.id, session.id).await.unwrap().is_some(), "cached, and of no use");
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "swept");
    }

    async fn one_sweep_deletes_more_sessions_than_one_transaction_may(db: TestDb) {
        let node = node(db).await;
        let portal = || NewSession::portal(OrganizationId::new(&node.ids), None, vec![], HOUR).build(&node, node.dev.id);
        let ended: Vec<_> = (0..600).map(|_| portal()).collect();
        let written = node.db.write(async move |tx| {
            for session in &ended {
                sessions::insert(tx, session).await?;
            }
            Ok::<_, narthex_core::Error>(())
        });
        written.await.unwrap();
        node.clock.advance(Duration::from_hours(31 * 24));
        assert_eq!(sessions::sweep(&node).await.unwrap(), 600);
    }

    async fn a_demoted_operator_has_the_new_role_at_once(db: TestDb) {
        let node = node(db).await;
        let new = NewMember { email: "d@acme.test".into(), given_name: String::new(), family_name: String::new(), role: FixedRole::Admin };
        let member = members::create(&node, node.dev.workspace_id, new).await.unwrap();
        let token = tokens::mint_member(&node, &member, HOUR).await.unwrap().access_token;
        assert!(caller(&node, &node.dev, &token).await.unwrap().holds_any(&["organizations:delete"]));
        members::set_role(&node, member.id, FixedRole::Viewer).await.unwrap();
        assert!(!caller(&node, &node.dev, &token).await.unwrap().holds_any(&["organizations:delete"]));
    }

    async fn rotating_in_the_middle_of_a_crowd_loses_no_request(db: TestDb) {
        let node = Arc::new(node(db).await);
        let crowd: Vec<_> = (0..8)
            .map(|_| {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    for _ in 0..25 {
                        let token = api_token(&node).await;
                        caller(&node, &node.dev, &token).await.expect("a token is good the moment it is issued");
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            keys::rotate(&node, node.dev.id, Duration::ZERO).await.unwrap();
        }
        for one in crowd {
            one.await.unwrap();
        }
    }
}
