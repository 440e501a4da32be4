//! Node numbers. Each running process leases one of 1,024, so that ids made at the same time on two nodes differ; and it reserves the
//! time that its ids may carry before it uses it, so that whoever takes the number over after a crash starts above.

use std::time::Duration;

use narthex_db::{Db, DbError, Tx, p};

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::ids::Ids;
use crate::random::Random;

const NODES: i64 = 1_024;
/// A number is given to another holder only when its lease has been over for [`GRACE`], judged by the other's clock.
const LEASE: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(30);
/// How often the lease is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How far ahead time for ids is reserved: the minute in which [`Ids::check`] already refuses, and what a database outage may last.
const RESERVE: Duration = Duration::from_mins(5);

/// The lease of this process.
pub struct Node {
    clock: Clock,
    ids: Ids,
    holder: String,
    number: std::sync::Mutex<i64>,
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Still ours.
    Renewed,
    /// It had run out and somebody else took the number; another number was leased.
    Replaced,
}

impl Node {
    /// Leases a number and gives it to `ids`.
    pub(crate) async fn lease(db: &Db, clock: &Clock, random: &Random) -> Result<(Self, Ids)> {
        let holder = random.base62(22);
        let grant = acquire(db, clock, &holder).await?;
        let ids = Ids::new(clock.clone(), 0, 0);
        grant.hand_to(&ids);
        let node = Self { clock: clock.clone(), ids: ids.clone(), holder, number: grant.number.into() };
        Ok((node, ids))
    }

    /// The leased number.
    pub fn number(&self) -> i64 {
        *self.number.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Renews the lease and reserves more time. If the number is another's by now, no id is issued until a new one is leased.
    pub async fn renew(&self, db: &Db) -> Result<Lease> {
        let (now, high_water) = self.ahead();
        let lease_until = now.plus(LEASE);
        let (number, holder) = (self.number(), self.holder.clone());
        let renewed = db
            .write(async move |tx| {
                let sql = "UPDATE nodes SET lease_until = $1, high_water_millis = $2 WHERE number = $3 AND holder = $4";
                tx.execute(sql, &p![lease_until, high_water, number, &holder]).await
            })
            .await
            .map_err(|error: DbError| Error::from(error))?;
        if renewed == 1 {
            self.ids.extend(high_water);
            return Ok(Lease::Renewed);
        }
        self.ids.stop();
        let grant = acquire(db, &self.clock, &self.holder).await?;
        *self.number.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = grant.number;
        grant.hand_to(&self.ids);
        Ok(Lease::Replaced)
    }

    /// Gives the number back, with the time of the last id that was really issued.
    pub async fn release(&self, db: &Db) -> Result<()> {
        self.ids.stop();
        let (number, holder, last) = (self.number(), self.holder.clone(), self.ids.high_water_millis());
        db.write(async move |tx| {
            let sql = "UPDATE nodes SET lease_until = 0, high_water_millis = $1 WHERE number = $2 AND holder = $3";
            tx.execute(sql, &p![last, number, &holder]).await
        })
        .await
        .map(drop)
        .map_err(|error: DbError| error.into())
    }

    /// Real time, and the time up to which ids are to be reserved: ahead of both the clock and the ids.
    fn ahead(&self) -> (crate::Timestamp, i64) {
        let now = self.clock.real_now();
        (now, reserve_from((now.0 / 1_000).max(self.ids.high_water_millis())))
    }

    /// Renews for as long as the process lives.
    pub(crate) async fn keep_renewing(self: std::sync::Arc<Self>, db: Db) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew(&db).await {
                Ok(Lease::Renewed) => {}
                Ok(Lease::Replaced) => {
                    tracing::warn!(number = self.number(), "the node number had been lost; another is leased");
                }
                Err(error) => tracing::warn!(?error, "the lease of the node number cannot be renewed"),
            }
        }
    }
}

struct Grant {
    number: i64,
    after_millis: i64,
    until_millis: i64,
}

impl Grant {
    fn hand_to(&self, ids: &Ids) {
        ids.adopt(u16::try_from(self.number).unwrap_or(0), self.after_millis, self.until_millis);
    }
}

fn reserve_from(millis: i64) -> i64 {
    millis + i64::try_from(RESERVE.as_millis()).unwrap_or(0)
}

/// Leases the lowest number that is free: never used, given back, or run out long enough ago.
async fn acquire(db: &Db, clock: &Clock, holder: &str) -> Result<Grant> {
    let (now, holder) = (clock.real_now(), holder.to_owned());
    let grace = i64::try_from(GRACE.as_micros()).unwrap_or(0);
    db.write(async move |tx| {
        let rows: Vec<(i64, i64, i64)> =
            tx.all("SELECT number, lease_until, high_water_millis FROM nodes ORDER BY number", &[]).await?;
        let free = |number: &i64| match rows.iter().find(|row| row.0 == *number) {
            Some((_, lease_until, _)) => lease_until + grace < now.0,
            None => true,
        };
        let number = (0..NODES).find(free).ok_or_else(|| {
            Error::new(Kind::ResourceExhausted, "all 1024 node numbers are leased").with_code("NO_NODE_NUMBER")
        })?;
        let used = rows.iter().find(|row| row.0 == number).map_or(0, |row| row.2);
        let until = reserve_from(used.max(now.0 / 1_000));
        claim(tx, number, &holder, now.plus(LEASE).0, until).await?;
        Ok(Grant { number, after_millis: used, until_millis: until })
    })
    .await
}

async fn claim(tx: &mut Tx, number: i64, holder: &str, lease_until: i64, until: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO nodes (number, holder, lease_until, high_water_millis) VALUES ($1, $2, $3, $4) ON CONFLICT (number) \
         DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until, \
         high_water_millis = excluded.high_water_millis",
        &p![number, holder, lease_until, until],
    )
    .await
    .map(drop)
}
