//! What can be asked of a server, running or not.

use std::num::NonZeroU32;
use std::pin::Pin;

use unisono_core::jid::{BareJid, Jid};

use crate::api::types::{
    ApiError, DeviceList, DoctorReport, InvitationInfo, InvitationPage, Kicked, Names, NewInvitation,
    ReportPage, Revoked, Secret, SessionList, UserInfo, UserPage, UserState, VersionInfo,
};

/// A future answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// Administration. The HTTP API offers exactly this, so a command works the same over the socket of a
/// running server and on the store of one that does not run.
pub trait Admin: Send + Sync {
    /// Which server this is. `NotFound` on a store without a server.
    fn version(&self) -> Answer<'_, VersionInfo>;

    /// Accounts in the order of their JIDs, after `after`, at most `limit`, and at most as many as the other side likes.
    fn users<'a>(&'a self, after: Option<&'a str>, limit: Option<NonZeroU32>) -> Answer<'a, UserPage>;

    /// One account. `NotFound` if there is none.
    fn user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, UserInfo>;

    /// Creates an account. `AlreadyExists` if there is one, also one that looks alike; `InvalidRequest` if the domain
    /// is not served, or the name or the password is not allowed.
    fn add_user<'a>(&'a self, jid: &'a BareJid, password: &'a Secret, names: Names) -> Answer<'a, UserInfo>;

    /// Replaces the password and ends all that the old one had opened.
    fn set_password<'a>(&'a self, jid: &'a BareJid, password: &'a Secret) -> Answer<'a, ()>;

    /// Allows or forbids the login. Disabling ends all sessions.
    fn set_state<'a>(&'a self, jid: &'a BareJid, state: UserState) -> Answer<'a, UserInfo>;

    /// Deletes the account and all that it stored.
    fn delete_user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, ()>;

    /// The sessions of one account or of all; none without a running server.
    fn sessions<'a>(&'a self, jid: Option<&'a BareJid>) -> Answer<'a, SessionList>;

    /// Ends the session of a full JID, or all of a bare JID. `NotFound` if there is none.
    fn kick<'a>(&'a self, jid: &'a Jid) -> Answer<'a, Kicked>;

    /// The devices of the account. `NotFound` without such an account.
    fn devices<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DeviceList>;

    /// Takes the access of a device back. `NotFound` if the account has none with this id.
    fn revoke<'a>(&'a self, jid: &'a BareJid, id: &'a str) -> Answer<'a, Revoked>;

    /// How far each device of the account has the log. `NotFound` without such an account.
    fn doctor<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DoctorReport>;

    /// Invites somebody. `InvalidRequest` for what is no address here, `AlreadyExists` if the account is there, or looks
    /// like one that is, `NotFound` without the contact.
    fn invite<'a>(&'a self, new: &'a NewInvitation) -> Answer<'a, InvitationInfo>;

    /// Invitations that were not used yet, in the order of their tokens.
    fn invitations<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: Option<NonZeroU32>,
    ) -> Answer<'a, InvitationPage>;

    /// Takes an invitation back. `NotFound` if it is not there any more.
    fn withdraw<'a>(&'a self, token: &'a str) -> Answer<'a, ()>;

    /// What users reported, the newest first.
    fn reports(&self, before: Option<i64>, limit: Option<NonZeroU32>) -> Answer<'_, ReportPage>;

    /// Forgets a report. `NotFound` if it is not there.
    fn forget_report(&self, number: i64) -> Answer<'_, ()>;

    /// Ends the administration. What it changed or took up on a store without a server is kept there.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}
