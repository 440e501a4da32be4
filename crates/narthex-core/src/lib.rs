//! The product, one module per noun. It knows neither HTTP nor protobuf: callers hand in typed values, and get typed values or an
//! [`Error`] with a public and a private half.

pub mod api_tokens;
pub mod assets;
pub mod auth_log;
pub mod branding;
pub mod cache;
pub mod caller;
pub mod clients;
pub mod clock;
pub mod connections;
pub mod consents;
pub mod core;
pub mod counters;
pub mod dns;
pub mod domains;
pub mod emails;
pub mod environments;
pub mod error;
pub mod events;
pub mod grants;
pub mod idempotency;
pub mod ids;
pub mod invitations;
pub mod jobs;
mod json;
pub mod keys;
mod listing;
pub mod login;
pub mod mailer;
pub mod members;
pub mod memberships;
pub mod nodes;
pub mod organizations;
pub mod pages;
pub mod passwordless;
pub mod permissions;
pub mod portal_links;
pub mod random;
pub mod resources;
pub mod roles;
pub mod schema;
pub mod scopes;
pub mod seal;
pub mod seed;
pub mod sessions;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tokens;
pub mod user_attributes;
pub mod users;

pub use caller::Caller;
pub use clock::{Clock, Timestamp};
pub use core::{Core, CoreOptions};
pub use error::{Error, Kind, Result, Violation};
pub use ids::Ids;
pub use random::Random;
