//! Totals of unfiltered lists, kept in the transaction of each change.
//!
//! A change is a row of its own, never an update of the total: under SERIALIZABLE two transactions that update one row cannot both
//! commit, and every create of an environment would queue behind the others. A periodic job folds the changes into the total.

use narthex_db::{Tx, p};

use crate::error::Result;
use crate::ids::EnvId;

/// Rows that one transaction folds.
const CHUNK: i64 = 500;

/// Adds `change` to the total of `noun` (a table of the environment). `id` makes the change unique: that of the event which tells
/// of it.
pub async fn add(tx: &mut Tx, environment: EnvId, noun: &'static str, id: i64, change: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO counter_changes (environment_id, noun, id, change) VALUES ($1, $2, $3, $4)",
        &p![environment, noun, id, change],
    )
    .await?;
    Ok(())
}

/// The total.
pub async fn total(tx: &mut Tx, environment: EnvId, noun: &'static str) -> Result<u64> {
    let (total,): (i64,) = tx
        .one(
            "SELECT CAST(COALESCE((SELECT value FROM counters WHERE environment_id = $1 AND noun = $2), 0) \
             + COALESCE((SELECT SUM(change) FROM counter_changes WHERE environment_id = $1 AND noun = $2), 0) AS BIGINT)",
            &p![environment, noun],
        )
        .await?;
    Ok(u64::try_from(total).unwrap_or(0))
}

/// Folds up to 500 changes into their totals; how many it folded.
pub async fn fold(tx: &mut Tx) -> Result<usize> {
    let changes: Vec<(i64, String, i64, i64)> = tx
        .all(
            "SELECT environment_id, noun, id, change FROM counter_changes ORDER BY environment_id, noun, id LIMIT $1",
            &p![CHUNK],
        )
        .await?;
    let Some((environment, noun, id, _)) = changes.last() else { return Ok(0) };
    // Rows that this transaction has not seen are not deleted by it: its snapshot does not hold them.
    tx.execute(
        "DELETE FROM counter_changes WHERE (environment_id, noun, id) <= ($1, $2, $3)",
        &p![environment, noun, id],
    )
    .await?;
    let mut sums = std::collections::BTreeMap::<(i64, &str), i64>::new();
    for (environment, noun, _, change) in &changes {
        *sums.entry((*environment, noun)).or_default() += change;
    }
    for ((environment, noun), sum) in sums {
        tx.execute(
            "INSERT INTO counters (environment_id, noun, value) VALUES ($1, $2, $3) \
             ON CONFLICT (environment_id, noun) DO UPDATE SET value = counters.value + excluded.value",
            &p![environment, noun, sum],
        )
        .await?;
    }
    Ok(changes.len())
}

/// Sets a total to what was counted, for `doctor`: the difference between the two, 0 where they agreed.
pub async fn correct(tx: &mut Tx, environment: EnvId, noun: &'static str, counted: u64, id: i64) -> Result<i64> {
    let kept = total(tx, environment, noun).await?;
    let difference = i64::try_from(counted).unwrap_or(i64::MAX) - i64::try_from(kept).unwrap_or(i64::MAX);
    if difference != 0 {
        add(tx, environment, noun, id, difference).await?;
    }
    Ok(difference)
}
