//! Log lines: one access line per request, and whatever else is worth a line. Lines are written by a thread of their own, many per
//! system call; when it cannot keep up, requests wait for it rather than lose a line.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::LogFormat;
use crate::exit::Failure;

/// Lines that may wait for the writing thread.
const QUEUE: usize = 8_192;

/// The running log. Dropping it writes what waits.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Starts logging for the whole process, to standard error. Only the program does so; tests and embedders bring a subscriber of
    /// their own or none.
    pub fn start(format: LogFormat, level: &str) -> Result<Self, Failure> {
        let (queue, lines) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, io::stderr()))
            .map_err(crate::exit::io_failure("log thread"))?;
        let (filter, handle) = reload::Layer::new(parse(level)?);
        let lines = tracing_subscriber::fmt::layer().with_writer(Lines(queue.clone()));
        let lines = match format {
            LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
            LogFormat::Pretty => lines.with_target(false).with_ansi(false).boxed(),
        };
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines))
            .map_err(|error| Failure::config(error.to_string()))?;
        Ok(Self { filter: handle, queue: Some(queue), thread: Some(thread) })
    }

    /// Changes the level while running.
    pub fn set_level(&self, level: &str) -> Result<(), Failure> {
        self.filter.reload(parse(level)?).map_err(|error| Failure::config(error.to_string()))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The global subscriber keeps a sender for ever, so the end is a message: an empty line.
        if let Some(queue) = self.queue.take() {
            queue.send(Vec::new()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Checks log directives without using them.
pub fn check_level(level: &str) -> Result<(), Failure> {
    parse(level).map(drop)
}

fn parse(level: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::builder().parse(level).map_err(|error| Failure::config(format!("log.level `{level}`: {error}")))
}

/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(5);

fn write_lines(lines: &Receiver<Vec<u8>>, out: impl Write) {
    let mut out = io::BufWriter::with_capacity(64 * 1024, out);
    while let Ok(mut line) = lines.recv() {
        // One wake-up for all lines of some milliseconds: woken for each, this thread took a third of a read's CPU.
        std::thread::sleep(GATHER);
        loop {
            if line.is_empty() {
                out.flush().ok();
                return;
            }
            // A closed standard error leaves nowhere to report that it is closed.
            out.write_all(&line).ok();
            match lines.try_recv() {
                Ok(next) => line = next,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        out.flush().ok();
    }
}

#[derive(Clone)]
struct Lines(SyncSender<Vec<u8>>);

/// Collects one event; sent when the formatter drops it.
struct Line {
    queue: SyncSender<Vec<u8>>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { queue: self.0.clone(), bytes: Vec::with_capacity(256) }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            // Fails only after the log has ended.
            self.queue.send(std::mem::take(&mut self.bytes)).ok();
        }
    }
}
