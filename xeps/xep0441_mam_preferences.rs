//! # XEP-0441: Message Archive Management Preferences
//!
//! Follows 0.2.0 (2020-08-25). A user decides whose messages the archive keeps.
//!
//! - Stage: `record`, after the votes: what the archive must not keep is delivered to every device, those that are away
//!   included, and then forgotten. State: the default, and two lists of addresses.
//! - Ours: of two entries for one address, the one with the resource decides; where both lists name it, `never`. Notes to
//!   oneself are in everybody's roster. Without a default of the user, the operator's holds.
//! - Left out: the form of §2.2, a MAY.

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{
    AccountState, Answer, Entity, Extension, Registry, Reply, Request, Side, Spec,
};
use unisono_core::hub::ArchivePolicy;
use unisono_core::jid::Jid;
use unisono_core::record::Keep;
use unisono_core::stanza::{IqType, Message};
use unisono_xml::Element;

use crate::xep0313_mam::{NS, refuse_others};

/// Addresses in one list.
const ITEMS_MAX: usize = 1_000;

pub struct ArchivePreferences;

impl Extension for ArchivePreferences {
    fn spec(&self) -> Spec {
        Spec::xep(441, "0.2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.account_state::<Preferences>();
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "prefs"), get);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "prefs"), set);
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "prefs"), refuse_others);
        on.iq(Entity::OtherAccount, IqType::Set, (NS, "prefs"), refuse_others);
        on.restrict(restrict);
    }
}

/// Whose messages the archive of an account keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// For everybody in neither list. `None` leaves it to the operator.
    default: Option<ArchivePolicy>,
    always: Vec<Jid>,
    never: Vec<Jid>,
}

impl AccountState for Preferences {
    const KIND: &'static str = "archive-preferences";

    fn decode(text: &str) -> Self {
        let mut preferences = Self::default();
        for (word, rest) in text.lines().filter_map(|line| line.split_once(' ')) {
            match word {
                "default" => preferences.default = ArchivePolicy::parse(rest),
                "always" => preferences.always.extend(rest.parse()),
                "never" => preferences.never.extend(rest.parse()),
                _ => {}
            }
        }
        preferences
    }

    fn encode(&self) -> String {
        let default = self.default.iter().map(|policy| format!("default {}\n", policy.as_str()));
        let always = self.always.iter().map(|jid| format!("always {jid}\n"));
        let never = self.never.iter().map(|jid| format!("never {jid}\n"));
        default.chain(always).chain(never).collect()
    }
}

impl Preferences {
    /// Reads what a client wants.
    fn parse(prefs: &Element) -> Result<Self, StanzaError> {
        // §2.1.1: one of three, and there.
        let default = prefs.attr("default").and_then(ArchivePolicy::parse);
        let default = default.ok_or(StanzaError::new(Condition::BadRequest))?;
        let (always, never) = (list(prefs, "always")?, list(prefs, "never")?);
        Ok(Self { default: Some(default), always, never })
    }

    fn to_element(&self, default: ArchivePolicy) -> Element {
        let list = |name, jids: &[Jid]| {
            let jids = jids.iter().map(|jid| Element::builder("jid", NS).text(jid.as_str()).build());
            Element::builder(name, NS).children(jids).build()
        };
        Element::builder("prefs", NS)
            .attr("default", self.default.unwrap_or(default).as_str())
            .child(list("always", &self.always))
            .child(list("never", &self.never))
            .build()
    }

    /// What the lists say about a peer (§2.3.1), if they name it.
    fn listed(&self, peer: &Jid) -> Option<bool> {
        let bare = Jid::from(peer.to_bare());
        [peer, &bare].into_iter().find_map(|jid| {
            let never = self.never.contains(jid).then_some(false);
            never.or(self.always.contains(jid).then_some(true))
        })
    }
}

/// §2.1.2 and §2.1.3: a list of addresses, each once. One that is missing is empty.
fn list(prefs: &Element, name: &str) -> Result<Vec<Jid>, StanzaError> {
    let mut jids = Vec::new();
    let items = prefs.child(name, NS).into_iter().flat_map(Element::children);
    for item in items.filter(|item| item.is("jid", NS)) {
        let jid = item.text().trim().parse().map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        if !jids.contains(&jid) {
            jids.push(jid);
        }
        if jids.len() > ITEMS_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
    }
    Ok(jids)
}

/// §2.1, example 1
fn get(request: &Request) -> Answer {
    let account = request.account()?;
    let preferences = account.state::<Preferences>().cloned().unwrap_or_default();
    Ok(Reply::with(preferences.to_element(account.settings().archive)))
}

/// §2.1, example 4: what holds from now on comes back.
fn set(request: &Request) -> Answer {
    let preferences = Preferences::parse(&request.payload)?;
    let mut account = request.account()?;
    let applied = preferences.to_element(account.settings().archive);
    let mut writes = Vec::new();
    account.set_state(preferences, &mut writes);
    let ticket = request.hub.commit(&mut account, writes);
    Ok(Reply::with(applied).after(ticket))
}

/// §2.1: what the user does not want archived is still delivered.
fn restrict(keep: Keep, message: &Message, account: &Account, side: Side) -> Keep {
    if keep == Keep::Archive && !is_archived(message, account, side) {
        return Keep::UntilDelivered;
    }
    keep
}

fn is_archived(message: &Message, account: &Account, side: Side) -> bool {
    let preferences = account.state::<Preferences>();
    // §2.3.2 and §2.3.3
    let peer = match side {
        Side::Sender => message.header.to.as_ref(),
        Side::Recipient => Some(&message.header.from),
    };
    let Some(peer) = peer else { return true };
    if let Some(listed) = preferences.and_then(|preferences| preferences.listed(peer)) {
        return listed;
    }
    match preferences.and_then(|preferences| preferences.default).unwrap_or(account.settings().archive) {
        ArchivePolicy::Always => true,
        ArchivePolicy::Never => false,
        ArchivePolicy::Roster => {
            let bare = peer.to_bare();
            bare == *account.jid() || account.contact(&bare).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::testing::{account, account_with, contact, element, message};

    fn prefs(default: &str, always: &[&str], never: &[&str]) -> Element {
        let list = |name, jids: &[&str]| {
            let jids = jids.iter().map(|jid| Element::builder("jid", NS).text(*jid).build());
            Element::builder(name, NS).children(jids).build()
        };
        let prefs = Element::builder("prefs", NS).attr("default", default);
        prefs.child(list("always", always)).child(list("never", never)).build()
    }

    #[test]
    fn what_is_read_is_what_is_shown_and_stored() {
        for (text, shown) in [
            (prefs("roster", &["romeo@montague.lit"], &["montague@montague.lit"]), None),
            (prefs("always", &[], &["romeo@montague.lit/orchard"]), None),
            (
                prefs("never", &["Romeo@MONTAGUE.lit ", "romeo@montague.lit"], &[]),
                Some(prefs("never", &["romeo@montague.lit"], &[])),
            ),
            (element(&format!("<prefs xmlns='{NS}' default='never'/>")), Some(prefs("never", &[], &[]))), // §2.1.2
        ] {
            let preferences = Preferences::parse(&text).unwrap();
            let element = preferences.to_element(ArchivePolicy::Always);
            assert_eq!(element, shown.unwrap_or(text));
            assert_eq!(Preferences::decode(&preferences.encode()), preferences);
        }
        let untouched = Preferences::default();
        assert_eq!(untouched.to_element(ArchivePolicy::Roster), prefs("roster", &[], &[]));
        assert_eq!(Preferences::decode(&untouched.encode()), untouched);
        assert_eq!(Preferences::decode("default sometimes\nalways @\nnever\nelse x\n\n"), untouched);
    }

    #[test]
    fn what_is_refused() {
        let many: Vec<_> = (0..=ITEMS_MAX).map(|n| format!("user{n}@example.org")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (text, condition) in [
            (element(&format!("<prefs xmlns='{NS}'/>")), Condition::BadRequest), // §2.1.1
            (prefs("sometimes", &[], &[]), Condition::BadRequest),
            (prefs("", &[], &[]), Condition::BadRequest),
            (prefs("Always", &[], &[]), Condition::BadRequest),
            (prefs("always", &["@"], &[]), Condition::JidMalformed),
            (prefs("always", &[], &[""]), Condition::JidMalformed),
            (prefs("always", &many, &[]), Condition::ResourceConstraint),
        ] {
            assert_eq!(Preferences::parse(&text).unwrap_err().condition, condition);
        }
    }

    #[test]
    fn whom_the_archive_keeps() {
        let always = ["carol@example.org", "dave@example.org/work", "erin@example.org"];
        let never = ["dave@example.org", "erin@example.org", "frank@example.org/work"];
        for (default, peer, kept) in [
            ("always", "bob@example.org/x", true),
            ("never", "bob@example.org/x", false),
            ("never", "carol@example.org/x", true), // §2.3.1, a bare address names all
            ("always", "dave@example.org/home", false), // the same in `never`
            ("never", "dave@example.org/work", true), // a full address names itself …
            ("always", "erin@example.org", false),  // named twice
            ("always", "frank@example.org/work", false),
            ("always", "frank@example.org/home", true), // … and nothing else
            ("always", "frank@example.org", true),
            ("roster", "contact@example.org/x", true), // §2.3.1, the bare address counts
            ("roster", "stranger@example.org/x", false),
            ("roster", "alice@example.org/x", true), // notes to oneself
        ] {
            let mut account = account_with([contact("contact@example.org")]);
            account.set_state(Preferences::parse(&prefs(default, &always, &never)).unwrap(), &mut Vec::new());
            let mut sent = message("chat", "<body>hi</body>");
            sent.header.to = Some(peer.parse().unwrap());
            let mut received = message("chat", "<body>hi</body>");
            received.header.from = peer.parse().unwrap();
            let keep = if kept { Keep::Archive } else { Keep::UntilDelivered };
            assert_eq!(restrict(Keep::Archive, &sent, &account, Side::Sender), keep, "to {peer}");
            assert_eq!(restrict(Keep::Archive, &received, &account, Side::Recipient), keep, "from {peer}");
        }
    }

    #[test]
    fn nothing_is_kept_that_was_not_voted_for() {
        let mut account = account();
        account.set_state(
            Preferences { default: Some(ArchivePolicy::Always), ..Preferences::default() },
            &mut Vec::new(),
        );
        for keep in [Keep::Nothing, Keep::UntilDelivered] {
            assert_eq!(restrict(keep, &message("chat", ""), &account, Side::Sender), keep);
        }
    }

    #[test]
    fn the_operator_decides_for_who_does_not() {
        let stranger = message("chat", "<body>hi</body>");
        for (policy, kept) in [
            (ArchivePolicy::Always, Keep::Archive),
            (ArchivePolicy::Roster, Keep::UntilDelivered),
            (ArchivePolicy::Never, Keep::UntilDelivered),
        ] {
            let account = crate::testing::account_under(policy);
            assert_eq!(restrict(Keep::Archive, &stranger, &account, Side::Sender), kept, "{policy:?}");
        }
    }
}
