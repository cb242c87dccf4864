//! A desk as Gajim has it: SASL by RFC 6120 on STARTTLS, an archive whose pages it looks at closely, and private nodes that
//! it mends where another client left them open.

use minidom::Element;

use super::asking::{
    NS_BOOKMARKS, NS_DISPLAYED, NS_FORM, NS_PUBSUB, PRIVATE, announce, befriend, finds, items, publish, told,
};
use crate::harness::{
    DOMAIN, Database, Device, Login, Mechanism, NS_MAM, PASSWORD, Resumption, Server, chat, on_each_database,
    query,
};

on_each_database!(a_desk_keeps_private_what_is_and_misses_nothing_when_the_server_falls);

const NS_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const NS_RSM: &str = "http://jabber.org/protocol/rsm";

async fn a_desk_keeps_private_what_is_and_misses_nothing_when_the_server_falls(database: Database) {
    let mut server = Server::start(database).await;
    server.account("alice").await;
    let mut desk = log_in(&server).await.bind("gajim.ABC").await;
    looks_around(&mut desk).await;
    announce(&mut desk, "Gajim", &[NS_BOOKMARKS, NS_DISPLAYED]).await;
    let mut bob = server.device("bob").await;
    befriend(&mut desk, &mut bob).await;
    mends_its_bookmarks(&mut desk, &mut bob).await;

    for body in ["1", "2", "3"] {
        bob.send(&chat("alice", body)).await;
        desk.hears(body).await;
    }
    pages(&mut desk, &["1", "2", "3"]).await;
    bob.send(&chat("alice", "4")).await;
    let newest = desk.hears("4").await.stanza_id.unwrap();
    desk.settle().await;
    server.kill9().await;
    let (_, lost) = desk.outlive().await;
    server.boot().await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice", "5")).await;
    bob.settle().await;

    // The session is gone with the server, the archive is not. What comes twice has one id.
    let Resumption::Failed { login, .. } = log_in(&server).await.resume(lost).await else {
        panic!("a session outlived the server")
    };
    let mut desk = login.bind("gajim.ABC").await;
    desk.enable().await;
    desk.set("<enable xmlns='urn:xmpp:carbons:2'/>").await;
    desk.send("<presence/>").await;
    let missed = desk.archive_after(Some(&newest)).await;
    assert_eq!(missed.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), ["5"]);
    desk.settle().await;
    let waited = desk.take_waiting(|element| element.name() == "message");
    let known = [Some(newest.as_str()), missed[0].stanza_id.as_deref()];
    for message in waited {
        let id = message.get_child("stanza-id", "urn:xmpp:sid:0").and_then(|id| id.attr("id"));
        assert!(known.contains(&id), "{message:?}");
    }
    assert_eq!(rooms(&mut desk).await, ["other@rooms.example.net", "room@rooms.example.net"]);
}

async fn log_in(server: &Server) -> Login {
    let mut wire = server.connect().await;
    wire.open().await;
    let mut wire = wire.start_tls(server.tls()).await.unwrap();
    wire.open().await;
    let mechanism = Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-server-end-point"));
    let end = Login::run(wire, mechanism, "alice", PASSWORD).await;
    end.unwrap_or_else(|(_, condition)| panic!("{condition}"))
}

async fn looks_around(desk: &mut Device) {
    desk.enable().await;
    let account = desk.bare().to_owned();
    let options = ["publish-options", "config-node-max", "persistent-items", "access-whitelist"];
    let options = options.map(|option| format!("{NS_PUBSUB}#{option}"));
    let wanted = options.iter().map(String::as_str).chain([NS_MAM, "urn:xmpp:bookmarks:1#compat"]);
    finds(desk, &account, &wanted.collect::<Vec<_>>()).await;
    finds(desk, DOMAIN, &["urn:xmpp:carbons:2", "urn:xmpp:blocking", "http://jabber.org/protocol/commands"])
        .await;
    let roster = desk.get("<query xmlns='jabber:iq:roster' ver=''/>").await;
    assert!(roster.get_child("query", "jabber:iq:roster").unwrap().attr("ver").is_some());
    desk.get("<blocklist xmlns='urn:xmpp:blocking'/>").await;
    desk.set("<enable xmlns='urn:xmpp:carbons:2'/>").await;
    // An archive with nothing in it, and before there was anything.
    is_page(&desk.set(&query(&[], "<max>50</max>")).await, 50);
    is_page(&desk.set(&query(&[("start", "2026-01-01T00:00:00Z")], "<max>0</max>")).await, 0);
}

/// What nbxmpp takes for a page; anything else is an error to it.
fn is_page(answer: &Element, max: usize) {
    let fin = answer.get_child("fin", NS_MAM).unwrap_or_else(|| panic!("{answer:?}"));
    let set = fin.get_child("set", NS_RSM).unwrap_or_else(|| panic!("{answer:?}"));
    let has_ends = set.has_child("first", NS_RSM) && set.has_child("last", NS_RSM);
    assert!(has_ends || max == 0 || fin.attr("complete") == Some("true"), "{answer:?}");
}

/// Forwards and back, of everybody and of one, by two and by none.
async fn pages(desk: &mut Device, bodies: &[&str]) {
    for fields in [vec![], vec![("with", "bob@example.org")], vec![("with", "nobody@example.org")]] {
        for page in ["<max>2</max>", "<max>2</max><before/>", "<max>0</max>", "<max>50</max>"] {
            let max = if page.starts_with("<max>0") { 0 } else { 2 };
            is_page(&desk.set(&query(&fields, page)).await, max);
        }
    }
    desk.take_waiting(|element| element.has_child("result", NS_MAM));
    assert_eq!(desk.page(&[], "<max>50</max>").await.bodies(), bodies);
}

/// A node that others may read takes no bookmark of Gajim's, until Gajim has closed it with the form as it was given.
async fn mends_its_bookmarks(desk: &mut Device, friend: &mut Device) {
    let account = desk.bare().to_owned();
    let room = format!("<conference xmlns='{NS_BOOKMARKS}' name='Stage' autojoin='true'/>");
    let open = [("access_model", "open"), ("max_items", "max"), ("persist_items", "true")];
    publish(desk, (NS_BOOKMARKS, "room@rooms.example.net"), &room, &open).await.unwrap();
    told(desk, &account, NS_BOOKMARKS).await;
    assert_eq!(items(friend, &account, NS_BOOKMARKS).await.unwrap().len(), 1);
    let other = (NS_BOOKMARKS, "other@rooms.example.net");
    assert_eq!(publish(desk, other, &room, &PRIVATE).await.unwrap_err(), "conflict");

    let configure = |inner: &str| {
        format!("<pubsub xmlns='{NS_OWNER}'><configure node='{NS_BOOKMARKS}'>{inner}</configure></pubsub>")
    };
    let answer = desk.get(&configure("")).await;
    let given =
        answer.get_child("pubsub", NS_OWNER).and_then(|pubsub| pubsub.get_child("configure", NS_OWNER));
    let form = given.and_then(|configure| configure.get_child("x", NS_FORM)).unwrap();
    let fields: Vec<_> = form.children().filter_map(mended).collect();
    desk.set(&configure(&format!("<x xmlns='{NS_FORM}' type='submit'>{}</x>", fields.concat()))).await;

    publish(desk, other, &room, &PRIVATE).await.unwrap();
    assert_eq!(told(desk, &account, NS_BOOKMARKS).await.attr("id"), Some(other.1));
    assert!(items(friend, &account, NS_BOOKMARKS).await.is_err());
    assert_eq!(rooms(desk).await, ["other@rooms.example.net", "room@rooms.example.net"]);
}

/// A field of the form, as it is sent back.
fn mended(field: &Element) -> Option<String> {
    let name = field.attr("var")?;
    let wanted = PRIVATE.iter().find(|(wanted, _)| name.strip_prefix("pubsub#") == Some(wanted));
    let given = field.children().filter(|child| child.name() == "value").map(Element::text);
    let values = wanted.map_or_else(|| given.collect(), |(_, value)| vec![(*value).to_owned()]);
    let values = values.iter().map(|value| format!("<value>{value}</value>")).collect::<Vec<_>>();
    Some(format!("<field var='{name}'>{}</field>", values.concat()))
}

async fn rooms(desk: &mut Device) -> Vec<String> {
    let account = desk.bare().to_owned();
    let found = items(desk, &account, NS_BOOKMARKS).await.unwrap();
    let mut rooms: Vec<_> = found.iter().map(|item| item.attr("id").unwrap().to_owned()).collect();
    rooms.sort();
    rooms
}
