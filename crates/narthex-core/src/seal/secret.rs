//! Values that must not reach a log.

use zeroize::Zeroize;

/// A secret in memory: has neither Debug nor Display nor Serialize, and is overwritten when dropped (best effort: copies that the
/// allocator or the compiler made are out of reach).
///
/// ```compile_fail
/// format!("{:?}", narthex_core::seal::Secret::new(String::new()));
/// ```
/// ```compile_fail
/// format!("{}", narthex_core::seal::Secret::new(String::new()));
/// ```
/// ```compile_fail
/// serde_json::to_string(&narthex_core::seal::Secret::new(String::new()));
/// ```
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
