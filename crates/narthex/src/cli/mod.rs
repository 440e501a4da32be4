//! The command line. Parsing and printing; what is done is done elsewhere.

mod admin;
mod openapi;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit::{Exit, Failure};

/// Authentication for business software: organizations, their people, and every way they sign in.
#[derive(Debug, Parser)]
#[command(name = "narthex", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything on this machine for development: a DEV and a PRD environment with seeded credentials.
    Dev(Dev),
    /// Runs a production server.
    Serve(Serve),
    /// Shows or applies schema migrations.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Tokens for operators, clients and their secrets.
    #[command(subcommand)]
    Admin(Admin),
    /// Signing keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Seed files.
    #[command(subcommand)]
    Seed(Seed),
    /// Looks for what tends to be wrong with an installation.
    Doctor(Target),
    /// The configuration of `serve`.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints the REST side of what is built as an OpenAPI 3.1 document.
    Openapi {
        /// Also what is in preview.
        #[arg(long)]
        preview: bool,
    },
    /// Prints the version.
    Version,
}

#[derive(Debug, Args)]
struct Dev {
    /// Data folder; made on first use, kept afterwards.
    #[arg(long, default_value = "./.narthex")]
    dir: PathBuf,
    /// DEV environment over TLS. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// PRD environment over TLS.
    #[arg(long, default_value = "127.0.0.1:8444")]
    prd_listen: SocketAddr,
    /// DEV environment in plain: HTTP/1.1 and HTTP/2 on one port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http_listen: SocketAddr,
    /// PostgreSQL to use instead of the SQLite file in the data folder.
    #[arg(long)]
    database_url: Option<String>,
    /// Seed file to apply.
    #[arg(long)]
    seed: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    sources: Sources,
}

/// Where the configuration of `serve` comes from.
#[derive(Debug, Clone, Args)]
struct Sources {
    /// Configuration file; without it NARTHEX_CONFIG, else ./narthex.toml if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A single key, e.g. `--set server.listen=:8443`; may stand several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// Which installation a command is for.
#[derive(Debug, Clone, Args)]
struct Target {
    /// Data folder of `narthex dev`. Without it: the configuration of `serve` if there is one, else ./.narthex.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The database that `narthex dev` was given, if it was.
    #[arg(long, requires = "dir")]
    database_url: Option<String>,
    #[command(flatten)]
    sources: Sources,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Migrate {
    /// Lists migrations and their state.
    Status(Target),
    /// Applies pending migrations.
    Up(Target),
}

#[derive(Debug, Subcommand)]
enum Admin {
    /// Prints a token for an operator, who is made if there is none.
    Token {
        /// owner, admin, developer, member or viewer.
        #[arg(long, default_value = "owner")]
        role: String,
        /// Workspace; needed if there are several.
        #[arg(long)]
        workspace: Option<String>,
        /// Address of the operator.
        #[arg(long, default_value = "operator@localhost")]
        email: String,
        /// How long the token lives: 90s, 15m, 12h, 7d.
        #[arg(long, default_value = "12h", value_parser = lifetime)]
        expires: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Prints a one-time link that signs an operator in, who is made if there is none.
    OperatorLink {
        /// owner, admin, developer, member or viewer.
        #[arg(long, default_value = "owner")]
        role: String,
        /// Workspace; needed if there are several.
        #[arg(long)]
        workspace: Option<String>,
        /// Address of the operator.
        #[arg(long, default_value = "operator@localhost")]
        email: String,
        #[command(flatten)]
        target: Target,
    },
    /// Clients and their secrets.
    #[command(subcommand)]
    Client(Client),
}

#[derive(Debug, Args)]
struct ClientName {
    /// Environment: id, domain, `dev` or `prd`.
    #[arg(long)]
    environment: String,
    /// OAuth client id.
    client_id: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Client {
    /// Makes a client and prints its secret, once.
    Create {
        /// Environment: id, domain, `dev` or `prd`.
        #[arg(long)]
        environment: String,
        /// env, web, spa, native or organization.
        #[arg(long, default_value = "env")]
        kind: String,
        /// Organization of an organization client.
        #[arg(long)]
        organization: Option<String>,
        /// Registered scopes.
        #[arg(long)]
        scope: Vec<String>,
        /// Name for people.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Switches a client off; its tokens are refused at once.
    Disable(ClientName),
    /// Switches a client on again.
    Enable(ClientName),
    /// Adds a secret and prints it, once; the oldest goes if there would be too many.
    RotateSecret(ClientName),
    /// Deletes a secret.
    RevokeSecret {
        /// Id of the secret.
        #[arg(long)]
        secret: String,
        #[command(flatten)]
        client: ClientName,
    },
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Lists signing keys.
    List {
        /// Environment: id, domain, `dev` or `prd`; all if absent.
        #[arg(long)]
        environment: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Publishes a new key, which signs when clients have had time to learn of it.
    Rotate {
        /// Environment: id, domain, `dev` or `prd`.
        #[arg(long)]
        environment: String,
        /// Sign with it at once: clients that keep the key set refuse its tokens until they restart.
        #[arg(long, conflicts_with = "overlap")]
        now: bool,
        /// How long it is published before it signs: 12h, 7d (the default).
        #[arg(long, value_parser = lifetime)]
        overlap: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Takes a key back: everything that it signed is refused from now on.
    Withdraw {
        /// Environment: id, domain, `dev` or `prd`.
        #[arg(long)]
        environment: String,
        /// The key, `snk_…`.
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum Seed {
    /// Applies a seed file; applying it again changes nothing.
    Apply {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Checks the configuration and prints it with the source of each value; secrets are left out.
    Check {
        #[command(flatten)]
        sources: Sources,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be KEY=VALUE".to_owned())
}

fn lifetime(text: &str) -> Result<u64, String> {
    crate::config::duration(text).map(|duration| duration.as_secs())
}

impl Cli {
    /// Does what the command line says.
    pub async fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Dev(dev) => run::dev(dev).await,
            Command::Serve(serve) => run::serve(serve.sources).await,
            Command::Config(ConfigCommand::Check { sources }) => run::config_check(sources),
            Command::Openapi { preview } => openapi::openapi(preview).await,
            Command::Version => print(&format!("narthex {}\n", env!("CARGO_PKG_VERSION"))),
            Command::Migrate(command) => admin::migrate(command).await,
            Command::Admin(command) => admin::admin(command).await,
            Command::Keys(command) => admin::keys(command).await,
            Command::Seed(command) => admin::seed(command).await,
            Command::Doctor(target) => admin::doctor(target).await,
        }
    }
}

/// Prints what was asked for; a closed pipe is the reader's choice, not a failure.
fn print(text: &str) -> Result<Exit, Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, error.to_string()))
        }
        _ => Ok(Exit::Ok),
    }
}
