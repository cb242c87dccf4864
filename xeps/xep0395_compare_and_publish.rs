//! # XEP-0395: Atomically Compare-And-Publish PubSub Items
//!
//! Follows 0.2.0 (2018-12-06). Who publishes says which item was the last to be seen, and is refused if another came
//! between.
//!
//! - The engine is that of [XEP-0060](crate::xep0060_pubsub): it decides under the lock of the account, in the order of the
//!   node. The value of an item is its position, enciphered, so that each publication has another one.
//! - Ours: the empty value stands for no item at all (§3.2 does not say). Values stand in an answer where the request for
//!   items holds an empty `<cap-v-map/>`: libraries that are in use take whatever is in `<items/>` for an item, or refuse
//!   the answer. Who does not ask learns the value of the last item from the refusal (§3.3).

use compact_str::CompactString;
use unisono_core::error::StanzaError;
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_xml::Element;

use crate::xep0060_pubsub;

pub const NS: &str = "urn:xmpp:pubsub:cap:0";
/// §7: the publishing option.
pub(crate) const OPTION: &str = "pubsub#prev_item_cap_value";

pub struct CompareAndPublish;

impl Extension for CompareAndPublish {
    fn spec(&self) -> Spec {
        Spec::xep(395, "0.2.0").partial("values in answers to those who do not ask for them")
    }

    fn register(&self, on: &mut Registry) {
        on.account_feature(NS).feature(Entity::Service(xep0060_pubsub::SERVICE), NS);
    }
}

/// Whether a request for items wants their values.
pub(crate) fn is_asked_for(items: &Element) -> bool {
    items.has_child("cap-v-map", NS)
}

/// §3.1: what tells an item from all others that the node had and will have.
pub(crate) fn value(hub: &Hub, account: AccountId, position: LogPosition) -> CompactString {
    hub.archive_id(account, position)
}

/// §3.1: the values of the items of an answer.
pub(crate) fn map<'a>(
    hub: &Hub,
    account: AccountId,
    items: impl Iterator<Item = (&'a str, LogPosition)>,
) -> Element {
    let entry = |(id, position): (&str, LogPosition)| {
        let entry = Element::builder("cap-v-map-entry", NS).attr("item-id", id);
        entry.attr("cap-value", value(hub, account, position)).build()
    };
    Element::builder("cap-v-map", NS).children(items.map(entry)).build()
}

/// §3.2: whether the last item is the one that the publisher saw.
pub(crate) fn is_last(hub: &Hub, account: AccountId, last: Option<LogPosition>, seen: &str) -> bool {
    last.map_or(seen.is_empty(), |last| value(hub, account, last) == seen)
}

/// §3.3: it is not.
pub(crate) fn failed(
    hub: &Hub,
    account: AccountId,
    last: Option<LogPosition>,
    error: StanzaError,
) -> StanzaError {
    let last = last.map(|last| value(hub, account, last)).unwrap_or_default();
    let failed = Element::builder("compare-and-publish-failed", NS).attr("cap-id", last).build();
    error.with_further(failed)
}
