//! # XEP-0430: Inbox
//!
//! Follows 0.2.0 (2020-02-03). All conversations with what was said last and how much is unread, in one answer.
//!
//! - Stage: `record`: what says something new (§1.1), which is what can be unread. A correction, a reaction, a retraction, a
//!   receipt or a marker is none, whatever text stands in it for clients that do not know it.
//! - Unread is what others wrote behind the place that was displayed ([`ReadUpto`], which one's own markers move, XEP-0333)
//!   and behind one's own last message (§4). It is computed from the log when somebody asks. What is taken back (XEP-0424)
//!   is not read by that: its tombstone is as new to who has not seen the message.
//! - Ours: conversations come with the latest first, and are paged by the id of their last entry: one in which something
//!   happens meanwhile moves to the front, and is not missed by who goes on.
//! - Left out: what a client marks as unread itself (§2.2), for which the text has no protocol; collated fastenings (§3.1, a
//!   MAY); rooms, whose archives are their own.
//!
//! [`ReadUpto`]: unisono_core::storage::ReadUpto

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::jid::{BareJid, FullJid};
use unisono_core::outbox::Item;
use unisono_core::record::Payload;
use unisono_core::render::{Delay, Renderer};
use unisono_core::stanza::{IqType, Message, NS_CLIENT, write_head};
use unisono_core::storage::{Conversation, Inbox, InboxQuery};
use unisono_xml::{Element, escape_attr_into};

use crate::xep0059_result_sets::{Page, Wanted};
use crate::{
    xep0297_forwarding, xep0308_correction, xep0313_mam, xep0380_encryption, xep0424_retraction,
    xep0444_reactions,
};

pub const NS: &str = "urn:xmpp:inbox:1";
/// Conversations of one page, where the client does not say, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

pub struct Conversations;

impl Extension for Conversations {
    fn spec(&self) -> Spec {
        Spec::xep(430, "0.2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::OwnAccount, NS);
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "inbox"), |request| Box::pin(answer(request)));
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "inbox"), xep0313_mam::refuse_others);
        on.speaks(speaks);
    }
}

/// §1.1, §4: an instant message, readable or not.
fn speaks(message: &Message) -> bool {
    message.kind.is_conversation() && says_something_new(&message.payload)
}

/// The same, whatever its type.
pub(crate) fn says_something_new(payload: &Payload) -> bool {
    let is_about_another =
        [xep0308_correction::is_part, xep0424_retraction::is_part, xep0444_reactions::is_part]
            .iter()
            .any(|is_part| is_part(payload));
    let is_text = payload.has("body", NS_CLIENT) || is_encrypted_text(payload);
    is_text && !is_about_another
}

/// What moves keys between devices has no payload, and is nothing to read.
fn is_encrypted_text(payload: &Payload) -> bool {
    xep0380_encryption::is_part(payload)
        && xep0380_encryption::PAYLOADS.iter().any(|(name, ns)| {
            let found = payload.child(name, ns);
            found.is_some_and(|found| *name != "encrypted" || found.has_child("payload", ns))
        })
}

/// §3.1: the conversations, and then that they were all.
async fn answer(request: Request) -> Answer {
    let hub = &request.hub;
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let origin = request.session.as_ref().ok_or(StanzaError::new(Condition::Forbidden))?;
    let query = parse(&request.payload, |id| hub.position(cell.id, id))?;
    hub.settled(cell).await;
    let inbox = hub.store.inbox(cell.id, &query).await?;

    let id = request.iq.header.id.as_deref().unwrap_or_default();
    let writer = Writer { renderer: hub.renderer(cell), owner: &cell.jid, to: &origin.jid, query_id: id };
    // A device takes a few such pages before it is too far behind.
    let bytes_max = hub.settings.outbox_bytes_max / 4;
    let entries = writer.entries(&inbox.conversations, bytes_max, query.from_end);
    let shown = if query.from_end {
        inbox.conversations.get(inbox.conversations.len().saturating_sub(entries.len())..)
    } else {
        inbox.conversations.get(..entries.len())
    };
    let fin = writer.fin(&inbox, shown.unwrap_or_default(), query.unread_only);
    Ok(Reply { before: entries, ..Reply::with(fin) })
}

/// §3.1
fn parse(
    inbox: &Element,
    position_of: impl Fn(&str) -> Option<unisono_core::ids::LogPosition>,
) -> Result<InboxQuery, StanzaError> {
    let flag = |name, default| match inbox.attr(name) {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => {
            Err(StanzaError::new(Condition::BadRequest).with_text("a switch is neither true nor false"))
        }
    };
    let wanted = Wanted::parse(inbox)?;
    if wanted.index.is_some() {
        return Err(StanzaError::new(Condition::FeatureNotImplemented)); // XEP-0059 §2.6
    }
    let position = |id: &str| position_of(id).ok_or(StanzaError::new(Condition::ItemNotFound));
    Ok(InboxQuery {
        after: wanted.after.as_deref().map(position).transpose()?,
        before: wanted.before.as_deref().filter(|id| !id.is_empty()).map(position).transpose()?,
        from_end: wanted.before.is_some(),
        limit: wanted.max.unwrap_or(PAGE).min(PAGE_MAX),
        unread_only: flag("unread-only", false)?,
        messages: flag("messages", true)?,
    })
}

/// What the answer is made with.
struct Writer<'a> {
    renderer: Renderer<'a>,
    owner: &'a BareJid,
    to: &'a FullJid,
    /// §5: the results name the request.
    query_id: &'a str,
}

impl Writer<'_> {
    /// The conversations, those that the client asked for first until they are as many bytes as it may have at once.
    fn entries(&self, conversations: &[Conversation], bytes_max: usize, from_end: bool) -> Vec<Item> {
        let mut bytes = 0_usize;
        let mut is_room = |text: &Vec<u8>| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(text.len());
            is_first || bytes <= bytes_max
        };
        let written = conversations.iter().map(|conversation| self.entry(conversation));
        let mut texts: Vec<Vec<u8>> = if from_end {
            written.rev().take_while(&mut is_room).collect()
        } else {
            written.take_while(&mut is_room).collect()
        };
        if from_end {
            texts.reverse();
        }
        texts.into_iter().map(|text| Item::Text(String::from_utf8_lossy(&text).into())).collect()
    }

    /// §3.1: one conversation, and the latest instant message of it.
    fn entry(&self, conversation: &Conversation) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let (owner, to) = (Some(self.owner.as_str()), Some(self.to.as_str()));
        write_head(&mut out, "message", &[("from", owner), ("to", to)]);
        out.push(b'>');
        let (unread, last) = (conversation.unread.to_string(), self.renderer.id(conversation.last));
        let entry = [
            ("xmlns", Some(NS)),
            ("unread", Some(unread.as_str())),
            ("jid", Some(conversation.peer.as_str())),
            ("id", Some(last.as_str())),
        ];
        write_head(&mut out, "entry", &entry);
        out.extend_from_slice(b"/>");
        if let Some(said) = &conversation.message {
            out.extend_from_slice(b"<result xmlns='");
            out.extend_from_slice(xep0313_mam::NS.as_bytes());
            out.extend_from_slice(b"' queryid='");
            escape_attr_into(&mut out, self.query_id);
            out.extend_from_slice(b"' id='");
            out.extend_from_slice(self.renderer.id(said.position).as_bytes());
            out.extend_from_slice(b"'>");
            xep0297_forwarding::write(&mut out, said.position.0, |out| {
                self.renderer.message(out, &said.record, Some(NS_CLIENT), Delay::Elsewhere);
            });
            out.extend_from_slice(b"</result>");
        }
        out.extend_from_slice(b"</message>");
        out
    }

    /// §3.1: what there is in all.
    fn fin(&self, inbox: &Inbox, shown: &[Conversation], unread_only: bool) -> Element {
        let id = |conversation: Option<&Conversation>| conversation.map(|found| self.renderer.id(found.last));
        let ends = (id(shown.first()), id(shown.last()));
        let page = Page {
            ends: ends.0.as_deref().zip(ends.1.as_deref()),
            index: None,
            count: Some(if unread_only { inbox.unread } else { inbox.total }),
        };
        Element::builder("fin", NS)
            .attr("total", inbox.total.to_string())
            .attr("unread", inbox.unread.to_string())
            .attr("all-unread", inbox.all_unread.to_string())
            .child(page.to_element())
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{element, message};

    #[test]
    fn what_can_be_unread() {
        let omemo = |content: &str| {
            format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{content}</encrypted>")
        };
        for (kind, payload, want) in [
            ("chat", "<body>hi</body>".to_owned(), true),
            ("normal", "<body>hi</body>".into(), true),
            ("chat", omemo("<header sid='1'/><payload>x</payload>"), true),
            ("chat", omemo("<header sid='1'/>"), false), // keys alone
            ("chat", "<x xmlns='jabber:x:encrypted'>x</x>".into(), true),
            ("chat", "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>".into(), true),
            ("chat", "<body>hi</body><markable xmlns='urn:xmpp:chat-markers:0'/>".into(), true),
            ("chat", "<body>hi</body><reply xmlns='urn:xmpp:reply:0' id='1'/>".into(), true),
            ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>".into(), false), // §4
            ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>".into(), false),        // §4
            ("chat", "<body>ho</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>".into(), false),
            ("chat", "<body>+1</body><reactions xmlns='urn:xmpp:reactions:0' id='1'/>".into(), false),
            ("chat", "<body>gone</body><retract xmlns='urn:xmpp:message-retract:1' id='1'/>".into(), false),
            ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>".into(), false),
            ("chat", "<subject>news</subject>".into(), false),
            ("groupchat", "<body>hi</body>".into(), false),
            ("headline", "<body>hi</body>".into(), false),
            ("error", "<body>hi</body>".into(), false),
        ] {
            assert_eq!(speaks(&message(kind, &payload)), want, "{kind} {payload}");
        }
    }

    #[test]
    fn what_is_asked() {
        let parse = |attributes: &str, set: &str| {
            let inbox = format!(
                "<inbox xmlns='{NS}' {attributes}><set xmlns='http://jabber.org/protocol/rsm'>{set}</set></inbox>"
            );
            let query = parse(&element(&inbox), |id| id.parse().ok().map(unisono_core::ids::LogPosition));
            let query = query.map_err(|error| error.condition)?;
            let at = |position: Option<unisono_core::ids::LogPosition>| position.map(|at| at.0);
            let InboxQuery { after, before, limit, from_end, unread_only, messages } = query;
            Ok((at(after), at(before), limit, from_end, unread_only, messages))
        };
        for (attributes, set, want) in [
            ("", "", Ok((None, None, 50, false, false, true))),
            ("unread-only='true' messages='false'", "", Ok((None, None, 50, false, true, false))),
            ("unread-only='0' messages='1'", "", Ok((None, None, 50, false, false, true))),
            ("", "<max>1000</max>", Ok((None, None, 500, false, false, true))),
            ("", "<max>0</max>", Ok((None, None, 0, false, false, true))),
            ("", "<max>7</max><after>5</after>", Ok((Some(5), None, 7, false, false, true))),
            ("", "<before/>", Ok((None, None, 50, true, false, true))),
            ("", "<before>5</before>", Ok((None, Some(5), 50, true, false, true))),
            ("messages='maybe'", "", Err(Condition::BadRequest)),
            ("unread-only=''", "", Err(Condition::BadRequest)),
            ("", "<max>x</max>", Err(Condition::BadRequest)),
            ("", "<after>x</after>", Err(Condition::ItemNotFound)),
            ("", "<before>x</before>", Err(Condition::ItemNotFound)),
            ("", "<index>3</index>", Err(Condition::FeatureNotImplemented)),
        ] {
            assert_eq!(parse(attributes, set), want, "{attributes} {set}");
        }
    }
}
