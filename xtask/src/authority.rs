//! `tests/authority` as a child, and its control.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{process::Child, progress::Log, tree::Tree};

#[derive(Debug)]
pub struct Authority {
    /// `127.0.0.1:PORT`
    address: String,
    _child: Child,
}

impl Authority {
    pub fn start(program: &Path, log: &Log) -> Result<Self> {
        let mut command = Command::new(program);
        // The pipe closes when xtask ends, even if it is killed.
        command.args(["--exit-with-stdin"]).stderr(log.writer()?);
        let mut child = Child::start_piped(&mut command)?;
        let mut line = String::new();
        BufReader::new(child.stdout().context("the authority has no output")?).read_line(&mut line)?;
        let hello: Value = serde_json::from_str(&line).context("the authority's first line isn't JSON; see the log")?;
        let http = hello.get("http").and_then(Value::as_str).context("the authority names no `http` address")?;
        let address = http.trim_start_matches("http://").to_owned();
        Ok(Self { address, _child: child })
    }

    /// The address that stands for a provider's host.
    pub fn base(&self, lane: &str, provider: &str) -> String {
        format!("http://{}/{lane}/{provider}", self.address)
    }

    /// One request to a lane's control.
    pub fn control(&self, lane: &str, method: &str, what: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} /{lane}/control/{what} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the authority's answer has no end of headers")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status.starts_with('2'), "{method} control/{what} was answered with {status}: {body}");
        match serde_json::from_str(body) {
            Ok(value) => Ok(value),
            Err(_) if body.is_empty() => Ok(Value::Null),
            Err(_) => bail!("{method} control/{what} wasn't answered with JSON"),
        }
    }
}

/// Where cargo leaves it.
pub fn program(tree: &Tree) -> PathBuf {
    tree.cargo_target.join("debug/authority")
}

const PATIENCE: Duration = Duration::from_secs(10);
