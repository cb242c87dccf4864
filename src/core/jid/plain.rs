//! The ASCII characters that stand in a part of an address as they are, so that most addresses need no table
//! but this one.

/// What [`is`] asks for: allowed in a localpart (RFC 7622 §3.3, and §3.3.1 takes some away) as it is.
pub(super) const LOCAL: u8 = 1;
/// Allowed in a resourcepart (§3.4).
pub(super) const RESOURCE: u8 = 2;
/// A letter or digit of a domain name (§3.2).
pub(super) const LABEL: u8 = 4;

/// Whether an ASCII character may stand in a part and no rule changes it there.
pub(super) fn is(byte: u8, part: u8) -> bool {
    KINDS.get(usize::from(byte)).is_some_and(|kinds| kinds & part != 0)
}

const KINDS: [u8; 256] = kinds();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler only")]
const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        let is_excluded = matches!(byte, b' ' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@');
        let is_label = matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        kinds[byte as usize] = RESOURCE
            | if is_excluded || byte.is_ascii_uppercase() { 0 } else { LOCAL }
            | if is_label { LABEL } else { 0 };
        byte += 1;
    }
    kinds
}
