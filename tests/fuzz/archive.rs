//! The archive: queries of XEP-0313 and XEP-0059 with any values, against the real core and extensions on a store in
//! memory.
//!
//! - The answer is what a plain reading of the two specifications gives: these results, in this order, so many in all,
//!   and whether that was the end; or one of the errors that they name.
//! - Whatever is asked, nothing comes that another's archive has, and never more than a page.
//!
//! `$mine3` stands for the id of the fourth message of the asker, `$theirs0` for one of somebody else's archive,
//! `$gone0` for one that was purged.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use unisono_core::clock::{Clock, Random};
use unisono_core::datetime::parse_utc;
use unisono_core::extension::Registry;
use unisono_core::hub::{Connection, Hub, SessionRef, Settings};
use unisono_core::ids::LogPosition;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::receive::Receipt;
use unisono_core::session::ConnectionInfo;
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT, OUR_LIMITS};
use unisono_core::storage::{Accounts as _, Logs as _, Wake};
use unisono_core::writing::Drained;
use unisono_store::MemoryStore;
use unisono_xml::{Element, Limits};

const MAM: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";
const FORMS: &str = "jabber:x:data";
/// Results of a page: where nobody says how many, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;
/// Messages of the asker: more than a page may have.
const MESSAGES: usize = 130;
/// Messages that were there before.
const GONE: usize = 4;
const START: i64 = 1_790_000_000_000_000;

/// What a query may be refused with.
const CONDITIONS: [&str; 8] = [
    "bad-request",
    "feature-not-implemented",
    "forbidden",
    "item-not-found",
    "jid-malformed",
    "policy-violation",
    "remote-server-not-found",
    "service-unavailable",
];

pub(crate) fn target(data: &[u8]) -> u64 {
    thread_local! {
        static WORLD: RefCell<Option<(Runtime, World)>> = const { RefCell::new(None) };
    }
    // It is taken out, so that one that a failure left half-way is not used again.
    let (runtime, world) = WORLD.take().unwrap_or_else(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = runtime.block_on(World::new());
        (runtime, world)
    });
    let outcome = runtime.block_on(world.ask(data));
    WORLD.set(Some((runtime, world)));
    outcome
}

/// One message of an archive.
struct Entry {
    id: String,
    micros: i64,
    peer: Jid,
    body: String,
}

struct World {
    hub: Arc<Hub>,
    alice: SessionRef,
    /// Alice's archive, oldest first.
    mine: Vec<Entry>,
    /// Ids of bob's.
    theirs: Vec<String>,
    /// Ids of hers of which the archive has nothing any more.
    gone: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(StepClock(AtomicI64::new(START)));
        let domains = vec![BareJid::domain_jid("example.org").unwrap()];
        let settings = Settings { domains, ..Settings::default() };
        let random = Arc::new(Counter(AtomicU64::new(1)));
        let registry = Registry::new(unisono_xeps::ALL);
        let hub = Hub::open(store.clone(), registry, clock.clone(), random, settings).await.unwrap();
        for name in ["alice", "bob", "carol"] {
            store.create(&jid(name), &[], 1).await.unwrap();
        }
        let bind = async |name, resource| {
            let info = ConnectionInfo { address: "192.0.2.1:1".into(), tls: String::new(), since: 0 };
            let connection = Connection { number: hub.connection_number(), wake: Arc::new(NoWake), info };
            hub.bind(&jid(name), Some(resource), connection).await.unwrap()
        };
        let alice = bind("alice", "desk").await;
        let (bob, carol) = (bind("bob", "phone").await, bind("carol", "tablet").await);
        let mut world =
            Self { hub: hub.clone(), alice, mine: Vec::new(), theirs: Vec::new(), gone: Vec::new() };
        let mut said = Vec::new();
        for n in 0..MESSAGES + GONE {
            clock.0.fetch_add(1_000_000, Ordering::Relaxed);
            let (from, to) = match n % 4 {
                0 => (&world.alice, "bob@example.org"),
                1 => (&bob, "alice@example.org"),
                2 => (&carol, "alice@example.org/desk"),
                _ => (&world.alice, "carol@example.org/tablet"),
            };
            let peer = if n % 4 == 1 {
                "bob@example.org/phone"
            } else if n % 4 == 2 {
                "carol@example.org/tablet"
            } else {
                to
            };
            world
                .send(from, &format!("<message to='{to}' type='chat'><body>mine {n}</body></message>"))
                .await;
            said.push((peer.parse::<Jid>().unwrap(), format!("mine {n}")));
            if n % 10 == 0 {
                let secret = "<message to='carol@example.org' type='chat'><body>theirs</body></message>";
                world.send(&bob, secret).await;
            }
        }
        for session in [&world.alice, &bob, &carol] {
            world.take(session).await;
        }
        let all = world.all_of(&world.alice).await;
        let (gone, mine) = all.split_at(GONE);
        world.gone = gone.iter().map(|(id, ..)| id.clone()).collect();
        store.purge(None, LogPosition(mine[0].1)).await.unwrap();
        let mine = mine.to_vec();
        assert_eq!(world.all_of(&world.alice).await, mine);
        let said = said.split_off(GONE);
        assert_eq!(mine.len(), MESSAGES);
        world.theirs = world.all_of(&bob).await.into_iter().map(|(id, ..)| id).collect();
        world.mine = mine
            .into_iter()
            .zip(said)
            .map(|((id, micros, body), (peer, said))| {
                assert_eq!(body, said);
                Entry { id, micros, peer, body }
            })
            .collect();
        world
    }

    /// Ids, times and bodies of a whole archive.
    async fn all_of(&self, session: &SessionRef) -> Vec<(String, i64, String)> {
        let mut all: Vec<(String, i64, String)> = Vec::new();
        loop {
            let after = all.last().map(|(id, ..)| format!("<after>{id}</after>")).unwrap_or_default();
            self.send(
                session,
                &format!(
                    "<iq type='set' id='1'><query xmlns='{MAM}'><set xmlns='{RSM}'>{after}</set></query></iq>"
                ),
            )
            .await;
            let answer = self.take(session).await;
            all.extend(answer.iter().filter_map(result));
            let fin = answer.last().unwrap().child("fin", MAM).unwrap();
            if fin.attr("complete") == Some("true") {
                return all;
            }
        }
    }

    async fn send(&self, session: &SessionRef, text: &str) {
        let element = Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap();
        self.receive(session, &element).await;
    }

    async fn receive(&self, session: &SessionRef, element: &Element) {
        if let Receipt::Later(work) = self.hub.receive(session, element) {
            work.await;
        }
    }

    /// Everything that can be written to a device now.
    async fn take(&self, session: &SessionRef) -> Vec<Element> {
        let mut out = Vec::new();
        loop {
            match self.hub.drain(session, &mut out, usize::MAX) {
                Drained::Read(positions) => self.hub.refill(session, positions).await.unwrap(),
                Drained::CatchUp => self.hub.read_on(session).await.unwrap(),
                Drained::More => {}
                Drained::Idle(_) | Drained::Gone(_) => break,
            }
        }
        let text = String::from_utf8(out).unwrap();
        let nodes = Element::parse_fragment(&text, &CLIENT_SCOPE, &OUR_LIMITS).unwrap();
        nodes.into_iter().map(|node| node.as_element().unwrap().clone()).collect()
    }

    /// Asks, and judges the answer.
    async fn ask(&self, data: &[u8]) -> u64 {
        let text = self.with_ids(&String::from_utf8_lossy(data));
        let parsed = Element::parse(text.trim(), &CLIENT_SCOPE, &Limits::default());
        let Ok(iq) = parsed else { return 0 };
        if !iq.is("iq", NS_CLIENT) {
            return 1;
        }
        self.receive(&self.alice, &iq).await;
        let answer = self.take(&self.alice).await;
        let Some(last) = answer.last() else {
            // RFC 6120 §8.2.3: only what asks is answered.
            assert!(matches!(iq.attr("type"), Some("result" | "error")), "no answer to {text}");
            return 2;
        };
        let results: Vec<_> = answer.iter().filter_map(result).collect();
        assert!(results.len() <= PAGE_MAX, "{} results", results.len());
        assert!(answer.len() <= results.len() + 1, "{} stanzas", answer.len());
        let is_mine = |(id, micros, body): &(String, i64, String)| {
            self.mine.iter().any(|entry| (&entry.id, entry.micros, &entry.body) == (id, *micros, body))
        };
        assert!(results.iter().all(is_mine), "{results:?} in answer to {text}");
        assert!(last.is("iq", NS_CLIENT) && last.attr("id") == iq.attr("id"), "{last:?} to {text}");
        if last.attr("type") == Some("error") {
            assert!(results.is_empty(), "results and an error");
            let error = last.child("error", NS_CLIENT).expect("an error");
            let name = error.first_child().expect("a condition").name();
            let place = CONDITIONS.iter().position(|condition| *condition == name);
            let place = place.unwrap_or_else(|| panic!("{last:?} to {text}"));
            if let Some(expected) = self.expected(&iq) {
                assert_eq!(expected.err(), Some(name), "{text}");
            }
            return 10 + place as u64;
        }
        assert_eq!(last.attr("type"), Some("result"), "{last:?}");
        let Some(fin) = last.child("fin", MAM) else { return 3 };
        if let Some(expected) = self.expected(&iq) {
            let page = expected.unwrap_or_else(|condition| panic!("{condition} was due to {text}"));
            let bodies: Vec<_> = results.iter().map(|(.., body)| body.as_str()).collect();
            let wanted: Vec<_> = page.entries.iter().map(|entry| entry.body.as_str()).collect();
            assert_eq!(bodies, wanted, "{text}");
            assert_eq!(fin.attr("complete") == Some("true"), page.is_complete, "complete after {text}");
            let set = fin.child("set", RSM).expect("a set");
            if let Some(count) = set.child_text("count", RSM).filter(|_| page.is_counted) {
                assert_eq!(count.parse(), Ok(page.count), "count of {text}");
            }
            let (oldest, newest) = page.ends();
            assert_eq!(set.child_text("first", RSM).as_deref(), oldest, "first of {text}");
            assert_eq!(set.child_text("last", RSM).as_deref(), newest, "last of {text}");
        }
        100 + results.len() as u64
    }

    fn with_ids(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let id = ["$mine", "$theirs", "$gone"].into_iter().find_map(|mark| {
                let tail = rest.strip_prefix(mark)?;
                let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let number: usize = tail[..digits].parse().ok()?;
                let id = match mark {
                    "$mine" => &self.mine.get(number)?.id,
                    "$gone" => self.gone.get(number)?,
                    _ => self.theirs.get(number)?,
                };
                Some((id, &tail[digits..]))
            });
            if let Some((id, tail)) = id {
                out.push_str(id);
                rest = tail;
            } else {
                out.push('$');
                rest = &rest[1..];
            }
        }
        out + rest
    }
}

/// Id, time and body of a result.
fn result(message: &Element) -> Option<(String, i64, String)> {
    let result = message.child("result", MAM)?;
    let forwarded = result.child("forwarded", "urn:xmpp:forward:0").unwrap();
    let stamp = forwarded.child("delay", "urn:xmpp:delay").unwrap().attr("stamp").unwrap();
    let body = forwarded.child("message", NS_CLIENT).unwrap().child_text("body", NS_CLIENT).unwrap();
    Some((result.attr("id").unwrap().to_owned(), parse_utc(stamp).unwrap(), body.into_owned()))
}

/// What a page should be.
struct Page<'a> {
    /// In the order in which they are sent.
    entries: Vec<&'a Entry>,
    is_flipped: bool,
    is_complete: bool,
    count: usize,
    is_counted: bool,
}

impl Page<'_> {
    /// XEP-0313 §4.3.4: the ends are those of the archive's order.
    fn ends(&self) -> (Option<&str>, Option<&str>) {
        let ends = (
            self.entries.first().map(|entry| entry.id.as_str()),
            self.entries.last().map(|entry| entry.id.as_str()),
        );
        if self.is_flipped { (ends.1, ends.0) } else { ends }
    }
}

impl World {
    /// What the specifications say to a query, as far as it is one that they speak of. Slowly and plainly.
    fn expected(&self, iq: &Element) -> Option<Result<Page<'_>, &'static str>> {
        let mut children = iq.children();
        let (query, None) = (children.next()?, children.next()) else { return None };
        let is_asked = iq.attr("type") == Some("set") && iq.attr("to").is_none() && query.is("query", MAM);
        if !is_asked
            || iq.attr("from").is_some()
            || iq.attr("id").is_none_or(str::is_empty)
            || query.attr("node").is_some()
        {
            return None;
        }
        let fields = fields(query)?;
        let value = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.and_then(|(_, values)| values.first()).filter(|value| !value.is_empty())
        };
        let mut sets = query.children().filter(|child| child.is("set", RSM));
        let set = sets.next();
        if sets.next().is_some() {
            return None;
        }
        let of_set = |name: &str| -> Option<Option<String>> {
            let mut all = set.into_iter().flat_map(Element::children).filter(|child| child.is(name, RSM));
            let first = all.next().map(|child| child.text().trim().to_owned());
            // It is not said which of two counts.
            all.next().is_none().then_some(first)
        };
        let (max, after, before, index) =
            (of_set("max")?, of_set("after")?, of_set("before")?, of_set("index")?);
        let number = |text: Option<String>| match text {
            None => Some(None),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse::<usize>().ok().map(Some)
            }
            Some(_) => None,
        };
        let (max, index) = (number(max)?, number(index)?);
        let with = value("with").map(|with| with.parse::<Jid>()).transpose().ok()?;
        let time = |name| value(name).map(|text| parse_utc(text)).map_or(Some(None), |time| time.map(Some));
        let (start, end) = (time("start")?, time("end")?);

        let place = |id: &String| self.mine.iter().position(|entry| &entry.id == id);
        let ids: Vec<&String> = fields
            .iter()
            .filter(|(name, _)| name == "ids")
            .flat_map(|(_, ids)| ids)
            .filter(|id| !id.is_empty())
            .collect();
        if ids.len() > 200 {
            return None;
        }
        let after = after.filter(|id| !id.is_empty());
        let before_id = before.as_ref().filter(|id| !id.is_empty());
        let named = [value("before-id"), value("after-id"), after.as_ref(), before_id];
        if named.into_iter().flatten().chain(ids.iter().copied()).any(|id| place(id).is_none()) {
            return Some(Err("item-not-found"));
        }
        let is_full = with.as_ref().is_some_and(Jid::is_full);
        let index = index.filter(|_| after.is_none() && before.is_none());
        if index.is_some() && (is_full || !ids.is_empty()) {
            return None;
        }
        let all: Vec<usize> = (0..self.mine.len())
            .filter(|&n| {
                let entry = &self.mine[n];
                let is_with = |with: &Jid| *with == entry.peer || *with == Jid::from(entry.peer.to_bare());
                with.as_ref().is_none_or(is_with)
                    && start.is_none_or(|start| entry.micros >= start)
                    && end.is_none_or(|end| entry.micros <= end)
                    && value("after-id").is_none_or(|id| n > place(id).unwrap())
                    && value("before-id").is_none_or(|id| n < place(id).unwrap())
                    && (ids.is_empty() || ids.contains(&&entry.id))
            })
            .collect();
        let count = all.len();
        let mut page: Vec<usize> = all
            .into_iter()
            .skip(index.unwrap_or(0))
            .filter(|n| after.as_ref().is_none_or(|id| *n > place(id).unwrap()))
            .filter(|n| before_id.is_none_or(|id| *n < place(id).unwrap()))
            .collect();
        let max = max.unwrap_or(PAGE).min(PAGE_MAX);
        let is_complete = page.len() <= max;
        if before.is_some() {
            page.drain(..page.len().saturating_sub(max));
        } else {
            page.truncate(max);
        }
        let is_flipped = query.has_child("flip-page", MAM);
        if is_flipped {
            page.reverse();
        }
        let entries = page.into_iter().map(|n| &self.mine[n]).collect();
        Some(Ok(Page { entries, is_flipped, is_complete, count, is_counted: !is_full && ids.is_empty() }))
    }
}

/// The fields of the form, if they are as XEP-0004 and XEP-0313 §4.1 have them.
fn fields(query: &Element) -> Option<Vec<(String, Vec<String>)>> {
    let mut forms = query.children().filter(|child| child.is("x", FORMS));
    let Some(form) = forms.next() else { return Some(Vec::new()) };
    if forms.next().is_some() || form.attr("type") != Some("submit") {
        return None;
    }
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for field in form.children() {
        let name = field.attr("var").filter(|_| field.is("field", FORMS))?.to_owned();
        let known = ["FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids"];
        if !known.contains(&name.as_str()) || fields.iter().any(|(other, _)| *other == name) {
            return None;
        }
        if field.children().any(|child| !child.is("value", FORMS)) {
            return None;
        }
        let values: Vec<String> = field.children().map(|value| value.text().into_owned()).collect();
        if values.len() > 1 && name != "ids" {
            return None;
        }
        fields.push((name, values));
    }
    let form_type = fields.iter().find(|(name, _)| name == "FORM_TYPE")?;
    (form_type.1 == [MAM]).then_some(fields)
}

fn jid(name: &str) -> BareJid {
    BareJid::new(Some(name), "example.org").unwrap()
}

struct StepClock(AtomicI64);

impl Clock for StepClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// The same numbers in every run.
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let n = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = n.to_be_bytes()[0];
        }
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}
