//! Point reads on PostgreSQL: a stack of read-only connections, used from the caller's task.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::{Pg, Purpose, Server};
use crate::tx::{Home, Link, Tx};
use crate::{DbError, Reader};

pub(crate) struct Stack {
    server: Arc<Server>,
    idle: Mutex<Vec<Tx>>,
    room: Arc<Semaphore>,
}

impl Stack {
    pub(crate) fn new(server: Arc<Server>) -> Stack {
        let room = Arc::new(Semaphore::new(server.options.readers.max(1)));
        Stack { server, idle: Mutex::default(), room }
    }

    pub(crate) async fn reader(stack: &Arc<Stack>) -> Result<Reader, DbError> {
        let patience = stack.server.options.queue_timeout;
        let permit = match Arc::clone(&stack.room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(patience, Arc::clone(&stack.room).acquire_owned())
                .await
                .map_err(|_| DbError::Unavailable("all readers are in use".into()))?
                .map_err(|_| DbError::Unavailable("the database is closed".into()))?,
        };
        let tx = match stack.idle() {
            Some(tx) => tx,
            None => Tx::new(Link::Pg(stack.server.connect_at_home(Purpose::Read).await?), false),
        };
        Ok(Reader { tx: Some(tx), home: Arc::clone(stack) as Arc<dyn Home>, _permit: permit })
    }

    fn fresh(&self, pg: &Pg) -> bool {
        pg.is_usable() && pg.generation == self.server.generation.load(Ordering::Relaxed)
    }

    fn idle(&self) -> Option<Tx> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(tx) = idle.pop() {
            if matches!(&tx.link, Link::Pg(pg) if self.fresh(pg)) {
                return Some(tx);
            }
        }
        None
    }

    pub(crate) fn clear(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Home for Stack {
    fn take_back(&self, tx: Tx) {
        let Link::Pg(pg) = tx.link else { return };
        if self.fresh(&pg) && !self.room.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(Tx::new(Link::Pg(pg), false));
        } else {
            // The caller went away in the middle of a statement: the answer would go to the next one.
            self.server.home.spawn(pg.cancel());
        }
    }
}
