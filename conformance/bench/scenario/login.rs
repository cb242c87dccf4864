//! What a login costs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Extent;
use crate::bench::clock::{Clock, Meter};
use crate::bench::numbers::{Latencies, float, size};
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::server::Server;
use crate::bench::session::{Account, Session, Wants};

pub(in crate::bench) struct Login {
    pub(super) server: Server,
    accounts: Arc<Vec<Arc<Account>>>,
}

impl Login {
    pub(super) async fn prepare(server: Server, extent: &Extent) -> Result<Self> {
        // More accounts than logins at a time: nobody meets himself.
        let accounts = server.accounts("login", extent.concurrency.saturating_mul(4)).await?;
        let login = Self { server, accounts: Arc::new(accounts) };
        // The clients keep what is costly of their first login, and the server has loaded its code.
        login.log_in(login.accounts.len(), extent.concurrency).await?;
        Ok(login)
    }

    /// Logs in and out so many times; the latencies and the rate are those of the logins.
    async fn log_in(&self, count: usize, concurrency: usize) -> Result<(Latencies, f64)> {
        let (door, accounts, clock) = (self.server.door.clone(), Arc::clone(&self.accounts), Clock::new());
        let work = move |number: usize| {
            let (door, accounts) = (door.clone(), Arc::clone(&accounts));
            async move {
                let account =
                    accounts.get(number.checked_rem(accounts.len()).unwrap_or(0)).context("no account")?;
                let start = clock.now();
                let session = Session::log_in(&door, 0, account, "desk", Wants::default()).await?;
                // Some servers take their time over the end of a stream; the next login does not wait for it.
                Ok((clock.now().saturating_sub(start), tokio::spawn(session.close())))
            }
        };
        let mut latencies = Vec::with_capacity(count);
        let start = Instant::now();
        let logins = in_parallel(count, concurrency, work).await?;
        let per_second = float(size(count)) / start.elapsed().as_secs_f64();
        for (latency, closing) in logins {
            closing.await??;
            latencies.push(latency);
        }
        Ok((Latencies::new(latencies), per_second))
    }

    pub(super) async fn round(&self, extent: &Extent) -> Result<Vec<Sample>> {
        let meter = Meter::start(self.server.tree)?;
        let (latencies, per_second) = self.log_in(extent.logins, extent.concurrency).await?;
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;
        let mut sample = Sample::new("login");
        sample.set("per_second", per_second);
        sample.set_usage(size(extent.logins), usage);
        sample.set_latencies(&latencies);
        sample.set_memory(self.server.tree.memory()?);
        Ok(vec![sample])
    }
}
