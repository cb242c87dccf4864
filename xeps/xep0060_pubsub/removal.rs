//! An account is removed: it has no part in the nodes of others any more, and who has its address next begins anew.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::extension::KeyedState;
use unisono_core::hub::Hub;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::storage::{Commit, StoreError};

use super::change::{self, Decision};
use super::manage;
use super::node::{Meta, Node, is_service};
use super::step::{Step, What};

/// Takes an account out of all nodes that name it. A node of a service that nobody else owns goes with it.
pub(super) async fn strike(hub: Arc<Hub>, who: BareJid) -> Result<(), StoreError> {
    // What somebody has just granted is found, too.
    let ticket = hub.store.submit(Commit::default());
    hub.store.wait(ticket).await;
    for owner in hub.store.mentioning(Node::KIND, who.as_str()).await? {
        let cell = match is_service(&owner) {
            true if hub.hosted(owner.as_str()).is_some() => Some(hub.service(&owner).await?),
            true => None,
            false => hub.account(&owner).await?,
        };
        if let Some(cell) = cell {
            strike_from(&hub, &cell, &who).await;
        }
    }
    Ok(())
}

async fn strike_from(hub: &Arc<Hub>, cell: &Arc<Cell>, who: &BareJid) {
    let (orphans, by) = (orphans(&cell.lock(), who), Jid::from(who.clone()));
    for node in orphans {
        let gone = change::make(hub, cell, &by, |account, _| {
            let is_there = account.keyed::<Node>(&node).is_some();
            let step = is_there.then(|| Step::of(&node, What::Deleted { redirect: None }));
            Ok(Decision { steps: step.into_iter().collect(), writes: Vec::new() })
        });
        if let Err(error) = gone.await {
            tracing::error!(service = %cell.jid, %node, ?error, "cannot delete the node of an account that is removed");
        }
    }
    let ticket = {
        let _order = cell.publishing();
        let mut account = cell.lock();
        let named: Vec<_> = account.all_keyed::<Node>().filter(|(_, node)| names(&node.meta, who)).collect();
        let named: Vec<_> = named.into_iter().map(|(name, node)| (name.clone(), node.meta.clone())).collect();
        let mut writes = Vec::new();
        for (name, meta) in named {
            let mut meta = Meta::clone(&meta);
            meta.affiliations.remove(who);
            meta.subscriptions.retain(|jid, _| jid.to_bare() != *who);
            // What becomes less has room.
            _ = manage::replace(&mut account, &name, meta, &mut writes);
        }
        hub.commit(&mut account, writes)
    };
    hub.store.wait(ticket).await;
}

fn names(meta: &Meta, who: &BareJid) -> bool {
    meta.affiliations.contains_key(who) || meta.subscriptions_of(who).next().is_some()
}

/// Nodes of a service that nobody owns but this account.
fn orphans(account: &Account, who: &BareJid) -> Vec<CompactString> {
    let is_only = |node: &Node| node.meta.owners().next() == Some(who) && node.meta.owners().nth(1).is_none();
    let nodes = account.all_keyed::<Node>().filter(|(_, node)| is_service(account.jid()) && is_only(node));
    nodes.map(|(name, _)| name.clone()).collect()
}
