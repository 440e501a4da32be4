//! `narthex dev`, `narthex serve` and `narthex config check`.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Dev, Sources, print};
use crate::app::{App, AppOptions, DevOptions, DevSummary, Mode, Running};
use crate::config::{self, CaptchaConfig, Config, LimitsConfig, LogFormat, Settings};
use crate::exit::{Exit, Failure, io_failure};
use crate::logging::Log;

pub(super) async fn dev(dev: Dev) -> Result<Exit, Failure> {
    // The keys of `serve` that make sense here may be set by variables; files and other keys are not read.
    let settings = Settings::load(&config::Sources { file: None, ..config::Sources::from_process(None, Vec::new()) })?;
    let log = Log::start(LogFormat::Pretty, settings.text("log.level"))?;
    let options = DevOptions {
        dir: dev.dir,
        listen: dev.listen,
        prd_listen: dev.prd_listen,
        http_listen: dev.http_listen,
        database_url: dev.database_url,
        seed: dev.seed,
        limits: dev_limits(&settings)?,
        totp_at_login: settings.boolean("login.totp"),
        captcha: CaptchaConfig::from_settings(&settings)?.map(Box::new),
    };
    let mut signals = Signals::new()?;
    let running = App::start(AppOptions::new(Mode::Dev(options))).await?;
    if let Some(summary) = &running.dev {
        print(&block(&running, summary))?;
    }
    let exit = until_stopped(running, &mut signals, |_| Ok(())).await;
    drop(log);
    Ok(exit)
}

/// Off unless somebody asks for them.
fn dev_limits(settings: &Settings) -> Result<LimitsConfig, Failure> {
    let limit = |name| match settings.source(name) {
        config::Source::Default => Ok(0),
        _ => settings.integer(name),
    };
    Ok(LimitsConfig {
        api: limit("limits.api_per_minute")?,
        public_per_ip: limit("limits.public_per_ip_per_minute")?,
        token_per_client: limit("limits.token_per_client_per_minute")?,
        token_per_ip: limit("limits.token_per_ip_per_minute")?,
    })
}

/// What a newcomer needs to see, and nothing else.
fn block(running: &Running, summary: &DevSummary) -> String {
    format!(
        "\n  Narthex {version} is ready\n\n\
         \x20   DEV environment   {dev}\n\
         \x20   in plain          {http}\n\
         \x20   PRD environment   {prd}\n\
         \x20   client id         {client}\n\
         \x20   client secret     in {env}\n\
         \x20   helpers           {dev}/dev\n\n\
         \x20 Any SDK program:    set -a; . {env}; set +a\n\
         \x20 An operator link:   narthex admin operator-link --dir {dir}\n\
         \x20 An operator token:  narthex admin token --dir {dir}\n\n",
        version = env!("CARGO_PKG_VERSION"),
        dev = running.dev_url,
        http = running.http_url,
        prd = running.prd_url,
        client = summary.dev.client_id,
        env = summary.env_file.display(),
        dir = summary.env_file.parent().unwrap_or(&summary.env_file).display(),
    )
}

pub(super) async fn serve(sources: Sources) -> Result<Exit, Failure> {
    let load = || {
        let settings = Settings::load(&config::Sources::from_process(sources.config.clone(), sources.set.clone()))?;
        Config::from_settings(&settings)
    };
    let config = load()?;
    let log = Log::start(config.log_format, &config.log_level)?;
    let mut signals = Signals::new()?;
    let running = App::start(AppOptions::new(Mode::Serve(Box::new(config)))).await?;
    if let Some(link) = &running.operator_link {
        // To the terminal alone: whoever reads the log later must not find it there.
        print(&format!(
            "\n  Sign in as the first operator, within 15 minutes and once:\n    {link}\n  Another one: narthex admin operator-link\n\n"
        ))?;
    }
    tracing::info!(url = running.dev_url, admin = running.admin_url, version = env!("CARGO_PKG_VERSION"), "ready");
    let exit = until_stopped(running, &mut signals, |running| {
        let config = load()?;
        log.set_level(&config.log_level)?;
        running.reload(&config)
    })
    .await;
    drop(log);
    Ok(exit)
}

pub(super) fn config_check(sources: Sources) -> Result<Exit, Failure> {
    let settings = Settings::load(&config::Sources::from_process(sources.config, sources.set))?;
    let config = Config::from_settings(&settings)?;
    crate::logging::check_level(&config.log_level)?;
    print(&settings.redacted())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Registered before anything starts: a signal during the start must not kill it half-way.
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(io_failure("signals"));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs until a signal, reloading on SIGHUP; a second signal during the drain ends it at once.
async fn until_stopped(
    running: Running,
    signals: &mut Signals,
    reload: impl Fn(&Running) -> Result<(), Failure>,
) -> Exit {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => match reload(&running) {
                Ok(()) => tracing::info!("log level, rate limits and TLS files are reloaded"),
                Err(failure) => tracing::error!(%failure, "nothing is reloaded"),
            },
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        exit = running.shutdown() => exit,
        () = signals.stop() => Exit::DrainTimeout,
    }
}
