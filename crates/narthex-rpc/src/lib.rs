//! The runtime over the contract table: gRPC and REST through one pipeline. It works on bytes and table rows; only decode, call and
//! encode are generic per RPC.

pub mod json;
pub mod malformed;
pub mod wire;
