//! Who tells people from programs, handed in: a provider of captchas in production, nobody where none is configured. An environment that
//! has bot detection on asks for a token before each step of a login that sends a mail or tries a code.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use crate::core::Core;
use crate::environments::{CustomDomainStatus, Environment};
use crate::error::Result;
use crate::ids::EnvId;
use crate::users;

/// A token that is being looked at.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Unverified>> + Send + 'a>>;

/// Who tells people from programs.
pub trait Captcha: fmt::Debug + Send + Sync + 'static {
    /// What a page shows. None: nobody is configured.
    fn widget(&self) -> Option<&Widget>;

    /// Asks whether a token is good, which uses it up. `address` is the browser's.
    fn verify<'a>(&'a self, token: &'a str, address: Option<IpAddr>) -> Verifying<'a>;
}

/// The providers: their protocols are one, what they put on a page differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the products' names
pub enum Provider {
    Recaptcha,
    Hcaptcha,
    Turnstile,
}

impl Provider {
    /// As in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recaptcha => "recaptcha",
            Self::Hcaptcha => "hcaptcha",
            Self::Turnstile => "turnstile",
        }
    }
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widget {
    /// Whose it is.
    pub provider: Provider,
    /// The public half of the key.
    pub site_key: String,
    /// The script that draws it, if not where the provider has it.
    pub script_url: Option<String>,
}

/// What a verifier says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A person has solved it, on a page of this host if the provider tells.
    Passed {
        /// Host name without a port.
        hostname: Option<String>,
    },
    /// It is wrong, too old, or was used before.
    Refused,
}

/// No verdict: the verifier is out of reach or wrongly set up. The text is for the operator, and has neither token nor secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified(pub String);

/// Nobody: for installations without a provider.
#[derive(Debug, Clone, Copy)]
pub struct NoCaptcha;

impl Captcha for NoCaptcha {
    fn widget(&self) -> Option<&Widget> {
        None
    }

    fn verify<'a>(&'a self, _token: &'a str, _address: Option<IpAddr>) -> Verifying<'a> {
        Box::pin(async { Err(Unverified("captcha.provider is not set".to_owned())) })
    }
}

/// Longest token, in bytes. hCaptcha's, the longest, have some 2,000.
const LONGEST: usize = 8 * 1024;

/// Whether an environment asks for tokens.
pub async fn is_on(core: &Core, environment: EnvId) -> Result<bool> {
    Ok(users::user_management(core, environment).await?.enable_bot_detection)
}

/// What the pages of an environment show; None if it asks for no tokens, or if nobody is there to draw one.
pub async fn widget(core: &Core, environment: EnvId) -> Result<Option<&Widget>> {
    Ok(if is_on(core, environment).await? { core.captcha.widget() } else { None })
}

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It does: a person sends it, or nobody asks.
    Passed,
    /// It has no token, or none that is good.
    Refused,
    /// Nobody can tell at the moment, and the environment lets nobody through unseen.
    Unavailable,
}

/// Looks at the token of a request. Where nobody asks for one, none is looked at.
pub async fn check(core: &Core, environment: &Environment, token: &str, address: Option<IpAddr>) -> Result<Check> {
    let settings = users::user_management(core, environment.id).await?;
    if !settings.enable_bot_detection {
        return Ok(Check::Passed);
    }
    // A browser gets no token from a provider that is down. To tell that from a program that has brought none, the verifier is asked
    // about nothing, but only where the answer can make a difference.
    let is_worth_asking = if token.is_empty() { settings.enable_fail_open } else { is_well_formed(token) };
    if !is_worth_asking {
        return Ok(Check::Refused);
    }
    let environment_id = environment.id.to_string();
    Ok(match core.captcha.verify(token, address).await {
        Ok(Verdict::Passed { hostname }) if hostname.as_deref().is_none_or(|host| is_host_of(environment, host)) => {
            Check::Passed
        }
        Ok(Verdict::Passed { .. }) => {
            tracing::warn!(environment_id, "a captcha was solved on a page of another host, and is refused");
            Check::Refused
        }
        Ok(Verdict::Refused) => Check::Refused,
        Err(Unverified(reason)) if settings.enable_fail_open => {
            tracing::warn!(environment_id, reason, "a captcha cannot be verified: a login goes on without");
            Check::Passed
        }
        Err(Unverified(reason)) => {
            tracing::error!(environment_id, reason, "a captcha cannot be verified: a login is held up");
            Check::Unavailable
        }
    })
}

/// The characters of tokens (RFC 6750 §2.1, and the colon of a self-hosted verifier). What a firewall in front of a verifier would block is
/// refused here: its refusal would look like an outage, which lets people through.
fn is_well_formed(token: &str) -> bool {
    token.len() <= LONGEST && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(&byte))
}

/// Whether a host, as a provider names it, is one at which this environment is reached. Whoever shows our widget on a page of their own
/// could spend the tokens of their visitors here.
fn is_host_of(environment: &Environment, host: &str) -> bool {
    let name = |domain: &str| domain.rsplit_once(':').map_or(domain, |(name, _)| name).to_owned();
    let own = name(&environment.domain);
    let custom = environment.custom_domain.as_deref();
    let custom = custom.filter(|_| environment.custom_domain_status == CustomDomainStatus::Active);
    // `narthex dev` answers to every name of its machine.
    let is_local = |host: &str| host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]";
    own.eq_ignore_ascii_case(host)
        || custom.is_some_and(|custom| custom.eq_ignore_ascii_case(host))
        || is_local(&own) && is_local(host)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, is_well_formed};

    #[test]
    fn sec_02_no_verifier_is_asked_about_what_is_no_token() {
        for token in ["03AGdBq27-x_Y", "0.aZ_9.b-1", "P1_eyJ0.eyJw.c2ln", "key:id:secret", "YWJj+/=="] {
            assert!(is_well_formed(token), "{token}");
        }
        for token in ["a b", "<script>", "a'--", "a\r\nb", "ä", "a%00", &*"a".repeat(LONGEST + 1)] {
            assert!(!is_well_formed(token), "{token}");
        }
    }
}
