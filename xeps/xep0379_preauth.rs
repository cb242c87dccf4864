//! # XEP-0379: Pre-Authenticated Roster Subscription
//!
//! Follows 0.3.3 (2021-03-04). A request to subscribe that shows the token of an invitation is granted at once, both ways.
//!
//! - The server does what §3.5 and §3.6 ask of two clients, for the invitations that it gave out itself (XEP-0401): the
//!   inviter need not be there.
//! - Ours: a token that is wrong, used, expired or of somebody else is as if it were not there (§4.1), and so is any token of
//!   who showed many wrong ones.
//! - Left out: tokens that clients made (§3.2): theirs pass with the request, and their clients know them.

use std::sync::Arc;
use std::time::Duration;

use unisono_core::allowance::{Allowance, Allowances};
use unisono_core::extension::{Extension, Registry, Spec, Voucher};
use unisono_core::hub::Hub;
use unisono_core::invitations::Claim;
use unisono_core::jid::BareJid;
use unisono_core::stanza::Presence;
use unisono_core::storage::{BoxFuture, StoreError};

pub const NS: &str = "urn:xmpp:pars:0";
/// Wrong tokens that one account may show.
const WRONG: Allowance = Allowance { burst: 10, every: Duration::from_secs(600) };

pub struct PreAuthenticated;

impl Extension for PreAuthenticated {
    fn spec(&self) -> Spec {
        Spec::xep(379, "0.3.3")
    }

    fn register(&self, on: &mut Registry) {
        on.hand(Voucher(vouch));
    }
}

/// Who showed wrong tokens.
#[derive(Default)]
struct Guessers(Allowances<BareJid>);

/// §3.4: a request with a token.
fn vouch(
    hub: &Arc<Hub>,
    user: &BareJid,
    contact: &BareJid,
    presence: &Presence,
) -> Option<BoxFuture<'static, Option<Claim>>> {
    let token = presence.payload.in_ns(NS).filter(|child| child.name() == "preauth")?.attr("token")?;
    let now = hub.clock.elapsed();
    if !hub.memory(|guessers: &mut Guessers| guessers.0.has_one(user, now, WRONG)) {
        return None;
    }
    let (hub, user, contact, token) = (hub.clone(), user.clone(), contact.clone(), token.to_owned());
    Some(Box::pin(async move {
        // Somebody else may be using it.
        let claim = hub.claim(&token)?;
        match is_of(&hub, &token, &contact).await {
            Ok(true) => Some(claim),
            Ok(false) => {
                if let Some(left_out) = hub.sampled("a wrong token of a contact") {
                    tracing::info!(account = %user, %contact, left_out, "a request shows a token that is none of the contact's");
                }
                hub.memory(|guessers: &mut Guessers| guessers.0.take(user, now, WRONG));
                None
            }
            Err(error) => {
                tracing::error!(%error, "cannot look for an invitation");
                None
            }
        }
    }))
}

/// Whether a token is of an invitation by `inviter`. It is used up together with what comes of it (§5.2).
async fn is_of(hub: &Hub, token: &str, inviter: &BareJid) -> Result<bool, StoreError> {
    let found = hub.store.invitation(token, hub.clock.now_micros()).await?;
    // One for an account of a certain name is for who makes that account.
    Ok(found.is_some_and(|invitation| {
        invitation.inviter.as_ref() == Some(inviter) && invitation.account.is_none()
    }))
}
