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
