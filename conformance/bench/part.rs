//! The benchmark as a part of the results: a scenario at a time, on targets that are loaded already.

use std::path::Path;

use anyhow::Result;

use super::amount::Amount;
use super::report::Report;
use super::scenario::Scenario;
use super::server::Target;

/// The names of all scenarios, in the order in which they are shown.
pub(crate) fn scenarios() -> Vec<String> {
    <Scenario as clap::ValueEnum>::value_variants().iter().map(|scenario| scenario.name()).collect()
}

/// Measures one scenario.
pub(crate) async fn measure(
    folder: &Path,
    targets: &[String],
    binary: Option<&Path>,
    amount: &Amount,
    scenario: &str,
) -> Result<Report> {
    let targets = targets.iter().map(|name| Target::load(folder, name, binary));
    let targets: Vec<Target> = targets.collect::<Result<_>>()?;
    let scenarios = amount.scenarios()?.into_iter().filter(|one| one.name() == scenario);
    super::command::measure(amount, &targets, &scenarios.collect::<Vec<_>>(), |_| Ok(())).await
}
