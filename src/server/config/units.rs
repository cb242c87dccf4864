//! Sizes and durations with their units: `"256KiB"`, `"10s"`, `"1h30m"`.

use std::fmt;
use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes.
    pub const fn kib(kib: u32) -> Self {
        Self((kib as u64) << 10)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest there is where it would not fit.
    pub fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `"256KiB"`, `"10 KB"` or `"100B"`; letters may be small.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text.trim())?;
        let scale = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?.1;
        number.checked_mul(scale).map(Self)
    }
}

/// In the unit that leaves the smallest number, as [`Size::parse`] reads it.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = best_unit(&SIZE_UNITS, self.0);
        write!(f, "{}{name}", self.0.checked_div(scale).unwrap_or(self.0))
    }
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `"10s"`, `"500ms"` or a sum like `"1h30m"`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
        millis = millis.checked_add(number.checked_mul(scale)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(millis))
}

/// In the unit that leaves the smallest number, as [`parse_duration`] reads it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (name, scale) = best_unit(&DURATION_UNITS, millis);
    format!("{}{name}", millis.checked_div(scale).unwrap_or(millis))
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

/// The unit that leaves the smallest number without a fraction; of nothing, that of everyday use.
fn best_unit(units: &[(&'static str, u64)], amount: u64) -> (&'static str, u64) {
    let base = if units.iter().any(|unit| unit.0 == "s") { ("s", 1_000) } else { ("B", 1) };
    if amount == 0 {
        return base;
    }
    let whole = units.iter().copied().filter(|(_, scale)| amount.checked_rem(*scale) == Some(0));
    whole.max_by_key(|(_, scale)| *scale).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("256KiB", 262_144, "256KiB"),
            ("1024kib", 1_048_576, "1MiB"),
            ("10 KB", 10_000, "10KB"),
            ("0B", 0, "0B"),
            (" 1536B ", 1536, "1536B"),
            ("2gb", 2_000_000_000, "2GB"),
        ] {
            let size = Size::parse(text).map(|size| (size.get(), size.to_string()));
            assert_eq!(size, Some((bytes, shown.to_owned())), "{text}");
        }
        for wrong in ["", "KiB", "12", "-1B", "1.5MiB", "1 byte", "1K", "18446744073709551615KiB", "1BB"] {
            assert_eq!(Size::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_and_shown() {
        for (text, millis, shown) in [
            ("10s", 10_000, "10s"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "90m"),
            ("1 h 30 m", 5_400_000, "90m"),
            ("7d", 604_800_000, "7d"),
            ("0s", 0, "0s"),
        ] {
            let duration =
                parse_duration(text).map(|duration| (duration.as_millis(), show_duration(duration)));
            assert_eq!(duration, Some((millis, shown.to_owned())), "{text}");
        }
        for wrong in ["", "10", "s", "10 seconds", "1.5h", "-1s", "1h30", "99999999999999999d", "1M"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
