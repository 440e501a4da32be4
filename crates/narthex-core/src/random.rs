//! Randomness, handed in: the operating system's generator in production, a seeded stream in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;

/// A source of random bytes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Random {
    seeded: Option<Arc<Seeded>>,
}

#[derive(Debug)]
struct Seeded {
    seed: u64,
    drawn: AtomicU64,
}

impl Random {
    /// Cryptographically secure bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reproducible stream for tests; never for secrets that leave one.
    pub fn seeded(seed: u64) -> Self {
        Self { seeded: Some(Arc::new(Seeded { seed, drawn: AtomicU64::new(0) })) }
    }

    /// Fills the buffer.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing safe could follow.
    #[allow(clippy::disallowed_methods)] // the one place that draws from the process's generator
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.seeded {
            None => aws_lc_rs::rand::fill(buffer).expect("the operating system gives random bytes"),
            Some(seeded) => {
                for chunk in buffer.chunks_mut(32) {
                    let drawn = seeded.drawn.fetch_add(1, Ordering::Relaxed);
                    let mut context = digest::Context::new(&digest::SHA256);
                    context.update(&seeded.seed.to_be_bytes());
                    context.update(&drawn.to_be_bytes());
                    chunk.copy_from_slice(&context.finish().as_ref()[..chunk.len()]);
                }
            }
        }
    }

    /// An array of random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// `length` characters of `0-9A-Za-z`, uniformly: about 5.95 bits each.
    pub fn base62(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            for byte in self.bytes::<64>() {
                // 248 = 4 × 62: bytes above it would favour the first letters.
                if byte < 248 && text.len() < length {
                    text.push(char::from(ALPHABET[usize::from(byte % 62)]));
                }
            }
        }
        text
    }
}
