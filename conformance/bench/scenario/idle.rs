//! What a session costs that does nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::Extent;
use crate::bench::clock::Meter;
use crate::bench::machine::Memory;
use crate::bench::numbers::{float, size};
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::scan::Scanner;
use crate::bench::server::Server;
use crate::bench::session::{Account, Door, Session, Wants};

/// Sessions from one address: fewer than it has ports.
const PER_SOURCE: usize = 5000;

/// Sessions that come and go before, so that code that is loaded once counts for nobody. They are few:
/// memory that they leave behind is used again, and would be missing in what is measured.
const WARM_UP: usize = 10;

const WANTS: Wants = Wants { roster: true, carbons: true, stream_management: true };

pub(in crate::bench) struct Idle {
    pub(super) server: Server,
    /// Empty on the floor.
    accounts: Arc<Vec<Arc<Account>>>,
}

impl Idle {
    pub(super) async fn prepare(mut server: Server, is_floor: bool, extent: &Extent) -> Result<Self> {
        let most = extent.idle.iter().copied().max().unwrap_or(0);
        let mut accounts = Vec::new();
        if !is_floor {
            accounts = server.accounts("idle", most).await?;
            // What making them left in its memory would be used again, and hide what sessions take.
            server.halt().await?;
            server.start_again().await?;
        }
        let idle = Self { server, accounts: Arc::new(accounts) };
        for number in most..most.saturating_add(WARM_UP) {
            let session = open(&idle.server.door, &idle.accounts, number).await?;
            // On the floor there is no stream to be closed.
            if !is_floor {
                session.close().await?;
            }
        }
        Ok(idle)
    }

    pub(super) async fn round(&self, extent: &Extent) -> Result<Vec<Sample>> {
        tokio::time::sleep(extent.settle).await;
        let empty = self.server.tree.memory()?;
        let mut samples = Vec::new();
        let sessions = Arc::new(Mutex::new(JoinSet::new()));
        let mut points = extent.idle.clone();
        points.sort_unstable();
        for point in points {
            let from = lock(&sessions).len();
            let missing = point.saturating_sub(from);
            let meter = Meter::start(self.server.tree)?;
            let (door, accounts, opened) =
                (self.server.door.clone(), Arc::clone(&self.accounts), Arc::clone(&sessions));
            let work = move |number: usize| {
                let (door, accounts, opened) = (door.clone(), Arc::clone(&accounts), Arc::clone(&opened));
                async move {
                    let session = open(&door, &accounts, number.saturating_add(from)).await?;
                    // The server is answered from the first moment on.
                    lock(&opened).spawn(wait(session));
                    Ok(())
                }
            };
            in_parallel(missing, extent.concurrency, work).await?;
            let opening = meter.stop()?;
            // What a server tidies away when nothing happens is tidied away.
            tokio::time::sleep(extent.idle_settle).await;
            let meter = Meter::start(self.server.tree)?;
            tokio::time::sleep(extent.settle).await;
            let resting = meter.stop()?;
            if let Some(ended) = lock(&sessions).try_join_next() {
                ended??;
            }
            let memory = self.server.tree.memory()?;
            let mut sample = Sample::new(&format!("idle at {point}"));
            set_memory(&mut sample, empty, memory, point);
            sample.set("open_cpu_us", opening.server * 1e6 / float(size(missing.max(1))));
            sample.set("resting_cpu_ms_per_second", resting.server * 1e3 / resting.wall);
            samples.push(sample);
        }
        lock(&sessions).abort_all();
        Ok(samples)
    }
}

/// A session of the account of this number; on the floor, one that waits for its other half.
async fn open(door: &Door, accounts: &[Arc<Account>], number: usize) -> Result<Session> {
    let source = u8::try_from(number / PER_SOURCE).context("too many sessions")?;
    let account = number.checked_rem(accounts.len()).and_then(|index| accounts.get(index));
    if let Some(account) = account {
        return Session::log_in(door, source, account, "desk", WANTS).await;
    }
    let mut session = Session::connect(door, source, Scanner::without_header()).await?;
    session.queue(format!("{number}\n").as_bytes());
    session.flush().await?;
    Ok(session)
}

fn lock(sessions: &Mutex<JoinSet<Result<()>>>) -> MutexGuard<'_, JoinSet<Result<()>>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_memory(sample: &mut Sample, empty: Memory, full: Memory, sessions: usize) {
    let sessions = float(size(sessions.max(1)));
    sample.set("kib_per_session", float(full.pss.saturating_sub(empty.pss)) / sessions);
    sample.set("rss_kib_per_session", float(full.rss.saturating_sub(empty.rss)) / sessions);
    sample.set("empty_mib", float(empty.pss) / 1024.0);
    sample.set("memory_mib", float(full.pss) / 1024.0);
}

/// Answers what the server asks, and does nothing else.
async fn wait(mut session: Session) -> Result<()> {
    loop {
        while session.next()?.is_some() {}
        session.flush().await?;
        session.receive().await?;
    }
}
