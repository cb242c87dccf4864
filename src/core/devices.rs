//! Which device a session is of: the installation that a client names itself by (XEP-0388 §2.3), or else the resource.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::{CompactString, format_compact};
use sha2::{Digest, Sha256};

use crate::account::{Account, Cell};
use crate::catch_up::numbers_write;
use crate::error::{StanzaError, StreamCondition};
use crate::hub::Hub;
use crate::ids::{DeviceId, SessionId, Ticket};
use crate::jid::BareJid;
use crate::session::Session;
use crate::storage::{Access, DeviceRecord, TokenRecord, Write};

/// What the keys of devices begin with that are known by their user agent (RFC 9562 §4).
const NAMED: &str = "urn:uuid:";
/// So many connections of a device may be taken over by its next one, in this time: a network that comes and goes.
const REPLACED_MAX: usize = 4;
const REPLACED_WITHIN: Duration = Duration::from_secs(60);
/// What resources begin with that this server makes up.
pub(crate) const MADE_UP: &str = "unisono-";
/// How long a device is remembered that is known by such a resource alone.
const MADE_UP_FOR: Duration = Duration::from_secs(24 * 3600);
/// Bytes of what makes a resource unlike all others.
const RESOURCE_BYTES: usize = 9;

/// A client's installation, as it names itself: a UUID of version 4 (XEP-0388 §2.3). It is a secret of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserAgent(u128);

impl UserAgent {
    /// Reads the `id` of a `<user-agent/>`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_placed = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            19 => matches!(byte.to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b'),
            _ => byte.is_ascii_hexdigit(),
        };
        if text.len() != 36 || !text.bytes().enumerate().all(is_placed) {
            return None;
        }
        u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self)
    }

    /// What its device is kept under.
    pub(crate) fn key(self) -> CompactString {
        let digits = format_compact!("{:032x}", self.0);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
        format_compact!("{NAMED}{}", parts.join("-"))
    }
}

/// Nobody else is to know it, the log neither.
impl fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserAgent")
    }
}

/// Characters that are kept of what a client says of itself.
const WORDS_MAX: usize = 64;

/// Who logs in, as far as the client says, and how it has proven that.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Login {
    pub agent: Option<UserAgent>,
    software: CompactString,
    name: CompactString,
    pub proof: Proof,
}

/// What a client has shown. It has to be good still where a session begins: between the two, the connection waits for
/// others, and the account may have left the memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Nothing: somebody else answers for it.
    #[default]
    Nothing,
    /// The password that the account had when it had been changed so often.
    Password(i64),
    /// A token (XEP-0484) of this device, from when the password had been changed so often.
    Token { device: DeviceId, passwords: i64 },
}

impl Login {
    /// What `<user-agent/>` says (XEP-0388 §2.3): the installation, and the names of the software and of the device, as far
    /// as a line holds.
    pub fn new(agent: Option<UserAgent>, software: &str, name: &str) -> Self {
        Self { agent, software: line(software), name: line(name), proof: Proof::Nothing }
    }

    /// The same, with what was shown.
    #[must_use]
    pub fn proven_by(self, proof: Proof) -> Self {
        Self { proof, ..self }
    }

    /// What it says replaces what it said before.
    pub(crate) fn note(&self, access: &mut Access) {
        for (said, noted) in [(&self.software, &mut access.software), (&self.name, &mut access.name)] {
            if !said.is_empty() {
                noted.clone_from(said);
            }
        }
    }
}

/// What people are shown of what a client says: short, and without what moves a cursor or turns the writing round.
fn line(text: &str) -> CompactString {
    let is_shown = |letter: &char| {
        !letter.is_control()
            && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.trim().chars().filter(is_shown).take(WORDS_MAX).collect()
}

/// Where a session is about to begin.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) resource: &'a str,
    /// What the device is known by.
    pub(crate) key: &'a str,
    pub(crate) connection: u64,
    pub(crate) proof: Proof,
}

impl Account {
    /// A session that has to end for one that begins: a resource has one session, and so has a device.
    pub(crate) fn predecessor(&self, place: Place<'_>) -> Option<&Session> {
        let device = self.devices.iter().find(|device| device.key == place.key).map(|device| device.id);
        let same_device = || self.sessions.iter().find(|session| Some(session.device) == device);
        self.resource(place.resource).or_else(same_device)
    }

    /// What the connection of a session is told that ends for a newer one, `now` on the clock that never falls.
    /// COMPAT(Conversations 2.19): on `conflict` it takes the name of its installation for one that another has, and makes up
    /// a new one, so that no device that is known by such a name is told that of its own newer session. Where connections
    /// take their place from each other again and again, there are two that have one name: then it is what helps.
    pub(crate) fn reason_to_give_way(
        &mut self,
        session: SessionId,
        key: &str,
        now: Duration,
    ) -> StreamCondition {
        let Some(old) = self.session(session) else { return StreamCondition::Reset };
        let (device, is_connected) = (old.device, old.is_connected());
        let is_same = self.device(device).is_some_and(|known| known.key == key);
        if !is_same || !key.starts_with(NAMED) {
            return StreamCondition::Conflict;
        }
        self.replaced.retain(|(_, at)| now.saturating_sub(*at) < REPLACED_WITHIN);
        if is_connected {
            self.replaced.push((device, now));
        }
        let often = self.replaced.iter().filter(|(of, _)| *of == device).count();
        if often <= REPLACED_MAX {
            return StreamCondition::Reset;
        }
        self.replaced.retain(|(of, _)| *of != device);
        tracing::info!(account = %self.jid, "two clients seem to be one installation, one of them is told so");
        StreamCondition::Conflict
    }
}

impl Hub {
    /// A resource for a client that leaves it to the server. For an installation that says which it is, always the same
    /// (XEP-0386 §3.2.1), and nothing that tells two accounts of one installation together.
    pub(crate) fn made_up_resource(&self, account: &BareJid, agent: Option<UserAgent>) -> String {
        let mut bytes = [0_u8; RESOURCE_BYTES];
        match agent {
            None => self.random.fill(&mut bytes),
            Some(UserAgent(id)) => {
                let digest = Sha256::new()
                    .chain_update(self.agent_secret)
                    .chain_update(id.to_be_bytes())
                    .chain_update(account.as_str());
                bytes.iter_mut().zip(digest.finalize()).for_each(|(byte, drawn)| *byte = drawn);
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Notes a device that was never here. From when the ticket is durable, what is recorded is due to it, whatever
    /// happens to the server.
    pub(crate) fn introduce(
        &self,
        cell: &Arc<Cell>,
        place: Place<'_>,
        login: &Login,
    ) -> Result<Option<Ticket>, StanzaError> {
        let mut account = self.lock_for(cell, place)?;
        if account.devices.iter().any(|device| device.key == place.key) {
            return Ok(None);
        }
        self.device_for(&mut account, place.key, login);
        Ok(Some(account.last_ticket))
    }

    /// The device that is known by this key, or a new one.
    pub(crate) fn device_for(&self, account: &mut Account, key: &str, login: &Login) -> DeviceId {
        let now = self.clock.now_micros();
        let known = account.devices.iter_mut().find(|device| device.key == key);
        let is_new = known.is_none();
        let device = if let Some(device) = known {
            device.last_seen = now;
            device.clone()
        } else {
            let device = DeviceRecord {
                id: DeviceId(self.random_id()),
                key: CompactString::from(key),
                cursor: account.first_cursor(),
                pages_archive: false,
                last_seen: now,
                access: None,
            };
            account.devices.reserve_exact(1);
            account.devices.push(device.clone());
            device
        };
        let id = device.id;
        let access = self.noted(account, device.access.as_deref(), login, is_new.then_some(now));
        let mut writes = vec![Write::Device { account: account.id, device }];
        writes.extend(access.and_then(|access| account.set_access(id, access)));
        writes.extend(self.forget_devices(account, now));
        self.commit(account, writes);
        id
    }

    /// Forgets devices that were not seen for long, and those beyond the limit; never one with a session. First go those
    /// that people do not come back to: a client that names no installation has a new device with each resource.
    fn forget_devices(&self, account: &mut Account, now: i64) -> Vec<Write> {
        let age = i64::try_from(self.settings.forget_devices_after.as_micros()).unwrap_or(i64::MAX);
        let made_up_age = age.min(i64::try_from(MADE_UP_FOR.as_micros()).unwrap_or(i64::MAX));
        let (before, made_up_before) = (now.saturating_sub(age), now.saturating_sub(made_up_age));
        let in_use: Vec<_> = account.sessions.iter().map(|session| session.device).collect();
        let mut idle: Vec<_> = account
            .devices
            .iter()
            .filter(|device| device.last_seen < now && !in_use.contains(&device.id))
            .map(|device| (device.is_named(), device.last_seen, device.id, device.is_made_up()))
            .collect();
        idle.sort_unstable();
        let too_many = account.devices.len().saturating_sub(self.settings.devices_max);
        let by_rank = idle.iter().enumerate();
        let old: Vec<_> = by_rank
            .filter(|(rank, (_, seen, _, is_made_up))| {
                *rank < too_many || *seen < if *is_made_up { made_up_before } else { before }
            })
            .map(|(_, (_, _, id, _))| *id)
            .collect();
        self.forgotten(account, &old)
    }

    /// The one place where devices end: with their tokens, the sessions that they could still ask for, and what extensions
    /// keep for them.
    fn forgotten(&self, account: &mut Account, ended: &[DeviceId]) -> Vec<Write> {
        let of_these = |device: &DeviceRecord| ended.contains(&device.id);
        let (gone, left): (Vec<DeviceRecord>, Vec<_>) =
            std::mem::take(&mut account.devices).into_iter().partition(of_these);
        account.devices = left;
        let mut writes = Vec::new();
        for device in gone {
            for handler in &self.registry.device_ended {
                handler(account, &device, &mut writes);
            }
            writes.push(Write::DeviceRemoved { device: device.id });
        }
        writes.extend(forget_over(account, ended));
        writes
    }

    /// Ends a device (XEP-0494 §3.2): its sessions, for which this is the reason, and all by which it could come back but
    /// the password. From when the ticket is durable, that stays so. Who is about to log in by its token does not come in.
    pub fn end_device(
        &self,
        cell: &Arc<Cell>,
        device: DeviceId,
        reason: &StreamCondition,
    ) -> (usize, Ticket) {
        let sessions: Vec<SessionId> = {
            let mut account = cell.lock();
            let writes = self.forgotten(&mut account, &[device]);
            self.commit(&mut account, writes);
            let of_device = account.sessions.iter().filter(|session| session.device == device);
            of_device.map(|session| session.id).collect()
        };
        for session in &sessions {
            self.end_with(cell, *session, Some(reason.clone()));
        }
        let mut account = cell.lock();
        // They have ended without a device, of which they are not to tell any more either.
        let writes = forget_over(&mut account, &[device]);
        self.commit(&mut account, writes);
        (sessions.len(), account.last_ticket)
    }

    /// What is known of the devices of an account, those that were seen last first.
    pub fn devices(&self, cell: &Cell) -> Vec<DeviceInfo> {
        let account = cell.lock();
        let now = self.clock.now_micros();
        let mut devices: Vec<_> =
            account.devices.iter().map(|device| self.describe(&account, device, now)).collect();
        devices.sort_by(|a, b| (b.last_seen, &b.id).cmp(&(a.last_seen, &a.id)));
        devices
    }

    fn describe(&self, account: &Account, device: &DeviceRecord, now: i64) -> DeviceInfo {
        let session = account.sessions.iter().find(|session| session.device == device.id);
        let access = device.access.as_deref();
        let said =
            |what: fn(&Access) -> &CompactString| access.map(what).filter(|said| !said.is_empty()).cloned();
        let tokens = access.map_or([None, None], |access| [access.current.as_ref(), access.next.as_ref()]);
        let is_good = |token: &TokenRecord| token.passwords == account.passwords && token.expires > now;
        DeviceInfo {
            id: self.device_ids.seal(device.id.0, account.id.0),
            device: device.id,
            resource: (!device.is_named()).then(|| device.key.clone()),
            software: said(|access| &access.software),
            name: said(|access| &access.name),
            first_seen: access.map(|access| access.first_seen).filter(|seen| *seen > 0),
            last_seen: if session.is_some_and(Session::is_connected) { now } else { device.last_seen },
            // One that is older than what is kept of it came in by its password, too.
            has_password: access.is_none_or(|access| access.password == Some(account.passwords)),
            has_token: tokens.into_iter().flatten().any(is_good),
            session: session.map(|session| (session.jid.resource().into(), session.is_connected())),
        }
    }
}

/// What there is to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// How it is called here. Nothing else can be done with it.
    pub id: CompactString,
    pub device: DeviceId,
    /// What it is known by, if it does not say which installation it is.
    pub resource: Option<CompactString>,
    /// What the client calls itself, and the device.
    pub software: Option<CompactString>,
    pub name: Option<CompactString>,
    /// Microseconds since 1970. The first may be older than what is kept.
    pub first_seen: Option<i64>,
    pub last_seen: i64,
    /// It has proven the password that the account has.
    pub has_password: bool,
    /// It has a token that is good (XEP-0484).
    pub has_token: bool,
    /// The resource of its session, and whether there is a connection.
    pub session: Option<(CompactString, bool)>,
}

impl DeviceRecord {
    /// Whether it says which installation it is.
    pub fn is_named(&self) -> bool {
        self.key.starts_with(NAMED)
    }

    /// Whether it has a resource that this server drew by chance: nobody asks for it again.
    fn is_made_up(&self) -> bool {
        let drawn = self.key.strip_prefix(MADE_UP);
        drawn
            .and_then(|drawn| URL_SAFE_NO_PAD.decode(drawn).ok())
            .is_some_and(|bytes| bytes.len() == RESOURCE_BYTES)
    }
}

impl Account {
    /// The device of a session was there a moment ago.
    pub(crate) fn seen(&mut self, device: DeviceId, now: i64) {
        if let Some(record) = self.devices.iter_mut().find(|record| record.id == device) {
            record.last_seen = record.last_seen.max(now);
            if !self.moved.contains(&device) {
                self.moved.push(device);
            }
        }
    }
}

/// Sessions of these devices that are over are not told of any more.
fn forget_over(account: &mut Account, ended: &[DeviceId]) -> Vec<Write> {
    let is_ended = |(device, _): &(DeviceId, SessionId)| ended.contains(device);
    let (over, others) = std::mem::take(&mut account.over).into_iter().partition(is_ended);
    account.over = others;
    let over: Vec<(DeviceId, SessionId)> = over;
    over.into_iter().map(|(_, session)| numbers_write(account.id, session, None)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_installation_is_named_by_a_uuid_of_version_4() {
        let key = |text: &str| UserAgent::parse(text).map(UserAgent::key);
        let want = Some(CompactString::from("urn:uuid:d4565fa7-4d72-4749-b3d3-740edbf87770"));
        assert_eq!(key("d4565fa7-4d72-4749-b3d3-740edbf87770"), want);
        assert_eq!(key("D4565FA7-4D72-4749-B3D3-740EDBF87770"), want);
        assert!(key("00000000-0000-4000-8000-000000000000").is_some());
        for text in [
            "",
            "d4565fa7",
            "00000000-0000-0000-0000-000000000000", // nobody's
            "d4565fa7-4d72-1749-b3d3-740edbf87770", // of version 1
            "d4565fa7-4d72-4749-c3d3-740edbf87770", // of another variant
            "d4565fa7-4d72-4749-b3d3-740edbf8777",
            "d4565fa7-4d72-4749-b3d3-740edbf877700",
            "d4565fa74d72-4749-b3d3-740edbf87770--",
            "{d4565fa7-4d72-4749-b3d3-740edbf8777}",
            "d4565fa7-4d72-4749-b3d3-740edbf8777g",
            "d4565fa7-4d72-4749-b3d3-740edbf8777ä",
            "+4565fa7-4d72-4749-b3d3-740edbf87770",
        ] {
            assert!(key(text).is_none(), "{text}");
        }
    }
}
