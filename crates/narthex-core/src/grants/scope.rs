//! What the tokens of a grant are for: its resource, and the scopes that it still gives.

use narthex_db::Tx;

use super::person::Person;
use super::{Authorization, Subject};
use crate::consents;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Kind, Result};
use crate::resources::{self, Resource};
use crate::scopes::{Meaning, RESERVED};
use crate::tokens::{OAuthCode, TokenError};

/// The resource of a grant. INVALID_GRANT if it is gone.
pub(super) async fn resource_of(
    tx: &mut Tx,
    environment: &Environment,
    authorization: &Authorization,
) -> Result<Option<Resource>, TokenError> {
    let Some(id) = authorization.resource else { return Ok(None) };
    match resources::load(tx, environment.id, id).await {
        Ok(resource) => Ok(Some(resource)),
        Err(error) if error.kind() == Kind::NotFound => {
            Err(TokenError::new(OAuthCode::InvalidGrant, "the resource does not exist any more"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Checks the `resource` of a request against that of the grant (RFC 8707 §2.2).
pub(super) fn check_target(resource: Option<&Resource>, asked: Option<&str>) -> Result<(), TokenError> {
    match asked {
        Some(asked) if !resource.is_some_and(|resource| resource.is_named(asked)) => {
            Err(TokenError::new(OAuthCode::InvalidTarget, "not the resource that was authorized"))
        }
        _ => Ok(()),
    }
}

/// The granted scopes that still count: for a resource those that it has, that the user still consents to and, where it says so,
/// that are permissions of the user. None if the consent is gone.
pub(super) async fn given(
    core: &Core,
    environment: &Environment,
    authorization: &Authorization,
    resource: Option<&Resource>,
    person: &Person,
) -> Result<Option<Vec<String>>> {
    let Some(resource) = resource else { return Ok(Some(authorization.scopes.clone())) };
    let subject = match &authorization.subject {
        Subject::User { user, .. } => user.to_string(),
        Subject::Connection { sub, .. } => sub.clone(),
    };
    let consent =
        consents::given(&mut *core.db.reader().await?, environment.id, &authorization.client_id, &subject).await?;
    let Some(consented) = consent else { return Ok(None) };
    let permitted = match person {
        Person::User { standing: Some(standing), .. } => standing.access.permissions.as_slice(),
        _ => &[],
    };
    let counts = |scope: &String| {
        if RESERVED.contains(&scope.as_str()) {
            return true;
        }
        let known = resource.meanings.iter().any(|(name, meaning)| {
            name == scope
                && match meaning {
                    Meaning::Scope(scope) => scope.enabled,
                    Meaning::Permission(..) => true,
                }
        });
        known && consented.contains(scope) && (!resource.intersect_scopes || permitted.contains(scope))
    };
    Ok(Some(authorization.scopes.iter().filter(|scope| counts(scope)).cloned().collect()))
}
