//! What is known of a request while it runs, and its one report to the gate, which is made even if the client goes away.

use std::sync::Arc;
use std::time::Instant;

use narthex_api::contract::Method;
use narthex_core::{Caller, Error, Kind};

use crate::Environment;
use crate::gate::{Gate, Outcome, RateLimitInfo, Transport};

/// What the steps of the pipeline have found out.
#[derive(Default)]
pub(crate) struct Progress {
    pub caller: Option<Caller>,
    pub environment: Option<Arc<Environment>>,
    pub rate: RateLimitInfo,
}

/// Reports a request when it ends; dropped before that (the connection is gone, and with it the request's future), it reports CANCELLED.
pub(crate) struct Watch<'g, G: Gate> {
    pub gate: &'g G,
    pub started: Instant,
    pub route: &'static str,
    pub verb: &'static str,
    pub method: Option<&'static Method>,
    pub transport: Transport,
    pub request_id: Arc<str>,
    pub api_version: Option<u32>,
    pub progress: Progress,
    pub reported: bool,
}

impl<G: Gate> Watch<'_, G> {
    /// The report, made once.
    pub fn report(&mut self, status: u16, error: Option<&Error>) {
        self.reported = true;
        self.gate.observe(&Outcome {
            route: self.route,
            verb: self.verb,
            method: self.method,
            transport: self.transport,
            kind: error.map(Error::kind),
            code: error.map_or("OK", Error::code),
            status,
            duration: self.started.elapsed(),
            caller: self.progress.caller.as_ref().map_or("anonymous", Caller::kind_name),
            request_id: &self.request_id,
            environment: self.progress.environment.as_ref().map(|environment| environment.id),
            api_version: self.api_version,
            error,
        });
    }
}

impl<G: Gate> Drop for Watch<'_, G> {
    fn drop(&mut self) {
        if !self.reported {
            let gone = Error::new(Kind::Cancelled, "the client went away");
            self.report(499, Some(&gone));
        }
    }
}
