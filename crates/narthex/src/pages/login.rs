//! Proving who one is: login, sign-up, codes and links.

use http::StatusCode;

use super::{Frame, Page, fill};

/// A company that people can log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the companies' names
pub enum Provider {
    Google,
    Microsoft,
    GitHub,
    GitLab,
    LinkedIn,
    Salesforce,
    /// Any other, shown without a sign.
    Other,
}

/// A social login.
#[derive(Debug, Clone)]
pub struct Social<'a> {
    /// For its sign.
    pub provider: Provider,
    /// What it is called, e.g. `Google`; the button says `Continue with Google`.
    pub name: &'a str,
    /// The text of the button, if the connection has one of its own.
    pub title: Option<&'a str>,
    /// Where the login starts (GET).
    pub href: &'a str,
}

impl Social<'_> {
    fn label(&self, frame: &Frame<'_>) -> String {
        self.title.map_or_else(|| fill(frame.texts.continue_with, &[("method", self.name)]), str::to_owned)
    }

    /// The company's sign, drawn simply: constant markup.
    fn sign(&self) -> &'static str {
        match self.provider {
            Provider::Google => GOOGLE,
            Provider::Microsoft => MICROSOFT,
            Provider::GitHub => GITHUB,
            Provider::GitLab => GITLAB,
            Provider::LinkedIn => LINKEDIN,
            Provider::Salesforce => SALESFORCE,
            Provider::Other => "",
        }
    }
}

const GOOGLE: &str = include_str!("assets/google.svg");
const MICROSOFT: &str = include_str!("assets/microsoft.svg");
const GITHUB: &str = include_str!("assets/github.svg");
const GITLAB: &str = include_str!("assets/gitlab.svg");
const LINKEDIN: &str = include_str!("assets/linkedin.svg");
const SALESFORCE: &str = include_str!("assets/salesforce.svg");

/// Login by passkey. The script calls `begin` and `finish` (WebAuthnService) and posts the `session_token` that it gets to `action`.
#[derive(Debug, Clone)]
pub struct Passkey<'a> {
    /// BeginAuthentication.
    pub begin: &'a str,
    /// FinishAuthentication.
    pub finish: &'a str,
    /// Form target; field `session_token`.
    pub action: &'a str,
    /// Whether there is a button.
    pub button: bool,
    /// Whether the email field offers passkeys as it is filled in.
    pub conditional: bool,
}

/// The method that this browser used last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// Code or link.
    Email,
    /// Passkey.
    Passkey,
    /// The social login with this `href`.
    Social(&'a str),
}

/// The ways that a page offers.
#[derive(Debug, Clone, Default)]
pub struct Methods<'a> {
    /// Whether there is an email field: passwordless login or any single sign-on.
    pub email: bool,
    /// Social logins, in order.
    pub social: Vec<Social<'a>>,
    /// Passkeys; never at sign-up.
    pub passkey: Option<Passkey<'a>>,
    /// Gets the badge.
    pub last_used: Option<Method<'a>>,
}

impl Methods<'_> {
    fn passkey_button(&self) -> Option<&Passkey<'_>> {
        self.passkey.as_ref().filter(|passkey| passkey.button)
    }

    fn is_conditional(&self) -> bool {
        self.passkey.as_ref().is_some_and(|passkey| passkey.conditional)
    }

    /// Whether anything stands beside the email field.
    fn has_others(&self) -> bool {
        !self.social.is_empty() || self.passkey_button().is_some()
    }

    fn is_empty(&self) -> bool {
        !self.email && !self.has_others()
    }

    fn email_was_last(&self) -> bool {
        self.last_used == Some(Method::Email)
    }

    fn passkey_was_last(&self) -> bool {
        self.last_used == Some(Method::Passkey)
    }

    fn was_last(&self, social: &Social<'_>) -> bool {
        self.last_used == Some(Method::Social(social.href))
    }
}

/// The login page. Posts `email` to `action`.
#[derive(Debug, askama::Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Filled in before.
    pub email: &'a str,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
    /// Ways to log in.
    pub methods: Methods<'a>,
    /// The sign-up page, if signing up is allowed.
    pub sign_up: Option<&'a str>,
}

impl SignIn<'_> {
    fn heading(&self) -> String {
        match self.frame.owner() {
            Some(app) => fill(self.frame.texts.login_to, &[("app", app)]),
            None => self.frame.texts.login.to_owned(),
        }
    }
}

/// The sign-up page. Posts `email` to `action`.
#[derive(Debug, askama::Template)]
#[template(path = "sign_up.html")]
pub struct SignUp<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Filled in before.
    pub email: &'a str,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
    /// Ways to sign up; a passkey is none.
    pub methods: Methods<'a>,
    /// The login page.
    pub sign_in: &'a str,
}

impl SignUp<'_> {
    fn heading(&self) -> String {
        match self.frame.look.app_name.as_deref() {
            Some(app) => fill(self.frame.texts.create_account_for, &[("app", app)]),
            None => self.frame.texts.create_account.to_owned(),
        }
    }
}

/// What happened to the last try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// There was none, or it needs no word.
    None,
    /// It was refused; why.
    Problem(&'a str),
    /// The mail has been sent once more.
    SentAgain,
}

impl<'a> Answer<'a> {
    fn problem(self) -> Option<&'a str> {
        if let Self::Problem(problem) = self { Some(problem) } else { None }
    }

    fn is_sent_again(self) -> bool {
        self == Self::SentAgain
    }
}

/// Entry of a mailed code. Posts `code` to `action`; nothing but `csrf` to `resend`.
#[derive(Debug, askama::Template)]
#[template(path = "enter_code.html")]
pub struct EnterCode<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Form target of the resend button.
    pub resend: &'a str,
    /// Back to where the address is entered.
    pub restart: &'a str,
    /// Where the mail went.
    pub email: &'a str,
    /// How many characters the code has.
    pub length: u32,
    /// Whether it has letters.
    pub alphanumeric: bool,
    /// What became of the last try.
    pub answer: Answer<'a>,
    /// Whether too many wrong codes have ended this login: there is nothing to enter then, only a way to start again.
    pub locked: bool,
    /// Seconds until the resend button works.
    pub resend_after: u32,
    /// With a link in the mail: where a script asks whether it has been opened (see [`LinkSent::poll`]).
    pub poll: Option<&'a str>,
}

/// "Check your mail", for a link. Posts nothing but `csrf` to `resend`. Without JavaScript the page fetches itself again every few seconds;
/// the server answers with a redirect once the login goes on.
#[derive(Debug, askama::Template)]
#[template(path = "link_sent.html")]
pub struct LinkSent<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target of the resend button.
    pub resend: &'a str,
    /// Back to where the address is entered.
    pub restart: &'a str,
    /// Where the mail went.
    pub email: &'a str,
    /// GET: `{"waiting": bool}`. When it is false, the script loads the page again and follows the server's redirect.
    pub poll: &'a str,
    /// What became of the last try.
    pub answer: Answer<'a>,
    /// Seconds until the resend button works.
    pub resend_after: u32,
}

/// A link was opened that must not be used up by a program that only looks at it. Posts nothing but `csrf` to `action`.
#[derive(Debug, askama::Template)]
#[template(path = "confirm_link.html")]
pub struct ConfirmLink<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Who is about to log in.
    pub email: &'a str,
}

/// The waiting page of a login that went on in another browser.
#[derive(Debug, askama::Template)]
#[template(path = "continued_elsewhere.html")]
pub struct ContinuedElsewhere<'a> {
    /// Shared.
    pub frame: Frame<'a>,
}

/// Entry of an authenticator app's code, or of a recovery code in its place. Posts `code` to `action`.
#[derive(Debug, askama::Template)]
#[template(path = "enter_totp.html")]
pub struct EnterTotp<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// The page for the other kind of code.
    pub other: &'a str,
    /// Whether a recovery code is asked for.
    pub recovery: bool,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
    /// Whether there were too many tries: the next ones are not even looked at for a while.
    pub locked: bool,
}

impl EnterTotp<'_> {
    fn heading(&self) -> &'static str {
        if self.recovery { self.frame.texts.recovery_title } else { self.frame.texts.authenticator_title }
    }
}

impl Page for EnterTotp<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    fn status(&self) -> StatusCode {
        if self.locked { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK }
    }
}

macro_rules! pages {
    ($($page:ident)*) => {$(
        impl Page for $page<'_> {
            fn frame(&self) -> &Frame<'_> {
                &self.frame
            }
        }
    )*};
}
pages!(SignIn SignUp EnterCode LinkSent ConfirmLink ContinuedElsewhere);
