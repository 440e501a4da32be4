//! Authorization requests (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1; oauth-oidc reference §3).

use std::sync::Arc;

use narthex_db::p;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::clients::redirects::{AnyPort, is_registered};
use crate::clients::{self, Client, ClientKind};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::ids::{ConnectionId, OrganizationId, ResourceId, UserId};
use crate::organizations::{self, Organization};
use crate::resources::{self, Resource};
use crate::tokens;

/// Longest value that is kept and sent back: `state` and `nonce`.
const LONGEST: usize = 2_048;
/// Longest address in `login_hint`.
const LONGEST_HINT: usize = 320;
/// Scopes of OpenID Connect.
const OIDC_SCOPES: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];
/// What an application gets that asks for nothing.
const DEFAULT_SCOPES: [&str; 3] = ["openid", "profile", "email"];
/// Names of social providers (oauth-oidc reference §3.1).
const PROVIDERS: [&str; 6] = ["google", "microsoft", "github", "gitlab", "linkedin", "salesforce"];
/// Parameters that may come once only (RFC 6749 §3.1). `resource` may be repeated (RFC 8707 §2).
const ONCE: [&str; 17] = [
    "response_type",
    "scope",
    "state",
    "nonce",
    "prompt",
    "organization_id",
    "connection_id",
    "domain",
    "domain_hint",
    "login_hint",
    "id_token_hint",
    "provider",
    "code_challenge",
    "code_challenge_method",
    "max_age",
    "response_mode",
    "ui_locales",
];

/// `prompt`, value by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // a set of independent values
#[allow(missing_docs)] // the values under their own names
pub struct Prompt {
    pub none: bool,
    pub login: bool,
    pub create: bool,
    pub select_account: bool,
    pub consent: bool,
}

impl Prompt {
    fn read(text: &str) -> Option<Self> {
        let mut prompt = Self::default();
        for value in text.split(' ').filter(|value| !value.is_empty()) {
            match value {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "create" => prompt.create = true,
                "select_account" => prompt.select_account = true,
                "consent" => prompt.consent = true,
                _ => return None,
            }
        }
        let alone = !(prompt.login || prompt.create || prompt.select_account || prompt.consent);
        (!prompt.none || alone).then_some(prompt)
    }
}

/// Who an `id_token_hint` is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// `sub`.
    pub sub: String,
    /// `email`, if the token had it: for the page alone, since addresses change and `sub` does not.
    pub email: Option<String>,
}

/// A valid authorization request: its client is known, and its `redirect_uri` is one of the client's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Authorize {
    /// The client's id as it is stored.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What is asked for and can be granted.
    pub scopes: Vec<String>,
    /// Given back as it came.
    pub state: Option<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// What the user is to be asked.
    pub prompt: Prompt,
    /// The organization to enter.
    pub organization: Option<OrganizationId>,
    /// How to sign in.
    pub connection: Option<ConnectionId>,
    /// Domain whose organization signs the user in.
    pub domain: Option<String>,
    /// Address to begin with.
    pub login_hint: Option<String>,
    /// Nobody else may sign in: who an earlier ID token was of (OpenID Connect Core §3.1.2.1).
    pub expected: Option<Expected>,
    /// PKCE challenge, S256.
    pub code_challenge: Option<String>,
    /// Most seconds since the user proved who they are.
    pub max_age: Option<i64>,
    /// The resource that the tokens are for.
    pub resource: Option<ResourceId>,
    /// `iss` of the answer (RFC 9207), where the client expects it.
    pub issuer: Option<String>,
    /// Languages that the user reads.
    pub ui_locales: Option<String>,
}

impl Authorize {
    /// Whether a refresh token is asked for.
    pub fn offline(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "offline_access")
    }

    /// The address that the page begins with.
    pub fn address(&self) -> Option<&str> {
        let expected = || self.expected.as_ref().and_then(|expected| expected.email.as_deref());
        self.login_hint.as_deref().or_else(expected)
    }

    /// Whether this may be who signs in.
    pub(super) fn admits(&self, sub: &str) -> bool {
        self.expected.as_ref().is_none_or(|expected| expected.sub == sub)
    }

    /// [`Authorize::admits`] for a user. Whoever is new was never in an ID token.
    pub(super) fn admits_user(&self, user: Option<UserId>) -> bool {
        self.expected.is_none() || user.is_some_and(|user| self.admits(&user.to_string()))
    }

    /// Somebody else has signed in than the application expects: it must not be told who (OpenID Connect Core §3.1.2.1).
    pub(super) fn somebody_else(&self) -> Failure {
        self.failure("login_required", "the user of the id_token_hint has not signed in")
    }
}

/// An authorization request with the rows that it names.
pub struct Request {
    /// The parameters.
    pub authorize: Authorize,
    /// Who asks.
    pub client: Arc<Client>,
    /// The organization to enter.
    pub organization: Option<Organization>,
    /// The resource that the tokens are for.
    pub resource: Option<Resource>,
}

/// The decoded parameters of a request, in order.
pub struct Params<'a>(pub &'a [(String, String)]);

impl Params<'_> {
    /// A parameter; an empty one is absent (RFC 6749 §3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn is_repeated(&self, name: &str) -> bool {
        self.0.iter().filter(|(given, _)| given == name).count() > 1
    }
}

/// Reads an authorization request to the environment, or to one of its resources.
///
/// Until the client and its `redirect_uri` are known, a failure is for the error page; after that it goes to the application.
pub async fn read(
    core: &Core,
    environment: &Arc<Environment>,
    resource: Option<ResourceId>,
    params: &Params<'_>,
) -> Result<std::result::Result<Request, Failure>> {
    let resource = match resource {
        None => None,
        Some(id) => match resources::get(core, environment.id, id).await {
            Ok(resource) => Some(resource),
            Err(error) if error.kind() == crate::Kind::NotFound => {
                return Ok(Err(Failure::page("invalid_target", "unable to find the resource")));
            }
            Err(error) => return Err(error),
        },
    };
    let client = match find_client(core, environment, resource.as_ref(), params).await? {
        Ok(client) => client,
        Err(failure) => return Ok(Err(failure)),
    };
    let organization = match params.get("organization_id").and_then(OrganizationId::parse) {
        None => None,
        Some(id) => {
            let identity = organizations::Identity::Id(id);
            organizations::load(&mut *core.db.reader().await?, environment.id, &identity).await?
        }
    };
    let redirect_uri = match redirect_uri(&client, organization.as_ref(), params) {
        Ok(uri) => uri,
        Err(failure) => return Ok(Err(failure)),
    };
    let issuer = resource.as_ref().map(|resource| resource.issuer(environment));
    let answer = Answer { redirect_uri: &redirect_uri, state: params.get("state"), issuer: issuer.as_deref() };
    let mut rest = match rest(&answer, &client, organization.as_ref(), resource.as_ref(), params, core.clock.now()) {
        Ok(rest) => rest,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Some(token) = params.get("id_token_hint") {
        let Some(hint) = tokens::id_token_hint(core, environment, token).await? else {
            return Ok(Err(answer.failure("invalid_request", "id_token_hint is no ID token of this issuer")));
        };
        rest.expected = Some(Expected { sub: hint.sub, email: hint.email });
    }
    if let Some(failure) = connection(core, environment, &answer, &rest).await? {
        return Ok(Err(failure));
    }
    Ok(Ok(Request { authorize: rest, client, organization, resource }))
}

async fn find_client(
    core: &Core,
    environment: &Environment,
    resource: Option<&Resource>,
    params: &Params<'_>,
) -> Result<std::result::Result<Arc<Client>, Failure>> {
    let unknown = || match resource {
        None => Failure::page("invalid_client", "unable to retrieve client by id"),
        Some(_) => Failure::page("invalid_client_metadata_url", "unable to retrieve client by id"),
    };
    if params.is_repeated("client_id") || params.is_repeated("redirect_uri") {
        return Ok(Err(Failure::page("invalid_request", "client_id and redirect_uri may be given once only")));
    }
    let Some(client_id) = params.get("client_id") else {
        return Ok(Err(Failure::page("invalid_request", "client_id is missing")));
    };
    if client_id.contains('\0') {
        return Ok(Err(unknown()));
    }
    let id = match resource.filter(|_| client_id.starts_with("https://")) {
        None => Some(client_id.to_owned()),
        Some(resource) => {
            let sql = "SELECT client_id FROM clients WHERE resource_id = $1 AND metadata_uri = $2";
            let found: Option<(String,)> = core.db.reader().await?.opt(sql, &p![resource.id, client_id]).await?;
            found.map(|(id,)| id)
        }
    };
    let client = match id {
        Some(id) => clients::get(core, environment.id, &id).await?,
        None => None,
    };
    let fits = |client: &Arc<Client>| match resource {
        None => client.kind.is_application(),
        Some(resource) => client.kind == ClientKind::Resource && client.resource == Some(resource.id),
    };
    Ok(match client.filter(fits) {
        None => Err(unknown()),
        Some(client) if !client.enabled => {
            Err(Failure::page("application_not_active", "the application is switched off"))
        }
        Some(client) => Ok(client),
    })
}

fn redirect_uri(
    client: &Client,
    organization: Option<&Organization>,
    params: &Params<'_>,
) -> std::result::Result<String, Failure> {
    let refused = || Failure::page("invalid_redirect_uri", "redirect_uri is not one of the application's callbacks");
    let uri = params.get("redirect_uri").ok_or_else(refused)?;
    let any_port = match client.kind {
        ClientKind::Native => AnyPort::LoopbackAddresses,
        ClientKind::Resource => AnyPort::LoopbackHosts,
        _ => AnyPort::Never,
    };
    let value_of = |name: &str| organization.and_then(|organization| placeholder(organization, name));
    if is_registered(&client.post_login_uris, uri, any_port, &value_of) { Ok(uri.to_owned()) } else { Err(refused()) }
}

/// What a placeholder of a registered URI stands for (oauth-oidc reference §14.2).
pub fn placeholder(organization: &Organization, name: &str) -> Option<String> {
    match name {
        "org_slug" => organization.slug.clone(),
        "external_id" => organization.external_id.clone(),
        name => organization.metadata.get(name).cloned(),
    }
}

/// Where a failure goes, once it may go to the application.
struct Answer<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
    issuer: Option<&'a str>,
}

impl Answer<'_> {
    fn failure(&self, code: &str, description: &str) -> Failure {
        Failure::to_application(self.redirect_uri, self.state, self.issuer, code, description)
    }
}

fn rest(
    answer: &Answer<'_>,
    client: &Client,
    organization: Option<&Organization>,
    resource: Option<&Resource>,
    params: &Params<'_>,
    now: Timestamp,
) -> std::result::Result<Authorize, Failure> {
    let invalid = |description: &str| answer.failure("invalid_request", description);
    if let Some(name) = ONCE.iter().find(|name| params.is_repeated(name)) {
        return Err(invalid(&format!("{name} may be given once only")));
    }
    if params.0.iter().any(|(_, value)| value.contains('\0')) {
        return Err(invalid("a parameter holds U+0000"));
    }
    if params.get("request").is_some() {
        return Err(answer.failure("request_not_supported", "request objects are not supported"));
    }
    if params.get("request_uri").is_some() {
        return Err(answer.failure("request_uri_not_supported", "request objects are not supported"));
    }
    match params.get("response_type") {
        Some("code") => {}
        None => return Err(invalid("response_type is missing")),
        Some(_) => return Err(answer.failure("unsupported_response_type", "response_type must be code")),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("response_mode must be query"));
    }
    if !client.grant_types.iter().any(|grant| grant == "authorization_code") {
        return Err(answer.failure("unauthorized_client", "the application may not sign users in"));
    }
    if let Some(long) = ["state", "nonce"].iter().find(|name| params.get(name).is_some_and(|v| v.len() > LONGEST)) {
        return Err(invalid(&format!("{long} is too long")));
    }
    let code_challenge = challenge(client, params, now).map_err(invalid)?;
    let prompt = Prompt::read(params.get("prompt").unwrap_or_default())
        .ok_or_else(|| invalid("prompt has a value that is not supported, or none beside another"))?;
    let max_age = match params.get("max_age").map(str::parse::<i64>) {
        None => None,
        Some(Ok(seconds)) if seconds >= 0 => Some(seconds),
        Some(_) => return Err(invalid("max_age must be a number of seconds")),
    };
    if params.get("login_hint").is_some_and(|hint| hint.len() > LONGEST_HINT) {
        return Err(invalid("login_hint is too long"));
    }
    if params.get("organization_id").is_some() && organization.is_none() {
        return Err(answer.failure("invalid_organization_id", "the organization does not exist"));
    }
    let connection = match params.get("connection_id") {
        None => None,
        Some(text) => match ConnectionId::parse(text) {
            None => return Err(answer.failure("invalid_connection_id", "the connection does not exist")),
            id => id,
        },
    };
    match params.get("provider") {
        Some(name) if !PROVIDERS.contains(&name) => return Err(invalid("provider is not a known one")),
        Some(_) => return Err(answer.failure("connection_not_active", "the provider is not switched on")),
        None => {}
    }
    let scopes = scopes(client, resource, params.get("scope")).map_err(|text| answer.failure("invalid_scope", text))?;
    for target in params.all("resource") {
        let names = resource.is_some_and(|resource| {
            let identifier = resource.identifier();
            target == resource.id.to_string() || target.trim_end_matches('/') == identifier.trim_end_matches('/')
        });
        if !names {
            return Err(answer.failure("invalid_target", "resource is not one of this client"));
        }
    }
    let text = |name: &str| params.get(name).map(str::to_owned);
    Ok(Authorize {
        client_id: client.client_id.clone(),
        redirect_uri: answer.redirect_uri.to_owned(),
        scopes,
        state: text("state"),
        nonce: text("nonce"),
        prompt,
        organization: organization.map(|organization| organization.id),
        connection,
        domain: text("domain").or_else(|| text("domain_hint")),
        login_hint: text("login_hint"),
        expected: None,
        code_challenge,
        max_age,
        resource: resource.map(|resource| resource.id),
        issuer: answer.issuer.map(str::to_owned),
        ui_locales: text("ui_locales"),
    })
}

/// The PKCE challenge (RFC 7636 §4.3): S256 only, and required of whoever has no other secret (RFC 9700 §2.1.1).
fn challenge(
    client: &Client,
    params: &Params<'_>,
    now: Timestamp,
) -> std::result::Result<Option<String>, &'static str> {
    let Some(challenge) = params.get("code_challenge") else {
        if params.get("code_challenge_method").is_some() {
            return Err("code_challenge is missing");
        }
        return if client.enforce_pkce || !client.has_secret(now) {
            Err("code_challenge is missing: this client must use PKCE with S256")
        } else {
            Ok(None)
        };
    };
    if params.get("code_challenge_method") != Some("S256") {
        return Err("code_challenge_method must be S256");
    }
    let well_formed =
        challenge.len() == 43 && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if well_formed { Ok(Some(challenge.to_owned())) } else { Err("code_challenge is not a SHA-256 in base64url") }
}

/// What is asked for and can be granted. What nobody knows is dropped: clients ask for all that they have heard of.
fn scopes(
    client: &Client,
    resource: Option<&Resource>,
    asked: Option<&str>,
) -> std::result::Result<Vec<String>, &'static str> {
    let known: Vec<&str> = match resource {
        None => client.scopes.iter().map(String::as_str).collect(),
        Some(resource) => resource.scopes.iter().map(String::as_str).collect(),
    };
    let asked: Vec<&str> = asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()).collect();
    let mut granted: Vec<String> = Vec::new();
    let wanted = match (asked.is_empty(), resource) {
        (true, None) => DEFAULT_SCOPES.to_vec(),
        (true, Some(_)) => known.clone(),
        (false, _) => asked.clone(),
    };
    for scope in wanted {
        if (OIDC_SCOPES.contains(&scope) || known.contains(&scope)) && !granted.iter().any(|given| given == scope) {
            granted.push(scope.to_owned());
        }
    }
    if granted.is_empty() && !asked.is_empty() {
        return Err("none of the requested scopes is known");
    }
    Ok(granted)
}

/// Checks the connection that a request names.
async fn connection(
    core: &Core,
    environment: &Environment,
    answer: &Answer<'_>,
    authorize: &Authorize,
) -> Result<Option<Failure>> {
    let Some(id) = authorize.connection else { return Ok(None) };
    let passwordless = crate::connections::passwordless(core, environment.id).await?;
    Ok(match passwordless.filter(|connection| connection.id == id) {
        None => Some(answer.failure("invalid_connection_id", "the connection does not exist")),
        Some(connection) if !connection.enabled => {
            Some(answer.failure("connection_not_active", "the connection is switched off"))
        }
        Some(_) => None,
    })
}
