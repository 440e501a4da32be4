//! Tokens of users where the server itself reads them: UserInfo, introspection and the hint of a logout. What the management API makes
//! of forged tokens is in `forgery`.

use narthex_core::grants::{self, BearerRefusal, LoggedOut, Logout, TokenRequest};
use narthex_core::ids::SigningKeyId;
use narthex_core::keys;
use narthex_core::schema::Schema;
use narthex_core::seal::Secret;
use narthex_core::testing::sign_raw;
use serde_json::{Value, json};

use crate::logins::{Login, presented};
use crate::node::{assert_unauthenticated, caller, claims, segment};

const BYE: &str = "https://app.example/bye";

/// The environment has one application that may be left for [`BYE`].
async fn login_on(db: narthex_db::testing::TestDb) -> Login {
    let login = Login::on(db).await;
    let settings = narthex_core::clients::applications::Settings {
        post_logout_redirect_uris: Some(vec![BYE.into()]),
        ..Default::default()
    };
    let (core, environment) = (login.f.core(), login.f.environment());
    narthex_core::clients::applications::update(core, environment, &login.app.client_id, settings).await.unwrap();
    login
}

async fn user_info(login: &Login, token: &str) -> Result<(), BearerRefusal> {
    let said = grants::user_info(login.f.core(), login.f.environment(), &[token]).await.expect("a database");
    said.map(|_| ())
}

async fn is_active(login: &Login, token: &str) -> bool {
    let request = TokenRequest { client: presented(&login.app), token: Secret::new(token.to_owned()) };
    let answer = grants::introspect(login.f.core(), login.f.environment(), request).await.expect("an answer");
    answer["active"].as_bool().expect("a boolean")
}

/// Whether a hint says whose address [`BYE`] is. One that is none leaves the browser on a page.
async fn is_hint(login: &Login, token: &str) -> bool {
    let request = Logout { id_token_hint: Some(token.to_owned()), redirect_uri: Some(BYE.into()), ..Logout::default() };
    match grants::log_out(login.f.core(), login.f.environment(), request).await.expect("a database") {
        LoggedOut::At(at) => at == BYE,
        LoggedOut::Here(_) => false,
        LoggedOut::Astray(code, _) => panic!("{code}"),
    }
}

/// Neither reader makes anything of an access token and an ID token that were made so.
async fn nobody_reads(login: &Login, access: &str, id: &str, what: &str) {
    assert_eq!(user_info(login, access).await, Err(BearerRefusal::InvalidToken), "{what}");
    assert!(!is_active(login, access).await, "{what}: introspection");
    assert_unauthenticated(&caller(login.f.core(), login.f.environment(), access).await, what);
    assert!(!is_hint(login, id).await, "{what}: the hint of a logout");
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn mistake_14_only_headers_that_we_write_are_believed_where_users_tokens_are_read(db: TestDb) {
        let login = login_on(db).await;
        let (core, env) = (login.f.core(), login.f.env());
        let issued = login.tokens("openid email").await;
        let id_token = issued.id_token.clone().unwrap();
        let kid = segment(&id_token, 0)["kid"].as_str().unwrap().to_owned();
        let (access, id) = (claims(&issued.access_token).to_string(), claims(&id_token).to_string());
        for header in [
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "jku": "https://evil.example/keys"}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "x5u": "https://evil.example/cert"}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "crit": ["exp"]}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "b64": false, "crit": ["b64"]}),
            json!({"alg": "RS256", "kid": kid, "typ": "logout+jwt"}),
            json!({"alg": "RS256", "kid": kid}),
            json!({"alg": "RS256", "typ": "JWT"}),
            json!({"alg": "RS256", "kid": "snk_1", "typ": "JWT"}),
            json!({"alg": "RS256", "kid": "../../keys", "typ": "JWT"}),
            json!({"alg": "HS256", "kid": kid, "typ": "JWT"}),
            json!({"alg": "PS256", "kid": kid, "typ": "JWT"}),
            json!({"alg": "none", "kid": kid, "typ": "JWT"}),
        ] {
            let header = header.to_string();
            let forged = sign_raw(core, env, Some(&header), &access).await.unwrap();
            let hint = sign_raw(core, env, Some(&header), &id).await.unwrap();
            nobody_reads(&login, &forged, &hint, &header).await;
            let unsigned = |token: &str| format!("{}.", token.rsplit_once('.').unwrap().0);
            nobody_reads(&login, &unsigned(&forged), &unsigned(&hint), &format!("{header}, unsigned")).await;
        }
        assert_eq!(user_info(&login, &issued.access_token).await, Ok(()), "the real ones are read");
        assert!(is_active(&login, &issued.access_token).await && is_hint(&login, &id_token).await);
    }

    async fn mistake_14_keys_issuers_and_kinds_of_others_are_nothing_where_users_tokens_are_read(db: TestDb) {
        let login = login_on(db).await;
        let (core, env, prd) = (login.f.core(), login.f.env(), login.f.node.prd.id);
        let issued = login.tokens("openid email").await;
        let id_token = issued.id_token.clone().unwrap();
        let (access, id) = (claims(&issued.access_token), claims(&id_token));
        let with = |said: &Value, name: &str, value: Value| {
            let mut said = said.clone();
            said[name] = value;
            said.to_string()
        };
        // Another environment's key, under its own `kid` and under ours.
        let kid = segment(&id_token, 0)["kid"].clone();
        for header in [None, Some(json!({"alg": "RS256", "kid": kid, "typ": "JWT"}).to_string())] {
            let forged = sign_raw(core, prd, header.as_deref(), &access.to_string()).await.unwrap();
            let hint = sign_raw(core, prd, header.as_deref(), &id.to_string()).await.unwrap();
            nobody_reads(&login, &forged, &hint, "another environment's key").await;
        }
        for issuer in ["https://prd.test", "http://dev.test", "https://dev.test/", "https://dev.test.evil.example", ""] {
            let forged = sign_raw(core, env, None, &with(&access, "iss", json!(issuer))).await.unwrap();
            let hint = sign_raw(core, env, None, &with(&id, "iss", json!(issuer))).await.unwrap();
            nobody_reads(&login, &forged, &hint, issuer).await;
        }
        // One kind in the place of the other (mistake 2).
        nobody_reads(&login, &id_token, &issued.access_token, "the other kind").await;
        let late = sign_raw(core, env, None, &with(&access, "exp", json!(1_000))).await.unwrap();
        assert_eq!(user_info(&login, &late).await, Err(BearerRefusal::InvalidToken), "run out");
        assert!(!is_active(&login, &late).await);
        for (name, value) in [("sub", json!("usr_1")), ("sid", json!("ses_1")), ("sid", json!(7)), ("sub", json!(["usr_1"]))] {
            let forged = sign_raw(core, env, None, &with(&access, name, value.clone())).await.unwrap();
            assert_eq!(user_info(&login, &forged).await, Err(BearerRefusal::InvalidToken), "{name} {value}");
            assert!(!is_active(&login, &forged).await, "{name} {value}");
        }
        assert_eq!(user_info(&login, &issued.access_token).await, Ok(()));
        assert!(is_hint(&login, &id_token).await);
        // A key that is withdrawn takes all that it has signed with it.
        let key = SigningKeyId::parse(kid.as_str().unwrap()).unwrap();
        keys::withdraw(core, env, key).await.unwrap();
        nobody_reads(&login, &issued.access_token, &id_token, "a withdrawn key").await;
    }
}
