//! PasswordlessService: codes and links by mail for applications that show their own pages. It makes no user and no session.

use std::sync::Arc;

use narthex_api::rpc::passwordless_service as rpc;
use narthex_api::scalekit::v1::auth::passwordless as wire;
use narthex_core::passwordless::{self, Begin, Challenge, Delivery, Headless, Intent, Outcome, Purpose};
use narthex_core::{Core, Error, Result};
use narthex_rpc::{Context, Rpcs};

use super::organizations::with;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::SEND_PASSWORDLESS_EMAIL, with(core, send))
        .add(rpc::RESEND_PASSWORDLESS_EMAIL, with(core, resend))
        .add(rpc::VERIFY_PASSWORDLESS_EMAIL, with(core, verify));
}

async fn send(
    core: Arc<Core>,
    context: Context,
    request: wire::SendPasswordlessRequest,
) -> Result<wire::SendPasswordlessResponse> {
    let intent = match request.template() {
        wire::TemplateType::Signup => Intent::SignUp,
        wire::TemplateType::Signin | wire::TemplateType::Unspecified => Intent::SignIn,
    };
    let begin = Begin {
        email: request.email,
        intent,
        purpose: Purpose::Headless(Headless {
            magiclink_auth_uri: request.magiclink_auth_uri,
            state: request.state,
            template: request.template,
            expires_in: request.expires_in,
            variables: request.template_variables.into_iter().collect(),
        }),
    };
    Ok(sent(&passwordless::begin(&core, &context.environment, begin).await?))
}

async fn resend(
    core: Arc<Core>,
    context: Context,
    request: wire::ResendPasswordlessRequest,
) -> Result<wire::SendPasswordlessResponse> {
    let challenge = passwordless::resend(&core, &context.environment, &request.auth_request_id).await?;
    Ok(sent(&challenge))
}

async fn verify(
    core: Arc<Core>,
    context: Context,
    request: wire::VerifyPasswordLessRequest,
) -> Result<wire::VerifyPasswordLessResponse> {
    use wire::verify_password_less_request::AuthCredential;
    let id = request.auth_request_id.as_deref().filter(|id| !id.is_empty());
    let outcome = match request.auth_credential {
        None => {
            return Err(Error::invalid("auth_credential", "required", "a code or a link_token is required"));
        }
        Some(AuthCredential::Code(code)) => {
            let Some(id) = id else {
                return Err(Error::invalid("auth_request_id", "required", "is required to verify a code"));
            };
            passwordless::verify_code(&core, &context.environment, id, &code).await?
        }
        Some(AuthCredential::LinkToken(token)) => {
            passwordless::verify_link(&core, &context.environment, &token, id).await?
        }
    };
    match outcome {
        Outcome::Verified(proof) => Ok(wire::VerifyPasswordLessResponse {
            email: proof.email,
            state: proof.state,
            template: proof.template,
            passwordless_type: kind(proof.kind) as i32,
        }),
        Outcome::Refused(refusal) => Err(refusal.into()),
    }
}

fn sent(challenge: &Challenge) -> wire::SendPasswordlessResponse {
    wire::SendPasswordlessResponse {
        auth_request_id: challenge.id.clone(),
        expires_at: challenge.expires_at.seconds(),
        expires_in: challenge.expires_in,
        passwordless_type: kind(challenge.kind) as i32,
    }
}

/// By name: the numbers of this service's enumeration are not those of the connection's settings.
const fn kind(delivery: Delivery) -> wire::PasswordlessType {
    match delivery {
        Delivery::Otp => wire::PasswordlessType::Otp,
        Delivery::Link => wire::PasswordlessType::Link,
        Delivery::LinkOtp => wire::PasswordlessType::LinkOtp,
    }
}
