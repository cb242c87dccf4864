//! What a login costs.

use std::sync::Arc;

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

    /// Logs in and out so many times; the latencies are those of the logins.
    async fn log_in(&self, count: usize, concurrency: usize) -> Result<Latencies> {
        let (door, accounts, clock) = (self.server.door.clone(), Arc::clone(&self.accounts), Clock::new());
        let work = move |number: usize| {
            let (door, accounts) = (door.clone(), Arc::clone(&accounts));
            async move {
                let account =
                    accounts.get(number.checked_rem(accounts.len()).unwrap_or(0)).context("no account")?;
                let start = clock.now();
                let session = Session::log_in(&door, 0, account, "desk", Wants::default()).await?;
                let end = clock.now();
                session.close().await?;
                Ok(end.saturating_sub(start))
            }
        };
        Ok(Latencies::new(in_parallel(count, concurrency, work).await?))
    }

    pub(super) async fn round(&self, extent: &Extent) -> Result<Vec<Sample>> {
        let meter = Meter::start(self.server.tree)?;
        let clock = Clock::new();
        let latencies = self.log_in(extent.logins, extent.concurrency).await?;
        let seconds = float(clock.now()) / 1e9;
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;
        let mut sample = Sample::new("login");
        sample.set("per_second", float(size(extent.logins)) / seconds);
        sample.set_usage(size(extent.logins), usage);
        sample.set_latencies(&latencies);
        if usage.is_bound_by_load() {
            sample.note("the rate was limited by the load, not by the server");
        }
        Ok(vec![sample])
    }
}
