//! Applications, their redirect URIs, and the addresses that credentials count from.

use narthex_core::clients::applications::{self, Settings};
use narthex_core::clients::{self, Cidr, Client, ClientKind, CustomClaim, Family};
use narthex_core::pages::PageRequest;
use narthex_core::testing::TestCore;
use narthex_core::tokens::OAuthCode;
use narthex_core::{Error, Kind, scopes};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::{api_token, assert_denied, assert_unauthenticated, caller, claims, credentials, issue, node};

fn named(name: &str) -> Settings {
    Settings { name: Some(name.to_owned()), ..Settings::default() }
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

async fn create(node: &TestCore, kind: ClientKind, settings: Settings) -> Result<Client, Error> {
    applications::create(node, &node.dev, kind, settings, None).await
}

async fn update(node: &TestCore, client_id: &str, settings: Settings) -> Result<Client, Error> {
    applications::update(node, &node.dev, client_id, settings).await
}

/// Ids of all pages, following `next`; then following `prev` back gives the same.
async fn walk(node: &TestCore, kinds: &[ClientKind], size: u32) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let request = PageRequest { size, token };
        let page = applications::list(node, node.dev.id, kinds.to_vec(), &request).await.unwrap();
        ids.extend(page.items.into_iter().map(|client| client.client_id));
        token = page.next;
        if token.is_empty() {
            return ids;
        }
    }
}

narthex_db::on_each_engine! { &narthex_core::schema::Schema::new().migrations();
    async fn app_01_ctl_39_the_default_application_cannot_be_deleted_nor_made_twice(db: TestDb) {
        let node = node(db).await;
        let id = node.dev_client.client_id.clone();
        let refused = applications::delete(&node, node.dev.id, &id).await.unwrap_err();
        assert_eq!((refused.kind(), refused.message()), (Kind::FailedPrecondition, "the default client cannot be deleted"));
        assert!(clients::read(&node, node.dev.id, &id).await.unwrap().is_default);
        assert_invalid(create(&node, ClientKind::Env, named("x")).await.map(|_| ()), "client.client_type");
        assert_invalid(create(&node, ClientKind::Organization, named("x")).await.map(|_| ()), "client.client_type");
    }

    async fn app_02_ctl_38_each_type_has_its_prefix_and_its_rules(db: TestDb) {
        let node = node(db).await;
        for (kind, prefix, pkce) in
            [(ClientKind::WebApp, "webc_", false), (ClientKind::Spa, "spac_", true), (ClientKind::Native, "ntvc_", true)]
        {
            let client = create(&node, kind, named("App")).await.unwrap();
            assert!(client.client_id.starts_with(prefix) && client.client_id.len() <= 32, "{}", client.client_id);
            assert_eq!((client.enforce_pkce, client.secrets.len()), (pkce, 0));
            assert_eq!(client.grant_types, kind.grants());
            let loosened = Settings { enforce_pkce: Some(false), ..Settings::default() };
            assert_eq!(update(&node, &client.client_id, loosened).await.unwrap().enforce_pkce, pkce, "{kind:?}");
            let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &client.client_id, "test").await;
            let told = Settings { back_channel_logout_uris: Some(list(&["https://a.example/out"])), ..Settings::default() };
            let told = update(&node, &client.client_id, told).await;
            if pkce {
                assert_eq!(secret.map(|_| ()).unwrap_err().kind(), Kind::FailedPrecondition);
                assert_invalid(told.map(|_| ()), "client.back_channel_logout_uris");
                let grants = Settings { grant_types: Some(list(&["client_credentials"])), ..Settings::default() };
                assert_invalid(update(&node, &client.client_id, grants).await.map(|_| ()), "client.grant_types[0]");
            } else {
                assert!(secret.is_ok() && told.is_ok());
            }
        }
        assert_invalid(create(&node, ClientKind::WebApp, named(" ")).await.map(|_| ()), "client.name");
        assert_invalid(create(&node, ClientKind::WebApp, named(&"n".repeat(129))).await.map(|_| ()), "client.name");
    }

    async fn app_04_ctl_42_a_bad_uri_is_named_and_nothing_is_written(db: TestDb) {
        let node = node(db).await;
        let client = create(&node, ClientKind::WebApp, named("App")).await.unwrap();
        let bad = Settings {
            name: Some("Other".into()),
            post_login_uris: Some(list(&["https://a.example/cb", "https://a.example/cb#x"])),
            post_logout_redirect_uris: Some(list(&["javascript:alert(1)"])),
            initiate_login_uri: Some("x".into()),
            ..Settings::default()
        };
        let refused = update(&node, &client.client_id, bad).await.map(|_| ()).unwrap_err();
        let fields: Vec<&str> = refused.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["client.post_login_uris[1]", "client.post_logout_redirect_uris[0]", "client.initiate_login_uri"]);
        let kept = clients::read(&node, node.dev.id, &client.client_id).await.unwrap();
        assert_eq!((kept.name.as_str(), kept.post_login_uris.len()), ("App", 0));

        let local = Settings { post_login_uris: Some(list(&["http://localhost:3000/cb"])), ..named("App") };
        assert!(create(&node, ClientKind::WebApp, local.clone()).await.is_ok());
        let production = applications::create(&node, &node.prd, ClientKind::WebApp, local, None).await;
        assert_invalid(production.map(|_| ()), "client.post_login_uris[0]");
        let twice = Settings { post_login_uris: Some(list(&["https://a.example/", "https://a.example/"])), ..named("App") };
        assert_invalid(create(&node, ClientKind::WebApp, twice).await.map(|_| ()), "client.post_login_uris");
        let many = (0..51).map(|i| format!("https://a.example/{i}")).collect();
        let many = Settings { post_login_uris: Some(many), ..named("App") };
        assert_invalid(create(&node, ClientKind::WebApp, many).await.map(|_| ()), "client.post_login_uris");
    }

    async fn app_05_app_07_settings_are_kept_and_what_is_not_given_stays(db: TestDb) {
        let node = node(db).await;
        scopes::create(&node, node.dev.id, "deploy:read".into(), String::new()).await.unwrap();
        let all = Settings {
            name: Some("App".into()),
            post_login_uris: Some(list(&["https://{{org_slug}}.a.example/cb"])),
            post_logout_redirect_uris: Some(list(&["https://a.example/bye"])),
            back_channel_logout_uris: Some(list(&["https://a.example/logout"])),
            initiate_login_uri: Some("https://a.example/login".into()),
            access_token_expiry: Some(900),
            scopes: Some(list(&["deploy:read", "email"])),
            custom_claims: Some(vec![CustomClaim { key: "tier".into(), value: "gold".into() }]),
            grant_types: Some(list(&["client_credentials"])),
            enforce_pkce: Some(true),
            ..Settings::default()
        };
        let made = create(&node, ClientKind::WebApp, all).await.unwrap();
        let renamed = update(&node, &made.client_id, named("New")).await.unwrap();
        let read = applications::get(&node, node.dev.id, &made.client_id).await.unwrap();
        for client in [&renamed, &read] {
            assert_eq!(client.name, "New");
            assert_eq!(client.post_logout_redirect_uris, ["https://a.example/bye"]);
            assert_eq!(client.back_channel_logout_uris, ["https://a.example/logout"]);
            assert_eq!(client.initiate_login_uri, "https://a.example/login");
            assert_eq!((client.access_token_expiry, client.enforce_pkce), (Some(900), true));
            assert_eq!(client.scopes, ["deploy:read", "email"]);
            assert_eq!(client.grant_types, ["client_credentials"]);
        }
        let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &made.client_id, "test").await.unwrap();
        let issued = issue(&node, &node.dev, credentials(&made.client_id, secret.plain.expose())).await.unwrap();
        let token = claims(&issued.access_token);
        assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 900);
        assert_eq!(token["custom_claims"]["tier"], "gold");
        let code_only = Settings { grant_types: Some(list(&["authorization_code"])), ..Settings::default() };
        update(&node, &made.client_id, code_only).await.unwrap();
        let refused = issue(&node, &node.dev, credentials(&made.client_id, secret.plain.expose())).await.unwrap_err();
        assert_eq!(refused.code, OAuthCode::UnauthorizedClient);

        let cleared = Settings {
            initiate_login_uri: Some(String::new()), access_token_expiry: Some(0), scopes: Some(list(&[])), grant_types: Some(list(&[])),
            ..Settings::default()
        };
        let cleared = update(&node, &made.client_id, cleared).await.unwrap();
        assert_eq!((cleared.initiate_login_uri.as_str(), cleared.access_token_expiry, cleared.scopes.len()), ("", None, 0));
        assert_eq!(cleared.grant_types, ClientKind::WebApp.grants());
        let unknown = Settings { scopes: Some(list(&["nobody:knows"])), ..Settings::default() };
        assert_invalid(update(&node, &made.client_id, unknown).await.map(|_| ()), "client.scopes[0]");
        let short = Settings { access_token_expiry: Some(10), ..Settings::default() };
        assert_invalid(update(&node, &made.client_id, short).await.map(|_| ()), "client.access_token_expiry");
    }

    async fn app_06_ctl_13_switching_api_access_off_ends_the_tokens_that_are_out(db: TestDb) {
        let node = node(db).await;
        let app = create(&node, ClientKind::WebApp, named("App")).await.unwrap();
        let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &app.client_id, "test").await.unwrap();
        let request = || credentials(&app.client_id, secret.plain.expose());
        let token = issue(&node, &node.dev, request()).await.unwrap().access_token;
        assert!(caller(&node, &node.dev, &token).await.is_ok());
        let off = Settings { disallow_api_access: Some(true), ..Settings::default() };
        update(&node, &app.client_id, off.clone()).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "minted before");
        let refused = issue(&node, &node.dev, request()).await.unwrap_err();
        assert_eq!((refused.code, refused.code.status()), (OAuthCode::UnauthorizedClient, 400));
        assert!(refused.description.contains("unauthorized"));
        let default = node.dev_client.client_id.clone();
        assert_invalid(update(&node, &default, off).await.map(|_| ()), "client.disallow_scalekit_api_access");
    }

    async fn app_08_deleting_an_application_ends_its_tokens_and_secrets(db: TestDb) {
        let node = node(db).await;
        let app = create(&node, ClientKind::WebApp, named("App")).await.unwrap();
        let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &app.client_id, "test").await.unwrap();
        let token = issue(&node, &node.dev, credentials(&app.client_id, secret.plain.expose())).await.unwrap().access_token;
        applications::delete(&node, node.dev.id, &app.client_id).await.unwrap();
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "deleted");
        let refused = issue(&node, &node.dev, credentials(&app.client_id, secret.plain.expose())).await.unwrap_err();
        assert_eq!(refused.code, OAuthCode::InvalidClient);
        assert_not_found(applications::delete(&node, node.dev.id, &app.client_id).await);
        let added = clients::add_secret(&node, node.dev.id, node.dev.kind, &app.client_id, "test").await;
        assert_eq!(added.map(|_| ()).unwrap_err().kind(), Kind::NotFound);
        assert_not_found(applications::delete(&node, node.prd.id, &node.dev_client.client_id).await);
        assert_not_found(update(&node, &node.prd_client.client_id, named("x")).await.map(|_| ()));
    }

    async fn app_09_ctl_43_redirect_uris_of_the_environment_are_those_of_its_default_application(db: TestDb) {
        let node = node(db).await;
        let before = clients::read(&node, node.dev.id, &node.dev_client.client_id).await.unwrap().post_login_uris;
        let uri = "https://app.example.com/cb".to_owned();
        let client = applications::add_redirect_uri(&node, &node.dev, uri.clone()).await.unwrap();
        assert_eq!(client.client_id, node.dev_client.client_id);
        assert_eq!(client.post_login_uris.len(), before.len() + 1);
        let again = applications::add_redirect_uri(&node, &node.dev, uri.clone()).await.map(|_| ()).unwrap_err();
        assert_eq!(again.kind(), Kind::AlreadyExists);
        let bad = applications::add_redirect_uri(&node, &node.prd, "http://localhost/".into()).await;
        assert_invalid(bad.map(|_| ()), "redirect_uri");
        let unknown = applications::remove_redirect_uri(&node, node.dev.id, "https://b.example/".into()).await;
        assert_not_found(unknown.map(|_| ()));
        for gone in &before {
            applications::remove_redirect_uri(&node, node.dev.id, gone.clone()).await.unwrap();
        }
        assert_invalid(applications::remove_redirect_uri(&node, node.dev.id, uri.clone()).await.map(|_| ()), "redirect_uri");
        for i in 1..50 {
            applications::add_redirect_uri(&node, &node.dev, format!("https://app.example.com/{i}")).await.unwrap();
        }
        let over = applications::add_redirect_uri(&node, &node.dev, "https://app.example.com/50".into()).await;
        assert_invalid(over.map(|_| ()), "redirect_uri");
        let set = applications::set_initiate_login_uri(&node, &node.dev, "https://app.example.com/login".into()).await;
        assert_eq!(set.unwrap().initiate_login_uri, "https://app.example.com/login");
        let bad = applications::set_initiate_login_uri(&node, &node.dev, "data:x".into()).await;
        assert_invalid(bad.map(|_| ()), "initiate_login_uri");
    }

    async fn app_09_two_requests_that_add_the_same_uri_add_it_once(db: TestDb) {
        let node = node(db).await;
        let add = || applications::add_redirect_uri(&node, &node.dev, "https://app.example.com/race".into());
        let (one, two) = tokio::join!(add(), add());
        let kinds: Vec<Kind> = [one.map(|_| ()), two.map(|_| ())].into_iter().filter_map(|r| r.err().map(|e| e.kind())).collect();
        assert_eq!(kinds, [Kind::AlreadyExists]);
        let client = clients::read(&node, node.dev.id, &node.dev_client.client_id).await.unwrap();
        assert_eq!(client.post_login_uris.iter().filter(|uri| uri.ends_with("/race")).count(), 1);
    }

    async fn ctl_14_credentials_count_from_allowed_addresses_only(db: TestDb) {
        let node = node(db).await;
        let id = node.dev_client.client_id.clone();
        let token = api_token(&node).await;
        let network = |value: &str| Cidr { value: value.into(), family: Family::Ipv4 };
        let opted = |on, cidrs| Settings { ip_allowlist_opted_in: Some(on), ip_allowlist_cidrs: cidrs, ..Settings::default() };
        assert_invalid(update(&node, &id, opted(true, None)).await.map(|_| ()), "client.ip_allowlist.cidrs");
        update(&node, &id, opted(true, Some(vec![network("203.0.113.0/24")]))).await.unwrap();
        let (inside, outside) = ("203.0.113.7".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let from = |address| narthex_core::tokens::ClientCredentials {
            address: Some(address), ..credentials(&id, node.dev_client.secret.expose())
        };
        assert!(issue(&node, &node.dev, from(inside)).await.is_ok());
        let refused = issue(&node, &node.dev, from(outside)).await.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.code.status()), ("access_denied", 403));
        let wrong = narthex_core::tokens::ClientCredentials { address: Some(outside), ..credentials(&id, "wrong") };
        assert_eq!(issue(&node, &node.dev, wrong).await.unwrap_err().code, OAuthCode::InvalidClient, "nothing without the secret");
        // A token that is out already is bound as well.
        assert!(caller(&node, &node.dev, &token).await.is_ok());
        clients::check_address(&node, node.dev.id, &id, inside).await.unwrap();
        let denied = clients::check_address(&node, node.dev.id, &id, outside).await.unwrap_err();
        assert_eq!(denied.kind(), Kind::PermissionDenied);
        update(&node, &id, opted(false, None)).await.unwrap();
        clients::check_address(&node, node.dev.id, &id, outside).await.unwrap();
        let kept = clients::read(&node, node.dev.id, &id).await.unwrap().ip_allowlist.unwrap();
        assert_eq!((kept.opted_in, kept.cidrs.len()), (false, 1));
        let spa = create(&node, ClientKind::Spa, named("Spa")).await.unwrap();
        let refused = update(&node, &spa.client_id, opted(true, Some(vec![network("10.0.0.0/8")]))).await;
        assert_invalid(refused.map(|_| ()), "client.ip_allowlist");
    }

    async fn ctl_38_lists_show_the_default_client_unless_asked_and_page_by_position(db: TestDb) {
        let node = node(db).await;
        let mut made = Vec::new();
        for i in 0..7 {
            let kind = if i % 2 == 0 { ClientKind::WebApp } else { ClientKind::Spa };
            made.push(create(&node, kind, named("App")).await.unwrap().client_id);
        }
        made.reverse();
        assert_eq!(walk(&node, &[ClientKind::Env], 10).await, std::slice::from_ref(&node.dev_client.client_id));
        let both = [ClientKind::WebApp, ClientKind::Spa];
        for size in [1, 2, 3, 30] {
            assert_eq!(walk(&node, &both, size).await, made, "pages of {size}");
        }
        let first = applications::list(&node, node.dev.id, both.to_vec(), &PageRequest { size: 3, token: String::new() }).await.unwrap();
        assert_eq!((first.total, first.prev.as_str()), (7, ""));
        // What is deleted and made between two pages moves nothing.
        applications::delete(&node, node.dev.id, &made[0]).await.unwrap();
        create(&node, ClientKind::Spa, named("New")).await.unwrap();
        let request = PageRequest { size: 3, token: first.next.clone() };
        let second = applications::list(&node, node.dev.id, both.to_vec(), &request).await.unwrap();
        let ids: Vec<&str> = second.items.iter().map(|client| client.client_id.as_str()).collect();
        assert_eq!(ids, &made[3..6]);
        assert!(!second.prev.is_empty() && !second.next.is_empty());
        let other = applications::list(&node, node.dev.id, vec![ClientKind::Spa], &PageRequest { size: 3, token: first.next }).await;
        assert_invalid(other.map(|_| ()), "page_token");
    }

    async fn ctl_41_a_disabled_or_deleted_secret_stops_at_once(db: TestDb) {
        let node = node(db).await;
        let id = node.dev_client.client_id.clone();
        let second = clients::add_secret(&node, node.dev.id, node.dev.kind, &id, "test").await.unwrap();
        let request = || credentials(&id, second.plain.expose());
        let token = issue(&node, &node.dev, request()).await.unwrap().access_token;
        clients::set_secret_status(&node, node.dev.id, &id, second.record.id, clients::SecretStatus::Inactive).await.unwrap();
        assert_eq!(issue(&node, &node.dev, request()).await.unwrap_err().code, OAuthCode::InvalidClient);
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "tokens that are out live until they expire");
        clients::set_secret_status(&node, node.dev.id, &id, second.record.id, clients::SecretStatus::Active).await.unwrap();
        assert!(issue(&node, &node.dev, request()).await.is_ok());
        clients::delete_secret(&node, node.dev.id, &id, second.record.id).await.unwrap();
        assert_eq!(issue(&node, &node.dev, request()).await.unwrap_err().code, OAuthCode::InvalidClient);
        assert_not_found(clients::delete_secret(&node, node.dev.id, &id, second.record.id).await);
    }

    async fn app_03_a_secret_is_kept_as_a_hash_only_and_its_last_use_is_known(db: TestDb) {
        let node = node(db).await;
        let app = create(&node, ClientKind::WebApp, named("App")).await.unwrap();
        let secret = clients::add_secret(&node, node.dev.id, node.dev.kind, &app.client_id, "member:usr_1").await.unwrap();
        let record = clients::read(&node, node.dev.id, &app.client_id).await.unwrap().secrets.remove(0);
        assert!(secret.plain.expose().ends_with(&record.suffix) && record.suffix.len() == 4);
        assert_eq!((record.created_by.as_str(), record.last_used_at), ("member:usr_1", None));
        issue(&node, &node.dev, credentials(&app.client_id, secret.plain.expose())).await.unwrap();
        clients::flush_last_used(&node).await.unwrap();
        let used = clients::read(&node, node.dev.id, &app.client_id).await.unwrap().secrets.remove(0).last_used_at;
        assert!(used.is_some(), "read past the cache");
    }

    async fn a_machine_token_of_an_organization_is_no_bearer_of_the_management_api(db: TestDb) {
        let node = node(db).await;
        let new = clients::NewClient::new(ClientKind::Resource, "M2M");
        let client = clients::create(&node, node.dev.id, node.dev.kind, new).await.unwrap();
        let payload = format!(
            r#"{{"iss":"https://dev.test","sub":"{0}","client_id":"{0}","jti":"tkn_1","iat":{1},"nbf":{1},"exp":{2}}}"#,
            client.client_id, node.clock.real_now().seconds(), node.clock.real_now().seconds() + 60
        );
        let token = narthex_core::testing::sign_raw(&node, node.dev.id, None, &payload).await.unwrap();
        assert_denied(&caller(&node, &node.dev, &token).await, "a resource client");
    }
}
