//! Consent: whether a user lets a client of a resource act for them (mcp-auth reference §5.1).

use std::sync::Arc;

use super::complete::{self, Made, Outcome, after_consent, late, settled};
use super::store::advance;
use super::{AuthRequest, Failure, Stage, Step, Visitor, broken};
use crate::clients::{self, Client};
use crate::consents::{self, Grant};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::organizations::{self, Organization, share};
use crate::resources::{self, Resource};
use crate::scopes::Meaning;
use crate::users::{self, Identity, User};

/// What the page shows.
pub struct ConsentView {
    /// What the client wants to reach.
    pub resource: Resource,
    /// Who wants to.
    pub client: Arc<Client>,
    /// For whom.
    pub user: User,
    /// In which organization.
    pub organization: Option<Organization>,
    /// Scopes with what they mean to people.
    pub scopes: Vec<(String, String)>,
}

/// A consent that was given.
pub type Consented = Outcome;

/// What a login that waits for consent asks for. NOT_FOUND for any other.
pub async fn consent_view(core: &Core, request: &AuthRequest) -> Result<ConsentView> {
    let missing = || Error::not_found("consent request");
    let environment = request.environment;
    let (Stage::Consent, Some(resource), Some(user)) = (request.stage, request.authorize.resource, request.user) else {
        return Err(missing());
    };
    let resource = resources::get(core, environment, resource).await?;
    let client = clients::get(core, environment, &request.authorize.client_id).await?.ok_or_else(missing)?;
    let user = users::get(core, environment, Identity::Id(user)).await?.user;
    let organization = match request.organization {
        None => None,
        Some(id) => {
            let identity = organizations::Identity::Id(id);
            organizations::load(&mut *core.db.reader().await?, environment, &identity).await?
        }
    };
    let meaning = |scope: &str| {
        let found = resource.meanings.iter().find(|(name, _)| name == scope);
        found.map_or_else(String::new, |(_, meaning)| match meaning {
            Meaning::Scope(scope) => scope.description.clone(),
            Meaning::Permission(_, description) => description.clone(),
        })
    };
    let scopes = request.authorize.scopes.iter().map(|scope| (scope.clone(), meaning(scope))).collect();
    Ok(ConsentView { resource, client, user, organization, scopes })
}

/// The user agrees to the scopes of `chosen`; to all that were asked for where the resource leaves no choice.
pub async fn grant_consent(
    core: &Arc<Core>,
    environment: &Arc<Environment>,
    request: &AuthRequest,
    chosen: &[String],
    visitor: &Visitor,
) -> Result<Consented> {
    let view = consent_view(core, request).await?;
    let mut request = request.clone();
    if view.resource.scope_selection {
        let of_resource = |scope: &String| view.resource.scopes.contains(scope);
        request.authorize.scopes.retain(|scope| !of_resource(scope) || chosen.contains(scope));
    }
    let grant = Grant {
        client_id: view.client.client_id.clone(),
        subject: view.user.id.to_string(),
        user: Some(view.user.id),
        scopes: request.authorize.scopes.clone(),
    };
    consents::grant(core, environment.id, grant).await?;
    let made = Arc::new(Made::new(core, environment, visitor, None).await?);
    let (env, seen) = (Arc::clone(environment), request);
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let mut request = complete::current(tx, &seen, made.now).await?;
            if request.stage != Stage::Consent {
                return Err(late());
            }
            request.authorize.scopes.clone_from(&seen.authorize.scopes);
            after_consent(tx, &env, &made, request).await
        })
        .await;
    settled(core, outcome)
}

/// The user does not agree: the application is told.
pub async fn deny(core: &Arc<Core>, environment: &Environment, request: &AuthRequest) -> Result<Outcome> {
    if request.stage != Stage::Consent {
        return Err(broken("no consent is asked for"));
    }
    let (seen, now) = (request.clone(), core.clock.now());
    let outcome = core
        .db
        .write_for(share(environment.id), async move |tx| {
            let mut request = complete::current(tx, &seen, now).await?;
            let failure: Failure = request.authorize.failure("access_denied", "the user does not agree");
            request.stage = Stage::Finished;
            if !advance(tx, &request, Stage::Consent, now).await? {
                return Err(late());
            }
            Ok(Outcome::of(Step::Failed(failure)))
        })
        .await;
    settled(core, outcome)
}
