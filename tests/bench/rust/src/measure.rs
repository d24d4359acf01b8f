//! Rounds: each measures everybody once, so that whatever else the machine does hits all alike, and only what was measured
//! in one round is compared.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Something to do, and how long it takes.
pub struct Work<'a> {
    name: &'static str,
    /// How many times as long as ours it has to take at least.
    target: Option<f64>,
    /// Nanoseconds each, if it is done this often.
    run: Box<dyn FnMut(usize) -> f64 + 'a>,
}

impl<'a> Work<'a> {
    pub fn new<T>(name: &'static str, mut work: impl FnMut() -> T + 'a) -> Self {
        let run = move |count| {
            let start = Instant::now();
            for _ in 0..count {
                black_box(work());
            }
            nanoseconds(start.elapsed(), count)
        };
        Self { name, target: None, run: Box::new(run) }
    }

    /// Each time with something that is made beforehand, outside of the measurement.
    pub fn with<I, T>(name: &'static str, prepare: impl Fn() -> I + 'a, mut work: impl FnMut(I) -> T + 'a) -> Self {
        let run = move |count: usize| {
            let mut elapsed = Duration::ZERO;
            // A few at a time: an answer that has just arrived is in the processor's cache.
            for _ in 0..count.div_ceil(BATCH) {
                let inputs: Vec<I> = (0..BATCH).map(|_| prepare()).collect();
                let start = Instant::now();
                for input in inputs {
                    black_box(work(input));
                }
                elapsed += start.elapsed();
            }
            nanoseconds(elapsed, count.div_ceil(BATCH) * BATCH)
        };
        Self { name, target: None, run: Box::new(run) }
    }

    pub fn target(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }
}

/// Prints how long we take, and how much longer the others do.
pub fn compare(title: &str, count: usize, mut ours: Work<'_>, mut others: Vec<Work<'_>>) {
    let mut times = Vec::new();
    let mut ratios = vec![Vec::new(); others.len()];
    // The first round warms up.
    (ours.run)(count);
    for other in &mut others {
        (other.run)(count);
    }
    for _ in 0..ROUNDS {
        let own = (ours.run)(count);
        times.push(own);
        for (other, ratios) in others.iter_mut().zip(&mut ratios) {
            ratios.push((other.run)(count) / own);
        }
    }
    let own = median(times);
    let mut table = format!("| {title} | ns | as long as ours | target | |\n|---|---:|---:|---:|---|\n");
    let _ = writeln!(table, "| {} | {} | | | |", ours.name, grouped(own));
    for (other, ratios) in others.iter().zip(ratios) {
        let ratio = median(ratios);
        let verdict = match other.target {
            None => " | ".to_owned(),
            Some(target) => format!("{target} × | {}", if ratio >= target { "met" } else { "missed" }),
        };
        let _ = writeln!(table, "| {} | {} | {ratio:.2} × | {verdict} |", other.name, grouped(own * ratio));
    }
    println!("\n{}", table.trim_end());
}

fn nanoseconds(elapsed: Duration, count: usize) -> f64 {
    elapsed.as_secs_f64() * 1e9 / count as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `1234567` as `1,234,567`; below 100, one digit more.
pub fn grouped(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const ROUNDS: usize = 41;
const BATCH: usize = 16;
