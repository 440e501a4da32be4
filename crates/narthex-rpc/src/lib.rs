//! The runtime over the contract table: gRPC and REST through one pipeline. It works on bytes and table rows; only decode, call and
//! encode are generic per RPC.

mod access;
mod body;
pub mod error;
mod gate;
mod grpc;
pub mod json;
mod locale;
pub mod malformed;
pub mod openapi;
mod pipeline;
mod registry;
mod rest;
pub mod route;
pub mod validate;
mod watch;
pub mod wire;

pub use body::RpcBody;
pub use error::{Scene, rest_error};
pub use gate::{Connection, Credentials, Gate, Outcome, RateLimitInfo, Transport};
pub use narthex_core::environments::Environment;
pub use pipeline::{Limits, Pipeline, StartError};
pub use registry::{Browser, Context, Rpcs};
