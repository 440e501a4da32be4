//! Tests of the runtime against the whole contract table, in one binary.
#![allow(
    clippy::cast_possible_truncation, // made-up values
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::match_same_arms, // tables of samples
    clippy::too_many_lines
)]

mod json_rules;
mod pipeline;
mod sockets;
mod support;
mod transcoder;
mod twins;
mod validation;
mod world;
