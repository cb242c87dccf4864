//! # XEP-0059: Result Set Management
//!
//! Follows 1.0 (2006-09-20). Long results come in pages.
//!
//! - No handlers: other extensions read `<set/>` from their requests and put one into their answers. What an id is, and
//!   whether a page can start at an index, is theirs to say.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

pub const NS: &str = "http://jabber.org/protocol/rsm";

pub struct ResultSets;

impl Extension for ResultSets {
    fn spec(&self) -> Spec {
        Spec::xep(59, "1.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::OwnAccount, NS);
    }
}

/// The page that a request wants. The default is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Items at most; 0 asks for nothing but the count (§2.7).
    pub max: Option<usize>,
    /// Items behind this one (§2.2).
    pub after: Option<String>,
    /// Items before this one, the nearest to it (§2.3); the empty id is that of the end (§2.5).
    pub before: Option<String>,
    /// Items from this place on, counted from 0 (§2.6).
    pub index: Option<usize>,
}

impl Wanted {
    /// Reads the `<set/>` of a request, if there is one.
    pub fn parse(request: &Element) -> Result<Self, StanzaError> {
        let Some(set) = request.child("set", NS) else { return Ok(Self::default()) };
        let text = |name| set.child_text(name, NS).map(|text| text.trim().to_owned());
        Ok(Self {
            max: text("max").map(|text| number(&text)).transpose()?,
            after: text("after").filter(|id| !id.is_empty()),
            before: text("before"),
            index: text("index").map(|text| number(&text)).transpose()?,
        })
    }
}

/// A count as the schema has it (§8), and not below zero. One that is too large to matter is as good as any such.
fn number(text: &str) -> Result<usize, StanzaError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(StanzaError::new(Condition::BadRequest).with_text("a number is malformed"));
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}

/// The page that an answer brings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page<'a> {
    /// The ids of the first and the last item, unless it is empty.
    pub ends: Option<(&'a str, &'a str)>,
    /// The place of the first item in the full set, counted from 0.
    pub index: Option<u64>,
    /// Items of the full set.
    pub count: Option<u64>,
}

impl Page<'_> {
    /// The `<set/>` of an answer.
    pub fn to_element(&self) -> Element {
        let item = |name, id: &str| Element::builder(name, NS).text(id);
        let first = self.ends.map(|(first, _)| {
            item("first", first).attr_opt("index", self.index.map(|index| index.to_string())).build()
        });
        let last = self.ends.map(|(_, last)| item("last", last).build());
        let count = self.count.map(|count| item("count", &count.to_string()).build());
        Element::builder("set", NS).child_opt(first).child_opt(last).child_opt(count).build()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::testing::element;

    fn parse(set: &str) -> Result<Wanted, Condition> {
        let request = format!("<query xmlns='urn:x'><set xmlns='{NS}'>{set}</set></query>");
        Wanted::parse(&element(&request)).map_err(|error| error.condition)
    }

    #[test]
    fn the_page_that_is_wanted() {
        let id = |id: &str| Some(id.to_owned());
        for (set, wanted) in [
            ("", Wanted::default()),
            ("<max>10</max>", Wanted { max: Some(10), ..Wanted::default() }), // §2.1
            (
                "<max> 10\n</max><after> a </after>",
                Wanted { max: Some(10), after: id("a"), ..Wanted::default() },
            ), // §2.2
            ("<before>b</before>", Wanted { before: id("b"), ..Wanted::default() }), // §2.3
            ("<before/>", Wanted { before: id(""), ..Wanted::default() }),    // §2.5
            ("<after/>", Wanted::default()),                                  // §2.2, the note
            ("<index>371</index>", Wanted { index: Some(371), ..Wanted::default() }), // §2.6
            ("<max>0</max>", Wanted { max: Some(0), ..Wanted::default() }),   // §2.7
            ("<max>99999999999999999999999</max>", Wanted { max: Some(usize::MAX), ..Wanted::default() }),
            ("<max xmlns='urn:x'>10</max>", Wanted::default()),
        ] {
            assert_eq!(parse(set), Ok(wanted), "{set}");
        }
        assert_eq!(Wanted::parse(&element("<query xmlns='urn:x'/>")).unwrap(), Wanted::default());
        let other = "<query xmlns='urn:x'><set xmlns='urn:y'><max>x</max></set></query>";
        assert_eq!(Wanted::parse(&element(other)).unwrap(), Wanted::default());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for number in ["", "-1", "+1", "1.5", "ten", "0x10", "1 0", "١٠"] {
            for name in ["max", "index"] {
                let set = format!("<{name}>{number}</{name}>");
                assert_eq!(parse(&set), Err(Condition::BadRequest), "{set}");
            }
        }
    }

    #[test]
    fn the_page_that_an_answer_brings() {
        for (page, text) in [
            (
                Page { ends: Some(("a", "<b>")), index: Some(3), count: Some(800) }, // §2.2
                "<first index='3'>a</first><last>&lt;b&gt;</last><count>800</count>",
            ),
            (Page { ends: Some(("a", "a")), ..Page::default() }, "<first>a</first><last>a</last>"),
            (Page { count: Some(790), ..Page::default() }, "<count>790</count>"), // an empty page
            (Page { index: Some(3), ..Page::default() }, ""),
        ] {
            assert_eq!(page.to_element(), element(&format!("<set xmlns='{NS}'>{text}</set>")), "{text}");
        }
    }
}
