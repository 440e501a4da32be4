//! Stopping without losing a request: first readiness goes red while everything still works, then nothing new is accepted, then each
//! connection ends when its work is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How far the stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal work.
    Running,
    /// Readiness is red and HTTP/1.1 answers carry `Connection: close`; connections are still accepted.
    Draining,
    /// Listeners close, connections end once they are quiet.
    Stopping,
}

/// Shared by listeners, connections and the health endpoint. Clones see the same stop.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    open: Arc<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: AtomicUsize,
    changed: Notify,
}

impl Default for Drain {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)), open: Arc::default() }
    }
}

impl Drain {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether a stop has begun.
    pub fn is_draining(&self) -> bool {
        self.phase() > Phase::Running
    }

    /// Goes on to a later phase; never back.
    pub fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
            }
            later
        });
    }

    /// Returns once the phase is reached.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        if self.phase.subscribe().wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(&self) -> ConnectionGuard {
        self.open.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard(self.open.clone())
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.open.connections.load(Ordering::Relaxed)
    }

    /// Waits until no connection is open. False if some were when the time was over.
    pub async fn finished(&self, within: Duration) -> bool {
        let all_closed = async {
            loop {
                let changed = self.open.changed.notified();
                if self.open_connections() == 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, all_closed).await.is_ok()
    }
}

/// One open connection.
#[derive(Debug)]
pub struct ConnectionGuard(Arc<Open>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}
