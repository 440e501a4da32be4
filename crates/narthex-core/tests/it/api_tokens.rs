//! API tokens: made, validated, changed, ended.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use narthex_core::api_tokens::{self, NewApiToken, View};
use narthex_core::ids::{ApiTokenId, EnvId, OrganizationId, UserId};
use narthex_core::organizations::{self, Identity, OrganizationPatch, Patch};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::schema::Schema;
use narthex_core::{Core, Error, Kind, Timestamp, jobs, memberships, users};
use narthex_db::{Engine, p};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, Rival, direct, existing, map, named, postgres_database, until_it_waits};

const DAY: Duration = Duration::from_hours(24);

fn of(organization: OrganizationId) -> NewApiToken {
    NewApiToken {
        organization,
        user: None,
        custom_claims: BTreeMap::new(),
        expires_at: None,
        description: String::new(),
    }
}

async fn make(f: &People, new: NewApiToken) -> Result<(String, View), Error> {
    let (plain, view) = api_tokens::create(f.core(), f.env(), &f.by, new).await?;
    Ok((plain.expose().clone(), view))
}

async fn validate(f: &People, text: &str) -> Result<View, Error> {
    api_tokens::validate(f.core(), f.env(), text).await
}

async fn end(f: &People, text: &str) -> Result<(), Error> {
    api_tokens::invalidate(f.core(), f.env(), text).await
}

async fn page(f: &People, organization: OrganizationId, user: Option<UserId>, size: u32, token: &str) -> Page<View> {
    let asked = PageRequest { size, token: token.into() };
    api_tokens::list(f.core(), f.env(), organization, user, &asked).await.expect("a page")
}

fn ids(page: &Page<View>) -> Vec<ApiTokenId> {
    page.items.iter().map(|view| view.token.id).collect()
}

async fn set_external_id(f: &People, organization: OrganizationId, to: &str) {
    let patch = OrganizationPatch { external_id: Patch::Set(to.into()), ..OrganizationPatch::default() };
    organizations::update(f.core(), f.env(), &f.by, Identity::Id(organization), patch).await.expect("changed");
}

async fn delete_organization(f: &People, organization: OrganizationId) {
    organizations::delete(f.core(), f.env(), &f.by, Identity::Id(organization)).await.expect("deleted");
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn apit_01_a_token_is_opaque_and_only_its_hash_is_kept(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        set_external_id(&f, acme, "crm-1").await;
        let expires_at = f.core().clock.now().plus(DAY);
        let new = NewApiToken {
            custom_claims: map([("tier", "gold")]),
            expires_at: Some(expires_at),
            description: "CI".into(),
            ..of(acme)
        };
        let (plain, view) = make(&f, new).await.unwrap();
        assert!(plain.len() == 48 && plain.bytes().all(|b| b.is_ascii_alphanumeric()), "285 bits: {plain}");
        assert_eq!(view.token.suffix, plain[44..]);
        assert!(view.token.id.to_string().starts_with("apit_"));
        assert_eq!((view.token.organization, view.token.user), (acme, None));
        assert_eq!((view.token.expires_at, view.token.description.as_deref()), (Some(expires_at), Some("CI")));
        assert_eq!((view.organization_external_id.as_deref(), &view.token.custom_claims), (Some("crm-1"), &map([("tier", "gold")])));
        let kept: Vec<(Vec<u8>, String, String)> =
            f.node.db.read(async |tx| tx.all("SELECT hash, suffix, created_by FROM api_tokens", &[]).await).await.unwrap();
        let hash = sha256(plain.as_bytes());
        assert_eq!(kept, [(hash, plain[44..].to_owned(), "system".to_owned())]);
        let (other, _) = make(&f, of(acme)).await.unwrap();
        assert_ne!(plain, other);
    }

    async fn apit_01_what_cannot_be_made_leaves_nothing(db: TestDb) {
        let f = People::on(db).await;
        let (acme, other) = (f.organization("Acme").await, f.organization("Other").await);
        let stranger = f.member(other, "bob@example.com").await.user.id;
        assert_not_found(make(&f, of(OrganizationId(1))).await);
        assert_not_found(api_tokens::create(f.core(), f.node.prd.id, &f.by, of(acme)).await.map(|(_, view)| view));
        let now = f.core().clock.now();
        for past in [now, Timestamp(0)] {
            assert_invalid(make(&f, NewApiToken { expires_at: Some(past), ..of(acme) }).await, "token.expiry");
        }
        for user in [stranger, UserId(1)] {
            assert_invalid(make(&f, NewApiToken { user: Some(user), ..of(acme) }).await, "token.user_id");
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM api_tokens").await, 0);
    }

    async fn apit_01_apit_02_a_token_of_a_user_has_the_roles_that_the_user_has_now(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        f.role("buyer").await;
        f.role("seller").await;
        let mut addition = direct(acme, "Ann@example.com");
        addition.roles = named(&["buyer"]);
        let ann = f.add(addition).await.unwrap().user.id;
        let (plain, view) = make(&f, NewApiToken { user: Some(ann), ..of(acme) }).await.unwrap();
        let holder = view.holder.clone().unwrap();
        assert_eq!((holder.email.as_str(), holder.external_id, holder.roles), ("Ann@example.com", None, vec!["buyer".to_owned()]));
        assert_eq!(validate(&f, &plain).await.unwrap(), view);
        memberships::assign_roles(f.core(), f.env(), &f.by, acme, ann, named(&["seller"])).await.unwrap();
        let roles: HashSet<String> = validate(&f, &plain).await.unwrap().holder.unwrap().roles.into_iter().collect();
        assert!(roles.contains("seller"), "{roles:?}");
    }

    async fn apit_02_a_changed_external_id_of_the_user_is_answered_at_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let (plain, _) = make(&f, NewApiToken { user: Some(ann), ..of(acme) }).await.unwrap();
        let external_id = async || validate(&f, &plain).await.unwrap().holder.unwrap().external_id;
        assert_eq!(external_id().await, None);
        let patch = users::UserPatch { external_id: Patch::Set("crm-7".into()), ..users::UserPatch::default() };
        users::update(f.core(), f.env(), users::Identity::Id(ann), patch).await.unwrap();
        assert_eq!(external_id().await.as_deref(), Some("crm-7"));
    }

    async fn apit_02_a_token_is_validated_by_value_or_id_in_its_environment_only(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (plain, view) = make(&f, of(acme)).await.unwrap();
        let id = view.token.id.to_string();
        for text in [&plain, &id, &plain, &id] {
            assert_eq!(validate(&f, text).await.unwrap(), view);
        }
        let elsewhere = f.node.prd.id;
        for text in [plain.as_str(), &id] {
            assert_not_found(api_tokens::validate(f.core(), elsewhere, text).await);
            assert_not_found(api_tokens::invalidate(f.core(), elsewhere, text).await);
            assert_not_found(api_tokens::update(f.core(), elsewhere, text, None, map([("a", "b")])).await);
        }
        for text in ["", "x", "apit_", "apit_1", "apit_01", &plain[..47], &format!("{plain}0"), &plain.to_uppercase(), "a\0b"] {
            let error = validate(&f, text).await.expect_err(text);
            assert_eq!((error.kind(), error.message()), (Kind::NotFound, "token not found"), "{text:?}");
        }
        assert_eq!(validate(&f, &plain).await.unwrap(), view, "nothing of this has ended it");
    }

    async fn apit_02_what_has_expired_or_lost_whom_it_acts_for_is_not_found(db: TestDb) {
        let f = People::on(db).await;
        let (acme, gone) = (f.organization("Acme").await, f.organization("Gone").await);
        let expires_at = Some(f.core().clock.now().plus(DAY));
        let (expiring, _) = make(&f, NewApiToken { expires_at, ..of(acme) }).await.unwrap();
        let (orphan, orphaned) = make(&f, of(gone)).await.unwrap();
        let (ann, bob) = (f.member(acme, "ann@example.com").await.user.id, f.member(acme, "bob@example.com").await.user.id);
        let (left, of_ann) = make(&f, NewApiToken { user: Some(ann), ..of(acme) }).await.unwrap();
        let (deleted, _) = make(&f, NewApiToken { user: Some(bob), ..of(acme) }).await.unwrap();
        for text in [&expiring, &orphan, &left, &deleted] {
            validate(&f, text).await.expect("in memory");
        }
        f.core().clock.advance(DAY);
        assert_not_found(validate(&f, &expiring).await);
        delete_organization(&f, gone).await;
        assert_not_found(validate(&f, &orphan).await);
        assert_not_found(validate(&f, &orphaned.token.id.to_string()).await);
        // Ann stays a user of another organization.
        let other = f.organization("Other").await;
        f.add(existing(other, users::Identity::Id(ann))).await.unwrap();
        memberships::remove(f.core(), f.env(), &f.by, acme, users::Identity::Id(ann), false).await.unwrap();
        assert_not_found(validate(&f, &left).await);
        assert_not_found(api_tokens::update(f.core(), f.env(), &left, None, map([("a", "b")])).await);
        assert_eq!(ids(&page(&f, acme, Some(ann), 0, "").await), []);
        f.core().clock.advance(Duration::from_secs(1));
        f.add(existing(acme, users::Identity::Id(ann))).await.unwrap();
        assert_not_found(validate(&f, &left).await);
        assert_not_found(validate(&f, &of_ann.token.id.to_string()).await);
        f.delete(users::Identity::Id(bob)).await.unwrap();
        assert_not_found(validate(&f, &deleted).await);
        jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM api_tokens").await, 2, "those of the organization and of the user are gone");
    }

    async fn apit_02_a_changed_external_id_is_answered_at_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (plain, _) = make(&f, of(acme)).await.unwrap();
        assert_eq!(validate(&f, &plain).await.unwrap().organization_external_id, None);
        set_external_id(&f, acme, "crm-2").await;
        assert_eq!(validate(&f, &plain).await.unwrap().organization_external_id.as_deref(), Some("crm-2"));
    }

    async fn apit_03_an_invalidated_token_is_refused_at_once_and_for_good(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (plain, view) = make(&f, of(acme)).await.unwrap();
        let id = view.token.id.to_string();
        validate(&f, &plain).await.expect("in memory");
        end(&f, &plain).await.unwrap();
        for text in [&plain, &id] {
            assert_not_found(validate(&f, text).await);
            assert_not_found(api_tokens::update(f.core(), f.env(), text, Some("x".into()), BTreeMap::new()).await);
            end(&f, text).await.expect("already invalid");
        }
        let expires_at = Some(f.core().clock.now().plus(DAY));
        let (expired, _) = make(&f, NewApiToken { expires_at, ..of(acme) }).await.unwrap();
        f.core().clock.advance(DAY);
        end(&f, &expired).await.expect("already expired");
        assert_not_found(end(&f, "never").await);
        assert_not_found(end(&f, "apit_17").await);
        // What ended long ago is forgotten.
        assert_eq!(api_tokens::sweep(f.core()).await.unwrap(), 0);
        f.core().clock.advance(91 * DAY);
        assert_eq!(api_tokens::sweep(f.core()).await.unwrap(), 2);
        assert_not_found(end(&f, &plain).await);
    }

    async fn apit_03_and_within_a_second_on_another_node(db: TestDb) {
        let f = People::on(db).await;
        if f.node.db.engine() == Engine::Sqlite {
            return;
        }
        let other = f.node.second_node().await.unwrap();
        let acme = f.organization("Acme").await;
        let (plain, _) = make(&f, of(acme)).await.unwrap();
        api_tokens::validate(&other, f.env(), &plain).await.expect("in memory there");
        end(&f, &plain).await.unwrap();
        let began = Instant::now();
        while let Ok(view) = api_tokens::validate(&other, f.env(), &plain).await {
            assert!(began.elapsed() < Duration::from_secs(1), "{view:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn apit_04_a_list_shows_what_counts_newest_first(db: TestDb) {
        let f = People::on(db).await;
        let (acme, other) = (f.organization("Acme").await, f.organization("Other").await);
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let mut made = Vec::new();
        for i in 0..13_i32 {
            let user = (i % 3 == 0).then_some(ann);
            made.insert(0, make(&f, NewApiToken { user, ..of(acme) }).await.unwrap().1.token.id);
        }
        make(&f, of(other)).await.unwrap();
        let expires_at = Some(f.core().clock.now().plus(DAY));
        make(&f, NewApiToken { expires_at, ..of(acme) }).await.unwrap();
        let (ended, _) = make(&f, of(acme)).await.unwrap();
        end(&f, &ended).await.unwrap();
        f.core().clock.advance(DAY);

        let first = page(&f, acme, None, 0, "").await;
        assert_eq!((first.items.len(), first.total, first.prev.as_str()), (10, 13, ""));
        let second = page(&f, acme, None, 0, &first.next).await;
        assert_eq!([ids(&first), ids(&second)].concat(), made);
        assert_eq!(second.next, "");
        assert_eq!(page(&f, acme, None, 0, &second.prev).await, first);
        assert_eq!(ids(&page(&f, acme, None, 0, "2").await), ids(&second), "numeric pages");
        let mine = page(&f, acme, Some(ann), 0, "").await;
        assert_eq!((mine.items.len(), mine.total), (5, 5));
        assert!(mine.items.iter().all(|view| view.holder.as_ref().is_some_and(|holder| holder.email == "ann@example.com")));
        assert_eq!(page(&f, acme, Some(UserId(1)), 0, "").await.total, 0);
        let asked = PageRequest { size: 0, token: first.next.clone() };
        assert_invalid(api_tokens::list(f.core(), f.env(), acme, Some(ann), &asked).await, "page_token");
        assert_not_found(api_tokens::list(f.core(), f.env(), OrganizationId(1), None, &PageRequest::default()).await);
        assert_not_found(api_tokens::list(f.core(), EnvId(1), acme, None, &PageRequest::default()).await);
    }

    async fn apit_04_api_05_a_token_that_stays_is_on_one_page_whatever_comes_and_goes(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let mut made = Vec::new();
        for _ in 0..12 {
            made.push(make(&f, of(acme)).await.unwrap());
        }
        let (mut seen, mut token, mut turn) = (Vec::new(), String::new(), 0);
        loop {
            let shown = page(&f, acme, None, 3, &token).await;
            seen.extend(ids(&shown));
            if shown.next.is_empty() {
                break;
            }
            token = shown.next;
            // One goes that was shown, one that was not, and one comes.
            end(&f, &made[11 - turn].0).await.unwrap();
            end(&f, &made[turn].0).await.unwrap();
            make(&f, of(acme)).await.unwrap();
            turn += 1;
        }
        for (_, view) in &made[turn..12 - turn] {
            assert_eq!(seen.iter().filter(|id| **id == view.token.id).count(), 1, "{turn}");
        }
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    }

    async fn apit_05_an_update_replaces_the_claims_and_clears_the_description(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let new = NewApiToken { custom_claims: map([("a", "1"), ("b", "2")]), description: "old".into(), ..of(acme) };
        let (plain, made) = make(&f, new).await.unwrap();
        let id = made.token.id.to_string();
        validate(&f, &plain).await.expect("in memory");
        let update = async |text: &str, description: Option<&str>, claims| {
            api_tokens::update(f.core(), f.env(), text, description.map(str::to_owned), claims).await.unwrap()
        };
        let kept = update(&plain, None, BTreeMap::new()).await;
        assert_eq!(kept, made, "nothing said, nothing changed");
        let changed = update(&plain, Some("new"), map([("c", "3")])).await;
        assert_eq!((changed.token.description.as_deref(), &changed.token.custom_claims), (Some("new"), &map([("c", "3")])));
        assert_eq!(validate(&f, &plain).await.unwrap(), changed);
        let cleared = update(&id, Some(""), BTreeMap::new()).await;
        assert_eq!((cleared.token.description.as_deref(), &cleared.token.custom_claims), (None, &map([("c", "3")])));
        assert_eq!(validate(&f, &plain).await.unwrap(), cleared);
    }

    async fn apit_02_validating_writes_nothing_but_the_last_use_once_in_a_while(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (plain, _) = make(&f, of(acme)).await.unwrap();
        for _ in 0..50 {
            validate(&f, &plain).await.unwrap();
        }
        let sql = "SELECT COALESCE(MAX(last_used_at), 0) FROM api_tokens";
        assert_eq!(f.number(sql).await, 0);
        api_tokens::flush_last_used(f.core()).await.unwrap();
        let first = f.number(sql).await;
        assert!(first > 0);
        assert_not_found(validate(&f, "never").await);
        api_tokens::flush_last_used(f.core()).await.unwrap();
        assert_eq!(f.number(sql).await, first, "nobody used it");
        f.core().clock.advance(DAY);
        validate(&f, &plain).await.unwrap();
        api_tokens::flush_last_used(f.core()).await.unwrap();
        assert!(f.number(sql).await >= first + 86_400_000_000);
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// The only token, given to a rival transaction on PostgreSQL.
async fn contested() -> Option<(People, String)> {
    let f = People::on(postgres_database().await?).await;
    let acme = f.organization("Acme").await;
    let (plain, _) = make(&f, of(acme)).await.unwrap();
    Some((f, plain))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apit_03_a_change_that_meets_an_invalidation_finds_nothing() {
    let Some((f, plain)) = contested().await else { return };
    let url = f.node.database.options().url.clone();
    let rival = Rival::begin(&url, "UPDATE api_tokens SET revoked_at = 17").await;
    let (core, environment, text): (std::sync::Arc<Core>, _, _) = (f.core().clone(), f.env(), plain.clone());
    let update = tokio::spawn(async move {
        api_tokens::update(&core, environment, &text, Some("late".into()), BTreeMap::new()).await
    });
    let blocked = until_it_waits(&url, update).await;
    rival.end("COMMIT").await;
    assert_not_found(blocked.await.unwrap());
    assert_eq!(f.number("SELECT COUNT(*) FROM api_tokens WHERE description IS NOT NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apit_03_two_invalidations_at_once_both_succeed_and_the_first_counts() {
    let Some((f, plain)) = contested().await else { return };
    let url = f.node.database.options().url.clone();
    let rival = Rival::begin(&url, "UPDATE api_tokens SET revoked_at = 17").await;
    let (core, environment, text) = (f.core().clone(), f.env(), plain.clone());
    let second = tokio::spawn(async move { api_tokens::invalidate(&core, environment, &text).await });
    let blocked = until_it_waits(&url, second).await;
    rival.end("COMMIT").await;
    blocked.await.unwrap().expect("already invalid");
    assert_eq!(f.number("SELECT revoked_at FROM api_tokens").await, 17);
    let no_trace: Vec<(i64,)> = f
        .node
        .db
        .read(async |tx| tx.all("SELECT id FROM api_tokens WHERE sweep_at IS NOT NULL", &p![]).await)
        .await
        .unwrap();
    assert_eq!(no_trace, [], "the second has written nothing");
}
