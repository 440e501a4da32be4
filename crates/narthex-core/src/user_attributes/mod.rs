//! The registry of user attributes: which attributes of a user can be mapped from an identity provider or a directory. Values live with
//! the users; an attribute that is deleted leaves them.

mod standard;
mod store;

use std::sync::Arc;

use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::EnvId;
use crate::organizations::share;

/// Which of an environment's two lists. The numbers are those of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catalogue {
    /// Attributes of the profile, which sign-on fills.
    SignOn = 1,
    /// Attributes that a directory sends.
    Directory = 2,
}

/// The type of an attribute's values, with the numbers of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the wire's names
pub enum Datatype {
    String = 1,
    Number = 2,
    Bool = 3,
    Array = 4,
    Object = 5,
}

impl Datatype {
    /// The type with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::String, Self::Number, Self::Bool, Self::Array, Self::Object].into_iter().find(|&t| t as i32 == number)
    }
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAttribute {
    /// Key, unique in its catalogue; never changes.
    pub key: String,
    /// Whether every environment has it: then it can be switched but not deleted.
    pub is_standard: bool,
    /// What can change.
    pub definition: Definition,
}

/// What can change of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Whether it can be mapped.
    pub enabled: bool,
    /// Whether a login or a directory user without it is incomplete.
    pub required: bool,
    /// Name for people.
    pub label: String,
    /// Type of its values.
    pub datatype: Datatype,
    /// Name that a new SAML connection maps from; in the catalogue of directories it says nothing.
    pub saml_mapping: String,
    /// Name that a new OIDC connection maps from; in the catalogue of directories it says nothing.
    pub oidc_mapping: String,
}

/// An attribute to be made, or what an attribute is to become. A mapping that is absent is the key for a new attribute, and stays for
/// one that exists.
#[derive(Debug, Clone)]
pub struct NewDefinition {
    /// Whether it can be mapped.
    pub enabled: bool,
    /// Whether a login or a directory user without it is incomplete.
    pub required: bool,
    /// Name for people.
    pub label: String,
    /// Type of its values.
    pub datatype: Datatype,
    /// SAML and OIDC names that new connections map from.
    pub mappings: Option<(String, String)>,
}

impl NewDefinition {
    /// A text that is equal exactly for equal requests.
    pub fn fingerprint(&self, key: &str) -> String {
        serde_json::json!([key, self.enabled, self.required, self.label, self.datatype as i32, self.mappings])
            .to_string()
    }

    fn over(&self, mappings: (String, String)) -> Definition {
        let (saml_mapping, oidc_mapping) = self.mappings.clone().unwrap_or(mappings);
        Definition {
            enabled: self.enabled,
            required: self.required,
            label: self.label.clone(),
            datatype: self.datatype,
            saml_mapping,
            oidc_mapping,
        }
    }
}

/// Keys that no custom attribute has, in any case: claims of our own tokens, and names that SDKs decode into fixed types (single
/// sign-on reference §7.2).
const RESERVED: [&str; 32] = [
    "roles",
    "permissions",
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "sub",
    "oid",
    "sid",
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "azp",
    "amr",
    "acr",
    "nonce",
    "at_hash",
    "c_hash",
    "client_id",
    "scope",
    "xoid",
    "xuid",
    "identities",
    "metadata",
    "updated_at",
    "profile",
    "birthdate",
    "zoneinfo",
];

/// All attributes of a catalogue: the standard ones in their order, then the custom ones, oldest first.
pub async fn list(core: &Core, environment: EnvId, catalogue: Catalogue) -> Result<Vec<UserAttribute>> {
    let mut stored = core.db.read(async move |tx| store::all(tx, environment, catalogue).await).await?;
    let mut attributes = standard::attributes(catalogue);
    for standard in &mut attributes {
        if let Some(at) = stored.iter().position(|(key, _)| *key == standard.key) {
            standard.definition = stored.remove(at).1;
        }
    }
    let custom = |(key, definition)| UserAttribute { key, is_standard: false, definition };
    attributes.extend(stored.into_iter().map(custom));
    Ok(attributes)
}

/// Registers a custom attribute. A reserved key is INVALID_ARGUMENT, and so is one that the catalogue has; the unique index decides,
/// not a look before.
pub async fn create(
    core: &Core,
    environment: EnvId,
    catalogue: Catalogue,
    key: String,
    new: NewDefinition,
    idempotency: Option<IdempotencyKey>,
) -> Result<UserAttribute> {
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&key)) {
        return Err(Error::invalid("user_attribute.key", "user_attribute.key.reserved", "is reserved"));
    }
    if standard::find(catalogue, &key).is_some() {
        return Err(Error::duplicate("key"));
    }
    let now = core.clock.now();
    let definition = new.over((key.clone(), key.clone()));
    let attribute = UserAttribute { key, is_standard: false, definition };
    let creation = Arc::new((core.ids.next(), attribute, idempotency));
    idempotency::past_twins(creation.2.as_ref(), || {
        let (id, creation) = (creation.0, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| Ok(store::by_id(tx, environment, catalogue, id).await?.is_some()),
            async move |tx| {
                let (id, attribute, key) = &*creation;
                if let Some(key) = key
                    && let Some(earlier) = idempotency::find(tx, key, now).await?
                {
                    let earlier = store::by_id(tx, environment, catalogue, earlier).await?.ok_or_else(not_found)?;
                    return Ok(UserAttribute { key: earlier.0, is_standard: false, definition: earlier.1 });
                }
                store::insert(tx, *id, environment, catalogue, attribute, now).await?;
                if let Some(key) = key {
                    idempotency::remember(tx, key, *id, now).await?;
                }
                Ok::<_, Error>(attribute.clone())
            },
        )
    })
    .await
    .map_err(|error| match error.database() {
        Some(cause) if cause.is_unique_on("user_attributes.key") => Error::duplicate("key"),
        _ => error,
    })
}

/// Changes an attribute. Of the standard ones `sub` and `email` never change, and none gets another type.
pub async fn update(
    core: &Core,
    environment: EnvId,
    catalogue: Catalogue,
    key: String,
    change: NewDefinition,
) -> Result<UserAttribute> {
    let (now, id) = (core.clock.now(), core.ids.next());
    core.db
        .write_for(share(environment), async move |tx| {
            let stored = store::find(tx, environment, catalogue, &key).await?;
            let standard = standard::find(catalogue, &key);
            let before = match (&stored, &standard) {
                (Some(stored), _) => stored.clone(),
                (None, Some(standard)) => standard.definition.clone(),
                (None, None) => return Err(not_found()),
            };
            let after = change.over((before.saml_mapping.clone(), before.oidc_mapping.clone()));
            let is_standard = standard.is_some();
            if is_standard && after != before {
                if matches!(key.as_str(), "sub" | "email") {
                    return Err(Error::new(Kind::FailedPrecondition, "the attributes sub and email cannot be changed"));
                }
                if after.datatype != before.datatype {
                    let text = "cannot be changed for a standard attribute";
                    return Err(Error::invalid("user_attribute.datatype", "user_attribute.standard", text));
                }
            }
            let attribute = UserAttribute { key: key.clone(), is_standard, definition: after };
            if attribute.definition == before {
                return Ok(attribute);
            }
            if stored.is_some() {
                store::update(tx, environment, catalogue, &attribute, now).await?;
            } else {
                store::insert(tx, id, environment, catalogue, &attribute, now).await?;
            }
            Ok(attribute)
        })
        .await
}

/// Deletes a custom attribute.
pub async fn delete(core: &Core, environment: EnvId, catalogue: Catalogue, key: String) -> Result<()> {
    if standard::find(catalogue, &key).is_some() {
        return Err(Error::new(Kind::FailedPrecondition, "standard attributes cannot be deleted"));
    }
    core.db
        .write_for(share(environment), async move |tx| {
            if store::delete(tx, environment, catalogue, &key).await? { Ok(()) } else { Err(not_found()) }
        })
        .await
}

/// The answer to a key that is no attribute of the catalogue.
pub fn not_found() -> Error {
    Error::not_found("user attribute")
}
