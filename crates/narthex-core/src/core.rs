//! The one value that everything works on: the database, time, randomness, ids, keys and caches of a process.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use narthex_db::{Db, DbOptions};
use tokio::task::JoinHandle;

use crate::cache::{Caches, Epochs};
use crate::captcha::{Captcha, NoCaptcha};
use crate::clients::LastUsed;
use crate::clock::Clock;
use crate::dns::{Dns, NoDns};
use crate::error::Result;
use crate::ids::Ids;
use crate::keys::KeyPairs;
use crate::mailer::{Mailer, NoMailer};
use crate::nodes::Node;
use crate::outbound::{NoOutbound, Outbound};
use crate::random::Random;
use crate::schema::Schema;
use crate::seal::{Keyring, MasterKeySource};
use crate::{api_tokens, clients, keys, sessions};

/// How often due key rotations, expired sessions and last-used times are looked after.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);

/// How a [`Core`] is opened.
pub struct CoreOptions {
    /// The database.
    pub database: DbOptions,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Whether pending migrations are applied; if not, a database that needs some is refused.
    pub migrate: bool,
    /// Where RSA key pairs come from.
    pub key_pairs: KeyPairs,
    /// Who is asked for DNS records.
    pub dns: Arc<dyn Dns>,
    /// Who takes mails.
    pub mailer: Arc<dyn Mailer>,
    /// Who sends requests to servers of the customers'.
    pub outbound: Arc<dyn Outbound>,
    /// Who tells people from programs.
    pub captcha: Arc<dyn Captcha>,
    /// Test users that an environment may have.
    pub test_user_limit: usize,
    /// Whether a login asks users with an authenticator app for a code of it (docs/decisions/0074).
    pub totp_at_login: bool,
}

/// Test users that an environment may have unless the operator says otherwise (login methods reference §14).
pub const TEST_USER_LIMIT: usize = 5;

impl CoreOptions {
    /// The usual: real time and randomness, migrations applied; nobody to ask for DNS records or about captchas, nobody
    /// who takes mails or requests.
    pub fn new(database_url: impl Into<String>, master_key: MasterKeySource) -> Self {
        Self {
            database: DbOptions::new(database_url),
            master_key,
            clock: Clock::new(),
            random: Random::new(),
            migrate: true,
            key_pairs: KeyPairs::Generated,
            dns: Arc::new(NoDns),
            mailer: Arc::new(NoMailer),
            outbound: Arc::new(NoOutbound),
            captcha: Arc::new(NoCaptcha),
            test_user_limit: TEST_USER_LIMIT,
            totp_at_login: false,
        }
    }
}

/// A running instance of the product.
pub struct Core {
    /// The database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// New ids.
    pub ids: Ids,
    /// The master key.
    pub keyring: Keyring,
    /// Rows in memory.
    pub caches: Caches,
    /// The leased node number.
    pub node: Arc<Node>,
    /// Who is asked for DNS records.
    pub dns: Arc<dyn Dns>,
    /// Who takes mails.
    pub mailer: Arc<dyn Mailer>,
    /// Who sends requests to servers of the customers'.
    pub outbound: Arc<dyn Outbound>,
    /// Who tells people from programs.
    pub captcha: Arc<dyn Captcha>,
    /// Test users that an environment may have.
    pub test_user_limit: usize,
    /// Whether a login asks users with an authenticator app for a code of it.
    pub totp_at_login: bool,
    pub(crate) key_pairs: KeyPairs,
    pub(crate) last_used: LastUsed,
    pub(crate) api_tokens_used: api_tokens::LastUsed,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Core {
    /// Opens the database, brings its schema up to date, checks the master key, leases a node number and starts the background work.
    /// A wrong master key is FAILED_PRECONDITION with a message for the operator.
    pub async fn open(options: CoreOptions) -> Result<Arc<Self>> {
        let db = Db::open(&options.database).await?;
        Self::start(db, options).await
    }

    /// [`Core::open`] on a database that is open already.
    pub async fn start(db: Db, options: CoreOptions) -> Result<Arc<Self>> {
        let CoreOptions {
            master_key,
            clock,
            random,
            migrate,
            key_pairs,
            dns,
            mailer,
            outbound,
            test_user_limit,
            totp_at_login,
            captcha,
            ..
        } = options;
        let schema = Schema::new();
        if migrate {
            db.migrate(&schema.migrations()).await?;
        } else {
            refuse_if_pending(&db, &schema).await?;
        }
        let keyring = Keyring::unlock(&db, &master_key, &random, clock.now()).await?;
        let (node, ids) = Node::lease(&db, &clock, &random).await?;
        let epochs = Epochs::new();
        let caches = Caches::new(&epochs);
        epochs.poll(&db).await?;
        let core = Arc::new(Self {
            db,
            clock,
            random,
            ids,
            keyring,
            caches,
            node: Arc::new(node),
            dns,
            mailer,
            outbound,
            captcha,
            test_user_limit,
            totp_at_login,
            key_pairs,
            last_used: LastUsed::default(),
            api_tokens_used: api_tokens::LastUsed::default(),
            tasks: Mutex::default(),
        });
        *core.tasks.lock().unwrap_or_else(PoisonError::into_inner) = vec![
            tokio::spawn(epochs.keep_polling(core.db.clone())),
            tokio::spawn(Arc::clone(&core.node).keep_renewing(core.db.clone())),
            tokio::spawn(keep_maintaining(Arc::downgrade(&core))),
        ];
        Ok(core)
    }

    /// Stops the background work, writes what is only in memory, gives the node number back and closes the database. Call it when
    /// requests have drained; a process that dies without it loses nothing but last-used times.
    pub async fn close(self: Arc<Self>) {
        self.stop_tasks();
        if let Err(error) = clients::flush_last_used(&self).await {
            tracing::warn!(?error, "last-used times of secrets are lost");
        }
        if let Err(error) = api_tokens::flush_last_used(&self).await {
            tracing::warn!(?error, "last-used times of API tokens are lost");
        }
        if let Err(error) = self.node.release(&self.db).await {
            tracing::warn!(?error, "the node number stays leased until it runs out");
        }
        self.db.clone().close().await;
    }

    pub(crate) fn stop_tasks(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

async fn refuse_if_pending(db: &Db, schema: &Schema) -> Result<()> {
    let status = db.migration_status(&schema.migrations()).await?;
    match status.iter().find(|migration| !migration.applied || migration.problem.is_some()) {
        None => Ok(()),
        Some(migration) => Err(crate::Error::new(
            crate::Kind::FailedPrecondition,
            format!(
                "migration {} {}: {}",
                migration.id,
                migration.name,
                migration.problem.as_deref().unwrap_or("not applied; run `narthex migrate`")
            ),
        )
        .with_code("SCHEMA_NOT_CURRENT")),
    }
}

/// One round of what must happen without traffic. Each step stands for itself, so that one that fails does not hold the others up.
pub async fn maintain(core: &Core) {
    if let Err(error) = keys::tick(core).await {
        tracing::warn!(?error, "due signing-key rotations wait");
    }
    if let Err(error) = sessions::sweep(core).await {
        tracing::warn!(?error, "expired sessions stay");
    }
    if let Err(error) = api_tokens::sweep(core).await {
        tracing::warn!(?error, "API tokens that ended long ago stay");
    }
}

async fn keep_maintaining(core: Weak<Core>) {
    let mut round = 0_u32;
    loop {
        tokio::time::sleep(MAINTAIN_EVERY).await;
        let Some(core) = core.upgrade() else { return };
        maintain(&core).await;
        round += 1;
        // Once a minute, which bounds what a busy client writes.
        if round.is_multiple_of(6) {
            flush_last_used(&core).await;
        }
    }
}

async fn flush_last_used(core: &Core) {
    if let Err(error) = clients::flush_last_used(core).await {
        tracing::warn!(?error, "last-used times of secrets wait");
    }
    if let Err(error) = api_tokens::flush_last_used(core).await {
        tracing::warn!(?error, "last-used times of API tokens wait");
    }
}
