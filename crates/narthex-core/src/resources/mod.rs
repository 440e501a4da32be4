//! Resources: what tokens are for besides the application itself, mostly MCP servers (mcp-auth reference §1), and the clients that may
//! get them.

mod change;
pub mod clients;
mod store;

use serde::{Deserialize, Serialize};

pub use change::{
    CASCADE, NewResource, ResourcePatch, cascade, create, delete, ensure_connection, remove_provider, update,
};
pub use store::{get, list, load};

use crate::clock::Timestamp;
use crate::environments::Environment;
use crate::error::Error;
use crate::ids::{ConnectionId, EnvId, ResourceId};
use crate::pages::Limits;
use crate::scopes::Meaning;

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 10, max: 30 };

/// What a resource is (`scalekit.v1.clients.ResourceType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the wire's names
pub enum ResourceKind {
    Web = 1,
    Mobile = 2,
    Desktop = 3,
    Server = 4,
    McpServer = 5,
}

impl ResourceKind {
    /// The kind with this number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Web, Self::Mobile, Self::Desktop, Self::Server, Self::McpServer]
            .into_iter()
            .find(|&kind| kind as i32 == number)
    }
}

/// Who may be a client by its metadata document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllowedClient {
    /// A known host, by name (`PREDEFINED`).
    Predefined(String),
    /// Exactly this document (`URL`).
    Url(String),
}

/// The names that `PREDEFINED` entries can have (mcp-auth reference §4.2).
pub const PREDEFINED_CLIENTS: [&str; 4] = ["claude", "chatgpt", "vscode", "cursor"];

/// The customer's own login page in front of a resource (mcp-auth reference §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Id.
    pub id: ConnectionId,
    /// The page; empty until it is set.
    pub authorize_uri: String,
}

impl Connection {
    /// A connection counts once it says where to send people.
    pub fn is_enabled(&self) -> bool {
        !self.authorize_uri.is_empty()
    }
}

/// A resource.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // independent switches of the contract
pub struct Resource {
    /// Id.
    pub id: ResourceId,
    /// Environment.
    pub environment: EnvId,
    /// Kind.
    pub kind: ResourceKind,
    /// Name for people.
    pub name: String,
    /// Text for people.
    pub description: String,
    /// The server's URL, byte for byte as it was given; empty where the resource goes by its id.
    pub uri: String,
    /// Logo.
    pub logo_uri: String,
    /// Who signs people in: empty for the environment itself.
    pub provider: String,
    /// Lifetime of access tokens in seconds.
    pub access_token_expiry: u32,
    /// Lifetime of refresh tokens in seconds.
    pub refresh_token_expiry: u32,
    /// Whether clients may not register themselves.
    pub registration_disabled: bool,
    /// Names of scopes and permissions.
    pub scopes: Vec<String>,
    /// Whether tokens have only scopes that are permissions of the user.
    pub intersect_scopes: bool,
    /// Whether users pick scopes when they consent.
    pub scope_selection: bool,
    /// Whether a metadata document can be a client.
    pub cimd_enabled: bool,
    /// Which documents may, if the list counts.
    pub cimd_allowlist: Vec<AllowedClient>,
    /// Whether the list counts.
    pub cimd_allowlist_enabled: bool,
    /// Cross-app access.
    pub xaa_enabled: bool,
    /// The customer's own login page.
    pub connection: Option<Connection>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// What the names in `scopes` stand for; those that mean nothing any more are left out.
    pub meanings: Vec<(String, Meaning)>,
}

impl Resource {
    /// How clients and tokens name it: its URL, else its id.
    pub fn identifier(&self) -> String {
        if self.uri.is_empty() { self.id.to_string() } else { self.uri.clone() }
    }

    /// `aud` of its tokens: both of its names, whichever was asked for (mcp-auth reference §3.1).
    pub fn audience(&self) -> Vec<String> {
        let mut names = vec![self.id.to_string()];
        if !self.uri.is_empty() && self.uri != names[0] {
            names.push(self.uri.clone());
        }
        names
    }

    /// Whether a client means this resource: by its URL, with or without a slash at the end, or by its id (mcp-auth reference §5).
    pub fn is_named(&self, asked: &str) -> bool {
        let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
        asked == self.id.to_string() || !self.uri.is_empty() && bare(asked) == bare(&self.uri)
    }

    /// The authorization server of this resource, as clients name it.
    pub fn issuer(&self, environment: &Environment) -> String {
        format!("{}/resources/{}", environment.origin, self.id)
    }

    /// The protected resource metadata that the server publishes (RFC 9728; mcp-auth reference §2.1).
    pub fn protected_metadata(&self, environment: &Environment) -> serde_json::Map<String, serde_json::Value> {
        let scopes: Vec<&str> =
            self.meanings.iter().filter(|(_, meaning)| is_given(meaning)).map(|(name, _)| &**name).collect();
        let mut metadata = serde_json::Map::new();
        metadata.insert("resource".into(), self.identifier().into());
        metadata.insert("authorization_servers".into(), vec![self.issuer(environment)].into());
        metadata.insert("bearer_methods_supported".into(), vec!["header"].into());
        metadata.insert("scopes_supported".into(), scopes.into());
        if !self.uri.is_empty() {
            metadata.insert("resource_documentation".into(), format!("{}/docs", self.uri.trim_end_matches('/')).into());
        }
        metadata
    }

    /// Where the environment serves that metadata.
    pub fn protected_metadata_uri(&self, environment: &Environment) -> String {
        format!("{}/.well-known/oauth-protected-resource/resources/{}", environment.origin, self.id)
    }
}

/// Whether a scope can be in tokens.
fn is_given(meaning: &Meaning) -> bool {
    match meaning {
        Meaning::Scope(scope) => scope.enabled,
        Meaning::Permission(..) => true,
    }
}

/// The answer to an id that is no resource of the environment.
pub fn not_found() -> Error {
    Error::not_found(ResourceId::NOUN)
}
