//! # XEP-0445: Pre-Authenticated In-Band Registration
//!
//! Follows 0.2.0 (2020-11-24). Who shows the token of an invitation may make an account, though nobody else may.
//!
//! - The token is looked at here and remembered with the stream; XEP-0077 uses it up together with the account that is made.
//! - Ours: a token that was used, has expired or never was is refused alike, and a network that showed many is refused
//!   without a look.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use unisono_core::allowance::{Allowance, Allowances};
use unisono_core::early::{EarlyReply, EarlyRequest, Standing};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::invitations::Invitation;
use unisono_core::stanza::IqType;
use unisono_xml::Element;

use crate::xep0379_preauth::NS as NS_PREAUTH;

pub const NS: &str = "urn:xmpp:ibr-token:0";
/// Wrong tokens that one network may show.
const WRONG: Allowance = Allowance { burst: 20, every: Duration::from_secs(60) };

pub struct InvitedRegistration;

impl Extension for InvitedRegistration {
    fn spec(&self) -> Spec {
        Spec::xep(445, "0.2.0")
    }

    fn register(&self, on: &mut Registry) {
        // §3. The administrator can invite whatever users may.
        on.early_feature(|_| Some(Element::new("register", NS)));
        on.early_iq((NS_PREAUTH, "preauth"), |request| Box::pin(preauth(request)));
    }
}

/// Where wrong tokens came from.
#[derive(Default)]
struct Guessers(Allowances<IpAddr>);

/// §4, Example 2.
async fn preauth(request: EarlyRequest) -> EarlyReply {
    let standing = request.standing.clone();
    match look_up(&request).await {
        Ok(invitation) => (Ok(None), Standing { invitation: Some(Arc::new(invitation)), ..standing }),
        // What was shown before is still good.
        Err(error) => (Err(error), standing),
    }
}

async fn look_up(request: &EarlyRequest) -> Result<Invitation, StanzaError> {
    let EarlyRequest { hub, origin, domain, .. } = request;
    let network = &origin.network;
    if request.kind != IqType::Set {
        return Err(StanzaError::new(Condition::BadRequest));
    }
    let token = request.payload.attr("token").ok_or(StanzaError::new(Condition::BadRequest))?;
    let now = hub.clock.elapsed();
    if !hub.memory(|guessers: &mut Guessers| guessers.0.has_one(network, now, WRONG)) {
        return Err(unknown());
    }
    let found = hub.store.invitation(token, hub.clock.now_micros()).await?;
    let found = found.filter(|invitation| invitation.domain.as_ref() == Some(domain));
    found.ok_or_else(|| {
        if let Some(left_out) = hub.sampled("a wrong token of an account") {
            tracing::info!(%network, %domain, left_out, "somebody shows a token that nobody may register by");
        }
        hub.memory(|guessers: &mut Guessers| guessers.0.take(*network, now, WRONG));
        unknown()
    })
}

/// §4, Example 4.
fn unknown() -> StanzaError {
    StanzaError::new(Condition::ItemNotFound).with_text("The provided token is invalid or expired")
}
