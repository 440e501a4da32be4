//! `narthex admin client …`.

use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::environments::Environment;
use narthex_core::ids::{ClientSecretId, OrganizationId};
use narthex_core::{Core, Error, Kind};
use serde_json::json;

use super::Answer;
use crate::seeding;

/// Who made a secret, in its record.
const BY: &str = "narthex admin";

pub(super) async fn create(
    core: &Core,
    environment: &Environment,
    kind: &str,
    name: String,
    organization: Option<&str>,
    scopes: Vec<String>,
) -> Result<Answer, Error> {
    let kind = match kind {
        "env" => ClientKind::Env,
        "web" => ClientKind::WebApp,
        "spa" => ClientKind::Spa,
        "native" => ClientKind::Native,
        "organization" => ClientKind::Organization,
        _ => return Err(Error::new(Kind::InvalidArgument, "the kind must be env, web, spa, native or organization")),
    };
    let organization = match (organization, kind) {
        (Some(text), ClientKind::Organization) => {
            Some(OrganizationId::parse(text).ok_or_else(|| Error::not_found("organization"))?)
        }
        (None, ClientKind::Organization) => {
            return Err(Error::new(Kind::InvalidArgument, "an organization client needs --organization"));
        }
        (Some(_), _) => return Err(Error::new(Kind::InvalidArgument, "only organization clients take --organization")),
        (None, _) => None,
    };
    let new = NewClient { organization, scopes, ..NewClient::new(kind, name) };
    let client = clients::create(core, environment.id, environment.kind, new).await?;
    if kind.secret_limit() == 0 {
        return Ok(Answer::new(
            format!("client_id     {}\n", client.client_id),
            json!({"client_id": client.client_id}),
        ));
    }
    rotate_secret(core, environment, &client.client_id).await
}

pub(super) async fn enable(
    core: &Core,
    environment: &Environment,
    client_id: &str,
    enabled: bool,
) -> Result<Answer, Error> {
    clients::set_enabled(core, environment.id, client_id, enabled).await?;
    let state = if enabled { "enabled" } else { "disabled; its tokens are refused from now on" };
    Ok(Answer::new(format!("{client_id} is {state}\n"), json!({"client_id": client_id, "enabled": enabled})))
}

pub(super) async fn rotate_secret(core: &Core, environment: &Environment, client_id: &str) -> Result<Answer, Error> {
    let made = seeding::renew_secret(core, environment, client_id, BY).await?;
    let text = format!("client_id     {client_id}\nclient_secret {}\n", made.secret);
    Ok(Answer::new(text, json!({"client_id": client_id, "client_secret": made.secret})))
}

pub(super) async fn revoke_secret(
    core: &Core,
    environment: &Environment,
    client_id: &str,
    secret: &str,
) -> Result<Answer, Error> {
    let id = ClientSecretId::parse(secret).ok_or_else(|| Error::not_found("secret"))?;
    clients::delete_secret(core, environment.id, client_id, id).await?;
    Ok(Answer::new(format!("{secret} is deleted\n"), json!({"secret_id": secret})))
}
