//! `simulator [--schedules N] [--seed S] [--threads T] [--keep-going] [--explore STATES]`: plays that many schedules, from that
//! seed on, and prints what did not hold, with the seed that plays it again. `--explore` first walks through every interleaving
//! of some small stories, up to so many states each.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use simulator::{Invariant, Runner, STORIES, explore, is_open};

struct Options {
    schedules: u64,
    seed: u64,
    threads: usize,
    keep_going: bool,
    explore: Option<usize>,
}

fn main() -> ExitCode {
    let options = match read_options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("error: {what}");
            return ExitCode::FAILURE;
        }
    };
    let stories = options.explore.is_none_or(|most| run_stories(&options, most));
    let schedules = run(&options);
    if stories && schedules { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_options() -> Result<Options, String> {
    let mut options = Options { schedules: 100_000, seed: 1, threads: 2, keep_going: false, explore: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--keep-going" {
            options.keep_going = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        let number = || value.replace('_', "").parse::<u64>().map_err(|_| format!("`{value}` is not a number"));
        match name.as_str() {
            "--schedules" => options.schedules = number()?,
            "--seed" => options.seed = number()?,
            "--threads" => options.threads = usize::try_from(number()?).unwrap_or(1).max(1),
            "--explore" => options.explore = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
            _ => {
                return Err(format!(
                    "no option `{name}`: there are --schedules, --seed, --threads, --keep-going and --explore"
                ));
            }
        }
    }
    Ok(options)
}

/// How many different violations are shown in full.
const SHOWN: usize = 100;

fn run(options: &Options) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let events = AtomicU64::new(0);
    let open = AtomicU64::new(0);
    let failures: Mutex<BTreeMap<Invariant, Vec<(u64, String)>>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                let mut runner = Runner::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let failed = failures.lock().is_ok_and(|failures| !failures.is_empty());
                    if number >= options.schedules || failed && !options.keep_going {
                        break;
                    }
                    let seed = options.seed.wrapping_add(number);
                    let outcome = runner.play(seed, false);
                    events.fetch_add(outcome.events, Ordering::Relaxed);
                    let (known, violation) = match outcome.violation {
                        Some(violation) if options.schedules > 1 && is_open(seed, &violation) => (1, None),
                        violation => (0, violation),
                    };
                    open.fetch_add(known, Ordering::Relaxed);
                    if let (Some(violation), Ok(mut failures)) = (violation, failures.lock()) {
                        failures.entry(violation.invariant).or_default().push((seed, violation.what));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    let played = next.load(Ordering::Relaxed).min(options.schedules);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{played} schedules from seed {}, {} events, {:.0} schedules/s",
        options.seed,
        events.load(Ordering::Relaxed),
        played as f64 / seconds
    );
    let open = open.into_inner();
    if open > 0 {
        println!("{open} schedules do not hold and are known: tests/simulator/open.txt");
    }
    let mut shown = 0;
    for (invariant, found) in &failures {
        println!("{invariant:?} ({}): {} schedules", invariant.title(), found.len());
        for (seed, what) in found.iter().take(SHOWN) {
            println!("  --seed {seed} --schedules 1: {what}");
        }
        if let (Some((seed, _)), true) =
            (found.first(), shown < SHOWN && (!options.keep_going || options.schedules == 1))
        {
            shown += 1;
            let trace = Runner::default().play(*seed, true).trace;
            trace.iter().for_each(|line| println!("    {line}"));
        }
    }
    let failed = failures.len();
    println!("{} passed, {failed} failed", Invariant::ALL.len() - failed);
    failed == 0
}

fn run_stories(options: &Options, most: usize) -> bool {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while let Some(story) = STORIES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    let explored = explore(story, most);
                    let mut told = format!(
                        "{}: {} states ({}), {} ends, depth {}, {:.1} s\n",
                        story.name,
                        explored.states,
                        if explored.whole { "all" } else { "cut off" },
                        explored.ends,
                        explored.depth,
                        started.elapsed().as_secs_f64()
                    );
                    if let Some((violation, trace)) = explored.violation {
                        failed.fetch_add(1, Ordering::Relaxed);
                        trace.iter().for_each(|line| told += &format!("    {line}\n"));
                        told += &format!("  {:?}: {}\n", violation.invariant, violation.what);
                    }
                    print!("{told}");
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", STORIES.len() - failed);
    failed == 0
}
