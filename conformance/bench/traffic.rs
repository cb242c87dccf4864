//! Conversations: pairs of users, one writing to the other, each with some devices.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::clock::{Clock, Meter, Usage};
use super::machine::Tree;
use super::marker::{self, Marker};
use super::numbers::{Latencies, float, nanos, size};
use super::scan;
use super::session::Session;
use super::tracker::{Faults, Tracker};

/// How long nothing may arrive before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

const STOPPED: u8 = 0;
/// The next message goes out when an earlier one has reached all devices.
const CLOSED: u8 = 1;
/// Messages go out at set times, whatever becomes of the earlier ones.
const OPEN: u8 = 2;

/// One who writes, and how the writing is paced.
pub(super) struct Pair {
    index: u32,
    /// The bare JID of the other.
    to: String,
    hint: &'static str,
    /// Devices that each message reaches.
    copies: u32,
    /// After so many messages the sender asks for an acknowledgement; 0 for never.
    ack_every: u64,
    mode: AtomicU8,
    /// One for each copy that may be on its way.
    permits: Semaphore,
    sent: AtomicU64,
    /// In an open phase: the number of its first message, when that is due, and the time between two.
    first: AtomicU64,
    start: AtomicU64,
    interval: AtomicU64,
    /// How long after its time a message was sent.
    lateness: Mutex<Vec<u64>>,
}

/// What one device has received.
pub(super) struct Mailbox {
    pair: Arc<Pair>,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    tracker: Tracker,
    latencies: Vec<u64>,
}

/// How a pair writes.
pub(super) struct Manner {
    pub(super) to: String,
    /// An element beside the body, or nothing.
    pub(super) hint: &'static str,
    pub(super) ack_every: u64,
}

/// All conversations with one server.
pub(super) struct Traffic {
    clock: Clock,
    pairs: Vec<Arc<Pair>>,
    mailboxes: Vec<Arc<Mailbox>>,
    devices: JoinSet<Result<()>>,
    faults: Faults,
}

/// How fast, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many messages of each pair on their way.
    Closed { window: u32 },
    /// So many messages in a second, of all pairs together.
    Open { per_second: f64 },
}

/// What came out of one phase.
pub(super) struct Outcome {
    pub(super) messages: u64,
    /// How long was sent.
    pub(super) seconds: f64,
    pub(super) usage: Usage,
    pub(super) faults: Faults,
    /// From the time when a message was due to its arrival, of each copy. Of open phases only.
    pub(super) latencies: Latencies,
    pub(super) lateness: Latencies,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::new(),
            pairs: Vec::new(),
            mailboxes: Vec::new(),
            devices: JoinSet::new(),
            faults: Faults::default(),
        }
    }

    /// Adds a conversation: the device that writes, and those that each message must reach.
    pub(super) fn add(&mut self, manner: Manner, sender: Session, receivers: Vec<Session>) {
        let pair = Arc::new(Pair {
            index: u32::try_from(self.pairs.len()).unwrap_or(u32::MAX),
            to: manner.to,
            hint: manner.hint,
            copies: u32::try_from(receivers.len()).unwrap_or(u32::MAX),
            ack_every: manner.ack_every,
            mode: AtomicU8::new(STOPPED),
            permits: Semaphore::new(0),
            sent: AtomicU64::new(0),
            first: AtomicU64::new(0),
            start: AtomicU64::new(0),
            interval: AtomicU64::new(0),
            lateness: Mutex::default(),
        });
        for session in receivers {
            let mailbox = Arc::new(Mailbox { pair: Arc::clone(&pair), contents: Mutex::default() });
            self.mailboxes.push(Arc::clone(&mailbox));
            self.devices.spawn(receive(session, mailbox, self.clock));
        }
        self.devices.spawn(send(sender, Arc::clone(&pair), self.clock));
        self.pairs.push(pair);
    }

    /// Devices that one message of each pair reaches.
    pub(super) fn copies(&self) -> u64 {
        self.pairs.first().map_or(0, |pair| u64::from(pair.copies))
    }

    /// Messages sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.sent.load(Ordering::Relaxed)).sum()
    }

    /// Lets all write for a while, waits until everything has arrived, and then so long as the
    /// server may still have work with it.
    pub(super) async fn run(
        &mut self,
        pace: Pace,
        duration: Duration,
        settle: Duration,
        server: Tree,
    ) -> Result<Outcome> {
        let before = self.sent();
        let meter = Meter::start(server)?;
        let start = self.clock.now();
        match pace {
            Pace::Closed { window } => self.open_windows(window),
            Pace::Open { per_second } => self.schedule(per_second, duration),
        }
        self.watch(duration).await?;
        for pair in &self.pairs {
            pair.mode.store(STOPPED, Ordering::SeqCst);
        }
        let seconds = float(self.clock.now().saturating_sub(start)) / 1e9;
        self.drain().await?;
        tokio::time::sleep(settle).await;
        let usage = meter.stop()?;
        let faults = self.faults();
        let outcome = Outcome {
            messages: self.sent().saturating_sub(before),
            seconds,
            usage,
            faults: faults.since(self.faults),
            latencies: Latencies::new(self.take(|mailbox| &mut mailbox.latencies)),
            lateness: Latencies::new(
                self.pairs.iter().flat_map(|pair| std::mem::take(&mut *lock(&pair.lateness))).collect(),
            ),
        };
        self.faults = faults;
        Ok(outcome)
    }

    fn open_windows(&self, window: u32) {
        for pair in &self.pairs {
            pair.mode.store(CLOSED, Ordering::SeqCst);
            let permits = pair.copies.saturating_mul(window);
            pair.permits.add_permits(usize::try_from(permits).unwrap_or(usize::MAX));
        }
    }

    /// The pairs take turns. A thread of its own keeps time: timers of the runtime are a millisecond coarse.
    fn schedule(&self, per_second: f64, duration: Duration) {
        let step = Duration::from_secs_f64(1.0 / per_second.max(0.1));
        let interval = nanos(step).saturating_mul(size(self.pairs.len()));
        let start = self.clock.now().saturating_add(nanos(step));
        for (index, pair) in self.pairs.iter().enumerate() {
            pair.mode.store(OPEN, Ordering::SeqCst);
            pair.first.store(pair.sent.load(Ordering::SeqCst), Ordering::SeqCst);
            pair.start.store(start.saturating_add(nanos(step).saturating_mul(size(index))), Ordering::SeqCst);
            pair.interval.store(interval, Ordering::SeqCst);
        }
        let (clock, pairs) = (self.clock, self.pairs.clone());
        let end = start.saturating_add(nanos(duration));
        tokio::task::spawn_blocking(move || {
            let mut due = start;
            for pair in pairs.iter().cycle().take_while(|pair| pair.mode.load(Ordering::SeqCst) == OPEN) {
                if due >= end {
                    break;
                }
                while let Some(wait) = due.checked_sub(clock.now()).filter(|wait| *wait > 0) {
                    std::thread::park_timeout(Duration::from_nanos(wait));
                }
                pair.permits.add_permits(usize::try_from(pair.copies).unwrap_or(0));
                due = due.saturating_add(nanos(step));
            }
        });
    }

    /// Waits, and fails at once where a device fails.
    async fn watch(&mut self, duration: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            Some(ended) = self.devices.join_next() => {
                ended??;
                bail!("a device ended")
            }
        }
    }

    async fn drain(&mut self) -> Result<()> {
        let (mut last, mut since) = (0, self.clock.now());
        loop {
            for pair in &self.pairs {
                pair.permits.forget_permits(usize::MAX >> 3);
            }
            self.watch(Duration::from_millis(5)).await?;
            let wanted: u64 =
                self.mailboxes.iter().map(|mailbox| mailbox.pair.sent.load(Ordering::SeqCst)).sum();
            let received: u64 =
                self.mailboxes.iter().map(|mailbox| lock(&mailbox.contents).tracker.received()).sum();
            if received >= wanted {
                return Ok(());
            }
            let now = self.clock.now();
            if received > last {
                (last, since) = (received, now);
            }
            if now.saturating_sub(since) > nanos(SILENCE) {
                return Ok(());
            }
        }
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for mailbox in &self.mailboxes {
            let sent = mailbox.pair.sent.load(Ordering::SeqCst);
            faults.add(lock(&mailbox.contents).tracker.faults(sent));
        }
        faults
    }

    fn take(&self, part: impl Fn(&mut Contents) -> &mut Vec<u64>) -> Vec<u64> {
        self.mailboxes.iter().flat_map(|mailbox| std::mem::take(part(&mut lock(&mailbox.contents)))).collect()
    }
}

/// One device that only reads.
async fn receive(mut session: Session, mailbox: Arc<Mailbox>, clock: Clock) -> Result<()> {
    loop {
        while let Some(range) = session.next()? {
            mailbox.take(session.bytes(range), clock)?;
        }
        session.flush().await?;
        session.receive().await?;
    }
}

/// The device that writes.
async fn send(mut session: Session, pair: Arc<Pair>, clock: Clock) -> Result<()> {
    loop {
        while let Some(range) = session.next()? {
            let element = session.bytes(range);
            if marker::find(element).is_some() {
                bail!("what a device sent came back to it: {}", String::from_utf8_lossy(element));
            }
        }
        session.flush().await?;
        tokio::select! {
            biased;
            read = session.receive() => read?,
            () = pair.turn() => pair.write(session.outgoing(), clock),
        }
    }
}

impl Pair {
    /// Waits until the next message may go out.
    async fn turn(&self) {
        // It is never closed.
        if let Ok(permits) = self.permits.acquire_many(self.copies).await {
            permits.forget();
        }
    }

    fn write(&self, out: &mut Vec<u8>, clock: Clock) {
        let mode = self.mode.load(Ordering::SeqCst);
        if mode == STOPPED {
            return;
        }
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let due = if mode == OPEN {
            let turn = number.saturating_sub(self.first.load(Ordering::SeqCst));
            let wait = turn.saturating_mul(self.interval.load(Ordering::SeqCst));
            let due = self.start.load(Ordering::SeqCst).saturating_add(wait);
            lock(&self.lateness).push(clock.now().saturating_sub(due));
            due
        } else {
            0
        };
        marker::write_message(out, &self.to, Marker { sender: self.index, number, due }, self.hint);
        if self.ack_every > 0 && number.is_multiple_of(self.ack_every) {
            out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        }
    }
}

impl Mailbox {
    fn take(&self, element: &[u8], clock: Clock) -> Result<()> {
        if scan::name(element) != b"message" {
            return Ok(());
        }
        let Some(marker) = marker::find(element) else { return Ok(()) };
        if marker.sender != self.pair.index || scan::attribute(element, "type") == Some("error") {
            bail!("a message that is not for this device: {}", String::from_utf8_lossy(element));
        }
        let mut contents = lock(&self.contents);
        if marker.due > 0 {
            contents.latencies.push(clock.now().saturating_sub(marker.due));
        }
        let is_new = contents.tracker.note(marker.number);
        if is_new && self.pair.mode.load(Ordering::SeqCst) == CLOSED {
            self.pair.permits.add_permits(1);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::relay;
    use super::super::scan::Scanner;
    use super::super::session::Door;
    use super::*;

    /// The whole road of the load, with the relay in this process.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_relay_loses_doubles_and_disorders_nothing() {
        let (address, serve) = relay::listen().await.unwrap();
        tokio::spawn(serve);
        let door = Door::new(relay::DOMAIN, address).unwrap();
        let mut traffic = Traffic::new();
        for number in 0..3 {
            let mut sender = Session::connect(&door, 0, Scanner::without_header()).await.unwrap();
            let mut receiver = Session::connect(&door, 0, Scanner::without_header()).await.unwrap();
            for session in [&mut sender, &mut receiver] {
                session.queue(format!("{number}\n").as_bytes());
                session.flush().await.unwrap();
            }
            let manner = Manner { to: "b@relay.test".to_owned(), hint: "", ack_every: 0 };
            traffic.add(manner, sender, vec![receiver]);
        }
        let own = Tree::new(std::process::id());
        for pace in [Pace::Closed { window: 4 }, Pace::Open { per_second: 400.0 }] {
            let outcome = traffic.run(pace, Duration::from_millis(200), Duration::ZERO, own).await.unwrap();
            assert!(outcome.messages > 20, "{} messages, {pace:?}", outcome.messages);
            assert_eq!(outcome.faults, Faults::default(), "{pace:?}");
            let is_open = matches!(pace, Pace::Open { .. });
            assert_eq!(outcome.latencies.per_mille(500).is_some(), is_open, "{pace:?}");
        }
    }
}
