//! The wire contract of Narthex, generated from `proto/`: prost messages, and one static table of every RPC, message, field and
//! rule ([`METHODS`], [`contract`]). Nothing here has behaviour; `narthex-rpc` is the runtime over it.

pub mod contract;

#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated; the .proto files carry the documentation
mod generated {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated
mod table {
    use crate::contract::*;
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

pub use generated::scalekit;
pub use table::{METHODS, descriptor, rpc};

/// The whole contract as an encoded `google.protobuf.FileDescriptorSet`.
pub static DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.binpb"));
