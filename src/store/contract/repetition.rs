//! What an account sent last.

use unisono_core::ids::{LogPosition, SessionId};
use unisono_core::record::Keep;
use unisono_core::storage::{RECENT_FINGERPRINTS, Write};

use super::accounts::session;
use super::{Subject, contract, jid, message};

contract! {
    recent_fingerprints_are_the_last_ones_sent,
    recent_fingerprints_name_the_sessions_that_are_left,
}

async fn recent_fingerprints_are_the_last_ones_sent(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let count = i64::try_from(RECENT_FINGERPRINTS).unwrap() + 20;
    let recent = async |subject: &Subject| {
        let recent = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap().recent;
        recent.into_iter().map(|(_, fingerprint)| fingerprint).collect::<Vec<_>>()
    };
    for number in 1..=count {
        let keep = if number % 3 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        subject.submit([message("alice", "bob", "m")
            .sent(alice, number * 10, keep)
            .fingerprint(number)
            .write()]);
        if number % 5 == 0 {
            // Neither what others sent nor what has no id to go by.
            let answer = message("bob", "alice", "m").sent(bob, number * 10 + 1, Keep::Archive);
            let answer = answer.received(alice, number * 10 + 1, Keep::Archive).fingerprint(-number);
            let nameless = message("alice", "bob", "m").sent(alice, number * 10 + 2, Keep::Archive);
            subject.submit([answer.write(), nameless.write()]);
        }
        if number == 100 {
            subject.write([]).await;
            assert_eq!(recent(&subject).await, (1..=100).collect::<Vec<_>>());
            subject.index().await;
        }
    }
    // A message to oneself was sent, though its one entry is a received one.
    subject
        .write([message("alice", "alice", "me")
            .received(alice, count * 10 + 9, Keep::Archive)
            .fingerprint(9999)
            .write()])
        .await;
    let expected: Vec<i64> = (22..=count).chain([9999]).collect();
    assert_eq!(recent(&subject).await, expected);
    let subject = subject.crash().await;
    assert_eq!(recent(&subject).await, expected);
    let data = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
    assert_eq!(data.head, LogPosition(count * 10 + 9));
}

async fn recent_fingerprints_name_the_sessions_that_are_left(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let session = |account, id| Write::Session { account, session: session(id, 1, 0, Some("s")) };
    subject.write([session(alice, 20), session(alice, 21), session(bob, 30)]).await;
    let sent = |n: i64, by: i64| {
        let keep = if n % 2 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        let draft = message("alice", "bob", "m").sent(alice, n, keep).received(bob, n, Keep::Archive);
        draft.fingerprint(n).origin(by, u32::try_from(n).unwrap()).write()
    };
    let to_oneself = message("alice", "alice", "m").received(alice, 7, Keep::Archive);
    subject.write([sent(1, 20), sent(2, 20), sent(3, 21), sent(4, 99)]).await;
    subject.index().await;
    let no_session = message("alice", "bob", "m").sent(alice, 6, Keep::Archive).fingerprint(6);
    subject.write([sent(5, 20), no_session.write(), to_oneself.fingerprint(7).origin(21, 7).write()]).await;
    let expect = async |subject: &Subject, expected: [i64; 7]| {
        let data = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
        let expected: Vec<_> = expected.into_iter().map(SessionId).zip(1..).collect();
        assert_eq!(data.recent, expected);
        assert!(subject.store().load(&jid("bob"), &[]).await.unwrap().unwrap().recent.is_empty());
    };
    expect(&subject, [20, 20, 21, 0, 20, 0, 21]).await;
    let subject = subject.crash().await;
    expect(&subject, [20, 20, 21, 0, 20, 0, 21]).await;
    subject.write([Write::SessionEnded { session: SessionId(20) }]).await;
    expect(&subject, [0, 0, 21, 0, 0, 0, 21]).await;
    subject.write([Write::SessionEnded { session: SessionId(21) }]).await;
    expect(&subject, [0; 7]).await;
}
