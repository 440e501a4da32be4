//! What exists before anybody has made anything: the first start of an empty database, and seed files.

mod environment;
mod first_start;

pub use first_start::{FirstStart, SeededClient, SeededEnvironments, first_start};
pub use environment::{EnvironmentSeed, SeedClient};
