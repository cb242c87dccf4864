//! The server without sockets: the hub on a store in memory, with a clock and a crash that a test owns.

mod afar;
mod archive;
mod at_once;
mod avatars;
mod blocking;
mod bookmarks;
mod caps;
mod catching_up;
mod contacts;
mod displayed;
mod edges;
mod invitations;
mod limits;
mod logins;
mod node_rights;
mod nodes;
mod numbers;
mod omemo;
mod portions;
mod presence;
mod private_xml;
mod promises;
mod push;
mod requests;
mod roster;
mod services;
mod subscriptions;
mod unlogged;
mod vcards;
mod whole_at_once;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unisono_core::clock::{Clock, Random};
use unisono_core::extension::{NonzaReply, NonzaRequest, Registry, StreamState};
use unisono_core::hosted::{Hosted, Makers};
use unisono_core::hub::{Connection, Hub, SessionRef, Settings};
use unisono_core::jid::BareJid;
use unisono_core::receive::Receipt;
use unisono_core::session::ConnectionInfo;
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_core::storage::{Accounts, Wake};
use unisono_core::writing::Drained;
use unisono_store::MemoryStore;
use unisono_xml::{Element, Limits, Node};

/// A clock that only moves when it is told to.
struct TestClock {
    now: AtomicI64,
    elapsed: Mutex<Duration>,
}

impl Clock for TestClock {
    fn now_micros(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }
}

/// The same numbers in every run.
struct TestRandom(AtomicU64);

impl Random for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // Weyl steps, mixed: no number comes twice.
            let mut n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(n ^ (n >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// A server and what is around it.
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    /// Outlives the server: what it drew before a crash does not come again.
    random: Arc<TestRandom>,
}

impl World {
    /// A server with accounts on example.org.
    pub(crate) async fn with(accounts: &[&str]) -> Self {
        Self::set(accounts, Settings::default()).await
    }

    /// The same, as the operator set it.
    pub(crate) async fn set(accounts: &[&str], settings: Settings) -> Self {
        let clock = Arc::new(TestClock {
            now: AtomicI64::new(1_790_000_000_000_000),
            elapsed: Mutex::new(Duration::from_secs(1)),
        });
        let random = Arc::new(TestRandom(AtomicU64::new(1)));
        let world = Self::start(Arc::new(MemoryStore::new()), clock, random, settings).await;
        for name in accounts {
            world.store.create(&jid(name), &[], 1).await.unwrap();
        }
        world
    }

    async fn start(
        store: Arc<MemoryStore>,
        clock: Arc<TestClock>,
        random: Arc<TestRandom>,
        settings: Settings,
    ) -> Self {
        let settings = Settings {
            domains: vec![BareJid::domain_jid("example.org").unwrap()],
            hosted: vec![Hosted {
                jid: BareJid::domain_jid("pubsub.example.org").unwrap(),
                kind: unisono_xeps::xep0060_pubsub::SERVICE,
                makers: Makers::Users,
            }],
            items_bytes_max: 4 * 1024 * 1024,
            ..settings
        };
        let mut registry = Registry::new(unisono_xeps::ALL);
        caps::write_down(&mut registry);
        let hub = Hub::open(store.clone(), registry, clock.clone(), random.clone(), settings).await.unwrap();
        hub.restore().await.unwrap();
        hub.begin().await;
        Self { hub, store, clock, random }
    }

    /// `kill -9`, and a start on what was durable.
    pub(crate) async fn crash(self) -> Self {
        let store = Arc::new(self.store.reopened());
        let settings = Settings::clone(&self.hub.settings);
        Self::start(store, self.clock, self.random, settings).await
    }

    /// A clean stop, and a start.
    pub(crate) async fn restart(self) -> Self {
        self.hub.save().await;
        self.crash().await
    }

    fn step_clock(&self, micros: i64) {
        self.clock.now.fetch_add(micros, Ordering::Relaxed);
    }

    fn pass(&self, time: Duration) {
        *self.clock.elapsed.lock().unwrap() += time;
        self.hub.store_cursors();
        self.hub.sweep();
    }

    fn connection(&self) -> Connection {
        let info = ConnectionInfo { address: "127.0.0.1:1".into(), tls: String::new(), since: 0 };
        Connection { number: self.hub.connection_number(), wake: Arc::new(NoWake), info }
    }

    /// A bound resource.
    pub(crate) async fn bind(&self, name: &str, resource: &str) -> Device {
        let session = self.hub.bind(&jid(name), Some(resource), self.connection()).await.unwrap();
        Device { hub: self.hub.clone(), session }
    }

    /// A bound resource that sent its presence, with carbons.
    pub(crate) async fn online(&self, name: &str, resource: &str) -> Device {
        let device = self.bind(name, resource).await;
        device.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        device.send("<presence/>").await;
        device.take().await;
        device
    }

    /// The same with a new account.
    pub(crate) async fn online_as_new(&self, name: &str, resource: &str) -> Device {
        self.store.create(&jid(name), &[], 1).await.unwrap();
        self.online(name, resource).await
    }

    /// A resource with stream management on top.
    pub(crate) async fn managed(&self, name: &str, resource: &str) -> (Device, String) {
        let device = self.online(name, resource).await;
        let enabled = device.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let id = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
        (device, id)
    }

    /// Asks to resume a session.
    pub(crate) async fn resume(
        &self,
        name: &str,
        previous: &str,
        handled: u32,
    ) -> (NonzaReply, Option<Device>) {
        let element = Element::builder("resume", "urn:xmpp:sm:3")
            .attr("previd", previous)
            .attr("h", handled.to_string())
            .build();
        let (account, login) = (jid(name), Box::default());
        let stream = StreamState::Authenticated { account, login, connection: self.connection() };
        let resume = self.hub.registry.nonza_handler(&element).unwrap();
        let reply = resume(NonzaRequest { hub: self.hub.clone(), element, stream }).await;
        let device = reply.session.clone().map(|session| Device { hub: self.hub.clone(), session });
        (reply, device)
    }
}

pub(crate) fn jid(name: &str) -> BareJid {
    format!("{name}@example.org").parse().unwrap()
}

/// A device, as its connection sees it.
pub(crate) struct Device {
    pub(crate) hub: Arc<Hub>,
    pub(crate) session: SessionRef,
}

impl Device {
    /// Sends a stanza.
    pub(crate) async fn send(&self, text: &str) {
        self.send_element(&Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap()).await;
    }

    pub(crate) async fn send_element(&self, element: &Element) {
        match self.hub.receive(&self.session, element) {
            Receipt::Done(_) => {}
            Receipt::Later(work) => {
                work.await;
            }
        }
    }

    /// Sends a message with this id and body.
    pub(crate) async fn say(&self, to: &str, body: &str) {
        self.send(&format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")).await;
    }

    pub(crate) async fn nonza(&self, text: &str) -> NonzaReply {
        let element = Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap();
        let handler = self.hub.registry.nonza_handler(&element).unwrap();
        let stream = StreamState::Bound(self.session.clone());
        handler(NonzaRequest { hub: self.hub.clone(), element, stream }).await
    }

    /// Everything that can be written to the device at this moment.
    pub(crate) async fn take(&self) -> Vec<Element> {
        let mut out = Vec::new();
        loop {
            match self.hub.drain(&self.session, &mut out, usize::MAX) {
                Drained::Read(positions) => self.hub.refill(&self.session, positions).await.unwrap(),
                Drained::CatchUp => self.hub.read_on(&self.session).await.unwrap(),
                Drained::More => {}
                Drained::Idle(_) | Drained::Gone(_) => break,
            }
        }
        let text = String::from_utf8(out).unwrap();
        let nodes = Element::parse_fragment(&text, &CLIENT_SCOPE, &OUR_LIMITS).unwrap();
        nodes
            .into_iter()
            .filter_map(|node| if let Node::Element(e) = node { Some(e) } else { None })
            .collect()
    }

    /// The bodies among it, in order, with the archive id of each; `>` marks what the own account sent.
    async fn conversation(&self) -> Vec<(String, Option<String>)> {
        self.take().await.iter().filter_map(told).collect()
    }

    pub(crate) async fn bodies(&self) -> Vec<String> {
        self.conversation().await.into_iter().map(|(body, _)| body).collect()
    }

    /// `<a/>`: all that was taken so far, by this count.
    async fn acknowledge(&self, handled: u32) {
        let reply = self.nonza(&format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")).await;
        assert!(reply.error.is_none());
    }

    /// The answer to `<r/>`, if there is one yet.
    async fn handled(&self) -> Option<u32> {
        self.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
        let taken = self.take().await;
        taken.iter().find(|element| element.name() == "a").and_then(|a| a.attr("h")?.parse().ok())
    }

    pub(crate) fn lose_connection(&self) {
        self.hub.detach(&self.session);
    }
}

/// Body and archive id of a message, whatever it is wrapped in.
fn told(element: &Element) -> Option<(String, Option<String>)> {
    let ns = "urn:xmpp:carbons:2";
    let wrapped = element.child("sent", ns).or(element.child("received", ns));
    let mark = if element.has_child("sent", ns) { ">" } else { "" };
    let message = match wrapped {
        Some(copy) => copy.child("forwarded", "urn:xmpp:forward:0")?.child("message", "jabber:client")?,
        None => element,
    };
    let body = message.child_text("body", "jabber:client")?;
    let id = message.child("stanza-id", "urn:xmpp:sid:0").and_then(|id| id.attr("id"));
    Some((format!("{mark}{body}"), id.map(str::to_owned)))
}
