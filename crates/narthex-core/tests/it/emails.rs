//! Mails: written, sent, tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use narthex_core::emails::{self, Mail, UseCase, Variables};
use narthex_core::mailer::Failure;
use narthex_core::organizations::{self, NewOrganization};
use narthex_core::schema::Schema;
use narthex_core::testing::{RecordingMailer, TestCore};
use narthex_core::{Kind, invitations, jobs};

use crate::people::{People, direct, invited};

const HOUR: Duration = Duration::from_hours(1);

/// A mail with everything that its use case has.
fn mail(core: &TestCore, use_case: UseCase) -> Mail {
    Mail {
        use_case,
        organization: None,
        to: "ann@example.com".to_owned(),
        variables: Variables {
            link: Some("https://app.test/in?link_token=1_l&next=%2F".to_owned()),
            otp: Some("012345".to_owned()),
            expires_at: Some(core.clock.now().plus(Duration::from_mins(5))),
        },
        custom: BTreeMap::new(),
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn eml_01_every_use_case_has_a_stock_template_in_html_and_text(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        for use_case in UseCase::ALL {
            emails::send(&core, &core.dev, mail(&core, use_case)).await.unwrap();
            let sent = core.mails.last_to("ann@example.com").unwrap();
            let name = use_case.name();
            assert!(sent.subject.contains("Test"), "{name}: {}", sent.subject);
            for (part, link) in [
                (&sent.html, "href=\"https://app.test/in?link_token=1_l&amp;next=%2F\""),
                (&sent.text, "\nhttps://app.test/in?link_token=1_l&next=%2F\n"),
            ] {
                assert_eq!(part.contains(link), sent.use_case.placeholders().iter().any(|known| known.name == "link"), "{name}: {part}");
                assert_eq!(part.contains("012345"), sent.use_case.placeholders().iter().any(|known| known.name == "otp"), "{name}: {part}");
                assert!(part.contains("in 5 min."), "{name}: {part}");
                assert!(!part.contains("{{") && !part.contains('['), "{name}: {part}");
            }
            assert!(sent.html.starts_with("<!doctype html>"), "{name}");
        }
        assert_eq!(core.mails.sent().len(), 12);
    }

    async fn eml_07_without_a_server_of_its_own_an_environment_sends_as_the_team_of_its_workspace(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        emails::send(&core, &core.dev, mail(&core, UseCase::UserLoginOtp)).await.unwrap();
        let sent = core.mails.last_to("ann@example.com").unwrap();
        assert_eq!((sent.from_name.as_str(), sent.from.as_str()), ("Team Test", RecordingMailer::ADDRESS));
        assert!(sent.via.is_none());
        assert_eq!(sent.subject, "Test: Your verification code is 012345");
    }

    async fn a_mail_that_no_server_takes_fails_what_asked_for_it(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        for (failure, kind) in [
            (Failure::NotConfigured, Kind::FailedPrecondition),
            (Failure::Unreachable, Kind::Unavailable),
            (Failure::Login, Kind::Unavailable),
            (Failure::Refused, Kind::Unavailable),
        ] {
            core.mails.fail(Some(failure));
            let error = emails::send(&core, &core.dev, mail(&core, UseCase::UserLoginOtp)).await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, failure.text()));
        }
        core.mails.fail(None);
        assert!(core.mails.sent().is_empty());
    }

    async fn mistake_13_names_put_nothing_into_headers_or_html(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let name = "Acme\" onload=x <script>alert(1)</script> {{ otp }} `'&";
        let new = NewOrganization::named(name);
        let by = narthex_core::events::Actor::SYSTEM;
        let organization = organizations::create(&core, core.dev.id, &by, new, None).await.unwrap().id;
        let invite = Mail { organization: Some(organization), ..mail(&core, UseCase::UserInvite) };
        emails::send(&core, &core.dev, invite).await.unwrap();
        let sent = core.mails.last_to("ann@example.com").unwrap();
        assert_eq!(sent.subject, format!("You are invited to {name} on Test"), "as it is, on one line");
        assert!(sent.text.contains(name), "as it is: {}", sent.text);
        let escaped = "Acme&#34; onload=x &lt;script&gt;alert(1)&lt;/script&gt; {{ otp }} &#96;&#39;&amp;";
        assert!(sent.html.contains(escaped) && !sent.html.contains("<script"), "{}", sent.html);
        assert!(!sent.html.contains("012345"), "a name is no template");
    }

    async fn a_mail_that_follows_a_transaction_goes_with_it_and_is_sent_once(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let secret = "https://app.test/in?link_token=1_l&next=%2F";
        let prepared = emails::prepare(&core, &core.dev, mail(&core, UseCase::MemberInvite)).await.unwrap();
        let now = core.clock.now();
        let refused: Result<(), narthex_core::Error> = core.db.write({
            let prepared = prepared.clone();
            async move |tx| {
                emails::enqueue(tx, &prepared, now).await?;
                Err(narthex_core::Error::internal("rolled back"))
            }
        }).await;
        refused.unwrap_err();
        jobs::drain(&core.core).await.unwrap();
        assert!(core.mails.sent().is_empty(), "no transaction, no mail");

        core.db.write(async move |tx| emails::enqueue(tx, &prepared, now).await).await.unwrap();
        let rows: Vec<(Vec<u8>, String)> = core.db.read(async |tx| {
            tx.all("SELECT m.payload, j.payload FROM mail_outbox m JOIN jobs j ON j.id = m.id", &[]).await
        }).await.unwrap();
        assert_eq!(rows.len(), 1);
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        for hidden in [secret, "012345", "ann@example.com"] {
            assert!(!holds(&rows[0].0, hidden) && !rows[0].1.contains(hidden), "{hidden} is sealed");
        }
        jobs::drain(&core.core).await.unwrap();
        let sent = core.mails.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].link.as_deref(), Some(secret));
        let (left,): (i64,) = core.db.read(async |tx| tx.one("SELECT COUNT(*) FROM mail_outbox", &[]).await).await.unwrap();
        assert_eq!(left, 0);
    }

    async fn what_a_server_does_not_take_is_tried_again_and_becomes_a_dead_letter(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let mail = Mail { variables: Variables { expires_at: None, ..mail(&core, UseCase::MemberInvite).variables }, ..mail(&core, UseCase::MemberInvite) };
        let send = async || {
            let prepared = emails::prepare(&core, &core.dev, mail.clone()).await.unwrap();
            let now = core.clock.now();
            core.db.write(async move |tx| emails::enqueue(tx, &prepared, now).await).await.unwrap();
        };
        core.mails.fail(Some(Failure::Busy));
        send().await;
        jobs::drain(&core.core).await.unwrap();
        core.mails.fail(None);
        core.clock.advance(Duration::from_secs(9));
        jobs::drain(&core.core).await.unwrap();
        assert!(core.mails.sent().is_empty(), "not before its time");
        core.clock.advance(Duration::from_secs(1));
        jobs::drain(&core.core).await.unwrap();
        let first = core.mails.sent();
        assert_eq!(first.len(), 1);

        core.mails.fail(Some(Failure::Login));
        send().await;
        for wait in emails::DELIVER.retry {
            jobs::drain(&core.core).await.unwrap();
            core.clock.advance(*wait);
        }
        jobs::drain(&core.core).await.unwrap();
        let dead = core.db.read(async move |tx| jobs::dead(tx, dev).await).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].kind.as_str(), dead[0].last_error.as_str()), ("mail.deliver", Failure::Login.text()));
    }

    async fn a_mail_that_a_server_refuses_for_good_is_not_tried_again(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        core.mails.fail(Some(Failure::Refused));
        let never_ends = Mail { variables: Variables::default(), ..mail(&core, UseCase::MemberInvite) };
        let prepared = emails::prepare(&core, &core.dev, never_ends).await.unwrap();
        let now = core.clock.now();
        core.db.write(async move |tx| emails::enqueue(tx, &prepared, now).await).await.unwrap();
        jobs::drain(&core.core).await.unwrap();
        let dead = core.db.read(async move |tx| jobs::dead(tx, dev).await).await.unwrap();
        assert_eq!(dead.len(), 1, "at once");
        assert_eq!((dead[0].kind.as_str(), dead[0].last_error.as_str()), ("mail.deliver", Failure::Refused.text()));
        core.mails.fail(None);
        core.clock.advance(HOUR * 48);
        jobs::drain(&core.core).await.unwrap();
        assert!(core.mails.sent().is_empty());
    }

    async fn a_dead_letter_that_is_revived_in_time_is_sent(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        core.mails.fail(Some(Failure::NotConfigured));
        let never_ends = Mail { variables: Variables::default(), ..mail(&core, UseCase::MemberInvite) };
        let prepared = emails::prepare(&core, &core.dev, never_ends).await.unwrap();
        let now = core.clock.now();
        core.db.write(async move |tx| emails::enqueue(tx, &prepared, now).await).await.unwrap();
        for wait in emails::DELIVER.retry {
            jobs::drain(&core.core).await.unwrap();
            core.clock.advance(*wait);
        }
        jobs::drain(&core.core).await.unwrap();
        core.mails.fail(None);
        let letter = core.db.read(async move |tx| jobs::dead(tx, dev).await).await.unwrap().remove(0);
        let now = core.clock.now();
        let revived = core.db.write(async move |tx| jobs::revive(tx, dev, letter.id, "mail.deliver", now).await).await.unwrap();
        assert!(revived);
        jobs::drain(&core.core).await.unwrap();
        assert_eq!(core.mails.sent().len(), 1);
    }

    async fn a_mail_whose_link_has_run_out_is_not_sent(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        core.mails.fail(Some(Failure::Unreachable));
        let prepared = emails::prepare(&core, &core.dev, mail(&core, UseCase::MemberInvite)).await.unwrap();
        let now = core.clock.now();
        core.db.write(async move |tx| emails::enqueue(tx, &prepared, now).await).await.unwrap();
        jobs::drain(&core.core).await.unwrap();
        core.mails.fail(None);
        core.clock.advance(HOUR);
        jobs::drain(&core.core).await.unwrap();
        assert!(core.mails.sent().is_empty());
        let (left,): (i64,) = core.db.read(async |tx| tx.one("SELECT COUNT(*) FROM mail_outbox", &[]).await).await.unwrap();
        assert_eq!(left, 0, "nor kept");
    }

    async fn inv_01_an_invitation_is_mailed_with_its_link_and_its_end(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        f.add(direct(acme, "bob@example.com")).await.unwrap();
        jobs::drain(f.core()).await.unwrap();
        assert!(f.node.mails.sent().is_empty(), "who is a member at once is not invited");
        let ann = f.add(invited(acme, "Ann@example.com")).await.unwrap().user.id;
        jobs::drain(f.core()).await.unwrap();
        let sent = f.node.mails.last_to("Ann@example.com").unwrap();
        assert_eq!((sent.use_case, sent.subject.as_str()), (UseCase::UserInvite, "You are invited to Acme on Test"));
        let secret = sent.link.as_ref().unwrap().strip_prefix("https://dev.test/invite/").unwrap().to_owned();
        assert_eq!(secret.len(), 43);
        assert!(sent.text.contains("The invitation expires in 15 days."), "{}", sent.text);
        assert!(sent.html.contains("Accept Invitation"));
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 1);

        // Sent again: another link, with the same end.
        f.node.clock.advance(HOUR);
        invitations::resend(f.core(), f.environment(), &f.by, acme, ann).await.unwrap();
        jobs::drain(f.core()).await.unwrap();
        let again = f.node.mails.last_to("Ann@example.com").unwrap();
        assert_ne!(again.link, sent.link);
        assert!(again.text.contains("in 14 days, 23 hours"), "{}", again.text);
        assert_eq!(f.node.mails.sent().len(), 2);
    }

    async fn inv_03_an_invitation_that_was_taken_back_is_not_mailed(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        f.node.mails.fail(Some(Failure::Unreachable));
        let ann = f.add(invited(acme, "ann@example.com")).await.unwrap().user.id;
        jobs::drain(f.core()).await.unwrap();
        let remove = narthex_core::memberships::remove(f.core(), f.env(), &f.by, acme, narthex_core::users::Identity::Id(ann), false);
        remove.await.unwrap();
        f.node.mails.fail(None);
        f.node.clock.advance(HOUR);
        jobs::drain(f.core()).await.unwrap();
        assert!(f.node.mails.sent().is_empty());
        assert_eq!(f.number("SELECT COUNT(*) FROM mail_outbox").await, 0);
    }
}
