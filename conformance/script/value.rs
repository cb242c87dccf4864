//! Patterns for the value of an attribute or a text.

use std::collections::HashMap;
use std::fmt;

use super::template::{braces, is_variable};

/// What the placeholders stand for: accounts, devices, and what was captured.
pub(crate) type Values = HashMap<String, String>;

/// A value that is expected: literal text and placeholders.
#[derive(Debug, Clone)]
pub(super) struct ValuePattern {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Hole(Hole),
}

#[derive(Debug, Clone)]
struct Hole {
    /// `{name:=…}` keeps the value under this name.
    capture: Option<String>,
    /// `{not …}`: none of the choices may match.
    is_negative: bool,
    choices: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// Any text that is not empty.
    Any,
    Empty,
    /// The attribute is not there.
    Absent,
    /// Digits.
    Number,
    /// A time in UTC as XEP-0082 writes it.
    Time,
    /// A time zone as XEP-0082 writes it.
    Zone,
    /// `local@domain` with or without a resource.
    Jid,
    Literal(String),
    Variable(String),
}

impl ValuePattern {
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            let (before, tail) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.to_owned()));
            }
            let (inside, after) = braces(tail)?;
            pieces.push(Piece::Hole(Hole::parse(inside)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        let pattern = Self { source: source.to_owned(), pieces };
        if pattern.pieces.len() > 1 && pattern.choices().any(|c| *c == Choice::Absent) {
            Err(format!("{source}: a part of a value cannot be absent"))
        } else {
            Ok(pattern)
        }
    }

    fn choices(&self) -> impl Iterator<Item = &Choice> {
        self.holes().flat_map(|hole| hole.choices.iter())
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(hole) => Some(hole),
            Piece::Literal(_) => None,
        })
    }

    /// The variables that must have a value before, in the order of their use.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.choices().filter_map(|choice| match choice {
            Choice::Variable(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The names under which parts of the value are kept.
    pub(super) fn captures(&self) -> impl Iterator<Item = &str> {
        self.holes().filter_map(|hole| hole.capture.as_deref())
    }

    /// Compares, and keeps the captures in `values` when all matches.
    pub(super) fn matches(&self, text: Option<&str>, values: &mut Values) -> bool {
        let Some(text) = text else {
            return matches!(self.pieces.as_slice(), [Piece::Hole(hole)] if hole.allows_absence());
        };
        let mut attempt = values.clone();
        let is_match = match_pieces(&self.pieces, text, &mut attempt);
        if is_match {
            *values = attempt;
        }
        is_match
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn match_pieces(pieces: &[Piece], text: &str, values: &mut Values) -> bool {
    match pieces {
        [] => text.is_empty(),
        [Piece::Literal(literal), rest @ ..] => {
            text.strip_prefix(literal.as_str()).is_some_and(|tail| match_pieces(rest, tail, values))
        }
        [Piece::Hole(hole)] => hole.matches(text, values),
        [Piece::Hole(hole), rest @ ..] => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            for end in ends {
                let (own, tail) = text.split_at(end);
                let mut attempt = values.clone();
                if hole.matches(own, &mut attempt) && match_pieces(rest, tail, &mut attempt) {
                    *values = attempt;
                    return true;
                }
            }
            false
        }
    }
}

impl Hole {
    fn parse(inside: &str) -> Result<Self, String> {
        let (capture, inside) = match inside.split_once(":=") {
            Some((name, "")) => (Some(name.to_owned()), "any"),
            Some((name, form)) => (Some(name.to_owned()), form),
            None => (None, inside),
        };
        if let Some(name) = capture.as_deref().filter(|name| !is_variable(name) || name.contains(['/', '.']))
        {
            return Err(format!("{name:?} cannot name what is captured"));
        }
        let (is_negative, choices) = match inside.strip_prefix("not ") {
            Some(choices) => (true, choices),
            None => (false, inside),
        };
        let choices: Vec<Choice> = choices.split('|').map(Choice::parse).collect::<Result<_, _>>()?;
        Ok(Self { capture, is_negative, choices })
    }

    fn allows_absence(&self) -> bool {
        self.choices.contains(&Choice::Absent) != self.is_negative && self.capture.is_none()
    }

    fn matches(&self, text: &str, values: &mut Values) -> bool {
        let is_chosen = self.choices.iter().any(|choice| choice.matches(text, values));
        if is_chosen == self.is_negative {
            return false;
        }
        if let Some(name) = &self.capture {
            values.insert(name.clone(), text.to_owned());
        }
        true
    }
}

impl Choice {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "any" => Self::Any,
            "empty" => Self::Empty,
            "absent" => Self::Absent,
            "number" => Self::Number,
            "time" => Self::Time,
            "zone" => Self::Zone,
            "jid" => Self::Jid,
            _ => match text.strip_prefix('=') {
                Some(literal) => Self::Literal(literal.to_owned()),
                None if is_variable(text) => Self::Variable(text.to_owned()),
                None => return Err(format!("{{{text}}} is no placeholder for a value")),
            },
        })
    }

    fn matches(&self, text: &str, values: &Values) -> bool {
        match self {
            Self::Any => !text.is_empty(),
            Self::Empty => text.is_empty(),
            Self::Absent => false,
            Self::Number => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Time => is_time(text),
            Self::Zone => text == "Z" || is_offset(text),
            Self::Jid => is_jid(text),
            Self::Literal(literal) => text == literal,
            Self::Variable(name) => values.get(name).is_some_and(|value| value == text),
        }
    }
}

/// `CCYY-MM-DDThh:mm:ss[.sss]Z` (XEP-0082 §3.2).
fn is_time(text: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let (whole, fraction) = text.split_at(text.len().min(19));
    let Some(fraction) = fraction.strip_suffix('Z') else { return false };
    let is_fraction = fraction.is_empty()
        || fraction
            .strip_prefix('.')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    whole.chars().map(shape).eq("0000-00-00T00:00:00".chars()) && is_fraction
}

/// `+01:00`
fn is_offset(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or_default();
    digits.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).eq("00:00".chars())
}

fn is_jid(text: &str) -> bool {
    let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
    bare.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
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

    fn values() -> Values {
        HashMap::from([("alice".to_owned(), "alice@x".to_owned()), ("id".to_owned(), "7".to_owned())])
    }

    #[test]
    fn values_match_as_they_are_described() {
        for (pattern, text, want) in [
            ("chat", Some("chat"), true),
            ("chat", Some("chats"), false),
            ("chat", None, false),
            ("{any}", Some("x"), true),
            ("{any}", Some(""), false),
            ("{any}", None, false),
            ("{absent}", None, true),
            ("{absent}", Some(""), false),
            ("{absent|alice}", None, true),
            ("{absent|alice}", Some("alice@x"), true),
            ("{absent|alice}", Some("bob@x"), false),
            ("{not alice}", Some("bob@x"), true),
            ("{not alice}", Some("alice@x"), false),
            ("{not alice}", None, true),
            ("{not absent}", None, false),
            ("{=a|=b}", Some("b"), true),
            ("{=a|=b}", Some("c"), false),
            ("{alice}/{any}", Some("alice@x/phone"), true),
            ("{alice}/{any}", Some("alice@x/"), false),
            ("{number}", Some("12"), true),
            ("{number}", Some("1.2"), false),
            ("{time}", Some("2026-01-02T03:04:05Z"), true),
            ("{time}", Some("2026-01-02T03:04:05.123Z"), true),
            ("{time}", Some("2026-01-02T03:04:05+01:00"), false),
            ("{time}", Some("2026-01-02T03:04:05.Z"), false),
            ("{jid}", Some("a@b/c"), true),
            ("{jid}", Some("b"), false),
            ("{zone}", Some("-05:30"), true),
            ("{zone}", Some("Z"), true),
            ("{zone}", Some("05:30"), false),
            ("{empty}", Some(""), true),
        ] {
            let pattern = ValuePattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(text, &mut values()), want, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn captures_are_kept_only_from_a_whole_match() {
        let mut values = values();
        let pattern = ValuePattern::parse("{first:=number}-{second:=}!").unwrap();
        assert!(!pattern.matches(Some("12-ab"), &mut values));
        assert!(!values.contains_key("first"));
        assert!(pattern.matches(Some("12-a-b!"), &mut values));
        assert_eq!((values["first"].as_str(), values["second"].as_str()), ("12", "a-b"));
    }

    #[test]
    fn wrong_placeholders_are_found() {
        for text in ["{", "{a b}", "{X}", "{a/b:=}", "x{absent}", "{}"] {
            assert!(ValuePattern::parse(text).is_err(), "{text}");
        }
    }
}
