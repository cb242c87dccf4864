//! What a user and a contact agree on: the state machines of both sides, each fed with what the other sends. All that
//! changes is one commit, and what devices learn of it waits behind that commit, so the two rosters never differ.

use unisono_xml::Element;

use super::pair::empty;
use super::{News, element_of};
use crate::account::Account;
use crate::error::{Condition, StanzaError};
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::{SessionId, Ticket};
use crate::jid::{BareJid, Jid};
use crate::outbox::{Entry, Item};
use crate::roster::{self, RosterItem};
use crate::stanza::{CLIENT_SCOPE, NS_CLIENT, Presence, PresenceType, Stanza};
use crate::storage::{Commit, Write};
use crate::subscription::{self, Announce, Outcome, Removal, SubscriptionKind, SubscriptionState};

/// Requests to subscribe that wait for one user (RFC 6121 §3.1.3, security warning).
const REQUESTS_MAX: usize = 100;

/// One of the two sides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Who acts.
    User,
    Contact,
}

impl Who {
    fn other(self) -> Self {
        match self {
            Self::User => Self::Contact,
            Self::Contact => Self::User,
        }
    }
}

/// A side: its address, and its account if it has one here.
struct Party<'a> {
    jid: BareJid,
    account: Option<&'a mut Account>,
}

/// A stanza for devices of one side.
struct Due {
    who: Who,
    sessions: Vec<SessionId>,
    element: Element,
    /// Whether each device is addressed by its own name.
    is_push: bool,
}

/// The two sides under lock, what has changed so far, and what their devices are due.
pub(crate) struct Deal<'a> {
    hub: &'a Hub,
    user: Party<'a>,
    contact: Party<'a>,
    /// The contact's account is being removed.
    contact_leaves: bool,
    writes: Vec<Write>,
    due: Vec<Due>,
    /// Stanzas for a side that is of another domain.
    away: Vec<(Jid, Element)>,
}

impl<'a> Deal<'a> {
    pub(super) fn new(
        hub: &'a Hub,
        user: &'a mut Account,
        contact: &BareJid,
        account: Option<&'a mut Account>,
    ) -> Self {
        let user = Party { jid: user.jid.clone(), account: Some(user) };
        let contact = Party { jid: contact.clone(), account };
        let contact_leaves = false;
        Self { hub, user, contact, contact_leaves, writes: Vec::new(), due: Vec::new(), away: Vec::new() }
    }

    /// The same with a contact that is being removed, to whom nothing can be agreed beforehand.
    pub(super) fn with_leaving_contact(self) -> Self {
        Self { contact_leaves: true, ..self }
    }

    /// One side sends the other a subscription stanza (§3, outbound).
    ///
    /// # Errors
    ///
    /// `resource-constraint` if a roster is full, or too many wait for the other's answer already. Nothing has changed
    /// then.
    pub(crate) fn send(
        &mut self,
        who: Who,
        kind: SubscriptionKind,
        sent: &Presence,
    ) -> Result<(), StanzaError> {
        let outcome = subscription::outbound(self.state(who), kind);
        if self.contact_leaves && outcome.state.approved {
            return Ok(());
        }
        let has_room =
            self.has_room_for(who, &outcome) && (!outcome.route || self.may_ask(who.other(), kind));
        if !has_room {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        self.set(who, &outcome, None);
        if outcome.announce == Announce::Unavailable {
            self.announce(who, outcome.announce);
        }
        if outcome.route {
            self.receive(who.other(), kind, Some(sent));
        }
        if outcome.announce == Announce::Available {
            self.announce(who, outcome.announce);
        }
        Ok(())
    }

    /// A subscription stanza reaches one side (§3, inbound).
    pub(crate) fn receive(&mut self, who: Who, kind: SubscriptionKind, sent: Option<&Presence>) {
        if self.is_away(who) {
            let (from, to) = (&self.party(who.other()).jid, self.party(who).jid.clone());
            let element = match sent {
                Some(sent) => element_of(sent, from.as_str(), Some(to.as_str())),
                None => plain(kind, from, &to),
            };
            self.away.push((to.into(), element));
            return;
        }
        // XEP-0191 §3.3: a request of somebody blocked does not come to pass. What is taken back or granted changes both
        // rosters all the same, though no device sees the stanza.
        if self.account(who).is_none() || (kind == SubscriptionKind::Subscribe && !self.is_open(who, kind)) {
            return;
        }
        let outcome = subscription::inbound(self.state(who), kind);
        let (from, to) = (&self.party(who.other()).jid, &self.party(who).jid);
        let element = match sent {
            Some(sent) => element_of(sent, from.as_str(), Some(to.as_str())),
            None => plain(kind, from, to),
        };
        if outcome.deliver {
            // §3.1.6: before the push.
            self.deliver(who, kind, element.clone());
        }
        self.set(who, &outcome, Some(&element));
        if outcome.announce == Announce::Unavailable {
            self.announce(who, outcome.announce);
        }
        if let Some(reply) = outcome.auto_reply {
            self.receive(who.other(), reply, None);
        }
        if outcome.announce == Announce::Available {
            self.announce(who, outcome.announce);
        }
    }

    /// One side takes the other out of its roster (§2.5.2).
    ///
    /// # Errors
    ///
    /// `item-not-found` if it is not in there.
    pub(crate) fn remove(&mut self, who: Who) -> Result<(), StanzaError> {
        let peer = self.party(who.other()).jid.clone();
        if self.account(who).is_none_or(|account| account.contact(&peer).is_none()) {
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        let removal = subscription::remove(self.state(who));
        if removal.announce == Announce::Unavailable {
            self.announce(who, removal.announce);
        }
        self.store_and_push(who, RosterItem { removed: true, ..RosterItem::new(peer) });
        self.withdraw(who, &removal);
        Ok(())
    }

    /// What the other side learns of a removal.
    fn withdraw(&mut self, who: Who, removal: &Removal) {
        for kind in removal.send {
            self.receive(who.other(), *kind, None);
        }
    }

    /// One side is there no longer: the other keeps nothing that was agreed, nor to be agreed.
    pub(super) fn leave(&mut self, who: Who) {
        for kind in subscription::leave(self.state(who)) {
            self.receive(who.other(), *kind, None);
        }
        self.take_approval_back(who.other());
    }

    /// Whether both sides have accounts here.
    pub(super) fn is_between_two(&self) -> bool {
        self.user.account.is_some() && self.contact.account.is_some()
    }

    /// Adds to the commit.
    pub(super) fn also(&mut self, writes: Vec<Write>) {
        self.writes.extend(writes);
    }

    /// Whether one side has agreed beforehand to a request of the other (§3.4).
    pub(super) fn is_approved(&self, who: Who) -> bool {
        self.state(who).approved
    }

    /// One side has agreed to nothing beforehand. Its devices are told what stands at the end, and not what led to it.
    pub(super) fn take_approval_back(&mut self, who: Who) {
        let before = self.state(who);
        if !before.approved {
            return;
        }
        self.due.retain(|due| !(due.is_push && due.who == who));
        let after = SubscriptionState { approved: false, ..before };
        self.set(who, &Outcome::change(before, after), None);
    }

    /// Whether the roster of one side has or could have the other.
    pub(super) fn has_room(&self, who: Who) -> bool {
        let peer = &self.party(who.other()).jid;
        let has_room = |account: &Account| {
            account.contact(peer).is_some() || account.has_room_for(&RosterItem::new(peer.clone()))
        };
        self.account(who).is_none_or(has_room)
    }

    /// Hands all changes to the journal, and queues behind them what devices are due.
    pub(super) fn close(mut self) -> Ticket {
        let mut ticket = Ticket::NONE;
        if !self.writes.is_empty() {
            let accounts = [self.account(Who::User), self.account(Who::Contact)];
            let wake = accounts.into_iter().flatten().flat_map(Account::wakers).collect();
            ticket = self.hub.store.submit(Commit { writes: std::mem::take(&mut self.writes), wake });
        }
        let hub = self.hub;
        for (to, element) in std::mem::take(&mut self.away) {
            hub.send_away(&to, &element, ticket);
        }
        for who in [Who::User, Who::Contact] {
            let due = std::mem::take(&mut self.due);
            let (own, others) = due.into_iter().partition(|due| due.who == who);
            self.due = others;
            let Some(account) = self.account_mut(who) else { continue };
            if ticket != Ticket::NONE {
                account.submitted(ticket);
            }
            account.touched = hub.clock.elapsed();
            queue(hub, account, own, ticket);
        }
        ticket
    }

    /// Whether a stanza from another domain finds room.
    pub(super) fn may_receive(&self, kind: SubscriptionKind) -> bool {
        self.may_ask(Who::User, kind)
    }

    /// Whether one side is of another domain.
    fn is_away(&self, who: Who) -> bool {
        self.account(who).is_none() && !self.hub.serves(self.party(who).jid.domain())
    }

    /// Whether the roster of one side holds what is new in it.
    fn has_room_for(&self, who: Who, outcome: &Outcome) -> bool {
        !outcome.push || self.has_room(who)
    }

    /// Whether one side can be asked: what a request leaves behind is bounded.
    fn may_ask(&self, who: Who, kind: SubscriptionKind) -> bool {
        let Some(account) = self.account(who).filter(|_| kind == SubscriptionKind::Subscribe) else {
            return true;
        };
        let asked = subscription::inbound(self.state(who), kind).state.pending_in;
        !asked
            || account.requests.contains_key(&self.party(who.other()).jid)
            || account.requests.len() < REQUESTS_MAX
            || !self.is_open(who, kind)
    }

    /// Whether neither side keeps the other's stanzas from coming.
    fn is_open(&self, who: Who, kind: SubscriptionKind) -> bool {
        self.passes(who, kind, &self.party(who).jid.clone().into())
    }

    fn passes(&self, who: Who, kind: SubscriptionKind, to: &Jid) -> bool {
        let from = Jid::from(self.party(who.other()).jid.clone());
        let kind = PresenceType::parse(kind.as_str()).unwrap_or(PresenceType::Error);
        let stanza = empty(from, to.clone(), kind);
        let admits = |account: Option<&Account>, side: Side, stanza: &Stanza| {
            account.is_none_or(|account| self.hub.admits(stanza, account, side).is_ok())
        };
        admits(self.account(who.other()), Side::Sender, &stanza)
            && admits(self.account(who), Side::Recipient, &stanza)
    }

    /// Delivers a subscription stanza: requests to who can answer them (§3.1.3), the rest to those who get the push that
    /// follows from it (§3.1.6, §3.2.3, §3.3.3).
    fn deliver(&mut self, who: Who, kind: SubscriptionKind, element: Element) {
        let Some(account) = self.account(who) else { return };
        let meant = account.sessions.iter().filter(|session| match kind {
            SubscriptionKind::Subscribe => session.is_available(),
            SubscriptionKind::Subscribed | SubscriptionKind::Unsubscribe | SubscriptionKind::Unsubscribed => {
                session.is_interested()
            }
        });
        let meant = meant.filter(|session| self.passes(who, kind, &session.jid.clone().into()));
        let sessions = meant.map(|session| session.id).collect();
        self.due.push(Due { who, sessions, element, is_push: false });
    }

    /// The other side gains or loses the sight of one side's devices.
    fn announce(&mut self, who: Who, announce: Announce) {
        let to = Jid::from(self.party(who.other()).jid.clone());
        let Some(seen) = self.account(who) else { return };
        if self.is_away(who.other()) {
            let told = self.hub.news(seen).into_iter();
            let told =
                told.map(|news| if announce == Announce::Available { news } else { News::gone(&news.from) });
            let stanzas =
                told.map(|news| (to.clone(), news.element.to_builder().attr("to", to.as_str()).build()));
            let stanzas: Vec<_> = stanzas.collect();
            self.away.extend(stanzas);
            return;
        }
        let mut due = Vec::new();
        for news in self.hub.news(seen) {
            let news = if announce == Announce::Available { news } else { News::gone(&news.from) };
            let from = Jid::from(news.from);
            let Some(viewer) = self.account(who.other()) else { break };
            let sessions = self.hub.reached(seen, viewer, &from, news.kind, None);
            let element = news.element.to_builder().attr("to", to.as_str()).build();
            due.push(Due { who: who.other(), sessions, element, is_push: false });
        }
        self.due.extend(due);
        let seen = self.party(who).jid.clone();
        if announce == Announce::Available
            && let Some(viewer) = self.account_mut(who.other())
        {
            viewer.comes_to_see(&seen, |_| true);
        }
        if announce == Announce::Unavailable
            && let Some(seen) = self.account_mut(who)
        {
            // They were told; nothing is left of what a device may have shown them besides.
            let told = to.to_bare();
            seen.sessions.iter_mut().for_each(|session| session.directed.retain(|jid| jid.to_bare() != told));
        }
    }

    /// Takes a new state over.
    fn set(&mut self, who: Who, outcome: &Outcome, stanza: Option<&Element>) {
        let before = self.state(who);
        let peer = self.party(who.other()).jid.clone();
        let Some(account) = self.account_mut(who) else { return };
        if before.pending_in != outcome.state.pending_in {
            let request =
                stanza.filter(|_| outcome.state.pending_in).map(|stanza| stanza.to_string_in(&CLIENT_SCOPE));
            let write = account.set_request(&peer, request);
            self.writes.push(write);
        }
        if outcome.push {
            let known = self.account(who).and_then(|account| account.roster.get(&peer).cloned());
            let known = known.unwrap_or_else(|| RosterItem::new(peer));
            let state = SubscriptionState { pending_in: false, ..outcome.state };
            self.store_and_push(who, RosterItem { state, removed: false, ..known });
        }
    }

    fn store_and_push(&mut self, who: Who, item: RosterItem) {
        let hub = self.hub;
        let Some(account) = self.account_mut(who) else { return };
        let (writes, element) = roster::put(hub, account, item);
        let sessions = account.sessions.iter().filter(|session| session.is_interested());
        let sessions = sessions.map(|session| session.id).collect();
        self.due.push(Due { who, sessions, element, is_push: true });
        self.writes.extend(writes);
    }

    fn state(&self, who: Who) -> SubscriptionState {
        let peer = &self.party(who.other()).jid;
        self.account(who).map(|account| account.subscription(peer)).unwrap_or_default()
    }

    fn party(&self, who: Who) -> &Party<'a> {
        match who {
            Who::User => &self.user,
            Who::Contact => &self.contact,
        }
    }

    fn account(&self, who: Who) -> Option<&Account> {
        self.party(who).account.as_deref()
    }

    fn account_mut(&mut self, who: Who) -> Option<&mut Account> {
        match who {
            Who::User => self.user.account.as_deref_mut(),
            Who::Contact => self.contact.account.as_deref_mut(),
        }
    }
}

fn queue(hub: &Hub, account: &mut Account, due: Vec<Due>, ticket: Ticket) {
    for Due { sessions, element, is_push, .. } in due {
        for id in sessions {
            let Some(session) = account.session_mut(id) else { continue };
            let to = is_push.then(|| session.jid.clone());
            let item = Item::Stanza { element: element.clone(), to };
            session.queue(Entry::new(item, ticket), &hub.registry.filter);
        }
    }
    hub.wake_if_durable(account, ticket);
}

/// A subscription stanza without content.
pub(super) fn plain(kind: SubscriptionKind, from: &BareJid, to: &BareJid) -> Element {
    Element::builder("presence", NS_CLIENT)
        .attr("from", from.as_str())
        .attr("to", to.as_str())
        .attr("type", kind.as_str())
        .build()
}
