//! What the toy does with stanzas: the log, copies, the archive.

use std::sync::Arc;

use super::Fault;
use super::core::{Core, Entry};
use super::session::{Item, Session};
use crate::xml::{Element, Node, escape};

const CARBONS: &str = "urn:xmpp:carbons:2";
const FORWARD: &str = "urn:xmpp:forward:0";

impl Core {
    pub(super) fn stanza(&mut self, number: u64, id: &str, element: &Element) {
        if self.strikes(Fault::HangsUp, 200) {
            return self.send_last(number, "</stream:stream>");
        }
        if element.is_stanza() {
            self.state.sessions.get_mut(id).unwrap().handled += 1;
        }
        match element.name.as_str() {
            "message" => self.message(id, element),
            "presence" => self.presence(id),
            "iq" => self.iq(id, element),
            "enable" => {
                let session = self.state.sessions.get_mut(id).unwrap();
                session.is_managed = true;
                let xml = format!("<enabled xmlns='urn:xmpp:sm:3' id='{id}' resume='true'/>");
                session.pending.push(Item { xml, is_stanza: false, position: None });
            }
            "r" => {
                let session = self.state.sessions.get_mut(id).unwrap();
                let xml = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", session.handled);
                if self.fault == Fault::AckBeforeCommit {
                    return self.send(number, xml);
                }
                session.pending.push(Item { xml, is_stanza: false, position: None });
            }
            "a" => {
                let handled = element.attribute("h").unwrap().parse().unwrap();
                self.state.sessions.get_mut(id).unwrap().acknowledge(handled);
            }
            _ => {}
        }
        if self.fault == Fault::DeliveryBeforeCommit {
            self.release_all();
        }
    }

    fn message(&mut self, session: &str, message: &Element) {
        let from = self.state.sessions[session].jid.clone();
        let (sender, to) = (bare(&from), message.attribute("to").unwrap_or_default().to_owned());
        let Some(id) = message.attribute("id").map(str::to_owned) else { return };
        let is_known = !self.state.taken.insert((sender.clone(), id));
        if is_known && self.fault != Fault::NoDedup {
            return;
        }
        if self.fault == Fault::NoMarkers && message.children().any(|child| child.name == "displayed") {
            return;
        }
        self.tombstone(&sender, &to, message);
        for owner in [&sender, &to] {
            let entry = self.record(owner, &from, message);
            let position = self.state.logs[owner].len() - 1;
            let ids: Vec<String> = self.state.sessions.keys().cloned().collect();
            for other in ids.iter().filter(|other| *other != session) {
                self.give(other, owner, position, &entry);
            }
            if sender == to {
                break;
            }
        }
    }

    fn record(&mut self, owner: &str, from: &str, message: &Element) -> Arc<Entry> {
        let goes_back = self.strikes(Fault::IdByClock, 10);
        let log = self.state.logs.entry(owner.to_owned()).or_default();
        let position = log.len() as u64;
        let time = (position + 1) * 10 - if goes_back { 25 } else { 0 };
        let mut copy = message.clone();
        copy.attributes.push(crate::xml::Attribute {
            ns: String::new(),
            name: "from".into(),
            value: from.into(),
        });
        let stanza_id = format!("{owner}-{position}");
        let entry = Arc::new(Entry { stanza_id, from: from.to_owned(), message: Arc::new(copy), time });
        log.push(entry.clone());
        entry
    }

    /// XEP-0424 §4
    fn tombstone(&mut self, sender: &str, to: &str, message: &Element) {
        let retract = message.children().find(|child| child.name == "retract");
        let rewritten = self.strikes(Fault::Rewritten, 10);
        for owner in [sender, to] {
            for entry in self.state.logs.get_mut(owner).into_iter().flatten() {
                let id = entry.message.attribute("id");
                let is_meant = retract.is_some_and(|retract| retract.attribute("id") == id);
                if is_meant && bare(&entry.from) == sender {
                    let xml = "<retracted xmlns='urn:xmpp:message-retract:1' id='x'/>";
                    Arc::make_mut(&mut Arc::make_mut(entry).message).nodes =
                        vec![Node::Element(crate::xml::fragment(xml).unwrap().remove(0))];
                } else if rewritten {
                    let xml = "<body>something else</body>";
                    Arc::make_mut(&mut Arc::make_mut(entry).message).nodes =
                        vec![Node::Element(crate::xml::fragment(xml).unwrap().remove(0))];
                }
            }
        }
    }

    /// Gives an entry to a session, if it is there for it.
    fn give(&mut self, id: &str, owner: &str, position: usize, entry: &Entry) {
        let session = &self.state.sessions[id];
        if session.bare() != owner || !session.is_available {
            return;
        }
        let xml = self.form(session, owner, entry);
        let session = self.state.sessions.get_mut(id).unwrap();
        session.given = position + 1;
        if let Some(xml) = xml {
            session.pending.push(Item { xml, is_stanza: true, position: Some(position) });
        }
    }

    /// How an entry looks on a device, if it is one for it.
    fn form(&self, session: &Session, owner: &str, entry: &Entry) -> Option<String> {
        let is_sent = bare(&entry.from) == owner;
        if entry.from == session.jid || (is_sent && !session.has_carbons) {
            return None;
        }
        let id = match self.fault {
            Fault::NoId => String::new(),
            Fault::OtherId if session.is_managed => format!("other-{}", entry.stanza_id),
            _ => entry.stanza_id.clone(),
        };
        let mut message = Element::clone(&entry.message);
        if !id.is_empty() {
            let xml = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{owner}' id='{id}'/>");
            message.nodes.push(Node::Element(crate::xml::fragment(&xml).unwrap().remove(0)));
        }
        if !is_sent {
            return Some(message.to_string());
        }
        Some(format!(
            "<message from='{owner}' to='{}'><sent xmlns='{CARBONS}'><forwarded xmlns='{FORWARD}'>{}</forwarded></sent></message>",
            session.jid,
            message.to_string().replacen("<message", "<message xmlns='jabber:client'", 1)
        ))
    }

    /// What the device missed, if it does not page the archive.
    fn presence(&mut self, id: &str) {
        let session = self.state.sessions.get_mut(id).unwrap();
        session.is_available = true;
        let (owner, jid, from) = (session.bare().to_owned(), session.jid.clone(), session.given);
        let log = self.state.logs.get(&owner).cloned().unwrap_or_default();
        if self.state.pagers.contains(&jid) || self.fault == Fault::NoOffline {
            self.state.sessions.get_mut(id).unwrap().given = log.len();
            return;
        }
        for (position, entry) in log.iter().enumerate().skip(from) {
            self.give(id, &owner, position, entry);
        }
    }

    fn iq(&mut self, id: &str, iq: &Element) {
        let request = iq.attribute("id").unwrap_or_default().to_owned();
        let payload = iq.children().next().cloned();
        let name = payload.as_ref().map_or("", |payload| payload.name.as_str());
        if !matches!(iq.attribute("type"), Some("get" | "set")) || self.strikes(Fault::Silent, 100) {
            return;
        }
        let owner = self.state.sessions[id].bare().to_owned();
        if let Some(content) = self.keep(&owner, iq) {
            let xml = format!("<iq type='result' id='{request}'>{content}</iq>");
            return self.state.sessions.get_mut(id).unwrap().say(xml);
        }
        let session = self.state.sessions.get_mut(id).unwrap();
        match (name, &payload) {
            ("enable", _) => session.has_carbons = true,
            ("query", Some(query)) => return self.page(id, &request, query),
            _ => {}
        }
        self.state.sessions.get_mut(id).unwrap().say(format!("<iq type='result' id='{request}'/>"));
    }

    fn page(&mut self, id: &str, request: &str, query: &Element) {
        let session = &self.state.sessions[id];
        let (owner, jid) = (session.bare().to_owned(), session.jid.clone());
        self.state.pagers.insert(jid);
        let set = query.children().next().unwrap();
        let text = |name: &str| set.children().find(|child| child.name == name).map(Element::text);
        let max: usize = text("max").unwrap().parse().unwrap();
        let mut log = self.state.logs.get(&owner).cloned().unwrap_or_default();
        log.sort_by_key(|entry| entry.time);
        let after = text("after").map(|after| log.iter().position(|entry| entry.stanza_id == after));
        let first = match after {
            None => 0,
            Some(Some(position)) => position + 1,
            Some(None) => {
                let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
                let xml = format!("<iq type='error' id='{request}'>{error}</iq>");
                return self.state.sessions.get_mut(id).unwrap().say(xml);
            }
        };
        let page: Vec<&Arc<Entry>> = log.iter().skip(first).take(max).collect();
        let is_complete = first + page.len() >= log.len();
        let session = self.state.sessions.get_mut(id).unwrap();
        for entry in &page {
            let message = entry.message.to_string().replacen("<message", "<message xmlns='jabber:client'", 1);
            session.say(format!(
                "<message from='{owner}'><result xmlns='urn:xmpp:mam:2' queryid='{request}' id='{}'>\
                 <forwarded xmlns='{FORWARD}'>{message}</forwarded></result></message>",
                entry.stanza_id
            ));
        }
        let last =
            page.last().map(|entry| format!("<last>{}</last>", escape(&entry.stanza_id))).unwrap_or_default();
        session.say(format!(
            "<iq type='result' id='{request}'><fin xmlns='urn:xmpp:mam:2' complete='{is_complete}'>\
             <set xmlns='http://jabber.org/protocol/rsm'>{last}</set></fin></iq>"
        ));
    }
}

fn bare(jid: &str) -> String {
    jid.split('/').next().unwrap().to_owned()
}
