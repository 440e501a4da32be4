//! narthex-api
