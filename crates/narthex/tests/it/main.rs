//! Tests of the whole server, in one binary: each starts its own app in process and talks to it over real sockets.

mod admin;
mod answers;
mod attacks;
mod callers;
mod certificates;
mod config;
mod crash;
mod dev;
mod doctor;
mod drain;
mod harness;
mod health;
mod hostile;
mod http;
mod limits;
mod listen;
mod logs;
mod oauth;
mod programs;
mod proxies;
mod roles;
mod rpcs;
mod secrets;
mod two_nodes;
mod user_attributes;
mod walk;
