//! Values packed into one text, so that a database hands over many rows as one.
//!
//! A number is `12;`, a text is its length in bytes and itself, `5:hello`, and a text that is not there is
//! `-1:`. Packed values need no separator and may hold any character. The databases write the same form:
//! `concat(id, ';', octet_length(name), ':', name)`, joined by `string_agg(…, '')`.

use std::borrow::Cow;
use std::str::FromStr;

use unisono_core::storage::StoreError;

/// Appends packed values.
#[derive(Default)]
pub(crate) struct Packer(String);

impl Packer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    pub(crate) fn number(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.0.push('-');
        }
        self.digits(number.unsigned_abs());
        self.0.push(';');
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        let text = storable(text);
        self.digits(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.0.push(':');
        self.0.push_str(&text);
        self
    }

    pub(crate) fn text_or_none(&mut self, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            return self.text(text);
        }
        self.0.push_str("-1:");
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }

    /// A message has some twenty numbers: formatting them was a third of what packing it cost.
    fn digits(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            first = place;
            *digit = b'0' | u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.push_str(str::from_utf8(digits.get(first..).unwrap_or_default()).unwrap_or_default());
    }
}

/// Text that every database takes. PostgreSQL refuses U+0000, which no XML can hold either.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Takes packed values off the front of a text.
pub(crate) struct Unpacker<'a>(&'a str);

impl<'a> Unpacker<'a> {
    pub(crate) fn new(packed: &'a str) -> Self {
        Self(packed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let (number, rest) = self.0.split_once(';').ok_or_else(|| self.corrupt())?;
        self.0 = rest;
        number.parse().map_err(|_| corrupt(number))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StoreError> {
        self.text_or_none()?.ok_or_else(|| self.corrupt())
    }

    pub(crate) fn text_or_none(&mut self) -> Result<Option<&'a str>, StoreError> {
        let (length, rest) = self.0.split_once(':').ok_or_else(|| self.corrupt())?;
        if length == "-1" {
            self.0 = rest;
            return Ok(None);
        }
        let split = length.parse().ok().and_then(|length| rest.split_at_checked(length));
        let (text, rest) = split.ok_or_else(|| corrupt(length))?;
        self.0 = rest;
        Ok(Some(text))
    }

    /// All values of which `each` makes one, up to the end of the text.
    pub(crate) fn all<T>(
        mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        while !self.is_empty() {
            all.push(each(&mut self)?);
        }
        Ok(all)
    }

    fn corrupt(&self) -> StoreError {
        corrupt(self.0)
    }
}

/// What was found is of use to the operator, the rest of a message is nobody's business.
fn corrupt(found: &str) -> StoreError {
    let start: String = found.chars().take(20).collect();
    StoreError::Corrupt(format!("packed values with {start:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut packer = Packer::default();
        packer
            .number(-7)
            .text("a:b;c")
            .text_or_none(None)
            .text("")
            .text_or_none(Some("ü\u{1f}"))
            .number(i64::MAX);
        let text = packer.finish();
        let mut unpacker = Unpacker::new(&text);
        assert_eq!(unpacker.number::<i64>().unwrap(), -7);
        assert_eq!(unpacker.text().unwrap(), "a:b;c");
        assert_eq!(unpacker.text_or_none().unwrap(), None);
        assert_eq!(unpacker.text().unwrap(), "");
        assert_eq!(unpacker.text_or_none().unwrap(), Some("ü\u{1f}"));
        assert_eq!(unpacker.number::<i64>().unwrap(), i64::MAX);
        assert!(unpacker.is_empty());
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 1, 9, 10, -1, -10, 1_234_567_890, i64::MAX, i64::MIN] {
            let mut packer = Packer::default();
            packer.number(number);
            assert_eq!(packer.finish(), format!("{number};"));
        }
    }

    #[test]
    fn what_is_broken_is_an_error() {
        for packed in ["", "x;", "3:ab", "1", "99999999999999999999:a", "1:ü", "-2:", "-1:"] {
            assert!(Unpacker::new(packed).text().is_err(), "{packed}");
            assert!(Unpacker::new(packed).number::<i64>().is_err(), "{packed}");
        }
    }

    #[test]
    fn no_text_holds_the_character_that_postgresql_refuses() {
        let mut packer = Packer::default();
        packer.text("a\0b");
        assert_eq!(packer.finish(), "5:a\u{fffd}b");
    }
}
