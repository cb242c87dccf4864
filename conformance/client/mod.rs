//! A small XMPP client: it shows everything that a server sends, and hides nothing but
//! the traffic of the runner itself.

mod connection;
mod filter;
mod login;
mod sabotage;
mod sasl;
mod tls;
mod trace;

pub(crate) use connection::{Connection, Incoming, Options};
pub(crate) use filter::{Counters, SYNC_PREFIX};
pub(crate) use login::{Endpoint, Identity, Login};
pub(crate) use sabotage::{Damage, Sabotage};
pub(crate) use sasl::ScramSha1;
pub(crate) use tls::config as tls_config;
pub(crate) use trace::Trace;

pub(crate) const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub(crate) const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(crate) const NS_SASL2: &str = "urn:xmpp:sasl:2";
pub(crate) const NS_BIND2: &str = "urn:xmpp:bind:0";
pub(crate) const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
pub(crate) const NS_SM: &str = "urn:xmpp:sm:3";
