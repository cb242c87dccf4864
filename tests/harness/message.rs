//! What clients say, and what they are shown of it.

use minidom::Element;

use super::{DOMAIN, NS_CLIENT, NS_MAM, NS_STANZA_ERRORS};

const NS_CARBONS: &str = "urn:xmpp:carbons:2";
const NS_FORWARD: &str = "urn:xmpp:forward:0";
const NS_STANZA_ID: &str = "urn:xmpp:sid:0";

/// A chat message to a user of the server. The body is its id, too.
pub(crate) fn chat(to: &str, body: &str) -> String {
    let to = if to.contains('@') { to.to_owned() } else { format!("{to}@{DOMAIN}") };
    format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")
}

/// A message as a device shows it, however it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) from: String,
    pub(crate) body: String,
    /// Its id in the archive of the account that shows it.
    pub(crate) stanza_id: Option<String>,
}

/// What a device of an account is shown by an element; `None` for what has no body.
pub(crate) fn said(element: &Element, account: &str) -> Option<Said> {
    let carbon = ["sent", "received"].iter().find_map(|kind| element.get_child(kind, NS_CARBONS));
    let wrapped = carbon.or_else(|| element.get_child("result", NS_MAM));
    let forwarded = wrapped.and_then(|wrapped| wrapped.get_child("forwarded", NS_FORWARD));
    let message =
        forwarded.and_then(|forwarded| forwarded.get_child("message", NS_CLIENT)).unwrap_or(element);
    let by_account = |id: &&Element| id.is("stanza-id", NS_STANZA_ID) && id.attr("by") == Some(account);
    let shown = element.get_child("result", NS_MAM).and_then(|result| result.attr("id"));
    let stanza_id = shown.or_else(|| message.children().find(by_account).and_then(|id| id.attr("id")));
    Some(Said {
        from: message.attr("from").unwrap_or_default().to_owned(),
        body: message.get_child("body", NS_CLIENT)?.text(),
        stanza_id: stanza_id.map(str::to_owned),
    })
}

/// The condition of a stanza error.
pub(crate) fn condition(stanza: &Element) -> String {
    let error = stanza.get_child("error", NS_CLIENT).expect("an error");
    let condition = error.children().find(|child| child.has_ns(NS_STANZA_ERRORS) && child.name() != "text");
    condition.expect("a condition").name().to_owned()
}
