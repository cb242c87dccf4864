//! A session as text, for the time in which the server is not running.

use std::str::FromStr;
use std::time::Duration;

use compact_str::CompactString;
use unisono_xml::{Element, ElementBuilder, Node};

use crate::catch_up::{Before, CatchUp, Replay, read_stretches, write_stretches};

use crate::extension::Registry;
use crate::ids::{LogPosition, Ticket};
use crate::jid::{BareJid, Jid};
use crate::outbox::{Entry, Form, Item, Outbox};
use crate::session::{ArchiveUse, Link, Management, Session};
use crate::stanza::{CLIENT_SCOPE, OUR_LIMITS, Stanza};
use crate::storage::SessionRecord;

/// The namespace of saved sessions; they are seen by nobody but us.
const NS: &str = "unisono:session:1";

/// Saves a session.
pub(crate) fn write(session: &Session) -> String {
    let flag = |set: bool| set.then_some("true");
    let entries = session.outbox.entries().chain(&session.held).map(|entry| write_entry(entry).build());
    let behind = session.behind().iter();
    let behind = behind.map(|(place, entry)| write_entry(entry).attr("behind", place.0.to_string()).build());
    let directed =
        session.directed.iter().map(|jid| Element::builder("directed", NS).attr("jid", jid.as_str()).build());
    // Who asks them all at a start asks thousands at once; so they are kept.
    let interests = session.interests.iter().map(|node| {
        let is_new = session.newly_interested.contains(node)
            || !session.newly_seen.is_empty()
            || session.telling.iter().any(|part| part.interest.nodes.contains(node));
        Element::builder("interest", NS).attr("node", node.as_str()).attr_opt("new", flag(is_new)).build()
    });
    let presence =
        session.presence.as_ref().map(|presence| crate::presence::presence_element(presence, None));
    let resume_for = session.management.as_ref().map_or(0, |management| management.resume_for.as_secs());
    let stretches = session.management.as_ref().map(|management| write_stretches(&management.stretches));
    let stretches = stretches.unwrap_or_default();
    Element::builder("session", NS)
        .attr("acknowledged", session.outbox.acknowledged().to_string())
        .attr("resume-for", resume_for.to_string())
        .attr_opt("interested", flag(session.interested))
        .attr_opt("carbons", flag(session.wants_carbons()))
        .attr_opt("archive", write_use(session.archive_use))
        .attr_opt("follows", Some(session.follows.join(" ")).filter(|all| !all.is_empty()))
        .attr_opt("questions", Some(join(&session.questions)).filter(|all| !all.is_empty()))
        .child(write_catch_up(&session.catch_up).text(stretches).build())
        .child_opt(presence)
        .children(directed)
        .children(interests)
        .children(entries)
        .children(behind)
        .build()
        .to_string_in(&CLIENT_SCOPE)
}

fn write_use(archive_use: ArchiveUse) -> Option<&'static str> {
    match archive_use {
        ArchiveUse::Unknown => None,
        ArchiveUse::Expected => Some("expected"),
        ArchiveUse::Asked => Some("asked"),
    }
}

fn read_use(saved: Option<&str>) -> ArchiveUse {
    let all = [ArchiveUse::Expected, ArchiveUse::Asked];
    all.into_iter().find(|archive_use| write_use(*archive_use) == saved).unwrap_or(ArchiveUse::Unknown)
}

fn write_catch_up(catch_up: &CatchUp) -> ElementBuilder {
    let state = |name: &str| Element::builder("catch-up", NS).attr("state", name);
    let position = |at: Option<LogPosition>| at.map(|at| at.0.to_string());
    let early = |all: &[LogPosition]| Some(join(all)).filter(|all| !all.is_empty());
    match catch_up {
        CatchUp::Done => state("done"),
        CatchUp::Paging => state("paging"),
        CatchUp::Before(before) => state("before")
            .attr_opt("given", position(before.given))
            .attr_opt("paged", position(before.paged))
            .attr_opt("live-after", position(before.live_after))
            .attr_opt("whole", position(before.whole))
            .attr_opt("early", early(&before.early)),
        CatchUp::Reading(replay) => state("reading")
            .attr_opt("shown-after", position(replay.shown_after))
            .attr("waiting-after", replay.waiting_after.0.to_string())
            .attr("live-after", replay.live_after.0.to_string())
            .attr("read", replay.read.0.to_string())
            .attr("newest", replay.newest.0.to_string())
            .attr_opt("early", early(&replay.early)),
    }
}

fn read_catch_up(saved: &Element) -> Option<CatchUp> {
    let position = |name| saved.attr(name).and_then(|text| text.parse().ok()).map(LogPosition);
    let early = || split(saved.attr("early")).map(LogPosition).collect();
    Some(match saved.attr("state")? {
        "done" => CatchUp::Done,
        "paging" => CatchUp::Paging,
        "before" => {
            let (given, paged, whole) = (position("given"), position("paged"), position("whole"));
            let live_after = position("live-after");
            CatchUp::Before(Before { early: early(), given, paged, live_after, whole })
        }
        "reading" => CatchUp::Reading(Box::new(Replay {
            shown_after: position("shown-after"),
            waiting_after: position("waiting-after")?,
            live_after: position("live-after")?,
            early: early(),
            read: position("read")?,
            newest: position("newest").or(position("live-after"))?,
            tried: None,
            behind: Vec::new(),
        })),
        _ => return None,
    })
}

fn join<'a, T: ToString + 'a>(all: impl IntoIterator<Item = &'a T>) -> String {
    all.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn split<T: FromStr>(text: Option<&str>) -> impl Iterator<Item = T> {
    text.unwrap_or_default().split(' ').filter_map(|word| word.parse().ok())
}

fn write_entry(entry: &Entry) -> ElementBuilder {
    let covers = entry.covers.map(|position| position.0.to_string());
    let shared = entry.shared.then_some("true");
    let builder =
        Element::builder("entry", NS).attr_opt("covers", covers.as_deref()).attr_opt("shared", shared);
    match &entry.item {
        Item::Logged { position, form, .. } => {
            let form = match form {
                Form::Original => None,
                Form::Wrapped(wrapping) => Some(wrapping.name),
            };
            builder.attr("position", position.0.to_string()).attr_opt("form", form)
        }
        Item::Stanza { element, to } => {
            let element = match to {
                Some(to) => element.to_builder().attr("to", to.as_str()).build(),
                None => element.clone(),
            };
            builder.child(element)
        }
        Item::Text(text) => match Element::parse_fragment(text, &CLIENT_SCOPE, &OUR_LIMITS) {
            Ok(nodes) => nodes.into_iter().fold(builder, ElementBuilder::node),
            Err(_) => builder,
        },
        Item::Shared { .. } => builder.child_opt(entry.element()),
    }
}

/// Reads a saved session; `None` if a build wrote it whose sessions this one cannot go on with.
pub(crate) fn read(
    text: &str,
    record: &SessionRecord,
    account: &BareJid,
    registry: &Registry,
    link: Link,
    bytes_max: usize,
) -> Option<Session> {
    let saved = Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok()?;
    let jid = account.with_resource(&record.resource).ok()?;
    let mut session = Session::new(record.id, record.device, jid.clone(), link, bytes_max);
    let flag = |name| saved.attr(name) == Some("true");
    session.interested = flag("interested");
    session.set_carbons(flag("carbons"));
    session.archive_use = read_use(saved.attr("archive"));
    let follows = saved.attr("follows").unwrap_or_default().split(' ');
    session.follows = follows.filter_map(|ns| registry.known_namespace(ns)).collect();
    let saved_catch_up = saved.child("catch-up", NS)?;
    let number = |name| saved.attr(name).and_then(|text| text.parse::<u32>().ok());
    session.management = Some(Box::new(Management {
        resume_for: Duration::from_secs(u64::from(number("resume-for")?)),
        handled: record.handled,
        journaled: record.handled,
        stretches: read_stretches(&saved_catch_up.text()),
        ..Management::default()
    }));
    let directed = saved.children().filter(|child| child.is("directed", NS));
    session.directed = directed.filter_map(|child| child.attr("jid")?.parse().ok()).collect();
    let presence = saved.child("presence", crate::stanza::NS_CLIENT);
    if let Some(Ok(Stanza::Presence(presence))) =
        presence.map(|element| Stanza::parse(element, Jid::from(jid)))
    {
        let priority = presence.payload.child("priority", crate::stanza::NS_CLIENT);
        session.priority = priority.and_then(|child| child.text().trim().parse().ok()).unwrap_or(0);
        session.presence = Some(std::sync::Arc::new(presence));
    }
    let interests = || saved.children().filter(|child| child.is("interest", NS));
    let nodes = |all: &mut dyn Iterator<Item = &Element>| -> Vec<CompactString> {
        all.filter_map(|child| child.attr("node")).map(CompactString::from).collect()
    };
    session.interests = nodes(&mut interests()).into();
    session.newly_interested = nodes(&mut interests().filter(|child| child.attr("new") == Some("true")));
    session.questions = split(saved.attr("questions")).collect();
    session.catch_up = read_catch_up(saved_catch_up)?;
    // Without one of them the others would have wrong numbers.
    let entries = saved.children().filter(|child| child.is("entry", NS));
    let (behind, queued): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.attr("behind").is_some());
    let queued: Option<Vec<_>> = queued.into_iter().map(|entry| read_entry(entry, registry)).collect();
    session.outbox = Outbox::restore(number("acknowledged")?, queued?);
    if let CatchUp::Reading(replay) = &mut session.catch_up {
        let placed = behind.into_iter().map(|entry| {
            let place = LogPosition(entry.attr("behind")?.parse().ok()?);
            Some((place, read_entry(entry, registry)?))
        });
        replay.behind = placed.collect::<Option<_>>()?;
    }
    Some(session)
}

fn read_entry(saved: &Element, registry: &Registry) -> Option<Entry> {
    let position = |name| saved.attr(name).and_then(|text| text.parse().ok()).map(LogPosition);
    let item = match position("position") {
        Some(position) => {
            let form = match saved.attr("form") {
                None => Form::Original,
                Some(name) => {
                    Form::Wrapped(registry.wrappings.iter().find(|wrapping| wrapping.name == name)?)
                }
            };
            Item::Logged { position, record: None, form, late: true }
        }
        None => Item::Stanza {
            element: saved
                .nodes()
                .iter()
                .find_map(|node| if let Node::Element(e) = node { Some(e.clone()) } else { None })?,
            to: None,
        },
    };
    let shared = saved.attr("shared") == Some("true");
    Some(Entry { covers: position("covers"), shared, ..Entry::new(item, Ticket::NONE) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::ids::{DeviceId, SessionId};

    /// As the first version wrote them. They stay: who upgrades takes his sessions along.
    const SAVED: [&str; 6] = [
        "<session xmlns='unisono:session:1' acknowledged='7' resume-for='300' interested='true' carbons='true' \
         questions='5 6'><catch-up state='done'>2 10 11</catch-up><presence xmlns='jabber:client' from='a@b.org/phone'>\
         <priority>3</priority></presence><directed jid='c@d.org/x'/><entry covers='12' position='12'/>\
         <entry><message xmlns='jabber:client' to='a@b.org/phone'><body>1 &lt; 2</body></message></entry></session>",
        "<session xmlns='unisono:session:1' acknowledged='0' resume-for='300' archive='asked'><catch-up state='paging'/></session>",
        "<session xmlns='unisono:session:1' acknowledged='4294967295' resume-for='60'>\
         <catch-up state='before' given='3' paged='5' early='6 7'/></session>",
        "<session xmlns='unisono:session:1' acknowledged='0' resume-for='60'>\
         <catch-up state='before' given='3' live-after='3' whole='3'/></session>",
        "<session xmlns='unisono:session:1' acknowledged='2' resume-for='60'><catch-up state='reading' \
         shown-after='3' waiting-after='2' live-after='9' read='5' newest='9' early='4'>3 4 5</catch-up>\
         <entry shared='true'><message xmlns='jabber:client' to='a@b.org/phone'/></entry>\
         <entry behind='8'><message xmlns='jabber:client' to='a@b.org/phone'/></entry></session>",
        "<session xmlns='unisono:session:1' acknowledged='0' resume-for='60'><catch-up state='done'/>\
         <interest node='urn:a'/><interest node='urn:b &amp;' new='true'/></session>",
    ];

    fn read_back(text: &str) -> Option<Session> {
        let record = SessionRecord {
            id: SessionId(1),
            device: DeviceId(1),
            resource: "phone".into(),
            handled: 4,
            snapshot: None,
        };
        let (account, registry) = ("a@b.org".parse().unwrap(), Registry::default());
        read(text, &record, &account, &registry, Link::Detached { until: Duration::ZERO }, 1_000_000)
    }

    #[test]
    fn sessions_of_earlier_builds_are_read() {
        for saved in SAVED {
            assert_eq!(write(&read_back(saved).unwrap()), saved);
        }
    }

    #[test]
    fn what_is_not_understood_whole_is_not_taken_up() {
        for (from, to) in [
            ("state='done'", "state='new'"),
            ("position='12'", "position='12' form='unknown'"),
            ("acknowledged='7'", ""),
            ("resume-for='300'", "resume-for='x'"),
            ("</session>", ""),
        ] {
            assert!(read_back(&SAVED[0].replace(from, to)).is_none(), "{to}");
        }
    }
}
