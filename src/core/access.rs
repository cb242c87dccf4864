//! What gives a device access to its account: a password that it proved, and tokens (XEP-0484).
//!
//! A token is made of a secret of this server, of whose it is and for which mechanism, and of a number that was drawn for
//! it. The store keeps that number, and never the token: who reads the table of devices cannot log in. It takes the secret
//! as well, which is in another table; who has all of the store is not kept out. The mechanisms need the token itself, so
//! there is nothing that could be kept instead, as there is of a password.
//!
//! - Each device has two at most (§5.1): the one that it uses, and one that it was given and did not use yet.
//! - They end with the password, with the device, with a success of the newer one, and where the account is disabled.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::CompactString;
use sha2::{Digest, Sha256};

use crate::account::{Account, Cell};
use crate::devices::{Login, Proof, UserAgent};
use crate::hub::Hub;
use crate::ids::{AccountId, DeviceId, Ticket};
use crate::jid::BareJid;
use crate::storage::{Access, DeviceRecord, OwnDevice, StoreError, TokenRecord, Write};

/// How long a token can be used. A device that is away for longer needs the password again.
const LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);
/// A token that is older than this is replaced, long before it expires (§3.5).
const ROTATE_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A try to log in by a token.
#[derive(Clone, Copy)]
pub struct TokenUse<'a> {
    pub agent: Option<UserAgent>,
    pub mechanism: &'a str,
    /// §3.6: it is not to be used again.
    pub invalidate: bool,
}

impl TokenUse<'_> {
    /// What the device is kept under.
    pub fn key(&self) -> CompactString {
        self.agent.map(UserAgent::key).unwrap_or_default()
    }
}

/// What came of it. The reasons are for the log.
#[derive(Debug)]
pub enum Tried {
    /// It is right.
    Right {
        /// What to show where a session begins.
        proof: Proof,
        /// When this is durable, what came before it is over.
        ticket: Ticket,
        /// The device is due another one (§3.5).
        rotate: bool,
    },
    /// It was right, and is not trusted any more (§4.2).
    Expired(&'static str),
    /// It is right, and the account cannot be used.
    Disabled,
    Wrong(&'static str),
}

/// A token for a device.
pub struct Issued {
    pub token: String,
    /// Microseconds since 1970.
    pub expires: i64,
}

impl Hub {
    /// Looks for the token by which a client says to be a device of the account. `is_right` is asked for as many tokens in
    /// any case, also where there is no such account, device or token, and takes as long for each.
    pub fn try_token(
        &self,
        cell: Option<&Cell>,
        tried: TokenUse<'_>,
        is_right: &mut dyn FnMut(&str) -> bool,
    ) -> Tried {
        let mut account = cell.map(Cell::lock);
        let key = tried.key();
        let found = {
            let device = account.as_ref().and_then(|account| {
                account.devices.iter().find(|device| !key.is_empty() && device.key == key)
            });
            let owner = account.as_ref().map(|account| account.id);
            self.find_token(owner, device, tried, is_right)
                .map(|(is_next, token)| (device.cloned(), is_next, token))
        };
        let (account, device, is_next, token) = match (account.as_mut(), found) {
            (Some(account), Ok((Some(device), is_next, token))) => (account, device, is_next, token),
            (_, Err(reason)) => return Tried::Wrong(reason),
            (_, Ok(_)) => return Tried::Wrong("token of an unknown device"),
        };
        let (id, access) = (device.id, device.access.unwrap_or_default());
        let now = self.clock.now_micros();
        if account.is_gone || !account.is_enabled() {
            return Tried::Disabled;
        }
        if token.passwords != account.passwords {
            return Tried::Expired("token is older than the password");
        }
        if token.expires <= now {
            return Tried::Expired("token has expired");
        }
        let rotate = !tried.invalidate && token.issued.saturating_add(micros(ROTATE_AFTER)) <= now;
        let mut after = Access::clone(&access);
        if tried.invalidate {
            // One that it was given later, and perhaps never got, is not to be found there by somebody else either.
            (after.current, after.next) = (None, None);
        } else if is_next {
            after.current = after.next.take();
        }
        let writes: Vec<_> = account.set_access(id, after).into_iter().collect();
        let ticket = self.commit(account, writes);
        Tried::Right { proof: Proof::Token { device: id, passwords: token.passwords }, ticket, rotate }
    }

    /// Looks for it among what is stored of the device, so that no account is loaded for a stranger's guess. `None` if it is
    /// there; what to do about it, [`Self::try_token`] tells.
    pub fn guess(
        &self,
        stored: Option<OwnDevice>,
        tried: TokenUse<'_>,
        is_right: &mut dyn FnMut(&str) -> bool,
    ) -> Option<Tried> {
        let (owner, device) = stored.map_or((None, None), |(owner, device)| (Some(owner), device));
        self.find_token(owner, device.as_ref(), tried, is_right).err().map(Tried::Wrong)
    }

    /// A token of a device that is right, and whether it is the one that the device did not use yet.
    fn find_token(
        &self,
        owner: Option<AccountId>,
        device: Option<&DeviceRecord>,
        tried: TokenUse<'_>,
        is_right: &mut dyn FnMut(&str) -> bool,
    ) -> Result<(bool, TokenRecord), &'static str> {
        let id = device.map_or(DeviceId(0), |device| device.id);
        let access = device.and_then(|device| device.access.as_deref());
        let slots = access.map_or([None, None], |access| [access.next.as_ref(), access.current.as_ref()]);
        let mut found = None;
        for (place, slot) in slots.iter().enumerate() {
            let fitting = slot.filter(|token| token.mechanism == tried.mechanism);
            let salt = fitting.map_or(0, |token| token.salt);
            let is_it = is_right(&self.token(owner.unwrap_or(AccountId(0)), id, tried.mechanism, salt));
            found = found.or(fitting.filter(|_| is_it).map(|token| (place == 0, token.clone())));
        }
        let has_other =
            |slot: Option<&TokenRecord>| slot.is_some_and(|token| token.mechanism != tried.mechanism);
        found.ok_or(match (owner, device) {
            (None, _) => "unknown user",
            (_, None) => "token of an unknown device",
            _ if slots.iter().all(Option::is_none) => "device has no token",
            _ if slots.into_iter().any(has_other) => "wrong token, or wrong mechanism for it",
            _ => "wrong token, or bound to another channel",
        })
    }

    /// Makes a token for a device that is known now (§3.3), in the place of one that it did not use. It is durable. `None`
    /// where the client does not say which installation it is, or may not log in any more.
    pub async fn issue_token(
        &self,
        account: &BareJid,
        login: &Login,
        mechanism: &str,
        connection: u64,
    ) -> Result<Option<Issued>, StoreError> {
        let (Some(agent), Some(cell)) = (login.agent, self.account(account).await?) else { return Ok(None) };
        let (issued, ticket) = {
            let mut account = cell.lock();
            if !account.admits_login(connection, login.proof) {
                return Ok(None);
            }
            let key = agent.key();
            let known = account.devices.iter().find(|device| device.key == key).map(|device| device.id);
            let device = known.unwrap_or_else(|| self.device_for(&mut account, &key, login));
            let mut after = account.access(device);
            let now = self.clock.now_micros();
            let token = match after.next.take().filter(|_| matches!(login.proof, Proof::Token { .. })) {
                // It was given this one before, and perhaps did not hear it.
                Some(next) if next.mechanism == mechanism && self.is_fresh(&next, &account) => next,
                _ => TokenRecord {
                    mechanism: CompactString::from(mechanism),
                    salt: self.draw_salt(),
                    issued: now,
                    expires: now.saturating_add(micros(LIFETIME)),
                    passwords: account.passwords,
                },
            };
            let text = self.token(account.id, device, mechanism, token.salt);
            let issued = Issued { token: text, expires: token.expires };
            after.next = Some(token);
            let writes: Vec<_> = account.set_access(device, after).into_iter().collect();
            self.commit(&mut account, writes);
            (issued, account.last_ticket)
        };
        self.store.wait(ticket).await;
        Ok(Some(issued))
    }

    fn is_fresh(&self, token: &TokenRecord, account: &Account) -> bool {
        let due = token.issued.saturating_add(micros(ROTATE_AFTER));
        token.passwords == account.passwords && due > self.clock.now_micros()
    }

    /// No device of the account has a token any more. From when the ticket is durable, that stays so.
    pub fn end_tokens(&self, cell: &Cell) -> Ticket {
        let mut account = cell.lock();
        let devices: Vec<_> = account.devices.iter().map(|device| device.id).collect();
        let mut writes = Vec::new();
        for device in devices {
            let after = Access { current: None, next: None, ..account.access(device) };
            writes.extend(account.set_access(device, after));
        }
        self.commit(&mut account, writes)
    }

    fn draw_salt(&self) -> u128 {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        u128::from_be_bytes(bytes)
    }

    /// The token that a number stands for.
    fn token(&self, account: AccountId, device: DeviceId, mechanism: &str, salt: u128) -> String {
        let digest = Sha256::new()
            .chain_update(self.token_secret)
            .chain_update(account.0.to_be_bytes())
            .chain_update(device.0.to_be_bytes())
            .chain_update(mechanism)
            .chain_update(salt.to_be_bytes());
        URL_SAFE_NO_PAD.encode(digest.finalize())
    }
}

impl Account {
    /// What gives a device access.
    pub(crate) fn access(&self, device: DeviceId) -> Access {
        let access = self.device(device).and_then(|device| device.access.as_deref());
        access.cloned().unwrap_or_default()
    }

    /// Whether a device could come back as it is: the password that it has proven last is that of the account, or it has a
    /// token that came after it.
    pub fn lets_in(&self, device: DeviceId) -> bool {
        let Some(device) = self.device(device) else { return false };
        let Some(access) = device.access.as_deref() else { return true }; // by a password, too, before that was noted
        let mut tokens = [&access.current, &access.next].into_iter().flatten();
        access.password == Some(self.passwords) || tokens.any(|token| token.passwords == self.passwords)
    }

    /// Replaces it. Returns what makes that durable, if it changes anything.
    pub(crate) fn set_access(&mut self, device: DeviceId, access: Access) -> Option<Write> {
        let known = self.devices.iter_mut().find(|known| known.id == device)?;
        if known.access.as_deref() == Some(&access) || (known.access.is_none() && access == Access::default())
        {
            return None;
        }
        let access = Arc::new(access);
        known.access = Some(Arc::clone(&access));
        Some(Write::Access { device, access })
    }
}

impl Hub {
    /// What there is to note of a device that logs in, `new` if it does so for the first time.
    pub(crate) fn noted(
        &self,
        account: &Account,
        before: Option<&Access>,
        login: &Login,
        new: Option<i64>,
    ) -> Option<Access> {
        let mut access = before.cloned().unwrap_or_default();
        access.first_seen = new.unwrap_or(access.first_seen);
        if self.settings.keeps_device_names {
            login.note(&mut access);
        } else {
            (access.software, access.name) = Default::default();
        }
        access.password = match login.proof {
            Proof::Nothing => Some(account.passwords),
            Proof::Password(proven) => Some(proven),
            Proof::Token { .. } => access.password,
        };
        (before != Some(&access)).then_some(access)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
