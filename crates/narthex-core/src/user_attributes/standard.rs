//! The attributes that every environment has.

use super::{Catalogue, Datatype, Definition, UserAttribute};

/// Key, label, type, and whether it can be mapped from the start.
type Row = (&'static str, &'static str, Datatype, bool);

/// The profile's (control plane reference §8), in the order in which they are shown.
const SIGN_ON: &[Row] = &[
    ("sub", "ID", Datatype::String, true),
    ("email", "Email", Datatype::String, true),
    ("given_name", "First name", Datatype::String, true),
    ("family_name", "Last name", Datatype::String, true),
    ("email_verified", "Email verified", Datatype::Bool, false),
    ("phone_number", "Phone number", Datatype::String, false),
    ("phone_number_verified", "Phone number verified", Datatype::Bool, false),
    ("name", "Full name", Datatype::String, false),
    ("preferred_username", "Username", Datatype::String, false),
    ("picture", "Picture", Datatype::String, false),
    ("locale", "Locale", Datatype::String, false),
    ("gender", "Gender", Datatype::String, false),
    ("groups", "Groups", Datatype::Array, false),
];

/// A directory user's (SCIM reference §11.2), which are read whether or not anybody maps them.
const DIRECTORY: &[Row] = &[
    ("email", "Email", Datatype::String, true),
    ("given_name", "First name", Datatype::String, true),
    ("family_name", "Last name", Datatype::String, true),
    ("name", "Full name", Datatype::String, true),
    ("preferred_username", "Username", Datatype::String, true),
    ("active", "Active", Datatype::Bool, true),
    ("emails", "Email addresses", Datatype::Array, true),
    ("nickname", "Nickname", Datatype::String, true),
    ("profile", "Profile URL", Datatype::String, true),
    ("title", "Job title", Datatype::String, true),
    ("user_type", "User type", Datatype::String, true),
    ("picture", "Picture", Datatype::String, true),
    ("phone_number", "Phone number", Datatype::String, true),
    ("language", "Language", Datatype::String, true),
    ("locale", "Locale", Datatype::String, true),
    ("zoneinfo", "Time zone", Datatype::String, true),
    ("address", "Address", Datatype::Object, true),
    ("employee_id", "Employee ID", Datatype::String, true),
    ("department", "Department", Datatype::String, true),
    ("division", "Division", Datatype::String, true),
    ("cost_center", "Cost center", Datatype::String, true),
    ("organization", "Organization", Datatype::String, true),
    ("groups", "Groups", Datatype::Array, true),
    ("roles", "Roles", Datatype::Array, true),
];

fn rows(catalogue: Catalogue) -> &'static [Row] {
    match catalogue {
        Catalogue::SignOn => SIGN_ON,
        Catalogue::Directory => DIRECTORY,
    }
}

fn attribute(&(key, label, datatype, enabled): &Row) -> UserAttribute {
    UserAttribute {
        key: key.to_owned(),
        is_standard: true,
        definition: Definition {
            enabled,
            // Without an address nobody can be told apart, so a login without one fails (single sign-on reference §5.3).
            required: matches!(key, "sub" | "email"),
            label: label.to_owned(),
            datatype,
            saml_mapping: key.to_owned(),
            oidc_mapping: key.to_owned(),
        },
    }
}

/// All of a catalogue, as they are from the start.
pub(super) fn attributes(catalogue: Catalogue) -> Vec<UserAttribute> {
    rows(catalogue).iter().map(attribute).collect()
}

/// The one with this key.
pub(super) fn find(catalogue: Catalogue, key: &str) -> Option<UserAttribute> {
    rows(catalogue).iter().find(|row| row.0 == key).map(attribute)
}
