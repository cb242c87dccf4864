//! Invitations: a secret that lets somebody make an account, or become a contact, once (XEP-0401).

use std::fmt::Write as _;
use std::time::Duration;

use crate::allowance::Allowance;
use crate::ids::AccountId;
use crate::jid::BareJid;
use crate::storage::{BoxFuture, StoreError};

/// Characters of a token: 120 bits of chance (XEP-0379 §5.1 asks for 80).
const TOKEN_CHARS: usize = 24;
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
    /// Invitations in the order of their tokens, after `after`, at most `limit`; of one inviter or of all.
    fn invitations<'a>(
        &'a self,
        inviter: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Vec<Invitation>, StoreError>>;
    /// Uses an invitation up, whether it has expired or not: whoever comes second finds none.
    fn redeem<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Uses an invitation up, as [`Self::redeem`], and creates an account by it, as
    /// [`create_distinct`](crate::storage::Accounts::create_distinct) does: both or neither.
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
            let invitation = Invitation { token, domain, account, inviter, created_at: 0, expires_at: 1 };
            assert_eq!(invitation.uri(), want);
        }
    }
}
