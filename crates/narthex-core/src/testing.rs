//! Test support: a seeded [`Core`] on a database of its own, in one call.

use std::collections::BTreeMap;
pub mod authenticator;

use std::ops::Deref;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_db::testing::TestDb;
use narthex_db::{Db, Engine, p};

use crate::core::{Core, CoreOptions};
use crate::environments::{self, Environment};
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::ids::{EnvId, OrganizationId, UserId};
use crate::keys::{self, KeyPairs};
use crate::mailer::{Failure, MailError, Mailer, Message, Sending, SmtpServer};
use crate::memberships::{self, Addition, Provisioning, Subject};
use crate::organizations::{self, NewOrganization};
use crate::outbound::{self, Answering, Outbound, Request};
use crate::roles::{self, NewRole, Reference, Scope};
use crate::schema::Schema;
use crate::seal::{MasterKeySource, Secret};
use crate::seed::{self, FirstStart, SeedClient, SeededClient};
use crate::users::NewUser;

/// The master key of every test database.
pub const MASTER_KEY: [u8; 32] = [7; 32];

/// A node on a database that is removed with it. Derefs to [`Core`].
pub struct TestCore {
    /// The node.
    pub core: Arc<Core>,
    /// Its database.
    pub database: TestDb,
    /// The DEV environment, at `https://dev.test`.
    pub dev: Arc<Environment>,
    /// The PRD environment, at `https://prd.test`.
    pub prd: Arc<Environment>,
    /// The product's own environment, at `https://auth.test`.
    pub system: Arc<Environment>,
    /// The DEV environment's client.
    pub dev_client: SeededClient,
    /// The PRD environment's client.
    pub prd_client: SeededClient,
    /// The mails it has sent.
    pub mails: Arc<RecordingMailer>,
    /// The requests it has sent.
    pub calls: Arc<RecordingOutbound>,
}

impl TestCore {
    /// A node on an empty, migrated and seeded database.
    pub async fn new(engine: Engine) -> Result<Self> {
        Self::on(TestDb::new(engine, &Schema::new().migrations()).await?).await
    }

    /// The same on a database that is empty and migrated already.
    pub async fn on(database: TestDb) -> Result<Self> {
        let mails = Arc::new(RecordingMailer::default());
        let mailer: Arc<dyn Mailer> = mails.clone();
        let calls = Arc::new(RecordingOutbound::default());
        let outbound: Arc<dyn Outbound> = calls.clone();
        let options = CoreOptions { mailer, outbound, ..options(&database, MASTER_KEY) };
        let core = Core::start(database.db(), options).await?;
        let seeded = seed::first_start(
            &core,
            FirstStart {
                workspace_name: "Test".to_owned(),
                system_origin: "https://auth.test".to_owned(),
                dev_origin: "https://dev.test".to_owned(),
                prd_origin: "https://prd.test".to_owned(),
                dev_client: SeedClient::default(),
                prd_client: SeedClient::default(),
            },
        )
        .await?;
        let missing = || Error::internal("the seed is incomplete");
        let (dev_client, prd_client) = seeded.clients.ok_or_else(missing)?;
        Ok(Self {
            dev: environments::by_id(&core, seeded.dev).await?.ok_or_else(missing)?,
            prd: environments::by_id(&core, seeded.prd).await?.ok_or_else(missing)?,
            system: environments::by_id(&core, seeded.system).await?.ok_or_else(missing)?,
            dev_client,
            prd_client,
            core,
            database,
            mails,
            calls,
        })
    }

    /// A second node on the same database, whose mails are recorded with those of the first; PostgreSQL only, since a SQLite file has
    /// one owner.
    pub async fn second_node(&self) -> Result<Arc<Core>> {
        let db = Db::open(self.database.options()).await?;
        let mailer: Arc<dyn Mailer> = self.mails.clone();
        let outbound: Arc<dyn Outbound> = self.calls.clone();
        Core::start(db, CoreOptions { mailer, outbound, ..options(&self.database, MASTER_KEY) }).await
    }
}

impl Deref for TestCore {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// Takes every request and keeps it. The other side answers 200 with an empty body, or as it is told.
#[derive(Debug, Default)]
pub struct RecordingOutbound {
    sent: Mutex<Vec<Request>>,
    status: Mutex<Option<u16>>,
}

impl RecordingOutbound {
    /// Every request so far, oldest first.
    pub fn sent(&self) -> Vec<Request> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on every answer has this status.
    pub fn answer(&self, status: u16) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

impl Outbound for RecordingOutbound {
    fn send(&self, request: Request) -> Answering<'_> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(200);
        Box::pin(async move { Ok(outbound::Answer { status, headers: Vec::new(), body: Vec::new() }) })
    }
}

/// Takes every mail and keeps it, or fails as it is told.
#[derive(Default)]
pub struct RecordingMailer {
    sent: Mutex<Vec<Sent>>,
    failure: Mutex<Option<Failure>>,
}

/// A mail that was sent. Derefs to [`Message`].
#[derive(Clone)]
pub struct Sent {
    /// The mail.
    pub message: Message,
    /// The customer's server that it went through; none for the installation's own.
    pub via: Option<SmtpServer>,
}

impl Deref for Sent {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl RecordingMailer {
    /// Address that mails of environments without a server of their own come from.
    pub const ADDRESS: &'static str = "hi@narthex.test";

    /// Every mail so far, oldest first.
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().clone()
    }

    /// The newest mail to an address.
    pub fn last_to(&self, address: &str) -> Option<Sent> {
        self.lock().iter().rev().find(|sent| sent.to == address).cloned()
    }

    /// From now on every mail fails like this; none does with `None`.
    pub fn fail(&self, how: Option<Failure>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RecordingMailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingMailer").finish_non_exhaustive()
    }
}

impl Mailer for RecordingMailer {
    fn address(&self) -> String {
        Self::ADDRESS.to_owned()
    }

    fn send<'a>(&'a self, mail: &'a Message, via: Option<&'a SmtpServer>) -> Sending<'a> {
        Box::pin(async move {
            if let Some(failure) = *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
                return Err(MailError::new(failure, "the test says so"));
            }
            self.lock().push(Sent { message: mail.clone(), via: via.cloned() });
            Ok(())
        })
    }
}

/// Options for a node on a test database, whose mails go to a record of their own.
pub fn options(database: &TestDb, master_key: [u8; 32]) -> CoreOptions {
    CoreOptions {
        database: database.options().clone(),
        mailer: Arc::new(RecordingMailer::default()),
        key_pairs: reused_key_pairs(),
        totp_at_login: true,
        ..CoreOptions::new("", MasterKeySource::Given(Secret::new(master_key)))
    }
}

/// A new organization.
pub async fn organization(core: &Core, environment: EnvId) -> Result<OrganizationId> {
    let new = NewOrganization::named("Test");
    Ok(organizations::create(core, environment, &Actor::SYSTEM, new, None).await?.id)
}

/// A new member of an organization, with a role of their own that allows exactly this.
pub async fn member(
    core: &Core,
    environment: &Environment,
    organization: OrganizationId,
    permissions: &[&str],
) -> Result<UserId> {
    let name = format!("role_{}", core.ids.next());
    let role = NewRole {
        name: name.clone(),
        display_name: name.clone(),
        permissions: permissions.iter().map(|&permission| permission.to_owned()).collect(),
        ..NewRole::default()
    };
    roles::create(core, environment.id, Scope::Organization(organization), &Actor::SYSTEM, role, None).await?;
    let addition = Addition {
        organization,
        subject: Subject::New(NewUser { email: format!("{name}@example.com"), ..NewUser::default() }),
        roles: vec![Reference::Name(name)],
        metadata: BTreeMap::new(),
        inviter_email: None,
        invite: false,
        provisioning: Provisioning::Direct,
    };
    Ok(memberships::add(core, environment, &Actor::SYSTEM, addition, None).await?.user.id)
}

/// Key pairs that cost nothing after the first few.
pub fn reused_key_pairs() -> KeyPairs {
    KeyPairs::Reused(Arc::new(AtomicUsize::new(0)))
}

/// One of eight key pairs of this process, in PKCS#8.
///
/// # Panics
/// If the library cannot make a key.
pub fn rsa_key(turn: usize) -> &'static [u8] {
    // Written once and never changed: a cache of something slow, not state.
    static KEYS: [OnceLock<Vec<u8>>; 8] = [const { OnceLock::new() }; 8];
    KEYS[turn % KEYS.len()].get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("RSA key generation");
        let der: Pkcs8V1Der<'static> = pair.as_der().expect("PKCS#8");
        der.as_ref().to_vec()
    })
}

/// A token with any header and payload (JSON texts), signed by the environment's own key: what no attacker can make, but a bug of ours
/// could. Without a header it gets the right one.
pub async fn sign_raw(core: &Core, environment: EnvId, header: Option<&str>, payload: &str) -> Result<String> {
    let signer = keys::signer(core, environment, 0).await?;
    let header = header.map_or_else(|| signer.header.to_string(), |header| URL_SAFE_NO_PAD.encode(header));
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let mut signature = vec![0; signer.pair.public_modulus_len()];
    signer
        .pair
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|_| Error::internal("RSA signing failed"))?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature)))
}

/// Ends the background work of a node, as if it hung: no polling, no renewal of the lease, no maintenance.
pub fn hang(core: &Core) {
    core.stop_tasks();
}

/// Every row of every table as text, in lower case: what a test searches for that must not be there. The pieces of a search index are left
/// out, since they are no longer than three letters.
pub async fn dump(db: &Db) -> Result<String> {
    let engine = db.engine();
    let tables = match engine {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
        Engine::Postgres => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'"
        }
    };
    db.read(async move |tx| {
        let tables: Vec<(String,)> = tx.all(tables, &[]).await?;
        if tables.len() < 25 {
            return Err(Error::internal(format!("there are more tables than {tables:?}")));
        }
        let mut all = String::new();
        for (table,) in tables {
            let row = match engine {
                Engine::Postgres => format!("CAST({table} AS TEXT)"),
                Engine::Sqlite if table.contains("_search_") => continue,
                Engine::Sqlite => {
                    let columns: Vec<(String,)> = tx.all("SELECT name FROM pragma_table_info($1)", &p![&table]).await?;
                    let text = |name: &str| {
                        format!(
                            "CASE typeof(\"{name}\") WHEN 'blob' THEN hex(\"{name}\") ELSE COALESCE(CAST(\"{name}\" AS TEXT), '') END"
                        )
                    };
                    columns.iter().map(|(name,)| text(name)).collect::<Vec<_>>().join(" || '|' || ")
                }
            };
            let rows: Vec<(Option<String>,)> = tx.all(&format!("SELECT {row} FROM {table}"), &[]).await?;
            for row in rows.into_iter().filter_map(|(row,)| row) {
                all.push_str(&table);
                all.push_str(": ");
                all.push_str(&row);
                all.push('\n');
            }
        }
        Ok(all.to_lowercase())
    })
    .await
}
