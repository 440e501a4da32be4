//! The measurements, one module per kind of operation.

pub mod create;
pub mod list;
pub mod process;
pub mod read;
pub mod token;
