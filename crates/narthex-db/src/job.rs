//! A transaction closure, erased: it can be run several times, and answers its caller exactly once.

use std::any::Any;
use std::future::{Future, Ready};
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::{DbError, Tx};

pub(crate) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The closure's caller waits on a oneshot, so that nothing of the closure's (not necessarily `Send`) future is part of
/// the caller's own future.
pub(crate) trait Job: Send {
    /// The caller is gone. A job that has not started yet may be dropped then.
    fn abandoned(&self) -> bool;
    /// Runs the closure once and keeps its result; true for `Ok`.
    fn attempt<'a>(&'a mut self, tx: &'a mut Tx) -> LocalFuture<'a, bool>;
    /// The caller gave a probe.
    fn has_probe(&self) -> bool;
    /// Asks the caller's probe whether an earlier attempt was committed; None if there is no probe.
    fn committed<'a>(&'a self, tx: &'a mut Tx) -> Option<LocalFuture<'a, Result<bool, DbError>>>;
    /// Puts the result of the last attempt aside before a new one, since that result is the answer if the probe finds
    /// that the attempt was committed after all.
    fn keep(&mut self);
    /// Takes the kept result back.
    fn restore(&mut self);
    /// Ends the job with the kept result, or with `error` in its place.
    fn answer(self: Box<Self>, error: Option<DbError>);
}

/// Stands for the probe of a write that has none.
pub(crate) type NoProbe = fn(&mut Tx) -> Ready<Result<bool, DbError>>;

pub(crate) struct Closure<F, P, T, E> {
    run: F,
    probe: Option<P>,
    result: Option<Result<T, E>>,
    kept: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, P, T, E> Closure<F, P, T, E> {
    /// The job, and where its answer will come.
    pub(crate) fn new(run: F, probe: Option<P>) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        (Closure { run, probe, result: None, kept: None, reply }, answer)
    }
}

impl<F, P, T, E> Job for Closure<F, P, T, E>
where
    F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
    P: AsyncFn(&mut Tx) -> Result<bool, DbError> + Send + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn attempt<'a>(&'a mut self, tx: &'a mut Tx) -> LocalFuture<'a, bool> {
        Box::pin(async move {
            self.result = None;
            let result = (self.run)(tx).await;
            let ok = result.is_ok();
            self.result = Some(result);
            ok
        })
    }

    fn has_probe(&self) -> bool {
        self.probe.is_some()
    }

    fn committed<'a>(&'a self, tx: &'a mut Tx) -> Option<LocalFuture<'a, Result<bool, DbError>>> {
        let probe = self.probe.as_ref()?;
        Some(Box::pin(async move { probe(tx).await }))
    }

    fn keep(&mut self) {
        self.kept = self.result.take();
    }

    fn restore(&mut self) {
        self.result = self.kept.take();
    }

    fn answer(self: Box<Self>, error: Option<DbError>) {
        let Closure { result, reply, .. } = *self;
        let answer = match (error, result) {
            (Some(error), _) => Err(E::from(error)),
            (None, Some(result)) => result,
            (None, None) => Err(E::from(DbError::Sql("the transaction closure left no result".into()))),
        };
        // A caller that went away wants no answer; what was committed stays committed.
        drop(reply.send(answer));
    }
}

/// The text of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
