//! What a restart means for those who are connected: how long, at what cost, and with the same session?

use std::collections::HashMap;
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
use crate::bench::token::Device;

/// Devices of an account.
const DEVICES: usize = 4;

/// Sessions from one address: fewer than it has ports.
const PER_SOURCE: usize = 5000;

/// How devices log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// SASL, then `<resume/>`.
    Password,
    /// All in one: SASL2 by a token.
    Token,
}

const WANTS: Wants = Wants { roster: true, carbons: true, stream_management: true };

pub(in crate::bench) struct Restart {
    pub(super) server: Server,
    accounts: Arc<Vec<Arc<Account>>>,
    way: Way,
    tokens: Arc<Tokens>,
    /// What they were, once the server has ended them.
    sessions: Arc<Mutex<Sessions>>,
}

type Sessions = JoinSet<(usize, Former)>;
/// By their numbers; of [`Way::Token`] alone.
type Tokens = Mutex<HashMap<usize, Device>>;

impl Restart {
    pub(super) async fn prepare(server: Server, way: Way, extent: &Extent) -> Result<Self> {
        let count = extent.restart_sessions;
        let accounts = Arc::new(server.accounts("restart", count.div_ceil(DEVICES)).await?);
        let sessions: Arc<Mutex<Sessions>> = Arc::default();
        let tokens: Arc<Tokens> = Arc::default();
        let (door, owners, opened) = (server.door.clone(), Arc::clone(&accounts), Arc::clone(&sessions));
        let given = Arc::clone(&tokens);
        in_parallel(count, extent.concurrency, move |number| {
            let (door, owners, opened) = (door.clone(), Arc::clone(&owners), Arc::clone(&opened));
            let given = Arc::clone(&given);
            async move {
                let (account, resource, source) = place(&owners, number)?;
                let session = match way {
                    Way::Password => Session::log_in(&door, source, &account, &resource, WANTS).await?,
                    Way::Token => {
                        let (device, session) = Device::log_in(&door, source, &account, number).await?;
                        lock(&given).insert(number, device);
                        session
                    }
                };
                lock(&opened).spawn(async move { (number, session.wait_for_the_end().await) });
                Ok(())
            }
        })
        .await?;
        Ok(Self { server, accounts, way, tokens, sessions })
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
        let (opened, tokens, way) = (Arc::clone(&self.sessions), Arc::clone(&self.tokens), self.way);
        let returns = in_parallel(count, extent.concurrency, move |number| {
            let (door, owners, formers) = (door.clone(), Arc::clone(&owners), Arc::clone(&formers));
            let (opened, tokens) = (Arc::clone(&opened), Arc::clone(&tokens));
            async move {
                let former = formers.get(number).cloned().context("no such device")?;
                let start = Instant::now();
                let (session, is_resumed) = match way {
                    Way::Password => come_back(&door, &owners, number, &former).await?,
                    Way::Token => {
                        let (account, _, source) = place(&owners, number)?;
                        let mut device = lock(&tokens).remove(&number).context("no token")?;
                        let session = device.come_back(&door, source, &account, &former).await?;
                        lock(&tokens).insert(number, device);
                        (session, true)
                    }
                };
                let latency = nanos(start.elapsed());
                lock(&opened).spawn(async move { (number, session.wait_for_the_end().await) });
                Ok((is_resumed, latency))
            }
        })
        .await?;
        let back = start.elapsed();
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;

        let what = if way == Way::Token { "reconnect" } else { "restart" };
        let mut sample = Sample::new(&format!("{what} with {count}"));
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
