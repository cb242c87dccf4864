//! # XEP-0012: Last Activity
//!
//! Follows 2.0 (2008-11-26). When somebody was last there, for those who may see them; and how long the server runs.
//!
//! - State: when the last device left, and what it said.
//! - Stage: `admit`, for requests to a resource (§4).

use std::time::Duration;

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{
    AccountState, Answer, Entity, Extension, Refusal, Registry, Reply, Request, Side, Spec,
};
use unisono_core::stanza::{IqType, NS_CLIENT, Stanza};
use unisono_xml::Element;

pub const NS: &str = "jabber:iq:last";
/// Bytes of what a device said when it left; the rest of a longer text is not kept.
const STATUS_BYTES_MAX: usize = 1_024;

pub struct LastActivity;

impl Extension for LastActivity {
    fn spec(&self) -> Spec {
        Spec::xep(12, "2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).account_feature(NS);
        on.iq(Entity::Server, IqType::Get, (NS, "query"), uptime);
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "query"), last_seen);
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "query"), last_seen);
        // Whether there is such an account is nobody's business: it answers as one that does not know who asks.
        on.iq(Entity::Nobody, IqType::Get, (NS, "query"), |_| Err(StanzaError::new(Condition::Forbidden)));
        on.account_state::<LastSeen>();
        on.left(|account, presence, now, writes| {
            let status = presence.child_text("status", NS_CLIENT).unwrap_or_default();
            account.set_state(LastSeen::new(now, &status), writes);
        });
        on.last_seen(|account| account.state::<LastSeen>().map(|last| last.at));
        on.admit(refuse_strangers).admit_absent(refuse_all);
    }
}

/// When the last device left, in microseconds since 1970, and what it said.
#[derive(Debug, Default, PartialEq, Eq)]
struct LastSeen {
    at: i64,
    status: String,
}

impl LastSeen {
    fn new(at: i64, status: &str) -> Self {
        let ends = status.char_indices().map(|(at, char)| at.saturating_add(char.len_utf8()));
        let end = ends.take_while(|end| *end <= STATUS_BYTES_MAX).last().unwrap_or(0);
        let kept = status.get(..end).unwrap_or_default();
        Self { at, status: kept.to_owned() }
    }
}

impl AccountState for LastSeen {
    const KIND: &'static str = "last-seen";

    fn decode(text: &str) -> Self {
        let (at, status) = text.split_once(' ').unwrap_or((text, ""));
        Self { at: at.parse().unwrap_or(0), status: status.to_owned() }
    }

    fn encode(&self) -> String {
        format!("{} {}", self.at, self.status)
    }
}

/// §5
fn uptime(request: &Request) -> Answer {
    Ok(Reply::with(query(request.hub.uptime()).build()))
}

fn query(since: Duration) -> unisono_xml::ElementBuilder {
    Element::builder("query", NS).attr("seconds", since.as_secs().to_string())
}

/// §3
fn last_seen(request: &Request) -> Answer {
    let account = request.account()?;
    if !account.is_seen_by(&request.from().to_bare()) {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    // "connected or available": a device that sends no presence is there as well.
    if account.sessions().any(|session| session.is_available() || session.is_connected()) {
        return Ok(Reply::with(query(Duration::ZERO).build()));
    }
    let Some(last) = account.state::<LastSeen>() else {
        return Err(StanzaError::new(Condition::ItemNotFound));
    };
    let micros = request.hub.clock.now_micros().saturating_sub(last.at);
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Ok(Reply::with(query(since).text(last.status.as_str()).build()))
}

/// §4: who may not see the user's presence does not reach the user's client either.
fn refuse_strangers(stanza: &Stanza, account: &Account, side: Side) -> Result<(), Refusal> {
    match stanza {
        Stanza::Iq(iq) if side == Side::Recipient && !account.is_seen_by(&iq.header.from.to_bare()) => {
            refuse_all(stanza)
        }
        _ => Ok(()),
    }
}

/// The same of an account that does not exist, to which everybody is a stranger.
fn refuse_all(stanza: &Stanza) -> Result<(), Refusal> {
    let Stanza::Iq(iq) = stanza else { return Ok(()) };
    if iq.kind == IqType::Get && iq.payload.has("query", NS) {
        return Err(Refusal::Error(Box::new(StanzaError::new(Condition::Forbidden))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_last_words_are_cut_between_two_characters() {
        let long = "ö".repeat(600);
        for (status, kept) in
            [("", ""), ("bye", "bye"), (&long[..1_024], &long[..1_024]), (&long, &long[..1_024])]
        {
            assert_eq!(LastSeen::new(1, status).status, kept);
        }
        assert_eq!(LastSeen::new(1, &format!("x{long}")).status.len(), 1_023);
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for last in [
            LastSeen { at: 0, status: String::new() },
            LastSeen { at: 1_790_000_000_000_000, status: "gone for a walk".to_owned() },
        ] {
            assert_eq!(LastSeen::decode(&last.encode()), last);
        }
        for broken in ["", "x", "x y"] {
            assert_eq!(LastSeen::decode(broken).at, 0);
        }
    }
}
