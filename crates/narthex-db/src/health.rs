//! Whether the database can be read and written now, for `readyz`.

use crate::{Db, DbError, Store};

/// What [`Db::health`] found. None is well; a text says what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Trouble with reading.
    pub read: Option<String>,
    /// Trouble with writing.
    pub write: Option<String>,
}

impl Health {
    /// Reads and writes both work.
    pub fn is_well(&self) -> bool {
        self.read.is_none() && self.write.is_none()
    }
}

impl Db {
    /// Tries a read, and a write if the last one failed.
    pub async fn health(&self) -> Health {
        let read = async { self.reader().await?.one::<(i64,)>("SELECT 1", &[]).await.map(drop) };
        let read = read.await.err().map(|error: DbError| error.to_string());
        let write = match &self.inner.store {
            Store::Sqlite(sqlite) => match sqlite.write_trouble() {
                None => None,
                Some(_) => sqlite.probe_write().await.err().map(|error| error.to_string()),
            },
            Store::Postgres(_) => {
                let setting = self.write(async |tx| tx.one::<(String,)>("SHOW transaction_read_only", &[]).await).await;
                match setting {
                    Ok((read_only,)) => (read_only == "on").then(|| "the server takes no writes".to_owned()),
                    Err(error) => Some(error.to_string()),
                }
            }
        };
        Health { read, write }
    }
}
