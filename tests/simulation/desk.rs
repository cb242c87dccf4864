//! What the disk holds of invitations and reports. Stories of the simulation have none of them.

use unisono_core::ids::AccountId;
use unisono_core::invitations::{Invitation, Invitations};
use unisono_core::jid::BareJid;
use unisono_core::reports::{Kept, Report, Reports};
use unisono_core::storage::{BoxFuture, StoreError};

use super::disk::Disk;

impl Invitations for Disk {
    fn invite<'a>(&'a self, invitation: &'a Invitation) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.invite(invitation)
    }

    fn invitation<'a>(
        &'a self,
        token: &'a str,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Option<Invitation>, StoreError>> {
        self.inner.invitation(token, now_micros)
    }

    fn invitations<'a>(
        &'a self,
        inviter: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Vec<Invitation>, StoreError>> {
        self.inner.invitations(inviter, after, limit, now_micros)
    }

    fn redeem<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.inner.redeem(token)
    }

    fn create_invited<'a>(
        &'a self,
        token: &'a str,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.inner.create_invited(token, jid, credentials, now_micros)
    }
}

impl Reports for Disk {
    fn report<'a>(&'a self, report: &'a Report, keep: Kept) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.inner.report(report, keep)
    }

    fn reports(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<Report>, StoreError>> {
        self.inner.reports(before, limit)
    }

    fn forget_report(&self, number: i64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.forget_report(number)
    }
}
