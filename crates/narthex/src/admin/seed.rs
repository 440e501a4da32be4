//! `narthex seed …`: seed files.

use std::fmt::Write as _;

use narthex_core::{Core, Error, seed};
use serde_json::json;

use super::Answer;

pub(super) async fn apply(core: &Core, content: &str) -> Result<Answer, Error> {
    let report = seed::apply(core, content).await?;
    let mut text = String::new();
    for line in &report.created {
        // Writing to a String cannot fail.
        writeln!(text, "created {line}").ok();
    }
    if text.is_empty() {
        text.push_str("everything in the file exists already\n");
    }
    Ok(Answer::new(text, json!({"created": report.created})))
}
