//! Access tokens: JWTs signed with RS256, and what makes one a caller.
//!
//! Every JWT of the product has `typ` "JWT" (SDKs expect it), so the type header tells nothing. What makes a token a bearer of the
//! management API: it has a `jti` that begins with `tkn_`, which only [`sign_access`] writes; it has none of the claims that mark other
//! tokens; and the row that it names (client, session, member) says itself what kind of caller that is.

mod authenticate;
mod client_credentials;
mod id_token;
mod jwt;
mod logout_token;
mod mint;

pub use authenticate::{authenticate, session_holder};
pub use client_credentials::{ClientCredentials, IssuedToken, OAuthCode, TokenError, issue_client_credentials};
pub(crate) use id_token::{IdClaims, half_hash, sign_id};
pub use jwt::{IdTokenHint, MAX_TOKEN_BYTES, Verified};
pub(crate) use jwt::{id_token_hint, verify_own as verify};
pub(crate) use logout_token::sign_logout;
pub use mint::{MintedToken, mint_member, mint_operator, mint_session, mint_user};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::ids::TokenId;
use crate::keys;

/// All of `aud` in the hosted pages' own tokens (control plane reference §2.1). A token that names others as well is theirs too, and
/// therefore no bearer here.
pub(crate) const UI_AUDIENCE: &str = "ui";
/// All of `aud` in operators' tokens.
pub(crate) const DASHBOARD_AUDIENCE: &str = "dashboard";

/// Claims of an access token (oauth-oidc reference §11.1, 11.3, 11.5). Absent ones are left out, never null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the claims under their own names
pub struct AccessClaims {
    pub iss: String,
    pub sub: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_account_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_claims: BTreeMap<String, String>,
    /// The grant that a user's token came from: it ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// What only the customer's API reads is not kept here when a token is read.
    #[serde(flatten, skip_deserializing)]
    pub person: PersonClaims,
    /// Seconds since the epoch, real time.
    pub iat: i64,
    /// Seconds since the epoch, real time.
    pub nbf: i64,
    /// Seconds since the epoch, real time.
    pub exp: i64,
    pub jti: String,
}

/// Claims of a user's access token that nothing here decides by: they are written, and never read back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)] // the claims under their own names
pub struct PersonClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xoid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xuid: Option<String>,
}

/// Signs an access token of the environment: fills in issuer, times (`lifetime` in seconds from now) and `jti`.
pub(crate) async fn sign_access(
    core: &Core,
    environment: &Environment,
    lifetime: i64,
    mut claims: AccessClaims,
) -> Result<(String, AccessClaims)> {
    core.ids.check()?;
    let signer = keys::signer(core, environment.id, lifetime).await?;
    let now = core.clock.real_now().seconds();
    claims.iss.clone_from(&environment.origin);
    (claims.iat, claims.nbf, claims.exp) = (now, now, now + lifetime);
    claims.jti = TokenId::new(&core.ids).to_string();
    let token = jwt::sign(&signer, &claims)?;
    Ok((token, claims))
}
