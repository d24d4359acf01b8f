//! Phoenix Security: a token by GET with Basic authentication, of a server whose clock is off.

use std::{env, error::Error};

use examples_rust::{from_environment, ureq, variable};
use remint::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let agent = ureq::agent();
    let options = Client::builder("phoenix-security")
        .client_id(variable("CLIENT_ID")?)
        .client_secret(variable("CLIENT_SECRET")?)
        .on_notice(|notice| eprintln!("{notice:?}"));
    let security = from_environment(options, &["base_url"]).build(ureq::Ureq(agent.clone()))?;

    let base = env::var("BASE_URL").unwrap_or_else(|_| "https://api.securityphoenix.cloud".to_owned());
    let url = format!("{base}/v1/assets");
    let mut assets = security.call("GET", &url, |headers| ureq::get(&agent, &url, headers))?;
    println!("{}", assets.body_mut().read_to_string()?);
    Ok(())
}
