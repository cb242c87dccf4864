//! §5.2 to §5.5: nodes and items, as service discovery shows them.

use unisono_core::account::Account;
use unisono_core::datetime::format_utc;
use unisono_core::error::StanzaError;
use unisono_core::extension::Request;
use unisono_core::jid::BareJid;
use unisono_core::storage::ItemQuery;
use unisono_xml::Element;

use super::config::ITEMS_MAX;
use super::errors::not_found;
use super::node::{Affiliation, Meta, Node, State, is_service};
use super::{NS, access};
use crate::xep0004_forms as forms;
use crate::xep0030_disco::{NS_INFO, NS_ITEMS};
use crate::xep0059_result_sets::{Page, Wanted};

/// Nodes of a service in one answer.
const NODES_SHOWN: usize = 500;

/// The form of what there is to say about a node, and the feature that announces it.
pub(super) const NS_META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";

/// §5.2: the nodes of an account that somebody may read (XEP-0163 §6.2).
pub(crate) fn nodes(account: &Account, who: &BareJid) -> Vec<Element> {
    let readable = account.all_keyed::<Node>().filter(|(_, node)| sees(account, &node.meta, who).is_ok());
    readable.map(|(name, node)| node_item(account, name, node)).collect()
}

fn node_item(account: &Account, name: &str, node: &Node) -> Element {
    let item = Element::builder("item", NS_ITEMS).attr("jid", account.jid().as_str());
    let title = Some(node.meta.config.title.as_str()).filter(|title| !title.is_empty());
    item.attr("node", name).attr_opt("name", title).build()
}

/// Whether somebody is shown what a node is: who may read it. Those of a service are also found by whoever may ask to be
/// subscribed.
fn sees(account: &Account, node: &Meta, who: &BareJid) -> Result<(), StanzaError> {
    if is_service(account.jid()) {
        return access::may_subscribe(account, node, who).map(|_| ());
    }
    access::may_read(account, node, who)
}

/// §5.2: a page of the nodes of a service that somebody is shown, by their names, and the `<set/>` of it (XEP-0059).
///
/// # Errors
///
/// The page begins or ends at a node that is not there.
pub(crate) fn service_nodes(
    account: &Account,
    who: &BareJid,
    wanted: &Wanted,
) -> Result<(Vec<Element>, Option<Element>), StanzaError> {
    let shown = account.all_keyed::<Node>().filter(|(_, node)| sees(account, &node.meta, who).is_ok());
    let shown: Vec<_> = shown.collect();
    let place =
        |name: &str| shown.binary_search_by(|(other, _)| other.as_str().cmp(name)).map_err(|_| not_found());
    let mut from = wanted.index.unwrap_or(0).min(shown.len());
    if let Some(after) = &wanted.after {
        from = place(after)?.saturating_add(1);
    }
    let mut upto = shown.len();
    if let Some(before) = wanted.before.as_deref().filter(|before| !before.is_empty()) {
        upto = place(before)?.max(from);
    }
    let most = wanted.max.unwrap_or(NODES_SHOWN).min(NODES_SHOWN);
    if wanted.before.is_some() {
        from = from.max(upto.saturating_sub(most));
    } else {
        upto = upto.min(from.saturating_add(most));
    }
    let page = shown.get(from..upto).unwrap_or_default();
    let ends = page.first().zip(page.last()).map(|((first, _), (last, _))| (first.as_str(), last.as_str()));
    let count = |count: usize| u64::try_from(count).ok();
    let set = Page { ends, index: count(from), count: count(shown.len()) };
    let is_paged = *wanted != Wanted::default() || page.len() < shown.len();
    let items = page.iter().map(|(name, node)| node_item(account, name, node)).collect();
    Ok((items, is_paged.then(|| set.to_element())))
}

/// §5.3 and §5.4: what a node is.
///
/// # Errors
///
/// There is no such node, or who asks may not read it.
pub(crate) fn node_info(account: &Account, who: &BareJid, name: &str) -> Result<Element, StanzaError> {
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    sees(account, &node.meta, who)?;
    let identity =
        Element::builder("identity", NS_INFO).attr("category", "pubsub").attr("type", "leaf").build();
    let feature = Element::builder("feature", NS_INFO).attr("var", NS).build();
    let query = Element::builder("query", NS_INFO).attr("node", name).child(identity).child(feature);
    Ok(query.child(meta_data(account, &node.meta)).build())
}

fn meta_data(account: &Account, meta: &Meta) -> Element {
    let config = &meta.config;
    let of = |wanted: Affiliation| {
        let found = meta.affiliations.iter().filter(move |(_, affiliation)| **affiliation == wanted);
        found.map(|(jid, _)| jid.as_str())
    };
    let account_itself = Some(account.jid()).filter(|jid| !is_service(jid)).map(BareJid::as_str);
    let owners = account_itself.into_iter().chain(of(Affiliation::Owner));
    let subscribers = meta.subscriptions.values().filter(|found| found.state == State::Subscribed).count();
    let max_items =
        if config.max_items == ITEMS_MAX { "max".to_owned() } else { config.max_items.to_string() };
    let text =
        |name: &str, value: &str| (!value.is_empty()).then(|| forms::field(name, "text-single", [value]));
    let fields = [
        text("pubsub#type", &config.kind),
        Some(forms::field("pubsub#creator", "jid-single", [meta.creator.as_str()])),
        text("pubsub#creation_date", &format_utc(meta.created)),
        text("pubsub#title", &config.title),
        text("pubsub#description", &config.description),
        text("pubsub#language", &config.language),
        Some(forms::field("pubsub#contact", "jid-multi", config.contact.iter().map(String::as_str)))
            .filter(|_| !config.contact.is_empty()),
        Some(forms::field("pubsub#access_model", "list-single", [config.access_model.as_str()])),
        Some(forms::field("pubsub#publish_model", "list-single", [config.publish_model.as_str()])),
        text("pubsub#max_items", &max_items),
        Some(forms::field("pubsub#owner", "jid-multi", owners)),
        Some(forms::field("pubsub#publisher", "jid-multi", of(Affiliation::Publisher))),
        text("pubsub#num_subscribers", &subscribers.to_string()),
    ];
    forms::form("result", NS_META_DATA).children(fields.into_iter().flatten()).build()
}

/// §5.5: the items of a node.
///
/// # Errors
///
/// There is no such node, or who asks may not read it.
pub(crate) async fn node_items(request: &Request, name: &str) -> Result<Element, StanzaError> {
    let cell = request.account.as_ref().ok_or_else(not_found)?;
    let ticket = {
        let account = cell.lock();
        let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
        access::may_read(&account, &node.meta, &request.from().to_bare())?;
        account.last_ticket()
    };
    request.hub.store.wait(ticket).await;
    let query = ItemQuery { limit: 1_000, without_payloads: true, from_end: true, ..ItemQuery::default() };
    let items = request.hub.store.items(cell.id, name, &query).await?.items;
    let items = items.iter().map(|item| {
        let found = Element::builder("item", NS_ITEMS).attr("jid", cell.jid.as_str());
        found.attr("name", item.id.as_str()).build()
    });
    Ok(Element::builder("query", NS_ITEMS).attr("node", name).children(items).build())
}
