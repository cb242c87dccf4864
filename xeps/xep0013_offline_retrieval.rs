//! # XEP-0013: Flexible Offline Message Retrieval
//!
//! Follows 1.3 (2021-05-04). A device that has the archive waives what waited for it.
//!
//! - Only §2.7: Conversations asks for it when it has read the archive.
//! - Ours: what waits, waits for each device by itself, so a device waives for itself alone. What the archive does not
//!   show is delivered all the same.
//! - Left out: looking at single messages (§2.2 to §2.6); XEP-0313 took its place.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::stanza::IqType;
use unisono_core::storage::BoxFuture;
use unisono_xml::Element;

pub const NS: &str = "http://jabber.org/protocol/offline";

pub struct OfflineRetrieval;

impl Extension for OfflineRetrieval {
    fn spec(&self) -> Spec {
        Spec::xep(13, "1.3").partial("all but `purge`")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "offline"), purge);
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "offline"), |_| Err(unknown()));
        on.forbid_others((NS, "offline"));
    }
}

fn unknown() -> StanzaError {
    StanzaError::new(Condition::FeatureNotImplemented)
}

/// §2.7: as if the device had been given everything up to now.
fn purge(request: Request) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        if !is_purge(&request.payload) {
            return Err(unknown());
        }
        let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
        let head = cell.lock().head();
        request.hub.settled(cell).await;
        Ok(Reply::locked(move |account, session| {
            account.waive(session, head);
            Ok(Reply { covers: Some(head), ..Reply::empty() })
        }))
    })
}

fn is_purge(offline: &Element) -> bool {
    let mut children = offline.children();
    children.next().is_some_and(|child| child.is("purge", NS)) && children.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn only_the_removal_of_everything_is_known() {
        for (content, known) in [
            ("<purge/>", true),
            ("", false),
            ("<fetch/>", false),
            ("<item action='remove' node='1'/>", false),
            ("<purge/><item action='remove' node='1'/>", false),
            ("<purge xmlns='urn:example'/>", false),
        ] {
            let offline = element(&format!("<offline xmlns='{NS}'>{content}</offline>"));
            assert_eq!(is_purge(&offline), known, "{content}");
        }
    }
}
