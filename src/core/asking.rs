//! What the server asks a device: an iq from the account's own bare JID, and the device's answer (RFC 6120 §8.2.3).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use unisono_xml::Element;

use crate::account::{Account, Cell};
use crate::hub::{Hub, SessionRef};
use crate::ids::SessionId;
use crate::outbox::Entry;
use crate::session::Session;
use crate::stanza::{Iq, IqType, NS_CLIENT};

/// Questions of the server that one session may have open.
const ASKED_MAX: usize = 8;
/// Who has not answered until then is not going to.
const PATIENCE: Duration = Duration::from_secs(60);

/// There is no answer: an error, an empty result, silence until the time was over, or the session has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoAnswer;

/// What is done with an answer, the child of the result. No account is locked then.
pub type Answered = Box<dyn FnOnce(&Arc<Hub>, &SessionRef, Result<Element, NoAnswer>) + Send>;

/// A question that a session was asked.
pub(crate) struct Asked {
    id: CompactString,
    then: Answered,
}

/// When a question becomes void, and where it is.
struct Deadline {
    until: Duration,
    cell: Arc<Cell>,
    session: SessionId,
    id: CompactString,
}

/// What all questions share.
#[derive(Default)]
pub(crate) struct Questions {
    /// The oldest first: all have the same time.
    deadlines: Mutex<VecDeque<Deadline>>,
    /// Those of sessions that have ended.
    given_up: Mutex<Vec<(SessionRef, Asked)>>,
}

impl Questions {
    fn deadlines(&self) -> MutexGuard<'_, VecDeque<Deadline>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn given_up(&self) -> MutexGuard<'_, Vec<(SessionRef, Asked)>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Asks the client of a session something, by an iq of type `get` from the bare JID of its account. `then` gets the
    /// answer: of that session, to that id, once, within a minute; or [`NoAnswer`]. Whether it was asked: a session
    /// without a connection is not, nor one that has too many questions open, and `then` is dropped.
    pub fn ask_device(&self, session: &SessionRef, payload: Element, then: Answered) -> bool {
        let id = CompactString::from(format!("{:x}-{:x}", self.random_id(), self.random_id()));
        let mut account = session.cell.lock();
        let own = account.jid.clone();
        let found = account.session_mut(session.id);
        let Some(found) = found.filter(|found| found.is_connected() && found.closing.is_none()) else {
            return false;
        };
        if found.asked.len() >= ASKED_MAX {
            return false;
        }
        let question = Element::builder("iq", NS_CLIENT)
            .attr("type", "get")
            .attr("id", id.clone())
            .attr("from", own.as_str())
            .attr("to", found.jid.as_str())
            .child(payload)
            .build();
        found.asked.push(Asked { id: id.clone(), then });
        found.queue(Entry::stanza(question), &self.registry.filter);
        found.wake();
        drop(account);
        let until = self.clock.elapsed().saturating_add(PATIENCE);
        let deadline = Deadline { until, cell: session.cell.clone(), session: session.id, id };
        self.questions.deadlines().push_back(deadline);
        true
    }

    /// A result or an error that a client sent to its own account. If that was not asked for, nobody learns of it.
    pub(crate) fn take_answer(self: &Arc<Self>, origin: &SessionRef, iq: &Iq) {
        let asked = {
            let mut account = origin.cell.lock();
            let session = account.session_mut(origin.id);
            session.zip(iq.header.id.as_deref()).and_then(|(session, id)| session.take_asked(id))
        };
        let Some(Asked { then, .. }) = asked else { return };
        let payload = iq.payload.elements().first().filter(|_| iq.kind == IqType::Result);
        then(self, origin, payload.cloned().ok_or(NoAnswer));
    }

    /// A session ends: what it was asked is not going to be answered.
    pub(crate) fn give_up(&self, cell: &Arc<Cell>, session: &mut Session) {
        if session.asked.is_empty() {
            return;
        }
        let of = SessionRef::to(cell, session);
        let asked = std::mem::take(&mut session.asked);
        self.questions.given_up().extend(asked.into_iter().map(|asked| (of.clone(), asked)));
    }

    /// Tells those who wait for an answer that there is none, once the time is over or the session.
    pub(crate) fn expire_questions(self: &Arc<Self>) {
        let mut void = std::mem::take(&mut *self.questions.given_up());
        let now = self.clock.elapsed();
        loop {
            let due = {
                let mut deadlines = self.questions.deadlines();
                let is_due = deadlines.front().is_some_and(|question| question.until <= now);
                if is_due { deadlines.pop_front() } else { None }
            };
            let Some(Deadline { cell, session, id, .. }) = due else { break };
            let mut account = cell.lock();
            let Some(session) = account.session_mut(session) else { continue };
            if let Some(asked) = session.take_asked(&id) {
                void.push((SessionRef::to(&cell, session), asked));
            }
        }
        for (session, asked) in void {
            (asked.then)(self, &session, Err(NoAnswer));
        }
    }
}

impl Session {
    /// Each question is answered once.
    fn take_asked(&mut self, id: &str) -> Option<Asked> {
        let index = self.asked.iter().position(|asked| asked.id == id)?;
        Some(self.asked.swap_remove(index))
    }
}

impl SessionRef {
    /// A session, as its connection holds it, if it has one.
    pub(crate) fn to(cell: &Arc<Cell>, session: &Session) -> Self {
        let connection = session.connection_number().unwrap_or(0);
        Self { cell: cell.clone(), id: session.id, jid: session.jid.clone(), connection }
    }

    /// The session as its connection holds it now, if it has not ended.
    pub fn renewed(&self, account: &Account) -> Option<Self> {
        account.session(self.id).map(|session| Self::to(&self.cell, session))
    }
}
