//! Presence subscriptions: the state machine of RFC 6121 §3 and Appendix A, pre-approval included.
//!
//! Everything is seen from one side, the *user* whose roster it is; the other side is the *contact*.
//! The functions are pure: they say what the new state is and what is due, and do nothing themselves.

/// Who receives whose presence, as a roster item shows it (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither.
    #[default]
    None,
    /// The user receives the contact's presence.
    To,
    /// The contact receives the user's presence.
    From,
    /// Each receives the other's.
    Both,
}

impl Subscription {
    /// The value of the attribute `subscription`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::To => "to",
            Self::From => "from",
            Self::Both => "both",
        }
    }

    /// Reads the attribute `subscription`. `remove` is a request and no state: it gives `None`.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::None, Self::To, Self::From, Self::Both].into_iter().find(|state| state.as_str() == value)
    }

    /// Whether the user receives the contact's presence.
    pub fn has_to(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// Whether the contact receives the user's presence.
    pub fn has_from(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }

    fn of(to: bool, from: bool) -> Self {
        match (to, from) {
            (false, false) => Self::None,
            (true, false) => Self::To,
            (false, true) => Self::From,
            (true, true) => Self::Both,
        }
    }
}

/// The four kinds of presence that change a subscription (RFC 6121 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionKind {
    /// The sender asks to receive the other's presence.
    Subscribe,
    /// The sender grants it, asked or (pre-approval, §3.4) unasked.
    Subscribed,
    /// The sender no longer wants it.
    Unsubscribe,
    /// The sender refuses it, or takes it back.
    Unsubscribed,
}

impl SubscriptionKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Subscribed, Self::Unsubscribe, Self::Unsubscribed];

    /// The value of the attribute `type` of `<presence/>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    /// Reads the attribute `type`; `None` for presence of another kind.
    pub fn parse(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == value)
    }
}

/// One of the nine states of Appendix A.1, and whether a request is approved in advance (§3.4). The
/// default is "None", which is also the state of everyone who is not in the roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionState {
    /// What is agreed.
    pub subscription: Subscription,
    /// The user asked and has no answer: `ask='subscribe'` in the roster.
    pub pending_out: bool,
    /// The contact asked and has no answer. Not shown in the roster, and no reason for a roster item.
    pub pending_in: bool,
    /// The contact's next request is granted at once: `approved='true'` in the roster. Kept after that
    /// request, until the user sends `unsubscribed` or removes the item (§3.4.2 leaves the choice).
    pub approved: bool,
}

impl SubscriptionState {
    /// Whether this is one of the nine states: what is granted is not pending as well.
    pub fn is_legal(self) -> bool {
        self == self.legal()
    }

    /// Whether a roster item shows both states alike: it says nothing of a request of the contact.
    pub fn shows_like(self, other: Self) -> bool {
        Self { pending_in: false, ..self } == Self { pending_in: false, ..other }
    }

    /// The nearest legal state: what is granted is not pending as well.
    fn legal(self) -> Self {
        Self {
            pending_out: self.pending_out && !self.subscription.has_to(),
            pending_in: self.pending_in && !self.subscription.has_from(),
            ..self
        }
    }

    fn with_to(self, to: bool) -> Self {
        let subscription = Subscription::of(to, self.subscription.has_from());
        Self { subscription, pending_out: false, ..self }
    }

    fn with_from(self, from: bool) -> Self {
        let subscription = Subscription::of(self.subscription.has_to(), from);
        Self { subscription, pending_in: false, ..self }
    }
}

/// What the contact must be told about the user's available resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// Nothing: the contact's right to see them is as before.
    #[default]
    Nothing,
    /// Their current presence, after the `subscribed` (§3.1.5).
    Available,
    /// `unavailable` from each, before the `unsubscribed` (§3.2.2, §3.3.3).
    Unavailable,
}

/// What a subscription stanza causes on the user's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state to store.
    pub state: SubscriptionState,
    /// Outbound: stamp the stanza with the user's bare address and route it to the contact's.
    pub route: bool,
    /// Inbound: deliver the stanza to the user's resources, before any roster push. A `subscribe` is
    /// also kept, and delivered again to each new resource while `state.pending_in` (§3.1.3).
    pub deliver: bool,
    /// The roster item changed: store it (creating it where it is missing) and push it.
    pub push: bool,
    /// Inbound: answer the contact from the user's bare address.
    pub auto_reply: Option<SubscriptionKind>,
    /// Presence that is due to the contact along with it.
    pub announce: Announce,
}

impl Outcome {
    /// Nothing but the new state, and the push where that shows in the roster.
    pub(crate) fn change(before: SubscriptionState, state: SubscriptionState) -> Self {
        Self {
            state,
            route: false,
            deliver: false,
            push: !state.shows_like(before),
            auto_reply: None,
            announce: Announce::Nothing,
        }
    }
}

/// The user sends a subscription stanza to the contact (RFC 6121 §3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2 and
/// Appendix A.2).
pub fn outbound(state: SubscriptionState, kind: SubscriptionKind) -> Outcome {
    let state = state.legal();
    let had_from = state.subscription.has_from();
    let unchanged = Outcome::change(state, state);
    match kind {
        // A.2.1: always routed, so that a contact who lost our request gets it again.
        SubscriptionKind::Subscribe => {
            let asking = SubscriptionState { pending_out: !state.subscription.has_to(), ..state };
            Outcome { route: true, ..Outcome::change(state, asking) }
        }
        // A.2.2: always routed, for the same reason.
        SubscriptionKind::Unsubscribe => {
            Outcome { route: true, ..Outcome::change(state, state.with_to(false)) }
        }
        // A.2.3
        SubscriptionKind::Subscribed if state.pending_in => Outcome {
            route: true,
            announce: Announce::Available,
            ..Outcome::change(state, state.with_from(true))
        },
        SubscriptionKind::Subscribed if had_from => unchanged,
        SubscriptionKind::Subscribed => Outcome::change(state, SubscriptionState { approved: true, ..state }),
        // A.2.4: it also takes back an approval in advance (§3.2.2), which the contact never saw.
        SubscriptionKind::Unsubscribed => Outcome {
            route: had_from || state.pending_in,
            announce: if had_from { Announce::Unavailable } else { Announce::Nothing },
            ..Outcome::change(state, SubscriptionState { approved: false, ..state.with_from(false) })
        },
    }
}

/// A subscription stanza of the contact reaches the user (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3 and
/// Appendix A.3).
pub fn inbound(state: SubscriptionState, kind: SubscriptionKind) -> Outcome {
    let state = state.legal();
    let had_from = state.subscription.has_from();
    let unchanged = Outcome::change(state, state);
    match kind {
        // A.3.1: who is subscribed already, or approved in advance, is answered without asking the user.
        SubscriptionKind::Subscribe if had_from || state.approved => Outcome {
            auto_reply: Some(SubscriptionKind::Subscribed),
            announce: Announce::Available,
            ..Outcome::change(state, state.with_from(true))
        },
        SubscriptionKind::Subscribe if state.pending_in => unchanged,
        SubscriptionKind::Subscribe => {
            let asked = SubscriptionState { pending_in: true, ..state };
            Outcome { deliver: true, ..Outcome::change(state, asked) }
        }
        // A.3.2
        SubscriptionKind::Unsubscribe if had_from || state.pending_in => Outcome {
            deliver: true,
            auto_reply: Some(SubscriptionKind::Unsubscribed),
            announce: if had_from { Announce::Unavailable } else { Announce::Nothing },
            ..Outcome::change(state, state.with_from(false))
        },
        // A.3.3
        SubscriptionKind::Subscribed if state.pending_out => {
            Outcome { deliver: true, ..Outcome::change(state, state.with_to(true)) }
        }
        // A.3.4
        SubscriptionKind::Unsubscribed if state.pending_out || state.subscription.has_to() => {
            Outcome { deliver: true, ..Outcome::change(state, state.with_to(false)) }
        }
        SubscriptionKind::Unsubscribe | SubscriptionKind::Subscribed | SubscriptionKind::Unsubscribed => {
            unchanged
        }
    }
}

/// What the removal of a roster item causes (RFC 6121 §2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What stays behind without a roster item: a request of the contact waits for its answer.
    pub state: SubscriptionState,
    /// The stanzas to stamp with the user's bare address and route to the contact, in this order.
    pub send: &'static [SubscriptionKind],
    /// `unavailable` is due before the `unsubscribed`, as in any cancellation.
    pub announce: Announce,
}

/// The user removes the contact from the roster. A request of the user's that has no answer yet is taken
/// back like a subscription: otherwise a late answer would leave the contact alone with it.
pub fn remove(state: SubscriptionState) -> Removal {
    use SubscriptionKind::{Unsubscribe, Unsubscribed};

    let state = state.legal();
    let has_from = state.subscription.has_from();
    let send: &'static [SubscriptionKind] = match (state.subscription.has_to() || state.pending_out, has_from)
    {
        (false, false) => &[],
        (true, false) => &[Unsubscribe],
        (false, true) => &[Unsubscribed],
        (true, true) => &[Unsubscribe, Unsubscribed],
    };
    Removal {
        state: SubscriptionState { pending_in: state.pending_in, ..SubscriptionState::default() },
        send,
        announce: if has_from { Announce::Unavailable } else { Announce::Nothing },
    }
}

/// What the contact is told when the user's account is removed: nothing stays agreed, and what waits has its answer.
pub fn leave(state: SubscriptionState) -> &'static [SubscriptionKind] {
    let removal = remove(state);
    match removal.send {
        [] if state.pending_in => &[SubscriptionKind::Unsubscribed],
        [SubscriptionKind::Unsubscribe] if state.pending_in => {
            &[SubscriptionKind::Unsubscribe, SubscriptionKind::Unsubscribed]
        }
        send => send,
    }
}

#[cfg(test)]
mod tests;
