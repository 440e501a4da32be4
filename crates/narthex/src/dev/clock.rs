//! `/dev/clock`: time that a developer can move, forward only, kept over restarts.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use narthex_core::Clock;
use serde::Deserialize;
use serde_json::json;

use super::ca::write_private;
use crate::exit::Failure;
use crate::gate::State;
use crate::reply::{self, Body};

/// Longest single move: a hundred years would overflow nothing, and help nobody.
const LONGEST_SECONDS: u64 = 100 * 365 * 86_400;

/// Where the offset is kept.
pub struct MovedClock {
    file: PathBuf,
}

impl MovedClock {
    /// Moves the clock to where it was when the folder was last used.
    pub fn restore(file: PathBuf, clock: &Clock) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Kept {
            offset_micros: u64,
        }
        if let Ok(text) = fs::read_to_string(&file) {
            let kept: Kept = serde_json::from_str(&text).map_err(|error| {
                Failure::config(format!("{}: {error}; delete it to return to real time", file.display()))
            })?;
            clock.advance(Duration::from_micros(kept.offset_micros).saturating_sub(clock.offset()));
        }
        Ok(Self { file })
    }

    fn keep(&self, clock: &Clock) -> Result<(), Failure> {
        let offset = u64::try_from(clock.offset().as_micros()).unwrap_or(u64::MAX);
        write_private(&self.file, json!({"offset_micros": offset}).to_string().as_bytes())
    }
}

/// `GET /dev/clock`.
pub(super) fn show(state: &State) -> Response<Body> {
    let clock = &state.core.clock;
    reply::value(StatusCode::OK, &json!({"now": clock.now().rfc3339(), "offset_seconds": clock.offset().as_secs()}))
}

/// `POST /dev/clock` with `{"advance_seconds": N}`.
pub(super) async fn advance(state: &State, body: Incoming) -> Response<Body> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Move {
        advance_seconds: u64,
    }
    let wrong = || {
        let message = "the body must be {\"advance_seconds\": N} with N from 0 to 3153600000; time goes forward only";
        reply::plain_error(StatusCode::BAD_REQUEST, 3, "INVALID_ARGUMENT", message)
    };
    let Ok(body) = Limited::new(body, 4_096).collect().await else { return wrong() };
    let by = match serde_json::from_slice::<Move>(&body.to_bytes()) {
        Ok(by) if by.advance_seconds <= LONGEST_SECONDS => Duration::from_secs(by.advance_seconds),
        _ => return wrong(),
    };
    let clock = &state.core.clock;
    clock.advance(by);
    if let Some(dev) = &state.dev
        && let Err(failure) = dev.clock.keep(clock)
    {
        tracing::warn!(%failure, "the clock's offset will be lost at the next start");
    }
    // What became due by the move is done before the answer, so that whoever asked sees it.
    narthex_core::core::maintain(&state.core).await;
    show(state)
}
