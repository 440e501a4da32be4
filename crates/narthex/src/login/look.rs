//! The look of a login's pages.

use std::sync::Arc;

use narthex_core::environments::Environment;
use narthex_core::ids::OrganizationId;
use narthex_core::{Result, branding};

use crate::gate::State;
use crate::pages::Look;

/// The environment's branding, with that of the organization which the login is for.
pub async fn look(state: &Arc<State>, environment: &Environment, organization: Option<OrganizationId>) -> Result<Look> {
    let branding::Look { settings, organization } = branding::look(&state.core, environment, organization).await?;
    let look = Look::new(&settings);
    Ok(match organization {
        Some(organization) => look.of_organization(&organization.display_name, organization.logo_url.as_deref()),
        None => look,
    })
}
