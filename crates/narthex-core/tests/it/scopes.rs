//! Scopes of an environment.

use narthex_core::clients::ClientKind;
use narthex_core::clients::applications::{self, Settings};
use narthex_core::ids::{PermissionId, ScopeId};
use narthex_core::resources::{self, NewResource, ResourceKind, ResourcePatch};
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind, scopes};
use narthex_db::{DbError, p};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::node;

async fn create(node: &TestCore, name: &str) -> Result<scopes::Scope, Error> {
    scopes::create(node, node.dev.id, name.to_owned(), "text".into()).await
}

/// A permission, as its own tests make them.
async fn permission(node: &TestCore, name: &'static str) {
    let (id, environment) = (PermissionId::new(&node.ids), node.dev.id);
    let sql = "INSERT INTO permissions (id, environment_id, name, description, built_in, created_at, updated_at) \
               VALUES ($1, $2, $3, 'Docs', 0, 0, 0)";
    let done: Result<u64, DbError> =
        node.db.write(async move |tx| tx.execute(sql, &p![id, environment, name]).await).await;
    assert_eq!(done.unwrap(), 1);
}

narthex_db::on_each_engine! { &narthex_core::schema::Schema::new().migrations();
    async fn ctl_44_scopes_are_made_changed_and_deleted(db: TestDb) {
        let node = node(db).await;
        let made = create(&node, "todo:read").await.unwrap();
        assert!(made.enabled && made.id.to_string().starts_with("scp_"));
        create(&node, "a").await.unwrap();
        let listed: Vec<String> = scopes::list(&node, node.dev.id).await.unwrap().into_iter().map(|scope| scope.name).collect();
        assert_eq!(listed, ["a", "todo:read"]);
        let changed = scopes::update(&node, node.dev.id, made.id, None, Some(false)).await.unwrap();
        assert_eq!((changed.enabled, changed.description.as_str()), (false, "text"));
        scopes::delete(&node, node.dev.id, made.id).await.unwrap();
        assert_not_found(scopes::delete(&node, node.dev.id, made.id).await);
        assert_not_found(scopes::update(&node, node.dev.id, made.id, None, None).await);
        assert_not_found(scopes::delete(&node, node.prd.id, ScopeId(1)).await);
    }

    async fn ctl_44_names_are_checked_and_reserved_ones_cannot_be_made(db: TestDb) {
        let node = node(db).await;
        for bad in ["", "a b", "a_b", "a-b", "a.b", "\u{e9}", &"a".repeat(65), "profile", "email", "address", "phone", "openid"] {
            assert_invalid(create(&node, bad).await, "scope.name");
        }
        create(&node, &"a".repeat(64)).await.unwrap();
    }

    async fn ctl_44_a_name_is_taken_once_even_at_the_same_moment(db: TestDb) {
        let node = node(db).await;
        let (one, two) = tokio::join!(create(&node, "same"), create(&node, "same"));
        let failed: Vec<Error> = [one, two].into_iter().filter_map(Result::err).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].kind(), failed[0].message()), (Kind::InvalidArgument, "duplicate key not allowed: name already exists"));
        scopes::create(&node, node.prd.id, "same".into(), String::new()).await.expect("another environment's names are its own");
    }

    async fn ctl_44_a_deleted_scope_is_nobodys_any_more(db: TestDb) {
        let node = node(db).await;
        let scope = create(&node, "todo:read").await.unwrap();
        permission(&node, "docs:read").await;
        let both = || Some(vec!["todo:read".to_owned(), "docs:read".to_owned()]);
        let settings = Settings { name: Some("App".into()), scopes: both(), ..Settings::default() };
        let app = applications::create(&node, &node.dev, ClientKind::WebApp, settings, None).await.unwrap();
        let settings = ResourcePatch { name: Some("MCP".into()), scopes: both(), ..ResourcePatch::default() };
        let new = NewResource { kind: ResourceKind::McpServer, settings };
        let resource = resources::create(&node, node.dev.id, node.dev.kind, new, None).await.unwrap();
        assert_eq!(resource.meanings.len(), 2);
        scopes::delete(&node, node.dev.id, scope.id).await.unwrap();
        let left = applications::get(&node, node.dev.id, &app.client_id).await.unwrap().scopes;
        assert_eq!(left, ["docs:read"]);
        let left = resources::get(&node, node.dev.id, resource.id).await.unwrap();
        assert_eq!((left.scopes.len(), left.meanings.len()), (1, 1));
    }
}
