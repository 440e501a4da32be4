//! narthex
fn main() {}
