//! narthex-rpc
