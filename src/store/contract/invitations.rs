//! Invitations and reports.

use unisono_core::invitations::{GRACE_MICROS, INVITED_BY, Invitation};
use unisono_core::jid::BareJid;
use unisono_core::reports::{Kept, Report};
use unisono_core::storage::{StoreError, Write};

use super::{Subject, contract, jid};

contract! {
    an_invitation_is_found_until_it_expires_or_is_used,
    of_two_that_use_an_invitation_at_once_one_does,
    an_account_and_its_invitation_are_one_commit,
    an_invitation_keeps_a_name_free,
    invitations_are_listed_by_token_and_by_maker,
    an_account_knows_who_invited_it,
    what_was_shown_in_time_can_be_used_a_little_later,
    an_invitation_is_used_up_with_what_comes_of_it,
    reports_are_kept_up_to_a_bound,
    who_reports_much_keeps_the_reports_of_others,
    a_deleted_account_takes_its_invitations_and_reports_along,
}

fn invitation(token: &str, account: Option<BareJid>, inviter: Option<&str>) -> Invitation {
    let domain = Some("example.org".parse().unwrap());
    let (inviter, maker) = (inviter.map(jid), inviter.map(jid));
    let (created_at, expires_at) = (10, 100);
    Invitation { token: token.to_owned(), domain, account, inviter, maker, created_at, expires_at }
}

const KEEP: Kept = Kept { in_all: 3, of_one: 3 };

fn report(reporter: &str, content: &str) -> Report {
    let about = "spam@example.net/x".parse().unwrap();
    Report { number: 0, at: 7, reporter: jid(reporter), about, content: content.to_owned() }
}

async fn an_invitation_is_found_until_it_expires_or_is_used(subject: Subject) {
    let store = subject.store();
    let (first, second) =
        (invitation("t1", Some(jid("juliet")), Some("romeo")), invitation("t2", None, None));
    store.invite(&first).await.unwrap();
    store.invite(&second).await.unwrap();
    assert_eq!(store.invitation("t1", 99).await.unwrap(), Some(first));
    assert_eq!(store.invitation("t1", 100).await.unwrap(), None);
    assert_eq!(store.invitation("t2", 99).await.unwrap(), Some(second));
    for wrong in ["", "t", "T1", "t1 ", "t1\0", "'"] {
        assert_eq!(store.invitation(wrong, 20).await.unwrap(), None, "{wrong:?}");
        assert!(!store.redeem(wrong).await.unwrap(), "{wrong:?}");
    }
    assert!(store.redeem("t1").await.unwrap());
    assert!(!store.redeem("t1").await.unwrap());
    assert_eq!(store.invitation("t1", 20).await.unwrap(), None);
    drop(store);
    let subject = subject.crash().await;
    assert!(subject.store().invitation("t2", 20).await.unwrap().is_some());
    assert!(subject.store().invitation("t1", 20).await.unwrap().is_none());
}

async fn of_two_that_use_an_invitation_at_once_one_does(subject: Subject) {
    let store = subject.store();
    store.invite(&invitation("t", None, None)).await.unwrap();
    let (one, other, third) = (jid("one"), jid("other"), store.redeem("t"));
    let (one, other, third) = tokio::join!(
        store.create_invited("t", &one, &[], 20),
        store.create_invited("t", &other, &[], 20),
        third
    );
    let used = usize::from(one.is_ok()) + usize::from(other.is_ok()) + usize::from(third.unwrap());
    assert_eq!(used, 1, "{one:?} {other:?}");
}

async fn an_account_and_its_invitation_are_one_commit(subject: Subject) {
    let store = subject.store();
    subject.account("paypal").await;
    store.invite(&invitation("t", None, None)).await.unwrap();
    // What fails uses nothing up (XEP-0445 §4).
    let refused = store.create_invited("t", &jid("paypal"), &[], 20).await;
    assert!(matches!(refused, Err(StoreError::Exists)), "{refused:?}");
    let refused = store.create_invited("t", &jid("paypa1"), &[], 20).await;
    assert!(matches!(refused, Err(StoreError::Alike(_))), "{refused:?}");
    assert!(store.invitation("t", 20).await.unwrap().is_some());
    // Expiry is looked at before (§4): what was good then may be used now.
    let credentials = [("SCRAM-SHA-1".to_owned(), "a".to_owned())];
    store.create_invited("t", &jid("alice"), &credentials, 1_000).await.unwrap();
    assert!(store.credential(&jid("alice"), "SCRAM-SHA-1").await.unwrap().is_some());
    let refused = store.create_invited("t", &jid("bob"), &[], 20).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert!(store.summary(&jid("bob")).await.unwrap().is_none());
}

async fn an_invitation_keeps_a_name_free(subject: Subject) {
    let store = subject.store();
    store.invite(&invitation("t", Some(jid("paypal")), None)).await.unwrap();
    store.invite(&invitation("other", None, None)).await.unwrap();
    let is_reserved = |result: Result<_, StoreError>| matches!(result, Err(StoreError::Reserved));
    assert!(is_reserved(store.create(&jid("paypal"), &[], 20).await));
    assert!(is_reserved(store.create_distinct(&jid("paypal"), &[], 20).await));
    assert!(is_reserved(store.create_distinct(&jid("paypa1"), &[], 20).await));
    assert!(is_reserved(store.create_invited("other", &jid("paypal"), &[], 20).await));
    let again = store.invite(&invitation("t2", Some(jid("paypa1")), None)).await;
    assert!(matches!(again, Err(StoreError::Reserved)), "{again:?}");
    store.create_distinct(&jid("alice"), &[], 20).await.unwrap();
    let there = store.invite(&invitation("t2", Some(jid("alice")), None)).await;
    assert!(matches!(there, Err(StoreError::Exists)), "{there:?}");
    store.create_invited("t", &jid("paypal"), &[], 20).await.unwrap();
    // One that has expired keeps nothing free.
    store.invite(&invitation("late", Some(jid("bob")), None)).await.unwrap();
    assert!(is_reserved(store.create(&jid("bob"), &[], 99).await));
    store.create(&jid("bob"), &[], 100).await.unwrap();
}

async fn invitations_are_listed_by_token_and_by_maker(subject: Subject) {
    let store = subject.store();
    for (token, inviter) in [("b", Some("romeo")), ("a", None), ("d", Some("romeo")), ("c", Some("tybalt"))] {
        store.invite(&invitation(token, None, inviter)).await.unwrap();
    }
    store.invite(&Invitation { maker: Some(jid("maker")), ..invitation("e", None, None) }).await.unwrap();
    let romeo = jid("romeo");
    for (inviter, after, limit, now, want) in [
        (None, None, 10, 20, vec!["a", "b", "c", "d", "e"]),
        (None, Some("b"), 1, 20, vec!["c"]),
        (Some(&romeo), None, 10, 20, vec!["b", "d"]),
        (Some(&romeo), Some("b"), 10, 20, vec!["d"]),
        (Some(&jid("maker")), None, 10, 20, vec!["e"]),
        (None, None, 10, 100, vec![]),
    ] {
        let found = store.invitations(inviter, after, limit, now).await.unwrap();
        let tokens: Vec<_> = found.iter().map(|invitation| invitation.token.as_str()).collect();
        assert_eq!(tokens, want);
    }
}

async fn an_account_knows_who_invited_it(subject: Subject) {
    let store = subject.store();
    for (name, inviter) in [("invited", Some("romeo")), ("alone", None)] {
        store.invite(&invitation(name, None, inviter)).await.unwrap();
        let account = store.create_invited(name, &jid(name), &[], 20).await.unwrap();
        let known = store.document(account, INVITED_BY, "").await.unwrap();
        assert_eq!(known, inviter.map(|name| jid(name).to_string()));
        let loaded = store.load(&jid(name), &[INVITED_BY]).await.unwrap().unwrap();
        assert_eq!(loaded.documents.len(), usize::from(inviter.is_some()));
        // It is a document like others.
        let (kind, key) = (INVITED_BY.into(), "".into());
        subject.write([Write::Document { account, kind, key, value: None }]).await;
        assert_eq!(store.document(account, INVITED_BY, "").await.unwrap(), None);
    }
}

async fn what_was_shown_in_time_can_be_used_a_little_later(subject: Subject) {
    let store = subject.store();
    for (token, later, is_there) in [("soon", GRACE_MICROS - 1, true), ("late", GRACE_MICROS, false)] {
        store.invite(&invitation(token, None, None)).await.unwrap();
        let now = 100 + later;
        let other = Invitation { created_at: now, expires_at: now + 1, ..invitation("other", None, None) };
        store.invite(&other).await.unwrap(); // which clears away
        assert_eq!(store.invitation(token, 100).await.unwrap(), None);
        let created = store.create_invited(token, &jid(token), &[], now).await;
        assert_eq!(created.is_ok(), is_there, "{token}");
        store.redeem("other").await.unwrap();
    }
}

async fn an_invitation_is_used_up_with_what_comes_of_it(subject: Subject) {
    let store = subject.store();
    for token in ["a", "b", "c"] {
        store.invite(&invitation(token, None, None)).await.unwrap();
    }
    let used = |token: &str| Write::InvitationUsed { token: token.into() };
    subject.write([used("a"), used("a"), used("c"), used("none")]).await;
    assert!(!store.redeem("a").await.unwrap());
    assert!(!store.redeem("c").await.unwrap());
    assert!(store.redeem("b").await.unwrap());
}

async fn who_reports_much_keeps_the_reports_of_others(subject: Subject) {
    let store = subject.store();
    let keep = Kept { in_all: 5, of_one: 2 };
    store.report(&report("bob", "first"), keep).await.unwrap();
    for n in 0..20 {
        store.report(&report("alice", &n.to_string()), keep).await.unwrap();
    }
    let found = store.reports(None, 10).await.unwrap();
    let found: Vec<_> = found.iter().map(|report| report.content.as_str()).collect();
    assert_eq!(found, ["19", "18", "first"]);
}

async fn reports_are_kept_up_to_a_bound(subject: Subject) {
    let store = subject.store();
    let mut numbers = Vec::new();
    for content in ["one", "two", "three", "four\0"] {
        numbers.push(store.report(&report("alice", content), KEEP).await.unwrap());
    }
    assert!(numbers.is_sorted());
    let found = store.reports(None, 10).await.unwrap();
    assert_eq!(
        found.iter().map(|report| report.number).collect::<Vec<_>>(),
        [numbers[3], numbers[2], numbers[1]]
    );
    assert_eq!(found[1], Report { number: numbers[2], ..report("alice", "three") });
    let found = store.reports(Some(numbers[3]), 1).await.unwrap();
    assert_eq!(found.iter().map(|report| report.number).collect::<Vec<_>>(), [numbers[2]]);
    assert!(store.forget_report(numbers[2]).await.unwrap());
    assert!(!store.forget_report(numbers[2]).await.unwrap());
    assert_eq!(store.reports(None, 10).await.unwrap().len(), 2);
    // A number is not given twice.
    store.forget_report(numbers[3]).await.unwrap();
    assert!(store.report(&report("alice", "five"), KEEP).await.unwrap() > numbers[3]);
}

async fn a_deleted_account_takes_its_invitations_and_reports_along(subject: Subject) {
    let store = subject.store();
    for name in ["alice", "bob"] {
        subject.account(name).await;
        store.invite(&invitation(name, None, Some(name))).await.unwrap();
        store.report(&report(name, name), Kept { in_all: 10, ..KEEP }).await.unwrap();
    }
    store.delete(&jid("alice")).await.unwrap();
    assert!(store.invitation("alice", 20).await.unwrap().is_none());
    assert!(store.invitation("bob", 20).await.unwrap().is_some());
    // One for no contact is its maker's as well.
    subject.account("carol").await;
    store.invite(&Invitation { maker: Some(jid("carol")), ..invitation("c", None, None) }).await.unwrap();
    store.delete(&jid("carol")).await.unwrap();
    assert!(store.invitation("c", 20).await.unwrap().is_none());
    let reporters: Vec<_> = store.reports(None, 10).await.unwrap().into_iter().map(|r| r.reporter).collect();
    assert_eq!(reporters, [jid("bob")]);
}
