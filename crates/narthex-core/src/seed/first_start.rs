//! The first start: a workspace, the product's own environment, one DEV and one PRD environment.

use narthex_db::p;

use super::environment::{EnvironmentSeed, SeedClient};
use crate::cache;
use crate::core::Core;
use crate::environments::{EnvironmentKind, NewEnvironment};
use crate::error::{Error, Result};
use crate::ids::{EnvId, WorkspaceId};
use crate::seal::Secret;

/// Where the first three environments are reached.
pub struct FirstStart {
    /// Name of the workspace.
    pub workspace_name: String,
    /// Base URL of the product's own environment, e.g. `https://auth.localhost:8443`.
    pub system_origin: String,
    /// Base URL of the DEV environment.
    pub dev_origin: String,
    /// Base URL of the PRD environment.
    pub prd_origin: String,
    /// The DEV environment's client.
    pub dev_client: SeedClient,
    /// The PRD environment's client.
    pub prd_client: SeedClient,
}

/// A client whose secret was made a moment ago.
pub struct SeededClient {
    /// OAuth id.
    pub client_id: String,
    /// Secret, shown this once.
    pub secret: Secret<String>,
}

/// The environments of the first workspace.
pub struct SeededEnvironments {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The product's own environment.
    pub system: EnvId,
    /// The DEV environment.
    pub dev: EnvId,
    /// The PRD environment.
    pub prd: EnvId,
    /// The DEV and the PRD client with their secrets; None if the database was seeded before.
    pub clients: Option<(SeededClient, SeededClient)>,
}

/// Seeds an empty database; on any other it only says what is there. Two nodes that start at once on one database seed it once.
pub async fn first_start(core: &Core, start: FirstStart) -> Result<SeededEnvironments> {
    if let Some(found) = find(core).await? {
        return Ok(found);
    }
    let workspace = WorkspaceId::new(&core.ids);
    let new = |kind, is_system, name: &str, origin: String| NewEnvironment {
        id: EnvId::new(&core.ids),
        workspace_id: workspace,
        kind,
        is_system,
        display_name: name.to_owned(),
        origin,
    };
    let system = new(EnvironmentKind::Prd, true, "System", start.system_origin);
    let dev = new(EnvironmentKind::Dev, false, "Development", start.dev_origin);
    let prd = new(EnvironmentKind::Prd, false, "Production", start.prd_origin);
    let ids = (system.id, dev.id, prd.id);
    // Three key pairs: made side by side, they take as long as the slowest.
    let (system, dev, prd) = tokio::try_join!(
        EnvironmentSeed::prepare(core, system, SeedClient::default()),
        EnvironmentSeed::prepare(core, dev, start.dev_client),
        EnvironmentSeed::prepare(core, prd, start.prd_client),
    )?;
    let (name, now) = (start.workspace_name, core.clock.now());
    let rows = [system.rows(), dev.rows(), prd.rows()];
    let bump = core
        .db
        .write(async move |tx| {
            if tx.opt::<(i64,)>("SELECT id FROM workspaces LIMIT 1", &[]).await?.is_some() {
                return Ok(None);
            }
            let sql = "INSERT INTO workspaces (id, display_name, created_at, updated_at) VALUES ($1, $2, $3, $3)";
            tx.execute(sql, &p![workspace, &name, now]).await?;
            for rows in &rows {
                rows.insert(tx).await?;
            }
            cache::bump(tx, cache::ENVIRONMENTS).await.map(Some).map_err(Error::from)
        })
        .await?;
    let Some(bump) = bump else {
        // Another node was faster.
        return find(core).await?.ok_or_else(|| Error::unavailable("the first start is under way on another node"));
    };
    core.caches.apply(bump);
    let client =
        |seed: &EnvironmentSeed| SeededClient { client_id: seed.client_id().to_owned(), secret: seed.secret().clone() };
    Ok(SeededEnvironments {
        workspace,
        system: ids.0,
        dev: ids.1,
        prd: ids.2,
        clients: Some((client(&dev), client(&prd))),
    })
}

/// The oldest workspace and the oldest environment of each sort.
async fn find(core: &Core) -> Result<Option<SeededEnvironments>> {
    let sql = "SELECT id, workspace_id, kind, is_system FROM environments ORDER BY created_at, id";
    let rows: Vec<(EnvId, WorkspaceId, i32, bool)> = core.db.reader().await?.all(sql, &[]).await?;
    let oldest = |kind: EnvironmentKind, system: bool| {
        rows.iter().find(|row| row.2 == kind as i32 && row.3 == system).map(|row| row.0)
    };
    let system = rows.iter().find(|row| row.3);
    match (system, oldest(EnvironmentKind::Dev, false), oldest(EnvironmentKind::Prd, false)) {
        (Some(system), Some(dev), Some(prd)) => {
            Ok(Some(SeededEnvironments { workspace: system.1, system: system.0, dev, prd, clients: None }))
        }
        _ => Ok(None),
    }
}
