//! §11: what vcard-temp and vCard4 both have, read from either and written into either.

use std::borrow::Cow;

use unisono_xml::{Element, ElementBuilder};

use super::NS;
use crate::xep0054_vcard;

/// One of the two forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// XEP-0054
    Temp,
    /// RFC 6351
    Four,
}

impl Form {
    fn ns(self) -> &'static str {
        match self {
            Self::Temp => xep0054_vcard::NS,
            Self::Four => NS,
        }
    }

    fn root(self) -> &'static str {
        match self {
            Self::Temp => "vCard",
            Self::Four => "vcard",
        }
    }

    fn pick(self, (temp, four): (&'static str, &'static str)) -> &'static str {
        match self {
            Self::Temp => temp,
            Self::Four => four,
        }
    }
}

/// A field that both forms have, under its names. In vcard-temp the first name is the one that is written.
struct Field {
    temp: &'static [&'static str],
    four: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    /// One text; in vCard4 within an element that says what it is.
    Text,
    Uri,
    Date,
    /// A JID; in vCard4 as an address of this scheme, beside which there are others (§11.1.2).
    Address(&'static str),
    /// Parts with names of their own, and where they belong.
    Parts(&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]),
    /// A name, and the units within it.
    Names,
    /// A text within an element of this name in vcard-temp, and what it is for.
    Inner(&'static str, &'static [(&'static str, &'static str)]),
}

const PLACES: &[(&str, &str)] = &[("HOME", "home"), ("WORK", "work")];
/// §11.3.5: those that vCard4 has as well.
const PHONES: &[(&str, &str)] = &[
    ("HOME", "home"),
    ("WORK", "work"),
    ("VOICE", "voice"),
    ("FAX", "fax"),
    ("CELL", "cell"),
    ("VIDEO", "video"),
    ("PAGER", "pager"),
];
const NAME: &[(&str, &str)] = &[
    ("FAMILY", "surname"),
    ("GIVEN", "given"),
    ("MIDDLE", "additional"), // §11.1.3
    ("PREFIX", "prefix"),
    ("SUFFIX", "suffix"),
];
const ADDRESS: &[(&str, &str)] = &[
    ("POBOX", "pobox"),
    ("EXTADD", "ext"),
    ("STREET", "street"),
    ("LOCALITY", "locality"),
    ("REGION", "region"),
    ("PCODE", "code"),
    ("CTRY", "country"),
];

const FIELDS: [Field; 13] = [
    Field { temp: &["FN"], four: "fn", shape: Shape::Text },
    Field { temp: &["N"], four: "n", shape: Shape::Parts(NAME, &[]) },
    Field { temp: &["NICKNAME"], four: "nickname", shape: Shape::Text },
    Field { temp: &["BDAY"], four: "bday", shape: Shape::Date },
    Field { temp: &["ADR"], four: "adr", shape: Shape::Parts(ADDRESS, PLACES) },
    Field { temp: &["TEL"], four: "tel", shape: Shape::Inner("NUMBER", PHONES) },
    Field { temp: &["EMAIL"], four: "email", shape: Shape::Inner("USERID", PLACES) },
    Field { temp: &["JABBERID"], four: "impp", shape: Shape::Address("xmpp:") },
    Field { temp: &["TITLE"], four: "title", shape: Shape::Text },
    Field { temp: &["ROLE"], four: "role", shape: Shape::Text },
    Field { temp: &["ORG"], four: "org", shape: Shape::Names },
    Field { temp: &["URL"], four: "url", shape: Shape::Uri },
    Field { temp: &["DESC", "NOTE"], four: "note", shape: Shape::Text }, // §11.1.1
];

/// What a field says once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Value {
    parts: Vec<String>,
    /// What it is for, as vCard4 calls it.
    types: Vec<&'static str>,
    is_preferred: bool,
}

impl Value {
    fn of(text: impl AsRef<str>) -> Self {
        Self { parts: vec![text.as_ref().trim().to_owned()], ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.parts.iter().all(String::is_empty)
    }

    fn text(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }
}

/// What a card says in the fields that both forms have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Profile([Vec<Value>; FIELDS.len()]);

impl Profile {
    /// Of nobody.
    pub(crate) fn empty() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// What a card in this form says.
    pub(crate) fn read(card: &Element, form: Form) -> Self {
        Self(std::array::from_fn(|n| FIELDS.get(n).map(|field| field.values(card, form)).unwrap_or_default()))
    }

    /// A card that says this. Of an older one stays what the other form does not know, and all fields that say the same
    /// already, as they are written.
    pub(crate) fn write(&self, old: Option<&Element>, form: Form) -> Element {
        let empty = Element::new(form.root(), form.ns());
        let old = old.unwrap_or(&empty);
        let changed: Vec<_> =
            FIELDS.iter().zip(&self.0).filter(|(f, new)| f.values(old, form) != **new).collect();
        if changed.is_empty() {
            return old.clone();
        }
        let mut card = Element::builder(form.root(), form.ns());
        for attr in old.attrs() {
            card = card.attr_ns(attr.ns(), attr.name(), attr.value());
        }
        let mut is_written = vec![false; changed.len()];
        for child in old.children() {
            let found = changed.iter().zip(&mut is_written).find(|((field, _), _)| field.owns(child, form));
            match found {
                Some(((field, values), is_written)) if !*is_written => {
                    card = card.children(values.iter().map(|value| field.write(value, form)));
                    *is_written = true;
                }
                Some(_) => {}
                None => card = card.child(child.clone()),
            }
        }
        let missing = changed.iter().zip(is_written).filter(|(_, is_written)| !is_written);
        let missing =
            missing.flat_map(|((field, values), _)| values.iter().map(|value| field.write(value, form)));
        card.children(missing).build()
    }
}

impl Field {
    fn is(&self, element: &Element, form: Form) -> bool {
        match form {
            Form::Temp => self.temp.iter().any(|name| element.is(name, form.ns())),
            Form::Four => element.is(self.four, form.ns()),
        }
    }

    /// Whether the element is nothing but this field: it goes when the field changes.
    fn owns(&self, element: &Element, form: Form) -> bool {
        let is_other = |scheme: &str| form == Form::Four && without(&first(element), scheme).is_none();
        let is_foreign = matches!(self.shape, Shape::Address(scheme) if is_other(scheme));
        self.is(element, form) && !is_foreign
    }

    fn values(&self, card: &Element, form: Form) -> Vec<Value> {
        let own = card.children().filter(|child| self.owns(child, form));
        own.map(|child| self.read(child, form)).filter(|value| !value.is_empty()).collect()
    }

    fn read(&self, element: &Element, form: Form) -> Value {
        match (self.shape, form) {
            (Shape::Text | Shape::Uri | Shape::Date | Shape::Address(_), Form::Temp) => {
                Value::of(element.text())
            }
            (Shape::Text, Form::Four) => Value::of(texts(element).join(",")),
            (Shape::Uri | Shape::Date, Form::Four) => Value::of(first(element)),
            (Shape::Address(scheme), Form::Four) => {
                Value::of(without(&first(element), scheme).unwrap_or_default())
            }
            (Shape::Parts(names, types), _) => {
                let part = |name: &(&'static str, &'static str)| {
                    let found = element.children().filter(|child| child.is(form.pick(*name), form.ns()));
                    let texts: Vec<_> = found.map(|child| child.text().trim().to_owned()).collect();
                    texts.join(",")
                };
                let parts = names.iter().map(part).collect();
                Value { parts, ..typed(element, form, types) }
            }
            (Shape::Names, Form::Temp) => {
                let is_name =
                    |child: &&Element| ["ORGNAME", "ORGUNIT"].iter().any(|name| child.is(name, form.ns()));
                let texts = element.children().filter(is_name).map(|child| child.text().trim().to_owned());
                Value { parts: not_empty(texts), ..Value::default() }
            }
            (Shape::Names, Form::Four) => {
                Value { parts: not_empty(texts(element).into_iter()), ..Value::default() }
            }
            (Shape::Inner(name, types), Form::Temp) => {
                let inner = element.child_text(name, form.ns()).unwrap_or_else(|| element.text());
                Value { parts: Value::of(inner).parts, ..typed(element, form, types) }
            }
            (Shape::Inner(_, types), Form::Four) => {
                let is_uri = element.has_child("uri", form.ns());
                let text = first(element);
                // §11.3.5
                let text =
                    Some(&text).filter(|_| is_uri).and_then(|text| without(text, "tel:")).unwrap_or(&text);
                Value { parts: Value::of(text).parts, ..typed(element, form, types) }
            }
        }
    }

    fn write(&self, value: &Value, form: Form) -> Element {
        let temp = self.temp.first().copied().unwrap_or_default();
        let name = form.pick((temp, self.four));
        let element = Element::builder(name, form.ns());
        let text = |name: &'static str, text: &str| Element::builder(name, form.ns()).text(text).build();
        match (self.shape, form) {
            (Shape::Text | Shape::Uri | Shape::Date | Shape::Address(_), Form::Temp) => {
                element.text(value.text())
            }
            (Shape::Text, Form::Four) => element.child(text("text", value.text())),
            (Shape::Uri, Form::Four) => element.child(text("uri", value.text())),
            (Shape::Date, Form::Four) => element.child(text(date_kind(value.text()), value.text())),
            (Shape::Address(scheme), Form::Four) => {
                element.child(text("uri", &[scheme, value.text()].concat()))
            }
            (Shape::Parts(names, types), _) => {
                // RFC 6351 has all of them, be they empty.
                let parts = names.iter().zip(&value.parts);
                let parts = parts.filter(|(_, part)| form == Form::Four || !part.is_empty());
                let parts = parts.map(|(name, part)| text(form.pick(*name), part));
                with_types(element, value, form, types).children(parts)
            }
            (Shape::Names, Form::Temp) => {
                let names = ["ORGNAME"].into_iter().chain(std::iter::repeat("ORGUNIT"));
                element.children(names.zip(&value.parts).map(|(name, part)| text(name, part)))
            }
            (Shape::Names, Form::Four) => element.children(value.parts.iter().map(|part| text("text", part))),
            (Shape::Inner(name, types), Form::Temp) => {
                with_types(element, value, form, types).child(text(name, value.text()))
            }
            (Shape::Inner(_, types), Form::Four) => {
                let is_number = self.four == "tel" && is_number(value.text());
                let inner = if is_number {
                    text("uri", &["tel:", value.text()].concat()) // §11.3.5
                } else {
                    text("text", value.text())
                };
                with_types(element, value, form, types).child(inner)
            }
        }
        .build()
    }
}

/// What an address is for.
fn typed(element: &Element, form: Form, types: &[(&'static str, &'static str)]) -> Value {
    let (found, is_preferred): (Vec<Cow<'_, str>>, _) = match form {
        Form::Temp => {
            let names = element.children().filter(|child| child.ns() == form.ns());
            (names.map(|child| child.name().into()).collect(), element.has_child("PREF", form.ns()))
        }
        Form::Four => {
            let parameters = element.child("parameters", form.ns());
            let kinds = parameters
                .into_iter()
                .flat_map(Element::children)
                .filter(|child| child.is("type", form.ns()));
            let found = kinds.flat_map(texts).map(Cow::from).collect();
            let preferred = parameters.and_then(|parameters| parameters.child("pref", form.ns()));
            (found, preferred.is_some_and(|pref| first(pref) == "1" || pref.text().trim() == "1"))
        }
    };
    let is_named = |kind: &&(&'static str, &'static str)| found.iter().any(|name| form.pick(**kind) == name);
    let named = types.iter().filter(is_named).map(|(_, four)| *four).collect();
    Value { types: named, is_preferred: is_preferred && !types.is_empty(), ..Value::default() }
}

/// The other way.
fn with_types(
    element: ElementBuilder,
    value: &Value,
    form: Form,
    types: &[(&'static str, &'static str)],
) -> ElementBuilder {
    let named = types.iter().filter(|(_, four)| value.types.contains(four)).map(|kind| form.pick(*kind));
    let new = |name: &'static str| Element::builder(name, form.ns());
    match form {
        Form::Temp => {
            let preferred = value.is_preferred.then_some("PREF");
            element.children(named.chain(preferred).map(|name| new(name).build()))
        }
        Form::Four => {
            let kinds = new("type").children(named.map(|name| new("text").text(name).build())).build();
            let pref = new("integer").text("1").build();
            let pref = value.is_preferred.then(|| new("pref").child(pref).build());
            let parameters =
                new("parameters").child_opt(Some(kinds).filter(|kinds| kinds.first_child().is_some()));
            let parameters = parameters.child_opt(pref).build();
            element.child_opt(Some(parameters).filter(|parameters| parameters.first_child().is_some()))
        }
    }
}

/// The values of a property of vCard4, whatever they are.
fn texts(property: &Element) -> Vec<String> {
    let values = property.children().filter(|child| child.ns() == NS && child.name() != "parameters");
    values.map(|value| value.text().trim().to_owned()).collect()
}

fn first(property: &Element) -> String {
    texts(property).into_iter().next().unwrap_or_default()
}

fn not_empty(texts: impl Iterator<Item = String>) -> Vec<String> {
    texts.filter(|text| !text.is_empty()).collect()
}

/// An address without its scheme, in which capitals do not matter.
fn without<'a>(address: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = address.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether it stands in an address of RFC 3966 as it is.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.()*#".contains(&byte))
}

/// RFC 6351: the kind of a value that may be a date.
fn date_kind(text: &str) -> &'static str {
    let is_date = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    match (is_date, text.contains('T')) {
        (true, false) => "date",
        (true, true) => "date-time",
        (false, _) => "text",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::testing::element;

    fn temp(content: &str) -> Element {
        element(&format!("<vCard xmlns='vcard-temp'>{content}</vCard>"))
    }

    fn four(content: &str) -> Element {
        element(&format!("<vcard xmlns='{NS}'>{content}</vcard>"))
    }

    #[test]
    fn both_forms_say_the_same() {
        for (in_temp, in_four) in [
            ("<FN>Alice L</FN>", "<fn><text>Alice L</text></fn>"),
            (
                "<N><FAMILY>L</FAMILY><GIVEN>A</GIVEN><MIDDLE>M</MIDDLE></N>",
                "<n><surname>L</surname><given>A</given><additional>M</additional><prefix/><suffix/></n>",
            ), // §11.1.3
            ("<NICKNAME>al</NICKNAME>", "<nickname><text>al</text></nickname>"),
            ("<BDAY>1966-08-06</BDAY>", "<bday><date>1966-08-06</date></bday>"),
            ("<BDAY>1966-08-06T01:02:03Z</BDAY>", "<bday><date-time>1966-08-06T01:02:03Z</date-time></bday>"),
            ("<BDAY>in spring</BDAY>", "<bday><text>in spring</text></bday>"),
            (
                "<ADR><WORK/><PREF/><STREET>S 1</STREET><PCODE>80202</PCODE><CTRY>USA</CTRY></ADR>",
                "<adr><parameters><type><text>work</text></type><pref><integer>1</integer></pref></parameters><pobox/><ext/>\
                 <street>S 1</street><locality/><region/><code>80202</code><country>USA</country></adr>",
            ),
            (
                "<TEL><HOME/><CELL/><NUMBER>+1-720-256-6756</NUMBER></TEL>",
                "<tel><parameters><type><text>home</text><text>cell</text></type></parameters>\
                 <uri>tel:+1-720-256-6756</uri></tel>",
            ), // §11.3.5
            ("<TEL><NUMBER>303 308</NUMBER></TEL>", "<tel><text>303 308</text></tel>"),
            (
                "<EMAIL><HOME/><USERID>a@example.org</USERID></EMAIL>",
                "<email><parameters><type><text>home</text></type></parameters><text>a@example.org</text></email>",
            ),
            ("<JABBERID>a@example.org</JABBERID>", "<impp><uri>xmpp:a@example.org</uri></impp>"), // §11.1.2
            ("<TITLE>T</TITLE><ROLE>R</ROLE>", "<title><text>T</text></title><role><text>R</text></role>"),
            (
                "<ORG><ORGNAME>XSF</ORGNAME><ORGUNIT>Board</ORGUNIT></ORG>",
                "<org><text>XSF</text><text>Board</text></org>",
            ),
            ("<URL>https://example.org/</URL>", "<url><uri>https://example.org/</uri></url>"),
            ("<DESC>Curious.</DESC>", "<note><text>Curious.</text></note>"), // §11.1.1
        ] {
            let (as_temp, as_four) = (temp(in_temp), four(in_four));
            let profile = Profile::read(&as_temp, Form::Temp);
            assert!(!profile.is_empty(), "{in_temp}");
            assert_eq!(profile, Profile::read(&as_four, Form::Four), "{in_temp}");
            assert_eq!(profile.write(None, Form::Four), as_four);
            assert_eq!(profile.write(None, Form::Temp), as_temp);
        }
    }

    #[test]
    fn what_a_card_says_is_read_though_it_is_written_otherwise() {
        for (form, written, same) in [
            (Form::Temp, "<NOTE> Curious. </NOTE>", "<DESC>Curious.</DESC>"),
            (Form::Temp, "<EMAIL>a@example.org</EMAIL>", "<EMAIL><USERID>a@example.org</USERID></EMAIL>"),
            (
                Form::Temp,
                "<TEL><WORK/><MSG/><NUMBER>1</NUMBER></TEL>",
                "<TEL><WORK/><NUMBER>1</NUMBER></TEL>",
            ),
            (Form::Temp, "<TEL><NUMBER/></TEL><N/><FN/><ORG><ORGUNIT/></ORG>", ""),
            (Form::Temp, "<FN xmlns='urn:x'>A</FN><fn>A</fn>", ""),
            (Form::Four, "<tel><text>1</text></tel>", "<tel><uri>TEL:1</uri></tel>"),
            (
                Form::Four,
                "<nickname><text>a</text><text>b</text></nickname>",
                "<nickname><text>a,b</text></nickname>",
            ),
            (Form::Four, "<n><given>A</given><given>B</given></n>", "<n><given>A,B</given></n>"),
            (Form::Four, "<impp><uri>sip:a@example.org</uri></impp><fn/>", ""),
            (
                Form::Four,
                "<adr><parameters><pref>1</pref><type><text>dom</text></type></parameters><code>1</code></adr>",
                "<adr><parameters><pref><integer>1</integer></pref></parameters><code>1</code></adr>",
            ),
        ] {
            let card = |content| if form == Form::Temp { temp(content) } else { four(content) };
            assert_eq!(Profile::read(&card(written), form), Profile::read(&card(same), form), "{written}");
        }
    }

    #[test]
    fn what_the_other_form_does_not_know_stays() {
        for (form, old, said, new) in [
            (
                Form::Temp,
                "<LABEL/><FN>A</FN><TEL><BBS/><NUMBER>1</NUMBER></TEL><KEY/>",
                "<FN>B</FN><TEL><NUMBER>1</NUMBER></TEL>",
                "<LABEL/><FN>B</FN><TEL><BBS/><NUMBER>1</NUMBER></TEL><KEY/>",
            ),
            (
                Form::Temp,
                "<URL>u</URL><FN>A</FN><FN>B</FN><DESC/>",
                "<FN>C</FN><NOTE>n</NOTE>",
                "<FN>C</FN><DESC>n</DESC>",
            ),
            (Form::Temp, "<FN/><LOGO/>", "<FN>A</FN>", "<FN>A</FN><LOGO/>"),
            (
                Form::Four,
                "<impp><uri>sip:a@example.org</uri></impp><impp><uri>xmpp:a@example.org</uri></impp><photo/>",
                "<JABBERID>b@example.org</JABBERID>",
                "<impp><uri>sip:a@example.org</uri></impp><impp><uri>xmpp:b@example.org</uri></impp><photo/>",
            ),
            (Form::Four, "<lang/><fn><text>A</text></fn>", "", "<lang/>"),
        ] {
            let card = |content| if form == Form::Temp { temp(content) } else { four(content) };
            let profile = Profile::read(&temp(said), Form::Temp);
            assert_eq!(profile.write(Some(&card(old)), form), card(new), "{old}");
        }
    }

    fn values() -> impl Strategy<Value = Vec<(usize, Vec<String>, usize, bool)>> {
        let text = "[a-zA-Z0-9+@:,.é]([a-zA-Z0-9 +@:,.é]{0,6}[a-zA-Z0-9é])?";
        let value = (0..FIELDS.len(), proptest::collection::vec(text, 1..8), any::<usize>(), any::<bool>());
        proptest::collection::vec(value, 0..6)
    }

    fn profile(values: Vec<(usize, Vec<String>, usize, bool)>) -> Profile {
        let mut profile = Profile::empty();
        for (n, mut parts, types, is_preferred) in values {
            let kinds = match FIELDS[n].shape {
                Shape::Parts(names, kinds) => {
                    parts.resize(names.len(), String::new());
                    kinds
                }
                Shape::Inner(_, kinds) => {
                    parts.truncate(1);
                    kinds
                }
                Shape::Names => &[],
                Shape::Text | Shape::Uri | Shape::Date | Shape::Address(_) => {
                    parts.truncate(1);
                    &[]
                }
            };
            let chosen = kinds.iter().enumerate().filter(|(bit, _)| types >> bit & 1 == 1);
            let types = chosen.map(|(_, (_, four))| *four).collect();
            profile.0[n].push(Value { parts, types, is_preferred: is_preferred && !kinds.is_empty() });
        }
        profile
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(of in values(), before in values()) {
            let (wanted, old) = (profile(of), profile(before));
            for form in [Form::Temp, Form::Four] {
                let card = wanted.write(None, form);
                prop_assert_eq!(&Profile::read(&card, form), &wanted);
                // Once more changes nothing, over something else everything.
                prop_assert_eq!(&wanted.write(Some(&card), form), &card);
                let over = wanted.write(Some(&old.write(None, form)), form);
                prop_assert_eq!(&Profile::read(&over, form), &wanted);
            }
        }
    }
}
