#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::{
    SubscriptionKind::{Subscribe, Subscribed, Unsubscribe, Unsubscribed},
    *,
};

/// The nine states of Appendix A.1, by their names there.
const NAMES: [&str; 9] = [
    "None",
    "None + Pending Out",
    "None + Pending In",
    "None + Pending Out+In",
    "To",
    "To + Pending In",
    "From",
    "From + Pending Out",
    "Both",
];

fn state(name: &str) -> SubscriptionState {
    assert!(NAMES.contains(&name), "{name}");
    let (subscription, pending) = name.split_once(" + Pending ").unwrap_or((name, ""));
    SubscriptionState {
        subscription: Subscription::parse(&subscription.to_lowercase()).unwrap(),
        pending_out: pending.contains("Out"),
        pending_in: pending.contains("In"),
        approved: false,
    }
}

fn approved(name: &str) -> SubscriptionState {
    SubscriptionState { approved: true, ..state(name) }
}

/// One row of a table of Appendix A: existing state, ROUTE or DELIVER, new state.
type Row = (&'static str, bool, &'static str);

const SAME: &str = "no state change";

/// Checks a table against `outcome`, once for each state; the approval in advance is as it was.
fn check(section: &str, rows: &[Row; 9], outcome: impl Fn(SubscriptionState) -> (bool, Outcome)) {
    assert_eq!(rows.map(|(name, ..)| name), NAMES, "{section}");
    for (existing, is_sent_on, new) in *rows {
        let new = if new == SAME { existing } else { new };
        let (sent_on, outcome) = outcome(state(existing));
        assert_eq!(outcome.state, state(new), "{section} {existing}");
        assert_eq!(sent_on, is_sent_on, "{section} {existing}");
        let before = state(existing);
        let shows = (before.subscription, before.pending_out)
            != (outcome.state.subscription, outcome.state.pending_out);
        assert_eq!(outcome.push, shows, "{section} {existing}");
    }
}

fn check_outbound(section: &str, kind: SubscriptionKind, rows: &[Row; 9]) {
    check(section, rows, |state| {
        let outcome = outbound(state, kind);
        assert!(!outcome.deliver && outcome.auto_reply.is_none(), "{section} {state:?}");
        (outcome.route, outcome)
    });
}

fn check_inbound(section: &str, kind: SubscriptionKind, rows: &[Row; 9]) {
    check(section, rows, |state| {
        let outcome = inbound(state, kind);
        assert!(!outcome.route, "{section} {state:?}");
        (outcome.deliver, outcome)
    });
}

#[test]
fn outbound_subscribe() {
    check_outbound(
        "A.2.1, table 2",
        Subscribe,
        &[
            ("None", true, "None + Pending Out"),
            ("None + Pending Out", true, SAME),
            ("None + Pending In", true, "None + Pending Out+In"),
            ("None + Pending Out+In", true, SAME),
            ("To", true, SAME),
            ("To + Pending In", true, SAME),
            ("From", true, "From + Pending Out"),
            ("From + Pending Out", true, SAME),
            ("Both", true, SAME),
        ],
    );
}

#[test]
fn outbound_unsubscribe() {
    check_outbound(
        "A.2.2, table 3",
        Unsubscribe,
        &[
            ("None", true, SAME),
            ("None + Pending Out", true, "None"),
            ("None + Pending In", true, SAME),
            ("None + Pending Out+In", true, "None + Pending In"),
            ("To", true, "None"),
            ("To + Pending In", true, "None + Pending In"),
            ("From", true, SAME),
            ("From + Pending Out", true, "From"),
            ("Both", true, "From"),
        ],
    );
}

#[test]
fn outbound_subscribed() {
    let rows = [
        ("None", false, SAME), // pre-approval: see below
        ("None + Pending Out", false, SAME),
        ("None + Pending In", true, "From"),
        ("None + Pending Out+In", true, "From + Pending Out"),
        ("To", false, SAME),
        ("To + Pending In", true, "Both"),
        ("From", false, SAME),
        ("From + Pending Out", false, SAME),
        ("Both", false, SAME),
    ];
    let approves = ["None", "None + Pending Out", "To"]; // §3.4.2, rules 3 and 4
    check("A.2.3, table 4", &rows, |state| {
        let outcome = outbound(state, Subscribed);
        assert!(!outcome.deliver && outcome.auto_reply.is_none(), "{state:?}");
        let is_approval = outcome.state.approved;
        assert_eq!(is_approval, approves.contains(&name_of(state)), "{state:?}");
        // An approval shows in the roster, so it is pushed, which the table does not look at.
        assert!(outcome.push || !is_approval);
        let plain = SubscriptionState { approved: false, ..outcome.state };
        (outcome.route, Outcome { state: plain, push: outcome.push && !is_approval, ..outcome })
    });
}

fn name_of(wanted: SubscriptionState) -> &'static str {
    NAMES.into_iter().find(|name| state(name) == wanted).unwrap()
}

#[test]
fn outbound_unsubscribed() {
    check_outbound(
        "A.2.4, table 5",
        Unsubscribed,
        &[
            ("None", false, SAME),
            ("None + Pending Out", false, SAME),
            ("None + Pending In", true, "None"),
            ("None + Pending Out+In", true, "None + Pending Out"),
            ("To", false, SAME),
            ("To + Pending In", true, "To"),
            ("From", true, "None"),
            ("From + Pending Out", true, "None + Pending Out"),
            ("Both", true, "To"),
        ],
    );
}

#[test]
fn inbound_subscribe() {
    check_inbound(
        "A.3.1, table 6",
        Subscribe,
        &[
            ("None", true, "None + Pending In"),
            ("None + Pending Out", true, "None + Pending Out+In"),
            ("None + Pending In", false, SAME),
            ("None + Pending Out+In", false, SAME),
            ("To", true, "To + Pending In"),
            ("To + Pending In", false, SAME),
            ("From", false, SAME),
            ("From + Pending Out", false, SAME),
            ("Both", false, SAME),
        ],
    );
    for name in NAMES {
        // Table 6, note 2: who is subscribed already is told so.
        let expected = name.starts_with("From") || name == "Both";
        let reply = inbound(state(name), Subscribe).auto_reply;
        assert_eq!(reply, expected.then_some(Subscribed), "{name}");
    }
}

#[test]
fn inbound_unsubscribe() {
    check_inbound(
        "A.3.2, table 7",
        Unsubscribe,
        &[
            ("None", false, SAME),
            ("None + Pending Out", false, SAME),
            ("None + Pending In", true, "None"),
            ("None + Pending Out+In", true, "None + Pending Out"),
            ("To", false, SAME),
            ("To + Pending In", true, "To"),
            ("From", true, "None"),
            ("From + Pending Out", true, "None + Pending Out"),
            ("Both", true, "To"),
        ],
    );
    for name in NAMES {
        // Table 7, note 1: the auto-reply goes with the change.
        let outcome = inbound(state(name), Unsubscribe);
        assert_eq!(outcome.auto_reply, outcome.deliver.then_some(Unsubscribed), "{name}");
    }
}

#[test]
fn inbound_subscribed() {
    check_inbound(
        "A.3.3, table 8",
        Subscribed,
        &[
            ("None", false, SAME),
            ("None + Pending Out", true, "To"),
            ("None + Pending In", false, SAME),
            ("None + Pending Out+In", true, "To + Pending In"),
            ("To", false, SAME),
            ("To + Pending In", false, SAME),
            ("From", false, SAME),
            ("From + Pending Out", true, "Both"),
            ("Both", false, SAME),
        ],
    );
}

#[test]
fn inbound_unsubscribed() {
    check_inbound(
        "A.3.4, table 9",
        Unsubscribed,
        &[
            ("None", false, SAME),
            ("None + Pending Out", true, "None"),
            ("None + Pending In", false, SAME),
            ("None + Pending Out+In", true, "None + Pending In"),
            ("To", true, "None"),
            ("To + Pending In", true, "None + Pending In"),
            ("From", false, SAME),
            ("From + Pending Out", true, "From"),
            ("Both", true, "From"),
        ],
    );
}

/// §3.4: the whole life of an approval in advance.
#[test]
fn an_approval_in_advance_is_used_and_taken_back() {
    for (before, after) in [("None", "From"), ("None + Pending Out", "From + Pending Out"), ("To", "Both")] {
        let outcome = outbound(state(before), Subscribed);
        assert_eq!((outcome.state, outcome.route, outcome.push), (approved(before), false, true), "§3.4.2");
        let again = outbound(approved(before), Subscribed);
        assert_eq!((again.state, again.route, again.push), (approved(before), false, false), "§3.4.2");

        // The request is not delivered but answered, and the contact sees the user at once.
        let outcome = inbound(approved(before), Subscribe);
        assert_eq!((outcome.state, outcome.deliver, outcome.push), (approved(after), false, true), "§3.4.2");
        assert_eq!(outcome.auto_reply, Some(Subscribed), "§3.1.3");
        assert_eq!(outcome.announce, Announce::Available, "§3.1.5");

        // The contact may leave and come back, until the user says otherwise.
        assert_eq!(inbound(approved(after), Unsubscribe).state, approved(before), "§3.4.2");

        let outcome = outbound(approved(before), Unsubscribed);
        assert_eq!((outcome.state, outcome.route, outcome.push), (state(before), false, true), "§3.2.2");
        let outcome = outbound(approved(after), Unsubscribed);
        assert_eq!((outcome.state, outcome.route, outcome.push), (state(before), true, true), "§3.2.2");
    }
}

/// §3.1.5, §3.2.2, §3.3.3: the contact sees the user's resources exactly while it is subscribed.
#[test]
fn presence_follows_the_subscription() {
    for name in NAMES {
        for (direction, step) in [("outbound", outbound as fn(_, _) -> _), ("inbound", inbound)] {
            for kind in SubscriptionKind::ALL {
                let before = state(name);
                let outcome: Outcome = step(before, kind);
                let had = before.subscription.has_from();
                let expected = match (had, outcome.state.subscription.has_from()) {
                    (false, true) => Announce::Available,
                    (true, false) => Announce::Unavailable,
                    // A contact that asks again has lost what it knew.
                    (true, true) if outcome.auto_reply.is_some() => Announce::Available,
                    _ => Announce::Nothing,
                };
                assert_eq!(outcome.announce, expected, "{direction} {kind:?} {name}");
            }
        }
    }
}

#[test]
fn removal_ends_both_directions() {
    for (name, send, announce) in [
        ("None", [].as_slice(), Announce::Nothing),
        ("None + Pending Out", &[Unsubscribe], Announce::Nothing),
        ("None + Pending In", &[], Announce::Nothing),
        ("None + Pending Out+In", &[Unsubscribe], Announce::Nothing),
        ("To", &[Unsubscribe], Announce::Nothing), // §2.5.2, rule 1
        ("To + Pending In", &[Unsubscribe], Announce::Nothing), // rule 1
        ("From", &[Unsubscribed], Announce::Unavailable), // rule 2
        ("From + Pending Out", &[Unsubscribe, Unsubscribed], Announce::Unavailable), // rule 2
        ("Both", &[Unsubscribe, Unsubscribed], Announce::Unavailable), // rule 3
    ] {
        let left = if state(name).pending_in { "None + Pending In" } else { "None" };
        let expected = Removal { state: state(left), send, announce };
        assert_eq!(remove(state(name)), expected, "{name}");
        assert_eq!(remove(approved(name)), expected, "{name}, approved");
    }
}

#[test]
fn names_are_those_of_the_schema() {
    for (subscription, text) in [
        (Subscription::None, "none"),
        (Subscription::To, "to"),
        (Subscription::From, "from"),
        (Subscription::Both, "both"),
    ] {
        assert_eq!(subscription.as_str(), text);
        assert_eq!(Subscription::parse(text), Some(subscription));
    }
    for kind in SubscriptionKind::ALL {
        assert_eq!(SubscriptionKind::parse(kind.as_str()), Some(kind));
    }
    for wrong in ["", "remove", "None", "to ", "pending"] {
        assert_eq!(Subscription::parse(wrong), None, "{wrong:?}");
    }
    for wrong in ["", "Subscribe", "unavailable", "probe", "subscribed "] {
        assert_eq!(SubscriptionKind::parse(wrong), None, "{wrong:?}");
    }
}

fn any_kind() -> impl Strategy<Value = SubscriptionKind> {
    prop::sample::select(SubscriptionKind::ALL.to_vec())
}

/// Any value of the type, legal or not.
fn any_state() -> impl Strategy<Value = SubscriptionState> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(to, from, pending_out, pending_in, approved)| SubscriptionState {
            subscription: Subscription::of(to, from),
            pending_out,
            pending_in,
            approved,
        },
    )
}

/// One of two accounts whose servers talk to each other without loss and delay.
#[derive(Default)]
struct Side {
    state: SubscriptionState,
    sent: Vec<SubscriptionKind>,
}

/// Delivers until nothing is under way. Returns how many stanzas that took.
fn settle(sides: &mut [Side; 2]) -> usize {
    for count in 0.. {
        let Some(from) = sides.iter().position(|side| !side.sent.is_empty()) else { return count };
        assert!(count < 10, "the servers answer each other without end");
        let kind = sides[from].sent.remove(0);
        let outcome = inbound(sides[1 - from].state, kind);
        sides[1 - from].state = outcome.state;
        sides[1 - from].sent.extend(outcome.auto_reply);
    }
    unreachable!()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_leaves_the_nine_states(
        start in any_state(),
        steps in prop::collection::vec((any::<bool>(), any_kind()), 1..40),
    ) {
        let mut now = start;
        for (is_outbound, kind) in steps {
            let outcome = if is_outbound { outbound(now, kind) } else { inbound(now, kind) };
            now = outcome.state;
            prop_assert!(now.is_legal(), "{now:?}");
            let plain = SubscriptionState { approved: false, ..now };
            prop_assert!(NAMES.map(state).contains(&plain));
            // Nothing waits for the user that the user has granted in advance.
            prop_assert!(start.approved && start.pending_in || !(now.approved && now.pending_in));
        }
        prop_assert!(remove(now).state.is_legal());
    }

    #[test]
    fn two_accounts_agree(
        steps in prop::collection::vec((0..2_usize, prop::option::of(any_kind())), 1..40),
    ) {
        let mut sides = <[Side; 2]>::default();
        for (actor, action) in steps {
            let side = &mut sides[actor];
            if let Some(kind) = action {
                let outcome = outbound(side.state, kind);
                side.state = outcome.state;
                side.sent.extend(outcome.route.then_some(kind));
            } else {
                let removal = remove(side.state);
                side.state = removal.state;
                side.sent.extend(removal.send);
            }
            settle(&mut sides);
            let [a, b] = [sides[0].state, sides[1].state];
            for (a, b) in [(a, b), (b, a)] {
                prop_assert_eq!(a.subscription.has_to(), b.subscription.has_from());
                prop_assert_eq!(a.pending_out, b.pending_in);
            }
        }
    }
}
