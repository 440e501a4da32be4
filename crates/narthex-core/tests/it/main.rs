//! What the product does, on both engines. One binary, so that it is linked once.

mod tokens;
