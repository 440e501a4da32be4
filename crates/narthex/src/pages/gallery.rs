//! `/dev/pages`: every page with sample data, for designers and for the browser tests. Never in `narthex serve`.

use http::{Response, StatusCode};
use serde_json::json;

use super::{
    AcceptInvitation, Answer, Choice, ChooseOrganization, Client, ConfirmLink, ConfirmSignOut, Consent,
    ContinuedElsewhere, CreateOrganization, EnableCookies, EnterCode, EnterTotp, Failure, Frame, InvitationAccepted,
    InvitationEnded, InvitationEnding, LinkSent, Look, Method, Methods, Notice, OfferPasskey, Page, Passkey,
    PasskeyRow, Passkeys, Provider, Scope, SignIn, SignUp, SignedOut, Social, Texts,
};
use crate::reply::Body;

/// The pages, by name.
pub const NAMES: [&str; 36] = [
    "sign-in",
    "sign-in-every-way",
    "sign-in-problem",
    "sign-in-organization",
    "sign-in-no-way",
    "sign-up",
    "enter-code",
    "enter-code-problem",
    "enter-code-letters",
    "enter-code-or-link",
    "enter-code-locked",
    "link-sent",
    "confirm-link",
    "continued-elsewhere",
    "enter-totp",
    "enter-totp-problem",
    "enter-recovery-code",
    "enter-recovery-code-locked",
    "choose-organization",
    "choose-organization-problem",
    "create-organization",
    "accept-invitation",
    "invitation-accepted",
    "invitation-expired",
    "invitation-used",
    "offer-passkey",
    "passkeys",
    "passkeys-none",
    "consent",
    "consent-verified",
    "signed-out",
    "confirm-sign-out",
    "failure",
    "failure-plain",
    "enable-cookies",
    "notice",
];

/// The looks, by name.
pub const LOOKS: [&str; 4] = ["plain", "acme", "dark", "picture"];

/// Words that stand in the samples; a test puts hostile ones in their places.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Of the application, a company or a client.
    pub name: &'a str,
    /// Of the person.
    pub email: &'a str,
    /// A sentence.
    pub sentence: &'a str,
    /// Of a picture.
    pub picture: Option<&'a str>,
    /// Of another site.
    pub url: &'a str,
}

/// What the gallery shows.
pub const WORDS: Words<'static> = Words {
    name: "Globex Corporation",
    email: "jane.doe@globex.example",
    sentence: "The redirect address of this application is not registered.",
    picture: None,
    url: "https://globex.example/privacy",
};

/// A look by name.
pub fn look(name: &str) -> Option<Look> {
    let settings = match name {
        "plain" => json!({}),
        "acme" => json!({
            "app_name": "Acme", "primary_button_color": "#4f46e5", "primary_button_text_color": "#ffffff", "border_radius": "large",
            "background_color": "#eef2ff", "logo_position": "outside", "tos_url": "https://acme.example/terms",
            "privacy_url": "https://acme.example/privacy", "support_email": "help@acme.example", "powered_by": false,
            "organization_meta_name": "Workspace",
        }),
        "dark" => json!({
            "app_name": "Night Shift", "color_scheme": "dark", "primary_button_color": "#a3e635", "border_radius": "small",
            "header_text_alignment": "left", "logo_alignment": "left", "social_login_placement": "bottom",
            "privacy_url": "https://night.example/privacy",
        }),
        "picture" => json!({
            "app_name": "Meadow", "primary_button_color": "#15803d", "color_scheme": "light",
            "background_style": "linear-gradient(120deg, #bbf7d0 0%, #fef9c3 50%, #bfdbfe 100%)",
            "tos_url": "https://meadow.example/terms", "support_email": "help@meadow.example",
        }),
        _ => return None,
    };
    settings.as_object().map(Look::new)
}

/// A page by name.
#[allow(clippy::too_many_lines)] // a list of samples
pub fn page(name: &str, look: &Look, words: &Words<'_>) -> Option<Response<Body>> {
    let frame = Frame {
        texts: Texts::of("en"),
        csrf: "sample",
        destination: Some("https://app.example/callback"),
        ..Frame::new(look)
    };
    let at = "/dev/pages";
    let Words { name: company, email, sentence, picture, url } = *words;
    let social = |provider, name| Social { provider, name, title: None, href: at };
    let only_email = || Methods { email: true, ..Methods::default() };
    let passkey = Passkey { begin: at, finish: at, action: at, button: true, conditional: true };
    let choice = |id, name| Choice { id, name, logo_url: picture, inviter: None };
    let code = |answer| EnterCode {
        frame,
        action: at,
        resend: at,
        restart: at,
        email,
        length: 6,
        alphanumeric: false,
        answer,
        locked: false,
        resend_after: 30,
        poll: None,
    };
    let totp = |recovery, problem| EnterTotp { frame, action: at, other: at, recovery, problem, locked: false };
    let sign_in = |methods| SignIn { frame, action: at, email: "", problem: None, methods, sign_up: Some(at) };
    let chooser = |problem| ChooseOrganization {
        frame,
        action: at,
        join: at,
        logout: at,
        create: Some(at),
        email,
        yours: vec![choice("org_1", company), choice("org_2", "Initech"), choice("org_3", "")],
        invited: vec![Choice { inviter: Some(email), ..choice("org_4", "Hooli") }],
        suggested: vec![choice("org_5", "Umbrella Research")],
        problem,
    };
    let passkeys = |passkeys| Passkeys {
        frame,
        begin: at,
        finish: at,
        list: at,
        rename: at,
        delete: at,
        logout: at,
        email,
        passkeys,
        may_add: true,
        problem: None,
    };
    let consent = |verified| Consent {
        frame,
        action: at,
        switch_account: Some(at),
        resource: if verified { company } else { "Acme Tickets" },
        resource_logo_url: picture,
        client: Client {
            name: if verified { "Claude" } else { company },
            verified,
            logo_url: picture,
            host: Some("client.example"),
            privacy_url: Some(url),
            terms_url: Some(url),
        },
        scopes: vec![
            Scope { name: "tickets:read", description: "Read tickets and their history", optional: false },
            Scope { name: "tickets:write", description: sentence, optional: !verified },
            Scope { name: "reports:export", description: "", optional: !verified },
        ],
        identity: vec!["name", "email address"],
        email,
        organization: Some(company),
        host: "auth.acme.example",
        redirect_host: "127.0.0.1",
    };
    let ended = |ending| InvitationEnded { frame, ending, sign_in: Some(at) };
    let failure = |code| Failure {
        frame,
        status: StatusCode::BAD_REQUEST,
        title: None,
        description: sentence,
        code,
        id: code.map(|_| "err_127593412678189058"),
        restart: Some(at),
    };
    let every_way = Methods {
        email: true,
        social: vec![
            social(Provider::Google, "Google"),
            social(Provider::Microsoft, "Microsoft"),
            social(Provider::GitHub, "GitHub"),
            social(Provider::GitLab, "GitLab"),
            social(Provider::LinkedIn, "LinkedIn"),
            social(Provider::Salesforce, "Salesforce"),
        ],
        passkey: Some(passkey.clone()),
        last_used: Some(Method::Passkey),
    };
    let response = match name {
        "sign-in" => {
            sign_in(Methods { passkey: Some(passkey), last_used: Some(Method::Email), ..only_email() }).render()
        }
        "sign-in-every-way" => sign_in(every_way).render(),
        "sign-in-problem" => SignIn { problem: Some(sentence), email, ..sign_in(only_email()) }.render(),
        "sign-in-organization" => {
            let look = look.clone().of_organization(company, picture);
            SignIn { frame: Frame { look: &look, ..frame }, sign_up: None, ..sign_in(only_email()) }.render()
        }
        "sign-in-no-way" => SignIn { sign_up: None, ..sign_in(Methods::default()) }.render(),
        "sign-up" => {
            let methods = Methods { social: vec![social(Provider::Google, "Google")], ..only_email() };
            SignUp { frame, action: at, email: "", problem: None, methods, sign_in: at }.render()
        }
        "enter-code" => code(Answer::None).render(),
        "enter-code-problem" => code(Answer::Problem(sentence)).render(),
        "enter-code-letters" => EnterCode { alphanumeric: true, length: 5, ..code(Answer::SentAgain) }.render(),
        "enter-code-or-link" => EnterCode { poll: Some(at), resend_after: 0, ..code(Answer::None) }.render(),
        "enter-code-locked" => EnterCode { locked: true, ..code(Answer::Problem(sentence)) }.render(),
        "link-sent" => {
            LinkSent { frame, resend: at, restart: at, email, poll: at, answer: Answer::None, resend_after: 0 }.render()
        }
        "confirm-link" => ConfirmLink { frame, action: at, email }.render(),
        "continued-elsewhere" => ContinuedElsewhere { frame }.render(),
        "enter-totp" => totp(false, None).render(),
        "enter-totp-problem" => totp(false, Some(sentence)).render(),
        "enter-recovery-code" => totp(true, None).render(),
        "enter-recovery-code-locked" => EnterTotp { locked: true, ..totp(true, Some(sentence)) }.render(),
        "choose-organization" => chooser(None).render(),
        "choose-organization-problem" => {
            ChooseOrganization { yours: Vec::new(), invited: Vec::new(), create: None, ..chooser(Some(sentence)) }
                .render()
        }
        "create-organization" => {
            CreateOrganization { frame, action: at, logout: at, back: Some(at), email, name: "", problem: None }
                .render()
        }
        "accept-invitation" => {
            AcceptInvitation { frame, action: at, organization: company, inviter: Some("Sam Lee"), email }.render()
        }
        "invitation-accepted" => InvitationAccepted { frame, organization: company, sign_in: Some(at) }.render(),
        "invitation-expired" => ended(InvitationEnding::Expired).render(),
        "invitation-used" => ended(InvitationEnding::Used).render(),
        "offer-passkey" => OfferPasskey { frame, begin: at, finish: at, next: at }.render(),
        "passkeys" => passkeys(vec![
            PasskeyRow {
                id: "cred_1",
                name: company,
                details: vec!["iCloud Keychain", "Safari on macOS", "Vienna"],
                created: "3 days ago",
                used: Some("an hour ago"),
                synced: true,
            },
            PasskeyRow {
                id: "cred_2",
                name: "YubiKey 5",
                details: vec!["Chrome on Linux"],
                created: "2 years ago",
                used: None,
                synced: false,
            },
        ])
        .render(),
        "passkeys-none" => passkeys(Vec::new()).render(),
        "consent" => consent(false).render(),
        "consent-verified" => consent(true).render(),
        "signed-out" => SignedOut { frame, sign_in: Some(at) }.render(),
        "confirm-sign-out" => ConfirmSignOut { frame, action: at, cancel: Some(at), email }.render(),
        "failure" => failure(Some("invalid_redirect_uri")).render(),
        "failure-plain" => Failure { restart: None, title: Some(company), ..failure(None) }.render(),
        "enable-cookies" => EnableCookies { frame, retry: Some(at) }.render(),
        "notice" => Notice { frame, title: company, text: sentence, link: Some((at, "Go on")) }.render(),
        _ => return None,
    };
    Some(response)
}

/// Answers `/dev/pages` (`rest` is empty) and `/dev/pages/{name}`; `?look=` takes one of [`LOOKS`].
pub fn serve(rest: &str, query: Option<&str>) -> Option<Response<Body>> {
    let named = query.and_then(|query| query.strip_prefix("look=")).unwrap_or("plain");
    if rest.is_empty() {
        return Some(index());
    }
    page(rest, &look(named)?, &WORDS)
}

fn index() -> Response<Body> {
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hosted pages</title><h1>Hosted pages</h1><ul>",
    );
    for name in NAMES {
        text.push_str("<li>");
        text.push_str(name);
        for look in LOOKS {
            text.extend([" <a href=\"/dev/pages/", name, "?look=", look, "\">", look, "</a>"]);
        }
    }
    text.push_str("</ul></html>");
    crate::reply::text("text/html; charset=utf-8", text)
}
