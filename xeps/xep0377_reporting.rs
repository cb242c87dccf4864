//! # XEP-0377: Blocking Command Reports
//!
//! Follows 0.4.1 (2026-02-25). Who blocks somebody can say why, and show what was written, to the administrator.
//!
//! - Listens to blocks (XEP-0191). A report is kept in the store with the messages that it names, as the archive of who reports
//!   has them: only those that the blocked one sent (§6).
//! - Ours: so many reports of one account in a time, so many in all, each of a bounded size. What is too much, or malformed,
//!   is left out; the block comes to pass all the same.
//! - Left out: passing reports on (§5), for which the consent is kept.

use std::time::Duration;

use unisono_core::allowance::{Allowance, Allowances};
use unisono_core::datetime::{format_utc, parse_utc};
use unisono_core::extension::{Entity, Extension, Registry, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::reports::{Kept, Report};
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT, OUR_LIMITS};
use unisono_core::storage::{BoxFuture, LogEntry, LogQuery, StoreError};
use unisono_xml::{Element, XML_NS};

use crate::xep0191_blocking::Listener;
use crate::{xep0203_delay, xep0297_forwarding, xep0359_stanza_ids};

pub const NS: &str = "urn:xmpp:reporting:1";
/// §4, the reasons that are known.
pub const REASONS: [&str; 2] = ["urn:xmpp:reporting:spam", "urn:xmpp:reporting:abuse"];
/// Reports that are kept for the administrator. Of one account there are so few that nobody pushes those of others out.
pub const KEPT: Kept = Kept { in_all: 10_000, of_one: 200 };
/// Reports of one account.
const PACE: Allowance = Allowance { burst: 20, every: Duration::from_secs(600) };
/// Messages of one report.
const MESSAGES_MAX: usize = 20;
/// Bytes of the words of one report, …
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// … and of each message in it.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

pub struct Reporting;

impl Extension for Reporting {
    fn spec(&self) -> Spec {
        Spec::xep(377, "0.4.1")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).feature(Entity::OwnAccount, NS);
        on.hand(Listener(listen));
    }
}

/// A report as the administrator reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub reason: String,
    /// What the user says, if anything, in each language.
    pub texts: Vec<String>,
    /// What was sent: when, in microseconds since 1970, and the message.
    pub messages: Vec<(i64, Element)>,
    /// Messages that were named and not found in the archive, or not sent by the blocked one.
    pub missing: u32,
    /// §5: the user agrees to tell the domain of the sender, …
    pub may_tell_origin: bool,
    /// … and third parties.
    pub may_tell_others: bool,
}

impl Told {
    /// Reads what is kept of a report.
    pub fn read(content: &str) -> Option<Self> {
        let report = Element::parse(content, &CLIENT_SCOPE, &OUR_LIMITS).ok()?;
        let texts = report.children().filter(|child| child.is("text", NS));
        let forwarded = report.children().filter(|child| child.is("forwarded", xep0297_forwarding::NS));
        let message = |forwarded: &Element| {
            let at = forwarded.child("delay", xep0203_delay::NS)?.attr("stamp").and_then(parse_utc)?;
            Some((at, forwarded.child("message", NS_CLIENT)?.clone()))
        };
        Some(Self {
            reason: report.attr("reason")?.to_owned(),
            texts: texts.map(|text| text.text().into_owned()).collect(),
            messages: forwarded.filter_map(message).collect(),
            missing: report.attr("missing").and_then(|count| count.parse().ok()).unwrap_or(0),
            may_tell_origin: report.has_child("report-origin", NS),
            may_tell_others: report.has_child("third-party", NS),
        })
    }

    fn to_element(&self) -> Element {
        let texts = self.texts.iter().map(|text| Element::builder("text", NS).text(text.as_str()).build());
        let flag = |name, is_set: bool| is_set.then(|| Element::new(name, NS));
        let messages = self.messages.iter().map(|(at, message)| {
            let delay = Element::builder("delay", xep0203_delay::NS).attr("stamp", format_utc(*at)).build();
            Element::builder("forwarded", xep0297_forwarding::NS).child(delay).child(message.clone()).build()
        });
        Element::builder("report", NS)
            .attr("reason", self.reason.as_str())
            .attr("missing", self.missing.to_string())
            .children(texts)
            .child_opt(flag("report-origin", self.may_tell_origin))
            .child_opt(flag("third-party", self.may_tell_others))
            .children(messages)
            .build()
    }
}

/// A report as it comes.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    told: Told,
    /// The ids of what is reported, each with whose archive has it.
    named: Vec<(String, String)>,
}

/// §4 and §6: reads a report; one without a known reason is none.
fn read(item: &Element) -> Option<Sent> {
    let report = item.child("report", NS)?;
    let reason = report.attr("reason").filter(|reason| REASONS.contains(reason))?.to_owned();
    let mut room = TEXT_BYTES_MAX;
    let mut texts = Vec::new();
    for text in report.children().filter(|child| child.is("text", NS)) {
        let text = text.text().trim().to_owned();
        if text.is_empty() || text.len() > room {
            continue;
        }
        room = room.saturating_sub(text.len());
        texts.push(text);
    }
    let ids = report.children().filter(|child| child.is("stanza-id", xep0359_stanza_ids::NS));
    let named =
        ids.take(MESSAGES_MAX).filter_map(|id| Some((id.attr("by")?.to_owned(), id.attr("id")?.to_owned())));
    let told = Told {
        reason,
        texts,
        may_tell_origin: report.has_child("report-origin", NS),
        may_tell_others: report.has_child("third-party", NS),
        ..Told::default()
    };
    Some(Sent { told, named: named.collect() })
}

/// How often accounts have reported.
#[derive(Default)]
struct Reporters(Allowances<BareJid>);

fn listen(request: &Request, about: &Jid, item: &Element) -> Option<BoxFuture<'static, ()>> {
    let sent = read(item)?;
    let (hub, cell) = (request.hub.clone(), request.account.clone()?);
    let reporter = cell.jid.clone();
    let now = hub.clock.elapsed();
    if !hub.memory(|reporters: &mut Reporters| reporters.0.try_take(reporter.clone(), now, PACE)) {
        tracing::info!(account = %reporter, "too many reports, one is left out");
        return None;
    }
    let about = about.clone();
    Some(Box::pin(async move {
        if let Err(error) = keep(&hub, cell.id, reporter, about, sent).await {
            tracing::error!(%error, "cannot keep a report");
        }
    }))
}

async fn keep(
    hub: &Hub,
    owner: AccountId,
    reporter: BareJid,
    about: Jid,
    sent: Sent,
) -> Result<(), StoreError> {
    let Sent { mut told, named } = sent;
    let own = named.iter().filter(|(by, _)| by.parse::<BareJid>().is_ok_and(|by| by == reporter));
    let positions: Vec<LogPosition> = own.filter_map(|(_, id)| hub.position(owner, id)).collect();
    if !positions.is_empty() {
        let query = LogQuery { limit: positions.len(), positions: Some(positions), ..LogQuery::default() };
        let found = hub.store.page(owner, &query).await?.entries;
        told.messages = found.iter().filter(|entry| is_by(entry, &about)).map(shown).collect();
    }
    told.missing = u32::try_from(named.len().saturating_sub(told.messages.len())).unwrap_or(u32::MAX);
    let content = told.to_element().to_string_in(&CLIENT_SCOPE);
    let at = hub.clock.now_micros();
    let report = Report { number: 0, at, reporter, about, content };
    let number = hub.store.report(&report, KEPT).await?;
    tracing::info!(number, about = %report.about, reason = told.reason, "a user has reported somebody");
    Ok(())
}

/// §6: what is reported is by who is reported: a full address, all of an account, or all of a domain.
fn is_by(entry: &LogEntry, about: &Jid) -> bool {
    let from = &entry.record.from;
    from == about || Jid::from(from.to_bare()) == *about || Jid::from(from.to_domain()) == *about
}

/// A message of the archive. Of one that is too long there is the envelope.
fn shown(entry: &LogEntry) -> (i64, Element) {
    let record = &entry.record;
    let message = Element::builder("message", NS_CLIENT)
        .attr("from", record.from.as_str())
        .attr("to", record.to.as_str())
        .attr("type", record.kind.as_str())
        .attr_opt("id", record.id.as_deref());
    let message = match &record.lang {
        Some(lang) => message.attr_ns(XML_NS, "lang", lang.as_str()),
        None => message,
    };
    let is_short = record.payload.text().len() <= MESSAGE_BYTES_MAX;
    let payload = record.payload.elements().iter().filter(|_| is_short).cloned();
    (entry.position.0, message.children(payload).build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Arc;

    use unisono_core::record::Direction;

    use super::*;
    use crate::testing::{element, record};

    #[test]
    fn a_report_is_read() {
        let report =
            |inner: &str| element(&format!("<item xmlns='urn:xmpp:blocking' jid='a@b'>{inner}</item>"));
        let spam =
            |inner: &str| format!("<report xmlns='{NS}' reason='urn:xmpp:reporting:spam'>{inner}</report>");
        let texts = |inner: &str| read(&report(&spam(inner))).unwrap().told.texts;
        assert_eq!(texts(""), [""; 0]);
        assert_eq!(
            texts("<text xml:lang='en'> Never. </text><text xml:lang='de'>Nie.</text>"),
            ["Never.", "Nie."]
        );
        let long = format!("<text>{}</text><text>short</text>", "x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(texts(&long), ["short"]);
        let flags = read(&report(&spam("<third-party/>"))).unwrap().told;
        assert!(flags.may_tell_others && !flags.may_tell_origin);
        let id = "<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='1'/>";
        assert_eq!(read(&report(&spam(&id.repeat(30)))).unwrap().named.len(), MESSAGES_MAX);
        assert_eq!(read(&report(&spam(&id.replace("by='a@b'", "")))).unwrap().named.len(), 0);
        for wrong in [
            String::new(),
            format!("<report xmlns='{NS}'/>"), // §4: a MUST
            format!("<report xmlns='{NS}' reason='urn:xmpp:reporting:boredom'/>"),
            "<report xmlns='urn:xmpp:reporting:0' reason='urn:xmpp:reporting:spam'/>".to_owned(),
        ] {
            assert_eq!(read(&report(&wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let told = Told {
            reason: REASONS[0].to_owned(),
            texts: vec!["Never <came> trouble".to_owned()],
            messages: vec![(7, element("<message from='a@b' type='chat'><body>Buy!</body></message>"))],
            missing: 2,
            may_tell_origin: true,
            may_tell_others: false,
        };
        assert_eq!(Told::read(&told.to_element().to_string_in(&CLIENT_SCOPE)), Some(told));
        assert_eq!(Told::read(""), None);
        assert_eq!(Told::read("<report xmlns='urn:xmpp:reporting:1'/>"), None);
    }

    #[test]
    fn only_what_the_blocked_one_sent_is_shown() {
        let entry = |length: usize| LogEntry {
            position: LogPosition(7),
            direction: Direction::Received,
            record: Arc::new(record("chat", &format!("<body>{}</body>", "x".repeat(length)))),
        };
        for (about, want) in [
            ("alice@example.org", true),
            ("alice@example.org/phone", true),
            ("example.org", true),
            ("alice@example.org/desk", false),
            ("bob@example.org", false),
            ("example.net", false),
        ] {
            assert_eq!(is_by(&entry(1), &about.parse().unwrap()), want, "{about}");
        }
        assert!(shown(&entry(1)).1.has_child("body", NS_CLIENT));
        assert!(!shown(&entry(MESSAGE_BYTES_MAX)).1.has_child("body", NS_CLIENT));
    }
}
