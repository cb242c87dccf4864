//! Catching up from the archive (XEP-0313), from the last id that the device knows.

use std::collections::BTreeSet;

use super::super::cast::Kind;
use super::super::content::Id;
use super::super::history::{Fact, Way};
use super::Device;
use super::negotiation::is_servers_fault;
use crate::xml::{Element, NS_CLIENT, escape};

const NS_MAM: &str = "urn:xmpp:mam:2";
const NS_RSM: &str = "http://jabber.org/protocol/rsm";
const NS_FORWARD: &str = "urn:xmpp:forward:0";

/// Entries of one page. Small, so that there are many pages.
const PAGE: usize = 10;
const AUDITORS_PAGE: usize = 50;

/// A catch-up that is not done yet.
#[derive(Debug)]
pub(super) struct Paging {
    /// The query that is not answered yet.
    request: Id,
    /// The ids on the pages so far.
    paged: BTreeSet<String>,
    /// The ids that came live meanwhile.
    live: Vec<String>,
}

impl Device {
    pub(super) fn start_paging(&mut self) {
        let request = self.query(self.last_id.clone().as_deref());
        self.paging = Some(Paging { request, paged: BTreeSet::new(), live: Vec::new() });
    }

    /// Asks for the page after an id, and returns the id of the request.
    fn query(&mut self, after: Option<&str>) -> Id {
        let request = self.next_request("mam");
        let max = if self.kind() == Kind::Auditor { AUDITORS_PAGE } else { PAGE };
        let after = after.map(|id| format!("<after>{}</after>", escape(id))).unwrap_or_default();
        self.send_stanza(
            None,
            format!(
                "<iq type='set' id='{request}'><query xmlns='{NS_MAM}' queryid='{request}'>\
                 <set xmlns='{NS_RSM}'><max>{max}</max>{after}</set></query></iq>"
            ),
        );
        request
    }

    /// An entry of a page. Whether the message was one.
    pub(super) fn archived(&mut self, message: &Element) -> bool {
        let Some(result) = message.child(NS_MAM, "result") else { return false };
        let from = message.attribute("from").unwrap_or_default();
        let paging = self
            .paging
            .as_mut()
            .filter(|paging| result.attribute("queryid") == Some(paging.request.as_str()));
        let (Some(paging), Some(stanza_id)) = (paging, result.attribute("id")) else {
            self.odd(format!("an entry of the archive that nobody asked for: {message}"));
            return true;
        };
        paging.paged.insert(stanza_id.to_owned());
        if !from.is_empty() && from != self.own_jid() {
            self.odd(format!("an entry of the archive from {from}"));
            return true;
        }
        let inner = result.child(NS_FORWARD, "forwarded").and_then(|all| all.child(NS_CLIENT, "message"));
        match inner {
            Some(inner) => self.see(inner, Way::Archive, Some(stanza_id.to_owned())),
            None => self.odd(format!("an entry without a message: {message}")),
        }
        true
    }

    /// An id came live: what is behind it is not missed, unless a page is being read, or the device was not there.
    pub(super) fn follow(&mut self, stanza_id: &str) {
        if self.is_aside {
            return;
        }
        match &mut self.paging {
            Some(paging) => paging.live.push(stanza_id.to_owned()),
            None => self.last_id = Some(stanza_id.to_owned()),
        }
    }

    /// The end of a page. Whether the iq was one.
    pub(super) fn page_ended(&mut self, iq: &Element) -> bool {
        let is_ours = |paging: &Paging| iq.attribute("id") == Some(paging.request.as_str());
        if !self.paging.as_ref().is_some_and(is_ours) {
            return false;
        }
        if iq.attribute("type") == Some("error") {
            self.refused_page(iq);
            return true;
        }
        let fin = iq.child(NS_MAM, "fin");
        let last = fin.and_then(|fin| fin.child(NS_RSM, "set")?.child(NS_RSM, "last")).map(Element::text);
        if let Some(last) = &last {
            self.last_id = Some(last.clone());
        }
        let is_complete = fin.and_then(|fin| fin.attribute("complete")) == Some("true");
        if fin.is_none() || (!is_complete && last.is_none()) {
            self.odd(format!("the end of a page says neither where it ends nor that all is read: {iq}"));
        }
        if is_complete || last.is_none() {
            self.caught_up();
        } else {
            let request = self.query(last.as_deref());
            if let Some(paging) = &mut self.paging {
                paging.request = request;
            }
        }
        true
    }

    fn refused_page(&mut self, iq: &Element) {
        let is_gone = iq
            .child(NS_CLIENT, "error")
            .is_some_and(|error| error.children().any(|c| c.name == "item-not-found"));
        if is_gone && let Some(stanza_id) = self.last_id.take() {
            self.learn(Fact::Forgotten { stanza_id });
            self.start_paging();
        } else if is_servers_fault(iq) {
            self.learn(Fact::Failed { what: format!("the archive cannot be read: {iq}") });
            let request = self.query(self.last_id.clone().as_deref());
            if let Some(paging) = &mut self.paging {
                paging.request = request;
            }
        } else {
            self.odd(format!("the archive cannot be read: {iq}"));
            self.paging = None;
        }
    }

    fn caught_up(&mut self) {
        let Some(paging) = self.paging.take() else { return };
        // What came live and is on no page is newer than all pages.
        if let Some(newest) = paging.live.into_iter().rfind(|id| !paging.paged.contains(id)) {
            self.last_id = Some(newest);
        }
        self.learn(Fact::CaughtUp);
        if std::mem::take(&mut self.pages_again) {
            self.start_paging();
        }
        self.advance();
    }
}
