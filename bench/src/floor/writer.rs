//! Floor of the durable creates: clients in a closed loop that each burn a fixed CPU time per request (the stand-in for HTTP,
//! authentication and validation) and hand their rows to one writer, which commits all that wait with one fsync.
#![expect(clippy::print_stdout, reason = "the result goes to the program that started this one")]

mod rows;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use rows::Noun;
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

#[derive(Parser)]
struct Arguments {
    /// What is created.
    #[arg(long)]
    noun: Noun,
    /// Database to create, or to go on with.
    #[arg(long)]
    database: PathBuf,
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// CPU burnt per request, in microseconds.
    #[arg(long, default_value_t = 120)]
    burn: u64,
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

/// A create that waits for its commit.
struct Request {
    id: i64,
    done: oneshot::Sender<()>,
}

/// As many requests as Narthex's writer takes into one transaction.
const BATCH: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let connection = open(&arguments.database)?;
    let noun = arguments.noun;
    let first = noun.next_id(&connection)?;
    let (requests, queue) = mpsc::channel();
    let writer = std::thread::spawn(move || write(&connection, noun, &queue));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (answered, elapsed) = runtime.block_on(run(&arguments, first, requests));
    let commits = writer.join().map_err(|_| "the writer panicked")??;

    let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?;
    println!(
        "{}",
        serde_json::json!({"writes": answered, "commits": commits, "seconds": elapsed.as_secs_f64(), "cpu_seconds": cpu.as_secs_f64()})
    );
    Ok(())
}

/// All clients until the time is over; returns how many requests were answered in which time.
async fn run(arguments: &Arguments, first: i64, requests: mpsc::Sender<Request>) -> (i64, Duration) {
    let burn = Duration::from_micros(arguments.burn);
    let start = Instant::now();
    let end = start + Duration::from_secs(arguments.seconds);
    let clients: Vec<_> = (0..arguments.clients)
        .map(|client| {
            let requests = requests.clone();
            let step = i64::from(arguments.clients);
            let mut id = first + i64::from(client);
            tokio::spawn(async move {
                let mut answered = 0;
                while Instant::now() < end {
                    burn_cpu(burn);
                    let (done, committed) = oneshot::channel();
                    requests.send(Request { id, done }).expect("the writer lives as long as its clients");
                    committed.await.expect("the writer answers or ends this program");
                    (id, answered) = (id + step, answered + 1);
                }
                answered
            })
        })
        .collect();
    drop(requests);
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("a client only counts");
    }
    (answered, start.elapsed())
}

/// Spins until this thread itself has run that long: time in which another process had the core does not count.
fn burn_cpu(time: Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a CPU clock is never negative");
    let end = now() + time;
    while now() < end {
        std::hint::spin_loop();
    }
}

/// Group commit: takes what waits, commits, answers. Returns the number of commits when the last client is gone.
///
/// Before it commits it gives the core away once, and goes on for as long as that brings more: on a core shared with the clients
/// the writer would otherwise run as soon as the first request wakes it, and commit nearly every request alone.
fn write(connection: &Connection, noun: Noun, queue: &mpsc::Receiver<Request>) -> rusqlite::Result<u64> {
    let mut commits = 0;
    while let Ok(first) = queue.recv() {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        noun.insert(connection, first.id)?;
        let mut waiting = vec![first.done];
        let mut yielded = false;
        while waiting.len() < BATCH {
            if let Ok(next) = queue.try_recv() {
                noun.insert(connection, next.id)?;
                waiting.push(next.done);
                yielded = false;
            } else if yielded {
                break;
            } else {
                std::thread::yield_now();
                yielded = true;
            }
        }
        connection.execute_batch("COMMIT")?;
        commits += 1;
        for done in waiting {
            done.send(()).expect("the client waits for this answer");
        }
    }
    Ok(commits)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let new = !path.exists();
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    if new {
        rows::create_tables(&connection)?;
    }
    Ok(connection)
}
