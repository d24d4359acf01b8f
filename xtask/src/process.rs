//! Child processes. Each leads a process group of its own, and no group outlives xtask: not when a suite takes too
//! long, not when xtask fails, not on Ctrl-C.

use std::{
    os::unix::process::CommandExt,
    process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio, exit},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    over: bool,
}

impl Child {
    /// Starts `command` with nothing to read.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// Starts `command` to talk with it.
    pub fn start_piped(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let inner = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start `{}`; is it installed?", command.get_program().display()))?;
        groups().push(inner.id());
        Ok(Self { inner, over: false })
    }

    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.inner.stdin.take()
    }

    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.inner.stdout.take()
    }

    /// The exit status, once there is one.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.inner.try_wait()?;
        if status.is_some() && !self.over {
            self.over = true;
            // What it started and forgot goes with it.
            signal("TERM", self.inner.id());
            groups().retain(|group| *group != self.inner.id());
        }
        Ok(status)
    }

    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.poll()? {
                return Ok(status);
            }
            ensure!(started.elapsed() < limit, "still running after {} s", limit.as_secs());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        signal("TERM", self.inner.id());
        if self.wait(GRACE).is_err() {
            signal("KILL", self.inner.id());
            let _ = self.wait(GRACE);
        }
    }
}

/// What a short command prints, or `None` when it can't be run or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn end_children_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(number) = signals.forever().next() {
            let running = groups().clone();
            running.iter().for_each(|group| signal("TERM", *group));
            thread::sleep(Duration::from_millis(500));
            running.iter().for_each(|group| signal("KILL", *group));
            exit(128 + number);
        }
    });
    Ok(())
}

/// The standard library has no signals, but every shell has them built in.
fn signal(name: &str, group: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} -- -{group}")]).stderr(Stdio::null()).status();
}

fn groups() -> MutexGuard<'static, Vec<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How long a child may take to end when asked to.
const GRACE: Duration = Duration::from_secs(2);
