//! Steps that run one after the other: a short line each on the terminal, everything else in a log file.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    counts::{Counts, Report},
    process::Child,
    tree::Tree,
};

pub struct Step<'a> {
    pub name: String,
    /// What to expect, in parentheses after the name; may be empty.
    pub note: String,
    /// After so long the step is ended and has failed.
    pub limit: Duration,
    action: Box<Action<'a>>,
}

type Action<'a> = dyn FnOnce(&mut Log) -> Result<Outcome> + 'a;

impl<'a> Step<'a> {
    pub fn new(
        name: impl Into<String>,
        note: impl Into<String>,
        action: impl FnOnce(&mut Log) -> Result<Outcome> + 'a,
    ) -> Self {
        Self { name: name.into(), note: note.into(), limit: LIMIT, action: Box::new(action) }
    }
}

#[derive(Debug)]
pub enum Outcome {
    /// A step that makes something, and what a person wants to know of it.
    Made(String),
    Tested(Counts),
}

#[derive(Debug, Default)]
pub struct Summary {
    pub counts: Counts,
    /// Names of the steps that failed.
    pub failures: Vec<String>,
}

impl Summary {
    /// Ends a command's output with what it came to; whether all is well.
    pub fn report(&self, started: Instant) -> bool {
        println!();
        if !self.failures.is_empty() {
            println!("failed: {}", self.failures.join(", "));
        }
        println!("took {}", seconds(started.elapsed()));
        println!("{} passed, {} failed", self.counts.passed, self.counts.failed);
        self.failures.is_empty() && self.counts.passed > 0
    }
}

/// Runs the steps; without `keep_going` the first failure ends it.
pub fn run(tree: &Tree, command: &str, steps: Vec<Step<'_>>, keep_going: bool) -> Result<Summary> {
    let logs = tree.logs(command);
    fs::create_dir_all(&logs).with_context(|| format!("can't create {}", logs.display()))?;
    println!("logs: {}/", tree.show(&logs));

    let total = steps.len();
    let mut summary = Summary::default();
    for (index, step) in steps.into_iter().enumerate() {
        let note = if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) };
        println!("[{}/{total}] {}{note}", index + 1, step.name);
        let file: String = step.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let mut log = Log::create(logs.join(format!("{:02}-{file}.log", index + 1)), step.limit)?;
        let outcome = (step.action)(&mut log);
        let took = seconds(log.started.elapsed());
        let failed = match outcome {
            Ok(Outcome::Made(what)) => {
                println!("      {what} · {took}");
                false
            }
            Ok(Outcome::Tested(counts)) => {
                summary.counts += counts;
                let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
                println!("      {verdict}: {} passed, {} failed · {took}", counts.passed, counts.failed);
                counts.failed > 0
            }
            Err(error) => {
                // A step that died is a failure, whatever it had counted.
                summary.counts.failed += 1;
                println!("      FAILED: {error:#} · {took}");
                true
            }
        };
        if failed {
            println!("{}", log.tail()?);
            println!("      whole log: {}", tree.show(&log.path));
            summary.failures.push(step.name);
            if !keep_going {
                break;
            }
        }
    }
    Ok(summary)
}

/// Where a step's programs write, and how they are run.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    started: Instant,
    limit: Duration,
    beats: u64,
}

impl Log {
    fn create(path: PathBuf, limit: Duration) -> Result<Self> {
        // Appending keeps our lines and those of the children in order.
        let _ = fs::remove_file(&path);
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(Self { path, file, started: Instant::now(), limit, beats: 0 })
    }

    /// For the output of a program that the step itself talks with.
    pub fn writer(&self) -> Result<File> {
        Ok(self.file.try_clone()?)
    }

    /// Runs a program that must end well.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        self.read(command).map(drop)
    }

    /// What a program wrote that must end well.
    pub fn read(&mut self, command: &mut Command) -> Result<String> {
        let (code, output) = self.watch(command)?;
        ensure!(code == Some(0), "{}", ended(command, code));
        Ok(output)
    }

    /// Runs a suite and reads what it reports. One that dies or reports nothing has failed.
    pub fn test(&mut self, command: &mut Command, report: Report) -> Result<Outcome> {
        let (code, output) = self.watch(command)?;
        let success = code == Some(0);
        let counts = report.read(&output, success);
        if success {
            ensure!(counts != Counts::default(), "it reported no tests");
        } else if counts.failed == 0 {
            bail!("{}, without saying which test failed", ended(command, code));
        }
        Ok(Outcome::Tested(counts))
    }

    /// The exit code (none when a signal ended it) and everything it wrote.
    fn watch(&mut self, command: &mut Command) -> Result<(Option<i32>, String)> {
        writeln!(self.file, "$ {}", words(command))?;
        let from = self.file.seek(SeekFrom::End(0))?;
        command
            .stdout(self.file.try_clone()?)
            .stderr(self.file.try_clone()?)
            .env("CARGO_TERM_COLOR", "never")
            .env("NO_COLOR", "1");
        let mut child = Child::start(command)?;
        let status = loop {
            if let Some(status) = child.poll()? {
                break status;
            }
            let elapsed = self.started.elapsed();
            if elapsed > self.limit {
                drop(child);
                bail!("ended after {}: it hangs, or this machine is very slow", seconds(self.limit));
            }
            if elapsed.as_secs() / HEARTBEAT.as_secs() > self.beats {
                self.beats = elapsed.as_secs() / HEARTBEAT.as_secs();
                println!("      {} … {}", seconds(elapsed), self.last_line()?);
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok((status.code(), self.since(from)?))
    }

    fn since(&mut self, from: u64) -> Result<String> {
        self.file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn last_line(&mut self) -> Result<String> {
        let length = self.file.seek(SeekFrom::End(0))?;
        let text = self.since(length.saturating_sub(2000))?;
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Ok(line.trim().chars().take(100).collect())
    }

    fn tail(&mut self) -> Result<String> {
        let length = self.file.seek(SeekFrom::End(0))?;
        let text = self.since(length.saturating_sub(20_000))?;
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(TAIL);
        Ok(lines.iter().skip(start).map(|line| format!("      | {line}")).collect::<Vec<_>>().join("\n"))
    }
}

pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

fn words(command: &Command) -> String {
    let path = Path::new(command.get_program());
    let program = path.file_name().unwrap_or(path.as_os_str()).display().to_string();
    let arguments = command.get_args().map(|argument| argument.display().to_string());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn ended(command: &Command, code: Option<i32>) -> String {
    let how = code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    format!("`{}` {how}", words(command).chars().take(120).collect::<String>())
}

const HEARTBEAT: Duration = Duration::from_secs(20);
/// No step takes as long on two cores with empty caches.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How many lines of a failed step's log are shown.
const TAIL: usize = 40;
