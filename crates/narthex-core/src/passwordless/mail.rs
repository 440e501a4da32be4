//! The mail with a code or link.

use super::store::Request;
use super::{Delivery, Intent};
use crate::core::Core;
use crate::emails::{self, Mail, UseCase, Variables};
use crate::environments::Environment;
use crate::error::Result;
use crate::seal::Secret;

/// What a mail is for (login methods reference §5.4).
pub(super) const fn use_case(intent: Intent, kind: Delivery) -> UseCase {
    match (intent, kind) {
        (Intent::SignIn, Delivery::Otp) => UseCase::UserLoginOtp,
        (Intent::SignIn, Delivery::Link) => UseCase::UserLoginLink,
        (Intent::SignIn, Delivery::LinkOtp) => UseCase::UserLoginLinkOtp,
        (Intent::SignUp, Delivery::Otp) => UseCase::UserSignupOtp,
        (Intent::SignUp, Delivery::Link) => UseCase::UserSignupLink,
        (Intent::SignUp, Delivery::LinkOtp) => UseCase::UserSignupLinkOtp,
    }
}

/// Writes it and hands it over.
pub(super) async fn send(
    core: &Core,
    environment: &Environment,
    request: &Request,
    otp: Option<Secret<String>>,
    link: Option<Secret<String>>,
) -> Result<()> {
    let plain = |secret: Option<Secret<String>>| secret.map(|secret| secret.expose().clone());
    let mail = Mail {
        use_case: use_case(request.intent, request.kind),
        organization: None,
        to: request.email.trim().to_owned(),
        variables: Variables { link: plain(link), otp: plain(otp), expires_at: Some(request.valid_until) },
        custom: request.variables.clone(),
    };
    emails::send(core, environment, mail).await
}
