//! Passkeys of the person who is logged in.

use super::{Frame, Page, fill};

/// Offered after a login by mail. The script calls `begin` and `finish` (WebAuthnService); then, as after `skip`, the browser goes on with a
/// POST of nothing but `csrf` to `next`.
#[derive(Debug, askama::Template)]
#[template(path = "offer_passkey.html")]
pub struct OfferPasskey<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// BeginRegistration.
    pub begin: &'a str,
    /// FinishRegistration.
    pub finish: &'a str,
    /// Form target after the passkey was made, or was not wanted.
    pub next: &'a str,
}

/// A passkey in the list.
#[derive(Debug, Clone, Default)]
pub struct PasskeyRow<'a> {
    /// Id (`cred_…`).
    pub id: &'a str,
    /// Its name: given by the user, else the authenticator's.
    pub name: &'a str,
    /// The authenticator, browser, system and place where it was made, as far as known.
    pub details: Vec<&'a str>,
    /// When it was made, for people.
    pub created: &'a str,
    /// When it was used last, for people.
    pub used: Option<&'a str>,
    /// Whether the authenticator keeps it in an account, so that it outlives the device.
    pub synced: bool,
}

impl PasskeyRow<'_> {
    fn times(&self, frame: &Frame<'_>) -> [String; 2] {
        let texts = frame.texts;
        let used = match self.used {
            Some(when) => fill(texts.used, &[("when", when)]),
            None => texts.never_used.to_owned(),
        };
        [fill(texts.created, &[("when", self.created)]), used]
    }
}

/// `/ui/profile/passkeys`. Posts `credential` and `display_name` to `rename`, `credential` to `delete`, nothing but `csrf` to `logout`; the
/// script calls `begin` and `finish` and loads the page again.
#[derive(Debug, askama::Template)]
#[template(path = "passkeys.html")]
pub struct Passkeys<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// BeginRegistration.
    pub begin: &'a str,
    /// FinishRegistration.
    pub finish: &'a str,
    /// ListCredentials: what the browser is told of the passkeys that are left.
    pub list: &'a str,
    /// Form target.
    pub rename: &'a str,
    /// Form target.
    pub delete: &'a str,
    /// Form target.
    pub logout: &'a str,
    /// Who is logged in.
    pub email: &'a str,
    /// Newest first.
    pub passkeys: Vec<PasskeyRow<'a>>,
    /// Whether another one can be made.
    pub may_add: bool,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
}

impl Page for OfferPasskey<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}

impl Page for Passkeys<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}
