//! ConnectionService: connections of environments that need nobody else. Those of organizations, social ones and connectors are not built.

mod messages;

use std::sync::Arc;

use narthex_api::rpc::connection_service as rpc;
use narthex_api::scalekit::v1::connections as wire;
use narthex_core::connections::{self, Change, ConnectionType, not_found};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{ConnectionId, OrganizationId};
use narthex_core::organizations::{self, Identity};
use narthex_core::{Caller, Core, Error, Kind, Result};
use narthex_rpc::{Context, Rpcs};
use wire::{ConnectionProvider, ConnectionType as WireType};

use super::organizations::{reachable_id, with};
use messages::{SCALEKIT, WEBAUTHN, listed, message};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_ENVIRONMENT_CONNECTION, with(core, create))
        .add(rpc::GET_ENVIRONMENT_CONNECTION, with(core, get))
        .add(rpc::LIST_CONNECTIONS, with(core, list))
        .add(rpc::UPDATE_ENVIRONMENT_CONNECTION, with(core, update))
        .add(rpc::DELETE_ENVIRONMENT_CONNECTION, with(core, delete))
        .add(rpc::ENABLE_ENVIRONMENT_CONNECTION, with(core, enable))
        .add(rpc::DISABLE_ENVIRONMENT_CONNECTION, with(core, disable));
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateEnvironmentConnectionRequest,
) -> Result<wire::CreateConnectionResponse> {
    let given = request.connection.unwrap_or_default();
    let kind = kind_of(given.r#type)?;
    own_provider(given.provider, &given.provider_key)?;
    if request.flags.is_some_and(|flags| flags.is_app) {
        return Err(Error::invalid("flags.is_app", "flags.type", "a connection of this type is for signing in"));
    }
    if given.context.is_some_and(|context| !context.fields.is_empty()) {
        return Err(Error::new(Kind::Unimplemented, "contexts of connections are not built yet"));
    }
    let environment = &context.environment;
    let key = match &context.idempotency_key {
        Some(name) => {
            let by = Actor::from(&context.caller);
            let said = given.r#type.to_string();
            Some(IdempotencyKey::new(
                environment.id,
                &by,
                name,
                &[rpc::CREATE_ENVIRONMENT_CONNECTION.method.path, &said],
            )?)
        }
        None => None,
    };
    let made = connections::create(&core, environment.id, kind, key).await?;
    Ok(wire::CreateConnectionResponse { connection: Some(message(made, environment)) })
}

async fn get(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEnvironmentConnectionRequest,
) -> Result<wire::GetConnectionResponse> {
    // The page of a connected account is for that account's connector, and none is built.
    if matches!(context.caller, Caller::ConnectedAccount { .. }) {
        return Err(not_found());
    }
    let found = connections::get(&core, context.environment.id, connection_id(&request.connection_id)?).await?;
    Ok(wire::GetConnectionResponse { connection: Some(message(found, &context.environment)) })
}

/// Connections of an environment belong to no organization and have no domain, so that whoever asks for either gets none of them.
async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListConnectionsRequest,
) -> Result<wire::ListConnectionsResponse> {
    let organization = match (&request.organization_id, own_organization(&context.caller)) {
        (Some(id), _) => Some(reachable_id(&context, id)?),
        (None, own) => own?,
    };
    if let Some(id) = organization {
        organizations::get(&core, context.environment.id, &Identity::Id(id)).await?;
    }
    if organization.is_some() || request.domain.is_some() {
        return Ok(wire::ListConnectionsResponse::default());
    }
    let everything = request.include.as_deref() == Some("all");
    let all = connections::list(&core, context.environment.id).await?;
    let shown = all.into_iter().filter(|connection| everything || connection.enabled);
    Ok(wire::ListConnectionsResponse { connections: shown.map(listed).collect() })
}

/// The organization that a caller sees nothing beyond.
fn own_organization(caller: &Caller) -> Result<Option<OrganizationId>> {
    match caller {
        Caller::Client { .. } | Caller::Member { .. } => Ok(None),
        Caller::Portal { organization, .. } => Ok(Some(*organization)),
        Caller::User { organization, .. } | Caller::Session { organization, .. } => {
            organization.map(Some).ok_or_else(organizations::not_found)
        }
        _ => Err(organizations::not_found()),
    }
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateEnvironmentConnectionRequest,
) -> Result<wire::UpdateConnectionResponse> {
    let id = connection_id(&request.connection_id)?;
    let given = request.connection.unwrap_or_default();
    let kind = if given.r#type == WireType::Invalid as i32 { None } else { Some(kind_of(given.r#type)?) };
    own_provider(given.provider, &given.provider_key)?;
    if given.key_id.as_deref().is_some_and(|key| key != WEBAUTHN) {
        return Err(Error::invalid("connection.key_id", "immutable", "cannot be changed"));
    }
    let environment = &context.environment;
    let configuration_type = match wire::ConfigurationType::try_from(given.configuration_type) {
        Ok(wire::ConfigurationType::Unspecified) => None,
        Ok(known) => Some(known as i32),
        Err(_) => {
            let field = "connection.configuration_type";
            return Err(Error::invalid(field, "enum.defined_only", "is not a type of configuration"));
        }
    };
    let mut change = Change {
        debug_enabled: given.debug_enabled,
        ui_button_title: given.ui_button_title,
        configuration_type,
        attribute_mapping: Some(given.attribute_mapping)
            .filter(|mapping| !mapping.is_empty())
            .map(|mapping| mapping.into_iter().collect()),
        ..Change::default()
    };
    match given.settings {
        Some(wire::update_connection::Settings::PasswordlessConfig(config)) => {
            change.passwordless = Some(messages::passwordless_change(&config)?);
        }
        Some(wire::update_connection::Settings::WebauthnConfig(config)) => {
            change.webauthn = Some(messages::webauthn_change(config, &core, environment).await?);
        }
        // Only the settings that fit the connection's type are read.
        _ => {}
    }
    let changed = connections::update(&core, environment.id, id, kind, change).await?;
    Ok(wire::UpdateConnectionResponse { connection: Some(message(changed, environment)) })
}

async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteEnvironmentConnectionRequest) -> Result<()> {
    connections::delete(&core, context.environment.id, connection_id(&request.connection_id)?).await
}

async fn enable(
    core: Arc<Core>,
    context: Context,
    request: wire::ToggleEnvironmentConnectionRequest,
) -> Result<wire::ToggleConnectionResponse> {
    toggle(&core, &context, &request, true).await
}

async fn disable(
    core: Arc<Core>,
    context: Context,
    request: wire::ToggleEnvironmentConnectionRequest,
) -> Result<wire::ToggleConnectionResponse> {
    toggle(&core, &context, &request, false).await
}

async fn toggle(
    core: &Core,
    context: &Context,
    request: &wire::ToggleEnvironmentConnectionRequest,
    on: bool,
) -> Result<wire::ToggleConnectionResponse> {
    let id = connection_id(&request.connection_id)?;
    let connection = connections::set_enabled(core, context.environment.id, id, on).await?;
    Ok(wire::ToggleConnectionResponse { enabled: connection.enabled, error_message: None })
}

fn connection_id(text: &str) -> Result<ConnectionId> {
    ConnectionId::parse(text).ok_or_else(not_found)
}

/// The type of a connection of an environment, if it is built.
fn kind_of(number: i32) -> Result<ConnectionType> {
    let refused = |text: &'static str| Err(Error::invalid("connection.type", "connection.type", text));
    match WireType::try_from(number) {
        Ok(WireType::Passwordless) => Ok(ConnectionType::Passwordless),
        Ok(WireType::Webauthn) => Ok(ConnectionType::Webauthn),
        Ok(WireType::Oidc | WireType::Saml) => refused("belongs to an organization, not to the environment"),
        Ok(WireType::Password) => refused("passwords are not offered"),
        Ok(WireType::Invalid) | Err(_) => refused("is not a type of connection"),
        Ok(WireType::Oauth) => Err(Error::new(Kind::Unimplemented, "social connections are not built yet")),
        Ok(_) => Err(Error::new(Kind::Unimplemented, "connections of connectors are not built yet")),
    }
}

/// Codes, links and passkeys are the product's own. The contract has seen that either field is there.
fn own_provider(provider: i32, provider_key: &str) -> Result<()> {
    let is_own = match ConnectionProvider::try_from(provider) {
        Ok(ConnectionProvider::Scalekit) => true,
        Ok(ConnectionProvider::Unspecified) => provider_key == SCALEKIT,
        _ => false,
    };
    if is_own {
        Ok(())
    } else {
        Err(Error::invalid(
            "connection.provider",
            "connection.provider",
            "must be SCALEKIT for this type of connection",
        ))
    }
}
