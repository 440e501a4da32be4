//! Who is calling. Every way to be authenticated is a variant, with exactly the tenancy it carries.

use crate::ids::{ConnectedAccountId, EnvId, MemberId, OrganizationId, SessionId, UserId, WorkspaceId};

/// Kinds of caller, as the bits of `scalekit.v1.options.AuthenticationType`.
pub mod kind {
    /// Nobody may call.
    pub const BLOCKED: u32 = 0;
    /// Anyone may call.
    pub const NONE: u32 = 1;
    /// An environment's API client.
    pub const CLIENT: u32 = 4;
    /// An end user with an access token.
    pub const USER: u32 = 8;
    /// An end user's session on the hosted pages.
    pub const SESSION: u32 = 16;
    /// An admin-portal session, opened by a portal link.
    pub const CUSTOMER_PORTAL: u32 = 32;
    /// An operator of a workspace.
    pub const WORKSPACE: u32 = 64;
    /// A connected account's page, opened by a magic link.
    pub const ACTIONS_PORTAL: u32 = 128;
}

/// An authenticated caller, or the lack of one. All live state (client enabled, session not revoked, …) has been checked when a
/// value of this type exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No credential; only RPCs that are open to anyone.
    Anonymous,
    /// API credentials of an environment: may do anything in it.
    Client {
        /// Environment that issued the token.
        environment: EnvId,
        /// OAuth client id, e.g. `skc_…`.
        client_id: String,
    },
    /// Machine credentials that belong to one organization; meant for the customer's own API.
    OrganizationClient {
        /// Environment that issued the token.
        environment: EnvId,
        /// Organization that the client belongs to.
        organization: OrganizationId,
        /// OAuth client id, `m2morg_…`.
        client_id: String,
    },
    /// An end user's own access token.
    User {
        /// Environment of the login.
        environment: EnvId,
        /// The user.
        user: UserId,
        /// Organization the token is for.
        organization: Option<OrganizationId>,
        /// Session behind the token.
        session: SessionId,
        /// What the user's roles in that organization allow at this moment, in the session spelling (`organizations_read`).
        permissions: Vec<String>,
    },
    /// A browser session on the hosted pages.
    Session {
        /// Environment of the login.
        environment: EnvId,
        /// The user.
        user: UserId,
        /// Current organization.
        organization: Option<OrganizationId>,
        /// The session.
        session: SessionId,
        /// What the user's roles in that organization allow at this moment, in the session spelling.
        permissions: Vec<String>,
    },
    /// An admin-portal session.
    Portal {
        /// Environment of the link.
        environment: EnvId,
        /// The one organization it may touch.
        organization: OrganizationId,
        /// The session.
        session: SessionId,
        /// Features on the link (`sso`, `dir_sync`, …).
        features: Vec<String>,
    },
    /// An operator.
    Member {
        /// Workspace of the operator.
        workspace: WorkspaceId,
        /// The operator.
        member: MemberId,
        /// Dashboard permissions in the environment at hand, `resource:action`.
        permissions: Vec<String>,
    },
    /// The page of one connected account.
    ConnectedAccount {
        /// Environment of the account.
        environment: EnvId,
        /// The one account it may touch.
        connected_account: ConnectedAccountId,
        /// The session.
        session: SessionId,
    },
}

impl Caller {
    /// The bit of this caller's kind; 0 for kinds that the management API has none for.
    pub fn kind(&self) -> u32 {
        match self {
            Self::Anonymous | Self::OrganizationClient { .. } => 0,
            Self::Client { .. } => kind::CLIENT,
            Self::User { .. } => kind::USER,
            Self::Session { .. } => kind::SESSION,
            Self::Portal { .. } => kind::CUSTOMER_PORTAL,
            Self::Member { .. } => kind::WORKSPACE,
            Self::ConnectedAccount { .. } => kind::ACTIONS_PORTAL,
        }
    }

    /// A name for logs and metrics.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Client { .. } => "client",
            Self::OrganizationClient { .. } => "organization_client",
            Self::User { .. } => "user",
            Self::Session { .. } => "session",
            Self::Portal { .. } => "portal",
            Self::Member { .. } => "member",
            Self::ConnectedAccount { .. } => "connected_account",
        }
    }

    /// Whether any one of `required` is held; nobody holds one of none. API clients act for the whole environment, portal sessions by
    /// their features, and the clients of organizations only on the RPCs that are marked for them, so none of these is asked for
    /// permissions (control plane reference §2.3).
    pub fn holds_any(&self, required: &[&str]) -> bool {
        match self {
            Self::Client { .. }
            | Self::Portal { .. }
            | Self::ConnectedAccount { .. }
            | Self::OrganizationClient { .. } => true,
            Self::Anonymous => false,
            // What operators hold is spelled otherwise than what end users hold, so neither has anything by the other's key.
            Self::User { permissions, .. } | Self::Session { permissions, .. } | Self::Member { permissions, .. } => {
                required.iter().any(|key| permissions.iter().any(|held| held == key))
            }
        }
    }
}
