//! What a message costs, from one device to few or many.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Extent, Scenario};
use crate::bench::numbers::float;
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::scan::{self, Scanner};
use crate::bench::server::Server;
use crate::bench::session::{Account, Session, Wants};
use crate::bench::traffic::{Manner, Pace, Traffic};

/// Keeps a message out of the archives (XEP-0334 §4.2), and it is routed as any other.
const NO_STORE: &str = "<no-store xmlns='urn:xmpp:hints'/>";

/// A client asks for an acknowledgement after so many messages.
const ACK_EVERY: u64 = 5;

/// A message that is sent so much too late is the fault of the load.
const LATE_US: f64 = 5000.0;

/// What distinguishes the scenarios.
#[derive(Debug, Clone, Copy)]
struct Kind {
    devices: usize,
    wants: Wants,
    hint: &'static str,
    /// Messages in a second when latencies are measured: few enough for any server.
    per_second: f64,
}

impl Kind {
    fn of(scenario: Scenario) -> Self {
        let plain = Wants::default();
        let all = Wants { roster: true, carbons: true, stream_management: true };
        let (devices, wants, hint, per_second) = match scenario {
            Scenario::Routed => (1, plain, NO_STORE, 500.0),
            Scenario::ThreeDevices => (2, all, "", 200.0),
            Scenario::FourDevices => (4, all, "", 100.0),
            _ => (1, plain, "", 300.0),
        };
        Self { devices, wants, hint, per_second }
    }
}

pub(in crate::bench) struct Chat {
    server: Server,
    row: String,
    kind: Kind,
    traffic: Traffic,
    /// One who receives.
    witness: Option<Arc<Account>>,
}

impl Chat {
    pub(super) async fn prepare(
        server: Server,
        scenario: Scenario,
        is_floor: bool,
        extent: &Extent,
    ) -> Result<Self> {
        let kind = Kind::of(scenario);
        let mut traffic = Traffic::new();
        let mut witness = None;
        if is_floor {
            join_relay(&server, &mut traffic, extent.pairs).await?;
        } else {
            let accounts = server.accounts("chat", extent.pairs.saturating_mul(2)).await?;
            witness = accounts.get(1).cloned();
            converse(&server, &mut traffic, kind, accounts).await?;
        }
        let mut chat = Self { server, row: scenario.name(), kind, traffic, witness };
        // Caches are filled and code is compiled before the first round.
        let pace = Pace::Closed { window: extent.window };
        chat.traffic.run(pace, extent.duration.div_f64(4.0), extent.settle, chat.server.tree).await?;
        Ok(chat)
    }

    /// First as fast as it goes, for the rate and the cost; then at a set rate, for the latencies.
    pub(super) async fn round(&mut self, extent: &Extent) -> Result<Vec<Sample>> {
        let mut sample = Sample::new(&self.row);
        let pace = Pace::Closed { window: extent.window };
        let tree = self.server.tree;
        let free = self.traffic.run(pace, extent.duration, extent.settle, tree).await?;
        let per_second = extent.per_second.unwrap_or(self.kind.per_second);
        let paced = self.traffic.run(Pace::Open { per_second }, extent.duration, extent.settle, tree).await?;
        sample.set_usage(free.messages, free.usage);
        sample.set("per_second", float(free.messages) / free.seconds);
        sample.set("messages", float(free.messages));
        sample.set("copies", float(self.traffic.copies()));
        let copies = float(free.messages.saturating_mul(self.traffic.copies()).max(1));
        sample.set("cpu_us_per_copy", free.usage.server * 1e6 / copies);
        sample.set("paced_cpu_us", paced.usage.server * 1e6 / float(paced.messages.max(1)));
        sample.set("paced_per_second", float(paced.messages) / paced.seconds);
        sample.set_latencies(&paced.latencies);
        if let Some(late) = paced.lateness.per_mille(990) {
            sample.set("late_p99_us", late);
            if late > LATE_US {
                sample.note(format!("the load sent late (99 % within {late:.0} µs): latencies are too high"));
            }
        }
        if float(paced.messages) < 0.9 * per_second * extent.duration.as_secs_f64() {
            sample.note(format!(
                "only {:.0} messages a second were sent",
                float(paced.messages) / paced.seconds
            ));
        }
        let mut faults = free.faults;
        faults.add(paced.faults);
        sample.set_faults(faults);
        sample.set_memory(tree.memory()?);
        Ok(vec![sample])
    }

    /// Whether the archive holds what it should, and nothing else.
    pub(super) async fn finish(self) -> Result<(Server, Vec<String>)> {
        let mut notes = Vec::new();
        if let Some(account) = &self.witness {
            let mut session =
                Session::log_in(&self.server.door, 0, account, "witness", Wants::default()).await?;
            let has_messages = has_archive(&mut session).await?;
            session.close().await?;
            if has_messages != self.kind.hint.is_empty() {
                let found = if has_messages { "was archived all the same" } else { "was not archived" };
                notes.push(format!("what was sent {found}"));
            }
        }
        Ok((self.server, notes))
    }
}

/// Whether the account's archive (XEP-0313) holds anything.
async fn has_archive(session: &mut Session) -> Result<bool> {
    let query = "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query>";
    let fin = session.request("", "set", query).await?;
    Ok(scan::contains(&fin, "<first") || scan::contains(&fin, "<last"))
}

async fn join_relay(server: &Server, traffic: &mut Traffic, pairs: usize) -> Result<()> {
    for number in 0..pairs {
        let mut ends = Vec::new();
        for _ in 0..2 {
            let mut session = Session::connect(&server.door, 0, Scanner::without_header()).await?;
            session.queue(format!("{number}\n").as_bytes());
            session.flush().await?;
            ends.push(session);
        }
        let sender = ends.pop().context("no sender")?;
        let to = format!("chat{number}@{}", server.door.domain);
        traffic.add(Manner { to, hint: NO_STORE, ack_every: 0 }, sender, ends);
    }
    Ok(())
}

/// Logs the pairs in, one after the other: each device is listened to before a server can miss its answers.
async fn converse(
    server: &Server,
    traffic: &mut Traffic,
    kind: Kind,
    accounts: Vec<Arc<Account>>,
) -> Result<()> {
    let each = kind.devices;
    for pair in accounts.chunks(2) {
        let (door, owners) = (server.door.clone(), pair.to_vec());
        let devices = each.saturating_mul(2);
        let sessions = in_parallel(devices, devices, move |number| {
            let (owner, device) = (number.checked_div(each), number.checked_rem(each).unwrap_or(0));
            let (door, account) = (door.clone(), owner.and_then(|owner| owners.get(owner).cloned()));
            async move {
                let account = account.context("no account")?;
                Session::log_in(&door, 0, &account, &format!("device{device}"), kind.wants).await
            }
        });
        let mut sessions = sessions.await?.into_iter();
        let sender = sessions.next().context("no session")?;
        let to = pair.last().context("no account")?.jid.clone();
        let ack_every = if kind.wants.stream_management { ACK_EVERY } else { 0 };
        traffic.add(Manner { to, hint: kind.hint, ack_every }, sender, sessions.collect());
    }
    Ok(())
}
