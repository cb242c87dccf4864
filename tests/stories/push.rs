//! Phones that sleep are woken by the service of their app, a component here (XEP-0357).

use minidom::Element;

use crate::harness::{Database, Device, Lost, NS_ACCEPT, Program, Server, Start, chat, on_each_database};

on_each_database!(
    a_phone_that_sleeps_is_woken_until_it_comes,
    what_was_not_pushed_when_the_server_ended_is_pushed_when_it_runs_again,
    a_device_whose_access_was_taken_back_is_not_woken,
);

pub(super) const APP: &str = "push.example.net";
const NS_PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const NS_FORM: &str = "jabber:x:data";

pub(super) async fn server(database: Database) -> Server {
    let set = vec![
        "components.listen=127.0.0.1:0",
        r#"components.allow=[{ name = "push.example.net", secret = "hush" }]"#,
    ];
    Server::start(Start { database, set }).await
}

/// A push, as the service sees it.
pub(super) struct Push {
    id: String,
    node: String,
    pub(super) count: String,
    secret: String,
}

fn value(form: &Element, name: &str) -> String {
    let mut fields = form.children();
    let field = fields.find(|field| field.attr("var") == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    field.get_child("value", NS_FORM).unwrap().text()
}

/// The next push.
pub(super) async fn pushed(app: &mut Program) -> Push {
    let iq = app.next("iq").await;
    assert_eq!(
        (iq.attr("type"), iq.attr("from"), iq.attr("to")),
        (Some("set"), Some("example.org"), Some(APP))
    );
    let pubsub = iq.get_child("pubsub", NS_PUBSUB).unwrap();
    let publish = pubsub.get_child("publish", NS_PUBSUB).unwrap();
    let item = publish.get_child("item", NS_PUBSUB).unwrap();
    let summary = item.get_child("notification", "urn:xmpp:push:0").unwrap().get_child("x", NS_FORM).unwrap();
    assert_eq!(value(summary, "FORM_TYPE"), "urn:xmpp:push:summary");
    assert_eq!(summary.children().count(), 2, "neither who nor what"); // §9
    let options = pubsub.get_child("publish-options", NS_PUBSUB).unwrap().get_child("x", NS_FORM).unwrap();
    assert_eq!(value(options, "FORM_TYPE"), "http://jabber.org/protocol/pubsub#publish-options");
    Push {
        id: iq.attr("id").unwrap().to_owned(),
        node: publish.attr("node").unwrap().to_owned(),
        count: value(summary, "message-count"),
        secret: value(options, "secret"),
    }
}

/// Says that a push was taken, and waits until the server knows it.
pub(super) async fn takes(app: &mut Program, push: &Push) {
    app.send(&format!("<iq type='result' id='{}' from='{APP}' to='example.org'/>", push.id)).await;
    app.send(&format!(
        "<iq type='get' id='known' from='{APP}' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>"
    ))
    .await;
    app.until("<iq type='result' id='known'").await;
}

/// A phone that wants to be woken, and has lost its network. Its node has the name of the account.
async fn asleep(server: &Server, name: &str) -> Lost {
    let mut phone = server.managed(name, "phone").await;
    enable(&mut phone, name).await;
    phone.settle().await;
    phone.acknowledge().await;
    phone.settle().await;
    phone.lose()
}

pub(super) async fn enable(phone: &mut Device, node: &str) {
    let found = phone
        .ask(
            "get",
            Some(phone.bare().to_owned().as_str()),
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        )
        .await;
    let query = found.get_child("query", "http://jabber.org/protocol/disco#info").unwrap();
    assert!(query.children().any(|feature| feature.attr("var") == Some("urn:xmpp:push:0"))); // §4.1
    phone
        .set(&format!(
            "<enable xmlns='urn:xmpp:push:0' jid='{APP}' node='{node}'><x xmlns='{NS_FORM}' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='secret'><value>of {node}</value></field></x></enable>"
        ))
        .await;
}

async fn a_phone_that_sleeps_is_woken_until_it_comes(database: Database) {
    let server = server(database).await;
    let mut app = Program::connected(&server, APP).await;
    let phone = asleep(&server, "bob").await;
    let mut alice = server.device("alice").await;
    alice.send(&chat("bob", "1")).await;
    let push = pushed(&mut app).await;
    assert_eq!((push.node.as_str(), push.count.as_str(), push.secret.as_str()), ("bob", "1", "of bob"));
    alice.send(&chat("bob", "2")).await;
    takes(&mut app, &push).await;
    let push = pushed(&mut app).await;
    assert_eq!(push.count, "2");
    takes(&mut app, &push).await;
    // It comes, takes all, and is awake: what comes then wakes another phone only.
    let mut phone = server.resumed("bob", phone).await;
    phone.hears("1").await;
    phone.hears("2").await;
    let _carol = asleep(&server, "carol").await;
    for (to, body) in [("bob", "3"), ("carol", "3"), ("bob", "4")] {
        alice.send(&chat(to, body)).await;
    }
    phone.hears("3").await;
    phone.hears("4").await;
    phone.settle().await;
    for body in ["5", "6"] {
        let push = pushed(&mut app).await;
        assert_eq!(push.node, "carol");
        takes(&mut app, &push).await;
        alice.send(&chat("carol", body)).await;
    }
    // What the service does not know any more is not told to it again (§7.1).
    let push = pushed(&mut app).await;
    let gone = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    app.send(&format!("<iq type='error' id='{}' from='{APP}' to='example.org'>{gone}</iq>", push.id)).await;
    phone.lose();
    for (to, body) in [("carol", "7"), ("bob", "5"), ("bob", "6")] {
        alice.send(&chat(to, body)).await;
        if to == "bob" {
            let push = pushed(&mut app).await;
            assert_eq!(push.node, "bob");
            takes(&mut app, &push).await;
        }
    }
}

async fn what_was_not_pushed_when_the_server_ended_is_pushed_when_it_runs_again(database: Database) {
    let mut server = server(database).await;
    let _phone = asleep(&server, "bob").await;
    for (is_killed, body, count) in [(true, "1", "1"), (false, "2", "2"), (true, "3", "3")] {
        // Nobody is there to push to.
        let mut alice = server.managed("alice", "phone").await;
        alice.send(&chat("bob", body)).await;
        alice.recorded().await;
        if is_killed {
            server.kill9().await;
            server.boot().await;
        } else {
            server.restart().await;
        }
        let mut app = Program::connected(&server, APP).await;
        let push = pushed(&mut app).await;
        assert_eq!((push.node.as_str(), push.count.as_str()), ("bob", count));
        assert_eq!(push.secret, "of bob");
        takes(&mut app, &push).await;
        app.send("</stream:stream>").await;
        app.until("</stream:stream>").await;
        let log = server.log();
        assert!(!log.contains(NS_ACCEPT) && !log.contains("of bob"), "{log}");
    }
}

async fn a_device_whose_access_was_taken_back_is_not_woken(database: Database) {
    let server = server(database).await;
    let mut app = Program::connected(&server, APP).await;
    let _bob = asleep(&server, "bob").await;
    let _carol = asleep(&server, "carol").await;
    let mut alice = server.device("alice").await;
    for name in ["bob", "carol"] {
        alice.send(&chat(name, "before")).await;
        let push = pushed(&mut app).await;
        assert_eq!(push.node, name);
        takes(&mut app, &push).await;
    }
    let end = server.run("--json device list bob@example.org", "").await;
    let list: serde_json::Value = serde_json::from_slice(&end.stdout).unwrap();
    let id = list["devices"][0]["id"].as_str().unwrap().to_owned();
    let end = server.run(&format!("device revoke bob@example.org {id}"), "").await;
    assert!(end.status.success(), "{end:?}");
    for body in ["1", "2", "3"] {
        alice.send(&chat("bob", body)).await;
        alice.send(&chat("carol", body)).await;
        let push = pushed(&mut app).await;
        assert_eq!(push.node, "carol");
        takes(&mut app, &push).await;
    }
}
