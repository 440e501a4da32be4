//! How sessions end, and who is told: logout by the user, expiry without traffic, back-channel logout.

use std::sync::Arc;
use std::time::Duration;

use narthex_core::clients::{self, ClientKind};
use narthex_core::events::Actor;
use narthex_core::grants::{self, LoggedOut, Logout};
use narthex_core::ids::SessionId;
use narthex_core::jobs;
use narthex_core::memberships;
use narthex_core::organizations;
use narthex_core::outbound::Request;
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, Description, Session, Status};
use narthex_core::testing::sign_raw;
use narthex_core::users::Identity;
use serde_json::{Value, json};

use crate::logins::{DAY, Login, assert_invalid_grant, client, open};
use crate::node::{assert_unauthenticated, caller, claims, segment};

const HOUR: Duration = Duration::from_hours(1);
const BYE: &str = "https://app.example/bye";

async fn set(login: &Login, client_id: &str, settings: clients::applications::Settings) {
    clients::applications::update(login.f.core(), login.f.environment(), client_id, settings).await.expect("settings");
}

/// Says where the application's users go after a logout, and where it wants to be told of one.
async fn prepare(login: &Login) {
    let settings = clients::applications::Settings {
        post_logout_redirect_uris: Some(vec![BYE.into(), "https://{{org_slug}}.app.example/bye".into()]),
        back_channel_logout_uris: Some(vec!["https://app.example/backchannel".into()]),
        ..Default::default()
    };
    set(login, &login.app.client_id, settings).await;
}

async fn session(login: &Login) -> Arc<Session> {
    sessions::get(login.f.core(), login.f.env(), login.session).await.unwrap().unwrap()
}

async fn log_out(login: &Login, request: Logout) -> LoggedOut {
    grants::log_out(login.f.core(), login.f.environment(), request).await.expect("a database")
}

async fn status(login: &Login, id: SessionId) -> Status {
    sessions::of_browser(login.f.core(), login.f.env(), id, None).await.expect("the session").status
}

/// The notices that were sent since, after all jobs have run.
async fn notices(login: &Login, before: usize) -> Vec<Request> {
    jobs::drain(login.f.core()).await.expect("jobs");
    login.f.node.calls.sent().split_off(before)
}

/// The claims of a notice.
fn told(request: &Request) -> Value {
    let body = String::from_utf8(request.body.clone()).expect("a form");
    claims(body.strip_prefix("logout_token=").expect("one field"))
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oidc_06_a_logout_ends_the_session_and_all_refresh_tokens_and_leads_to_a_registered_address(db: TestDb) {
        let login = Login::on(db).await;
        prepare(&login).await;
        let issued = login.tokens("openid offline_access").await;
        let hint = issued.id_token.clone();
        let request = Logout {
            session: Some(session(&login).await),
            id_token_hint: hint.clone(),
            redirect_uri: Some(BYE.into()),
            state: Some("a b&c".into()),
            ..Logout::default()
        };
        assert_eq!(log_out(&login, request).await, LoggedOut::At(format!("{BYE}?state=a%20b%26c")));
        assert_eq!(status(&login, login.session).await, Status::LoggedOut);
        assert_invalid_grant(login.refresh(&issued.refresh_token.unwrap()).await, "logged out");
        assert_unauthenticated(&caller(login.f.core(), login.f.environment(), &issued.access_token).await, "logged out");
        assert_eq!(login.f.event_types().await.last().map(String::as_str), Some("logout"));
        let event: Value = serde_json::from_str(&login.f.events().await.last().unwrap().body).unwrap();
        assert_eq!(event["data"]["user_session"]["status"], "LOGOUT");
        assert!(event["data"]["user_session"]["logout_at"].is_string());
        // Again, without a session: the hint says whose address it is.
        let again = Logout { id_token_hint: hint, redirect_uri: Some(BYE.into()), ..Logout::default() };
        assert_eq!(log_out(&login, again).await, LoggedOut::At(BYE.into()));
    }

    async fn oidc_06_mistake_07_a_logout_leads_to_no_other_address_and_ends_the_session_all_the_same(db: TestDb) {
        let mut login = Login::on(db).await;
        prepare(&login).await;
        for uri in ["https://evil.example/", "https://app.example/bye/", "https://app.example/bye?x=1", "javascript:alert(1)", "//app.example/bye"] {
            login.session = open(&login.f, login.ann, login.acme).await;
            let hint = login.tokens("openid").await.id_token;
            let request = Logout {
                session: Some(session(&login).await),
                id_token_hint: hint,
                redirect_uri: Some(uri.into()),
                ..Logout::default()
            };
            assert!(matches!(log_out(&login, request).await, LoggedOut::Astray("invalid_redirect_uri", _)), "{uri}");
            assert_eq!(status(&login, login.session).await, Status::LoggedOut);
        }
    }

    async fn oidc_06_the_default_application_counts_without_a_hint_and_two_names_are_refused(db: TestDb) {
        let mut login = Login::on(db).await;
        prepare(&login).await;
        let here = async |login: &Login, redirect: &str, client_id: Option<&str>, hint: Option<String>| {
            let request = Logout {
                session: Some(session(login).await),
                redirect_uri: Some(redirect.into()),
                client_id: client_id.map(str::to_owned),
                id_token_hint: hint,
                ..Logout::default()
            };
            log_out(login, request).await
        };
        assert!(matches!(here(&login, BYE, None, None).await, LoggedOut::Astray("invalid_redirect_uri", _)), "not the default application's");
        login.session = open(&login.f, login.ann, login.acme).await;
        assert_eq!(here(&login, BYE, Some(&login.app.client_id), None).await, LoggedOut::At(BYE.into()), "it says who it is");
        login.session = open(&login.f, login.ann, login.acme).await;
        let hint = login.tokens("openid").await.id_token;
        let other = client(&login.f, ClientKind::WebApp).await;
        assert!(matches!(here(&login, BYE, Some(&other.client_id), hint).await, LoggedOut::Astray("invalid_client", _)));
        login.session = open(&login.f, login.ann, login.acme).await;
        assert!(matches!(here(&login, BYE, Some("webc_1"), None).await, LoggedOut::Astray("invalid_client", _)));
        assert_eq!(status(&login, login.session).await, Status::LoggedOut);
        // Without a session and a hint nobody has asked for anything.
        let nothing = Logout { client_id: Some(login.app.client_id.clone()), redirect_uri: Some(BYE.into()), ..Logout::default() };
        assert_eq!(log_out(&login, nothing).await, LoggedOut::Here(None));
    }

    async fn oidc_06_an_expired_hint_counts_and_other_tokens_do_not(db: TestDb) {
        let login = Login::on(db).await;
        prepare(&login).await;
        let issued = login.tokens("openid").await;
        let mut said = claims(issued.id_token.as_deref().unwrap());
        said["iat"] = json!(1_000);
        said["exp"] = json!(2_000);
        let core = login.f.core();
        let expired = sign_raw(core, login.f.env(), None, &said.to_string()).await.unwrap();
        let with = |hint: &str| Logout { id_token_hint: Some(hint.to_owned()), redirect_uri: Some(BYE.into()), ..Logout::default() };
        assert_eq!(log_out(&login, with(&expired)).await, LoggedOut::At(BYE.into()));
        said["iss"] = json!("https://prd.test");
        let foreign = sign_raw(core, login.f.env(), None, &said.to_string()).await.unwrap();
        let mut altered = expired.clone();
        altered.insert(altered.rfind('.').unwrap(), 'A');
        for (what, hint) in [("another issuer", foreign), ("altered", altered), ("an access token", issued.access_token), ("garbage", "x".into())] {
            assert_eq!(log_out(&login, with(&hint)).await, LoggedOut::Here(None), "{what}: as good as none");
        }
    }

    async fn oidc_06_an_address_with_a_placeholder_takes_the_organization_of_the_session(db: TestDb) {
        let mut login = Login::on(db).await;
        prepare(&login).await;
        let patch = organizations::OrganizationPatch { slug: organizations::Patch::Set("acme".into()), ..Default::default() };
        organizations::update(login.f.core(), login.f.env(), &login.f.by, organizations::Identity::Id(login.acme), patch).await.unwrap();
        let hint = login.tokens("openid").await.id_token;
        let to = |session, uri: &str| Logout { session, id_token_hint: hint.clone(), redirect_uri: Some(uri.into()), ..Logout::default() };
        let own = "https://acme.app.example/bye";
        assert_eq!(log_out(&login, to(Some(session(&login).await), own)).await, LoggedOut::At(own.into()));
        login.session = open(&login.f, login.ann, login.acme).await;
        let other = log_out(&login, to(Some(session(&login).await), "https://umbrella.app.example/bye")).await;
        assert!(matches!(other, LoggedOut::Astray("invalid_redirect_uri", _)));
        let late = log_out(&login, to(None, own)).await;
        assert!(matches!(late, LoggedOut::Astray("invalid_redirect_uri", _)), "the session has ended already");
    }

    async fn oidc_07_each_application_of_the_session_is_told_of_its_end(db: TestDb) {
        let login = Login::on(db).await;
        prepare(&login).await;
        let (second, spa) = (client(&login.f, ClientKind::WebApp).await, client(&login.f, ClientKind::Spa).await);
        let uris = vec!["https://two.example/a?tenant=1".to_owned(), "https://two.example/b".to_owned()];
        set(&login, &second.client_id, clients::applications::Settings { back_channel_logout_uris: Some(uris), ..Default::default() }).await;
        login.tokens("openid").await;
        for (other, challenge) in [(&second, None), (&spa, Some(crate::logins::CHALLENGE.to_owned()))] {
            let mut authorization = login.of(&other.client_id, "openid");
            let verifier = challenge.is_some().then_some(crate::logins::VERIFIER);
            authorization.code_challenge = challenge;
            let code = login.code(&authorization).await;
            login.exchange_with(other, &code, crate::logins::REDIRECT, verifier).await.expect("tokens");
        }
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        let mut sent = notices(&login, 0).await;
        sent.sort_by(|a, b| a.url.cmp(&b.url));
        let urls: Vec<&str> = sent.iter().map(|request| request.url.as_str()).collect();
        assert_eq!(urls, ["https://app.example/backchannel", "https://two.example/a?tenant=1", "https://two.example/b"]);
        for (request, audience) in sent.iter().zip([&login.app.client_id, &second.client_id, &second.client_id]) {
            assert_eq!((request.method, request.headers[0].1.as_str()), ("POST", "application/x-www-form-urlencoded"));
            let said = told(request);
            assert_eq!((&said["iss"], &said["aud"]), (&json!("https://dev.test"), &json!([audience])));
            assert_eq!((&said["sub"], &said["sid"]), (&json!(login.ann.to_string()), &json!(login.session.to_string())));
            assert_eq!(said["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
            assert_eq!(said.get("nonce"), None, "Back-Channel Logout §2.4 forbids it");
            assert!(said["iat"].is_i64() && said["exp"].is_i64() && said["jti"].is_string());
            let token = String::from_utf8(request.body.clone()).unwrap().replace("logout_token=", "");
            assert_eq!(segment(&token, 0)["alg"], "RS256");
            assert_unauthenticated(&caller(login.f.core(), login.f.environment(), &token).await, "mistake 2: a logout token is no bearer");
        }
        assert!(notices(&login, sent.len()).await.is_empty(), "once");
    }

    async fn oidc_07_an_application_that_does_not_answer_is_told_again(db: TestDb) {
        let login = Login::on(db).await;
        prepare(&login).await;
        login.tokens("openid").await;
        login.f.node.calls.answer(500);
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        assert_eq!(notices(&login, 0).await.len(), 1);
        login.f.core().clock.advance(Duration::from_secs(6));
        login.f.node.calls.answer(204);
        assert_eq!(notices(&login, 1).await.len(), 1);
        login.f.core().clock.advance(DAY);
        assert!(notices(&login, 2).await.is_empty(), "any 2xx will do");
    }

    async fn oidc_07_it_does_not_matter_how_a_session_ends(db: TestDb) {
        let mut login = Login::on(db).await;
        prepare(&login).await;
        let (core, env, by) = (login.f.core().clone(), login.f.env(), login.f.by.clone());
        let mut count = 0;
        let mut ended = async |login: &Login, how: &str| {
            let sent = notices(login, count).await;
            assert_eq!(sent.len(), 1, "{how}");
            assert_eq!(told(&sent[0])["sid"], login.session.to_string(), "{how}");
            count += 1;
        };
        login.tokens("openid").await;
        log_out(&login, Logout { session: Some(session(&login).await), ..Logout::default() }).await;
        ended(&login, "by the user").await;

        login.session = open(&login.f, login.ann, login.acme).await;
        login.tokens("openid").await;
        sessions::end_all(&core, env, &by, login.ann).await.unwrap();
        ended(&login, "by an administrator, with all others").await;

        login.session = open(&login.f, login.ann, login.acme).await;
        login.tokens("openid").await;
        core.clock.advance(31 * DAY);
        ended(&login, "by itself, without anybody asking").await;

        login.session = open(&login.f, login.ann, login.acme).await;
        login.tokens("openid").await;
        memberships::remove(&core, env, &by, login.acme, Identity::Id(login.ann), false).await.unwrap();
        ended(&login, "with the membership").await;

        login.ann = login.f.member(login.acme, "bob@example.com").await.user.id;
        login.session = open(&login.f, login.ann, login.acme).await;
        login.tokens("openid").await;
        login.f.delete(Identity::Id(login.ann)).await.unwrap();
        ended(&login, "with the user").await;

        login.ann = login.f.member(login.acme, "eve@example.com").await.user.id;
        login.session = open(&login.f, login.ann, login.acme).await;
        login.tokens("openid").await;
        organizations::delete(&core, env, &by, organizations::Identity::Id(login.acme)).await.unwrap();
        ended(&login, "with the organization").await;
    }

    async fn oidc_07_an_endpoint_that_was_taken_away_is_told_nothing(db: TestDb) {
        let login = Login::on(db).await;
        prepare(&login).await;
        login.tokens("openid").await;
        sessions::end(login.f.core(), login.f.env(), &login.f.by, login.session, None).await.unwrap();
        let none = clients::applications::Settings { back_channel_logout_uris: Some(vec![]), ..Default::default() };
        set(&login, &login.app.client_id, none).await;
        assert!(notices(&login, 0).await.is_empty());
    }

    async fn ses_02_sessions_run_out_without_traffic_and_are_told_of_once(db: TestDb) {
        let login = Login::on(db).await;
        let core = login.f.core();
        let idle = open(&login.f, login.ann, login.acme).await;
        let now = core.clock.now();
        let description = Description { idle_expires_at: Some(now.plus(HOUR)), last_active_at: Some(now), ..Description::default() };
        core.db.write(async move |tx| sessions::describe(tx, idle, &description, now).await).await.unwrap();
        jobs::drain(core).await.unwrap();
        let before = login.f.event_types().await.len();
        core.clock.advance(HOUR);
        jobs::drain(core).await.unwrap();
        let ended = login.f.number("SELECT COUNT(*) FROM sessions WHERE ended_as = 3").await;
        assert_eq!(ended, 1, "the row itself says so");
        let shown = sessions::of_browser(core, login.f.env(), idle, None).await.unwrap();
        assert_eq!((shown.status, shown.expired_at), (Status::Expired, Some(now.plus(HOUR))), "when it ran out, not when that was seen");
        assert_eq!(status(&login, login.session).await, Status::Active, "the other has no idle timeout");
        let event = &login.f.events().await[before..];
        assert_eq!(event.len(), 1);
        let body: Value = serde_json::from_str(&event[0].body).unwrap();
        assert_eq!((event[0].kind.as_str(), event[0].actor.as_str()), ("user.logout", "system"));
        assert_eq!(body["data"]["user_session"]["status"], "EXPIRED");
        assert_eq!(body["data"]["user_session"]["expired_at"], now.plus(HOUR).rfc3339());

        core.clock.advance(30 * DAY);
        jobs::drain(core).await.unwrap();
        assert_eq!(status(&login, login.session).await, Status::Expired);
        assert_eq!(login.f.event_types().await.len(), before + 2);
        core.clock.advance(HOUR);
        jobs::drain(core).await.unwrap();
        assert_eq!(login.f.event_types().await.len(), before + 2, "once each");
        let late = sessions::end(core, login.f.env(), &Actor::SYSTEM, idle, None).await.unwrap();
        assert_eq!(late.status, Status::Expired);
    }
}
