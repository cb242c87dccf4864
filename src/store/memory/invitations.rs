//! Invitations and reports in memory.

use std::ops::Bound;

use compact_str::CompactString;
use unisono_core::ids::AccountId;
use unisono_core::invitations::{GRACE_MICROS, INVITED_BY, Invitation, Invitations};
use unisono_core::jid::BareJid;
use unisono_core::reports::{Kept, Report, Reports};
use unisono_core::storage::{BoxFuture, StoreError};

use super::{Content, MemoryStore};

impl Invitations for MemoryStore {
    fn invite<'a>(&'a self, invitation: &'a Invitation) -> BoxFuture<'a, Result<(), StoreError>> {
        self.change(|content| {
            let now = invitation.created_at;
            content.invitations.retain(|_, other| other.is_good(now.saturating_sub(GRACE_MICROS)));
            if let Some(account) = &invitation.account {
                content.check_distinct(account)?;
                if content.accounts.contains_key(account) {
                    return Err(StoreError::Exists);
                }
                content.check_free_and_distinct(account, now)?;
            }
            content.invitations.insert(invitation.token.clone(), invitation.clone());
            Ok(())
        })
    }

    fn invitation<'a>(
        &'a self,
        token: &'a str,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Option<Invitation>, StoreError>> {
        self.read(|content| {
            let found = content.invitations.get(token);
            Ok(found.filter(|invitation| invitation.is_good(now_micros)).cloned())
        })
    }

    fn invitations<'a>(
        &'a self,
        maker: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Vec<Invitation>, StoreError>> {
        self.read(|content| {
            let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let all = content.invitations.range::<str, _>(range).map(|(_, invitation)| invitation);
            let of = all.filter(|invitation| maker.is_none() || invitation.maker.as_ref() == maker);
            Ok(of.filter(|invitation| invitation.is_good(now_micros)).take(limit).cloned().collect())
        })
    }

    fn redeem<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.change(|content| Ok(content.invitations.remove(token).is_some()))
    }

    fn create_invited<'a>(
        &'a self,
        token: &'a str,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.change(|content| {
            let invitation = content.invitations.remove(token).ok_or(StoreError::NotFound)?;
            let created = content.create_distinct(jid, credentials, now_micros);
            match (&created, &invitation.inviter) {
                (Err(_), _) => {
                    content.invitations.insert(token.to_owned(), invitation);
                }
                (Ok(id), Some(inviter)) => {
                    let (kind, value) = (CompactString::const_new(INVITED_BY), inviter.to_string());
                    content.holdings(*id).documents.insert((kind, CompactString::default()), value);
                }
                (Ok(_), None) => {}
            }
            created
        })
    }
}

impl Content {
    /// Whether no invitation keeps this name free for somebody else.
    pub(super) fn check_free(&self, jid: &BareJid, now: i64) -> Result<(), StoreError> {
        let mut kept = self.invitations.values().filter(|invitation| invitation.is_good(now));
        if kept.any(|invitation| invitation.account.as_ref() == Some(jid)) {
            return Err(StoreError::Reserved);
        }
        Ok(())
    }

    /// The same for a name that looks like no other.
    pub(super) fn check_free_and_distinct(&self, jid: &BareJid, now: i64) -> Result<(), StoreError> {
        let skeleton = jid.skeleton();
        let mut kept = self.invitations.values().filter(|invitation| invitation.is_good(now));
        let is_alike = |kept: &BareJid| kept.skeleton() == skeleton;
        if kept.any(|invitation| invitation.account.as_ref().is_some_and(is_alike)) {
            return Err(StoreError::Reserved);
        }
        Ok(())
    }
}

impl Reports for MemoryStore {
    fn report<'a>(&'a self, report: &'a Report, keep: Kept) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.change(|content| {
            content.last_report = content.last_report.saturating_add(1);
            let number = content.last_report;
            content.reports.insert(number, Report { number, ..report.clone() });
            let own = content.reports.iter().filter(|(_, other)| other.reporter == report.reporter);
            let own: Vec<_> = own.map(|(number, _)| *number).collect();
            for number in own.iter().rev().skip(keep.of_one as usize) {
                content.reports.remove(number);
            }
            while content.reports.len() > keep.in_all as usize {
                content.reports.pop_first();
            }
            Ok(number)
        })
    }

    fn reports(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<Report>, StoreError>> {
        self.read(|content| {
            let found = content.reports.range(..before.unwrap_or(i64::MAX)).rev();
            Ok(found.take(limit).map(|(_, report)| report.clone()).collect())
        })
    }

    fn forget_report(&self, number: i64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.change(|content| Ok(content.reports.remove(&number).is_some()))
    }
}
