//! Users' sessions: seen, filtered, ended.

use std::time::Duration;

use narthex_core::events::Actor;
use narthex_core::ids::{EnvId, OrganizationId, SessionId, UserId};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::schema::Schema;
use narthex_core::sessions::{
    self, AuthenticatedClient, Description, Details, Device, Filter, NewCookie, NewSession, Status,
};
use narthex_core::{Error, tokens, users};
use serde_json::Value;

use crate::fixture::{assert_invalid, assert_not_found};
use crate::node::{assert_unauthenticated, caller};
use crate::people::{People, Rival, postgres_database, until_it_waits};

const HOUR: Duration = Duration::from_hours(1);

async fn open(f: &People, user: UserId, organization: OrganizationId, lifetime: Duration) -> SessionId {
    let new = NewSession::browser(user, Some(organization), lifetime);
    sessions::open(f.core(), f.env(), new).await.expect("a session").id
}

async fn get(f: &People, id: SessionId) -> Result<Details, Error> {
    sessions::of_browser(f.core(), f.env(), id, None).await
}

async fn end(f: &People, id: SessionId) -> Result<Details, Error> {
    sessions::end(f.core(), f.env(), &f.by, id, None).await
}

async fn end_all(f: &People, user: UserId) -> Result<Vec<Details>, Error> {
    sessions::end_all(f.core(), f.env(), &f.by, user).await
}

async fn list(f: &People, user: UserId, filter: &Filter, size: u32, token: &str) -> Result<Page<Details>, Error> {
    let asked = PageRequest { size, token: token.into() };
    sessions::list(f.core(), f.env(), user, filter.clone(), &asked).await
}

fn ids(page: &Page<Details>) -> Vec<SessionId> {
    page.items.iter().map(|session| session.id).collect()
}

fn with(statuses: &[Status]) -> Filter {
    Filter { statuses: statuses.to_vec(), ..Filter::default() }
}

/// Marks a session as a login page would when the user signs out.
async fn log_out(f: &People, id: SessionId) {
    let now = f.core().clock.now();
    let sql = "UPDATE sessions SET revoked_at = $1, ended_as = 2 WHERE id = $2";
    f.node.db.write(async move |tx| tx.execute(sql, &narthex_db::p![now, id]).await).await.expect("ended");
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ses_09_a_cookie_stands_for_its_live_session_alone(db: TestDb) {
        let node = crate::node::node(db).await;
        let cookie = NewCookie::new(&node);
        let mut session = NewSession::browser(UserId(1), None, HOUR).build(&node, node.dev.id);
        session.cookie_hash = Some(cookie.hash());
        let row = session.clone();
        node.db.write(async move |tx| sessions::insert(tx, &row).await).await.unwrap();
        let value = cookie.value(session.id).expose().clone();
        let found = async |environment, value: &str| {
            sessions::by_cookie(&node, environment, value).await.unwrap().map(|session| session.id)
        };
        assert_eq!(found(node.dev.id, &value).await, Some(session.id));
        let plain = sessions::open(&node, node.dev.id, NewSession::browser(UserId(1), None, HOUR));
        let plain = plain.await.unwrap().id;
        let (_, secret) = value.split_once('.').unwrap();
        for bad in [
            String::new(),
            secret.to_owned(),
            format!("{}.", session.id.0),
            format!("{}.{}", session.id.0, secret.to_lowercase()),
            format!("{}.{secret}x", session.id.0),
            format!("0{}.{secret}", session.id.0),
            format!("{}.{secret}", plain.0),
            format!("ses_{value}"),
        ] {
            assert_eq!(found(node.dev.id, &bad).await, None, "{bad}");
        }
        assert_eq!(found(node.prd.id, &value).await, None);
        sessions::revoke(&node, node.dev.id, session.id).await.unwrap();
        assert_eq!(found(node.dev.id, &value).await, None);
    }

    async fn ses_05_a_session_is_shown_with_all_that_the_login_knew(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let id = open(&f, ann, acme, 24 * HOUR).await;
        let bare = get(&f, id).await.unwrap();
        assert_eq!((bare.user, bare.organization, bare.organizations.as_slice()), (ann, Some(acme), &[acme][..]));
        assert_eq!((bare.status, bare.device.clone(), bare.idle_expires_at), (Status::Active, Device::default(), None));
        assert_eq!((bare.last_active_at, bare.absolute_expires_at), (bare.created_at, bare.created_at.plus(24 * HOUR)));
        assert_eq!((bare.expired_at, bare.logout_at), (None, None));

        let other = f.organization("Other").await;
        let now = f.core().clock.now();
        let description = Description {
            device: Device { browser: "Firefox".into(), ip: "192.0.2.1".into(), ..Device::default() },
            organizations: vec![acme, other],
            clients: vec![AuthenticatedClient { client_id: "skc_1".into(), organization_id: acme.to_string() }],
            idle_expires_at: Some(now.plus(HOUR)),
            last_active_at: Some(now),
        };
        let written = description.clone();
        f.node.db.write(async move |tx| sessions::describe(tx, id, &written, now).await).await.unwrap();
        let shown = get(&f, id).await.unwrap();
        assert_eq!((&shown.device, &shown.organizations, &shown.clients), (&description.device, &description.organizations, &description.clients));
        assert_eq!((shown.idle_expires_at, shown.last_active_at), (Some(now.plus(HOUR)), now));
        f.core().clock.advance(HOUR);
        let idle = get(&f, id).await.unwrap();
        assert_eq!((idle.status, idle.expired_at), (Status::Expired, Some(now.plus(HOUR))), "without any traffic");

        assert_not_found(get(&f, SessionId(1)).await);
        assert_not_found(sessions::of_browser(f.core(), f.node.prd.id, id, None).await);
        assert_not_found(sessions::of_browser(f.core(), f.env(), id, Some(UserId(1))).await);
        let portal = sessions::open(f.core(), f.env(), NewSession::portal(acme, None, vec![], HOUR)).await.unwrap().id;
        assert_not_found(get(&f, portal).await);
        assert_not_found(end(&f, portal).await);
    }

    async fn ses_05_a_session_that_was_not_used_in_time_does_not_count(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let id = open(&f, ann, acme, 24 * HOUR).await;
        let idle = Description { idle_expires_at: Some(f.core().clock.now().plus(HOUR)), ..Description::default() };
        let now = f.core().clock.now();
        f.node.db.write(async move |tx| sessions::describe(tx, id, &idle, now).await).await.unwrap();
        let session = sessions::get(f.core(), f.env(), id).await.unwrap().unwrap();
        let token = tokens::mint_session(f.core(), f.environment(), &session, 24 * HOUR).await.unwrap().access_token;
        assert!(caller(f.core(), f.environment(), &token).await.is_ok());
        f.core().clock.advance(HOUR);
        assert_unauthenticated(&caller(f.core(), f.environment(), &token).await, "idle for an hour");
    }

    async fn ses_05_sessions_are_filtered_by_status_and_time(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (ann, bob) = (f.member(acme, "ann@example.com").await.user.id, f.member(acme, "bob@example.com").await.user.id);
        let short = open(&f, ann, acme, HOUR).await;
        f.core().clock.advance(2 * HOUR);
        let (revoked, left, live) =
            (open(&f, ann, acme, 24 * HOUR).await, open(&f, ann, acme, 24 * HOUR).await, open(&f, ann, acme, 24 * HOUR).await);
        open(&f, bob, acme, HOUR).await;
        end(&f, revoked).await.unwrap();
        log_out(&f, left).await;
        for (filter, expected) in [
            (Filter::default(), vec![live, left, revoked, short]),
            (with(&[Status::Active]), vec![live]),
            (with(&[Status::Expired]), vec![short]),
            (with(&[Status::Revoked]), vec![revoked]),
            (with(&[Status::LoggedOut]), vec![left]),
            (with(&[Status::Revoked, Status::LoggedOut]), vec![left, revoked]),
            (with(&[Status::Active, Status::Expired]), vec![live, short]),
        ] {
            let page = list(&f, ann, &filter, 0, "").await.unwrap();
            assert_eq!((ids(&page), page.total), (expected.clone(), expected.len() as u64), "{filter:?}");
            assert!(filter.statuses.is_empty() || page.items.iter().all(|session| filter.statuses.contains(&session.status)));
        }
        let logged_out = get(&f, left).await.unwrap();
        assert!(logged_out.logout_at.is_some() && logged_out.expired_at.is_none());
        let (first, last) = (get(&f, short).await.unwrap().created_at, get(&f, live).await.unwrap().created_at);
        let times = |from, to| Filter { from, to, ..Filter::default() };
        assert_eq!(ids(&list(&f, ann, &times(None, Some(first)), 0, "").await.unwrap()), [short], "both ends count");
        assert_eq!(ids(&list(&f, ann, &times(Some(last), None), 0, "").await.unwrap()), [live]);
        assert_eq!(list(&f, ann, &times(Some(last), Some(first)), 0, "").await.unwrap().total, 0);
        let both = Filter { from: Some(first), to: Some(last), statuses: vec![Status::Active, Status::Revoked] };
        assert_eq!(ids(&list(&f, ann, &both, 0, "").await.unwrap()), [live, revoked]);
        assert_not_found(list(&f, UserId(1), &Filter::default(), 0, "").await);
        let foreign = sessions::list(f.core(), EnvId(1), ann, Filter::default(), &PageRequest::default()).await;
        assert_not_found(foreign);
        assert_eq!(Status::named("ACTIVE"), Some(Status::Active));
        assert_eq!(Status::named("on"), None);
    }

    async fn ses_05_api_05_sessions_come_in_pages_newest_first(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let mut made = Vec::new();
        for _ in 0..12 {
            made.insert(0, open(&f, ann, acme, HOUR).await);
        }
        let all = Filter::default();
        let first = list(&f, ann, &all, 0, "").await.unwrap();
        assert_eq!((first.items.len(), first.total, first.prev.as_str()), (10, 12, ""));
        // What comes and ends meanwhile shifts nothing.
        open(&f, ann, acme, HOUR).await;
        end(&f, made[3]).await.unwrap();
        let second = list(&f, ann, &all, 0, &first.next).await.unwrap();
        assert_eq!([ids(&first), ids(&second)].concat(), made);
        assert_eq!(second.next, "");
        assert_eq!(list(&f, ann, &all, 50, "").await.unwrap().items.len(), 13, "at most 30");
        assert_invalid(list(&f, ann, &with(&[Status::Active]), 0, &first.next).await, "page_token");
    }

    async fn ses_06_a_revoked_session_ends_at_once_and_is_told_of_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let id = open(&f, ann, acme, HOUR).await;
        let session = sessions::get(f.core(), f.env(), id).await.unwrap().unwrap();
        let token = tokens::mint_session(f.core(), f.environment(), &session, HOUR).await.unwrap().access_token;
        assert!(caller(f.core(), f.environment(), &token).await.is_ok());
        assert_not_found(sessions::end(f.core(), f.env(), &f.by, id, Some(UserId(1))).await);
        assert_not_found(sessions::end(f.core(), f.node.prd.id, &f.by, id, None).await);
        let ended = end(&f, id).await.unwrap();
        assert_eq!((ended.status, ended.expired_at, ended.logout_at), (Status::Revoked, Some(ended.updated_at), None));
        assert_unauthenticated(&caller(f.core(), f.environment(), &token).await, "revoked");
        assert_eq!(end(&f, id).await.unwrap(), ended, "op_14: unchanged");
        assert_eq!(get(&f, id).await.unwrap(), ended);

        assert_eq!(f.event_types().await, ["organization_membership_created", "logout"]);
        let event: Value = serde_json::from_str(&f.events().await[1].body).unwrap();
        assert_eq!((&event["object"], &event["organization_id"]), (&Value::from("User"), &Value::from(acme.to_string())));
        let (user, told) = (&event["data"]["user"], &event["data"]["user_session"]);
        assert_eq!((&user["id"], &user["email"]), (&Value::from(ann.to_string()), &Value::from("ann@example.com")));
        assert_eq!((&told["session_id"], &told["status"]), (&Value::from(id.to_string()), &Value::from("REVOKED")));
        assert_eq!((&told["expired_at"], &told["logout_at"]), (&Value::from(ended.expired_at.unwrap().rfc3339()), &Value::Null));
        assert_eq!((&told["idle_expires_at"], &told["device"]["location"]["city"]), (&Value::Null, &Value::from("")));
        assert_eq!(told["authenticated_organizations"], Value::from(vec![acme.to_string()]));
        assert_eq!(f.number("SELECT COUNT(*) FROM event_subjects").await, 2, "the person can be taken out of it");

        let short = open(&f, ann, acme, HOUR).await;
        f.core().clock.advance(HOUR);
        assert_eq!(end(&f, short).await.unwrap().status, Status::Expired, "it had ended already");
        assert_eq!(f.event_types().await.len(), 2);
    }

    async fn ses_06_all_sessions_of_a_user_end_together(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let (ann, bob) = (f.member(acme, "ann@example.com").await.user.id, f.member(acme, "bob@example.com").await.user.id);
        let short = open(&f, ann, acme, HOUR).await;
        f.core().clock.advance(HOUR);
        let mut live = Vec::new();
        for _ in 0..5 {
            live.insert(0, open(&f, ann, acme, HOUR).await);
        }
        end(&f, live.remove(0)).await.unwrap();
        let of_bob = open(&f, bob, acme, HOUR).await;
        let tokens = {
            let session = sessions::get(f.core(), f.env(), live[0]).await.unwrap().unwrap();
            tokens::mint_session(f.core(), f.environment(), &session, HOUR).await.unwrap().access_token
        };
        let ended = end_all(&f, ann).await.unwrap();
        assert_eq!(ended.iter().map(|session| session.id).collect::<Vec<_>>(), live, "those that it ended, newest first");
        assert!(ended.iter().all(|session| session.status == Status::Revoked && session.expired_at.is_some()));
        assert_unauthenticated(&caller(f.core(), f.environment(), &tokens).await, "revoked with the others");
        assert_eq!(end_all(&f, ann).await.unwrap(), [], "none is left, which is fine");
        assert_eq!((get(&f, short).await.unwrap().status, get(&f, of_bob).await.unwrap().status), (Status::Expired, Status::Active));
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "logout").count(), 5);
        assert_not_found(end_all(&f, UserId(1)).await);
        assert_not_found(sessions::end_all(f.core(), f.node.prd.id, &Actor::SYSTEM, ann).await);
        f.delete(users::Identity::Id(bob)).await.unwrap();
        assert_eq!(get(&f, of_bob).await.unwrap().status, Status::Revoked);
    }

    async fn ses_06_more_sessions_than_one_transaction_ends_are_all_ended_and_counted_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let mut rows: Vec<_> =
            (0..450).map(|_| NewSession::browser(ann, Some(acme), HOUR).build(f.core(), f.env())).collect();
        // What has run out by itself stays so.
        rows[7].expires_at = f.core().clock.now();
        let out = rows[7].id;
        f.node.db.write(async move |tx| {
            for row in &rows { sessions::insert(tx, row).await?; }
            Ok::<_, Error>(())
        }).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (core, environment) = (f.core().clone(), f.env());
            tasks.spawn(async move { sessions::end_all(&core, environment, &Actor::SYSTEM, ann).await.unwrap() });
        }
        let counted = tasks.join_all().await;
        assert!(counted.iter().all(|ended| ended.is_sorted_by(|a, b| a.id > b.id)), "newest first");
        let mut ids: Vec<_> = counted.iter().flatten().map(|session| session.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), counted.iter().map(Vec::len).sum::<usize>()), (449, 449), "each by one of them");
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "logout").count(), 449);
        assert_eq!(get(&f, out).await.unwrap().status, Status::Expired);
    }

    async fn ses_06_each_session_is_counted_by_one_of_many_at_once(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        for _ in 0..9 {
            open(&f, ann, acme, HOUR).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (core, environment) = (f.core().clone(), f.env());
            tasks.spawn(async move { sessions::end_all(&core, environment, &Actor::SYSTEM, ann).await.unwrap().len() });
        }
        let mut counts = tasks.join_all().await;
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 0, 9], "all or none");
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "logout").count(), 9);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ses_06_a_session_that_another_ends_meanwhile_is_not_counted() {
    let Some(db) = postgres_database().await else { return };
    let f = People::on(db).await;
    let acme = f.organization("Acme").await;
    let ann = f.member(acme, "ann@example.com").await.user.id;
    let (first, second) = (open(&f, ann, acme, HOUR).await, open(&f, ann, acme, HOUR).await);
    let url = f.node.database.options().url.clone();
    let rival =
        Rival::begin(&url, &format!("UPDATE sessions SET revoked_at = 17, ended_as = 2 WHERE id = {}", first.0)).await;
    let (core, environment) = (f.core().clone(), f.env());
    let all = tokio::spawn(async move { sessions::end_all(&core, environment, &Actor::SYSTEM, ann).await });
    let blocked = until_it_waits(&url, all).await;
    rival.end("COMMIT").await;
    let ended = blocked.await.unwrap().unwrap();
    assert_eq!(ended.iter().map(|session| session.id).collect::<Vec<_>>(), [second]);
    assert_eq!(get(&f, first).await.unwrap().status, Status::LoggedOut);
    assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "logout").count(), 1);
}
