//! WebAuthnService: passkeys, made and used by browsers, managed by their owners and by the application.

use std::sync::Arc;

use narthex_api::rpc::web_authn_service as rpc;
use narthex_api::scalekit::v1::auth::webauthn as wire;
use narthex_core::ids::{CredentialId, SessionId, UserId};
use narthex_core::passkeys::{self, Assertion, NewPasskey, Passkey};
use narthex_core::sessions::Device;
use narthex_core::{Caller, Core, Error, Result, users};
use narthex_rpc::{Context, Rpcs};
use serde_json::Value;

use super::organizations::{time, with};
use super::structs;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::BEGIN_REGISTRATION, with(core, begin_registration))
        .add(rpc::FINISH_REGISTRATION, with(core, finish_registration))
        .add(rpc::BEGIN_AUTHENTICATION, with(core, begin_authentication))
        .add(rpc::FINISH_AUTHENTICATION, with(core, finish_authentication))
        .add(rpc::LIST_CREDENTIALS, with(core, list))
        .add(rpc::DELETE_CREDENTIAL, with(core, delete))
        .add(rpc::UPDATE_CREDENTIAL, with(core, update))
        .add(rpc::GET_RELATED_ORIGINS, with(core, related_origins));
}

async fn begin_registration(
    core: Arc<Core>,
    context: Context,
    _: wire::BeginRegistrationRequest,
) -> Result<wire::BeginRegistrationResponse> {
    let (user, session) = in_person(&context.caller)?;
    let options = passkeys::begin_registration(&core, &context.environment, user, session).await?;
    Ok(wire::BeginRegistrationResponse { options: object(options) })
}

async fn finish_registration(
    core: Arc<Core>,
    context: Context,
    request: wire::FinishRegistrationRequest,
) -> Result<wire::FinishRegistrationResponse> {
    let (user, session) = in_person(&context.caller)?;
    let new = NewPasskey {
        credential_id: request.credential_id,
        attestation_object: request.attestation_object,
        client_data_json: request.client_data_json,
        kind: request.r#type,
        transports: request.transports,
        attachment: request.authenticator_attachment,
        device: Device::of(context.browser.user_agent.as_deref(), context.peer),
    };
    passkeys::finish_registration(&core, &context.environment, user, session, new).await?;
    Ok(wire::FinishRegistrationResponse { success: true })
}

async fn begin_authentication(
    core: Arc<Core>,
    context: Context,
    request: wire::BeginAuthenticationRequest,
) -> Result<wire::BeginAuthenticationResponse> {
    let email = request.email.as_deref().filter(|email| !email.is_empty());
    let begun = passkeys::begin_authentication(&core, &context.environment, email).await?;
    Ok(wire::BeginAuthenticationResponse { session_id: begun.session_id, options: object(begun.options) })
}

async fn finish_authentication(
    core: Arc<Core>,
    context: Context,
    request: wire::FinishAuthenticationRequest,
) -> Result<wire::FinishAuthenticationResponse> {
    let response = request.response.unwrap_or_default();
    let assertion = Assertion {
        session_id: request.session_id,
        credential_id: request.credential_id,
        kind: request.r#type,
        authenticator_data: response.authenticator_data,
        client_data_json: response.client_data_json,
        signature: response.signature,
        user_handle: response.user_handle,
    };
    let proven = passkeys::finish_authentication(&core, &context.environment, assertion).await?;
    Ok(wire::FinishAuthenticationResponse {
        success: true,
        user_id: proven.user.to_string(),
        session_token: proven.session_token.expose().clone(),
    })
}

async fn list(
    core: Arc<Core>,
    context: Context,
    request: wire::ListCredentialsRequest,
) -> Result<wire::ListCredentialsResponse> {
    let user = match own(&context.caller) {
        Some(own) if request.user_id.is_empty() || request.user_id == own.to_string() => own,
        Some(_) => return Err(Error::permission_denied(&["users:read"])),
        None if request.user_id.is_empty() => return Err(Error::invalid("user_id", "required", "is required")),
        None => UserId::parse(&request.user_id).ok_or_else(users::not_found)?,
    };
    let found = passkeys::list(&core, context.environment.id, user).await?;
    let rp_id = passkeys::rp_id(&core, &context.environment).await?;
    let accepted = found.iter().filter(|passkey| passkey.rp_id == rp_id);
    let options = wire::AllAcceptedCredentialsOptions {
        user_id: passkeys::base64url(passkeys::user_handle(user).as_bytes()),
        all_accepted_credential_ids: accepted.map(|passkey| passkeys::base64url(&passkey.credential_id)).collect(),
        rp_id,
    };
    Ok(wire::ListCredentialsResponse {
        credentials: found.into_iter().map(message).collect(),
        all_accepted_credentials_options: Some(options),
    })
}

async fn delete(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteCredentialRequest,
) -> Result<wire::DeleteCredentialResponse> {
    let id = credential_id(&request.credential_id)?;
    let gone = passkeys::delete(&core, context.environment.id, own(&context.caller), id).await?;
    Ok(wire::DeleteCredentialResponse {
        success: true,
        unknown_credential_options: Some(wire::UnknownCredentialOptions {
            rp_id: gone.rp_id,
            credential_id: passkeys::base64url(&gone.credential_id),
        }),
    })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateCredentialRequest,
) -> Result<wire::UpdateCredentialResponse> {
    let id = credential_id(&request.credential_id)?;
    let owner = own(&context.caller);
    let passkey = passkeys::rename(&core, context.environment.id, owner, id, request.display_name).await?;
    Ok(wire::UpdateCredentialResponse { credential: Some(message(passkey)) })
}

async fn related_origins(
    core: Arc<Core>,
    context: Context,
    _: wire::GetRelatedOriginsRequest,
) -> Result<wire::GetRelatedOriginsResponse> {
    Ok(wire::GetRelatedOriginsResponse { origins: passkeys::related_origins(&core, &context.environment).await? })
}

/// The signed-in user whose browser asks: nobody can make a passkey for somebody else.
fn in_person(caller: &Caller) -> Result<(UserId, SessionId)> {
    match caller {
        Caller::Session { user, session, .. } => Ok((*user, *session)),
        _ => Err(Error::permission_denied(&[])),
    }
}

/// The user that a caller acts as, if it may touch nothing of others (control plane reference §2.4).
fn own(caller: &Caller) -> Option<UserId> {
    match caller {
        Caller::User { user, .. } | Caller::Session { user, .. } => Some(*user),
        _ => None,
    }
}

fn credential_id(text: &str) -> Result<CredentialId> {
    CredentialId::parse(text).ok_or_else(passkeys::not_found)
}

fn object(options: Value) -> Option<prost_types::Struct> {
    match options {
        Value::Object(members) => Some(structs::from_json(members)),
        _ => None,
    }
}

/// A passkey on the wire.
fn message(passkey: Passkey) -> wire::WebAuthnCredential {
    use wire::web_authn_credential::{Authenticator, AuthenticatorFlags, ClientInfo, UserAgent};
    let (aaguid, name) = (passkey.aaguid_text(), passkey.authenticator().to_owned());
    let device = passkey.device;
    wire::WebAuthnCredential {
        id: passkey.id.to_string(),
        user_id: passkey.user.to_string(),
        credential_id: passkey.credential_id,
        attestation_type: passkey.conveyance,
        authenticator: Some(Authenticator { aaguid, name, attachment: passkey.attachment, ..Authenticator::default() }),
        transports: passkey.transports,
        authenticator_flags: Some(AuthenticatorFlags {
            user_present: passkey.flags.user_present,
            user_verified: passkey.flags.user_verified,
            backup_eligible: passkey.flags.backup_eligible,
            backup_state: passkey.flags.backed_up,
        }),
        created_at: Some(time(passkey.created_at)),
        updated_at: Some(time(passkey.updated_at)),
        user_agent: Some(UserAgent {
            raw: device.user_agent,
            browser: device.browser,
            browser_version: device.browser_version,
            os: device.os,
            os_version: device.os_version,
            device_type: device.device_type,
            ..UserAgent::default()
        }),
        client_info: Some(ClientInfo {
            ip: device.ip,
            region: device.location.region,
            region_subdivision: device.location.region_subdivision,
            city: device.location.city,
        }),
        display_name: passkey.display_name,
    }
}
