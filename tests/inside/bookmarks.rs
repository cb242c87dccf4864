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

async fn take_back(device: &Device, room: &str) -> Option<String> {
    device
        .send(&format!(
            "<iq type='set' id='r'><pubsub xmlns='{PUBSUB}'><retract node='{NS}'><item id='{room}@c.example'/>\
             </retract></pubsub></iq>"
        ))
        .await;
    device.take().await.iter().find_map(presence::condition)
}

async fn store_list(device: &Device, list: &str) -> Option<String> {
    device.send(&format!("<iq type='set' id='s'><query xmlns='jabber:iq:private'>{list}</query></iq>")).await;
    device.take().await.iter().find_map(presence::condition)
}

#[tokio::test]
async fn there_are_as_many_rooms_as_one_list_holds() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let full = Some("resource-constraint".to_owned());
    let names: Vec<_> = (0..=1_000).map(|n| format!("r{n:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(store_list(&phone, &list_of(&names)).await, full);
    assert_eq!(store_list(&phone, &list_of(&names[..1_000])).await, None);
    assert_eq!(add(&phone, "r1000").await, full);
    assert_eq!(add(&phone, "r0999").await, None, "it is there already");
    assert_eq!(take_back(&phone, "r0000").await, None);
    assert_eq!(add(&phone, "r1000").await, None);
    // And as much of them.
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let large = format!("<conference xmlns='{NS}' name='{}'/>", "x".repeat(60_000));
    for (room, want) in [("a", None), ("b", None), ("c", None), ("d", full), ("a", None)] {
        assert_eq!(publish(&phone, NS, &format!("{room}@c.example"), &large).await, want, "{room}");
    }
    assert_eq!(take_back(&phone, "a").await, None);
    assert_eq!(publish(&phone, NS, "d@c.example", &large).await, None);
}

#[tokio::test]
async fn what_is_too_much_already_can_be_taken_back() {
    use unisono_core::ids::LogPosition;
    use unisono_core::storage::{Commit, Journal, NodeItem, Write};

    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    for room in ["a", "b"] {
        assert_eq!(add(&phone, room).await, None);
    }
    let account = phone.session.cell.id;
    let item = |n: i64| NodeItem {
        id: format!("r{n}@c.example").into(),
        position: LogPosition(n),
        publisher: None,
        payload: format!("<conference xmlns='{NS}' name='{}'/>", "x".repeat(100_000)),
    };
    let write = |n| Write::Item { account, node: NS.into(), item: Arc::new(item(n)), keep: u32::MAX };
    world.store.submit(Commit { writes: (0..50).map(write).collect(), wake: Vec::new() });
    let world = world.crash().await;
    let phone = world.online("alice", "phone").await;
    assert_eq!(add(&phone, "c").await, Some("resource-constraint".to_owned()));
    assert_eq!(take_back(&phone, "a").await, None);
    let [_, old, _] = rooms(&phone).await;
    assert!(!old.contains(&"a@c.example ".to_owned()) && old.contains(&"b@c.example ".to_owned()));
}

#[tokio::test]
async fn a_room_has_one_name() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    for other in ["R", "r "] {
        assert_eq!(add(&phone, other).await, Some("bad-request".to_owned()), "{other}");
    }
    assert_eq!(rooms(&phone).await, all_of(&[]));
}

#[tokio::test]
async fn what_cannot_be_read_stays_in_the_list() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let strange = "<conference jid='r@c.example/nick'/><conference/><url url='https://example.org'/>";
    let list = format!("<storage xmlns='{OLD}'><conference jid='a@c.example' name='A'/>{strange}</storage>");
    for is_private in [true, false] {
        let refused = if is_private {
            store_list(&phone, &list).await
        } else {
            publish(&phone, OLD, "current", &list).await
        };
        assert_eq!(refused, None);
        assert_eq!(add(&phone, "b").await, None);
        phone
            .send(&format!(
                "<iq type='get' id='g'><query xmlns='jabber:iq:private'><storage xmlns='{OLD}'/></query></iq>"
            ))
            .await;
        let answer = phone.take().await.remove(0);
        let text = answer.first_child().unwrap().first_child().unwrap().to_string_in(&CLIENT_SCOPE);
        assert!(text.contains(strange), "{text}");
    }
}

/// The list in private storage, by room.
async fn private(device: &Device) -> Vec<String> {
    rooms(device).await[2].iter().map(|room| room.split('@').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_kept_apart_comes_together_again() {
    let configure = |node: &str, model: &str| {
        format!(
            "<configure node='{node}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>{PUBSUB}#node_config</value></field><field var='pubsub#access_model'><value>{model}</value>\
             </field></x></configure>"
        )
    };
    for (node, model) in [(NS, "open"), (OLD, "presence")] {
        let world = World::with(&["alice"]).await;
        let phone = world.online("alice", "phone").await;
        assert_eq!(add(&phone, "a").await, None);
        owner(&phone, &configure(node, model)).await;
        assert_eq!(private(&phone).await, ["a"], "an older client finds what there is");
        assert_eq!(store_list(&phone, &list_of(&["a", "b"])).await, None);
        assert_eq!(private(&phone).await, ["a", "b"]);
        assert_eq!(rooms(&phone).await[0], all_of(&["a"])[0], "others see nothing of that");
        phone
            .send(&format!(
                "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{NS}'><item id='c@c.example'>\
                 <conference xmlns='{NS}' name=''/></item></publish></pubsub></iq>"
            ))
            .await;
        assert_eq!(phone.take().await.iter().find_map(presence::condition), None);
        let world = world.crash().await;
        let phone = world.online("alice", "phone").await;
        owner(&phone, &configure(node, "whitelist")).await;
        assert_eq!(rooms(&phone).await, all_of(&["a", "b", "c"]), "{node}");
        assert_eq!(take_back(&phone, "b").await, None);
        assert_eq!(rooms(&phone).await, all_of(&["a", "c"]), "{node}");
        // That there is nothing is remembered, too.
        owner(&phone, &configure(node, model)).await;
        assert_eq!(store_list(&phone, &list_of(&[])).await, None);
        assert_eq!(private(&phone).await, [""; 0]);
        owner(&phone, &format!("<delete node='{node}'/>")).await;
        assert_eq!(private(&phone).await, if node == NS { vec![] } else { vec!["a", "c"] });
    }
}
