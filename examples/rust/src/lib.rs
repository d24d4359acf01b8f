//! Transports for two HTTP clients, and what the programs in `bin/` share.

pub mod reqwest;
pub mod ureq;

use std::env;
use std::error::Error;

use remint::Builder;

/// Options from environment variables of the same name in capitals, where they are set.
pub fn from_environment(options: Builder, names: &[&str]) -> Builder {
    names.iter().fold(options, |options, name| match env::var(name.to_uppercase()) {
        // A provider on this machine has no certificate.
        Ok(value) if value.starts_with("http://") => options.option(name, value).allow_loopback_http(true),
        Ok(value) => options.option(name, value),
        Err(_) => options,
    })
}

/// An environment variable that has to be there.
///
/// # Errors
/// Its name, if it isn't.
pub fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|_| format!("set the environment variable {name}").into())
}
