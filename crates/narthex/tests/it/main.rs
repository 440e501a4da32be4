//! Tests of the whole server, in one binary: each starts its own app in process.
