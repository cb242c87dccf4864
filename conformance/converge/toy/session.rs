//! Sessions of the toy: binding, resumption, and what waits to be said.

use std::collections::VecDeque;

use super::Fault;
use super::core::{Core, Stage};
use crate::xml::{Element, escape};

/// Something for a device.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) xml: String,
    /// It is a stanza, so XEP-0198 counts it.
    pub(super) is_stanza: bool,
    /// Where it stands in the log.
    pub(super) position: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) jid: String,
    pub(super) connection: Option<u64>,
    pub(super) has_carbons: bool,
    pub(super) is_available: bool,
    pub(super) is_managed: bool,
    /// Stanzas of the client that were handled.
    pub(super) handled: u32,
    acknowledged: u32,
    unacknowledged: VecDeque<Item>,
    /// What is said when all is stored.
    pub(super) pending: Vec<Item>,
    /// How much of the log was given to it.
    pub(super) given: usize,
}

impl Session {
    pub(super) fn bare(&self) -> &str {
        self.jid.split('/').next().unwrap()
    }

    pub(super) fn say(&mut self, xml: String) {
        self.pending.push(Item { xml, is_stanza: true, position: None });
    }

    pub(super) fn acknowledge(&mut self, handled: u32) {
        let newly = handled.wrapping_sub(self.acknowledged) as usize;
        self.unacknowledged.drain(..newly.min(self.unacknowledged.len()));
        self.acknowledged = handled;
    }

    /// How much of the log the device certainly has.
    fn cursor(&self) -> usize {
        let open = self.unacknowledged.iter().chain(&self.pending).filter_map(|item| item.position);
        open.min().unwrap_or(self.given).min(self.given)
    }
}

impl Core {
    /// Takes what is due for a device.
    pub(super) fn release(&mut self, id: &str) -> (Option<u64>, String) {
        let mut items = std::mem::take(&mut self.state.sessions.get_mut(id).unwrap().pending);
        let messages: Vec<usize> = (0..items.len()).filter(|at| items[*at].position.is_some()).collect();
        if let [first, second, ..] = messages.as_slice()
            && self.strikes(Fault::Swapped, 5)
        {
            items.swap(*first, *second);
        }
        let mut xml = String::new();
        for item in items {
            if item.position.is_some() && self.strikes(Fault::Dropped, 20) {
                continue;
            }
            let is_doubled = item.position.is_some() && self.strikes(Fault::Doubled, 20);
            let session = self.state.sessions.get_mut(id).unwrap();
            for _ in 0..if is_doubled { 2 } else { 1 } {
                xml.push_str(&item.xml);
                if item.is_stanza && session.is_managed {
                    session.unacknowledged.push_back(item.clone());
                }
            }
        }
        (self.state.sessions[id].connection, xml)
    }

    pub(super) fn begin(&mut self, number: u64, bare: &str, element: &Element) {
        if element.name == "resume" {
            return self.resume(number, element);
        }
        let bind = element.children().next().unwrap();
        let jid = format!("{bare}/{}", bind.children().next().unwrap().text());
        let old =
            self.state.sessions.iter().find(|(_, session)| session.jid == jid).map(|(id, _)| id.clone());
        if let Some(id) = old {
            if let Some(number) = self.state.sessions[&id].connection {
                self.conflict(number);
            }
            self.end_session(&id);
        }
        self.state.last_session += 1;
        let id = format!("s{}", self.state.last_session);
        let given = self.state.cursors.get(&jid).copied().unwrap_or(0);
        let session = Session { jid: jid.clone(), connection: Some(number), given, ..Session::default() };
        self.state.sessions.insert(id.clone(), session);
        self.stages.insert(number, Stage::Bound(id));
        let jid = escape(&jid);
        self.send(
            number,
            format!(
                "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>"
            ),
        );
    }

    /// Another connection takes over.
    fn conflict(&mut self, number: u64) {
        self.stages.remove(&number);
        self.send_last(
            number,
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        );
    }

    /// XEP-0198 §5
    fn resume(&mut self, number: u64, element: &Element) {
        let id = element.attribute("previd").unwrap().to_owned();
        let handled = element.attribute("h").unwrap().parse().unwrap();
        let Some(session) = self.state.sessions.get_mut(&id) else {
            return self.send(number, "<failed xmlns='urn:xmpp:sm:3'/>");
        };
        session.acknowledge(handled);
        // An acknowledgement that was due on the connection before says less than the answer.
        session.pending.retain(|item| item.is_stanza);
        if self.fault == Fault::ResumeQueueLost {
            session.unacknowledged.clear();
        }
        let mut answer = format!("<resumed xmlns='urn:xmpp:sm:3' previd='{id}' h='{}'/>", session.handled);
        answer.extend(session.unacknowledged.iter().map(|item| item.xml.as_str()));
        if let Some(old) = session.connection.replace(number) {
            self.conflict(old);
        }
        self.stages.insert(number, Stage::Bound(id));
        // The client is told that its count was heard, so it is not to be forgotten.
        self.store();
        self.send(number, answer);
    }

    /// The device closes its stream.
    pub(super) fn close(&mut self, number: u64, id: &str) {
        let (_, xml) = self.release(id);
        self.end_session(id);
        self.stages.remove(&number);
        self.store();
        self.send_last(number, &format!("{xml}</stream:stream>"));
    }

    /// A session is over; what it did not get is behind the device's cursor.
    pub(super) fn end_session(&mut self, id: &str) {
        let session = self.state.sessions.remove(id).unwrap();
        self.state.cursors.insert(session.jid.clone(), session.cursor());
    }
}
