//! # XEP-0163: Personal Eventing Protocol
//!
//! Follows 1.2.2 (2022-02-16). Every account has nodes, and who sees its presence is told of them.
//!
//! - The engine is that of [XEP-0060](crate::xep0060_pubsub), with the defaults of §5: presence, one item, which is sent
//!   on subscription and presence. A node that is not there is made by publishing to it (§3).
//! - Ours: a device is told what interests it (§4.2) of contacts whose presence it sees, whether the contact sees its
//!   presence or not. A device that was away gets of its own account's nodes all that it missed, the newest 50 of each,
//!   not only the last item (§4.3.4, a MAY). What it gets live and what it gets late come in the order of publication.
//! - Left out: `replyto` (§4.3.1, rule 3, a SHOULD that no client reads); who has sent presence without a subscription
//!   (XEP-0060 §9.1.3) is told nothing.

use unisono_core::extension::{Entity, Extension, Registry, Spec};

use crate::xep0060_pubsub::{AUTO_CREATE, send_last_items};

pub struct PersonalEventing;

/// What the nodes of accounts offer beside what all nodes do (§5, §6.1; XEP-0060 §9).
const FEATURES: [&str; 7] = [
    "http://jabber.org/protocol/pubsub#access-presence",
    AUTO_CREATE,
    "http://jabber.org/protocol/pubsub#auto-subscribe",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#presence-notifications",
    "http://jabber.org/protocol/pubsub#presence-subscribe",
    "http://jabber.org/protocol/pubsub#pubsub-on-a-jid",
];

impl Extension for PersonalEventing {
    fn spec(&self) -> Spec {
        Spec::xep(163, "1.2.2")
    }

    fn register(&self, on: &mut Registry) {
        for entity in [Entity::OwnAccount, Entity::OtherAccount] {
            on.identity(entity, "pubsub", "pep");
        }
        for feature in FEATURES {
            on.account_feature(feature);
        }
        // §4.3.3, rule 2
        on.interested(|hub, session, interest| Box::pin(send_last_items(hub, session, interest)));
    }
}
