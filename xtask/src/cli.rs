//! What a person types, as data.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{hosts::Host, wasm::Toolchain};

pub const HELP: &str = "\
cargo xtask COMMAND

  demo                 play the five providers in every language and print one table
  test [WHAT…]         run every suite, or those that WHAT names; --list shows them
  vectors --dir DIR    run the vectors found in DIR
  package [WHAT…]      leave what users install in target/packages/ (rust, node, python, kotlin, swift)
  simulate             play random schedules of a fleet: --schedules N (100000 unless told), --seed S to play some again
  bench                measure us and the peers, print the ratios
  check                the quick one for every edit: format, lints, unit tests

  --hosts A,B          only these of rust, node, python, kotlin, swift (also --host A)
  --yes                install what is missing without asking (implied by CI=true)
  --wasm-toolchain T   where the wasm target's standard library comes from: debian or rustup
";

#[derive(Debug)]
pub struct Options {
    pub command: String,
    /// What follows the command: names of suites or of packages.
    pub words: Vec<String>,
    /// Empty when nothing was said.
    pub hosts: Vec<Host>,
    pub dir: Option<PathBuf>,
    pub list: bool,
    pub schedules: Option<u64>,
    pub seed: Option<u64>,
    pub wasm_toolchain: Option<Toolchain>,
    pub yes: bool,
}

impl Options {
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let mut options = Self {
            command: String::new(),
            words: Vec::new(),
            hosts: Vec::new(),
            dir: None,
            list: false,
            schedules: None,
            seed: None,
            wasm_toolchain: None,
            yes: std::env::var("CI").is_ok_and(|value| value == "true" || value == "1"),
        };
        while let Some(argument) = arguments.next() {
            // `--name value` and `--name=value` are the same.
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| arguments.next())
                    .with_context(|| format!("`{name}` needs a value; see `cargo xtask help`"))
            };
            match name.as_str() {
                "--dir" => options.dir = Some(PathBuf::from(value()?)),
                "--help" | "-h" => options.command = "help".to_owned(),
                "--host" | "--hosts" => {
                    for host in value()?.split(',') {
                        options.hosts.push(Host::parse(host)?);
                    }
                }
                "--list" => options.list = true,
                "--schedules" => options.schedules = Some(number(&name, &value()?)?),
                "--seed" => options.seed = Some(number(&name, &value()?)?),
                "--wasm-toolchain" => options.wasm_toolchain = Some(Toolchain::parse(&value()?)?),
                "--yes" | "-y" => options.yes = true,
                _ if name.starts_with('-') => bail!("no option `{name}`; see `cargo xtask help`"),
                _ if options.command.is_empty() => options.command = name,
                _ => options.words.push(name),
            }
        }
        Ok(options)
    }

    /// The hosts that were named, or all.
    pub fn hosts(&self) -> Vec<Host> {
        if self.hosts.is_empty() { Host::ALL.to_vec() } else { self.hosts.clone() }
    }
}

/// A number, in which people may set thousands apart as in `10_000_000`.
fn number(option: &str, value: &str) -> Result<u64> {
    value.replace('_', "").parse().with_context(|| format!("`{option}` is followed by a number, not by `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_value_may_follow_its_option_or_an_equals_sign() {
        for line in ["vectors --dir D --host node", "vectors --dir=D --hosts=node"] {
            let options = parse(line).unwrap();
            assert_eq!(options.dir, Some(PathBuf::from("D")));
            assert_eq!(options.hosts, [Host::Node]);
        }
    }

    #[test]
    fn words_after_the_command_narrow_it() {
        let options = parse("test vectors node --yes").unwrap();
        assert_eq!(options.command, "test");
        assert_eq!(options.words, ["vectors", "node"]);
        assert!(options.yes);
    }

    #[test]
    fn schedules_are_counted_in_thousands_that_may_be_set_apart() {
        let options = parse("simulate --schedules 10_000_000 --seed=7").unwrap();
        assert_eq!((options.schedules, options.seed), (Some(10_000_000), Some(7)));
        assert!(parse("simulate --seed x").unwrap_err().to_string().contains("`x`"));
    }

    #[test]
    fn an_unknown_option_or_host_is_refused_by_name() {
        assert!(parse("test --fast").unwrap_err().to_string().contains("--fast"));
        assert!(parse("demo --hosts cobol").unwrap_err().to_string().contains("cobol"));
        assert!(parse("vectors --dir").unwrap_err().to_string().contains("--dir"));
    }
}
