//! Who may become a user: what an environment's settings say of sign-up, and of the addresses that come from outside
//! (orgs-users-rbac reference §4.7).

use super::{UserManagement, user_management};
use crate::core::Core;
use crate::domains;
use crate::environments::{AuthenticationMode, Environment};
use crate::error::{Error, Result};

/// Why somebody cannot sign up. Nothing in it depends on whether there is a user with the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUpRefusal {
    /// Nobody can.
    Closed,
    /// Not with an address at a provider where anybody can have one.
    PublicDomain,
    /// Not with an address to throw away.
    DisposableDomain,
}

impl SignUpRefusal {
    /// For people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Closed => "sign up is not allowed",
            Self::PublicDomain => "addresses at public e-mail providers are not allowed",
            Self::DisposableDomain => "disposable e-mail addresses are not allowed",
        }
    }

    const fn rule(self) -> &'static str {
        match self {
            Self::Closed => "sign_up.closed",
            Self::PublicDomain => "email.public_domain",
            Self::DisposableDomain => "email.disposable_domain",
        }
    }
}

impl UserManagement {
    /// Why an address can neither sign up nor be invited. Users who have it already are not asked.
    pub fn refusal_of(&self, email: &str) -> Option<SignUpRefusal> {
        // Addresses are ASCII only, so lower case is the kept form of the domain.
        let domain = email.trim().rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase())?;
        if self.block_disposable_email_domains && domains::is_disposable(&domain) {
            return Some(SignUpRefusal::DisposableDomain);
        }
        (self.block_public_email_domains && domains::is_public(&domain)).then_some(SignUpRefusal::PublicDomain)
    }

    /// INVALID_ARGUMENT that names `field` for an address that cannot be invited.
    pub(crate) fn check_invited(&self, field: &str, email: &str) -> Result<()> {
        match self.refusal_of(email) {
            Some(refusal) => Err(Error::invalid(field, refusal.rule(), refusal.message())),
            None => Ok(()),
        }
    }
}

/// Why nobody with this address may sign up and make an organization; `None` if they may. For a login that has found no user: ask
/// after the address is proven, so that the answer is the same for known and unknown ones.
pub async fn check_signup(core: &Core, environment: &Environment, email: &str) -> Result<Option<SignUpRefusal>> {
    if !is_signup_open(core, environment).await? {
        return Ok(Some(SignUpRefusal::Closed));
    }
    Ok(user_management(core, environment.id).await?.refusal_of(email))
}

/// Whether strangers may sign up: what shows or hides the way to the sign-up page. The product's own environment is for operators,
/// whom a workspace makes.
pub async fn is_signup_open(core: &Core, environment: &Environment) -> Result<bool> {
    Ok(!environment.is_system
        && environment.authentication_mode == AuthenticationMode::FullStack
        && user_management(core, environment.id).await?.allow_organization_signup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom_03_sso_56_blocked_domains_are_those_of_the_lists_and_below() {
        let both = UserManagement {
            block_disposable_email_domains: true,
            block_public_email_domains: true,
            ..UserManagement::default()
        };
        for (email, refusal) in [
            ("ann@gmail.com", Some(SignUpRefusal::PublicDomain)),
            ("ann@GMail.COM", Some(SignUpRefusal::PublicDomain)),
            ("ann@mail.yahoo.com", Some(SignUpRefusal::PublicDomain)),
            ("\"a@gmail.com\"@acme.com", None),
            ("ann@mailinator.com", Some(SignUpRefusal::DisposableDomain)),
            (" ann@x.mailinator.com ", Some(SignUpRefusal::DisposableDomain)),
            ("ann@notgmail.com", None),
            ("ann@gmail.com.acme.com", None),
            ("ann@acme.com", None),
        ] {
            assert_eq!(both.refusal_of(email), refusal, "{email}");
            assert_eq!(UserManagement::default().refusal_of(email), None, "{email}");
        }
        let public = UserManagement { block_public_email_domains: true, ..UserManagement::default() };
        assert_eq!(public.refusal_of("ann@mailinator.com"), None);
        let disposable = UserManagement { block_disposable_email_domains: true, ..UserManagement::default() };
        assert_eq!(disposable.refusal_of("ann@gmail.com"), None);
    }
}
