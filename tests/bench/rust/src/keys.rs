//! What a key costs, and whether an acquire costs more when there are many.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

use remint::event::{Ask, Event, Received, Want};
use remint::{Answer, Config, Core, Now, Operation};

use crate::exchange::{ID, SECRET};
use crate::measure::{grouped, median};

pub fn run() -> Result<(), Box<dyn Error>> {
    let options = format!(
        r#"{{"profile": "phoenix-wallet", "client_id": "{ID}", "client_secret": "{SECRET}", "policy": {{"max_keys": 10000000}}}}"#
    );
    let mut core = Core::new(Config::new(&options)?);
    let token = "t".repeat(TOKEN_LENGTH);
    let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
    let now = Now { wall: 1_700_000_000_000, boot: 1_000_000 };
    let before = resident()?;
    let mut rows: Vec<(usize, f64)> = Vec::new();
    let mut added = 0;
    for count in [10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        while added < count {
            let step = core.handle(ask(added), now, &[0; 32]);
            let Some(Operation::Send { op, .. }) = step.operations.first() else { return Err("no request".into()) };
            let received = Received { op: *op, status: 200, headers: Vec::new(), body: body.clone().into_bytes() };
            let _ = core.handle(Event::Received(received), now, &[0; 32]);
            added += 1;
        }
        let times = (0..21).map(|round| {
            let asks: Vec<_> = (0..10_000).map(|at| ask(pick(round * 10_000 + at, count))).collect();
            let start = Instant::now();
            for ask in asks {
                let step = core.handle(ask, now, &[0; 32]);
                debug_assert!(matches!(step.answer, Some(Answer::Use(_))));
                let _ = black_box(step);
            }
            start.elapsed().as_secs_f64() * 1e9 / 10_000.0
        });
        rows.push((count, median(times.collect())));
    }
    let each = (resident()? - before) as f64 / added as f64;
    drop(core);

    println!(
        "\n| Keys | ns for an acquire through the core | of that with 10 keys | ns in a plain `HashMap<String, String>` | of that with 10 keys |\n|---:|---:|---:|---:|---:|"
    );
    let plain: Vec<f64> = rows.iter().map(|(count, _)| plain(*count, &token)).collect();
    for ((count, time), plain_time) in rows.iter().zip(&plain) {
        let of_least =
            |time: f64, least: Option<f64>| format!("{} | {:.2} ×", grouped(time), time / least.unwrap_or(f64::NAN));
        let ours = of_least(*time, rows.first().map(|(_, time)| *time));
        println!("| {count} | {ours} | {} |", of_least(*plain_time, plain.first().copied()));
    }
    let beside = each - TOKEN_LENGTH as f64;
    println!("\nMemory for each of {} keys, beside the token's own bytes: {beside:.0} bytes.", grouped(added as f64));
    Ok(())
}

/// What the memory itself costs when there is more than the processor's caches hold: one look-up, and a copy of the token.
fn plain(count: usize, token: &str) -> f64 {
    let map: HashMap<String, String> = (0..count).map(|key| (format!("user-{key}"), token.to_owned())).collect();
    let times = (0..21).map(|round| {
        let keys: Vec<_> = (0..10_000).map(|at| format!("user-{}", pick(round * 10_000 + at, count))).collect();
        let start = Instant::now();
        for key in &keys {
            black_box(map.get(key).cloned());
        }
        start.elapsed().as_secs_f64() * 1e9 / keys.len() as f64
    });
    median(times.collect())
}

fn ask(key: usize) -> Event {
    let want = Want { subject: Some(format!("user-{key}")), ..Want::default() };
    Event::Ask(Ask { want, ..Ask::default() })
}

/// Keys in no order that a cache of the processor could foresee.
fn pick(at: usize, count: usize) -> usize {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) % count
}

/// The memory that this process has, in bytes.
fn resident() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("no `Rss` in smaps_rollup")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

const TOKEN_LENGTH: usize = 128;
