//! The server: listeners, OAuth endpoints, services over the contract, and the command line.

pub mod config;
pub mod dev;
pub mod exit;
pub mod limits;
pub mod listen;
