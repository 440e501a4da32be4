//! Mail, handed in: a mail server in production, a mailbox in `narthex dev`, a record in the test's hand.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::clock::Timestamp;
use crate::emails::UseCase;
use crate::ids::EnvId;
use crate::seal::Secret;

/// A mail on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// Who takes mails.
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// The address that mails come from where an environment has no server of its own.
    fn address(&self) -> String;

    /// Hands a mail over: to `via`, or to the installation's own server. When it returns the mail has been accepted, or has not.
    fn send<'a>(&'a self, mail: &'a Message, via: Option<&'a SmtpServer>) -> Sending<'a>;
}

/// A mail, ready to be sent. Has no Debug: it holds a code or a link.
#[derive(Clone)]
pub struct Message {
    /// Environment that sends it.
    pub environment: EnvId,
    /// What it is for.
    pub use_case: UseCase,
    /// Left half of its `Message-ID`: the same however often it is tried.
    pub id: String,
    /// When it was written, by the real clock: receivers distrust mails from the future.
    pub date: Timestamp,
    /// Name of the sender.
    pub from_name: String,
    /// Address of the sender.
    pub from: String,
    /// Address that it goes to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The part for programs that show text.
    pub text: String,
    /// The part for programs that show HTML.
    pub html: String,
    /// The link in it.
    pub link: Option<String>,
    /// The code in it.
    pub otp: Option<String>,
}

/// A customer's mail server. Nobody of ours has chosen its name, so that whoever connects must see where it leads.
#[derive(Clone)]
pub struct SmtpServer {
    /// Name or address.
    pub host: String,
    /// Port: 465 speaks TLS from the first byte, every other one after STARTTLS. None is used without TLS.
    pub port: u16,
    /// Who signs in.
    pub username: String,
    /// With what.
    pub password: Secret<String>,
}

/// Why a mail was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The installation has no mail server.
    NotConfigured,
    /// The server's address is one that customers may not reach.
    Forbidden,
    /// No server answered, or not in time.
    Unreachable,
    /// It offers no TLS, or its certificate is not good.
    Untrusted,
    /// It does not take the user name and password.
    Login,
    /// It does not take the mail, and will not.
    Refused,
    /// It does not take the mail now.
    Busy,
}

impl Failure {
    /// In words that tell the sender what to look at, and nothing that the server has said.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotConfigured => "no mail server is configured, so no mail can be sent",
            Self::Forbidden => "the mail could not be sent: the mail server's address is not a public one",
            Self::Unreachable => "the mail could not be sent: the mail server does not answer",
            Self::Untrusted => {
                "the mail could not be sent: the mail server offers no TLS, or its certificate is not valid"
            }
            Self::Login => "the mail could not be sent: the mail server does not take the user name and password",
            Self::Refused => "the mail could not be sent: the mail server refused it",
            Self::Busy => "the mail could not be sent: the mail server takes none at the moment",
        }
    }
}

/// A mail that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailError {
    /// Why, in general.
    pub failure: Failure,
    /// What happened; for the log only.
    pub detail: String,
}

impl MailError {
    /// A failure and its detail.
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.failure, self.detail)
    }
}

impl std::error::Error for MailError {}

/// Nobody: for programs that send no mail. Every mail fails.
#[derive(Debug, Clone, Copy)]
pub struct NoMailer;

impl Mailer for NoMailer {
    fn address(&self) -> String {
        "nobody@localhost".to_owned()
    }

    fn send<'a>(&'a self, _mail: &'a Message, _via: Option<&'a SmtpServer>) -> Sending<'a> {
        Box::pin(async { Err(MailError::new(Failure::NotConfigured, "no mailer")) })
    }
}
