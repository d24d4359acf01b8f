//! `cargo xtask simulate`: any number of random schedules of a fleet, from any seed. What the simulator prints is the result;
//! on a failure that is the seed to play again and the whole story.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    cli::Options,
    counts::Report,
    preflight::{self, Need},
    progress::{self, Outcome, Step},
    tree::Tree,
};

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    preflight::run(tree, options, &[Need::Disk(2)])?;
    let started = Instant::now();
    let schedules = options.schedules.unwrap_or(100_000);
    let mut command = tree.cargo();
    command.args(["run", "--quiet", "--profile", "bench", "--package", "simulator", "--"]);
    command.args(["--schedules", &schedules.to_string()]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let mut step = Step::new("simulate", format!("{schedules} schedules"), |log| {
        let output = log.read(&mut command)?;
        output.lines().for_each(|line| println!("      {line}"));
        Ok(Outcome::Tested(Report::Plain.read(&output, true)))
    });
    // A slow machine plays at least so many in a second.
    step.limit += Duration::from_secs(schedules / 200);
    let summary = progress::run(tree, "simulate", vec![step], true)?;
    Ok(summary.report(started))
}
