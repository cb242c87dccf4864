//! Reading an archive (XEP-0313, XEP-0059).

use minidom::Element;

use super::message::said;
use super::{Device, NS_MAM, Said};

const NS_RSM: &str = "http://jabber.org/protocol/rsm";

/// A page of an archive.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) said: Vec<Said>,
    pub(crate) is_complete: bool,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
}

impl Page {
    pub(crate) fn bodies(&self) -> Vec<&str> {
        self.said.iter().map(|said| said.body.as_str()).collect()
    }
}

/// The elements of a query: its fields as a form, and its page.
pub(crate) fn query(fields: &[(&str, &str)], page: &str) -> String {
    let field = |(name, value): &(&str, &str)| format!("<field var='{name}'><value>{value}</value></field>");
    let fields = fields.iter().map(field).collect::<Vec<_>>().concat();
    format!(
        "<query xmlns='{NS_MAM}' queryid='q'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE' type='hidden'><value>{NS_MAM}</value></field>{fields}</x>\
         <set xmlns='{NS_RSM}'>{page}</set></query>"
    )
}

impl Device {
    /// One page. What the server sends as the answer to the query is taken out of what else arrives.
    pub(crate) async fn page(&mut self, fields: &[(&str, &str)], page: &str) -> Page {
        let answer = self.set(&query(fields, page)).await;
        let account = self.bare().to_owned();
        let results = self.take_waiting(|element| element.has_child("result", NS_MAM));
        let fin = answer.get_child("fin", NS_MAM).unwrap();
        let set = fin.get_child("set", NS_RSM).unwrap();
        let mark = |name| set.get_child(name, NS_RSM).map(Element::text);
        Page {
            said: results.iter().filter_map(|result| said(result, &account)).collect(),
            is_complete: fin.attr("complete") == Some("true"),
            first: mark("first"),
            last: mark("last"),
        }
    }

    /// Everything after an id, page by page.
    pub(crate) async fn archive_after(&mut self, id: Option<&str>) -> Vec<Said> {
        let mut after = id.map(str::to_owned);
        let mut all = Vec::new();
        loop {
            let mark = after.as_ref().map(|id| format!("<after>{id}</after>")).unwrap_or_default();
            let page = self.page(&[], &format!("<max>20</max>{mark}")).await;
            all.extend(page.said);
            if page.is_complete {
                return all;
            }
            after = page.last;
        }
    }
}
