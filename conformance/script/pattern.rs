//! Patterns for elements.
//!
//! An element matches when its name and namespace are equal, the listed attributes match
//! and each listed child matches a child of its own; what is not listed is free.

use std::fmt;

use super::template::braces;
use super::value::{ValuePattern, Values};
use crate::xml::{Element, NS_CLIENT, NS_XML, Node};

#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    name: String,
    ns: String,
    attributes: Vec<(String, String, ValuePattern)>,
    text: Option<ValuePattern>,
    children: Vec<Child>,
    /// `{nothing else}`: no other children than the listed ones.
    is_exact: bool,
}

#[derive(Debug, Clone)]
enum Child {
    One(Pattern),
    /// `{no}` before an element: no child may match it.
    No(Pattern),
    /// `{one of} … {end}`: one of the elements between must match.
    OneOf(Vec<Pattern>),
}

/// Where the next child belongs.
enum Mode {
    Plain,
    No,
    OneOf(Vec<Pattern>),
}

impl Pattern {
    pub(crate) fn new(element: &Element) -> Result<Self, String> {
        let mut pattern = Self {
            name: element.name.clone(),
            ns: element.ns.clone(),
            attributes: Vec::new(),
            text: None,
            children: Vec::new(),
            is_exact: false,
        };
        for attribute in &element.attributes {
            let value = ValuePattern::parse(&attribute.value)?;
            pattern.attributes.push((attribute.ns.clone(), attribute.name.clone(), value));
        }
        let mut mode = Mode::Plain;
        let mut text = String::new();
        for node in &element.nodes {
            match node {
                Node::Text(words) => mode = pattern.read_text(words, mode, &mut text)?,
                Node::Element(child) => mode = pattern.add_child(Self::new(child)?, mode),
            }
        }
        if !matches!(mode, Mode::Plain) {
            return Err(format!("<{}>: {{no}} or {{one of}} without its end", element.name));
        }
        let text = text.trim();
        if !text.is_empty() {
            pattern.text = Some(ValuePattern::parse(text)?);
        }
        Ok(pattern)
    }

    fn add_child(&mut self, child: Self, mode: Mode) -> Mode {
        match mode {
            Mode::Plain => self.children.push(Child::One(child)),
            Mode::No => self.children.push(Child::No(child)),
            Mode::OneOf(mut choices) => {
                choices.push(child);
                return Mode::OneOf(choices);
            }
        }
        Mode::Plain
    }

    /// Takes the marks out of a text; what is left is the text that is expected.
    fn read_text(&mut self, words: &str, mut mode: Mode, text: &mut String) -> Result<Mode, String> {
        let mut rest = words;
        while let Some(at) = rest.find('{') {
            let (before, tail) = rest.split_at(at);
            text.push_str(before);
            let (inside, after) = braces(tail)?;
            mode = match (inside, mode) {
                ("no", Mode::Plain) => Mode::No,
                ("one of", Mode::Plain) => Mode::OneOf(Vec::new()),
                ("end", Mode::OneOf(choices)) if choices.len() > 1 => {
                    self.children.push(Child::OneOf(choices));
                    Mode::Plain
                }
                ("nothing else", Mode::Plain) => {
                    self.is_exact = true;
                    Mode::Plain
                }
                ("no" | "one of" | "end" | "nothing else", _) => {
                    return Err(format!("<{}>: {{{inside}}} cannot stand here", self.name));
                }
                (_, mode) => {
                    text.push_str(tail.strip_suffix(after).unwrap_or(tail));
                    mode
                }
            };
            rest = after;
        }
        text.push_str(rest);
        Ok(mode)
    }

    /// Compares; keeps the captures when all matches, else says the first difference.
    pub(crate) fn matches(&self, element: &Element, values: &mut Values) -> Result<(), String> {
        let mut attempt = values.clone();
        self.compare(element, &mut attempt)?;
        *values = attempt;
        Ok(())
    }

    fn is_named_as(&self, element: &Element) -> bool {
        element.is(&self.ns, &self.name)
    }

    fn compare(&self, element: &Element, values: &mut Values) -> Result<(), String> {
        if !self.is_named_as(element) {
            return Err(format!("it is <{} xmlns='{}'>", element.name, element.ns));
        }
        for (ns, name, pattern) in &self.attributes {
            let got = element.attribute_ns(ns, name);
            if !pattern.matches(got, values) {
                let got = got.map_or("absent".to_owned(), |value| format!("'{value}'"));
                return Err(format!("{name} of <{}> is {got}, not '{pattern}'", self.name));
            }
        }
        if let Some(pattern) = &self.text {
            let got = element.text();
            if !pattern.matches(Some(&got), values) {
                return Err(format!("the text of <{}> is {got:?}, not {:?}", self.name, pattern.to_string()));
            }
        }
        let children: Vec<&Element> = element.children().collect();
        let mut is_used = vec![false; children.len()];
        self.match_children(&self.children, &children, &mut is_used, values)
    }

    fn match_children(
        &self,
        wanted: &[Child],
        children: &[&Element],
        is_used: &mut [bool],
        values: &mut Values,
    ) -> Result<(), String> {
        let Some((first, rest)) = wanted.split_first() else {
            return self.check_rest(children, is_used, values);
        };
        let choices = match first {
            Child::No(_) => return self.match_children(rest, children, is_used, values),
            Child::One(pattern) => std::slice::from_ref(pattern),
            Child::OneOf(patterns) => patterns.as_slice(),
        };
        let mut reason = None;
        for (at, child) in children.iter().enumerate() {
            for pattern in choices {
                if is_used.get(at) != Some(&false) || !pattern.is_named_as(child) {
                    continue;
                }
                let mut attempt = values.clone();
                let mut is_used_then = is_used.to_vec();
                if let Some(used) = is_used_then.get_mut(at) {
                    *used = true;
                }
                let result = pattern
                    .compare(child, &mut attempt)
                    .and_then(|()| self.match_children(rest, children, &mut is_used_then, &mut attempt));
                match result {
                    Ok(()) => {
                        *values = attempt;
                        return Ok(());
                    }
                    Err(why) => reason = reason.or(Some(why)),
                }
            }
        }
        let names: Vec<String> = choices.iter().map(Self::tag).collect();
        Err(reason.unwrap_or_else(|| format!("<{}> has no {}", self.name, names.join(" or "))))
    }

    /// What must not be there.
    fn check_rest(&self, children: &[&Element], is_used: &[bool], values: &Values) -> Result<(), String> {
        for child in &self.children {
            let Child::No(pattern) = child else { continue };
            if let Some(found) =
                children.iter().find(|child| pattern.compare(child, &mut values.clone()).is_ok())
            {
                return Err(format!("<{}> must not hold {found}", self.name));
            }
        }
        let mut left = children.iter().zip(is_used).filter(|(_, used)| !**used).map(|(child, _)| child);
        match left.next() {
            Some(child) if self.is_exact => {
                Err(format!("<{}> holds <{} xmlns='{}'> too", self.name, child.name, child.ns))
            }
            _ => Ok(()),
        }
    }

    fn tag(&self) -> String {
        if self.ns == NS_CLIENT {
            format!("<{}/>", self.name)
        } else {
            format!("<{} xmlns='{}'/>", self.name, self.ns)
        }
    }

    /// The value patterns in the order in which they are compared.
    fn value_patterns(&self) -> Vec<&ValuePattern> {
        let mut patterns: Vec<&ValuePattern> = self.attributes.iter().map(|(_, _, value)| value).collect();
        patterns.extend(&self.text);
        for child in &self.children {
            match child {
                Child::One(pattern) | Child::No(pattern) => patterns.extend(pattern.value_patterns()),
                Child::OneOf(choices) => patterns.extend(choices.iter().flat_map(Self::value_patterns)),
            }
        }
        patterns
    }

    /// Shows each variable that is read or set, in the order of comparison.
    pub(crate) fn visit_variables(&self, visitor: &mut dyn FnMut(Variable<'_>)) {
        for pattern in self.value_patterns() {
            pattern.variables().for_each(|name| visitor(Variable::Used(name)));
            pattern.captures().for_each(|name| visitor(Variable::Captured(name)));
        }
    }
}

/// How a pattern mentions a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable<'a> {
    Used(&'a str),
    Captured(&'a str),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.ns == crate::xml::NS_STREAM { "stream:" } else { "" };
        write!(f, "<{prefix}{}", self.name)?;
        if prefix.is_empty() && self.ns != NS_CLIENT {
            write!(f, " xmlns='{}'", self.ns)?;
        }
        for (ns, name, value) in &self.attributes {
            let prefix = if ns == NS_XML { "xml:" } else { "" };
            write!(f, " {prefix}{name}='{value}'")?;
        }
        write!(f, ">")?;
        if let Some(text) = &self.text {
            write!(f, "{text}")?;
        }
        for child in &self.children {
            match child {
                Child::One(pattern) => write!(f, "{pattern}")?,
                Child::No(pattern) => write!(f, "{{no}}{pattern}")?,
                Child::OneOf(patterns) => {
                    write!(f, "{{one of}}")?;
                    patterns.iter().try_for_each(|pattern| write!(f, "{pattern}"))?;
                    write!(f, "{{end}}")?;
                }
            }
        }
        write!(f, "</{prefix}{}>", self.name)
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
    use crate::xml::fragment;

    fn check(pattern: &str, element: &str) -> Result<Values, String> {
        let pattern = Pattern::new(&fragment(pattern).unwrap()[0]).unwrap();
        let mut values = Values::new();
        pattern.matches(&fragment(element).unwrap()[0], &mut values).map(|()| values)
    }

    #[test]
    fn what_is_listed_must_match_and_the_rest_is_free() {
        let element = "<message type='chat' id='7'><body>hi</body><x xmlns='urn:x'/><y xmlns='urn:y' n='1'/>\
                       <y xmlns='urn:y' n='2'/></message>";
        for pattern in [
            "<message/>",
            "<message type='chat'/>",
            "<message><body>hi</body></message>",
            "<message><body> hi </body></message>",
            "<message to='{absent}'/>",
            "<message><x xmlns='urn:x'/><body/></message>",
            "<message><y xmlns='urn:y' n='2'/><y xmlns='urn:y' n='{any}'/></message>",
            "<message>{no}<delay xmlns='urn:xmpp:delay'/></message>",
            "<message>{no}<y xmlns='urn:y' n='3'/></message>",
            "<message>{one of}<a/><x xmlns='urn:x'/>{end}</message>",
            "<message><body/><x xmlns='urn:x'/><y xmlns='urn:y'/><y xmlns='urn:y'/>{nothing else}</message>",
        ] {
            check(pattern, element).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        }
    }

    #[test]
    fn a_difference_is_found_and_named() {
        let element = "<message type='chat'><body>hi</body><y xmlns='urn:y' n='1'/></message>";
        for (pattern, reason) in [
            ("<iq/>", "it is <message"),
            ("<message xmlns='urn:x'/>", "it is <message"),
            ("<message type='normal'/>", "type of <message> is 'chat', not 'normal'"),
            ("<message id='{any}'/>", "id of <message> is absent"),
            ("<message type='{absent}'/>", "type of <message> is 'chat'"),
            ("<message><body>ho</body></message>", "the text of <body> is \"hi\", not \"ho\""),
            ("<message><body>{empty}</body></message>", "the text of <body>"),
            ("<message><subject/></message>", "<message> has no <subject/>"),
            ("<message><body/><body/></message>", "<message> has no <body/>"),
            ("<message><y xmlns='urn:z'/></message>", "has no <y xmlns='urn:z'/>"),
            ("<message>{no}<body/></message>", "must not hold <body>hi</body>"),
            ("<message><body/>{nothing else}</message>", "holds <y xmlns='urn:y'> too"),
            ("<message>{nothing else}</message>", "holds <body"),
            ("<message>{one of}<a/><b/>{end}</message>", "has no <a/> or <b/>"),
        ] {
            let why = check(pattern, element).expect_err(pattern);
            assert!(why.contains(reason), "{pattern}: {why}");
        }
    }

    #[test]
    fn captures_come_from_the_child_that_matches() {
        let element = "<iq><i xmlns='u' id='1' k='a'/><i xmlns='u' id='2' k='b'/></iq>";
        let values = check("<iq><i xmlns='u' k='b' id='{id:=number}'/></iq>", element).unwrap();
        assert_eq!(values["id"], "2");
        // The first child would take the only match of the second pattern: it has to give way.
        let values = check("<iq><i xmlns='u' id='{one:=}'/><i xmlns='u' k='a' id='{two:=}'/></iq>", element);
        assert_eq!(values.unwrap()["one"], "2");
        // What is captured first is compared later.
        assert!(check("<iq><i xmlns='u' id='{x:=}'/><i xmlns='u' id='{x}'/></iq>", element).is_err());
    }

    #[test]
    fn marks_in_the_wrong_place_are_found() {
        for wrong in [
            "<m>{no}</m>",
            "<m>{one of}<a/></m>",
            "<m>{one of}<a/>{end}</m>",
            "<m>{end}</m>",
            "<m>{no}{no}<a/></m>",
            "<m a='{b c}'/>",
        ] {
            assert!(Pattern::new(&fragment(wrong).unwrap()[0]).is_err(), "{wrong}");
        }
    }
}
