//! # XEP-0313: Message Archive Management
//!
//! Follows 1.1.3 (2025-04-09). A user's log, in pages: what the other devices sent and received while one was away.
//!
//! - Stages: `annotate` (§8.2, forged results), `record` (§6.1.1, what is worth keeping; the last to say so).
//! - Ours: the archive is the log that also delivers (DESIGN.md §3), so an id is the same live, as a copy and in a page;
//!   ids are sealed positions, so one that is forged or from another archive is `item-not-found` without a look into
//!   the store; a page ends early where it would be too large for a device to take at once, or where a search for one
//!   resource of a contact has looked at enough.
//! - Ours: a device that read the whole archive to its end is known to have it. One that catches up here is not sent
//!   what it missed a second time (§6.1.1).
//! - Ours: the domain announces the archive as well, against §6.1: Fluux looks for it there and asks the account.
//! - Left out: archives of rooms and pubsub nodes, which belong to their owners (XEP-0045, XEP-0442), and messages of
//!   rooms in the archive of a user (§6.1.1, a MAY); `include-groupchat` is understood all the same.

mod page;
mod query;

use std::sync::Arc;

use unisono_core::account::Account;
use unisono_core::bind2::{JustBound, Settled};
use unisono_core::datetime::format_utc;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Child, Entity, Extension, Registry, Reply, Request, Side, Spec};
use unisono_core::hub::{Hub, Settings};
use unisono_core::ids::{AccountId, LogPosition, Ticket};
use unisono_core::jid::Jid;
use unisono_core::record::{Keep, Payload};
use unisono_core::stanza::{IqType, Message, MessageType, NS_CLIENT};
use unisono_core::storage::{BoxFuture, LogQuery, StoreError};
use unisono_xml::Element;

use crate::{
    xep0004_forms as forms, xep0184_receipts, xep0280_carbons, xep0308_correction, xep0333_markers,
    xep0353_jingle_messages, xep0380_encryption, xep0424_retraction, xep0444_reactions, xep0461_replies,
};

pub const NS: &str = "urn:xmpp:mam:2";
/// §7: the fields of §4.1.3, flipped pages and metadata.
pub const NS_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// §7: `include-groupchat` is understood.
pub const NS_GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
/// What the namespaces of all versions begin with.
const NS_ANY: &str = "urn:xmpp:mam:";
/// XEP-0122: what a field may hold.
const NS_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";

pub struct Archive;

impl Extension for Archive {
    fn spec(&self) -> Spec {
        Spec::xep(313, "1.1.3")
    }

    fn register(&self, on: &mut Registry) {
        // COMPAT(Fluux): looks for the archive on the domain; §7 and all others ask the account.
        for entity in [Entity::OwnAccount, Entity::Server] {
            on.feature(entity, NS).feature(entity, NS_EXTENDED).feature(entity, NS_GROUPCHAT_FIELD);
        }
        on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "query"), |request| {
            Box::pin(page::answer(request))
        });
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "query"), fields);
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "metadata"), metadata);
        on.at_bind(None, begin);
        on.iq(Entity::OtherAccount, IqType::Set, (NS, "query"), refuse_others);
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "query"), refuse_others);
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "metadata"), refuse_others);
        on.annotate(refuse_forged);
        on.record(keep);
    }
}

/// §8.1: an archive is for its owner alone. A stranger does not even learn that there is one.
pub(crate) fn refuse_others(request: &Request) -> Answer {
    let is_known = request.account()?.is_seen_by(&request.from().to_bare());
    let condition = if is_known { Condition::Forbidden } else { Condition::ServiceUnavailable };
    Err(StanzaError::new(condition))
}

/// §4.1.5
fn fields(_: &Request) -> Answer {
    let open = Element::builder("validate", NS_VALIDATE)
        .attr("datatype", "xs:string")
        .child(Element::new("open", NS_VALIDATE))
        .build();
    let field = |name, kind| forms::field(name, kind, []);
    let form = forms::form("form", NS)
        .child(field("with", "jid-single"))
        .child(field("start", "text-single"))
        .child(field("end", "text-single"))
        .child(field("before-id", "text-single"))
        .child(field("after-id", "text-single"))
        .child(field("ids", "list-multi").to_builder().child(open).build())
        .child(field("include-groupchat", "boolean"));
    Ok(Reply::with(Element::builder("query", NS).child(form.build()).build()))
}

/// §5
fn metadata(request: Request) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
        let (head, ticket) = {
            let account = cell.lock();
            (account.head(), account.last_ticket())
        };
        Ok(Reply::with(ends(&request.hub, cell.id, head, ticket).await?))
    })
}

/// XEP-0386 §3.2: where the archive ends for a device that begins. It pages up to there, and is sent what comes after.
fn begin(bound: &mut JustBound<'_>) -> Settled {
    let head = bound.hub.begins_at_head(bound.account, bound.session);
    let (hub, account, ticket) = (Arc::clone(bound.hub), bound.account.id(), bound.account.last_ticket());
    Settled::Later(Box::pin(async move { ends(&hub, account, head, ticket).await }))
}

/// §5: the first entry of an archive, and the last one up to `head`, which the store knows when the ticket is durable.
async fn ends(
    hub: &Hub,
    account: AccountId,
    head: LogPosition,
    ticket: Ticket,
) -> Result<Element, StoreError> {
    hub.store.wait(ticket).await;
    let metadata = Element::builder("metadata", NS);
    let Some((first, mut last)) = hub.store.bounds(account).await? else { return Ok(metadata.build()) };
    if last > head {
        let before = Some(LogPosition(head.0.saturating_add(1)));
        let query = LogQuery { before, limit: 1, from_end: true, ..LogQuery::default() };
        let page = hub.store.page(account, &query).await?;
        match page.entries.last() {
            Some(entry) => last = entry.position,
            None => return Ok(metadata.build()),
        }
    }
    let end = |name, position: LogPosition| {
        Element::builder(name, NS)
            .attr("id", hub.archive_id(account, position))
            .attr("timestamp", format_utc(position.0))
            .build()
    };
    Ok(metadata.child(end("start", first)).child(end("end", last)).build())
}

/// §8.2: only an archive sends results, so a client that forgets to look at `from` is safe.
fn refuse_forged(child: &Element, _: &Jid, _: &Settings) -> Child {
    let is_result = matches!(child.name(), "result" | "fin") && child.ns().starts_with(NS_ANY);
    if is_result { Child::Remove } else { Child::Keep }
}

/// §6.1.1: what makes a message a part of a conversation. XEP-0280 copies by the same rule, so that what the archive
/// shows reaches every device.
const PARTS: &[fn(&Payload) -> bool] = &[
    says_something,
    xep0280_carbons::is_invitation,
    xep0184_receipts::is_part,
    xep0308_correction::is_part,
    xep0333_markers::is_part,
    xep0353_jingle_messages::is_part,
    xep0380_encryption::is_part,
    xep0424_retraction::is_part,
    xep0444_reactions::is_part,
    xep0461_replies::is_part,
];

fn says_something(payload: &Payload) -> bool {
    payload.has("body", NS_CLIENT) || payload.has("subject", NS_CLIENT)
}

/// Whether a message of this type and content is one that people's archives show.
pub(crate) fn is_conversation(kind: MessageType, payload: &Payload) -> bool {
    kind.is_conversation() && PARTS.iter().any(|is_part| is_part(payload))
}

pub(crate) fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    is_conversation(message.kind, &message.payload).then_some(Keep::Archive)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::testing::{account, element, message, settings, vote};

    #[test]
    fn forged_results_are_taken_out() {
        let from = "eve@other.example/x".parse().unwrap();
        for (child, verdict) in [
            ("<result xmlns='urn:xmpp:mam:2' id='1'/>", Child::Remove),
            (
                "<result xmlns='urn:xmpp:mam:2' queryid='f' id='1'><forwarded xmlns='urn:xmpp:forward:0'/></result>",
                Child::Remove,
            ),
            ("<fin xmlns='urn:xmpp:mam:2' complete='true'/>", Child::Remove),
            ("<result xmlns='urn:xmpp:mam:1' id='1'/>", Child::Remove), // what older clients read
            ("<fin xmlns='urn:xmpp:mam:0'/>", Child::Remove),
            ("<result xmlns='urn:xmpp:mam:tmp'/>", Child::Remove),
            ("<result xmlns='urn:example'/>", Child::Keep),
            ("<query xmlns='urn:xmpp:mam:2'/>", Child::Keep),
            ("<forwarded xmlns='urn:xmpp:forward:0'/>", Child::Keep), // XEP-0297 §7.1
        ] {
            assert_eq!(refuse_forged(&element(child), &from, &settings()), verdict, "{child}");
        }
    }

    #[test]
    fn what_people_write_is_kept() {
        let archive = Some(Keep::Archive);
        for (kind, payload, kept) in [
            ("chat", "<body>hi</body>", archive),
            ("normal", "<body>hi</body>", archive),
            ("normal", "<subject>news</subject>", archive),
            ("normal", "<x xmlns='jabber:x:conference' jid='room@muc.example'/>", archive),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>", archive),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'/>", None),
            ("groupchat", "<body>hi</body>", None),
            ("headline", "<body>hi</body>", None),
            ("error", "<body>hi</body>", None),
            ("chat", "<data xmlns='urn:example'/>", None),
            ("chat", "<body xmlns='http://www.w3.org/1999/xhtml'>hi</body>", None),
            ("chat", "", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }

    /// The votes of all extensions together.
    #[test]
    fn what_a_log_keeps() {
        let hint = |name| format!("<{name} xmlns='urn:xmpp:hints'/>");
        let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let call = "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>";
        for (kind, payload, kept) in [
            ("chat", "<body>hi</body>".to_owned(), Keep::Archive),
            ("chat", format!("<body>hi</body>{}", hint("no-store")), Keep::Nothing),
            ("chat", format!("<body>hi</body>{}", hint("no-permanent-store")), Keep::UntilDelivered),
            ("chat", format!("<data xmlns='urn:example'/>{}", hint("store")), Keep::Archive),
            ("chat", "<data xmlns='urn:example'/>".to_owned(), Keep::UntilDelivered),
            ("chat", call.to_owned(), Keep::Archive),
            ("chat", format!("{call}{}", hint("store")), Keep::Archive),
            ("normal", format!("{call}{}", hint("store")), Keep::Archive),
            ("chat", typing.to_owned(), Keep::Nothing),
            ("chat", format!("{typing}{}", hint("store")), Keep::Nothing),
            ("chat", format!("{typing}{}", hint("no-permanent-store")), Keep::Nothing),
            ("chat", format!("<body>hi</body>{typing}"), Keep::Archive),
            ("groupchat", format!("<body>hi</body>{}", hint("store")), Keep::Nothing),
            ("headline", "<body>hi</body>".to_owned(), Keep::Nothing),
            ("error", format!("<body>hi</body>{}", hint("store")), Keep::Nothing),
            ("normal", String::new(), Keep::Nothing),
        ] {
            assert_eq!(vote(&message(kind, &payload), &account(), Side::Recipient), kept, "{kind} {payload}");
        }
    }
}
