//! What waits for a component. It has a bound, and says so: a message or a request that finds no room comes back to its
//! sender. Answers and presence nobody would learn about, so that they have more room; a component that takes so little
//! that there is none left loses its stream, and has to begin anew.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use unisono_core::ids::Ticket;
use unisono_core::remote::Route;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

/// Stanzas after which messages and requests are refused, …
const STANZAS_MAX: usize = 1024;
/// … and bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of everything.
const ALL_BYTES_MAX: usize = 4 * BYTES_MAX;

/// The queue of one component, in order.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    overfull: Notify,
}

#[derive(Default)]
struct State {
    stanzas: VecDeque<(String, Ticket)>,
    bytes: usize,
    is_closed: bool,
}

impl State {
    fn has_room(&self) -> bool {
        !self.is_closed && self.stanzas.len() < STANZAS_MAX && self.bytes < BYTES_MAX
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().stanzas.is_empty()
    }

    /// Waits until there is something, and leaves it where it is. Returns after what it may go out.
    pub(super) async fn first(&self) -> Ticket {
        loop {
            if let Some((_, after)) = self.state().stanzas.front() {
                return *after;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits until something that cannot be refused has found no room.
    pub(super) async fn overfull(&self) {
        self.overfull.notified().await;
    }

    /// Takes the first.
    pub(super) fn pop(&self) -> Option<String> {
        let mut state = self.state();
        let (stanza, _) = state.stanzas.pop_front()?;
        state.bytes = state.bytes.saturating_sub(stanza.len());
        Some(stanza)
    }

    /// Takes nothing more. Returns what did not go out.
    pub(super) fn close(&self) -> impl Iterator<Item = String> {
        let mut state = self.state();
        state.is_closed = true;
        state.bytes = 0;
        std::mem::take(&mut state.stanzas).into_iter().map(|(stanza, _)| stanza)
    }
}

impl Route for Queue {
    fn send(&self, stanza: &Element, after: Ticket) -> bool {
        // What has the namespace of a client's stream here has that of the component's there (§3).
        let text = stanza.to_string_in(&CLIENT_SCOPE);
        let mut state = self.state();
        if is_missed(stanza) && !state.has_room() {
            return false;
        }
        if !state.is_closed && state.bytes.saturating_add(text.len()) > ALL_BYTES_MAX {
            state.is_closed = true;
            self.overfull.notify_one();
        }
        if state.is_closed {
            return false;
        }
        state.bytes = state.bytes.saturating_add(text.len());
        state.stanzas.push_back((text, after));
        self.arrived.notify_one();
        true
    }

    fn has_room(&self) -> bool {
        self.state().has_room()
    }

    fn is_of_house(&self) -> bool {
        true
    }
}

/// Whether its sender learns that it was refused.
fn is_missed(stanza: &Element) -> bool {
    match (stanza.name(), stanza.attr("type").unwrap_or_default()) {
        ("message", kind) => kind != "error",
        ("iq", kind) => matches!(kind, "get" | "set"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_xml::Limits;

    use super::*;

    fn element(text: &str) -> Element {
        Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap()
    }

    #[tokio::test]
    async fn what_is_missed_is_refused_and_what_is_not_has_more_room() {
        let queue = Queue::default();
        let (message, answer) = (element("<message to='p'/>"), element("<iq type='result' to='p'/>"));
        for _ in 0..STANZAS_MAX {
            assert!(queue.has_room() && queue.send(&message, Ticket::NONE));
        }
        assert!(!queue.has_room() && !queue.send(&message, Ticket::NONE));
        for text in ["<iq type='get' to='p'/>", "<message type='chat' to='p'/>"] {
            assert!(!queue.send(&element(text), Ticket::NONE), "{text}");
        }
        for text in ["<presence to='p'/>", "<message type='error' to='p'/>", "<iq type='error' to='p'/>"] {
            assert!(queue.send(&element(text), Ticket::NONE), "{text}");
        }
        assert!(queue.send(&answer, Ticket(7)));
        let waiting = STANZAS_MAX + 4;
        for _ in 1..waiting {
            assert!(queue.pop().is_some());
        }
        // What is looked at stays.
        for _ in 0..2 {
            assert_eq!(queue.first().await, Ticket(7));
        }
        assert_eq!(queue.close().count(), 1);
        assert!(!queue.send(&answer, Ticket::NONE) && queue.is_empty());
    }

    #[tokio::test]
    async fn a_component_that_takes_nothing_is_given_up() {
        let queue = Queue::default();
        let news = element(&format!("<presence to='p'><status>{}</status></presence>", "x".repeat(1 << 16)));
        let taken = (0..1_000).take_while(|_| queue.send(&news, Ticket::NONE)).count();
        assert_eq!(taken, 255);
        queue.overfull().await;
        assert_eq!(queue.close().count(), taken);
    }
}
