//! The whole server, built and started in one call: `narthex dev`, `narthex serve` and every test use the same.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use narthex_core::core::CoreOptions;
use narthex_core::dns::Dns;
use narthex_core::keys::KeyPairs;
use narthex_core::mailer::{Mailer, NoMailer};
use narthex_core::outbound::Outbound;
use narthex_core::seal::{MASTER_KEY_UNREADABLE, MASTER_KEY_WRONG, MasterKey as CoreMasterKey, MasterKeySource};
use narthex_core::{Clock, Core, Error, Random, jobs};
use narthex_rpc::Rpcs;
use tokio::task::JoinHandle;

use crate::config::{CaptchaConfig, Config, LimitsConfig, MasterKey, TlsMode};
use crate::dev::env_file::{self, Credentials, EnvFile};
use crate::dev::{DevMailer, Folder, Helpers, Mailbox, MovedClock, ca};
use crate::exit::{Exit, Failure, io_failure};
use crate::gate::State;
use crate::limits::Limiter;
use crate::listen::drain::{Drain, Phase};
use crate::listen::proxies::Proxies;
use crate::listen::tls::Certificates;
use crate::listen::{Door, Listener, Timeouts};
use crate::metrics::Metrics;
use crate::pages::Assets;
use crate::server::Server;
use crate::smtp::SmtpMailer;
use crate::{admin, dns, outbound, services};

/// How long requests in flight may take once the listeners are closed.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How `narthex dev` runs.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Data folder.
    pub dir: PathBuf,
    /// DEV environment, TLS.
    pub listen: SocketAddr,
    /// PRD environment, TLS.
    pub prd_listen: SocketAddr,
    /// DEV environment, plain.
    pub http_listen: SocketAddr,
    /// PostgreSQL instead of the SQLite file in `dir`.
    pub database_url: Option<String>,
    /// Seed file.
    pub seed: Option<PathBuf>,
    /// Rate limits; off unless configured.
    pub limits: LimitsConfig,
    /// Whether a login asks users with an authenticator app for a code of it.
    pub totp_at_login: bool,
    /// Who tells people from programs; nobody unless configured.
    pub captcha: Option<Box<CaptchaConfig>>,
}

impl DevOptions {
    /// The defaults of the command line, in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            dir: dir.into(),
            listen: local(8443),
            prd_listen: local(8444),
            http_listen: local(8080),
            database_url: None,
            seed: None,
            limits: LimitsConfig::default(),
            totp_at_login: false,
            captcha: None,
        }
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub enum Mode {
    /// `narthex dev`.
    Dev(DevOptions),
    /// `narthex serve`.
    Serve(Box<Config>),
}

/// What is handed in.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// What is run.
    pub mode: Mode,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Clocks of connections.
    pub timeouts: Timeouts,
    /// Where signing keys come from; tests reuse a few.
    pub key_pairs: KeyPairs,
    /// Who is asked for DNS records; the machine's resolver, if nobody else.
    pub dns: Option<Arc<dyn Dns>>,
    /// Who takes mails; the configured mail servers, if nobody else. `narthex dev` keeps them in its mailbox.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Who sends requests to servers of the customers'; the guarded client, if nobody else.
    pub outbound: Option<Arc<dyn Outbound>>,
}

impl AppOptions {
    /// Real time and randomness.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            clock: Clock::new(),
            random: Random::new(),
            timeouts: Timeouts::default(),
            key_pairs: KeyPairs::Generated,
            dns: None,
            mailer: None,
            outbound: None,
        }
    }
}

/// The server.
pub struct App;

/// A running server. Dropping it stops nothing; see [`Running::shutdown`].
pub struct Running {
    /// Base URL of the DEV environment (`dev`), or of the first listener (`serve`).
    pub dev_url: String,
    /// Base URL of the PRD environment (`dev`).
    pub prd_url: String,
    /// Base URL of the plain listener; empty if there is none.
    pub http_url: String,
    /// Base URL of health and metrics.
    pub admin_url: String,
    /// CA of the TLS listeners, if it is the folder's own.
    pub ca: Option<PathBuf>,
    /// `dev.env` and the credentials in it (`dev`).
    pub dev: Option<DevSummary>,
    /// A one-time link that signs the first operator in: of a start of `serve` before anybody has. Never
    /// logged.
    pub operator_link: Option<String>,
    /// Shared state, for tests.
    pub state: Arc<State>,
    certificates: Option<(Arc<Certificates>, TlsMode)>,
    drain_delay: Duration,
    listeners: Vec<JoinHandle<()>>,
    worker: JoinHandle<()>,
    socket: PathBuf,
    lock: FolderLock,
}

/// What `narthex dev` tells people.
#[derive(Debug, Clone)]
pub struct DevSummary {
    /// The file of variables.
    pub env_file: PathBuf,
    /// API client of the DEV environment.
    pub dev: Credentials,
    /// API client of the PRD environment.
    pub prd: Credentials,
}

impl App {
    /// Builds and starts everything. When it returns, requests are answered.
    pub async fn start(options: AppOptions) -> Result<Running, Failure> {
        match options.mode.clone() {
            Mode::Dev(dev) => Box::pin(start_dev(options, dev)).await,
            Mode::Serve(config) => Box::pin(start_serve(options, *config)).await,
        }
    }
}

async fn start_dev(options: AppOptions, dev: DevOptions) -> Result<Running, Failure> {
    let lock = FolderLock::take(&dev.dir)?;
    let dir = dev.dir.canonicalize().map_err(io_failure(dev.dir.display()))?;
    let folder = Folder(dir.clone());
    let clock = MovedClock::restore(folder.clock(), &options.clock)?;
    let tls = Listener::bind(dev.listen, Door::DevTls)?;
    let prd_tls = Listener::bind(dev.prd_listen, Door::PrdTls)?;
    let plain = Listener::bind(dev.http_listen, Door::DevPlain)?;
    let url =
        |port: u16| if port == 443 { "https://localhost".to_owned() } else { format!("https://localhost:{port}") };
    let (dev_url, prd_url) = (url(tls.address().port()), url(prd_tls.address().port()));
    let http_url = format!("http://localhost:{}", plain.address().port());

    let database_url = dev.database_url.clone().unwrap_or_else(|| format!("sqlite:{}", folder.database().display()));
    let mailbox = Arc::new(Mailbox::default());
    let options = AppOptions { mailer: Some(Arc::new(DevMailer::new(mailbox.clone()))), ..options };
    let core = open_core(&options, &database_url, MasterKeySource::File(folder.master_key())).await?;
    let known = env_file::read_credentials(&folder.env_file());
    let seeded = crate::seeding::dev(&core, &dev_url, &prd_url, known).await?;
    if let Some(seed) = &dev.seed {
        crate::seeding::apply_file(&core, seed).await?;
    }

    // The product's own environment is at a name below, which browsers resolve to this machine as well.
    let (names, below) = (["localhost", "127.0.0.1", "::1"], ["auth.localhost"]);
    let authority = ca::open(&dir, &names, &below, &options.clock, &options.random)?;
    let certificates = Arc::new(authority.server);
    let env_file = folder.env_file();
    EnvFile {
        dev_url: &dev_url,
        prd_url: &prd_url,
        http_url: &http_url,
        dev: &seeded.dev,
        prd: &seeded.prd,
        ca: &authority.certificate,
        trust_store: &authority.trust_store,
    }
    .write(&env_file)?;

    let helpers = Helpers { dev: seeded.dev_environment, prd: seeded.prd_environment, clock, mailbox };
    let started = Parts { core, limits: dev.limits, helpers: Some(helpers), proxies: Proxies::default(), dir, lock }
        .start(
            vec![tls.with_tls(certificates.clone()), prd_tls.with_tls(certificates), plain],
            usize::MAX >> 4,
            options.timeouts,
        )?;
    Ok(Running {
        admin_url: http_url.clone(),
        dev_url,
        prd_url,
        http_url,
        ca: Some(authority.certificate),
        dev: Some(DevSummary { env_file, dev: seeded.dev, prd: seeded.prd }),
        certificates: None,
        drain_delay: Duration::ZERO,
        ..started
    })
}

async fn start_serve(options: AppOptions, config: Config) -> Result<Running, Failure> {
    let lock = FolderLock::take(&config.data_dir)?;
    let dir = config.data_dir.canonicalize().map_err(io_failure(config.data_dir.display()))?;
    let (certificates, ca) = match &config.tls {
        TlsMode::External => (None, None),
        TlsMode::Files { cert, key } => (Some(Arc::new(Certificates::from_files(cert, key)?)), None),
        TlsMode::SelfSigned => {
            tracing::warn!(
                "tls.mode=selfsigned: browsers and SDKs trust this server only with the CA in the data folder"
            );
            let names = self_signed_names(&config.base_domain);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let authority = ca::open(&dir, &names, &[], &options.clock, &options.random)?;
            (Some(Arc::new(authority.server)), Some(authority.certificate))
        }
    };
    let mut listeners = Vec::new();
    if let (Some(address), Some(certificates)) = (config.listen, &certificates) {
        listeners.push(Listener::bind(address, Door::Public)?.with_tls(certificates.clone()));
    }
    if let Some(address) = config.http_listen {
        let door = if config.tls == TlsMode::External { Door::Plain } else { Door::Redirect };
        listeners.push(Listener::bind(address, door)?);
    }
    let public = listeners.first().map(Listener::address);
    let plain = config.http_listen.and(listeners.last()).map(Listener::address);
    let admin = config.admin_listen.map(|address| Listener::bind(address, Door::Admin)).transpose()?;
    let admin_url = admin.as_ref().map(|listener| format!("http://{}", listener.address())).unwrap_or_default();
    listeners.extend(admin);

    let mailer = options.mailer.clone().unwrap_or_else(|| Arc::new(SmtpMailer::new(&config)));
    let options = AppOptions { mailer: Some(mailer), ..options };
    let core = open_core(&options, &config.database_url, master_key(&config.master_key)?).await?;
    let workspace = crate::seeding::serve(&core, &config, public.map_or(443, |address| address.port())).await?;
    if let Some(seed) = &config.seed_file {
        crate::seeding::apply_file(&core, seed).await?;
    }
    let operator_link = admin::token::first_link(&core, workspace).await?;
    let parts = Parts { core, limits: config.limits, helpers: None, proxies: config.proxies.clone(), dir, lock };
    let started = parts.start(listeners, config.max_connections, options.timeouts)?;
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let http_url = plain.map(|address| format!("http://{address}")).unwrap_or_default();
    Ok(Running {
        dev_url: public
            .map(|address| format!("{scheme}://{}:{}", config.base_domain, address.port()))
            .unwrap_or_default(),
        http_url,
        admin_url,
        ca,
        certificates: certificates.map(|certificates| (certificates, config.tls.clone())),
        drain_delay: config.drain_delay,
        operator_link,
        ..started
    })
}

/// The hosts of the seeded environments; others too where a wildcard is possible, which single labels (`localhost`) are refused.
fn self_signed_names(base: &str) -> Vec<String> {
    let mut names: Vec<String> = ["auth", "dev", "prd"].iter().map(|name| format!("{name}.{base}")).collect();
    if base.contains('.') {
        names.push(format!("*.{base}"));
    }
    names.extend([base.to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    names
}

/// What both modes have in common, ready to be started.
struct Parts {
    core: Arc<Core>,
    limits: LimitsConfig,
    helpers: Option<Helpers>,
    proxies: Proxies,
    dir: PathBuf,
    lock: FolderLock,
}

impl Parts {
    fn start(self, listeners: Vec<Listener>, max_connections: usize, timeouts: Timeouts) -> Result<Running, Failure> {
        let drain = Drain::default();
        let state = Arc::new(State {
            core: self.core.clone(),
            metrics: Metrics::new(),
            limiter: Limiter::new(self.limits),
            drain: drain.clone(),
            assets: Assets::default(),
            dev: self.helpers,
        });
        let mut rpcs = Rpcs::new();
        services::register(&mut rpcs, &self.core);
        let server = Server::new(state.clone(), rpcs, self.proxies)
            .map(Arc::new)
            .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        let socket = self.dir.join("admin.sock");
        let admin = admin::socket::listen(&socket, state.clone())?;
        let stop = drain.clone();
        let worker = tokio::spawn(jobs::run(self.core, async move { stop.reached(Phase::Stopping).await }));
        let mut tasks = vec![admin];
        for listener in listeners {
            tasks.push(tokio::spawn(listener.serve(server.clone(), drain.clone(), max_connections, timeouts)));
        }
        Ok(Running {
            dev_url: String::new(),
            prd_url: String::new(),
            http_url: String::new(),
            admin_url: String::new(),
            ca: None,
            dev: None,
            operator_link: None,
            state,
            certificates: None,
            drain_delay: Duration::ZERO,
            listeners: tasks,
            worker,
            socket,
            lock: self.lock,
        })
    }
}

impl Running {
    /// The product behind the server.
    pub fn core(&self) -> &Arc<Core> {
        &self.state.core
    }

    /// Stops without failing a request: readiness goes red, the drain delay passes, listeners close, what is in flight ends.
    pub async fn shutdown(self) -> Exit {
        let drain = &self.state.drain;
        drain.advance(Phase::Draining);
        tokio::time::sleep(self.drain_delay).await;
        drain.advance(Phase::Stopping);
        for listener in self.listeners {
            if let Err(error) = listener.await {
                tracing::error!(%error, "a listener ended badly");
            }
        }
        let finished = drain.finished(DRAIN_LIMIT).await;
        if !finished {
            tracing::warn!(open = drain.open_connections(), "connections are cut: their requests took too long");
        }
        if tokio::time::timeout(DRAIN_LIMIT, self.worker).await.is_err() {
            tracing::warn!("a job is left to another node: it took too long");
        }
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, "admin socket");
        }
        self.state.core.clone().close().await;
        drop(self.lock);
        if finished { Exit::Ok } else { Exit::DrainTimeout }
    }

    /// Takes over what may change while running: rate limits and, with `tls.mode=files`, the certificate.
    pub fn reload(&self, config: &Config) -> Result<(), Failure> {
        self.state.limiter.configure(config.limits);
        if let (Some((certificates, TlsMode::Files { .. })), TlsMode::Files { cert, key }) =
            (&self.certificates, &config.tls)
        {
            certificates.reload(cert, key)?;
        }
        Ok(())
    }
}

/// Opens the product, telling database, schema and master key apart for the exit code.
pub async fn open_core(
    options: &AppOptions,
    database_url: &str,
    master_key: MasterKeySource,
) -> Result<Arc<Core>, Failure> {
    let captcha = match &options.mode {
        Mode::Dev(dev) => dev.captcha.as_deref(),
        Mode::Serve(config) => config.captcha.as_ref(),
    };
    let core = CoreOptions {
        clock: options.clock.clone(),
        random: options.random.clone(),
        key_pairs: options.key_pairs.clone(),
        dns: options.dns.clone().unwrap_or_else(dns::system),
        mailer: options.mailer.clone().unwrap_or_else(|| Arc::new(NoMailer)),
        // Only a developer's own server calls its own machine.
        outbound: options.outbound.clone().unwrap_or_else(|| outbound::client(matches!(options.mode, Mode::Dev(_)))),
        totp_at_login: match &options.mode {
            Mode::Dev(dev) => dev.totp_at_login,
            Mode::Serve(config) => config.totp_at_login,
        },
        captcha: outbound::captcha(captcha),
        ..CoreOptions::new(database_url, master_key)
    };
    Core::open(core).await.map_err(open_failure)
}

/// The exit code of a product that does not open.
pub fn open_failure(error: Error) -> Failure {
    let exit = match error.code() {
        MASTER_KEY_WRONG | MASTER_KEY_UNREADABLE => Exit::MasterKey,
        _ => Exit::Database,
    };
    Failure { exit, ..Failure::from(error) }
}

/// The configured source in the core's terms.
pub fn master_key(configured: &MasterKey) -> Result<MasterKeySource, Failure> {
    match configured {
        MasterKey::File { path, create: true } => Ok(MasterKeySource::File(path.clone())),
        MasterKey::File { path, create: false } => {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::new(Exit::MasterKey, format!("{}: {error}", path.display())))?;
            given(&text, &path.display().to_string())
        }
        MasterKey::Text(text) => given(text, "the variable named by keys.master"),
    }
}

fn given(text: &str, source: &str) -> Result<MasterKeySource, Failure> {
    let key = CoreMasterKey::parse(text)
        .ok_or_else(|| Failure::new(Exit::MasterKey, format!("{source}: not a master key (32 bytes in base64url)")))?;
    Ok(MasterKeySource::Given(key))
}

/// Ownership of a data folder: two writers on one SQLite file, or two nodes with one socket, would undo each other's work.
#[derive(Debug)]
pub struct FolderLock(File);

impl FolderLock {
    /// Makes the folder, readable by its owner only, and takes its lock.
    pub fn take(dir: &Path) -> Result<Self, Failure> {
        if !dir.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_failure(dir.display()))?;
        }
        let path = dir.join("lock");
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_failure(path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&path).unwrap_or_default();
                let message =
                    format!("{} is in use by process {}; stop it, or use another folder", dir.display(), owner.trim());
                return Err(Failure::new(Exit::AlreadyRunning, message));
            }
            Err(TryLockError::Error(error)) => return Err(io_failure(path.display())(error)),
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(io_failure(path.display()))?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io_failure(path.display()))?;
        Ok(Self(file))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file releases the lock in any case.
        self.0.unlock().ok();
    }
}

#[cfg(test)]
mod tests {
    use narthex_core::{Error, Kind};

    use super::{Exit, MASTER_KEY_UNREADABLE, MASTER_KEY_WRONG, open_failure};

    #[test]
    fn the_exit_code_follows_the_code_of_an_error_and_not_its_text() {
        let told = "unable to open database file: /srv/master key/narthex.db";
        assert_eq!(open_failure(Error::unavailable(told)).exit, Exit::Database);
        for code in [MASTER_KEY_WRONG, MASTER_KEY_UNREADABLE] {
            let error = Error::new(Kind::FailedPrecondition, "another language").with_code(code);
            assert_eq!(open_failure(error).exit, Exit::MasterKey, "{code}");
        }
    }
}
