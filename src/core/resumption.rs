//! A broken session goes on with another connection, or its client learns what became of it (XEP-0198 §5).

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::account::{Account, Cell};
use crate::binding::link;
use crate::devices::Login;
use crate::hub::{Connection, Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::BareJid;
use crate::storage::{StoreError, Write};

/// Why a session cannot be resumed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotResumed {
    /// It is over. How many of the client's stanzas were handled, if it is known at all: XEP-0198 §5, `h` of `<failed/>`.
    Over(Option<u32>),
    /// Nobody can tell at the moment, for the store cannot be read. The client may ask again.
    Unknown,
}

impl From<StoreError> for NotResumed {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "cannot look for a session");
        Self::Unknown
    }
}

/// A session that goes on.
pub struct Resumed {
    pub session: SessionRef,
    /// How many of the client's stanzas were handled.
    pub handled: u32,
}

/// What came of an attempt to take a session up.
enum TakenUp {
    /// The session, and how many stanzas of its client were handled.
    Session(SessionRef, u32),
    /// Something that the answer promises has to be durable first.
    Waits(Ticket),
    /// The client counts what was never sent.
    Wrong(u32),
    /// A newer connection has it: the client has given this one up.
    Late,
    /// No such session in memory.
    Nothing,
}

impl Hub {
    /// Takes a broken session up on another connection (XEP-0198 §5). `handled` is the client's count.
    pub async fn resume(
        self: &Arc<Self>,
        login: &Login,
        account: &BareJid,
        previous: &str,
        handled: u32,
        connection: Connection,
    ) -> Result<Resumed, NotResumed> {
        let resumed = self.try_resume(login, account, previous, handled, connection).await;
        let counter = if resumed.is_ok() { &self.counters.resumed } else { &self.counters.resume_failed };
        counter.fetch_add(1, Ordering::Relaxed);
        resumed
    }

    async fn try_resume(
        self: &Arc<Self>,
        login: &Login,
        jid: &BareJid,
        previous: &str,
        handled: u32,
        connection: Connection,
    ) -> Result<Resumed, NotResumed> {
        let cell = self.account(jid).await?.ok_or(NotResumed::Over(None))?;
        let id = match self.session_ids.open(previous) {
            Some((id, whose)) if whose == cell.id.0 => SessionId(id),
            Some(_) | None => return Err(NotResumed::Over(None)),
        };
        let mut is_counted = false;
        loop {
            match self.take_up(&cell, login, id, handled, &mut is_counted, connection.clone()) {
                TakenUp::Session(session, ours) => return Ok(Resumed { session, handled: ours }),
                TakenUp::Waits(ticket) => {
                    // What a client acknowledges waits for the next that is stored; it waits for this now.
                    self.store.flush();
                    self.store.wait(ticket).await;
                }
                TakenUp::Wrong(ours) => return Err(NotResumed::Over(Some(ours))),
                TakenUp::Late => return Err(NotResumed::Over(None)),
                TakenUp::Nothing => {
                    return Err(NotResumed::Over(self.account_for(&cell, id, handled).await?));
                }
            }
        }
    }

    /// One try. `is_counted`: in an earlier one, the client's count was heard and stored.
    fn take_up(
        &self,
        cell: &Arc<Cell>,
        login: &Login,
        id: SessionId,
        handled: u32,
        is_counted: &mut bool,
        connection: Connection,
    ) -> TakenUp {
        let mut account = cell.lock();
        if !account.admits_login(connection.number, login.proof) {
            return TakenUp::Nothing;
        }
        let Some(session) = account.session_mut(id) else { return TakenUp::Nothing };
        if session.connection_number() > Some(connection.number) {
            return TakenUp::Late;
        }
        if let Some(reason) = session.closing.clone() {
            // Not all was queued for it any more: only a new session begins where its device is.
            drop(account);
            self.end_with(cell, id, Some(reason));
            return TakenUp::Nothing;
        }
        let Some(management) =
            session.management.as_mut().filter(|management| !management.resume_for.is_zero())
        else {
            return TakenUp::Nothing;
        };
        // `h` of `<resumed/>` promises as much as an acknowledgement does (promise P2).
        let ours = management.handled;
        if std::mem::replace(&mut management.journaled, ours) != ours {
            let ticket =
                self.commit(&mut account, vec![Write::SessionHandled { session: id, handled: ours }]);
            if let Some(session) = account.session_mut(id) {
                session.last_ticket = session.last_ticket.max(ticket);
            }
            return TakenUp::Waits(ticket);
        }
        if session.last_ticket > self.store.durable() {
            return TakenUp::Waits(session.last_ticket);
        }
        if !std::mem::replace(is_counted, true) {
            // A count above what was sent means that this is not the client we spoke with.
            let Ok(covers) = session.outbox.acknowledge(handled) else { return TakenUp::Wrong(ours) };
            let device = session.device;
            self.move_cursor(&mut account, device, covers);
            // The client is not going to tell its count again, whatever happens to the server. It may have told it on
            // the connection that broke, too.
            return TakenUp::Waits(account.store_moved(|commit| self.store.submit(commit)));
        }
        self.note_login(&mut account, id, login);
        self.hand_over(cell, account, id, connection, ours)
    }

    /// What the device of a session has shown now, and says of itself.
    fn note_login(&self, account: &mut Account, id: SessionId, login: &Login) {
        let device = account.session(id).map(|session| session.device);
        let Some(device) = device.and_then(|device| account.device(device)) else { return };
        let (id, before) = (device.id, device.access.as_deref());
        let access = self.noted(account, before, login, None);
        let writes = access.and_then(|access| account.set_access(id, access)).into_iter().collect();
        self.commit(account, writes);
    }

    /// Gives the session to another connection.
    fn hand_over(
        &self,
        cell: &Arc<Cell>,
        mut account: MutexGuard<'_, Account>,
        id: SessionId,
        connection: Connection,
        ours: u32,
    ) -> TakenUp {
        let number = connection.number;
        // A connection that is still there is a dead one, or another client's: it has to go.
        if let Some(old) = account.session(id)
            && let Some(replaced) = old.connection_number()
            && let Some(key) = account.device(old.device).map(|device| device.key.clone())
        {
            self.give_reason(replaced, account.reason_to_give_way(id, &key, self.clock.elapsed()));
        }
        let Some(session) = account.session_mut(id) else { return TakenUp::Nothing };
        session.wake();
        session.link = link(connection);
        session.outbox.rewind();
        // XEP-0352 §5.2: a resumed stream begins in the active state.
        session.set_inactive(false);
        session.release();
        if let Some(management) = &mut session.management {
            management.is_asked = false;
            management.answers.clear();
        }
        let jid = session.jid.clone();
        account.touched = self.clock.elapsed();
        account.woken = Ticket::NONE;
        self.wake_when_settled(&mut account, Ticket::NONE);
        drop(account);
        TakenUp::Session(SessionRef { cell: cell.clone(), id, jid, connection: number }, ours)
    }

    /// A session of an earlier run that nothing is left of but its accounts: what was handled of the client's, and by
    /// the client's own count, what it has of the log. Exact after any crash (promise P4).
    async fn account_for(
        &self,
        cell: &Arc<Cell>,
        id: SessionId,
        handled: u32,
    ) -> Result<Option<u32>, StoreError> {
        // The session may have ended a moment ago.
        self.settled(cell).await;
        let found = self.store.session(id).await?;
        let Some((_, record)) = found.filter(|(owner, _)| *owner == cell.jid) else { return Ok(None) };
        let cursor = cell.lock().device(record.device).map(|device| device.cursor);
        let Some(cursor) = cursor else { return Ok(None) };
        let caught_up = self.caught_up(cell.id, id, handled).await?;
        let received = self.store.received_by(cell.id, id, handled, cursor).await?.max(caught_up);
        let stored = {
            let mut account = cell.lock();
            self.move_cursor(&mut account, record.device, received);
            account.store_moved(|commit| self.store.submit(commit))
        };
        // The client is not going to tell its count again, whatever happens to the server.
        self.store.wait(stored).await;
        Ok(Some(record.handled))
    }
}
