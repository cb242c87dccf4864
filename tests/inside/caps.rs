//! What the server learns of what devices can (XEP-0115 §5.4, XEP-0390), and who becomes interested in what (XEP-0163
//! §4.3).

use unisono_core::extension::Registry;

use super::*;

/// What the handlers of `interested` were told: the device, and the nodes.
#[derive(Default)]
pub(super) struct Told(Mutex<Vec<String>>);

/// Writes down who became interested in what.
pub(super) fn write_down(on: &mut Registry) {
    on.server_state::<Told>();
    on.interested(|hub, session, interest| {
        Box::pin(async move {
            let nodes = interest.nodes.join(" ");
            let told = hub.server_state::<Told>().unwrap();
            told.0.lock().unwrap().push(format!("{}: {nodes}", session.jid.resource()));
            Ok(None)
        })
    });
}

const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
/// A client that is interested in two nodes, its hash, and the hash of one that is interested in another.
const AB: [&str; 2] = ["urn:a", "urn:b"];
const VER_AB: &str = "bXNnemeh1FdNn5CM9j6luK67SRE=";
const VER_BC: &str = "yMEtjN7tmFUWaZ5/QY7exbdRcIg=";
const HASH_AB: &str = "+r7X9jYQ72riZfSTZNbzpev8Pi0PibA63/jjvhIkExw=";

fn caps(ver: &str) -> String {
    format!("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='{ver}'/>")
}

impl World {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.hub.server_state::<Told>().unwrap().0.lock().unwrap())
    }
}

impl Device {
    async fn announce(&self, caps: &str) {
        self.send(&format!("<presence>{caps}</presence>")).await;
    }

    /// The questions that the server has for the device: their ids, and the nodes that they are about.
    async fn questions(&self) -> Vec<(String, Option<String>)> {
        let taken = self.take().await;
        let questions =
            taken.iter().filter(|element| element.name() == "iq" && element.attr("type") == Some("get"));
        questions
            .map(|iq| {
                assert_eq!(iq.attr("from"), Some(self.session.cell.jid.as_str()));
                assert_eq!(iq.attr("to"), Some(self.session.jid.as_str()));
                let query = iq.child("query", NS_INFO).unwrap();
                (iq.attr("id").unwrap().to_owned(), query.attr("node").map(str::to_owned))
            })
            .collect()
    }

    /// Answers one of them with what it is interested in.
    async fn tell(&self, id: &str, nodes: &[&str]) {
        let features = nodes
            .iter()
            .fold(String::new(), |features, node| features + "<feature var='" + node + "+notify'/>");
        self.send(&format!(
            "<iq type='result' id='{id}' to='{}'><query xmlns='{NS_INFO}'>\
             <identity category='client' type='pc' name='Test'/>{features}</query></iq>",
            self.session.cell.jid
        ))
        .await;
    }

    async fn refuse(&self, id: &str) {
        self.send(&format!("<iq type='error' id='{id}' to='{}'/>", self.session.cell.jid)).await;
    }

    fn interests(&self) -> Vec<String> {
        let account = self.session.cell.lock();
        account.session(self.session.id).unwrap().interests().iter().map(ToString::to_string).collect()
    }
}

/// A device that announced, was asked, and told.
async fn known(world: &World, name: &str, resource: &str) -> Device {
    let device = world.bind(name, resource).await;
    device.announce(&caps(VER_AB)).await;
    let questions = device.questions().await;
    assert_eq!(questions.len(), 1);
    device.tell(&questions[0].0, &AB).await;
    device.take().await;
    device
}

#[tokio::test]
async fn one_tells_for_all_that_announce_the_same() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.bind("alice", "phone").await;
    phone.announce(&caps(VER_AB)).await;
    let questions = phone.questions().await;
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].1.as_deref(), Some(format!("urn:client#{VER_AB}").as_str())); // XEP-0115 §6.2
    assert_eq!(phone.interests(), [] as [&str; 0]);
    let waits = world.bind("bob", "waits").await;
    waits.announce(&caps(VER_AB)).await;
    assert_eq!(waits.questions().await, [], "one is enough");
    phone.tell(&questions[0].0, &AB).await;
    let late = world.bind("bob", "late").await;
    late.announce(&caps(VER_AB)).await;
    assert_eq!(late.questions().await, [], "it is known");
    for device in [&phone, &waits, &late] {
        device.take().await;
        assert_eq!(device.interests(), AB);
    }
    assert_eq!(world.told(), ["late: urn:a urn:b", "phone: urn:a urn:b", "waits: urn:a urn:b"]);
    let list =
        |device: &Device| device.session.cell.lock().session(device.session.id).unwrap().interests().clone();
    assert!(Arc::ptr_eq(&list(&phone), &list(&late)), "it is in memory once");
    // XEP-0390 is for itself (§7.2), and preferred.
    let both = format!(
        "{}<c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>{HASH_AB}</hash></c>",
        caps(VER_BC)
    );
    for (resource, count) in [("new", 1), ("next", 0)] {
        let device = world.bind("bob", resource).await;
        device.announce(&both).await;
        let questions = device.questions().await;
        assert_eq!(questions.len(), count);
        for (id, node) in questions {
            assert_eq!(node, Some(format!("urn:xmpp:caps#sha-256.{HASH_AB}"))); // XEP-0390 §4.3
            device.tell(&id, &AB).await;
        }
        assert_eq!(device.interests(), AB);
    }
}

#[tokio::test]
async fn only_what_is_true_is_kept_for_others() {
    let world = World::with(&["alice", "mallory"]).await;
    let phone = world.bind("mallory", "phone").await;
    phone.announce(&caps(VER_AB)).await;
    let liar = phone.questions().await;
    let mut others = Vec::new();
    for n in 0..6 {
        let device = world.bind("alice", &format!("other{n}")).await;
        device.announce(&caps(VER_AB)).await;
        assert_eq!(device.questions().await, []);
        others.push(device);
    }
    phone.tell(&liar[0].0, &["urn:x"]).await;
    assert_eq!(phone.interests(), ["urn:x"], "it is true of itself");
    // The next one is asked: it does not say, nor does the one after it.
    let asked = others[0].questions().await;
    others[0].refuse(&asked[0].0).await;
    assert_eq!(others[1].questions().await.len(), 1);
    others[1].lose_connection();
    world.pass(Duration::ZERO);
    // All the others are asked, and one of them tells.
    for device in &others[2..] {
        let asked = device.questions().await;
        assert_eq!(asked.len(), 1);
        device.take().await;
        if device.session.jid.resource() == "other4" {
            device.tell(&asked[0].0, &AB).await;
        }
    }
    for device in &others[2..] {
        assert_eq!(device.interests(), AB);
    }
    assert_eq!(phone.interests(), ["urn:x"]);
    let late = world.bind("mallory", "late").await;
    late.announce(&caps(VER_AB)).await;
    assert_eq!((late.questions().await, late.interests()), (Vec::new(), AB.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn who_does_not_answer_keeps_nobody_waiting() {
    let world = World::with(&["alice", "mallory"]).await;
    let silent = world.bind("mallory", "silent").await;
    silent.announce(&caps(VER_AB)).await;
    let asked = silent.questions().await;
    let phone = world.bind("alice", "phone").await;
    phone.announce(&caps(VER_AB)).await;
    world.pass(Duration::from_secs(5));
    let later = world.bind("alice", "later").await;
    later.announce(&caps(VER_AB)).await;
    assert_eq!(later.questions().await.len(), 1, "it was long enough");
    later.lose_connection();
    world.pass(Duration::from_secs(56));
    let questions = phone.questions().await;
    assert_eq!(questions.len(), 1, "the time is over");
    // It is too late.
    silent.tell(&asked[0].0, &AB).await;
    assert_eq!(silent.interests(), [] as [&str; 0]);
    phone.tell(&questions[0].0, &AB).await;
    assert_eq!(phone.interests(), AB);
    assert_eq!(silent.interests(), [] as [&str; 0], "but with its next presence");
    silent.announce(&caps(VER_AB)).await;
    assert_eq!((silent.questions().await, silent.interests()), (Vec::new(), AB.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn only_who_was_asked_answers_and_once() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.bind("alice", "phone").await;
    let tab = world.bind("alice", "tab").await;
    let bob = world.bind("bob", "desk").await;
    phone.announce(&caps("?")).await;
    let id = phone.questions().await.remove(0).0;
    for device in [&tab, &bob] {
        device.tell(&id, &AB).await;
        device.tell("disco1", &AB).await;
        assert_eq!((device.interests(), device.take().await), (Vec::new(), Vec::new()));
    }
    phone.tell("disco1", &AB).await;
    // Not from itself, whatever it is called, and not for somebody else.
    for to in ["alice@example.org/phone", "bob@example.org", "example.org"] {
        phone
            .send(&format!(
                "<iq type='result' id='{id}' to='{to}'><query xmlns='{NS_INFO}'><feature var='urn:z+notify'/></query></iq>"
            ))
            .await;
    }
    assert_eq!(phone.interests(), [] as [&str; 0]);
    phone.tell(&id, &AB).await;
    phone.tell(&id, &["urn:c"]).await;
    assert_eq!(phone.interests(), AB);
    phone.take().await;
    assert_eq!(world.told(), ["phone: urn:a urn:b"]);
}

#[tokio::test]
async fn interests_come_and_go_with_presence() {
    let world = World::with(&["alice"]).await;
    let phone = known(&world, "alice", "phone").await;
    assert_eq!(world.told(), ["phone: urn:a urn:b"]);
    // More of the same tells nothing new (XEP-0163 §4.3.3), and a presence without capabilities leaves them as they are.
    for caps in [caps(VER_AB), String::new()] {
        phone.announce(&caps).await;
        assert_eq!(phone.questions().await, []);
        assert_eq!((phone.interests(), world.told()), (AB.map(str::to_owned).to_vec(), Vec::new()));
    }
    phone.announce(&caps(VER_BC)).await;
    assert_eq!(phone.interests(), AB, "until it is known better");
    let id = phone.questions().await.remove(0).0;
    phone.tell(&id, &["urn:b", "urn:c"]).await;
    assert_eq!(phone.take().await, []);
    assert_eq!(
        (phone.interests(), world.told()),
        (vec!["urn:b".into(), "urn:c".into()], vec!["phone: urn:c".into()])
    );
    phone.send("<presence type='unavailable'/>").await;
    assert_eq!(phone.interests(), [] as [&str; 0]);
    phone.announce(&caps(VER_BC)).await;
    assert_eq!(phone.questions().await, []);
    assert_eq!(world.told(), ["phone: urn:b urn:c"]);
}

#[tokio::test]
async fn interests_outlive_connections_and_restarts() {
    let world = World::with(&["alice", "bob"]).await;
    known(&world, "bob", "desk").await;
    let (phone, id) = world.managed("alice", "phone").await;
    phone.announce(&caps(VER_AB)).await;
    phone.take().await;
    assert_eq!(phone.interests(), AB);
    world.told();
    phone.lose_connection();
    let (_, phone) = world.resume("alice", &id, 0).await;
    let phone = phone.unwrap();
    assert_eq!((phone.questions().await, phone.interests()), (Vec::new(), AB.map(str::to_owned).to_vec()));
    phone.lose_connection();
    let world = world.restart().await;
    let (_, phone) = world.resume("alice", &id, 0).await;
    let phone = phone.unwrap();
    assert_eq!((phone.questions().await, phone.interests()), (Vec::new(), AB.map(str::to_owned).to_vec()));
    assert_eq!(world.told(), [] as [&str; 0], "it was told before");
    phone.announce(&caps(VER_AB)).await;
    assert_eq!(phone.questions().await.len(), 1, "nothing is known after a start");
    assert_eq!(phone.interests(), AB);
}

#[tokio::test]
async fn what_became_interesting_before_a_restart_is_told_after_it() {
    let world = World::with(&["alice", "bob"]).await;
    known(&world, "bob", "desk").await;
    let (phone, id) = world.managed("alice", "phone").await;
    world.told();
    phone.announce(&caps(VER_AB)).await;
    phone.lose_connection();
    let world = world.restart().await;
    let (_, phone) = world.resume("alice", &id, 0).await;
    phone.unwrap().take().await;
    assert_eq!(world.told(), ["phone: urn:a urn:b"]);
}

#[tokio::test]
async fn what_cannot_be_checked_is_asked_of_each() {
    let legacy = "<c xmlns='http://jabber.org/protocol/caps' node='urn:client' ver='1.0' ext='x'/>"; // §13
    let other = caps(VER_AB).replace("sha-1", "sha-512"); // §5.4, step 2
    let node = format!("urn:client#{VER_AB}");
    for (announced, node) in [(legacy, None), (other.as_str(), Some(node))] {
        let world = World::with(&["alice"]).await;
        for resource in ["phone", "tab"] {
            let device = world.bind("alice", resource).await;
            device.announce(announced).await;
            let mut questions = device.questions().await;
            assert_eq!(questions.len(), 1);
            let (id, asked) = questions.remove(0);
            assert_eq!(asked, node);
            device.tell(&id, &AB).await;
            assert_eq!(device.interests(), AB);
            device.send("<presence type='unavailable'/>").await;
            device.announce(announced).await;
            assert_eq!(
                (device.questions().await, device.interests()),
                (Vec::new(), AB.map(str::to_owned).to_vec())
            );
        }
        let device = world.bind("alice", "other").await;
        device.announce(announced).await;
        let id = device.questions().await.remove(0).0;
        device.refuse(&id).await;
        device.announce(announced).await;
        assert_eq!(device.questions().await, [], "once is enough");
    }
    // §8.3
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    phone.announce("").await;
    assert_eq!(phone.questions().await, []);
}

#[tokio::test]
async fn a_device_is_asked_so_often_and_no_more() {
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    let mut count = 0;
    for n in 0..100 {
        phone.announce(&caps(&format!("v{n}"))).await;
        for (id, _) in phone.questions().await {
            count += 1;
            phone.refuse(&id).await;
        }
    }
    assert_eq!(count, 8);
    world.pass(Duration::from_secs(30));
    phone.announce(&caps(VER_AB)).await;
    let questions = phone.questions().await;
    phone.tell(&questions[0].0, &AB).await;
    assert_eq!(phone.interests(), AB);
}

#[tokio::test]
async fn who_comes_and_goes_all_the_time_is_told_when_there_is_time() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.online("alice", "phone").await;
    super::nodes::interest(&phone, &["urn:a"]);
    phone.take().await;
    world.told();
    world.pass(Duration::from_secs(3_600));
    for _ in 0..20 {
        phone.send("<presence type='unavailable'/>").await;
        phone.send("<presence/>").await;
        super::nodes::interest(&phone, &["urn:a"]);
        phone.take().await;
    }
    assert_eq!(world.told().len(), 8);
    // Messages do not wait for that.
    let bob = world.online("bob", "desk").await;
    bob.say("alice@example.org", "hello").await;
    assert_eq!(phone.bodies().await, ["hello"]);
    assert_eq!(world.told(), [""; 0]);
    world.pass(Duration::from_secs(30));
    phone.take().await;
    assert_eq!(world.told(), ["phone: urn:a"]);
}

#[tokio::test]
async fn messages_come_before_what_there_is_of_nodes() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    super::nodes::interest(&alice, &["urn:x"]);
    let publish = "<publish node='urn:x'><item id='1'><p xmlns='urn:x'/></item></publish>";
    let publish = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{publish}</pubsub>");
    alice.send(&format!("<iq type='set' id='p'>{publish}</iq>")).await;
    alice.take().await;
    alice.send("<presence type='unavailable'/>").await;
    bob.say("alice@example.org", "hello").await;
    alice.send("<presence/>").await;
    super::nodes::interest(&alice, &["urn:x"]);
    let taken = alice.take().await;
    let messages = taken.iter().filter(|element| element.name() == "message");
    let is_event = |message: &Element| message.has_child("event", "http://jabber.org/protocol/pubsub#event");
    assert_eq!(messages.map(is_event).collect::<Vec<_>>(), [false, true]);
}
