//! What a device writes, and how long it keeps it.

use super::super::cast::{Kind, UserNo};
use super::super::content::{Content, Id};
use super::super::history::Fact;
use super::{Device, Settling, Stage};

/// A message that the device does not know to be taken.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) id: Id,
    to: String,
    content: Content,
    /// It was given to the connection that there is now.
    is_written: bool,
}

impl Letter {
    fn xml(&self) -> String {
        self.content.message(&self.to, &self.id)
    }
}

impl Device {
    /// Writes a message. What it is about has to be known; else nobody could have written it, and it is not.
    pub fn write(&mut self, id: Id, to: UserNo, content: Content) {
        if content.about().is_some_and(|about| !self.known.contains(about)) {
            return;
        }
        self.known.insert(id.clone());
        let to = self.accounts.jid(to);
        self.outbox.push_back(Letter { id, to, content, is_written: false });
        self.advance();
    }

    /// Says that somebody is typing.
    pub fn compose(&mut self, to: UserNo) {
        if self.stage == Stage::Online {
            let xml = Content::composing(&self.accounts.jid(to));
            self.send_stanza(None, xml);
        }
    }

    /// A receipt (XEP-0184 §5.3) for a message that came live.
    pub(super) fn confirm(&mut self, of: Id, from: &str) {
        self.receipts = self.receipts.saturating_add(1);
        let id = format!("r{}-{}-{}", self.part.user.0, self.part.resource, self.receipts);
        let to = from.split('/').next().unwrap_or_default().to_owned();
        self.known.insert(id.clone());
        self.outbox.push_back(Letter { id, to, content: Content::Receipt { of }, is_written: false });
    }

    /// Does what can be done now: letters, and the question that ends the waiting.
    pub(super) fn advance(&mut self) {
        if self.stage != Stage::Online {
            return;
        }
        // Who has the archive alone to tell what was taken must have read it before it sends anything again.
        if self.kind() != Kind::Mam || self.paging.is_none() {
            self.write_letters();
        }
        if !self.is_online() {
            return;
        }
        if self.settling == Settling::Wanted {
            let id = self.ping("settle");
            self.settling = Settling::Asked(id);
            self.ask();
        }
    }

    fn write_letters(&mut self) {
        let fresh: Vec<Letter> = self.outbox.iter().filter(|letter| !letter.is_written).cloned().collect();
        if fresh.is_empty() {
            return;
        }
        for letter in &fresh {
            self.note_sent(&letter.id);
            self.send_stanza(Some(letter.id.clone()), letter.xml());
        }
        for letter in &mut self.outbox {
            letter.is_written = true;
        }
        match self.kind() {
            // The answer to a request says that what was sent before it is taken.
            Kind::Mam => {
                let id = self.ping("taken");
                self.probes.push_back((id, fresh.into_iter().map(|letter| letter.id).collect()));
            }
            kind if kind.resends() => {}
            _ => self.outbox.clear(),
        }
    }

    /// Notes that a letter is given to a connection.
    pub(super) fn note_sent(&mut self, id: &Id) {
        let letter = self.outbox.iter().find(|letter| letter.id == *id).cloned();
        if let Some(letter) = letter {
            let xml = letter.xml().into();
            self.learn(Fact::Sent { id: letter.id, to: letter.to, content: letter.content, xml });
        }
    }

    /// A new session: what was not acknowledged has to be sent again.
    pub(super) fn unwrite_letters(&mut self) {
        for letter in &mut self.outbox {
            letter.is_written = false;
        }
    }

    /// Without acknowledgements and without an archive, what was written is gone.
    pub(super) fn forget_fire_and_forget(&mut self) {
        if !self.kind().resends() {
            self.outbox.retain(|letter| !letter.is_written);
        }
    }

    /// An answer came: the letters before its request are taken.
    pub(super) fn taken(&mut self, request: &str) {
        let Some(at) = self.probes.iter().position(|(id, _)| id == request) else { return };
        for (_, letters) in self.probes.drain(..=at) {
            self.outbox.retain(|letter| !letters.contains(&letter.id));
        }
    }

    /// The archive has it, so it was taken.
    pub(super) fn found_in_archive(&mut self, id: &Id) {
        if self.kind() == Kind::Mam {
            self.outbox.retain(|letter| letter.id != *id);
        }
    }

    /// The answer that ends the waiting came.
    pub(super) fn is_answered(&self) -> bool {
        self.settling == Settling::Answered
    }

    /// The answer that ends the waiting, perhaps.
    pub(super) fn answered(&mut self, request: &str) {
        if matches!(&self.settling, Settling::Asked(id) if id == request) {
            self.settling = Settling::Answered;
        }
    }

    /// It was answered, and everything is acknowledged.
    pub(super) fn check_settled(&mut self) {
        if !self.is_answered() || !self.is_online() {
            return;
        }
        let unacknowledged = self.management.as_ref().map_or(0, super::Management::unacknowledged);
        if unacknowledged == 0 && self.outbox.is_empty() && self.keeping.is_idle() {
            self.settling = Settling::Done;
            self.learn(Fact::Settled);
        } else {
            self.ask_for_the_rest();
        }
    }
}
