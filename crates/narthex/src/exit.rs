//! How the program ends: one number per class of failure, so that scripts and supervisors can tell them apart.

use std::fmt;

use narthex_core::{Error, Kind};

/// Exit codes of `narthex`. They are part of the interface: numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped on request after a full drain.
    Ok = 0,
    /// Any failure without a number of its own.
    Failure = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The configuration was wrong: unknown key, bad value, unreadable file.
    Config = 3,
    /// The database could not be opened, migrated or reached.
    Database = 4,
    /// The master key is missing or is not the one that the database was sealed with.
    MasterKey = 5,
    /// A listening address is taken.
    AddressInUse = 6,
    /// Another process owns the data folder.
    AlreadyRunning = 7,
    /// `doctor` found something that needs attention.
    Unhealthy = 8,
    /// Requests were still running when the drain time was over.
    DrainTimeout = 9,
}

impl Exit {
    /// The code with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::Ok,
            Self::Failure,
            Self::Usage,
            Self::Config,
            Self::Database,
            Self::MasterKey,
            Self::AddressInUse,
            Self::AlreadyRunning,
            Self::Unhealthy,
            Self::DrainTimeout,
        ]
        .into_iter()
        .find(|exit| *exit as u8 == number)
    }
}

/// Why the program cannot go on, for the person at the terminal.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    /// One or more lines that say what is wrong and, where known, what to do.
    pub message: String,
}

impl Failure {
    /// A failure of the given class.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A wrong configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if error.kind() == Kind::Unavailable { Exit::Database } else { Exit::Failure };
        let message = match error.cause() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self::new(exit, message)
    }
}

impl From<narthex_db::DbError> for Failure {
    fn from(error: narthex_db::DbError) -> Self {
        Self::new(Exit::Database, error.to_string())
    }
}

/// Adds what was being done to an I/O error.
pub fn io_failure(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| {
        let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::AddressInUse } else { Exit::Failure };
        Failure::new(exit, format!("{what}: {error}"))
    }
}
