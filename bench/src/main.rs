//! Measures a release build of Narthex against its floors and prints the table of docs/performance.md. Builds nothing:
//! `cargo build --release -p narthex -p narthex-bench` comes first.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: the table is its output")]

mod browser;
mod load;
mod measure;
mod narthex;
mod program;
mod report;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use measure::Method;
use narthex::Installation;
use report::{Row, Stamp};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

/// Measures Narthex against its floors. Needs `taskset`, for the creates also `strace`, for the tokens per second `node` with
/// `npm ci` done in bench/oidc-provider.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything if nothing is named.
    rows: Vec<Figure>,
    /// The executable under measurement.
    #[arg(long, default_value = "target/release/narthex")]
    binary: PathBuf,
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one turn.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Core of the servers and floors.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// Core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Logins of each half of `logins`.
    #[arg(long, default_value_t = 100_000)]
    logins: u64,
    /// Leave docs/performance.md as it is.
    #[arg(long)]
    print_only: bool,
}

/// A measurement; some give several lines.
#[derive(Clone, Copy, ValueEnum)]
enum Figure {
    /// CPU per client_credentials token
    Token,
    /// Tokens per second against oidc-provider
    Tokens,
    /// Code login with a live session
    Login,
    /// Refresh of tokens
    Refresh,
    /// GET organization over REST
    Rest,
    /// GetOrganization over gRPC
    Grpc,
    /// Validation of API tokens
    ApiToken,
    /// Durable creates at 64 at once
    Create,
    /// Durable creates of users with a membership at 64 at once
    CreateUser,
    /// A page of 100 at 1,000,000 organizations
    List,
    /// A page of 100 and searches at 1,000,000 users
    Users,
    /// Bytes, first byte and CPU of the login page
    Pages,
    /// What logins leave in the database
    Logins,
    /// Cold start
    Start,
    /// Resident memory
    Memory,
    /// Size of the executable
    Size,
}

/// What every measurement needs.
struct Bench {
    binary: PathBuf,
    server_core: usize,
    method: Method,
    logins: u64,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A data folder for one measurement.
    fn installation(&self, name: &str) -> Installation {
        Installation { binary: self.binary.clone(), core: self.server_core, dir: self.folder.path().join(name) }
    }

    async fn measure(&self, figure: Figure) -> Result<Vec<Row>> {
        match figure {
            Figure::Token => rows::token::cpu(self).await,
            Figure::Tokens => rows::token::rate(self).await,
            Figure::Login => rows::login::code(self).await,
            Figure::Refresh => rows::login::refresh(self).await,
            Figure::Rest => rows::read::rest(self).await,
            Figure::Grpc => rows::read::grpc(self).await,
            Figure::ApiToken => rows::read::api_token(self).await,
            Figure::Create => rows::create::organizations(self).await,
            Figure::CreateUser => rows::create::users(self).await,
            Figure::List => rows::list::pages(self).await,
            Figure::Users => rows::users::list_and_search(self).await,
            Figure::Pages => rows::pages::login(self).await,
            Figure::Logins => rows::logins::storage(self).await,
            Figure::Start => rows::process::start(self).await,
            Figure::Memory => rows::process::memory(self).await,
            Figure::Size => rows::process::size(self),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    program::pin_self(arguments.load_core)?;
    // Beside the build: on a disk that syncs, which the system's folder for temporary files may not be.
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(program::sibling("")?)?;
    let bench = Bench {
        binary: arguments.binary.canonicalize()?,
        server_core: arguments.server_core,
        method: Method {
            rounds: arguments.rounds,
            turn: Duration::from_secs(arguments.seconds),
            sequence: Arc::default(),
        },
        logins: arguments.logins,
        folder,
    };
    let figures = if arguments.rows.is_empty() { Figure::value_variants().to_vec() } else { arguments.rows };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = 0;
    for figure in figures {
        match runtime.block_on(bench.measure(figure)) {
            Ok(rows) => {
                let stamp = Stamp::now()?;
                println!("{}", report::table(&rows, &stamp));
                if !arguments.print_only {
                    report::write(&rows, &stamp)?;
                }
            }
            Err(error) => {
                failed += 1;
                let name = figure.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                eprintln!("{name}: {error}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} measurements failed").into()) }
}
