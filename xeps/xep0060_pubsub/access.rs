//! §4.1 and §4.5: who may do what with a node.

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::jid::{BareJid, Jid};

use super::config::{AccessModel, PublishModel};
use super::errors::{error, forbidden};
use super::node::{Affiliation, Meta, Node, State, Subscription, is_service};

/// What somebody is to a node. The account owns all of its nodes.
pub(super) fn affiliation(account: &Account, node: &Meta, who: &BareJid) -> Affiliation {
    if who == account.jid() {
        return Affiliation::Owner;
    }
    node.affiliations.get(who).copied().unwrap_or(Affiliation::None)
}

/// Whether somebody may retrieve items, and be told of them (§6.5.1).
///
/// # Errors
///
/// What §6.5.9 names for the access model.
pub(super) fn may_read(account: &Account, node: &Meta, who: &BareJid) -> Result<(), StanzaError> {
    match affiliation(account, node, who) {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => return Ok(()),
        Affiliation::PublishOnly | Affiliation::Outcast => return Err(forbidden()), // §6.5.9.10
        Affiliation::None => {}
    }
    match node.config.access_model {
        AccessModel::Authorize if node.has_subscriber(who) => Ok(()),
        AccessModel::Authorize => Err(error(Condition::NotAuthorized, "not-subscribed")), // §6.5.9.3
        model => passes(account, node, who, model),
    }
}

/// The same, for who does not mind why not. Nobody reads a node that is not there.
pub(crate) fn is_readable(account: &Account, node: &str, who: &BareJid) -> bool {
    account.keyed::<Node>(node).is_some_and(|node| may_read(account, &node.meta, who).is_ok())
}

/// Whether somebody may subscribe (§6.1), be it that an owner has to agree: whether that is so.
///
/// # Errors
///
/// What §6.1.3 names for the access model.
pub(super) fn may_subscribe(account: &Account, node: &Meta, who: &BareJid) -> Result<Consent, StanzaError> {
    match affiliation(account, node, who) {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => return Ok(Consent::Given),
        Affiliation::PublishOnly | Affiliation::Outcast => return Err(forbidden()), // §6.1.3.8
        Affiliation::None => {}
    }
    match node.config.access_model {
        AccessModel::Authorize => Ok(Consent::Needed),
        model => passes(account, node, who, model).map(|()| Consent::Given),
    }
}

/// Brings the subscriptions of a node that changes in step with who may have one now: who may not, or ceased to before, has
/// none any more, and who came in without consent waits for it where that is needed now. Returns what has changed.
pub(super) fn settle(account: &Account, old: &Meta, new: &mut Meta) -> Vec<(Jid, Option<State>)> {
    let mut changed = Vec::new();
    for (jid, subscription) in std::mem::take(&mut new.subscriptions) {
        let who = jid.to_bare();
        let (before, now) = (may_subscribe(account, old, &who), may_subscribe(account, new, &who));
        let state = match (before, now) {
            (Err(_), _) | (_, Err(_)) => None,
            (Ok(Consent::Given), Ok(Consent::Needed)) => Some(State::Pending),
            (_, Ok(_)) => Some(subscription.state),
        };
        if state != Some(subscription.state) {
            changed.push((jid.clone(), state));
        }
        if let Some(state) = state {
            new.subscriptions.insert(jid, Subscription { state, ..subscription });
        }
    }
    changed
}

/// Whether an owner has to agree to a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Consent {
    Given,
    Needed,
}

fn passes(account: &Account, node: &Meta, who: &BareJid, model: AccessModel) -> Result<(), StanzaError> {
    match model {
        AccessModel::Open => Ok(()),
        AccessModel::Presence if account.is_seen_by(who) => Ok(()),
        AccessModel::Presence => Err(error(Condition::NotAuthorized, "presence-subscription-required")),
        AccessModel::Roster => {
            let allowed = &node.config.roster_groups_allowed;
            let is_in = |group: &compact_str::CompactString| allowed.iter().any(|allowed| allowed == group);
            let contact = account.contact(who).filter(|_| account.is_seen_by(who));
            if contact.is_some_and(|contact| contact.groups.iter().any(is_in)) {
                return Ok(());
            }
            Err(error(Condition::NotAuthorized, "not-in-roster-group"))
        }
        AccessModel::Whitelist | AccessModel::Authorize => Err(error(Condition::NotAllowed, "closed-node")),
    }
}

/// Whether somebody may publish (§7.1.3.1).
///
/// # Errors
///
/// `forbidden`
pub(super) fn may_publish(account: &Account, node: &Meta, who: &BareJid) -> Result<(), StanzaError> {
    let may = match affiliation(account, node, who) {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly => true,
        Affiliation::Outcast => false,
        Affiliation::Member | Affiliation::None => match node.config.publish_model {
            PublishModel::Publishers => false,
            // A subscription is over where its node may not be read any more.
            PublishModel::Subscribers => node.has_subscriber(who) && may_read(account, node, who).is_ok(),
            PublishModel::Open => true,
        },
    };
    if may { Ok(()) } else { Err(forbidden()) }
}

/// Whether somebody may see that the account is there: everybody where it is a service; else its owner, whom it shows its
/// presence to, and who has to do with one of its nodes, be it that an owner has to agree yet. All others are told nothing but what is open to everybody.
pub(super) fn knows_account(account: &Account, who: &BareJid) -> bool {
    let has_part = |node: &Node| {
        let affiliation = node.meta.affiliations.get(who);
        affiliation.is_some_and(|affiliation| *affiliation != Affiliation::Outcast)
            || node.meta.subscriptions_of(who).next().is_some()
    };
    is_service(account.jid())
        || account.is_seen_by(who)
        || account.all_keyed::<Node>().any(|(_, node)| has_part(node))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_core::roster::RosterItem;
    use unisono_core::subscription::{Subscription as Seen, SubscriptionState};

    use super::super::config::Config;
    use super::*;
    use crate::testing::{account_with, contact};

    fn seen(jid: &str, groups: &[&str]) -> RosterItem {
        let state = SubscriptionState { subscription: Seen::From, ..SubscriptionState::default() };
        let groups = groups.iter().map(|group| (*group).into()).collect();
        RosterItem { state, groups, ..contact(jid) }
    }

    fn condition(verdict: Result<(), StanzaError>) -> String {
        let error = verdict.err().map(|error| {
            error.application.map_or(error.condition.as_str().to_owned(), |found| found.name().to_owned())
        });
        error.unwrap_or_default()
    }

    #[test]
    fn who_may_read() {
        let account = account_with([
            seen("friend@example.org", &[]),
            seen("mate@example.org", &["mates"]),
            contact("seen@example.org"),
        ]);
        for (model, who, want) in [
            (AccessModel::Open, "stranger", ""), // §4.5
            (AccessModel::Open, "outcast", "forbidden"),
            (AccessModel::Open, "writer", "forbidden"),
            (AccessModel::Presence, "friend", ""),
            (AccessModel::Presence, "seen", "presence-subscription-required"), // §6.5.9.6
            (AccessModel::Presence, "stranger", "presence-subscription-required"),
            (AccessModel::Presence, "member", ""),
            (AccessModel::Roster, "mate", ""),
            (AccessModel::Roster, "friend", "not-in-roster-group"), // §6.5.9.7
            (AccessModel::Whitelist, "friend", "closed-node"),      // §6.5.9.8
            (AccessModel::Whitelist, "member", ""),
            (AccessModel::Whitelist, "alice", ""),
            (AccessModel::Authorize, "friend", "not-subscribed"), // §6.5.9.3
            (AccessModel::Authorize, "pending", "not-subscribed"),
            (AccessModel::Authorize, "subscriber", ""),
        ] {
            let config = Config {
                access_model: model,
                roster_groups_allowed: vec!["mates".to_owned()],
                ..Config::default()
            };
            let mut node = Meta::new(config, account.jid().clone(), 0);
            for (jid, affiliation) in [
                ("outcast@example.org", Affiliation::Outcast),
                ("writer@example.org", Affiliation::PublishOnly),
                ("member@example.org", Affiliation::Member),
            ] {
                node.affiliations.insert(jid.parse().unwrap(), affiliation);
            }
            for (jid, state) in
                [("pending@example.org", State::Pending), ("subscriber@example.org/x", State::Subscribed)]
            {
                node.subscriptions.insert(jid.parse().unwrap(), Subscription { state, deliver: true });
            }
            let who = format!("{who}@example.org").parse().unwrap();
            assert_eq!(condition(may_read(&account, &node, &who)), want, "{model:?} {who}");
        }
    }

    #[test]
    fn who_may_publish() {
        let account = account_with([]);
        for (model, access_model, who, may) in [
            (PublishModel::Publishers, AccessModel::Open, "alice", true),
            (PublishModel::Publishers, AccessModel::Open, "writer", true), // §4.1
            (PublishModel::Publishers, AccessModel::Open, "stranger", false),
            (PublishModel::Subscribers, AccessModel::Open, "subscriber", true),
            (PublishModel::Subscribers, AccessModel::Open, "stranger", false),
            (PublishModel::Subscribers, AccessModel::Presence, "subscriber", false), // it has ended
            (PublishModel::Open, AccessModel::Open, "stranger", true),
            (PublishModel::Open, AccessModel::Open, "outcast", false),
        ] {
            let config = Config { publish_model: model, access_model, ..Config::default() };
            let mut node = Meta::new(config, account.jid().clone(), 0);
            node.affiliations.insert("outcast@example.org".parse().unwrap(), Affiliation::Outcast);
            node.affiliations.insert("writer@example.org".parse().unwrap(), Affiliation::PublishOnly);
            let subscription = Subscription { state: State::Subscribed, deliver: true };
            node.subscriptions.insert("subscriber@example.org".parse().unwrap(), subscription);
            let who = format!("{who}@example.org").parse().unwrap();
            assert_eq!(may_publish(&account, &node, &who).is_ok(), may, "{model:?} {who}");
        }
    }
}
