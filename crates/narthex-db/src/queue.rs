//! The queue in front of the lanes: bounded, and fair between shares (one per environment).
//!
//! Shares take turns, one job each, so a share with a thousand waiting jobs delays another's next job by one job only.
//! When the queue is full the newest job of the longest share makes room: a flood is refused before its victims are.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::DbError;
use crate::job::Job;
use crate::metrics::Metrics;

/// Something that waits for its turn.
pub(crate) enum Work {
    /// A transaction closure.
    Closure(Box<dyn Job>),
    /// A task of the layer itself that needs the SQLite writer's connection for itself, between two batches.
    Alone(Alone),
}

/// See [`Work::Alone`].
pub(crate) type Alone = Box<dyn FnOnce(&mut rusqlite::Connection) + Send>;

/// What a blocking pop found.
pub(crate) enum Popped {
    Work(Work),
    /// Nothing came within the time.
    Idle,
    /// Closed, and all that was queued has been handed out.
    Closed,
}

struct Entry {
    work: Work,
    since: Instant,
}

#[derive(Default)]
struct State {
    shares: HashMap<u64, VecDeque<Entry>>,
    /// The shares that have something waiting, in the order of their turns.
    turns: VecDeque<u64>,
    len: usize,
    closed: bool,
}

pub(crate) struct FairQueue {
    state: Mutex<State>,
    ready: Condvar,
    notify: Notify,
    limit: usize,
    timeout: Duration,
    metrics: Arc<Metrics>,
    /// Only the write queue shows in the metrics.
    gauge: bool,
}

impl FairQueue {
    pub(crate) fn new(limit: usize, timeout: Duration, metrics: Arc<Metrics>, gauge: bool) -> FairQueue {
        FairQueue {
            state: Mutex::default(),
            ready: Condvar::new(),
            notify: Notify::new(),
            limit: limit.max(1),
            timeout,
            metrics,
            gauge,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depth(&self, state: &State) {
        if self.gauge {
            Metrics::set(&self.metrics.queue_depth, state.len as u64);
        }
    }

    /// Queues `work`; what finds no room is answered with `Unavailable`.
    pub(crate) fn push(&self, share: u64, work: Work) {
        let mut state = self.lock();
        let refused = if state.closed {
            Some((work, "the database is closed"))
        } else {
            state.push(share, work);
            (state.len > self.limit).then(|| state.evict()).flatten().map(|work| (work, "too many writes are waiting"))
        };
        self.depth(&state);
        drop(state);
        self.ready.notify_one();
        self.notify.notify_one();
        if let Some((work, why)) = refused {
            self.refuse(work, why);
        }
    }

    /// Answers `work` with `Unavailable`.
    pub(crate) fn refuse(&self, work: Work, why: &str) {
        Metrics::add(&self.metrics.refused, 1);
        match work {
            Work::Closure(job) => crate::answer(job, Some(DbError::Unavailable(why.into()))),
            // Its caller sees the dropped channel.
            Work::Alone(_) => {}
        }
    }

    /// The next job, if any, that still wants to run: an abandoned one is dropped, one that waited too long refused.
    pub(crate) fn try_pop(&self) -> Option<Work> {
        loop {
            let entry = {
                let mut state = self.lock();
                let entry = state.pop();
                self.depth(&state);
                entry?
            };
            match entry.work {
                Work::Closure(job) if job.abandoned() => crate::answer(job, None),
                Work::Closure(job) if entry.since.elapsed() > self.timeout => {
                    self.refuse(Work::Closure(job), "waited too long for its turn");
                }
                work => return Some(work),
            }
        }
    }

    /// Waits up to `patience` on the calling thread.
    pub(crate) fn pop_blocking(&self, patience: Duration) -> Popped {
        loop {
            if let Some(work) = self.try_pop() {
                return Popped::Work(work);
            }
            let state = self.lock();
            if state.len > 0 {
                continue;
            }
            if state.closed {
                return Popped::Closed;
            }
            let (state, waited) = self
                .ready
                .wait_timeout_while(state, patience, |state| state.len == 0 && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() && state.len == 0 {
                return Popped::Idle;
            }
        }
    }

    /// Waits on the calling task; None once the queue is closed and empty.
    pub(crate) async fn pop(&self) -> Option<Work> {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            // Registered before looking, so that a push between the look and the wait is not missed.
            notified.as_mut().enable();
            if let Some(work) = self.try_pop() {
                // Several pushes may have left one permit only; pass it on while there is more.
                if self.lock().len > 0 {
                    self.notify.notify_one();
                }
                return Some(work);
            }
            if self.lock().closed {
                self.notify.notify_one();
                return None;
            }
            notified.await;
        }
    }

    /// No more work is taken; what is queued is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
        self.notify.notify_one();
        self.notify.notify_waiters();
    }
}

impl State {
    fn push(&mut self, share: u64, work: Work) {
        let entries = self.shares.entry(share).or_default();
        if entries.is_empty() {
            self.turns.push_back(share);
        }
        entries.push_back(Entry { work, since: Instant::now() });
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Entry> {
        let share = self.turns.pop_front()?;
        let entries = self.shares.get_mut(&share)?;
        let entry = entries.pop_front();
        if entries.is_empty() {
            self.shares.remove(&share);
        } else {
            self.turns.push_back(share);
        }
        self.len -= usize::from(entry.is_some());
        entry
    }

    fn evict(&mut self) -> Option<Work> {
        let (&share, _) = self.shares.iter().max_by_key(|(_, entries)| entries.len())?;
        let entries = self.shares.get_mut(&share)?;
        let entry = entries.pop_back()?;
        if entries.is_empty() {
            self.shares.remove(&share);
            self.turns.retain(|turn| *turn != share);
        }
        self.len -= 1;
        Some(entry.work)
    }
}
