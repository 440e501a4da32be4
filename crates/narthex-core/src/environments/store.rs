//! Rows of environments.

use std::collections::BTreeMap;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{
    AuthenticationMode, CustomDomainStatus, Environment, EnvironmentKind, NewEnvironment, SessionSettings, Span,
    TimeUnit, domain_of, normalise_host,
};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, WorkspaceId};
use crate::listing::Rows;
use crate::pages::{Page, Position, Scope};

const COLUMNS: &str = "id, workspace_id, kind, is_system, display_name, domain, origin, custom_domain, custom_domain_status, \
     authentication_mode, access_token_expiry, access_token_expiry_unit, client_access_token_expiry, absolute_session_timeout, \
     absolute_session_timeout_unit, idle_session_enabled, idle_session_timeout, idle_session_timeout_unit, \
     session_management_enabled, cookie_persistence, cookie_same_site, features, created_at, updated_at, cookie_custom_domain";

impl FromRow for Environment {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let span = |value: usize, unit: usize| -> Result<Span, DbError> {
            Ok(Span {
                minutes: row.get(value)?,
                unit: TimeUnit::from_number(row.get(unit)?).ok_or_else(|| unknown("unit"))?,
            })
        };
        Ok(Self {
            id: row.get(0)?,
            workspace_id: row.get(1)?,
            kind: match row.get::<i32>(2)? {
                1 => EnvironmentKind::Prd,
                2 => EnvironmentKind::Dev,
                _ => return Err(unknown("kind")),
            },
            is_system: row.get(3)?,
            display_name: row.get(4)?,
            domain: row.get(5)?,
            origin: row.get(6)?,
            custom_domain: row.get(7)?,
            custom_domain_status: match row.get::<i32>(8)? {
                0 => CustomDomainStatus::Unspecified,
                1 => CustomDomainStatus::Pending,
                2 => CustomDomainStatus::Active,
                3 => CustomDomainStatus::Failed,
                4 => CustomDomainStatus::Initial,
                _ => return Err(unknown("custom_domain_status")),
            },
            authentication_mode: match row.get::<i32>(9)? {
                1 => AuthenticationMode::Modular,
                2 => AuthenticationMode::FullStack,
                _ => return Err(unknown("authentication_mode")),
            },
            session: SessionSettings {
                access_token_expiry: span(10, 11)?,
                client_access_token_expiry: Span::of_minutes(row.get(12)?),
                absolute_timeout: span(13, 14)?,
                idle_enabled: row.get(15)?,
                idle_timeout: span(16, 17)?,
                management_enabled: row.get(18)?,
                cookie_persistence: row.get(19)?,
                cookie_same_site: row.get(20)?,
                cookie_custom_domain: row.get(24)?,
            },
            features: features(&row.get::<String>(21)?)?,
            created_at: row.get(22)?,
            updated_at: row.get(23)?,
        })
    }
}

fn unknown(column: &str) -> DbError {
    DbError::Data(format!("environments.{column} has an unknown value"))
}

fn features(json: &str) -> Result<BTreeMap<String, bool>, DbError> {
    serde_json::from_str(json).map_err(|error| DbError::Data(format!("environments.features: {error}")))
}

pub(super) async fn load(tx: &mut Tx, id: EnvId) -> Result<Option<Environment>> {
    let sql = format!("SELECT {COLUMNS} FROM environments WHERE id = $1");
    Ok(tx.opt(&sql, &p![id]).await?)
}

pub(super) async fn list(tx: &mut Tx, workspace: WorkspaceId) -> Result<Vec<Environment>> {
    let sql = format!("SELECT {COLUMNS} FROM environments WHERE workspace_id = $1 ORDER BY created_at, id");
    Ok(tx.all(&sql, &p![workspace]).await?)
}

/// One page of the environments of a workspace that are not the product's own.
pub(super) async fn page(
    tx: &mut Tx,
    workspace: WorkspaceId,
    scope: &Scope,
    position: Position,
    size: usize,
) -> Result<Page<Environment>> {
    let rows = Rows {
        columns: COLUMNS,
        from: "environments WHERE workspace_id = $1 AND is_system = 0",
        key: "id",
        values: p![workspace].to_vec(),
    };
    rows.page(tx, scope, position, size, |environment: &Environment| environment.id.0).await
}

/// Features that a new environment has (control plane reference §4.3).
const FEATURES: [&str; 4] = ["sso", "dir_sync", "domain_verification", "session_policy"];

/// Inserts an environment with default settings and its host. Its keys, clients and roles are the business of `seed`.
pub(crate) async fn insert(tx: &mut Tx, new: &NewEnvironment, now: Timestamp) -> Result<()> {
    let domain = domain_of(&new.origin)?;
    let session = SessionSettings::default();
    let features: BTreeMap<&str, bool> = FEATURES.iter().map(|&name| (name, true)).collect();
    let features = serde_json::to_string(&features).map_err(Error::internal)?;
    tx.execute(
        &format!(
            "INSERT INTO environments ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, 0, 2, $8, 1, $9, $10, 1, $11, $12, 1, \
             $13, $14, $15, $16, $17, $17, NULL)"
        ),
        &p![
            new.id,
            new.workspace_id,
            new.kind as i32,
            new.is_system,
            &new.display_name,
            &domain,
            &new.origin,
            session.access_token_expiry.minutes,
            session.client_access_token_expiry.minutes,
            session.absolute_timeout.minutes,
            session.idle_enabled,
            session.idle_timeout.minutes,
            session.management_enabled,
            session.cookie_persistence,
            session.cookie_same_site,
            &features,
            now,
        ],
    )
    .await?;
    insert_host(tx, &normalise_host(&domain), new.id, false).await
}

/// Writes what the settings RPCs may change.
pub(super) async fn update(tx: &mut Tx, environment: &Environment) -> Result<()> {
    let Environment { session, .. } = environment;
    let features = serde_json::to_string(&environment.features).map_err(Error::internal)?;
    tx.execute(
        "UPDATE environments SET authentication_mode = $2, access_token_expiry = $3, access_token_expiry_unit = $4, \
         client_access_token_expiry = $5, absolute_session_timeout = $6, absolute_session_timeout_unit = $7, \
         idle_session_enabled = $8, idle_session_timeout = $9, idle_session_timeout_unit = $10, \
         session_management_enabled = $11, cookie_persistence = $12, cookie_same_site = $13, cookie_custom_domain = $14, \
         features = $15, updated_at = $16 WHERE id = $1",
        &p![
            environment.id,
            environment.authentication_mode as i32,
            session.access_token_expiry.minutes,
            session.access_token_expiry.unit as i32,
            session.client_access_token_expiry.minutes,
            session.absolute_timeout.minutes,
            session.absolute_timeout.unit as i32,
            session.idle_enabled,
            session.idle_timeout.minutes,
            session.idle_timeout.unit as i32,
            session.management_enabled,
            session.cookie_persistence,
            session.cookie_same_site,
            &session.cookie_custom_domain,
            &features,
            environment.updated_at,
        ],
    )
    .await?;
    Ok(())
}

/// Every host that reaches some other environment.
pub(super) async fn foreign_hosts(tx: &mut Tx, environment: EnvId) -> Result<Vec<String>> {
    let sql = "SELECT host FROM environment_hosts WHERE environment_id <> $1";
    Ok(tx.all::<(String,)>(sql, &p![environment]).await?.into_iter().map(|(host,)| host).collect())
}

/// Gives a host to an environment; INVALID_ARGUMENT if another has it.
pub(super) async fn insert_host(tx: &mut Tx, host: &str, environment: EnvId, is_custom: bool) -> Result<()> {
    let sql = "SELECT environment_id FROM environment_hosts WHERE host = $1";
    if tx.opt::<(EnvId,)>(sql, &p![host]).await?.is_some() {
        return Err(Error::duplicate("domain"));
    }
    let sql = "INSERT INTO environment_hosts (host, environment_id, is_custom, active) VALUES ($1, $2, $3, 1)";
    tx.execute(sql, &p![host, environment, is_custom]).await?;
    Ok(())
}
