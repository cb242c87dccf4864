//! The history in an order that questions can be asked in.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::cast::{Cast, DeviceNo, Part, UserNo};
use super::super::content::Content;
use super::super::device::Accounts;
use super::super::history::{End, Event, Fact, History, Sight, Way, brief};
use super::verdict::{Rule, Violation};

/// The index of an event: what happened before has a smaller one.
pub(super) type Moment = usize;

/// A message that some device gave to a connection.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) id: &'a str,
    pub(super) by: DeviceNo,
    pub(super) from: UserNo,
    pub(super) to: Option<UserNo>,
    pub(super) content: &'a Content,
    pub(super) first_sent: Moment,
    pub(super) acknowledged: Option<Moment>,
    pub(super) refused: Option<&'a str>,
    /// When another device saw it.
    pub(super) first_seen: Option<Moment>,
}

impl Letter<'_> {
    /// When it was certain that the server has it.
    pub(super) fn known(&self) -> Option<Moment> {
        [self.acknowledged, self.first_seen].into_iter().flatten().min()
    }

    /// The people whose logs it belongs to.
    pub(super) fn people(&self) -> impl Iterator<Item = UserNo> {
        let to = self.to.filter(|to| *to != self.from);
        std::iter::once(self.from).chain(to)
    }
}

/// The archive of an account, as it was read when all was over.
#[derive(Debug, Default)]
pub(super) struct Log<'a> {
    pub(super) entries: Vec<&'a Sight>,
    /// Where a message stands, the first time.
    pub(super) positions: HashMap<&'a str, usize>,
    /// It was read to its end. If not, nothing can be said of what it lacks.
    pub(super) is_whole: bool,
}

impl Log<'_> {
    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.positions.get(id).copied()
    }
}

/// A message as a device saw it, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) sight: &'a Sight,
    /// The number of the session.
    pub(super) session: usize,
}

/// A session of a device, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) began: Moment,
    pub(super) established: Option<Moment>,
    /// It was taken up again then.
    pub(super) resumed: Vec<Moment>,
    /// How its last connection ended.
    pub(super) end: Option<End>,
    /// The server has stopped as it should since then, and stored all that it knew of the session.
    is_saved: bool,
    /// The server was killed before that, and may have forgotten what it knew last.
    pub(super) was_killed: bool,
    /// The server knows that the device has its stanzas up to this number.
    pub(super) told: u32,
    /// Everything that the server knew before this moment had been delivered.
    pub(super) confirmed: Option<Moment>,
}

/// Everything that a device saw.
#[derive(Debug, Default)]
pub(super) struct View<'a> {
    pub(super) seen: Vec<Seen<'a>>,
    /// The messages that it saw at all.
    pub(super) known: HashSet<&'a str>,
    pub(super) sessions: Vec<Session>,
    pub(super) caught_up: Vec<Moment>,
    /// The connection that there is now, or was last, has a session.
    is_bound: bool,
}

pub(super) struct Case<'a> {
    pub(super) cast: &'a Cast,
    pub(super) accounts: &'a Accounts,
    pub(super) events: &'a [Event],
    pub(super) letters: BTreeMap<&'a str, Letter<'a>>,
    /// By the numbers of the people.
    pub(super) logs: Vec<Log<'a>>,
    /// By the numbers of the devices, auditors included.
    pub(super) views: Vec<View<'a>>,
}

impl<'a> Case<'a> {
    /// `cast` has its auditors.
    pub(super) fn new(cast: &'a Cast, accounts: &'a Accounts, history: &'a History) -> Self {
        let mut new = Self {
            cast,
            accounts,
            events: &history.events,
            letters: BTreeMap::new(),
            logs: Vec::new(),
            views: cast.devices().map(|_| View::default()).collect(),
        };
        new.read_letters();
        new.read_views();
        new.read_logs();
        new
    }

    /// Facts of devices, with their moments.
    pub(super) fn facts(&self) -> impl Iterator<Item = (Moment, DeviceNo, &'a Fact)> + use<'a> {
        self.events.iter().enumerate().filter_map(|(moment, event)| match event {
            Event::Device(device, fact) => Some((moment, *device, fact)),
            _ => None,
        })
    }

    /// The devices that take part, with their views.
    pub(super) fn players(&self) -> impl Iterator<Item = (DeviceNo, &'a Part, &View<'a>)> {
        let players = self.cast.devices().zip(&self.views);
        players.filter(|((_, part), _)| part.kind.is_available()).map(|((no, part), view)| (no, part, view))
    }

    pub(super) fn log(&self, user: UserNo) -> Option<&Log<'a>> {
        self.logs.get(user.0)
    }

    /// The person of a JID.
    pub(super) fn user(&self, jid: &str) -> Option<UserNo> {
        let bare = jid.split('/').next().unwrap_or_default();
        let local = bare.strip_suffix(&self.accounts.domain)?.strip_suffix('@')?;
        let mut people = self.accounts.users.iter().take(self.cast.users.len());
        people.position(|account| account.local == local).map(UserNo)
    }

    /// It came back to somebody who does not count, because the server could not read its store when it came.
    pub(super) fn could_not_be_taken(&self, letter: &Letter<'_>) -> bool {
        let since = self.events.get(letter.first_sent..).unwrap_or_default();
        letter.refused.is_some_and(|xml| xml.contains("internal-server-error"))
            && self.cast.part(letter.by).is_some_and(|part| !part.kind.has_sm())
            && since.contains(&Event::StoreFailed)
    }

    fn read_letters(&mut self) {
        for (moment, device, fact) in self.facts() {
            match fact {
                Fact::Sent { id, to, content, .. } => {
                    let Some(part) = self.cast.part(device) else { continue };
                    let (from, to) = (part.user, self.user(to));
                    self.letters.entry(id).or_insert(Letter {
                        id,
                        by: device,
                        from,
                        to,
                        content,
                        first_sent: moment,
                        acknowledged: None,
                        refused: None,
                        first_seen: None,
                    });
                }
                Fact::Acknowledged { id } => {
                    if let Some(letter) = self.letters.get_mut(id.as_str()) {
                        letter.acknowledged = letter.acknowledged.or(Some(moment));
                    }
                }
                Fact::Refused { id, xml } => {
                    if let Some(letter) = self.letters.get_mut(id.as_str()) {
                        letter.refused = Some(xml);
                    }
                }
                Fact::Saw(sight) => {
                    if let Some(letter) = self.letters.get_mut(sight.id.as_str()) {
                        letter.first_seen = letter.first_seen.or(Some(moment));
                    }
                }
                _ => {}
            }
        }
    }

    fn read_views(&mut self) {
        let (mut settle_began, mut is_stopping) = (0, false);
        // What each device had told when the waiting began.
        let mut told_then: Vec<u32> = vec![0; self.views.len()];
        let mut told_now = told_then.clone();
        for (moment, event) in self.events.iter().enumerate() {
            let (device, fact) = match event {
                Event::Device(device, fact) => (*device, fact),
                Event::SettleBegan => {
                    settle_began = moment;
                    told_then.clone_from(&told_now);
                    continue;
                }
                Event::ServerStopping => {
                    is_stopping = true;
                    continue;
                }
                Event::ServerKilled | Event::ServerStarted => {
                    let was_stopped = std::mem::take(&mut is_stopping) && *event == Event::ServerStarted;
                    for session in self.views.iter_mut().flat_map(|view| &mut view.sessions) {
                        session.is_saved |= was_stopped;
                        session.was_killed |= *event == Event::ServerKilled && !session.is_saved;
                    }
                    continue;
                }
                Event::NetworkLost(_) | Event::StoreFailed => continue,
            };
            let Some(view) = self.views.get_mut(device.0) else { continue };
            let told = (told_then.get(device.0).copied(), told_now.get(device.0).copied());
            view.learn(moment, fact, settle_began, told.0.unwrap_or(0), told.1.unwrap_or(0));
            match fact {
                Fact::Told { number } => set(&mut told_now, device, *number),
                Fact::Bound => {
                    set(&mut told_now, device, 0);
                    set(&mut told_then, device, 0);
                }
                _ => {}
            }
        }
    }

    fn read_logs(&mut self) {
        for user in (0..self.cast.users.len()).map(UserNo) {
            let auditor =
                self.cast.devices().find(|(_, part)| part.user == user && !part.kind.is_available());
            let view = auditor.and_then(|(device, _)| self.views.get(device.0));
            let mut log =
                Log { is_whole: view.is_some_and(|view| !view.caught_up.is_empty()), ..Log::default() };
            let seen = view.into_iter().flat_map(|view| &view.seen);
            // What the server itself writes to people is none of our business.
            for Seen { sight, .. } in seen.filter(|seen| self.user(&seen.sight.from).is_some()) {
                log.positions.entry(&sight.id).or_insert(log.entries.len());
                log.entries.push(sight);
            }
            self.logs.push(log);
        }
    }

    /// A violation with all that is known of its messages.
    pub(super) fn violation(
        &self,
        rule: Rule,
        device: Option<DeviceNo>,
        messages: &[&str],
        text: impl Into<String>,
    ) -> Violation {
        let mut evidence = Vec::new();
        for id in messages {
            self.tell_of(id, device, &mut evidence);
        }
        let messages = messages.iter().map(ToString::to_string).collect();
        Violation { rule, device, messages, text: text.into(), evidence }
    }

    /// What was sent and seen of a message: in full where it was sent first, and on the device that matters.
    fn tell_of(&self, id: &str, whose: Option<DeviceNo>, lines: &mut Vec<String>) {
        let mut is_sent = false;
        for (moment, device, fact) in self.facts() {
            let name = self.cast.name(device);
            let what = match fact {
                Fact::Sent { id: other, .. } if other == id && is_sent => format!("sends {id} again"),
                Fact::Sent { id: other, xml, .. } if other == id => {
                    is_sent = true;
                    format!("sends {}", brief(xml))
                }
                Fact::Acknowledged { id: other } if other == id => format!("has {id} acknowledged"),
                Fact::Refused { id: other, xml } if other == id => format!("gets it back: {}", brief(xml)),
                Fact::Saw(sight) if sight.id == id => {
                    let way = match sight.way {
                        Way::Live(form) => format!("live ({form:?})"),
                        Way::Archive => "in the archive".to_owned(),
                    };
                    let stanza_id = sight.stanza_id.as_deref().unwrap_or("none");
                    let xml = if whose == Some(device) {
                        format!(": {}", brief(&sight.xml))
                    } else {
                        String::new()
                    };
                    format!("sees {id} {way}, stanza-id {stanza_id}{xml}")
                }
                _ => continue,
            };
            lines.push(format!("#{moment} {name} {what}"));
        }
    }
}

fn set(all: &mut [u32], device: DeviceNo, number: u32) {
    if let Some(slot) = all.get_mut(device.0) {
        *slot = number;
    }
}

impl<'a> View<'a> {
    fn learn(&mut self, moment: Moment, fact: &'a Fact, settle_began: Moment, told_then: u32, told_now: u32) {
        match fact {
            Fact::Connected => self.is_bound = false,
            Fact::Bound => {
                self.is_bound = true;
                self.sessions.push(Session { began: moment, ..Session::default() });
            }
            Fact::CaughtUp => self.caught_up.push(moment),
            Fact::Saw(sight) => {
                let session = self.sessions.len().saturating_sub(1);
                self.known.insert(&sight.id);
                self.seen.push(Seen { sight, session });
            }
            _ => {}
        }
        let Some(session) = self.sessions.last_mut() else { return };
        match fact {
            Fact::Established => session.established = session.established.or(Some(moment)),
            Fact::Resumed => {
                self.is_bound = true;
                session.resumed.push(moment);
                session.end = None;
                session.told = session.told.max(told_now);
            }
            // It was answered, so the server knows what the question said.
            Fact::NotResumed { .. } => session.told = session.told.max(told_now),
            Fact::Settled => {
                session.confirmed = Some(settle_began);
                session.told = session.told.max(told_then);
            }
            // A connection that came to no session ends none.
            Fact::Ended(end) if self.is_bound => {
                session.end = Some(end.clone());
                if *end == End::Left {
                    session.told = session.told.max(told_now);
                }
            }
            _ => {}
        }
    }

    /// Whether a session before this one ended without a good-bye.
    pub(super) fn was_broken(&self, session: usize) -> bool {
        let mut before = self.sessions.iter().take(session);
        before.any(|session| !matches!(session.end, Some(End::Left | End::Closed(_))))
    }

    /// Whether the device was there when all was over.
    pub(super) fn is_complete(&self) -> bool {
        self.sessions.last().is_some_and(|session| session.established.is_some())
    }
}
