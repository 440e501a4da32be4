//! Configuration of `narthex serve`: flags over `NARTHEX_…` variables over `narthex.toml` over defaults. This is the only module that
//! reads the process's environment.

pub mod keys;
mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use narthex_core::captcha::Provider;
use narthex_core::seal::Secret;
pub use settings::{Settings, Source, Sources, duration};

use crate::exit::Failure;
use crate::listen::proxies::{Family, Proxies};
use crate::outbound::names_this_machine;

/// How the public listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// A certificate of the installation's own CA.
    SelfSigned,
    /// PEM files.
    Files {
        /// Chain, leaf first.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// A proxy in front ends TLS; this process speaks plain HTTP.
    External,
}

/// Limits in requests per minute; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsConfig {
    /// Management requests per environment.
    pub api: u32,
    /// Requests to public RPCs per address.
    pub public_per_ip: u32,
    /// Token requests per client.
    pub token_per_client: u32,
    /// Token requests per address.
    pub token_per_ip: u32,
}

/// Lines for machines or for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text.
    Pretty,
}

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKey {
    /// A file; made on first start when `create` is set.
    File {
        /// Where.
        path: PathBuf,
        /// Whether a missing file is made.
        create: bool,
    },
    /// The key itself, read from a variable.
    Text(String),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS after STARTTLS, which the server must offer (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314 §3).
    Implicit,
    /// In the clear.
    None,
}

/// The installation's own mail server.
#[derive(Clone)]
pub struct MailConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// Who signs in, and with what; nobody, if the server asks nobody.
    pub login: Option<(String, Secret<String>)>,
    /// Address that mails come from.
    pub from_email: String,
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, login, from_email } = self;
        let username = login.as_ref().map(|(username, _)| username);
        f.debug_struct("MailConfig")
            .field("host", host)
            .field("port", port)
            .field("tls", tls)
            .field("username", &username)
            .field("from_email", from_email)
            .finish_non_exhaustive()
    }
}

/// Who tells people from programs.
#[derive(Clone)]
pub struct CaptchaConfig {
    /// Who.
    pub provider: Provider,
    /// Public half of the key.
    pub site_key: String,
    /// Secret half.
    pub secret: Secret<String>,
    /// Where tokens are verified, if not at the provider.
    pub verify_url: Option<String>,
    /// The widget's script, if not the provider's.
    pub script_url: Option<String>,
}

impl fmt::Debug for CaptchaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, site_key, secret: _, verify_url, script_url } = self;
        f.debug_struct("CaptchaConfig")
            .field("provider", provider)
            .field("site_key", site_key)
            .field("verify_url", verify_url)
            .field("script_url", script_url)
            .finish_non_exhaustive()
    }
}

impl CaptchaConfig {
    /// The provider that is set, if one is.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, Failure> {
        let text = |name: &str| settings.text(name).trim().to_owned();
        let provider = match settings.text("captcha.provider") {
            "recaptcha" => Provider::Recaptcha,
            "hcaptcha" => Provider::Hcaptcha,
            "turnstile" => Provider::Turnstile,
            _ => {
                let others = ["captcha.site_key", "captcha.secret", "captcha.verify_url", "captcha.script_url"];
                return match others.iter().find(|name| !text(name).is_empty()) {
                    Some(name) => Err(settings.wrong(name, "is of no use without captcha.provider")),
                    None => Ok(None),
                };
            }
        };
        for name in ["captcha.site_key", "captcha.secret"] {
            if text(name).is_empty() {
                return Err(settings.wrong(name, "is missing, since captcha.provider is set"));
            }
        }
        Ok(Some(Self {
            provider,
            site_key: text("captcha.site_key"),
            secret: Secret::new(text("captcha.secret")),
            verify_url: own_url(settings, "captcha.verify_url")?,
            script_url: own_url(settings, "captcha.script_url")?,
        }))
    }
}

/// A URL over which a secret or a script travels: with TLS, unless it stays on this machine.
fn own_url(settings: &Settings, name: &str) -> Result<Option<String>, Failure> {
    let text = settings.text(name).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let uri: Option<Uri> = text.parse().ok();
    let is_usable = uri.is_some_and(|uri| match (uri.scheme_str(), uri.authority()) {
        (_, Some(authority)) if authority.as_str().contains('@') => false,
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(authority)) => names_this_machine(authority.host().trim_matches(['[', ']'])),
        _ => false,
    });
    if is_usable {
        Ok(Some(text.to_owned()))
    } else {
        Err(settings.wrong(name, "must be a URL that begins with https://"))
    }
}

/// The configuration of `narthex serve`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Domain under which environments live.
    pub base_domain: String,
    /// `https` or `http`.
    pub public_scheme: String,
    /// TLS listener, unless TLS ends elsewhere.
    pub listen: Option<SocketAddr>,
    /// Plain listener.
    pub http_listen: Option<SocketAddr>,
    /// Health, version, metrics.
    pub admin_listen: Option<SocketAddr>,
    /// Proxies in front, whose forwarding headers count.
    pub proxies: Proxies,
    /// Between red readiness and closed listeners.
    pub drain_delay: Duration,
    /// Per listener.
    pub max_connections: usize,
    /// Folder with lock, socket and defaults of other paths.
    pub data_dir: PathBuf,
    /// Certificate source.
    pub tls: TlsMode,
    /// `sqlite:…` or `postgres://…`.
    pub database_url: String,
    /// Master key source.
    pub master_key: MasterKey,
    /// Seed applied at each start.
    pub seed_file: Option<PathBuf>,
    /// Rate limits.
    pub limits: LimitsConfig,
    /// Whether a login asks users with an authenticator app for a code of it.
    pub totp_at_login: bool,
    /// Mail server of the installation.
    pub mail: Option<MailConfig>,
    /// Who tells people from programs.
    pub captcha: Option<CaptchaConfig>,
    /// Log format.
    pub log_format: LogFormat,
    /// Log directives.
    pub log_level: String,
}

impl Config {
    /// Reads and checks every key. The first wrong value is named with its source.
    pub fn from_settings(settings: &Settings) -> Result<Self, Failure> {
        let data_dir = PathBuf::from(settings.text("server.data_dir"));
        let tls = match settings.text("tls.mode") {
            "external" => TlsMode::External,
            "files" => TlsMode::Files {
                cert: settings.required_path("tls.cert_file")?,
                key: settings.required_path("tls.key_file")?,
            },
            _ => TlsMode::SelfSigned,
        };
        let listen = if tls == TlsMode::External { None } else { settings.address("server.listen")? };
        let http_listen = settings.address("server.http_listen")?;
        if listen.is_none() && http_listen.is_none() {
            return Err(Failure::config(
                "nothing to listen on: set server.http_listen (with tls.mode=external) or server.listen",
            ));
        }
        let database_url = match settings.text("database.url") {
            "" => format!("sqlite:{}", data_dir.join("narthex.db").display()),
            url => url.to_owned(),
        };
        let base_domain = settings.text("server.base_domain").to_ascii_lowercase();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if base_domain.is_empty()
            || !base_domain.chars().all(valid)
            || base_domain.starts_with('.')
            || base_domain.ends_with('.')
        {
            return Err(settings.wrong("server.base_domain", "must be a domain without scheme and port"));
        }
        Ok(Self {
            base_domain,
            public_scheme: settings.text("server.public_scheme").to_owned(),
            listen,
            http_listen,
            admin_listen: settings.address("server.admin_listen")?,
            proxies: Proxies {
                trusted: settings.networks("server.trusted_proxies")?,
                family: match settings.text("server.forwarded_headers") {
                    "forwarded" => Family::Forwarded,
                    _ => Family::XForwarded,
                },
            },
            drain_delay: settings.duration("server.drain_delay")?,
            max_connections: settings.integer("server.max_connections")?.max(1) as usize,
            master_key: master_key(settings, &data_dir)?,
            data_dir,
            tls,
            database_url,
            seed_file: settings.path("seed.file"),
            limits: limits(settings)?,
            totp_at_login: settings.boolean("login.totp"),
            mail: mail(settings)?,
            captcha: CaptchaConfig::from_settings(settings)?,
            log_format: if settings.text("log.format") == "pretty" { LogFormat::Pretty } else { LogFormat::Json },
            log_level: settings.text("log.level").to_owned(),
        })
    }
}

fn limits(settings: &Settings) -> Result<LimitsConfig, Failure> {
    Ok(LimitsConfig {
        api: settings.integer("limits.api_per_minute")?,
        public_per_ip: settings.integer("limits.public_per_ip_per_minute")?,
        token_per_client: settings.integer("limits.token_per_client_per_minute")?,
        token_per_ip: settings.integer("limits.token_per_ip_per_minute")?,
    })
}

fn mail(settings: &Settings) -> Result<Option<MailConfig>, Failure> {
    let text = |name: &str| settings.text(name).trim().to_owned();
    let host = text("mail.host");
    let others = ["mail.from_email", "mail.username", "mail.password"];
    if host.is_empty() {
        return match others.iter().find(|name| !text(name).is_empty()) {
            Some(name) => Err(settings.wrong(name, "is of no use without mail.host")),
            None => Ok(None),
        };
    }
    let port = u16::try_from(settings.integer("mail.port")?).ok().filter(|port| *port != 0);
    let tls = match settings.text("mail.tls") {
        "implicit" => MailTls::Implicit,
        "none" => MailTls::None,
        _ => MailTls::StartTls,
    };
    let from_email = text("mail.from_email");
    if from_email.parse::<lettre::Address>().is_err() {
        return Err(settings.wrong("mail.from_email", "must be an address, since mail.host is set"));
    }
    let (username, password) = (text("mail.username"), settings.text("mail.password").to_owned());
    if username.is_empty() != password.is_empty() {
        let name = if username.is_empty() { "mail.username" } else { "mail.password" };
        return Err(settings.wrong(name, "is missing: a user name and a password belong together"));
    }
    if tls == MailTls::None && !username.is_empty() {
        return Err(settings.wrong("mail.tls", "must not be `none` with a password, which would travel in the clear"));
    }
    Ok(Some(MailConfig {
        host,
        port: port.ok_or_else(|| settings.wrong("mail.port", "must be a port"))?,
        tls,
        login: (!username.is_empty()).then(|| (username, Secret::new(password))),
        from_email,
    }))
}

fn master_key(settings: &Settings, data_dir: &Path) -> Result<MasterKey, Failure> {
    let text = settings.text("keys.master");
    if text.is_empty() {
        return Ok(MasterKey::File { path: data_dir.join("master.key"), create: true });
    }
    if let Some(path) = text.strip_prefix("file:") {
        return Ok(MasterKey::File { path: PathBuf::from(path), create: false });
    }
    if let Some(name) = text.strip_prefix("env:") {
        return settings
            .variable(name)
            .map(MasterKey::Text)
            .ok_or_else(|| settings.wrong("keys.master", "names a variable that is not set"));
    }
    // A key in the configuration itself would end up in backups of it, next to what it protects.
    Err(settings
        .wrong("keys.master", "must be `file:PATH` or `env:NAME`; the key itself does not belong in the configuration"))
}
