//! From a stream header to a session (RFC 6120 §4, §6, §7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::cast::Kind;
use super::super::history::Fact;
use super::super::operation::Presence;
use super::{Device, Stage};
use crate::client::{NS_BIND, NS_SASL, NS_SM};
use crate::xml::{Element, NS_CLIENT, NS_STREAM, escape};

const NS_SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
const NS_CARBONS: &str = "urn:xmpp:carbons:2";
const NS_PING: &str = "urn:xmpp:ping";
pub(super) const NS_CSI: &str = "urn:xmpp:csi:0";

impl Device {
    pub(super) fn open_stream(&mut self) {
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' \
             xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>",
            escape(&self.accounts.domain)
        );
        self.send(header);
    }

    pub(super) fn element(&mut self, element: Element) {
        if element.is(NS_STREAM, "error") {
            let condition = element.children().next().map_or("no condition", |child| child.name.as_str());
            self.error = Some(condition.to_owned());
            return;
        }
        self.count(&element);
        match self.stage {
            Stage::Away => {}
            Stage::Opening | Stage::Reopening if element.is(NS_STREAM, "features") => self.choose(element),
            Stage::Authenticating if element.is(NS_SASL, "success") => {
                self.reopen();
            }
            Stage::Authenticating if element.is(NS_SASL, "failure") => {
                self.odd(format!("authentication failed: {element}"));
                self.drop_connection();
            }
            Stage::Resuming => self.resumption(&element),
            Stage::Binding if is_answer(&element, "bind") => self.bound(&element),
            Stage::Enabling
                if element.ns == NS_SM && matches!(element.name.as_str(), "enabled" | "failed") =>
            {
                self.enabled(&element);
            }
            Stage::Online | Stage::Leaving | Stage::Enabling => self.session_element(&element),
            _ => self.odd(format!("unexpected in {:?}: {element}", self.stage)),
        }
        self.check_settled();
    }

    fn reopen(&mut self) {
        self.outputs.push_back(super::Output::Reopen);
        self.stage = Stage::Reopening;
        self.open_stream();
    }

    /// What comes next, by what the server offers.
    fn choose(&mut self, features: Element) {
        if self.stage == Stage::Opening && features.child(NS_SASL, "mechanisms").is_some() {
            self.authenticate();
            return;
        }
        self.features = Some(features);
        if self.kind().has_sm() && !self.offers(NS_SM, "sm") {
            self.learn(Fact::Lacks { what: "stream management" });
        }
        match self.management.as_ref().and_then(super::Management::resumption) {
            Some(resume) => {
                self.tell_resumption();
                self.send(resume);
                self.stage = Stage::Resuming;
            }
            None => self.bind(),
        }
    }

    /// RFC 4616, inside of TLS.
    fn authenticate(&mut self) {
        let Some(account) = self.accounts.users.get(self.part.user.0) else { return };
        let message = BASE64.encode(format!("\0{}\0{}", account.local, account.password));
        self.stage = Stage::Authenticating;
        self.send(format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>"));
    }

    pub(super) fn bind(&mut self) {
        self.start_afresh();
        self.stage = Stage::Binding;
        let resource = escape(&self.part.resource);
        self.send(format!(
            "<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>{resource}</resource></bind></iq>"
        ));
    }

    fn bound(&mut self, answer: &Element) {
        let jid =
            answer.child(NS_BIND, "bind").and_then(|bind| bind.child(NS_BIND, "jid")).map(Element::text);
        let wanted = format!("{}/{}", self.own_jid(), self.part.resource);
        if is_servers_fault(answer) {
            self.learn(Fact::Failed { what: format!("binding {wanted} was answered with {answer}") });
            return self.bind();
        }
        if jid.as_deref() != Some(wanted.as_str()) {
            self.odd(format!("binding {wanted} was answered with {answer}"));
            return self.drop_connection();
        }
        self.learn(Fact::Bound);
        self.unwrite_letters();
        let session = self.features.as_ref().and_then(|features| features.child(NS_SESSION, "session"));
        if session.is_some_and(|session| session.child(NS_SESSION, "optional").is_none()) {
            self.send(format!("<iq type='set' id='session'><session xmlns='{NS_SESSION}'/></iq>"));
        }
        if self.kind().has_sm() && self.offers(NS_SM, "sm") {
            self.stage = Stage::Enabling;
            self.enable();
        } else {
            self.enter();
        }
    }

    /// The session is there: carbons, presence, what was missed.
    pub(super) fn enter(&mut self) {
        self.stage = Stage::Online;
        if self.kind().has_carbons() {
            let id = self.next_request("carbons");
            self.send_stanza(None, format!("<iq type='set' id='{id}'><enable xmlns='{NS_CARBONS}'/></iq>"));
        }
        (self.is_aside, self.pages_again) = (false, false);
        if self.kind().is_available() {
            self.send_stanza(None, "<presence/>".to_owned());
        }
        self.ask_arrival();
        if self.kind().pages() {
            self.start_paging();
        }
        self.advance();
    }

    /// After the answer to this, the server has taken everything before it.
    pub(super) fn ask_arrival(&mut self) {
        let id = self.ping("here");
        self.arrival = Some(id);
    }

    pub(super) fn ping(&mut self, name: &str) -> String {
        let id = self.next_request(name);
        let to = escape(&self.accounts.domain);
        self.send_stanza(None, format!("<iq type='get' id='{id}' to='{to}'><ping xmlns='{NS_PING}'/></iq>"));
        id
    }

    pub(super) fn offers(&self, ns: &str, name: &str) -> bool {
        self.features.as_ref().is_some_and(|features| features.child(ns, name).is_some())
    }

    /// Somebody looks at the device, or nobody does.
    pub fn look(&mut self, looks: bool) {
        if self.stage == Stage::Online && self.kind() == Kind::Csi && self.offers(NS_CSI, "csi") {
            let name = if looks { "active" } else { "inactive" };
            self.send(format!("<{name} xmlns='{NS_CSI}'/>"));
        }
    }
}

impl Device {
    /// The device is there, or it is not, or not for everything. Who pages does so when it is there again.
    pub fn show(&mut self, presence: Presence) {
        let comes_back = presence == Presence::Available;
        if self.stage != Stage::Online || (comes_back && !self.is_aside) {
            return;
        }
        self.is_aside = !comes_back;
        self.send_stanza(None, presence.stanza().to_owned());
        if comes_back && self.kind().pages() {
            self.pages_again = self.paging.is_some();
            if !self.pages_again {
                self.start_paging();
            }
        }
    }
}

impl Presence {
    fn stanza(self) -> &'static str {
        match self {
            Self::Available => "<presence/>",
            Self::Negative => "<presence><priority>-1</priority></presence>",
            Self::Unavailable => "<presence type='unavailable'/>",
        }
    }
}

/// RFC 6120 §8.3.3.6: the server could not do what it was asked, and may be able to another time.
pub(super) fn is_servers_fault(answer: &Element) -> bool {
    let error = answer.child(NS_CLIENT, "error");
    error.is_some_and(|error| error.children().any(|child| child.name == "internal-server-error"))
}

/// The answer to the request of this id.
pub(super) fn is_answer(element: &Element, id: &str) -> bool {
    element.is(NS_CLIENT, "iq")
        && element.attribute("id") == Some(id)
        && matches!(element.attribute("type"), Some("result" | "error"))
}
