//! Domains: added, proven by a record, removed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narthex_core::dns::{Answer, Dns, DnsError};
use narthex_core::domains::{self, Domain, DomainName, DomainType, Listed, Method, NewDomain, Source, Status, WINDOW};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{DomainId, EnvId, OrganizationId};
use narthex_core::organizations::{self, Identity, NewOrganization};
use narthex_core::portal_links::{self, Life};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind, jobs};
use narthex_db::testing::TestDb;
use serde_json::Value;

use crate::fixture::{Fixture, assert_invalid, assert_not_found};
use crate::people::{Rival, postgres_database, until_it_waits};

const HOUR: Duration = Duration::from_hours(1);

/// Records in the test's hand.
#[derive(Debug, Default)]
struct Zone {
    records: Mutex<HashMap<String, Vec<String>>>,
    asked: Mutex<usize>,
    silent: Mutex<bool>,
}

impl Zone {
    fn set(&self, name: &str, records: &[&str]) {
        self.records.lock().unwrap().insert(name.to_owned(), records.iter().map(|&text| text.to_owned()).collect());
    }

    fn fall_silent(&self, silent: bool) {
        *self.silent.lock().unwrap() = silent;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Dns for Zone {
    fn txt<'a>(&'a self, name: &'a str) -> Answer<'a> {
        Box::pin(async move {
            *self.asked.lock().unwrap() += 1;
            if *self.silent.lock().unwrap() {
                return Err(DnsError("timed out".to_owned()));
            }
            Ok(self.records.lock().unwrap().get(name).cloned().unwrap_or_default())
        })
    }
}

struct World {
    f: Fixture,
    zone: Arc<Zone>,
    acme: OrganizationId,
}

impl World {
    async fn on(db: TestDb) -> Self {
        let zone = Arc::new(Zone::default());
        let f = Fixture::asking(db, Arc::clone(&zone) as Arc<dyn Dns>).await;
        let acme = f.create(NewOrganization { slug: Some("acme".into()), ..NewOrganization::named("Acme") }).await;
        Self { acme: acme.expect("an organization").id, f, zone }
    }

    async fn add(
        &self,
        organization: OrganizationId,
        name: &str,
        kind: DomainType,
        source: Source,
    ) -> Result<Domain, Error> {
        let new = NewDomain { organization, name: DomainName::parse(name)?, kind, source };
        domains::create(&self.f.core, self.f.env(), &self.f.by, new, None).await
    }

    /// One that waits for its record.
    async fn pending(&self, organization: OrganizationId, name: &str) -> Domain {
        self.add(organization, name, DomainType::Organization, Source::Organization).await.expect("a domain")
    }

    async fn admin(&self, organization: OrganizationId, name: &str) -> Result<Domain, Error> {
        self.add(organization, name, DomainType::Organization, Source::Application).await
    }

    async fn get(&self, domain: &Domain) -> Result<Domain, Error> {
        domains::get(&self.f.core, self.f.env(), domain.organization, domain.id).await
    }

    async fn verify(&self, domain: &Domain) -> Result<bool, Error> {
        domains::verify(&self.f.core, self.f.env(), &self.f.by, domain.organization, domain.id).await
    }

    async fn list(&self, asked: Listed) -> Vec<String> {
        let found = domains::list(&self.f.core, self.f.env(), self.acme, asked).await.expect("a page");
        found.into_iter().map(|domain| domain.name).collect()
    }

    /// Types of the events about domains, oldest first, without what they have in common.
    async fn told(&self) -> Vec<String> {
        let types = self.f.event_types().await;
        types.iter().filter_map(|kind| kind.strip_prefix("organization.domain_")).map(str::to_owned).collect()
    }

    fn record(domain: &Domain) -> String {
        format!("{}={}", domain.txt_key, domain.txt_secret)
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn sso_50_sso_52_what_the_application_adds_counts_at_once(db: TestDb) {
        let w = World::on(db).await;
        let own = w.admin(w.acme, " ACME.test.").await.unwrap();
        assert_eq!((own.name.as_str(), own.kind, own.status, own.method), ("acme.test", DomainType::Organization, Status::Verified, Method::Admin));
        assert_eq!((own.txt_key.as_str(), own.txt_secret.as_str()), ("", ""));
        assert!(own.id.to_string().starts_with("dom_"));
        for source in [Source::Application, Source::Organization] {
            let name = format!("mail-{source:?}.test");
            let allowed = w.add(w.acme, &name, DomainType::AllowedEmail, source).await.unwrap();
            assert_eq!((allowed.status, allowed.method), (Status::AutoVerified, Method::NotApplicable));
            assert!(w.verify(&allowed).await.unwrap());
        }
        assert!(w.verify(&own).await.unwrap());
        assert_eq!(w.zone.asked(), 0, "there was nothing to ask");
        assert_eq!(w.get(&own).await.unwrap(), own);
        assert_eq!(w.told().await, ["created"; 3]);
        // One name may have both types.
        w.add(w.acme, "acme.test", DomainType::AllowedEmail, Source::Application).await.unwrap();
        for kind in [DomainType::Organization, DomainType::AllowedEmail] {
            let error = assert_invalid(w.add(w.acme, "Acme.TEST", kind, Source::Application).await, "domain");
            assert_eq!(error.message(), "duplicate key not allowed: domain already exists");
        }
        assert_not_found(w.admin(OrganizationId(1), "other.test").await);
        assert_eq!(w.told().await, ["created"; 4], "what was refused left nothing");
    }

    async fn sso_50_a_domain_is_found_and_removed_in_its_organization_only(db: TestDb) {
        let w = World::on(db).await;
        let other = w.f.organization("Other").await.id;
        let domain = w.admin(w.acme, "acme.test").await.unwrap();
        let (core, env, by) = (&w.f.core, w.f.env(), &w.f.by);
        for (environment, organization, id) in [
            (env, other, domain.id), (EnvId(1), w.acme, domain.id), (env, w.acme, DomainId(1)),
        ] {
            assert_not_found(domains::get(core, environment, organization, id).await);
            assert_not_found(domains::verify(core, environment, by, organization, id).await);
            assert_not_found(domains::delete(core, environment, by, organization, id).await);
        }
        domains::delete(core, env, by, w.acme, domain.id).await.unwrap();
        assert_not_found(w.get(&domain).await);
        assert_not_found(domains::delete(core, env, by, w.acme, domain.id).await);
        assert_eq!(w.told().await, ["created", "deleted"]);
        w.admin(other, "acme.test").await.map(|domain| assert_eq!(domain.status, Status::Verified)).unwrap();
    }

    async fn sso_54_events_carry_the_domain_and_its_proof(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        domains::delete(&w.f.core, w.f.env(), &Actor::SYSTEM, w.acme, domain.id).await.unwrap();
        for event in w.f.events().await.into_iter().filter(|event| event.kind.contains("domain")) {
            let event: Value = serde_json::from_str(&event.body).unwrap();
            assert_eq!((&event["object"], &event["organization_id"]), (&Value::from("Organization"), &Value::from(w.acme.to_string())));
            let expected = serde_json::json!({
                "id": domain.id.to_string(), "domain": "acme.test", "domain_type": "ORGANIZATION_DOMAIN",
                "organization_id": w.acme.to_string(), "environment_id": w.f.env().to_string(),
                "txt_record_key": domain.txt_key, "txt_record_secret": domain.txt_secret, "verification_status": "PENDING",
                "verification_method": "DNS", "updated_at": domain.updated_at.rfc3339(),
            });
            assert_eq!(event["data"], expected);
        }
    }

    async fn sso_51_dom_02_public_and_disposable_domains_are_refused(db: TestDb) {
        let w = World::on(db).await;
        for name in ["gmail.com", "Outlook.com", "yahoo.co.uk", "mailinator.com", "x.yopmail.com", "co.uk", "acme", "a@acme.com"] {
            for kind in [DomainType::Organization, DomainType::AllowedEmail] {
                for source in [Source::Application, Source::Organization] {
                    assert_invalid(w.add(w.acme, name, kind, source).await, "domain.domain");
                }
            }
        }
        assert_eq!(w.f.number("SELECT COUNT(*) FROM domains").await, 0);
    }

    async fn sso_53_a_record_at_the_domain_or_below_it_proves_it(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        assert_eq!((domain.status, domain.method), (Status::Pending, Method::Dns));
        assert_eq!(domain.txt_key, format!("acme-verify-{}", domain.id));
        assert_eq!(domain.txt_secret.len(), 36);
        assert!(!w.verify(&domain).await.unwrap(), "no record is no error");
        let record = World::record(&domain);
        for wrong in [record.to_uppercase(), format!(" {record}"), format!("{record}x"), domain.txt_secret.clone()] {
            w.zone.set("acme.test", &["v=spf1 -all", &wrong]);
            assert!(!w.verify(&domain).await.unwrap(), "{wrong}");
        }
        w.zone.set("acme.test", &["v=spf1 -all", &record]);
        assert!(w.verify(&domain).await.unwrap());
        assert_eq!(w.get(&domain).await.unwrap().status, Status::Verified);
        w.zone.set("acme.test", &[]);
        assert!(w.verify(&domain).await.unwrap(), "proven is proven");

        let below = w.pending(w.acme, "below.test").await;
        w.zone.set(&format!("{}.below.test", below.txt_key), &[&below.txt_secret]);
        assert!(w.verify(&below).await.unwrap());
        assert_eq!(w.told().await, ["created", "dns_verification_success", "created", "dns_verification_success"]);
    }

    async fn sso_53_name_servers_that_do_not_answer_say_nothing(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        w.zone.fall_silent(true);
        assert_eq!(w.verify(&domain).await.unwrap_err().kind(), Kind::Unavailable);
        w.f.core.clock.advance(HOUR);
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.get(&domain).await.unwrap().status, Status::Pending);
        w.zone.fall_silent(false);
        w.zone.set("acme.test", &[&World::record(&domain)]);
        w.f.core.clock.advance(HOUR);
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.get(&domain).await.unwrap().status, Status::Verified);
    }

    async fn sso_53_a_record_is_looked_for_by_itself(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.zone.asked(), 0, "not at once");
        w.f.core.clock.advance(Duration::from_mins(1));
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.zone.asked(), 2);
        w.f.core.clock.advance(Duration::from_mins(1));
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.zone.asked(), 2, "later each time");
        w.zone.set("acme.test", &[&World::record(&domain)]);
        w.f.core.clock.advance(Duration::from_mins(1));
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.get(&domain).await.unwrap().status, Status::Verified);
        assert_eq!(w.told().await, ["created", "dns_verification_success"]);
        w.f.core.clock.advance(WINDOW);
        let before = w.zone.asked();
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!((w.zone.asked(), w.told().await.len()), (before, 2), "nobody looks any more");
    }

    async fn sso_53_sso_54_what_is_not_proven_in_time_has_failed_for_good(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        let (began, mut hours) = (w.f.core.clock.now(), 0);
        while w.get(&domain).await.unwrap().status == Status::Pending {
            assert!(w.f.core.clock.now().0 - began.0 <= i64::try_from((WINDOW + HOUR).as_micros()).unwrap());
            w.f.core.clock.advance(HOUR);
            jobs::drain(&w.f.core).await.unwrap();
            hours += 1;
        }
        assert_eq!(hours, 72);
        assert!(w.zone.asked() <= 2 * 80, "{}", w.zone.asked());
        let failed = w.get(&domain).await.unwrap();
        assert_eq!(failed.status, Status::Failed);
        assert_eq!(w.told().await, ["created", "dns_verification_failed"]);
        w.zone.set("acme.test", &[&World::record(&domain)]);
        assert!(!w.verify(&domain).await.unwrap(), "the only way on is to add it again");
        domains::delete(&w.f.core, w.f.env(), &w.f.by, w.acme, domain.id).await.unwrap();
        let again = w.pending(w.acme, "acme.test").await;
        assert_ne!(again.txt_secret, domain.txt_secret);
        assert!(!w.verify(&again).await.unwrap(), "the old record proves nothing");
    }

    async fn sso_53_a_late_verify_now_closes_the_window_too(db: TestDb) {
        let w = World::on(db).await;
        let domain = w.pending(w.acme, "acme.test").await;
        w.f.core.clock.advance(WINDOW);
        assert!(!w.verify(&domain).await.unwrap());
        assert_eq!(w.get(&domain).await.unwrap().status, Status::Failed);
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.told().await, ["created", "dns_verification_failed"], "once");
    }

    async fn p06_a_record_of_one_organization_proves_nothing_for_another(db: TestDb) {
        let w = World::on(db).await;
        let other = w.f.organization("Other").await.id;
        let (mine, theirs) = (w.pending(w.acme, "acme.test").await, w.pending(other, "acme.test").await);
        assert_ne!(World::record(&mine), World::record(&theirs));
        assert!(theirs.txt_key.starts_with("narthex-verify-"), "no slug");
        w.zone.set("acme.test", &[&World::record(&mine)]);
        assert!(!w.verify(&theirs).await.unwrap());
        assert!(w.verify(&mine).await.unwrap(), "a pending claim stands in nobody's way");
        w.zone.set("acme.test", &[&World::record(&theirs)]);
        assert!(!w.verify(&theirs).await.unwrap(), "the name is taken in this environment");
        assert_eq!(w.get(&theirs).await.unwrap().status, Status::Pending);
        // An application that vouches for it as well only gets a claim.
        let third = w.f.organization("Third").await.id;
        let claim = w.admin(third, "acme.test").await.unwrap();
        assert_eq!((claim.status, claim.method), (Status::Pending, Method::Dns));
        domains::delete(&w.f.core, w.f.env(), &w.f.by, w.acme, mine.id).await.unwrap();
        assert!(w.verify(&theirs).await.unwrap(), "free again");
    }

    async fn sso_50_domains_are_listed_by_type_and_in_pages(db: TestDb) {
        let w = World::on(db).await;
        let other = w.f.organization("Other").await.id;
        w.admin(other, "other.test").await.unwrap();
        for i in 0..33 {
            let kind = if i % 3 == 0 { DomainType::AllowedEmail } else { DomainType::Organization };
            w.add(w.acme, &format!("d{i}.test"), kind, Source::Application).await.unwrap();
        }
        let all: Vec<String> = (0..33).map(|i| format!("d{i}.test")).collect();
        assert_eq!(w.list(Listed::default()).await, all[..30]);
        assert_eq!(w.list(Listed { page: 1, ..Listed::default() }).await, all[30..]);
        assert_eq!(w.list(Listed { size: 1_000, ..Listed::default() }).await, all);
        assert_eq!(w.list(Listed { size: 10, page: 2, kind: None }).await, all[20..30]);
        w.admin(w.acme, "new.test").await.unwrap();
        assert_eq!(w.list(Listed { size: 10, page: 2, kind: None }).await, all[20..30], "what is added shifts nothing");
        let allowed = w.list(Listed { kind: Some(DomainType::AllowedEmail), ..Listed::default() }).await;
        assert_eq!(allowed.len(), 11);
        let far = Listed { size: 100, page: 101, kind: None };
        assert_invalid(domains::list(&w.f.core, w.f.env(), w.acme, far).await, "page_number");
        assert_not_found(domains::list(&w.f.core, w.f.env(), OrganizationId(1), Listed::default()).await);
    }

    async fn a_repeated_request_with_its_key_adds_one_domain(db: TestDb) {
        let w = World::on(db).await;
        let new = || NewDomain {
            organization: w.acme,
            name: DomainName::parse("acme.test").unwrap(),
            kind: DomainType::Organization,
            source: Source::Application,
        };
        let key = || Some(IdempotencyKey::new(w.f.env(), &w.f.by, "k", &["acme.test"]).unwrap());
        let (core, env) = (&w.f.core, w.f.env());
        let made = domains::create(core, env, &w.f.by, new(), key()).await.unwrap();
        assert_eq!(domains::create(core, env, &w.f.by, new(), key()).await.unwrap(), made);
        assert_eq!(w.told().await, ["created"]);
    }

    async fn org_17_the_domains_of_a_deleted_organization_are_free_at_once(db: TestDb) {
        let w = World::on(db).await;
        w.admin(w.acme, "acme.test").await.unwrap();
        let waiting = w.pending(w.acme, "waiting.test").await;
        organizations::delete(&w.f.core, w.f.env(), &w.f.by, Identity::Id(w.acme)).await.unwrap();
        assert_not_found(w.get(&waiting).await);
        let other = w.f.organization("Other").await.id;
        assert_eq!(w.admin(other, "acme.test").await.unwrap().status, Status::Verified);
        w.f.core.clock.advance(HOUR);
        jobs::drain(&w.f.core).await.unwrap();
        assert_eq!(w.zone.asked(), 0, "nobody looks for a domain that is gone");
    }

    async fn sso_57_a_stranger_learns_nothing_by_an_id_alone(db: TestDb) {
        let node = TestCore::on(db).await.unwrap();
        let new = NewOrganization::named("Acme");
        let acme = organizations::create(&node, node.dev.id, &Actor::SYSTEM, new, None).await.unwrap();
        organizations::set_features(&node, node.dev.id, &Actor::SYSTEM, acme.id, vec![(organizations::Feature::Sso, true)])
            .await
            .unwrap();
        let link = portal_links::generate(&node, &node.dev, &Actor::SYSTEM, acme.id, vec![], Life::Reusable).await.unwrap();
        let secret = link.location.rsplit('/').next().unwrap().to_owned();
        let (dev, prd) = (&node.dev, &node.prd);
        let ask = async |environment, origin: &str, link: &str| domains::authorized(&node, environment, origin, link).await.unwrap();
        let registered = "http://localhost:3000";
        // Secrets end in a random digit: the guess must end in another.
        let other = if secret[..36].ends_with('0') { '1' } else { '0' };
        assert_eq!(ask(dev, registered, &secret).await, ["localhost"]);
        assert_eq!(ask(dev, registered, &format!("{}_pc", &secret[..36])).await, ["localhost"]);
        for nothing in ["", &link.id.to_string(), &acme.id.to_string(), "lnk_1", &secret[..35], &format!("{}{other}", &secret[..35])] {
            assert_eq!(ask(dev, registered, nothing).await, [] as [&str; 0], "{nothing}");
        }
        assert_eq!(ask(dev, "https://evil.test", &secret).await, [] as [&str; 0]);
        assert_eq!(ask(prd, registered, &secret).await, [] as [&str; 0], "another environment's link");
        node.clock.advance(Duration::from_hours(7 * 24));
        assert_eq!(ask(dev, registered, &secret).await, [] as [&str; 0], "expired");
    }
}

/// A PostgreSQL world, or None where no server is named.
async fn contested() -> Option<(World, String)> {
    let w = World::on(postgres_database().await?).await;
    let url = w.f.url().to_owned();
    Some((w, url))
}

/// A rival organization's transaction that has proven `name`.
async fn rival(w: &World, url: &str, name: &str) -> Rival {
    let other = w.f.organization("Rival").await.id;
    let sql = format!(
        "INSERT INTO domains (id, environment_id, organization_id, name, type, status, method, txt_key, txt_secret, checks, created_at, \
         updated_at) VALUES ({}, {}, {}, '{name}', 2, 2, 1, '', '', 0, 0, 0)",
        w.f.core.ids.next(),
        w.f.env().0,
        other.0
    );
    Rival::begin(url, &sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sso_52_of_two_that_vouch_for_a_name_at_once_one_has_it() {
    let Some((w, url)) = contested().await else { return };
    for (end, status) in [("COMMIT", Status::Pending), ("ROLLBACK", Status::Verified)] {
        let name = format!("{}.test", end.to_lowercase());
        let rival = rival(&w, &url, &name).await;
        let (core, env, acme) = (w.f.core.clone(), w.f.env(), w.acme);
        let new = NewDomain {
            organization: acme,
            name: DomainName::parse(&name).unwrap(),
            kind: DomainType::Organization,
            source: Source::Application,
        };
        let adding = tokio::spawn(async move { domains::create(&core, env, &Actor::SYSTEM, new, None).await });
        let blocked = until_it_waits(&url, adding).await;
        rival.end(end).await;
        assert_eq!(blocked.await.unwrap().unwrap().status, status, "{end}");
    }
    assert_eq!(w.told().await, ["created", "created"], "run twice, written once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sso_53_of_two_that_prove_a_name_at_once_one_has_it() {
    let Some((w, url)) = contested().await else { return };
    for (end, verified) in [("COMMIT", false), ("ROLLBACK", true)] {
        let name = format!("{}.test", end.to_lowercase());
        let domain = w.pending(w.acme, &name).await;
        w.zone.set(&name, &[&World::record(&domain)]);
        let rival = rival(&w, &url, &name).await;
        let (core, env, acme, id) = (w.f.core.clone(), w.f.env(), w.acme, domain.id);
        let proving = tokio::spawn(async move { domains::verify(&core, env, &Actor::SYSTEM, acme, id).await });
        let blocked = until_it_waits(&url, proving).await;
        rival.end(end).await;
        assert_eq!(blocked.await.unwrap().unwrap(), verified, "{end}");
    }
    assert_eq!(w.told().await, ["created", "created", "dns_verification_success"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sso_53_a_proof_of_a_domain_that_goes_meanwhile_finds_nothing() {
    let Some((w, url)) = contested().await else { return };
    let domain = w.pending(w.acme, "acme.test").await;
    w.zone.set("acme.test", &[&World::record(&domain)]);
    let rival = Rival::begin(&url, &format!("DELETE FROM domains WHERE id = {}", domain.id.0)).await;
    let (core, env, acme, id) = (w.f.core.clone(), w.f.env(), w.acme, domain.id);
    let proving = tokio::spawn(async move { domains::verify(&core, env, &Actor::SYSTEM, acme, id).await });
    let blocked = until_it_waits(&url, proving).await;
    rival.end("COMMIT").await;
    assert_not_found(blocked.await.unwrap());
    assert_eq!(w.told().await, ["created"]);
}
