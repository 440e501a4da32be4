//! The server: listeners, OAuth endpoints, services over the contract, and the command line.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod dev;
pub mod dns;
pub mod exit;
pub mod gate;
pub mod health;
pub mod limits;
pub mod listen;
pub mod logging;
mod login;
pub mod metrics;
mod metrics_page;
pub mod oauth;
pub mod outbound;
pub mod pages;
pub mod reply;
mod seeding;
pub mod server;
pub mod services;
pub mod smtp;
pub mod uploads;

pub use app::{App, AppOptions, DevOptions, Mode, Running};
pub use exit::{Exit, Failure};
