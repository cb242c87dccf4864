//! Accounts, documents and sessions in memory.

use std::ops::Bound;

use compact_str::CompactString;
use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::record::{Direction, Keep, MessageRecord};
use unisono_core::storage::{
    AccountData, AccountState, AccountSummary, Accounts, BoxFuture, Document, Documents, RECENT_FINGERPRINTS,
    SessionRecord, Sessions, StoreError,
};

use super::holdings::{Entry, Holdings};
use super::{Account, Content, MemoryStore};

impl Accounts for MemoryStore {
    fn create<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.change(|content| {
            content.check_free(jid, now_micros)?;
            content.create(jid, credentials, now_micros)
        })
    }

    fn create_distinct<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.change(|content| content.create_distinct(jid, credentials, now_micros))
    }

    fn load<'a>(
        &'a self,
        jid: &'a BareJid,
        kinds: &'a [&'static str],
    ) -> BoxFuture<'a, Result<Option<AccountData>, StoreError>> {
        self.read(|content| Ok(content.accounts.get(jid).map(|account| content.data(jid, account, kinds))))
    }

    fn summary<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<Option<AccountSummary>, StoreError>> {
        self.read(|content| Ok(content.accounts.get(jid).map(|account| content.summary(jid, account))))
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AccountSummary>, StoreError>> {
        self.read(|content| {
            let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let accounts = content.accounts.range::<BareJid, _>(range);
            let accounts = accounts.filter(|(jid, _)| jid.local().is_some());
            Ok(accounts.take(limit).map(|(jid, account)| content.summary(jid, account)).collect())
        })
    }

    fn credential<'a>(
        &'a self,
        jid: &'a BareJid,
        family: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, AccountState)>, StoreError>> {
        self.read(|content| {
            let account = content.accounts.get(jid);
            let found = account.and_then(|a| Some((a, a.credentials.iter().find(|(f, _)| f == family)?)));
            Ok(found.map(|(account, (_, value))| (value.clone(), account.state)))
        })
    }

    fn set_credentials<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.change(|content| {
            let account = content.accounts.get_mut(jid).ok_or(StoreError::NotFound)?;
            account.credentials = credentials.to_vec();
            account.passwords = account.passwords.saturating_add(1);
            Ok(account.passwords)
        })
    }

    fn set_state<'a>(
        &'a self,
        jid: &'a BareJid,
        state: AccountState,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.change(|content| {
            content.accounts.get_mut(jid).ok_or(StoreError::NotFound)?.state = state;
            Ok(())
        })
    }

    fn delete<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<(), StoreError>> {
        self.change(|content| {
            let account = content.accounts.remove(jid).ok_or(StoreError::NotFound)?;
            content.holdings.remove(&account.id);
            content.invitations.retain(|_, invitation| invitation.inviter.as_ref() != Some(jid));
            content.reports.retain(|_, report| report.reporter != *jid);
            Ok(())
        })
    }

    fn secret<'a>(&'a self, name: &'a str, make: [u8; 32]) -> BoxFuture<'a, Result<[u8; 32], StoreError>> {
        self.change(|content| Ok(*content.secrets.entry(name.to_owned()).or_insert(make)))
    }
}

impl Documents for MemoryStore {
    fn document<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.read(|content| {
            let name = (CompactString::from(kind), CompactString::from(key));
            Ok(content.holdings.get(&account).and_then(|holdings| holdings.documents.get(&name).cloned()))
        })
    }

    fn documents<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        self.read(|content| {
            Ok(content.holdings.get(&account).map(|s| s.documents_of(&[kind])).unwrap_or_default())
        })
    }

    fn holders<'a>(
        &'a self,
        kind: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        self.read(|content| {
            let has_one = |holdings: &Holdings| holdings.documents.keys().any(|(of, _)| of.as_str() == kind);
            let mut holders: Vec<_> = content
                .accounts
                .iter()
                .filter(|(jid, _)| after.is_none_or(|after| jid.as_str() > after.as_str()))
                .filter(|(_, a)| content.holdings.get(&a.id).is_some_and(has_one))
                .map(|(jid, _)| jid.clone())
                .collect();
            holders.sort_by(|one, other| one.as_str().cmp(other.as_str()));
            holders.truncate(limit);
            Ok(holders)
        })
    }

    fn mentioning<'a>(
        &'a self,
        kind: &'a str,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        self.read(|content| {
            let has_one = |holdings: &Holdings| {
                let mut documents = holdings.documents.iter();
                documents.any(|((of, _), value)| of.as_str() == kind && value.contains(text))
            };
            let accounts = content.accounts.iter();
            let found = accounts.filter(|(_, a)| content.holdings.get(&a.id).is_some_and(has_one));
            Ok(found.map(|(jid, _)| jid.clone()).collect())
        })
    }
}

impl Sessions for MemoryStore {
    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Option<(BareJid, SessionRecord)>, StoreError>> {
        self.read(|content| {
            Ok(content.accounts.iter().find_map(|(jid, account)| {
                let session = content.holdings.get(&account.id)?.sessions.get(&id)?;
                Some((jid.clone(), session.clone()))
            }))
        })
    }

    fn saved(&self) -> BoxFuture<'_, Result<Vec<BareJid>, StoreError>> {
        self.read(|content| {
            let has_saved = |holdings: &Holdings| holdings.sessions.values().any(|s| s.snapshot.is_some());
            let saved =
                content.accounts.iter().filter(|(_, a)| content.holdings.get(&a.id).is_some_and(has_saved));
            Ok(saved.map(|(jid, _)| jid.clone()).collect())
        })
    }
}

impl Content {
    pub(super) fn check_distinct(&self, jid: &BareJid) -> Result<(), StoreError> {
        let skeleton = jid.skeleton();
        match self.accounts.keys().find(|other| *other != jid && other.skeleton() == skeleton) {
            Some(other) => Err(StoreError::Alike(other.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn create_distinct(
        &mut self,
        jid: &BareJid,
        credentials: &[(String, String)],
        now_micros: i64,
    ) -> Result<AccountId, StoreError> {
        self.check_distinct(jid)?;
        self.check_free_and_distinct(jid, now_micros)?;
        self.create(jid, credentials, now_micros)
    }

    fn create(
        &mut self,
        jid: &BareJid,
        credentials: &[(String, String)],
        now_micros: i64,
    ) -> Result<AccountId, StoreError> {
        if self.accounts.contains_key(jid) {
            return Err(StoreError::Exists);
        }
        self.last_account = self.last_account.saturating_add(1);
        let id = AccountId(self.last_account);
        let credentials = credentials.to_vec();
        let account =
            Account { id, state: AccountState::Enabled, created_at: now_micros, credentials, passwords: 0 };
        self.accounts.insert(jid.clone(), account);
        Ok(id)
    }

    fn summary(&self, jid: &BareJid, account: &Account) -> AccountSummary {
        let devices = self.holdings.get(&account.id).map_or(0, |holdings| holdings.devices.len());
        AccountSummary {
            id: account.id,
            jid: jid.clone(),
            state: account.state,
            created_at: account.created_at,
            devices: u32::try_from(devices).unwrap_or(u32::MAX),
        }
    }

    fn data(&self, jid: &BareJid, account: &Account, kinds: &[&'static str]) -> AccountData {
        let empty = Holdings::default();
        let holdings = self.holdings.get(&account.id).unwrap_or(&empty);
        AccountData {
            id: account.id,
            jid: jid.clone(),
            state: account.state,
            passwords: account.passwords,
            head: holdings.head,
            waiting: holdings.waiting(),
            roster: holdings.roster.values().cloned().collect(),
            devices: holdings.devices.values().cloned().collect(),
            sessions: holdings.sessions.values().cloned().collect(),
            documents: holdings.documents_of(kinds),
            recent: holdings.recent(),
        }
    }
}

impl Holdings {
    fn documents_of(&self, kinds: &[&str]) -> Vec<Document> {
        let documents = self.documents.iter().filter(|((kind, _), _)| kinds.contains(&kind.as_str()));
        documents
            .map(|((kind, key), value)| Document {
                kind: kind.clone(),
                key: key.clone(),
                value: value.clone(),
            })
            .collect()
    }

    fn waiting(&self) -> LogPosition {
        let waiting = self.log.iter().rev().find(|(_, entry)| entry.keep == Keep::UntilDelivered);
        waiting.map_or(LogPosition::START, |(position, _)| *position)
    }

    fn recent(&self) -> Vec<(SessionId, i64)> {
        let own = self.log.values().filter(|entry| is_own(entry) && entry.record.fingerprint != 0);
        let with_session = |entry: &Entry| {
            let session = entry.record.origin.and_then(|origin| origin.session).map(|(session, _)| session);
            let session = session.filter(|session| self.sessions.contains_key(session));
            (session.unwrap_or(SessionId(0)), entry.record.fingerprint)
        };
        let mut recent: Vec<_> = own.rev().take(RECENT_FINGERPRINTS).map(with_session).collect();
        recent.reverse();
        recent
    }
}

/// Whether the account of the log sent the message. One to itself counts, though it is received only.
fn is_own(entry: &Entry) -> bool {
    entry.direction == Direction::Sent || is_to_oneself(&entry.record)
}

fn is_to_oneself(record: &MessageRecord) -> bool {
    record.sent.is_none() && record.from.to_bare() == record.to.to_bare()
}
