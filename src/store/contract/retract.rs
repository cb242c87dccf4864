//! Retractions.

use unisono_core::ids::AccountId;
use unisono_core::record::Keep;
use unisono_core::storage::Write;

use super::{Subject, contract, jid, message};

contract! {
    a_retraction_changes_the_message_for_both,
    a_retraction_in_the_same_commit_concerns_what_comes_before,
    only_the_senders_own_messages_in_the_conversation_are_retracted,
    all_messages_with_the_id_are_retracted,
    what_is_retracted_stays_as_it_is,
}

fn retract(account: AccountId, peer: &str, from: &str, id: &str) -> Write {
    Write::Retract { account, peer: jid(peer), from: jid(from), id: id.into(), payload: "gone".into() }
}

async fn a_retraction_changes_the_message_for_both(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let both = |n: i64| {
        let keep = if n % 2 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        message("alice", "bob", &format!("m{n}")).sent(alice, n, Keep::Archive).received(bob, n, keep).write()
    };
    subject.write((1..=4).map(both)).await;
    subject.index().await;
    subject.write((5..=8).map(both)).await;
    // Indexed and not, from either side, archived there and waiting.
    subject.write([retract(alice, "bob", "alice", "m1"), retract(bob, "alice", "alice", "m2")]).await;
    subject.write([retract(alice, "bob", "alice", "m5"), retract(bob, "alice", "alice", "m6")]).await;
    let expected = ["gone", "gone", "m3", "m4", "gone", "gone", "m7", "m8"];
    assert_eq!(subject.all(alice).await, expected);
    assert_eq!(subject.all(bob).await, expected);
    subject.index().await;
    assert_eq!(subject.all(bob).await, expected);
    let subject = subject.crash().await;
    assert_eq!(subject.all(alice).await, expected);
}

async fn a_retraction_in_the_same_commit_concerns_what_comes_before(subject: Subject) {
    let alice = subject.account("alice").await;
    let sent = |n: i64, text: &str| {
        message("alice", "bob", text).id(Some("id")).sent(alice, n, Keep::Archive).write()
    };
    subject.write([sent(1, "a"), retract(alice, "bob", "alice", "id"), sent(2, "b")]).await;
    assert_eq!(subject.all(alice).await, ["gone", "b"]);
    subject.submit([sent(3, "c")]);
    subject.submit([retract(alice, "bob", "alice", "id")]);
    subject.submit([sent(4, "d")]);
    subject.write([]).await;
    assert_eq!(subject.all(alice).await, ["gone", "gone", "gone", "d"]);
}

async fn only_the_senders_own_messages_in_the_conversation_are_retracted(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    for round in 0..3_i64 {
        let at = round * 10;
        subject
            .write([
                message("alice", "bob", "1")
                    .id(Some("x"))
                    .sent(alice, at + 1, Keep::Archive)
                    .received(bob, at + 1, Keep::Archive)
                    .write(),
                message("bob", "alice", "2")
                    .id(Some("x"))
                    .sent(bob, at + 2, Keep::Archive)
                    .received(alice, at + 2, Keep::Archive)
                    .write(),
                message("carol", "alice", "3").id(Some("x")).received(alice, at + 3, Keep::Archive).write(),
                message("alice", "bob", "4")
                    .id(None)
                    .sent(alice, at + 4, Keep::Archive)
                    .received(bob, at + 4, Keep::Archive)
                    .write(),
                message("alice", "carol", "5").id(Some("x")).sent(alice, at + 5, Keep::Archive).write(),
            ])
            .await;
        let before = subject.all(alice).await;
        // Not hers, not there, in nobody's name, with the wrong party.
        for (peer, from, id) in
            [("bob", "carol", "x"), ("bob", "bob", "y"), ("eve", "alice", "x"), ("bob", "bob", "")]
        {
            subject.write([retract(alice, peer, from, id)]).await;
        }
        assert_eq!(subject.all(alice).await, before);
        if round == 1 {
            subject.index().await;
        }
    }
    subject.write([retract(alice, "bob", "bob", "x")]).await;
    let once = ["1", "gone", "3", "4", "5"];
    assert_eq!(subject.all(alice).await, [once, once, once].concat());
    assert_eq!(subject.all(bob).await, ["1", "gone", "4"].repeat(3));
}

/// XEP-0424 leaves open which of several is meant.
async fn all_messages_with_the_id_are_retracted(subject: Subject) {
    let alice = subject.account("alice").await;
    let sent = |n: i64| {
        let resource = if n % 2 == 0 { "phone" } else { "laptop" };
        message("alice", "bob", &n.to_string())
            .id(Some("id"))
            .from(resource)
            .sent(alice, n, Keep::Archive)
            .write()
    };
    subject.write((1..=100).map(sent)).await;
    subject.index().await;
    subject.write((101..=150).map(sent)).await;
    subject.write([retract(alice, "bob", "alice", "id")]).await;
    assert_eq!(subject.all(alice).await, vec!["gone"; 150]);
}

/// A retraction that is sent again and again writes nothing anew.
async fn what_is_retracted_stays_as_it_is(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let both = |n: i64| {
        let draft = message("alice", "bob", &n.to_string()).id(Some("id"));
        draft.sent(alice, n, Keep::Archive).received(bob, n, Keep::UntilDelivered).write()
    };
    let retract = |account, peer: &str, payload: &str| {
        let (peer, payload) = (jid(peer), payload.into());
        Write::Retract { account, peer, from: jid("alice"), id: "id".into(), payload }
    };
    subject.write([both(1)]).await;
    subject.write([retract(alice, "bob", "first")]).await;
    subject.index().await;
    subject.write([both(2), retract(alice, "bob", "second"), retract(alice, "bob", "third")]).await;
    subject.write([both(3)]).await;
    // Of the recipient's log, too.
    subject.write([retract(bob, "alice", "fourth")]).await;
    let subject = subject.crash().await;
    subject.write([retract(alice, "bob", "fifth")]).await;
    let expected = ["first", "second", "fourth"];
    assert_eq!(subject.all(alice).await, expected);
    assert_eq!(subject.all(bob).await, expected);
}
