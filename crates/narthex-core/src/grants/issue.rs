//! The tokens of a grant.

use crate::clients::Client;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::ids::GrantId;
use crate::resources::Resource;
use crate::tokens::{AccessClaims, IdClaims, PersonClaims, half_hash, sign_access, sign_id};

use super::person::{self, Person};
use super::{Authorization, Subject};

/// Life of an ID token of a user, in seconds (oauth-oidc reference OP-5).
const ID_TOKEN: i64 = 1_800;
/// Of one where there are no sessions.
const ID_TOKEN_WITHOUT_SESSION: i64 = 259_200;
/// Life of an access token where there are no sessions, in seconds (oauth-oidc reference §11.4).
const WITHOUT_SESSION: i64 = 900;

/// Signed tokens, and how long the access token lives.
pub(super) struct Signed {
    pub(super) access_token: String,
    pub(super) id_token: Option<String>,
    /// Seconds from now.
    pub(super) expires_in: i64,
    pub(super) scope: String,
    /// The access token's end on the clock of stored times.
    pub(super) expires_at: Timestamp,
}

/// What tokens are issued for.
pub(super) struct Issue<'a> {
    pub(super) grant: GrantId,
    pub(super) authorization: &'a Authorization,
    pub(super) client: &'a Client,
    pub(super) resource: Option<&'a Resource>,
    pub(super) person: &'a Person,
    /// Scopes of the access token.
    pub(super) scopes: Vec<String>,
    /// The code, if that is what they are issued for.
    pub(super) code: Option<&'a str>,
}

impl Issue<'_> {
    /// Signs the access token and, where `openid` was granted, the ID token.
    pub(super) async fn sign(self, core: &Core, environment: &Environment) -> Result<Signed> {
        let Self { authorization, client, .. } = &self;
        let lifetime = self.lifetime(environment);
        let scope = self.scopes.join(" ");
        let (access_token, claims) = sign_access(core, environment, lifetime, self.access_claims(&scope)).await?;
        let expires_at = core.clock.now().plus(std::time::Duration::from_secs(lifetime.unsigned_abs()));
        let id_token = if self.scopes.iter().any(|scope| scope == "openid") {
            let claims = IdClaims {
                sub: claims.sub.clone(),
                aud: vec![client.oauth_id().to_owned()],
                azp: client.oauth_id().to_owned(),
                client_id: client.oauth_id().to_owned(),
                auth_time: authorization.auth_time.seconds(),
                at_hash: half_hash(&access_token),
                c_hash: self.code.map(half_hash),
                nonce: authorization.nonce.clone(),
                amr: authorization.connection.map(|connection| [connection.to_string()]),
                oid: authorization.subject.organization().map(|organization| organization.to_string()),
                sid: claims.sid,
                xoid: claims.person.xoid,
                xuid: claims.person.xuid,
                person: person::claims(self.person, &authorization.subject, &self.scopes, true),
                ..IdClaims::default()
            };
            let lifetime = match authorization.subject {
                Subject::User { .. } => ID_TOKEN,
                Subject::Connection { .. } => ID_TOKEN_WITHOUT_SESSION,
            };
            Some(sign_id(core, environment, lifetime, claims).await?)
        } else {
            None
        };
        let left = claims.exp.saturating_mul(1_000_000) - core.clock.real_now().0;
        Ok(Signed { access_token, id_token, expires_in: left.div_euclid(1_000_000), scope, expires_at })
    }

    /// Of the access token, in seconds (oauth-oidc reference §13.2, mcp-auth reference §3.3).
    fn lifetime(&self, environment: &Environment) -> i64 {
        let own = self.client.access_token_expiry.map(i64::from);
        own.unwrap_or_else(|| match (self.resource, &self.authorization.subject) {
            (Some(resource), _) => i64::from(resource.access_token_expiry),
            (None, Subject::User { .. }) => environment.session.access_token_expiry.minutes * 60,
            (None, Subject::Connection { .. }) => WITHOUT_SESSION,
        })
    }

    fn access_claims(&self, scope: &str) -> AccessClaims {
        let Self { authorization, client, .. } = self;
        let aud = match self.resource {
            Some(resource) => resource.audience(),
            None => vec![client.oauth_id().to_owned()],
        };
        let mut claims = AccessClaims {
            aud,
            client_id: Some(client.oauth_id().to_owned()),
            scope: Some(scope.to_owned()),
            scopes: Some(self.scopes.clone()),
            custom_claims: client.custom_claims.iter().map(|claim| (claim.key.clone(), claim.value.clone())).collect(),
            grant_id: Some(self.grant.to_string()),
            ..AccessClaims::default()
        };
        let organization = authorization.subject.organization().map(|organization| organization.to_string());
        match &authorization.subject {
            Subject::User { user, session, .. } => {
                claims.sub = user.to_string();
                claims.sid = Some(session.to_string());
                claims.oid.clone_from(&organization);
            }
            Subject::Connection { sub, .. } => {
                claims.sub.clone_from(sub);
                // Without sessions an application's token names no organization (oauth-oidc reference §11.4).
                if self.resource.is_some() {
                    claims.oid.clone_from(&organization);
                }
            }
        }
        if let Person::User { user, standing } = self.person {
            claims.person.xuid.clone_from(&user.external_id);
            if let Some(standing) = standing {
                claims.person.xoid.clone_from(&standing.external_id);
                claims.person.roles = Some(standing.access.roles.clone());
                claims.person.permissions = Some(standing.access.permissions.clone());
            }
        }
        if self.resource.is_some() {
            claims.person = PersonClaims { org_id: claims.oid.clone(), ..claims.person };
        }
        claims
    }
}
