//! # XEP-0060: Publish-Subscribe
//!
//! Follows 1.30.0 (2025-11-11). Nodes of accounts and of a service, their items, and who is told of them.
//!
//! - Stage: `annotate` (notifications that only a service may send), requests. State: a document for each node, its items.
//! - Ours: a change of a node is one commit, nobody is told of it before that is durable, and all are told in the same
//!   order (promises P1, P2 and P5). What is open to everybody is answered to everybody; whoever has to do neither with
//!   the account nor with one of its nodes is otherwise answered as if there were no such account.
//!   A subscription lasts as long as the access model of the node lets the subscriber read it, however that came to
//!   change; what has ended does not begin again by itself, and nobody is subscribed who did not ask. Of several
//!   changes to affiliations or subscriptions, all are made or none. A service keeps its nodes like an account
//!   (`unisono_core::hosted`); who makes one owns it. What one who publishes causes is bounded: publications beyond
//!   that are stored and shown to the own devices at once, to all others the last of each node, a little later. The
//!   items of an account have a size; what others subscribe to takes none of the owner's room. A removed account is
//!   struck from the nodes of others.
//!   Owners who are not there are asked about subscriptions (§8.6) when they come.
//! - Left out: collections (XEP-0248), several subscriptions of one address (§6.1.6) and so the ids of subscriptions and
//!   their headers (§12.16), at a service the access models of contacts (presence, roster) and notifications without a
//!   subscription, counting what comes back (§12.4), of nodes of accounts the devices of contacts on other servers without
//!   a subscription, leases (§12.19), digests, temporary subscriptions (§12.5), batches by ad-hoc commands (§8.7), redirects of requests
//!   to a deleted node (§8.4.1, they are told to subscribers), the comparison of a payload's namespace with
//!   `pubsub#type` (§7.1.3.6: clients set both as they like).

mod access;
mod affiliations;
mod arrival;
mod authorization;
mod budget;
mod change;
mod config;
mod disco;
mod errors;
mod fan_out;
mod items;
mod last_items;
mod manage;
mod node;
mod notify;
mod options;
mod publish;
mod removal;
mod rules;
mod seen;
mod step;
mod subscribe;
mod told;
mod within;

use std::sync::Arc;

use unisono_core::account::Cell;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Child, Entity, Extension, Registry, Request, Spec};
use unisono_core::hub::Settings;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::IqType;
use unisono_xml::Element;

use fan_out::FanOut;

use crate::{xep0048_bookmarks, xep0049_private_xml, xep0059_result_sets, xep0402_bookmarks};

pub(crate) use access::is_readable;
pub(crate) use change::{
    Action, Change, changed, is_private, item_named, keeps_items, make_for_owner, room_of,
};
pub use config::{ITEMS_MAX, NS_CONFIG, PAYLOAD_BYTES_MAX};
pub(crate) use disco::{node_info, node_items, nodes, service_nodes};
pub use errors::NS_ERRORS;
pub(crate) use errors::invalid_payload;
pub(crate) use items::know;
pub(crate) use last_items::send_last_items;
pub(crate) use rules::{Made, Publication, Rule, Scene};
pub(crate) use seen::Seen;
pub(crate) use told::has_seen;
pub(crate) use within::{has_node, knows_items, publish_within};

/// The kind of a service of nodes (§5.1).
pub const SERVICE: &str = "pubsub";
pub const NS: &str = "http://jabber.org/protocol/pubsub";
pub const NS_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
pub const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Bytes of the name of a node, and of the id of an item.
const NAME_BYTES_MAX: usize = 1_023;

/// §10: what every service here offers. What depends on the kind of service is announced by that.
const FEATURES: [&str; 34] = [
    NS,
    "http://jabber.org/protocol/pubsub#access-authorize",
    "http://jabber.org/protocol/pubsub#access-open",
    "http://jabber.org/protocol/pubsub#access-whitelist",
    "http://jabber.org/protocol/pubsub#config-node",
    "http://jabber.org/protocol/pubsub#config-node-max",
    "http://jabber.org/protocol/pubsub#create-and-configure",
    "http://jabber.org/protocol/pubsub#create-nodes",
    "http://jabber.org/protocol/pubsub#delete-items",
    "http://jabber.org/protocol/pubsub#delete-nodes",
    "http://jabber.org/protocol/pubsub#instant-nodes",
    "http://jabber.org/protocol/pubsub#item-ids",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#manage-subscriptions",
    "http://jabber.org/protocol/pubsub#member-affiliation",
    disco::NS_META_DATA,
    "http://jabber.org/protocol/pubsub#modify-affiliations",
    "http://jabber.org/protocol/pubsub#multi-items",
    "http://jabber.org/protocol/pubsub#outcast-affiliation",
    "http://jabber.org/protocol/pubsub#persistent-items",
    "http://jabber.org/protocol/pubsub#publish",
    "http://jabber.org/protocol/pubsub#publish-node-full",
    "http://jabber.org/protocol/pubsub#publish-only-affiliation",
    publish::NS_OPTIONS,
    "http://jabber.org/protocol/pubsub#publisher-affiliation",
    "http://jabber.org/protocol/pubsub#purge-nodes",
    "http://jabber.org/protocol/pubsub#retract-items",
    "http://jabber.org/protocol/pubsub#retrieve-affiliations",
    "http://jabber.org/protocol/pubsub#retrieve-default",
    "http://jabber.org/protocol/pubsub#retrieve-default-sub",
    "http://jabber.org/protocol/pubsub#retrieve-items",
    "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
    "http://jabber.org/protocol/pubsub#rsm",
    "http://jabber.org/protocol/pubsub#subscribe",
];
/// §7.1.4: announced for accounts by XEP-0163.
pub(crate) const AUTO_CREATE: &str = "http://jabber.org/protocol/pubsub#auto-create";
/// §4.5: a service has no contacts.
const ACCESS_ROSTER: &str = "http://jabber.org/protocol/pubsub#access-roster";
/// §6.3 and §8.8.4
const SUBSCRIPTION_FEATURES: [&str; 2] = [
    "http://jabber.org/protocol/pubsub#subscription-notifications",
    "http://jabber.org/protocol/pubsub#subscription-options",
];

pub struct PubSub;

impl Extension for PubSub {
    fn spec(&self) -> Spec {
        Spec::xep(60, "1.30.0")
            .partial("several subscriptions of one address; contacts' access models at a service")
    }

    fn register(&self, on: &mut Registry) {
        on.keyed_state::<node::Node>();
        on.server_state::<FanOut>();
        let service = Entity::Service(SERVICE);
        on.identity(service, "pubsub", "service")
            .feature(service, AUTO_CREATE)
            .feature(service, xep0059_result_sets::NS);
        for feature in FEATURES.into_iter().chain(SUBSCRIPTION_FEATURES) {
            on.account_feature(feature).feature(service, feature);
        }
        on.account_feature(ACCESS_ROSTER);
        for entity in [Entity::OwnAccount, Entity::OtherAccount, service] {
            for kind in [IqType::Get, IqType::Set] {
                for ns in [NS, NS_OWNER] {
                    on.iq_later(entity, kind, (ns, "pubsub"), |request| Box::pin(serve(request)));
                }
            }
        }
        on.annotate(refuse_forged);
        on.left(items::purge_offline);
        on.letters(SERVICE, authorization::read_letter);
        on.prepare(authorization::prepare);
        on.arrived(arrival::arrived);
        on.sweep(fan_out::go_on);
        on.removed(|hub, jid| Box::pin(removal::strike(hub, jid)));
    }
}

/// A request to the nodes of an account.
struct Ask {
    request: Request,
    /// The account.
    cell: Arc<Cell>,
    /// Who asks.
    who: BareJid,
    /// What is asked: the child of `<pubsub/>`.
    action: Element,
}

impl Ask {
    /// The node that is meant.
    ///
    /// # Errors
    ///
    /// `nodeid-required`, or its name is too long.
    fn node(&self) -> Result<&str, StanzaError> {
        let node = self.action.attr("node").filter(|node| !node.is_empty());
        named(node.ok_or_else(|| errors::bad("nodeid-required"))?)
    }

    /// A child of `<pubsub/>` beside the action.
    fn beside(&self, name: &str) -> Option<&Element> {
        self.request.payload.child(name, self.request.payload.ns())
    }
}

/// A name that is not too long.
fn named(name: &str) -> Result<&str, StanzaError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(errors::malformed("a name is too long"));
    }
    Ok(name)
}

/// Answers a request. To whom the account is nobody's business, it looks as if there was none, unless the answer is open
/// to everybody.
async fn serve(request: Request) -> Answer {
    let (Some(cell), who) = (request.account.clone(), request.from().to_bare()) else {
        return Err(errors::not_found());
    };
    let Some(action) =
        request.payload.first_child().filter(|child| child.ns() == request.payload.ns()).cloned()
    else {
        return hide(&cell, &who, Err(errors::malformed("nothing is asked")));
    };
    let ask = Ask { request, cell: cell.clone(), who: who.clone(), action };
    let (hub, from) = (ask.request.hub.clone(), ask.request.from().clone());
    let are_apart = ask.action.ns() == NS_OWNER && are_bookmarks_apart(&ask);
    let answer = act(ask).await;
    if are_apart && answer.is_ok() {
        // Where that fails, nothing is lost: they come together with the next who asks for them.
        _ = xep0049_private_xml::reunite(&hub, &cell, &from).await;
    }
    hide(&cell, &who, answer)
}

/// Whether it is about a node of bookmarks, while one that others may read keeps the forms of them apart (XEP-0411 §5).
fn are_bookmarks_apart(ask: &Ask) -> bool {
    let is_of = |node: &str| [xep0402_bookmarks::NS, xep0048_bookmarks::NS].contains(&node);
    ask.action.attr("node").is_some_and(is_of) && !xep0048_bookmarks::is_one(&ask.cell.lock())
}

fn hide(cell: &Cell, who: &BareJid, answer: Answer) -> Answer {
    match answer {
        Err(_) if !access::knows_account(&cell.lock(), who) => {
            Err(StanzaError::new(Condition::ServiceUnavailable))
        }
        answer => answer,
    }
}

/// All there is to ask for.
async fn act(ask: Ask) -> Answer {
    let is_owners = ask.action.ns() == NS_OWNER;
    let name = ask.action.name().to_owned();
    match (is_owners, ask.request.iq.kind, name.as_str()) {
        (false, IqType::Get, "subscriptions") => subscribe::own_subscriptions(&ask), // §5.6
        (false, IqType::Get, "affiliations") => affiliations::own(&ask),             // §5.7
        (false, IqType::Set, "subscribe") => subscribe::subscribe(&ask).await,       // §6.1
        (false, IqType::Set, "unsubscribe") => subscribe::unsubscribe(&ask),         // §6.2
        (false, IqType::Get, "options") => options::show(&ask),                      // §6.3.2
        (false, IqType::Set, "options") => options::set(&ask),                       // §6.3.5
        (false, IqType::Get, "default") => options::default(&ask),                   // §6.4
        (false, IqType::Get, "items") => items::retrieve(&ask).await,                // §6.5
        (false, IqType::Set, "publish") => publish::publish(&ask).await,             // §7.1
        (false, IqType::Set, "retract") => publish::retract(&ask).await,             // §7.2
        (false, IqType::Set, "create") => manage::create(&ask),                      // §8.1
        (true, IqType::Get, "configure") => manage::configuration(&ask),             // §8.2.1
        (true, IqType::Set, "configure") => manage::configure(&ask).await,           // §8.2.4
        (true, IqType::Get, "default") => manage::default(&ask),                     // §8.3
        (true, IqType::Set, "delete") => manage::delete(&ask).await,                 // §8.4
        (true, IqType::Set, "purge") => manage::purge(&ask).await,                   // §8.5
        (true, IqType::Get, "subscriptions") => subscribe::all(&ask),                // §8.8.1
        (true, IqType::Set, "subscriptions") => subscribe::modify(&ask).await,       // §8.8.2
        (true, IqType::Get, "affiliations") => affiliations::all(&ask),              // §8.9.1
        (true, IqType::Set, "affiliations") => affiliations::modify(&ask).await,     // §8.9.2
        _ => Err(StanzaError::new(Condition::FeatureNotImplemented)),
    }
}

/// Only a service says what happened to a node, never a client: what reads it believes the account. Clients have full
/// addresses; accounts and services of other domains, which speak for themselves, have none (§12.3).
fn refuse_forged(child: &Element, from: &Jid, settings: &Settings) -> Child {
    let may_say = from.is_bare() && !settings.serves(from.domain());
    if child.is("event", NS_EVENT) && !may_say { Child::Remove } else { Child::Keep }
}
