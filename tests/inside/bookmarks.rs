//! Bookmarks in all their forms (XEP-0402, XEP-0048, XEP-0049), and what they say of notifications (XEP-0492).

use unisono_xeps::xep0492_notification_settings::{Setting, setting};

use super::nodes::{interest, options};
use super::*;

const NS: &str = "urn:xmpp:bookmarks:1";
const OLD: &str = "storage:bookmarks";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const ROOM: &str = "r@c.example";

async fn publish(device: &Device, node: &str, id: &str, payload: &str) -> Option<String> {
    let max_items = if node == NS { "max" } else { "1" };
    let options =
        options(&[("access_model", "whitelist"), ("persist_items", "true"), ("max_items", max_items)]);
    device
        .send(&format!(
            "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id}'>{payload}</item>\
             </publish>{options}</pubsub></iq>"
        ))
        .await;
    device.take().await.iter().find_map(presence::condition)
}

async fn owner(device: &Device, action: &str) {
    device
        .send(&format!("<iq type='set' id='o'><pubsub xmlns='{PUBSUB}#owner'>{action}</pubsub></iq>"))
        .await;
    device.take().await;
}

/// The rooms in each of the three forms, as `room name`.
async fn rooms(device: &Device) -> [Vec<String>; 3] {
    rooms_of(device, true).await
}

/// The same, be it that the first has no items.
async fn rooms_of(device: &Device, is_kept: bool) -> [Vec<String>; 3] {
    let named = |jid: &str, room: &Element| format!("{jid} {}", room.attr("name").unwrap_or_default());
    let mut all: [Vec<String>; 3] = Default::default();
    for (form, node) in all.iter_mut().zip([NS, OLD]).skip(usize::from(!is_kept)) {
        device
            .send(&format!(
                "<iq type='get' id='g'><pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub></iq>"
            ))
            .await;
        let answer = device.take().await.remove(0);
        let items = answer.child("pubsub", PUBSUB).and_then(|pubsub| pubsub.child("items", PUBSUB)).cloned();
        for item in items.iter().flat_map(Element::children) {
            let payload = item.first_child().unwrap();
            if node == NS {
                form.push(named(item.attr("id").unwrap(), payload));
            } else {
                form.extend(payload.children().map(|room| named(room.attr("jid").unwrap(), room)));
            }
        }
    }
    device
        .send(&format!(
            "<iq type='get' id='g'><query xmlns='jabber:iq:private'><storage xmlns='{OLD}'/></query></iq>"
        ))
        .await;
    let answer = device.take().await.remove(0);
    let storage = answer.first_child().unwrap().first_child().unwrap();
    all[2].extend(storage.children().map(|room| named(room.attr("jid").unwrap(), room)));
    for form in &mut all {
        form.sort();
    }
    all
}

fn wanted(device: &Device) -> Option<Setting> {
    setting(&device.session.cell.lock(), ROOM, ("client", "phone"))
}

#[tokio::test]
async fn all_forms_are_one_at_all_times() {
    let mut world = World::with(&["alice"]).await;
    let mut phone = world.online("alice", "phone").await;
    let room = |name: &str| format!("<conference xmlns='{NS}' name='{name}'/>");
    let list = |rooms: &[(&str, &str)]| {
        let rooms = rooms.iter().map(|(jid, name)| format!("<conference jid='{jid}' name='{name}'/>"));
        format!("<storage xmlns='{OLD}'>{}</storage>", rooms.collect::<String>())
    };
    for turn in 0..6 {
        let want: &[&str] = match turn {
            0 => {
                assert_eq!(publish(&phone, NS, ROOM, &room("A")).await, None);
                &["r@c.example A"]
            }
            1 => {
                assert_eq!(
                    publish(&phone, OLD, "current", &list(&[(ROOM, "B"), ("s@c.example", "S")])).await,
                    None
                );
                &["r@c.example B", "s@c.example S"]
            }
            2 => {
                let private = list(&[("s@c.example", "S"), ("t@c.example", "T")]);
                phone
                    .send(&format!(
                        "<iq type='set' id='s'><query xmlns='jabber:iq:private'>{private}</query></iq>"
                    ))
                    .await;
                phone.take().await;
                &["s@c.example S", "t@c.example T"]
            }
            3 => {
                phone
                    .send(&format!(
                        "<iq type='set' id='r'><pubsub xmlns='{PUBSUB}'><retract node='{NS}'><item id='s@c.example'/>\
                         </retract></pubsub></iq>"
                    ))
                    .await;
                phone.take().await;
                &["t@c.example T"]
            }
            4 => {
                owner(&phone, &format!("<purge node='{NS}'/>")).await;
                &[]
            }
            _ => {
                assert_eq!(publish(&phone, NS, ROOM, &room("Z")).await, None);
                &["r@c.example Z"]
            }
        };
        assert_eq!(rooms(&phone).await, [want, want, want], "turn {turn}");
        world = world.crash().await;
        phone = world.online("alice", "phone").await;
        assert_eq!(rooms(&phone).await, [want, want, want], "turn {turn}, after a crash");
    }
}

#[tokio::test]
async fn what_others_may_read_gets_no_copy() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let open = options(&[("access_model", "open")]);
    phone
        .send(&format!(
            "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{OLD}'><item id='current'>\
             <storage xmlns='{OLD}'/></item></publish>{open}</pubsub></iq>"
        ))
        .await;
    phone.take().await;
    assert_eq!(publish(&phone, NS, ROOM, &format!("<conference xmlns='{NS}' name='A'/>")).await, None);
    let [new, old, _] = rooms(&phone).await;
    assert_eq!((new.len(), old.len()), (1, 0));
}

#[tokio::test]
async fn settings_for_notifications_follow_the_bookmark() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    interest(&phone, &[NS]);
    let room = |name: &str, notify: &str| {
        format!(
            "<conference xmlns='{NS}' name='{name}'><extensions><notify xmlns='urn:xmpp:notification-settings:1'>\
             {notify}</notify></extensions></conference>"
        )
    };
    assert_eq!(wanted(&phone), None);
    assert_eq!(publish(&phone, NS, ROOM, &room("A", "<never/>")).await, None);
    assert_eq!(wanted(&phone), Some(Setting::Never));
    // An older client renames the room, and knows nothing of this.
    let list = format!("<storage xmlns='{OLD}'><conference jid='{ROOM}' name='B'/></storage>");
    assert_eq!(publish(&phone, OLD, "current", &list).await, None);
    let world = world.crash().await;
    let phone = world.online("alice", "phone").await;
    assert_eq!(wanted(&phone), Some(Setting::Never));
    let own = "<never/><on-mention identity-category='client' identity-type='phone'/>";
    assert_eq!(publish(&phone, NS, ROOM, &room("B", own)).await, None);
    assert_eq!(wanted(&phone), Some(Setting::OnMention));
    let empty = format!("<storage xmlns='{OLD}'/>");
    assert_eq!(publish(&phone, OLD, "current", &empty).await, None);
    assert_eq!(wanted(&phone), None, "there is no bookmark any more");
    assert_eq!(publish(&phone, NS, ROOM, &room("A", "<never/>")).await, None);
    owner(&phone, &format!("<delete node='{NS}'/>")).await;
    assert_eq!(wanted(&phone), None);
}

/// The node of the rooms, made to hold so many.
async fn with_room_for(device: &Device, count: usize, more: &[(&str, &str)]) {
    let count = count.to_string();
    let form = [("access_model", "whitelist"), ("max_items", count.as_str())];
    let form: Vec<_> = form.iter().chain(more).copied().collect();
    let options = options(&form).replace("publish-options>", "configure>");
    let options = options.replace("pubsub#publish-options", "pubsub#node_config");
    device
        .send(&format!(
            "<iq type='set' id='c'><pubsub xmlns='{PUBSUB}'><create node='{NS}'/>{options}</pubsub></iq>"
        ))
        .await;
    assert_eq!(device.take().await.iter().find_map(presence::condition), None);
}

fn list_of(rooms: &[&str]) -> String {
    let rooms = rooms.iter().map(|room| format!("<conference jid='{room}@c.example' name=''/>"));
    format!("<storage xmlns='{OLD}'>{}</storage>", rooms.collect::<String>())
}

fn all_of(rooms: &[&str]) -> [Vec<String>; 3] {
    let rooms: Vec<_> = rooms.iter().map(|room| format!("{room}@c.example ")).collect();
    [rooms.clone(), rooms.clone(), rooms]
}

async fn add(device: &Device, room: &str) -> Option<String> {
    publish(device, NS, &format!("{room}@c.example"), &format!("<conference xmlns='{NS}' name=''/>")).await
}

#[tokio::test]
async fn what_leaves_a_full_node_makes_room_for_what_comes() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    with_room_for(&phone, 3, &[]).await;
    assert_eq!(publish(&phone, OLD, "current", &list_of(&["a", "b", "c"])).await, None);
    assert_eq!(rooms(&phone).await, all_of(&["a", "b", "c"]));
    assert_eq!(publish(&phone, OLD, "current", &list_of(&["a", "d"])).await, None);
    assert_eq!(rooms(&phone).await, all_of(&["a", "d"]));
}

/// What happens to items, as a device that wants to know is told it.
async fn events(device: &Device) -> Vec<String> {
    let ns = format!("{PUBSUB}#event");
    let mut all = Vec::new();
    for message in device.take().await {
        let Some(items) = message.child("event", &ns).and_then(Element::first_child) else { continue };
        let told = items.children().map(|item| format!("{} {}", item.name(), item.attr("id").unwrap_or("")));
        all.extend(told);
    }
    all
}

#[tokio::test]
async fn what_makes_room_is_in_no_form_any_more() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    with_room_for(&phone, 1, &[]).await;
    let never = "<extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions>";
    let room = format!("<conference xmlns='{NS}' name=''>{never}</conference>");
    assert_eq!(publish(&phone, NS, ROOM, &room).await, Some("conflict".to_owned()), "another max_items");
    for (id, want) in [(ROOM, "r"), ("s@c.example", "s")] {
        phone
            .send(&format!(
                "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{NS}'><item id='{id}'>{room}</item>\
                 </publish></pubsub></iq>"
            ))
            .await;
        phone.take().await;
        assert_eq!(rooms(&phone).await, all_of(&[want]));
        assert_eq!(wanted(&phone), (id == ROOM).then_some(Setting::Never));
    }
}

#[tokio::test]
async fn a_node_that_is_made_to_hold_less_says_what_goes() {
    for (field, value, left) in [("max_items", "1", &["c"][..]), ("persist_items", "false", &[])] {
        let world = World::with(&["alice"]).await;
        let (phone, laptop) = (world.online("alice", "phone").await, world.online("alice", "laptop").await);
        interest(&laptop, &[NS]);
        for room in ["a", "b", "c"] {
            assert_eq!(add(&phone, room).await, None);
        }
        laptop.take().await;
        let form = format!(
            "<configure node='{NS}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>{PUBSUB}#node_config</value></field><field var='pubsub#{field}'><value>{value}</value></field></x>\
             </configure>"
        );
        owner(&phone, &form).await;
        let gone: Vec<_> = ["a", "b", "c"].iter().filter(|room| !left.contains(room)).collect();
        let gone: Vec<_> = gone.iter().map(|room| format!("retract {room}@c.example")).collect();
        assert_eq!(events(&laptop).await, gone);
        let [_, old, private] = rooms_of(&phone, value == "1").await;
        assert_eq!((&old, &private), (&all_of(left)[0], &all_of(left)[0]), "{field}");
    }
}

#[tokio::test]
async fn at_no_moment_is_a_node_gone_and_the_list_still_there() {
    for action in ["purge", "delete"] {
        let world = World::with(&["alice"]).await;
        let phone = world.online("alice", "phone").await;
        assert_eq!(add(&phone, "a").await, None);
        let ticket = phone.session.cell.lock().last_ticket();
        owner(&phone, &format!("<{action} node='{NS}'/>")).await;
        // One commit and no other.
        let now = phone.session.cell.lock().last_ticket();
        assert_eq!(now.0 - ticket.0, 1, "{action}");
        assert_eq!(rooms(&phone).await, all_of(&[]));
    }
}
