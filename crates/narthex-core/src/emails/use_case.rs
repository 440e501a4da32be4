//! What mails are for, and what their templates may name.

use serde::{Deserialize, Serialize};

/// What a mail is for (`scalekit.v1.emails.TemplateUsecase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the wire's names
pub enum UseCase {
    Login = 1,
    OtpLogin = 2,
    MemberInvite = 3,
    UserInvite = 4,
    UserLogin = 5,
    Signup = 6,
    UserLoginOtp = 7,
    UserLoginLink = 8,
    UserLoginLinkOtp = 9,
    UserSignupOtp = 10,
    UserSignupLink = 11,
    UserSignupLinkOtp = 12,
}

/// A variable that every template, or every template of a use case, may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholder {
    /// The variable.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it stands for.
    pub description: &'static str,
    /// Group that it is listed in.
    pub category: &'static str,
    /// Place of the group in the list.
    pub category_priority: i32,
}

const fn placeholder(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    (category, category_priority): (&'static str, i32),
) -> Placeholder {
    Placeholder { name, title, description, category, category_priority }
}

const CONTEXTUAL: (&str, i32) = ("Contextual", 1);
const USER: (&str, i32) = ("User", 2);
const ORGANIZATION: (&str, i32) = ("Organization", 3);
const APPLICATION: (&str, i32) = ("Application", 4);

const LINK: Placeholder = placeholder("link", "Link", "What the mail's button leads to", CONTEXTUAL);
const OTP: Placeholder = placeholder("otp", "Code", "The one-time code", CONTEXTUAL);
const EXPIRY: Placeholder = placeholder(
    "expiry_time_relative",
    "Time left",
    "How long the code or link is good, such as \"14 days, 6 hours, 50 min\"",
    CONTEXTUAL,
);
const COMMON: [Placeholder; 7] = [
    placeholder("user_name", "User name", "Name of the user; empty if it is not known", USER),
    placeholder("user_email", "User email", "Address that the mail goes to", USER),
    placeholder("organization_name", "Organization name", "Name of the organization; empty without one", ORGANIZATION),
    placeholder("app_name", "Application name", "Name of the application", APPLICATION),
    placeholder(
        "app_logo_url",
        "Application logo",
        "Address of the application's logo; empty without one",
        APPLICATION,
    ),
    placeholder("app_support_email", "Support email", "Where users find help; empty if not configured", APPLICATION),
    placeholder(
        "app_organization_meta_name",
        "Word for organization",
        "What the application calls an organization, such as \"Workspace\"",
        APPLICATION,
    ),
];

impl UseCase {
    /// Every use case, by number.
    pub const ALL: [Self; 12] = [
        Self::Login,
        Self::OtpLogin,
        Self::MemberInvite,
        Self::UserInvite,
        Self::UserLogin,
        Self::Signup,
        Self::UserLoginOtp,
        Self::UserLoginLink,
        Self::UserLoginLinkOtp,
        Self::UserSignupOtp,
        Self::UserSignupLink,
        Self::UserSignupLinkOtp,
    ];

    /// The use case of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|&use_case| use_case as i32 == number)
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::OtpLogin => "OTP_LOGIN",
            Self::MemberInvite => "MEMBER_INVITE",
            Self::UserInvite => "USER_INVITE",
            Self::UserLogin => "USER_LOGIN",
            Self::Signup => "SIGNUP",
            Self::UserLoginOtp => "USER_LOGIN_OTP",
            Self::UserLoginLink => "USER_LOGIN_LINK",
            Self::UserLoginLinkOtp => "USER_LOGIN_LINK_OTP",
            Self::UserSignupOtp => "USER_SIGNUP_OTP",
            Self::UserSignupLink => "USER_SIGNUP_LINK",
            Self::UserSignupLinkOtp => "USER_SIGNUP_LINK_OTP",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Login => "Operator sign-in by link",
            Self::OtpLogin => "Operator sign-in by code",
            Self::MemberInvite => "Invitation of an operator",
            Self::UserInvite => "Invitation to an organization",
            Self::UserLogin => "Sign-in",
            Self::Signup => "Sign-up",
            Self::UserLoginOtp => "Sign-in by code",
            Self::UserLoginLink => "Sign-in by link",
            Self::UserLoginLinkOtp => "Sign-in by link or code",
            Self::UserSignupOtp => "Sign-up by code",
            Self::UserSignupLink => "Sign-up by link",
            Self::UserSignupLinkOtp => "Sign-up by link or code",
        }
    }

    /// When it is sent.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Login => "Sent to an operator who signs in to the dashboard by a link",
            Self::OtpLogin => "Sent to an operator who signs in to the dashboard by a code",
            Self::MemberInvite => "Sent to somebody who is invited to operate the workspace",
            Self::UserInvite => {
                "Sent to a user who is invited to an organization, and when the invitation is sent again"
            }
            Self::UserLogin => "Sent to a user who signs in",
            Self::Signup => "Sent to a user who signs up",
            Self::UserLoginOtp => "Sent to a user who signs in by a code",
            Self::UserLoginLink => "Sent to a user who signs in by a link",
            Self::UserLoginLinkOtp => "Sent to a user who signs in by a link or a code",
            Self::UserSignupOtp => "Sent to a user who signs up by a code",
            Self::UserSignupLink => "Sent to a user who signs up by a link",
            Self::UserSignupLinkOtp => "Sent to a user who signs up by a link or a code",
        }
    }

    /// Whether it is one of those that applications send to their users.
    pub const fn is_displayed(self) -> bool {
        !matches!(self, Self::Login | Self::OtpLogin | Self::MemberInvite | Self::UserLogin | Self::Signup)
    }

    /// Whether a mail of it has a link, and whether it has a code.
    pub(super) const fn carries(self) -> (bool, bool) {
        match self {
            Self::OtpLogin | Self::UserLoginOtp | Self::UserSignupOtp => (false, true),
            Self::Login | Self::MemberInvite | Self::UserInvite | Self::UserLoginLink | Self::UserSignupLink => {
                (true, false)
            }
            Self::UserLogin | Self::Signup | Self::UserLoginLinkOtp | Self::UserSignupLinkOtp => (true, true),
        }
    }

    /// What its templates may name, by category.
    pub fn placeholders(self) -> Vec<Placeholder> {
        let (link, otp) = self.carries();
        let own = [link.then_some(LINK), otp.then_some(OTP), Some(EXPIRY)];
        own.into_iter().flatten().chain(COMMON).collect()
    }
}
