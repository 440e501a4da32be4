//! One-time codes of authenticator apps (RFC 6238 over RFC 4226): SHA-1, six digits, steps of 30 seconds.

use aws_lc_rs::{constant_time, hmac};

use crate::clock::Timestamp;

/// Seconds of a step.
const STEP: i64 = 30;
/// How many steps a clock may be off, each way.
const DRIFT: i64 = 1;

/// The step of a time.
pub(super) fn step(now: Timestamp) -> i64 {
    now.seconds().div_euclid(STEP)
}

/// The code of a step (RFC 4226 §5.3).
pub(super) fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mac = hmac::sign(&key, &step.to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac[mac.len() - 1] & 0x0f);
    let number = u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

/// The steps around now that have this code, oldest first.
pub(super) fn matching(secret: &[u8], given: &str, now: Timestamp) -> Vec<i64> {
    let now = step(now);
    let is_code =
        |step: &i64| constant_time::verify_slices_are_equal(code(secret, *step).as_bytes(), given.as_bytes()).is_ok();
    (now - DRIFT..=now + DRIFT).filter(is_code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn totp_01_codes_are_those_of_rfc_6238_appendix_b() {
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp(seconds * 1_000_000);
            assert_eq!(code(SECRET, step(now)), expected, "{seconds}");
            assert_eq!(matching(SECRET, expected, now), [step(now)]);
        }
        // RFC 4226, appendix D.
        let counted: Vec<String> = (0..10).map(|step| code(SECRET, step)).collect();
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        assert_eq!(counted, expected);
    }

    #[test]
    fn totp_02_a_clock_may_be_one_step_off_and_no_more() {
        let at = |seconds: i64| matching(SECRET, "287082", Timestamp(seconds * 1_000_000));
        for seconds in [0, 30, 59, 60, 89] {
            assert_eq!(at(seconds), [1], "{seconds}");
        }
        for seconds in [-1, 90, 120] {
            assert!(at(seconds).is_empty(), "{seconds}");
        }
        let now = Timestamp(59_000_000);
        for bad in ["", "28708", "2870820", "287083", " 287082", "２８７０８２"] {
            assert!(matching(SECRET, bad, now).is_empty(), "{bad}");
        }
    }
}
