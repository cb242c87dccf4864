//! P4: sessions outlive connections, and servers that stop; and nothing hangs or ends without a cause.

use super::super::cast::DeviceNo;
use super::super::history::{End, Event, Fact};
use super::case::{Case, Moment};
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    let mut states: Vec<State> = case.cast.devices().map(|_| State::default()).collect();
    let mut is_up = true;
    for (moment, event) in case.events.iter().enumerate() {
        match event {
            Event::ServerKilled | Event::ServerStopping => {
                is_up = false;
                for state in &mut states {
                    state.connection.has_cause = true;
                    let is_killed = *event == Event::ServerKilled;
                    state.connection.was_killed |= is_killed;
                    state.session.was_killed |= is_killed;
                }
            }
            Event::ServerStarted => is_up = true,
            Event::SettleBegan => {}
            Event::StoreFailed => {
                for state in &mut states {
                    state.connection.store_failed = true;
                    state.session.store_failed = true;
                }
            }
            Event::NetworkLost(device) => {
                if let Some(Connection { has_cause, is_lost, .. }) =
                    states.get_mut(device.0).map(|state| &mut state.connection)
                {
                    (*has_cause, *is_lost) = (true, true);
                }
            }
            Event::Device(device, fact) => {
                if let Some(state) = states.get_mut(device.0) {
                    state.learn(case, moment, *device, fact, is_up, violations);
                }
            }
        }
    }
}

/// What is known of a device.
#[derive(Default)]
struct State {
    connection: Connection,
    session: Session,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "what happened to a connection, each by itself")]
struct Connection {
    /// Something happened since it was made that may end it.
    has_cause: bool,
    /// The network failed since the last one ended; a connection that is being made fails with it.
    is_lost: bool,
    /// The server could not read its store since it was made, and may say so.
    store_failed: bool,
    /// The server that it was made to was killed. What that one had sent may still be under way.
    was_killed: bool,
}

#[derive(Default)]
struct Session {
    /// The server was killed since it began or was resumed.
    was_killed: bool,
    /// A message of it was acknowledged.
    is_acknowledged: bool,
    /// The server could not read its store since it began. A resumed stream may still bring what it said of it.
    store_failed: bool,
}

impl State {
    fn learn(
        &mut self,
        case: &Case<'_>,
        moment: Moment,
        device: DeviceNo,
        fact: &Fact,
        is_up: bool,
        violations: &mut Vec<Violation>,
    ) {
        let who = case.cast.name(device);
        let mut tell = |rule, text: String| {
            let mut violation = case.violation(rule, Some(device), &[], text);
            violation.evidence = surroundings(case, moment, device);
            violations.push(violation);
        };
        let State { connection, session } = self;
        let had_cause = connection.has_cause || !is_up;
        match fact {
            Fact::Connected => {
                connection.has_cause = !is_up || connection.is_lost;
                (connection.store_failed, connection.was_killed) = (false, !is_up);
            }
            Fact::Ended(_) => connection.is_lost = false,
            Fact::Bound => {
                let (was_killed, store_failed) = (connection.was_killed, connection.store_failed);
                *session = Session { was_killed, store_failed, is_acknowledged: false };
            }
            Fact::Resumed => session.was_killed = connection.was_killed,
            Fact::Acknowledged { .. } => session.is_acknowledged = true,
            Fact::NotResumed { handled } => {
                if !session.was_killed {
                    tell(
                        Rule::NotResumed,
                        format!("{who} could not resume, though the server was not killed"),
                    );
                } else if handled.is_none() && session.is_acknowledged {
                    tell(Rule::NoCount, format!("{who} could not resume, and is not told what had arrived"));
                }
            }
            Fact::WrongCount { handled, acknowledged, sent } => {
                let text = format!(
                    "{who} is told that {handled} of {sent} were handled, {acknowledged} were acknowledged"
                );
                tell(Rule::WrongCount, text);
            }
            Fact::Stuck { what } => tell(Rule::Stuck, format!("{who}: {what}")),
            Fact::Failed { what } if !connection.store_failed && !session.store_failed => {
                tell(Rule::Odd, format!("{who}: {what}"));
            }
            Fact::Odd { what } => tell(Rule::Odd, format!("{who}: {what}")),
            _ => {}
        }
        if let Fact::Ended(End::Closed(error) | End::Broken(error)) = fact
            && !had_cause
            && !(connection.store_failed && error.as_deref() == Some("internal-server-error"))
        {
            let error = error.as_deref().unwrap_or("no error");
            tell(Rule::Ended, format!("the server ended the stream of {who} without a cause: {error}"));
        }
    }
}

/// The last that happened to a device up to a moment, and to its server.
fn surroundings(case: &Case<'_>, moment: Moment, device: DeviceNo) -> Vec<String> {
    let concerns = |event: &Event| match event {
        Event::Device(other, _) | Event::NetworkLost(other) => *other == device,
        Event::SettleBegan => false,
        Event::ServerKilled | Event::ServerStopping | Event::ServerStarted | Event::StoreFailed => true,
    };
    let before = case.events.iter().enumerate().take(moment.saturating_add(1));
    let all: Vec<_> = before.filter(|(_, event)| concerns(event)).collect();
    let last = all.iter().skip(all.len().saturating_sub(12));
    last.map(|(at, event)| format!("#{at} {}", event.say(case.cast))).collect()
}
