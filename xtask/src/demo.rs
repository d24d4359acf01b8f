//! `cargo xtask demo`: five providers in every language, through what goes wrong in production, in one table.
//!
//! A driver per language (`examples/demo/`) holds a client and does what it is told, line by line. What the
//! token endpoint saw is counted by the authority, so a driver can't praise itself.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, Command},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    authority::{self, Authority},
    cli::Options,
    hosts::Host,
    install, maven,
    preflight::{self, Need},
    process::Child,
    progress::{self, Log, Outcome, Step, seconds},
    swift::{self, Configuration},
    tree::Tree,
};

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let hosts = options.hosts();
    let needs: Vec<Need> = hosts.iter().flat_map(|host| Need::of(*host, options)).chain([Need::Disk(4)]).collect();
    preflight::run(tree, options, &needs)?;

    let started = Instant::now();
    let mut plays = Vec::new();
    let mut steps = vec![Step::new("authority", "the local provider that speaks all five contracts", |log| {
        log.run(tree.cargo().args(["build", "--package", "authority"]))?;
        Ok(Outcome::Made("built".to_owned()))
    })];
    for host in &hosts {
        steps.extend(install::steps(tree, options, *host)?);
        steps.extend(install::folder_steps(tree, *host, FOLDER));
    }
    if hosts.contains(&Host::Rust) {
        steps.push(Step::new("rust driver", "", |log| {
            log.run(tree.cargo().args(["build", "--package", "demo-rust"]))?;
            Ok(Outcome::Made("built".to_owned()))
        }));
    }
    if hosts.contains(&Host::Kotlin) {
        steps.push(maven::module_step(tree, KOTLIN));
    }
    if hosts.contains(&Host::Swift) {
        steps.push(swift::build_step(tree, "examples", SWIFT, Configuration::Debug));
    }
    steps.push(Step::new("demo", "about 20 s", |log| {
        plays = play_all(tree, &hosts, log)?;
        Ok(Outcome::Made(format!("{} rows", plays.len())))
    }));
    let summary = progress::run(tree, "demo", steps, false)?;
    if !summary.failures.is_empty() {
        return Ok(false);
    }

    println!("\n{}", table(&plays));
    let cells = plays.iter().flat_map(|play| &play.cells);
    let (right, total) = (cells.clone().filter(|cell| cell.is_ok()).count(), cells.count());
    for play in &plays {
        for (cell, (title, _)) in play.cells.iter().zip(ACTS) {
            if let Err(error) = cell {
                println!("{} in {}, {title}: {error:#}", play.provider.name, play.host.name());
            }
        }
    }
    println!("Token requests are those that the server counted. Took {}.", seconds(started.elapsed()));
    println!("{right} passed, {} failed", total - right);
    Ok(right == total)
}

/// A provider as the authority plays it.
#[derive(Debug)]
struct Provider {
    name: &'static str,
    /// Its first token needs a person's consent; afterwards there is a refresh token per user.
    signs_in: bool,
    /// The options of its client beside the credentials, with `BASE` for its address.
    options: &'static [(&'static str, &'static str)],
}

impl Provider {
    /// The options of its client, as the driver of that language takes them.
    fn options(&self, host: Host, base: &str) -> String {
        let own = self.options.iter().map(|(name, value)| (*name, Value::from(value.replace("BASE", base))));
        let all = own.chain([
            ("client_id", "demo-client".into()),
            ("client_secret", "s3cret+/%&: odd".into()),
            ("api_origins", json!([base.split('/').take(3).collect::<Vec<_>>().join("/")])),
            ("allow_loopback_http", true.into()),
        ]);
        // The others name them one by one, or hand variables over as the profile has them.
        let cased = |name: &str| if host == Host::Node { camel_case(name) } else { name.to_owned() };
        Value::Object(all.map(|(name, value)| (cased(name), value)).collect()).to_string()
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial.into_iter().chain(letters).collect::<String>()
    })
}

/// One provider in one language: a row of the table.
struct Play {
    provider: &'static Provider,
    host: Host,
    cells: Vec<Result<String>>,
}

fn play_all(tree: &Tree, hosts: &[Host], log: &Log) -> Result<Vec<Play>> {
    let authority = Authority::start(&authority::program(tree), log)?;
    let rows = PROVIDERS.iter().flat_map(|provider| hosts.iter().map(move |host| (provider, *host)));
    thread::scope(|scope| {
        let authority = &authority;
        let threads: Vec<_> = rows
            .map(|(provider, host)| (provider, host, scope.spawn(move || play(tree, authority, provider, host, log))))
            .collect();
        let finish = |(provider, host, thread): (_, _, thread::ScopedJoinHandle<'_, Result<Vec<_>>>)| {
            let cells = thread.join().map_err(|_| anyhow::anyhow!("the thread of this row panicked"))??;
            Ok(Play { provider, host, cells })
        };
        threads.into_iter().map(finish).collect()
    })
}

/// All acts of one row. One that fails doesn't keep the next from being tried.
fn play(
    tree: &Tree,
    authority: &Authority,
    provider: &'static Provider,
    host: Host,
    log: &Log,
) -> Result<Vec<Result<String>>> {
    // A lane per language: rows share no client, token or counter.
    let lane = format!("demo-{}-{}", host.name(), provider.name);
    let driver = Driver::start(tree, host, provider, &authority.base(&lane, provider.name), log)?;
    let mut stage = Stage { authority, lane, provider, driver, users: 0 };
    Ok(ACTS.iter().map(|(_, act)| act(&mut stage)).collect())
}

/// What an act works with.
struct Stage<'a> {
    authority: &'a Authority,
    lane: String,
    provider: &'static Provider,
    driver: Driver,
    users: u32,
}

impl Stage<'_> {
    fn control(&self, method: &str, what: &str, body: &Value) -> Result<Value> {
        self.authority.control(&self.lane, method, what, body)
    }

    /// The counters since they were last taken.
    fn counted(&self) -> Result<Counted> {
        Ok(Counted(self.control("DELETE", "counters", &Value::Null)?))
    }

    /// A client that knows nothing yet.
    fn fresh_client(&mut self) -> Result<()> {
        self.driver.tell("new")?;
        if self.provider.signs_in {
            self.users += 1;
            let subject = format!("user-{}", self.users);
            let minted = self.control("POST", "mint", &json!({"provider": self.provider.name, "subject": subject}))?;
            let refresh = minted.get("refresh_token").and_then(Value::as_str).context("no refresh token was minted")?;
            self.driver.tell(&format!("subject {subject} {refresh}"))?;
        }
        self.counted()?;
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let answer = self.driver.tell("call")?;
        expect("the API's status", answer.get("status").and_then(Value::as_u64), Some(200))
    }

    /// Asks for the token; the seconds that are left of it.
    fn token(&mut self) -> Result<f64> {
        let answer = self.driver.tell("token")?;
        answer.get("expires_in").and_then(Value::as_f64).context("the driver doesn't say `expires_in`")
    }
}

struct Counted(Value);

impl Counted {
    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    fn token_requests(&self) -> u64 {
        self.number("/token/total")
    }
}

type Act = fn(&mut Stage<'_>) -> Result<String>;

/// The columns, in the order of play.
const ACTS: [(&str, Act); 6] = [
    ("first token", first_token),
    ("API call", api_call),
    ("50 at once, cold", crowd),
    ("revoked", revoked),
    ("outage", outage),
    ("expired", expired),
];

fn first_token(stage: &mut Stage<'_>) -> Result<String> {
    stage.counted()?;
    stage.driver.tell(if stage.provider.signs_in { "sign_in" } else { "token" })?;
    expect("token requests", stage.counted()?.token_requests(), 1)?;
    Ok(if stage.provider.signs_in { "signed in, 1 request" } else { "1 request" }.to_owned())
}

fn api_call(stage: &mut Stage<'_>) -> Result<String> {
    stage.call()?;
    let counted = stage.counted()?;
    expect("token requests", counted.token_requests(), 0)?;
    expect("API calls", counted.number("/api/total"), 1)?;
    Ok("200".to_owned())
}

fn crowd(stage: &mut Stage<'_>) -> Result<String> {
    stage.fresh_client()?;
    let answer = stage.driver.tell("crowd 50")?;
    expect("different tokens", answer.get("tokens").and_then(Value::as_u64), Some(1))?;
    expect("token requests", stage.counted()?.token_requests(), 1)?;
    Ok("1 request".to_owned())
}

fn revoked(stage: &mut Stage<'_>) -> Result<String> {
    stage.control("POST", "revoke", &json!({"provider": stage.provider.name}))?;
    stage.call()?;
    let counted = stage.counted()?;
    expect("API calls answered with 401", counted.number("/api/by_status/401"), 1)?;
    expect("token requests", counted.token_requests(), 1)?;
    Ok("401, new token, 200".to_owned())
}

fn outage(stage: &mut Stage<'_>) -> Result<String> {
    stage.control("PUT", "settings", &json!({"provider": stage.provider.name, "lifetime_s": LIFETIME}))?;
    stage.fresh_client()?;
    let left = stage.token()?;
    expect("token requests", stage.counted()?.token_requests(), 1)?;
    stage.control("POST", "faults", &json!({"endpoint": "token", "count": null, "status": 503}))?;
    // Past the point where it is refreshed aside, and still valid.
    thread::sleep(Duration::from_secs_f64((left * 0.8).clamp(0.0, LIFETIME)));
    stage.call()?;
    // The refresh runs beside the call.
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut failed = 0;
    while failed == 0 && Instant::now() < deadline {
        failed += stage.counted()?.number("/token/by_status/503");
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(failed > 0, "nothing was asked of the token endpoint, although the token was due");
    Ok("503, still 200".to_owned())
}

fn expired(stage: &mut Stage<'_>) -> Result<String> {
    // The outage ends when the old token can't help any more.
    thread::sleep(Duration::from_secs_f64(LIFETIME * 0.25));
    stage.control("DELETE", "faults", &Value::Null)?;
    stage.counted()?;
    stage.call()?;
    let counted = stage.counted()?;
    expect("token requests", counted.token_requests(), 1)?;
    expect("API calls answered with 401", counted.number("/api/by_status/401"), 0)?;
    Ok("new token, 200".to_owned())
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<()> {
    ensure!(found == wanted, "{what}: {found:?} instead of {wanted:?}");
    Ok(())
}

/// The program of one language that holds a client of one provider: a line in, a line of JSON out.
struct Driver {
    input: ChildStdin,
    answers: Receiver<String>,
    _child: Child,
}

impl Driver {
    fn start(tree: &Tree, host: Host, provider: &Provider, base: &str, log: &Log) -> Result<Self> {
        let mut command = match host {
            Host::Rust => Command::new(tree.cargo_target.join("debug/demo-rust")),
            Host::Node => {
                let mut node = install::interpreter(tree, host, FOLDER)?;
                node.arg(format!("{FOLDER}/node.mjs"));
                node
            }
            Host::Python => {
                let mut python = install::interpreter(tree, host, FOLDER)?;
                python.arg(format!("{FOLDER}/python.py"));
                python
            }
            Host::Kotlin => maven::java(tree, KOTLIN, "DemoKt")?,
            Host::Swift => swift::command(tree, swift::executable(tree, "examples", SWIFT, Configuration::Debug))?,
        };
        command.args([provider.name, base]).env("DEMO_OPTIONS", provider.options(host, base)).stderr(log.writer()?);
        let mut child = Child::start_piped(&mut command)?;
        let output = child.stdout().context("the driver has no output")?;
        let input = child.stdin().context("the driver has no input")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { input, answers, _child: child })
    }

    /// Has one command done; what the driver says of it.
    fn tell(&mut self, command: &str) -> Result<Value> {
        let verb = command.split(' ').next().unwrap_or_default();
        writeln!(self.input, "{command}").with_context(|| format!("the driver ended before `{verb}`; see the log"))?;
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .with_context(|| format!("the driver didn't answer `{verb}`; see the log"))?;
        let answer: Value =
            serde_json::from_str(&line).with_context(|| format!("the driver's answer to `{verb}` isn't JSON"))?;
        if answer.get("ok") != Some(&Value::Bool(true)) {
            bail!("`{verb}` failed: {}", answer.get("detail").and_then(Value::as_str).unwrap_or("without a reason"));
        }
        Ok(answer)
    }
}

fn table(plays: &[Play]) -> String {
    let mut rows = vec![
        ["provider", "language"].into_iter().chain(ACTS.map(|(title, _)| title)).map(str::to_owned).collect::<Vec<_>>(),
    ];
    let mut previous = "";
    for play in plays {
        let provider = if play.provider.name == previous { "" } else { play.provider.name };
        previous = play.provider.name;
        let cells = play.cells.iter().map(|cell| match cell {
            Ok(shown) => format!("✓ {shown}"),
            Err(_) => "✗ see below".to_owned(),
        });
        rows.push([provider.to_owned(), play.host.name().to_owned()].into_iter().chain(cells).collect());
    }
    align(&rows)
}

/// Columns as wide as their widest cell, a rule below the title and above each row that starts a group.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let rule = "─".repeat(widths.iter().map(|width| width + 2).sum());
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 && row.first().is_some_and(|cell| !cell.is_empty()) {
            text.push_str(&rule);
            text.push('\n');
        }
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!(" {cell}{} ", " ".repeat(width - cell.chars().count())));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

const PROVIDERS: [Provider; 5] = [
    Provider { name: "phoenix-security", signs_in: false, options: &[("base_url", "BASE")] },
    Provider {
        name: "phoenix-wallet",
        signs_in: false,
        options: &[("token_endpoint", "BASE/oauth/token"), ("base_url", "BASE"), ("scope", "wallets:read")],
    },
    Provider { name: "phoenix-market", signs_in: false, options: &[("token_endpoint", "BASE/oauth/token")] },
    Provider {
        name: "personify",
        signs_in: false,
        options: &[("token_endpoint", "BASE/connect/token"), ("tenant_id", "demo-tenant")],
    },
    Provider {
        name: "rapidomize",
        signs_in: true,
        options: &[
            ("token_endpoint", "BASE/oauth/token"),
            ("authorization_endpoint", "BASE/oauth/authorize"),
            ("issuer", "BASE"),
            ("redirect_uri", "http://127.0.0.1:9/callback"),
        ],
    },
];
/// Where the drivers are.
const FOLDER: &str = "examples/demo";
const KOTLIN: &str = "examples/demo/kotlin";
const SWIFT: &str = "DemoSwift";
/// Of the tokens that are to expire while we watch, in seconds.
const LIFETIME: f64 = 8.0;
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_each_language_has_them() {
        let [provider, ..] = &PROVIDERS;
        let base = "http://127.0.0.1:1/lane/phoenix-security";
        let names = |host| -> Vec<String> {
            let options: Value = serde_json::from_str(&provider.options(host, base)).unwrap();
            options.as_object().unwrap().keys().cloned().collect()
        };
        assert!(names(Host::Node).contains(&"allowLoopbackHttp".to_owned()));
        assert!(names(Host::Python).contains(&"allow_loopback_http".to_owned()));
        let options: Value = serde_json::from_str(&provider.options(Host::Rust, base)).unwrap();
        assert_eq!(options["base_url"], base);
        assert_eq!(options["api_origins"], json!(["http://127.0.0.1:1"]));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = align(&[row(["a", "b"]), row(["one", "✓ x"]), row(["", "✗"])]);
        assert_eq!(text, " a    b\n──────────\n one  ✓ x\n      ✗\n");
    }
}
