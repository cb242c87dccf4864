//! The archive (XEP-0313): its pages, who may read it, and what leaves it (XEP-0424).

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

pub(super) const MAM: &str = "urn:xmpp:mam:2";

/// What an archive answered.
pub(super) struct Page {
    /// Body (or the name of the first child) and archive id of each result, as they came.
    pub(super) results: Vec<(String, String)>,
    /// The `<fin/>`, or the error.
    pub(super) end: Element,
}

impl Page {
    fn read(stanzas: &[Element], queryid: &str) -> Self {
        let results = stanzas.iter().filter_map(|stanza| stanza.child("result", MAM));
        let results = results.map(|result| {
            assert_eq!(result.attr("queryid"), Some(queryid));
            let forwarded = result.child("forwarded", "urn:xmpp:forward:0").unwrap();
            assert!(forwarded.has_child("delay", "urn:xmpp:delay"));
            let message = forwarded.child("message", "jabber:client").unwrap();
            let first = || message.first_child().unwrap().name().to_owned();
            let body =
                message.child_text("body", "jabber:client").map_or_else(first, |body| body.to_string());
            (body, result.attr("id").unwrap().to_owned())
        });
        let iq = stanzas.iter().rfind(|stanza| stanza.name() == "iq").unwrap();
        assert!(stanzas.last() == Some(iq), "the end comes last");
        Self { results: results.collect(), end: iq.first_child().unwrap().clone() }
    }

    pub(super) fn bodies(&self) -> Vec<&str> {
        self.results.iter().map(|(body, _)| body.as_str()).collect()
    }

    pub(super) fn id(&self, body: &str) -> &str {
        &self.results.iter().find(|(known, _)| known == body).unwrap().1
    }

    /// The id of the oldest result.
    fn first(&self) -> &str {
        &self.results.first().unwrap().1
    }

    pub(super) fn is_complete(&self) -> bool {
        assert!(self.end.is("fin", MAM), "{:?}", self.end);
        self.end.attr("complete") == Some("true")
    }

    /// Index and count of XEP-0059.
    fn counts(&self) -> (Option<u64>, Option<u64>) {
        let rsm = "http://jabber.org/protocol/rsm";
        let set = self.end.child("set", rsm).unwrap();
        let index = set.child("first", rsm).and_then(|first| first.attr("index")?.parse().ok());
        (index, set.child_text("count", rsm).and_then(|count| count.parse().ok()))
    }

    /// The condition of the error.
    fn error(&self) -> &str {
        assert_eq!(self.end.name(), "error", "{:?}", self.end);
        self.end.first_child().unwrap().name()
    }
}

/// A query with this form and this `<set/>`.
pub(super) fn query(fields: &[(&str, &str)], set: &str) -> String {
    let fields =
        fields.iter().map(|(name, value)| format!("<field var='{name}'><value>{value}</value></field>"));
    let form = fields.collect::<Vec<_>>().concat();
    format!(
        "<iq type='set' id='mam'><query xmlns='{MAM}' queryid='q'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>{MAM}</value></field>{form}</x>\
         <set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query></iq>"
    )
}

impl Device {
    pub(super) async fn page(&self, fields: &[(&str, &str)], set: &str) -> Page {
        self.take().await;
        self.send(&query(fields, set)).await;
        Page::read(&self.take().await, "q")
    }

    /// The answer to an iq.
    pub(super) async fn ask(&self, iq: &str) -> Element {
        self.take().await;
        self.send(iq).await;
        self.take().await.pop().unwrap()
    }

    pub(super) fn away(&self) {
        self.hub.close(&self.session, true);
    }
}

/// Alice wrote ten messages to bob, one a second.
async fn ten() -> (World, Device) {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "desk").await;
    for n in 0..10 {
        world.step_clock(1_000_000);
        alice.say("bob@example.org", &n.to_string()).await;
    }
    (world, alice)
}

#[tokio::test]
async fn an_archive_has_what_was_said_with_the_ids_that_devices_saw() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    let laptop = world.online("bob", "laptop").await;
    alice.say("bob@example.org", "1").await;
    bob.say("alice@example.org", "2").await;
    alice.send("<message to='bob@example.org' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    alice.send("<message to='bob@example.org' type='chat' id='3'><received xmlns='urn:xmpp:receipts' id='2'/></message>").await;
    alice.send("<message to='bob@example.org' type='headline'><body>news</body></message>").await;
    let on_laptop = laptop.conversation().await;
    let page = bob.page(&[], "").await;
    assert_eq!(page.bodies(), ["1", "2", "received"]);
    assert!(page.is_complete());
    for (body, id) in on_laptop {
        if body != "news" {
            assert_eq!(id.as_deref(), Some(page.id(body.trim_start_matches('>'))), "{body}");
        }
    }
    assert_ne!(alice.page(&[], "").await.id("1"), page.id("1"), "each archive has ids of its own");
}

#[tokio::test]
async fn an_archive_is_read_in_pages() {
    let (_, alice) = ten().await;
    let first = alice.page(&[], "<max>4</max>").await;
    assert_eq!((first.bodies(), first.is_complete()), (vec!["0", "1", "2", "3"], false));
    assert_eq!(first.counts(), (Some(0), Some(10)));
    let after = |id: &str| format!("<max>4</max><after>{id}</after>");
    let second = alice.page(&[], &after(first.id("3"))).await;
    assert_eq!((second.bodies(), second.is_complete()), (vec!["4", "5", "6", "7"], false));
    let third = alice.page(&[], &after(second.id("7"))).await;
    assert_eq!((third.bodies(), third.is_complete()), (vec!["8", "9"], true));
    assert_eq!(third.counts(), (Some(8), Some(10)));
    let none = alice.page(&[], &after(third.id("9"))).await;
    assert_eq!((none.bodies(), none.is_complete(), none.counts()), (vec![], true, (None, Some(10))));

    let last = alice.page(&[], "<max>4</max><before/>").await; // §4.3.3
    assert_eq!((last.bodies(), last.is_complete()), (vec!["6", "7", "8", "9"], false));
    assert_eq!(last.counts(), (Some(6), Some(10)));
    let before = alice.page(&[], &format!("<max>9</max><before>{}</before>", last.id("6"))).await;
    assert_eq!((before.bodies(), before.is_complete()), (vec!["0", "1", "2", "3", "4", "5"], true));

    let counted = alice.page(&[], "<max>0</max>").await; // XEP-0059 §2.7
    assert_eq!(
        (counted.bodies(), counted.is_complete(), counted.counts()),
        (vec![], false, (None, Some(10)))
    );

    alice.send(&query(&[], "<max>3</max>").replace("</query>", "<flip-page/></query>")).await;
    let flipped = Page::read(&alice.take().await, "q"); // §4.3.4
    assert_eq!(flipped.bodies(), ["2", "1", "0"]);
    assert_eq!(flipped.counts(), (Some(0), Some(10)));
}

#[tokio::test]
async fn a_query_is_narrowed() {
    let (world, alice) = ten().await;
    alice.say("carol@example.org", "to carol").await;
    let all = alice.page(&[], "").await;
    let start = 1_790_000_000;
    let at = |second: i64| unisono_core::datetime::format_utc((start + second) * 1_000_000).to_string();
    let (second, third, sixth) = (at(2), at(3), at(6));
    for (fields, bodies) in [
        (vec![("start", second.as_str()), ("end", sixth.as_str())], vec!["1", "2", "3", "4", "5"]), // §4.1.2, both count
        (vec![("end", third.as_str())], vec!["0", "1", "2"]),
        (vec![("start", sixth.as_str()), ("end", second.as_str())], vec![]),
        (vec![("after-id", all.id("2")), ("before-id", all.id("5"))], vec!["3", "4"]), // §4.1.3, neither counts
        (vec![("after-id", all.id("9"))], vec!["to carol"]),
        (vec![("with", "carol@example.org")], vec!["to carol"]), // §4.1.1
        (vec![("with", "carol@example.org/any")], vec![]),
        (vec![("with", "dave@example.org")], vec![]),
        (vec![("ids", all.id("7"))], vec!["7"]),
        (vec![("ids", all.id("7")), ("include-groupchat", "false")], vec!["7"]),
    ] {
        let page = alice.page(&fields, "").await;
        assert_eq!(page.bodies(), bodies, "{fields:?}");
        assert!(page.is_complete(), "{fields:?}");
        // What one resource said is not counted, since that would take a look at all that its account said.
        let uncounted = |(name, value): &(&str, &str)| *name == "ids" || value.contains('/');
        let count = (!fields.iter().any(uncounted)).then_some(bodies.len() as u64);
        assert_eq!(page.counts().1, count, "{fields:?}");
    }
    // XEP-0059 §2.2 counts what the form lets through, wherever the page is.
    let range = [("start", second.as_str()), ("end", sixth.as_str())];
    let page = alice.page(&range, "<max>2</max>").await;
    assert_eq!(
        (page.bodies(), page.counts(), page.is_complete()),
        (vec!["1", "2"], (Some(0), Some(5)), false)
    );
    let page = alice.page(&range, &format!("<max>2</max><after>{}</after>", all.id("2"))).await;
    assert_eq!(
        (page.bodies(), page.counts(), page.is_complete()),
        (vec!["3", "4"], (Some(2), Some(5)), false)
    );
    let page = alice.page(&range, "<max>0</max>").await;
    assert_eq!((page.bodies(), page.counts(), page.is_complete()), (vec![], (None, Some(5)), false));
    drop(world);
}

#[tokio::test]
async fn a_page_starts_at_an_index() {
    let (_, alice) = ten().await;
    let all = alice.page(&[], "").await;
    for (after, before, indexes) in
        [(None, None, 0..10), (Some("2"), Some("8"), 3..8), (Some("8"), None, 9..10)]
    {
        let fields: Vec<_> = [("after-id", after), ("before-id", before)]
            .into_iter()
            .filter_map(|(name, body)| Some((name, all.id(body?))))
            .collect();
        let count = u64::try_from(indexes.len()).unwrap();
        for (index, body) in indexes.clone().enumerate() {
            let page = alice.page(&fields, &format!("<max>1</max><index>{index}</index>")).await;
            assert_eq!(page.bodies(), [body.to_string()], "{after:?} {before:?} {index}");
            assert_eq!(page.counts(), (Some(index as u64), Some(count)), "{after:?} {before:?} {index}");
        }
        for index in [count, count + 1, u64::MAX] {
            let page = alice.page(&fields, &format!("<index>{index}</index>")).await;
            assert_eq!(
                (page.bodies(), page.counts(), page.is_complete()),
                (vec![], (None, Some(count)), true)
            );
        }
    }
}

#[tokio::test]
async fn an_index_is_for_what_is_counted() {
    let (_, alice) = ten().await;
    let all = alice.page(&[], "").await;
    let page = alice.page(&[("ids", all.id("3"))], "<index>0</index>").await;
    assert_eq!(page.error(), "feature-not-implemented");
}

#[tokio::test]
async fn ids_of_nothing_in_this_archive_are_refused() {
    let (world, alice) = ten().await;
    let bob = world.online("bob", "phone").await;
    let (own, foreign) = (alice.page(&[], "").await, bob.page(&[], "").await);
    let position = world.hub.position(alice.session.cell.id, own.id("5")).unwrap();
    world.hub.store.purge(Some(alice.session.cell.id), position).await.unwrap();
    let absent = world.hub.archive_id(alice.session.cell.id, unisono_core::ids::LogPosition(position.0 + 1));
    for id in ["forged", "", foreign.id("5"), own.id("4"), &absent] {
        for name in ["after-id", "before-id", "ids"] {
            if id.is_empty() {
                continue; // XEP-0004 §3.6: the same as no field
            }
            assert_eq!(alice.page(&[(name, id)], "").await.error(), "item-not-found", "{name} {id}");
        }
        for name in ["after", "before"] {
            if !id.is_empty() {
                let page = alice.page(&[], &format!("<{name}>{id}</{name}>")).await;
                assert_eq!(page.error(), "item-not-found", "{name} {id}");
            }
        }
    }
    assert_eq!(alice.page(&[("ids", own.id("5"))], "").await.bodies(), ["5"]);
    assert_eq!(alice.page(&[("nonsense", "1")], "").await.error(), "feature-not-implemented");
    assert_eq!(alice.page(&[("start", "today")], "").await.error(), "bad-request");
}

#[tokio::test]
async fn an_archive_is_for_its_owner() {
    let (world, alice) = ten().await;
    let (bob, carol) = (world.online("bob", "phone").await, world.online("carol", "pda").await);
    bob.send("<presence type='subscribe' to='alice@example.org'/>").await;
    alice.send("<presence type='subscribed' to='bob@example.org'/>").await;
    for request in [
        format!("<iq type='set' id='1' to='alice@example.org'><query xmlns='{MAM}'/></iq>"),
        format!("<iq type='get' id='1' to='alice@example.org'><query xmlns='{MAM}'/></iq>"),
        format!("<iq type='get' id='1' to='alice@example.org'><metadata xmlns='{MAM}'/></iq>"),
        format!("<iq type='get' id='1' to='alice@example.org'><prefs xmlns='{MAM}'/></iq>"),
        format!("<iq type='set' id='1' to='alice@example.org'><prefs xmlns='{MAM}' default='never'/></iq>"),
    ] {
        let condition =
            |answer: &Element| answer.first_child().unwrap().first_child().unwrap().name().to_owned();
        assert_eq!(condition(&bob.ask(&request).await), "forbidden", "{request}"); // §8.1
        let (to_alice, to_nobody) =
            (carol.ask(&request).await, carol.ask(&request.replace("alice@", "nobody@")).await);
        assert_eq!(condition(&to_alice), "service-unavailable", "{request}");
        assert_eq!(condition(&to_nobody), condition(&to_alice), "a stranger learns nothing");
    }
    assert!(alice.page(&[], "").await.is_complete());
}

#[tokio::test]
async fn an_archive_says_what_it_can_and_what_it_has() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "desk").await;
    let metadata = format!("<iq type='get' id='1'><metadata xmlns='{MAM}'/></iq>");
    let empty = alice.ask(&metadata).await;
    assert_eq!(empty.child("metadata", MAM).unwrap().children().count(), 0); // §5
    for body in ["1", "2", "3"] {
        alice.say("alice@example.org", body).await;
    }
    let page = alice.page(&[], "").await;
    let known = alice.ask(&metadata).await;
    let end = |name| known.child("metadata", MAM).unwrap().child(name, MAM).unwrap().clone();
    assert_eq!(end("start").attr("id"), Some(page.id("1")));
    assert_eq!(end("end").attr("id"), Some(page.id("3")));
    assert!(unisono_core::datetime::parse_utc(end("end").attr("timestamp").unwrap()).is_some());

    let form = alice.ask(&format!("<iq type='get' id='1'><query xmlns='{MAM}'/></iq>")).await; // §4.1.5
    let form = form.child("query", MAM).unwrap().child("x", "jabber:x:data").unwrap().clone();
    let names: Vec<_> = form.children().filter_map(|field| field.attr("var")).collect();
    assert_eq!(
        names,
        ["FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"]
    );
    assert!(!form.children().any(|field| field.has_child("required", "jabber:x:data")));

    let info = "<iq type='get' id='1' to='{}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    for entity in ["alice@example.org", "example.org"] {
        let answer = alice.ask(&info.replace("{}", entity)).await;
        let features: Vec<_> =
            answer.first_child().unwrap().children().filter_map(|f| f.attr("var")).collect();
        for feature in [
            MAM,
            "urn:xmpp:mam:2#extended",
            "urn:xmpp:message-retract:1",
            "urn:xmpp:message-retract:1#tombstone",
        ] {
            assert!(features.contains(&feature), "{feature} of {entity}");
        }
        assert!(!features.contains(&"urn:xmpp:mam:2#groupchat-available"));
        assert_eq!(features.contains(&"msgoffline"), entity == "example.org");
    }
}

#[tokio::test]
async fn a_page_waits_for_what_is_not_durable_yet() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.bind("bob", "phone").await);
    world.store.hold();
    alice.say("bob@example.org", "1").await;
    let everything = query(&[], "");
    {
        let mut asking = pin!(bob.send(&everything));
        assert!(matches!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        world.store.release();
        asking.await;
    }
    assert_eq!(Page::read(&bob.take().await, "q").bodies(), ["1"]);
}

#[tokio::test]
async fn a_page_is_no_larger_than_a_device_can_take() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    for n in 0..8 {
        let body = format!("{n}{}", "x".repeat(230_000));
        alice
            .send(&format!(
                "<message to='bob@example.org' type='chat' id='{n}'><body>{body}</body></message>"
            ))
            .await;
    }
    let bob = world.bind("bob", "phone").await;
    let mut seen = Vec::new();
    let mut set = String::new();
    loop {
        let page = bob.page(&[], &set).await;
        assert!(!page.results.is_empty() && page.results.len() <= 5, "{}", page.results.len());
        seen.extend(page.bodies().iter().map(|body| body[..1].to_owned()));
        set = format!("<after>{}</after>", page.results.last().unwrap().1);
        if page.is_complete() {
            break;
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn what_was_retracted_is_gone_from_both_archives() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    let carol = world.online("carol", "pda").await;
    let retract = |to: &str, id: &str, own: &str| {
        format!(
            "<message to='{to}' type='chat' id='{own}'><retract xmlns='urn:xmpp:message-retract:1' id='{id}'/></message>"
        )
    };
    for body in ["wrong", "right"] {
        alice.say("bob@example.org", body).await;
    }
    carol.say("bob@example.org", "wrong").await;
    let before = alice.page(&[], "").await;
    // Only the author takes back (§5): neither the other side, nor who uses the same id.
    bob.send(&retract("alice@example.org", "wrong", "r0")).await;
    carol.send(&retract("bob@example.org", "right", "r1")).await;
    carol.send(&retract("alice@example.org", "wrong", "r2")).await;
    assert_eq!(alice.page(&[("with", "bob@example.org")], "").await.bodies(), ["wrong", "right", "retract"]);
    assert_eq!(bob.page(&[("with", "carol@example.org")], "").await.bodies(), ["wrong", "retract"]);

    world.step_clock(5_000_000);
    alice.send(&retract("bob@example.org", "wrong", "r3")).await;
    for (device, with) in [(&alice, "bob@example.org"), (&bob, "alice@example.org")] {
        let page = device.page(&[("with", with)], "").await;
        assert_eq!(
            page.bodies(),
            ["retracted", "right", "retract", "retract"],
            "§4, and the retraction stays (§5)"
        );
    }
    let after = alice.page(&[], "").await;
    assert_eq!(after.id("retracted"), before.id("wrong"), "a tombstone keeps its place");
    assert_eq!(
        bob.page(&[("with", "carol@example.org")], "").await.bodies(),
        ["wrong", "retract"],
        "carol's stays"
    );
    let world = world.crash().await;
    let alice = world.online("alice", "desk").await;
    alice.send(&query(&[("ids", before.id("wrong"))], "")).await;
    let stanzas = alice.take().await;
    let forwarded =
        stanzas[0].child("result", MAM).unwrap().child("forwarded", "urn:xmpp:forward:0").unwrap().clone();
    let message = forwarded.child("message", "jabber:client").unwrap();
    let tombstone = message.child("retracted", "urn:xmpp:message-retract:1").unwrap();
    assert_eq!((message.attr("id"), tombstone.attr("id")), (Some("wrong"), Some("r3")));
    assert!(
        tombstone.attr("stamp").unwrap()
            > forwarded.child("delay", "urn:xmpp:delay").unwrap().attr("stamp").unwrap()
    );
    assert!(!message.has_child("body", "jabber:client"));
}

#[tokio::test]
async fn who_refused_a_retraction_keeps_what_was_said() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    alice.say("bob@example.org", "threat").await;
    bob.send(
        "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='alice@example.org'/></block></iq>",
    )
    .await;
    alice.send("<message to='bob@example.org' type='chat' id='r'><retract xmlns='urn:xmpp:message-retract:1' id='threat'/></message>").await;
    assert_eq!(bob.page(&[], "").await.bodies(), ["threat"]);
}

#[tokio::test]
async fn nobody_speaks_for_an_archive() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    alice
        .send(
            "<message to='bob@example.org' type='chat' id='1'><body>hi</body>\
             <result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'/></result>\
             <fin xmlns='urn:xmpp:mam:2' complete='true'/><delay xmlns='urn:xmpp:delay' from='example.org' stamp='1990-01-01T00:00:00Z'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='bob@example.org' id='forged'/></message>",
        )
        .await;
    let got = bob.take().await;
    let names: Vec<_> = got[0].children().map(Element::name).collect();
    assert_eq!(names, ["body", "stanza-id"]);
    assert_ne!(got[0].child("stanza-id", "urn:xmpp:sid:0").unwrap().attr("id"), Some("forged"));
}

/// No index tells the resources of a contact from each other: a search looks at some thousand messages and says how far
/// it came, so that a client that goes on from there finds all.
#[tokio::test]
async fn a_search_for_one_resource_goes_on_until_its_end() {
    const RSM: &str = "http://jabber.org/protocol/rsm";
    let world = World::with(&["alice", "bob"]).await;
    let (rare, often) = (world.online("bob", "rare").await, world.online("bob", "often").await);
    let alice = world.online("alice", "desk").await;
    rare.say("alice@example.org", "first").await;
    for n in 0..4_500 {
        often.say("alice@example.org", &n.to_string()).await;
        often.take().await;
    }
    rare.say("alice@example.org", "last").await;
    let with = [("with", "bob@example.org/rare")];
    for (start, direction, end) in [("", "after", "last"), ("<before/>", "before", "first")] {
        let (mut set, mut found, mut pages) = (start.to_owned(), Vec::new(), 0);
        loop {
            let page = alice.page(&with, &set).await;
            found.extend(page.bodies().into_iter().map(str::to_owned));
            pages += 1;
            assert_eq!(page.counts(), (None, None));
            if page.is_complete() {
                break;
            }
            let id = page.end.child("set", RSM).unwrap().child_text(end, RSM).unwrap();
            set = format!("<{direction}>{id}</{direction}>");
        }
        found.sort_unstable();
        assert_eq!((found, pages), (vec!["first".to_owned(), "last".to_owned()], 4), "{direction}");
    }
    // XEP-0059 §2.6: what is not counted has no indexes.
    let page = alice.page(&with, "<index>1</index>").await;
    assert_eq!(page.error(), "feature-not-implemented");
}

#[tokio::test]
async fn who_pages_back_from_the_end_has_what_it_was_shown() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    alice.say("bob@example.org", "0").await;
    assert_eq!(bob.page(&[], "<before/><max>2</max>").await.bodies(), ["0"]);
    bob.away();
    for number in 1..6 {
        alice.say("bob@example.org", &number.to_string()).await;
    }
    let gap = async |device: &Device| {
        world.hub.doctor(&device.session.cell).await.unwrap().1.first().map(|health| health.gap)
    };
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    let page = bob.page(&[], "<before/><max>2</max>").await;
    assert_eq!((page.bodies(), gap(&bob).await), (vec!["4", "5"], Some(5)), "in between is a hole");
    let first = page.first().to_owned();
    let page = bob.page(&[], &format!("<before>{first}</before><max>2</max>")).await;
    assert_eq!((page.bodies(), gap(&bob).await), (vec!["2", "3"], Some(5)));
    let second = page.first().to_owned();
    // A page that does not join what was shown tells nothing, though it goes further back.
    bob.page(&[], &format!("<before>{first}</before><max>5</max>")).await;
    assert_eq!(gap(&bob).await, Some(5));
    let page = bob.page(&[], &format!("<before>{second}</before><max>2</max>")).await;
    assert_eq!((page.bodies(), gap(&bob).await), (vec!["0", "1"], Some(0)));
    // From now on it is sent what comes, and has it.
    alice.say("bob@example.org", "6").await;
    assert_eq!((bob.bodies().await, gap(&bob).await), (vec!["6".to_owned()], Some(0)));
}

#[tokio::test]
async fn who_looks_at_a_place_of_the_archive_was_not_shown_what_comes_before_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    for place in ["<max>5</max><index>2</index>", "<max>5</max><index>99</index>"] {
        let bob = world.bind("bob", "phone").await;
        assert!(bob.page(&[], place).await.bodies().len() < 2);
        bob.away();
        let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
        assert_eq!(health.iter().find(|device| device.device.key == "phone").unwrap().gap, 3, "{place}");
    }
}
