//! Timestamps and durations in their JSON spelling (RFC 3339 and `1.5s`).

use crate::malformed::{Malformed, Result};
use crate::wire::put_text;

/// 0001-01-01T00:00:00Z
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z
const LAST_SECOND: i64 = 253_402_300_799;
/// About 10,000 years, the range of `google.protobuf.Duration`.
const LONGEST_SECONDS: i64 = 315_576_000_000;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // The year starts in March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Fixed-width digits.
fn digits(bytes: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in bytes {
        value = value * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    Some(value)
}

/// One to nine fraction digits, as nanoseconds.
fn nanos(fraction: &[u8]) -> Option<i32> {
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let value = digits(fraction)? * 10i64.pow(9 - u32::try_from(fraction.len()).ok()?);
    i32::try_from(value).ok()
}

/// Seconds and nanoseconds of an RFC 3339 time with any offset.
pub(crate) fn parse_timestamp(text: &str) -> Result<(i64, i32)> {
    timestamp(text.as_bytes()).ok_or_else(|| Malformed::new("must be an RFC 3339 time"))
}

fn timestamp(text: &[u8]) -> Option<(i64, i32)> {
    let (clock, mut rest) = text.split_at_checked(19)?;
    if clock[4] != b'-' || clock[7] != b'-' || clock[10] != b'T' || clock[13] != b':' || clock[16] != b':' {
        return None;
    }
    let part = |from: usize, to: usize| digits(&clock[from..to]);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=last_day).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix(b".") {
        let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        fraction = nanos(&after[..length])?;
        rest = &after[length..];
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), offset @ ..] if offset.len() == 5 && offset[2] == b':' => {
            let (hours, minutes) = (digits(&offset[..2])?, digits(&offset[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some((seconds, fraction))
}

/// A timestamp that JSON has a form for.
pub(crate) fn check_timestamp(seconds: i64, nanos: i32) -> Result<()> {
    if (FIRST_SECOND..=LAST_SECOND).contains(&seconds) && (0..1_000_000_000).contains(&nanos) {
        return Ok(());
    }
    Err(Malformed::new("the time is out of range"))
}

/// A duration that JSON has a form for: both parts of the same sign.
pub(crate) fn check_duration(seconds: i64, nanos: i32) -> Result<()> {
    let in_range = seconds.unsigned_abs() <= LONGEST_SECONDS.unsigned_abs() && nanos.unsigned_abs() < 1_000_000_000;
    if in_range && !(seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0) {
        return Ok(());
    }
    Err(Malformed::new("the duration is out of range"))
}

/// RFC 3339 in UTC, with no, three, six or nine fraction digits.
pub(crate) fn format_timestamp(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Result<()> {
    check_timestamp(seconds, nanos)?;
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    put_text(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
    put_fraction(nanos, out);
    out.push(b'Z');
    Ok(())
}

fn put_fraction(nanos: i32, out: &mut Vec<u8>) {
    match nanos {
        0 => {}
        nanos if nanos % 1_000_000 == 0 => put_text(out, format_args!(".{:03}", nanos / 1_000_000)),
        nanos if nanos % 1_000 == 0 => put_text(out, format_args!(".{:06}", nanos / 1_000)),
        nanos => put_text(out, format_args!(".{nanos:09}")),
    }
}

/// Seconds and nanoseconds (of the same sign) of `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<(i64, i32)> {
    duration(text.as_bytes()).ok_or_else(|| Malformed::new("must be a duration such as \"1.5s\""))
}

fn duration(text: &[u8]) -> Option<(i64, i32)> {
    let text = text.strip_suffix(b"s")?;
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], nanos(&text[at + 1..])?),
        None => (text, 0),
    };
    if whole.is_empty() || whole.len() > 12 {
        return None;
    }
    let seconds = digits(whole)?;
    if seconds > LONGEST_SECONDS {
        return None;
    }
    Some(if negative { (-seconds, -fraction) } else { (seconds, fraction) })
}

/// `1.5s`.
pub(crate) fn format_duration(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Result<()> {
    check_duration(seconds, nanos)?;
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    put_text(out, format_args!("{}", seconds.unsigned_abs()));
    put_fraction(nanos.abs(), out);
    out.push(b's');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_0_3_6_or_9_digits() {
        for (text, parsed, printed) in [
            ("1970-01-01T00:00:00Z", (0, 0), "1970-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", (FIRST_SECOND, 0), "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", (LAST_SECOND, 999_999_999), "9999-12-31T23:59:59.999999999Z"),
            ("2024-02-29T12:00:00.5+02:00", (1_709_200_800, 500_000_000), "2024-02-29T10:00:00.500Z"),
            ("1969-12-31T23:59:59.000001Z", (-1, 1_000), "1969-12-31T23:59:59.000001Z"),
            ("2026-11-24T04:10:00-00:30", (1_795_495_200, 0), "2026-11-24T04:40:00Z"),
        ] {
            assert_eq!(parse_timestamp(text), Ok(parsed), "{text}");
            let mut out = Vec::new();
            format_timestamp(parsed.0, parsed.1, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), printed);
        }
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01t00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "0001-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00Z ",
            "２024-01-01T00:00:00Z",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_has_one_number() {
        for days in (-719_162..2_932_896).step_by(17) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn durations_end_in_s() {
        for (text, parsed) in
            [("0s", (0, 0)), ("1.5s", (1, 500_000_000)), ("-0.25s", (0, -250_000_000)), ("120s", (120, 0))]
        {
            assert_eq!(parse_duration(text), Ok(parsed));
        }
        for text in ["", "s", "1", "1.s", ".5s", "1.5", "315576000001s", "1m", "+1s", "1.1234567890s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let mut out = Vec::new();
        format_duration(-1, -500_000_000, &mut out).unwrap();
        assert_eq!(out, b"-1.500s");
    }
}
