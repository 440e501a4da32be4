//! Two sides, measured by turns.

use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::load::{Limit, Load, Outcome, Sequence};
use crate::program::Program;

/// How long and how often.
#[derive(Clone)]
pub struct Method {
    /// Turns of each side.
    pub rounds: usize,
    /// Length of a turn.
    pub turn: Duration,
    /// Numbers of the requests.
    pub sequence: Arc<Sequence>,
}

/// One turn.
pub struct Sample {
    /// Server CPU per request, with the work that the server does after its last answer.
    pub cpu: Duration,
    /// Server CPU per request until the last answer.
    pub cpu_answered: Duration,
    /// Requests answered per second.
    pub rate: f64,
    /// 99th percentile of the time to answer.
    pub p99: Duration,
}

/// A server and the load that it gets.
pub struct Side<'a> {
    /// The process whose CPU counts.
    pub program: &'a Program,
    /// What it is asked.
    pub load: &'a Load,
    /// How long it must be quiet before a turn counts as done: longer than the pauses between pieces of background work.
    pub quiet: Duration,
}

impl<'a> Side<'a> {
    /// A side without background work.
    pub fn new(program: &'a Program, load: &'a Load) -> Self {
        Self { program, load, quiet: Duration::from_millis(50) }
    }

    /// One turn after a short warm-up.
    pub async fn sample(&self, method: &Method) -> Result<Sample> {
        self.load.run(&method.sequence, Limit::time(method.turn / 10)).await?;
        self.program.settle(self.quiet).await?;
        let before = self.program.cpu()?;
        let Outcome { requests, elapsed, latencies } =
            self.load.run(&method.sequence, Limit::time(method.turn)).await?;
        let answered = self.program.cpu()?.saturating_sub(before);
        self.program.settle(self.quiet).await?;
        let cpu = self.program.cpu()?.saturating_sub(before);
        let p99 = latencies.get(latencies.len() * 99 / 100).copied().ok_or("no request was answered")?;
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let requests = requests as f64;
        Ok(Sample {
            cpu: cpu.div_f64(requests),
            cpu_answered: answered.div_f64(requests),
            rate: requests / elapsed.as_secs_f64(),
            p99,
        })
    }
}

/// Both sides by turns.
pub async fn alternate(method: &Method, ours: Side<'_>, floor: Side<'_>) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..method.rounds {
        samples.0.push(ours.sample(method).await?);
        samples.1.push(floor.sample(method).await?);
    }
    Ok(samples)
}

/// The median of what `value` takes from each sample.
pub fn median<S>(samples: &[S], value: impl Fn(&S) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Median CPU per request in microseconds.
pub fn median_cpu(samples: &[Sample]) -> f64 {
    median(samples, |sample| sample.cpu.as_secs_f64() * 1e6)
}

/// Median requests per second.
pub fn median_rate(samples: &[Sample]) -> f64 {
    median(samples, |sample| sample.rate)
}
