//! Mail servers of customers, and the form that shows one.

use narthex_core::Error;
use narthex_core::emails::{self, EmailServer, FormServer, Mail, NewServer, Provider, Settings, UseCase, Variables};
use narthex_core::ids::EmailServerId;
use narthex_core::schema::Schema;
use narthex_core::seal::Secret;
use narthex_core::testing::{RecordingMailer, TestCore};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::postgres_database;

const PASSWORD: &str = "correct-horse-battery-staple";

pub fn settings(host: &str) -> Settings {
    Settings {
        host: host.to_owned(),
        port: 587,
        username: "apikey".to_owned(),
        from_email: "hello@acme.test".to_owned(),
        from_name: "Acme".to_owned(),
    }
}

fn new(host: &str) -> NewServer {
    NewServer { provider: Provider::Other, settings: settings(host), password: Secret::new(PASSWORD.to_owned()) }
}

/// A server of the DEV environment.
pub async fn server(core: &TestCore, host: &str) -> EmailServer {
    emails::create_server(core, core.dev.id, new(host), None).await.expect("a server")
}

async fn send(core: &TestCore) -> narthex_core::testing::Sent {
    let mail = Mail {
        use_case: UseCase::UserLoginOtp,
        organization: None,
        to: "ann@example.com".to_owned(),
        variables: Variables { otp: Some("012345".to_owned()), ..Variables::default() },
        custom: std::collections::BTreeMap::new(),
    };
    emails::send(core, &core.dev, mail).await.expect("sent");
    core.mails.last_to("ann@example.com").expect("a mail")
}

fn form(server: Option<&EmailServer>, enabled: bool, password: &str) -> FormServer {
    FormServer {
        id: server.map(|server| server.id),
        provider: Provider::Postmark,
        enabled,
        settings: settings("smtp.postmarkapp.com"),
        password: Secret::new(password.to_owned()),
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn eml_03_ctl_50_one_server_at_most_is_enabled_and_mails_go_through_it(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let (first, second) = (server(&core, "one.test").await, server(&core, "two.test").await);
        assert!(!first.enabled && !second.enabled, "a server is made switched off");
        assert!(send(&core).await.via.is_none());

        let switched = emails::enable_server(&core, dev, first.id).await.unwrap();
        assert_eq!((switched.active, switched.previous), (first.id, None));
        let sent = send(&core).await;
        let via = sent.via.as_ref().unwrap();
        assert_eq!((via.host.as_str(), via.port, via.username.as_str()), ("one.test", 587, "apikey"));
        assert_eq!(via.password.expose(), PASSWORD);
        assert_eq!((sent.from_name.as_str(), sent.from.as_str()), ("Acme", "hello@acme.test"));

        let switched = emails::enable_server(&core, dev, second.id).await.unwrap();
        assert_eq!((switched.active, switched.previous), (second.id, Some(first.id)));
        let again = emails::enable_server(&core, dev, second.id).await.unwrap();
        assert_eq!((again.active, again.previous), (second.id, None), "it was on");
        assert_eq!(send(&core).await.via.unwrap().host, "two.test");
        let enabled: Vec<_> = emails::servers(&core, dev).await.unwrap().into_iter().map(|server| (server.id, server.enabled)).collect();
        assert_eq!(enabled, [(first.id, false), (second.id, true)]);

        emails::disable_server(&core, dev, first.id).await.unwrap();
        assert!(send(&core).await.via.is_some(), "another one stays on");
        emails::delete_server(&core, dev, second.id).await.unwrap();
        let sent = send(&core).await;
        assert!(sent.via.is_none());
        assert_eq!(sent.from, RecordingMailer::ADDRESS, "the installation's own takes over");
        assert_not_found(emails::server(&core, dev, second.id).await.map(drop));
    }

    async fn eml_03_a_blank_password_keeps_the_stored_one_for_the_host_it_was_given_for(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let made = server(&core, "one.test").await;
        emails::enable_server(&core, dev, made.id).await.unwrap();
        let changed = Settings { port: 465, from_name: "Bolt".to_owned(), host: "ONE.test ".to_owned(), ..settings("") };
        for blank in [None, Some(Secret::new(String::new()))] {
            let server = emails::update_server(&core, dev, made.id, changed.clone(), blank).await.unwrap();
            assert_eq!((server.settings.port, server.settings.host.as_str()), (465, "one.test"));
        }
        let sent = send(&core).await;
        assert_eq!((sent.from_name.as_str(), sent.via.as_ref().unwrap().password.expose().as_str()), ("Bolt", PASSWORD));

        // Whoever may change settings must not have the password sent to a host of their own.
        let elsewhere = settings("evil.test");
        let refused = emails::update_server(&core, dev, made.id, elsewhere.clone(), None).await.map(drop);
        assert_invalid(refused, "settings.password");
        assert_eq!(send(&core).await.via.unwrap().host, "one.test");
        let new = Some(Secret::new("another".to_owned()));
        emails::update_server(&core, dev, made.id, elsewhere, new).await.unwrap();
        let via = send(&core).await.via.unwrap();
        assert_eq!((via.host.as_str(), via.password.expose().as_str()), ("evil.test", "another"));
    }

    async fn eml_08_a_password_is_sealed_where_it_stands(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let made = server(&core, "one.test").await;
        let other = server(&core, "two.test").await;
        let read = async || {
            let rows: Vec<(Vec<u8>,)> = core.db.read(async |tx| tx.all("SELECT password FROM email_servers ORDER BY id", &[]).await).await.unwrap();
            rows
        };
        for (password,) in read().await {
            assert!(!password.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
        }
        // Moved to another row it opens nowhere.
        let moved = "UPDATE email_servers SET password = (SELECT password FROM email_servers ORDER BY id LIMIT 1)";
        core.db.write(async move |tx| tx.execute(moved, &[]).await).await.unwrap();
        emails::enable_server(&core, core.dev.id, other.id).await.unwrap();
        let mail = Mail {
            use_case: UseCase::UserLoginOtp,
            organization: None,
            to: "ann@example.com".to_owned(),
            variables: Variables::default(),
            custom: std::collections::BTreeMap::new(),
        };
        emails::send(&core, &core.dev, mail).await.unwrap_err();
        emails::enable_server(&core, core.dev.id, made.id).await.unwrap();
        assert_eq!(send(&core).await.via.unwrap().password.expose(), PASSWORD);
    }

    async fn eml_03_a_server_that_no_mail_could_be_sent_through_is_refused(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        for (field, broken) in [
            ("settings.host", Settings { host: "https://smtp.test".to_owned(), ..settings("") }),
            ("settings.host", Settings { host: "smtp.test:587".to_owned(), ..settings("") }),
            ("settings.username", Settings { username: "a\r\nb".to_owned(), ..settings("smtp.test") }),
            ("settings.from_name", Settings { from_name: "Acme\r\nBcc: all@example.com".to_owned(), ..settings("smtp.test") }),
            ("settings.from_name", Settings { from_name: " ".to_owned(), ..settings("smtp.test") }),
            ("settings.from_email", Settings { from_email: "nobody".to_owned(), ..settings("smtp.test") }),
            ("settings.from_email", Settings { from_email: "a@b.test\r\nBcc: c@d.test".to_owned(), ..settings("smtp.test") }),
        ] {
            let refused = emails::create_server(&core, dev, NewServer { settings: broken, ..new("") }, None).await.map(drop);
            assert_invalid(refused, field);
        }
        for password in ["", "a\nb", &"x".repeat(256)] {
            let new = NewServer { password: Secret::new(password.to_owned()), ..new("smtp.test") };
            assert_invalid(emails::create_server(&core, dev, new, None).await.map(drop), "settings.password");
        }
        for number in 0..20 {
            server(&core, &format!("{number}.test")).await;
        }
        let full: Result<(), Error> = emails::create_server(&core, dev, new("smtp.test"), None).await.map(drop);
        assert_eq!(full.unwrap_err().kind(), narthex_core::Kind::FailedPrecondition);
    }

    async fn a_server_of_another_environment_is_none(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let made = server(&core, "one.test").await;
        let prd = core.prd.id;
        assert_not_found(emails::server(&core, prd, made.id).await.map(drop));
        assert_not_found(emails::update_server(&core, prd, made.id, settings("one.test"), None).await.map(drop));
        assert_not_found(emails::enable_server(&core, prd, made.id).await);
        assert_not_found(emails::disable_server(&core, prd, made.id).await);
        assert_not_found(emails::delete_server(&core, prd, made.id).await);
        assert_not_found(emails::configure(&core, &core.prd, "", Some(form(Some(&made), true, "secret"))).await.map(drop));
        assert!(emails::servers(&core, prd).await.unwrap().is_empty());
        assert_not_found(emails::enable_server(&core, core.dev.id, EmailServerId(1)).await);
    }

    async fn eml_09_ctl_50_the_form_says_whose_server_is_used(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let empty = emails::configuration(&core, &core.dev).await.unwrap();
        assert_eq!((empty.from_name.as_str(), empty.from_address.as_str()), ("Team Test", RecordingMailer::ADDRESS));
        assert!(!empty.is_custom() && empty.server.is_none());

        // Only the name.
        let named = emails::configure(&core, &core.dev, " Acme Mail ", None).await.unwrap();
        assert_eq!(named.from_name, "Acme Mail");
        assert_eq!(send(&core).await.from_name, "Acme Mail");

        // A server, switched off, then on, then off again; the password is given once.
        assert_invalid(emails::configure(&core, &core.dev, "", Some(form(None, true, ""))).await.map(drop), "server.settings.password");
        assert_eq!(emails::configuration(&core, &core.dev).await.unwrap().from_name, "Acme Mail", "all or nothing");
        let made = emails::configure(&core, &core.dev, "", Some(form(None, false, PASSWORD))).await.unwrap();
        assert_eq!(made.from_name, "Team Test", "an empty name is the built-in one");
        assert!(!made.is_custom());
        let made = made.server.unwrap();
        let on = emails::configure(&core, &core.dev, "", Some(form(Some(&made), true, ""))).await.unwrap();
        assert!(on.is_custom());
        assert_eq!(send(&core).await.via.unwrap().password.expose(), PASSWORD);

        // A second one takes over, and the first one is off.
        let second = emails::configure(&core, &core.dev, "", Some(form(None, true, "another"))).await.unwrap();
        assert_eq!(send(&core).await.via.unwrap().password.expose(), "another");
        let second = second.server.unwrap();
        assert_ne!(second.id, made.id);
        let off = emails::configure(&core, &core.dev, "", Some(form(Some(&second), false, ""))).await.unwrap();
        assert!(!off.is_custom());
        assert_eq!(off.server.unwrap().id, second.id, "shown, though it is off");
        assert!(send(&core).await.via.is_none());
        assert_invalid(emails::configure(&core, &core.dev, "a\nb", None).await.map(drop), "default_from_name");
        let moved = FormServer { settings: settings("evil.test"), ..form(Some(&made), true, "") };
        assert_invalid(emails::configure(&core, &core.dev, "", Some(moved)).await.map(drop), "server.settings.password");
    }
}

/// Mistake 5 of DESIGN §6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eml_03_two_servers_that_are_enabled_at_once_leave_one_enabled() {
    let Some(db) = postgres_database().await else { return };
    let core = TestCore::on(db).await.unwrap();
    let dev = core.dev.id;
    let servers = [server(&core, "one.test").await, server(&core, "two.test").await];
    for _ in 0..10 {
        let enable = servers.clone().map(|server| {
            let core = core.core.clone();
            tokio::spawn(async move { emails::enable_server(&core, dev, server.id).await })
        });
        for task in enable {
            task.await.unwrap().unwrap();
        }
        let enabled = emails::servers(&core, dev).await.unwrap().into_iter().filter(|server| server.enabled).count();
        assert_eq!(enabled, 1);
    }
}
