//! The types of event (events reference §3), as data.

/// A type of event: what it is called on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// `type` of the envelope, e.g. `organization.created`.
    pub name: &'static str,
    /// `object` of the envelope: the `ObjectType` enum name in its mixed case.
    pub object: &'static str,
    /// `display_name` of the envelope; empty where the catalogue has none, and the key is then absent.
    pub label: &'static str,
    /// Sent only to endpoints that ask for this type by name.
    pub opt_in: bool,
}

macro_rules! catalogue {
    ($($(#[$opt_in:ident])? $constant:ident = $name:literal $object:ident $label:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: EventKind = EventKind {
                name: $name,
                object: stringify!($object),
                label: $label,
                opt_in: catalogue!(@ $($opt_in)?),
            };
        )*
        /// Every type, in the order of the reference.
        pub const CATALOGUE: &[EventKind] = &[$($constant),*];
    };
    (@) => { false };
    (@ opt_in) => { true };
}

catalogue! {
    ORGANIZATION_CREATED = "organization.created" Organization "Organization Created";
    ORGANIZATION_UPDATED = "organization.updated" Organization "Organization Updated";
    ORGANIZATION_DELETED = "organization.deleted" Organization "Organization Deleted";
    ORGANIZATION_DOMAIN_CREATED = "organization.domain_created" Organization "Organization Domain Created";
    ORGANIZATION_DOMAIN_DELETED = "organization.domain_deleted" Organization "Organization Domain Deleted";
    ORGANIZATION_DOMAIN_DNS_VERIFICATION_SUCCESS = "organization.domain_dns_verification_success" Organization
        "Organization Domain DNS Verification Success";
    ORGANIZATION_DOMAIN_DNS_VERIFICATION_FAILED = "organization.domain_dns_verification_failed" Organization
        "Organization Domain DNS Verification Failed";
    USER_SIGNUP = "user.signup" OrgMembership "User Signup";
    USER_LOGIN = "user.login" User "User Login";
    USER_LOGOUT = "user.logout" User "User Logout";
    USER_ORGANIZATION_INVITATION = "user.organization_invitation" OrgMembership "User Organization Invitation";
    USER_ORGANIZATION_MEMBERSHIP_CREATED = "user.organization_membership_created" OrgMembership
        "User Organization Membership Created";
    USER_ORGANIZATION_MEMBERSHIP_UPDATED = "user.organization_membership_updated" OrgMembership
        "User Organization Membership Updated";
    USER_ORGANIZATION_MEMBERSHIP_DELETED = "user.organization_membership_deleted" OrgMembership
        "User Organization Membership Deleted";
    ORGANIZATION_DIRECTORY_ENABLED = "organization.directory_enabled" Directory "Directory Enabled";
    ORGANIZATION_DIRECTORY_DISABLED = "organization.directory_disabled" Directory "Directory Disabled";
    #[opt_in]
    ORGANIZATION_DIRECTORY_CREATED = "organization.directory_created" Directory "Directory Created";
    #[opt_in]
    ORGANIZATION_DIRECTORY_DELETED = "organization.directory_deleted" Directory "Directory Deleted";
    DIRECTORY_USER_CREATED = "organization.directory.user_created" DirectoryUser "Directory User Created";
    DIRECTORY_USER_UPDATED = "organization.directory.user_updated" DirectoryUser "Directory User Updated";
    DIRECTORY_USER_DELETED = "organization.directory.user_deleted" DirectoryUser "Directory User Deleted";
    DIRECTORY_GROUP_CREATED = "organization.directory.group_created" DirectoryGroup "Directory Group Created";
    DIRECTORY_GROUP_UPDATED = "organization.directory.group_updated" DirectoryGroup "Directory Group Updated";
    DIRECTORY_GROUP_DELETED = "organization.directory.group_deleted" DirectoryGroup "Directory Group Deleted";
    SSO_CREATED = "organization.sso_created" Connection "SSO Connection Created";
    SSO_ENABLED = "organization.sso_enabled" Connection "SSO Connection Enabled";
    SSO_DISABLED = "organization.sso_disabled" Connection "SSO Connection Disabled";
    SSO_DELETED = "organization.sso_deleted" Connection "SSO Connection Deleted";
    ROLE_CREATED = "role.created" Role "Role Created";
    ROLE_UPDATED = "role.updated" Role "Role Updated";
    ROLE_DELETED = "role.deleted" Role "Role Deleted";
    PERMISSION_CREATED = "permission.created" Permission "Permission Created";
    PERMISSION_UPDATED = "permission.updated" Permission "Permission Updated";
    PERMISSION_DELETED = "permission.deleted" Permission "Permission Deleted";
    CONNECTED_ACCOUNT_CREATED = "connected_account.created" ConnectedAccount "";
    CONNECTED_ACCOUNT_UPDATED = "connected_account.updated" ConnectedAccount "Connected account updated";
    CONNECTED_ACCOUNT_STATUS_UPDATED = "connected_account.status_updated" ConnectedAccount "";
    CONNECTED_ACCOUNT_DELETED = "connected_account.deleted" ConnectedAccount "connected account deleted";
    CONNECTED_ACCOUNT_MAGIC_LINK_GENERATED = "connected_account.magic_link_generated" ConnectedAccount "";
    CONNECTED_ACCOUNT_OAUTH_SUCCEEDED = "connected_account.oauth_succeeded" ConnectedAccount "";
    CONNECTED_ACCOUNT_OAUTH_TOKENS_FETCHED = "connected_account.oauth_tokens_fetched" ConnectedAccount "";
    CONNECTED_ACCOUNT_TOKEN_REFRESH_SUCCEEDED = "connected_account.token_refresh_succeeded" ConnectedAccount "";
    CONNECTED_ACCOUNT_TOKEN_REFRESH_FAILED = "connected_account.token_refresh_failed" ConnectedAccount "";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalogue_holds_41_types_and_the_two_that_are_opt_in() {
        assert_eq!(CATALOGUE.iter().filter(|kind| !kind.opt_in).count(), 41);
        assert_eq!(CATALOGUE.iter().filter(|kind| kind.opt_in).count(), 2);
        let names: HashSet<_> = CATALOGUE.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }
}
