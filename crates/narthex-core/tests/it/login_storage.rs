//! What logins leave in the database: nothing, once all that is kept for a time has run out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use narthex_core::connections;
use narthex_core::core::maintain;
use narthex_core::events::Actor;
use narthex_core::login::{
    self, AuthRequest, Begun, BrowserSecret, Failure, Intent, Params, Problem, Stage, Step, Visitor,
};
use narthex_core::schema::Schema;
use narthex_core::{Core, jobs, passkeys, sessions};
use narthex_db::Engine;
use narthex_db::testing::TestDb;

use crate::logins::{CHALLENGE, Credentials, DAY, Login, REDIRECT, VERIFIER};

const PEOPLE: usize = 12;

/// Rows of each table.
async fn rows(core: &Core) -> BTreeMap<String, i64> {
    let tables = match core.db.engine() {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
        Engine::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
    };
    let tables: Vec<(String,)> = core.db.read(async move |tx| tx.all(tables, &[]).await).await.expect("tables");
    let mut rows = BTreeMap::new();
    for (table,) in tables {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let count = core.db.read(async move |tx| tx.one::<(i64,)>(&sql, &[]).await).await.expect("a count").0;
        // The versions of cached rows share a fixed number of slots, and are filled by and by.
        if table != "cache_epoch" {
            rows.insert(table, count);
        }
    }
    rows
}

/// Pages of the file that hold something.
async fn live_pages(core: &Core) -> i64 {
    let sql = "SELECT p.page_count - f.freelist_count FROM pragma_page_count p, pragma_freelist_count f";
    core.db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.expect("pages").0
}

/// An authorization request, as far as the page that asks for an address.
pub async fn begin(login: &Login, client: &Credentials) -> (AuthRequest, BrowserSecret) {
    let (core, environment) = (login.f.core(), login.f.environment());
    let params: Vec<(String, String)> = [
        ("response_type", "code"),
        ("client_id", &*client.client_id),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email offline_access"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let request = login::read(core, environment, None, &Params(&params)).await.expect("a database");
    let request = request.unwrap_or_else(|failure| panic!("{failure:?}"));
    match login::begin(core, environment, request, None, &Visitor::default()).await.expect("a database") {
        Begun::Page(request, secret) => (*request, secret),
        Begun::Done(_) | Begun::Failed(_) => panic!("no page"),
    }
}

/// The login with its mail on the way.
pub async fn send(login: &Login, begun: (AuthRequest, BrowserSecret), email: &str) -> AuthRequest {
    let (core, environment, (request, secret)) = (login.f.core(), login.f.environment(), begun);
    let outcome = login::submit_email(core, environment, &request, email, Intent::SignIn).await.expect("a database");
    assert!(matches!(outcome.step, Step::Page(Stage::Verify)), "{:?}", outcome.step);
    let found = login::load(core, environment.id, request.id, secret.expose()).await.expect("a database");
    found.expect("the login is under way")
}

/// Signs a member in, by the code in the mail, as far as the application's code.
async fn sign_in(login: &Login, email: &str) -> String {
    let (core, environment) = (login.f.core(), login.f.environment());
    let request = send(login, begin(login, &login.app).await, email).await;
    let otp = login.f.node.mails.last_to(email).expect("a mail").otp.clone().expect("a code");
    let outcome =
        login::submit_code(core, environment, &request, &otp, &Visitor::default(), None).await.expect("a step");
    let Step::Done(done) = outcome.step else { panic!("{:?}", outcome.step) };
    let (_, rest) = done.location.split_once("code=").expect("a code");
    rest.split('&').next().expect("a code").to_owned()
}

/// Every way in which logins end, or do not: finished, never exchanged, refreshed, logged out, revoked, given up, refused, replayed.
async fn many_logins(login: &Login, rounds: usize) {
    let (core, environment) = (login.f.core(), login.f.environment());
    for round in 0..rounds {
        for person in 0..PEOPLE {
            let email = format!("p{person}@example.com");
            let code = sign_in(login, &email).await;
            if (round + person) % 4 == 3 {
                continue;
            }
            let tokens = login.exchange_with(&login.app, &code, REDIRECT, Some(VERIFIER)).await.expect("tokens");
            let refresh = tokens.refresh_token.expect("a refresh token");
            if (round + person) % 4 == 1 {
                login.refresh(&refresh).await.expect("tokens");
            }
            if (round + person) % 4 == 2 {
                assert!(login.exchange_with(&login.app, &code, REDIRECT, Some(VERIFIER)).await.is_err(), "replayed");
            }
        }
        let user = login.f.member(login.acme, &format!("gone{round}-{}@example.com", core.ids.next())).await.user.id;
        login.f.delete(narthex_core::users::Identity::Id(user)).await.expect("deleted");
        // Given up, at each of the first pages; and refused, on the page for errors.
        let begun = begin(login, &login.app).await;
        begin(login, &login.app).await;
        let waiting = send(login, begun, "nobody@example.com").await;
        for _ in 0..6 {
            login::submit_code(core, environment, &waiting, "000000", &Visitor::default(), None).await.expect("a step");
        }
        login::keep_error(core, environment.id, &Failure::page("invalid_client", "unable to retrieve client by id"))
            .await
            .expect("kept");
        passkeys::begin_authentication(core, environment, Some("p0@example.com")).await.expect("a challenge");
        sessions::end_all(core, environment.id, &Actor::SYSTEM, login.ann).await.expect("ended");
        // Two mails a minute go to an address.
        core.clock.advance(Duration::from_secs(61));
    }
}

/// Lets so much time go by that nothing is kept any more, and sweeps. The end of a session is told of, so it goes in turns.
async fn sweep(core: &Arc<Core>) {
    for _ in 0..4 {
        core.clock.advance(100 * DAY);
        jobs::drain(core).await.expect("jobs");
        maintain(core).await;
    }
}

async fn login_on(db: TestDb) -> Login {
    let login = Login::on(db).await;
    let known = connections::webauthn(login.f.core(), login.f.env()).await.unwrap().expect("a connection");
    connections::set_enabled(login.f.core(), login.f.env(), known.id, true).await.expect("switched on");
    // Nobody is offered a passkey after a login by mail.
    let change = connections::Change { webauthn: Some(connections::WebauthnChange::default()), ..Default::default() };
    connections::update(login.f.core(), login.f.env(), known.id, None, change).await.expect("changed");
    for person in 0..PEOPLE {
        login.f.member(login.acme, &format!("p{person}@example.com")).await;
    }
    login
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn logins_leave_no_row_behind_once_they_are_swept(db: TestDb) {
        let login = login_on(db).await;
        let core = login.f.core();
        // The first time leaves what is meant to stay: that the address was proven, and by what.
        many_logins(&login, 1).await;
        sweep(core).await;
        let before = rows(core).await;
        let pages = if core.db.engine() == Engine::Sqlite { Some(live_pages(core).await) } else { None };
        many_logins(&login, 12).await;
        let under_way = rows(core).await;
        for table in ["auth_requests", "auth_errors", "grants", "passwordless_requests", "sessions", "events"] {
            assert!(under_way[table] > before[table], "{table} has nothing to sweep");
        }
        sweep(core).await;
        let after = rows(core).await;
        let grown: Vec<_> = after.iter().filter(|(table, count)| before[*table] < **count).collect();
        assert!(grown.is_empty(), "{grown:?}, where there were {:?}", grown.iter().map(|(table, _)| before[*table]).collect::<Vec<_>>());
        assert_eq!(after["sessions"], 0);
        if let Some(pages) = pages {
            let now = live_pages(core).await;
            assert!(now <= pages + pages / 10, "{pages} pages, then {now}");
        }
    }

    async fn mistake_5_pwo_02_a_step_that_fails_uses_no_code_or_link_up(db: TestDb) {
        let login = login_on(db).await;
        let (core, environment) = (login.f.core(), login.f.environment());
        let known = connections::passwordless(core, login.f.env()).await.unwrap().expect("a connection");
        let passwordless = connections::PasswordlessChange { delivery: Some(connections::Delivery::LinkOtp), ..Default::default() };
        let change = connections::Change { passwordless: Some(passwordless), ..Default::default() };
        connections::update(core, login.f.env(), known.id, None, change).await.expect("changed");
        let run = async |sql: &'static str| {
            core.db.write(async move |tx| tx.execute(sql, &[]).await).await.expect("a statement");
        };
        for by_link in [false, true] {
            let (email, visitor) = ("p0@example.com", Visitor::default());
            let request = send(&login, begin(&login, &login.app).await, email).await;
            let mail = login.f.node.mails.last_to(email).expect("a mail");
            let (otp, link) = (mail.otp.clone().expect("a code"), mail.link.clone().expect("a link"));
            let token = link.rsplit('/').next().expect("a token");
            let attempt = async || {
                if by_link {
                    let new = BrowserSecret::new(core);
                    login::follow_link(core, environment, token, None, &new, &visitor, None).await
                } else {
                    login::submit_code(core, environment, &request, &otp, &visitor, None).await
                }
            };
            // The application's code cannot be written, which is the last thing that the step does.
            run("ALTER TABLE grants RENAME TO elsewhere").await;
            attempt().await.map(|outcome| outcome.step).expect_err("no grant can be written");
            if !by_link {
                let wrong = login::submit_code(core, environment, &request, "000000", &visitor, None).await.expect("a step");
                assert!(matches!(wrong.step, Step::Problem(Problem::WrongCode)), "{:?}", wrong.step);
            }
            run("ALTER TABLE elsewhere RENAME TO grants").await;
            let (sessions, grants) =
                (login.f.number("SELECT COUNT(*) FROM sessions").await, login.f.number("SELECT COUNT(*) FROM grants").await);
            let outcome = attempt().await.expect("a step");
            assert!(matches!(outcome.step, Step::Done(_)), "{by_link}: {:?}", outcome.step);
            let again = attempt().await.expect("a step");
            assert!(matches!(again.step, Step::Problem(Problem::ExpiredCode | Problem::Gone)), "once: {:?}", again.step);
            assert_eq!(login.f.number("SELECT COUNT(*) FROM sessions").await - sessions, 1);
            assert_eq!(login.f.number("SELECT COUNT(*) FROM grants").await - grants, 1);
            let counted = "SELECT COUNT(*) FROM passwordless_requests WHERE wrong_codes <> '[]' AND used_at IS NOT NULL";
            assert_eq!(login.f.number(counted).await, 1, "the wrong code stays counted");
            core.clock.advance(Duration::from_secs(61));
        }
    }
}
