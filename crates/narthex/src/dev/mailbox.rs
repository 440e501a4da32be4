//! `/dev/mail` and `/dev/mailbox`: the mails of a development server, which leave the machine for nobody. Where an environment's own mail
//! server is on this machine, it is handed them too.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, Response, StatusCode, header};
use narthex_core::emails::escape;
use narthex_core::mailer::{Mailer, Message, Sending, SmtpServer};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::outbound::names_this_machine;
use crate::reply::{self, Body};
use crate::smtp::SmtpMailer;

/// Mails that are kept, and their bytes: the oldest go.
const MAILS: usize = 500;
const BYTES: usize = 16 * 1024 * 1024;

/// Takes every mail, whichever server it would go through, and shows it to the developer.
#[derive(Default)]
pub struct Mailbox(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Newest first.
    mails: VecDeque<Message>,
    bytes: usize,
}

fn bytes(mail: &Message) -> usize {
    mail.text.len() + mail.html.len() + mail.subject.len()
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mails, newest first; only those to an address if one is given, letter case aside.
    pub fn mails(&self, to: Option<&str>) -> Vec<Message> {
        let kept = self.lock();
        let asked = |mail: &&Message| to.is_none_or(|to| mail.to.eq_ignore_ascii_case(to));
        kept.mails.iter().filter(asked).cloned().collect()
    }

    fn clear(&self) {
        *self.lock() = Kept::default();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl Mailer for Mailbox {
    fn address(&self) -> String {
        "hi@localhost".to_owned()
    }

    fn send<'a>(&'a self, mail: &'a Message, _via: Option<&'a SmtpServer>) -> Sending<'a> {
        Box::pin(async move {
            tracing::info!(use_case = mail.use_case.name(), "a mail is in the mailbox: see /dev/mailbox");
            let mut kept = self.lock();
            kept.bytes += bytes(mail);
            kept.mails.push_front(mail.clone());
            while kept.mails.len() > MAILS || kept.bytes > BYTES && kept.mails.len() > 1 {
                if let Some(oldest) = kept.mails.pop_back() {
                    kept.bytes -= bytes(&oldest);
                }
            }
            Ok(())
        })
    }
}

/// Takes the mails of `narthex dev`: into the mailbox, and to the environment's own server if it says that it is on this machine, as the
/// mail catchers are that developers try their settings with. Whatever other server is configured, nobody else gets one.
#[derive(Debug)]
pub struct DevMailer {
    mailbox: Arc<Mailbox>,
    smtp: SmtpMailer,
}

impl DevMailer {
    /// One that fills this mailbox.
    pub fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, smtp: SmtpMailer::on_this_machine() }
    }
}

impl Mailer for DevMailer {
    fn address(&self) -> String {
        self.mailbox.address()
    }

    fn send<'a>(&'a self, mail: &'a Message, via: Option<&'a SmtpServer>) -> Sending<'a> {
        Box::pin(async move {
            if let Some(server) = via.filter(|server| names_this_machine(&server.host)) {
                self.smtp.send(mail, Some(server)).await?;
            }
            self.mailbox.send(mail, via).await
        })
    }
}

/// `GET /dev/mail?to=`.
pub(super) fn list(mailbox: &Mailbox, query: Option<&str>) -> Response<Body> {
    let mails = mailbox.mails(to(query).as_deref());
    reply::value(StatusCode::OK, &Value::Array(mails.iter().map(shown).collect()))
}

/// `DELETE /dev/mail`.
pub(super) fn clear(mailbox: &Mailbox) -> Response<Body> {
    mailbox.clear();
    reply::json(StatusCode::OK, "{}")
}

/// The address that is asked for. A `+` is one: addresses have some, and no spaces.
fn to(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("to="))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned()).filter(|to| !to.is_empty())
}

fn shown(mail: &Message) -> Value {
    json!({
        "to": mail.to,
        "from": format!("{} <{}>", mail.from_name, mail.from),
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "links": links(mail),
        "otp": mail.otp,
        "use_case": mail.use_case.name(),
        "environment_id": mail.environment.to_string(),
        "sent_at": mail.date.rfc3339(),
    })
}

/// The mail's own link, then every other address in its text.
fn links(mail: &Message) -> Vec<String> {
    let mut links: Vec<String> = mail.link.iter().cloned().collect();
    let words = mail.text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '(' | ')'));
    for word in words.filter(|word| word.starts_with("http://") || word.starts_with("https://")) {
        let link = word.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        if !links.iter().any(|known| known == link || known == word) {
            links.push(link.to_owned());
        }
    }
    links
}

/// `GET /dev/mailbox`.
pub(super) fn page(mailbox: &Mailbox, query: Option<&str>) -> Response<Body> {
    const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width, initial-scale=1\"><title>Mailbox · narthex dev</title><style>\
        :root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
        header{display:flex;justify-content:space-between;align-items:baseline;gap:1rem}h1{font-size:1.4rem}\
        details{border:1px solid #8884;border-radius:8px;margin:0 0 .75rem;overflow:hidden}\
        summary{padding:.75rem 1rem;cursor:pointer;display:grid;grid-template-columns:1fr auto;gap:.25rem 1rem}\
        summary small{color:#777}summary b{grid-column:1/-1;font-weight:600}div{padding:0 1rem 1rem}\
        code{font-size:1.6rem;letter-spacing:.2em}iframe{width:100%;height:34rem;border:1px solid #8884;border-radius:8px;\
        background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere}a{overflow-wrap:anywhere}</style>";
    let mails = mailbox.mails(to(query).as_deref());
    let mut page = format!(
        "{HEAD}<header><h1>Mailbox</h1><nav><a href=\"/dev/mailbox\">Reload</a> · <a href=\"/dev\">narthex dev</a></nav></header>"
    );
    if mails.is_empty() {
        page.push_str("<p>No mail yet. Whatever this server sends arrives here, and nothing leaves this machine.</p>");
    }
    for (at, mail) in mails.iter().enumerate() {
        // Writing to a String cannot fail.
        write!(
            page,
            "<details{}><summary><span>{}</span><small>{}</small><b>{}</b></summary><div><p><small>From {} &lt;{}&gt;</small></p>",
            if at == 0 { " open" } else { "" },
            escape(&mail.to),
            escape(&mail.date.rfc3339()),
            escape(&mail.subject),
            escape(&mail.from_name),
            escape(&mail.from),
        )
        .ok();
        if let Some(otp) = &mail.otp {
            write!(page, "<p><code>{}</code></p>", escape(otp)).ok();
        }
        if let Some(link) = mail.link.as_deref().filter(|link| link.starts_with("http")) {
            write!(page, "<p><a href=\"{0}\">{0}</a></p>", escape(link)).ok();
        }
        write!(
            page,
            "<iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\" title=\"HTML part\" srcdoc=\"{}\"></iframe>\
             <details><summary>Text part</summary><div><pre>{}</pre></div></details></div></details>",
            escape(&format!("<base target=\"_blank\">{}", mail.html)),
            escape(&mail.text),
        )
        .ok();
    }
    let mut response = reply::text("text/html; charset=utf-8", page);
    // A mail's own HTML is shown, and runs nothing.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src http: https: data:; frame-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use narthex_core::Timestamp;
    use narthex_core::emails::UseCase;
    use narthex_core::ids::EnvId;

    use super::*;

    fn mail(to: &str, text: &str) -> Message {
        Message {
            environment: EnvId(1),
            use_case: UseCase::UserLoginLink,
            id: String::new(),
            date: Timestamp(0),
            from_name: "Team Acme".to_owned(),
            from: "hi@localhost".to_owned(),
            to: to.to_owned(),
            subject: "Sign in".to_owned(),
            text: text.to_owned(),
            html: String::new(),
            link: Some("https://app.test/in?link_token=1_l".to_owned()),
            otp: None,
        }
    }

    #[tokio::test]
    async fn the_mailbox_keeps_the_newest_mails_and_no_more_than_it_has_room_for() {
        let mailbox = Mailbox::default();
        for number in 0..MAILS + 3 {
            mailbox.send(&mail(&format!("{number}@acme.test"), ""), None).await.expect("kept");
        }
        let mails = mailbox.mails(None);
        assert_eq!(
            (mails.len(), mails[0].to.as_str(), mails[MAILS - 1].to.as_str()),
            (MAILS, "502@acme.test", "3@acme.test")
        );
        let large = "x".repeat(BYTES / 3);
        for to in ["a@acme.test", "b@acme.test", "c@acme.test", "d@acme.test"] {
            mailbox.send(&mail(to, &large), None).await.expect("kept");
        }
        let kept: Vec<String> = mailbox.mails(None).into_iter().map(|mail| mail.to).collect();
        assert_eq!(kept, ["d@acme.test", "c@acme.test"], "the frame of each is more than nothing");
        mailbox.clear();
        assert!(mailbox.mails(None).is_empty());
    }

    #[test]
    fn links_are_the_mails_own_and_those_in_its_text() {
        let text = "Open https://app.test/in?link_token=1_l\nor (https://help.test/a), see http://acme.test/x.";
        assert_eq!(
            links(&mail("a@acme.test", text)),
            ["https://app.test/in?link_token=1_l", "https://help.test/a", "http://acme.test/x"]
        );
    }

    #[test]
    fn an_address_may_have_a_plus() {
        for query in ["to=a+sktest@acme.test", "x=1&to=a%2Bsktest%40acme.test"] {
            assert_eq!(to(Some(query)).as_deref(), Some("a+sktest@acme.test"), "{query}");
        }
        assert_eq!(to(Some("to=")), None);
    }
}
