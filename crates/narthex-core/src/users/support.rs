//! What a support widget is shown so that it believes an address (identity verification by HMAC).

use std::fmt::Write;

use aws_lc_rs::hmac;
use narthex_db::p;

use super::validation::key_of;
use crate::core::Core;
use crate::environments;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::seal::{self, Place, Sealed, Secret};

/// HMAC-SHA-256 of an operator's address in lower-case hexadecimal, under a key of the product's own environment. The key is made at
/// the first call and never leaves.
pub async fn support_hash(core: &Core, email: &str) -> Result<String> {
    let system = environments::system(core).await?.ok_or_else(environments::not_found)?;
    let key = key(core, system.id).await?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), key_of(email).as_bytes());
    let mut text = String::with_capacity(64);
    for byte in tag.as_ref() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    Ok(text)
}

async fn key(core: &Core, environment: EnvId) -> Result<Secret<Vec<u8>>> {
    let place = Place { environment, table: "support_keys", column: "key", row: environment.0 };
    let sql = "SELECT key FROM support_keys WHERE environment_id = $1";
    let found: Option<(Sealed,)> = core.db.reader().await?.opt(sql, &p![environment]).await?;
    if let Some((sealed,)) = found {
        return seal::open(core, place, &sealed).await;
    }
    let (made, now) = (seal::seal(core, place, &core.random.bytes::<32>()).await?, core.clock.now());
    // Of two that make one at once the first one's stays.
    let (kept,): (Sealed,) = core
        .db
        .write(async move |tx| {
            let insert = "INSERT INTO support_keys (environment_id, key, created_at) VALUES ($1, $2, $3) \
                          ON CONFLICT (environment_id) DO NOTHING";
            tx.execute(insert, &p![environment, &made, now]).await?;
            Ok::<_, Error>(tx.one(sql, &p![environment]).await?)
        })
        .await?;
    seal::open(core, place, &kept).await
}
