//! Invitations that were opened from a mail.

use http::StatusCode;

use super::{Frame, Page, fill};

/// A valid invitation. Posts nothing but `csrf` to `action`, so that a mail scanner that opens the link accepts nothing.
#[derive(Debug, askama::Template)]
#[template(path = "accept_invitation.html")]
pub struct AcceptInvitation<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Name of the organization; may be empty.
    pub organization: &'a str,
    /// Who invited.
    pub inviter: Option<&'a str>,
    /// Who is invited.
    pub email: &'a str,
}

impl AcceptInvitation<'_> {
    fn heading(&self) -> String {
        fill(self.frame.texts.invited_to, &[("organization", &self.shown())])
    }

    fn shown(&self) -> String {
        named(self.organization, &self.frame)
    }

    fn invited_by(&self) -> Option<String> {
        let inviter = self.inviter.and_then(super::look::text)?;
        Some(fill(self.frame.texts.invited_by_to, &[("inviter", &inviter), ("organization", &self.shown())]))
    }
}

/// The organization's name, else the application's, else the word for an organization.
fn named(organization: &str, frame: &Frame<'_>) -> String {
    super::look::text(organization).or_else(|| frame.look.app_name.clone()).unwrap_or_else(|| frame.word())
}

/// An invitation was accepted, and the application has no initiate-login URL to go on to.
#[derive(Debug, askama::Template)]
#[template(path = "invitation_accepted.html")]
pub struct InvitationAccepted<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Name of the organization; may be empty.
    pub organization: &'a str,
    /// Where to log in.
    pub sign_in: Option<&'a str>,
}

impl InvitationAccepted<'_> {
    fn heading(&self) -> String {
        fill(self.frame.texts.joined, &[("organization", &named(self.organization, &self.frame))])
    }
}

/// Why an invitation is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationEnding {
    /// Its time is over.
    Expired,
    /// It was accepted, taken back or replaced.
    Used,
}

/// An invitation that cannot be accepted.
#[derive(Debug, askama::Template)]
#[template(path = "invitation_ended.html")]
pub struct InvitationEnded<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Why.
    pub ending: InvitationEnding,
    /// Where to log in.
    pub sign_in: Option<&'a str>,
}

impl InvitationEnded<'_> {
    fn heading(&self) -> &'static str {
        match self.ending {
            InvitationEnding::Expired => self.frame.texts.invitation_expired,
            InvitationEnding::Used => self.frame.texts.invitation_used,
        }
    }

    fn note(&self) -> &'static str {
        match self.ending {
            InvitationEnding::Expired => self.frame.texts.invitation_expired_note,
            InvitationEnding::Used => self.frame.texts.invitation_used_note,
        }
    }
}

impl Page for AcceptInvitation<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}

impl Page for InvitationAccepted<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}

impl Page for InvitationEnded<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    fn status(&self) -> StatusCode {
        StatusCode::GONE
    }
}
