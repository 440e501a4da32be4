//! What exists before anybody has made anything: the first start of an empty database, and seed files.

mod environment;
mod file;
mod first_start;
mod organizations;

pub use environment::{EnvironmentSeed, SeedClient};
pub use file::{SeedReport, apply, with_secrets};
pub use first_start::{FirstStart, SeededClient, SeededEnvironments, first_start};
