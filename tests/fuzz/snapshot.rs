//! What the store gives back: the text of a saved session, and of what else an account keeps as text. It was written by
//! some build of ours, or by nobody that we know: a disk, an operator, a conversion from another server.
//!
//! - Whatever the text is, the server starts, and the account is there: its owner comes in and hears what is said.
//! - A session is taken up or given up. One that was taken up can be written to, saved and taken up again.
//! - Nothing of it goes on for ever.

use std::cell::RefCell;

use tokio::runtime::Runtime;
use unisono_core::storage::{Accounts as _, Commit, Journal as _, SessionRecord, Write};
use unisono_core::writing::Drained;

use crate::inside::{Device, World, jid};

/// The kinds of documents that an account is loaded with, or that are read with it.
const KINDS: [&str; 9] = [
    "archive-preferences",
    "blocklist",
    "catch-up",
    "last-seen",
    "private",
    "private-sizes",
    "push",
    "roster-floor",
    "vcard",
];
/// Steps in which everything is written that waits for one device.
const STEPS_MAX: usize = 1_000;

pub(crate) fn target(data: &[u8]) -> u64 {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(tokio::runtime::Builder::new_current_thread().build().unwrap());
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(run(&String::from_utf8_lossy(data))))
}

async fn run(text: &str) -> u64 {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "desk").await;
    let (phone, id) = world.managed("alice", "phone").await;
    for n in 0..4 {
        bob.say("alice@example.org", &n.to_string()).await;
    }
    assert_eq!(phone.bodies().await.len(), 4);
    world.hub.save().await;
    put(&world, text).await;
    let world = world.crash().await;

    let bob = world.online("bob", "desk").await;
    bob.say("alice@example.org", "while she is away").await;
    let (reply, phone) = world.resume("alice", &id, 2).await;
    let mut outcome = 1 + u64::from(phone.is_some());
    assert!(reply.error.is_some() || !reply.write.is_empty(), "resumption is answered");
    if let Some(phone) = phone {
        let written = written(&phone).await;
        bob.say("alice@example.org", "as she is there").await;
        phone.send("<presence/>").await;
        let written = written + self::written(&phone).await;
        outcome += 10 * u64::try_from(written).unwrap();
        // What it has is not known by this count; a wrong one ends the session.
        let acknowledged = phone.nonza("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
        outcome += 100_000 * u64::from(acknowledged.error.is_some());
        phone.lose_connection();
    }
    // What was read can be written, and read again.
    let was_there = outcome % 10 == 2;
    let world = world.restart().await;
    let (_, again) = world.resume("alice", &id, 3).await;
    assert!(was_there || again.is_none(), "what was given up came back");
    if let Some(again) = &again {
        written(again).await;
    }
    let laptop = world.online("alice", "laptop").await;
    laptop.send("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>").await;
    laptop.send("<iq type='get' id='2'><blocklist xmlns='urn:xmpp:blocking'/></iq>").await;
    laptop.send("<iq type='get' id='3'><prefs xmlns='urn:xmpp:mam:2'/></iq>").await;
    laptop.send("<iq type='get' id='4'><vCard xmlns='vcard-temp'/></iq>").await;
    laptop
        .send("<iq type='get' id='5'><query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query></iq>")
        .await;
    let answers = laptop.take().await;
    for id in ["1", "2", "3", "4", "5"] {
        assert!(answers.iter().any(|answer| answer.attr("id") == Some(id)), "{id} has no answer");
    }
    // A list that says so may keep bob away; her own devices it may not.
    laptop.say("alice@example.org", "end").await;
    assert!(laptop.bodies().await.iter().any(|body| body.ends_with("end")), "she does not hear herself");
    outcome
}

/// Puts a text where a saved session is, and in the place of every other text of the account.
async fn put(world: &World, text: &str) {
    let data = world.store.load(&jid("alice"), &[]).await.unwrap().unwrap();
    let [session] = data.sessions.as_slice() else { panic!("{:?}", data.sessions) };
    assert!(session.snapshot.is_some());
    let session = SessionRecord { snapshot: Some(text.to_owned()), ..session.clone() };
    let mut writes = vec![Write::Session { account: data.id, session: session.clone() }];
    for kind in KINDS {
        for key in [String::new(), session.id.to_string(), "{urn:a}a".to_owned()] {
            let (kind, value) = (kind.into(), Some(text.to_owned()));
            writes.push(Write::Document { account: data.id, kind, key: key.into(), value });
        }
    }
    let ticket = world.store.submit(Commit { writes, wake: Vec::new() });
    world.store.wait(ticket).await;
}

/// Writes everything that waits for a device. About how much it was.
async fn written(device: &Device) -> usize {
    let mut out = Vec::new();
    for step in 0..STEPS_MAX {
        match device.hub.drain(&device.session, &mut out, usize::MAX) {
            Drained::Read(positions) => device.hub.refill(&device.session, positions).await.unwrap(),
            Drained::CatchUp => device.hub.read_on(&device.session).await.unwrap(),
            Drained::More => {}
            Drained::Idle(_) | Drained::Gone(_) => return step.min(4) + 5 * (out.len() / 64).min(200),
        }
    }
    panic!("there is no end to what is written");
}
