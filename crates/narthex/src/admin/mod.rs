//! Administration: commands that work on the product's data. The command line sends them to the running server's socket, or runs them
//! itself when no server owns the folder.

mod clients;
pub mod doctor;
mod keys;
mod seed;
pub mod socket;
pub(crate) mod token;

use std::fmt::Write as _;
use std::sync::Arc;

use narthex_core::environments::{self, Environment, EnvironmentKind};
use narthex_core::ids::EnvId;
use narthex_core::{Core, Error, Kind};
use narthex_db::{Db, p};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// A command, as it goes over the socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// A token for an operator.
    Token {
        /// Role of an operator that is made for it.
        role: String,
        /// `wks_…`; the only workspace if absent.
        workspace: Option<String>,
        /// Address of the operator.
        email: String,
        /// Lifetime.
        seconds: u64,
    },
    /// A one-time link for an operator.
    OperatorLink {
        /// Role of an operator that is made for it.
        role: String,
        /// `wks_…`; the only workspace if absent.
        workspace: Option<String>,
        /// Address of the operator.
        email: String,
    },
    /// Makes a client with a secret.
    ClientCreate {
        /// Environment: id, `dev`, `prd` or domain.
        environment: String,
        /// `env`, `web`, `spa`, `native` or `organization`.
        kind: String,
        /// Name for people.
        name: String,
        /// `org_…`, for organization clients.
        organization: Option<String>,
        /// Registered scopes.
        scopes: Vec<String>,
    },
    /// Enables or disables a client.
    ClientEnable {
        /// Environment.
        environment: String,
        /// OAuth client id.
        client_id: String,
        /// Which.
        enabled: bool,
    },
    /// Adds a secret; the oldest goes if there would be too many.
    ClientRotateSecret {
        /// Environment.
        environment: String,
        /// OAuth client id.
        client_id: String,
    },
    /// Deletes a secret.
    ClientRevokeSecret {
        /// Environment.
        environment: String,
        /// OAuth client id.
        client_id: String,
        /// `sks_…`.
        secret: String,
    },
    /// Lists signing keys.
    KeysList {
        /// Environment; all if absent.
        environment: Option<String>,
    },
    /// Begins to rotate the signing key.
    KeysRotate {
        /// Environment.
        environment: String,
        /// Whether the new key signs at once.
        now: bool,
        /// Seconds that the new key is published before it signs.
        overlap_seconds: Option<u64>,
    },
    /// Withdraws a signing key: its tokens are refused from now on.
    KeysWithdraw {
        /// Environment.
        environment: String,
        /// `snk_…`.
        key: String,
    },
    /// Applies a seed file's content.
    SeedApply {
        /// TOML.
        content: String,
    },
    /// State of the migrations.
    MigrateStatus,
    /// What only the owner of the data can check.
    Doctor,
}

/// The answer to a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// For programs.
    pub data: Value,
}

impl Answer {
    fn new(text: impl Into<String>, data: Value) -> Self {
        Self { text: text.into(), data }
    }
}

/// Runs a command.
pub async fn execute(core: &Arc<Core>, command: Command) -> Result<Answer, Failure> {
    let answer = match command {
        Command::Token { role, workspace, email, seconds } => {
            token::mint(core, &role, workspace.as_deref(), &email, seconds).await?
        }
        Command::OperatorLink { role, workspace, email } => {
            token::link(core, &role, workspace.as_deref(), &email).await?
        }
        Command::ClientCreate { environment, kind, name, organization, scopes } => {
            clients::create(
                core,
                &*find_environment(core, &environment).await?,
                &kind,
                name,
                organization.as_deref(),
                scopes,
            )
            .await?
        }
        Command::ClientEnable { environment, client_id, enabled } => {
            clients::enable(core, &*find_environment(core, &environment).await?, &client_id, enabled).await?
        }
        Command::ClientRotateSecret { environment, client_id } => {
            clients::rotate_secret(core, &*find_environment(core, &environment).await?, &client_id).await?
        }
        Command::ClientRevokeSecret { environment, client_id, secret } => {
            clients::revoke_secret(core, &*find_environment(core, &environment).await?, &client_id, &secret).await?
        }
        Command::KeysList { environment } => {
            let found = match environment {
                Some(name) => vec![find_environment(core, &name).await?],
                None => all_environments(core).await?,
            };
            keys::list(core, &found).await?
        }
        Command::KeysRotate { environment, now, overlap_seconds } => {
            keys::rotate(core, &*find_environment(core, &environment).await?, now, overlap_seconds).await?
        }
        Command::KeysWithdraw { environment, key } => {
            keys::withdraw(core, &*find_environment(core, &environment).await?, &key).await?
        }
        Command::SeedApply { content } => seed::apply(core, &content).await?,
        Command::MigrateStatus => migrations(&core.db).await?,
        Command::Doctor => doctor::inside(core).await?,
    };
    Ok(answer)
}

/// State of the migrations.
pub async fn migrations(db: &Db) -> Result<Answer, Error> {
    let schema = narthex_core::schema::Schema::new();
    let status = db.migration_status(&schema.migrations()).await?;
    let mut text = String::new();
    let mut data = Vec::new();
    for migration in &status {
        let state = match (&migration.problem, migration.applied) {
            (Some(problem), _) => problem.as_str(),
            (None, true) => "applied",
            (None, false) => "pending",
        };
        // Writing to a String cannot fail.
        writeln!(text, "{:04} {:<32} {state}", migration.id, migration.name).ok();
        data.push(serde_json::json!({"id": migration.id, "name": migration.name, "state": state}));
    }
    Ok(Answer::new(text, Value::Array(data)))
}

/// Every environment, oldest first.
async fn all_environments(core: &Core) -> Result<Vec<Arc<Environment>>, Error> {
    let ids: Vec<(EnvId,)> = core.db.reader().await?.all("SELECT id FROM environments ORDER BY id", &p![]).await?;
    let mut found = Vec::new();
    for (id,) in ids {
        found.extend(environments::by_id(core, id).await?);
    }
    Ok(found)
}

/// The environment that an operator means: an id, a domain, or `dev`, `prd` and `system` where there is only one.
async fn find_environment(core: &Core, name: &str) -> Result<Arc<Environment>, Error> {
    let all = all_environments(core).await?;
    let kind = match name {
        "dev" => Some((EnvironmentKind::Dev, false)),
        "prd" => Some((EnvironmentKind::Prd, false)),
        "system" => Some((EnvironmentKind::Prd, true)),
        _ => None,
    };
    let fits = |environment: &&Arc<Environment>| match kind {
        Some((kind, is_system)) => environment.kind == kind && environment.is_system == is_system,
        None => environment.id.to_string() == name || environment.domain == name,
    };
    let mut found = all.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::InvalidArgument, format!("several environments are `{name}`: give an id")))
        }
        (None, _) => Err(Error::new(Kind::NotFound, format!("no environment is `{name}`"))),
    }
}

/// A refusal on the socket.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    exit: u8,
    message: String,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { exit: failure.exit as u8, message: failure.message }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = Exit::from_number(refusal.exit).unwrap_or(Exit::Failure);
        Self { exit, message: refusal.message }
    }
}
