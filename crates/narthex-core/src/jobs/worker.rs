//! Running jobs: the loop of a server, and the drain of a test.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Job, Kind, Queue, leases, periodic, store};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::audit;
use crate::ids::EnvId;

/// Jobs that one process runs at once.
const PARALLEL: usize = 8;
/// How long an idle worker waits before it looks again.
const IDLE: Duration = Duration::from_millis(200);
/// How long it waits after it could not reach the database.
const TROUBLED: Duration = Duration::from_secs(1);
/// How long a job waits that this version of the program does not know.
const UNKNOWN: Duration = Duration::from_secs(30);

type Done = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
type Run = dyn Fn(Arc<Core>, Job) -> Done + Send + Sync;

/// What to do for each kind of job.
#[derive(Clone)]
pub struct Handlers {
    kinds: BTreeMap<&'static str, (&'static Kind, Arc<Run>)>,
}

impl Handlers {
    /// The handlers of the core's own jobs.
    pub fn core() -> Self {
        Self { kinds: BTreeMap::new() }
            .with(&crate::organizations::CASCADE, crate::organizations::cascade)
            .with(&crate::domains::POLL, crate::domains::poll)
            .with(&crate::emails::DELIVER, crate::emails::deliver)
            .with(&crate::resources::CASCADE, crate::resources::cascade)
            .with(&crate::sessions::ENDED, crate::sessions::ended)
            .with(&crate::sessions::NOTIFY, crate::sessions::notify)
            .with(&crate::users::ERASE, crate::users::erase)
    }

    /// Adds the handler of `kind`. It may be run twice for one job, and is stopped when the kind's lease ends.
    #[must_use]
    pub fn with<F, Fut>(mut self, kind: &'static Kind, run: F) -> Self
    where
        F: Fn(Arc<Core>, Job) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.kinds.insert(kind.name, (kind, Arc::new(move |core, job| Box::pin(run(core, job)))));
        self
    }

    fn lease(&self, kind: &str) -> Duration {
        self.kinds.get(kind).map_or(UNKNOWN, |(kind, _)| kind.lease)
    }

    fn tries(&self, kind: &str) -> usize {
        self.kinds.get(kind).map_or(usize::MAX, |(kind, _)| kind.retry.len() + 1)
    }
}

/// Works until `shutdown` is done, then finishes what it has claimed.
pub async fn run(core: Arc<Core>, shutdown: impl Future<Output = ()> + Send) {
    run_with(core, Handlers::core(), shutdown).await;
}

/// [`run`] with the handlers of the server beside those of the core.
///
/// Sealing, sweeping and jobs go on side by side: a pile in front of one must not hold up the others.
pub async fn run_with(core: Arc<Core>, handlers: Handlers, shutdown: impl Future<Output = ()> + Send) {
    let (stop, stopped) = watch::channel(false);
    tokio::join!(
        async {
            shutdown.await;
            stop.send_replace(true);
        },
        keep_sealing(Worker::new(Arc::clone(&core), handlers.clone()), stopped.clone()),
        keep_sweeping(Worker::new(Arc::clone(&core), handlers.clone()), stopped.clone()),
        keep_running(Worker::new(core, handlers), stopped),
    );
}

async fn keep_sealing(mut worker: Worker, mut stopped: watch::Receiver<bool>) {
    loop {
        let sealed = worker.seal().await;
        if is_stopped_after(sealed, &mut stopped).await {
            break;
        }
    }
    if let Err(error) = worker.end().await {
        tracing::warn!(?error, "jobs: the sealer's lease will end by itself");
    }
}

async fn keep_sweeping(mut worker: Worker, mut stopped: watch::Receiver<bool>) {
    loop {
        let swept = worker.sweep().await;
        if is_stopped_after(swept, &mut stopped).await {
            break;
        }
    }
}

/// Rests, unless there was something to do. True if meanwhile the end has come.
async fn is_stopped_after(done: Result<usize>, stopped: &mut watch::Receiver<bool>) -> bool {
    let rest = match done {
        Ok(0) => IDLE,
        Ok(_) => Duration::ZERO,
        Err(error) => troubled(&error),
    };
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => true,
        () = tokio::time::sleep(rest) => false,
    }
}

async fn keep_running(mut worker: Worker, mut stopped: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    loop {
        let rest = match worker.claim(PARALLEL - running.len()).await {
            Ok(jobs) if jobs.is_empty() => IDLE,
            Ok(jobs) => {
                worker.start(jobs, &mut running);
                Duration::ZERO
            }
            Err(error) => troubled(&error),
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(ended) = running.join_next() => report(ended),
            () = tokio::time::sleep(rest), if running.len() < PARALLEL => {}
        }
        while let Some(ended) = running.try_join_next() {
            report(ended);
        }
    }
    while let Some(ended) = running.join_next().await {
        report(ended);
    }
}

fn troubled(error: &Error) -> Duration {
    tracing::warn!(?error, "jobs: the database does not answer");
    TROUBLED
}

/// Runs everything that is due, one after the other, until nothing is: for tests and for the CLI. Deterministic with a clock that is
/// moved by hand. Answers how many jobs and sweeps ran.
pub async fn drain(core: &Arc<Core>) -> Result<usize> {
    drain_with(core, Handlers::core()).await
}

/// [`drain`] with more handlers than those of the core.
pub async fn drain_with(core: &Arc<Core>, handlers: Handlers) -> Result<usize> {
    let mut worker = Worker::new(Arc::clone(core), handlers);
    let mut total = 0;
    loop {
        let mut running = JoinSet::new();
        let done = worker.round(&mut running).await?;
        while let Some(ended) = running.join_next().await {
            report(ended);
        }
        // A round looks at some environments only: what is due may lie behind them.
        if done == 0 && !store::any_due(&mut *core.db.reader().await?, core.clock.now()).await? {
            worker.end().await?;
            return Ok(total);
        }
        total += done;
    }
}

fn report(ended: Result<Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(?error, "jobs: the outcome of a job could not be written; its lease will end"),
        Err(error) => tracing::error!(%error, "jobs: a worker task ended early"),
    }
}

struct Worker {
    core: Arc<Core>,
    handlers: Handlers,
    /// Number of this worker among the holders of leases.
    holder: i64,
    cursor: EnvId,
    audit_cursor: EnvId,
    schedule: periodic::Schedule,
}

impl Worker {
    fn new(core: Arc<Core>, handlers: Handlers) -> Self {
        let holder = core.ids.next();
        Self {
            core,
            handlers,
            holder,
            cursor: EnvId(i64::MIN),
            audit_cursor: EnvId(i64::MIN),
            schedule: periodic::Schedule::default(),
        }
    }

    /// Seals what is to be sealed, sweeps what is to be swept, and starts one job. How much there was of all. Each of the three has
    /// its turn even if another fails.
    async fn round(&mut self, running: &mut JoinSet<Result<()>>) -> Result<usize> {
        let sealed = self.seal().await;
        let swept = self.sweep().await;
        let jobs = self.claim(1).await?;
        let claimed = jobs.len();
        self.start(jobs, running);
        Ok(sealed? + swept? + claimed)
    }

    async fn seal(&mut self) -> Result<usize> {
        audit::seal_due(&self.core, self.holder, &mut self.audit_cursor).await
    }

    async fn sweep(&mut self) -> Result<usize> {
        periodic::run_due(&self.core, self.holder, &mut self.schedule).await
    }

    fn start(&self, jobs: Vec<Job>, running: &mut JoinSet<Result<()>>) {
        for job in jobs {
            running.spawn(run_one(Arc::clone(&self.core), self.handlers.clone(), job));
        }
    }

    /// Lets another worker seal at once.
    async fn end(&self) -> Result<()> {
        let holder = self.holder;
        self.core.db.write(async move |tx| leases::release(tx, audit::SEAL.name, holder).await).await
    }

    async fn claim(&mut self, room: usize) -> Result<Vec<Job>> {
        let now = self.core.clock.now();
        let (due, ended) = {
            // A look on a read connection, so that an idle worker does not write.
            let mut reader = self.core.db.reader().await?;
            let due = if room == 0 {
                None
            } else {
                let (due, at) = store::due_environment(&mut reader, Queue::Work, self.cursor, now).await?;
                if due.is_none() {
                    // The next look begins where this one ended: environments whose jobs are all for later hide none behind them.
                    self.cursor = at;
                }
                due
            };
            (due, store::any_lease_ended(&mut reader, now).await?)
        };
        if due.is_none() && !ended {
            return Ok(Vec::new());
        }
        let (cursor, lease, handlers) = (self.cursor, self.core.ids.next(), self.handlers.clone());
        let (jobs, cursor) = self
            .core
            .db
            .write(async move |tx| {
                if ended {
                    store::reclaim(tx, |kind| handlers.tries(kind), now).await?;
                }
                store::claim(tx, cursor, room, lease, |kind| handlers.lease(kind), now).await
            })
            .await?;
        self.cursor = cursor;
        Ok(jobs)
    }
}

/// Runs one job and writes down what came of it.
async fn run_one(core: Arc<Core>, handlers: Handlers, job: Job) -> Result<()> {
    let Some((kind, run)) = handlers.kinds.get(job.kind.as_str()) else {
        let retry_at = core.clock.now().plus(UNKNOWN);
        return core.db.write(async move |tx| store::release(tx, &job, retry_at).await).await;
    };
    // A task of its own, so that a panic is this job's failure and nobody else's.
    let mut task = tokio::spawn({
        let (core, run, job) = (Arc::clone(&core), Arc::clone(run), job.clone());
        async move { run(core, job).await }
    });
    let outcome = match tokio::time::timeout(kind.lease, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Error::internal(panic)),
        Err(_) => {
            task.abort();
            Err(Error::internal("the job ran longer than its lease"))
        }
    };
    match outcome {
        Ok(()) => {
            let (id, name) = (job.id, kind.name);
            let kept = core.db.write(async move |tx| store::complete(tx, &job).await).await?;
            if !kept {
                tracing::warn!(job = id, kind = name, "jobs: done, but its lease had been taken over");
            }
            Ok(())
        }
        Err(error) => {
            // What was asked for cannot be done, however often it is tried.
            let is_final = error.kind() == crate::error::Kind::InvalidArgument;
            let retry = kind.retry.get(job.attempts.saturating_sub(1) as usize).filter(|_| !is_final);
            tracing::warn!(
                job = job.id,
                kind = kind.name,
                attempts = job.attempts,
                dead = retry.is_none(),
                ?error,
                "job failed"
            );
            let retry_at = retry.map(|wait| core.clock.now().plus(*wait));
            core.db.write(async move |tx| store::fail(tx, &job, error.message(), retry_at).await).await
        }
    }
}
