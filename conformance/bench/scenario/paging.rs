//! What a page of the archive costs (XEP-0313, XEP-0059).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Extent;
use crate::bench::clock::{Clock, Meter};
use crate::bench::marker::{self, Marker};
use crate::bench::numbers::{Latencies, float, size};
use crate::bench::parallel::in_parallel;
use crate::bench::sample::Sample;
use crate::bench::scan;
use crate::bench::server::Server;
use crate::bench::session::{Account, Door, Session, Wants};
use crate::bench::tracker::Faults;

/// Messages of a page: what each server gives at once.
const PAGE: u64 = 50;

/// Devices that page at the same time.
const READERS: usize = 4;

/// Messages on their way while the archive is filled.
const BURST: u64 = 64;

/// How long that may take: some servers need more time for each message the more there are.
const FILL_MAX: Duration = Duration::from_secs(7200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Back,
}

pub(in crate::bench) struct Paging {
    pub(super) server: Server,
    archives: Vec<Archive>,
}

/// An account and how many messages it has.
struct Archive {
    reader: Arc<Account>,
    messages: u64,
    /// Why there are fewer.
    failure: Option<anyhow::Error>,
}

/// What one device found, page by page.
#[derive(Default)]
struct Walk {
    /// In the order in which they came.
    pages: Vec<Vec<u64>>,
    latencies: Vec<u64>,
    is_complete: bool,
}

#[derive(Clone, Copy)]
struct Deadline {
    start: Instant,
    duration: Duration,
}

impl Deadline {
    fn has_come(self) -> bool {
        self.start.elapsed() >= self.duration
    }
}

impl Paging {
    pub(super) async fn prepare(server: Server, sizes: &[u64]) -> Result<Self> {
        let accounts = server.accounts("paging", sizes.len().saturating_mul(2)).await?;
        let mut archives = Vec::new();
        for (two, messages) in accounts.chunks(2).zip(sizes) {
            let [reader, writer] = two else { bail!("no accounts") };
            let mut archive = Archive { reader: Arc::clone(reader), messages: *messages, failure: None };
            // What is too much for a server in one archive says nothing of the others.
            archive.failure = archive.prepare(&server.door, writer).await.err();
            archives.push(archive);
        }
        Ok(Self { server, archives })
    }

    pub(super) async fn round(&mut self, extent: &Extent) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for archive in &mut self.archives {
            for direction in [Direction::Forward, Direction::Back] {
                let row = format!("page {} in {}", direction.name(), archive.messages);
                if archive.failure.is_none() {
                    match archive.measure(direction, &row, &self.server, extent).await {
                        Ok(sample) => samples.push(sample),
                        Err(error) => archive.failure = Some(error),
                    }
                }
                if let Some(error) = &archive.failure {
                    samples.push(Sample::failed(&row, error));
                }
            }
        }
        Ok(samples)
    }
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }
}

impl Archive {
    async fn prepare(&self, door: &Door, writer: &Account) -> Result<()> {
        self.fill(door, writer).await.context("cannot fill the archive")?;
        for direction in [Direction::Forward, Direction::Back] {
            self.read(door, direction, Duration::from_millis(500)).await?;
        }
        Ok(())
    }

    async fn fill(&self, door: &Door, writer: &Account) -> Result<()> {
        let mut from = Session::log_in(door, 0, writer, "writer", Wants::default()).await?;
        let mut to = Session::log_in(door, 0, &self.reader, "reader", Wants::default()).await?;
        let (mut number, start) = (0, Instant::now());
        while number < self.messages {
            let time = start.elapsed();
            ensure!(time < FILL_MAX, "{number} of {} messages after {} s", self.messages, time.as_secs());
            let end = number.saturating_add(BURST).min(self.messages);
            for number in number..end {
                let marker = Marker { sender: 0, number, due: 0 };
                marker::write_message(from.outgoing(), &self.reader.jid, marker, "");
            }
            from.flush().await?;
            let arrival = async {
                while number < end {
                    to.receive().await?;
                    while let Some(range) = to.next()? {
                        number = number.saturating_add(u64::from(marker::find(to.bytes(range)).is_some()));
                    }
                    to.flush().await?;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(Duration::from_secs(60), arrival)
                .await
                .context("a message is missing")??;
        }
        from.close().await?;
        to.close().await
    }

    /// Walks through the archive again and again for a while, but once at least begins to.
    async fn read(&self, door: &Door, direction: Direction, duration: Duration) -> Result<Vec<Walk>> {
        let (door, reader) = (door.clone(), Arc::clone(&self.reader));
        let walks = in_parallel(READERS, READERS, move |number| {
            let (door, reader) = (door.clone(), Arc::clone(&reader));
            async move {
                let resource = format!("reader{number}");
                let mut session = Session::log_in(&door, 0, &reader, &resource, Wants::default()).await?;
                let (mut walks, end) = (Vec::new(), Deadline { start: Instant::now(), duration });
                while walks.is_empty() || !end.has_come() {
                    walks.push(walk(&mut session, direction, end).await?);
                }
                session.close().await?;
                Ok(walks)
            }
        });
        Ok(walks.await?.into_iter().flatten().collect())
    }

    async fn measure(
        &self,
        direction: Direction,
        row: &str,
        server: &Server,
        extent: &Extent,
    ) -> Result<Sample> {
        let meter = Meter::start(server.tree)?;
        let start = Instant::now();
        let walks = self.read(&server.door, direction, extent.duration).await?;
        let seconds = start.elapsed().as_secs_f64();
        tokio::time::sleep(extent.settle).await;
        let usage = meter.stop()?;
        let mut sample = Sample::new(row);
        let pages: u64 = walks.iter().map(|walk| size(walk.pages.len())).sum();
        let mut faults = Faults::default();
        for walk in &walks {
            faults.add(walk.faults(direction, self.messages));
        }
        sample.set_usage(pages, usage);
        sample.set("per_second", float(pages) / seconds);
        sample.set("pages", float(pages));
        sample.set_faults(faults);
        sample.set_memory(server.tree.memory()?);
        let complete = walks.iter().filter(|walk| walk.is_complete).count();
        sample.set("complete_walks", float(size(complete)));
        if complete == 0 {
            sample.note("no device came to the other end in time: the pages are those where it began");
        }
        sample.set_latencies(&Latencies::new(walks.into_iter().flat_map(|walk| walk.latencies).collect()));
        Ok(sample)
    }
}

/// From one end of the archive to the other, or until it is time to stop.
async fn walk(session: &mut Session, direction: Direction, end: Deadline) -> Result<Walk> {
    let (mut walk, clock) = (Walk::default(), Clock::new());
    let mut from: Option<String> = None;
    while !walk.is_complete && (walk.pages.is_empty() || !end.has_come()) {
        let bound = match (direction, &from) {
            (Direction::Forward, None) => String::new(),
            (Direction::Forward, Some(id)) => format!("<after>{id}</after>"),
            (Direction::Back, None) => "<before/>".to_owned(),
            (Direction::Back, Some(id)) => format!("<before>{id}</before>"),
        };
        let start = clock.now();
        session.queue(
            format!(
                "<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'>\
                 <set xmlns='http://jabber.org/protocol/rsm'><max>{PAGE}</max>{bound}</set></query></iq>"
            )
            .as_bytes(),
        );
        session.flush().await?;
        let (page, fin) = tokio::time::timeout(Duration::from_secs(60), page(session))
            .await
            .context("no page came within a minute")??;
        walk.latencies.push(clock.now().saturating_sub(start));
        let edge = if direction == Direction::Forward { "last" } else { "first" };
        from = scan::text(&fin, edge).map(str::to_owned);
        walk.is_complete = from.is_none() || is_complete(&fin);
        walk.pages.push(page);
    }
    Ok(walk)
}

fn is_complete(fin: &[u8]) -> bool {
    scan::contains(fin, "complete='true'") || scan::contains(fin, "complete=\"true\"")
}

/// The numbers of the messages of a page, and what ended it.
async fn page(session: &mut Session) -> Result<(Vec<u64>, Vec<u8>)> {
    let mut numbers = Vec::new();
    loop {
        while let Some(range) = session.next()? {
            let element = session.bytes(range);
            match scan::name(element) {
                b"message" => numbers.extend(marker::find(element).map(|marker| marker.number)),
                b"iq" if scan::attribute(element, "id") == Some("page") => {
                    let is_result = scan::attribute(element, "type") == Some("result");
                    ensure!(is_result, "a page was refused: {}", String::from_utf8_lossy(element));
                    return Ok((numbers, element.to_vec()));
                }
                _ => {}
            }
        }
        session.flush().await?;
        session.receive().await?;
    }
}

impl Walk {
    /// Each number once, in order. A walk that was not completed may lack those at its end.
    fn faults(&self, direction: Direction, messages: u64) -> Faults {
        let mut numbers: Vec<u64> = match direction {
            Direction::Forward => self.pages.iter().flatten().copied().collect(),
            Direction::Back => self.pages.iter().rev().flatten().copied().collect(),
        };
        let disordered = numbers.windows(2).filter(|pair| matches!(pair, [a, b] if a > b)).count();
        let count = size(numbers.len());
        numbers.sort_unstable();
        numbers.dedup();
        let distinct = size(numbers.len());
        let span = match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => last.saturating_sub(*first).saturating_add(1),
            _ => 0,
        };
        let wanted = if self.is_complete { messages } else { span };
        Faults {
            lost: wanted.saturating_sub(distinct),
            doubled: count.saturating_sub(distinct),
            disordered: size(disordered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_checked_in_its_direction() {
        let faults = |lost, doubled, disordered| Faults { lost, doubled, disordered };
        for (pages, direction, is_complete, want) in [
            (vec![vec![0, 1], vec![2, 3]], Direction::Forward, true, faults(0, 0, 0)),
            (vec![vec![2, 3], vec![0, 1]], Direction::Back, true, faults(0, 0, 0)),
            (vec![vec![2, 3], vec![0, 1]], Direction::Forward, true, faults(0, 0, 1)),
            (vec![vec![0, 1], vec![3]], Direction::Forward, true, faults(1, 0, 0)),
            (vec![vec![0, 1]], Direction::Forward, true, faults(2, 0, 0)),
            (vec![vec![0, 1]], Direction::Forward, false, faults(0, 0, 0)),
            (vec![vec![3], vec![0, 1]], Direction::Back, false, faults(1, 0, 0)),
            (vec![vec![0, 1], vec![1, 2, 3]], Direction::Forward, true, faults(0, 1, 0)),
            (vec![], Direction::Forward, true, faults(4, 0, 0)),
        ] {
            let walk = Walk { pages, latencies: Vec::new(), is_complete };
            assert_eq!(walk.faults(direction, 4), want, "{:?} {direction:?}", walk.pages);
        }
    }
}
