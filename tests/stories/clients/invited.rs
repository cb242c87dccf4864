//! A phone as Monal has it: an account made by an invitation, SASL2 without Bind 2, nodes only where all of PEP is there, and
//! a service that wakes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;

use super::asking::{NS_BOOKMARKS, NS_DISPLAYED, PRIVATE, announce, finds, info, items, publish, told};
use crate::harness::{
    DOMAIN, Database, Device, Exchange, Login, Mechanism, NS_MAM, NS_SASL2, NS_SM, NS_STREAMS, PASSWORD,
    Program, Server, authenticate, chat, condition, on_each_database, query,
};
use crate::stories::interception::announced;
use crate::stories::push;

on_each_database!(who_was_invited_is_woken_for_what_matters_and_reads_it_on_every_device);

const AGENT: &str =
    "<user-agent id='0c4a3c1e-2b62-4a37-9a6a-6e8b1d6f0a11'><software>Monal</software></user-agent>";
/// Without all of these, PEP does not count for Monal; without the last two, not as a modern one.
const OF_PEP: [&str; 12] = [
    "filtered-notifications",
    "publish-options",
    "publish",
    "subscribe",
    "create-nodes",
    "delete-items",
    "delete-nodes",
    "persistent-items",
    "retrieve-items",
    "auto-create",
    "item-ids",
    "multi-items",
];

async fn who_was_invited_is_woken_for_what_matters_and_reads_it_on_every_device(database: Database) {
    let server = push::server(database).await;
    let mut app = Program::connected(&server, push::APP).await;
    let mut romeo = server.device("romeo").await;
    let mut phone = invited(&server).await;
    sets_up(&mut phone).await;
    let mut tablet = server.online("juliet", "tablet").await;
    announce(&mut tablet, "Monal", &[NS_DISPLAYED, NS_BOOKMARKS]).await;
    push::enable(&mut phone, "juliet").await;
    romeo.send(&chat("juliet", "0")).await;
    let before = phone.hears("0").await.stanza_id.unwrap();
    phone.settle().await;
    phone.acknowledge().await;
    phone.settle().await;
    let lost = phone.lose();

    // A marker and a reaction wake nobody; a message, a call and an invitation do, though two of them have no text.
    let to = format!("juliet@{DOMAIN}");
    let store = "<store xmlns='urn:xmpp:hints'/>";
    let silent = [
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
        "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>+</reaction></reactions>",
    ];
    for part in silent {
        romeo.send(&format!("<message to='{to}' type='chat' id='quiet'>{part}{store}</message>")).await;
    }
    for (number, part) in [
        "<body>1</body>",
        "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'><description/></propose>",
        "<x xmlns='jabber:x:conference' jid='room@rooms.example.net'/>",
    ]
    .into_iter()
    .enumerate()
    {
        romeo.send(&format!("<message to='{to}' type='chat' id='loud {number}'>{part}</message>")).await;
        let push = push::pushed(&mut app).await;
        assert_eq!(push.count, (number + 1).to_string());
        push::takes(&mut app, &push).await;
    }

    let mut phone = server.resumed("juliet", lost).await;
    let seen = phone.hears("1").await.stanza_id.unwrap();
    phone.find(|element| element.attr("id") == Some("loud 2")).await;
    reads(&mut phone, &mut romeo, &mut tablet, &seen).await;

    // Where it stood is not known any more: it is told so, and asks by time.
    let forgotten = query(&[], "<max>10</max><after>no-such-id</after>");
    assert_eq!(condition(&phone.ask("set", None, &forgotten).await), "item-not-found");
    let page = phone.page(&[("start", "2020-01-01T00:00:00Z")], "<max>20</max>").await;
    assert_eq!((page.bodies(), page.is_complete), (vec!["0", "1"], true));
    assert_eq!(phone.page(&[], &format!("<max>20</max><after>{before}</after>")).await.bodies(), ["1"]);
}

/// From a link to a session: the account, SASL2, and a resource as RFC 6120 has it.
async fn invited(server: &Server) -> Device {
    let end = server.run("--json invite juliet@example.org --contact romeo@example.org", "").await;
    let link: serde_json::Value = serde_json::from_slice(&end.stdout).unwrap();
    let token = link["token"].as_str().unwrap();
    let mut wire = server.secure().await;
    let features = wire.open().await;
    assert!(features.has_child("register", "urn:xmpp:ibr-token:0"), "{features:?}");
    let preauth = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
    let account = format!("<username>juliet</username><password>{PASSWORD}</password>");
    let account = format!("<query xmlns='jabber:iq:register'>{account}</query>");
    for payload in [preauth, account] {
        wire.send(&format!("<iq type='set' id='r'>{payload}</iq>")).await;
        let answer = wire.element().await;
        assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    }
    server.has_account("juliet");

    let mut wire = server.secure().await;
    let features = wire.open().await;
    let bindings = features.get_child("sasl-channel-binding", "urn:xmpp:sasl-cb:0").unwrap();
    // Without this one, Monal switches the account off.
    assert!(bindings.children().any(|binding| binding.attr("type") == Some("tls-server-end-point")));
    sees_that_nothing_was_left_out(server, &features).await;
    let mechanism = Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-exporter"));
    let success = authenticate(&mut wire, mechanism, ("juliet", PASSWORD), AGENT).await;
    let jid = success.get_child("authorization-identifier", NS_SASL2).map(Element::text);
    assert_eq!(jid.as_deref(), Some("juliet@example.org"));
    let features = wire.element().await;
    for (name, ns) in [("csi", "urn:xmpp:csi:0"), ("sm", NS_SM), ("sub", "urn:xmpp:features:pre-approval")] {
        assert!(features.is("features", NS_STREAMS) && features.has_child(name, ns), "{features:?}");
    }
    let mut phone = Login { wire, features }.bind("Monal.1").await;
    phone.enable().await;
    phone
}

/// XEP-0474 §6 within SASL2: the hash of all that was offered stands in the first message of the server.
async fn sees_that_nothing_was_left_out(server: &Server, features: &Element) {
    let mechanism = Mechanism::new("SCRAM-SHA-256", None);
    let first = Exchange::new(mechanism, "juliet", PASSWORD).first();
    let mut wire = server.secure().await;
    assert_eq!(announced(&wire.open().await), announced(features));
    wire.send(&format!(
        "<authenticate xmlns='{NS_SASL2}' mechanism='{}'><initial-response>{first}</initial-response></authenticate>",
        mechanism.name
    ))
    .await;
    let challenge = String::from_utf8(STANDARD.decode(wire.element().await.text()).unwrap()).unwrap();
    let said = challenge.split(',').find_map(|part| part.strip_prefix("h="));
    let hash = STANDARD.encode(mechanism.digest(announced(features).as_bytes()));
    assert_eq!(said, Some(hash.as_str()));
}

async fn sets_up(phone: &mut Device) {
    let account = phone.bare().to_owned();
    let found = info(phone, &account).await;
    let is_pep =
        |child: &Element| (child.attr("category"), child.attr("type")) == (Some("pubsub"), Some("pep"));
    assert!(found.children().any(is_pep), "{found:?}");
    let of_pep = OF_PEP.map(|feature| format!("http://jabber.org/protocol/pubsub#{feature}"));
    finds(phone, &account, &of_pep.each_ref().map(String::as_str)).await;
    let more = ["urn:xmpp:push:0", NS_MAM, "urn:xmpp:bookmarks:1#compat-pep", "urn:xmpp:mds:server-assist:0"];
    finds(phone, &account, &more).await;
    finds(phone, DOMAIN, &["urn:xmpp:carbons:2", "urn:xmpp:blocking", "urn:xmpp:extdisco:2"]).await;

    // The one who invited is a contact already.
    let roster = phone.get("<query xmlns='jabber:iq:roster'/>").await;
    let item =
        roster.get_child("query", "jabber:iq:roster").and_then(|query| query.children().next()).unwrap();
    assert_eq!((item.attr("jid"), item.attr("subscription")), (Some("romeo@example.org"), Some("both")));
    phone.be_online().await;
    let room = format!("<conference xmlns='{NS_BOOKMARKS}' autojoin='true'/>");
    publish(phone, (NS_BOOKMARKS, "room@rooms.example.net"), &room, &PRIVATE).await.unwrap();
    // Clients that know the older list alone find it there (XEP-0402 §5.3).
    let older = items(phone, &account, "storage:bookmarks").await.unwrap();
    assert!(String::from(&older[0]).contains("room@rooms.example.net"), "{older:?}");
}

/// One message says to the sender that it was read, and to the own account how far.
async fn reads(phone: &mut Device, romeo: &mut Device, tablet: &mut Device, seen: &str) {
    let account = phone.bare().to_owned();
    let id = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{account}' id='{seen}'/>");
    phone
        .send(&format!(
            "<message to='romeo@{DOMAIN}' type='chat' id='read'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>\
             <displayed xmlns='{NS_DISPLAYED}'>{id}</displayed></message>"
        ))
        .await;
    let read = romeo.find(|element| element.attr("id") == Some("read")).await;
    assert!(!read.has_child("displayed", NS_DISPLAYED), "{read:?}");
    let item = told(tablet, &account, NS_DISPLAYED).await;
    assert_eq!(item.attr("id"), Some("romeo@example.org"));
    assert!(String::from(&item).contains(seen), "{item:?}");
}
