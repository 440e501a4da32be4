//! Users: the people of an environment, one record per address, shared by the organizations that they are members of.

mod change;
mod delete;
mod events;
mod list;
mod login;
mod read;
mod search;
mod settings;
mod signup;
mod store;
mod support;
mod validation;

use std::collections::BTreeMap;

pub(crate) use change::duplicate;
pub use change::update;
pub(crate) use delete::remove;
pub use delete::{ERASE, delete, erase, recount};
pub(crate) use events::{append, data, member_data};
pub use list::{LIST, SEARCH, list, list_of_organization, search};
pub(crate) use login::{ProvenBy, introduce, proven, record_login, store_new};
pub use read::{ExternalIdentity, View, get, of_organization};
pub(crate) use read::{list_of, view, views, with_ids};
pub(crate) use search::{index_pending, mark, text as search_text};
pub(crate) use settings::load as load_user_management;
pub use settings::{UserManagement, UserManagementPatch, set_user_management, update_user_management, user_management};
pub use signup::{SignUpRefusal, check_signup, is_signup_open};
pub(crate) use store::{insert, load, load_by_email, set_email_verified};
pub use support::support_hash;
pub(crate) use validation::{email as validate_email, key_of, new as validate_new};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{EnvId, UserId, UserProfileId};
use crate::organizations::Patch;

/// Name of the total of an environment's users.
pub(crate) const NOUN: &str = "users";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Address as it was given; never changes. Compared without regard to letter case.
    pub email: String,
    /// The application's own id for it, unique in the environment.
    pub external_id: Option<String>,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
    /// Who it is.
    pub profile: Profile,
    /// Last successful login.
    pub last_login_at: Option<Timestamp>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What is known of a person. Texts are empty where nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Id.
    pub id: UserProfileId,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Whole name; not derived from the other two.
    pub name: String,
    /// BCP 47.
    pub locale: String,
    /// Whether the person has proven to read mail at the address, or somebody trusted says so.
    pub email_verified: bool,
    /// Telephone number as it was given.
    pub phone_number: String,
    /// Whether the person has proven to have that number.
    pub phone_number_verified: bool,
    /// User name.
    pub preferred_username: String,
    /// URL of a picture.
    pub picture: String,
    /// Gender, any text.
    pub gender: String,
    /// Groups, as a directory or identity provider names them.
    pub groups: Vec<String>,
    /// Raw attributes.
    pub metadata: BTreeMap<String, String>,
    /// Values of registered attributes, and of others.
    pub custom_attributes: BTreeMap<String, String>,
}

impl Profile {
    /// One that says nothing.
    pub fn empty(id: UserProfileId) -> Self {
        Self {
            id,
            given_name: String::new(),
            family_name: String::new(),
            name: String::new(),
            locale: String::new(),
            email_verified: false,
            phone_number: String::new(),
            phone_number_verified: false,
            preferred_username: String::new(),
            picture: String::new(),
            gender: String::new(),
            groups: Vec::new(),
            metadata: BTreeMap::new(),
            custom_attributes: BTreeMap::new(),
        }
    }
}

/// A user to be made.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Address.
    pub email: String,
    /// The application's own id; an empty one is none.
    pub external_id: Option<String>,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
    /// Who it is.
    pub profile: ProfilePatch,
}

/// A change of a user. Absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// The application's own id.
    pub external_id: Patch<String>,
    /// All metadata, in place of the old.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Who it is.
    pub profile: ProfilePatch,
}

/// A change of a profile. Absent fields stay; an empty text clears; lists and maps replace as a whole.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[allow(missing_docs)] // the fields of `Profile`
pub struct ProfilePatch {
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    pub name: Option<String>,
    pub locale: Option<String>,
    pub phone_number: Option<String>,
    pub preferred_username: Option<String>,
    pub picture: Option<String>,
    pub gender: Option<String>,
    pub groups: Option<Vec<String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub custom_attributes: Option<BTreeMap<String, String>>,
}

impl ProfilePatch {
    /// Writes what is given into `profile`.
    pub fn apply(&self, profile: &mut Profile) {
        fn put<T: Clone>(from: Option<&T>, to: &mut T) {
            if let Some(value) = from {
                to.clone_from(value);
            }
        }
        // A number that changes is not the one that was proven.
        if self.phone_number.as_ref().is_some_and(|number| *number != profile.phone_number) {
            profile.phone_number_verified = false;
        }
        put(self.given_name.as_ref(), &mut profile.given_name);
        put(self.family_name.as_ref(), &mut profile.family_name);
        put(self.name.as_ref(), &mut profile.name);
        put(self.locale.as_ref(), &mut profile.locale);
        put(self.phone_number.as_ref(), &mut profile.phone_number);
        put(self.preferred_username.as_ref(), &mut profile.preferred_username);
        put(self.picture.as_ref(), &mut profile.picture);
        put(self.gender.as_ref(), &mut profile.gender);
        put(self.groups.as_ref(), &mut profile.groups);
        put(self.metadata.as_ref(), &mut profile.metadata);
        put(self.custom_attributes.as_ref(), &mut profile.custom_attributes);
    }
}

/// How a caller names a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By its id.
    Id(UserId),
    /// By the application's own id.
    ExternalId(String),
}

/// What a user is called, as far as it is known.
pub(crate) fn name_of(user: &User) -> String {
    let profile = &user.profile;
    let given = if profile.name.trim().is_empty() {
        format!("{} {}", profile.given_name, profile.family_name)
    } else {
        profile.name.clone()
    };
    given.trim().to_owned()
}

/// The answer to an identity that is no user there.
pub fn not_found() -> Error {
    Error::not_found(UserId::NOUN)
}
