//! What a start makes sure of: workspace, environments at their origins, and credentials that work.

use std::path::Path;
use std::sync::Arc;

use narthex_core::environments::{self, Environment};
use narthex_core::ids::{EnvId, WorkspaceId};
use narthex_core::seed::{self, FirstStart, SeedClient, SeededClient, SeededEnvironments};
use narthex_core::{Core, Error, clients, login};
use narthex_db::p;

use crate::config::Config;
use crate::dev::env_file::Credentials;
use crate::exit::Failure;

/// The environments of `narthex dev`, and an API client of each.
pub struct DevSeed {
    /// The DEV environment.
    pub dev_environment: EnvId,
    /// The PRD environment.
    pub prd_environment: EnvId,
    /// API client of the DEV environment.
    pub dev: Credentials,
    /// API client of the PRD environment.
    pub prd: Credentials,
}

/// Seeds a new development folder, or brings a used one to this start's ports. `known` are the credentials that the folder's `dev.env`
/// holds: they are kept as long as they work.
pub async fn dev(
    core: &Arc<Core>,
    dev_url: &str,
    prd_url: &str,
    known: [Option<Credentials>; 2],
) -> Result<DevSeed, Failure> {
    let system_url = dev_url.replacen("https://localhost", "https://auth.localhost", 1);
    let seeded = seed::first_start(core, first_start("Development", &system_url, dev_url, prd_url)).await?;
    bind(core, &seeded, [&system_url, dev_url, prd_url]).await?;
    login::prepare_operators(core).await?;
    let (made_dev, made_prd) = seeded.clients.map_or((None, None), |(dev, prd)| (Some(dev), Some(prd)));
    let [known_dev, known_prd] = known;
    Ok(DevSeed {
        dev_environment: seeded.dev,
        prd_environment: seeded.prd,
        dev: credentials(core, seeded.dev, made_dev, known_dev).await?,
        prd: credentials(core, seeded.prd, made_prd, known_prd).await?,
    })
}

/// Seeds an empty production database: environments `dev.` and `prd.` under the base domain, the product's own at `auth.`. The workspace
/// that the first start has made.
pub async fn serve(core: &Arc<Core>, config: &Config, port: u16) -> Result<WorkspaceId, Failure> {
    let standard = if config.public_scheme == "https" { 443 } else { 80 };
    // Behind a proxy that ends TLS, the port here is not the public one.
    let port = if port == standard || config.listen.is_none() { String::new() } else { format!(":{port}") };
    let url = |name: &str| format!("{}://{name}.{}{port}", config.public_scheme, config.base_domain);
    let seeded = seed::first_start(core, first_start("Default", &url("auth"), &url("dev"), &url("prd"))).await?;
    login::prepare_operators(core).await?;
    Ok(seeded.workspace)
}

fn first_start(workspace: &str, system: &str, dev: &str, prd: &str) -> FirstStart {
    FirstStart {
        workspace_name: workspace.to_owned(),
        system_origin: system.to_owned(),
        dev_origin: dev.to_owned(),
        prd_origin: prd.to_owned(),
        dev_client: SeedClient::default(),
        prd_client: SeedClient::default(),
    }
}

/// Moves the environments to these origins. Ports may have changed places since the last start, so all give up theirs first.
async fn bind(core: &Core, seeded: &SeededEnvironments, [system, dev, prd]: [&str; 3]) -> Result<(), Error> {
    let wanted = [(seeded.system, system), (seeded.dev, dev), (seeded.prd, prd)];
    let mut moved = false;
    for (id, origin) in wanted {
        moved |= environment(core, id).await?.origin != origin;
    }
    if moved {
        for (id, _) in wanted {
            environments::bind(core, id, &format!("https://{id}.invalid"), &[]).await?;
        }
    }
    for (id, origin) in wanted {
        environments::bind(core, id, origin, &[]).await?;
    }
    Ok(())
}

async fn environment(core: &Core, id: EnvId) -> Result<Arc<Environment>, Error> {
    environments::by_id(core, id).await?.ok_or_else(environments::not_found)
}

/// Credentials that work: the ones just made, else the known ones, else a new secret of the default client.
async fn credentials(
    core: &Core,
    id: EnvId,
    made: Option<SeededClient>,
    known: Option<Credentials>,
) -> Result<Credentials, Error> {
    if let Some(made) = made {
        return Ok(Credentials { client_id: made.client_id, secret: made.secret.expose().clone() });
    }
    if let Some(known) = known
        && clients::authenticate(core, id, &known.client_id, &known.secret).await?.is_some()
    {
        return Ok(known);
    }
    let sql = "SELECT client_id FROM clients WHERE environment_id = $1 AND is_default = 1";
    let (client_id,): (String,) = core.db.reader().await?.one(sql, &p![id]).await?;
    renew_secret(core, &*environment(core, id).await?, &client_id, "narthex dev").await
}

/// Gives a client a new secret. At the limit of active secrets the oldest one stops to count.
pub async fn renew_secret(
    core: &Core,
    environment: &Environment,
    client_id: &str,
    by: &str,
) -> Result<Credentials, Error> {
    let client = clients::get(core, environment.id, client_id).await?.ok_or_else(clients::not_found)?;
    let active: Vec<_> =
        client.secrets.iter().filter(|secret| secret.status == clients::SecretStatus::Active).collect();
    if active.len() >= client.kind.secret_limit()
        && let Some(oldest) = active.first()
    {
        clients::delete_secret(core, environment.id, client_id, oldest.id).await?;
    }
    let made = clients::add_secret(core, environment.id, environment.kind, client_id, by).await?;
    Ok(Credentials { client_id: client_id.to_owned(), secret: made.plain.expose().clone() })
}

/// Applies a seed file.
pub async fn apply_file(core: &Core, path: &Path) -> Result<(), Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
    let wrong = |error| Failure::config(format!("{}: {error}", path.display()));
    let text = seed::with_secrets(&text).map_err(wrong)?;
    let report = seed::apply(core, text.expose()).await.map_err(wrong)?;
    for line in &report.created {
        tracing::info!(file = %path.display(), line, "seeded");
    }
    Ok(())
}
