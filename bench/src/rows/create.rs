//! Durable creates of organizations, and of users with a membership, 64 at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::load::{Limit, Load, Protocol};
use crate::measure::{Sample, Side, median, median_cpu, median_rate};
use crate::narthex::{Installation, Narthex, create_request, create_user_request};
use crate::program::{pinned, sibling};
use crate::report::Row;
use crate::{Bench, Result};

const CLIENTS: usize = 64;

/// Longer than the pauses between the sweeps that follow a create (search index, counters).
const QUIET: Duration = Duration::from_secs(6);

/// CPU that each client of the floor burns per request, in microseconds.
const BURN: u64 = 120;

struct FloorTurn {
    rate: f64,
    cpu_micros: f64,
    writes_per_commit: f64,
}

/// What is created.
#[derive(Clone, Copy)]
enum Noun {
    Organization,
    User,
}

/// Organizations that users are created in.
const ORGANIZATIONS: u64 = 64;

/// What the turns of both sides gave.
struct Turns {
    ours: Vec<Sample>,
    floor: Vec<FloorTurn>,
}

/// Organizations: throughput, CPU and syncs.
pub async fn organizations(bench: &Bench) -> Result<Vec<Row>> {
    let turns = turns(bench, Noun::Organization).await?;
    let syncs = syncs_per_write(bench).await?;
    let floor_syncs = 1.0 / median(&turns.floor, |turn| turn.writes_per_commit);
    let mut rows =
        turns.rows(["durable create of an organization, 64 at once: throughput", "the same: CPU per create"]);
    rows.push(Row {
        figure: "the same: syncs per create",
        narthex: format!("1/{:.0}", 1.0 / syncs),
        floor: format!("1/{:.0}", 1.0 / floor_syncs),
        ratio: format!("{:.2} ×", syncs / floor_syncs),
        target: "≤ 1/20",
        met: syncs <= 1.0 / 20.0,
    });
    Ok(rows)
}

/// Users, each with a membership and its role: throughput and CPU.
pub async fn users(bench: &Bench) -> Result<Vec<Row>> {
    let turns = turns(bench, Noun::User).await?;
    Ok(turns.rows([
        "durable create of a user with a membership, 64 at once: throughput",
        "the same: CPU per create of a user",
    ]))
}

async fn turns(bench: &Bench, noun: Noun) -> Result<Turns> {
    let installation = bench.installation(noun.name());
    let server = installation.start().await?;
    let load = load(&server, noun).await?;
    let sent = bench.method.sequence.sent();
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..bench.method.rounds {
        ours.push(Side { program: &server.program, load: &load, quiet: QUIET }.sample(&bench.method).await?);
        floor.push(floor_turn(bench, noun)?);
    }
    server.program.stop()?;
    check(&installation, noun, bench.method.sequence.sent() - sent)?;
    Ok(Turns { ours, floor })
}

impl Turns {
    /// Throughput and CPU under these names.
    fn rows(&self, [throughput, cpu_per_create]: [&'static str; 2]) -> Vec<Row> {
        let Self { ours, floor } = self;
        let p99 = median(ours, |sample: &Sample| sample.p99.as_secs_f64() * 1e3);
        let (rate, cpu) = (median_rate(ours), median_cpu(ours));
        let answered = median(ours, |sample| sample.cpu_answered.as_secs_f64() * 1e6);
        let (floor_rate, floor_cpu) = (median(floor, |turn| turn.rate), median(floor, |turn| turn.cpu_micros));
        vec![
            Row {
                figure: throughput,
                narthex: format!("{rate:.0}/s (p99 {p99:.1} ms)"),
                floor: format!("{floor_rate:.0}/s"),
                ratio: format!("{:.2} ×", rate / floor_rate),
                target: "≥ 0.7 ×",
                met: rate >= floor_rate * 0.7,
            },
            Row {
                figure: cpu_per_create,
                narthex: format!("{cpu:.1} µs ({answered:.1} µs until the last answer)"),
                floor: format!("{floor_cpu:.1} µs"),
                ratio: format!("{:.2} ×", cpu / floor_cpu),
                target: "≤ 150 µs",
                met: cpu <= 150.0,
            },
        ]
    }
}

impl Noun {
    /// As the floor knows it.
    fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::User => "user",
        }
    }
}

async fn load(server: &Narthex, noun: Noun) -> Result<Load> {
    let (authority, bearer) = (server.authority.clone(), server.bearer().await?);
    let mut organizations = Vec::new();
    if matches!(noun, Noun::User) {
        for number in 0..ORGANIZATIONS {
            organizations.push(server.create_organization(&bearer, &format!("employer-{number}")).await?);
        }
    }
    Ok(Load {
        authority: authority.clone(),
        protocol: Protocol::Http1,
        connections: CLIENTS,
        streams: 1,
        follow: None,
        request: Arc::new(move |number| {
            let external_id = format!("customer-{number:09}");
            let request = match noun {
                Noun::Organization => create_request(&authority, &bearer, &external_id),
                Noun::User => {
                    let organization = usize::try_from(number % ORGANIZATIONS).expect("a small number");
                    create_user_request(&authority, &bearer, &organizations[organization], &external_id)
                }
            };
            request.expect("a valid request")
        }),
    })
}

/// What was acknowledged is there, and what follows a create was done within the time that was counted.
fn check(installation: &Installation, noun: Noun, acknowledged: u64) -> Result<()> {
    let database = rusqlite::Connection::open(installation.database())?;
    let count = |sql| database.query_row(sql, [], |row| row.get::<_, u32>(0)).map(u64::from);
    let (created, events) = match noun {
        Noun::Organization => (
            count("SELECT COUNT(*) FROM organizations WHERE external_id LIKE 'customer-%'")?,
            count("SELECT COUNT(*) FROM events WHERE type = 'organization.created'")?,
        ),
        Noun::User => (
            count(
                "SELECT COUNT(*) FROM users u JOIN memberships m ON m.user_id = u.id WHERE u.external_id LIKE 'customer-%'",
            )?,
            count("SELECT COUNT(*) FROM events WHERE type = 'user.organization_membership_created'")?,
        ),
    };
    let sealed = count("SELECT COUNT(*) FROM audit_chain")?;
    let unfinished = count("SELECT COUNT(*) FROM jobs")?
        + count("SELECT COUNT(*) FROM organization_search_pending")?
        + count("SELECT COUNT(*) FROM user_search_pending")?
        + count("SELECT COUNT(*) FROM counter_changes")?;
    if created != acknowledged || events < created || sealed < created || unfinished > 0 {
        return Err(format!(
            "{acknowledged} acknowledged: {created} {}s, {events} events, {sealed} sealed, {unfinished} rows wait",
            noun.name()
        )
        .into());
    }
    Ok(())
}

/// One run of the floor, which goes on with its database of the turn before.
fn floor_turn(bench: &Bench, noun: Noun) -> Result<FloorTurn> {
    let output = pinned(bench.server_core, sibling("floor-writer")?)
        .args(["--noun", noun.name()])
        .arg("--database")
        .arg(bench.folder.path().join(noun.name()).with_extension("floor.db"))
        .args(["--clients", &CLIENTS.to_string(), "--burn", &BURN.to_string()])
        .args(["--seconds", &bench.method.turn.as_secs().to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let turn: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| turn[name].as_f64().ok_or(format!("no {name} in {turn}"));
    Ok(FloorTurn {
        rate: number("writes")? / number("seconds")?,
        cpu_micros: number("cpu_seconds")? * 1e6 / number("writes")?,
        writes_per_commit: number("writes")? / number("commits")?,
    })
}

/// `fsync` and `fdatasync` calls per create, all files counted, checkpoints included; in a turn of its own, since tracing costs time.
async fn syncs_per_write(bench: &Bench) -> Result<f64> {
    let trace = bench.folder.path().join("syncs.trace");
    let server = bench.installation("traced").start_traced(&trace).await?;
    let load = load(&server, Noun::Organization).await?;
    load.run(&bench.method.sequence, Limit::time(bench.method.turn / 10)).await?;
    server.program.settle(QUIET).await?;
    let before = syncs(&trace)?;
    let outcome = load.run(&bench.method.sequence, Limit::time(bench.method.turn)).await?;
    server.program.settle(QUIET).await?;
    let syncs = syncs(&trace)? - before;
    server.program.stop()?;
    if syncs == 0.0 {
        return Err("strace saw no sync: nothing was durable, or nothing was traced".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    Ok(syncs / outcome.requests as f64)
}

fn syncs(trace: &Path) -> Result<f64> {
    let trace = std::fs::read_to_string(trace)?;
    let calls = trace.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).count();
    Ok(f64::from(u32::try_from(calls)?))
}
