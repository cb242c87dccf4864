//! Values packed into one text, so that a database hands over many rows as one.
//!
//! A number is `12;`, a text is its length in bytes and itself, `5:hello`, and a text that is not there is
//! `-1:`. Packed values need no separator and may hold any character. The databases write the same form:
//! `concat(id, ';', octet_length(name), ':', name)`, joined by `string_agg(…, '')`.

use std::borrow::Cow;

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

    pub(crate) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let is_negative = self.0.starts_with('-');
        let (number, rest) = self.digits(usize::from(is_negative), b';')?;
        self.0 = rest;
        // Below zero from the start: there is one more number there.
        let number = if is_negative { Some(number) } else { number.checked_neg() };
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| self.corrupt())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StoreError> {
        self.text_or_none()?.ok_or_else(|| self.corrupt())
    }

    pub(crate) fn text_or_none(&mut self) -> Result<Option<&'a str>, StoreError> {
        if let Some(rest) = self.0.strip_prefix("-1:") {
            self.0 = rest;
            return Ok(None);
        }
        let (length, rest) = self.digits(0, b':')?;
        let length = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| self.corrupt())?;
        self.0 = rest;
        Ok(Some(text))
    }

    /// The number that digits make up to a sign, times minus one, and what is behind that. `skipped` bytes come before it.
    fn digits(&self, skipped: usize, end: u8) -> Result<(i64, &'a str), StoreError> {
        let mut number = Some(0_i64);
        for (index, byte) in self.0.bytes().enumerate().skip(skipped) {
            if byte == end && index > skipped {
                let rest = index.checked_add(1).and_then(|behind| self.0.get(behind..));
                return number.zip(rest).ok_or_else(|| self.corrupt());
            }
            if !byte.is_ascii_digit() {
                break;
            }
            let digit = i64::from(byte.wrapping_sub(b'0'));
            number = number.and_then(|number| number.checked_mul(10)?.checked_sub(digit));
        }
        Err(self.corrupt())
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
