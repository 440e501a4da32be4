//! What the product does, on both engines. One binary, so that it is linked once.

mod cache;
mod callers;
mod clients;
mod environments;
mod events;
mod fixture;
mod forgery;
mod idempotency;
mod jobs;
mod keys;
mod node;
mod nodes;
mod organizations;
mod pages;
mod permissions;
mod portal_links;
mod races;
mod revocation;
mod role_deletion;
mod role_races;
mod roles;
mod seal;
mod search;
mod seed;
mod tokens;
mod user_attributes;
