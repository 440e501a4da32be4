//! TOTPService: authenticator apps as a second factor that an application asks for.

use std::sync::Arc;

use narthex_api::rpc::totp_service as rpc;
use narthex_api::scalekit::v1::auth::totp as wire;
use narthex_core::ids::{TotpRegistrationId, UserId};
use narthex_core::totp::{self, Subject, Target};
use narthex_core::{Core, Error, Result, users};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{time, with};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::REGISTER_TOTP, with(core, begin))
        .add(rpc::ENABLE_TOTP, with(core, enable))
        .add(rpc::VERIFY_USER_CODE, with(core, verify_user))
        .add(rpc::VERIFY_REGISTRATION_CODE, with(core, verify_registration))
        .add(rpc::DISABLE_TOTP, with(core, disable));
}

async fn begin(
    core: Arc<Core>,
    context: Context,
    request: wire::TotpRegistrationRequest,
) -> Result<wire::TotpRegistrationResponse> {
    use wire::totp_registration::UserIdOrAccountName as Given;
    let given = request.totp_registration.unwrap_or_default().user_id_or_account_name;
    let subject = match &given {
        Some(Given::UserId(id)) => Subject::User(UserId::parse(id).ok_or_else(users::not_found)?),
        Some(Given::AccountName(name)) => Subject::Account(name.clone()),
        None => {
            let text = "user_id or account_name is required";
            return Err(Error::invalid("totp_registration.user_id", "required", text));
        }
    };
    let (made, uri) = totp::register(&core, &context.environment, subject).await?;
    Ok(wire::TotpRegistrationResponse {
        totp_registration: Some(wire::TotpRegistration {
            id: made.id.to_string(),
            create_time: Some(time(made.created_at)),
            update_time: Some(time(made.updated_at)),
            user_id_or_account_name: given,
            qr_code_uri: Some(uri.expose().clone()),
        }),
    })
}

async fn enable(
    core: Arc<Core>,
    context: Context,
    request: wire::EnableRegistrationTotpRequest,
) -> Result<wire::EnableRegistrationTotpResponse> {
    let id = registration_id(&request.registration_id)?;
    let (made, codes) = totp::enable(&core, context.environment.id, id, &request.code).await?;
    Ok(wire::EnableRegistrationTotpResponse {
        id: made.id.to_string(),
        backup_codes: codes.iter().map(|code| code.expose().clone()).collect(),
    })
}

async fn verify_user(
    core: Arc<Core>,
    context: Context,
    request: wire::VerifyUserCodeRequest,
) -> Result<wire::VerifyCodeResponse> {
    let target = Target::User(UserId::parse(&request.user_id).ok_or_else(users::not_found)?);
    let valid = totp::verify(&core, context.environment.id, target, &request.code).await?;
    Ok(wire::VerifyCodeResponse { valid })
}

async fn verify_registration(
    core: Arc<Core>,
    context: Context,
    request: wire::VerifyRegistrationCodeRequest,
) -> Result<wire::VerifyCodeResponse> {
    let target = Target::Registration(registration_id(&request.registration_id)?);
    let valid = totp::verify(&core, context.environment.id, target, &request.code).await?;
    Ok(wire::VerifyCodeResponse { valid })
}

async fn disable(core: Arc<Core>, context: Context, request: wire::DisableRegistrationTotpRequest) -> Result<()> {
    totp::disable(&core, context.environment.id, registration_id(&request.registration_id)?, &request.code).await
}

fn registration_id(text: &str) -> Result<TotpRegistrationId> {
    TotpRegistrationId::parse(text).ok_or_else(totp::not_found)
}
