//! The databases against the store in memory: the same writes at random, the indexer and crashes at random
//! moments, and every answer must be the same. A seed that fails is printed and can be tried alone.

use std::collections::BTreeMap;

use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::record::Keep;
use unisono_core::storage::{InboxQuery, ItemQuery, KEEP_ALL, LogQuery, ReadUpto, StoreError, Write};

use super::{Subject, inbox, jid, message, nodes, payloads};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "eve"];
/// Of the names, these have accounts.
const ACCOUNTS: usize = 3;
const STEPS: usize = 250;
const NODES: [&str; 2] = ["n", "m"];
const ITEMS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn sqlite_answers_like_memory() {
    for seed in 9..=14 {
        run(Subject::sqlite().await, seed).await;
    }
}

#[tokio::test]
async fn postgres_answers_like_memory() {
    for seed in 101..=102 {
        if let Some(subject) = Subject::postgres().await {
            run(subject, seed).await;
        }
    }
}

/// A sequence that depends on the seed alone (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn number(&mut self, sides: u64) -> i64 {
        i64::try_from(self.roll(sides)).unwrap()
    }

    fn chance(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

struct Run {
    dice: Dice,
    seed: u64,
    accounts: Vec<AccountId>,
    now: i64,
    /// The last position of each account.
    last: BTreeMap<AccountId, i64>,
}

async fn run(mut subject: Subject, seed: u64) {
    let mut model = Subject::memory();
    let mut accounts = Vec::new();
    for name in &NAMES[..ACCOUNTS] {
        accounts.push(subject.account(name).await);
        assert_eq!(model.account(name).await, accounts[accounts.len() - 1]);
    }
    let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut run = Run { dice, seed, accounts, now: 0, last: BTreeMap::new() };
    for _ in 0..STEPS {
        match run.dice.roll(40) {
            0 => subject.index().await,
            1 => subject.index_some().await,
            2 => {
                (subject, model) = (subject.crash().await, model.crash().await);
            }
            3 => {
                let account = run.account();
                let account = if run.dice.chance(4) { None } else { Some(account) };
                let before = run.position();
                let purged = subject.store().purge(account, before).await.unwrap();
                assert_eq!(purged, model.store().purge(account, before).await.unwrap(), "seed {seed}");
            }
            _ => {
                let writes: Vec<Write> = (0..=run.dice.roll(6)).map(|_| run.write()).collect();
                subject.write(writes.clone()).await;
                model.write(writes).await;
            }
        }
        run.compare(&subject, &model).await;
        run.compare_nodes(&subject, &model).await;
        run.compare_inboxes(&subject, &model).await;
    }
}

impl Run {
    fn account(&mut self) -> AccountId {
        self.accounts[usize::try_from(self.dice.roll(ACCOUNTS as u64)).unwrap()]
    }

    fn account_of(&self, name: &str) -> Option<AccountId> {
        let place = NAMES.iter().position(|other| *other == name)?;
        self.accounts.get(place).copied()
    }

    /// Some position up to now, more often a late one.
    fn position(&mut self) -> LogPosition {
        let back = if self.dice.chance(2) { self.dice.number(20) } else { self.dice.number(400) };
        LogPosition((self.now - back).max(0))
    }

    fn keep_for(&mut self, account: AccountId) -> Keep {
        let keep = match self.dice.roll(8) {
            0 => return Keep::Nothing,
            1 | 2 => Keep::UntilDelivered,
            _ => Keep::Archive,
        };
        self.last.insert(account, self.now);
        keep
    }

    fn write(&mut self) -> Write {
        match self.dice.roll(20) {
            0 => {
                let names = [self.dice.pick(&NAMES), self.dice.pick(&NAMES)];
                let from = names[usize::try_from(self.dice.roll(2)).unwrap()];
                let account = self.account_of(names[0]).unwrap_or(self.accounts[0]);
                let id = self.dice.pick(&["i", "j", "k"]).into();
                let payload = format!("gone{}", self.now);
                Write::Retract { account, peer: jid(names[1]), from: jid(from), id, payload }
            }
            1 => {
                let (account, upto) = (self.account(), self.position());
                let last = LogPosition(self.last.get(&account).copied().unwrap_or(0));
                Write::Delivered { account, upto: upto.min(last) }
            }
            2 => {
                let id = self.dice.pick(&ITEMS).into();
                Write::ItemRetracted { account: self.account(), node: self.dice.pick(&NODES).into(), id }
            }
            3 if self.dice.chance(3) => {
                Write::NodePurged { account: self.account(), node: self.dice.pick(&NODES).into() }
            }
            3..8 => self.item(),
            8 => self.displayed(),
            _ => self.message(),
        }
    }

    fn displayed(&mut self) -> Write {
        let upto = if self.dice.chance(2) {
            ReadUpto::Position(self.position())
        } else {
            ReadUpto::Message(self.dice.pick(&["i", "j", "k"]).into())
        };
        Write::Displayed { account: self.account(), peer: jid(self.dice.pick(&NAMES)), upto }
    }

    fn item(&mut self) -> Write {
        let (account, node, id) = (self.account(), self.dice.pick(&NODES), self.dice.pick(&ITEMS));
        self.now += 1 + self.dice.number(3);
        self.last.insert(account, self.now);
        let keep = match self.dice.roll(6) {
            0 => KEEP_ALL,
            keep => u32::try_from(keep).unwrap(),
        };
        nodes::item(account, node, id, self.now, keep)
    }

    fn message(&mut self) -> Write {
        let (from, to) = (self.dice.pick(&NAMES), self.dice.pick(&NAMES));
        self.now += 1 + self.dice.number(3);
        let mut draft = message(from, to, &self.now.to_string()).from(self.dice.pick(&["x", "y"]));
        if self.dice.chance(2) {
            draft = draft.to(self.dice.pick(&["x", "y"]));
        }
        let id = self.dice.pick(&["i", "j", "k", ""]);
        draft = draft.id((!id.is_empty()).then_some(id)).fingerprint(self.dice.number(3) * self.now);
        if !self.dice.chance(3) {
            draft = draft.speaks();
        }
        if from != to
            && let Some(account) = self.account_of(from)
        {
            let keep = self.keep_for(account);
            draft = draft.sent(account, self.now, keep);
        }
        if let Some(account) = self.account_of(to) {
            let keep = self.keep_for(account);
            draft = draft.received(account, self.now, keep);
            if self.dice.chance(2) {
                draft = draft.queued(self.dice.number(3), u32::try_from(self.now).unwrap());
            }
        }
        draft.write()
    }

    fn query(&mut self) -> LogQuery {
        let with = [
            "alice@example.org",
            "bob@example.org",
            "carol@example.org/x",
            "eve@example.org",
            "bob@example.org/y",
        ];
        LogQuery {
            after: self.dice.chance(2).then(|| self.position()),
            before: self.dice.chance(3).then(|| self.position()),
            with: if self.dice.chance(3) { self.dice.pick(&with).parse().ok() } else { None },
            positions: self.dice.chance(8).then(|| (0..20).map(|_| self.position()).collect()),
            must_exist: if self.dice.chance(4) { vec![self.position()] } else { Vec::new() },
            limit: usize::try_from(self.dice.roll(12)).unwrap(),
            search_max: if self.dice.chance(2) {
                usize::try_from(self.dice.roll(12)).unwrap()
            } else {
                2_000
            },
            from_end: self.dice.chance(2),
            include_unarchived: self.dice.chance(3),
            counted: self.dice.chance(2),
        }
    }

    fn item_query(&mut self) -> ItemQuery {
        let mut id = |sides| self.dice.chance(sides).then(|| self.dice.pick(&ITEMS).into());
        let (after, before) = (id(3), id(5));
        ItemQuery {
            ids: self.dice.chance(3).then(|| (0..3).map(|_| self.dice.pick(&ITEMS).into()).collect()),
            since: self.dice.chance(4).then(|| self.position()),
            after,
            before,
            limit: usize::try_from(self.dice.roll(7)).unwrap(),
            from_end: self.dice.chance(2),
            counted: self.dice.chance(2),
            without_payloads: self.dice.chance(4),
        }
    }

    async fn compare_inboxes(&mut self, subject: &Subject, model: &Subject) {
        let (store, model) = (subject.store(), model.store());
        for _ in 0..3 {
            let query = InboxQuery {
                after: self.dice.chance(3).then(|| self.position()),
                before: self.dice.chance(3).then(|| self.position()),
                limit: usize::try_from(self.dice.roll(5)).unwrap(),
                from_end: self.dice.chance(2),
                unread_only: self.dice.chance(3),
                messages: !self.dice.chance(3),
            };
            let account = self.account();
            let found = store.inbox(account, &query).await.unwrap();
            let expected = model.inbox(account, &query).await.unwrap();
            let context = format!("seed {}: {account} {query:?}", self.seed);
            assert_eq!(inbox::told(&found), inbox::told(&expected), "{context}");
            for name in NAMES {
                let peer = jid(name);
                let displayed = store.displayed(account, &peer).await.unwrap();
                assert_eq!(displayed, model.displayed(account, &peer).await.unwrap(), "{context}");
            }
        }
    }

    async fn compare_nodes(&mut self, subject: &Subject, model: &Subject) {
        let (store, model) = (subject.store(), model.store());
        let seed = self.seed;
        for _ in 0..4 {
            let (account, node, query) = (self.account(), self.dice.pick(&NODES), self.item_query());
            match (store.items(account, node, &query).await, model.items(account, node, &query).await) {
                (Ok(page), Ok(expected)) => {
                    assert_eq!(page, expected, "seed {seed}: {account} {node} {query:?}");
                }
                (Err(StoreError::NotFound), Err(StoreError::NotFound)) => {}
                (found, expected) => panic!("seed {seed}: {query:?}: {found:?} instead of {expected:?}"),
            }
        }
        let (account, nodes) = (self.account(), ["m", "o", "n", "m"]);
        assert_eq!(
            store.last_items(account, &nodes).await.unwrap(),
            model.last_items(account, &nodes).await.unwrap(),
            "seed {seed}: {account}"
        );
    }

    async fn compare(&mut self, subject: &Subject, model: &Subject) {
        let (store, model) = (subject.store(), model.store());
        for _ in 0..6 {
            let (account, query, seed) = (self.account(), self.query(), self.seed);
            match (store.page(account, &query).await, model.page(account, &query).await) {
                (Ok(page), Ok(expected)) => {
                    let context = format!("seed {seed}: {account} {query:?}");
                    assert_eq!(payloads(&page.entries), payloads(&expected.entries), "{context}");
                    for (entry, expected) in page.entries.iter().zip(&expected.entries) {
                        assert_eq!(entry.position, expected.position, "{context}");
                        assert_eq!(entry.direction, expected.direction, "{context}");
                    }
                    assert_eq!(page.complete, expected.complete, "{context}");
                    assert_eq!((page.count, page.index), (expected.count, expected.index), "{context}");
                    assert_eq!(page.searched_to, expected.searched_to, "{context}");
                }
                (Err(StoreError::NotFound), Err(StoreError::NotFound)) => {}
                (found, expected) => panic!("seed {seed}: {query:?}: {found:?} instead of {expected:?}"),
            }
        }
        let (account, position) = (self.account(), self.position());
        let (session, handled) = (SessionId(self.dice.number(3)), u32::try_from(self.position().0).unwrap());
        assert_eq!(store.bounds(account).await.unwrap(), model.bounds(account).await.unwrap());
        assert_eq!(store.purged(account).await.unwrap(), model.purged(account).await.unwrap());
        assert_eq!(
            store.received_by(account, session, handled, position).await.unwrap(),
            model.received_by(account, session, handled, position).await.unwrap(),
            "seed {}: {account} {session} {handled} {position}",
            self.seed
        );
        for name in &NAMES[..ACCOUNTS] {
            let found = store.load(&jid(name), &[]).await.unwrap().unwrap();
            let expected = model.load(&jid(name), &[]).await.unwrap().unwrap();
            assert_eq!(
                (found.head, found.recent),
                (expected.head, expected.recent),
                "seed {}: {name}",
                self.seed
            );
        }
    }
}
