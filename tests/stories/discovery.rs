//! What the server says of itself before it is asked (XEP-0115), held against what it answers (XEP-0030, XEP-0128).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use tokio_xmpp::parsers::caps::hash_caps;
use tokio_xmpp::parsers::hashes::Algo;

use crate::harness::{DOMAIN, Database, Server};

const NS_CAPS: &str = "http://jabber.org/protocol/caps";
const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
const NS_FORMS: &str = "jabber:x:data";

/// The hash by XEP-0115 §5.1, as a client computes it of an answer. The library of the tests is no help with the text: it
/// sorts features with the `<` that ends each.
pub(super) fn verification(query: &Element) -> String {
    let attr = |element: &Element, name: &str| element.attr(name).unwrap_or_default().to_owned();
    let named = |name: &'static str| query.children().filter(move |child| child.is(name, NS_INFO));
    let mut identities: Vec<_> = named("identity")
        .map(|id| (attr(id, "category"), attr(id, "type"), attr(id, "xml:lang"), attr(id, "name")))
        .collect();
    identities.sort();
    let mut features: Vec<_> = named("feature").map(|feature| attr(feature, "var")).collect();
    features.sort();
    let forms = query.children().filter(|child| child.is("x", NS_FORMS));
    let mut forms: Vec<_> = forms.map(form).collect();
    forms.sort();
    let identities = identities.into_iter().map(|(a, b, c, d)| format!("{a}/{b}/{c}/{d}"));
    let parts = identities.chain(features).chain(forms.into_iter().flatten());
    let text = parts.map(|part| part + "<").collect::<Vec<_>>().concat();
    STANDARD.encode(hash_caps(text.as_bytes(), Algo::Sha_1).unwrap().hash)
}

/// What a form adds: its type, then each field with its values.
fn form(form: &Element) -> Vec<String> {
    let mut fields: Vec<_> = form
        .children()
        .map(|field| {
            let mut values: Vec<_> = field.children().map(Element::text).collect();
            values.sort();
            (field.attr("var").unwrap().to_owned(), values)
        })
        .collect();
    // The type is the first in any case: upper case comes before lower case.
    fields.sort();
    assert_eq!(fields[0].0, "FORM_TYPE");
    let all = fields.into_iter().flat_map(|(name, values)| std::iter::once(name).chain(values));
    all.skip(1).collect()
}

#[tokio::test]
async fn the_hash_of_the_stream_features_fits_what_the_server_answers() {
    let server = Server::start(Database::Sqlite).await;
    let login = server.log_in("alice").await;
    let caps = login.features.get_child("c", NS_CAPS).unwrap().clone();
    let (node, ver) = (caps.attr("node").unwrap(), caps.attr("ver").unwrap());
    let mut phone = login.bind("phone").await;
    for node in ["", &format!("node='{node}#{ver}'")] {
        let answer = phone.ask("get", Some(DOMAIN), &format!("<query xmlns='{NS_INFO}' {node}/>")).await;
        let query = answer.get_child("query", NS_INFO).unwrap();
        assert!(query.has_child("x", NS_FORMS), "a form counts as well");
        assert_eq!(verification(query), ver);
    }
}

/// A client that keeps what a server said under its hash asks nothing while the hash stays.
#[tokio::test]
async fn the_hash_is_another_when_the_server_says_something_else() {
    let mut server = Server::start(Database::Sqlite).await;
    let before = announced(&server).await;
    server.restart().await;
    assert_eq!(announced(&server).await, before, "nothing has changed");
    let path = server.path("unisono.toml");
    let contacts = "[contacts]\nabuse = [\"mailto:abuse@example.org\"]\n";
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + contacts).unwrap();
    server.restart().await;
    let after = announced(&server).await;
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?}, {after:?}");
    let mut phone = server.bind("alice", "phone").await;
    let answer = phone.ask("get", Some(DOMAIN), &format!("<query xmlns='{NS_INFO}'/>")).await;
    let query = answer.get_child("query", NS_INFO).unwrap();
    assert!(String::from(query).contains("abuse-addresses"));
    assert_eq!(verification(query), after.0);
}

/// The hashes that the stream features hold: of XEP-0115, and of XEP-0390.
async fn announced(server: &Server) -> (String, Vec<String>) {
    let features = server.log_in("alice").await.features;
    let ver = features.get_child("c", NS_CAPS).unwrap().attr("ver").unwrap().to_owned();
    let hashes = features.get_child("c", "urn:xmpp:caps").unwrap();
    (ver, hashes.children().map(Element::text).collect())
}
