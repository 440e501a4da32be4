//! The organization step: which one, or a new one.

use super::{Frame, Page, fill, initial, look};

/// An organization that can be chosen.
#[derive(Debug, Clone, Default)]
pub struct Choice<'a> {
    /// Id, the value of the button.
    pub id: &'a str,
    /// Name; may be empty.
    pub name: &'a str,
    /// Logo.
    pub logo_url: Option<&'a str>,
    /// Who invited, for invitations.
    pub inviter: Option<&'a str>,
}

impl Choice<'_> {
    /// The name, or words for an organization that has none.
    fn label(&self, frame: &Frame<'_>) -> String {
        look::text(self.name).unwrap_or_else(|| {
            fill(frame.texts.unnamed_organization, &[("organization", &frame.look.organization_word)])
        })
    }

    fn initial(&self, frame: &Frame<'_>) -> String {
        initial(&self.label(frame)).unwrap_or_default()
    }

    fn logo(&self) -> Option<String> {
        self.logo_url.and_then(look::image_url)
    }

    fn invited_by(&self, frame: &Frame<'_>) -> Option<String> {
        self.inviter.and_then(look::text).map(|inviter| fill(frame.texts.invited_by, &[("inviter", &inviter)]))
    }
}

/// The chooser. Posts `organization` (an id) to `action`, `organization` to `join` for invitations and suggestions, nothing but `csrf` to
/// `logout`.
#[derive(Debug, askama::Template)]
#[template(path = "choose_organization.html")]
pub struct ChooseOrganization<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target for one's own organizations.
    pub action: &'a str,
    /// Form target for invitations and suggestions.
    pub join: &'a str,
    /// Form target of the logout button.
    pub logout: &'a str,
    /// Page on which a new one is made, if that is allowed.
    pub create: Option<&'a str>,
    /// Who is logged in.
    pub email: &'a str,
    /// Active memberships.
    pub yours: Vec<Choice<'a>>,
    /// Pending invitations.
    pub invited: Vec<Choice<'a>>,
    /// Those that are open to the domain of the email address.
    pub suggested: Vec<Choice<'a>>,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
}

impl Page for ChooseOrganization<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    fn images(&self) -> Vec<&str> {
        self.yours.iter().chain(&self.invited).chain(&self.suggested).filter_map(|choice| choice.logo_url).collect()
    }
}

/// A new organization. Posts `organization_name` to `action`, nothing but `csrf` to `logout`.
#[derive(Debug, askama::Template)]
#[template(path = "create_organization.html")]
pub struct CreateOrganization<'a> {
    /// Shared.
    pub frame: Frame<'a>,
    /// Form target.
    pub action: &'a str,
    /// Form target of the logout button.
    pub logout: &'a str,
    /// Back to the chooser, if there is one.
    pub back: Option<&'a str>,
    /// Who is logged in.
    pub email: &'a str,
    /// Filled in before.
    pub name: &'a str,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
}

impl Page for CreateOrganization<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}
