//! Jobs: claimed by state, retried, taken over, kept when dead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narthex_core::ids::EnvId;
use narthex_core::jobs::{self, Handlers, Job, Kind, NewJob, Queue};
use narthex_core::schema::Schema;
use narthex_core::{Core, Error};
use serde_json::json;

use crate::fixture::Fixture;

static KIND: Kind = Kind {
    name: "test.work",
    queue: Queue::Work,
    lease: Duration::from_mins(1),
    retry: &[Duration::from_secs(10), Duration::from_mins(1)],
};

async fn enqueue(core: &Core, environment: EnvId, name: &str) {
    let now = core.clock.now();
    let job = NewJob { id: core.ids.next(), kind: &KIND, environment, payload: json!({ "name": name }), run_at: now };
    core.db.write(async move |tx| jobs::enqueue(tx, &job, now).await).await.unwrap();
}

/// Environment, name and attempt of each run.
type Log = Arc<Mutex<Vec<(EnvId, String, u32)>>>;

/// Handlers that note what they were given and then do as `then` says.
fn noting(log: &Log, then: impl Fn(&Job) -> Result<(), Error> + Send + Sync + Clone + 'static) -> Handlers {
    let log = Arc::clone(log);
    Handlers::core().with(&KIND, move |_core, job: Job| {
        let name = job.payload["name"].as_str().unwrap_or_default().to_owned();
        log.lock().unwrap().push((job.environment, name, job.attempts));
        let outcome = then(&job);
        async move { outcome }
    })
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn jobs_run_once_and_are_gone(db: TestDb) {
        let f = Fixture::on(db).await;
        let log = Log::default();
        for name in ["a", "b", "c"] {
            enqueue(&f.core, f.env(), name).await;
        }
        let handlers = noting(&log, |_| Ok(()));
        jobs::drain_with(&f.core, handlers.clone()).await.unwrap();
        jobs::drain_with(&f.core, handlers).await.unwrap();
        let ran: Vec<_> = log.lock().unwrap().iter().map(|(_, name, attempts)| (name.clone(), *attempts)).collect();
        assert_eq!(ran, [("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 1)]);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
    }

    async fn a_failed_job_is_retried_on_schedule_and_then_kept_as_a_dead_letter(db: TestDb) {
        let f = Fixture::on(db).await;
        let log = Log::default();
        enqueue(&f.core, f.env(), "a").await;
        let handlers = noting(&log, |_| Err(Error::internal("the cause stays in the log")));
        let runs = async || {
            jobs::drain_with(&f.core, handlers.clone()).await.unwrap();
            log.lock().unwrap().len()
        };
        assert_eq!(runs().await, 1);
        assert_eq!(runs().await, 1, "not before its time");
        f.core.clock.advance(Duration::from_secs(9));
        assert_eq!(runs().await, 1);
        f.core.clock.advance(Duration::from_secs(2));
        assert_eq!(runs().await, 2);
        f.core.clock.advance(Duration::from_secs(61));
        assert_eq!(runs().await, 3);
        f.core.clock.advance(Duration::from_hours(24));
        assert_eq!(runs().await, 3, "dead");
        let environment = f.env();
        let dead = async || f.core.db.read(async move |tx| jobs::dead(tx, environment).await).await.unwrap();
        let letter = dead().await.pop().unwrap();
        assert_eq!((letter.kind.as_str(), letter.attempts, letter.last_error.as_str()), ("test.work", 3, "internal error"));

        f.core.clock.advance(Duration::from_hours(88 * 24));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(dead().await.len(), 1, "kept");

        let (now, id) = (f.core.clock.now(), letter.id);
        let revive = async |kind: &'static str| {
            f.core.db.write(async move |tx| jobs::revive(tx, environment, id, kind, now).await).await.unwrap()
        };
        assert!(!revive("other.kind").await);
        assert!(revive("test.work").await);
        let handlers = noting(&log, |_| Ok(()));
        jobs::drain_with(&f.core, handlers).await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 4);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
    }

    async fn a_dead_letter_goes_after_ninety_days(db: TestDb) {
        let f = Fixture::on(db).await;
        enqueue(&f.core, f.env(), "a").await;
        f.tamper("UPDATE jobs SET state = 2").await;
        f.core.clock.advance(Duration::from_hours(89 * 24));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 1);
        f.core.clock.advance(Duration::from_hours(2 * 24));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
    }

    async fn a_job_that_panics_has_failed_and_others_go_on(db: TestDb) {
        let f = Fixture::on(db).await;
        let log = Log::default();
        enqueue(&f.core, f.env(), "bad").await;
        enqueue(&f.core, f.env(), "good").await;
        let handlers = noting(&log, |job| if job.payload["name"] == "bad" { panic!("as the test wants") } else { Ok(()) });
        jobs::drain_with(&f.core, handlers).await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 2);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs WHERE state = 0 AND attempts = 1").await, 1);
    }

    async fn a_dead_workers_job_is_taken_over_when_its_lease_ends(db: TestDb) {
        let f = Fixture::on(db).await;
        enqueue(&f.core, f.env(), "a").await;
        let started = Arc::new(tokio::sync::Notify::new());
        let hanging = {
            let started = Arc::clone(&started);
            Handlers::core().with(&KIND, move |_core, _job: Job| {
                let started = Arc::clone(&started);
                async move {
                    started.notify_one();
                    std::future::pending::<()>().await;
                    Ok(())
                }
            })
        };
        let worker = tokio::spawn(jobs::run_with(Arc::clone(&f.core), hanging, std::future::pending()));
        started.notified().await;
        // What `kill -9` looks like from the database: a lease, and nobody behind it.
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());

        let log = Log::default();
        let handlers = noting(&log, |_| Ok(()));
        jobs::drain_with(&f.core, handlers.clone()).await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 0, "the lease still stands");
        f.core.clock.advance(Duration::from_secs(61));
        jobs::drain_with(&f.core, handlers).await.unwrap();
        let ran: Vec<u32> = log.lock().unwrap().iter().map(|(.., attempts)| *attempts).collect();
        assert_eq!(ran, [2]);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
    }

    async fn an_environment_with_a_thousand_jobs_does_not_starve_another(db: TestDb) {
        let f = Fixture::on(db).await;
        let (busy, quiet) = (EnvId(10), EnvId(20));
        let now = f.core.clock.now();
        let first = f.core.ids.next();
        f.core
            .db
            .write(async move |tx| {
                for i in 0..200 {
                    let job = NewJob { id: first - i, kind: &KIND, environment: busy, payload: json!({ "name": "bulk" }), run_at: now };
                    jobs::enqueue(tx, &job, now).await?;
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        enqueue(&f.core, quiet, "login mail").await;
        let log = Log::default();
        jobs::drain_with(&f.core, noting(&log, |_| Ok(()))).await.unwrap();
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 201);
        let place = log.iter().position(|(environment, ..)| *environment == quiet).unwrap();
        assert!(place <= 4, "one turn of the busy environment at most, not {place} jobs");
    }

    async fn a_job_behind_many_environments_with_jobs_for_later_has_its_turn(db: TestDb) {
        let f = Fixture::on(db).await;
        let log = Log::default();
        let now = f.core.clock.now();
        let later: Vec<NewJob> = (1..=200)
            .map(|environment| NewJob {
                id: f.core.ids.next(),
                kind: &KIND,
                environment: EnvId(environment),
                payload: json!({}),
                run_at: now.plus(Duration::from_hours(24)),
            })
            .collect();
        f.core
            .db
            .write(async move |tx| {
                for job in &later {
                    jobs::enqueue(tx, job, now).await?;
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        enqueue(&f.core, EnvId(150), "due").await;
        let handlers = noting(&log, |_| Ok(()));
        let seen = Arc::clone(&log);
        let ran = async move {
            while seen.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let work = jobs::run_with(Arc::clone(&f.core), handlers.clone(), ran);
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("it had its turn");
        enqueue(&f.core, EnvId(199), "due").await;
        jobs::drain_with(&f.core, handlers).await.unwrap();
        let ran: Vec<_> = log.lock().unwrap().iter().map(|(environment, ..)| environment.0).collect();
        assert_eq!(ran, [150, 199]);
    }

    async fn two_workers_share_the_jobs_and_run_each_once(db: TestDb) {
        let f = Fixture::on(db).await;
        let other = f.second_node().await.unwrap_or_else(|| Arc::clone(&f.core));
        for i in 0..60 {
            enqueue(&f.core, EnvId(i % 3 + 1), "x").await;
        }
        let ran = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut workers = Vec::new();
        for core in [Arc::clone(&f.core), other] {
            let ran = Arc::clone(&ran);
            let handlers = Handlers::core().with(&KIND, move |_core, _job| {
                ran.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Ok(()))
            });
            let mut stopped = stopped.clone();
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            workers.push(tokio::spawn(jobs::run_with(core, handlers, until)));
        }
        let mut left = 60;
        for _ in 0..300 {
            left = f.number("SELECT COUNT(*) FROM jobs").await;
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.send(true).unwrap();
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!((left, ran.load(Ordering::SeqCst)), (0, 60));
    }

    async fn an_idle_worker_writes_nothing(db: TestDb) {
        let f = Fixture::on(db).await;
        f.organization("Acme").await;
        jobs::drain(&f.core).await.unwrap();
        let commits = || narthex_db::Metrics::get(&f.core.db.metrics().commits);
        let before = commits();
        let soon = tokio::time::sleep(Duration::from_secs(3));
        jobs::run(Arc::clone(&f.core), soon).await;
        // Giving the sealer's lease back is one; the node's own lease may have been prolonged meanwhile.
        assert!(commits() - before <= 3, "{} commits", commits() - before);
    }

    async fn a_job_of_a_newer_version_waits_for_a_worker_that_knows_it(db: TestDb) {
        let f = Fixture::on(db).await;
        enqueue(&f.core, f.env(), "a").await;
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs WHERE state = 0 AND attempts = 0").await, 1);
        f.core.clock.advance(Duration::from_secs(31));
        let log = Log::default();
        jobs::drain_with(&f.core, noting(&log, |_| Ok(()))).await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 1);
    }
}
