//! Every sentence of the hosted pages, one catalogue per language. `{name}` marks a place that the page fills; what it fills in is
//! escaped by the template like any other value.

/// The sentences of one language.
#[derive(Debug)]
#[allow(missing_docs)] // each field is named after what it says
pub struct Texts {
    /// BCP 47 tag, for the `lang` attribute.
    pub lang: &'static str,

    pub login_to: &'static str,
    pub login: &'static str,
    pub create_account_for: &'static str,
    pub create_account: &'static str,
    pub email: &'static str,
    pub email_placeholder: &'static str,
    pub continue_: &'static str,
    pub continue_with: &'static str,
    pub passkey: &'static str,
    pub or: &'static str,
    pub last_used: &'static str,
    pub no_account: &'static str,
    pub sign_up_link: &'static str,
    pub have_account: &'static str,
    pub login_link: &'static str,
    pub no_methods: &'static str,
    pub invalid_email: &'static str,
    pub captcha_open: &'static str,
    pub captcha_needs_script: &'static str,
    pub terms: &'static str,
    pub privacy: &'static str,
    pub support: &'static str,
    pub legal: &'static str,
    pub powered_by: &'static str,

    pub check_mail: &'static str,
    pub code_sent_to: &'static str,
    pub code_or_link_sent_to: &'static str,
    pub link_sent_to: &'static str,
    pub code: &'static str,
    pub code_character: &'static str,
    pub resend_code: &'static str,
    pub resend_mail: &'static str,
    pub resend_in: &'static str,
    pub sent_again: &'static str,
    pub no_mail_yet: &'static str,
    pub other_address: &'static str,
    pub start_again: &'static str,
    pub waiting: &'static str,
    pub keep_open: &'static str,
    pub confirm_login: &'static str,
    pub confirm_login_for: &'static str,
    pub confirm_login_note: &'static str,
    pub elsewhere_title: &'static str,
    pub elsewhere: &'static str,
    pub authenticator_title: &'static str,
    pub authenticator: &'static str,
    pub use_authenticator: &'static str,
    pub recovery_title: &'static str,
    pub recovery: &'static str,
    pub recovery_code: &'static str,
    pub use_recovery_code: &'static str,

    pub choose_organization: &'static str,
    pub your_organizations: &'static str,
    pub pending_invitations: &'static str,
    pub suggested_organizations: &'static str,
    pub invited_by: &'static str,
    pub suggested_by_domain: &'static str,
    pub unnamed_organization: &'static str,
    pub join: &'static str,
    pub create_new_organization: &'static str,
    pub create_organization: &'static str,
    pub create_organization_note: &'static str,
    pub organization_name: &'static str,
    pub organization_name_placeholder: &'static str,
    pub create: &'static str,
    pub back: &'static str,
    pub logged_in_as: &'static str,
    pub logout: &'static str,

    pub invited_to: &'static str,
    pub invited_by_to: &'static str,
    pub invited_note: &'static str,
    pub accept_invitation: &'static str,
    pub joined: &'static str,
    pub joined_note: &'static str,
    pub invitation_expired: &'static str,
    pub invitation_expired_note: &'static str,
    pub invitation_used: &'static str,
    pub invitation_used_note: &'static str,

    pub offer_passkey: &'static str,
    pub offer_passkey_note: &'static str,
    pub offer_passkey_fast: &'static str,
    pub offer_passkey_safe: &'static str,
    pub create_passkey: &'static str,
    pub skip: &'static str,
    pub passkeys: &'static str,
    pub passkeys_note: &'static str,
    pub no_passkeys: &'static str,
    pub add_passkey: &'static str,
    pub passkeys_off: &'static str,
    pub passkey_name: &'static str,
    pub rename: &'static str,
    pub save: &'static str,
    pub delete: &'static str,
    pub delete_passkey: &'static str,
    pub created: &'static str,
    pub used: &'static str,
    pub never_used: &'static str,
    pub synced: &'static str,
    pub needs_script: &'static str,
    pub passkey_failed: &'static str,
    pub passkey_unsupported: &'static str,
    pub passkey_exists: &'static str,

    pub consent_title: &'static str,
    pub consent_wants: &'static str,
    pub consent_unverified: &'static str,
    pub consent_unverified_note: &'static str,
    pub consent_scopes: &'static str,
    pub consent_identity: &'static str,
    pub consent_choose: &'static str,
    pub consent_for: &'static str,
    pub consent_goes_to: &'static str,
    pub consent_requested_by: &'static str,
    pub switch_account: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,

    pub signed_out: &'static str,
    pub signed_out_note: &'static str,
    pub login_again: &'static str,
    pub confirm_logout: &'static str,
    pub confirm_logout_note: &'static str,
    pub stay: &'static str,
    pub failure: &'static str,
    pub failure_id: &'static str,
    pub failure_code: &'static str,
    pub try_again: &'static str,
    pub cookies_off: &'static str,
    pub cookies_off_note: &'static str,
}

impl Texts {
    /// The catalogue for the `ui_locales` of a request: the first of its languages that there is one for, else English.
    pub fn of(ui_locales: &str) -> &'static Self {
        let spoken = |tag: &str| LANGUAGES.iter().copied().find(|texts| is_range_of(texts.lang, tag));
        ui_locales.split_ascii_whitespace().find_map(spoken).unwrap_or(&ENGLISH)
    }

    /// "Organization" in the words of the application, as a plural.
    pub fn plural(&self, word: &str) -> String {
        let vowel_before_y = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
        match word.strip_suffix('y') {
            Some(stem) if !vowel_before_y(stem) => format!("{stem}ies"),
            _ if word.ends_with(['s', 'x', 'z']) || word.ends_with("ch") || word.ends_with("sh") => format!("{word}es"),
            _ => format!("{word}s"),
        }
    }
}

/// Whether a language range that somebody asked for (`en-GB`) is served by a language (`en`).
fn is_range_of(lang: &str, asked: &str) -> bool {
    let asked = asked.as_bytes();
    asked.len() >= lang.len()
        && asked[..lang.len()].eq_ignore_ascii_case(lang.as_bytes())
        && asked.get(lang.len()).is_none_or(|byte| matches!(byte, b'-' | b'_'))
}

/// Puts values in the places of a text: `fill("Login to {app}", &[("app", "Acme")])`. What a value looks like never matters: the text is
/// read once, so that an organization named `{app}` stays just that.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = from.split_once('}') else {
            filled.push('{');
            rest = from;
            continue;
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => filled.push_str(value),
            None => filled.extend(["{", name, "}"]),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

static LANGUAGES: [&Texts; 1] = [&ENGLISH];

static ENGLISH: Texts = Texts {
    lang: "en",

    login_to: "Login to {app}",
    login: "Login to your account",
    create_account_for: "Create your {app} account",
    create_account: "Create your account",
    email: "Email",
    email_placeholder: "Enter your email address",
    continue_: "Continue",
    continue_with: "Continue with {method}",
    passkey: "Passkey",
    or: "OR",
    last_used: "Last used",
    no_account: "Don’t have an account?",
    sign_up_link: "Sign Up",
    have_account: "Already have an account?",
    login_link: "Login",
    no_methods: "There is no way to log in here at the moment.",
    invalid_email: "Enter a valid email address.",
    captcha_open: "Complete the check first.",
    captcha_needs_script: "This page has to check that you are not a robot. The check needs JavaScript, which is switched off in this browser.",
    terms: "Terms of Service",
    privacy: "Privacy Policy",
    support: "Get help",
    legal: "Legal",
    powered_by: "Powered by {product}",

    check_mail: "Check your email",
    code_sent_to: "Enter the code that we sent to",
    code_or_link_sent_to: "Enter the code, or open the link, that we sent to",
    link_sent_to: "Open the link that we sent to",
    code: "Verification code",
    code_character: "Character {number} of {length}",
    resend_code: "Resend code",
    resend_mail: "Resend email",
    resend_in: "Resend in {seconds}s",
    sent_again: "We have sent it again.",
    no_mail_yet: "Nothing in your inbox or spam folder?",
    other_address: "Use another email address",
    start_again: "Start again",
    waiting: "Waiting for you to open the link",
    keep_open: "You can keep this page open: it goes on by itself.",
    confirm_login: "Confirm your login",
    confirm_login_for: "You are logging in as",
    confirm_login_note: "If you did not ask for this, close this page.",
    elsewhere_title: "You are logged in",
    elsewhere: "The link was opened in another window or browser, and the login went on there. You can close this page.",
    authenticator_title: "Enter your code",
    authenticator: "Open your authenticator app and enter the code that it shows.",
    use_authenticator: "Use your authenticator app",
    recovery_title: "Enter a recovery code",
    recovery: "You got recovery codes when you set up your authenticator app. Each of them works once.",
    recovery_code: "Recovery code",
    use_recovery_code: "Use a recovery code",

    choose_organization: "Choose your {organization}",
    your_organizations: "Your {organizations}",
    pending_invitations: "Pending Invitations",
    suggested_organizations: "Suggested {organizations}",
    invited_by: "Invited by {inviter}",
    suggested_by_domain: "Open to your email domain",
    unnamed_organization: "{organization} without a name",
    join: "Join",
    create_new_organization: "Create new {organization}",
    create_organization: "Create your {organization}",
    create_organization_note: "You will be its first member, and can invite others later.",
    organization_name: "{organization} name",
    organization_name_placeholder: "e.g. Acme Inc.",
    create: "Create {organization}",
    back: "Back",
    logged_in_as: "Logged in as",
    logout: "Logout",

    invited_to: "Join {organization}",
    invited_by_to: "{inviter} has invited you to {organization}.",
    invited_note: "The invitation is for",
    accept_invitation: "Accept Invitation",
    joined: "You have joined {organization}",
    joined_note: "The invitation is accepted. You can log in now.",
    invitation_expired: "This invitation has expired",
    invitation_expired_note: "Ask whoever invited you to send a new one.",
    invitation_used: "This invitation cannot be used any more",
    invitation_used_note: "It has been used already, or taken back. If you have joined, you can simply log in; otherwise ask whoever invited you to send a new one.",

    offer_passkey: "Log in faster next time",
    offer_passkey_note: "Create a passkey, and your fingerprint, face or screen lock will do.",
    offer_passkey_fast: "No code to wait for, nothing to type",
    offer_passkey_safe: "Works on this site only, so that nobody can trick it out of you",
    create_passkey: "Create a passkey",
    skip: "Not now",
    passkeys: "Passkeys",
    passkeys_note: "A passkey logs you in with your fingerprint, face or screen lock.",
    no_passkeys: "You have no passkeys yet.",
    add_passkey: "Add passkey",
    passkeys_off: "Passkeys are switched off here: none can be added, and none logs you in.",
    passkey_name: "Name of the passkey",
    rename: "Rename",
    save: "Save",
    delete: "Delete",
    delete_passkey: "Delete this passkey? It will not log you in any more.",
    created: "Created {when}",
    used: "Last used {when}",
    never_used: "Never used",
    synced: "Synced",
    needs_script: "Passkeys need JavaScript, which is switched off in this browser.",
    passkey_failed: "That did not work. Try again, or take another way.",
    passkey_unsupported: "This browser cannot make passkeys.",
    passkey_exists: "This device has a passkey for your account already.",

    consent_title: "{client} wants access to {resource}",
    consent_wants: "It will act for you, as",
    consent_unverified: "Not verified",
    consent_unverified_note: "“{client}” is the name that this application gave itself. Allow it only if you have just started it yourself.",
    consent_scopes: "It will be able to",
    consent_identity: "See who you are: {what}",
    consent_choose: "Choose what it will be able to do",
    consent_for: "in {organization}",
    consent_goes_to: "You will be sent to {host}",
    consent_requested_by: "Access is managed by {host}",
    switch_account: "Use another account",
    allow: "Allow",
    deny: "Deny",

    signed_out: "You are logged out",
    signed_out_note: "You can close this page.",
    login_again: "Login again",
    confirm_logout: "Do you want to log out?",
    confirm_logout_note: "This ends your session in every application that you use with this account.",
    stay: "Stay logged in",
    failure: "That did not work",
    failure_id: "Error id",
    failure_code: "Code",
    try_again: "Try again",
    cookies_off: "Cookies are switched off",
    cookies_off_note: "Logging in needs cookies. Allow them for this site in the settings of your browser, then try again.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_filled_once() {
        assert_eq!(fill("Login to {app}", &[("app", "{app} & {x}")]), "Login to {app} & {x}");
        assert_eq!(fill("{a}{b} {unknown} {", &[("a", "1"), ("b", "2")]), "12 {unknown} {");
    }

    #[test]
    fn a_language_is_found_by_range_and_english_is_the_last_resort() {
        for asked in ["", "en", "EN-gb", "xx en", "tlh", "e", "eng"] {
            assert_eq!(Texts::of(asked).lang, "en", "{asked}");
        }
        assert!(is_range_of("en", "en_GB") && !is_range_of("en", "eng"));
    }

    #[test]
    fn plurals_of_the_words_that_products_use() {
        for (word, plural) in [
            ("Organization", "Organizations"),
            ("Company", "Companies"),
            ("Business", "Businesses"),
            ("Day", "Days"),
            ("Branch", "Branches"),
        ] {
            assert_eq!(ENGLISH.plural(word), plural);
        }
    }
}
