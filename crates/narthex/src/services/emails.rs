//! EmailService: mail servers and templates of customers.

use std::sync::Arc;

use narthex_api::rpc::email_service as rpc;
use narthex_api::scalekit::v1::emails as wire;
use narthex_core::emails::{
    self, Configuration, Content, EmailServer, EmailTemplate, FormServer, NewServer, Provider, Scope, Settings,
    TemplatePatch, UseCase, stock,
};
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::ids::{EmailServerId, EmailTemplateId, OrganizationId};
use narthex_core::seal::Secret;
use narthex_core::{Core, Error, Result, organizations};
use narthex_rpc::{Context, Rpcs};
use wire::email_server::Settings as WireSettings;

use super::organizations::{time, with};

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::GET_TEMPLATE_PLACEHOLDERS, with(core, placeholders))
        .add(rpc::GET_TEMPLATE_USE_CASES, with(core, use_cases))
        .add(rpc::CREATE_EMAIL_TEMPLATE, with(core, create_template))
        .add(rpc::UPDATE_EMAIL_TEMPLATE, with(core, update_template))
        .add(rpc::ENABLE_EMAIL_TEMPLATE, with(core, enable_template))
        .add(rpc::DISABLE_EMAIL_TEMPLATE, with(core, disable_template))
        .add(rpc::GET_EMAIL_TEMPLATE, with(core, get_template))
        .add(rpc::LIST_EMAIL_TEMPLATES, with(core, list_templates))
        .add(rpc::DELETE_EMAIL_TEMPLATE, with(core, delete_template))
        .add(rpc::CREATE_EMAIL_SERVER, with(core, create_server))
        .add(rpc::UPDATE_EMAIL_SERVER_SETTINGS, with(core, update_server))
        .add(rpc::ENABLE_EMAIL_SERVER, with(core, enable_server))
        .add(rpc::DISABLE_EMAIL_SERVER, with(core, disable_server))
        .add(rpc::GET_EMAIL_SERVER, with(core, get_server))
        .add(rpc::LIST_EMAIL_SERVERS, with(core, list_servers))
        .add(rpc::DELETE_EMAIL_SERVER, with(core, delete_server))
        .add(rpc::GET_EMAIL_CONFIGURATION, with(core, configuration))
        .add(rpc::UPSERT_EMAIL_CONFIGURATION, with(core, configure));
}

async fn placeholders(
    _core: Arc<Core>,
    _context: Context,
    request: wire::GetPlaceholdersRequest,
) -> Result<wire::GetPlaceholdersResponse> {
    let known = use_case("use_case", request.use_case)?.placeholders();
    Ok(wire::GetPlaceholdersResponse { placeholders: known.into_iter().map(|known| known.name.to_owned()).collect() })
}

async fn use_cases(_core: Arc<Core>, _context: Context, (): ()) -> Result<wire::GetTemplateUseCasesResponse> {
    let use_cases = UseCase::ALL.into_iter().map(|use_case| wire::TemplateUsecaseWithPlaceholders {
        use_case: use_case as i32,
        title: use_case.title().to_owned(),
        description: use_case.description().to_owned(),
        placeholders: use_case
            .placeholders()
            .into_iter()
            .map(|known| wire::Placeholder {
                name: known.name.to_owned(),
                title: known.title.to_owned(),
                description: known.description.to_owned(),
                display: true,
                category: known.category.to_owned(),
                category_priority: known.category_priority,
            })
            .collect(),
        display: use_case.is_displayed(),
        default_template: Some(content(
            stock(use_case),
            wire::Template { use_case: use_case as i32, ..wire::Template::default() },
        )),
    });
    Ok(wire::GetTemplateUseCasesResponse { use_cases: use_cases.collect() })
}

async fn create_template(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateEmailTemplateRequest,
) -> Result<wire::CreateEmailTemplateResponse> {
    let scope = scope(&request.organization_id)?;
    let given = request.template.unwrap_or_default();
    let use_case = use_case("template.use_case", given.use_case)?;
    let content = Content { subject: given.subject, html: given.html_content, plain: given.plain_content };
    let key = match &context.idempotency_key {
        Some(name) => {
            let request = [
                rpc::CREATE_EMAIL_TEMPLATE.method.path,
                &request.organization_id,
                use_case.name(),
                &content.subject,
                &content.html,
                &content.plain,
            ];
            Some(IdempotencyKey::new(context.environment.id, &Actor::from(&context.caller), name, &request)?)
        }
        None => None,
    };
    let made = emails::create_template(&core, context.environment.id, scope, use_case, content, key).await?;
    Ok(wire::CreateEmailTemplateResponse { template: Some(template(made)) })
}

async fn update_template(
    core: Arc<Core>,
    context: Context,
    request: wire::PatchEmailTemplateRequest,
) -> Result<wire::GetEmailTemplateResponse> {
    let given = request.template.unwrap_or_default();
    let mut patch = TemplatePatch { subject: given.subject, html: given.html_content, plain: given.plain_content };
    if let Some(mask) = request.update_mask.filter(|mask| !mask.paths.is_empty()) {
        patch = masked(&patch, &mask.paths)?;
    }
    let (scope, id) = (scope(&request.organization_id)?, template_id(&request.template_id)?);
    let changed = emails::update_template(&core, context.environment.id, scope, id, patch).await?;
    Ok(wire::GetEmailTemplateResponse { template: Some(template(changed)) })
}

/// A mask names what changes. Nothing of a template can be cleared.
fn masked(given: &TemplatePatch, paths: &[String]) -> Result<TemplatePatch> {
    let mut patch = TemplatePatch::default();
    for path in paths {
        let (from, to) = match path.strip_prefix("template.").unwrap_or(path) {
            "subject" => (&given.subject, &mut patch.subject),
            "html_content" => (&given.html, &mut patch.html),
            "plain_content" => (&given.plain, &mut patch.plain),
            _ => {
                let text = format!("{path} is no field of a template that can be changed");
                return Err(Error::invalid("update_mask", "field_mask.unknown", text));
            }
        };
        if from.is_none() {
            return Err(Error::invalid(format!("template.{path}"), "required", "is in the mask and has no value"));
        }
        to.clone_from(from);
    }
    Ok(patch)
}

async fn enable_template(
    core: Arc<Core>,
    context: Context,
    request: wire::EnableEmailTemplateRequest,
) -> Result<wire::EnableEmailTemplateResponse> {
    let (scope, id) = (scope(&request.organization_id)?, template_id(&request.template_id)?);
    let switched = emails::enable_template(&core, context.environment.id, scope, id).await?;
    Ok(wire::EnableEmailTemplateResponse {
        active_template_id: Some(switched.active.to_string()),
        last_active_template_id: switched.previous.map(|id| id.to_string()),
    })
}

async fn disable_template(core: Arc<Core>, context: Context, request: wire::DisableEmailTemplateRequest) -> Result<()> {
    let (scope, id) = (scope(&request.organization_id)?, template_id(&request.template_id)?);
    emails::disable_template(&core, context.environment.id, scope, id).await
}

async fn get_template(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEmailTemplateRequest,
) -> Result<wire::GetEmailTemplateResponse> {
    let (scope, id) = (scope(&request.organization_id)?, template_id(&request.template_id)?);
    let found = emails::template(&core, context.environment.id, scope, id).await?;
    Ok(wire::GetEmailTemplateResponse { template: Some(template(found)) })
}

async fn list_templates(
    core: Arc<Core>,
    context: Context,
    request: wire::ListEmailTemplateRequest,
) -> Result<wire::ListEmailTemplateResponse> {
    let found = emails::templates(&core, context.environment.id, scope(&request.organization_id)?).await?;
    Ok(wire::ListEmailTemplateResponse { templates: found.into_iter().map(template).collect() })
}

async fn delete_template(core: Arc<Core>, context: Context, request: wire::DeleteEmailTemplateRequest) -> Result<()> {
    let (scope, id) = (scope(&request.organization_id)?, template_id(&request.template_id)?);
    emails::delete_template(&core, context.environment.id, scope, id).await
}

async fn create_server(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateEmailServerRequest,
) -> Result<wire::CreateEmailServerResponse> {
    let given = request.settings.ok_or_else(|| Error::invalid("settings", "required", "is required"))?;
    let new = NewServer {
        provider: provider("provider", request.provider)?,
        settings: Settings {
            host: given.host,
            port: port("settings.port", given.port)?,
            username: given.username,
            from_email: given.from_email,
            from_name: given.from_name,
        },
        password: Secret::new(given.password),
    };
    let key = match &context.idempotency_key {
        Some(name) => {
            // Without the password: a hash of it is kept with the key, and could be guessed.
            let said = format!("{:?} {:?}", new.provider, new.settings);
            let request = [rpc::CREATE_EMAIL_SERVER.method.path, &said];
            Some(IdempotencyKey::new(context.environment.id, &Actor::from(&context.caller), name, &request)?)
        }
        None => None,
    };
    let made = emails::create_server(&core, context.environment.id, new, key).await?;
    Ok(wire::CreateEmailServerResponse { server: Some(server(made)) })
}

async fn update_server(
    core: Arc<Core>,
    context: Context,
    request: wire::PatchEmailServerSettingsRequest,
) -> Result<wire::GetEmailServerResponse> {
    let given = request.settings.unwrap_or_default();
    let settings = Settings {
        host: given.host,
        port: port("settings.port", given.port)?,
        username: given.username,
        from_email: given.from_email,
        from_name: given.from_name,
    };
    let (id, password) = (server_id(&request.server_id)?, Some(Secret::new(given.password)));
    let changed = emails::update_server(&core, context.environment.id, id, settings, password).await?;
    Ok(wire::GetEmailServerResponse { server: Some(server(changed)) })
}

async fn enable_server(
    core: Arc<Core>,
    context: Context,
    request: wire::EnableEmailServerRequest,
) -> Result<wire::EnableEmailServerResponse> {
    let switched = emails::enable_server(&core, context.environment.id, server_id(&request.server_id)?).await?;
    Ok(wire::EnableEmailServerResponse {
        active_server_id: Some(switched.active.to_string()),
        last_active_server_id: switched.previous.map(|id| id.to_string()),
    })
}

async fn disable_server(core: Arc<Core>, context: Context, request: wire::DisableEmailServerRequest) -> Result<()> {
    emails::disable_server(&core, context.environment.id, server_id(&request.server_id)?).await
}

async fn get_server(
    core: Arc<Core>,
    context: Context,
    request: wire::GetEmailServerRequest,
) -> Result<wire::GetEmailServerResponse> {
    let found = emails::server(&core, context.environment.id, server_id(&request.server_id)?).await?;
    Ok(wire::GetEmailServerResponse { server: Some(server(found)) })
}

async fn list_servers(core: Arc<Core>, context: Context, (): ()) -> Result<wire::ListEmailServerResponse> {
    let found = emails::servers(&core, context.environment.id).await?;
    Ok(wire::ListEmailServerResponse { servers: found.into_iter().map(server).collect() })
}

async fn delete_server(core: Arc<Core>, context: Context, request: wire::DeleteEmailServerRequest) -> Result<()> {
    emails::delete_server(&core, context.environment.id, server_id(&request.server_id)?).await
}

async fn configuration(core: Arc<Core>, context: Context, (): ()) -> Result<wire::GetEmailConfigurationResponse> {
    let found = emails::configuration(&core, &context.environment).await?;
    let selected = selected(&found);
    Ok(wire::GetEmailConfigurationResponse {
        default_from_name: found.from_name,
        default_from_address: found.from_address,
        email_server_selected: selected.into(),
        server: found.server.map(server),
    })
}

async fn configure(
    core: Arc<Core>,
    context: Context,
    request: wire::UpsertEmailConfigurationRequest,
) -> Result<wire::UpsertEmailConfigurationResponse> {
    let form = match request.server {
        None => None,
        Some(given) => {
            let settings = given.settings.unwrap_or_default();
            Some(FormServer {
                id: match given.id.as_str() {
                    "" => None,
                    id => Some(server_id(id)?),
                },
                provider: provider("server.provider", given.provider)?,
                enabled: given.enabled.unwrap_or(false),
                settings: Settings {
                    host: settings.host,
                    port: port("server.settings.port", settings.port)?,
                    username: settings.username,
                    from_email: settings.from_email,
                    from_name: settings.from_name,
                },
                password: Secret::new(settings.password),
            })
        }
    };
    let found = emails::configure(&core, &context.environment, &request.default_from_name, form).await?;
    let selected = selected(&found);
    Ok(wire::UpsertEmailConfigurationResponse {
        default_from_name: found.from_name,
        default_from_address: found.from_address,
        email_server_selected: selected.into(),
        server: found.server.map(server),
    })
}

fn selected(configuration: &Configuration) -> wire::EmailServerType {
    if configuration.is_custom() { wire::EmailServerType::Customer } else { wire::EmailServerType::Inhouse }
}

/// The organization of a path; `-`, which the path of the environment's templates has in its place, is none.
fn scope(organization: &str) -> Result<Scope> {
    match organization {
        "" | "-" => Ok(None),
        id => OrganizationId::parse(id).map(Some).ok_or_else(organizations::not_found),
    }
}

fn template_id(text: &str) -> Result<EmailTemplateId> {
    EmailTemplateId::parse(text).ok_or_else(emails::template_not_found)
}

fn server_id(text: &str) -> Result<EmailServerId> {
    EmailServerId::parse(text).ok_or_else(emails::server_not_found)
}

fn use_case(field: &str, number: i32) -> Result<UseCase> {
    UseCase::from_number(number).ok_or_else(|| Error::invalid(field, "enum.defined_only", "is not a use case"))
}

fn provider(field: &str, number: i32) -> Result<Provider> {
    Provider::from_number(number).ok_or_else(|| Error::invalid(field, "enum.defined_only", "is not a provider"))
}

fn port(field: &str, number: i64) -> Result<u16> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Error::invalid(field, "email_server.port", "must be a port from 1 to 65535")),
    }
}

/// A template on the wire.
fn template(template: EmailTemplate) -> wire::Template {
    let rest = wire::Template {
        updated_at: Some(time(template.updated_at)),
        id: template.id.to_string(),
        use_case: template.use_case as i32,
        enabled: template.enabled,
        ..wire::Template::default()
    };
    content(template.content, rest)
}

fn content(content: Content, rest: wire::Template) -> wire::Template {
    wire::Template {
        placeholders: content.variables().into_iter().collect(),
        subject: content.subject,
        html_content: content.html,
        plain_content: content.plain,
        ..rest
    }
}

/// A server on the wire, without its password.
fn server(server: EmailServer) -> wire::EmailServer {
    let Settings { host, port, username, from_email, from_name } = server.settings;
    wire::EmailServer {
        updated_at: Some(time(server.updated_at)),
        id: server.id.to_string(),
        provider: server.provider as i32,
        enabled: server.enabled,
        settings: Some(WireSettings::SmtpSettings(wire::SmtpServerSettings {
            host,
            port: port.into(),
            username,
            password: String::new(),
            from_email,
            from_name,
        })),
    }
}
