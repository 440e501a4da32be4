//! A captcha's widget on a page: the only thing on any page that comes from somebody else.

use narthex_core::captcha::{Provider, Widget};

use super::look;

/// A widget.
#[derive(Debug, Clone, Copy)]
pub struct Captcha<'a>(pub &'a Widget);

/// Where a page with a widget may fetch from and send to, besides its own origin.
pub(super) struct Sources {
    /// `script-src`.
    pub script: String,
    /// `frame-src`.
    pub frame: String,
    /// `connect-src`.
    pub connect: String,
    /// `style-src`.
    pub style: String,
}

impl<'a> Captcha<'a> {
    /// The form's field that the widget puts the token into.
    pub const fn field(self) -> &'static str {
        match self.0.provider {
            Provider::Recaptcha => "g-recaptcha-response",
            Provider::Hcaptcha => "h-captcha-response",
            Provider::Turnstile => "cf-turnstile-response",
        }
    }

    /// The class by which the provider's script knows the place for it.
    pub(super) const fn class(self) -> &'static str {
        match self.0.provider {
            Provider::Recaptcha => "g-recaptcha",
            Provider::Hcaptcha => "h-captcha",
            Provider::Turnstile => "cf-turnstile",
        }
    }

    pub(super) fn site_key(self) -> &'a str {
        &self.0.site_key
    }

    pub(super) fn script(self) -> &'a str {
        self.0.script_url.as_deref().unwrap_or(match self.0.provider {
            Provider::Recaptcha => "https://www.google.com/recaptcha/api.js",
            Provider::Hcaptcha => "https://js.hcaptcha.com/1/api.js",
            Provider::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/api.js",
        })
    }

    /// What the providers document, and where the operator's own script comes from.
    pub(super) fn sources(self) -> Sources {
        let (script, frame, connect, style) = match self.0.provider {
            Provider::Recaptcha => (
                "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/",
                "https://www.google.com/recaptcha/ https://recaptcha.google.com/recaptcha/",
                "https://www.google.com/recaptcha/",
                "",
            ),
            Provider::Hcaptcha => {
                let hosts = "https://hcaptcha.com https://*.hcaptcha.com";
                (hosts, hosts, hosts, hosts)
            }
            Provider::Turnstile => ("https://challenges.cloudflare.com", "https://challenges.cloudflare.com", "", ""),
        };
        let own = self.0.script_url.as_deref().map(look::origin).unwrap_or_default();
        let with_own = |sources: &str| format!("{sources} {own}").trim().to_owned();
        Sources { script: with_own(script), frame: with_own(frame), connect: with_own(connect), style: with_own(style) }
    }
}
