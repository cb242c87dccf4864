//! Characters (XML 1.0 §2.2), and what kind a byte is of.

use crate::XmlError;

/// A byte that can stand in a name, the colon included. What lies beyond ASCII is looked at once the name is
/// whole.
pub(crate) const NAME: u8 = 1;
/// An ASCII character that a name can start with, except for the colon.
pub(crate) const NAME_START: u8 = 1 << 1;
/// White space (§2.3).
pub(crate) const SPACE: u8 = 1 << 2;
/// What has to be looked at when text is written.
pub(crate) const TEXT_ESCAPE: u8 = 1 << 3;
/// What has to be looked at when the value of an attribute is written.
pub(crate) const VALUE_ESCAPE: u8 = 1 << 4;
/// What changes when the value of an attribute is read (§3.3.3).
pub(crate) const VALUE_READ: u8 = 1 << 5;
/// What no URI contains (RFC 3986), or only around an IP address.
pub(crate) const NO_URI: u8 = 1 << 6;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is less than 256")]
        {
            classes[byte as usize] = classify(byte);
        }
        if byte == u8::MAX {
            break classes;
        }
        byte = byte.wrapping_add(1);
    }
};

const fn classify(byte: u8) -> u8 {
    let name = match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME | NAME_START,
        b'0'..=b'9' | b'-' | b'.' | b':' | 0x80.. => NAME,
        _ => 0,
    };
    let space = match byte {
        b' ' => SPACE,
        b'\t' | b'\n' | b'\r' => SPACE | VALUE_ESCAPE | VALUE_READ,
        _ => 0,
    };
    let escape = match byte {
        b'&' => TEXT_ESCAPE | VALUE_ESCAPE | VALUE_READ,
        b'\'' | b'"' => VALUE_ESCAPE,
        b'\t' | b'\n' => 0,
        // With the control characters, and with the first byte of U+FFFE and U+FFFF.
        b'<' | b'>' | 0..=0x1f | 0xef => TEXT_ESCAPE | VALUE_ESCAPE,
        _ => 0,
    };
    let no_uri = match byte {
        0..=b' ' | b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' | b'[' | b']' | 0x7f.. => {
            NO_URI
        }
        _ => 0,
    };
    name | space | escape | no_uri
}

/// The kinds that `byte` is of.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is less than 256")]
pub(crate) fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

#[inline]
pub(crate) fn is_name(byte: u8) -> bool {
    class(byte) & NAME != 0
}

/// Where the first byte stands that is of a kind in `kinds`.
pub(crate) fn find<const KINDS: u8>(bytes: &[u8]) -> Option<usize> {
    // Several bytes at a time: texts and values are mostly plain.
    const STEP: usize = 8;
    let kinds_of = |chunk: &&[u8]| chunk.iter().fold(0, |kinds, byte| kinds | class(*byte)) & KINDS;
    let plain =
        bytes.chunks_exact(STEP).take_while(|chunk| kinds_of(chunk) == 0).count().saturating_mul(STEP);
    let rest = bytes.get(plain..)?;
    rest.iter().position(|byte| class(*byte) & KINDS != 0).map(|at| at.saturating_add(plain))
}

/// XML 1.0 §2.2 `Char`. No surrogate is a `char`.
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Checks that every character of `text` is one.
pub(crate) fn check(text: &str) -> Result<(), XmlError> {
    // Without a branch, so that many bytes are looked at together. 0xEF begins U+FFFE, among much else.
    let is_suspect = |byte: u8| {
        (u8::from(byte < 0x20) & u8::from(byte != b'\t') & u8::from(byte != b'\n') & u8::from(byte != b'\r'))
            | u8::from(byte == 0xef)
    };
    let suspects = text.bytes().fold(0, |suspects, byte| suspects | is_suspect(byte));
    if suspects == 0 || text.chars().all(is_char) {
        Ok(())
    } else {
        Err(XmlError::NotWellFormed("a character that XML excludes"))
    }
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
    fn characters_are_those_of_xml() {
        for good in [
            "",
            "a",
            "\t\n\r ",
            "\u{7f}\u{80}\u{9f}",
            "\u{d7ff}\u{e000}",
            "\u{feff}\u{fffd}",
            "\u{1ffff}\u{10ffff}",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in ["\0", "a\u{1}", "\u{8}", "\u{b}", "\u{c}", "\u{e}", "\u{1f}", "\u{fffe}", "a\u{ffff}b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_character_is_judged_alike_by_both_rules() {
        for c in '\0'..=char::MAX {
            assert_eq!(check(c.encode_utf8(&mut [0; 4])).is_ok(), is_char(c), "{c:?}");
        }
    }
}
