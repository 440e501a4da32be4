//! Commands that work on an installation's data: through the running server if there is one, else with the folder's lock.

use std::path::{Path, PathBuf};

use narthex_core::schema::Schema;
use narthex_core::seal::MasterKeySource;
use narthex_core::seed;
use narthex_db::{Db, DbOptions};

use super::{Admin, Client, Keys, Migrate, Seed, Target, print};
use crate::admin::{self, Answer, Command, doctor};
use crate::app::{self, AppOptions, DevOptions, FolderLock, Mode};
use crate::config::{self, Config, Settings};
use crate::dev::Folder;
use crate::exit::{Exit, Failure, io_failure};

/// An installation: where its data is and how it is opened.
struct Installation {
    dir: PathBuf,
    database_url: String,
    master_key: MasterKeySource,
    /// Of `serve`.
    config: Option<Config>,
}

impl Installation {
    fn find(target: &Target) -> Result<Self, Failure> {
        let sources = config::Sources::from_process(target.sources.config.clone(), target.sources.set.clone());
        let dev = Path::new("./.narthex");
        match &target.dir {
            Some(dir) => Ok(Self::dev(dir, target.database_url.clone())),
            None if sources.file.is_none() && sources.flags.is_empty() && dev.exists() => Ok(Self::dev(dev, None)),
            None => {
                let config = Config::from_settings(&Settings::load(&sources)?)?;
                Ok(Self {
                    dir: config.data_dir.clone(),
                    database_url: config.database_url.clone(),
                    master_key: app::master_key(&config.master_key)?,
                    config: Some(config),
                })
            }
        }
    }

    fn dev(dir: &Path, database_url: Option<String>) -> Self {
        let folder = Folder(dir.to_owned());
        Self {
            dir: dir.to_owned(),
            database_url: database_url.unwrap_or_else(|| format!("sqlite:{}", folder.database().display())),
            master_key: MasterKeySource::File(folder.master_key()),
            config: None,
        }
    }

    /// Runs a command where the data is owned.
    async fn run(&self, command: Command) -> Result<Answer, Failure> {
        if let Some(answer) = admin::socket::send(&self.dir.join("admin.sock"), &command).await? {
            return Ok(answer);
        }
        let _lock = self.lock()?;
        let options = AppOptions::new(Mode::Dev(DevOptions::new(&self.dir)));
        let core = app::open_core(&options, &self.database_url, self.master_key.clone()).await?;
        let answer = admin::execute(&core, command).await;
        core.close().await;
        answer
    }

    /// An administration command for a folder that does not exist is a mistyped folder, not a new installation.
    fn lock(&self) -> Result<FolderLock, Failure> {
        if self.dir.is_dir() {
            return FolderLock::take(&self.dir);
        }
        let message =
            format!("{} does not exist: give --dir or --config, or start the server first", self.dir.display());
        Err(Failure::new(Exit::Usage, message))
    }
}

/// Runs and prints.
async fn run(target: &Target, command: Command) -> Result<Exit, Failure> {
    let answer = Installation::find(target)?.run(command).await?;
    show(target, &answer)
}

fn show(target: &Target, answer: &Answer) -> Result<Exit, Failure> {
    if target.json { print(&format!("{:#}\n", answer.data)) } else { print(&answer.text) }
}

pub(super) async fn admin(command: Admin) -> Result<Exit, Failure> {
    match command {
        Admin::Token { role, workspace, email, expires, target } => {
            run(&target, Command::Token { role, workspace, email, seconds: expires }).await
        }
        Admin::OperatorLink { role, workspace, email, target } => {
            run(&target, Command::OperatorLink { role, workspace, email }).await
        }
        Admin::Client(command) => client(command).await,
    }
}

async fn client(command: Client) -> Result<Exit, Failure> {
    match command {
        Client::Create { environment, kind, organization, scope, name, target } => {
            run(&target, Command::ClientCreate { environment, kind, name, organization, scopes: scope }).await
        }
        Client::Disable(client) => {
            let (environment, client_id) = (client.environment, client.client_id);
            run(&client.target, Command::ClientEnable { environment, client_id, enabled: false }).await
        }
        Client::Enable(client) => {
            let (environment, client_id) = (client.environment, client.client_id);
            run(&client.target, Command::ClientEnable { environment, client_id, enabled: true }).await
        }
        Client::RotateSecret(client) => {
            let (environment, client_id) = (client.environment, client.client_id);
            run(&client.target, Command::ClientRotateSecret { environment, client_id }).await
        }
        Client::RevokeSecret { secret, client } => {
            let (environment, client_id) = (client.environment, client.client_id);
            run(&client.target, Command::ClientRevokeSecret { environment, client_id, secret }).await
        }
    }
}

pub(super) async fn keys(command: Keys) -> Result<Exit, Failure> {
    match command {
        Keys::List { environment, target } => run(&target, Command::KeysList { environment }).await,
        Keys::Rotate { environment, now, overlap, target } => {
            run(&target, Command::KeysRotate { environment, now, overlap_seconds: overlap }).await
        }
        Keys::Withdraw { environment, key, target } => run(&target, Command::KeysWithdraw { environment, key }).await,
    }
}

pub(super) async fn seed(command: Seed) -> Result<Exit, Failure> {
    match command {
        Seed::Apply { file, target } => {
            let text = std::fs::read_to_string(&file).map_err(io_failure(file.display()))?;
            let content = seed::with_secrets(&text)?.expose().clone();
            run(&target, Command::SeedApply { content }).await
        }
    }
}

/// Looks at the schema without opening the product, which would bring it up to date.
pub(super) async fn migrate(command: Migrate) -> Result<Exit, Failure> {
    let (target, apply) = match command {
        Migrate::Status(target) => (target, false),
        Migrate::Up(target) => (target, true),
    };
    let installation = Installation::find(&target)?;
    // A running server has applied everything, or it would not run.
    if let Some(answer) = admin::socket::send(&installation.dir.join("admin.sock"), &Command::MigrateStatus).await? {
        return show(&target, &answer);
    }
    let _lock = installation.lock()?;
    let db = Db::open(&DbOptions::new(installation.database_url)).await?;
    let schema = Schema::new();
    if apply {
        db.migrate(&schema.migrations()).await?;
    }
    let answer = admin::migrations(&db).await?;
    db.close().await;
    show(&target, &answer)
}

pub(super) async fn doctor(target: Target) -> Result<Exit, Failure> {
    let installation = Installation::find(&target)?;
    let inside = installation.run(Command::Doctor).await?;
    let mut findings: Vec<doctor::Finding> =
        serde_json::from_value(inside.data).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    if let Some(config) = &installation.config {
        findings.extend(doctor::outside(config, Some(&installation.dir.join("ca.pem"))).await);
    }
    let exit =
        if findings.iter().any(|finding| finding.level == doctor::Level::Problem) { Exit::Unhealthy } else { Exit::Ok };
    let data = serde_json::to_value(&findings).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    show(&target, &Answer { text: doctor::report(&findings), data })?;
    Ok(exit)
}
