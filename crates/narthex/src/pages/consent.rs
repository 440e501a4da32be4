//! Consent to what a third party's client may do.

use super::{Frame, Page, fill, initial, look};

/// Who asks. Of a client that registered itself everything here is its own claim.
#[derive(Debug, Clone, Default)]
pub struct Client<'a> {
    /// Name.
    pub name: &'a str,
    /// Whether an operator made it: only then is it shown without a warning, with its logo.
    pub verified: bool,
    /// Logo.
    pub logo_url: Option<&'a str>,
    /// Where it says it comes from: the host of its metadata document, if it has one.
    pub host: Option<&'a str>,
    /// Its privacy policy.
    pub privacy_url: Option<&'a str>,
    /// Its terms.
    pub terms_url: Option<&'a str>,
}

/// Something it wants to do.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    /// Name, the value of the checkbox.
    pub name: &'a str,
    /// For people; the name stands for it when it is empty.
    pub description: &'a str,
    /// Whether it can be unticked.
    pub optional: bool,
}

/// The consent page. Posts `decision` (`allow` or `deny`) and `scope` (the optional ones that are ticked, repeated) to `action`; nothing but
/// `csrf` to `switch_account`.
#[derive(Debug, askama::Template)]
#[template(path = "consent.html")]
pub struct Consent<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Form target for another account.
    pub switch_account: Option<&'a str>,
    /// Name of what is to be opened.
    pub resource: &'a str,
    /// Its logo.
    pub resource_logo_url: Option<&'a str>,
    /// Who asks.
    pub client: Client<'a>,
    /// What it wants.
    pub scopes: Vec<Scope<'a>>,
    /// Which of `profile`, `email` and the like it wants, in words: shown in one line.
    pub identity: Vec<&'a str>,
    /// Who is logged in.
    pub email: &'a str,
    /// The organization that this is for.
    pub organization: Option<&'a str>,
    /// Host of the environment, which asks.
    pub host: &'a str,
    /// Host of the redirect URI, or its scheme if it has no host.
    pub redirect_host: &'a str,
}

impl Consent<'_> {
    fn client_name(&self) -> String {
        look::text(self.client.name)
            .or_else(|| self.client.host.and_then(look::text))
            .unwrap_or_else(|| self.redirect_host.to_owned())
    }

    fn heading(&self) -> String {
        fill(self.frame.texts.consent_title, &[("client", &self.client_name()), ("resource", self.resource)])
    }

    fn warning(&self) -> String {
        fill(self.frame.texts.consent_unverified_note, &[("client", &self.client_name())])
    }

    fn client_initial(&self) -> String {
        initial(&self.client_name()).unwrap_or_default()
    }

    fn resource_initial(&self) -> String {
        initial(self.resource).unwrap_or_default()
    }

    /// A stranger's picture is not fetched: it would tell the stranger who is asked, and could be anybody's logo.
    fn client_logo(&self) -> Option<String> {
        self.client.logo_url.filter(|_| self.client.verified).and_then(look::image_url)
    }

    fn resource_logo(&self) -> Option<String> {
        self.resource_logo_url.and_then(look::image_url)
    }

    fn privacy(&self) -> Option<String> {
        self.client.privacy_url.and_then(look::web_url)
    }

    fn terms(&self) -> Option<String> {
        self.client.terms_url.and_then(look::web_url)
    }

    fn has_choice(&self) -> bool {
        self.scopes.iter().any(|scope| scope.optional)
    }

    fn in_organization(&self) -> Option<String> {
        self.organization
            .and_then(look::text)
            .map(|name| fill(self.frame.texts.consent_for, &[("organization", &name)]))
    }

    fn going_to(&self) -> String {
        fill(self.frame.texts.consent_goes_to, &[("host", self.redirect_host)])
    }

    fn requested_by(&self) -> String {
        fill(self.frame.texts.consent_requested_by, &[("host", self.host)])
    }

    fn identity_line(&self) -> Option<String> {
        (!self.identity.is_empty())
            .then(|| fill(self.frame.texts.consent_identity, &[("what", &self.identity.join(", "))]))
    }
}

impl Page for Consent<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    fn images(&self) -> Vec<&str> {
        let client = self.client.logo_url.filter(|_| self.client.verified);
        client.into_iter().chain(self.resource_logo_url).collect()
    }
}
