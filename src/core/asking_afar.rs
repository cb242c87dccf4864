//! What the server asks other domains: an iq from one of its own addresses, and the answer to it (RFC 6120 §8.2.3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use unisono_xml::Element;

use crate::error::{Condition, StanzaError};
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::{BareJid, Jid};
use crate::remote::unreached;
use crate::stanza::{Iq, IqType, NS_CLIENT};

/// Questions of the whole server that may be open.
const ASKED_MAX: usize = 20_000;
/// Of these, those to one domain: one that is silent is not to keep the others from being asked.
const OF_DOMAIN_MAX: usize = 4_000;
/// Who has not answered until then is not going to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoResult {
    /// An error, of the one who was asked or of the way to there.
    Refused(StanzaError),
    /// Silence until the time was over.
    Silence,
}

/// What is done with an answer: the child of the result, if it has one. No account is locked then.
pub type AnsweredAfar = Box<dyn FnOnce(&Arc<Hub>, Result<Option<Element>, NoResult>) + Send>;

/// A question that somebody was asked.
struct Asked {
    from: BareJid,
    whom: Jid,
    until: Duration,
    then: AnsweredAfar,
}

/// All that are open.
#[derive(Default)]
pub(crate) struct QuestionsAfar(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_id: HashMap<String, Asked>,
    /// How many, by domain.
    of_domain: HashMap<String, usize>,
}

impl QuestionsAfar {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn has_room(&self, domain: &str) -> bool {
        let of_domain = self.of_domain.get(domain).copied().unwrap_or(0);
        self.by_id.len() < ASKED_MAX && of_domain < OF_DOMAIN_MAX
    }

    fn insert(&mut self, id: String, asked: Asked) {
        let count = self.of_domain.entry(asked.whom.domain().to_owned()).or_default();
        *count = count.saturating_add(1);
        self.by_id.insert(id, asked);
    }

    fn remove(&mut self, id: &str) -> Option<Asked> {
        let asked = self.by_id.remove(id)?;
        if let Some(count) = self.of_domain.get_mut(asked.whom.domain()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_domain.remove(asked.whom.domain());
            }
        }
        Some(asked)
    }
}

impl Hub {
    /// Asks somebody of another domain something, by an iq of type `set` from an address of ours, when `after` is durable.
    /// `then` gets the answer: from the very address that was asked, to that id, once, within a minute.
    ///
    /// # Errors
    ///
    /// It cannot be asked now, and `then` is dropped: there is no way to there, or too much waits already.
    pub fn ask_afar(
        &self,
        from: &BareJid,
        whom: &Jid,
        payload: Element,
        after: Ticket,
        then: AnsweredAfar,
    ) -> Result<(), Condition> {
        let route = self.routes.find(whom.domain());
        let open = route.as_ref().filter(|route| route.has_room());
        let open = open.ok_or_else(|| unreached(route.as_ref()))?;
        let id = self.random_name();
        let question = Element::builder("iq", NS_CLIENT)
            .attr("type", "set")
            .attr("id", id.as_str())
            .attr("from", from.as_str())
            .attr("to", whom.as_str())
            .child(payload)
            .build();
        {
            let mut questions = self.questions_afar.open();
            if !questions.has_room(whom.domain()) {
                return Err(Condition::ResourceConstraint);
            }
            let until = self.clock.elapsed().saturating_add(PATIENCE);
            // Before it is sent: the answer may be quick.
            questions.insert(id.clone(), Asked { from: from.clone(), whom: whom.clone(), until, then });
        }
        if open.send(&question, after) {
            return Ok(());
        }
        self.questions_afar.open().remove(&id);
        Err(Condition::ResourceConstraint)
    }

    /// A result or an error from another domain, to the server or to an account. If that was not asked for, or another was
    /// asked, nobody learns of it.
    pub(crate) fn take_answer_from_afar(self: &Arc<Self>, iq: &Iq) {
        let Some(id) = iq.header.id.as_deref() else { return };
        let is_it = |asked: &Asked| {
            asked.whom == iq.header.from && iq.header.to.as_ref() == Some(&asked.from.clone().into())
        };
        let asked = {
            let mut questions = self.questions_afar.open();
            let known = questions.by_id.get(id).is_some_and(is_it);
            if known { questions.remove(id) } else { None }
        };
        let Some(Asked { then, .. }) = asked else { return };
        let mut children = iq.payload.elements().iter();
        let answer = if iq.kind == IqType::Result {
            Ok(children.next().cloned())
        } else {
            let error = children.find_map(StanzaError::parse);
            Err(NoResult::Refused(error.unwrap_or(StanzaError::new(Condition::UndefinedCondition))))
        };
        then(self, answer);
    }

    /// Tells those who wait for an answer that there is none.
    pub(crate) fn expire_questions_afar(self: &Arc<Self>) {
        let now = self.clock.elapsed();
        let void: Vec<_> = {
            let mut questions = self.questions_afar.open();
            let over = questions.by_id.iter().filter(|(_, asked)| asked.until <= now);
            let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
            over.iter().filter_map(|id| questions.remove(id)).map(|asked| asked.then).collect()
        };
        for then in void {
            then(self, Err(NoResult::Silence));
        }
    }
}
