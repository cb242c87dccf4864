//! Text with placeholders, as a script sends it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Text and what is put into it.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Variable(String),
    /// `{base64 …}`; `\0` inside is the byte 0.
    Base64(Template),
    /// `{filler N}`: N times the letter x.
    Filler(usize),
    /// `{bytes FF FE}`, for text that is not text. Only raw sending keeps them as they are.
    Bytes(Vec<u8>),
}

impl Template {
    /// `{{` is a brace. The error says which placeholder is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, tail) = rest.split_at(at);
            literal.push_str(before);
            if tail.starts_with("{{") || tail.starts_with("}}") {
                let (brace, after) = tail.split_at(1);
                literal.push_str(brace);
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            let (inside, after) = braces(tail)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::parse(inside)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// The names of the variables that are used.
    pub(crate) fn variables(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Variable(name) => names.push(name.as_str()),
                Piece::Base64(inner) => names.extend(inner.variables()),
                Piece::Literal(_) | Piece::Filler(_) | Piece::Bytes(_) => {}
            }
        }
        names
    }

    /// The text, with each value passed through `quote`.
    pub(crate) fn fill(
        &self,
        values: &HashMap<String, String>,
        quote: fn(&str) -> String,
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(name) => {
                    let value = values.get(name).ok_or_else(|| format!("{{{name}}} has no value"))?;
                    out.extend_from_slice(quote(value).as_bytes());
                }
                Piece::Base64(inner) => {
                    let inner = String::from_utf8(inner.fill(values, str::to_owned)?)
                        .map_err(|_| "bytes inside {base64 …}".to_owned())?;
                    out.extend_from_slice(BASE64.encode(inner.replace("\\0", "\0")).as_bytes());
                }
                Piece::Filler(length) => out.resize(out.len().saturating_add(*length), b'x'),
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(out)
    }

    /// As [`Template::fill`], unquoted and as text.
    pub(crate) fn fill_text(&self, values: &HashMap<String, String>) -> Result<String, String> {
        String::from_utf8(self.fill(values, str::to_owned)?).map_err(|_| "bytes where text stands".to_owned())
    }
}

impl Piece {
    fn parse(inside: &str) -> Result<Self, String> {
        if let Some(inner) = inside.strip_prefix("base64 ") {
            return Template::parse(inner).map(Self::Base64);
        }
        if let Some(length) = inside.strip_prefix("filler ") {
            return length.parse().map(Self::Filler).map_err(|_| format!("{{{inside}}}: not a length"));
        }
        if let Some(bytes) = inside.strip_prefix("bytes ") {
            let bytes = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16));
            return bytes
                .collect::<Result<_, _>>()
                .map(Self::Bytes)
                .map_err(|e| format!("{{{inside}}}: {e}"));
        }
        if is_variable(inside) {
            Ok(Self::Variable(inside.to_owned()))
        } else {
            Err(format!("{{{inside}}} is no placeholder for sending"))
        }
    }
}

/// Splits `{inside}rest`; braces may nest.
pub(super) fn braces(text: &str) -> Result<(&str, &str), String> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let (with_brace, rest) = text.split_at(at);
            return match (with_brace.strip_prefix('{'), rest.strip_prefix('}')) {
                (Some(inside), Some(rest)) => Ok((inside, rest)),
                _ => Err("a brace that nothing opens".to_owned()),
            };
        }
    }
    Err(format!("a brace that nothing closes: {text}"))
}

/// `alice`, `alice/phone`, `alice/phone#2.sent`, `first_id`.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '#'))
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
    fn placeholders_are_filled() {
        let values =
            HashMap::from([("alice".to_owned(), "a'b".to_owned()), ("n".to_owned(), "3".to_owned())]);
        for (text, want) in [
            ("to='{alice}' {n}", "to='a&apos;b' 3"),
            ("{{x}} {filler 4}", "{x} xxxx"),
            ("{base64 \\0{n}\\0x}", "ADMAeA=="),
            ("{bytes 41 42}", "AB"),
        ] {
            let filled = Template::parse(text).unwrap().fill(&values, crate::xml::escape).unwrap();
            assert_eq!(String::from_utf8(filled).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn wrong_placeholders_are_found() {
        for text in ["{", "{a", "}", "{any thing}", "{filler x}", "{bytes XX}", "{Alice}", "{}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        let missing = Template::parse("{bob}").unwrap();
        assert!(missing.fill_text(&HashMap::new()).unwrap_err().contains("{bob}"));
    }
}
