//! Resources (MCP servers) and their clients.

use std::time::Duration;

use narthex_core::clients::machines::Settings;
use narthex_core::clients::{self, ClientOrigin, Presentation};
use narthex_core::consents::{self, Grant};
use narthex_core::events::Actor;
use narthex_core::ids::ResourceId;
use narthex_core::jobs;
use narthex_core::pages::PageRequest;
use narthex_core::resources::clients::Registration;
use narthex_core::resources::{self, AllowedClient, NewResource, Resource, ResourceKind, ResourcePatch};
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind, scopes};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::node;

fn named(name: &str) -> ResourcePatch {
    ResourcePatch { name: Some(name.to_owned()), ..ResourcePatch::default() }
}

async fn create(node: &TestCore, settings: ResourcePatch) -> Result<Resource, Error> {
    let new = NewResource { kind: ResourceKind::McpServer, settings };
    resources::create(node, node.dev.id, node.dev.kind, new, None).await
}

async fn update(node: &TestCore, id: ResourceId, patch: ResourcePatch) -> Result<Resource, Error> {
    resources::update(node, node.dev.id, node.dev.kind, id, patch).await
}

fn registration() -> Registration {
    Registration {
        name: "Cursor".into(),
        redirect_uris: vec!["cursor://oauth/callback".into()],
        presentation: Presentation { client_uri: "https://cursor.example".into(), ..Presentation::default() },
        ..Registration::default()
    }
}

async fn register(node: &TestCore, resource: ResourceId, registration: Registration) -> Result<clients::Client, Error> {
    resources::clients::register(node, &node.dev, Some(resource), registration).await.map(|made| made.client)
}

/// Runs all jobs and sweeps that are due.
async fn settle(node: &TestCore) {
    jobs::drain(&node.core).await.expect("jobs and sweeps");
}

narthex_db::on_each_engine! { &narthex_core::schema::Schema::new().migrations();
    async fn mcp_01_mcp_30_a_resource_has_defaults_keeps_what_is_set_and_is_deleted(db: TestDb) {
        let node = node(db).await;
        scopes::create(&node, node.dev.id, "todo:read".into(), "Read".into()).await.unwrap();
        let made = create(&node, named("Todo")).await.unwrap();
        assert!(made.id.to_string().starts_with("res_"));
        assert_eq!((made.access_token_expiry, made.refresh_token_expiry), (3_600, 2_592_000));
        let patch = ResourcePatch {
            description: Some("List".into()),
            access_token_expiry: Some(300),
            scopes: Some(vec!["todo:read".into()]),
            cimd_enabled: Some(true),
            cimd_allowlist_enabled: Some(true),
            cimd_allowlist: Some(vec![
                AllowedClient::Predefined("claude".into()),
                AllowedClient::Url("https://client.example/metadata.json".into()),
            ]),
            ..ResourcePatch::default()
        };
        update(&node, made.id, patch).await.unwrap();
        let read = resources::get(&node, node.dev.id, made.id).await.unwrap();
        assert_eq!((read.name.as_str(), read.description.as_str(), read.access_token_expiry), ("Todo", "List", 300));
        assert_eq!((read.cimd_allowlist.len(), read.cimd_enabled, read.xaa_enabled), (2, true, false));
        assert_eq!(read.meanings.len(), 1);
        let alias = made.id.to_string().replace("res_", "app_");
        assert_eq!(ResourceId::parse(&alias), Some(made.id), "the older prefix means the same");
        resources::delete(&node, node.dev.id, made.id).await.unwrap();
        assert_not_found(resources::get(&node, node.dev.id, made.id).await.map(|_| ()));
        assert_not_found(resources::delete(&node, node.dev.id, made.id).await);
    }

    async fn mcp_01_bad_settings_are_named_and_another_environment_finds_nothing(db: TestDb) {
        let node = node(db).await;
        let made = create(&node, named("Todo")).await.unwrap();
        let cases = [
            (ResourcePatch { name: Some(String::new()), ..named("x") }, "resource.name"),
            (ResourcePatch { scopes: Some(vec!["nobody:knows".into()]), ..named("x") }, "resource.scopes[0]"),
            (ResourcePatch { uri: Some("ftp://x".into()), ..named("x") }, "resource.resource_uri"),
            (ResourcePatch { uri: Some(format!("https://x.example/{}", "a".repeat(512))), ..named("x") }, "resource.resource_uri"),
            (ResourcePatch { logo_uri: Some("javascript:alert(1)".into()), ..named("x") }, "resource.logo_uri"),
            (ResourcePatch { access_token_expiry: Some(-1), ..named("x") }, "resource.access_token_expiry"),
            (ResourcePatch { authorize_uri: Some("https://a.example/".into()), ..named("x") }, "resource.custom_connection_settings"),
            (
                ResourcePatch { cimd_allowlist: Some(vec![AllowedClient::Predefined("nobody".into())]), ..named("x") },
                "resource.cimd_client_allowlist[0].value",
            ),
            (
                ResourcePatch { cimd_allowlist: Some(vec![AllowedClient::Url("http://a.example/".into())]), ..named("x") },
                "resource.cimd_client_allowlist[0].value",
            ),
        ];
        for (patch, field) in cases {
            assert_invalid(create(&node, patch.clone()).await.map(|_| ()), field);
            assert_invalid(update(&node, made.id, patch).await.map(|_| ()), field);
        }
        assert_eq!(resources::get(&node, node.dev.id, made.id).await.unwrap(), made);
        assert_not_found(resources::get(&node, node.prd.id, made.id).await.map(|_| ()));
        assert_not_found(resources::update(&node, node.prd.id, node.prd.kind, made.id, named("x")).await.map(|_| ()));
        assert_not_found(resources::delete(&node, node.prd.id, made.id).await);
    }

    async fn mcp_02_mcp_03_the_server_url_is_kept_byte_for_byte_and_named_in_its_metadata(db: TestDb) {
        let node = node(db).await;
        scopes::create(&node, node.dev.id, "todo:read".into(), String::new()).await.unwrap();
        let off = scopes::create(&node, node.dev.id, "todo:write".into(), String::new()).await.unwrap();
        let patch = ResourcePatch {
            uri: Some("http://localhost:3002/".into()),
            scopes: Some(vec!["todo:read".into(), "todo:write".into(), "offline_access".into()]),
            ..named("Todo")
        };
        let made = create(&node, patch).await.unwrap();
        scopes::update(&node, node.dev.id, off.id, None, Some(false)).await.unwrap();
        let read = resources::get(&node, node.dev.id, made.id).await.unwrap();
        assert_eq!(read.identifier(), "http://localhost:3002/");
        let metadata = serde_json::Value::Object(read.protected_metadata(&node.dev));
        assert_eq!(
            metadata,
            serde_json::json!({
                "resource": "http://localhost:3002/",
                "authorization_servers": [format!("https://dev.test/resources/{}", made.id)],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["todo:read"],
                "resource_documentation": "http://localhost:3002/docs",
            })
        );
        let without = update(&node, made.id, ResourcePatch { uri: Some(String::new()), ..ResourcePatch::default() }).await.unwrap();
        assert_eq!(without.identifier(), made.id.to_string());
    }

    async fn mcp_01_lists_show_one_kind_and_lose_nobody(db: TestDb) {
        let node = node(db).await;
        let mut made = Vec::new();
        for i in 0..5 {
            made.push(create(&node, named(&format!("{i}"))).await.unwrap().id);
        }
        made.reverse();
        let new = NewResource { kind: ResourceKind::Web, settings: named("web") };
        resources::create(&node, node.dev.id, node.dev.kind, new, None).await.unwrap();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let request = PageRequest { size: 2, token };
            let page = resources::list(&node, node.dev.id, ResourceKind::McpServer, &request).await.unwrap();
            assert_eq!(page.total, 5);
            seen.extend(page.items.iter().map(|resource| resource.id));
            token = page.next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, made);
    }

    async fn mcp_40_a_connection_is_made_once_gets_a_login_page_and_is_removed(db: TestDb) {
        let node = node(db).await;
        let id = create(&node, named("Todo")).await.unwrap().id;
        let (one, two) = tokio::join!(
            resources::ensure_connection(&node, node.dev.id, id),
            resources::ensure_connection(&node, node.dev.id, id)
        );
        let connection = one.unwrap().connection.unwrap();
        assert_eq!(two.unwrap().connection.as_ref(), Some(&connection), "both see the same one");
        assert!(!connection.is_enabled());
        let page = ResourcePatch { authorize_uri: Some("https://app.example/login".into()), ..ResourcePatch::default() };
        let set = update(&node, id, page).await.unwrap().connection.unwrap();
        assert_eq!((set.id, set.is_enabled()), (connection.id, true));
        let plain = ResourcePatch { authorize_uri: Some("javascript:x".into()), ..ResourcePatch::default() };
        assert_invalid(update(&node, id, plain).await.map(|_| ()), "resource.custom_connection_settings.authorize_uri");
        let removed = resources::remove_provider(&node, node.dev.id, id).await.unwrap();
        assert_eq!((removed.connection, removed.provider.as_str()), (None, ""));
        let again = resources::ensure_connection(&node, node.dev.id, id).await.unwrap().connection.unwrap();
        assert_ne!(again.id, connection.id);
    }

    async fn mcp_19_a_client_with_redirect_uris_signs_users_in_and_one_without_acts_for_itself(db: TestDb) {
        let node = node(db).await;
        let id = create(&node, named("Todo")).await.unwrap().id;
        let make = |settings| resources::clients::create(&node, &node.dev, &Actor::SYSTEM, id, settings, None);
        let agent = make(Settings { name: Some("Agent".into()), ..Settings::default() }).await.unwrap();
        assert!(agent.client.client_id.starts_with("m2m_") && agent.secret.is_some());
        assert_eq!(agent.client.grant_types, ["client_credentials"]);
        assert_eq!((agent.client.resource, agent.client.access_token_expiry), (Some(id), None), "the resource's lifetime");
        let redirects = Settings { redirect_uris: Some(vec!["https://a.example/cb".into()]), expiry: Some(900), ..Settings::default() };
        let host = make(redirects.clone()).await.unwrap().client;
        assert_eq!(host.grant_types, ["authorization_code", "refresh_token"]);
        let bad = Settings { redirect_uris: Some(vec!["http://a.example/cb".into()]), ..Settings::default() };
        assert_invalid(make(bad).await.map(|_| ()), "client.redirect_uris[0]");
        let changed = resources::clients::update(&node, node.dev.id, id, &agent.client.client_id, redirects).await.unwrap();
        assert_eq!((changed.grant_types.len(), changed.name.as_str(), changed.access_token_expiry), (2, "Agent", Some(900)));
        let other = create(&node, named("Other")).await.unwrap().id;
        assert_not_found(resources::clients::get(&node, node.dev.id, other, &host.client_id).await.map(|_| ()));
        assert_not_found(resources::clients::update(&node, node.dev.id, other, &host.client_id, Settings::default()).await.map(|_| ()));
        assert_not_found(resources::clients::delete(&node, node.dev.id, other, &host.client_id).await);
        let nowhere = resources::clients::create(&node, &node.prd, &Actor::SYSTEM, id, Settings::default(), None).await;
        assert_not_found(nowhere.map(|_| ()));
    }

    async fn mcp_36_clients_are_listed_with_their_totals_and_deleted(db: TestDb) {
        let node = node(db).await;
        let id = create(&node, named("Todo")).await.unwrap().id;
        let made = resources::clients::create(&node, &node.dev, &Actor::SYSTEM, id, Settings::default(), None).await.unwrap();
        for _ in 0..2 {
            register(&node, id, registration()).await.unwrap();
        }
        let list = resources::clients::list(&node, node.dev.id, id).await.unwrap();
        assert_eq!((list.clients.len(), list.registered, list.made), (3, 2, 1));
        assert_eq!(list.clients[2].client_id, made.client.client_id, "newest first");
        resources::clients::delete(&node, node.dev.id, id, &list.clients[0].client_id).await.unwrap();
        let list = resources::clients::list(&node, node.dev.id, id).await.unwrap();
        assert_eq!((list.clients.len(), list.registered, list.made), (2, 1, 1));
        assert_not_found(resources::clients::list(&node, node.prd.id, id).await.map(|_| ()));
    }

    async fn mcp_10_mcp_11_a_client_registers_itself_without_a_secret(db: TestDb) {
        let node = node(db).await;
        for name in ["todo:read", "todo:write"] {
            scopes::create(&node, node.dev.id, name.into(), String::new()).await.unwrap();
        }
        let patch = ResourcePatch { scopes: Some(vec!["todo:read".into(), "todo:write".into()]), ..named("Todo") };
        let id = create(&node, patch).await.unwrap().id;
        let client = register(&node, id, registration()).await.unwrap();
        assert_eq!((client.origin, client.secrets.len(), client.enforce_pkce), (ClientOrigin::Registered, 0, true));
        assert_eq!(client.scopes, ["todo:read", "todo:write"], "all of the resource, where none are asked for");
        let some = Registration { scope: "todo:write unknown openid".into(), ..registration() };
        assert_eq!(register(&node, id, some).await.unwrap().scopes, ["todo:write"]);
        let read = clients::read(&node, node.dev.id, &client.client_id).await.unwrap();
        assert_eq!(read.presentation.client_uri, "https://cursor.example");
        assert_eq!(read.name, "Cursor");
        for (bad, field) in [
            (Registration { redirect_uris: vec![], ..registration() }, "client.redirect_uris"),
            (Registration { redirect_uris: vec!["http://a.example/".into()], ..registration() }, "client.redirect_uris[0]"),
            (Registration { name: "n".repeat(129), ..registration() }, "client.client_name"),
            (
                Registration {
                    presentation: Presentation { tos_uri: "javascript:x".into(), ..Presentation::default() }, ..registration()
                },
                "client.tos_uri",
            ),
        ] {
            assert_invalid(register(&node, id, bad).await.map(|_| ()), field);
        }
    }

    async fn mcp_12_a_guessed_resource_and_one_that_is_closed_answer_alike(db: TestDb) {
        let node = node(db).await;
        let closed = create(&node, ResourcePatch { registration_disabled: Some(true), ..named("Todo") }).await.unwrap().id;
        let foreign = NewResource { kind: ResourceKind::McpServer, settings: named("Prd") };
        let foreign = resources::create(&node, node.prd.id, node.prd.kind, foreign, None).await.unwrap().id;
        let mut answers = Vec::new();
        for id in [Some(closed), Some(foreign), Some(ResourceId(1)), None] {
            let refused = resources::clients::register(&node, &node.dev, id, registration()).await.map(|_| ()).unwrap_err();
            answers.push((refused.kind(), refused.message().to_owned(), refused.code()));
        }
        assert_eq!(answers[0].0, Kind::PermissionDenied);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }

    async fn mcp_10_registered_clients_that_nobody_uses_go_after_thirty_days(db: TestDb) {
        let node = node(db).await;
        let id = create(&node, named("Todo")).await.unwrap().id;
        let unused = register(&node, id, registration()).await.unwrap().client_id;
        let used = register(&node, id, registration()).await.unwrap().client_id;
        let made = resources::clients::create(&node, &node.dev, &Actor::SYSTEM, id, Settings::default(), None).await.unwrap();
        let grant = Grant { client_id: used.clone(), subject: "u".into(), user: None, scopes: vec![] };
        consents::grant(&node, node.dev.id, grant).await.unwrap();
        node.clock.advance(Duration::from_hours(29 * 24));
        settle(&node).await;
        assert!(clients::read(&node, node.dev.id, &unused).await.is_ok());
        node.clock.advance(Duration::from_hours(2 * 24));
        settle(&node).await;
        assert_not_found(clients::read(&node, node.dev.id, &unused).await.map(|_| ()));
        for kept in [&used, &made.client.client_id] {
            assert!(clients::read(&node, node.dev.id, kept).await.is_ok(), "{kept}");
        }
    }

    async fn mcp_01_the_clients_and_consents_of_a_deleted_resource_go_with_it_however_many(db: TestDb) {
        let node = node(db).await;
        let id = create(&node, named("Todo")).await.unwrap().id;
        let mut ids = Vec::new();
        for _ in 0..60 {
            ids.push(register(&node, id, registration()).await.unwrap().client_id);
        }
        for client_id in [&ids[0], &ids[59]] {
            let grant = Grant { client_id: client_id.clone(), subject: "u".into(), user: None, scopes: vec![] };
            consents::grant(&node, node.dev.id, grant).await.unwrap();
        }
        resources::delete(&node, node.dev.id, id).await.unwrap();
        assert!(register(&node, id, registration()).await.is_err());
        settle(&node).await;
        for client_id in &ids {
            assert_not_found(clients::read(&node, node.dev.id, client_id).await.map(|_| ()));
        }
        assert!(consents::find(&node, node.dev.id, &ids[59], "u").await.unwrap().is_none());
    }
}
