//! A session as text, for the time in which the server is not running.

use std::time::Duration;

use unisono_xml::{Element, ElementBuilder, Limits, Node};

use crate::extension::Registry;
use crate::ids::{LogPosition, Ticket};
use crate::jid::{BareJid, Jid};
use crate::outbox::{Entry, Form, Item, Outbox};
use crate::session::{CatchUp, Link, Management, Session};
use crate::stanza::{CLIENT_SCOPE, Stanza};
use crate::storage::SessionRecord;

/// The namespace of saved sessions; they are seen by nobody but us.
const NS: &str = "unisono:session:1";

/// Saves a session.
pub(crate) fn write(session: &Session) -> String {
    let flag = |set: bool| set.then_some("true");
    let held = session.held.iter();
    let entries = session.outbox.entries().chain(held).map(write_entry);
    let directed =
        session.directed.iter().map(|jid| Element::builder("directed", NS).attr("jid", jid.as_str()).build());
    let presence =
        session.presence.as_ref().map(|presence| crate::presence::presence_element(presence, None));
    let resume_for = session.management.as_ref().map_or(0, |management| management.resume_for.as_secs());
    Element::builder("session", NS)
        .attr("acknowledged", session.outbox.acknowledged().to_string())
        .attr("resume-for", resume_for.to_string())
        .attr_opt("interested", flag(session.interested))
        .attr_opt("carbons", flag(session.wants_carbons()))
        .attr_opt("follows", Some(session.follows.join(" ")).filter(|all| !all.is_empty()))
        .child_opt(presence)
        .children(directed)
        .children(entries)
        .build()
        .to_string_in(&CLIENT_SCOPE)
}

fn write_entry(entry: &Entry) -> Element {
    let covers = entry.covers.map(|position| position.0.to_string());
    let builder = Element::builder("entry", NS).attr_opt("covers", covers.as_deref());
    match &entry.item {
        Item::Logged { position, form, .. } => {
            let form = match form {
                Form::Original => None,
                Form::Wrapped(wrapping) => Some(wrapping.name),
            };
            builder.attr("position", position.0.to_string()).attr_opt("form", form).build()
        }
        Item::Stanza { element, to } => {
            let element = match to {
                Some(to) => element.to_builder().attr("to", to.as_str()).build(),
                None => element.clone(),
            };
            builder.child(element).build()
        }
        Item::Text(text) => match Element::parse_fragment(text, &CLIENT_SCOPE, &Limits::default()) {
            Ok(nodes) => nodes.into_iter().fold(builder, ElementBuilder::node).build(),
            Err(_) => builder.build(),
        },
    }
}

/// Reads a saved session.
pub(crate) fn read(
    text: &str,
    record: &SessionRecord,
    account: &BareJid,
    registry: &Registry,
    link: Link,
) -> Option<Session> {
    let limits = Limits {
        element_bytes_max: usize::MAX,
        elements_max: usize::MAX,
        children_max: usize::MAX,
        ..Limits::default()
    };
    let saved = Element::parse(text, &CLIENT_SCOPE, &limits).ok()?;
    let jid = account.with_resource(&record.resource).ok()?;
    let mut session = Session::new(record.id, record.device, jid.clone(), link);
    let flag = |name| saved.attr(name) == Some("true");
    session.interested = flag("interested");
    session.set_carbons(flag("carbons"));
    let follows = saved.attr("follows").unwrap_or_default().split(' ');
    session.follows = follows.filter_map(|ns| registry.known_namespace(ns)).collect();
    let number = |name| saved.attr(name).and_then(|text| text.parse::<u32>().ok());
    session.management = Some(Box::new(Management {
        resume_for: Duration::from_secs(u64::from(number("resume-for")?)),
        handled: record.handled,
        journaled: record.handled,
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
        session.catch_up = CatchUp::Done;
    }
    let entries = saved
        .children()
        .filter(|child| child.is("entry", NS))
        .filter_map(|entry| read_entry(entry, registry));
    session.outbox = Outbox::restore(number("acknowledged")?, entries.collect());
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
    Some(Entry { item, ticket: Ticket::NONE, covers: position("covers") })
}
