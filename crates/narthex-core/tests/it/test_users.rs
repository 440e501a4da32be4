//! Test users as a setting; what they change at a sign-in is in `passwordless`.

use narthex_core::connections::{self, Change, PasswordlessChange};
use narthex_core::environments::test_users::{self, TestUsersChange};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind};

use crate::node::node;

fn emails(list: &[&str]) -> TestUsersChange {
    TestUsersChange { emails: Some(list.iter().map(|&email| email.to_owned()).collect()), ..TestUsersChange::default() }
}

async fn code_length(node: &TestCore, length: u32) -> Result<(), Error> {
    let id = connections::passwordless(node, node.dev.id).await.unwrap().unwrap().id;
    let change = PasswordlessChange { code_challenge_length: Some(length), ..PasswordlessChange::default() };
    let change = Change { passwordless: Some(change), ..Change::default() };
    connections::update(node, node.dev.id, id, None, change).await.map(drop)
}

/// The fields that a refused change is about.
fn fields<T>(result: Result<T, Error>) -> Vec<String> {
    let Err(error) = result else { panic!("accepted") };
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}");
    error.field_violations().iter().map(|violation| violation.field.clone()).collect()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn tst_01_the_allow_list_is_folded_bounded_and_marked(db: TestDb) {
        let node = node(db).await;
        let first = test_users::get(&node, node.dev.id).await.unwrap();
        assert_eq!((first.enabled, first.code.as_str(), first.emails.len()), (false, "424242", 0));
        let twice = emails(&["John+SkTest@Acme.test", "john+sktest@acme.test", " ann+sktest@acme.test"]);
        let changed = test_users::update(&node, node.dev.id, twice).await.unwrap();
        assert_eq!(changed.emails, ["john+sktest@acme.test", "ann+sktest@acme.test"]);
        let on = TestUsersChange { enabled: Some(true), code: Some("000111".into()), emails: None };
        test_users::update(&node, node.dev.id, on).await.unwrap();
        let found = test_users::get(&node, node.dev.id).await.unwrap();
        assert_eq!((found.enabled, found.code.as_str(), found.emails.len()), (true, "000111", 2), "what is not given stays");
        assert!(found.code_of("JOHN+sktest@acme.test ").is_some() && found.code_of("john@acme.test").is_none());
        assert!(!test_users::get(&node, node.prd.id).await.unwrap().enabled);

        let bad = emails(&["bob+sktest@acme.test", "john@acme.test", "no address"]);
        assert_eq!(fields(test_users::update(&node, node.dev.id, bad).await), ["test_user.emails[1]", "test_user.emails[2]"]);
        let six = ["a", "b", "c", "d", "e", "f"].map(|name| format!("{name}+sktest@acme.test"));
        let six: Vec<&str> = six.iter().map(String::as_str).collect();
        assert_eq!(fields(test_users::update(&node, node.dev.id, emails(&six)).await), ["test_user.emails"]);
        test_users::update(&node, node.dev.id, emails(&six[..5])).await.unwrap();
        for code in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            let change = TestUsersChange { code: Some(code.into()), enabled: Some(false), ..TestUsersChange::default() };
            assert_eq!(fields(test_users::update(&node, node.dev.id, change).await), ["test_user.static_confirmation_code"]);
        }
        let found = test_users::get(&node, node.dev.id).await.unwrap();
        assert_eq!((found.enabled, found.emails.len()), (true, 5), "a refused change changes nothing");
    }

    async fn tst_01_codes_of_another_length_and_test_users_exclude_each_other(db: TestDb) {
        let node = node(db).await;
        let switch = async |on| {
            let change = TestUsersChange { enabled: Some(on), ..TestUsersChange::default() };
            test_users::update(&node, node.dev.id, change).await.map(drop)
        };
        code_length(&node, 5).await.unwrap();
        assert_eq!(switch(true).await.unwrap_err().kind(), Kind::FailedPrecondition);
        code_length(&node, 6).await.unwrap();
        switch(true).await.unwrap();
        assert_eq!(code_length(&node, 5).await.unwrap_err().kind(), Kind::FailedPrecondition);
        switch(false).await.unwrap();
        code_length(&node, 5).await.unwrap();
    }

    async fn sec_03_the_code_of_test_users_is_sealed(db: TestDb) {
        let node = node(db).await;
        let change = TestUsersChange { code: Some("917354".into()), ..TestUsersChange::default() };
        test_users::update(&node, node.dev.id, change).await.unwrap();
        let sql = "SELECT code FROM test_users";
        let (stored,): (Vec<u8>,) = node.db.read(async move |tx| tx.one::<(Vec<u8>,)>(sql, &[]).await).await.unwrap();
        assert!(!stored.windows(6).any(|part| part == b"917354"));
        assert_eq!(test_users::get(&node, node.dev.id).await.unwrap().code, "917354");
    }
}
