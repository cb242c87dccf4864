//! A program that serves a domain of its own (XEP-0114), by a client that shares no code with the server but SHA-1.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use minidom::Element;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Server;

pub(crate) const NS_ACCEPT: &str = "jabber:component:accept";

/// A connection of a component; what was read is looked at by its text.
pub(crate) struct Program {
    tcp: TcpStream,
    read: String,
}

impl Program {
    /// A stream that is open.
    pub(crate) async fn open(server: &Server, name: &str) -> Self {
        let tcp = TcpStream::connect(server.address("component")).await.unwrap();
        let mut program = Self { tcp, read: String::new() };
        program
            .send(&format!(
                "<stream:stream xmlns='{NS_ACCEPT}' xmlns:stream='http://etherx.jabber.org/streams' to='{name}'>"
            ))
            .await;
        program
    }

    /// Connected, with the handshake done.
    pub(crate) async fn connected(server: &Server, name: &str) -> Self {
        let mut program = Self::open(server, name).await;
        program.shake_hands("hush").await;
        program.until("<handshake/>").await;
        program
    }

    pub(crate) async fn shake_hands(&mut self, secret: &str) {
        let header = self.until("'>").await;
        let id = header.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{secret}").as_bytes());
        let digits = hash.as_ref().iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
        self.send(&format!("<handshake>{digits}</handshake>")).await;
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to a text, with it. What comes after it is kept.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut bytes = [0; 4096];
            let count = self.tcp.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the stream ends after {:?}, before {end}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// The next stanza of this kind.
    pub(crate) async fn next(&mut self, name: &str) -> Element {
        let text = self.until(&format!("</{name}>")).await;
        let start = text.find(&format!("<{name}")).unwrap();
        let stanza = text[start..].replacen(&format!("<{name}"), &format!("<{name} xmlns='{NS_ACCEPT}'"), 1);
        stanza.parse().unwrap()
    }
}
