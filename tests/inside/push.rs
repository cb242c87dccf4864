//! Devices that sleep are woken by the service of their app (XEP-0357), which stands for itself here.

use unisono_core::error::StreamCondition;
use unisono_core::ids::Ticket;
use unisono_core::remote::Route;

use super::presence::condition;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SERVICE: &str = "push.example";
const MUC: &str = "http://jabber.org/protocol/muc";

/// What is sent to a domain.
#[derive(Default)]
struct App(Mutex<Vec<Element>>);

impl Route for App {
    fn send(&self, stanza: &Element, _: Ticket) -> bool {
        self.0.lock().unwrap().push(stanza.clone());
        true
    }

    fn has_room(&self) -> bool {
        true
    }
}

impl App {
    fn open(world: &World) -> Arc<Self> {
        let app = Arc::new(Self::default());
        assert!(world.hub.routes.open(SERVICE, app.clone()));
        app
    }

    /// The pushes that came, each with its id and how many messages wait.
    fn take(&self) -> Vec<(String, String)> {
        let read = |push: &Element| {
            let count = format!("{push:?}")
                .split("message-count")
                .nth(1)
                .map(|rest| rest.chars().filter(char::is_ascii_digit).take(1).collect());
            Some((push.attr("id")?.to_owned(), count?))
        };
        self.0.lock().unwrap().drain(..).filter_map(|push| read(&push)).collect()
    }

    /// The counts alone.
    fn counts(&self) -> Vec<String> {
        self.take().into_iter().map(|(_, count)| count).collect()
    }

    /// Lets so much time pass, takes the one push that comes then, and answers it.
    async fn answers(&self, world: &World, after: Duration, answer: &str) {
        world.pass(after);
        let pushes = self.take();
        let [(id, _)] = pushes.as_slice() else { panic!("{pushes:?}") };
        answered(world, SERVICE, id, answer).await;
    }
}

/// A result, or an error with this condition.
async fn answered(world: &World, from: &str, id: &str, answer: &str) {
    let (kind, error) = match answer {
        "result" => ("result", String::new()),
        answer => {
            let (kind, condition) = answer.split_once(' ').unwrap();
            let ns = "urn:ietf:params:xml:ns:xmpp-stanzas";
            ("error", format!("<error type='{kind}'><{condition} xmlns='{ns}'/></error>"))
        }
    };
    let iq = format!("<iq type='{kind}' id='{id}' from='{from}' to='example.org'>{error}</iq>");
    let iq = Element::parse(&iq, &CLIENT_SCOPE, &Limits::default()).unwrap();
    world.hub.receive_from_afar(&iq, from.parse().unwrap()).await;
}

async fn ask(device: &Device, payload: &str) -> Result<(), String> {
    device.take().await;
    device.send(&format!("<iq type='set' id='p'>{payload}</iq>")).await;
    let answers = device.take().await;
    let answer = answers.iter().find(|answer| answer.name() == "iq").unwrap();
    if answer.attr("type") == Some("result") { Ok(()) } else { Err(condition(answer).unwrap()) }
}

async fn enable(device: &Device) {
    ask(device, &format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='n1'/>")).await.unwrap();
}

/// bob's phone that has enabled push and is gone, and alice.
async fn asleep(world: &World) -> (Device, String, Device) {
    let (phone, previous) = world.managed("bob", "phone").await;
    enable(&phone).await;
    phone.acknowledge(1).await;
    phone.lose_connection();
    (phone, previous, world.online("alice", "desk").await)
}

#[tokio::test]
async fn what_comes_together_is_one_push_and_the_next_comes_when_that_is_answered() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let (_phone, previous, alice) = asleep(&world).await;
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    assert!(app.take().is_empty(), "it may be taken up in a moment");
    world.pass(SECOND);
    let pushes = app.take();
    let [(id, count)] = pushes.as_slice() else { panic!("{pushes:?}") };
    assert_eq!(count, "3");
    alice.say("bob@example.org", "4").await;
    world.pass(2 * SECOND);
    assert!(app.take().is_empty(), "the first was not answered");
    // Neither another domain, nor another address of it, nor another id answers it.
    answered(&world, "other.example", id, "cancel item-not-found").await;
    answered(&world, "bot@push.example", id, "cancel item-not-found").await;
    answered(&world, SERVICE, "guessed", "cancel item-not-found").await;
    answered(&world, SERVICE, id, "result").await;
    app.answers(&world, SECOND, "result").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty(), "all was told");
    // Who comes back has all of it.
    let (_, device) = world.resume("bob", &previous, 1).await;
    let phone = device.unwrap();
    assert_eq!(phone.bodies().await, ["1", "2", "3", "4"]);
    phone.acknowledge(5).await;
    phone.lose_connection();
    alice.say("bob@example.org", "5").await;
    world.pass(SECOND);
    assert_eq!(app.counts(), ["1"]);
}

#[tokio::test]
async fn a_device_without_a_session_is_woken_and_one_that_takes_what_comes_is_not() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let phone = world.online("bob", "phone").await;
    let (tab, _) = world.managed("bob", "tab").await;
    let alice = world.online("alice", "desk").await;
    enable(&phone).await;
    ask(&tab, &format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='n2'/>")).await.unwrap();
    alice.say("bob@example.org", "1").await;
    assert_eq!((phone.bodies().await.len(), tab.bodies().await.len()), (1, 1));
    tab.acknowledge(2).await;
    world.pass(100 * SECOND);
    assert!(app.take().is_empty());
    // The tablet does not answer any more.
    alice.say("bob@example.org", "2").await;
    phone.take().await;
    world.pass(19 * SECOND);
    assert!(app.take().is_empty());
    app.answers(&world, SECOND, "result").await;
    // Nobody looks at it, either.
    tab.take().await;
    tab.acknowledge(3).await;
    tab.nonza("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    alice.say("bob@example.org", "3").await;
    phone.take().await;
    world.pass(2 * SECOND);
    assert!(app.take().is_empty());
    app.answers(&world, SECOND, "result").await;
    tab.take().await;
    tab.acknowledge(4).await;
    alice.say("bob@example.org", "4").await;
    phone.take().await;
    tab.take().await;
    tab.acknowledge(5).await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty(), "it has it");
    // The phone leaves for good.
    world.hub.end(&phone.session.cell, phone.session.id);
    alice.say("bob@example.org", "5").await;
    tab.take().await;
    tab.acknowledge(6).await;
    world.pass(SECOND);
    assert_eq!(app.counts(), ["1"]);
}

#[tokio::test]
async fn what_does_not_matter_or_was_seen_elsewhere_is_not_pushed() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let (_phone, _, alice) = asleep(&world).await;
    let laptop = world.online("bob", "laptop").await;
    alice.send("<message to='bob@example.org' type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>").await;
    alice.send("<message to='bob@example.org' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    alice.send("<message to='bob@example.org' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>").await;
    laptop.say("alice@example.org", "own").await;
    laptop.say("bob@example.org", "note").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    // Displayed on the laptop, answered on the laptop.
    alice.say("bob@example.org", "1").await;
    laptop.send("<message to='alice@example.org' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    alice.say("bob@example.org", "2").await;
    laptop.say("alice@example.org", "answer").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    // Muted, and not any more.
    for (settings, pushes) in [("<never/>", 0), ("<always/>", 1)] {
        let notify = format!("<notify xmlns='urn:xmpp:notification-settings:1'>{settings}</notify>");
        ask(&laptop, &format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>\
             <item id='alice@example.org'><conference xmlns='urn:xmpp:bookmarks:1'><extensions>{notify}</extensions>\
             </conference></item></publish></pubsub>"
        ))
        .await
        .ok();
        laptop.take().await;
        alice.say("bob@example.org", settings.trim_matches(['<', '/', '>'])).await;
        world.pass(2 * SECOND);
        assert_eq!(app.take().len(), pushes, "{settings}");
    }
}

#[tokio::test]
async fn some_errors_end_a_registration_and_some_pass() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, previous, alice) = asleep(&world).await;
    // Nobody is there: tried again after 5 and after 10 seconds.
    alice.say("bob@example.org", "1").await;
    world.pass(SECOND);
    let app = App::open(&world);
    world.pass(4 * SECOND);
    assert!(app.take().is_empty());
    app.answers(&world, SECOND, "wait resource-constraint").await;
    world.pass(9 * SECOND);
    assert!(app.take().is_empty());
    // Silence for a minute is no answer, and is tried again after 20 seconds.
    world.pass(SECOND);
    assert_eq!(app.take().len(), 1);
    world.pass(60 * SECOND);
    world.pass(19 * SECOND);
    assert!(app.take().is_empty());
    app.answers(&world, SECOND, "cancel remote-server-not-found").await;
    app.answers(&world, 40 * SECOND, "result").await;
    // A success makes all forgotten.
    alice.say("bob@example.org", "2").await;
    app.answers(&world, SECOND, "wait remote-server-timeout").await;
    app.answers(&world, 5 * SECOND, "cancel item-not-found").await;
    alice.say("bob@example.org", "3").await;
    for _ in 0..100 {
        world.pass(60 * SECOND);
    }
    assert!(app.take().is_empty());
    drop((phone, previous));
    // Until it is enabled again.
    let phone = world.online("bob", "phone").await;
    enable(&phone).await;
    world.hub.end(&phone.session.cell, phone.session.id);
    alice.say("bob@example.org", "4").await;
    world.pass(SECOND);
    assert_eq!(app.counts(), ["1"]);
}

#[tokio::test]
async fn what_was_not_pushed_before_a_crash_is_pushed_after_it() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let (_phone, _, alice) = asleep(&world).await;
    alice.say("bob@example.org", "1").await;
    world.hub.settled(&alice.session.cell).await;
    let mut world = world.crash().await;
    for is_clean in [false, true] {
        let app = App::open(&world);
        app.answers(&world, SECOND, "result").await;
        // What was pushed is not pushed again, though something came after it.
        let alice = world.online("alice", "desk").await;
        alice.send("<message to='bob@example.org' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>").await;
        world.hub.settled(&alice.session.cell).await;
        drop(alice);
        world = if is_clean { world.restart().await } else { world.crash().await };
        let app = App::open(&world);
        world.pass(10 * SECOND);
        assert!(app.take().is_empty(), "{is_clean}");
        let alice = world.online("alice", "desk").await;
        alice.say("bob@example.org", &format!("2{is_clean}")).await;
        world.hub.settled(&alice.session.cell).await;
        world = if is_clean { world.restart().await } else { world.crash().await };
    }
    // Nor is what was read meanwhile.
    let laptop = world.online("bob", "laptop").await;
    laptop.say("alice@example.org", "answer").await;
    world.hub.settled(&laptop.session.cell).await;
    let world = world.crash().await;
    let app = App::open(&world);
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn a_device_that_ends_is_not_woken_from_the_same_commit_on() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let (phone, _, alice) = asleep(&world).await;
    let cell = phone.session.cell.clone();
    let device = cell.lock().session(phone.session.id).unwrap().device();
    alice.say("bob@example.org", "1").await;
    let (_, ticket) = world.hub.end_device(&cell, device, &StreamCondition::NotAuthorized);
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    world.hub.store.wait(ticket).await;
    drop((phone, cell));
    let world = world.crash().await;
    let app = App::open(&world);
    alice_says(&world, "2").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    assert!(world.hub.store.holders("push", None, 10).await.unwrap().is_empty());
}

/// Whoever got in by an earlier password is not told any more that something comes.
#[tokio::test]
async fn a_device_that_a_new_password_keeps_out_is_not_woken_until_it_logs_in_again() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let (phone, _, alice) = asleep(&world).await;
    world.hub.password_changed(&phone.session.cell, 1);
    alice.say("bob@example.org", "1").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    let phone = world.online("bob", "phone").await;
    assert_eq!(phone.bodies().await, Vec::<String>::new(), "it came with the presence");
    world.hub.end(&phone.session.cell, phone.session.id);
    alice.say("bob@example.org", "2").await;
    world.pass(SECOND);
    assert_eq!(app.counts(), ["1"]);
    // Who changed it is not kept out.
    let tab = world.online("bob", "tab").await;
    ask(&tab, &format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='n2'/>")).await.unwrap();
    world.hub.password_changed_by(&tab.session, 2);
    world.hub.end(&tab.session.cell, tab.session.id);
    alice.say("bob@example.org", "3").await;
    world.pass(SECOND);
    assert_eq!(app.counts(), ["1"], "the tablet alone");
}

#[tokio::test]
async fn an_answer_after_the_end_of_an_account_leaves_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    let (phone, _, alice) = asleep(&world).await;
    alice.say("bob@example.org", "1").await;
    world.pass(SECOND);
    let pushes = app.take();
    alice.say("bob@example.org", "2").await;
    let id = phone.session.cell.id;
    world.hub.remove_account(&phone.session.cell).await.unwrap();
    answered(&world, SERVICE, &pushes[0].0, "result").await;
    world.pass(10 * SECOND);
    assert!(app.take().is_empty());
    world.hub.settled(&alice.session.cell).await;
    assert!(world.hub.store.documents(id, "push").await.unwrap().is_empty());
}

async fn alice_says(world: &World, body: &str) {
    world.online("alice", "desk").await.say("bob@example.org", body).await;
}

#[tokio::test]
async fn what_is_disabled_is_not_pushed() {
    let world = World::with(&["alice", "bob"]).await;
    let app = App::open(&world);
    for (disable, pushes) in [
        ("<disable xmlns='urn:xmpp:push:0' jid='push.example'/>", 0),
        ("<disable xmlns='urn:xmpp:push:0' jid='push.example' node='n1'/>", 0),
        ("<disable xmlns='urn:xmpp:push:0' jid='push.example' node='n2'/>", 1),
        ("<disable xmlns='urn:xmpp:push:0' jid='other.example'/>", 1),
    ] {
        let phone = world.online("bob", "phone").await;
        enable(&phone).await;
        ask(&phone, disable).await.unwrap();
        world.hub.end(&phone.session.cell, phone.session.id);
        alice_says(&world, &disable.replace(['<', '\'', '>'], "")).await;
        world.pass(SECOND);
        let pushed = app.take();
        assert_eq!(pushed.len(), pushes, "{disable}");
        for (id, _) in pushed {
            answered(&world, SERVICE, &id, "result").await;
        }
    }
    // §8: the service itself does not want it any more; of another node, or another service, it says nothing.
    for (from, node, pushes) in
        [("push.example", "n2", 1), ("other.example", "n1", 1), ("push.example", "n1", 0)]
    {
        let text = format!(
            "<message from='{from}' to='bob@example.org'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='{node}'>\
             <affiliation jid='bob@example.org' affiliation='none'/></pubsub></message>"
        );
        let message = Element::parse(&text, &CLIENT_SCOPE, &Limits::default()).unwrap();
        world.hub.receive_from_afar(&message, from.parse().unwrap()).await;
        alice_says(&world, &format!("{from} {node}")).await;
        world.pass(SECOND);
        let pushed = app.take();
        assert_eq!(pushed.len(), pushes, "{from} {node}");
        for (id, _) in pushed {
            answered(&world, SERVICE, &id, "result").await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_there_is_a_bound() {
    let world = World::with(&["bob", "alice"]).await;
    let phone = world.online("bob", "phone").await;
    let long = "x".repeat(1025);
    for (request, want) in [
        ("<enable xmlns='urn:xmpp:push:0'/>".to_owned(), "bad-request"),
        ("<disable xmlns='urn:xmpp:push:0'/>".to_owned(), "bad-request"),
        ("<enable xmlns='urn:xmpp:push:0' jid='@'/>".to_owned(), "jid-malformed"),
        ("<enable xmlns='urn:xmpp:push:0' jid='example.org' node='n'/>".to_owned(), "not-acceptable"),
        ("<enable xmlns='urn:xmpp:push:0' jid='alice@example.org' node='n'/>".to_owned(), "not-acceptable"),
        (format!("<enable xmlns='urn:xmpp:push:0' jid='p.example' node='{long}'/>"), "not-acceptable"),
        (
            "<enable xmlns='urn:xmpp:push:0' jid='p.example'><x xmlns='jabber:x:data' type='form'/></enable>"
                .to_owned(),
            "bad-request",
        ),
    ] {
        assert_eq!(ask(&phone, &request).await.err().as_deref(), Some(want), "{request}");
    }
    phone.send("<iq type='set' id='o' to='alice@example.org'><enable xmlns='urn:xmpp:push:0' jid='p.example' node='n'/></iq>").await;
    assert_eq!(condition(&phone.take().await[0]).as_deref(), Some("forbidden"));
    // Of one device, the first makes way for the fifth; of one account, there are 32.
    let node = |number: u32| format!("<enable xmlns='urn:xmpp:push:0' jid='p.example' node='{number}'/>");
    for number in 0..6 {
        ask(&phone, &node(number)).await.unwrap();
    }
    let keys = async || {
        world.hub.settled(&phone.session.cell).await;
        let all = world.hub.store.documents(phone.session.cell.id, "push").await.unwrap();
        let mut keys: Vec<_> = all.into_iter().map(|document| document.key.replace('\n', " ")).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys().await, ["p.example 2", "p.example 3", "p.example 4", "p.example 5"]);
    for device in 1..8 {
        let other = world.online("bob", &format!("phone{device}")).await;
        for number in 0..4 {
            ask(&other, &node(100 * device + number)).await.unwrap();
        }
    }
    let last = world.online("bob", "last").await;
    assert_eq!(ask(&last, &node(1)).await.err().as_deref(), Some("resource-constraint"));
    assert_eq!(keys().await.len(), 32);
}

/// What no log keeps is pushed as long as it waits for a session.
#[tokio::test]
async fn messages_of_rooms_wake_a_device_whose_session_waits() {
    let world = World::with(&["bob"]).await;
    let app = App::open(&world);
    let room = Arc::new(App::default());
    world.hub.routes.open("muc.example", room.clone());
    let (phone, previous) = world.managed("bob", "phone").await;
    enable(&phone).await;
    phone.send(&format!("<presence to='r@muc.example/Robert'><x xmlns='{MUC}'/></presence>")).await;
    phone.take().await;
    phone.acknowledge(1).await;
    phone.lose_connection();
    let says = async |nick: &str, body: &str| {
        let text = format!(
            "<message from='r@muc.example/{nick}' to='bob@example.org/phone' type='groupchat' id='{body}'><body>{body}</body></message>"
        );
        let message = Element::parse(&text, &CLIENT_SCOPE, &Limits::default()).unwrap();
        world.hub.receive_from_afar(&message, format!("r@muc.example/{nick}").parse().unwrap()).await;
    };
    says("Robert", "mine").await;
    world.pass(5 * SECOND);
    assert!(app.take().is_empty(), "it is the owner's own");
    says("Carol", "hers").await;
    app.answers(&world, SECOND, "result").await;
    let (_, device) = world.resume("bob", &previous, 1).await;
    let phone = device.unwrap();
    assert_eq!(phone.bodies().await, ["mine", "hers"]);
    phone.acknowledge(3).await;
    says("Carol", "again").await;
    assert_eq!(phone.bodies().await, ["again"]);
    phone.acknowledge(4).await;
    world.pass(60 * SECOND);
    assert!(app.take().is_empty(), "it has it");
    says("Carol", "and again").await;
    world.pass(60 * SECOND);
    assert_eq!(app.take().len(), 1, "it does not answer");
}
