//! # XEP-0082: XMPP Date and Time Profiles
//!
//! Follows 1.1.1 (2021-08-31): the DateTime profile (§3.2), which is `dateTime` of XML Schema. Inside, a
//! moment is a count of microseconds since 1970-01-01T00:00:00Z without leap seconds.
//!
//! Left out, as §5 allows: years of more than four digits and before the year 0.

use compact_str::CompactString;
use time::{Date, Month, OffsetDateTime};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_MINUTE: i64 = 60;
const SECONDS_PER_HOUR: i64 = 3_600;
const SECONDS_PER_DAY: i64 = 86_400;

/// The julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: four digits hold no other year.
const SECONDS_MIN: i64 = -62_167_219_200;
const SECONDS_MAX: i64 = 253_402_300_799;

/// Shows a moment in UTC with all six digits of its microseconds, so that texts of equal length sort like
/// the moments: `2026-01-02T03:04:05.123456Z`. What lies outside the years 0 to 9999 is shown as the
/// nearest second inside.
pub fn format_utc(micros_since_epoch: i64) -> CompactString {
    let seconds = micros_since_epoch.div_euclid(MICROS_PER_SECOND).clamp(SECONDS_MIN, SECONDS_MAX);
    let micros = micros_since_epoch.rem_euclid(MICROS_PER_SECOND);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second) = moment.to_hms();

    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (range, value) in [
        (0..4, year.unsigned_abs()),
        (5..7, u32::from(u8::from(month))),
        (8..10, u32::from(day)),
        (11..13, u32::from(hour)),
        (14..16, u32::from(minute)),
        (17..19, u32::from(second)),
        (20..26, u32::try_from(micros).unwrap_or_default()),
    ] {
        put_digits(text.get_mut(range).unwrap_or_default(), value);
    }
    CompactString::from_utf8_lossy(&text)
}

/// Writes `value` into all of `place`, with leading zeros.
fn put_digits(place: &mut [u8], mut value: u32) {
    for byte in place.iter_mut().rev() {
        *byte = b'0'.saturating_add(u8::try_from(value % 10).unwrap_or_default());
        value /= 10;
    }
}

/// Reads a moment in the DateTime profile: a fraction of any length (what is finer than a microsecond is
/// cut off), `Z` or an offset of at most 14 hours, `24:00:00` for the end of a day. `None` for all else:
/// the zone is mandatory, letters are upper-case, and there is no 61st second.
pub fn parse_utc(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, zone) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let (micros, zone) = match zone.strip_prefix('.') {
        Some(fraction) => parse_fraction(fraction)?,
        None => (0, zone),
    };
    let time = parse_time(time)?;
    if time > SECONDS_PER_DAY || (time == SECONDS_PER_DAY && micros > 0) {
        return None;
    }
    parse_date(date)?
        .checked_add(time)?
        .checked_sub(parse_zone(zone)?)?
        .checked_mul(MICROS_PER_SECOND)?
        .checked_add(micros)
}

/// `CCYY-MM-DD`, as seconds from the epoch to the beginning of that day.
fn parse_date(text: &str) -> Option<i64> {
    let [year, month, day] = fields(text, '-', [4, 2, 2])?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    i64::from(date.to_julian_day()).checked_sub(i64::from(EPOCH_JULIAN_DAY))?.checked_mul(SECONDS_PER_DAY)
}

/// `hh:mm:ss`, as seconds since midnight.
fn parse_time(text: &str) -> Option<i64> {
    let [hour, minute, second] = fields(text, ':', [2, 2, 2])?;
    (hour <= 24 && minute < 60 && second < 60).then_some(())?;
    hour.checked_mul(SECONDS_PER_HOUR)?
        .checked_add(minute.checked_mul(SECONDS_PER_MINUTE)?)?
        .checked_add(second)
}

/// The digits behind the point, as microseconds, and what follows them.
fn parse_fraction(text: &str) -> Option<(i64, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length)?;
    (length > 0).then_some(())?;
    let micros = digits.bytes().chain(std::iter::repeat(b'0')).take(6).try_fold(0_i64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i64::from(digit.checked_sub(b'0')?))
    })?;
    Some((micros, rest))
}

/// `Z` or `+hh:mm` or `-hh:mm`, as seconds that the zone is ahead of UTC. XML Schema: 14:00 at most.
fn parse_zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let is_behind = text.starts_with('-');
    let [hour, minute] = fields(text.strip_prefix(['+', '-'])?, ':', [2, 2])?;
    (minute < 60 && (hour < 14 || (hour == 14 && minute == 0))).then_some(())?;
    let ahead = hour.checked_mul(SECONDS_PER_HOUR)?.checked_add(minute.checked_mul(SECONDS_PER_MINUTE)?)?;
    if is_behind { ahead.checked_neg() } else { Some(ahead) }
}

/// Numbers of exactly these counts of digits, with `separator` between them and nothing after them.
fn fields<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut values = [0; N];
    let mut parts = text.split(separator);
    for (value, count) in values.iter_mut().zip(digits) {
        let part = parts.next()?;
        (part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_shown_in_utc_with_microseconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (-14_159_025_000_000, "1969-07-21T02:56:15.000000Z"), // XEP-0082, example 2
            (1_767_323_045_123_456, "2026-01-02T03:04:05.123456Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"), // 2100 is no leap year
            (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format_utc(micros), text);
            assert_eq!(parse_utc(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_four_digits_cannot_show_is_cut_to_the_nearest_second() {
        for (micros, text) in [
            (i64::MIN, "0000-01-01T00:00:00"),
            (-62_167_219_200_000_001, "0000-01-01T00:00:00"),
            (253_402_300_800_000_000, "9999-12-31T23:59:59"),
            (i64::MAX, "9999-12-31T23:59:59"),
        ] {
            assert!(format_utc(micros).starts_with(text), "{micros}");
        }
    }

    #[test]
    fn all_forms_of_the_profile_are_read() {
        for (text, micros) in [
            ("1969-07-21T02:56:15Z", -14_159_025_000_000),      // example 2
            ("1969-07-20T21:56:15-05:00", -14_159_025_000_000), // example 3
            ("1970-01-01T00:00:00+00:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01T07:00:00+07:00", 0), // note on the sign of a zone
            ("1970-01-01T00:00:00+14:00", -50_400_000_000),
            ("1970-01-01T00:00:00-14:00", 50_400_000_000),
            ("1970-01-01T05:45:00+05:45", 0),
            ("1970-01-01T00:00:00.5Z", 500_000),
            ("1970-01-01T00:00:00.50Z", 500_000),
            ("1970-01-01T00:00:00.000001Z", 1),
            ("1970-01-01T00:00:00.0000009Z", 0),  // cut, not rounded
            ("1969-12-31T23:59:59.9999999Z", -1), // towards the past, before 1970 too
            ("1970-01-01T00:00:00.123456789012345678901234567890Z", 123_456),
            ("1970-01-01T00:00:00.25+01:00", -3_599_750_000),
            ("1970-01-01T24:00:00Z", 86_400_000_000), // XML Schema: the end of a day
            ("1970-01-01T24:00:00.000Z", 86_400_000_000),
            ("9999-12-31T24:00:00Z", 253_402_300_800_000_000),
            ("9999-12-31T23:59:59-14:00", 253_402_351_199_000_000),
            ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
        ] {
            assert_eq!(parse_utc(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "Z",
            "now",
            "1776-07-04",          // the Date profile (§3.1)
            "16:00:00",            // the Time profile (§3.3)
            "20020910T23:08:25",   // the old form (§4)
            "1970-01-01T00:00:00", // a zone is mandatory
            "1970-01-01 00:00:00Z",
            "1970-01-01t00:00:00Z",
            "1970-01-01T00:00:00z",
            " 1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z ",
            "1970-01-01T00:00:00 Z",
            "1970-01-01T00:00:00ZZ",
            "1970-01-01T00:00:00Z+00:00",
            "1970-01-01T00:00Z",
            "1970-01-01T0:00:00Z",
            "1970-1-01T00:00:00Z",
            "70-01-01T00:00:00Z",
            "01970-01-01T00:00:00Z",
            "12026-01-01T00:00:00Z", // five digits (§5)
            "-0001-01-01T00:00:00Z", // before the year 0 (§5)
            "+1970-01-01T00:00:00Z",
            "1970/01/01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-32T00:00:00Z",
            "1970-04-31T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "1970-01-01T25:00:00Z",
            "1970-01-01T24:00:01Z",
            "1970-01-01T24:01:00Z",
            "1970-01-01T24:00:00.000001Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:60Z", // no leap second
            "2016-12-31T23:59:60Z", // not even where there was one
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00,5Z",
            "1970-01-01T00:00:00.5",
            "1970-01-01T00:00:00.-5Z",
            "1970-01-01T00:00:00.5.5Z",
            "1970-01-01T00:00:00+0000",
            "1970-01-01T00:00:00+00",
            "1970-01-01T00:00:00+0:00",
            "1970-01-01T00:00:00+00:00:00",
            "1970-01-01T00:00:00+14:01",
            "1970-01-01T00:00:00+15:00",
            "1970-01-01T00:00:00-01:60",
            "1970-01-01T00:00:0000:00",
            "1970-01-01T00:00:00+-1:00",
            "1970-01-01T-1:00:00Z",
            "1970-01-01T00:00:\u{661}\u{661}Z", // digits of another script
            "\u{ff11}970-01-01T00:00:00Z",
            "1970-01-0\u{e9}T00:00:00Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_is_read(micros in -62_167_219_200_000_000..=253_402_300_799_999_999_i64) {
            prop_assert_eq!(parse_utc(&format_utc(micros)), Some(micros));
        }

        #[test]
        fn texts_sort_like_moments(a in 0..253_402_300_799_999_999_i64, b in 0..253_402_300_799_999_999_i64) {
            prop_assert_eq!(format_utc(a).cmp(&format_utc(b)), a.cmp(&b));
        }

        #[test]
        fn no_text_is_too_odd(text in "[0-9TZ:.+-]{0,40}|\\PC{0,40}") {
            if let Some(micros) = parse_utc(&text) {
                prop_assert!(parse_utc(&format_utc(micros)).is_some());
            }
        }
    }
}
