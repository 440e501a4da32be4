//! Scopes of an environment: what clients and resources may name besides its permissions. The contract keeps them for what was built
//! before there were permissions (control plane reference §5).

use narthex_db::{DbError, FromRow, Row, Tx, p};

use crate::clients::validation::Checks;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::ids::{EnvId, PermissionId, ScopeId};
use crate::{cache, permissions};

/// Scopes of OpenID Connect: every client may name them, nobody may define them.
pub const RESERVED: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];
/// Scopes of one environment.
const MOST: i64 = 500;

/// A scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Id.
    pub id: ScopeId,
    /// Name, unique in the environment; it never changes.
    pub name: String,
    /// Text for people, shown to who is asked to consent.
    pub description: String,
    /// Whether it can be given.
    pub enabled: bool,
}

/// What a scope's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A scope of the environment.
    Scope(Scope),
    /// A permission of the environment, with its description.
    Permission(PermissionId, String),
}

const COLUMNS: &str = "id, name, description, enabled";

impl FromRow for Scope {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.get(0)?, name: row.get(1)?, description: row.get(2)?, enabled: row.get(3)? })
    }
}

/// `^[a-zA-Z0-9:]{1,64}$`, and none of the reserved ones.
fn check_name(name: &str) -> Result<()> {
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':');
    if !plain {
        return Err(Error::invalid("scope.name", "string.pattern", "must be 1 to 64 letters, digits and :"));
    }
    if RESERVED.contains(&name) {
        return Err(Error::invalid("scope.name", "reserved", format!("{name} is reserved")));
    }
    Ok(())
}

/// Scopes of an environment, by name.
pub async fn list(core: &Core, environment: EnvId) -> Result<Vec<Scope>> {
    core.db
        .read(async move |tx| {
            let sql = format!("SELECT {COLUMNS} FROM scopes WHERE environment_id = $1 ORDER BY name LIMIT $2");
            Ok(tx.all(&sql, &p![environment, MOST]).await?)
        })
        .await
}

/// Makes a scope, enabled. A taken or reserved name is INVALID_ARGUMENT.
pub async fn create(core: &Core, environment: EnvId, name: String, description: String) -> Result<Scope> {
    check_name(&name)?;
    let scope = Scope { id: ScopeId::new(&core.ids), name, description, enabled: true };
    let (row, now) = (scope.clone(), core.clock.now());
    let id = scope.id;
    core.db
        .write_checked(
            crate::organizations::share(environment),
            async move |tx| Ok(tx.opt::<(i64,)>("SELECT id FROM scopes WHERE id = $1", &p![id]).await?.is_some()),
            async move |tx| {
                let sql = "SELECT COUNT(*) FROM scopes WHERE environment_id = $1";
                let (count,): (i64,) = tx.one(sql, &p![environment]).await?;
                if count >= MOST {
                    let text = format!("an environment has at most {MOST} scopes");
                    return Err(Error::new(crate::Kind::FailedPrecondition, text));
                }
                tx.execute(
                    "INSERT INTO scopes (id, environment_id, name, description, enabled, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $6)",
                    &p![row.id, environment, &row.name, &row.description, row.enabled, now],
                )
                .await?;
                Ok(row.clone())
            },
        )
        .await
        .map_err(|error: Error| match error.database() {
            Some(cause) if cause.is_unique_on("scopes.name") => Error::duplicate("name"),
            _ => error,
        })
}

/// Changes description and state; `None` keeps.
pub async fn update(
    core: &Core,
    environment: EnvId,
    id: ScopeId,
    description: Option<String>,
    enabled: Option<bool>,
) -> Result<Scope> {
    let now = core.clock.now();
    core.db
        .write_for(crate::organizations::share(environment), async move |tx| {
            let mut scope = load(tx, environment, id).await?;
            if let Some(description) = &description {
                scope.description.clone_from(description);
            }
            scope.enabled = enabled.unwrap_or(scope.enabled);
            let sql = "UPDATE scopes SET description = $3, enabled = $4, updated_at = $5 WHERE environment_id = $1 AND id = $2";
            tx.execute(sql, &p![environment, id, &scope.description, scope.enabled, now]).await?;
            Ok(scope)
        })
        .await
}

/// Deletes a scope, and takes it from the applications and resources that name it, so that nobody gets it any more.
pub async fn delete(core: &Core, environment: EnvId, id: ScopeId) -> Result<()> {
    let bump = core
        .db
        .write_for(crate::organizations::share(environment), async move |tx| {
            let scope = load(tx, environment, id).await?;
            tx.execute("DELETE FROM scopes WHERE environment_id = $1 AND id = $2", &p![environment, id]).await?;
            if permissions::find(tx, environment, &scope.name).await?.is_none() {
                // Applications are the kinds up to 4.
                let sql =
                    "SELECT client_id, scopes FROM clients WHERE environment_id = $1 AND kind <= 4 AND scopes <> '[]'";
                for (client_id, scopes) in tx.all::<(String, String)>(sql, &p![environment]).await? {
                    if let Some(rest) = without(&scopes, &scope.name)? {
                        let sql = "UPDATE clients SET scopes = $2 WHERE client_id = $1";
                        tx.execute(sql, &p![client_id, rest]).await?;
                    }
                }
                let sql = "SELECT id, scopes FROM resources WHERE environment_id = $1 AND scopes <> '[]'";
                for (resource, scopes) in tx.all::<(i64, String)>(sql, &p![environment]).await? {
                    if let Some(rest) = without(&scopes, &scope.name)? {
                        tx.execute("UPDATE resources SET scopes = $2 WHERE id = $1", &p![resource, rest]).await?;
                    }
                }
            }
            cache::bump(tx, cache::CLIENTS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// A JSON list without one of its items; None if it does not have it.
fn without(list: &str, item: &str) -> Result<Option<String>> {
    let mut items: Vec<String> = serde_json::from_str(list).map_err(Error::internal)?;
    let before = items.len();
    items.retain(|other| other != item);
    if items.len() == before { Ok(None) } else { serde_json::to_string(&items).map(Some).map_err(Error::internal) }
}

async fn load(tx: &mut Tx, environment: EnvId, id: ScopeId) -> Result<Scope> {
    let sql = format!("SELECT {COLUMNS} FROM scopes WHERE environment_id = $1 AND id = $2");
    tx.opt(&sql, &p![environment, id]).await?.ok_or_else(not_found)
}

/// What the name stands for in the environment.
pub(crate) async fn meaning(tx: &mut Tx, environment: EnvId, name: &str) -> Result<Option<Meaning>> {
    let sql = format!("SELECT {COLUMNS} FROM scopes WHERE environment_id = $1 AND name = $2");
    if let Some(scope) = tx.opt::<Scope>(&sql, &p![environment, name]).await? {
        return Ok(Some(Meaning::Scope(scope)));
    }
    let permission = permissions::find(tx, environment, name).await?;
    Ok(permission.map(|permission| Meaning::Permission(permission.id, permission.description)))
}

/// Adds a violation for each name that is neither an enabled scope nor a permission of the environment, nor reserved.
pub(crate) async fn check_known(
    tx: &mut Tx,
    environment: EnvId,
    field: &str,
    names: &[String],
    known: &[String],
) -> Result<()> {
    let mut checks = Checks::default();
    for (i, name) in names.iter().enumerate() {
        if RESERVED.contains(&name.as_str()) || known.contains(name) {
            continue;
        }
        match meaning(tx, environment, name).await? {
            Some(Meaning::Scope(Scope { enabled: true, .. }) | Meaning::Permission(..)) => {}
            _ => checks.add(format!("{field}[{i}]"), "scope.unknown", "is no enabled scope of the environment"),
        }
    }
    checks.done()
}

/// The environment that a request names beside its host's: it must be the same.
pub fn same_environment(environment: &Environment, named: &str) -> Result<()> {
    if named.is_empty() || EnvId::parse(named) == Some(environment.id) {
        Ok(())
    } else {
        Err(crate::environments::not_found())
    }
}

/// The answer to an id that is no scope of the environment.
pub fn not_found() -> Error {
    Error::not_found(ScopeId::NOUN)
}
