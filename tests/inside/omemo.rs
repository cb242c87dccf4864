//! The list of devices that others encrypt for (XEP-0384): nobody is lost from it by accident.

use std::collections::BTreeSet;

use super::nodes::{interest, options};
use super::*;

const NODE: &str = "eu.siacs.conversations.axolotl.devicelist";
const NS: &str = "eu.siacs.conversations.axolotl";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

type List = BTreeSet<u32>;

/// A client with a number of its own, and what it has seen of the list.
struct Client {
    device: Device,
    own: u32,
    known: List,
    /// Stanzas that came, and how many of them are acknowledged.
    came: u32,
    acknowledged: u32,
}

impl Client {
    async fn new(world: &World, own: u32) -> Self {
        let (device, _) = world.managed("alice", &format!("d{own}")).await;
        interest(&device, &[NODE]);
        let mut client = Self { device, own, known: List::new(), came: 0, acknowledged: 0 };
        client.take().await;
        client
    }

    async fn take(&mut self) {
        for element in self.device.take().await {
            if ["message", "iq", "presence"].contains(&element.name()) {
                self.came += 1;
            }
            let event = element.child("event", "http://jabber.org/protocol/pubsub#event");
            if let Some(list) = event.and_then(|event| listed(event.first_child()?)) {
                self.known = list;
            }
        }
    }

    async fn acknowledge(&mut self) {
        self.acknowledged = self.came;
        self.device.acknowledge(self.came).await;
    }

    /// Publishes what it knows, with itself, and without one that its user takes off.
    async fn publish(&self, without: Option<u32>) {
        let mut list = self.known.clone();
        list.insert(self.own);
        list.retain(|id| Some(*id) != without);
        publish(&self.device, &list).await;
    }
}

fn listed(items: &Element) -> Option<List> {
    let list = items.first_child()?.child("list", NS)?;
    Some(list.children().filter_map(|device| device.attr("id")?.parse().ok()).collect())
}

async fn publish(device: &Device, list: &List) {
    let devices = list.iter().fold(String::new(), |devices, id| devices + &format!("<device id='{id}'/>"));
    let options = options(&[("access_model", "open"), ("persist_items", "true")]);
    device
        .send(&format!(
            "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{NODE}'><item id='current'>\
             <list xmlns='{NS}'>{devices}</list></item></publish>{options}</pubsub></iq>"
        ))
        .await;
}

/// The list, fetched by a device that does nothing else.
async fn fetch(device: &Device) -> List {
    device
        .send(&format!("<iq type='get' id='g'><pubsub xmlns='{PUBSUB}'><items node='{NODE}'/></pubsub></iq>"))
        .await;
    let taken = device.take().await;
    let answer = taken.iter().find(|element| element.attr("id") == Some("g")).unwrap();
    let items = answer.child("pubsub", PUBSUB).and_then(|pubsub| pubsub.child("items", PUBSUB));
    items.and_then(listed).unwrap_or_default()
}

/// In whatever order devices publish, learn and acknowledge, only that goes from the list which somebody has taken off.
#[tokio::test]
async fn nobody_is_lost_by_accident() {
    let (mut removed, mut merged) = (0, 0);
    for seed in 1..=150_u64 {
        let world = World::with(&["alice"]).await;
        let observer = world.online("alice", "observer").await;
        let mut clients = Vec::new();
        for own in 1..=4 {
            clients.push(Client::new(&world, own).await);
        }
        let mut dice = seed;
        let mut draw = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        for step in 0..60 {
            let client = &mut clients[usize::try_from(draw(4)).unwrap()];
            match draw(6) {
                0 | 1 => client.take().await,
                2 => client.acknowledge().await,
                action => {
                    let others: Vec<_> =
                        client.known.iter().copied().filter(|id| *id != client.own).collect();
                    let target = (action == 5 && !others.is_empty())
                        .then(|| others[usize::try_from(draw(others.len() as u64)).unwrap()]);
                    let before = fetch(&observer).await;
                    // It has seen all there is, and the server knows that.
                    let is_up_to_date = client.known == before && client.acknowledged == client.came;
                    client.publish(target).await;
                    let after = fetch(&observer).await;
                    let lost: Vec<_> = before.difference(&after).copied().collect();
                    assert!(
                        lost.iter().all(|id| Some(*id) == target),
                        "seed {seed}, step {step}: {lost:?} of {before:?} for {target:?}"
                    );
                    assert!(after.contains(&client.own));
                    let queue_is_empty = {
                        let account = client.device.session.cell.lock();
                        account.session(client.device.session.id).unwrap().queued() <= 2
                    };
                    if let Some(target) = target.filter(|_| is_up_to_date && queue_is_empty) {
                        assert!(!after.contains(&target), "seed {seed}, step {step}: {target} stays");
                    }
                    removed += usize::from(!lost.is_empty());
                    merged +=
                        usize::from(before.iter().any(|id| !client.known.contains(id) && after.contains(id)));
                }
            }
        }
        let last = fetch(&observer).await;
        for client in &mut clients {
            client.take().await;
            assert_eq!(client.known, last, "seed {seed}: all devices know the same list");
        }
    }
    assert!(removed > 100 && merged > 100, "{removed} removed, {merged} put back");
}

#[tokio::test]
async fn who_has_not_seen_the_list_after_a_restart_takes_nobody_off() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    publish(&phone, &List::from([1])).await;
    let world = world.crash().await;
    let laptop = world.online("alice", "laptop").await;
    publish(&laptop, &List::from([2])).await;
    assert_eq!(fetch(&laptop).await, List::from([1, 2]));
    // It has fetched the list now, and means it.
    publish(&laptop, &List::from([2])).await;
    assert_eq!(fetch(&laptop).await, List::from([2]));
    laptop
        .send(&format!(
            "<iq type='set' id='d'><pubsub xmlns='{PUBSUB}#owner'><delete node='{NODE}'/></pubsub></iq>"
        ))
        .await;
    publish(&laptop, &List::from([3])).await;
    assert_eq!(fetch(&laptop).await, List::from([3]), "what was deleted is gone");
}
