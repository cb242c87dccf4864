//! What a device is told when it comes: who waits for its answer (§8.6), and the last items of the nodes of services that
//! its account is subscribed to (§6.1.7). Those of accounts follow from what interests it (XEP-0163).

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::Ticket;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::session::Session;
use unisono_core::sharing::Sharing;
use unisono_core::stanza::Presence;
use unisono_core::storage::{BoxFuture, StoreError};

use super::node::{Affiliation, Node};
use super::{SERVICE, access, authorization, last_items};

/// Questions that a device is asked when it comes. The rest is asked when it comes again, or found by §8.8.1.
const QUESTIONS_MAX: usize = 100;

pub(super) fn arrived(hub: &Arc<Hub>, session: &SessionRef, _: &Presence) -> Option<BoxFuture<'static, ()>> {
    let services = hub.settings.hosted.iter().filter(|hosted| hosted.kind == SERVICE);
    let services: Vec<_> = services.map(|hosted| hosted.jid.clone()).collect();
    let waits = !waiting(&session.cell.lock(), &session.cell.jid).is_empty();
    if services.is_empty() && !waits {
        return None;
    }
    let (hub, session) = (hub.clone(), session.clone());
    Some(Box::pin(async move {
        ask(&hub, &session.cell, &session);
        for service in services {
            if let Err(error) = welcome(&hub, &service, &session).await {
                tracing::error!(%service, %error, "cannot tell a device what there is");
            }
        }
    }))
}

/// What a service has to say to a device.
async fn welcome(hub: &Arc<Hub>, service: &BareJid, session: &SessionRef) -> Result<(), StoreError> {
    let cell = hub.service(service).await?;
    ask(hub, &cell, session);
    let nodes = last_items::of_service(&cell.lock(), &session.cell.jid);
    let mut account = session.cell.lock();
    let found = account.session_mut(session.id).filter(|found| found.is_available());
    if let Some(found) = found.filter(|_| !nodes.is_empty()) {
        hub.tell_of(found, service.clone(), nodes);
    }
    Ok(())
}

/// Who waits for the answer of an owner, and for which node.
fn waiting(account: &Account, owner: &BareJid) -> Vec<(CompactString, Jid)> {
    let is_owner = |node: &Node| access::affiliation(account, &node.meta, owner) == Affiliation::Owner;
    // The subscriptions of nodes that others own are many, and not looked at.
    let nodes = account.all_keyed::<Node>().filter(|(_, node)| is_owner(node));
    let pending = nodes.flat_map(|(name, node)| node.meta.pending().map(|jid| (name.clone(), jid.clone())));
    pending.take(QUESTIONS_MAX).collect()
}

fn ask(hub: &Hub, cell: &Arc<Cell>, session: &SessionRef) {
    let waiting = waiting(&cell.lock(), &session.cell.jid);
    for (node, subscriber) in waiting {
        if !session.cell.lock().session(session.id).is_some_and(Session::has_room) {
            return;
        }
        let question = authorization::question(hub, &cell.jid, &node, &subscriber);
        let mut sharing = Sharing::new(hub, question, Ticket::NONE);
        if cell.id == session.cell.id {
            sharing.with_own(&mut cell.lock(), |found| found.id() == session.id);
        } else {
            sharing.with_other(cell, &session.cell, |_, _, found| found.id() == session.id);
        }
        sharing.finish();
    }
}
