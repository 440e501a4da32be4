//! narthex-db
