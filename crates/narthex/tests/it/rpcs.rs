//! docs/rpcs.tsv says of each RPC whether it is built; docs/features.md is generated from it.

use std::fmt::Write as _;
use std::path::Path;

use narthex_api::METHODS;
use narthex_core::caller::kind;
use narthex_rpc::Rpcs;

use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_built_rpcs_is_current() {
    let harness = Harness::start().await;
    let mut rpcs = Rpcs::new();
    narthex::services::register(&mut rpcs, harness.core());
    let mut list = String::new();
    for method in METHODS {
        let state = match (method.auth.kinds == kind::BLOCKED, rpcs.is_built(method.index)) {
            (true, _) => "blocked",
            (false, true) => "built",
            (false, false) => "not yet",
        };
        writeln!(list, "{}\t{state}", method.path).expect("a String takes everything");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rpcs.tsv");
    std::fs::write(&actual, &list).expect("the folder for temporary files is writable");
    let listed = std::fs::read_to_string(root.join("docs/rpcs.tsv")).unwrap_or_default();
    assert!(listed == list, "docs/rpcs.tsv is not current: cp {} docs/rpcs.tsv", actual.display());
}
