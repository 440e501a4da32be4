//! Consents of users to the clients of resources.

use narthex_core::consents::{self, Consent, Grant};
use narthex_core::events::Actor;
use narthex_core::ids::{ConsentId, ResourceId, UserId};
use narthex_core::pages::PageRequest;
use narthex_core::resources::{self, NewResource, ResourceKind, ResourcePatch};
use narthex_core::testing::TestCore;
use narthex_core::{Error, clients};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::node;

async fn resource(node: &TestCore) -> ResourceId {
    let settings = ResourcePatch { name: Some("Todo".into()), ..ResourcePatch::default() };
    let new = NewResource { kind: ResourceKind::McpServer, settings };
    resources::create(node, node.dev.id, node.dev.kind, new, None).await.unwrap().id
}

async fn client(node: &TestCore, resource: ResourceId) -> String {
    let settings = clients::machines::Settings { name: Some("Agent".into()), ..Default::default() };
    let made = resources::clients::create(node, &node.dev, &Actor::SYSTEM, resource, settings, None).await.unwrap();
    made.client.client_id
}

async fn grant(node: &TestCore, client_id: &str, subject: &str, scopes: &[&str]) -> Result<Consent, Error> {
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let user = UserId::parse(subject);
    let grant = Grant { client_id: client_id.to_owned(), subject: subject.to_owned(), user, scopes };
    consents::grant(node, node.dev.id, grant).await
}

async fn subjects(node: &TestCore, resource: ResourceId, search: &str, named: &[&str]) -> Vec<String> {
    let named = named.iter().map(|&subject| subject.to_owned()).collect();
    let page =
        consents::of_resource(node, node.dev.id, resource, search, named, &PageRequest::default()).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    page.items.into_iter().map(|consent| consent.subject).collect()
}

narthex_db::on_each_engine! { &narthex_core::schema::Schema::new().migrations();
    async fn mcp_32_a_user_has_one_consent_per_client_and_agreeing_to_more_widens_it(db: TestDb) {
        let node = node(db).await;
        let client = client(&node, resource(&node).await).await;
        let first = grant(&node, &client, "usr_1", &["a"]).await.unwrap();
        assert!(first.id.to_string().starts_with("usrcnst_") && first.client_name == "Agent");
        let (one, two) = tokio::join!(grant(&node, &client, "usr_1", &["b"]), grant(&node, &client, "usr_1", &["c", "a"]));
        assert_eq!((one.unwrap().id, two.unwrap().id), (first.id, first.id));
        let mut kept = consents::find(&node, node.dev.id, &client, "usr_1").await.unwrap().unwrap().scopes;
        kept.sort();
        assert_eq!(kept, ["a", "b", "c"]);
        assert!(consents::find(&node, node.prd.id, &client, "usr_1").await.unwrap().is_none());
        assert_not_found(grant(&node, &node.dev_client.client_id, "usr_1", &[]).await);
        assert_not_found(grant(&node, "m2m_1", "usr_1", &[]).await);
        assert_invalid(grant(&node, &client, "", &[]).await, "subject");
    }

    async fn mcp_34_administrators_list_search_and_revoke(db: TestDb) {
        let node = node(db).await;
        let (todo, other) = (resource(&node).await, resource(&node).await);
        let (client_id, elsewhere) = (client(&node, todo).await, client(&node, other).await);
        for subject in ["Ada@acme.example", "bob@acme.example", "50%_off"] {
            grant(&node, &client_id, subject, &["a"]).await.unwrap();
        }
        grant(&node, &elsewhere, "ada@acme.example", &["a"]).await.unwrap();
        assert_eq!(subjects(&node, todo, "", &[]).await, ["50%_off", "bob@acme.example", "Ada@acme.example"]);
        assert_eq!(subjects(&node, todo, "ADA", &[]).await, ["Ada@acme.example"]);
        assert_eq!(subjects(&node, todo, "%_", &[]).await, ["50%_off"], "no pattern, a text");
        assert_eq!(subjects(&node, todo, "", &["bob@acme.example", "nobody"]).await, ["bob@acme.example"]);
        let page = consents::of_resource(&node, node.prd.id, todo, "", vec![], &PageRequest::default()).await;
        assert_not_found(page.map(|_| ()));
        let (_, shown) = resources::clients::get(&node, node.dev.id, todo, &client_id).await.unwrap();
        assert_eq!(shown.len(), 3);

        let id = shown[0].id;
        assert_not_found(consents::revoke(&node, node.dev.id, &elsewhere, id).await);
        assert_not_found(consents::revoke(&node, node.prd.id, &client_id, id).await);
        consents::revoke(&node, node.dev.id, &client_id, id).await.unwrap();
        assert_not_found(consents::revoke(&node, node.dev.id, &client_id, id).await);
        assert_not_found(consents::revoke(&node, node.dev.id, &client_id, ConsentId(1)).await);
        resources::clients::delete(&node, node.dev.id, todo, &client_id).await.unwrap();
        assert!(subjects(&node, todo, "", &[]).await.is_empty());
        assert_eq!(subjects(&node, other, "", &[]).await.len(), 1);
    }

    async fn mcp_34_users_see_and_revoke_their_own_only(db: TestDb) {
        let node = node(db).await;
        let todo = resource(&node).await;
        let (ada, bob) = (UserId(1), UserId(2));
        let mut mine = Vec::new();
        for _ in 0..3 {
            let client = client(&node, todo).await;
            mine.push(grant(&node, &client, "usr_1", &[]).await.unwrap().id);
        }
        let client = client(&node, todo).await;
        let theirs = grant(&node, &client, "usr_2", &[]).await.unwrap().id;
        let page = |token: String| PageRequest { size: 2, token };
        let first = consents::of_user(&node, node.dev.id, ada, &page(String::new())).await.unwrap();
        assert_eq!((first.items.len(), first.total), (2, 3));
        let second = consents::of_user(&node, node.dev.id, ada, &page(first.next.clone())).await.unwrap();
        assert_eq!(second.items[0].id, mine[0]);
        assert_invalid(consents::of_user(&node, node.dev.id, bob, &page(first.next)).await.map(|_| ()), "page_token");
        assert_not_found(consents::revoke_own(&node, node.dev.id, ada, theirs).await);
        assert_not_found(consents::revoke_own(&node, node.prd.id, ada, mine[0]).await);
        consents::revoke_own(&node, node.dev.id, ada, mine[0]).await.unwrap();
        assert_not_found(consents::revoke_own(&node, node.dev.id, ada, mine[0]).await);
        let left = node.db.write(async move |tx| consents::purge_of_user(tx, node_env(), ada).await).await;
        assert_eq!(left.map_err(|error: Error| error.kind()), Ok(0), "another environment's user of the same number");
        let environment = node.dev.id;
        let gone = node.db.write(async move |tx| consents::purge_of_user(tx, environment, ada).await).await;
        assert_eq!(gone.map_err(|error: Error| error.kind()), Ok(2), "what is left of a deleted user's");
        assert_eq!(consents::of_user(&node, node.dev.id, bob, &page(String::new())).await.unwrap().total, 1);
    }
}

fn node_env() -> narthex_core::ids::EnvId {
    narthex_core::ids::EnvId(1)
}
