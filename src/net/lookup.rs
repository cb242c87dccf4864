//! What is known of who wants to come in.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;
use unisono_core::access::{TokenUse, Tried};
use unisono_core::jid::BareJid;
use unisono_core::storage::{AccountState, Credential, StoreError};

use crate::negotiation::{Token, Unreadable};
use crate::sampling::Line;
use crate::sasl::{Credentials, Hash, Standing, TokenOutcome, TokenProof};
use crate::server::C2s;

/// Reads a credential. One that cannot be understood is an account without it.
pub(crate) async fn credentials(
    c2s: Arc<C2s>,
    peer: IpAddr,
    account: BareJid,
    hash: Hash,
) -> Result<Option<Credentials>, Unreadable> {
    // Strangers can make it happen as often as they like.
    let tell = |error: &dyn std::fmt::Display, what: &'static str| {
        if let Some(Line { left_out, .. }) = c2s.sampling.line(Instant::now(), peer, what) {
            tracing::error!(%account, %error, left_out, "cannot {what} a credential");
        }
    };
    let found = match c2s.hub.store.credential(&account, hash.family()).await {
        Ok(found) => found,
        Err(error) => {
            tell(&error, "read");
            return Err(Unreadable);
        }
    };
    let Some(Credential { text, state, passwords }) = found else { return Ok(None) };
    let standing = match state {
        AccountState::Enabled => Standing::Active,
        AccountState::Disabled => Standing::Disabled,
    };
    match text.parse() {
        Ok(keys) => Ok(Some(Credentials { keys, standing, passwords })),
        Err(error) => {
            tell(&error, "understand");
            Ok(None)
        }
    }
}

/// Looks whether a client has a token. Its account is loaded for that, and stays loaded for what the client does next; for who
/// `is_suspect` it is loaded only when the token is right.
pub(crate) async fn try_token(
    c2s: Arc<C2s>,
    (peer, is_suspect): (IpAddr, bool),
    account: &BareJid,
    tried: TokenUse<'_>,
    proof: &TokenProof,
) -> Result<Token, Unreadable> {
    let unreadable = |error: StoreError| {
        if let Some(Line { left_out, .. }) = c2s.sampling.line(Instant::now(), peer, "read") {
            tracing::error!(%account, %error, left_out, "cannot read the tokens of an account");
        }
        Unreadable
    };
    let mut responder = None;
    let mut is_right = |token: &str| {
        let found = proof.check(token);
        let is_right = found.is_some();
        responder = found.or(responder.take());
        is_right
    };
    let hub = &c2s.hub;
    let wrong = if is_suspect && hub.resident(account).is_none() {
        let stored = hub.store.device(account, &tried.key()).await.map_err(unreadable)?;
        hub.guess(stored, tried, &mut is_right)
    } else {
        None
    };
    let tried = if let Some(wrong) = wrong {
        wrong
    } else {
        let cell = hub.account(account).await.map_err(unreadable)?;
        hub.try_token(cell.as_deref(), tried, &mut is_right)
    };
    let (outcome, rotate) = match tried {
        Tried::Right { proof, ticket, rotate } => {
            c2s.hub.store.wait(ticket).await;
            let right = |responder| TokenOutcome::Right(responder, proof);
            (responder.map_or(TokenOutcome::Wrong("token without a proof"), right), rotate)
        }
        Tried::Expired(reason) => (TokenOutcome::Expired(reason), false),
        Tried::Disabled => (TokenOutcome::Disabled, false),
        Tried::Wrong(reason) => (TokenOutcome::Wrong(reason), false),
    };
    Ok(Token { outcome, rotate })
}
