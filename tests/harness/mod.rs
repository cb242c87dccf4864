//! What the stories stand on: the real server as a process of its own, and clients that share no code with it.

mod archive;
mod component;
mod database;
mod device;
mod disk;
mod http;
mod library;
mod login;
mod message;
mod scram;
mod server;
mod wire;

pub(crate) use self::archive::query;
pub(crate) use self::component::{NS_ACCEPT, Program};
pub(crate) use self::database::Database;
pub(crate) use self::device::{Device, Lost, Resumption};
pub(crate) use self::disk::Disk;
pub(crate) use self::http::request_with;
pub(crate) use self::library::Library;
pub(crate) use self::login::{Login, authenticate};
pub(crate) use self::message::{Said, chat, condition, said};
pub(crate) use self::scram::{Exchange, Mechanism, plain};
pub(crate) use self::server::{Server, Start, command, output};
pub(crate) use self::wire::{Arrival, Wire, handshake, trusting};

/// The domain of the server, and the password of every account.
pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) const NS_CLIENT: &str = "jabber:client";
pub(crate) const NS_STREAMS: &str = "http://etherx.jabber.org/streams";
pub(crate) const NS_STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
pub(crate) const NS_STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
pub(crate) const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(crate) const NS_SASL2: &str = "urn:xmpp:sasl:2";
pub(crate) const NS_SM: &str = "urn:xmpp:sm:3";
pub(crate) const NS_MAM: &str = "urn:xmpp:mam:2";

/// Makes two tests of each story: one on SQLite, one on PostgreSQL. The latter does nothing where there is none, and
/// says so.
macro_rules! on_each_database {
    ($($story:ident),* $(,)?) => { $(
        mod $story {
            use crate::harness::Database;

            #[tokio::test]
            async fn sqlite() {
                super::$story(Database::Sqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(database) = Database::postgres().await {
                    super::$story(database).await;
                }
            }
        }
    )* };
}
pub(crate) use on_each_database;
