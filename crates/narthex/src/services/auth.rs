//! AuthService: the login of a browser, as a page of the same origin reads it. Which login it is says the browser's newest cookie of one.
//! The hosted pages do not need it; what it answers is what they show.

use std::sync::Arc;

use narthex_api::rpc::auth_service as rpc;
use narthex_api::scalekit::v1::auth as wire;
use narthex_api::scalekit::v1::commons::OrganizationCustomizations;
use narthex_api::scalekit::v1::connections::PasswordlessType;
use narthex_core::environments::AuthenticationMode;
use narthex_core::ids::AuthErrorId;
use narthex_core::login::{self, AuthRequest, Choice, Choices, Intent, NewOrganization, Problem, Stage, Step, Visitor};
use narthex_core::passwordless::{self, Delivery, Refusal};
use narthex_core::sessions::Device;
use narthex_core::{Core, Error, Kind, Result, branding, captcha, connections, users};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{time, with};
use super::structs;
use crate::login::cookies::Cookies;

/// `scalekit.v1.connections.ConnectionType`.
const PASSWORDLESS: i32 = 5;
const WEBAUTHN: i32 = 9;
/// `provider` of the product's own methods.
const OWN_PROVIDER: &str = "SCALEKIT";

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::LIST_AUTH_METHODS, with(core, methods))
        .add(rpc::DISCOVERY_AUTH_METHOD, with(core, discover))
        .add(rpc::VERIFY_PASSWORD_LESS_OTP, with(core, verify))
        .add(rpc::RESEND_AUTH_PASSWORDLESS, with(core, resend))
        .add(rpc::LIST_USER_ORGANIZATIONS, with(core, organizations))
        .add(rpc::SIGNUP_ORGANIZATION, with(core, sign_up))
        .add(rpc::GET_AUTH_STATE, with(core, state))
        .add(rpc::GET_AUTH_ERROR, with(core, error))
        .add(rpc::LOGOUT, with(core, logout))
        .add(rpc::GET_AUTH_CUSTOMIZATIONS, with(core, customizations))
        .add(rpc::GET_AUTH_FEATURES, with(core, features));
}

async fn methods(
    core: Arc<Core>,
    context: Context,
    request: wire::ListAuthMethodsRequest,
) -> Result<wire::ListAuthMethodsResponse> {
    let environment = context.environment.id;
    let mut auth_methods = Vec::new();
    if let Some(method) = by_mail(&core, &context).await? {
        auth_methods.push(method);
    }
    let is_full = context.environment.authentication_mode == AuthenticationMode::FullStack;
    let webauthn = connections::webauthn(&core, environment).await?.filter(|connection| connection.enabled);
    if let Some(connection) = webauthn.filter(|_| is_full && request.intent != "sign_up") {
        let config = &connection.config;
        auth_methods.push(wire::AuthMethod {
            connection_id: connection.id.to_string(),
            connection_type: WEBAUTHN,
            provider: OWN_PROVIDER.to_owned(),
            auth_initiation_uri: format!("{}/a/auth/login", context.environment.origin),
            enable_webauthn_auto_registration: Some(config.enable_auto_registration),
            show_passkey_button: Some(config.show_passkey_button),
            enable_webauthn_conditional_login: Some(config.enable_conditional_login),
            ..wire::AuthMethod::default()
        });
    }
    Ok(wire::ListAuthMethodsResponse { auth_methods })
}

/// Codes and links by mail, if they are switched on.
async fn by_mail(core: &Core, context: &Context) -> Result<Option<wire::AuthMethod>> {
    let found = connections::passwordless(core, context.environment.id).await?;
    Ok(found.filter(|connection| connection.enabled).map(|connection| wire::AuthMethod {
        connection_id: connection.id.to_string(),
        connection_type: PASSWORDLESS,
        provider: OWN_PROVIDER.to_owned(),
        auth_initiation_uri: format!("{}/a/auth/login", context.environment.origin),
        passwordless_type: Some(delivery(connection.config.delivery) as i32),
        code_challenge_length: Some(connection.config.code_challenge_length),
        ..wire::AuthMethod::default()
    }))
}

/// By name: the two enumerations of the contract that are called so number differently.
const fn delivery(delivery: Delivery) -> PasswordlessType {
    match delivery {
        Delivery::Otp => PasswordlessType::Otp,
        Delivery::Link => PasswordlessType::Link,
        Delivery::LinkOtp => PasswordlessType::LinkOtp,
    }
}

async fn discover(
    core: Arc<Core>,
    context: Context,
    request: wire::DiscoveryAuthMethodRequest,
) -> Result<wire::DiscoveryAuthMethodResponse> {
    let given = request.discovery_request.unwrap_or_default();
    let login = current(&core, &context).await?;
    human(&core, &context, &login, &given.g_recaptcha_response, "discovery_request.g_recaptcha_response").await?;
    let intent = if given.intent == Intent::SignUp as i32 { Intent::SignUp } else { Intent::SignIn };
    let outcome = login::submit_email(&core, &context.environment, &login, &given.email, intent).await?;
    settle(&outcome.step, "discovery_request.email")?;
    Ok(wire::DiscoveryAuthMethodResponse { auth_method: by_mail(&core, &context).await? })
}

async fn verify(
    core: Arc<Core>,
    context: Context,
    request: wire::VerifyPasswordLessOtpRequest,
) -> Result<wire::VerifyPasswordLessOtpResponse> {
    let given = request.otp_req.unwrap_or_default();
    let login = current(&core, &context).await?;
    human(&core, &context, &login, &given.g_recaptcha_response, "otp_req.g_recaptcha_response").await?;
    let outcome = login::submit_code_and_hold(&core, &context.environment, &login, &given.code_challenge).await?;
    settle(&outcome.step, "otp_req.code_challenge")?;
    Ok(wire::VerifyPasswordLessOtpResponse {})
}

async fn resend(core: Arc<Core>, context: Context, request: wire::ResendAuthPasswordlessRequest) -> Result<()> {
    let login = current(&core, &context).await?;
    human(&core, &context, &login, &request.g_recaptcha_response, "g_recaptcha_response").await?;
    let outcome = login::resend(&core, &context.environment, &login).await?;
    settle(&outcome.step, "")
}

/// Refuses a step whose captcha is missing or not good. The field is named after the provider that the contract knows, and takes any's.
async fn human(core: &Core, context: &Context, login: &AuthRequest, token: &str, field: &str) -> Result<()> {
    match login::check_captcha(core, &context.environment, login, token, Some(context.peer)).await? {
        Some(problem) => settle(&Step::Problem(problem), field),
        None => Ok(()),
    }
}

async fn organizations(core: Arc<Core>, context: Context, (): ()) -> Result<wire::ListUserOrganizationsResponse> {
    let login = current(&core, &context).await?;
    if login.stage < Stage::Choose {
        return Err(Error::new(Kind::FailedPrecondition, "nobody has signed in yet"));
    }
    let Choices { member, invited, suggested, email, names, .. } =
        login::choices(&core, &context.environment, &login).await?;
    let list = |choices: Vec<Choice>, status: &'static str| {
        choices.into_iter().map(move |choice| wire::Organization {
            id: choice.id.to_string(),
            name: choice.name,
            membership_status: status.to_owned(),
            invitation_inviter_email: choice.inviter_email,
            invitation_accepted_at: None,
            invitation_created_at: choice.invited_at.map(time),
            invitation_expires_at: choice.expires_at.map(time),
            logo_url: choice.logo_url,
        })
    };
    let organizations = list(member, "ACTIVE").chain(list(invited, "PENDING_INVITE")).chain(list(suggested, ""));
    Ok(wire::ListUserOrganizationsResponse {
        organizations: organizations.collect(),
        user: Some(wire::UserDetails { email, first_name: names.0, last_name: names.1 }),
        intent: login.intent as i32,
    })
}

async fn sign_up(
    core: Arc<Core>,
    context: Context,
    request: wire::SignupOrganizationRequest,
) -> Result<wire::SignupOrganizationResponse> {
    let login = current(&core, &context).await?;
    let new = NewOrganization {
        name: request.organization_name,
        given_name: request.first_name,
        family_name: request.last_name,
        full_name: request.full_name,
        phone_number: request.phone_number,
    };
    let visitor = Visitor { device: Device::of(context.browser.user_agent.as_deref(), context.peer) };
    let made = login::found_organization(&core, &context.environment, &login, new, &visitor).await?;
    Ok(wire::SignupOrganizationResponse { organization_id: made.id.to_string(), organization_name: made.display_name })
}

async fn state(core: Arc<Core>, context: Context, _: wire::GetAuthStateRequest) -> Result<wire::GetAuthStateResponse> {
    use wire::AuthState;
    let login = current(&core, &context).await?;
    let mut user = None;
    let auth_state = match login.stage {
        Stage::Identify => AuthState::AuthenticationInProgress,
        Stage::Verify => {
            let challenge = login.challenge.as_deref().unwrap_or_default();
            let sent = passwordless::describe(&core, context.environment.id, challenge).await?;
            match sent.map(|(sent, over)| (sent.kind, over)) {
                None | Some((_, Some(Refusal::Locked))) => AuthState::AuthenticationFailed,
                Some((Delivery::Otp, _)) => AuthState::OtpVerificationPending,
                Some((Delivery::Link, _)) => AuthState::MagicLinkSent,
                Some((Delivery::LinkOtp, _)) => AuthState::LinkSentOtpVerificationPending,
            }
        }
        // The contract has no name for a second factor. "Go on" is what this one says: the hosted pages ask for it.
        Stage::SecondFactor => AuthState::OtpVerified,
        Stage::Choose => {
            let choices = login::choices(&core, &context.environment, &login).await?;
            let none = choices.member.is_empty() && choices.invited.is_empty() && choices.suggested.is_empty();
            let (email, (first_name, last_name)) = (choices.email, choices.names);
            user = Some(wire::UserDetails { email, first_name, last_name });
            match (none, choices.may_create) {
                (true, true) => AuthState::OrganizationSignup,
                (true, false) => AuthState::AuthenticationFailed,
                (false, true) => AuthState::OrganizationSwitcherSignup,
                (false, false) => AuthState::OrganizationSwitcher,
            }
        }
        Stage::Offer | Stage::Consent => AuthState::OrganizationSelected,
        Stage::Finished => AuthState::AuthenticationCompleted,
    };
    let login_hint = login.email.as_deref().or(login.authorize.address()).unwrap_or_default().to_owned();
    Ok(wire::GetAuthStateResponse { auth_state: auth_state as i32, user, login_hint })
}

async fn error(
    core: Arc<Core>,
    context: Context,
    request: wire::GetAuthErrorRequest,
) -> Result<wire::GetAuthErrorResponse> {
    let id = AuthErrorId::parse(&request.error_id).ok_or_else(|| Error::not_found(AuthErrorId::NOUN))?;
    let found = login::kept_error(&core, context.environment.id, id).await?;
    Ok(wire::GetAuthErrorResponse { error: found.code, error_description: found.description })
}

async fn logout(core: Arc<Core>, context: Context, (): ()) -> Result<()> {
    let login = current(&core, &context).await?;
    login::leave(&core, &context.environment, &login).await
}

/// The look of the login's pages, or of the environment's where no login is under way.
async fn customizations(
    core: Arc<Core>,
    context: Context,
    _: wire::GetAuthCustomizationsRequest,
) -> Result<wire::GetAuthCustomizationsResponse> {
    let organization = match current(&core, &context).await {
        Ok(login) => login.organization.or(login.authorize.organization),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let look = branding::look(&core, &context.environment, organization).await?;
    let is_on = branding::is_on(&look.settings);
    Ok(wire::GetAuthCustomizationsResponse {
        settings: Some(wire::PortalSettings {
            custom_branding: !look.settings.is_empty(),
            new_self_serve_sso_scim: None,
            mcp_consent_screen_v2: None,
        }),
        organization_customizations: look.organization.map(|organization| OrganizationCustomizations {
            organization_logo_branding: is_on,
            display_name: organization.display_name,
            logo_url: organization.logo_url,
        }),
        customization_settings: Some(structs::from_json(look.settings)),
    })
}

/// What a page has to know of the environment.
async fn features(core: Arc<Core>, context: Context, (): ()) -> Result<wire::GetAuthFeaturesResponse> {
    let environment = &context.environment;
    let settings = users::user_management(&core, environment.id).await?;
    let is_full = environment.authentication_mode == AuthenticationMode::FullStack;
    let serde_json::Value::Object(mut features) = serde_json::json!({
        "full_stack_auth": is_full,
        "organization_signup": users::is_signup_open(&core, environment).await?,
        "bot_detection": settings.enable_bot_detection,
    }) else {
        return Err(Error::internal("an object is none"));
    };
    if let Some(widget) = captcha::widget(&core, environment.id).await? {
        features.insert("captcha_provider".to_owned(), widget.provider.name().into());
        features.insert("captcha_site_key".to_owned(), widget.site_key.clone().into());
    }
    Ok(wire::GetAuthFeaturesResponse { features: Some(structs::from_json(features)) })
}

/// The newest login that the browser has under way. NOT_FOUND if there is none.
pub(super) async fn current(core: &Core, context: &Context) -> Result<AuthRequest> {
    let cookies = Cookies::joined(context.browser.cookies.as_deref().unwrap_or_default());
    for id in cookies.logins() {
        if let Some(secret) = cookies.login(id)
            && let Some(login) = login::load(core, context.environment.id, id, secret).await?
        {
            return Ok(login);
        }
    }
    Err(Error::not_found("auth request"))
}

/// What is wrong with a step, as an error.
fn settle(step: &Step, field: &str) -> Result<()> {
    let Step::Problem(problem) = *step else { return Ok(()) };
    let precondition = |text: &'static str| Err(Error::new(Kind::FailedPrecondition, text));
    match problem {
        Problem::BadAddress => Err(Error::invalid(field, "string.email", "must be an e-mail address")),
        Problem::CaptchaRefused => {
            Err(Error::invalid(field, "captcha", "must be the token of a captcha, not used before"))
        }
        Problem::CaptchaUnavailable => Err(Error::new(Kind::Unavailable, "the captcha cannot be verified, try again")),
        Problem::WrongCode => Err(Error::invalid(field, "passwordless.code", "is not the code that was sent")),
        Problem::ExpiredCode => Err(Error::invalid(field, "passwordless.expired", "has expired or was used already")),
        Problem::TooMany(seconds) => {
            let text = "too many mails, try again in a minute";
            Err(Error::new(Kind::ResourceExhausted, text).retry_after(seconds))
        }
        Problem::Locked => Err(Error::new(Kind::ResourceExhausted, "too many wrong codes, start again")),
        Problem::MailFailed => Err(Error::new(Kind::Unavailable, "the mail could not be sent, try again")),
        Problem::NoMethod => precondition("there is no way to sign in with this address"),
        Problem::BlockedDomain => precondition("addresses of this domain may not sign up"),
        _ => precondition("the login does not stand where this step leads on from"),
    }
}
