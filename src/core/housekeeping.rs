//! What happens without anybody asking: deadlines pass, cursors are stored, accounts leave the memory, the
//! server stops and starts.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use unisono_xml::Element;

use crate::account::Cell;
use crate::error::StreamCondition;
use crate::extension::Moment;
use crate::hub::{Farewell, Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::presence::Who;
use crate::session::{Link, Session};
use crate::snapshot;
use crate::storage::{Access, AccountState, SessionRecord, StoreError, Write};
use crate::subscription;

impl Hub {
    /// To be called about once a second.
    pub fn sweep(self: &Arc<Self>) {
        self.expire_sessions();
        self.expire_questions();
        self.expire_questions_afar();
        self.work_on(Moment::Now);
        self.evict_idle();
    }

    /// Sessions that nobody came back to are over, and those for which too much has come.
    fn expire_sessions(&self) {
        let now = self.clock.elapsed();
        let detached = self.detached_list().clone();
        let is_over = |(until, cell, id): &(Duration, Arc<Cell>, SessionId)| {
            let account = cell.lock();
            let session = account.session(*id);
            session.is_none_or(|session| match session.link {
                Link::Detached { until: current } if current == *until => {
                    now >= current || session.closing.is_some()
                }
                // It was taken up, and perhaps broke again.
                Link::Detached { .. } | Link::Connected { .. } => true,
            })
        };
        let over: Vec<_> = detached.into_iter().filter(is_over).collect();
        if over.is_empty() {
            return;
        }
        let known: HashSet<_> = over.iter().map(|(until, _, id)| (*until, *id)).collect();
        self.detached_list().retain(|(until, _, id)| !known.contains(&(*until, *id)));
        for (until, cell, id) in over {
            let still = matches!(cell.lock().session(id).map(|session| &session.link), Some(Link::Detached { until: current }) if *current == until);
            if still {
                self.end(&cell, id);
            }
        }
    }

    /// Cursors that moved are stored, many at a time: nobody waits for them. To be called some times in a second: so
    /// much of its offline messages a device without stream management may get again after a crash.
    pub fn store_cursors(&self) -> Ticket {
        let moved = std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner));
        let mut last = Ticket::NONE;
        for cell in moved {
            last = last.max(cell.lock().store_moved(|commit| self.store.submit(commit)));
        }
        self.store.flush();
        last
    }

    /// The server stops: connections have ended, sessions that can be resumed are saved, everything is durable.
    pub async fn save(self: &Arc<Self>) {
        self.work_on(Moment::Last);
        let mut last = self.store_cursors();
        let residents = self.residents();
        last = last.max(self.services_written());
        for cell in &residents {
            self.end_what_fell_behind(cell);
        }
        for cell in residents {
            let mut account = cell.lock();
            account.close_log();
            let resumable = account.sessions.iter().filter(|session| session.is_resumable());
            let writes = resumable
                .map(|session| Write::Session { account: cell.id, session: saved(session) })
                .collect();
            last = last.max(self.commit(&mut account, writes)).max(account.last_ticket);
        }
        self.store.wait(last).await;
    }

    /// Sessions that are about to end have holes, so they are not saved.
    fn end_what_fell_behind(&self, cell: &Arc<Cell>) {
        let closing: Vec<_> = {
            let account = cell.lock();
            let closing = account.sessions.iter().filter(|session| session.closing.is_some());
            closing.map(|session| session.id).collect()
        };
        for id in closing {
            self.end(cell, id);
        }
    }

    /// The server starts: accounts with saved sessions are loaded, so that what others send to them waits there.
    pub async fn restore(&self) -> Result<usize, StoreError> {
        let accounts = self.store.saved().await?;
        let count = accounts.len();
        for jid in accounts {
            self.account(&jid).await?;
        }
        Ok(count)
    }

    /// Takes up the sessions that a clean stop saved. The saved copy is used up: after a crash it would be wrong.
    pub(crate) fn restore_sessions(&self, cell: &Arc<Cell>, records: Vec<SessionRecord>) {
        let mut account = cell.lock();
        let mut writes = Vec::new();
        for record in records {
            let Some(text) = &record.snapshot else { continue };
            let until = self.clock.elapsed().saturating_add(self.settings.resume_for);
            let link = Link::Detached { until };
            let bytes_max = self.settings.outbox_bytes_max;
            let saved = snapshot::read(text, &record, &cell.jid, &self.registry, link, bytes_max);
            if let Some(mut session) = saved {
                session.interests = self.interest_list(session.interests.to_vec());
                self.detached_list().push((until, cell.clone(), record.id));
                account.sessions.push(session);
            } else {
                tracing::error!(account = %cell.jid, "cannot read a saved session");
                account.over.push((record.device, record.id)); // its client still learns what arrived
            }
            writes.push(Write::Session {
                account: cell.id,
                session: SessionRecord { snapshot: None, ..record },
            });
        }
        self.commit(&mut account, writes);
    }

    /// The account was changed by the operator: its sessions end.
    pub fn end_sessions(&self, cell: &Arc<Cell>, reason: &StreamCondition) -> usize {
        let sessions: Vec<SessionId> = cell.lock().sessions.iter().map(|session| session.id).collect();
        for id in &sessions {
            self.end_with(cell, *id, Some(reason.clone()));
        }
        sessions.len()
    }

    /// The operator allows or forbids the account to log in.
    pub fn state_changed(&self, cell: &Arc<Cell>, state: AccountState) {
        cell.lock().state = state;
        self.bar_logins(cell);
        if state == AccountState::Disabled {
            self.end_tokens(cell);
            self.end_sessions(cell, &StreamCondition::NotAuthorized);
        }
    }

    /// The user of a session changed the password: as [`Self::password_changed`], but this session goes on.
    pub fn password_changed_by(&self, acting: &SessionRef, passwords: i64) {
        {
            let mut account = acting.cell.lock();
            account.passwords = passwords;
            // Who changed it has it.
            let device = account.session(acting.id).map(Session::device);
            let known = device.map(|device| (device, account.access(device)));
            let write = known.and_then(|(device, access)| {
                account.set_access(device, Access { password: Some(passwords), ..access })
            });
            self.commit(&mut account, write.into_iter().collect());
        }
        self.bar_logins(&acting.cell);
        self.end_others(acting);
    }

    fn end_others(&self, acting: &SessionRef) {
        let sessions: Vec<_> = acting.cell.lock().sessions.iter().map(|session| session.id).collect();
        for id in sessions.into_iter().filter(|id| *id != acting.id) {
            self.end_with(&acting.cell, id, Some(StreamCondition::NotAuthorized));
        }
    }

    /// The user of a session removes the account, as [`Self::remove_account`]; when that is done, the session is told so
    /// and ends like the others (XEP-0077 §3.2). To be carried to its end, though the session ends.
    ///
    /// # Errors
    ///
    /// The store failed, and the session has ended all the same where it was too late to go back.
    pub async fn remove_own_account(
        self: &Arc<Self>,
        acting: &SessionRef,
        last_word: Element,
    ) -> Result<(), StoreError> {
        let _leaving = Leaving::new(self, &acting.cell);
        let waker = acting.cell.lock().session(acting.id).and_then(Session::waker);
        self.farewells().insert(acting.connection, None);
        let removed = self.remove_now(&acting.cell).await;
        let (said, reason) = match &removed {
            Ok(()) => (Some(last_word), StreamCondition::NotAuthorized),
            Err(error) => {
                tracing::error!(account = %acting.cell.jid, %error, "cannot remove an account");
                (None, StreamCondition::InternalServerError)
            }
        };
        // Who has left meanwhile is told nothing.
        if let Some(farewell) = self.farewells().get_mut(&acting.connection) {
            *farewell = Some(Farewell { said, reason });
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        removed
    }

    /// The password is another one, and was changed so often: whoever authenticated with the old one has to do so again, and
    /// the tokens that they were given are not trusted any more.
    pub fn password_changed(&self, cell: &Arc<Cell>, passwords: i64) {
        cell.lock().passwords = passwords;
        self.bar_logins(cell);
        self.end_sessions(cell, &StreamCondition::NotAuthorized);
    }

    /// Removes an account with all that it has: contacts lose it, sessions end, nobody logs in or writes to it any
    /// more.
    ///
    /// # Errors
    ///
    /// The store failed. The account may have lost a part of its log, and can be removed again.
    pub async fn remove_account(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), StoreError> {
        let _leaving = Leaving::new(self, cell);
        self.remove_now(cell).await
    }

    async fn remove_now(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), StoreError> {
        let agreed: Vec<_> = {
            let account = cell.lock();
            let contacts =
                account.roster.values().map(|item| (item.jid.clone(), subscription::remove(item.state)));
            contacts.filter(|(_, removal)| !removal.send.is_empty()).collect()
        };
        let mut ticket = Ticket::NONE;
        for (contact, removal) in agreed {
            let other = self.account(&contact).await?;
            let told = self.agree(cell, &contact, other.as_ref(), |deal| {
                deal.withdraw(Who::User, &removal);
                Ok(())
            });
            ticket = ticket.max(told.unwrap_or_default());
        }
        cell.lock().is_gone = true;
        self.end_sessions(cell, &StreamCondition::NotAuthorized);
        self.forget(&cell.jid);
        let ticket = ticket.max(cell.lock().last_ticket);
        self.store.wait(ticket).await;
        for removed in &self.registry.removed {
            removed(self.clone(), cell.jid.clone()).await?;
        }
        self.store.delete(&cell.jid).await
    }
}

/// An account that is being removed, until it is or somebody gave up.
struct Leaving<'a> {
    hub: &'a Hub,
    cell: &'a Cell,
}

impl<'a> Leaving<'a> {
    fn new(hub: &'a Hub, cell: &'a Cell) -> Self {
        hub.leaving().insert(cell.jid.clone());
        Self { hub, cell }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.hub.forget(&self.cell.jid);
        self.hub.leaving().remove(&self.cell.jid);
    }
}

fn saved(session: &Session) -> SessionRecord {
    SessionRecord {
        id: session.id,
        device: session.device,
        resource: session.jid.resource().into(),
        handled: session.management.as_ref().map_or(0, |management| management.handled),
        snapshot: Some(snapshot::write(session)),
    }
}
