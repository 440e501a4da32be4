//! UserAttributeService: the two catalogues of user attributes.

use std::sync::Arc;

use narthex_api::rpc::user_attribute_service as rpc;
use narthex_api::scalekit::v1::user_attributes as wire;
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::user_attributes::{self, Catalogue, Datatype, NewDefinition, UserAttribute};
use narthex_core::{Caller, Core, Error, Result};
use narthex_rpc::{Context, Rpcs};
use wire::user_attribute::AdditionalInfo;

use super::organizations::with;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    use Catalogue::{Directory, SignOn};
    rpcs.add(
        rpc::CREATE_SSO_USER_ATTRIBUTE,
        with(core, |core, context, request| create(core, context, SignOn, request)),
    )
    .add(rpc::LIST_SSO_USER_ATTRIBUTES, with(core, |core, context, ()| list(core, context, SignOn)))
    .add(rpc::UPDATE_SSO_USER_ATTRIBUTE, with(core, |core, context, request| update(core, context, SignOn, request)))
    .add(rpc::DELETE_SSO_USER_ATTRIBUTE, with(core, |core, context, request| delete(core, context, SignOn, request)))
    .add(
        rpc::CREATE_DIRECTORY_USER_ATTRIBUTE,
        with(core, |core, context, request| create(core, context, Directory, request)),
    )
    .add(rpc::LIST_DIRECTORY_USER_ATTRIBUTES, with(core, |core, context, ()| list(core, context, Directory)))
    .add(
        rpc::UPDATE_DIRECTORY_USER_ATTRIBUTE,
        with(core, |core, context, request| update(core, context, Directory, request)),
    )
    .add(
        rpc::DELETE_DIRECTORY_USER_ATTRIBUTE,
        with(core, |core, context, request| delete(core, context, Directory, request)),
    );
}

async fn create(
    core: Arc<Core>,
    context: Context,
    catalogue: Catalogue,
    request: wire::CreateUserAttributeRequest,
) -> Result<wire::CreateUserAttributeResponse> {
    may_register(&context.caller, catalogue)?;
    let given = request.user_attribute.unwrap_or_default();
    let key = given.key.clone();
    let new = definition(catalogue, given)?;
    let rpc = match catalogue {
        Catalogue::SignOn => rpc::CREATE_SSO_USER_ATTRIBUTE.method.path,
        Catalogue::Directory => rpc::CREATE_DIRECTORY_USER_ATTRIBUTE.method.path,
    };
    let environment = context.environment.id;
    let once = match &context.idempotency_key {
        Some(name) => {
            let request = [rpc, &new.fingerprint(&key)];
            Some(IdempotencyKey::new(environment, &Actor::from(&context.caller), name, &request)?)
        }
        None => None,
    };
    let attribute = user_attributes::create(&core, environment, catalogue, key, new, once).await?;
    Ok(wire::CreateUserAttributeResponse { user_attribute: Some(message(catalogue, attribute)) })
}

async fn list(core: Arc<Core>, context: Context, catalogue: Catalogue) -> Result<wire::ListUserAttributesResponse> {
    let attributes = user_attributes::list(&core, context.environment.id, catalogue).await?;
    let user_attributes = attributes.into_iter().map(|attribute| message(catalogue, attribute)).collect();
    Ok(wire::ListUserAttributesResponse { user_attributes })
}

async fn update(
    core: Arc<Core>,
    context: Context,
    catalogue: Catalogue,
    request: wire::UpdateUserAttributeRequest,
) -> Result<wire::UpdateUserAttributeResponse> {
    may_change(&context.caller)?;
    let change = definition(catalogue, request.user_attribute.unwrap_or_default())?;
    let attribute = user_attributes::update(&core, context.environment.id, catalogue, request.key, change).await?;
    Ok(wire::UpdateUserAttributeResponse { user_attribute: Some(message(catalogue, attribute)) })
}

async fn delete(
    core: Arc<Core>,
    context: Context,
    catalogue: Catalogue,
    request: wire::DeleteUserAttributeRequest,
) -> Result<()> {
    may_change(&context.caller)?;
    user_attributes::delete(&core, context.environment.id, catalogue, request.key).await
}

/// An organization's administrators may add an attribute, to map it, where they may set up what fills it.
fn may_register(caller: &Caller, catalogue: Catalogue) -> Result<()> {
    let feature = match catalogue {
        Catalogue::SignOn => "sso",
        Catalogue::Directory => "dir_sync",
    };
    match caller {
        Caller::Portal { features, .. } if !features.iter().any(|held| held == feature) => {
            Err(Error::permission_denied(&[feature]))
        }
        _ => Ok(()),
    }
}

/// The catalogues belong to the environment: one organization's portal must not change what the others rely on.
fn may_change(caller: &Caller) -> Result<()> {
    match caller {
        Caller::Portal { .. } => Err(Error::permission_denied(&["users:write"])),
        _ => Ok(()),
    }
}

fn definition(catalogue: Catalogue, given: wire::UserAttribute) -> Result<NewDefinition> {
    let datatype = Datatype::from_number(given.datatype)
        .ok_or_else(|| Error::invalid("user_attribute.datatype", "enum.defined_only", "is not a type of attribute"))?;
    let mappings = match (catalogue, given.additional_info) {
        (_, None) | (Catalogue::Directory, Some(AdditionalInfo::DirectoryUserAdditionalInfo(_))) => None,
        (Catalogue::SignOn, Some(AdditionalInfo::SsoAdditionInfo(info))) => {
            Some((info.default_saml_mapping, info.default_oidc_mapping))
        }
        (Catalogue::Directory, Some(AdditionalInfo::SsoAdditionInfo(_))) => {
            return Err(misplaced("user_attribute.sso_addition_info"));
        }
        (Catalogue::SignOn, Some(AdditionalInfo::DirectoryUserAdditionalInfo(_))) => {
            return Err(misplaced("user_attribute.directory_user_additional_info"));
        }
    };
    Ok(NewDefinition { enabled: given.enabled, required: given.required, label: given.label, datatype, mappings })
}

fn misplaced(field: &str) -> Error {
    Error::invalid(field, "user_attribute.additional_info", "belongs to the other catalogue")
}

/// An attribute on the wire.
fn message(catalogue: Catalogue, attribute: UserAttribute) -> wire::UserAttribute {
    let UserAttribute { key, is_standard, definition } = attribute;
    let category =
        if is_standard { wire::UserAttributeCategory::Standard } else { wire::UserAttributeCategory::Custom };
    wire::UserAttribute {
        key,
        enabled: definition.enabled,
        required: definition.required,
        label: definition.label,
        datatype: definition.datatype as i32,
        category: category.into(),
        additional_info: Some(match catalogue {
            Catalogue::SignOn => AdditionalInfo::SsoAdditionInfo(wire::SsoUserAdditionInfo {
                default_saml_mapping: definition.saml_mapping,
                default_oidc_mapping: definition.oidc_mapping,
            }),
            Catalogue::Directory => AdditionalInfo::DirectoryUserAdditionalInfo(wire::DirectoryUserAdditionalInfo {}),
        }),
    }
}
