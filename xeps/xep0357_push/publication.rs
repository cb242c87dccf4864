//! §7: a push goes out, and what its service says to it.

use std::sync::Arc;

use unisono_core::account::{Account, Cell};
use unisono_core::asking_afar::NoResult;
use unisono_core::error::{Condition, ErrorType, StanzaError};
use unisono_core::hub::Hub;
use unisono_core::ids::Ticket;
use unisono_core::storage::Write;
use unisono_xml::Element;

use super::duty::Duty;
use super::registration::{Registration, address};
use super::{NS, NS_SUMMARY};
use crate::{xep0004_forms as forms, xep0060_pubsub};

/// What became of a push.
enum Outcome {
    Taken,
    /// It may be taken later.
    Passing,
    /// It will not be.
    Final,
}

/// Tells a service that something waits, when that is durable.
pub(super) fn publish(hub: &Hub, cell: &Arc<Cell>, account: &mut Account, key: &str) {
    let from = account.jid().to_domain();
    let after = account.last_ticket();
    let Some((service, node)) = address(key) else { return };
    let Some(registration) = account.keyed_mut::<Registration>(key) else { return };
    let (count, number) = registration.waiting.count();
    registration.sent = Some(number);
    let payload = publication(node, count, registration.options.form());
    let (answered_of, key_of) = (cell.clone(), key.to_owned());
    let then = Box::new(move |hub: &Arc<Hub>, answer: Result<_, NoResult>| {
        let outcome = match &answer {
            Ok(_) => Outcome::Taken,
            Err(NoResult::Silence) => Outcome::Passing,
            Err(NoResult::Refused(error)) if is_passing(error) => Outcome::Passing,
            Err(NoResult::Refused(_)) => Outcome::Final,
        };
        conclude(hub, &mut answered_of.lock(), &key_of, number, &outcome);
    });
    let Err(condition) = hub.ask_afar(&from, &service, payload, after, then) else { return };
    tracing::debug!(%service, condition = condition.as_str(), "cannot push now");
    if condition != Condition::ResourceConstraint {
        conclude(hub, account, key, number, &Outcome::Passing);
    } else if let Some(registration) = account.keyed_mut::<Registration>(key) {
        registration.sent = None; // Too much waits on our side, and the service is not to blame: a second later.
    }
}

/// §7: Examples 12 and 13.
fn publication(node: Option<&str>, count: usize, options: Option<Element>) -> Element {
    let summary = forms::form("submit", NS_SUMMARY).child(forms::field(
        "message-count",
        "text-single",
        [count.to_string().as_str()],
    ));
    let notification = Element::builder("notification", NS).child(summary.build()).build();
    let item = Element::builder("item", xep0060_pubsub::NS).child(notification).build();
    let publish = Element::builder("publish", xep0060_pubsub::NS).attr_opt("node", node).child(item).build();
    let options =
        options.map(|form| Element::builder("publish-options", xep0060_pubsub::NS).child(form).build());
    Element::builder("pubsub", xep0060_pubsub::NS).child(publish).child_opt(options).build()
}

/// §7.1: whether an error is "recoverable or transient".
fn is_passing(error: &StanzaError) -> bool {
    error.kind == ErrorType::Wait
        || matches!(
            error.condition,
            Condition::InternalServerError
                | Condition::RemoteServerNotFound
                | Condition::RemoteServerTimeout
                | Condition::ResourceConstraint
                | Condition::RecipientUnavailable
        )
}

/// Notes what became of the push that told all up to this number.
fn conclude(hub: &Hub, account: &mut Account, key: &str, number: u64, outcome: &Outcome) -> Ticket {
    let now = hub.clock.elapsed();
    let known = account.keyed::<Registration>(key).filter(|known| known.sent == Some(number));
    let Some(known) = known.filter(|_| !account.is_gone()) else {
        // It was disabled meanwhile, or the device has ended, or the account.
        return Ticket::NONE;
    };
    let mut registration = known.clone();
    let stays = match outcome {
        Outcome::Taken => {
            registration.succeeded(now);
            true
        }
        Outcome::Passing => registration.failed(now),
        Outcome::Final => false,
    };
    if !stays {
        tracing::info!(account = %account.jid(), "a push service does not take what is pushed, and is given up");
    }
    if stays
        && registration.waiting.has_news()
        && let Some(duty) = hub.server_state::<Duty>()
    {
        duty.note(account.jid());
    }
    let mut writes: Vec<Write> = Vec::new();
    account.set_keyed(key, stays.then_some(registration), &mut writes);
    hub.commit(account, writes)
}

#[cfg(test)]
mod tests {
    use unisono_core::stanza::CLIENT_SCOPE;

    use super::*;

    #[test]
    fn a_push_tells_how_much_waits_and_no_more() {
        let options = forms::form("submit", "urn:o").build();
        for (node, options, want) in [
            (
                Some("n1"),
                None,
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n1'><item>\
                 <notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
                 <field var='message-count' type='text-single'><value>2</value></field></x>\
                 </notification></item></publish></pubsub>",
            ),
            (
                None,
                Some(options),
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish><item>\
                 <notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
                 <field var='message-count' type='text-single'><value>2</value></field></x>\
                 </notification></item></publish><publish-options><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE' type='hidden'><value>urn:o</value></field></x></publish-options></pubsub>",
            ),
        ] {
            assert_eq!(publication(node, 2, options).to_string_in(&CLIENT_SCOPE), want);
        }
    }

    #[test]
    fn some_errors_pass() {
        for condition in Condition::ALL {
            let want = matches!(
                condition.as_str(),
                "internal-server-error"
                    | "recipient-unavailable"
                    | "remote-server-not-found"
                    | "remote-server-timeout"
                    | "resource-constraint"
                    | "unexpected-request"
            );
            let error = StanzaError::new(condition);
            assert_eq!(is_passing(&error), want, "{error}");
            assert!(is_passing(&error.with_type(ErrorType::Wait)));
        }
    }
}
