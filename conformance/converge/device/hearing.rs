//! What a device makes of the stanzas that arrive.

use super::super::content::{Content, NS_STANZA_IDS};
use super::super::history::{Fact, Form, Sight, Way};
use super::Device;
use super::negotiation::is_answer;
use crate::xml::{Element, NS_CLIENT, escape};

const NS_CARBONS: &str = "urn:xmpp:carbons:2";
const NS_FORWARD: &str = "urn:xmpp:forward:0";
const NS_PING: &str = "urn:xmpp:ping";
const NS_STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

impl Device {
    /// An element of a stream with a session.
    pub(super) fn session_element(&mut self, element: &Element) {
        if self.managed(element) {
            return;
        }
        match (element.ns.as_str(), element.name.as_str()) {
            (NS_CLIENT, "message") => self.message(element),
            (NS_CLIENT, "iq") => self.iq(element),
            (NS_CLIENT, "presence") => {}
            _ => self.odd(format!("unexpected: {element}")),
        }
    }

    fn message(&mut self, message: &Element) {
        if message.attribute("type") == Some("error") {
            if let Some(id) = message.attribute("id") {
                let (id, xml) = (id.to_owned(), message.to_string().into());
                self.outbox.retain(|letter| letter.id != id);
                self.learn(Fact::Refused { id, xml });
            }
            return;
        }
        if self.archived(message) {
            return;
        }
        let copies = [("sent", Form::CarbonSent), ("received", Form::CarbonReceived)];
        let copy = copies.iter().find_map(|(name, form)| Some((message.child(NS_CARBONS, name)?, *form)));
        let Some((copy, form)) = copy else {
            return self.live(message, Form::Original);
        };
        let inner = copy.child(NS_FORWARD, "forwarded").and_then(|all| all.child(NS_CLIENT, "message"));
        match inner.filter(|_| message.attribute("from") == Some(self.own_jid().as_str())) {
            Some(inner) => self.live(inner, form),
            None => self.odd(format!("a copy that is none: {message}")),
        }
    }

    fn live(&mut self, message: &Element, form: Form) {
        let own = self.own_jid();
        let is_ours =
            |child: &&Element| child.is(NS_STANZA_IDS, "stanza-id") && child.attribute("by") == Some(&own);
        let stanza_id =
            message.children().find(is_ours).and_then(|child| child.attribute("id")).map(str::to_owned);
        let id = message.attribute("id").unwrap_or_default().to_owned();
        let is_new = !self.known.contains(&id);
        let Some(content) = Content::read(message) else { return };
        if let Some(from) = message.attribute("from") {
            self.keeping.came(from, stanza_id.as_deref());
        }
        self.see(message, Way::Live(form), stanza_id.clone());
        if let Some(stanza_id) = stanza_id.filter(|_| self.kind().pages()) {
            self.follow(&stanza_id);
        }
        let from = message.attribute("from").unwrap_or_default();
        let asks = matches!(content, Content::Text { asks_receipt: true, .. });
        if asks && is_new && form == Form::Original && from.split('/').next() != Some(own.as_str()) {
            self.confirm(id, from);
            self.advance();
        }
    }

    /// Notes what the device saw.
    pub(super) fn see(&mut self, message: &Element, way: Way, stanza_id: Option<String>) {
        let (Some(content), Some(id)) = (Content::read(message), message.attribute("id")) else { return };
        let id = id.to_owned();
        self.known.insert(id.clone());
        if way == Way::Archive {
            self.found_in_archive(&id);
        }
        let attribute = |name| message.attribute(name).unwrap_or_default().to_owned();
        let number = self.number().filter(|_| way != Way::Archive);
        let sight = Sight {
            id,
            from: attribute("from"),
            to: attribute("to"),
            way,
            stanza_id,
            number,
            content,
            xml: message.to_string().into(),
        };
        self.learn(Fact::Saw(sight));
    }

    fn iq(&mut self, iq: &Element) {
        let id = iq.attribute("id").unwrap_or_default().to_owned();
        if matches!(iq.attribute("type"), Some("get" | "set")) {
            return self.refuse(iq, &id);
        }
        if !is_answer(iq, &id) || self.page_ended(iq) {
            return;
        }
        if iq.attribute("type") == Some("error") && id.starts_with("carbons") {
            self.learn(Fact::Lacks { what: "carbons" });
        }
        if self.arrival.as_ref() == Some(&id) {
            self.arrival = None;
            self.is_established = true;
            self.learn(Fact::Established);
        }
        if self.kept(iq, &id) {
            return self.advance();
        }
        self.taken(&id);
        self.answered(&id);
        self.advance();
    }

    /// A device answers pings, and nothing else.
    fn refuse(&mut self, iq: &Element, id: &str) {
        let to = iq.attribute("from").map(|from| format!(" to='{}'", escape(from))).unwrap_or_default();
        let id = escape(id);
        let answer = if iq.child(NS_PING, "ping").is_some() {
            format!("<iq type='result' id='{id}'{to}/>")
        } else {
            format!(
                "<iq type='error' id='{id}'{to}><error type='cancel'>\
                 <service-unavailable xmlns='{NS_STANZA_ERRORS}'/></error></iq>"
            )
        };
        self.send_stanza(None, answer);
    }
}
