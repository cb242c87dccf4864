//! §5.7 and §8.9: what people are to nodes.

use std::collections::BTreeSet;

use unisono_core::error::StanzaError;
use unisono_core::extension::{Answer, Reply};
use unisono_core::jid::BareJid;
use unisono_xml::Element;

use super::errors::{malformed, not_acceptable, not_found};
use super::node::{Affiliation, Meta, Node};
use super::{Ask, NS, NS_OWNER, access, change, manage};

/// §5.7: what who asks is to all nodes, or to one.
pub(super) fn own(ask: &Ask) -> Answer {
    let account = ask.cell.lock();
    if !access::knows_account(&account, &ask.who) {
        return Err(not_found());
    }
    let only = ask.action.attr("node").filter(|node| !node.is_empty());
    if only.is_some_and(|only| account.keyed::<Node>(only).is_none()) {
        return Err(not_found());
    }
    let nodes = account.all_keyed::<Node>().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let found = nodes.filter_map(|(name, node)| {
        let affiliation = access::affiliation(&account, &node.meta, &ask.who);
        (affiliation != Affiliation::None).then(|| {
            let found = Element::builder("affiliation", NS).attr("node", name.as_str());
            found.attr("affiliation", affiliation.as_str()).build()
        })
    });
    let found = Element::builder("affiliations", NS).attr_opt("node", only).children(found).build();
    Ok(Reply::with(Element::builder("pubsub", NS).child(found).build()).after(account.last_ticket()))
}

/// §8.9.1: who has one, for an owner.
pub(super) fn all(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let node = manage::owned(ask, &account, name)?;
    let element = |jid: &str, affiliation: Affiliation| {
        let found = Element::builder("affiliation", NS_OWNER).attr("jid", jid);
        found.attr("affiliation", affiliation.as_str()).build()
    };
    let others = node.meta.affiliations.iter().map(|(jid, affiliation)| element(jid.as_str(), *affiliation));
    let found = Element::builder("affiliations", NS_OWNER)
        .attr("node", name)
        .child(element(account.jid().as_str(), Affiliation::Owner))
        .children(others)
        .build();
    Ok(Reply::with(Element::builder("pubsub", NS_OWNER).child(found).build()).after(account.last_ticket()))
}

/// §8.9.2: an owner changes some, all of them or none.
pub(super) fn modify(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let wanted = wanted(&ask.action);
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let mut meta = Meta::clone(&manage::owned(ask, &account, name)?.meta);
    for (jid, affiliation) in wanted? {
        let Some(affiliation) = affiliation else { continue };
        if jid == *account.jid() && affiliation != Affiliation::Owner {
            return Err(not_acceptable("the account owns its nodes")); // §8.9.2.4
        }
        match affiliation {
            Affiliation::None => _ = meta.affiliations.remove(&jid),
            _ if jid == *account.jid() => {}
            Affiliation::Owner
            | Affiliation::Publisher
            | Affiliation::PublishOnly
            | Affiliation::Member
            | Affiliation::Outcast => _ = meta.affiliations.insert(jid.clone(), affiliation),
        }
        if affiliation == Affiliation::Outcast {
            // Who may not subscribe has no subscription.
            meta.subscriptions.retain(|subscriber, _| subscriber.to_bare() != jid);
        }
    }
    let mut writes = Vec::new();
    let was_private = change::is_private(&account, name);
    manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = hub.commit(&mut account, writes);
    let is_shown = change::is_shown(&account, name) && was_private != change::is_private(&account, name);
    drop(account);
    if is_shown {
        hub.show_again(&ask.cell, ticket);
    }
    Ok(Reply::empty().after(ticket))
}

type Wanted = Vec<(BareJid, Option<Affiliation>)>;

fn wanted(action: &Element) -> Result<Wanted, StanzaError> {
    let mut seen = BTreeSet::new();
    let entries = action.children().filter(|child| child.is("affiliation", NS_OWNER));
    let wanted: Result<Wanted, _> = entries
        .map(|entry| {
            let jid: BareJid = entry
                .attr("jid")
                .and_then(|jid| jid.parse().ok())
                .ok_or_else(|| malformed("an affiliation is that of a bare address"))?; // §4.1
            if !seen.insert(jid.clone()) {
                return Err(malformed("an address comes twice")); // §8.9.2.4
            }
            let affiliation = entry.attr("affiliation").map(|name| {
                Affiliation::parse(name).ok_or_else(|| not_acceptable("there is no such affiliation"))
            });
            Ok((jid, affiliation.transpose()?))
        })
        .collect();
    wanted.and_then(|wanted| if wanted.is_empty() { Err(malformed("nothing changes")) } else { Ok(wanted) })
}
