//! Text and the values of attributes as they are meant: references resolved, line ends and white space normalised
//! (XML 1.0 §2.11, §3.3.3, §4.1).

use compact_str::CompactString;
use memchr::memchr;

use crate::{
    Restricted, XmlError,
    chars::{self, VALUE_READ},
    names, steps,
};

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
        return Err(if names::is_ncname(name) { XmlError::RestrictedXml(Restricted::Entity) } else { BAD });
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` would accept a sign.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(BAD);
    }
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|c| chars::is_char(*c))
        .ok_or(XmlError::NotWellFormed("a reference to a character that XML excludes"))
}

/// Appends character data that holds no reference.
pub(crate) fn push(out: &mut CompactString, raw: &str) {
    let mut rest = raw;
    while let Some((line, tail)) = memchr(b'\r', rest.as_bytes()).and_then(|at| rest.split_at_checked(at)) {
        out.push_str(line);
        out.push('\n');
        rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix('\r')).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The value of an attribute between its quotes.
pub(crate) fn value(raw: &str) -> Result<CompactString, XmlError> {
    if is_plain(raw) { Ok(raw.into()) } else { normalise(raw) }
}

/// Whether the value of an attribute is what stands between its quotes.
pub(crate) fn is_plain(raw: &str) -> bool {
    chars::find::<VALUE_READ>(raw.as_bytes()).is_none()
}

fn normalise(raw: &str) -> Result<CompactString, XmlError> {
    let mut value = CompactString::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = chars::find::<VALUE_READ>(rest.as_bytes()) {
        let (clean, tail) = rest.split_at(at);
        steps::add(at);
        value.push_str(clean);
        rest = if let Some(reference) = tail.strip_prefix('&') {
            let (name, tail) =
                reference.split_once(';').ok_or(XmlError::NotWellFormed("a reference without its end"))?;
            value.push(resolve(name)?);
            tail
        } else {
            value.push(' ');
            tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\t', '\n', '\r'])).unwrap_or_default()
        };
    }
    value.push_str(rest);
    Ok(value)
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
    fn references_are_characters_or_nothing() {
        for (name, want) in [
            ("lt", '<'),
            ("gt", '>'),
            ("amp", '&'),
            ("apos", '\''),
            ("quot", '"'),
            ("#9", '\t'),
            ("#xA", '\n'),
            ("#13", '\r'),
            ("#x1F600", '😀'),
            ("#x1f600", '😀'),
            ("#000000000000000000065", 'A'),
            ("#x10FFFF", '\u{10ffff}'),
            ("#xFFFD", '\u{fffd}'),
        ] {
            assert_eq!(resolve(name), Ok(want), "{name}");
        }
        for name in [
            "",
            "#",
            "#x",
            "#X41",
            "#-1",
            "#+65",
            "#x+41",
            "# 65",
            "#65 ",
            "#6_5",
            "#a",
            "#xg",
            "LT",
            " lt",
            "lt ",
            "1",
            "a b",
            "#0",
            "#1",
            "#8",
            "#x1F",
            "#xD800",
            "#xDFFF",
            "#xFFFE",
            "#xFFFF",
            "#x110000",
            "#4294967361",
            "#99999999999999999999999999",
            "#٦",
        ] {
            assert!(
                matches!(resolve(name), Err(XmlError::NotWellFormed(_) | XmlError::RestrictedXml(_))),
                "{name}"
            );
        }
        for name in ["nbsp", "lol9", "LT", "é"] {
            assert_eq!(resolve(name), Err(XmlError::RestrictedXml(Restricted::Entity)), "{name}");
        }
    }

    #[test]
    fn line_ends_become_line_feeds() {
        for (raw, want) in [
            ("a", "a"),
            ("a\r\nb", "a\nb"),
            ("a\rb", "a\nb"),
            ("\r", "\n"),
            ("\r\r\n\n\r", "\n\n\n\n"),
            ("\n\r", "\n\n"),
        ] {
            let mut out = CompactString::const_new("");
            push(&mut out, raw);
            assert_eq!(out, want, "{raw:?}");
        }
    }

    #[test]
    fn values_are_normalised() {
        for (raw, want) in [
            ("", ""),
            ("  a  b ", "  a  b "), // only a DTD could make more of it
            ("a\tb\nc\rd\r\ne", "a b c d e"),
            ("\r\n\r\n", "  "),
            ("\n\r", "  "),
            ("&#9;&#10;&#13;&#x20;", "\t\n\r "),
            ("&#13;\n", "\r "),
            ("&amp;lt;", "&lt;"), // resolved once
            ("&lt;a b='c'>", "<a b='c'>"),
            ("é&quot;😀", "é\"😀"),
        ] {
            assert_eq!(value(raw).as_deref(), Ok(want), "{raw:?}");
        }
        for raw in ["&", "&&amp;", "&amp", "a&lt b", "&;", "&nbsp;", "& amp;", "&#x0;", "&#55296;", "a;&"] {
            assert!(value(raw).is_err(), "{raw:?}");
        }
    }
}
