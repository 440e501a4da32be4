//! Tokens shown to the server itself: UserInfo, introspection, revocation.

use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::grants::{self, BearerRefusal, Subject, TokenRequest};
use narthex_core::ids::ConnectionId;
use narthex_core::memberships;
use narthex_core::schema::Schema;
use narthex_core::seal::Secret;
use narthex_core::sessions;
use narthex_core::tokens::{OAuthCode, TokenError};
use narthex_core::users::{self, Identity, ProfilePatch, UserPatch};
use serde_json::{Map, Value, json};

use crate::logins::{CHALLENGE, Credentials, Login, REDIRECT, VERIFIER, assert_invalid_grant, client, presented};
use crate::node::{api_token, assert_unauthenticated, caller, claims};

async fn user_info(login: &Login, tokens: &[&str]) -> Result<Map<String, Value>, BearerRefusal> {
    grants::user_info(login.f.core(), login.f.environment(), tokens).await.expect("a database")
}

fn asking(client: &Credentials, token: &str) -> TokenRequest {
    TokenRequest { client: presented(client), token: Secret::new(token.to_owned()) }
}

async fn introspect(login: &Login, client: &Credentials, token: &str) -> Result<Map<String, Value>, TokenError> {
    grants::introspect(login.f.core(), login.f.environment(), asking(client, token)).await
}

async fn is_active(login: &Login, client: &Credentials, token: &str) -> bool {
    let answer = introspect(login, client, token).await.expect("an answer");
    let active = answer["active"].as_bool().expect("a boolean");
    assert!(active || answer.len() == 1, "an inactive token says nothing: {answer:?}");
    active
}

async fn revoke(login: &Login, client: &Credentials, token: &str) -> Result<(), TokenError> {
    grants::revoke(login.f.core(), login.f.environment(), asking(client, token)).await
}

fn members(said: &Map<String, Value>) -> Vec<&str> {
    let mut members: Vec<&str> = said.keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

/// The environment's own credentials.
fn default_client(login: &Login) -> Credentials {
    let client = &login.f.node.dev_client;
    Credentials { client_id: client.client_id.clone(), secret: Some(client.secret.expose().clone()) }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oidc_03_userinfo_says_of_the_same_subject_what_the_scopes_allow(db: TestDb) {
        let login = Login::on(db).await;
        let profile = ProfilePatch { name: Some("Ann Example".into()), ..ProfilePatch::default() };
        let patch = UserPatch { profile, ..UserPatch::default() };
        users::update(login.f.core(), login.f.env(), Identity::Id(login.ann), patch).await.unwrap();
        let issued = login.tokens("openid profile email").await;
        let said = user_info(&login, &[&issued.access_token]).await.unwrap();
        assert_eq!(said["sub"], claims(issued.id_token.as_deref().unwrap())["sub"]);
        assert_eq!((&said["name"], &said["email"], &said["email_verified"]), (&json!("Ann Example"), &json!("ann@example.com"), &json!(true)));
        assert!(said["updated_at"].is_i64(), "a number (OpenID Connect Core §5.1)");
        let little = user_info(&login, &[&login.tokens("openid").await.access_token]).await.unwrap();
        assert_eq!(members(&little), ["sub"]);
        let mail = user_info(&login, &[&login.tokens("openid email").await.access_token]).await.unwrap();
        assert_eq!(members(&mail), ["email", "email_verified", "sub"]);
    }

    async fn oidc_03_mistake_02_mistake_14_only_a_users_live_token_with_openid_counts_there(db: TestDb) {
        let login = Login::on(db).await;
        let issued = login.tokens("openid email").await;
        let machine = api_token(&login.f.node).await;
        let plain = login.tokens("email").await.access_token;
        for (what, tokens, refusal) in [
            ("none", vec![], BearerRefusal::InvalidToken),
            ("garbage", vec!["x.y.z"], BearerRefusal::InvalidToken),
            ("an ID token", vec![issued.id_token.as_deref().unwrap()], BearerRefusal::InvalidToken),
            ("a machine's", vec![machine.as_str()], BearerRefusal::InsufficientScope),
            ("without openid", vec![plain.as_str()], BearerRefusal::InsufficientScope),
        ] {
            assert_eq!(user_info(&login, &tokens).await.unwrap_err(), refusal, "{what}");
        }
        let first_valid = user_info(&login, &["x.y.z", &machine, &issued.access_token]).await.unwrap();
        assert_eq!(first_valid["sub"], login.ann.to_string());
        let foreign = grants::user_info(login.f.core(), &login.f.node.prd, &[&issued.access_token]).await.unwrap();
        assert_eq!(foreign.unwrap_err(), BearerRefusal::InvalidToken, "another environment");
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert_eq!(user_info(&login, &[&issued.access_token]).await.unwrap_err(), BearerRefusal::InvalidToken, "signed out");
    }

    async fn oidc_03_without_sessions_userinfo_says_what_the_connection_said(db: TestDb) {
        let login = Login::on(db).await;
        let mut authorization = login.authorization("openid email");
        authorization.subject = Subject::Connection {
            sub: "conn_77;x".into(),
            email: "eve@example.com".into(),
            email_verified: true,
            connection: ConnectionId(77),
            organization: None,
        };
        let code = login.code(&authorization).await;
        let token = login.exchange(&code).await.unwrap().access_token;
        let said = user_info(&login, &[&token]).await.unwrap();
        assert_eq!((&said["sub"], &said["email"], &said["email_verified"]), (&json!("conn_77;x"), &json!("eve@example.com"), &json!(true)));
    }

    async fn oidc_04_introspection_tells_an_active_token_from_one_that_is_not(db: TestDb) {
        let login = Login::on(db).await;
        let api = default_client(&login);
        let issued = login.tokens("openid email offline_access").await;
        let refresh = issued.refresh_token.clone().unwrap();
        let answer = introspect(&login, &api, &issued.access_token).await.unwrap();
        let said = claims(&issued.access_token);
        for claim in ["scope", "client_id", "sub", "aud", "iss", "jti", "exp", "iat", "nbf"] {
            assert_eq!(answer[claim], said[claim], "{claim}");
        }
        assert_eq!((&answer["active"], &answer["token_type"], &answer["username"]), (&json!(true), &json!("Bearer"), &json!("ann@example.com")));

        let answer = introspect(&login, &login.app, &refresh).await.unwrap();
        assert_eq!((&answer["active"], &answer["scope"], &answer["sub"]), (&json!(true), &json!("openid email offline_access"), &json!(login.ann.to_string())));
        assert!(!is_active(&login, &api, &refresh).await, "another client's refresh token");
        assert!(is_active(&login, &login.app, &refresh).await, "to ask is no use of it");
        let next = login.refresh(&refresh).await.unwrap().refresh_token.unwrap();
        assert!(!is_active(&login, &login.app, &refresh).await, "replaced");
        assert!(is_active(&login, &login.app, &next).await, "and that question has ended nothing");

        let machine = api_token(&login.f.node).await;
        assert!(is_active(&login, &api, &machine).await);
        clients::end_tokens(login.f.core(), login.f.env(), &api.client_id).await.unwrap();
        assert!(!is_active(&login, &api, &machine).await, "from before its client's tokens were ended");
        for bad in ["x", "x.y.z", issued.id_token.as_deref().unwrap(), &format!("rt_{}", "a".repeat(65))] {
            assert!(!is_active(&login, &api, bad).await, "{bad}");
        }
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert!(!is_active(&login, &api, &issued.access_token).await, "signed out");
        assert!(!is_active(&login, &login.app, &next).await);
    }

    async fn oidc_04_mistake_10_a_token_of_somebody_who_left_is_not_active(db: TestDb) {
        let login = Login::on(db).await;
        let token = login.tokens("openid").await.access_token;
        memberships::remove(login.f.core(), login.f.env(), &login.f.by, login.acme, Identity::Id(login.ann), false).await.unwrap();
        assert!(!is_active(&login, &default_client(&login), &token).await);
        assert_unauthenticated(&caller(login.f.core(), login.f.environment(), &token).await, "the session ended with it");
    }

    async fn oidc_04_a_client_learns_of_tokens_that_concern_it(db: TestDb) {
        let login = Login::on(db).await;
        let token = login.tokens("openid").await.access_token;
        let (core, environment) = (login.f.core(), login.f.environment().clone());
        let stranger = client(&login.f, ClientKind::WebApp).await;
        clients::set_api_access(core, environment.id, &stranger.client_id, false).await.unwrap();
        assert!(!is_active(&login, &stranger, &token).await, "an application without access to the API");
        assert!(is_active(&login, &login.app, &token).await, "its own");
        let organization = NewClient { organization: Some(login.acme), ..NewClient::new(ClientKind::Organization, "M2M") };
        let organization = clients::create(core, environment.id, environment.kind, organization).await.unwrap().client_id;
        let secret = clients::add_secret(core, environment.id, environment.kind, &organization, "test").await.unwrap();
        let organization = Credentials { client_id: organization, secret: Some(secret.plain.expose().clone()) };
        assert!(!is_active(&login, &organization, &token).await, "a customer's machine");
    }

    async fn oidc_04_oidc_05_public_clients_and_strangers_may_neither_ask_nor_revoke(db: TestDb) {
        let login = Login::on(db).await;
        let token = login.tokens("openid").await.access_token;
        let spa = client(&login.f, ClientKind::Spa).await;
        let bare = Credentials { secret: None, ..default_client(&login) };
        let wrong = Credentials { secret: Some("wrong".into()), ..login.app.clone() };
        for who in [&spa, &bare, &wrong] {
            assert_eq!(introspect(&login, who, &token).await.unwrap_err().code, OAuthCode::InvalidClient, "{who:?}");
            assert_eq!(revoke(&login, who, &token).await.unwrap_err().code, OAuthCode::InvalidClient, "{who:?}");
        }
        assert_eq!(introspect(&login, &login.app, "").await.unwrap_err().code, OAuthCode::InvalidRequest);
        assert_eq!(revoke(&login, &login.app, "").await.unwrap_err().code, OAuthCode::InvalidRequest);
    }

    async fn oidc_05_a_revoked_token_ends_all_of_its_login_but_not_the_session(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let issued = login.tokens("openid offline_access").await;
        let other = login.tokens("openid offline_access").await;
        let refresh = issued.refresh_token.unwrap();
        revoke(&login, &login.app, &refresh).await.unwrap();
        assert_invalid_grant(login.refresh(&refresh).await, "revoked");
        assert_unauthenticated(&caller(core, environment, &issued.access_token).await, "RFC 7009 §2.1: those of the same grant too");
        assert!(!is_active(&login, &login.app, &issued.access_token).await);
        assert!(login.refresh(other.refresh_token.as_deref().unwrap()).await.is_ok(), "the session goes on");
        revoke(&login, &login.app, &refresh).await.expect("again");
        for unknown in ["x", "x.y.z", &format!("rt_{}", "a".repeat(65))] {
            revoke(&login, &login.app, unknown).await.expect("RFC 7009 §2.2: no error");
        }

        let mine = login.tokens("openid offline_access").await;
        revoke(&login, &login.app, &mine.access_token).await.unwrap();
        assert_invalid_grant(login.refresh(&mine.refresh_token.unwrap()).await, "by its access token");
        let machine = api_token(&login.f.node).await;
        let refused = revoke(&login, &default_client(&login), &machine).await.unwrap_err();
        assert_eq!(refused.code, OAuthCode::UnsupportedTokenType);
    }

    async fn oidc_05_another_clients_token_stays(db: TestDb) {
        let login = Login::on(db).await;
        let other = client(&login.f, ClientKind::WebApp).await;
        let issued = login.tokens("openid offline_access").await;
        let refresh = issued.refresh_token.unwrap();
        for token in [&refresh, &issued.access_token] {
            assert_eq!(revoke(&login, &other, token).await.unwrap_err().code, OAuthCode::InvalidGrant);
        }
        assert!(login.refresh(&refresh).await.is_ok());
    }

    async fn oidc_05_a_public_clients_tokens_are_ended_by_its_session(db: TestDb) {
        let login = Login::on(db).await;
        let spa = client(&login.f, ClientKind::Spa).await;
        let mut authorization = login.of(&spa.client_id, "openid offline_access");
        authorization.code_challenge = Some(CHALLENGE.into());
        let code = login.code(&authorization).await;
        let refresh = login.exchange_with(&spa, &code, REDIRECT, Some(VERIFIER)).await.unwrap().refresh_token.unwrap();
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert_invalid_grant(login.refresh_with(&spa, &refresh, None).await, "signed out");
    }
}
