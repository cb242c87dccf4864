//! A server that keeps the promises, in memory, and breaks one of them when it is told to: the proof that the checker
//! neither cries wolf nor sleeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod core;
mod keeping;
mod session;
mod stanzas;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::{Account, Accounts, Cast, DeviceNo, Link, Loss, Network, World};
use crate::xml::{Document, Event, Reader};
use core::Core;

/// How long a commit takes.
const COMMIT: Duration = Duration::from_millis(3);

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    AckBeforeCommit,
    DeliveryBeforeCommit,
    /// Ids are times, and the clock goes back now and then.
    IdByClock,
    NoDedup,
    ResumeQueueLost,
    /// Sessions do not survive a restart, and nobody is told what arrived.
    SessionsForgotten,
    /// Two stanzas change their places on the way to a device.
    Swapped,
    /// A stanza is sent to a device twice.
    Doubled,
    /// A stanza is not sent to a device.
    Dropped,
    /// The id that a device is told is not that of the archive.
    OtherId,
    /// No ids are told.
    NoId,
    /// What comes for a device that is away is not kept for it.
    NoOffline,
    /// Of what was recorded, something changes later.
    Rewritten,
    /// A stream ends now and then.
    HangsUp,
    /// A request is not answered now and then.
    Silent,
    /// Markers are not recorded.
    NoMarkers,
    /// A change of what an account keeps is acknowledged now and then, and not made.
    ForgetsChanges,
}

/// Bytes or an end.
pub(super) enum Outgoing {
    Xml(String),
    /// The stream ends with this.
    Last(String),
}

pub(super) struct Connection {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// Dropped to end the connection at once.
    _alive: watch::Sender<()>,
}

pub(super) struct Toy {
    core: Arc<Mutex<Core>>,
    network: Network,
}

impl Toy {
    pub(super) fn new(cast: &Cast, fault: Fault) -> (Self, Accounts) {
        let users = cast.users.iter().map(|name| Account { local: name.clone(), password: "secret".into() });
        let accounts = Accounts { domain: "toy.test".into(), users: users.collect() };
        (Self { core: Arc::new(Mutex::new(Core::new(fault))), network: Network::default() }, accounts)
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World for Toy {
    async fn connect(&self, device: DeviceNo) -> anyhow::Result<Box<dyn Link>> {
        anyhow::ensure!(lock(&self.core).is_up(), "the server is down");
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(self.core.clone(), near));
        Ok(Box::new(self.network.join(device, far)))
    }

    fn lose(&self, device: DeviceNo, how: Loss) {
        self.network.lose(device, how);
    }

    fn delay(&self, device: DeviceNo, time: Duration) {
        self.network.delay(device, time);
    }

    fn kill(&self) {
        lock(&self.core).crash();
    }

    async fn stop(&self) -> anyhow::Result<()> {
        lock(&self.core).stop();
        tokio::time::sleep(COMMIT * 2).await;
        Ok(())
    }

    async fn start(&self) -> anyhow::Result<()> {
        lock(&self.core).start();
        Ok(())
    }

    async fn step_clock(&self, _: i64) -> anyhow::Result<()> {
        Ok(())
    }
}

/// One connection, up to its end.
async fn serve(core: Arc<Mutex<Core>>, stream: DuplexStream) {
    let (outgoing, queue) = mpsc::unbounded_channel();
    let (alive, mut ended) = watch::channel(());
    let number = lock(&core).connected(Connection { outgoing, _alive: alive });
    let (reading, writing) = tokio::io::split(stream);
    let writer = tokio::spawn(write(writing, queue));
    tokio::select! {
        () = read(&core, number, reading) => {}
        _ = ended.changed() => writer.abort(),
    }
    lock(&core).disconnected(number);
}

async fn write(mut writing: WriteHalf<DuplexStream>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        let (xml, is_last) = match outgoing {
            Outgoing::Xml(xml) => (xml, false),
            Outgoing::Last(xml) => (xml, true),
        };
        if writing.write_all(xml.as_bytes()).await.is_err() || is_last {
            break;
        }
    }
    let _ = writing.shutdown().await;
}

async fn read(core: &Arc<Mutex<Core>>, number: u64, mut reading: ReadHalf<DuplexStream>) {
    let mut reader = Reader::new(Document::Stream);
    let mut bytes = vec![0; 4096];
    while let Ok(length) = reading.read(&mut bytes).await {
        if length == 0 {
            return;
        }
        reader.feed(&bytes[..length]);
        while let Ok(Some(event)) = reader.next() {
            let was_auth = matches!(&event, Event::Element(element) if element.name == "auth");
            let needs_commit = lock(core).handle(number, event);
            if was_auth {
                reader = Reader::new(Document::Stream);
            }
            if let Some(generation) = needs_commit {
                let core = core.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(COMMIT).await;
                    lock(&core).commit(generation);
                });
            }
        }
    }
}

pub(super) type Connections = BTreeMap<u64, Connection>;
