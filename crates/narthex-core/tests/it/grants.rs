//! Codes and refresh tokens: who gets tokens for them, how often, and until when.

use std::time::Duration;

use narthex_core::clients::{self, ClientKind, NewClient, SecretStatus};
use narthex_core::environments::EnvironmentKind;
use narthex_core::grants::{self, Subject};
use narthex_core::ids::{ClientSecretId, EnvId};
use narthex_core::memberships;
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, Description};
use narthex_core::tokens::OAuthCode;
use narthex_core::users::Identity;
use narthex_core::{Core, jobs};
use narthex_db::p;

use crate::logins::{
    CHALLENGE, Credentials, DAY, Login, REDIRECT, VERIFIER, assert_invalid_grant, client, open, refusal, s256,
};
use crate::node::{assert_unauthenticated, caller};
use crate::people::{Rival, postgres_database, until_it_waits};

/// What is kept of codes and tokens.
type Secrets = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// The number of grants for which a condition holds.
async fn grants_where(core: &Core, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM grants WHERE {condition}");
    core.db.read(async move |tx| tx.one::<(i64,)>(&sql, &[]).await).await.expect("a number").0
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oauth_04_a_code_is_exchanged_for_tokens_and_for_a_refresh_token_only_with_offline_access(db: TestDb) {
        let login = Login::on(db).await;
        let issued = login.tokens("openid profile email").await;
        assert_eq!((issued.scope.as_str(), issued.refresh_token), ("openid profile email", None));
        assert!(issued.id_token.is_some() && (298..=300).contains(&issued.expires_in), "{}", issued.expires_in);
        assert!(caller(login.f.core(), login.f.environment(), &issued.access_token).await.is_ok());

        let issued = login.tokens("openid offline_access").await;
        assert!(issued.refresh_token.unwrap().starts_with("rt_"));
        assert_eq!(issued.scope, "openid offline_access");
        assert_eq!(login.tokens("profile").await.id_token, None, "openid was not granted");

        let entered = sessions::of_browser(login.f.core(), login.f.env(), login.session, None).await.unwrap().clients;
        assert_eq!(entered.len(), 1, "once, however often: {entered:?}");
        assert_eq!((&entered[0].client_id, &entered[0].organization_id), (&login.app.client_id, &login.acme.to_string()));
    }

    async fn oauth_05_a_code_lives_ten_minutes(db: TestDb) {
        let login = Login::on(db).await;
        let (early, late) = (login.code(&login.authorization("openid")).await, login.code(&login.authorization("openid")).await);
        login.f.core().clock.advance(Duration::from_secs(599));
        assert!(login.exchange(&early).await.is_ok());
        login.f.core().clock.advance(SECOND);
        assert_invalid_grant(login.exchange(&late).await, "ten minutes old");
    }

    async fn oauth_05_mistake_01_a_code_that_is_used_twice_ends_what_the_first_use_has_brought(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let code = login.code(&login.authorization("openid offline_access")).await;
        let first = login.exchange(&code).await.unwrap();
        let other = login.tokens("openid offline_access").await;
        assert!(caller(core, environment, &first.access_token).await.is_ok());
        assert_invalid_grant(login.exchange(&code).await, "used before");
        assert_eq!(grants_where(core, "revoked_at IS NOT NULL").await, 1, "the refusal has left its trace");
        assert_invalid_grant(login.refresh(&first.refresh_token.unwrap()).await, "its refresh token");
        assert_unauthenticated(&caller(core, environment, &first.access_token).await, "its access token");
        assert!(login.refresh(&other.refresh_token.unwrap()).await.is_ok(), "another login of the same session goes on");
        assert!(caller(core, environment, &other.access_token).await.is_ok());
        assert_invalid_grant(login.exchange(&code).await, "and again");
    }

    async fn oauth_05_a_code_is_good_for_one_attempt_even_if_that_fails(db: TestDb) {
        let login = Login::on(db).await;
        let other = client(&login.f, ClientKind::WebApp).await;
        let wrong_secret = Credentials { secret: Some("wrong".into()), ..login.app.clone() };

        let code = login.code(&login.authorization("openid")).await;
        assert_eq!(refusal(login.exchange_with(&wrong_secret, &code, REDIRECT, None).await), OAuthCode::InvalidClient);
        assert!(login.exchange(&code).await.is_ok(), "who is not the client has made no attempt");

        let code = login.code(&login.authorization("openid")).await;
        assert_invalid_grant(login.exchange_with(&other, &code, REDIRECT, None).await, "another client's code");
        assert_invalid_grant(login.exchange(&code).await, "somebody else had it");
        assert_eq!(grants_where(login.f.core(), "denied = 1 AND attempt IS NOT NULL").await, 1, "the trace");
    }

    async fn oauth_06_another_redirect_uri_than_that_of_the_authorization_request_is_refused(db: TestDb) {
        let login = Login::on(db).await;
        for (uri, expected) in [
            ("https://app.example/callback/", OAuthCode::InvalidGrant),
            ("https://app.example/Callback", OAuthCode::InvalidGrant),
            ("http://app.example/callback", OAuthCode::InvalidGrant),
            ("https://app.example/callback?x=1", OAuthCode::InvalidGrant),
            ("", OAuthCode::InvalidRequest),
        ] {
            let code = login.code(&login.authorization("openid")).await;
            assert_eq!(refusal(login.exchange_with(&login.app, &code, uri, None).await), expected, "{uri}");
        }
    }

    async fn oauth_07_pkce_is_verified_with_s256_and_cannot_be_left_out_or_added(db: TestDb) {
        let login = Login::on(db).await;
        assert_eq!(s256(VERIFIER), CHALLENGE);
        let challenged = |challenge: Option<&str>| {
            let mut authorization = login.authorization("openid");
            authorization.code_challenge = challenge.map(str::to_owned);
            authorization
        };
        let short = "a".repeat(42);
        let (long, just, odd) = ("a".repeat(129), "~".repeat(128), format!("{}+", "a".repeat(43)));
        let (of_short, of_long, of_just, of_odd) = (s256(&short), s256(&long), s256(&just), s256(&odd));
        for (what, challenge, verifier, good) in [
            ("the right one", Some(CHALLENGE), Some(VERIFIER), true),
            ("128 characters", Some(of_just.as_str()), Some(just.as_str()), true),
            ("another", Some(CHALLENGE), Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX"), false),
            ("none", Some(CHALLENGE), None, false),
            ("the challenge itself", Some(CHALLENGE), Some(CHALLENGE), false),
            ("taken out of the authorization request", None, Some(VERIFIER), false),
            ("too short", Some(of_short.as_str()), Some(short.as_str()), false),
            ("too long", Some(of_long.as_str()), Some(long.as_str()), false),
            ("a character that is not allowed", Some(of_odd.as_str()), Some(odd.as_str()), false),
            ("plain", Some(VERIFIER), Some(VERIFIER), false),
            ("neither", None, None, true),
        ] {
            let code = login.code(&challenged(challenge)).await;
            let outcome = login.exchange_with(&login.app, &code, REDIRECT, verifier).await;
            if good {
                assert!(outcome.is_ok(), "{what}");
            } else {
                assert_invalid_grant(outcome, what);
                let again = login.exchange_with(&login.app, &code, REDIRECT, Some(VERIFIER)).await;
                assert_invalid_grant(again, "a code is good for one guess");
            }
        }
    }

    async fn oauth_07_oauth_11_clients_without_a_secret_must_use_pkce(db: TestDb) {
        let login = Login::on(db).await;
        for kind in [ClientKind::Spa, ClientKind::Native] {
            let public = client(&login.f, kind).await;
            let mut authorization = login.of(&public.client_id, "openid offline_access");
            let code = login.code(&authorization).await;
            assert_invalid_grant(login.exchange_with(&public, &code, REDIRECT, None).await, "no PKCE");
            authorization.code_challenge = Some(CHALLENGE.into());
            let code = login.code(&authorization).await;
            let issued = login.exchange_with(&public, &code, REDIRECT, Some(VERIFIER)).await.expect("tokens");
            let refreshed = login.refresh_with(&public, &issued.refresh_token.unwrap(), None).await.expect("tokens");
            assert!(refreshed.refresh_token.is_some() && refreshed.id_token.is_some());
            let with_secret = Credentials { secret: Some("made up".into()), ..public };
            let refused = login.refresh_with(&with_secret, &refreshed.refresh_token.unwrap(), None).await;
            assert_eq!(refusal(refused), OAuthCode::InvalidClient);
        }
    }

    async fn oauth_07_pkce_that_a_client_enforces_cannot_be_left_out(db: TestDb) {
        let login = Login::on(db).await;
        let settings = clients::applications::Settings { enforce_pkce: Some(true), ..clients::applications::Settings::default() };
        let code = login.code(&login.authorization("openid")).await;
        clients::applications::update(login.f.core(), login.f.environment(), &login.app.client_id, settings).await.unwrap();
        assert_invalid_grant(login.exchange(&code).await, "enforced since");
    }

    async fn a_client_whose_only_secret_has_run_out_must_use_pkce(db: TestDb) {
        let login = Login::on(db).await;
        let node = &login.f.node;
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let plain = [("client_id", &*login.app.client_id), ("redirect_uri", REDIRECT), ("response_type", "code")].map(pair);
        let with_pkce = [&plain[..], &[("code_challenge", CHALLENGE), ("code_challenge_method", "S256")].map(pair)].concat();
        let is_read = async |params: &[(String, String)]| {
            let params = narthex_core::login::Params(params);
            narthex_core::login::read(login.f.core(), login.f.environment(), None, &params).await.unwrap().is_ok()
        };
        let in_an_hour = node.clock.now().plus(60 * MINUTE).0;
        node.db
            .write(async move |tx| {
                tx.execute("UPDATE client_secrets SET expires_at = $1", &p![in_an_hour]).await?;
                narthex_core::cache::bump(tx, narthex_core::cache::CLIENTS).await
            })
            .await
            .map(|bump| node.caches.apply(bump))
            .unwrap();
        assert!(is_read(&plain).await, "its secret still counts");
        node.clock.advance(60 * MINUTE);
        assert!(!is_read(&plain).await, "the code would be worth tokens to whoever has it");
        assert!(is_read(&with_pkce).await);
    }

    async fn oauth_11_who_has_a_secret_must_show_it_unless_nobody_could_know_it(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment().clone());
        let bare = |client_id: &str| Credentials { client_id: client_id.to_owned(), secret: None };
        let attempt = async |client: &Credentials| {
            let mut authorization = login.of(&client.client_id, "openid");
            authorization.code_challenge = Some(CHALLENGE.into());
            let code = login.code(&authorization).await;
            login.exchange_with(client, &code, REDIRECT, Some(VERIFIER)).await
        };
        assert_eq!(refusal(attempt(&bare(&login.app.client_id)).await), OAuthCode::InvalidClient, "it has a secret");
        let record: ClientSecretId = clients::read(core, environment.id, &login.app.client_id).await.unwrap().secrets[0].id;
        clients::set_secret_status(core, environment.id, &login.app.client_id, record, SecretStatus::Inactive).await.unwrap();
        assert!(attempt(&bare(&login.app.client_id)).await.is_ok(), "none that counts");
        assert_eq!(refusal(attempt(&login.app).await), OAuthCode::InvalidClient, "inactive");

        let default = bare(&login.f.node.dev_client.client_id);
        assert!(attempt(&default).await.is_ok(), "the default client of a DEV environment");
        let production = bare(&login.f.node.prd_client.client_id);
        let request = grants::CodeExchange {
            client: crate::logins::presented(&production),
            code: narthex_core::seal::Secret::new("x".into()),
            redirect_uri: REDIRECT.into(),
            code_verifier: None,
            resource: None,
        };
        let refused = grants::exchange(core, &login.f.node.prd, request).await;
        assert_eq!(refusal(refused), OAuthCode::InvalidClient, "that of a PRD environment");
        clients::set_enabled(core, environment.id, &login.app.client_id, false).await.unwrap();
        assert_eq!(refusal(attempt(&bare(&login.app.client_id)).await), OAuthCode::InvalidClient, "disabled");
        for nobody in ["", "webc_1"] {
            assert_ne!(refusal(attempt(&bare(nobody)).await), OAuthCode::InvalidGrant, "{nobody}");
        }
    }

    async fn oauth_08_a_refresh_token_is_replaced_at_each_use_and_the_old_one_ends_them_all(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let first = login.refresh_token().await;
        let second = login.refresh(&first).await.expect("tokens");
        assert!(second.id_token.is_some() && second.scope == "openid offline_access");
        let access = second.access_token;
        let second = second.refresh_token.expect("always one");
        assert_ne!(first, second);
        core.clock.advance(11 * SECOND);
        let third = login.refresh(&second).await.unwrap().refresh_token.unwrap();
        assert!(caller(core, environment, &access).await.is_ok());
        assert_eq!(grants_where(core, "revoked_at IS NOT NULL").await, 0);
        assert_invalid_grant(login.refresh(&first).await, "a copy of one that was used");
        assert_eq!(grants_where(core, "revoked_at IS NOT NULL").await, 1, "mistake 1: the refusal keeps its trace");
        assert_invalid_grant(login.refresh(&third).await, "the family is over");
        assert_unauthenticated(&caller(core, environment, &access).await, "and what came of it");
    }

    async fn oauth_08_the_same_use_within_ten_seconds_gets_the_same_successor(db: TestDb) {
        let login = Login::on(db).await;
        let core = login.f.core();
        let first = login.refresh_token().await;
        let second = login.refresh(&first).await.unwrap().refresh_token.unwrap();
        core.clock.advance(9 * SECOND);
        let twin = login.refresh(&first).await.expect("the answer may have been lost").refresh_token.unwrap();
        assert_eq!(twin, second, "one chain goes on, not two");
        let third = login.refresh(&twin).await.unwrap().refresh_token.unwrap();
        core.clock.advance(10 * SECOND);
        assert_invalid_grant(login.refresh(&second).await, "ten seconds after it was replaced");
        assert_invalid_grant(login.refresh(&third).await, "which has ended the family");
    }

    async fn oauth_08_nothing_but_some_of_the_granted_scopes_can_be_asked_for(db: TestDb) {
        let login = Login::on(db).await;
        let token = login.tokens("openid profile email offline_access").await.refresh_token.unwrap();
        let narrow = login.refresh_with(&login.app, &token, Some("profile")).await.unwrap();
        assert_eq!((narrow.scope.as_str(), &narrow.id_token), ("profile", &None));
        let whole = login.refresh(&narrow.refresh_token.unwrap()).await.unwrap();
        assert_eq!(whole.scope, "openid profile email offline_access", "the grant is what it was");
        let token = whole.refresh_token.unwrap();
        for more in ["openid phone", "Profile", "openid offline_access admin"] {
            assert_eq!(refusal(login.refresh_with(&login.app, &token, Some(more)).await), OAuthCode::InvalidScope, "{more}");
        }
        assert!(login.refresh(&token).await.is_ok(), "it was not used up by that");
    }

    async fn oauth_08_a_refresh_token_belongs_to_its_client_and_environment(db: TestDb) {
        let login = Login::on(db).await;
        let other = client(&login.f, ClientKind::WebApp).await;
        let token = login.refresh_token().await;
        assert_invalid_grant(login.refresh_with(&other, &token, None).await, "another client");
        let prd = &login.f.node.prd_client;
        let request = grants::Refresh {
            client: crate::logins::presented(&Credentials {
                client_id: prd.client_id.clone(),
                secret: Some(prd.secret.expose().clone()),
            }),
            token: narthex_core::seal::Secret::new(token.clone()),
            scope: None,
            resource: None,
        };
        assert_invalid_grant(grants::refresh(login.f.core(), &login.f.node.prd, request).await, "another environment");
        for made_up in ["rt_", "rt_x", &format!("rt_{}", "a".repeat(65)), &token[3..], &format!("{token}x")] {
            assert_invalid_grant(login.refresh(made_up).await, made_up);
        }
        assert_eq!(refusal(login.refresh("").await), OAuthCode::InvalidRequest);
        assert!(login.refresh(&token).await.is_ok(), "none of that has ended it");
        let forged = format!("{}{}", &token[..25], "A".repeat(43));
        assert_invalid_grant(login.refresh(&forged).await, "who knows the shared part has had a token of the family");
        assert_eq!(grants_where(login.f.core(), "revoked_at IS NOT NULL").await, 1);
    }

    async fn app_08_oauth_09_mistake_10_no_refresh_after_the_session_the_user_the_membership_or_the_client_has_gone(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment().clone());
        let (acme, by, env) = (login.acme, login.f.by.clone(), environment.id);

        let token = login.refresh_token().await;
        sessions::end(core, env, &by, login.session, None).await.unwrap();
        assert_invalid_grant(login.refresh(&token).await, "revoked");

        let again = async |email: &str| {
            let user = login.f.member(acme, email).await.user.id;
            let session = open(&login.f, user, acme).await;
            let mut authorization = login.authorization("openid offline_access");
            authorization.subject = Subject::User { user, organization: Some(acme), session };
            let code = login.code(&authorization).await;
            (user, session, login.exchange(&code).await.expect("tokens").refresh_token.unwrap())
        };
        let (bob, _, token) = again("bob@example.com").await;
        memberships::remove(core, env, &by, acme, Identity::Id(bob), false).await.unwrap();
        assert_invalid_grant(login.refresh(&token).await, "no member any more");

        let (eve, _, token) = again("eve@example.com").await;
        core.db
            .write(async move |tx| tx.execute("UPDATE memberships SET state = 2 WHERE user_id = $1", &p![eve]).await)
            .await
            .unwrap();
        assert_invalid_grant(login.refresh(&token).await, "put aside by a directory");

        let (dan, _, token) = again("dan@example.com").await;
        login.f.delete(Identity::Id(dan)).await.unwrap();
        assert_invalid_grant(login.refresh(&token).await, "deleted");

        let (_, _, token) = again("kim@example.com").await;
        clients::set_enabled(core, env, &login.app.client_id, false).await.unwrap();
        assert_eq!(refusal(login.refresh(&token).await), OAuthCode::InvalidClient, "disabled application");
        clients::set_enabled(core, env, &login.app.client_id, true).await.unwrap();
        assert!(login.refresh(&token).await.is_ok());

        let (_, _, token) = again("lea@example.com").await;
        clients::applications::delete(core, env, &login.app.client_id).await.unwrap();
        assert_eq!(refusal(login.refresh(&token).await), OAuthCode::InvalidClient, "deleted application");
        let new = NewClient { client_id: Some(login.app.client_id.clone()), ..NewClient::new(ClientKind::WebApp, "Another") };
        clients::create(core, env, EnvironmentKind::Dev, new).await.unwrap();
        let reborn = Credentials { secret: None, ..login.app.clone() };
        assert_invalid_grant(login.refresh_with(&reborn, &token, None).await, "another client of the same id");
    }

    async fn oauth_09_a_refresh_token_ends_with_its_session_by_either_clock(db: TestDb) {
        let login = Login::on(db).await;
        let core = login.f.core();
        let token = login.refresh_token().await;
        let (session, now) = (login.session, core.clock.now());
        let idle = now.plus(60 * MINUTE);
        let description = Description { idle_expires_at: Some(idle), last_active_at: Some(now), ..Description::default() };
        core.db.write(async move |tx| sessions::describe(tx, session, &description, now).await).await.unwrap();
        let mut token = token;
        for _ in 0..3 {
            core.clock.advance(50 * MINUTE);
            token = login.refresh(&token).await.expect("OP-9: each refresh is a use").refresh_token.unwrap();
        }
        let shown = sessions::of_browser(core, login.f.env(), session, None).await.unwrap();
        let used = shown.last_active_at;
        assert!(used.0 - now.0 >= i64::try_from((150 * MINUTE).as_micros()).unwrap());
        let left = shown.idle_expires_at.unwrap().0 - used.0;
        assert_eq!(left, i64::try_from((60 * MINUTE).as_micros()).unwrap(), "an hour from the last use");
        core.clock.advance(61 * MINUTE);
        assert_invalid_grant(login.refresh(&token).await, "idle for too long");

        let next = Login { session: open(&login.f, login.ann, login.acme).await, ..login };
        let token = next.refresh_token().await;
        next.f.core().clock.advance(30 * DAY);
        assert_invalid_grant(next.refresh(&token).await, "thirty days are over");
    }

    async fn oauth_09_a_code_is_worth_nothing_after_its_session_has_ended(db: TestDb) {
        let login = Login::on(db).await;
        let code = login.code(&login.authorization("openid")).await;
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert_invalid_grant(login.exchange(&code).await, "signed out meanwhile");
    }

    async fn the_client_must_have_been_given_the_grant(db: TestDb) {
        let login = Login::on(db).await;
        let token = login.refresh_token().await;
        let code = login.code(&login.authorization("openid")).await;
        let settings = clients::applications::Settings {
            grant_types: Some(vec!["client_credentials".into()]),
            ..clients::applications::Settings::default()
        };
        clients::applications::update(login.f.core(), login.f.environment(), &login.app.client_id, settings).await.unwrap();
        assert_eq!(refusal(login.exchange(&code).await), OAuthCode::UnauthorizedClient);
        assert_eq!(refusal(login.refresh(&token).await), OAuthCode::UnauthorizedClient);
        let code = login.code(&login.authorization("openid")).await;
        assert_invalid_grant_in(&login, EnvId(1), &code).await;
    }

    async fn mistake_15_neither_codes_nor_refresh_tokens_are_in_the_database(db: TestDb) {
        let login = Login::on(db).await;
        let code = login.code(&login.authorization("openid offline_access")).await;
        let first = login.exchange(&code).await.unwrap().refresh_token.unwrap();
        let second = login.refresh(&first).await.unwrap().refresh_token.unwrap();
        let dump = login.f.core().db.read(async |tx| tx.all::<(String,)>("SELECT authorized FROM grants", &[]).await).await.unwrap();
        let columns = "code_hash, family_hash, current_hash, previous_hash, salt";
        let sql = format!("SELECT {columns} FROM grants");
        let rows = login.f.core().db.read(async move |tx| tx.all::<Secrets>(&sql, &[]).await).await.unwrap();
        for secret in [&code, &first, &second] {
            assert!(dump.iter().all(|(text,)| !text.contains(secret.as_str())));
            for (a, b, c, d, e) in &rows {
                for bytes in [Some(a), b.as_ref(), c.as_ref(), d.as_ref(), e.as_ref()].into_iter().flatten() {
                    assert!(bytes.len() <= 32 && !secret.as_bytes().windows(bytes.len()).any(|part| part == bytes));
                }
            }
        }
    }

    async fn a_hundred_thousand_logins_leave_nothing_behind_once_they_are_swept(db: TestDb) {
        let login = Login::on(db).await;
        let (core, environment) = (login.f.core(), login.f.env());
        let size = async || match core.db.engine() {
            narthex_db::Engine::Sqlite => {
                let sql = "SELECT p.page_count - f.freelist_count FROM pragma_page_count p, pragma_freelist_count f";
                core.db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.unwrap().0
            }
            narthex_db::Engine::Postgres => grants_where(core, "TRUE").await,
        };
        let before = size().await;
        let rounds = if core.db.engine() == narthex_db::Engine::Sqlite { 200 } else { 20 };
        for _ in 0..rounds {
            let codes: Vec<grants::NewCode> = (0..500).map(|_| grants::NewCode::new(core)).collect();
            let (authorization, now) = (login.authorization("openid"), core.clock.now());
            core.db
                .write(async move |tx| {
                    for code in &codes {
                        grants::issue_code(tx, environment, &authorization, code, now).await?;
                    }
                    Ok::<_, narthex_core::Error>(())
                })
                .await
                .unwrap();
        }
        assert_eq!(grants_where(core, "TRUE").await, rounds * 500);
        core.clock.advance(11 * MINUTE);
        jobs::drain(core).await.unwrap();
        assert_eq!(grants_where(core, "TRUE").await, 0);
        let after = size().await;
        assert!(after <= before + before / 10 + 16, "{before} pages, then {after}");
    }
}

async fn assert_invalid_grant_in(login: &Login, environment: EnvId, code: &str) {
    assert_ne!(environment, login.f.env());
    let sql = "UPDATE grants SET environment_id = $1";
    login.f.core().db.write(async move |tx| tx.execute(sql, &p![environment]).await).await.unwrap();
    let settings =
        clients::applications::Settings { grant_types: Some(vec![]), ..clients::applications::Settings::default() };
    clients::applications::update(login.f.core(), login.f.environment(), &login.app.client_id, settings).await.unwrap();
    assert_invalid_grant(login.exchange(code).await, "another environment's code");
}

/// Two requests at once, on PostgreSQL: SQLite runs one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mistake_05_two_requests_with_one_code_get_tokens_once() {
    let Some(db) = postgres_database().await else { return };
    let url = db.options().url.clone();
    let login = std::sync::Arc::new(Login::on(db).await);
    let code = login.code(&login.authorization("openid offline_access")).await;
    // The rival has spent the code and not committed yet.
    let rival = Rival::begin(&url, "UPDATE grants SET attempt = 1").await;
    let other = {
        let (login, code) = (login.clone(), code.clone());
        tokio::spawn(async move { login.exchange(&code).await })
    };
    let other = until_it_waits(&url, other).await;
    rival.end("COMMIT").await;
    assert_invalid_grant(other.await.unwrap(), "the second");
    assert_eq!(grants_where(login.f.core(), "revoked_at IS NOT NULL").await, 1, "which ends what the first has got");

    let code = login.code(&login.authorization("openid offline_access")).await;
    let rival = Rival::begin(&url, "UPDATE grants SET attempt = 1 WHERE attempt IS NULL").await;
    let other = {
        let (login, code) = (login.clone(), code.clone());
        tokio::spawn(async move { login.exchange(&code).await })
    };
    let other = until_it_waits(&url, other).await;
    rival.end("ROLLBACK").await;
    assert!(other.await.unwrap().is_ok(), "the first did not happen");

    let code = login.code(&login.authorization("openid")).await;
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (login, code) = (login.clone(), code.clone());
            tokio::spawn(async move { login.exchange(&code).await.is_ok() })
        })
        .collect();
    let mut good = 0;
    for one in all {
        good += usize::from(one.await.unwrap());
    }
    assert!(good <= 1, "{good} of eight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mistake_05_two_requests_with_one_refresh_token_get_one_successor() {
    let Some(db) = postgres_database().await else { return };
    let url = db.options().url.clone();
    let login = std::sync::Arc::new(Login::on(db).await);
    let token = login.refresh_token().await;
    let all: Vec<_> = (0..6)
        .map(|_| {
            let (login, token) = (login.clone(), token.clone());
            tokio::spawn(async move { login.refresh(&token).await })
        })
        .collect();
    let mut successors = std::collections::BTreeSet::new();
    for one in all {
        successors.insert(one.await.unwrap().expect("within the grace").refresh_token.unwrap());
    }
    assert_eq!(successors.len(), 1, "{successors:?}");
    let token = successors.pop_first().unwrap();

    // A rival ends the family while the token is being used.
    let rival = Rival::begin(&url, "UPDATE grants SET revoked_at = 1").await;
    let other = {
        let (login, token) = (login.clone(), token.clone());
        tokio::spawn(async move { login.refresh(&token).await })
    };
    let other = until_it_waits(&url, other).await;
    rival.end("COMMIT").await;
    assert_invalid_grant(other.await.unwrap(), "ended meanwhile");

    // And one ends the session.
    let token = login.refresh_token().await;
    let rival = Rival::begin(&url, "UPDATE sessions SET revoked_at = 1").await;
    let other = {
        let (login, token) = (login.clone(), token.clone());
        tokio::spawn(async move { login.refresh(&token).await })
    };
    let other = until_it_waits(&url, other).await;
    rival.end("COMMIT").await;
    assert_invalid_grant(other.await.unwrap(), "signed out meanwhile");
}
