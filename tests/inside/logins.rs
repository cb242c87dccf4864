//! What a login has shown, how long that is good, and which devices are remembered for it.

use unisono_core::devices::{Login, Proof, UserAgent};
use unisono_core::error::StreamCondition;

use super::*;

/// THREATS, "Token and session revocation": also where nobody has kept the account in memory meanwhile.
#[tokio::test]
async fn what_a_login_under_way_has_shown_must_be_good_still() {
    for leaves_memory in [false, true] {
        let world = World::with(&["bob"]).await;
        let name = jid("bob");
        let (session, id) = world.managed("bob", "x").await;
        session.lose_connection();
        let by = |proof| Login::default().proven_by(proof);
        let connection = world.connection();
        let changed = world.store.set_credentials(&name, &[]).await.unwrap();
        world.hub.password_changed(&session.session.cell, changed);
        world.hub.password_changed(&session.session.cell, 0); // the news of an earlier change
        drop(session);
        if leaves_memory {
            world.pass(Duration::from_secs(3_600));
            assert!(world.hub.resident(&name).is_none());
        }
        let (old, new) = (by(Proof::Password(0)), by(Proof::Password(changed)));
        assert!(world.hub.resume(&old, &name, &id, 0, connection.clone()).await.is_err());
        assert!(world.hub.bind_as(&old, &name, Some("x"), connection.clone()).await.is_err());
        assert!(world.hub.bind_as(&new, &name, Some("x"), connection).await.is_ok());
    }
}

#[tokio::test]
async fn a_device_that_is_ended_keeps_no_other_out() {
    let world = World::with(&["bob"]).await;
    let (phone, desk) = (world.bind("bob", "phone").await, world.bind("bob", "desk").await);
    let cell = phone.session.cell.clone();
    let device = |of: &Device| cell.lock().session(of.session.id).unwrap().device();
    let by_token = |device| Login::default().proven_by(Proof::Token { device, passwords: 0 });
    let (ended, other) = (by_token(device(&phone)), by_token(device(&desk)));
    let connections = [world.connection(), world.connection(), world.connection()];
    world.hub.end_device(&cell, device(&phone), &StreamCondition::NotAuthorized);
    let [first, second, third] = connections;
    assert!(world.hub.bind_as(&ended, &jid("bob"), Some("phone"), first).await.is_err());
    assert!(world.hub.bind_as(&other, &jid("bob"), Some("desk"), second).await.is_ok());
    let by_password = Login::default().proven_by(Proof::Password(0));
    assert!(world.hub.bind_as(&by_password, &jid("bob"), Some("phone"), third).await.is_ok());
}

/// XEP-0494 §5: a device that knows the password cannot be kept out without another one.
#[tokio::test]
async fn a_device_is_known_to_know_the_password_that_it_set_or_showed() {
    let world = World::with(&["bob"]).await;
    let (desk, _phone) = (world.bind("bob", "desk").await, world.bind("bob", "phone").await);
    let cell = desk.session.cell.clone();
    let knowing = || {
        let devices = world.hub.devices(&cell);
        let knowing = devices.iter().filter(|device| device.has_password);
        let mut names: Vec<_> = knowing.filter_map(|device| device.resource.clone()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(knowing(), ["desk", "phone"]);
    let passwords = world.store.set_credentials(&jid("bob"), &[]).await.unwrap();
    world.hub.password_changed_by(&desk.session, passwords);
    assert_eq!(knowing(), ["desk"]);
    // One that came in by a token, and takes its session up by the password.
    let device = cell.lock().session(desk.session.id).unwrap().device();
    let by_token = Login::default().proven_by(Proof::Token { device, passwords });
    let tablet = world.hub.bind_as(&by_token, &jid("bob"), Some("tablet"), world.connection()).await.unwrap();
    let tablet = Device { hub: world.hub.clone(), session: tablet };
    let enabled = tablet.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let id = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    tablet.lose_connection();
    assert_eq!(knowing(), ["desk"]);
    let by_password = Login::default().proven_by(Proof::Password(passwords));
    assert!(world.hub.resume(&by_password, &jid("bob"), &id, 0, world.connection()).await.is_ok());
    assert_eq!(knowing(), ["desk", "tablet"]);
    let world = world.crash().await;
    let cell = world.hub.account(&jid("bob")).await.unwrap().unwrap();
    let devices = world.hub.devices(&cell);
    assert_eq!(devices.iter().filter(|device| device.has_password).count(), 2);
}

/// Devices that come once push nobody out who comes back.
#[tokio::test]
async fn devices_that_name_themselves_outlast_those_that_come_once() {
    let world = World::set(&["bob"], Settings { devices_max: 4, ..Settings::default() }).await;
    let agent = |n: usize| UserAgent::parse(&format!("d4565fa7-4d72-4749-b3d3-74000000000{n}")).unwrap();
    for n in 0..2 {
        let login = Login::new(Some(agent(n)), "", "");
        let named = world.hub.bind_as(&login, &jid("bob"), None, world.connection()).await.unwrap();
        world.hub.close(&named, true);
        world.step_clock(1_000_000);
    }
    for n in 0..20 {
        let once = world.bind("bob", &format!("once.{n}")).await;
        world.hub.close(&once.session, true);
        world.step_clock(1_000_000);
    }
    let cell = world.hub.account(&jid("bob")).await.unwrap().unwrap();
    let named = || cell.lock().devices().iter().filter(|device| device.is_named()).count();
    assert_eq!((named(), cell.lock().devices().len()), (2, 4));
    // Nor is one remembered for long that the server has named.
    let drawn = world.hub.bind(&jid("bob"), None, world.connection()).await.unwrap();
    world.hub.close(&drawn, true);
    let is_there = || cell.lock().devices().iter().any(|device| device.key.starts_with("unisono-"));
    assert!(is_there());
    for (hours, want) in [(23, true), (2, false)] {
        world.step_clock(hours * 3_600_000_000);
        let again = world.bind("bob", "once.19").await;
        assert_eq!(is_there(), want, "{hours}");
        world.hub.close(&again.session, true);
    }
    assert_eq!(named(), 2);
}

/// XEP-0494 §6: who runs the server chooses what is kept.
#[tokio::test]
async fn what_clients_say_of_themselves_is_kept_where_that_is_wanted() {
    for keeps_device_names in [true, false] {
        let world = World::set(&["bob"], Settings { keeps_device_names, ..Settings::default() }).await;
        let login = Login::new(None, "A client", "A phone");
        let session = world.hub.bind_as(&login, &jid("bob"), Some("x"), world.connection()).await.unwrap();
        let known = world.hub.devices(&session.cell);
        let said = known[0].software.is_some() && known[0].name.is_some();
        assert_eq!(said, keeps_device_names);
        assert!(known[0].has_password && known[0].first_seen.is_some());
    }
}
