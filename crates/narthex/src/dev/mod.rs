//! What only `narthex dev` has.

pub mod ca;
pub mod pkcs12;
