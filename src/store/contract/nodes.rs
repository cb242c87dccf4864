//! Items of nodes.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::{ItemPage, ItemQuery, KEEP_ALL, NodeItem, StoreError, Write};

use super::{Subject, contract, jid};

contract! {
    items_come_in_the_order_of_their_publication,
    an_item_that_is_published_again_moves_to_the_end,
    the_oldest_items_give_way,
    the_order_in_a_batch_decides_what_gives_way,
    items_are_retracted_and_nodes_are_purged,
    nodes_are_paged_forwards_and_backwards,
    a_page_of_items_knows_its_place,
    items_are_asked_for_by_id,
    an_item_to_page_from_must_be_there,
    items_since_a_position,
    the_last_item_of_each_node,
    nodes_of_two_accounts_have_nothing_in_common,
    names_are_taken_as_they_are,
    large_payloads_come_back_whole,
    a_deleted_account_leaves_no_items,
    what_is_published_survives_a_crash,
    an_item_holds_its_position_for_ever,
    many_nodes_are_written_at_once,
}

pub(super) fn item(account: AccountId, node: &str, id: &str, position: i64, keep: u32) -> Write {
    let payload = format!("<p>{position}</p>");
    Write::Item { account, node: node.into(), item: Arc::new(whole(id, position, payload)), keep }
}

fn whole(id: &str, position: i64, payload: String) -> NodeItem {
    let publisher = (position % 3 != 0).then(|| jid("publisher").with_resource("x").unwrap().into());
    NodeItem { id: id.into(), position: LogPosition(position), publisher, payload }
}

fn retracted(account: AccountId, node: &str, id: &str) -> Write {
    Write::ItemRetracted { account, node: node.into(), id: id.into() }
}

fn purged(account: AccountId, node: &str) -> Write {
    Write::NodePurged { account, node: node.into() }
}

/// Items a, b, … of one node, at 10, 20, ….
async fn published(subject: &Subject, name: &str, count: usize) -> AccountId {
    let account = subject.account(name).await;
    let ids = "abcdefghijklmnopqrstuvwxyz";
    let item = |n: usize| item(account, "n", &ids[n..=n], i64::try_from(n + 1).unwrap() * 10, KEEP_ALL);
    subject.write((0..count).map(item)).await;
    account
}

async fn page(subject: &Subject, account: AccountId, node: &str, query: &ItemQuery) -> ItemPage {
    subject.store().items(account, node, query).await.unwrap()
}

/// The ids of all items of a node, in their order.
async fn all(subject: &Subject, account: AccountId, node: &str) -> String {
    let query = ItemQuery { limit: 10_000, ..ItemQuery::default() };
    ids(&page(subject, account, node, &query).await)
}

fn ids(page: &ItemPage) -> String {
    assert!(page.items.is_sorted_by(|one, other| one.position < other.position));
    page.items.iter().map(|item| item.id.as_str()).collect()
}

async fn items_come_in_the_order_of_their_publication(subject: Subject) {
    let account = subject.account("alice").await;
    for (n, id) in (1..).zip(["z", "a", "m"]) {
        subject.write([item(account, "n", id, n, KEEP_ALL)]).await;
    }
    let page = page(&subject, account, "n", &ItemQuery::default()).await;
    assert_eq!((ids(&page).as_str(), page.complete, page.count, page.index), ("zam", true, None, None));
    for (n, found) in (1..).zip(&page.items) {
        assert_eq!(**found, whole(&found.id, n, format!("<p>{n}</p>")));
    }
    assert_eq!(all(&subject, account, "other").await, "");
    assert_eq!(all(&subject, AccountId(4711), "n").await, "");
}

async fn an_item_that_is_published_again_moves_to_the_end(subject: Subject) {
    let account = published(&subject, "alice", 3).await;
    subject.write([item(account, "n", "a", 40, KEEP_ALL)]).await;
    let page = page(&subject, account, "n", &ItemQuery::default()).await;
    assert_eq!(ids(&page), "bca");
    assert_eq!(*page.items[2], whole("a", 40, "<p>40</p>".to_owned()));
    subject.write([item(account, "n", "b", 50, 3), item(account, "n", "b", 60, 3)]).await;
    assert_eq!(all(&subject, account, "n").await, "cab");
}

async fn the_oldest_items_give_way(subject: Subject) {
    let account = published(&subject, "alice", 5).await;
    let put = async |id, position, keep| {
        subject.write([item(account, "n", id, position, keep)]).await;
        all(&subject, account, "n").await
    };
    assert_eq!(put("f", 60, 6).await, "abcdef");
    assert_eq!(put("g", 70, 6).await, "bcdefg");
    // What is there already takes no place of another one.
    assert_eq!(put("c", 80, 6).await, "bdefgc");
    assert_eq!(put("h", 90, 3).await, "gch");
    assert_eq!(put("i", 100, 5).await, "gchi");
    assert_eq!(put("k", 110, 1).await, "k");
    assert_eq!(put("k", 120, 1).await, "k");
    assert_eq!(put("l", 130, 0).await, "");
}

/// What a batch does is what its commits would do one by one.
async fn the_order_in_a_batch_decides_what_gives_way(subject: Subject) {
    let account = subject.account("alice").await;
    let (put, gone) = (
        |node: &str, id: &str, n: i64, keep| item(account, node, id, n, keep),
        |node: &str, id: &str| retracted(account, node, id),
    );
    let cases: [(&str, Vec<Write>, &str); 9] = [
        ("1", vec![put("1", "x", 100, 2), put("1", "y", 101, 2), put("1", "z", 102, 2)], "yz"),
        ("2", vec![put("2", "x", 100, 1), gone("2", "x")], ""),
        ("3", vec![put("3", "x", 100, 4), gone("3", "x")], "bcd"),
        ("4", vec![gone("4", "d"), put("4", "x", 100, 4)], "abcx"),
        ("5", vec![put("5", "x", 100, 2), put("5", "y", 101, 4)], "dxy"),
        ("6", vec![put("6", "x", 100, 4), put("6", "y", 101, 2)], "xy"),
        ("7", vec![put("7", "x", 100, 9), purged(account, "7"), put("7", "y", 101, 9)], "y"),
        ("8", vec![put("8", "x", 100, 3), gone("8", "c"), put("8", "y", 101, 3)], "dxy"),
        ("9", vec![put("9", "x", 100, 4), gone("9", "x"), put("9", "c", 101, 4), gone("9", "b")], "dc"),
    ];
    for (node, ..) in &cases {
        subject.write((1..).zip(["a", "b", "c", "d"]).map(|(n, id)| put(node, id, n, KEEP_ALL))).await;
    }
    // In one commit, and each alone but in one batch.
    for (node, writes, expected) in &cases[..5] {
        subject.write(writes.clone()).await;
        assert_eq!(all(&subject, account, node).await, *expected, "{node}");
    }
    for write in cases[5..].iter().flat_map(|(_, writes, _)| writes) {
        subject.submit([write.clone()]);
    }
    subject.write([]).await;
    let subject = subject.crash().await;
    for (node, _, expected) in cases {
        assert_eq!(all(&subject, account, node).await, expected, "{node}");
    }
}

async fn items_are_retracted_and_nodes_are_purged(subject: Subject) {
    let account = published(&subject, "alice", 4).await;
    subject.write([item(account, "m", "a", 50, KEEP_ALL), item(account, "m", "b", 60, KEEP_ALL)]).await;
    subject
        .write([retracted(account, "n", "b"), retracted(account, "n", "?"), retracted(account, "?", "a")])
        .await;
    assert_eq!(all(&subject, account, "n").await, "acd");
    assert_eq!(all(&subject, account, "m").await, "ab");
    subject.write([purged(account, "n"), purged(account, "?")]).await;
    assert_eq!(all(&subject, account, "n").await, "");
    assert_eq!(all(&subject, account, "m").await, "ab");
    subject.write([item(account, "n", "b", 70, KEEP_ALL), retracted(account, "m", "a")]).await;
    assert_eq!(all(&subject, account, "n").await, "b");
    assert_eq!(all(&subject, account, "m").await, "b");
}

fn after(id: &str) -> ItemQuery {
    ItemQuery { after: Some(id.into()), ..ItemQuery::default() }
}

fn before(id: &str) -> ItemQuery {
    ItemQuery { before: Some(id.into()), from_end: true, ..ItemQuery::default() }
}

fn limited(limit: usize, query: ItemQuery) -> ItemQuery {
    ItemQuery { limit, ..query }
}

async fn nodes_are_paged_forwards_and_backwards(subject: Subject) {
    let account = published(&subject, "alice", 7).await;
    let end = ItemQuery { from_end: true, ..ItemQuery::default() };
    let between = ItemQuery { before: Some("f".into()), ..after("b") };
    for (query, expected, complete) in [
        (ItemQuery::default(), "abcdefg", true),
        (limited(7, ItemQuery::default()), "abcdefg", true),
        (limited(6, ItemQuery::default()), "abcdef", false),
        (limited(2, after("c")), "de", false),
        (limited(4, after("c")), "defg", true),
        (after("g"), "", true),
        (limited(3, end.clone()), "efg", false),
        (end, "abcdefg", true),
        (limited(2, before("e")), "cd", false),
        (limited(4, before("e")), "abcd", true),
        (before("a"), "", true),
        (between.clone(), "cde", true),
        (limited(2, between.clone()), "cd", false),
        (limited(2, ItemQuery { from_end: true, ..between }), "de", false),
        (ItemQuery { before: Some("b".into()), ..after("e") }, "", true),
        (limited(0, ItemQuery::default()), "", false),
        (limited(0, after("g")), "", true),
        (limited(usize::MAX, after("f")), "g", true),
    ] {
        let page = page(&subject, account, "n", &query).await;
        assert_eq!((ids(&page).as_str(), page.complete), (expected, complete), "{query:?}");
        assert_eq!((page.count, page.index), (None, None));
    }
}

async fn a_page_of_items_knows_its_place(subject: Subject) {
    let account = published(&subject, "alice", 7).await;
    let named =
        |ids: &[&str], query| ItemQuery { ids: Some(ids.iter().map(|id| (*id).into()).collect()), ..query };
    let since = |position, query| ItemQuery { since: Some(LogPosition(position)), ..query };
    for (query, count, index) in [
        (ItemQuery::default(), 7, Some(0)),
        (limited(2, after("c")), 7, Some(3)),
        (limited(2, before("g")), 7, Some(4)),
        (limited(9, before("c")), 7, Some(0)),
        (after("g"), 7, None),
        (limited(0, ItemQuery::default()), 7, None),
        (since(30, ItemQuery::default()), 4, Some(0)),
        (limited(1, since(30, after("e"))), 4, Some(2)),
        (since(30, after("a")), 4, Some(0)),
        (limited(1, since(30, before("f"))), 4, Some(1)),
        (named(&["b", "x", "f", "b", "g"], ItemQuery::default()), 3, Some(0)),
        (named(&["b", "x", "f", "g"], after("c")), 3, Some(1)),
        (limited(1, named(&["b", "x", "f", "g"], before("g"))), 3, Some(1)),
        (named(&["x"], ItemQuery::default()), 0, None),
    ] {
        let query = ItemQuery { counted: true, ..query };
        let page = page(&subject, account, "n", &query).await;
        assert_eq!((page.count, page.index), (Some(count), index), "{query:?}");
    }
    let counted = ItemQuery { counted: true, ..ItemQuery::default() };
    let page = page(&subject, account, "other", &counted).await;
    assert_eq!((page.count, page.index, page.complete), (Some(0), None, true));
}

async fn items_are_asked_for_by_id(subject: Subject) {
    let account = published(&subject, "alice", 7).await;
    let named = |ids: &[&str]| Some(ids.iter().map(|id| (*id).into()).collect());
    for (query, expected, complete) in [
        (ItemQuery { ids: named(&["f", "b", "x", "b"]), ..ItemQuery::default() }, "bf", true),
        (ItemQuery { ids: named(&["f", "b", "c"]), ..limited(2, ItemQuery::default()) }, "bc", false),
        (
            ItemQuery { ids: named(&["f", "b", "c"]), from_end: true, ..limited(2, ItemQuery::default()) },
            "cf",
            false,
        ),
        (ItemQuery { ids: named(&["f", "b", "c"]), ..after("b") }, "cf", true),
        (ItemQuery { ids: named(&["f", "b", "c"]), ..before("d") }, "bc", true),
        (ItemQuery { ids: named(&["f", "b", "c"]), ..limited(0, ItemQuery::default()) }, "", false),
        (ItemQuery { ids: named(&[]), ..ItemQuery::default() }, "", true),
    ] {
        let page = page(&subject, account, "n", &query).await;
        assert_eq!((ids(&page).as_str(), page.complete), (expected, complete), "{query:?}");
    }
    // More than one statement names, and what they are named for alone.
    let ids: Vec<CompactString> = (0..300).map(|n| format!("i{n}").into()).collect();
    subject.write((0_i64..).zip(&ids).map(|(n, id)| item(account, "m", id, 100 + n, KEEP_ALL))).await;
    let query = ItemQuery { ids: Some(ids), limit: 250, without_payloads: true, ..ItemQuery::default() };
    let found = page(&subject, account, "m", &query).await;
    assert_eq!((found.items.len(), found.complete), (250, false));
    for (n, item) in (100..).zip(&found.items) {
        assert_eq!(**item, whole(&format!("i{}", n - 100), n, String::new()));
    }
    let query = ItemQuery { without_payloads: true, ..limited(1, after("i7")) };
    assert_eq!(*page(&subject, account, "m", &query).await.items[0], whole("i8", 108, String::new()));
}

async fn an_item_to_page_from_must_be_there(subject: Subject) {
    let account = published(&subject, "alice", 3).await;
    subject.write([item(account, "m", "z", 40, KEEP_ALL), retracted(account, "n", "b")]).await;
    for query in [
        after("b"),
        before("b"),
        after("z"),
        limited(0, after("z")),
        ItemQuery { before: Some("c".into()), ..after("b") },
        ItemQuery { before: Some("b".into()), ..after("a") },
        ItemQuery { before: Some("b".into()), ..after("b") },
        ItemQuery { ids: Some(vec!["a".into()]), ..after("b") },
        ItemQuery { ids: Some(Vec::new()), ..before("b") },
    ] {
        let found = subject.store().items(account, "n", &query).await;
        assert!(matches!(found, Err(StoreError::NotFound)), "{query:?}: {found:?}");
    }
    let same = ItemQuery { before: Some("a".into()), ..after("a") };
    assert_eq!(page(&subject, account, "n", &same).await.items, []);
    let query = ItemQuery { ids: Some(vec!["c".into()]), ..after("a") };
    assert_eq!(ids(&page(&subject, account, "n", &query).await), "c");
}

async fn items_since_a_position(subject: Subject) {
    let account = published(&subject, "alice", 4).await;
    subject.write([item(account, "n", "b", 50, KEEP_ALL)]).await;
    for (since, expected) in [(0, "acdb"), (10, "cdb"), (20, "cdb"), (45, "b"), (50, ""), (i64::MAX, "")] {
        let query = ItemQuery { since: Some(LogPosition(since)), ..ItemQuery::default() };
        assert_eq!(ids(&page(&subject, account, "n", &query).await), expected, "{since}");
    }
    let query = ItemQuery { since: Some(LogPosition(30)), ..limited(1, after("a")) };
    let found = page(&subject, account, "n", &query).await;
    assert_eq!((ids(&found).as_str(), found.complete), ("d", false));
}

async fn the_last_item_of_each_node(subject: Subject) {
    let account = published(&subject, "alice", 3).await;
    subject
        .write([
            item(account, "m", "x", 40, KEEP_ALL),
            item(account, "empty", "x", 50, KEEP_ALL),
            item(account, "again", "x", 60, KEEP_ALL),
            item(account, "again", "y", 70, KEEP_ALL),
            item(account, "again", "x", 80, KEEP_ALL),
        ])
        .await;
    subject.write([purged(account, "empty")]).await;
    let found = async |nodes: &[&str]| {
        let last = subject.store().last_items(account, nodes).await.unwrap();
        last.iter()
            .map(|item| item.as_ref().map_or("-", |item| item.id.as_str()).to_owned())
            .collect::<String>()
    };
    assert_eq!(found(&["again", "n", "empty", "unknown", "m", "n"]).await, "xc--xc");
    assert_eq!(found(&[]).await, "");
    assert_eq!(found(&["unknown"]).await, "-");
    let last = subject.store().last_items(account, &["again"]).await.unwrap();
    assert_eq!(last[0].as_deref(), Some(&whole("x", 80, "<p>80</p>".to_owned())));
    subject.write([retracted(account, "again", "x")]).await;
    assert_eq!(found(&["again"]).await, "y");
    let other = subject.account("bob").await;
    assert_eq!(subject.store().last_items(other, &["n"]).await.unwrap(), [None]);
    assert_eq!(subject.store().items_bytes(other).await.unwrap(), 0);
    subject.write([item(other, "n", "\u{e9}", 10, KEEP_ALL), item(other, "m", "b", 20, KEEP_ALL)]).await;
    let payloads = subject.store().last_items(other, &["n", "m"]).await.unwrap();
    let payloads: usize = payloads.iter().flatten().map(|item| item.payload.len()).sum();
    assert_eq!(subject.store().items_bytes(other).await.unwrap(), payloads as u64 + 2 + 1 + 200);

    // More than one statement names.
    let names: Vec<String> = (0..600).map(|n| format!("node {n}")).collect();
    subject.write((0..600).map(|n| item(account, &format!("node {n}"), "i", 1000 + n, 1))).await;
    let nodes: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    let last = subject.store().last_items(account, &nodes).await.unwrap();
    let positions: Vec<i64> = last.iter().map(|item| item.as_ref().unwrap().position.0).collect();
    assert_eq!(positions, (1000..1600).rev().collect::<Vec<_>>());
}

async fn nodes_of_two_accounts_have_nothing_in_common(subject: Subject) {
    let (alice, bob) = (published(&subject, "alice", 3).await, published(&subject, "bob", 4).await);
    subject.write([item(alice, "n", "b", 50, 2), retracted(alice, "n", "c")]).await;
    assert_eq!(all(&subject, alice, "n").await, "b");
    assert_eq!(all(&subject, bob, "n").await, "abcd");
    subject.write([purged(bob, "n")]).await;
    assert_eq!(all(&subject, alice, "n").await, "b");
    assert_eq!(all(&subject, bob, "n").await, "");
}

async fn names_are_taken_as_they_are(subject: Subject) {
    let account = subject.account("alice").await;
    let long = ["\u{e4}", "x"].map(|letter| letter.repeat(1023 / letter.len()));
    let longer = format!("{}y", &long[1][1..]);
    let names = [
        "urn:xmpp:avatar:data",
        "'\"; DROP TABLE item; --",
        "a%_*?\\",
        "$1 ?1",
        "-1:",
        "3:abc;",
        " ",
        "a",
        "A",
        "\u{1f600}\u{10ffff}",
        "e\u{301}",
        "\u{e9}",
        "a\nb\t",
        &long[0],
        &long[1],
        &longer,
    ];
    for (n, name) in (0..).zip(names) {
        subject.write((0..).zip(names).map(|(i, id)| item(account, name, id, n * 100 + i, KEEP_ALL))).await;
    }
    let subject = subject.crash().await;
    for (n, name) in (0..).zip(names) {
        let found = page(&subject, account, name, &ItemQuery::default()).await;
        assert_eq!(found.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(found.items[3].position.0, n * 100 + 3);
        let query = ItemQuery { ids: Some(vec![name.into()]), ..ItemQuery::default() };
        let found = page(&subject, account, name, &query).await;
        assert_eq!((found.items.len(), found.items[0].id.as_str()), (1, name));
        let later = page(&subject, account, name, &after(name)).await.items;
        assert_eq!(later.first().map_or(n * 100 + 16, |item| item.position.0), n * 101 + 1);
    }
    subject.write(names[1..].iter().map(|name| retracted(account, names[0], name))).await;
    assert_eq!(all(&subject, account, names[0]).await, names[0]);
    assert_eq!(page(&subject, account, names[1], &ItemQuery::default()).await.items.len(), names.len());
}

async fn large_payloads_come_back_whole(subject: Subject) {
    let account = subject.account("alice").await;
    let large = |n: i64| format!("{n}<'\u{fc}>").repeat(300 * 1024 / 7);
    let put = |n: i64| Write::Item {
        account,
        node: "n".into(),
        item: Arc::new(whole(&n.to_string(), n, large(n))),
        keep: 3,
    };
    subject.write((1..=5).map(put)).await;
    subject.write([put(6)]).await;
    let subject = subject.crash().await;
    let found = page(&subject, account, "n", &ItemQuery::default()).await;
    assert_eq!(ids(&found), "456");
    for (n, item) in (4..).zip(&found.items) {
        assert_eq!(item.payload, large(n));
    }
    let last = subject.store().last_items(account, &["n"]).await.unwrap();
    assert_eq!(last[0].as_ref().unwrap().payload, large(6));
}

async fn a_deleted_account_leaves_no_items(subject: Subject) {
    let (alice, bob) = (published(&subject, "alice", 3).await, published(&subject, "bob", 3).await);
    subject.store().delete(&jid("alice")).await.unwrap();
    assert_eq!(all(&subject, alice, "n").await, "");
    assert_eq!(all(&subject, bob, "n").await, "abc");
    let subject = subject.crash().await;
    assert_eq!(subject.store().last_items(alice, &["n"]).await.unwrap(), [None]);
    let again = subject.account("alice").await;
    assert_eq!(all(&subject, again, "n").await, "");
    assert_eq!(all(&subject, bob, "n").await, "abc");
}

/// What is durable is there after a crash, and of what is not either all of a commit or nothing.
async fn what_is_published_survives_a_crash(mut subject: Subject) {
    let account = subject.account("alice").await;
    for round in 1..=5_i64 {
        for n in 1..=20 {
            let position = round * 100 + n * 2;
            subject.submit([
                item(account, "n", &format!("{n},"), position, KEEP_ALL),
                item(account, "last", &format!("{round}.{n}"), position + 1, 1),
            ]);
        }
        subject.write([retracted(account, "n", &format!("{round},"))]).await;
        // Nobody waits for these.
        let unheeded = |n: i64| {
            let position = round * 100 + 50 + n * 2;
            [
                item(account, "n", "lost", position, KEEP_ALL),
                item(account, "m", "lost", position + 1, KEEP_ALL),
            ]
        };
        for n in 1..=9 {
            subject.submit(unheeded(n));
        }
        subject = subject.crash().await;
        let found = subject.store().last_items(account, &["n", "m"]).await.unwrap();
        let found = found.iter().map(|item| item.as_ref().filter(|item| item.id == "lost"));
        let found: Vec<_> = found.map(|item| item.map_or(0, |item| item.position.0)).collect();
        assert!(found == [0, 0] || found[0] + 1 == found[1], "{found:?}");
        subject.write([retracted(account, "n", "lost"), purged(account, "m")]).await;
        let left: Vec<String> = (1..=20).filter(|n| *n != round).map(|n| format!("{n},")).collect();
        assert_eq!(all(&subject, account, "n").await, left.concat());
        assert_eq!(all(&subject, account, "last").await, format!("{round}.20"));
    }
}

/// The counter goes on from the last position that was given, whatever has become of the item.
async fn an_item_holds_its_position_for_ever(subject: Subject) {
    let account = subject.account("alice").await;
    let head = async |subject: &Subject| {
        let loaded = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
        loaded.head.0
    };
    subject.write([item(account, "n", "a", 10, 1), item(account, "m", "a", 30, 1)]).await;
    subject.write([item(account, "n", "b", 20, 1)]).await;
    assert_eq!(head(&subject).await, 30);
    subject.write([purged(account, "m"), item(account, "n", "c", 40, 0)]).await;
    assert_eq!(head(&subject).await, 40);
    subject.write([Write::Delivered { account, upto: LogPosition(5) }]).await;
    let subject = subject.crash().await;
    assert_eq!(head(&subject).await, 40);
    subject.store().delete(&jid("alice")).await.unwrap();
    subject.account("alice").await;
    assert_eq!(head(&subject).await, 0);
}

async fn many_nodes_are_written_at_once(subject: Subject) {
    let mut accounts = Vec::new();
    for n in 0..30 {
        accounts.push(published(&subject, &format!("user{n}"), 4).await);
    }
    let writes = (1..).zip(&accounts).flat_map(|(n, account)| {
        let keep = u32::try_from(n % 4 + 1).unwrap();
        let other = item(*account, "other", "o", 1000, keep);
        [
            item(*account, "n", "x", 100, keep),
            other,
            retracted(*account, "n", "a"),
            item(*account, "n", "y", 200, keep),
        ]
    });
    for write in writes {
        subject.submit([write]);
    }
    subject.write([]).await;
    for (n, account) in (1..).zip(accounts) {
        // To retract what has given way makes no room.
        let expected = ["y", "xy", "dxy", "cdxy"][n % 4];
        assert_eq!(all(&subject, account, "n").await, expected, "{n}");
        assert_eq!(all(&subject, account, "other").await, "o");
    }
}
