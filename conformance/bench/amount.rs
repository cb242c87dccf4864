//! How much is measured, as the command line says it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use super::scenario::{Extent, Scenario};

/// Messages of a pair on their way, where nothing else is said.
const WINDOW: u32 = 4;

#[derive(Debug, Args)]
#[group(id = "what is measured")]
pub(crate) struct Amount {
    /// What to measure; `all` by default
    #[arg(long, value_delimiter = ',', default_value = "all")]
    scenario: Vec<String>,
    /// Small numbers, to see that everything works
    #[arg(long)]
    pub(super) quick: bool,
    /// How often each scenario is measured, the targets taking turns
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one measurement
    #[arg(long)]
    seconds: Option<u64>,
    /// Pairs of users that write
    #[arg(long)]
    pairs: Option<usize>,
    /// Messages of a pair on their way when the rate is free
    #[arg(long, default_value_t = WINDOW)]
    window: u32,
    /// Messages in a second when latencies are measured
    #[arg(long)]
    rate: Option<f64>,
    /// Logins in a round
    #[arg(long)]
    logins: Option<usize>,
    /// Devices that log in, resume or come back at the same time
    #[arg(long)]
    concurrency: Option<usize>,
    /// Idle sessions
    #[arg(long, value_delimiter = ',')]
    idle: Option<Vec<usize>>,
    /// Messages in the archives that are paged through
    #[arg(long, value_delimiter = ',')]
    page_messages: Option<Vec<u64>>,
    /// Messages in the archive of `long-paging`
    #[arg(long)]
    long_archive: Option<u64>,
    /// Streams that are cut and resumed in a round
    #[arg(long)]
    resumes: Option<usize>,
    /// Sessions that a restart meets
    #[arg(long)]
    restart_sessions: Option<usize>,
}

impl Amount {
    pub(super) fn extent(&self) -> Extent {
        let choose = |quick, full| if self.quick { quick } else { full };
        let seconds = |quick, full| Duration::from_secs(choose(quick, full));
        let list = |given: &Option<Vec<usize>>, quick: &[usize], full: &[usize]| {
            given.clone().unwrap_or_else(|| if self.quick { quick.to_vec() } else { full.to_vec() })
        };
        Extent {
            duration: self.seconds.map_or_else(|| seconds(1, 5), Duration::from_secs),
            settle: Duration::from_secs(1),
            pairs: self.pairs.unwrap_or(if self.quick { 4 } else { 50 }),
            window: self.window.max(1),
            per_second: self.rate,
            logins: self.logins.unwrap_or(if self.quick { 20 } else { 500 }),
            concurrency: self.concurrency.unwrap_or(if self.quick { 4 } else { 8 }).max(1),
            idle: list(&self.idle, &[50], &[1000, 5000, 19_000]),
            idle_settle: seconds(1, 40),
            page_messages: self
                .page_messages
                .clone()
                .unwrap_or_else(|| vec![if self.quick { 200 } else { 5000 }]),
            long_archive: self.long_archive.unwrap_or(if self.quick { 400 } else { 1_000_000 }),
            resumes: self.resumes.unwrap_or(if self.quick { 8 } else { 200 }),
            restart_sessions: self.restart_sessions.unwrap_or(if self.quick { 40 } else { 15_000 }),
        }
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    /// The names of what is measured.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        Ok(self.scenarios()?.into_iter().map(Scenario::name).collect())
    }

    /// The options that say the same again, but for the scenarios.
    pub(crate) fn options(&self) -> String {
        fn list<T: std::fmt::Display>(values: &[T]) -> String {
            values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        let options = [
            self.quick.then(|| "--quick".to_owned()),
            self.rounds.map(|value| format!("--rounds {value}")),
            self.seconds.map(|value| format!("--seconds {value}")),
            self.pairs.map(|value| format!("--pairs {value}")),
            (self.window != WINDOW).then(|| format!("--window {}", self.window)),
            self.rate.map(|value| format!("--rate {value}")),
            self.logins.map(|value| format!("--logins {value}")),
            self.concurrency.map(|value| format!("--concurrency {value}")),
            self.idle.as_ref().map(|values| format!("--idle {}", list(values))),
            self.page_messages.as_ref().map(|values| format!("--page-messages {}", list(values))),
            self.long_archive.map(|value| format!("--long-archive {value}")),
            self.resumes.map(|value| format!("--resumes {value}")),
            self.restart_sessions.map(|value| format!("--restart-sessions {value}")),
        ];
        options.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn scenarios(&self) -> Result<Vec<Scenario>> {
        let all = <Scenario as clap::ValueEnum>::value_variants();
        if self.scenario.iter().any(|name| name == "all") {
            return Ok(Scenario::usual());
        }
        let find = |name: &String| <Scenario as clap::ValueEnum>::from_str(name, true);
        let names = || all.iter().map(|scenario| scenario.name()).collect::<Vec<_>>().join(", ");
        let scenarios = self.scenario.iter().map(|name| {
            find(name).ok().with_context(|| format!("there is no scenario {name}, but {}", names()))
        });
        scenarios.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        amount: Amount,
    }

    fn parse(line: &str) -> Amount {
        Line::try_parse_from(line.split(' ')).unwrap().amount
    }

    #[test]
    fn scenarios_are_named_or_all() {
        let all = parse("bench");
        assert_eq!(all.scenarios().unwrap(), Scenario::usual());
        assert!(!Scenario::usual().contains(&Scenario::LongPaging));
        let some = parse("bench --scenario routed,four-devices");
        assert_eq!(some.scenarios().unwrap(), [Scenario::Routed, Scenario::FourDevices]);
        let error = parse("bench --scenario rooted").scenarios().unwrap_err().to_string();
        assert!(error.contains("rooted") && error.contains("three-devices"), "{error}");
    }

    #[test]
    fn what_is_said_goes_before_what_is_usual() {
        let quick = parse("bench --quick --pairs 7 --idle 3,5 --page-messages 60,70").extent();
        assert_eq!((quick.pairs, quick.idle.as_slice()), (7, &[3, 5][..]));
        assert_eq!(quick.page_messages, [60, 70]);
        assert_eq!(quick.duration, Duration::from_secs(1));
        let words = "--quick --rounds 2 --window 9 --rate 1.5 --idle 3,5 --restart-sessions 8";
        assert_eq!(parse(&format!("bench {words} --scenario idle")).options(), words);
        assert_eq!(parse("bench").options(), "");
        let full = parse("bench --concurrency 16");
        assert_eq!((full.extent().restart_sessions, full.extent().concurrency), (15_000, 16));
        assert_eq!((full.rounds(), parse("bench --quick").rounds()), (3, 1));
    }
}
