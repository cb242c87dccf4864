//! What a restart means for those who are connected: how long, at what cost, and with the same session?

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::Extent;
use crate::bench::clock::Meter;
use crate::bench::numbers::{Latencies, float, nanos, size};
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::server::Server;
use crate::bench::session::{Account, Door, Former, Session, Wants};

/// Devices of an account.
const DEVICES: usize = 4;

/// Sessions from one address: fewer than it has ports.
const PER_SOURCE: usize = 5000;

const WANTS: Wants = Wants { roster: true, carbons: true, stream_management: true };

pub(in crate::bench) struct Restart {
    pub(super) server: Server,
    accounts: Arc<Vec<Arc<Account>>>,
    /// What they were, once the server has ended them.
    sessions: Arc<Mutex<Sessions>>,
}

type Sessions = JoinSet<(usize, Former)>;

impl Restart {
    pub(super) async fn prepare(server: Server, extent: &Extent) -> Result<Self> {
        let count = extent.restart_sessions;
        let accounts = Arc::new(server.accounts("restart", count.div_ceil(DEVICES)).await?);
        let sessions: Arc<Mutex<Sessions>> = Arc::default();
        let (door, owners, opened) = (server.door.clone(), Arc::clone(&accounts), Arc::clone(&sessions));
        in_parallel(count, extent.concurrency, move |number| {
            let (door, owners, opened) = (door.clone(), Arc::clone(&owners), Arc::clone(&opened));
            async move {
                let (account, resource, source) = place(&owners, number)?;
                let session = Session::log_in(&door, source, &account, &resource, WANTS).await?;
                lock(&opened).spawn(async move { (number, session.wait_for_the_end().await) });
                Ok(())
            }
        })
        .await?;
        Ok(Self { server, accounts, sessions })
    }

    pub(super) async fn round(&mut self, extent: &Extent) -> Result<Vec<Sample>> {
        // What is on the road arrives: presence of the other devices, requests for acknowledgements.
        tokio::time::sleep(extent.settle).await;
        let start = Instant::now();
        self.server.halt().await?;
        let stopped = start.elapsed();
        let sessions = std::mem::take(&mut *lock(&self.sessions));
        let mut formers = sessions.join_all().await;
        formers.sort_by_key(|(number, _)| *number);
        let formers: Vec<Former> = formers.into_iter().map(|(_, former)| former).collect();
        let count = formers.len();
        let start = Instant::now();
        self.server.start_again().await?;
        let started = start.elapsed();

        let meter = Meter::start(self.server.tree)?;
        let start = Instant::now();
        let (door, owners, formers) =
            (self.server.door.clone(), Arc::clone(&self.accounts), Arc::new(formers));
        let opened = Arc::clone(&self.sessions);
        let returns = in_parallel(count, extent.concurrency, move |number| {
            let (door, owners, formers) = (door.clone(), Arc::clone(&owners), Arc::clone(&formers));
            let opened = Arc::clone(&opened);
            async move {
                let former = formers.get(number).cloned().context("no such device")?;
                let start = Instant::now();
                let (session, is_resumed) = come_back(&door, &owners, number, &former).await?;
                let latency = nanos(start.elapsed());
                lock(&opened).spawn(async move { (number, session.wait_for_the_end().await) });
                Ok((is_resumed, latency))
            }
        })
        .await?;
        let back = start.elapsed();
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;

        let mut sample = Sample::new(&format!("restart with {count}"));
        sample.set_usage(size(count), usage);
        sample.set("per_second", float(size(count)) / back.as_secs_f64());
        sample.set("stop_seconds", stopped.as_secs_f64());
        sample.set("start_seconds", started.as_secs_f64());
        sample.set("return_seconds", back.as_secs_f64());
        let refused = returns.iter().filter(|(is_resumed, _)| !is_resumed).count();
        sample.set("not_resumed", float(size(refused)));
        sample.set_memory(self.server.tree.memory()?);
        sample.set_latencies(&Latencies::new(returns.into_iter().map(|(_, latency)| latency).collect()));
        Ok(vec![sample])
    }
}

fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose device this is, its name, and from where it connects.
fn place(accounts: &[Arc<Account>], number: usize) -> Result<(Arc<Account>, String, u8)> {
    let account = accounts.get(number / DEVICES).cloned().context("no account")?;
    let source = u8::try_from(number / PER_SOURCE).context("too many sessions")?;
    Ok((account, format!("device{}", number % DEVICES), source))
}

async fn come_back(
    door: &Door,
    accounts: &[Arc<Account>],
    number: usize,
    former: &Former,
) -> Result<(Session, bool)> {
    let (account, resource, source) = place(accounts, number)?;
    let mut session = Session::authenticate(door, source, &account).await?;
    if let Some(id) = &former.resume_id
        && session.resume(id, former.received).await?.is_some()
    {
        return Ok((session, true));
    }
    session.bind(&resource).await?;
    session.go_online(WANTS).await?;
    Ok((session, false))
}
