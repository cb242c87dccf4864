//! Characters, names and references (XML 1.0 §2.2, §2.3, §2.11, §3.3.3, §4.1; Namespaces in XML 1.0 §3).

use compact_str::CompactString;

use crate::{Restricted, XmlError};

/// XML 1.0 §2.2 `Char`. No surrogate is a `char`.
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// White space as XML 1.0 §2.3 has it.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// XML 1.0 §2.3 `NameStartChar`, less the colon (Namespaces in XML §3 `NCName`).
fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// XML 1.0 §2.3 `NameChar`, less the colon.
fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Namespaces in XML 1.0 §3 `NCName`.
pub(crate) fn is_ncname(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// A byte that can be part of a name; the characters above ASCII are looked at once the name is whole.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | 0x80..)
}

/// Splits a `QName` (Namespaces in XML 1.0 §4) into prefix and local part.
pub(crate) fn split_qname(name: &str) -> Result<(Option<&str>, &str), XmlError> {
    let (prefix, local) = match name.split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, name),
    };
    if is_ncname(local) && prefix.is_none_or(is_ncname) {
        Ok((prefix, local))
    } else {
        Err(XmlError::NotWellFormed("a name is not a qualified name"))
    }
}

/// Checks that every character of `text` is one (XML 1.0 §2.2).
pub(crate) fn check(text: &str) -> Result<(), XmlError> {
    if text.chars().all(is_char) {
        Ok(())
    } else {
        Err(XmlError::NotWellFormed("a character that XML excludes"))
    }
}

/// What the reference `&name;` stands for: a character, by number or by one of the five predefined names.
/// RFC 6120 §11.1 excludes all others.
pub(crate) fn resolve(name: &str) -> Result<char, XmlError> {
    const BAD: XmlError = XmlError::NotWellFormed("a reference is not one");
    match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => {}
    }
    let Some(number) = name.strip_prefix('#') else {
        return Err(if is_ncname(name) { XmlError::RestrictedXml(Restricted::Entity) } else { BAD });
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` would accept a sign.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(BAD);
    }
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|c| is_char(*c))
        .ok_or(XmlError::NotWellFormed("a character reference to no character"))
}

/// Appends character data without references, its line ends normalised (XML 1.0 §2.11).
pub(crate) fn push_text(out: &mut CompactString, raw: &str) {
    let mut lines = raw.split('\r');
    out.push_str(lines.next().unwrap_or_default());
    for line in lines {
        if !line.starts_with('\n') {
            out.push('\n');
        }
        out.push_str(line);
    }
}

/// The value of an attribute: references resolved, white space normalised (XML 1.0 §3.3.3, after §2.11).
pub(crate) fn attribute_value(raw: &str) -> Result<CompactString, XmlError> {
    let is_plain = |byte: &u8| !matches!(byte, b'&' | b'\t' | b'\n' | b'\r');
    if raw.as_bytes().iter().all(is_plain) {
        return Ok(raw.into());
    }
    let mut value = CompactString::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((clean, found, tail)) = split_at_any(rest, ['&', '\t', '\n', '\r']) {
        value.push_str(clean);
        rest = tail;
        match found {
            '&' => {
                let (name, tail) =
                    rest.split_once(';').ok_or(XmlError::NotWellFormed("a reference without its end"))?;
                value.push(resolve(name)?);
                rest = tail;
            }
            '\r' => {
                value.push(' ');
                rest = rest.strip_prefix('\n').unwrap_or(rest);
            }
            _ => value.push(' '),
        }
    }
    value.push_str(rest);
    Ok(value)
}

/// `text` up to the first of `found`, that one, and what follows it.
fn split_at_any<const N: usize>(text: &str, any: [char; N]) -> Option<(&str, char, &str)> {
    let (clean, tail) = text.split_at(text.find(any)?);
    let mut tail = tail.chars();
    let found = tail.next()?;
    Some((clean, found, tail.as_str()))
}
