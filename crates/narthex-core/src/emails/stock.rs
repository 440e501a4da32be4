//! The built-in templates: one frame, and what each use case says in it.

use super::UseCase;
use super::templates::Content;

const HTML: &str = include_str!("stock/frame.html");
const TEXT: &str = include_str!("stock/frame.txt");

/// What a use case says. Actions of the template language stand in all of it.
struct Words {
    subject: &'static str,
    title: &'static str,
    /// The first sentence.
    opening: &'static str,
    /// On the button.
    button: &'static str,
    /// To whoever did not expect the mail.
    ignore: &'static str,
}

const UNASKED: &str =
    "If you did not ask for this mail, you can ignore it: nobody gets in without it. Do not pass it on to anybody.";

const fn words(use_case: UseCase) -> Words {
    match use_case {
        UseCase::UserInvite => Words {
            subject: "You are invited to {{ if organization_name }}{{ organization_name }} on {{ end }}{{ app_name }}",
            title: "Join {{ if organization_name }}{{ organization_name }} on {{ end }}{{ app_name }}",
            opening: "{{ if user_name }}Hello {{ user_name }}, you{{ else }}You{{ end }} have been invited to \
                      {{ if organization_name }}the {{ app_organization_meta_name | lower }} {{ organization_name }} on {{ end }}\
                      {{ app_name }}.",
            button: "Accept Invitation",
            ignore: "If you did not expect this invitation, you can ignore this mail.",
        },
        UseCase::MemberInvite => Words {
            subject: "You are invited to operate {{ app_name }}",
            title: "Operate {{ app_name }}",
            opening: "You have been invited to the workspace of {{ app_name }}.",
            button: "Accept Invitation",
            ignore: "If you did not expect this invitation, you can ignore this mail.",
        },
        UseCase::OtpLogin | UseCase::UserLoginOtp | UseCase::UserLoginLinkOtp | UseCase::UserLogin => Words {
            subject: "{{ app_name }}: Your verification code is {{ otp }}",
            title: "Sign in to {{ app_name }}",
            opening: "Enter this code where you are signing in:",
            button: "Sign in",
            ignore: UNASKED,
        },
        UseCase::Login | UseCase::UserLoginLink => Words {
            subject: "Sign in to {{ app_name }}",
            title: "Sign in to {{ app_name }}",
            opening: "Use this button to sign in:",
            button: "Sign in",
            ignore: UNASKED,
        },
        UseCase::UserSignupOtp | UseCase::UserSignupLinkOtp | UseCase::Signup => Words {
            subject: "{{ app_name }}: Your verification code is {{ otp }}",
            title: "Confirm your email address",
            opening: "Enter this code to create your {{ app_name }} account:",
            button: "Confirm and continue",
            ignore: UNASKED,
        },
        UseCase::UserSignupLink => Words {
            subject: "Confirm your email address for {{ app_name }}",
            title: "Confirm your email address",
            opening: "Use this button to create your {{ app_name }} account:",
            button: "Confirm and continue",
            ignore: UNASKED,
        },
    }
}

/// The built-in template of a use case.
pub fn stock(use_case: UseCase) -> Content {
    let words = words(use_case);
    let (link, otp) = use_case.carries();
    let paragraph = |text: &str| {
        format!(
            "<p class=\"text\" style=\"margin:0 0 16px;font-size:15px;line-height:1.5;color:#27272a;\">{text}</p>\n"
        )
    };
    let mut html = paragraph(words.opening);
    let mut plain = format!("{}\n", words.opening);
    if otp {
        html.push_str(
            "<p class=\"code\" style=\"margin:0 0 16px;padding:16px;border-radius:8px;background:#f4f4f5;text-align:center;\
             font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:30px;letter-spacing:6px;font-weight:600;\
             color:#18181b;\">{{ otp }}</p>\n",
        );
        plain.push_str("\n    {{ otp }}\n");
    }
    if link && otp {
        html.push_str(&paragraph("Or use this button instead:"));
        plain.push_str("\nOr open this link instead:\n");
    }
    if link {
        html.push_str(
            "<p class=\"button\" style=\"margin:0 0 16px;\"><a href=\"{{ link }}\" style=\"display:inline-block;padding:12px 24px;\
             border-radius:8px;background:#18181b;color:#ffffff;font-size:15px;font-weight:600;text-decoration:none;\">",
        );
        html.push_str(words.button);
        html.push_str("</a></p>\n");
        html.push_str(
            "<p class=\"soft\" style=\"margin:0 0 16px;font-size:13px;line-height:1.5;color:#71717a;\">If the button does nothing, \
             copy this address into your browser:<br><a href=\"{{ link }}\" style=\"color:inherit;word-break:break-all;\">{{ link }}\
             </a></p>\n",
        );
        plain.push_str("\n{{ link }}\n");
    }
    let what = match (link, otp) {
        (true, true) => "Both expire",
        (false, true) => "The code expires",
        (true, false) if matches!(use_case, UseCase::UserInvite | UseCase::MemberInvite) => "The invitation expires",
        _ => "The link expires",
    };
    let expiry = format!("{{{{ if expiry_time_relative }}}}{what} in {{{{ expiry_time_relative }}}}.{{{{ end }}}}");
    html.push_str(&paragraph(&expiry));
    plain.push('\n');
    plain.push_str(&expiry);
    let fill = |frame: &str, body: &str| {
        frame
            .replace("[title]", words.title)
            .replace("[preview]", words.opening)
            .replace("[ignore]", words.ignore)
            .replace("[body]", body.trim_end())
    };
    Content { subject: words.subject.to_owned(), html: fill(HTML, &html), plain: fill(TEXT, &plain) }
}
