//! Steps of a login that count once, with another transaction in between, on PostgreSQL: SQLite runs one after the other.

use std::sync::Arc;

use narthex_core::login::{self, Problem, Step, Visitor};
use narthex_core::{Kind, jobs};

use crate::login_storage::{begin, send};
use crate::logins::Login;
use crate::people::{Rival, invited, postgres_database, until_it_waits};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inv_01_mistake_5_an_invitation_that_another_takes_up_meanwhile_is_taken() {
    let Some(db) = postgres_database().await else { return };
    let url = db.options().url.clone();
    let login = Arc::new(Login::on(db).await);
    for (email, how) in [("bob@example.com", "ROLLBACK"), ("eve@example.com", "COMMIT")] {
        login.f.add(invited(login.acme, email)).await.expect("invited");
        jobs::drain(login.f.core()).await.expect("jobs");
        let link = login.f.node.mails.last_to(email).expect("a mail").link.clone().expect("a link");
        let secret = link.rsplit('/').next().expect("a secret").to_owned();
        let before = login.f.number("SELECT COUNT(*) FROM sessions").await;
        let rival = Rival::begin(&url, "DELETE FROM invitation_tokens").await;
        let other = {
            let (login, secret) = (login.clone(), secret.clone());
            tokio::spawn(async move {
                let (core, environment) = (login.f.core(), login.f.environment());
                login::accept_invitation(core, environment, &secret, &Visitor::default(), None).await
            })
        };
        let other = until_it_waits(&url, other).await;
        rival.end(how).await;
        let accepted = other.await.expect("no panic").expect("a database");
        assert_eq!(accepted.is_some(), how == "ROLLBACK", "{how}");
        let after = login.f.number("SELECT COUNT(*) FROM sessions").await;
        assert_eq!(after - before, i64::from(how == "ROLLBACK"), "{how}: nobody is signed in by a link that is gone");
        let (core, environment) = (login.f.core(), login.f.environment());
        let again = login::accept_invitation(core, environment, &secret, &Visitor::default(), None).await;
        assert!(again.expect("a database").is_none(), "{how}: once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mistake_5_oauth_05_a_login_that_another_step_ends_meanwhile_brings_no_second_code() {
    let Some(db) = postgres_database().await else { return };
    let url = db.options().url.clone();
    let login = Arc::new(Login::on(db).await);
    for (email, how) in [("bob@example.com", "ROLLBACK"), ("eve@example.com", "COMMIT")] {
        login.f.member(login.acme, email).await;
        let request = send(&login, begin(&login, &login.app).await, email).await;
        let otp = login.f.node.mails.last_to(email).expect("a mail").otp.clone().expect("a code");
        let before = login.f.number("SELECT COUNT(*) FROM grants").await;
        let rival = Rival::begin(&url, "UPDATE auth_requests SET stage = 6").await;
        let other = {
            let login = login.clone();
            tokio::spawn(async move {
                let (core, environment) = (login.f.core(), login.f.environment());
                login::submit_code(core, environment, &request, &otp, &Visitor::default(), None).await
            })
        };
        let other = until_it_waits(&url, other).await;
        rival.end(how).await;
        let outcome = other.await.expect("no panic").expect("a database");
        let codes = login.f.number("SELECT COUNT(*) FROM grants").await - before;
        match how {
            "COMMIT" => assert!(matches!(outcome.step, Step::Problem(Problem::Gone)) && codes == 0, "{codes}"),
            _ => assert!(matches!(outcome.step, Step::Done(_)) && codes == 1, "{codes}"),
        }
        assert_eq!(outcome.cookie.is_some(), how == "ROLLBACK");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mistake_5_pwo_02_of_many_browsers_with_one_code_one_gets_in() {
    let Some(db) = postgres_database().await else { return };
    let login = Arc::new(Login::on(db).await);
    login.f.member(login.acme, "bob@example.com").await;
    let request = send(&login, begin(&login, &login.app).await, "bob@example.com").await;
    let otp = login.f.node.mails.last_to("bob@example.com").expect("a mail").otp.clone().expect("a code");
    let (sessions, codes) =
        (login.f.number("SELECT COUNT(*) FROM sessions").await, login.f.number("SELECT COUNT(*) FROM grants").await);
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (login, request, otp) = (login.clone(), request.clone(), otp.clone());
            tokio::spawn(async move {
                let (core, environment) = (login.f.core(), login.f.environment());
                login::submit_code(core, environment, &request, &otp, &Visitor::default(), None).await
            })
        })
        .collect();
    let mut good = 0;
    for one in all {
        match one.await.expect("no panic") {
            Ok(outcome) => good += usize::from(matches!(outcome.step, Step::Done(_))),
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error:?}"),
        }
    }
    assert!(good <= 1, "{good} of eight");
    assert!(login.f.number("SELECT COUNT(*) FROM sessions").await - sessions <= 1);
    assert!(login.f.number("SELECT COUNT(*) FROM grants").await - codes <= 1);
}

/// Different people must not wait for each other until they give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sgn_01_many_people_who_sign_up_at_once_all_get_in() {
    let Some(db) = postgres_database().await else { return };
    let login = Arc::new(Login::on(db).await);
    let all: Vec<_> = (0..24)
        .map(|person| {
            let login = login.clone();
            tokio::spawn(async move {
                let email = format!("new{person}@example.com");
                let request = send(&login, begin(&login, &login.app).await, &email).await;
                let otp = login.f.node.mails.last_to(&email).expect("a mail").otp.clone().expect("a code");
                let (core, environment) = (login.f.core(), login.f.environment());
                login::submit_code(core, environment, &request, &otp, &Visitor::default(), None).await
            })
        })
        .collect();
    for one in all {
        let outcome = one.await.expect("no panic").expect("nobody is turned away");
        assert!(matches!(outcome.step, Step::Done(_)), "{:?}", outcome.step);
    }
    assert_eq!(login.f.number("SELECT COUNT(*) FROM users WHERE email LIKE 'new%'").await, 24);
}
