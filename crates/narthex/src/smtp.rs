//! Mails over SMTP (RFC 5321), with TLS (RFC 3207, RFC 8314): to the installation's own server, or to one of a customer's.
//!
//! A customer has chosen the name of theirs, so that only addresses of the open network are called, and nothing without TLS.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};
use std::{fmt, io};

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message as Built};
use narthex_core::mailer::{Failure, MailError, Mailer, Message, Sending, SmtpServer};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Config, MailConfig, MailTls};
use crate::outbound::{Roots, authorities, is_public};

/// Time for one mail: whoever signs in is waiting for it.
const TIME: Duration = Duration::from_secs(30);
/// Time until a server takes a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes that a server may say over one connection.
const MOST: usize = 1024 * 1024;
/// Characters of what a server says that are kept.
const TEXT: usize = 300;
/// The port of TLS from the first byte (RFC 8314 §7.3).
const SUBMISSIONS: u16 = 465;
/// Every way to sign in that sends the password as it is, which TLS protects. The first that the server offers is used.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Where the mail servers of customers may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    OpenNetwork,
    /// On a developer's own machine, which no mail leaves.
    ThisMachine,
}

/// Takes mails to their servers.
pub struct SmtpMailer {
    own: Option<MailConfig>,
    /// What this machine calls itself.
    hello: ClientId,
    reach: Reach,
    roots: Roots,
    /// Those of `roots`, as STARTTLS needs them; read once.
    authorities: OnceLock<Vec<Certificate>>,
}

impl SmtpMailer {
    /// With the installation's own server, if it has one.
    pub fn new(config: &Config) -> Self {
        let hello = ClientId::Domain(config.base_domain.clone());
        Self { own: config.mail.clone(), ..Self::to(Reach::OpenNetwork, hello) }
    }

    /// For `narthex dev`: to servers of environments that are on this machine.
    pub fn on_this_machine() -> Self {
        Self::to(Reach::ThisMachine, ClientId::Domain("localhost".to_owned()))
    }

    fn to(reach: Reach, hello: ClientId) -> Self {
        Self { own: None, hello, reach, roots: Roots::default(), authorities: OnceLock::new() }
    }

    /// Whether the installation's own server would take mails, as far as that shows before one is sent.
    pub async fn check(&self) -> Result<(), MailError> {
        within(TIME, async {
            let mut connection = self.open(&self.server(None)?).await?;
            connection.quit().await.ok();
            Ok(())
        })
        .await
    }

    fn server(&self, via: Option<&SmtpServer>) -> Result<Server, MailError> {
        if let Some(server) = via {
            let login = (server.username.clone(), server.password.expose().clone());
            return Ok(Server {
                host: server.host.clone(),
                port: server.port,
                tls: if server.port == SUBMISSIONS { MailTls::Implicit } else { MailTls::StartTls },
                login: (!login.0.is_empty()).then(|| login.into()),
                is_ours: false,
            });
        }
        let own = self.own.as_ref().ok_or_else(|| MailError::new(Failure::NotConfigured, "mail.host is not set"))?;
        Ok(Server {
            host: own.host.clone(),
            port: own.port,
            tls: own.tls,
            login: own.login.as_ref().map(|(name, password)| (name.clone(), password.expose().clone()).into()),
            is_ours: true,
        })
    }

    async fn deliver(&self, mail: &Message, via: Option<&SmtpServer>) -> Result<(), MailError> {
        let server = self.server(via)?;
        let built = build(mail)?;
        let mut connection = self.open(&server).await?;
        connection.send(built.envelope(), &built.formatted()).await.map_err(|error| answered(&error))?;
        // The mail has been taken: what comes after it is the server's own business.
        connection.quit().await.ok();
        tracing::info!(environment = %mail.environment, use_case = mail.use_case.name(), "a mail was sent");
        Ok(())
    }

    /// A connection that mails can be sent over.
    async fn open(&self, server: &Server) -> Result<AsyncSmtpConnection, MailError> {
        let tls = match server.tls {
            MailTls::StartTls => Some(self.tls(&server.host)?),
            MailTls::Implicit | MailTls::None => None,
        };
        let mut connection = self.connect(server).await?;
        if let Some(tls) = tls {
            if !connection.can_starttls() {
                return Err(MailError::new(Failure::Untrusted, "the server does not offer STARTTLS"));
            }
            let upgraded = connection.starttls(tls, &self.hello).await;
            upgraded.map_err(|error| match answered(&error).failure {
                Failure::Refused => MailError::new(Failure::Untrusted, error_text(&error)),
                failure => MailError::new(failure, error_text(&error)),
            })?;
        }
        if let Some(login) = &server.login {
            let accepted = connection.auth(&MECHANISMS, login).await;
            accepted.map_err(|error| {
                let failure = match answered(&error).failure {
                    // It offers no way to sign in, or does not know the name or the password.
                    Failure::Refused => Failure::Login,
                    failure => failure,
                };
                // Its words are not kept: a server may say the password back.
                let status = error.status().map_or_else(|| "no answer".to_owned(), |code| format!("answered {code}"));
                MailError::new(failure, format!("AUTH: {status}"))
            })?;
        }
        Ok(connection)
    }

    /// Connects to the very addresses that were looked at, one after the other.
    async fn connect(&self, server: &Server) -> Result<AsyncSmtpConnection, MailError> {
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        let found = found.map_err(|error| MailError::new(Failure::Unreachable, error.to_string()))?;
        let mut failure = MailError::new(Failure::Forbidden, "the host has no address that may be called");
        let is_allowed = |address: &SocketAddr| match self.reach {
            _ if server.is_ours => true,
            Reach::OpenNetwork => is_public(address.ip()),
            Reach::ThisMachine => address.ip().is_loopback(),
        };
        for address in found.filter(is_allowed) {
            match self.dial(server, address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// STARTTLS to a host that must prove its name.
    fn tls(&self, host: &str) -> Result<TlsParameters, MailError> {
        let unusable = |text: String| MailError::new(Failure::Untrusted, text);
        let known = if let Some(known) = self.authorities.get() {
            known
        } else {
            let found = authorities().map_err(unusable)?.into_iter();
            let read = found.map(|authority| Certificate::from_der(authority.to_vec())).collect::<Result<Vec<_>, _>>();
            let read = read.map_err(|error| unusable(error_text(&error)))?;
            self.authorities.get_or_init(|| read)
        };
        let builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
        let builder = known.iter().cloned().fold(builder, TlsParametersBuilder::add_root_certificate);
        builder.build_rustls().map_err(|error| unusable(error_text(&error)))
    }

    async fn dial(&self, server: &Server, address: SocketAddr) -> Result<AsyncSmtpConnection, MailError> {
        let unreachable = |text: String| MailError::new(Failure::Unreachable, text);
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| unreachable("no connection in time".to_owned()))?;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let stream: Box<dyn AsyncTokioStream> = if server.tls == MailTls::Implicit {
            let name = ServerName::try_from(server.host.clone());
            let name = name.map_err(|error| MailError::new(Failure::Untrusted, error.to_string()))?;
            let mut config = (*self.roots.config().map_err(|text| MailError::new(Failure::Untrusted, text))?).clone();
            config.alpn_protocols.clear();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let stream = stream.map_err(|error| {
                let is_tls = is_rustls(&error);
                MailError::new(if is_tls { Failure::Untrusted } else { Failure::Unreachable }, error.to_string())
            })?;
            Box::new(Bounded { inner: stream, left: MOST, peer: address })
        } else {
            Box::new(Bounded { inner: stream, left: MOST, peer: address })
        };
        let greeted = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await;
        greeted.map_err(|error| answered(&error))
    }
}

/// A connection over which the other side says no more than so many bytes: neither time nor size is a customer's server's to choose.
#[derive(Debug)]
struct Bounded<S> {
    inner: S,
    left: usize,
    peer: SocketAddr,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::other("the server says too much"))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer").field("host", &self.own.as_ref().map(|own| &own.host)).finish_non_exhaustive()
    }
}

impl Mailer for SmtpMailer {
    fn address(&self) -> String {
        self.own.as_ref().map_or_else(|| "nobody@localhost".to_owned(), |own| own.from_email.clone())
    }

    fn send<'a>(&'a self, mail: &'a Message, via: Option<&'a SmtpServer>) -> Sending<'a> {
        Box::pin(within(TIME, self.deliver(mail, via)))
    }
}

/// A server, whosever it is.
struct Server {
    host: String,
    port: u16,
    tls: MailTls,
    login: Option<Credentials>,
    /// The operator's, who may send through whatever address they like.
    is_ours: bool,
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, MailError>>) -> Result<T, MailError> {
    let late = || MailError::new(Failure::Unreachable, format!("not done within {} s", time.as_secs()));
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late()))
}

/// The mail as it travels: both parts, and no way for what stands in it to become a header (RFC 5322 §2.2).
fn build(mail: &Message) -> Result<Built, MailError> {
    let malformed = |error: &dyn fmt::Display| MailError::new(Failure::Refused, format!("cannot be written: {error}"));
    let address = |text: &str| text.parse::<Address>().map_err(|error| malformed(&error));
    let from = address(&mail.from)?;
    let id = format!("<{}@{}>", mail.id, from.domain());
    let date = UNIX_EPOCH + Duration::from_micros(u64::try_from(mail.date.0).unwrap_or(0));
    let name = Some(on_one_line(&mail.from_name)).filter(|name| !name.is_empty());
    Built::builder()
        .from(Mailbox::new(name, from))
        .to(Mailbox::new(None, address(&mail.to)?))
        .subject(on_one_line(&mail.subject))
        .date(date)
        .message_id(Some(id))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|error| malformed(&error))
}

/// Whoever wrote the text has seen to it already: what reads it here does not take a line break for one of a name.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// `Auto-Submitted: auto-generated` (RFC 3834 §5): nobody's absence note is wanted.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// What an error means. Replies of 4yz ask to come back, those of 5yz not to (RFC 5321 §4.2.1).
fn answered(error: &SmtpError) -> MailError {
    // What the client itself refuses is what this server does not take, such as an address beyond ASCII.
    let failure = if error.is_permanent() || error.is_client() {
        Failure::Refused
    } else if error.is_transient() {
        Failure::Busy
    } else if is_tls(error) {
        Failure::Untrusted
    } else {
        Failure::Unreachable
    };
    MailError::new(failure, error_text(error))
}

fn is_rustls(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

/// Whether TLS is what failed.
fn is_tls(error: &SmtpError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if at.is::<rustls::Error>() || at.downcast_ref::<io::Error>().is_some_and(is_rustls) {
            return true;
        }
        cause = at.source();
    }
    error.is_tls()
}

/// The error with its causes, for the log. Not of AUTH, where a server could say the password back.
fn error_text(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(at) = cause {
        let more = at.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = at.source();
    }
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use narthex_core::Timestamp;
    use narthex_core::emails::UseCase;
    use narthex_core::ids::EnvId;
    use narthex_core::seal::Secret;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    fn mail() -> Message {
        Message {
            environment: EnvId(1),
            use_case: UseCase::UserLoginOtp,
            id: "narthex-1".to_owned(),
            date: Timestamp(1_764_000_000_000_000),
            from_name: "Team Acme".to_owned(),
            from: "hi@mail.example".to_owned(),
            to: "ann@acme.example".to_owned(),
            subject: "Your code".to_owned(),
            text: "123456".to_owned(),
            html: "<p>123456</p>".to_owned(),
            link: None,
            otp: None,
        }
    }

    /// One that has no server of its own.
    fn of_customers() -> SmtpMailer {
        SmtpMailer::to(Reach::OpenNetwork, ClientId::Domain("auth.example".to_owned()))
    }

    #[tokio::test]
    async fn a_server_that_says_more_than_it_may_is_not_listened_to() {
        let mut stream = Bounded { inner: &[0; 100][..], left: 64, peer: SocketAddr::from(([127, 0, 0, 1], 25)) };
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.expect("what it may say"), 64);
        let error = stream.read(&mut buffer).await.expect_err("too much");
        assert_eq!(error.to_string(), "the server says too much");
    }

    #[tokio::test]
    async fn mistake_15_a_server_that_says_the_password_back_puts_it_into_no_log() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"220 echo\r\n").await.expect("greeted");
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.get(..4) {
                    Some("EHLO") => "250-echo\r\n250 AUTH PLAIN\r\n".to_owned(),
                    Some("AUTH") => format!("535 no such login: {line} hunter2\r\n"),
                    _ => "250 ok\r\n".to_owned(),
                };
                writer.write_all(answer.as_bytes()).await.expect("answered");
            }
        });
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port,
            tls: MailTls::None,
            login: Some(("narthex".to_owned(), "hunter2".to_owned()).into()),
            is_ours: true,
        };
        let Err(error) = of_customers().open(&server).await else { panic!("signed in") };
        assert_eq!((error.failure, &*error.detail), (Failure::Login, "AUTH: answered 535"));
    }

    fn written(mail: &Message) -> String {
        String::from_utf8(build(mail).map_err(|error| error.to_string()).expect("a mail").formatted()).expect("ascii")
    }

    fn head(mail: &Message) -> String {
        written(mail).split_once("\r\n\r\n").expect("a head").0.to_owned()
    }

    #[test]
    fn eml_07_a_mail_has_a_text_and_an_html_part_and_says_that_a_machine_has_sent_it() {
        let text = written(&mail());
        for line in [
            "From: \"Team Acme\" <hi@mail.example>",
            "To: ann@acme.example",
            "Subject: Your code",
            "Message-ID: <narthex-1@mail.example>",
            "Auto-Submitted: auto-generated",
            "Date: Mon, 24 Nov 2025 16:00:00 +0000",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is not in {text}");
        }
        assert!(text.contains("Content-Type: multipart/alternative;"));
    }

    #[test]
    fn mistake_13_names_and_subjects_put_no_header_into_a_mail() {
        for evil in [
            "a\r\nBcc: eve@evil.example",
            "a\nBcc: eve@evil.example",
            "\"\r\n\r\nbody",
            "Ünïcode ☃",
            "a\" <eve@evil.example>, \"",
        ] {
            let mail = Message { from_name: evil.to_owned(), subject: evil.to_owned(), ..mail() };
            let head = head(&mail);
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split_once(':').expect("a header").0)
                .collect();
            assert_eq!(
                names,
                ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"],
                "{evil}"
            );
            assert!(!head.contains('\n') || head.matches('\n').count() == head.matches("\r\n").count(), "{evil}");
        }
    }

    #[tokio::test]
    async fn mistake_12_a_customers_mail_server_is_no_way_into_this_network() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let mailer = of_customers();
        for host in ["127.0.0.1", "localhost", "::1", "169.254.169.254", "10.0.0.1", "::ffff:127.0.0.1"] {
            let server = SmtpServer {
                host: host.to_owned(),
                port,
                username: "narthex".to_owned(),
                password: Secret::new("hunter2".to_owned()),
            };
            let error = mailer.send(&mail(), Some(&server)).await.expect_err(host);
            assert_eq!(error.failure, Failure::Forbidden, "{host}: {error}");
        }
        let called = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(called.is_err(), "nobody has connected");

        // And a developer's machine sends nothing to anybody else.
        let server = SmtpServer {
            host: "192.0.2.1".to_owned(),
            port,
            username: "narthex".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        };
        let error = SmtpMailer::on_this_machine().send(&mail(), Some(&server)).await.expect_err("elsewhere");
        assert_eq!(error.failure, Failure::Forbidden, "{error}");
    }

    #[tokio::test]
    async fn an_installation_without_a_mail_server_says_so() {
        let mailer = of_customers();
        let error = mailer.send(&mail(), None).await.expect_err("no server");
        assert_eq!(error.failure, Failure::NotConfigured);
    }

    #[test]
    fn mistake_13_what_is_no_address_is_no_recipient() {
        for evil in [
            "ann@acme.example\r\nRCPT TO:<eve@evil.example>",
            "ann@acme.example, eve@evil.example",
            "<ann@acme.example>",
            "",
        ] {
            let mail = Message { to: evil.to_owned(), ..mail() };
            assert_eq!(build(&mail).map(drop).map_err(|error| error.failure), Err(Failure::Refused), "{evil}");
        }
    }
}
