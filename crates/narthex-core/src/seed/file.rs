//! Seed files: what should exist, in TOML, with ids and secrets that the writer may fix. Rows that exist are left as they are, so that
//! applying a file twice changes nothing, and neither does it undo what people have changed since.

use std::path::Path;

use narthex_db::p;
use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroize;

use super::environment::{EnvironmentSeed, SeedClient};
use crate::cache;
use crate::clients::{self, Client, ClientKind, NewClient, NewSecret};
use crate::core::Core;
use crate::environments::{self, Environment, EnvironmentKind, NewEnvironment};
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, OrganizationId, WorkspaceId};
use crate::members::{self, FixedRole, NewMember};
use crate::seal::{Secret, sha256};

/// What stands before the path of a file that holds a secret.
const FILE: &str = "file:";

/// A seed file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    workspaces: Vec<Workspace>,
}

/// Found by id, else by name, else it is the oldest; made if there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workspace {
    id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    operators: Vec<Operator>,
    #[serde(default)]
    environments: Vec<SeededEnvironment>,
}

/// Found by address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operator {
    email: String,
    #[serde(default)]
    given_name: String,
    #[serde(default)]
    family_name: String,
    role: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    Dev,
    Prd,
}

/// Found by id, else by origin, else it is the oldest of its kind in the workspace; made if there is none and an origin is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeededEnvironment {
    id: Option<String>,
    kind: Purpose,
    name: Option<String>,
    origin: Option<String>,
    #[serde(default)]
    clients: Vec<SeededClient>,
    #[serde(default)]
    organizations: Vec<SeededOrganization>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
enum AppKind {
    #[default]
    Env,
    WebApp,
    Spa,
    Native,
    Organization,
}

impl From<AppKind> for ClientKind {
    fn from(kind: AppKind) -> Self {
        match kind {
            AppKind::Env => Self::Env,
            AppKind::WebApp => Self::WebApp,
            AppKind::Spa => Self::Spa,
            AppKind::Native => Self::Native,
            AppKind::Organization => Self::Organization,
        }
    }
}

/// Found by id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeededClient {
    id: String,
    #[serde(default)]
    kind: AppKind,
    name: Option<String>,
    organization: Option<String>,
    /// The secrets themselves, or `file:PATH`.
    #[serde(default)]
    secrets: Vec<Spanned<String>>,
    #[serde(default)]
    callbacks: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    audience: Vec<String>,
    access_token_expiry: Option<u32>,
}

impl Drop for SeededClient {
    fn drop(&mut self) {
        self.secrets.iter_mut().for_each(|secret| secret.get_mut().zeroize());
    }
}

/// Found by id, else by external id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeededOrganization {
    id: Option<String>,
    external_id: Option<String>,
    name: String,
}

/// What [`apply`] made, in the words of the file, for people.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SeedReport {
    /// One line each; empty when everything existed.
    pub created: Vec<String>,
}

/// An organization that a seed file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedOrganization {
    pub(super) id: Option<OrganizationId>,
    pub(super) external_id: Option<String>,
    pub(super) name: String,
}

/// The seed file with the secrets that it names by `file:PATH` written out, for [`apply`]. Whoever names a file reads it: with their rights,
/// and from their folder. INVALID_ARGUMENT if the seed file is not understood, or a file cannot be read.
pub fn with_secrets(text: &str) -> Result<Secret<String>> {
    let file = parse(text)?;
    let environments = file.workspaces.iter().flat_map(|workspace| &workspace.environments);
    let mut secrets: Vec<&Spanned<String>> =
        environments.flat_map(|environment| &environment.clients).flat_map(|client| &client.secrets).collect();
    // From the end on, so that what is before stays where it is.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.span().start));
    let mut whole = text.to_owned();
    for secret in secrets {
        let Some(path) = secret.get_ref().strip_prefix(FILE) else { continue };
        let content = std::fs::read_to_string(Path::new(path))
            .map_err(|error| bad("clients.secrets", format!("cannot read {path}: {error}")))?;
        whole.replace_range(secret.span(), &toml::Value::from(content.trim_end()).to_string());
    }
    Ok(Secret::new(whole))
}

fn parse(text: &str) -> Result<File> {
    toml::from_str(text).map_err(|error| {
        // The error's own display quotes the line, its message a value of a wrong type: either may be a secret.
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
        Error::invalid("seed", "toml", format!("line {line}: {}", without_quoted(error.message())))
    })
}

/// Applies a seed file. INVALID_ARGUMENT, naming the line but never quoting it, if the file is not understood; what was made before a
/// later error stays, and applying the corrected file goes on from there.
pub async fn apply(core: &Core, text: &str) -> Result<SeedReport> {
    let file = parse(text)?;
    if environments::system(core).await?.is_none() {
        let text = "a seed file is applied to a database that has been started once";
        return Err(Error::new(Kind::FailedPrecondition, text));
    }
    let mut report = SeedReport::default();
    for workspace in &file.workspaces {
        let id = apply_workspace(core, workspace, &mut report).await?;
        for operator in &workspace.operators {
            apply_operator(core, id, operator, &mut report).await?;
        }
        for environment in &workspace.environments {
            apply_environment(core, id, environment, &mut report).await?;
        }
    }
    Ok(report)
}

/// The message without what stands between its first and last double quote.
fn without_quoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"…{}", &message[..first], &message[last..]),
        _ => message.to_owned(),
    }
}

fn bad(field: &str, text: impl Into<String>) -> Error {
    Error::invalid(field, "seed", text)
}

/// An optional id of the file.
fn id<T>(field: &str, text: Option<&String>, parse: fn(&str) -> Option<T>) -> Result<Option<T>> {
    match text {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or_else(|| bad(field, format!("{text:?} is no such id"))),
    }
}

async fn apply_workspace(core: &Core, wanted: &Workspace, report: &mut SeedReport) -> Result<WorkspaceId> {
    let given = id("workspaces.id", wanted.id.as_ref(), WorkspaceId::parse)?;
    let mut reader = core.db.reader().await?;
    let found: Option<(WorkspaceId,)> = match (given, &wanted.name) {
        (Some(id), _) => reader.opt("SELECT id FROM workspaces WHERE id = $1", &p![id]).await?,
        (None, Some(name)) => {
            reader
                .opt("SELECT id FROM workspaces WHERE display_name = $1 ORDER BY created_at, id LIMIT 1", &p![name])
                .await?
        }
        (None, None) => reader.opt("SELECT id FROM workspaces ORDER BY created_at, id LIMIT 1", &[]).await?,
    };
    drop(reader);
    if let Some((id,)) = found {
        return Ok(id);
    }
    let (id, now) = (given.unwrap_or_else(|| WorkspaceId::new(&core.ids)), core.clock.now());
    let name = wanted.name.clone().unwrap_or_else(|| "Workspace".to_owned());
    report.created.push(format!("workspace {id} {name}"));
    core.db
        .write(async move |tx| {
            let sql = "INSERT INTO workspaces (id, display_name, created_at, updated_at) VALUES ($1, $2, $3, $3)";
            tx.execute(sql, &p![id, &name, now]).await.map_err(Error::from)
        })
        .await?;
    Ok(id)
}

async fn apply_operator(core: &Core, workspace: WorkspaceId, wanted: &Operator, report: &mut SeedReport) -> Result<()> {
    let role = FixedRole::from_name(&wanted.role).ok_or_else(|| {
        bad("operators.role", format!("{:?} is none of owner, admin, developer, member, viewer", wanted.role))
    })?;
    if members::by_email(core, workspace, &wanted.email).await?.is_some() {
        return Ok(());
    }
    let new = NewMember {
        email: wanted.email.clone(),
        given_name: wanted.given_name.clone(),
        family_name: wanted.family_name.clone(),
        role,
    };
    let member = members::create(core, workspace, new).await?;
    report.created.push(format!("operator {} {}", member.id, member.email));
    Ok(())
}

async fn apply_environment(
    core: &Core,
    workspace: WorkspaceId,
    wanted: &SeededEnvironment,
    report: &mut SeedReport,
) -> Result<()> {
    let environment = match find_environment(core, workspace, wanted).await? {
        Some(environment) => environment,
        None => make_environment(core, workspace, wanted, report).await?,
    };
    for organization in &wanted.organizations {
        let organization = WantedOrganization {
            id: id("organizations.id", organization.id.as_ref(), OrganizationId::parse)?,
            external_id: organization.external_id.clone(),
            name: organization.name.clone(),
        };
        if organization.id.is_none() && organization.external_id.is_none() {
            return Err(bad("organizations", "an organization is found by id or external_id: one of them is needed"));
        }
        if let Some(line) = super::organizations::apply(core, environment.id, organization).await? {
            report.created.push(line);
        }
    }
    for client in &wanted.clients {
        apply_client(core, &environment, client, report).await?;
    }
    Ok(())
}

async fn find_environment(
    core: &Core,
    workspace: WorkspaceId,
    wanted: &SeededEnvironment,
) -> Result<Option<Environment>> {
    let given = id("environments.id", wanted.id.as_ref(), EnvId::parse)?;
    let kind = match wanted.kind {
        Purpose::Dev => EnvironmentKind::Dev,
        Purpose::Prd => EnvironmentKind::Prd,
    };
    let all = environments::list(core, workspace).await?;
    Ok(all.into_iter().filter(|environment| !environment.is_system).find(|environment| match (given, &wanted.origin) {
        (Some(id), _) => environment.id == id,
        (None, Some(origin)) => environment.origin == *origin,
        (None, None) => environment.kind == kind,
    }))
}

async fn make_environment(
    core: &Core,
    workspace: WorkspaceId,
    wanted: &SeededEnvironment,
    report: &mut SeedReport,
) -> Result<Environment> {
    let origin =
        wanted.origin.clone().ok_or_else(|| bad("environments.origin", "a new environment needs its origin"))?;
    let (kind, name) = match wanted.kind {
        Purpose::Dev => (EnvironmentKind::Dev, "Development"),
        Purpose::Prd => (EnvironmentKind::Prd, "Production"),
    };
    let new = NewEnvironment {
        id: id("environments.id", wanted.id.as_ref(), EnvId::parse)?.unwrap_or_else(|| EnvId::new(&core.ids)),
        workspace_id: workspace,
        kind,
        is_system: false,
        display_name: wanted.name.clone().unwrap_or_else(|| name.to_owned()),
        origin,
    };
    // The first API client of the file takes the place of the default one that every environment has.
    let default = wanted.clients.iter().find(|client| client.kind == AppKind::Env);
    let client = SeedClient {
        client_id: default.map(|client| client.id.clone()),
        secret: match default.and_then(|client| client.secrets.first()) {
            Some(text) => Some(secret(text)?),
            None => None,
        },
    };
    let mut seed = EnvironmentSeed::prepare(core, new.clone(), client).await?;
    if let Some(wanted) = default {
        configure(seed.client_mut(), wanted);
    }
    let rows = seed.rows();
    let bump = core
        .db
        .write(async move |tx| {
            rows.insert(tx).await?;
            cache::bump(tx, cache::ENVIRONMENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    report.created.push(format!("environment {} {}", new.id, new.origin));
    report.created.push(format!("client {}", seed.client_id()));
    let environment =
        environments::by_id(core, new.id).await?.ok_or_else(|| Error::internal("the new environment is gone"))?;
    Ok(environment.as_ref().clone())
}

/// Gives the default client of a new environment what the file says of it; what the file leaves out stays as every environment has it.
fn configure(client: &mut Client, wanted: &SeededClient) {
    if let Some(name) = &wanted.name {
        client.name.clone_from(name);
    }
    if !wanted.callbacks.is_empty() {
        client.post_login_uris.clone_from(&wanted.callbacks);
    }
    client.scopes.clone_from(&wanted.scopes);
    client.audience.clone_from(&wanted.audience);
    client.access_token_expiry = wanted.access_token_expiry;
}

async fn apply_client(
    core: &Core,
    environment: &Environment,
    wanted: &SeededClient,
    report: &mut SeedReport,
) -> Result<()> {
    let client = if let Some(client) = clients::get(core, environment.id, &wanted.id).await? {
        client.as_ref().clone()
    } else {
        let new = NewClient {
            client_id: Some(wanted.id.clone()),
            organization: id("clients.organization", wanted.organization.as_ref(), OrganizationId::parse)?,
            post_login_uris: wanted.callbacks.clone(),
            scopes: wanted.scopes.clone(),
            audience: wanted.audience.clone(),
            access_token_expiry: wanted.access_token_expiry,
            ..NewClient::new(wanted.kind.into(), wanted.name.as_deref().unwrap_or(&wanted.id))
        };
        if (new.kind == ClientKind::Organization) != new.organization.is_some() {
            return Err(bad("clients.organization", "clients of kind organization have one, and no others"));
        }
        let client = clients::create(core, environment.id, environment.kind, new).await?;
        report.created.push(format!("client {}", client.client_id));
        client
    };
    for text in &wanted.secrets {
        apply_secret(core, &client, secret(text)?, report).await?;
    }
    Ok(())
}

async fn apply_secret(core: &Core, client: &Client, plain: Secret<String>, report: &mut SeedReport) -> Result<()> {
    let hash = sha256(plain.expose().as_bytes());
    if client.secrets.iter().any(|stored| stored.hash == hash) {
        return Ok(());
    }
    let record = NewSecret::given(&core.ids, plain, "seed", core.clock.now()).record;
    let (owner, id) = (client.clone(), record.id);
    let bump = core
        .db
        .write(async move |tx| {
            clients::insert_secret(tx, &owner, &record).await?;
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    report.created.push(format!("secret {id} of {}", client.client_id));
    Ok(())
}

/// A secret of the file.
fn secret(text: &Spanned<String>) -> Result<Secret<String>> {
    let secret = Secret::new(text.get_ref().clone());
    if secret.expose().starts_with(FILE) {
        return Err(bad("clients.secrets", "a file is read by whoever names it, before it comes here"));
    }
    // A plain SHA-256 protects only what cannot be guessed.
    if secret.expose().len() < 20 {
        Err(bad("clients.secrets", "a secret has at least 20 characters"))
    } else {
        Ok(secret)
    }
}
