//! SessionService: users' sessions, seen and ended by the application, and by the users themselves.

use std::sync::Arc;

use narthex_api::rpc::session_service as rpc;
use narthex_api::scalekit::v1::sessions as wire;
use narthex_core::events::Actor;
use narthex_core::ids::{SessionId, UserId};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::sessions::{self, Details, Device, Filter, Status};
use narthex_core::{Caller, Core, Error, Result, Timestamp, users};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{time, with};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::GET_SESSION, with(core, get))
        .add(rpc::GET_USER_SESSIONS, with(core, list))
        .add(rpc::REVOKE_SESSION, with(core, revoke))
        .add(rpc::REVOKE_ALL_USER_SESSIONS, with(core, revoke_all));
}

async fn get(core: Arc<Core>, context: Context, request: wire::SessionDetailsRequest) -> Result<wire::SessionDetails> {
    let id = session_id(&request.session_id)?;
    let session = sessions::of_browser(&core, context.environment.id, id, own(&context.caller)).await?;
    Ok(message(session))
}

async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::UserSessionDetailsRequest,
) -> Result<wire::UserSessionDetails> {
    let user = user_id(&context, &request.user_id)?;
    let given = request.filter.unwrap_or_default();
    let mut statuses = Vec::new();
    for (i, name) in given.status.iter().enumerate() {
        statuses.push(Status::named(name).ok_or_else(|| {
            Error::invalid(format!("filter.status[{i}]"), "string.in", "must be active, expired, revoked or logout")
        })?);
    }
    let filter =
        Filter { statuses, from: given.start_time.as_ref().map(moment), to: given.end_time.as_ref().map(moment) };
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let page = sessions::list(&core, context.environment.id, user, filter, &asked).await?;
    let Page { items, next, prev, total } = page;
    Ok(wire::UserSessionDetails {
        sessions: items.into_iter().map(message).collect(),
        next_page_token: next,
        prev_page_token: prev,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
    })
}

async fn revoke(
    core: Arc<Core>,
    context: Context,
    request: wire::RevokeSessionRequest,
) -> Result<wire::RevokeSessionResponse> {
    let id = session_id(&request.session_id)?;
    let by = Actor::from(&context.caller);
    let session = sessions::end(&core, context.environment.id, &by, id, own(&context.caller)).await?;
    Ok(wire::RevokeSessionResponse { revoked_session: Some(revoked(&session)) })
}

async fn revoke_all(
    core: Arc<Core>,
    context: Context,
    request: wire::RevokeAllUserSessionsRequest,
) -> Result<wire::RevokeAllUserSessionsResponse> {
    let user = user_id(&context, &request.user_id)?;
    let by = Actor::from(&context.caller);
    let ended = sessions::end_all(&core, context.environment.id, &by, user).await?;
    Ok(wire::RevokeAllUserSessionsResponse {
        total_revoked: u32::try_from(ended.len()).unwrap_or(u32::MAX),
        revoked_sessions: ended.iter().map(revoked).collect(),
    })
}

/// The user that a caller acts as, if it may touch nothing of others.
fn own(caller: &Caller) -> Option<UserId> {
    match caller {
        Caller::User { user, .. } | Caller::Session { user, .. } => Some(*user),
        _ => None,
    }
}

fn session_id(text: &str) -> Result<SessionId> {
    SessionId::parse(text).ok_or_else(|| Error::not_found(SessionId::NOUN))
}

/// The user that a request names. Users may name themselves only (control plane reference §2.4).
fn user_id(context: &Context, text: &str) -> Result<UserId> {
    let id = UserId::parse(text);
    if let Some(own) = own(&context.caller)
        && id != Some(own)
    {
        return Err(Error::permission_denied(&[]));
    }
    id.ok_or_else(users::not_found)
}

/// A time of the wire; what is finer than microseconds is cut off. The edge has checked its range.
pub(super) fn moment(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp(time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos / 1_000)))
}

/// A session on the wire.
fn message(session: Details) -> wire::SessionDetails {
    let clients = session.clients.into_iter().map(|client| wire::AuthenticatedClients {
        client_id: client.client_id,
        organization_id: client.organization_id,
    });
    wire::SessionDetails {
        session_id: session.id.to_string(),
        user_id: session.user.to_string(),
        authenticated_organizations: session.organizations.iter().map(ToString::to_string).collect(),
        organization_id: session.organization.map(|id| id.to_string()).unwrap_or_default(),
        created_at: Some(time(session.created_at)),
        updated_at: Some(time(session.updated_at)),
        idle_expires_at: session.idle_expires_at.map(time),
        absolute_expires_at: Some(time(session.absolute_expires_at)),
        expired_at: session.expired_at.map(time),
        logout_at: session.logout_at.map(time),
        status: session.status.name().to_owned(),
        device: Some(device(session.device)),
        last_active_at: Some(time(session.last_active_at)),
        authenticated_clients: clients.collect(),
    }
}

fn device(device: Device) -> wire::DeviceDetails {
    let place = device.location;
    wire::DeviceDetails {
        user_agent: device.user_agent,
        os: device.os,
        os_version: device.os_version,
        browser: device.browser,
        browser_version: device.browser_version,
        device_type: device.device_type,
        ip: device.ip,
        location: Some(wire::Location {
            region: place.region,
            region_subdivision: place.region_subdivision,
            city: place.city,
            latitude: place.latitude,
            longitude: place.longitude,
        }),
    }
}

fn revoked(session: &Details) -> wire::RevokedSessionDetails {
    wire::RevokedSessionDetails {
        session_id: session.id.to_string(),
        user_id: session.user.to_string(),
        created_at: Some(time(session.created_at)),
        updated_at: Some(time(session.updated_at)),
        idle_expires_at: session.idle_expires_at.map(time),
        absolute_expires_at: Some(time(session.absolute_expires_at)),
        expired_at: session.expired_at.map(time),
        logout_at: session.logout_at.map(time),
        status: session.status.name().to_owned(),
        last_active_at: Some(time(session.last_active_at)),
    }
}
