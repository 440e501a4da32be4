//! The hosted pages: what a person sees between the application's login link and its callback. One struct per page holds everything that
//! the page shows; [`Page::render`] makes the answer, headers included. No page reads a database, keeps state or needs JavaScript, but for
//! WebAuthn, which has no other form.
//!
//! Every form posts `application/x-www-form-urlencoded` with the hidden field `csrf`. The other fields are named at each page. Selectors
//! that customers' browser tests rely on (login-methods reference §2.2) are API: `input[name="email"]`, a submit button named exactly
//! `Continue`, `[data-scope="pin-input"][data-part="input"]`.

mod assets;
mod captcha;
mod color;
mod consent;
pub mod gallery;
mod invitations;
mod login;
mod look;
mod notices;
mod organizations;
mod passkeys;
mod texts;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

pub use assets::{Assets, PREFIX as ASSETS};
pub use captcha::Captcha;
pub use consent::{Client, Consent, Scope};
pub use invitations::{AcceptInvitation, InvitationAccepted, InvitationEnded, InvitationEnding};
pub use login::{
    Answer, ConfirmLink, ContinuedElsewhere, EnterCode, EnterTotp, LinkSent, Method, Methods, Passkey, Provider,
    SignIn, SignUp, Social,
};
pub use look::{Alignment, Look, OrganizationLook, Unusable};
pub use notices::{ConfirmSignOut, EnableCookies, Failure, Notice, SignedOut};
pub use organizations::{Choice, ChooseOrganization, CreateOrganization};
pub use passkeys::{OfferPasskey, PasskeyRow, Passkeys};
pub use texts::{Texts, fill};

use crate::reply::Body;

/// The product's name, in the note at the foot of a page.
const PRODUCT: &str = "Narthex";

/// What every page shows besides its own content.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Branding.
    pub look: &'a Look,
    /// Language.
    pub texts: &'static Texts,
    /// The token that every form of the page carries; empty on pages without a form.
    pub csrf: &'a str,
    /// The redirect URI of the transaction, if the page belongs to one. Chromium holds the redirects that follow a POST to
    /// `form-action`, and where an application's callback leads on to is not known here: so a page of a transaction lets its forms end at
    /// any https address, and at what else this URI says (plain http, a scheme of its own). Pages of no transaction stay here.
    pub destination: Option<&'a str>,
    /// The captcha in the page's form, where its environment asks for one.
    pub captcha: Option<Captcha<'a>>,
}

impl<'a> Frame<'a> {
    /// A frame in English, without a form and a transaction.
    pub fn new(look: &'a Look) -> Self {
        Self { look, texts: Texts::of(""), csrf: "", destination: None, captcha: None }
    }

    /// What the application calls an organization, inside a sentence: `organization`.
    fn word(&self) -> String {
        let word = &self.look.organization_word;
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if letters.clone().all(|c| !c.is_uppercase()) => first.to_lowercase().chain(letters).collect(),
            _ => word.clone(),
        }
    }

    /// A text with that word in it.
    fn with_word(&self, text: &str) -> String {
        fill(text, &[("organization", &self.word())])
    }

    /// A title with that word in it, as a plural: `Your Organizations`.
    fn with_words(&self, text: &str) -> String {
        fill(text, &[("organizations", &self.texts.plural(&self.look.organization_word))])
    }

    /// A text at the start of which that word stands: `Organization name`.
    fn with_title(&self, text: &str) -> String {
        fill(text, &[("organization", &self.look.organization_word)])
    }

    fn passkey_label(&self) -> String {
        fill(self.texts.continue_with, &[("method", self.texts.passkey)])
    }

    /// Whose page this is: the organization's, else the application's.
    fn owner(&self) -> Option<&'a str> {
        let organization = self.look.organization.as_ref().map(|organization| organization.name.as_str());
        organization.or(self.look.app_name.as_deref())
    }

    /// The letter that stands for the owner where there is no logo.
    fn initial(&self) -> Option<String> {
        self.owner().and_then(initial)
    }

    fn logo(&self) -> Option<&'a str> {
        let organization = self.look.organization.as_ref().and_then(|organization| organization.logo_url.as_deref());
        organization.or(self.look.logo_url.as_deref())
    }

    /// The logo for dark pages: the application's, so only where the application's logo is shown.
    fn logo_dark(&self) -> Option<&'a str> {
        let own = self.look.organization.as_ref().is_some_and(|organization| organization.logo_url.is_some());
        self.look.logo_dark_url.as_deref().filter(|_| !own && self.look.logo_url.is_some())
    }

    fn powered_by(&self) -> String {
        fill(self.texts.powered_by, &[("product", PRODUCT)])
    }

    fn icon(&self) -> &'a str {
        self.look.favicon_url.as_deref().unwrap_or(assets::ICON.path())
    }

    fn policy(&self, images: &[String]) -> String {
        let mut sources: Vec<String> = self.look.image_origins();
        sources.extend_from_slice(images);
        sources.sort_unstable();
        sources.dedup();
        // A header has no room for the logos of hundreds of organizations.
        let images = if sources.len() > MOST_ORIGINS { "https:".to_owned() } else { sources.join(" ") };
        let style = self.look.css_source().unwrap_or_default();
        let font = self.look.font_origin().unwrap_or("'none'");
        let forms = match self.destination {
            None => "'self'".to_owned(),
            Some(uri) => match uri.split_once(':').map(|(scheme, _)| scheme) {
                Some(scheme) if scheme.eq_ignore_ascii_case("http") => "'self' https: http:".to_owned(),
                Some(scheme) if is_own_scheme(scheme) => format!("'self' https: {}:", scheme.to_ascii_lowercase()),
                _ => "'self' https:".to_owned(),
            },
        };
        let policy = format!(
            "default-src 'none'; base-uri 'none'; font-src {font}; form-action {forms}; frame-ancestors 'none'; img-src 'self' {images}"
        );
        match self.captcha.map(Captcha::sources) {
            None => format!(
                "{policy}; connect-src 'self'; script-src 'self'; style-src 'self' {style}; trusted-types 'none'; \
                 require-trusted-types-for 'script'"
            ),
            // The providers' scripts load others by URLs that are plain text, which trusted types refuse.
            Some(captcha::Sources { script, frame, connect, style: drawn }) => format!(
                "{policy}; connect-src 'self' {connect}; frame-src {frame}; script-src 'self' {script}; style-src 'self' {style} {drawn}"
            ),
        }
    }
}

/// Most origins of images that a policy names one by one.
const MOST_ORIGINS: usize = 24;

/// A scheme that an application registered for itself, as it may stand in a policy.
fn is_own_scheme(scheme: &str) -> bool {
    let known = ["https", "javascript", "data", "blob", "about", "file", "filesystem", "vbscript"];
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !known.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// The first letter or digit of a name, as a capital.
fn initial(name: &str) -> Option<String> {
    name.chars().find(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().collect())
}

/// A page that can be shown.
pub trait Page: askama::Template {
    /// What it shares with every page.
    fn frame(&self) -> &Frame<'_>;

    /// Status of the answer.
    fn status(&self) -> StatusCode {
        StatusCode::OK
    }

    /// URLs of the pictures that the page shows besides those of its look.
    fn images(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The answer.
    fn render(&self) -> Response<Body> {
        let html = askama::Template::render(self).unwrap_or_else(|error| {
            // Templates write to memory: they cannot fail, but if one does, nobody must see half a page.
            tracing::error!(?error, "a page cannot be rendered");
            String::new()
        });
        let status = if html.is_empty() { StatusCode::INTERNAL_SERVER_ERROR } else { self.status() };
        let images: Vec<String> =
            self.images().into_iter().filter_map(look::image_url).map(|url| look::origin(&url)).collect();
        let policy = self.frame().policy(&images);
        html_response(status, html, &policy)
    }
}

/// An HTML answer that no other site can frame, no cache keeps, and from which no address leaks to another site.
///
/// `Referrer-Policy` is `same-origin`, not `no-referrer`: other sites learn as little from either, but under the latter browsers send
/// `Origin: null` with the forms of a page, and the check of a form's origin would have to be dropped (Fetch, "append a request `Origin`
/// header").
fn html_response(status: StatusCode, html: String, policy: &str) -> Response<Body> {
    const FIXED: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    let mut response = Response::new(Body::Full(Full::new(Bytes::from(html))));
    *response.status_mut() = status;
    for (name, value) in FIXED {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Made of origins and schemes that have been checked: always a header's value. Without a policy no page leaves this server.
    match HeaderValue::from_str(policy) {
        Ok(policy) => {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Err(error) => {
            tracing::error!(?error, "a page has no policy");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            *response.body_mut() = Body::Full(Full::default());
        }
    }
    response
}

#[cfg(test)]
mod tests;
