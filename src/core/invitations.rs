//! Invitations: a secret that lets somebody make an account, or become a contact, once (XEP-0401).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::allowance::Allowance;
use crate::hub::Hub;
use crate::ids::{AccountId, Ticket};
use crate::jid::BareJid;
use crate::storage::{BoxFuture, StoreError, Write};

/// Characters of a token: 120 bits of chance (XEP-0379 §5.1 asks for 80).
const TOKEN_CHARS: usize = 24;
/// Microseconds for which an invitation is kept after it has expired: whoever showed it before has to fill a form in.
pub const GRACE_MICROS: i64 = 10 * 60 * 1_000_000;
/// The document of this kind names who invited an account, until the two are contacts.
pub const INVITED_BY: &str = "invited-by";
/// Of base 32 (RFC 4648 §6), in lower case: fit for a URI, and to be read aloud.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What people may do with accounts over the network (XEP-0077).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationPolicy {
    /// Whether everybody may make an account. Who is invited may anyway.
    pub is_open: bool,
    /// The accounts that one network may make.
    pub of_network: Allowance,
    /// Whether users may change their passwords …
    pub changes_passwords: bool,
    /// … and delete their accounts.
    pub deletes_accounts: bool,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        let of_network = Allowance { burst: 3, every: Duration::from_secs(3600) };
        Self { is_open: false, of_network, changes_passwords: true, deletes_accounts: true }
    }
}

/// To what users may invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsersInvite {
    /// To nothing.
    Nobody,
    /// People with an account elsewhere or here, as contacts.
    Contacts,
    /// Everybody, to an account here if they like.
    Accounts,
}

/// Who may invite whom (XEP-0401).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationPolicy {
    pub by_users: UsersInvite,
    /// Who may have accounts made by name; a domain stands for all of its users.
    pub creators: Vec<BareJid>,
    /// How long an invitation can be used.
    pub last_for: Duration,
    /// A page that shows what is behind its `#` as a link, with the program to open it (XEP-0379 §3.3).
    pub landing_page: Option<String>,
}

impl Default for InvitationPolicy {
    fn default() -> Self {
        let last_for = Duration::from_secs(7 * 24 * 3600);
        Self { by_users: UsersInvite::Contacts, creators: Vec::new(), last_for, landing_page: None }
    }
}

/// What somebody was invited to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// The secret that it is used by.
    pub token: String,
    /// The domain that an account may be made on; none if it is for a contact alone.
    pub domain: Option<BareJid>,
    /// The account that may be made, if no other. It is kept free until then.
    pub account: Option<BareJid>,
    /// With whom one becomes a contact.
    pub inviter: Option<BareJid>,
    /// Who asked for it, contact or not; none if the administrator did. It is counted as this account's, and goes with it.
    pub maker: Option<BareJid>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// The same. From then on it is not there.
    pub expires_at: i64,
}

impl Invitation {
    /// Whether it can still be used.
    pub fn is_good(&self, now_micros: i64) -> bool {
        now_micros < self.expires_at
    }

    /// The URI that a client opens (XEP-0445 §2).
    pub fn uri(&self) -> String {
        let Self { token, domain, account, inviter, .. } = self;
        match (inviter, account, domain) {
            (_, Some(account), _) => format!("xmpp:{}?register;preauth={token}", in_uri(account)),
            (Some(inviter), None, Some(_)) => {
                format!("xmpp:{}?roster;preauth={token};ibr=y", in_uri(inviter))
            }
            (Some(inviter), None, None) => format!("xmpp:{}?roster;preauth={token}", in_uri(inviter)),
            (None, None, Some(domain)) => format!("xmpp:{}?register;preauth={token}", in_uri(domain)),
            (None, None, None) => String::new(),
        }
    }

    /// The URI for a client that has no account yet, if one may be made (XEP-0445 §2.1 and §2.2).
    pub fn registration_uri(&self) -> Option<String> {
        let target = self.account.as_ref().or(self.domain.as_ref())?;
        Some(format!("xmpp:{}?register;preauth={}", in_uri(target), self.token))
    }

    /// The page that shows a URI to who has no client yet (XEP-0379 §3.3).
    pub fn landing_url(uri: &str, policy: &InvitationPolicy) -> Option<String> {
        let page = policy.landing_page.as_ref()?;
        Some(format!("{page}#{}", uri.trim_start_matches("xmpp:")))
    }

    /// A token, of so many random bytes as it has characters.
    pub fn token(random: &dyn crate::clock::Random) -> String {
        let mut drawn = [0; TOKEN_CHARS];
        random.fill(&mut drawn);
        drawn
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)).copied().map(char::from))
            .collect()
    }
}

/// An address in a URI (RFC 5122 §2.2).
fn in_uri(jid: &BareJid) -> String {
    let mut out = String::new();
    for byte in jid.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$'()*+,@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Invitations that are being used, with what makes that durable once that is known.
#[derive(Default)]
struct InUse(HashMap<String, Option<Ticket>>);

/// An invitation that nobody else can use meanwhile.
pub struct Claim {
    hub: Arc<Hub>,
    token: String,
    used: Option<Ticket>,
}

impl Claim {
    /// It is used up from when this is durable.
    pub fn used(mut self, ticket: Ticket) {
        self.used = Some(ticket);
    }

    /// What uses it up.
    pub fn write(&self) -> Write {
        Write::InvitationUsed { token: self.token.clone() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.hub.memory(|in_use: &mut InUse| match self.used {
            Some(ticket) => in_use.0.insert(std::mem::take(&mut self.token), Some(ticket)),
            None => in_use.0.remove(&self.token),
        });
    }
}

impl Hub {
    /// Claims an invitation before it is looked for. `None` if somebody else is using it.
    pub fn claim(self: &Arc<Self>, token: &str) -> Option<Claim> {
        let durable = self.store.durable();
        let is_free = self.memory(|in_use: &mut InUse| {
            in_use.0.retain(|_, used| used.is_none_or(|ticket| ticket > durable));
            let is_free = !in_use.0.contains_key(token);
            if is_free {
                in_use.0.insert(token.to_owned(), None);
            }
            is_free
        });
        is_free.then(|| Claim { hub: self.clone(), token: token.to_owned(), used: None })
    }
}

/// Invitations that were not used yet. One that has expired is not found, and forgotten sooner or later.
pub trait Invitations: Send + Sync {
    /// Keeps an invitation. `StoreError::Exists` if there is the account that it is for, or its name is kept free by
    /// another one; `StoreError::Alike` if it looks like one that is there.
    fn invite<'a>(&'a self, invitation: &'a Invitation) -> BoxFuture<'a, Result<(), StoreError>>;
    /// The invitation with this token.
    fn invitation<'a>(
        &'a self,
        token: &'a str,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Option<Invitation>, StoreError>>;
    /// Invitations in the order of their tokens, after `after`, at most `limit`; those that one account asked for, or all.
    fn invitations<'a>(
        &'a self,
        maker: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Vec<Invitation>, StoreError>>;
    /// Uses an invitation up, whether it has expired or not: whoever comes second finds none.
    fn redeem<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Uses an invitation up, as [`Self::redeem`], and creates an account by it, as
    /// [`create_distinct`](crate::storage::Accounts::create_distinct) does: both or neither. The account is created with a
    /// document of the kind [`INVITED_BY`] that names the inviter, if there is one.
    ///
    /// `StoreError::NotFound` if the invitation is not there any more.
    fn create_invited<'a>(
        &'a self,
        token: &'a str,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_uri_says_what_one_is_invited_to() {
        let jid = |text: &str| Some(text.parse::<BareJid>().unwrap());
        let domain = jid("example.org");
        for (account, inviter, domain, want) in [
            (jid("juliet@example.org"), None, domain.clone(), "xmpp:juliet@example.org?register;preauth=T"), // XEP-0445 §2.1
            (None, None, domain.clone(), "xmpp:example.org?register;preauth=T"), // §2.2
            (None, jid("romeo@example.org"), domain.clone(), "xmpp:romeo@example.org?roster;preauth=T;ibr=y"), // §2.3
            (None, jid("romeo@example.org"), None, "xmpp:romeo@example.org?roster;preauth=T"), // XEP-0379 §3.2
            (
                jid("juliet@example.org"),
                jid("a@b"),
                domain.clone(),
                "xmpp:juliet@example.org?register;preauth=T",
            ),
            (None, jid("ro#m;é@example.org"), None, "xmpp:ro%23m%3B%C3%A9@example.org?roster;preauth=T"), // RFC 5122 §2.2
        ] {
            let token = "T".to_owned();
            let (maker, created_at, expires_at) = (None, 0, 1);
            let invitation = Invitation { token, domain, account, inviter, maker, created_at, expires_at };
            assert_eq!(invitation.uri(), want);
        }
    }
}
