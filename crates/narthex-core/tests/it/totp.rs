//! Authenticator apps.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use narthex_core::ids::{TotpRegistrationId, UserId};
use narthex_core::schema::Schema;
use narthex_core::totp::{self, Registration, Subject, Target};
use narthex_core::users::Identity;
use narthex_core::{Error, Kind, jobs};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, Rival, postgres_database, until_it_waits};

/// An authenticator app: reads the URI, shows codes.
struct App(Vec<u8>);

impl App {
    fn scanning(uri: &str) -> Self {
        let (_, rest) = uri.split_once("?secret=").expect("a secret");
        let (secret, _) = rest.split_once("&issuer=").expect("an issuer");
        let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
        for letter in secret.bytes() {
            let value = if letter.is_ascii_uppercase() { letter - b'A' } else { letter - b'2' + 26 };
            (bits, count) = (bits << 5 | u32::from(value), count + 5);
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).expect("a byte"));
            }
        }
        Self(bytes)
    }

    /// The code that shows `later` steps from now.
    fn code(&self, f: &People, later: i64) -> String {
        self.at(f.core().clock.real_now().seconds() / 30 + later)
    }

    fn at(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let mac = hmac::sign(&key, &step.to_be_bytes());
        let at = usize::from(mac.as_ref()[19] & 15);
        let part: [u8; 4] = mac.as_ref()[at..at + 4].try_into().expect("four bytes");
        format!("{:06}", (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000)
    }

    /// A code of no step near now.
    fn wrong(&self, f: &People) -> String {
        let near: Vec<String> = (-3..=3).map(|later| self.code(f, later)).collect();
        (0..1_000_000).map(|i| format!("{i:06}")).find(|code| !near.contains(code)).expect("a code")
    }
}

async fn ann(f: &People) -> UserId {
    let acme = f.organization("Acme").await;
    f.member(acme, "ann@example.com").await.user.id
}

async fn register(f: &People, subject: Subject) -> Result<(Registration, App), Error> {
    let (registration, uri) = totp::register(f.core(), f.environment(), subject).await?;
    Ok((registration, App::scanning(uri.expose())))
}

async fn enable(f: &People, id: TotpRegistrationId, code: &str) -> Result<Vec<String>, Error> {
    let (registration, codes) = totp::enable(f.core(), f.env(), id, code).await?;
    assert!(registration.enabled_at.is_some());
    Ok(codes.iter().map(|code| code.expose().clone()).collect())
}

async fn verify(f: &People, target: Target, code: &str) -> Result<bool, Error> {
    totp::verify(f.core(), f.env(), target, code).await
}

/// A user's app, enabled by the code of the step before now, so that those of now and the next are left. That code comes last.
async fn enabled(f: &People) -> (UserId, TotpRegistrationId, App, Vec<String>, String) {
    let ann = ann(f).await;
    let (registration, app) = register(f, Subject::User(ann)).await.expect("a registration");
    // Near the end of a step the code might be two steps old when it is looked at.
    if f.core().clock.real_now().seconds() % 30 >= 25 {
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let first = app.code(f, -1);
    let codes = enable(f, registration.id, &first).await.expect("enabled");
    (ann, registration.id, app, codes, first)
}

#[track_caller]
fn assert_locked<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error:?}");
    assert!(error.retry_after_seconds().is_some_and(|seconds| (1..=600).contains(&seconds)), "{error:?}");
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn totp_01_an_app_is_registered_and_enabled_by_its_first_code(db: TestDb) {
        let f = People::on(db).await;
        let ann = ann(&f).await;
        let (registration, uri) = totp::register(f.core(), f.environment(), Subject::User(ann)).await.unwrap();
        let issuer = f.environment().display_name.replace(' ', "%20");
        let start = format!("otpauth://totp/{issuer}:ann@example.com?secret=");
        assert!(uri.expose().starts_with(&start) && uri.expose().ends_with(&format!("&issuer={issuer}")), "{}", uri.expose());
        let app = App::scanning(uri.expose());
        assert_eq!((app.0.len(), registration.enabled_at), (20, None));
        assert_not_found(verify(&f, Target::User(ann), &app.code(&f, 0)).await);
        assert_invalid(enable(&f, registration.id, &app.wrong(&f)).await, "code");
        let codes = enable(&f, registration.id, &format!(" {} ", app.code(&f, 0))).await.unwrap();
        assert!(codes.len() == 10 && codes.iter().all(|code| code.len() == 10), "{codes:?}");
        let again = enable(&f, registration.id, &app.code(&f, 1)).await.unwrap_err();
        assert_eq!(again.kind(), Kind::FailedPrecondition);
        assert!(verify(&f, Target::User(ann), &app.code(&f, 1)).await.unwrap());
        // Neither secret nor codes stand in the database.
        let left = f.number("SELECT COUNT(*) FROM totp_backup_codes").await;
        assert_eq!(left, 10);
    }

    async fn totp_01_registering_again_replaces_what_was_never_enabled_and_nothing_else(db: TestDb) {
        let f = People::on(db).await;
        let ann = ann(&f).await;
        let (first, old) = register(&f, Subject::User(ann)).await.unwrap();
        let (second, app) = register(&f, Subject::User(ann)).await.unwrap();
        assert_not_found(enable(&f, first.id, &old.code(&f, 0)).await);
        enable(&f, second.id, &app.code(&f, 0)).await.unwrap();
        let third = register(&f, Subject::User(ann)).await.map(|_| ()).unwrap_err();
        assert_eq!(third.kind(), Kind::FailedPrecondition, "whoever holds a session only must not replace the app");
        assert!(verify(&f, Target::User(ann), &app.code(&f, 1)).await.unwrap());

        assert_not_found(register(&f, Subject::User(UserId(1))).await.map(|_| ()));
        let (account, app) = register(&f, Subject::Account("ann's door".into())).await.unwrap();
        assert_eq!(account.subject, Subject::Account("ann's door".into()));
        enable(&f, account.id, &app.code(&f, 0)).await.unwrap();
        assert!(verify(&f, Target::Registration(account.id), &app.code(&f, 1)).await.unwrap());
        let elsewhere = totp::verify(f.core(), f.node.prd.id, Target::Registration(account.id), &app.code(&f, 1)).await;
        assert_not_found(elsewhere);
    }

    async fn totp_01_what_is_not_enabled_within_a_day_is_gone(db: TestDb) {
        let f = People::on(db).await;
        let ann = ann(&f).await;
        let (late, app) = register(&f, Subject::User(ann)).await.unwrap();
        f.core().clock.advance(Duration::from_hours(24));
        assert_not_found(enable(&f, late.id, &app.code(&f, 0)).await);
        jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM totp_registrations").await, 0);
    }

    async fn totp_02_no_code_counts_twice(db: TestDb) {
        let f = People::on(db).await;
        let (ann, id, app, codes, first) = enabled(&f).await;
        assert!(!verify(&f, Target::User(ann), &first).await.unwrap(), "it has enabled the app");
        let now = app.code(&f, 0);
        assert!(verify(&f, Target::User(ann), &now).await.unwrap());
        assert!(!verify(&f, Target::Registration(id), &now).await.unwrap());
        assert!(!verify(&f, Target::User(ann), &app.code(&f, 3)).await.unwrap(), "too early");

        let spaced = format!("{} {}", &codes[0][..5], codes[0][5..].to_uppercase());
        assert!(verify(&f, Target::User(ann), &spaced).await.unwrap());
        assert!(!verify(&f, Target::User(ann), &codes[0]).await.unwrap());
        assert!(verify(&f, Target::User(ann), &codes[1]).await.unwrap());
        assert_eq!(f.number("SELECT COUNT(*) FROM totp_backup_codes").await, 8);
    }

    async fn totp_02_five_wrong_codes_in_ten_minutes_stop_even_right_ones(db: TestDb) {
        let f = People::on(db).await;
        let (ann, id, app, codes, _) = enabled(&f).await;
        for minute in 0..5 {
            assert!(!verify(&f, Target::User(ann), &app.wrong(&f)).await.unwrap(), "{minute}");
            f.core().clock.advance(Duration::from_mins(1));
        }
        assert_eq!(f.number("SELECT LENGTH(failures) FROM totp_registrations").await, 86, "five times are kept");
        assert_locked(verify(&f, Target::User(ann), &app.code(&f, 0)).await);
        assert_locked(verify(&f, Target::Registration(id), &codes[0]).await);
        assert_locked(totp::disable(f.core(), f.env(), id, &app.code(&f, 0)).await);
        assert_eq!(f.number("SELECT COUNT(*) FROM totp_backup_codes").await, 10, "none was taken");
        // The window slides: one of the five is ten minutes old, so one more guess is let through.
        f.core().clock.advance(Duration::from_mins(5));
        assert!(!verify(&f, Target::User(ann), &app.wrong(&f)).await.unwrap());
        assert_locked(verify(&f, Target::User(ann), &app.code(&f, 0)).await);
        f.core().clock.advance(Duration::from_mins(10));
        assert!(verify(&f, Target::User(ann), &app.code(&f, 0)).await.unwrap());
    }

    async fn totp_02_of_many_wrong_codes_at_once_five_are_looked_at(db: TestDb) {
        let f = Arc::new(People::on(db).await);
        let (ann, _, app, _, _) = enabled(&f).await;
        let wrong = app.wrong(&f);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (f, wrong) = (f.clone(), wrong.clone());
            tasks.spawn(async move { verify(&f, Target::User(ann), &wrong).await });
        }
        let (mut looked_at, mut locked) = (0, 0);
        for result in tasks.join_all().await {
            match result {
                Ok(valid) => {
                    assert!(!valid);
                    looked_at += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error:?}");
                    locked += 1;
                }
            }
        }
        assert_eq!((looked_at, locked), (5, 7));
    }

    async fn totp_02_of_many_uses_at_once_one_counts(db: TestDb) {
        let f = Arc::new(People::on(db).await);
        let (ann, _, app, codes, _) = enabled(&f).await;
        for code in [app.code(&f, 0), codes[3].clone()] {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let (f, code) = (f.clone(), code.clone());
                tasks.spawn(async move { verify(&f, Target::User(ann), &code).await.expect("below the limit") });
            }
            assert_eq!(tasks.join_all().await.into_iter().filter(|valid| *valid).count(), 1);
        }
    }

    async fn totp_03_an_app_is_disabled_by_a_code_of_its_own(db: TestDb) {
        let f = People::on(db).await;
        let (ann, id, app, codes, _) = enabled(&f).await;
        let disable = async |code: &str| totp::disable(f.core(), f.env(), id, code).await;
        assert_invalid(disable(&app.wrong(&f)).await, "code");
        assert!(verify(&f, Target::User(ann), &codes[1]).await.unwrap());
        assert_invalid(disable(&codes[1]).await, "code");
        disable(&app.code(&f, 0)).await.unwrap();
        assert_not_found(disable(&app.code(&f, 1)).await);
        assert_not_found(verify(&f, Target::User(ann), &codes[2]).await);
        assert_eq!(f.number("SELECT COUNT(*) FROM totp_backup_codes").await, 0);
        let (again, app) = register(&f, Subject::User(ann)).await.unwrap();
        let codes = enable(&f, again.id, &app.code(&f, 0)).await.unwrap();
        totp::disable(f.core(), f.env(), again.id, &codes[9]).await.unwrap();
    }

    async fn totp_03_with_a_user_goes_the_app(db: TestDb) {
        let f = People::on(db).await;
        let (ann, id, app, _, _) = enabled(&f).await;
        f.delete(Identity::Id(ann)).await.unwrap();
        assert_not_found(verify(&f, Target::User(ann), &app.code(&f, 0)).await);
        assert_not_found(verify(&f, Target::Registration(id), &app.code(&f, 0)).await);
        assert_eq!(f.number("SELECT COUNT(*) FROM totp_backup_codes").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_a_step_that_another_takes_meanwhile_counts_no_more() {
    let Some(db) = postgres_database().await else { return };
    let f = Arc::new(People::on(db).await);
    let (ann, id, app, _, _) = enabled(&f).await;
    let url = f.node.database.options().url.clone();
    let step = f.core().clock.real_now().seconds() / 30 + 1;
    let sql = format!("UPDATE totp_registrations SET last_step = {step} WHERE id = {}", id.0);
    let rival = Rival::begin(&url, &sql).await;
    let (owned, code) = (f.clone(), app.at(step));
    let check = tokio::spawn(async move { verify(&owned, Target::User(ann), &code).await });
    let blocked = until_it_waits(&url, check).await;
    rival.end("COMMIT").await;
    assert!(!blocked.await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totp_02_a_backup_code_that_another_takes_meanwhile_counts_no_more() {
    let Some(db) = postgres_database().await else { return };
    let f = Arc::new(People::on(db).await);
    let (ann, _, _, codes, _) = enabled(&f).await;
    let url = f.node.database.options().url.clone();
    let rival = Rival::begin(&url, "DELETE FROM totp_backup_codes").await;
    let (owned, code) = (f.clone(), codes[0].clone());
    let check = tokio::spawn(async move { verify(&owned, Target::User(ann), &code).await });
    let blocked = until_it_waits(&url, check).await;
    rival.end("COMMIT").await;
    assert!(!blocked.await.unwrap().unwrap());
    assert_ne!(f.number("SELECT LENGTH(failures) FROM totp_registrations").await, 2, "and is a wrong one");
}
