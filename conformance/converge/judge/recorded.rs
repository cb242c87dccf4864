//! P2: what is acknowledged is recorded, and what is delivered.

use super::super::cast::UserNo;
use super::super::history::{Fact, Way};
use super::case::Case;
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for letter in case.letters.values() {
        for user in letter.people() {
            let Some(log) = case.log(user).filter(|log| log.is_whole) else { continue };
            if log.position(letter.id).is_some() {
                continue;
            }
            let name = case.cast.user(user);
            let is_excused = letter.refused.is_some() && case.could_not_be_taken(letter);
            if is_excused && !was_delivered(case, letter.id, user) {
                // Its sender knows.
            } else if letter.acknowledged.is_some() && letter.refused.is_none() {
                let text = format!("{} was acknowledged, and {name}'s archive does not have it", letter.id);
                violations.push(case.violation(Rule::LostAfterAck, None, &[letter.id], text));
            } else if let Some((device, _)) = first_live(case, letter.id) {
                let who = case.cast.name(device);
                let text = format!("{who} saw {}, and {name}'s archive does not have it", letter.id);
                violations.push(case.violation(Rule::DeliveredNotRecorded, Some(device), &[letter.id], text));
            }
        }
        if let Some(xml) = letter.refused.filter(|_| !case.could_not_be_taken(letter)) {
            let text = format!("{} came back as an error: {xml}", letter.id);
            violations.push(case.violation(Rule::Refused, Some(letter.by), &[letter.id], text));
        }
    }
    for (_, device, fact) in case.facts() {
        if let Fact::Forgotten { stanza_id } = fact {
            let who = case.cast.name(device);
            let text = format!("the archive does not know {stanza_id}, which {who} has seen");
            let id = case.views.get(device.0).and_then(|view| {
                view.seen.iter().find(|seen| seen.sight.stanza_id.as_ref() == Some(stanza_id))
            });
            let messages: Vec<&str> = id.iter().map(|seen| seen.sight.id.as_str()).collect();
            violations.push(case.violation(Rule::UnknownId, Some(device), &messages, text));
        }
    }
}

/// Whether a device of this person was sent it.
fn was_delivered(case: &Case<'_>, id: &str, user: UserNo) -> bool {
    case.players().filter(|(_, part, _)| part.user == user).any(|(_, _, view)| view.known.contains(id))
}

fn first_live(case: &Case<'_>, id: &str) -> Option<(super::super::cast::DeviceNo, super::case::Moment)> {
    let mut facts = case.facts();
    facts.find_map(|(moment, device, fact)| match fact {
        Fact::Saw(sight) if sight.id == id && sight.way != Way::Archive => Some((device, moment)),
        _ => None,
    })
}
