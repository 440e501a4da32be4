//! Tokens for resources (MCP servers): to machines with a secret, and to clients that act for a user.

use std::time::Duration;

use narthex_core::clients::machines::Settings;
use narthex_core::consents::{self, Grant};
use narthex_core::grants::{self, Authorization, CodeExchange, Presented, Refresh, Subject};
use narthex_core::ids::{ConnectionId, ResourceId};
use narthex_core::resources::{self, NewResource, Resource, ResourceKind, ResourcePatch};
use narthex_core::schema::Schema;
use narthex_core::seal::Secret;
use narthex_core::tokens::{ClientCredentials, IssuedToken, OAuthCode, TokenError};
use narthex_core::{Kind, permissions, scopes, sessions};
use serde_json::json;

use crate::logins::{CHALLENGE, Credentials, Login, VERIFIER, assert_invalid_grant, refusal};
use crate::node::{assert_denied, caller, claims, issue};

const URI: &str = "https://todo.example/mcp";
const CALLBACK: &str = "https://agent.example/callback";

/// A resource with two scopes.
async fn resource(login: &Login, adjust: impl FnOnce(&mut ResourcePatch)) -> Resource {
    let (core, environment) = (login.f.core(), login.f.environment());
    for name in ["todo:read", "todo:write"] {
        match scopes::create(core, environment.id, name.into(), name.into()).await {
            Err(error) if error.kind() != Kind::InvalidArgument => panic!("{error:?}"),
            _ => {}
        }
    }
    let mut settings = ResourcePatch {
        name: Some("Todo".into()),
        uri: Some(URI.into()),
        scopes: Some(vec!["todo:read".into(), "todo:write".into()]),
        access_token_expiry: Some(600),
        refresh_token_expiry: Some(3_600),
        ..ResourcePatch::default()
    };
    adjust(&mut settings);
    let new = NewResource { kind: ResourceKind::McpServer, settings };
    resources::create(core, environment.id, environment.kind, new, None).await.expect("a resource")
}

/// A client of a resource with its secret; one with a callback acts for users.
async fn agent(login: &Login, resource: ResourceId, callbacks: &[&str]) -> Credentials {
    let settings = Settings {
        name: Some("Agent".into()),
        scopes: Some(vec!["todo:read".into(), "todo:write".into()]),
        redirect_uris: Some(callbacks.iter().map(|&uri| uri.to_owned()).collect()),
        ..Settings::default()
    };
    let made =
        resources::clients::create(login.f.core(), login.f.environment(), &login.f.by, resource, settings, None).await;
    let made = made.expect("a client");
    Credentials { client_id: made.client.client_id, secret: made.secret.map(|secret| secret.expose().clone()) }
}

async fn machine(
    login: &Login,
    agent: &Credentials,
    at: Option<ResourceId>,
    scope: Option<&str>,
    target: Option<&str>,
) -> Result<IssuedToken, TokenError> {
    let request = ClientCredentials {
        client_id: agent.client_id.clone(),
        secret: agent.secret.clone().map(Secret::new),
        scope: scope.map(str::to_owned),
        audience: None,
        resource: target.map(str::to_owned),
        address: None,
        at,
    };
    issue(login.f.core(), login.f.environment(), request).await
}

/// What Ann lets the agent do.
fn authorized(login: &Login, agent: &Credentials, resource: ResourceId, scopes: &str) -> Authorization {
    Authorization {
        redirect_uri: CALLBACK.to_owned(),
        resource: Some(resource),
        code_challenge: Some(CHALLENGE.to_owned()),
        ..login.of(&agent.client_id, scopes)
    }
}

async fn consent(login: &Login, agent: &Credentials, scopes: &[&str]) {
    let grant = Grant {
        client_id: agent.client_id.clone(),
        subject: login.ann.to_string(),
        user: Some(login.ann),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    };
    consents::grant(login.f.core(), login.f.env(), grant).await.expect("a consent");
}

fn presented(agent: &Credentials, at: Option<ResourceId>) -> Presented {
    Presented { resource: at, ..crate::logins::presented(agent) }
}

async fn exchange(
    login: &Login,
    agent: &Credentials,
    at: Option<ResourceId>,
    authorization: &Authorization,
    target: Option<&str>,
) -> Result<IssuedToken, TokenError> {
    let code = login.code(authorization).await;
    let request = CodeExchange {
        client: presented(agent, at),
        code: Secret::new(code),
        redirect_uri: CALLBACK.to_owned(),
        code_verifier: authorization.code_challenge.is_some().then(|| Secret::new(VERIFIER.to_owned())),
        resource: target.map(str::to_owned),
    };
    grants::exchange(login.f.core(), login.f.environment(), request).await
}

async fn refresh(
    login: &Login,
    agent: &Credentials,
    token: &str,
    target: Option<&str>,
) -> Result<IssuedToken, TokenError> {
    let request = Refresh {
        client: presented(agent, None),
        token: Secret::new(token.to_owned()),
        scope: None,
        resource: target.map(str::to_owned),
    };
    grants::refresh(login.f.core(), login.f.environment(), request).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn mcp_47_a_machine_gets_tokens_for_its_resource_with_its_own_scopes(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let robot = agent(&login, todo.id, &[]).await;
        for at in [None, Some(todo.id)] {
            let issued = machine(&login, &robot, at, None, None).await.expect("a token");
            assert_eq!((issued.scope.as_str(), issued.refresh_token.as_ref(), issued.id_token.as_ref()), ("todo:read todo:write", None, None));
            assert!((599..=600).contains(&issued.expires_in), "mcp_30: {}", issued.expires_in);
            let said = claims(&issued.access_token);
            assert_eq!(said["aud"], json!([todo.id.to_string(), URI]), "mcp_27: both names");
            assert_eq!((&said["sub"], &said["client_id"]), (&json!(robot.client_id), &json!(robot.client_id)));
            assert_eq!((&said["scope"], &said["scopes"]), (&json!("todo:read todo:write"), &json!(["todo:read", "todo:write"])));
            assert_denied(&caller(login.f.core(), login.f.environment(), &issued.access_token).await, "mistake 2: not for the API");
        }
        let some = machine(&login, &robot, None, Some("todo:read admin"), Some(URI)).await.unwrap();
        assert_eq!(some.scope, "todo:read");
        assert_eq!(refusal(machine(&login, &robot, None, Some("admin"), None).await), OAuthCode::InvalidScope);
        for named in [URI, "https://todo.example/mcp/", &todo.id.to_string()] {
            assert!(machine(&login, &robot, None, None, Some(named)).await.is_ok(), "{named}");
        }
        assert_eq!(refusal(machine(&login, &robot, None, None, Some("https://other.example")).await), OAuthCode::InvalidTarget);
        let wrong = Credentials { secret: Some("wrong".into()), ..robot.clone() };
        assert_eq!(refusal(machine(&login, &wrong, None, None, None).await), OAuthCode::InvalidClient);
        let other = resource(&login, |settings| settings.uri = Some("https://other.example/mcp".into())).await;
        assert_eq!(refusal(machine(&login, &robot, Some(other.id), None, None).await), OAuthCode::InvalidClient, "another resource's endpoint");
        let for_users = agent(&login, todo.id, &[CALLBACK]).await;
        assert_eq!(refusal(machine(&login, &for_users, None, None, None).await), OAuthCode::UnauthorizedClient, "mcp_19");
        let app = &login.app;
        assert_eq!(refusal(machine(&login, app, Some(todo.id), None, None).await), OAuthCode::InvalidClient, "an application there");
    }

    async fn mcp_26_mcp_27_a_user_lets_a_client_act_on_a_resource(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        consent(&login, &agent, &["todo:read", "todo:write"]).await;
        let authorization = authorized(&login, &agent, todo.id, "openid todo:read todo:write offline_access");
        let issued = exchange(&login, &agent, Some(todo.id), &authorization, Some(URI)).await.expect("tokens");
        assert!((599..=600).contains(&issued.expires_in));
        let said = claims(&issued.access_token);
        assert_eq!(said["iss"], "https://dev.test", "that of the environment (mcp-auth reference §3.2)");
        assert_eq!(said["aud"], json!([todo.id.to_string(), URI]));
        assert_eq!((&said["sub"], &said["client_id"]), (&json!(login.ann.to_string()), &json!(agent.client_id)));
        assert_eq!((&said["oid"], &said["org_id"]), (&json!(login.acme.to_string()), &json!(login.acme.to_string())));
        assert_eq!(said["scope"], "openid todo:read todo:write offline_access");
        assert_eq!(claims(issued.id_token.as_deref().unwrap())["aud"], json!([agent.client_id]));
        assert_denied(&caller(login.f.core(), login.f.environment(), &issued.access_token).await, "mistake 2: a third party's");
        let clients = sessions::of_browser(login.f.core(), login.f.env(), login.session, None).await.unwrap().clients;
        assert!(clients.is_empty(), "{clients:?}");
    }

    async fn mcp_20_mcp_21_pkce_and_the_right_resource_are_asked_for(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        consent(&login, &agent, &["todo:read"]).await;
        let authorization = authorized(&login, &agent, todo.id, "todo:read offline_access");
        let plain = Authorization { code_challenge: None, ..authorization.clone() };
        assert_invalid_grant(exchange(&login, &agent, None, &plain, None).await, "no PKCE");
        assert_eq!(refusal(exchange(&login, &agent, None, &authorization, Some("https://other.example")).await), OAuthCode::InvalidTarget);
        let issued = exchange(&login, &agent, None, &authorization, Some(&todo.id.to_string())).await.unwrap();
        let token = issued.refresh_token.unwrap();
        assert_eq!(refusal(refresh(&login, &agent, &token, Some("https://other.example")).await), OAuthCode::InvalidTarget);
        assert!(refresh(&login, &agent, &token, Some(URI)).await.is_ok());
        let code = login.code(&login.authorization("openid")).await;
        let request = CodeExchange {
            client: crate::logins::presented(&login.app),
            code: Secret::new(code),
            redirect_uri: crate::logins::REDIRECT.into(),
            code_verifier: None,
            resource: Some(URI.into()),
        };
        let refused = grants::exchange(login.f.core(), login.f.environment(), request).await;
        assert_eq!(refusal(refused), OAuthCode::InvalidTarget, "an application's code is for the application");
    }

    async fn mcp_29_mcp_30_a_refresh_token_lives_as_the_resource_says_and_no_longer_than_the_session(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        consent(&login, &agent, &["todo:read"]).await;
        let without = exchange(&login, &agent, None, &authorized(&login, &agent, todo.id, "todo:read"), None).await.unwrap();
        assert_eq!(without.refresh_token, None);
        let authorization = authorized(&login, &agent, todo.id, "todo:read offline_access");
        let mut token = exchange(&login, &agent, None, &authorization, None).await.unwrap().refresh_token.unwrap();
        for _ in 0..2 {
            login.f.core().clock.advance(Duration::from_secs(3_500));
            token = refresh(&login, &agent, &token, None).await.expect("each lives an hour").refresh_token.unwrap();
        }
        login.f.core().clock.advance(Duration::from_hours(1));
        assert_invalid_grant(refresh(&login, &agent, &token, None).await, "an hour old");
        let token = exchange(&login, &agent, None, &authorization, None).await.unwrap().refresh_token.unwrap();
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert_invalid_grant(refresh(&login, &agent, &token, None).await, "signed out");
    }

    async fn mcp_35_mcp_22_without_consent_there_are_no_tokens_and_with_less_there_are_fewer_scopes(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        let authorization = authorized(&login, &agent, todo.id, "openid todo:read todo:write offline_access");
        assert_invalid_grant(exchange(&login, &agent, None, &authorization, None).await, "never agreed to");
        consent(&login, &agent, &["todo:read"]).await;
        let issued = exchange(&login, &agent, None, &authorization, None).await.unwrap();
        assert_eq!(issued.scope, "openid todo:read offline_access");
        let given = consents::find(login.f.core(), login.f.env(), &agent.client_id, &login.ann.to_string()).await.unwrap().unwrap();
        consents::revoke(login.f.core(), login.f.env(), &agent.client_id, given.id).await.unwrap();
        assert_invalid_grant(refresh(&login, &agent, &issued.refresh_token.unwrap(), None).await, "taken back");
    }

    async fn mcp_23_scopes_are_permissions_of_the_user_where_the_resource_says_so(db: TestDb) {
        let login = Login::on(db).await;
        let (core, env) = (login.f.core(), login.f.env());
        permissions::create(core, env, &login.f.by, "doc:read".into(), String::new(), None).await.unwrap();
        let todo = resource(&login, |settings| {
            settings.scopes = Some(vec!["doc:read".into(), "todo:read".into()]);
            settings.intersect_scopes = Some(true);
        })
        .await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        consent(&login, &agent, &["doc:read", "todo:read"]).await;
        let authorization = authorized(&login, &agent, todo.id, "openid doc:read todo:read offline_access");
        let issued = exchange(&login, &agent, None, &authorization, None).await.unwrap();
        assert_eq!(issued.scope, "openid offline_access", "Ann may do neither");
        login.f.role("reader").await;
        narthex_core::roles::add_permissions(core, env, &login.f.by, "reader".into(), vec!["doc:read".into()]).await.unwrap();
        narthex_core::memberships::assign_roles(core, env, &login.f.by, login.acme, login.ann, crate::people::named(&["reader"]))
            .await
            .unwrap();
        let refreshed = refresh(&login, &agent, &issued.refresh_token.unwrap(), None).await.unwrap();
        assert_eq!(refreshed.scope, "openid doc:read offline_access", "rbac_16: as of now");
    }

    async fn mcp_43_whom_the_customers_own_page_vouches_for_has_tokens_too(db: TestDb) {
        let login = Login::on(db).await;
        let todo = resource(&login, |_| {}).await;
        let agent = agent(&login, todo.id, &[CALLBACK]).await;
        let mut authorization = authorized(&login, &agent, todo.id, "openid todo:read offline_access");
        authorization.subject = Subject::Connection {
            sub: "1234567890".into(),
            email: "alice@example.com".into(),
            email_verified: true,
            connection: ConnectionId(5),
            organization: Some(login.acme),
        };
        let grant = Grant {
            client_id: agent.client_id.clone(),
            subject: "1234567890".into(),
            user: None,
            scopes: vec!["todo:read".into()],
        };
        consents::grant(login.f.core(), login.f.env(), grant).await.unwrap();
        let issued = exchange(&login, &agent, None, &authorization, None).await.unwrap();
        let said = claims(&issued.access_token);
        assert_eq!((&said["sub"], &said["oid"], said.get("sid")), (&json!("1234567890"), &json!(login.acme.to_string()), None));
        assert!(refresh(&login, &agent, &issued.refresh_token.unwrap(), None).await.is_ok(), "bound to the resource's time alone");
        assert_denied(&caller(login.f.core(), login.f.environment(), &issued.access_token).await, "mistake 2");
    }
}
