//! Accounts that people make and remove with their clients, invitations, and reports.

use minidom::Element;
use serde_json::Value;

use crate::harness::{
    Database, Login, Mechanism, NS_CLIENT, Server, Start, Wire, chat, condition, on_each_database,
};

on_each_database!(
    an_invitation_outlives_a_crash_and_makes_one_account,
    nobody_registers_uninvited_unless_the_configuration_says_so,
    an_account_that_its_owner_removes_is_gone_for_good,
    a_report_shows_the_administrator_what_was_sent,
);

/// Runs a command that has to work; its answer as JSON.
async fn json(server: &Server, arguments: &str) -> Value {
    let end = server.run(&format!("--json {arguments}"), "").await;
    assert!(end.status.success(), "{arguments}: {end:?}");
    serde_json::from_slice(&end.stdout).unwrap_or(Value::Null)
}

/// A stream on which nobody has authenticated.
async fn stranger(server: &Server) -> Wire {
    let mut wire = server.secure().await;
    wire.open().await;
    wire
}

async fn ask(wire: &mut Wire, kind: &str, payload: &str) -> Element {
    wire.send(&format!("<iq type='{kind}' id='1'>{payload}</iq>")).await;
    wire.element().await
}

fn preauth(token: &str) -> String {
    format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>")
}

fn register(name: &str, password: &str) -> String {
    format!(
        "<query xmlns='jabber:iq:register'><username>{name}</username><password>{password}</password></query>"
    )
}

/// `result`, or the condition of the error.
fn came(answer: &Element) -> String {
    if answer.attr("type") == Some("result") { "result".to_owned() } else { condition(answer) }
}

async fn lets_in(server: &Server, name: &str, password: &str) -> bool {
    Login::run(stranger(server).await, Mechanism::USUAL, name, password).await.is_ok()
}

async fn an_invitation_outlives_a_crash_and_makes_one_account(database: Database) {
    let mut server = Server::start(database).await;
    server.account("romeo").await;
    let invited = json(&server, "invite juliet@example.org --contact romeo@example.org --expires 2d").await;
    let token = invited["token"].as_str().unwrap().to_owned();
    assert_eq!(invited["uri"], format!("xmpp:juliet@example.org?register;preauth={token}"));
    server.kill9().await;
    server.boot().await;
    assert_eq!(json(&server, "invite --list").await["invitations"][0]["token"], token.as_str());
    let second = server.run("user add juliet@example.org --password-stdin", "x\n").await;
    assert_eq!(second.status.code(), Some(4), "its name is kept free");

    let mut romeo = server.online("romeo", "desk").await;
    romeo.get("<query xmlns='jabber:iq:roster'/>").await;
    let mut wire = stranger(&server).await;
    assert_eq!(came(&ask(&mut wire, "set", &preauth(&token)).await), "result");
    assert_eq!(came(&ask(&mut wire, "set", &register("mercutio", "secret")).await), "not-acceptable");
    assert_eq!(came(&ask(&mut wire, "set", &register("juliet", "secret")).await), "result");
    romeo
        .find(|stanza| {
            let query = stanza.get_child("query", "jabber:iq:roster");
            query.and_then(|query| query.children().next()).is_some_and(|item| {
                item.attr("jid") == Some("juliet@example.org") && item.attr("subscription") == Some("both")
            })
        })
        .await;
    server.kill9().await;
    server.boot().await;
    assert!(lets_in(&server, "juliet", "secret").await);
    assert_eq!(came(&ask(&mut stranger(&server).await, "set", &preauth(&token)).await), "item-not-found");
    assert_eq!(json(&server, "invite --list").await["invitations"], Value::Array(Vec::new()));

    // One that is taken back is none.
    let other = json(&server, "invite").await["token"].as_str().unwrap().to_owned();
    json(&server, &format!("invite --revoke {other}")).await;
    assert_eq!(came(&ask(&mut stranger(&server).await, "set", &preauth(&other)).await), "item-not-found");
    let gone = server.run(&format!("invite --revoke {other}"), "").await;
    assert_eq!(gone.status.code(), Some(3));
}

async fn nobody_registers_uninvited_unless_the_configuration_says_so(database: Database) {
    let server = Server::start(database).await;
    let mut wire = stranger(&server).await;
    for kind in ["get", "set"] {
        assert_eq!(came(&ask(&mut wire, kind, &register("mallory", "secret")).await), "forbidden", "{kind}");
    }
    assert!(!lets_in(&server, "mallory", "secret").await);
    drop(server);

    let set = vec!["registration.open_to=everybody", "registration.accounts_per_ip_per_hour=2"];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    for (name, want) in [
        ("alice", "result"),
        ("paypal", "result"),
        ("bob", "resource-constraint"), // so many of one address
    ] {
        assert_eq!(
            came(&ask(&mut stranger(&server).await, "set", &register(name, "secret")).await),
            want,
            "{name}"
        );
        assert_eq!(lets_in(&server, name, "secret").await, want == "result", "{name}");
    }
    // Who is invited was counted when that was done. A name is no other's, to the eye.
    let token = json(&server, "invite").await["token"].as_str().unwrap().to_owned();
    let mut wire = stranger(&server).await;
    assert_eq!(came(&ask(&mut wire, "set", &preauth(&token)).await), "result");
    for (name, want) in [("paypa1", "conflict"), ("p\u{430}ypal", "not-acceptable"), ("bob", "result")] {
        assert_eq!(came(&ask(&mut wire, "set", &register(name, "secret")).await), want, "{name}");
    }
}

async fn an_account_that_its_owner_removes_is_gone_for_good(database: Database) {
    let mut server = Server::start(database).await;
    let [mut phone, laptop] = server.devices("alice").await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice@example.org", "a secret")).await;
    phone.hears("a secret").await;
    let lost = laptop.lose();
    phone.send("<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    let answer = phone.find(|stanza| stanza.is("iq", NS_CLIENT) && stanza.attr("id") == Some("gone")).await;
    assert_eq!(answer.attr("type"), Some("result"));
    assert_eq!(phone.error().await, "not-authorized");
    server.restart().await;
    let mut wire = stranger(&server).await;
    wire.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{}' h='0'/>", lost.counts.id)).await;
    let users = json(&server, "user list").await["users"].clone();
    assert_eq!(users.as_array().unwrap().len(), 1, "{users}");
    // Another one of this name finds nothing of what was there.
    let again = server.run("user add alice@example.org --password-stdin", "correct horse\n").await;
    assert!(again.status.success(), "{again:?}");
    let mut alice = server.bind("alice", "phone").await;
    assert!(alice.archive_after(None).await.is_empty());
}

async fn a_report_shows_the_administrator_what_was_sent(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.device("alice").await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice@example.org", "Buy gold!")).await;
    let id = alice.hears("Buy gold!").await.stanza_id.unwrap();
    alice.send(&chat("bob@example.org", "Go away.")).await;
    bob.hears("Go away.").await;
    let own = alice.archive_after(Some(&id)).await.pop().unwrap().stanza_id.unwrap();
    let named = |id: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='alice@example.org' id='{id}'/>");
    alice
        .set(&format!(
            "<block xmlns='urn:xmpp:blocking'><item jid='bob@example.org'>\
             <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>{}{}{}<text>Never came trouble.</text>\
             </report></item></block>",
            named(&id),
            named(&own),
            named("AAAAAAAAAAAAAAAAAAAAAA"),
        ))
        .await;
    server.kill9().await;
    server.boot().await;
    let reports = json(&server, "report list").await["reports"].clone();
    let report = &reports[0];
    assert_eq!(
        (&report["reporter"], &report["about"]),
        (&"alice@example.org".into(), &"bob@example.org".into())
    );
    assert_eq!((&report["reason"], &report["texts"][0]), (&"spam".into(), &"Never came trouble.".into()));
    assert_eq!(
        report["messages"].as_array().unwrap().len(),
        1,
        "one's own words are not another's: {report}"
    );
    assert_eq!(report["messages"][0]["body"], "Buy gold!");
    assert_eq!(report["missing"], 2);
    json(&server, &format!("report delete {}", report["number"])).await;
    assert_eq!(json(&server, "report list").await["reports"], Value::Array(Vec::new()));
}
