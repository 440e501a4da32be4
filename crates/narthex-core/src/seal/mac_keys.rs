//! One key per environment for its low-entropy secrets (codes, recovery codes): who has the database alone cannot try them all.

use std::sync::Arc;

use aws_lc_rs::hmac;
use narthex_db::p;

use super::{Place, Sealed, Secret, open, seal};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::organizations::share;

/// An environment's key for HMAC-SHA256.
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The tag of `parts`, each with its length in front. `purpose` keeps the tags of one use from being those of another.
    pub(crate) fn tag(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

fn place(environment: EnvId) -> Place<'static> {
    Place { environment, table: "mac_keys", column: "sealed", row: environment.0 }
}

/// The environment's key; made when it is first asked for. It never changes, so that it is kept once it has been opened.
pub(crate) async fn mac_key(core: &Core, environment: EnvId) -> Result<Arc<MacKey>> {
    if let Some(key) = core.caches.mac_keys.get(&environment) {
        return Ok(key);
    }
    let sealed = match load(core, environment).await? {
        Some(sealed) => sealed,
        None => make(core, environment).await?,
    };
    let bytes = open(core, place(environment), &sealed).await?;
    let key = Arc::new(MacKey(hmac::Key::new(hmac::HMAC_SHA256, bytes.expose())));
    core.caches.mac_keys.put(environment, Arc::clone(&key));
    Ok(key)
}

async fn load(core: &Core, environment: EnvId) -> Result<Option<Sealed>> {
    let sql = "SELECT sealed FROM mac_keys WHERE environment_id = $1";
    let found: Option<(Sealed,)> = core.db.reader().await?.opt(sql, &p![environment]).await?;
    Ok(found.map(|(sealed,)| sealed))
}

/// Makes the key, unless another node is faster: then its key counts.
async fn make(core: &Core, environment: EnvId) -> Result<Sealed> {
    let bytes = Secret::new(core.random.bytes::<32>());
    let (sealed, now) = (seal(core, place(environment), bytes.expose()).await?, core.clock.now());
    core.db
        .write_for(share(environment), async move |tx| {
            let sql = "INSERT INTO mac_keys (environment_id, sealed, created_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (environment_id) DO NOTHING";
            tx.execute(sql, &p![environment, &sealed, now]).await?;
            let sql = "SELECT sealed FROM mac_keys WHERE environment_id = $1";
            let (counts,): (Sealed,) = tx.one(sql, &p![environment]).await?;
            Ok::<_, Error>(counts)
        })
        .await
}
