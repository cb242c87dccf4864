//! A node: what is kept of it beside its items.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::extension::KeyedState;
use unisono_core::ids::LogPosition;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_xml::{Element, Scope};

use super::config::Config;

/// The namespace of stored nodes; they are seen by nobody but us.
const NS_STORED: &str = "unisono:node:1";
/// How much there may be.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) nodes: usize,
    /// Nodes that one has made.
    pub(super) nodes_of_one: usize,
    /// Subscriptions to one node.
    pub(super) subscriptions: usize,
    /// Bytes of what is kept of one node beside its items and subscriptions,
    pub(super) node_bytes: usize,
    /// and of all nodes.
    pub(super) all_bytes: usize,
    /// Bytes of the subscriptions to one node, which others make,
    pub(super) node_subscription_bytes: usize,
    /// and to all nodes.
    pub(super) all_subscription_bytes: usize,
}

const OF_ACCOUNT: Room = Room {
    nodes: 1_000,
    nodes_of_one: 1_000,
    subscriptions: 1_000,
    node_bytes: 128 * 1024,
    all_bytes: 2 * 1024 * 1024,
    node_subscription_bytes: 128 * 1024,
    all_subscription_bytes: 1024 * 1024,
};
const OF_SERVICE: Room = Room {
    nodes: 5_000,
    nodes_of_one: 100,
    subscriptions: 5_000,
    node_bytes: 1024 * 1024,
    all_bytes: 64 * 1024 * 1024,
    node_subscription_bytes: 1024 * 1024,
    all_subscription_bytes: 32 * 1024 * 1024,
};

/// Whether nodes are those of a service, which nobody is the owner of by itself.
pub(super) fn is_service(owner: &BareJid) -> bool {
    owner.local().is_none()
}

/// How much an account or a service has room for.
pub(super) fn room(owner: &BareJid) -> &'static Room {
    if is_service(owner) { &OF_SERVICE } else { &OF_ACCOUNT }
}

/// §4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Affiliation {
    Owner,
    Publisher,
    PublishOnly,
    Member,
    None,
    Outcast,
}

impl Affiliation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Publisher => "publisher",
            Self::PublishOnly => "publish-only",
            Self::Member => "member",
            Self::None => "none",
            Self::Outcast => "outcast",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Owner, Self::Publisher, Self::PublishOnly, Self::Member, Self::None, Self::Outcast];
        all.into_iter().find(|affiliation| affiliation.as_str() == text)
    }
}

/// §4.2. Who is in none of these states has no subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Pending,
    Subscribed,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Subscribed => "subscribed",
        }
    }
}

/// A subscription with its options (§6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Subscription {
    pub(super) state: State,
    /// Whether the subscriber wants to be notified.
    pub(super) deliver: bool,
}

impl Subscription {
    /// Whether it brings notifications.
    pub(super) fn is_active(self) -> bool {
        self.state == State::Subscribed && self.deliver
    }
}

/// What is stored of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    pub(super) config: Config,
    pub(super) creator: BareJid,
    /// Microseconds since 1970.
    pub(super) created: i64,
    /// Without the account itself, which owns all of its nodes.
    pub(super) affiliations: BTreeMap<BareJid, Affiliation>,
    pub(super) subscriptions: BTreeMap<Jid, Subscription>,
}

impl Meta {
    pub(super) fn new(config: Config, creator: BareJid, created: i64) -> Self {
        Self { config, creator, created, affiliations: BTreeMap::new(), subscriptions: BTreeMap::new() }
    }

    /// The subscriptions of somebody, whichever of the addresses they are for.
    pub(super) fn subscriptions_of<'a>(
        &'a self,
        bare: &'a BareJid,
    ) -> impl Iterator<Item = (&'a Jid, &'a Subscription)> {
        // Addresses are ordered like their texts, so all that begin alike stand together.
        let alike = self.subscriptions.range(Jid::from(bare.clone())..);
        let alike = alike.take_while(|(jid, _)| jid.as_str().starts_with(bare.as_str()));
        alike.filter(|(jid, _)| jid.to_bare() == *bare)
    }

    /// Who asks to be subscribed, and waits for an owner to agree.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Jid> {
        let pending = self.subscriptions.iter().filter(|(_, found)| found.state == State::Pending);
        pending.map(|(jid, _)| jid)
    }

    /// Those who were made owners. An account owns all of its nodes besides.
    pub(super) fn owners(&self) -> impl Iterator<Item = &BareJid> {
        let owners = self.affiliations.iter().filter(|(_, is)| **is == Affiliation::Owner);
        owners.map(|(jid, _)| jid)
    }

    pub(super) fn has_subscriber(&self, bare: &BareJid) -> bool {
        self.subscriptions_of(bare).any(|(_, subscription)| subscription.state == State::Subscribed)
    }

    /// About what the node takes of [`Room::all_bytes`].
    pub(super) fn bytes(&self) -> usize {
        let config = &self.config;
        let texts = [&config.title, &config.description, &config.kind, &config.language];
        let texts = texts.into_iter().chain([&config.body_xslt, &config.dataform_xslt]);
        let texts = texts.chain(&config.contact).chain(&config.roster_groups_allowed).map(String::len);
        EACH_BYTES.saturating_add(sum(texts.chain(self.affiliations.keys().map(|jid| jid.as_str().len()))))
    }

    /// About what its subscriptions take of [`Room::all_subscription_bytes`].
    pub(super) fn subscription_bytes(&self) -> usize {
        sum(self.subscriptions.keys().map(|jid| jid.as_str().len()))
    }
}

/// Bytes of something beside its text, about.
const EACH_BYTES: usize = 80;

fn sum(texts: impl Iterator<Item = usize>) -> usize {
    texts.fold(0, |bytes, more| bytes.saturating_add(more).saturating_add(EACH_BYTES))
}

/// An item, as the index has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) id: CompactString,
    pub(super) position: LogPosition,
    /// Who published it, if that was not the account itself.
    pub(super) publisher: Option<BareJid>,
}

/// A node in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub(super) meta: Arc<Meta>,
    /// Which items there are, oldest first; read from the store when somebody first changes them. They are changed by
    /// nobody who does not know them.
    pub(super) items: Option<Vec<Entry>>,
    /// When the node last changed in this run.
    pub(super) changed: LogPosition,
}

impl KeyedState for Node {
    const KIND: &'static str = "pubsub-node";

    fn decode(text: &str) -> Option<Self> {
        let saved = Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok()?;
        let named = |name: &'static str| saved.children().filter(move |child| child.is(name, NS_STORED));
        let config = saved.children().filter(|child| child.is("field", crate::xep0004_forms::NS));
        let affiliations = named("affiliation").filter_map(|child| {
            Some((child.attr("jid")?.parse().ok()?, Affiliation::parse(child.attr("is")?)?))
        });
        let subscriptions = named("subscription").filter_map(|child| {
            let state = match child.attr("state") {
                None => State::Subscribed,
                Some("pending") => State::Pending,
                Some(_) => return None,
            };
            let deliver = child.attr("deliver").is_none();
            Some((child.attr("jid")?.parse().ok()?, Subscription { state, deliver }))
        });
        let meta = Meta {
            config: Config::of_stored(config),
            creator: saved.attr("creator")?.parse().ok()?,
            created: saved.attr("created")?.parse().ok()?,
            affiliations: affiliations.collect(),
            subscriptions: subscriptions.collect(),
        };
        Some(Self { meta: Arc::new(meta), items: None, changed: LogPosition::START })
    }

    fn encode(&self) -> String {
        let meta = &self.meta;
        let affiliations = meta.affiliations.iter().map(|(jid, affiliation)| {
            let element = Element::builder("affiliation", NS_STORED).attr("jid", jid.as_str());
            element.attr("is", affiliation.as_str()).build()
        });
        let subscriptions = meta.subscriptions.iter().map(|(jid, subscription)| {
            let pending = subscription.state == State::Pending;
            Element::builder("subscription", NS_STORED)
                .attr("jid", jid.as_str())
                .attr_opt("state", pending.then_some("pending"))
                .attr_opt("deliver", (!subscription.deliver).then_some("no"))
                .build()
        });
        Element::builder("node", NS_STORED)
            .attr("creator", meta.creator.as_str())
            .attr("created", meta.created.to_string())
            .children(meta.config.stored())
            .children(affiliations)
            .children(subscriptions)
            .build()
            .to_string_in(&Scope::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::config::AccessModel;
    use super::*;

    #[test]
    fn a_node_is_read_back() {
        let config = Config { access_model: AccessModel::Open, ..Config::default() };
        let mut meta = Meta::new(config, "alice@example.org".parse().unwrap(), 17);
        meta.affiliations.insert("bob@example.org".parse().unwrap(), Affiliation::PublishOnly);
        let subscribed = Subscription { state: State::Subscribed, deliver: false };
        meta.subscriptions.insert("bob@example.org/a b".parse().unwrap(), subscribed);
        let pending = Subscription { state: State::Pending, deliver: true };
        meta.subscriptions.insert("eve@example.org".parse().unwrap(), pending);
        let node = Node { meta: Arc::new(meta), items: None, changed: LogPosition::START };
        assert_eq!(Node::decode(&node.encode()), Some(node));
        for broken in ["", "<node/>", "<node xmlns='unisono:node:1' creator='@' created='1'/>"] {
            assert_eq!(Node::decode(broken), None, "{broken}");
        }
    }
}
