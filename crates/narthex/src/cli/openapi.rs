//! `narthex openapi`.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use narthex_core::random::Random;
use narthex_core::seal::MasterKeySource;
use narthex_core::{Core, CoreOptions};
use narthex_rpc::{Rpcs, openapi};

use super::print;
use crate::app::open_failure;
use crate::exit::{Exit, Failure, io_failure};
use crate::services;

/// Prints the document. Which RPCs are built is asked of the very registration that the server runs; the handlers want a product to
/// hold, so one is opened in a folder that does not outlive the command.
pub(super) async fn openapi(preview: bool) -> Result<Exit, Failure> {
    let folder = std::env::temp_dir().join(format!("narthex-openapi-{}", Random::new().base62(16)));
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(io_failure(folder.display()))?;
    let rpcs = registered(&folder).await;
    fs::remove_dir_all(&folder).map_err(io_failure(folder.display()))?;
    let rpcs = rpcs?;
    let document = openapi::document(|index| rpcs.is_built(index), preview, env!("CARGO_PKG_VERSION"));
    print(&format!("{document:#}\n"))
}

async fn registered(folder: &Path) -> Result<Rpcs, Failure> {
    let database = format!("sqlite:{}", folder.join("narthex.db").display());
    let options = CoreOptions::new(database, MasterKeySource::File(folder.join("master.key")));
    let core = Core::open(options).await.map_err(open_failure)?;
    let mut rpcs = Rpcs::new();
    services::register(&mut rpcs, &core);
    core.close().await;
    Ok(rpcs)
}
