//! Phoenix Wallet: the wallets of one client, with the scopes that are needed and no others.

use std::{env, error::Error};

use examples_rust::{from_environment, ureq, variable};
use remint::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let agent = ureq::agent();
    let options = Client::builder("phoenix-wallet")
        .client_id(variable("CLIENT_ID")?)
        // A function is asked at each token request: a rotated secret needs no restart.
        .client_secret_fn(|| env::var("CLIENT_SECRET"))
        .scope(["wallets:read"]);
    let wallet = from_environment(options, &["token_endpoint", "base_url"]).build(ureq::Ureq(agent.clone()))?;

    let base = env::var("BASE_URL").unwrap_or_else(|_| "https://api.phoenixwallet.io".to_owned());
    let url = format!("{base}/v1/wallets");
    let mut wallets = wallet.call("GET", &url, |headers| ureq::get(&agent, &url, headers))?;
    println!("{}", wallets.body_mut().read_to_string()?);
    Ok(())
}
