//! Another domain, which stands for itself here: presence, what is refused, and what finds no room.

use unisono_core::ids::Ticket;
use unisono_core::remote::Route;

use super::*;

const GATEWAY: &str = "gateway.example";
const FRIEND: &str = "friend@gateway.example";

/// What is sent to a domain.
#[derive(Default)]
struct Gateway {
    came: Mutex<Vec<Element>>,
    /// How many stanzas it still takes.
    room: Mutex<Option<usize>>,
}

impl Route for Gateway {
    fn send(&self, stanza: &Element, _: Ticket) -> bool {
        if let Some(room) = self.room.lock().unwrap().as_mut() {
            match room.checked_sub(1) {
                Some(left) => *room = left,
                None => return false,
            }
        }
        self.came.lock().unwrap().push(stanza.clone());
        true
    }

    /// What a queue may say that is full a moment later.
    fn has_room(&self) -> bool {
        true
    }
}

impl Gateway {
    fn open(world: &World) -> Arc<Self> {
        let gateway = Arc::new(Self::default());
        assert!(world.hub.routes.open(GATEWAY, gateway.clone()));
        gateway
    }

    /// Name, type, sender and recipient of what came.
    fn take(&self) -> Vec<String> {
        let told = |element: &Element| {
            let attr = |name| element.attr(name).unwrap_or_default().to_owned();
            [element.name().to_owned(), attr("type"), attr("from"), attr("to")].join(" ")
        };
        self.came.lock().unwrap().drain(..).map(|element| told(&element)).collect()
    }
}

async fn sends(world: &World, text: &str) {
    let element = Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap();
    world.hub.receive_from_afar(&element, element.attr("from").unwrap().parse().unwrap()).await;
}

/// A device of somebody who sees the friend, and is seen.
async fn befriended(world: &World, gateway: &Gateway) -> Device {
    let phone = world.online("alice", "phone").await;
    sends(world, &format!("<presence type='subscribe' from='{FRIEND}' to='alice@example.org'/>")).await;
    phone.send(&format!("<presence type='subscribed' to='{FRIEND}'/>")).await;
    phone.send(&format!("<presence type='subscribe' to='{FRIEND}'/>")).await;
    sends(world, &format!("<presence type='subscribed' from='{FRIEND}' to='alice@example.org'/>")).await;
    phone.take().await;
    gateway.take();
    phone
}

#[tokio::test]
async fn who_is_blocked_sees_a_device_leave_and_come_again() {
    let world = World::with(&["alice"]).await;
    let gateway = Gateway::open(&world);
    let phone = befriended(&world, &gateway).await;
    phone.send("<presence to='room@gateway.example/alice'/>").await;
    assert_eq!(gateway.take(), ["presence  alice@example.org/phone room@gateway.example/alice"]);
    let change = |name: &str| {
        let items = format!("<item jid='{FRIEND}'/><item jid='room@gateway.example'/>");
        format!("<iq type='set' id='b'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>")
    };
    phone.send(&change("block")).await;
    let mut gone = gateway.take();
    gone.sort();
    let left = |to: &str| format!("presence unavailable alice@example.org/phone {to}");
    assert_eq!(gone, [left(FRIEND), left("room@gateway.example/alice")]);
    phone.send("<presence type='unavailable'/>").await;
    phone.send("<presence/>").await;
    assert!(gateway.take().iter().all(|told| told.starts_with("presence probe")));
    phone.send(&change("unblock")).await;
    let shown = ["presence  alice@example.org/phone ", "presence probe alice@example.org/phone "];
    assert_eq!(gateway.take(), shown.map(|told| told.to_owned() + FRIEND));
}

#[tokio::test]
async fn a_probe_is_answered_as_one_from_here_would_be() {
    let world = World::with(&["alice", "bob"]).await;
    let gateway = Gateway::open(&world);
    let phone = befriended(&world, &gateway).await;
    world.online("alice", "desk").await;
    gateway.take();
    let probe =
        |from: &str, to: &str| format!("<presence type='probe' from='{from}/x' to='{to}@example.org'/>");
    sends(&world, &probe(FRIEND, "alice")).await;
    let mut seen = gateway.take();
    seen.sort();
    let to = format!("{FRIEND}/x");
    let told = |kind: &str, from: &str| format!("presence {kind} {from} {to}");
    assert_eq!(seen, [told("", "alice@example.org/desk"), told("", "alice@example.org/phone")]);
    for (resource, kind) in [("phone", ""), ("gone", "unavailable")] {
        let full = format!("alice@example.org/{resource}");
        sends(&world, &format!("<presence type='probe' from='{to}' to='{full}'/>")).await;
        assert_eq!(gateway.take(), [told(kind, &full)]);
    }
    // Whether there is such an account makes no difference to who may see nobody.
    for name in ["bob", "nobody"] {
        sends(&world, &probe("stranger@gateway.example", name)).await;
        assert_eq!(
            gateway.take(),
            [format!("presence unsubscribed {name}@example.org stranger@gateway.example")]
        );
    }
    phone.send("<presence to='stranger@gateway.example'/>").await;
    gateway.take();
    sends(&world, &probe("stranger@gateway.example", "alice")).await;
    assert_eq!(gateway.take(), ["presence  alice@example.org/phone stranger@gateway.example/x"]);
    phone.send("<presence type='unavailable'/>").await;
}

#[tokio::test]
async fn what_finds_no_room_comes_back_and_may_be_sent_again() {
    let world = World::with(&["alice"]).await;
    let gateway = Gateway::open(&world);
    let (phone, desk) = (world.online("alice", "phone").await, world.online("alice", "desk").await);
    phone.take().await;
    desk.take().await;
    *gateway.room.lock().unwrap() = Some(0);
    let text = format!(
        "<message to='{FRIEND}' type='chat' id='1'><body>1</body><origin-id xmlns='urn:xmpp:sid:0' id='1'/></message>"
    );
    phone.send(&text).await;
    let back = phone.take().await;
    assert_eq!(back.iter().map(|stanza| stanza.attr("type")).collect::<Vec<_>>(), [Some("error")]);
    let copies = desk.take().await;
    assert_eq!(copies.len(), 2, "the message, and the error: {copies:?}");
    phone.lose_connection();
    *gateway.room.lock().unwrap() = None;
    let phone = world.online("alice", "phone").await;
    phone.send(&text).await;
    assert!(phone.take().await.is_empty());
    assert_eq!(gateway.take(), [format!("message chat alice@example.org/phone {FRIEND}")]);
}

#[tokio::test]
async fn presence_from_afar_has_the_bounds_of_presence_from_here() {
    let world = World::with(&["alice"]).await;
    let gateway = Gateway::open(&world);
    let phone = befriended(&world, &gateway).await;
    for (kind, from, bytes) in [("subscribe", "other@gateway.example", 5_000), ("", FRIEND, 20_000)] {
        let send = async |length: usize| {
            let status = "x".repeat(length);
            let kind = if kind.is_empty() { String::new() } else { format!("type='{kind}'") };
            let text = format!("<presence {kind} from='{from}/x' to='alice@example.org'>");
            sends(&world, &format!("{text}<status>{status}</status></presence>")).await;
            phone.take().await.len()
        };
        assert_eq!((send(bytes).await, send(10).await), (0, 1), "{kind}");
    }
}

#[tokio::test]
async fn a_request_from_afar_to_a_device_that_is_gone_is_answered() {
    let world = World::with(&["alice"]).await;
    let gateway = Gateway::open(&world);
    befriended(&world, &gateway).await;
    let (phone, _) = world.managed("alice", "tablet").await;
    phone.send("<presence to='room@gateway.example/alice'/>").await;
    phone.take().await;
    phone.lose_connection();
    gateway.take();
    // Everybody in a room that the device is in may ask.
    sends(
        &world,
        "<iq type='get' id='v' from='room@gateway.example/other' to='alice@example.org/tablet'>\
         <query xmlns='jabber:iq:version'/></iq>",
    )
    .await;
    assert!(gateway.take().is_empty());
    world.pass(Duration::from_secs(86_400));
    let back = gateway.take();
    let answer = "iq error alice@example.org/tablet room@gateway.example/other";
    assert!(back.iter().any(|told| told == answer), "{back:?}");
}

/// XEP-0060 §12.3: what a service of another domain tells reaches who subscribed there. A client of there is none.
#[tokio::test]
async fn what_others_publish_is_told_by_their_services_only() {
    let world = World::with(&["alice", "bob"]).await;
    let gateway = Gateway::open(&world);
    let phone = befriended(&world, &gateway).await;
    let event = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:x'/></event>";
    for (from, is_told) in [(FRIEND, true), (GATEWAY, true), ("friend@gateway.example/phone", false)] {
        let to = "alice@example.org";
        sends(
            &world,
            &format!("<message from='{from}' to='{to}' type='headline'>{event}<a xmlns='urn:a'/></message>"),
        )
        .await;
        let taken = phone.take().await;
        assert_eq!(taken.len(), 1, "{from}");
        assert_eq!(taken[0].children().any(|child| child.name() == "event"), is_told, "{from}");
    }
    let bob = world.online("bob", "desk").await;
    bob.send(&format!("<message to='alice@example.org' type='headline'>{event}<a xmlns='urn:a'/></message>"))
        .await;
    assert!(phone.take().await.iter().flat_map(Element::children).all(|child| child.name() != "event"));
}
