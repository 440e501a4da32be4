//! narthex-core
