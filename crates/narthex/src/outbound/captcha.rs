//! Captchas, verified: the one protocol that all three providers speak. A form with secret, token and the browser's address goes to their
//! `siteverify`, JSON comes back.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use narthex_core::captcha::{Captcha, NoCaptcha, Provider, Unverified, Verdict, Verifying, Widget};
use narthex_core::outbound::{Answer, Outbound, Request};
use narthex_core::seal::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::GuardedClient;
use crate::config::CaptchaConfig;

/// Whoever signs in is waiting for it.
const TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer; a few hundred are usual.
const MOST: usize = 16 * 1024;

/// What a verifier says against the operator or itself, never against the token. Only what no token can bring about may stand here: with
/// fail-open, it lets people through.
const NOT_THE_TOKEN: [&str; 5] =
    ["missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch", "invalid-sitekey", "internal-error"];

/// A provider.
struct SiteVerify {
    widget: Widget,
    secret: Secret<String>,
    verify_url: String,
    client: GuardedClient,
}

/// The configured provider, or nobody.
pub fn captcha(config: Option<&CaptchaConfig>) -> Arc<dyn Captcha> {
    let Some(config) = config else { return Arc::new(NoCaptcha) };
    let of_provider = match config.provider {
        Provider::Recaptcha => "https://www.google.com/recaptcha/api/siteverify",
        Provider::Hcaptcha => "https://api.hcaptcha.com/siteverify",
        Provider::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/siteverify",
    };
    Arc::new(SiteVerify {
        widget: Widget {
            provider: config.provider,
            site_key: config.site_key.clone(),
            script_url: config.script_url.clone(),
        },
        secret: config.secret.clone(),
        verify_url: config.verify_url.clone().unwrap_or_else(|| of_provider.to_owned()),
        client: GuardedClient::of_operator(),
    })
}

impl fmt::Debug for SiteVerify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteVerify").field("widget", &self.widget).finish_non_exhaustive()
    }
}

impl Captcha for SiteVerify {
    fn widget(&self) -> Option<&Widget> {
        Some(&self.widget)
    }

    fn verify<'a>(&'a self, token: &'a str, address: Option<IpAddr>) -> Verifying<'a> {
        Box::pin(async move {
            let address = address.map(|address| address.to_string());
            let fields = [
                ("secret", Some(self.secret.expose().as_str())),
                ("response", Some(token)),
                ("remoteip", address.as_deref()),
            ];
            let fields = fields.iter().filter_map(|(name, value)| {
                value.map(|value| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            });
            let body = fields.collect::<Vec<_>>().join("&");
            let request = Request { timeout: TIME, most: MOST, ..Request::form(&self.verify_url, body) };
            let answer = self.client.send(request).await.map_err(|error| Unverified(error.to_string()))?;
            judge(&answer)
        })
    }
}

#[derive(Deserialize)]
struct Said {
    success: bool,
    hostname: Option<String>,
    #[serde(rename = "error-codes", default)]
    error_codes: Vec<String>,
}

fn judge(answer: &Answer) -> Result<Verdict, Unverified> {
    let status = answer.status;
    // 429 is about our account.
    if status >= 500 || status == 429 {
        return Err(Unverified(format!("the verifier answers with status {status}")));
    }
    // A refusal may come with a status of 4xx.
    let said: Said = serde_json::from_slice(&answer.body)
        .map_err(|_| Unverified(format!("the verifier's answer, with status {status}, is none of siteverify")))?;
    if said.success && answer.is_success() {
        // hCaptcha leaves it out at busy times, and says so.
        let hostname = said.hostname.filter(|host| !host.is_empty() && host != "not-provided");
        return Ok(Verdict::Passed { hostname });
    }
    match NOT_THE_TOKEN.iter().find(|code| said.error_codes.iter().any(|said| said == *code)) {
        Some(code) => Err(Unverified(format!("the verifier says {code}"))),
        None => Ok(Verdict::Refused),
    }
}

#[cfg(test)]
mod tests {
    use narthex_core::captcha::{Unverified, Verdict};
    use narthex_core::outbound::Answer;

    use super::judge;

    #[test]
    fn sec_02_only_what_no_token_can_bring_about_is_an_outage() {
        let judge = |status, body: &str| judge(&Answer { status, headers: Vec::new(), body: body.into() });
        let passed = |host: Option<&str>| Ok(Verdict::Passed { hostname: host.map(str::to_owned) });
        assert_eq!(
            judge(200, r#"{"success":true,"hostname":"auth.example","score":0.1}"#),
            passed(Some("auth.example"))
        );
        for silent in [
            r#"{"success":true}"#,
            r#"{"success":true,"hostname":"not-provided"}"#,
            r#"{"success":true,"hostname":""}"#,
        ] {
            assert_eq!(judge(200, silent), passed(None), "{silent}");
        }
        for (status, refusal) in [
            (200, r#"{"success":false}"#),
            (200, r#"{"success":false,"error-codes":["timeout-or-duplicate"]}"#),
            (200, r#"{"success":false,"error-codes":["bad-request"]}"#),
            (400, r#"{"success":false,"error-codes":["invalid-input-response"]}"#),
            (400, r#"{"success":true}"#),
            (200, r#"{"success":false,"error-codes":["a-code-of-next-year"]}"#),
        ] {
            assert_eq!(judge(status, refusal), Ok(Verdict::Refused), "{status} {refusal}");
        }
        for (status, outage) in [
            (200, r#"{"success":false,"error-codes":["invalid-input-response","invalid-input-secret"]}"#),
            (200, r#"{"success":false,"error-codes":["internal-error"]}"#),
            (500, r#"{"success":true}"#),
            (429, r#"{"success":false}"#),
            (302, ""),
            (404, "<html>"),
            (200, "<html>"),
            (200, r#"{"success":"true"}"#),
            (200, "[]"),
        ] {
            assert!(matches!(judge(status, outage), Err(Unverified(_))), "{status} {outage}");
        }
    }
}
