//! Tests of the whole server, in one binary: each starts its own app in process and talks to it over real sockets.

mod admin;
mod config;
mod dev;
mod drain;
mod harness;
mod health;
mod http;
mod limits;
mod logs;
mod oauth;
mod proxies;
