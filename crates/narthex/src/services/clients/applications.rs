//! RPCs of applications, of the environment's own URIs, and of secrets.

use std::sync::Arc;

use narthex_api::rpc::client_service as rpc;
use narthex_api::scalekit::v1::clients as wire;
use narthex_core::clients::applications::{self, Settings};
use narthex_core::clients::{self, Cidr, Client, ClientKind, Family, SecretStatus, family_of};
use narthex_core::events::Actor;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Core, Error, Result};
use narthex_rpc::Context;

use super::super::organizations::time;
use super::{Present, claims, masked, once, secret, secret_id, total, wire_claims};

const TYPES: [ClientKind; 4] = [ClientKind::Env, ClientKind::WebApp, ClientKind::Spa, ClientKind::Native];

fn kind(name: &str) -> Option<ClientKind> {
    TYPES.into_iter().find(|kind| kind.wire_name() == Some(name))
}

pub(super) async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListClientsRequest,
) -> Result<wire::ListClientsResponse> {
    // `include_plain_secret` cannot be honoured: only hashes are kept (oauth-oidc reference OP-17).
    let mut kinds = Vec::new();
    for (i, name) in request.filter.unwrap_or_default().client_type.iter().enumerate() {
        if name == "ALL" {
            kinds.extend(TYPES);
        } else {
            let text = "must be ENV, WEB_APP, SPA, NTV or ALL";
            let field = || format!("filter.client_type[{i}]");
            kinds.push(kind(name).ok_or_else(|| Error::invalid(field(), "client_type", text))?);
        }
    }
    if kinds.is_empty() {
        kinds.push(ClientKind::Env);
    }
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = applications::list(&core, context.environment.id, kinds, &asked).await?;
    let Page { items, next, prev, total: count } = page;
    Ok(wire::ListClientsResponse {
        total_size: total(count),
        clients: items.into_iter().map(message).collect(),
        next_page_token: next,
        prev_page_token: prev,
    })
}

pub(super) async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateClientRequest,
) -> Result<wire::CreateClientResponse> {
    let given = request.client.unwrap_or_default();
    let Some(kind) = kind(&given.client_type) else {
        return Err(Error::invalid("client.client_type", "client_type", "must be WEB_APP, SPA or NTV"));
    };
    let (opted_in, cidrs) = match given.ip_allowlist {
        Some(list) => (Some(list.opted_in), Some(networks(list.cidrs)?)),
        None => (None, None),
    };
    let settings = Settings {
        name: Some(given.name),
        post_login_uris: Some(given.post_login_uris),
        post_logout_redirect_uris: Some(given.post_logout_redirect_uris),
        back_channel_logout_uris: Some(given.back_channel_logout_uris),
        initiate_login_uri: given.initiate_login_uri,
        access_token_expiry: Some(given.access_token_expiry),
        scopes: Some(given.scopes),
        custom_claims: Some(claims(given.custom_claims)),
        disallow_api_access: given.disallow_scalekit_api_access,
        grant_types: Some(given.grant_types),
        enforce_pkce: given.enforce_pkce,
        ip_allowlist_opted_in: opted_in,
        ip_allowlist_cidrs: cidrs,
    };
    let fingerprint = format!("{kind:?} {}", settings.fingerprint());
    let key = once(&context, rpc::CREATE_CLIENT.method.path, &fingerprint)?;
    let client = applications::create(&core, &context.environment, kind, settings, key).await?;
    Ok(wire::CreateClientResponse { client: Some(message(client)) })
}

fn networks(from: Vec<wire::CidrEntry>) -> Result<Vec<Cidr>> {
    let network = |(i, entry): (usize, wire::CidrEntry)| {
        let field = || format!("client.ip_allowlist.cidrs[{i}]");
        let family = match wire::CidrType::try_from(entry.r#type) {
            Ok(wire::CidrType::Ipv4) => Some(Family::Ipv4),
            Ok(wire::CidrType::Ipv6) => Some(Family::Ipv6),
            // Where nobody says it, the text does.
            Ok(wire::CidrType::Unspecified) => family_of(&entry.value),
            Err(_) => return Err(Error::invalid(field() + ".type", "enum.defined_only", "must be IPV4 or IPV6")),
        };
        let text = "must be a network such as 203.0.113.0/24";
        let family = family.ok_or_else(|| Error::invalid(field() + ".value", "ip_allowlist.cidr", text))?;
        Ok(Cidr { value: entry.value, family })
    };
    from.into_iter().enumerate().map(network).collect()
}

pub(super) async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetClientRequest,
) -> Result<wire::GetClientResponse> {
    let client = applications::get(&core, context.environment.id, &request.client_id).await?;
    Ok(wire::GetClientResponse { client: Some(message(client)) })
}

/// What can be changed of an application.
const FIELDS: [&str; 12] = [
    "name",
    "post_login_uris",
    "post_logout_redirect_uris",
    "back_channel_logout_uris",
    "initiate_login_uri",
    "access_token_expiry",
    "scopes",
    "custom_claims",
    "disallow_scalekit_api_access",
    "grant_types",
    "enforce_pkce",
    "ip_allowlist",
];

pub(super) async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateClientRequest,
) -> Result<wire::UpdateClientResponse> {
    let given = request.client.unwrap_or_default();
    let present = Present { mask: masked("mask", request.mask, "client", &FIELDS)? };
    let list = given.ip_allowlist;
    let (opted_in, cidrs) = match &present.mask {
        Some(paths) => {
            let names = |part: &str| paths.iter().any(|path| path == "ip_allowlist" || path.starts_with(part));
            let list = list.unwrap_or_default();
            let cidrs = if names("ip_allowlist.cidrs") { Some(networks(list.cidrs)?) } else { None };
            (names("ip_allowlist.opted_in").then_some(list.opted_in), cidrs)
        }
        None => match list {
            Some(list) => (Some(list.opted_in), Some(networks(list.cidrs)?)),
            None => (None, None),
        },
    };
    let settings = Settings {
        name: present.text("name", given.name),
        post_login_uris: present.list("post_login_uris", given.post_login_uris),
        post_logout_redirect_uris: present.list("post_logout_redirect_uris", given.post_logout_redirect_uris),
        back_channel_logout_uris: present.list("back_channel_logout_uris", given.back_channel_logout_uris),
        initiate_login_uri: present.optional("initiate_login_uri", given.initiate_login_uri),
        access_token_expiry: present.number("access_token_expiry", given.access_token_expiry),
        scopes: present.list("scopes", given.scopes),
        custom_claims: present.list("custom_claims", claims(given.custom_claims)),
        disallow_api_access: present.optional("disallow_scalekit_api_access", given.disallow_scalekit_api_access),
        grant_types: present.list("grant_types", given.grant_types),
        enforce_pkce: present.optional("enforce_pkce", given.enforce_pkce),
        ip_allowlist_opted_in: opted_in,
        ip_allowlist_cidrs: cidrs,
    };
    let client = applications::update(&core, &context.environment, &request.client_id, settings).await?;
    Ok(wire::UpdateClientResponse { client: Some(message(client)) })
}

pub(super) async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteClientRequest) -> Result<()> {
    applications::delete(&core, context.environment.id, &request.client_id).await
}

pub(super) async fn add_redirect_uri(
    core: Arc<Core>,
    context: Context,
    request: wire::AddEnvironmentRedirectUriRequest,
) -> Result<wire::EnvironmentLoginUrisResponse> {
    applications::add_redirect_uri(&core, &context.environment, request.redirect_uri).await.map(login_uris)
}

pub(super) async fn remove_redirect_uri(
    core: Arc<Core>,
    context: Context,
    request: wire::RemoveEnvironmentRedirectUriRequest,
) -> Result<wire::EnvironmentLoginUrisResponse> {
    applications::remove_redirect_uri(&core, context.environment.id, request.redirect_uri).await.map(login_uris)
}

pub(super) async fn set_initiate_login_uri(
    core: Arc<Core>,
    context: Context,
    request: wire::SetEnvironmentInitiateLoginUriRequest,
) -> Result<wire::EnvironmentLoginUrisResponse> {
    applications::set_initiate_login_uri(&core, &context.environment, request.initiate_login_uri).await.map(login_uris)
}

fn login_uris(client: Client) -> wire::EnvironmentLoginUrisResponse {
    wire::EnvironmentLoginUrisResponse {
        client_id: client.client_id,
        redirect_uris: client.post_login_uris,
        post_logout_redirect_uris: client.post_logout_redirect_uris,
        initiate_login_uri: client.initiate_login_uri,
    }
}

/// These RPCs serve applications and clients of resources alike (an SDK does so); clients of organizations have their own.
async fn with_secrets(core: &Core, context: &Context, client_id: &str) -> Result<Client> {
    let client = clients::read(core, context.environment.id, client_id).await?;
    if client.kind == ClientKind::Organization { Err(clients::not_found()) } else { Ok(client) }
}

pub(super) async fn create_secret(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateClientSecretRequest,
) -> Result<wire::CreateClientSecretResponse> {
    let client = with_secrets(&core, &context, &request.client_id).await?;
    let by = Actor::from(&context.caller);
    let environment = &context.environment;
    let new = clients::add_secret(&core, environment.id, environment.kind, &client.client_id, by.as_str()).await?;
    Ok(wire::CreateClientSecretResponse { plain_secret: new.plain.expose().clone(), secret: Some(secret(new.record)) })
}

pub(super) async fn update_secret(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateClientSecretRequest,
) -> Result<wire::UpdateClientSecretResponse> {
    masked("mask", request.mask, "secret", &["status"])?;
    let id = secret_id(&request.secret_id)?;
    let status = match wire::ClientSecretStatus::try_from(request.secret.unwrap_or_default().status) {
        Ok(wire::ClientSecretStatus::Active) => SecretStatus::Active,
        Ok(wire::ClientSecretStatus::Inactive) => SecretStatus::Inactive,
        Err(_) => return Err(Error::invalid("secret.status", "enum.defined_only", "must be ACTIVE or INACTIVE")),
    };
    let client = with_secrets(&core, &context, &request.client_id).await?;
    clients::set_secret_status(&core, context.environment.id, &client.client_id, id, status).await?;
    let client = clients::read(&core, context.environment.id, &client.client_id).await?;
    let record = client.secrets.into_iter().find(|record| record.id == id);
    Ok(wire::UpdateClientSecretResponse { secret: Some(secret(record.ok_or_else(|| Error::not_found("secret"))?)) })
}

pub(super) async fn delete_secret(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteClientSecretRequest,
) -> Result<()> {
    let id = secret_id(&request.secret_id)?;
    let client = with_secrets(&core, &context, &request.client_id).await?;
    clients::delete_secret(&core, context.environment.id, &client.client_id, id).await
}

/// An application on the wire.
fn message(client: Client) -> wire::Client {
    let entry = |cidr: Cidr| wire::CidrEntry {
        value: cidr.value,
        r#type: match cidr.family {
            Family::Ipv4 => wire::CidrType::Ipv4.into(),
            Family::Ipv6 => wire::CidrType::Ipv6.into(),
        },
    };
    wire::Client {
        client_type: client.kind.wire_name().unwrap_or_default().to_owned(),
        id: client.client_id,
        key_id: client.key_id.to_string(),
        create_time: Some(time(client.created_at)),
        update_time: Some(time(client.updated_at)),
        secrets: client.secrets.into_iter().map(secret).collect(),
        post_logout_redirect_uris: client.post_logout_redirect_uris,
        back_channel_logout_uris: client.back_channel_logout_uris,
        initiate_login_uri: client.initiate_login_uri,
        post_login_uris: client.post_login_uris,
        name: client.name,
        access_token_expiry: client.access_token_expiry.map(i64::from),
        scopes: client.scopes,
        custom_claims: wire_claims(client.custom_claims),
        disallow_scalekit_api_access: client.disallow_api_access,
        grant_types: client.grant_types,
        enforce_pkce: client.enforce_pkce,
        ip_allowlist: client.ip_allowlist.map(|list| wire::IpAllowlist {
            opted_in: list.opted_in,
            cidrs: list.cidrs.into_iter().map(entry).collect(),
        }),
    }
}
