//! A provider of your own, without a line of code: PROFILE names a document, such as those in ../profiles.

use std::error::Error;
use std::{env, fs, io};

use examples_rust::{from_environment, ureq, variable};
use remint::Client;
use remint::event::AuthorizationUrl;

fn main() -> Result<(), Box<dyn Error>> {
    let agent = ureq::agent();
    let options = Client::builder(fs::read_to_string(variable("PROFILE")?)?);
    // The last four are what the documents declare as their variables.
    let names = ["client_id", "client_secret", "api_token", "base_url", "region", "forge_url", "api_url"];
    let client = from_environment(options, &names).build(ureq::Ureq(agent.clone()))?;

    // Only where a person has to authorize the program.
    if let Ok(redirect_uri) = env::var("REDIRECT_URI") {
        let authorization =
            client.authorization_url(AuthorizationUrl { redirect_uri, ..AuthorizationUrl::default() })?;
        println!("Open {}", authorization.url);
        println!("Paste the address that the browser ends up at:");
        let mut callback = String::new();
        io::stdin().read_line(&mut callback)?;
        client.exchange(callback.trim(), authorization.session, None)?;
    }

    println!("{:?}", client.token()?);
    let url = format!("{}/user", env::var("API_URL").or_else(|_| variable("BASE_URL"))?);
    let mut answer = client.call("GET", &url, |headers| ureq::get(&agent, &url, headers))?;
    println!("{}", answer.body_mut().read_to_string()?);
    Ok(())
}
