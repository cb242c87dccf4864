//! What it costs to come back after a cut (XEP-0198 §5), and whether all is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::Mutex;

use super::Extent;
use crate::bench::clock::Meter;
use crate::bench::marker::{self, Marker};
use crate::bench::numbers::{Latencies, float, nanos, size};
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::server::Server;
use crate::bench::session::{Account, Door, Session, Wants};
use crate::bench::tracker::{Faults, Tracker};

/// Messages that are written while the other loses its connection and comes back.
const MESSAGES: u64 = 20;

/// Messages after which it loses it.
const BEFORE_THE_CUT: u64 = 8;

/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(1);

/// How long nothing may arrive before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

const WANTS: Wants = Wants { roster: false, carbons: false, stream_management: true };

pub(in crate::bench) struct Resume {
    pub(super) server: Server,
    pairs: Arc<Vec<Mutex<Pair>>>,
}

/// One who writes, and one who loses the connection again and again.
struct Pair {
    door: Door,
    account: Arc<Account>,
    writer: Session,
    /// Absent while it has none.
    reader: Option<Session>,
    sent: u64,
    tracker: Tracker,
}

/// What one cut came to.
enum Return {
    /// From the first byte of the new connection to `<resumed/>`, in nanoseconds.
    Resumed(u64),
    /// The same until it was online with a new stream.
    Afresh(u64),
    /// The server ended what it had resumed.
    Broken(anyhow::Error),
}

impl Resume {
    pub(super) async fn prepare(server: Server, extent: &Extent) -> Result<Self> {
        let accounts = server.accounts("resume", extent.concurrency.saturating_mul(2)).await?;
        let mut pairs = Vec::new();
        for two in accounts.chunks(2) {
            let [writer, reader] = two else { bail!("no accounts") };
            pairs.push(Mutex::new(Pair {
                door: server.door.clone(),
                account: Arc::clone(reader),
                writer: Session::log_in(&server.door, 0, writer, "writer", Wants::default()).await?,
                reader: Some(Session::log_in(&server.door, 0, reader, "reader", WANTS).await?),
                sent: 0,
                tracker: Tracker::default(),
            }));
        }
        let resume = Self { server, pairs: Arc::new(pairs) };
        resume.cut(resume.pairs.len(), extent.concurrency).await?;
        resume.rest().await?;
        Ok(resume)
    }

    async fn cut(&self, count: usize, concurrency: usize) -> Result<Vec<Return>> {
        let pairs = Arc::clone(&self.pairs);
        in_parallel(count, concurrency, move |number| {
            let pairs = Arc::clone(&pairs);
            async move {
                let index = number.checked_rem(pairs.len()).unwrap_or(0);
                pairs.get(index).context("no pair")?.lock().await.cut().await
            }
        })
        .await
    }

    /// The readers log out until the next round: one that did not answer meanwhile would be cut off.
    async fn rest(&self) -> Result<()> {
        for pair in self.pairs.iter() {
            let reader = pair.lock().await.reader.take();
            reader.context("the last return failed")?.close().await?;
        }
        Ok(())
    }

    async fn wake(&self) -> Result<()> {
        for pair in self.pairs.iter() {
            pair.lock().await.wake().await?;
        }
        Ok(())
    }

    pub(super) async fn round(&self, extent: &Extent) -> Result<Vec<Sample>> {
        self.wake().await?;
        let before = self.faults().await;
        let meter = Meter::start(self.server.tree)?;
        let start = Instant::now();
        let returns = self.cut(extent.resumes, extent.concurrency).await?;
        let seconds = start.elapsed().as_secs_f64();
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;
        self.rest().await?;
        let mut sample = Sample::new(&format!("resume amid {MESSAGES} messages"));
        sample.set_usage(size(returns.len()), usage);
        sample.set("per_second", float(size(returns.len())) / seconds);
        sample.set_memory(self.server.tree.memory()?);
        sample.set_faults(self.faults().await.since(before));
        let refused = returns.iter().filter(|one| matches!(one, Return::Afresh(_))).count();
        sample.set("not_resumed", float(size(refused)));
        if refused > 0 {
            sample.note("some streams were not resumed; the device logged in afresh");
        }
        let mut latencies = Vec::new();
        let mut broken: f64 = 0.0;
        for one in returns {
            match one {
                Return::Resumed(latency) | Return::Afresh(latency) => latencies.push(latency),
                Return::Broken(error) => {
                    broken += 1.0;
                    sample.note(format!("a stream broke off: {error:#}"));
                }
            }
        }
        sample.set("broken", broken);
        sample.set_latencies(&Latencies::new(latencies));
        Ok(vec![sample])
    }

    async fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for pair in self.pairs.iter() {
            let pair = pair.lock().await;
            faults.add(pair.tracker.faults(pair.sent));
        }
        faults
    }
}

impl Pair {
    async fn cut(&mut self) -> Result<Return> {
        match self.cut_and_return().await {
            Ok(result) => Ok(result),
            Err(error) => {
                self.wake().await.context("nor does a new stream work")?;
                Ok(Return::Broken(error))
            }
        }
    }

    async fn wake(&mut self) -> Result<()> {
        self.reader = Some(Session::log_in(&self.door, 0, &self.account, "reader", WANTS).await?);
        Ok(())
    }

    /// The connection is lost while messages arrive, and more come before it is back.
    async fn cut_and_return(&mut self) -> Result<Return> {
        let end = self.sent.saturating_add(MESSAGES);
        let cut_at = self.sent.saturating_add(BEFORE_THE_CUT);
        write(&mut self.writer, &self.account.jid, &mut self.sent, cut_at).await?;
        let mut reader = self.reader.take().context("the last return failed")?;
        // A part has arrived; the rest may be anywhere on the road.
        let half = cut_at.saturating_sub(BEFORE_THE_CUT / 2);
        read_until(&mut reader, &mut self.tracker, half).await?;
        let (received, id) = (reader.received.unwrap_or(0), reader.resume_id.clone());
        let id = id.context("the stream cannot be resumed: it was given no id")?;
        reader.cut()?;

        let start = Instant::now();
        let returning = come_back(&self.door, &self.account, &id, received);
        let writing = write(&mut self.writer, &self.account.jid, &mut self.sent, end);
        let (returned, written) = tokio::join!(returning, writing);
        written?;
        let (mut reader, is_resumed, back) = returned?;
        read_until(&mut reader, &mut self.tracker, end).await?;
        self.reader = Some(reader);
        let latency = nanos(back.saturating_duration_since(start));
        Ok(if is_resumed { Return::Resumed(latency) } else { Return::Afresh(latency) })
    }
}

/// Logs in and resumes, or begins afresh where that is refused. Also says when that was done.
async fn come_back(
    door: &Door,
    account: &Account,
    id: &str,
    received: u32,
) -> Result<(Session, bool, Instant)> {
    let mut session = Session::authenticate(door, 0, account).await?;
    let is_resumed = session.resume(id, received).await?.is_some();
    if !is_resumed {
        session.bind("reader").await?;
        session.go_online(WANTS).await?;
    }
    Ok((session, is_resumed, Instant::now()))
}

async fn write(writer: &mut Session, to: &str, sent: &mut u64, end: u64) -> Result<()> {
    while *sent < end {
        marker::write_message(writer.outgoing(), to, Marker { sender: 0, number: *sent, due: 0 }, "");
        *sent = sent.saturating_add(1);
        writer.flush().await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Reads until so many different messages have come, or nothing comes any more.
async fn read_until(reader: &mut Session, tracker: &mut Tracker, count: u64) -> Result<()> {
    loop {
        while let Some(range) = reader.next()? {
            if let Some(marker) = marker::find(reader.bytes(range)) {
                tracker.note(marker.number);
            }
        }
        reader.flush().await?;
        if tracker.received() >= count {
            return Ok(());
        }
        match tokio::time::timeout(SILENCE, reader.receive()).await {
            Ok(read) => read?,
            Err(_) => return Ok(()),
        }
    }
}
