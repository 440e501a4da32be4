//! A page of 100 users at 1,000,000 rows, `total_size` included, against the same at 1,000, and searches at 1,000,000.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::Full;
use serde_json::Value;

use super::seed::{copy, copy_organization, count, seed};
use crate::load::{Limit, Load, Protocol, call, http1_request};
use crate::measure::{Side, alternate, median_cpu};
use crate::narthex::{Installation, Narthex};
use crate::report::Row;
use crate::{Bench, Result};

const SMALL: u32 = 1_000;
const LARGE: u32 = 1_000_000;
/// Users of each organization.
const MEMBERS: u32 = 20;
const PAGE: u32 = 100;
const LIST: &str = "/api/v1/users?page_size=100";

/// Names that addresses are made of. Their numbers have no divisor in common with each other or with the number of organizations,
/// so that no address comes twice.
const GIVEN: &str = "ada adam agnes alan alice amir anna anton beate ben carla carol chen clara daniel david dora elena emil \
    emma eric eva felix fiona frank greta hana hugo ida igor irene ivan jane john jonas julia karl lena leo lucia marco maria \
    mia nadia nina oscar paul petra rosa samuel sofia tom vera";
const FAMILY: &str = "abe adler baker bauer becker berg carter clark cohen costa duarte fischer garcia gomez gupta haas hansen \
    hoffman ito jensen johnson kaplan keller khan kim klein kowalski kumar lang larsen lee lopez martin meyer miller moreau \
    nguyen novak olsen patel peters rossi sato schmidt silva weber young";

/// The list and the searches: both need the same million.
pub async fn list_and_search(bench: &Bench) -> Result<Vec<Row>> {
    let (small, large) = (seeded(bench, SMALL).await?, seeded(bench, LARGE).await?);
    let mut rows = vec![list(bench, &small, &large).await?];
    drop(small);
    rows.extend(searches(bench, &large).await?);
    Ok(rows)
}

async fn list(bench: &Bench, small: &Narthex, large: &Narthex) -> Result<Row> {
    let (small_load, large_load) =
        (load(small, 16, |_| LIST.to_owned()).await?, load(large, 16, |_| LIST.to_owned()).await?);
    for (server, users) in [(small, SMALL), (large, LARGE)] {
        let answer = get(server, LIST).await?;
        let shown = answer["users"].as_array().ok_or("no users")?;
        let complete = shown.iter().all(|user| user.pointer("/memberships/0/roles/0").is_some());
        // The template is one more.
        if shown.len() != PAGE as usize || !complete || answer["total_size"] != users + 1 {
            return Err(format!("{} users, complete: {complete}, total {}", shown.len(), answer["total_size"]).into());
        }
    }
    let (ours, floor) =
        alternate(&bench.method, Side::new(&large.program, &large_load), Side::new(&small.program, &small_load))
            .await?;
    let (ours, floor) = (median_cpu(&ours), median_cpu(&floor));
    Ok(Row {
        figure: "list page of 100 at 1,000,000 users in 50,000 organizations with total_size, CPU",
        narthex: format!("{ours:.0} µs"),
        floor: format!("{floor:.0} µs (at 1,000 users in 50)"),
        ratio: format!("{:.2} ×", ours / floor),
        target: "≤ 1.3 ×",
        met: ours <= floor * 1.3,
    })
}

/// A kind of search: its line, its n-th query, and the hits that it has to have, at least and at most.
struct Kind(&'static str, fn(u32) -> String, u64, u64);

async fn searches(bench: &Bench, server: &Narthex) -> Result<Vec<Row>> {
    let members = u64::from(MEMBERS);
    let kinds = [
        Kind("search at 1,000,000 users, a whole address (1 hit): p99", address, 1, 1),
        Kind("the same, a whole external id (1 hit): p99", |user| format!("customer-{user:07}"), 1, 1),
        Kind("the same, the domain of an organization (20 hits): p99", domain, members, members),
        Kind("the same, given and family name (some 400 hits): p99", |user| format!("{}@", names(user)), 300, 500),
        Kind("the same, a part of every address (10,000 hits counted): p99", |_| "example".to_owned(), 10_000, 10_000),
    ];
    let mut rows = Vec::new();
    for Kind(figure, query, least, most) in kinds {
        let path = move |number: u64| {
            // Spread over all users, the same ones in every run.
            let user = u32::try_from(number.wrapping_mul(611_953) % u64::from(LARGE)).expect("below a million") + 1;
            format!("/api/v1/users:search?query={}", query(user).replace('@', "%40"))
        };
        let hits = get(server, &path(1)).await?["total_size"].as_u64().unwrap_or(0);
        if hits < least || hits > most {
            return Err(format!("{} has {hits} hits", path(1)).into());
        }
        let load = load(server, 1, path).await?;
        load.run(&bench.method.sequence, Limit::time(bench.method.turn / 10)).await?;
        let latencies = load.run(&bench.method.sequence, Limit::time(bench.method.turn * 2)).await?.latencies;
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map(|time| time.as_secs_f64() * 1e3);
        let (median, p99) = (at(50).ok_or("no answer")?, at(99).ok_or("no answer")?);
        rows.push(Row {
            figure,
            narthex: format!("{p99:.1} ms (median {median:.1} ms, {} searches)", latencies.len()),
            floor: String::new(),
            ratio: String::new(),
            target: "≤ 20 ms",
            met: p99 <= 20.0,
        });
    }
    Ok(rows)
}

async fn load(
    server: &Narthex,
    connections: usize,
    path: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Result<Load> {
    let (authority, bearer) = (server.authority.clone(), server.bearer().await?);
    Ok(Load {
        authority: authority.clone(),
        protocol: Protocol::Http1,
        connections,
        streams: 1,
        follow: None,
        request: Arc::new(move |number| {
            http1_request(Method::GET, &authority, &path(number), Some(&bearer))
                .body(Full::default())
                .expect("a valid request")
        }),
    })
}

async fn get(server: &Narthex, path: &str) -> Result<Value> {
    let bearer = server.bearer().await?;
    let request = http1_request(Method::GET, &server.authority, path, Some(&bearer)).body(Full::default())?;
    let (_, body) = call(&server.authority, Protocol::Http1, request).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// `given.family` of the user with this number.
fn names(user: u32) -> String {
    let pick = |names: &'static str, number: u32| {
        let names: Vec<_> = names.split_ascii_whitespace().collect();
        names[number as usize % names.len()]
    };
    format!("{}.{}", pick(GIVEN, user), pick(FAMILY, user))
}

/// The domain of the organization that the user with this number belongs to, in the large folder.
fn domain(user: u32) -> String {
    format!("@company-{:05}.example", user % (LARGE / MEMBERS))
}

fn address(user: u32) -> String {
    names(user) + &domain(user)
}

/// A server over a folder with so many users.
async fn seeded(bench: &Bench, users: u32) -> Result<Narthex> {
    let installation = bench.installation(&format!("users-{users}"));
    let server = installation.start().await?;
    let bearer = server.bearer().await?;
    let organization = server.create_organization(&bearer, "template").await?;
    let user = server.create_user(&bearer, &organization, "template").await?;
    server.program.settle(Duration::from_secs(6)).await?;
    server.program.stop()?;
    let number = |id: &str, prefix| id.trim_start_matches(prefix).parse::<i64>();
    copies(&installation, number(&organization, "org_")?, number(&user, "usr_")?, users)?;
    installation.start().await
}

/// So many copies of the user, their memberships and roles, over a twentieth as many copies of the organization.
fn copies(installation: &Installation, organization: i64, user: i64, users: u32) -> Result<()> {
    let organizations = users / MEMBERS;
    seed(installation, |transaction| {
        copy_organization(transaction, organization, organizations)?;
        transaction.execute_batch(
            "CREATE TEMP TABLE given (number INTEGER PRIMARY KEY, name TEXT);
             CREATE TEMP TABLE family (number INTEGER PRIMARY KEY, name TEXT)",
        )?;
        let mut numbers = Vec::new();
        for (table, names) in [("given", GIVEN), ("family", FAMILY)] {
            let names: Vec<_> = names.split_ascii_whitespace().collect();
            for (number, name) in names.iter().enumerate() {
                transaction.execute(&format!("INSERT INTO {table} VALUES (?1, ?2)"), (i64::try_from(number)?, name))?;
            }
            numbers.push(names.len());
        }
        let address = format!(
            "(SELECT name FROM given WHERE given.number = copy.number % {}) || '.'
             || (SELECT name FROM family WHERE family.number = copy.number % {})
             || printf('@company-%05d.example', copy.number % {organizations})",
            numbers[0], numbers[1],
        );
        let external_id = "printf('customer-%07d', copy.number)";
        let search_text =
            format!("{address} || char(10) || 'usr_' || (users.id - copy.number) || char(10) || {external_id}");
        let replaced = [
            ("id", "users.id - copy.number"),
            ("profile_id", "profile_id - copy.number"),
            ("email", &address),
            ("email_key", &address),
            ("external_id", external_id),
            ("search_text", &search_text),
        ];
        copy(transaction, "users", ("id", user), users, &replaced)?;
        count(transaction, "users", user, users)?;
        let member = format!("organization_id - 1 - copy.number % {organizations}");
        for table in ["memberships", "membership_roles"] {
            let replaced = [("organization_id", member.as_str()), ("user_id", "user_id - copy.number")];
            copy(transaction, table, ("user_id", user), users, &replaced)?;
        }
        transaction.execute(
            "INSERT INTO counters (environment_id, noun, value)
             SELECT id, 'organization_users', ?2 FROM organizations WHERE id < ?1 AND id >= ?1 - ?3",
            (organization, MEMBERS, organizations),
        )?;
        transaction.execute(
            "INSERT INTO user_search (rowid, text) SELECT id, search_text FROM users WHERE id < ?1 ORDER BY id",
            [user],
        )?;
        Ok(())
    })
}
