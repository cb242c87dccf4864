//! What is measured.

mod chat;
mod idle;
mod login;
mod paging;
mod restart;
mod resume;

use std::time::Duration;

use anyhow::Result;

use super::sample::Sample;
use super::server::{Server, Target};
use restart::Way;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// TLS, SCRAM-SHA-1, a resource, presence, and the end of the stream
    Login,
    /// Memory of sessions that do nothing
    Idle,
    /// Messages of one device to another that nobody keeps
    Routed,
    /// The same, kept in the archives of both
    Recorded,
    /// Two devices each, with carbons, archive and stream management: a message reaches three others
    ThreeDevices,
    /// Four devices each: a message reaches seven others
    FourDevices,
    /// Pages of 50 messages of an archive, forward and back
    Paging,
    /// The same in a long archive; not one of `all`, since it takes most servers an hour to fill it
    LongPaging,
    /// A connection that is lost while messages arrive, and the stream resumed
    Resume,
    /// A restart of the server, and the return of all
    Restart,
    /// The same with phones: SASL2 by a token with the stream resumed in it (XEP-0484); not one of `all`, since few servers
    /// have it
    Reconnect,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    /// Of one phase.
    pub(super) duration: Duration,
    /// What a server may still do after the last message.
    pub(super) settle: Duration,
    pub(super) pairs: usize,
    /// Messages of each pair on their way, where the rate is free.
    pub(super) window: u32,
    /// Messages in a second, where it is not.
    pub(super) per_second: Option<f64>,
    pub(super) logins: usize,
    /// Logins at a time.
    pub(super) concurrency: usize,
    /// Sessions whose memory is measured.
    pub(super) idle: Vec<usize>,
    /// How long they do nothing first.
    pub(super) idle_settle: Duration,
    /// Messages in the archives that are paged through.
    pub(super) page_messages: Vec<u64>,
    /// Messages in the long one.
    pub(super) long_archive: u64,
    pub(super) resumes: usize,
    /// Sessions that a restart meets.
    pub(super) restart_sessions: usize,
}

/// A scenario that is set up on one server.
pub(super) enum Prepared {
    Login(login::Login),
    Idle(idle::Idle),
    Chat(chat::Chat),
    Paging(paging::Paging),
    Resume(resume::Resume),
    Restart(restart::Restart),
}

impl Scenario {
    /// Those that are measured where none is named.
    pub(super) fn usual() -> Vec<Self> {
        let all = <Self as clap::ValueEnum>::value_variants().iter().copied();
        all.filter(|scenario| !matches!(scenario, Self::LongPaging | Self::Reconnect)).collect()
    }

    pub(super) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The relay has no accounts, no archive and no copies.
    pub(super) fn applies_to(self, target: &Target) -> bool {
        !target.is_floor() || matches!(self, Self::Idle | Self::Routed)
    }

    /// Whether all servers are made ready at once: each with a core of its own takes long to fill an archive, and nothing
    /// is measured before the last is ready.
    pub(super) fn takes_long_to_prepare(self) -> bool {
        matches!(self, Self::Paging | Self::LongPaging)
    }

    /// Whether one server is done before the next begins: all connections of several at a time would be more than a
    /// process may have.
    pub(super) fn is_measured_alone(self) -> bool {
        matches!(self, Self::Restart | Self::Reconnect)
    }

    /// How often it is worth to be measured: what takes long and hardly varies only once.
    pub(super) fn rounds(self, wanted: usize) -> usize {
        if matches!(self, Self::Idle | Self::Restart | Self::Reconnect) { 1 } else { wanted }
    }

    pub(super) async fn prepare(self, server: Server, is_floor: bool, extent: &Extent) -> Result<Prepared> {
        Ok(match self {
            Self::Login => Prepared::Login(login::Login::prepare(server, extent).await?),
            Self::Idle => Prepared::Idle(idle::Idle::prepare(server, is_floor, extent).await?),
            Self::Paging => Prepared::Paging(paging::Paging::prepare(server, &extent.page_messages).await?),
            Self::LongPaging => {
                Prepared::Paging(paging::Paging::prepare(server, &[extent.long_archive]).await?)
            }
            Self::Resume => Prepared::Resume(resume::Resume::prepare(server, extent).await?),
            Self::Restart => {
                Prepared::Restart(restart::Restart::prepare(server, Way::Password, extent).await?)
            }
            Self::Reconnect => {
                Prepared::Restart(restart::Restart::prepare(server, Way::Token, extent).await?)
            }
            Self::Routed | Self::Recorded | Self::ThreeDevices | Self::FourDevices => {
                Prepared::Chat(chat::Chat::prepare(server, self, is_floor, extent).await?)
            }
        })
    }
}

impl Prepared {
    pub(super) async fn round(&mut self, extent: &Extent) -> Result<Vec<Sample>> {
        match self {
            Self::Login(login) => login.round(extent).await,
            Self::Idle(idle) => idle.round(extent).await,
            Self::Chat(chat) => chat.round(extent).await,
            Self::Paging(paging) => paging.round(extent).await,
            Self::Resume(resume) => resume.round(extent).await,
            Self::Restart(restart) => restart.round(extent).await,
        }
    }

    /// What is to be checked when all rounds are over; then the server is stopped.
    /// Returns what a reader must know.
    pub(super) async fn finish(self) -> Result<Vec<String>> {
        let (server, notes) = match self {
            Self::Login(login) => (login.server, Vec::new()),
            Self::Idle(idle) => (idle.server, Vec::new()),
            Self::Paging(paging) => (paging.server, Vec::new()),
            Self::Resume(resume) => (resume.server, Vec::new()),
            Self::Restart(restart) => (restart.server, Vec::new()),
            Self::Chat(chat) => chat.finish().await?,
        };
        server.stop().await?;
        Ok(notes)
    }
}
