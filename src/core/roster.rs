//! Rosters (RFC 6121 §2).

use compact_str::CompactString;
use unisono_xml::Element;

use crate::account::{Account, ROSTER_FLOOR};
use crate::error::{Condition, StanzaError};
use crate::extension::{Answer, Entity, Registry, Reply, Request};
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::{BareJid, Jid};
use crate::outbox::Entry;
use crate::presence::Who;
use crate::stanza::{IqType, NS_CLIENT};
use crate::storage::Write;
use crate::subscription::SubscriptionState;

pub const NS: &str = "jabber:iq:roster";
/// The stream feature of RFC 6121 §2.6.1.
pub const NS_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// The stream feature of RFC 6121 §3.4.1.
pub const NS_PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";

/// Contacts of one account, removed ones not counted.
pub const ITEMS_MAX: usize = 5_000;
/// Bytes of the addresses, names and groups of all contacts of one account.
pub const BYTES_MAX: usize = 1024 * 1024;
/// Removed contacts that are remembered for devices with an older roster. Who has one that is older still gets all of
/// it (RFC 6121 §2.6.3).
const REMOVED_MAX: usize = 200;
/// Bytes of a contact's name, and of a group's (RFC 6121 §2.1.2.4 leaves the limit to the server).
pub const NAME_BYTES_MAX: usize = 1_023;
/// Groups of one contact.
pub const GROUPS_MAX: usize = 100;

/// One contact, or the mark that there was one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RosterItem {
    pub jid: BareJid,
    pub name: Option<String>,
    /// Without repetitions.
    pub groups: Vec<CompactString>,
    pub state: SubscriptionState,
    /// The roster's version when the item last changed.
    pub version: i64,
    /// Clients do not see the item. It was removed, and stays so that devices with an older roster learn of it (RFC 6121
    /// §2.6.3).
    pub removed: bool,
}

impl RosterItem {
    /// A contact without a name, a group or a subscription.
    pub fn new(jid: BareJid) -> Self {
        Self {
            jid,
            name: None,
            groups: Vec::new(),
            state: SubscriptionState::default(),
            version: 0,
            removed: false,
        }
    }

    /// What it takes of [`BYTES_MAX`].
    fn bytes(&self) -> usize {
        let name = self.name.as_ref().map_or(0, String::len);
        let labels = self.groups.iter().map(CompactString::len).fold(name, usize::saturating_add);
        self.jid.as_str().len().saturating_add(labels)
    }

    /// The `<item/>` of results and pushes.
    pub fn to_element(&self) -> Element {
        let item = Element::builder("item", NS).attr("jid", self.jid.as_str());
        if self.removed {
            return item.attr("subscription", "remove").build();
        }
        item.attr_opt("name", self.name.as_deref())
            .attr("subscription", self.state.subscription.as_str())
            .attr_opt("ask", self.state.pending_out.then_some("subscribe"))
            .attr_opt("approved", self.state.approved.then_some("true"))
            .children(
                self.groups.iter().map(|group| Element::builder("group", NS).text(group.as_str()).build()),
            )
            .build()
    }
}

/// Hangs the roster's requests up.
pub(crate) fn register(on: &mut Registry) {
    on.iq(Entity::OwnAccount, IqType::Get, (NS, "query"), get);
    on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "query"), |request| Box::pin(set(request)));
    // §2.3.3: nobody else's roster.
    on.forbid_others((NS, "query"));
    on.feature(Entity::Server, NS);
    on.stream_feature(|_| Element::new("ver", NS_VERSIONING));
    on.stream_feature(|_| Element::new("sub", NS_PRE_APPROVAL));
}

/// RFC 6121 §2.1.3 and §2.6.2: the whole roster, or what changed since the device's version.
fn get(request: &Request) -> Answer {
    if request.session.is_none() {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    let known = request.payload.attr("ver").map(str::to_owned);
    let hub = request.hub.clone();
    Ok(Reply::locked(move |account, session| {
        let Some(session) = account.session_mut(session) else { return Ok(Reply::empty()) };
        session.interested = true;
        let to = session.jid.clone();
        let since = known.and_then(|ver| hub.ids.open(&ver)).filter(|(_, whose)| *whose == account.id.0);
        let is_known = |ver: &i64| (account.roster_floor..=account.roster_version).contains(ver);
        let Some(since) = since.map(|(ver, _)| ver).filter(is_known) else {
            let items = account.roster.values().filter(|item| !item.removed).map(RosterItem::to_element);
            let ver = version(&hub, account, account.roster_version);
            let query = Element::builder("query", NS).attr("ver", ver);
            return Ok(Reply::with(query.children(items).build()).after(account.last_ticket));
        };
        // An empty result, and pushes for all that changed.
        let mut changed: Vec<_> = account.roster.values().filter(|item| item.version > since).collect();
        changed.sort_by_key(|item| item.version);
        let pushes = changed.into_iter().map(|item| crate::outbox::Item::Stanza {
            element: push(&hub, account, item),
            to: Some(to.clone()),
        });
        let after = pushes.collect();
        Ok(Reply { after, ..Reply::empty() }.after(account.last_ticket))
    }))
}

/// RFC 6121 §2.1.5: adds, changes or removes one contact.
async fn set(request: Request) -> Answer {
    let Some(origin) = &request.session else { return Err(StanzaError::new(Condition::Forbidden)) };
    let bad = || StanzaError::new(Condition::BadRequest);
    let query = request.iq.payload.in_ns(NS).ok_or_else(bad)?;
    let mut items = query.children().filter(|child| child.is("item", NS));
    // §2.3.3: exactly one item, with an address.
    let (Some(wanted), None) = (items.next(), items.next()) else { return Err(bad()) };
    let jid = wanted.attr("jid").ok_or_else(bad)?.parse::<Jid>();
    let jid = jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?.to_bare();
    if wanted.attr("subscription") == Some("remove") {
        let contact = request.hub.account(&jid).await?;
        let ticket =
            request.hub.agree(&origin.cell, &jid, contact.as_ref(), |deal| deal.remove(Who::User))?;
        return Ok(Reply::empty().after(ticket));
    }
    let (name, groups) = labels(wanted)?;
    let mut account = origin.cell.lock();
    if jid == account.jid {
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    let known = account.roster.get(&jid).cloned().unwrap_or_else(|| RosterItem::new(jid));
    // The subscription is the server's to change (§2.1.2.5).
    let item = RosterItem { name, groups, removed: false, ..known };
    if !account.has_room_for(&item) {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    let ticket = request.hub.store_and_push(&mut account, item);
    Ok(Reply::empty().after(ticket))
}

/// Name and groups of an item that a client sets (§2.3.3: each group once, not empty, not too long).
fn labels(item: &Element) -> Result<(Option<String>, Vec<CompactString>), StanzaError> {
    let not_acceptable = || StanzaError::new(Condition::NotAcceptable);
    let name = item.attr("name").filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(not_acceptable());
    }
    let mut groups: Vec<CompactString> = Vec::new();
    for group in item.children().filter(|child| child.is("group", NS)) {
        let group = CompactString::from(group.text());
        if group.is_empty() || group.len() > NAME_BYTES_MAX || groups.len() >= GROUPS_MAX {
            return Err(not_acceptable());
        }
        if groups.contains(&group) {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        groups.push(group);
    }
    Ok((name.map(str::to_owned), groups))
}

impl Account {
    /// Whether the roster can hold this contact as well, or with this name and these groups.
    pub(crate) fn has_room_for(&self, item: &RosterItem) -> bool {
        let others = self.roster.values().filter(|other| !other.removed && other.jid != item.jid);
        let (count, bytes) = others.fold((0_usize, item.bytes()), |(count, bytes), other| {
            (count.saturating_add(1), bytes.saturating_add(other.bytes()))
        });
        count < ITEMS_MAX && bytes <= BYTES_MAX
    }

    /// Forgets the older half of the removed contacts when there are too many. Who has the roster as it was before gets
    /// all of it.
    fn forget_removed(&mut self, writes: &mut Vec<Write>) {
        let removed = self.roster.values().filter(|item| item.removed);
        let mut removed: Vec<_> = removed.map(|item| (item.version, item.jid.clone())).collect();
        if removed.len() <= REMOVED_MAX {
            return;
        }
        removed.sort_unstable();
        removed.truncate(REMOVED_MAX / 2);
        for (version, jid) in removed {
            self.roster_floor = self.roster_floor.max(version);
            self.roster.remove(&jid);
            writes.push(Write::RosterItemForgotten { account: self.id, jid });
        }
        writes.push(Write::Document {
            account: self.id,
            kind: CompactString::const_new(ROSTER_FLOOR),
            key: CompactString::default(),
            value: Some(self.roster_floor.to_string()),
        });
    }
}

/// Takes a changed item over, under a new version (§2.1.6). Returns what has to be stored, and the push for all devices
/// that asked for the roster.
pub(crate) fn put(hub: &Hub, account: &mut Account, mut item: RosterItem) -> (Vec<Write>, Element) {
    account.roster_version = account.roster_version.saturating_add(1);
    item.version = account.roster_version;
    let element = push(hub, account, &item);
    let is_removal = item.removed;
    let mut writes = vec![Write::RosterItem { account: account.id, item: item.clone() }];
    account.roster.insert(item.jid.clone(), item);
    if is_removal {
        account.forget_removed(&mut writes);
    }
    (writes, element)
}

/// The version of an account's roster on the wire. It names the account, so that nobody takes the roster of an older
/// account of the same name for an older version of this one.
fn version(hub: &Hub, account: &Account, version: i64) -> CompactString {
    hub.ids.seal(version, account.id.0)
}

impl Hub {
    /// Stores a changed item and pushes it.
    fn store_and_push(&self, account: &mut Account, item: RosterItem) -> Ticket {
        let (writes, element) = put(self, account, item);
        let ticket = self.commit(account, writes);
        for session in account.sessions.iter_mut().filter(|session| session.interested) {
            let to = Some(session.jid.clone());
            let item = crate::outbox::Item::Stanza { element: element.clone(), to };
            session.queue(Entry::new(item, ticket), &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
        ticket
    }

    /// Tells all devices of an account that follow a matter. Each gets its own address and an id.
    pub fn push_to_followers(&self, account: &mut Account, ns: &str, iq: &Element, ticket: Ticket) {
        let iq = iq.to_builder().attr("id", format!("push-{}", self.draw_id())).build();
        for session in account.sessions.iter_mut().filter(|session| session.follows(ns)) {
            let item = crate::outbox::Item::Stanza { element: iq.clone(), to: Some(session.jid.clone()) };
            session.queue(Entry::new(item, ticket), &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
    }
}

/// The push of one item.
fn push(hub: &Hub, account: &Account, item: &RosterItem) -> Element {
    let ver = version(hub, account, item.version);
    let query = Element::builder("query", NS).attr("ver", ver).child(item.to_element()).build();
    Element::builder("iq", NS_CLIENT)
        .attr("type", "set")
        .attr("id", format!("push-{}", hub.draw_id()))
        .child(query)
        .build()
}
