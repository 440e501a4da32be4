//! The measurements, one module per kind of operation.

pub mod create;
pub mod list;
pub mod login;
pub mod logins;
pub mod pages;
pub mod process;
pub mod read;
mod seed;
pub mod token;
pub mod users;
