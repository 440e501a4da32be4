//! Codes and links by mail: what is sent, what comes back, and what does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use narthex_core::connections::{self, Change, CodeType, Delivery, PasswordlessChange};
use narthex_core::emails::UseCase;
use narthex_core::environments::Environment;
use narthex_core::environments::test_users::{self, TestUsersChange};
use narthex_core::ids::AuthRequestId;
use narthex_core::mailer::Failure;
use narthex_core::passwordless::{self, Begin, Challenge, Headless, Intent, Outcome, Purpose, Refusal, Verified};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind, auth_log, jobs};
use narthex_db::Engine;
use tokio::task::JoinSet;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::node;
use crate::people::{Rival, postgres_database, until_it_waits};

const ANN: &str = "Ann@acme.test";
const PAGE: &str = "https://app.acme.test/cb";

/// Changes what the DEV environment sends.
async fn configure(node: &TestCore, change: PasswordlessChange) {
    let id = connections::passwordless(node, node.dev.id).await.unwrap().unwrap().id;
    let change = Change { passwordless: Some(change), ..Change::default() };
    connections::update(node, node.dev.id, id, None, change).await.unwrap();
}

async fn deliver(node: &TestCore, delivery: Delivery) {
    configure(node, PasswordlessChange { delivery: Some(delivery), ..PasswordlessChange::default() }).await;
}

async fn regenerate(node: &TestCore, on: bool) {
    configure(node, PasswordlessChange { regenerate_on_resend: Some(on), ..PasswordlessChange::default() }).await;
}

/// An application's request in an environment.
async fn ask_in(
    node: &TestCore,
    environment: &Environment,
    email: &str,
    intent: Intent,
    headless: Headless,
) -> Result<Challenge, Error> {
    let begin = Begin { email: email.to_owned(), intent, purpose: Purpose::Headless(headless) };
    passwordless::begin(node, environment, begin).await
}

async fn ask(node: &TestCore, email: &str, headless: Headless) -> Result<Challenge, Error> {
    ask_in(node, &node.dev, email, Intent::SignIn, headless).await
}

fn with_page() -> Headless {
    Headless { magiclink_auth_uri: Some(PAGE.to_owned()), ..Headless::default() }
}

/// The code of the newest mail to an address.
fn code(node: &TestCore, email: &str) -> String {
    node.mails.last_to(email).expect("a mail").otp.clone().expect("a code")
}

/// The token of the link in the newest mail to an address.
fn token(node: &TestCore, email: &str) -> String {
    let link = node.mails.last_to(email).expect("a mail").link.clone().expect("a link");
    link.rsplit(['=', '/']).next().expect("a token").to_owned()
}

async fn try_code(node: &TestCore, id: &str, code: &str) -> Outcome {
    passwordless::verify_code(node, &node.dev, id, code).await.unwrap()
}

async fn try_link(node: &TestCore, token: &str, id: Option<&str>) -> Outcome {
    passwordless::verify_link(node, &node.dev, token, id).await.unwrap()
}

const fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

#[track_caller]
fn verified(outcome: Outcome) -> Verified {
    match outcome {
        Outcome::Verified(verified) => verified,
        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

/// A code that is not the right one.
fn wrong(right: &str) -> String {
    if right == "111111" { "222222".to_owned() } else { "111111".to_owned() }
}

async fn number(node: &TestCore, sql: &'static str) -> i64 {
    node.db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await.unwrap().0
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn pwl_01_a_request_lives_as_long_as_asked_or_as_the_environment_says(db: TestDb) {
        let node = node(db).await;
        let now = node.clock.now();
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        assert_eq!((sent.kind, sent.expires_in, sent.code_length, sent.code_type), (Delivery::Otp, 300, 6, CodeType::Numeric));
        assert!((now.plus_seconds(300)..now.plus_seconds(310)).contains(&sent.expires_at));
        assert!(sent.id.len() >= 30 && sent.id.bytes().all(|b| b.is_ascii_alphanumeric()), "{}", sent.id);
        let given = |expires_in| Headless { expires_in: Some(expires_in), ..Headless::default() };
        for (asked, kept) in [(0, 300), (1, 1), (3_600, 3_600), (86_400, 86_400)] {
            node.clock.advance(seconds(61));
            assert_eq!(ask(&node, ANN, given(asked)).await.unwrap().expires_in, kept);
        }
        assert_invalid(ask(&node, ANN, given(86_401)).await, "expires_in");
        configure(&node, PasswordlessChange { validity: Some(900), ..PasswordlessChange::default() }).await;
        assert_eq!(ask(&node, "bob@acme.test", Headless::default()).await.unwrap().expires_in, 900);
    }

    async fn pwl_02_links_need_a_page_to_lead_to(db: TestDb) {
        let node = node(db).await;
        let page = |uri: &str| Headless { magiclink_auth_uri: Some(uri.to_owned()), ..Headless::default() };
        ask(&node, ANN, page("no page at all")).await.expect("a code needs none");
        for delivery in [Delivery::Link, Delivery::LinkOtp] {
            deliver(&node, delivery).await;
            assert_invalid(ask(&node, ANN, Headless::default()).await, "magiclink_auth_uri");
            for bad in ["app.acme.test/cb", "ftp://acme.test", "javascript://x/%0aalert(1)", "https://", "https:///cb", "https://a.test/ x", "https://a.test/\"x"] {
                assert_invalid(ask(&node, ANN, page(bad)).await, "magiclink_auth_uri");
            }
        }
        assert_eq!(node.mails.sent().len(), 1, "what was refused was not sent");
        ask(&node, ANN, page("HTTP://localhost:3000/cb")).await.unwrap();
    }

    async fn pwl_03_pwl_12_intent_and_type_choose_mail_and_link(db: TestDb) {
        use Delivery::{Link, LinkOtp, Otp};
        use Intent::{SignIn, SignUp};
        let node = node(db).await;
        for (delivery, intent, use_case) in [
            (Otp, SignIn, UseCase::UserLoginOtp),
            (Otp, SignUp, UseCase::UserSignupOtp),
            (Link, SignIn, UseCase::UserLoginLink),
            (Link, SignUp, UseCase::UserSignupLink),
            (LinkOtp, SignIn, UseCase::UserLoginLinkOtp),
            (LinkOtp, SignUp, UseCase::UserSignupLinkOtp),
        ] {
            node.clock.advance(seconds(61));
            deliver(&node, delivery).await;
            let page = Headless { magiclink_auth_uri: Some(format!("{PAGE}?from=mail")), ..Headless::default() };
            let sent = ask_in(&node, &node.dev, ANN, intent, page).await.unwrap();
            assert_eq!(sent.kind, delivery);
            let mail = node.mails.last_to(ANN).expect("a mail");
            assert_eq!(mail.use_case, use_case);
            assert_eq!(mail.otp.is_some(), delivery.has_code());
            assert_eq!(mail.link.is_some(), delivery.has_link());
            if let Some(otp) = &mail.otp {
                assert!(mail.text.contains(otp) && mail.html.contains(otp));
            }
            if let Some(link) = &mail.link {
                let token = link.strip_prefix(&format!("{PAGE}?from=mail&link_token=")).expect("the application's page");
                assert!(token.len() == 38 && token.ends_with("_l"), "{token}");
                assert!(mail.text.contains(link), "{}", mail.text);
            }
        }
    }

    async fn pwl_04_a_code_needs_its_request_and_a_link_does_not_unless_it_must_stay_in_its_browser(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let first = ask(&node, ANN, with_page()).await.unwrap();
        let (ann, bob) = (token(&node, ANN), "bob@acme.test");
        let second = ask(&node, bob, with_page()).await.unwrap();
        assert_eq!(try_code(&node, "nonsense", &code(&node, ANN)).await, refused(Refusal::Unknown));
        let crossed = try_code(&node, &second.id, &code(&node, ANN)).await;
        assert!(crossed == refused(Refusal::WrongCode) || code(&node, ANN) == code(&node, bob));
        assert_eq!(try_link(&node, &ann, Some(&second.id)).await, refused(Refusal::OtherRequest));
        assert_eq!(try_link(&node, "a4143d8f-d13d-415c-8f5a-5a5c846ed91e_l", None).await, refused(Refusal::UnknownLink));
        verified(try_link(&node, &ann, None).await);
        verified(try_link(&node, &token(&node, bob), Some(&second.id)).await);
        assert_eq!(try_code(&node, &first.id, "111111").await, refused(Refusal::Used));

        configure(&node, PasswordlessChange { enforce_same_browser_origin: Some(true), ..PasswordlessChange::default() }).await;
        node.clock.advance(seconds(61));
        let third = ask(&node, ANN, with_page()).await.unwrap();
        let ann = token(&node, ANN);
        assert_eq!(try_link(&node, &ann, None).await, refused(Refusal::OtherBrowser));
        assert_eq!(try_link(&node, &ann, Some(&first.id)).await, refused(Refusal::OtherRequest));
        verified(try_link(&node, &ann, Some(&third.id)).await);
    }

    async fn pwl_05_what_was_given_along_comes_back_unchanged(db: TestDb) {
        let node = node(db).await;
        let state = "a=1&b=\"ü\" \u{1f600}";
        let headless = Headless { state: Some(state.to_owned()), template: Some(2), ..Headless::default() };
        let sent = ask_in(&node, &node.dev, ANN, Intent::SignUp, headless).await.unwrap();
        let proof = verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
        let expected = Verified {
            email: ANN.to_owned(),
            intent: Intent::SignUp,
            kind: Delivery::Otp,
            auth_request: None,
            state: Some(state.to_owned()),
            template: Some(2),
        };
        assert_eq!(proof, expected);
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let proof = verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
        assert_eq!((proof.state, proof.template), (None, None));
    }

    async fn pwl_06_codes_and_links_serve_once_and_end(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        verified(try_code(&node, &sent.id, &format!(" {otp} ")).await);
        assert_eq!(try_code(&node, &sent.id, &otp).await, refused(Refusal::Used));
        assert_eq!(try_link(&node, &link, None).await, refused(Refusal::Used), "either of them serves for both");

        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        node.clock.advance(seconds(299));
        assert_eq!(passwordless::describe(&node, node.dev.id, &sent.id).await.unwrap().unwrap().1, None);
        node.clock.advance(seconds(1));
        assert_eq!(passwordless::describe(&node, node.dev.id, &sent.id).await.unwrap().unwrap().1, Some(Refusal::Expired));
        assert_eq!(try_code(&node, &sent.id, &otp).await, refused(Refusal::Expired));
        assert_eq!(try_link(&node, &link, Some(&sent.id)).await, refused(Refusal::Expired));
    }

    async fn pwl_04_the_type_of_the_request_counts_and_not_that_of_today(db: TestDb) {
        let node = node(db).await;
        let by_code = ask(&node, ANN, Headless::default()).await.unwrap();
        deliver(&node, Delivery::Link).await;
        let by_link = ask(&node, "bob@acme.test", with_page()).await.unwrap();
        assert_eq!(try_code(&node, &by_link.id, "111111").await, refused(Refusal::NoCode));
        let again = passwordless::resend(&node, &node.dev, &by_code.id).await.unwrap();
        assert_eq!(again.kind, Delivery::Otp);
        verified(try_code(&node, &by_code.id, &code(&node, ANN)).await);
        let id = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap().id;
        connections::delete(&node, node.dev.id, id).await.unwrap();
        verified(try_link(&node, &token(&node, "bob@acme.test"), None).await);
    }

    async fn pwl_07_a_second_mail_renews_the_request_and_its_code_where_that_is_wanted(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let headless = Headless { expires_in: Some(120), ..with_page() };
        let sent = ask(&node, ANN, headless).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        node.clock.advance(seconds(100));
        let again = passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        assert_eq!((&again.id, again.expires_in), (&sent.id, 120));
        assert!(again.expires_at > sent.expires_at);
        assert_eq!((code(&node, ANN), token(&node, ANN)), (otp.clone(), link.clone()), "the same ones");
        node.clock.advance(seconds(100));
        regenerate(&node, true).await;
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        let fresh = (code(&node, ANN), token(&node, ANN));
        assert_ne!(fresh.1, link);
        assert_eq!(try_link(&node, &link, None).await, refused(Refusal::UnknownLink), "the earlier link is dead at once");
        if fresh.0 != otp {
            assert_eq!(try_code(&node, &sent.id, &otp).await, refused(Refusal::WrongCode));
        }

        // After the end there are new ones in any case.
        regenerate(&node, false).await;
        node.clock.advance(seconds(121));
        assert_eq!(try_code(&node, &sent.id, &fresh.0).await, refused(Refusal::Expired));
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        assert_ne!(token(&node, ANN), fresh.1);
        let proof = verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
        assert_eq!(proof.email, ANN);
        let error = passwordless::resend(&node, &node.dev, &sent.id).await.expect_err("used");
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}");
        assert_not_found(passwordless::resend(&node, &node.dev, "nonsense").await);
    }

    async fn pwl_08_evt_71_two_mails_a_minute_go_to_an_address_however_they_are_asked_for(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        node.clock.advance(seconds(20));
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        for _ in 0..5 {
            let error = ask(&node, "ANN@ACME.test", Headless::default()).await.expect_err("the third");
            assert_eq!((error.kind(), error.code()), (Kind::ResourceExhausted, "RATE_LIMITED"));
            assert!((38..=41).contains(&error.retry_after_seconds().unwrap()), "{:?}", error.retry_after_seconds());
            let error = passwordless::resend(&node, &node.dev, &sent.id).await.expect_err("the third");
            assert_eq!(error.kind(), Kind::ResourceExhausted);
        }
        assert_eq!(node.mails.sent().len(), 2);
        assert_eq!(number(&node, "SELECT COUNT(*) FROM passwordless_requests").await, 1, "nothing is left of what was refused");
        let right = code(&node, ANN);
        ask(&node, "bob@acme.test", Headless::default()).await.expect("another address");
        ask_in(&node, &node.prd, ANN, Intent::SignIn, Headless::default()).await.expect("another environment");
        verified(try_code(&node, &sent.id, &right).await);
        // The window moves: a mail may go when the first of the two is a minute old, and then only one.
        node.clock.advance(seconds(41));
        ask(&node, ANN, Headless::default()).await.expect("what was refused did not count");
        assert_eq!(ask(&node, ANN, Headless::default()).await.expect_err("the third").kind(), Kind::ResourceExhausted);
    }

    async fn pwl_09_evt_71_mistake_1_wrong_codes_are_counted_although_they_are_refused(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let right = code(&node, ANN);
        for tries in 1..=5_usize {
            assert_eq!(try_code(&node, &sent.id, &wrong(&right)).await, refused(Refusal::WrongCode));
            let sql = "SELECT wrong_codes FROM passwordless_requests";
            let (trace,) = node.db.read(async move |tx| tx.one::<(String,)>(sql, &[]).await).await.unwrap();
            assert_eq!(serde_json::from_str::<Vec<i64>>(&trace).unwrap().len(), tries, "the trace stands");
            assert_eq!(number(&node, "SELECT locked FROM passwordless_requests").await, i64::from(tries == 5));
        }
        assert_eq!(try_code(&node, &sent.id, &wrong(&right)).await, refused(Refusal::Locked), "the sixth");
        assert_eq!(try_code(&node, &sent.id, &right).await, refused(Refusal::Locked), "dead for the right one, too");
        node.clock.advance(seconds(601));
        assert_eq!(try_code(&node, &sent.id, &right).await, refused(Refusal::Locked), "for good");
        let error = passwordless::resend(&node, &node.dev, &sent.id).await.expect_err("dead");
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        let fresh = ask(&node, ANN, Headless::default()).await.unwrap();
        verified(try_code(&node, &fresh.id, &code(&node, ANN)).await);
    }

    async fn pwl_09_wrong_codes_of_more_than_ten_minutes_ago_are_forgotten_and_a_second_mail_forgets_none(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless { expires_in: Some(3_600), ..Headless::default() }).await.unwrap();
        let right = code(&node, ANN);
        for minute in 0..4 {
            assert_eq!(try_code(&node, &sent.id, &wrong(&right)).await, refused(Refusal::WrongCode), "{minute}");
            node.clock.advance(seconds(60));
        }
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        // The first two are more than ten minutes old now, the other two are not.
        node.clock.advance(seconds(7 * 60 + 30));
        for _ in 0..2 {
            assert_eq!(try_code(&node, &sent.id, &wrong(&right)).await, refused(Refusal::WrongCode));
        }
        assert_eq!(number(&node, "SELECT locked FROM passwordless_requests").await, 0);
        assert_eq!(try_code(&node, &sent.id, &wrong(&right)).await, refused(Refusal::WrongCode));
        assert_eq!(try_code(&node, &sent.id, &right).await, refused(Refusal::Locked), "five within ten minutes");
    }

    async fn pwl_09_a_link_of_a_closed_request_is_dead_too(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (right, link) = (code(&node, ANN), token(&node, ANN));
        for _ in 0..5 {
            try_code(&node, &sent.id, &wrong(&right)).await;
        }
        assert_eq!(try_link(&node, &link, Some(&sent.id)).await, refused(Refusal::Locked));
    }

    async fn pwl_10_variables_that_only_the_product_sets_are_refused_and_surplus_ones_are_not(db: TestDb) {
        let node = node(db).await;
        let with = |names: &[&str]| Headless {
            variables: names.iter().map(|&name| (name.to_owned(), "x".to_owned())).collect::<BTreeMap<_, _>>(),
            ..Headless::default()
        };
        for name in ["otp", "expiry_time_relative", "link", "expire_time", "expiry_time"] {
            let error = ask(&node, ANN, with(&["app_name", name])).await.expect_err(name);
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.message().contains(name), "{error:?}");
        }
        ask(&node, ANN, with(&["app_name", "company", "companyName", "employeeID"])).await.unwrap();
        let mail = node.mails.last_to(ANN).unwrap();
        assert!(mail.subject.starts_with("x:"), "a caller's name counts for the built-in one: {}", mail.subject);
    }

    async fn pwl_14_no_user_and_no_session_come_of_it(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
        for sql in ["SELECT COUNT(*) FROM users", "SELECT COUNT(*) FROM sessions", "SELECT COUNT(*) FROM memberships"] {
            assert_eq!(number(&node, sql).await, 0, "{sql}");
        }
    }

    async fn pwl_15_cfg_02_nothing_is_sent_while_it_is_switched_off_and_what_waits_may_finish(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let id = connections::passwordless(&node, node.dev.id).await.unwrap().unwrap().id;
        connections::set_enabled(&node, node.dev.id, id, false).await.unwrap();
        let hosted = Begin {
            email: ANN.to_owned(),
            intent: Intent::SignIn,
            purpose: Purpose::Hosted { auth_request: AuthRequestId(7), link_base: "https://dev.test/magicLink/".to_owned() },
        };
        for error in [
            ask(&node, ANN, Headless::default()).await.expect_err("off"),
            passwordless::begin(&node, &node.dev, hosted).await.expect_err("off"),
            passwordless::resend(&node, &node.dev, &sent.id).await.expect_err("off"),
        ] {
            assert_eq!(error.kind(), Kind::FailedPrecondition, "{error:?}");
        }
        verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
        connections::delete(&node, node.dev.id, id).await.unwrap();
        assert_eq!(ask(&node, ANN, Headless::default()).await.expect_err("gone").kind(), Kind::FailedPrecondition);
    }

    async fn pwl_16_requests_of_another_environment_are_unknown(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        let elsewhere = passwordless::verify_code(&node, &node.prd, &sent.id, &otp).await.unwrap();
        assert_eq!(elsewhere, refused(Refusal::Unknown));
        for id in [None, Some(sent.id.as_str())] {
            let elsewhere = passwordless::verify_link(&node, &node.prd, &link, id).await.unwrap();
            assert_eq!(elsewhere, refused(Refusal::UnknownLink));
        }
        assert_not_found(passwordless::resend(&node, &node.prd, &sent.id).await);
        assert_eq!(passwordless::describe(&node, node.prd.id, &sent.id).await.unwrap(), None);
        verified(try_code(&node, &sent.id, &otp).await);
    }

    async fn pwl_07_a_mail_that_is_not_sent_leaves_no_request_and_changes_none(db: TestDb) {
        let node = node(db).await;
        regenerate(&node, true).await;
        for _ in 0..4 {
            node.mails.fail(Some(Failure::Unreachable));
            let error = ask(&node, ANN, Headless::default()).await.expect_err("no server");
            assert_eq!(error.kind(), Kind::Unavailable);
        }
        assert_eq!(number(&node, "SELECT COUNT(*) FROM passwordless_requests").await, 0);
        assert_eq!(number(&node, "SELECT COUNT(*) FROM passwordless_sends").await, 0, "what was not sent does not count");
        node.mails.fail(None);
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        node.clock.advance(seconds(30));
        node.mails.fail(Some(Failure::Busy));
        assert_eq!(passwordless::resend(&node, &node.dev, &sent.id).await.expect_err("busy").kind(), Kind::Unavailable);
        let (now, _) = passwordless::describe(&node, node.dev.id, &sent.id).await.unwrap().unwrap();
        assert_eq!(now.expires_at, sent.expires_at);
        verified(try_code(&node, &sent.id, &code(&node, ANN)).await);
    }

    async fn pwo_02_a_code_or_link_of_a_login_belongs_to_it(db: TestDb) {
        let node = node(db).await;
        deliver(&node, Delivery::LinkOtp).await;
        let login = AuthRequestId::new(&node.ids);
        let begin = Begin {
            email: ANN.to_owned(),
            intent: Intent::SignUp,
            purpose: Purpose::Hosted { auth_request: login, link_base: "https://dev.test/magicLink/".to_owned() },
        };
        let sent = passwordless::begin(&node, &node.dev, begin).await.unwrap();
        let mail = node.mails.last_to(ANN).unwrap();
        assert_eq!(mail.use_case, UseCase::UserSignupLinkOtp);
        let link = mail.link.clone().unwrap();
        let token = link.strip_prefix("https://dev.test/magicLink/").expect("the environment's own page");
        assert!(token.ends_with("_l"));
        assert_eq!(passwordless::peek_link(&node, &node.dev, token).await.unwrap(), Some(login));
        assert_eq!(passwordless::peek_link(&node, &node.dev, token).await.unwrap(), Some(login), "a look consumes nothing");
        assert_eq!(passwordless::peek_link(&node, &node.prd, token).await.unwrap(), None);
        assert_eq!(verified(try_link(&node, token, Some(&sent.id)).await).auth_request, Some(login));
        assert_eq!(passwordless::peek_link(&node, &node.dev, token).await.unwrap(), None);
    }

    async fn cfg_03_length_and_alphabet_of_codes_take_effect(db: TestDb) {
        let node = node(db).await;
        let change = PasswordlessChange { code_challenge_length: Some(5), code_challenge_type: Some(CodeType::Alphanumeric), ..PasswordlessChange::default() };
        configure(&node, change).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let otp = code(&node, ANN);
        assert!(otp.len() == 5 && otp.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{otp}");
        verified(try_code(&node, &sent.id, &otp.to_lowercase()).await);
    }

    async fn tst_02_tst_03_ctl_31_a_test_user_gets_no_mail_and_has_one_code(db: TestDb) {
        let node = node(db).await;
        let email = "ann+sktest@acme.test";
        let change = TestUsersChange { enabled: Some(true), code: None, emails: Some(vec![email.to_owned()]) };
        test_users::update(&node, node.dev.id, change).await.unwrap();
        for delivery in [Delivery::Otp, Delivery::LinkOtp] {
            deliver(&node, delivery).await;
            // Parallel tests ask for more than two mails a minute, and none is sent.
            for _ in 0..3 {
                let sent = ask_in(&node, &node.dev, "Ann+SKTEST@acme.test", Intent::SignUp, with_page()).await.unwrap();
                assert_eq!(sent.kind, delivery);
                assert_eq!(passwordless::resend(&node, &node.dev, &sent.id).await.unwrap().id, sent.id);
                assert_eq!(try_code(&node, &sent.id, "111111").await, refused(Refusal::WrongCode));
                verified(try_code(&node, &sent.id, "424242").await);
                assert_eq!(try_code(&node, &sent.id, "424242").await, refused(Refusal::Used));
                let log = auth_log::of(&node, node.dev.id, &sent.id).await.unwrap();
                let log: Vec<&str> = log.iter().map(|line| line.event.as_str()).collect();
                let suppressed = "Verification email suppressed (test user)";
                assert_eq!(log, [suppressed, suppressed, "OTP verification successful (test user)"]);
                assert!(auth_log::of(&node, node.prd.id, &sent.id).await.unwrap().is_empty());
            }
        }
        assert!(node.mails.sent().is_empty());
        let sent = ask(&node, email, with_page()).await.unwrap();
        for _ in 0..5 {
            assert_eq!(try_code(&node, &sent.id, "111111").await, refused(Refusal::WrongCode));
        }
        assert_eq!(try_code(&node, &sent.id, "424242").await, refused(Refusal::Locked), "wrong codes count as for everybody");
        let login = AuthRequestId::new(&node.ids);
        let purpose = Purpose::Hosted { auth_request: login, link_base: "https://dev.test/magicLink/".to_owned() };
        let sent = passwordless::begin(&node, &node.dev, Begin { email: email.to_owned(), intent: Intent::SignIn, purpose }).await.unwrap();
        verified(try_code(&node, &sent.id, "424242").await);
        assert_eq!(auth_log::of(&node, node.dev.id, &login.to_string()).await.unwrap().len(), 2, "logged with the login");
    }

    async fn tst_04_whoever_is_no_test_user_is_as_everybody(db: TestDb) {
        let node = node(db).await;
        let email = "ann+sktest@acme.test";
        let set = async |enabled, emails: &[&str]| {
            let emails = Some(emails.iter().map(|&email| email.to_owned()).collect());
            test_users::update(&node, node.dev.id, TestUsersChange { enabled: Some(enabled), code: None, emails }).await.unwrap();
        };
        let is_mailed = async |email: &str, environment: &Environment| {
            node.clock.advance(seconds(61));
            let before = node.mails.sent().len();
            let sent = ask_in(&node, environment, email, Intent::SignIn, with_page()).await.unwrap();
            let is_mailed = node.mails.sent().len() > before;
            if is_mailed && sent.kind.has_code() && code(&node, email) != "424242" {
                let static_code = passwordless::verify_code(&node, environment, &sent.id, "424242").await.unwrap();
                assert_eq!(static_code, refused(Refusal::WrongCode));
            }
            is_mailed
        };
        set(false, &[email]).await;
        assert!(is_mailed(email, &node.dev).await, "switched off");
        set(true, &[email]).await;
        assert!(!is_mailed(email, &node.dev).await);
        assert!(is_mailed("bob+sktest@acme.test", &node.dev).await, "marked, but not listed");
        assert!(is_mailed(email, &node.prd).await, "listed in another environment");
        deliver(&node, Delivery::Link).await;
        assert!(is_mailed(email, &node.dev).await, "links alone");

        // Of an address that is taken off the list, no code is right any more.
        deliver(&node, Delivery::Otp).await;
        let sent = ask(&node, email, Headless::default()).await.unwrap();
        set(true, &["bob+sktest@acme.test"]).await;
        assert_eq!(try_code(&node, &sent.id, "424242").await, refused(Refusal::WrongCode));
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        verified(try_code(&node, &sent.id, &code(&node, email)).await);
    }

    async fn sec_03_neither_code_nor_link_stands_in_the_database(db: TestDb) {
        type Columns = (String, String, String, String, String, String, Vec<u8>, Vec<u8>);
        let node = node(db).await;
        let change = PasswordlessChange { delivery: Some(Delivery::LinkOtp), code_challenge_type: Some(CodeType::Alphanumeric), ..PasswordlessChange::default() };
        configure(&node, change).await;
        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        let sql = "SELECT id, email, COALESCE(state, ''), COALESCE(link_base, ''), variables, wrong_codes, seed, link_hash FROM passwordless_requests";
        let row = node.db.read(async move |tx| tx.one::<Columns>(sql, &[]).await).await.unwrap();
        assert_eq!(row.0, sent.id, "what is looked for is found");
        let text = [row.0, row.1, row.2, row.3, row.4, row.5].join("\n").to_uppercase();
        assert!(!text.contains(&otp) && !text.contains(&link[..36].to_uppercase()));
        for secret in [otp.as_bytes(), &otp.to_lowercase().into_bytes(), &link.as_bytes()[..36], link.as_bytes()] {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
            assert!(row.6 != secret && row.7 != secret && row.6 != hash.as_ref());
        }
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, otp.as_bytes());
        assert_ne!(row.7, hash.as_ref(), "a plain hash of a code is as good as the code");
        let sql = "SELECT sealed FROM mac_keys";
        let keys = node.db.read(async move |tx| tx.all::<(Vec<u8>,)>(sql, &[]).await).await.unwrap();
        assert_eq!((keys.len(), keys[0].0.len()), (1, 1 + 8 + 12 + 32 + 16), "one per environment, sealed");
    }

    async fn what_has_expired_is_swept_and_what_can_still_be_sent_again_is_not(db: TestDb) {
        let node = node(db).await;
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let email = "ann+sktest@acme.test";
        let change = TestUsersChange { enabled: Some(true), code: None, emails: Some(vec![email.to_owned()]) };
        test_users::update(&node, node.dev.id, change).await.unwrap();
        ask(&node, email, Headless::default()).await.unwrap();
        let counts = async || {
            jobs::drain(&node.core).await.unwrap();
            [
                number(&node, "SELECT COUNT(*) FROM passwordless_requests").await,
                number(&node, "SELECT COUNT(*) FROM passwordless_sends").await,
                number(&node, "SELECT COUNT(*) FROM auth_log").await,
            ]
        };
        assert_eq!(counts().await, [2, 1, 1]);
        node.clock.advance(seconds(30 * 60));
        assert_eq!(counts().await, [2, 0, 1]);
        passwordless::resend(&node, &node.dev, &sent.id).await.unwrap();
        node.clock.advance(seconds(40 * 60));
        assert_eq!(counts().await, [1, 0, 1]);
        node.clock.advance(seconds(31 * 86_400));
        assert_eq!(counts().await, [0, 0, 0]);
    }

    async fn pwl_06_pwl_09_of_many_attempts_at_once_one_proves_and_five_are_wrong(db: TestDb) {
        let node = node(db).await;
        let cores = match node.db.engine() {
            Engine::Sqlite => vec![node.core.clone()],
            Engine::Postgres => vec![node.core.clone(), node.second_node().await.unwrap()],
        };
        let many = async |id: &str, typed: &str| {
            let mut tries = JoinSet::new();
            for turn in 0..16 {
                let (core, environment) = (cores[turn % cores.len()].clone(), node.dev.clone());
                let (id, typed) = (id.to_owned(), typed.to_owned());
                tries.spawn(async move {
                    // What a conflict that outlives its retries answers is safe to be sent again.
                    loop {
                        match passwordless::verify_code(&core, &environment, &id, &typed).await {
                            Err(error) if error.kind() == Kind::Unavailable => {}
                            outcome => return outcome.unwrap(),
                        }
                    }
                });
            }
            tries.join_all().await
        };
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let outcomes = many(&sent.id, &code(&node, ANN)).await;
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Verified(_))).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused(Refusal::Used)).count(), 15);
        let sent = ask(&node, ANN, Headless::default()).await.unwrap();
        let outcomes = many(&sent.id, &wrong(&code(&node, ANN))).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused(Refusal::WrongCode)).count(), 5);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused(Refusal::Locked)).count(), 11);
    }

    async fn pwl_08_of_many_sends_at_once_two_go_out(db: TestDb) {
        let node = node(db).await;
        let mut sends = JoinSet::new();
        for _ in 0..12 {
            let (core, environment) = (node.core.clone(), node.dev.clone());
            sends.spawn(async move {
                loop {
                    let purpose = Purpose::Headless(Headless::default());
                    let begin = Begin { email: ANN.to_owned(), intent: Intent::SignIn, purpose };
                    match passwordless::begin(&core, &environment, begin).await {
                        Err(error) if error.kind() == Kind::Unavailable => {}
                        sent => return sent.map_err(|error| error.kind()),
                    }
                }
            });
        }
        let sent = sends.join_all().await;
        assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), 2);
        assert_eq!(sent.iter().filter(|sent| matches!(sent, Err(Kind::ResourceExhausted))).count(), 10);
        assert_eq!(node.mails.sent().len(), 2);
    }
}

/// A node on PostgreSQL, and where its database is; None where there is none.
async fn on_postgres() -> Option<(TestCore, String)> {
    let database = postgres_database().await?;
    let url = database.options().url.clone();
    Some((node(database).await, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pwl_06_a_code_or_link_that_another_transaction_has_used_is_used() {
    let Some((node, url)) = on_postgres().await else { return };
    deliver(&node, Delivery::LinkOtp).await;
    for (by_link, how) in [(false, "COMMIT"), (true, "COMMIT"), (false, "ROLLBACK"), (true, "ROLLBACK")] {
        node.clock.advance(seconds(61));
        let sent = ask(&node, ANN, with_page()).await.unwrap();
        let (otp, link) = (code(&node, ANN), token(&node, ANN));
        let rival = Rival::begin(&url, "UPDATE passwordless_requests SET used_at = 17").await;
        let (core, environment) = (node.core.clone(), node.dev.clone());
        let attempt = tokio::spawn(async move {
            if by_link {
                passwordless::verify_link(&core, &environment, &link, None).await
            } else {
                passwordless::verify_code(&core, &environment, &sent.id, &otp).await
            }
        });
        let attempt = until_it_waits(&url, attempt).await;
        rival.end(how).await;
        let outcome = attempt.await.unwrap().unwrap();
        if how == "COMMIT" {
            assert_eq!(outcome, refused(Refusal::Used), "{by_link}");
        } else {
            verified(outcome);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pwl_09_a_wrong_code_that_another_transaction_has_counted_counts() {
    let Some((node, url)) = on_postgres().await else { return };
    let sent = ask(&node, ANN, Headless::default()).await.unwrap();
    let right = code(&node, ANN);
    let rival = Rival::begin(&url, "UPDATE passwordless_requests SET locked = 1").await;
    let (core, environment) = (node.core.clone(), node.dev.clone());
    let id = sent.id.clone();
    let attempt = tokio::spawn(async move { passwordless::verify_code(&core, &environment, &id, &right).await });
    let attempt = until_it_waits(&url, attempt).await;
    rival.end("COMMIT").await;
    assert_eq!(attempt.await.unwrap().unwrap(), refused(Refusal::Locked));
}
