//! What tokens say: of users, of those whom a connection vouches for, to applications and to resources.

use std::collections::BTreeMap;
use std::time::Duration;

use narthex_core::clients::{self, ClientKind};
use narthex_core::grants::Subject;
use narthex_core::ids::ConnectionId;
use narthex_core::memberships;
use narthex_core::organizations::{self, OrganizationPatch, Patch};
use narthex_core::roles::Reference;
use narthex_core::schema::Schema;
use narthex_core::tokens;
use narthex_core::users::{self, Identity, ProfilePatch, UserPatch};
use narthex_db::p;
use serde_json::{Value, json};

use crate::logins::{Login, client};
use crate::node::{assert_denied, assert_unauthenticated, caller, claims, segment};
use crate::people::named;

/// The members of a JSON object.
fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

/// Gives Ann roles, by name.
async fn give(login: &Login, roles: &[&str]) {
    let (core, env, by) = (login.f.core(), login.f.env(), &login.f.by);
    let references: Vec<Reference> = named(roles);
    memberships::update(core, env, by, login.acme, Identity::Id(login.ann), references, BTreeMap::new())
        .await
        .expect("roles");
}

fn somebody(login: &Login) -> Subject {
    Subject::Connection {
        sub: "conn_77;00u1a2b3".to_owned(),
        email: "eve@example.com".to_owned(),
        email_verified: true,
        connection: ConnectionId(77),
        organization: Some(login.acme),
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oidc_01_an_id_token_has_the_claims_and_types_that_sdks_decode(db: TestDb) {
        let login = Login::on(db).await;
        let profile = ProfilePatch {
            name: Some("Ann Example".into()),
            given_name: Some("Ann".into()),
            family_name: Some("Example".into()),
            preferred_username: Some("ann".into()),
            picture: Some("https://example.com/a.png".into()),
            locale: Some("en-GB".into()),
            phone_number: Some("+44 20 7946 0000".into()),
            ..ProfilePatch::default()
        };
        let metadata = BTreeMap::from([("plan".to_owned(), "pro".to_owned())]);
        let patch = UserPatch { profile, metadata: Some(metadata), ..UserPatch::default() };
        let (core, env) = (login.f.core(), login.f.env());
        users::update(core, env, Identity::Id(login.ann), patch).await.unwrap();

        let issued = login.tokens("openid profile email").await;
        let token = issued.id_token.unwrap();
        assert_eq!(segment(&token, 0)["alg"], "RS256");
        let said = claims(&token);
        let client = login.app.client_id.as_str();
        assert_eq!(said["iss"], "https://dev.test");
        assert_eq!(said["sub"], login.ann.to_string());
        assert_eq!(said["aud"], json!([client]), "an array");
        assert_eq!((&said["azp"], &said["client_id"]), (&json!(client), &json!(client)));
        assert_eq!(said["amr"], json!(["conn_77"]), "Python takes the first for the connection");
        assert_eq!((&said["oid"], &said["sid"]), (&json!(login.acme.to_string()), &json!(login.session.to_string())));
        assert_eq!(said["nonce"], "n-0S6_WzA2Mj");
        let (iat, exp) = (said["iat"].as_i64().unwrap(), said["exp"].as_i64().unwrap());
        assert_eq!(exp - iat, 1_800);
        assert!(said["auth_time"].as_i64().unwrap() <= iat);
        for (claim, text) in [
            ("email", "ann@example.com"),
            ("name", "Ann Example"),
            ("given_name", "Ann"),
            ("family_name", "Example"),
            ("preferred_username", "ann"),
            ("picture", "https://example.com/a.png"),
            ("locale", "en-GB"),
            ("metadata", "{\"plan\":\"pro\"}"),
        ] {
            assert_eq!(said[claim], text, "{claim}");
        }
        assert_eq!(said["email_verified"], json!(true), "a boolean");
        assert!(said["updated_at"].as_str().unwrap().ends_with('Z'), "a text, for Go and Java");
        assert!(said.as_object().unwrap().values().all(|value| !value.is_null()));
        for absent in ["jti", "phone_number", "gender", "xoid", "xuid", "roles", "identities"] {
            assert_eq!(said.get(absent), None, "{absent}");
        }
        let little = claims(&login.tokens("openid").await.id_token.unwrap());
        assert_eq!((little.get("name"), &little["email"]), (None, &json!("ann@example.com")));
        let phone = claims(&login.tokens("openid phone").await.id_token.unwrap());
        assert_eq!((&phone["phone_number"], &phone["phone_number_verified"]), (&json!("+44 20 7946 0000"), &json!(false)));
    }

    async fn oidc_01_times_are_real_even_if_the_movable_clock_is_ahead(db: TestDb) {
        let login = Login::on(db).await;
        login.f.core().clock.advance(Duration::from_hours(24 * 3));
        let said = claims(&login.tokens("openid").await.id_token.unwrap());
        let now = login.f.core().clock.real_now().seconds();
        assert!(said["iat"].as_i64().unwrap() <= now && said["auth_time"].as_i64().unwrap() <= now);
    }

    async fn oidc_02_at_hash_and_c_hash_are_the_left_halves_of_sha_256(db: TestDb) {
        let login = Login::on(db).await;
        let code = login.code(&login.authorization("openid offline_access")).await;
        let first = login.exchange(&code).await.unwrap();
        let half = |text: &str| {
            use base64::Engine as _;
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
        };
        let said = claims(first.id_token.as_deref().unwrap());
        assert_eq!((&said["at_hash"], &said["c_hash"]), (&json!(half(&first.access_token)), &json!(half(&code))));
        let second = login.refresh(&first.refresh_token.unwrap()).await.unwrap();
        let said = claims(second.id_token.as_deref().unwrap());
        assert_eq!((&said["at_hash"], said.get("c_hash")), (&json!(half(&second.access_token)), None));
    }

    async fn tok_01_an_access_token_of_a_user_has_organization_session_roles_permissions_and_both_scopes(db: TestDb) {
        let login = Login::on(db).await;
        let issued = login.tokens("openid profile").await;
        let said = claims(&issued.access_token);
        let client = login.app.client_id.as_str();
        assert_eq!(
            members(&said),
            [
                "aud", "client_id", "exp", "grant_id", "iat", "iss", "jti", "nbf", "oid", "permissions", "roles", "scope", "scopes",
                "sid", "sub"
            ]
        );
        assert_eq!((&said["aud"], &said["client_id"]), (&json!([client]), &json!(client)));
        assert_eq!((&said["scope"], &said["scopes"]), (&json!("openid profile"), &json!(["openid", "profile"])));
        assert_eq!((&said["oid"], &said["sid"]), (&json!(login.acme.to_string()), &json!(login.session.to_string())));
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 300);
        assert!(said["jti"].as_str().unwrap().starts_with("tkn_") && said["roles"].is_array() && said["permissions"].is_array());
        let without = claims(&login.tokens("").await.access_token);
        assert_eq!((&without["scope"], &without["scopes"]), (&json!(""), &json!([])), "Go refuses a token without scope");
    }

    async fn rbac_16_mistake_10_roles_and_permissions_are_those_of_the_moment(db: TestDb) {
        let login = Login::on(db).await;
        let (core, env) = (login.f.core(), login.f.env());
        for name in ["viewer", "editor"] {
            login.f.role(name).await;
        }
        for name in ["doc:read", "doc:write"] {
            narthex_core::permissions::create(core, env, &login.f.by, name.into(), name.into(), None).await.unwrap();
        }
        let scope = narthex_core::roles::Scope::Environment;
        narthex_core::roles::add_permissions(core, env, &login.f.by, "viewer".into(), vec!["doc:read".into()]).await.unwrap();
        narthex_core::roles::add_permissions(core, env, &login.f.by, "editor".into(), vec!["doc:write".into()]).await.unwrap();
        let base = narthex_core::roles::RolePatch { base: Some("viewer".into()), ..Default::default() };
        narthex_core::roles::update(core, env, scope, &login.f.by, "editor".into(), base).await.unwrap();

        give(&login, &["editor"]).await;
        let issued = login.tokens("openid offline_access").await;
        let said = claims(&issued.access_token);
        assert_eq!((&said["roles"], &said["permissions"]), (&json!(["editor"]), &json!(["doc:read", "doc:write"])), "with those of its base");
        give(&login, &["viewer"]).await;
        let refreshed = login.refresh(&issued.refresh_token.unwrap()).await.unwrap();
        let said = claims(&refreshed.access_token);
        assert_eq!((&said["roles"], &said["permissions"]), (&json!(["viewer"]), &json!(["doc:read"])), "demoted since");
    }

    async fn tok_07_external_ids_are_in_both_tokens_when_they_are_set(db: TestDb) {
        let login = Login::on(db).await;
        let (core, env) = (login.f.core(), login.f.env());
        let patch = UserPatch { external_id: Patch::Set("u-1".into()), ..UserPatch::default() };
        users::update(core, env, Identity::Id(login.ann), patch).await.unwrap();
        let patch = OrganizationPatch { external_id: Patch::Set("o-1".into()), ..OrganizationPatch::default() };
        organizations::update(core, env, &login.f.by, organizations::Identity::Id(login.acme), patch).await.unwrap();
        let issued = login.tokens("openid").await;
        for token in [issued.access_token, issued.id_token.unwrap()] {
            let said = claims(&token);
            assert_eq!((&said["xuid"], &said["xoid"]), (&json!("u-1"), &json!("o-1")));
        }
    }

    async fn tok_08_access_tokens_live_as_the_environment_says_or_the_application(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment().clone());
        let env = environment.id;
        core.db
            .write(async move |tx| {
                tx.execute("UPDATE environments SET access_token_expiry = 7 WHERE id = $1", &p![env]).await?;
                narthex_core::cache::bump(tx, narthex_core::cache::ENVIRONMENTS).await
            })
            .await
            .map(|bump| core.caches.apply(bump))
            .unwrap();
        let now = narthex_core::environments::by_id(core, env).await.unwrap().unwrap();
        let lifetime = async |login: &Login| {
            let code = login.code(&login.authorization("openid")).await;
            let request = narthex_core::grants::CodeExchange {
                client: crate::logins::presented(&login.app),
                code: narthex_core::seal::Secret::new(code),
                redirect_uri: crate::logins::REDIRECT.into(),
                code_verifier: None,
                resource: None,
            };
            let issued = narthex_core::grants::exchange(core, &now, request).await.unwrap();
            let said = claims(&issued.access_token);
            assert!((0..=1).contains(&(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() - issued.expires_in)));
            said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap()
        };
        assert_eq!(lifetime(&login).await, 7 * 60);
        let settings = clients::applications::Settings { access_token_expiry: Some(900), ..Default::default() };
        clients::applications::update(core, &environment, &login.app.client_id, settings).await.unwrap();
        assert_eq!(lifetime(&login).await, 900);
    }

    async fn tok_02_mistake_02_without_sessions_tokens_say_who_a_connection_vouches_for_and_are_no_callers(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let mut authorization = login.authorization("openid profile email offline_access");
        authorization.subject = somebody(&login);
        let code = login.code(&authorization).await;
        let issued = login.exchange(&code).await.unwrap();
        assert_eq!(issued.refresh_token, None, "OP-29: there is no session to bind one to");
        assert_eq!(issued.scope, "openid profile email");
        let access = claims(&issued.access_token);
        assert_eq!(
            members(&access),
            ["aud", "client_id", "exp", "grant_id", "iat", "iss", "jti", "nbf", "scope", "scopes", "sub"]
        );
        assert_eq!(access["sub"], "conn_77;00u1a2b3");
        assert_eq!(access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(), 900);
        let id = claims(issued.id_token.as_deref().unwrap());
        assert_eq!((&id["sub"], &id["oid"], id.get("sid")), (&json!("conn_77;00u1a2b3"), &json!(login.acme.to_string()), None));
        assert_eq!((&id["email"], &id["email_verified"], &id["amr"]), (&json!("eve@example.com"), &json!(true), &json!(["conn_77"])));
        assert_eq!(id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(), 259_200);
        assert_denied(&caller(core, environment, &issued.access_token).await, "good for the customer's API alone");
        assert_unauthenticated(&caller(core, environment, &issued.id_token.unwrap()).await, "an ID token is no bearer");
    }

    async fn mistake_02_a_subject_that_looks_like_a_client_is_none(db: TestDb) {
        let login = Login::on(db).await;
        for client_id in [login.app.client_id.clone(), login.f.node.dev_client.client_id.clone()] {
            let mut authorization = login.authorization("openid");
            authorization.subject = match somebody(&login) {
                Subject::Connection { email, email_verified, connection, organization, .. } => {
                    Subject::Connection { sub: client_id.clone(), email, email_verified, connection, organization }
                }
                other @ Subject::User { .. } => other,
            };
            let code = login.code(&authorization).await;
            let token = login.exchange(&code).await.unwrap().access_token;
            assert_denied(&caller(login.f.core(), login.f.environment(), &token).await, &client_id);
        }
    }

    async fn mistake_02_a_users_access_token_acts_where_its_own_application_may_and_id_tokens_nowhere(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let spa = client(&login.f, ClientKind::Spa).await;
        let mut authorization = login.of(&spa.client_id, "openid");
        authorization.code_challenge = Some(crate::logins::CHALLENGE.into());
        let code = login.code(&authorization).await;
        let issued = login.exchange_with(&spa, &code, crate::logins::REDIRECT, Some(crate::logins::VERIFIER)).await.unwrap();
        let found = caller(core, environment, &issued.access_token).await.unwrap();
        assert_eq!(found.kind_name(), "user");
        assert_unauthenticated(&caller(core, environment, issued.id_token.as_deref().unwrap()).await, "ID token");
        let elsewhere = tokens::authenticate(core, &login.f.node.prd, &[&issued.access_token], None).await.map(|(caller, _)| caller);
        assert_unauthenticated(&elsewhere, "another environment");
    }
}
