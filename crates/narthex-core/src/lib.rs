//! The product, one module per noun. It knows neither HTTP nor protobuf: callers hand in typed values, and get typed values or an
//! [`Error`] with a public and a private half.

pub mod caller;
pub mod clock;
pub mod error;
pub mod ids;
pub mod random;

pub use caller::Caller;
pub use clock::{Clock, Timestamp};
pub use error::{Error, Kind, Result, Violation};
pub use ids::Ids;
pub use random::Random;
