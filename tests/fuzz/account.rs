//! What an account keeps: contacts (RFC 6121 §2), blocked addresses (XEP-0191), private XML (XEP-0049), a vCard (XEP-0054)
//! and preferences of the archive (XEP-0441), changed by stanzas of any kind that its owner sends one after the other.
//!
//! - Each request has one answer: a result, or an error with a condition that the specifications have.
//! - After a result, what was set is there. After an error, nothing has changed.
//! - A device that is told of the changes knows what one does that asks at the end.
//! - After a restart all of it is the same.
//! - Nobody else is sent a request that was not for him, and what one account keeps is within its bounds.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Runtime;
use unisono_core::jid::Jid;
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT};
use unisono_xml::{Element, Limits};

use crate::inside::{Device, World};

const ROSTER: &str = "jabber:iq:roster";
const BLOCKING: &str = "urn:xmpp:blocking";
const PRIVATE: &str = "jabber:iq:private";
const BOOKMARKS: &str = "storage:bookmarks";
const VCARD: &str = "vcard-temp";
const MAM: &str = "urn:xmpp:mam:2";
/// Stanzas of one input that are sent.
const STANZAS_MAX: usize = 12;

/// What a request may be refused with.
const CONDITIONS: [&str; 11] = [
    "bad-request",
    "feature-not-implemented",
    "forbidden",
    "item-not-found",
    "jid-malformed",
    "not-acceptable",
    "not-allowed",
    "policy-violation",
    "remote-server-not-found",
    "resource-constraint",
    "service-unavailable",
];

pub(crate) fn target(data: &[u8]) -> u64 {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(tokio::runtime::Builder::new_current_thread().build().unwrap());
    }
    let text = String::from_utf8_lossy(data);
    let Ok(all) = Element::parse(text.trim(), &CLIENT_SCOPE, &Limits::default()) else { return 0 };
    let stanzas: Vec<_> = all.children().filter(|child| is_stanza(child)).take(STANZAS_MAX).collect();
    RUNTIME.with_borrow(|runtime| runtime.block_on(run(&stanzas)))
}

fn is_stanza(element: &Element) -> bool {
    // Who it is from is checked before (RFC 6120 §8.1.2.1).
    ["iq", "message", "presence"].iter().any(|name| element.is(name, NS_CLIENT))
        && element.attr("from").is_none()
}

/// All that an account keeps, as a device is told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    contacts: BTreeMap<String, Element>,
    blocked: BTreeSet<String>,
    others: Vec<Element>,
}

struct Scene {
    world: World,
    /// Who sends the input.
    desk: Device,
    /// Who is told of changes.
    phone: Device,
    /// What the phone knows.
    known: Kept,
    /// Who asks.
    watch: Device,
    bob: Device,
    /// The names of private elements in the input.
    names: BTreeSet<(String, String)>,
}

async fn run(stanzas: &[&Element]) -> u64 {
    let mut scene = Scene::new(stanzas).await;
    let mut before = ask_all(&scene.watch, &scene.names).await;
    let mut outcome = 0_u64;
    for stanza in stanzas {
        let what = scene.send(stanza, &before).await;
        before = ask_all(&scene.watch, &scene.names).await;
        outcome = outcome.wrapping_mul(31).wrapping_add(what);
    }
    assert_eq!(scene.known.contacts, before.contacts, "the phone's contacts");
    assert_eq!(scene.known.blocked, before.blocked, "the phone's block list");
    let Scene { world, names, .. } = scene;
    let world = world.restart().await;
    let watch = world.bind("alice", "watch").await;
    assert_eq!(ask_all(&watch, &names).await, before, "after a restart");
    outcome
}

impl Scene {
    async fn new(stanzas: &[&Element]) -> Self {
        let world = World::with(&["alice", "bob"]).await;
        let [desk, phone, watch] = [
            world.online("alice", "desk").await,
            world.online("alice", "phone").await,
            world.bind("alice", "watch").await,
        ];
        let bob = world.online("bob", "device").await;
        for (device, kind, to) in [
            (&desk, "subscribe", "bob"),
            (&bob, "subscribed", "alice"),
            (&bob, "subscribe", "alice"),
            (&desk, "subscribed", "bob"),
        ] {
            device.send(&format!("<presence type='{kind}' to='{to}@example.org'/>")).await;
        }
        for device in [&desk, &phone, &bob] {
            device.take().await;
        }
        let known = ask_all(&phone, &BTreeSet::new()).await;
        let private =
            stanzas.iter().flat_map(|stanza| stanza.children()).filter(|query| query.is("query", PRIVATE));
        let names = private.flat_map(Element::children).filter(|element| !element.ns().is_empty());
        let names = names.map(|element| (element.name().to_owned(), element.ns().to_owned())).collect();
        Self { world, desk, phone, known, watch, bob, names }
    }

    /// Sends a stanza, and judges what comes of it. What it came to is said as a number.
    async fn send(&mut self, stanza: &Element, before: &Kept) -> u64 {
        self.desk.send_element(stanza).await;
        let came = self.desk.take().await;
        for element in self.phone.take().await {
            self.known.learn(&element);
        }
        let to_bob = self.bob.take().await;
        let is_request = |element: &&Element| element.is("iq", NS_CLIENT) && !is_answer(element);
        let requests: Vec<_> = to_bob.iter().filter(is_request).collect();
        assert!(requests.is_empty() || stanza.attr("to").is_some(), "{requests:?} for {stanza:?}");
        // RFC 6121 §2.1.6, XEP-0191 §3.3: a push comes from the own account alone.
        let is_push = |element: &&&Element| {
            let names = [("query", ROSTER), ("block", BLOCKING), ("unblock", BLOCKING)];
            element.attr("type") == Some("set") && names.iter().any(|(name, ns)| element.has_child(name, ns))
        };
        assert_eq!(requests.iter().find(is_push), None, "{stanza:?}");

        let asks = matches!(stanza.attr("type"), Some("get" | "set"));
        let id = stanza.attr("id").filter(|id| !id.is_empty());
        if !stanza.is("iq", NS_CLIENT) || !asks || id.is_none() {
            return 1;
        }
        let answers: Vec<_> =
            came.iter().filter(|answer| is_answer(answer) && answer.attr("id") == id).collect();
        let [answer] = answers.as_slice() else {
            // Somebody else may take his time, and none is there to begin with.
            assert!(answers.is_empty() && stanza.attr("to").is_some(), "{answers:?} to {stanza:?}");
            return 2;
        };
        let after = ask_all(&self.watch, &self.names).await;
        if answer.attr("type") == Some("error") {
            let error = answer.child("error", NS_CLIENT).expect("an error");
            let name = error.first_child().expect("a condition").name();
            let place = CONDITIONS.iter().position(|condition| *condition == name);
            assert_eq!(&after, before, "{stanza:?} was refused, and changed something");
            return 10 + place.unwrap_or_else(|| panic!("{answer:?} to {stanza:?}")) as u64;
        }
        if stanza.attr("to").is_none() && stanza.attr("type") == Some("set") {
            is_done(stanza, before, &after);
        }
        let children = answer.children().flat_map(Element::children).count();
        100 + 10 * children.min(9) as u64 + after.contacts.len().min(9) as u64
    }
}

fn is_answer(element: &Element) -> bool {
    element.is("iq", NS_CLIENT) && matches!(element.attr("type"), Some("result" | "error"))
}

/// What was set and not refused is there.
fn is_done(stanza: &Element, before: &Kept, after: &Kept) {
    let payload = stanza.children().next().expect("a request has a payload");
    let bare = |jid: &str| jid.parse::<Jid>().expect("it was accepted").to_bare().as_str().to_owned();
    match (payload.name(), payload.ns()) {
        ("query", ROSTER) => {
            let item = payload.child("item", ROSTER).expect("it was accepted");
            let jid = bare(item.attr("jid").expect("it was accepted"));
            let Some(contact) = after.contacts.get(&jid) else {
                assert_eq!(item.attr("subscription"), Some("remove"), "{jid} is missing");
                return;
            };
            assert_ne!(item.attr("subscription"), Some("remove"), "{jid} is still there");
            let name = |item: &Element| item.attr("name").unwrap_or_default().to_owned();
            assert_eq!(name(contact), name(item));
            let groups = |item: &Element| {
                item.children()
                    .filter(|child| child.is("group", ROSTER))
                    .map(|group| group.text().into_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(groups(contact), groups(item));
            // §2.1.2.5: a client does not say who may see whom.
            let state = |item: Option<&Element>| {
                ["subscription", "ask", "approved"]
                    .map(|name| item.and_then(|item| item.attr(name)).map(str::to_owned))
            };
            let none = [Some("none".to_owned()), None, None];
            let was = before.contacts.get(&jid).map_or(none, |item| state(Some(item)));
            assert_eq!(state(Some(contact)), was, "{stanza:?}");
        }
        ("block" | "unblock", BLOCKING) => {
            let items = payload.children().filter(|item| item.is("item", BLOCKING));
            let named: BTreeSet<_> = items
                .map(|item| item.attr("jid").unwrap().parse::<Jid>().unwrap().as_str().to_owned())
                .collect();
            let expected = match payload.name() {
                "block" => before.blocked.union(&named).cloned().collect(),
                _ if named.is_empty() => BTreeSet::new(),
                _ => before.blocked.difference(&named).cloned().collect(),
            };
            assert_eq!(after.blocked, expected);
        }
        ("vCard", VCARD) => {
            // The picture is an image of its own (XEP-0398).
            let text =
                |card: &Element| card.to_builder().retain_children(|child| !child.is("PHOTO", VCARD)).build();
            assert!(after.others.iter().any(|kept| text(kept) == text(payload)), "{payload:?} is not kept");
        }
        ("query", PRIVATE) => {
            // A list of bookmarks is what the bookmarks make of it (XEP-0402 §5.3.2).
            for stored in payload.children().filter(|stored| !stored.is("storage", BOOKMARKS)) {
                let is_there =
                    |kept: &Element| kept.is("query", PRIVATE) && kept.children().any(|kept| kept == stored);
                assert!(after.others.iter().any(is_there), "{stored:?} is not kept");
            }
        }
        ("prefs", MAM) => {
            let prefs = after.others.iter().find(|kept| kept.is("prefs", MAM)).unwrap();
            assert_eq!(prefs.attr("default"), payload.attr("default"));
            for list in ["always", "never"] {
                let jids = |prefs: &Element| {
                    let list = prefs.child(list, MAM).into_iter().flat_map(Element::children);
                    let jids = list
                        .filter(|jid| jid.is("jid", MAM))
                        .map(|jid| jid.text().trim().parse::<Jid>().unwrap());
                    jids.map(|jid| jid.as_str().to_owned()).collect::<BTreeSet<_>>()
                };
                assert_eq!(jids(prefs), jids(payload), "{list}");
            }
        }
        _ => {}
    }
}

impl Kept {
    /// What a push says.
    fn learn(&mut self, push: &Element) {
        if push.attr("type") != Some("set") || !push.is("iq", NS_CLIENT) {
            return;
        }
        let Some(payload) = push.children().next() else { return };
        let jids = payload.children().map(|item| item.attr("jid").unwrap().to_owned());
        match (payload.name(), payload.ns()) {
            ("query", ROSTER) => payload.children().for_each(|item| self.put(item)),
            ("block", BLOCKING) => self.blocked.extend(jids),
            ("unblock", BLOCKING) if payload.children().count() == 0 => self.blocked.clear(),
            ("unblock", BLOCKING) => jids.for_each(|jid| _ = self.blocked.remove(&jid)),
            _ => {}
        }
    }

    fn put(&mut self, item: &Element) {
        let jid = item.attr("jid").unwrap().to_owned();
        if item.attr("subscription") == Some("remove") {
            self.contacts.remove(&jid);
        } else {
            self.contacts.insert(jid, item.clone());
        }
    }
}

/// Asks for everything. Whoever asked for a list is told of its changes.
async fn ask_all(device: &Device, names: &BTreeSet<(String, String)>) -> Kept {
    device.take().await;
    let mut kept = Kept::default();
    let roster = ask(device, Element::new("query", ROSTER)).await;
    for item in roster.children() {
        assert_ne!(item.attr("subscription"), Some("remove"), "{item:?}");
        let twice = kept.contacts.insert(item.attr("jid").unwrap().to_owned(), item.clone());
        assert_eq!(twice, None, "a contact twice");
    }
    let list = ask(device, Element::new("blocklist", BLOCKING)).await;
    kept.blocked = list.children().map(|item| item.attr("jid").unwrap().to_owned()).collect();
    assert_eq!(kept.blocked.len(), list.children().count(), "an address twice");
    kept.others.push(ask(device, Element::new("vCard", VCARD)).await);
    kept.others.push(ask(device, Element::new("prefs", MAM)).await);
    for (name, ns) in names {
        let query = Element::builder("query", PRIVATE).child(Element::new(name.as_str(), ns.as_str()));
        kept.others.push(ask(device, query.build()).await);
    }
    kept
}

async fn ask(device: &Device, payload: Element) -> Element {
    let iq = Element::builder("iq", NS_CLIENT).attr("type", "get").attr("id", "ask").child(payload);
    device.send_element(&iq.build()).await;
    let came = device.take().await;
    let answers: Vec<_> = came.iter().filter(|element| is_answer(element)).collect();
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    answer.first_child().expect("what was asked for").clone()
}
