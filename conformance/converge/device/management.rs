//! Stream management as a client has it (XEP-0198).

use std::collections::VecDeque;

use super::super::content::Id;
use super::super::history::Fact;
use super::{Device, Stage};
use crate::client::NS_SM;
use crate::xml::{Element, escape};

/// A stanza that the server has not acknowledged.
#[derive(Debug, Clone)]
struct Unacknowledged {
    /// If it is a message.
    message: Option<Id>,
    xml: String,
}

/// One session with stream management.
#[derive(Debug, Default)]
pub(super) struct Management {
    /// What to resume it by, if the server allows it.
    previd: Option<String>,
    /// The server has said that it counts.
    is_counting: bool,
    /// Stanzas received.
    received: u32,
    /// Stanzas sent that the server acknowledged.
    acknowledged: u32,
    unacknowledged: VecDeque<Unacknowledged>,
    /// An acknowledgement was asked for and did not come yet.
    is_asked: bool,
    /// Answers in a row that acknowledged nothing new.
    fruitless: u32,
}

/// More answers without any news are a server that has forgotten something.
const FRUITLESS_MAX: u32 = 200;

impl Management {
    pub(super) fn resumption(&self) -> Option<String> {
        let previd = escape(self.previd.as_deref()?);
        Some(format!("<resume xmlns='{NS_SM}' h='{}' previd='{previd}'/>", self.received))
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// `None` if the server counts what was never sent.
    fn acknowledge(&mut self, handled: u32) -> Option<Vec<Id>> {
        let newly = usize::try_from(handled.wrapping_sub(self.acknowledged)).unwrap_or(usize::MAX);
        if newly > self.unacknowledged.len() {
            return None;
        }
        self.acknowledged = handled;
        Some(self.unacknowledged.drain(..newly).filter_map(|stanza| stanza.message).collect())
    }
}

impl Device {
    pub(super) fn enable(&mut self) {
        self.management = Some(Management::default());
        self.send(format!("<enable xmlns='{NS_SM}' resume='true'/>"));
    }

    pub(super) fn enabled(&mut self, answer: &Element) {
        if answer.name == "enabled" {
            let can_resume = matches!(answer.attribute("resume"), Some("true" | "1"));
            let previd = answer.attribute("id").filter(|_| can_resume).map(str::to_owned);
            if previd.is_none() {
                self.learn(Fact::Lacks { what: "resumption" });
            }
            if let Some(management) = &mut self.management {
                management.previd = previd;
                management.is_counting = true;
            }
        } else {
            self.management = None;
            self.odd(format!("<enable/> was answered with {answer}"));
        }
        self.enter();
    }

    /// Counts what arrives.
    pub(super) fn count(&mut self, element: &Element) {
        if let Some(management) = self.management.as_mut().filter(|management| management.is_counting)
            && element.is_stanza()
            && matches!(self.stage, Stage::Online | Stage::Leaving)
        {
            management.received = management.received.wrapping_add(1);
        }
    }

    /// The number of the stanza that has just arrived.
    pub(super) fn number(&self) -> Option<u32> {
        self.management.as_ref().map(|management| management.received)
    }

    /// Sends a stanza, and keeps it until it is acknowledged.
    pub(super) fn send_stanza(&mut self, message: Option<Id>, xml: String) {
        if let Some(management) = &mut self.management {
            management.unacknowledged.push_back(Unacknowledged { message, xml: xml.clone() });
        }
        self.send(xml);
    }

    /// The device asks for an acknowledgement.
    pub fn ask(&mut self) {
        if self.stage != Stage::Online {
            return;
        }
        if let Some(management) = &mut self.management {
            management.is_asked = true;
            self.send(format!("<r xmlns='{NS_SM}'/>"));
        }
    }

    /// The waiting goes on until everything is acknowledged.
    pub(super) fn ask_for_the_rest(&mut self) {
        let is_due = |management: &Management| management.unacknowledged() > 0 && !management.is_asked;
        if self.management.as_ref().is_some_and(is_due) {
            self.ask();
        }
    }

    /// `<a/>` and `<r/>`. Whether it was one of them.
    pub(super) fn managed(&mut self, element: &Element) -> bool {
        if element.ns != NS_SM {
            return false;
        }
        match element.name.as_str() {
            // RFC 6120 §4.4: nothing is sent behind the closing tag.
            "r" if self.stage == Stage::Leaving => {}
            "r" => {
                if let Some(answer) = self.tell() {
                    self.send(answer);
                }
            }
            "a" => match handled(element) {
                Some(handled) => self.acknowledged(handled),
                None => self.odd(format!("no count in {element}")),
            },
            _ => self.odd(format!("unexpected: {element}")),
        }
        true
    }

    /// The acknowledgement that is due now.
    fn tell(&mut self) -> Option<String> {
        let number = self.number()?;
        self.learn(Fact::Told { number });
        Some(format!("<a xmlns='{NS_SM}' h='{number}'/>"))
    }

    /// XEP-0198 §5: who closes a stream says how far it got, and cannot resume it.
    pub(super) fn end_management(&mut self) {
        if let Some(answer) = self.tell() {
            self.send(answer);
        }
        if let Some(management) = &mut self.management {
            management.previd = None;
        }
    }

    /// `<resume/>` tells as much as an acknowledgement.
    pub(super) fn tell_resumption(&mut self) {
        if let Some(number) = self.number() {
            self.learn(Fact::Told { number });
        }
    }

    /// The server has handled this many stanzas. Whether that can be.
    fn take_count(&mut self, handled: u32) -> bool {
        let Some(management) = &mut self.management else {
            self.odd("an acknowledgement without stream management");
            return false;
        };
        let acknowledged = management.acknowledged;
        let open = u32::try_from(management.unacknowledged()).unwrap_or(0);
        let Some(messages) = management.acknowledge(handled) else {
            self.learn(Fact::WrongCount { handled, acknowledged, sent: acknowledged.wrapping_add(open) });
            return false;
        };
        management.fruitless =
            if acknowledged == handled { management.fruitless.saturating_add(1) } else { 0 };
        for id in messages {
            self.outbox.retain(|letter| letter.id != id);
            self.learn(Fact::Acknowledged { id });
        }
        true
    }

    /// An acknowledgement came.
    fn acknowledged(&mut self, handled: u32) {
        if let Some(management) = &mut self.management {
            management.is_asked = false;
        }
        if !self.take_count(handled) {
            // Nobody can go on from here: who counts wrong has lost something.
            self.drop_connection();
            return self.start_afresh();
        }
        let fruitless = self.management.as_ref().map_or(0, |management| management.fruitless);
        if fruitless > FRUITLESS_MAX && self.is_answered() {
            self.learn(Fact::Stuck {
                what: format!("asked {fruitless} times, and {handled} is still the answer"),
            });
            return self.drop_connection();
        }
        self.advance();
    }

    /// The answer to `<resume/>`.
    pub(super) fn resumption(&mut self, element: &Element) {
        if element.is(NS_SM, "resumed") {
            self.stage = Stage::Online;
            if let Some(management) = &mut self.management {
                management.is_asked = false;
            }
            self.learn(Fact::Resumed);
            match handled(element) {
                Some(handled) if self.take_count(handled) => {}
                Some(_) => {
                    self.drop_connection();
                    return self.start_afresh();
                }
                None => self.odd(format!("no count in {element}")),
            }
            self.send_again();
            self.ask_arrival();
            self.advance();
        } else if element.is(NS_SM, "failed") {
            let handled = handled(element);
            self.learn(Fact::NotResumed { handled });
            if let Some(handled) = handled {
                self.take_count(handled);
            }
            self.bind();
        } else {
            self.odd(format!("<resume/> was answered with {element}"));
            self.drop_connection();
        }
    }

    /// What was not acknowledged goes out a second time, in the order of the first.
    fn send_again(&mut self) {
        let stanzas = self.management.as_ref().map(|management| management.unacknowledged.clone());
        for Unacknowledged { message, xml } in stanzas.unwrap_or_default() {
            if let Some(id) = message {
                self.note_sent(&id);
            }
            self.send(xml);
        }
    }
}

fn handled(element: &Element) -> Option<u32> {
    element.attribute("h").and_then(|handled| handled.parse().ok())
}
