//! ClientService: applications, machine clients of organizations, resources (MCP servers) and their clients, scopes and consents.
//!
//! `GetConsentDetails` is not here: it describes a consent that is being asked for, and nothing asks before there is sign-in.

mod applications;
mod consents;
mod machines;
mod resource_clients;
mod resources;
mod scopes;

use std::sync::Arc;

use narthex_api::rpc::client_service as rpc;
use narthex_api::scalekit::v1::clients as wire;
use narthex_core::clients::{self, Client, ClientOrigin, SecretStatus, StoredSecret};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::ClientSecretId;
use narthex_core::{Core, Error, Result};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{time, with};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::LIST_CLIENT, with(core, applications::list))
        .add(rpc::CREATE_CLIENT, with(core, applications::create))
        .add(rpc::GET_CLIENT, with(core, applications::get))
        .add(rpc::UPDATE_CLIENT, with(core, applications::update))
        .add(rpc::DELETE_CLIENT, with(core, applications::delete))
        .add(rpc::ADD_ENVIRONMENT_REDIRECT_URI, with(core, applications::add_redirect_uri))
        .add(rpc::REMOVE_ENVIRONMENT_REDIRECT_URI, with(core, applications::remove_redirect_uri))
        .add(rpc::SET_ENVIRONMENT_INITIATE_LOGIN_URI, with(core, applications::set_initiate_login_uri))
        .add(rpc::CREATE_CLIENT_SECRET, with(core, applications::create_secret))
        .add(rpc::UPDATE_CLIENT_SECRET, with(core, applications::update_secret))
        .add(rpc::DELETE_CLIENT_SECRET, with(core, applications::delete_secret))
        .add(rpc::CREATE_ORGANIZATION_CLIENT, with(core, machines::create))
        .add(rpc::GET_ORGANIZATION_CLIENT, with(core, machines::get))
        .add(rpc::UPDATE_ORGANIZATION_CLIENT, with(core, machines::update))
        .add(rpc::DELETE_ORGANIZATION_CLIENT, with(core, machines::delete))
        .add(rpc::LIST_ORGANIZATION_CLIENTS, with(core, machines::list))
        .add(rpc::CREATE_ORGANIZATION_CLIENT_SECRET, with(core, machines::create_secret))
        .add(rpc::DELETE_ORGANIZATION_CLIENT_SECRET, with(core, machines::delete_secret))
        .add(rpc::CREATE_RESOURCE, with(core, resources::create))
        .add(rpc::GET_RESOURCE, with(core, resources::get))
        .add(rpc::LIST_RESOURCES, with(core, resources::list))
        .add(rpc::UPDATE_RESOURCE, with(core, resources::update))
        .add(rpc::DELETE_RESOURCE, with(core, resources::delete))
        .add(rpc::DELETE_RESOURCE_PROVIDER, with(core, resources::remove_provider))
        .add(rpc::ENSURE_RESOURCE_CONNECTION, with(core, resources::ensure_connection))
        .add(rpc::CREATE_RESOURCE_CLIENT, with(core, resource_clients::create))
        .add(rpc::GET_RESOURCE_CLIENT, with(core, resource_clients::get))
        .add(rpc::LIST_RESOURCE_CLIENTS, with(core, resource_clients::list))
        .add(rpc::UPDATE_RESOURCE_CLIENT, with(core, resource_clients::update))
        .add(rpc::DELETE_RESOURCE_CLIENT, with(core, resource_clients::delete))
        .add(rpc::REGISTER_CLIENT, with(core, resource_clients::register))
        .add(rpc::GET_CONSENT_DETAILS, with(core, consents::details))
        .add(rpc::LIST_RESOURCE_USER_CONSENTS, with(core, consents::of_resource))
        .add(rpc::REVOKE_USER_CONSENT, with(core, consents::revoke))
        .add(rpc::LIST_CURRENT_AGENT_CONSENTS, with(core, consents::own))
        .add(rpc::REVOKE_CURRENT_AGENT_CONSENT, with(core, consents::revoke_own))
        .add(rpc::CREATE_SCOPE, with(core, scopes::create))
        .add(rpc::LIST_SCOPES, with(core, scopes::list))
        .add(rpc::UPDATE_SCOPE, with(core, scopes::update))
        .add(rpc::DELETE_SCOPE, with(core, scopes::delete));
}

/// The caller's key for a create: `request` is a rendering that is equal for equal requests.
fn once(context: &Context, path: &str, request: &str) -> Result<Option<IdempotencyKey>> {
    let by = Actor::from(&context.caller);
    match &context.idempotency_key {
        Some(name) => IdempotencyKey::new(context.environment.id, &by, name, &[path, request]).map(Some),
        None => Ok(None),
    }
}

/// Fields that a mask names below `prefix`, e.g. `client`, by their first segments and in full; None without a mask. Unknown ones are
/// refused.
fn masked(
    field: &str,
    mask: Option<prost_types::FieldMask>,
    prefix: &str,
    known: &[&str],
) -> Result<Option<Vec<String>>> {
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else { return Ok(None) };
    let mut paths = Vec::with_capacity(mask.paths.len());
    for path in mask.paths {
        let own = path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&path);
        if !known.contains(&own.split('.').next().unwrap_or_default()) {
            let text = format!("{path} is not a field that can be changed here");
            return Err(Error::invalid(field, "field_mask.unknown", text));
        }
        paths.push(own.to_owned());
    }
    Ok(Some(paths))
}

/// Which fields of a request count: with a mask exactly those it names, without one those that are not empty.
struct Present {
    mask: Option<Vec<String>>,
}

impl Present {
    /// Whether the mask names the field or something in it.
    fn named(&self, field: &str) -> bool {
        let within =
            |path: &String| path == field || path.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'));
        self.mask.as_ref().is_some_and(|paths| paths.iter().any(within))
    }

    fn text(&self, field: &str, value: String) -> Option<String> {
        self.take(field, value.is_empty(), value)
    }

    fn list<T>(&self, field: &str, value: Vec<T>) -> Option<Vec<T>> {
        self.take(field, value.is_empty(), value)
    }

    fn number(&self, field: &str, value: i64) -> Option<i64> {
        self.take(field, value == 0, value)
    }

    /// A field with presence of its own: a mask that names it where it is absent clears it.
    fn optional<T: Default>(&self, field: &str, value: Option<T>) -> Option<T> {
        match &self.mask {
            Some(_) => self.named(field).then(|| value.unwrap_or_default()),
            None => value,
        }
    }

    fn take<T>(&self, field: &str, is_empty: bool, value: T) -> Option<T> {
        let counts = if self.mask.is_some() { self.named(field) } else { !is_empty };
        counts.then_some(value)
    }
}

fn claims(from: Vec<wire::CustomClaim>) -> Vec<clients::CustomClaim> {
    from.into_iter().map(|claim| clients::CustomClaim { key: claim.key, value: claim.value }).collect()
}

fn wire_claims(from: Vec<clients::CustomClaim>) -> Vec<wire::CustomClaim> {
    from.into_iter().map(|claim| wire::CustomClaim { key: claim.key, value: claim.value }).collect()
}

fn secret_id(text: &str) -> Result<ClientSecretId> {
    ClientSecretId::parse(text).ok_or_else(|| Error::not_found(ClientSecretId::NOUN))
}

/// A secret's record on the wire; never the secret.
fn secret(record: StoredSecret) -> wire::ClientSecret {
    wire::ClientSecret {
        id: record.id.to_string(),
        create_time: Some(time(record.created_at)),
        update_time: Some(time(record.updated_at)),
        secret_suffix: record.suffix,
        created_by: (!record.created_by.is_empty()).then_some(record.created_by),
        status: match record.status {
            SecretStatus::Active => wire::ClientSecretStatus::Active.into(),
            SecretStatus::Inactive => wire::ClientSecretStatus::Inactive.into(),
        },
        expire_time: record.expires_at.map(time),
        last_used_time: record.last_used_at.map(time),
        plain_secret: None,
    }
}

/// A client of an organization or a resource on the wire.
fn machine(client: Client) -> wire::M2mClient {
    wire::M2mClient {
        client_id: client.client_id,
        secrets: client.secrets.into_iter().map(secret).collect(),
        name: client.name,
        description: client.description,
        organization_id: client.organization.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(time(client.created_at)),
        update_time: Some(time(client.updated_at)),
        scopes: client.scopes,
        audience: client.audience,
        custom_claims: wire_claims(client.custom_claims),
        expiry: client.access_token_expiry.map(i64::from).unwrap_or_default(),
        resource_id: client.resource.map(|id| id.to_string()).unwrap_or_default(),
        redirect_uris: client.post_login_uris,
        is_dcr: client.origin == ClientOrigin::Registered,
        is_cimd: client.origin == ClientOrigin::MetadataDocument,
        metadata_uri: client.metadata_uri,
    }
}

/// A total as the contract counts it.
fn total(total: u64) -> u32 {
    u32::try_from(total).unwrap_or(u32::MAX)
}
