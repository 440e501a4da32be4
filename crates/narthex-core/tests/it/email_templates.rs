//! Mail templates of customers: kept, chosen, and what callers have to hand over for them.

use std::collections::BTreeMap;

use narthex_core::emails::{self, Content, EmailTemplate, Mail, Scope, TemplatePatch, UseCase, Variables};
use narthex_core::events::Actor;
use narthex_core::ids::{EmailTemplateId, OrganizationId};
use narthex_core::organizations::{self, Identity, NewOrganization};
use narthex_core::schema::Schema;
use narthex_core::testing::{Sent, TestCore};
use narthex_core::{Error, Kind, branding, jobs};
use serde_json::json;

use crate::email_servers::server;
use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::map;

fn content(subject: &str) -> Content {
    Content { subject: subject.to_owned(), html: "<p>{{ otp }}</p>".to_owned(), plain: "{{ otp }}".to_owned() }
}

async fn create(core: &TestCore, scope: Scope, content: Content) -> Result<EmailTemplate, Error> {
    emails::create_template(core, core.dev.id, scope, UseCase::UserLoginOtp, content, None).await
}

async fn organization(core: &TestCore, name: &str) -> OrganizationId {
    let new = NewOrganization::named(name);
    organizations::create(core, core.dev.id, &Actor::SYSTEM, new, None).await.expect("an organization").id
}

/// A code, mailed to somebody who signs in to an organization.
async fn send(core: &TestCore, organization: Scope, custom: BTreeMap<String, String>) -> Sent {
    let variables = Variables { otp: Some("012345".to_owned()), ..Variables::default() };
    let to = "ann@example.com".to_owned();
    let mail = Mail { use_case: UseCase::UserLoginOtp, organization, to, variables, custom };
    emails::send(core, &core.dev, mail).await.expect("sent");
    core.mails.sent().pop().expect("a mail")
}

async fn subject(core: &TestCore, organization: Scope) -> String {
    send(core, organization, BTreeMap::new()).await.subject.clone()
}

const STOCK: &str = "Test: Your verification code is 012345";

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_51_ctl_52_eml_05_the_organizations_template_then_the_environments_then_the_built_in_one(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let (acme, bolt) = (organization(&core, "Acme").await, organization(&core, "Bolt").await);
        let everywhere = create(&core, None, content("Everywhere {{ otp }}")).await.unwrap();
        let at_acme = create(&core, Some(acme), content("At {{ organization_name }} {{ otp }}")).await.unwrap();
        assert!(!everywhere.enabled && !at_acme.enabled, "a template is made switched off");
        let enable = async |scope, id| emails::enable_template(&core, dev, scope, id).await;
        assert_eq!(enable(None, everywhere.id).await.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(enable(Some(acme), at_acme.id).await.unwrap_err().kind(), Kind::FailedPrecondition);
        let own = server(&core, "one.test").await;
        assert_eq!(enable(None, everywhere.id).await.unwrap_err().kind(), Kind::FailedPrecondition, "one that is enabled");

        emails::enable_server(&core, dev, own.id).await.unwrap();
        assert_eq!(subject(&core, Some(acme)).await, STOCK, "templates are switched on by themselves");
        assert_eq!(enable(None, everywhere.id).await.unwrap().previous, None);
        enable(Some(acme), at_acme.id).await.unwrap();
        assert_eq!(subject(&core, None).await, "Everywhere 012345");
        assert_eq!(subject(&core, Some(bolt)).await, "Everywhere 012345");
        let sent = send(&core, Some(acme), BTreeMap::new()).await;
        assert_eq!(sent.subject, "At Acme 012345");
        assert_eq!((sent.html.as_str(), sent.text.as_str()), ("<p>012345</p>", "012345"));

        // Without a server of its own an environment has no words of its own.
        emails::disable_server(&core, dev, own.id).await.unwrap();
        assert_eq!(subject(&core, Some(acme)).await, STOCK);
        assert_eq!(subject(&core, None).await, STOCK);
        emails::enable_server(&core, dev, own.id).await.unwrap();
        assert_eq!(subject(&core, Some(acme)).await, "At Acme 012345", "they are there again");

        emails::disable_template(&core, dev, Some(acme), at_acme.id).await.unwrap();
        assert_eq!(subject(&core, Some(acme)).await, "Everywhere 012345");
        emails::delete_template(&core, dev, None, everywhere.id).await.unwrap();
        assert_eq!(subject(&core, Some(acme)).await, STOCK, "an enabled one can be deleted");
    }

    async fn eml_04_one_template_of_a_use_case_and_scope_is_enabled(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let acme = organization(&core, "Acme").await;
        let own = server(&core, "one.test").await;
        emails::enable_server(&core, dev, own.id).await.unwrap();
        let first = create(&core, None, content("First")).await.unwrap();
        let second = create(&core, None, content("Second")).await.unwrap();
        let elsewhere = create(&core, Some(acme), content("Elsewhere")).await.unwrap();
        let invite = emails::create_template(&core, dev, None, UseCase::UserInvite, content("Come"), None).await.unwrap();
        for (scope, id) in [(None, first.id), (Some(acme), elsewhere.id), (None, invite.id)] {
            assert_eq!(emails::enable_template(&core, dev, scope, id).await.unwrap().previous, None);
        }
        let switched = emails::enable_template(&core, dev, None, second.id).await.unwrap();
        assert_eq!((switched.active, switched.previous), (second.id, Some(first.id)));
        let enabled: Vec<_> = emails::templates(&core, dev, None).await.unwrap().into_iter().map(|t| (t.id, t.enabled)).collect();
        assert_eq!(enabled, [(first.id, false), (second.id, true), (invite.id, true)]);
        assert_eq!(subject(&core, None).await, "Second");
    }

    async fn eml_04_a_template_is_changed_part_by_part_and_belongs_to_its_scope(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let acme = organization(&core, "Acme").await;
        let made = create(&core, Some(acme), content("Hello {{ user_name }}")).await.unwrap();
        let patch = TemplatePatch { html: Some("<b>{{ otp }} {{ company }}</b>".to_owned()), ..TemplatePatch::default() };
        let changed = emails::update_template(&core, dev, Some(acme), made.id, patch.clone()).await.unwrap();
        assert_eq!(changed.content.subject, made.content.subject);
        assert_eq!(changed.content.plain, made.content.plain);
        let names: Vec<_> = changed.content.variables().into_iter().collect();
        assert_eq!(names, ["company", "otp", "user_name"]);
        assert_eq!(emails::template(&core, dev, Some(acme), made.id).await.unwrap(), changed);

        let bolt = organization(&core, "Bolt").await;
        for (environment, scope) in [(dev, None), (dev, Some(bolt)), (core.prd.id, Some(acme)), (core.prd.id, None)] {
            assert_not_found(emails::template(&core, environment, scope, made.id).await);
            assert_not_found(emails::update_template(&core, environment, scope, made.id, patch.clone()).await);
            assert_not_found(emails::enable_template(&core, environment, scope, made.id).await);
            assert_not_found(emails::disable_template(&core, environment, scope, made.id).await);
            assert_not_found(emails::delete_template(&core, environment, scope, made.id).await);
        }
        assert_not_found(emails::templates(&core, core.prd.id, Some(acme)).await);
        assert_not_found(create(&core, Some(OrganizationId(1)), content("x")).await);
        assert_not_found(emails::template(&core, dev, None, EmailTemplateId(1)).await);
        assert!(emails::templates(&core, dev, None).await.unwrap().is_empty());

        // An organization takes its templates with it.
        organizations::delete(&core, dev, &Actor::SYSTEM, Identity::Id(acme)).await.unwrap();
        jobs::drain(&core.core).await.unwrap();
        let (left,): (i64,) = core.db.read(async |tx| tx.one("SELECT COUNT(*) FROM email_templates", &[]).await).await.unwrap();
        assert_eq!(left, 0);
    }

    async fn eml_04_what_is_no_template_is_refused_where_it_is_saved(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let broken = Content { html: "<p>\n{{ otp | shout }}</p>".to_owned(), ..content("x") };
        let error = assert_invalid(create(&core, None, broken).await, "template.html_content");
        assert!(error.message().contains("line 2: there is no function `shout`"), "{}", error.message());
        let endless = Content { plain: "{{ range ints(0, 1000000) }}x{{ end }}".to_owned(), ..content("x") };
        assert_invalid(create(&core, None, endless).await, "template.plain_content");
        let nul = Content { plain: "a\0b".to_owned(), ..content("x") };
        assert_invalid(create(&core, None, nul).await, "template.plain_content");
        let made = create(&core, None, content("x")).await.unwrap();
        let patch = TemplatePatch { subject: Some("{{ if otp }}".to_owned()), ..TemplatePatch::default() };
        assert_invalid(emails::update_template(&core, core.dev.id, None, made.id, patch).await, "template.subject");
        assert_eq!(emails::template(&core, core.dev.id, None, made.id).await.unwrap(), made);
    }

    async fn templates_of_a_scope_have_a_bound(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let mebibyte = "x".repeat(1024 * 1024);
        let large = || Content { html: mebibyte.clone(), plain: mebibyte.clone(), ..content("x") };
        for _ in 0..8 {
            create(&core, None, large()).await.unwrap();
        }
        assert_eq!(create(&core, None, content("x")).await.unwrap_err().kind(), Kind::FailedPrecondition);
        let acme = organization(&core, "Acme").await;
        create(&core, Some(acme), content("x")).await.unwrap();
    }

    async fn eml_06_ctl_51_every_built_in_variable_renders(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let own = server(&core, "one.test").await;
        emails::enable_server(&core, dev, own.id).await.unwrap();
        let x = json!({
            "app_name": "Bolt & Co",
            "logo_url": "https://bolt.test/logo.png",
            "support_email": "help@bolt.test",
            "organization_meta_name": "Workspace",
        });
        branding::update(&core, dev, x.as_object().unwrap().clone()).await.unwrap();
        let acme = organization(&core, "Acme").await;
        let ann = crate::people::direct(acme, "ann@example.com");
        let narthex_core::memberships::Subject::New(mut user) = ann.subject.clone() else { unreachable!() };
        user.profile.given_name = Some("Ann".to_owned());
        user.profile.family_name = Some("O'Hara".to_owned());
        let ann = narthex_core::memberships::Addition { subject: narthex_core::memberships::Subject::New(user), ..ann };
        narthex_core::memberships::add(&core, &core.dev, &Actor::SYSTEM, ann, None).await.unwrap();
        let names = ["app_name", "app_logo_url", "app_support_email", "app_organization_meta_name", "organization_name", "user_name",
            "user_email", "link", "otp", "expiry_time_relative"];
        let all = names.map(|name| format!("{{{{ {name} }}}}")).join("|");
        let content = Content { subject: "{{ app_name }}".to_owned(), html: all.clone(), plain: all };
        let made = emails::create_template(&core, dev, None, UseCase::UserLoginLinkOtp, content, None).await.unwrap();
        emails::enable_template(&core, dev, None, made.id).await.unwrap();
        let mail = Mail {
            use_case: UseCase::UserLoginLinkOtp,
            organization: Some(acme),
            to: "ann@example.com".to_owned(),
            variables: Variables {
                link: Some("https://app.test/?a=1&b=2".to_owned()),
                otp: Some("000001".to_owned()),
                expires_at: Some(core.clock.now().plus(std::time::Duration::from_mins(5))),
            },
            custom: BTreeMap::new(),
        };
        emails::send(&core, &core.dev, mail).await.unwrap();
        let sent = core.mails.sent().pop().unwrap();
        let text = "Bolt & Co|https://bolt.test/logo.png|help@bolt.test|Workspace|Acme|Ann O'Hara|ann@example.com|\
                    https://app.test/?a=1&b=2|000001|5 min";
        assert_eq!((sent.subject.as_str(), sent.text.as_str()), ("Bolt & Co", text));
        assert_eq!(sent.html, text.replace('&', "&amp;").replace('\'', "&#39;"));
    }

    async fn pwl_10_callers_hand_over_what_the_template_relies_on_and_nothing_reserved(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let acme = organization(&core, "Acme").await;
        let check = async |scope, custom| emails::check_variables(&core, dev, scope, UseCase::UserLoginOtp, &custom).await;
        check(None, map([("surplus", "1")])).await.unwrap();
        for reserved in emails::RESERVED {
            let error = assert_invalid(check(None, map([(reserved, "1"), ("fine", "1")])).await, "template_variables");
            assert!(error.message().contains(reserved));
        }
        let own = server(&core, "one.test").await;
        emails::enable_server(&core, dev, own.id).await.unwrap();
        let relies = Content {
            subject: "{{ app_name }} {{ otp }} {{ link }} {{ expiry_time }}".to_owned(),
            html: "{{ if isset(greeting) }}{{ greeting }}{{ end }}{{ company }}".to_owned(),
            plain: "{{ if plan == \"pro\" }}!{{ end }}".to_owned(),
        };
        let made = create(&core, Some(acme), Content { html: relies.html.replace("{{ greeting }}", ""), ..relies }).await.unwrap();
        check(Some(acme), map([])).await.unwrap();
        emails::enable_template(&core, dev, Some(acme), made.id).await.unwrap();
        let error = check(Some(acme), map([("plan", "pro")])).await.unwrap_err();
        assert_eq!(error.field_violations().len(), 1);
        assert!(error.message().contains("`company` is missing"), "{}", error.message());
        assert_eq!(check(Some(acme), map([])).await.unwrap_err().field_violations().len(), 2);
        check(Some(acme), map([("plan", ""), ("company", "Bolt"), ("surplus", "1")])).await.unwrap();
        check(None, map([])).await.unwrap();
    }

    async fn callers_variables_are_printed_and_never_in_place_of_a_reserved_one(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let own = server(&core, "one.test").await;
        emails::enable_server(&core, dev, own.id).await.unwrap();
        let made = create(&core, None, Content { plain: "{{ app_name }} {{ company }} {{ otp }}{{ expiry_time_relative }}".to_owned(), ..content("{{ company }}") }).await.unwrap();
        emails::enable_template(&core, dev, None, made.id).await.unwrap();
        let custom = map([("company", "Bolt\r\nBcc: all@example.com"), ("app_name", "Own"), ("otp", "999999"), ("expiry_time_relative", "years")]);
        let sent = send(&core, None, custom).await;
        assert_eq!(sent.text, "Own Bolt\r\nBcc: all@example.com 012345");
        assert_eq!(sent.subject, "Bolt Bcc: all@example.com", "one line");
        // Hosted sends have none: the login goes on without.
        assert_eq!(send(&core, None, BTreeMap::new()).await.text, "Test  012345");
    }

    async fn a_template_that_fails_at_the_worst_time_gives_way_to_the_built_in_one(db: TestDb) {
        let core = TestCore::on(db).await.unwrap();
        let dev = core.dev.id;
        let own = server(&core, "one.test").await;
        emails::enable_server(&core, dev, own.id).await.unwrap();
        let heavy = Content { plain: "{{ range ints(0, times) }}x{{ end }}".to_owned(), ..content("Own") };
        let made = create(&core, None, heavy).await.unwrap();
        emails::enable_template(&core, dev, None, made.id).await.unwrap();
        assert_eq!(send(&core, None, map([("times", "3")])).await.text, "xxx");
        assert_eq!(send(&core, None, map([("times", "1000000000")])).await.subject, STOCK);
    }
}
