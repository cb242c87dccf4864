//! Who has to be looked at: what comes for devices that may sleep, and each second what is due of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::extension::{Following, KeyedState as _, Moment};
use unisono_core::hub::Hub;
use unisono_core::ids::{LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::record::{Direction, MessageRecord};
use unisono_core::storage::{LogEntry, LogQuery, StoreError};

use super::matters::{answers, matters};
use super::publication::publish;
use super::registration::{Registration, address};
use super::waiting::{Place, WAITING_MAX, patience};
use crate::{xep0060_pubsub, xep0490_displayed};

/// Accounts that are read at once when the server runs again.
const BEGIN_WITH: usize = 100;

/// The accounts with something to push, or to wait for.
#[derive(Default)]
pub(super) struct Duty {
    noted: Mutex<HashSet<BareJid>>,
    /// These stay in memory until nothing is due.
    held: Mutex<HashMap<BareJid, Arc<Cell>>>,
}

impl Duty {
    /// An account is to be looked at.
    pub(super) fn note(&self, account: &BareJid) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone());
    }

    fn held(&self) -> MutexGuard<'_, HashMap<BareJid, Arc<Cell>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are to be looked at now. What was removed meanwhile is not.
    fn take(&self, hub: &Hub) -> Vec<Arc<Cell>> {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let held = std::mem::take(&mut *self.held());
        let mut all: Vec<_> = noted.iter().filter(|jid| !held.contains_key(*jid)).cloned().collect();
        all.extend(held.keys().cloned());
        all.iter().filter_map(|jid| hub.resident(jid)).collect()
    }
}

/// What one session had queued before a message.
type Before = (SessionId, Option<u32>, usize);

/// Stage `record`: a message is on its way into an account.
pub(super) fn follow(following: &mut Following<'_>) {
    if following.account.all_keyed::<Registration>().next().is_none() {
        return;
    }
    match following.direction {
        Direction::Sent => seen_to(following.account, following.record),
        Direction::Received => {
            withdrawn(following);
            if matters(following.record, following.account) {
                note(following);
            }
        }
    }
}

/// The owner has answered.
fn seen_to(account: &mut Account, record: &MessageRecord) {
    if !answers(&record.payload) {
        return;
    }
    let conversation = xep0490_displayed::conversation(&record.to, &record.payload, account.settings());
    for (key, _) in registrations(account) {
        if let Some(registration) = account.keyed_mut::<Registration>(&key) {
            registration.waiting.forget(&conversation);
        }
    }
}

/// The services of an account, and the devices that they are for.
fn registrations(account: &Account) -> Vec<(CompactString, unisono_core::ids::DeviceId)> {
    let all = account.all_keyed::<Registration>();
    all.map(|(key, registration)| (key.clone(), registration.device)).collect()
}

/// Something that matters waits for the devices. Whether it is in their queues shows when it was put there.
fn note(following: &mut Following<'_>) {
    let (account, record) = (&*following.account, following.record);
    let position = record.place(account.id()).map(|(place, _)| place.position);
    let conversation = xep0490_displayed::conversation(&record.from, &record.payload, account.settings());
    let before = |device| -> Vec<Before> {
        let of_device = account.sessions().filter(|session| session.device() == device);
        of_device.map(|session| (session.id(), session.next_stanza(), session.queued())).collect()
    };
    let all: Vec<_> = registrations(account).into_iter().map(|(key, device)| (key, before(device))).collect();
    let now = following.hub.clock.elapsed();
    following.then(move |hub, account, _| {
        for (key, before) in all {
            let queued = before.into_iter().find_map(|(id, number, count)| {
                let has_more = account.session(id).is_some_and(|session| session.queued() > count);
                has_more.then_some((id, number))
            });
            if position.is_none() && queued.is_none() {
                continue;
            }
            let place = Place { position, queued, conversation: conversation.clone() };
            if let Some(registration) = account.keyed_mut::<Registration>(&key) {
                registration.waiting.add(place, now, false);
            }
        }
        if let Some(duty) = hub.server_state::<Duty>() {
            duty.note(account.jid());
        }
    });
}

/// §8: the service does not want to hear of the account any more.
fn withdrawn(following: &mut Following<'_>) {
    let record = following.record;
    let Some(pubsub) = record.payload.child("pubsub", xep0060_pubsub::NS) else { return };
    let own = following.account.jid().clone();
    let is_out = pubsub.child("affiliation", xep0060_pubsub::NS).is_some_and(|affiliation| {
        affiliation.attr("affiliation") == Some("none") && affiliation.attr("jid") == Some(own.as_str())
    });
    if is_out {
        let named = pubsub.attr("node");
        let is_meant = |key: &str, _: &Registration| {
            address(key).is_some_and(|(service, node)| service == record.from && node == named)
        };
        super::remove(following.account, is_meant, following.writes);
    }
}

/// What is due is pushed.
pub(super) fn sweep(hub: &Arc<Hub>, moment: Moment) {
    if moment == Moment::Last {
        return; // What is due then, the log knows when the server runs again.
    }
    let Some(duty) = hub.server_state::<Duty>() else { return };
    let now = hub.clock.elapsed();
    let cells = duty.take(hub);
    let busy = cells.into_iter().filter(|cell| look_at(hub, cell, now));
    let busy: Vec<_> = busy.map(|cell| (cell.jid.clone(), cell)).collect();
    duty.held().extend(busy);
}

/// Whether there is something to look at later.
fn look_at(hub: &Hub, cell: &Arc<Cell>, now: Duration) -> bool {
    let mut account = cell.lock();
    if !account.is_enabled() || account.is_gone() {
        return false;
    }
    let mut is_busy = false;
    for (key, _) in registrations(&account) {
        match next(&mut account, &key, now) {
            Next::Rest => continue,
            Next::Wait => {}
            Next::Push => publish(hub, cell, &mut account, &key),
        }
        is_busy = true;
    }
    is_busy
}

/// What is to be done for a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Nothing, until something comes.
    Rest,
    /// Nothing yet.
    Wait,
    Push,
}

pub(super) fn next(account: &mut Account, key: &str, now: Duration) -> Next {
    let Some(device) = account.keyed::<Registration>(key).map(|registration| registration.device) else {
        return Next::Rest;
    };
    if !account.lets_in(device) {
        return Next::Rest;
    }
    let Some(registration) = account.keyed_mut::<Registration>(key) else { return Next::Rest };
    let mut waiting = std::mem::take(&mut registration.waiting);
    waiting.settle(account, device);
    let patience = patience(account, device);
    let Some(registration) = account.keyed_mut::<Registration>(key) else { return Next::Rest };
    registration.waiting = waiting;
    let waiting = &registration.waiting;
    if !waiting.has_told() {
        registration.caught_up();
    }
    if registration.sent.is_some() {
        Next::Wait
    } else if !registration.waiting.has_news() {
        Next::Rest
    } else if now >= registration.rest_until && registration.waiting.is_due(now, patience) {
        Next::Push
    } else {
        Next::Wait
    }
}

/// The server runs again: what came for devices that sleep, and was not pushed, is found in the logs.
pub(super) async fn begin(hub: Arc<Hub>) {
    let mut after: Option<BareJid> = None;
    loop {
        let found = hub.store.holders(Registration::KIND, after.as_ref(), BEGIN_WITH).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "cannot find whom to push to"),
        };
        for jid in &found {
            if let Err(error) = look_back(&hub, jid).await {
                tracing::error!(account = %jid, %error, "cannot find what is to be pushed");
            }
        }
        if found.len() < BEGIN_WITH {
            return;
        }
        after = found.last().cloned();
    }
}

/// Reads what an account's devices lack.
async fn look_back(hub: &Arc<Hub>, jid: &BareJid) -> Result<(), StoreError> {
    let Some(cell) = hub.account(jid).await? else { return Ok(()) };
    let after = {
        let account = cell.lock();
        let behind = account.all_keyed::<Registration>().map(|(_, registration)| {
            let cursor = cursor(&account, registration);
            (cursor.max(registration.pushed) < account.head()).then_some(cursor)
        });
        behind.flatten().min()
    };
    let Some(after) = after else { return Ok(()) };
    hub.settled(&cell).await;
    let query = LogQuery {
        after: Some(after),
        limit: WAITING_MAX,
        from_end: true,
        include_unarchived: true,
        ..LogQuery::default()
    };
    let page = hub.store.page(cell.id, &query).await?;
    let mut account = cell.lock();
    let now = hub.clock.elapsed();
    page.entries.iter().for_each(|entry| take_up(&mut account, entry, now));
    if let Some(duty) = hub.server_state::<Duty>() {
        duty.held().insert(jid.clone(), cell.clone());
    }
    Ok(())
}

/// Up to here, a device has its log.
fn cursor(account: &Account, registration: &Registration) -> LogPosition {
    account.device(registration.device).map_or(LogPosition::START, |device| device.cursor)
}

/// Does with an entry of the log what [`follow`] did when it came.
fn take_up(account: &mut Account, entry: &LogEntry, now: Duration) {
    let LogEntry { record, position, direction } = entry;
    match direction {
        Direction::Sent => return seen_to(account, record),
        Direction::Received if !matters(record, account) => return,
        Direction::Received => {}
    }
    let conversation = xep0490_displayed::conversation(&record.from, &record.payload, account.settings());
    for (key, _) in registrations(account) {
        let upto = account.keyed::<Registration>(&key).map(|registration| cursor(account, registration));
        let place = Place { position: Some(*position), queued: None, conversation: conversation.clone() };
        if upto.is_some_and(|upto| *position > upto)
            && let Some(registration) = account.keyed_mut::<Registration>(&key)
        {
            let is_pushed = *position <= registration.pushed;
            registration.waiting.add(place, now, is_pushed);
        }
    }
}
