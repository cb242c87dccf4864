//! A query as it was asked (§4.1 and §4.3), read and checked.

use unisono_core::datetime::parse_utc;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::ids::LogPosition;
use unisono_core::jid::Jid;
use unisono_core::storage::LogQuery;
use unisono_xml::Element;

use super::NS;
use crate::xep0004_forms::{self as forms, Submitted};
use crate::xep0059_result_sets::Wanted;

/// Results of one page, where the client does not say, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;
/// Ids that can be asked for at once.
const IDS_MAX: usize = 200;

/// Which results, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// §4.2: comes back with each result.
    pub(super) id: Option<String>,
    /// The time at which the client begins.
    pub(super) start: Option<LogPosition>,
    /// The range of the form: only what lies after this …
    pub(super) since: Option<LogPosition>,
    /// … and before this.
    pub(super) until: Option<LogPosition>,
    pub(super) with: Option<Jid>,
    pub(super) ids: Option<Vec<LogPosition>>,
    /// The page in that range: only what lies after this …
    pub(super) after: Option<LogPosition>,
    /// … and before this.
    pub(super) before: Option<LogPosition>,
    /// The page is the last of what is left, not the first.
    pub(super) from_end: bool,
    /// The page starts at this place of the range.
    pub(super) index: Option<usize>,
    /// Results at most; 0 for none but the count.
    pub(super) max: usize,
    /// §4.3.4
    pub(super) flipped: bool,
    /// Ids that were named: an archive without one of them refuses the query.
    pub(super) named: Vec<LogPosition>,
}

impl Query {
    /// Reads a query. `position_of` says what an id stands for, if it is one of this archive.
    pub(super) fn parse(
        query: &Element,
        position_of: &dyn Fn(&str) -> Option<LogPosition>,
    ) -> Result<Self, StanzaError> {
        if query.attr("node").is_some() {
            // §6.1.3: for pubsub, and an account's archive has no nodes.
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        let form = read_form(query)?;
        let wanted = Wanted::parse(query)?;
        let mut named = Vec::new();
        let mut position = |id: &str| {
            let position = position_of(id).ok_or(StanzaError::new(Condition::ItemNotFound))?;
            named.push(position);
            Ok::<_, StanzaError>(position)
        };
        let before_id = form.value("before-id").map(&mut position).transpose()?;
        let after_id = form.value("after-id").map(&mut position).transpose()?;
        let after = wanted.after.as_deref().map(&mut position).transpose()?;
        let from_end = wanted.before.is_some();
        let before = wanted.before.as_deref().filter(|id| !id.is_empty()).map(&mut position).transpose()?;
        let ids = form.ids.iter().map(|id| position(id)).collect::<Result<Vec<_>, _>>()?;
        // Both ends count (§4.1.2); those of the log's ranges do not.
        let start = form.time("start")?.map(|time| LogPosition(time.saturating_sub(1)));
        let end = form.time("end")?.map(|time| LogPosition(time.saturating_add(1)));
        Ok(Self {
            id: query.attr("queryid").map(str::to_owned),
            start,
            since: start.max(after_id),
            until: least(end, before_id),
            with: form.value("with").map(|with| with.parse().map_err(|_| wrong("with"))).transpose()?,
            ids: Some(ids).filter(|ids| !ids.is_empty()),
            after,
            before,
            from_end,
            // XEP-0059 §2.6: an index is for who knows no id.
            index: wanted.index.filter(|_| after.is_none() && !from_end),
            max: wanted.max.unwrap_or(PAGE).min(PAGE_MAX),
            flipped: query.has_child("flip-page", NS),
            named,
        })
    }

    /// The entries of the page, as the store is asked for them.
    pub(super) fn in_log(&self) -> LogQuery {
        LogQuery {
            after: self.since.max(self.after),
            before: self.newest(),
            with: self.with.clone(),
            positions: self.ids.clone(),
            must_exist: self.named.clone(),
            // A page of nothing still tells how much there is (XEP-0059 §2.7).
            limit: self.max.max(1),
            from_end: self.from_end,
            counted: self.ids.is_none(),
            ..LogQuery::default()
        }
    }

    /// Whether a client asks for this to have everything that it missed, not to look something up.
    pub(super) fn is_catch_up(&self) -> bool {
        self.with.is_none() && self.ids.is_none() && self.max > 0
    }

    /// Whether nothing is left out behind what a device has already. Who begins at a time that lies after that does not
    /// say that it has what came before.
    pub(super) fn begins_by(&self, cursor: LogPosition) -> bool {
        self.start.is_none_or(|start| start <= cursor)
    }

    /// Only what lies before this is asked for.
    pub(super) fn newest(&self) -> Option<LogPosition> {
        least(self.until, self.before)
    }

    /// Whether nothing newer is left out, so that the client knows the archive's end when the page is complete.
    pub(super) fn reaches_end(&self) -> bool {
        self.is_catch_up() && self.newest().is_none()
    }
}

/// The smaller of two bounds; none is above all.
fn least(one: Option<LogPosition>, other: Option<LogPosition>) -> Option<LogPosition> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The fields of a query.
struct Form {
    fields: Option<Submitted>,
    ids: Vec<String>,
}

impl Form {
    /// The value of a field. XEP-0004 §3.6: an empty one is none.
    fn value(&self, name: &str) -> Option<&str> {
        self.fields.as_ref()?.value(name).filter(|value| !value.is_empty())
    }

    /// §4.1.2
    fn time(&self, name: &'static str) -> Result<Option<i64>, StanzaError> {
        self.value(name).map(|text| parse_utc(text).ok_or(wrong(name))).transpose()
    }
}

/// §4.1: the form of a query, if it has one.
fn read_form(query: &Element) -> Result<Form, StanzaError> {
    let bad = |text| Err(StanzaError::new(Condition::BadRequest).with_text(text));
    let mut forms = query.children().filter(|child| child.is("x", forms::NS));
    let Some(form) = forms.next() else { return Ok(Form { fields: None, ids: Vec::new() }) };
    if forms.next().is_some() {
        return bad("more than one form");
    }
    let Some(fields) = Submitted::parse(form, NS) else {
        return bad("not a submitted form of this protocol");
    };
    let mut names: Vec<_> = fields.names().collect();
    for name in &names {
        match *name {
            "FORM_TYPE" | "with" | "start" | "end" | "before-id" | "after-id" | "ids" => {}
            // §4.1.4: there is nothing that it could leave out.
            "include-groupchat" => match fields.value(name) {
                None | Some("" | "0" | "1" | "false" | "true") => {}
                Some(_) => return Err(wrong("include-groupchat")),
            },
            // §4.1.5
            _ => {
                return Err(
                    StanzaError::new(Condition::FeatureNotImplemented).with_text("a field is unknown")
                );
            }
        }
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return bad("a field twice");
    }
    let mut ids = fields.values("ids").unwrap_or_default().to_vec();
    ids.retain(|id| !id.is_empty());
    if ids.len() > IDS_MAX {
        return Err(StanzaError::new(Condition::PolicyViolation).with_text("too many ids at once"));
    }
    Ok(Form { fields: Some(fields), ids })
}

/// A field cannot be read.
fn wrong(field: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_text(format!("the field {field} is malformed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use unisono_core::stanza::CLIENT_SCOPE;

    use super::*;
    use crate::testing::element;

    /// In these tests the ids of the archive are `#` and a position.
    fn position_of(id: &str) -> Option<LogPosition> {
        id.strip_prefix('#')?.parse().ok().map(LogPosition)
    }

    fn parse(content: &str) -> Result<Query, Condition> {
        let query = element(&format!("<query xmlns='{NS}' queryid='q'>{content}</query>"));
        Query::parse(&query, &position_of).map_err(|error| error.condition)
    }

    fn form(fields: &[(&str, &[&str])]) -> String {
        let mut form = forms::form("submit", NS);
        for (name, values) in fields {
            form = form.child(forms::field(name, "text-single", values.iter().copied()));
        }
        form.build().to_string_in(&CLIENT_SCOPE)
    }

    fn set(content: &str) -> String {
        format!("<set xmlns='http://jabber.org/protocol/rsm'>{content}</set>")
    }

    fn at(position: i64) -> Option<LogPosition> {
        Some(LogPosition(position))
    }

    #[test]
    fn what_is_asked() {
        let all = Query { id: Some("q".into()), max: PAGE, ..Query::default() };
        let named = |positions: &[i64]| positions.iter().map(|position| LogPosition(*position)).collect();
        let time = 1_275_868_800_000_000;
        for (content, query) in [
            (String::new(), all.clone()),
            (form(&[]), all.clone()),
            (
                form(&[("with", &["Juliet@capulet.lit"])]), // §4.1.1
                Query { with: Some("juliet@capulet.lit".parse().unwrap()), ..all.clone() },
            ),
            (
                form(&[("start", &["2010-06-07T00:00:00Z"]), ("end", &["2010-06-07T00:00:00.5Z"])]), // §4.1.2
                Query { start: at(time - 1), since: at(time - 1), until: at(time + 500_001), ..all.clone() },
            ),
            (
                form(&[("after-id", &["#3"]), ("before-id", &["#9"])]), // §4.1.3
                Query { since: at(3), until: at(9), named: named(&[9, 3]), ..all.clone() },
            ),
            (
                form(&[("start", &["1970-01-01T00:00:00.000005Z"]), ("after-id", &["#3"])]),
                Query { start: at(4), since: at(4), named: named(&[3]), ..all.clone() },
            ),
            (
                form(&[("end", &["1970-01-01T00:00:00.000005Z"]), ("before-id", &["#3"])]),
                Query { until: at(3), named: named(&[3]), ..all.clone() },
            ),
            (
                form(&[("ids", &["#3", "#5"])]),
                Query { ids: Some(named(&[3, 5])), named: named(&[3, 5]), ..all.clone() },
            ),
            (form(&[("include-groupchat", &["true"])]), all.clone()), // §4.1.4
            (form(&[("with", &[""]), ("ids", &[]), ("start", &[]), ("end", &[""])]), all.clone()),
            (set("<max>10</max>"), Query { max: 10, ..all.clone() }), // §4.3.1
            (set("<max>1000000</max>"), Query { max: PAGE_MAX, ..all.clone() }),
            (set("<max>0</max>"), Query { max: 0, ..all.clone() }),
            (set("<after>#3</after>"), Query { after: at(3), named: named(&[3]), ..all.clone() }), // §4.3.2
            (
                set("<before>#3</before>"),
                Query { before: at(3), from_end: true, named: named(&[3]), ..all.clone() },
            ),
            (set("<before/>"), Query { from_end: true, ..all.clone() }), // §4.3.3
            (set("<index>7</index>"), Query { index: Some(7), ..all.clone() }),
            (
                set("<index>7</index><after>#3</after>"),
                Query { after: at(3), named: named(&[3]), ..all.clone() },
            ),
            ("<flip-page/>".into(), Query { flipped: true, ..all.clone() }), // §4.3.4
            ("<flip-page xmlns='urn:x'/><unknown/>".into(), all.clone()),
        ] {
            assert_eq!(parse(&content), Ok(query), "{content}");
        }
    }

    #[test]
    fn what_is_refused() {
        let typed = |kind: &str| form(&[]).replace("type='submit'", &format!("type='{kind}'"));
        let many: Vec<_> = (0..=IDS_MAX).map(|n| format!("#{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (content, condition) in [
            // §4.1: another form, or none at all.
            (form(&[]).replace(NS, "urn:xmpp:mam:1"), Condition::BadRequest),
            ("<x xmlns='jabber:x:data' type='submit'/>".into(), Condition::BadRequest),
            (typed("cancel"), Condition::BadRequest),
            (typed("form"), Condition::BadRequest),
            (form(&[]) + &form(&[]), Condition::BadRequest),
            (form(&[("with", &["a@example.org"]), ("with", &["b@example.org"])]), Condition::BadRequest),
            // §4.1.1
            (form(&[("with", &["@example.org"])]), Condition::BadRequest),
            (form(&[("with", &["a@b@c"])]), Condition::BadRequest),
            // §4.1.2
            (form(&[("start", &["yesterday"])]), Condition::BadRequest),
            (form(&[("start", &["2010-06-07"])]), Condition::BadRequest),
            (form(&[("start", &["2010-06-07T00:00:00"])]), Condition::BadRequest),
            (form(&[("end", &["20100607T00:00:00"])]), Condition::BadRequest),
            (form(&[("end", &["2010-13-07T00:00:00Z"])]), Condition::BadRequest),
            // §4.1.3 and §4.3.2: an id of no entry of this archive.
            (form(&[("before-id", &["forged"])]), Condition::ItemNotFound),
            (form(&[("after-id", &["forged"])]), Condition::ItemNotFound),
            (form(&[("ids", &["#3", "forged"])]), Condition::ItemNotFound),
            (set("<after>forged</after>"), Condition::ItemNotFound),
            (set("<before>forged</before>"), Condition::ItemNotFound),
            (form(&[("ids", &many)]), Condition::PolicyViolation),
            // §4.1.4
            (form(&[("include-groupchat", &["yes"])]), Condition::BadRequest),
            // §4.1.5
            (form(&[("{http://example.com/}search", &["love"])]), Condition::FeatureNotImplemented),
            (form(&[("With", &["a@example.org"])]), Condition::FeatureNotImplemented),
            // XEP-0059
            (set("<max>ten</max>"), Condition::BadRequest),
            (set("<max>-1</max>"), Condition::BadRequest),
            (set("<index>-1</index>"), Condition::BadRequest),
        ] {
            assert_eq!(parse(&content), Err(condition), "{content}");
        }
        // §6.1.3
        let node = element(&format!("<query xmlns='{NS}' node='princely_musings'/>"));
        assert_eq!(Query::parse(&node, &position_of).unwrap_err().condition, Condition::ItemNotFound);
    }

    #[test]
    fn what_the_store_is_asked() {
        let page = form(&[("after-id", &["#3"]), ("before-id", &["#90"])])
            + &set("<before>#50</before><after>#7</after>");
        let query = parse(&page).unwrap().in_log();
        assert_eq!((query.after, query.before), (at(7), at(50)));
        assert!(query.from_end && query.counted && !query.include_unarchived);
        assert_eq!(query.must_exist, [90, 3, 7, 50].map(LogPosition));
        let query = parse(&set("<max>0</max>")).unwrap().in_log();
        assert_eq!((query.limit, query.after, query.before), (1, None, None));
    }

    #[test]
    fn what_counts_as_catching_up() {
        for (content, catches_up, reaches_end) in [
            (String::new(), true, true),
            (form(&[("start", &["2010-06-07T00:00:00Z"])]), true, true),
            (set("<after>#3</after>"), true, true),
            (set("<before/>"), true, true),
            (set("<before>#3</before>"), true, false),
            (form(&[("before-id", &["#3"])]), true, false),
            (form(&[("end", &["2010-06-07T00:00:00Z"])]), true, false),
            (form(&[("with", &["juliet@capulet.lit"])]), false, false),
            (form(&[("ids", &["#3"])]), false, false),
            (set("<max>0</max>"), false, false),
        ] {
            let query = parse(&content).unwrap();
            assert_eq!((query.is_catch_up(), query.reaches_end()), (catches_up, reaches_end), "{content}");
        }
    }

    proptest! {
        /// Whatever stands in a query, what the store is asked for was one of our ids or a time, never a text.
        #[test]
        fn nothing_passes_that_is_not_ours(name in "[a-z-]{0,9}|with|start|end|before-id|after-id|ids", text in ".{0,40}|#[0-9]{0,25}|[0-9:.TZ+-]{0,30}") {
            let set = Element::builder("set", "http://jabber.org/protocol/rsm")
                .children(["max", "after", "before", "index"].map(|name| {
                    Element::builder(name, "http://jabber.org/protocol/rsm").text(text.as_str()).build()
                }));
            for content in [
                forms::form("submit", NS).child(forms::field(&name, "text-single", [text.as_str()])).build(),
                set.build(),
            ] {
                let query = Element::builder("query", NS).child(content).build();
                let Ok(query) = Query::parse(&query, &position_of) else { continue };
                let is_ours = |position: &LogPosition| position_of(&text) == Some(*position);
                prop_assert!(query.named.iter().all(is_ours));
                prop_assert!(query.in_log().limit <= PAGE_MAX);
            }
        }
    }
}
