//! # XEP-0004: Data Forms
//!
//! Follows 2.13.2 (2024-08-30). Forms that other extensions send and read, by the rules of XEP-0068 for `FORM_TYPE`.
//!
//! - Left out: forms with several items (§3.4): nothing here sends tables.

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_xml::Element;

pub const NS: &str = "jabber:x:data";

pub struct Forms;

impl Extension for Forms {
    fn spec(&self) -> Spec {
        Spec::xep(4, "2.13.2")
    }

    fn register(&self, _: &mut Registry) {}
}

/// The fields that somebody filled in.
#[derive(Debug, PartialEq, Eq)]
pub struct Submitted {
    fields: Vec<(String, Vec<String>)>,
}

impl Submitted {
    /// Reads a form of type `submit` (§3.2). `None` if it is another form than `form_type` says (XEP-0068 §2).
    pub fn parse(form: &Element, form_type: &str) -> Option<Self> {
        Self::parse_any(form).filter(|submitted| submitted.value("FORM_TYPE") == Some(form_type))
    }

    /// The same where it is known which form it is.
    pub fn parse_any(form: &Element) -> Option<Self> {
        if !form.is("x", NS) || form.attr("type") != Some("submit") {
            return None;
        }
        let fields = form.children().filter(|child| child.is("field", NS)).filter_map(|field| {
            let values =
                field.children().filter(|child| child.is("value", NS)).map(|value| value.text().into_owned());
            Some((field.attr("var")?.to_owned(), values.collect()))
        });
        Some(Self { fields: fields.collect() })
    }

    /// The first value of a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).and_then(|values| values.first()).map(String::as_str)
    }

    /// All values of a field, if it is there at all.
    pub fn values(&self, name: &str) -> Option<&[String]> {
        self.fields.iter().find(|(var, _)| var == name).map(|(_, values)| values.as_slice())
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(var, _)| var.as_str())
    }
}

/// Whether a value of a field of type `boolean` says yes (§3.3).
pub fn is_yes(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// A form of type `result` or `form`, with its `FORM_TYPE` first.
pub fn form(kind: &'static str, form_type: &str) -> unisono_xml::ElementBuilder {
    Element::builder("x", NS).attr("type", kind).child(field("FORM_TYPE", "hidden", [form_type]))
}

/// A field with its values.
pub fn field<'a>(name: &str, kind: &'static str, values: impl IntoIterator<Item = &'a str>) -> Element {
    let values = values.into_iter().map(|value| Element::builder("value", NS).text(value).build());
    Element::builder("field", NS).attr("var", name).attr("type", kind).children(values).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    #[test]
    fn only_the_right_form_is_read() {
        let hidden = |form_type: &str| {
            format!(
                "<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field><field var='a'><value>1</value></field>"
            )
        };
        let form = |kind: &str, fields: &str| {
            element(&format!("<x xmlns='jabber:x:data' type='{kind}'>{fields}</x>"))
        };
        let right = Submitted::parse(&form("submit", &hidden("urn:x")), "urn:x").unwrap();
        assert_eq!(right.value("a"), Some("1"));
        assert_eq!(right.value("b"), None);
        for wrong in [
            form("submit", &hidden("urn:y")),
            form("form", &hidden("urn:x")),
            form("cancel", ""),
            form("submit", "<field var='a'><value>1</value></field>"),
            form("submit", "<field type='hidden'><value>urn:x</value></field>"),
            element("<query xmlns='urn:x'/>"),
        ] {
            assert_eq!(Submitted::parse(&wrong, "urn:x"), None, "{wrong:?}");
        }
    }
}
